"""The transaction coordinator on a broker: what a shard of ``__transaction_state`` decides is written there and then carried out.

A decision counts when its record is committed: only then is the client answered and only then do markers leave, for a coordinator that
takes over after a crash must decide the same. Source: Kafka's ``TransactionCoordinator`` and ``TransactionStateManager``.
"""

from __future__ import annotations

from engine.broker import coordinators, producer_ids, transaction_markers
from engine.broker.coordinators import ShardKind
from engine.broker.state import Broker, Replica
from engine.broker.timers import TransactionalIdExpiry, TransactionSweep
from engine.coordination import transactions as machine
from engine.coordination.shard import Continuation
from engine.coordination.transaction_records import NO_EPOCH, NO_ID, TransactionMetadata, encode_key, encode_value
from engine.coordination.transactions import TransactionShard, Verdict
from engine.events import (
    PartitionAddedToTransaction,
    TransactionCompleted,
    TransactionPrepared,
    TransactionStarted,
    TransactionTimedOut,
)
from engine.messages.base import Response, TopicPartition
from engine.messages.groups import PartitionError
from engine.messages.produce import InitProducerIdRequest, InitProducerIdResponse
from engine.messages.transactions import (
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    EndTxnRequest,
    EndTxnResponse,
)
from engine.metadata.internal_topics import TRANSACTION_STATE
from engine.sim.outbox import Outbox

INITIALISED, ADDED, PREPARED, COMPLETED, EXPIRED = "initialised", "added", "prepared", "completed", "expired"
EXPIRY_US = 3_600_000_000
"""``transaction.remove.expired.transaction.cleanup.interval.ms``."""


class TransactionWritten(Continuation, frozen=True, gc=False, tag=True):
    """The record of a transactional ID's change is committed (or has failed). ``step``: which change."""

    transactional_id: str
    step: str


def shard_of(broker: Broker, transactional_id: str) -> tuple[Replica | None, TransactionShard, str]:
    """(replica, its shard, "NONE"), or no replica and the error."""
    replica, error = coordinators.locate(broker, TRANSACTION_STATE, transactional_id)
    if replica is None or replica.shard is None:
        return None, _NO_SHARD, error
    return replica, state_of(replica), "NONE"


def state_of(replica: Replica) -> TransactionShard:
    assert replica.shard is not None
    state = replica.shard.state
    assert isinstance(state, TransactionShard)
    return state


_NO_SHARD = TransactionShard()


# -- requests ---------------------------------------------------------------------------------------------------------------------------


def init_producer_id(broker: Broker, source: str, request: InitProducerIdRequest, out: Outbox) -> None:
    number, transactional_id = request.correlation_id, request.transactional_id
    if not 0 < request.transaction_timeout_ms <= broker.settings.transaction_max_timeout_ms:
        out.send(source, InitProducerIdResponse(number, "INVALID_TRANSACTION_TIMEOUT"))
        return
    replica, shard, error = shard_of(broker, transactional_id)
    fresh_id = NO_ID
    if replica is not None:
        known = shard.transactions.get(transactional_id)
        if known is None or machine.is_exhausted(known.producer_epoch):
            fresh_id = producer_ids.next_producer_id(broker, out)
            error = "COORDINATOR_LOAD_IN_PROGRESS" if fresh_id < 0 else "NONE"
    if replica is None or error != "NONE":
        out.send(source, InitProducerIdResponse(number, error))
        return
    verdict = machine.init_producer_id(
        shard, transactional_id, request.transaction_timeout_ms, request.producer_id, request.producer_epoch, fresh_id, out.now_ms
    )
    change = verdict.change
    if change is None:
        out.send(source, InitProducerIdResponse(number, verdict.error))
    elif verdict.fences:
        _write(broker, replica, change, PREPARED, source, InitProducerIdResponse(number, "CONCURRENT_TRANSACTIONS"), out)
    else:
        reply = InitProducerIdResponse(number, "NONE", change.producer_id, change.producer_epoch)
        _write(broker, replica, change, INITIALISED, source, reply, out)
        _keep_sweeping(broker, out)


def add_partitions(
    broker: Broker, source: str, request: AddPartitionsToTxnRequest, out: Outbox, *, as_offsets: bool = False
) -> None:
    """``as_offsets``: the client had asked by AddOffsetsToTxn, and is answered so."""
    replica, shard, error = shard_of(broker, request.transactional_id)
    if request.verify_only and replica is not None:
        _verify(shard, source, request, out)
        return
    verdict = Verdict(error)
    if replica is not None:
        epoch = request.producer_epoch
        if "zombie-not-fenced" in broker.mutants and request.transactional_id in shard.transactions:
            epoch = shard.transactions[request.transactional_id].producer_epoch
        verdict = machine.add_partitions(
            shard, request.transactional_id, request.producer_id, epoch, request.partitions,
            request.transaction_version, out.now_ms,
        )  # fmt: skip
    results = tuple([PartitionError(partition, verdict.error) for partition in request.partitions])
    reply: Response = AddPartitionsToTxnResponse(request.correlation_id, results)
    if as_offsets:
        reply = AddOffsetsToTxnResponse(request.correlation_id, verdict.error)
    if replica is None or verdict.change is None:
        out.send(source, reply)
        return
    _tell_of_partitions(broker, shard.transactions[request.transactional_id], verdict.change, out)
    _write(broker, replica, verdict.change, ADDED, source, reply, out)
    _keep_sweeping(broker, out)


