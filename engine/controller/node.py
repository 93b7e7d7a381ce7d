"""A controller process: a voter of the metadata quorum and, while it leads, the active controller (``QuorumController``).

Every delivery goes to the quorum or to a decision. What is decided is written to the log; once the quorum has committed it, the
events are told, the answers leave, and whoever has parked a fetch of the log reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.controller import admin
from engine.controller.purgatory import Parked, Purgatory, not_controller
from engine.controller.state import alter_partition, brokers, leaders, producer_ids
from engine.controller.state.brokers import Sessions
from engine.controller.state.configs import MIN_ISR
from engine.controller.state.decision import ELR_FEATURE, Decision, RefusedError
from engine.controller.timers import BalanceLeaders, ElectUncleanLeaders, SessionCheck, ShutdownExpired
from engine.coordination.quorum import Quorum
from engine.events import BrokerRegistered, BrokerSessionExpired, ControllerActivated, LeaderChanged
from engine.log.errors import LogError
from engine.messages.admin import DescribeQuorumRequest, DescribeQuorumResponse
from engine.messages.base import Message, Timer
from engine.messages.cluster import (
    AllocateProducerIdsRequest,
    AllocateProducerIdsResponse,
    AlterPartitionRequest,
    AlterPartitionResponse,
    BrokerHeartbeatRequest,
    BrokerHeartbeatResponse,
    BrokerRegistrationRequest,
    BrokerRegistrationResponse,
    EnvelopeRequest,
    EnvelopeResponse,
)  # fmt: skip
from engine.messages.instructions import BeginShutdown
from engine.metadata.configs import parse_boolean, static_value
from engine.metadata.image import MetadataImage
from engine.metadata.records import Config, FeatureLevel
from engine.sim.disk import DiskFullError
from engine.sim.outbox import Outbox
from engine.spec import ClusterSpec, broker_name

UNCLEAN_ELECTION_INTERVAL_US = 300_000_000
"""``unclean.leader.election.interval.ms``."""
SHUTDOWN_TIMEOUT_US = 5_000_000
"""The longest a resigned leader waits for its successor."""


@dataclass(slots=True)
class ControllerNode:
    """``image`` is committed; ``pending`` is it plus this controller's own uncommitted records, None unless active."""

    node_id: int
    voters: tuple[int, ...]
    configs: dict[str, str]
    spec: ClusterSpec
    quorum: Quorum = field(init=False)
    image: MetadataImage = field(default_factory=MetadataImage)
    pending: MetadataImage | None = None
    active_epoch: int = -1
    stopping: bool = False
    purgatory: Purgatory = field(default_factory=Purgatory)
    sessions: Sessions = field(default_factory=lambda: Sessions(0))

    @property
    def active(self) -> bool:
        return self.pending is not None

    def start(self, out: Outbox) -> None:
        self.sessions = Sessions(int(static_value(self.configs, "broker.session.timeout.ms")) * 1_000)
        try:
            self.quorum = Quorum.boot(self.node_id, self.voters, out)
            self._after(out)
        except (DiskFullError, LogError):
            out.exit()

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        """A controller whose metadata directory fails halts, as Kafka's does."""
        try:
            if not self.quorum.handle(source, body, out):
                handler = _HANDLERS.get(type(body))
                if handler is not None:
                    handler(self, source, body, out)
            self._after(out)
        except (DiskFullError, LogError):
            out.exit()

    # -- committing -----------------------------------------------------------------------------------------------------------

    def _after(self, out: Outbox) -> None:
        """What each delivery may have brought about: a change of role, records committed, news for those who fetch."""
        quorum = self.quorum
        if self.pending is not None and (not quorum.is_leader or quorum.epoch != self.active_epoch):
            self._deactivate(out)
        if quorum.high_watermark > quorum.applied:
            for batch in quorum.take_committed():
                for position, record in enumerate(batch.records):
                    self.image.apply(record, batch.base_offset + position, batch.epoch)
            if self.purgatory.waiting:
                self._complete(out)
        if self.pending is None and quorum.leads_committed:
            self._activate(out)
            self._after(out)  # a quorum of one has committed its first record already
        quorum.serve_parked(out)
        if self.stopping and not quorum.needed_for_election:
            self._stop(out)

    def _complete(self, out: Outbox) -> None:
        """Tells what is now committed. Whatever leaves after that was caused by the last change of a leader, if there was one."""
        told = out.cause
        for parked in self.purgatory.take_due(self.image.offset + 1):
            newest = self._tell(parked, out)
            told = newest or told
            if parked.reply is not None:
                out.send(parked.destination, parked.reply)
        out.because(told)

    def _tell(self, parked: Parked, out: Outbox) -> int:
        """Emits the events of one decision; returns the one that readers of the log should name as their cause, 0 for none: the new
        leader's if there is one, and of several what led to all of them."""
        out.because(parked.cause)
        newest = 0
        for headline in parked.outcome.headlines:
            newest = out.emit(headline)
            if isinstance(headline, BrokerRegistered) and headline.broker in self.sessions.by_broker:
                self.sessions.by_broker[headline.broker].cause = newest
        root, leader_changes = out.cause, []
        for detail in parked.outcome.details:
            out.because(root)
            newest = out.emit(detail)
            if isinstance(detail, LeaderChanged):
                leader_changes.append(newest)
        if leader_changes:
            newest = leader_changes[0] if len(leader_changes) == 1 else root
            out.because(newest)
        return newest

    def _activate(self, out: Outbox) -> None:
        """All that was ever committed is in the image: from here on this controller decides."""
        self.active_epoch = self.quorum.epoch
        self.pending = self.image.copy()
        self.sessions.by_broker.clear()
        out.emit(ControllerActivated(self.node_id, self.active_epoch))
        for broker in self.image.brokers.values():
            self.sessions.open(broker.broker_id, broker.broker_epoch, out.now)
            out.arm(SessionCheck(broker.broker_id), after_us=self.sessions.timeout_us)
        if parse_boolean(static_value(self.configs, "auto.leader.rebalance.enable")):
            out.arm(BalanceLeaders(), after_us=self._balance_interval_us())
        out.arm(ElectUncleanLeaders(), after_us=UNCLEAN_ELECTION_INTERVAL_US)
        if self.spec.elr and ELR_FEATURE not in self.image.features:
            decision = self._decide(out)
            decision.write(FeatureLevel(ELR_FEATURE, 1))
            # written down once for all brokers, so that none can differ (KIP-966)
            decision.write(Config("broker", "", MIN_ISR, static_value(self.configs, MIN_ISR)))
            self._write(decision, "", None, out)

    def _deactivate(self, out: Outbox) -> None:
        """What was decided but not committed may be lost: nobody is told, everybody asks again."""
        self.pending = None
        self.active_epoch = -1
        self.sessions.by_broker.clear()
        for parked in self.purgatory.take_all():
            if parked.reply is not None:
                out.send(parked.destination, not_controller(parked.reply))

    def _balance_interval_us(self) -> int:
        return int(static_value(self.configs, "leader.imbalance.check.interval.seconds")) * 1_000_000

    # -- deciding -------------------------------------------------------------------------------------------------------------

    def _decide(self, out: Outbox) -> Decision:
        assert self.pending is not None
        return Decision(self.pending, self.quorum.log.log_end_offset, self.quorum.epoch, self.configs, self.spec.mutants, out)

    def _write(self, decision: Decision, destination: str, reply: Message | None, out: Outbox) -> None:
        """Appends what was decided and parks the answer until it, or what it was decided upon, is committed."""
        cause = out.cause
        if decision.records:
            self.quorum.append(decision.records, out)
            offset = decision.next_offset
        else:
            offset = self.purgatory.highest_offset()
        parked = Parked(offset, cause, decision.outcome(), destination, reply)
        if offset > self.image.offset + 1:
            self.purgatory.waiting.append(parked)
        else:
            self._tell(parked, out)
            if reply is not None:
                out.send(destination, reply)

    # -- brokers --------------------------------------------------------------------------------------------------------------

    def on_registration(self, source: str, request: BrokerRegistrationRequest, out: Outbox) -> None:
        if self.pending is None:
            out.send(source, BrokerRegistrationResponse(request.correlation_id, "NOT_CONTROLLER", -1))
            return
        decision = self._decide(out)
        try:
            broker_epoch = brokers.register(decision, self.sessions, request)
        except RefusedError as refused:
            self._write(decision, source, BrokerRegistrationResponse(request.correlation_id, refused.error, -1), out)
            return
        out.arm(SessionCheck(request.broker_id), after_us=self.sessions.timeout_us)
        self._write(decision, source, BrokerRegistrationResponse(request.correlation_id, "NONE", broker_epoch), out)

    def on_heartbeat(self, source: str, request: BrokerHeartbeatRequest, out: Outbox) -> None:
        if self.pending is None:
            out.send(source, BrokerHeartbeatResponse(request.correlation_id, "NOT_CONTROLLER"))
            return
        decision = self._decide(out)
        known = self.sessions.by_broker.get(request.broker_id)
        try:
            reply = brokers.heartbeat(decision, self.sessions, request)
        except RefusedError as refused:
            reply = BrokerHeartbeatResponse(request.correlation_id, refused.error)
        session = self.sessions.by_broker.get(request.broker_id)
        if known is None and session is not None:
            out.arm(SessionCheck(request.broker_id), after_us=self.sessions.timeout_us)
        if known is not None and decision.records:
            if out.cause:
                known.cause = out.cause
            else:
                out.because(known.cause)  # a heartbeat is nobody's doing; what it changes follows from the registration or the stop
        self._write(decision, source, reply, out)

    def on_session_check(self, source: str, timer: SessionCheck, out: Outbox) -> None:
        session = self.sessions.by_broker.get(timer.broker_id)
        if self.pending is None or session is None:
            return
        left_us = session.last_heartbeat_us + self.sessions.timeout_us - out.now
        if left_us > 0:
            out.arm(timer, after_us=left_us)
            return
        del self.sessions.by_broker[timer.broker_id]
        broker = self.pending.brokers.get(timer.broker_id)
        if broker is None or broker.fenced or broker.broker_epoch != session.broker_epoch:
            return
        silencers = out.silencers(broker_name(timer.broker_id))
        if silencers:
            out.because(0)  # not what once armed the timer, but what kept it from being renewed
        out.emit(BrokerSessionExpired(timer.broker_id, session.last_heartbeat_us), also=silencers)
        decision = self._decide(out)
        brokers.fence(decision, broker, "session expired")
        self._write(decision, "", None, out)

    def on_alter_partition(self, source: str, request: AlterPartitionRequest, out: Outbox) -> None:
        if self.pending is None:
            out.send(source, AlterPartitionResponse(request.correlation_id, "NOT_CONTROLLER", ()))
            return
        decision = self._decide(out)
        try:
            reply = AlterPartitionResponse(request.correlation_id, "NONE", alter_partition.alter(decision, request))
        except RefusedError as refused:
            reply = AlterPartitionResponse(request.correlation_id, refused.error, ())
        self._write(decision, source, reply, out)

    def on_allocate_producer_ids(self, source: str, request: AllocateProducerIdsRequest, out: Outbox) -> None:
        if self.pending is None:
            out.send(source, AllocateProducerIdsResponse(request.correlation_id, "NOT_CONTROLLER"))
            return
        decision = self._decide(out)
        try:
            start = producer_ids.allocate(decision, request)
            reply = AllocateProducerIdsResponse(request.correlation_id, "NONE", start, producer_ids.BLOCK_SIZE)
        except RefusedError as refused:
            reply = AllocateProducerIdsResponse(request.correlation_id, refused.error)
        self._write(decision, source, reply, out)

    # -- administration -------------------------------------------------------------------------------------------------------

    def on_envelope(self, source: str, request: EnvelopeRequest, out: Outbox) -> None:
        if self.pending is None:
            out.send(source, EnvelopeResponse(request.correlation_id, "NOT_CONTROLLER"))
            return
        inner = request.request
        decision = self._decide(out)
        if isinstance(inner, DescribeQuorumRequest):
            answer = self._describe_quorum(inner, out)
        else:
            answer = admin.answer(decision, inner)
        self._write(decision, source, EnvelopeResponse(request.correlation_id, "NONE", answer), out)

    def on_describe_quorum(self, source: str, request: DescribeQuorumRequest, out: Outbox) -> None:
        out.send(source, self._describe_quorum(request, out))

    def _describe_quorum(self, request: DescribeQuorumRequest, out: Outbox) -> Any:
        quorum = self.quorum
        if not quorum.is_leader:
            return DescribeQuorumResponse(request.correlation_id, "NOT_CONTROLLER", quorum.leader_id, quorum.epoch)
        voters, observers = quorum.describe(out)
        return DescribeQuorumResponse(
            request.correlation_id, "NONE", self.node_id, quorum.epoch, quorum.high_watermark, voters, observers
        )

    def on_balance_leaders(self, source: str, timer: BalanceLeaders, out: Outbox) -> None:
        if self.pending is not None:
            decision = self._decide(out)
            leaders.balance(decision)
            self._write(decision, "", None, out)
            out.arm(timer, after_us=self._balance_interval_us())

    def on_elect_unclean(self, source: str, timer: ElectUncleanLeaders, out: Outbox) -> None:
        if self.pending is not None:
            decision = self._decide(out)
            leaders.elect_unclean(decision)
            self._write(decision, "", None, out)
            out.arm(timer, after_us=UNCLEAN_ELECTION_INTERVAL_US)

    def on_shutdown(self, source: str, instruction: BeginShutdown, out: Outbox) -> None:
        """Polite: a leader resigns and stays until it has helped to elect the next, as Kafka's ``GracefulShutdown`` does."""
        self.stopping = True
        self.quorum.shut_down(out)
        out.arm(ShutdownExpired(), after_us=SHUTDOWN_TIMEOUT_US)

    def on_shutdown_expired(self, source: str, timer: ShutdownExpired, out: Outbox) -> None:
        self._stop(out)

    def _stop(self, out: Outbox) -> None:
        self.quorum.log.close_clean(out.disk)
        out.exit()


_HANDLERS: dict[type[Any], Callable[[ControllerNode, str, Any, Outbox], None]] = {
    BrokerRegistrationRequest: ControllerNode.on_registration,
    BrokerHeartbeatRequest: ControllerNode.on_heartbeat,
    SessionCheck: ControllerNode.on_session_check,
    AlterPartitionRequest: ControllerNode.on_alter_partition,
    AllocateProducerIdsRequest: ControllerNode.on_allocate_producer_ids,
    EnvelopeRequest: ControllerNode.on_envelope,
    DescribeQuorumRequest: ControllerNode.on_describe_quorum,
    BalanceLeaders: ControllerNode.on_balance_leaders,
    ElectUncleanLeaders: ControllerNode.on_elect_unclean,
    BeginShutdown: ControllerNode.on_shutdown,
    ShutdownExpired: ControllerNode.on_shutdown_expired,
}
