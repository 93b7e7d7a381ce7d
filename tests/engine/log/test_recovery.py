"""Recovery: torn tails at every byte, bit rot, lost indexes, power loss, and what survives of producers and epochs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.log.checkpoint_file import read_offsets, write_offsets
from engine.log.config import LogConfig
from engine.log.errors import LogError
from engine.log.log_validator import AppendOrigin
from engine.log.partition_log import PartitionLog
from engine.log.record_batch import ControlRecordType, build_end_txn_marker
from engine.sim.checkpoint import copy_tree
from engine.sim.disk import Disk
from engine.sim.rng import Stream
from tests.engine.log.helpers import NOW, batch, new_log, reopen, values_of

SMALL = LogConfig(segment_bytes=400, index_interval_bytes=100)


def filled(config: LogConfig = SMALL, count: int = 20) -> tuple[PartitionLog, Disk]:
    log, disk = new_log(config)
    for i in range(count):
        log.append_as_leader(batch(b"%d" % i, timestamp=NOW + i, producer=(1, 0, i)), i // 8, NOW, disk)
    return log, disk


def test_fact_04_a_tail_torn_at_any_byte_is_cut_at_the_last_whole_batch() -> None:
    log, disk = filled(count=6)
    path, position = log.active_segment.log_path, log.active_segment.batches[-1].position
    for size in range(position, disk.size(path)):
        torn = copy_tree(disk)
        torn.truncate(path, size)
        found = reopen(log, torn, clean=False, recovery_point=0)
        assert values_of(found) == [(i, b"%d" % i) for i in range(5)]
        assert found.recovery is not None
        assert (found.recovery.batches_scanned, found.recovery.bytes_truncated) == (5, size - position)
        assert torn.size(path) == position
        assert found.append_as_leader(batch(b"5", producer=(1, 0, 5)), 3, NOW, torn).first_offset == 5


def test_fact_04_the_log_is_cut_at_the_first_bad_crc_and_later_segments_go() -> None:
    log, disk = filled()
    assert len(log.segments) > 3
    segment = log.segments[1]
    disk.flip_byte(segment.log_path, segment.batches[1].position + 65)
    found = reopen(log, disk, clean=False, recovery_point=0)
    end = segment.batches[1].base_offset
    assert values_of(found) == [(i, b"%d" % i) for i in range(end)]
    assert found.recovery is not None
    assert found.recovery.reason == "the CRC is wrong"
    assert found.log_end_offset == end
    assert len(found.segments) == 2
    assert found.leader_epochs.latest_epoch == 0
    assert found.latest_epoch == 0


def test_fact_04_only_what_lies_behind_the_recovery_point_is_scanned() -> None:
    log, disk = filled()
    found = reopen(log, disk, clean=False)
    assert found.recovery is not None
    assert found.recovery.batches_scanned == len(log.active_segment.batches)
    assert found.recovery.segments_scanned == 1
    clean = reopen(log, disk, clean=True)
    assert clean.recovery is not None
    assert clean.recovery.batches_scanned == 0


def test_fact_04_lost_or_damaged_indexes_are_rebuilt_from_the_log() -> None:
    log, disk = filled()
    log.close_clean(disk)
    segment = log.segments[0]
    whole = disk.read(segment.offset_index.path), disk.read(segment.time_index.path)
    disk.delete(segment.offset_index.path)
    disk.append(segment.time_index.path, b"junk")
    found = reopen(log, disk, clean=True)
    assert found.recovery is not None
    assert found.recovery.indexes_rebuilt == 1
    assert (disk.read(segment.offset_index.path), disk.read(segment.time_index.path)) == whole
    assert values_of(found) == values_of(log)


@given(st.integers(0, 2**32), st.integers(1, 30), st.booleans())
@settings(max_examples=80, deadline=None)
def test_power_loss_leaves_a_prefix_that_holds_all_that_was_flushed(seed, count, torn) -> None:
    log, disk = filled(count=count)
    flushed = log.recovery_point
    disk.lose_power(Stream(seed), torn=torn)
    found = reopen(log, disk, clean=False)
    assert found.log_end_offset >= flushed
    assert values_of(found) == [(i, b"%d" % i) for i in range(found.log_end_offset)]
    assert all(entry.start_offset < max(found.log_end_offset, 1) for entry in found.leader_epochs.entries)
    found.append_as_leader(batch(b"next", producer=(1, 0, found.log_end_offset)), 9, NOW, disk)
    again = reopen(found, disk, clean=False)
    assert values_of(again) == values_of(found)


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_bit_rot_anywhere_never_breaks_recovery(seed) -> None:
    log, disk = filled()
    stream = Stream(seed)
    paths = [path for path in disk.listing("") if disk.size(path)]
    sizes = {segment.log_path: segment.batches[0].size for segment in log.segments}
    for _ in range(1 + stream.below(3)):
        path = paths[stream.below(len(paths))]
        position = stream.below(disk.size(path))
        if path in sizes and position % sizes[path] < 16:
            continue  # offset and epoch lie outside the CRC: rot there goes unnoticed, in Kafka too (next test)
        disk.flip_byte(path, position)
    found = reopen(log, disk, clean=False, recovery_point=0)
    values = values_of(found)
    assert values == values_of(log)[: len(values)]


@given(st.integers(0, 15), st.booleans())
@settings(max_examples=32, deadline=None)
def test_rot_outside_of_the_crc_does_not_break_recovery_either(position, clean) -> None:
    log, disk = filled()
    log.close_clean(disk)
    segment = log.segments[1]
    disk.flip_byte(segment.log_path, segment.batches[1].position + position)
    found = reopen(log, disk, clean=clean, recovery_point=0)
    assert [value for _, value in values_of(found)][:6] == [b"%d" % i for i in range(6)]
    found.append_as_leader(batch(b"next"), 9, NOW, disk)


def test_fact_32_a_killed_broker_still_knows_its_producers_last_five_batches() -> None:
    log, disk = filled()
    found = reopen(log, disk, clean=False)
    assert found.append_as_leader(batch(b"19", producer=(1, 0, 19)), 2, NOW, disk).duplicate
    with pytest.raises(LogError, match="OUT_OF_ORDER"):
        found.append_as_leader(batch(b"x", producer=(1, 0, 25)), 2, NOW, disk)


def test_after_a_clean_stop_the_snapshot_holds_the_last_batch() -> None:
    log, disk = filled()
    log.close_clean(disk)
    found = reopen(log, disk, clean=True)
    assert [b.last_sequence for b in found.producer_state.producers[1].batches] == [19]
    assert found.append_as_leader(batch(b"19", producer=(1, 0, 19)), 2, NOW, disk) == (19, 19, NOW + 19, True)


def test_truncation_takes_the_producers_back() -> None:
    log, disk = filled()
    log.truncate_to(10, disk, NOW)
    assert log.producer_state.producers[1].last_sequence == 9
    assert not log.append_as_leader(batch(b"10", producer=(1, 0, 10)), 2, NOW, disk).duplicate
    assert log.end_offset_for_epoch(0) == (0, 8)


def test_fact_37_open_transactions_and_aborted_ones_survive_restart_and_truncation() -> None:
    log, disk = new_log(SMALL)
    aborted: list[tuple[int, int, int, int]] = []
    for i in range(10):
        first = log.append_as_leader(batch(b"t", producer=(i, 0, 0), transactional=True), 0, NOW, disk).first_offset
        assert log.last_stable_offset(first + 1) == first
        marker = build_end_txn_marker(
            ControlRecordType.ABORT if i % 2 else ControlRecordType.COMMIT,
            producer_id=i, producer_epoch=0, coordinator_epoch=0, timestamp_ms=NOW,
        )  # fmt: skip
        last = log.append_as_leader(marker, 0, NOW, disk, AppendOrigin.COORDINATOR).last_offset
        if i % 2:
            aborted.append((i, first, last, last + 1))
        assert log.last_stable_offset(last) == first  # the marker is not below the high watermark
        assert log.last_stable_offset(last + 1) == last + 1
    log.append_as_leader(batch(b"open", producer=(99, 0, 0), transactional=True), 0, NOW, disk)
    assert [tuple(t) for t in log.aborted_txns(0, 100)] == aborted
    for clean in (True, False):
        twin = copy_tree(disk)
        state = copy_tree(log)
        if clean:
            state.close_clean(twin)
        found = reopen(state, twin, clean=clean, recovery_point=None if clean else 0)
        assert [tuple(t) for t in found.aborted_txns(0, 100)] == aborted
        assert found.last_stable_offset(21) == 20
        assert [tuple(t) for t in found.aborted_txns(6, 9)] == [aborted[1]]
    log.truncate_to(12, disk, NOW)
    assert [tuple(t) for t in log.aborted_txns(0, 100)] == aborted[:3]
    assert log.last_stable_offset(12) == 12


def test_offset_checkpoints() -> None:
    disk = Disk()
    offsets = {("orders", 1): 5, ("a", 0): 2**40}
    write_offsets(disk, "recovery-point-offset-checkpoint", offsets)
    assert disk.read("recovery-point-offset-checkpoint") == b"0\n2\na 0 1099511627776\norders 1 5\n"
    assert read_offsets(disk, "recovery-point-offset-checkpoint") == offsets
    assert read_offsets(disk, "missing") == {}
    disk.replace("bad", b"0\n3\na 0 1\n")
    with pytest.raises(LogError, match="KAFKA_STORAGE_ERROR"):
        read_offsets(disk, "bad")
