"""A group of the classic protocol: its members, its state machine, what it may be asked. Kafka's ``ClassicGroup``.

The coordinator collects the members' subscriptions (JoinGroup), hands them to one of them, the leader, which assigns with the assignor
that all of them know, and passes the result on (SyncGroup). What it does with each request lies in ``classic_protocol``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from engine.coordination.group import GroupError
from engine.coordination.group_records import GroupMetadata, MemberMetadata, group_key, group_value
from engine.coordination.group_timers import JoinTimer, MemberSessionTimer, SyncTimer
from engine.coordination.java_hash import hash_map_order
from engine.coordination.shard import Records
from engine.events import GroupStateChanged
from engine.messages.base import TopicPartition
from engine.messages.groups import (
    DescribedMember,
    DescribeGroupResponse,
    JoinedMember,
    JoinGroupResponse,
    MemberProtocol,
    Subscription,
    SyncGroupResponse,
)  # fmt: skip
from engine.sim.outbox import Outbox

EMPTY, PREPARING_REBALANCE, COMPLETING_REBALANCE, STABLE, DEAD = (
    "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead",
)  # fmt: skip
VALID_PREVIOUS_STATES: dict[str, tuple[str, ...]] = {
    EMPTY: (PREPARING_REBALANCE,),
    PREPARING_REBALANCE: (STABLE, COMPLETING_REBALANCE, EMPTY),
    COMPLETING_REBALANCE: (PREPARING_REBALANCE,),
    STABLE: (COMPLETING_REBALANCE,),
    DEAD: (STABLE, PREPARING_REBALANCE, COMPLETING_REBALANCE, EMPTY, DEAD),
}
"""The state machine: each state, and those from which a group may enter it (``ClassicGroupState``)."""

COOPERATIVE = "cooperative-sticky"
"""The one assignor whose members keep what they own while the group rebalances; with all others everybody stops."""


class Parked(msgspec.Struct, frozen=True, gc=False):
    """A JoinGroup or SyncGroup whose answer waits for the others."""

    destination: str
    correlation_id: int


@dataclass(slots=True)
class ClassicMember:
    """``client`` is the address that it asks from. ``deadline_us``: when its session ends; ``timer_us``: when its timer runs out, 0 if
    none runs (a heartbeat moves the deadline, not the timer)."""

    member_id: str
    instance_id: str
    client_id: str
    client: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    protocols: tuple[MemberProtocol, ...]
    assignment: tuple[TopicPartition, ...] = ()
    assigned: bool = False
    is_new: bool = False
    awaiting_join: Parked | None = None
    awaiting_sync: Parked | None = None
    deadline_us: int = 0
    timer_us: int = 0

    def subscription(self, protocol: str) -> Subscription:
        for known in self.protocols:
            if known.name == protocol:
                return known.subscription
        raise AssertionError(f"member {self.member_id} does not know {protocol}")

    @property
    def has_satisfied_heartbeat(self) -> bool:
        """Who waits for a rebalance need not send heartbeats; new members can be expired even then."""
        return not self.is_new and (self.awaiting_join is not None or self.awaiting_sync is not None)


@dataclass(slots=True)
class ClassicGroup:
    """``generation`` counts completed joins. ``pending_members``: told to come back with the member ID that they were given (their
    client's address each). Times are virtual: ``state_since_ms`` the broker's clock, others microseconds."""

    group_id: str
    state: str = EMPTY
    previous_state: str = DEAD
    generation: int = 0
    protocol_type: str = ""
    protocol: str = ""
    leader: str = ""
    state_since_ms: int = -1
    members: dict[str, ClassicMember] = field(default_factory=dict)
    static_members: dict[str, str] = field(default_factory=dict)
    pending_members: dict[str, str] = field(default_factory=dict)
    pending_sync: list[str] = field(default_factory=list)
    new_member_added: bool = False
    join_delay_ms: int = 0
    """The step of the initial rebalance delay that runs, 0 where the join timer is the rebalance timeout."""
    join_remaining_ms: int = 0
    rebalance_since_us: int = -1
    rebalance_event: int = 0
    """Why the members are where they are now: the event that began the last rebalance."""
    last_rebalance_us: int = -1
    """How long the last rebalance took."""
    stopped_since_us: int = -1
    last_stopped_us: int = -1
    """For how long the last rebalance left some partition without an owner."""
    owned_before: tuple[TopicPartition, ...] = ()
    """What was assigned when partitions stopped."""

    # -- what every group can say

    @property
    def group_type(self) -> str:
        return "classic"

    def state_name(self) -> str:
        return self.state

    def is_empty(self) -> bool:
        return self.state == EMPTY

    @property
    def uses_consumer_protocol(self) -> bool:
        return self.protocol_type == "consumer"

    def subscribed_topics(self) -> tuple[str, ...] | None:
        """None: the coordinator does not know."""
        if not self.uses_consumer_protocol:
            return None
        if not self.members:
            return ()
        if not self.protocol:
            return None
        topics = [topic for member in self.members.values() for topic in member.subscription(self.protocol).topics]
        return tuple(dict.fromkeys(topics))

    def is_subscribed_to(self, topic: str) -> bool:
        topics = self.subscribed_topics()
        return topic in topics if topics is not None else self.uses_consumer_protocol

    def validate_member(self, member_id: str, instance_id: str) -> None:
        """Raises GroupError: UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID where another process took the static member's place."""
        if instance_id:
            existing = self.static_members.get(instance_id)
            if existing is None:
                raise GroupError("UNKNOWN_MEMBER_ID")
            if existing != member_id:
                raise GroupError("FENCED_INSTANCE_ID")
        if member_id not in self.members:
            raise GroupError("UNKNOWN_MEMBER_ID")

    def validate_offset_commit(self, member_id: str, instance_id: str, generation_or_epoch: int, transactional: bool) -> None:
        if self.state == DEAD:
            raise GroupError("COORDINATOR_NOT_AVAILABLE")
        if generation_or_epoch < 0 and self.state == EMPTY:
            return  # an administrator, or a consumer with assigned partitions
        if generation_or_epoch >= 0 or member_id or instance_id:
            self.validate_member(member_id, instance_id)
            if generation_or_epoch != self.generation:
                raise GroupError("ILLEGAL_GENERATION")
        elif not transactional:
            raise GroupError("UNKNOWN_MEMBER_ID")
        if not transactional and self.state == COMPLETING_REBALANCE:
            raise GroupError("REBALANCE_IN_PROGRESS")

    def validate_offset_fetch(self, member_id: str, member_epoch: int) -> None:
        """Anybody may ask. Raises GroupError(GROUP_ID_NOT_FOUND)."""
        if self.state == DEAD:
            raise GroupError("GROUP_ID_NOT_FOUND", f"Group {self.group_id} is in dead state.")

    def validate_offset_delete(self) -> None:
        if self.state == DEAD:
            raise GroupError("GROUP_ID_NOT_FOUND", f"Group {self.group_id} is in dead state.")
        if self.state != EMPTY and not self.uses_consumer_protocol:
            raise GroupError("NON_EMPTY_GROUP")

    def validate_delete(self) -> None:
        if self.state == DEAD:
            raise GroupError("GROUP_ID_NOT_FOUND", f"Group {self.group_id} is in dead state.")
        if self.state != EMPTY:
            raise GroupError("NON_EMPTY_GROUP")

    def expires_offsets_from(self, commit_timestamp_ms: int) -> int:
        """Fact 45: of an empty group, since it became empty. Of one with members, only topics that nobody reads (the caller sees to
        that); of one that never had members, since the commit."""
        if not self.protocol_type:
            return commit_timestamp_ms
        if self.state == EMPTY:
            return self.state_since_ms if self.state_since_ms >= 0 else commit_timestamp_ms
        if self.uses_consumer_protocol and self.state == STABLE and self.subscribed_topics() is not None:
            return commit_timestamp_ms
        return -1

    def tombstones(self) -> Records:
        return [(group_key(self.group_id), None)]

    def describe(self, correlation_id: int) -> DescribeGroupResponse:
        """The assignor and the subscriptions only of a stable group."""
        stable = self.state == STABLE
        members = [
            DescribedMember(
                member.member_id, member.client_id, f"/{member.client}", member.assignment, (),
                instance_id=member.instance_id, topics=member.subscription(self.protocol).topics if stable else (),
            )
            for member in self.members.values()
        ]  # fmt: skip
        return DescribeGroupResponse(
            correlation_id, "NONE", self.group_id, "classic", self.state, self.protocol if stable else "", self.generation,
            members=tuple(members),
        )  # fmt: skip

    def on_loaded(self, out: Outbox) -> None:
        for member in self.members.values():
            self.start_session(member, out)

    def on_unloaded(self, error: str, out: Outbox) -> None:
        for member in self.members.values():
            out.cancel(MemberSessionTimer(self.group_id, member.member_id))
            if member.awaiting_join is not None:
                out.send(
                    member.awaiting_join.destination,
                    JoinGroupResponse(member.awaiting_join.correlation_id, error, member_id=member.member_id),
                )
            if member.awaiting_sync is not None:
                out.send(member.awaiting_sync.destination, SyncGroupResponse(member.awaiting_sync.correlation_id, error))
        for member_id in self.pending_members:
            out.cancel(MemberSessionTimer(self.group_id, member_id))
        out.cancel(JoinTimer(self.group_id))
        out.cancel(SyncTimer(self.group_id))

    # -- members

    def add(self, member: ClassicMember) -> None:
        if member.instance_id:
            assert member.instance_id not in self.static_members
            self.static_members[member.instance_id] = member.member_id
        if not self.leader:
            self.leader = member.member_id
        self.members[member.member_id] = member
        self.pending_members.pop(member.member_id, None)

    def remove(self, member_id: str, out: Outbox) -> None:
        """Its timer ends with it; if it led, the longest-standing member leads."""
        member = self.members.pop(member_id, None)
        if member is not None:
            self.static_members.pop(member.instance_id, None)
        if self.leader == member_id:
            self.leader = next(iter(self.members), "")
        self.pending_members.pop(member_id, None)
        if member_id in self.pending_sync:
            self.pending_sync.remove(member_id)
        out.cancel(MemberSessionTimer(self.group_id, member_id))

    def start_session(self, member: ClassicMember, out: Outbox, timeout_ms: int = 0) -> None:
        """From now on the member has its session timeout (or ``timeout_ms``) to be heard from again."""
        timeout_us = (timeout_ms or member.session_timeout_ms) * 1000
        member.deadline_us = deadline = out.now + timeout_us
        if not member.timer_us or member.timer_us > deadline:
            member.timer_us = deadline
            out.arm(MemberSessionTimer(self.group_id, member.member_id), after_us=timeout_us)

    @property
    def rebalance_timeout_ms(self) -> int:
        return max([member.rebalance_timeout_ms for member in self.members.values()], default=0)

    @property
    def awaiting_join_count(self) -> int:
        return sum([member.awaiting_join is not None for member in self.members.values()])

    @property
    def has_all_members_joined(self) -> bool:
        return not self.pending_members and self.awaiting_join_count == len(self.members)

    def joined_members(self) -> tuple[JoinedMember, ...]:
        """What the leader assigns by."""
        return tuple(
            [
                JoinedMember(member.member_id, member.subscription(self.protocol), member.instance_id)
                for member in self.members.values()
            ]
        )

    def assigned_partitions(self) -> tuple[TopicPartition, ...]:
        return tuple([partition for member in self.members.values() for partition in member.assignment])

    # -- which assignor

    def supports(self, protocol_type: str, protocols: tuple[MemberProtocol, ...]) -> bool:
        """Whether a member that knows these assignors can be in the group: one of them must be known to all."""
        if self.state == EMPTY:
            return bool(protocol_type and protocols)
        candidates = self.candidates()
        return protocol_type == self.protocol_type and any(known.name in candidates for known in protocols)

    def candidates(self) -> list[str]:
        """The assignors that every member knows."""
        counts: dict[str, int] = {}
        for member in self.members.values():
            for protocol in member.protocols:
                counts[protocol.name] = counts.get(protocol.name, 0) + 1
        return [name for name, count in counts.items() if count == len(self.members)]

    def select_protocol(self) -> str:
        """Each member votes for the first of its assignors that all know; the most votes win (fact 42: range, by default)."""
        candidates = self.candidates()
        votes: dict[str, int] = {}
        for member in self.members.values():
            vote = next(known.name for known in member.protocols if known.name in candidates)
            votes[vote] = votes.get(vote, 0) + 1
        return max(hash_map_order(votes), key=lambda name: votes[name])

    # -- states

    def can_rebalance(self) -> bool:
        return self.state in VALID_PREVIOUS_STATES[PREPARING_REBALANCE]

    def transition_to(self, state: str, broker_id: int, out: Outbox) -> None:
        assert self.state in VALID_PREVIOUS_STATES[state], f"group {self.group_id}: from {self.state} to {state}"
        self.previous_state, self.state = self.state, state
        self.state_since_ms = out.now_ms
        out.emit(GroupStateChanged(broker_id, self.group_id, self.previous_state, state))

    def metadata(self, assignment: dict[str, tuple[TopicPartition, ...]] | None = None) -> bytes:
        """``GroupMetadataValue`` with what each member is to have (None: what it has)."""
        members = [
            MemberMetadata(
                member.member_id, member.instance_id, member.client_id, member.client, member.rebalance_timeout_ms,
                member.session_timeout_ms, member.subscription(self.protocol),
                member.assignment if assignment is None else assignment.get(member.member_id, ()),
            )
            for member in self.members.values()
        ]  # fmt: skip
        return group_value(
            GroupMetadata(self.protocol_type, self.generation, self.protocol, self.leader, self.state_since_ms, tuple(members))
        )

    def empty_metadata(self) -> bytes:
        """``newEmptyGroupMetadataRecord``: a group that has just come into being."""
        return group_value(GroupMetadata("", 0, "", "", self.state_since_ms, ()))

    @classmethod
    def from_metadata(cls, group_id: str, value: GroupMetadata) -> ClassicGroup:
        """As the log has it: a group with members is taken to be stable."""
        group = cls(
            group_id, STABLE if value.members else EMPTY, DEAD, value.generation, value.protocol_type, value.protocol, "",
            value.state_timestamp_ms,
        )  # fmt: skip
        for stored in value.members:
            group.add(
                ClassicMember(
                    stored.member_id, stored.instance_id, stored.client_id, stored.client_host, stored.rebalance_timeout_ms,
                    stored.session_timeout_ms, (MemberProtocol(value.protocol, stored.subscription),), stored.assignment,
                    stored.assigned,
                )
            )  # fmt: skip
        group.leader = value.leader
        return group
