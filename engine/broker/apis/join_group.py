"""JoinGroup (API key 11): a member enters a group of the classic protocol, or enters its next generation.

Versions: v1 brought the rebalance timeout, v4 asks new members to come back with the member ID that they get (KIP-394), v5 static
membership (KIP-345), v8 the reason of the client (KIP-800), v9 tells a static leader to skip the assignment (KIP-814).
"""

from __future__ import annotations

from engine.broker import groups
from engine.broker.state import Broker
from engine.coordination import classic_protocol
from engine.messages.groups import JoinGroupRequest, JoinGroupResponse
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: JoinGroupRequest, out: Outbox) -> None:
    def refuse(error: str) -> JoinGroupResponse:
        return JoinGroupResponse(request.correlation_id, error, member_id=request.member_id)

    groups.serve(broker, source, request, request.group_id, classic_protocol.join, refuse, out)
