"""A producer against brokers that refuse, break, fall silent and move: what holds whatever they do."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clients.producer import ProducerNode
from engine.events import ProduceSent, RecordsAcknowledged, RecordsFailed, SendRefused
from engine.messages.base import TopicPartition
from engine.messages.instructions import SendRecords
from engine.sim.rng import Stream
from tests.engine.clients.harness import Cluster

TROUBLES = ("refuse", "break before", "break after", "after append", "move", "silence", "init")
PARTITIONS = [TopicPartition("orders", number) for number in range(4)]


def check_in_flight(cluster: Cluster) -> None:
    most = cluster.node.settings.max_in_flight_requests_per_connection
    for connection in cluster.node.connections.by_broker.values():
        assert sum(entry.kind == "produce" for entry in connection.in_flight) <= most
    assert cluster.node.sent == cluster.node.acknowledged + cluster.node.failed + cluster.node.buffered_records
    assert cluster.node.buffered_bytes >= 0


def run(configs: dict[str, str], seed: int, trouble_ppm: dict[str, int], *, records: int = 120, breaks: bool = True) -> Cluster:
    """Sends keyed, unkeyed and addressed records while the brokers misbehave, then lets everything settle."""
    node = ProducerNode("producer", (1, 2, 3), configs)
    cluster = Cluster(node, (1, 2, 3), {"orders": 4}, seed=seed)
    cluster.watch = check_in_flight
    cluster.trouble_ppm = trouble_ppm
    choice = Stream(seed ^ 0xABCDEF)
    number = 0
    while number < records:
        count = 1 + choice.below(12)
        key = b"key-%d" % choice.below(9) if choice.chance(500_000) else None
        partition = choice.below(4) if choice.chance(200_000) else -1
        cluster.instruct(SendRecords("orders", partition, tuple((key, b"%d" % (number + n), ()) for n in range(count)), number))
        number += count
        cluster.advance(cluster.now + choice.below(30_000))
        if breaks and choice.chance(50_000):
            cluster.disconnect(1 + choice.below(3))
    cluster.advance(cluster.now + 20_000_000)
    cluster.trouble_ppm = {}
    cluster.advance(cluster.now + 400_000_000)
    assert node.sent == number
    return cluster


def resolutions(cluster: Cluster) -> tuple[Counter[int], Counter[int]]:
    """(acknowledged, failed) record ids, each with how often."""
    newest: dict[int, tuple[int, ...]] = {}
    acknowledged: Counter[int] = Counter()
    failed: Counter[int] = Counter()
    for event in cluster.of(ProduceSent):
        if event.attempt == 1:
            newest[event.batch_id] = tuple(record.record_id for record in event.records)
    for event in cluster.of(RecordsAcknowledged):
        assert len(newest[event.batch_id]) == event.record_count
        acknowledged.update(newest[event.batch_id])
    for event in cluster.of(RecordsFailed):
        failed.update(newest.get(event.batch_id, ()))
    failed.update(event.record_id for event in cluster.of(SendRefused))
    return acknowledged, failed


rates = st.fixed_dictionaries({name: st.sampled_from([0, 50_000, 300_000]) for name in TROUBLES if name != "silence"})


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    trouble=rates,
    silence=st.sampled_from([0, 5_000]),
    batch_size=st.sampled_from(["0", "200", "16384"]),
)
def test_with_idempotence_each_record_lies_once_and_in_order(seed, trouble, silence, batch_size):
    """Without refusals *after* the append: while such a batch is retried, later ones may push it out of the broker's memory of five,
    and then it fails with OUT_OF_ORDER_SEQUENCE_NUMBER until it expires, in Kafka as here."""
    trouble = {**trouble, "after append": 0}
    configs = {"delivery.timeout.ms": "100000000", "batch.size": batch_size}
    cluster = run(configs, seed, {**trouble, "silence": silence})
    acknowledged, failed = resolutions(cluster)
    assert not failed
    assert set(acknowledged.values()) == {1}
    assert sum(acknowledged.values()) == cluster.node.sent
    for partition in PARTITIONS:
        values = [int(value) for value in cluster.partitions[partition].values()]
        assert values == sorted(set(values)), "a record doubled or out of order"
    assert not cluster.node.accumulator.batches
    assert cluster.node.buffered_bytes == 0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    trouble=rates,
    fatal=st.sampled_from([0, 30_000]),
    silence=st.sampled_from([0, 30_000]),
    configs=st.sampled_from(
        [
            {},
            {"delivery.timeout.ms": "30005"},
            {"acks": "1"},
            {"acks": "0"},
            {"acks": "1", "retries": "2"},
            {"max.in.flight.requests.per.connection": "1"},
            {"linger.ms": "0", "batch.size": "0"},
            {"batch.size": "200", "compression.type": "zstd"},
            {"buffer.memory": "40000", "max.block.ms": "20", "linger.ms": "50"},
        ]
    ),
)
def test_each_record_is_resolved_exactly_once_whatever_happens(seed, trouble, fatal, silence, configs):
    cluster = run(configs, seed, {**trouble, "fatal": fatal, "silence": silence})
    acknowledged, failed = resolutions(cluster)
    assert set(acknowledged.values()) | set(failed.values()) <= {1}
    assert not set(acknowledged) & set(failed)
    node = cluster.node
    assert sum(acknowledged.values()) == node.acknowledged
    assert node.acknowledged + node.failed == node.sent
    assert not node.accumulator.batches
    assert node.buffered_bytes == 0
    if node.settings.acks:
        written = {int(value) for partition in PARTITIONS for value in cluster.partitions[partition].values()}
        assert set(acknowledged) <= written


def test_without_idempotence_and_one_in_flight_order_holds_and_with_five_a_retry_reorders():
    def disorder(in_flight: str) -> int:
        found = 0
        for seed in range(12):
            configs = {"enable.idempotence": "false", "max.in.flight.requests.per.connection": in_flight, "linger.ms": "0"}
            cluster = run(configs, seed, {"refuse": 200_000}, breaks=False)
            for partition in PARTITIONS:
                values = [int(value) for value in cluster.partitions[partition].values()]
                found += values != sorted(values)
        return found

    assert disorder("1") == 0
    assert disorder("5") > 0


def test_the_same_seed_gives_the_same_events():
    trouble = {"refuse": 100_000, "break after": 50_000, "move": 50_000}
    assert run({}, 5, trouble).events == run({}, 5, trouble).events
    assert run({}, 5, trouble).events != run({}, 6, trouble).events
