"""What a broker process remembers of transactions besides its shards: markers on their way, requests that wait for a coordinator's word.

All of it is volatile: a coordinator that is elected finds the prepared transactions in its log and sends their markers again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from engine.messages.base import Request, TopicPartition
from engine.messages.groups import PartitionError

NOBODY = -1
"""The queue of markers for partitions without a leader."""


class QueuedMarker(NamedTuple):
    """The marker of one transaction for those of its partitions that one broker leads (Kafka's ``PendingCompleteTxnAndMarkerEntry``).
    ``state_partition`` is that of the transaction in ``__transaction_state``."""

    transactional_id: str
    state_partition: int
    producer_id: int
    producer_epoch: int
    committed: bool
    coordinator_epoch: int
    version: int
    partitions: tuple[TopicPartition, ...]
    cause: int


class MarkersUnderWay(NamedTuple):
    correlation_id: int
    markers: tuple[QueuedMarker, ...]


class GroupOffsets(NamedTuple):
    """``offsets``: (topic, partition, offset) each."""

    group: str
    offsets: tuple[tuple[str, int, int], ...]


@dataclass(slots=True)
class ParkedMarkers:
    """A WriteTxnMarkers request whose markers are to be replicated: per marker the producer ID and its partitions' outcomes, in the
    order of the request. ``missing`` counts those still unknown."""

    source: str
    correlation_id: int
    producer_ids: tuple[int, ...]
    partitions: tuple[tuple[int, TopicPartition], ...]
    """(position of the marker, partition) of each outcome."""
    results: list[PartitionError | None]
    missing: int
    offsets: dict[int, tuple[GroupOffsets, ...]] = field(default_factory=dict)
    """What a COMMIT in ``__consumer_offsets`` commits for groups, by the outcome's position."""


@dataclass(slots=True)
class ParkedVerification:
    """A request that writes in a transaction and waits until the coordinator has taken in (or confirmed) the partition. ``guards``: what
    each unconfirmed partition's log will ask for; ``errors``: what is refused already."""

    source: str
    request: Request
    transactional_id: str
    producer_id: int
    producer_epoch: int
    adds: bool
    guards: dict[TopicPartition, int]
    errors: dict[TopicPartition, str]
    began_us: int
    cause: int
    correlation_id: int = -1
    destination: str = ""


@dataclass(slots=True)
class TransactionChannels:
    """``queued``: by the broker that leads. ``unwritten``: (partition of ``__transaction_state``, transactional ID) of completed
    transactions whose record was refused and is tried again."""

    queued: dict[int, list[QueuedMarker]] = field(default_factory=dict)
    under_way: dict[int, MarkersUnderWay] = field(default_factory=dict)
    unwritten: list[tuple[int, str]] = field(default_factory=list)
    retry_armed: bool = False
    parked: dict[int, ParkedMarkers] = field(default_factory=dict)
    next_number: int = 1
    verifications: dict[int, ParkedVerification] = field(default_factory=dict)
    sweeping: bool = False
