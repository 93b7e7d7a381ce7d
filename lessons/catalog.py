"""Reading lessons: ``content/<track>/<slug>/lesson.md`` here and in every folder that LESSONS_PATH names.

A lesson file is Markdown with a YAML front matter, ``## `` for each step, and fenced blocks that carry data. Whatever is wrong with a
file becomes LessonErrors with file, line and cure; one broken lesson keeps no other from loading.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec

from engine.errors import EngineError
from engine.lab import check_spec
from engine.spec import ClusterSpec, with_small_internal_topics
from lessons import bounds
from lessons.blocks import BLOCKS, build_block, texts
from lessons.condition import convert, did_you_mean
from lessons.errors import LessonError, Problem
from lessons.lined_yaml import Lined, LinedProblem, read
from lessons.model import AnyBlock, Lesson, Slug, Step, TextBlock

CONTENT = Path(__file__).parent / "content"
PATH_VARIABLE = "LESSONS_PATH"
LANGUAGES = {
    "",
    "text",
    "txt",
    "console",
    "bash",
    "sh",
    "shell",
    "json",
    "yaml",
    "python",
    "java",
    "sql",
    "properties",
    "http",
    "xml",
    "diff",
}


class Front(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The front matter. ``topic``: the interview topic that the lesson covers."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
    number: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,2}\.[0-9]{1,2}\Z")]
    topic: Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
    minutes: Annotated[int, msgspec.Meta(ge=1, le=240)]
    level: Annotated[str, msgspec.Meta(pattern=r"^(junior|mid|senior)\Z")]
    summary: Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
    prerequisites: tuple[Slug, ...] = ()
    cluster: ClusterSpec = ClusterSpec()
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 1


class Catalog(msgspec.Struct, frozen=True):
    """``lessons`` in the order of the curriculum, by slug."""

    lessons: dict[str, Lesson]
    errors: tuple[LessonError, ...]

    def tracks(self) -> dict[str, list[Lesson]]:
        """Track name → its lessons, both in order."""
        found: dict[str, list[Lesson]] = {}
        for lesson in self.lessons.values():
            found.setdefault(lesson.track_name, []).append(lesson)
        return found


class Found(msgspec.Struct, frozen=True):
    """One file: the lesson (None where it is too broken to be one), what is wrong, and where the front matter's fields stand."""

    lesson: Lesson | None
    errors: tuple[LessonError, ...]
    front_lines: dict[str, int] = {}


# -- the catalogue -------------------------------------------------------------------------------------------------------------------


def folders(extra: Iterable[str | Path] = ()) -> list[Path]:
    """Our own content, then LESSONS_PATH (separated as PATH is), then ``extra``."""
    named = [Path(part) for part in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if part.strip()]
    return [CONTENT, *named, *(Path(part) for part in extra)]


def load(extra: Iterable[str | Path] = (), own: bool = True) -> Catalog:
    """Reads all lessons. ``own`` False leaves out ours and LESSONS_PATH."""
    errors: list[LessonError] = []
    found: list[Found] = []
    for folder in folders(extra) if own else [Path(part) for part in extra]:
        if not folder.is_dir():
            errors.append(
                LessonError(str(folder), 1, "There is no such folder of lessons.", f"Create it, or correct {PATH_VARIABLE}.")
            )
            continue
        files = sorted(folder.glob("*/*/lesson.md"))
        if len(files) > bounds.MAX_FILES:
            errors.append(
                LessonError(str(folder), 1, f"The folder holds more than {bounds.MAX_FILES} lessons.", "Name a smaller folder.")
            )
        found += [read_file(file) for file in files[: bounds.MAX_FILES]]
    lessons: dict[str, Lesson] = {}
    for one in found:
        errors += one.errors
        if one.lesson is None:
            continue
        first = lessons.get(one.lesson.slug)
        if first is not None:
            errors.append(
                LessonError(
                    one.lesson.file, 1, f"A lesson called {one.lesson.slug!r} exists already: {first.file}.", "Rename this folder."
                )
            )
            continue
        lessons[one.lesson.slug] = one.lesson
    errors += _missing_prerequisites(found, lessons)
    ordered = dict(sorted(lessons.items(), key=lambda entry: (*map(int, entry[1].number.split(".")), entry[0])))
    return Catalog(ordered, tuple(sorted(errors)))


