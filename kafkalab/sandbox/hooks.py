"""Where rooms above the sandbox add to it without being known to it: lessons push their goals, the classroom will watch its seats."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kafkalab.sandbox.live import Live

Extra = Callable[["Live"], "list[dict[str, Any]]"]
"""Called with a lab after it moved; returns messages for all who watch it (only what changed), each with its ``t``."""

EXTRAS: list[Extra] = []


def add_extra(extra: Extra) -> None:
    """Registers ``extra`` once, from an app's ``ready``."""
    if extra not in EXTRAS:
        EXTRAS.append(extra)


LESSONS: list[Callable[[str], bool]] = []
"""Who knows whether there is a lesson of that name."""


def known_lesson(slug: str) -> str:
    """``slug``, or "" for a lesson that is not taught here: what was made in it can still be opened, as a free lab."""
    return slug if any(knows(slug) for knows in LESSONS) else ""
