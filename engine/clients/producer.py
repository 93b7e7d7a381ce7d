"""The simulated producer: ``send``, the sender's loop and what it does about every error (Java's ``KafkaProducer`` and ``Sender``).

The application's calls fill the accumulator; the sender runs whenever something may have become possible (an answer, new metadata, a
full batch, a linger or backoff that ended) and sends one produce request per ready broker. A killed producer is simply gone; a
restarted one is a new producer with a new producer ID, which is why the broker cannot recognise what the old one sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.clients.accumulator import NEVER_US, Accumulator
from engine.clients.application import ABORT, INIT, BlockedCall, BlockedSend, ProducerApplication
from engine.clients.batch import ProducerBatch
from engine.clients.common import COMMON_HANDLERS, STALE_METADATA, ClientNode, Handler, InFlight, backoff_us, preview
from engine.clients.configs import ProducerConfig
from engine.clients.idempotence import ProducerIdState
from engine.clients.transaction_manager import TransactionManager
from engine.clients.workload import WorkloadTimer
from engine.errors import ERRORS
from engine.events import (
    ProduceRetried,
    ProducerIdAssigned,
    ProduceSent,
    RecordsAcknowledged,
    RecordsFailed,
    SentRecord,
)
from engine.messages.base import Message, Timer
from engine.messages.groups import FindCoordinatorResponse
from engine.messages.instructions import BeginShutdown, CallTransaction, FlushProducer, SendRecords, StartWorkload, StopWorkload
from engine.messages.produce import (
    InitProducerIdRequest,
    InitProducerIdResponse,
    ProduceItem,
    ProduceRequest,
    ProduceResponse,
    ProduceResult,
)
from engine.messages.transactions import EndTxnResponse, TxnOffsetCommitResponse
from engine.sim.outbox import Outbox

NOT_ALLOWED = ("CLUSTER_AUTHORIZATION_FAILED", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED")


class SenderTimer(Timer, frozen=True, gc=False, tag=True):
    """A linger, a backoff, a delivery timeout or a blocked ``send`` comes to its end."""


@dataclass(slots=True)
class ProducerNode(ProducerApplication):
    """The sender behind the application's calls."""

    acknowledged: int = field(init=False, default=0)
    retries: int = field(init=False, default=0)
    wake_at_us: int = field(init=False, default=NEVER_US)
    next_expiry_us: int = field(init=False, default=NEVER_US)
    id_failures: int = field(init=False, default=0)
    id_retry_at_us: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.settings = ProducerConfig.from_map(self.configs)
        self.configs = self.settings.effective()
        name = self.settings.transactional_id
        self.accumulator = Accumulator(self.settings, transactional=bool(name))
        self.ids = ProducerIdState(self.settings.enable_idempotence, transactional=bool(name))
        if name:
            self.transactions = TransactionManager(name, self.settings.transaction_timeout_ms)
        self._prepare(self.settings)

    def start(self, out: Outbox) -> None:
        """A transactional producer begins with ``initTransactions``."""
        if self.transactions is not None:
            self.blocked.append(BlockedCall(INIT, out.cause))
        ClientNode.start(self, out)

    @property
    def producer_id(self) -> int:
        return self.ids.producer_id

    @property
    def producer_epoch(self) -> int:
        return self.ids.producer_epoch

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
            self._close(out)
        if self.transactions is None:
            self._settle_producer_id(out)
            again_us = self._send_what_is_ready(out)
        else:
            again_us = self._send_in_transaction(self.transactions, out)
        self.metadata.refresh(self.connections, True, out)
        if self.closing and self._has_closed():
            out.exit()
            return
        if self.ids.enabled and self.ids.producer_id < 0 and self.id_retry_at_us > out.now:
            again_us = min(again_us, self.id_retry_at_us)
        if self.blocked and isinstance(self.blocked[0], BlockedSend):
            again_us = min(again_us, self.blocked[0].deadline_us)
        self._wake_at(min(again_us, self.next_expiry_us), out)

    def _close(self, out: Outbox) -> None:
        """Everything is sent; then a transaction that is still open is aborted."""
        self.accumulator.flush_below = self.accumulator.next_batch_id
        transactions = self.transactions
        idle = not (self.blocked or self.accumulator.batches)
        if idle and transactions is not None and transactions.ongoing and not transactions.completing:
            self.call(ABORT, out)

    def _has_closed(self) -> bool:
        if self.transactions is None:
            return not self.blocked and not self.accumulator.batches
        sending = any(isinstance(call, BlockedSend) for call in self.blocked)
        return not (sending or self.accumulator.batches or self.transactions.ongoing)

    def _send_in_transaction(self, transactions: TransactionManager, out: Outbox) -> int:
        """Transactional requests go first; what they bring may let the application go on."""
        while True:
            hold, again_us = transactions.step(self, out)
            before = len(self.blocked)
            if self.blocked:
                self._unblock(out)
            if len(self.blocked) == before:
                break
        return again_us if hold else min(again_us, self._send_what_is_ready(out))

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
            if self.transactions is not None and batch.partition not in self.transactions.partitions:
                self.transactions.partitions.append(batch.partition)
            batch.cause = out.emit(
                ProduceSent(
                    self.name, broker, topic, partition, batch.batch_id, batch.attempts + 1, settings.acks, correlation_id,
                    len(batch.records), batch.base_sequence, records,
                )
            )  # fmt: skip
        request = ProduceRequest(
            correlation_id, self.name, settings.acks, settings.request_timeout_ms, tuple(items), settings.transactional_id
        )
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
            elif entry.kind == "transaction" and self.transactions is not None:
                self.transactions.lost(self, out)
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
        if self.transactions is not None:
            self.transactions.batch_failed(self, error, out)

    def give_up(self, batch: ProducerBatch, error: str, out: Outbox) -> None:
        self._fail(batch, error, False, (), out)

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

    def _on_transaction(self, source: str, body: Any, out: Outbox) -> None:
        entry = self.connections.complete(source, body.correlation_id)
        if entry is not None and self.transactions is not None:
            self.transactions.answered(self, body, out)
            self._proceed(out)

    def _on_producer_id(self, source: str, body: InitProducerIdResponse, out: Outbox) -> None:
        if self.transactions is not None:
            self._on_transaction(source, body, out)
            return
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
    FindCoordinatorResponse: ProducerNode._on_transaction,
    EndTxnResponse: ProducerNode._on_transaction,
    TxnOffsetCommitResponse: ProducerNode._on_transaction,
    CallTransaction: ProducerNode._on_call,
}
