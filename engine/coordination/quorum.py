"""One voter of the metadata quorum: Raft as Kafka has it (KIP-595), with pre-vote (KIP-996), driven by messages and timers alone.

The controller node embeds it and calls ``handle`` with each delivery, ``append`` with what it decides while it leads, and
``take_committed`` and ``serve_parked`` at the end of each. Followers pull; the leader counts their fetches as acknowledgements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine import events
from engine.coordination import quorum_log, quorum_state
from engine.coordination import quorum_timers as timing
from engine.coordination.quorum_serving import NEVER_US, QuorumServing
from engine.coordination.quorum_state import (
    CANDIDATE,
    FOLLOWER,
    HIGHER_EPOCH,
    LEADER,
    LEADER_FOUND,
    LOST,
    LOST_WITH_LEADER,
    MAJORITY,
    PROSPECTIVE,
    REJECTED,
    RESIGN,
    RESIGNED,
    TIMEOUT,
    TRANSITIONS,
    UNATTACHED,
)  # fmt: skip
from engine.messages import quorum as messages
from engine.messages.base import Disconnected, Message, Timer
from engine.metadata.records import LeaderChange
from engine.sim.outbox import Outbox
from engine.spec import controller_name


@dataclass(slots=True)
class Quorum(QuorumServing):
    """A voter. Its state is in ``QuorumServing``; what moves it from role to role is here."""

    # -- booting and stopping -------------------------------------------------------------------------------------------------

    @classmethod
    def boot(cls, node_id: int, voters: tuple[int, ...], out: Outbox) -> Quorum:
        """Reads ``quorum-state`` and the log. A former leader of its epoch begins resigned, so that no epoch has two beginnings."""
        quorum = cls(node_id, voters, quorum_log.open_log(out.disk, out.now_ms))
        quorum.correlation_id = out.now  # answers to the process before this one match nothing
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

    @property
    def needed_for_election(self) -> bool:
        """It led until now and others cannot be sure of a majority without its vote."""
        return len(self.voters) > 1 and self.role != FOLLOWER and (self.role == RESIGNED or self.leader_id < 0)

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
            out.arm(timing.QuorumRetryFetch(), after_us=timing.RETRY_BACKOFF_US)

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
        self.fetch_timeout_us = timing.FETCH_TIMEOUT_US + out.stream("quorum").below(timing.FETCH_TIMEOUT_JITTER_US)
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
        if silent:
            out.because(0)  # not what once armed the timer, but what kept it from being renewed
        out.emit(events.QuorumElectionStarted(self.node_id, self.epoch, pre_vote), also=silent)
        self.votes = {self.node_id: True}
        self._set_deadline(out.now + self._election_timeout_us(out), out)
        end = self.log.log_end_offset
        last_epoch = quorum_log.last_epoch(self.log)
        for voter in self.voters:
            if voter != self.node_id:
                request = messages.VoteRequest(self._next_correlation_id(), self.epoch, self.node_id, last_epoch, end, pre_vote)
                out.send(controller_name(voter), request)
        self._count_votes(out)

    def _become_leader(self, out: Outbox) -> None:
        self._move(MAJORITY)
        self.elections_lost = 0
        self._persist(self.epoch, self.node_id, self.voted_id, out)
        out.emit(events.QuorumLeaderElected(self.node_id, self.epoch))
        self.replicas.reset([voter for voter in self.voters if voter != self.node_id], out.now)
        self.epoch_start_offset = self.log.log_end_offset
        self._announce(out, 0)
        self.append((LeaderChange(self.node_id, self.voters),), out)
        self._set_deadline(out.now + timing.BEGIN_QUORUM_EPOCH_US, out)

    def _resign(self, reason: str, out: Outbox) -> None:
        self._move(RESIGN)
        out.emit(events.QuorumLeaderResigned(self.node_id, self.epoch, reason))
        successors = self.replicas.by_progress([voter for voter in self.voters if voter != self.node_id])
        for voter in successors:
            out.send(
                controller_name(voter),
                messages.EndQuorumEpochRequest(self._next_correlation_id(), self.epoch, self.node_id, successors),
            )
        self._refuse_parked(out)
        self._wait_for_election(out)

    def _leave_role(self, out: Outbox) -> None:
        if self.role == LEADER:
            out.emit(events.QuorumLeaderResigned(self.node_id, self.epoch, "a higher epoch exists"))
            self._refuse_parked(out)
        self.fetch_in_flight = -1

    # -- timeouts -------------------------------------------------------------------------------------------------------------

    def _election_timeout_us(self, out: Outbox) -> int:
        return out.stream("quorum").between(timing.ELECTION_TIMEOUT_US, 2 * timing.ELECTION_TIMEOUT_US)

    def _wait_for_election(self, out: Outbox, at_once: bool = False) -> None:
        self._set_deadline(out.now + (0 if at_once else self._election_timeout_us(out)), out)

    def _set_deadline(self, at_us: int, out: Outbox) -> None:
        self.deadline_us = at_us
        if at_us < self.timer_due_us:
            self.timer_due_us = at_us
            out.arm(timing.QuorumTimeout(), after_us=at_us - out.now)

    def on_timeout(self, source: str, timer: timing.QuorumTimeout, out: Outbox) -> None:
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
        if others and out.now >= heard_us + timing.CHECK_QUORUM_TIMEOUT_US:
            self._resign("no majority has fetched for 3 s", out)
            return
        self._announce(out, out.now - timing.BEGIN_QUORUM_EPOCH_US)
        if others:
            self._set_deadline(min(out.now + timing.BEGIN_QUORUM_EPOCH_US, heard_us + timing.CHECK_QUORUM_TIMEOUT_US), out)

    def _announce(self, out: Outbox, silent_since_us: int) -> None:
        """Tells voters that have not fetched since then who leads; at the beginning (0) all of them."""
        for voter in self.voters:
            if voter == self.node_id or (silent_since_us and self.replicas.last_fetch_us(voter) > silent_since_us):
                continue
            out.send(
                controller_name(voter), messages.BeginQuorumEpochRequest(self._next_correlation_id(), self.epoch, self.node_id)
            )

    # -- votes ----------------------------------------------------------------------------------------------------------------

    def on_vote_request(self, source: str, request: messages.VoteRequest, out: Outbox) -> None:
        candidate = request.candidate_id
        if request.epoch < self.epoch:
            self._answer_vote(source, request, "FENCED_LEADER_EPOCH", False, out)
            return
        if request.epoch > self.epoch:
            self._become_unattached(request.epoch, out)
        own_epoch = quorum_log.last_epoch(self.log)
        up_to_date = (request.last_epoch, request.last_offset) >= (own_epoch, self.log.log_end_offset)
        granted = up_to_date and quorum_state.may_vote(
            self.role, self.leader_id, self.voted_id, self.has_fetched_from_leader, candidate, request.pre_vote
        )
        if granted:
            if not request.pre_vote and self.voted_id != candidate:
                self._grant(candidate, out)
            out.emit(events.QuorumVoteGranted(self.node_id, candidate, self.epoch, request.pre_vote))
        self._answer_vote(source, request, "NONE", granted, out)

    def _grant(self, candidate: int, out: Outbox) -> None:
        """The vote is on disk before anybody hears of it."""
        self._persist(self.epoch, self.leader_id, candidate, out)
        if self.role == PROSPECTIVE:
            self._move(LOST)
        self._wait_for_election(out)

    def _answer_vote(self, source: str, request: messages.VoteRequest, error: str, granted: bool, out: Outbox) -> None:
        out.send(
            source,
            messages.VoteResponse(
                request.correlation_id, error, self.epoch, self._known_leader(), granted, request.pre_vote, self.node_id
            ),
        )

    def on_vote_response(self, source: str, response: messages.VoteResponse, out: Outbox) -> None:
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
        ceiling = min(timing.BACKOFF_MAX_US, 100_000 << min(self.elections_lost, 10))
        return out.stream("quorum").between(timing.RETRY_BACKOFF_US, ceiling)

    def _learn(self, epoch: int, leader_id: int, out: Outbox) -> bool:
        """Takes in what another node says of the epoch and its leader; True if that changed this node's role."""
        if epoch < self.epoch or (epoch == self.epoch and (leader_id < 0 or leader_id == self.node_id)):
            return False
        if leader_id < 0 or leader_id == self.node_id:
            self._become_unattached(epoch, out)
            return True
        if (epoch == self.epoch and self.role in (FOLLOWER, LEADER)) or (epoch == self.epoch and leader_id == self.leader_id):
            return False
        self._become_follower(epoch, leader_id, out)
        return True

    # -- leaders make themselves known ----------------------------------------------------------------------------------------

    def on_begin_epoch(self, source: str, request: messages.BeginQuorumEpochRequest, out: Outbox) -> None:
        error = "NONE"
        if request.epoch < self.epoch:
            error = "FENCED_LEADER_EPOCH"
        else:
            self._become_follower(request.epoch, request.leader_id, out)
        out.send(source, messages.BeginQuorumEpochResponse(request.correlation_id, error, self.epoch, self._known_leader()))

    def on_end_epoch(self, source: str, request: messages.EndQuorumEpochRequest, out: Outbox) -> None:
        """The leader goes: the first of its preferred candidates begins at once, the others wait longer the further back they stand."""
        error = "NONE"
        if request.epoch < self.epoch:
            error = "FENCED_LEADER_EPOCH"
        else:
            self._learn(request.epoch, request.leader_id, out)
            if self.role == FOLLOWER and self.node_id in request.preferred_candidates:
                place = request.preferred_candidates.index(self.node_id)
                share = timing.BACKOFF_MAX_US >> (len(request.preferred_candidates) - place - 1)
                wait = out.stream("quorum").between(share // 2, share) if place else 0
                self._set_deadline(out.now + wait, out)
        out.send(source, messages.EndQuorumEpochResponse(request.correlation_id, error, self.epoch, self._known_leader()))

    def on_epoch_answer(
        self, source: str, response: messages.BeginQuorumEpochResponse | messages.EndQuorumEpochResponse, out: Outbox
    ) -> None:
        self._learn(response.epoch, response.leader_id, out)

    # -- following: the log is pulled -----------------------------------------------------------------------------------------

    def _fetch(self, out: Outbox) -> None:
        correlation_id = self.fetch_in_flight = self._next_correlation_id()
        log = self.log
        request = messages.QuorumFetchRequest(
            correlation_id, self.node_id, self.epoch, log.log_end_offset, quorum_log.last_epoch(log), timing.FETCH_MAX_WAIT_MS
        )
        out.send(controller_name(self.leader_id), request)

    def on_retry_fetch(self, source: str, timer: timing.QuorumRetryFetch, out: Outbox) -> None:
        if self.role == FOLLOWER and self.fetch_in_flight < 0:
            self._fetch(out)

    def on_fetch_response(self, source: str, response: messages.QuorumFetchResponse, out: Outbox) -> None:
        if response.correlation_id != self.fetch_in_flight:
            return
        self.fetch_in_flight = -1
        if self._learn(response.epoch, response.leader_id, out) or self.role != FOLLOWER:
            return
        if response.error != "NONE":
            out.arm(timing.QuorumRetryFetch(), after_us=timing.RETRY_BACKOFF_US)
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
        out.emit(events.QuorumLogTruncated(self.node_id, before, target))


_HANDLERS: dict[type[Any], Callable[[Quorum, str, Any, Outbox], None]] = {
    messages.QuorumFetchRequest: Quorum.on_fetch,
    messages.QuorumFetchResponse: Quorum.on_fetch_response,
    timing.QuorumFetchExpired: Quorum.on_fetch_expired,
    timing.QuorumRetryFetch: Quorum.on_retry_fetch,
    timing.QuorumTimeout: Quorum.on_timeout,
    messages.VoteRequest: Quorum.on_vote_request,
    messages.VoteResponse: Quorum.on_vote_response,
    messages.BeginQuorumEpochRequest: Quorum.on_begin_epoch,
    messages.BeginQuorumEpochResponse: Quorum.on_epoch_answer,
    messages.EndQuorumEpochRequest: Quorum.on_end_epoch,
    messages.EndQuorumEpochResponse: Quorum.on_epoch_answer,
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
