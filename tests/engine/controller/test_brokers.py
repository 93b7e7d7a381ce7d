"""Brokers' lives as the controller sees them: facts 26 and 17, KIP-631, KIP-966, controlled shutdown."""

from __future__ import annotations

from typing import Any

from engine.events import (
    BrokerFenced,
    BrokerRegistered,
    BrokerSessionExpired,
    BrokerUnfenced,
    LeaderChanged,
    NodeKilled,
    ShutdownGranted,
)
from engine.messages.cluster import (
    AllocateProducerIdsRequest,
    BrokerHeartbeatRequest,
    BrokerRegistrationRequest,
)  # fmt: skip
from engine.messages.instructions import BeginShutdown
from engine.spec import ClusterSpec, controller_name
from tests.engine.controller.cluster import Brokers
from tests.engine.coordination.harness import SECOND


def test_brokers_register_fenced_and_are_unfenced_when_caught_up() -> None:
    cluster = Brokers()
    registered = {h.event.broker: h for h in cluster.happened(BrokerRegistered)}
    unfenced = {h.event.broker: h for h in cluster.happened(BrokerUnfenced)}
    assert sorted(registered) == sorted(unfenced) == [1, 2, 3]
    assert all(registered[b].id < unfenced[b].id for b in registered)
    assert all(not broker.fenced for broker in cluster.active().image.brokers.values())


def test_an_unfencing_follows_from_the_registration() -> None:
    cluster = Brokers()
    registered = {h.event.broker: h.id for h in cluster.happened(BrokerRegistered)}
    for unfenced in cluster.happened(BrokerUnfenced):
        assert registered[unfenced.event.broker] in unfenced.causes


def test_fact_26_a_killed_broker_is_fenced_after_nine_seconds_and_its_leadership_moves() -> None:
    cluster = Brokers()
    cluster.create(min_insync_replicas="2")
    killed_at = cluster.kernel.now
    cluster.kill_broker(1)
    cluster.run(12)
    fenced = cluster.happened(BrokerFenced)[0]
    assert fenced.event == BrokerFenced(1, "session expired")
    assert 7 * SECOND <= fenced.at_us - killed_at <= 9.1 * SECOND
    partition = cluster.partition()
    assert (partition.leader, partition.isr, partition.leader_epoch) == (2, (2, 3), 1)


def test_why_leads_from_the_new_leader_to_the_kill() -> None:
    cluster = Brokers()
    cluster.create()
    cluster.kill_broker(1)
    cluster.run(12)
    by_id: dict[int, Any] = {happening.id: happening for happening in cluster.events}
    chain = [cluster.happened(LeaderChanged)[0]]
    while not isinstance(chain[-1].event, NodeKilled):
        wanted: dict[Any, Any] = {LeaderChanged: BrokerFenced, BrokerFenced: BrokerSessionExpired, BrokerSessionExpired: NodeKilled}
        chain.append(next(by_id[c] for c in chain[-1].causes if isinstance(by_id[c].event, wanted[type(chain[-1].event)])))
    assert [type(h.event).__name__ for h in chain] == ["LeaderChanged", "BrokerFenced", "BrokerSessionExpired", "NodeKilled"]


def test_a_second_incarnation_waits_until_the_first_ones_session_is_over() -> None:
    cluster = Brokers()
    answer = cluster.ask(BrokerRegistrationRequest(9, 1, "another", "", -1), broker_id=2)
    assert answer.error == "DUPLICATE_BROKER_REGISTRATION"
    cluster.kill_broker(1)
    cluster.run(12)
    cluster.boot(1)
    cluster.run(4)
    assert not cluster.active().image.brokers[1].fenced


def test_a_repeated_registration_of_one_incarnation_keeps_its_epoch() -> None:
    cluster = Brokers()
    fake = cluster.broker(1)
    answer = cluster.ask(BrokerRegistrationRequest(9, 1, fake.incarnation, "", -1))
    assert (answer.error, answer.broker_epoch) == ("NONE", fake.epoch)


def test_heartbeats_of_an_earlier_registration_are_refused() -> None:
    cluster = Brokers()
    assert cluster.ask(BrokerHeartbeatRequest(9, 1, 10_000, 0, False, False)).error == "STALE_BROKER_EPOCH"
    assert cluster.ask(BrokerHeartbeatRequest(9, 9, 1, 0, False, False)).error == "BROKER_ID_NOT_REGISTERED"


