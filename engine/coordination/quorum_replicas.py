"""What a leader of the quorum knows of those who fetch from it: how far each has come, when it was last heard, and its parked fetch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from engine.messages.admin import QuorumReplica
from engine.messages.quorum import QuorumFetchRequest


class ParkedFetch(msgspec.Struct, frozen=True):
    source: str
    request: QuorumFetchRequest


@dataclass(slots=True)
class ReplicaProgress:
    """``log_end_offset`` -1: has not fetched in this epoch. ``told_high_watermark``: what the last answer said."""

    log_end_offset: int = -1
    last_fetch_us: int = 0
    last_caught_up_us: int = 0
    told_high_watermark: int = -1


@dataclass(slots=True)
class Replicas:
    """Voters and observers by replica ID."""

    progress: dict[int, ReplicaProgress] = field(default_factory=dict)
    parked: dict[int, ParkedFetch] = field(default_factory=dict)

    def reset(self, voters: Sequence[int], now_us: int) -> None:
        """A new epoch: nothing is known, and each voter has its time to be heard from now."""
        self.progress = {voter: ReplicaProgress(last_fetch_us=now_us) for voter in voters}
        self.parked = {}

    def fetched(self, replica_id: int, fetch_offset: int, leader_end_offset: int, now_us: int) -> bool:
        """Takes a fetch as acknowledgement of everything below it; True if the replica has come further."""
        replica = self.progress.get(replica_id)
        if replica is None:
            replica = self.progress[replica_id] = ReplicaProgress()
        advanced = fetch_offset > replica.log_end_offset
        replica.log_end_offset = fetch_offset
        replica.last_fetch_us = now_us
        if fetch_offset >= leader_end_offset:
            replica.last_caught_up_us = now_us
        return advanced

    def told(self, replica_id: int, high_watermark: int) -> bool:
        """Notes what an answer says; True if that is news to the replica."""
        replica = self.progress[replica_id]
        news = 0 <= replica.told_high_watermark < high_watermark
        replica.told_high_watermark = high_watermark
        return news

    def is_stale(self, replica_id: int, leader_end_offset: int, high_watermark: int) -> bool:
        replica = self.progress[replica_id]
        return replica.log_end_offset < leader_end_offset or replica.told_high_watermark < high_watermark

    def park(self, source: str, request: QuorumFetchRequest) -> None:
        self.parked[request.replica_id] = ParkedFetch(source, request)

    def unpark(self, replica_id: int) -> ParkedFetch | None:
        return self.parked.pop(replica_id, None)

    def parked_ids(self) -> tuple[int, ...]:
        return tuple(self.parked)

    def last_fetch_us(self, replica_id: int) -> int:
        return self.progress[replica_id].last_fetch_us

    def heard_since(self, others: Sequence[int], needed: int) -> int:
        """The moment since which ``needed`` of ``others`` have all been heard at least once."""
        moments = sorted((self.progress[voter].last_fetch_us for voter in others), reverse=True)
        return moments[needed - 1] if needed else 0

    def majority_offset(self, others: Sequence[int], own_end_offset: int) -> int:
        """The largest offset that more than half of all voters have on disk."""
        ends = sorted([own_end_offset, *(self.progress[voter].log_end_offset for voter in others)], reverse=True)
        return ends[len(ends) // 2]

    def by_progress(self, others: Sequence[int]) -> tuple[int, ...]:
        """The most advanced first."""
        return tuple(sorted(others, key=lambda voter: (-self.progress[voter].log_end_offset, voter)))

    def describe(self, replica_ids: Sequence[int], epoch_ms: int) -> tuple[QuorumReplica, ...]:
        """``epoch_ms`` is what this node's clock showed at virtual time 0."""
        return tuple(
            QuorumReplica(
                replica_id,
                self.progress[replica_id].log_end_offset,
                epoch_ms + self.progress[replica_id].last_fetch_us // 1_000,
                epoch_ms + self.progress[replica_id].last_caught_up_us // 1_000,
            )
            for replica_id in replica_ids
        )
