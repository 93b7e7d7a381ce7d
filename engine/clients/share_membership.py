"""A share consumer in its group: Java's ``ShareMembershipManager`` and ``ShareHeartbeatRequestManager`` (KIP-932).

As under KIP-848 one heartbeat says and brings everything, but nothing has to be given up in good order: several members may read the
same partition, and what one has acquired stays its own until it has said what became of it, or its locks run out.
"""

from __future__ import annotations

from engine.clients import group_coordinator as gc
from engine.clients.consumer_protocol848 import EXCEPTIONS, FENCING, LEAVE_EPOCH, new_uuid
from engine.clients.consumer_state import (
    ACKNOWLEDGING,
    CRASHED,
    FATAL,
    JOINING,
    LEFT,
    POLLING,
    STABLE,
    STALE,
    UNJOINED,
)
from engine.clients.share_state import ShareConsumer, ShareMembership
from engine.events import ConsumerCrashed, GroupJoined, GroupJoining, GroupLeft, MemberFenced, PollIntervalExceeded
from engine.messages.base import TopicPartition
from engine.messages.groups import FindCoordinatorResponse
from engine.messages.share_groups import ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse
from engine.sim.outbox import Outbox

HEARTBEAT, LEAVE = "share group heartbeat", "share group leave"
NEVER_US = 2**62


def subscribe(consumer: ShareConsumer, out: Outbox) -> None:
    """The member names itself and keeps that name as long as the process lives; the next heartbeat joins."""
    group = consumer.group
    if not group.member_id:
        group.member_id = new_uuid(out)
    if group.state == UNJOINED:
        _join(group, "", out.cause)


def _join(group: ShareMembership, reason: str, cause: int) -> None:
    group.state, group.epoch = JOINING, 0
    group.rejoin_reason, group.cause = reason, cause
    group.target, group.assigned, group.told_topics = None, (), None


def poll(consumer: ShareConsumer) -> None:
    """The application's thread is back: whoever left for want of it joins again."""
    if consumer.group.state == STALE:
        _join(consumer.group, "consumer poll timeout has expired", consumer.group.cause)


def crash(consumer: ShareConsumer, error: str, out: Outbox) -> None:
    """``poll`` throws it, and the program around it ends: nothing more is said to anybody, and the locks run out."""
    consumer.group.state, consumer.group.error = FATAL, error
    consumer.group.assigned = ()
    consumer.application.state = CRASHED
    consumer.application.todo.clear()
    consumer.application.verdicts.clear()
    consumer.buffer.clear()
    out.emit(ConsumerCrashed(consumer.name, consumer.group.group_id, error))


# -- in the background ----------------------------------------------------------------------------------------------------------


def background(consumer: ShareConsumer, out: Outbox) -> None:
    group = consumer.group
    if group.state in (UNJOINED, STALE, LEFT, FATAL):
        return
    _resolve(consumer, out)
    poll_deadline = _poll_deadline_us(consumer)
    broker = gc.coordinator(consumer, group, out)
    if broker is None:
        return
    if out.now >= poll_deadline:
        _stay_away(consumer, broker, out)
        return
    now_due = group.state in (JOINING, ACKNOWLEDGING)
    due = group.retry_at_us if now_due else max(group.heartbeat_due_us, group.retry_at_us)
    if not group.heartbeat_in_flight and out.now >= due:
        _heartbeat(consumer, broker, out)
        due = group.heartbeat_due_us
    if group.heartbeat_in_flight:
        due = poll_deadline
    consumer.wake_at(min(due, poll_deadline), out)


def _poll_deadline_us(consumer: ShareConsumer) -> int:
    if consumer.application.state == POLLING:
        return NEVER_US
    return consumer.application.polled_us + consumer.settings.max_poll_interval_ms * 1000


def _resolve(consumer: ShareConsumer, out: Outbox) -> None:
    """Of the target, what the metadata knows: nobody is to be waited for, so it is taken over at once."""
    group = consumer.group
    found: list[TopicPartition] = []
    for partition in group.target or ():
        if partition.topic in consumer.metadata.topics:
            found.append(partition)
        else:
            consumer.metadata.want(partition.topic)
    if tuple(found) != group.assigned:
        group.assigned = tuple(found)
        if group.state == STABLE:
            group.state = ACKNOWLEDGING


