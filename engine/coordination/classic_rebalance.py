"""How a group of the classic protocol rebalances: the join phase, the new generation, the assignment that everybody gets.

The part of ``GroupMetadataManager`` that its requests and timers (``classic_protocol``) all lead to. A rebalance has two barriers: all
members join, or the rebalance timeout drops who did not; then the leader's assignment is written to the log and, once committed, passed
on.
"""

from __future__ import annotations

from engine.coordination.classic_group import (
    COMPLETING_REBALANCE,
    COOPERATIVE,
    EMPTY,
    PREPARING_REBALANCE,
    STABLE,
    ClassicGroup,
    ClassicMember,
    Parked,
)  # fmt: skip
from engine.coordination.group_records import group_key
from engine.coordination.group_shard import GroupShard
from engine.coordination.group_timers import JoinTimer, SyncTimer
from engine.coordination.shard import Continuation, Decision
from engine.events import GroupRebalanced, GroupRebalanceStarted, MemberLeft
from engine.messages.base import TopicPartition
from engine.messages.groups import JoinGroupResponse, MemberAssignment, SyncGroupResponse
from engine.sim.outbox import Outbox


class AssignmentStored(Continuation, frozen=True, gc=False, tag=True):
    """The leader's assignment is in the log: the members may have it."""

    group_id: str
    generation: int
    assignments: tuple[MemberAssignment, ...]


def answer_join(parked: Parked, error: str, member_id: str, out: Outbox) -> None:
    out.send(parked.destination, JoinGroupResponse(parked.correlation_id, error, member_id=member_id))


def joined(group: ClassicGroup, member: ClassicMember, correlation_id: int, skip_assignment: bool = False) -> JoinGroupResponse:
    members = group.joined_members() if member.member_id == group.leader else ()
    return JoinGroupResponse(
        correlation_id, "NONE", group.generation, group.protocol, group.leader, member.member_id, members, skip_assignment
    )


def emit_left(
    shard: GroupShard, group: ClassicGroup, member: ClassicMember, reason: str, out: Outbox, *, silent: bool = False
) -> None:
    """``silent``: nothing was heard from it; what keeps it from being heard is a cause too."""
    also = out.silencers(member.client) if silent else ()
    out.emit(
        MemberLeft(
            shard.broker_id, group.group_id, member.client, member.member_id, member.instance_id, reason, len(group.members)
        ),
        also=also,
    )


# -- the join phase -------------------------------------------------------------------------------------------------------------------------


def rebalance_or_complete(shard: GroupShard, group: ClassicGroup, reason: str, decision: Decision) -> None:
    if group.can_rebalance():
        prepare_rebalance(shard, group, reason, decision)
    else:
        maybe_complete_join(shard, group, decision)


def prepare_rebalance(shard: GroupShard, group: ClassicGroup, reason: str, decision: Decision) -> None:
    """Members learn of it by their next heartbeat and rejoin. A group that was empty first waits for more members."""
    out = decision.out
    if group.state == COMPLETING_REBALANCE:
        _reset_assignment(group, "REBALANCE_IN_PROGRESS", out)
    _cancel_sync(group, out)
    initial = group.state == EMPTY
    if group.rebalance_since_us < 0:
        group.rebalance_since_us = out.now
    if group.protocol != COOPERATIVE:
        stop_partitions(group, out)
    started = GroupRebalanceStarted(shard.broker_id, group.group_id, reason, group.generation, len(group.members))
    group.rebalance_event = out.emit(started)
    if initial:
        delay_ms = shard.settings.initial_rebalance_delay_ms
        group.join_delay_ms = delay_ms
        group.join_remaining_ms = max(group.rebalance_timeout_ms - delay_ms, 0)
        out.arm(JoinTimer(group.group_id), after_us=delay_ms * 1000)
    group.transition_to(PREPARING_REBALANCE, shard.broker_id, out)
    if initial:
        return
    if group.has_all_members_joined:
        complete_join(shard, group, decision)
    else:
        _arm_rebalance_timeout(group, out)


def stop_partitions(group: ClassicGroup, out: Outbox) -> None:
    """From now on somebody's partitions are read by nobody."""
    owned = group.assigned_partitions()
    if owned and group.stopped_since_us < 0:
        group.stopped_since_us = out.now
        group.owned_before = owned


def _arm_rebalance_timeout(group: ClassicGroup, out: Outbox) -> None:
    group.join_delay_ms = group.join_remaining_ms = 0
    out.arm(JoinTimer(group.group_id), after_us=group.rebalance_timeout_ms * 1000)


def on_join_timer(shard: GroupShard, timer: JoinTimer, decision: Decision) -> None:
    """The initial delay is over (and is prolonged once more if somebody has come meanwhile), or the rebalance timeout."""
    group = shard.groups.get(timer.group_id)
    if not isinstance(group, ClassicGroup) or group.state != PREPARING_REBALANCE:
        return
    if group.previous_state == EMPTY and group.new_member_added and group.join_remaining_ms:
        group.new_member_added = False
        elapsed, remaining = group.join_delay_ms, group.join_remaining_ms
        group.join_delay_ms = min(shard.settings.initial_rebalance_delay_ms, remaining)
        group.join_remaining_ms = max(remaining - elapsed, 0)
        decision.out.arm(timer, after_us=group.join_delay_ms * 1000)
        return
    complete_join(shard, group, decision)


def maybe_complete_join(shard: GroupShard, group: ClassicGroup, decision: Decision) -> None:
    """The initial rebalance ends by its delay only."""
    if group.state == PREPARING_REBALANCE and group.previous_state != EMPTY and group.has_all_members_joined:
        complete_join(shard, group, decision)


