"""Facts 11 to 20: what the leader and its followers do with records, the high watermark and the ISR."""

from __future__ import annotations

from engine.events import (
    HighWatermarkAdvanced,
    IsrExpandProposed,
    IsrShrinkProposed,
    ProduceAcknowledged,
    RecordsAppended,
    RecordsReplicated,
    ReplicaTruncated,
)  # fmt: skip
from engine.messages.cluster import AlterPartitionRequest
from engine.metadata.records import BrokerRegistrationChange, Config
from tests.engine.broker.harness import CONTROLLER, MS, SECOND, TP, World


def three() -> World:
    world = World()
    world.topic((1, 2, 3))
    return world


def test_brokers_register_catch_up_and_serve() -> None:
    world = World()
    for broker_id in (1, 2, 3):
        broker = world.broker(broker_id)
        assert (broker.lifecycle, broker.fenced, broker.serving) == ("running", False, True)
        assert broker.broker_epoch >= 0


def test_fact_12_the_high_watermark_advances_when_followers_fetch_past_and_followers_learn_it_later() -> None:
    world = three()
    assert world.produced(1, b"a") == ("NONE", 0)
    assert world.replica(1).high_watermark == 1
    replicated = world.events(RecordsReplicated)
    assert [event.broker for event in replicated] in ([2, 3], [3, 2])
    kinds = [type(happening.event) for happening in world.history]
    assert kinds.index(RecordsAppended) < kinds.index(RecordsReplicated) < kinds.index(HighWatermarkAdvanced)
    assert kinds.index(HighWatermarkAdvanced) < kinds.index(ProduceAcknowledged)
    assert world.replica(2).high_watermark == 0  # its next response, after the long poll, tells
    world.run(600 * MS)
    assert world.replica(2).high_watermark == world.replica(3).high_watermark == 1


def test_fact_12_a_sole_replica_advances_at_its_own_append() -> None:
    world = World(1)
    world.topic((1,))
    assert world.produced(1, b"a") == ("NONE", 0)
    assert world.replica(1).high_watermark == 1


def test_fact_12_the_high_watermark_advances_when_the_isr_shrinks() -> None:
    world = three()
    world.pause(3)
    number = world.produce(1, b"a", timeout_ms=120_000)
    world.run(SECOND)
    assert world.answered(number) == ("", -1)
    world.change(isr=(1, 2))
    world.run(2 * SECOND)
    assert world.replica(1).high_watermark == 0  # caught up within the lag limit and unfenced: it holds the mark back
    world.commit(BrokerRegistrationChange(3, world.broker(3).broker_epoch, fenced=True))
    world.change(isr=(1, 2))
    world.run(2 * SECOND)
    assert world.answered(number) == ("NONE", 0)


def test_fact_13_no_advance_while_the_isr_is_below_min_insync_replicas() -> None:
    world = World()
    world.topic((1, 2, 3), configs={"min.insync.replicas": "2"})
    world.kill(2)
    world.kill(3)
    world.change(isr=(1,))
    world.run(SECOND)
    assert world.produced(1, b"a", acks=1) == ("NONE", 0)
    assert world.replica(1).high_watermark == 0
    assert world.fetched(1, 0).batches == ()
    world.commit(Config("topic", "orders", "min.insync.replicas", "1"))
    world.run(40 * SECOND)
    assert world.produced(1, b"b", acks=1) == ("NONE", 1)
    assert world.replica(1).high_watermark == 2


def test_fact_14_too_small_an_isr_before_append_refuses_and_writes_nothing() -> None:
    world = World()
    world.topic((1, 2, 3), configs={"min.insync.replicas": "2"})
    world.change(isr=(1,))
    world.controller.alter = "hold"
    world.run(SECOND)
    assert world.produced(1, b"a") == ("NOT_ENOUGH_REPLICAS", -1)
    assert world.replica(1).log.log_end_offset == 0


def test_fact_14_silent_followers_mean_request_timed_out_and_the_record_stays() -> None:
    world = three()
    world.pause(2)
    number = world.produce(1, b"a", timeout_ms=5_000)
    world.run(4 * SECOND)
    assert world.answered(number) == ("", -1)
    world.run(2 * SECOND)
    assert world.answered(number) == ("REQUEST_TIMED_OUT", -1)
    assert world.replica(1).log.log_end_offset == 1
    world.kernel.resume("broker-2", 0)
    world.run(SECOND)
    assert world.replica(1).high_watermark == 1  # it commits later after all


