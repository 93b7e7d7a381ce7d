"""Fact 47: share groups (KIP-932). Members share partitions; records are theirs for 30 s, one by one, at most five times."""

from __future__ import annotations

from engine import commands as c
from engine import events as e
from engine.view.tree import SharePartitionView, ShareRunView
from tests.engine.facts.scene import Scene

GROUP = "pool"


def join(
    scene: Scene,
    *names: str,
    explicit: bool = False,
    processing_ms: int = 0,
    reject_every: int = 0,
    fail_on: str = "",
    wait: float = 12,
) -> None:
    configs = {"group.id": GROUP} | ({"share.acknowledgement.mode": "explicit"} if explicit else {})
    for name in names:
        scene.do(c.CreateShareConsumer(name, ["orders"], configs, processing_ms, reject_every=reject_every, fail_on=fail_on))
    scene.wait(wait)


def produce(scene: Scene, *values: str, wait: float = 0.5) -> None:
    """Each in a batch of its own."""
    scene.produce(*values, wait=wait)


def share(scene: Scene) -> SharePartitionView:
    return scene.view.groups[GROUP].share_partitions[0]


def got(scene: Scene, name: str) -> list[tuple[int, int]]:
    """(offset, how often it has been delivered) of each record that ``poll`` returned."""
    events = [h.event for h in scene.happened(e.ShareRecordsDelivered, consumer=name)]
    return [
        (offset, event.deliveries)
        for event in events
        if isinstance(event, e.ShareRecordsDelivered)
        for offset in range(event.first_offset, event.last_offset + 1)
    ]


def test_fact_47_three_members_share_one_partition() -> None:
    scene = Scene()
    produce(scene, "before the group")
    join(scene, "a", "b", "c", processing_ms=300)
    produce(scene, *"tuvwxyz", wait=5)
    shares = [got(scene, name) for name in "abc"]
    assert all(shares), "one partition, and nobody is idle"
    assert sorted(offset for some in shares for offset, _ in some) == list(range(1, 8)), "each record is one member's"
    assert [member.partitions for member in scene.view.groups[GROUP].members] == [["orders-0"]] * 3


def test_fact_47_a_new_group_begins_at_the_end_of_the_log_by_default() -> None:
    scene = Scene()
    produce(scene, "old")
    join(scene, "a")
    produce(scene, "new")
    assert got(scene, "a") == [(1, 1)]


def test_fact_47_a_record_is_acquired_for_30_seconds() -> None:
    scene = Scene()
    join(scene, "a", processing_ms=1_000)
    produce(scene, "x", wait=0.2)
    freeze = scene.do(c.PauseNode("a"))
    at_us = scene.happened(e.ShareRecordsAcquired)[0].at_us
    join(scene, "b", processing_ms=5_000)
    assert share(scene).runs == [ShareRunView(0, 0, "acquired", 1, "a")]
    assert got(scene, "b") == []
    scene.wait(25)
    (expired,) = scene.happened(e.AcquisitionLockExpired, since=freeze)
    assert expired.at_us - at_us == 30_000_000
    assert got(scene, "b") == [(0, 2)]
    assert "PauseNode" in scene.roots(expired)


def test_fact_47_whoever_comes_too_late_says_nothing_that_counts() -> None:
    scene = Scene()
    join(scene, "a", processing_ms=1_000)
    produce(scene, "x", wait=0.2)
    scene.do(c.PauseNode("a"))
    join(scene, "b", processing_ms=20_000, wait=35)
    scene.do(c.ResumeNode("a"))
    scene.wait(4)
    assert scene.first(e.ShareAcknowledgementFailed, consumer="a")[1].error == "INVALID_RECORD_STATE"
    assert share(scene).runs == [ShareRunView(0, 0, "acquired", 2, "b")]


def test_fact_47_records_are_accepted_rejected_and_released_one_by_one() -> None:
    scene = Scene()
    join(scene, "a", explicit=True, reject_every=3, fail_on="bad", processing_ms=5)
    produce(scene, "one", "bad", "three", "four", wait=2)
    by_offset: dict[int, list[str]] = {}
    for happening in scene.happened(e.ShareRecordsProcessed):
        event = happening.event
        assert isinstance(event, e.ShareRecordsProcessed)
        by_offset.setdefault(event.first_offset, []).append(event.verdict)
    assert by_offset[0] == ["accept"]
    assert by_offset[1][0] == "release"
    assert sum(verdicts[-1] == "reject" for verdicts in by_offset.values()) == 2, "every third of what it worked on"
    assert [len(verdicts) for offset, verdicts in by_offset.items() if offset != 1] == [1, 1, 1], "nobody else came again"
    assert share(scene).start_offset == 4, "nothing is owed any more"


def test_fact_47_the_start_waits_for_the_first_that_is_not_settled() -> None:
    scene = Scene()
    join(scene, "a", "b", processing_ms=3_000)
    produce(scene, "x", wait=0.1)
    slow = "a" if got(scene, "a") else "b"
    scene.do(c.PauseNode(slow))
    scene.do(c.SetProcessing("b" if slow == "a" else "a", 0))
    produce(scene, "y", "z", wait=2)
    view = share(scene)
    assert view.start_offset == 0
    assert view.runs == [ShareRunView(0, 0, "acquired", 1, slow), ShareRunView(1, 2, "acknowledged", 1)]


def test_fact_47_after_five_deliveries_a_record_is_given_up() -> None:
    scene = Scene()
    join(scene, "a", "b", explicit=True, fail_on="poison", processing_ms=10)
    produce(scene, "poison", wait=3)
    deliveries = sorted(times for name in "ab" for _, times in got(scene, name))
    assert deliveries == [1, 2, 3, 4, 5]
    (last,) = scene.happened(e.ShareAcknowledged, archived=1)
    assert share(scene).start_offset == 1
    assert "Produce" in scene.roots(last)


def test_fact_47_implicitly_the_next_poll_accepts_everything() -> None:
    scene = Scene()
    join(scene, "a", processing_ms=1_000)
    produce(scene, "x", wait=0.5)
    assert not scene.happened(e.ShareAcknowledged), "the application is still at work"
    scene.wait(2)
    (acknowledged,) = scene.happened(e.ShareAcknowledged)
    assert acknowledged.event.accepted == 1  # type: ignore[attr-defined]


def test_fact_47_state_survives_the_leader_and_the_share_coordinator() -> None:
    scene = Scene()
    join(scene, "a", processing_ms=10)
    produce(scene, "u", "v", wait=2)
    scene.do(c.KillNode("broker-1"))
    scene.wait(20)
    produce(scene, "w", wait=5)
    assert [offset for offset, _ in got(scene, "a")] == [0, 1, 2], "nothing that was settled came again, nothing was left out"
    loaded = [h.event for h in scene.happened(e.SharePartitionLoaded)]
    assert [(event.start_offset, event.fresh) for event in loaded if isinstance(event, e.SharePartitionLoaded)] == [
        (0, True),
        (2, False),
    ]
