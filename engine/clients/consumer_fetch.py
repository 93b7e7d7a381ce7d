"""From a position to records: offset reset, validation after a leader change, fetching, and every error of these.

Follows Java's ``Fetcher``, ``OffsetFetcher``, ``FetchCollector`` and ``SubscriptionState``: one fetch in flight per broker, none for a
partition of which something is still buffered, and after each change of leader the position is checked against the new leader's epochs
before anything more is read (KIP-320).
"""

from __future__ import annotations

from engine.clients.common import STALE_METADATA, InFlight, LeaderAndEpoch, backoff_us
from engine.clients.configs import reset_duration_ms
from engine.clients.consumer_records import fail, hand_over
from engine.clients.consumer_state import NEVER_US, Chunk, Consumer, ConsumerTimer
from engine.clients.position import FAILED, FETCHING, INITIALISING, RESET, VALIDATING, Position, reset_timestamp
from engine.events import ConsumerPositioned
from engine.messages.base import TopicPartition
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
from engine.sim.outbox import Outbox

ByBroker = dict[int, list[TopicPartition]]


def reset(consumer: Consumer, partition: TopicPartition, position: Position, why: str, out: Outbox) -> None:
    """By ``auto.offset.reset``; "none" leaves it to the application."""
    strategy = consumer.settings.auto_offset_reset
    if strategy == "none":
        error = f"NoOffsetForPartitionException: Undefined offset with no reset policy for partition: {partition}"
        fail(consumer, partition, position, why or error, out)
    else:
        position.begin_reset(strategy, f"{why}, auto.offset.reset={strategy}" if why else f"auto.offset.reset={strategy}")


# -- what to ask next -------------------------------------------------------------------------------------------------------


def advance(consumer: Consumer, out: Outbox) -> None:
    """Asks for whatever the positions need next."""
    groups: dict[str, ByBroker] = {RESET: {}, VALIDATING: {}, FETCHING: {}}
    buffered = [chunk.partition for chunk in consumer.buffer]
    again_us = NEVER_US
    for partition, position in consumer.positions.items():
        state = position.state
        if position.busy or state in (FAILED, INITIALISING) or ((position.paused or position.revoking) and state == FETCHING):
            continue
        leader = consumer.metadata.leader(partition)
        if leader is None:
            consumer.metadata.update_requested = True
            continue
        if position.retry_at_us > out.now:
            again_us = min(again_us, position.retry_at_us)
            continue
        if state == FETCHING and leader.leader_epoch != position.validated_epoch:
            state = _must_validate(position, leader)
        if state == FETCHING and partition in buffered:
            continue
        broker = leader.leader_id
        if position.read_replica >= 0 and state == FETCHING:
            broker = _read_replica(position, leader, consumer.metadata.alive, out)
        groups[state].setdefault(broker, []).append(partition)
    for broker, partitions in groups[RESET].items():
        _list_offsets(consumer, broker, partitions, out)
    for broker, partitions in groups[VALIDATING].items():
        _validate(consumer, broker, partitions, out)
    for broker, partitions in groups[FETCHING].items():
        _fetch(consumer, broker, partitions, out)
    if again_us < NEVER_US:
        out.arm(ConsumerTimer(), after_us=again_us - out.now)
    consumer.metadata.refresh(consumer.connections, consumer.settings.allow_auto_create_topics, out)


def _must_validate(position: Position, leader: LeaderAndEpoch) -> str:
    """Under a leader it has not read from, a position that has an epoch is checked first."""
    if position.leader_epoch < 0 or leader.leader_epoch < 0:
        position.validated_epoch = leader.leader_epoch
        return FETCHING
    position.state = VALIDATING
    return VALIDATING


def _read_replica(position: Position, leader: LeaderAndEpoch, alive: tuple[int, ...], out: Outbox) -> int:
    """``AbstractFetch.selectReadReplica``: the follower that the leader named, for as long as metadata counts as fresh and it is alive."""
    if out.now < position.read_replica_until_us and position.read_replica in alive:
        return position.read_replica
    position.read_replica = -1
    return leader.leader_id


