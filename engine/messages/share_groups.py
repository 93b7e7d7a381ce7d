"""Share groups (KIP-932): ``ShareGroupHeartbeat`` (76), ``ShareFetch`` (78), ``ShareAcknowledge`` (79), and what a share-partition leader
asks of the share coordinator: ``ReadShareGroupState`` (84), ``WriteShareGroupState`` (85), ``InitializeShareGroupState`` (83).
"""

from __future__ import annotations

import msgspec

from engine.messages.base import Request, Response, TopicPartition
from engine.messages.groups import PartitionError


class ShareGroupHeartbeatRequest(Request, frozen=True, gc=False, tag=True):
    """``member_epoch`` 0 joins, -1 leaves."""

    group_id: str
    member_id: str
    member_epoch: int
    topics: tuple[str, ...] | None = None
    client_id: str = ""
    rack_id: str | None = None


class ShareGroupHeartbeatResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    message: str = ""
    member_id: str = ""
    member_epoch: int = 0
    heartbeat_interval_ms: int = 5_000
    assignment: tuple[TopicPartition, ...] | None = None


class AcknowledgementBatch(msgspec.Struct, frozen=True, gc=False):
    """``kind``: "accept", "release", "reject", "renew" or "gap"."""

    partition: TopicPartition
    first_offset: int
    last_offset: int
    kind: str


class ShareFetchRequest(Request, frozen=True, gc=False, tag=True):
    """``session_epoch`` 0 opens the share session, -1 closes it."""

    group_id: str
    member_id: str
    session_epoch: int
    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    max_records: int
    partitions: tuple[TopicPartition, ...]
    forgotten: tuple[TopicPartition, ...] = ()
    acknowledgements: tuple[AcknowledgementBatch, ...] = ()
    client_id: str = ""


class AcquiredRecords(msgspec.Struct, frozen=True, gc=False):
    first_offset: int
    last_offset: int
    delivery_count: int


class ShareFetchResult(msgspec.Struct, frozen=True, gc=False):
    partition: TopicPartition
    error: str
    acknowledge_error: str = "NONE"
    batches: tuple[bytes, ...] = ()
    acquired: tuple[AcquiredRecords, ...] = ()
    current_leader: int = -1
    current_leader_epoch: int = -1


class ShareFetchResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    results: tuple[ShareFetchResult, ...] = ()
    acquisition_lock_timeout_ms: int = 30_000
    throttle_time_ms: int = 0


class ShareAcknowledgeRequest(Request, frozen=True, gc=False, tag=True):
    group_id: str
    member_id: str
    session_epoch: int
    acknowledgements: tuple[AcknowledgementBatch, ...]


class ShareAcknowledgeResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    results: tuple[PartitionError, ...] = ()


class StateBatch(msgspec.Struct, frozen=True, gc=False):
    """``state``: "available", "acknowledged" or "archived" (an acquired batch is written as what it was before)."""

    first_offset: int
    last_offset: int
    state: str
    delivery_count: int


class ReadShareGroupStateRequest(Request, frozen=True, gc=False, tag=True):
    group_id: str
    partition: TopicPartition
    leader_epoch: int


class ReadShareGroupStateResponse(Response, frozen=True, gc=False, tag=True):
    """``start_offset`` -1: never initialised."""

    error: str
    state_epoch: int = 0
    start_offset: int = -1
    batches: tuple[StateBatch, ...] = ()


class WriteShareGroupStateRequest(Request, frozen=True, gc=False, tag=True):
    group_id: str
    partition: TopicPartition
    state_epoch: int
    leader_epoch: int
    start_offset: int
    batches: tuple[StateBatch, ...]


class WriteShareGroupStateResponse(Response, frozen=True, gc=False, tag=True):
    error: str


class InitializeShareGroupStateRequest(Request, frozen=True, gc=False, tag=True):
    group_id: str
    partition: TopicPartition
    state_epoch: int
    start_offset: int


class InitializeShareGroupStateResponse(Response, frozen=True, gc=False, tag=True):
    error: str
