"""What all kinds of group have in common: Kafka's ``Group``. Offsets, listing, describing and deleting ask for no more than this."""

from __future__ import annotations

from typing import Protocol

from engine.coordination.shard import Records
from engine.messages.groups import DescribeGroupResponse
from engine.sim.outbox import Outbox


class GroupError(Exception):
    """A refusal, by the name of Kafka's error."""

    def __init__(self, error: str, message: str = "") -> None:
        super().__init__(message or error)
        self.error = error
        self.message = message


class Group(Protocol):
    """``group_type``: "classic", "consumer" or "share". Slotted dataclasses that checkpoints can copy."""

    group_id: str

    @property
    def group_type(self) -> str: ...

    @property
    def protocol_type(self) -> str: ...

    def state_name(self) -> str:
        """As Kafka's tools print it: "Stable", "PreparingRebalance", …"""

    def is_empty(self) -> bool: ...

    def is_subscribed_to(self, topic: str) -> bool: ...

    def validate_offset_commit(self, member_id: str, instance_id: str, generation_or_epoch: int, transactional: bool) -> None:
        """Raises GroupError."""

    def validate_offset_fetch(self, member_id: str, member_epoch: int) -> None:
        """Raises GroupError."""

    def validate_offset_delete(self) -> None:
        """Raises GroupError."""

    def validate_delete(self) -> None:
        """Raises GroupError."""

    def expires_offsets_from(self, commit_timestamp_ms: int) -> int:
        """From when the retention of an offset counts that was committed at ``commit_timestamp_ms``; -1: it does not expire now."""

    def tombstones(self) -> Records:
        """The records that wipe the group out, without its offsets."""

    def describe(self, correlation_id: int) -> DescribeGroupResponse: ...

    def on_loaded(self, out: Outbox) -> None:
        """The group was read back from the log: arms its timers."""

    def on_unloaded(self, error: str, out: Outbox) -> None:
        """Another broker coordinates it now: answers who waits with ``error`` and cancels the timers."""
