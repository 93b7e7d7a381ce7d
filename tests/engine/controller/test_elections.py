"""Who leads, who stays eligible: fact 22 and KIP-966, one table row per case (Kafka's ``PartitionChangeBuilderTest``)."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.controller.state.elections import ONLINE, PREFERRED, UNCLEAN, change_for, target_of
from engine.metadata.image import PartitionImage

Ids = tuple[int, ...]


def elect(partition: PartitionImage, isr: Ids, live: Ids, *, min_isr: int = 2, elr: bool = True, election: str = ONLINE,
          unclean_shutdown: int = -1) -> PartitionImage:  # fmt: skip
    target = target_of(partition)
    target.isr = isr
    change = change_for(
        "t",
        0,
        partition,
        target,
        lambda b: b in live,
        min_isr=min_isr,
        elr_enabled=elr,
        election=election,
        unclean_shutdown=unclean_shutdown,
    )
    return partition if change is None else partition.merge(change)


HEALTHY = PartitionImage((1, 2, 3), (1, 2, 3), 1)


@pytest.mark.parametrize(
    ("name", "partition", "isr", "live", "election", "leader", "new_isr", "elr"),
    [
        ("the current leader stays", HEALTHY, (1, 3), (1, 2, 3), ONLINE, 1, (1, 3), ()),
        ("the first live ISR member in assignment order", HEALTHY, (3, 2), (2, 3), ONLINE, 2, (3, 2), ()),
        ("a replica out of the ISR does not lead while one in it lives", HEALTHY, (3,), (2, 3), ONLINE, 3, (3,), (1, 2)),
        ("below min ISR the leavers become eligible", HEALTHY, (3,), (3,), ONLINE, 3, (3,), (1, 2)),
        ("nobody lives: no leader, an empty ISR, all eligible", HEALTHY, (), (), ONLINE, -1, (), (1, 2, 3)),
        ("the ELR leads when the ISR is empty", PartitionImage((1, 2, 3), (), -1, elr=(2, 3), last_known_elr=(2,)),
         (), (1, 3), ONLINE, 3, (3,), (2,)),
        ("the ELR does not lead while the ISR has members", PartitionImage((1, 2, 3), (2,), -1, elr=(3,)),
         (2,), (3,), ONLINE, -1, (2,), (3,)),
        ("then the last known leader", PartitionImage((1, 2, 3), (), -1, last_known_elr=(2,)), (), (1, 2), ONLINE, 2, (2,), ()),
        ("but not while it is fenced", PartitionImage((1, 2, 3), (), -1, last_known_elr=(2,)), (), (1, 3), ONLINE, -1, (), ()),
        ("then, only if allowed, any live replica", PartitionImage((1, 2, 3), (), -1, last_known_elr=(2,)),
         (), (1, 3), UNCLEAN, 1, (1,), ()),
        ("the ELR comes before an unclean election", PartitionImage((1, 2, 3), (), -1, elr=(3,)), (), (1, 3), UNCLEAN, 3, (3,), ()),
        ("the preferred leader takes over if it is in sync", PartitionImage((1, 2, 3), (2, 1, 3), 2),
         (2, 1, 3), (1, 2, 3), PREFERRED, 1, (2, 1, 3), ()),
        ("and not otherwise", PartitionImage((1, 2, 3), (2, 3), 2), (2, 3), (1, 2, 3), PREFERRED, 2, (2, 3), ()),
    ],
)  # fmt: skip
def test_fact_22_election_order(
    name: str, partition: PartitionImage, isr: Ids, live: Ids, election: str, leader: int, new_isr: Ids, elr: Ids
) -> None:
    after = elect(partition, isr, live, election=election)
    assert (after.leader, after.isr, sorted(after.elr)) == (leader, new_isr, sorted(elr)), name


def test_without_elr_the_last_isr_member_stays_though_fenced_and_nobody_leads() -> None:
    alone = PartitionImage((1, 2, 3), (1,), 1)
    after = elect(alone, (), (2, 3), elr=False)
    assert (after.leader, after.isr, after.elr) == (-1, (1,), ())
    assert elect(after, (1,), (1, 2, 3), elr=False).leader == 1


def test_without_elr_an_unclean_election_resets_the_isr_to_the_new_leader() -> None:
    after = elect(PartitionImage((1, 2, 3), (1,), 1), (), (2, 3), elr=False, election=UNCLEAN)
    assert (after.leader, after.isr) == (2, (2,))


def test_the_last_known_leader_is_remembered_when_the_isr_empties_and_forgotten_with_the_next_leader() -> None:
    gone = elect(PartitionImage((1, 2, 3), (3,), 3, elr=(1, 2)), (), ())
    assert gone.last_known_elr == (3,)
    back = elect(gone, (), (2,))
    assert (back.leader, back.last_known_elr) == (2, ())


def test_kip_966_example_of_the_isr_shrinking_member_by_member() -> None:
    """Replicas 1-3, min ISR 2: 3 leaves (ISR large enough, no ELR), 2 leaves (eligible), 1 leaves (eligible), 2 returns and leads."""
    step = elect(HEALTHY, (1, 2), (1, 2))
    assert (step.isr, step.elr) == ((1, 2), ())
    step = elect(step, (1,), (1,))
    assert (step.isr, step.elr) == ((1,), (2,))
    step = elect(step, (), ())
    assert (step.isr, sorted(step.elr), step.leader) == ((), [1, 2], -1)
    step = elect(step, (), (3,))
    assert step.leader == -1, "3 left while the ISR was large enough: records may have been committed without it"
    step = elect(step, (), (2, 3))
    assert (step.isr, step.elr, step.leader) == ((2,), (1,), 2)
    step = elect(step, (2, 3), (2, 3))
    assert (step.isr, step.elr) == ((2, 3), ())


def test_an_unclean_shutdown_leaves_isr_and_elr() -> None:
    small = PartitionImage((1, 2, 3), (1,), 1, elr=(2, 3))
    after = elect(small, (1,), (1,), unclean_shutdown=2)
    assert after.elr == (3,)
    after = elect(small, (), (2, 3), unclean_shutdown=1)
    assert (after.leader, after.isr, after.elr) == (2, (2,), (3,))


def test_a_leader_change_bumps_the_leader_epoch_and_any_change_the_partition_epoch() -> None:
    shrunk = elect(HEALTHY, (1, 2), (1, 2))
    assert (shrunk.leader_epoch, shrunk.partition_epoch) == (0, 1)
    moved = elect(shrunk, (2,), (2,))
    assert (moved.leader_epoch, moved.partition_epoch) == (1, 2)
    assert elect(moved, (2,), (2,)) is moved


def test_a_replica_that_leaves_the_assignment_bumps_the_leader_epoch() -> None:
    partition = PartitionImage((4, 1, 2, 3), (1, 2, 4), 1, adding=(4,), removing=(3,))
    after = elect(partition, (1, 2, 4), (1, 2, 3, 4))
    assert (after.replicas, after.adding, after.removing) == ((4, 1, 2), (), ())
    assert (after.leader, after.leader_epoch) == (1, 1)


def test_a_reassignment_waits_until_all_that_stay_are_in_sync() -> None:
    partition = PartitionImage((4, 5, 1, 2), (1, 2, 4), 1, adding=(4, 5), removing=(1, 2))
    assert elect(partition, (1, 2, 4), (1, 2, 4, 5)).removing == (1, 2)
    done = elect(partition, (1, 2, 4, 5), (1, 2, 4, 5))
    assert (done.replicas, done.isr, done.leader) == ((4, 5), (4, 5), 4)


subsets = [tuple(c) for n in range(4) for c in combinations((1, 2, 3), n)]


@given(
    st.lists(
        st.tuples(st.sampled_from(subsets), st.sampled_from(subsets), st.sampled_from((ONLINE, PREFERRED, UNCLEAN))), max_size=12
    ),
    st.integers(1, 3),
)
def test_isr_and_elr_keep_their_shape(steps: list[tuple[Ids, Ids, str]], min_isr: int) -> None:
    """ISR and ELR are disjoint parts of the replicas; a large enough ISR leaves no ELR; a leader is in the ISR."""
    partition = HEALTHY
    for leaving, alive, election in steps:
        live = tuple(b for b in alive if b not in leaving)
        isr = tuple(b for b in partition.isr if b not in leaving and b in live)
        if partition.leader in live and partition.leader >= 0:
            isr = tuple(dict.fromkeys((*isr, *live)))  # the leader takes live followers in
        after = elect(partition, isr, live, min_isr=min_isr, election=election)
        assert not set(after.isr) & set(after.elr)
        assert {*after.isr, *after.elr} <= {1, 2, 3}
        assert len(after.isr) < min_isr or not after.elr
        assert after.leader == -1 or after.leader in after.isr
        assert after.leader_epoch - partition.leader_epoch == (after.leader != partition.leader)
        partition = after
