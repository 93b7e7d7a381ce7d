"""Fetch, ListOffsets and OffsetForLeaderEpoch: for consumers and for follower replicas alike."""

from __future__ import annotations

import msgspec

from engine.messages.base import Request, Response, TopicPartition

EARLIEST_TIMESTAMP = -2
LATEST_TIMESTAMP = -1


class FetchItem(msgspec.Struct, frozen=True, gc=False):
    """``last_fetched_epoch`` lets the leader find divergence (KIP-595); consumers send -1."""

    partition: TopicPartition
    topic_id: str
    fetch_offset: int
    current_leader_epoch: int = -1
    last_fetched_epoch: int = -1
    log_start_offset: int = -1
    max_bytes: int = 1_048_576


class FetchRequest(Request, frozen=True, gc=False, tag=True):
    """``replica_id`` -1 is a consumer; a follower sends its broker ID and epoch (KIP-903)."""

    replica_id: int
    replica_epoch: int
    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    items: tuple[FetchItem, ...]
    isolation_level: str = "read_uncommitted"
    rack_id: str = ""
    client_id: str = ""


class FetchResult(msgspec.Struct, frozen=True, gc=False):
    partition: TopicPartition
    error: str
    high_watermark: int = -1
    last_stable_offset: int = -1
    log_start_offset: int = -1
    batches: tuple[bytes, ...] = ()
    diverging_epoch: int = -1
    diverging_offset: int = -1
    current_leader: int = -1
    current_leader_epoch: int = -1
    preferred_read_replica: int = -1
    aborted_transactions: tuple[tuple[int, int], ...] = ()


class FetchResponse(Response, frozen=True, gc=False, tag=True):
    results: tuple[FetchResult, ...]
    error: str = "NONE"
    throttle_time_ms: int = 0


class ListOffsetsItem(msgspec.Struct, frozen=True, gc=False):
    """``timestamp_ms`` -1 asks for the latest offset, -2 for the earliest."""

    partition: TopicPartition
    timestamp_ms: int
    current_leader_epoch: int = -1


class ListOffsetsRequest(Request, frozen=True, gc=False, tag=True):
    items: tuple[ListOffsetsItem, ...]
    replica_id: int = -1
    isolation_level: str = "read_uncommitted"


class ListOffsetsResult(msgspec.Struct, frozen=True, gc=False):
    partition: TopicPartition
    error: str
    timestamp_ms: int = -1
    offset: int = -1
    leader_epoch: int = -1


class ListOffsetsResponse(Response, frozen=True, gc=False, tag=True):
    results: tuple[ListOffsetsResult, ...]


class OffsetForLeaderEpochItem(msgspec.Struct, frozen=True, gc=False):
    partition: TopicPartition
    current_leader_epoch: int
    leader_epoch: int


class OffsetForLeaderEpochRequest(Request, frozen=True, gc=False, tag=True):
    items: tuple[OffsetForLeaderEpochItem, ...]
    replica_id: int = -1


class OffsetForLeaderEpochResult(msgspec.Struct, frozen=True, gc=False):
    partition: TopicPartition
    error: str
    leader_epoch: int = -1
    end_offset: int = -1


class OffsetForLeaderEpochResponse(Response, frozen=True, gc=False, tag=True):
    results: tuple[OffsetForLeaderEpochResult, ...]
