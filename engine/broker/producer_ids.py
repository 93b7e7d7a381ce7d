"""Blocks of producer IDs from the controller (KIP-730, Kafka's ``RPCProducerIdManager``): a thousand at a time, the next block asked
for when nine tenths of one are used."""

from __future__ import annotations

from engine.broker import controller_channel
from engine.broker.state import Broker
from engine.messages.cluster import AllocateProducerIdsRequest, AllocateProducerIdsResponse
from engine.sim.outbox import Outbox

PREFETCH_BELOW = 100
"""One tenth of a block is left."""


def next_producer_id(broker: Broker, out: Outbox) -> int:
    """-1 while the controller has not given a block yet; the client tries again."""
    if broker.producer_ids[0] >= broker.producer_ids[1]:
        broker.producer_ids, broker.next_producer_ids = broker.next_producer_ids, (0, 0)
    first, end = broker.producer_ids
    number = -1
    if first < end:
        number = first
        broker.producer_ids = (first + 1, end)
    if end - first <= PREFETCH_BELOW and broker.next_producer_ids[0] >= broker.next_producer_ids[1]:
        _ask(broker, out)
    return number


def _ask(broker: Broker, out: Outbox) -> None:
    if not broker.producer_ids_asked:
        broker.producer_ids_asked = True
        request = AllocateProducerIdsRequest(broker.correlation(), broker.broker_id, broker.broker_epoch)
        controller_channel.call(broker, request, controller_channel.PRODUCER_IDS, out)


def on_response(broker: Broker, response: AllocateProducerIdsResponse, out: Outbox) -> None:
    broker.producer_ids_asked = False
    if response.error == "NONE":
        start = response.producer_id_start
        broker.next_producer_ids = (start, start + response.producer_id_len)
