"""Facts 5, 7, 8 and 9: what becomes of old records, by time, by key, and on request."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine import events as e
from engine.broker.node import BrokerNode
from engine.events import AdminAnswered, LogCleaned, LogStartOffsetAdvanced, SegmentsDeleted
from engine.log.partition_log import PartitionLog
from engine.log.record_batch import Record, decode, read_header
from engine.messages.base import TopicPartition
from engine.metadata.configs import BROKER_CONFIGS, TOPIC_CONFIGS
from engine.view.tree import CleanerView
from tests.engine.facts.scene import SECOND_US, Scene

COMPACT = {"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"}
ORDERS_0 = TopicPartition("orders", 0)


def put(scene: Scene, *records: tuple[str, str | None], wait: float = 0.5) -> None:
    """Each record in a batch of its own; a producer that has no sequence numbers, so that nothing is kept for its sake."""
    if "app" not in scene.view.nodes:
        scene.do(c.CreateProducer("app", {"enable.idempotence": "false"}))
    for key, value in records:
        scene.do(c.Produce("orders", value, key, "app", 0))
        scene.wait(wait)


def roll(scene: Scene) -> None:
    """The next record begins a new segment."""
    scene.wait(1.1)
    put(scene, ("roll", str(scene.lab.now_us)))


def log_of(scene: Scene, broker: int) -> PartitionLog:
    node = scene.lab.kernel.hosts[f"broker-{broker}"].node
    assert isinstance(node, BrokerNode)
    return node.partitions[ORDERS_0].log


def batches(scene: Scene, broker: int) -> list[bytes]:
    return [entry.data for segment in log_of(scene, broker).segments for entry in segment.batches]


def records(scene: Scene, broker: int) -> list[Record]:
    found = [record for data in batches(scene, broker) for record in decode(data)]
    return [record for record in found if record.key != b"roll"]


def shown(scene: Scene, broker: int) -> list[tuple[int, str, str | None]]:
    return [(r.offset, (r.key or b"").decode(), None if r.value is None else r.value.decode()) for r in records(scene, broker)]


def cleaner(scene: Scene, broker: int = 1) -> CleanerView:
    found = scene.replica(broker).cleaner
    assert found is not None
    return found


# -- fact 5 -------------------------------------------------------------------------------------------------------------


def test_fact_05_a_segment_goes_when_its_largest_timestamp_is_retention_ms_old_and_a_check_comes_by() -> None:
    scene = Scene({"retention.ms": "60000", "segment.ms": "1000"})
    scene.produce("a")
    scene.wait(2)
    scene.produce("b")
    written = scene.now_s
    scene.wait_until(lambda: bool(scene.happened(SegmentsDeleted, broker=1)), within_s=700, step_ms=1000)
    at_s, deleted = scene.first(SegmentsDeleted, broker=1)
    assert at_s >= written + 57
    assert (deleted.reason, deleted.log_start_offset) == ("retention.ms", 2)
    assert (TOPIC_CONFIGS["retention.ms"].default, BROKER_CONFIGS["log.retention.check.interval.ms"].default) == (
        "604800000",
        "300000",
    )


def test_fact_05_a_timestamp_from_the_future_pins_a_segment() -> None:
    scene = Scene({"retention.ms": "60000", "segment.ms": "60000"})
    scene.produce("old")
    log = log_of(scene, 1)
    future_ms = scene.lab.kernel.epoch_ms + 3_000_000
    scene.do(c.CreateTopic("clock", 1, 1))
    for broker in (1, 2, 3):  # what a client with a clock 50 minutes ahead leaves behind
        segment = log_of(scene, broker).active_segment
        segment.max_timestamp = future_ms
    scene.wait(1200)
    assert not scene.happened(SegmentsDeleted, topic="orders")
    assert log.log_start_offset == 0
    scene.wait(2400)
    assert scene.first(SegmentsDeleted, topic="orders", broker=1)[0] > 3_060


# -- fact 7 -------------------------------------------------------------------------------------------------------------


def test_fact_07_of_each_key_the_latest_record_stays_at_its_own_offset_on_every_replica() -> None:
    scene = Scene(COMPACT)
    put(scene, ("a", "1"), ("b", "1"), ("a", "2"), ("a", "3"))
    roll(scene)
    scene.wait(40)
    assert [shown(scene, broker) for broker in (1, 2, 3)] == [[(1, "b", "1"), (3, "a", "3")]] * 3
    cleaned = scene.happened(LogCleaned)
    assert {happening.event.broker for happening in cleaned} == {1, 2, 3}  # type: ignore[attr-defined]
    assert len({happening.at_us for happening in cleaned}) == len(cleaned)  # each in its own time
    assert scene.replica(1).log_end_offset == 5
    assert scene.read_all()[:2] == ["1", "3"]


def test_fact_07_never_the_active_segment() -> None:
    scene = Scene({**COMPACT, "segment.ms": "600000"})
    put(scene, *[("a", str(number)) for number in range(10)])
    scene.wait(120)
    assert not scene.happened(LogCleaned)
    assert len(records(scene, 1)) == 10
    assert cleaner(scene).segments == ["active"]


def test_fact_07_never_past_the_high_watermark() -> None:
    scene = Scene({**COMPACT, "min.insync.replicas": "2"})
    put(scene, ("a", "1"), ("a", "2"))
    roll(scene)
    scene.do(c.KillNode("broker-2"), c.KillNode("broker-3"))
    scene.wait_until(lambda: scene.partition().isr == [1])
    scene.do(c.CreateProducer("hasty", {"acks": "1"}))
    for number in range(6):
        scene.do(c.Produce("orders", f"uncommitted {number}", "a", "hasty", 0))
        scene.wait(1.5)
    scene.wait(120)
    assert scene.partition().high_watermark == 3
    assert len(shown(scene, 1)) == 7  # 1 of the two was cleaned away, none of the six
    assert cleaner(scene).first_uncleanable_offset <= 3


def test_fact_07_nothing_younger_than_min_compaction_lag_ms() -> None:
    scene = Scene({**COMPACT, "min.compaction.lag.ms": "120000"})
    put(scene, ("a", "1"), ("a", "2"))
    roll(scene)
    scene.wait(100)
    assert not scene.happened(LogCleaned)
    assert cleaner(scene).segments == ["waiting", "active"] or "waiting" in cleaner(scene).segments
    scene.wait(60)
    assert scene.happened(LogCleaned, broker=1)
    assert shown(scene, 1) == [(1, "a", "2")]


def test_fact_07_the_cleaner_waits_for_min_cleanable_dirty_ratio() -> None:
    scene = Scene({"cleanup.policy": "compact", "segment.ms": "1000"})
    for _ in range(3):
        put(scene, *[(f"k{number}", "v") for number in range(6)])
        scene.wait(1.2)
    roll(scene)
    scene.wait(20)
    first = scene.first(LogCleaned, broker=1)[1]
    assert first.first_dirty_offset == 0
    end = cleaner(scene).first_dirty_offset
    put(scene, ("k0", "new"))
    roll(scene)
    scene.wait(60)
    assert 0 < cleaner(scene).dirty_ratio <= 0.5
    assert cleaner(scene).first_dirty_offset == end  # not dirty enough
    scene.do(c.AlterConfig("topic", "orders", {"min.cleanable.dirty.ratio": "0.1"}))
    scene.wait(20)
    assert cleaner(scene).first_dirty_offset > end
    assert TOPIC_CONFIGS["min.cleanable.dirty.ratio"].default == "0.5"
    assert BROKER_CONFIGS["log.cleaner.backoff.ms"].default == "15000"


def test_fact_07_a_record_without_a_key_is_refused() -> None:
    scene = Scene(COMPACT)
    scene.produce("no key")
    assert scene.first(e.ProduceRefused)[1].error == "INVALID_RECORD"
    assert scene.view.producers["app-all"].failed == 1
    assert scene.replica(1).log_end_offset == 0


@pytest.mark.parametrize(("policy", "rolls"), [("compact", True), ("delete", False)])
def test_fact_07_max_compaction_lag_ms_rolls_the_active_segment_and_overrules_the_ratio(policy: str, rolls: bool) -> None:
    scene = Scene({"cleanup.policy": policy, "max.compaction.lag.ms": "60000", "min.cleanable.dirty.ratio": "0.99"})
    put(scene, ("a", "1"), ("a", "2"))
    scene.wait(61)
    put(scene, ("a", "3"))
    assert (len(scene.replica(1).segments) == 2) is rolls
    scene.wait(70)
    assert bool(scene.happened(LogCleaned, broker=1)) is rolls
    assert shown(scene, 1) == ([(1, "a", "2"), (2, "a", "3")] if rolls else [(0, "a", "1"), (1, "a", "2"), (2, "a", "3")])


def test_fact_07_compact_and_delete_does_both() -> None:
    scene = Scene({**COMPACT, "cleanup.policy": "compact,delete", "retention.ms": "60000"})
    put(scene, ("a", "1"), ("a", "2"), ("b", "1"))
    roll(scene)
    scene.wait(20)
    assert shown(scene, 1) == [(1, "a", "2"), (2, "b", "1")]
    scene.wait(90)
    assert shown(scene, 1) == []
    assert scene.first(SegmentsDeleted, broker=1)[1].reason == "retention.ms"


def test_fact_07_compaction_alone_keeps_what_is_old() -> None:
    scene = Scene({**COMPACT, "retention.ms": "1000"})
    put(scene, ("a", "1"))
    roll(scene)
    scene.wait(700)
    assert not scene.happened(SegmentsDeleted)
    assert shown(scene, 1) == [(0, "a", "1")]


def test_fact_07_the_clean_point_survives_a_restart() -> None:
    scene = Scene(COMPACT)
    put(scene, ("a", "1"), ("a", "2"))
    roll(scene)
    scene.wait(20)
    end = cleaner(scene, 3).first_dirty_offset
    assert end > 0
    scene.do(c.KillNode("broker-3"))
    scene.wait(1)
    scene.do(c.StartNode("broker-3"))
    scene.wait(20)
    assert cleaner(scene, 3).first_dirty_offset == end
    assert not scene.happened(LogCleaned, scene.happened(e.NodeStarted, name="broker-3")[-1].id, broker=3)


def test_fact_07_a_broker_killed_in_the_middle_of_a_clean_loses_nothing() -> None:
    scene = Scene(COMPACT, broker_configs={"log.cleaner.io.max.bytes.per.second": "100"})
    put(scene, *[("a", str(number)) for number in range(8)])
    roll(scene)
    scene.wait_until(lambda: any(".cleaned" in path for path in scene.lab.kernel.hosts["broker-1"].disk.files))
    assert cleaner(scene).cleaning
    scene.do(c.KillNode("broker-1"))
    scene.wait(1)
    scene.do(c.StartNode("broker-1"))
    scene.wait_until(lambda: bool(scene.happened(LogCleaned, broker=1)), within_s=120)
    assert not [path for path in scene.lab.kernel.hosts["broker-1"].disk.files if path.endswith((".cleaned", ".swap"))]
    assert shown(scene, 1)[-1] == (7, "a", "7")
    scene.do(c.ElectLeader("preferred"))
    assert "7" in scene.read_all()


# -- facts 8 and 9 ------------------------------------------------------------------------------------------------------


def test_fact_08_a_tombstone_gets_its_horizon_from_the_first_clean_and_goes_with_a_clean_after_it() -> None:
    scene = Scene({**COMPACT, "delete.retention.ms": "100000"})
    put(scene, ("a", "1"), ("a", None))
    roll(scene)
    scene.wait(20)
    assert shown(scene, 1) == [(1, "a", None)]
    first = scene.first(LogCleaned, broker=1)[0]
    stamped = read_header(batches(scene, 1)[0]).delete_horizon_ms
    assert stamped is not None
    assert 99_990 <= stamped - scene.lab.kernel.epoch_ms - first * 1000 <= 100_010
    roll(scene)
    scene.wait(60)
    assert shown(scene, 1) == [(1, "a", None)]  # cleaned again, but not yet its time
    scene.wait(60)
    assert shown(scene, 1) == [(1, "a", None)]  # its time is over, but nothing is dirty, so nothing is cleaned
    roll(scene)
    roll(scene)
    scene.wait(30)
    assert shown(scene, 1) == []
    assert sum(happening.event.tombstones_removed for happening in scene.happened(LogCleaned, broker=1)) == 1  # type: ignore[attr-defined]
    assert TOPIC_CONFIGS["delete.retention.ms"].default == str(24 * 3_600_000)


def test_fact_09_a_producers_last_batch_stays_empty_and_its_next_record_is_in_order() -> None:
    scene = Scene(COMPACT)
    scene.do(c.CreateProducer("steady", {}), c.Produce("orders", "1", "a", "steady", 0))
    scene.wait(1)
    put(scene, ("a", "2"))
    roll(scene)
    scene.wait(40)
    headers = [read_header(data) for data in batches(scene, 1)]
    assert (headers[0].base_offset, headers[0].record_count, headers[0].producer_id >= 0) == (0, 0, True)
    for broker in (1, 2, 3):
        scene.do(c.KillNode(f"broker-{broker}"), c.StartNode(f"broker-{broker}"))
        scene.wait(15)
    scene.do(c.Produce("orders", "3", "a", "steady", 0))
    scene.wait(30)
    assert scene.view.producers["steady"].failed == 0
    assert scene.view.producers["steady"].acknowledged == 2
    assert shown(scene, 1)[-1][2] == "3"


# -- DeleteRecords ------------------------------------------------------------------------------------------------------


def results(scene: Scene, call: int) -> list[tuple[str, str, str]]:
    found = scene.happened(AdminAnswered, call_id=call)
    return list(found[0].event.results) if found else []  # type: ignore[attr-defined]


def test_delete_records_answers_once_every_live_replica_begins_there() -> None:
    scene = Scene()
    scene.produce("a", "b", "c")
    call = scene.do(c.DeleteRecords("orders", 0, 2))
    scene.wait_until(lambda: bool(results(scene, call)), step_ms=1)
    assert results(scene, call) == [("orders-0", "NONE", "low_watermark: 2")]
    assert {scene.replica(broker).log_start_offset for broker in (1, 2, 3)} == {2}
    reasons = [happening.event.reason for happening in scene.happened(LogStartOffsetAdvanced)]  # type: ignore[attr-defined]
    assert sorted(reasons) == ["client delete records request", "leader offset increment", "leader offset increment"]
    assert scene.read_all() == ["c"]
    assert all("DeleteRecords" in scene.roots(happening) for happening in scene.happened(LogStartOffsetAdvanced, broker=1))


def test_delete_records_waits_for_a_silent_replica_until_it_is_fenced() -> None:
    scene = Scene()
    scene.produce("a", "b", "c")
    scene.do(c.PauseNode("broker-2"))
    call = scene.do(c.DeleteRecords("orders", 0, -1))
    scene.wait(5)
    assert not results(scene, call)
    assert scene.replica(1).log_start_offset == 3  # gone for readers at once
    scene.wait_until(lambda: bool(results(scene, call)), within_s=20)
    assert results(scene, call) == [("orders-0", "NONE", "low_watermark: 3")]


@pytest.mark.parametrize(
    ("configs", "offset", "error"), [({}, 4, "OFFSET_OUT_OF_RANGE"), ({"cleanup.policy": "compact"}, 1, "POLICY_VIOLATION")]
)
def test_delete_records_is_refused_beyond_the_high_watermark_and_where_the_policy_does_not_delete(
    configs: dict[str, str], offset: int, error: str
) -> None:
    scene = Scene(configs)
    put(scene, ("a", "1"), ("b", "2"), ("c", "3"))
    call = scene.do(c.DeleteRecords("orders", 0, offset))
    scene.wait(1)
    assert results(scene, call)[0][1] == error
    assert scene.replica(1).log_start_offset == 0


def test_delete_records_throws_a_reader_out_of_range() -> None:
    scene = Scene()
    scene.produce("a", "b", "c")
    scene.do(c.CreateConsumer("slow", [], {"auto.offset.reset": "latest"}), c.AssignConsumer("slow", "orders", [0]))
    scene.wait(1)
    scene.do(c.PauseConsumer("slow"), c.SeekConsumer("slow", "orders", 0, 0))
    scene.wait(1)
    call = scene.do(c.DeleteRecords("orders", 0, 2))
    scene.wait(2)
    assert results(scene, call)
    scene.do(c.PauseConsumer("slow", False))
    scene.wait(2)
    moved = scene.happened(e.ConsumerPositioned, consumer="slow")[-1].event
    assert isinstance(moved, e.ConsumerPositioned)
    assert (moved.offset, "out of range" in moved.reason) == (3, True)


def test_delete_records_frees_the_disk_when_whole_segments_lie_before_the_log_start() -> None:
    scene = Scene({"segment.ms": "1000"})
    put(scene, ("a", "1"), wait=1.5)
    put(scene, ("a", "2"), wait=1.5)
    put(scene, ("a", "3"))
    assert len(scene.replica(1).segments) == 3
    scene.do(c.DeleteRecords("orders", 0, 2))
    scene.wait(330)
    deleted = scene.first(SegmentsDeleted, broker=1)[1]
    assert (deleted.reason, deleted.segments) == ("log start offset", 2)
    assert len(scene.replica(1).segments) == 1
    assert scene.lab.now_us > 300 * SECOND_US
