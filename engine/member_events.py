"""What happens to members of groups, seen from the consumer's side; read together with ``engine.events``.

``partitions`` are (topic, partition) pairs.
"""

from __future__ import annotations

from engine.cluster_events import Event

Partitions = tuple[tuple[str, int], ...]


class CoordinatorFound(Event, frozen=True, gc=False, tag=True):
    consumer: str
    group: str
    broker: int


class CoordinatorLost(Event, frozen=True, gc=False, tag=True):
    """The member looks for its coordinator again. ``reason``: what it met."""

    consumer: str
    group: str
    broker: int
    reason: str


class GroupJoining(Event, frozen=True, gc=False, tag=True):
    """The member asks to (re)join. ``reason`` "" is its first time."""

    consumer: str
    group: str
    reason: str


class PartitionsDealt(Event, frozen=True, gc=False, tag=True):
    """The leader of a classic group computed the assignment of all members."""

    consumer: str
    group: str
    generation: int
    assignor: str
    members: int
    partitions: int


class GroupJoined(Event, frozen=True, gc=False, tag=True):
    """The member is in. ``generation`` is the member epoch under KIP-848, where ``assignor`` is "" and nobody leads."""

    consumer: str
    group: str
    generation: int
    member_id: str
    assignor: str
    is_leader: bool


class PartitionsAssigned(Event, frozen=True, gc=False, tag=True):
    """``ConsumerRebalanceListener.onPartitionsAssigned``: only what is new. ``owned`` is how many it has now."""

    consumer: str
    group: str
    partitions: Partitions
    owned: int


class PartitionsRevoked(Event, frozen=True, gc=False, tag=True):
    """``onPartitionsRevoked``: the member gives them up in good order, its offsets committed."""

    consumer: str
    group: str
    partitions: Partitions


class PartitionsLost(Event, frozen=True, gc=False, tag=True):
    """``onPartitionsLost``: they may have another owner already, nothing can be committed any more."""

    consumer: str
    group: str
    partitions: Partitions


class PollIntervalExceeded(Event, frozen=True, gc=False, tag=True):
    """The application has not called ``poll`` for max.poll.interval.ms."""

    consumer: str
    group: str
    max_poll_interval_ms: int


class GroupLeft(Event, frozen=True, gc=False, tag=True):
    """``told``: whether the coordinator was told that it is gone for good; a static member says nothing (classic) or only that it will be
    back (KIP-848)."""

    consumer: str
    group: str
    reason: str
    told: bool


class MemberFenced(Event, frozen=True, gc=False, tag=True):
    """The coordinator does not count it as a member (any more): it has to join anew. ``request``: what was answered so."""

    consumer: str
    group: str
    error: str
    request: str


class ConsumerCrashed(Event, frozen=True, gc=False, tag=True):
    """``poll`` threw what no application recovers from."""

    consumer: str
    group: str
    error: str


class CommitCompleted(Event, frozen=True, gc=False, tag=True):
    """``offsets``: (topic, partition, offset). ``how``: "auto", "sync", "rebalance" or "close"."""

    consumer: str
    group: str
    offsets: tuple[tuple[str, int, int], ...]
    how: str


class CommitFailed(Event, frozen=True, gc=False, tag=True):
    """``error`` begins with the exception that Java throws."""

    consumer: str
    group: str
    how: str
    error: str


class ShareRecordsDelivered(Event, frozen=True, gc=False, tag=True):
    """``poll`` returned records that the consumer has acquired: ``record_count`` of one batch, each for the ``deliveries``-th time to some
    member of the group."""

    consumer: str
    group: str
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    leader_epoch: int
    record_count: int
    deliveries: int


class ShareRecordsProcessed(Event, frozen=True, gc=False, tag=True):
    """The application of a share consumer is through with records. ``verdict``: "accept", "release" or "reject"; the brokers hear it with
    the next ``poll``. ``failed``: the application met an error, and releases them so that somebody else may try."""

    consumer: str
    group: str
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    leader_epoch: int
    record_count: int
    verdict: str
    failed: bool = False


class ShareAcknowledgementFailed(Event, frozen=True, gc=False, tag=True):
    """The consumer's verdict does not count: its locks were over, its session or the leader is gone, or the answer never came."""

    consumer: str
    group: str
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    error: str


class VerdictsSet(Event, frozen=True, gc=False, tag=True):
    """What the application of a share consumer does with its records from now on, as in ``SetVerdicts``."""

    consumer: str
    release_every: int
    reject_every: int
    fail_on: str


class ProcessingSet(Event, frozen=True, gc=False, tag=True):
    """How long the application takes for one record from now on."""

    consumer: str
    processing_ms: int


class RecordsProcessed(Event, frozen=True, gc=False, tag=True):
    """The application is through with records that a poll had returned; only where processing takes time."""

    consumer: str
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    leader_epoch: int
    record_count: int
