"""A consumer group of KIP-848: its members, its three kinds of epoch, who owns which partition. Kafka's ``ConsumerGroup``.

The group epoch goes up whenever the members, their subscriptions or the topics change; the target assignment is computed for an epoch and
carries it as the assignment epoch; each member's epoch says which target it has reached. Everything here follows from replayed records;
what a heartbeat decides lies in ``consumer_protocol``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from engine.coordination.consumer_group_member import LEAVE_GROUP_EPOCH, ConsumerGroupMember
from engine.coordination.consumer_group_records import (
    CURRENT_KEY,
    GROUP_EPOCH_KEY,
    MEMBER_KEY,
    PARTITION_METADATA_KEY,
    TARGET_EPOCH_KEY,
    TARGET_KEY,
    Assignment,
    TopicIdPartition,
    group_key,
    member_key,
    read_current_value,
    read_epoch_value,
    read_member_key,
    read_subscription_value,
)  # fmt: skip
from engine.coordination.group import GroupError
from engine.coordination.group_timers import MemberRevocationTimer, MemberSilenceTimer
from engine.coordination.modern_group import NO_EPOCH, Groups, Replay, Session
from engine.coordination.server_assignors import ASSIGNORS
from engine.coordination.shard import Records
from engine.messages.base import TopicPartition
from engine.messages.groups import DescribedMember, DescribeGroupResponse
from engine.metadata.image import MetadataImage
from engine.sim.outbox import Outbox

EMPTY, ASSIGNING, RECONCILING, STABLE, DEAD = "Empty", "Assigning", "Reconciling", "Stable", "Dead"


@dataclass(slots=True)
class Story:
    """What the events of a group need to know and no record holds. Events are numbers; times are virtual microseconds.

    ``told_state``: the state that was last told; ``released``: when partitions of this rebalance lost their owner, and by which event.
    """

    told_state: str = EMPTY
    epoch_event: int = 0
    target_event: int = 0
    refresh_event: int = 0
    unsettled_since_us: int = -1
    released: dict[TopicIdPartition, tuple[int, int]] = field(default_factory=dict)
    stopped_us: int = 0
    """The longest that a partition was without an owner in the rebalance that goes on."""
    last_stopped_us: int = -1
    last_rebalance_us: int = -1


@dataclass(slots=True)
class ConsumerGroup:
    """``target``: what each member is to have; ``partition_epochs``: every partition that somebody owns, with the epoch of its owner.
    ``refresh_us``: when the topics are to be looked at again, at once where it is 0."""

    group_id: str
    group_epoch: int = 0
    metadata_hash: int = 0
    assignment_epoch: int = 0
    members: dict[str, ConsumerGroupMember] = field(default_factory=dict)
    static_members: dict[str, str] = field(default_factory=dict)
    target: dict[str, Assignment] = field(default_factory=dict)
    partition_epochs: dict[TopicIdPartition, int] = field(default_factory=dict)
    refresh_us: int = 0
    sessions: dict[str, Session] = field(default_factory=dict)
    session_timeout_us: int = 45_000_000
    story: Story = field(default_factory=Story)

    # -- what every group can say

    @property
    def group_type(self) -> str:
        return "consumer"

    @property
    def protocol_type(self) -> str:
        return "consumer"

    def state_name(self) -> str:
        if not self.members:
            return EMPTY
        if self.group_epoch > self.assignment_epoch:
            return ASSIGNING
        if all(member.is_reconciled_to(self.assignment_epoch) for member in self.members.values()):
            return STABLE
        return RECONCILING

    def is_empty(self) -> bool:
        return not self.members

    def is_subscribed_to(self, topic: str) -> bool:
        return any(topic in member.topics for member in self.members.values())

    def member(self, member_id: str) -> ConsumerGroupMember:
        """Raises GroupError(UNKNOWN_MEMBER_ID)."""
        member = self.members.get(member_id)
        if member is None:
            raise GroupError("UNKNOWN_MEMBER_ID", f"Member {member_id} is not a member of group {self.group_id}.")
        return member

    def validate_offset_commit(self, member_id: str, instance_id: str, generation_or_epoch: int, transactional: bool) -> None:
        """An administrator may, while the group is empty; a member in its current epoch; a transaction that names no member."""
        if generation_or_epoch < 0 and (not self.members or (transactional and not member_id and not instance_id)):
            return
        self._validate_epoch(self.member(member_id), generation_or_epoch)

    def validate_offset_fetch(self, member_id: str, member_epoch: int) -> None:
        if member_id or member_epoch >= 0:
            self._validate_epoch(self.member(member_id), member_epoch)

    @staticmethod
    def _validate_epoch(member: ConsumerGroupMember, epoch: int) -> None:
        if epoch != member.member_epoch:
            known = member.member_epoch
            raise GroupError(
                "STALE_MEMBER_EPOCH", f"The received member epoch {epoch} does not match the expected member epoch {known}."
            )

    def validate_offset_delete(self) -> None:
        """Always allowed; topics that somebody reads are refused one by one."""

    def validate_delete(self) -> None:
        if self.members:
            raise GroupError("NON_EMPTY_GROUP")

    def expires_offsets_from(self, commit_timestamp_ms: int) -> int:
        """Since the commit, of topics that nobody in the group reads."""
        return commit_timestamp_ms

    def tombstones(self) -> Records:
        """Children before their parents (``createGroupTombstoneRecords``)."""
        members = list(self.members)
        records: Records = [(member_key(CURRENT_KEY, self.group_id, member_id), None) for member_id in members]
        records += [(member_key(TARGET_KEY, self.group_id, member_id), None) for member_id in members]
        records.append((group_key(TARGET_EPOCH_KEY, self.group_id), None))
        records += [(member_key(MEMBER_KEY, self.group_id, member_id), None) for member_id in members]
        records.append((group_key(PARTITION_METADATA_KEY, self.group_id), None))
        records.append((group_key(GROUP_EPOCH_KEY, self.group_id), None))
        return records

    def describe(self, correlation_id: int) -> DescribeGroupResponse:
        """Topics by their IDs: who has the metadata puts their names in."""
        members = [
            DescribedMember(
                member.member_id, member.client_id, f"/{member.client}", by_id(member.assigned),
                by_id(self.target.get(member.member_id, ())), member.member_epoch, member.instance_id, member.topics, member.rack_id,
                True,
            )
            for member in self.members.values()
        ]  # fmt: skip
        return DescribeGroupResponse(
            correlation_id, "NONE", self.group_id, "consumer", self.state_name(), preferred_assignor(self.members), self.group_epoch,
            self.assignment_epoch, tuple(members),
        )  # fmt: skip

    def on_loaded(self, out: Outbox) -> None:
        """Everybody has a whole session to be heard from, and those who are to revoke a whole rebalance timeout."""
        self.story.told_state = self.state_name()
        for member in self.members.values():
            self.start_session(member.member_id, out)
            if member.pending_revocation:
                self.start_revocation(member, out)

    def on_unloaded(self, error: str, out: Outbox) -> None:
        for member_id in list(self.sessions):
            self.stop_timers(member_id, out)

    # -- members

    def target_of(self, member_id: str, instance_id: str) -> Assignment:
        """A static member that is back under another member ID finds its predecessor's target."""
        if member_id not in self.target and instance_id in self.static_members:
            return self.target.get(self.static_members[instance_id], ())
        return self.target.get(member_id, ())

    def static_member(self, instance_id: str) -> ConsumerGroupMember | None:
        member_id = self.static_members.get(instance_id)
        return self.members.get(member_id) if member_id is not None else None

    def start_session(self, member_id: str, out: Outbox) -> None:
        session = self.sessions.get(member_id)
        if session is None:
            session = self.sessions[member_id] = Session()
        session.extend(MemberSilenceTimer(self.group_id, member_id), self.session_timeout_us, out)

    def start_revocation(self, member: ConsumerGroupMember, out: Outbox) -> None:
        self.sessions[member.member_id].revoking_epoch = member.member_epoch
        out.arm(MemberRevocationTimer(self.group_id, member.member_id), after_us=member.rebalance_timeout_ms * 1000)

    def stop_revocation(self, member_id: str, out: Outbox) -> None:
        session = self.sessions.get(member_id)
        if session is not None and session.revoking_epoch >= 0:
            session.revoking_epoch = NO_EPOCH
            out.cancel(MemberRevocationTimer(self.group_id, member_id))

    def stop_timers(self, member_id: str, out: Outbox) -> None:
        session = self.sessions.pop(member_id, None)
        if session is not None:
            out.cancel(MemberSilenceTimer(self.group_id, member_id))
            if session.revoking_epoch >= 0:
                out.cancel(MemberRevocationTimer(self.group_id, member_id))

    # -- replaying

    def put(self, member: ConsumerGroupMember) -> None:
        """A member as a record says it is now. Of two that claim a partition, as a compacted log may have it on the way, the later one
        counts."""
        known = self.members.get(member.member_id)
        epochs = self.partition_epochs
        if known is not None:
            self._release(known)
        for part in member.assigned:
            epochs[part] = member.member_epoch
        for part in member.pending_revocation:
            epochs[part] = member.member_epoch
        self.members[member.member_id] = member
        if member.instance_id:
            self.static_members[member.instance_id] = member.member_id

    def _release(self, member: ConsumerGroupMember) -> None:
        epochs = self.partition_epochs
        for part in member.owned:
            if epochs.get(part) == member.member_epoch:
                del epochs[part]

    def drop(self, member_id: str) -> None:
        member = self.members.pop(member_id, None)
        if member is not None:
            self._release(member)
            if self.static_members.get(member.instance_id) == member_id:
                del self.static_members[member.instance_id]


