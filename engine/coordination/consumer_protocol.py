"""What a group coordinator does with ConsumerGroupHeartbeat (KIP-848): the consumer-group part of ``GroupMetadataManager``.

One request does everything: a member joins with it, stays, tells what it owns, learns what it is to own, leaves. Each goes three steps: the
member and, if need be, the group epoch; the target assignment, if it is of an older epoch; the member's own assignment, as far as other
members have released what it is to get. Everything is decided here and written; replaying the records changes the group.
"""

from __future__ import annotations

import msgspec

from engine.coordination import target_assignment
from engine.coordination.classic_group import ClassicGroup
from engine.coordination.classic_protocol import new_uuid
from engine.coordination.consumer_group import EMPTY, STABLE, ConsumerGroup, preferred_assignor
from engine.coordination.consumer_group_member import (
    LEAVE_GROUP_EPOCH,
    LEAVE_GROUP_STATIC_EPOCH,
    ConsumerGroupMember,
    reconcile,
)
from engine.coordination.consumer_group_records import (
    CURRENT_KEY,
    GROUP_EPOCH_KEY,
    MEMBER_KEY,
    TARGET_KEY,
    Assignment,
    TopicIdPartition,
    current_value,
    epoch_value,
    group_key,
    member_key,
    subscription_value,
    target_value,
)  # fmt: skip
from engine.coordination.consumer_group_story import (
    names_of,
    tell_away,
    tell_epoch,
    tell_left,
    tell_reconciled,
    tell_target,
)
from engine.coordination.group import GroupError
from engine.coordination.group_shard import GroupShard
from engine.coordination.group_timers import MemberRevocationTimer, MemberSilenceTimer
from engine.coordination.server_assignors import ASSIGNORS
from engine.coordination.shard import Decision, Records
from engine.events import GroupReconciled, GroupStateChanged, MemberJoined, StaticMemberReplaced
from engine.messages.base import TopicPartition
from engine.messages.groups import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse
from engine.metadata.image import MetadataImage
from engine.sim.outbox import Outbox

METADATA_REFRESH_US = 600_000_000
"""How often a group looks at its topics by itself (``CONSUMER_GROUP_METADATA_REFRESH_INTERVAL``); a change asks for it at once."""


def heartbeat(shard: GroupShard, source: str, request: ConsumerGroupHeartbeatRequest, decision: Decision) -> None:
    try:
        _check(request)
        if request.member_epoch < 0:
            response = _leave(shard, request, decision)
        else:
            response = _heartbeat(shard, source, request, decision)
    except GroupError as wrong:
        decision.records.clear()
        response = ConsumerGroupHeartbeatResponse(request.correlation_id, wrong.error, wrong.message)
    decision.replies.append((source, response))


def _check(request: ConsumerGroupHeartbeatRequest) -> None:
    """Raises GroupError(INVALID_REQUEST) or (UNSUPPORTED_ASSIGNOR)."""
    wrong = ""
    epoch = request.member_epoch
    if not request.group_id:
        wrong = "GroupId can't be empty."
    elif request.instance_id == "":
        wrong = "InstanceId can't be empty."
    elif request.rack_id == "":
        wrong = "RackId can't be empty."
    elif epoch < LEAVE_GROUP_STATIC_EPOCH:
        wrong = "MemberEpoch is invalid."
    elif epoch and not request.member_id:
        wrong = "MemberId can't be empty."
    elif epoch == LEAVE_GROUP_STATIC_EPOCH and request.instance_id is None:
        wrong = "InstanceId can't be null."
    elif epoch == 0 and request.rebalance_timeout_ms == -1:
        wrong = "RebalanceTimeoutMs must be provided in first request."
    elif epoch == 0 and (request.owned is None or request.owned):
        wrong = "TopicPartitions must be empty when (re-)joining."
    elif epoch == 0 and request.topics is None:
        wrong = "SubscribedTopicNames must be set in first request."
    if wrong:
        raise GroupError("INVALID_REQUEST", wrong)
    if request.server_assignor is not None and request.server_assignor not in ASSIGNORS:
        supported = ", ".join(ASSIGNORS)
        raise GroupError(
            "UNSUPPORTED_ASSIGNOR", f"ServerAssignor {request.server_assignor} is not supported. Supported assignors: {supported}."
        )


