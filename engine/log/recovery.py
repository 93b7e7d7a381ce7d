"""Opening a log from its files: Kafka's ``LogLoader``.

After a clean stop the batches' headers and the index files are read. After any other stop, the segments from the
recovery point on are scanned: each batch's CRC is checked, the log is cut at the first bad one, later segments go,
and the indexes are rebuilt from the log, never the other way round. Producer state and leader epochs are then brought
in line with what is left.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.log.config import LogConfig
from engine.log.errors import CorruptBatchError, LogError
from engine.log.leader_epochs import FILE_NAME, LeaderEpochFileCache
from engine.log.partition_log import PartitionLog
from engine.log.record_batch import BatchHeader, check_structure, read_header
from engine.log.results import RecoveryReport
from engine.log.segment import MAX_RELATIVE_OFFSET, BatchEntry, Segment, split_batches
from engine.log.swap import complete_swaps
from engine.sim.disk import Disk, DiskFullError


@dataclass(slots=True)
class _Tally:
    segments: int = 0
    batches: int = 0
    truncated: int = 0
    indexes: int = 0
    reason: str = ""


def load(
    disk: Disk,
    directory: str,
    config: LogConfig,
    now_ms: int,
    *,
    clean: bool,
    recovery_point: int,
    log_start_offset: int,
) -> PartitionLog:
    """The log in ``directory``, or a new one. Raises LogError(KAFKA_STORAGE_ERROR) on a full disk."""
    try:
        return _load(
            disk,
            directory,
            config,
            now_ms,
            clean=clean,
            recovery_point=recovery_point,
            log_start_offset=log_start_offset,
        )
    except DiskFullError as error:
        raise LogError("KAFKA_STORAGE_ERROR", f"no room for {error}") from None


def _load(
    disk: Disk,
    directory: str,
    config: LogConfig,
    now_ms: int,
    *,
    clean: bool,
    recovery_point: int,
    log_start_offset: int,
) -> PartitionLog:
    complete_swaps(disk, directory)
    bases = [int(path[-24:-4]) for path in disk.listing(directory + "/") if path.endswith(".log")]
    if not bases:
        for path in disk.listing(directory + "/"):
            disk.delete(path)
        log = PartitionLog.empty(directory, config, disk, log_start_offset, now_ms)
        log.recovery = RecoveryReport(clean)
        return log
    segments = [Segment.new(directory, base, now_ms) for base in bases]
    epochs = LeaderEpochFileCache.load(f"{directory}/{FILE_NAME}", disk)
    log = PartitionLog(directory, config, epochs, [], log_start_offset, bases[0], recovery_point)
    tally = _Tally()
    first_recovered = -1
    for index, segment in enumerate(segments):
        upper = bases[index + 1] if index + 1 < len(bases) else None
        recover = not clean and (upper is None or upper > recovery_point)
        intact = not recover and _load_segment(segment, disk, now_ms, config)
        cut = 0
        if not intact:
            if first_recovered < 0:
                first_recovered = segment.base_offset
            cut = _recover_segment(segment, log.log_end_offset, epochs, disk, now_ms, config, tally)
        log.segments.append(segment)
        end = segment.batches[-1].last_offset + 1 if segment.batches else segment.base_offset
        log.log_end_offset = max(log.log_end_offset, end)
        if cut:
            for later in segments[index + 1 :]:
                tally.truncated += disk.size(later.log_path)
                later.delete(disk)
            break
    if log.log_end_offset < log_start_offset:
        log.truncate_fully_and_start_at(log_start_offset, disk, now_ms)
    log.log_start_offset = max(log_start_offset, log.segments[0].base_offset)
    epochs.truncate_from_end(log.log_end_offset, disk)
    epochs.truncate_from_start(log.log_start_offset, disk)
    log.recovery_point = log.log_end_offset if not clean else min(max(recovery_point, log.log_start_offset), log.log_end_offset)
    limit = log.log_end_offset if first_recovered < 0 else first_recovered
    log.rebuild_producer_state(now_ms, disk, snapshot_limit=limit, indexed_below=limit)
    if not clean or first_recovered >= 0:
        for segment in log.segments:
            segment.flush(disk)
    log.recovery = RecoveryReport(clean, tally.segments, tally.batches, tally.truncated, tally.indexes, tally.reason)
    return log


def _entry(header: BatchHeader, position: int, data: bytes) -> BatchEntry:
    return BatchEntry(
        header.base_offset,
        header.last_offset,
        header.max_timestamp,
        position,
        len(data),
        header.partition_leader_epoch,
        header.record_count,
        header.attributes,
        header.producer_id,
        data,
    )


def _load_segment(segment: Segment, disk: Disk, now_ms: int, config: LogConfig) -> bool:
    """Headers and index files only. False where an index is lost or does not fit, or a header makes no sense: then
    recover.
    """
    try:
        entries: list[BatchEntry] = []
        position, expected = 0, segment.base_offset
        for data in split_batches(disk.chunks(segment.log_path)):
            header = read_header(data)
            if header.size != len(data) or header.last_offset_delta < 0:
                return False
            if header.base_offset < expected or header.last_offset - segment.base_offset > MAX_RELATIVE_OFFSET:
                return False
            entries.append(_entry(header, position, data))
            position += len(data)
            expected = header.last_offset + 1
        segment.offset_index.load(disk, position)
        segment.time_index.load(disk)
    except (LogError, KeyError):
        return False
    for entry in entries:
        segment.batches.append(entry)
        if entry.max_timestamp > segment.max_timestamp:
            segment.max_timestamp, segment.offset_of_max_timestamp = entry.max_timestamp, entry.last_offset
    segment.size = position
    segment.last_modified_ms = now_ms
    segment.first_timestamp = entries[0].max_timestamp if entries else -1
    segment.load_aborted_txns(disk)
    return True


def _recover_segment(
    segment: Segment,
    expected: int,
    epochs: LeaderEpochFileCache,
    disk: Disk,
    now_ms: int,
    config: LogConfig,
    tally: _Tally,
) -> int:
    """Checks every batch, cuts at the first bad one, rebuilds the indexes; returns the bytes cut."""
    fresh = Segment.new(segment.log_path[:-25], segment.base_offset, now_ms)
    segment.offset_index, segment.time_index = fresh.offset_index, fresh.time_index
    for path in (segment.offset_index.path, segment.time_index.path, segment.txn_index_path):
        if disk.exists(path):
            disk.delete(path)
    segment.create_files(disk)
    tally.segments += 1
    tally.indexes += 1
    expected = max(expected, segment.base_offset)
    for data in split_batches(disk.chunks(segment.log_path)):
        try:
            header = check_structure(data)
            if header.base_offset < expected:
                raise CorruptBatchError(f"base offset {header.base_offset}, expected {expected}")
            if header.last_offset - segment.base_offset > MAX_RELATIVE_OFFSET:
                raise CorruptBatchError(f"offset {header.last_offset} is out of the segment's reach")
        except CorruptBatchError as error:
            tally.reason = error.reason
            break
        tally.batches += 1
        segment.add(_entry(header, segment.size, data), disk, now_ms, config.index_interval_bytes)
        if header.partition_leader_epoch > epochs.latest_epoch:
            epochs.assign(header.partition_leader_epoch, header.base_offset, disk)
        expected = header.last_offset + 1
    cut = disk.size(segment.log_path) - segment.size
    if cut:
        disk.truncate(segment.log_path, segment.size)
        tally.truncated += cut
    segment.on_become_inactive(disk)
    return cut
