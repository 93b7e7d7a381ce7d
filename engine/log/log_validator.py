"""What a leader demands of a batch before it takes it: Kafka's ``LogValidator``.

Nearly all of it is answered by the fixed header. Records are decoded only where a rule is about records: keys on a
compacted topic, the age of the oldest record, another compression type.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

from crc32c import crc32c

from engine.log.compression import decompress
from engine.log.config import MAX_LONG, LogConfig
from engine.log.errors import CorruptBatchError, LogError, RecordTooLargeError
from engine.log.record_batch import (
    ATTRIBUTES_OFFSET,
    COMPRESSION_MASK,
    CONTROL_MASK,
    HEADER_BYTES,
    LOG_OVERHEAD_BYTES,
    MAGIC,
    MIN_RECORD_BYTES,
    TIMESTAMP_TYPE_MASK,
    decode_records,
    read_header,
    rebuild_batch,
)

# The fields of BatchHeader, as unpacked.
HeaderFields: TypeAlias = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int]


class AppendOrigin(IntEnum):
    """Who appends: clients have their sequences checked; coordinators write control batches and many records
    unchecked.
    """

    CLIENT = 0
    COORDINATOR = 1
    RAFT_LEADER = 2


def validate(batch: bytes, fields: HeaderFields, config: LogConfig, now_ms: int, origin: AppendOrigin) -> bytes:
    """The batch, recompressed where ``compression.type`` asks for it.

    Raises LogError: CORRUPT_MESSAGE, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE.
    """
    base, length, _, magic, crc, attributes, delta, _, max_timestamp, producer_id, _, base_sequence, count = fields
    size = len(batch)
    if magic != MAGIC:
        raise LogError("INVALID_RECORD", f"magic {magic}: only format v2 is accepted")
    if length + LOG_OVERHEAD_BYTES != size:
        if HEADER_BYTES <= length + LOG_OVERHEAD_BYTES < size:
            raise LogError("INVALID_RECORD", "a produce request holds exactly one batch per partition")
        raise CorruptBatchError(f"batch length {length} does not fit {size} bytes")
    if size > config.max_message_bytes:
        raise RecordTooLargeError(f"batch of {size} bytes > max.message.bytes {config.max_message_bytes}")
    if crc != crc32c(memoryview(batch)[ATTRIBUTES_OFFSET:]):
        raise CorruptBatchError("the CRC is wrong")
    if not origin:
        if base:
            raise LogError("INVALID_RECORD", f"the baseOffset of a produced batch is 0, not {base}")
        if attributes & CONTROL_MASK:
            raise LogError("INVALID_RECORD", "clients are not allowed to write control records")
    if count < 1 or delta != count - 1 or (not attributes & COMPRESSION_MASK and count * MIN_RECORD_BYTES > size - HEADER_BYTES):
        raise LogError("INVALID_RECORD", f"{count} records and last offset delta {delta} do not agree with {size} bytes")
    if producer_id >= 0 and base_sequence < 0 and not origin and not attributes & CONTROL_MASK:
        raise LogError("INVALID_RECORD", f"sequence {base_sequence} with producer ID {producer_id}")
    if attributes & TIMESTAMP_TYPE_MASK and not origin:
        raise LogError("INVALID_TIMESTAMP", "producers do not set the timestamp type LogAppendTime")
    stamp = config.message_timestamp_type == "LogAppendTime"
    if not stamp and max_timestamp - now_ms > config.message_timestamp_after_max_ms:
        raise LogError(
            "INVALID_TIMESTAMP",
            f"timestamp {max_timestamp} is more than message.timestamp.after.max.ms ahead of {now_ms}",
        )
    if (
        config.cleanup_policy != "delete"
        or config.compression_type != "producer"
        or config.message_timestamp_before_max_ms != MAX_LONG
    ):
        return _validate_records(batch, config, now_ms, check_age=not stamp)
    return batch


def _validate_records(batch: bytes, config: LogConfig, now_ms: int, *, check_age: bool) -> bytes:
    """The rules for which a broker must look at the records; also recompresses for ``compression.type``."""
    header = read_header(batch)
    records = decode_records(header, decompress(header.compression, batch[HEADER_BYTES:]))
    if config.compact and any(record.key is None for record in records):
        raise LogError("INVALID_RECORD", "a compacted topic does not accept a record without key")
    if check_age:
        oldest = min((record.timestamp_ms for record in records if record.timestamp_ms != -1), default=now_ms)
        if now_ms - oldest > config.message_timestamp_before_max_ms:
            raise LogError(
                "INVALID_TIMESTAMP",
                f"timestamp {oldest} is more than message.timestamp.before.max.ms behind {now_ms}",
            )
    target = config.target_compression
    if target is None or target == header.compression or header.is_control_batch:
        return batch
    return rebuild_batch(header, records, compression=target)
