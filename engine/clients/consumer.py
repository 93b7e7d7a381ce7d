"""The simulated consumer: the node, what it is told, and which module sees to each answer.

Follows Java's ``KafkaConsumer``. Positions and fetching are in ``consumer_fetch``, what reaches the application in ``consumer_records``, its
loop in ``consumer_poll``, membership in ``consumer_classic`` and ``consumer_protocol848``, offsets in ``offsets_manager``.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.clients import consumer_classic as classic
from engine.clients import consumer_fetch as fetching
from engine.clients import consumer_poll as polling
from engine.clients import consumer_protocol848 as kip848
from engine.clients import group_coordinator as gc
from engine.clients import offsets_manager as offsets
from engine.clients.common import COMMON_HANDLERS, ClientNode, Connection, Handler, InFlight
from engine.clients.configs import ConsumerConfig
from engine.clients.consumer_state import NEVER_US, CommitCall, Consumer, ConsumerTimer, Membership, MemberTimer, ProcessingTimer
from engine.clients.position import INITIALISING, Position
from engine.events import ConsumerFailed, ConsumerPositioned, ProcessingSet
from engine.messages.base import Message, Timer, TopicPartition
from engine.messages.fetch import FetchResponse, ListOffsetsResponse, OffsetForLeaderEpochResponse
from engine.messages.groups import (
    ConsumerGroupHeartbeatResponse,
    FindCoordinatorResponse,
    HeartbeatResponse,
    JoinGroupResponse,
    LeaveGroupResponse,
    OffsetCommitResponse,
    OffsetFetchResponse,
    SyncGroupResponse,
)
from engine.messages.instructions import (
    AssignPartitions,
    BeginShutdown,
    CommitOffsets,
    PauseConsumer,
    SeekConsumer,
    SetProcessing,
    SubscribeTopics,
)
from engine.sim.outbox import Outbox

GroupResponse = (
    ConsumerGroupHeartbeatResponse
    | FindCoordinatorResponse
    | HeartbeatResponse
    | JoinGroupResponse
    | LeaveGroupResponse
    | OffsetCommitResponse
    | OffsetFetchResponse
    | SyncGroupResponse
)


@dataclass(slots=True)
class ConsumerNode(Consumer):
    """A consumer's process."""

    def __post_init__(self) -> None:
        self.settings = ConsumerConfig.from_map(self.configs)
        self.configs = self.settings.effective()
        self._prepare(self.settings)
        if self.settings.group_id:
            self.group = Membership(self.settings.group_id)

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        handler = _HANDLERS.get(type(body))
        if handler is not None:
            handler(self, source, body, out)

    def drive_commit(self, group: Membership, call: CommitCall, out: Outbox) -> bool:
        return offsets.drive(self, group, call, out)

    def _topic_refused(self, topic: str, error: str, out: Outbox) -> None:
        """``poll`` throws it, whatever else it might have returned."""
        out.emit(ConsumerFailed(self.name, topic, -1, error))

    # -- the application's side ----------------------------------------------------------------------------------------

    def _on_assign(self, source: str, body: AssignPartitions, out: Outbox) -> None:
        self.topics = ()
        self._assign(body.partitions, out)
        self._begin_auto_commit(out)
        self._proceed(out)

    def _on_subscribe(self, source: str, body: SubscribeTopics, out: Outbox) -> None:
        self.topics = body.topics
        if self.group is not None:
            self._subscribe(self.group, out)
            return
        self.positions.clear()
        for topic in body.topics:
            self.metadata.want(topic)
        self._metadata_changed(out)
        self._proceed(out)

    def _subscribe(self, group: Membership, out: Outbox) -> None:
        """The group deals out the partitions; the first ``poll`` joins it."""
        for topic in self.topics:
            self.metadata.want(topic)
        if not group.subscribed:
            group.subscribed, group.cause = True, out.cause
        if offsets.is_new_protocol(self):
            kip848.subscribe(self, group, out)
        self._proceed(out)

    def _begin_auto_commit(self, out: Outbox) -> None:
        if self.group is not None and self.application.next_auto_commit_us == NEVER_US:
            self.application.next_auto_commit_us = out.now + self.settings.auto_commit_interval_ms * 1000

    def _metadata_changed(self, out: Outbox) -> None:
        if self.group is not None:
            classic.lead(self, self.group, out)
        elif self.topics:
            known = [self.metadata.topics[topic] for topic in self.topics if topic in self.metadata.topics]
            found = [TopicPartition(topic.name, number) for topic in known for number in range(len(topic.leaders))]
            kept = [partition for partition in self.positions if partition not in found]
            self._assign((*kept, *found), out)

    def _assign(self, partitions: tuple[TopicPartition, ...], out: Outbox) -> None:
        old, self.positions = self.positions, {}
        for partition in partitions:
            known = old.get(partition)
            if known is None:
                known = Position(paused=self.paused, cause=out.cause)
                if self.group is None:
                    fetching.reset(self, partition, known, "", out)
                else:
                    known.state = INITIALISING
            self.positions[partition] = known
            self.metadata.want(partition.topic)

    def _on_seek(self, source: str, body: SeekConsumer, out: Outbox) -> None:
        partition = body.partition
        position = self.positions.get(partition)
        if position is None:
            error = f"IllegalStateException: No current assignment for partition {partition}"
            out.emit(ConsumerFailed(self.name, partition.topic, partition.partition, error))
            return
        position.cause = out.cause
        if body.offset >= 0:
            position.seek(body.offset)
            position.cause = out.emit(ConsumerPositioned(self.name, partition.topic, partition.partition, body.offset, "seek"))
        elif body.offset == -1:
            position.begin_reset("latest", "seek to end")
        else:
            position.begin_reset("earliest", "seek to beginning")
        self._proceed(out)

    def _on_pause(self, source: str, body: PauseConsumer, out: Outbox) -> None:
        if not body.partitions:
            self.paused = body.paused
        for partition in body.partitions or tuple(self.positions):
            if partition in self.positions:
                self.positions[partition].paused = body.paused
        self._proceed(out)

    def _on_set_processing(self, source: str, body: SetProcessing, out: Outbox) -> None:
        """Takes effect with the next records that the application takes up."""
        application = self.application
        if body.commit_each_poll is not None:
            application.commit_each_poll = body.commit_each_poll
        if application.processing_us != body.processing_ms * 1000:
            application.processing_us = body.processing_ms * 1000
            application.processing_cause = out.emit(ProcessingSet(self.name, body.processing_ms))
        self._proceed(out)

    def _on_commit_asked(self, source: str, body: CommitOffsets, out: Outbox) -> None:
        polling.ask_for_commit(self, out)
        self._proceed(out)

    def _on_shutdown(self, source: str, body: BeginShutdown, out: Outbox) -> None:
        polling.begin_shutdown(self, out)

    # -- what to ask next, and the answers ---------------------------------------------------------------------------------------

    def _on_timer(self, source: str, body: ConsumerTimer, out: Outbox) -> None:
        self._proceed(out)

    def _on_member_timer(self, source: str, body: MemberTimer, out: Outbox) -> None:
        if self.group is not None:
            self.group.wake_at_us = NEVER_US
        self._proceed(out)

    def _on_processing_timer(self, source: str, body: ProcessingTimer, out: Outbox) -> None:
        polling.on_processed(self, out)
        self._proceed(out)

    def _proceed(self, out: Outbox) -> None:
        if self.polls:
            polling.proceed(self, out)
        else:
            fetching.advance(self, out)

    def _lose(self, connection: Connection, silencers: tuple[int, ...], out: Outbox) -> None:
        if self.group is not None and connection.broker == self.group.coordinator:
            gc.forget(self, self.group, "coordinator unavailable", silencers, out)
        ClientNode._lose(self, connection, silencers, out)

    def _abandon(self, broker: int, lost: list[InFlight], error: str, silencers: tuple[int, ...], out: Outbox) -> None:
        for entry in lost:
            fetching.answered(self, entry)
            for partition in entry.partitions:
                if partition in self.positions:
                    self.positions[partition].error = error
            if self.group is not None:
                self._abandon_in_group(self.group, entry, silencers, out)

    def _abandon_in_group(self, group: Membership, entry: InFlight, silencers: tuple[int, ...], out: Outbox) -> None:
        if entry.kind == gc.FIND:
            gc.lookup_failed(self, group, out)
        elif entry.kind == offsets.COMMIT:
            offsets.commit_lost(self, group, entry.correlation_id, silencers, out)
        elif entry.kind in (classic.JOIN, classic.SYNC):
            classic.request_lost(self, group, out)
        elif entry.kind == classic.HEARTBEAT:
            classic.heartbeat_lost(self, group, out)
        elif entry.kind == kip848.HEARTBEAT:
            kip848.heartbeat_lost(self, group, out)
        elif entry.kind in (classic.LEAVE, kip848.LEAVE):
            polling.goodbye_answered(self, out)

    def _in_group(self, source: str, body: GroupResponse, out: Outbox) -> None:
        """An answer of the coordinator, or about it."""
        entry, group = self.connections.complete(source, body.correlation_id), self.group
        if entry is None or group is None:
            return
        fetching.answered(self, entry)
        if not isinstance(body, FindCoordinatorResponse | LeaveGroupResponse):
            self.connections.obey(source, body.throttle_time_ms, out, as_coordinator=True)
        if isinstance(body, OffsetCommitResponse):
            offsets.on_committed(self, group, body, out)
        elif isinstance(body, ConsumerGroupHeartbeatResponse) and entry.kind == kip848.HEARTBEAT:
            kip848.on_heartbeat(self, group, body, out)
        elif isinstance(body, HeartbeatResponse):
            classic.on_heartbeat(self, group, entry.items[0], body, out)
        elif isinstance(body, OffsetFetchResponse):
            offsets.on_fetched(self, group, entry.partitions, body, out)
        elif isinstance(body, JoinGroupResponse):
            classic.on_joined(self, group, body, out)
        elif isinstance(body, SyncGroupResponse):
            classic.on_synced(self, group, body, out)
        elif isinstance(body, FindCoordinatorResponse):
            gc.on_found(self, group, body, out)
        else:
            polling.goodbye_answered(self, out)
        self._proceed(out)

    def _on_list_offsets(self, source: str, body: ListOffsetsResponse, out: Outbox) -> None:
        entry = self.connections.complete(source, body.correlation_id)
        if entry is not None:
            fetching.answered(self, entry)
            fetching.take_offsets(self, body, out)
            self._proceed(out)

    def _on_epochs(self, source: str, body: OffsetForLeaderEpochResponse, out: Outbox) -> None:
        entry = self.connections.complete(source, body.correlation_id)
        if entry is not None:
            fetching.answered(self, entry)
            fetching.take_epochs(self, body, out)
            self._proceed(out)

    def _on_fetch(self, source: str, body: FetchResponse, out: Outbox) -> None:
        entry = self.connections.complete(source, body.correlation_id)
        if entry is not None:
            fetching.answered(self, entry)
            self.connections.obey(source, body.throttle_time_ms, out)
            fetching.take_fetched(self, entry, body, out)
            self._proceed(out)


