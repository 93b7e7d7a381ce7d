"""What a group coordinator does with ShareGroupHeartbeat (KIP-932): the share-group part of ``GroupMetadataManager``.

As with consumer groups, everything is decided here and written; replaying the records changes the group. A partition that a member newly
subscribes to is first given state at the share coordinator, which takes a moment; the heartbeat after that assigns it.
"""

from __future__ import annotations

import msgspec

from engine.coordination import share_group, target_assignment
from engine.coordination.classic_protocol import new_uuid
from engine.coordination.consumer_group_records import Assignment, TopicIdPartition, group_key, member_key, target_value
from engine.coordination.consumer_group_story import names_of
from engine.coordination.group import GroupError
from engine.coordination.group_shard import GroupShard
from engine.coordination.group_timers import ShareMemberTimer
from engine.coordination.shard import Continuation, Decision, Records
from engine.coordination.share_group import ASSIGNOR, ShareGroup, ShareGroupMember
from engine.coordination.share_group_records import (
    CURRENT_KEY,
    GROUP_EPOCH_KEY,
    MEMBER_KEY,
    STATE_KEY,
    TARGET_EPOCH_KEY,
    TARGET_KEY,
    current_value,
    epoch_value,
    state_partitions_value,
    subscription_value,
)  # fmt: skip
from engine.events import (
    GroupEpochBumped,
    GroupStateChanged,
    MemberJoined,
    MemberLeft,
    ShareMemberAssigned,
    TargetAssignmentComputed,
)
from engine.messages.share_groups import ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse
from engine.metadata.image import MetadataImage
from engine.sim.outbox import Outbox

METADATA_REFRESH_US = 600_000_000
INITIALISE_RETRY_MS = 30_000
"""``group.share.initialize.retry.interval.ms``."""


class ShareStateWanted(Continuation, frozen=True, gc=False, tag=True):
    """The record that names these partitions is committed: the share coordinator may be asked."""

    group_id: str
    partitions: tuple[TopicIdPartition, ...]
    state_epoch: int


def heartbeat(shard: GroupShard, source: str, request: ShareGroupHeartbeatRequest, decision: Decision) -> None:
    try:
        _check(request)
        if request.member_epoch == -1:
            response = _leave(shard, request, decision)
        else:
            response = _heartbeat(shard, source, request, decision)
    except GroupError as wrong:
        decision.records.clear()
        response = ShareGroupHeartbeatResponse(request.correlation_id, wrong.error, wrong.message)
    decision.replies.append((source, response))


def _check(request: ShareGroupHeartbeatRequest) -> None:
    """Raises GroupError(INVALID_REQUEST)."""
    wrong = ""
    if not request.group_id:
        wrong = "GroupId can't be empty."
    elif request.rack_id == "":
        wrong = "RackId can't be empty."
    elif not request.member_id:
        wrong = "MemberId can't be empty."
    elif request.member_epoch < -1:
        wrong = "MemberEpoch is invalid."
    elif request.member_epoch == 0 and not request.topics:
        wrong = "SubscribedTopicNames must be set in first request."
    if wrong:
        raise GroupError("INVALID_REQUEST", wrong)


def _heartbeat(
    shard: GroupShard, source: str, request: ShareGroupHeartbeatRequest, decision: Decision
) -> ShareGroupHeartbeatResponse:
    out, image = decision.out, decision.known_metadata()
    joins = request.member_epoch == 0
    group = _group(shard, request.group_id, joins)
    member_id = request.member_id or new_uuid(out)
    limit = shard.settings.share_max_size
    if member_id not in group.members and len(group.members) >= limit:
        raise GroupError("GROUP_MAX_SIZE_REACHED", f"The share group has reached its maximum capacity of {limit} members.")
    known = group.members.get(member_id) if joins else group.member(member_id)
    if known is not None:
        _check_epoch(known, request.member_epoch)
    shard.groups[group.group_id] = group
    member = known or ShareGroupMember(member_id)
    updated = _update(member, source, request)
    if known is None:
        out.emit(MemberJoined(shard.broker_id, group.group_id, source, member_id, "", len(group.members) + 1))
    if updated != member:
        decision.records.append((member_key(MEMBER_KEY, group.group_id, member_id), subscription_value(updated.subscription())))
    changed = updated.topics != member.topics
    reason = f"{source} joined" if known is None else f"{source} subscribes to other topics" if changed else ""
    members = {**group.members, member_id: updated}
    epoch = _bump_epoch(shard, group, members, reason, decision)
    target_epoch, target = _update_target(shard, group, members, member_id, epoch, decision)
    if updated.member_epoch != target_epoch:
        updated = msgspec.structs.replace(
            updated, member_epoch=target_epoch, previous_member_epoch=updated.member_epoch, assigned=target
        )
        value = current_value(updated.member_epoch, updated.previous_member_epoch, updated.assigned)
        decision.records.append((member_key(CURRENT_KEY, group.group_id, member_id), value))
        _tell_assigned(shard, group, member, updated, image, out)
    _want_state(group, members, epoch, decision)
    group.session_timeout_us = session_timeout_us(shard, group.group_id, image)
    group.start_session(member_id, out)
    assignment = names_of(updated.assigned, image) if joins or updated.assigned != member.assigned else None
    return ShareGroupHeartbeatResponse(
        request.correlation_id, "NONE", "", member_id, updated.member_epoch,
        _setting(image, group.group_id, "share.heartbeat.interval.ms", shard.settings.share_heartbeat_interval_ms), assignment,
    )  # fmt: skip


