"""What a simulated consumer knows: its positions, what it has fetched ahead, its application and its membership in a group.

Java keeps the same things apart as ``SubscriptionState``, ``FetchBuffer`` and ``AbstractCoordinator``; the application is the program
around the poll loop. Behaviour lives in the modules beside this one, each a set of functions over ``Consumer``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec

from engine.clients.common import ClientNode
from engine.clients.configs import ConsumerConfig
from engine.clients.position import FAILED, FETCHING, VALIDATING, ConsumedRecord, Position
from engine.log.record_batch import Record
from engine.messages.base import Timer, TopicPartition
from engine.messages.groups import JoinGroupResponse, OffsetAndMetadata
from engine.sim.outbox import Outbox

LAST_RECORDS = 8
NEVER_US = 2**62

POLLING, PROCESSING, COMMITTING, CLOSING, CRASHED = "polling", "processing", "committing", "closing", "crashed"
"""What the application's one thread does: it waits in ``poll``, works on what ``poll`` returned, waits in ``commitSync`` or in ``close``,
or has met an exception from which it does not recover."""

COMMIT_BEFORE, COMMIT_AFTER = "before", "after"
"""``commitSync`` after each poll, before or after its records are processed: at most once, at least once."""

UNJOINED, PREPARING, COMPLETING, STABLE = "unjoined", "preparing rebalance", "completing rebalance", "stable"
"""Java's ``AbstractCoordinator.MemberState``, for the classic protocol."""
JOINING, RECONCILING, ACKNOWLEDGING, FENCED, STALE = "joining", "reconciling", "acknowledging", "fenced", "stale"
"""Java's ``MemberState`` for KIP-848, which adds these to "stable"."""
LEFT, FATAL = "left", "fatal"


class ConsumerTimer(Timer, frozen=True, gc=False, tag=True):
    """A partition's backoff is over."""


class MemberTimer(Timer, frozen=True, gc=False, tag=True):
    """Something in the group is due: a heartbeat, a session or poll timeout, an automatic commit, another attempt."""


class ProcessingTimer(Timer, frozen=True, gc=False, tag=True):
    """The application is through with some records."""


class Work(msgspec.Struct, frozen=True, gc=False):
    """Records of one batch that a poll returned and that the application has still to process, by their offsets."""

    partition: TopicPartition
    leader_epoch: int
    offsets: tuple[int, ...]
    cause: int


@dataclass(slots=True)
class Chunk:
    """What one fetch brought for one partition (Java's ``CompletedFetch``): ``batches[at:]`` are still to be returned by ``poll``,
    from ``next_offset`` on. ``aborted``: (producer ID, first offset) of the aborted transactions ahead, ``aborting`` the producers
    whose records are being skipped."""

    partition: TopicPartition
    batches: tuple[bytes, ...]
    next_offset: int
    aborted: tuple[tuple[int, int], ...]
    cause: int
    at: int = 0
    aborting: tuple[int, ...] = ()


@dataclass(slots=True)
class CommitCall:
    """One ``commitSync``, or the commit before a rebalance: tried again until it is done, fails for good or runs out of time.
    ``correlation_id`` -1 while no request is under way. ``error`` "" once it is done well."""

    how: str
    offsets: tuple[OffsetAndMetadata, ...]
    deadline_us: int
    cause: int
    correlation_id: int = -1
    retry_at_us: int = 0
    failures: int = 0
    done: bool = False
    error: str = ""


class SentCommit(msgspec.Struct, frozen=True, gc=False):
    """A commit on the wire, and as whom it was sent. ``how``: "auto", "sync", "rebalance" or "close"."""

    how: str
    offsets: tuple[OffsetAndMetadata, ...]
    generation: int
    member_id: str


@dataclass(slots=True)
class Application:
    """The program around the poll loop. ``processing_us`` for each record; ``commit_each_poll`` "", "before" or "after"; ``todo`` is
    what the last poll returned and is not processed yet, ``step`` how many records the running timer stands for. ``counts_all``: each
    record is told of as processed even where that takes no time."""

    state: str = POLLING
    processing_us: int = 0
    processing_cause: int = 0
    commit_each_poll: str = ""
    counts_all: bool = False
    todo: deque[Work] = field(default_factory=deque)
    step: int = 0
    commit: CommitCall | None = None
    commit_asked: bool = False
    commit_cause: int = 0
    next_auto_commit_us: int = NEVER_US
    polled_us: int = 0
    closing: bool = False
    close_cause: int = 0
    close_deadline_us: int = NEVER_US


