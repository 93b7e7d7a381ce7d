"""A lab in the hands of a lesson: the items of a block carried out one by one, with what goals need to judge it.

``carry_out`` is a generator so that the site can let go of its loop between two slices; headless callers simply exhaust it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b

from engine.check.ledger import Ledger, LedgerTracker
from engine.commands import Command
from engine.errors import EngineError
from engine.lab import Lab
from engine.view.narrate import clock, level, narrate
from lessons import bounds
from lessons.goals import GoalState, evaluate_step, sentence
from lessons.model import Advance, Do, Items, Lesson, Step, Until
from lessons.scene import Past, Scene

Submit = Callable[[Command], object]
Watch = Callable[[], object]


class ItemError(Exception):
    """An item that could not be carried out: a command that was refused, or a wait that did not come true."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure


class Run:
    """A lab, its ledger, its past and the moment at which the present step began."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.tracker = LedgerTracker()
        self.past = Past()
        self.since_us = lab.now_us

    @classmethod
    def begin(cls, lesson: Lesson, seed: int | None = None) -> Run:
        """A fresh cluster as the lesson starts it."""
        return cls(Lab(lesson.spec, lesson.seed if seed is None else seed))

    def fork(self) -> Run:
        """A copy that goes its own way, its step begun when this one's was."""
        twin = Run(self.lab.fork())
        twin.since_us = self.since_us
        return twin

    def begin_step(self) -> None:
        self.since_us = self.lab.now_us

    def ledger(self) -> Ledger:
        self.tracker.update(self.lab)
        return self.tracker.snapshot()

    def scene(self) -> Scene:
        return Scene.of(self.lab, self.ledger, self.since_us, self.past)

    def goal_states(self, step: Step) -> list[GoalState]:
        return evaluate_step(step, self.scene())

    def do(self, items: Items, seed: int | None = None, watch: Watch | None = None) -> None:
        """Carries ``items`` out to the end. Raises ItemError."""
        for _ in carry_out(self, items, seed=seed, watch=watch):
            pass

    def evidence(self, after_id: int, limit: int = bounds.MAX_EVIDENCE) -> tuple[str, ...]:
        """The newest important events after ``after_id``, as lines such as "0:04.190 Broker 1 was killed."."""
        lines: list[str] = []
        while page := self.lab.history(after_id, 2_000):
            lines += [f"{clock(h.at_us)} {narrate(h.event)}" for h in page if level(h.event) == "major"]
            after_id = page[-1].id
        return tuple(lines[-limit:])


def carry_out(
    run: Run, items: Items, submit: Submit | None = None, seed: int | None = None, watch: Watch | None = None
) -> Iterator[None]:
    """Does one item after the other, with a pause (a ``yield``) after each short slice of virtual time. ``submit`` gives the commands
    (the lab's own by default), ``seed`` draws the spread of waits, ``watch`` is called whenever something has happened.
    Raises ItemError."""
    for place, item in enumerate(items):
        if isinstance(item, Do):
            _give(run, item, submit)
            if watch is not None:
                watch()
        elif isinstance(item, Advance):
            yield from _advance(run, item, _spread_us(item, seed, place), watch)
        else:
            yield from _wait(run, item, watch)
        yield


def _give(run: Run, item: Do, submit: Submit | None) -> None:
    try:
        (submit or run.lab.submit)(item.command)
    except EngineError as wrong:
        name = type(item.command).__name__
        raise ItemError(f"{name} was refused: {wrong.message}", "Give the command where the cluster can carry it out.") from None


def _spread_us(item: Advance, seed: int | None, place: int) -> int:
    """Up to ``spread_ms``, the same for the same seed and place."""
    if seed is None or not item.spread_ms:
        return 0
    drawn = int.from_bytes(blake2b(f"{seed}/{place}".encode(), digest_size=8).digest(), "big")
    return drawn % int(item.spread_ms * 1000)


def _advance(run: Run, item: Advance, spread_us: int, watch: Watch | None) -> Iterator[None]:
    target = run.lab.now_us + int(item.advance_ms * 1000) + spread_us
    while run.lab.now_us < target:
        moved = _move(run.lab, target, exact=False)
        if moved and watch is not None:
            watch()
        yield


def _wait(run: Run, item: Until, watch: Watch | None) -> Iterator[None]:
    """Looks after each event where the condition is about single events, else every few milliseconds in which something happened."""
    lab = run.lab
    target = lab.now_us + item.within_ms * 1000
    first_event = lab.kernel.next_event_id
    found = item.condition.look(run.scene())
    while not found.ok:
        if lab.now_us >= target:
            raise ItemError(
                f"Waiting did not help: after {item.within_ms} ms of virtual time {found.text}.",
                "Wait longer (within_ms), or bring the condition about first.",
            )
        if lab.kernel.next_event_id - first_event > bounds.MAX_WAIT_EVENTS:
            raise ItemError(
                f"Waiting did not help: after {bounds.MAX_WAIT_EVENTS} events {found.text}.", "Wait for something nearer."
            )
        moved = _move(lab, target, item.condition.exact)
        if moved or lab.now_us >= target:
            found = item.condition.look(run.scene())
            if watch is not None:
                watch()
        yield


def _move(lab: Lab, target_us: int, exact: bool) -> bool:
    """Lets a little time pass, to the next event (``exact``) or a few milliseconds; True where something happened."""
    before = lab.kernel.next_event_id
    if exact:
        lab.step(target_us - lab.now_us)
    else:
        lab.advance(min(lab.now_us + bounds.UNTIL_SLICE_US, target_us))
    return lab.kernel.next_event_id != before


__all__ = ["ItemError", "Run", "carry_out", "sentence"]
