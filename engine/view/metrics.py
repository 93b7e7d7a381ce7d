"""Kafka's JMX metrics under Kafka's own names: gauges read from the view, rates counted from events over the last minute.

Rates are what a dashboard would show as ``OneMinuteRate``, over a sliding minute of *virtual* time (Kafka's own is exponentially
weighted over the same minute). A name is cluster-wide, or ends in ``,broker=N`` or ``,client-id=NAME``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine import events as e
from engine.events import Event, Happening
from engine.view.ownership import OWNERSHIP_EVENTS, OwnershipTracker
from engine.view.tree import ConsumerView, NodeView, PositionView, ProducerView, TopicView

BUCKET_US = 5_000_000
BUCKETS = 12
MAX_PENDING = 2_000
"""Batches whose latency is being measured; beyond it new ones are not measured."""

REPLICA_MANAGER = "kafka.server:type=ReplicaManager,name="
TOPIC_METRICS = "kafka.server:type=BrokerTopicMetrics,name="
CONTROLLER = "kafka.controller:type=KafkaController,name="
CONTROLLER_STATS = "kafka.controller:type=ControllerStats,name="
PRODUCER = "kafka.producer:type=producer-metrics,name="
GROUP_COORDINATOR = "kafka.server:type=group-coordinator-metrics,name="
CLEANER = "kafka.log:type=LogCleaner,name="
CONSUMER = "kafka.consumer:type=consumer-fetch-manager-metrics,name="
SHARE_CONSUMER = "kafka.consumer:type=consumer-share-fetch-manager-metrics,name="


class Bucket(msgspec.Struct, frozen=True, gc=False):
    """What was counted in five seconds that are over. ``number`` counts buckets since the lab began."""

    number: int
    counts: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class MetricsTracker:
    """Part of the lab's state: it rewinds and forks with it. ``totals`` counts since the lab began; latencies in microseconds."""

    number: int = 0
    current: dict[str, int] = field(default_factory=dict)
    past: list[Bucket] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    sent_at: dict[tuple[str, int], int] = field(default_factory=dict)
    latency_avg_us: dict[str, int] = field(default_factory=dict)
    latency_max_us: dict[str, int] = field(default_factory=dict)
    proposed_isr: dict[tuple[str, int], tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    batch_size_avg: dict[str, int] = field(default_factory=dict)
    throttle_avg_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    throttle_max_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    """By the metric's group ("produce", "fetch") and the client."""
    gauges: dict[str, float] = field(default_factory=dict)
    ownership: OwnershipTracker = field(default_factory=OwnershipTracker)

    def observe(self, happening: Happening) -> None:
        """Takes note of one event; events come in order."""
        kind = type(happening.event)
        if kind in OWNERSHIP_EVENTS:
            self.ownership.observe(happening)
        handler = _OBSERVE.get(kind)
        if handler is None:
            return
        number = happening.at_us // BUCKET_US
        if number != self.number:
            if self.current:
                self.past.append(Bucket(self.number, tuple(self.current.items())))
                self.current = {}
            self.past = [bucket for bucket in self.past if bucket.number > number - BUCKETS]
            self.number = number
        handler(self, happening.at_us, happening.event)

    def rates(self, now_us: int) -> dict[str, float]:
        """Each counter per second over the last minute, or over the lab's life while that is shorter."""
        number = now_us // BUCKET_US
        oldest = number - BUCKETS
        sums = dict.fromkeys(self.totals, 0)
        for bucket in self.past:
            if bucket.number > oldest:
                for name, count in bucket.counts:
                    sums[name] += count
        if self.number > oldest:
            for name, count in self.current.items():
                sums[name] += count
        covered_us = (BUCKETS - 1) * BUCKET_US + now_us % BUCKET_US
        seconds = max(min(now_us, covered_us), 1_000_000) / 1_000_000
        return {name: round(total / seconds, 3) for name, total in sums.items()}

    def count(self, name: str, amount: int) -> None:
        self.current[name] = self.current.get(name, 0) + amount
        self.totals[name] = self.totals.get(name, 0) + amount

    def count_broker(self, name: str, broker: int, amount: int) -> None:
        self.count(name, amount)
        self.count(f"{name},broker={broker}", amount)


# -- what each event counts -----------------------------------------------------------------------------------------------


def _appended(tracker: MetricsTracker, at_us: int, event: e.RecordsAppended) -> None:
    tracker.count_broker(TOPIC_METRICS + "MessagesInPerSec", event.broker, event.last_offset - event.first_offset + 1)
    tracker.count_broker(TOPIC_METRICS + "BytesInPerSec", event.broker, event.size_bytes)
    if event.client:
        average = tracker.batch_size_avg.get(event.client, event.size_bytes)
        tracker.batch_size_avg[event.client] = average + (event.size_bytes - average) // 8


def _refused(tracker: MetricsTracker, at_us: int, event: e.ProduceRefused) -> None:
    tracker.count_broker(TOPIC_METRICS + "FailedProduceRequestsPerSec", event.broker, 1)


def _throttled(tracker: MetricsTracker, at_us: int, event: e.ClientThrottled) -> None:
    """The client learns it from its response: ``produce-throttle-time`` or ``fetch-throttle-time``."""
    for kind in _THROTTLES.get(event.quota, ()):
        key = (kind, event.client)
        average = tracker.throttle_avg_ms.get(key, event.throttle_time_ms)
        tracker.throttle_avg_ms[key] = average + (event.throttle_time_ms - average) // 8
        tracker.throttle_max_ms[key] = max(tracker.throttle_max_ms.get(key, 0), event.throttle_time_ms)


_THROTTLES = {"producer_byte_rate": ("produce",), "consumer_byte_rate": ("fetch",), "request_percentage": ("produce", "fetch")}


def _send_refused(tracker: MetricsTracker, at_us: int, event: e.SendRefused) -> None:
    if event.error.startswith("BufferExhausted"):
        tracker.count(f"{PRODUCER}buffer-exhausted-rate,client-id={event.producer}", 1)


def _cleaned(tracker: MetricsTracker, at_us: int, event: e.LogCleaned) -> None:
    """Of the last cleaning, as ``LogCleaner``'s gauges have it."""
    broker = f",broker={event.broker}"
    tracker.gauges[f"{CLEANER}max-clean-time-secs{broker}"] = round(event.duration_us / 1_000_000, 3)
    if event.bytes_before:
        tracker.gauges[f"{CLEANER}cleaner-recopy-percent{broker}"] = round(100 * event.bytes_after / event.bytes_before)


def _offsets_committed(tracker: MetricsTracker, at_us: int, event: e.OffsetsCommitted) -> None:
    tracker.count(GROUP_COORDINATOR + "offset-commit-rate", len(event.offsets))


def _rebalanced(tracker: MetricsTracker, at_us: int, event: e.GroupRebalanced) -> None:
    tracker.count(GROUP_COORDINATOR + "group-completed-rebalance-rate", 1)


def _proposed(tracker: MetricsTracker, at_us: int, event: e.IsrShrinkProposed | e.IsrExpandProposed) -> None:
    tracker.proposed_isr[event.topic, event.partition] = (event.broker, event.isr)


def _isr_changed(tracker: MetricsTracker, at_us: int, event: e.IsrChanged) -> None:
    """A leader marks the shrink or expand that it asked for itself; what the controller does by fencing is not counted."""
    broker, isr = tracker.proposed_isr.pop((event.topic, event.partition), (-1, ()))
    if broker >= 0 and sorted(isr) == sorted(event.new_isr):
        name = "IsrShrinksPerSec" if len(event.new_isr) < len(event.old_isr) else "IsrExpandsPerSec"
        tracker.count_broker(REPLICA_MANAGER + name, broker, 1)


def _leader_changed(tracker: MetricsTracker, at_us: int, event: e.LeaderChanged) -> None:
    if event.election in ("unclean", "last known leader"):
        tracker.count(CONTROLLER_STATS + "UncleanLeaderElectionsPerSec", 1)


def _sent(tracker: MetricsTracker, at_us: int, event: e.ProduceSent) -> None:
    tracker.count(f"{PRODUCER}record-send-rate,client-id={event.producer}", event.record_count)
    if event.attempt > 1:
        tracker.count(f"{PRODUCER}record-retry-rate,client-id={event.producer}", event.record_count)
    if len(tracker.sent_at) < MAX_PENDING:
        tracker.sent_at[event.producer, event.batch_id] = at_us


def _acknowledged(tracker: MetricsTracker, at_us: int, event: e.RecordsAcknowledged) -> None:
    began_us = tracker.sent_at.pop((event.producer, event.batch_id), -1)
    if began_us < 0 or event.base_offset < 0:
        return
    latency_us = at_us - began_us
    name = event.producer
    average = tracker.latency_avg_us.get(name, latency_us)
    tracker.latency_avg_us[name] = average + (latency_us - average) // 8
    tracker.latency_max_us[name] = max(tracker.latency_max_us.get(name, 0), latency_us)


def _failed(tracker: MetricsTracker, at_us: int, event: e.RecordsFailed) -> None:
    tracker.sent_at.pop((event.producer, event.batch_id), None)
    tracker.count(f"{PRODUCER}record-error-rate,client-id={event.producer}", event.record_count)


def _consumed(tracker: MetricsTracker, at_us: int, event: e.RecordsConsumed) -> None:
    tracker.count(f"{CONSUMER}records-consumed-rate,client-id={event.consumer}", event.record_count)


def _share_consumed(tracker: MetricsTracker, at_us: int, event: e.ShareRecordsDelivered) -> None:
    tracker.count(f"{SHARE_CONSUMER}records-consumed-rate,client-id={event.consumer}", event.record_count)


def _gone(tracker: MetricsTracker, at_us: int, event: e.NodeKilled | e.NodeStopped) -> None:
    if any(name == event.name for name, _ in tracker.sent_at):
        tracker.sent_at = {key: sent for key, sent in tracker.sent_at.items() if key[0] != event.name}


_OBSERVE: dict[type[Event], Callable[[MetricsTracker, int, Any], None]] = {
    e.RecordsAppended: _appended,
    e.ProduceRefused: _refused,
    e.ClientThrottled: _throttled,
    e.SendRefused: _send_refused,
    e.LogCleaned: _cleaned,
    e.OffsetsCommitted: _offsets_committed,
    e.GroupRebalanced: _rebalanced,
    e.IsrShrinkProposed: _proposed,
    e.IsrExpandProposed: _proposed,
    e.IsrChanged: _isr_changed,
    e.LeaderChanged: _leader_changed,
    e.ProduceSent: _sent,
    e.RecordsAcknowledged: _acknowledged,
    e.RecordsFailed: _failed,
    e.RecordsConsumed: _consumed,
    e.ShareRecordsDelivered: _share_consumed,
    e.NodeKilled: _gone,
    e.NodeStopped: _gone,
}


# -- all of them, now -----------------------------------------------------------------------------------------------------

_ALWAYS = (
    TOPIC_METRICS + "MessagesInPerSec",
    TOPIC_METRICS + "BytesInPerSec",
    TOPIC_METRICS + "FailedProduceRequestsPerSec",
    REPLICA_MANAGER + "IsrShrinksPerSec",
    REPLICA_MANAGER + "IsrExpandsPerSec",
    CONTROLLER_STATS + "UncleanLeaderElectionsPerSec",
)


def _lag(consumer: ConsumerView, position: PositionView, topics: dict[str, TopicView]) -> int:
    """``SubscriptionState.partitionLag``: under read_committed only up to the last stable offset, so that an open transaction shows in
    the group's lag and not in the client's."""
    topic = topics.get(position.topic)
    partition = topic.partitions.get(str(position.partition)) if topic is not None else None
    if consumer.configs.get("isolation.level") != "read_committed" or partition is None or partition.last_stable_offset < 0:
        return position.lag
    return max(min(position.high_watermark, partition.last_stable_offset) - position.position, 0)


def measure(
    tracker: MetricsTracker,
    now_us: int,
    nodes: dict[str, NodeView],
    topics: dict[str, TopicView],
    producers: dict[str, ProducerView],
    consumers: dict[str, ConsumerView],
) -> dict[str, float]:
    """Every metric's value at ``now_us``. A broker that is down reports nothing, as in life."""
    found: dict[str, float] = dict.fromkeys(_ALWAYS, 0.0)
    found.update(tracker.rates(now_us))
    brokers = [node for node in nodes.values() if node.kind == "broker"]
    alive = [node for node in brokers if node.status in ("up", "stopping")]
    _partition_gauges(found, topics, [node.id for node in alive])
    active = sum(1 for node in nodes.values() if node.kind == "controller" and node.role == "leader")
    found[CONTROLLER + "ActiveControllerCount"] = active
    registered = [node for node in brokers if node.broker_epoch >= 0]
    found[CONTROLLER + "FencedBrokerCount"] = sum(node.fenced for node in registered)
    found[CONTROLLER + "ActiveBrokerCount"] = sum(not node.fenced for node in registered)
    for node in alive:
        found[f"{REPLICA_MANAGER}LeaderCount,broker={node.id}"] = node.leader_count
        found[f"{REPLICA_MANAGER}PartitionCount,broker={node.id}"] = node.replica_count
    found[REPLICA_MANAGER + "LeaderCount"] = sum(node.leader_count for node in alive)
    found[REPLICA_MANAGER + "PartitionCount"] = sum(node.replica_count for node in alive)
    for name, consumer in consumers.items():
        lags = [_lag(consumer, position, topics) for position in consumer.positions if position.lag >= 0]
        if consumer.share is None:
            found[f"{CONSUMER}records-lag-max,client-id={name}"] = max(lags, default=0)
    found.update(tracker.gauges)
    _client_gauges(found, tracker, producers, consumers)
    for name, latency_us in tracker.latency_avg_us.items():
        found[f"{PRODUCER}request-latency-avg,client-id={name}"] = round(latency_us / 1000, 3)
        found[f"{PRODUCER}request-latency-max,client-id={name}"] = round(tracker.latency_max_us[name] / 1000, 3)
    return found


def _client_gauges(
    found: dict[str, float], tracker: MetricsTracker, producers: dict[str, ProducerView], consumers: dict[str, ConsumerView]
) -> None:
    for name, producer in producers.items():
        if producer.buffer_total_bytes:
            found[f"{PRODUCER}buffer-total-bytes,client-id={name}"] = producer.buffer_total_bytes
            found[f"{PRODUCER}buffer-available-bytes,client-id={name}"] = producer.buffer_total_bytes - producer.buffered_bytes
            found[f"{PRODUCER}waiting-threads,client-id={name}"] = producer.waiting_threads
        if name in tracker.batch_size_avg:
            found[f"{PRODUCER}batch-size-avg,client-id={name}"] = tracker.batch_size_avg[name]
    for (kind, name), average in tracker.throttle_avg_ms.items():
        if name in (producers if kind == "produce" else consumers):
            group = PRODUCER if kind == "produce" else CONSUMER
            found[f"{group}{kind}-throttle-time-avg,client-id={name}"] = average
            found[f"{group}{kind}-throttle-time-max,client-id={name}"] = tracker.throttle_max_ms[kind, name]


def _partition_gauges(found: dict[str, float], topics: dict[str, TopicView], alive: list[int]) -> None:
    """Under-replicated, under-min-ISR and at-min-ISR are reported by each leader, offline partitions by the controller."""
    under_replicated = dict.fromkeys(alive, 0)
    under_min_isr, at_min_isr = dict(under_replicated), dict(under_replicated)
    offline = 0
    for topic in topics.values():
        for partition in topic.partitions.values():
            leader, in_sync = partition.leader, len(partition.isr)
            if leader < 0:
                offline += 1
            elif leader in under_replicated:
                minimum = min(partition.min_isr, len(partition.replicas))
                under_replicated[leader] += in_sync < len(partition.replicas) - len(partition.adding)
                under_min_isr[leader] += in_sync < minimum
                at_min_isr[leader] += in_sync == minimum
    found[CONTROLLER + "OfflinePartitionsCount"] = offline
    for name, counts in (
        ("UnderReplicatedPartitions", under_replicated),
        ("UnderMinIsrPartitionCount", under_min_isr),
        ("AtMinIsrPartitionCount", at_min_isr),
    ):
        found[REPLICA_MANAGER + name] = sum(counts.values())
        for broker, count in counts.items():
            found[f"{REPLICA_MANAGER}{name},broker={broker}"] = count
