"""ShareGroupHeartbeat (API key 76): a member of a share group joins, stays, learns which partitions it is to read, and leaves.

Versions: v1 is that of Kafka 4.1.
"""

from __future__ import annotations

from engine.broker import groups
from engine.broker.state import Broker
from engine.coordination import share_protocol
from engine.messages.share_groups import ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: ShareGroupHeartbeatRequest, out: Outbox) -> None:
    def refuse(error: str) -> ShareGroupHeartbeatResponse:
        return ShareGroupHeartbeatResponse(request.correlation_id, error)

    groups.serve(broker, source, request, request.group_id, share_protocol.heartbeat, refuse, out)
