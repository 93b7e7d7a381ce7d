"""What a consumer group's members are to have: from who is in it, what they subscribe to and which topics there are.

Kafka's ``TargetAssignmentBuilder`` and the part of ``ModernGroup`` that watches the topics. A hash of the topics tells whether they have
changed since the group epoch was last bumped. Kafka takes XXH3 for it; nobody but the coordinator ever compares these numbers, and here
it is BLAKE2b.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Protocol

from engine.coordination import server_assignors
from engine.coordination.consumer_group import ConsumerGroup
from engine.coordination.consumer_group_member import ConsumerGroupMember
from engine.coordination.consumer_group_records import (
    TARGET_EPOCH_KEY,
    TARGET_KEY,
    Assignment,
    epoch_value,
    group_key,
    member_key,
    target_value,
)
from engine.coordination.server_assignors import MemberSpec
from engine.coordination.shard import Records
from engine.metadata.image import MetadataImage

Members = Mapping[str, ConsumerGroupMember]


class Subscriber(Protocol):
    """A member of a consumer group or of a share group."""

    @property
    def topics(self) -> tuple[str, ...]: ...


def members_after(group: ConsumerGroup, updated: ConsumerGroupMember | None, removed: str = "") -> dict[str, ConsumerGroupMember]:
    """As they will be: with one member new or changed (a static one in the place of its predecessor), or without one."""
    members = {member_id: member for member_id, member in group.members.items() if member_id != removed}
    if updated is not None:
        predecessor = group.static_members.get(updated.instance_id, "") if updated.instance_id else ""
        if predecessor and predecessor != updated.member_id:
            members.pop(predecessor, None)
        members[updated.member_id] = updated
    return members


def topic_ids(image: MetadataImage, topics: tuple[str, ...]) -> tuple[str, ...]:
    """Of those that exist."""
    return tuple([image.topics[topic].topic_id for topic in topics if topic in image.topics])


def metadata_hash(members: Mapping[str, Subscriber], image: MetadataImage) -> int:
    """Of all topics that somebody subscribes to and that exist: ID, name, partitions, and the racks of their replicas (KIP-1101). 0 of
    none."""
    names = sorted(dict.fromkeys([topic for member in members.values() for topic in member.topics if topic in image.topics]))
    if not names:
        return 0
    digest = blake2b(digest_size=8)
    for name in names:
        topic = image.topics[name]
        digest.update(f"{topic.topic_id} {name} {len(topic.partitions)}".encode())
        for number in range(len(topic.partitions)):
            partition = topic.partitions.get(number)
            replicas = partition.replicas if partition is not None else ()
            racks = sorted([image.brokers[broker].rack for broker in replicas if broker in image.brokers])
            digest.update(",".join(racks).encode() + b";")
    return int.from_bytes(digest.digest(), "big", signed=True) or 1


def compute(group: ConsumerGroup, members: Members, assignor: str, image: MetadataImage) -> dict[str, Assignment]:
    """The new target by the assignor, which sees the old one: members keep what they can."""
    specs: dict[str, MemberSpec] = {}
    counts: dict[str, int] = {}
    for member_id, member in members.items():
        ids = topic_ids(image, member.topics)
        for topic_id in ids:
            counts[topic_id] = len(image.topics[image.topic_names[topic_id]].partitions)
        specs[member_id] = MemberSpec(ids, group.target_of(member_id, member.instance_id), member.instance_id)
    return server_assignors.assign(assignor, specs, counts)


def records(group: ConsumerGroup, target: Mapping[str, Assignment], epoch: int) -> Records:
    """One for each member whose target changes, then the assignment epoch."""
    changed: Records = [
        (member_key(TARGET_KEY, group.group_id, member_id), target_value(parts))
        for member_id, parts in target.items()
        if group.target.get(member_id) != parts
    ]
    changed.append((group_key(TARGET_EPOCH_KEY, group.group_id), epoch_value(epoch)))
    return changed
