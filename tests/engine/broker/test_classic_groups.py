"""The classic group protocol at its coordinator: Kafka's ClassicGroup and GroupMetadataManager, over real brokers."""

from __future__ import annotations

from engine.broker.coordinators import partition_for
from engine.events import CoordinatorLoaded, GroupRebalanced, GroupRebalanceStarted, MemberLeft, StaticMemberReplaced
from engine.metadata.records import PartitionChange
from engine.sim.checkpoint import copy_tree, dump, load
from tests.engine.broker.group_world import GroupWorld
from tests.engine.broker.harness import MS, SECOND, topic_id


def test_a_new_member_has_to_come_back_with_the_id_that_it_was_given() -> None:
    world = GroupWorld()
    app = world.member("app-1")
    app.ask_join()
    world.run(10 * MS)
    answer = app.join_answer()
    assert answer is not None
    assert answer.error == "MEMBER_ID_REQUIRED"
    assert answer.member_id.startswith("app-1-")
    assert len(answer.member_id) == len("app-1-") + 36


def test_the_first_rebalance_waits_three_seconds_and_again_while_members_come() -> None:
    world = GroupWorld()
    one, two = world.member("app-1"), world.member("app-2")
    one.enter()
    world.run(2 * SECOND)
    two.enter()
    world.run(1 * SECOND)
    assert one.join_answer() is None, "a second member came: three seconds more"
    world.run(3 * SECOND)
    assert one.take_join().generation == two.take_join().generation == 1
    assert one.joined is not None
    assert one.joined.leader == one.member_id
    assert len(one.joined.members) == 2
    assert two.joined is not None
    assert two.joined.members == ()


def test_a_group_goes_through_its_states_to_stable() -> None:
    world = GroupWorld()
    one, two = world.member("app-1"), world.member("app-2")
    world.assemble(one, two)
    group = world.group()
    assert (group.state, group.protocol, group.generation) == ("Stable", "range", 1)
    assert len(one.partitions) == len(two.partitions) == 3
    done = world.events(GroupRebalanced)[-1]
    assert done.assigned == (("app-1", 3), ("app-2", 3))


def test_the_assignment_is_given_out_only_once_its_record_is_committed() -> None:
    world = GroupWorld()
    app = world.member("app-1")
    app.enter()
    world.run(4 * SECOND)
    app.take_join()
    leader = world.coordinator()
    others = [number for number in (1, 2, 3) if number != leader]
    for other in others:
        world.cut(f"broker-{leader}", f"broker-{other}")
    app.ask_sync()
    world.run(1 * SECOND)
    assert world.answer(app.asked, "app-1") is None
    assert world.group().state == "CompletingRebalance"
    for other in others:
        world.heal(f"broker-{leader}", f"broker-{other}")
    world.run(3 * SECOND)
    assert app.take_sync().error == "NONE"
    assert world.group().state == "Stable"


def test_heartbeats_tell_of_a_rebalance_and_the_rebalance_timeout_drops_who_stays_away() -> None:
    world = GroupWorld()
    one, two, three = (world.member(f"app-{number}", rebalance_timeout_ms=20_000) for number in (1, 2, 3))
    world.assemble(one, two)
    three.enter()
    assert one.heartbeat() == "REBALANCE_IN_PROGRESS"
    one.enter()
    world.run(21 * SECOND)
    world.settle(one, three)
    assert two.heartbeat() == "UNKNOWN_MEMBER_ID"
    left = world.events(MemberLeft)[-1]
    assert (left.consumer, left.reason) == ("app-2", "rebalance timeout")


def test_a_silent_member_is_out_after_its_session_timeout() -> None:
    world = GroupWorld()
    one, two = world.member("app-1"), world.member("app-2", session_timeout_ms=10_000)
    world.assemble(one, two)
    for _ in range(3):
        world.run(4 * SECOND)
        assert one.heartbeat() in ("NONE", "REBALANCE_IN_PROGRESS")
    assert one.heartbeat() == "REBALANCE_IN_PROGRESS"
    left = world.events(MemberLeft)[-1]
    assert (left.consumer, left.reason) == ("app-2", "session expired")
    one.enter()
    world.settle(one)
    assert len(one.partitions) == 6
    done = world.events(GroupRebalanced)[-1]
    assert done.stopped_us > 0


