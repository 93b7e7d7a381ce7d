"""Facts 20 to 24: what a new leader makes of the logs, and who becomes one."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine import events as e
from tests.engine.facts.scene import Scene


def lose_leader_before_the_follower_hears(scene: Scene, *values: str) -> None:
    """Broker 1 commits ``values`` and dies; broker 2 holds them and does not know yet that they are committed."""
    for value in values:
        scene.do(c.Produce("orders", value, producer="app-all", partition=0))
        end = scene.partition().log_end_offset + 1
        scene.wait_until(lambda end=end: scene.partition().high_watermark == end, step_ms=0.1)  # type: ignore[misc]
    scene.wait(0.005)  # consumers hear of it at once; an idle follower's fetch waits at the leader for half a second
    scene.do(c.KillNode("broker-1"))


def elections(scene: Scene, since: int = 0) -> list[tuple[int, str]]:
    return [(h.event.new_leader, h.event.election) for h in scene.happened(e.LeaderChanged, since)]


# -- 20: truncation ------------------------------------------------------------------------------------------------------------------


def test_fact_20_a_follower_truncates_where_the_epochs_part_and_not_to_its_high_watermark() -> None:
    """The restart that lost records before KIP-101: a committed record above the restarted replica's high watermark must stay."""
    scene = Scene(replicas=(1, 2), brokers=2)
    scene.produce("a")
    scene.do(c.Produce("orders", "b", producer="app-all"))
    scene.wait_until(lambda: scene.acknowledged() == 2, step_ms=0.1)
    assert (scene.replica(2).log_end_offset, scene.replica(2).high_watermark) == (2, 1)
    scene.do(c.KillNode("broker-2"))
    scene.do(c.StartNode("broker-2"))
    scene.wait(0.001)
    scene.do(c.KillNode("broker-1"))
    mark = scene.lab.kernel.next_event_id - 1
    scene.wait(20)
    assert scene.replica(2).log_end_offset == 2
    assert not scene.happened(e.ReplicaTruncated, mark)
    scene.do(c.StartNode("broker-1"))
    scene.wait(20)
    assert scene.read_all() == ["a", "b"]


def test_fact_20_each_of_several_lost_epochs_is_cut_off() -> None:
    """Broker 1 wrote in epoch 0, broker 2 in epoch 1, both alone; broker 3 leads epoch 2 and both come round to its log."""
    scene = Scene(configs={"unclean.leader.election.enable": "true"}, elr=False)
    scene.produce("common", acks="1")
    for follower in (2, 3):
        scene.cut_replication(follower, 1)
    scene.produce("only on 1", "only on 1 too", acks="1", wait=0.5)
    scene.do(c.KillNode("broker-1"))
    scene.do(c.CutNetwork("broker-2", "broker-3"))
    scene.wait_until(lambda: scene.partition().leader == 2)
    scene.produce("only on 2", acks="1", wait=0.5)
    assert scene.replica(2).log_end_offset == 2
    scene.do(c.KillNode("broker-2"))
    scene.wait_until(lambda: scene.partition().leader == 3)
    mark = scene.do(c.HealNetwork(), c.StartNode("broker-1"), c.StartNode("broker-2"))
    scene.produce("on 3", acks="1")
    scene.wait_until(lambda: len(scene.partition().isr) == 3)
    cut = {h.event.broker: (h.event.from_offset, h.event.to_offset) for h in scene.happened(e.ReplicaTruncated, mark)}
    assert cut == {1: (3, 1), 2: (2, 1)}
    tails = [[(batch.base_offset, batch.leader_epoch) for batch in scene.replica(broker).tail] for broker in (1, 2, 3)]
    assert tails[0] == tails[1] == tails[2]
    assert scene.read_all() == ["common", "on 3"]


# -- 21: latest after an election ------------------------------------------------------------------------------------------------------


