"""The throttle of replication (KIP-73): how much a leader serves and a follower fetches of the replicas that are marked for it.

Meant for reassignments, whose copying would otherwise take the network from everybody else. ``leader.replication.throttled.rate`` and
``follower.replication.throttled.rate`` limit a broker; ``…throttled.replicas`` of a topic say which replicas count. A replica that is in
sync is never held back, so that a throttle takes nobody out of the ISR. Kafka's ``ReplicationQuotaManager``.
"""

from __future__ import annotations

from engine.broker.rates import Throttle
from engine.broker.state import Broker, Replica
from engine.events import ReplicationThrottled
from engine.metadata.configs import LONG_MAX, parse_list
from engine.sim.outbox import Outbox

LEADER_RATE, FOLLOWER_RATE = "leader.replication.throttled.rate", "follower.replication.throttled.rate"
LEADER_REPLICAS, FOLLOWER_REPLICAS = "leader.replication.throttled.replicas", "follower.replication.throttled.replicas"
TOLD_AGAIN_AFTER_US = 60_000_000


def configure(broker: Broker) -> None:
    """Takes the broker's two rates from the metadata; what has been measured so far stays."""
    broker.leader_throttle = _limited(broker, broker.leader_throttle, LEADER_RATE)
    broker.follower_throttle = _limited(broker, broker.follower_throttle, FOLLOWER_RATE)


def _limited(broker: Broker, throttle: Throttle | None, name: str) -> Throttle | None:
    value = broker.image.broker_config(name, broker.broker_id)
    if value is None or int(value) == LONG_MAX:
        return None
    if throttle is None:
        throttle = Throttle()
    throttle.limit = int(value)
    return throttle


def mark(broker: Broker, replica: Replica, leader_replicas: str, follower_replicas: str) -> None:
    """``TopicConfigHandler.updateThrottledList``: which side of this replica counts."""
    replica.leader_throttled = _names(leader_replicas, replica.partition.partition, broker.broker_id)
    replica.follower_throttled = _names(follower_replicas, replica.partition.partition, broker.broker_id)


def _names(value: str, partition: int, broker_id: int) -> bool:
    return bool(value) and (value.strip() == "*" or f"{partition}:{broker_id}" in parse_list(value))


def exceeded(broker: Broker, throttle: Throttle, side: str, out: Outbox) -> bool:
    """``side``: "leader" or "follower"."""
    settings, now_ms = broker.settings, out.now // 1000
    count, sample_ms = settings.replication_quota_window_num, settings.replication_quota_window_ms
    rate = throttle.simple_rate(now_ms, count, sample_ms)
    if rate <= throttle.limit:
        return False
    if not throttle.told_us or out.now - throttle.told_us >= TOLD_AGAIN_AFTER_US:
        throttle.told_us = out.now
        cause = out.cause
        out.emit(ReplicationThrottled(broker.broker_id, side, round(rate, 3), throttle.limit))
        out.because(cause)
    return True


def record(broker: Broker, throttle: Throttle, batches: tuple[bytes, ...], now_us: int) -> None:
    settings = broker.settings
    size = sum([len(batch) for batch in batches])
    throttle.record(size, now_us // 1000, settings.replication_quota_window_num, settings.replication_quota_window_ms)


def hides_from(broker: Broker, replica: Replica, follower_id: int, out: Outbox) -> bool:
    """Whether the leader gives this follower nothing now (``ReplicaManager.shouldLeaderThrottle``)."""
    throttle = broker.leader_throttle
    return throttle is not None and follower_id not in replica.isr and exceeded(broker, throttle, "leader", out)


def leaves_out(broker: Broker, replica: Replica, out: Outbox) -> bool:
    """Whether this follower does not ask for the partition now (``shouldFollowerThrottle``)."""
    throttle = broker.follower_throttle
    if throttle is None or not replica.follower_throttled or broker.broker_id in replica.isr:
        return False
    return exceeded(broker, throttle, "follower", out)
