"""ListOffsets (API key 2).

Versions: v1 answers one offset per partition, v2 brought isolation levels, v4 leader epochs, v5 OFFSET_NOT_AVAILABLE, v7 the offset of
the largest timestamp (-3, KIP-734), v8 and v9 tiered storage.

Right after an election the high watermark of the new leader may lag behind what was committed; until it reaches the start of its
epoch, "latest" has no true answer (fact 21). Source: ``Partition.fetchOffsetForTimestamp``.
"""

from __future__ import annotations

from engine.broker import replication
from engine.broker.apis.fetch import READ_COMMITTED
from engine.broker.state import Broker, Replica
from engine.log.errors import LogError
from engine.log.results import TimestampAndOffset
from engine.messages.fetch import (
    EARLIEST_TIMESTAMP,
    LATEST_TIMESTAMP,
    ListOffsetsItem,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsResult,
)  # fmt: skip
from engine.sim.outbox import Outbox

MAX_TIMESTAMP = -3
EARLIEST_LOCAL_TIMESTAMP = -4
"""Without tiered storage the same as the earliest (KIP-405)."""


def handle(broker: Broker, source: str, request: ListOffsetsRequest, out: Outbox) -> None:
    results = tuple([_look_up(broker, item, request) for item in request.items])
    out.send(source, ListOffsetsResponse(request.correlation_id, results))


def _look_up(broker: Broker, item: ListOffsetsItem, request: ListOffsetsRequest) -> ListOffsetsResult:
    replica = broker.partitions.get(item.partition)
    if replica is None:
        return ListOffsetsResult(item.partition, replication.unhosted_error(broker, item.partition))
    error = replication.check_leader_epoch(replica, item.current_leader_epoch)
    if error != "NONE":
        return ListOffsetsResult(item.partition, error)
    bound = _last_fetchable_offset(replica, request)
    lagging = request.replica_id < 0 and replica.leader_epoch_start_offset > replica.high_watermark
    if item.timestamp_ms == LATEST_TIMESTAMP:
        if lagging:
            return ListOffsetsResult(item.partition, "OFFSET_NOT_AVAILABLE")
        return ListOffsetsResult(item.partition, "NONE", -1, bound, replica.leader_epoch)
    if item.timestamp_ms in (EARLIEST_TIMESTAMP, EARLIEST_LOCAL_TIMESTAMP):
        start = replica.log.log_start_offset
        epoch = replica.log.leader_epochs.epoch_for_offset(start)
        return ListOffsetsResult(item.partition, "NONE", -1, start, epoch)
    try:
        found = _by_timestamp(replica, item.timestamp_ms)
    except LogError as wrong:  # the records inside a batch are read here for the first time
        return ListOffsetsResult(item.partition, wrong.code)
    if found is not None and found.offset < bound:
        return ListOffsetsResult(item.partition, "NONE", found.timestamp, found.offset, found.leader_epoch)
    return ListOffsetsResult(item.partition, "OFFSET_NOT_AVAILABLE" if lagging else "NONE")


def _by_timestamp(replica: Replica, timestamp_ms: int) -> TimestampAndOffset | None:
    if timestamp_ms == MAX_TIMESTAMP:
        return replica.log.offset_of_max_timestamp()
    return replica.log.offset_for_timestamp(timestamp_ms)


def _last_fetchable_offset(replica: Replica, request: ListOffsetsRequest) -> int:
    """A follower may know the log end, a consumer what is committed."""
    if request.replica_id >= 0:
        return replica.log.log_end_offset
    return replica.last_stable_offset if request.isolation_level == READ_COMMITTED else replica.high_watermark
