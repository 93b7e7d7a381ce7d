"""Copies are independent; the durable form comes back equal; strangers are refused."""

from collections import deque
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.messages.base import Disconnected, TopicPartition
from engine.sim import checkpoint as cp
from engine.sim.disk import Disk
from engine.sim.network import Link
from engine.sim.rng import Stream
from engine.sim.sequence import Sequence


@dataclass(slots=True)
class Leaf:
    number: int = 0


@dataclass(slots=True)
class Tree:
    name: str = "t"
    leaves: list[Leaf] = field(default_factory=list)
    by_key: dict[TopicPartition, Leaf] = field(default_factory=dict)
    plain: dict[str, list[int]] = field(default_factory=dict)
    maybe: Leaf | None = None
    members: set[int] = field(default_factory=set)
    line: deque[int] = field(default_factory=deque)
    log: Sequence[bytes] = field(default_factory=Sequence)
    message: Disconnected | None = None
    anything: object = None


def test_a_copy_shares_nothing_that_can_change() -> None:
    tree = Tree(
        leaves=[Leaf(1)], by_key={TopicPartition("orders", 0): Leaf(2)}, plain={"a": [1]}, maybe=Leaf(3), members={1},
        line=deque([1]), log=Sequence([b"x"]), message=Disconnected("broker-1"), anything=[Leaf(4)],
    )  # fmt: skip
    twin = cp.copy_tree(tree)
    assert twin == tree
    twin.leaves[0].number = twin.by_key[TopicPartition("orders", 0)].number = twin.maybe.number = twin.anything[0].number = 9
    twin.plain["a"].append(2)
    twin.members.add(2)
    twin.line.append(2)
    twin.log.append(b"y")
    assert tree.leaves[0].number == 1
    assert tree.by_key[TopicPartition("orders", 0)].number == 2
    assert tree.maybe == Leaf(3)
    assert tree.anything == [Leaf(4)]
    assert tree.plain == {"a": [1]}
    assert tree.members == {1}
    assert list(tree.line) == [1]
    assert list(tree.log) == [b"x"]
    assert twin.message is tree.message


def test_what_is_no_plain_state_is_refused() -> None:
    with pytest.raises(TypeError, match="plain state"):
        cp.copy_tree(Tree(anything=iter([])))


@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(0, 2**64 - 1))
def test_the_durable_form_comes_back_equal(chunks: list[bytes], state: int) -> None:
    disk = Disk()
    for chunk in chunks:
        disk.append("orders-0/00000000000000000000.log", chunk)
    tree = {
        ("broker-1", 1): [disk, Link(Stream(state), cut=True)],
        "message": (Disconnected("broker-2"), None, True, -(2**40)),
    }
    assert cp.load(cp.dump(tree)) == tree


def test_bytes_that_many_replicas_share_are_written_once() -> None:
    batch = bytes(range(256)) * 40
    assert len(cp.dump([batch] * 50)) < 2 * len(batch)


@given(st.binary(max_size=300))
def test_damaged_checkpoints_give_a_checkpoint_error(content: bytes) -> None:
    with pytest.raises(cp.CheckpointError):
        cp.load(content)


def test_a_checkpoint_can_name_no_class_outside_the_engine() -> None:
    evil = msgspec.msgpack.encode([cp.FORMAT, [["subprocess", "Popen", ["args"]]], [], [7, 0, "x"]])
    with pytest.raises(cp.CheckpointError, match="no state of the engine"):
        cp.load(evil)
