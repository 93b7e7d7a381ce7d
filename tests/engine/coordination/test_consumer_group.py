"""The coordinator of KIP-848 consumer groups, without brokers: epochs, handover, refusals, failover; and a search for two owners."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.coordination.consumer_group import ConsumerGroup
from engine.coordination.consumer_group_member import HANDOVER_MUTANT, MemberState
from engine.events import GroupEpochBumped, GroupReconciled, MemberLeft, MemberReconciled
from engine.messages.base import TopicPartition
from tests.engine.coordination.group_room import Member, Room


def room_of(partitions: int = 6, **configs: str) -> Room:
    room = Room({name.replace("_", "."): value for name, value in configs.items()})
    room.topic("orders", partitions)
    return room


def numbers(member: Member) -> list[int]:
    return [part.partition for part in member.owned]


def test_the_first_member_gets_everything_in_epoch_one() -> None:
    room = room_of()
    app = room.member("app-1")
    answer = app.join()
    assert (answer.error, answer.member_epoch, answer.heartbeat_interval_ms) == ("NONE", 1, 5_000)
    assert numbers(app) == [0, 1, 2, 3, 4, 5]
    assert room.group.state_name() == "Stable"
    assert (room.group.group_epoch, room.group.assignment_epoch) == (1, 1)


def test_a_partition_is_handed_over_only_after_its_owner_has_given_it_up() -> None:
    room = room_of()
    one, two = room.member("app-1"), room.member("app-2")
    one.join()
    two.join()
    assert numbers(two) == []
    assert room.group.members["app-2-id"].state == MemberState.UNRELEASED_PARTITIONS
    assert room.group.state_name() == "Reconciling"
    one.heartbeat(settle=False)
    assert len(one.wanted) == 3
    assert len(one.owned) == 6
    two.heartbeat()
    assert numbers(two) == [], "app-1 has not said yet that it gave them up"
    assert one.epoch == 1, "it stays in its epoch until it has"
    one.owned = one.wanted
    one.heartbeat()
    assert one.epoch == 2
    two.heartbeat()
    assert sorted(numbers(one) + numbers(two)) == [0, 1, 2, 3, 4, 5]
    assert room.group.state_name() == "Stable"


def test_nobody_else_stops_while_partitions_move() -> None:
    """Fact 43: no stop of the world. The members that keep what they have are asked for nothing."""
    room = room_of(9)
    members = [room.member(f"app-{number}") for number in (1, 2, 3)]
    for member in members:
        member.join()
    for _ in range(3):
        for member in members:
            member.heartbeat()
    before = [list(member.owned) for member in members]
    four = room.member("app-4")
    four.join()
    for member, had in zip(members, before, strict=True):
        member.heartbeat(settle=False)
        assert len([part for part in had if part in member.wanted]) >= 2
        assert all(part in had for part in member.wanted)


def test_who_is_not_needed_stays_idle() -> None:
    """Fact 48."""
    room = room_of(2)
    members = [room.member(f"app-{number}") for number in (1, 2, 3)]
    for member in members:
        member.join()
    for _ in range(4):
        for member in members:
            member.heartbeat()
    assert sorted(len(member.owned) for member in members) == [0, 1, 1]
    assert room.group.state_name() == "Stable"


def test_refusals() -> None:
    room = room_of(group_consumer_max_size="2")
    one, two, three = (room.member(f"app-{number}") for number in (1, 2, 3))
    assert one.heartbeat().error == "INVALID_REQUEST"
    one.member_id, one.epoch = "app-1-id", 3
    assert one.heartbeat().error == "GROUP_ID_NOT_FOUND"
    one.join()
    two.assignor = "sticky"
    answer = two.join()
    assert answer.error == "UNSUPPORTED_ASSIGNOR"
    assert "uniform, range" in answer.message
    two.assignor = "range"
    two.join()
    assert three.join().error == "GROUP_MAX_SIZE_REACHED"
    three.epoch = 2
    assert three.heartbeat().error == "GROUP_MAX_SIZE_REACHED"
    two.epoch = 9
    assert two.heartbeat().error == "FENCED_MEMBER_EPOCH"
    two.leave()
    assert two.heartbeat().error == "UNKNOWN_MEMBER_ID"


def test_a_lost_answer_does_not_fence() -> None:
    room = room_of()
    one, two = room.member("app-1"), room.member("app-2")
    one.join()
    two.join()
    one.heartbeat()
    one.heartbeat(lost=True)
    assert room.group.members["app-1-id"].member_epoch == 2
    assert one.epoch == 1
    assert one.heartbeat(full=True).error == "NONE"
    assert one.epoch == 2


def test_a_fenced_member_comes_back_with_epoch_zero_and_its_own_id() -> None:
    room = room_of()
    app = room.member("app-1")
    app.join()
    app.epoch = 7
    assert app.heartbeat().error == "FENCED_MEMBER_EPOCH"
    assert app.join().error == "NONE"
    assert len(app.owned) == 6


def test_silence_ends_the_session_and_frees_the_partitions() -> None:
    room = room_of()
    one, two = room.member("app-1"), room.member("app-2")
    one.join()
    two.join()
    for _ in range(3):
        one.heartbeat()
        two.heartbeat()
    for _ in range(12):
        room.wait(5)
        one.heartbeat()
    assert len(one.owned) == 6
    left = [event for event in room.events if isinstance(event, MemberLeft)]
    assert [(event.consumer, event.reason, event.members) for event in left] == [("app-2", "session expired", 1)]
    done = [event for event in room.events if isinstance(event, GroupReconciled)][-1]
    assert done.assigned == (("app-1", 6),)
    assert 0 <= done.stopped_us <= 5_000_000


def test_who_does_not_give_up_its_partitions_in_time_is_out() -> None:
    room = room_of()
    one, two = room.member("app-1", rebalance_timeout_ms=20_000), room.member("app-2")
    one.join()
    two.join()
    one.heartbeat(settle=False)
    for _ in range(4):
        room.wait(5)
        one.heartbeat(settle=False)
        two.heartbeat()
    assert "app-1-id" not in room.group.members
    assert [event.reason for event in room.events if isinstance(event, MemberLeft)] == ["revocation timeout"]
    assert len(two.owned) in (3, 6)
    two.heartbeat()
    assert len(two.owned) == 6


def test_new_partitions_bump_the_epoch() -> None:
    room = room_of(2)
    app = room.member("app-1")
    app.join()
    app.heartbeat()
    assert app.epoch == 1
    room.topic("orders", 4)
    app.heartbeat()
    assert app.epoch == 2
    assert numbers(app) == [0, 1, 2, 3]
    assert [event.reason for event in room.events if isinstance(event, GroupEpochBumped)][-1] == "its topics have changed"


def test_a_deleted_topic_is_taken_away_and_one_of_the_same_name_is_another() -> None:
    room = room_of(2)
    app = room.member("app-1")
    app.join()
    room.delete_topic("orders")
    app.heartbeat()
    app.heartbeat()
    assert app.owned == ()
    room.topic("orders", 3, version=2)
    app.heartbeat()
    assert numbers(app) == [0, 1, 2]


def test_a_static_member_that_goes_for_a_while_keeps_its_place() -> None:
    """Fact 44: epoch -2, and no rebalance when another process comes in its name."""
    room = room_of()
    one, two = room.member("app-1", instance="i1"), room.member("app-2", instance="i2")
    one.join()
    two.join()
    for _ in range(3):
        one.heartbeat()
        two.heartbeat()
    epoch, had = room.group.group_epoch, one.owned
    third = room.member("app-3", instance="i1")
    assert third.join().error == "UNRELEASED_INSTANCE_ID"
    assert one.leave(-2).member_epoch == -2
    two.heartbeat()
    assert len(two.owned) == 3
    assert third.join().error == "NONE"
    assert third.owned == had
    assert room.group.group_epoch == epoch
    assert room.group.state_name() == "Stable"
    one.epoch = epoch
    assert one.heartbeat().error == "FENCED_INSTANCE_ID"


def test_a_static_member_that_does_not_come_back_is_out_when_its_session_ends() -> None:
    room = room_of()
    one, two = room.member("app-1", instance="i1"), room.member("app-2")
    one.join()
    two.join()
    for _ in range(3):
        one.heartbeat()
        two.heartbeat()
    one.leave(-2)
    for _ in range(10):
        room.wait(5)
        two.heartbeat()
    assert len(two.owned) == 6


def test_another_coordinator_carries_on_from_the_log() -> None:
    room = room_of()
    one, two = room.member("app-1"), room.member("app-2")
    one.join()
    two.join()
    one.heartbeat(settle=False)
    known = room.group
    room.reload(room.compacted())
    assert room.group is not known
    for name in ("group_epoch", "assignment_epoch", "metadata_hash", "members", "target", "partition_epochs"):
        assert getattr(room.group, name) == getattr(known, name), name
    one.owned = one.wanted
    one.heartbeat()
    two.heartbeat()
    assert sorted(numbers(one) + numbers(two)) == [0, 1, 2, 3, 4, 5]


def test_the_assignor_that_most_members_ask_for_is_taken() -> None:
    room = room_of(4)
    one = room.member("app-1", assignor="range")
    one.join()
    assert room.group.describe(1).protocol == "range"
    two, three = (room.member(f"app-{number}", assignor="uniform") for number in (2, 3))
    two.join()
    three.join()
    assert room.group.describe(1).protocol == "uniform"


def test_a_subscription_that_ends_is_given_up_at_once() -> None:
    room = room_of(2)
    room.topic("payments", 2)
    one, two = room.member("app-1", "orders", "payments"), room.member("app-2", "orders", "payments")
    one.join()
    two.join()
    for _ in range(3):
        one.heartbeat()
        two.heartbeat()
    one.subscribe("payments")
    assert all(part.topic == "payments" for part in one.owned)
    for _ in range(3):
        one.heartbeat()
        two.heartbeat()
    assert [part for part in two.owned if part.topic == "orders"] == [TopicPartition("orders", 0), TopicPartition("orders", 1)]


# -- a search for two owners ------------------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c", "d")
steps = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(["join", "beat", "beat", "beat", "slow", "lost", "settle", "leave", "wait", "reload", "grow", "narrow"]),
    ),
    max_size=60,
)


def run(plan: list[tuple[str, str]], mutants: tuple[str, ...] = ()) -> Room:
    """Plays the steps and looks at every owner after each."""
    room = Room(mutants=mutants)
    room.topic("orders", 3)
    room.topic("payments", 2)
    members = {name: room.member(name, "orders", "payments") for name in NAMES}
    for name, step in plan:
        member = members[name]
        if step == "join":
            member.topics = ("orders", "payments")
            member.join()
        elif step in ("beat", "slow", "lost"):
            member.heartbeat(lost=step == "lost", settle=step == "beat")
        elif step == "settle":
            member.owned = member.wanted
        elif step == "leave":
            member.leave()
        elif step == "wait":
            room.wait(20)
        elif step == "reload":
            room.reload(room.compacted())
        elif step == "grow":
            room.topic("orders", min(len(room.image.topics["orders"].partitions) + 1, 6))
        else:
            member.subscribe("orders")
        if isinstance(room.shard.groups.get("readers"), ConsumerGroup):
            room.check_single_owner()
    return room


@settings(max_examples=300, deadline=None)
@given(steps)
def test_no_partition_ever_has_two_owners_and_the_group_converges(plan: list[tuple[str, str]]) -> None:
    room = run(plan)
    survivors = [room.member(name, "orders", "payments") for name in NAMES[:2]]
    for member in survivors:
        member.join()
    for _ in range(30):
        room.wait(5)
        for member in survivors:
            if member.heartbeat().error != "NONE":
                member.join()
    assert room.group.state_name() == "Stable"
    owned = sorted(part for member in survivors for part in member.owned)
    wanted = [
        TopicPartition(topic, number)
        for topic in ("orders", "payments")
        for number in range(len(room.image.topics[topic].partitions))
    ]
    assert owned == wanted


def test_the_sabotage_that_hands_over_too_early_is_seen() -> None:
    plan = [("a", "join"), ("b", "join")]
    run(plan)
    with pytest.raises(AssertionError, match="two owners"):
        run(plan, (HANDOVER_MUTANT,))


def test_what_a_member_gives_up_is_told() -> None:
    room = room_of(2)
    one, two = room.member("app-1"), room.member("app-2")
    one.join()
    two.join()
    one.heartbeat()
    one.heartbeat()
    two.heartbeat()
    told = [(e.consumer, e.gained, e.given_up, e.revoking, e.waiting) for e in room.events if isinstance(e, MemberReconciled)]
    zero, last = ("orders", 0), ("orders", 1)
    assert told == [
        ("app-1", (zero, last), (), (), 0),
        ("app-2", (), (), (), 1),
        ("app-1", (), (), (last,), 0),
        ("app-1", (), (last,), (), 0),
        ("app-2", (last,), (), (), 0),
    ]
