"""Record batches, format v2 (KIP-98), as the bytes that lie in a segment and travel on the wire.

A broker handles whole batches: it reads the fixed header, checks the CRC-32C and rewrites ``baseOffset`` and
``partitionLeaderEpoch``, which lie outside the CRC, without ever decoding a record. Encoding and decoding of records
serve clients, the cleaner and the byte microscope. Whatever bytes come in, only LogError (CorruptBatchError,
RecordTooLargeError) goes out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from collections.abc import Sequence as AbstractSequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import msgspec
from crc32c import crc32c

from engine.log.compression import MAX_DECOMPRESSED_BYTES, Compression, compress, decompress
from engine.log.errors import CorruptBatchError

NO_TIMESTAMP = -1
NO_PRODUCER_ID = -1
NO_PRODUCER_EPOCH = -1
NO_SEQUENCE = -1
NO_PARTITION_LEADER_EPOCH = -1
MAX_SEQUENCE = 2**31 - 1

HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_BYTES = HEADER.size  # 61
LOG_OVERHEAD_BYTES = 12  # baseOffset and batchLength, which batchLength does not count
MAGIC = 2
CRC_OFFSET = 17
ATTRIBUTES_OFFSET = 21
REMEMBERED_BATCHES, REMEMBERED_BYTES = 1024, 2048
"""Of how many batches, and how large, the decoded records are kept at hand: a few MB in all."""
MIN_RECORD_BYTES = 7  # length, attributes, timestamp, offset, key, value and header count: one byte each

COMPRESSION_MASK = 0x07
TIMESTAMP_TYPE_MASK = 0x08
TRANSACTIONAL_MASK = 0x10
CONTROL_MASK = 0x20
DELETE_HORIZON_MASK = 0x40

_PREFIX = struct.Struct(">qiibI")
_AFTER_CRC = struct.Struct(">hiqqqhii")
_EPOCH_AND_MAGIC = struct.Struct(">ib")
_CONTROL_KEY = struct.Struct(">hh")
_CONTROL_VALUE = struct.Struct(">hi")
_pack_prefix = _PREFIX.pack
_pack_epoch = struct.Struct(">i").pack
_pack_offset = struct.Struct(">q").pack
_unpack_header = HEADER.unpack_from

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]
RecordTuple: TypeAlias = tuple[bytes | None, bytes | None, Headers, int]  # key, value, headers, timestamp_ms


class TimestampType(IntEnum):
    CREATE_TIME = 0
    LOG_APPEND_TIME = 1


class ControlRecordType(IntEnum):
    ABORT = 0
    COMMIT = 1


class Record(msgspec.Struct, frozen=True):
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class EndTxnMarker(NamedTuple):
    """What a transaction coordinator writes into each partition of a transaction."""

    type: ControlRecordType
    coordinator_epoch: int


class BatchHeader(msgspec.Struct, frozen=True, gc=False):
    """The 61 bytes in front of the records. ``batch_length`` counts what follows it."""

    base_offset: int
    batch_length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        return self.batch_length + LOG_OVERHEAD_BYTES

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def last_sequence(self) -> int:
        if self.base_sequence == NO_SEQUENCE:
            return NO_SEQUENCE
        return increment_sequence(self.base_sequence, self.last_offset_delta)

    @property
    def compression(self) -> int:
        return self.attributes & COMPRESSION_MASK

    @property
    def timestamp_type(self) -> TimestampType:
        return TimestampType.LOG_APPEND_TIME if self.attributes & TIMESTAMP_TYPE_MASK else TimestampType.CREATE_TIME

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL_MASK)

    @property
    def is_control_batch(self) -> bool:
        return bool(self.attributes & CONTROL_MASK)

    @property
    def delete_horizon_ms(self) -> int | None:
        """The horizon takes the place of the base timestamp (KIP-534)."""
        return self.base_timestamp if self.attributes & DELETE_HORIZON_MASK else None


def increment_sequence(sequence: int, increment: int) -> int:
    """Sequence numbers wrap from 2^31-1 to 0."""
    return (sequence + increment) & MAX_SEQUENCE


def _encode_varint(value: int) -> bytes:
    """Zigzag, then seven bits per byte, low bits first."""
    rest = (value << 1) if value >= 0 else ((-value << 1) - 1)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


# Nearly every length, offset delta and timestamp delta is small; a table turns each into one lookup.
_VARINTS = tuple(_encode_varint(value) for value in range(4096))
_TABLED = len(_VARINTS)


def varint(value: int) -> bytes:
    return _VARINTS[value] if 0 <= value < _TABLED else _encode_varint(value)


def encode_headers(headers: Headers) -> bytes:
    parts = [varint(len(headers))]
    for name, content in headers:
        encoded = name.encode("utf-8", "replace")
        parts += (varint(len(encoded)), encoded)
        if content is None:
            parts.append(b"\x01")
        else:
            parts += (varint(len(content)), content)
    return b"".join(parts)


def build_batch(
    records: AbstractSequence[RecordTuple],
    *,
    base_offset: int = 0,
    compression: Compression = Compression.NONE,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = NO_PRODUCER_EPOCH,
    base_sequence: int = NO_SEQUENCE,
    transactional: bool = False,
    control: bool = False,
    partition_leader_epoch: int = NO_PARTITION_LEADER_EPOCH,
    timestamp_type: TimestampType = TimestampType.CREATE_TIME,
    delete_horizon_ms: int | None = None,
) -> bytes:
    """One batch of consecutive records (key, value, headers, timestamp_ms)."""
    attributes = compression | timestamp_type << 3 | transactional << 4 | control << 5
    if delete_horizon_ms is not None:
        attributes |= DELETE_HORIZON_MASK
        base_timestamp = delete_horizon_ms
    else:
        base_timestamp = records[0][3] if records else NO_TIMESTAMP
    max_timestamp = max([record[3] for record in records]) if records else NO_TIMESTAMP
    return _assemble(
        _encode_records(enumerate(records), base_timestamp),
        (base_offset, partition_leader_epoch),
        (
            attributes,
            max(len(records) - 1, 0),
            base_timestamp,
            max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            len(records),
        ),
    )


def rebuild_batch(
    header: BatchHeader,
    records: AbstractSequence[Record],
    *,
    compression: int | None = None,
    delete_horizon_ms: int | None = None,
) -> bytes:
    """The batch with only ``records`` left in it: offsets, last offset delta, producer fields and epoch stay as they
    were.

    A horizon that the batch already has stays. The cleaner uses this; with no records it makes the empty batch that
    keeps a producer's sequence alive (``DefaultRecordBatch.writeEmptyHeader``: neither compressed nor with a horizon).
    """
    if not records:
        return _empty_batch(header)
    attributes = header.attributes
    if compression is not None:
        attributes = attributes & ~COMPRESSION_MASK | compression
    horizon = header.delete_horizon_ms if header.delete_horizon_ms is not None else delete_horizon_ms
    if horizon is not None:
        attributes |= DELETE_HORIZON_MASK
        base_timestamp = horizon
    else:
        base_timestamp = header.base_timestamp if compression is not None else records[0].timestamp_ms
    if attributes & TIMESTAMP_TYPE_MASK:
        max_timestamp = header.max_timestamp
    else:
        max_timestamp = max(record.timestamp_ms for record in records)
    base = header.base_offset
    encoded = _encode_records(((r.offset - base, (r.key, r.value, r.headers, r.timestamp_ms)) for r in records), base_timestamp)
    return _assemble(
        encoded,
        (base, header.partition_leader_epoch),
        (
            attributes,
            header.last_offset_delta,
            base_timestamp,
            max_timestamp,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            len(records),
        ),
    )


def _empty_batch(header: BatchHeader) -> bytes:
    attributes = header.attributes & ~(COMPRESSION_MASK | DELETE_HORIZON_MASK)
    return _assemble(
        b"",
        (header.base_offset, header.partition_leader_epoch),
        (
            attributes,
            header.last_offset_delta,
            NO_TIMESTAMP,
            header.max_timestamp,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            0,
        ),
    )


def _encode_records(records: Iterable[tuple[int, RecordTuple]], base_timestamp: int) -> bytes:
    """(offset delta, record) pairs to bytes. The inner loop of every producer, hence the table lookups in place."""
    varints, tabled = _VARINTS, _TABLED
    join = b"".join
    parts: list[bytes] = []
    for delta, (key, value, headers, timestamp) in records:
        since = timestamp - base_timestamp
        if key is None:
            key, key_size = b"", b"\x01"
        else:
            size = len(key)
            key_size = varints[size] if size < tabled else _encode_varint(size)
        if value is None:
            value, value_size = b"", b"\x01"
        else:
            size = len(value)
            value_size = varints[size] if size < tabled else _encode_varint(size)
        body = join(
            (
                b"\x00",
                varints[since] if 0 <= since < tabled else _encode_varint(since),
                varints[delta] if delta < tabled else _encode_varint(delta),
                key_size,
                key,
                value_size,
                value,
                encode_headers(headers) if headers else b"\x00",
            )
        )
        size = len(body)
        parts.append(varints[size] if size < tabled else _encode_varint(size))
        parts.append(body)
    return join(parts)


def _assemble(records: bytes, outside: tuple[int, int], inside: tuple[int, int, int, int, int, int, int, int]) -> bytes:
    """``outside`` and ``inside`` are the header fields that lie outside and inside of the CRC."""
    compression = inside[0] & COMPRESSION_MASK
    if compression:
        records = compress(Compression(compression), records)
    tail = _AFTER_CRC.pack(*inside) + records
    return _pack_prefix(outside[0], len(tail) + 9, outside[1], MAGIC, crc32c(tail)) + tail


def build_end_txn_marker(
    marker: ControlRecordType,
    *,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int,
    timestamp_ms: int,
    base_offset: int = 0,
) -> bytes:
    """The control batch COMMIT or ABORT: key (version 0, type), value (version 0, coordinator epoch)."""
    record: RecordTuple = (_CONTROL_KEY.pack(0, marker), _CONTROL_VALUE.pack(0, coordinator_epoch), (), timestamp_ms)
    return build_batch(
        (record,),
        base_offset=base_offset,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        transactional=True,
        control=True,
    )


def read_end_txn_marker(data: bytes) -> EndTxnMarker | None:
    """None for a control batch of another kind, or one that the cleaner has emptied."""
    records = decode(data)
    if not records:
        return None
    key, value = records[0].key, records[0].value
    if key is None or len(key) < 4 or value is None or len(value) < 6:
        raise CorruptBatchError("a control record without type or coordinator epoch")
    kind = _CONTROL_KEY.unpack_from(key)[1]
    if kind not in (ControlRecordType.ABORT, ControlRecordType.COMMIT):
        return None
    return EndTxnMarker(ControlRecordType(kind), _CONTROL_VALUE.unpack_from(value)[1])


def read_header(data: bytes, position: int = 0) -> BatchHeader:
    """Raises CorruptBatchError unless a whole v2 batch lies at ``position``; the CRC is not looked at."""
    try:
        header = BatchHeader(*_unpack_header(data, position))
    except struct.error:
        raise CorruptBatchError(f"{len(data) - position} bytes are too few for a batch header") from None
    if header.magic != MAGIC:
        raise CorruptBatchError(f"magic {header.magic} is not {MAGIC}")
    length = header.batch_length
    if length < HEADER_BYTES - LOG_OVERHEAD_BYTES or position + length + LOG_OVERHEAD_BYTES > len(data):
        raise CorruptBatchError(f"batch length {length} does not fit {len(data) - position} bytes")
    return header


def last_offset(data: bytes) -> int:
    return read_header(data).last_offset


def assign(data: bytes, base_offset: int, leader_epoch: int) -> bytes:
    """What a leader does on append: its offset and epoch written in, nothing decoded, the CRC untouched."""
    return b"".join((_pack_offset(base_offset), data[8:12], _pack_epoch(leader_epoch), data[16:]))


def assign_log_append_time(data: bytes, base_offset: int, leader_epoch: int, now_ms: int) -> bytes:
    """The same for ``message.timestamp.type=LogAppendTime``: type and max timestamp change, hence the CRC too."""
    tail = bytearray(data[ATTRIBUTES_OFFSET:])
    tail[1] |= TIMESTAMP_TYPE_MASK
    struct.pack_into(">q", tail, 14, now_ms)
    return _pack_prefix(base_offset, len(tail) + 9, leader_epoch, MAGIC, crc32c(tail)) + bytes(tail)


def check_crc(data: bytes) -> bool:
    """CRC-32C over all that follows the CRC field; ``data`` is exactly one batch."""
    if len(data) < HEADER_BYTES:
        return False
    return crc32c(memoryview(data)[ATTRIBUTES_OFFSET:]) == int.from_bytes(data[CRC_OFFSET:ATTRIBUTES_OFFSET], "big")


def check_structure(data: bytes) -> BatchHeader:
    """What recovery asks of a batch: a whole header, a true CRC, offsets and counts that make sense."""
    header = read_header(data)
    if header.size != len(data):
        raise CorruptBatchError("bytes follow the batch")
    if not check_crc(data):
        raise CorruptBatchError("the CRC is wrong")
    if header.last_offset_delta < 0 or header.record_count < 0 or header.base_offset < 0:
        raise CorruptBatchError("a negative offset or count")
    return header


def decode(data: bytes, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> list[Record]:
    """The records of one batch; the CRC is checked first.

    Raises CorruptBatchError for bytes that are not one whole batch, RecordTooLargeError beyond ``max_bytes`` unpacked.
    """
    small = HEADER_BYTES < len(data) <= REMEMBERED_BYTES and max_bytes == MAX_DECOMPRESSED_BYTES
    if small and not data[ATTRIBUTES_OFFSET + 1] & COMPRESSION_MASK:
        return list(_decode_small(data))
    return _decode(data, max_bytes)


def _decode(data: bytes, max_bytes: int) -> list[Record]:
    header = check_structure(data)
    payload = decompress(header.compression, data[HEADER_BYTES:], max_bytes)
    return decode_records(header, payload)


@lru_cache(REMEMBERED_BATCHES)
def _decode_small(data: bytes) -> tuple[Record, ...]:
    """Every consumer of a partition, and every judge of a simulation, decodes the very same bytes."""
    return tuple(_decode(data, MAX_DECOMPRESSED_BYTES))


def decode_records(header: BatchHeader, payload: bytes) -> list[Record]:
    """The records in the unpacked ``payload`` behind ``header``."""
    count = header.record_count
    if not 0 <= count * MIN_RECORD_BYTES <= len(payload):
        raise CorruptBatchError(f"{count} records do not fit {len(payload)} bytes")
    base_offset, base_timestamp = header.base_offset, header.base_timestamp
    log_append_time = header.max_timestamp if header.attributes & TIMESTAMP_TYPE_MASK else None
    records: list[Record] = []
    position = 0
    try:
        for _ in range(count):
            size, position = read_varint(payload, position)
            end = position + size
            if size < MIN_RECORD_BYTES - 1 or end > len(payload):
                raise CorruptBatchError(f"a record of {size} bytes does not fit")
            since, position = read_varint(payload, position + 1)
            delta, position = read_varint(payload, position)
            key, position = _read_bytes(payload, position, end)
            value, position = _read_bytes(payload, position, end)
            headers: Headers = ()
            if payload[position]:
                headers, position = _read_headers(payload, position, end)
            else:
                position += 1
            if position != end:
                raise CorruptBatchError("a record's length does not match its content")
            timestamp = base_timestamp + since if log_append_time is None else log_append_time
            records.append(Record(base_offset + delta, timestamp, key, value, headers))
    except IndexError:
        raise CorruptBatchError("the records are cut short") from None
    if position != len(payload):
        raise CorruptBatchError(f"{len(payload) - position} bytes follow the last record")
    return records


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """(value, position after it). Raises IndexError at the end of ``data``, CorruptBatchError beyond ten bytes."""
    byte = data[position]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), position + 1
    rest, shift = byte & 0x7F, 7
    while True:
        position += 1
        byte = data[position]
        rest |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (rest >> 1) ^ -(rest & 1), position + 1
        shift += 7
        if shift > 63:
            raise CorruptBatchError("a varint of more than ten bytes")


def _read_bytes(data: bytes, position: int, end: int) -> tuple[bytes | None, int]:
    size, position = read_varint(data, position)
    if size < 0:
        if size != -1:
            raise CorruptBatchError(f"length {size}")
        return None, position
    after = position + size
    if after > end:
        raise CorruptBatchError(f"{size} bytes do not fit the record")
    return data[position:after], after


def _read_headers(data: bytes, position: int, end: int) -> tuple[Headers, int]:
    count, position = read_varint(data, position)
    if not 0 <= count * 2 <= end - position:
        raise CorruptBatchError(f"{count} headers do not fit the record")
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name, position = _read_bytes(data, position, end)
        if name is None:
            raise CorruptBatchError("a header without a name")
        content, position = _read_bytes(data, position, end)
        headers.append((name.decode("utf-8", "replace"), content))
    return tuple(headers), position
