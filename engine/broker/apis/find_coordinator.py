"""FindCoordinator (API key 10): which broker coordinates a group, a transactional ID, or the state of a share group's partition.

Versions: v1 brought transactional IDs, v4 several keys at once (KIP-699; here one), v6 share groups (KIP-932). Any broker answers: the
key hashes to a partition of the internal topic, and whoever leads that is the coordinator. The first question creates the topic.
Source: ``KafkaApis.getCoordinator``.
"""

from __future__ import annotations

from engine.broker.apis import metadata
from engine.broker.coordinators import partition_for
from engine.broker.state import Broker
from engine.messages.groups import FindCoordinatorRequest, FindCoordinatorResponse
from engine.metadata.internal_topics import CONSUMER_OFFSETS, SHARE_GROUP_STATE, TRANSACTION_STATE
from engine.sim.outbox import Outbox

TOPICS = {"group": CONSUMER_OFFSETS, "transaction": TRANSACTION_STATE, "share": SHARE_GROUP_STATE}


def handle(broker: Broker, source: str, request: FindCoordinatorRequest, out: Outbox) -> None:
    out.send(source, _find(broker, request, out))


def _find(broker: Broker, request: FindCoordinatorRequest, out: Outbox) -> FindCoordinatorResponse:
    number = request.correlation_id
    name = TOPICS.get(request.key_type)
    if name is None:
        return FindCoordinatorResponse(number, "INVALID_REQUEST", message=f"Unknown key type {request.key_type}")
    topic = broker.image.topics.get(name)
    if topic is None:
        metadata.create_topic(broker, name, out)
        return FindCoordinatorResponse(number, "COORDINATOR_NOT_AVAILABLE", message="The coordinator is not available.")
    leader = topic.partitions[partition_for(request.key, len(topic.partitions))].leader
    registration = broker.image.brokers.get(leader)
    if registration is None or registration.fenced:
        return FindCoordinatorResponse(number, "COORDINATOR_NOT_AVAILABLE", message="The coordinator is not available.")
    return FindCoordinatorResponse(number, "NONE", leader)
