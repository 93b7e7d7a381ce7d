"""What a node may do while it handles a delivery: record sends, timers and events. The kernel carries them out afterwards.

The cause of a send, a timer or an event is the event that the handler emitted last, or else the one that led to this delivery.
``because`` narrows it for work that was parked earlier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from engine.events import Event
from engine.messages.base import Message, Timer
from engine.sim.disk import Disk
from engine.sim.rng import Stream, seed_for

Effect = tuple[int, str, "Message | Timer", int, int]
"""(kind, destination or "", body, microseconds, cause)."""

SEND, ARM, CANCEL = 0, 1, 2

Silence = Callable[[str, str], tuple[int, ...]]


class Outbox:
    """One per delivery handled. ``now`` is virtual microseconds since the lab began, ``now_ms`` this node's wall clock (it may be
    skewed; use it for timestamps only). ``disk`` and the random streams are this node's own."""

    __slots__ = (
        "cause", "disk", "effects", "emitted", "exited", "next_event_id", "node", "now", "now_ms", "seed", "silence", "streams",
    )  # fmt: skip

    def __init__(
        self,
        node: str,
        now: int,
        now_ms: int,
        cause: int,
        next_event_id: int,
        disk: Disk,
        seed: int,
        streams: dict[str, Stream],
        silence: Silence,
    ) -> None:
        self.node = node
        self.now = now
        self.now_ms = now_ms
        self.cause = cause
        self.next_event_id = next_event_id
        self.disk = disk
        self.seed = seed
        self.streams = streams
        self.silence = silence
        self.effects: list[Effect] = []
        self.emitted: list[tuple[Event, tuple[int, ...]]] = []
        self.exited = False

    def send(self, destination: str, message: Message) -> None:
        """Puts ``message`` on the wire to another node. After a disk write on a slow disk it leaves when the write is done."""
        self.effects.append((SEND, destination, message, 0, self.cause))

    def arm(self, timer: Timer, *, after_us: int) -> None:
        """Delivers ``timer`` to this node after ``after_us``; an equal timer that runs is replaced."""
        self.effects.append((ARM, "", timer, after_us, self.cause))

    def cancel(self, timer: Timer) -> None:
        self.effects.append((CANCEL, "", timer, 0, 0))

    def emit(self, event: Event, *, also: tuple[int, ...] = ()) -> int:
        """Records that ``event`` happened, caused by what led here and by the events ``also``. Returns its number."""
        cause = self.cause
        causes = (cause, *[other for other in also if other and other != cause]) if cause else also
        self.emitted.append((event, causes))
        number = self.next_event_id
        self.next_event_id = number + 1
        self.cause = number
        return number

    def silencers(self, peer: str) -> tuple[int, ...]:
        """The events that keep (or lately kept) ``peer`` from being heard here: a kill, a pause, a cut. Only for ``emit(also=…)`` when a
        timer ran out: an oracle that explains, never one that decides."""
        return self.silence(peer, self.node)

    def because(self, event_id: int) -> None:
        """From here on, what is sent and emitted is caused by ``event_id`` (0: by nobody)."""
        self.cause = event_id

    def stream(self, name: str) -> Stream:
        """This node's random stream called ``name``; it draws from nobody else's."""
        stream = self.streams.get(name)
        if stream is None:
            stream = self.streams[name] = Stream(seed_for(self.seed, f"{self.node}/{name}"))
        return stream

    def exit(self) -> None:
        """The process ends by itself after this delivery (a polite stop); its disk stays, synced as the node left it."""
        self.exited = True


class Node(Protocol):
    """A process: volatile state that a kill drops. Its class is a slotted dataclass, its state a tree without sharing."""

    def start(self, out: Outbox) -> None:
        """The process boots: reads ``out.disk``, arms its timers, sends its first messages."""

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        """One delivery. ``source`` is the sender's address ("" for a timer or an instruction)."""
