"""A segment: one file of batches with its two indexes and, where transactions were aborted, a transaction index.

The bytes lie on the disk; in memory each batch has one entry that shares the very same bytes object, so that a read
copies nothing. A segment does not know when it must end in terms of time passing: ``should_roll`` decides from record
timestamps, as Kafka does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter

import msgspec

from engine.log.index import OffsetIndex, TimeIndex
from engine.log.producer_state import AbortedTxn
from engine.log.record_batch import HEADER_BYTES, LOG_OVERHEAD_BYTES
from engine.sim.disk import Disk
from engine.sim.sequence import Sequence

MAX_RELATIVE_OFFSET = 2**31 - 1
last_offset_of: Callable[[BatchEntry], int] = attrgetter("last_offset")
_TXN_ENTRY = struct.Struct(">hqqqq")  # version, producer ID, first offset, last offset, last stable offset


class BatchEntry(msgspec.Struct, frozen=True, gc=False):
    """One batch of a segment. ``data`` is the whole batch; ``position`` is where it lies in the file."""

    base_offset: int
    last_offset: int
    max_timestamp: int
    position: int
    size: int
    leader_epoch: int
    record_count: int
    attributes: int
    producer_id: int
    data: bytes


@dataclass(slots=True)
class Segment:
    """``first_timestamp`` is the first batch's largest timestamp, from which ``segment.ms`` counts (-1: none yet)."""

    base_offset: int
    created_ms: int
    log_path: str
    offset_index: OffsetIndex
    time_index: TimeIndex
    batches: Sequence[BatchEntry] = field(default_factory=Sequence)
    size: int = 0
    max_timestamp: int = -1
    offset_of_max_timestamp: int = -1
    first_timestamp: int = -1
    last_modified_ms: int = 0
    bytes_since_last_index_entry: int = 0
    aborted_txns: Sequence[AbortedTxn] = field(default_factory=Sequence)

    @classmethod
    def new(cls, directory: str, base_offset: int, now_ms: int, suffix: str = "") -> Segment:
        """``suffix``: what a segment that is not yet part of its log carries behind its files' names (".cleaned")."""
        stem = segment_stem(directory, base_offset)
        return cls(
            base_offset,
            now_ms,
            stem + ".log" + suffix,
            OffsetIndex(stem + ".index" + suffix, base_offset),
            TimeIndex(stem + ".timeindex" + suffix, base_offset),
            last_modified_ms=now_ms,
        )

    def take_names(self, directory: str) -> None:
        """Its files have been renamed to those of a segment of the log."""
        stem = segment_stem(directory, self.base_offset)
        self.log_path = stem + ".log"
        self.offset_index.path = stem + ".index"
        self.time_index.path = stem + ".timeindex"

    def create_files(self, disk: Disk) -> None:
        for path in (self.log_path, self.offset_index.path, self.time_index.path):
            if not disk.exists(path):
                disk.append(path, b"")

    @property
    def txn_index_path(self) -> str:
        stem, _, suffix = self.log_path.rpartition(".log")
        return stem + ".txnindex" + suffix

    @property
    def snapshot_path(self) -> str:
        return self.log_path.rpartition(".log")[0] + ".snapshot"

    @property
    def largest_timestamp(self) -> int:
        """What time retention looks at: the largest timestamp, or the file's own time where no record has one."""
        return self.max_timestamp if self.max_timestamp >= 0 else self.last_modified_ms

    def append(self, entry: BatchEntry, disk: Disk, now_ms: int, index_interval_bytes: int) -> None:
        """Raises DiskFullError; if it comes from the log file, nothing has changed."""
        disk.append(self.log_path, entry.data)
        self.add(entry, disk, now_ms, index_interval_bytes)

    def add(self, entry: BatchEntry, disk: Disk, now_ms: int, index_interval_bytes: int) -> None:
        """Takes note of a batch that lies in the file already; writes sparse index entries where due."""
        self.batches.append(entry)
        self.size += entry.size
        self.last_modified_ms = now_ms
        if entry.max_timestamp > self.max_timestamp:
            self.max_timestamp = entry.max_timestamp
            self.offset_of_max_timestamp = entry.last_offset
        if self.first_timestamp < 0:
            self.first_timestamp = entry.max_timestamp
        if self.bytes_since_last_index_entry > index_interval_bytes:
            self.offset_index.append(entry.last_offset, entry.position, disk)
            self.time_index.maybe_append(self.max_timestamp, self.offset_of_max_timestamp, disk)
            self.bytes_since_last_index_entry = 0
        self.bytes_since_last_index_entry += entry.size

    def should_roll(
        self,
        size: int,
        max_timestamp: int,
        last_offset: int,
        now_ms: int,
        *,
        segment_bytes: int,
        max_segment_ms: int,
        max_index_bytes: int,
    ) -> bool:
        """Kafka's ``LogSegment.shouldRoll``: too large, too old by record timestamps, an index full, or offsets out
        of reach.
        """
        if self.size > segment_bytes - size:
            return True
        if self.size:
            waited = max_timestamp - self.first_timestamp if self.first_timestamp >= 0 else now_ms - self.created_ms
            if waited > max_segment_ms:
                return True
        return (
            self.offset_index.is_full(max_index_bytes)
            or self.time_index.is_full(max_index_bytes)
            or last_offset - self.base_offset > MAX_RELATIVE_OFFSET
        )

    def on_become_inactive(self, disk: Disk) -> None:
        """The last time index entry tells the segment's largest timestamp."""
        if self.max_timestamp >= 0:
            self.time_index.maybe_append(self.max_timestamp, self.offset_of_max_timestamp, disk)

    def find(self, offset: int) -> int:
        """The index of the first batch that ends at ``offset`` or later; len(batches) where there is none."""
        return self.batches.bisect_left(offset, last_offset_of)

    def truncate_to(self, offset: int, disk: Disk) -> int:
        """Drops every batch that ends at ``offset`` or later, as Kafka does; returns the bytes dropped."""
        keep = self.find(offset)
        aborted = self.aborted_txns.bisect_right(offset - 1, _txn_last_offset)
        if aborted < len(self.aborted_txns):
            self.aborted_txns.truncate(aborted)
            disk.truncate(self.txn_index_path, aborted * _TXN_ENTRY.size)
        self.offset_index.truncate_to(offset, disk)
        self.time_index.truncate_to(offset, disk)
        if keep == len(self.batches):
            return 0
        position = self.batches[keep].position
        dropped = self.size - position
        self.batches.truncate(keep)
        self.size = position
        disk.truncate(self.log_path, position)
        self.bytes_since_last_index_entry = 0
        self.max_timestamp = self.offset_of_max_timestamp = -1
        for entry in self.batches:
            if entry.max_timestamp > self.max_timestamp:
                self.max_timestamp, self.offset_of_max_timestamp = entry.max_timestamp, entry.last_offset
        if not keep:
            self.first_timestamp = -1
        return dropped

    def add_aborted_txn(self, txn: AbortedTxn, disk: Disk) -> None:
        disk.append(self.txn_index_path, _TXN_ENTRY.pack(0, *txn))
        self.aborted_txns.append(txn)

    def aborted_txns_from(self, offset: int) -> Iterator[AbortedTxn]:
        """Those whose marker lies at ``offset`` or later."""
        found = self.aborted_txns
        return found.iterate_from(found.bisect_right(offset - 1, _txn_last_offset))

    def load_aborted_txns(self, disk: Disk) -> None:
        """Whole entries only; a torn one at the end is left out."""
        if disk.exists(self.txn_index_path):
            data = disk.read(self.txn_index_path)
            whole = len(data) // _TXN_ENTRY.size * _TXN_ENTRY.size
            self.aborted_txns = Sequence(AbortedTxn(*row[1:]) for row in _TXN_ENTRY.iter_unpack(data[:whole]))

    def flush(self, disk: Disk) -> None:
        for path in (self.log_path, self.offset_index.path, self.time_index.path, self.txn_index_path):
            if disk.exists(path):
                disk.sync(path)

    def delete(self, disk: Disk) -> None:
        self.delete_files(disk)
        if disk.exists(self.snapshot_path):
            disk.delete(self.snapshot_path)

    def delete_files(self, disk: Disk) -> None:
        """All but the producers' snapshot, which another segment of the same offset may still need."""
        for path in (self.log_path, self.offset_index.path, self.time_index.path, self.txn_index_path):
            if disk.exists(path):
                disk.delete(path)


def split_batches(chunks: Sequence[bytes]) -> Iterator[bytes]:
    """The batches of a log file. A chunk that is one whole batch is passed on as it is; torn and joined ones are cut
    to size.

    What is no batch comes last, as one piece.
    """
    source = iter(chunks)
    for chunk in source:
        if len(chunk) >= HEADER_BYTES and int.from_bytes(chunk[8:12], "big") + LOG_OVERHEAD_BYTES == len(chunk):
            yield chunk
            continue
        rest = b"".join((chunk, *source))
        position = 0
        while position < len(rest):
            size = int.from_bytes(rest[position + 8 : position + 12], "big", signed=True) + LOG_OVERHEAD_BYTES
            if size < HEADER_BYTES or position + size > len(rest):
                size = len(rest) - position
            yield rest[position : position + size]
            position += size


def segment_stem(directory: str, base_offset: int) -> str:
    return f"{directory}/{base_offset:020d}"


def _txn_last_offset(txn: AbortedTxn) -> int:
    return txn.last_offset
