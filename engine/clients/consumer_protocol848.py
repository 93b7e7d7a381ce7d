"""A member under KIP-848 (``group.protocol=consumer``): one heartbeat for everything (Java's ``ConsumerMembershipManager`` and
``ConsumerHeartbeatRequestManager``).

The coordinator assigns and says so in answers to heartbeats. The member reconciles: it commits, gives up what it is to lose, takes what is
free for it, and acknowledges with the next heartbeat; only then may somebody else have what it gave up. Nobody stands still meanwhile but
for the partitions that move (fact 43). Reconciling happens in ``poll``, since the application's listener has a say.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode

from engine.clients import group_coordinator as gc
from engine.clients import offsets_manager as offsets
from engine.clients.consumer_state import (
    ACKNOWLEDGING,
    FATAL,
    FENCED,
    JOINING,
    LEFT,
    RECONCILING,
    STABLE,
    STALE,
    UNJOINED,
    Consumer,
    Membership,
)
from engine.events import GroupJoined, GroupJoining, GroupLeft, MemberFenced, PollIntervalExceeded
from engine.messages.base import TopicPartition
from engine.messages.groups import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse
from engine.sim.outbox import Outbox

HEARTBEAT, LEAVE = "consumer group heartbeat", "consumer group leave"
LEAVE_EPOCH, STATIC_LEAVE_EPOCH = -1, -2
FENCING = ("FENCED_MEMBER_EPOCH", "UNKNOWN_MEMBER_ID")
EXCEPTIONS = {
    "UNRELEASED_INSTANCE_ID": "UnreleasedInstanceIdException",
    "FENCED_INSTANCE_ID": "FencedInstanceIdException",
    "UNSUPPORTED_ASSIGNOR": "UnsupportedAssignorException",
    "GROUP_MAX_SIZE_REACHED": "GroupMaxSizeReachedException",
    "GROUP_AUTHORIZATION_FAILED": "GroupAuthorizationException",
    "TOPIC_AUTHORIZATION_FAILED": "TopicAuthorizationException",
    "GROUP_ID_NOT_FOUND": "GroupIdNotFoundException",
    "INVALID_REQUEST": "InvalidRequestException",
}


def subscribe(consumer: Consumer, group: Membership, out: Outbox) -> None:
    """The member names itself (KIP-1082); it keeps that name as long as the process lives."""
    if not group.member_id:
        group.member_id = new_uuid(out)
    if group.state == UNJOINED:
        _join(group, "", group.cause)


def new_uuid(out: Outbox) -> str:
    """Kafka's ``Uuid.toString``: 22 characters of URL-safe base64, none of them a dash in front."""
    while True:
        stream = out.stream("member id")
        number = (stream.bits() & ~(0xF << 12) | 4 << 12) << 64 | stream.bits() & ~(3 << 62) | 2 << 62
        text = urlsafe_b64encode(number.to_bytes(16, "big")).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def _join(group: Membership, reason: str, cause: int) -> None:
    group.state, group.generation = JOINING, 0
    group.rejoin_reason, group.cause = reason, cause
    group.target = group.current = group.reconciling = group.commit = None
    _forget_what_was_told(group)


def _forget_what_was_told(group: Membership) -> None:
    """The next heartbeat says everything again."""
    group.told_topics = group.told_owned = None


# -- on the application's thread ------------------------------------------------------------------------------------------------


def poll(consumer: Consumer, group: Membership, out: Outbox) -> None:
    """What waits for the application's thread: what was lost, and what is to be reconciled."""
    if group.state in (FENCED, STALE):
        heard = out.cause
        out.because(group.cause)
        reason = "consumer poll timeout has expired" if group.state == STALE else "it was fenced"
        gc.give_up(consumer, group, list(consumer.positions), True, out)
        _join(group, reason, out.cause)
        out.because(heard)
    elif group.state == RECONCILING:
        _reconcile(consumer, group, out)


