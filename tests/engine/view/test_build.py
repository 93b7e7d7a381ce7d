"""The view of a live cluster tells what the cluster itself would."""

from __future__ import annotations

import msgspec
import pytest

from engine import commands as c
from engine import limits
from engine.check.bench import busy_lab
from engine.errors import EngineError
from engine.lab import Lab
from engine.messages import cluster, fetch, produce
from engine.messages.base import TopicPartition
from engine.spec import ClusterSpec, TopicSpec
from engine.view.build import MIN_TAIL
from engine.view.diff import apply, diff
from engine.view.flights import label
from engine.view.microscope import RECORDS_PER_PAGE, batch_bytes, served_records
from engine.view.tree import PartitionView, View

SPEC = ClusterSpec(topics=(TopicSpec("orders", 3, 3, {"min.insync.replicas": "2"}),))
ORDERS = TopicPartition("orders", 0)


@pytest.fixture
def lab() -> Lab:
    return Lab(SPEC, seed=2)


def wait(lab: Lab, seconds: float) -> None:
    lab.advance(lab.now_us + int(seconds * 1_000_000))


def part(view: View, number: int = 0) -> PartitionView:
    return view.topics["orders"].partitions[str(number)]


def test_a_new_cluster_is_all_in_sync(lab: Lab) -> None:
    view = lab.view()
    assert {name: node.status for name, node in view.nodes.items()} == dict.fromkeys(
        ("controller-101", "controller-102", "controller-103", "broker-1", "broker-2", "broker-3"), "up"
    )
    assert [part(view, number).status for number in range(3)] == ["ok"] * 3
    assert {log.state for log in part(view).logs.values()} == {"in sync"}
    assert view.quorum.leader in (101, 102, 103)
    assert sum(view.nodes[f"broker-{broker}"].leader_count for broker in (1, 2, 3)) == 3
    assert view.topics["orders"].configs == {"min.insync.replicas": "2"}
    assert part(view).min_isr == 2


def test_a_killed_leader_is_seen_at_once_and_its_replica_is_offline_with_its_bytes(lab: Lab) -> None:
    lab.submit(c.Produce("orders", "a", partition=0))
    wait(lab, 3)
    leader = part(lab.view()).leader
    lab.submit(c.KillNode(f"broker-{leader}"))
    view = lab.view()
    assert view.nodes[f"broker-{leader}"].status == "down"
    offline = part(view).logs[str(leader)]
    assert (offline.role, offline.state, offline.log_end_offset) == ("offline", "offline", -1)
    assert offline.size_bytes > 0
    assert part(view).leader == leader, "nobody has noticed yet"
    wait(lab, 12)
    view = lab.view()
    assert part(view).leader != leader
    assert leader not in part(view).isr
    assert part(view).status == "at-min-isr"
    assert view.nodes[f"broker-{leader}"].fenced


def test_offsets_of_the_leader_stand_for_the_partition(lab: Lab) -> None:
    lab.submit(c.Produce("orders", "{n}", partition=0, count=7))
    wait(lab, 3)
    shown = part(lab.view())
    assert (shown.log_start_offset, shown.high_watermark, shown.last_stable_offset, shown.log_end_offset) == (0, 7, 7, 7)
    tail = shown.logs[str(shown.leader)].tail
    assert sum(batch.records for batch in tail) == 7
    assert tail[-1].last_offset == 6


def test_the_tail_is_the_newest_batches_in_order(lab: Lab) -> None:
    lab.submit(c.CreateProducer("app", {"linger.ms": "0"}))
    for _ in range(limits.MAX_LOG_TAIL_SHOWN + 5):
        lab.submit(c.Produce("orders", "x", producer="app", partition=0))
        wait(lab, 0.05)
    wait(lab, 3)
    shown = part(lab.view())
    tail = shown.logs[str(shown.leader)].tail
    assert MIN_TAIL <= len(tail) <= limits.MAX_LOG_TAIL_SHOWN
    assert [batch.base_offset for batch in tail] == sorted(batch.base_offset for batch in tail)
    assert tail[-1].last_offset == shown.log_end_offset - 1


def test_messages_in_flight_are_labelled_and_bounded(lab: Lab) -> None:
    lab.submit(c.Produce("orders", "hello", partition=0))
    seen: set[str] = set()
    for _ in range(4_000):
        lab.advance(lab.now_us + 200)
        flying = lab.view().in_flight
        assert len(flying) <= limits.MAX_IN_FLIGHT_SHOWN
        assert all(flight.sent_us <= lab.now_us <= flight.arrives_us for flight in flying)
        seen |= {flight.label for flight in flying}
    assert "Produce 1 record" in seen
    assert "Ack orders-0@0" in seen
    assert any(text.startswith("1 record of orders-0") for text in seen)


