"""The simulated consumer: the node, what it is told, and which module sees to each answer.

Follows Java's ``KafkaConsumer``. Positions and fetching are in ``consumer_fetch``, what reaches the application in ``consumer_records``.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.clients import consumer_fetch as fetching
from engine.clients.common import COMMON_HANDLERS, Handler, InFlight
from engine.clients.configs import ConsumerConfig
from engine.clients.consumer_state import Consumer, ConsumerTimer
from engine.clients.position import Position
from engine.events import ConsumerFailed, ConsumerPositioned
from engine.messages.base import Message, Timer, TopicPartition
from engine.messages.fetch import FetchResponse, ListOffsetsResponse, OffsetForLeaderEpochResponse
from engine.messages.instructions import AssignPartitions, BeginShutdown, PauseConsumer, SeekConsumer, SubscribeTopics
from engine.sim.outbox import Outbox


@dataclass(slots=True)
class ConsumerNode(Consumer):
    """A consumer's process."""

    def __post_init__(self) -> None:
        self.settings = ConsumerConfig.from_map(self.configs)
        self.configs = self.settings.effective()
        self._prepare(self.settings)

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        handler = _HANDLERS.get(type(body))
        if handler is not None:
            handler(self, source, body, out)

    # -- the application's side ----------------------------------------------------------------------------------------

    def _on_assign(self, source: str, body: AssignPartitions, out: Outbox) -> None:
        self.topics = ()
        self._assign(body.partitions, out)
        self._proceed(out)

    def _on_subscribe(self, source: str, body: SubscribeTopics, out: Outbox) -> None:
        self.topics = body.topics
        self.positions.clear()
        for topic in body.topics:
            self.metadata.want(topic)
        self._metadata_changed(out)
        self._proceed(out)

    def _metadata_changed(self, out: Outbox) -> None:
        if self.topics:
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
                fetching.reset(self, partition, known, "", out)
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

    def _on_shutdown(self, source: str, body: BeginShutdown, out: Outbox) -> None:
        out.exit()

    # -- what to ask next, and the answers ---------------------------------------------------------------------------------------

    def _on_timer(self, source: str, body: ConsumerTimer, out: Outbox) -> None:
        self._proceed(out)

    def _proceed(self, out: Outbox) -> None:
        fetching.advance(self, out)

    def _abandon(self, broker: int, lost: list[InFlight], error: str, silencers: tuple[int, ...], out: Outbox) -> None:
        for entry in lost:
            fetching.answered(self, entry)
            for partition in entry.partitions:
                if partition in self.positions:
                    self.positions[partition].error = error

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
}