def test_fact_14_not_enough_replicas_after_append() -> None:
    world = World()
    world.topic((1, 2, 3), configs={"min.insync.replicas": "2"})
    world.cut("broker-1", "broker-2")
    world.cut("broker-1", "broker-3")
    number = world.produce(1, b"a")
    world.run(SECOND)
    world.commit(*[BrokerRegistrationChange(b, world.broker(b).broker_epoch, fenced=True) for b in (2, 3)])
    world.change(isr=(1,))
    world.run(SECOND)
    assert world.answered(number) == ("", -1)  # the offset is not reached while the ISR is small
    replica = world.replica(1)
    replica.min_isr, replica.high_watermark = 2, 1  # the corner that Kafka names: reached, and small
    from engine.broker import replication

    host = world.kernel.hosts["broker-1"]
    out = world.kernel._outbox(host, 0)
    replication.complete_acks(world.broker(1), replica, 0, out)
    world.kernel._carry_out(host, out)
    world.run(20 * MS)
    assert world.answered(number) == ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", -1)


def test_fact_15_acks_all_means_the_current_isr_even_of_one() -> None:
    world = three()
    world.kill(2)
    world.kill(3)
    world.commit(*[BrokerRegistrationChange(b, world.controller.image.brokers[b].broker_epoch, fenced=True) for b in (2, 3)])
    world.change(isr=(1,))
    world.run(SECOND)
    assert world.produced(1, b"a") == ("NONE", 0)


def test_fact_16_acks_1_is_answered_before_replication() -> None:
    world = three()
    world.cut("broker-1", "broker-2")
    world.cut("broker-1", "broker-3")
    assert world.produced(1, b"a", acks=1) == ("NONE", 0)
    assert world.replica(1).high_watermark == 0
    assert world.events(RecordsReplicated) == []


def test_acks_0_has_no_response() -> None:
    world = three()
    number = world.produce(1, b"a", acks=0)
    world.run(SECOND)
    assert world.answered(number) == ("", -1)
    assert world.replica(2).log.log_end_offset == 1


def test_leadership_lost_while_waiting_is_not_leader() -> None:
    world = three()
    world.pause(2)
    number = world.produce(1, b"a")
    world.run(SECOND)
    world.change(leader=3, isr=(1, 3))
    world.run(SECOND)
    assert world.answered(number) == ("NOT_LEADER_OR_FOLLOWER", -1)
    assert world.produced(1, b"b") == ("NOT_LEADER_OR_FOLLOWER", -1)


def test_fact_17_a_silent_follower_leaves_after_30_to_45_s() -> None:
    world = three()
    start = world.kernel.now
    world.pause(3)
    world.produce(1, b"a", timeout_ms=60_000)
    while not world.events(IsrShrinkProposed):
        world.run(SECOND)
        assert world.kernel.now - start < 60 * SECOND
    waited = world.last(IsrShrinkProposed).at_us - start
    assert 29 * SECOND <= waited <= 45 * SECOND
    assert world.events(IsrShrinkProposed)[0].isr == (1, 2)
    world.run(SECOND)
    assert world.replica(1).isr == (1, 2)


def test_fact_17_lag_is_time_not_messages() -> None:
    world = three()
    for _ in range(200):
        world.produce(1, b"x" * 10, acks=1)
    world.run(60 * SECOND)
    assert world.events(IsrShrinkProposed) == []


def test_fact_18_a_follower_rejoins_when_it_reaches_the_high_watermark() -> None:
    world = three()
    world.cut("broker-1", "broker-3")
    world.change(isr=(1, 2))
    world.run(31 * SECOND)
    assert world.produced(1, b"a", run_us=SECOND) == ("NONE", 0)
    assert world.replica(1).isr == (1, 2)
    world.heal("broker-1", "broker-3")
    world.run(3 * SECOND)
    assert world.events(IsrExpandProposed)[-1].isr == (1, 2, 3)
    assert world.replica(1).isr == (1, 2, 3)


def test_fact_18_no_second_proposal_while_one_is_in_flight_and_the_pending_member_counts() -> None:
    world = three()
    world.cut("broker-1", "broker-2")
    world.cut("broker-1", "broker-3")
    world.change(isr=(1,))
    world.run(40 * SECOND)
    world.controller.alter = "hold"
    world.heal("broker-1", "broker-2")
    world.heal("broker-1", "broker-3")
    world.run(3 * SECOND)
    replica = world.replica(1)
    assert len(world.events(IsrExpandProposed)) == 1
    assert replica.isr == (1,)
    assert replica.pending_isr is not None
    assert set(replica.maximal_isr) == set(replica.pending_isr)
    pending = replica.pending_isr[-1]
    world.pause(pending)
    number = world.produce(1, b"a", timeout_ms=300_000)
    world.run(100 * SECOND)
    assert world.answered(number) == ("", -1)  # the controller may have let it in already