def test_labels_name_what_travels() -> None:
    one = fetch.FetchRequest(1, 2, 3, 500, 1, 1_000, (fetch.FetchItem(ORDERS, "id", 5),))
    assert label(one) == "Fetch orders-0@5"
    assert label(fetch.FetchResponse(1, ())) == "Nothing new"
    assert (
        label(produce.ProduceResponse(1, (produce.ProduceResult(ORDERS, "NOT_ENOUGH_REPLICAS"),)))
        == "orders-0: NOT_ENOUGH_REPLICAS"
    )
    item = cluster.AlterPartitionItem(ORDERS, "id", 1, 2, (cluster.BrokerState(1, 9), cluster.BrokerState(3, 9)))
    assert label(cluster.AlterPartitionRequest(1, 1, 9, (item,))) == "Alter ISR of orders-0 to 1,3"
    assert label(cluster.BrokerRegistrationRequest(1, 1, "a", "", -1)) == "Broker registration"


def test_a_cut_link_is_shown_until_it_heals(lab: Lab) -> None:
    lab.submit(c.CutNetwork("broker-1", "broker-2"))
    assert set(lab.view().links) == {"broker-1>broker-2", "broker-2>broker-1"}
    lab.submit(c.HealNetwork())
    assert lab.view().links == {}


def test_clients_show_their_configuration_and_their_place(lab: Lab) -> None:
    lab.submit(c.CreateProducer("app", {"acks": "1"}))
    lab.submit(c.CreateConsumer("reader", ["orders"], {"auto.offset.reset": "earliest"}))
    lab.submit(c.Produce("orders", "a", key="k", producer="app", partition=1))
    wait(lab, 3)
    view = lab.view()
    assert view.producers["app"].configs["acks"] == "1"
    assert view.producers["app"].acknowledged == 1
    positions = {position.partition: position.position for position in view.consumers["reader"].positions}
    assert positions == {0: 0, 1: 1, 2: 0}
    assert view.consumers["reader"].last[-1].value == "a"
    lab.submit(c.KillNode("app"))
    assert lab.view().nodes["app"].status == "down"


def test_two_views_and_their_patch_agree(lab: Lab) -> None:
    lab.submit(c.StartWorkload("work", "orders", records_per_second=50))
    old = msgspec.to_builtins(lab.view())
    for _ in range(10):
        wait(lab, 0.3)
        new = msgspec.to_builtins(lab.view())
        assert apply(old, diff(old, new)) == new
        old = new


def test_a_push_stays_near_25_kb_where_everything_moves() -> None:
    lab = busy_lab()
    lab.advance(lab.now_us + 3_000_000)
    old = msgspec.to_builtins(lab.view())
    lab.advance(lab.now_us + 100_000)
    assert len(msgspec.json.encode(diff(old, msgspec.to_builtins(lab.view())))) < 25_600


def test_looking_changes_nothing(lab: Lab) -> None:
    lab.submit(c.StartWorkload("work", "orders", records_per_second=50))
    wait(lab, 2)
    twin = lab.fork()
    for _ in range(5):
        lab.view()
    wait(lab, 2)
    twin.advance(lab.now_us)
    assert twin.trace_hash() == lab.trace_hash()
    assert twin.digest() == lab.digest()


def test_the_microscope_shows_bytes_spans_and_records(lab: Lab) -> None:
    lab.submit(c.Produce("orders", "value-{n}", key="k", partition=0, count=RECORDS_PER_PAGE + 10))
    wait(lab, 3)
    leader = part(lab.view()).leader
    seen = batch_bytes(lab.kernel, ORDERS, 3, leader)
    assert (seen.base_offset, seen.last_offset, seen.record_count) == (0, RECORDS_PER_PAGE + 9, RECORDS_PER_PAGE + 10)
    assert len(seen.records) == RECORDS_PER_PAGE
    assert (seen.records[0].key, seen.records[0].value) == ("k", "value-1")
    assert seen.spans[0].name == "baseOffset"
    assert bytes.fromhex(seen.hex)[16] == 2, "magic"
    assert len(batch_bytes(lab.kernel, ORDERS, 3, leader, first_record=RECORDS_PER_PAGE).records) == 10
    assert [record.value for record in served_records(lab.kernel, ORDERS, 1, 2, 0)] == [b"value-2", b"value-3"]


@pytest.mark.parametrize(
    ("partition", "offset", "broker", "field"),
    [(ORDERS, 99, 1, "offset"), (ORDERS, 0, 9, "broker"), (TopicPartition("nothing", 0), 0, 1, "partition")],
)
def test_the_microscope_says_what_is_not_there(lab: Lab, partition: TopicPartition, offset: int, broker: int, field: str) -> None:
    with pytest.raises(EngineError) as refusal:
        batch_bytes(lab.kernel, partition, offset, broker)
    assert refusal.value.field == field


def test_a_static_min_insync_replicas_of_the_brokers_counts() -> None:
    lab = Lab(ClusterSpec(topics=(TopicSpec("orders", 1, 3),), broker_configs={"min.insync.replicas": "2"}), 1)
    assert lab.view().topics["orders"].partitions["0"].min_isr == 2
