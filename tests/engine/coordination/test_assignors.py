"""The assignors of the classic protocol: each partition exactly once, balance, stickiness; and Kafka's own examples."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.coordination.assignors import ASSIGNORS, COOPERATIVE_STICKY, RANGE, ROUND_ROBIN, STICKY, assign
from engine.messages.base import TopicPartition
from engine.messages.groups import JoinedMember, Subscription

Assignment = dict[str, tuple[TopicPartition, ...]]


def member(
    name: str, *topics: str, owned: tuple[TopicPartition, ...] = (), generation: int = -1, instance: str = ""
) -> JoinedMember:
    return JoinedMember(name, Subscription(topics, owned, generation), instance)


def spell(assignment: Assignment) -> dict[str, list[str]]:
    return {name: [str(partition) for partition in partitions] for name, partitions in assignment.items()}


def rejoin(assignment: Assignment, topics: dict[str, tuple[str, ...]], generation: int) -> list[JoinedMember]:
    return [member(name, *topics[name], owned=assignment.get(name, ()), generation=generation) for name in topics]


def test_range_gives_the_first_members_one_more_of_each_topic() -> None:
    two = [member("c0", "t0", "t1"), member("c1", "t0", "t1")]
    assert spell(assign(RANGE, {"t0": 3, "t1": 3}, two)) == {
        "c0": ["t0-0", "t0-1", "t1-0", "t1-1"],
        "c1": ["t0-2", "t1-2"],
    }


def test_round_robin_deals_over_all_topics() -> None:
    two = [member("c0", "t0", "t1"), member("c1", "t0", "t1")]
    assert spell(assign(ROUND_ROBIN, {"t0": 3, "t1": 3}, two)) == {
        "c0": ["t0-0", "t0-2", "t1-1"],
        "c1": ["t0-1", "t1-0", "t1-2"],
    }


def test_round_robin_passes_over_who_has_not_subscribed() -> None:
    three = [member("c0", "t0"), member("c1", "t0", "t1"), member("c2", "t0", "t1", "t2")]
    assert spell(assign(ROUND_ROBIN, {"t0": 1, "t1": 2, "t2": 3}, three)) == {
        "c0": ["t0-0"],
        "c1": ["t1-0"],
        "c2": ["t1-1", "t2-0", "t2-1", "t2-2"],
    }


def test_sticky_is_balanced_where_subscriptions_differ() -> None:
    """The second example of StickyAssignor's documentation."""
    three = [member("c0", "t0"), member("c1", "t0", "t1"), member("c2", "t0", "t1", "t2")]
    assert spell(assign(STICKY, {"t0": 1, "t1": 2, "t2": 3}, three)) == {
        "c0": ["t0-0"],
        "c1": ["t1-0", "t1-1"],
        "c2": ["t2-0", "t2-1", "t2-2"],
    }


def test_sticky_moves_only_what_the_lost_member_had() -> None:
    """The first example of StickyAssignor's documentation: c1 of three goes."""
    topics = {"t0": 2, "t1": 2, "t2": 2, "t3": 2}
    names = {name: tuple(topics) for name in ("c0", "c1", "c2")}
    first = assign(STICKY, topics, rejoin({}, names, -1))
    assert sorted(len(partitions) for partitions in first.values()) == [2, 3, 3]
    del names["c1"]
    second = assign(STICKY, topics, rejoin(first, names, 1))
    assert all(set(first[name]) <= set(second[name]) for name in names)


def test_static_members_keep_their_ranges_under_new_member_ids() -> None:
    before = assign(RANGE, {"t": 4}, [member("x-1", "t", instance="a"), member("b-1", "t", instance="b")])
    after = assign(RANGE, {"t": 4}, [member("a-2", "t", instance="b"), member("z-2", "t", instance="a")])
    assert before["x-1"] == after["z-2"]


def test_cooperative_sticky_withholds_what_still_has_an_owner() -> None:
    topics = {"t": 4}
    one = assign(COOPERATIVE_STICKY, topics, [member("c0", "t")])
    assert len(one["c0"]) == 4
    joined = [member("c0", "t", owned=one["c0"], generation=1), member("c1", "t")]
    first = assign(COOPERATIVE_STICKY, topics, joined)
    assert (len(first["c0"]), len(first["c1"])) == (2, 0)
    second = assign(COOPERATIVE_STICKY, topics, rejoin(first, {"c0": ("t",), "c1": ("t",)}, 2))
    assert (len(second["c0"]), len(second["c1"])) == (2, 2)
    assert second["c0"] == first["c0"]


def test_what_a_zombie_claims_from_an_older_generation_does_not_count() -> None:
    parts = tuple(TopicPartition("t", number) for number in range(2))
    both = [member("c0", "t", owned=parts, generation=1), member("c1", "t", owned=parts, generation=2)]
    assert len(assign(STICKY, {"t": 2}, both)["c1"]) == 1
    assignment = assign(COOPERATIVE_STICKY, {"t": 2}, both)
    assert len(assignment["c1"]) == 1
    assert assignment["c0"] == (), "what it gets is still c1's to give up"


