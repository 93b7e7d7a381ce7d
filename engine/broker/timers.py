"""The broker's timers. Those of parked requests are armed once per requester and look at the deadline when they run out, so that a
busy path (a fetch that is answered before its time) moves a number instead of a timer.
"""

from __future__ import annotations

from engine.messages.base import Timer


class FetchExpired(Timer, frozen=True, gc=False, tag=True):
    """The parked fetch of ``requester`` may have waited for its ``max_wait_ms``."""

    requester: str


class ProduceExpired(Timer, frozen=True, gc=False, tag=True):
    """A parked produce request may have waited for its ``timeout_ms``."""


class FetcherTimeout(Timer, frozen=True, gc=False, tag=True):
    """``replica.socket.timeout.ms`` for the fetch that is under way to ``leader_id``."""

    leader_id: int


class FetcherBackoff(Timer, frozen=True, gc=False, tag=True):
    """Partitions fetched from ``leader_id`` that met an error are due again."""

    leader_id: int


class IsrShrinkCheck(Timer, frozen=True, gc=False, tag=True):
    """Every half of ``replica.lag.time.max.ms``."""


class HighWatermarkCheckpoint(Timer, frozen=True, gc=False, tag=True):
    """Every ``replica.high.watermark.checkpoint.interval.ms``."""


class RecoveryPointCheckpoint(Timer, frozen=True, gc=False, tag=True):
    """Every minute."""


class RetentionCheck(Timer, frozen=True, gc=False, tag=True):
    """Every ``log.retention.check.interval.ms``."""


class CleanerWake(Timer, frozen=True, gc=False, tag=True):
    """Every ``log.cleaner.backoff.ms``, as long as no log is dirty enough."""


class CleanerStep(Timer, frozen=True, gc=False, tag=True):
    """The cleaner has read or written as much as it set out to."""


class DeleteRecordsExpired(Timer, frozen=True, gc=False, tag=True):
    """A parked DeleteRecords request may have waited for its ``timeout_ms``."""


class LifecycleTick(Timer, frozen=True, gc=False, tag=True):
    """The next registration attempt or heartbeat."""


class ControlledShutdownTimeout(Timer, frozen=True, gc=False, tag=True):
    """The controller never gave leave to stop."""


class ControllerRetry(Timer, frozen=True, gc=False, tag=True):
    """Calls that found no active controller are sent again."""


class ControllerCallTimeout(Timer, frozen=True, gc=False, tag=True):
    """No answer from the controller to one call."""

    correlation_id: int


class AlterPartitionRetry(Timer, frozen=True, gc=False, tag=True):
    """The ISR changes that wait are proposed again."""


class CoordinatorLoad(Timer, frozen=True, gc=False, tag=True):
    """The log of this partition of an internal topic has been read: its coordinator takes requests from now on."""

    topic: str
    partition: int


class CoordinatorWriteExpired(Timer, frozen=True, gc=False, tag=True):
    """Records of a coordinator may have waited for their replication as long as they may."""

    topic: str
    partition: int


class Unmute(Timer, frozen=True, gc=False, tag=True):
    """The throttle time of a client's channel is over: what waits in its socket is read."""

    client: str


class TransactionSweep(Timer, frozen=True, gc=False, tag=True):
    """Every ``transaction.abort.timed.out.transaction.cleanup.interval.ms``, while this broker coordinates some transaction."""


class TransactionalIdExpiry(Timer, frozen=True, gc=False, tag=True):
    """Every ``transaction.remove.expired.transaction.cleanup.interval.ms``, likewise."""


class MarkerRetry(Timer, frozen=True, gc=False, tag=True):
    """Markers that could not be written are sent again, to whoever leads now."""


class MarkerTimeout(Timer, frozen=True, gc=False, tag=True):
    """``leader_id`` has not answered a WriteTxnMarkers request."""

    leader_id: int


class VerificationRetry(Timer, frozen=True, gc=False, tag=True):
    """``add.partitions.to.txn.retry.backoff.ms``: the coordinator is asked again whether a transaction may write here."""

    number: int


class VerificationTimeout(Timer, frozen=True, gc=False, tag=True):
    """The coordinator has not answered."""

    number: int


class ShareLockTimer(Timer, frozen=True, gc=False, tag=True):
    """``group.share.record.lock.duration.ms`` of a record that a share group has acquired may be over."""

    group_id: str
    topic: str
    partition: int


class ShareFetchExpired(Timer, frozen=True, gc=False, tag=True):
    """A parked share fetch has waited for its ``max_wait_ms``."""

    client: str
    number: int


class PersisterRetry(Timer, frozen=True, gc=False, tag=True):
    """A call to a share coordinator is made again."""

    number: int


class PersisterTimeout(Timer, frozen=True, gc=False, tag=True):
    """A share coordinator has not answered."""

    number: int


class Halt(Timer, frozen=True, gc=False, tag=True):
    """The log directory has failed: the process ends."""
