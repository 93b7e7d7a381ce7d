"""From fetched batches to records in the application's hands (Java's ``CompletedFetch`` and ``FetchCollector``).

Control batches only move the position. Under read_committed the records of aborted transactions are skipped here, by the list that
came with the fetch: the broker sends them all the same (fact 38).
"""

from __future__ import annotations

from engine.clients.common import preview
from engine.clients.consumer_state import LAST_RECORDS, Chunk, Consumer, Work
from engine.clients.position import FAILED, FETCHING, VALIDATING, ConsumedRecord, Position
from engine.events import ConsumerFailed, RecordsConsumed
from engine.log.errors import LogError
from engine.log.record_batch import (
    BatchHeader,
    ControlRecordType,
    Record,
    check_crc,
    decode,
    read_end_txn_marker,
    read_header,
)
from engine.messages.base import TopicPartition
from engine.sim.outbox import Outbox

CORRUPT = "CORRUPT_MESSAGE"
READ_COMMITTED = "read_committed"


def fail(consumer: Consumer, partition: TopicPartition, position: Position, error: str, out: Outbox) -> None:
    """Nothing more is read from this partition until somebody seeks."""
    if position.state not in (FETCHING, VALIDATING):
        position.position = -1
    position.state, position.error = FAILED, error
    out.emit(ConsumerFailed(consumer.name, partition.topic, partition.partition, error))


def hand_over(consumer: Consumer, chunk: Chunk, position: Position, out: Outbox) -> str:
    """All of ``chunk`` at once, for an application that takes no time: each batch, or the part of it from the position on. Returns an
    error, or ""."""
    if not chunk.batches:
        return ""
    shown: list[bytes] = []
    start = position.position
    try:
        for data in chunk.batches:
            header = read_header(data)
            if header.last_offset < position.position:
                continue
            if not check_crc(data):
                return CORRUPT
            if not _is_hidden(consumer, chunk, header, data):
                whole = header.base_offset >= position.position and header.record_count <= consumer.settings.max_poll_records
                if whole:
                    _consumed(
                        consumer, chunk.partition, header.base_offset, header.last_offset, header.partition_leader_epoch,
                        header.record_count, out,
                    )  # fmt: skip
                else:
                    _consumed_in_parts(consumer, chunk.partition, position.position, data, out)
                shown.append(data)
            position.position = header.last_offset + 1
            position.leader_epoch = header.partition_leader_epoch
        _show(consumer, chunk.partition, shown, start)
    except LogError:
        return CORRUPT
    return ""


def _is_hidden(consumer: Consumer, chunk: Chunk, header: BatchHeader, data: bytes) -> bool:
    """Whether the application sees nothing of this batch."""
    if consumer.settings.isolation_level == READ_COMMITTED and header.producer_id >= 0:
        while chunk.aborted and chunk.aborted[0][1] <= header.last_offset:
            chunk.aborting = (*chunk.aborting, chunk.aborted[0][0])
            chunk.aborted = chunk.aborted[1:]
        if header.is_control_batch:
            marker = read_end_txn_marker(data)
            if marker is not None and marker.type == ControlRecordType.ABORT:
                chunk.aborting = tuple([number for number in chunk.aborting if number != header.producer_id])
        elif header.is_transactional and header.producer_id in chunk.aborting:
            return True
    return header.is_control_batch or not header.record_count


def _consumed(
    consumer: Consumer, partition: TopicPartition, first: int, last: int, leader_epoch: int, count: int, out: Outbox
) -> None:
    consumer.consumed += count
    out.emit(RecordsConsumed(consumer.name, partition.topic, partition.partition, first, last, leader_epoch, count))


def _consumed_in_parts(consumer: Consumer, partition: TopicPartition, position: int, data: bytes, out: Outbox) -> None:
    """A poll returns at most max.poll.records."""
    epoch = read_header(data).partition_leader_epoch
    records = [record for record in decode(data) if record.offset >= position]
    most = consumer.settings.max_poll_records
    for start in range(0, len(records), most):
        part = records[start : start + most]
        _consumed(consumer, partition, part[0].offset, part[-1].offset, epoch, len(part), out)


def _show(consumer: Consumer, partition: TopicPartition, batches: list[bytes], position: int) -> None:
    """Decodes no more than the newest records need."""
    newest: list[Record] = []
    for data in reversed(batches):
        newest = [record for record in decode(data) if record.offset >= position] + newest
        if len(newest) >= LAST_RECORDS:
            break
    _remember(consumer, partition, newest[-LAST_RECORDS:])


def _remember(consumer: Consumer, partition: TopicPartition, records: list[Record]) -> None:
    for record in records:
        consumer.last.append(
            ConsumedRecord(partition.topic, partition.partition, record.offset, preview(record.key), preview(record.value))
        )


# -- through the poll loop --------------------------------------------------------------------------------------------------


def collect(consumer: Consumer, out: Outbox) -> list[Work]:
    """``FetchCollector.collectFetch``: at most max.poll.records from the buffer, in the order in which they came; the positions move
    on as they are returned. What belongs to paused partitions stays."""
    room = consumer.settings.max_poll_records
    works: list[Work] = []
    kept: list[Chunk] = []
    while room > 0 and consumer.buffer:
        chunk = consumer.buffer[0]
        position = consumer.positions.get(chunk.partition)
        if position is None or position.state != FETCHING or position.position != chunk.next_offset:
            consumer.buffer.popleft()  # revoked, sought elsewhere, or waiting to be validated
            continue
        if position.paused or position.revoking:
            kept.append(consumer.buffer.popleft())
            continue
        out.because(chunk.cause)
        try:
            room -= _take(consumer, chunk, position, room, works, out)
        except LogError:
            fail(consumer, chunk.partition, position, CORRUPT, out)
        chunk.next_offset = position.position
        if chunk.at >= len(chunk.batches) or position.state != FETCHING:
            consumer.buffer.popleft()
    consumer.buffer.extendleft(reversed(kept))
    return works


def _take(consumer: Consumer, chunk: Chunk, position: Position, room: int, works: list[Work], out: Outbox) -> int:
    """Returns how many records were taken. A batch that does not fit is taken in part and stays."""
    taken = 0
    while chunk.at < len(chunk.batches) and taken < room:
        data = chunk.batches[chunk.at]
        header = read_header(data)
        if header.last_offset >= position.position:
            if not check_crc(data):
                raise LogError(CORRUPT, f"the batch at offset {header.base_offset} of {chunk.partition}")
            if not _is_hidden(consumer, chunk, header, data):
                records = [record for record in decode(data) if record.offset >= position.position]
                part = records[: room - taken]
                if part:
                    taken += len(part)
                    _hand_part(consumer, chunk.partition, header, part, works, out)
                if len(part) < len(records):
                    position.position = part[-1].offset + 1
                    position.leader_epoch = header.partition_leader_epoch
                    return taken
            position.position = header.last_offset + 1
            position.leader_epoch = header.partition_leader_epoch
        chunk.at += 1
    return taken


def _hand_part(
    consumer: Consumer, partition: TopicPartition, header: BatchHeader, part: list[Record], works: list[Work], out: Outbox
) -> None:
    epoch = header.partition_leader_epoch
    _consumed(consumer, partition, part[0].offset, part[-1].offset, epoch, len(part), out)
    _remember(consumer, partition, part[-LAST_RECORDS:])
    consumer.taken(partition, part)
    if consumer.application.processing_us or consumer.application.counts_all:
        works.append(Work(partition, epoch, tuple([record.offset for record in part]), out.cause))
    else:
        works.append(Work(partition, epoch, (), out.cause))
