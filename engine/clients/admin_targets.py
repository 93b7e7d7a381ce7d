"""Whom the admin client asks: most calls go to any broker, some to a partition's leader, some to a group's coordinator, which some broker
names first. And what each of these answers says, partition by partition.

Java's ``PartitionLeaderStrategy``, ``CoordinatorStrategy`` and the handlers that use them.
"""

from __future__ import annotations

from engine.errors import ERRORS
from engine.messages.admin import DeleteRecordsRequest, DeleteRecordsResponse, MetadataRequest, MetadataResponse
from engine.messages.base import Request, Response, TopicPartition
from engine.messages.groups import (
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
)
from engine.messages.transactions import WriteTxnMarkersRequest, WriteTxnMarkersResponse

RETRIED_PARTITIONS = frozenset(
    ("NOT_LEADER_OR_FOLLOWER", "LEADER_NOT_AVAILABLE", "UNKNOWN_TOPIC_OR_PARTITION", "KAFKA_STORAGE_ERROR", "REQUEST_TIMED_OUT")
)
"""Errors of one partition after which its leader is looked up and asked again, as long as default.api.timeout.ms lasts."""
RETRIED_COORDINATORS = frozenset(("NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS"))

Outcome = tuple[str, str, str]
"""(partition or group, error, message)."""


def lookup(request: Request) -> Request | None:
    """What is asked first, of any broker; None where any broker will do."""
    partition = _partition_of(request)
    if partition is not None:
        return MetadataRequest(0, (partition.topic,))
    if isinstance(request, (OffsetCommitRequest, OffsetDeleteRequest)):
        return FindCoordinatorRequest(0, request.group_id)
    if isinstance(request, DeleteGroupsRequest):
        return FindCoordinatorRequest(0, request.group_ids[0])
    return None


def found(request: Request, response: Response) -> int | None:
    """The broker that a lookup named, -1 where it does not know yet; None: the response is no lookup's."""
    if isinstance(response, FindCoordinatorResponse):
        return response.broker_id if response.error == "NONE" else -1
    if not isinstance(response, MetadataResponse):
        return None
    wanted = _partition_of(request)
    assert wanted is not None
    parts = [part for topic in response.topics if topic.name == wanted.topic for part in topic.partitions]
    return next((part.leader_id for part in parts if part.partition == wanted.partition), -1)


def is_asked_again(request: Request, response: Response) -> bool:
    """Whether the broker was the wrong one, or not ready."""
    retried = RETRIED_PARTITIONS if _partition_of(request) is not None else RETRIED_COORDINATORS
    error = getattr(response, "error", "NONE")
    return error in retried or any(each in retried for _, each, _ in outcomes(response))


def outcomes(response: Response) -> tuple[Outcome, ...]:
    match response:
        case DeleteRecordsResponse():
            return tuple([(str(one.partition), one.error, _outcome(one.error, one.low_watermark)) for one in response.results])
        case WriteTxnMarkersResponse():
            return tuple([(str(one.partition), one.error, meaning(one.error)) for _, some in response.results for one in some])
        case OffsetCommitResponse() | OffsetDeleteResponse():
            return tuple([(str(one.partition), one.error, meaning(one.error)) for one in response.results])
        case DeleteGroupsResponse():
            return tuple([(group, error, meaning(error)) for group, error in response.results])
    return ()


def meaning(error: str) -> str:
    return ERRORS[error].meaning if error != "NONE" and error in ERRORS else ""


def _partition_of(request: Request) -> TopicPartition | None:
    if isinstance(request, DeleteRecordsRequest):
        return request.items[0].partition
    if isinstance(request, WriteTxnMarkersRequest):
        return request.markers[0].partitions[0]
    return None


def _outcome(error: str, low_watermark: int) -> str:
    """What ``kafka-delete-records.sh`` prints for the partition."""
    if error == "NONE":
        return f"low_watermark: {low_watermark}"
    if error == "POLICY_VIOLATION":
        return "records of a topic are deleted only where its cleanup.policy has delete"
    return meaning(error)