names = st.integers(1, 8).map(lambda count: [f"c{number}" for number in range(count)])
counts = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 9), min_size=1)


@pytest.mark.parametrize("protocol", [STICKY, COOPERATIVE_STICKY])
def test_what_somebody_owns_of_a_topic_that_came_back_with_fewer_partitions_does_not_count(protocol: str) -> None:
    gone = TopicPartition("passing", 1)
    members = [
        member("a", "orders", "passing", owned=(TopicPartition("orders", 0), gone), generation=3),
        member("b", "orders", "passing", owned=(TopicPartition("orders", 1),), generation=3),
    ]
    found = assign(protocol, {"orders": 2, "passing": 1}, members)
    assert sorted(partition for partitions in found.values() for partition in partitions) == [
        TopicPartition("orders", 0),
        TopicPartition("orders", 1),
        TopicPartition("passing", 0),
    ]


@st.composite
def equal_groups(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    topics = draw(counts)
    return topics, {name: tuple(topics) for name in draw(names)}


@st.composite
def mixed_groups(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    topics = draw(counts)
    some = st.lists(st.sampled_from(sorted(topics)), unique=True).map(tuple)
    return topics, {name: draw(some) for name in draw(names)}


def check_covers(topics: dict[str, int], members: dict[str, tuple[str, ...]], assignment: Assignment) -> None:
    given_out = [partition for partitions in assignment.values() for partition in partitions]
    assert len(given_out) == len(set(given_out))
    read = {topic for subscribed in members.values() for topic in subscribed}
    assert set(given_out) == {TopicPartition(topic, number) for topic in read for number in range(topics[topic])}
    for name, partitions in assignment.items():
        assert all(partition.topic in members[name] for partition in partitions)


@pytest.mark.parametrize("protocol", ASSIGNORS)
@settings(max_examples=60)
@given(group=mixed_groups())
def test_every_partition_has_exactly_one_owner(protocol: str, group: tuple[dict[str, int], dict[str, tuple[str, ...]]]) -> None:
    topics, members = group
    check_covers(topics, members, assign(protocol, topics, rejoin({}, members, -1)))


@settings(max_examples=150)
@given(group=equal_groups(), goes=st.integers(0, 7), comes=st.integers(0, 3))
def test_sticky_stays_balanced_and_moves_no_more_than_it_must(
    group: tuple[dict[str, int], dict[str, tuple[str, ...]]], goes: int, comes: int
) -> None:
    topics, members = group
    total = sum(topics.values())
    first = assign(STICKY, topics, rejoin({}, members, -1))
    loads = [len(partitions) for partitions in first.values()]
    assert max(loads) - min(loads) <= 1
    left = dict(list(members.items())[min(goes, len(members) - 1) :])
    left |= {f"new{number}": tuple(topics) for number in range(comes)}
    second = assign(STICKY, topics, rejoin(first, left, 1))
    check_covers(topics, left, second)
    loads = [len(partitions) for partitions in second.values()]
    assert max(loads) - min(loads) <= 1
    least, over = divmod(total, len(left))
    held = sorted([len(first.get(name, ())) for name in left], reverse=True)
    can_stay = sum(min(had, least + (position < over)) for position, had in enumerate(held))
    stayed = sum(len(set(first.get(name, ())) & set(second[name])) for name in left)
    assert stayed == can_stay


@settings(max_examples=150)
@given(group=mixed_groups(), goes=st.integers(0, 7))
def test_cooperative_sticky_never_hands_over_what_is_owned_and_settles(
    group: tuple[dict[str, int], dict[str, tuple[str, ...]]], goes: int
) -> None:
    topics, members = group
    owned: Assignment = assign(COOPERATIVE_STICKY, topics, rejoin({}, members, -1))
    left = dict(list(members.items())[min(goes, len(members) - 1) :])
    for generation in range(1, 6):
        given_out = assign(COOPERATIVE_STICKY, topics, rejoin(owned, left, generation))
        for name, partitions in given_out.items():
            for other, held in owned.items():
                assert other == name or other not in left or not set(partitions) & set(held)
        settled = all(set(given_out[name]) == set(owned.get(name, ())) for name in left)
        owned = given_out
        if settled:
            break
    assert settled
    check_covers(topics, left, owned)


@settings(max_examples=100)
@given(group=mixed_groups())
def test_sticky_is_as_even_as_subscriptions_allow(group: tuple[dict[str, int], dict[str, tuple[str, ...]]]) -> None:
    """KIP-54's measure: nobody could take a partition from somebody who has two more."""
    topics, members = group
    assignment = assign(STICKY, topics, rejoin({}, members, -1))
    for name, subscribed in members.items():
        for other, partitions in assignment.items():
            takeable = [partition for partition in partitions if partition.topic in subscribed]
            assert not takeable or len(partitions) <= len(assignment[name]) + 1, (name, other)