# -- joining and staying ----------------------------------------------------------------------------------------------------------------


def _heartbeat(
    shard: GroupShard, source: str, request: ConsumerGroupHeartbeatRequest, decision: Decision
) -> ConsumerGroupHeartbeatResponse:
    out, image = decision.out, decision.known_metadata()
    joins = request.member_epoch == 0
    group = _group(shard, request.group_id, joins, decision.records)
    member_id = request.member_id or new_uuid(out)
    if member_id not in group.members and len(group.members) >= shard.settings.consumer_max_size:
        limit = shard.settings.consumer_max_size
        raise GroupError("GROUP_MAX_SIZE_REACHED", f"The consumer group has reached its maximum capacity of {limit} members.")
    reported = _ids(request.owned, image)
    known = _find_member(group, member_id, request, reported)
    if known is None:
        member = ConsumerGroupMember(member_id)
    elif known.member_id != member_id:
        member = _replace_static_member(shard, group, source, known, member_id, decision)
    else:
        member = known
    if shard.groups.get(group.group_id) is not group:
        shard.groups[group.group_id] = group
    updated = _update(member, source, request)
    if known is None:
        count = len(group.members) + 1
        out.emit(MemberJoined(shard.broker_id, group.group_id, source, member_id, updated.instance_id, count))
    if updated != member:
        key = member_key(MEMBER_KEY, group.group_id, member_id)
        decision.records.append((key, subscription_value(updated.subscription())))
    changed = updated.topics != member.topics
    reason = f"{source} joined" if known is None else f"{source} subscribes to other topics" if changed else ""
    members = target_assignment.members_after(group, updated)
    epoch = _bump_epoch(shard, group, members, reason, decision)
    target_epoch, target = _update_target(shard, group, members, updated, epoch, decision)
    before = updated
    updated = reconcile(
        before, target_epoch, target, group.partition_epochs, reported, target_assignment.topic_ids(image, updated.topics),
        changed, shard.mutants,
    )  # fmt: skip
    group.session_timeout_us = session_timeout_us(shard, group.group_id, image)
    group.start_session(member_id, out)
    if updated != before:
        decision.records.append((member_key(CURRENT_KEY, group.group_id, member_id), current_value(updated.current())))
        tell_reconciled(shard.broker_id, group, before, updated, target, image, out)
        if updated.pending_revocation:
            group.start_revocation(updated, out)
        else:
            group.stop_revocation(member_id, out)
    full = request.rebalance_timeout_ms != -1 and request.topics is not None and request.owned is not None
    assignment = None
    if joins or full or updated.assigned != member.assigned:
        assignment = names_of(updated.assigned, image)
    interval_ms = _setting(image, group.group_id, "consumer.heartbeat.interval.ms", shard.settings.consumer_heartbeat_interval_ms)
    return ConsumerGroupHeartbeatResponse(
        request.correlation_id, "NONE", "", member_id, updated.member_epoch, interval_ms, assignment
    )


