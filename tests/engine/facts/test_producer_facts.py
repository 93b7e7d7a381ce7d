"""Facts 28 to 31 and 33, 34: where records go, when they go, and what a retry may do. Fact 32 lies in test_idempotence_facts."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from engine import commands as c
from engine import events as e
from engine.check.ledger import LedgerTracker
from engine.clients.partitioner import consistent_partition, partition_for_key
from engine.errors import EngineError
from tests.engine.facts.scene import SECOND_US, Scene


def warm_up(scene: Scene, name: str = "producer") -> None:
    """Lets a producer connect, learn the metadata and get its producer ID."""
    scene.do(c.Produce("orders", "warm up", producer=name, partition=0))
    scene.wait(1)


def partition_of(scene: Scene, since: int) -> int:
    return scene.first(e.ProduceSent, since)[1].partition


# -- 28: keys ------------------------------------------------------------------------------------------------------------------------------


def test_fact_28_a_key_goes_to_murmur2_modulo_partitions_every_time() -> None:
    scene = Scene(partitions=6)
    warm_up(scene)
    went: dict[str, set[int]] = {}
    for _ in range(2):
        for key in ("alice", "bob", "carol", "dave", "erin"):
            mark = scene.do(c.Produce("orders", "v", key=key))
            scene.wait(0.1)
            went.setdefault(key, set()).add(partition_of(scene, mark))
    assert went == {key: {partition_for_key(key.encode(), 6)} for key in went}
    # org.apache.kafka.common.utils.UtilsTest: murmur2("foobar") = -790332482, made positive by the mask
    assert partition_for_key(b"foobar", 6) == (-790332482 & 0x7FFFFFFF) % 6


def test_fact_28_adding_partitions_sends_known_keys_elsewhere() -> None:
    scene = Scene(partitions=3)
    warm_up(scene)
    keys = [f"key-{n}" for n in range(20)]

    def where() -> dict[str, int]:
        found = {}
        for key in keys:
            mark = scene.do(c.Produce("orders", "v", key=key))
            scene.wait(0.05)
            found[key] = partition_of(scene, mark)
        return found

    before = where()
    scene.do(c.AddPartitions("orders", 5))
    scene.wait(301)  # the producer learns of them when its metadata grows old (metadata.max.age.ms)
    after = where()
    assert {key for key in keys if before[key] != after[key]}
    assert max(after.values()) > 2
    assert scene.partition(before["key-0"]).log_end_offset > 0  # what was written stays where it is


def test_fact_28_librdkafka_sends_the_same_key_elsewhere_by_default() -> None:
    keys = [f"key-{n}".encode() for n in range(100)]
    differ = [key for key in keys if consistent_partition(key, 6) != partition_for_key(key, 6)]
    assert len(differ) > 60


# -- 29: no key ------------------------------------------------------------------------------------------------------------------------------


def keyless(scene: Scene, count: int, value: str, name: str = "app", **configs: str) -> list[e.ProduceSent]:
    """``count`` keyless records through one producer, one every 2 ms: its batches in order."""
    given = {key.replace("_", "."): text for key, text in configs.items()}
    scene.do(c.CreateProducer(name, given))
    scene.wait(1)
    mark = scene.lab.kernel.next_event_id - 1
    for _ in range(count):
        scene.do(c.Produce("orders", value, producer=name))
        scene.lab.advance(scene.lab.now_us + 2_000)
    scene.wait(2)
    return [happening.event for happening in scene.happened(e.ProduceSent, mark, producer=name)]


def test_fact_29_keyless_records_stick_to_a_partition_for_about_batch_size_bytes() -> None:
    scene = Scene(partitions=4)
    batches = keyless(scene, 600, "x" * 200)
    assert sum(batch.record_count for batch in batches) == 600
    runs: list[tuple[int, int]] = []
    for batch in batches:
        if runs and runs[-1][0] == batch.partition:
            runs[-1] = (batch.partition, runs[-1][1] + batch.record_count)
        else:
            runs.append((batch.partition, batch.record_count))
    # 600 records of some 208 bytes: a run of one partition is 16,384 bytes, that is some 75 records (or a multiple, where the next
    # choice falls on the same partition), and many small batches leave meanwhile, since linger.ms is 5
    assert len(batches) > 3 * len(runs)
    assert all(count % 78 >= 60 or count >= 60 for _, count in runs[:-1]), runs
    assert len(runs) < 12  # round-robin would make 600
    assert {batch.partition for batch in batches} > {runs[0][0]}


def test_fact_29_a_smaller_batch_size_moves_on_sooner() -> None:
    scene = Scene(partitions=4)
    few = keyless(scene, 200, "x" * 200, "large")
    many = keyless(scene, 200, "x" * 200, "small", batch_size="1024")

    def changes(batches: list[e.ProduceSent]) -> int:
        return sum(1 for one, other in pairwise(batches) if one.partition != other.partition)

    assert changes(many) > 5 * max(changes(few), 1)


def test_fact_29_over_time_the_partitions_get_equal_shares() -> None:
    scene = Scene(partitions=4)
    counts = Counter[int]()
    for batch in keyless(scene, 4000, "x" * 100, batch_size="1000"):
        counts[batch.partition] += batch.record_count
    assert sorted(counts) == [0, 1, 2, 3]
    assert max(counts.values()) < 1.35 * min(counts.values())


def share_of_a_slow_partition(adaptive: str) -> float:
    """Partition 2 lies behind a slow link, where batches queue up; its share of the records, 1 being fair."""
    scene = Scene()
    scene.do(c.CreateTopic("spread", assignments=[[1], [2], [3]]))
    configs = {"batch.size": "1000", "acks": "1", "partitioner.adaptive.partitioning.enable": adaptive}
    scene.do(c.CreateProducer("app", {**configs, "max.in.flight.requests.per.connection": "1"}))
    scene.do(c.Produce("spread", "warm up", producer="app"))
    scene.wait(1)
    scene.do(c.DegradeNetwork("app", "broker-3", delay_ms=100))
    scene.do(c.StartWorkload("steady", "spread", "app", records_per_second=300))
    scene.wait(30)
    scene.do(c.StopWorkload("steady"))
    scene.do(c.HealNetwork())
    scene.wait(10)
    counts = Counter[int]()
    for happening in scene.happened(e.ProduceSent, topic="spread"):
        counts[happening.event.partition] += happening.event.record_count
    return 3 * counts[2] / sum(counts.values())


def test_fact_29_a_partition_with_a_long_queue_gets_less() -> None:
    assert share_of_a_slow_partition(adaptive="true") < 0.7
    assert share_of_a_slow_partition(adaptive="false") > 0.9


# -- 30 and 31: configuration ------------------------------------------------------------------------------------------------------------------


def test_fact_30_defaults() -> None:
    scene = Scene()
    scene.do(c.CreateProducer("app"))
    scene.wait(0.1)
    configs = scene.view.producers["app"].configs
    expected = {
        "acks": "all",
        "enable.idempotence": "true",
        "linger.ms": "5",
        "batch.size": "16384",
        "buffer.memory": str(32 * 1024 * 1024),
        "max.block.ms": "60000",
        "delivery.timeout.ms": "120000",
        "max.in.flight.requests.per.connection": "5",
        "retries": str(2**31 - 1),
        "compression.type": "none",
    }
    assert {name: configs[name] for name in expected if name in configs} == {
        name: expected[name] for name in expected if name in configs
    }
    node = scene.lab.kernel.hosts["app"].node
    assert {name: node.configs[name] for name in expected} == expected  # type: ignore[union-attr]


def test_fact_30_linger_5_ms_gathers_records_into_one_batch() -> None:
    scene = Scene()
    scene.produce("warm up")
    mark = scene.do(c.Produce("orders", "a", producer="app-all"))
    scene.wait(0.003)
    scene.do(c.Produce("orders", "b", producer="app-all"))
    scene.wait(1)
    sent = scene.happened(e.ProduceSent, mark)
    assert [happening.event.record_count for happening in sent] == [2]
    given = scene.lab.happening(mark)
    assert given is not None
    assert sent[0].at_us - given.at_us == 5_000


def test_fact_30_delivery_timeout_2_min_bounds_all_retries() -> None:
    scene = Scene()
    scene.produce("warm up")
    mark = scene.do(
        c.KillNode("broker-1"), c.KillNode("broker-2"), c.KillNode("broker-3"), c.Produce("orders", "x", producer="app-all")
    )
    given = scene.lab.happening(mark)
    scene.wait(150)
    failed = scene.happened(e.RecordsFailed, mark)
    assert len(failed) == 1
    assert given is not None
    assert (failed[0].at_us - given.at_us) / SECOND_US == pytest.approx(120, abs=0.1)
    assert "120" in failed[0].event.error


def test_fact_30_an_unknown_topic_blocks_send_for_60_s() -> None:
    scene = Scene(broker_configs={"auto.create.topics.enable": "false"})
    mark = scene.do(c.Produce("nowhere", "x"))
    begin = scene.lab.now_us
    scene.wait(70)
    refused = scene.happened(e.SendRefused, mark)
    assert len(refused) == 1
    assert (refused[0].at_us - begin) / SECOND_US == pytest.approx(60, abs=0.1)


def test_fact_31_acks_1_switches_the_default_off_without_a_word() -> None:
    scene = Scene()
    scene.do(c.CreateProducer("quiet", {"acks": "1"}))
    mark = scene.do(c.Produce("orders", "a", producer="quiet"))
    scene.wait(1)
    assert scene.view.producers["quiet"].configs["enable.idempotence"] == "false"
    assert scene.view.producers["quiet"].producer_id == -1
    assert scene.first(e.ProduceSent, mark)[1].base_sequence == -1
    assert not scene.happened(e.ProducerIdAssigned)


@pytest.mark.parametrize(
    ("configs", "field"),
    [
        ({"acks": "1", "enable.idempotence": "true"}, "acks"),
        ({"acks": "0", "enable.idempotence": "true"}, "acks"),
        ({"retries": "0", "enable.idempotence": "true"}, "retries"),
        ({"max.in.flight.requests.per.connection": "6", "enable.idempotence": "true"}, "max.in.flight.requests.per.connection"),
        ({"max.in.flight.requests.per.connection": "6"}, "max.in.flight.requests.per.connection"),
    ],
)
def test_fact_31_asking_for_both_is_an_error_and_so_is_idempotence_with_more_than_5_in_flight(
    configs: dict[str, str], field: str
) -> None:
    scene = Scene()
    with pytest.raises(EngineError) as refusal:
        scene.do(c.CreateProducer("app", configs))
    assert refusal.value.field == field
    assert "app" not in scene.view.nodes


# -- 33 and 34: what retries do ----------------------------------------------------------------------------------------------


def lose_the_answer(scene: Scene, name: str, value: str) -> None:
    """The request of ``name`` reaches broker 1 and is written; its answer vanishes, and the producer tries again."""
    scene.do(c.CutNetwork("broker-1", name, one_way=True))
    scene.do(c.Produce("orders", value, producer=name, partition=0))
    scene.wait(1)
    assert scene.partition().log_end_offset == 2
    scene.do(c.HealNetwork("broker-1", name))


def test_fact_33_idempotence_recognises_the_producers_own_retry() -> None:
    scene = Scene()
    scene.do(c.CreateProducer("app", {"request.timeout.ms": "5000"}))
    warm_up(scene, "app")
    lose_the_answer(scene, "app", "twice sent")
    scene.wait(10)
    assert scene.view.producers["app"].retries >= 1
    assert len(scene.happened(e.DuplicateRecognised)) >= 1
    assert scene.read_all() == ["warm up", "twice sent"]


def test_fact_33_without_idempotence_the_same_retry_is_written_twice() -> None:
    scene = Scene()
    scene.do(c.CreateProducer("app", {"request.timeout.ms": "5000", "enable.idempotence": "false"}))
    warm_up(scene, "app")
    lose_the_answer(scene, "app", "twice sent")
    scene.wait(10)
    assert scene.read_all() == ["warm up", "twice sent", "twice sent"]


def test_fact_33_an_application_that_sends_again_writes_again() -> None:
    scene = Scene()
    scene.do(c.Produce("orders", "order 17"), c.Produce("orders", "order 17"))
    scene.wait(1)
    assert scene.read_all() == ["order 17", "order 17"]


def test_fact_33_a_restarted_producer_is_another_producer() -> None:
    scene = Scene()
    scene.do(c.CreateProducer("app", {"request.timeout.ms": "5000"}))
    warm_up(scene, "app")
    lose_the_answer(scene, "app", "order 17")
    old = scene.view.producers["app"].producer_id
    scene.do(c.KillNode("app"), c.StartNode("app"))
    scene.do(c.Produce("orders", "order 17", producer="app"))  # it cannot know that the first one was written
    scene.wait(5)
    assert scene.view.producers["app"].producer_id > old
    assert scene.read_all() == ["warm up", "order 17", "order 17"]
    assert not scene.happened(e.DuplicateRecognised)


def reordered(**configs: str) -> tuple[int, int]:
    """(retries, records written behind one that was sent later). Batches follow each other closely over a slow link while the ISR
    returns to its minimum: of those in flight the first are refused (NOT_ENOUGH_REPLICAS), the rest accepted."""
    scene = Scene({"min.insync.replicas": "2"}, replicas=(1, 2), brokers=2)
    scene.do(c.CreateProducer("app", {"linger.ms": "0", **{key.replace("_", "."): value for key, value in configs.items()}}))
    scene.do(c.Produce("orders", "warm up", producer="app"))
    scene.wait(1)
    scene.do(c.KillNode("broker-2"))
    scene.wait_until(lambda: scene.partition().isr == [1])
    scene.do(c.DegradeNetwork("app", "broker-1", delay_ms=150))
    scene.do(c.StartWorkload("steady", "orders", "app", records_per_second=40))
    scene.wait(1)
    scene.do(c.StartNode("broker-2"))
    scene.wait(12)
    scene.do(c.StopWorkload("steady"))
    scene.wait(5)
    producer = scene.view.producers["app"]
    assert (producer.acknowledged, producer.failed) == (producer.sent, 0)
    tracker = LedgerTracker()
    tracker.update(scene.lab)
    return producer.retries, tracker.snapshot().totals["reordered"]


def test_fact_34_without_idempotence_and_with_several_in_flight_a_retry_reorders() -> None:
    retries, count = reordered(enable_idempotence="false")
    assert retries > 0
    assert count > 0


def test_fact_34_one_in_flight_keeps_the_order() -> None:
    retries, count = reordered(enable_idempotence="false", max_in_flight_requests_per_connection="1")
    assert retries > 0
    assert count == 0


def test_fact_34_idempotence_keeps_the_order_with_five_in_flight() -> None:
    retries, count = reordered()
    assert retries > 0
    assert count == 0
