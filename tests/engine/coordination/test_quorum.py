"""The metadata quorum: elections, replication, divergence, and its promises under crashes, cuts and pauses (fact 27, KIP-595, KIP-996)."""

from __future__ import annotations

import pytest

from engine.coordination import quorum_state
from engine.coordination.quorum_log import divergence, end_offset_for, read_committed
from engine.coordination.quorum_observer import QuorumObserver
from engine.coordination.quorum_state import TRANSITIONS
from engine.events import ControllerActivated, QuorumElectionStarted, QuorumLeaderElected, QuorumLeaderResigned, QuorumLogTruncated
from engine.messages.base import Message, Timer
from engine.messages.instructions import BeginShutdown
from engine.messages.quorum import QuorumFetchRequest, VoteRequest, VoteResponse
from engine.metadata.records import FeatureLevel, MetadataRecord, NoOp
from engine.sim.outbox import Outbox
from engine.sim.rng import Stream
from engine.spec import controller_name
from tests.engine.coordination.harness import SECOND, VOTERS, Cluster, Probe

ROLES = {"unattached", "follower", "prospective", "candidate", "leader", "resigned"}


def append(cluster: Cluster, *records: MetadataRecord) -> int:
    """Straight into the leader's log, past the controller's decisions: the quorum alone is under test."""
    leader = cluster.active()
    host = cluster.kernel.hosts[controller_name(leader.node_id)]
    out = cluster.kernel._outbox(host, 0)
    offset = leader.quorum.append(records, out)
    leader.quorum.serve_parked(out)
    cluster.kernel._carry_out(host, out)
    return offset


def test_every_role_can_be_left_and_only_known_roles_are_entered() -> None:
    assert {role for role, _ in TRANSITIONS} == ROLES
    assert set(TRANSITIONS.values()) == ROLES
    assert [event for role, event in TRANSITIONS if TRANSITIONS[role, event] == "leader"] == ["gets a majority of votes"]


def test_three_controllers_elect_one_leader_and_activate_it() -> None:
    cluster = Cluster()
    cluster.run(4)
    assert len(cluster.happened(QuorumLeaderElected)) == len(cluster.happened(ControllerActivated)) == 1
    roles = sorted(cluster.quorum(voter).role for voter in VOTERS)
    assert roles == ["follower", "follower", "leader"]
    assert len({cluster.quorum(voter).high_watermark for voter in VOTERS}) == 1


def test_a_pre_vote_precedes_each_election_and_leaves_the_epoch_alone() -> None:
    cluster = Cluster()
    cluster.run(4)
    pre, real = (happening.event for happening in cluster.happened(QuorumElectionStarted))
    assert (pre.pre_vote, pre.epoch, real.pre_vote, real.epoch) == (True, 0, False, 1)


def test_followers_elect_again_when_they_have_not_heard_the_leader_for_the_fetch_timeout_of_two_seconds() -> None:
    cluster = Cluster()
    cluster.run(5)
    killed_at = cluster.kernel.now
    cluster.kill(cluster.active().node_id)
    cluster.run(5)
    elected = cluster.happened(QuorumLeaderElected)[-1]
    assert 1.4 * SECOND < elected.at_us - killed_at < 4 * SECOND
    assert elected.event.epoch == 2


def test_a_killed_leader_is_among_the_causes_of_the_next_election() -> None:
    cluster = Cluster()
    cluster.run(5)
    leader = cluster.active().node_id
    cluster.kill(leader)
    cluster.run(5)
    kill = next(h for h in cluster.events if type(h.event).__name__ == "NodeKilled")
    election = next(h for h in cluster.happened(QuorumElectionStarted) if h.id > kill.id)
    assert kill.id in election.causes


def test_a_polite_stop_hands_over_at_once() -> None:
    cluster = Cluster()
    cluster.run(5)
    stopped_at, leader = cluster.kernel.now, cluster.active().node_id
    cluster.kernel.instruct(controller_name(leader), BeginShutdown(), 0)
    cluster.run(1)
    assert not cluster.up(leader)
    elected = cluster.happened(QuorumLeaderElected)[-1]
    assert 0 < elected.at_us - stopped_at < 0.1 * SECOND


