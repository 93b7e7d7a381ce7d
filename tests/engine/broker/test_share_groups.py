"""KIP-932 share groups over real brokers: heartbeats, share fetches, acknowledgements, locks, the share coordinator, failovers."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from engine.broker.coordinators import partition_for
from engine.broker.share_channels import ShareKeyHere
from engine.broker.share_partition import SharePartition
from engine.coordination.consumer_group_records import TopicIdPartition
from engine.coordination.share_state import ShareKey, ShareStateShard
from engine.events import (
    AcquisitionLockExpired,
    ShareAcknowledged,
    ShareMemberAssigned,
    SharePartitionLoaded,
    ShareRecordsAcquired,
)
from engine.log.log_validator import AppendOrigin
from engine.log.record_batch import ControlRecordType, build_batch, build_end_txn_marker
from engine.messages.base import TopicPartition
from engine.messages.groups import (
    DescribeGroupRequest,
    DescribeGroupResponse,
    OffsetAndMetadata,
    OffsetCommitRequest,
    OffsetCommitResponse,
)
from engine.messages.share_groups import (
    AcknowledgementBatch,
    ShareAcknowledgeRequest,
    ShareAcknowledgeResponse,
    ShareFetchRequest,
    ShareFetchResponse,
    ShareFetchResult,
    ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
)
from engine.metadata.records import Config, PartitionChange
from engine.view.groups import group_views
from tests.engine.broker.group_world import GroupWorld
from tests.engine.broker.harness import MS, SECOND, topic_id

STATE = "__share_group_state"
GROUP = "sharers"
ZERO = TopicPartition("orders", 0)
Acks = tuple[tuple[int, int, str], ...]


class ShareWorld(GroupWorld):
    """orders-0 is led by broker 1; the share state of the group lies where its hash says."""

    def __init__(self, reset: str = "earliest", **settings: str) -> None:
        super().__init__()
        self.topic((2, 3, 1), (3, 1, 2), name=STATE, configs={"min.insync.replicas": "2"})
        given = {"share.auto.offset.reset": reset, **{name.replace("_", "."): value for name, value in settings.items()}}
        self.commit(*[Config("group", GROUP, name, value) for name, value in given.items()])
        self.add_client("app")
        self.run(100 * MS)

    def share(self, broker: int = 1, partition: TopicPartition = ZERO) -> SharePartition:
        return self.broker(broker).share.partitions[ShareKeyHere(GROUP, partition)]

    def state_partition(self) -> tuple[int, int]:
        """(number, leader) of the partition of ``__share_group_state`` that keeps orders-0."""
        image = self.controller.image.topics[STATE]
        key = ShareKey(GROUP, TopicIdPartition(topic_id("orders"), 0))
        number = partition_for(key.coordinator_key(), len(image.partitions))
        return number, image.partitions[number].leader

    def durable(self) -> tuple[int, list[tuple[int, int, str, int]]]:
        """(start offset, batches) as the share coordinator has them."""
        number, leader = self.state_partition()
        shard = self.replica(leader, TopicPartition(STATE, number)).shard
        assert shard is not None
        assert isinstance(shard.state, ShareStateShard)
        state = shard.state.states[ShareKey(GROUP, TopicIdPartition(topic_id("orders"), 0))]
        return state.start_offset, [(b.first_offset, b.last_offset, b.state, b.delivery_count) for b in state.batches]


@dataclass
class Sharer:
    world: ShareWorld
    name: str
    epoch: int = 0
    assigned: tuple[TopicPartition, ...] = ()
    session: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world.add_client(self.name)

    @property
    def member_id(self) -> str:
        return f"{self.name}-id"

    def heartbeat(self, epoch: int | None = None, topics: tuple[str, ...] | None = None) -> ShareGroupHeartbeatResponse:
        number = self.world.next_number()
        given = self.epoch if epoch is None else epoch
        request = ShareGroupHeartbeatRequest(number, GROUP, self.member_id, given, topics, self.name)
        self.world.send(self.world.coordinator(GROUP), request, self.name)
        self.world.run(30 * MS)
        answer = self.world.answer(number, self.name)
        assert isinstance(answer, ShareGroupHeartbeatResponse), f"{self.name} still waits"
        if answer.error == "NONE":
            self.epoch = answer.member_epoch
            if answer.assignment is not None:
                self.assigned = answer.assignment
        return answer

    def join(self) -> None:
        """Until it has been assigned something."""
        assert self.heartbeat(0, ("orders",)).error == "NONE"
        for _ in range(4):
            self.world.run(1 * SECOND)
            self.heartbeat()

    def ask_fetch(
        self,
        epoch: int | None = None,
        acks: Acks = (),
        wait_ms: int = 500,
        most: int = 500,
        broker: int = 1,
        partition: TopicPartition = ZERO,
    ) -> int:
        number = self.world.next_number()
        given = self.session.get(broker, 0) if epoch is None else epoch
        batches = tuple(AcknowledgementBatch(partition, *ack) for ack in acks)
        request = ShareFetchRequest(
            number,
            GROUP,
            self.member_id,
            given,
            wait_ms,
            1,
            1 << 20,
            most,
            (partition,) if given == 0 else (),
            (),
            batches,
            self.name,
        )
        self.session[broker] = given + 1
        self.world.send(broker, request, self.name)
        return number

    def taken(self, number: int) -> ShareFetchResponse | None:
        answer = self.world.answer(number, self.name)
        assert answer is None or isinstance(answer, ShareFetchResponse)
        return answer

    def fetch(
        self, acks: Acks = (), wait_ms: int = 0, most: int = 500, broker: int = 1, run_us: int = 60 * MS
    ) -> ShareFetchResult | None:
        number = self.ask_fetch(acks=acks, wait_ms=wait_ms, most=most, broker=broker)
        self.world.run(run_us)
        answer = self.taken(number)
        assert answer is not None, "no answer"
        assert answer.error == "NONE", answer.error
        return answer.results[0] if answer.results else None

    def got(self, **others: object) -> list[tuple[int, int, int]]:
        result = self.fetch(**others)  # type: ignore[arg-type]
        assert result is None or result.error == "NONE", result
        return [(run.first_offset, run.last_offset, run.delivery_count) for run in result.acquired] if result is not None else []

    def acknowledge(self, *acks: tuple[int, int, str], broker: int = 1, epoch: int | None = None) -> tuple[str, list[str]]:
        number = self.world.next_number()
        given = self.session.get(broker, 0) if epoch is None else epoch
        request = ShareAcknowledgeRequest(
            number, GROUP, self.member_id, given, tuple(AcknowledgementBatch(ZERO, *ack) for ack in acks)
        )
        self.world.send(broker, request, self.name)
        self.world.run(60 * MS)
        answer = self.world.answer(number, self.name)
        assert isinstance(answer, ShareAcknowledgeResponse), "no answer"
        if answer.error == "NONE":
            self.session[broker] = given + 1
        return answer.error, [result.error for result in answer.results]


def ready(world: ShareWorld, *names: str, records: int = 6) -> list[Sharer]:
    """Members that are in, and records one by one in orders-0."""
    sharers = [Sharer(world, name) for name in names]
    for sharer in sharers:
        sharer.join()
    for number in range(records):
        assert world.produced(1, f"order {number}".encode()) == ("NONE", number)
    return sharers


def test_members_join_and_get_partitions_once_their_state_is_initialised() -> None:
    world = ShareWorld()
    one, two = Sharer(world, "app-1"), Sharer(world, "app-2")
    first = one.heartbeat(0, ("orders",))
    assert (first.error, first.assignment) == ("NONE", ())
    one.join()
    assert len(one.assigned) == 6
    two.join()
    one.heartbeat()
    assert sorted(one.assigned + two.assigned) == [TopicPartition("orders", number) for number in range(6)]
    assert world.durable() == (-1, [])
    assert world.events(ShareMemberAssigned)[-1].consumer == "app-1"


def test_two_consumers_share_one_partition_and_get_different_records() -> None:
    """Fact 47."""
    world = ShareWorld()
    one, two = ready(world, "app-1", "app-2")
    assert one.got(most=2) == []  # the share partition is read from the share coordinator first
    assert one.got(most=2) == [(0, 0, 1), (1, 1, 1)]
    two.fetch(wait_ms=0)
    share = world.share()
    assert [record.member_id for record in share.records.values()] == ["app-1-id"] * 2 + ["app-2-id"] * 4
    assert one.acknowledge((0, 1, "accept")) == ("NONE", ["NONE"])
    assert share.start_offset == 2
    assert two.acknowledge((2, 3, "accept"), (4, 4, "release"), (5, 5, "reject")) == ("NONE", ["NONE"])
    assert one.got() == [(4, 4, 2)]
    assert one.got(acks=((4, 4, "accept"),)) == []
    assert (share.start_offset, share.records) == (6, {})
    assert [event.consumer for event in world.events(ShareRecordsAcquired)] == ["app-1", "app-2", "app-1"]
    done = world.events(ShareAcknowledged)[1]
    assert (done.consumer, done.accepted, done.released, done.archived) == ("app-2", 2, 1, 1)


def test_a_fetch_waits_for_records_and_is_woken_by_them() -> None:
    world = ShareWorld()
    (one,) = ready(world, "app-1", records=0)
    number = one.ask_fetch(wait_ms=10_000)
    world.run(1 * SECOND)
    assert one.taken(number) is None
    world.produced(1, b"now")
    answer = one.taken(number)
    assert answer is not None
    assert [run.first_offset for run in answer.results[0].acquired] == [0]
    number = one.ask_fetch(wait_ms=800)
    world.run(1 * SECOND)
    answer = one.taken(number)
    assert answer is not None
    assert answer.results == ()


def test_an_acknowledgement_is_answered_when_the_share_coordinator_has_it_on_its_replicas() -> None:
    world = ShareWorld()
    (one,) = ready(world, "app-1")
    one.fetch()
    one.fetch()
    _, leader = world.state_partition()
    for other in (number for number in (1, 2, 3) if number != leader):
        world.cut(f"broker-{leader}", f"broker-{other}")
    number = world.next_number()
    world.send(
        1,
        ShareAcknowledgeRequest(number, GROUP, "app-1-id", one.session[1], (AcknowledgementBatch(ZERO, 0, 0, "accept"),)),
        "app-1",
    )
    world.run(2 * SECOND)
    assert world.answer(number, "app-1") is None
    assert world.share().start_offset == 0
    for other in (number for number in (1, 2, 3) if number != leader):
        world.heal(f"broker-{leader}", f"broker-{other}")
    world.run(8 * SECOND)
    assert world.answer(number, "app-1") is not None
    assert world.share().start_offset == 1


def test_the_lock_of_a_silent_consumer_runs_out_and_another_gets_the_records() -> None:
    world = ShareWorld()
    one, two = ready(world, "app-1", "app-2", records=2)
    one.fetch()
    assert one.got() == [(0, 0, 1), (1, 1, 1)]
    number = two.ask_fetch(wait_ms=60_000)
    world.run(29 * SECOND)
    assert two.taken(number) is None
    world.run(2 * SECOND)
    answer = two.taken(number)
    assert answer is not None
    acquired = answer.results[0].acquired
    assert [(run.first_offset, run.last_offset, run.delivery_count) for run in acquired] == [(0, 0, 2), (1, 1, 2)]
    assert one.acknowledge((0, 0, "accept")) == ("NONE", ["INVALID_RECORD_STATE"])
    expired = world.events(AcquisitionLockExpired)[-1]
    assert (expired.consumer, expired.released, expired.archived) == ("app-1", 2, 0)


def test_a_record_is_given_up_after_five_deliveries() -> None:
    """Fact 47: nobody chokes on a poison record for ever."""
    world = ShareWorld()
    (one,) = ready(world, "app-1", records=2)
    one.fetch()
    for delivery in range(1, 6):
        assert one.got() == [(0, 0, delivery), (1, 1, delivery)]
        one.acknowledge((0, 1, "release"))
    assert one.got() == []
    assert world.share().start_offset == 2
    assert world.durable()[1][-1][2:] == ("archived", 5)
    assert world.events(ShareAcknowledged)[-1].archived == 2


def test_a_lock_can_be_renewed() -> None:
    world = ShareWorld()
    (one,) = ready(world, "app-1", records=1)
    one.fetch()
    one.fetch()
    world.run(20 * SECOND)
    assert one.acknowledge((0, 0, "renew")) == ("NONE", ["NONE"])
    world.run(20 * SECOND)
    assert world.events(AcquisitionLockExpired) == []
    assert one.acknowledge((0, 0, "accept")) == ("NONE", ["NONE"])


def test_a_consumer_that_dies_releases_what_it_had() -> None:
    world = ShareWorld()
    one, two = ready(world, "app-1", "app-2", records=2)
    one.fetch()
    assert len(one.got()) == 2
    number = two.ask_fetch(wait_ms=30_000)
    world.run(100 * MS)
    world.kernel.kill("app-1", 0)
    world.run(200 * MS)
    answer = two.taken(number)
    assert answer is not None
    assert [run.delivery_count for run in answer.results[0].acquired] == [2, 2]


def test_share_sessions_have_epochs() -> None:
    world = ShareWorld()
    (one,) = ready(world, "app-1", records=2)

    def error(number: int) -> str:
        world.run(50 * MS)
        answer = one.taken(number)
        assert answer is not None
        return answer.error

    assert error(one.ask_fetch(epoch=3)) == "SHARE_SESSION_NOT_FOUND"
    assert error(one.ask_fetch(epoch=0, acks=((0, 0, "accept"),))) == "INVALID_REQUEST"
    assert error(one.ask_fetch(epoch=0, wait_ms=0)) == "NONE"
    assert error(one.ask_fetch(epoch=5)) == "INVALID_SHARE_SESSION_EPOCH"
    assert one.acknowledge((0, 0, "accept"), epoch=0)[0] == "INVALID_SHARE_SESSION_EPOCH"
    assert error(one.ask_fetch(epoch=1, wait_ms=0)) == "NONE"
    assert len(world.share().records) == 2
    assert error(one.ask_fetch(epoch=-1, acks=((0, 0, "accept"),))) == "NONE"
    world.run(50 * MS)
    assert [record.state for record in world.share().records.values()] == ["available"]
    assert error(one.ask_fetch(epoch=2)) == "SHARE_SESSION_NOT_FOUND"


def test_a_new_partition_leader_goes_on_where_the_old_one_was() -> None:
    world = ShareWorld()
    (one,) = ready(world, "app-1")
    one.fetch()
    one.fetch()
    one.acknowledge((0, 1, "accept"), (3, 3, "accept"), (4, 4, "release"))
    world.commit(PartitionChange(topic_id("orders"), 0, leader=2))
    world.run(500 * MS)
    assert one.fetch(broker=1) is not None
    result = one.fetch(broker=1)
    assert result is not None
    assert (result.error, result.current_leader) == ("NOT_LEADER_OR_FOLLOWER", 2)
    one.fetch(broker=2)
    assert one.got(broker=2) == [(2, 2, 1), (4, 4, 2), (5, 5, 1)]
    loaded = world.events(SharePartitionLoaded)
    assert [(event.broker, event.start_offset, event.fresh) for event in loaded] == [(1, 0, True), (2, 2, False)]


def test_an_old_leader_is_fenced_by_the_share_coordinator() -> None:
    world = ShareWorld()
    one, two = ready(world, "app-1", "app-2")
    one.fetch()
    one.fetch()
    controller = "controller-101"
    world.cut("broker-1", controller)
    world.commit(PartitionChange(topic_id("orders"), 0, leader=2))
    world.run(500 * MS)
    two.fetch(broker=2)
    assert two.got(broker=2)[0][0] == 0
    assert one.acknowledge((0, 0, "accept")) == ("NONE", ["FENCED_LEADER_EPOCH"])


def test_another_share_coordinator_has_all_that_was_written() -> None:
    world = ShareWorld()
    (one,) = ready(world, "app-1")
    one.fetch()
    one.fetch()
    one.acknowledge((0, 2, "accept"))
    before = world.durable()
    number, old = world.state_partition()
    world.commit(PartitionChange(topic_id(STATE), number, leader=old % 3 + 1))
    world.run(1 * SECOND)
    assert world.durable() == before
    assert one.acknowledge((3, 3, "accept"))[1] == ["NONE"]


def test_another_group_coordinator_has_the_group() -> None:
    world = ShareWorld()
    (one,) = ready(world, "app-1")
    had = one.assigned
    old = world.coordinator(GROUP)
    number = partition_for(GROUP, 2)
    world.commit(PartitionChange(topic_id("__consumer_offsets"), number, leader=old % 3 + 1))
    world.run(1 * SECOND)
    assert one.heartbeat().error == "NONE"
    seen = world.next_number()
    world.send(world.coordinator(GROUP), DescribeGroupRequest(seen, GROUP), "app-1")
    world.run(50 * MS)
    answer = world.answer(seen, "app-1")
    assert isinstance(answer, DescribeGroupResponse)
    assert (answer.group_type, answer.state, answer.protocol) == ("share", "Stable", "simple")
    assert answer.members[0].assignment == had


def test_by_default_a_share_group_begins_at_the_end() -> None:
    world = ShareWorld("latest")
    (one,) = ready(world, "app-1", records=3)
    assert one.got() == []
    assert one.got() == []
    assert world.produced(1, b"later") == ("NONE", 3)
    assert one.got() == [(3, 3, 1)]


def test_refusals() -> None:
    world = ShareWorld()
    (one,) = ready(world, "app-1", records=0)
    old = Sharer(world, "app-2")
    assert old.heartbeat(4).error == "UNKNOWN_MEMBER_ID"
    assert old.heartbeat(0).error == "INVALID_REQUEST"
    assert one.heartbeat(99).error == "FENCED_MEMBER_EPOCH"
    number = world.next_number()
    world.send(world.coordinator(GROUP), OffsetCommitRequest(number, GROUP, (OffsetAndMetadata(ZERO, 3),), 1, "app-1-id"), "app-1")
    world.run(50 * MS)
    answer = world.answer(number, "app-1")
    assert isinstance(answer, OffsetCommitResponse)
    assert answer.results[0].error == "GROUP_ID_NOT_FOUND"
    assert one.heartbeat(-1).member_epoch == -1
    assert one.heartbeat(1).error == "UNKNOWN_MEMBER_ID"


@pytest.mark.parametrize(("isolation", "expected"), [("read_uncommitted", [0, 1, 2, 3, 4]), ("read_committed", [0, 3, 4])])
def test_read_committed_hides_what_was_aborted(isolation: str, expected: list[int]) -> None:
    """The marker at offset 3 has no record for anybody; its consumer acknowledges it as a gap."""
    world = ShareWorld(share_isolation_level=isolation)
    (one,) = ready(world, "app-1", records=1)
    replica, disk = world.replica(1), world.kernel.hosts["broker-1"].disk
    pair = [(None, b"x", (), 0), (None, b"y", (), 0)]
    aborted = build_batch(pair, producer_id=7, producer_epoch=0, base_sequence=0, transactional=True)
    replica.log.append_as_leader(aborted, replica.leader_epoch, 0, disk)
    marker = build_end_txn_marker(ControlRecordType.ABORT, producer_id=7, producer_epoch=0, coordinator_epoch=0, timestamp_ms=0)
    replica.log.append_as_leader(marker, replica.leader_epoch, 0, disk, AppendOrigin.COORDINATOR)
    world.run(1 * SECOND)
    assert world.produced(1, b"after") == ("NONE", 4)
    one.fetch()
    assert [offset for first, last, _ in one.got() for offset in range(first, last + 1)] == expected
    one.acknowledge(*[(offset, offset, "gap" if offset == 3 else "accept") for offset in expected])
    assert world.share().start_offset == 5


def test_the_view_shows_what_is_in_flight() -> None:
    world = ShareWorld()
    one, two = ready(world, "app-1", "app-2")
    one.fetch()
    one.fetch(most=3)
    one.acknowledge((1, 1, "accept"), (2, 2, "release"))
    two.fetch(most=1)
    view = group_views(world.kernel.hosts, world.controller.image, {})[GROUP]
    assert (view.type, view.state, len(view.members)) == ("share", "Stable", 2)
    (seen,) = [part for part in view.share_partitions if part.topic == "orders" and part.partition == 0]
    assert (seen.leader, seen.active, seen.start_offset, seen.end_offset, seen.in_flight) == (1, True, 0, 2, 3)
    assert [(run.first_offset, run.state, run.deliveries, run.consumer) for run in seen.runs] == [
        (0, "acquired", 1, "app-1"),
        (1, "acknowledged", 1, ""),
        (2, "acquired", 2, "app-2"),
    ]
