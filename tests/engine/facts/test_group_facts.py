"""Facts 41 to 46 and 48: consumers in groups, from the click to what their application sees."""

from __future__ import annotations

from itertools import pairwise

import pytest

from engine import commands as c
from engine import events as e
from engine.clients.configs import ConsumerConfig
from engine.errors import EngineError
from engine.view.tree import ConsumerView, MemberView
from tests.engine.facts.scene import Scene


def join(scene: Scene, *names: str, wait: float = 8, processing_ms: int = 0, commit: str = "", **configs: str) -> None:
    """Starts members of group ``billing`` on ``orders`` and lets the group form."""
    given = {"group.id": "billing", **{key.replace("_", "."): value for key, value in configs.items()}}
    for name in names:
        own = {key: value.replace("{name}", name) for key, value in given.items()}
        scene.do(c.CreateConsumer(name, ["orders"], own, processing_ms, commit))
    scene.wait(wait)


def consumer(scene: Scene, name: str) -> ConsumerView:
    return scene.view.consumers[name]


def member(scene: Scene, name: str) -> MemberView:
    found = consumer(scene, name).group
    assert found is not None
    return found


def owned(scene: Scene, name: str) -> list[int]:
    return sorted(position.partition for position in consumer(scene, name).positions)


def committed(scene: Scene, name: str, partition: int = 0) -> int:
    return next(position.committed for position in consumer(scene, name).positions if position.partition == partition)


def pairs(*numbers: int) -> tuple[tuple[str, int], ...]:
    return tuple(("orders", number) for number in numbers)


# -- 41: the classic protocol's clocks ------------------------------------------------------------------------------------------


def test_fact_41_the_defaults_of_a_member() -> None:
    config = ConsumerConfig.from_map({"group.id": "billing"})
    assert (config.session_timeout_ms, config.heartbeat_interval_ms, config.max_poll_interval_ms) == (45_000, 3_000, 300_000)
    assert (config.max_poll_records, config.group_protocol) == (500, "classic")


def test_fact_41_a_new_group_waits_three_seconds_for_more_members() -> None:
    scene = Scene(partitions=2)
    scene.do(c.CreateConsumer("a", ["orders"], {"group.id": "billing"}))
    scene.wait(2)
    scene.do(c.CreateConsumer("b", ["orders"], {"group.id": "billing"}))
    scene.wait(8)
    begun, _ = scene.first(e.GroupRebalanceStarted)
    assert {event.event.generation for event in scene.happened(e.GroupJoined)} == {1}  # type: ignore[attr-defined]
    joined_at = [happening.at_us / 1e6 for happening in scene.happened(e.GroupJoined)]
    assert 6 <= joined_at[0] - begun < 6.1, "a member that comes within the delay extends it once more"
    assert (owned(scene, "a"), owned(scene, "b")) == ([0], [1])


def test_fact_41_a_killed_member_is_taken_out_when_its_session_has_timed_out() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b")
    begin = scene.now_s
    click = scene.do(c.KillNode("b"))
    scene.wait(60)
    left_at, left = scene.first(e.MemberLeft, consumer="b")
    assert left.reason == "session expired"
    assert 45 - 3 <= left_at - begin <= 45
    assert owned(scene, "a") == [0, 1]
    taken = scene.happened(e.PartitionsAssigned, consumer="a", since=click)
    assert "KillNode" in scene.roots(taken[0])


def test_fact_41_heartbeats_go_on_every_three_seconds_while_the_application_works() -> None:
    scene = Scene()
    join(scene, "a", processing_ms=40_000, auto_offset_reset="earliest")
    scene.produce("x", "y", "z", wait=100)
    view = consumer(scene, "a")
    assert view.application == "processing"
    assert view.since_poll_us > 90_000_000
    assert not scene.happened(e.MemberLeft), "two sessions long nothing was polled, and it is still a member"