def _verify(shard: TransactionShard, source: str, request: AddPartitionsToTxnRequest, out: Outbox) -> None:
    results = []
    for partition in request.partitions:
        error = machine.verify_partition(shard, request.transactional_id, request.producer_id, request.producer_epoch, partition)
        results.append(PartitionError(partition, error))
    out.send(source, AddPartitionsToTxnResponse(request.correlation_id, tuple(results)))


def _tell_of_partitions(broker: Broker, before: TransactionMetadata, after: TransactionMetadata, out: Outbox) -> None:
    held: tuple[TopicPartition, ...] = before.partitions
    name, producer_id, epoch = after.transactional_id, after.producer_id, after.producer_epoch
    if before.state != machine.ONGOING:
        held = ()
        out.emit(TransactionStarted(broker.broker_id, name, producer_id, epoch, after.timeout_ms))
    for topic, number in after.partitions[len(held) :]:
        out.emit(PartitionAddedToTransaction(broker.broker_id, name, producer_id, epoch, topic, number))


def end_transaction(broker: Broker, source: str, request: EndTxnRequest, out: Outbox) -> None:
    number, transactional_id = request.correlation_id, request.transactional_id
    replica, shard, error = shard_of(broker, transactional_id)
    verdict = Verdict(error)
    if replica is not None:
        known = shard.transactions.get(transactional_id)
        fresh_id = NO_ID
        if known is not None and machine.is_exhausted(known.producer_epoch):
            fresh_id = producer_ids.next_producer_id(broker, out)
            if fresh_id < 0:
                out.send(source, EndTxnResponse(number, "COORDINATOR_LOAD_IN_PROGRESS"))
                return
        verdict = machine.end_transaction(
            shard, transactional_id, request.producer_id, request.producer_epoch, request.committed, request.transaction_version,
            fresh_id, out.now_ms,
        )  # fmt: skip
    if replica is None or verdict.change is None:
        producer_id, epoch = NO_ID, NO_EPOCH
        if verdict.error == "NONE":
            producer_id, epoch = machine.identity_after(shard.transactions[transactional_id])
        out.send(source, EndTxnResponse(number, verdict.error, producer_id, epoch))
        return
    reply = EndTxnResponse(number, "NONE")
    if request.transaction_version >= machine.SERVER_VERSION:
        reply = EndTxnResponse(number, "NONE", *machine.identity_after(verdict.change))
    _write(broker, replica, verdict.change, PREPARED, source, reply, out)


# -- writing, and what follows --------------------------------------------------------------------------------------------------------


def _write(
    broker: Broker,
    replica: Replica,
    change: TransactionMetadata,
    step: str,
    destination: str,
    reply: Response | None,
    out: Outbox,
) -> None:
    """Until the record is committed, whoever asks for this transactional ID meets CONCURRENT_TRANSACTIONS."""
    cause = out.cause
    state_of(replica).pending.append(change.transactional_id)
    coordinators.write(
        broker, TRANSACTION_STATE, replica.partition.partition, [(encode_key(change.transactional_id), encode_value(change))], out,
        destination=destination, reply=reply, then=TransactionWritten(change.transactional_id, step), check_min_isr=True,
    )  # fmt: skip
    out.because(cause)


def on_written(broker: Broker, replica: Replica, then: Continuation, error: str, out: Outbox) -> None:
    assert isinstance(then, TransactionWritten)
    transactional_id, step = then.transactional_id, then.step
    number = replica.partition.partition
    if error == "REQUEST_TIMED_OUT":  # nobody waits for the answer any more, but the record lies in the log
        coordinators.write(broker, TRANSACTION_STATE, number, (), out, then=then)
        return
    shard = state_of(replica)
    if transactional_id in shard.pending:
        shard.pending.remove(transactional_id)
    if error != "NONE":
        if step == COMPLETED and error != coordinators.MUST_BE_FOUND_AGAIN:
            broker.transactions.unwritten.append((number, transactional_id))
            transaction_markers.retry_soon(broker, out)
        return
    known = shard.transactions.get(transactional_id)
    if known is None:
        return
    committed = known.state in (machine.PREPARE_COMMIT, machine.COMPLETE_COMMIT)
    if step == PREPARED:
        out.emit(
            TransactionPrepared(
                broker.broker_id, transactional_id, known.producer_id, known.producer_epoch, committed, len(known.partitions)
            )
        )
        send_markers(broker, replica, known, out)
    elif step == COMPLETED:
        out.emit(TransactionCompleted(broker.broker_id, transactional_id, known.producer_id, known.producer_epoch, committed))