def _missing_prerequisites(found: list[Found], lessons: dict[str, Lesson]) -> list[LessonError]:
    broken = {Path(error.file).parent.name for one in found for error in one.errors}
    return [
        LessonError(
            one.lesson.file,
            one.front_lines.get("prerequisites", 1),
            f"There is no lesson {slug!r} to come before.",
            did_you_mean(slug, lessons),
        )
        for one in found
        if one.lesson is not None
        for slug in one.lesson.prerequisites
        if slug not in lessons and slug not in broken
    ]


def read_file(file: Path) -> Found:
    """Reads one lesson; never raises for what the file holds."""
    name = _shown(file)
    try:
        size = file.stat().st_size
        content = file.read_bytes() if size <= bounds.MAX_FILE_BYTES else b""
    except OSError as wrong:
        return Found(
            None, (LessonError(name, 1, f"The file cannot be read: {wrong.strerror}.", "Check that it exists and may be read."),)
        )
    if size > bounds.MAX_FILE_BYTES:
        return Found(
            None,
            (
                LessonError(
                    name, 1, f"The file has {size} bytes; at most {bounds.MAX_FILE_BYTES} are accepted.", "Split the lesson."
                ),
            ),
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as wrong:
        line = content[: wrong.start].count(b"\n") + 1
        return Found(None, (LessonError(name, line, "The file is not UTF-8.", "Save it as UTF-8."),))
    return parse(text, name, track_folder=file.parent.parent.name, slug=file.parent.name)


def _shown(file: Path) -> str:
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)


# -- one file ------------------------------------------------------------------------------------------------------------------------


