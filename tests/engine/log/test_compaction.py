"""Compaction against a model: random keyed histories, tombstones, transactions, lags, and crashes in the middle of a clean."""

from __future__ import annotations

from itertools import islice

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.log.cleanable import cleanable
from engine.log.compaction import Cleaning, begin, clean, copy_group, group_segments, swap_group
from engine.log.compression import Compression
from engine.log.config import LogConfig
from engine.log.log_validator import AppendOrigin
from engine.log.partition_log import PartitionLog
from engine.log.record_batch import (
    ControlRecordType,
    Record,
    RecordTuple,
    build_batch,
    build_end_txn_marker,
    decode,
    read_end_txn_marker,
    read_header,
)
from engine.log.swap import swap_files
from engine.sim.disk import Disk
from engine.sim.rng import Stream
from tests.engine.log.helpers import DIRECTORY, NOW, new_log, reopen

CONFIG = LogConfig(cleanup_policy="compact", delete_retention_ms=1_000, segment_bytes=1 << 20)
PLAIN, IDEMPOTENT = -1, 10


def append(log: PartitionLog, disk: Disk, *records: tuple[str, str | None], now_ms: int = NOW, **options: object) -> None:
    given: list[RecordTuple] = [(k.encode(), None if v is None else v.encode(), (), now_ms) for k, v in records]
    log.append_as_leader(build_batch(given, **options), 0, now_ms, disk)  # type: ignore[arg-type]


def end_transaction(log: PartitionLog, disk: Disk, producer_id: int, marker: ControlRecordType, now_ms: int = NOW) -> None:
    data = build_end_txn_marker(marker, producer_id=producer_id, producer_epoch=0, coordinator_epoch=0, timestamp_ms=now_ms)
    log.append_as_leader(data, 0, now_ms, disk, AppendOrigin.COORDINATOR)


def roll(log: PartitionLog, disk: Disk, now_ms: int = NOW) -> None:
    log.roll(log.log_end_offset, now_ms, disk)


def clean_all(log: PartitionLog, disk: Disk, now_ms: int = NOW, checkpoint: int | None = None) -> Cleaning:
    found = cleanable(log, log.log_end_offset, checkpoint, now_ms)
    return clean(log, found.first_dirty_offset, found.first_uncleanable_offset, now_ms, disk)


def batches(log: PartitionLog) -> list[bytes]:
    return [entry.data for segment in log.segments for entry in segment.batches]


def records(log: PartitionLog) -> list[Record]:
    return [record for data in batches(log) if not read_header(data).is_control_batch for record in decode(data)]


def shown(log: PartitionLog) -> list[tuple[int, str, str | None]]:
    return [(r.offset, (r.key or b"").decode(), None if r.value is None else r.value.decode()) for r in records(log)]


def committed(log: PartitionLog, end: int) -> list[Record]:
    """What a read_committed consumer that begins at the log start is handed, as the Java client filters."""
    upcoming = sorted((txn.first_offset, txn.producer_id) for txn in log.aborted_txns(log.log_start_offset, end))
    aborting: set[int] = set()
    found: list[Record] = []
    for data in batches(log):
        header = read_header(data)
        if header.base_offset >= end:
            break
        while upcoming and upcoming[0][0] <= header.last_offset:
            aborting.add(upcoming.pop(0)[1])
        if header.is_control_batch:
            marker = read_end_txn_marker(data)
            if marker is not None and marker.type is ControlRecordType.ABORT:
                aborting.discard(header.producer_id)
        elif not (header.is_transactional and header.producer_id in aborting):
            found += decode(data)
    return found


# -- examples -----------------------------------------------------------------------------------------------------------


def test_of_each_key_the_latest_record_stays_at_its_own_offset() -> None:
    log, disk = new_log(CONFIG)
    append(log, disk, ("a", "1"), ("b", "1"), ("a", "2"))
    append(log, disk, ("c", "1"))
    roll(log, disk)
    append(log, disk, ("a", "3"))
    cleaning = clean_all(log, disk)
    assert shown(log) == [(1, "b", "1"), (2, "a", "2"), (3, "c", "1"), (4, "a", "3")]
    assert cleaning.end_offset == 4
    assert (log.log_start_offset, log.log_end_offset) == (0, 5)
    assert [read_header(data).last_offset for data in batches(log)] == [2, 3, 4]


