"""Record batches: against an independent implementation (kio), round trips, and lying bytes."""

from __future__ import annotations

import contextlib

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.records.readers import read_batch

from engine.log import compression as compression_module
from engine.log.compression import Compression, compress, decompress
from engine.log.errors import CorruptBatchError, LogError, RecordTooLargeError
from engine.log.record_batch import (
    ControlRecordType,
    EndTxnMarker,
    Record,
    TimestampType,
    assign,
    assign_log_append_time,
    build_batch,
    build_end_txn_marker,
    check_crc,
    decode,
    increment_sequence,
    last_offset,
    read_end_txn_marker,
    read_header,
    rebuild_batch,
)
from tests.engine.log.helpers import NOW, batch

BYTES = st.none() | st.binary(max_size=80)
HEADERS = st.lists(st.tuples(st.text(max_size=8), BYTES), max_size=3).map(tuple)
RECORDS = st.lists(st.tuples(BYTES, BYTES, HEADERS, st.integers(0, 2**45)), min_size=1, max_size=12)
TYPES = st.sampled_from(list(Compression))


@given(RECORDS, TYPES, st.integers(0, 2**60), st.booleans())
@settings(max_examples=150, deadline=None)
def test_round_trip(records, kind, base, transactional) -> None:
    data = build_batch(records, base_offset=base, compression=kind, transactional=transactional)
    expected = [Record(base + i, ts, key, value, headers) for i, (key, value, headers, ts) in enumerate(records)]
    assert decode(data) == expected
    header = read_header(data)
    assert (header.size, header.record_count, header.compression) == (len(data), len(records), kind)
    assert header.max_timestamp == max(record[3] for record in records)
    assert header.is_transactional is transactional
    assert not header.is_control_batch
    assert last_offset(data) == base + len(records) - 1
    assert check_crc(data)


@given(RECORDS)
@settings(max_examples=60, deadline=None)
def test_kio_reads_what_we_write(records) -> None:
    records = [(k, v, tuple((n or "x", c) for n, c in h), ts % 2**40) for k, v, h, ts in records]
    data = build_batch(records, base_offset=7, producer_id=5, producer_epoch=2, base_sequence=9, partition_leader_epoch=3)
    theirs, size = read_batch(data, 0)
    assert size == len(data)
    assert (theirs.producer_id, theirs.producer_epoch, theirs.base_sequence) == (5, 2, 9)
    assert theirs.partition_leader_epoch == 3
    assert [(r.offset, r.key, r.value) for r in theirs.records] == [(7 + i, r[0], r[1]) for i, r in enumerate(records)]


def test_golden_bytes() -> None:
    """One record k=v at timestamp 0, written out by hand from the format's table in KIP-98."""
    golden = """
        0000000000000000 0000003a ffffffff 02 {crc} 0000 00000000
        0000000000000000 0000000000000000 ffffffffffffffff ffff ffffffff 00000001
        10 00 00 00 02 6b 02 76 00
    """
    data = build_batch([(b"k", b"v", (), 0)])
    assert data == bytes.fromhex(golden.format(crc=data[17:21].hex()))
    assert int.from_bytes(data[17:21], "big") == crc32c_by_the_book(data[21:])


