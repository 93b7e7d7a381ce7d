"""The metrics that brokers measure themselves: requests, bytes out, quotas, replication, the cleaner. Read from their processes, by JMX name.

A percentile is an attribute of its metric in JMX and part of the name here: ``…,request=Produce,attribute=99thPercentile,broker=1``.
"""

from __future__ import annotations

from functools import cache

from engine.broker import meters
from engine.broker.meters import CONSUMER_TIME, FIRST_REQUEST, FOLLOWER_TIME, PRODUCE_TIME, REQUEST_NAMES
from engine.broker.node import BrokerNode
from engine.broker.rates import Throttle
from engine.metadata.client_quotas import CONSUMER_BYTE_RATE, PRODUCER_BYTE_RATE, REQUEST_PERCENTAGE
from engine.metadata.image import MetadataImage
from engine.sim.kernel import Kernel
from engine.view.tree import TopicView

TOPIC_METRICS = "kafka.server:type=BrokerTopicMetrics,name="
REQUEST_METRICS = "kafka.network:type=RequestMetrics,name="
REPLICA_MANAGER = "kafka.server:type=ReplicaManager,name="
PRODUCER_IDS = REPLICA_MANAGER + "ProducerIdCount"
OFFLINE_REPLICAS = REPLICA_MANAGER + "OfflineReplicaCount"
CONTROLLER = "kafka.controller:type=KafkaController,name="
FETCHER_MANAGER = "kafka.server:type=ReplicaFetcherManager,name=MaxLag,clientId=Replica"
CLEANER_MANAGER = "kafka.log:type=LogCleanerManager,name="

Found = dict[str, float]

_TOPIC_COUNTERS = (
    ("TotalProduceRequestsPerSec", meters.PRODUCE_ITEMS),
    ("TotalFetchRequestsPerSec", meters.FETCH_ITEMS),
    ("FailedFetchRequestsPerSec", meters.FAILED_FETCHES),
    ("BytesOutPerSec", meters.BYTES_OUT),
    ("ReplicationBytesOutPerSec", meters.REPLICATION_BYTES_OUT),
    ("ReplicationBytesInPerSec", meters.REPLICATION_BYTES_IN),
)
_TIMED = (PRODUCE_TIME, CONSUMER_TIME, FOLLOWER_TIME)
_QUOTAS = {
    PRODUCER_BYTE_RATE: ("Produce", "byte-rate"),
    CONSUMER_BYTE_RATE: ("Fetch", "byte-rate"),
    REQUEST_PERCENTAGE: ("Request", "request-time"),
}
SHOWN_THROTTLE_US = 60_000_000
"""A throttle time counts for the average of the last minute."""


def add_broker_metrics(found: Found, kernel: Kernel, image: MetadataImage, topics: dict[str, TopicView]) -> None:
    for name, _ in _TOPIC_COUNTERS:
        found[TOPIC_METRICS + name] = 0.0
    found[OFFLINE_REPLICAS] = 0
    for host in kernel.hosts.values():
        node = host.node
        if isinstance(node, BrokerNode):
            _traffic(found, node, kernel.now)
            _quotas(found, node, kernel.now)
            _storage(found, node)
    _cluster(found, image)
    _lag(found, topics)


@cache
def _topic_names(broker: int) -> tuple[tuple[str, str, int], ...]:
    """Of all brokers, of this one, and where it counts."""
    return tuple((TOPIC_METRICS + name, f"{TOPIC_METRICS}{name},broker={broker}", counter) for name, counter in _TOPIC_COUNTERS)


@cache
def _request_names(broker: int) -> tuple[tuple[str, str, int], ...]:
    """The same for the requests by kind; those that are not timed are shown of all brokers only."""
    shown = [(f"{REQUEST_METRICS}RequestsPerSec,request={request}", request) for request in REQUEST_NAMES]
    return tuple(
        (name, f"{name},broker={broker}" if request in _TIMED else "", position)
        for position, (name, request) in enumerate(shown, FIRST_REQUEST)
    )


@cache
def _time_names(request: str, broker: int) -> tuple[str, str]:
    name = f"{REQUEST_METRICS}TotalTimeMs,request={request}"
    return f"{name},attribute=50thPercentile,broker={broker}", f"{name},attribute=99thPercentile,broker={broker}"