def _reconcile(consumer: Consumer, group: Membership, out: Outbox) -> None:
    """``maybeReconcile``: commit, revoke, assign; the acknowledgement goes out with the next heartbeat, which is sent at once."""
    resolved = group.reconciling
    heard = out.cause
    out.because(group.cause)
    if resolved is None:
        resolved = _resolvable(consumer, group)
        if resolved == group.current:
            out.because(heard)
            return  # what is missing waits for metadata
        group.reconciling = resolved
        for partition, position in consumer.positions.items():
            position.revoking = partition not in resolved
        if consumer.settings.enable_auto_commit:
            group.commit = offsets.begin_commit(consumer, offsets.REBALANCE, consumer.settings.max_poll_interval_ms, out)
    if group.commit is None or offsets.drive(consumer, group, group.commit, out):
        _revoke_and_assign(consumer, group, resolved, out)
    out.because(heard)


def _resolvable(consumer: Consumer, group: Membership) -> tuple[TopicPartition, ...]:
    """Of the target, what the metadata knows."""
    metadata = consumer.metadata
    found: list[TopicPartition] = []
    for partition in group.target or ():
        if partition.topic in metadata.topics:
            found.append(partition)
        else:
            metadata.want(partition.topic)
    return tuple(found)


def _revoke_and_assign(consumer: Consumer, group: Membership, resolved: tuple[TopicPartition, ...], out: Outbox) -> None:
    group.commit = group.reconciling = None
    if group.state != RECONCILING:  # the commit has found out that it is no member any more
        return
    if resolved != tuple(sorted(consumer.positions)):
        group.rebalances += 1
    gc.give_up(consumer, group, [partition for partition in consumer.positions if partition not in resolved], False, out)
    gc.take_over(consumer, group, resolved, out)
    if group.current is None and consumer.settings.enable_auto_commit:
        consumer.application.next_auto_commit_us = out.now + consumer.settings.auto_commit_interval_ms * 1000
    group.current, group.state = resolved, ACKNOWLEDGING
    group.cause = out.cause


# -- in the background ----------------------------------------------------------------------------------------------------------


def background(consumer: Consumer, group: Membership, out: Outbox) -> None:
    if group.state in (UNJOINED, FENCED, STALE, LEFT, FATAL):
        return
    poll_deadline = gc.poll_deadline_us(consumer)
    broker = gc.coordinator(consumer, group, out)
    if broker is None:
        return
    if out.now >= poll_deadline:
        _stay_away(consumer, group, broker, out)
        return
    now_due = group.state in (JOINING, ACKNOWLEDGING)
    due = group.retry_at_us if now_due else max(group.heartbeat_due_us, group.retry_at_us)
    if not group.heartbeat_in_flight and out.now >= due:
        _heartbeat(consumer, group, broker, out)
        due = group.heartbeat_due_us
    if group.heartbeat_in_flight:
        due = poll_deadline
    consumer.wake_at(min(due, poll_deadline), out)


def _heartbeat(consumer: Consumer, group: Membership, broker: int, out: Outbox) -> None:
    """Says only what has changed since the last one."""
    settings = consumer.settings
    joining = group.state == JOINING
    heard = out.cause
    out.because(group.cause)
    if joining:
        out.emit(GroupJoining(consumer.name, group.group_id, group.rejoin_reason))
    owned = () if joining else group.current if group.current is not None else tuple(consumer.positions)
    first = group.told_topics is None
    request = ConsumerGroupHeartbeatRequest(
        consumer.connections.new_correlation_id(), group.group_id, group.member_id, group.generation,
        settings.group_instance_id or None,
        (settings.client_rack or None) if first else None,
        settings.max_poll_interval_ms if first else -1,
        consumer.topics if group.told_topics != consumer.topics else None,
        (settings.group_remote_assignor or None) if first else None,
        owned if group.told_owned != owned else None,
        consumer.name,
    )  # fmt: skip
    group.told_topics, group.told_owned = consumer.topics, owned
    group.heartbeat_in_flight = True
    group.heartbeat_due_us = out.now + group.heartbeat_interval_us
    consumer.connections.send(broker, request, HEARTBEAT, out)
    if group.state == ACKNOWLEDGING:
        group.state = STABLE if group.current == group.target else RECONCILING
    out.because(heard)


