"""The goals of a step, judged: what is reached, what is broken, and how things stand, in one plain sentence each.

The vocabulary itself lives in ``about_cluster``, ``about_records`` and ``logic``; importing this module loads it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from engine.check.ledger import Ledger
from engine.lab import Lab
from lessons import about_cluster, about_records, logic
from lessons.condition import CONDITIONS, Condition
from lessons.model import GoalBlock, Lesson, Step
from lessons.scene import Past, Scene

VOCABULARY = (about_cluster, about_records, logic)
"""Loaded for what they enter into CONDITIONS."""


class GoalState(msgspec.Struct, frozen=True):
    """``ok``: reached, or for a guard: unbroken. ``goal`` says what is wanted, ``text`` what is so now."""

    name: str
    goal: str
    kind: str
    ok: bool
    text: str


def evaluate(goal: GoalBlock, scene: Scene) -> GoalState:
    found = goal.condition.look(scene)
    return GoalState(goal.name, goal.text, goal.kind, found.ok, sentence(found.text))


def evaluate_step(step: Step, scene: Scene) -> list[GoalState]:
    return [evaluate(goal, scene) for goal in step.goals]


def evaluate_all(
    lesson: Lesson,
    step_index: int,
    lab: Lab,
    ledger: Ledger | Callable[[], Ledger],
    since_us: int = 0,
    past: Past | None = None,
) -> list[GoalState]:
    """The goals of one step in the order of the page.

    ``ledger`` is the tracker's snapshot, or a function that takes one if a goal asks; ``since_us`` when the learner began the step
    (0: count everything); ``past``, kept from one look to the next, spares reading the history again."""
    step = lesson.steps[step_index]
    return evaluate_step(step, Scene.of(lab, ledger, since_us, past)) if step.goals else []


def sentence(text: str) -> str:
    """A finding with capital and full stop. Topics, clients and Kafka's names keep their spelling."""
    first, _, _ = text.partition(" ")
    return f"{text[:1].upper()}{text[1:]}." if first in _PLAIN else f"{text}."


_PLAIN = {"the", "there", "broker", "nobody", "topic", "no", "offset", "not", "key"}

__all__ = ["CONDITIONS", "Condition", "GoalState", "evaluate", "evaluate_all", "evaluate_step", "sentence"]