def test_a_clean_return_keeps_the_elr_and_an_unclean_one_loses_it() -> None:
    for clean in (True, False):
        cluster = Brokers()
        cluster.create(min_insync_replicas="3")
        epoch = cluster.broker(3).epoch
        cluster.kill_broker(3)
        cluster.run(12)
        assert (cluster.partition().isr, cluster.partition().elr) == ((1, 2), (3,))
        cluster.boot(3, previous_epoch=epoch if clean else -1)
        cluster.run(2)
        assert cluster.partition().elr == ((3,) if clean else ())


def test_an_unclean_return_of_the_last_isr_member_leaves_nobody_to_lead_but_the_last_known_leader() -> None:
    cluster = Brokers()
    cluster.create("orders", (1,))
    cluster.kill_broker(1)
    cluster.run(12)
    assert (cluster.partition().leader, cluster.partition().isr, cluster.partition().elr) == (-1, (), (1,))
    cluster.boot(1)
    cluster.run(0.3)
    assert (cluster.partition().elr, cluster.partition().last_known_elr) == ((), (1,))
    cluster.run(4)
    assert cluster.partition().leader == 1
    assert cluster.happened(LeaderChanged)[-1].event.election == "last known leader"


def test_controlled_shutdown_moves_leaderships_before_it_is_granted() -> None:
    cluster = Brokers()
    cluster.create()
    cluster.broker(1).want_shut_down = True
    cluster.run(4)
    assert cluster.broker(1).stopped
    moved, granted = cluster.happened(LeaderChanged)[0], cluster.happened(ShutdownGranted)[0]
    assert moved.event.election == "controlled shutdown"
    assert moved.id < granted.id
    assert cluster.partition().leader == 2
    assert cluster.happened(BrokerFenced)[0].event == BrokerFenced(1, "controlled shutdown")
    assert not cluster.happened(BrokerSessionExpired)


def test_after_a_polite_stop_the_broker_may_register_at_once() -> None:
    cluster = Brokers()
    cluster.create()
    epoch = cluster.broker(1).epoch
    cluster.broker(1).want_shut_down = True
    cluster.run(4)
    cluster.kill_broker(1)
    cluster.boot(1, previous_epoch=epoch)
    cluster.run(1)
    assert cluster.broker(1).epoch > epoch


def test_without_elr_the_fenced_last_member_stays_in_the_isr() -> None:
    cluster = Brokers(spec=ClusterSpec(elr=False))
    cluster.create("orders", (1,))
    cluster.kill_broker(1)
    cluster.run(12)
    assert (cluster.partition().leader, cluster.partition().isr, cluster.partition().elr) == (-1, (1,), ())


def test_a_new_active_controller_gives_every_broker_a_fresh_session() -> None:
    cluster = Brokers()
    cluster.kernel.instruct(controller_name(cluster.active().node_id), BeginShutdown(), 0)
    cluster.run(20)
    assert not cluster.happened(BrokerSessionExpired)
    assert cluster.active().quorum.epoch > 1


def test_answers_wait_for_the_commit_and_a_deposed_controller_takes_them_back() -> None:
    cluster = Brokers()
    leader = cluster.active().node_id
    for other in cluster.voters:
        if other != leader:
            cluster.kernel.cut(controller_name(other), controller_name(leader), 0)
            cluster.kernel.cut(controller_name(leader), controller_name(other), 0)
    fake = cluster.broker(1)
    fake.answers.clear()
    cluster.deliver(controller_name(leader), AllocateProducerIdsRequest(5, 1, fake.epoch), "broker-1")
    cluster.run(1)
    answers = [a.error for a in fake.answers if type(a).__name__ == "AllocateProducerIdsResponse"]
    assert answers == [], "nothing is answered before it is committed"
    cluster.run(4)
    answers = [a.error for a in fake.answers if type(a).__name__ == "AllocateProducerIdsResponse"]
    assert answers == ["NOT_CONTROLLER"]
    cluster.run(5)
    assert cluster.active().image.next_producer_id == 0


def test_producer_ids_come_in_blocks_of_a_thousand() -> None:
    cluster = Brokers()
    first = cluster.ask(AllocateProducerIdsRequest(5, 1, cluster.broker(1).epoch))
    second = cluster.ask(AllocateProducerIdsRequest(5, 2, cluster.broker(2).epoch), broker_id=2)
    assert (first.producer_id_start, first.producer_id_len, second.producer_id_start) == (0, 1000, 1000)
    assert cluster.ask(AllocateProducerIdsRequest(5, 1, 77_777)).error == "STALE_BROKER_EPOCH"
