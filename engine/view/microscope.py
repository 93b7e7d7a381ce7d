"""The byte microscope: one batch of one replica, its bytes with the meaning of each span, and its records decoded.

Unlike a broker, which handles batches whole, the microscope looks inside; it also serves whoever must know what a consumer was
handed, since events tell offsets and not contents.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engine.broker.node import BrokerNode
from engine.errors import EngineError
from engine.log.explain import Span, explain
from engine.log.partition_log import PartitionLog
from engine.log.record_batch import Record, decode, read_header
from engine.log.segment import BatchEntry, Segment
from engine.messages.base import TopicPartition
from engine.sim.kernel import Kernel
from engine.spec import broker_name

MAX_BYTES_SHOWN = 4_096
RECORDS_PER_PAGE = 50
PREVIEW_CHARACTERS = 200


class RecordView(msgspec.Struct, frozen=True):
    offset: int
    timestamp_ms: int
    key: str | None
    value: str | None
    headers: tuple[tuple[str, str | None], ...]


class BatchBytes(msgspec.Struct, frozen=True):
    """``hex`` is at most the first 4 KiB; ``size_bytes`` the whole. ``position`` is where the batch lies in ``path``. The spans are
    those of ``engine.log.explain``; offsets of neighbours are -1 where there is none."""

    topic: str
    partition: int
    broker: int
    path: str
    position: int
    size_bytes: int
    base_offset: int
    last_offset: int
    previous_offset: int
    next_offset: int
    hex: str
    spans: list[Span]
    records: list[RecordView]
    record_count: int
    first_record: int


def look_at_batch(kernel: Kernel, topic: str, partition: int, offset: int, broker: int, first_record: int = 0) -> BatchBytes:
    """``batch_bytes`` for whoever stands outside of the engine and knows a partition by its topic and number."""
    return batch_bytes(kernel, TopicPartition(topic, partition), offset, broker, first_record)


def batch_bytes(kernel: Kernel, partition: TopicPartition, offset: int, broker: int, first_record: int = 0) -> BatchBytes:
    """The batch that holds ``offset`` in the log of ``broker``. Raises EngineError where it is not there (any more)."""
    log = _log(kernel, partition, broker)
    segment, index = _find(log, offset)
    if segment is None:
        raise EngineError(
            f"offset: the log of {partition} on broker {broker} reaches from {log.log_start_offset} to {log.log_end_offset}; "
            f"{offset} is not in it.",
            field="offset",
        )
    entry = segment.batches[index]
    page = decode(entry.data)[max(first_record, 0) :][:RECORDS_PER_PAGE]
    return BatchBytes(
        partition.topic,
        partition.partition,
        broker,
        segment.log_path,
        entry.position,
        entry.size,
        entry.base_offset,
        entry.last_offset,
        _neighbour(log, segment, index, -1),
        _neighbour(log, segment, index, 1),
        entry.data[:MAX_BYTES_SHOWN].hex(),
        [span for span in explain(entry.data) if span.start < MAX_BYTES_SHOWN],
        [_record(record) for record in page],
        read_header(entry.data).record_count,
        max(first_record, 0),
    )


def served_records(kernel: Kernel, partition: TopicPartition, first: int, last: int, leader_epoch: int) -> list[Record]:
    """The records ``first`` to ``last`` that were written in ``leader_epoch``, from any replica that still holds them."""
    for host in kernel.hosts.values():
        node = host.node
        replica = node.partitions.get(partition) if isinstance(node, BrokerNode) else None
        if replica is None or replica.log.log_end_offset <= last:
            continue
        if leader_epoch >= 0 and replica.log.leader_epochs.epoch_for_offset(first) != leader_epoch:
            continue
        batches = _entries(replica.log, first, last)
        return [r for entry in batches for r in decode(entry.data) if first <= r.offset <= last and not _control(entry)]
    return []


def _control(entry: BatchEntry) -> bool:
    return read_header(entry.data).is_control_batch


def _entries(log: PartitionLog, first: int, last: int) -> Iterator[BatchEntry]:
    for segment in log.segments:
        for entry in segment.batches.iterate_from(segment.find(first)):
            if entry.base_offset > last:
                return
            yield entry


def _log(kernel: Kernel, partition: TopicPartition, broker: int) -> PartitionLog:
    host = kernel.hosts.get(broker_name(broker))
    if host is None:
        raise EngineError(f"broker: there is no broker {broker}.", field="broker")
    node = host.node
    if not isinstance(node, BrokerNode):
        raise EngineError(f"broker: broker {broker} is down; start it to look into its log.", field="broker")
    replica = node.partitions.get(partition)
    if replica is None:
        raise EngineError(f"partition: broker {broker} holds no replica of {partition}.", field="partition")
    return replica.log


def _find(log: PartitionLog, offset: int) -> tuple[Segment | None, int]:
    for segment in reversed(log.segments):
        if segment.base_offset <= offset:
            index = segment.find(offset)
            return (segment, index) if index < len(segment.batches) else (None, 0)
    return None, 0


def _neighbour(log: PartitionLog, segment: Segment, index: int, step: int) -> int:
    """The base offset of the batch before or after, -1 where there is none."""
    if 0 <= index + step < len(segment.batches):
        return segment.batches[index + step].base_offset
    number = next(n for n, other in enumerate(log.segments) if other is segment) + step
    while 0 <= number < len(log.segments):
        batches = log.segments[number].batches
        if len(batches):
            return batches[0 if step > 0 else len(batches) - 1].base_offset
        number += step
    return -1


def _record(record: Record) -> RecordView:
    headers = tuple((name, _text(value)) for name, value in record.headers[:20])
    return RecordView(record.offset, record.timestamp_ms, _text(record.key), _text(record.value), headers)


def _text(content: bytes | None) -> str | None:
    if content is None:
        return None
    text = content[: 4 * PREVIEW_CHARACTERS].decode("utf-8", "replace")
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"
