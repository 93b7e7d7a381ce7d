"""``python -m lessons``: list, check and play lessons, or begin a new one. Exit code 0 where all is well, else 1."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lessons import catalog, skeleton
from lessons.condition import Condition, fields_of
from lessons.errors import LessonError
from lessons.goals import CONDITIONS
from lessons.model import Lesson
from lessons.play import Score, play


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons", description="List, check and play lessons, or begin a new one.")
    parser.add_argument("--folder", action="append", default=[], help="a further folder of lessons, laid out like lessons/content")
    commands = parser.add_subparsers(dest="action", required=True)
    commands.add_parser("list", help="all lessons in the order of the curriculum")
    commands.add_parser("check", help="read every lesson file and tell what is wrong")
    playing = commands.add_parser("play", help="play lessons headless: goals, guards, predictions, twins")
    playing.add_argument("lessons", nargs="*", metavar="LESSON", help="slugs, or paths of lesson files or their folders")
    playing.add_argument("--all", action="store_true", help="every lesson")
    commands.add_parser("words", help="the vocabulary of goals, with the fields of each")
    new = commands.add_parser("new", help="write the skeleton of a lesson")
    new.add_argument("slug", metavar="SLUG")
    new.add_argument("--track", default="1-the-log", help="its track's folder, such as 2-guarantees")
    given = parser.parse_args(arguments)
    if given.action == "new":
        return _new(given.slug, given.track, Path(given.folder[0]) if given.folder else catalog.CONTENT)
    if given.action == "words":
        return _words()
    found = catalog.load(given.folder)
    if given.action == "list":
        return _list(found)
    if given.action == "check":
        return _check(found)
    if not given.lessons and not given.all:
        playing.error("name a lesson, or say --all")
    return _play(found, [] if given.all else given.lessons)


def _words() -> int:
    for name, kind in sorted(CONDITIONS.items()):
        print(f"{name} {{{fields_of(kind)}}}" if kind.make.__func__ is Condition.make.__func__ else name)  # type: ignore[attr-defined]
        print(f"    {' '.join((kind.__doc__ or '').split())}")
    return 0


def _tell(errors: list[LessonError] | tuple[LessonError, ...]) -> None:
    for error in errors:
        print(error, file=sys.stderr)


def _list(found: catalog.Catalog) -> int:
    for track, lessons in found.tracks().items():
        print(track)
        for lesson in lessons:
            print(f"  {lesson.number:5} {lesson.slug:32} {lesson.minutes:3} min  {lesson.level:6}  {lesson.title}")
    _tell(found.errors)
    return 1 if found.errors else 0


def _check(found: catalog.Catalog) -> int:
    _tell(found.errors)
    print(f"{len(found.lessons)} lessons read, {len(found.errors)} errors")
    return 1 if found.errors else 0


def _play(found: catalog.Catalog, named: list[str]) -> int:
    """All lessons where none is named."""
    errors = [] if named else list(found.errors)
    if not named and not found.lessons:
        errors.append(
            LessonError("lessons", 1, "There is no lesson to play.", f"Name a folder of lessons in {catalog.PATH_VARIABLE}.")
        )
    for name in named or found.lessons:
        one = _find(found, name)
        errors += one.errors
        if one.lesson is not None:
            errors += _play_one(one.lesson)
    _tell(errors)
    print(f"{len(errors)} errors" if errors else "All is well.")
    return 1 if errors else 0


def _find(found: catalog.Catalog, name: str) -> catalog.Found:
    """A lesson by its slug, or by the path of its file or folder; a broken one by what is wrong with it."""
    lesson = found.lessons.get(name)
    if lesson is not None:
        return catalog.Found(lesson, ())
    path = Path(name)
    if path.exists():
        return catalog.read_file(path / "lesson.md" if path.is_dir() else path)
    broken = tuple(error for error in found.errors if Path(error.file).parent.name == name)
    missing = LessonError(name, 1, "There is no such lesson.", f"Known are {', '.join(found.lessons) or 'none'}.")
    return catalog.Found(None, broken or (missing,))


def _play_one(lesson: Lesson) -> list[LessonError]:
    score = Score()
    errors = play(lesson, score)
    verdict = "ok" if not errors else f"{len(errors)} errors"
    print(
        f"{lesson.number} {lesson.slug}: {score.steps} steps, {score.goals} goals, {score.guards} guards, {score.predictions} predictions, "
        f"{score.twins} twins, {score.histograms} histograms: {verdict}",
        flush=True,
    )
    return errors


def _new(slug: str, track: str, folder: Path) -> int:
    try:
        file = skeleton.write(slug, track, folder)
    except (skeleton.SkeletonError, OSError) as wrong:
        print(wrong, file=sys.stderr)
        return 1
    print(f"{file} is written. Play it with: python -m lessons play {slug}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
