"""A member under the classic protocol: join, sync, heartbeat, leave (Java's ``AbstractCoordinator`` and ``ConsumerCoordinator``).

Two threads share the work in Java, and the difference shows: joining, revoking and taking over happen inside ``poll`` on the
application's thread, so a slow application delays a rebalance for everybody; heartbeats, the session and the poll timeout are watched
in the background, whatever the application does.
"""

from __future__ import annotations

from engine.clients import group_coordinator as gc
from engine.clients import offsets_manager as offsets
from engine.clients.consumer_state import (
    COMPLETING,
    FATAL,
    LEFT,
    PREPARING,
    STABLE,
    UNJOINED,
    Consumer,
    Membership,
)
from engine.coordination import assignors
from engine.events import (
    GroupJoined,
    GroupJoining,
    GroupLeft,
    PartitionsDealt,
    PollIntervalExceeded,
)
from engine.messages.base import TopicPartition
from engine.messages.groups import (
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeavingMember,
    MemberAssignment,
    MemberProtocol,
    Subscription,
    SyncGroupRequest,
    SyncGroupResponse,
)
from engine.sim.outbox import Outbox

JOIN, SYNC, HEARTBEAT, LEAVE = "join", "sync", "heartbeat", "leave"
JOIN_GROUP_TIMEOUT_LAPSE_MS = 5_000
"""The broker may need a moment longer than the rebalance timeout."""