def test_a_second_clean_compares_the_clean_part_with_what_came_since() -> None:
    log, disk = new_log(CONFIG)
    append(log, disk, ("a", "1"), ("b", "1"))
    roll(log, disk)
    first = clean_all(log, disk)
    append(log, disk, ("a", "2"))
    append(log, disk, ("x", "1"))
    roll(log, disk)
    second = clean_all(log, disk, checkpoint=first.end_offset)
    assert shown(log) == [(1, "b", "1"), (2, "a", "2"), (3, "x", "1")]
    assert second.stats.bytes_mapped < second.stats.bytes_read
    assert len(log.segments) == 2  # two small ones were joined, the active one stays alone


def test_a_full_map_cleans_as_far_as_it_goes() -> None:
    log, disk = new_log(CONFIG)
    for number in range(6):
        append(log, disk, (f"k{number % 3}", str(number)))
    roll(log, disk)
    cleaning = clean(log, 0, 6, NOW, disk, map_entries=2)
    assert cleaning.end_offset == 2
    assert len(shown(log)) == 6  # k0 and k1 at 0 and 1 are the latest of what was mapped
    assert clean(log, 2, 6, NOW, disk, map_entries=4).end_offset == 6
    assert [offset for offset, _, _ in shown(log)] == [3, 4, 5]


def test_groups_are_no_larger_than_a_segment_may_be() -> None:
    log, disk = new_log(msgspec.structs.replace(CONFIG, segment_bytes=300))
    for number in range(6):
        append(log, disk, (f"k{number}", "v" * 50))
        roll(log, disk)
    begun = begin(log, 0, 6, NOW)
    assert [len(group) for group in begun.groups] == [2, 2, 2]


def test_fact_08_a_tombstone_is_stamped_by_the_first_clean_and_removed_by_one_after_the_horizon() -> None:
    log, disk = new_log(CONFIG)
    append(log, disk, ("a", "1"))
    append(log, disk, ("a", None))
    append(log, disk, ("b", "1"))
    roll(log, disk)
    done = clean_all(log, disk, NOW)
    assert shown(log) == [(1, "a", None), (2, "b", "1")]
    assert [read_header(data).delete_horizon_ms for data in batches(log)] == [NOW + 1_000, None]
    assert records(log)[0].timestamp_ms == NOW  # deltas were written anew against the horizon
    clean(log, done.end_offset, 3, NOW + 999, disk)
    for after_ms, left in ((999, 2), (1_000, 1)):
        append(log, disk, ("x", str(after_ms)), now_ms=NOW + after_ms)
        roll(log, disk)
        done = clean_all(log, disk, NOW + after_ms, done.end_offset)
        assert len(shown(log)) == left + 1
    assert done.stats.tombstones_removed == 1


def test_fact_09_the_last_batch_of_a_producer_stays_empty_so_that_its_sequence_survives() -> None:
    log, disk = new_log(CONFIG)
    append(log, disk, ("a", "1"), ("a", "2"), producer_id=7, producer_epoch=0, base_sequence=40, compression=Compression.GZIP)
    append(log, disk, ("a", "3"))
    append(log, disk, ("b", "1"))
    roll(log, disk)
    clean_all(log, disk)
    assert shown(log) == [(2, "a", "3"), (3, "b", "1")]
    header = read_header(batches(log)[0])
    assert (header.record_count, header.base_offset, header.last_offset, header.last_sequence) == (0, 0, 1, 41)
    assert header.compression == 0
    assert header.base_timestamp == -1
    for path in disk.listing(DIRECTORY + "/"):
        if path.endswith(".snapshot"):
            disk.delete(path)
    found = reopen(log, disk, clean=False, recovery_point=0)
    assert found.producer_state.producers[7].last_sequence == 41


