"""WriteTxnMarkers (API key 27): the coordinator tells the leaders of a transaction's partitions how it ended.

Versions: v1 is flexible, v2 brings the transaction version, by which a leader demands a newer epoch of a marker (KIP-1228). Also the way
by which an administrator ends a hanging transaction (``kafka-transactions.sh --abort``). Each marker is acknowledged once it is
replicated as with acks=all. Source: ``KafkaApis.handleWriteTxnMarkersRequest``.
"""

from __future__ import annotations

from engine.broker import coordinators, logs, replication
from engine.broker.apis import fetch
from engine.broker.state import LEADER, Broker, PendingAck, Replica
from engine.broker.transaction_state import GroupOffsets, ParkedMarkers
from engine.coordination.group_shard import GroupShard
from engine.events import OffsetsCommitted, SegmentRolled, TransactionMarkerWritten
from engine.log.errors import LogError
from engine.log.log_validator import AppendOrigin
from engine.log.record_batch import ControlRecordType, build_end_txn_marker
from engine.messages.base import TopicPartition
from engine.messages.groups import PartitionError
from engine.messages.transactions import TxnMarker, WriteTxnMarkersRequest, WriteTxnMarkersResponse
from engine.metadata.internal_topics import INTERNAL_TOPICS
from engine.sim.outbox import Outbox

_TRANSLATED = {"NOT_COORDINATOR": "NOT_LEADER_OR_FOLLOWER", "COORDINATOR_LOAD_IN_PROGRESS": "NOT_LEADER_OR_FOLLOWER"}


def handle(broker: Broker, source: str, request: WriteTxnMarkersRequest, out: Outbox) -> None:
    channels = broker.transactions
    number = channels.next_number
    channels.next_number = number + 1
    places = tuple([(at, partition) for at, marker in enumerate(request.markers) for partition in marker.partitions])
    parked = ParkedMarkers(
        source, request.correlation_id, tuple([marker.producer_id for marker in request.markers]), places, [None] * len(places),
        len(places),
    )  # fmt: skip
    channels.parked[number] = parked
    cause = out.cause
    written: list[tuple[Replica, int, int]] = []
    for item, (at, partition) in enumerate(places):
        out.because(cause)
        replica = broker.partitions.get(partition)
        offsets = _pending_offsets(replica, request.markers[at])
        error = _write(broker, replica, partition, request.markers[at], out)
        if error == "NONE" and replica is not None:
            written.append((replica, item, out.cause))
            if offsets:
                parked.offsets[item] = offsets
        else:
            parked.results[item] = PartitionError(partition, _TRANSLATED.get(error, error))
            parked.missing -= 1
    for replica, item, event in written:
        out.because(event)
        _await_replication(broker, replica, number, item, out)
    out.because(cause)
    if not places or (number in channels.parked and not parked.missing):
        _answer(broker, number, out)


def _pending_offsets(replica: Replica | None, marker: TxnMarker) -> tuple[GroupOffsets, ...]:
    shard = replica.shard if replica is not None else None
    if shard is None or not marker.committed or not isinstance(shard.state, GroupShard):
        return ()
    pending = shard.state.offsets.pending.get(marker.producer_id)
    return tuple(
        [
            GroupOffsets(group, tuple([(tp.topic, tp.partition, entry.value.offset) for tp, entry in offsets.items()]))
            for group, offsets in (pending.by_group.items() if pending is not None else ())
        ]
    )


def _write(broker: Broker, replica: Replica | None, partition: TopicPartition, marker: TxnMarker, out: Outbox) -> str:
    if replica is None:
        return replication.unhosted_error(broker, partition)
    if replica.role != LEADER:
        return "NOT_LEADER_OR_FOLLOWER"
    if len(replica.isr) < replica.min_isr:
        return "NOT_ENOUGH_REPLICAS"
    topic, number = partition
    if topic in INTERNAL_TOPICS:
        error = coordinators.write_marker(
            broker, topic, number, marker.producer_id, marker.producer_epoch, marker.committed, marker.coordinator_epoch, out,
            transaction_version=marker.transaction_version,
        )  # fmt: skip
    else:
        error = _append(broker, replica, marker, out)
    if error == "NONE":
        out.emit(
            TransactionMarkerWritten(
                broker.broker_id, topic, number, replica.log.log_end_offset - 1, marker.producer_id, marker.producer_epoch,
                marker.committed,
            )
        )  # fmt: skip
    return error


def _append(broker: Broker, replica: Replica, marker: TxnMarker, out: Outbox) -> str:
    log = replica.log
    active = log.segments[-1]
    batch = build_end_txn_marker(
        ControlRecordType.COMMIT if marker.committed else ControlRecordType.ABORT, producer_id=marker.producer_id,
        producer_epoch=marker.producer_epoch, coordinator_epoch=marker.coordinator_epoch, timestamp_ms=out.now_ms,
    )  # fmt: skip
    try:
        log.append_as_leader(
            batch, replica.leader_epoch, out.now_ms, out.disk, AppendOrigin.COORDINATOR,
            transaction_version=marker.transaction_version,
        )  # fmt: skip
    except LogError as wrong:
        if wrong.code == "KAFKA_STORAGE_ERROR":
            logs.fail(broker, wrong.message or wrong.code, out)
        return wrong.code
    if log.segments[-1] is not active:
        out.emit(SegmentRolled(broker.broker_id, *replica.partition, log.segments[-1].base_offset))
    return "NONE"


def _await_replication(broker: Broker, replica: Replica, number: int, item: int, out: Outbox) -> None:
    event = out.cause
    end = replica.log.log_end_offset
    replica.waiting.append(PendingAck(end, -number, item, end - 1, -1, event))
    replication.maybe_advance_high_watermark(broker, replica, out)
    out.because(event)
    if end <= replica.high_watermark:
        replication.complete_acks(broker, replica, event, out)
    fetch.wake_followers(broker, replica, out)
    out.because(event)


def finish(broker: Broker, replica: Replica, pending: PendingAck, error: str, out: Outbox) -> None:
    """A marker is replicated, or nobody here can tell any more."""
    parked = broker.transactions.parked.get(-pending.produce_id)
    if parked is None or parked.results[pending.item] is not None:
        return
    parked.results[pending.item] = PartitionError(replica.partition, error)
    parked.missing -= 1
    if error == "NONE":
        cause = out.cause
        for group, offsets in parked.offsets.get(pending.item, ()):
            out.because(cause)
            out.emit(OffsetsCommitted(broker.broker_id, group, "", offsets), also=(pending.event_id,))
        out.because(cause)
    if not parked.missing:
        _answer(broker, -pending.produce_id, out)


def _answer(broker: Broker, number: int, out: Outbox) -> None:
    parked = broker.transactions.parked.pop(number)
    outcomes: list[list[PartitionError]] = [[] for _ in parked.producer_ids]
    for (at, _), result in zip(parked.partitions, parked.results, strict=True):
        assert result is not None
        outcomes[at].append(result)
    results = tuple([(who, tuple(some)) for who, some in zip(parked.producer_ids, outcomes, strict=True)])
    out.send(parked.source, WriteTxnMarkersResponse(parked.correlation_id, results))
