"""The headless player: what a lesson must show to pass, and that each thing it must show can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine import commands as cm
from lessons import catalog, skeleton
from lessons.__main__ import main
from lessons.errors import PlayError
from lessons.goals import CONDITIONS
from lessons.play import (
    LessonRun,
    Score,
    compute_prediction,
    compute_twin,
    histogram,
    is_right,
    play,
    start_of,
)
from lessons.run import ItemError, Run, carry_out
from tests.lessons.helpers import FRONT, GOOD, lesson, line_of, step

OURS = catalog.load()
ROOT = Path(__file__).resolve().parents[2]

PREDICT = """predict
id: who
question: Who leads?
answer: number
experiment:
  - {type: KillNode, node: broker-1}
  - until: {event_happened: {event: LeaderChanged}, within_ms: 20000}
measure: {leader: {partition: orders-0}}
expected: 2
explanation: The next in the ISR.
"""
TWIN = """twin
label: Two
setting: acks
left: {label: acks=1, items: [{type: CreateProducer, name: t, configs: {acks: 1}}]}
right: {label: acks=all, items: [{type: CreateProducer, name: t, configs: {acks: all}}]}
items:
  - {type: CutNetwork, source: broker-1, target: broker-2}
  - {type: CutNetwork, source: broker-1, target: broker-3}
  - {type: Produce, topic: orders, producer: t, value: x, count: 2}
  - {advance_ms: 100}
  - {type: KillNode, node: broker-1}
  - {advance_ms: 15000}
compare: [{log_end_offset: {partition: orders-0}}]
"""
HISTOGRAM = """histogram
label: Many
sides:
  - {label: acks=1, items: [{type: CreateProducer, name: t, configs: {acks: 1}}]}
items:
  - {type: DegradeNetwork, source: broker-1, target: broker-2, delay_ms: 5}
  - {type: DegradeNetwork, source: broker-1, target: broker-3, delay_ms: 5}
  - {type: StartWorkload, name: w, topic: orders, producer: t, records_per_second: 200, limit: 200}
  - {advance_ms: 300, spread_ms: 40}
  - {type: KillNode, node: broker-1}
  - {advance_ms: 15000}
