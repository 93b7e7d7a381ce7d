"""SyncGroup (API key 14): the leader of a generation brings the assignment, everybody else gets its part.

Versions: v3 brought static membership (KIP-345), v5 the protocol's type and name (KIP-559).
"""

from __future__ import annotations

from engine.broker import groups
from engine.broker.state import Broker
from engine.coordination import classic_protocol
from engine.messages.groups import SyncGroupRequest, SyncGroupResponse
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: SyncGroupRequest, out: Outbox) -> None:
    def refuse(error: str) -> SyncGroupResponse:
        return SyncGroupResponse(request.correlation_id, error)

    groups.serve(broker, source, request, request.group_id, classic_protocol.sync, refuse, out)
