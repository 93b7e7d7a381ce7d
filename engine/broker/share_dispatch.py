"""Which requests, answers and timers concern share groups, and who handles them: their part of the broker's dispatch tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.broker import groups, persister, share_coordinator, share_partitions
from engine.broker.apis import share_acknowledge, share_fetch, share_group_heartbeat
from engine.broker.share_channels import INITIALIZE, READ, PersisterCall
from engine.broker.state import Broker
from engine.broker.timers import PersisterRetry, PersisterTimeout, ShareFetchExpired, ShareLockTimer
from engine.coordination.group_timers import ShareMemberTimer
from engine.messages.base import Response, TopicPartition
from engine.messages.share_groups import (
    InitializeShareGroupStateRequest,
    InitializeShareGroupStateResponse,
    ReadShareGroupStateRequest,
    ReadShareGroupStateResponse,
    ShareAcknowledgeRequest,
    ShareFetchRequest,
    ShareGroupHeartbeatRequest,
    WriteShareGroupStateRequest,
    WriteShareGroupStateResponse,
)  # fmt: skip
from engine.sim.outbox import Outbox

Handler = Callable[[Broker, str, Any, Outbox], None]
GIVEN_UP = "COORDINATOR_NOT_AVAILABLE"


def on_response(broker: Broker, source: str, response: Response, out: Outbox) -> None:
    """A share coordinator has answered."""
    found = persister.finished(broker, source, response, out)
    if found is not None:
        _outcome(broker, *found, response, out)


def on_retry(broker: Broker, source: str, timer: PersisterRetry, out: Outbox) -> None:
    _given_up(broker, timer.number, persister.retry(broker, timer.number, out), out)


def on_timeout(broker: Broker, source: str, timer: PersisterTimeout, out: Outbox) -> None:
    call = broker.share.calls.get(timer.number)
    if call is not None:
        out.because(call.cause)
        _given_up(broker, timer.number, persister.failed(broker, timer.number, out), out)


def on_disconnected(broker: Broker, peer: str, out: Outbox) -> None:
    """A client is gone, or a share coordinator."""
    cause = out.cause
    share_fetch.drop_client(broker, peer, out)
    for number, call in list(broker.share.calls.items()):
        if call.destination == peer and call.correlation_id >= 0:
            out.because(cause)
            out.cancel(PersisterTimeout(number))
            _given_up(broker, number, persister.failed(broker, number, out), out)
    out.because(cause)


def on_leadership(broker: Broker, partition: TopicPartition, out: Outbox) -> None:
    """It has changed: share partitions end, and whoever waits is told."""
    if not broker.share.partitions and not broker.share.fetches:
        return
    cause = out.cause
    for waiter in share_partitions.drop(broker, partition, out):
        out.because(cause)
        share_fetch.acknowledged(broker, waiter, partition, "NOT_LEADER_OR_FOLLOWER", out)
    out.because(cause)
    share_fetch.wake(broker, partition, None, out)


def _given_up(broker: Broker, number: int, call: PersisterCall | None, out: Outbox) -> None:
    if call is not None:
        _outcome(broker, number, call, ReadShareGroupStateResponse(-1, GIVEN_UP), out)


def _outcome(broker: Broker, number: int, call: PersisterCall, response: Any, out: Outbox) -> None:
    """The last word on a call."""
    cause = out.cause
    if call.kind == INITIALIZE:
        groups.on_share_state_initialized(broker, call, response.error, out)
    elif call.kind == READ:
        share_partitions.on_read(broker, call, response, out)
        share_fetch.wake(broker, call.partition, call.group_id, out)
    else:
        share, waiter = share_partitions.on_written(broker, number, call, response.error, out)
        if waiter is not None:
            share_fetch.acknowledged(broker, waiter, call.partition, response.error, out)
        if share is not None:
            out.because(cause)
            share_fetch.wake(broker, call.partition, call.group_id, out)


def on_lock_timer(broker: Broker, source: str, timer: ShareLockTimer, out: Outbox) -> None:
    share = share_partitions.on_lock_timer(broker, timer, out)
    if share is not None:
        share_fetch.wake(broker, share.partition, share.group_id, out)


APIS: dict[type[Any], Handler] = {
    ShareGroupHeartbeatRequest: share_group_heartbeat.handle,
    ShareFetchRequest: share_fetch.handle,
    ShareAcknowledgeRequest: share_acknowledge.handle,
    InitializeShareGroupStateRequest: share_coordinator.initialize,
    ReadShareGroupStateRequest: share_coordinator.read,
    WriteShareGroupStateRequest: share_coordinator.write,
}

HANDLERS: dict[type[Any], Handler] = {
    ShareMemberTimer: groups.on_timer,
    InitializeShareGroupStateResponse: on_response,
    ReadShareGroupStateResponse: on_response,
    WriteShareGroupStateResponse: on_response,
    PersisterRetry: on_retry,
    PersisterTimeout: on_timeout,
    ShareLockTimer: on_lock_timer,
    ShareFetchExpired: share_fetch.on_expired,
}
