"""All that can happen, typed once. Every event narrates itself (``engine.view.narrate``) and carries its causes (``Happening``).

``node`` names are the kernel's addresses: ``broker-1``, ``controller-101``, or a client's name; ``you`` is the learner.
"""

from __future__ import annotations

import msgspec

from engine.cluster_events import *  # noqa: F403 - the other half of this module
from engine.cluster_events import Event
from engine.group_events import *  # noqa: F403 - what group coordinators tell
from engine.member_events import *  # noqa: F403 - those of groups

# -- brokers -----------------------------------------------------------------------------------------------------------------


class LogRecovered(Event, frozen=True, gc=False, tag=True):
    broker: int
    topic: str
    partition: int
    clean: bool
    log_end_offset: int
    bytes_truncated: int
    indexes_rebuilt: int


class LeaderStarted(Event, frozen=True, gc=False, tag=True):
    """The broker has learnt that it leads."""

    broker: int
    topic: str
    partition: int
    leader_epoch: int
    log_end_offset: int


class FollowerStarted(Event, frozen=True, gc=False, tag=True):
    broker: int
    topic: str
    partition: int
    leader: int
    leader_epoch: int


class RecordsAppended(Event, frozen=True, gc=False, tag=True):
    """The leader wrote a batch. ``client`` and ``correlation_id`` tell which produce request."""

    broker: int
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    leader_epoch: int
    size_bytes: int
    client: str
    correlation_id: int


class DuplicateRecognised(Event, frozen=True, gc=False, tag=True):
    """A retried batch was known by its sequence number: acknowledged with its original offset, not written again."""

    broker: int
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    client: str
    correlation_id: int


class RecordsReplicated(Event, frozen=True, gc=False, tag=True):
    broker: int
    topic: str
    partition: int
    first_offset: int
    last_offset: int


class HighWatermarkAdvanced(Event, frozen=True, gc=False, tag=True):
    """On the leader."""

    broker: int
    topic: str
    partition: int
    old: int
    new: int


class ReplicaTruncated(Event, frozen=True, gc=False, tag=True):
    """``to_offset`` is the new log end; everything from it on was dropped. ``leader_epoch`` is the leader's that asked for it."""

    broker: int
    topic: str
    partition: int
    from_offset: int
    to_offset: int
    leader_epoch: int


class IsrShrinkProposed(Event, frozen=True, gc=False, tag=True):
    broker: int
    topic: str
    partition: int
    removed: tuple[int, ...]
    isr: tuple[int, ...]


class IsrExpandProposed(Event, frozen=True, gc=False, tag=True):
    broker: int
    topic: str
    partition: int
    added: int
    isr: tuple[int, ...]


class ProduceRefused(Event, frozen=True, gc=False, tag=True):
    """Nothing was written (or, with an AFTER_APPEND or TIMED_OUT error, the record stays but is not acknowledged)."""

    broker: int
    topic: str
    partition: int
    error: str
    client: str
    correlation_id: int


class ClientThrottled(Event, frozen=True, gc=False, tag=True):
    """The response left at once with ``throttle_time_ms``, and the broker reads nothing more from the client until then. ``quota``:
    "producer_byte_rate", "consumer_byte_rate" or "request_percentage"; ``rate`` was measured, ``limit`` is allowed."""

    broker: int
    client: str
    user: str
    quota: str
    rate: float
    limit: float
    throttle_time_ms: int


class ReplicationThrottled(Event, frozen=True, gc=False, tag=True):
    """``side`` "leader": the broker hides records from followers that are not in sync; "follower": it does not ask for them. Told once a
    minute at most."""

    broker: int
    side: str
    rate: float
    limit: int


class AuthorizationDenied(Event, frozen=True, gc=False, tag=True):
    """``client`` asked to do ``operation`` on a resource as ``principal``, and no ACL allows it or one denies it."""

    broker: int
    client: str
    principal: str
    operation: str
    resource_type: str
    resource_name: str


class AuthenticationFailed(Event, frozen=True, gc=False, tag=True):
    """The broker refused the connection of ``client``, which said to be ``user``."""

    broker: int
    client: str
    user: str
    mechanism: str
    error: str


