"""The simulated consumer with assigned partitions: offset reset, fetch, validation after a leader change, every error.

Follows Java's ``Fetcher``, ``OffsetFetcher`` and ``SubscriptionState``: one fetch in flight per broker, what arrives is handed to the
application in the same instant (processing takes no time here), and after each change of leader the position is checked against
the new leader's epochs before anything more is read (KIP-320).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from engine.clients.common import (
    COMMON_HANDLERS,
    STALE_METADATA,
    ClientNode,
    Handler,
    InFlight,
    LeaderAndEpoch,
    backoff_us,
    preview,
)
from engine.clients.configs import ConsumerConfig, reset_duration_ms
from engine.clients.position import FAILED, FETCHING, RESET, VALIDATING, ConsumedRecord, Position, reset_timestamp
from engine.events import ConsumerFailed, ConsumerPositioned, RecordsConsumed
from engine.log.errors import LogError
from engine.log.record_batch import Record, check_crc, decode, read_header
from engine.messages.base import Message, Timer, TopicPartition
from engine.messages.fetch import (
    FetchItem,
    FetchRequest,
    FetchResponse,
    FetchResult,
    ListOffsetsItem,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsResult,
    OffsetForLeaderEpochItem,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderEpochResult,
)
from engine.messages.instructions import AssignPartitions, BeginShutdown, PauseConsumer, SeekConsumer, SubscribeTopics
from engine.sim.outbox import Outbox

LAST_RECORDS = 8
NEVER_US = 2**62
Group = dict[int, list[TopicPartition]]


class ConsumerTimer(Timer, frozen=True, gc=False, tag=True):
    """A partition's backoff is over."""