def test_markers_and_aborted_records() -> None:
    log, disk = new_log(CONFIG)
    append(log, disk, ("a", "aborted"), producer_id=1, producer_epoch=0, base_sequence=0, transactional=True)
    append(log, disk, ("b", "committed"), producer_id=2, producer_epoch=0, base_sequence=0, transactional=True)
    end_transaction(log, disk, 1, ControlRecordType.ABORT)
    end_transaction(log, disk, 2, ControlRecordType.COMMIT)
    append(log, disk, ("z", "1"), producer_id=1, producer_epoch=0, base_sequence=1)
    append(log, disk, ("z", "2"))

    def kept() -> list[tuple[int, int, int | None]]:
        return [(header.base_offset, header.record_count, header.delete_horizon_ms) for header in map(read_header, batches(log))]

    def clean_again(at_ms: int, checkpoint: int | None) -> int:
        append(log, disk, ("x", "1"), now_ms=at_ms)
        roll(log, disk)
        return clean_all(log, disk, at_ms, checkpoint).end_offset

    # 0 is gone at once, but its marker (2) was needed up to now; 4 is a producer's last batch, emptied
    end = clean_again(NOW, None)
    assert kept() == [(1, 1, None), (2, 1, None), (3, 1, None), (4, 0, None), (5, 1, None), (6, 1, None)]
    assert [r.value for r in committed(log, log.log_end_offset)] == [b"committed", b"2", b"1"]
    assert [txn.producer_id for txn in log.aborted_txns(0, 99)] == [1]
    end = clean_again(NOW + 10, end)  # nothing is left of the transaction: the marker gets its horizon
    assert kept()[1] == (2, 1, NOW + 1_010)
    assert log.aborted_txns(0, 99) == []
    end = clean_again(NOW + 1_009, end)
    assert kept()[1] == (2, 1, NOW + 1_010)
    clean_again(NOW + 1_010, end)
    assert [row[0] for row in kept()] == [1, 3, 4, 5, 9]  # the commit marker stays with its record


def test_an_aborted_record_supersedes_nothing() -> None:
    log, disk = new_log(CONFIG)
    append(log, disk, ("a", "1"))
    append(log, disk, ("a", "aborted"), producer_id=1, producer_epoch=0, base_sequence=0, transactional=True)
    end_transaction(log, disk, 1, ControlRecordType.ABORT)
    roll(log, disk)
    clean_all(log, disk)
    assert shown(log) == [(0, "a", "1")]


def test_keyless_records_from_before_the_topic_was_compacted_go() -> None:
    log, disk = new_log(msgspec.structs.replace(CONFIG, cleanup_policy="delete"))
    log.append_as_leader(build_batch([(None, b"old", (), NOW)]), 0, NOW, disk)
    append(log, disk, ("a", "1"))
    log.config = CONFIG
    roll(log, disk)
    clean_all(log, disk)
    assert shown(log) == [(1, "a", "1")]


def test_fact_07_not_the_active_segment_nor_past_the_last_stable_offset_nor_younger_than_the_lag() -> None:
    log, disk = new_log(CONFIG)
    append(log, disk, ("a", "1"))
    roll(log, disk)
    append(log, disk, ("a", "2"), producer_id=1, producer_epoch=0, base_sequence=0, transactional=True)
    roll(log, disk)
    append(log, disk, ("a", "3"))
    roll(log, disk, NOW)
    append(log, disk, ("a", "4"))
    assert cleanable(log, 4, None, NOW).first_uncleanable_offset == 1  # a transaction is open
    end_transaction(log, disk, 1, ControlRecordType.COMMIT)
    assert cleanable(log, 5, None, NOW).first_uncleanable_offset == 3  # the active segment
    assert (
        cleanable(log, 2, None, NOW).first_uncleanable_offset == 1
    )  # whole segments below the high watermark, and its transaction
    log.config = msgspec.structs.replace(CONFIG, min_compaction_lag_ms=60_000)
    assert cleanable(log, 5, None, NOW).first_uncleanable_offset == 0
    assert cleanable(log, 5, None, NOW + 60_001).first_uncleanable_offset == 3


def test_dirty_ratio_and_the_longest_lag() -> None:
    log, disk = new_log(CONFIG)
    append(log, disk, ("a", "1"))
    roll(log, disk)
    append(log, disk, ("b", "1"))
    roll(log, disk)
    found = cleanable(log, 2, 1, NOW)
    assert found.dirty_ratio == 0.5
    assert not found.is_due(0.5)
    assert found.is_due(0.49)
    assert cleanable(log, 2, 9, NOW).reset
    log.config = msgspec.structs.replace(CONFIG, max_compaction_lag_ms=500)
    assert not cleanable(log, 2, 1, NOW + 500).is_due(0.5)
    assert cleanable(log, 2, 1, NOW + 501).is_due(0.5)
    assert not cleanable(log, 2, 2, NOW + 501).is_due(0.5)


# -- crashes ------------------------------------------------------------------------------------------------------------


def dirty_log() -> tuple[PartitionLog, Disk]:
    log, disk = new_log(CONFIG)
    append(log, disk, ("t", "1"), producer_id=1, producer_epoch=0, base_sequence=0, transactional=True)
    end_transaction(log, disk, 1, ControlRecordType.ABORT)
    for number in range(9):
        append(log, disk, (f"k{number % 2}", str(number)))
        if number % 3 == 2:
            roll(log, disk)
    return log, disk


