"""Compaction: of each key only the latest record stays, at the offset that it always had. Kafka's ``Cleaner``.

First the dirty part is read into a map from key to latest offset. Then every segment up to there is copied, small
neighbours into one, without the records that the map supersedes, and the copy takes the old files' place. Nothing that
is not decided is looked at: the dirty part ends at the last stable offset.

What is kept although it could go: a tombstone until its delete horizon (the first clean that keeps it stamps it on the
batch, KIP-534); a transaction marker until its records are gone and then as long; the last batch of each producer that
is remembered, emptied, for the sake of its sequence number; and the last batch of the part that was cleaned, so that
the log's offsets stay known.

A clean takes time, so it goes in steps; between them its state is a ``Cleaning``, plain data like everything else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.log.cleaned_transactions import CleanedTransactions
from engine.log.compression import decompress
from engine.log.key_scan import scan_keys
from engine.log.partition_log import PartitionLog
from engine.log.producer_state import ProducerStateEntry
from engine.log.record_batch import (
    CONTROL_MASK,
    DELETE_HORIZON_MASK,
    HEADER_BYTES,
    BatchHeader,
    Record,
    decode_records,
    read_header,
    rebuild_batch,
)
from engine.log.segment import MAX_RELATIVE_OFFSET, BatchEntry, Segment
from engine.log.swap import CLEANED, swap_files
from engine.sim.disk import Disk

MAP_ENTRIES = int(128 * 1024 * 1024 / 24 * 0.9)
"""Keys that fit ``log.cleaner.dedupe.buffer.size`` (24 bytes each) up to ``log.cleaner.io.buffer.load.factor``."""


@dataclass(slots=True)
class CleanerStats:
    """``tombstones_removed``: those whose time was over. ``bytes_mapped`` were read to build the offset map."""

    bytes_mapped: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    records_read: int = 0
    records_written: int = 0
    tombstones_removed: int = 0
    segments_read: int = 0
    segments_written: int = 0


@dataclass(slots=True)
class Cleaning:
    """One clean under way. ``offset_map``: key → its latest offset; ``end_offset``: behind the last offset that it covers.
    ``groups``: the base offsets of the segments that are still to be joined, group by group; ``cleaned``: the copy of the
    first group, not yet in its place.
    """

    first_dirty_offset: int
    first_uncleanable_offset: int
    began_ms: int
    end_offset: int = 0
    offset_map: dict[bytes, int] = field(default_factory=dict)
    groups: list[tuple[int, ...]] = field(default_factory=list)
    transactions: CleanedTransactions = field(default_factory=CleanedTransactions)
    cleaned: Segment | None = None
    stats: CleanerStats = field(default_factory=CleanerStats)


def clean(
    log: PartitionLog, first_dirty: int, first_uncleanable: int, now_ms: int, disk: Disk, map_entries: int = MAP_ENTRIES
) -> Cleaning:
    """A whole clean without a pause. Its ``end_offset`` is the next first dirty offset."""
    cleaning = begin(log, first_dirty, first_uncleanable, now_ms, map_entries)
    while cleaning.groups:
        copy_group(log, cleaning, disk)
        swap_group(log, cleaning, disk)
    return cleaning


def begin(log: PartitionLog, first_dirty: int, first_uncleanable: int, now_ms: int, map_entries: int = MAP_ENTRIES) -> Cleaning:
    """Builds the offset map and forms the groups; none where not even the first batch's keys fit the map. Raises LogError
    where a batch cannot be read.
    """
    cleaning = Cleaning(first_dirty, first_uncleanable, now_ms, first_dirty)
    _build_map(log, cleaning, map_entries)
    if cleaning.end_offset > first_dirty:
        cleaning.groups = _group(log, cleaning)
    return cleaning


# -- the offset map -----------------------------------------------------------------------------------------------------


def _build_map(log: PartitionLog, cleaning: Cleaning, map_entries: int) -> None:
    """``Cleaner.buildOffsetMap``: the whole dirty part, or as much of it as has room."""
    start, end = cleaning.first_dirty_offset, cleaning.first_uncleanable_offset
    transactions = CleanedTransactions()
    transactions.add_aborted(log.aborted_txns(start, end))
    segments = log.segments
    for index, segment in enumerate(segments):
        upper = segments[index + 1].base_offset if index + 1 < len(segments) else log.log_end_offset
        if upper <= start:
            continue
        if segment.base_offset >= end:
            break
        if not _map_segment(segment, cleaning, transactions, map_entries):
            break
        cleaning.end_offset = min(upper, end)  # gaps at the segment's end are covered too


def _map_segment(segment: Segment, cleaning: Cleaning, transactions: CleanedTransactions, map_entries: int) -> bool:
    """False where the map is full; ``end_offset`` then lies behind the last batch that fitted."""
    start, offsets = cleaning.first_dirty_offset, cleaning.offset_map
    mapped = 0
    for entry in segment.batches.iterate_from(segment.find(start)):
        mapped += entry.size
        if entry.attributes & CONTROL_MASK:
            transactions.on_marker(entry)
        elif not transactions.on_batch(entry) and entry.record_count:
            base = entry.base_offset
            for delta, key, _ in scan_keys(read_header(entry.data), entry.data):
                if key is not None and base + delta >= start:
                    if len(offsets) >= map_entries:
                        cleaning.stats.bytes_mapped += mapped
                        return False
                    offsets[key] = base + delta
        cleaning.end_offset = entry.last_offset + 1
    cleaning.stats.bytes_mapped += mapped
    return True


def _records(entry: BatchEntry) -> list[Record]:
    header = read_header(entry.data)
    return decode_records(header, decompress(header.compression, entry.data[HEADER_BYTES:]))


# -- groups -------------------------------------------------------------------------------------------------------------


def _group(log: PartitionLog, cleaning: Cleaning) -> list[tuple[int, ...]]:
    """Neighbours that fit one segment, log and indexes, as they are before the clean (``groupSegmentsBySize``)."""
    config = log.config
    segments = [segment for segment in log.segments if segment.base_offset < cleaning.end_offset]
    groups: list[list[Segment]] = []
    size = index_size = time_index_size = 0
    for number, segment in enumerate(segments):
        index_bytes, time_index_bytes = segment.offset_index.size_bytes, segment.time_index.size_bytes
        following = segments[number + 1].base_offset if number + 1 < len(segments) else cleaning.first_uncleanable_offset
        if (
            groups
            and size + segment.size <= config.segment_bytes
            and index_size + index_bytes <= config.segment_index_bytes
            and time_index_size + time_index_bytes <= config.segment_index_bytes
            and (not segment.size or following - 1 - groups[-1][0].base_offset <= MAX_RELATIVE_OFFSET)
        ):
            groups[-1].append(segment)
        else:
            groups.append([segment])
            size = index_size = time_index_size = 0
        size, index_size, time_index_size = size + segment.size, index_size + index_bytes, time_index_size + time_index_bytes
    return [tuple([segment.base_offset for segment in group]) for group in groups]


def group_segments(log: PartitionLog, cleaning: Cleaning) -> list[Segment]:
    """The segments of the next group; empty where the log is no longer what it was."""
    wanted = cleaning.groups[0]
    active = log.active_segment.base_offset
    found = [segment for segment in log.segments if wanted[0] <= segment.base_offset <= wanted[-1]]
    bases = tuple([segment.base_offset for segment in found])
    return found if bases == wanted and wanted[-1] < active else []


# -- copying ------------------------------------------------------------------------------------------------------------


def copy_group(log: PartitionLog, cleaning: Cleaning, disk: Disk) -> int:
    """Writes the next group's copy under ``.cleaned`` names; returns the bytes read and written.

    Raises LogError where a batch cannot be read, DiskFullError.
    """
    segments = group_segments(log, cleaning)
    cleaned = Segment.new(log.directory, segments[0].base_offset, segments[0].created_ms, CLEANED)
    for path in (cleaned.log_path, cleaned.offset_index.path, cleaned.time_index.path, cleaned.txn_index_path):
        if disk.exists(path):
            disk.delete(path)
    cleaned.create_files(disk)
    cleaning.cleaned = cleaned
    stats = cleaning.stats
    before = stats.bytes_read + stats.bytes_written
    producers = log.producer_state.producers
    for number, segment in enumerate(segments):
        upper = segments[number + 1].base_offset if number + 1 < len(segments) else _next_offset(segment)
        cleaning.transactions.add_aborted(log.aborted_txns(segment.base_offset, upper))
        _copy_segment(log, segment, cleaned, cleaning, producers, disk)
    cleaned.on_become_inactive(disk)
    cleaned.last_modified_ms = segments[-1].last_modified_ms
    stats.segments_read += len(segments)
    stats.segments_written += 1
    return stats.bytes_read + stats.bytes_written - before


def _next_offset(segment: Segment) -> int:
    return segment.batches[-1].last_offset + 1 if len(segment.batches) else segment.base_offset


def _copy_segment(
    log: PartitionLog,
    source: Segment,
    target: Segment,
    cleaning: Cleaning,
    producers: dict[int, ProducerStateEntry],
    disk: Disk,
) -> None:
    """``Cleaner.cleanInto``: batch by batch, whole where all of its records stay."""
    interval = log.config.index_interval_bytes
    stats = cleaning.stats
    for entry in source.batches:
        stats.records_read += entry.record_count
        data = _retained(log, entry, target, cleaning, producers, disk)
        if data is None:
            continue
        max_timestamp, count, attributes = entry.max_timestamp, entry.record_count, entry.attributes
        if data is not entry.data:
            header = read_header(data)
            max_timestamp, count, attributes = header.max_timestamp, header.record_count, header.attributes
        kept = BatchEntry(
            entry.base_offset, entry.last_offset, max_timestamp, target.size, len(data), entry.leader_epoch, count, attributes,
            entry.producer_id, data,
        )  # fmt: skip
        disk.append(target.log_path, data)
        target.add(kept, disk, source.last_modified_ms, interval)
        stats.records_written += count
        stats.bytes_written += kept.size
    stats.bytes_read += source.size


def _retained(
    log: PartitionLog,
    entry: BatchEntry,
    target: Segment,
    cleaning: Cleaning,
    producers: dict[int, ProducerStateEntry],
    disk: Disk,
) -> bytes | None:
    """What stays of a batch: the batch itself, a smaller one, or None."""
    control = bool(entry.attributes & CONTROL_MASK)
    header = read_header(entry.data)
    if control:
        discardable, aborted = cleaning.transactions.on_marker(entry)
        if aborted is not None:
            target.add_aborted_txn(aborted, disk)
        horizon = header.delete_horizon_ms
        discard = discardable and horizon is not None and horizon <= cleaning.began_ms
    else:
        discardable = discard = cleaning.transactions.on_batch(entry)
    keep_empty = entry.last_offset + 1 == cleaning.first_uncleanable_offset or (
        entry.producer_id >= 0 and _is_last_of_producer(header, producers)
    )
    if discard:
        return rebuild_batch(header, ()) if keep_empty else None
    if control:
        return _with_horizon(log, entry, header, cleaning) if discardable and entry.record_count else _whole(entry, keep_empty)
    if not entry.record_count:
        return _whole(entry, keep_empty)
    return _filtered(log, entry, header, cleaning, keep_empty)


def _whole(entry: BatchEntry, keep_empty: bool) -> bytes | None:
    return entry.data if entry.record_count or keep_empty else None


def _with_horizon(log: PartitionLog, entry: BatchEntry, header: BatchHeader, cleaning: Cleaning) -> bytes:
    """The marker of a transaction whose records are gone waits from now on, if it does not already."""
    if entry.attributes & DELETE_HORIZON_MASK:
        return entry.data
    return rebuild_batch(header, _records(entry), delete_horizon_ms=cleaning.began_ms + log.config.delete_retention_ms)


def _is_last_of_producer(header: BatchHeader, producers: dict[int, ProducerStateEntry]) -> bool:
    """It holds the last sequence number of a producer that is remembered, or else its newest epoch."""
    producer = producers.get(header.producer_id)
    if producer is None:
        return False
    if producer.batches:
        return header.last_offset == producer.batches[-1].last_offset
    return header.is_control_batch and header.producer_epoch == producer.producer_epoch


def _filtered(log: PartitionLog, entry: BatchEntry, header: BatchHeader, cleaning: Cleaning, keep_empty: bool) -> bytes | None:
    """Of each key the latest record; a tombstone until the horizon of its batch."""
    offsets, end, base = cleaning.offset_map, cleaning.end_offset, entry.base_offset
    horizon = header.delete_horizon_ms
    overdue = horizon is not None and horizon <= cleaning.began_ms
    kept: list[int] = []
    tombstones = False
    for delta, key, tombstone in scan_keys(header, entry.data):
        offset = base + delta
        if offset < end:
            if key is None or offsets.get(key, -1) > offset:
                continue
            if tombstone and overdue:
                cleaning.stats.tombstones_removed += 1
                continue
        tombstones = tombstones or tombstone
        kept.append(offset)
    if not kept:
        return rebuild_batch(header, ()) if keep_empty else None
    stamp = cleaning.began_ms + log.config.delete_retention_ms if tombstones and horizon is None else None
    if len(kept) == entry.record_count and stamp is None:
        return entry.data
    wanted = frozenset(kept)
    return rebuild_batch(header, [record for record in _records(entry) if record.offset in wanted], delete_horizon_ms=stamp)


# -- taking their place -------------------------------------------------------------------------------------------------


def swap_group(log: PartitionLog, cleaning: Cleaning, disk: Disk) -> None:
    """The copy takes the place of its group, on the disk and in the log."""
    old = group_segments(log, cleaning)
    cleaned = cleaning.cleaned
    assert cleaned is not None
    assert old
    cleaned.flush(disk)
    for _ in swap_files(disk, log.directory, cleaned, old):
        pass
    cleaned.take_names(log.directory)
    position = [segment.base_offset for segment in log.segments].index(old[0].base_offset)
    log.segments[position : position + len(old)] = [cleaned]
    cleaning.cleaned = None
    del cleaning.groups[0]


def abort(cleaning: Cleaning, disk: Disk) -> None:
    """The log is cut or goes away: the copy is dropped, what was swapped stays."""
    if cleaning.cleaned is not None:
        cleaning.cleaned.delete_files(disk)
        cleaning.cleaned = None
    cleaning.groups = []
