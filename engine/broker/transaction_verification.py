"""Before a transaction's first record is written to a partition, its leader asks the transaction's coordinator (KIP-890).

With transactions v2 the question is also the answer to "add this partition": the client sends no AddPartitionsToTxn. A batch that nobody
confirmed is refused, so that a late one cannot leave a transaction hanging. The whole request waits meanwhile. Sources:
``AddPartitionsToTxnManager``, ``ReplicaManager.handleProduceAppend``.
"""

from __future__ import annotations

from engine.broker import coordinators
from engine.broker.apis import produce, txn_offset_commit
from engine.broker.state import LEADER, Broker
from engine.broker.timers import VerificationRetry, VerificationTimeout
from engine.broker.transaction_state import ParkedVerification
from engine.log.errors import LogError
from engine.log.producer_state import NO_GUARD
from engine.log.record_batch import BatchHeader, read_header
from engine.messages.base import Request, TopicPartition
from engine.messages.groups import PartitionError
from engine.messages.produce import ProduceRequest
from engine.messages.transactions import AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, TxnOffsetCommitRequest
from engine.metadata.internal_topics import TRANSACTION_STATE
from engine.sim.outbox import Outbox
from engine.spec import broker_name

RETRY_US = 20_000
"""``add.partitions.to.txn.retry.backoff.ms``: the last transaction of the producer is usually over by then."""
RETRY_FOR_US = 100_000
"""``add.partitions.to.txn.retry.backoff.max.ms``: after that the client has to wait and ask."""
TIMEOUT_US = 30_000_000
UNCERTAIN = ("NETWORK_EXCEPTION", "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR")
"""Reported as NOT_ENOUGH_REPLICAS, which makes every client try again without looking for another leader."""


def ask_for_produce(broker: Broker, source: str, request: ProduceRequest, out: Outbox) -> None:
    """Writes at once what needs no question, or else parks the request."""
    guards: dict[TopicPartition, int] = {}
    errors: dict[TopicPartition, str] = {}
    asking: BatchHeader | None = None
    for item in request.items:
        replica = broker.partitions.get(item.partition)
        if replica is None or replica.role != LEADER:
            continue
        try:
            header = read_header(item.batch)
            if not header.is_transactional:
                continue
            guard = replica.log.producer_state.start_verification(
                header.producer_id,
                header.producer_epoch,
                header.base_sequence,
                epoch_bump=request.adds_partitions,
                mutants=broker.mutants,
            )
        except LogError as wrong:
            errors[item.partition] = wrong.code
            continue
        if guard != NO_GUARD:
            guards[item.partition] = guard
            asking = header
    if asking is None:
        produce.append_all(broker, source, request, guards, errors, out)
        return
    _park(
        broker, source, request, request.transactional_id, (asking.producer_id, asking.producer_epoch), guards, errors,
        request.adds_partitions, out,
    )  # fmt: skip


def ask_for_offsets(
    broker: Broker, source: str, request: TxnOffsetCommitRequest, partition: TopicPartition, guard: int, out: Outbox
) -> None:
    """The partition of ``__consumer_offsets`` takes part in the transaction like any other."""
    _park(
        broker, source, request, request.transactional_id, (request.producer_id, request.producer_epoch), {partition: guard}, {},
        request.adds_partitions, out,
    )  # fmt: skip


def _park(
    broker: Broker,
    source: str,
    request: Request,
    transactional_id: str,
    producer: tuple[int, int],
    guards: dict[TopicPartition, int],
    errors: dict[TopicPartition, str],
    adds: bool,
    out: Outbox,
) -> None:
    channels = broker.transactions
    number = channels.next_number
    channels.next_number = number + 1
    parked = ParkedVerification(source, request, transactional_id, *producer, adds, guards, errors, out.now, out.cause)
    channels.verifications[number] = parked
    _ask(broker, number, parked, out)


def _ask(broker: Broker, number: int, parked: ParkedVerification, out: Outbox) -> None:
    topic = broker.image.topics.get(TRANSACTION_STATE)
    leader = -1
    if topic is not None and topic.partitions:
        partition = topic.partitions.get(coordinators.partition_for(parked.transactional_id, len(topic.partitions)))
        leader = partition.leader if partition is not None else -1
    if leader < 0:
        _settle(broker, number, parked, dict.fromkeys(parked.guards, "COORDINATOR_NOT_AVAILABLE"), out)
        return
    parked.correlation_id = broker.correlation()
    parked.destination = broker_name(leader)
    question = AddPartitionsToTxnRequest(
        parked.correlation_id, parked.transactional_id, parked.producer_id, parked.producer_epoch, tuple(parked.guards),
        verify_only=not parked.adds,
    )  # fmt: skip
    out.send(parked.destination, question)
    out.arm(VerificationTimeout(number), after_us=TIMEOUT_US)


def on_response(broker: Broker, source: str, response: AddPartitionsToTxnResponse, out: Outbox) -> None:
    found = [
        (number, parked)
        for number, parked in broker.transactions.verifications.items()
        if parked.correlation_id == response.correlation_id and parked.destination == source
    ]
    for number, parked in found:
        out.cancel(VerificationTimeout(number))
        _take(broker, number, parked, response.results, out)


def _take(broker: Broker, number: int, parked: ParkedVerification, results: tuple[PartitionError, ...], out: Outbox) -> None:
    errors = {result.partition: result.error for result in results if result.error != "NONE"}
    if "CONCURRENT_TRANSACTIONS" in errors.values() and parked.adds and out.now - parked.began_us < RETRY_FOR_US:
        parked.correlation_id = -1
        out.arm(VerificationRetry(number), after_us=RETRY_US)
        return
    _settle(broker, number, parked, errors, out)


def _settle(broker: Broker, number: int, parked: ParkedVerification, errors: dict[TopicPartition, str], out: Outbox) -> None:
    """The request goes on, with what was refused taken out of it."""
    del broker.transactions.verifications[number]
    for partition, error in errors.items():
        parked.errors[partition] = _translated(error, parked.adds)
    request = parked.request
    if isinstance(request, ProduceRequest):
        produce.append_all(broker, parked.source, request, parked.guards, parked.errors, out)
    elif isinstance(request, TxnOffsetCommitRequest):
        txn_offset_commit.commit(broker, parked.source, request, parked.guards, parked.errors, out)


def _translated(error: str, adds: bool) -> str:
    if error in UNCERTAIN or (error == "CONCURRENT_TRANSACTIONS" and not adds):
        return "NOT_ENOUGH_REPLICAS"
    return "INVALID_PRODUCER_EPOCH" if error == "PRODUCER_FENCED" else error


def on_retry(broker: Broker, source: str, timer: VerificationRetry, out: Outbox) -> None:
    parked = broker.transactions.verifications.get(timer.number)
    if parked is not None:
        out.because(parked.cause)
        _ask(broker, timer.number, parked, out)


def on_timeout(broker: Broker, source: str, timer: VerificationTimeout, out: Outbox) -> None:
    parked = broker.transactions.verifications.get(timer.number)
    if parked is not None:
        out.because(parked.cause)
        _settle(broker, timer.number, parked, dict.fromkeys(parked.guards, "NETWORK_EXCEPTION"), out)


def on_disconnected(broker: Broker, peer: str, out: Outbox) -> None:
    cause = out.cause
    for number, parked in list(broker.transactions.verifications.items()):
        if parked.destination == peer and parked.correlation_id >= 0:
            out.because(cause)
            out.cancel(VerificationTimeout(number))
            _settle(broker, number, parked, dict.fromkeys(parked.guards, "NETWORK_EXCEPTION"), out)
    out.because(cause)
