"""Committed offsets of all groups of one shard: Kafka's ``OffsetMetadataManager``.

An offset committed inside a transaction is pending under its producer ID until the marker says whether it counts. A plain fetch is
answered with what is committed in the log of ``__consumer_offsets`` itself: of each offset the value before the newest is kept, for as
long as the newest is still above the high watermark.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from engine.coordination.group_records import OffsetValue
from engine.messages.base import TopicPartition


class CommittedOffset(msgspec.Struct, frozen=True, gc=False):
    """``record_offset``: where its record lies in ``__consumer_offsets``. ``previous``: what stood before, while this is young."""

    value: OffsetValue
    record_offset: int
    previous: CommittedOffset | None = None


@dataclass(slots=True)
class PendingOffsets:
    """What one producer's open transaction wants to commit, by group."""

    by_group: dict[str, dict[TopicPartition, CommittedOffset]] = field(default_factory=dict)


@dataclass(slots=True)
class Offsets:
    """``by_group`` and ``pending`` (by producer ID)."""

    by_group: dict[str, dict[TopicPartition, CommittedOffset]] = field(default_factory=dict)
    pending: dict[int, PendingOffsets] = field(default_factory=dict)

    # -- asking

    def committed(self, group_id: str, partition: TopicPartition, below: int | None) -> OffsetValue | None:
        """As of the record offset ``below`` (the high watermark); None takes the newest."""
        entry = self.by_group.get(group_id, _NOTHING).get(partition)
        while entry is not None and below is not None and entry.record_offset >= below:
            entry = entry.previous
        return entry.value if entry is not None else None

    def partitions(self, group_id: str) -> list[TopicPartition]:
        return list(self.by_group.get(group_id, _NOTHING))

    def pending_partitions(self, group_id: str) -> list[TopicPartition]:
        found = [partition for pending in self.pending.values() for partition in pending.by_group.get(group_id, _NOTHING)]
        return list(dict.fromkeys(found))

    def is_pending(self, group_id: str, partition: TopicPartition) -> bool:
        """An open transaction wants to commit it."""
        return any(partition in pending.by_group.get(group_id, _NOTHING) for pending in self.pending.values())

    def has_open_transaction(self, group_id: str) -> bool:
        return any(group_id in pending.by_group for pending in self.pending.values())

    # -- replaying

    def replay(
        self,
        group_id: str,
        partition: TopicPartition,
        value: OffsetValue | None,
        record_offset: int,
        producer_id: int,
        committed: int,
    ) -> None:
        """``committed``: the high watermark, below which nothing can be lost."""
        if value is None:
            self._remove(self.by_group, group_id, partition)
            for pending in self.pending.values():
                self._remove(pending.by_group, group_id, partition)
        elif producer_id < 0:
            self._put(group_id, partition, CommittedOffset(value, record_offset), committed)
        else:
            waiting = self.pending.setdefault(producer_id, PendingOffsets())
            waiting.by_group.setdefault(group_id, {})[partition] = CommittedOffset(value, record_offset)

    def replay_end_transaction_marker(self, producer_id: int, commit: bool, committed: int) -> None:
        """A newer plain commit is not overwritten by an older one of the transaction."""
        pending = self.pending.pop(producer_id, None)
        if pending is None or not commit:
            return
        for group_id, offsets in pending.by_group.items():
            for partition, entry in offsets.items():
                known = self.by_group.get(group_id, _NOTHING).get(partition)
                if known is None or entry.record_offset > known.record_offset:
                    self._put(group_id, partition, entry, committed)

    def _put(self, group_id: str, partition: TopicPartition, entry: CommittedOffset, committed: int) -> None:
        offsets = self.by_group.setdefault(group_id, {})
        known = offsets.get(partition)
        if known is not None and entry.record_offset >= committed:
            if known.record_offset < committed and known.previous is not None:
                known = CommittedOffset(known.value, known.record_offset)
            entry = CommittedOffset(entry.value, entry.record_offset, known)
        offsets[partition] = entry

    @staticmethod
    def _remove(offsets: dict[str, dict[TopicPartition, CommittedOffset]], group_id: str, partition: TopicPartition) -> None:
        known = offsets.get(group_id)
        if known is not None:
            known.pop(partition, None)
            if not known:
                del offsets[group_id]


_NOTHING: dict[TopicPartition, CommittedOffset] = {}
