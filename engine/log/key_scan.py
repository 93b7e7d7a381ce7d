"""Reads of each record only what compaction asks: its offset, its key, and whether it has a value.

The cleaner looks at every record of a log twice, and most of them it neither keeps nor changes, so that decoding them
whole would be most of its work.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.log.compression import decompress
from engine.log.errors import CorruptBatchError
from engine.log.record_batch import HEADER_BYTES, BatchHeader, read_varint


class KeyScan(NamedTuple):
    """``offset_delta`` counts from the batch's base offset."""

    offset_delta: int
    key: bytes | None
    tombstone: bool


def scan_keys(header: BatchHeader, data: bytes) -> list[KeyScan]:
    """Of every record in the batch ``data``. Raises CorruptBatchError; the CRC is not looked at, as in Kafka's cleaner."""
    payload = decompress(header.compression, data[HEADER_BYTES:]) if header.compression else data
    position = 0 if header.compression else HEADER_BYTES
    found: list[KeyScan] = []
    try:
        for _ in range(header.record_count):
            size, position = read_varint(payload, position)
            end = position + size
            position += 1  # the record's attributes
            while payload[position] >= 0x80:  # its timestamp
                position += 1
            position += 1
            delta = payload[position] >> 1
            if payload[position] < 0x80:
                position += 1
            else:
                delta, position = read_varint(payload, position)
            size, position = read_varint(payload, position)
            key = None
            if size >= 0:
                key = payload[position : position + size]
                position += size
            found.append(KeyScan(delta, key, payload[position] == 1))  # a length of -1
            if not position < end <= len(payload):
                raise CorruptBatchError("a record's length does not match its content")
            position = end
    except IndexError:
        raise CorruptBatchError("the records are cut short") from None
    return found