def test_fact_18_a_fenced_follower_does_not_rejoin() -> None:
    world = three()
    world.commit(BrokerRegistrationChange(3, world.broker(3).broker_epoch, in_controlled_shutdown=True))
    world.change(isr=(1, 2))
    world.run(5 * SECOND)
    assert world.replica(1).isr == (1, 2)
    assert world.events(IsrExpandProposed) == []


def test_fact_19_an_ineligible_replica_rolls_the_proposal_back() -> None:
    world = three()
    world.controller.alter = "INELIGIBLE_REPLICA"
    world.change(isr=(1, 2))
    world.run(2 * SECOND)
    asked = [request for request in world.controller.requests if isinstance(request, AlterPartitionRequest)]
    assert asked
    assert asked[0].partitions[0].new_isr[-1].broker_epoch == world.broker(3).broker_epoch
    world.controller.alter = "accept"
    world.run(2 * SECOND)
    assert world.replica(1).isr == (1, 2, 3)


def test_fact_19_a_fenced_proposal_stays_pending_until_the_metadata_tells() -> None:
    world = three()
    world.controller.alter = "INVALID_UPDATE_VERSION"
    world.change(isr=(1, 2))
    world.run(2 * SECOND)
    assert world.replica(1).pending_isr == (1, 2, 3)
    world.controller.alter = "accept"
    world.change(isr=(1, 2))
    world.run(2 * SECOND)
    assert world.replica(1).isr == (1, 2, 3)


def diverged() -> World:
    """Broker 1 led and wrote two records that nobody copied; broker 2 leads now and wrote another."""
    world = World()
    world.topic((1, 2, 3))
    world.produced(1, b"common")
    world.run(SECOND)
    world.cut("broker-1", "broker-2")
    world.cut("broker-1", "broker-3")
    world.produced(1, b"lost 1", acks=1)
    world.produced(1, b"lost 2", acks=1)
    world.change(leader=2, isr=(2, 3))
    world.run(SECOND)
    assert world.produced(2, b"kept", acks=1) == ("NONE", 1)
    world.heal("broker-1", "broker-2")
    world.heal("broker-1", "broker-3")
    world.run(5 * SECOND)
    return world


def test_fact_20_a_follower_truncates_where_the_epochs_part() -> None:
    world = diverged()
    truncated = world.events(ReplicaTruncated)
    assert [(event.broker, event.from_offset, event.to_offset) for event in truncated] == [(1, 3, 1)]
    assert world.replica(1).log.read(0, 1 << 20) == world.replica(2).log.read(0, 1 << 20)
    assert world.replica(1).log.log_end_offset == 2


def test_fact_20_nothing_is_truncated_to_the_high_watermark() -> None:
    world = three()
    world.produced(1, b"a")
    assert world.replica(2).high_watermark == 0
    assert world.replica(2).log.log_end_offset == 1
    world.change(leader=3)
    world.run(SECOND)
    assert world.events(ReplicaTruncated) == []
    assert world.replica(2).log.log_end_offset == 1


def test_mutant_truncate_to_hw_cuts_a_committed_record() -> None:
    world = World(mutants=("truncate-to-hw",))
    world.topic((1, 2, 3))
    world.produced(1, b"a")
    world.change(leader=3)
    world.run(50 * MS)
    assert [event.broker for event in world.events(ReplicaTruncated)].count(2) == 1


def test_mutant_ack_before_replication() -> None:
    world = World(mutants=("ack-before-replication",))
    world.topic((1, 2, 3))
    world.cut("broker-1", "broker-2")
    assert world.produced(1, b"a") == ("NONE", 0)


def test_fact_24_a_followers_high_watermark_survives_its_promotion_and_the_clients_wait() -> None:
    world = three()
    world.produced(1, b"a")
    assert world.replica(2).high_watermark == 0
    world.cut("broker-2", "broker-1")
    world.cut("broker-2", "broker-3")
    world.change(leader=2)
    world.run(SECOND)
    assert world.replica(2).role == "leader"
    assert world.replica(2).high_watermark == 0


def test_stale_broker_epochs_do_not_count_as_acknowledgement() -> None:
    world = three()
    follower = world.replica(1).followers[3]
    assert follower.broker_epoch == world.broker(3).broker_epoch
    world.kernel.hosts["broker-3"].node.broker_epoch -= 1  # type: ignore[union-attr]
    number = world.produce(1, b"a")
    world.run(SECOND)
    assert world.answered(number) == ("", -1)


def test_controller_name_is_where_calls_go() -> None:
    world = three()
    assert world.broker(1).quorum.leader_id == 101
    assert CONTROLLER == "controller-101"
    assert world.replica(1).partition == TP
