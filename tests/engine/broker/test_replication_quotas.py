"""The replication throttle: a new replica is copied at the rate that was given, one in sync is left alone (KIP-73)."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine import events as e
from engine.broker.rates import SampledRate, Throttle
from tests.engine.facts.scene import Scene

RATE = 50_000
RECORD = 10_000


def filled(records: int = 60, replicas: tuple[int, ...] = (1, 2)) -> Scene:
    scene = Scene(replicas=replicas, broker_configs={"replica.fetch.max.bytes": "20000"})
    scene.produce(*["x" * RECORD] * records, acks="1", wait=2)
    return scene


def throttle(scene: Scene, side: str, replicas: str = "*", rate: int = RATE) -> None:
    for broker in ("1", "2", "3"):
        scene.do(c.AlterConfig("broker", broker, {f"{side}.replication.throttled.rate": str(rate)}))
    scene.do(c.AlterConfig("topic", "orders", {f"{side}.replication.throttled.replicas": replicas}))
    scene.wait(1)


def copied(scene: Scene) -> int:
    """Bytes that broker 3 holds of the partition."""
    logs = scene.partition().logs
    return logs["3"].size_bytes if "3" in logs else 0


def moved(scene: Scene) -> float:
    """Seconds until the partition has moved to brokers 1 and 3."""
    scene.do(c.ReassignPartition("orders", 0, [1, 3]))
    return scene.wait_until(lambda: 3 in scene.partition().isr, 120)


def test_without_a_throttle_a_replica_is_copied_at_once() -> None:
    assert moved(filled()) < 3


@pytest.mark.parametrize("side", ["leader", "follower"])
def test_a_throttled_move_takes_the_time_that_its_rate_gives_it(side: str) -> None:
    scene = filled()
    throttle(scene, side)
    took = moved(scene)
    size = copied(scene)
    assert took == pytest.approx(size / RATE, rel=0.35)
    assert scene.happened(e.ReplicationThrottled, side=side)


def test_a_replica_that_is_in_sync_is_not_held_back() -> None:
    scene = Scene(replicas=(1, 2, 3))
    throttle(scene, "leader", rate=1_000)
    throttle(scene, "follower", rate=1_000)
    scene.produce(*["x" * RECORD] * 20, acks="all", wait=3)
    assert scene.acknowledged() == 20
    assert scene.partition().isr == [1, 2, 3]


def test_only_the_replicas_that_are_named_count() -> None:
    scene = filled()
    throttle(scene, "leader", "0:2,1:1")
    assert moved(scene) < 3


def test_a_throttle_that_is_taken_away_no_longer_holds() -> None:
    scene = filled()
    throttle(scene, "leader", rate=1_000)
    scene.do(c.ReassignPartition("orders", 0, [1, 3]))
    scene.wait(20)
    assert 3 not in scene.partition().isr
    scene.do(c.AlterConfig("broker", "1", {}, ["leader.replication.throttled.rate"]))
    scene.wait(5)
    assert 3 in scene.partition().isr


def test_a_rate_is_kafkas_over_its_samples() -> None:
    rate = SampledRate()
    rate.record(1_000, 0, 11, 1_000)
    assert rate.window_ms(0, 11, 1_000) == 10_000
    assert rate.rate(500, 11, 1_000) == pytest.approx(1_000 / 10.5)
    for second in range(1, 12):
        rate.record(1_000, second * 1_000, 11, 1_000)
    assert rate.window_ms(11_500, 11, 1_000) == 10_500, "what was last added to eleven seconds ago is forgotten"
    assert len(rate.values) == 12
    rate.record(1_000, 12_000, 11, 1_000)
    assert len(rate.values) == 12, "a sample is used again"
    assert rate.rate(60_000, 11, 1_000) == 0
    simple = Throttle()
    simple.record(500, 0, 11, 1_000)
    assert simple.simple_rate(10, 11, 1_000) == 500
    assert simple.simple_rate(2_000, 11, 1_000) == 250
