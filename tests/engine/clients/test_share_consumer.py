"""The simulated share consumer in a lab: what it acquires, what it says of it, and what becomes of records when it falls silent."""

from __future__ import annotations

from typing import TypeVar

import pytest

from engine import commands as c
from engine import events as e
from engine.errors import EngineError
from engine.lab import Lab
from engine.messages.base import TopicPartition
from engine.metadata.authorizer import STANDARD_AUTHORIZER
from engine.spec import ClusterSpec, TopicSpec
from engine.view.narrate import narrate
from engine.view.tree import ShareConsumerView, SharePartitionView

SECOND = 1_000_000
GROUP = "pool"
E = TypeVar("E", bound=e.Event)


class Pool:
    """A lab with one topic and a share group on it. ``settings`` are the group's."""

    def __init__(self, partitions: int = 1, **settings: str) -> None:
        assignments = [[number % 3 + 1, (number + 1) % 3 + 1, (number + 2) % 3 + 1] for number in range(partitions)]
        self.lab = Lab(ClusterSpec(3, 3, (TopicSpec("orders", partitions, 3, {}, assignments),)), 7)
        given = {"share.auto.offset.reset": "earliest", **{name.replace("_", "."): value for name, value in settings.items()}}
        self.lab.submit(c.AlterConfig("group", GROUP, given))
        self.lab.submit(c.CreateProducer("producer", {"linger.ms": "0"}))
        self.wait(0.5)

    def wait(self, seconds: float) -> None:
        self.lab.advance(self.lab.now_us + int(seconds * SECOND))

    def join(self, *names: str, processing_ms: int = 0, explicit: bool = False, fail_on: str = "", **more: int | str) -> None:
        configs = {key.replace("_", "."): str(value) for key, value in more.items() if not key.endswith("every")}
        configs |= {"group.id": GROUP} | ({"share.acknowledgement.mode": "explicit"} if explicit else {})
        numbers = {key: int(value) for key, value in more.items() if key.endswith("every")}
        for name in names:
            self.lab.submit(c.CreateShareConsumer(name, ["orders"], configs, processing_ms, fail_on=fail_on, **numbers))
        self.wait(12)

    def produce(self, *values: str, partition: int = 0) -> None:
        for value in values:
            self.lab.submit(c.Produce("orders", value, partition=partition))
            self.wait(0.1)

    def of(self, kind: type[E]) -> list[E]:
        return [happening.event for happening in self.lab.history(0, 100_000) if isinstance(happening.event, kind)]

    def got(self, name: str) -> list[int]:
        """The offsets that ``poll`` returned, in order."""
        events = [event for event in self.of(e.ShareRecordsDelivered) if event.consumer == name]
        return [offset for event in events for offset in range(event.first_offset, event.last_offset + 1)]

    def share(self, partition: int = 0) -> SharePartitionView:
        return next(part for part in self.lab.view().groups[GROUP].share_partitions if part.partition == partition)

    def says(self, name: str) -> ShareConsumerView:
        share = self.lab.view().consumers[name].share
        assert share is not None
        return share

    def why(self, kind: type[e.Event]) -> list[str]:
        """The chain of causes of the newest event of this kind."""
        number = next(happening.id for happening in reversed(self.lab.history(0, 100_000)) if isinstance(happening.event, kind))
        return [narrate(happening.event) for happening in self.lab.why(number)]


@pytest.fixture
def pool() -> Pool:
    return Pool()


def test_the_next_poll_accepts_what_the_last_returned(pool: Pool) -> None:
    pool.join("app")
    pool.produce("a", "b", "c")
    pool.wait(1)
    assert pool.got("app") == [0, 1, 2]
    assert pool.says("app").accepted == 3
    assert (pool.share().start_offset, pool.share().in_flight) == (3, 0)


def test_members_share_one_partition(pool: Pool) -> None:
    pool.join("one", "two", "three", processing_ms=500)
    pool.produce(*"abcdef")
    pool.wait(5)
    got = [pool.got(name) for name in ("one", "two", "three")]
    assert all(got)
    assert sorted(offset for some in got for offset in some) == [0, 1, 2, 3, 4, 5]


def test_until_then_the_records_are_its_own(pool: Pool) -> None:
    pool.join("app", processing_ms=2_000)
    pool.produce("a")
    pool.wait(1)
    run = pool.share().runs[0]
    assert (run.state, run.deliveries, run.consumer) == ("acquired", 1, "app")
    assert pool.lab.view().consumers["app"].application == "processing"


def test_every_third_is_released_and_every_fourth_rejected(pool: Pool) -> None:
    pool.join("app", explicit=True, release_every=3, reject_every=4)
    pool.produce(*"abcd")
    pool.wait(2)
    verdicts = [(event.first_offset, event.verdict) for event in pool.of(e.ShareRecordsProcessed)]
    assert verdicts == [(0, "accept"), (1, "accept"), (2, "release"), (2, "reject"), (3, "accept")]
    says = pool.says("app")
    assert (says.accepted, says.released, says.rejected) == (3, 1, 1)
    assert pool.share().start_offset == 4


