"""OffsetFetch (API key 9): up to where a group has committed.

Versions: v2 asks for all partitions, v5 brought leader epochs (KIP-320), v7 stable offsets only (KIP-447), v8 several groups at once,
v9 member epochs (KIP-848).
"""

from __future__ import annotations

from engine.broker import groups
from engine.broker.state import Broker
from engine.coordination import group_offsets
from engine.messages.groups import OffsetFetchRequest, OffsetFetchResponse
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: OffsetFetchRequest, out: Outbox) -> None:
    def refuse(error: str) -> OffsetFetchResponse:
        return OffsetFetchResponse(request.correlation_id, error)

    groups.serve(broker, source, request, request.group_id, group_offsets.fetch, refuse, out)
