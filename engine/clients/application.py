"""The application's side of a producer: calls of ``send`` and of the transactional methods, in the order in which one thread makes them.

A call that cannot be done at once blocks, as in Java: ``send`` for metadata or memory, the transactional methods until the coordinator
has answered. Whatever the thread would call next waits behind it. Workloads are applications, too.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from dataclasses import dataclass, field

import msgspec

from engine.clients import transaction_manager as tm
from engine.clients.accumulator import NO_ROOM, WAKE_SENDER, Accumulator
from engine.clients.batch import ProducerBatch, upper_bound_bytes
from engine.clients.common import ClientNode
from engine.clients.configs import ProducerConfig
from engine.clients.idempotence import ProducerIdState
from engine.clients.transaction_manager import TransactionManager, TxnRequest
from engine.clients.workload import Workload, WorkloadTimer, workload_of
from engine.events import SendRefused, TransactionCallRefused, WorkloadStarted, WorkloadStopped
from engine.log.record_batch import RecordTuple
from engine.messages.instructions import BeginShutdown, CallTransaction, FlushProducer, SendRecords, StartWorkload, StopWorkload
from engine.sim.outbox import Outbox

WAIT_FOR_METADATA, REFUSED = -1, -2
FATAL_TOPIC_ERRORS = ("INVALID_TOPIC_EXCEPTION", "TOPIC_AUTHORIZATION_FAILED")
INIT, BEGIN, COMMIT, ABORT, SEND_OFFSETS = "init", "begin", "commit", "abort", "offsets"


class BlockedSend(msgspec.Struct, frozen=True):
    """A ``send`` that waits for metadata or for memory, at most until ``deadline_us``. ``workload`` "" is the hand of a person."""

    topic: str
    partition: int
    record: RecordTuple
    record_id: int
    deadline_us: int
    cause: int
    workload: str


class BlockedCall(msgspec.Struct, frozen=True):
    """A transactional method: ``call`` is "init", "begin", "commit", "abort" or "offsets" (then with ``offsets``). ``under_way``: it was
    begun and waits for its outcome."""

    call: str
    cause: int
    offsets: TxnRequest | None = None
    under_way: bool = False


@dataclass(slots=True)
class ProducerApplication(ClientNode):
    """``sent`` = acknowledged + failed + buffered_records. ``configs`` shows the effective configuration."""

    settings: ProducerConfig = field(init=False)
    accumulator: Accumulator = field(init=False)
    ids: ProducerIdState = field(init=False)
    transactions: TransactionManager | None = field(init=False, default=None)
    blocked: deque[BlockedSend | BlockedCall] = field(init=False, default_factory=deque)
    workloads: list[Workload] = field(init=False, default_factory=list)
    sent: int = field(init=False, default=0)
    failed: int = field(init=False, default=0)
    last_error: str = field(init=False, default="")
    closing: bool = field(init=False, default=False)

    @property
    def buffered_records(self) -> int:
        return self.accumulator.buffered_records + sum([isinstance(call, BlockedSend) for call in self.blocked])

    @property
    def blocked_bytes(self) -> int:
        """Keys and values of the records that wait inside ``send``."""
        records = [call.record for call in self.blocked if isinstance(call, BlockedSend)]
        return sum(len(key or b"") + len(value or b"") for key, value, _, _ in records)

    @abstractmethod
    def _proceed(self, out: Outbox) -> None: ...

    @abstractmethod
    def give_up(self, batch: ProducerBatch, error: str, out: Outbox) -> None: ...

    # -- send -----------------------------------------------------------------------------------------------------------------------

    def _on_send_records(self, source: str, body: SendRecords, out: Outbox) -> None:
        wake = False
        for number, (key, value, headers) in enumerate(body.records):
            record = (key, value, headers, out.now_ms)
            wake |= self.send(body.topic, body.partition, record, body.first_record_id + number, "", out)
        if wake:
            self._proceed(out)

    def send(self, topic: str, partition: int, record: RecordTuple, record_id: int, workload: str, out: Outbox) -> bool:
        """``KafkaProducer.send``. Returns whether the sender has something new to look at."""
        self.sent += 1
        size = upper_bound_bytes(record)
        for name, limit in (("max.request.size", self.settings.max_request_size), ("buffer.memory", self.settings.buffer_memory)):
            if size > limit:
                reason = f"The message is {size} bytes when serialized which is larger than {limit}, the value of {name}."
                self._throw(topic, record_id, f"RecordTooLargeException: {reason}", out)
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
        transactions = self.transactions
        if transactions is not None:
            refusal = transactions.refusal("send")
            if refusal:
                out.because(call.cause)
                self._refuse(call.topic, call.record_id, refusal, out)
                return REFUSED
        topic = self.metadata.topics.get(call.topic)
        if topic is None or not topic.leaders or call.partition >= len(topic.leaders):
            self.metadata.want(call.topic)
            self.metadata.update_requested = True
            return WAIT_FOR_METADATA
        result = self.accumulator.append(
            call.record_id, topic, call.partition, call.record, out.now, call.cause, out.stream("partitioner")
        )
        if transactions is not None and result != NO_ROOM:
            transactions.started = True
        return result

    def _unblock(self, out: Outbox) -> None:
        """Each blocked call goes on, gives up or waits on, in the order in which they were made; none overtakes a transactional one."""
        waiting, self.blocked = self.blocked, deque()
        self.accumulator.memory_wanted = False
        no_room = False
        unknown: list[str] = []
        while waiting:
            call = waiting.popleft()
            if isinstance(call, BlockedCall):
                if self.blocked or not self._try_call(call, out):
                    if not (self.blocked or call.under_way):
                        call = msgspec.structs.replace(call, under_way=True)
                    self.blocked.append(call)
                    break
                continue
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
        self.blocked.extend(waiting)

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
        self._throw(call.topic, call.record_id, error, out)

    def _throw(self, topic: str, record_id: int, error: str, out: Outbox) -> None:
        """``send`` meets an ``ApiException``: a transaction that lacks a record must not be committed."""
        self._refuse(topic, record_id, error, out)
        if self.transactions is not None:
            self.transactions.batch_failed(self, error, out)

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

    # -- transactional methods --------------------------------------------------------------------------------------------------------

    def _on_call(self, source: str, body: CallTransaction, out: Outbox) -> None:
        self.call(body.call, out)
        self._proceed(out)

    def call(self, call: str, out: Outbox, offsets: TxnRequest | None = None) -> None:
        """One of the transactional methods; done now, or behind what the thread waits in already. The sender must be woken."""
        assert self.transactions is not None
        self.blocked.append(BlockedCall(call, out.cause, offsets))
        if len(self.blocked) == 1:
            self._unblock(out)

    def _try_call(self, call: BlockedCall, out: Outbox) -> bool:
        """Whether the method has returned (or thrown)."""
        transactions = self.transactions
        assert transactions is not None
        if call.under_way:
            return self._has_returned(call.call, transactions)
        refusal = transactions.refusal(call.call)
        if refusal:
            out.because(call.cause)
            self.last_error = refusal
            out.emit(TransactionCallRefused(self.name, transactions.transactional_id, call.call, refusal))
            return True
        if call.call == INIT:
            transactions.initialize(call.cause)
        elif call.call == BEGIN:
            transactions.begin()
            return True
        elif call.call == SEND_OFFSETS:
            assert call.offsets is not None
            transactions.send_offsets(call.offsets)
        else:
            transactions.end(call.call == COMMIT, call.cause)
        return False

    def _has_returned(self, call: str, transactions: TransactionManager) -> bool:
        if call == SEND_OFFSETS:
            waiting = transactions.in_flight is not None and transactions.in_flight.kind in (tm.OFFSETS, tm.FIND)
            queued = any(request.kind == tm.OFFSETS for request in transactions.queue)
            return transactions.state != tm.IN_TRANSACTION or not (waiting or queued)
        return transactions.state not in (tm.INITIALIZING, tm.COMMITTING, tm.ABORTING)

    # -- workloads ----------------------------------------------------------------------------------------------------------------------

    def _on_start_workload(self, source: str, body: StartWorkload, out: Outbox) -> None:
        self.workloads = [workload for workload in self.workloads if workload.name != body.workload]
        self.workloads.append(workload_of(body, out.now))
        out.emit(WorkloadStarted(self.name, body.workload, body.topic, body.records_per_second))
        self._on_workload_timer("", WorkloadTimer(body.workload), out)

    def _on_stop_workload(self, source: str, body: StopWorkload, out: Outbox) -> None:
        for workload in self.workloads:
            if workload.name == body.workload:
                self._stop(workload, out)
        if self.transactions is not None:
            self._proceed(out)

    def _stop(self, workload: Workload, out: Outbox) -> None:
        if workload.running:
            workload.running = False
            out.cancel(WorkloadTimer(workload.name))
            out.emit(WorkloadStopped(self.name, workload.name, workload.sent))
            if workload.in_transaction:
                workload.in_transaction = 0
                self.call(COMMIT, out)

    def _on_workload_timer(self, source: str, body: WorkloadTimer, out: Outbox) -> None:
        for workload in self.workloads:
            if workload.name == body.workload and workload.running:
                self._tick(workload, out)

    def _tick(self, workload: Workload, out: Outbox) -> None:
        stream = out.stream("workload/" + workload.name)
        wake = False
        for _ in range(self._due(workload, out)):
            if workload.transaction_records and not self._may_send(workload, out):
                break
            record_id, key, value = workload.make(stream)
            wake |= self.send(workload.topic, -1, (key, value, (), out.now_ms), record_id, workload.name, out)
            if workload.transaction_records and workload.in_transaction >= workload.transaction_records:
                workload.in_transaction = 0
                self.call(COMMIT, out)
                wake = True
        if workload.finished:
            self._stop(workload, out)
            wake = True
        elif workload.running:
            out.arm(WorkloadTimer(workload.name), after_us=workload.next_tick_us(out.now))
        if wake:
            self._proceed(out)

    def _due(self, workload: Workload, out: Outbox) -> int:
        """The thread that waits inside a transactional method sends nothing meanwhile, and nothing of it later."""
        if workload.transaction_records and self.blocked:
            workload.hold(out.now)
            return 0
        return workload.due(out.now)

    def _may_send(self, workload: Workload, out: Outbox) -> bool:
        """Begins a transaction where none is open; aborts one that has failed, and ends with a fatal error."""
        transactions = self.transactions
        if transactions is None or transactions.state == tm.FATAL_ERROR:
            workload.in_transaction = 0
            self._stop(workload, out)
            return False
        if transactions.state == tm.ABORTABLE_ERROR:
            workload.in_transaction = 0
            self.call(ABORT, out)
            self._proceed(out)
        if self.blocked:
            workload.hold(out.now)
            return False
        if not workload.in_transaction and transactions.state == tm.READY:
            self.call(BEGIN, out)
        workload.in_transaction += 1
        return True
