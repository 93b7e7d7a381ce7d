"""Committed offsets at their coordinator: what counts when, what survives, what expires."""

from __future__ import annotations

from engine.broker import coordinators
from engine.broker.coordinators import partition_for
from engine.broker.groups import shards
from engine.coordination import group_offsets
from engine.coordination.group_records import OffsetValue, offset_key, offset_value
from engine.coordination.group_settings import GroupSettings
from engine.events import GroupDeleted, OffsetsCommitted, OffsetsDeleted
from engine.messages.base import TopicPartition
from engine.messages.groups import (
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    DescribeGroupRequest,
    DescribeGroupResponse,
    ListGroupsRequest,
    ListGroupsResponse,
    OffsetAndMetadata,
    OffsetCommitResponse,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
)  # fmt: skip
from engine.metadata.records import PartitionChange
from engine.sim.outbox import Outbox
from tests.engine.broker.group_world import GROUP, OFFSETS, GroupWorld
from tests.engine.broker.harness import MS, SECOND, topic_id

PART = TopicPartition("orders", 0)


def move_coordinator(world: GroupWorld, group: str = GROUP) -> None:
    number = partition_for(group, 2)
    world.commit(PartitionChange(topic_id(OFFSETS), number, leader=world.coordinator(group) % 3 + 1))
    world.run(600 * MS)  # followers ask the new leader once their fetch of before has been answered


def test_a_commit_is_answered_once_it_is_replicated_and_survives_the_coordinator() -> None:
    world = GroupWorld()
    admin = world.member("app")
    assert admin.commit(42) == "NONE"
    found = admin.committed()
    assert found is not None
    assert found.offset == 42
    assert world.events(OffsetsCommitted)[-1].offsets == (("orders", 0, 42),)
    world.kill(world.coordinator())
    move_coordinator(world)
    found = admin.committed()
    assert found is not None
    assert found.offset == 42


def test_a_commit_that_is_not_replicated_in_time_fails_and_a_plain_fetch_does_not_show_it() -> None:
    world = GroupWorld()
    admin = world.member("app")
    assert admin.commit(1) == "NONE"
    leader = world.coordinator()
    for other in (1, 2, 3):
        if other != leader:
            world.cut(f"broker-{leader}", f"broker-{other}")
    number = admin.ask_commit(2)
    world.run(10 * MS)
    plain = admin.committed(stable=False)
    assert plain is not None
    assert plain.offset == 1
    assert admin.committed(stable=True) is None, "it waits for what is under way"
    world.run(6 * SECOND)
    answer = world.answer(number, "app")
    assert isinstance(answer, OffsetCommitResponse)
    assert answer.results[0].error == "COORDINATOR_NOT_AVAILABLE"


def test_a_commit_under_way_fails_when_the_coordinator_moves() -> None:
    world = GroupWorld()
    admin = world.member("app")
    assert admin.commit(1) == "NONE"
    leader = world.coordinator()
    for other in (1, 2, 3):
        if other != leader:
            world.cut(f"broker-{leader}", f"broker-{other}")
    number = admin.ask_commit(2)
    world.run(10 * MS)
    move_coordinator(world)
    answer = world.answer(number, "app")
    assert isinstance(answer, OffsetCommitResponse)
    assert answer.results[0].error == "NOT_COORDINATOR"


def test_strangers_cannot_commit_for_a_group_with_members() -> None:
    world = GroupWorld()
    app, stranger = world.member("app-1"), world.member("app")
    world.assemble(app)
    assert stranger.commit(1) == "UNKNOWN_MEMBER_ID"
    assert app.commit(1, TopicPartition("nowhere", 0)) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert world.member("app", group="others", generation=3, member_id="x").commit(1) == "GROUP_ID_NOT_FOUND"


def transact(world: GroupWorld, offset: int, producer_id: int = 7) -> None:
    """What TxnOffsetCommit writes."""
    number = partition_for(GROUP, 2)
    broker = world.broker(world.coordinator())
    host = world.kernel.hosts[broker.name]
    out: Outbox = world.kernel._outbox(host, 0)
    value = offset_value(OffsetValue(offset, -1, "", out.now_ms))
    assert (
        coordinators.write(
            broker, OFFSETS, number, [(offset_key(GROUP, PART), value)], out, producer_id=producer_id, producer_epoch=0,
            transactional=True,
        )
        == "NONE"
    )  # fmt: skip
    world.kernel._carry_out(host, out)
    world.run(10 * MS)


def end(world: GroupWorld, committed: bool, producer_id: int = 7) -> None:
    broker = world.broker(world.coordinator())
    host = world.kernel.hosts[broker.name]
    out: Outbox = world.kernel._outbox(host, 0)
    coordinators.write_marker(broker, OFFSETS, partition_for(GROUP, 2), producer_id, 0, committed, 0, out)
    world.kernel._carry_out(host, out)
    world.run(10 * MS)


