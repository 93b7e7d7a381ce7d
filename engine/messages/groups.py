"""What members of groups and coordinators say to each other: the classic protocol, KIP-848 consumer groups, offsets.

Kafka's ``FindCoordinator`` (10), ``JoinGroup`` (11), ``Heartbeat`` (12), ``LeaveGroup`` (13), ``SyncGroup`` (14), ``DescribeGroups`` (15),
``ListGroups`` (16), ``DeleteGroups`` (42), ``OffsetCommit`` (8), ``OffsetFetch`` (9), ``OffsetDelete`` (47), ``ConsumerGroupHeartbeat``
(68) and ``ConsumerGroupDescribe`` (69).
"""

from __future__ import annotations

import msgspec

from engine.messages.base import Request, Response, TopicPartition


class FindCoordinatorRequest(Request, frozen=True, gc=False, tag=True):
    """``key_type``: "group", "transaction" or "share"."""

    key: str
    key_type: str = "group"


class FindCoordinatorResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    broker_id: int = -1
    message: str = ""


# -- offsets -------------------------------------------------------------------------------------------------------------------


class OffsetAndMetadata(msgspec.Struct, frozen=True, gc=False):
    partition: TopicPartition
    offset: int
    leader_epoch: int = -1
    metadata: str = ""


class OffsetCommitRequest(Request, frozen=True, gc=False, tag=True):
    """``generation_or_epoch`` -1 with an empty ``member_id`` commits from outside the group (an administrator, ``assign``)."""

    group_id: str
    offsets: tuple[OffsetAndMetadata, ...]
    generation_or_epoch: int = -1
    member_id: str = ""
    group_instance_id: str = ""


class PartitionError(msgspec.Struct, frozen=True, gc=False):
    partition: TopicPartition
    error: str


class OffsetCommitResponse(Response, frozen=True, gc=False, tag=True):
    results: tuple[PartitionError, ...]
    throttle_time_ms: int = 0


class OffsetFetchRequest(Request, frozen=True, gc=False, tag=True):
    """``partitions`` None asks for all. ``require_stable``: wait for open transactions (UNSTABLE_OFFSET_COMMIT)."""

    group_id: str
    partitions: tuple[TopicPartition, ...] | None = None
    member_id: str = ""
    member_epoch: int = -1
    require_stable: bool = False


class FetchedOffset(msgspec.Struct, frozen=True, gc=False):
    """``offset`` -1: nothing committed."""

    partition: TopicPartition
    error: str
    offset: int = -1
    leader_epoch: int = -1
    metadata: str = ""


class OffsetFetchResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    offsets: tuple[FetchedOffset, ...] = ()
    throttle_time_ms: int = 0


class OffsetDeleteRequest(Request, frozen=True, gc=False, tag=True):
    group_id: str
    partitions: tuple[TopicPartition, ...]


class OffsetDeleteResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    results: tuple[PartitionError, ...] = ()


# -- the classic protocol --------------------------------------------------------------------------------------------------------


class Subscription(msgspec.Struct, frozen=True, gc=False):
    """Java's ``ConsumerProtocolSubscription``: what a member tells its leader. ``owned`` and ``generation`` serve the sticky assignors."""

    topics: tuple[str, ...]
    owned: tuple[TopicPartition, ...] = ()
    generation: int = -1
    rack: str = ""


class MemberProtocol(msgspec.Struct, frozen=True, gc=False):
    """``name``: "range", "roundrobin", "sticky" or "cooperative-sticky"."""

    name: str
    subscription: Subscription


class JoinGroupRequest(Request, frozen=True, gc=False, tag=True):
    group_id: str
    member_id: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: tuple[MemberProtocol, ...]
    group_instance_id: str = ""
    client_id: str = ""
    protocol_type: str = "consumer"
    reason: str = ""


class JoinedMember(msgspec.Struct, frozen=True, gc=False):
    member_id: str
    subscription: Subscription
    group_instance_id: str = ""


class JoinGroupResponse(Response, frozen=True, gc=False, tag=True):
    """``members`` only for the leader. MEMBER_ID_REQUIRED carries the member ID to use (KIP-394)."""

    error: str
    generation: int = -1
    protocol: str = ""
    leader: str = ""
    member_id: str = ""
    members: tuple[JoinedMember, ...] = ()
    skip_assignment: bool = False
    throttle_time_ms: int = 0


