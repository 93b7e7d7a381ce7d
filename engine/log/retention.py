"""Which old segments go: by time, by size, and those that lie below the log start offset.

Time looks at a segment's largest timestamp, so that one record from the future pins it. Size deletes only while what
remains is still at least ``retention.bytes``, so that the log exceeds it. No segment at or above the high watermark
goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.log.results import DeletedSegment
from engine.log.segment import Segment
from engine.sim.disk import Disk

if TYPE_CHECKING:
    from engine.log.partition_log import PartitionLog


def delete_old_segments(log: PartitionLog, now_ms: int, high_watermark: int, disk: Disk) -> list[DeletedSegment]:
    """Raises LogError(KAFKA_STORAGE_ERROR) where the segment that must take over cannot be created."""
    config = log.config
    start = log.log_start_offset

    def below_log_start(segment: Segment, next_base: int | None) -> bool:
        return next_base is not None and next_base <= start

    gone = _delete_while(log, below_log_start, "log start offset", now_ms, high_watermark, disk)
    if not config.delete:
        return gone
    if config.retention_bytes >= 0:
        surplus = log.size - config.retention_bytes

        def surplus_covers(segment: Segment, next_base: int | None) -> bool:
            nonlocal surplus
            if surplus < segment.size:
                return False
            surplus -= segment.size
            return True

        if surplus >= 0:
            gone += _delete_while(log, surplus_covers, "retention.bytes", now_ms, high_watermark, disk)
    if config.retention_ms >= 0:

        def expired(segment: Segment, next_base: int | None) -> bool:
            return now_ms - segment.largest_timestamp > config.retention_ms

        gone += _delete_while(log, expired, "retention.ms", now_ms, high_watermark, disk)
    return gone


def _delete_while(
    log: PartitionLog,
    predicate: Callable[[Segment, int | None], bool],
    reason: str,
    now_ms: int,
    high_watermark: int,
    disk: Disk,
) -> list[DeletedSegment]:
    """From the oldest on, as long as the predicate holds. If that takes the active segment too, a new one is rolled
    first.
    """
    count = 0
    for index, segment in enumerate(log.segments):
        last = index + 1 == len(log.segments)
        upper = log.log_end_offset if last else log.segments[index + 1].base_offset
        if high_watermark < upper or (last and not segment.size) or not predicate(segment, None if last else upper):
            break
        count += 1
    if not count:
        return []
    if count == len(log.segments):
        log.roll(log.log_end_offset, now_ms, disk)
    gone, log.segments = log.segments[:count], log.segments[count:]
    for segment in gone:
        segment.delete(disk)
    log.delete_records_before(max(log.segments[0].base_offset, log.log_start_offset), high_watermark, disk)
    return [DeletedSegment(segment.base_offset, segment.size, reason) for segment in gone]