def preferred_assignor(members: Mapping[str, ConsumerGroupMember]) -> str:
    """The one that most members ask for; who names none has no vote."""
    votes: dict[str, int] = {}
    for member in members.values():
        if member.server_assignor:
            votes[member.server_assignor] = votes.get(member.server_assignor, 0) + 1
    return max(votes, key=votes.__getitem__) if votes else ASSIGNORS[0]


def by_id(assignment: Assignment) -> tuple[TopicPartition, ...]:
    """With the topic's ID where its name is to go."""
    return tuple([TopicPartition(topic_id, number) for topic_id, number in assignment])


def with_names(described: DescribeGroupResponse, image: MetadataImage) -> DescribeGroupResponse:
    """Topics by their names again; those that are deleted are left out."""
    names = image.topic_names

    def named(partitions: tuple[TopicPartition, ...]) -> tuple[TopicPartition, ...]:
        return tuple([TopicPartition(names[topic], number) for topic, number in partitions if topic in names])

    members = [
        msgspec.structs.replace(member, assignment=named(member.assignment), target=named(member.target))
        for member in described.members
    ]
    return msgspec.structs.replace(described, members=tuple(members))


# -- records -----------------------------------------------------------------------------------------------------------------------------------


_REPLAY = Replay(ConsumerGroup, read_epoch_value)


