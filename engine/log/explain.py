"""The byte microscope: every byte of a record batch, named and explained.

A learner looks at a batch as it lies in a segment. The spans of section "batch" tile its bytes exactly; the records
of a compressed batch are one span there and are explained again, unpacked, in section "records", whose spans tile the
unpacked bytes. Damaged batches are what the microscope is for, so it never raises: what cannot be read is a span of
its own.
"""

from __future__ import annotations

import struct

import msgspec
from crc32c import crc32c

from engine.log.compression import Compression, decompress
from engine.log.errors import CorruptBatchError, LogError
from engine.log.record_batch import (
    ATTRIBUTES_OFFSET,
    COMPRESSION_MASK,
    CONTROL_MASK,
    DELETE_HORIZON_MASK,
    HEADER_BYTES,
    LOG_OVERHEAD_BYTES,
    MAGIC,
    TIMESTAMP_TYPE_MASK,
    TRANSACTIONAL_MASK,
    read_varint,
)

# A batch of tiny records would make a hundred thousand spans, which no page shows; what follows stays one span.
MAX_EXPLAINED_RECORDS = 1000
SHOWN_BYTES = 64  # of a key or value, in a span's text


class Span(msgspec.Struct, frozen=True):
    """Bytes ``start``..``end`` (exclusive) of a section. ``bits``: the parts of a field smaller than a byte."""

    section: str
    start: int
    end: int
    name: str
    value: str
    note: str
    level: int = 0
    bits: tuple[tuple[str, str, str], ...] = ()  # name, value, note


_FIELDS = (
    ("baseOffset", ">q", "Offset of the first record; the leader writes it on append, outside of the CRC."),
    ("batchLength", ">i", "How many bytes follow this field."),
    ("partitionLeaderEpoch", ">i", "Epoch of the leader that appended the batch; also outside of the CRC."),
    ("magic", ">b", "Version of the format; 2 since Kafka 0.11."),
    ("crc", ">I", "CRC-32C over everything after this field."),
    ("attributes", ">h", "Flags of the whole batch."),
    ("lastOffsetDelta", ">i", "Last offset minus base offset; compaction leaves it as it is."),
    ("baseTimestamp", ">q", "The records' timestamps count from here (milliseconds)."),
    ("maxTimestamp", ">q", "The largest timestamp of the batch; retention and the time index look at it."),
    ("producerId", ">q", "Who produced it; -1 without idempotence."),
    ("producerEpoch", ">h", "Fences an older instance of the same producer."),
    ("baseSequence", ">i", "Sequence number of the first record, by which the broker spots duplicates and gaps."),
    ("recordsCount", ">i", "How many records follow."),
)


class _Reader:
    """Walks one section and leaves a span for each step."""

    def __init__(self, section: str, data: bytes, position: int, spans: list[Span]) -> None:
        self.section, self.data, self.position, self.spans = section, data, position, spans

    def take(self, size: int, name: str, value: str, note: str, level: int, bits: tuple[tuple[str, str, str], ...] = ()) -> None:
        end = self.position + size
        if size:
            self.spans.append(Span(self.section, self.position, end, name, value, note, level, bits))
        self.position = end

    def varint(self, name: str, note: str, level: int, shown: str = "{}") -> int:
        value, end = read_varint(self.data, self.position)
        self.take(end - self.position, name, shown.format(value), note, level)
        return value

    def content(self, name: str, note: str, level: int, end: int) -> None:
        size = self.varint(f"{name} length", "A zigzag varint; -1 means null.", level)
        if size < -1 or self.position + size > end:
            raise CorruptBatchError(f"{name} of {size} bytes does not fit the record")
        if size > 0:
            self.take(size, name, shown(self.data[self.position : self.position + size]), note, level)

    def rest(self, name: str, note: str) -> None:
        left = len(self.data) - self.position
        self.take(left, name, f"{left} bytes", note, 0)


def shown(data: bytes) -> str:
    """Text where it is text, else hexadecimal; cut at SHOWN_BYTES."""
    cut = data[:SHOWN_BYTES]
    more = "…" if len(data) > SHOWN_BYTES else ""
    text = cut.decode("utf-8", "replace" if more else "strict") if _is_text(data) else cut.hex(" ")
    return text + more


def _is_text(data: bytes) -> bool:
    try:
        return data.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False