def test_fact_41_an_application_that_stays_away_from_poll_for_five_minutes_leaves_and_says_why() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b", auto_offset_reset="earliest")
    slow = scene.do(c.SetProcessing("a", 400_000))
    scene.produce("x", wait=310)
    polled_at, _ = scene.first(e.RecordsConsumed, consumer="a")
    at, exceeded = scene.first(e.PollIntervalExceeded)
    assert exceeded.max_poll_interval_ms == 300_000
    assert 300 <= at - polled_at < 300.2
    _, left = scene.first(e.GroupLeft, consumer="a")
    assert left.told
    assert left.reason == "consumer poll timeout has expired."
    assert owned(scene, "b") == [0, 1]
    assert "SetProcessing" in scene.roots(scene.happened(e.PollIntervalExceeded)[0])
    scene.wait(120)
    lost = scene.happened(e.PartitionsLost, consumer="a", since=slow)
    assert [happening.event.partitions for happening in lost] == [pairs(0)]  # type: ignore[attr-defined]
    assert member(scene, "a").state == "stable", "back in poll it joins again"


def test_fact_41_a_poll_returns_at_most_five_hundred_records() -> None:
    scene = Scene()
    scene.do(c.CreateProducer("p", {"linger.ms": "100"}), c.Produce("orders", "x", producer="p", partition=0, count=1000))
    scene.do(c.Produce("orders", "x", producer="p", partition=0, count=300))
    scene.wait(2)
    join(scene, "a", processing_ms=1, auto_offset_reset="earliest")
    assert consumer(scene, "a").consumed == 1300
    polls: dict[int, int] = {}
    for happening in scene.happened(e.RecordsConsumed, consumer="a"):
        polls[happening.at_us] = polls.get(happening.at_us, 0) + happening.event.record_count  # type: ignore[attr-defined]
    assert list(polls.values()) == [500, 500, 300]


# -- 42: assignors ---------------------------------------------------------------------------------------------------------------


def test_fact_42_the_default_list_makes_the_group_pick_range_and_everybody_stops() -> None:
    assert ConsumerConfig.from_map({}).partition_assignment_strategy == ("range", "cooperative-sticky")
    scene = Scene(partitions=6)
    join(scene, "a", "b")
    assert member(scene, "a").assignor == "range"
    assert (owned(scene, "a"), owned(scene, "b")) == ([0, 1, 2], [3, 4, 5])
    click = scene.do(c.CreateConsumer("c", ["orders"], {"group.id": "billing"}))
    scene.wait(8)
    revoked = {h.event.consumer: h.event.partitions for h in scene.happened(e.PartitionsRevoked, since=click)}  # type: ignore[attr-defined]
    assert revoked == {"a": pairs(0, 1, 2), "b": pairs(3, 4, 5)}
    assert [owned(scene, name) for name in "abc"] == [[0, 1], [2, 3], [4, 5]]
    assert member(scene, "a").stopped_us > 0
    assert member(scene, "a").rebalances == 2


def test_fact_42_cooperative_revokes_only_what_moves_in_two_rebalances() -> None:
    scene = Scene(partitions=6)
    strategy = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
    join(scene, "a", "b", partition_assignment_strategy=strategy)
    before = {name: owned(scene, name) for name in "ab"}
    assert sorted(before["a"] + before["b"]) == list(range(6))
    generation = member(scene, "a").generation
    click = scene.do(
        c.CreateConsumer("c", ["orders"], {"group.id": "billing", "partition.assignment.strategy": "cooperative-sticky"})
    )
    scene.wait(12)
    revoked = [h.event for h in scene.happened(e.PartitionsRevoked, since=click)]
    assert {event.consumer: len(event.partitions) for event in revoked} == {"a": 1, "b": 1}  # type: ignore[attr-defined]
    for name in "ab":
        assert len(owned(scene, name)) == 2
        assert set(owned(scene, name)) < set(before[name]), "what does not move stays where it is"
        assert member(scene, name).stopped_us == 0
    assert member(scene, "a").generation == generation + 2
    assert "CreateConsumer" in scene.roots(scene.happened(e.PartitionsRevoked, since=click)[0])


