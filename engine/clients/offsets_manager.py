"""Committed offsets: fetched when a partition is taken over, committed by timer, by hand, before a rebalance and on close.

Follows Java's ``ConsumerCoordinator`` (its commit and offset-fetch halves) and, for KIP-848, ``CommitRequestManager``. What is committed
is always where the polls so far have got to, which is why an automatic commit covers the records of the previous poll and never those
that the application is still working on (fact 46).
"""

from __future__ import annotations

from engine.clients import group_coordinator as gc
from engine.clients.consumer_fetch import reset
from engine.clients.consumer_records import fail
from engine.clients.consumer_state import FATAL, STABLE, CommitCall, Consumer, Membership, SentCommit, consumed_offsets
from engine.clients.position import INITIALISING, Position
from engine.events import CommitCompleted, CommitFailed, ConsumerPositioned, MemberFenced
from engine.messages.base import TopicPartition
from engine.messages.groups import (
    FetchedOffset,
    OffsetAndMetadata,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
)
from engine.sim.outbox import Outbox

COMMIT, FETCH = "commit", "offset fetch"
AUTO, SYNC, REBALANCE, CLOSE = "auto", "sync", "rebalance", "close"

_RETRIED = (
    "COORDINATOR_LOAD_IN_PROGRESS", "UNKNOWN_TOPIC_OR_PARTITION", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "REQUEST_TIMED_OUT",
    "NETWORK_EXCEPTION",
)  # fmt: skip
_EXPELLED = ("UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "FENCED_INSTANCE_ID")
_REBALANCING = (
    "RebalanceInProgressException: Offset commit cannot be completed since the consumer group is executing a rebalance at the moment. "
    "You can try completing the rebalance by calling poll() and then retry commit again"
)
_NOT_ACTIVE = (
    "CommitFailedException: Offset commit cannot be completed since the consumer is not part of an active group for auto partition "
    "assignment; it is likely that the consumer was kicked out of the group."
)


def is_new_protocol(consumer: Consumer) -> bool:
    return consumer.settings.group_protocol == "consumer"


def in_group(consumer: Consumer, group: Membership) -> bool:
    """Whether a commit can be made as a member: classic only in a stable generation, KIP-848 with any epoch."""
    return group.generation > 0 if is_new_protocol(consumer) else group.state == STABLE


# -- committing -------------------------------------------------------------------------------------------------------------


def auto_commit(consumer: Consumer, group: Membership, out: Outbox) -> None:
    """``maybeAutoCommitOffsetsAsync``: on each poll, every auto.commit.interval.ms; nobody waits for the answer."""
    application, settings = consumer.application, consumer.settings
    if not settings.enable_auto_commit:
        return
    if out.now >= application.next_auto_commit_us:
        application.next_auto_commit_us = out.now + settings.auto_commit_interval_ms * 1000
        offsets = consumed_offsets(consumer)
        if offsets and (not group.subscribed or in_group(consumer, group)):
            broker = gc.coordinator(consumer, group, out)
            if broker is None:
                application.next_auto_commit_us = out.now + max(settings.retry_backoff_ms, 1) * 1000
            else:
                _send(consumer, group, broker, AUTO, offsets, out)
    consumer.wake_at(application.next_auto_commit_us, out)


def begin_commit(consumer: Consumer, how: str, wait_ms: int, out: Outbox) -> CommitCall:
    """A commit that somebody waits for; ``drive`` takes it further."""
    return CommitCall(how, consumed_offsets(consumer), out.now + wait_ms * 1000, out.cause)


def drive(consumer: Consumer, group: Membership, call: CommitCall, out: Outbox) -> bool:
    """Does what can be done for ``call`` now. Returns whether it has come to its end."""
    if call.done or not call.offsets:
        call.done = True
    elif out.now >= call.deadline_us:
        waited = f"TimeoutException: Timeout of {consumer.settings.default_api_timeout_ms}ms expired before successfully committing offsets"
        _settle(consumer, group, call, waited, out)
    elif call.correlation_id < 0 and out.now >= call.retry_at_us:
        _attempt(consumer, group, call, out)
    if not call.done:
        consumer.wake_at(
            min(max(call.retry_at_us, out.now + 1), call.deadline_us) if call.correlation_id < 0 else call.deadline_us, out
        )
    return call.done


def _attempt(consumer: Consumer, group: Membership, call: CommitCall, out: Outbox) -> None:
    if group.subscribed and not in_group(consumer, group):
        rejoining = group.state in ("preparing rebalance", "completing rebalance")
        _settle(consumer, group, call, _REBALANCING if rejoining else _NOT_ACTIVE, out)
        return
    broker = gc.coordinator(consumer, group, out)
    if broker is not None:
        out.because(call.cause)
        call.correlation_id = _send(consumer, group, broker, call.how, call.offsets, out)
    else:
        call.retry_at_us = out.now + max(consumer.settings.retry_backoff_ms, 1) * 1000


def _settle(consumer: Consumer, group: Membership, call: CommitCall, error: str, out: Outbox) -> None:
    call.done, call.error, call.correlation_id = True, error, -1
    if error:
        out.emit(CommitFailed(consumer.name, group.group_id, call.how, error))


def _send(consumer: Consumer, group: Membership, broker: int, how: str, offsets: tuple[OffsetAndMetadata, ...], out: Outbox) -> int:
    number = consumer.connections.new_correlation_id()
    member = group.subscribed
    generation, member_id = (group.generation, group.member_id) if member else (-1, "")
    instance_id = consumer.settings.group_instance_id if member else ""
    group.sent_commits[number] = SentCommit(how, offsets, generation, member_id)
    request = OffsetCommitRequest(number, group.group_id, offsets, generation, member_id, instance_id)
    consumer.connections.send(broker, request, COMMIT, out)
    return number


def on_committed(consumer: Consumer, group: Membership, body: OffsetCommitResponse, out: Outbox) -> None:
    sent = group.sent_commits.pop(body.correlation_id, None)
    if sent is None:
        return
    errors = [result.error for result in body.results if result.error != "NONE"]
    if errors:
        _failed(consumer, group, body.correlation_id, sent, errors[0], (), out)
        return
    changed: list[tuple[str, int, int]] = []
    for item in sent.offsets:
        position = consumer.positions.get(item.partition)
        if position is None or position.committed != item.offset:
            changed.append((item.partition.topic, item.partition.partition, item.offset))
        if position is not None:
            position.committed = item.offset
    if changed:
        out.emit(CommitCompleted(consumer.name, group.group_id, tuple(changed), sent.how))
    call = _call_of(consumer, group, body.correlation_id)
    if call is not None:
        _settle(consumer, group, call, "", out)


def commit_lost(consumer: Consumer, group: Membership, correlation_id: int, silencers: tuple[int, ...], out: Outbox) -> None:
    """The connection went with the request: nobody knows whether it was done, so it is done again."""
    sent = group.sent_commits.pop(correlation_id, None)
    if sent is not None:
        _failed(consumer, group, correlation_id, sent, "NETWORK_EXCEPTION", silencers, out)


def _call_of(consumer: Consumer, group: Membership, correlation_id: int) -> CommitCall | None:
    for call in (consumer.application.commit, group.commit):
        if call is not None and call.correlation_id == correlation_id:
            return call
    return None


def _failed(
    consumer: Consumer, group: Membership, number: int, sent: SentCommit, error: str, silencers: tuple[int, ...], out: Outbox
) -> None:
    """``OffsetCommitResponseHandler``: the first error of any partition decides."""
    call = _call_of(consumer, group, number)
    retried = error in _RETRIED
    if error in ("COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "REQUEST_TIMED_OUT"):
        gc.forget(consumer, group, error, silencers, out)
    if error == "STALE_MEMBER_EPOCH":  # sent again where the epoch has moved on since
        retried = group.generation > 0 and group.generation != sent.generation
    if retried and call is None:
        consumer.application.next_auto_commit_us = out.now + max(consumer.settings.retry_backoff_ms, 1) * 1000
        return
    if retried and call is not None:
        call.correlation_id = -1
        call.retry_at_us = out.now + gc.backoff(consumer, call.failures, out)
        call.failures += 1
        return
    reason = _meaning(consumer, group, sent, error, out)
    if call is not None:
        _settle(consumer, group, call, reason, out)
    else:
        out.emit(CommitFailed(consumer.name, group.group_id, sent.how, reason))


def _meaning(consumer: Consumer, group: Membership, sent: SentCommit, error: str, out: Outbox) -> str:
    """Java's exception for an error that will not pass, after what it does to the membership."""
    if error == "REBALANCE_IN_PROGRESS":
        group.rejoin_needed, group.rejoin_reason = True, "offset commit failed since group is already rebalancing"
        group.cause = out.cause
        return _REBALANCING
    if error in _EXPELLED and not is_new_protocol(consumer):
        return _expelled(consumer, group, sent, error, out)
    if error in ("UNKNOWN_MEMBER_ID", "STALE_MEMBER_EPOCH", "FENCED_MEMBER_EPOCH"):
        return f"CommitFailedException: the coordinator answered {error}: the group has gone on without this member"
    return f"KafkaException: Unexpected error in commit: {error}"


def _expelled(consumer: Consumer, group: Membership, sent: SentCommit, error: str, out: Outbox) -> str:
    same = (sent.generation, sent.member_id) == (group.generation, group.member_id)
    if not same and group.state == "preparing rebalance":
        return _REBALANCING
    if error == "FENCED_INSTANCE_ID" and same and group.state != FATAL:
        failure = "FencedInstanceIdException: another member with this group.instance.id has joined since"
        gc.crash(consumer, group, failure, out)
        return failure
    if group.subscribed:
        leave_generation(consumer, group, error, "OffsetCommit", error != "ILLEGAL_GENERATION", out)
    return (
        f"CommitFailedException: {error}: Offset commit cannot be completed since the consumer is not part of an active group for auto "
        "partition assignment; it is likely that the consumer was kicked out of the group."
    )


def leave_generation(consumer: Consumer, group: Membership, error: str, request: str, forget_member_id: bool, out: Outbox) -> None:
    """``resetStateOnResponseError``: the generation is over for this member. ILLEGAL_GENERATION leaves it its member ID."""
    number = out.emit(MemberFenced(consumer.name, group.group_id, error, request))
    reset_generation(group, f"encountered {error} from {request} response", forget_member_id, number)


def reset_generation(group: Membership, reason: str, forget_member_id: bool, cause: int) -> None:
    """``resetStateAndRejoin``."""
    group.state, group.generation, group.assignor = "unjoined", -1, ""
    if forget_member_id:
        group.member_id = ""
    group.rejoin_needed, group.rejoin_reason, group.cause = True, reason, cause
    group.prepare_needed = True
    group.synced = group.elected = None


# -- fetching what is committed -------------------------------------------------------------------------------------------------


def fetch_committed(consumer: Consumer, group: Membership, out: Outbox) -> None:
    """For every partition that does not know yet where to begin."""
    waiting: list[TopicPartition] = []
    for partition, position in consumer.positions.items():
        if position.state != INITIALISING or position.busy:
            continue
        if position.retry_at_us > out.now:
            consumer.wake_at(position.retry_at_us, out)
            continue
        waiting.append(partition)
    broker = gc.coordinator(consumer, group, out) if waiting else None
    if broker is None:
        return
    for partition in waiting:
        consumer.positions[partition].busy = True
    out.because(consumer.positions[waiting[0]].cause)
    member_id, epoch = ("", -1)
    if is_new_protocol(consumer) and group.subscribed:
        member_id, epoch = group.member_id, group.generation
    request = OffsetFetchRequest(
        consumer.connections.new_correlation_id(), group.group_id, tuple(waiting), member_id, epoch, require_stable=True
    )
    consumer.connections.send(broker, request, FETCH, out, partitions=tuple(waiting))


def on_fetched(
    consumer: Consumer, group: Membership, asked: tuple[TopicPartition, ...], body: OffsetFetchResponse, out: Outbox
) -> None:
    if body.error != "NONE":
        if body.error in gc.COORDINATOR_GONE:
            gc.forget(consumer, group, body.error, (), out)
        for partition in asked:
            _later(consumer, consumer.positions.get(partition), body.error, out)
        return
    heard = out.cause
    for result in body.offsets:
        position = consumer.positions.get(result.partition)
        if position is not None and position.state == INITIALISING:
            out.because(heard)
            _take(consumer, result, position, out)


def _later(consumer: Consumer, position: Position | None, error: str, out: Outbox) -> None:
    if position is not None and position.state == INITIALISING:
        position.error = error
        position.retry_at_us = out.now + gc.backoff(consumer, position.failures, out)
        position.failures += 1


def _take(consumer: Consumer, result: FetchedOffset, position: Position, out: Outbox) -> None:
    partition = result.partition
    if result.error in ("TOPIC_AUTHORIZATION_FAILED", "UNKNOWN_TOPIC_OR_PARTITION"):
        fail(consumer, partition, position, result.error, out)
    elif result.error != "NONE":  # UNSTABLE_OFFSET_COMMIT: a transaction is still open
        _later(consumer, position, result.error, out)
    elif result.offset >= 0:
        position.seek(result.offset, result.leader_epoch)
        position.committed = result.offset
        position.cause = out.emit(
            ConsumerPositioned(consumer.name, partition.topic, partition.partition, result.offset, "committed offset")
        )
    else:
        position.error = ""
        position.cause = out.cause
        reset(consumer, partition, position, "", out)