def _heartbeat(consumer: ShareConsumer, broker: int, out: Outbox) -> None:
    """Says only what has changed since the last one."""
    group = consumer.group
    heard = out.cause
    out.because(group.cause)
    if group.state == JOINING:
        out.emit(GroupJoining(consumer.name, group.group_id, group.rejoin_reason))
    first = group.told_topics is None
    request = ShareGroupHeartbeatRequest(
        consumer.connections.new_correlation_id(), group.group_id, group.member_id, group.epoch,
        consumer.topics if group.told_topics != consumer.topics else None, consumer.name,
        (consumer.settings.client_rack or None) if first else None,
    )  # fmt: skip
    group.told_topics = consumer.topics
    group.heartbeat_in_flight = True
    group.heartbeat_due_us = out.now + group.heartbeat_interval_us
    consumer.connections.send(broker, request, HEARTBEAT, out)
    if group.state == ACKNOWLEDGING:
        group.state = STABLE
    out.because(heard)


def _stay_away(consumer: ShareConsumer, broker: int, out: Outbox) -> None:
    """Without the application's thread the member leaves; it comes back with the next ``poll``."""
    group, application = consumer.group, consumer.application
    if application.todo:
        out.because(application.todo[0].cause)
    exceeded = PollIntervalExceeded(consumer.name, group.group_id, consumer.settings.max_poll_interval_ms)
    out.emit(exceeded, also=(application.processing_cause,))
    _say_leave(consumer, broker, "consumer poll timeout has expired", out)
    group.state, group.cause = STALE, out.cause
    group.target, group.assigned = None, ()


def _say_leave(consumer: ShareConsumer, broker: int, reason: str, out: Outbox) -> None:
    group = consumer.group
    out.emit(GroupLeft(consumer.name, group.group_id, reason, True))
    number = consumer.connections.new_correlation_id()
    request = ShareGroupHeartbeatRequest(number, group.group_id, group.member_id, LEAVE_EPOCH, client_id=consumer.name)
    consumer.connections.send(broker, request, LEAVE, out)
    group.epoch = LEAVE_EPOCH


def leave(consumer: ShareConsumer, reason: str, out: Outbox) -> bool:
    """On close. Returns whether an answer will come."""
    group = consumer.group
    broker = group.coordinator
    gone = group.state in (UNJOINED, STALE, LEFT, FATAL) or broker < 0 or not consumer.connections.ready(broker, out)
    if not gone:
        _say_leave(consumer, broker, reason, out)
    group.state = LEFT
    return not gone


# -- answers --------------------------------------------------------------------------------------------------------------------


def on_found(consumer: ShareConsumer, body: FindCoordinatorResponse, out: Outbox) -> None:
    refusal = gc.take_found(consumer, consumer.group, body, out)
    if refusal:
        crash(consumer, refusal, out)


def on_heartbeat(consumer: ShareConsumer, body: ShareGroupHeartbeatResponse, out: Outbox) -> None:
    group = consumer.group
    group.heartbeat_in_flight = False
    if group.state in (STALE, LEFT, FATAL):
        return
    if body.error != "NONE":
        _refused(consumer, body, out)
        return
    group.heartbeat_failures = group.retry_at_us = 0
    interval_us = body.heartbeat_interval_ms * 1000
    if interval_us != group.heartbeat_interval_us:
        group.heartbeat_interval_us = interval_us
        group.heartbeat_due_us = out.now + interval_us
    if group.epoch == 0 and body.member_epoch > 0:
        group.cause = out.emit(GroupJoined(consumer.name, group.group_id, body.member_epoch, group.member_id, "", False))
    group.epoch = body.member_epoch
    if group.state == JOINING:
        group.state = STABLE
    if body.assignment is not None:
        group.target, group.cause = tuple(sorted(body.assignment)), out.cause


def _refused(consumer: ShareConsumer, body: ShareGroupHeartbeatResponse, out: Outbox) -> None:
    group, error = consumer.group, body.error
    group.told_topics = None
    if error in FENCING:
        cause = out.emit(MemberFenced(consumer.name, group.group_id, error, "ShareGroupHeartbeat"))
        _join(group, "it was fenced", cause)
        group.heartbeat_failures = group.retry_at_us = 0
    elif error in gc.COORDINATOR_GONE:
        gc.forget(consumer, group, error, (), out)
        group.retry_at_us = out.now
    elif error == "COORDINATOR_LOAD_IN_PROGRESS":
        heartbeat_lost(consumer, out)
    else:
        crash(consumer, f"{EXCEPTIONS.get(error, 'KafkaException')}: {body.message or error}", out)


def heartbeat_lost(consumer: ShareConsumer, out: Outbox) -> None:
    """Another attempt after a pause, and with everything in it."""
    group = consumer.group
    group.heartbeat_in_flight = False
    group.told_topics = None
    group.retry_at_us = out.now + gc.backoff(consumer, group.heartbeat_failures, out)
    group.heartbeat_due_us = min(group.heartbeat_due_us, group.retry_at_us)
    group.heartbeat_failures += 1
