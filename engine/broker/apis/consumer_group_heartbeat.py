"""ConsumerGroupHeartbeat (API key 68): the one request by which members of a KIP-848 consumer group join, stay, move on and leave.

Versions: v1 (Kafka 4.0) lets the client choose its member ID and brought regular expressions (here resolved by the client).
"""

from __future__ import annotations

from engine.broker import groups
from engine.broker.state import Broker
from engine.coordination import consumer_protocol
from engine.messages.groups import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: ConsumerGroupHeartbeatRequest, out: Outbox) -> None:
    def refuse(error: str) -> ConsumerGroupHeartbeatResponse:
        return ConsumerGroupHeartbeatResponse(request.correlation_id, error)

    groups.serve(broker, source, request, request.group_id, consumer_protocol.heartbeat, refuse, out)
