"""The metrics of coordinators, by Kafka's JMX names: how many groups in which state, offsets kept, partitions with a late transaction."""

from __future__ import annotations

from engine.metadata.configs import static_value
from engine.view.tree import ConsumerView, GroupView, TopicView

GROUP_METADATA = "kafka.coordinator.group:type=GroupMetadataManager,name="
GROUP_COORDINATOR = "kafka.server:type=group-coordinator-metrics,name="
CONSUMER_COORDINATOR = "kafka.consumer:type=consumer-coordinator-metrics,name="
LATE_TRANSACTIONS = "kafka.server:type=ReplicaManager,name=PartitionsWithLateTransactionsCount"
LATE_BUFFER_US = 300_000_000
"""``LATE_TRANSACTION_BUFFER_MS``: so long after the longest timeout a transaction counts as late, which means as hanging."""

_CLASSIC_STATES = ("PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty")

Found = dict[str, float]


def add_group_metrics(found: Found, groups: dict[str, GroupView], consumers: dict[str, ConsumerView]) -> None:
    """Nothing where no group exists: a lab without groups has no coordinator to ask."""
    if not groups:
        return
    classic = [group for group in groups.values() if group.type == "classic"]
    found[GROUP_METADATA + "NumGroups"] = len(classic)
    for state in _CLASSIC_STATES:
        found[f"{GROUP_METADATA}NumGroups{state}"] = sum([_state(group) == state.lower() for group in classic])
    found[GROUP_METADATA + "NumOffsets"] = sum(
        [len([one for one in group.offsets if one.committed >= 0]) for group in groups.values()]
    )
    for group in groups.values():
        _one_more(found, f"{GROUP_COORDINATOR}group-count,protocol={group.type}")
        if group.type != "classic":
            _one_more(found, f"{GROUP_COORDINATOR}{group.type}-group-count,state={_state(group)}")
    for name, consumer in consumers.items():
        if consumer.configs.get("group.id"):
            found[f"{CONSUMER_COORDINATOR}assigned-partitions,client-id={name}"] = len(consumer.positions)


def _state(group: GroupView) -> str:
    return group.state.replace("_", "").replace(" ", "").lower()


def _one_more(found: Found, name: str) -> None:
    found[name] = found.get(name, 0) + 1


def add_late_transactions(found: Found, topics: dict[str, TopicView], static: dict[str, str], now_us: int) -> None:
    """``ProducerStateManager.hasLateTransaction``: by the time of the last record of a transaction that is still open."""
    limit_us = int(static_value(static, "transaction.max.timeout.ms")) * 1000 + LATE_BUFFER_US
    late = 0
    for topic in topics.values():
        for partition in topic.partitions.values():
            late += any(now_us - transaction.last_us > limit_us for transaction in partition.open_transactions)
    found[LATE_TRANSACTIONS] = late