def _list_offsets(consumer: Consumer, broker: int, partitions: list[TopicPartition], out: Outbox) -> None:
    if not consumer.connections.ready(broker, out):
        return
    items: list[ListOffsetsItem] = []
    for partition in partitions:
        position = consumer.positions[partition]
        out.because(position.cause)
        strategy = position.reset_to
        position.busy = True
        position.asked = reset_timestamp(strategy, out.now_ms, reset_duration_ms(strategy))
        items.append(ListOffsetsItem(partition, position.asked, _epoch(consumer, partition)))
    request = ListOffsetsRequest(
        consumer.connections.new_correlation_id(), tuple(items), isolation_level=consumer.settings.isolation_level
    )
    consumer.connections.send(broker, request, "list offsets", out, partitions=tuple(partitions))


def _epoch(consumer: Consumer, partition: TopicPartition) -> int:
    leader = consumer.metadata.leader(partition)
    return leader.leader_epoch if leader is not None else -1


def _validate(consumer: Consumer, broker: int, partitions: list[TopicPartition], out: Outbox) -> None:
    if not consumer.connections.ready(broker, out):
        return
    items: list[OffsetForLeaderEpochItem] = []
    for partition in partitions:
        position = consumer.positions[partition]
        position.busy = True
        position.asked = position.position
        items.append(OffsetForLeaderEpochItem(partition, _epoch(consumer, partition), position.leader_epoch))
    request = OffsetForLeaderEpochRequest(consumer.connections.new_correlation_id(), tuple(items))
    consumer.connections.send(broker, request, "validate", out, partitions=tuple(partitions))


def _fetch(consumer: Consumer, broker: int, partitions: list[TopicPartition], out: Outbox) -> None:
    """One fetch in flight per broker."""
    if not consumer.connections.ready(broker, out):
        if broker not in consumer.connections.by_broker:  # a read replica that this client has never heard of
            for partition in partitions:
                consumer.positions[partition].read_replica = -1
        return
    if any(entry.kind == "fetch" for entry in consumer.connections.by_broker[broker].in_flight):
        return
    settings = consumer.settings
    items: list[FetchItem] = []
    asked: list[int] = []
    for partition in partitions:
        position = consumer.positions[partition]
        position.busy = True
        asked.append(position.position)
        topic_id = consumer.metadata.topics[partition.topic].topic_id
        items.append(
            FetchItem(
                partition, topic_id, position.position, position.validated_epoch, max_bytes=settings.max_partition_fetch_bytes
            )
        )
    request = FetchRequest(
        consumer.connections.new_correlation_id(), -1, -1, settings.fetch_max_wait_ms, settings.fetch_min_bytes,
        settings.fetch_max_bytes, tuple(items), settings.isolation_level, settings.client_rack, consumer.name,
    )  # fmt: skip
    consumer.connections.send(broker, request, "fetch", out, items=tuple(asked), partitions=tuple(partitions))


# -- answers ------------------------------------------------------------------------------------------------------------


def answered(consumer: Consumer, entry: InFlight) -> None:
    for partition in entry.partitions:
        position = consumer.positions.get(partition)
        if position is not None:
            position.busy = False


def trouble(
    consumer: Consumer, partition: TopicPartition, position: Position, error: str, out: Outbox, leader_id: int = -1, epoch: int = -1
) -> None:
    """An error that may pass: fresh metadata where it is stale, and a backoff, unless the answer named a new leader."""
    position.error = error
    if error in STALE_METADATA or error in ("OFFSET_NOT_AVAILABLE", "UNKNOWN_LEADER_EPOCH"):
        consumer.metadata.update_requested = True
    if consumer.metadata.learn_leader(partition, leader_id, epoch):
        return
    settings = consumer.settings
    wait = backoff_us(out.stream("backoff"), settings.retry_backoff_ms, settings.retry_backoff_max_ms, position.failures)
    position.failures += 1
    position.retry_at_us = out.now + wait


def take_offsets(consumer: Consumer, body: ListOffsetsResponse, out: Outbox) -> None:
    for result in body.results:
        position = consumer.positions.get(result.partition)
        if position is not None and position.state == RESET:
            _take_offset(consumer, result, position, out)


def _take_offset(consumer: Consumer, result: ListOffsetsResult, position: Position, out: Outbox) -> None:
    partition = result.partition
    duration_ms = reset_duration_ms(position.reset_to)
    if duration_ms is None and position.asked != reset_timestamp(position.reset_to, out.now_ms, None):
        return  # a seek came between
    if result.error == "TOPIC_AUTHORIZATION_FAILED":
        fail(consumer, partition, position, result.error, out)
    elif result.error != "NONE":
        trouble(consumer, partition, position, result.error, out)
    elif result.offset < 0:
        # by_duration, and no record is that young: look again later, the next record will be.
        position.error = ""
        position.retry_at_us = out.now + consumer.settings.retry_backoff_max_ms * 1000
    else:
        position.seek(result.offset, result.leader_epoch)
        position.validated_epoch = _epoch(consumer, partition)
        position.cause = out.emit(
            ConsumerPositioned(consumer.name, partition.topic, partition.partition, result.offset, position.reset_reason)
        )


