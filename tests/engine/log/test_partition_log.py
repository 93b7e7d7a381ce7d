"""The partition log against a plain list, at its edges, and what the facts say of appends, rolls, retention and
reads.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.log.compression import Compression
from engine.log.config import LogConfig
from engine.log.errors import LogError, UnexpectedAppendOffsetError
from engine.log.log_validator import AppendOrigin
from engine.log.partition_log import PartitionLog
from engine.log.record_batch import build_batch, decode, read_header
from engine.log.segment import segment_stem
from engine.sim.checkpoint import copy_tree
from engine.sim.disk import Disk
from tests.engine.log.helpers import DIRECTORY, NOW, batch, new_log, records_of, reopen, values_of

SMALL = LogConfig(segment_bytes=400, index_interval_bytes=100)


def code_of(call) -> str:
    with pytest.raises(LogError) as caught:
        call()
    return caught.value.code


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(st.just("truncate"), st.integers(0, 6)),
        st.tuples(st.just("epoch"), st.just(1)),
        st.tuples(st.just("reopen"), st.integers(0, 1)),
        st.tuples(st.just("delete_before"), st.integers(0, 4)),
    ),
    max_size=40,
)


@given(OPERATIONS)
@settings(max_examples=120, deadline=None)
def test_a_log_behaves_as_a_list_of_batches(operations) -> None:
    log, disk = new_log(SMALL)
    follower, follower_disk = new_log(SMALL)
    model: list[tuple[int, int, int]] = []  # first offset, last offset, epoch of each batch
    end = start = 0
    epoch = 0
    for name, number in operations:
        if name == "append":
            log.append_as_leader(batch(*(b"%d" % (end + i) for i in range(number))), epoch, NOW, disk)
            model.append((end, end + number - 1, epoch))
            end += number
        elif name == "truncate":
            end = max(0, model[-number][0] if 0 < number <= len(model) else end)
            model = [entry for entry in model if entry[1] < end]
            start = min(start, end)
            log.truncate_to(end, disk)
        elif name == "epoch":
            epoch += 1
        elif name == "reopen":
            if number:
                log.close_clean(disk)
            log = reopen(log, disk, clean=bool(number))
        elif number < len(model):
            start = max(start, model[number][0])
            log.delete_records_before(start, end, disk)
            log.apply_retention(NOW, end, disk)
        assert (log.log_start_offset, log.log_end_offset) == (start, end)
        assert values_of(log) == [(o, b"%d" % o) for o in range(start, end)]
        for first, last, written in model:
            if first >= start:
                assert read_header(log.read(last, 1)[0]).base_offset == first
                assert log.leader_epochs.epoch_for_offset(first) == written
        assert log.size == sum(disk.size(segment.log_path) for segment in log.segments)
        fresh = reopen(log, copy_tree(disk), clean=True)
        assert values_of(fresh) == values_of(log)
        assert fresh.leader_epochs == log.leader_epochs
        assert [len(s.offset_index.entries) for s in fresh.segments] == [len(s.offset_index.entries) for s in log.segments]
    for segment in log.segments:
        for entry in segment.batches:
            follower.append_as_follower(entry.data, follower_disk)
    assert values_of(follower)[-max(end - start, 0) :] == values_of(log) or start == end


def test_a_copy_is_independent() -> None:
    log, disk = new_log(SMALL)
    log.append_as_leader(batch(b"a", producer=(1, 0, 0)), 0, NOW, disk)
    twin, twin_disk = copy_tree(log), copy_tree(disk)
    log.append_as_leader(batch(b"b", producer=(1, 0, 1)), 1, NOW, disk)
    assert twin.log_end_offset == 1
    assert len(records_of(twin)) == 1
    twin.append_as_leader(batch(b"c", producer=(1, 0, 1)), 2, NOW, twin_disk)
    assert [r.value for r in records_of(twin)] == [b"a", b"c"]
    assert [r.value for r in records_of(log)] == [b"a", b"b"]
    assert twin.read(0, 1)[0] is log.read(0, 1)[0]


def test_fact_01_the_leader_checks_the_crc_and_assigns_offset_and_epoch() -> None:
    log, disk = new_log()
    bad = bytearray(batch(b"a"))
    bad[-2] ^= 1
    assert code_of(lambda: log.append_as_leader(bytes(bad), 0, NOW, disk)) == "CORRUPT_MESSAGE"
    log.append_as_leader(batch(b"a", b"b"), 3, NOW, disk)
    result = log.append_as_leader(batch(b"c", compression=Compression.LZ4), 4, NOW, disk)
    assert result == (2, 2, -1, False)
    assert read_header(log.read(2, 1)[0]).partition_leader_epoch == 4


@given(st.binary(max_size=150), st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_is_appended_only_log_errors_come_out_and_nothing_changes(garbage, data) -> None:
    log, disk = new_log(LogConfig(cleanup_policy="compact"))
    whole = bytearray(batch(b"abc"))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    for candidate in (garbage, bytes(whole), bytes(whole)[:-1]):
        for call in (lambda c=candidate: log.append_as_leader(c, 0, NOW, disk),):
            before = log.log_end_offset
            try:
                call()
            except LogError:
                assert log.log_end_offset == before


def test_what_a_leader_refuses() -> None:
    log, disk = new_log(LogConfig(max_message_bytes=200))

    def append(data: bytes, **options) -> str:
        return code_of(lambda: log.append_as_leader(data, 0, NOW, disk, **options))

    assert append(batch(b"x" * 300)) == "MESSAGE_TOO_LARGE"
    assert append(batch(b"a") + batch(b"b")) == "INVALID_RECORD"
    assert append(batch(b"a")[:-1]) == "CORRUPT_MESSAGE"
    assert append(build_batch([(b"k", b"v", (), NOW)], base_offset=5)) == "INVALID_RECORD"
    assert append(build_batch([(b"k", b"v", (), NOW)], control=True)) == "INVALID_RECORD"
    assert append(build_batch([])) == "INVALID_RECORD"
    assert append(batch(b"a", producer=(4, 0, -1))) == "INVALID_RECORD"
    assert log.log_end_offset == 0
    assert log.size == 0
    big, disk = new_log(LogConfig(segment_bytes=100))
    assert code_of(lambda: big.append_as_leader(batch(b"x" * 90), 0, NOW, disk)) == "RECORD_LIST_TOO_LARGE"


def test_fact_10_a_timestamp_over_an_hour_ahead_is_refused_and_any_past_one_accepted() -> None:
    log, disk = new_log()
    hour = 3_600_000
    ahead = batch(b"a", timestamp=NOW + hour + 1)
    assert code_of(lambda: log.append_as_leader(ahead, 0, NOW, disk)) == "INVALID_TIMESTAMP"
    log.append_as_leader(batch(b"a", timestamp=NOW + hour), 0, NOW, disk)
    log.append_as_leader(batch(b"a", timestamp=0), 0, NOW, disk)
    past, disk = new_log(LogConfig(message_timestamp_before_max_ms=1000))
    behind = batch(b"a", timestamp=NOW - 1001)
    assert code_of(lambda: past.append_as_leader(behind, 0, NOW, disk)) == "INVALID_TIMESTAMP"
    stamping, disk = new_log(LogConfig(message_timestamp_type="LogAppendTime"))
    assert stamping.append_as_leader(batch(b"a", timestamp=0), 0, NOW, disk).log_append_time == NOW
    assert records_of(stamping)[0].timestamp_ms == NOW


def test_fact_07_a_compacted_topic_refuses_records_without_key() -> None:
    log, disk = new_log(LogConfig(cleanup_policy="compact"))
    assert code_of(lambda: log.append_as_leader(build_batch([(None, b"v", (), NOW)]), 0, NOW, disk)) == "INVALID_RECORD"
    log.append_as_leader(batch(b"v"), 0, NOW, disk)
    lagging = LogConfig(cleanup_policy="compact", max_compaction_lag_ms=1000)
    assert lagging.max_segment_ms == 1000


def test_compression_type_of_the_topic_recompresses() -> None:
    log, disk = new_log(LogConfig(compression_type="zstd"))
    log.append_as_leader(batch(b"a" * 500, compression=Compression.GZIP), 0, NOW, disk)
    assert read_header(log.read(0, 1)[0]).compression == Compression.ZSTD
    assert log.segments[0].batches[0].attributes & 7 == Compression.ZSTD
    assert values_of(log) == [(0, b"a" * 500)]


def test_fact_02_segments_roll_by_bytes_by_record_time_and_by_a_full_index() -> None:
    size = len(batch(b"a"))
    log, disk = new_log(LogConfig(segment_bytes=2 * size))
    for _ in range(5):
        log.append_as_leader(batch(b"a"), 0, NOW, disk)
    assert [segment.base_offset for segment in log.segments] == [0, 2, 4]
    log, disk = new_log(LogConfig(segment_ms=1000))
    for timestamp in (NOW, NOW + 1000, NOW + 1001):
        log.append_as_leader(batch(b"a", timestamp=timestamp), 0, NOW + 99_999_999, disk)
    assert [segment.base_offset for segment in log.segments] == [0, 2]
    log, disk = new_log(LogConfig(segment_index_bytes=8 * 2, index_interval_bytes=0))
    for i in range(6):
        log.append_as_leader(batch(b"a", timestamp=NOW + i), 0, NOW, disk)
    assert len(log.segments) > 1
    assert disk.size(segment_stem(DIRECTORY, 0) + ".index") <= 16


def test_index_entries_are_sparse_and_in_kafkas_binary_form() -> None:
    log, disk = new_log(LogConfig(index_interval_bytes=4096))
    for i in range(100):
        log.append_as_leader(batch(b"x" * 1000, timestamp=NOW + i), 0, NOW, disk)
    segment = log.active_segment
    entries = list(segment.offset_index.entries)
    assert 15 <= len(entries) <= 25
    raw = disk.read(segment.offset_index.path)
    assert raw[:8] == entries[0].offset.to_bytes(4, "big") + entries[0].position.to_bytes(4, "big")
    for entry in entries:
        found = segment.batches[segment.find(entry.offset)]
        assert (found.last_offset, found.position) == (entry.offset, entry.position)
    first = segment.time_index.entries[0]
    raw = disk.read(segment.time_index.path)
    assert raw[:12] == first.timestamp.to_bytes(8, "big") + first.offset.to_bytes(4, "big")
    assert segment.offset_index.lookup(entries[3].offset + 1) == entries[3]


def test_fact_03_what_was_rolled_is_flushed_and_the_active_segment_is_not() -> None:
    log, disk = new_log(LogConfig(segment_bytes=150))
    for i in range(5):
        log.append_as_leader(batch(b"%d" % i), 0, NOW, disk)
    rolled, active = log.segments[0], log.active_segment
    assert disk.files[rolled.log_path].synced == rolled.size
    assert disk.files[active.log_path].synced == 0
    assert log.recovery_point == active.base_offset
    log.flush(disk)
    assert disk.files[active.log_path].synced == active.size
    assert log.recovery_point == 5


def test_fact_05_time_retention_looks_at_the_largest_timestamp() -> None:
    log, disk = new_log(LogConfig(segment_bytes=200, retention_ms=1000))
    for i, timestamp in enumerate((NOW - 5000, NOW + 3_000_000, NOW - 5000, NOW - 5000, NOW - 5000, NOW - 5000)):
        log.append_as_leader(batch(b"%d" % i, timestamp=timestamp), 0, NOW, disk)
    bases = [segment.base_offset for segment in log.segments]
    assert log.apply_retention(NOW, log.log_end_offset, disk) == []
    assert [s.base_offset for s in log.segments] == bases
    gone = log.apply_retention(NOW + 3_002_000, log.log_end_offset, disk)
    assert len(gone) == 3
    assert log.log_start_offset == 6
    assert [path for path in disk.listing(DIRECTORY) if path.endswith(".log")] == [segment_stem(DIRECTORY, 6) + ".log"]


def test_fact_06_size_retention_leaves_at_least_retention_bytes_and_never_passes_the_high_watermark() -> None:
    size = len(batch(b"a"))
    log, disk = new_log(LogConfig(segment_bytes=size, retention_bytes=int(2.5 * size), retention_ms=-1))
    for _ in range(6):
        log.append_as_leader(batch(b"a"), 0, NOW, disk)
    assert log.apply_retention(NOW, 2, disk)[-1].base_offset == 1
    log.apply_retention(NOW, 6, disk)
    assert log.size == 3 * size
    assert log.log_start_offset == 3
    assert code_of(lambda: log.read(2, 100)) == "OFFSET_OUT_OF_RANGE"


def test_fact_06_the_active_segment_expires_only_when_all_is_below_the_high_watermark() -> None:
    log, disk = new_log(LogConfig(retention_ms=1000))
    log.append_as_leader(batch(b"a", b"b"), 0, NOW, disk)
    assert log.apply_retention(NOW + 5000, 1, disk) == []
    assert len(log.apply_retention(NOW + 5000, 2, disk)) == 1
    assert (log.log_start_offset, log.log_end_offset, log.size) == (2, 2, 0)
    assert log.append_as_leader(batch(b"c"), 0, NOW, disk).first_offset == 2


def test_fact_11_a_read_returns_the_first_batch_however_large() -> None:
    log, disk = new_log()
    for value in (b"x" * 5000, b"y", b"z"):
        log.append_as_leader(batch(value), 0, NOW, disk)
    assert len(log.read(0, 10)) == 1
    assert log.read(0, 10, min_one=False) == ()
    assert len(log.read(0, 10**6)) == 3
    assert len(log.read(0, 10**6, max_offset=2)) == 2
    assert log.read(2, 10, max_offset=2) == ()
    assert log.read(3, 10) == ()
    for offset in (-1, 4):
        assert code_of(lambda o=offset: log.read(o, 10)) == "OFFSET_OUT_OF_RANGE"


def test_a_read_in_the_middle_of_a_batch_returns_the_whole_batch() -> None:
    log, disk = new_log()
    log.append_as_leader(batch(b"a", b"b", b"c"), 0, NOW, disk)
    assert [r.offset for r in decode(log.read(1, 1)[0])] == [0, 1, 2]
    assert log.read(0, 100, max_offset=2) == ()


def test_offset_for_timestamp() -> None:
    log, disk = new_log(SMALL)
    for i in range(20):
        log.append_as_leader(batch(b"x", b"y", timestamp=NOW + 10 * i), 2, NOW, disk)
    assert log.offset_for_timestamp(NOW + 55) == (NOW + 60, 12, 2)
    assert log.offset_for_timestamp(0) == (NOW, 0, 2)
    assert log.offset_for_timestamp(NOW + 191) is None
    assert log.offset_of_max_timestamp() == (NOW + 190, 38, 2)
    log.delete_records_before(13, 40, disk)
    assert log.offset_for_timestamp(NOW + 55) == (NOW + 60, 13, 2)


def test_a_follower_takes_gaps_and_refuses_what_lies_below_its_end() -> None:
    log, disk = new_log()
    log.append_as_follower(build_batch([(b"k", b"a", (), NOW)], base_offset=0, partition_leader_epoch=1), disk)
    log.append_as_follower(build_batch([(b"k", b"b", (), NOW)], base_offset=5, partition_leader_epoch=2), disk)
    assert log.log_end_offset == 6
    assert [r.offset for r in records_of(log)] == [0, 5]
    assert log.end_offset_for_epoch(1) == (1, 5)
    with pytest.raises(UnexpectedAppendOffsetError):
        log.append_as_follower(build_batch([(b"k", b"b", (), NOW)], base_offset=3), disk)
    empty, disk = new_log()
    empty.truncate_fully_and_start_at(7, disk)
    empty.append_as_follower(build_batch([(b"k", b"%d" % i, (), NOW) for i in range(5)], base_offset=5), disk)
    assert (empty.log_start_offset, empty.log_end_offset) == (5, 10)


def test_a_full_disk_is_a_storage_error_and_changes_nothing() -> None:
    log, disk = new_log()
    log.append_as_leader(batch(b"a"), 0, NOW, disk)
    disk.capacity_bytes = disk.used_bytes + 10
    assert code_of(lambda: log.append_as_leader(batch(b"b"), 0, NOW, disk)) == "KAFKA_STORAGE_ERROR"
    assert log.log_end_offset == 1
    assert log.size == disk.size(log.active_segment.log_path)


def test_delete_removes_every_file() -> None:
    log, disk = new_log(SMALL)
    for _ in range(20):
        log.append_as_leader(batch(b"a"), 0, NOW, disk)
    log.delete(disk)
    assert disk.listing("") == []
    assert disk.used_bytes == 0


def test_delete_records_never_passes_the_high_watermark() -> None:
    log, disk = new_log()
    log.append_as_leader(batch(b"a", b"b"), 0, NOW, disk)
    assert code_of(lambda: log.delete_records_before(2, 1, disk)) == "OFFSET_OUT_OF_RANGE"
    assert log.delete_records_before(1, 1, disk) == 1
    assert log.delete_records_before(0, 1, disk) == 1


def test_config_from_kafkas_names() -> None:
    config = LogConfig.from_topic_config({"segment.bytes": "1048576", "cleanup.policy": "compact,delete", "other": "x"})
    assert config.segment_bytes == 1048576
    assert config.compact
    assert config.delete
    for wrong in ({"segment.bytes": "many"}, {"compression.type": "rar"}, {"cleanup.policy": "burn"}):
        assert code_of(lambda w=wrong: LogConfig.from_topic_config(w)) == "INVALID_CONFIG"


def test_a_coordinator_may_write_what_clients_may_not() -> None:
    log, disk = new_log()
    log.append_as_leader(batch(b"a", producer=(1, 0, 9)), 0, NOW, disk, AppendOrigin.COORDINATOR)
    log.append_as_leader(batch(b"a", producer=(1, 0, 3)), 0, NOW, disk, AppendOrigin.COORDINATOR)
    assert log.log_end_offset == 2


def test_opening_an_unknown_directory_makes_an_empty_log() -> None:
    log = PartitionLog.open(Disk(), DIRECTORY, LogConfig(), NOW, log_start_offset=4)
    assert (log.log_start_offset, log.log_end_offset) == (4, 4)
