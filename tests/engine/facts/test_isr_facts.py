"""Facts 17 to 19: how a replica leaves the ISR, how it comes back, and who decides."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine import events as e
from tests.engine.facts.scene import Scene

CONTROLLERS = ("controller-101", "controller-102", "controller-103")
SEEDS = (1, 2, 3, 4)
"""The admin client asks a random broker; where that is not broker 1, whose way to the controllers is slow, its call comes first."""


def slow_to_controllers(scene: Scene, broker: int, delay_ms: int) -> None:
    for controller in CONTROLLERS:
        scene.do(c.DegradeNetwork(f"broker-{broker}", controller, delay_ms=delay_ms, one_way=True))


def heal_pair(scene: Scene, one: int, other: int) -> None:
    scene.do(c.HealNetwork(f"broker-{one}", f"broker-{other}"))


def drop_from_isr(scene: Scene, broker: int) -> None:
    """Cuts the follower off its leader until the leader has given it up; the link stays cut."""
    scene.cut_replication(broker, 1)
    scene.produce("while it is away", acks="1")
    scene.wait_until(lambda: broker not in scene.partition().isr)


# -- 17: leaving -------------------------------------------------------------------------------------------------------------------


def test_fact_17_a_lagging_replica_leaves_30_to_45_s_after_it_was_last_caught_up() -> None:
    delays = []
    for phase in (0, 3, 6, 9, 12):
        scene = Scene()
        scene.do(c.StartWorkload("steady", "orders", records_per_second=5))
        scene.wait(1 + phase)
        scene.cut_replication(3, 1)
        cut_at = scene.now_s
        scene.wait_until(lambda scene=scene: scene.partition().isr == [1, 2])  # type: ignore[misc]
        proposed_at, proposal = scene.first(e.IsrShrinkProposed)
        assert proposal.removed == (3,)
        assert not scene.happened(e.BrokerFenced)  # it lives, it only lags
        delays.append(proposed_at - cut_at)
    assert all(29.5 <= delay <= 45.5 for delay in delays), delays
    assert max(delays) - min(delays) > 8  # the check runs every 15 s: where in that round the lag began decides


def test_fact_17_a_killed_broker_leaves_when_it_is_fenced_after_about_9_s() -> None:
    scene = Scene()
    scene.wait(5)
    killed_at = scene.now_s
    scene.do(c.KillNode("broker-3"))
    scene.wait_until(lambda: scene.partition().isr == [1, 2])
    fenced_at, fenced = scene.first(e.BrokerFenced)
    changed_at, _ = scene.first(e.IsrChanged)
    assert fenced.broker == 3
    assert 7 <= fenced_at - killed_at <= 9.1  # 9 s after its last heartbeat, which was up to 2 s before
    assert changed_at - fenced_at < 0.1
    assert not scene.happened(e.IsrShrinkProposed)  # the controller took it out, no leader asked for it


def test_fact_17_lag_is_time_and_not_messages() -> None:
    """A follower behind a slow link is hundreds of records behind at every moment, and never 30 s."""
    scene = Scene()
    scene.do(c.DegradeNetwork("broker-3", "broker-1", delay_ms=1500))
    scene.do(c.CreateProducer("app", {"acks": "1"}))
    scene.do(c.StartWorkload("fast", "orders", "app", records_per_second=200))
    behind = []
    for _ in range(70):
        scene.wait(1)
        partition = scene.partition()
        behind.append(partition.log_end_offset - partition.logs["3"].log_end_offset)
        assert partition.isr == [1, 2, 3]
    assert sorted(behind)[len(behind) // 2] > 200


def test_fact_17_a_silent_replica_at_the_leaders_end_stays_in_the_isr() -> None:
    scene = Scene()
    scene.produce("a")
    scene.cut_replication(3, 1)
    scene.wait(120)
    assert scene.partition().isr == [1, 2, 3]
    scene.produce("b", acks="1")
    assert scene.wait_until(lambda: scene.partition().isr == [1, 2]) <= 15.2  # the next check finds it long behind


# -- 18: returning -----------------------------------------------------------------------------------------------------------------


def test_fact_18_it_rejoins_once_it_has_reached_the_high_watermark() -> None:
    scene = Scene()
    drop_from_isr(scene, 3)
    scene.produce(*[f"missed {n}" for n in range(5)], acks="1")
    mark = scene.do(c.HealNetwork())
    scene.wait_until(lambda: sorted(scene.partition().isr) == [1, 2, 3])
    proposed_at, proposal = scene.first(e.IsrExpandProposed, mark)
    copied = [h for h in scene.happened(e.RecordsReplicated, mark, broker=3) if h.at_us / 1e6 <= proposed_at]
    assert proposal.added == 3
    assert copied
    assert copied[-1].event.last_offset + 1 == scene.partition().high_watermark == 6


def test_fact_18_reaching_the_high_watermark_is_not_enough_it_must_reach_the_leader_epochs_start() -> None:
    """Broker 2 becomes leader with a record above its own high watermark, which cannot rise while broker 4, in the ISR, is silent:
    broker 3 holds all below that mark, and lacks the record."""
    scene = Scene(replicas=(1, 2, 3, 4), brokers=4)
    scene.produce("everybody has it")
    drop_from_isr(scene, 3)
    scene.do(c.Produce("orders", "3 does not have it", producer="app-1"))
    scene.wait_until(lambda: scene.replica(2).log_end_offset == scene.replica(4).log_end_offset == 3, step_ms=0.1)
    assert scene.replica(2).high_watermark == 2
    scene.do(c.KillNode("broker-1"))
    mark = scene.do(c.HealNetwork(), c.CutNetwork("broker-4", "broker-2"))
    scene.wait_until(lambda: scene.partition().isr == [2, 3, 4])
    started_at, started = scene.first(e.LeaderStarted, mark)
    proposed_at, _ = scene.first(e.IsrExpandProposed, mark, added=3)
    copied = scene.happened(e.RecordsReplicated, mark, broker=3)
    assert (started.broker, started.log_end_offset) == (2, 3)
    assert scene.partition().high_watermark == 2
    assert started_at < copied[-1].at_us / 1e6 < proposed_at
    assert copied[-1].event.last_offset == 2


def test_fact_18_a_fenced_replica_does_not_rejoin_however_well_it_follows() -> None:
    scene = Scene()
    for controller in CONTROLLERS:
        scene.do(c.CutNetwork("broker-3", controller))
    scene.wait_until(lambda: scene.partition().isr == [1, 2])
    scene.produce("a", "b")
    scene.wait(20)
    assert scene.replica(3).log_end_offset == scene.partition().log_end_offset == 2
    assert scene.partition().isr == [1, 2]
    scene.heal()
    scene.wait_until(lambda: scene.partition().isr == [1, 2, 3])
    unfenced_at, _ = scene.first(e.BrokerUnfenced, scene.happened(e.BrokerFenced)[0].id, broker=3)
    proposed_at, _ = scene.first(e.IsrExpandProposed)
    assert unfenced_at < proposed_at


def test_fact_18_two_replicas_return_one_after_the_other() -> None:
    """Only one AlterPartition of a partition is in flight; behind a slow link that is plain to see."""
    scene = Scene()
    for follower in (2, 3):
        scene.cut_replication(follower, 1)
    scene.produce("a", acks="1")
    scene.wait_until(lambda: scene.partition().isr == [1])
    slow_to_controllers(scene, 1, 300)
    scene.wait(1)
    mark = scene.lab.kernel.next_event_id
    for follower in (2, 3):
        heal_pair(scene, follower, 1)
    scene.wait_until(lambda: len(scene.partition().isr) == 3)
    order = [
        type(happening.event).__name__
        for happening in scene.lab.history(mark, 10**6)
        if isinstance(happening.event, e.IsrExpandProposed | e.IsrChanged)
    ]
    assert order == ["IsrExpandProposed", "IsrChanged"] * 2


# -- 19: who decides -----------------------------------------------------------------------------------------------------------------


def test_fact_19_the_isr_changes_when_the_controller_has_committed_it() -> None:
    scene = Scene()
    slow_to_controllers(scene, 1, 800)
    scene.produce("a", acks="1")
    scene.cut_replication(3, 1)
    scene.produce("b", acks="1")
    scene.wait_until(lambda: bool(scene.happened(e.IsrShrinkProposed)), step_ms=10)
    before = scene.partition()
    assert before.isr == [1, 2, 3]
    assert before.high_watermark == 1  # until the answer, all of the old ISR must hold a record
    scene.wait(0.7)
    assert scene.partition().isr == [1, 2, 3]
    scene.wait(0.3)
    after = scene.partition()
    assert (after.isr, after.high_watermark) == ([1, 2], 2)
    assert after.partition_epoch == before.partition_epoch + 1
    assert after.leader_epoch == before.leader_epoch  # an ISR change begins no new leader epoch


def refusals(scene: Scene, meanwhile: c.Command) -> list[e.AlterPartitionRefused]:
    """What the controller says to a proposal of broker 1 that is overtaken, on its slow way, by ``meanwhile``."""
    slow_to_controllers(scene, 1, 1200)
    scene.cut_replication(3, 1)
    scene.produce("a", acks="1")
    scene.wait_until(lambda: bool(scene.happened(e.IsrShrinkProposed)))
    mark = scene.do(meanwhile)
    scene.wait(3)
    return [happening.event for happening in scene.happened(e.AlterPartitionRefused, mark, broker=1)]


def test_fact_19_a_proposal_from_an_older_leader_epoch_is_fenced() -> None:
    errors = set()
    for seed in SEEDS:
        scene = Scene(seed=seed)
        scene.do(c.ReassignPartition("orders", 0, [2, 1, 3]))
        errors |= {refused.error for refused in refusals(scene, c.ElectLeader("preferred"))}
        assert scene.partition().leader == 2
        assert sorted(scene.partition().isr) == [1, 2, 3]
    assert errors == {"FENCED_LEADER_EPOCH"}


def test_fact_19_a_proposal_for_an_older_partition_epoch_is_refused() -> None:
    errors = set()
    for seed in SEEDS:
        scene = Scene(seed=seed)
        refused = refusals(scene, c.ReassignPartition("orders", 0, [1, 3, 2]))
        errors |= {refusal.error for refusal in refused}
        if refused:
            assert sorted(scene.partition().isr) == [1, 2, 3]
        scene.wait_until(lambda scene=scene: sorted(scene.partition().isr) == [1, 2])  # type: ignore[misc]  # it asks again
    assert errors == {"INVALID_UPDATE_VERSION"}


@pytest.mark.parametrize("elr", [True, False])
def test_fact_19_a_replica_that_is_going_down_is_ineligible(elr: bool) -> None:
    scene = Scene(elr=elr)
    drop_from_isr(scene, 3)
    slow_to_controllers(scene, 1, 1200)
    scene.wait(1)
    heal_pair(scene, 3, 1)
    scene.wait_until(lambda: bool(scene.happened(e.IsrExpandProposed)))
    mark = scene.do(c.StopNode("broker-3"))
    scene.wait(4)
    assert scene.first(e.AlterPartitionRefused, mark)[1].error == "INELIGIBLE_REPLICA"
    assert scene.partition().isr == [1, 2]