measure: {ledger: {fate: lost}}
headless_seeds: 5
"""


def first(text: str) -> str:
    found = play(lesson(text))
    assert found, "the lesson plays"
    return f"{found[0].line}: {found[0].message}"


@pytest.mark.parametrize("slug", OURS.lessons)
def test_our_lessons_play(slug: str) -> None:
    score = Score()
    assert [str(error) for error in play(OURS.lessons[slug], score)] == []
    assert score.goals
    assert score.predictions


def test_our_lessons_have_no_fault_and_use_all_that_a_lesson_can_hold() -> None:
    assert not OURS.errors
    assert {"topics-partitions-offsets", "acks", "broker-down"} <= set(OURS.lessons)
    kinds = {block.KIND for taught in OURS.lessons.values() for each in taught.steps for block in each.blocks}
    assert kinds == {"text", "do", "goal", "predict", "hint", "twin", "histogram", "solution", "wrong"}


def test_a_good_lesson_plays() -> None:
    assert play(lesson(GOOD)) == []


def test_a_goal_that_is_reached_before_anything_is_done_is_told() -> None:
    text = GOOD.replace("acknowledged: {at_least: 1}\n```", "leader_is: {partition: orders-0, broker: 1}\n```")
    assert first(text).startswith(f"{line_of(text, '```goal')}: The goal 'written' is reached before")


def test_a_solution_that_does_not_reach_the_goal_is_told() -> None:
    text = GOOD.replace("acknowledged: {at_least: 1}\n```", "acknowledged: {at_least: 2}\n```")
    assert "does not reach 'written': 1 record acknowledged." in first(text)


def test_a_solution_that_cannot_be_carried_out_is_told() -> None:
    text = GOOD.replace("  - {type: Produce", "  - {type: StartNode, node: broker-1}\n  - {type: Produce")
    assert first(text).startswith(f"{line_of(text, '```solution')}: StartNode was refused")


def test_a_wait_that_does_not_come_true_is_told_with_what_is_so() -> None:
    text = GOOD.replace(
        "until: {acknowledged: {at_least: 1}}", "until: {leader_is: {partition: orders-0, broker: 3}, within_ms: 500}"
    )
    assert "after 500 ms of virtual time orders-0 is led by broker 1" in first(text)


def test_a_prediction_that_comes_out_otherwise_is_told() -> None:
    good = GOOD + f"\n```{PREDICT}```\n"
    assert play(lesson(good)) == []
    assert "'who' comes out as 2, not 3" in first(good.replace("expected: 2", "expected: 3"))
    assert is_right(lesson(good).steps[0].predictions[0], 2, compute_prediction(lesson(good), 0, "who"))


def test_a_choice_must_have_exactly_one_right_option() -> None:
    both = "leader_is: {partition: orders-0, broker: 1}"
    text = GOOD + (
        "\n```predict\nid: c\nquestion: q\nanswer: choice\nexperiment: [{advance_ms: 1}]\nexplanation: e\n"
        f"options:\n  - {{text: a, when: {{{both}}}}}\n  - {{text: b, when: {{{both}}}}}\n```\n"
    )
    assert "2 of the options of 'c' came true" in first(text)
    assert "None of the options" in first(text.replace("broker: 1}}", "broker: 3}}"))


def test_a_prediction_changes_nothing_in_the_lesson() -> None:
    learner = LessonRun(lesson(GOOD + f"\n```{PREDICT}```\n"))
    before = learner.run.lab.digest()
    assert learner.predict(learner.step.predictions[0]).value == 2
    assert learner.run.lab.digest() == before


def test_a_prediction_tells_what_happened() -> None:
    result = compute_prediction(lesson(GOOD + f"\n```{PREDICT}```\n"), 0, "who")
    assert result.text == "orders-0 is led by broker 2."
    assert any("Broker 1 was killed" in line for line in result.evidence)


GUARD = GOOD.replace(
    "```solution",
    "```goal\nname: alive\nkind: guard\ntext: Broker 1 leads\nleader_is: {partition: orders-0, broker: 1}\n```\n\n```solution",
) + ("\n```wrong\nbreaks: alive\nitems:\n  - {type: KillNode, node: broker-1}\n  - {advance_ms: 15000}\n```\n")


def test_a_guard_holds_through_the_solution_and_breaks_under_the_wrong_one() -> None:
    assert play(lesson(GUARD)) == []


def test_a_wrong_solution_that_does_no_harm_is_told() -> None:
    text = GUARD.replace("{type: KillNode, node: broker-1}", "{type: KillNode, node: broker-2}")
    assert first(text).startswith(f"{line_of(text, '```wrong')}: The wrong solution does not break the guard 'alive'")


def test_a_solution_that_breaks_the_guard_only_on_the_way_is_told() -> None:
    text = GUARD.replace(
        "items:\n  - {type: Produce",
        "items:\n  - {type: StopNode, node: broker-1}\n  - until: {broker_status: {broker: 1, status: down}}\n"
        "  - {type: StartNode, node: broker-1}\n  - until: {isr_size: {partition: orders-0, equals: 3}}\n"
        "  - {type: ElectLeader, election: preferred}\n  - until: {leader_is: {partition: orders-0, broker: 1}}\n  - {type: Produce",
    )
    assert "The solution breaks the guard 'alive': orders-0 is led by broker 2." in first(text)


def test_a_button_that_does_not_work_is_told_and_later_buttons_may_need_earlier_ones() -> None:
    kill = "\n```do\nlabel: Kill\nitems: [{type: KillNode, node: broker-2}]\n```\n"
    start = "\n```do\nlabel: Start\nitems: [{type: StartNode, node: broker-2}]\n```\n"
    assert play(lesson(GOOD + kill + start)) == []
    assert "StartNode was refused" in first(GOOD + start)


def test_twins_differ_in_their_ledgers() -> None:
    taught = lesson(step(TWIN))
    result = compute_twin(taught, 0)
    assert (result.left.label, result.left.ledger["lost"], result.right.ledger["lost"]) == ("acks=1", 2, 0)
    assert [m.value for m in result.left.measured] == [0]
    assert play(taught) == []


def test_twins_that_fare_alike_are_told() -> None:
    assert "fare alike" in first(step(TWIN.replace("configs: {acks: 1}", "configs: {acks: all}")))


def test_a_histogram_gives_a_point_per_seed_and_the_same_for_the_same_seed() -> None:
    taught = lesson(step(HISTOGRAM))
    points = list(histogram(taught, range(1, 6)))
    assert [point.seed for point in points] == [1, 2, 3, 4, 5]
    assert points == list(histogram(taught, range(1, 6)))
    assert len({point.values for point in points}) > 1


def test_a_histogram_in_which_nothing_varies_is_told() -> None:
    assert "come out the same" in first(step(HISTOGRAM.replace("  - {type: KillNode, node: broker-1}\n", "")))


def test_a_step_starts_where_the_solutions_before_it_end() -> None:
    taught = lesson(GOOD + "\n## The next\n\nMore.\n")
    run = start_of(taught, 1)
    assert run.lab.view().topics["orders"].partitions["0"].log_end_offset == 1
    assert run.since_us == run.lab.now_us
    learner = LessonRun(taught)
    learner.solve()
    learner.next_step()
    assert learner.run.lab.digest() == run.lab.digest()


def test_items_are_carried_out_in_slices_and_through_the_given_door() -> None:
    taught = lesson(GOOD)
    run = Run.begin(taught)
    given: list[cm.Command] = []
    solution = taught.steps[0].solution
    assert solution is not None

    def submit(command: cm.Command) -> None:
        given.append(command)
        run.lab.submit(command)

    slices = sum(1 for _ in carry_out(run, solution.items, submit))
    assert given == [cm.Produce(topic="orders", value="hello")]
    assert slices > 2


def test_a_wait_for_an_event_stops_right_at_it() -> None:
    """The gap between an acknowledgement and the replication is a fraction of a millisecond."""
    text = step(
        "do\nlabel: Go\nitems:\n"
        "  - {type: CreateProducer, name: q, configs: {acks: 1}}\n"
        "  - {type: Produce, topic: orders, producer: q, value: x}\n"
        "  - until: {event_happened: {event: ProduceAcknowledged}}"
    )
    run = Run.begin(lesson(text))
    run.do(lesson(text).steps[0].dos[0].items)
    logs = run.lab.view().topics["orders"].partitions["0"].logs
    assert [logs[broker].log_end_offset for broker in "123"] == [1, 0, 0]


def test_a_refused_command_changes_nothing_and_is_told() -> None:
    run = Run.begin(lesson(GOOD))
    text = step("do\nlabel: Go\nitems: [{type: StartNode, node: broker-1}]")
    with pytest.raises(ItemError, match="running already"):
        run.do(lesson(text).steps[0].dos[0].items)


def test_a_prediction_that_nothing_can_measure_is_told() -> None:
    text = step(PREDICT.replace("leader: {partition: orders-0}", "leader: {partition: gone-0}"))
    with pytest.raises(PlayError, match="Nothing can be measured"):
        compute_prediction(lesson(text), 0, "who")
    with pytest.raises(KeyError):
        compute_prediction(lesson(text), 0, "else")


# -- the command line -----------------------------------------------------------------------------------------------------------


def put(folder: Path, text: str, slug: str = "mine") -> Path:
    file = folder / "1-the-log" / slug / "lesson.md"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_a_new_lesson_checks_and_plays_as_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(tmp_path), "new", "my-lesson", "--track", "3-scaling"]) == 0
    assert main(["--folder", str(tmp_path), "check"]) == 0
    assert main(["--folder", str(tmp_path), "play", "my-lesson"]) == 0
    assert "All is well." in capsys.readouterr().out
    with pytest.raises(skeleton.SkeletonError, match="exists already"):
        skeleton.write("my-lesson", "3-scaling", tmp_path)


@pytest.mark.parametrize(
    ("slug", "track"), [("../x", "1-a"), ("Big", "1-a"), ("", "1-a"), ("a" * 61, "1-a"), ("ok", "log"), ("ok", "1-../x")]
)
def test_a_new_lesson_needs_a_proper_name(tmp_path: Path, slug: str, track: str) -> None:
    with pytest.raises(skeleton.SkeletonError):
        skeleton.write(slug, track, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_lesson_is_played_by_path_and_a_broken_one_ends_in_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = put(tmp_path, GOOD)
    assert main(["play", str(good)]) == 0
    assert main(["play", str(good.parent)]) == 0
    bad = put(tmp_path, GOOD.replace("type: Produce", "type: Prodcue"), "broken")
    capsys.readouterr()
    assert main(["--folder", str(tmp_path), "play", "broken"]) == 1
    told = capsys.readouterr().err
    assert f"lesson.md:{line_of(bad.read_text(), 'Prodcue')}: " in told
    assert "Did you mean Produce?" in told
    assert main(["--folder", str(tmp_path), "check"]) == 1
    assert main(["play", "no-such-lesson"]) == 1


def test_a_failing_lesson_ends_in_1(tmp_path: Path) -> None:
    text = GOOD.replace("acknowledged: {at_least: 1}\n```", "acknowledged: {at_least: 2}\n```")
    assert main(["play", str(put(tmp_path, text))]) == 1


def test_every_word_of_the_vocabulary_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["words"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split(" ")[0] for line in lines[::2]} == set(CONDITIONS)
    assert all(len(line.strip()) > 20 for line in lines[1::2])
    assert "isr_is {partition, brokers}" in lines


def test_the_module_runs_by_itself() -> None:
    done = subprocess.run([sys.executable, "-m", "lessons", "list"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "What an acknowledgement promises" in done.stdout
    assert FRONT.startswith("---")
