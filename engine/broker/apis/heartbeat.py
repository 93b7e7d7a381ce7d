"""Heartbeat (API key 12): a member of a classic group is alive, and learns by the answer whether it has to rejoin.

Versions: v3 brought static membership (KIP-345).
"""

from __future__ import annotations

from engine.broker import groups
from engine.broker.state import Broker
from engine.coordination import classic_protocol
from engine.messages.groups import HeartbeatRequest, HeartbeatResponse
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: HeartbeatRequest, out: Outbox) -> None:
    def refuse(error: str) -> HeartbeatResponse:
        return HeartbeatResponse(request.correlation_id, error)

    groups.serve(broker, source, request, request.group_id, classic_protocol.heartbeat, refuse, out)