@dataclass(slots=True)
class Membership:
    """This consumer in its group. ``generation``: the classic generation or the KIP-848 member epoch, -1 or 0 outside.

    ``subscribed`` False: partitions are assigned by hand and the group only keeps the offsets. ``joined_topics`` and ``snapshot`` are
    what the last join was based on: a leader joins again when the partition counts of the topics have changed.
    """

    group_id: str
    subscribed: bool = False
    state: str = UNJOINED
    member_id: str = ""
    generation: int = -1
    assignor: str = ""
    leader: bool = False
    error: str = ""
    # the coordinator
    coordinator: int = -1
    last_coordinator: int = -1
    looking_up: bool = False
    lookup_retry_at_us: int = 0
    lookup_failures: int = 0
    # joining
    rejoin_needed: bool = True
    rejoin_reason: str = ""
    cause: int = 0
    prepare_needed: bool = True
    commit: CommitCall | None = None
    prepare_deadline_us: int = NEVER_US
    retry_at_us: int = 0
    failures: int = 0
    joined_topics: tuple[str, ...] = ()
    snapshot: tuple[tuple[str, int], ...] | None = None
    elected: JoinGroupResponse | None = None
    synced: tuple[TopicPartition, ...] | None = None
    remembered: tuple[TopicPartition, ...] = ()
    remembered_generation: int = -1
    # KIP-848
    target: tuple[TopicPartition, ...] | None = None
    current: tuple[TopicPartition, ...] | None = None
    reconciling: tuple[TopicPartition, ...] | None = None
    told_topics: tuple[str, ...] | None = None
    told_owned: tuple[TopicPartition, ...] | None = None
    heartbeat_interval_us: int = 0
    # heartbeats
    heartbeat_due_us: int = 0
    heartbeat_failures: int = 0
    heartbeat_in_flight: bool = False
    session_deadline_us: int = NEVER_US
    wake_at_us: int = NEVER_US
    # offsets
    sent_commits: dict[int, SentCommit] = field(default_factory=dict)
    # what the view tells
    rebalances: int = 0
    stopped_us: int = 0
    stopped_since_us: int = -1


@dataclass(slots=True)
class Consumer(ClientNode):
    """``topics``: those subscribed to as a whole. ``last``: the newest records read. ``buffer``: fetched and not yet returned by a
    poll. ``group`` None without ``group.id``."""

    settings: ConsumerConfig = field(init=False)
    positions: dict[TopicPartition, Position] = field(init=False, default_factory=dict)
    topics: tuple[str, ...] = field(init=False, default=())
    paused: bool = field(init=False, default=False)
    consumed: int = field(init=False, default=0)
    last: deque[ConsumedRecord] = field(init=False, default_factory=lambda: deque(maxlen=LAST_RECORDS))
    buffer: deque[Chunk] = field(init=False, default_factory=deque)
    application: Application = field(init=False, default_factory=Application)
    group: Membership | None = field(init=False, default=None)
    mutants: tuple[str, ...] = field(init=False, default=())

    @property
    def polls(self) -> bool:
        """Whether records go through the poll loop. Without a group, and where processing takes no time, what arrives is handed over
        in the same instant."""
        application = self.application
        return self.group is not None or application.processing_us > 0 or bool(self.buffer) or application.state != POLLING

    def taken(self, partition: TopicPartition, records: list[Record]) -> None:
        """A hook: a poll returns these."""

    def work_done(self, work: Work, done: tuple[int, ...], out: Outbox) -> None:
        """A hook: the application is through with the records at these offsets."""

    def drive_commit(self, group: Membership, call: CommitCall, out: Outbox) -> bool:
        """What ``commitSync`` does for the application. Returns whether it has come to its end."""
        raise NotImplementedError

    def wake_at(self, at_us: int, out: Outbox) -> None:
        """The group's one timer; a wake-up that turns out too early arms the next."""
        group = self.group
        if group is not None and at_us < group.wake_at_us:
            group.wake_at_us = at_us
            out.arm(MemberTimer(), after_us=max(at_us - out.now, 1))


def consumed_offsets(consumer: Consumer) -> tuple[OffsetAndMetadata, ...]:
    """``SubscriptionState.allConsumed``: behind what the polls so far have returned, for each partition that has a position. One that can no
    longer be read keeps its own."""
    return tuple(
        [
            OffsetAndMetadata(partition, position.position, position.leader_epoch)
            for partition, position in consumer.positions.items()
            if position.state in (FETCHING, VALIDATING, FAILED) and position.position >= 0
        ]
    )
