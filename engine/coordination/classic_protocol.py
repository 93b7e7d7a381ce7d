"""What a group coordinator does with JoinGroup, SyncGroup, Heartbeat and LeaveGroup: the classic part of ``GroupMetadataManager``.

Everything that these requests set in motion lies in ``classic_rebalance``. Refusals are answers; nothing here raises.
"""

from __future__ import annotations

from engine.coordination.classic_group import (
    COMPLETING_REBALANCE,
    DEAD,
    EMPTY,
    PREPARING_REBALANCE,
    STABLE,
    ClassicGroup,
    ClassicMember,
    Parked,
)  # fmt: skip
from engine.coordination.classic_rebalance import (
    AssignmentStored,
    answer_join,
    complete_join,
    emit_left,
    joined,
    maybe_complete_join,
    prepare_rebalance,
    rebalance_or_complete,
    stop_partitions,
)  # fmt: skip
from engine.coordination.group import GroupError
from engine.coordination.group_records import group_key
from engine.coordination.group_settings import NEW_MEMBER_JOIN_TIMEOUT_MS
from engine.coordination.group_shard import GroupShard
from engine.coordination.group_timers import MemberSessionTimer, SyncTimer
from engine.coordination.shard import Continuation, Decision
from engine.events import MemberJoined, StaticMemberReplaced
from engine.messages.groups import (
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    LeaveGroupRequest,
    LeaveGroupResponse,
    LeavingMember,
    MemberAssignment,
    MemberProtocol,
    SyncGroupRequest,
    SyncGroupResponse,
)  # fmt: skip
from engine.sim.outbox import Outbox


class StaticMemberStored(Continuation, frozen=True, gc=False, tag=True):
    """A static member came back under a new member ID without a rebalance. The last three are as they were before."""

    group_id: str
    instance_id: str
    old_member_id: str
    new_member_id: str
    protocols: tuple[MemberProtocol, ...]
    rebalance_timeout_ms: int
    session_timeout_ms: int


# -- JoinGroup ------------------------------------------------------------------------------------------------------------------------------


def join(shard: GroupShard, source: str, request: JoinGroupRequest, decision: Decision) -> None:
    """Parks the request until the join phase is over, or answers at once."""
    settings, group_id, member_id = shard.settings, request.group_id, request.member_id
    refusal = ""
    if not group_id:
        refusal = "INVALID_GROUP_ID"
    elif not settings.min_session_timeout_ms <= request.session_timeout_ms <= settings.max_session_timeout_ms:
        refusal = "INVALID_SESSION_TIMEOUT"
    known = shard.groups.get(group_id)
    if not refusal and known is not None and known.group_type == "consumer" and known.is_empty():
        decision.records += known.tombstones()  # an empty group of another type makes room (maybeDeleteEmptyConsumerGroup)
        del shard.groups[group_id]
        known = None
    if not refusal and known is None and member_id:
        refusal = "UNKNOWN_MEMBER_ID"
    if refusal:
        answer_join(Parked(source, request.correlation_id), refusal, member_id, decision.out)
        return
    if known is not None and not isinstance(known, ClassicGroup):
        answer_join(Parked(source, request.correlation_id), "INCONSISTENT_GROUP_PROTOCOL", "", decision.out)
        return
    group = known
    if group is None:
        group = shard.groups[group_id] = ClassicGroup(group_id, state_since_ms=decision.out.now_ms)
    if not _accepts(group, member_id, settings.max_size):
        group.remove(member_id, decision.out)
        answer_join(Parked(source, request.correlation_id), "GROUP_MAX_SIZE_REACHED", "", decision.out)
    elif not member_id:
        _join_new(shard, group, source, request, decision)
    else:
        _join_known(shard, group, source, request, decision)
    if known is None and not any(key == group_key(group_id) for key, _ in decision.records):
        decision.records.append((group_key(group_id), group.empty_metadata()))
        decision.replay = False


def _accepts(group: ClassicGroup, member_id: str, max_size: int) -> bool:
    """``acceptJoiningMember``: up to group.max.size; whoever waits already may stay."""
    if group.state in (EMPTY, DEAD):
        return True
    member = group.members.get(member_id)
    if group.state == PREPARING_REBALANCE:
        return (member is not None and member.awaiting_join is not None) or group.awaiting_join_count < max_size
    return member is not None or len(group.members) < max_size


