"""Facts 1 to 4, 6, 10 and 11: what lies on the brokers' disks."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine import events as e
from engine.errors import EngineError
from engine.log.record_batch import check_crc, decode, read_header
from engine.metadata.configs import TOPIC_CONFIGS
from tests.engine.facts.scene import Scene

MIB = 1024 * 1024
VALUE = "v" * 10_000


def segments_on_disk(scene: Scene, broker: int, partition: int = 0) -> dict[str, bytes]:
    disk = scene.lab.kernel.hosts[f"broker-{broker}"].disk
    return {path: disk.read(path) for path in disk.listing(f"orders-{partition}/") if path.endswith(".log")}


def batches_of(content: bytes) -> list[bytes]:
    found = []
    while content:
        size = 12 + int.from_bytes(content[8:12], "big")
        found.append(content[:size])
        content = content[size:]
    return found


def fill(scene: Scene, mib: float, **configs: str) -> None:
    """About so many MiB in batches of some 100 KB."""
    given = {"batch.size": "100000", "linger.ms": "20", **{key.replace("_", "."): value for key, value in configs.items()}}
    name = f"filler-{scene.lab.kernel.next_event_id}"
    scene.do(c.CreateProducer(name, given))
    for _ in range(round(mib * 10)):
        scene.do(c.Produce("orders", VALUE, producer=name, partition=0, count=10))
        scene.wait(0.2)
    scene.wait(1)


def test_fact_01_a_batch_is_v2_the_broker_assigns_offset_and_epoch_outside_the_crc_and_every_replica_holds_the_same_bytes() -> None:
    scene = Scene()
    scene.produce("a")
    scene.produce("b")
    scene.do(c.KillNode("broker-1"))
    scene.wait_until(lambda: scene.partition().leader == 2)
    scene.produce("c")
    files = segments_on_disk(scene, 2)
    assert files == segments_on_disk(scene, 3)
    batches = batches_of(next(iter(files.values())))
    headers = [read_header(batch) for batch in batches]
    assert [batch[16] for batch in batches] == [2, 2, 2]  # magic
    assert [header.base_offset for header in headers] == [0, 1, 2]
    assert [header.partition_leader_epoch for header in headers] == [0, 0, 1]
    assert all(check_crc(batch) for batch in batches)
    moved = (99).to_bytes(8, "big") + batches[0][8:12] + (7).to_bytes(4, "big") + batches[0][16:]
    assert check_crc(moved)
    assert not check_crc(batches[0][:-1] + bytes([batches[0][-1] ^ 1]))


def test_fact_02_segments_roll_by_bytes_on_every_replica_alike() -> None:
    scene = Scene({"segment.bytes": str(MIB)})
    fill(scene, 2.4)
    bases = [[segment.base_offset for segment in scene.replica(broker).segments] for broker in (1, 2, 3)]
    assert len(bases[0]) == 3
    assert bases[0] == bases[1] == bases[2]
    assert all(segment.size_bytes <= MIB for segment in scene.replica(1).segments)
    assert TOPIC_CONFIGS["segment.bytes"].default == str(1024 * MIB)


def test_fact_02_less_than_a_mebibyte_is_refused() -> None:
    scene = Scene()
    mark = scene.do(c.AlterConfig("topic", "orders", {"segment.bytes": str(MIB - 1)}))
    scene.wait(1)
    assert [result[1] for result in scene.first(e.AdminAnswered, mark)[1].results] == ["INVALID_CONFIG"]


def test_fact_02_segments_roll_by_the_time_between_records_and_only_when_one_is_appended() -> None:
    scene = Scene({"segment.ms": "5000"})
    scene.produce("a")
    scene.wait(60)
    assert len(scene.replica(1).segments) == 1  # time alone rolls nothing
    scene.produce("b")
    assert [segment.base_offset for segment in scene.replica(1).segments] == [0, 1]


def test_fact_02_a_full_index_rolls_a_segment() -> None:
    scene = Scene({"segment.index.bytes": "80", "index.interval.bytes": "1000"})  # ten entries of eight bytes
    fill(scene, 1.5)
    assert len(scene.replica(1).segments) > 1


def test_fact_03_nothing_is_synced_by_default_durability_comes_from_replication() -> None:
    assert TOPIC_CONFIGS["flush.messages"].default == TOPIC_CONFIGS["flush.ms"].default == str(2**63 - 1)
    scene = Scene()
    scene.produce("a")
    assert scene.acknowledged() == 1
    for broker in (1, 2, 3):
        disk = scene.view.nodes[f"broker-{broker}"].disk
        assert disk is not None
        assert disk.unsynced_bytes > 0
    scene.do(c.LosePower("broker-1"))
    scene.wait_until(lambda: scene.partition().leader == 2)
    # two others hold it, in their page caches; the reader first waits 10 s (socket.connection.setup.timeout.ms) for a dead machine
    assert scene.read_all(wait=15) == ["a"]


def test_fact_03_acknowledged_by_all_and_lost_when_all_lose_power_at_once() -> None:
    scene = Scene()
    scene.produce("a")
    for broker in (1, 2, 3):
        scene.do(c.LosePower(f"broker-{broker}"))
    for broker in (1, 2, 3):
        scene.do(c.StartNode(f"broker-{broker}"))
    scene.wait(30)
    assert scene.read_all() == []


def test_fact_03_killed_processes_lose_nothing_the_page_cache_is_the_machines() -> None:
    scene = Scene()
    scene.produce("a")
    for broker in (1, 2, 3):
        scene.do(c.KillNode(f"broker-{broker}"))
    for broker in (1, 2, 3):
        scene.do(c.StartNode(f"broker-{broker}"))
    scene.wait(30)
    assert scene.read_all() == ["a"]


def test_fact_03_a_roll_and_a_clean_stop_sync() -> None:
    scene = Scene({"segment.bytes": str(MIB)})
    fill(scene, 1.2)
    disk = scene.lab.kernel.hosts["broker-1"].disk
    rolled, active = sorted(segments_on_disk(scene, 1))
    assert disk.files[rolled].synced == disk.files[rolled].size
    assert disk.files[active].synced < disk.files[active].size
    scene.do(c.StopNode("broker-1"))
    scene.wait(5)
    assert disk.files[active].synced == disk.files[active].size


def test_fact_04_after_a_torn_write_the_log_is_cut_at_the_last_whole_batch_and_fetched_again() -> None:
    scene = Scene()
    for value in ("a", "b", "c"):
        scene.produce(value)
    mark = scene.do(c.LosePower("broker-3", torn=True))
    scene.do(c.StartNode("broker-3"))
    scene.wait(0.001)
    recovered = scene.first(e.LogRecovered, mark)[1]
    assert not recovered.clean
    assert recovered.log_end_offset < 3
    scene.wait(20)
    assert segments_on_disk(scene, 3) == segments_on_disk(scene, 1)


def test_fact_04_the_log_is_cut_at_the_first_bad_crc_and_the_indexes_are_rebuilt() -> None:
    scene = Scene()
    for value in ("a", "b", "c"):
        scene.produce(value)
    mark = scene.do(c.KillNode("broker-3"), c.CorruptDisk("broker-3", "orders", 0), c.StartNode("broker-3"))
    recovered = scene.first(e.LogRecovered, mark - 2)[1]
    assert (recovered.log_end_offset, recovered.clean) == (2, False)
    assert recovered.bytes_truncated > 0
    scene.wait(20)
    assert scene.replica(3).log_end_offset == 3
    assert segments_on_disk(scene, 3) == segments_on_disk(scene, 1)


def test_fact_04_a_clean_stop_needs_no_recovery() -> None:
    scene = Scene()
    scene.produce("a")
    scene.do(c.StopNode("broker-3"))
    scene.wait(5)
    mark = scene.do(c.StartNode("broker-3"))
    scene.wait(20)
    assert not scene.happened(e.LogRecovered, mark)
    assert scene.partition().isr == [1, 2, 3]


def test_fact_06_size_retention_leaves_at_least_retention_bytes_and_so_the_log_exceeds_it() -> None:
    scene = Scene({"segment.bytes": str(MIB), "retention.bytes": str(2 * MIB)})
    fill(scene, 4.6)
    before = len(scene.replica(1).segments)
    scene.wait(300)
    deleted = scene.first(e.SegmentsDeleted, broker=1)[1]
    replica = scene.replica(1)
    assert len(replica.segments) < before
    assert replica.log_start_offset == deleted.log_start_offset > 0
    assert replica.size_bytes > 2 * MIB
    assert replica.size_bytes - replica.segments[0].size_bytes < 2 * MIB  # one segment less would be too few bytes


def test_fact_06_even_the_active_segment_expires_once_all_of_it_is_committed() -> None:
    scene = Scene({"retention.ms": "1000"})
    scene.produce("a")
    scene.wait(330)
    replica = scene.replica(1)
    assert (replica.log_start_offset, replica.log_end_offset) == (1, 1)
    assert scene.read_all() == []


def test_fact_06_what_is_not_committed_is_never_deleted() -> None:
    scene = Scene({"retention.ms": "1000", "min.insync.replicas": "2"})
    scene.do(c.KillNode("broker-2"), c.KillNode("broker-3"))
    scene.wait_until(lambda: scene.partition().isr == [1])
    scene.produce("above the high watermark", acks="1")
    scene.wait(700)
    assert (scene.replica(1).log_start_offset, scene.replica(1).log_end_offset) == (0, 1)
    scene.do(c.StartNode("broker-2"))
    scene.wait(330)
    assert scene.replica(1).log_start_offset == 1


def test_fact_10_a_record_older_than_the_topic_allows_is_refused_and_by_default_any_age_is_accepted() -> None:
    assert TOPIC_CONFIGS["message.timestamp.type"].default == "CreateTime"
    assert TOPIC_CONFIGS["message.timestamp.after.max.ms"].default == str(3_600_000)
    assert TOPIC_CONFIGS["message.timestamp.before.max.ms"].default == str(2**63 - 1)
    scene = Scene({"message.timestamp.before.max.ms": "3000"})
    scene.produce("warm up")
    scene.do(c.DegradeNetwork("app-all", "broker-1", delay_ms=4000))
    mark = scene.do(c.Produce("orders", "slow", producer="app-all"))
    scene.wait(10)
    assert scene.first(e.ProduceRefused, mark)[1].error == "INVALID_TIMESTAMP"
    scene.do(c.AlterConfig("topic", "orders", remove=["message.timestamp.before.max.ms"]))
    scene.wait(1)
    scene.do(c.Produce("orders", "slow", producer="app-all"))
    scene.wait(10)
    assert scene.partition().log_end_offset == 2


def test_fact_10_the_timestamp_is_the_producers_unless_the_topic_says_otherwise() -> None:
    stamps = {}
    for kind in ("CreateTime", "LogAppendTime"):
        scene = Scene({"message.timestamp.type": kind})
        scene.produce("warm up")
        scene.do(c.DegradeNetwork("app-all", "broker-1", delay_ms=500))
        sent_ms = scene.lab.kernel.epoch_ms + scene.lab.now_us // 1000
        scene.do(c.Produce("orders", "x", producer="app-all"))
        scene.wait(3)
        batch = batches_of(next(iter(segments_on_disk(scene, 1).values())))[-1]
        stamps[kind] = next(iter(decode(batch))).timestamp_ms - sent_ms
    assert stamps["CreateTime"] == 0
    assert 500 <= stamps["LogAppendTime"] < 600


@pytest.mark.parametrize("limit", ["max.partition.fetch.bytes", "fetch.max.bytes"])
def test_fact_11_a_batch_larger_than_the_limits_comes_all_the_same(limit: str) -> None:
    scene = Scene()
    scene.produce("x" * 5000, "y" * 5000, "z")
    scene.do(c.CreateConsumer("small", ["orders"], {"auto.offset.reset": "earliest", limit: "100"}))
    scene.wait(3)
    assert scene.view.consumers["small"].consumed == 3


def test_fact_11_a_follower_too() -> None:
    scene = Scene(broker_configs={"replica.fetch.max.bytes": "100", "replica.fetch.response.max.bytes": "100"})
    scene.produce("x" * 5000, "y" * 5000)
    assert scene.acknowledged() == 2
    assert [scene.replica(broker).log_end_offset for broker in (1, 2, 3)] == [2, 2, 2]


def test_fact_02_a_bad_segment_size_in_a_specification_is_refused_by_name() -> None:
    with pytest.raises(EngineError, match=r"segment\.bytes"):
        Scene({"segment.bytes": "1000"})
