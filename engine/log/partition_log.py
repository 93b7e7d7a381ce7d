"""One replica's log of one partition: Kafka's ``UnifiedLog`` without the high watermark, which the replica above it
keeps.

The state is a tree of plain values; the disk is handed in with each call that writes. Appending is the simulator's
hottest path: a batch's header is unpacked once, its CRC checked once, and its bytes are stored and later served as
they are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from crc32c import crc32c

from engine.log.config import LogConfig
from engine.log.errors import CorruptBatchError, LogError, UnexpectedAppendOffsetError
from engine.log.leader_epochs import FILE_NAME, EpochEndOffset, LeaderEpochFileCache
from engine.log.log_validator import AppendOrigin, HeaderFields, validate
from engine.log.producer_state import ZOMBIE_MUTANT, AbortedTxn, ProducerStateManager
from engine.log.record_batch import (
    ATTRIBUTES_OFFSET,
    CONTROL_MASK,
    HEADER,
    LOG_OVERHEAD_BYTES,
    MAGIC,
    TIMESTAMP_TYPE_MASK,
    TRANSACTIONAL_MASK,
    BatchHeader,
    EndTxnMarker,
    assign,
    assign_log_append_time,
    decode,
    read_end_txn_marker,
    read_header,
)
from engine.log.results import AppendResult, DeletedSegment, RecoveryReport, TimestampAndOffset
from engine.log.segment import BatchEntry, Segment, last_offset_of, segment_stem
from engine.sim.disk import Disk, DiskFullError

_unpack_header = HEADER.unpack_from


@dataclass(slots=True)
class PartitionLog:
    """``segments`` ascend; the last is the active one. ``recovery_point``: what lies below it was flushed."""

    directory: str
    config: LogConfig
    leader_epochs: LeaderEpochFileCache
    segments: list[Segment]
    log_start_offset: int = 0
    log_end_offset: int = 0
    recovery_point: int = 0
    producer_state: ProducerStateManager = field(default_factory=ProducerStateManager)
    recovery: RecoveryReport | None = None

    @classmethod
    def open(
        cls,
        disk: Disk,
        directory: str,
        config: LogConfig,
        now_ms: int,
        *,
        clean: bool = True,
        recovery_point: int = 0,
        log_start_offset: int = 0,
    ) -> PartitionLog:
        """A new log, or the one that lies in ``directory``; ``clean``, ``recovery_point`` and ``log_start_offset``
        are what the log directory's own files said. ``recovery`` tells what was done.
        """
        from engine.log.recovery import load  # recovery builds PartitionLogs, so it must import this module first

        return load(
            disk,
            directory,
            config,
            now_ms,
            clean=clean,
            recovery_point=recovery_point,
            log_start_offset=log_start_offset,
        )

    @classmethod
    def empty(cls, directory: str, config: LogConfig, disk: Disk, offset: int, now_ms: int) -> PartitionLog:
        log = cls(directory, config, LeaderEpochFileCache(f"{directory}/{FILE_NAME}"), [], offset, offset, offset)
        log._add_segment(offset, now_ms, disk)
        return log

    @property
    def size(self) -> int:
        return sum([segment.size for segment in self.segments])

    @property
    def active_segment(self) -> Segment:
        return self.segments[-1]

    @property
    def latest_epoch(self) -> int:
        return self.leader_epochs.latest_epoch

    # Appending

    def append_as_leader(
        self,
        batch: bytes,
        leader_epoch: int,
        now_ms: int,
        disk: Disk,
        origin: AppendOrigin = AppendOrigin.CLIENT,
        *,
        guard: int | None = None,
        transaction_version: int = 0,
    ) -> AppendResult:
        """Validates one batch, gives it offsets and this leader's epoch, and appends it.

        ``guard``: what ``ProducerStateManager.start_verification`` gave for a transactional batch; None asks for no verification.
        ``transaction_version`` is that of a marker.

        Raises LogError: CORRUPT_MESSAGE, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE,
        OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, TRANSACTION_COORDINATOR_FENCED,
        KAFKA_STORAGE_ERROR. Source: ``UnifiedLog.append``, ``LogValidator``.
        """
        try:
            fields: HeaderFields = _unpack_header(batch)
        except struct.error:
            raise CorruptBatchError(f"{len(batch)} bytes are too few for a batch") from None
        _, _, _, _, _, attributes, delta, _, max_timestamp, producer_id, _, _, count = fields
        config = self.config
        batch = validate(batch, fields, config, now_ms, origin)
        stamp = config.message_timestamp_type == "LogAppendTime"
        header = marker = None
        if producer_id >= 0:
            header = BatchHeader(*fields)
            if attributes & CONTROL_MASK:
                marker = read_end_txn_marker(batch)
                if marker is not None:
                    self.producer_state.check_marker(header, marker, transaction_version)
            else:
                duplicate = self.producer_state.check(header, from_client=not origin, mutants=config.mutants)
                if duplicate is not None:
                    return AppendResult(duplicate.first_offset, duplicate.last_offset, duplicate.timestamp, True)
                if guard is not None and attributes & TRANSACTIONAL_MASK and ZOMBIE_MUTANT not in config.mutants:
                    self.producer_state.check_verified(header, guard)
        first = self.log_end_offset
        if stamp:
            batch = assign_log_append_time(batch, first, leader_epoch, now_ms)
            max_timestamp = now_ms
            attributes |= TIMESTAMP_TYPE_MASK
        else:
            batch = assign(batch, first, leader_epoch)
        if config.compression_type != "producer":
            attributes = read_header(batch).attributes
        last = first + delta
        self._store(
            (first, last, max_timestamp, leader_epoch, count, attributes, producer_id),
            batch,
            now_ms,
            disk,
            header,
            marker,
        )
        return AppendResult(first, last, now_ms if stamp else -1, False)

    def append_as_follower(self, batch: bytes, disk: Disk, now_ms: int = 0) -> AppendResult:
        """Appends a batch as the leader gave it. Its base offset is at or (after compaction) beyond the log end.

        Raises CorruptBatchError, UnexpectedAppendOffsetError, LogError(KAFKA_STORAGE_ERROR).
        """
        try:
            fields = _unpack_header(batch)
        except struct.error:
            raise CorruptBatchError(f"{len(batch)} bytes are too few for a batch") from None
        first, length, leader_epoch, magic, crc, attributes, delta, _, max_timestamp, producer_id, _, _, count = fields
        if magic != MAGIC or length + LOG_OVERHEAD_BYTES != len(batch) or delta < 0:
            raise CorruptBatchError("not one whole batch of format v2")
        if crc != crc32c(memoryview(batch)[ATTRIBUTES_OFFSET:]):
            raise CorruptBatchError("the CRC is wrong")
        last = first + delta
        if first < self.log_end_offset:
            if last < self.log_end_offset or self.log_end_offset != self.log_start_offset:
                raise UnexpectedAppendOffsetError(first, last, self.log_end_offset)
            # The leader's log start lies in the middle of its first batch (DeleteRecords): begin with that whole batch.
            self.truncate_fully_and_start_at(first, disk, now_ms)
        header = marker = None
        if producer_id >= 0:
            header = BatchHeader(*fields)
            if attributes & CONTROL_MASK:
                marker = read_end_txn_marker(batch)
        self._store(
            (first, last, max_timestamp, leader_epoch, count, attributes, producer_id),
            batch,
            now_ms,
            disk,
            header,
            marker,
        )
        return AppendResult(first, last, -1, False)

    def _store(
        self,
        fields: tuple[int, int, int, int, int, int, int],
        batch: bytes,
        now_ms: int,
        disk: Disk,
        header: BatchHeader | None,
        marker: EndTxnMarker | None,
    ) -> None:
        first, last, max_timestamp, leader_epoch, count, attributes, producer_id = fields
        size = len(batch)
        config = self.config
        if size > config.segment_bytes:
            raise LogError("RECORD_LIST_TOO_LARGE", f"batch of {size} bytes > segment.bytes {config.segment_bytes}")
        try:
            segment = self.segments[-1]
            if segment.should_roll(
                size,
                max_timestamp,
                last,
                now_ms,
                segment_bytes=config.segment_bytes,
                max_segment_ms=config.segment_ms if config.cleanup_policy == "delete" else config.max_segment_ms,
                max_index_bytes=config.segment_index_bytes,
            ):
                segment = self.roll(max(first, self.log_end_offset), now_ms, disk)
            if leader_epoch != self.leader_epochs.latest_epoch:
                self.leader_epochs.assign(leader_epoch, first, disk)
            entry = BatchEntry(first, last, max_timestamp, segment.size, size, leader_epoch, count, attributes, producer_id, batch)
            disk.append(segment.log_path, batch)
            self.log_end_offset = last + 1
            if header is not None:
                self.update_producer_state(header, marker, first, last, max_timestamp, segment, disk)
            segment.add(entry, disk, now_ms, config.index_interval_bytes)
        except DiskFullError as error:
            raise LogError("KAFKA_STORAGE_ERROR", f"no room for {error}") from None
        if last + 1 - self.recovery_point >= config.flush_messages:
            self.flush(disk)

    def update_producer_state(
        self,
        header: BatchHeader,
        marker: EndTxnMarker | None,
        first: int,
        last: int,
        max_timestamp: int,
        segment: Segment | None,
        disk: Disk,
    ) -> None:
        """``segment`` None: a replay of what the transaction index already knows."""
        state = self.producer_state
        if marker is not None:
            completed = state.complete(header, marker, last)
            if completed is not None and completed.is_aborted and segment is not None:
                stable = state.stable_offset_after(completed)
                segment.add_aborted_txn(AbortedTxn(completed.producer_id, completed.first_offset, last, stable), disk)
        elif not header.is_control_batch:
            state.update(header, first, last, max_timestamp)

    def roll(self, base_offset: int, now_ms: int, disk: Disk) -> Segment:
        """A new active segment; the old one is flushed and the producers' state written next to it.

        Raises LogError(KAFKA_STORAGE_ERROR). A segment without batches at that same offset stays the active one.
        """
        if self.segments[-1].base_offset == base_offset and not self.segments[-1].size:
            return self.segments[-1]
        try:
            self.segments[-1].on_become_inactive(disk)
            disk.replace(segment_stem(self.directory, base_offset) + ".snapshot", self.producer_state.encode_snapshot())
            self._add_segment(base_offset, now_ms, disk)
        except DiskFullError as error:
            raise LogError("KAFKA_STORAGE_ERROR", f"no room for {error}") from None
        self._flush_below(base_offset, disk)
        return self.segments[-1]

    def _add_segment(self, base_offset: int, now_ms: int, disk: Disk) -> None:
        segment = Segment.new(self.directory, base_offset, now_ms)
        segment.create_files(disk)
        self.segments.append(segment)

    def assign_epoch_start_offset(self, leader_epoch: int, disk: Disk) -> None:
        """A new leader notes that its epoch begins at the log end."""
        self.leader_epochs.assign(leader_epoch, self.log_end_offset, disk)

    # Reading

    def read(self, offset: int, max_bytes: int, max_offset: int | None = None, min_one: bool = True) -> tuple[bytes, ...]:
        """Whole batches from the one that holds ``offset`` on, below ``max_offset``, out of one segment, as Kafka
        reads.

        ``min_one``: the first batch comes even where it exceeds ``max_bytes``. Raises LogError(OFFSET_OUT_OF_RANGE).
        """
        if offset >= self.log_end_offset or offset < self.log_start_offset:
            if offset == self.log_end_offset:
                return ()
            raise LogError("OFFSET_OUT_OF_RANGE", f"offset {offset} is not in [{self.log_start_offset}, {self.log_end_offset}]")
        limit = self.log_end_offset if max_offset is None else max_offset
        if offset >= limit:
            return ()
        segments = self.segments
        index = len(segments) - 1
        if offset < segments[index].base_offset:
            index = self._floor_segment(offset)
        while index < len(segments):
            batches = segments[index].batches
            found: list[bytes] = []
            room = max_bytes
            for entry in batches.iterate_from(batches.bisect_left(offset, last_offset_of)):
                if entry.last_offset >= limit or (entry.size > room and (found or not min_one)):
                    return tuple(found)
                found.append(entry.data)
                room -= entry.size
            if found:
                return tuple(found)
            index += 1
        return ()

    def _floor_segment(self, offset: int) -> int:
        """The index of the last segment whose base offset is ≤ ``offset`` (0 where there is none)."""
        low, high = 0, len(self.segments)
        while low < high:
            middle = (low + high) // 2
            if self.segments[middle].base_offset > offset:
                high = middle
            else:
                low = middle + 1
        return max(low - 1, 0)

    def offset_for_timestamp(self, timestamp: int) -> TimestampAndOffset | None:
        """The first record at or after the log start whose timestamp is ≥ ``timestamp`` (ListOffsets)."""
        for segment in self.segments:
            if segment.max_timestamp < timestamp or not segment.size:
                continue
            for entry in segment.batches:
                if entry.max_timestamp < timestamp or entry.last_offset < self.log_start_offset:
                    continue
                for record in decode(entry.data):
                    if record.timestamp_ms >= timestamp and record.offset >= self.log_start_offset:
                        return TimestampAndOffset(record.timestamp_ms, record.offset, entry.leader_epoch)
            return None
        return None

    def offset_of_max_timestamp(self) -> TimestampAndOffset | None:
        """ListOffsets with MAX_TIMESTAMP (KIP-734): the first record with the largest timestamp."""
        largest = max(segment.max_timestamp for segment in self.segments)
        return self.offset_for_timestamp(largest) if largest >= 0 else None

    def end_offset_for_epoch(self, epoch: int) -> EpochEndOffset:
        return self.leader_epochs.end_offset_for(epoch, self.log_end_offset)

    def last_stable_offset(self, high_watermark: int) -> int:
        """min(high watermark, first transaction that is open or whose marker is not below the high watermark), and never
        before the log start.
        """
        if "lso-ignores-open-transactions" in self.config.mutants:
            return high_watermark
        unstable = self.producer_state.first_unstable_offset(high_watermark)
        return high_watermark if unstable is None or unstable > high_watermark else max(unstable, self.log_start_offset)

    def aborted_txns(self, fetch_offset: int, upper_bound: int) -> list[AbortedTxn]:
        """The aborted transactions that touch [``fetch_offset``, ``upper_bound``), for a read_committed fetch."""
        found: list[AbortedTxn] = []
        for index in range(self._floor_segment(fetch_offset), len(self.segments)):
            for txn in self.segments[index].aborted_txns_from(fetch_offset):
                if txn.first_offset < upper_bound:
                    found.append(txn)
                if txn.last_stable_offset >= upper_bound:
                    return found
        return found

    # Truncating, flushing, closing

    def truncate_to(self, offset: int, disk: Disk, now_ms: int = 0) -> bool:
        """Drops what lies at ``offset`` and after; a batch that straddles it goes whole. False where nothing lay
        there.
        """
        if offset < 0:
            raise LogError("OFFSET_OUT_OF_RANGE", f"cannot truncate to {offset}")
        if offset >= self.log_end_offset:
            self.leader_epochs.truncate_from_end(self.log_end_offset, disk)
            return False
        if self.segments[0].base_offset > offset:
            self.truncate_fully_and_start_at(offset, disk, now_ms)
            return True
        while self.segments[-1].base_offset > offset:
            self.segments.pop().delete(disk)
        self.segments[-1].truncate_to(offset, disk)
        self.log_end_offset = offset
        self.recovery_point = min(self.recovery_point, offset)
        self.log_start_offset = min(self.log_start_offset, offset)
        self.leader_epochs.truncate_from_end(offset, disk)
        self.rebuild_producer_state(now_ms, disk, snapshot_limit=offset, indexed_below=offset)
        return True

    def truncate_fully_and_start_at(self, offset: int, disk: Disk, now_ms: int = 0) -> None:
        """Drops everything; the log begins anew, and empty, at ``offset``."""
        self._delete_files(disk)
        self.segments = []
        self._add_segment(offset, now_ms, disk)
        self.log_start_offset = self.log_end_offset = self.recovery_point = offset
        self.leader_epochs.clear(disk)
        self.producer_state.clear()

    def rebuild_producer_state(self, now_ms: int, disk: Disk, *, snapshot_limit: int, indexed_below: int) -> None:
        """The latest good snapshot at or below ``snapshot_limit``, then a replay of the log behind it.

        Snapshots beyond the log end are deleted. Transactions aborted below ``indexed_below`` are in the transaction
        index already.
        """
        state, expiration_ms = self.producer_state, self.config.producer_id_expiration_ms
        state.clear()
        start = self.log_start_offset
        for path in reversed(disk.listing(self.directory + "/")):
            if not path.endswith(".snapshot"):
                continue
            offset = int(path[-29:-9])
            if offset > self.log_end_offset:
                disk.delete(path)
            elif self.log_start_offset <= offset <= snapshot_limit:
                try:
                    state.load_snapshot(disk.read(path), now_ms, expiration_ms)
                except CorruptBatchError:
                    disk.delete(path)
                    continue
                start = offset
                break
        for segment in self.segments[self._floor_segment(start) :]:
            for entry in segment.batches.iterate_from(segment.find(start)):
                if entry.producer_id < 0:
                    continue
                header = read_header(entry.data)
                marker = read_end_txn_marker(entry.data) if header.is_control_batch else None
                index_into = segment if entry.last_offset >= indexed_below else None
                first = max(entry.base_offset, self.log_start_offset)
                self.update_producer_state(header, marker, first, entry.last_offset, entry.max_timestamp, index_into, disk)

    def remove_expired_producers(self, now_ms: int) -> list[int]:
        return self.producer_state.remove_expired(now_ms, self.config.producer_id_expiration_ms)

    def flush(self, disk: Disk) -> None:
        """fsync up to the log end; the recovery point follows."""
        self._flush_below(self.log_end_offset, disk)

    def _flush_below(self, offset: int, disk: Disk) -> None:
        if offset <= self.recovery_point:
            return
        for segment in self.segments[self._floor_segment(self.recovery_point) :]:
            if segment.base_offset < offset:
                segment.flush(disk)
        self.recovery_point = offset

    def close_clean(self, disk: Disk) -> None:
        """As at a controlled shutdown: producers' snapshot, last time index entry, everything flushed."""
        try:
            disk.replace(segment_stem(self.directory, self.log_end_offset) + ".snapshot", self.producer_state.encode_snapshot())
            self.segments[-1].on_become_inactive(disk)
        except DiskFullError as error:
            raise LogError("KAFKA_STORAGE_ERROR", f"no room for {error}") from None
        self.flush(disk)
        self.segments[-1].flush(disk)

    def delete(self, disk: Disk) -> None:
        """Removes every file. (Kafka renames first and removes after file.delete.delay.ms; nobody can tell.)"""
        for path in disk.listing(self.directory + "/"):
            disk.delete(path)
        self.segments = []

    def _delete_files(self, disk: Disk) -> None:
        for segment in self.segments:
            segment.delete(disk)
        for path in disk.listing(self.directory + "/"):
            if path.endswith(".snapshot"):
                disk.delete(path)

    # Retention

    def apply_retention(self, now_ms: int, high_watermark: int, disk: Disk) -> list[DeletedSegment]:
        """Deletes the old segments that ``cleanup.policy`` allows; returns them. Source:
        ``UnifiedLog.deleteOldSegments``.
        """
        from engine.log.retention import delete_old_segments

        return delete_old_segments(self, now_ms, high_watermark, disk)

    def delete_records_before(self, offset: int, high_watermark: int, disk: Disk) -> int:
        """DeleteRecords, and a follower taking its leader's log start: moves the log start, never past the high
        watermark.

        Raises LogError(OFFSET_OUT_OF_RANGE). Returns the log start offset. Segments go at the next retention round.
        """
        if offset > high_watermark or offset < 0:
            raise LogError("OFFSET_OUT_OF_RANGE", f"cannot delete before {offset}: the high watermark is {high_watermark}")
        if offset > self.log_start_offset:
            self.log_start_offset = offset
            self.leader_epochs.truncate_from_start(offset, disk)
        return self.log_start_offset