def _join_new(shard: GroupShard, group: ClassicGroup, source: str, request: JoinGroupRequest, decision: Decision) -> None:
    out, parked = decision.out, Parked(source, request.correlation_id)
    if not group.supports(request.protocol_type, request.protocols):
        answer_join(parked, "INCONSISTENT_GROUP_PROTOCOL", "", out)
        return
    instance_id = request.group_instance_id
    member_id = f"{instance_id or request.client_id or source}-{new_uuid(out)}"
    if not instance_id:
        group.pending_members[member_id] = source
        out.arm(MemberSessionTimer(group.group_id, member_id), after_us=request.session_timeout_ms * 1000)
        answer_join(parked, "MEMBER_ID_REQUIRED", member_id, out)
    elif instance_id in group.static_members:
        _replace_static_member(shard, group, source, request, group.static_members[instance_id], member_id, decision)
    else:
        _add_member(shard, group, source, request, member_id, decision)


def new_uuid(out: Outbox) -> str:
    """A random (version 4) UUID in Java's text form."""
    stream = out.stream("member id")
    high = stream.bits() & ~0xF000 | 0x4000
    low = stream.bits() & 0x3FFF_FFFF_FFFF_FFFF | 1 << 63
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _join_known(shard: GroupShard, group: ClassicGroup, source: str, request: JoinGroupRequest, decision: Decision) -> None:
    """Somebody who has a member ID already: back after MEMBER_ID_REQUIRED, or rejoining."""
    out, parked, member_id = decision.out, Parked(source, request.correlation_id), request.member_id
    if not group.supports(request.protocol_type, request.protocols):
        answer_join(parked, "INCONSISTENT_GROUP_PROTOCOL", member_id, out)
        return
    if member_id in group.pending_members:
        _add_member(shard, group, source, request, member_id, decision)
        return
    try:
        group.validate_member(member_id, request.group_instance_id)
    except GroupError as wrong:
        answer_join(parked, wrong.error, member_id, out)
        return
    member = group.members[member_id]
    leads = group.leader == member_id
    unchanged = member.protocols == request.protocols
    if group.state == EMPTY:
        answer_join(parked, "UNKNOWN_MEMBER_ID", member_id, out)
    elif unchanged and (group.state == COMPLETING_REBALANCE or (group.state == STABLE and not leads)):
        # It may have missed the answer: the generation stands, it has only to sync.
        out.send(source, joined(group, member, parked.correlation_id))
    else:
        why = f"{member.client} rejoined"
        if group.state == STABLE and leads:
            why = f"the leader {member.client} rejoined"
        elif group.state != PREPARING_REBALANCE:
            why = f"{member.client} changed its subscription"
        _update_member(member, request, parked)
        member.client = source
        rebalance_or_complete(shard, group, _because(why, request.reason), decision)


def _because(what: str, client_reason: str) -> str:
    return f"{what}: {client_reason}" if client_reason else what


def _update_member(member: ClassicMember, request: JoinGroupRequest, parked: Parked | None) -> None:
    member.protocols = request.protocols
    member.rebalance_timeout_ms, member.session_timeout_ms = request.rebalance_timeout_ms, request.session_timeout_ms
    member.awaiting_join = parked


def _add_member(
    shard: GroupShard, group: ClassicGroup, source: str, request: JoinGroupRequest, member_id: str, decision: Decision
) -> None:
    out = decision.out
    member = ClassicMember(
        member_id, request.group_instance_id, request.client_id or source, source, request.rebalance_timeout_ms,
        request.session_timeout_ms, request.protocols, is_new=True, awaiting_join=Parked(source, request.correlation_id),
    )  # fmt: skip
    if group.state == PREPARING_REBALANCE and group.previous_state == EMPTY:
        group.new_member_added = True
    if not group.members:
        group.protocol_type = request.protocol_type
    group.pending_members.pop(member_id, None)
    group.add(member)
    out.cancel(MemberSessionTimer(group.group_id, member_id))
    out.emit(MemberJoined(shard.broker_id, group.group_id, source, member_id, member.instance_id, len(group.members)))
    group.start_session(member, out, NEW_MEMBER_JOIN_TIMEOUT_MS)
    rebalance_or_complete(shard, group, _because(f"{source} joined", request.reason), decision)


def _replace_static_member(
    shard: GroupShard,
    group: ClassicGroup,
    source: str,
    request: JoinGroupRequest,
    old_member_id: str,
    member_id: str,
    decision: Decision,
) -> None:
    """A static member is back under a new member ID: it takes over the old one's place and assignment (fact 44). A second process with
    the same group.instance.id looks just the same; the first is fenced."""
    out = decision.out
    member = _rename(group, request.group_instance_id, old_member_id, member_id, out)
    before = (member.protocols, member.rebalance_timeout_ms, member.session_timeout_ms)
    out.emit(StaticMemberReplaced(shard.broker_id, group.group_id, source, member.instance_id, old_member_id, member_id))
    member.client, member.client_id = source, request.client_id or source
    group.start_session(member, out)
    _update_member(member, request, Parked(source, request.correlation_id))
    if group.state == STABLE:
        if group.select_protocol() == group.protocol:
            decision.records.append((group_key(group.group_id), group.metadata()))
            decision.replay = False
            decision.then = StaticMemberStored(group.group_id, member.instance_id, old_member_id, member_id, *before)
        else:
            why = f"the common assignor changed when static member {member.instance_id} came back"
            rebalance_or_complete(shard, group, _because(why, request.reason), decision)
    elif group.state == COMPLETING_REBALANCE:
        # The leader has been told the old member ID already and would assign to nobody.
        prepare_rebalance(
            shard, group, _because(f"static member {member.instance_id} came back during a rebalance", request.reason), decision
        )
    else:
        maybe_complete_join(shard, group, decision)


