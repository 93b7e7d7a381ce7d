"""Who read which partition of a group, from when to when, and for how long nobody did: what a rebalance costs, whatever the protocol.

Told by the consumers' own listeners (``onPartitionsAssigned``, ``onPartitionsRevoked``, ``onPartitionsLost``) and by the end or the pause
of their processes. A partition is stopped from the moment its reader gave it up, died or froze until another one took it over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine import events as e
from engine.events import Event, Happening

SPANS_KEPT = 240
REBALANCES_KEPT = 12
MAX_REASON = 200


class Span(msgspec.Struct, frozen=True, gc=False):
    """``partition`` ("orders-0") was ``consumer``'s; ``until_us`` -1: it still is."""

    partition: str
    consumer: str
    from_us: int
    until_us: int = -1


class Rebalance(msgspec.Struct, frozen=True, gc=False):
    """One that a coordinator has brought to its end. ``epoch``: the generation that it led to."""

    at_us: int
    epoch: int
    reason: str
    took_us: int


@dataclass(slots=True)
class GroupLog:
    """``spans`` by their beginning. ``reason``: of the rebalance that goes on; ``bumped_us`` and ``epoch`` under KIP-848, -1: none does."""

    spans: list[Span] = field(default_factory=list)
    rebalances: list[Rebalance] = field(default_factory=list)
    reason: str = ""
    bumped_us: int = -1
    epoch: int = -1


@dataclass(slots=True)
class OwnershipTracker:
    """Part of the lab's state: it rewinds and forks with it. ``paused``: what a frozen consumer held, as (group, partition)."""

    groups: dict[str, GroupLog] = field(default_factory=dict)
    paused: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    def observe(self, happening: Happening) -> None:
        handler = _OBSERVE.get(type(happening.event))
        if handler is not None:
            handler(self, happening.at_us, happening.event)

    def log(self, group: str) -> GroupLog:
        known = self.groups.get(group)
        if known is None:
            known = self.groups[group] = GroupLog()
        return known

    def close(self, group: str, consumer: str, partitions: list[str] | None, at_us: int) -> list[str]:
        """Ends the consumer's spans (of these partitions only); returns whose."""
        known = self.groups.get(group)
        closed = []
        for position, span in enumerate(known.spans if known is not None else ()):
            if span.until_us < 0 and span.consumer == consumer and (partitions is None or span.partition in partitions):
                assert known is not None
                known.spans[position] = msgspec.structs.replace(span, until_us=at_us)
                closed.append(span.partition)
        return closed

    def open(self, group: str, consumer: str, partitions: list[str], at_us: int) -> None:
        known = self.log(group)
        known.spans += [Span(partition, consumer, at_us) for partition in partitions]
        if len(known.spans) > SPANS_KEPT:
            old = [span for span in known.spans[:-SPANS_KEPT] if span.until_us < 0]
            known.spans = old + known.spans[-SPANS_KEPT:]


def stops(spans: list[Span]) -> dict[str, list[tuple[int, int]]]:
    """By partition, when nobody read it between two readers, or since the last one (-1 as the end)."""
    found: dict[str, list[tuple[int, int]]] = {}
    last: dict[str, int] = {}
    for span in sorted(spans, key=_begin):
        free_us = last.get(span.partition)
        if free_us is not None and 0 <= free_us < span.from_us:
            found.setdefault(span.partition, []).append((free_us, span.from_us))
        until_us = span.until_us if span.until_us >= 0 else _FOREVER
        last[span.partition] = max(until_us, free_us or 0)
    for partition, free_us in last.items():
        if free_us != _FOREVER:
            found.setdefault(partition, []).append((free_us, -1))
    return found


_FOREVER = 2**62


def _begin(span: Span) -> int:
    return span.from_us


def _names(partitions: tuple[tuple[str, int], ...]) -> list[str]:
    return [f"{topic}-{number}" for topic, number in partitions]


