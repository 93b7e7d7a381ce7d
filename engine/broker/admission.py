"""The door of a broker: who is asking, whether he may, and whether he must wait. Open to all until there is a quota or an authorizer.

Kafka's ``SocketServer`` (sessions, muted channels), ``AuthHelper`` and the throttling half of ``KafkaApis``. A request goes in by ``enter``,
its response out by ``leave``; in between the APIs know nothing of either. Other brokers are never throttled and may do everything.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine import limits
from engine.broker import quotas
from engine.broker.permissions import RULES, Inquiry
from engine.broker.state import Broker, Channel
from engine.broker.timers import Unmute
from engine.messages.admin import AdminResponse, MetadataResponse
from engine.messages.base import Request, Response
from engine.messages.fetch import FetchRequest
from engine.messages.groups import (
    ConsumerGroupHeartbeatRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ListGroupsResponse,
    OffsetCommitRequest,
    OffsetFetchRequest,
    OffsetFetchResponse,
    SyncGroupRequest,
)
from engine.messages.produce import ProduceRequest
from engine.messages.share_groups import ShareGroupHeartbeatRequest
from engine.messages.transactions import ListTransactionsResponse
from engine.metadata.authorizer import ADMINISTRATOR, ANONYMOUS, BROKERS, CLUSTER, DESCRIBE, GROUP, TRANSACTIONAL_ID
from engine.sim.outbox import SEND, Outbox
from engine.spec import broker_name

ADMIN = "admin"
OTHER_SOCKET = frozenset(
    (
        JoinGroupRequest, SyncGroupRequest, HeartbeatRequest, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
        ConsumerGroupHeartbeatRequest, ShareGroupHeartbeatRequest,
    )
)  # fmt: skip
"""A consumer talks to its group's coordinator over a connection of its own, which is not muted with the one that fetches."""
MAX_REMEMBERED = 200
"""Requests of one channel under way; what is older was never answered."""


def channel_of(broker: Broker, source: str) -> Channel:
    channel = broker.channels.get(source)
    if channel is None:
        channel = broker.channels[source] = Channel(client_id=source)
    return channel


def close(broker: Broker, source: str) -> None:
    """The connection is gone, and with it its session and what it had sent."""
    broker.channels.pop(source, None)


def principal_of(broker: Broker, source: str) -> str:
    if source in _PEERS:
        return BROKERS
    if source == ADMIN:
        return ADMINISTRATOR
    channel = broker.channels.get(source)
    return f"User:{channel.user}" if channel is not None and channel.user else ANONYMOUS


def enter(broker: Broker, source: str, request: Request, out: Outbox) -> Request | None:
    """The request as it may be served; None where it waits, or was answered here."""
    if source in _PEERS:
        return request
    channel = channel_of(broker, source)
    if type(request) not in OTHER_SOCKET and (channel.held or channel.muted_until_us > out.now or _busy(channel, request)):
        if len(channel.held) < limits.MAX_MUTED_REQUESTS:
            channel.held.append(request)
        return None
    return _admit(broker, source, channel, request, out)


def _busy(channel: Channel, request: Request) -> bool:
    """A connection has one request in work: where each has its price, the next one is not read before the last is answered."""
    return bool(channel.asked_bytes) and isinstance(request, ProduceRequest)


def resume(broker: Broker, source: str, out: Outbox) -> Request | None:
    """The throttle time of a channel is over: its next request, unless it is still too early. The one after that follows at once."""
    channel = broker.channels.get(source)
    if channel is None or not channel.held:
        return None
    if channel.muted_until_us > out.now:
        out.arm(Unmute(source), after_us=channel.muted_until_us - out.now)
        return None
    if _busy(channel, channel.held[0]):
        return None  # its answer will say when
    request = channel.held.popleft()
    if channel.held:
        out.arm(Unmute(source), after_us=0)
    return _admit(broker, source, channel, request, out)