def test_fact_21_a_new_leader_cannot_name_the_latest_offset_until_its_high_watermark_reaches_its_epochs_start() -> None:
    scene = Scene()
    scene.produce("a")
    scene.do(c.CutNetwork("broker-2", "broker-3"))  # the next leader will not hear its follower
    lose_leader_before_the_follower_hears(scene, "b")
    scene.wait_until(lambda: scene.partition().leader == 2)
    scene.wait(0.5)
    assert (scene.partition().log_end_offset, scene.partition().high_watermark) == (2, 1)
    for name, reset in (("newest", "latest"), ("oldest", "earliest"), ("recent", "by_duration:PT1S")):
        scene.do(c.CreateConsumer(name, ["orders"], {"auto.offset.reset": reset}))
    scene.wait(3)
    consumers = scene.view.consumers
    assert consumers["newest"].positions[0].error == "OFFSET_NOT_AVAILABLE"
    assert consumers["recent"].positions[0].error == "OFFSET_NOT_AVAILABLE"
    assert [record.value for record in consumers["oldest"].last] == ["a"]
    scene.heal()
    scene.wait(5)
    assert scene.partition().high_watermark == 2
    positioned = scene.happened(e.ConsumerPositioned, consumer="newest")
    assert [happening.event.offset for happening in positioned] == [2]


# -- 22: who is elected ------------------------------------------------------------------------------------------------------------------


def test_fact_22_the_first_live_isr_member_in_assignment_order() -> None:
    scene = Scene(replicas=(3, 1, 2))
    assert scene.partition().leader == 3
    scene.do(c.KillNode("broker-3"))
    scene.wait_until(lambda: scene.partition().leader != 3)
    assert elections(scene) == [(1, "isr")]
    scene.do(c.KillNode("broker-1"))
    scene.wait_until(lambda: scene.partition().leader != 1)
    assert elections(scene) == [(1, "isr"), (2, "isr")]
    assert scene.partition().leader_epoch == 2


def test_fact_22_a_live_replica_outside_the_isr_is_not_elected() -> None:
    scene = Scene()
    scene.cut_replication(2, 1)
    scene.produce("a", acks="1")
    scene.wait_until(lambda: scene.partition().isr == [1, 3])
    scene.do(c.KillNode("broker-1"))
    scene.wait_until(lambda: scene.partition().leader != 1)
    assert elections(scene) == [(3, "isr")]  # broker 2 comes first in the assignment, but missed a record


def test_fact_22_an_eligible_leader_replica_is_elected_when_the_isr_is_empty() -> None:
    scene = Scene({"min.insync.replicas": "2"})
    scene.produce("a")
    for broker in (3, 2):
        scene.do(c.StopNode(f"broker-{broker}"))
        scene.wait(3)
    assert (scene.partition().isr, scene.partition().elr) == ([1], [2])  # the ISR fell below the minimum when 2 left
    scene.produce("b", acks="1", wait=0.5)
    assert scene.partition().high_watermark == 1  # nothing is committed without it
    scene.do(c.KillNode("broker-1"))
    scene.wait_until(lambda: scene.partition().leader == -1)
    assert (scene.partition().isr, sorted(scene.partition().elr)) == ([], [1, 2])  # only with ELR can the ISR be empty
    scene.do(c.StartNode("broker-3"))
    scene.wait(5)
    assert scene.partition().leader == -1  # alive, but neither in sync nor eligible
    scene.do(c.StartNode("broker-2"))
    scene.wait_until(lambda: scene.partition().leader == 2)
    assert elections(scene)[-1] == (2, "elr")
    scene.wait(2)
    assert scene.read_all() == ["a"]


def test_fact_22_without_elr_the_last_member_stays_in_the_isr_and_is_waited_for() -> None:
    scene = Scene({"min.insync.replicas": "2"}, elr=False)
    for broker in (3, 2):
        scene.do(c.StopNode(f"broker-{broker}"))
        scene.wait(3)
    scene.do(c.KillNode("broker-1"))
    scene.wait_until(lambda: scene.partition().leader == -1)
    assert (scene.partition().isr, scene.partition().elr) == ([1], [])
    scene.do(c.StartNode("broker-2"))
    scene.wait(30)
    assert scene.partition().leader == -1
    scene.do(c.StartNode("broker-1"))
    scene.wait_until(lambda: scene.partition().leader == 1)
    assert elections(scene)[-1] == (1, "isr")


def test_fact_22_the_last_known_leader_comes_before_any_other() -> None:
    """An unclean stop costs broker 1 its eligibility, but it led last: it is elected as soon as it is back."""
    scene = Scene()
    for broker in (3, 2):
        scene.do(c.StopNode(f"broker-{broker}"))
        scene.wait(3)
    scene.produce("only on 1")
    scene.do(c.KillNode("broker-1"))
    scene.wait_until(lambda: scene.partition().leader == -1)
    assert (scene.partition().isr, scene.partition().elr, scene.partition().last_known_elr) == ([], [1], [1])
    scene.do(c.StartNode("broker-2"))
    scene.wait(10)
    assert scene.partition().leader == -1
    scene.do(c.StartNode("broker-1"))
    scene.wait_until(lambda: scene.partition().leader == 1)
    assert elections(scene)[-1] == (1, "last known leader")
    scene.wait(2)
    assert scene.read_all() == ["only on 1"]