_HANDLERS: dict[type, Handler] = {
    **COMMON_HANDLERS,
    AssignPartitions: ConsumerNode._on_assign,
    SubscribeTopics: ConsumerNode._on_subscribe,
    SeekConsumer: ConsumerNode._on_seek,
    PauseConsumer: ConsumerNode._on_pause,
    BeginShutdown: ConsumerNode._on_shutdown,
    ConsumerTimer: ConsumerNode._on_timer,
    ListOffsetsResponse: ConsumerNode._on_list_offsets,
    OffsetForLeaderEpochResponse: ConsumerNode._on_epochs,
    FetchResponse: ConsumerNode._on_fetch,
    SetProcessing: ConsumerNode._on_set_processing,
    CommitOffsets: ConsumerNode._on_commit_asked,
    MemberTimer: ConsumerNode._on_member_timer,
    ProcessingTimer: ConsumerNode._on_processing_timer,
    FindCoordinatorResponse: ConsumerNode._in_group,
    JoinGroupResponse: ConsumerNode._in_group,
    SyncGroupResponse: ConsumerNode._in_group,
    HeartbeatResponse: ConsumerNode._in_group,
    ConsumerGroupHeartbeatResponse: ConsumerNode._in_group,
    LeaveGroupResponse: ConsumerNode._in_group,
    OffsetCommitResponse: ConsumerNode._in_group,
    OffsetFetchResponse: ConsumerNode._in_group,
}
