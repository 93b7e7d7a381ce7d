"""KIP-392: a leader sends a consumer to the in-sync follower in its rack, and a follower serves it up to its own high watermark."""

from __future__ import annotations

from engine import commands as c
from engine.broker.node import BrokerNode
from engine.lab import Lab
from engine.messages.base import TopicPartition
from engine.messages.fetch import FetchItem, FetchRequest, FetchResponse, FetchResult
from engine.sim.outbox import SEND
from engine.spec import ClusterSpec, TopicSpec

ORDERS = TopicPartition("orders", 0)
SELECTOR = {"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"}
SECOND_US = 1_000_000


def cluster(configs: dict[str, str] | None = None) -> Lab:
    topic = TopicSpec("orders", 1, 3, {}, [[1, 2, 3]])
    lab = Lab(ClusterSpec(3, 1, (topic,), SELECTOR if configs is None else configs, ("a", "b", "b")), 1)
    lab.submit(c.Produce("orders", "x", count=3))
    lab.advance(lab.now_us + 2 * SECOND_US)
    return lab


def fetch(lab: Lab, broker: int, rack: str, offset: int = 0, max_wait_ms: int = 0) -> FetchResult | None:
    """The broker's answer to a consumer that stands in ``rack``; None where it waits."""
    host = lab.kernel.hosts[f"broker-{broker}"]
    assert host.node is not None
    epoch = lab.view().topics["orders"].partitions["0"].leader_epoch
    request = FetchRequest(7, -1, -1, max_wait_ms, 1, 10**6, (FetchItem(ORDERS, "", offset, epoch),), rack_id=rack)
    out = lab.kernel._outbox(host, 0)
    host.node.handle("reader", request, out)
    answers = [body for kind, _, body, _, _ in out.effects if kind == SEND and isinstance(body, FetchResponse)]
    return answers[0].results[0] if answers else None


def test_the_leader_names_the_replica_in_the_consumers_rack_and_sends_no_records() -> None:
    lab = cluster()
    found = fetch(lab, 1, "b")
    assert found is not None
    assert found.preferred_read_replica == 3, "both followers in rack b have come equally far: the greater ID"
    assert not found.batches


def test_in_its_own_rack_and_for_racks_without_a_replica_the_leader_serves() -> None:
    lab = cluster()
    for rack in ("a", "elsewhere", ""):
        found = fetch(lab, 1, rack)
        assert found is not None
        assert found.preferred_read_replica == -1
        assert found.batches


def test_without_the_selector_the_leader_serves() -> None:
    found = fetch(cluster({}), 1, "b")
    assert found is not None
    assert found.preferred_read_replica == -1
    assert found.batches


def test_a_follower_serves_up_to_the_high_watermark_that_it_knows() -> None:
    lab = cluster()
    found = fetch(lab, 3, "b")
    assert found is not None
    assert found.error == "NONE"
    assert found.batches
    lab.submit(c.CutNetwork("broker-3", "broker-1"))
    lab.submit(c.Produce("orders", "later"))
    lab.advance(lab.now_us + SECOND_US)
    at_its_end = fetch(lab, 3, "b", found.high_watermark)
    assert at_its_end is not None
    assert not at_its_end.batches
    assert at_its_end.error == "NONE"
    beyond = fetch(lab, 3, "b", 10)
    assert beyond is not None
    assert beyond.error == "OFFSET_OUT_OF_RANGE"


def test_a_replica_that_fell_out_of_the_isr_is_not_named() -> None:
    lab = cluster()
    lab.submit(c.KillNode("broker-3"))
    lab.advance(lab.now_us + 12 * SECOND_US)
    found = fetch(lab, 1, "b")
    assert found is not None
    assert found.preferred_read_replica == 2


def test_a_fetch_that_waits_at_a_follower_is_woken_by_its_high_watermark() -> None:
    lab = cluster()
    assert fetch(lab, 3, "b", 3, 30_000) is None
    node = lab.kernel.hosts["broker-3"].node
    assert "reader" in node.parked_fetches  # type: ignore[union-attr]
    lab.submit(c.Produce("orders", "later"))
    lab.advance(lab.now_us + SECOND_US)
    assert "reader" not in node.parked_fetches  # type: ignore[union-attr]


def served_by(lab: Lab) -> list[int]:
    """The brokers that have sent a consumer anything within the last minute."""
    found = lab.view().metrics
    name = "kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec,broker="
    return [broker for broker in (1, 2, 3) if found.get(f"{name}{broker}", 0) > 0]


def test_a_consumer_reads_from_its_rack_and_goes_elsewhere_when_that_dies() -> None:
    lab = cluster()
    lab.submit(c.CreateConsumer("reader", ["orders"], {"client.rack": "b", "auto.offset.reset": "earliest"}))
    lab.submit(c.StartWorkload("load", "orders", records_per_second=20))
    lab.advance(lab.now_us + 20 * SECOND_US)
    assert served_by(lab) == [3]
    for victim, left in (("broker-3", [2]), ("broker-2", [1])):
        lab.submit(c.KillNode(victim))
        lab.advance(lab.now_us + 90 * SECOND_US)
        assert served_by(lab) == left
        view = lab.view()
        behind = view.producers["producer"].acknowledged - view.consumers["reader"].consumed
        assert abs(behind) < 20, "nothing is missed on the way"


def test_the_leader_learns_that_a_followers_own_retention_has_moved_its_log_start() -> None:
    """Or it would send a consumer for ever to a replica that no longer has what it asks for."""
    topic = TopicSpec("orders", 1, 3, {"segment.ms": "1000", "retention.ms": "2000"}, [[1, 2, 3]])
    lab = Lab(ClusterSpec(3, 1, (topic,), {**SELECTOR, "log.retention.check.interval.ms": "1000"}, ("a", "b", "b")), 1)
    for _ in range(8):
        lab.submit(c.Produce("orders", "x"))
        lab.advance(lab.now_us + 3 * SECOND_US)
    lab.advance(lab.now_us + 9 * SECOND_US)
    leader, follower = lab.kernel.hosts["broker-1"].node, lab.kernel.hosts["broker-3"].node
    assert isinstance(leader, BrokerNode)
    assert isinstance(follower, BrokerNode)
    start = follower.partitions[ORDERS].log.log_start_offset
    assert start > 0
    assert leader.partitions[ORDERS].followers[3].log_start_offset == start
    found = fetch(lab, 1, "b")
    assert found is not None
    assert found.preferred_read_replica == -1, "neither follower has it"