# -- what each event says -------------------------------------------------------------------------------------------------


def _assigned(tracker: OwnershipTracker, at_us: int, event: e.PartitionsAssigned) -> None:
    if event.partitions:
        tracker.open(event.group, event.consumer, _names(event.partitions), at_us)


def _given_up(tracker: OwnershipTracker, at_us: int, event: e.PartitionsRevoked | e.PartitionsLost) -> None:
    tracker.close(event.group, event.consumer, _names(event.partitions), at_us)


def _gone(tracker: OwnershipTracker, at_us: int, event: e.NodeKilled | e.NodeStopped | e.PowerLost) -> None:
    tracker.paused.pop(event.name, None)
    for group in tracker.groups:
        tracker.close(group, event.name, None, at_us)


def _crashed(tracker: OwnershipTracker, at_us: int, event: e.ConsumerCrashed) -> None:
    tracker.close(event.group, event.consumer, None, at_us)


def _paused(tracker: OwnershipTracker, at_us: int, event: e.NodePaused) -> None:
    held = [(group, name) for group in tracker.groups for name in tracker.close(group, event.name, None, at_us)]
    if held:
        tracker.paused[event.name] = tuple(held)


def _resumed(tracker: OwnershipTracker, at_us: int, event: e.NodeResumed) -> None:
    """It goes on where it was, and learns only later that others may have its partitions by now."""
    for group, partition in tracker.paused.pop(event.name, ()):
        tracker.open(group, event.name, [partition], at_us)


def _began(tracker: OwnershipTracker, at_us: int, event: e.GroupRebalanceStarted) -> None:
    tracker.log(event.group).reason = event.reason


def _ended(tracker: OwnershipTracker, at_us: int, event: e.GroupRebalanced) -> None:
    _note(tracker.log(event.group), at_us, event.generation, event.took_us)


def _note(known: GroupLog, at_us: int, epoch: int, took_us: int) -> None:
    known.rebalances.append(Rebalance(at_us, epoch, known.reason, took_us))
    del known.rebalances[:-REBALANCES_KEPT]


def _bumped(tracker: OwnershipTracker, at_us: int, event: e.GroupEpochBumped) -> None:
    known = tracker.log(event.group)
    if known.bumped_us < 0:
        known.bumped_us, known.reason = at_us, event.reason
    elif event.reason not in known.reason:
        known.reason = f"{known.reason}; {event.reason}"[:MAX_REASON]
    known.epoch = event.epoch


def _settled(tracker: OwnershipTracker, at_us: int, event: e.GroupStateChanged) -> None:
    """Under KIP-848 a rebalance is over when every member follows the target."""
    known = tracker.groups.get(event.group)
    if known is None or known.bumped_us < 0 or event.new not in ("Stable", "Empty"):
        return
    _note(known, at_us, known.epoch, at_us - known.bumped_us)
    known.bumped_us = -1


def _deleted(tracker: OwnershipTracker, at_us: int, event: e.GroupDeleted) -> None:
    tracker.groups.pop(event.group, None)


_OBSERVE: dict[type[Event], Callable[[OwnershipTracker, int, Any], None]] = {
    e.PartitionsAssigned: _assigned,
    e.PartitionsRevoked: _given_up,
    e.PartitionsLost: _given_up,
    e.ConsumerCrashed: _crashed,
    e.NodeKilled: _gone,
    e.NodeStopped: _gone,
    e.PowerLost: _gone,
    e.NodePaused: _paused,
    e.NodeResumed: _resumed,
    e.GroupRebalanceStarted: _began,
    e.GroupRebalanced: _ended,
    e.GroupEpochBumped: _bumped,
    e.GroupStateChanged: _settled,
    e.GroupDeleted: _deleted,
}
OWNERSHIP_EVENTS = frozenset(_OBSERVE)
"""The few kinds of event that say anything about who reads what."""
