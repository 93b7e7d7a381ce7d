"""What the Log view shows of compaction: how far the cleaner of each broker has come in each compacted log, and what it waits for."""

from __future__ import annotations

from engine.broker.node import BrokerNode
from engine.broker.state import Replica
from engine.log.cleanable import Cleanable, cleanable
from engine.sim.kernel import Kernel
from engine.view.tree import CleanerView, TopicView


def add_cleaner_views(kernel: Kernel, topics: dict[str, TopicView]) -> None:
    """Fills ``ReplicaView.cleaner`` of every replica of a compacted topic whose broker runs."""
    now_ms = kernel.epoch_ms + kernel.now // 1000
    for host in kernel.hosts.values():
        node = host.node
        if not isinstance(node, BrokerNode):
            continue
        for tp, replica in node.partitions.items():
            if replica.log.config.compact and tp.topic in topics:
                partition = topics[tp.topic].partitions.get(str(tp.partition))
                shown = partition.logs.get(str(node.broker_id)) if partition is not None else None
                if shown is not None:
                    shown.cleaner = _cleaner(node, replica, now_ms)


def _cleaner(node: BrokerNode, replica: Replica, now_ms: int) -> CleanerView:
    log, state = replica.log, node.cleaner
    found = cleanable(log, replica.high_watermark, state.checkpoints.get(replica.partition), now_ms)
    return CleanerView(
        found.first_dirty_offset,
        found.first_uncleanable_offset,
        found.clean_bytes,
        found.cleanable_bytes,
        round(found.dirty_ratio, 3),
        log.config.min_cleanable_dirty_ratio,
        found.delay_ms > 0,
        state.partition == replica.partition,
        state.uncleanable.get(replica.partition, ""),
        _parts(replica, found),
    )


def _parts(replica: Replica, found: Cleanable) -> list[str]:
    """One word per segment."""
    segments = replica.log.segments
    words: list[str] = []
    for number, segment in enumerate(segments[:-1]):
        if segments[number + 1].base_offset <= found.first_dirty_offset:
            words.append("clean")
        elif segment.base_offset >= found.first_uncleanable_offset:
            words.append("waiting")
        else:
            words.append("dirty" if segment.base_offset >= found.first_dirty_offset else "mixed")
    return [*words, "active"]