def test_a_leader_without_a_majority_resigns_after_one_and_a_half_fetch_timeouts() -> None:
    cluster = Cluster()
    cluster.run(5)
    leader = cluster.active().node_id
    for other in VOTERS:
        if other != leader:
            cluster.kernel.cut(controller_name(leader), controller_name(other), 0)
            cluster.kernel.cut(controller_name(other), controller_name(leader), 0)
    cut_at = cluster.kernel.now
    cluster.run(6)
    resigned = cluster.happened(QuorumLeaderResigned)[0]
    assert resigned.event.controller == leader
    assert 2.4 * SECOND < resigned.at_us - cut_at <= 3 * SECOND
    assert not cluster.node(leader).active
    assert cluster.active().node_id != leader


def test_an_isolated_voter_raises_no_epoch_thanks_to_pre_vote() -> None:
    cluster = Cluster()
    cluster.run(5)
    epoch = cluster.active().quorum.epoch
    lonely = next(voter for voter in VOTERS if cluster.quorum(voter).role == "follower")
    for other in VOTERS:
        if other != lonely:
            cluster.kernel.cut(controller_name(lonely), controller_name(other), 0)
            cluster.kernel.cut(controller_name(other), controller_name(lonely), 0)
    cluster.run(30)
    for other in VOTERS:
        if other != lonely:
            cluster.kernel.heal(controller_name(lonely), controller_name(other), 0)
            cluster.kernel.heal(controller_name(other), controller_name(lonely), 0)
    cluster.run(10)
    assert {cluster.quorum(voter).epoch for voter in VOTERS} == {epoch}
    assert cluster.quorum(lonely).role == "follower"


def test_nothing_is_committed_without_a_majority() -> None:
    cluster = Cluster()
    cluster.run(5)
    leader = cluster.active().node_id
    for other in VOTERS:
        if other != leader:
            cluster.kill(other)
    before = cluster.quorum(leader).high_watermark
    append(cluster, NoOp())
    cluster.run(2)
    assert cluster.quorum(leader).high_watermark == before
    assert cluster.quorum(leader).log.log_end_offset == before + 1


def test_an_uncommitted_suffix_is_truncated_when_its_writer_returns() -> None:
    cluster = Cluster()
    cluster.run(5)
    old = cluster.active().node_id
    others = [voter for voter in VOTERS if voter != old]
    for other in others:
        cluster.kernel.cut(controller_name(old), controller_name(other), 0)
        cluster.kernel.cut(controller_name(other), controller_name(old), 0)
    lost = append(cluster, FeatureLevel("lost", 1))
    cluster.run(5)
    kept = append(cluster, FeatureLevel("kept", 1))
    assert kept > lost or cluster.quorum(others[0]).epoch > 1
    for other in others:
        cluster.kernel.heal(controller_name(old), controller_name(other), 0)
        cluster.kernel.heal(controller_name(other), controller_name(old), 0)
    cluster.run(5)
    truncated = cluster.happened(QuorumLogTruncated)
    assert [(h.event.controller, h.event.to_offset) for h in truncated] == [(old, lost)]
    for voter in VOTERS:
        assert "kept" in cluster.node(voter).image.features
        assert "lost" not in cluster.node(voter).image.features


def test_votes_and_epochs_survive_a_power_loss() -> None:
    cluster = Cluster()
    cluster.run(5)
    states = {voter: quorum_state.load(cluster.kernel.hosts[controller_name(voter)].disk) for voter in VOTERS}
    for voter in VOTERS:
        cluster.kernel.lose_power(controller_name(voter), torn=True, cause=0)
    assert {voter: quorum_state.load(cluster.kernel.hosts[controller_name(voter)].disk) for voter in VOTERS} == states
    before = {voter: states[voter].leader_epoch for voter in VOTERS}
    for voter in VOTERS:
        cluster.start(voter)
    cluster.run(8)
    assert all(cluster.quorum(voter).epoch > before[voter] for voter in VOTERS)
    assert cluster.active().image.features == {"eligible.leader.replicas.version": 1}


