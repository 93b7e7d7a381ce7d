"""DeleteGroups (API key 42): empty groups and their offsets are wiped out (KIP-229).

One answer for all groups that were asked for; those that another broker coordinates are NOT_COORDINATOR.
"""

from __future__ import annotations

import msgspec

from engine.broker import coordinators, groups
from engine.broker.state import Broker, Replica
from engine.coordination import group_offsets
from engine.coordination.shard import Decision
from engine.messages.groups import DeleteGroupsRequest, DeleteGroupsResponse
from engine.metadata.internal_topics import CONSUMER_OFFSETS
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: DeleteGroupsRequest, out: Outbox) -> None:
    results: dict[str, str] = {}
    decided: list[tuple[Replica, Decision]] = []
    for group_id in dict.fromkeys(request.group_ids):
        replica, error = coordinators.locate(broker, CONSUMER_OFFSETS, group_id)
        if replica is None:
            results[group_id] = error
            continue
        decision = Decision(out)
        one = msgspec.structs.replace(request, group_ids=(group_id,))
        results[group_id] = group_offsets.delete_groups(groups.shard_of(replica), one, decision)[0][1]
        decided.append((replica, decision))
    response = DeleteGroupsResponse(request.correlation_id, tuple(results.items()))
    if not decided:
        out.send(source, response)
        return
    decided[-1][1].replies.append((source, response))
    cause = out.cause
    for replica, decision in decided:
        out.because(cause)
        coordinators.carry_out(broker, replica, decision)