# -- 43: KIP-848 ------------------------------------------------------------------------------------------------------------------


def test_fact_43_the_default_protocol_is_still_classic_and_the_new_one_has_no_client_side_settings() -> None:
    assert ConsumerConfig.from_map({"group.id": "billing"}).group_protocol == "classic"
    for name in ("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"):
        with pytest.raises(EngineError, match=r"cannot be set when group\.protocol=CONSUMER"):
            ConsumerConfig.from_map({"group.id": "billing", "group.protocol": "consumer", name: "10000"})


def test_fact_43_the_broker_assigns_and_nobody_stands_still() -> None:
    scene = Scene(partitions=6)
    join(scene, "a", "b", wait=20, group_protocol="consumer")
    assert not scene.happened(e.PartitionsDealt), "no member computes an assignment"
    assert sorted(owned(scene, "a") + owned(scene, "b")) == list(range(6))
    before = {name: owned(scene, name) for name in "ab"}
    click = scene.do(c.CreateConsumer("c", ["orders"], {"group.id": "billing", "group.protocol": "consumer"}))
    scene.wait(20)
    assert [len(owned(scene, name)) for name in "abc"] == [2, 2, 2]
    for name in "ab":
        assert set(owned(scene, name)) < set(before[name]), "what does not move stays where it is"
        assert member(scene, name).stopped_us == 0
        assert member(scene, name).assignor == ""
    assert {member(scene, name).generation for name in "abc"} == {3}, "the epoch of the third join"
    assert "CreateConsumer" in scene.roots(scene.happened(e.PartitionsRevoked, since=click)[0])


def test_fact_43_a_partition_is_handed_over_only_after_its_owner_has_let_go() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", wait=10, group_protocol="consumer", auto_offset_reset="earliest")
    scene.do(c.SetProcessing("a", 20_000), c.Produce("orders", "x", partition=0), c.Produce("orders", "y", partition=1))
    scene.wait(1)
    join(scene, "b", wait=15, group_protocol="consumer", auto_offset_reset="earliest")
    assert owned(scene, "b") == [], "its owner's thread is not back in poll, so nothing was revoked"
    scene.wait(40)
    (moved,) = owned(scene, "b")
    given_up = scene.happened(e.PartitionsRevoked, consumer="a")[0]
    taken = [h for h in scene.happened(e.PartitionsAssigned, consumer="b") if h.event.partitions]  # type: ignore[attr-defined]
    assert given_up.event.partitions == taken[0].event.partitions == pairs(moved)  # type: ignore[attr-defined]
    assert given_up.at_us < taken[0].at_us
    assert len(scene.happened(e.RecordsConsumed)) == 2, "no record is read twice"


def test_fact_43_a_fenced_member_gives_everything_up_and_joins_anew() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b", wait=15, group_protocol="consumer")
    (mine,) = owned(scene, "a")
    name = member(scene, "a").member_id
    freeze = scene.do(c.PauseNode("a"))
    scene.wait(60)
    assert owned(scene, "b") == [0, 1]
    scene.do(c.ResumeNode("a"))
    scene.wait(20)
    _, fenced = scene.first(e.MemberFenced, consumer="a", since=freeze)
    assert fenced.error == "UNKNOWN_MEMBER_ID"
    _, lost = scene.first(e.PartitionsLost, consumer="a", since=freeze)
    assert lost.partitions == pairs(mine)
    assert member(scene, "a").member_id == name, "the member ID is the process's own"
    assert sorted(owned(scene, "a") + owned(scene, "b")) == [0, 1]


