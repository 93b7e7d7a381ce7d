"""One lab in memory: the lab itself, where its journal stands, how its time runs, and the versions of its view that readers hold.

Nothing here waits: the shelf decides when a lab runs, the service what is done to it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from engine import limits
from engine.errors import EngineError
from engine.events import Happening
from engine.lab import Lab
from engine.view import narrate
from engine.view.diff import diff
from kafkalab.sandbox import bounds, hooks
from kafkalab.sandbox.inputs import Input, apply, settle, work_of

if TYPE_CHECKING:
    from kafkalab.sandbox.consoles import Consoles
    from kafkalab.sandbox.push import Watcher

MAX_SPEED = -1.0
"""As fast as it goes; whether time runs at all is ``running``."""
SPEEDS = (0.01, 0.1, 1.0, 10.0, 100.0, MAX_SPEED)

_ENCODER = msgspec.json.Encoder()


def sentence(happening: Happening) -> dict[str, Any]:
    """One event as the page shows it: ``{id, at_us, node, kind, level, text, objects, causes}``."""
    event = happening.event
    return {
        "id": happening.id,
        "at_us": happening.at_us,
        "node": happening.node,
        "kind": type(event).__name__,
        "level": narrate.level(event),
        "text": narrate.narrate(event),
        "objects": narrate.objects(event),
        "causes": list(happening.causes),
    }


class Snapshot(msgspec.Struct, frozen=True):
    """One version of the view. ``jump`` counts the leaps in time: no diff is made across one."""

    version: int
    tree: dict[str, Any]
    event_id: int
    jump: int


class Live:
    """A lab that is awake or asleep on the shelf. ``seq`` is the newest journal entry, ``reached_us`` its moment."""

    def __init__(self, sandbox_id: str, owner: str, lesson: str, title: str, lab: Lab, speed: float, playing: bool) -> None:
        self.id = sandbox_id
        self.owner = owner
        self.lesson = lesson
        self.title = title
        self.lab = lab
        self.lock = asyncio.Lock()
        self.seq = 0
        self.reached_us = lab.now_us
        self.reached_deliveries = work_of(lab)
        self.spent = 0
        self.checkpoint_spent = 0
        self.speed = speed if speed in SPEEDS else 1.0
        self.playing = playing
        self.effective_speed = max(self.speed, 0.0)
        self.due_us = float(lab.now_us)
        self.ticked_at = monotonic()
        self.paused_by = ""
        self.watchers: list[Watcher] = []
        self.task: asyncio.Task[None] | None = None
        self.nudge = asyncio.Event()
        self.used_at = monotonic()
        self.unwatched_since = monotonic()
        self.fault = ""
        self.departed = (-1, 0)
        self.jump = 0
        self.publish_s = 0.0
        self.stale = True
        self.snapshots: OrderedDict[int, Snapshot] = OrderedDict()
        self.messages: dict[tuple[int, int], bytes] = {}
        self.extras: dict[str, Any] = {}
        self.consoles: Consoles | None = None
        self.gone = False

    # -- doing ----------------------------------------------------------------------------------------------------------------

    def do(self, given: Input) -> int:
        """Settles this instant and applies ``given``. Raises EngineError, having changed nothing but what was due anyway."""
        before = self._mark()
        settle(self.lab)
        self._count(before)
        before = self._mark()
        branch, known = self.lab.branch, dict(self.lab.branches)
        number = apply(self.lab, given)
        self._count(before)
        if self.lab.branch != branch:
            line = known.get(self.lab.branch)
            self.departed = (line.parent, line.forked_at_us) if line else (branch, self.lab.now_us)
        return number

    def run(self, until_us: int, deadline: float) -> bool:
        """Plays on until ``until_us``, ``deadline`` or a breakpoint. False where it must go on in a later slice."""
        before = self._mark()
        try:
            while not self.lab.advance(until_us, bounds.SLICE_DELIVERIES):
                if self.lab.overfull:
                    self._say_overfull()
                    return True
                stop = self.lab.stopped_by
                if stop is not None:
                    self.pause(narrate.narrate(stop.event))
                    return True
                if perf_counter() >= deadline:
                    return False
            if self.lab.overfull:
                self._say_overfull()
            return True
        finally:
            self._count(before)

    def _say_overfull(self) -> None:
        self.pause(f"Your workloads were stopped: {self.lab.overfull}. Delete a topic or let the producers send, then go on.")
        self.lab.overfull = ""

    def exhaust(self, slices: Iterator[None], deadline: float) -> bool:
        """Lets somebody else move the lab, slice by slice, until ``deadline``. True once there are no more."""
        before = self._mark()
        try:
            return all(perf_counter() < deadline for _ in slices)
        finally:
            self._count(before)

    def _mark(self) -> tuple[int, int]:
        lab = self.lab
        return lab.now_us, work_of(lab)

    def _count(self, before: tuple[int, int]) -> None:
        """Adds to ``spent`` what a replay of this would cost. A leap replays up to one checkpoint's worth unseen."""
        at_us, work = before
        now = work_of(self.lab)
        if self.lab.now_us < at_us or now < work:
            self.spent += limits.CHECKPOINT_EVERY_DELIVERIES
        else:
            self.spent += now - work
        if now != work or self.lab.now_us != at_us:
            self.stale = True

    # -- time -------------------------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self.playing and not self.fault

    def set_pace(self, speed: float, playing: bool) -> None:
        self.speed = speed
        self.playing = playing
        self.paused_by = ""
        self.effective_speed = speed
        self.rebase()
        self.stale = True

    def pause(self, reason: str) -> None:
        self.playing = False
        self.paused_by = reason
        self.stale = True

    def rebase(self) -> None:
        """Time starts to count from here: after a pause, a leap, or a sleep."""
        self.due_us = float(self.lab.now_us)
        self.ticked_at = monotonic()

    def target_us(self) -> int:
        """Where the playhead should be now. What could not be kept up with is let go rather than owed."""
        now = monotonic()
        passed = min(now - self.ticked_at, 1.0)
        self.ticked_at = now
        if self.speed == MAX_SPEED:
            return min(self.lab.now_us + 3_600_000_000, limits.MAX_NOW_US)
        behind = self.due_us - self.lab.now_us
        allowed = 250_000 * self.speed
        if behind > allowed:
            self.due_us = self.lab.now_us + allowed
        self.due_us += passed * 1_000_000 * self.speed
        return min(int(self.due_us), limits.MAX_NOW_US)

    def measure(self, moved_us: int, passed_s: float) -> None:
        """Folds one tick into the speed that is really reached."""
        if passed_s > 0:
            now = moved_us / 1_000_000 / passed_s
            self.effective_speed += (now - self.effective_speed) * min(passed_s, 1.0)

    # -- showing ---------------------------------------------------------------------------------------------------------------

    def clock(self) -> dict[str, Any]:
        """Where time stands. ``speed`` -1 is as fast as it goes; ``actual_speed`` what is reached of it."""
        lab = self.lab
        slow = self.running and (self.speed == MAX_SPEED or self.effective_speed < 0.9 * self.speed)
        return {
            "now_us": lab.now_us,
            "begin_us": lab.begin_us,
            "end_us": lab.end_us,
            "speed": self.speed,
            "running": self.running,
            "actual_speed": round(self.effective_speed if slow else self.speed, 4),
            "paused_by": self.paused_by,
            "branch": lab.branch,
            "branches": self._branches(),
            "breakpoints": [msgspec.to_builtins(point) for point in lab.breakpoints],
        }

    def _branches(self) -> list[dict[str, int]]:
        """All lines of history, the present one among them, in the order of their numbers."""
        lab = self.lab
        lines = {line.id: (line.parent, line.forked_at_us, line.end_us) for line in lab.branches.values()}
        lines[lab.branch] = (*self.departed, lab.end_us)
        return [{"id": i, "parent": p, "forked_at_us": f, "end_us": e} for i, (p, f, e) in sorted(lines.items())]

    def leap(self) -> None:
        """The playhead jumped: readers get a whole view next."""
        self.jump += 1
        self.stale = True
        self.rebase()

    def snapshot(self, *, renew: bool = False) -> Snapshot:
        """The newest version of the view; with ``renew`` made anew where the lab has moved since."""
        newest = next(reversed(self.snapshots.values()), None)
        if newest is not None and not (self.stale and renew):
            return newest
        tree = msgspec.to_builtins(self.lab.view())
        fresh = Snapshot(newest.version + 1 if newest else 1, tree, tree["event_id"], self.jump)
        self.stale = False
        self.snapshots[fresh.version] = fresh
        while len(self.snapshots) > bounds.KEPT_VIEWS:
            self.snapshots.popitem(last=False)
        self.messages.clear()
        return fresh

    @property
    def version(self) -> int:
        """The newest version that can be sent; 0 before the first."""
        return next(reversed(self.snapshots), 0)

    def message(self, from_version: int) -> tuple[int, bytes]:
        """(version, bytes) that bring a reader from ``from_version`` (0: from nothing) to the newest; made once for all readers."""
        new = self.snapshot()
        key = (from_version, new.version)
        known = self.messages.get(key)
        if known is not None:
            return new.version, known
        old = self.snapshots.get(from_version)
        body: dict[str, Any] = {"to": new.version, "clock": self.clock()}
        if old is None or old.jump != new.jump:
            body |= {"t": "view", "view": new.tree, "sentences": self.sentences(0, new.event_id, bounds.SENTENCES_AT_START)}
        else:
            patch = diff(old.tree, new.tree)
            body |= {"t": "diff", "from": old.version, "diff": patch, "sentences": self.sentences(old.event_id, new.event_id)}
        content = self.messages[key] = _ENCODER.encode(body)
        return new.version, content

    def sentences(self, after_id: int, newest: int, most: int = bounds.MAX_SENTENCES_PER_PUSH) -> list[dict[str, Any]]:
        """The sentences after that event; of a flood the newest, and before them what mattered."""
        first = max(after_id, newest - most, 0)
        skipped = max(after_id, first - bounds.MAX_EVENTS_SIFTED)
        flood = self.lab.history(skipped, first - skipped) if skipped < first else []
        major = [happening for happening in flood if narrate.level(happening.event) == narrate.MAJOR]
        return [sentence(happening) for happening in major[-most:] + self.lab.history(first, most)]

    def extra_messages(self) -> list[bytes]:
        """What rooms above the sandbox have to say after a move; only what changed since the last time."""
        found: list[bytes] = []
        for extra in hooks.EXTRAS:
            for message in extra(self):
                kind = message["t"]
                if self.extras.get(kind) != message:
                    self.extras[kind] = message
                    found.append(_ENCODER.encode(message))
        return found

    def known_extras(self) -> list[bytes]:
        """For a reader who has just come: what the others know already."""
        return [_ENCODER.encode(message) for message in self.extras.values()]


def check_pace(speed: object, running: bool | None, now: tuple[float, bool]) -> tuple[float, bool]:
    """The pace that is asked for. ``speed``: None to leave it, "max", or a number of ``SPEEDS``; 0 alone means pause.

    Raises EngineError naming the field."""
    if speed is None:
        return now[0], now[1] if running is None else running
    if speed == "max":
        return MAX_SPEED, running is not False
    if speed == 0 and not isinstance(speed, bool):
        return now[0], False
    if isinstance(speed, (int, float)) and not isinstance(speed, bool) and float(speed) in SPEEDS:
        return float(speed), running is not False
    raise EngineError('speed: choose 0 (pause), 0.01, 0.1, 1, 10, 100 or "max".', field="speed")
