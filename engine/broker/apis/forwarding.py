"""Requests that only the active controller can serve: the broker hands them on in an envelope (KIP-590) and back comes the answer.

CreateTopics (19), DeleteTopics (20), CreatePartitions (37), IncrementalAlterConfigs (44), ElectLeaders (43),
AlterPartitionReassignments (45), ListPartitionReassignments (46), DescribeQuorum (55), UnregisterBroker (64), and what concerns quotas (48,
49), ACLs (29 to 31) and SCRAM credentials (50, 51; a real broker answers the describing ones from its own image). Envelope (58) has had one
version. Kafka's ``ForwardingManager``: retried on NOT_CONTROLLER and broken connections until request.timeout.ms, then
REQUEST_TIMED_OUT.
"""

from __future__ import annotations

import msgspec

from engine.broker import admission, controller_channel
from engine.broker.apis import metadata
from engine.broker.settings import REQUEST_TIMEOUT_US
from engine.broker.state import Broker, ControllerCall
from engine.messages.admin import (
    AdminResponse,
    CreateTopicsRequest,
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)  # fmt: skip
from engine.messages.base import Request, Response
from engine.messages.cluster import EnvelopeRequest, EnvelopeResponse
from engine.messages.security import (
    DescribeAclsRequest,
    DescribeAclsResponse,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
)  # fmt: skip
from engine.sim.outbox import Outbox

TIMED_OUT = "REQUEST_TIMED_OUT"


def handle(broker: Broker, source: str, request: Request, out: Outbox) -> None:
    envelope = EnvelopeRequest(broker.correlation(), admission.principal_of(broker, source), request)
    controller_channel.call(broker, envelope, controller_channel.FORWARD, out, within_us=REQUEST_TIMEOUT_US, client=source)


def on_response(broker: Broker, call: ControllerCall, response: EnvelopeResponse, out: Outbox) -> None:
    request = _inner(call)
    if call.client == metadata.AUTO_CREATION:
        _forget_creation(broker, request)
        return
    answer = response.response
    if response.error != "NONE" or answer is None:
        answer = refusal(request, response.error if response.error != "NONE" else "UNKNOWN_SERVER_ERROR")
    elif answer.correlation_id != request.correlation_id:
        answer = msgspec.structs.replace(answer, correlation_id=request.correlation_id)
    out.send(call.client, answer)


def on_timeout(broker: Broker, call: ControllerCall, out: Outbox) -> None:
    request = _inner(call)
    if call.client == metadata.AUTO_CREATION:
        _forget_creation(broker, request)
    else:
        out.send(call.client, refusal(request, TIMED_OUT))


def _inner(call: ControllerCall) -> Request:
    assert isinstance(call.request, EnvelopeRequest)
    return call.request.request


def _forget_creation(broker: Broker, request: Request) -> None:
    if isinstance(request, CreateTopicsRequest):
        for topic in request.topics:
            if topic.name in broker.creating_topics:
                broker.creating_topics.remove(topic.name)


def refusal(request: Request, error: str) -> Response:
    """The answer of the request's own kind that carries nothing but an error."""
    number = request.correlation_id
    if isinstance(request, DescribeQuorumRequest):
        return DescribeQuorumResponse(number, error)
    if isinstance(request, ListPartitionReassignmentsRequest):
        return ListPartitionReassignmentsResponse(number, error)
    if isinstance(request, DescribeClientQuotasRequest):
        return DescribeClientQuotasResponse(number, error)
    if isinstance(request, DescribeAclsRequest):
        return DescribeAclsResponse(number, error)
    if isinstance(request, DescribeUserScramCredentialsRequest):
        return DescribeUserScramCredentialsResponse(number, error)
    return AdminResponse(number, error)
