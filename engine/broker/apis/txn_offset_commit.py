"""TxnOffsetCommit (API key 28): offsets that count if, and only if, the transaction commits (KIP-98).

Versions: v3 brought the consumer's generation and member ID, so that a group can fence its zombies (KIP-447); v5 lets the group's
coordinator add its partition of ``__consumer_offsets`` to the transaction by itself (KIP-890). Until the marker comes the offsets are
pending: a fetch that asks for stable offsets waits for them. Source: ``GroupCoordinatorService.commitTransactionalOffsets``.
"""

from __future__ import annotations

from engine.broker import coordinators, groups, transaction_verification
from engine.broker.state import Broker
from engine.coordination import group_offsets
from engine.events import OffsetsAddedToTransaction
from engine.log.errors import LogError
from engine.log.producer_state import NO_GUARD
from engine.messages.base import TopicPartition
from engine.messages.groups import PartitionError
from engine.messages.transactions import (
    AddOffsetsToTxnRequest,
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnRequest,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
)
from engine.metadata.internal_topics import CONSUMER_OFFSETS
from engine.sim.outbox import Outbox

NO_SEQUENCE = -1


def handle(broker: Broker, source: str, request: TxnOffsetCommitRequest, out: Outbox) -> None:
    replica, error = coordinators.locate(broker, CONSUMER_OFFSETS, request.group_id)
    if replica is None:
        out.send(source, _refused(request, error))
        return
    try:
        guard = replica.log.producer_state.start_verification(
            request.producer_id, request.producer_epoch, NO_SEQUENCE, epoch_bump=request.adds_partitions
        )
    except LogError as wrong:
        out.send(source, _refused(request, wrong.code))
        return
    if guard == NO_GUARD:
        commit(broker, source, request, {}, {}, out)
    else:
        transaction_verification.ask_for_offsets(broker, source, request, replica.partition, guard, out)


def commit(
    broker: Broker,
    source: str,
    request: TxnOffsetCommitRequest,
    guards: dict[TopicPartition, int],
    errors: dict[TopicPartition, str],
    out: Outbox,
) -> None:
    """The coordinator of the transaction has answered, or need not be asked."""
    replica, error = coordinators.locate(broker, CONSUMER_OFFSETS, request.group_id)
    if replica is not None:
        error = errors.get(replica.partition, "NONE")
    if replica is not None and error == "NONE":
        shard = groups.shard_of(replica)
        error = group_offsets.validate_transactional_commit(
            shard, request.group_id, request.member_id, request.group_instance_id, request.generation_or_epoch, out.now_ms
        )
    if replica is None or error != "NONE":
        out.send(source, _refused(request, coordinators.TRANSLATED.get(error, error)))
        return
    known = tuple([item for item in request.offsets if broker.image.partition(item.partition) is not None])
    records, results, stored = group_offsets.commit_records(shard, request.group_id, known, out.now_ms)
    unknown = [item.partition for item in request.offsets if item not in known]
    results += tuple([PartitionError(partition, "UNKNOWN_TOPIC_OR_PARTITION") for partition in unknown])
    if not records:
        out.send(source, TxnOffsetCommitResponse(request.correlation_id, results))
        return
    cause = out.cause
    out.emit(OffsetsAddedToTransaction(broker.broker_id, request.transactional_id, request.group_id, stored))
    coordinators.write(
        broker, CONSUMER_OFFSETS, replica.partition.partition, records, out, destination=source,
        reply=TxnOffsetCommitResponse(request.correlation_id, results), producer_id=request.producer_id,
        producer_epoch=request.producer_epoch, transactional=True, guard=guards.get(replica.partition, NO_GUARD),
    )  # fmt: skip
    out.because(cause)


def _refused(request: TxnOffsetCommitRequest, error: str) -> TxnOffsetCommitResponse:
    results = tuple([PartitionError(item.partition, error) for item in request.offsets])
    return TxnOffsetCommitResponse(request.correlation_id, results)


def add_offsets(broker: Broker, source: str, request: AddOffsetsToTxnRequest, out: Outbox) -> None:
    """AddOffsetsToTxn (25), the way of transactions v1: the client names the group, the transaction's coordinator its partition."""
    from engine.broker import transactions

    topic = broker.image.topics.get(CONSUMER_OFFSETS)
    if topic is None:
        out.send(source, AddOffsetsToTxnResponse(request.correlation_id, "COORDINATOR_NOT_AVAILABLE"))
        return
    partition = TopicPartition(CONSUMER_OFFSETS, coordinators.partition_for(request.group_id, len(topic.partitions)))
    add = AddPartitionsToTxnRequest(
        request.correlation_id, request.transactional_id, request.producer_id, request.producer_epoch, (partition,),
        transaction_version=0,
    )  # fmt: skip
    transactions.add_partitions(broker, source, add, out, as_offsets=True)