def test_offsets_of_a_transaction_count_by_its_marker_also_after_a_failover() -> None:
    world = GroupWorld()
    admin = world.member("app")
    assert admin.commit(1) == "NONE"
    transact(world, 5)
    pending = admin.committed()
    assert pending is not None
    assert pending.error == "UNSTABLE_OFFSET_COMMIT"
    plain = admin.committed(stable=False)
    assert plain is not None
    assert plain.offset == 1
    move_coordinator(world)
    pending = admin.committed()
    assert pending is not None
    assert pending.error == "UNSTABLE_OFFSET_COMMIT"
    end(world, True)
    done = admin.committed()
    assert done is not None
    assert (done.error, done.offset) == ("NONE", 5)
    transact(world, 9, producer_id=8)
    end(world, False, producer_id=8)
    move_coordinator(world)
    done = admin.committed()
    assert done is not None
    assert (done.error, done.offset) == ("NONE", 5)


def test_offsets_expire_when_the_group_has_been_empty_for_their_retention() -> None:
    assert GroupSettings.read({}).offsets_retention_ms == 7 * 86_400_000
    world = GroupWorld({"offsets.retention.minutes": "2", "offsets.retention.check.interval.ms": "10000"})
    app = world.member("app-1")
    world.assemble(app)
    assert app.commit(3) == "NONE"
    for _ in range(4):
        world.run(40 * SECOND)
        assert app.heartbeat() == "NONE"
    app.leave()
    world.run(100 * SECOND)
    found = app.committed()
    assert found is not None
    assert found.offset == 3, "long since the commit, but not since the group became empty"
    world.run(40 * SECOND)
    found = app.committed()
    assert found is not None
    assert found.offset == -1
    assert world.events(OffsetsDeleted)[-1].reason == "expired"
    assert world.events(GroupDeleted)[-1].group == GROUP


def test_groups_are_listed_described_and_deleted_when_empty() -> None:
    world = GroupWorld()
    app = world.member("app-1")
    world.assemble(app)
    assert app.commit(3) == "NONE"
    broker = world.coordinator()

    def ask(kind: type, *fields: object) -> object:
        number = world.next_number()
        world.send(broker, kind(number, *fields))
        world.run(10 * MS)
        return world.answer(number, "app")

    listed = ask(ListGroupsRequest)
    assert isinstance(listed, ListGroupsResponse)
    assert [(group.group_id, group.state, group.group_type) for group in listed.groups] == [(GROUP, "Stable", "classic")]
    listed = ask(ListGroupsRequest, ("empty",))
    assert isinstance(listed, ListGroupsResponse)
    assert listed.groups == ()
    described = ask(DescribeGroupRequest, GROUP)
    assert isinstance(described, DescribeGroupResponse)
    assert (described.state, described.protocol, described.epoch) == ("Stable", "range", 1)
    assert described.members[0].assignment == app.partitions
    unknown = ask(DescribeGroupRequest, "nobody")
    assert isinstance(unknown, DescribeGroupResponse)
    assert unknown.error in ("GROUP_ID_NOT_FOUND", "NOT_COORDINATOR")
    refused = ask(DeleteGroupsRequest, (GROUP,))
    assert isinstance(refused, DeleteGroupsResponse)
    assert refused.results == ((GROUP, "NON_EMPTY_GROUP"),)
    kept = ask(OffsetDeleteRequest, GROUP, (PART,))
    assert isinstance(kept, OffsetDeleteResponse)
    assert kept.results[0].error == "GROUP_SUBSCRIBED_TO_TOPIC"
    app.leave()
    deleted = ask(DeleteGroupsRequest, (GROUP,))
    assert isinstance(deleted, DeleteGroupsResponse)
    assert deleted.results == ((GROUP, "NONE"),)
    found = app.committed()
    assert found is not None
    assert found.offset == -1


def test_offsets_of_a_deleted_topic_go_with_it() -> None:
    world = GroupWorld()
    admin = world.member("app")
    assert admin.commit(3) == "NONE"
    world.delete_topic()
    world.run(100 * MS)
    found = admin.committed()
    assert found is not None
    assert found.offset == -1
    assert world.events(OffsetsDeleted)[-1].reason == "topic deleted"


def test_too_long_a_text_with_an_offset_is_refused() -> None:
    world = GroupWorld({"offset.metadata.max.bytes": "3"})
    shard_world = world.member("app")
    assert shard_world.commit(1) == "NONE"
    shard = shards(world.broker(world.coordinator()))[0]
    _, results, _ = group_offsets.commit_records(shard, GROUP, (OffsetAndMetadata(PART, 1, metadata="long"),), 0)
    assert results[0].error == "OFFSET_METADATA_TOO_LARGE"
