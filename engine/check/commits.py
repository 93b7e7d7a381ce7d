"""A commit that a consumer was told of is durable: its record lies below the high watermark of ``__consumer_offsets``.

The records are read from what the oracle knows to be committed, never from what a coordinator believes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine import events as ev
from engine.check.invariants import Oracle, Violation
from engine.coordination.group_records import OFFSET_COMMIT_KEYS, read_offset_key, read_offset_value, record_kind
from engine.log.record_batch import decode, read_header
from engine.messages.base import TopicPartition
from engine.metadata.internal_topics import CONSUMER_OFFSETS


@dataclass(slots=True)
class Commits:
    """``known``: every (group, topic, partition, offset) that was ever committed; ``read_to``: the last batch read of each partition."""

    oracle: Oracle
    known: set[tuple[str, str, int, int]] = field(default_factory=set)
    read_to: dict[TopicPartition, int] = field(default_factory=dict)

    def observe(self, fresh: list[ev.Happening]) -> None:
        """Raises Violation where a commit was acknowledged too early."""
        for happening in fresh:
            event = happening.event
            if isinstance(event, ev.CommitCompleted):
                self._told(event, happening.at_us)

    def _told(self, event: ev.CommitCompleted, at_us: int) -> None:
        keys = [(event.group, topic, number, offset) for topic, number, offset in event.offsets]
        if all(key in self.known for key in keys) or self.oracle.licensed(CONSUMER_OFFSETS):
            return
        self._read_on()
        for key in keys:
            if key not in self.known:
                raise Violation(
                    "NoAckedLoss",
                    at_us,
                    f"{event.consumer} was told that offset {key[3]} of {key[1]}-{key[2]} is committed, and no such record is",
                )

    def _read_on(self) -> None:
        for partition, committed in self.oracle.partitions.items():
            if partition.topic != CONSUMER_OFFSETS:
                continue
            read_to = self.read_to.get(partition, -1)
            for base in reversed(committed.batches):
                if base <= read_to:
                    break
                self._read(committed.batches[base])
            self.read_to[partition] = committed.last_base

    def _read(self, batch: bytes) -> None:
        if read_header(batch).is_control_batch:
            return
        for record in decode(batch):
            if record.key is not None and record.value is not None and record_kind(record.key) in OFFSET_COMMIT_KEYS:
                group, (topic, number) = read_offset_key(record.key)
                self.known.add((group, topic, number, read_offset_value(record.value).offset))
