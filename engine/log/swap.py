"""Cleaned segments take the place of dirty ones on the disk so that a crash at any moment leaves one or the other.

Kafka's ``LocalLog.replaceSegments`` and the first passes of ``LogLoader``. A cleaned segment is written under the suffix
``.cleaned``, flushed, renamed to ``.swap``, and only then do the old files go and does it take its name. On opening,
``.cleaned`` files are dropped (the clean never happened) and ``.swap`` files are put in place (it did).
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.log.errors import CorruptBatchError
from engine.log.record_batch import read_header
from engine.log.segment import Segment, segment_stem, split_batches
from engine.sim.disk import Disk

CLEANED, SWAP = ".cleaned", ".swap"
INDEX_SUFFIXES = (".index", ".timeindex", ".txnindex")
FILE_SUFFIXES = (".log", *INDEX_SUFFIXES)


def swap_files(disk: Disk, directory: str, cleaned: Segment, old: list[Segment]) -> Iterator[None]:
    """Takes one step on the disk with each ``next``; between any two of them the process may die. The renamed files of
    ``old`` are deleted at once (Kafka waits ``file.delete.delay.ms``; nobody can tell).
    """
    stem = segment_stem(directory, cleaned.base_offset)
    present = [suffix for suffix in FILE_SUFFIXES if disk.exists(stem + suffix + CLEANED)]
    for suffix in present:
        disk.rename(stem + suffix + CLEANED, stem + suffix + SWAP)
        yield
    for segment in old:
        for suffix in FILE_SUFFIXES:
            path = segment_stem(directory, segment.base_offset) + suffix
            if disk.exists(path):
                disk.delete(path)
                yield
        if segment.base_offset != cleaned.base_offset and disk.exists(segment.snapshot_path):
            disk.delete(segment.snapshot_path)
            yield
    for suffix in present:
        disk.rename(stem + suffix + SWAP, stem + suffix)
        yield


def complete_swaps(disk: Disk, directory: str) -> bool:
    """Before a log is opened: undoes a clean that did not come far enough, finishes one that did. True where there was
    something to do.
    """
    paths = disk.listing(directory + "/")
    cleaned = [path for path in paths if path.endswith(CLEANED)]
    swaps = [path for path in paths if path.endswith(SWAP)]
    if not cleaned and not swaps:
        return False
    first_cleaned = min((_offset_of(path) for path in cleaned), default=None)
    for path in cleaned:
        disk.delete(path)
    valid = []
    for path in swaps:
        if first_cleaned is not None and _offset_of(path) >= first_cleaned:
            disk.delete(path)
        else:
            valid.append(path)
    logs = [path for path in valid if path.endswith(".log" + SWAP)]
    if logs:
        low = min(_offset_of(path) for path in logs)
        high = max(_next_offset(disk, path) for path in logs)
        for path in paths:
            if path.endswith(FILE_SUFFIXES) and low <= _offset_of(path) < high:
                disk.delete(path)
    for path in valid:
        disk.rename(path, path.removesuffix(SWAP))
    _drop_orphans(disk, directory)
    return True


def _drop_orphans(disk: Disk, directory: str) -> None:
    """Index files without their log file."""
    for path in disk.listing(directory + "/"):
        if path.endswith(INDEX_SUFFIXES) and not disk.exists(segment_stem(directory, _offset_of(path)) + ".log"):
            disk.delete(path)


def _next_offset(disk: Disk, path: str) -> int:
    """Where the log goes on behind this segment; its base offset where it is empty."""
    end = _offset_of(path)
    try:
        for data in split_batches(disk.chunks(path)):
            end = read_header(data).last_offset + 1
    except CorruptBatchError:
        pass  # what lies behind it is recovery's to judge
    return end


def _offset_of(path: str) -> int:
    return int(path.rpartition("/")[2].partition(".")[0])
