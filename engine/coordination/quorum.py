"""One voter of the metadata quorum: Raft as Kafka has it (KIP-595), with pre-vote (KIP-996), driven by messages and timers alone.

The controller node embeds it and calls ``handle`` with each delivery, ``append`` with what it decides while it leads, and
``take_committed`` and ``serve_parked`` at the end of each. Followers pull; the leader counts their fetches as acknowledgements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.coordination import quorum_log, quorum_state
from engine.coordination.quorum_log import Committed
from engine.coordination.quorum_replicas import Replicas
from engine.coordination.quorum_state import (
    CANDIDATE, FOLLOWER, HIGHER_EPOCH, LEADER, LEADER_FOUND, LOST, LOST_WITH_LEADER, MAJORITY, PROSPECTIVE, REJECTED, RESIGN,
    RESIGNED, TIMEOUT, TRANSITIONS, UNATTACHED, ElectionState,
)  # fmt: skip
from engine.coordination.quorum_timers import (
    BACKOFF_MAX_US, BEGIN_QUORUM_EPOCH_US, CHECK_QUORUM_TIMEOUT_US, ELECTION_TIMEOUT_US, FETCH_MAX_WAIT_MS, FETCH_TIMEOUT_JITTER_US,
    FETCH_TIMEOUT_US, RETRY_BACKOFF_US, QuorumFetchExpired, QuorumRetryFetch, QuorumTimeout,
)  # fmt: skip
from engine.events import (
    QuorumElectionStarted, QuorumLeaderElected, QuorumLeaderResigned, QuorumLogTruncated, QuorumVoteGranted,
)  # fmt: skip
from engine.log.partition_log import PartitionLog
from engine.messages.admin import QuorumReplica
from engine.messages.base import Disconnected, Message, Timer
from engine.messages.quorum import (
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, EndQuorumEpochRequest, EndQuorumEpochResponse, QuorumFetchRequest,
    QuorumFetchResponse, VoteRequest, VoteResponse,
)  # fmt: skip
from engine.metadata.records import LeaderChange, MetadataRecord
from engine.sim.outbox import Outbox
from engine.spec import controller_name

NEVER_US = 2**62


@dataclass(slots=True)
class Quorum:
    """``high_watermark``: below it lies what a majority has on disk. ``applied``: the next offset ``take_committed`` will hand out.
    ``leader_id`` -1 is unknown; in the role "prospective" it is the leader last heard of."""

    node_id: int
    voters: tuple[int, ...]
    log: PartitionLog
    role: str = UNATTACHED
    epoch: int = 0
    leader_id: int = -1
    voted_id: int = -1
    high_watermark: int = 0
    applied: int = 0
    epoch_start_offset: int = -1
    deadline_us: int = NEVER_US
    timer_due_us: int = NEVER_US
    elections_lost: int = 0
    fetch_timeout_us: int = FETCH_TIMEOUT_US
    correlation_id: int = 0
    fetch_in_flight: int = -1
    has_fetched_from_leader: bool = False
    has_news: bool = False
    votes: dict[int, bool] = field(default_factory=dict)
    replicas: Replicas = field(default_factory=Replicas)

    # -- booting and stopping -------------------------------------------------------------------------------------------------

    @classmethod
    def boot(cls, node_id: int, voters: tuple[int, ...], out: Outbox) -> Quorum:
        """Reads ``quorum-state`` and the log. A former leader of its epoch begins resigned, so that no epoch has two beginnings."""
        quorum = cls(node_id, voters, quorum_log.open_log(out.disk, out.now_ms))
        state = quorum_state.load(out.disk)
        quorum.epoch = max(state.leader_epoch, quorum_log.last_epoch(quorum.log))
        if quorum.epoch == state.leader_epoch:
            quorum.leader_id, quorum.voted_id = state.leader_id, state.voted_id
        if quorum.leader_id == node_id:
            quorum.role = RESIGNED
        elif quorum.leader_id >= 0:
            quorum._become_follower(quorum.epoch, quorum.leader_id, out)
            return quorum
        quorum._wait_for_election(out, at_once=len(voters) == 1)
        return quorum

    def shut_down(self, out: Outbox) -> None:
        """A polite stop: a leader tells the others to elect at once, the most advanced first."""
        if self.role == LEADER:
            self._resign("it is shutting down", out)

    # -- what the controller asks ---------------------------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        return self.role == LEADER

    @property
    def leads_committed(self) -> bool:
        """It leads, and a record of its own epoch is committed: all that was committed before is known to be."""
        return self.role == LEADER and self.high_watermark > self.epoch_start_offset

    def append(self, records: Sequence[MetadataRecord], out: Outbox) -> int:
        """Writes one atomic batch and syncs it; returns the offset of its first record. It is committed when ``take_committed``
        hands it out. Only a leader may."""
        assert self.role == LEADER, f"controller {self.node_id} is {self.role}, not leader"
        base_offset = quorum_log.append_as_leader(self.log, records, self.epoch, out.now_ms, out.disk)
        self.has_news = True
        self._advance_high_watermark()
        return base_offset

    def take_committed(self) -> Committed:
        """The batches that have been committed since the last call, in order."""
        if self.high_watermark <= self.applied:
            return ()
        committed = quorum_log.read_committed(self.log, self.applied, self.high_watermark)
        self.applied = self.high_watermark
        return committed

    def serve_parked(self, out: Outbox) -> None:
        """Ends a delivery: parked fetches are answered as soon as there are records, or a high watermark that their sender does not know
        (KIP-1166). Its owner calls it after it has emitted what was committed, so that readers learn of it because of that."""
        if not self.has_news:
            return
        self.has_news = False
        for replica_id in self.replicas.parked_ids():
            if self.replicas.is_stale(replica_id, self.log.log_end_offset, self.high_watermark):
                parked = self.replicas.unpark(replica_id)
                assert parked is not None
                self._answer_fetch(parked.source, parked.request, out)

    def describe(self, out: Outbox) -> tuple[tuple[QuorumReplica, ...], tuple[QuorumReplica, ...]]:
        """(voters, observers) as ``DescribeQuorum`` tells them; only for a leader."""
        epoch_ms = out.now_ms - out.now // 1_000
        others = [voter for voter in self.voters if voter != self.node_id]
        observers = [replica for replica in self.replicas.progress if replica not in self.voters]
        own = QuorumReplica(self.node_id, self.log.log_end_offset, out.now_ms, out.now_ms)
        voters = (own, *self.replicas.describe(others, epoch_ms))
        return voters, self.replicas.describe(sorted(observers), epoch_ms)

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> bool:
        """One delivery; False if it is not the quorum's business."""
        handler = _HANDLERS.get(type(body))
        if handler is None:
            return False
        handler(self, source, body, out)
        return True

    def on_disconnected(self, source: str, notice: Disconnected, out: Outbox) -> None:
        """Only a follower minds: it fetches again soon. Its fetch timeout goes on."""
        if self.role == FOLLOWER and notice.peer == controller_name(self.leader_id):
            self.fetch_in_flight = -1
            out.arm(QuorumRetryFetch(), after_us=RETRY_BACKOFF_US)

    # -- roles ----------------------------------------------------------------------------------------------------------------

    def _move(self, event: str) -> None:
        self.role = TRANSITIONS[self.role, event]

    def _become_unattached(self, epoch: int, out: Outbox, voted_id: int = -1) -> None:
        """A higher epoch exists, of which no leader is known yet."""
        self._leave_role(out)
        self._move(HIGHER_EPOCH)
        self._persist(epoch, -1, voted_id, out)
        self._wait_for_election(out)

    def _become_follower(self, epoch: int, leader_id: int, out: Outbox) -> None:
        if self.role == FOLLOWER and self.epoch == epoch and self.leader_id == leader_id:
            return
        self._leave_role(out)
        self._move(LEADER_FOUND)
        self._follow(epoch, leader_id, out)

    def _follow(self, epoch: int, leader_id: int, out: Outbox) -> None:
        self._persist(epoch, leader_id, self.voted_id if epoch == self.epoch else -1, out)
        self.elections_lost = 0
        self.has_fetched_from_leader = False
        self.fetch_timeout_us = FETCH_TIMEOUT_US + out.stream("quorum").below(FETCH_TIMEOUT_JITTER_US)
        self._set_deadline(out.now + self.fetch_timeout_us, out)
        self._fetch(out)

    def _become_prospective(self, out: Outbox, event: str) -> None:
        """Sounds out whether an election could be won before it disturbs anybody with a higher epoch."""
        leader = self.leader_id
        self._move(event)
        self.fetch_in_flight = -1
        self._start_election(True, leader, out)

    def _become_candidate(self, out: Outbox) -> None:
        self._move(MAJORITY)
        self._persist(self.epoch + 1, -1, self.node_id, out)
        self._start_election(False, -1, out)

    def _start_election(self, pre_vote: bool, silent_leader: int, out: Outbox) -> None:
        silent = out.silencers(controller_name(silent_leader)) if silent_leader >= 0 else ()
        out.emit(QuorumElectionStarted(self.node_id, self.epoch, pre_vote), also=silent)
        self.votes = {self.node_id: True}
        self._set_deadline(out.now + self._election_timeout_us(out), out)
        end = self.log.log_end_offset
        last_epoch = quorum_log.last_epoch(self.log)
        for voter in self.voters:
            if voter != self.node_id:
                request = VoteRequest(self._next_correlation_id(), self.epoch, self.node_id, last_epoch, end, pre_vote)
                out.send(controller_name(voter), request)
        self._count_votes(out)

    def _become_leader(self, out: Outbox) -> None:
        self._move(MAJORITY)
        self.elections_lost = 0
        self._persist(self.epoch, self.node_id, self.voted_id, out)
        out.emit(QuorumLeaderElected(self.node_id, self.epoch))
        self.replicas.reset([voter for voter in self.voters if voter != self.node_id], out.now)
        self.epoch_start_offset = self.log.log_end_offset
        self._announce(out, 0)
        self.append((LeaderChange(self.node_id, self.voters),), out)
        self._set_deadline(out.now + BEGIN_QUORUM_EPOCH_US, out)

    def _resign(self, reason: str, out: Outbox) -> None:
        self._move(RESIGN)
        out.emit(QuorumLeaderResigned(self.node_id, self.epoch, reason))
        successors = self.replicas.by_progress([voter for voter in self.voters if voter != self.node_id])
        for voter in successors:
            out.send(controller_name(voter), EndQuorumEpochRequest(self._next_correlation_id(), self.epoch, self.node_id, successors))
        self._refuse_parked(out)
        self._wait_for_election(out)

    def _leave_role(self, out: Outbox) -> None:
        if self.role == LEADER:
            out.emit(QuorumLeaderResigned(self.node_id, self.epoch, "a higher epoch exists"))
            self._refuse_parked(out)
        self.fetch_in_flight = -1

    def _persist(self, epoch: int, leader_id: int, voted_id: int, out: Outbox) -> None:
        assert epoch >= self.epoch, f"epoch of controller {self.node_id} would fall from {self.epoch} to {epoch}"
        self.epoch, self.leader_id, self.voted_id = epoch, leader_id, voted_id
        quorum_state.save(ElectionState(epoch, leader_id, voted_id), out.disk)

    # -- timeouts -------------------------------------------------------------------------------------------------------------

    def _election_timeout_us(self, out: Outbox) -> int:
        return out.stream("quorum").between(ELECTION_TIMEOUT_US, 2 * ELECTION_TIMEOUT_US)

    def _wait_for_election(self, out: Outbox, at_once: bool = False) -> None:
        self._set_deadline(out.now + (0 if at_once else self._election_timeout_us(out)), out)

    def _set_deadline(self, at_us: int, out: Outbox) -> None:
        self.deadline_us = at_us
        if at_us < self.timer_due_us:
            self.timer_due_us = at_us
            out.arm(QuorumTimeout(), after_us=at_us - out.now)

    def on_timeout(self, source: str, timer: QuorumTimeout, out: Outbox) -> None:
        self.timer_due_us = NEVER_US
        if out.now < self.deadline_us:
            self._set_deadline(self.deadline_us, out)
        else:
            _ON_TIMEOUT[self.role](self, out)

    def _seek_leader(self, out: Outbox) -> None:
        """Unattached or following, and nobody is heard."""
        self._become_prospective(out, TIMEOUT)

    def _candidacy_timed_out(self, out: Outbox) -> None:
        self._become_prospective(out, REJECTED if self._cannot_win() else TIMEOUT)

    def _prospect_lost(self, out: Outbox) -> None:
        """Not enough would vote: back to the leader last known, or on without one (KIP-996)."""
        if self.leader_id >= 0 and self.leader_id != self.node_id:
            self._move(LOST_WITH_LEADER)
            self._follow(self.epoch, self.leader_id, out)
        else:
            self._move(LOST)
            self._wait_for_election(out)

    def _resignation_over(self, out: Outbox) -> None:
        """An epoch that this node has led is over for it: the next one it can win is a new one."""
        self._move(TIMEOUT)
        self._persist(self.epoch + 1, -1, -1, out)
        self._wait_for_election(out, at_once=len(self.voters) == 1)

    def _check_quorum(self, out: Outbox) -> None:
        """A leader that cannot hear a majority resigns, so that its clients look for the new one (KIP-595)."""
        others = [voter for voter in self.voters if voter != self.node_id]
        heard_us = self.replicas.heard_since(others, len(self.voters) // 2)
        if others and out.now >= heard_us + CHECK_QUORUM_TIMEOUT_US:
            self._resign("no majority has fetched for 3 s", out)
            return
        self._announce(out, out.now - BEGIN_QUORUM_EPOCH_US)
        if others:
            self._set_deadline(min(out.now + BEGIN_QUORUM_EPOCH_US, heard_us + CHECK_QUORUM_TIMEOUT_US), out)

    def _announce(self, out: Outbox, silent_since_us: int) -> None:
        """Tells voters that have not fetched since then who leads; at the beginning (0) all of them."""
        for voter in self.voters:
            if voter == self.node_id or (silent_since_us and self.replicas.last_fetch_us(voter) > silent_since_us):
                continue
            out.send(controller_name(voter), BeginQuorumEpochRequest(self._next_correlation_id(), self.epoch, self.node_id))

    # -- votes ----------------------------------------------------------------------------------------------------------------

    def on_vote_request(self, source: str, request: VoteRequest, out: Outbox) -> None:
        candidate = request.candidate_id
        if request.epoch < self.epoch:
            self._answer_vote(source, request, "FENCED_LEADER_EPOCH", False, out)
            return
        if request.epoch > self.epoch:
            self._become_unattached(request.epoch, out)
        own_epoch = quorum_log.last_epoch(self.log)
        up_to_date = (request.last_epoch, request.last_offset) >= (own_epoch, self.log.log_end_offset)
        granted = self._would_vote(candidate, up_to_date, request.pre_vote)
        if granted:
            if not request.pre_vote and self.voted_id != candidate:
                self._grant(candidate, out)
            out.emit(QuorumVoteGranted(self.node_id, candidate, self.epoch, request.pre_vote))
        self._answer_vote(source, request, "NONE", granted, out)

    def _would_vote(self, candidate: int, up_to_date: bool, pre_vote: bool) -> bool:
        """Kafka's ``canGrantVote`` of each role: one vote per epoch, only for a log at least as long, none against a living leader."""
        if pre_vote:
            if self.role == LEADER or (self.role == FOLLOWER and self.has_fetched_from_leader):
                return False
            return up_to_date
        if self.voted_id >= 0:
            return self.voted_id == candidate
        if self.leader_id >= 0 or self.role not in (UNATTACHED, PROSPECTIVE):
            return False
        return up_to_date

    def _grant(self, candidate: int, out: Outbox) -> None:
        """The vote is on disk before anybody hears of it."""
        self._persist(self.epoch, self.leader_id, candidate, out)
        if self.role == PROSPECTIVE:
            self._move(LOST)
        self._wait_for_election(out)

    def _answer_vote(self, source: str, request: VoteRequest, error: str, granted: bool, out: Outbox) -> None:
        out.send(
            source,
            VoteResponse(request.correlation_id, error, self.epoch, self._known_leader(), granted, request.pre_vote, self.node_id),
        )

    def on_vote_response(self, source: str, response: VoteResponse, out: Outbox) -> None:
        if self._learn(response.epoch, response.leader_id, out):
            return
        if response.epoch < self.epoch or self.role != (PROSPECTIVE if response.pre_vote else CANDIDATE):
            return
        self.votes[response.voter_id] = response.granted
        self._count_votes(out)

    def _count_votes(self, out: Outbox) -> None:
        if sum(self.votes.values()) > len(self.voters) // 2:
            if self.role == PROSPECTIVE:
                self._become_candidate(out)
            else:
                self._become_leader(out)
        elif self._cannot_win():
            if self.role == PROSPECTIVE:
                self._prospect_lost(out)
            else:
                self.elections_lost += 1
                self._set_deadline(out.now + self._backoff_us(out), out)

    def _cannot_win(self) -> bool:
        refused = len(self.votes) - sum(self.votes.values())
        return len(self.voters) - refused <= len(self.voters) // 2

    def _backoff_us(self, out: Outbox) -> int:
        """Exponential and random, so that two candidates do not meet again."""
        ceiling = min(BACKOFF_MAX_US, 100_000 << min(self.elections_lost, 10))
        return out.stream("quorum").between(RETRY_BACKOFF_US, ceiling)

    def _known_leader(self) -> int:
        """What others may be told: neither a leader that has fallen silent nor one that has resigned."""
        return self.leader_id if self.role in (FOLLOWER, LEADER) else -1

    def _learn(self, epoch: int, leader_id: int, out: Outbox) -> bool:
        """Takes in what another node says of the epoch and its leader; True if that changed this node's role."""
        if epoch < self.epoch or (epoch == self.epoch and (leader_id < 0 or leader_id == self.node_id)):
            return False
        if leader_id < 0 or leader_id == self.node_id:
            self._become_unattached(epoch, out)
            return True
        if epoch == self.epoch and self.role in (FOLLOWER, LEADER) or epoch == self.epoch and leader_id == self.leader_id:
            return False
        self._become_follower(epoch, leader_id, out)
        return True

    # -- leaders make themselves known ----------------------------------------------------------------------------------------

    def on_begin_epoch(self, source: str, request: BeginQuorumEpochRequest, out: Outbox) -> None:
        error = "NONE"
        if request.epoch < self.epoch:
            error = "FENCED_LEADER_EPOCH"
        else:
            self._become_follower(request.epoch, request.leader_id, out)
        out.send(source, BeginQuorumEpochResponse(request.correlation_id, error, self.epoch, self._known_leader()))

    def on_end_epoch(self, source: str, request: EndQuorumEpochRequest, out: Outbox) -> None:
        """The leader goes: the first of its preferred candidates begins at once, the others wait longer the further back they stand."""
        error = "NONE"
        if request.epoch < self.epoch:
            error = "FENCED_LEADER_EPOCH"
        else:
            self._learn(request.epoch, request.leader_id, out)
            if self.role == FOLLOWER and self.node_id in request.preferred_candidates:
                place = request.preferred_candidates.index(self.node_id)
                share = BACKOFF_MAX_US >> (len(request.preferred_candidates) - place - 1)
                wait = out.stream("quorum").between(share // 2, share) if place else 0
                self._set_deadline(out.now + wait, out)
        out.send(source, EndQuorumEpochResponse(request.correlation_id, error, self.epoch, self._known_leader()))

    def on_epoch_answer(self, source: str, response: BeginQuorumEpochResponse | EndQuorumEpochResponse, out: Outbox) -> None:
        self._learn(response.epoch, response.leader_id, out)

    # -- following: the log is pulled -----------------------------------------------------------------------------------------

    def _next_correlation_id(self) -> int:
        self.correlation_id += 1
        return self.correlation_id

    def _fetch(self, out: Outbox) -> None:
        correlation_id = self.fetch_in_flight = self._next_correlation_id()
        log = self.log
        request = QuorumFetchRequest(
            correlation_id, self.node_id, self.epoch, log.log_end_offset, quorum_log.last_epoch(log), FETCH_MAX_WAIT_MS
        )
        out.send(controller_name(self.leader_id), request)

    def on_retry_fetch(self, source: str, timer: QuorumRetryFetch, out: Outbox) -> None:
        if self.role == FOLLOWER and self.fetch_in_flight < 0:
            self._fetch(out)

    def on_fetch_response(self, source: str, response: QuorumFetchResponse, out: Outbox) -> None:
        if response.correlation_id != self.fetch_in_flight:
            return
        self.fetch_in_flight = -1
        if self._learn(response.epoch, response.leader_id, out) or self.role != FOLLOWER:
            return
        if response.error != "NONE":
            out.arm(QuorumRetryFetch(), after_us=RETRY_BACKOFF_US)
            return
        self.has_fetched_from_leader = True
        self._set_deadline(out.now + self.fetch_timeout_us, out)
        if response.diverging_epoch >= 0:
            self._truncate(response.diverging_epoch, response.diverging_offset, out)
        elif response.batches:
            quorum_log.append_as_follower(self.log, response.batches, out.now_ms, out.disk)
        if response.diverging_epoch < 0:
            self.high_watermark = max(self.high_watermark, min(response.high_watermark, self.log.log_end_offset))
        self._fetch(out)

    def _truncate(self, epoch: int, end_offset: int, out: Outbox) -> None:
        """Raft's log matching: what the leader never had is dropped; it cannot have been committed."""
        before = self.log.log_end_offset
        own_epoch, own_end = quorum_log.end_offset_for(self.log, epoch)
        target = min(own_end, end_offset) if own_epoch == epoch else min(own_end, before)
        assert target >= self.high_watermark, f"controller {self.node_id} would truncate to {target} < {self.high_watermark}"
        self.log.truncate_to(target, out.disk, out.now_ms)
        out.emit(QuorumLogTruncated(self.node_id, before, target))

    # -- leading: fetches are served, parked and counted ----------------------------------------------------------------------

    def on_fetch(self, source: str, request: QuorumFetchRequest, out: Outbox) -> None:
        if self.role != LEADER or request.epoch != self.epoch:
            error = "NONE"
            if request.epoch < self.epoch:
                error = "FENCED_LEADER_EPOCH"
            elif request.epoch > self.epoch:
                error = "UNKNOWN_LEADER_EPOCH"
            elif self.role != LEADER:
                error = "NOT_LEADER_OR_FOLLOWER"
            out.send(source, QuorumFetchResponse(request.correlation_id, error, self.epoch, self._known_leader(), self.high_watermark))
            return
        diverging = self._divergence(request)
        if diverging is not None:
            out.send(
                source,
                QuorumFetchResponse(
                    request.correlation_id, "NONE", self.epoch, self.node_id, self.high_watermark, (), diverging[0], diverging[1]
                ),
            )
            return
        advanced = self.replicas.fetched(request.replica_id, request.fetch_offset, self.log.log_end_offset, out.now)
        if self.replicas.is_stale(request.replica_id, self.log.log_end_offset, self.high_watermark) or request.max_wait_ms <= 0:
            self._answer_fetch(source, request, out)
        else:
            self.replicas.park(source, request)
            out.arm(QuorumFetchExpired(request.replica_id), after_us=request.max_wait_ms * 1_000)
        if advanced and request.replica_id in self.voters:
            self._advance_high_watermark()

    def _divergence(self, request: QuorumFetchRequest) -> tuple[int, int] | None:
        """Where the fetcher's log leaves this one (KIP-595): the largest epoch they may share, and its end here."""
        if request.fetch_offset == 0:
            return None
        epoch, end = quorum_log.end_offset_for(self.log, request.last_fetched_epoch)
        if epoch == request.last_fetched_epoch and request.fetch_offset <= end:
            return None
        return max(epoch, 0), end

    def on_fetch_expired(self, source: str, timer: QuorumFetchExpired, out: Outbox) -> None:
        parked = self.replicas.unpark(timer.replica_id)
        if parked is not None and self.role == LEADER:
            self._answer_fetch(parked.source, parked.request, out)

    def _answer_fetch(self, source: str, request: QuorumFetchRequest, out: Outbox) -> None:
        batches: tuple[bytes, ...] = ()
        if request.fetch_offset < self.log.log_end_offset:
            batches = self.log.read(request.fetch_offset, quorum_log.MAX_FETCH_BYTES)
        self.replicas.told(request.replica_id, self.high_watermark)
        out.send(
            source,
            QuorumFetchResponse(request.correlation_id, "NONE", self.epoch, self.node_id, self.high_watermark, batches),
        )

    def _refuse_parked(self, out: Outbox) -> None:
        for replica_id in self.replicas.parked_ids():
            parked = self.replicas.unpark(replica_id)
            assert parked is not None
            out.send(
                parked.source,
                QuorumFetchResponse(parked.request.correlation_id, "NOT_LEADER_OR_FOLLOWER", self.epoch, -1, self.high_watermark),
            )

    def _advance_high_watermark(self) -> None:
        """The offset that a majority has reached, once it lies in this epoch: an older one could still be overwritten (Raft §5.4.2)."""
        others = [voter for voter in self.voters if voter != self.node_id]
        reached = self.replicas.majority_offset(others, self.log.log_end_offset)
        if reached > self.high_watermark and reached > self.epoch_start_offset:
            self.high_watermark = reached
            self.has_news = True


_HANDLERS: dict[type[Any], Callable[[Quorum, str, Any, Outbox], None]] = {
    QuorumFetchRequest: Quorum.on_fetch,
    QuorumFetchResponse: Quorum.on_fetch_response,
    QuorumFetchExpired: Quorum.on_fetch_expired,
    QuorumRetryFetch: Quorum.on_retry_fetch,
    QuorumTimeout: Quorum.on_timeout,
    VoteRequest: Quorum.on_vote_request,
    VoteResponse: Quorum.on_vote_response,
    BeginQuorumEpochRequest: Quorum.on_begin_epoch,
    BeginQuorumEpochResponse: Quorum.on_epoch_answer,
    EndQuorumEpochRequest: Quorum.on_end_epoch,
    EndQuorumEpochResponse: Quorum.on_epoch_answer,
    Disconnected: Quorum.on_disconnected,
}

_ON_TIMEOUT: dict[str, Callable[[Quorum, Outbox], None]] = {
    UNATTACHED: Quorum._seek_leader,
    FOLLOWER: Quorum._seek_leader,
    PROSPECTIVE: Quorum._prospect_lost,
    CANDIDATE: Quorum._candidacy_timed_out,
    LEADER: Quorum._check_quorum,
    RESIGNED: Quorum._resignation_over,
}
