"""Facts 41, 42, 44, 45 and 48 where the broker decides them: the coordinator of a classic group, and the assignors that its leader runs."""

from __future__ import annotations

from engine.coordination.assignors import assign
from engine.coordination.group_settings import GroupSettings
from engine.events import GroupRebalanceStarted
from engine.messages.base import TopicPartition
from engine.messages.groups import JoinedMember, Subscription
from tests.engine.broker.group_world import GroupWorld
from tests.engine.broker.harness import MS, SECOND

DEFAULT_ASSIGNORS = ("range", "cooperative-sticky")
MINUTE_MS = 60_000


def joined(*names: str, owned: dict[str, tuple[TopicPartition, ...]] | None = None, generation: int = -1) -> list[JoinedMember]:
    return [JoinedMember(name, Subscription(("orders",), (owned or {}).get(name, ()), generation)) for name in names]


def test_fact_41_a_new_group_waits_three_seconds_for_its_members() -> None:
    world = GroupWorld()
    app = world.member("app-1")
    app.enter()
    world.run(3 * SECOND - 100 * MS)
    assert app.join_answer() is None
    world.run(200 * MS)
    assert app.take_join().error == "NONE"


def test_fact_41_a_group_with_members_waits_for_nobody_but_them() -> None:
    world = GroupWorld()
    one, two = world.member("app-1"), world.member("app-2")
    world.assemble(one)
    two.enter()
    one.enter()
    world.run(10 * MS)
    assert one.take_join().generation == two.take_join().generation == 2


def test_fact_41_a_member_is_out_after_its_session_timeout_and_not_before() -> None:
    world = GroupWorld()
    app = world.member("app-1", session_timeout_ms=45_000)
    world.assemble(app)
    world.run(44 * SECOND)
    assert app.heartbeat() == "NONE"
    world.run(46 * SECOND)
    assert app.heartbeat() == "UNKNOWN_MEMBER_ID"


def test_fact_42_of_the_default_list_the_group_picks_range() -> None:
    world = GroupWorld()
    one, two = (world.member(f"app-{number}", protocols=DEFAULT_ASSIGNORS) for number in (1, 2))
    world.assemble(one, two)
    assert world.group().protocol == "range"


def test_fact_42_cooperative_revokes_only_what_moves_and_hands_it_over_in_a_second_rebalance() -> None:
    counts = {"orders": 6}
    alone = assign("cooperative-sticky", counts, joined("a"))
    first = assign("cooperative-sticky", counts, joined("a", "b", owned=alone, generation=1))
    assert len(first["a"]) == 3
    assert set(first["a"]) < set(alone["a"])
    assert first["b"] == ()
    second = assign("cooperative-sticky", counts, joined("a", "b", owned=first, generation=2))
    assert second["a"] == first["a"]
    assert len(second["b"]) == 3


def test_fact_44_a_static_member_that_comes_back_in_time_causes_no_rebalance() -> None:
    world = GroupWorld()
    one, static = world.member("app-1"), world.member("app-2", instance="i-2")
    world.assemble(one, static)
    world.kernel.kill("app-2", 0)
    world.run(20 * SECOND)
    assert one.heartbeat() == "NONE"
    back = world.member("app-3", instance="i-2")
    back.enter()
    assert back.take_join().generation == 1
    assert one.heartbeat() == "NONE"
    assert len(world.events(GroupRebalanceStarted)) == 1


def test_fact_44_without_it_the_session_timeout_ends_its_place() -> None:
    world = GroupWorld()
    one, static = world.member("app-1"), world.member("app-2", instance="i-2")
    world.assemble(one, static)
    world.kernel.kill("app-2", 0)
    for _ in range(5):
        world.run(10 * SECOND)
        answer = one.heartbeat()
    assert answer == "REBALANCE_IN_PROGRESS"


def test_fact_45_committed_offsets_expire_seven_days_after_the_group_empties() -> None:
    assert GroupSettings.read({}).offsets_retention_ms == 7 * 24 * 60 * MINUTE_MS
    world = GroupWorld({"offsets.retention.minutes": "3", "offsets.retention.check.interval.ms": "1000"})
    app = world.member("app-1")
    world.assemble(app)
    assert app.commit(3) == "NONE"
    for _ in range(8):
        world.run(30 * SECOND)
        assert app.heartbeat() == "NONE"
    found = app.committed()
    assert found is not None
    assert found.offset == 3, "a group with members keeps what it reads"
    app.leave()
    world.run(178 * SECOND)
    found = app.committed()
    assert found is not None
    assert found.offset == 3
    world.run(4 * SECOND)
    found = app.committed()
    assert found is not None
    assert found.offset == -1


def test_fact_48_a_partition_has_one_owner_and_members_beyond_the_partitions_are_idle() -> None:
    for protocol in ("range", "roundrobin", "sticky", "cooperative-sticky"):
        given = assign(protocol, {"orders": 3}, joined("a", "b", "c", "d", "e"))
        owned = [partition for partitions in given.values() for partition in partitions]
        assert sorted(owned) == [TopicPartition("orders", number) for number in range(3)]
        assert sorted(len(partitions) for partitions in given.values()) == [0, 0, 1, 1, 1]


def test_fact_48_nobody_who_has_lost_its_place_can_commit_for_it() -> None:
    world = GroupWorld()
    one, two = world.member("app-1"), world.member("app-2", session_timeout_ms=10_000)
    world.assemble(one, two)
    world.kernel.pause("app-2", 0)
    for _ in range(4):
        world.run(3 * SECOND)
        one.heartbeat()
    one.enter()
    world.settle(one)
    world.kernel.resume("app-2", 0)
    assert len(one.partitions) == 6
    assert two.commit(9) == "UNKNOWN_MEMBER_ID"
