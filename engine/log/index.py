"""The sparse indexes of a segment, in Kafka's binary form: offset to position, timestamp to offset.

An entry is written only every ``index.interval.bytes`` of log, so that an index stays small; a lookup finds the entry
at or below what is sought, and the segment is scanned from there. Indexes hold nothing that the log does not: a lost
one is rebuilt from it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.log.errors import LogError
from engine.sim.disk import Disk
from engine.sim.sequence import Sequence

_OFFSET_ENTRY = struct.Struct(">ii")  # relative offset, position
_TIME_ENTRY = struct.Struct(">qi")  # timestamp, relative offset
OFFSET_ENTRY_BYTES = _OFFSET_ENTRY.size
TIME_ENTRY_BYTES = _TIME_ENTRY.size


class OffsetPosition(NamedTuple):
    offset: int
    position: int


class TimestampOffset(NamedTuple):
    timestamp: int
    offset: int


@dataclass(slots=True)
class OffsetIndex:
    path: str
    base_offset: int
    entries: Sequence[OffsetPosition] = field(default_factory=Sequence)

    def append(self, offset: int, position: int, disk: Disk) -> None:
        disk.append(self.path, _OFFSET_ENTRY.pack(offset - self.base_offset, position))
        self.entries.append(OffsetPosition(offset, position))

    @property
    def size_bytes(self) -> int:
        return len(self.entries) * OFFSET_ENTRY_BYTES

    def is_full(self, max_index_bytes: int) -> bool:
        return len(self.entries) >= max_index_bytes // OFFSET_ENTRY_BYTES

    def lookup(self, offset: int) -> OffsetPosition:
        """The largest entry at or below ``offset``; the segment's start where there is none."""
        found = self.entries.bisect_right(offset, _offset_of)
        return self.entries[found - 1] if found else OffsetPosition(self.base_offset, 0)

    def truncate_to(self, offset: int, disk: Disk) -> None:
        """Drops the entries at ``offset`` and after."""
        keep = self.entries.bisect_right(offset - 1, _offset_of)
        if keep < len(self.entries):
            self.entries.truncate(keep)
            disk.truncate(self.path, keep * OFFSET_ENTRY_BYTES)

    def load(self, disk: Disk, log_size: int) -> None:
        """Raises LogError(CORRUPT_INDEX) where the file does not fit the log, LookupError where it is missing."""
        data = disk.read(self.path)
        if len(data) % OFFSET_ENTRY_BYTES:
            raise LogError("CORRUPT_INDEX", self.path)
        last = OffsetPosition(self.base_offset, -1)
        for relative, position in _OFFSET_ENTRY.iter_unpack(data):
            entry = OffsetPosition(self.base_offset + relative, position)
            if (entry.offset <= last.offset and last.position >= 0) or not last.position < position < log_size or relative < 0:
                raise LogError("CORRUPT_INDEX", self.path)
            self.entries.append(entry)
            last = entry


@dataclass(slots=True)
class TimeIndex:
    """An entry (t, o) says: no record up to offset o has a timestamp above t."""

    path: str
    base_offset: int
    entries: Sequence[TimestampOffset] = field(default_factory=Sequence)
    last_timestamp: int = -1

    def maybe_append(self, timestamp: int, offset: int, disk: Disk) -> None:
        """Only a timestamp above the last one makes an entry."""
        if timestamp > self.last_timestamp:
            disk.append(self.path, _TIME_ENTRY.pack(timestamp, offset - self.base_offset))
            self.entries.append(TimestampOffset(timestamp, offset))
            self.last_timestamp = timestamp

    @property
    def size_bytes(self) -> int:
        return len(self.entries) * TIME_ENTRY_BYTES

    def is_full(self, max_index_bytes: int) -> bool:
        return len(self.entries) >= max_index_bytes // TIME_ENTRY_BYTES - 1

    def lookup(self, timestamp: int) -> TimestampOffset:
        """The last entry at or below ``timestamp``; (-1, base offset) where there is none."""
        found = self.entries.bisect_right(timestamp, _timestamp_of)
        return self.entries[found - 1] if found else TimestampOffset(-1, self.base_offset)

    def truncate_to(self, offset: int, disk: Disk) -> None:
        keep = self.entries.bisect_right(offset - 1, _time_offset_of)
        if keep < len(self.entries):
            self.entries.truncate(keep)
            self.last_timestamp = self.entries[-1].timestamp if keep else -1
            disk.truncate(self.path, keep * TIME_ENTRY_BYTES)

    def load(self, disk: Disk) -> None:
        """As OffsetIndex.load."""
        data = disk.read(self.path)
        if len(data) % TIME_ENTRY_BYTES:
            raise LogError("CORRUPT_INDEX", self.path)
        last = self.base_offset
        for timestamp, relative in _TIME_ENTRY.iter_unpack(data):
            offset = self.base_offset + relative
            if timestamp <= self.last_timestamp or offset < last:
                raise LogError("CORRUPT_INDEX", self.path)
            self.entries.append(TimestampOffset(timestamp, offset))
            self.last_timestamp, last = timestamp, offset


def _offset_of(entry: OffsetPosition) -> int:
    return entry.offset


def _timestamp_of(entry: TimestampOffset) -> int:
    return entry.timestamp


def _time_offset_of(entry: TimestampOffset) -> int:
    return entry.offset
