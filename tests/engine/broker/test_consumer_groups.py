"""KIP-848 consumer groups over real brokers: the coordinator's requests, commits with member epochs, failover, conversion."""

from __future__ import annotations

from dataclasses import dataclass

from engine.broker.coordinators import partition_for
from engine.broker.groups import shards
from engine.coordination.consumer_group import ConsumerGroup
from engine.events import CoordinatorLoaded, GroupDeleted, GroupReconciled, GroupStateChanged
from engine.messages.base import TopicPartition
from engine.messages.groups import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    DescribeGroupRequest,
    DescribeGroupResponse,
    ListGroupsRequest,
    ListGroupsResponse,
    OffsetAndMetadata,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
)  # fmt: skip
from engine.metadata.records import Partition, PartitionChange
from tests.engine.broker.group_world import GROUP, OFFSETS, GroupWorld
from tests.engine.broker.harness import MS, SECOND

ZERO = TopicPartition("orders", 0)


@dataclass
class Reader:
    """A member that takes and gives up at once what it is told, when it is asked to send a heartbeat."""

    world: GroupWorld
    name: str
    group: str = GROUP
    epoch: int = 0
    owned: tuple[TopicPartition, ...] = ()

    def __post_init__(self) -> None:
        self.world.add_client(self.name)

    @property
    def member_id(self) -> str:
        return f"{self.name}-id"

    def heartbeat(self, full: bool = False) -> ConsumerGroupHeartbeatResponse:
        number = self.world.next_number()
        request = ConsumerGroupHeartbeatRequest(
            number, self.group, self.member_id, self.epoch, rebalance_timeout_ms=300_000 if full else -1,
            topics=("orders",) if full else None, owned=self.owned, client_id=self.name,
        )  # fmt: skip
        self.world.send(self.world.coordinator(self.group), request, self.name)
        self.world.run(20 * MS)
        answer = self.world.answer(number, self.name)
        assert isinstance(answer, ConsumerGroupHeartbeatResponse), f"{self.name} still waits"
        if answer.error == "NONE":
            self.epoch = answer.member_epoch
            if answer.assignment is not None:
                self.owned = answer.assignment
        return answer

    def join(self) -> ConsumerGroupHeartbeatResponse:
        self.epoch, self.owned = 0, ()
        return self.heartbeat(full=True)

    def commit(self, offset: int, epoch: int | None = None) -> str:
        number = self.world.next_number()
        item = OffsetAndMetadata(ZERO, offset)
        given = self.epoch if epoch is None else epoch
        request = OffsetCommitRequest(number, self.group, (item,), given, self.member_id)
        self.world.send(self.world.coordinator(self.group), request, self.name)
        self.world.run(20 * MS)
        answer = self.world.answer(number, self.name)
        assert isinstance(answer, OffsetCommitResponse)
        return answer.results[0].error

    def committed(self, epoch: int = -1) -> tuple[str, int]:
        number = self.world.next_number()
        request = OffsetFetchRequest(number, self.group, (ZERO,), self.member_id if epoch >= 0 else "", epoch)
        self.world.send(self.world.coordinator(self.group), request, self.name)
        self.world.run(20 * MS)
        answer = self.world.answer(number, self.name)
        assert isinstance(answer, OffsetFetchResponse)
        return answer.error, answer.offsets[0].offset if answer.offsets else -1


def consumer_group(world: GroupWorld, name: str = GROUP) -> ConsumerGroup:
    for shard in shards(world.broker(world.coordinator(name))):
        group = shard.groups.get(name)
        if isinstance(group, ConsumerGroup):
            return group
    raise AssertionError(f"no consumer group {name}")


def describe(world: GroupWorld, reader: Reader) -> DescribeGroupResponse:
    number = world.next_number()
    world.send(world.coordinator(reader.group), DescribeGroupRequest(number, reader.group), reader.name)
    world.run(20 * MS)
    answer = world.answer(number, reader.name)
    assert isinstance(answer, DescribeGroupResponse)
    return answer


def settled(world: GroupWorld, *readers: Reader) -> None:
    for reader in readers:
        assert reader.join().error == "NONE"
    for _ in range(4):
        world.run(1 * SECOND)
        for reader in readers:
            assert reader.heartbeat().error == "NONE"


def test_members_share_the_partitions_and_the_tools_see_it() -> None:
    world = GroupWorld()
    one, two = Reader(world, "app-1"), Reader(world, "app-2")
    settled(world, one, two)
    assert sorted(one.owned + two.owned) == [TopicPartition("orders", number) for number in range(6)]
    seen = describe(world, one)
    assert (seen.group_type, seen.state, seen.protocol) == ("consumer", "Stable", "uniform")
    assert (seen.epoch, seen.assignment_epoch) == (2, 2)
    assert [(m.client_id, m.member_epoch, len(m.assignment), len(m.target)) for m in seen.members] == [
        ("app-1", 2, 3, 3), ("app-2", 2, 3, 3),
    ]  # fmt: skip
    assert seen.members[0].assignment == one.owned
    number = world.next_number()
    world.send(world.coordinator(), ListGroupsRequest(number, types=("consumer",)), "app-1")
    world.run(20 * MS)
    listed = world.answer(number, "app-1")
    assert isinstance(listed, ListGroupsResponse)
    assert [(group.group_id, group.state, group.group_type) for group in listed.groups] == [(GROUP, "Stable", "consumer")]


