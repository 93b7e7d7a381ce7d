"""The share coordinator: what is durable of every share partition that hashes to one partition of ``__share_group_state`` (KIP-932).

Kafka's ``ShareCoordinatorShard`` and ``PersisterStateBatchCombiner``. A share-partition leader initialises, reads and writes state here;
whoever asks with an older leader or state epoch than was seen before is fenced. Every so many updates a snapshot sums them up.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from engine.coordination.consumer_group_records import TopicIdPartition
from engine.coordination.shard import Decision
from engine.coordination.share_group_records import (
    SNAPSHOT_KEY,
    STATE_IDS,
    UPDATE_KEY,
    ShareState,
    read_share_key,
    read_snapshot_value,
    read_update_value,
    share_key,
    snapshot_value,
    update_value,
)
from engine.messages.base import TopicPartition
from engine.messages.share_groups import (
    InitializeShareGroupStateRequest,
    InitializeShareGroupStateResponse,
    ReadShareGroupStateRequest,
    ReadShareGroupStateResponse,
    StateBatch,
    WriteShareGroupStateRequest,
    WriteShareGroupStateResponse,
)  # fmt: skip
from engine.metadata.image import MetadataImage

UNINITIALISED = -1


class ShareKey(NamedTuple):
    """Kafka's ``SharePartitionKey``."""

    group_id: str
    partition: TopicIdPartition

    def coordinator_key(self) -> str:
        """What is hashed to find the coordinator."""
        return f"{self.group_id}:{self.partition.topic_id}:{self.partition.partition}"


@dataclass(slots=True)
class ShareStateShard:
    """``updates``: since the last snapshot. ``leader_epochs``: the highest that has asked, in memory only."""

    states: dict[ShareKey, ShareState] = field(default_factory=dict)
    updates: dict[ShareKey, int] = field(default_factory=dict)
    leader_epochs: dict[ShareKey, int] = field(default_factory=dict)
    updates_per_snapshot: int = 500

    # -- ShardState

    def replay(
        self, offset: int, producer_id: int, producer_epoch: int, key: bytes, value: bytes | None, timestamp_ms: int
    ) -> None:
        kind, group_id, partition = read_share_key(key)
        share = ShareKey(group_id, partition)
        if value is None:
            self.states.pop(share, None)
            self.updates.pop(share, None)
            self.leader_epochs.pop(share, None)
        elif kind == SNAPSHOT_KEY:
            self.states[share] = read_snapshot_value(value)
            self.updates[share] = 0
        elif kind == UPDATE_KEY and share in self.states:
            self._merge(share, *read_update_value(value))
        if share in self.states:
            self.leader_epochs[share] = max(self.leader_epochs.get(share, -1), self.states[share].leader_epoch)

    def _merge(
        self, share: ShareKey, snapshot_epoch: int, leader_epoch: int, start_offset: int, batches: tuple[StateBatch, ...]
    ) -> None:
        known = self.states[share]
        start = known.start_offset if start_offset == UNINITIALISED else start_offset
        self.updates[share] = self.updates.get(share, 0) + 1
        self.states[share] = ShareState(
            known.snapshot_epoch, known.state_epoch, known.leader_epoch if leader_epoch == -1 else leader_epoch, start,
            combine(known.batches, batches, start),
        )  # fmt: skip

    def replay_end_transaction_marker(self, producer_id: int, producer_epoch: int, committed: bool) -> None:
        """No transaction ever writes to this topic."""


# -- what is asked ----------------------------------------------------------------------------------------------------------------------


def share_of(image: MetadataImage, group_id: str, partition: TopicPartition) -> ShareKey | None:
    """None: there is no such partition."""
    topic = image.topics.get(partition.topic)
    if topic is None or partition.partition not in topic.partitions:
        return None
    return ShareKey(group_id, TopicIdPartition(topic.topic_id, partition.partition))


def initialize(shard: ShareStateShard, source: str, request: InitializeShareGroupStateRequest, decision: Decision) -> None:
    """The group coordinator has taken a partition in."""
    share = share_of(decision.known_metadata(), request.group_id, request.partition)
    known = shard.states.get(share) if share is not None else None
    error = "NONE"
    if share is None:
        error = "UNKNOWN_TOPIC_OR_PARTITION"
    elif known is not None and request.state_epoch != -1 and request.state_epoch < known.state_epoch:
        error = "FENCED_STATE_EPOCH"
    elif known is not None and (request.state_epoch, request.start_offset) == (known.state_epoch, known.start_offset):
        pass  # it was done already
    else:
        snapshot_epoch = known.snapshot_epoch + 1 if known is not None else 0
        state = ShareState(snapshot_epoch, request.state_epoch, -1, request.start_offset)
        decision.records.append((share_key(SNAPSHOT_KEY, *share), snapshot_value(state)))
    decision.replies.append((source, InitializeShareGroupStateResponse(request.correlation_id, error)))