def test_a_voter_votes_once_per_epoch() -> None:
    cluster = Cluster()
    cluster.run(5)
    voter = next(voter for voter in VOTERS if cluster.quorum(voter).role == "follower")
    end, epoch = cluster.quorum(voter).log.log_end_offset, cluster.quorum(voter).epoch
    answers: list[Probe] = []
    for candidate in (201, 202, 201):
        cluster.kernel.add_host(f"probe-{len(answers)}", "admin")
        probe = Probe()
        cluster.kernel.start(f"probe-{len(answers)}", probe, 0)
        cluster.deliver(controller_name(voter), VoteRequest(1, epoch + 5, candidate, epoch, end, False), f"probe-{len(answers)}")
        answers.append(probe)
    cluster.run(0.01)
    granted = [m.granted for probe in answers for m in probe.received if isinstance(m, VoteResponse)]
    assert granted == [True, False, True]


def test_a_vote_survives_the_voters_death() -> None:
    cluster = Cluster()
    cluster.run(5)
    voter = next(voter for voter in VOTERS if cluster.quorum(voter).role == "follower")
    end, epoch = cluster.quorum(voter).log.log_end_offset, cluster.quorum(voter).epoch
    cluster.kernel.add_host("probe", "admin")
    probe = Probe()
    cluster.kernel.start("probe", probe, 0)
    for candidate in (201, 202):
        cluster.deliver(controller_name(voter), VoteRequest(1, epoch + 5, candidate, epoch, end, False), "probe")
        cluster.run(0.01)
        cluster.kernel.lose_power(controller_name(voter), torn=False, cause=0)
        cluster.start(voter)
    assert [m.granted for m in probe.received if isinstance(m, VoteResponse)] == [True, False]


def test_a_record_of_an_earlier_epoch_is_not_committed_by_being_counted() -> None:
    """Raft, figure 8: only a record of the leader's own epoch carries the older ones over."""
    cluster = Cluster()
    cluster.run(5)
    leader = cluster.active().node_id
    followers = [voter for voter in VOTERS if voter != leader]
    for follower in followers:
        cluster.kill(follower)
    older = append(cluster, NoOp())
    quorum = cluster.quorum(leader)
    quorum.epoch_start_offset = older + 1  # as if the leader had found that record in its log when it was elected

    def fetched_up_to(offset: int) -> int:
        body = QuorumFetchRequest(1, followers[0], quorum.epoch, offset, quorum.epoch, 0)
        cluster.deliver(controller_name(leader), body, controller_name(followers[0]))
        return quorum.high_watermark

    assert fetched_up_to(older + 1) == older
    append(cluster, NoOp())
    assert fetched_up_to(older + 2) == older + 2


def test_a_candidate_with_a_shorter_log_gets_no_vote() -> None:
    cluster = Cluster()
    cluster.run(5)
    voter = next(voter for voter in VOTERS if cluster.quorum(voter).role == "follower")
    end, epoch = cluster.quorum(voter).log.log_end_offset, cluster.quorum(voter).epoch
    cluster.kernel.add_host("probe", "admin")
    probe = Probe()
    cluster.kernel.start("probe", probe, 0)
    cluster.deliver(controller_name(voter), VoteRequest(1, epoch + 5, 201, epoch, end - 1, False), "probe")
    cluster.run(0.01)
    assert [m.granted for m in probe.received if isinstance(m, VoteResponse)] == [False]
    assert quorum_state.load(cluster.kernel.hosts[controller_name(voter)].disk).leader_epoch >= epoch + 5


@pytest.mark.parametrize(
    ("asked", "answer"),
    [((1, 1, 0), None), ((99, 1, 0), "diverging"), ((1, 7, 0), "diverging")],
)
def test_a_leader_tells_a_fetcher_where_their_logs_part(asked: tuple[int, int, int], answer: str | None) -> None:
    cluster = Cluster()
    cluster.run(5)
    leader = cluster.active()
    quorum = leader.quorum
    found = divergence(quorum.log, asked[0], asked[1])
    assert (found is None) is (answer is None)
    if found is not None:
        assert found == end_offset_for(quorum.log, asked[1])


class Observer:
    """A broker's side alone."""

    def __init__(self) -> None:
        self.records: list[MetadataRecord] = []

    def start(self, out: Outbox) -> None:
        self.observer = QuorumObserver.boot(1, VOTERS, out)

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        assert self.observer.handle(source, body, out)
        for batch in self.observer.take_committed():
            self.records += batch.records


