"""A broker's side of the metadata quorum: it fetches ``__cluster_metadata`` as an observer, which neither votes nor counts (KIP-595).

It also is how a broker finds the active controller: ``leader_id`` is what the voters last said, -1 while nobody knows. A leader whose
answer got lost is still the one known (its other connections may be sound); only the next fetch goes to another voter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.coordination import quorum_log
from engine.coordination.quorum_log import Committed
from engine.coordination.quorum_timers import FETCH_MAX_WAIT_MS, REQUEST_TIMEOUT_US, RETRY_BACKOFF_US, QuorumRetryFetch
from engine.log.partition_log import PartitionLog
from engine.messages.base import Disconnected, Message, Timer
from engine.messages.quorum import QuorumFetchRequest, QuorumFetchResponse
from engine.sim.outbox import Outbox
from engine.spec import controller_name

NEVER_US = 2**62


@dataclass(slots=True)
class QuorumObserver:
    """``applied``: the next offset ``take_committed`` will hand out. ``target``: the voter asked last. ``doubtful``: the leader did not
    answer, and no voter has confirmed it since."""

    replica_id: int
    voters: tuple[int, ...]
    log: PartitionLog
    epoch: int = 0
    leader_id: int = -1
    doubtful: bool = False
    high_watermark: int = 0
    applied: int = 0
    target: int = -1
    fetch_in_flight: int = -1
    correlation_id: int = 0
    deadline_us: int = NEVER_US
    timer_due_us: int = NEVER_US

    @classmethod
    def boot(cls, replica_id: int, voters: tuple[int, ...], out: Outbox) -> QuorumObserver:
        """Opens the broker's copy of the log and begins to fetch. What is committed in it, a leader must say anew."""
        log = quorum_log.open_log(out.disk, out.now_ms)
        observer = cls(replica_id, voters, log, quorum_log.last_epoch(log), correlation_id=out.now)
        observer._fetch(out)
        return observer

    def take_committed(self) -> Committed:
        """The batches that became known as committed since the last call, in order."""
        if self.high_watermark <= self.applied:
            return ()
        committed = quorum_log.read_committed(self.log, self.applied, self.high_watermark)
        self.applied = self.high_watermark
        return committed

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> bool:
        """One delivery; False if it is not the quorum's business."""
        handler = _HANDLERS.get(type(body))
        if handler is None:
            return False
        handler(self, source, body, out)
        return True

    def on_disconnected(self, source: str, notice: Disconnected, out: Outbox) -> None:
        if self.fetch_in_flight >= 0 and notice.peer == controller_name(self.target):
            self._lost(out)

    def on_fetch_response(self, source: str, response: QuorumFetchResponse, out: Outbox) -> None:
        if response.correlation_id != self.fetch_in_flight:
            return
        self.fetch_in_flight = -1
        if response.epoch > self.epoch or (response.epoch == self.epoch and response.leader_id >= 0):
            self.epoch, self.leader_id = response.epoch, response.leader_id
            self.doubtful = False
        if response.error != "NONE":
            if self.leader_id == self.target and response.error != "FENCED_LEADER_EPOCH":
                self.leader_id = -1
            if self.leader_id >= 0:
                self._fetch(out)
            else:
                self._retry_at(out.now + RETRY_BACKOFF_US, out)
            return
        log = self.log
        if response.diverging_epoch >= 0:
            own_end = quorum_log.end_offset_for(log, response.diverging_epoch)[1]
            target = min(own_end, response.diverging_offset)
            assert target >= self.high_watermark, f"observer {self.replica_id} would truncate committed records"
            log.truncate_to(target, out.disk, out.now_ms)
        else:
            if response.batches:
                quorum_log.append_as_follower(log, response.batches, out.now_ms, out.disk)
            self.high_watermark = max(self.high_watermark, min(response.high_watermark, log.log_end_offset))
        self._fetch(out)

    def on_timer(self, source: str, timer: QuorumRetryFetch, out: Outbox) -> None:
        self.timer_due_us = NEVER_US
        if out.now < self.deadline_us:
            self._retry_at(self.deadline_us, out)
        elif self.fetch_in_flight >= 0:
            self._lost(out)
        else:
            self._fetch(out)

    def _lost(self, out: Outbox) -> None:
        """No answer will come: whoever was asked may be gone, so the next voter is asked."""
        self.fetch_in_flight = -1
        self.doubtful = True
        self._retry_at(out.now + RETRY_BACKOFF_US, out)

    def _fetch(self, out: Outbox) -> None:
        if self.leader_id >= 0 and not self.doubtful:
            self.target = self.leader_id
        else:
            voters = self.voters
            self.target = voters[(voters.index(self.target) + 1) % len(voters)] if self.target in voters else voters[0]
        self.correlation_id += 1
        correlation_id = self.fetch_in_flight = self.correlation_id
        log = self.log
        request = QuorumFetchRequest(
            correlation_id, self.replica_id, self.epoch, log.log_end_offset, quorum_log.last_epoch(log), FETCH_MAX_WAIT_MS
        )
        out.send(controller_name(self.target), request)
        self._retry_at(out.now + REQUEST_TIMEOUT_US, out)

    def _retry_at(self, at_us: int, out: Outbox) -> None:
        self.deadline_us = at_us
        if at_us < self.timer_due_us:
            self.timer_due_us = at_us
            out.arm(QuorumRetryFetch(), after_us=at_us - out.now)


_HANDLERS: dict[type[Any], Callable[[QuorumObserver, str, Any, Outbox], None]] = {
    QuorumFetchResponse: QuorumObserver.on_fetch_response,
    QuorumRetryFetch: QuorumObserver.on_timer,
    Disconnected: QuorumObserver.on_disconnected,
}
