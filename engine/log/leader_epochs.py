"""The leader-epoch cache: at which offset each leader epoch began (KIP-101, Kafka's ``LeaderEpochFileCache``).

A follower asks its leader where an epoch ended and truncates there, instead of to its high watermark. The cache is
small and changes once per election, so that each change is written out at once, by rename, to
``leader-epoch-checkpoint``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from engine.log.errors import LogError
from engine.sim.disk import Disk, DiskFullError

UNDEFINED_EPOCH = -1
UNDEFINED_EPOCH_OFFSET = -1
FILE_NAME = "leader-epoch-checkpoint"


class EpochEntry(NamedTuple):
    epoch: int
    start_offset: int


class EpochEndOffset(NamedTuple):
    """``end_offset`` is exclusive. (-1, -1) where the epoch is unknown."""

    epoch: int
    end_offset: int


@dataclass(slots=True)
class LeaderEpochFileCache:
    """``entries`` ascend in epoch and in start offset."""

    path: str
    entries: list[EpochEntry] = field(default_factory=list)
    latest_epoch: int = UNDEFINED_EPOCH

    @classmethod
    def load(cls, path: str, disk: Disk) -> LeaderEpochFileCache:
        """An unreadable file counts as empty: recovery fills the cache from the batches again."""
        cache = cls(path)
        if disk.exists(path):
            try:
                lines = disk.read(path).decode("ascii").splitlines()
                pairs = [line.split() for line in lines[2:]]
                entries = [EpochEntry(int(epoch), int(offset)) for epoch, offset in pairs]
                if lines[0] == "0" and len(entries) == int(lines[1]):
                    cache.entries = entries
            except (ValueError, IndexError):
                cache.entries = []
        cache.latest_epoch = cache.entries[-1].epoch if cache.entries else UNDEFINED_EPOCH
        return cache

    def assign(self, epoch: int, start_offset: int, disk: Disk) -> None:
        """Epoch ``epoch`` begins at ``start_offset``; entries that contradict this one are dropped."""
        if epoch < 0 or start_offset < 0:
            return
        entries = self.entries
        if entries and entries[-1].epoch == epoch and start_offset >= entries[-1].start_offset:
            return
        self.entries = [entry for entry in entries if entry.epoch < epoch and entry.start_offset < start_offset]
        self.entries.append(EpochEntry(epoch, start_offset))
        self._write(disk)

    def end_offset_for(self, epoch: int, log_end_offset: int) -> EpochEndOffset:
        """The largest known epoch ≤ ``epoch`` and where it ended, as ``OffsetsForLeaderEpoch`` answers."""
        if epoch == UNDEFINED_EPOCH or epoch > self.latest_epoch:
            return EpochEndOffset(UNDEFINED_EPOCH, UNDEFINED_EPOCH_OFFSET)
        if epoch == self.latest_epoch:
            return EpochEndOffset(epoch, log_end_offset)
        floor = epoch  # below all known epochs, Kafka answers the epoch asked for and the first start offset
        for entry in self.entries:
            if entry.epoch > epoch:
                return EpochEndOffset(floor, entry.start_offset)
            floor = entry.epoch
        raise AssertionError("an epoch below the latest one has a higher entry")

    def epoch_for_offset(self, offset: int) -> int:
        """The epoch in which ``offset`` was written, -1 where that is unknown."""
        found = UNDEFINED_EPOCH
        for entry in self.entries:
            if entry.start_offset > offset:
                break
            found = entry.epoch
        return found

    def truncate_from_end(self, end_offset: int, disk: Disk) -> None:
        """Forgets epochs that began at ``end_offset`` or later."""
        if end_offset >= 0 and self.entries and self.entries[-1].start_offset >= end_offset:
            self.entries = [entry for entry in self.entries if entry.start_offset < end_offset]
            self._write(disk)

    def truncate_from_start(self, start_offset: int, disk: Disk) -> None:
        """The log now begins at ``start_offset``: the epoch that holds it begins there too."""
        gone = [entry for entry in self.entries if entry.start_offset <= start_offset]
        if gone and gone != [EpochEntry(gone[-1].epoch, start_offset)]:
            self.entries = [EpochEntry(gone[-1].epoch, start_offset), *self.entries[len(gone) :]]
            self._write(disk)

    def clear(self, disk: Disk) -> None:
        if self.entries:
            self.entries = []
            self._write(disk)

    def _write(self, disk: Disk) -> None:
        self.latest_epoch = self.entries[-1].epoch if self.entries else UNDEFINED_EPOCH
        lines = ["0", str(len(self.entries)), *(f"{entry.epoch} {entry.start_offset}" for entry in self.entries)]
        try:
            disk.replace(self.path, "".join(f"{line}\n" for line in lines).encode("ascii"))
        except DiskFullError:
            raise LogError("KAFKA_STORAGE_ERROR", f"no room for {self.path}") from None