def send_markers(broker: Broker, replica: Replica, known: TransactionMetadata, out: Outbox) -> None:
    """To all partitions that have none yet; with none left, the transaction is over."""
    shard = state_of(replica)
    missing = shard.unmarked.get(known.transactional_id, ())
    assert replica.shard is not None
    remaining = transaction_markers.enqueue(broker, known, replica.partition.partition, replica.shard.leader_epoch, missing, out)
    shard.unmarked[known.transactional_id] = remaining
    if remaining:
        transaction_markers.send_all(broker, out)
    else:
        complete(broker, replica, known.transactional_id, out)


def complete(broker: Broker, replica: Replica, transactional_id: str, out: Outbox) -> None:
    """All markers are written (``maybeWriteTxnCompletion``)."""
    shard = state_of(replica)
    known = shard.transactions.get(transactional_id)
    if known is not None and known.state in machine.PREPARED and transactional_id not in shard.pending:
        _write(broker, replica, machine.completed(known, out.now_ms), COMPLETED, "", None, out)


def on_loaded(broker: Broker, replica: Replica, out: Outbox) -> None:
    """The new coordinator ends what the old one had decided."""
    cause = out.cause
    shard = state_of(replica)
    for transactional_id in list(shard.unmarked):
        out.because(cause)
        send_markers(broker, replica, shard.transactions[transactional_id], out)
    out.because(cause)
    if shard.transactions:
        _keep_sweeping(broker, out)


def on_dropped(broker: Broker, replica: Replica, out: Outbox) -> None:
    transaction_markers.forget(broker, replica.partition.partition)


def _create(broker: Broker, replica: Replica) -> TransactionShard:
    return TransactionShard()


# -- time ------------------------------------------------------------------------------------------------------------------------------------


def _keep_sweeping(broker: Broker, out: Outbox) -> None:
    if not broker.transactions.sweeping:
        broker.transactions.sweeping = True
        out.arm(TransactionSweep(), after_us=broker.settings.transaction_sweep_us)
        out.arm(TransactionalIdExpiry(), after_us=EXPIRY_US)


def shards(broker: Broker) -> list[tuple[Replica, TransactionShard]]:
    return [
        (replica, replica.shard.state)
        for replica in broker.partitions.values()
        if replica.shard is not None and not replica.shard.loading and isinstance(replica.shard.state, TransactionShard)
    ]


def on_sweep(broker: Broker, source: str, timer: TransactionSweep, out: Outbox) -> None:
    """Aborts what has been open for longer than its transaction.timeout.ms, in a new epoch: the producer is fenced."""
    out.because(0)
    used = [(replica, shard) for replica, shard in shards(broker) if shard.transactions]
    if not used:
        broker.transactions.sweeping = False
        out.cancel(TransactionalIdExpiry())
        return
    out.arm(timer, after_us=broker.settings.transaction_sweep_us)
    for replica, shard in used:
        for transactional_id in shard.timed_out(out.now_ms):
            out.because(0)
            _time_out(broker, replica, shard.transactions[transactional_id], out)
    out.because(0)


def _time_out(broker: Broker, replica: Replica, known: TransactionMetadata, out: Outbox) -> None:
    fresh_id = NO_ID
    if machine.is_exhausted(known.producer_epoch):
        fresh_id = producer_ids.next_producer_id(broker, out)
        if fresh_id < 0:
            return  # the next round will have one
    out.emit(
        TransactionTimedOut(
            broker.broker_id, known.transactional_id, known.producer_id, known.producer_epoch, out.now_ms - known.start_ms,
            known.timeout_ms,
        )
    )  # fmt: skip
    _write(broker, replica, machine.fence(known, fresh_id, out.now_ms), PREPARED, "", None, out)


def on_expiry(broker: Broker, source: str, timer: TransactionalIdExpiry, out: Outbox) -> None:
    """Tombstones for the IDs that nobody has used for transactional.id.expiration.ms."""
    out.because(0)
    out.arm(timer, after_us=EXPIRY_US)
    expiration_ms = broker.settings.transactional_id_expiration_ms
    for replica, shard in shards(broker):
        for transactional_id in shard.expired(out.now_ms, expiration_ms):
            out.because(0)
            shard.pending.append(transactional_id)
            coordinators.write(
                broker, TRANSACTION_STATE, replica.partition.partition, [(encode_key(transactional_id), None)], out,
                then=TransactionWritten(transactional_id, EXPIRED), check_min_isr=True,
            )  # fmt: skip
    out.because(0)


coordinators.register(TRANSACTION_STATE, ShardKind(_create, on_loaded, on_dropped, on_written, reload_in_new_epoch=True))
