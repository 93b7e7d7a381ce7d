"""DescribeGroups (15), ConsumerGroupDescribe (69) and ShareGroupDescribe (77): a group's state and members.

One request stands for the three; the coordinator answers by the type of the group. Since v6 of DescribeGroups an unknown group is
GROUP_ID_NOT_FOUND rather than a dead one (KIP-1043).
"""

from __future__ import annotations

from engine.broker import groups
from engine.broker.state import Broker
from engine.coordination.consumer_group import with_names
from engine.coordination.group_shard import GroupShard
from engine.coordination.shard import Decision
from engine.messages.groups import DescribeGroupRequest, DescribeGroupResponse
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: DescribeGroupRequest, out: Outbox) -> None:
    def refuse(error: str) -> DescribeGroupResponse:
        return DescribeGroupResponse(request.correlation_id, error, request.group_id)

    groups.serve(broker, source, request, request.group_id, _describe, refuse, out)


def _describe(shard: GroupShard, source: str, request: DescribeGroupRequest, decision: Decision) -> None:
    group = shard.groups.get(request.group_id)
    if group is not None:
        response = group.describe(request.correlation_id)
        if response.group_type != "classic":
            response = with_names(response, decision.known_metadata())
    else:
        response = DescribeGroupResponse(
            request.correlation_id,
            "GROUP_ID_NOT_FOUND",
            request.group_id,
            state="Dead",
            message=f"Group {request.group_id} not found.",
        )
    decision.at_once.append((source, response))
