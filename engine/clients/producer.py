"""The simulated producer: ``send``, the sender's loop and what it does about every error (Java's ``KafkaProducer`` and ``Sender``).

The application's calls fill the accumulator; the sender runs whenever something may have become possible (an answer, new metadata, a
full batch, a linger or backoff that ended) and sends one produce request per ready broker. A killed producer is simply gone; a
restarted one is a new producer with a new producer ID, which is why the broker cannot recognise what the old one sent.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec

from engine.clients.accumulator import NEVER_US, NO_ROOM, WAKE_SENDER, Accumulator
from engine.clients.batch import ProducerBatch, upper_bound_bytes
from engine.clients.common import COMMON_HANDLERS, STALE_METADATA, ClientNode, Handler, InFlight, backoff_us, preview
from engine.clients.configs import ProducerConfig
from engine.clients.idempotence import ProducerIdState
from engine.clients.workload import Workload, WorkloadTimer, workload_of
from engine.errors import ERRORS
from engine.events import (
    ProduceRetried,
    ProducerIdAssigned,
    ProduceSent,
    RecordsAcknowledged,
    RecordsFailed,
    SendRefused,
    SentRecord,
    WorkloadStarted,
    WorkloadStopped,
)
from engine.log.record_batch import RecordTuple
from engine.messages.base import Message, Timer
from engine.messages.instructions import BeginShutdown, FlushProducer, SendRecords, StartWorkload, StopWorkload
from engine.messages.produce import (
    InitProducerIdRequest,
    InitProducerIdResponse,
    ProduceItem,
    ProduceRequest,
    ProduceResponse,
    ProduceResult,
)
from engine.sim.outbox import Outbox

WAIT_FOR_METADATA = -1
NOT_ALLOWED = ("CLUSTER_AUTHORIZATION_FAILED", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED")
FATAL_TOPIC_ERRORS = ("INVALID_TOPIC_EXCEPTION", "TOPIC_AUTHORIZATION_FAILED")


class SenderTimer(Timer, frozen=True, gc=False, tag=True):
    """A linger, a backoff, a delivery timeout or a blocked ``send`` comes to its end."""


class BlockedSend(msgspec.Struct, frozen=True):
    """A ``send`` that waits for metadata or for memory, at most until ``deadline_us``. ``workload`` "" is the hand of a person."""

    topic: str
    partition: int
    record: RecordTuple
    record_id: int
    deadline_us: int
    cause: int
    workload: str


@dataclass(slots=True)
class ProducerNode(ClientNode):
    """``sent`` = acknowledged + failed + buffered_records. ``configs`` shows the effective configuration."""

    settings: ProducerConfig = field(init=False)
    accumulator: Accumulator = field(init=False)
    ids: ProducerIdState = field(init=False)
    blocked: deque[BlockedSend] = field(init=False, default_factory=deque)
    workloads: list[Workload] = field(init=False, default_factory=list)
    sent: int = field(init=False, default=0)
    acknowledged: int = field(init=False, default=0)
    failed: int = field(init=False, default=0)
    retries: int = field(init=False, default=0)
    last_error: str = field(init=False, default="")
    closing: bool = field(init=False, default=False)
    wake_at_us: int = field(init=False, default=NEVER_US)
    next_expiry_us: int = field(init=False, default=NEVER_US)
    id_failures: int = field(init=False, default=0)
    id_retry_at_us: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.settings = ProducerConfig.from_map(self.configs)
        self.configs = self.settings.effective()
        self.accumulator = Accumulator(self.settings)
        self.ids = ProducerIdState(self.settings.enable_idempotence)
        self._prepare(self.settings)

    @property
    def producer_id(self) -> int:
        return self.ids.producer_id

    @property
    def producer_epoch(self) -> int:
        return self.ids.producer_epoch

    @property
    def buffered_records(self) -> int:
        return self.accumulator.buffered_records + len(self.blocked)

    @property
    def buffered_bytes(self) -> int:
        return self.accumulator.memory_used

    @property
    def in_flight(self) -> int:
        """Batches on the wire."""
        return sum(len(queue.on_wire) for queue in self.accumulator.queues.values())

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        handler = _HANDLERS.get(type(body))
        if handler is not None:
            handler(self, source, body, out)

    # -- the application's side ---------------------------------------------------------------------------------------------------

    def _on_send_records(self, source: str, body: SendRecords, out: Outbox) -> None:
        wake = False
        for number, (key, value, headers) in enumerate(body.records):
            record = (key, value, headers, out.now_ms)
            wake |= self._send(body.topic, body.partition, record, body.first_record_id + number, "", out)
        if wake:
            self._proceed(out)

    def _send(self, topic: str, partition: int, record: RecordTuple, record_id: int, workload: str, out: Outbox) -> bool:
        """``KafkaProducer.send``. Returns whether the sender has something new to look at."""
        self.sent += 1
        size = upper_bound_bytes(record)
        for name, limit in (("max.request.size", self.settings.max_request_size), ("buffer.memory", self.settings.buffer_memory)):
            if size > limit:
                reason = f"The message is {size} bytes when serialized which is larger than {limit}, the value of {name}."
                self._refuse(topic, record_id, f"RecordTooLargeException: {reason}", out)
                return False
        deadline = out.now + self.settings.max_block_ms * 1000
        call = BlockedSend(topic, partition, record, record_id, deadline, out.cause, workload)
        result = NO_ROOM if self.blocked else self._try_append(call, out)
        if result in (NO_ROOM, WAIT_FOR_METADATA):
            if result == WAIT_FOR_METADATA:
                self.metadata.errors.pop(topic, None)  # what the next answer says counts
            self.blocked.append(call)
            self._count_blocked(workload, 1)
            return True
        return result == WAKE_SENDER

    def _try_append(self, call: BlockedSend, out: Outbox) -> int:
        topic = self.metadata.topics.get(call.topic)
        if topic is None or not topic.leaders or call.partition >= len(topic.leaders):
            self.metadata.want(call.topic)
            self.metadata.update_requested = True
            return WAIT_FOR_METADATA
        return self.accumulator.append(
            call.record_id, topic, call.partition, call.record, out.now, call.cause, out.stream("partitioner")
        )

    def _unblock(self, out: Outbox) -> None:
        """Each blocked call goes on, gives up or waits on, in the order in which they were made."""
        waiting, self.blocked = self.blocked, deque()
        self.accumulator.memory_wanted = False
        no_room = False
        unknown: list[str] = []
        for call in waiting:
            error = self.metadata.errors.get(call.topic, "")
            refused = self.auth_error if call.topic not in self.metadata.topics else ""
            if error in FATAL_TOPIC_ERRORS or refused or out.now >= call.deadline_us:
                self._give_up(call, error if error in FATAL_TOPIC_ERRORS else refused, out)
                continue
            result = NO_ROOM
            if not no_room and call.topic not in unknown:
                result = self._try_append(call, out)
            if result == WAIT_FOR_METADATA:
                unknown.append(call.topic)
            if result in (NO_ROOM, WAIT_FOR_METADATA):
                no_room |= self.accumulator.memory_wanted
                self.blocked.append(call)
            else:
                self._count_blocked(call.workload, -1)

    def _give_up(self, call: BlockedSend, error: str, out: Outbox) -> None:
        out.because(call.cause)
        self._count_blocked(call.workload, -1)
        waited = f"{self.settings.max_block_ms} ms"
        topic = self.metadata.topics.get(call.topic)
        if not error and topic is None:
            error = f"TimeoutException: Topic {call.topic} not present in metadata after {waited}."
        elif not error and topic is not None and call.partition >= len(topic.leaders):
            error = (
                f"TimeoutException: Partition {call.partition} of topic {call.topic} with partition count {len(topic.leaders)} "
                f"is not present in metadata after {waited}."
            )
        elif not error:
            error = f"BufferExhaustedException: no memory within {waited}; buffer.memory is {self.settings.buffer_memory} bytes."
        self._refuse(call.topic, call.record_id, error, out)

    def _refuse(self, topic: str, record_id: int, error: str, out: Outbox) -> None:
        self.failed += 1
        self.last_error = error
        out.emit(SendRefused(self.name, topic, record_id, error))

    def _count_blocked(self, name: str, change: int) -> None:
        if name:
            for workload in self.workloads:
                if workload.name == name:
                    workload.blocked += change

    def _on_flush(self, source: str, body: FlushProducer, out: Outbox) -> None:
        self.accumulator.flush_below = self.accumulator.next_batch_id
        self._proceed(out)

    def _on_shutdown(self, source: str, body: BeginShutdown, out: Outbox) -> None:
        """``close``: what was sent is sent to its end first."""
        for workload in self.workloads:
            self._stop(workload, out)
        self.closing = True
        self._proceed(out)

    def _on_start_workload(self, source: str, body: StartWorkload, out: Outbox) -> None:
        self.workloads = [workload for workload in self.workloads if workload.name != body.workload]
        self.workloads.append(workload_of(body, out.now))
        out.emit(WorkloadStarted(self.name, body.workload, body.topic, body.records_per_second))
        self._on_workload_timer("", WorkloadTimer(body.workload), out)

    def _on_stop_workload(self, source: str, body: StopWorkload, out: Outbox) -> None:
        for workload in self.workloads:
            if workload.name == body.workload:
                self._stop(workload, out)

    def _stop(self, workload: Workload, out: Outbox) -> None:
        if workload.running:
            workload.running = False
            out.cancel(WorkloadTimer(workload.name))
            out.emit(WorkloadStopped(self.name, workload.name, workload.sent))

    def _on_workload_timer(self, source: str, body: WorkloadTimer, out: Outbox) -> None:
        for workload in self.workloads:
            if workload.name == body.workload and workload.running:
                self._tick(workload, out)

    def _tick(self, workload: Workload, out: Outbox) -> None:
        stream = out.stream("workload/" + workload.name)
        wake = False
        for _ in range(workload.due(out.now)):
            record_id, key, value = workload.make(stream)
            wake |= self._send(workload.topic, -1, (key, value, (), out.now_ms), record_id, workload.name, out)
        if workload.finished:
            self._stop(workload, out)
        else:
            out.arm(WorkloadTimer(workload.name), after_us=workload.next_tick_us(out.now))
        if wake:
            self._proceed(out)

    # -- the sender -----------------------------------------------------------------------------------------------------------------

    def _on_sender_timer(self, source: str, body: SenderTimer, out: Outbox) -> None:
        self.wake_at_us = NEVER_US
        self._proceed(out)

    def _proceed(self, out: Outbox) -> None:
        if out.now >= self.next_expiry_us or self.next_expiry_us == NEVER_US:
            self._expire(out)
        if self.blocked:
            self._unblock(out)
        if self.closing:
            self.accumulator.flush_below = self.accumulator.next_batch_id
        self._settle_producer_id(out)
        again_us = self._send_what_is_ready(out)
        self.metadata.refresh(self.connections, True, out)
        if self.closing and not self.blocked and not self.accumulator.batches:
            out.exit()
            return
        if self.ids.enabled and self.ids.producer_id < 0 and self.id_retry_at_us > out.now:
            again_us = min(again_us, self.id_retry_at_us)
        if self.blocked:
            again_us = min(again_us, self.blocked[0].deadline_us)
        self._wake_at(min(again_us, self.next_expiry_us), out)

    def _wake_at(self, at_us: int, out: Outbox) -> None:
        """The sender's one timer; a wake-up that turns out too early arms the next."""
        if at_us < self.wake_at_us:
            self.wake_at_us = at_us
            out.arm(SenderTimer(), after_us=max(at_us - out.now, 1))

    def _send_what_is_ready(self, out: Outbox) -> int:
        accumulator = self.accumulator
        while True:
            brokers, again_us, leaderless = accumulator.ready(out.now, self.metadata)
            if leaderless:
                self.metadata.update_requested = True
            progress = False
            if not self.ids.enabled or self.ids.producer_id >= 0:
                for broker in brokers:
                    if not self.connections.ready(broker, out):
                        continue
                    if self.connections.in_flight_count(broker) >= self.settings.max_in_flight_requests_per_connection:
                        continue
                    drained = accumulator.drain(broker, out.now, self.metadata, self.ids)
                    if drained:
                        self._send_batches(broker, drained, out)
                        progress = True
            if not progress:
                return again_us

    def _send_batches(self, broker: int, batches: list[ProducerBatch], out: Outbox) -> None:
        correlation_id = self.connections.new_correlation_id()
        settings = self.settings
        items: list[ProduceItem] = []
        for batch in batches:
            items.append(ProduceItem(batch.partition, self.accumulator.encode(batch)))
            records: tuple[SentRecord, ...] = ()
            if batch.attempts == 0:
                records = tuple(
                    [
                        SentRecord(number, preview(record[0]), preview(record[1]))
                        for number, record in zip(batch.record_ids, batch.records, strict=True)
                    ]
                )
            out.because(batch.cause)
            topic, partition = batch.partition
            batch.cause = out.emit(
                ProduceSent(
                    self.name, broker, topic, partition, batch.batch_id, batch.attempts + 1, settings.acks, correlation_id,
                    len(batch.records), batch.base_sequence, records,
                )
            )  # fmt: skip
        request = ProduceRequest(correlation_id, self.name, settings.acks, settings.request_timeout_ms, tuple(items))
        if settings.acks == 0:
            out.send(self.connections.by_broker[broker].address, request)
            for batch in batches:
                self._succeed(batch, -1, out)
        else:
            self.connections.send(broker, request, "produce", out, items=tuple([batch.batch_id for batch in batches]))

    def _on_produce(self, source: str, body: ProduceResponse, out: Outbox) -> None:
        entry = self.connections.complete(source, body.correlation_id)
        if entry is None:
            return
        self.connections.obey(source, body.throttle_time_ms, out)
        results = {result.partition: result for result in body.results}
        heard = out.cause
        for batch_id in entry.items:
            batch = self.accumulator.batches.get(batch_id)
            if batch is None:
                continue  # expired while it was on the wire
            result = results.get(batch.partition)
            out.because(heard)
            self._complete(batch, result or ProduceResult(batch.partition, "UNKNOWN_SERVER_ERROR"), (), out)
        self._proceed(out)

    def _abandon(self, broker: int, lost: list[InFlight], error: str, silencers: tuple[int, ...], out: Outbox) -> None:
        heard = out.cause
        for entry in lost:
            if entry.kind == "init":
                self._id_failed(error, out)
            for batch_id in entry.items:
                batch = self.accumulator.batches.get(batch_id)
                if batch is not None:
                    out.because(heard)
                    self._complete(batch, ProduceResult(batch.partition, error), silencers, out)

    def _complete(self, batch: ProducerBatch, result: ProduceResult, silencers: tuple[int, ...], out: Outbox) -> None:
        """``Sender.completeBatch``."""
        error = result.error
        self.accumulator.came_back(batch)
        if error in ("NONE", "DUPLICATE_SEQUENCE_NUMBER"):
            self._succeed(batch, result.base_offset, out)
            return
        self.last_error = error
        if error in STALE_METADATA:
            self.metadata.update_requested = True
            self.metadata.learn_leader(batch.partition, result.current_leader, result.current_leader_epoch)
        if error == "MESSAGE_TOO_LARGE" and len(batch.records) > 1:
            self._retried(batch, error, silencers, out)
            self.accumulator.split(batch, self.ids, out.now)
        elif self._can_retry(batch, result, out):
            self._retried(batch, error, silencers, out)
            settings = self.settings
            wait = backoff_us(out.stream("backoff"), settings.retry_backoff_ms, settings.retry_backoff_max_ms, batch.attempts)
            self.accumulator.reenqueue(batch, out.now + wait)
        else:
            self._fail(batch, error, batch.attempts < self.settings.retries, silencers, out)

    def _can_retry(self, batch: ProducerBatch, result: ProduceResult, out: Outbox) -> bool:
        if out.now - batch.created_us >= self.settings.delivery_timeout_ms * 1000 or batch.attempts >= self.settings.retries:
            return False
        row = ERRORS.get(result.error)
        retriable = row is not None and row.retriable
        if self.ids.enabled:
            return self.ids.can_retry(batch, result.error, result.log_start_offset, retriable, self.accumulator.batches)
        return retriable

    def _retried(self, batch: ProducerBatch, error: str, silencers: tuple[int, ...], out: Outbox) -> None:
        self.retries += 1
        topic, partition = batch.partition
        batch.cause = out.emit(ProduceRetried(self.name, topic, partition, batch.batch_id, error), also=silencers)

    def _succeed(self, batch: ProducerBatch, base_offset: int, out: Outbox) -> None:
        if self.ids.enabled:
            self.ids.acknowledged(batch, base_offset)
            self.ids.forget(batch)
        self.accumulator.came_back(batch)
        self.accumulator.release(batch)
        count = len(batch.records)
        self.acknowledged += count
        topic, partition = batch.partition
        out.emit(RecordsAcknowledged(self.name, topic, partition, batch.batch_id, count, base_offset))

    def _fail(self, batch: ProducerBatch, error: str, adjust: bool, silencers: tuple[int, ...], out: Outbox) -> None:
        if self.ids.enabled:
            self.ids.failed(batch, error, adjust)
        self.accumulator.came_back(batch)
        self.accumulator.release(batch)
        count = len(batch.records)
        self.failed += count
        self.last_error = error
        topic, partition = batch.partition
        out.emit(RecordsFailed(self.name, topic, partition, batch.batch_id, count, error), also=silencers)

    def _expire(self, out: Outbox) -> None:
        """delivery.timeout.ms: whatever is older is given up, wherever it is; nobody knows whether it was written."""
        batches, self.next_expiry_us = self.accumulator.expired(out.now)
        for batch in batches:
            leader = self.metadata.leader(batch.partition)
            silencers = out.silencers(f"broker-{leader.leader_id}") if leader is not None else ()
            elapsed_ms = (out.now - batch.created_us) // 1000
            reason = (
                f"Expiring {len(batch.records)} record(s) for {batch.partition}:{elapsed_ms} ms has passed since batch creation"
            )
            out.because(batch.cause)
            self._fail(batch, f"TimeoutException: {reason}", False, silencers, out)
            if self.ids.enabled and batch.retried:
                self.ids.mark_unresolved(batch)

    # -- the producer ID --------------------------------------------------------------------------------------------------------------

    def _settle_producer_id(self, out: Outbox) -> None:
        ids = self.ids
        if not ids.enabled:
            return
        ids.resolve()
        if ids.bump(self.accumulator.batches) and ids.producer_id >= 0:
            out.emit(ProducerIdAssigned(self.name, ids.producer_id, ids.producer_epoch))
        if ids.producer_id < 0 and not ids.requesting and out.now >= self.id_retry_at_us:
            broker = self.connections.least_loaded(out)
            if broker is not None:
                ids.requesting = True
                self.connections.send(broker, InitProducerIdRequest(self.connections.new_correlation_id()), "init", out)

    def _on_producer_id(self, source: str, body: InitProducerIdResponse, out: Outbox) -> None:
        if self.connections.complete(source, body.correlation_id) is None:
            return
        if body.error == "NONE":
            self.ids.requesting = False
            self.ids.producer_id, self.ids.producer_epoch = body.producer_id, body.producer_epoch
            self.id_failures = 0
            self.last_error = ""
            out.emit(ProducerIdAssigned(self.name, body.producer_id, body.producer_epoch))
        else:
            self._id_failed(body.error, out)
            if body.error in NOT_ALLOWED:
                self._fail_all(body.error, out)
        self._proceed(out)

    def _fail_all(self, error: str, out: Outbox) -> None:
        """``Sender.shouldHandleAuthorizationError``: without a producer ID nothing can be sent, and waiting will not help."""
        heard = out.cause
        for batch in list(self.accumulator.batches.values()):
            out.because(heard)
            self._fail(batch, error, False, (), out)
        out.because(heard)

    def _id_failed(self, error: str, out: Outbox) -> None:
        self.ids.requesting = False
        self.last_error = error
        settings = self.settings
        wait = backoff_us(out.stream("backoff"), settings.retry_backoff_ms, settings.retry_backoff_max_ms, self.id_failures)
        self.id_failures += 1
        self.id_retry_at_us = out.now + wait


_HANDLERS: dict[type, Handler] = {
    **COMMON_HANDLERS,
    SendRecords: ProducerNode._on_send_records,
    FlushProducer: ProducerNode._on_flush,
    BeginShutdown: ProducerNode._on_shutdown,
    StartWorkload: ProducerNode._on_start_workload,
    StopWorkload: ProducerNode._on_stop_workload,
    WorkloadTimer: ProducerNode._on_workload_timer,
    SenderTimer: ProducerNode._on_sender_timer,
    ProduceResponse: ProducerNode._on_produce,
    InitProducerIdResponse: ProducerNode._on_producer_id,
}