def test_heartbeats_keep_a_session_alive() -> None:
    world = GroupWorld()
    app = world.member("app-1", session_timeout_ms=6_000)
    world.assemble(app)
    for _ in range(8):
        world.run(5 * SECOND)
        assert app.heartbeat() == "NONE"
    assert app.heartbeat() == "NONE"
    world.run(7 * SECOND)
    assert app.heartbeat() == "UNKNOWN_MEMBER_ID"


def test_an_offset_commit_counts_as_a_heartbeat() -> None:
    world = GroupWorld()
    app = world.member("app-1", session_timeout_ms=6_000)
    world.assemble(app)
    for offset in range(4):
        world.run(5 * SECOND)
        assert app.commit(offset) == "NONE"
    assert app.heartbeat() == "NONE"


def test_leaving_rebalances_the_rest_and_the_last_one_leaves_an_empty_group() -> None:
    world = GroupWorld()
    one, two = world.member("app-1"), world.member("app-2")
    world.assemble(one, two)
    assert two.leave().error == "NONE"
    assert one.heartbeat() == "REBALANCE_IN_PROGRESS"
    one.enter()
    world.settle(one)
    assert world.group().generation == 2
    assert one.leave("the consumer is being closed").error == "NONE"
    assert world.group().state == "Empty"
    assert world.group().generation == 3


def test_a_static_member_comes_back_without_a_rebalance_and_its_double_is_fenced() -> None:
    world = GroupWorld()
    one = world.member("app-1")
    static = world.member("app-2", instance="i-2")
    world.assemble(one, static)
    before = static.partitions
    old_id = static.member_id
    back = world.member("app-3", instance="i-2")
    back.enter()
    answer = back.take_join()
    assert (answer.error, answer.generation) == ("NONE", 1)
    assert back.member_id != old_id
    back.ask_sync()
    world.run(20 * MS)
    assert back.take_sync().partitions == before
    assert one.heartbeat() == "NONE"
    assert static.heartbeat() == "FENCED_INSTANCE_ID"
    assert static.commit(7) == "FENCED_INSTANCE_ID"
    assert world.events(StaticMemberReplaced)[-1].instance_id == "i-2"
    assert len(world.events(GroupRebalanceStarted)) == 1


def test_a_static_leader_is_told_to_skip_the_assignment() -> None:
    world = GroupWorld()
    static = world.member("app-1", instance="i-1")
    world.assemble(static)
    back = world.member("app-1b", instance="i-1")
    back.enter()
    assert back.take_join().skip_assignment
    assert back.take_join().leader == back.member_id


def test_the_vote_takes_what_all_know() -> None:
    world = GroupWorld()
    one = world.member("app-1", protocols=("cooperative-sticky", "range"))
    two = world.member("app-2", protocols=("sticky", "range"))
    world.assemble(one, two)
    assert world.group().protocol == "range"
    stranger = world.member("app-3", protocols=("roundrobin",))
    stranger.ask_join()
    world.run(10 * MS)
    assert stranger.take_join().error == "INCONSISTENT_GROUP_PROTOCOL"


def test_a_stale_generation_can_neither_commit_nor_beat() -> None:
    world = GroupWorld()
    one, two = world.member("app-1"), world.member("app-2")
    world.assemble(one, two)
    zombie = world.member("app-2", member_id=two.member_id, generation=1)
    one.enter()
    two.enter()
    world.settle(one, two)
    assert zombie.commit(1) == "ILLEGAL_GENERATION"
    assert zombie.heartbeat() == "ILLEGAL_GENERATION"
    assert two.commit(1) == "NONE"