def test_an_observer_reads_only_what_is_committed_and_follows_the_leader_over() -> None:
    cluster = Cluster()
    cluster.kernel.add_host("broker-1", "broker")
    observer = Observer()
    cluster.kernel.start("broker-1", observer, 0)
    cluster.run(5)
    assert observer.observer.leader_id == cluster.active().node_id
    started = cluster.kernel.now
    append(cluster, FeatureLevel("one", 1))
    cluster.run(0.01)
    assert FeatureLevel("one", 1) in observer.records, f"not within 10 ms of {started}"
    cluster.kill(cluster.active().node_id)
    cluster.run(6)
    append(cluster, FeatureLevel("two", 1))
    cluster.run(0.01)
    assert observer.records[-1] == FeatureLevel("two", 1)
    assert observer.observer.epoch == cluster.active().quorum.epoch


def test_a_quorum_of_one_leads_at_once() -> None:
    cluster = Cluster(voters=(101,))
    cluster.run(0.01)
    assert cluster.active().node_id == 101
    cluster.kill(101)
    cluster.start(101)
    cluster.run(3)
    assert cluster.active().quorum.epoch > 1


def test_an_idle_quorum_is_cheap() -> None:
    cluster = Cluster()
    cluster.run(5)
    before = cluster.kernel.deliveries
    cluster.run(100)
    assert (cluster.kernel.deliveries - before) / 100 < 16, "two parked fetches a second for each follower, and no more"


def random_faults(cluster: Cluster, stream: Stream, rounds: int) -> None:
    for number in range(rounds):
        voter = cluster.voters[stream.below(len(cluster.voters))]
        name = controller_name(voter)
        other = controller_name(cluster.voters[stream.below(len(cluster.voters))])
        action = stream.below(10)
        if action <= 1:
            if cluster.up(voter):
                cluster.kill(voter) if action else cluster.kernel.lose_power(name, torn=True, cause=0)
        elif action <= 4:
            if not cluster.up(voter):
                cluster.start(voter)
        elif action == 5 and name != other:
            cluster.kernel.cut(name, other, 0)
        elif action == 6:
            heal(cluster)
        elif action == 7 and cluster.up(voter):
            cluster.kernel.pause(name, 0) if cluster.kernel.hosts[name].status == "up" else cluster.kernel.resume(name, 0)
        elif action >= 8 and any(cluster.up(v) and cluster.node(v).active for v in cluster.voters):
            append(cluster, FeatureLevel(f"r{number}", number))
        cluster.run(stream.between(1, 3_000) / 1_000)
        check(cluster)


def heal(cluster: Cluster) -> None:
    for (source, target), link in list(cluster.kernel.links.items()):
        if link.cut:
            cluster.kernel.heal(source, target, 0)


committed: dict[int, tuple[int, MetadataRecord]] = {}


def check(cluster: Cluster) -> None:
    leaders = [(h.event.epoch, h.event.controller) for h in cluster.happened(QuorumLeaderElected)]
    assert len({epoch for epoch, _ in leaders}) == len(leaders), f"two leaders in one epoch: {leaders}"
    for voter in cluster.voters:
        if not cluster.up(voter):
            continue
        quorum = cluster.quorum(voter)
        for batch in read_committed(quorum.log, 0, quorum.high_watermark):
            for position, record in enumerate(batch.records):
                known = committed.setdefault(batch.base_offset + position, (batch.epoch, record))
                assert known == (batch.epoch, record), f"offset {batch.base_offset + position} differs on {voter}"


@pytest.mark.parametrize("seed", range(40))
def test_the_quorum_keeps_its_promises_under_random_faults(seed: int) -> None:
    committed.clear()
    cluster = Cluster(seed, voters=VOTERS if seed % 4 else (101, 102, 103, 104, 105))
    random_faults(cluster, Stream(seed), 80)
    heal(cluster)
    for voter in cluster.voters:
        if not cluster.up(voter):
            cluster.start(voter)
        elif cluster.kernel.hosts[controller_name(voter)].status == "paused":
            cluster.kernel.resume(controller_name(voter), 0)
    cluster.run(30)
    check(cluster)
    assert len({cluster.quorum(voter).high_watermark for voter in cluster.voters}) == 1, "no liveness after the faults healed"
    assert len({voter for voter in cluster.voters if cluster.node(voter).active}) == 1
    images = [cluster.node(voter).image for voter in cluster.voters]
    assert all(image == images[0] for image in images)
