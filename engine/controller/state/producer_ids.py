"""Producer IDs are given to brokers in blocks, so that a broker can hand them out without asking each time (KIP-730)."""

from __future__ import annotations

from engine.controller.state.brokers import check_broker_epoch
from engine.controller.state.decision import Decision
from engine.messages.cluster import AllocateProducerIdsRequest
from engine.metadata.records import ProducerIds

BLOCK_SIZE = 1_000


def allocate(decision: Decision, request: AllocateProducerIdsRequest) -> int:
    """The first ID of the block. Raises RefusedError: BROKER_ID_NOT_REGISTERED, STALE_BROKER_EPOCH."""
    check_broker_epoch(decision, request.broker_id, request.broker_epoch)
    start = decision.image.next_producer_id
    decision.write(ProducerIds(request.broker_id, request.broker_epoch, start + BLOCK_SIZE))
    return start
