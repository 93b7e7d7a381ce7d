"""What groups made of a record: how often their applications worked on it, and whether one was skipped.

A record that an application worked on twice is doubled (at least once), one that was committed although nobody finished it is skipped
(at most once). Where processing takes time, only what was processed counts: a crash in the middle of a batch leaves the rest undone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from engine import events as e

REMEMBERED = 4
"""Deliveries of one record to one group that are told."""


class Delivered(Protocol):
    """What a ledger's row keeps for this account. ``deliveries``: group → the events by which its applications got through with the
    record; ``dropped``: group → the event that took it out of an application's hands."""

    record_id: int
    topic: str
    partition: int
    offset: int
    deliveries: dict[str, list[int]]
    dropped: dict[str, int]


@dataclass(slots=True)
class Deliveries:
    """``groups``: consumer → its group. ``slow``: consumers whose application takes time. ``in_hand``: what polls returned to those and
    they are not through with. ``dropped``: (group, topic, partition) → rows that fell out of hands. ``committed``: the same key →
    (offset, event)."""

    groups: dict[str, str] = field(default_factory=dict)
    slow: dict[str, bool] = field(default_factory=dict)
    in_hand: dict[str, dict[int, Delivered]] = field(default_factory=dict)
    dropped: dict[tuple[str, str, int], list[Delivered]] = field(default_factory=dict)
    committed: dict[tuple[str, str, int], tuple[int, int]] = field(default_factory=dict)

    def assigned(self, event: e.PartitionsAssigned) -> None:
        self.groups[event.consumer] = event.group

    def paced(self, event: e.ProcessingSet) -> None:
        self.slow[event.consumer] = event.processing_ms > 0

    def consumed(self, event: e.RecordsConsumed, row: Delivered, event_id: int) -> None:
        group = self.groups.get(event.consumer)
        if group is None:
            return
        if self.slow.get(event.consumer):
            self.in_hand.setdefault(event.consumer, {})[row.record_id] = row
        else:
            _count(row, group, event_id)

    def processed(self, event: e.RecordsProcessed, row: Delivered, event_id: int) -> None:
        group = self.groups.get(event.consumer)
        if group is not None:
            self.in_hand.get(event.consumer, {}).pop(row.record_id, None)
            _count(row, group, event_id)

    def judged(self, event: e.ShareRecordsProcessed, row: Delivered, event_id: int) -> None:
        """In a share group only what was accepted is done; an attempt that failed does not count."""
        if event.verdict == "accept":
            _count(row, event.group, event_id)

    def ended(self, consumer: str, event_id: int) -> Iterable[Delivered]:
        """The process is gone, and with it what it had in hand. Returns the rows concerned."""
        self.slow.pop(consumer, None)
        group = self.groups.pop(consumer, "")
        rows = list(self.in_hand.pop(consumer, {}).values())
        for row in rows:
            row.dropped[group] = event_id
            self.dropped.setdefault((group, row.topic, row.partition), []).append(row)
        return rows

    def committed_to(self, event: e.CommitCompleted, event_id: int) -> Iterable[Delivered]:
        """Returns the rows whose fate that may change."""
        concerned: list[Delivered] = []
        for topic, partition, offset in event.offsets:
            key = (event.group, topic, partition)
            self.committed[key] = (offset, event_id)
            concerned += self.dropped.get(key, ())
        return concerned

    def forget(self, gone: set[int]) -> None:
        """Rows that were folded away."""
        for key, rows in self.dropped.items():
            self.dropped[key] = [row for row in rows if row.record_id not in gone]
        for name, held in self.in_hand.items():
            self.in_hand[name] = {number: row for number, row in held.items() if number not in gone}

    def doubled(self, row: Delivered) -> tuple[str, ...]:
        """The groups whose applications worked on it more than once."""
        return tuple([group for group, events in row.deliveries.items() if len(events) > 1])

    def skipped(self, row: Delivered) -> list[int]:
        """The events by which a group passed over the record: it fell out of a hand, and is committed all the same; [] where none did."""
        for group, dropped_by in row.dropped.items():
            offset, commit = self.committed.get((group, row.topic, row.partition), (-1, 0))
            if group not in row.deliveries and offset > row.offset >= 0:
                return sorted([commit, dropped_by])
        return []


def _count(row: Delivered, group: str, event_id: int) -> None:
    events = row.deliveries.setdefault(group, [])
    if len(events) < REMEMBERED:
        events.append(event_id)