@pytest.mark.parametrize("steps", range(40))
def test_a_crash_at_any_step_of_the_swap_leaves_the_old_or_the_new_log(steps: int) -> None:
    log, disk = dirty_log()
    before = shown(log)
    twin, twin_disk = dirty_log()
    clean_all(twin, twin_disk)
    after = shown(twin)
    cleaning = begin(log, 0, 11, NOW)
    copy_group(log, cleaning, disk)
    cleaned, old = cleaning.cleaned, group_segments(log, cleaning)
    assert cleaned is not None
    cleaned.flush(disk)
    files = len([path for path in disk.listing("") if path.endswith(".cleaned")])
    for _ in islice(swap_files(disk, log.directory, cleaned, old), steps):
        pass
    found = reopen(log, disk, clean=False)
    assert shown(found) in (before, after)
    assert shown(found) == (before if steps < files else after)
    assert not [path for path in disk.listing("") if path.endswith((".cleaned", ".swap"))]
    assert found.log_end_offset == twin.log_end_offset


def test_power_lost_before_the_swap_leaves_the_old_log() -> None:
    log, disk = dirty_log()
    log.flush(disk)
    before = shown(log)
    cleaning = begin(log, 0, 11, NOW)
    copy_group(log, cleaning, disk)
    assert disk.lose_power(Stream(1), torn=True) > 0
    found = reopen(log, disk, clean=False)
    assert shown(found) == before
    swap_group(found, _copied(found, disk), disk)
    assert len(shown(found)) == 2


def _copied(log: PartitionLog, disk: Disk) -> Cleaning:
    cleaning = begin(log, 0, 11, NOW)
    copy_group(log, cleaning, disk)
    return cleaning


# -- the model ----------------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "c", "d"])
PRODUCERS = st.sampled_from([PLAIN, PLAIN, IDEMPOTENT, 1, 2])
CONTENT = st.lists(st.tuples(KEYS, st.booleans()), min_size=1, max_size=3)
CRASH_AFTER = st.one_of(st.just(-1), st.integers(0, 20))
STEPS = st.one_of(
    st.tuples(st.just("put"), PRODUCERS, CONTENT),
    st.tuples(st.just("end"), st.sampled_from([1, 2]), st.booleans()),
    st.tuples(st.just("roll"), st.just(0), st.just(0)),
    st.tuples(st.just("time"), st.just(0), st.integers(1, 1_500)),
    st.tuples(st.just("transaction"), st.sampled_from([1, 2]), st.tuples(CONTENT, st.booleans())),
    st.tuples(st.just("clean"), CRASH_AFTER, st.sampled_from([2, 3, 10**6, 10**6])),
    st.tuples(st.just("roll and clean"), CRASH_AFTER, st.sampled_from([2, 3, 10**6, 10**6])),
)


