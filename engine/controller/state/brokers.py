"""Brokers' lives: registration, heartbeats, fencing, controlled shutdown (``ClusterControlManager``, ``BrokerHeartbeatManager``).

Registrations are records. Sessions are not: a new active controller gives every broker a fresh one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.controller.state.decision import Decision, RefusedError
from engine.controller.state.partitions import broker_is_eligible, broker_leaves, broker_lost_data
from engine.events import ShutdownGranted
from engine.messages.cluster import BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest
from engine.metadata.image import BrokerRegistration
from engine.metadata.records import BrokerRegistrationChange, RegisterBroker, UnregisterBroker

FENCED, UNFENCED, CONTROLLED_SHUTDOWN, SHUTDOWN_NOW = "fenced", "unfenced", "controlled shutdown", "shutdown now"


@dataclass(slots=True)
class Session:
    """``controlled_shutdown_offset``: where its leaderships were all moved; -1 if it is not shutting down. ``cause`` is the
    event to which its state is due: its registration, or the request to stop."""

    broker_epoch: int
    last_heartbeat_us: int
    metadata_offset: int = -1
    controlled_shutdown_offset: int = -1
    cause: int = 0


@dataclass(slots=True)
class Sessions:
    """``broker.session.timeout.ms`` in microseconds, and who has been heard when."""

    timeout_us: int
    by_broker: dict[int, Session] = field(default_factory=dict)

    def valid(self, broker: BrokerRegistration, now_us: int) -> bool:
        session = self.by_broker.get(broker.broker_id)
        return (
            session is not None
            and session.broker_epoch == broker.broker_epoch
            and now_us < session.last_heartbeat_us + self.timeout_us
        )

    def open(self, broker_id: int, broker_epoch: int, now_us: int) -> None:
        self.by_broker[broker_id] = Session(broker_epoch, now_us)

    def lowest_active_offset(self, decision: Decision) -> int:
        """The metadata offset that every active broker has replayed."""
        offsets = [session.metadata_offset for broker, session in self.by_broker.items() if decision.image.active(broker)]
        return min(offsets) if offsets else 2**63 - 1


def check_broker_epoch(decision: Decision, broker_id: int, broker_epoch: int) -> BrokerRegistration:
    """Raises RefusedError: BROKER_ID_NOT_REGISTERED, STALE_BROKER_EPOCH."""
    broker = decision.image.brokers.get(broker_id)
    if broker is None:
        raise RefusedError("BROKER_ID_NOT_REGISTERED", f"No broker with id {broker_id} is registered.")
    if broker.broker_epoch != broker_epoch:
        raise RefusedError(
            "STALE_BROKER_EPOCH", f"Expected broker epoch {broker.broker_epoch}, but got broker epoch {broker_epoch}"
        )
    return broker


def register(decision: Decision, sessions: Sessions, request: BrokerRegistrationRequest) -> int:
    """Returns the broker's epoch: the offset at which this decision begins in the log, hence larger than every earlier one.

    Raises RefusedError(DUPLICATE_BROKER_REGISTRATION) while another incarnation of the broker still has a session.
    """
    now = decision.out.now
    existing = decision.image.brokers.get(request.broker_id)
    if existing is not None and existing.incarnation_id == request.incarnation_id:
        sessions.open(request.broker_id, existing.broker_epoch, now)
        return existing.broker_epoch
    if existing is not None and sessions.valid(existing, now) and not existing.in_controlled_shutdown:
        raise RefusedError(
            "DUPLICATE_BROKER_REGISTRATION",
            f"Another broker is registered with broker id {request.broker_id}. If the broker was recently restarted this should "
            "self-resolve once the heartbeat manager expires the broker's session.",
        )
    broker_epoch = decision.next_offset
    if existing is not None:
        if decision.elr_enabled and request.previous_broker_epoch != existing.broker_epoch:
            broker_lost_data(decision, request.broker_id)
        else:
            broker_leaves(decision, request.broker_id)
    decision.register_broker(RegisterBroker(request.broker_id, broker_epoch, request.incarnation_id, request.rack))
    sessions.open(request.broker_id, broker_epoch, now)
    return broker_epoch


def heartbeat(decision: Decision, sessions: Sessions, request: BrokerHeartbeatRequest) -> BrokerHeartbeatResponse:
    """Raises RefusedError: BROKER_ID_NOT_REGISTERED, STALE_BROKER_EPOCH."""
    broker = check_broker_epoch(decision, request.broker_id, request.broker_epoch)
    session = sessions.by_broker.get(request.broker_id)
    if session is None or session.broker_epoch != request.broker_epoch:
        sessions.open(request.broker_id, request.broker_epoch, decision.out.now)
        session = sessions.by_broker[request.broker_id]
    current = FENCED if broker.fenced else CONTROLLED_SHUTDOWN if broker.in_controlled_shutdown else UNFENCED
    following = _next_state(decision, sessions, session, broker, request, current)
    if following != current:
        _move(decision, session, broker, following)
    session.last_heartbeat_us = decision.out.now
    session.metadata_offset = request.current_metadata_offset
    caught_up = request.current_metadata_offset >= broker.registration_offset
    if following == SHUTDOWN_NOW:
        del sessions.by_broker[request.broker_id]  # its successor may register at once
    return BrokerHeartbeatResponse(
        request.correlation_id, "NONE", caught_up, following in (FENCED, SHUTDOWN_NOW), following == SHUTDOWN_NOW
    )


def _next_state(
    decision: Decision,
    sessions: Sessions,
    session: Session,
    broker: BrokerRegistration,
    request: BrokerHeartbeatRequest,
    current: str,
) -> str:
    """``BrokerHeartbeatManager.calculateNextBrokerState``."""
    if current == FENCED:
        if request.want_shut_down:
            return SHUTDOWN_NOW
        caught_up = request.current_metadata_offset >= broker.registration_offset
        return UNFENCED if caught_up and not request.want_fence else FENCED
    if current == UNFENCED:
        if request.want_fence:
            return SHUTDOWN_NOW if request.want_shut_down else FENCED
        if not request.want_shut_down:
            return UNFENCED
        return CONTROLLED_SHUTDOWN if _leads(decision, broker.broker_id) else SHUTDOWN_NOW
    if _leads(decision, broker.broker_id):
        return CONTROLLED_SHUTDOWN
    if session.controlled_shutdown_offset > sessions.lowest_active_offset(decision):
        return CONTROLLED_SHUTDOWN  # not every broker knows the new leaders yet
    return SHUTDOWN_NOW


def _move(decision: Decision, session: Session, broker: BrokerRegistration, following: str) -> None:
    broker_id, broker_epoch = broker.broker_id, broker.broker_epoch
    if following == UNFENCED:
        decision.change_registration(BrokerRegistrationChange(broker_id, broker_epoch, fenced=False))
        broker_is_eligible(decision, broker.broker_id)
    elif following == CONTROLLED_SHUTDOWN:
        decision.change_registration(BrokerRegistrationChange(broker_id, broker_epoch, in_controlled_shutdown=True))
        broker_leaves(decision, broker.broker_id, CONTROLLED_SHUTDOWN)
        session.controlled_shutdown_offset = decision.next_offset - 1
    else:
        if not broker.fenced:
            fence(decision, broker, CONTROLLED_SHUTDOWN)
        if following == SHUTDOWN_NOW:
            decision.headlines.append(ShutdownGranted(broker.broker_id))


def _leads(decision: Decision, broker_id: int) -> bool:
    return any(partition.leader == broker_id for topic in decision.image.topics.values() for partition in topic.partitions.values())


def fence(decision: Decision, broker: BrokerRegistration, reason: str) -> None:
    """Its partitions move first, as in Kafka's batch; the events say the fencing first, since it is why they move."""
    broker_leaves(decision, broker.broker_id)
    decision.change_registration(BrokerRegistrationChange(broker.broker_id, broker.broker_epoch, fenced=True), reason)


def unregister(decision: Decision, broker_id: int) -> None:
    """Raises RefusedError(BROKER_ID_NOT_REGISTERED)."""
    broker = decision.image.brokers.get(broker_id)
    if broker is None:
        raise RefusedError("BROKER_ID_NOT_REGISTERED", f"Broker ID {broker_id} is not currently registered")
    broker_lost_data(decision, broker_id)
    decision.write(UnregisterBroker(broker_id, broker.broker_epoch))