class _Reader:
    """Walks a file's lines and collects what is wrong."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.errors: list[LessonError] = []
        self.steps: list[Step] = []
        self.intro = ""
        self.title = ""
        self.title_line = 0
        self.blocks: list[AnyBlock] = []
        self.prose: list[str] = []
        self.prose_line = 1

    def wrong(self, line: int, message: str, cure: str) -> None:
        self.errors.append(LessonError(self.name, line, message, cure))

    def walk(self, lines: list[str], first_line: int) -> None:
        position = 0
        while position < len(lines):
            line = lines[position]
            number = first_line + position
            fence = _FENCE.match(line)
            if fence:
                position = self._fence(lines, position, number, fence)
                continue
            if line.startswith("## "):
                self._end_step()
                self.title, self.title_line = line[3:].strip(), number
                if not self.title:
                    self.wrong(number, "The step has no title.", "Write it after `## `.")
            elif line.startswith("# "):
                self.wrong(
                    number,
                    "A heading of the first level stands in the lesson.",
                    "The title is in the front matter; steps begin with `## `.",
                )
            else:
                self._line(line, number)
            position += 1
        self._end_step()

    def _line(self, line: str, number: int) -> None:
        if not self.prose and not line.strip():
            return
        if not self.prose:
            self.prose_line = number
        self.prose.append(line)

    def _fence(self, lines: list[str], position: int, number: int, fence: re.Match[str]) -> int:
        """Reads to the closing fence; returns the position after it."""
        mark, word = fence["mark"], fence["word"].strip()
        end = position + 1
        while end < len(lines) and not _closes(lines[end], mark):
            end += 1
        if end == len(lines):
            self.wrong(number, "This fenced block is never closed.", f"Add a line with {mark} after it.")
            return end
        if word in BLOCKS:
            self._data(word, "\n".join(lines[position + 1 : end]), number)
        else:
            if word not in LANGUAGES and (close := did_you_mean(word, BLOCKS)).startswith("Did"):
                self.wrong(number, f"There is no block called {word!r}.", close)
            for offset in range(position, end + 1):
                self._line(lines[offset], number + offset - position)
        return end + 1

    def _data(self, kind: str, text: str, number: int) -> None:
        if not self.title_line:
            self.wrong(number, f"This {kind} block stands before the first step.", "Move it below a line that begins with `## `.")
            return
        self._end_prose()
        lined = Lined(None, {})
        try:
            lined = read(text, number + 1)
            self.blocks.append(build_block(kind, lined.value, number))
        except LinedProblem as wrong:
            self.wrong(wrong.line, wrong.message, wrong.cure)
        except Problem as wrong:
            line = lined.line(wrong.path) if wrong.path else number
            self.wrong(line, wrong.message, wrong.cure)

    def _end_prose(self) -> None:
        text = "\n".join(self.prose).strip("\n")
        if text.strip():
            if self.title_line:
                self.blocks.append(TextBlock(markdown=text, line=self.prose_line))
            else:
                self.intro = text
        self.prose = []

    def _end_step(self) -> None:
        self._end_prose()
        if not self.title_line:
            return
        step = Step(self.title, tuple(self.blocks), self.title_line)
        if len(self.blocks) > bounds.MAX_BLOCKS_PER_STEP:
            self.wrong(self.title_line, f"The step has more than {bounds.MAX_BLOCKS_PER_STEP} blocks.", "Split it into two steps.")
        self._check_step(step)
        self.steps.append(step)
        self.blocks, self.title_line = [], 0

    def _check_step(self, step: Step) -> None:
        solutions = [block for block in step.blocks if type(block).__name__ == "SolutionBlock"]
        if step.goals and not solutions and not any(e.line > step.line for e in self.errors):
            self.wrong(
                step.goals[0].line, "The step has a goal but no solution.", "Add a ```solution block with items that reach it."
            )
        if len(solutions) > 1:
            self.wrong(solutions[1].line, "The step has two solutions.", "Keep one of them.")
        guards = {goal.name: goal for goal in step.goals if goal.kind == "guard"}
        broken = {wrong.breaks for wrong in step.wrongs}
        for block in step.wrongs:
            if block.breaks not in guards:
                self.wrong(block.line, f"There is no guard called {block.breaks!r} in this step.", "Name a goal of `kind: guard`.")
        for name, goal in guards.items():
            if name not in broken and not any(e.line > step.line for e in self.errors):
                self.wrong(
                    goal.line, f"Nothing shows that the guard {name!r} can break.", f"Add a ```wrong block with `breaks: {name}`."
                )


_FENCE = re.compile(r"(?P<mark>`{3,}|~{3,})(?P<word>[^`]*)\Z")


def _closes(line: str, mark: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(mark) and set(bare) == {mark[0]} and not line.startswith("    ")


def parse(text: str, name: str, track_folder: str = "1-lessons", slug: str = "lesson") -> Found:
    """Reads a lesson's text. ``name`` is the file as errors call it. Never raises for what the text holds."""
    reader = _Reader(name)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        odd = _ODD.search(line)
        if odd:
            reader.wrong(number, f"The line holds the character U+{ord(odd[0]):04X}, which is not text.", "Remove it.")
            return Found(None, tuple(reader.errors))
    if len(text.encode("utf-8", "replace")) > bounds.MAX_FILE_BYTES:
        reader.wrong(1, f"The lesson is longer than {bounds.MAX_FILE_BYTES} bytes.", "Split the lesson.")
        return Found(None, tuple(reader.errors))
    front, lined, body_at = _front(reader, lines)
    reader.walk(lines[body_at:], body_at + 1)
    _check_lesson(reader, slug, track_folder)
    if front is None or reader.errors:
        return Found(None, tuple(sorted(reader.errors)))
    track, _, track_name = track_folder.partition("-")
    lesson = Lesson(
        slug, front.title, int(track), track_name.replace("-", " ").capitalize(), front.number, front.topic, front.minutes,
        front.level, front.prerequisites, front.summary, front.cluster, front.seed, reader.intro, tuple(reader.steps), name,
    )  # fmt: skip
    return Found(lesson, (), {str(path[0]): line for path, line in lined.lines.items() if len(path) == 1})