def test_the_largest_size_and_the_session_bounds_are_kept() -> None:
    world = GroupWorld({"group.max.size": "1"})
    one, two = world.member("app-1"), world.member("app-2")
    world.assemble(one)
    two.ask_join()
    world.run(10 * MS)
    assert two.take_join().error == "GROUP_MAX_SIZE_REACHED"
    quick = world.member("app-3", session_timeout_ms=1_000)
    quick.ask_join()
    world.run(10 * MS)
    assert quick.take_join().error == "INVALID_SESSION_TIMEOUT"


def test_who_does_not_sync_in_time_is_out() -> None:
    world = GroupWorld()
    one, two = (world.member(f"app-{number}", rebalance_timeout_ms=10_000) for number in (1, 2))
    one.enter()
    two.enter()
    world.run(7 * SECOND)
    one.take_join()
    two.take_join()
    one.ask_sync()
    world.run(11 * SECOND)
    assert world.events(MemberLeft)[-1].reason == "no SyncGroup in time"
    assert one.heartbeat() == "REBALANCE_IN_PROGRESS"


def test_a_group_survives_its_coordinator() -> None:
    world = GroupWorld()
    one, two = world.member("app-1"), world.member("app-2")
    world.assemble(one, two)
    old = world.coordinator()
    number = partition_for("readers", 2)
    new = old % 3 + 1
    world.commit(PartitionChange(topic_id("__consumer_offsets"), number, leader=new))
    world.run(2 * MS)
    assert one.heartbeat() in ("COORDINATOR_LOAD_IN_PROGRESS", "NONE")
    world.run(50 * MS)
    assert world.coordinator() == new
    assert one.heartbeat() == two.heartbeat() == "NONE"
    group = world.group()
    assert (group.state, group.generation, group.protocol) == ("Stable", 1, "range")
    assert sorted(len(member.assignment) for member in group.members.values()) == [3, 3]
    assert world.events(CoordinatorLoaded)[-1].broker == new
    # who is heard of no more is out in the new coordinator's eyes too
    world.run(46 * SECOND)
    assert world.group().state == "Empty"


def test_a_parked_join_is_answered_when_the_coordinator_moves() -> None:
    world = GroupWorld()
    app = world.member("app-1")
    app.enter()
    world.commit(PartitionChange(topic_id("__consumer_offsets"), partition_for("readers", 2), leader=3))
    world.run(100 * MS)
    assert app.take_join().error == "NOT_COORDINATOR"


def test_a_rebalance_leads_back_to_what_silenced_the_member() -> None:
    world = GroupWorld()
    one, two = world.member("app-1"), world.member("app-2", session_timeout_ms=10_000)
    world.assemble(one, two)
    killed = world.kernel.give_command("kill_node", "kill app-2")
    world.kernel.kill("app-2", killed)
    for _ in range(4):
        world.run(3 * SECOND)
        one.heartbeat()
    one.enter()
    world.settle(one)
    by_number = {happening.id: happening for happening in world.history}
    chain = [world.last(GroupRebalanced)]
    seen: set[int] = set()
    while chain:
        happening = chain.pop()
        if happening.id not in seen:
            seen.add(happening.id)
            chain += [by_number[cause] for cause in happening.causes if cause in by_number]
    assert killed in seen


def test_a_copy_of_the_world_goes_on_as_the_world_itself() -> None:
    world = GroupWorld()
    one, two = world.member("app-1"), world.member("app-2")
    one.enter()
    two.enter()
    world.run(SECOND)
    twin = copy_tree(world.kernel)
    for number in (1, 2, 3):
        assert load(dump(world.broker(number))) == world.broker(number)
    for kernel in (world.kernel, twin):
        kernel.run(kernel.now + 20 * SECOND)
    assert twin.trace == world.kernel.trace
    assert dump(twin) == dump(world.kernel)


def test_a_broker_without_groups_keeps_no_shard() -> None:
    world = GroupWorld()
    assert all(replica.shard is None for number in (1, 2, 3) for replica in world.broker(number).partitions.values())