def _rename(group: ClassicGroup, instance_id: str, old_member_id: str, new_member_id: str, out: Outbox) -> ClassicMember:
    """``replaceStaticMember``: whoever still waits under the old ID is fenced at once."""
    old = group.members.pop(old_member_id)
    if old.awaiting_join is not None:
        answer_join(old.awaiting_join, "FENCED_INSTANCE_ID", old_member_id, out)
    if old.awaiting_sync is not None:
        out.send(old.awaiting_sync.destination, SyncGroupResponse(old.awaiting_sync.correlation_id, "FENCED_INSTANCE_ID"))
    out.cancel(MemberSessionTimer(group.group_id, old_member_id))
    member = ClassicMember(
        new_member_id, instance_id, old.client_id, old.client, old.rebalance_timeout_ms, old.session_timeout_ms, old.protocols,
        old.assignment, old.assigned,
    )  # fmt: skip
    group.members[new_member_id] = member
    group.static_members[instance_id] = new_member_id
    if group.leader == old_member_id:
        group.leader = new_member_id
    return member


def on_static_member_stored(shard: GroupShard, done: StaticMemberStored, error: str, decision: Decision) -> None:
    """No rebalance: the member gets its old place in the same generation. Only a leader is told to skip the assignment (KIP-814)."""
    group = shard.groups.get(done.group_id)
    member = group.members.get(done.new_member_id) if isinstance(group, ClassicGroup) else None
    if not isinstance(group, ClassicGroup) or member is None:
        return
    parked, member.awaiting_join = member.awaiting_join, None
    if error == "NONE":
        if parked is not None:
            decision.out.send(parked.destination, joined(group, member, parked.correlation_id, member.member_id == group.leader))
        return
    old = _rename(group, done.instance_id, done.new_member_id, done.old_member_id, decision.out)
    old.protocols, old.rebalance_timeout_ms, old.session_timeout_ms = (
        done.protocols, done.rebalance_timeout_ms, done.session_timeout_ms,
    )  # fmt: skip
    group.start_session(old, decision.out)
    if parked is not None:
        answer_join(parked, error, "", decision.out)


# -- SyncGroup ------------------------------------------------------------------------------------------------------------------------------


def sync(shard: GroupShard, source: str, request: SyncGroupRequest, decision: Decision) -> None:
    """The leader's request carries the assignment; everybody's is parked until that is committed."""
    out = decision.out
    group = shard.groups.get(request.group_id)
    error = "NONE"
    if not request.group_id:
        error = "INVALID_GROUP_ID"
    elif not isinstance(group, ClassicGroup) or group.is_empty():
        error = "UNKNOWN_MEMBER_ID"
    else:
        error = _check_sync(group, request)
    if error != "NONE" or not isinstance(group, ClassicGroup):
        out.send(source, SyncGroupResponse(request.correlation_id, error))
        return
    member = group.members[request.member_id]
    if member.member_id in group.pending_sync:
        group.pending_sync.remove(member.member_id)
    if not group.pending_sync:
        out.cancel(SyncTimer(group.group_id))
    if group.state == STABLE:
        out.send(source, SyncGroupResponse(request.correlation_id, "NONE", member.assignment, group.protocol))
        return
    member.awaiting_sync = Parked(source, request.correlation_id)
    if member.member_id == group.leader:
        given = {item.member_id: item.partitions for item in request.assignments}
        assignment = {member_id: given.get(member_id, ()) for member_id in group.members}
        decision.records.append((group_key(group.group_id), group.metadata(assignment)))
        decision.replay = False
        decision.then = AssignmentStored(
            group.group_id, group.generation, tuple([MemberAssignment(*item) for item in assignment.items()])
        )


def _check_sync(group: ClassicGroup, request: SyncGroupRequest) -> str:
    try:
        group.validate_member(request.member_id, request.group_instance_id)
    except GroupError as wrong:
        return wrong.error
    if request.generation != group.generation:
        return "ILLEGAL_GENERATION"
    if request.protocol and group.protocol and request.protocol != group.protocol:
        return "INCONSISTENT_GROUP_PROTOCOL"
    return "REBALANCE_IN_PROGRESS" if group.state == PREPARING_REBALANCE else "NONE"