class ProduceAcknowledged(Event, frozen=True, gc=False, tag=True):
    broker: int
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    acks: int
    client: str
    correlation_id: int


class LastStableOffsetAdvanced(Event, frozen=True, gc=False, tag=True):
    """Told when a transaction begins to hold the last stable offset below the high watermark (``new`` is where) and when it moves on
    after that; not while it simply follows the high watermark."""

    broker: int
    topic: str
    partition: int
    old: int
    new: int
    high_watermark: int


class SegmentRolled(Event, frozen=True, gc=False, tag=True):
    broker: int
    topic: str
    partition: int
    base_offset: int


class SegmentsDeleted(Event, frozen=True, gc=False, tag=True):
    """``reason``: "retention.ms", "retention.bytes" or "log start offset" (they lay before it)."""

    broker: int
    topic: str
    partition: int
    log_start_offset: int
    reason: str
    segments: int = 1
    size_bytes: int = 0


class LogStartOffsetAdvanced(Event, frozen=True, gc=False, tag=True):
    """``reason``: "client delete records request" or, on a follower, "leader offset increment"."""

    broker: int
    topic: str
    partition: int
    old: int
    new: int
    reason: str


class LogCleaned(Event, frozen=True, gc=False, tag=True):
    """One clean of one replica's log: what was read ("before") and what of it is left ("after"). ``tombstones_removed``: those whose
    delete.retention.ms was over. Below ``end_offset`` no key is there twice."""

    broker: int
    topic: str
    partition: int
    first_dirty_offset: int
    end_offset: int
    bytes_before: int
    bytes_after: int
    records_before: int
    records_after: int
    tombstones_removed: int
    segments_before: int
    segments_after: int
    duration_us: int


class LogUncleanable(Event, frozen=True, gc=False, tag=True):
    """The cleaner could not read the log and leaves it alone until the broker restarts."""

    broker: int
    topic: str
    partition: int
    reason: str


class TransactionStarted(Event, frozen=True, gc=False, tag=True):
    """On the coordinator, with the transaction's first partition. ``broker`` is the coordinator here and in what follows."""

    broker: int
    transactional_id: str
    producer_id: int
    producer_epoch: int
    timeout_ms: int


class PartitionAddedToTransaction(Event, frozen=True, gc=False, tag=True):
    broker: int
    transactional_id: str
    producer_id: int
    producer_epoch: int
    topic: str
    partition: int


class OffsetsAddedToTransaction(Event, frozen=True, gc=False, tag=True):
    """The group's coordinator holds them as pending: they count once the transaction's COMMIT marker is there."""

    broker: int
    transactional_id: str
    group: str
    offsets: tuple[tuple[str, int, int], ...]


class TransactionTimedOut(Event, frozen=True, gc=False, tag=True):
    """The coordinator's sweep found it open for longer than its transaction.timeout.ms; it is aborted in a new epoch."""

    broker: int
    transactional_id: str
    producer_id: int
    producer_epoch: int
    open_ms: int
    timeout_ms: int


class TransactionPrepared(Event, frozen=True, gc=False, tag=True):
    """PrepareCommit or PrepareAbort is committed to ``__transaction_state``: the outcome stands, whoever crashes now. ``producer_epoch``
    is the one that the markers carry."""

    broker: int
    transactional_id: str
    producer_id: int
    producer_epoch: int
    committed: bool
    partition_count: int


class TransactionMarkerWritten(Event, frozen=True, gc=False, tag=True):
    """On the partition's leader: the control record takes an offset."""

    broker: int
    topic: str
    partition: int
    offset: int
    producer_id: int
    producer_epoch: int
    committed: bool


class TransactionCompleted(Event, frozen=True, gc=False, tag=True):
    """All markers are written, and so is CompleteCommit or CompleteAbort."""

    broker: int
    transactional_id: str
    producer_id: int
    producer_epoch: int
    committed: bool


class LogDirectoryFailed(Event, frozen=True, gc=False, tag=True):
    broker: int
    reason: str


# -- coordinators ----------------------------------------------------------------------------------------------------------