def _admit(broker: Broker, source: str, channel: Channel, request: Request, out: Outbox) -> Request | None:
    if isinstance(request, (ProduceRequest, FetchRequest)) and request.client_id:
        channel.client_id = request.client_id
    if broker.authorizer.enabled:
        rule = RULES.get(type(request))
        if rule is not None:
            decided: Request | Response = rule(Inquiry(broker, source, principal_of(broker, source), out), request)
            if isinstance(decided, Response):
                out.send(source, decided)
                return None
            request = decided
    if broker.image.quotas:
        if isinstance(request, FetchRequest):
            request = quotas.capped(broker, channel, request)
        elif isinstance(request, ProduceRequest):
            if not request.acks:
                quotas.settle_without_response(broker, source, channel, request, out)
                _mute(channel, source, out)
            else:
                _remember(channel.asked_bytes, request.correlation_id, quotas.request_bytes(request))
    return request


def _remember(table: dict[int, Any], number: int, value: Any) -> None:
    if len(table) >= MAX_REMEMBERED:
        del table[next(iter(table))]
    table[number] = value


def leave(broker: Broker, out: Outbox) -> None:
    """Looks at every response that this delivery sends to a client: adds what was denied of it, and charges its quota."""
    cause = out.cause
    for position, (kind, destination, body, delay_us, why) in enumerate(out.effects):
        if kind != SEND or not isinstance(body, Response):
            continue
        channel = broker.channels.get(destination)
        if channel is None:
            continue
        response: Response = body
        if broker.authorizer.enabled:
            response = _with_denied(broker, destination, channel, response, out)
        if broker.image.quotas:
            out.because(why)
            asked = channel.asked_bytes.pop(response.correlation_id, quotas.REQUEST_OVERHEAD_BYTES)
            response = quotas.settle(broker, destination, channel, response, asked, out)
            _mute(channel, destination, out)
            why = out.cause
        if response is not body:
            out.effects[position] = (kind, destination, response, delay_us, why)
    out.because(cause)


def _mute(channel: Channel, source: str, out: Outbox) -> None:
    """Sees to it that somebody reads on, at the end of the throttle time or at once."""
    if channel.muted_until_us > out.now or channel.held:
        out.arm(Unmute(source), after_us=max(channel.muted_until_us - out.now, 0))


# -- what was denied of a request -------------------------------------------------------------------------------------------------


def _with_denied(broker: Broker, source: str, channel: Channel, response: Response, out: Outbox) -> Response:
    if isinstance(response, ListGroupsResponse):
        if _may(broker, source, CLUSTER, "kafka-cluster"):
            return response
        seen = tuple([group for group in response.groups if _may(broker, source, GROUP, group.group_id)])
        return msgspec.structs.replace(response, groups=seen)
    if isinstance(response, ListTransactionsResponse):
        shown = tuple([txn for txn in response.transactions if _may(broker, source, TRANSACTIONAL_ID, txn.transactional_id)])
        return msgspec.structs.replace(response, transactions=shown)
    denied = channel.denied.pop(response.correlation_id, ())
    if not denied:
        return response
    field = (
        "topics"
        if isinstance(response, MetadataResponse)
        else "offsets"
        if isinstance(response, OffsetFetchResponse)
        else "results"
    )
    changes: dict[str, Any] = {field: (*getattr(response, field), *denied)}
    if isinstance(response, AdminResponse) and response.error == "NONE":
        changes["error"] = denied[0].error
    return msgspec.structs.replace(response, **changes)


def _may(broker: Broker, source: str, resource_type: str, name: str) -> bool:
    return broker.authorizer.allows(broker.image.acls, principal_of(broker, source), source, DESCRIBE, resource_type, name)


_PEERS: dict[str, None] = dict.fromkeys([broker_name(number) for number in range(1, limits.MAX_BROKERS + 1)])
"""The other brokers: they come over a listener of their own."""
