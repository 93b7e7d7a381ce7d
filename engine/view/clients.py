"""How the simulated clients look: what they hold back, what they have on the wire, where they stand."""

from __future__ import annotations

from engine.clients.application import BlockedSend
from engine.clients.consumer import ConsumerNode
from engine.clients.consumer_state import COMMITTING, PROCESSING, Membership
from engine.clients.producer import ProducerNode
from engine.clients.share_consumer import ShareConsumerNode
from engine.view.tree import (
    ConsumedView,
    ConsumerView,
    MemberView,
    PositionView,
    ProducerView,
    ShareConsumerView,
    WorkloadView,
)


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


def consumer_view(name: str, node: ConsumerNode | None, now_us: int) -> ConsumerView:
    if node is None:
        return ConsumerView(name, {}, [])
    positions = []
    for partition, known in node.positions.items():
        position, high_watermark = known.position, known.high_watermark
        lag = max(high_watermark - position, 0) if position >= 0 and high_watermark >= 0 else -1
        shown = PositionView(partition.topic, partition.partition, position, high_watermark, lag, known.error, known.committed)
        positions.append(shown)
    view = ConsumerView(
        name=name,
        configs=node.configs,
        positions=positions,
        consumed=node.consumed,
        throttled_until_us=node.connections.throttled_until_us,
        paused=node.paused,
        last=[ConsumedView(read.topic, read.partition, read.offset, read.key, read.value) for read in node.last],
    )
    if node.polls:
        application = node.application
        view.application, view.commit_each_poll = application.state, application.commit_each_poll
        view.processing_ms = application.processing_us // 1000
        view.in_hand = sum(len(work.offsets) for work in application.todo)
        if application.state in (PROCESSING, COMMITTING):
            view.since_poll_us = now_us - application.polled_us
        if node.group is not None:
            view.group = _member(node, node.group, now_us)
    return view


def share_consumer_view(name: str, node: ShareConsumerNode | None, now_us: int) -> ConsumerView:
    if node is None:
        return ConsumerView(name, {}, [])
    application, group = node.application, node.group
    working = application.state == PROCESSING
    return ConsumerView(
        name=name,
        configs=node.configs,
        positions=[],
        consumed=node.consumed,
        last=[ConsumedView(read.topic, read.partition, read.offset, read.key, read.value) for read in node.last],
        throttled_until_us=node.connections.throttled_until_us,
        group=MemberView(
            group.group_id, "share", group.state, group.member_id, "", group.epoch, coordinator=group.coordinator, error=group.error
        ),
        application=application.state,
        processing_ms=application.processing_us // 1000,
        since_poll_us=now_us - application.polled_us if working else 0,
        in_hand=sum(len(work.offsets) for work in application.todo),
        share=ShareConsumerView(
            node.settings.share_acknowledgement_mode, [str(partition) for partition in group.assigned], node.accepted, node.released,
            node.rejected, node.refused, len(node.buffer), application.release_every, application.reject_every, application.fail_on,
        ),
    )  # fmt: skip


def _member(node: ConsumerNode, group: Membership, now_us: int) -> MemberView:
    stopped_us = group.stopped_us + (now_us - group.stopped_since_us if group.stopped_since_us >= 0 else 0)
    return MemberView(
        group=group.group_id,
        protocol=node.settings.group_protocol,
        state=group.state if group.subscribed else "assigned by hand",
        member_id=group.member_id,
        instance_id=node.settings.group_instance_id,
        generation=group.generation,
        assignor=group.assignor,
        leader=group.leader,
        coordinator=group.coordinator,
        error=group.error,
        rebalances=group.rebalances,
        stopped_us=stopped_us,
    )