class MemberAssignment(msgspec.Struct, frozen=True, gc=False):
    member_id: str
    partitions: tuple[TopicPartition, ...]


class SyncGroupRequest(Request, frozen=True, gc=False, tag=True):
    group_id: str
    generation: int
    member_id: str
    assignments: tuple[MemberAssignment, ...] = ()
    group_instance_id: str = ""
    protocol: str = ""


class SyncGroupResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    partitions: tuple[TopicPartition, ...] = ()
    protocol: str = ""
    throttle_time_ms: int = 0


class HeartbeatRequest(Request, frozen=True, gc=False, tag=True):
    group_id: str
    generation: int
    member_id: str
    group_instance_id: str = ""


class HeartbeatResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    throttle_time_ms: int = 0


class LeavingMember(msgspec.Struct, frozen=True, gc=False):
    member_id: str
    group_instance_id: str = ""
    reason: str = ""


class LeaveGroupRequest(Request, frozen=True, gc=False, tag=True):
    group_id: str
    members: tuple[LeavingMember, ...]


class LeaveGroupResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    results: tuple[tuple[str, str], ...] = ()
    """(member ID, error) each."""


# -- KIP-848 ---------------------------------------------------------------------------------------------------------------------------


class ConsumerGroupHeartbeatRequest(Request, frozen=True, gc=False, tag=True):
    """``member_epoch`` 0 joins, -1 leaves, -2 is a static member that goes for a while. None fields: unchanged since the last heartbeat."""

    group_id: str
    member_id: str
    member_epoch: int
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int = -1
    topics: tuple[str, ...] | None = None
    server_assignor: str | None = None
    owned: tuple[TopicPartition, ...] | None = None
    client_id: str = ""
    topic_regex: str | None = None


class ConsumerGroupHeartbeatResponse(Response, frozen=True, gc=False, tag=True):
    """``assignment`` None: unchanged. ``member_epoch``: the epoch that the member now has."""

    error: str
    message: str = ""
    member_id: str = ""
    member_epoch: int = 0
    heartbeat_interval_ms: int = 5_000
    assignment: tuple[TopicPartition, ...] | None = None
    throttle_time_ms: int = 0


# -- administration -------------------------------------------------------------------------------------------------------------------


class ListGroupsRequest(Request, frozen=True, gc=False, tag=True):
    states: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


class ListedGroup(msgspec.Struct, frozen=True, gc=False):
    """``group_type``: "classic", "consumer" or "share"."""

    group_id: str
    protocol_type: str
    state: str
    group_type: str


class ListGroupsResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    groups: tuple[ListedGroup, ...] = ()


class DescribeGroupRequest(Request, frozen=True, gc=False, tag=True):
    """Stands for DescribeGroups (15), ConsumerGroupDescribe (69) and ShareGroupDescribe (77): the coordinator answers by the group's type."""

    group_id: str


class DescribedMember(msgspec.Struct, frozen=True, gc=False):
    """``member_epoch`` and ``target`` where the type of the group has them."""

    member_id: str
    client_id: str
    host: str
    assignment: tuple[TopicPartition, ...]
    target: tuple[TopicPartition, ...] = ()
    member_epoch: int = -1
    instance_id: str = ""
    topics: tuple[str, ...] = ()
    rack: str = ""
    upgraded: bool = False


class DescribeGroupResponse(Response, frozen=True, gc=False, tag=True):
    """``epoch``: the generation of a classic group, the group epoch of the others."""

    error: str
    group_id: str = ""
    group_type: str = ""
    state: str = ""
    protocol: str = ""
    epoch: int = -1
    assignment_epoch: int = -1
    members: tuple[DescribedMember, ...] = ()
    message: str = ""


class DeleteGroupsRequest(Request, frozen=True, gc=False, tag=True):
    group_ids: tuple[str, ...]


class DeleteGroupsResponse(Response, frozen=True, gc=False, tag=True):
    results: tuple[tuple[str, str], ...]
    """(group ID, error) each."""