def explain(batch: bytes) -> list[Span]:
    """The spans of section "batch", then, for a compressed batch that unpacks, those of section "records"."""
    spans: list[Span] = []
    reader = _Reader("batch", batch, 0, spans)
    values: dict[str, int] = {}
    for name, form, note in _FIELDS:
        size = struct.calcsize(form)
        if reader.position + size > len(batch):
            reader.rest("cut short", f"The batch ends within its header, before {name} is whole.")
            return spans
        value = values[name] = struct.unpack_from(form, batch, reader.position)[0]
        if name == "attributes" and value & DELETE_HORIZON_MASK:
            values["horizon"] = 1
        reader.take(size, name, *_describe(name, value, note, batch, values), 0, _bits(value) if name == "attributes" else ())
    if values["magic"] != MAGIC:
        reader.rest("records", "Not of format 2, so nothing more can be said.")
        return spans
    end = values["batchLength"] + LOG_OVERHEAD_BYTES
    payload = batch[HEADER_BYTES : max(end, HEADER_BYTES)]
    compression = values["attributes"] & COMPRESSION_MASK
    if not compression:
        inner = _Reader("batch", batch[: HEADER_BYTES + len(payload)], HEADER_BYTES, spans)
        _explain_records(inner, values)
        reader.position = inner.position
        reader.rest("beyond the batch", "Bytes after the end that batchLength names.")
        return spans
    try:
        unpacked = decompress(compression, payload)
        text = f"{len(payload)} bytes, {len(unpacked)} unpacked"
    except LogError as error:
        unpacked, text = b"", f"{len(payload)} bytes ({error.message})"
    kind = Compression(compression).name.lower() if compression in list(Compression) else "unknown"
    reader.take(len(payload), "records", text, f"All records as one compressed stream ({kind}).", 0)
    reader.rest("beyond the batch", "Bytes after the end that batchLength names.")
    if unpacked:
        _explain_records(_Reader("records", unpacked, 0, spans), values)
    return spans


def _describe(name: str, value: int, note: str, batch: bytes, values: dict[str, int]) -> tuple[str, str]:
    if name == "crc":
        end = max(values["batchLength"] + LOG_OVERHEAD_BYTES, ATTRIBUTES_OFFSET)
        computed = crc32c(batch[ATTRIBUTES_OFFSET:end])
        verdict = "ok" if computed == value and end <= len(batch) else "wrong"
        return f"0x{value:08x} stored, 0x{computed:08x} computed: {verdict}", note
    if name == "attributes":
        return f"0x{value & 0xFFFF:04x}", note
    if name == "baseTimestamp" and "horizon" in values:
        return str(value), "The delete horizon: from then on the cleaner may remove these tombstones or markers."
    if name == "batchLength" and value + LOG_OVERHEAD_BYTES != len(batch):
        return str(value), f"How many bytes follow this field; here there are {len(batch) - LOG_OVERHEAD_BYTES}."
    return str(value), note


def _bits(attributes: int) -> tuple[tuple[str, str, str], ...]:
    compression = attributes & COMPRESSION_MASK
    kind = Compression(compression).name.lower() if compression in list(Compression) else f"unknown ({compression})"
    stamped = "LogAppendTime" if attributes & TIMESTAMP_TYPE_MASK else "CreateTime"

    def yes(mask: int) -> str:
        return "yes" if attributes & mask else "no"

    return (
        ("bits 0-2 compression", kind, "How the records are packed."),
        ("bit 3 timestampType", stamped, "Whether the producer or the broker set the timestamps."),
        ("bit 4 isTransactional", yes(TRANSACTIONAL_MASK), "Whether the batch belongs to a transaction."),
        ("bit 5 isControlBatch", yes(CONTROL_MASK), "Whether it holds a marker instead of records for consumers."),
        ("bit 6 hasDeleteHorizon", yes(DELETE_HORIZON_MASK), "Whether the base timestamp is a delete horizon."),
        ("bits 7-15", str(attributes >> 7 & 0x1FF), "Unused."),
    )


def _explain_records(reader: _Reader, values: dict[str, int]) -> None:
    try:
        for number in range(values["recordsCount"]):
            if number == MAX_EXPLAINED_RECORDS:
                return reader.rest("more records", f"Only the first {MAX_EXPLAINED_RECORDS} records are taken apart.")
            _explain_record(reader, number, values)
    except IndexError:
        reader.rest("unreadable", "The records are cut short.")
    except CorruptBatchError as error:
        reader.rest("unreadable", f"No record can be read here: {error.reason}.")
    else:
        reader.rest("unreadable", "Bytes after the last record that recordsCount names.")


def _explain_record(reader: _Reader, number: int, values: dict[str, int]) -> None:
    name = f"record {number}"
    size = reader.varint(f"{name} length", "How many bytes the record has after this varint.", 1)
    end = reader.position + size
    if size < 0 or end > len(reader.data):
        raise CorruptBatchError(f"a record of {size} bytes does not fit")
    flags = reader.data[reader.position]
    reader.take(1, f"{name} attributes", f"0x{flags:02x}", "Unused.", 2)
    base = values["baseTimestamp"]
    since, _ = read_varint(reader.data, reader.position)
    reader.varint(f"{name} timestampDelta", f"Base timestamp plus this: {base + since}.", 2)
    delta, _ = read_varint(reader.data, reader.position)
    reader.varint(f"{name} offsetDelta", f"Base offset plus this: offset {values['baseOffset'] + delta}.", 2)
    reader.content(f"{name} key", "Chooses the partition, and is what compaction goes by.", 2, end)
    reader.content(f"{name} value", "What the application sent; null is a tombstone.", 2, end)
    headers = reader.varint(f"{name} headers count", "How many headers follow.", 2)
    if headers < 0 or headers > end - reader.position:
        raise CorruptBatchError(f"{headers} headers do not fit the record")
    for header in range(headers):
        reader.content(f"{name} header {header} key", "A header's name.", 3, end)
        reader.content(f"{name} header {header} value", "A header's content.", 3, end)
    if reader.position != end:
        raise CorruptBatchError("the record's length does not match its content")