def test_fact_43_who_stays_away_from_poll_leaves_and_comes_back() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b", wait=15, group_protocol="consumer", auto_offset_reset="earliest", max_poll_interval_ms="20000")
    (mine,) = owned(scene, "a")
    click = scene.do(c.SetProcessing("a", 40_000), c.Produce("orders", "x", partition=mine))
    scene.wait(30)
    assert member(scene, "a").state == "stale"
    assert owned(scene, "b") == [0, 1]
    assert "SetProcessing" in scene.roots(scene.happened(e.PollIntervalExceeded, since=click)[0])
    scene.wait(30)
    assert scene.first(e.PartitionsLost, consumer="a")[1].partitions == pairs(mine)
    assert len(owned(scene, "a")) == 1


# -- 44: static members ------------------------------------------------------------------------------------------------------------


def test_fact_44_a_static_member_says_nothing_when_it_closes_and_keeps_its_place_until_the_session_ends() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b", group_instance_id="{name}-1")
    click = scene.do(c.CloseClient("b"))
    begin = scene.now_s
    scene.wait(20)
    _, left = scene.first(e.GroupLeft, consumer="b", since=click)
    assert not left.told
    assert owned(scene, "a") == [0], "no rebalance"
    scene.do(c.CreateConsumer("b", ["orders"], {"group.id": "billing", "group.instance.id": "b-1"}))
    scene.wait(5)
    assert owned(scene, "b") == [1], "back in time it finds its partition"
    assert not scene.happened(e.GroupRebalanceStarted, since=click)
    scene.do(c.CloseClient("b"))
    scene.wait(50)
    assert [h.event.reason for h in scene.happened(e.MemberLeft, since=click)] == ["session expired"]  # type: ignore[attr-defined]
    assert scene.happened(e.MemberLeft, since=click)[0].at_us / 1e6 - begin > 45
    assert owned(scene, "a") == [0, 1]


def test_fact_44_a_dynamic_member_leaves_at_once() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b")
    scene.do(c.CloseClient("b"))
    scene.wait(4)
    assert scene.first(e.GroupLeft, consumer="b")[1].told
    assert owned(scene, "a") == [0, 1]


def test_fact_44_the_one_who_was_replaced_is_fenced() -> None:
    scene = Scene()
    join(scene, "a", group_instance_id="one")
    join(scene, "b", group_instance_id="one", wait=10)
    _, crashed = scene.first(e.ConsumerCrashed)
    assert crashed.consumer == "a"
    assert crashed.error.startswith("FencedInstanceIdException")
    assert owned(scene, "b") == [0]


def test_fact_44_under_kip_848_a_static_member_leaves_with_epoch_minus_two_and_keeps_its_place() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b", wait=15, group_protocol="consumer", group_instance_id="{name}-1")
    (theirs,) = owned(scene, "b")
    click = scene.do(c.CloseClient("b"))
    scene.wait(20)
    assert not scene.first(e.GroupLeft, consumer="b", since=click)[1].told
    assert len(owned(scene, "a")) == 1
    join(scene, "b", wait=10, group_protocol="consumer", group_instance_id="b-1")
    assert owned(scene, "b") == [theirs]
    scene.do(c.CloseClient("b"))
    scene.wait(60)
    assert owned(scene, "a") == [0, 1], "until the session times out"


# -- 45: where to begin --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reset", "read"), [("latest", 1), ("earliest", 3), ("by_duration:PT30S", 2)])
def test_fact_45_without_a_committed_offset_the_reset_policy_decides(reset: str, read: int) -> None:
    scene = Scene()
    scene.produce("old", wait=60)
    scene.produce("older than 30 s in the end" if read == 3 else "young", wait=1)
    join(scene, "a", auto_offset_reset=reset)
    scene.produce("new")
    assert consumer(scene, "a").consumed == read
    assert ConsumerConfig.from_map({}).auto_offset_reset == "latest"