def replay_partition_metadata(groups: Groups, key: bytes, value: bytes | None, timestamp_ms: int) -> None:
    """What a Kafka before 4.1 kept of the topics: of no more use."""


def replay_subscription(groups: Groups, key: bytes, value: bytes | None, timestamp_ms: int) -> None:
    group_id, member_id = read_member_key(key)
    group = _REPLAY.find(groups, group_id, value is not None)
    if group is None:
        return
    if value is None:
        group.drop(member_id)
    else:
        group.put(group.members.get(member_id, ConsumerGroupMember(member_id)).with_subscription(read_subscription_value(value)))


def replay_current(groups: Groups, key: bytes, value: bytes | None, timestamp_ms: int) -> None:
    """A tombstone leaves the member without partitions; that of its subscription, which follows, removes it."""
    group_id, member_id = read_member_key(key)
    group = _REPLAY.find(groups, group_id, value is not None)
    if group is None:
        return
    known = group.members.get(member_id)
    if value is not None:
        group.put((known or ConsumerGroupMember(member_id)).with_current(read_current_value(value)))
    elif known is not None:
        group.put(known.advanced(known.state, LEAVE_GROUP_EPOCH, ()))


REPLAY = {
    GROUP_EPOCH_KEY: _REPLAY.group_epoch,
    PARTITION_METADATA_KEY: replay_partition_metadata,
    MEMBER_KEY: replay_subscription,
    TARGET_EPOCH_KEY: _REPLAY.assignment_epoch,
    TARGET_KEY: _REPLAY.target,
    CURRENT_KEY: replay_current,
}
"""Kinds of record by their key's first number."""
