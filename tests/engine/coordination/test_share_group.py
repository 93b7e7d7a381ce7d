"""Share groups without brokers: how state batches combine, how partitions are shared out, records in Kafka's bytes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from engine.coordination.consumer_group_records import Assignment, TopicIdPartition
from engine.coordination.share_group import assign
from engine.coordination.share_group_records import (
    STATE_IDS,
    ShareState,
    StatePartitions,
    TopicState,
    read_snapshot_value,
    read_state_partitions_value,
    read_update_value,
    snapshot_value,
    state_partitions_value,
    update_value,
)
from engine.coordination.share_state import combine
from engine.messages.share_groups import StateBatch

TOPIC_ID = "abcdefghijklmnopqrstug"
batches = st.lists(
    st.builds(
        lambda first, length, state, count: StateBatch(first, first + length, state, count),
        st.integers(0, 20), st.integers(0, 8), st.sampled_from(sorted(STATE_IDS)), st.integers(1, 3),
    ),
    max_size=6,
)  # fmt: skip


def rank(batch: StateBatch) -> tuple[int, int]:
    return batch.delivery_count, STATE_IDS[batch.state]


def painted(layers: list[StateBatch], start: int) -> dict[int, tuple[int, int]]:
    """The same, one offset at a time."""
    found: dict[int, tuple[int, int]] = {}
    for batch in layers:
        for offset in range(max(batch.first_offset, start), batch.last_offset + 1):
            found[offset] = max(found.get(offset, (0, 0)), rank(batch))
    return found


@given(batches, batches, st.integers(-1, 25))
def test_state_batches_combine_as_if_each_offset_was_looked_at(before: list[StateBatch], new: list[StateBatch], start: int) -> None:
    found = combine(tuple(before), tuple(new), start)
    assert painted(list(found), start) == painted([*before, *new], start)
    for one, two in pairwise(found):
        assert one.last_offset < two.first_offset
        assert one.last_offset + 1 < two.first_offset or rank(one) != rank(two), "neighbours that are alike are one"


@given(batches, st.integers(-1, 9), st.integers(0, 70_000))
def test_share_state_survives_its_own_bytes(some: list[StateBatch], start: int, epoch: int) -> None:
    state = ShareState(epoch & 0xFFFF, 4, 7, start, tuple(some))
    assert read_snapshot_value(snapshot_value(state)) == state
    assert read_update_value(update_value(3, 7, start, tuple(some))) == (3, 7, start, tuple(some))


def test_state_partitions_survive_their_own_bytes() -> None:
    value = StatePartitions((TopicState(TOPIC_ID, "orders", (0, 2), 5),), (TopicState(TOPIC_ID, "orders", (1,), 9),))
    assert read_state_partitions_value(state_partitions_value(value)) == value


def parts(count: int) -> Assignment:
    return tuple([TopicIdPartition("t", number) for number in range(count)])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_partitions_are_shared_out_evenly(members: int, later: int, count: int) -> None:
    subscribed = {f"m{number}": ("t",) for number in range(members)}
    first = assign(subscribed, {}, parts(count))
    second = assign({f"m{number}": ("t",) for number in range(later)}, first, parts(count))
    for found, size in ((first, members), (second, later)):
        readers = [sum(part in mine for mine in found.values()) for part in parts(count)]
        assert min(readers) >= 1, "every partition is read by somebody"
        assert max(readers) <= -(-size // count)
        sizes = [len(mine) for mine in found.values()]
        assert all(len(set(mine)) == len(mine) for mine in found.values())
        assert max(sizes) <= -(-(-(-size // count) * count) // size)
    if members == later:
        assert first == second, "nothing changed, so nothing moves"


def test_more_members_than_partitions_all_have_work() -> None:
    """Fact 47 against fact 48: members of a share group share partitions."""
    found = assign({f"m{number}": ("t",) for number in range(3)}, {}, parts(1))
    assert [len(mine) for mine in found.values()] == [1, 1, 1]


def test_a_member_gets_only_what_it_subscribes_to() -> None:
    both = (*parts(2), TopicIdPartition("u", 0))
    found = assign({"m0": ("t",), "m1": ("t", "u"), "m2": ("u",)}, {}, both)
    assert all(part.topic_id == "t" for part in found["m0"])
    assert all(part.topic_id == "u" for part in found["m2"])
    assert {part for mine in found.values() for part in mine} == set(both)
