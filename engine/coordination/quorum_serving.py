"""The log's half of a voter: what it holds, what of it is committed, and how a leader serves those who fetch it.

``Quorum`` adds the other half, the roles and elections. A fetch is also an acknowledgement: whoever asks for offset n has n records
on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.coordination import quorum_log, quorum_state
from engine.coordination import quorum_timers as timing
from engine.coordination.quorum_log import Committed
from engine.coordination.quorum_replicas import Replicas
from engine.coordination.quorum_state import FOLLOWER, LEADER, UNATTACHED, ElectionState
from engine.log.partition_log import PartitionLog
from engine.messages import quorum as messages
from engine.messages.admin import QuorumReplica
from engine.metadata.records import MetadataRecord
from engine.sim.outbox import Outbox

NEVER_US = 2**62


@dataclass(slots=True)
class QuorumServing:
    """``high_watermark``: below it lies what a majority has on disk. ``applied``: the next offset ``take_committed`` will hand out.
    ``leader_id`` -1 is unknown; in the role "prospective" it is the leader last heard of. ``news_cause`` is the event that the newest commit
    meant."""

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
    fetch_timeout_us: int = timing.FETCH_TIMEOUT_US
    correlation_id: int = 0
    fetch_in_flight: int = -1
    has_fetched_from_leader: bool = False
    has_news: bool = False
    committed_news: bool = False
    news_cause: int = 0
    votes: dict[int, bool] = field(default_factory=dict)
    replicas: Replicas = field(default_factory=Replicas)

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
        if self.committed_news:
            self.committed_news = False
            self.news_cause = out.cause
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

    # -- what both halves use -------------------------------------------------------------------------------------------------

    def _persist(self, epoch: int, leader_id: int, voted_id: int, out: Outbox) -> None:
        assert epoch >= self.epoch, f"epoch of controller {self.node_id} would fall from {self.epoch} to {epoch}"
        self.epoch, self.leader_id, self.voted_id = epoch, leader_id, voted_id
        quorum_state.save(ElectionState(epoch, leader_id, voted_id), out.disk)

    def _known_leader(self) -> int:
        """What others may be told: neither a leader that has fallen silent nor one that has resigned."""
        return self.leader_id if self.role in (FOLLOWER, LEADER) else -1

    def _next_correlation_id(self) -> int:
        self.correlation_id += 1
        return self.correlation_id

    # -- leading: fetches are served, parked and counted ----------------------------------------------------------------------

    def on_fetch(self, source: str, request: messages.QuorumFetchRequest, out: Outbox) -> None:
        if self.role != LEADER or request.epoch != self.epoch:
            error = "NONE"
            if request.epoch < self.epoch:
                error = "FENCED_LEADER_EPOCH"
            elif request.epoch > self.epoch:
                error = "UNKNOWN_LEADER_EPOCH"
            elif self.role != LEADER:
                error = "NOT_LEADER_OR_FOLLOWER"
            out.send(
                source,
                messages.QuorumFetchResponse(request.correlation_id, error, self.epoch, self._known_leader(), self.high_watermark),
            )
            return
        diverging = quorum_log.divergence(self.log, request.fetch_offset, request.last_fetched_epoch)
        if diverging is not None:
            out.send(
                source,
                messages.QuorumFetchResponse(
                    request.correlation_id, "NONE", self.epoch, self.node_id, self.high_watermark, (), diverging[0], diverging[1]
                ),
            )
            return
        advanced = self.replicas.fetched(request.replica_id, request.fetch_offset, self.log.log_end_offset, out.now)
        if self.replicas.is_stale(request.replica_id, self.log.log_end_offset, self.high_watermark) or request.max_wait_ms <= 0:
            self._answer_fetch(source, request, out)
        else:
            self.replicas.park(source, request)
            out.arm(timing.QuorumFetchExpired(request.replica_id), after_us=request.max_wait_ms * 1_000)
        if advanced and request.replica_id in self.voters:
            self._advance_high_watermark()

    def on_fetch_expired(self, source: str, timer: timing.QuorumFetchExpired, out: Outbox) -> None:
        parked = self.replicas.unpark(timer.replica_id)
        if parked is not None and self.role == LEADER:
            self._answer_fetch(parked.source, parked.request, out)

    def _answer_fetch(self, source: str, request: messages.QuorumFetchRequest, out: Outbox) -> None:
        batches: tuple[bytes, ...] = ()
        if request.fetch_offset < self.log.log_end_offset:
            batches = self.log.read(request.fetch_offset, quorum_log.MAX_FETCH_BYTES)
        if self.replicas.told(request.replica_id, self.high_watermark) and self.news_cause:
            out.because(self.news_cause)  # what makes this answer worth reading is the commit, not the question
        out.send(
            source,
            messages.QuorumFetchResponse(request.correlation_id, "NONE", self.epoch, self.node_id, self.high_watermark, batches),
        )

    def _refuse_parked(self, out: Outbox) -> None:
        for replica_id in self.replicas.parked_ids():
            parked = self.replicas.unpark(replica_id)
            assert parked is not None
            out.send(
                parked.source,
                messages.QuorumFetchResponse(
                    parked.request.correlation_id, "NOT_LEADER_OR_FOLLOWER", self.epoch, -1, self.high_watermark
                ),
            )

    def _advance_high_watermark(self) -> None:
        """The offset that a majority has reached, once it lies in this epoch: an older one could still be overwritten (Raft §5.4.2)."""
        others = [voter for voter in self.voters if voter != self.node_id]
        reached = self.replicas.majority_offset(others, self.log.log_end_offset)
        if reached > self.high_watermark and reached > self.epoch_start_offset:
            self.high_watermark = reached
            self.has_news = self.committed_news = True