POLL_TIMEOUT = "consumer poll timeout has expired."
_AT_ONCE = ("UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "REBALANCE_IN_PROGRESS", "MEMBER_ID_REQUIRED")
_FATAL = {
    "INCONSISTENT_GROUP_PROTOCOL": "InconsistentGroupProtocolException: the members share no assignor",
    "INVALID_SESSION_TIMEOUT": (
        "InvalidSessionTimeoutException: session.timeout.ms lies outside group.min.session.timeout.ms and group.max.session.timeout.ms"
    ),
    "INVALID_GROUP_ID": "InvalidGroupIdException: the group.id is not valid",
    "GROUP_AUTHORIZATION_FAILED": "GroupAuthorizationException: Not authorized to access the group",
    "GROUP_MAX_SIZE_REACHED": "GroupMaxSizeReachedException: the group has the configured maximum number of members",
    "FENCED_INSTANCE_ID": "FencedInstanceIdException: another member with this group.instance.id has joined since",
}


# -- on the application's thread ------------------------------------------------------------------------------------------------


def poll(consumer: Consumer, group: Membership, out: Outbox) -> None:
    """``ConsumerCoordinator.poll``: takes over a finished rebalance, begins one that is due."""
    _look_for_changes(consumer, group, out)
    if group.synced is not None:
        _on_join_complete(consumer, group, group.synced, out)
    if not group.rejoin_needed or group.state in (PREPARING, COMPLETING) or group.synced is not None:
        return
    broker = gc.coordinator(consumer, group, out)
    if broker is None:
        return
    if out.now < group.retry_at_us:
        consumer.wake_at(group.retry_at_us, out)
        return
    heard = out.cause
    if group.cause:
        out.because(group.cause)
    if not group.prepare_needed or _prepare(consumer, group, out):
        _join(consumer, group, broker, out)
    out.because(heard)


def request_rejoin(group: Membership, reason: str, cause: int) -> None:
    group.rejoin_needed, group.rejoin_reason, group.cause = True, reason, cause


def _look_for_changes(consumer: Consumer, group: Membership, out: Outbox) -> None:
    """The leader watches the partition counts that its assignment was made from; every member its own subscription."""
    if group.rejoin_needed or group.state != STABLE:
        return
    if group.snapshot is not None:
        now = _counts(consumer, tuple(name for name, _ in group.snapshot))
        if now != group.snapshot:
            request_rejoin(group, "cached metadata has changed", out.cause)
    if group.joined_topics != consumer.topics:
        request_rejoin(group, "subscription has changed", out.cause)


def _counts(consumer: Consumer, topics: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    known = consumer.metadata.topics
    return tuple([(name, len(known[name].leaders) if name in known else 0) for name in topics])


def _prepare(consumer: Consumer, group: Membership, out: Outbox) -> bool:
    """``onJoinPrepare``: commits, then gives up what the next generation may give to others. False while the commit is under way."""
    if group.commit is None:
        group.prepare_deadline_us = out.now + consumer.settings.max_poll_interval_ms * 1000
    if consumer.settings.enable_auto_commit and group.generation > 0:
        if group.commit is None:
            if not consumer.settings.cooperative:
                gc.stand_still(consumer, group, out)
                for position in consumer.positions.values():
                    position.revoking = True
            group.commit = offsets.begin_commit(consumer, offsets.REBALANCE, consumer.settings.max_poll_interval_ms, out)
        if not offsets.drive(consumer, group, group.commit, out):
            return False
    group.commit = None
    group.prepare_needed = False
    lost = group.generation < 0 or not group.member_id
    owned = list(consumer.positions)
    if not lost and consumer.settings.cooperative:
        owned = [partition for partition in owned if partition.topic not in consumer.topics]
    gc.give_up(consumer, group, owned, lost, out)
    group.leader, group.snapshot = False, None
    return group.rejoin_needed


def _join(consumer: Consumer, group: Membership, broker: int, out: Outbox) -> None:
    settings = consumer.settings
    group.state = PREPARING
    group.joined_topics = consumer.topics
    protocols = tuple(
        [MemberProtocol(name, _subscription(consumer, group, name)) for name in settings.partition_assignment_strategy]
    )
    if group.rejoin_reason != "need to re-join with the given member-id":
        out.emit(GroupJoining(consumer.name, group.group_id, group.rejoin_reason))
    request = JoinGroupRequest(
        consumer.connections.new_correlation_id(), group.group_id, group.member_id, settings.session_timeout_ms,
        settings.max_poll_interval_ms, protocols, settings.group_instance_id, consumer.name, reason=group.rejoin_reason,
    )  # fmt: skip
    timeout_ms = max(settings.request_timeout_ms, settings.max_poll_interval_ms + JOIN_GROUP_TIMEOUT_LAPSE_MS)
    consumer.connections.send(broker, request, JOIN, out, timeout_ms=timeout_ms)


def _subscription(consumer: Consumer, group: Membership, assignor: str) -> Subscription:
    """What is owned is what has not been revoked; ``StickyAssignor`` alone remembers its last assignment although that was."""
    rack = consumer.settings.client_rack
    if assignor == assignors.STICKY:
        return Subscription(consumer.topics, group.remembered, group.remembered_generation, rack)
    return Subscription(consumer.topics, tuple(consumer.positions), group.generation, rack)


def _on_join_complete(consumer: Consumer, group: Membership, assigned: tuple[TopicPartition, ...], out: Outbox) -> None:
    """The cooperative protocol gives up here what the assignment no longer names, and joins again so that others may have it."""
    heard = out.cause
    out.because(group.cause)
    group.synced = None
    group.prepare_needed = True
    if any(partition.topic not in consumer.topics for partition in assigned):
        request_rejoin(group, "received assignment does not match the current subscription", out.cause)
        out.because(heard)
        return
    if consumer.settings.cooperative:
        revoked = [partition for partition in consumer.positions if partition not in assigned]
        if revoked:
            gc.give_up(consumer, group, revoked, False, out)
            request_rejoin(group, "need to revoke partitions and re-join", out.cause)
    gc.take_over(consumer, group, assigned, out)
    group.remembered, group.remembered_generation = assigned, group.generation
    group.rebalances += 1
    if consumer.settings.enable_auto_commit:
        consumer.application.next_auto_commit_us = out.now + consumer.settings.auto_commit_interval_ms * 1000
    if group.rejoin_needed:
        group.cause = out.cause
    out.because(heard)


# -- answers to join and sync ---------------------------------------------------------------------------------------------------


def on_joined(consumer: Consumer, group: Membership, body: JoinGroupResponse, out: Outbox) -> None:
    if group.state != PREPARING:
        return  # the background has reset the generation meanwhile
    error = body.error
    if error == "NONE":
        group.state, group.failures = COMPLETING, 0
        group.generation, group.member_id, group.assignor = body.generation, body.member_id, body.protocol
        group.leader = body.leader == body.member_id
        _reset_timeouts(consumer, group, out)
        if group.leader:
            group.elected = body
            lead(consumer, group, out)
        else:
            _sync(consumer, group, (), out)
        return
    if error == "MEMBER_ID_REQUIRED":
        group.member_id = body.member_id
        request_rejoin(group, "need to re-join with the given member-id", out.cause)
    elif error == "UNKNOWN_MEMBER_ID":
        offsets.leave_generation(consumer, group, error, "JoinGroup", True, out)
    _rebalance_failed(consumer, group, error, out)


def _rebalance_failed(consumer: Consumer, group: Membership, error: str, out: Outbox) -> None:
    """What a failed join or sync means: at once again, after a pause, or never again."""
    if error in _FATAL:
        gc.crash(consumer, group, _FATAL[error], out)
        return
    group.state = UNJOINED
    group.elected = group.synced = None
    if error in gc.COORDINATOR_GONE:
        gc.forget(consumer, group, error, (), out)
    if error != "MEMBER_ID_REQUIRED":
        request_rejoin(group, group.rejoin_reason or f"rebalance failed due to {error}", out.cause)
    if error not in _AT_ONCE:
        group.retry_at_us = out.now + consumer.settings.retry_backoff_ms * 1000


def request_lost(consumer: Consumer, group: Membership, out: Outbox) -> None:
    """The connection broke under a join or a sync."""
    if group.state in (PREPARING, COMPLETING):
        _rebalance_failed(consumer, group, "NETWORK_EXCEPTION", out)


def lead(consumer: Consumer, group: Membership, out: Outbox) -> None:
    """``onLeaderElected``: as soon as the leader knows every topic that anybody subscribes to, it deals out the partitions."""
    elected = group.elected
    if elected is None or group.state != COMPLETING:
        return
    topics = tuple(sorted({topic for member in elected.members for topic in member.subscription.topics}))
    for topic in topics:
        consumer.metadata.want(topic)
    metadata = consumer.metadata
    if any(topic not in metadata.topics and topic not in metadata.errors for topic in topics):
        return
    group.elected = None
    group.snapshot = _counts(consumer, topics)
    if elected.skip_assignment:
        _sync(consumer, group, (), out)
        return
    counts = {name: count for name, count in group.snapshot if count}
    dealt = assignors.assign(elected.protocol, counts, elected.members, consumer.mutants)
    total = sum(len(partitions) for partitions in dealt.values())
    out.emit(PartitionsDealt(consumer.name, group.group_id, group.generation, elected.protocol, len(dealt), total))
    _sync(consumer, group, tuple([MemberAssignment(name, tuple(found)) for name, found in dealt.items()]), out)


def _sync(consumer: Consumer, group: Membership, assignments: tuple[MemberAssignment, ...], out: Outbox) -> None:
    broker = gc.coordinator(consumer, group, out)
    if broker is None:
        _rebalance_failed(consumer, group, "COORDINATOR_NOT_AVAILABLE", out)
        return
    request = SyncGroupRequest(
        consumer.connections.new_correlation_id(), group.group_id, group.generation, group.member_id, assignments,
        consumer.settings.group_instance_id, group.assignor,
    )  # fmt: skip
    consumer.connections.send(broker, request, SYNC, out)


def on_synced(consumer: Consumer, group: Membership, body: SyncGroupResponse, out: Outbox) -> None:
    if group.state != COMPLETING:
        return
    error = body.error
    if error == "NONE":
        group.state, group.synced = STABLE, body.partitions
        group.rejoin_needed, group.rejoin_reason = False, ""
        group.cause = out.emit(
            GroupJoined(consumer.name, group.group_id, group.generation, group.member_id, group.assignor, group.leader)
        )
        return
    if error in ("UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION"):
        offsets.leave_generation(consumer, group, error, "SyncGroup", error != "ILLEGAL_GENERATION", out)
    elif error == "REBALANCE_IN_PROGRESS":
        group.rejoin_reason = "group is already rebalancing"
    _rebalance_failed(consumer, group, error, out)


# -- in the background ----------------------------------------------------------------------------------------------------------


def _reset_timeouts(consumer: Consumer, group: Membership, out: Outbox) -> None:
    settings = consumer.settings
    group.heartbeat_due_us = out.now + settings.heartbeat_interval_ms * 1000
    group.session_deadline_us = out.now + settings.session_timeout_ms * 1000
    group.heartbeat_failures = 0


def background(consumer: Consumer, group: Membership, out: Outbox) -> None:
    """One round of ``HeartbeatThread.run``; only members of a generation have something to do here."""
    if group.state not in (COMPLETING, STABLE):
        return
    poll_deadline = gc.poll_deadline_us(consumer)
    if group.coordinator >= 0 and out.now >= group.session_deadline_us:
        silencers = out.silencers(f"broker-{group.coordinator}")
        gc.forget(consumer, group, "session timed out without receiving a heartbeat response", silencers, out)
    broker = gc.coordinator(consumer, group, out)
    if broker is None:
        return
    if out.now >= poll_deadline:
        application = consumer.application
        if application.todo:
            out.because(application.todo[0].cause)
        exceeded = PollIntervalExceeded(consumer.name, group.group_id, consumer.settings.max_poll_interval_ms)
        out.emit(exceeded, also=(application.processing_cause,))
        leave(consumer, group, POLL_TIMEOUT, out)
        return
    if out.now >= group.heartbeat_due_us:
        group.heartbeat_due_us = out.now + consumer.settings.heartbeat_interval_ms * 1000
        out.because(group.cause)
        request = HeartbeatRequest(
            consumer.connections.new_correlation_id(), group.group_id, group.generation, group.member_id,
            consumer.settings.group_instance_id,
        )  # fmt: skip
        consumer.connections.send(broker, request, HEARTBEAT, out, items=(group.generation,))
    consumer.wake_at(min(group.heartbeat_due_us, group.session_deadline_us, poll_deadline), out)


def on_heartbeat(consumer: Consumer, group: Membership, sent_generation: int, body: HeartbeatResponse, out: Outbox) -> None:
    error = body.error
    if error in ("NONE", "REBALANCE_IN_PROGRESS"):
        group.heartbeat_failures = 0
        group.session_deadline_us = out.now + consumer.settings.session_timeout_ms * 1000
        if error != "NONE" and group.state == STABLE and not group.rejoin_needed:
            request_rejoin(group, "group is already rebalancing", out.cause)
        return
    if error in gc.COORDINATOR_GONE:
        gc.forget(consumer, group, error, (), out)
    elif error == "GROUP_AUTHORIZATION_FAILED" or (error == "FENCED_INSTANCE_ID" and sent_generation == group.generation):
        gc.crash(consumer, group, _FATAL[error], out)
        return
    elif error in ("ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID"):
        if sent_generation == group.generation:
            offsets.leave_generation(consumer, group, error, "Heartbeat", error != "ILLEGAL_GENERATION", out)
        return
    heartbeat_lost(consumer, group, out)


def heartbeat_lost(consumer: Consumer, group: Membership, out: Outbox) -> None:
    group.heartbeat_due_us = out.now + gc.backoff(consumer, group.heartbeat_failures, out)
    group.heartbeat_failures += 1


def leave(consumer: Consumer, group: Membership, reason: str, out: Outbox) -> bool:
    """``maybeLeaveGroup``: a dynamic member tells the coordinator, a static one keeps its place until its session times out (fact 44).
    Returns whether an answer will come."""
    told = False
    if group.state not in (UNJOINED, LEFT, FATAL) and group.member_id:
        broker = group.coordinator
        if not consumer.settings.group_instance_id and broker >= 0 and consumer.connections.ready(broker, out, as_coordinator=True):
            told = True
            member = LeavingMember(group.member_id, reason=reason)
            request = LeaveGroupRequest(consumer.connections.new_correlation_id(), group.group_id, (member,))
            number = out.emit(GroupLeft(consumer.name, group.group_id, reason, True))
            consumer.connections.send(broker, request, LEAVE, out)
        else:
            number = out.emit(GroupLeft(consumer.name, group.group_id, reason, False))
        offsets.reset_generation(group, "consumer pro-actively leaving the group", True, number)
    return told