def test_fact_45_none_leaves_it_to_the_application() -> None:
    scene = Scene()
    scene.produce("x")
    join(scene, "a", auto_offset_reset="none")
    _, failed = scene.first(e.ConsumerFailed)
    assert failed.error.startswith("NoOffsetForPartitionException")
    scene.do(c.SeekConsumer("a", "orders", 0, 0))
    scene.wait(1)
    assert consumer(scene, "a").consumed == 1


def test_fact_45_what_is_committed_counts_whatever_the_policy_says() -> None:
    scene = Scene()
    scene.produce("x", "y")
    join(scene, "a", auto_offset_reset="earliest")
    scene.do(c.CloseClient("a"))
    scene.wait(1)
    scene.produce("z")
    join(scene, "b", auto_offset_reset="earliest")
    _, positioned = scene.first(e.ConsumerPositioned, consumer="b")
    assert (positioned.offset, positioned.reason) == (2, "committed offset")
    assert [record.value for record in consumer(scene, "b").last] == ["z"]


# -- 46: automatic commits -------------------------------------------------------------------------------------------------------------


def test_fact_46_an_automatic_commit_never_covers_records_that_are_still_in_hand() -> None:
    scene = Scene()
    join(scene, "a", processing_ms=2_000, auto_offset_reset="earliest", max_poll_records="5")
    for number in range(10):
        scene.do(c.Produce("orders", str(number), partition=0))
    scene.wait(9)
    assert consumer(scene, "a").in_hand > 0
    assert committed(scene, "a") <= 1, "five seconds are over, but the thread has not been back in poll"
    scene.wait_until(lambda: consumer(scene, "a").in_hand == 0)
    scene.wait(6)
    assert committed(scene, "a") == 10
    offsets = [h.event.offsets[0][2] for h in scene.happened(e.CommitCompleted, how="auto")]  # type: ignore[attr-defined]
    consumed_ends = [h.event.last_offset + 1 for h in scene.happened(e.RecordsConsumed)]  # type: ignore[attr-defined]
    assert set(offsets) <= {0, *consumed_ends}, "each is the end of what some poll had returned"


def test_fact_46_a_crash_in_the_middle_of_a_batch_makes_it_be_read_again() -> None:
    scene = Scene()
    join(scene, "a", processing_ms=1_000, auto_offset_reset="earliest")
    scene.do(*[c.Produce("orders", str(number), partition=0) for number in range(6)])
    scene.wait(4)
    done = sum(h.event.record_count for h in scene.happened(e.RecordsProcessed))  # type: ignore[attr-defined]
    assert 0 < done < 6
    scene.do(c.KillNode("a"))
    join(scene, "b", wait=60, auto_offset_reset="earliest")
    again = [h.event.first_offset for h in scene.happened(e.RecordsConsumed, consumer="b")]  # type: ignore[attr-defined]
    assert min(again) == 0


def test_fact_46_auto_commit_happens_every_five_seconds() -> None:
    scene = Scene()
    join(scene, "a", auto_offset_reset="earliest")
    scene.do(c.CreateProducer("p"), c.StartWorkload("w", "orders", "p", 10))
    scene.wait(31)
    moments = [h.at_us for h in scene.happened(e.CommitCompleted, how="auto")]
    assert len(moments) in (6, 7)
    assert all(4_990_000 < later - earlier < 5_010_000 for earlier, later in pairwise(moments))


# -- 48: one owner each -----------------------------------------------------------------------------------------------------------------


def test_fact_48_two_partitions_use_at_most_two_members() -> None:
    scene = Scene(partitions=2)
    join(scene, "a", "b", "c", "d")
    parts = [owned(scene, name) for name in "abcd"]
    assert sorted(number for part in parts for number in part) == [0, 1]
    assert sorted(map(len, parts)) == [0, 0, 1, 1]
    idle = [name for name in "abcd" if not owned(scene, name)]
    assert all(member(scene, name).state == "stable" for name in idle)
