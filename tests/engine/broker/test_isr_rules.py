"""The single rules behind facts 12, 13, 18, 19 and 24, each at the very replica it concerns."""

from __future__ import annotations

import pytest

from engine.broker import fetcher, replication
from engine.broker.state import NEVER_MS, Replica
from engine.events import HighWatermarkAdvanced, IsrExpandProposed
from engine.messages.cluster import AlterPartitionRequest
from engine.messages.fetch import FetchItem, FetchRequest, FetchResponse, FetchResult
from engine.sim.outbox import Outbox
from tests.engine.broker.harness import MS, SECOND, TP, World


def alone(mutants: tuple[str, ...] = ()) -> tuple[World, Replica, Outbox]:
    """Broker 1 leads, holds one record, and neither follower has been seen for long."""
    world = World(mutants=mutants)
    world.topic((1, 2, 3))
    world.cut("broker-1", "broker-2")
    world.cut("broker-1", "broker-3")
    assert world.produced(1, b"a", acks=1) == ("NONE", 0)
    replica = world.replica(1)
    for follower in replica.followers.values():
        follower.last_caught_up_ms = NEVER_MS
        follower.log_end_offset = 0
    replica.isr = replica.maximal_isr = (1,)
    return world, replica, world.kernel._outbox(world.kernel.hosts["broker-1"], 0)


def emitted(out: Outbox) -> list[type]:
    return [type(event) for event, _ in out.emitted]


def test_fact_12_the_leader_alone_in_the_isr_advances() -> None:
    world, replica, out = alone()
    assert replication.maybe_advance_high_watermark(world.broker(1), replica, out)
    assert (replica.high_watermark, emitted(out)) == (1, [HighWatermarkAdvanced])


def test_fact_13_but_not_below_min_insync_replicas() -> None:
    world, replica, out = alone()
    replica.min_isr = 2
    assert not replication.maybe_advance_high_watermark(world.broker(1), replica, out)
    assert replica.high_watermark == 0


@pytest.mark.parametrize(("mutants", "advances"), [((), False), (("hw-committed-isr-only",), True)])
def test_fact_18_a_proposed_member_holds_the_high_watermark_until_the_controller_answers(
    mutants: tuple[str, ...], advances: bool
) -> None:
    world, replica, out = alone(mutants)
    replica.pending_isr = replica.maximal_isr = (1, 2)
    assert replication.maybe_advance_high_watermark(world.broker(1), replica, out) is advances


def test_a_caught_up_follower_outside_the_isr_holds_the_high_watermark() -> None:
    world, replica, out = alone()
    replica.followers[2].last_caught_up_ms = world.kernel.now // 1000 - 1000
    assert not replication.maybe_advance_high_watermark(world.broker(1), replica, out)


@pytest.mark.parametrize(
    ("log_end", "high_watermark", "epoch_start", "joins"), [(1, 0, 0, True), (1, 1, 1, True), (1, 2, 0, False), (1, 0, 2, False)]
)
def test_fact_18_the_high_watermark_and_the_epochs_start_must_be_reached(
    log_end: int, high_watermark: int, epoch_start: int, joins: bool
) -> None:
    world, replica, out = alone()
    follower = replica.followers[2]
    follower.log_end_offset = log_end
    replica.high_watermark, replica.leader_epoch_start_offset = high_watermark, epoch_start
    replication.maybe_expand_isr(world.broker(1), replica, 2, follower, out)
    assert (IsrExpandProposed in emitted(out)) is joins
    assert (replica.pending_isr == (1, 2)) is joins


def test_a_new_leader_takes_only_isr_members_as_caught_up() -> None:
    world = World()
    world.topic((1, 2, 3))
    world.cut("broker-2", "broker-1")
    world.cut("broker-2", "broker-3")
    world.change(leader=2, isr=(2, 3))
    world.run(SECOND)
    followers = world.replica(2).followers
    assert followers[1].last_caught_up_ms == NEVER_MS
    assert followers[3].last_caught_up_ms >= 1000


def test_a_fetch_of_an_earlier_incarnation_is_refused() -> None:
    world = World()
    world.topic((1, 2, 3))
    world.cut("broker-1", "broker-3")
    replica = world.replica(1)
    replica.followers[3].broker_epoch = -1
    item = FetchItem(TP, replica.topic_id, 0, 0)
    old = world.broker(3).broker_epoch - 1
    for epoch, error in ((old, "NOT_LEADER_OR_FOLLOWER"), (old + 1, "NONE")):
        world.send(1, FetchRequest(world.next_number(), 3, epoch, 0, 1, 1 << 20, (item,)))
        world.run(20 * MS)
        assert world.answers(FetchResponse)[-1].results[0].error == error


def test_fact_24_a_followers_high_watermark_is_bounded_by_its_log_and_may_go_back() -> None:
    world = World()
    world.topic((1, 2, 3))
    world.produced(1, b"a")
    world.run(SECOND)
    broker, replica = world.broker(2), world.replica(2)
    running = broker.fetchers[1]
    sent = FetchItem(TP, replica.topic_id, 1)
    out = world.kernel._outbox(world.kernel.hosts["broker-2"], 0)
    for told, known in ((5, 1), (0, 0)):
        fetcher._take(broker, running, running.partitions[TP], sent, FetchResult(TP, "NONE", told, -1, 0), out)
        assert replica.high_watermark == known


def test_fact_19_after_a_roll_back_nothing_is_pending() -> None:
    world = World()
    world.topic((1, 2, 3))
    world.controller.alter = "INELIGIBLE_REPLICA"
    world.change(isr=(1, 2))
    world.run(SECOND)
    world.cut("broker-1", "broker-3")
    world.run(SECOND)
    asked = [request for request in world.controller.requests if isinstance(request, AlterPartitionRequest)]
    replica = world.replica(1)
    assert asked
    assert (replica.pending_isr, replica.maximal_isr) == (None, (1, 2))


def test_an_unknown_refusal_is_tried_again() -> None:
    world = World()
    world.topic((1, 2, 3))
    world.controller.alter = "UNKNOWN_SERVER_ERROR"
    world.change(isr=(1, 2))
    world.run(600 * MS)
    world.controller.alter = "accept"
    world.run(100 * MS)
    assert world.replica(1).isr == (1, 2, 3)
