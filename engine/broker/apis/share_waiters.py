"""What ShareFetch and ShareAcknowledge have in common: acknowledgements by partition, and requests that wait until those are durable."""

from __future__ import annotations

from engine.broker.share_channels import Waiter
from engine.broker.state import Broker
from engine.messages.base import TopicPartition
from engine.messages.groups import PartitionError
from engine.messages.share_groups import AcknowledgementBatch, ShareAcknowledgeResponse
from engine.sim.outbox import Outbox

Items = list[tuple[int, int, str]]
"""(first offset, last offset, kind) each."""


def group_items(acknowledgements: tuple[AcknowledgementBatch, ...]) -> dict[TopicPartition, Items]:
    found: dict[TopicPartition, Items] = {}
    for batch in acknowledgements:
        found.setdefault(batch.partition, []).append((batch.first_offset, batch.last_offset, batch.kind))
    return found


def settle_waiter(broker: Broker, waiter: Waiter, partition: TopicPartition, error: str, out: Outbox) -> None:
    """One partition of a ShareAcknowledge is durable, or is not."""
    parked = broker.share.acknowledgements.get(waiter)
    if parked is None:
        return
    parked.outcomes[partition] = error
    parked.unwritten -= 1
    answer_acknowledge(broker, waiter, out)


def answer_acknowledge(broker: Broker, waiter: Waiter, out: Outbox) -> None:
    parked = broker.share.acknowledgements[waiter]
    if parked.unwritten:
        return
    del broker.share.acknowledgements[waiter]
    results = tuple([PartitionError(partition, error) for partition, error in parked.outcomes.items()])
    out.send(waiter.client, ShareAcknowledgeResponse(waiter.correlation_id, "NONE", results))
