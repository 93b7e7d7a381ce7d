"""The five compression types of a record batch, with a bound on what may come out.

The records after the batch header are one compressed stream. Java's clients frame snappy as snappy-java does (xerial:
a magic, then length-prefixed raw blocks) and write LZ4 frames of independent 64 KiB blocks; librdkafka writes raw
snappy. Both kinds are read here; Java's is written, since a Java client refuses LZ4 frames whose blocks depend on
each other.
"""

from __future__ import annotations

import struct
from enum import IntEnum

import cramjam

from engine.log.errors import CorruptBatchError, RecordTooLargeError

# A batch of max.message.bytes (1 MiB) of zeros unpacks a thousandfold. A lab holds hundreds of logs in one process,
# so that one hostile batch must not take more than the 64 MiB which honest text of 1 MiB could ever need.
MAX_DECOMPRESSED_BYTES = 64 * 1024 * 1024
# The first guess at the size of the output; honest batches shrink two to eight times, so one pass serves nearly all.
FIRST_GUESS_RATIO = 8
FIRST_GUESS_MIN_BYTES = 4096

XERIAL_MAGIC = b"\x82SNAPPY\x00"
XERIAL_HEADER = XERIAL_MAGIC + b"\x00\x00\x00\x01\x00\x00\x00\x01"  # version 1, readable since version 1
XERIAL_BLOCK_BYTES = 32 * 1024  # snappy-java's default block
LZ4_HEADER = b"\x04\x22\x4d\x18\x60\x40\x82"  # magic; version 1, independent blocks; 64 KiB blocks; header checksum
LZ4_BLOCK_BYTES = 64 * 1024
LZ4_STORED = 0x80000000  # a block that would grow is stored as it is


class Compression(IntEnum):
    """The low three bits of a batch's attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


def compress(compression: Compression, data: bytes) -> bytes:
    """The stream as a Java producer writes it."""
    if compression is Compression.GZIP:
        return bytes(cramjam.gzip.compress(data))
    if compression is Compression.SNAPPY:
        return _compress_xerial(data)
    if compression is Compression.LZ4:
        return _compress_lz4(data)
    if compression is Compression.ZSTD:
        return bytes(cramjam.zstd.compress(data, 3))
    return data


def decompress(compression: int, data: bytes, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> bytes:
    """Raises CorruptBatchError for a broken stream or an unknown type, RecordTooLargeError where more than
    ``max_bytes`` would come out.
    """
    if compression == Compression.NONE:
        return data
    if compression == Compression.SNAPPY:
        return _decompress_snappy(data, max_bytes)
    if compression == Compression.GZIP:
        into = cramjam.gzip.decompress_into
    elif compression == Compression.LZ4:
        into = cramjam.lz4.decompress_into
    elif compression == Compression.ZSTD:
        into = cramjam.zstd.decompress_into
    else:
        raise CorruptBatchError(f"unknown compression type {compression}")
    size = min(max_bytes, max(FIRST_GUESS_MIN_BYTES, len(data) * FIRST_GUESS_RATIO))
    while True:
        buffer = bytearray(size)
        try:
            written = into(data, buffer)
        except cramjam.DecompressionError as error:
            if "write whole buffer" not in str(error):
                raise CorruptBatchError(f"{Compression(compression).name.lower()}: {error}") from None
            if size >= max_bytes:
                raise RecordTooLargeError(f"the batch unpacks to more than {max_bytes} bytes") from None
            size = min(max_bytes, size * FIRST_GUESS_RATIO)
            continue
        return bytes(memoryview(buffer)[:written])


def _compress_xerial(data: bytes) -> bytes:
    parts = [XERIAL_HEADER]
    for start in range(0, len(data), XERIAL_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(data[start : start + XERIAL_BLOCK_BYTES]))
        parts += (len(block).to_bytes(4, "big"), block)
    return b"".join(parts)


def _decompress_snappy(data: bytes, max_bytes: int) -> bytes:
    if not data.startswith(XERIAL_MAGIC):
        return _decompress_snappy_block(data, max_bytes)
    parts: list[bytes] = []
    position, left = len(XERIAL_HEADER), max_bytes
    if len(data) < position:
        raise CorruptBatchError("snappy: the framing header is cut short")
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        block = data[position + 4 : position + 4 + size]
        if len(block) != size or not size:
            raise CorruptBatchError("snappy: a block is cut short")
        parts.append(_decompress_snappy_block(block, left))
        left -= len(parts[-1])
        position += 4 + size
    return b"".join(parts)


def _decompress_snappy_block(block: bytes, max_bytes: int) -> bytes:
    """A raw block says its own length first, so the bound is checked before any memory is taken."""
    try:
        size = cramjam.snappy.decompress_raw_len(block)
        if size > max_bytes:
            raise RecordTooLargeError(f"the batch unpacks to more than {max_bytes} bytes")
        # Snappy cannot shrink more than 21-fold (a 3-byte copy yields at most 64 bytes); a longer claim is a lie.
        if size > 64 + len(block) * 64:
            raise CorruptBatchError("snappy: the claimed length cannot be true")
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise CorruptBatchError(f"snappy: {error}") from None


def _compress_lz4(data: bytes) -> bytes:
    parts = [LZ4_HEADER]
    for start in range(0, len(data), LZ4_BLOCK_BYTES):
        block = data[start : start + LZ4_BLOCK_BYTES]
        packed = bytes(cramjam.lz4.compress_block(block, store_size=False))
        if len(packed) < len(block):
            parts += (struct.pack("<I", len(packed)), packed)
        else:
            parts += (struct.pack("<I", len(block) | LZ4_STORED), block)
    parts.append(b"\x00\x00\x00\x00")
    return b"".join(parts)
