"""How the simulated clients look: what they hold back, what they have on the wire, where they stand."""

from __future__ import annotations

from engine.clients.application import BlockedSend
from engine.clients.consumer import ConsumerNode
from engine.clients.producer import ProducerNode
from engine.view.tree import ConsumedView, ConsumerView, PositionView, ProducerView, WorkloadView


def producer_view(name: str, node: ProducerNode | None) -> ProducerView:
    """``node`` None: the process is down, and with it everything that it knew."""
    if node is None:
        return ProducerView(name, {})
    return ProducerView(
        name=name,
        configs=node.configs,
        producer_id=node.producer_id,
        producer_epoch=node.producer_epoch,
        buffered_records=node.buffered_records,
        buffered_bytes=node.buffered_bytes,
        in_flight_batches=node.in_flight,
        sent=node.sent,
        acknowledged=node.acknowledged,
        failed=node.failed,
        retries=node.retries,
        last_error=node.last_error,
        transactional_id=node.settings.transactional_id,
        transaction_state=node.transactions.state if node.transactions is not None else "",
        transaction_partitions=[str(tp) for tp in node.transactions.partitions] if node.transactions is not None else [],
        buffer_total_bytes=node.settings.buffer_memory,
        waiting_threads=_waiting_threads(node),
        throttled_until_us=node.connections.throttled_until_us,
        workloads=[
            WorkloadView(work.name, work.topic, work.records_per_second, work.sent, work.limit, work.running)
            for work in node.workloads
        ],
    )


def _waiting_threads(node: ProducerNode) -> int:
    """Each workload and the hand of a person is a thread of its own."""
    if not (node.blocked and node.accumulator.memory_wanted):
        return 0
    return len({call.workload for call in node.blocked if isinstance(call, BlockedSend)})


def consumer_view(name: str, node: ConsumerNode | None) -> ConsumerView:
    if node is None:
        return ConsumerView(name, {}, [])
    positions = []
    for partition, known in node.positions.items():
        position, high_watermark = known.position, known.high_watermark
        lag = max(high_watermark - position, 0) if position >= 0 and high_watermark >= 0 else -1
        positions.append(PositionView(partition.topic, partition.partition, position, high_watermark, lag, known.error))
    return ConsumerView(
        name=name,
        configs=node.configs,
        positions=positions,
        consumed=node.consumed,
        throttled_until_us=node.connections.throttled_until_us,
        paused=node.paused,
        last=[ConsumedView(read.topic, read.partition, read.offset, read.key, read.value) for read in node.last],
    )