def session_timeout_us(shard: GroupShard, group_id: str, image: MetadataImage) -> int:
    return _setting(image, group_id, "consumer.session.timeout.ms", shard.settings.consumer_session_timeout_us // 1000) * 1000


def _setting(image: MetadataImage, group_id: str, name: str, default: int) -> int:
    """The group's own, or what the broker has for all groups."""
    own = image.configs.get(f"group:{group_id}")
    return default if own is None else int(own.get(name, default))


def _group(shard: GroupShard, group_id: str, create: bool, records: Records) -> ConsumerGroup:
    """An empty classic group becomes a consumer group; one that is in use does not, in this cluster: as with
    ``group.consumer.migration.policy`` "downgrade" or "disabled"."""
    known = shard.groups.get(group_id)
    if isinstance(known, ConsumerGroup):
        return known
    if known is None and not create:
        raise GroupError("GROUP_ID_NOT_FOUND", f"Consumer group {group_id} not found.")
    if known is not None:
        if not create or not isinstance(known, ClassicGroup) or not known.is_empty():
            raise GroupError("GROUP_ID_NOT_FOUND", f"Group {group_id} is not a consumer group.")
        if known.protocol_type:
            records += known.tombstones()
    return ConsumerGroup(group_id)


def _ids(partitions: tuple[TopicPartition, ...] | None, image: MetadataImage) -> dict[TopicIdPartition, None] | None:
    if partitions is None:
        return None
    topics = image.topics
    return dict.fromkeys([TopicIdPartition(topics[name].topic_id, number) for name, number in partitions if name in topics])


def _find_member(
    group: ConsumerGroup,
    member_id: str,
    request: ConsumerGroupHeartbeatRequest,
    reported: dict[TopicIdPartition, None] | None,
) -> ConsumerGroupMember | None:
    """The member that asks; the static one whose place it takes; or None, where it is new. Raises GroupError."""
    epoch, instance_id = request.member_epoch, request.instance_id
    if instance_id is None:
        known = group.members.get(member_id) if epoch == 0 else group.member(member_id)
        if known is not None:
            _check_epoch(known, epoch, reported)
        return known
    static = group.static_member(instance_id)
    if epoch == 0:
        if static is not None and static.member_epoch != LEAVE_GROUP_STATIC_EPOCH and static.member_id != member_id:
            raise GroupError(
                "UNRELEASED_INSTANCE_ID",
                f"Static member {member_id} with instance id {instance_id} cannot join the group because the instance id is owned by "
                f"member {static.member_id}.",
            )
        return static
    _check_instance(static, member_id, instance_id)
    assert static is not None
    _check_epoch(static, epoch, reported)
    return static


def _check_instance(static: ConsumerGroupMember | None, member_id: str, instance_id: str) -> None:
    if static is None:
        raise GroupError("UNKNOWN_MEMBER_ID", f"Instance id {instance_id} is unknown.")
    if static.member_id != member_id:
        raise GroupError(
            "FENCED_INSTANCE_ID",
            f"Static member {member_id} with instance id {instance_id} was fenced by member {static.member_id}.",
        )


def _check_epoch(member: ConsumerGroupMember, epoch: int, reported: dict[TopicIdPartition, None] | None) -> None:
    """The epoch it has; 0 to begin again; or the one before, where the answer with the new one may have been lost."""
    if epoch in (0, member.member_epoch):
        return
    if epoch == member.previous_member_epoch and reported is not None and all(part in member.assigned for part in reported):
        return
    size = "greater" if epoch > member.member_epoch else "smaller"
    raise GroupError(
        "FENCED_MEMBER_EPOCH",
        f"The consumer group member has a {size} member epoch ({epoch}) than the one known by the group coordinator "
        f"({member.member_epoch}). The member must abandon all its partitions and rejoin.",
    )


def _update(member: ConsumerGroupMember, source: str, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupMember:
    """What the request does not say stays as it was."""
    client_id = request.client_id or source
    topics = member.topics if request.topics is None else tuple(sorted(dict.fromkeys(request.topics)))
    timeout_ms = member.rebalance_timeout_ms if request.rebalance_timeout_ms == -1 else request.rebalance_timeout_ms
    if (
        member.topics == topics
        and member.rebalance_timeout_ms == timeout_ms
        and member.client == source
        and member.client_id == client_id
        and request.instance_id in (None, member.instance_id)
        and request.rack_id in (None, member.rack_id)
        and request.server_assignor in (None, member.server_assignor)
    ):
        return member
    return msgspec.structs.replace(
        member, instance_id=member.instance_id if request.instance_id is None else request.instance_id,
        rack_id=member.rack_id if request.rack_id is None else request.rack_id, client_id=client_id, client=source,
        rebalance_timeout_ms=timeout_ms, topics=topics,
        server_assignor=member.server_assignor if request.server_assignor is None else request.server_assignor,
    )  # fmt: skip


def _replace_static_member(
    shard: GroupShard, group: ConsumerGroup, source: str, known: ConsumerGroupMember, member_id: str, decision: Decision
) -> ConsumerGroupMember:
    """It had left for a while and is back under a new member ID: it takes over what it had, without a rebalance (fact 44)."""
    group_id = group.group_id
    member = msgspec.structs.replace(known, member_id=member_id, member_epoch=0, previous_member_epoch=0)
    decision.records += removal_records(group_id, known.member_id)
    decision.records += [
        (member_key(MEMBER_KEY, group_id, member_id), subscription_value(member.subscription())),
        (member_key(TARGET_KEY, group_id, member_id), target_value(group.target.get(known.member_id, ()))),
        (member_key(CURRENT_KEY, group_id, member_id), current_value(member.current())),
    ]
    group.stop_timers(known.member_id, decision.out)
    decision.out.emit(StaticMemberReplaced(shard.broker_id, group_id, source, known.instance_id, known.member_id, member_id))
    return member


def removal_records(group_id: str, member_id: str) -> Records:
    """The order matters: a member that is removed has no assignment left."""
    return [(member_key(kind, group_id, member_id), None) for kind in (CURRENT_KEY, TARGET_KEY, MEMBER_KEY)]


def _bump_epoch(
    shard: GroupShard, group: ConsumerGroup, members: dict[str, ConsumerGroupMember], reason: str, decision: Decision
) -> int:
    """The group epoch as it is to be: one more where a subscription or the topics have changed."""
    out = decision.out
    if not reason and group.group_epoch and out.now < group.refresh_us:
        return group.group_epoch
    found = target_assignment.metadata_hash(members, decision.known_metadata())
    if found != group.metadata_hash and not reason:
        reason = "its topics have changed"
    group.refresh_us = out.now + METADATA_REFRESH_US
    if not reason and group.group_epoch:
        return group.group_epoch
    epoch = group.group_epoch + 1
    decision.records.append((group_key(GROUP_EPOCH_KEY, group.group_id), epoch_value(epoch, found)))
    tell_epoch(shard.broker_id, group, epoch, reason or "it is new", out)
    return epoch


def _update_target(
    shard: GroupShard,
    group: ConsumerGroup,
    members: dict[str, ConsumerGroupMember],
    updated: ConsumerGroupMember,
    epoch: int,
    decision: Decision,
) -> tuple[int, Assignment]:
    """(its epoch, the member's part of it): computed anew where the group epoch has gone past it."""
    if epoch <= group.assignment_epoch:
        return group.assignment_epoch, group.target_of(updated.member_id, updated.instance_id)
    assignor = preferred_assignor(members)
    target = target_assignment.compute(group, members, assignor, decision.known_metadata())
    decision.records += target_assignment.records(group, target, epoch)
    tell_target(shard.broker_id, group, epoch, assignor, members, target, decision.out)
    return epoch, target.get(updated.member_id, ())


# -- leaving ------------------------------------------------------------------------------------------------------------------------------


def _leave(shard: GroupShard, request: ConsumerGroupHeartbeatRequest, decision: Decision) -> ConsumerGroupHeartbeatResponse:
    group = _group(shard, request.group_id, False, decision.records)
    member_id, instance_id = request.member_id, request.instance_id
    if instance_id is None:
        member = group.member(member_id)
    else:
        static = group.static_member(instance_id)
        _check_instance(static, member_id, instance_id)
        assert static is not None
        member = static
    if request.member_epoch == LEAVE_GROUP_STATIC_EPOCH:
        away = msgspec.structs.replace(member, member_epoch=LEAVE_GROUP_STATIC_EPOCH, pending_revocation=())
        decision.records.append((member_key(CURRENT_KEY, group.group_id, member_id), current_value(away.current())))
        group.stop_revocation(member_id, decision.out)
        tell_away(shard.broker_id, group, member, decision.out)
        return ConsumerGroupHeartbeatResponse(request.correlation_id, "NONE", "", member_id, LEAVE_GROUP_STATIC_EPOCH)
    remove(shard, group, member, "left", decision)
    return ConsumerGroupHeartbeatResponse(request.correlation_id, "NONE", "", member_id, LEAVE_GROUP_EPOCH)


def remove(
    shard: GroupShard, group: ConsumerGroup, member: ConsumerGroupMember, reason: str, decision: Decision, *, silent: bool = False
) -> None:
    """The member is out and its partitions are free; the next heartbeat of anybody computes a target without it
    (``consumerGroupFenceMember``). ``silent``: nothing was heard from it."""
    out = decision.out
    decision.records += removal_records(group.group_id, member.member_id)
    members = target_assignment.members_after(group, None, member.member_id)
    epoch = group.group_epoch + 1
    found = target_assignment.metadata_hash(members, decision.known_metadata())
    decision.records.append((group_key(GROUP_EPOCH_KEY, group.group_id), epoch_value(epoch, found)))
    group.stop_timers(member.member_id, out)
    tell_left(shard.broker_id, group, member, reason, silent, out)
    tell_epoch(shard.broker_id, group, epoch, f"{member.client} is gone", out)


def on_silence_timer(shard: GroupShard, timer: MemberSilenceTimer, decision: Decision) -> None:
    """No heartbeat for group.consumer.session.timeout.ms: the member is out."""
    group = shard.groups.get(timer.group_id)
    if not isinstance(group, ConsumerGroup) or timer.member_id not in group.members:
        return
    if group.sessions[timer.member_id].is_over(timer, decision.out):
        remove(shard, group, group.members[timer.member_id], "session expired", decision, silent=True)


def on_revocation_timer(shard: GroupShard, timer: MemberRevocationTimer, decision: Decision) -> None:
    """The member has not given up its partitions within its rebalance timeout (max.poll.interval.ms): it is out, and they are free."""
    group = shard.groups.get(timer.group_id)
    member = group.members.get(timer.member_id) if isinstance(group, ConsumerGroup) else None
    if not isinstance(group, ConsumerGroup) or member is None:
        return
    if group.sessions[timer.member_id].revoking_epoch == member.member_epoch:
        remove(shard, group, member, "revocation timeout", decision, silent=True)


# -- around it --------------------------------------------------------------------------------------------------------------------------------


def request_refresh(shard: GroupShard, topics: list[str], out: Outbox) -> None:
    """These topics were created, deleted or given partitions: whoever reads them looks at once (``onNewMetadataImage``)."""
    for group in shard.groups.values():
        if isinstance(group, ConsumerGroup) and any(group.is_subscribed_to(topic) for topic in topics):
            group.refresh_us = 0
            group.story.refresh_event = out.cause


def settle(shard: GroupShard, group_id: str, out: Outbox) -> None:
    """After the records of a decision have been replayed: tells of a new state, and of the end of a rebalance."""
    group = shard.groups.get(group_id)
    if not isinstance(group, ConsumerGroup):
        return
    story, state = group.story, group.state_name()
    if state != story.told_state:
        out.emit(GroupStateChanged(shard.broker_id, group_id, story.told_state, state))
        story.told_state = state
    if state == EMPTY:
        story.released.clear()
        story.unsettled_since_us, story.stopped_us = -1, 0
    elif state == STABLE and story.unsettled_since_us >= 0:
        counts = tuple([(member.client, len(member.assigned)) for member in group.members.values()])
        story.last_rebalance_us = out.now - story.unsettled_since_us
        story.last_stopped_us, story.stopped_us = story.stopped_us, 0
        story.unsettled_since_us = -1
        story.released.clear()
        out.emit(
            GroupReconciled(
                shard.broker_id, group_id, group.assignment_epoch, preferred_assignor(group.members), counts,
                story.last_rebalance_us, story.last_stopped_us,
            )
        )  # fmt: skip
