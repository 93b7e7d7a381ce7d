"""Transactions as their coordinators know them, and what each partition's leader knows of those that are open: the two may differ, and
where they do a transaction hangs."""

from __future__ import annotations

from engine.broker.node import BrokerNode
from engine.broker.state import Replica
from engine.coordination.transaction_records import NO_TIMESTAMP, TransactionMetadata
from engine.coordination.transactions import TransactionShard
from engine.messages.base import TopicPartition
from engine.metadata.image import MetadataImage
from engine.metadata.internal_topics import TRANSACTION_STATE
from engine.sim.kernel import Kernel
from engine.spec import broker_name
from engine.view.tree import OpenTransactionView, TopicView, TransactionView


def transaction_views(kernel: Kernel, image: MetadataImage, topics: dict[str, TopicView]) -> dict[str, TransactionView]:
    """By transactional ID; those of a coordinator that is down are not to be seen. Also notes in ``topics`` which transactions are open.
    A lab that never had a transaction has nothing to look through."""
    state = image.topics.get(TRANSACTION_STATE)
    if state is None:
        return {}
    views: dict[str, TransactionView] = {}
    for number, partition in state.partitions.items():
        replica = _leading(kernel, TopicPartition(TRANSACTION_STATE, number), partition.leader)
        shard = replica.shard if replica is not None else None
        if shard is None or shard.loading or not isinstance(shard.state, TransactionShard):
            continue
        for name, known in shard.state.transactions.items():
            unmarked = [str(tp) for tp in shard.state.unmarked.get(name, ())]
            views[name] = _view(kernel, known, partition.leader, unmarked)
    _note_open(kernel, topics)
    return views


def _leading(kernel: Kernel, partition: TopicPartition, leader: int) -> Replica | None:
    host = kernel.hosts.get(broker_name(leader))
    if host is None or not isinstance(host.node, BrokerNode):
        return None
    replica = host.node.partitions.get(partition)
    return replica if replica is not None and replica.role == "leader" else None


def _view(kernel: Kernel, known: TransactionMetadata, coordinator: int, unmarked: list[str]) -> TransactionView:
    start_us = -1 if known.start_ms == NO_TIMESTAMP else max(known.start_ms - kernel.epoch_ms, 0) * 1000
    return TransactionView(
        known.transactional_id, known.producer_id, known.producer_epoch, known.state.title, coordinator, known.timeout_ms, start_us,
        [str(tp) for tp in known.partitions], unmarked,
    )  # fmt: skip


def _note_open(kernel: Kernel, topics: dict[str, TopicView]) -> None:
    for topic in topics.values():
        for partition in topic.partitions.values():
            replica = _leading(kernel, TopicPartition(partition.topic, partition.partition), partition.leader)
            if replica is None or not replica.log.producer_state.ongoing_txns:
                continue
            producers = replica.log.producer_state.producers
            partition.open_transactions = [
                OpenTransactionView(
                    producer_id, producers[producer_id].producer_epoch, offset,
                    max(producers[producer_id].last_timestamp - kernel.epoch_ms, 0) * 1000,
                )
                for producer_id, offset in replica.log.producer_state.ongoing_txns.items()
            ]  # fmt: skip
