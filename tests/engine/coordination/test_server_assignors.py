"""The broker's assignors: what must hold of every assignment, over arbitrary groups."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.coordination.consumer_group_records import Assignment, TopicIdPartition
from engine.coordination.server_assignors import RANGE, UNIFORM, Members, MemberSpec, PartitionCounts, assign

TOPICS = ("a", "b", "c")
counts = st.fixed_dictionaries({topic: st.integers(1, 9) for topic in TOPICS})
subscriptions = st.lists(st.sets(st.sampled_from(TOPICS)).map(lambda topics: tuple(sorted(topics))), min_size=1, max_size=7)
alike = st.tuples(st.integers(1, 7), st.sets(st.sampled_from(TOPICS), min_size=1).map(lambda topics: tuple(sorted(topics))))


def members_of(topics: list[tuple[str, ...]], before: dict[str, Assignment] | None = None) -> Members:
    return {f"m{index}": MemberSpec(mine, (before or {}).get(f"m{index}", ())) for index, mine in enumerate(topics)}


def check(found: dict[str, Assignment], members: Members, counts: PartitionCounts) -> None:
    """Each partition that somebody wants has one owner, who wants it."""
    given_out = [part for parts in found.values() for part in parts]
    wanted = {TopicIdPartition(topic, n) for member in members.values() for topic in member.topic_ids for n in range(counts[topic])}
    assert len(given_out) == len(set(given_out))
    assert set(given_out) == wanted
    for member_id, parts in found.items():
        assert all(part.topic_id in members[member_id].topic_ids for part in parts)


def sizes(found: dict[str, Assignment]) -> list[int]:
    return [len(parts) for parts in found.values()]


@given(subscriptions, counts, st.sampled_from([UNIFORM, RANGE]))
def test_each_partition_goes_to_exactly_one_subscriber(topics: list[tuple[str, ...]], counts: PartitionCounts, name: str) -> None:
    members = members_of(topics)
    check(assign(name, members, counts), members, counts)


@given(alike, counts, counts)
def test_uniform_is_even_and_moves_no_more_than_it_must(
    shape: tuple[int, tuple[str, ...]], counts: PartitionCounts, later: PartitionCounts
) -> None:
    size, topics = shape
    first = assign(UNIFORM, members_of([topics] * size), counts)
    assert max(sizes(first)) - min(sizes(first)) <= 1
    members = members_of([topics] * (size + 1), first)
    second = assign(UNIFORM, members, later)
    check(second, members, later)
    assert max(sizes(second)) - min(sizes(second)) <= 1
    least = sum([later[topic] for topic in topics]) // (size + 1)
    for member_id, before in first.items():
        left = [part for part in before if part.partition < later[part.topic_id]]
        kept = [part for part in left if part in second[member_id]]
        assert len(kept) >= min(len(left), least)


@given(subscriptions, subscriptions, counts)
def test_uniform_with_mixed_subscriptions_leaves_no_partition_that_one_move_would_even_out(
    topics: list[tuple[str, ...]], later: list[tuple[str, ...]], counts: PartitionCounts
) -> None:
    before = assign(UNIFORM, members_of(topics), counts)
    members = members_of(later, before)
    found = assign(UNIFORM, members, counts)
    check(found, members, counts)
    for parts in found.values():
        for part in parts:
            for other_id, other in found.items():
                if part.topic_id in members[other_id].topic_ids:
                    assert len(parts) - len(other) <= 1


@given(alike, counts)
def test_uniform_changes_nothing_where_nothing_changed(shape: tuple[int, tuple[str, ...]], counts: PartitionCounts) -> None:
    size, topics = shape
    first = assign(UNIFORM, members_of([topics] * size), counts)
    assert assign(UNIFORM, members_of([topics] * size, first), counts) == first


def test_range_gives_the_same_partitions_of_topics_with_equally_many() -> None:
    found = assign(RANGE, members_of([("a", "b")] * 3), {"a": 5, "b": 5})
    assert [[(part.topic_id, part.partition) for part in parts] for parts in found.values()] == [
        [("a", 0), ("a", 1), ("b", 0), ("b", 1)],
        [("a", 2), ("a", 3), ("b", 2), ("b", 3)],
        [("a", 4), ("b", 4)],
    ]


def test_range_takes_static_members_first_by_their_instance_id() -> None:
    members = {"m1": MemberSpec(("a",), ()), "m2": MemberSpec(("a",), (), "z"), "m3": MemberSpec(("a",), (), "b")}
    found = assign(RANGE, members, {"a": 3})
    assert {member_id: [part.partition for part in parts] for member_id, parts in found.items()} == {
        "m3": [0],
        "m2": [1],
        "m1": [2],
    }
