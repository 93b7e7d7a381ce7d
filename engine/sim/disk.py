"""One machine's disk: files behind a page cache.

A process that dies loses nothing that it wrote, since the page cache is the machine's. A machine that loses power keeps what was
synced, and of the rest perhaps a torn piece. A node never holds its disk (state is a tree); it is handed one with each delivery.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.sim.rng import Stream
from engine.sim.sequence import Sequence


class DiskFullError(Exception):
    """The write does not fit; nothing was written (Kafka: ``KafkaStorageException`` takes the log directory offline)."""


@dataclass(slots=True)
class File:
    """``chunks`` in the order in which they were written; the first ``synced`` bytes have reached the platter."""

    chunks: Sequence[bytes] = field(default_factory=Sequence)
    size: int = 0
    synced: int = 0


@dataclass(slots=True)
class Disk:
    """``capacity_bytes`` 0 means without limit. ``write_delay_us`` is the time one write or sync takes on a slow disk."""

    files: dict[str, File] = field(default_factory=dict)
    used_bytes: int = 0
    capacity_bytes: int = 0
    write_delay_us: int = 0
    pending_delay_us: int = 0

    def exists(self, path: str) -> bool:
        return path in self.files

    def listing(self, prefix: str) -> list[str]:
        """Paths that begin with ``prefix``, sorted."""
        return sorted(path for path in self.files if path.startswith(prefix))

    def chunks(self, path: str) -> Sequence[bytes]:
        """The chunks of a file, whole or torn. Not to be changed by the caller."""
        return self.files[path].chunks

    def read(self, path: str) -> bytes:
        return b"".join(self.files[path].chunks)

    def size(self, path: str) -> int:
        return self.files[path].size

    def append(self, path: str, data: bytes) -> None:
        """Writes one chunk into the page cache. Raises DiskFullError and writes nothing where it does not fit."""
        if self.capacity_bytes and self.used_bytes + len(data) > self.capacity_bytes:
            raise DiskFullError(path)
        file = self.files.get(path)
        if file is None:
            file = self.files[path] = File()
        file.chunks.append(data)
        file.size += len(data)
        self.used_bytes += len(data)
        self.pending_delay_us += self.write_delay_us

    def sync(self, path: str) -> None:
        """fsync: what the file holds now survives a power loss."""
        file = self.files[path]
        if file.synced != file.size:
            file.synced = file.size
            self.pending_delay_us += self.write_delay_us

    def replace(self, path: str, data: bytes) -> None:
        """Writes a small file by rename, synced: after any crash either the old or the new content stands."""
        old = self.files[path].size if path in self.files else 0
        if self.capacity_bytes and len(data) > old and self.used_bytes - old + len(data) > self.capacity_bytes:
            raise DiskFullError(path)
        self.files[path] = File(Sequence((data,)), len(data), len(data))
        self.used_bytes += len(data) - old
        self.pending_delay_us += self.write_delay_us

    def truncate(self, path: str, size: int) -> None:
        """Cuts the file to ``size`` bytes; a chunk that straddles the cut is split."""
        file = self.files[path]
        if size >= file.size:
            return
        self.used_bytes -= file.size - size
        kept, position = 0, 0
        tail = b""
        for chunk in file.chunks:
            if position + len(chunk) > size:
                tail = chunk[: size - position]
                break
            position += len(chunk)
            kept += 1
        file.chunks.truncate(kept)
        if tail:
            file.chunks.append(tail)
        file.size = size
        file.synced = min(file.synced, size)

    def rename(self, old: str, new: str) -> None:
        if new in self.files:
            self.delete(new)
        self.files[new] = self.files.pop(old)

    def delete(self, path: str) -> None:
        self.used_bytes -= self.files.pop(path).size

    def lose_power(self, stream: Stream, *, torn: bool) -> int:
        """Drops what was not synced, per file; with ``torn`` a random piece of each lost suffix stays. Returns the bytes lost."""
        lost = 0
        for path in sorted(self.files):
            file = self.files[path]
            if file.size == file.synced:
                continue
            keep = file.synced
            if torn:
                keep += stream.below(file.size - file.synced)
            lost += file.size - keep
            self.truncate(path, keep)
            file.synced = file.size
        return lost

    def flip_byte(self, path: str, position: int) -> None:
        """Bit rot: one byte of the file changes."""
        file = self.files[path]
        data = bytearray(self.read(path))
        data[position] ^= 0xFF
        file.chunks = Sequence((bytes(data),))

    def wipe(self) -> None:
        self.files.clear()
        self.used_bytes = 0
