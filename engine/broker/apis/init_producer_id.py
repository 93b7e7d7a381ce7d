"""InitProducerId (API key 22): a number by which a broker recognises an idempotent producer's batches (KIP-98).

Versions: v3 lets a producer bump its own epoch (KIP-360), v6 belongs to transactions v2 (KIP-890). Without a transactional ID any broker
answers, from a block of numbers that the controller gave it. Source: ``TransactionCoordinator.handleInitProducerId``.
"""

from __future__ import annotations

from engine.broker import producer_ids, transactions
from engine.broker.state import Broker
from engine.messages.produce import InitProducerIdRequest, InitProducerIdResponse
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: InitProducerIdRequest, out: Outbox) -> None:
    if request.transactional_id:
        transactions.init_producer_id(broker, source, request, out)
        return
    producer_id = producer_ids.next_producer_id(broker, out)
    if producer_id < 0:
        out.send(source, InitProducerIdResponse(request.correlation_id, "COORDINATOR_LOAD_IN_PROGRESS"))
    else:
        out.send(source, InitProducerIdResponse(request.correlation_id, "NONE", producer_id, 0))