def crc32c_by_the_book(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_fact_01_base_offset_and_leader_epoch_lie_outside_the_crc() -> None:
    data = batch(b"a", b"b", compression=Compression.ZSTD)
    moved = assign(data, 1234, 56)
    assert check_crc(moved)
    assert moved[16:] == data[16:]
    assert moved[8:12] == data[8:12]
    header = read_header(moved)
    assert (header.base_offset, header.partition_leader_epoch, header.magic) == (1234, 56, 2)
    assert [record.offset for record in decode(moved)] == [1234, 1235]


def test_fact_01_every_flipped_bit_after_the_crc_is_noticed() -> None:
    data = batch(b"hello", b"world")
    for position in range(17, len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            assert not check_crc(bytes(flipped))
            with pytest.raises(CorruptBatchError):
                decode(bytes(flipped))


def test_fact_10_log_append_time_stamps_the_batch_and_renews_the_crc() -> None:
    stamped = assign_log_append_time(batch(b"a", b"b", timestamp=5), 10, 1, NOW)
    assert check_crc(stamped)
    assert read_header(stamped).timestamp_type is TimestampType.LOG_APPEND_TIME
    assert [record.timestamp_ms for record in decode(stamped)] == [NOW, NOW]


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes_raise_only_log_errors(data) -> None:
    for function in (read_header, decode, last_offset, read_end_txn_marker):
        with contextlib.suppress(LogError):
            function(data)
    assert check_crc(data) in (True, False)


@given(RECORDS, TYPES, st.data())
@settings(max_examples=200, deadline=None)
def test_lying_batches_with_a_true_crc_raise_only_log_errors(records, kind, data) -> None:
    whole = build_batch(records, compression=kind)
    lie = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        lie[data.draw(st.integers(21, len(lie) - 1))] = data.draw(st.integers(0, 255))
    from crc32c import crc32c

    lie[17:21] = crc32c(bytes(lie[21:])).to_bytes(4, "big")
    with contextlib.suppress(LogError):
        decode(bytes(lie), 1 << 20)
    with pytest.raises(CorruptBatchError):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=300_000) | st.integers(0, 300_000).map(bytes), TYPES)
@settings(max_examples=40, deadline=None)
def test_compression_round_trips(data, kind) -> None:
    assert decompress(kind, compress(kind, data)) == data


@pytest.mark.parametrize("kind", [kind for kind in Compression if kind])
def test_a_bomb_is_refused(kind) -> None:
    bomb = compress(kind, bytes(5 << 20))
    with pytest.raises(RecordTooLargeError):
        decompress(kind, bomb, 1 << 20)
    assert len(decompress(kind, bomb, 5 << 20)) == 5 << 20


@given(TYPES.filter(bool), st.binary(max_size=120))
@settings(max_examples=200, deadline=None)
def test_garbage_streams_raise_only_log_errors(kind, data) -> None:
    for stream in (data, compression_module.XERIAL_HEADER + data, compress(kind, b"hello" * 9)[:-2] + data):
        with contextlib.suppress(LogError):
            decompress(kind, stream, 1 << 16)


def test_foreign_streams_are_read() -> None:
    """librdkafka writes raw snappy; cramjam's own LZ4 frames have dependent blocks; gzip may be joined."""
    text = b"a record " * 5000
    assert decompress(Compression.SNAPPY, bytes(cramjam.snappy.compress_raw(text))) == text
    assert decompress(Compression.LZ4, bytes(cramjam.lz4.compress(text))) == text
    assert compress(Compression.LZ4, text)[4] == 0x60  # version 1, blocks independent: all that Java accepts
    with pytest.raises(CorruptBatchError):
        decompress(5, text)


def test_end_txn_marker() -> None:
    data = build_end_txn_marker(ControlRecordType.COMMIT, producer_id=9, producer_epoch=1, coordinator_epoch=4, timestamp_ms=NOW)
    header = read_header(data)
    assert header.is_control_batch
    assert header.is_transactional
    assert header.base_sequence == -1
    assert decode(data)[0].key == b"\x00\x00\x00\x01"
    assert read_end_txn_marker(data) == EndTxnMarker(ControlRecordType.COMMIT, 4)


def test_fact_09_a_batch_can_be_emptied_and_keeps_offsets_and_sequence() -> None:
    data = assign(batch(b"a", b"b", b"c", producer=(7, 0, 40)), 100, 2)
    empty = rebuild_batch(read_header(data), [])
    header = read_header(empty)
    assert decode(empty) == []
    assert (header.base_offset, header.last_offset, header.last_sequence) == (100, 102, 42)
    kept = rebuild_batch(read_header(data), decode(data)[1:2], delete_horizon_ms=NOW + 5)
    assert read_header(kept).delete_horizon_ms == NOW + 5
    assert [(r.offset, r.timestamp_ms, r.value) for r in decode(kept)] == [(101, NOW, b"b")]


def test_sequences_wrap() -> None:
    assert increment_sequence(2**31 - 1, 1) == 0
    assert increment_sequence(2**31 - 2, 3) == 1
