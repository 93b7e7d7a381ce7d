"""Where a learner stands in one sandbox of a lesson: which step is at work since when, and which goals were met on the way.

A step's goals count once they are all true together; from then on they stay met, and the next step begins. Only the step at work is
judged, so that what was done for one step does not fulfil the next by accident.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from django.db import transaction

from kafkalab.learn.catalogue import find_lesson
from kafkalab.learn.models import Progress, Run
from kafkalab.sandbox.journal import database
from kafkalab.sandbox.live import Live
from kafkalab.sandbox.looks import ledger_of
from lessons.goals import GoalState, evaluate_all
from lessons.model import Lesson
from lessons.scene import Past

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
"""Goals are judged so often while time runs: nobody reads faster, and the ledger's rows are read each time."""


@dataclass(slots=True)
class RunState:
    """A run in memory. ``step`` may be one past the last: the lesson is done."""

    lesson: Lesson
    visitor: str
    sandbox: str
    step: int = 0
    begins: list[int] = field(default_factory=list)
    goals: dict[str, bool] = field(default_factory=dict)
    past: Past = field(default_factory=Past)
    found: list[GoalState] = field(default_factory=list)
    looked_at: float = 0.0
    changed: bool = False

    @property
    def done(self) -> bool:
        return self.step >= len(self.lesson.steps)

    @property
    def begun_us(self) -> int:
        """When the step at work began."""
        return self.begins[-1] if self.begins else 0

    def begin_again(self, step: int) -> int:
        """Takes back ``step`` and all after it; returns when it began."""
        begun_us = self.begins[step]
        self.step = step
        del self.begins[step + 1 :]
        for later in self.lesson.steps[step:]:
            for goal in later.goals:
                self.goals.pop(goal.name, None)
        self.found = []
        self.changed = True
        return begun_us

    def look(self, live: Live) -> None:
        """Judges the step at work, and goes on to the next as long as one is complete."""
        lab = live.lab
        self.looked_at = monotonic()
        if lab.now_us < self.begun_us:
            self.begins[-1] = lab.now_us  # rewound: what is done again from here counts again
            self.changed = True
        while not self.done:
            self.found = evaluate_all(self.lesson, self.step, lab, lambda: ledger_of(live).snapshot(), self.begun_us, self.past)
            if not all(goal.ok for goal in self.found):
                return
            self.goals |= {goal.name: True for goal in self.found}
            self.step += 1
            self.begins.append(lab.now_us)
            self.changed = True
        self.found = []

    def states(self) -> list[dict[str, Any]]:
        """Every goal of the lesson: ``{name, step, text, state, met, broken, detail}``; steps count from 1 as on the page."""
        now = {goal.name: goal for goal in self.found}
        told: list[dict[str, Any]] = []
        for number, step in enumerate(self.lesson.steps, 1):
            for goal in step.goals:
                current = now.get(goal.name)
                met = self.goals.get(goal.name, False) or (current is not None and current.ok)
                broken = goal.kind == "guard" and current is not None and not current.ok
                state = "broken" if broken else "met" if met else "open"
                told.append(
                    {
                        "name": goal.name,
                        "step": number,
                        "text": goal.text,
                        "state": state,
                        "met": state == "met",
                        "broken": broken,
                        "detail": current.text if current is not None else "",
                    }
                )
        return told


_RUNS: WeakKeyDictionary[Live, RunState] = WeakKeyDictionary()
_WORK: set[asyncio.Task[None]] = set()
"""Tasks that nobody else holds."""


async def run_of(live: Live) -> RunState | None:
    """The run of a sandbox that belongs to a lesson; None for any other."""
    lesson = find_lesson(live.lesson)
    if lesson is None:
        return None
    run = _RUNS.get(live)
    if run is None:
        row, _ = await database(Run.objects.get_or_create, sandbox_id=live.id, defaults={"begins": [live.lab.now_us]})
        run = _RUNS.get(live)
        if run is None:
            run = _RUNS[live] = RunState(lesson, live.owner, live.id, row.step, list(row.begins), dict(row.goals))
            await look(live, run)
    return run


async def look(live: Live, run: RunState) -> None:
    """Judges the goals now, and keeps what was met."""
    run.look(live)
    await keep(run)


def goals_message(live: Live) -> list[dict[str, Any]]:
    """For ``sandbox.hooks``: the goals as they stand after the lab moved."""
    if not live.lesson:
        return []
    run = _RUNS.get(live)
    if run is None:
        _later(_load(live))
        return []
    if not live.running or monotonic() - run.looked_at >= LOOK_EVERY_S:
        run.look(live)
        if run.changed:
            _later(keep(run))
    return [{"t": "goals", "goals": run.states(), "step": run.step + 1, "done": run.done}]


async def _load(live: Live) -> None:
    if await run_of(live) is not None:
        live.stale = True
        live.nudge.set()


async def keep(run: RunState) -> None:
    """Writes down what changed."""
    if run.changed:
        run.changed = False
        await database(_store, run.sandbox, run.visitor, run.lesson.slug, run.step, list(run.begins), dict(run.goals), run.done)


def _store(sandbox: str, visitor: str, slug: str, step: int, begins: list[int], goals: dict[str, bool], done: bool) -> None:
    with transaction.atomic():
        if not Run.objects.filter(sandbox_id=sandbox).update(step=step, begins=begins, goals=goals):
            return
        progress, _ = Progress.objects.select_for_update().get_or_create(visitor=visitor, lesson=slug)
        progress.step = max(progress.step, step)
        progress.goals |= goals
        progress.done = progress.done or done
        progress.save()


def _later(work: Any) -> None:
    """Runs ``work`` beside the push that noticed it."""
    task: asyncio.Task[None] = asyncio.create_task(work)
    _WORK.add(task)
    task.add_done_callback(_finished)


def _finished(task: asyncio.Task[None]) -> None:
    _WORK.discard(task)
    if not task.cancelled() and (wrong := task.exception()) is not None:
        logger.error("a run could not be kept", exc_info=wrong)
