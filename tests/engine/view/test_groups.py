"""Groups in the view are what their coordinator knows."""

from __future__ import annotations

from engine.view.build import build_view
from engine.view.metrics import MetricsTracker
from engine.view.tree import GroupView
from tests.engine.broker.group_world import GROUP, GroupWorld
from tests.engine.broker.harness import MS, SECOND


def look(world: GroupWorld) -> dict[str, GroupView]:
    return build_view(world.kernel, MetricsTracker()).groups


def test_a_group_shows_its_members_what_they_own_and_how_far_they_are() -> None:
    world = GroupWorld()
    assert look(world) == {}
    one, two = world.member("app-1"), world.member("app-2", instance="i-2")
    one.enter()
    group = look(world)[GROUP]
    assert (group.state, group.members[0].state, group.epoch) == ("PreparingRebalance", "joined", 0)
    assert group.rebalancing_since_us >= 0
    two.enter()
    world.run(7 * SECOND)
    world.settle(one, two)
    assert world.produced(1, b"a", b"b", b"c")[0] == "NONE"
    assert one.commit(1) == "NONE"
    group = look(world)[GROUP]
    assert (group.type, group.protocol, group.state, group.epoch) == ("classic", "range", "Stable", 1)
    assert group.coordinator == world.coordinator()
    assert [(member.consumer, member.instance_id, len(member.partitions)) for member in group.members] == [
        ("app-1", "", 3),
        ("app-2", "i-2", 3),
    ]
    assert [member.leader for member in group.members] == [True, False]
    assert [(item.topic, item.partition, item.committed, item.lag, item.consumer) for item in group.offsets] == [
        ("orders", 0, 1, 2, "app-1")
    ]
    assert group.last_rebalance_us > 3 * SECOND
    assert group.last_stopped_us == 0, "nobody owned anything before"


def test_the_seconds_that_eager_members_stand_still_are_measured() -> None:
    world = GroupWorld()
    one, two = world.member("app-1"), world.member("app-2")
    world.assemble(one)
    two.enter()
    assert look(world)[GROUP].stopped_since_us >= 0
    world.run(2 * SECOND)
    one.enter()
    world.run(10 * MS)
    world.settle(one, two)
    group = look(world)[GROUP]
    assert group.stopped_since_us == -1
    assert 2 * SECOND <= group.last_stopped_us < 3 * SECOND


def test_cooperative_members_stop_only_for_what_moves() -> None:
    world = GroupWorld()
    one, two = (world.member(f"app-{number}", protocols=("cooperative-sticky",)) for number in (1, 2))
    world.assemble(one)
    two.enter()
    world.run(2 * SECOND)
    assert look(world)[GROUP].stopped_since_us == -1, "everything is still read"
    one.enter()
    world.run(10 * MS)
    one.take_join()
    two.take_join()
    one.ask_sync({one.member_id: one.partitions[:3]})
    two.ask_sync()
    world.run(50 * MS)
    one.take_sync()
    two.take_sync()
    assert look(world)[GROUP].stopped_since_us >= 0, "three are given up and not yet handed over"
    one.enter()
    two.enter()
    world.run(10 * MS)
    world.settle(one, two)
    group = look(world)[GROUP]
    assert group.stopped_since_us == -1
    assert 0 < group.last_stopped_us < SECOND


def test_looking_changes_nothing() -> None:
    world, other = GroupWorld(), GroupWorld()
    for each in (world, other):
        app = each.member("app-1")
        each.assemble(app)
        for offset in range(5):
            assert app.commit(offset) == "NONE"
            if each is world:
                look(each)
    assert world.kernel.trace == other.kernel.trace