class CoordinatorLoaded(Event, frozen=True, gc=False, tag=True):
    """The broker leads this partition of an internal topic and has replayed its records: it coordinates what hashes to it."""

    broker: int
    topic: str
    partition: int
    leader_epoch: int
    record_count: int


class CoordinatorUnloaded(Event, frozen=True, gc=False, tag=True):
    """The broker no longer leads this partition and has dropped what it knew."""

    broker: int
    topic: str
    partition: int


# -- clients -----------------------------------------------------------------------------------------------------------------


class SentRecord(msgspec.Struct, frozen=True, gc=False):
    """``key`` and ``value`` are previews, at most 40 characters, control characters escaped."""

    record_id: int
    key: str | None
    value: str | None


class ProducerIdAssigned(Event, frozen=True, gc=False, tag=True):
    producer: str
    producer_id: int
    producer_epoch: int


class ProducerFenced(Event, frozen=True, gc=False, tag=True):
    """The producer learnt that its transactional ID belongs to a newer one: it can do nothing but close."""

    producer: str
    transactional_id: str
    producer_id: int
    producer_epoch: int
    error: str


class ProcessingAborted(Event, frozen=True, gc=False, tag=True):
    """A read-process-write application gives up what it has just done and goes back to its last committed offsets."""

    consumer: str
    group: str
    record_count: int


class TransactionCallRefused(Event, frozen=True, gc=False, tag=True):
    """A transactional method threw: it does not fit the producer's state. ``call``: "init", "begin", "commit", "abort" or "offsets"."""

    producer: str
    transactional_id: str
    call: str
    error: str


class TransactionFailed(Event, frozen=True, gc=False, tag=True):
    """The producer cannot complete its transaction. ``fatal`` false: it may abort and begin another; true: it can only be closed."""

    producer: str
    transactional_id: str
    error: str
    fatal: bool


class ProduceSent(Event, frozen=True, gc=False, tag=True):
    """One batch leaves in a produce request. ``records`` only with attempt 1; ``batch_id`` stays the same over retries."""

    producer: str
    broker: int
    topic: str
    partition: int
    batch_id: int
    attempt: int
    acks: int
    correlation_id: int
    record_count: int
    base_sequence: int
    records: tuple[SentRecord, ...]


class RecordsAcknowledged(Event, frozen=True, gc=False, tag=True):
    """The producer's callbacks succeeded. ``base_offset`` -1 with acks=0."""

    producer: str
    topic: str
    partition: int
    batch_id: int
    record_count: int
    base_offset: int


class ProduceRetried(Event, frozen=True, gc=False, tag=True):
    producer: str
    topic: str
    partition: int
    batch_id: int
    error: str


class RecordsFailed(Event, frozen=True, gc=False, tag=True):
    """The producer gave up; the records may nevertheless be in the log."""

    producer: str
    topic: str
    partition: int
    batch_id: int
    record_count: int
    error: str


class SendRefused(Event, frozen=True, gc=False, tag=True):
    """``send`` itself failed: buffer full for max.block.ms, no metadata, record too large."""

    producer: str
    topic: str
    record_id: int
    error: str


class ConsumerPositioned(Event, frozen=True, gc=False, tag=True):
    """``reason``: "auto.offset.reset=earliest", "seek", "offset out of range", …"""

    consumer: str
    topic: str
    partition: int
    offset: int
    reason: str


class RecordsConsumed(Event, frozen=True, gc=False, tag=True):
    """One batch (or the part of it at and after the position) handed to the application."""

    consumer: str
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    leader_epoch: int
    record_count: int


class ConsumerFailed(Event, frozen=True, gc=False, tag=True):
    consumer: str
    topic: str
    partition: int
    error: str


class WorkloadStarted(Event, frozen=True, gc=False, tag=True):
    producer: str
    workload: str
    topic: str
    records_per_second: int


class WorkloadStopped(Event, frozen=True, gc=False, tag=True):
    """``sent`` records in all."""

    producer: str
    workload: str
    sent: int


class AdminAnswered(Event, frozen=True, gc=False, tag=True):
    """The admin client's call ended. ``results``: (resource, error name, message)."""

    call_id: int
    api: str
    error: str
    results: tuple[tuple[str, str, str], ...]
    message: str
