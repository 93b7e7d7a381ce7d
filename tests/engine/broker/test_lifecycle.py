"""Boot, recovery, checkpoints, controlled shutdown, retention, a full disk, partitions that go."""

from __future__ import annotations

from engine.events import (
    FollowerStarted,
    LeaderStarted,
    LogDirectoryFailed,
    LogRecovered,
    NodeStopped,
    ReplicaTruncated,
    SegmentRolled,
    SegmentsDeleted,
)
from engine.messages.cluster import BrokerHeartbeatRequest, BrokerRegistrationRequest
from engine.messages.instructions import BeginShutdown
from engine.metadata.records import BrokerRegistrationChange
from engine.sim.checkpoint import copy_tree, dump, load
from tests.engine.broker.harness import MS, SECOND, World


def three() -> World:
    world = World()
    world.topic((1, 2, 3))
    return world


def registrations(world: World, broker_id: int) -> list[BrokerRegistrationRequest]:
    asked = [request for request in world.controller.requests if isinstance(request, BrokerRegistrationRequest)]
    return [request for request in asked if request.broker_id == broker_id]


def test_leader_and_followers_learn_their_part() -> None:
    world = three()
    assert [(event.broker, event.leader_epoch) for event in world.events(LeaderStarted)] == [(1, 0)]
    assert sorted(event.broker for event in world.events(FollowerStarted)) == [2, 3]


def test_fact_26_heartbeats_come_every_2_s() -> None:
    world = three()
    world.controller.requests.clear()
    world.run(20 * SECOND)
    beats = [
        request for request in world.controller.requests if isinstance(request, BrokerHeartbeatRequest) and request.broker_id == 1
    ]
    assert 9 <= len(beats) <= 11


def test_a_killed_broker_recovers_its_log_and_registers_as_unclean() -> None:
    world = three()
    world.produced(1, b"a")
    world.run(SECOND)
    world.kill(2)
    world.run(SECOND)
    world.boot(2)
    world.run(2 * SECOND)
    recovered = world.events(LogRecovered)
    assert [(event.broker, event.clean, event.log_end_offset, event.bytes_truncated) for event in recovered] == [(2, False, 1, 0)]
    first, second = registrations(world, 2)
    assert second.previous_broker_epoch == -1
    assert first.incarnation_id != second.incarnation_id
    world.run(2 * SECOND)
    assert world.replica(2).log.log_end_offset == 1
    assert world.produced(1, b"b") == ("NONE", 1)


def test_fact_4_a_corrupt_batch_is_cut_off_and_fetched_again() -> None:
    world = three()
    world.produced(1, b"a")
    world.produced(1, b"b")
    world.kill(2)
    path = "orders-0/00000000000000000000.log"
    world.kernel.corrupt_disk("broker-2", path, world.kernel.hosts["broker-2"].disk.size(path) - 1, 0)
    world.boot(2)
    world.run(5 * SECOND)
    event = world.events(LogRecovered)[0]
    assert event.bytes_truncated > 0
    assert event.log_end_offset == 1
    assert world.replica(2).log.read(0, 1 << 20) == world.replica(1).log.read(0, 1 << 20)


def test_controlled_shutdown_waits_for_leave_and_leaves_a_clean_marker() -> None:
    world = three()
    world.produced(1, b"a")
    world.run(SECOND)
    epoch = world.broker(2).broker_epoch
    world.controller.grant_shutdown = False
    world.kernel.instruct("broker-2", BeginShutdown(), 0)
    world.run(10 * SECOND)
    assert world.events(NodeStopped) == []
    world.controller.grant_shutdown = True
    world.run(3 * SECOND)
    assert [event.name for event in world.events(NodeStopped)] == ["broker-2"]
    disk = world.kernel.hosts["broker-2"].disk
    assert all(file.synced == file.size for path, file in disk.files.items() if path.startswith("orders-0"))
    world.boot(2)
    world.run(2 * SECOND)
    assert world.events(LogRecovered) == []
    assert registrations(world, 2)[-1].previous_broker_epoch == epoch
    assert not disk.exists(".kafka_cleanshutdown")


def test_controlled_shutdown_without_leave_ends_after_five_minutes() -> None:
    world = three()
    world.controller.grant_shutdown = False
    world.kernel.instruct("broker-2", BeginShutdown(), 0)
    world.run(299 * SECOND)
    assert world.events(NodeStopped) == []
    world.run(2 * SECOND)
    assert len(world.events(NodeStopped)) == 1


def test_the_high_watermark_checkpoint_survives_a_kill() -> None:
    world = three()
    world.produced(1, b"a")
    world.run(6 * SECOND)
    world.cut("broker-1", "broker-2")
    world.cut("broker-1", "broker-3")
    world.kill(1)
    world.boot(1)
    assert world.broker(1).partitions[next(iter(world.broker(1).partitions))].high_watermark == 1


