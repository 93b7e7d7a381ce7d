"""Members of groups in trouble: crashes, freezes, zombies, lost coordinators; and what of it the ledger tells."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine import events as e
from engine.check.ledger import Ledger, LedgerTracker
from engine.errors import EngineError
from engine.lab import Lab
from tests.engine.facts.scene import Scene
from tests.engine.facts.test_group_facts import committed, consumer, join, member, owned


def ledger(scene: Scene) -> Ledger:
    tracker = LedgerTracker()
    tracker.update(scene.lab)
    return tracker.snapshot()


def fates(scene: Scene) -> dict[str, int]:
    return {fate: count for fate, count in ledger(scene).totals.items() if count}


def six_records_and_a_crash(commit: str, max_poll_records: str = "500") -> Scene:
    """One second per record; the application dies after about three, and another takes its place."""
    scene = Scene()
    configs = {"auto_offset_reset": "earliest", "enable_auto_commit": "false", "max_poll_records": max_poll_records}
    join(scene, "a", wait=8, processing_ms=1_000, commit=commit, **configs)
    scene.do(c.Produce("orders", "{n}", partition=0, count=6))
    scene.wait(3.5)
    scene.do(c.KillNode("a"))
    join(scene, "b", wait=75, processing_ms=1_000, commit=commit, **configs)
    return scene


def test_committing_after_processing_is_at_least_once() -> None:
    scene = six_records_and_a_crash("after")
    totals = fates(scene)
    assert totals == {"doubled": 3, "delivered": 3}
    doubled = [row for row in ledger(scene).rows if row.fate == "doubled"]
    assert all(row.doubled == ("billing",) and len(row.events) == 3 for row in doubled)


def test_committing_before_processing_is_at_most_once() -> None:
    scene = six_records_and_a_crash("before")
    assert fates(scene) == {"delivered": 3, "skipped": 3}
    row = next(row for row in ledger(scene).rows if row.fate == "skipped")
    causes = [scene.lab.happening(number) for number in row.events]
    assert {type(cause.event) for cause in causes if cause is not None} == {e.ProduceSent, e.CommitCompleted, e.NodeKilled}


def test_committing_each_record_leaves_one_to_be_doubled_at_most() -> None:
    scene = six_records_and_a_crash("after", max_poll_records="1")
    assert fates(scene).get("doubled", 0) <= 1
    assert fates(scene).get("skipped", 0) == 0


def test_a_frozen_member_comes_back_as_a_zombie_whose_commit_fails() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b", commit="after", processing_ms=10_000, auto_offset_reset="earliest", enable_auto_commit="false")
    scene.do(c.Produce("orders", "x", partition=0, count=1))
    scene.wait(2)
    assert (consumer(scene, "a").application, owned(scene, "a")) == ("processing", [0])
    freeze = scene.do(c.PauseNode("a"))
    scene.wait(60)
    assert owned(scene, "b") == [0, 1], "the group has gone on without it"
    scene.do(c.ResumeNode("a"))
    scene.wait(30)
    _, failed = scene.first(e.CommitFailed, consumer="a", since=freeze)
    assert failed.error.startswith("CommitFailedException")
    lost = scene.happened(e.PartitionsLost, consumer="a", since=freeze)
    assert [h.event.partitions for h in lost] == [(("orders", 0),)]  # type: ignore[attr-defined]
    assert member(scene, "a").state == "stable"
    assert sorted(owned(scene, "a") + owned(scene, "b")) == [0, 1]
    assert fates(scene) == {"doubled": 1}, "both have worked on it"
    assert "PauseNode" in scene.roots(scene.happened(e.MemberLeft, consumer="a")[0])


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_zombie_that_commits_nothing_learns_by_its_heartbeat(protocol: str) -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b", wait=15, enable_auto_commit="false", group_protocol=protocol)
    freeze = scene.do(c.PauseNode("a"))
    scene.wait(60)
    scene.do(c.ResumeNode("a"))
    scene.wait(15)
    _, fenced = scene.first(e.MemberFenced, consumer="a", since=freeze)
    assert fenced.error == "UNKNOWN_MEMBER_ID"
    assert "eartbeat" in fenced.request
    assert len(scene.happened(e.PartitionsLost, consumer="a", since=freeze)) == 1
    assert sorted(owned(scene, "a") + owned(scene, "b")) == [0, 1]


def test_a_closed_clients_cut_network_does_not_wait_for_its_namesake() -> None:
    scene = Scene()
    join(scene, "a", auto_offset_reset="earliest")
    scene.do(c.CutNetwork("a"), c.CloseClient("a"))
    scene.wait(40)
    assert "a" not in scene.view.consumers, "close gives up after thirty seconds"
    scene.produce("x")
    join(scene, "a", auto_offset_reset="earliest", wait=60)
    assert consumer(scene, "a").consumed == 1


def test_a_short_freeze_is_not_noticed() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b")
    freeze = scene.do(c.PauseNode("a"))
    scene.wait(30)
    scene.do(c.ResumeNode("a"))
    scene.wait(10)
    assert not scene.happened(e.GroupRebalanceStarted, since=freeze)
    assert owned(scene, "a") == [0]


def test_a_slow_application_holds_up_the_rebalance_of_all() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b", auto_offset_reset="earliest")
    scene.do(c.SetProcessing("a", 40_000), c.Produce("orders", "x", partition=0))
    scene.wait(1)
    click = scene.do(c.CreateConsumer("c", ["orders"], {"group.id": "billing"}))
    begin = scene.now_s
    scene.wait(60)
    rebalanced = scene.happened(e.GroupRebalanced, since=click)
    assert 35 < rebalanced[0].at_us / 1e6 - begin < 45, "until it is back in poll"
    assert member(scene, "b").stopped_us > 30_000_000
    assert member(scene, "a").stopped_us < 1_000_000


def test_the_coordinator_moves_and_the_group_goes_on() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b", auto_offset_reset="earliest")
    old = member(scene, "a").coordinator
    scene.do(c.CreateProducer("p"), c.StartWorkload("w", "orders", "p", 20))
    click = scene.do(c.KillNode(f"broker-{old}"))
    scene.wait(40)
    assert member(scene, "a").coordinator != old
    assert member(scene, "a").state == member(scene, "b").state == "stable"
    assert not scene.happened(e.PartitionsLost, since=click)
    before = committed(scene, "a")
    scene.wait(12)
    assert committed(scene, "a") > before


def test_offsets_are_committed_by_hand() -> None:
    scene = Scene()
    join(scene, "a", auto_offset_reset="earliest", enable_auto_commit="false")
    scene.produce("x", "y", wait=12)
    assert committed(scene, "a") == -1
    click = scene.do(c.CommitOffsets("a"))
    scene.wait(1)
    assert committed(scene, "a") == 2
    assert "CommitOffsets" in scene.roots(scene.happened(e.CommitCompleted, how="sync", since=click)[0])


def test_without_a_group_nobody_keeps_offsets() -> None:
    scene = Scene()
    scene.do(c.CreateConsumer("r", ["orders"]))
    with pytest.raises(EngineError, match=r"no group\.id"):
        scene.do(c.CommitOffsets("r"))
    with pytest.raises(EngineError, match=r"without group\.id"):
        scene.do(c.CreateConsumer("s", ["orders"], {}, 0, "after"))
    join(scene, "a")
    with pytest.raises(EngineError, match="mutually exclusive"):
        scene.do(c.AssignConsumer("a", "orders", [0]))


def test_assigned_by_hand_the_group_still_keeps_offsets() -> None:
    scene = Scene()
    scene.produce("x", "y")
    for _ in range(2):
        scene.do(
            c.CreateConsumer("a", [], {"group.id": "billing", "auto.offset.reset": "earliest"}),
            c.AssignConsumer("a", "orders", [0]),
        )
        scene.wait(8)
        assert committed(scene, "a") == 2
        assert member(scene, "a").state == "assigned by hand"
        scene.do(c.CloseClient("a"))
        scene.wait(1)
    assert [h.event.offset for h in scene.happened(e.ConsumerPositioned)] == [0, 2]  # type: ignore[attr-defined]
    assert len(scene.happened(e.RecordsConsumed)) <= 2


def test_a_processing_time_works_without_a_group_too() -> None:
    scene = Scene()
    scene.produce("a", "b", "c")
    scene.do(c.CreateConsumer("r", ["orders"], {"auto.offset.reset": "earliest"}, 1_000))
    scene.wait(2.5)
    assert sum(h.event.record_count for h in scene.happened(e.RecordsProcessed)) == 2  # type: ignore[attr-defined]
    scene.do(c.SetProcessing("r", 0))
    scene.wait(2)
    scene.produce("d")
    assert consumer(scene, "r").consumed == 4
    assert sum(h.event.record_count for h in scene.happened(e.RecordsProcessed)) == 3  # type: ignore[attr-defined]
    scene.do(c.CloseClient("r"))
    scene.wait(1)
    assert "r" not in scene.view.consumers


def test_a_paused_group_consumer_keeps_its_partitions() -> None:
    scene = Scene()
    join(scene, "a", auto_offset_reset="earliest")
    scene.do(c.PauseConsumer("a"))
    scene.produce("x", wait=60)
    assert (consumer(scene, "a").consumed, owned(scene, "a")) == (0, [0])
    scene.do(c.PauseConsumer("a", False))
    scene.wait(2)
    assert consumer(scene, "a").consumed == 1


def test_the_leader_rebalances_when_the_topic_grows() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b", metadata_max_age_ms="5000")
    scene.do(c.AddPartitions("orders", 4))
    scene.wait(20)
    assert (owned(scene, "a"), owned(scene, "b")) == ([0, 1], [2, 3])


def test_group_state_rewinds_and_is_restored() -> None:
    scene = Scene(partitions=4)
    join(scene, "a", "b", processing_ms=5, auto_offset_reset="earliest")
    scene.do(c.CreateProducer("p"), c.StartWorkload("w", "orders", "p", 5))
    scene.wait(5)
    moment, digest = scene.lab.now_us, scene.lab.digest()
    restored = Lab.restore(scene.lab.checkpoint())
    assert restored.digest() == digest
    scene.wait(1)
    scene.do(c.KillNode("b"))
    scene.wait(10)
    end = scene.lab.digest()
    scene.lab.seek(moment)
    assert scene.lab.digest() == digest
    scene.lab.seek(scene.lab.end_us)
    assert scene.lab.digest() == end