@dataclass(slots=True)
class ConsumerNode(ClientNode):
    """``topics``: those subscribed to as a whole. ``last``: the newest records read."""

    settings: ConsumerConfig = field(init=False)
    positions: dict[TopicPartition, Position] = field(init=False, default_factory=dict)
    topics: tuple[str, ...] = field(init=False, default=())
    paused: bool = field(init=False, default=False)
    consumed: int = field(init=False, default=0)
    last: deque[ConsumedRecord] = field(init=False, default_factory=lambda: deque(maxlen=LAST_RECORDS))

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
                self._reset(partition, known, "", out)
            self.positions[partition] = known
            self.metadata.want(partition.topic)

    def _reset(self, partition: TopicPartition, position: Position, why: str, out: Outbox) -> None:
        strategy = self.settings.auto_offset_reset
        if strategy == "none":
            error = f"NoOffsetForPartitionException: Undefined offset with no reset policy for partition: {partition}"
            self._fail(partition, position, why or error, out)
        else:
            position.begin_reset(strategy, f"{why}, auto.offset.reset={strategy}" if why else f"auto.offset.reset={strategy}")

    def _fail(self, partition: TopicPartition, position: Position, error: str, out: Outbox) -> None:
        position.state, position.error = FAILED, error
        out.emit(ConsumerFailed(self.name, partition.topic, partition.partition, error))

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

    # -- what to ask next -------------------------------------------------------------------------------------------------

    def _on_timer(self, source: str, body: ConsumerTimer, out: Outbox) -> None:
        self._proceed(out)

    def _proceed(self, out: Outbox) -> None:
        groups: dict[str, Group] = {RESET: {}, VALIDATING: {}, FETCHING: {}}
        again_us = NEVER_US
        for partition, position in self.positions.items():
            state = position.state
            if position.busy or state == FAILED or (position.paused and state == FETCHING):
                continue
            leader = self.metadata.leader(partition)
            if leader is None:
                self.metadata.update_requested = True
                continue
            if position.retry_at_us > out.now:
                again_us = min(again_us, position.retry_at_us)
                continue
            if state == FETCHING and leader.leader_epoch != position.validated_epoch:
                state = self._must_validate(position, leader)
            groups[state].setdefault(leader.leader_id, []).append(partition)
        for broker, partitions in groups[RESET].items():
            self._list_offsets(broker, partitions, out)
        for broker, partitions in groups[VALIDATING].items():
            self._validate(broker, partitions, out)
        for broker, partitions in groups[FETCHING].items():
            self._fetch(broker, partitions, out)
        if again_us < NEVER_US:
            out.arm(ConsumerTimer(), after_us=again_us - out.now)
        self.metadata.refresh(self.connections, self.settings.allow_auto_create_topics, out)

    def _must_validate(self, position: Position, leader: LeaderAndEpoch) -> str:
        """Under a leader it has not read from, a position that has an epoch is checked first."""
        if position.leader_epoch < 0 or leader.leader_epoch < 0:
            position.validated_epoch = leader.leader_epoch
            return FETCHING
        position.state = VALIDATING
        return VALIDATING

    def _list_offsets(self, broker: int, partitions: list[TopicPartition], out: Outbox) -> None:
        if not self.connections.ready(broker, out):
            return
        items: list[ListOffsetsItem] = []
        for partition in partitions:
            position = self.positions[partition]
            out.because(position.cause)
            strategy = position.reset_to
            position.busy = True
            position.asked = reset_timestamp(strategy, out.now_ms, reset_duration_ms(strategy))
            items.append(ListOffsetsItem(partition, position.asked, self._epoch(partition)))
        request = ListOffsetsRequest(
            self.connections.new_correlation_id(), tuple(items), isolation_level=self.settings.isolation_level
        )
        self.connections.send(broker, request, "list offsets", out, partitions=tuple(partitions))

    def _epoch(self, partition: TopicPartition) -> int:
        leader = self.metadata.leader(partition)
        return leader.leader_epoch if leader is not None else -1

    def _validate(self, broker: int, partitions: list[TopicPartition], out: Outbox) -> None:
        if not self.connections.ready(broker, out):
            return
        items: list[OffsetForLeaderEpochItem] = []
        for partition in partitions:
            position = self.positions[partition]
            position.busy = True
            position.asked = position.position
            items.append(OffsetForLeaderEpochItem(partition, self._epoch(partition), position.leader_epoch))
        request = OffsetForLeaderEpochRequest(self.connections.new_correlation_id(), tuple(items))
        self.connections.send(broker, request, "validate", out, partitions=tuple(partitions))

    def _fetch(self, broker: int, partitions: list[TopicPartition], out: Outbox) -> None:
        """One fetch in flight per broker."""
        if not self.connections.ready(broker, out):
            return
        if any(entry.kind == "fetch" for entry in self.connections.by_broker[broker].in_flight):
            return
        settings = self.settings
        items: list[FetchItem] = []
        for partition in partitions:
            position = self.positions[partition]
            position.busy = True
            position.asked = position.position
            topic_id = self.metadata.topics[partition.topic].topic_id
            items.append(
                FetchItem(
                    partition, topic_id, position.position, position.validated_epoch, max_bytes=settings.max_partition_fetch_bytes
                )
            )
        request = FetchRequest(
            self.connections.new_correlation_id(), -1, -1, settings.fetch_max_wait_ms, settings.fetch_min_bytes,
            settings.fetch_max_bytes, tuple(items), settings.isolation_level, client_id=self.name,
        )  # fmt: skip
        self.connections.send(broker, request, "fetch", out, partitions=tuple(partitions))

    # -- answers ------------------------------------------------------------------------------------------------------------

    def _abandon(self, broker: int, lost: list[InFlight], error: str, silencers: tuple[int, ...], out: Outbox) -> None:
        for entry in lost:
            self._answered(entry)
            for partition in entry.partitions:
                if partition in self.positions:
                    self.positions[partition].error = error

    def _answered(self, entry: InFlight) -> None:
        for partition in entry.partitions:
            position = self.positions.get(partition)
            if position is not None:
                position.busy = False

    def _trouble(
        self, partition: TopicPartition, position: Position, error: str, out: Outbox, leader_id: int = -1, epoch: int = -1
    ) -> None:
        """An error that may pass: fresh metadata where it is stale, and a backoff, unless the answer named a new leader."""
        position.error = error
        if error in STALE_METADATA or error in ("OFFSET_NOT_AVAILABLE", "UNKNOWN_LEADER_EPOCH"):
            self.metadata.update_requested = True
        if self.metadata.learn_leader(partition, leader_id, epoch):
            return
        settings = self.settings
        wait = backoff_us(out.stream("backoff"), settings.retry_backoff_ms, settings.retry_backoff_max_ms, position.failures)
        position.failures += 1
        position.retry_at_us = out.now + wait

    def _on_list_offsets(self, source: str, body: ListOffsetsResponse, out: Outbox) -> None:
        entry = self.connections.complete(source, body.correlation_id)
        if entry is None:
            return
        self._answered(entry)
        for result in body.results:
            position = self.positions.get(result.partition)
            if position is not None and position.state == RESET:
                self._take_offset(result, position, out)
        self._proceed(out)

    def _take_offset(self, result: ListOffsetsResult, position: Position, out: Outbox) -> None:
        partition = result.partition
        duration_ms = reset_duration_ms(position.reset_to)
        if duration_ms is None and position.asked != reset_timestamp(position.reset_to, out.now_ms, None):
            return  # a seek came between
        if result.error == "TOPIC_AUTHORIZATION_FAILED":
            self._fail(partition, position, result.error, out)
        elif result.error != "NONE":
            self._trouble(partition, position, result.error, out)
        elif result.offset < 0:
            # by_duration, and no record is that young: look again later, the next record will be.
            position.error = ""
            position.retry_at_us = out.now + self.settings.retry_backoff_max_ms * 1000
        else:
            position.seek(result.offset, result.leader_epoch)
            position.validated_epoch = self._epoch(partition)
            position.cause = out.emit(
                ConsumerPositioned(self.name, partition.topic, partition.partition, result.offset, position.reset_reason)
            )

    def _on_epochs(self, source: str, body: OffsetForLeaderEpochResponse, out: Outbox) -> None:
        entry = self.connections.complete(source, body.correlation_id)
        if entry is None:
            return
        self._answered(entry)
        for result in body.results:
            position = self.positions.get(result.partition)
            if position is not None and position.state == VALIDATING and position.asked == position.position:
                self._take_epoch(result, position, out)
        self._proceed(out)

    def _take_epoch(self, result: OffsetForLeaderEpochResult, position: Position, out: Outbox) -> None:
        """``SubscriptionState.maybeCompleteValidation``."""
        partition = result.partition
        undefined = result.end_offset < 0 or result.leader_epoch < 0
        if result.error == "TOPIC_AUTHORIZATION_FAILED":
            self._fail(partition, position, result.error, out)
        elif result.error != "NONE":
            self._trouble(partition, position, result.error, out)
        elif not undefined and result.end_offset >= position.position:
            position.state, position.error, position.failures = FETCHING, "", 0
            position.validated_epoch = self._epoch(partition)
        elif self.settings.auto_offset_reset == "none":
            self._fail(partition, position, f"LogTruncationException: the log of {partition} was truncated", out)
        elif undefined:
            self._reset(partition, position, "log truncated", out)
        else:
            position.seek(result.end_offset, result.leader_epoch)
            position.validated_epoch = self._epoch(partition)
            out.emit(ConsumerPositioned(self.name, partition.topic, partition.partition, result.end_offset, "log truncated"))

    def _on_fetch(self, source: str, body: FetchResponse, out: Outbox) -> None:
        entry = self.connections.complete(source, body.correlation_id)
        if entry is None:
            return
        self._answered(entry)
        self.connections.obey(source, body.throttle_time_ms, out)
        if body.error != "NONE":
            for partition in entry.partitions:
                if partition in self.positions:
                    self._trouble(partition, self.positions[partition], body.error, out)
        heard = out.cause
        for result in body.results:
            position = self.positions.get(result.partition)
            if position is None or position.state != FETCHING or position.asked != position.position or position.paused:
                continue  # a seek, a new assignment or a pause came between
            if result.error == "NONE":
                out.because(heard)
                self._take_batches(result, position, out)
            else:
                self._fetch_failed(result, position, out)
        self._proceed(out)

    def _fetch_failed(self, result: FetchResult, position: Position, out: Outbox) -> None:
        """``FetchCollector.handleInitializeErrors``."""
        error = result.error
        if error == "OFFSET_OUT_OF_RANGE":
            if self.settings.auto_offset_reset == "none":
                self._fail(result.partition, position, error, out)
            else:
                position.cause = out.cause
                self._reset(result.partition, position, "offset out of range", out)
        elif error in ("TOPIC_AUTHORIZATION_FAILED", "CORRUPT_MESSAGE"):
            self._fail(result.partition, position, error, out)
        else:
            self._trouble(result.partition, position, error, out, result.current_leader, result.current_leader_epoch)

    def _take_batches(self, result: FetchResult, position: Position, out: Outbox) -> None:
        """Hands each batch over, or the part of it from the position on; control batches only move the position."""
        position.high_watermark = result.high_watermark
        if position.error:
            position.error, position.failures = "", 0
        shown: list[bytes] = []
        start = position.position
        try:
            for data in result.batches:
                header = read_header(data)
                if header.last_offset < position.position:
                    continue
                if not check_crc(data):
                    self._fail(result.partition, position, "CORRUPT_MESSAGE", out)
                    break
                if not header.is_control_batch and header.record_count:
                    whole = header.base_offset >= position.position and header.record_count <= self.settings.max_poll_records
                    if whole:
                        self._consumed(
                            result.partition,
                            header.base_offset,
                            header.last_offset,
                            header.partition_leader_epoch,
                            header.record_count,
                            out,
                        )
                    else:
                        self._consumed_in_parts(result.partition, position.position, data, out)
                    shown.append(data)
                position.position = header.last_offset + 1
                position.leader_epoch = header.partition_leader_epoch
            self._show(result.partition, shown, start)
        except LogError:
            self._fail(result.partition, position, "CORRUPT_MESSAGE", out)

    def _consumed(self, partition: TopicPartition, first: int, last: int, leader_epoch: int, count: int, out: Outbox) -> None:
        self.consumed += count
        out.emit(RecordsConsumed(self.name, partition.topic, partition.partition, first, last, leader_epoch, count))

    def _consumed_in_parts(self, partition: TopicPartition, position: int, data: bytes, out: Outbox) -> None:
        """A poll returns at most max.poll.records."""
        epoch = read_header(data).partition_leader_epoch
        records = [record for record in decode(data) if record.offset >= position]
        most = self.settings.max_poll_records
        for start in range(0, len(records), most):
            part = records[start : start + most]
            self._consumed(partition, part[0].offset, part[-1].offset, epoch, len(part), out)

    def _show(self, partition: TopicPartition, batches: list[bytes], position: int) -> None:
        """Decodes no more than the newest records need."""
        newest: list[Record] = []
        for data in reversed(batches):
            newest = [record for record in decode(data) if record.offset >= position] + newest
            if len(newest) >= LAST_RECORDS:
                break
        for record in newest[-LAST_RECORDS:]:
            self.last.append(
                ConsumedRecord(partition.topic, partition.partition, record.offset, preview(record.key), preview(record.value))
            )


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
