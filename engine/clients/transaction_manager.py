"""The producer's side of a transaction: its states, its requests to the coordinator and what it does about every answer.

Java's ``TransactionManager`` with transactions v2 (KIP-98, KIP-360, KIP-447, KIP-890, KIP-1050): partitions are added by their leaders,
offsets by the group's coordinator, and each end of a transaction brings the epoch of the next. One request at a time is under way, and
as long as it is (or waits for its retry) no records are sent. An error is either abortable (abort, then begin anew) or fatal (close).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from engine.clients.accumulator import NEVER_US, Accumulator
from engine.clients.batch import NO_SEQUENCE, ProducerBatch
from engine.clients.common import Connections
from engine.clients.configs import ProducerConfig
from engine.clients.idempotence import ProducerIdState
from engine.errors import ERRORS
from engine.events import ProducerFenced, ProducerIdAssigned, TransactionFailed
from engine.messages.base import Request, TopicPartition
from engine.messages.groups import FindCoordinatorRequest, FindCoordinatorResponse, OffsetAndMetadata
from engine.messages.produce import InitProducerIdRequest, InitProducerIdResponse
from engine.messages.transactions import EndTxnRequest, EndTxnResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse
from engine.sim.outbox import Outbox

UNINITIALIZED, INITIALIZING, READY, IN_TRANSACTION = "uninitialized", "initializing", "ready", "in transaction"
COMMITTING, ABORTING, ABORTABLE_ERROR, FATAL_ERROR = "committing", "aborting", "abortable error", "fatal error"

VALID_SOURCES: dict[str, tuple[str, ...]] = {
    INITIALIZING: (UNINITIALIZED,),
    READY: (INITIALIZING, COMMITTING, ABORTING),
    IN_TRANSACTION: (READY,),
    COMMITTING: (IN_TRANSACTION,),
    ABORTING: (IN_TRANSACTION, ABORTABLE_ERROR),
    ABORTABLE_ERROR: (IN_TRANSACTION, COMMITTING, ABORTABLE_ERROR, INITIALIZING),
}
"""``TransactionManager.State.isTransitionValid``; a fatal error may come at any time and is never left."""

FENCING = ("INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED")
LOST_COORDINATOR = ("NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE")
FATAL_FOR_BATCHES = (
    "CLUSTER_AUTHORIZATION_FAILED", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "PRODUCER_FENCED", "UNSUPPORTED_VERSION",
    "INVALID_PRODUCER_ID_MAPPING",
)  # fmt: skip
ABORTABLE_FOR_OFFSETS = (
    "GROUP_AUTHORIZATION_FAILED", "FENCED_INSTANCE_ID", "TRANSACTION_ABORTABLE", "UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION",
)  # fmt: skip
FIND, INIT, OFFSETS, END = "find", "init", "offsets", "end"
PRIORITY = {FIND: 0, INIT: 1, OFFSETS: 2, END: 3}


class TxnRequest(msgspec.Struct, frozen=True):
    """A request that waits to be sent. ``key``: of FIND, the group ("" is the transaction's own coordinator)."""

    kind: str
    cause: int
    key: str = ""
    committed: bool = False
    offsets: tuple[OffsetAndMetadata, ...] = ()
    generation: int = -1
    member_id: str = ""
    instance_id: str = ""


class Sender(Protocol):
    """What the manager needs of its producer."""

    name: str
    connections: Connections
    settings: ProducerConfig
    ids: ProducerIdState
    accumulator: Accumulator

    def give_up(self, batch: ProducerBatch, error: str, out: Outbox) -> None: ...


@dataclass(slots=True)
class TransactionManager:
    """``started``: something of this transaction was sent. ``queue`` ascends by priority. ``in_flight`` is the request whose answer with
    the correlation ID ``in_flight_id`` is awaited. Coordinators are -1 while unknown."""

    transactional_id: str
    timeout_ms: int
    state: str = UNINITIALIZED
    last_error: str = ""
    started: bool = False
    partitions: list[TopicPartition] = field(default_factory=list)
    queue: list[TxnRequest] = field(default_factory=list)
    in_flight: TxnRequest | None = None
    in_flight_id: int = -1
    coordinator: int = -1
    group: str = ""
    group_coordinator: int = -1
    retry_at_us: int = 0

    # -- what the application calls -----------------------------------------------------------------------------------------------

    @property
    def completing(self) -> bool:
        return self.state in (COMMITTING, ABORTING)

    @property
    def ongoing(self) -> bool:
        return self.state in (IN_TRANSACTION, COMMITTING, ABORTING, ABORTABLE_ERROR)

    def refusal(self, call: str) -> str:
        """Why ``call`` ("init", "begin", "commit", "abort", "offsets" or "send") throws now; "" where it does not."""
        name = f"TransactionalId {self.transactional_id}"
        if self.state == FATAL_ERROR or (self.state == ABORTABLE_ERROR and call != "abort"):
            who = f"Producer with transactionalId '{self.transactional_id}'"
            if self.last_error == "PRODUCER_FENCED":
                return f"ProducerFencedException: {who} has been fenced by another producer with the same transactionalId"
            if self.last_error == "INVALID_PRODUCER_EPOCH":
                return f"InvalidProducerEpochException: {who} attempted to produce with an old epoch"
            return f"KafkaException: Cannot execute transactional method because we are in an error state ({self.last_error})"
        target = {"init": INITIALIZING, "begin": IN_TRANSACTION, "commit": COMMITTING, "abort": ABORTING}.get(call)
        if target is None:
            if self.state == IN_TRANSACTION:
                return ""
            what = "send offsets" if call == "offsets" else "add partition to transaction"
            return f"IllegalStateException: Cannot {what} while in state {self.state.upper().replace(' ', '_')}"
        if self.state in VALID_SOURCES[target]:
            return ""
        shown = [state.upper().replace(" ", "_") for state in (self.state, target)]
        return f"IllegalStateException: {name}: Invalid transition attempted from state {shown[0]} to state {shown[1]}"

    def initialize(self, cause: int) -> None:
        self.state = INITIALIZING
        self._enqueue(TxnRequest(INIT, cause))

    def begin(self) -> None:
        self.state = IN_TRANSACTION

    def end(self, committed: bool, cause: int) -> None:
        self.state = COMMITTING if committed else ABORTING
        self._enqueue(TxnRequest(END, cause, committed=committed))

    def send_offsets(self, request: TxnRequest) -> None:
        self.started = True
        self._enqueue(request)

    def _enqueue(self, request: TxnRequest) -> None:
        self.queue.append(request)
        self.queue.sort(key=_priority)

    # -- the sender's part --------------------------------------------------------------------------------------------------------

    def step(self, sender: Sender, out: Outbox) -> tuple[bool, int]:
        """One turn of the sender (``maybeSendAndPollTransactionalRequest``). Returns whether records must wait, and when to look
        again."""
        self._resolve_sequences(sender, out)
        if self.state == FATAL_ERROR:
            self._drop_batches(sender, sender.accumulator.batches, out)
            return True, NEVER_US
        if self.in_flight is not None:
            return True, NEVER_US
        if self.state in (ABORTABLE_ERROR, ABORTING):
            queued = [number for number, batch in sender.accumulator.batches.items() if batch.base_sequence == NO_SEQUENCE]
            self._drop_batches(sender, queued, out)
        if self.completing:
            sender.accumulator.flush_below = sender.accumulator.next_batch_id
        return self._send_next(sender, out)

    def _resolve_sequences(self, sender: Sender, out: Outbox) -> None:
        ids = sender.ids
        ids.resolve()
        if ids.bump_required:
            ids.bump_required = False
            ids.to_rewrite.clear()
            reason = "The client hasn't received acknowledgment for some previously sent messages and can no longer retry them."
            self.fail_abortable(sender, f"KafkaException: {reason}", out)

    def _drop_batches(self, sender: Sender, numbers: Any, out: Outbox) -> None:
        error = self.last_error or "TransactionAbortedException: Failing batch since transaction was aborted"
        heard = out.cause
        for number in list(numbers):
            batch = sender.accumulator.batches.get(number)
            if batch is not None:
                out.because(heard)
                sender.give_up(batch, error, out)
        out.because(heard)

    def _send_next(self, sender: Sender, out: Outbox) -> tuple[bool, int]:
        while self.queue:
            request = self.queue[0]
            if request.kind == END and sender.accumulator.batches:
                return False, NEVER_US  # only when all records are resolved
            if self.state == ABORTABLE_ERROR and request.kind != FIND:
                del self.queue[0]  # the call that asked for it has failed
                continue
            if request.kind == END and not self.started:
                del self.queue[0]
                self._complete()
                continue
            if out.now < self.retry_at_us:
                return True, self.retry_at_us
            return True, self._send(sender, request, out)
        return False, NEVER_US

    def _send(self, sender: Sender, request: TxnRequest, out: Outbox) -> int:
        connections = sender.connections
        if request.kind == FIND:
            broker = connections.least_loaded(out)
            if broker is None:
                return NEVER_US  # a connection was begun
        else:
            broker = self._coordinator_of(request)
            if broker < 0:
                self._look_up(request.key if request.kind == OFFSETS else "", request.cause)
                return self._send(sender, self.queue[0], out)
        if not connections.ready(broker, out):
            if connections.by_broker[broker].failures and request.kind != FIND:
                self._forget_coordinator(request)  # it may have moved
                self.retry_at_us = out.now + sender.settings.retry_backoff_ms * 1000
                return self.retry_at_us
            return NEVER_US
        del self.queue[0]
        self.in_flight = request
        self.in_flight_id = connections.new_correlation_id()
        out.because(request.cause)
        connections.send(broker, self._message(sender, request), "transaction", out)
        return NEVER_US

    def _message(self, sender: Sender, request: TxnRequest) -> Request:
        number, name, ids = self.in_flight_id, self.transactional_id, sender.ids
        if request.kind == FIND:
            return FindCoordinatorRequest(number, request.key or name, "group" if request.key else "transaction")
        if request.kind == INIT:
            return InitProducerIdRequest(number, name, self.timeout_ms)
        if request.kind == END:
            return EndTxnRequest(number, name, ids.producer_id, ids.producer_epoch, request.committed)
        return TxnOffsetCommitRequest(
            number, name, request.key, ids.producer_id, ids.producer_epoch, request.offsets, request.generation, request.member_id,
            request.instance_id,
        )  # fmt: skip

    def _coordinator_of(self, request: TxnRequest) -> int:
        if request.kind != OFFSETS:
            return self.coordinator
        return self.group_coordinator if request.key == self.group else -1

    def _forget_coordinator(self, request: TxnRequest) -> None:
        if request.kind == OFFSETS:
            self.group_coordinator = -1
        else:
            self.coordinator = -1

    def _look_up(self, group: str, cause: int) -> None:
        if not any(request.kind == FIND and request.key == group for request in self.queue):
            self._enqueue(TxnRequest(FIND, cause, group))

    # -- answers --------------------------------------------------------------------------------------------------------------------

    def lost(self, sender: Sender, out: Outbox) -> None:
        """The connection broke: the coordinator is looked up again and the request repeated."""
        request, self.in_flight = self.in_flight, None
        if request is not None and self.state != FATAL_ERROR:
            self._forget_coordinator(request)
            self._retry(sender, request, out)

    def _retry(self, sender: Sender, request: TxnRequest, out: Outbox) -> None:
        self._enqueue(request)
        self.retry_at_us = out.now + sender.settings.retry_backoff_ms * 1000

    def answered(self, sender: Sender, body: Any, out: Outbox) -> None:
        request, self.in_flight = self.in_flight, None
        if request is not None and self.state != FATAL_ERROR:
            _ANSWERS[type(body)](self, sender, request, body, out)

    def _passes(self, sender: Sender, request: TxnRequest, error: str, out: Outbox) -> bool:
        """Whether the request is tried again."""
        row = ERRORS.get(error)
        if error in LOST_COORDINATOR:
            self._forget_coordinator(request)
        elif row is None or not row.retriable:
            return False
        self._retry(sender, request, out)
        return True

    def _on_coordinator(self, sender: Sender, request: TxnRequest, body: FindCoordinatorResponse, out: Outbox) -> None:
        if body.error == "NONE":
            if request.key:
                self.group, self.group_coordinator = request.key, body.broker_id
            else:
                self.coordinator = body.broker_id
        elif body.error == "GROUP_AUTHORIZATION_FAILED":
            self.fail_abortable(sender, body.error, out)
        elif not self._passes(sender, request, body.error, out):
            self.fail_fatally(sender, body.error, out)

    def _on_initialized(self, sender: Sender, request: TxnRequest, body: InitProducerIdResponse, out: Outbox) -> None:
        if body.error == "NONE":
            self._take_identity(sender, body.producer_id, body.producer_epoch, out)
            self.state, self.last_error = READY, ""
        elif not self._passes(sender, request, body.error, out):
            self.fail_fatally(sender, body.error, out)

    def _take_identity(self, sender: Sender, producer_id: int, epoch: int, out: Outbox) -> None:
        ids = sender.ids
        ids.producer_id, ids.producer_epoch = producer_id, epoch
        ids.partitions.clear()
        out.emit(ProducerIdAssigned(sender.name, producer_id, epoch))

    def _on_ended(self, sender: Sender, request: TxnRequest, body: EndTxnResponse, out: Outbox) -> None:
        error = body.error
        if error == "NONE":
            if body.producer_id >= 0:
                self._take_identity(sender, body.producer_id, body.producer_epoch, out)
            self._complete()
        elif self._passes(sender, request, error, out):
            return
        elif error in ("UNKNOWN_PRODUCER_ID", "TRANSACTION_ABORTABLE") and request.committed:
            self.fail_abortable(sender, error, out)
        else:
            self.fail_fatally(sender, error, out)

    def _on_offsets(self, sender: Sender, request: TxnRequest, body: TxnOffsetCommitResponse, out: Outbox) -> None:
        for result in body.results:
            error = result.error
            if error == "NONE":
                continue
            if error == "REQUEST_TIMED_OUT":
                self.group_coordinator = -1
            if self._passes(sender, request, error, out):
                return
            if error in ABORTABLE_FOR_OFFSETS:
                self.fail_abortable(sender, error, out)
            else:
                self.fail_fatally(sender, error, out)
            return

    def _complete(self) -> None:
        self.state, self.last_error, self.started = READY, "", False
        self.partitions.clear()

    # -- errors ---------------------------------------------------------------------------------------------------------------------

    def batch_failed(self, sender: Sender, error: str, out: Outbox) -> None:
        """``maybeTransitionToErrorState``: a batch was given up."""
        if error in FATAL_FOR_BATCHES:
            self.fail_fatally(sender, error, out)
        else:
            self.fail_abortable(sender, error, out)

    def fail_abortable(self, sender: Sender, error: str, out: Outbox) -> None:
        if self.state in (ABORTING, ABORTABLE_ERROR, FATAL_ERROR) or self.state not in VALID_SOURCES[ABORTABLE_ERROR]:
            return
        self.state, self.last_error = ABORTABLE_ERROR, error
        self.queue = [request for request in self.queue if request.kind == FIND]  # what asked for the others has failed
        out.emit(TransactionFailed(sender.name, self.transactional_id, error, False))

    def fail_fatally(self, sender: Sender, error: str, out: Outbox) -> None:
        if self.state == FATAL_ERROR:
            return
        ids = sender.ids
        self.state, self.last_error = FATAL_ERROR, "PRODUCER_FENCED" if error in FENCING else error
        self.queue.clear()
        if error in FENCING:
            out.emit(ProducerFenced(sender.name, self.transactional_id, ids.producer_id, ids.producer_epoch, self.last_error))
        else:
            out.emit(TransactionFailed(sender.name, self.transactional_id, error, True))


def _priority(request: TxnRequest) -> int:
    return PRIORITY[request.kind]


_ANSWERS: dict[type, Callable[[TransactionManager, Sender, TxnRequest, Any, Outbox], None]] = {
    FindCoordinatorResponse: TransactionManager._on_coordinator,
    InitProducerIdResponse: TransactionManager._on_initialized,
    EndTxnResponse: TransactionManager._on_ended,
    TxnOffsetCommitResponse: TransactionManager._on_offsets,
}