class Model:
    """What was ever written, and what became of each transaction. ``fate``: record offset → may it be read (None: undecided)."""

    def __init__(self) -> None:
        self.log, self.disk = new_log(CONFIG)
        self.now_ms = NOW
        self.checkpoint: int | None = None
        self.written: dict[int, Record] = {}
        self.fate: dict[int, bool | None] = {}
        self.sequences = {IDEMPOTENT: 0, 1: 0, 2: 0}
        self.open: dict[int, list[int]] = {}
        self.stamped: dict[int, int] = {}

    def put(self, producer: int, content: list[tuple[str, bool]]) -> None:
        first = self.log.log_end_offset
        options: dict[str, object] = {"compression": Compression(first % 2)}
        if producer >= 0:
            options.update(
                producer_id=producer, producer_epoch=0, base_sequence=self.sequences[producer], transactional=producer < IDEMPOTENT
            )
            self.sequences[producer] += len(content)
        pairs = [(key, None if tombstone else f"v{first}") for key, tombstone in content]
        append(self.log, self.disk, *pairs, now_ms=self.now_ms, **options)
        for record in decode(batches(self.log)[-1]):
            self.written[record.offset] = record
            self.fate[record.offset] = None if 0 <= producer < IDEMPOTENT else True
        if 0 <= producer < IDEMPOTENT:
            self.open.setdefault(producer, []).extend(range(first, first + len(content)))

    def end(self, producer: int, commit: bool) -> None:
        offsets = self.open.pop(producer, None)
        if offsets is None:
            return
        end_transaction(self.log, self.disk, producer, ControlRecordType(commit), self.now_ms)
        self.fate.update(dict.fromkeys(offsets, commit))

    def clean(self, crash_after: int, map_entries: int) -> None:
        """``crash_after`` disk steps of the swap the process dies (-1: never)."""
        log = self.log
        found = cleanable(log, log.log_end_offset, self.checkpoint, self.now_ms)
        assert found.first_uncleanable_offset <= min(log.last_stable_offset(log.log_end_offset), log.active_segment.base_offset)
        if not found.cleanable_bytes:
            return
        if crash_after < 0:
            cleaning = clean(log, found.first_dirty_offset, found.first_uncleanable_offset, self.now_ms, self.disk, map_entries)
            self.checkpoint = cleaning.end_offset
            self.note_stamps()
            self.check_clean_part(cleaning.end_offset)
            return
        cleaning = begin(log, found.first_dirty_offset, found.first_uncleanable_offset, self.now_ms, map_entries)
        if not cleaning.groups:
            assert map_entries <= 3
            return
        copy_group(log, cleaning, self.disk)
        assert cleaning.cleaned is not None
        cleaning.cleaned.flush(self.disk)
        for _ in islice(swap_files(self.disk, log.directory, cleaning.cleaned, group_segments(log, cleaning)), crash_after):
            pass
        producers = {number: entry.last_sequence for number, entry in log.producer_state.producers.items()}
        self.log = reopen(log, self.disk, clean=False)
        self.note_stamps()
        assert {number: entry.last_sequence for number, entry in self.log.producer_state.producers.items()} == producers

    def note_stamps(self) -> None:
        for data in batches(self.log):
            horizon = read_header(data).delete_horizon_ms
            for record in decode(data):
                if horizon is not None and record.value is None:
                    self.stamped.setdefault(record.offset, horizon)

    def check_clean_part(self, end: int) -> None:
        """No key twice below the clean point, and nothing of an aborted transaction."""
        below = [record for record in records(self.log) if record.offset < end]
        assert len({record.key for record in below}) == len(below)
        assert all(self.fate[record.offset] for record in below)

    def check(self) -> None:
        log = self.log
        found = {record.offset: record for record in records(log)}
        assert all(self.written[offset] == record for offset, record in found.items())
        assert list(found) == sorted(found)
        assert log.log_end_offset >= max(self.written, default=-1) + 1
        stable = log.last_stable_offset(log.log_end_offset)
        expected: dict[bytes | None, bytes | None] = {}
        newest: dict[bytes | None, int] = {}
        for offset, record in self.written.items():
            if self.fate[offset] and offset < stable:
                expected[record.key] = record.value
                newest[record.key] = offset
        seen: dict[bytes | None, bytes | None] = {}
        for record in committed(log, stable):
            if self.fate[record.offset] is not None:
                assert self.fate[record.offset], f"{record} was aborted"
                seen[record.key] = record.value
        for key, value in expected.items():
            offset = newest[key]
            if value is None and offset not in found:
                assert self.now_ms >= self.stamped[offset], "a tombstone went before its time"
                assert seen.get(key) is None, "a deleted key came back"
            else:
                assert seen[key] == value
                assert offset in found


@settings(max_examples=120, deadline=None)
@given(st.lists(STEPS, min_size=5, max_size=40))
def test_compaction_keeps_the_latest(steps: list[tuple[str, int, object]]) -> None:
    model = Model()
    for kind, number, more in steps:
        if kind == "put":
            model.put(number, more)  # type: ignore[arg-type]
        elif kind == "end":
            model.end(number, bool(more))
        elif kind == "roll":
            roll(model.log, model.disk, model.now_ms)
        elif kind == "time":
            model.now_ms += int(more)  # type: ignore[call-overload]
        elif kind == "transaction":
            content, commit = more  # type: ignore[misc]
            model.put(number, content)
            model.end(number, commit)
        else:
            if kind == "roll and clean":
                roll(model.log, model.disk, model.now_ms)
            model.clean(number, int(more))  # type: ignore[call-overload]
        model.check()
    expected = {number: entry.last_sequence for number, entry in model.log.producer_state.producers.items()}
    model.log = reopen(model.log, model.disk, clean=False, recovery_point=0)
    model.check()
    assert {number: entry.last_sequence for number, entry in model.log.producer_state.producers.items()} == expected
