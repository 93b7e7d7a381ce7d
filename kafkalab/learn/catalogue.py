"""The lessons as the site knows them, read once per process, and the map of them with a visitor's progress."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from kafkalab.learn.models import Progress
from kafkalab.sandbox.errors import Refusal
from lessons import catalog
from lessons.model import Lesson

logger = logging.getLogger(__name__)


@cache
def lessons() -> dict[str, Lesson]:
    """All lessons in the order of the curriculum. Those whose file has a fault are left out, and the log says why."""
    found = catalog.load()
    for error in found.errors:
        logger.error("%s", error)
    return found.lessons


def find_lesson(slug: str) -> Lesson | None:
    return lessons().get(slug)


def lesson(slug: str) -> Lesson:
    """Raises Refusal (404) where there is none of that name."""
    found = find_lesson(slug)
    if found is None:
        raise Refusal("There is no such lesson.", status=404, code="NOT_FOUND", field="lesson", cure="See the curriculum.")
    return found


def next_lesson(after: Lesson) -> Lesson | None:
    """The one that follows in the curriculum."""
    known = list(lessons().values())
    place = known.index(after) + 1
    return known[place] if place < len(known) else None


def prerequisites(of: Lesson) -> list[Lesson]:
    return [found for slug in of.prerequisites if (found := find_lesson(slug)) is not None]


def tracks(visitor: str | None) -> list[dict[str, Any]]:
    """``[{title, done, lessons: [{slug, title, number, summary, minutes, level, state}]}]`` in the order of the curriculum."""
    rows = Progress.objects.filter(visitor=visitor) if visitor else Progress.objects.none()
    states = {row.lesson: "done" if row.done else "started" for row in rows}
    found: dict[int, dict[str, Any]] = {}
    for one in lessons().values():
        heading = {"title": f"{one.track} {one.track_name}", "number": one.track, "done": 0, "lessons": []}
        track = found.setdefault(one.track, heading)
        track["done"] += states.get(one.slug) == "done"
        track["lessons"].append(
            {
                "slug": one.slug,
                "title": one.title,
                "number": one.number,
                "summary": one.summary,
                "minutes": one.minutes,
                "level": one.level,
                "state": states.get(one.slug, ""),
            }
        )
    return [found[number] for number in sorted(found)]
