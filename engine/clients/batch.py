"""One batch in the making: its records, how large it will be, and what has become of it so far.

Sizes are exact for uncompressed batches; with compression they are estimated as Java's ``MemoryRecordsBuilder`` does, from the ratio
that the topic's earlier batches reached.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.log.record_batch import HEADER_BYTES, MAX_SEQUENCE, RecordTuple, encode_headers, varint
from engine.messages.base import TopicPartition

NO_SEQUENCE = -1
MAX_RECORD_OVERHEAD_BYTES = 21
"""``DefaultRecord.MAX_RECORD_OVERHEAD``: five varints and the attributes at their largest."""


@dataclass(slots=True)
class ProducerBatch:
    """``attempts`` counts those before the present one. ``leader_epoch`` is that of the leader it was last sent to."""

    batch_id: int
    partition: TopicPartition
    created_us: int
    write_limit_bytes: int
    allocated_bytes: int
    cause: int
    records: list[RecordTuple] = field(default_factory=list)
    record_ids: list[int] = field(default_factory=list)
    size_bytes: int = HEADER_BYTES
    ratio: float = 1.0
    closed: bool = False
    attempts: int = 0
    retry_at_us: int = 0
    retried: bool = False
    split: bool = False
    leader_epoch: int = -1
    producer_id: int = -1
    producer_epoch: int = -1
    base_sequence: int = NO_SEQUENCE
    sequence_was_reset: bool = False

    @property
    def last_sequence(self) -> int:
        return self.base_sequence + len(self.records) - 1 & MAX_SEQUENCE

    @property
    def estimated_bytes(self) -> int:
        if self.ratio == 1.0:
            return self.size_bytes
        return HEADER_BYTES + int((self.size_bytes - HEADER_BYTES) * self.ratio * 1.05)

    @property
    def is_full(self) -> bool:
        return self.closed or self.estimated_bytes >= self.write_limit_bytes

    def try_append(self, record_id: int, record: RecordTuple) -> bool:
        """False (and the batch is closed) where there is no room; the first record always fits."""
        since = record[3] - self.records[0][3] if self.records else 0
        size = record_bytes(len(self.records), since, record)
        if self.closed or (self.records and self.estimated_bytes + size > self.write_limit_bytes):
            self.closed = True
            return False
        self.records.append(record)
        self.record_ids.append(record_id)
        self.size_bytes += size
        return True


def record_bytes(offset_delta: int, since_ms: int, record: RecordTuple) -> int:
    """``DefaultRecord.sizeInBytes``."""
    key, value, headers, _ = record
    size = 1 + len(varint(since_ms)) + len(varint(offset_delta)) + (len(encode_headers(headers)) if headers else 1)
    size += 1 if key is None else len(varint(len(key))) + len(key)
    size += 1 if value is None else len(varint(len(value))) + len(value)
    return size + len(varint(size))


def upper_bound_bytes(record: RecordTuple) -> int:
    """``AbstractRecords.estimateSizeInBytesUpperBound``: a batch that holds just this record."""
    key, value, headers, _ = record
    content = (
        (0 if key is None else len(key)) + (0 if value is None else len(value)) + (len(encode_headers(headers)) if headers else 1)
    )
    lengths = (1 if key is None else len(varint(len(key)))) + (1 if value is None else len(varint(len(value))))
    return HEADER_BYTES + MAX_RECORD_OVERHEAD_BYTES + content + lengths