def session_timeout_us(shard: GroupShard, group_id: str, image: MetadataImage) -> int:
    return _setting(image, group_id, "share.session.timeout.ms", shard.settings.share_session_timeout_us // 1000) * 1000


def _setting(image: MetadataImage, group_id: str, name: str, default: int) -> int:
    own = image.configs.get(f"group:{group_id}")
    return default if own is None else int(own.get(name, default))


def _group(shard: GroupShard, group_id: str, create: bool) -> ShareGroup:
    """A name that a group of another type has is taken."""
    known = shard.groups.get(group_id)
    if isinstance(known, ShareGroup):
        return known
    if known is not None:
        raise GroupError("GROUP_ID_NOT_FOUND", f"Group {group_id} is not a share group.")
    if not create:
        raise GroupError("GROUP_ID_NOT_FOUND", f"Share group {group_id} not found.")
    return ShareGroup(group_id)


def _check_epoch(member: ShareGroupMember, epoch: int) -> None:
    if epoch in (0, member.member_epoch, member.previous_member_epoch):
        return
    size = "greater" if epoch > member.member_epoch else "smaller"
    raise GroupError(
        "FENCED_MEMBER_EPOCH",
        f"The share group member has a {size} member epoch ({epoch}) than the one known by the group coordinator "
        f"({member.member_epoch}). The member must abandon all its partitions and rejoin.",
    )


def _update(member: ShareGroupMember, source: str, request: ShareGroupHeartbeatRequest) -> ShareGroupMember:
    topics = member.topics if request.topics is None else tuple(sorted(dict.fromkeys(request.topics)))
    rack_id = member.rack_id if request.rack_id is None else request.rack_id
    return msgspec.structs.replace(member, topics=topics, rack_id=rack_id, client_id=request.client_id or source, client=source)


# -- epochs and the target ----------------------------------------------------------------------------------------------------------------


def _bump_epoch(shard: GroupShard, group: ShareGroup, members: dict[str, ShareGroupMember], reason: str, decision: Decision) -> int:
    """One more where a subscription or the topics have changed, or partitions have got their state since."""
    out = decision.out
    if not reason and group.group_epoch and _is_assignment_pending(group, members):
        reason = "more partitions can be shared out"
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
    _tell_epoch(shard, group, epoch, reason or "it is new", out)
    return epoch


def _tell_epoch(shard: GroupShard, group: ShareGroup, epoch: int, reason: str, out: Outbox) -> None:
    also = (group.refresh_event,) if group.refresh_event else ()
    group.epoch_event = out.emit(GroupEpochBumped(shard.broker_id, group.group_id, epoch, reason), also=also)
    group.refresh_event = 0


def _is_assignment_pending(group: ShareGroup, members: dict[str, ShareGroupMember]) -> bool:
    """Whether partitions have been initialised that somebody subscribes to and nobody has (``initializedAssignmentPending``)."""
    if not group.initialized or group.group_epoch > group.assignment_epoch:
        return False
    given = dict.fromkeys([part for target in group.target.values() for part in target])
    return any(
        part not in given and any(group.topic_names.get(part.topic_id) in member.topics for member in members.values())
        for part in group.initialized
    )


def _update_target(
    shard: GroupShard, group: ShareGroup, members: dict[str, ShareGroupMember], member_id: str, epoch: int, decision: Decision
) -> tuple[int, Assignment]:
    """(its epoch, the member's part of it)."""
    if epoch <= group.assignment_epoch:
        return group.assignment_epoch, group.target.get(member_id, ())
    image = decision.known_metadata()
    subscribed = {name: target_assignment.topic_ids(image, member.topics) for name, member in members.items()}
    assignable = tuple([part for part in sorted(group.initialized) if part.topic_id in image.topic_names])
    target = share_group.assign(subscribed, group.target, assignable)
    decision.records += [
        (member_key(TARGET_KEY, group.group_id, name), target_value(parts))
        for name, parts in target.items()
        if group.target.get(name) != parts
    ]
    decision.records.append((group_key(TARGET_EPOCH_KEY, group.group_id), _assignment_epoch(epoch)))
    parts = tuple([(member.client, len(target[name])) for name, member in members.items()])
    also = (group.epoch_event,) if group.epoch_event else ()
    event = TargetAssignmentComputed(shard.broker_id, group.group_id, epoch, ASSIGNOR, parts)
    group.target_event = decision.out.emit(event, also=also)
    return epoch, target[member_id]


def _assignment_epoch(epoch: int) -> bytes:
    return b"\x00\x00" + epoch.to_bytes(4, "big") + b"\x00"


def _tell_assigned(
    shard: GroupShard, group: ShareGroup, before: ShareGroupMember, after: ShareGroupMember, image: MetadataImage, out: Outbox
) -> None:
    if after.assigned != before.assigned:
        event = ShareMemberAssigned(
            shard.broker_id, group.group_id, after.client, after.member_id, after.member_epoch, names_of(after.assigned, image)
        )
        out.emit(event, also=(group.target_event,) if group.target_event else ())


# -- the state of share partitions ---------------------------------------------------------------------------------------------------------


def _want_state(group: ShareGroup, members: dict[str, ShareGroupMember], epoch: int, decision: Decision) -> None:
    """Partitions that are subscribed to and have no state yet are named in a record; then the share coordinator is asked."""
    image, now_ms = decision.known_metadata(), decision.out.now_ms
    wanted: list[TopicIdPartition] = []
    names = dict(group.topic_names)
    for topic in dict.fromkeys([topic for member in members.values() for topic in member.topics]):
        known = image.topics.get(topic)
        if known is None:
            continue
        names[known.topic_id] = topic
        for number in known.partitions:
            part = TopicIdPartition(known.topic_id, number)
            asked_ms = group.initializing.get(part)
            if part not in group.initialized and (asked_ms is None or now_ms - asked_ms >= INITIALISE_RETRY_MS):
                wanted.append(part)
    if not wanted:
        return
    initializing = {**group.initializing, **dict.fromkeys(wanted, now_ms)}
    decision.records.append(_state_record(group, initializing, group.initialized, names))
    decision.then = ShareStateWanted(group.group_id, tuple(wanted), epoch)


def _state_record(
    group: ShareGroup, initializing: dict[TopicIdPartition, int], initialized: dict[TopicIdPartition, int], names: dict[str, str]
) -> tuple[bytes, bytes]:
    return group_key(STATE_KEY, group.group_id), state_partitions_value(group.state_partitions(initializing, initialized, names))


def on_state_initialized(shard: GroupShard, group_id: str, partition: TopicIdPartition, error: str, decision: Decision) -> None:
    """The share coordinator has answered: the next heartbeat assigns the partition, or asks again."""
    group = shard.groups.get(group_id)
    if not isinstance(group, ShareGroup) or partition not in group.initializing:
        return
    initializing = {part: since for part, since in group.initializing.items() if part != partition}
    initialized = dict(group.initialized)
    if error == "NONE":
        initialized[partition] = decision.out.now_ms
    decision.records.append(_state_record(group, initializing, initialized, group.topic_names))


# -- leaving --------------------------------------------------------------------------------------------------------------------------------


def _leave(shard: GroupShard, request: ShareGroupHeartbeatRequest, decision: Decision) -> ShareGroupHeartbeatResponse:
    group = _group(shard, request.group_id, False)
    _remove(shard, group, group.member(request.member_id), "left", decision)
    return ShareGroupHeartbeatResponse(request.correlation_id, "NONE", "", request.member_id, -1)


def _remove(
    shard: GroupShard, group: ShareGroup, member: ShareGroupMember, reason: str, decision: Decision, *, silent: bool = False
) -> None:
    """``silent``: nothing was heard from it."""
    out = decision.out
    removal: Records = [
        (member_key(kind, group.group_id, member.member_id), None) for kind in (CURRENT_KEY, TARGET_KEY, MEMBER_KEY)
    ]
    decision.records += removal
    members = {member_id: other for member_id, other in group.members.items() if member_id != member.member_id}
    found = target_assignment.metadata_hash(members, decision.known_metadata())
    epoch = group.group_epoch + 1
    decision.records.append((group_key(GROUP_EPOCH_KEY, group.group_id), epoch_value(epoch, found)))
    group.stop_session(member.member_id, out)
    also = out.silencers(member.client) if silent else ()
    left = MemberLeft(shard.broker_id, group.group_id, member.client, member.member_id, "", reason, len(members))
    out.emit(left, also=also)
    _tell_epoch(shard, group, epoch, f"{member.client} is gone", out)


def on_member_timer(shard: GroupShard, timer: ShareMemberTimer, decision: Decision) -> None:
    """No heartbeat for group.share.session.timeout.ms: the member is out."""
    group = shard.groups.get(timer.group_id)
    if not isinstance(group, ShareGroup) or timer.member_id not in group.members:
        return
    if group.sessions[timer.member_id].is_over(timer, decision.out):
        _remove(shard, group, group.members[timer.member_id], "session expired", decision, silent=True)


def settle(shard: GroupShard, group_id: str, out: Outbox) -> None:
    """After the records of a decision have been replayed: tells of a new state."""
    group = shard.groups.get(group_id)
    if isinstance(group, ShareGroup) and group.state_name() != group.told_state:
        out.emit(GroupStateChanged(shard.broker_id, group_id, group.told_state, group.state_name()))
        group.told_state = group.state_name()


def request_refresh(shard: GroupShard, topics: list[str], out: Outbox) -> None:
    for group in shard.groups.values():
        if isinstance(group, ShareGroup) and any(group.is_subscribed_to(topic) for topic in topics):
            group.refresh_us, group.refresh_event = 0, out.cause
