"""What transactional producers, coordinators and partition leaders say to each other (KIP-98, KIP-447, KIP-890).

``AddPartitionsToTxn`` (24; with transactions v2 sent by the partition's leader to verify or add), ``AddOffsetsToTxn`` (25), ``EndTxn`` (26),
``WriteTxnMarkers`` (27), ``TxnOffsetCommit`` (28), ``DescribeTransactions`` (65), ``ListTransactions`` (66), ``DescribeProducers`` (61).
``InitProducerId`` lies in ``messages.produce``.
"""

from __future__ import annotations

import msgspec

from engine.messages.base import Request, Response, TopicPartition
from engine.messages.groups import OffsetAndMetadata, PartitionError


class AddPartitionsToTxnRequest(Request, frozen=True, gc=False, tag=True):
    """``verify_only``: the leader asks whether the partition is in the transaction; otherwise it is added."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    partitions: tuple[TopicPartition, ...]
    verify_only: bool = False
    transaction_version: int = 2


class AddPartitionsToTxnResponse(Response, frozen=True, gc=False, tag=True):
    results: tuple[PartitionError, ...]


class AddOffsetsToTxnRequest(Request, frozen=True, gc=False, tag=True):
    """Only with transactions v1."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    group_id: str


class AddOffsetsToTxnResponse(Response, frozen=True, gc=False, tag=True):
    error: str


class EndTxnRequest(Request, frozen=True, gc=False, tag=True):
    transactional_id: str
    producer_id: int
    producer_epoch: int
    committed: bool
    transaction_version: int = 2


class EndTxnResponse(Response, frozen=True, gc=False, tag=True):
    """With transactions v2: the epoch (and, at the end of the epochs, the ID) for the next transaction."""

    error: str
    producer_id: int = -1
    producer_epoch: int = -1


class TxnMarker(msgspec.Struct, frozen=True, gc=False):
    producer_id: int
    producer_epoch: int
    committed: bool
    coordinator_epoch: int
    partitions: tuple[TopicPartition, ...]
    transaction_version: int = 2


class WriteTxnMarkersRequest(Request, frozen=True, gc=False, tag=True):
    markers: tuple[TxnMarker, ...]


class WriteTxnMarkersResponse(Response, frozen=True, gc=False, tag=True):
    """Per producer ID the outcome for each of its partitions."""

    results: tuple[tuple[int, tuple[PartitionError, ...]], ...]


class TxnOffsetCommitRequest(Request, frozen=True, gc=False, tag=True):
    transactional_id: str
    group_id: str
    producer_id: int
    producer_epoch: int
    offsets: tuple[OffsetAndMetadata, ...]
    generation_or_epoch: int = -1
    member_id: str = ""
    group_instance_id: str = ""
    adds_partitions: bool = True


class TxnOffsetCommitResponse(Response, frozen=True, gc=False, tag=True):
    results: tuple[PartitionError, ...]


class ListTransactionsRequest(Request, frozen=True, gc=False, tag=True):
    """``duration_ms``: only those open for longer (KIP-994); -1 any."""

    states: tuple[str, ...] = ()
    producer_ids: tuple[int, ...] = ()
    duration_ms: int = -1


class ListedTransaction(msgspec.Struct, frozen=True, gc=False):
    transactional_id: str
    producer_id: int
    state: str


class ListTransactionsResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    transactions: tuple[ListedTransaction, ...] = ()


class DescribeTransactionRequest(Request, frozen=True, gc=False, tag=True):
    transactional_id: str


class DescribeTransactionResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    transactional_id: str = ""
    producer_id: int = -1
    producer_epoch: int = -1
    state: str = ""
    timeout_ms: int = -1
    start_ms: int = -1
    partitions: tuple[TopicPartition, ...] = ()


class DescribeProducersRequest(Request, frozen=True, gc=False, tag=True):
    partition: TopicPartition


class ActiveProducer(msgspec.Struct, frozen=True, gc=False):
    """``transaction_start_offset`` -1: none open."""

    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    last_sequence: int
    last_timestamp_ms: int
    transaction_start_offset: int = -1


class DescribeProducersResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    producers: tuple[ActiveProducer, ...] = ()