def test_a_record_at_which_everybody_fails_is_given_up_after_five_deliveries(pool: Pool) -> None:
    pool.join("one", "two", explicit=True, fail_on="bad", processing_ms=10)
    pool.produce("good", "bad", "good")
    pool.wait(3)
    attempts = [event for event in pool.of(e.ShareRecordsProcessed) if event.failed]
    assert [event.first_offset for event in attempts] == [1] * 5
    assert sum(event.archived for event in pool.of(e.ShareAcknowledged)) == 1
    assert pool.share().start_offset == 3


def test_the_application_may_change_its_mind(pool: Pool) -> None:
    pool.join("app", explicit=True, fail_on="bad", processing_ms=400)
    pool.produce("bad")
    pool.wait(1)
    pool.lab.submit(c.SetVerdicts("app"))
    pool.wait(2)
    assert 1 < len(pool.got("app")) < 5
    assert pool.says("app").accepted == 1


def test_verdicts_need_explicit_acknowledgement(pool: Pool) -> None:
    with pytest.raises(EngineError, match="explicit"):
        pool.lab.submit(c.CreateShareConsumer("app", ["orders"], {"group.id": GROUP}, release_every=2))
    pool.join("app")
    with pytest.raises(EngineError, match="Implicit acknowledgement"):
        pool.lab.submit(c.SetVerdicts("app", reject_every=2))


@pytest.mark.parametrize("name", ["auto.offset.reset", "isolation.level", "enable.auto.commit", "group.protocol"])
def test_what_the_group_settles_is_no_setting_of_the_consumer(pool: Pool, name: str) -> None:
    with pytest.raises(EngineError, match="cannot be set when using a share group"):
        pool.lab.submit(c.CreateShareConsumer("app", ["orders"], {"group.id": GROUP, name: "x"}))


def test_a_share_consumer_needs_a_group_and_has_no_position(pool: Pool) -> None:
    with pytest.raises(EngineError, match="You must provide a valid group"):
        pool.lab.submit(c.CreateShareConsumer("app", ["orders"]))
    pool.join("app")
    for command in (c.SeekConsumer("app", "orders", 0, 0), c.AssignConsumer("app", "orders", [0]), c.PauseConsumer("app")):
        with pytest.raises(EngineError, match="share-consumer, not a consumer"):
            pool.lab.submit(command)


def test_a_killed_consumers_records_are_free_at_once(pool: Pool) -> None:
    pool.join("one", "two", processing_ms=5_000)
    pool.produce("a")
    pool.wait(1)
    first, second = ("one", "two") if pool.got("one") else ("two", "one")
    assert pool.got(second) == []
    pool.lab.submit(c.KillNode(first))
    pool.wait(1)
    assert pool.got(second) == [0]
    assert pool.of(e.ShareRecordsDelivered)[-1].deliveries == 2
    assert f"kill {first}" in " ".join(pool.why(e.ShareRecordsDelivered))


def test_a_frozen_consumers_locks_run_out_and_its_verdict_comes_too_late(pool: Pool) -> None:
    pool.join("one", processing_ms=1_000)
    pool.produce("a")
    pool.wait(0.2)
    pool.lab.submit(c.PauseNode("one"))
    pool.join("two", processing_ms=20_000)
    assert pool.got("two") == []
    pool.wait(25)
    assert pool.got("two") == [0]
    assert pool.of(e.AcquisitionLockExpired)[-1].consumer == "one"
    assert "pause one" in " ".join(pool.why(e.AcquisitionLockExpired))
    pool.lab.submit(c.ResumeNode("one"))
    pool.wait(3)
    assert [event.error for event in pool.of(e.ShareAcknowledgementFailed)] == ["INVALID_RECORD_STATE"]
    assert pool.says("one").refused == 1


def test_a_slow_application_loses_its_locks(pool: Pool) -> None:
    pool.lab.submit(c.Produce("orders", "v{n}", partition=0, count=40))
    pool.wait(1)
    pool.join("one", processing_ms=1_000)
    pool.wait(20)
    pool.join("two", processing_ms=1_000)
    pool.wait(15)
    assert sorted(pool.got("two")) == list(range(40))  # the whole batch, although one had worked on most of it
    assert pool.of(e.ShareAcknowledgementFailed)


def test_close_under_implicit_acknowledgement_accepts_nothing_more(pool: Pool) -> None:
    """As in Java: the records of the last poll are not acknowledged, since no poll follows."""
    pool.join("one", processing_ms=500)
    pool.produce("a")
    pool.lab.submit(c.CloseClient("one"))
    pool.wait(2)
    assert "one" not in pool.lab.view().nodes
    pool.join("two")
    assert pool.got("one") == pool.got("two") == [0]


