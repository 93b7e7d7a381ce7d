"""Administrative requests, as they come out of a broker's envelope, to decisions and answers; one result per resource."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.controller.state import acls, brokers, client_quotas, configs, leaders, reassignment, scram, topics
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
from engine.messages.security import (
    AlterClientQuotasRequest,
    AlterUserScramCredentialsRequest,
    CreateAclsRequest,
    DeleteAclsRequest,
    DescribeAclsRequest,
    DescribeAclsResponse,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
    QuotaAlteration,
)  # fmt: skip
from engine.metadata.client_quotas import spell_entity


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


def _alter_quotas(decision: Decision, request: AlterClientQuotasRequest) -> Response:
    def attempt(item: QuotaAlteration) -> AdminResult:
        return _attempt(spell_entity(item.entity), lambda: client_quotas.alter(decision, item))

    return _response(request, tuple([attempt(item) for item in request.entries]))


def _describe_quotas(decision: Decision, request: DescribeClientQuotasRequest) -> Response:
    return DescribeClientQuotasResponse(request.correlation_id, "NONE", client_quotas.describe(decision, request))


def _create_acls(decision: Decision, request: CreateAclsRequest) -> Response:
    return _response(
        request,
        tuple(_attempt(acls.spell(acl), lambda acl=acl: acls.create(decision, acl)) for acl in request.acls),  # type: ignore[misc]
    )


def _delete_acls(decision: Decision, request: DeleteAclsRequest) -> Response:
    gone = [acl for wanted in request.filters for acl in acls.delete(decision, wanted)]
    return _response(request, tuple(AdminResult(acls.spell(acl), "NONE") for acl in gone))


def _describe_acls(decision: Decision, request: DescribeAclsRequest) -> Response:
    return DescribeAclsResponse(request.correlation_id, "NONE", acls.describe(decision, request.filter))


def _alter_scram(decision: Decision, request: AlterUserScramCredentialsRequest) -> Response:
    """A user is named once in one request."""
    names = [user for user, _ in request.deletions] + [item.user for item in request.upsertions]
    twice = "A user credential cannot be altered twice in the same request"
    results = [AdminResult(name, "DUPLICATE_RESOURCE", twice) for name in dict.fromkeys(names) if names.count(name) > 1]
    twins = [result.name for result in results]
    results += [
        _attempt(user, lambda user=user, mechanism=mechanism: scram.delete(decision, user, mechanism))  # type: ignore[misc]
        for user, mechanism in request.deletions
        if user not in twins
    ]
    results += [
        _attempt(item.user, lambda item=item: scram.upsert(decision, item))  # type: ignore[misc]
        for item in request.upsertions
        if item.user not in twins
    ]
    return _response(request, tuple(results))


def _describe_scram(decision: Decision, request: DescribeUserScramCredentialsRequest) -> Response:
    return DescribeUserScramCredentialsResponse(request.correlation_id, "NONE", scram.describe(decision, request))


_HANDLERS: dict[type[Any], Callable[[Decision, Any], Response]] = {
    CreateTopicsRequest: _create_topics,
    DeleteTopicsRequest: _delete_topics,
    CreatePartitionsRequest: _create_partitions,
    IncrementalAlterConfigsRequest: _alter_configs,
    ElectLeadersRequest: _elect_leaders,
    AlterPartitionReassignmentsRequest: _reassign,
    UnregisterBrokerRequest: _unregister,
    ListPartitionReassignmentsRequest: _list_reassignments,
    AlterClientQuotasRequest: _alter_quotas,
    DescribeClientQuotasRequest: _describe_quotas,
    CreateAclsRequest: _create_acls,
    DeleteAclsRequest: _delete_acls,
    DescribeAclsRequest: _describe_acls,
    AlterUserScramCredentialsRequest: _alter_scram,
    DescribeUserScramCredentialsRequest: _describe_scram,
}
