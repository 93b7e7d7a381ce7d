"""What a broker process remembers of share groups besides its shards: the share partitions that it leads, sessions, parked fetches, calls
to share coordinators. All of it is volatile; a new leader reads the durable part back from the share coordinator.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from engine.broker.share_partition import SharePartition
from engine.messages.base import Request, TopicPartition
from engine.messages.share_groups import (
    InitializeShareGroupStateRequest,
    ReadShareGroupStateRequest,
    ShareFetchRequest,
    ShareFetchResult,
    StateBatch,
    WriteShareGroupStateRequest,
)  # fmt: skip

INITIALIZE, READ, WRITE = "initialize", "read", "write"


@dataclass(slots=True)
class PersisterCall:
    """``topic_id`` is that of the partition when the call was made."""

    kind: str
    group_id: str
    partition: TopicPartition
    topic_id: str
    state_epoch: int = 0
    leader_epoch: int = -1
    start_offset: int = -1
    batches: tuple[StateBatch, ...] = ()
    attempts: int = 0
    correlation_id: int = -1
    destination: str = ""
    cause: int = 0

    def request(self, number: int) -> Request:
        if self.kind == INITIALIZE:
            return InitializeShareGroupStateRequest(number, self.group_id, self.partition, self.state_epoch, self.start_offset)
        if self.kind == READ:
            return ReadShareGroupStateRequest(number, self.group_id, self.partition, self.leader_epoch)
        return WriteShareGroupStateRequest(
            number, self.group_id, self.partition, self.state_epoch, self.leader_epoch, self.start_offset, self.batches
        )


class ShareSession(NamedTuple):
    """What one member fetches from this broker. ``epoch``: that of its next request."""

    client: str
    epoch: int
    partitions: tuple[TopicPartition, ...]


class Waiter(NamedTuple):
    """A request that waits for acknowledgements to be durable."""

    client: str
    correlation_id: int


@dataclass(slots=True)
class ParkedShareFetch:
    """``partitions``: in the order in which they are looked at. ``results`` once there is something to answer with; ``unwritten`` counts
    acknowledgements that are not durable yet, ``acknowledge_errors`` has the outcome of the others."""

    request: ShareFetchRequest
    partitions: tuple[TopicPartition, ...]
    deadline_us: int
    cause: int
    results: tuple[ShareFetchResult, ...] | None = None
    unwritten: int = 0
    acknowledge_errors: dict[TopicPartition, str] = field(default_factory=dict)


@dataclass(slots=True)
class ParkedAcknowledge:
    outcomes: dict[TopicPartition, str]
    unwritten: int
    cause: int


class ShareKeyHere(NamedTuple):
    """Of a share partition on this broker."""

    group_id: str
    partition: TopicPartition


@dataclass(slots=True)
class ShareChannels:
    """``sessions`` by (group, member). ``calls``: to share coordinators, by their numbers."""

    partitions: dict[ShareKeyHere, SharePartition] = field(default_factory=dict)
    sessions: dict[tuple[str, str], ShareSession] = field(default_factory=dict)
    fetches: dict[Waiter, ParkedShareFetch] = field(default_factory=dict)
    acknowledgements: dict[Waiter, ParkedAcknowledge] = field(default_factory=dict)
    calls: dict[int, PersisterCall] = field(default_factory=dict)
    next_number: int = 1
