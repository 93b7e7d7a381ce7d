"""DeleteRecords (API key 21): everything before an offset is gone, on every replica.

Versions: v2 is the first flexible one; nothing else has changed since v0.

The leader moves its log start offset at once, and so what lies before can no longer be read; followers learn it with their next fetch.
The answer carries the low watermark, the smallest log start of all live replicas, and waits until that has reached the offset asked for.
The bytes go when whole segments lie before the log start. Sources: ``ReplicaManager.deleteRecords``, ``Partition.deleteRecordsOnLeader``
and ``lowWatermarkIfLeader``, ``DelayedDeleteRecords``.
"""

from __future__ import annotations

from engine.broker import replication
from engine.broker.cleaner_state import ParkedDelete
from engine.broker.state import LEADER, Broker, Replica
from engine.broker.timers import DeleteRecordsExpired
from engine.events import LogStartOffsetAdvanced
from engine.log.errors import LogError
from engine.messages.admin import DeletedRecords, DeleteRecordsRequest, DeleteRecordsResponse, RecordsToDelete
from engine.messages.base import TopicPartition
from engine.metadata.internal_topics import INTERNAL_TOPICS
from engine.sim.outbox import Outbox

TO_HIGH_WATERMARK = -1
NOTHING_TO_WAIT_FOR = -1
CLIENT_REQUEST, LEADER_MOVED = "client delete records request", "leader offset increment"
"""Kafka's ``LogStartOffsetIncrementReason``."""


def handle(broker: Broker, source: str, request: DeleteRecordsRequest, out: Outbox) -> None:
    cause = out.cause
    results: list[DeletedRecords] = []
    wanted: list[int] = []
    for item in request.items:
        out.because(cause)
        result, offset = _delete(broker, item, out)
        results.append(result)
        wanted.append(offset if result.low_watermark < offset else NOTHING_TO_WAIT_FOR)
    if all(offset == NOTHING_TO_WAIT_FOR for offset in wanted):
        out.send(source, DeleteRecordsResponse(request.correlation_id, tuple(results)))
        return
    deadline = out.now + max(request.timeout_ms, 0) * 1000
    partitions = tuple([item.partition for item in request.items])
    parked = ParkedDelete(source, request.correlation_id, deadline, out.cause, partitions, tuple(wanted), results)
    broker.parked_deletes.append(parked)
    if len(broker.parked_deletes) == 1 or deadline < min(other.deadline_us for other in broker.parked_deletes[:-1]):
        out.arm(DeleteRecordsExpired(), after_us=deadline - out.now)


def _delete(broker: Broker, item: RecordsToDelete, out: Outbox) -> tuple[DeletedRecords, int]:
    """The result as it stands, and the offset that all replicas must reach."""
    partition = item.partition
    replica = broker.partitions.get(partition)
    error = _refusal(broker, partition, replica)
    if error == "NONE":
        assert replica is not None
        offset = replica.high_watermark if item.offset == TO_HIGH_WATERMARK else item.offset
        old = replica.log.log_start_offset
        try:
            new = replica.log.delete_records_before(offset, replica.high_watermark, out.disk)
        except LogError as wrong:
            if wrong.code == "KAFKA_STORAGE_ERROR":
                raise
            error = wrong.code
        else:
            if new > old:
                out.emit(LogStartOffsetAdvanced(broker.broker_id, partition.topic, partition.partition, old, new, CLIENT_REQUEST))
            return DeletedRecords(partition, low_watermark(broker, replica)), offset
    return DeletedRecords(partition, -1, error), NOTHING_TO_WAIT_FOR


def _refusal(broker: Broker, partition: TopicPartition, replica: Replica | None) -> str:
    if partition.topic in INTERNAL_TOPICS:
        return "INVALID_TOPIC_EXCEPTION"
    if replica is None:
        return replication.unhosted_error(broker, partition)
    if replica.role != LEADER:
        return "NOT_LEADER_OR_FOLLOWER"
    if not replica.log.config.delete:
        return "POLICY_VIOLATION"
    return "NONE"


def low_watermark(broker: Broker, replica: Replica) -> int:
    """The smallest log start of the replicas on live brokers, as far as their fetches have told."""
    lowest = replica.log.log_start_offset
    for broker_id, follower in replica.followers.items():
        if broker.image.active(broker_id) and follower.log_start_offset < lowest:
            lowest = follower.log_start_offset
    return lowest


def on_low_watermark(broker: Broker, replica: Replica, out: Outbox) -> None:
    """A follower has told its log start, or this broker leads no longer: requests that this completes are answered."""
    cause = out.cause
    reached = low_watermark(broker, replica)
    for parked in list(broker.parked_deletes):
        for position, partition in enumerate(parked.partitions):
            if partition != replica.partition or parked.wanted[position] == NOTHING_TO_WAIT_FOR:
                continue
            if replica.role != LEADER:
                parked.results[position] = DeletedRecords(partition, -1, "NOT_LEADER_OR_FOLLOWER")
                _settle(broker, parked, position, out)
            elif reached >= parked.wanted[position]:
                parked.results[position] = DeletedRecords(partition, reached)
                _settle(broker, parked, position, out)
    out.because(cause)


def _settle(broker: Broker, parked: ParkedDelete, position: int, out: Outbox) -> None:
    parked.wanted = (*parked.wanted[:position], NOTHING_TO_WAIT_FOR, *parked.wanted[position + 1 :])
    if all(offset == NOTHING_TO_WAIT_FOR for offset in parked.wanted):
        _answer(broker, parked, out)


def _answer(broker: Broker, parked: ParkedDelete, out: Outbox) -> None:
    broker.parked_deletes = [other for other in broker.parked_deletes if other is not parked]
    out.because(parked.cause)
    out.send(parked.source, DeleteRecordsResponse(parked.correlation_id, tuple(parked.results)))


def on_expired(broker: Broker, source: str, timer: DeleteRecordsExpired, out: Outbox) -> None:
    """REQUEST_TIMED_OUT for the partitions that some live replica has not shortened; the records are gone for readers all the same."""
    for parked in [parked for parked in broker.parked_deletes if parked.deadline_us <= out.now]:
        for position, (partition, offset) in enumerate(zip(parked.partitions, parked.wanted, strict=True)):
            if offset != NOTHING_TO_WAIT_FOR:
                parked.results[position] = DeletedRecords(partition, -1, "REQUEST_TIMED_OUT")
        _answer(broker, parked, out)
    if broker.parked_deletes:
        out.arm(timer, after_us=min(parked.deadline_us for parked in broker.parked_deletes) - out.now)