def read(shard: ShareStateShard, source: str, request: ReadShareGroupStateRequest, decision: Decision) -> None:
    """A new share-partition leader asks where to go on; from now on older leaders are fenced."""
    share = share_of(decision.known_metadata(), request.group_id, request.partition)
    if share is None:
        response = ReadShareGroupStateResponse(request.correlation_id, "UNKNOWN_TOPIC_OR_PARTITION")
    elif shard.leader_epochs.get(share, -1) > request.leader_epoch:
        response = ReadShareGroupStateResponse(request.correlation_id, "FENCED_LEADER_EPOCH")
    else:
        known = shard.states.get(share)
        if known is None:
            response = ReadShareGroupStateResponse(request.correlation_id, "NONE")
        else:
            if known.leader_epoch < request.leader_epoch:
                value = update_value(known.snapshot_epoch, request.leader_epoch, UNINITIALISED, ())
                decision.records.append((share_key(UPDATE_KEY, *share), value))
            shard.leader_epochs[share] = request.leader_epoch
            response = ReadShareGroupStateResponse(
                request.correlation_id, "NONE", known.state_epoch, known.start_offset, known.batches
            )
    decision.replies.append((source, response))


def write(shard: ShareStateShard, source: str, request: WriteShareGroupStateRequest, decision: Decision) -> None:
    """The leader makes durable what has become of records."""
    share = share_of(decision.known_metadata(), request.group_id, request.partition)
    known = shard.states.get(share) if share is not None else None
    error = "NONE"
    if share is None:
        error = "UNKNOWN_TOPIC_OR_PARTITION"
    elif shard.leader_epochs.get(share, -1) > request.leader_epoch:
        error = "FENCED_LEADER_EPOCH"
    elif known is not None and known.state_epoch > request.state_epoch:
        error = "FENCED_STATE_EPOCH"
    else:
        decision.records.append(_written(shard, share, known, request))
    decision.replies.append((source, WriteShareGroupStateResponse(request.correlation_id, error)))


def _written(
    shard: ShareStateShard, share: ShareKey, known: ShareState | None, request: WriteShareGroupStateRequest
) -> tuple[bytes, bytes | None]:
    """An update, or a snapshot where none is there or enough updates have gathered (``generateShareStateRecord``)."""
    if known is not None and shard.updates.get(share, 0) < shard.updates_per_snapshot:
        batches = combine((), request.batches, request.start_offset)
        value = update_value(known.snapshot_epoch, request.leader_epoch, request.start_offset, batches)
        return share_key(UPDATE_KEY, *share), value
    start = request.start_offset
    if known is not None and start == UNINITIALISED:
        start = known.start_offset
    before = known.batches if known is not None else ()
    state = ShareState(
        known.snapshot_epoch + 1 if known is not None else 0, request.state_epoch, request.leader_epoch, start,
        combine(before, request.batches, start),
    )  # fmt: skip
    return share_key(SNAPSHOT_KEY, *share), snapshot_value(state)


# -- batches --------------------------------------------------------------------------------------------------------------------------------


def combine(before: tuple[StateBatch, ...], new: tuple[StateBatch, ...], start_offset: int) -> tuple[StateBatch, ...]:
    """Both in one, ascending and without overlaps, nothing below ``start_offset`` (-1: keep all). Where two tell different things of a
    record, the later counts: that is the one with more deliveries, or else the more final state."""
    layers = [batch for batch in (*before, *new) if batch.last_offset >= start_offset]
    cuts = sorted(dict.fromkeys([at for b in layers for at in (max(b.first_offset, start_offset), b.last_offset + 1)]))
    best: list[StateBatch | None] = [None] * len(cuts)
    for batch in layers:
        at = bisect_right(cuts, max(batch.first_offset, start_offset)) - 1
        while at < len(cuts) and cuts[at] <= batch.last_offset:
            other = best[at]
            if other is None or _rank(batch) >= _rank(other):
                best[at] = batch
            at += 1
    found: list[StateBatch] = []
    for index, winner in enumerate(best):
        if winner is None:
            continue
        first, last = cuts[index], cuts[index + 1] - 1
        previous = found[-1] if found else None
        if previous is not None and previous.last_offset + 1 == first and _rank(previous) == _rank(winner):
            found[-1] = msgspec.structs.replace(previous, last_offset=last)
        else:
            found.append(StateBatch(first, last, winner.state, winner.delivery_count))
    return tuple(found)


def _rank(batch: StateBatch) -> tuple[int, int]:
    return batch.delivery_count, STATE_IDS[batch.state]