def _stay_away(consumer: Consumer, group: Membership, broker: int, out: Outbox) -> None:
    """``transitionToStale``: without the application's thread the member leaves; it comes back with the next ``poll``."""
    application = consumer.application
    if application.todo:
        out.because(application.todo[0].cause)
    exceeded = PollIntervalExceeded(consumer.name, group.group_id, consumer.settings.max_poll_interval_ms)
    out.emit(exceeded, also=(application.processing_cause,))
    _say_leave(consumer, group, broker, "consumer poll timeout has expired", out)
    group.state, group.cause = STALE, out.cause


def _say_leave(consumer: Consumer, group: Membership, broker: int, reason: str, out: Outbox) -> None:
    """A static member only says that it will be back: it keeps its place until its session times out (fact 44)."""
    instance_id = consumer.settings.group_instance_id
    epoch = STATIC_LEAVE_EPOCH if instance_id else LEAVE_EPOCH
    out.emit(GroupLeft(consumer.name, group.group_id, reason, epoch == LEAVE_EPOCH))
    request = ConsumerGroupHeartbeatRequest(
        consumer.connections.new_correlation_id(), group.group_id, group.member_id, epoch, instance_id or None,
        client_id=consumer.name,
    )  # fmt: skip
    consumer.connections.send(broker, request, LEAVE, out)
    group.generation = epoch
    group.commit = group.reconciling = None


def leave(consumer: Consumer, group: Membership, reason: str, out: Outbox) -> bool:
    """On close. Returns whether an answer will come."""
    broker = group.coordinator
    if (
        group.state in (UNJOINED, FENCED, STALE, LEFT, FATAL)
        or broker < 0
        or not consumer.connections.ready(broker, out, as_coordinator=True)
    ):
        return False
    _say_leave(consumer, group, broker, reason, out)
    return True


# -- answers --------------------------------------------------------------------------------------------------------------------


def on_heartbeat(consumer: Consumer, group: Membership, body: ConsumerGroupHeartbeatResponse, out: Outbox) -> None:
    group.heartbeat_in_flight = False
    if group.state in (FENCED, STALE, LEFT, FATAL):
        return
    if body.error != "NONE":
        _refused(consumer, group, body, out)
        return
    group.heartbeat_failures = group.retry_at_us = 0
    interval_us = body.heartbeat_interval_ms * 1000
    if interval_us != group.heartbeat_interval_us:
        group.heartbeat_interval_us = interval_us
        group.heartbeat_due_us = out.now + interval_us
    if group.generation == 0 and body.member_epoch > 0:
        group.cause = out.emit(GroupJoined(consumer.name, group.group_id, body.member_epoch, group.member_id, "", False))
    group.generation = body.member_epoch
    if body.assignment is None:
        return
    group.target = tuple(sorted(body.assignment))
    if group.target != group.current:
        group.state, group.cause = RECONCILING, out.cause
    elif group.state in (JOINING, RECONCILING):
        group.state = STABLE


def _refused(consumer: Consumer, group: Membership, body: ConsumerGroupHeartbeatResponse, out: Outbox) -> None:
    error = body.error
    _forget_what_was_told(group)
    if error in FENCING:
        group.cause = out.emit(MemberFenced(consumer.name, group.group_id, error, "ConsumerGroupHeartbeat"))
        group.state, group.generation = FENCED, 0
        group.commit = group.reconciling = None
        group.heartbeat_failures = group.retry_at_us = 0
    elif error in gc.COORDINATOR_GONE:
        gc.forget(consumer, group, error, (), out)
        group.retry_at_us = out.now
    elif error == "COORDINATOR_LOAD_IN_PROGRESS":
        heartbeat_lost(consumer, group, out)
    else:
        gc.crash(consumer, group, f"{EXCEPTIONS.get(error, 'KafkaException')}: {body.message or error}", out)


def heartbeat_lost(consumer: Consumer, group: Membership, out: Outbox) -> None:
    """Another attempt after a pause, and with everything in it."""
    group.heartbeat_in_flight = False
    _forget_what_was_told(group)
    group.retry_at_us = out.now + gc.backoff(consumer, group.heartbeat_failures, out)
    group.heartbeat_due_us = min(group.heartbeat_due_us, group.retry_at_us)
    group.heartbeat_failures += 1
