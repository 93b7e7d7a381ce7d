"""What a simulated share consumer knows: its membership, a share session with each broker, what it has acquired, its application.

Java keeps these apart as ``ShareMembershipManager``, ``ShareSessionHandler``, ``ShareFetchBuffer`` and ``ShareFetch``. A share consumer has
no position: the brokers know which records are whose. Behaviour lives in the modules beside this one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec

from engine.clients.common import ClientNode
from engine.clients.configs import ShareConsumerConfig
from engine.clients.consumer_state import LAST_RECORDS, NEVER_US, POLLING, UNJOINED, MemberTimer
from engine.clients.position import ConsumedRecord
from engine.messages.base import TopicPartition
from engine.messages.share_groups import AcknowledgementBatch, AcquiredRecords
from engine.sim.outbox import Outbox

ACCEPT, RELEASE, REJECT, GAP = "accept", "release", "reject", "gap"
"""``AcknowledgeType``, and what says that there is no record at an offset."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What the application says of records that it got from ``broker``; ``cause``: the event by which it did."""

    broker: int
    batch: AcknowledgementBatch
    cause: int


class ShareWork(msgspec.Struct, frozen=True, gc=False):
    """Records of one batch that a poll returned and that the application has still to process, by their offsets; at those in ``failing``
    it will fail."""

    broker: int
    partition: TopicPartition
    leader_epoch: int
    offsets: tuple[int, ...]
    failing: tuple[int, ...]
    cause: int


class AcquiredChunk(msgspec.Struct, frozen=True, gc=False):
    """What one share fetch brought for one partition (Java's ``ShareCompletedFetch``). Of ``batches`` only the records in ``acquired`` are
    this consumer's."""

    broker: int
    partition: TopicPartition
    batches: tuple[bytes, ...]
    acquired: tuple[AcquiredRecords, ...]
    cause: int


@dataclass(slots=True)
class ShareSession:
    """With one broker. ``epoch``: that of the next request, 0 opens a session. ``waiting``: verdicts that go out with it, ``sent`` those in
    the request under way."""

    epoch: int = 0
    partitions: tuple[TopicPartition, ...] = ()
    waiting: list[Verdict] = field(default_factory=list)
    sent: tuple[Verdict, ...] = ()
    failures: int = 0
    retry_at_us: int = 0


@dataclass(slots=True)
class ShareApplication:
    """The program around the poll loop. ``todo``: what the last poll returned and is not processed yet, ``step`` how many records the running
    timer stands for; ``verdicts``: what it has said since that poll. ``worked`` counts all records, for every n-th of them; after ``left``
    more it closes (-1: never)."""

    state: str = POLLING
    processing_us: int = 0
    processing_cause: int = 0
    release_every: int = 0
    reject_every: int = 0
    fail_on: str = ""
    left: int = -1
    todo: deque[ShareWork] = field(default_factory=deque)
    step: int = 0
    worked: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    polled_us: int = 0
    closing: bool = False
    close_cause: int = 0
    close_deadline_us: int = NEVER_US


@dataclass(slots=True)
class ShareMembership:
    """This consumer in its group. ``assigned``: the partitions that it fetches from; others may fetch from them, too."""

    group_id: str
    state: str = UNJOINED
    member_id: str = ""
    epoch: int = 0
    error: str = ""
    cause: int = 0
    rejoin_reason: str = ""
    target: tuple[TopicPartition, ...] | None = None
    assigned: tuple[TopicPartition, ...] = ()
    told_topics: tuple[str, ...] | None = None
    # the coordinator
    coordinator: int = -1
    last_coordinator: int = -1
    looking_up: bool = False
    lookup_retry_at_us: int = 0
    lookup_failures: int = 0
    # heartbeats
    heartbeat_interval_us: int = 0
    heartbeat_due_us: int = 0
    heartbeat_failures: int = 0
    heartbeat_in_flight: bool = False
    retry_at_us: int = 0
    wake_at_us: int = NEVER_US


@dataclass(slots=True)
class ShareConsumer(ClientNode):
    """``sessions`` by broker. ``buffer``: acquired and not yet returned by a poll; the locks run all the same. The counters tell verdicts that
    were sent and not refused."""

    settings: ShareConsumerConfig = field(init=False)
    group: ShareMembership = field(init=False)
    topics: tuple[str, ...] = field(init=False, default=())
    sessions: dict[int, ShareSession] = field(init=False, default_factory=dict)
    buffer: deque[AcquiredChunk] = field(init=False, default_factory=deque)
    application: ShareApplication = field(init=False, default_factory=ShareApplication)
    consumed: int = field(init=False, default=0)
    accepted: int = field(init=False, default=0)
    released: int = field(init=False, default=0)
    rejected: int = field(init=False, default=0)
    refused: int = field(init=False, default=0)
    last: deque[ConsumedRecord] = field(init=False, default_factory=lambda: deque(maxlen=LAST_RECORDS))

    def wake_at(self, at_us: int, out: Outbox) -> None:
        """The one timer of membership and sessions; a wake-up that turns out too early arms the next."""
        if at_us < self.group.wake_at_us:
            self.group.wake_at_us = at_us
            out.arm(MemberTimer(), after_us=max(at_us - out.now, 1))
