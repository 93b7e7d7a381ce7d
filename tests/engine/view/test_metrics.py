"""Kafka's metrics under Kafka's names, with the values that Kafka would give them."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine.events import Happening, IsrChanged, IsrShrinkProposed, LeaderChanged, RecordsAppended
from engine.lab import Lab
from engine.spec import ClusterSpec, TopicSpec
from engine.view.metrics import CONSUMER, CONTROLLER, CONTROLLER_STATS, PRODUCER, REPLICA_MANAGER, TOPIC_METRICS, MetricsTracker

MESSAGES = TOPIC_METRICS + "MessagesInPerSec"
SECOND_US = 1_000_000


def appended(at_us: int, records: int) -> Happening:
    return Happening(1, at_us, "broker-1", RecordsAppended(1, "orders", 0, 0, records - 1, 0, 100, "app", 1), ())


def test_a_rate_covers_the_last_minute_of_virtual_time() -> None:
    tracker = MetricsTracker()
    for second in range(120):
        tracker.observe(appended(second * SECOND_US, 6))
    assert tracker.rates(120 * SECOND_US)[MESSAGES] == pytest.approx(6, rel=0.15)
    assert tracker.rates(300 * SECOND_US)[MESSAGES] == 0
    assert tracker.totals[MESSAGES] == 720


def test_a_young_lab_divides_by_its_age() -> None:
    tracker = MetricsTracker()
    tracker.observe(appended(SECOND_US, 20))
    assert tracker.rates(2 * SECOND_US)[MESSAGES] == 10


def test_a_leader_marks_its_own_shrink_and_not_the_controllers() -> None:
    tracker = MetricsTracker()
    fenced = IsrChanged("orders", 0, (1, 2, 3), (1, 2), (), 1)
    tracker.observe(Happening(1, 0, "controller-101", fenced, ()))
    assert REPLICA_MANAGER + "IsrShrinksPerSec" not in tracker.totals
    tracker.observe(Happening(2, 0, "broker-1", IsrShrinkProposed(1, "orders", 0, (2,), (1,)), ()))
    tracker.observe(Happening(3, 0, "controller-101", IsrChanged("orders", 0, (1, 2), (1,), (), 2), ()))
    assert tracker.totals[REPLICA_MANAGER + "IsrShrinksPerSec,broker=1"] == 1


def test_an_unclean_election_is_counted() -> None:
    tracker = MetricsTracker()
    for election in ("isr", "unclean", "preferred"):
        tracker.observe(Happening(1, 0, "controller-101", LeaderChanged("orders", 0, 1, 2, 3, election), ()))
    assert tracker.totals[CONTROLLER_STATS + "UncleanLeaderElectionsPerSec"] == 1


def test_gauges_follow_a_failing_cluster() -> None:
    lab = Lab(ClusterSpec(topics=(TopicSpec("orders", 3, 3, {"min.insync.replicas": "2"}),)), seed=5)
    healthy = lab.view().metrics
    assert healthy[REPLICA_MANAGER + "UnderReplicatedPartitions"] == 0
    assert healthy[CONTROLLER + "ActiveBrokerCount"] == 3
    assert healthy[CONTROLLER + "ActiveControllerCount"] == 1
    lab.submit(c.KillNode("broker-3"))
    lab.advance(lab.now_us + 15 * SECOND_US)
    one_down = lab.view().metrics
    assert one_down[REPLICA_MANAGER + "UnderReplicatedPartitions"] == 3
    assert one_down[REPLICA_MANAGER + "AtMinIsrPartitionCount"] == 3
    assert one_down[REPLICA_MANAGER + "UnderMinIsrPartitionCount"] == 0
    assert one_down[CONTROLLER + "FencedBrokerCount"] == 1
    assert REPLICA_MANAGER + "PartitionCount,broker=3" not in one_down
    lab.submit(c.KillNode("broker-2"))
    lab.advance(lab.now_us + 15 * SECOND_US)
    two_down = lab.view().metrics
    assert two_down[REPLICA_MANAGER + "UnderMinIsrPartitionCount"] == 3
    assert two_down[CONTROLLER + "OfflinePartitionsCount"] == 0
    lab.submit(c.KillNode("broker-1"))
    lab.advance(lab.now_us + 15 * SECOND_US)
    assert lab.view().metrics[CONTROLLER + "OfflinePartitionsCount"] == 3


def test_clients_report_their_rates_and_lag() -> None:
    lab = Lab(ClusterSpec(topics=(TopicSpec("orders", 1, 3),)), seed=5)
    lab.submit(c.StartWorkload("work", "orders", producer="app", records_per_second=100))
    lab.submit(c.CreateConsumer("reader", ["orders"], {"auto.offset.reset": "earliest"}))
    lab.advance(lab.now_us + 10 * SECOND_US)
    busy = lab.view().metrics
    assert 60 < busy[PRODUCER + "record-send-rate,client-id=app"] < 101
    assert 0 < busy[PRODUCER + "request-latency-avg,client-id=app"] < 1_000
    assert busy[CONSUMER + "records-lag-max,client-id=reader"] < 50
    lab.submit(c.PauseConsumer("reader"))
    lab.advance(lab.now_us + 10 * SECOND_US)
    assert busy[CONSUMER + "records-consumed-rate,client-id=reader"] > 60