def test_the_answer_leaves_only_once_its_records_are_committed() -> None:
    world = GroupWorld()
    leader = world.coordinator()
    reader = Reader(world, "app-1")
    for other in (number for number in (1, 2, 3) if number != leader):
        world.cut(f"broker-{leader}", f"broker-{other}")
    number = world.next_number()
    request = ConsumerGroupHeartbeatRequest(
        number, GROUP, reader.member_id, 0, rebalance_timeout_ms=300_000, topics=("orders",), owned=()
    )
    world.send(leader, request, "app-1")
    world.run(1 * SECOND)
    assert world.answer(number, "app-1") is None
    for other in (number for number in (1, 2, 3) if number != leader):
        world.heal(f"broker-{leader}", f"broker-{other}")
    world.run(3 * SECOND)
    assert world.answer(number, "app-1") is not None


def test_commits_carry_the_member_epoch() -> None:
    world = GroupWorld()
    one, two = Reader(world, "app-1"), Reader(world, "app-2")
    settled(world, one)
    assert one.commit(5) == "NONE"
    assert one.committed(one.epoch) == ("NONE", 5)
    assert one.commit(6, epoch=7) == "STALE_MEMBER_EPOCH"
    assert one.committed(7)[0] == "STALE_MEMBER_EPOCH"
    assert two.commit(6, epoch=1) == "UNKNOWN_MEMBER_ID"
    assert one.committed() == ("NONE", 5)


def test_another_broker_coordinates_with_what_it_reads_back() -> None:
    world = GroupWorld()
    one, two = Reader(world, "app-1"), Reader(world, "app-2")
    settled(world, one, two)
    before, had = consumer_group(world), (one.owned, two.owned)
    old = world.coordinator()
    new = next(number for number in (1, 2, 3) if number != old)
    partition = partition_for(GROUP, len(world.controller.image.topics[OFFSETS].partitions))
    world.commit(PartitionChange(world.controller.image.topics[OFFSETS].topic_id, partition, leader=new))
    world.run(1 * SECOND)
    assert world.events(CoordinatorLoaded)[-1].broker == new
    after = consumer_group(world)
    assert after is not before
    assert after.members == before.members
    assert one.heartbeat().error == two.heartbeat().error == "NONE"
    assert (one.owned, two.owned) == had
    world.run(44 * SECOND)
    assert one.heartbeat().error == "NONE", "everybody had a new session"
    world.run(10 * SECOND)
    one.heartbeat()
    world.run(1 * SECOND)
    one.heartbeat()
    assert len(one.owned) == 6, "app-2 was not heard from"


def test_new_partitions_are_seen_with_the_next_heartbeat() -> None:
    world = GroupWorld()
    one = Reader(world, "app-1")
    settled(world, one)
    topic_id = world.controller.image.topics["orders"].topic_id
    world.commit(Partition(topic_id, 6, (1, 2, 3), (1, 2, 3), 1))
    world.run(1 * SECOND)
    one.heartbeat()
    assert len(one.owned) == 7
    assert one.epoch == 2


def test_an_empty_classic_group_becomes_a_consumer_group_and_keeps_its_offsets() -> None:
    world = GroupWorld()
    old = world.member("old-1")
    world.assemble(old)
    assert old.commit(12) == "NONE"
    reader = Reader(world, "app-1")
    refused = reader.join()
    assert refused.error == "GROUP_ID_NOT_FOUND"
    assert "not a consumer group" in refused.message
    old.leave()
    assert reader.join().error == "NONE"
    assert reader.committed() == ("NONE", 12)
    assert consumer_group(world).state_name() == "Stable"


def test_an_empty_consumer_group_becomes_a_classic_group_again() -> None:
    world = GroupWorld()
    reader = Reader(world, "app-1")
    settled(world, reader)
    assert reader.commit(7) == "NONE"
    old = world.member("old-1")
    old.ask_join()
    world.run(20 * MS)
    answer = old.join_answer()
    assert answer is not None
    assert answer.error == "INCONSISTENT_GROUP_PROTOCOL"
    world.send(world.coordinator(), ConsumerGroupHeartbeatRequest(world.next_number(), GROUP, reader.member_id, -1), reader.name)
    world.run(20 * MS)
    world.assemble(old)
    assert world.group().state == "Stable"
    found = old.committed()
    assert found is not None
    assert found.offset == 7


def test_an_empty_group_can_be_deleted_and_one_with_members_not() -> None:
    world = GroupWorld()
    reader = Reader(world, "app-1")
    settled(world, reader)

    def delete() -> str:
        number = world.next_number()
        world.send(world.coordinator(), DeleteGroupsRequest(number, (GROUP,)), reader.name)
        world.run(20 * MS)
        answer = world.answer(number, reader.name)
        assert isinstance(answer, DeleteGroupsResponse)
        return answer.results[0][1]

    assert delete() == "NON_EMPTY_GROUP"
    world.run(46 * SECOND)
    assert consumer_group(world).state_name() == "Empty"
    assert delete() == "NONE"
    assert describe(world, reader).error == "GROUP_ID_NOT_FOUND"
    assert world.events(GroupDeleted)[-1].group == GROUP


def test_states_and_the_end_of_a_rebalance_are_told() -> None:
    world = GroupWorld()
    one, two = Reader(world, "app-1"), Reader(world, "app-2")
    settled(world, one, two)
    told = [(event.old, event.new) for event in world.events(GroupStateChanged)]
    assert told == [("Empty", "Stable"), ("Stable", "Reconciling"), ("Reconciling", "Stable")]
    done = world.events(GroupReconciled)[-1]
    assert done.assigned == (("app-1", 3), ("app-2", 3))
    assert 0 < done.stopped_us < done.took_us
