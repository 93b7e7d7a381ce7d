"""Produce (API key 0).

Versions: v3 brought record batches v2 and the transactional ID, v7 zstd, v8 per-record errors, v10 the current leader with
NOT_LEADER_OR_FOLLOWER (KIP-951), v12 implicit partitions of a transaction (KIP-890), v13 topic IDs (KIP-516).

acks=0 has no response, acks=1 answers after the leader's append, acks=all once the high watermark has passed the batch. Sources:
``ReplicaManager.appendRecords``, ``Partition.appendRecordsToLeader``, ``DelayedProduce``.
"""

from __future__ import annotations

from engine.broker import logs, replication, transaction_verification
from engine.broker.apis import fetch
from engine.broker.meters import PRODUCE_ITEMS, PRODUCE_TIME
from engine.broker.state import LEADER, Broker, ParkedProduce, PendingAck, Replica
from engine.broker.timers import ProduceExpired
from engine.events import DuplicateRecognised, ProduceAcknowledged, ProduceRefused, RecordsAppended, SegmentRolled
from engine.log.errors import LogError
from engine.log.producer_state import NO_GUARD
from engine.log.results import AppendResult
from engine.messages.base import TopicPartition
from engine.messages.produce import ProduceItem, ProduceRequest, ProduceResponse, ProduceResult
from engine.sim.outbox import Outbox

NOTHING_VERIFIED: dict[TopicPartition, int] = {}
NOTHING_REFUSED: dict[TopicPartition, str] = {}


def handle(broker: Broker, source: str, request: ProduceRequest, out: Outbox) -> None:
    if request.transactional_id:
        transaction_verification.ask_for_produce(broker, source, request, out)
    else:
        append_all(broker, source, request, NOTHING_VERIFIED, NOTHING_REFUSED, out)


def append_all(
    broker: Broker,
    source: str,
    request: ProduceRequest,
    guards: dict[TopicPartition, int],
    errors: dict[TopicPartition, str],
    out: Outbox,
) -> None:
    """``guards`` and ``errors``: what the coordinator of the transaction has confirmed and refused."""
    broker.meters.count(PRODUCE_ITEMS, len(request.items), out.now)
    acks = request.acks
    cause = out.cause
    results: list[ProduceResult | None] = []
    parked: list[tuple[Replica, PendingAck]] = []
    grown: list[tuple[Replica, int]] = []
    full = ""
    waits = acks == -1 and "ack-before-replication" not in broker.mutants
    for index, item in enumerate(request.items):
        out.because(cause)
        partition = item.partition
        replica = broker.partitions.get(partition)
        error = errors.get(partition) or _refusal(broker, replica, item, acks)
        appended: AppendResult | None = None
        message = ""
        if error == "NONE":
            assert replica is not None
            try:
                appended = _append(broker, replica, item.batch, guards.get(partition, NO_GUARD), request, out)
            except LogError as wrong:
                error, message = wrong.code, wrong.message
                if error == "KAFKA_STORAGE_ERROR":
                    full = message or error
        if appended is None or replica is None:
            out.emit(
                ProduceRefused(
                    broker.broker_id, partition.topic, partition.partition, error, request.client_id, request.correlation_id
                )
            )
            results.append(replication.refused(partition, error, replica, message))
            continue
        if not appended.duplicate:
            grown.append((replica, out.cause))
        if waits:
            pending = PendingAck(
                appended.last_offset + 1, broker.next_produce_id, index, appended.first_offset, appended.log_append_time, out.cause
            )
            parked.append((replica, pending))
            results.append(None)
        else:
            results.append(_acknowledged(broker, replica, appended, request, out))
    if parked:
        _park(broker, source, request, results, parked, out)
    elif acks:
        broker.meters.took(PRODUCE_TIME, 0, out.now)
        out.send(source, ProduceResponse(request.correlation_id, tuple([result for result in results if result is not None])))
    if full:
        logs.fail(broker, full, out)
    for replica, event in grown:
        out.because(event)
        replication.maybe_advance_high_watermark(broker, replica, out)
        out.because(event)
        fetch.wake_followers(broker, replica, out)


def _refusal(broker: Broker, replica: Replica | None, item: ProduceItem, acks: int) -> str:
    """What speaks against the append before it is tried."""
    if acks not in (-1, 0, 1):
        return "INVALID_REQUIRED_ACKS"
    if replica is None:
        return replication.unhosted_error(broker, item.partition)
    if replica.role != LEADER:
        return "NOT_LEADER_OR_FOLLOWER"
    if acks == -1 and len(replica.isr) < replica.min_isr:
        return "NOT_ENOUGH_REPLICAS"
    return "NONE"


