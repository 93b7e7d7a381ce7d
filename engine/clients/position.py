"""Where a consumer stands in one partition, and the small state machine around it (Java's ``SubscriptionState``).

"initialising" asks the group's coordinator what is committed, "reset" asks a broker for an offset, "validating" asks whether the log
was truncated below the position (KIP-320), "fetching" reads, "failed" waits for a seek.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from engine.messages.fetch import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP

INITIALISING, RESET, VALIDATING, FETCHING, FAILED = "initialising", "reset", "validating", "fetching", "failed"


class ConsumedRecord(msgspec.Struct, frozen=True):
    """A record that the application has read; key and value are previews."""

    topic: str
    partition: int
    offset: int
    key: str | None
    value: str | None


@dataclass(slots=True)
class Position:
    """``position`` is the next offset to read. ``leader_epoch`` is that of the last record read (-1: none), ``validated_epoch`` the
    leader's under which the position is known to be good. ``asked`` is the offset or timestamp in the request now in flight
    (``busy``): an answer to an older question is dropped. ``committed`` is what the group has for this partition as far as this member
    knows, ``revoking`` holds it back while a rebalance waits for the last commit. ``read_replica`` is the follower that the leader
    named for this client's rack (KIP-392), until ``read_replica_until_us``."""

    position: int = -1
    high_watermark: int = -1
    leader_epoch: int = -1
    error: str = ""
    state: str = RESET
    paused: bool = False
    busy: bool = False
    asked: int = 0
    validated_epoch: int = -1
    reset_to: str = ""
    reset_reason: str = ""
    failures: int = 0
    retry_at_us: int = 0
    cause: int = 0
    committed: int = -1
    revoking: bool = False
    read_replica: int = -1
    read_replica_until_us: int = 0

    def begin_reset(self, strategy: str, reason: str) -> None:
        """``strategy``: "earliest", "latest" or "by_duration:…"."""
        self.state, self.reset_to, self.reset_reason = RESET, strategy, reason
        self.failures = self.retry_at_us = 0

    def seek(self, offset: int, leader_epoch: int = -1) -> None:
        self.state, self.position, self.leader_epoch, self.validated_epoch = FETCHING, offset, leader_epoch, -1
        self.error, self.failures, self.retry_at_us = "", 0, 0


def reset_timestamp(strategy: str, now_ms: int, duration_ms: int | None) -> int:
    if duration_ms is not None:
        return max(now_ms - duration_ms, 0)
    return EARLIEST_TIMESTAMP if strategy == "earliest" else LATEST_TIMESTAMP
