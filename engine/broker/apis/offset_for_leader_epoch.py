"""OffsetForLeaderEpoch (API key 23): where an epoch ended here.

Versions: v1 answers with the epoch, v2 checks the current leader epoch (KIP-320), v3 names the asking replica. Consumers use it to
notice truncation; followers learn the same from the fetch response since KIP-595. Source: ``Partition.lastOffsetForLeaderEpoch``.
"""

from __future__ import annotations

from engine.broker import replication
from engine.broker.state import Broker
from engine.messages.fetch import (
    OffsetForLeaderEpochItem,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderEpochResult,
)  # fmt: skip
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: OffsetForLeaderEpochRequest, out: Outbox) -> None:
    results = tuple([_end_of(broker, item) for item in request.items])
    out.send(source, OffsetForLeaderEpochResponse(request.correlation_id, results))


def _end_of(broker: Broker, item: OffsetForLeaderEpochItem) -> OffsetForLeaderEpochResult:
    replica = broker.partitions.get(item.partition)
    if replica is None:
        return OffsetForLeaderEpochResult(item.partition, replication.unhosted_error(broker, item.partition))
    error = replication.check_leader_epoch(replica, item.current_leader_epoch)
    if error != "NONE":
        return OffsetForLeaderEpochResult(item.partition, error)
    end = replica.log.end_offset_for_epoch(item.leader_epoch)
    return OffsetForLeaderEpochResult(item.partition, "NONE", end.epoch, end.end_offset)
