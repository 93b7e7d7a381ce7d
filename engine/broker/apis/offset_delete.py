"""OffsetDelete (API key 47): an administrator makes a group forget its offsets of some partitions (KIP-496).

One version. Topics to which the group is subscribed are refused.
"""

from __future__ import annotations

from engine.broker import groups
from engine.broker.state import Broker
from engine.coordination import group_offsets
from engine.messages.groups import OffsetDeleteRequest, OffsetDeleteResponse
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: OffsetDeleteRequest, out: Outbox) -> None:
    def refuse(error: str) -> OffsetDeleteResponse:
        return OffsetDeleteResponse(request.correlation_id, error)

    groups.serve(broker, source, request, request.group_id, group_offsets.delete, refuse, out)