def test_close_under_explicit_acknowledgement_says_its_last_word(pool: Pool) -> None:
    pool.join("one", processing_ms=500, explicit=True)
    pool.produce("a")
    pool.lab.submit(c.CloseClient("one"))
    pool.wait(2)
    assert "one" not in pool.lab.view().nodes
    assert not pool.lab.view().groups[GROUP].members
    pool.join("two")
    assert pool.got("two") == []


def test_who_stays_away_from_poll_leaves_and_comes_back(pool: Pool) -> None:
    pool.join("app", processing_ms=6_000, max_poll_interval_ms=4_000)
    pool.produce("a")
    pool.wait(5)
    assert not pool.lab.view().groups[GROUP].members
    assert len(pool.of(e.PollIntervalExceeded)) == 1
    pool.wait(10)
    assert [member.consumer for member in pool.lab.view().groups[GROUP].members] == ["app"]
    pool.produce("b")
    pool.wait(1)
    assert 1 in pool.got("app")


def test_a_leader_that_dies_is_followed_by_another() -> None:
    pool = Pool(partitions=2)
    pool.join("app", explicit=True)
    pool.produce("a", "b")
    pool.wait(1)
    pool.lab.submit(c.KillNode("broker-1"))
    pool.wait(15)
    pool.produce("c", "d")
    pool.wait(5)
    assert pool.share().leader != 1
    assert pool.got("app")[-2:] == [2, 3]
    assert pool.share().start_offset == 4


def test_what_a_consumer_got_leads_back_to_who_sent_it(pool: Pool) -> None:
    pool.join("app", explicit=True, fail_on="a")
    pool.produce("a")
    pool.wait(2)
    story = " ".join(pool.why(e.ShareAcknowledged))
    assert "produce" in story
    assert "acquired" in story
    assert "failed at offset 0" in story


def test_markers_are_no_records_and_hold_nobody_up(pool: Pool) -> None:
    pool.lab.submit(c.CreateProducer("txn", {"transactional.id": "t"}))
    pool.wait(3)
    pool.lab.submit(c.BeginTransaction("txn"))
    pool.lab.submit(c.Produce("orders", "a", producer="txn", partition=0))
    pool.lab.submit(c.CommitTransaction("txn"))
    pool.wait(3)
    pool.join("app")
    pool.wait(2)
    assert pool.got("app") == [0]
    assert pool.share().start_offset == 2


def test_a_restarted_consumer_is_as_it_was(pool: Pool) -> None:
    pool.join("app", explicit=True, fail_on="bad", processing_ms=100)
    pool.lab.submit(c.KillNode("app"))
    pool.wait(1)
    pool.lab.submit(c.StartNode("app"))
    pool.wait(12)
    view = pool.lab.view().consumers["app"]
    assert (view.processing_ms, view.share.fail_on if view.share else "") == (100, "bad")
    assert view.share is not None
    assert view.share.assigned == [str(TopicPartition("orders", 0))]


def test_time_turned_back_and_on_again_leads_to_the_same_place(pool: Pool) -> None:
    pool.join("one", "two", explicit=True, fail_on="bad", processing_ms=300)
    pool.produce("a", "bad", "c")
    pool.wait(0.7)
    middle = pool.lab.now_us
    in_flight = pool.share()
    assert in_flight.runs
    pool.wait(5)
    end, settled = pool.lab.now_us, pool.lab.view()
    pool.lab.seek(middle)
    assert pool.share() == in_flight
    pool.lab.seek(end)
    assert pool.lab.view() == settled
    other = pool.lab.fork()
    other.advance(other.now_us + SECOND)
    pool.wait(1)
    assert other.view() == pool.lab.view()


def test_a_consumer_without_the_right_to_read_ends() -> None:
    lab = Lab(
        ClusterSpec(
            3,
            3,
            (TopicSpec("orders", 1, 3),),
            broker_configs={"authorizer.class.name": STANDARD_AUTHORIZER, "sasl.enabled.mechanisms": "SCRAM-SHA-512"},
        ),
        7,
    )
    for principal, operation, kind, name in (("User:ann", "read", "group", GROUP), ("User:ann", "describe", "topic", "orders")):
        lab.submit(c.CreateAcl(principal, operation, kind, name))
    lab.submit(c.AlterUser("ann", "secret"))
    lab.advance(lab.now_us + SECOND)
    configs = {"group.id": GROUP, "sasl.username": "ann", "sasl.password": "secret", "sasl.mechanism": "SCRAM-SHA-512"}
    lab.submit(c.CreateShareConsumer("app", ["orders"], configs))
    lab.advance(lab.now_us + 15 * SECOND)
    view = lab.view().consumers["app"]
    assert view.application == "crashed"
    assert view.group is not None
    assert "TopicAuthorizationException" in view.group.error