def _append(broker: Broker, replica: Replica, batch: bytes, guard: int, request: ProduceRequest, out: Outbox) -> AppendResult:
    """Raises LogError. The event that this emits becomes the cause of what follows."""
    log = replica.log
    active = log.segments[-1]
    appended = log.append_as_leader(batch, replica.leader_epoch, out.now_ms, out.disk, guard=guard)
    topic, number = replica.partition
    first, last, _, duplicate = appended
    if duplicate:
        out.emit(DuplicateRecognised(broker.broker_id, topic, number, first, last, request.client_id, request.correlation_id))
        return appended
    if log.segments[-1] is not active:
        out.emit(SegmentRolled(broker.broker_id, topic, number, log.segments[-1].base_offset))
    out.emit(
        RecordsAppended(
            broker.broker_id,
            topic,
            number,
            first,
            last,
            replica.leader_epoch,
            len(batch),
            request.client_id,
            request.correlation_id,
        )
    )
    return appended


def _acknowledged(broker: Broker, replica: Replica, appended: AppendResult, request: ProduceRequest, out: Outbox) -> ProduceResult:
    topic, number = replica.partition
    first, last, append_time, _ = appended
    if request.acks:
        out.emit(
            ProduceAcknowledged(
                broker.broker_id, topic, number, first, last, request.acks, request.client_id, request.correlation_id
            )
        )
    return ProduceResult(replica.partition, "NONE", first, append_time, replica.log.log_start_offset)


def _park(
    broker: Broker,
    source: str,
    request: ProduceRequest,
    results: list[ProduceResult | None],
    parked: list[tuple[Replica, PendingAck]],
    out: Outbox,
) -> None:
    """Waits for the high watermark; what it has passed already (a duplicate) is acknowledged now."""
    number = broker.next_produce_id
    broker.next_produce_id = number + 1
    deadline = out.now + max(request.timeout_ms, 0) * 1000
    broker.parked_produces[number] = ParkedProduce(
        source, request.client_id, request.correlation_id, deadline, tuple([item.partition for item in request.items]), results,
        len(parked), out.cause, out.now,
    )  # fmt: skip
    if not broker.produce_timer_us or deadline < broker.produce_timer_us:
        broker.produce_timer_us = deadline
        out.arm(ProduceExpired(), after_us=deadline - out.now)
    for replica, pending in parked:
        replica.waiting.append(pending)
        if pending.required_offset <= replica.high_watermark:
            replication.complete_acks(broker, replica, pending.event_id, out)


def on_expired(broker: Broker, source: str, timer: ProduceExpired, out: Outbox) -> None:
    """REQUEST_TIMED_OUT for what is not replicated in time; the records stay and may commit later (fact 14)."""
    broker.produce_timer_us = 0
    for number, parked in list(broker.parked_produces.items()):
        if parked.deadline_us <= out.now:
            _expire(broker, number, parked, out)
    if broker.parked_produces:
        broker.produce_timer_us = min(parked.deadline_us for parked in broker.parked_produces.values())
        out.arm(ProduceExpired(), after_us=broker.produce_timer_us - out.now)


def _expire(broker: Broker, number: int, parked: ParkedProduce, out: Outbox) -> None:
    for index, partition in enumerate(parked.partitions):
        if parked.results[index] is not None:
            continue
        out.because(parked.cause)
        replica = broker.partitions.get(partition)
        laggards: tuple[int, ...] = ()
        if replica is not None:
            laggards = replication.laggards(replica, out)
            replica.waiting = [pending for pending in replica.waiting if (pending.produce_id, pending.item) != (number, index)]
        out.emit(
            ProduceRefused(
                broker.broker_id, partition.topic, partition.partition, "REQUEST_TIMED_OUT", parked.client_id, parked.correlation_id
            ),
            also=laggards,
        )
        parked.results[index] = replication.refused(partition, "REQUEST_TIMED_OUT", replica)
    del broker.parked_produces[number]
    results = tuple([result for result in parked.results if result is not None])
    broker.meters.took(PRODUCE_TIME, out.now - parked.received_us, out.now)
    out.send(parked.source, ProduceResponse(parked.correlation_id, results))
