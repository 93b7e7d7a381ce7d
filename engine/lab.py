"""The front door: one cluster, its history, and the travel through it.

A lab is a world and the inputs it was given. Everything else (events, any moment of the past, any branch) follows from those by
replay, so the past can be visited from the nearest checkpoint and changed by acting in it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

from engine import ENGINE_VERSION, limits
from engine import commands as cm
from engine import world as wd
from engine.effects import apply
from engine.errors import EngineError
from engine.events import Happening
from engine.messages import instructions as im
from engine.refusals import check
from engine.sim import checkpoint as cp
from engine.sim.kernel import Kernel
from engine.spec import ClusterSpec
from engine.view.build import build_view
from engine.view.narrate import EVENT_NAMES
from engine.view.phrases import command_text
from engine.view.tree import View

check_spec = wd.check_spec
"""Raises EngineError, naming the field, where a specification asks for what cannot be."""

FORMING_LIMIT_US = 60_000_000
FORMING_SLICE_US = 20_000


class Input(msgspec.Struct, frozen=True):
    """One command in a history, given at virtual time ``at_us`` after everything due by then had been done."""

    at_us: int
    command: cm.AnyCommand


class Branch(msgspec.Struct, frozen=True):
    """A line of history: its inputs, how far it got, and from which branch it departed when."""

    id: int
    parent: int
    forked_at_us: int
    end_us: int
    inputs: tuple[Input, ...]


class Share(msgspec.Struct, frozen=True):
    """What a link or a file holds: enough for anybody to reach the same cluster at the same moment."""

    engine_version: str
    spec: ClusterSpec
    seed: int
    inputs: tuple[Input, ...]
    at_us: int


class Breakpoint(msgspec.Struct, frozen=True):
    """Pause when an event of this kind occurs. ``event`` is its class's name; ``topic``, ``partition``, ``node`` narrow it."""

    id: int
    event: str
    topic: str = ""
    partition: int = -1
    node: str = ""

    def matches(self, happening: Happening) -> bool:
        event = happening.event
        if type(event).__name__ != self.event:
            return False
        if self.topic and getattr(event, "topic", None) != self.topic:
            return False
        if self.partition >= 0 and getattr(event, "partition", None) != self.partition:
            return False
        return not self.node or self.node in (happening.node, getattr(event, "name", ""))


@dataclass(slots=True)
class _Checkpoint:
    """A moment that can be returned to: a copy of the world, and how many inputs it had been given."""

    at_us: int
    deliveries: int
    inputs_done: int
    world: wd.World


@dataclass(slots=True)
class _Past:
    """The events that are remembered. ``first_id`` is the number of ``events[0]``; numbers are consecutive."""

    first_id: int = 1
    events: list[Happening] = field(default_factory=list)

    def add(self, fresh: list[Happening]) -> None:
        """Appends what is new; what a replay brings again is known already."""
        for happening in fresh:
            if happening.id >= self.first_id + len(self.events):
                self.events.append(happening)
        if len(self.events) > limits.MAX_HISTORY_EVENTS * 5 // 4:
            excess = len(self.events) - limits.MAX_HISTORY_EVENTS
            del self.events[:excess]
            self.first_id += excess

    def get(self, number: int) -> Happening | None:
        position = number - self.first_id
        return self.events[position] if 0 <= position < len(self.events) else None

    def forget_from(self, number: int) -> None:
        del self.events[max(number - self.first_id, 0) :]