# -- heartbeats and leaving -----------------------------------------------------------------------------------------------------------------


def heartbeat(shard: GroupShard, source: str, request: HeartbeatRequest, decision: Decision) -> None:
    group = shard.groups.get(request.group_id)
    error = "NONE"
    if not request.group_id:
        error = "INVALID_GROUP_ID"
    elif not isinstance(group, ClassicGroup):
        error = "UNKNOWN_MEMBER_ID"
    else:
        try:
            group.validate_member(request.member_id, request.group_instance_id)
        except GroupError as wrong:
            error = wrong.error
        else:
            if request.generation != group.generation:
                error = "ILLEGAL_GENERATION"
            else:
                group.start_session(group.members[request.member_id], decision.out)
                if group.state == PREPARING_REBALANCE:
                    error = "REBALANCE_IN_PROGRESS"
    decision.replies.append((source, HeartbeatResponse(request.correlation_id, error)))


def on_session_timer(shard: GroupShard, timer: MemberSessionTimer, decision: Decision) -> None:
    """No heartbeat for session.timeout.ms: the member is out, unless it waits for a rebalance itself."""
    out = decision.out
    group = shard.groups.get(timer.group_id)
    if not isinstance(group, ClassicGroup):
        return
    if timer.member_id in group.pending_members:
        group.remove(timer.member_id, out)
        if group.state == PREPARING_REBALANCE and group.has_all_members_joined:
            complete_join(shard, group, decision)
        return
    member = group.members.get(timer.member_id)
    if member is None:
        return
    if out.now < member.deadline_us:
        member.timer_us = member.deadline_us
        out.arm(timer, after_us=member.deadline_us - out.now)
        return
    member.timer_us = 0
    if member.has_satisfied_heartbeat:
        return
    if member.awaiting_join is not None:
        answer_join(member.awaiting_join, "UNKNOWN_MEMBER_ID", "", out)
    if member.assignment:
        stop_partitions(group, out)
    group.remove(member.member_id, out)
    emit_left(shard, group, member, "session expired", out, silent=True)
    if group.state in (STABLE, COMPLETING_REBALANCE):
        rebalance_or_complete(shard, group, f"the session of {member.client} expired", decision)
    elif group.state == PREPARING_REBALANCE and group.has_all_members_joined:
        complete_join(shard, group, decision)


def leave(shard: GroupShard, source: str, request: LeaveGroupRequest, decision: Decision) -> None:
    """Members leave, or an administrator takes them out (a static one by its group.instance.id)."""
    group = shard.groups.get(request.group_id)
    if not isinstance(group, ClassicGroup):
        error = "UNKNOWN_MEMBER_ID" if request.group_id else "INVALID_GROUP_ID"
        decision.replies.append((source, LeaveGroupResponse(request.correlation_id, error)))
        return
    results = []
    gone = []
    for leaving in request.members:
        error, client = _remove_leaving(shard, group, leaving, decision.out)
        results.append((leaving.member_id, error))
        if error == "NONE":
            gone.append(client)
    decision.replies.append((source, LeaveGroupResponse(request.correlation_id, "NONE", tuple(results))))
    if gone and group.state in (STABLE, COMPLETING_REBALANCE):
        rebalance_or_complete(shard, group, f"{', '.join(gone)} left", decision)
    elif gone:
        maybe_complete_join(shard, group, decision)


def _remove_leaving(shard: GroupShard, group: ClassicGroup, leaving: LeavingMember, out: Outbox) -> tuple[str, str]:
    """(error, the client that is gone)."""
    member_id = leaving.member_id
    if not member_id:
        member_id = group.static_members.get(leaving.group_instance_id, "") if leaving.group_instance_id else ""
        if not member_id:
            return "UNKNOWN_MEMBER_ID", ""
    elif member_id in group.pending_members:
        client = group.pending_members[member_id]
        group.remove(member_id, out)
        return "NONE", client
    else:
        try:
            group.validate_member(member_id, leaving.group_instance_id)
        except GroupError as wrong:
            return wrong.error, ""
    member = group.members[member_id]
    if member.awaiting_join is not None:
        answer_join(member.awaiting_join, "UNKNOWN_MEMBER_ID", "", out)
    if member.assignment:
        stop_partitions(group, out)
    group.remove(member_id, out)
    reason = "poll timeout" if "poll timeout" in leaving.reason else leaving.reason or "left"
    emit_left(shard, group, member, reason, out)
    return "NONE", member.client
