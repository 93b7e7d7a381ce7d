"""LeaveGroup (API key 13): members leave a classic group, or an administrator takes them out.

Versions: v3 takes several members, and static ones by their group.instance.id (KIP-345), v5 brought the reason (KIP-800).
"""

from __future__ import annotations

from engine.broker import groups
from engine.broker.state import Broker
from engine.coordination import classic_protocol
from engine.messages.groups import LeaveGroupRequest, LeaveGroupResponse
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: LeaveGroupRequest, out: Outbox) -> None:
    def refuse(error: str) -> LeaveGroupResponse:
        return LeaveGroupResponse(request.correlation_id, error)

    groups.serve(broker, source, request, request.group_id, classic_protocol.leave, refuse, out)