def test_an_idle_broker_leaves_its_disk_alone() -> None:
    world = three()
    world.produced(1, b"a")
    world.run(70 * SECOND)
    disk = world.kernel.hosts["broker-1"].disk
    before = {path: id(file) for path, file in disk.files.items()}
    world.run(200 * SECOND)
    assert {path: id(file) for path, file in disk.files.items()} == before


def test_fact_6_retention_runs_every_five_minutes_and_rolls_what_has_expired() -> None:
    world = World()
    world.topic((1, 2, 3), configs={"retention.ms": "10000"})
    world.produced(1, b"a")
    world.run(40 * SECOND)
    assert {event.broker for event in world.events(SegmentsDeleted)} == {1, 2, 3}
    assert world.replica(1).log.log_start_offset == 1
    world.produced(1, b"b")
    world.run(250 * SECOND)
    assert world.replica(1).log.log_start_offset == 1
    world.run(60 * SECOND)
    assert world.replica(1).log.log_start_offset == 2


def test_fact_2_segments_roll_by_size_on_leader_and_follower() -> None:
    world = World()
    world.topic((1, 2, 3), configs={"segment.bytes": "1048576"})
    for _ in range(12):
        world.produced(1, b"x" * 100_000)
    assert {event.broker for event in world.events(SegmentRolled)} == {1, 2, 3}


def test_a_full_disk_takes_the_broker_down() -> None:
    world = three()
    world.kernel.fill_disk("broker-1", 0)
    assert world.produced(1, b"a") == ("KAFKA_STORAGE_ERROR", -1)
    assert len(world.events(LogDirectoryFailed)) == 1
    assert world.kernel.hosts["broker-1"].status == "down"
    assert not world.kernel.hosts["broker-1"].disk.exists(".kafka_cleanshutdown")


def test_a_full_disk_takes_a_follower_down() -> None:
    world = three()
    world.kernel.fill_disk("broker-2", 0)
    world.produced(1, b"a")
    assert world.kernel.hosts["broker-2"].status == "down"


def test_a_deleted_topic_leaves_nothing_behind() -> None:
    world = three()
    world.produced(1, b"a")
    world.delete_topic()
    world.run(SECOND)
    for broker_id in (1, 2, 3):
        assert world.broker(broker_id).partitions == {}
        assert world.broker(broker_id).fetchers == {}
        assert world.kernel.hosts[f"broker-{broker_id}"].disk.listing("orders-0/") == []
    assert world.produced(1, b"a") == ("UNKNOWN_TOPIC_OR_PARTITION", -1)


def test_a_replica_that_is_reassigned_away_is_deleted_and_a_new_one_copies() -> None:
    world = World(4)
    world.topic((1, 2, 3))
    world.produced(1, b"a")
    world.change(replicas=(1, 2, 3, 4), adding=(4,), removing=(3,))
    world.run(2 * SECOND)
    assert world.replica(4).log.log_end_offset == 1
    assert 4 in world.replica(1).isr
    world.change(replicas=(1, 2, 4), isr=(1, 2, 4), adding=(), removing=())
    world.run(2 * SECOND)
    assert list(world.broker(3).partitions) == []
    assert world.produced(1, b"b") == ("NONE", 1)


def test_an_out_of_range_follower_begins_at_the_leaders_log_start() -> None:
    world = World()
    world.topic((1, 2, 3), configs={"retention.ms": "10000"})
    world.kill(3)
    world.commit(BrokerRegistrationChange(3, world.controller.image.brokers[3].broker_epoch, fenced=True))
    world.change(isr=(1, 2))
    world.run(SECOND)
    world.produced(1, b"a")
    world.run(400 * SECOND)
    assert world.replica(1).log.log_start_offset == 1
    world.boot(3)
    world.run(5 * SECOND)
    log = world.replica(3).log
    assert (log.log_start_offset, log.log_end_offset) == (1, 1)
    assert world.events(ReplicaTruncated)[-1].broker == 3
    assert world.produced(1, b"b") == ("NONE", 1)


def test_requests_of_a_starting_broker_wait() -> None:
    world = three()
    world.run(SECOND)
    world.kill(1)
    world.boot(1)
    number = world.produce(1, b"a")
    assert not world.broker(1).serving
    world.run(5 * SECOND)
    assert world.answered(number) == ("NONE", 0)


def test_broker_state_is_a_tree_that_copies_and_stores() -> None:
    world = three()
    world.produced(1, b"a")
    world.pause(3)
    world.produce(1, b"b")
    world.fetch(1, 2, max_wait_ms=500)
    world.run(50 * MS)
    twin = copy_tree(world.kernel)
    stored = copy_tree(world.kernel)
    for broker_id in (1, 2, 3):
        host = stored.hosts[f"broker-{broker_id}"]
        host.node = load(dump(host.node))
    until = world.kernel.now + 40 * SECOND
    for kernel in (world.kernel, twin, stored):
        kernel.run(until)
    assert world.kernel.trace == twin.trace == stored.trace