@pytest.mark.parametrize("elr", [True, False])
@pytest.mark.parametrize("unclean", [True, False])
def test_fact_22_any_live_replica_only_where_unclean_election_is_enabled(unclean: bool, elr: bool) -> None:
    scene = Scene({"unclean.leader.election.enable": "true"} if unclean else {}, elr=elr)
    for follower in (2, 3):
        scene.cut_replication(follower, 1)
    scene.produce("a", acks="1")
    scene.wait_until(lambda: scene.partition().isr == [1])
    mark = scene.do(c.LosePower("broker-1"), c.WipeDisk("broker-1"), c.HealNetwork())
    scene.wait(20)
    if unclean:
        assert elections(scene, mark) == [(2, "unclean")]
        assert scene.partition().isr[0] == 2
        assert scene.partition().log_end_offset == 0  # an acknowledged record is gone
    else:
        assert elections(scene, mark) == [(-1, "none eligible")]
        assert scene.partition().status == "offline"
        scene.do(c.ElectLeader("unclean", "orders", 0))  # a person may still ask for it
        scene.wait(1)
        assert scene.partition().leader == 2


# -- 23: preferred leaders ---------------------------------------------------------------------------------------------------------------


def test_fact_23_a_check_every_300_s_brings_the_preferred_leader_back() -> None:
    scene = Scene()
    activated_at, _ = scene.first(e.ControllerActivated)
    scene.do(c.KillNode("broker-1"))
    scene.wait_until(lambda: scene.partition().leader == 2)
    scene.do(c.StartNode("broker-1"))
    scene.wait_until(lambda: 1 in scene.partition().isr)
    back_at = scene.now_s
    scene.wait(activated_at + 299 - scene.now_s)
    assert scene.partition().leader == 2  # in sync for minutes, and still only a follower
    scene.wait(2)
    assert scene.partition().leader == 1
    moved = scene.happened(e.LeaderChanged)[-1]
    assert moved.event.election == "preferred"
    assert moved.at_us / 1e6 - activated_at == pytest.approx(300, abs=0.1)
    assert moved.at_us / 1e6 - back_at > 250


def test_fact_23_not_where_it_is_switched_off() -> None:
    scene = Scene(broker_configs={"auto.leader.rebalance.enable": "false"})
    scene.do(c.KillNode("broker-1"))
    scene.wait_until(lambda: scene.partition().leader == 2)
    scene.do(c.StartNode("broker-1"))
    scene.wait(700)
    assert (sorted(scene.partition().isr), scene.partition().leader) == ([1, 2, 3], 2)
    scene.do(c.ElectLeader("preferred"))
    scene.wait(1)
    assert scene.partition().leader == 1


# -- 24: two high watermarks --------------------------------------------------------------------------------------------------------------


def test_fact_24_the_leaders_high_watermark_may_go_back_and_what_was_committed_stays() -> None:
    scene = Scene()
    scene.produce("a")
    scene.do(c.CreateConsumer("reader", ["orders"], {"auto.offset.reset": "earliest"}))
    scene.wait(1)
    scene.do(c.CutNetwork("broker-2", "broker-3"))
    lose_leader_before_the_follower_hears(scene, "b")
    scene.wait(0.1)
    assert [record.value for record in scene.view.consumers["reader"].last] == ["a", "b"]  # it was committed: somebody read it
    scene.wait_until(lambda: scene.partition().leader == 2)
    assert scene.partition().high_watermark == 1  # a clean election, and yet the new leader's mark is behind
    scene.wait(2)
    reader = scene.view.consumers["reader"].positions[0]
    assert (reader.position, reader.error) == (2, "")  # the reader is ahead of it, keeps its place, and is not told to go back
    scene.heal()
    scene.wait(3)
    assert scene.partition().high_watermark == 2
    assert scene.read_all("later") == ["a", "b"]
    assert not scene.happened(e.ReplicaTruncated)