_ODD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def _front(reader: _Reader, lines: list[str]) -> tuple[Front | None, Lined, int]:
    nothing = Lined(None, {})
    if lines[0].strip() != "---":
        reader.wrong(
            1, "The file does not begin with its front matter.", "Begin it with a line `---`, then title, number, topic and so on."
        )
        return None, nothing, 0
    end = next((place for place, line in enumerate(lines) if place and line.strip() == "---"), None)
    if end is None:
        reader.wrong(1, "The front matter is never closed.", "End it with a line `---`.")
        return None, nothing, len(lines)
    lined = nothing
    try:
        lined = read("\n".join(lines[1:end]), 2)
        if not isinstance(lined.value, dict):
            raise Problem((), "The front matter holds named fields.", "Write `title: …`, each field on its own line.")
        return _convert_front(lined.value), lined, end + 1
    except LinedProblem as wrong:
        reader.wrong(wrong.line, wrong.message, wrong.cure)
    except Problem as wrong:
        reader.wrong(lined.line(wrong.path) if wrong.path else 1, wrong.message, wrong.cure)
    return None, lined, end + 1


def _convert_front(value: dict[str, Any]) -> Front:
    value = {**value, **{name: str(value[name]) for name in ("number",) if isinstance(value.get(name), (int, float))}}
    cluster = value.get("cluster")
    if isinstance(cluster, dict):
        cluster = {**cluster, "broker_configs": texts(cluster.get("broker_configs", {}))}
        topics = cluster.get("topics")
        if isinstance(topics, list):
            cluster["topics"] = [{**t, "configs": texts(t.get("configs", {}))} if isinstance(t, dict) else t for t in topics]
        value["cluster"] = cluster
    front = convert(value, Front)
    front = msgspec.structs.replace(front, cluster=with_small_internal_topics(front.cluster))
    try:
        check_spec(front.cluster)
    except EngineError as wrong:
        raise Problem(("cluster", *_culprit(front.cluster)), wrong.message, "Correct the cluster.") from None
    return front


def _culprit(spec: ClusterSpec) -> tuple[Any, ...]:
    """The topic that cannot be, or else the whole."""
    for place, topic in enumerate(spec.topics):
        try:
            check_spec(msgspec.structs.replace(spec, topics=(topic,), broker_configs={}))
        except EngineError:
            return "topics", place
    return ()


def _check_lesson(reader: _Reader, slug: str, track_folder: str) -> None:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) or len(slug) > 80:
        reader.wrong(1, f"The folder's name {slug[:80]!r} is no slug.", "Use small letters, digits and single hyphens.")
    if not re.fullmatch(r"[0-9]{1,3}-.+", track_folder):
        reader.wrong(1, f"The track's folder {track_folder[:80]!r} has no number.", "Call it like 1-the-log.")
    if not reader.steps and not reader.errors:
        reader.wrong(1, "The lesson has no step.", "Begin one with a line `## Its title`.")
    if len(reader.steps) > bounds.MAX_STEPS:
        reader.wrong(
            reader.steps[bounds.MAX_STEPS].line, f"The lesson has more than {bounds.MAX_STEPS} steps.", "Split the lesson."
        )
    for what, named in (("goal", [(g.name, g.line) for s in reader.steps for g in s.goals]),
                        ("prediction", [(p.id, p.line) for s in reader.steps for p in s.predictions])):  # fmt: skip
        seen: set[str] = set()
        for name, line in named:
            if name in seen:
                reader.wrong(line, f"There are two {what}s called {name!r} in this lesson.", "Rename one of them.")
            seen.add(name)
