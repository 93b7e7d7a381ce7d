"""ListGroups (API key 16): the groups that this broker coordinates; a client asks every broker.

Versions: v4 brought the filter by states (KIP-518), v5 the one by types (KIP-848). Both are compared without regard to case.
"""

from __future__ import annotations

from engine.broker import groups
from engine.broker.state import Broker
from engine.messages.groups import ListedGroup, ListGroupsRequest, ListGroupsResponse
from engine.metadata.internal_topics import CONSUMER_OFFSETS
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: ListGroupsRequest, out: Outbox) -> None:
    if any(
        topic == CONSUMER_OFFSETS and part.shard is not None and part.shard.loading
        for (topic, _), part in broker.partitions.items()
    ):
        out.send(source, ListGroupsResponse(request.correlation_id, "COORDINATOR_LOAD_IN_PROGRESS"))
        return
    states = [state.lower() for state in request.states]
    types = [kind.lower() for kind in request.types]
    found = [
        ListedGroup(group.group_id, group.protocol_type, group.state_name(), group.group_type)
        for shard in groups.shards(broker)
        for group in shard.groups.values()
        if (not states or group.state_name().lower() in states) and (not types or group.group_type in types)
    ]
    out.send(source, ListGroupsResponse(request.correlation_id, "NONE", tuple(found)))
