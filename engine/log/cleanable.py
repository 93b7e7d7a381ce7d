"""How dirty a compacted log is, and which part of it may be cleaned: the deciding half of Kafka's ``LogCleanerManager``.

Below the first dirty offset the cleaner has been. From there up to the first uncleanable offset it may go: never into
the active segment, never past the last stable offset, never into a segment that holds a record younger than
``min.compaction.lag.ms``.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.log.partition_log import PartitionLog
from engine.log.segment import Segment


class Cleanable(NamedTuple):
    """``first_uncleanable_offset`` is where a segment begins, as Kafka cleans whole segments. ``delay_ms``: for how long
    ``max.compaction.lag.ms`` has been overdue (0: it is not). ``reset``: the checkpoint made no sense and is to be
    written anew.
    """

    first_dirty_offset: int
    first_uncleanable_offset: int
    clean_bytes: int
    cleanable_bytes: int
    delay_ms: int
    reset: bool

    @property
    def dirty_ratio(self) -> float:
        total = self.clean_bytes + self.cleanable_bytes
        return self.cleanable_bytes / total if total else 0.0

    def is_due(self, min_cleanable_dirty_ratio: float) -> bool:
        """``LogCleanerManager.grabFilthiestCompactedLog``: above the ratio, or overdue and with something to clean."""
        if self.delay_ms > 0 and self.cleanable_bytes > 0:
            return True
        return self.dirty_ratio > min_cleanable_dirty_ratio


def cleanable(log: PartitionLog, high_watermark: int, checkpoint: int | None, now_ms: int) -> Cleanable:
    """``checkpoint``: up to where the last clean went, None where there was none."""
    config = log.config
    start, active = log.log_start_offset, log.active_segment.base_offset
    first_dirty = start if checkpoint is None else checkpoint
    reset = not start <= first_dirty <= log.log_end_offset
    if reset:
        first_dirty = start
    if len(log.segments) == 1:  # the active one, which is never cleaned: so it is with most partitions of Kafka's own topics
        return Cleanable(first_dirty, active, log.size if active < first_dirty else 0, 0, 0, reset)
    bound = min(log.last_stable_offset(high_watermark), active)
    if "cleaner-crosses-lso" in config.mutants:
        bound = active
    dirty = segments_from(log, first_dirty)
    if config.min_compaction_lag_ms > 0:
        youngest = now_ms - config.min_compaction_lag_ms
        bound = min([bound, *(segment.base_offset for segment in dirty if segment.largest_timestamp > youngest)])
    bound = max(first_dirty, bound)
    following = segments_from(log, bound)
    first_uncleanable = following[0].base_offset if following else active
    low = _floor(log, min(first_dirty, first_uncleanable))
    cleanable_bytes = sum(segment.size for segment in log.segments if low <= segment.base_offset < first_uncleanable)
    clean_bytes = sum(segment.size for segment in log.segments if segment.base_offset < first_dirty)
    if first_dirty >= first_uncleanable:
        cleanable_bytes = 0
    return Cleanable(
        first_dirty, first_uncleanable, clean_bytes, cleanable_bytes, _delay_ms(dirty, config.max_compaction_lag_ms, now_ms), reset
    )


def segments_from(log: PartitionLog, offset: int) -> list[Segment]:
    """All segments but the active one, from the one that holds ``offset`` on (``nonActiveLogSegmentsFrom``)."""
    active = log.active_segment.base_offset
    if offset >= active:
        return []
    low = _floor(log, offset)
    return [segment for segment in log.segments[:-1] if segment.base_offset >= low]


def _floor(log: PartitionLog, offset: int) -> int:
    """The base offset of the segment that holds ``offset``."""
    found = log.segments[0].base_offset
    for segment in log.segments:
        if segment.base_offset > offset:
            break
        found = segment.base_offset
    return found


def _delay_ms(dirty: list[Segment], max_compaction_lag_ms: int, now_ms: int) -> int:
    """A segment's age counts from its first batch (``maxCompactionDelay``)."""
    oldest = min((segment.first_timestamp for segment in dirty if segment.first_timestamp > 0), default=None)
    clean_until = now_ms - max_compaction_lag_ms
    return clean_until - oldest if oldest is not None and oldest < clean_until else 0
