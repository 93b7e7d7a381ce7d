"""The broker's calls to the active controller: Kafka's ``NodeToControllerChannelManager``.

A call goes to whom the metadata quorum's fetches name as leader; it is sent again when the connection breaks, when that node says
NOT_CONTROLLER or when it stays silent, until it is answered or its time is up.
"""

from __future__ import annotations

from typing import Any

from engine.broker.settings import CONTROLLER_RETRY_US, CONTROLLER_SOCKET_TIMEOUT_US
from engine.broker.state import Broker, ControllerCall
from engine.broker.timers import ControllerCallTimeout, ControllerRetry
from engine.messages.base import Request
from engine.messages.cluster import EnvelopeResponse
from engine.sim.outbox import Outbox
from engine.spec import controller_name

LIFECYCLE, ALTER_PARTITION, PRODUCER_IDS, FORWARD = "lifecycle", "alter partition", "producer ids", "forward"
NO_DEADLINE_US = 2**62


def call(broker: Broker, request: Request, purpose: str, out: Outbox, *, within_us: int = NO_DEADLINE_US, client: str = "") -> None:
    """Sends ``request`` (its correlation ID is one of ``broker.correlation()``) to the active controller, as soon as there is one."""
    deadline = out.now + within_us if within_us != NO_DEADLINE_US else NO_DEADLINE_US
    pending = ControllerCall(request, purpose, deadline, out.cause, client=client)
    broker.calls[request.correlation_id] = pending
    _send(broker, pending, out)


def _send(broker: Broker, pending: ControllerCall, out: Outbox) -> None:
    leader = broker.quorum.leader_id
    wait = min(CONTROLLER_SOCKET_TIMEOUT_US, pending.deadline_us - out.now)
    if leader >= 0:
        pending.destination = controller_name(leader)
        out.send(pending.destination, pending.request)
    else:
        pending.destination = ""
        _retry_soon(broker, out)
    out.arm(ControllerCallTimeout(pending.request.correlation_id), after_us=max(wait, 0))


def _retry_soon(broker: Broker, out: Outbox) -> None:
    if not broker.retry_armed:
        broker.retry_armed = True
        out.arm(ControllerRetry(), after_us=CONTROLLER_RETRY_US)


def on_retry(broker: Broker, source: str, timer: ControllerRetry, out: Outbox) -> None:
    broker.retry_armed = False
    for pending in list(broker.calls.values()):
        if not pending.destination:
            out.because(pending.cause)
            _send(broker, pending, out)


def on_disconnected(broker: Broker, peer: str, out: Outbox) -> None:
    for pending in broker.calls.values():
        if pending.destination == peer:
            pending.destination = ""
            _retry_soon(broker, out)


def on_timeout(broker: Broker, timer: ControllerCallTimeout, out: Outbox) -> ControllerCall | None:
    """Silence: past its deadline the call has failed and is returned, otherwise it goes out anew."""
    pending = broker.calls.get(timer.correlation_id)
    if pending is None:
        return None
    out.because(pending.cause)
    if out.now < pending.deadline_us:
        _send(broker, pending, out)
        return None
    return broker.calls.pop(timer.correlation_id)


def on_response(broker: Broker, source: str, response: Any, out: Outbox) -> ControllerCall | None:
    """The call that ``response`` answers; None where it came too late, or from a node that is not the active controller."""
    pending = broker.calls.get(response.correlation_id)
    if pending is None or source != pending.destination:
        return None
    inner = response.response if isinstance(response, EnvelopeResponse) else None
    if response.error == "NOT_CONTROLLER" or getattr(inner, "error", "") == "NOT_CONTROLLER":
        pending.destination = ""
        _retry_soon(broker, out)
        return None
    out.cancel(ControllerCallTimeout(response.correlation_id))
    return broker.calls.pop(response.correlation_id)
