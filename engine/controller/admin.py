"""Administrative requests, as they come out of a broker's envelope, to decisions and answers; one result per resource."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.controller.state import brokers, configs, leaders, reassignment, topics
from engine.controller.state.decision import Decision, RefusedError
from engine.messages.admin import (
    AdminResponse,
    AdminResult,
    AlterPartitionReassignmentsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    ElectLeadersRequest,
    IncrementalAlterConfigsRequest,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    UnregisterBrokerRequest,
)  # fmt: skip
from engine.messages.base import Request, Response


def answer(decision: Decision, request: Request) -> Response:
    """The response to ``request`` once what it wrote is committed."""
    handler = _HANDLERS.get(type(request))
    if handler is None:
        return AdminResponse(
            request.correlation_id, "UNSUPPORTED_VERSION", (), f"{type(request).__name__} is not for the controller."
        )
    return handler(decision, request)


def _attempt(name: str, decide: Callable[[], None]) -> AdminResult:
    try:
        decide()
    except RefusedError as refused:
        return AdminResult(name, refused.error, refused.message)
    return AdminResult(name, "NONE")


def _response(request: Request, results: tuple[AdminResult, ...]) -> AdminResponse:
    """``error`` is the first failure's, so that a caller with one resource need not look further."""
    failed = next((result for result in results if result.error != "NONE"), None)
    if failed is None:
        return AdminResponse(request.correlation_id, "NONE", results)
    return AdminResponse(request.correlation_id, failed.error, results, failed.message)


def _create_topics(decision: Decision, request: CreateTopicsRequest) -> Response:
    names = [topic.name for topic in request.topics]
    results = []
    for topic in request.topics:
        if names.count(topic.name) > 1:
            results.append(AdminResult(topic.name, "INVALID_REQUEST", "Duplicate topic name."))
            continue
        results.append(_attempt(topic.name, lambda topic=topic: topics.create(decision, topic, request.validate_only)))  # type: ignore[misc]
    return _response(request, tuple(results))


def _delete_topics(decision: Decision, request: DeleteTopicsRequest) -> Response:
    return _response(request, tuple(_attempt(name, lambda name=name: topics.delete(decision, name)) for name in request.names))  # type: ignore[misc]


def _create_partitions(decision: Decision, request: CreatePartitionsRequest) -> Response:
    return _response(request, (_attempt(request.name, lambda: topics.add_partitions(decision, request)),))


def _alter_configs(decision: Decision, request: IncrementalAlterConfigsRequest) -> Response:
    return _response(request, (_attempt(request.resource_name, lambda: configs.alter(decision, request)),))


def _elect_leaders(decision: Decision, request: ElectLeadersRequest) -> Response:
    return _response(request, leaders.elect(decision, request))


def _reassign(decision: Decision, request: AlterPartitionReassignmentsRequest) -> Response:
    return _response(
        request,
        tuple(_attempt(str(item.partition), lambda item=item: reassignment.alter(decision, item)) for item in request.partitions),  # type: ignore[misc]
    )


def _unregister(decision: Decision, request: UnregisterBrokerRequest) -> Response:
    return _response(request, (_attempt(str(request.broker_id), lambda: brokers.unregister(decision, request.broker_id)),))


def _list_reassignments(decision: Decision, request: ListPartitionReassignmentsRequest) -> Response:
    return ListPartitionReassignmentsResponse(request.correlation_id, "NONE", reassignment.ongoing(decision))


_HANDLERS: dict[type[Any], Callable[[Decision, Any], Response]] = {
    CreateTopicsRequest: _create_topics,
    DeleteTopicsRequest: _delete_topics,
    CreatePartitionsRequest: _create_partitions,
    IncrementalAlterConfigsRequest: _alter_configs,
    ElectLeadersRequest: _elect_leaders,
    AlterPartitionReassignmentsRequest: _reassign,
    UnregisterBrokerRequest: _unregister,
    ListPartitionReassignmentsRequest: _list_reassignments,
}
