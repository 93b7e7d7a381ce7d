"""Kafka's metrics under Kafka's names, with the values that Kafka would give them."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine.broker.meters import Meters
from engine.events import Happening, IsrChanged, IsrShrinkProposed, LeaderChanged, RecordsAppended
from engine.lab import Lab
from engine.metadata.authorizer import STANDARD_AUTHORIZER
from engine.spec import ClusterSpec, TopicSpec
from engine.view.group_metrics import (
    CONSUMER_COORDINATOR,
    GROUP_COORDINATOR,
    GROUP_METADATA,
    LATE_TRANSACTIONS,
    add_group_metrics,
    add_late_transactions,
)
from engine.view.metrics import CONSUMER, CONTROLLER, CONTROLLER_STATS, PRODUCER, REPLICA_MANAGER, TOPIC_METRICS, MetricsTracker
from engine.view.tree import ConsumerView, GroupOffsetView, GroupView, OpenTransactionView, PositionView

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


def test_what_waits_behind_an_open_transaction_is_no_lag_of_a_read_committed_client() -> None:
    """``records-lag-max`` counts to the last stable offset; the view, like kafka-consumer-groups.sh, to the high watermark."""
    lab = Lab(ClusterSpec(topics=(TopicSpec("orders", 1, 3),)), seed=5)
    lab.submit(c.CreateProducer("bank", {"transactional.id": "tx"}))
    lab.submit(c.CreateConsumer("reader", ["orders"], {"isolation.level": "read_committed", "auto.offset.reset": "earliest"}))
    lab.submit(c.BeginTransaction("bank"))
    lab.submit(c.Produce("orders", "open", producer="bank"))
    lab.advance(lab.now_us + SECOND_US)
    lab.submit(c.Produce("orders", "{n}", producer="other", count=5))
    lab.advance(lab.now_us + 2 * SECOND_US)
    view = lab.view()
    assert view.consumers["reader"].positions[0].lag == 6
    assert view.metrics[CONSUMER + "records-lag-max,client-id=reader"] == 0
    lab.submit(c.CommitTransaction("bank"))
    lab.advance(lab.now_us + 2 * SECOND_US)
    assert lab.view().consumers["reader"].positions[0].lag == 0


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


BROKERS_ALL = {"authorizer.class.name": STANDARD_AUTHORIZER}
REQUESTS = "kafka.network:type=RequestMetrics,name="


def busy_lab(**configs: str) -> Lab:
    lab = Lab(ClusterSpec(topics=(TopicSpec("orders", 1, 3, {}, [[1, 2, 3]]),)), seed=5)
    lab.submit(c.CreateProducer("app", {name.replace("_", "."): value for name, value in configs.items()}))
    lab.submit(c.CreateConsumer("reader", ["orders"]))
    lab.submit(c.StartWorkload("load", "orders", producer="app", records_per_second=20, value_bytes=1_000))
    lab.advance(lab.now_us + 70 * SECOND_US)
    return lab


def test_requests_are_counted_and_timed_by_kind() -> None:
    found = busy_lab().view().metrics
    assert found[REQUESTS + "RequestsPerSec,request=Produce"] == pytest.approx(20, rel=0.1)
    assert found[REQUESTS + "RequestsPerSec,request=Produce,broker=1"] == found[REQUESTS + "RequestsPerSec,request=Produce"]
    assert found[REQUESTS + "RequestsPerSec,request=FetchFollower,broker=1"] >= 40, "two followers, each woken by each record"
    assert found[TOPIC_METRICS + "TotalProduceRequestsPerSec"] == pytest.approx(20, rel=0.1)
    median = found[REQUESTS + "TotalTimeMs,request=Produce,attribute=50thPercentile,broker=1"]
    assert 0.3 < median < 3, "acks=all waits for a round trip of both followers"
    waited = found[REQUESTS + "TotalTimeMs,request=FetchConsumer,attribute=50thPercentile,broker=1"]
    assert 30 < waited < 60, "a consumer's fetch waits for the next record"


def test_bytes_go_out_to_consumers_and_to_followers() -> None:
    found = busy_lab().view().metrics
    bytes_in = found[TOPIC_METRICS + "BytesInPerSec"]
    assert found[TOPIC_METRICS + "BytesOutPerSec"] == pytest.approx(bytes_in, rel=0.1)
    assert found[TOPIC_METRICS + "ReplicationBytesOutPerSec,broker=1"] == pytest.approx(2 * bytes_in, rel=0.1)
    assert found[TOPIC_METRICS + "ReplicationBytesInPerSec,broker=2"] == pytest.approx(bytes_in, rel=0.1)


def test_times_fall_into_narrow_steps() -> None:
    meters = Meters()
    for microseconds in range(1, 100_001):
        meters.took("Produce", microseconds, 0)
    median, high = meters.total_times_ms("Produce") or (0, 0)
    assert median == pytest.approx(50, rel=0.04)
    assert high == pytest.approx(99, rel=0.04)
    meters.took("Produce", 1, 61 * SECOND_US)
    meters.took("Produce", 1, 122 * SECOND_US)
    assert meters.total_times_ms("Produce") == (0.001, 0.001), "what was long ago no longer counts"
    assert meters.total_times_ms("FetchConsumer") is None


def test_meters_count_a_minute_and_forget_what_is_older() -> None:
    meters = Meters()
    for second in range(120):
        meters.count(0, 6, second * SECOND_US)
    assert meters.rates(120 * SECOND_US)[0] == pytest.approx(6, rel=0.15)
    assert meters.rates(300 * SECOND_US)[0] == 0


def test_a_restarted_broker_counts_anew() -> None:
    lab = busy_lab()
    for command in (c.StopWorkload("load"), c.KillNode("broker-1"), c.StartNode("broker-1")):
        lab.submit(command)
    lab.advance(lab.now_us + SECOND_US)
    assert REQUESTS + "RequestsPerSec,request=Produce,broker=1" not in lab.view().metrics


def test_a_producer_that_fills_its_buffer_shows_it() -> None:
    """Back-pressure: ``send`` blocks for room in buffer.memory, and fails once max.block.ms is over."""
    lab = Lab(ClusterSpec(topics=(TopicSpec("orders", 1, 3, {}, [[1, 2, 3]]),)), seed=5)
    lab.submit(c.CreateProducer("app", {"buffer.memory": "40000", "max.block.ms": "2000", "batch.size": "10000"}))
    lab.submit(c.Produce("orders", "x", producer="app"))
    lab.advance(lab.now_us + SECOND_US)
    idle = lab.view().metrics
    assert idle[PRODUCER + "buffer-total-bytes,client-id=app"] == 40_000
    assert idle[PRODUCER + "buffer-available-bytes,client-id=app"] == 40_000
    lab.submit(c.SlowDisk("broker-1", 60_000))
    lab.submit(c.StartWorkload("load", "orders", producer="app", records_per_second=50, value_bytes=1_000))
    lab.advance(lab.now_us + 2 * SECOND_US)
    full = lab.view()
    assert full.metrics[PRODUCER + "buffer-available-bytes,client-id=app"] < 10_000
    assert full.metrics[PRODUCER + "waiting-threads,client-id=app"] == 1
    assert full.producers["app"].waiting_threads == 1
    assert full.producers["app"].failed == 0, "it waits"
    lab.advance(lab.now_us + 5 * SECOND_US)
    over = lab.view()
    assert "BufferExhaustedException" in over.producers["app"].last_error
    assert over.metrics[PRODUCER + "buffer-exhausted-rate,client-id=app"] > 0
    lab.submit(c.StopWorkload("load"))
    lab.submit(c.SlowDisk("broker-1", 0))
    lab.advance(lab.now_us + 130 * SECOND_US)
    assert lab.view().metrics[PRODUCER + "buffer-available-bytes,client-id=app"] == 40_000


def test_quotas_are_measured_per_broker_and_client() -> None:
    lab = Lab(ClusterSpec(topics=(TopicSpec("orders", 1, 3, {}, [[1, 2, 3]]),)), seed=5)
    lab.submit(c.AlterQuota(None, "", {"producer_byte_rate": 5_000}))
    lab.submit(c.StartWorkload("load", "orders", producer="app", records_per_second=20, value_bytes=1_000))
    lab.advance(lab.now_us + 40 * SECOND_US)
    view = lab.view()
    assert view.metrics["kafka.server:type=Produce,name=byte-rate,client-id=app,broker=1"] == pytest.approx(5_000, rel=0.6)
    assert view.metrics["kafka.server:type=Produce,name=throttle-time,client-id=app,broker=1"] > 0
    assert view.metrics[PRODUCER + "produce-throttle-time-avg,client-id=app"] > 0
    assert view.producers["app"].throttled_until_us > lab.now_us - 5 * SECOND_US
    (shown,) = view.security.quotas
    assert (shown.user, shown.client_id, shown.limits) == (None, "", {"producer_byte_rate": 5_000})
    (usage,) = view.security.usage
    assert (usage.broker, usage.client_id, usage.limit) == (1, "app", 5_000)


def test_looking_changes_nothing() -> None:
    one, other = busy_lab(), busy_lab()
    for lab in (one, other):
        lab.submit(c.AlterQuota(None, "app", {"producer_byte_rate": 5_000}))
    for second in range(30):
        one.advance(one.now_us + SECOND_US)
        other.advance(other.now_us + SECOND_US)
        if second % 3 == 0:
            one.view()
    assert one.kernel.trace == other.kernel.trace
    assert one.view() == other.view()


def test_acls_and_users_are_shown() -> None:
    lab = Lab(ClusterSpec(broker_configs=BROKERS_ALL), seed=5)
    assert lab.view().security.authorizer
    lab.submit(c.CreateAcl("User:alice", "read", "topic", "orders"))
    lab.submit(c.AlterUser("alice", "secret"))
    lab.advance(lab.now_us + SECOND_US)
    shown = lab.view().security
    assert [(acl.principal, acl.operation, acl.resource_name) for acl in shown.acls] == [("User:alice", "read", "orders")]
    assert shown.users == ["alice"]
    assert not Lab(ClusterSpec(), seed=5).view().security.authorizer


def test_the_controller_counts_topics_and_partitions() -> None:
    found = Lab(ClusterSpec(topics=(TopicSpec("orders", 3, 3), TopicSpec("payments", 2, 3))), seed=5).view().metrics
    assert found[CONTROLLER + "GlobalTopicCount"] == 2
    assert found[CONTROLLER + "GlobalPartitionCount"] == 5
    assert found[CONTROLLER + "PreferredReplicaImbalanceCount"] == 0
    assert found[REPLICA_MANAGER + "ReassigningPartitions"] == 0
    assert found[REPLICA_MANAGER + "OfflineReplicaCount"] == 0


def test_groups_are_counted_by_protocol_and_state() -> None:
    found: dict[str, float] = {}
    add_group_metrics(found, {}, {})
    assert not found, "a lab without groups shows nothing of them"
    groups = {
        name: GroupView(name, kind, "range", state, 1, 1)
        for name, kind, state in (
            ("a", "classic", "Stable"), ("b", "classic", "PreparingRebalance"), ("c", "consumer", "Reconciling"), ("d", "share", "Empty"),
        )
    }  # fmt: skip
    groups["a"].offsets = [GroupOffsetView("orders", 0, 5, 9, 4), GroupOffsetView("orders", 1, -1, 9, -1)]
    consumers = {
        "member": ConsumerView("member", {"group.id": "a"}, [PositionView("orders", 0, 1, 1, 0)]),
        "lone": ConsumerView("lone", {}, []),
    }
    add_group_metrics(found, groups, consumers)
    assert found[GROUP_METADATA + "NumGroups"] == 2
    assert found[GROUP_METADATA + "NumGroupsStable"] == found[GROUP_METADATA + "NumGroupsPreparingRebalance"] == 1
    assert found[GROUP_METADATA + "NumOffsets"] == 1
    assert found[GROUP_COORDINATOR + "group-count,protocol=classic"] == 2
    assert found[GROUP_COORDINATOR + "consumer-group-count,state=reconciling"] == 1
    assert [name for name in found if "client-id=" in name] == [CONSUMER_COORDINATOR + "assigned-partitions,client-id=member"]


def test_a_transaction_that_hangs_is_late_after_the_longest_timeout_and_five_minutes() -> None:
    topics = Lab(ClusterSpec(topics=(TopicSpec("orders", 1, 1),)), seed=5).view().topics
    topics["orders"].partitions["0"].open_transactions = [OpenTransactionView(7, 0, 3, 0)]
    for minutes, late in ((19, 0), (21, 1)):
        found: dict[str, float] = {}
        add_late_transactions(found, topics, {}, minutes * 60 * SECOND_US)
        assert found[LATE_TRANSACTIONS] == late