def _traffic(found: Found, node: BrokerNode, now_us: int) -> None:
    broker = node.broker_id
    rates = node.meters.rates(now_us)
    for name, own, counter in _topic_names(broker):
        rate = rates[counter]
        if rate:
            found[name] = round(found[name] + rate, 3)
            rate = round(rate, 3)
        found[own] = rate
    for name, own, counter in _request_names(broker):
        rate = rates[counter]
        if rate:
            found[name] = round(found.get(name, 0.0) + rate, 3)
            if own:
                found[own] = round(rate, 3)
    for request in _TIMED:
        times = node.meters.total_times_ms(request)
        if times is not None:
            median, tail = _time_names(request, broker)
            found[median], found[tail] = times


def _quotas(found: Found, node: BrokerNode, now_us: int) -> None:
    settings, now_ms = node.settings, now_us // 1000
    for (quota, user, client_id), usage in node.usage.items():
        kind, measured = _QUOTAS[quota]
        tags = f",user={user}" * bool(user) + f",client-id={client_id}" * bool(client_id) + f",broker={node.broker_id}"
        rate = usage.peek(now_ms, settings.quota_window_num, settings.quota_window_ms)
        found[f"kafka.server:type={kind},name={measured}{tags}"] = round(rate, 3)
        recent = usage.throttled_us and now_us - usage.throttled_us < SHOWN_THROTTLE_US
        found[f"kafka.server:type={kind},name=throttle-time{tags}"] = usage.throttle_time_ms if recent else 0
    for side, throttle in (("Leader", node.leader_throttle), ("Follower", node.follower_throttle)):
        if throttle is not None:
            rate = _replication_rate(node, throttle, now_ms)
            found[f"kafka.server:type={side}Replication,name=byte-rate,broker={node.broker_id}"] = round(rate, 3)


def _replication_rate(node: BrokerNode, throttle: Throttle, now_ms: int) -> float:
    settings = node.settings
    return throttle.peek_simple(now_ms, settings.replication_quota_window_num, settings.replication_quota_window_ms)


def _storage(found: Found, node: BrokerNode) -> None:
    broker = node.broker_id
    producers = sum([len(replica.log.producer_state.producers) for replica in node.partitions.values()])
    offline = len(node.partitions) if node.failed else 0
    for name, count in ((PRODUCER_IDS, producers), (OFFLINE_REPLICAS, offline)):
        found[name] = found.get(name, 0.0) + count
        found[f"{name},broker={broker}"] = count
    if node.cleaner.checkpoints or node.cleaner.uncleanable:
        found[f"{CLEANER_MANAGER}uncleanable-partitions-count,broker={broker}"] = len(node.cleaner.uncleanable)


def _cluster(found: Found, image: MetadataImage) -> None:
    """What the active controller counts in its metadata."""
    partitions = [partition for topic in image.topics.values() for partition in topic.partitions.values()]
    found[CONTROLLER + "GlobalTopicCount"] = len(image.topics)
    found[CONTROLLER + "GlobalPartitionCount"] = len(partitions)
    imbalanced = [one for one in partitions if one.replicas and one.leader != one.replicas[0]]
    found[CONTROLLER + "PreferredReplicaImbalanceCount"] = len(imbalanced)
    found[REPLICA_MANAGER + "ReassigningPartitions"] = sum([one.reassigning for one in partitions])


def _lag(found: Found, topics: dict[str, TopicView]) -> None:
    """How many records the follower that is furthest behind still has to fetch; how dirty the dirtiest compacted log is."""
    lags: dict[int, int] = {}
    dirty: dict[int, float] = {}
    for topic in topics.values():
        for partition in topic.partitions.values():
            for log in partition.logs.values():
                if log.role == "follower" and partition.log_end_offset >= 0:
                    behind = max(partition.log_end_offset - log.log_end_offset, 0)
                    lags[log.broker] = max(lags.get(log.broker, 0), behind)
                if log.cleaner is not None:
                    dirty[log.broker] = max(dirty.get(log.broker, 0), log.cleaner.dirty_ratio)
    found[FETCHER_MANAGER] = max(lags.values(), default=0)
    for broker, lag in lags.items():
        found[f"{FETCHER_MANAGER},broker={broker}"] = lag
    for broker, ratio in dirty.items():
        found[f"{CLEANER_MANAGER}max-dirty-percent,broker={broker}"] = round(100 * ratio)
