"""A share group (KIP-932): its members share partitions rather than own them. Kafka's ``ShareGroup``, with Kafka's ``SimpleAssignor``.

Who may read which partition is settled as in a consumer group, by a group epoch and a target assignment; but several members may get the
same partition, and nobody has to give up anything first. A partition is assigned only once its share state has been initialised with the
share coordinator. Which records are whose is the business of the partition's leader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from engine.coordination.consumer_group import by_id
from engine.coordination.consumer_group_records import (
    Assignment,
    TopicIdPartition,
    group_key,
    member_key,
    read_group_key,
    read_member_key,
)
from engine.coordination.group import GroupError
from engine.coordination.group_timers import ShareMemberTimer
from engine.coordination.modern_group import Groups, Replay, Session
from engine.coordination.shard import Records
from engine.coordination.share_group_records import (
    CURRENT_KEY,
    GROUP_EPOCH_KEY,
    MEMBER_KEY,
    STATE_KEY,
    TARGET_EPOCH_KEY,
    TARGET_KEY,
    ShareSubscription,
    StatePartitions,
    TopicState,
    read_current_value,
    read_epoch_value,
    read_state_partitions_value,
    read_subscription_value,
)  # fmt: skip
from engine.messages.groups import DescribedMember, DescribeGroupResponse
from engine.sim.outbox import Outbox

EMPTY, STABLE = "Empty", "Stable"
ASSIGNOR = "simple"


class ShareGroupMember(msgspec.Struct, frozen=True, gc=False):
    """``client`` is the address that it asks from."""

    member_id: str
    member_epoch: int = 0
    previous_member_epoch: int = -1
    rack_id: str = ""
    client_id: str = ""
    client: str = ""
    topics: tuple[str, ...] = ()
    assigned: Assignment = ()

    def subscription(self) -> ShareSubscription:
        return ShareSubscription(self.rack_id, self.client_id, self.client, self.topics)


@dataclass(slots=True)
class ShareGroup:
    """``initializing``: share partitions whose state is asked for, since when (the broker's clock, milliseconds); ``initialized``: those
    that may be assigned. ``topic_names``: of the topics in both. Events are numbers."""

    group_id: str
    group_epoch: int = 0
    metadata_hash: int = 0
    assignment_epoch: int = 0
    members: dict[str, ShareGroupMember] = field(default_factory=dict)
    target: dict[str, Assignment] = field(default_factory=dict)
    initializing: dict[TopicIdPartition, int] = field(default_factory=dict)
    initialized: dict[TopicIdPartition, int] = field(default_factory=dict)
    topic_names: dict[str, str] = field(default_factory=dict)
    refresh_us: int = 0
    sessions: dict[str, Session] = field(default_factory=dict)
    session_timeout_us: int = 45_000_000
    told_state: str = EMPTY
    epoch_event: int = 0
    target_event: int = 0
    refresh_event: int = 0

    # -- what every group can say

    @property
    def group_type(self) -> str:
        return "share"

    @property
    def protocol_type(self) -> str:
        return "share"

    def state_name(self) -> str:
        return STABLE if self.members else EMPTY

    def is_empty(self) -> bool:
        return not self.members

    def is_subscribed_to(self, topic: str) -> bool:
        return any(topic in member.topics for member in self.members.values())

    def member(self, member_id: str) -> ShareGroupMember:
        """Raises GroupError(UNKNOWN_MEMBER_ID)."""
        member = self.members.get(member_id)
        if member is None:
            raise GroupError("UNKNOWN_MEMBER_ID", f"Member {member_id} is not a member of group {self.group_id}.")
        return member

    def _no_offsets(self) -> GroupError:
        return GroupError("GROUP_ID_NOT_FOUND", f"Group {self.group_id} is not a consumer group.")

    def validate_offset_commit(self, member_id: str, instance_id: str, generation_or_epoch: int, transactional: bool) -> None:
        raise self._no_offsets()

    def validate_offset_fetch(self, member_id: str, member_epoch: int) -> None:
        raise self._no_offsets()

    def validate_offset_delete(self) -> None:
        raise self._no_offsets()

    def validate_delete(self) -> None:
        if self.members:
            raise GroupError("NON_EMPTY_GROUP")

    def expires_offsets_from(self, commit_timestamp_ms: int) -> int:
        return -1

    def tombstones(self) -> Records:
        members = list(self.members)
        records: Records = [(member_key(CURRENT_KEY, self.group_id, member_id), None) for member_id in members]
        records += [(member_key(TARGET_KEY, self.group_id, member_id), None) for member_id in members]
        records.append((group_key(TARGET_EPOCH_KEY, self.group_id), None))
        records += [(member_key(MEMBER_KEY, self.group_id, member_id), None) for member_id in members]
        records.append((group_key(STATE_KEY, self.group_id), None))
        records.append((group_key(GROUP_EPOCH_KEY, self.group_id), None))
        return records

    def describe(self, correlation_id: int) -> DescribeGroupResponse:
        """Topics by their IDs: who has the metadata puts their names in."""
        members = [
            DescribedMember(
                member.member_id, member.client_id, f"/{member.client}", by_id(member.assigned),
                by_id(self.target.get(member.member_id, ())), member.member_epoch, "", member.topics, member.rack_id, True,
            )
            for member in self.members.values()
        ]  # fmt: skip
        return DescribeGroupResponse(
            correlation_id, "NONE", self.group_id, "share", self.state_name(), ASSIGNOR, self.group_epoch, self.assignment_epoch,
            tuple(members),
        )  # fmt: skip

    def on_loaded(self, out: Outbox) -> None:
        self.told_state = self.state_name()
        for member_id in self.members:
            self.start_session(member_id, out)

    def on_unloaded(self, error: str, out: Outbox) -> None:
        for member_id in list(self.sessions):
            self.stop_session(member_id, out)

    # -- members

    def start_session(self, member_id: str, out: Outbox) -> None:
        session = self.sessions.get(member_id)
        if session is None:
            session = self.sessions[member_id] = Session()
        session.extend(ShareMemberTimer(self.group_id, member_id), self.session_timeout_us, out)

    def stop_session(self, member_id: str, out: Outbox) -> None:
        if self.sessions.pop(member_id, None) is not None:
            out.cancel(ShareMemberTimer(self.group_id, member_id))

    # -- which share partitions have state

    def state_partitions(
        self, initializing: Mapping[TopicIdPartition, int], initialized: Mapping[TopicIdPartition, int], names: Mapping[str, str]
    ) -> StatePartitions:
        """As a record has it."""
        return StatePartitions(_by_topic(initializing, names), _by_topic(initialized, names))


def _by_topic(partitions: Mapping[TopicIdPartition, int], names: Mapping[str, str]) -> tuple[TopicState, ...]:
    found: dict[str, list[TopicIdPartition]] = {}
    for part in sorted(partitions):
        found.setdefault(part.topic_id, []).append(part)
    return tuple(
        [
            TopicState(topic_id, names.get(topic_id, ""), tuple([part.partition for part in parts]), partitions[parts[0]])
            for topic_id, parts in found.items()
        ]
    )


# -- the simple assignor ------------------------------------------------------------------------------------------------------------------


def assign(
    members: Mapping[str, tuple[str, ...]], before: Mapping[str, Assignment], partitions: Assignment
) -> dict[str, Assignment]:
    """``members``: the topic IDs of each. Every partition gets as many members as every other, and every member about as many partitions;
    who can keeps what it had (``SimpleHomogeneousAssignmentBuilder``). Members with different topics are treated topic by topic."""
    found: dict[str, list[TopicIdPartition]] = {member_id: [] for member_id in members}
    by_readers: dict[tuple[str, ...], list[TopicIdPartition]] = {}
    for part in partitions:
        readers = tuple([member_id for member_id, topics in members.items() if part.topic_id in topics])
        if readers:
            by_readers.setdefault(readers, []).append(part)
    for readers, parts in by_readers.items():
        for member_id, given in _spread(readers, before, parts).items():
            found[member_id] += given
    return {member_id: tuple(sorted(parts)) for member_id, parts in found.items()}


def _spread(
    members: tuple[str, ...], before: Mapping[str, Assignment], partitions: list[TopicIdPartition]
) -> dict[str, list[TopicIdPartition]]:
    sharing = -(-len(members) // len(partitions))
    total = sharing * len(partitions)
    quota = {
        member_id: -(-total * (index + 1) // len(members)) + -total * index // len(members)
        for index, member_id in enumerate(members)
    }
    existing = dict.fromkeys(partitions)
    readers = dict.fromkeys(partitions, 0)
    found: dict[str, list[TopicIdPartition]] = {}
    for member_id in members:
        kept = found[member_id] = []
        for part in before.get(member_id, ()):
            if part in existing and len(kept) < quota[member_id] and readers[part] < sharing:
                kept.append(part)
                readers[part] += 1
    for part in partitions:
        while readers[part] < sharing:
            free = [member_id for member_id in members if len(found[member_id]) < quota[member_id] and part not in found[member_id]]
            if not free:
                break  # those with room have it already: a slight imbalance is harmless
            taker = min(free, key=lambda member_id: len(found[member_id]) - quota[member_id])
            found[taker].append(part)
            readers[part] += 1
    return found


# -- records ------------------------------------------------------------------------------------------------------------------------------


_REPLAY = Replay(ShareGroup, read_epoch_value)


def replay_subscription(groups: Groups, key: bytes, value: bytes | None, timestamp_ms: int) -> None:
    group_id, member_id = read_member_key(key)
    group = _REPLAY.find(groups, group_id, value is not None)
    if group is None:
        return
    if value is None:
        group.members.pop(member_id, None)
        return
    stored = read_subscription_value(value)
    group.members[member_id] = msgspec.structs.replace(
        group.members.get(member_id, ShareGroupMember(member_id)), rack_id=stored.rack_id, client_id=stored.client_id,
        client=stored.client, topics=stored.topics,
    )  # fmt: skip


def replay_current(groups: Groups, key: bytes, value: bytes | None, timestamp_ms: int) -> None:
    group_id, member_id = read_member_key(key)
    group = _REPLAY.find(groups, group_id, value is not None)
    if group is None:
        return
    known = group.members.get(member_id)
    if value is not None:
        stored = read_current_value(value)
        group.members[member_id] = msgspec.structs.replace(
            known or ShareGroupMember(member_id), member_epoch=stored.member_epoch,
            previous_member_epoch=stored.previous_member_epoch, assigned=stored.assigned,
        )  # fmt: skip
    elif known is not None:
        group.members[member_id] = msgspec.structs.replace(known, member_epoch=-1, previous_member_epoch=-1, assigned=())


def replay_state_partitions(groups: Groups, key: bytes, value: bytes | None, timestamp_ms: int) -> None:
    group = _REPLAY.find(groups, read_group_key(key), value is not None)
    if group is None:
        return
    group.initializing, group.initialized, group.topic_names = {}, {}, {}
    if value is None:
        return
    stored = read_state_partitions_value(value)
    for topics, into in ((stored.initializing, group.initializing), (stored.initialized, group.initialized)):
        for topic in topics:
            group.topic_names[topic.topic_id] = topic.name
            for number in topic.partitions:
                into[TopicIdPartition(topic.topic_id, number)] = topic.since_ms


REPLAY = {
    MEMBER_KEY: replay_subscription,
    GROUP_EPOCH_KEY: _REPLAY.group_epoch,
    TARGET_EPOCH_KEY: _REPLAY.assignment_epoch,
    TARGET_KEY: _REPLAY.target,
    CURRENT_KEY: replay_current,
    STATE_KEY: replay_state_partitions,
}
"""Kinds of record by their key's first number."""
