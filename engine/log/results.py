"""What a log answers: plain values, apart from the log itself so that recovery and callers can name them."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class AppendResult(NamedTuple):
    """``log_append_time`` is -1 unless the broker stamped the batch (or, for a duplicate, the time of the original)."""

    first_offset: int
    last_offset: int
    log_append_time: int
    duplicate: bool


class TimestampAndOffset(NamedTuple):
    timestamp: int
    offset: int
    leader_epoch: int


class DeletedSegment(NamedTuple):
    """``reason``: "retention.ms", "retention.bytes" or "log start offset"."""

    base_offset: int
    size: int
    reason: str


class RecoveryReport(msgspec.Struct, frozen=True):
    """What opening the log found and did."""

    clean: bool
    segments_scanned: int = 0
    batches_scanned: int = 0
    bytes_truncated: int = 0
    indexes_rebuilt: int = 0
    reason: str = ""
