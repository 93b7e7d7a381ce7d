"""What administrators ask about transactions: DescribeTransactions (65), ListTransactions (66), DescribeProducers (61), all of KIP-664.

The coordinator describes, every broker lists what it coordinates, and a partition's leader tells which producers have written there and
which of them hold a transaction open: together they find one that hangs. Each API has had one version, ListTransactions a second with a
filter by duration (KIP-994).
"""

from __future__ import annotations

from engine.broker import replication, transactions
from engine.broker.state import LEADER, Broker
from engine.coordination.transaction_records import NO_TIMESTAMP
from engine.messages.transactions import (
    ActiveProducer,
    DescribeProducersRequest,
    DescribeProducersResponse,
    DescribeTransactionRequest,
    DescribeTransactionResponse,
    ListedTransaction,
    ListTransactionsRequest,
    ListTransactionsResponse,
)
from engine.metadata.internal_topics import TRANSACTION_STATE
from engine.sim.outbox import Outbox


def describe(broker: Broker, source: str, request: DescribeTransactionRequest, out: Outbox) -> None:
    replica, shard, error = transactions.shard_of(broker, request.transactional_id)
    known = shard.transactions.get(request.transactional_id)
    number = request.correlation_id
    if replica is None:
        out.send(source, DescribeTransactionResponse(number, error))
    elif known is None:
        out.send(source, DescribeTransactionResponse(number, "TRANSACTIONAL_ID_NOT_FOUND", request.transactional_id))
    else:
        out.send(
            source,
            DescribeTransactionResponse(
                number, "NONE", known.transactional_id, known.producer_id, known.producer_epoch, known.state.title,
                known.timeout_ms, known.start_ms, known.partitions,
            ),
        )  # fmt: skip


def list_all(broker: Broker, source: str, request: ListTransactionsRequest, out: Outbox) -> None:
    """Of the partitions that this broker coordinates; one that is still loading makes the whole list unknown."""
    found: list[ListedTransaction] = []
    error = "NONE"
    for replica in broker.partitions.values():
        if replica.shard is not None and replica.shard.loading and replica.partition.topic == TRANSACTION_STATE:
            error = "COORDINATOR_LOAD_IN_PROGRESS"
    for _, shard in transactions.shards(broker):
        for known in shard.transactions.values():
            if request.states and known.state.title not in request.states:
                continue
            if request.producer_ids and known.producer_id not in request.producer_ids:
                continue
            long_enough = known.start_ms != NO_TIMESTAMP and out.now_ms - known.start_ms > request.duration_ms
            if request.duration_ms >= 0 and not long_enough:
                continue
            found.append(ListedTransaction(known.transactional_id, known.producer_id, known.state.title))
    out.send(source, ListTransactionsResponse(request.correlation_id, error, tuple(found) if error == "NONE" else ()))


def describe_producers(broker: Broker, source: str, request: DescribeProducersRequest, out: Outbox) -> None:
    replica = broker.partitions.get(request.partition)
    number = request.correlation_id
    if replica is None:
        out.send(source, DescribeProducersResponse(number, replication.unhosted_error(broker, request.partition)))
        return
    if replica.role != LEADER:
        out.send(source, DescribeProducersResponse(number, "NOT_LEADER_OR_FOLLOWER"))
        return
    producers = tuple(
        [
            ActiveProducer(
                producer_id, entry.producer_epoch, entry.coordinator_epoch, entry.last_sequence, entry.last_timestamp,
                entry.current_txn_first_offset,
            )
            for producer_id, entry in replica.log.producer_state.producers.items()
        ]
    )  # fmt: skip
    out.send(source, DescribeProducersResponse(number, "NONE", producers))
