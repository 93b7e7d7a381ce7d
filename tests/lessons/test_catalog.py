"""Reading lesson files: what a good one becomes, and that a broken one is told with file, line and cure."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import commands as cm
from lessons import bounds, catalog
from lessons.errors import LessonError
from lessons.model import Do, GoalBlock, TextBlock, Until
from tests.lessons.helpers import FRONT, GOOD, errors, lesson, line_of, read, step

OURS = sorted(catalog.CONTENT.glob("*/*/lesson.md"))


def test_a_lesson_keeps_prose_and_blocks_in_the_order_of_the_page() -> None:
    found = lesson(GOOD.replace("```solution", "After the goal.\n\n```solution"))
    assert [type(block).__name__ for block in found.steps[0].blocks] == ["TextBlock", "GoalBlock", "TextBlock", "SolutionBlock"]
    assert found.intro == "An introduction."
    assert found.steps[0].body == "Some prose.\n\nAfter the goal."
    assert (found.slug, found.track, found.track_name, found.number, found.seed) == ("a-lesson", 1, "The log", "1.1", 7)
    assert found.spec.topics[0].assignments == [[1, 2, 3]]


def test_items_become_commands_and_waits() -> None:
    solution = lesson(GOOD).steps[0].solution
    assert solution is not None
    first, second = solution.items
    assert first == Do(cm.Produce(topic="orders", value="hello"))
    assert isinstance(second, Until)
    assert second.within_ms == 60_000


def test_numbers_and_truth_values_are_text_where_kafka_has_text() -> None:
    text = step("do\nlabel: Go\nitems:\n  - {type: CreateProducer, name: a, configs: {acks: 1, enable.idempotence: false}}")
    (item,) = lesson(text).steps[0].dos[0].items
    assert item == Do(cm.CreateProducer(name="a", configs={"acks": "1", "enable.idempotence": "false"}))


def test_words_of_yaml_1_1_stay_words() -> None:
    (block,) = lesson(step("hint\ntext: no")).steps[0].hints
    assert block.text == "no"


def test_code_in_prose_is_neither_step_nor_block() -> None:
    found = lesson(GOOD.replace("Some prose.", "~~~text\n## no step\n```goal\n~~~"))
    assert len(found.steps) == 1
    assert found.steps[0].blocks[0] == TextBlock(markdown="~~~text\n## no step\n```goal\n~~~", line=17)


def test_a_block_knows_its_line() -> None:
    goal = lesson(GOOD).steps[0].blocks[1]
    assert isinstance(goal, GoalBlock)
    assert goal.line == line_of(GOOD, "```goal")


BROKEN = {
    "unknown field of the front matter": (GOOD.replace("minutes: 5", "minuets: 5"), "minuets", "Did you mean minutes?"),
    "wrong type in the front matter": (GOOD.replace("minutes: 5", "minutes: many"), "minutes: many", ""),
    "no front matter": ("# Hello\n", "# Hello", "---"),
    "front matter without end": ("---\ntitle: x\n", "---", "End it"),
    "a cluster that cannot be": (GOOD.replace("replication_factor: 3", "replication_factor: 30"), "- {name: orders", ""),
    "a topic that cannot be": (GOOD.replace("[[1, 2, 3]]", "[[1, 1, 3]]"), "- {name: orders", "cluster"),
    "unknown goal": (GOOD.replace("acknowledged: {at_least: 1}\n```", "acknowledgd: {at_least: 1}\n```"), "acknowledgd", "acknowledged?"),
    "unknown field of a goal": (GOOD.replace("acknowledged: {at_least: 1}\n```", "acknowledged: {atleast: 1}\n```"), "{atleast", "at_least?"),
    "a count without a bound": (GOOD.replace("{at_least: 1}\n```", "{topic: orders}\n```"), "acknowledged: {topic", "at_least"),
    "a goal without condition": (GOOD.replace("acknowledged: {at_least: 1}\n```", "```"), "```goal", "condition"),
    "unknown command": (GOOD.replace("type: Produce", "type: Prodcue"), "Prodcue", "Produce?"),
    "unknown field of a command": (GOOD.replace("value: hello", "vaule: hello"), "vaule", "value?"),
    "a command beyond a limit": (GOOD.replace("value: hello", "count: 100000"), "count: 100000", ""),
    "bad YAML": (GOOD.replace("items:", "items: ["), "- {type: Produce", ""),
    "a colon without quotes": (GOOD.replace("text: A record", "text: so: A record"), "text: so:", "quotes"),
    "a tab": (GOOD.replace("  - {type", "\t- {type"), "- {type: Produce", ""),
    "an alias": (GOOD.replace("items:", "items: &a"), "items: &a", "Write the value out"),
    "a field twice": (GOOD.replace("name: written\n", "name: written\nname: again\n"), "name: again", "Keep one"),
    "a misspelt block": (GOOD.replace("```goal", "```gaol"), "```gaol", "goal?"),
    "a block without end": (GOOD.rstrip().removesuffix("```"), "```solution", "```"),
    "a goal without solution": (GOOD[: GOOD.index("```solution")], "```goal", "solution"),
    "a guard that nothing breaks": (GOOD.replace("name: written", "name: written\nkind: guard"), "```goal", "```wrong"),
    "a wrong solution for no guard": (
        GOOD + "\n```wrong\nbreaks: nothing\nitems: [{advance_ms: 1}]\n```\n", "```wrong", "guard"),
    "a block before the first step": (FRONT + "```hint\ntext: x\n```\n", "```hint", "## "),
    "no step at all": (FRONT, "---", "##"),
    "a first-level heading": (GOOD.replace("Some prose.", "# Big"), "# Big", "## "),
    "the same goal twice": (GOOD + GOOD[GOOD.index("\n## ") :], "zzz", "Rename"),
    "a control character": (GOOD.replace("Some prose.", "Some\x00prose."), "Some\x00prose.", "Remove"),
    "a choice without options": (
        step("predict\nid: a\nquestion: q\nanswer: choice\nexperiment: [{advance_ms: 1}]\nexplanation: e"), "```predict", "options"),
    "a number without measure": (
        step("predict\nid: a\nquestion: q\nanswer: number\nexperiment: [{advance_ms: 1}]\nexplanation: e"), "```predict", "measure"),
    "a measure that is no number": (
        step("predict\nid: a\nquestion: q\nanswer: number\nexperiment: [{advance_ms: 1}]\nexplanation: e\n"
             "measure: {leader_is: {partition: orders-0, broker: 1}}"), "measure: {leader_is", "Measure one of"),
    "too long a wait": (GOOD.replace("until: {acknowledged: {at_least: 1}}", "advance_ms: 1.0e+12"), "advance_ms: 1.0e", ""),
    "a wait for nothing": (GOOD.replace("until: {acknowledged: {at_least: 1}}", "until: {}"), "until: {}", "leader_is"),
    "an unknown event": (
        GOOD.replace("acknowledged: {at_least: 1}\n```", "event_happened: {event: LeaderChangd}\n```"), "LeaderChangd", "LeaderChanged?"),
    "an event without such a field": (
        GOOD.replace("acknowledged: {at_least: 1}\n```", "event_happened: {event: NodeKilled, nam: a}\n```"), "nam: a", "name?"),
    "an unknown error": (
        GOOD.replace("acknowledged: {at_least: 1}\n```", "produce_error: {error: NOT_ENOUGH}\n```"), "NOT_ENOUGH", "NOT_ENOUGH_REPLICAS?"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_gives_line_and_cure(case: str) -> None:
    text, part, cure = BROKEN[case]
    found = errors(text)
    assert found, "nothing was wrong"
    assert found[0].file == "lesson.md"
    assert found[0].message
    assert any(cure in error.cure for error in found), found
    if part != "zzz":
        assert line_of(text, part) in {error.line for error in found}, found


def test_one_file_tells_several_mistakes() -> None:
    text = GOOD.replace("minutes: 5", "minuets: 5").replace("type: Produce", "type: Prodcue").replace("Some prose.", "# Big")
    assert len(errors(text)) == 3


def test_sizes_are_bounded() -> None:
    long = GOOD.replace("Some prose.", "x" * bounds.MAX_FILE_BYTES)
    assert "at most" in errors(long)[0].message or "longer" in errors(long)[0].message
    items = "\n".join(["  - {advance_ms: 1}"] * (bounds.MAX_ITEMS + 1))
    assert str(bounds.MAX_ITEMS) in errors(step(f"do\nlabel: Go\nitems:\n{items}"))[0].message
    assert errors(step("hint\ntext: " + "[" * 5_000))
    assert errors(step("hint\ntext: " + "y" * bounds.MAX_BLOCK_BYTES))
    deep = "{not: " * 12 + "{acknowledged: {at_least: 1}}" + "}" * 12
    assert errors(GOOD.replace("acknowledged: {at_least: 1}\n```", f"not: {deep}\n```"))


def write(folder: Path, slug: str, text: str, track: str = "1-the-log") -> Path:
    file = folder / track / slug / "lesson.md"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_a_folder_of_ones_own_is_read_by_argument_and_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "my-own", GOOD)
    assert list(catalog.load([tmp_path], own=False).lessons) == ["my-own"]
    monkeypatch.setenv(catalog.PATH_VARIABLE, os.pathsep.join([str(tmp_path), ""]))
    assert "my-own" in catalog.load().lessons
    assert "acks" in catalog.load().lessons


def test_the_curriculum_is_in_order_of_its_numbers(tmp_path: Path) -> None:
    write(tmp_path, "late", GOOD.replace("number: 1.1", 'number: "1.10"'))
    write(tmp_path, "early", GOOD.replace("number: 1.1", "number: 1.2"))
    found = catalog.load([tmp_path], own=False)
    assert list(found.lessons) == ["early", "late"]
    assert list(found.tracks()) == ["The log"]


def test_a_slug_is_taken_once(tmp_path: Path) -> None:
    write(tmp_path, "same", GOOD)
    write(tmp_path, "same", GOOD, "2-more")
    (error,) = catalog.load([tmp_path], own=False).errors
    assert "exists already" in error.message


def test_a_missing_prerequisite_is_told_at_its_line(tmp_path: Path) -> None:
    text = GOOD.replace("seed: 7", "prerequisites: [nothing-there]\nseed: 7")
    write(tmp_path, "one", text)
    (error,) = catalog.load([tmp_path], own=False).errors
    assert "nothing-there" in error.message
    assert error.line == line_of(text, "prerequisites")


def test_one_broken_lesson_keeps_no_other_from_loading(tmp_path: Path) -> None:
    write(tmp_path, "good", GOOD)
    write(tmp_path, "bad", "nothing")
    found = catalog.load([tmp_path], own=False)
    assert list(found.lessons) == ["good"]
    assert {Path(error.file).parent.name for error in found.errors} == {"bad"}


def test_a_folder_that_is_not_there_and_a_file_that_is_no_text_are_errors(tmp_path: Path) -> None:
    assert "no such folder" in catalog.load([tmp_path / "gone"], own=False).errors[0].message
    file = write(tmp_path, "bytes", GOOD)
    file.write_bytes(b"---\ntitle: ok\nsummary: \xff\n---\n")
    (error,) = catalog.read_file(file).errors
    assert (error.line, error.message) == (3, "The file is not UTF-8.")


# -- whatever stands in a file ---------------------------------------------------------------------------------------------------


def told_well(found: catalog.Found, text: str) -> None:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    assert (found.lesson is None) == bool(found.errors)
    for error in found.errors:
        assert isinstance(error, LessonError)
        assert 1 <= error.line <= lines
        assert error.message
        assert error.cure


@given(st.text(max_size=400))
@settings(max_examples=80, deadline=None)
def test_garbage_becomes_errors_with_lines(text: str) -> None:
    told_well(read(text), text)


@given(st.sampled_from(["goal", "do", "predict", "twin", "histogram", "hint", "solution", "wrong"]), st.text(max_size=200))
@settings(max_examples=120, deadline=None)
def test_garbage_in_a_block_becomes_errors_with_lines(kind: str, body: str) -> None:
    text = step(f"{kind}\n{body}")
    told_well(read(text), text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.sampled_from(["orders-0", "", "x", "{n}", "acks"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "items", "label", "until", "advance_ms", "all_of", "not", "leader_is", "event_happened", "event", "partition", "broker",
         "ledger", "fate", "at_least", "name", "text", "answer", "options", "measure", "experiment", "within_ms", "node", "configs"]
    ), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.sampled_from(["goal", "do", "predict", "twin", "histogram", "solution", "wrong"]), VALUES)
@settings(max_examples=200, deadline=None)
def test_data_of_the_wrong_shape_becomes_errors_with_lines(kind: str, value: object) -> None:
    text = step(f"{kind}\n{json.dumps(value)}")
    told_well(read(text), text)


@given(st.sampled_from(OURS), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_our_lessons_with_a_line_changed_are_read_or_refused(file: Path, data: st.DataObject) -> None:
    lines = file.read_text(encoding="utf-8").split("\n")
    place = data.draw(st.integers(0, len(lines) - 1))
    change = data.draw(st.sampled_from(["drop", "twice", "cut", "indent", "swap"]))
    line = lines[place]
    if change == "drop":
        del lines[place]
    elif change == "twice":
        lines.insert(place, line)
    elif change == "cut":
        lines[place] = line[: len(line) // 2]
    elif change == "indent":
        lines[place] = f"   {line}"
    else:
        lines[place] = line.replace("{", "[").replace(":", ";")
    text = "\n".join(lines)
    told_well(catalog.parse(text, "lesson.md", "1-the-log", "a-lesson"), text)