def complete_join(shard: GroupShard, group: ClassicGroup, decision: Decision) -> None:
    """Who has not joined is out (static members stay); the others get the new generation."""
    out = decision.out
    out.cancel(JoinTimer(group.group_id))
    group.new_member_added = False
    late = [member for member in group.members.values() if member.awaiting_join is None and not member.instance_id]
    for member in late:
        group.remove(member.member_id, out)
        emit_left(shard, group, member, "rebalance timeout", out, silent=True)
    if not _elect_joined_leader(group) and group.members:
        # Only static members are left, none of which has joined: wait until one does or its session ends.
        _arm_rebalance_timeout(group, out)
        return
    group.generation += 1
    if not group.members:
        group.protocol = ""
        group.rebalance_since_us = group.stopped_since_us = -1
        group.transition_to(EMPTY, shard.broker_id, out)
        group.pending_sync = []
        decision.records.append((group_key(group.group_id), group.metadata({})))
        decision.replay = False
        return
    group.protocol = group.select_protocol()
    group.transition_to(COMPLETING_REBALANCE, shard.broker_id, out)
    cause = out.cause
    group.pending_sync = list(group.members)
    for member in group.members.values():
        out.because(cause)
        parked, member.awaiting_join = member.awaiting_join, None
        if parked is not None:
            out.send(parked.destination, joined(group, member, parked.correlation_id))
        group.start_session(member, out)
        member.is_new = False
    out.arm(SyncTimer(group.group_id), after_us=group.rebalance_timeout_ms * 1000)


def _elect_joined_leader(group: ClassicGroup) -> bool:
    """``maybeElectNewJoinedLeader``: a leader that has not joined is replaced by a member that has."""
    leader = group.members.get(group.leader)
    if leader is None:
        return False
    if leader.awaiting_join is not None:
        return True
    other = next((member for member in group.members.values() if member.awaiting_join is not None), None)
    if other is None:
        return False
    group.leader = other.member_id
    return True


# -- the assignment ---------------------------------------------------------------------------------------------------------------------------


def on_assignment_stored(shard: GroupShard, done: AssignmentStored, error: str, decision: Decision) -> None:
    """The assignment is committed: the group is stable. Where another rebalance began meanwhile it is void."""
    group = shard.groups.get(done.group_id)
    if not isinstance(group, ClassicGroup) or group.state != COMPLETING_REBALANCE or group.generation != done.generation:
        return
    out = decision.out
    if error != "NONE":
        _reset_assignment(group, error, out)
        rebalance_or_complete(shard, group, f"the assignment could not be stored: {error}", decision)
        return
    before = group.assigned_partitions()
    for item in done.assignments:
        if item.member_id in group.members:
            member = group.members[item.member_id]
            member.assignment, member.assigned = item.partitions, True
    group.transition_to(STABLE, shard.broker_id, out)
    _measure_stop(group, before, out)
    counts = tuple([(member.client, len(member.assignment)) for member in group.members.values()])
    out.emit(
        GroupRebalanced(
            shard.broker_id,
            group.group_id,
            group.generation,
            group.protocol,
            counts,
            group.last_rebalance_us,
            group.last_stopped_us,
        ),
        also=(group.rebalance_event,),
    )
    _propagate(group, "NONE", out)


def _measure_stop(group: ClassicGroup, before: tuple[TopicPartition, ...], out: Outbox) -> None:
    """Eager members stop for the whole rebalance. Under cooperative-sticky only what moves stops, from the rebalance that takes it
    away to the one that gives it to its new owner."""
    group.last_rebalance_us = out.now - group.rebalance_since_us if group.rebalance_since_us >= 0 else 0
    group.rebalance_since_us = -1
    owned = group.assigned_partitions()
    group.last_stopped_us = 0
    if group.stopped_since_us < 0 and not set(before) <= set(owned):
        group.stopped_since_us, group.owned_before = out.now, before
    elif group.stopped_since_us >= 0 and set(group.owned_before) <= set(owned):
        group.last_stopped_us = out.now - group.stopped_since_us
        group.stopped_since_us, group.owned_before = -1, ()


def _reset_assignment(group: ClassicGroup, error: str, out: Outbox) -> None:
    for member in group.members.values():
        member.assignment, member.assigned = (), False
    _propagate(group, error, out)


def _propagate(group: ClassicGroup, error: str, out: Outbox) -> None:
    cause = out.cause
    for member in group.members.values():
        parked, member.awaiting_sync = member.awaiting_sync, None
        if parked is None:
            continue
        out.because(cause)
        protocol = group.protocol if error == "NONE" else ""
        out.send(parked.destination, SyncGroupResponse(parked.correlation_id, error, member.assignment, protocol))
        group.start_session(member, out)


def _cancel_sync(group: ClassicGroup, out: Outbox) -> None:
    group.pending_sync = []
    out.cancel(SyncTimer(group.group_id))


def on_sync_timer(shard: GroupShard, timer: SyncTimer, decision: Decision) -> None:
    """Whoever has not sent its SyncGroup within the rebalance timeout is out (KIP-800's neighbour, KAFKA-13435). A static member that was
    replaced is out already, but as in Kafka its old member ID is still waited for, and the group rebalances all the same."""
    group = shard.groups.get(timer.group_id)
    if not isinstance(group, ClassicGroup) or group.state not in (COMPLETING_REBALANCE, STABLE) or not group.pending_sync:
        return
    gone = [group.members[member_id] for member_id in group.pending_sync if member_id in group.members]
    stop_partitions(group, decision.out)
    for member in gone:
        group.remove(member.member_id, decision.out)
        emit_left(shard, group, member, "no SyncGroup in time", decision.out, silent=True)
    names = ", ".join([member.client for member in gone]) or "a static member that was replaced"
    prepare_rebalance(shard, group, f"{names} did not sync in time", decision)
