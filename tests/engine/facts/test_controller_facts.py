"""Facts 25 to 27: controllers, heartbeats, the metadata quorum."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine import events as e
from engine.metadata.configs import BROKER_CONFIGS
from tests.engine.facts.scene import Scene

CONTROLLERS = ("controller-101", "controller-102", "controller-103")


def active(scene: Scene) -> str:
    return f"controller-{scene.view.quorum.leader}"


def kill_active(scene: Scene) -> tuple[str, float]:
    victim = active(scene)
    scene.do(c.KillNode(victim))
    return victim, scene.now_s


# -- 25: who leads the quorum ------------------------------------------------------------------------------------------------------------


def test_fact_25_a_node_with_the_controller_role_leads_the_quorum_and_brokers_only_observe() -> None:
    scene = Scene()
    view = scene.view
    kinds = {view.nodes[name].kind for name in CONTROLLERS}
    assert kinds == {"controller"}
    assert sorted(view.quorum.voters) == [101, 102, 103]
    assert view.quorum.leader in view.quorum.voters
    assert [view.nodes[name].role for name in CONTROLLERS].count("leader") == 1
    assert all(view.nodes[f"broker-{broker}"].role == "" for broker in (1, 2, 3))
    assert all(not view.nodes[name].replica_count for name in CONTROLLERS)  # isolated controllers host no partitions


def test_fact_25_brokers_without_controllers_go_on_serving_and_nothing_can_change() -> None:
    scene = Scene()
    scene.produce("before")  # an idempotent producer needs a producer ID, and those come from the controller
    scene.do(*[c.KillNode(name) for name in CONTROLLERS])
    scene.wait(20)
    scene.produce("a")
    assert scene.acknowledged() == 2
    scene.do(c.KillNode("broker-1"))
    scene.wait(30)
    assert scene.partition().leader == 1  # nobody there to fence it or to elect another
    scene.do(*[c.StartNode(name) for name in CONTROLLERS])
    scene.wait_until(lambda: scene.partition().leader == 2)


def test_fact_25_a_quorum_of_one_is_enough_to_learn_and_too_little_to_survive() -> None:
    scene = Scene(controllers=1)
    assert scene.view.quorum.voters == [101]
    scene.do(c.KillNode("controller-101"), c.KillNode("broker-1"))
    scene.wait(30)
    assert scene.view.quorum.leader == -1
    assert scene.partition().leader == 1


# -- 26: heartbeats ----------------------------------------------------------------------------------------------------------------------


def test_fact_26_defaults() -> None:
    defaults = {name: BROKER_CONFIGS[name].default for name in ("broker.heartbeat.interval.ms", "broker.session.timeout.ms")}
    assert defaults == {"broker.heartbeat.interval.ms": "2000", "broker.session.timeout.ms": "9000"}


@pytest.mark.parametrize("how", ["killed", "paused", "cut off"])
def test_fact_26_a_silent_broker_is_fenced_9_s_after_its_last_heartbeat_and_its_leaderships_move(how: str) -> None:
    scene = Scene()
    scene.wait(3)
    silenced_at = scene.now_s
    fault: c.Command = c.KillNode("broker-1")
    if how == "paused":
        fault = c.PauseNode("broker-1")
    elif how == "cut off":
        fault = c.CutNetwork("broker-1")
    mark = scene.do(fault)
    scene.wait_until(lambda: scene.partition().leader == 2)
    expired_at, expired = scene.first(e.BrokerSessionExpired, mark)
    last_heartbeat_s = expired.last_heartbeat_us / 1e6
    assert expired_at - last_heartbeat_s == pytest.approx(9, abs=0.01)
    assert 0 <= silenced_at - last_heartbeat_s <= 2.01  # heartbeats come every 2 s
    assert scene.view.nodes["broker-1"].fenced
    assert scene.partition().isr == [2, 3]
    changed = scene.happened(e.LeaderChanged, mark)[0]
    assert scene.lab.why(changed.id)[0].id == mark


def test_fact_26_a_pause_shorter_than_the_session_costs_nothing() -> None:
    scene = Scene()
    scene.do(c.PauseNode("broker-1"))
    scene.wait(6.5)
    scene.do(c.ResumeNode("broker-1"))
    scene.wait(20)
    assert not scene.happened(e.BrokerSessionExpired)
    assert scene.partition().leader == 1


def test_fact_26_a_fenced_broker_that_is_heard_again_is_unfenced_and_leads_nothing() -> None:
    scene = Scene()
    scene.do(c.PauseNode("broker-1"))
    scene.wait_until(lambda: scene.partition().leader == 2)
    scene.do(c.ResumeNode("broker-1"))
    scene.wait_until(lambda: not scene.view.nodes["broker-1"].fenced)
    scene.wait_until(lambda: sorted(scene.partition().isr) == [1, 2, 3])
    assert scene.partition().leader == 2


def test_fact_26_the_session_timeout_is_what_counts() -> None:
    scene = Scene(broker_configs={"broker.session.timeout.ms": "20000"})
    scene.wait(3)
    mark = scene.do(c.KillNode("broker-1"))
    killed_at = scene.now_s
    scene.wait_until(lambda: scene.partition().leader == 2)
    assert 18 <= scene.first(e.BrokerFenced, mark)[0] - killed_at <= 20.1


# -- 27: the quorum ------------------------------------------------------------------------------------------------------------------------


def test_fact_27_timeouts() -> None:
    names = ("controller.quorum.election.timeout.ms", "controller.quorum.fetch.timeout.ms")
    assert [BROKER_CONFIGS[name].default for name in names] == ["1000", "2000"]
    for seed in range(1, 7):
        scene = Scene(seed=seed)
        scene.wait(2)
        mark = scene.lab.kernel.next_event_id - 1
        _, killed_at = kill_active(scene)
        scene.wait_until(lambda scene=scene, mark=mark: bool(scene.happened(e.ControllerActivated, mark)))  # type: ignore[misc]
        first_doubt_at, doubt = scene.first(e.QuorumElectionStarted, mark)
        activated_at, _ = scene.first(e.ControllerActivated, mark)
        assert 1.4 <= first_doubt_at - killed_at <= 2.1  # the fetch timeout, since the last answer that a follower got
        assert doubt.pre_vote
        assert activated_at - first_doubt_at < 2.5


def test_fact_27_a_pre_vote_comes_before_each_vote_and_raises_no_epoch() -> None:
    scene = Scene()
    epoch = scene.view.quorum.epoch
    mark = scene.lab.kernel.next_event_id - 1
    kill_active(scene)
    scene.wait_until(lambda: bool(scene.happened(e.QuorumLeaderElected, mark)))
    rounds = [(h.event.pre_vote, h.event.epoch) for h in scene.happened(e.QuorumElectionStarted, mark)]
    assert rounds[0] == (True, epoch)
    assert rounds[-1] == (False, epoch + 1)


def test_fact_27_a_controller_that_was_cut_off_does_not_depose_the_leader_when_it_returns() -> None:
    scene = Scene()
    leader, epoch = active(scene), scene.view.quorum.epoch
    lonely = next(name for name in CONTROLLERS if name != leader)
    scene.do(c.CutNetwork(lonely))
    scene.wait(30)
    assert scene.view.nodes[lonely].epoch == epoch  # it has sounded out elections for half a minute, and raised nothing
    scene.heal()
    scene.wait(5)
    assert (active(scene), scene.view.quorum.epoch) == (leader, epoch)


def test_fact_27_a_leader_without_a_majority_resigns_and_commits_nothing() -> None:
    scene = Scene()
    leader, before = active(scene), scene.view.quorum.epoch
    mark = scene.do(c.CutNetwork(leader))
    scene.wait(10)
    resigned = scene.happened(e.QuorumLeaderResigned, mark)
    assert resigned
    assert resigned[0].event.epoch == before
    assert active(scene) not in (leader, "controller--1")
    assert scene.view.quorum.epoch > before


def test_fact_27_committed_metadata_is_identical_on_every_node() -> None:
    scene = Scene()
    scene.do(c.CreateTopic("payments", 3, 3), c.KillNode("broker-2"))
    scene.wait(3)
    kill_active(scene)
    scene.wait(15)
    scene.do(c.AlterConfig("topic", "orders", {"retention.ms": "60000"}), c.StartNode("broker-2"))
    scene.wait(15)
    images = []
    for name, host in scene.lab.kernel.hosts.items():
        if host.kind in ("broker", "controller") and host.node is not None:
            images.append((name, host.node.image))  # type: ignore[attr-defined]
    assert len(images) == 5
    assert len({image.offset for _, image in images}) == 1
    first = images[0][1]
    assert all(image == first for _, image in images)


def test_fact_27_what_was_not_committed_is_dropped_when_its_writer_returns() -> None:
    scene = Scene()
    scene.wait(1)
    leader = active(scene)
    for other in CONTROLLERS:
        if other != leader:
            scene.do(c.CutNetwork(leader, other))
    scene.do(c.CreateTopic("ghost"))  # the brokers still reach the old leader, which cannot commit it
    scene.wait(2)
    assert "ghost" not in scene.view.topics
    scene.wait(8)
    scene.heal()
    scene.wait(40)
    # the admin client's request went on to the new controller; either way all nodes agree
    offsets = {node.metadata_offset for node in scene.view.nodes.values() if node.kind in ("broker", "controller")}
    assert len(offsets) == 1
    truncated = scene.happened(e.QuorumLogTruncated)
    assert truncated
    assert truncated[0].event.controller == int(leader.removeprefix("controller-"))
