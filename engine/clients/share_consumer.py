"""The simulated share consumer: the node, what it is told, and which module sees to each answer.

Follows Java's ``KafkaShareConsumer`` (KIP-932). Membership is in ``share_membership``, acquiring and acknowledging in ``share_fetch``, the
application's loop in ``share_poll``.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.clients import group_coordinator as gc
from engine.clients import share_fetch as fetching
from engine.clients import share_membership as membership
from engine.clients import share_poll as polling
from engine.clients.common import COMMON_HANDLERS, ClientNode, Connection, Handler, InFlight
from engine.clients.configs import ShareConsumerConfig
from engine.clients.consumer_state import CLOSING, LEFT, NEVER_US, MemberTimer, ProcessingTimer
from engine.clients.share_state import ShareConsumer, ShareMembership
from engine.events import ConsumerFailed, ProcessingSet, VerdictsSet
from engine.messages.base import Message, Timer
from engine.messages.groups import FindCoordinatorResponse
from engine.messages.instructions import BeginShutdown, SetProcessing, SetVerdicts, SubscribeTopics
from engine.messages.share_groups import ShareAcknowledgeResponse, ShareFetchResponse, ShareGroupHeartbeatResponse
from engine.sim.outbox import Outbox


@dataclass(slots=True)
class ShareConsumerNode(ShareConsumer):
    """A share consumer's process."""

    def __post_init__(self) -> None:
        self.settings = ShareConsumerConfig.from_map(self.configs)
        self.configs = self.settings.effective()
        self._prepare(self.settings)
        self.group = ShareMembership(self.settings.group_id)

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        handler = _HANDLERS.get(type(body))
        if handler is not None:
            handler(self, source, body, out)

    def _proceed(self, out: Outbox) -> None:
        polling.proceed(self, out)

    def _topic_refused(self, topic: str, error: str, out: Outbox) -> None:
        out.emit(ConsumerFailed(self.name, topic, -1, error))

    # -- the application's side ----------------------------------------------------------------------------------------

    def _on_subscribe(self, source: str, body: SubscribeTopics, out: Outbox) -> None:
        self.topics = body.topics
        for topic in body.topics:
            self.metadata.want(topic)
        membership.subscribe(self, out)
        self._proceed(out)

    def _on_set_processing(self, source: str, body: SetProcessing, out: Outbox) -> None:
        """Takes effect with the next records that the application takes up."""
        application = self.application
        if application.processing_us != body.processing_ms * 1000:
            application.processing_us = body.processing_ms * 1000
            application.processing_cause = out.emit(ProcessingSet(self.name, body.processing_ms))
        self._proceed(out)

    def _on_set_verdicts(self, source: str, body: SetVerdicts, out: Outbox) -> None:
        """Every n-th is counted from here on."""
        application = self.application
        application.worked = 0
        application.release_every, application.reject_every = body.release_every, body.reject_every
        application.fail_on = body.fail_on
        if body.stop_after is not None:
            application.left = body.stop_after or -1
        out.emit(VerdictsSet(self.name, body.release_every, body.reject_every, body.fail_on))

    def _on_shutdown(self, source: str, body: BeginShutdown, out: Outbox) -> None:
        polling.begin_shutdown(self, out)

    # -- time, lost connections, answers ---------------------------------------------------------------------------------------

    def _on_member_timer(self, source: str, body: MemberTimer, out: Outbox) -> None:
        self.group.wake_at_us = NEVER_US
        self._proceed(out)

    def _on_processing_timer(self, source: str, body: ProcessingTimer, out: Outbox) -> None:
        polling.on_processed(self, out)
        self._proceed(out)

    def _lose(self, connection: Connection, silencers: tuple[int, ...], out: Outbox) -> None:
        if connection.broker == self.group.coordinator:
            gc.forget(self, self.group, "coordinator unavailable", silencers, out)
        session = self.sessions.get(connection.broker)
        if session is not None:  # the broker ends the session with the connection
            fetching.lost(self, session, "NETWORK_EXCEPTION", silencers, out)
        ClientNode._lose(self, connection, silencers, out)

    def _abandon(self, broker: int, lost: list[InFlight], error: str, silencers: tuple[int, ...], out: Outbox) -> None:
        for entry in lost:
            if entry.kind == gc.FIND:
                gc.lookup_failed(self, self.group, out)
            elif entry.kind == membership.HEARTBEAT:
                membership.heartbeat_lost(self, out)
            elif entry.kind == membership.LEAVE:
                self._goodbye_answered(out)

    def _goodbye_answered(self, out: Outbox) -> None:
        """The coordinator has heard it, or never will."""
        if self.application.state == CLOSING and self.group.state == LEFT:
            out.exit()

    def _on_found(self, source: str, body: FindCoordinatorResponse, out: Outbox) -> None:
        if self.connections.complete(source, body.correlation_id) is not None:
            membership.on_found(self, body, out)
            self._proceed(out)

    def _on_heartbeat(self, source: str, body: ShareGroupHeartbeatResponse, out: Outbox) -> None:
        entry = self.connections.complete(source, body.correlation_id)
        if entry is None:
            return
        if entry.kind == membership.LEAVE:
            self._goodbye_answered(out)
        else:
            membership.on_heartbeat(self, body, out)
        self._proceed(out)

    def _on_fetched(self, source: str, body: ShareFetchResponse, out: Outbox) -> None:
        connection = self.connections.of(source)
        if self.connections.complete(source, body.correlation_id) is not None and connection is not None:
            self.connections.obey(source, body.throttle_time_ms, out)
            fetching.on_fetched(self, connection.broker, body, out)
            self._proceed(out)

    def _on_acknowledged(self, source: str, body: ShareAcknowledgeResponse, out: Outbox) -> None:
        connection = self.connections.of(source)
        if self.connections.complete(source, body.correlation_id) is not None and connection is not None:
            fetching.on_acknowledged(self, connection.broker, body, out)
            self._proceed(out)


_HANDLERS: dict[type, Handler] = {
    **COMMON_HANDLERS,
    SubscribeTopics: ShareConsumerNode._on_subscribe,
    SetProcessing: ShareConsumerNode._on_set_processing,
    SetVerdicts: ShareConsumerNode._on_set_verdicts,
    BeginShutdown: ShareConsumerNode._on_shutdown,
    MemberTimer: ShareConsumerNode._on_member_timer,
    ProcessingTimer: ShareConsumerNode._on_processing_timer,
    FindCoordinatorResponse: ShareConsumerNode._on_found,
    ShareGroupHeartbeatResponse: ShareConsumerNode._on_heartbeat,
    ShareFetchResponse: ShareConsumerNode._on_fetched,
    ShareAcknowledgeResponse: ShareConsumerNode._on_acknowledged,
}