class Lab:
    """A Kafka cluster in virtual time. Not safe for use by two threads."""

    def __init__(self, spec: ClusterSpec, seed: int = 0) -> None:
        """Creates the cluster and lets it form (a quorum, all brokers unfenced, the topics of ``spec``).

        Raises EngineError, naming the field, where ``spec`` asks for what Kafka would refuse."""
        wd.check_spec(spec)
        self._begin(spec, seed, wd.create(spec, seed))
        self._form()
        self._checkpoints.clear()
        self._save_checkpoint()

    def _begin(self, spec: ClusterSpec, seed: int, world: wd.World) -> None:
        self.spec = spec
        self.seed = seed
        self.world = world
        self.branch = 0
        self.branches: dict[int, Branch] = {}
        self.breakpoints: list[Breakpoint] = []
        self.stopped_by: Happening | None = None
        self.refusal: EngineError | None = None
        self.overfull = ""
        self._next_branch = 1
        self._parent = -1
        self._forked_at_us = 0
        self._inputs: list[Input] = []
        self._inputs_done = 0
        self._end_us = world.kernel.now
        self._past = _Past()
        self._checkpoints: list[_Checkpoint] = []
        self._listeners: list[Callable[[list[Happening]], None]] = []

    def _form(self) -> None:
        """Runs the new cluster until it is ready, then creates the topics it should have."""
        self._run_until(self._formed, "the cluster did not form")
        for number, topic in enumerate(self.spec.topics):
            factor = min(topic.replication_factor, self.spec.brokers)
            counts = (-1, -1) if topic.assignments else (topic.partitions, factor)
            request = wd.create_topic_request(topic.name, *counts, topic.configs, topic.assignments)
            self.kernel.instruct(wd.ADMIN, im.CallAdmin(-1 - number, request), 0)
        if self.spec.topics:
            self._run_until(self._topics_ready, "the topics of the specification were not created")

    def _run_until(self, ready: Callable[[], bool], trouble: str) -> None:
        kernel = self.kernel
        while not ready():
            if kernel.now > FORMING_LIMIT_US:
                raise EngineError(f"{trouble} within {FORMING_LIMIT_US // 1_000_000} virtual seconds.", code="UNKNOWN_SERVER_ERROR")
            kernel.run(kernel.now + FORMING_SLICE_US)
            self._drain()
        self._end_us = kernel.now

    def _formed(self) -> bool:
        return wd.formed(self.world)

    def _topics_ready(self) -> bool:
        return wd.topics_ready(self.world)

    # -- where we are -----------------------------------------------------------------------------------------------------------

    @property
    def kernel(self) -> Kernel:
        return self.world.kernel

    @property
    def now_us(self) -> int:
        """The playhead."""
        return self.world.kernel.now

    @property
    def end_us(self) -> int:
        """The newest moment of this branch; the playhead is there unless somebody rewound."""
        return max(self._end_us, self.now_us)

    @property
    def begin_us(self) -> int:
        """The earliest moment that can be returned to."""
        return self._checkpoints[0].at_us

    @property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(self._inputs)

    def subscribe(self, listener: Callable[[list[Happening]], None]) -> None:
        """``listener`` gets each run of new happenings (a replay brings none)."""
        self._listeners.append(listener)

    # -- going on ---------------------------------------------------------------------------------------------------------------

    def submit(self, command: cm.Command) -> int:
        """Checks and carries out a command now; returns the number of its CommandGiven event. Given in the past it opens a new
        branch from here; the old future stays as a branch. Raises EngineError, having changed nothing."""
        if len(self._inputs) >= limits.MAX_INPUTS:
            raise EngineError(
                f"This lab has been given {limits.MAX_INPUTS} commands, the most that one history holds. Fork it or start another.",
                code="POLICY_VIOLATION",
            )
        check(self.world, command)
        if self._inputs_done < len(self._inputs) or self.now_us < self._end_us:
            self._depart()
        number = self._apply(command)
        self._inputs.append(Input(self.now_us, command))  # type: ignore[arg-type]
        self._inputs_done = len(self._inputs)
        self._end_us = self.now_us
        return number

    def _apply(self, command: cm.Command) -> int:
        number = apply(self.world, command, command_text(command))
        self._drain()
        return number

    def advance(self, until_us: int, max_deliveries: int = 0) -> bool:
        """Lets virtual time pass up to ``until_us``. False where it stopped earlier: after ``max_deliveries``, or at a breakpoint
        (then ``stopped_by`` tells which event). Raises EngineError for a time beyond the limits."""
        self._check_time(until_us)
        self.stopped_by = None
        kernel = self.kernel
        watch = self._watch if self.breakpoints else None
        left = max_deliveries
        while True:
            at_input = self._inputs_done < len(self._inputs)
            target = min(until_us, self._inputs[self._inputs_done].at_us) if at_input else until_us
            began_us = kernel.now
            stocktaking_us = (began_us // limits.STOCKTAKING_EVERY_US + 1) * limits.STOCKTAKING_EVERY_US
            target = min(target, stocktaking_us)
            room = limits.CHECKPOINT_EVERY_DELIVERIES - (kernel.deliveries - self._checkpoints_latest())
            step = max(min(left, room) if max_deliveries else room, 1)
            before = kernel.deliveries
            arrived = kernel.run(target, step, watch)
            self._drain()
            if began_us < stocktaking_us == kernel.now:
                self.overfull = wd.take_stock(self.world) or self.overfull
                self._drain()
            left -= kernel.deliveries - before
            if kernel.deliveries - self._checkpoints_latest() >= limits.CHECKPOINT_EVERY_DELIVERIES:
                self._save_checkpoint()
            if self._at_breakpoint():
                break
            if arrived and at_input and target == self._inputs[self._inputs_done].at_us:
                self._apply(self._inputs[self._inputs_done].command)
                self._inputs_done += 1
                continue
            if (arrived and target == until_us) or (max_deliveries and left <= 0):
                break
        self._end_us = max(self._end_us, kernel.now)
        return kernel.now >= until_us and not self._at_breakpoint()

    def _at_breakpoint(self) -> bool:
        return self.stopped_by is not None

    def _watch(self, fresh: list[Happening]) -> bool:
        for happening in fresh:
            if any(point.matches(happening) for point in self.breakpoints):
                self.stopped_by = happening
                return True
        return False

    def step(self, horizon_us: int = 60_000_000) -> list[Happening]:
        """Lets time pass to the next event, at most ``horizon_us``; returns what happened then."""
        before = self.kernel.next_event_id
        goal = self.now_us + horizon_us
        self._check_time(goal)
        while self.kernel.next_event_id == before and self.now_us < goal:
            upcoming = self.kernel.queue[0][0] if self.kernel.queue else goal
            if self._inputs_done < len(self._inputs):
                upcoming = min(upcoming, self._inputs[self._inputs_done].at_us)
            self.advance(min(max(upcoming, self.now_us), goal))
            if upcoming <= self.now_us and self.kernel.next_event_id == before and not self.kernel.queue:
                break
        return [h for n in range(before, self.kernel.next_event_id) if (h := self._past.get(n)) is not None]

    def add_breakpoint(self, event: str, topic: str = "", partition: int = -1, node: str = "") -> Breakpoint:
        """Raises EngineError for an event that does not exist, or when there are too many."""
        if event not in EVENT_NAMES:
            raise EngineError(
                f"event: no event is called {event[:60]!r}; known are {', '.join(sorted(EVENT_NAMES))}.", field="event"
            )
        if len(self.breakpoints) >= limits.MAX_BREAKPOINTS:
            raise EngineError(f"event: a lab keeps at most {limits.MAX_BREAKPOINTS} breakpoints; remove one first.", field="event")
        point = Breakpoint(max((b.id for b in self.breakpoints), default=0) + 1, event, topic, partition, node)
        self.breakpoints.append(point)
        return point

    def remove_breakpoint(self, number: int) -> None:
        self.breakpoints = [point for point in self.breakpoints if point.id != number]

    def _check_time(self, at_us: int) -> None:
        if not 0 <= at_us <= limits.MAX_NOW_US:
            raise EngineError(
                f"at_us: {at_us} lies outside virtual time, which runs from 0 to {limits.MAX_NOW_US} µs.", field="at_us"
            )
        if at_us - self.now_us > limits.MAX_ADVANCE_US:
            raise EngineError(f"at_us: at most {limits.MAX_ADVANCE_US} µs can be passed in one leap.", field="at_us")

    def _drain(self) -> None:
        kernel = self.kernel
        fresh = kernel.fresh
        if not fresh:
            return
        kernel.fresh = []
        for happening in fresh:
            self.world.metrics.observe(happening)
        newest = self._past.first_id + len(self._past.events)
        self._past.add(fresh)
        if self._listeners:
            unseen = [happening for happening in fresh if happening.id >= newest]
            for listener in self._listeners if unseen else ():
                listener(unseen)

    # -- time travel --------------------------------------------------------------------------------------------------------------

    def _checkpoints_latest(self) -> int:
        """Deliveries at the newest checkpoint at or before the playhead."""
        now = self.kernel.deliveries
        for saved in reversed(self._checkpoints):
            if saved.deliveries <= now:
                return saved.deliveries
        return now

    def _save_checkpoint(self) -> None:
        saved = _Checkpoint(self.now_us, self.kernel.deliveries, self._inputs_done, cp.copy_tree(self.world))
        if self._checkpoints and self._checkpoints[-1].deliveries >= saved.deliveries:
            return
        self._checkpoints.append(saved)
        kept = self._past.events[0].at_us if self._past.events and self._past.first_id > 1 else 0
        while len(self._checkpoints) > 2 and self._checkpoints[1].at_us <= kept:
            del self._checkpoints[0]
        if len(self._checkpoints) > limits.MAX_CHECKPOINTS:
            self._thin_out()

    def _thin_out(self) -> None:
        """Drops the checkpoint that is missed least: the one whose gap is smallest for its age."""
        points = self._checkpoints
        newest = points[-1].deliveries

        def worth(index: int) -> float:
            gap = points[index + 1].deliveries - points[index - 1].deliveries
            return gap / (newest - points[index].deliveries + 1)

        del points[min(range(1, len(points) - 1), key=worth)]

    def seek(self, at_us: int) -> None:
        """Moves the playhead. Raises EngineError outside [begin_us, end_us]."""
        self.approach(at_us)
        self._replay_to(at_us)

    def approach(self, at_us: int) -> None:
        """The quick half of ``seek``: to a moment at or before ``at_us`` from where ``advance`` leads there, as slowly as one likes.
        Raises EngineError outside [begin_us, end_us]."""
        if not self.begin_us <= at_us <= self.end_us:
            raise EngineError(
                f"at_us: history reaches from {self.begin_us} to {self.end_us} µs; {at_us} lies outside.", field="at_us"
            )
        end = self.end_us
        later = at_us >= self.now_us
        saved = max((s for s in self._checkpoints if s.at_us <= at_us), key=lambda s: s.deliveries)
        if not later or saved.deliveries > self.kernel.deliveries:
            self.world = cp.copy_tree(saved.world)
            self._inputs_done = saved.inputs_done
        self._end_us = end

    def _replay_to(self, at_us: int) -> None:
        points, self.breakpoints = self.breakpoints, []
        try:
            while self.now_us < at_us:
                self.advance(min(at_us, self.now_us + limits.MAX_ADVANCE_US))
            self.advance(at_us)
        finally:
            self.breakpoints = points

    def _depart(self) -> None:
        """The old future becomes a branch of its own; from here on history is new."""
        if len(self.branches) >= limits.MAX_BRANCHES:
            oldest = min(self.branches)
            del self.branches[oldest]
        self._keep_branch()
        self._parent, self.branch = self.branch, self._next_branch
        self._next_branch += 1
        self._forked_at_us = self.now_us
        del self._inputs[self._inputs_done :]
        self._past.forget_from(self.kernel.next_event_id)
        self._checkpoints = [
            s for s in self._checkpoints if s.deliveries <= self.kernel.deliveries and s.inputs_done <= self._inputs_done
        ]
        self._end_us = self.now_us

    def _keep_branch(self) -> None:
        self.branches[self.branch] = Branch(self.branch, self._parent, self._forked_at_us, self.end_us, tuple(self._inputs))

    def switch(self, branch: int) -> None:
        """Goes to the end of another branch. Raises EngineError where there is none of that number."""
        if branch != self.branch:
            self.turn_to(branch)
            self._replay_to(self.end_us)

    def turn_to(self, branch: int) -> None:
        """The quick half of ``switch``: onto another branch, where ``advance`` leads to its end, ``end_us``."""
        target = self.branches.get(branch)
        if target is None:
            raise EngineError(
                f"branch: there is no branch {branch}; there are {sorted([*self.branches, self.branch])}.",
                field="branch",
            )
        common = 0
        for mine, theirs in zip(self._inputs, target.inputs, strict=False):
            if mine != theirs:
                break
            common += 1
        parting = min(
            [lines[common].at_us for lines in (self._inputs, target.inputs) if len(lines) > common]
            or [min(self.end_us, target.end_us)]
        )
        usable = [s for s in self._checkpoints if s.inputs_done <= common and s.at_us <= parting]
        if not usable:
            raise EngineError(f"branch: branch {branch} departed before the history that is still kept.", field="branch")
        self._keep_branch()
        del self.branches[branch]
        self.branch, self._parent, self._forked_at_us = target.id, target.parent, target.forked_at_us
        self._checkpoints = usable
        saved = usable[-1]
        self.world = cp.copy_tree(saved.world)
        self._inputs = list(target.inputs)
        self._inputs_done = saved.inputs_done
        self._past.forget_from(self.kernel.next_event_id)
        self._end_us = target.end_us

    def fork(self) -> Lab:
        """An independent lab that stands where this one stands, with the same past and no other future."""
        twin = Lab.__new__(Lab)
        twin._begin(self.spec, self.seed, cp.copy_tree(self.world))
        twin._inputs = self._inputs[: self._inputs_done]
        twin._inputs_done = self._inputs_done
        twin._past = _Past(self._past.first_id, self._past.events.copy())
        twin._past.forget_from(self.kernel.next_event_id)
        twin._checkpoints = [
            _Checkpoint(s.at_us, s.deliveries, s.inputs_done, cp.copy_tree(s.world))
            for s in self._checkpoints
            if s.deliveries <= self.kernel.deliveries and s.inputs_done <= self._inputs_done
        ]
        twin._end_us = self.now_us
        return twin

    def checkpoint(self) -> bytes:
        """The lab at its playhead in durable form; branches and the future of the playhead are left out."""
        head = [
            ENGINE_VERSION,
            self.seed,
            msgspec.json.encode(self.spec),
            [msgspec.json.encode(i) for i in self._inputs[: self._inputs_done]],
        ]
        body = cp.dump(self.world)
        return zlib.compress(msgspec.msgpack.encode([head, body]), 1)

    @classmethod
    def restore(cls, content: bytes) -> Lab:
        """Reads ``checkpoint``. Raises CheckpointError where it is damaged or of another engine."""
        try:
            head, body = msgspec.msgpack.decode(zlib.decompress(content))
            version, seed, spec, inputs = head
        except (zlib.error, msgspec.DecodeError, ValueError, TypeError) as wrong:
            raise cp.CheckpointError(f"The checkpoint cannot be read ({wrong}).") from wrong
        if version != ENGINE_VERSION:
            raise cp.CheckpointError(f"The checkpoint is of engine {version}; this is engine {ENGINE_VERSION}.")
        lab = cls.__new__(cls)
        lab._begin(msgspec.json.decode(spec, type=ClusterSpec), seed, cp.load(body))
        lab._inputs = [msgspec.json.decode(line, type=Input) for line in inputs]
        lab._inputs_done = len(lab._inputs)
        lab._past.first_id = lab.kernel.next_event_id
        lab._save_checkpoint()
        return lab

    def share(self) -> Share:
        """Everything up to the playhead."""
        return Share(ENGINE_VERSION, self.spec, self.seed, tuple(self._inputs[: self._inputs_done]), self.now_us)

    @classmethod
    def from_share(cls, share: Share) -> Lab:
        """The same cluster at the same moment. Raises EngineError where the share is of another engine or does not replay."""
        if share.engine_version != ENGINE_VERSION:
            raise EngineError(
                f"This was shared by engine {share.engine_version}; here runs engine {ENGINE_VERSION}.",
                field="engine_version",
            )
        lab = cls(share.spec, share.seed)
        for given in share.inputs:
            if given.at_us < lab.now_us:
                raise EngineError("inputs: the times of the commands run backwards.", field="inputs")
            lab.advance(given.at_us)
            lab.submit(given.command)
        if share.at_us > lab.now_us:
            lab.advance(share.at_us)
        return lab

    # -- looking ------------------------------------------------------------------------------------------------------------------

    def view(self) -> View:
        return build_view(self.kernel, self.world.metrics)

    def digest(self) -> str:
        """A fingerprint of everything that can be seen."""
        return blake2b(msgspec.json.encode(self.view(), order="deterministic"), digest_size=16).hexdigest()

    def trace_hash(self) -> str:
        """A fingerprint of everything that has happened, delivery by delivery."""
        kernel = self.kernel
        return blake2b(f"{kernel.trace}/{kernel.deliveries}/{kernel.next_event_id}".encode(), digest_size=16).hexdigest()

    def happening(self, number: int) -> Happening | None:
        """The event of that number, if it is remembered and not in the playhead's future."""
        return self._past.get(number) if number < self.kernel.next_event_id else None

    def history(self, after_id: int = 0, limit: int = 200) -> list[Happening]:
        """The events after ``after_id``, oldest first, at most ``limit``, up to the playhead."""
        past = self._past
        begin = max(after_id + 1 - past.first_id, 0)
        end = min(self.kernel.next_event_id - past.first_id, begin + limit)
        return past.events[begin : max(end, begin)]

    def future(self) -> list[Happening]:
        """The events beyond the playhead that this branch has seen already."""
        return self._past.events[max(self.kernel.next_event_id - self._past.first_id, 0) :]

    def why(self, number: int, limit: int = 60) -> list[Happening]:
        """The events that led to this one, oldest first, itself last; every cause of each, nearest first where there are too many."""
        found: dict[int, Happening] = {}
        waiting = [number]
        while waiting and len(found) < limit:
            current = waiting.pop(0)
            happening = self.happening(current)
            if happening is not None and current not in found:
                found[current] = happening
                waiting += happening.causes
        return [found[key] for key in sorted(found)]