def take_epochs(consumer: Consumer, body: OffsetForLeaderEpochResponse, out: Outbox) -> None:
    for result in body.results:
        position = consumer.positions.get(result.partition)
        if position is not None and position.state == VALIDATING and position.asked == position.position:
            _take_epoch(consumer, result, position, out)


def _take_epoch(consumer: Consumer, result: OffsetForLeaderEpochResult, position: Position, out: Outbox) -> None:
    """``SubscriptionState.maybeCompleteValidation``."""
    partition = result.partition
    undefined = result.end_offset < 0 or result.leader_epoch < 0
    if result.error == "TOPIC_AUTHORIZATION_FAILED":
        fail(consumer, partition, position, result.error, out)
    elif result.error != "NONE":
        trouble(consumer, partition, position, result.error, out)
    elif not undefined and result.end_offset >= position.position:
        position.state, position.error, position.failures = FETCHING, "", 0
        position.validated_epoch = _epoch(consumer, partition)
    elif consumer.settings.auto_offset_reset == "none":
        fail(consumer, partition, position, f"LogTruncationException: the log of {partition} was truncated", out)
    elif undefined:
        reset(consumer, partition, position, "log truncated", out)
    else:
        position.seek(result.end_offset, result.leader_epoch)
        position.validated_epoch = _epoch(consumer, partition)
        out.emit(ConsumerPositioned(consumer.name, partition.topic, partition.partition, result.end_offset, "log truncated"))


def take_fetched(consumer: Consumer, entry: InFlight, body: FetchResponse, out: Outbox) -> None:
    """Hands over what came at once, or puts it into the buffer for the next poll."""
    if body.error != "NONE":
        for partition in entry.partitions:
            if partition in consumer.positions:
                trouble(consumer, partition, consumer.positions[partition], body.error, out)
    heard = out.cause
    polls = consumer.polls
    asked = dict(zip(entry.partitions, entry.items, strict=True))
    for result in body.results:
        position = consumer.positions.get(result.partition)
        if position is None or position.state != FETCHING or asked.get(result.partition) != position.position:
            continue  # a seek or a new assignment came between, perhaps with a fetch of its own to another broker
        if position.paused and not polls:
            continue
        if result.error != "NONE":
            _fetch_failed(consumer, result, position, out)
        elif result.preferred_read_replica >= 0:
            position.read_replica = result.preferred_read_replica
            position.read_replica_until_us = out.now + consumer.settings.metadata_max_age_ms * 1000
        else:
            _take_result(consumer, result, position, polls, heard, out)


def _take_result(consumer: Consumer, result: FetchResult, position: Position, polls: bool, heard: int, out: Outbox) -> None:
    position.high_watermark = result.high_watermark
    if position.error:
        position.error, position.failures = "", 0
    aborted = result.aborted_transactions
    if len(aborted) > 1:
        aborted = tuple(sorted(aborted, key=lambda transaction: transaction[1]))
    chunk = Chunk(result.partition, result.batches, position.position, aborted, heard)
    if not polls:
        out.because(heard)
        error = hand_over(consumer, chunk, position, out)
        if error:
            fail(consumer, result.partition, position, error, out)
    elif result.batches:
        consumer.buffer.append(chunk)


def _fetch_failed(consumer: Consumer, result: FetchResult, position: Position, out: Outbox) -> None:
    """``FetchCollector.handleInitializeErrors``."""
    error = result.error
    from_follower, position.read_replica = position.read_replica >= 0, -1
    if error == "OFFSET_OUT_OF_RANGE":
        if from_follower:
            return  # the leader is asked next: a follower may be behind
        if consumer.settings.auto_offset_reset == "none":
            fail(consumer, result.partition, position, error, out)
        else:
            position.cause = out.cause
            reset(consumer, result.partition, position, "offset out of range", out)
    elif error in ("TOPIC_AUTHORIZATION_FAILED", "CORRUPT_MESSAGE"):
        fail(consumer, result.partition, position, error, out)
    else:
        trouble(consumer, result.partition, position, error, out, result.current_leader, result.current_leader_epoch)
