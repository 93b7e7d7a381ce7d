"""The records of ``__consumer_offsets`` that consumer groups (KIP-848) write, in Kafka's own bytes.

``ConsumerGroupMetadata`` (3), ``ConsumerGroupMemberMetadata`` (5), ``ConsumerGroupTargetAssignmentMetadata`` (6),
``ConsumerGroupTargetAssignmentMember`` (7) and ``ConsumerGroupCurrentMemberAssignment`` (8). Of ``ConsumerGroupPartitionMetadata`` (4)
Kafka writes only tombstones since 4.1: a hash of the topics in record 3 took its place. Keys have int16 lengths, values are flexible.
Sources: ``GroupCoordinatorRecordHelpers`` and the JSON schemas next to it.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from engine.coordination.record_codec import Reader, Writer

GROUP_EPOCH_KEY, PARTITION_METADATA_KEY, MEMBER_KEY, TARGET_EPOCH_KEY, TARGET_KEY, CURRENT_KEY = 3, 4, 5, 6, 7, 8
METADATA_HASH_TAG = 0


class TopicIdPartition(NamedTuple):
    """A partition by its topic's ID: a topic that was deleted and created again is another one."""

    topic_id: str
    partition: int


Assignment = tuple[TopicIdPartition, ...]


class MemberSubscription(msgspec.Struct, frozen=True, gc=False):
    """``ConsumerGroupMemberMetadataValue``: "" where Kafka has null. ``client`` is the address that the member asks from."""

    instance_id: str
    rack_id: str
    client_id: str
    client: str
    topics: tuple[str, ...]
    rebalance_timeout_ms: int
    server_assignor: str


class CurrentAssignment(msgspec.Struct, frozen=True, gc=False):
    """``ConsumerGroupCurrentMemberAssignmentValue``."""

    member_epoch: int
    previous_member_epoch: int
    state: int
    assigned: Assignment
    pending_revocation: Assignment


# -- keys -------------------------------------------------------------------------------------------------------------------------------


def group_key(kind: int, group_id: str) -> bytes:
    return Writer().int16(kind).string(group_id).done()


def member_key(kind: int, group_id: str, member_id: str) -> bytes:
    return Writer().int16(kind).string(group_id).string(member_id).done()


def read_group_key(key: bytes) -> str:
    return Reader(key, 2).string()


def read_member_key(key: bytes) -> tuple[str, str]:
    reader = Reader(key, 2)
    return reader.string(), reader.string()


# -- values -----------------------------------------------------------------------------------------------------------------------------


def epoch_value(epoch: int, metadata_hash: int = 0) -> bytes:
    """Of keys 3 and 6: the group epoch with its hash of the topics in a tagged field, or the assignment epoch."""
    writer = Writer().int16(0).int32(epoch)
    if not metadata_hash:
        return writer.tags().done()
    return writer.uvarint(1).uvarint(METADATA_HASH_TAG).uvarint(8).int64(metadata_hash).done()


def read_epoch_value(content: bytes) -> tuple[int, int]:
    """(epoch, hash of the topics or 0)."""
    reader = Reader(content, 2)
    epoch, metadata_hash = reader.int32(), 0
    for _ in range(reader.uvarint()):
        tag, size = reader.uvarint(), reader.uvarint()
        if tag == METADATA_HASH_TAG and size == 8:
            metadata_hash = reader.int64()
        else:
            reader.position += size
    return epoch, metadata_hash


def subscription_value(member: MemberSubscription) -> bytes:
    writer = Writer().int16(0).compact_string(member.instance_id or None).compact_string(member.rack_id or None)
    writer.compact_string(member.client_id).compact_string(member.client).compact_array(len(member.topics))
    for topic in member.topics:
        writer.compact_string(topic)
    writer.compact_string("").int32(member.rebalance_timeout_ms).compact_string(member.server_assignor or None)
    return writer.tags().done()


def read_subscription_value(content: bytes) -> MemberSubscription:
    reader = Reader(content, 2)
    instance_id, rack_id, client_id, client = (reader.compact_string() for _ in range(4))
    topics = tuple([reader.compact_string() for _ in range(reader.compact_array())])
    reader.compact_string()  # a regular expression
    return MemberSubscription(instance_id, rack_id, client_id, client, topics, reader.int32(), reader.compact_string())


def target_value(assignment: Assignment) -> bytes:
    writer = Writer().int16(0)
    write_partitions(writer, assignment)
    return writer.tags().done()


def read_target_value(content: bytes) -> Assignment:
    return read_partitions(Reader(content, 2))


def current_value(current: CurrentAssignment) -> bytes:
    writer = Writer().int16(0).int32(current.member_epoch).int32(current.previous_member_epoch).int8(current.state)
    write_partitions(writer, current.assigned)
    write_partitions(writer, current.pending_revocation)
    return writer.tags().done()


def read_current_value(content: bytes) -> CurrentAssignment:
    reader = Reader(content, 2)
    epoch, previous, state = reader.int32(), reader.int32(), reader.int8()
    return CurrentAssignment(epoch, previous, state, read_partitions(reader), read_partitions(reader))


def write_partitions(writer: Writer, assignment: Assignment) -> None:
    """By topic ID, as every one of these schemas has it."""
    by_topic: dict[str, list[int]] = {}
    for topic_id, number in assignment:
        by_topic.setdefault(topic_id, []).append(number)
    writer.compact_array(len(by_topic))
    for topic_id, numbers in by_topic.items():
        writer.uuid(topic_id).compact_array(len(numbers))
        for number in numbers:
            writer.int32(number)
        writer.tags()


def read_partitions(reader: Reader) -> Assignment:
    found: list[TopicIdPartition] = []
    for _ in range(reader.compact_array()):
        topic_id = reader.uuid()
        found += [TopicIdPartition(topic_id, reader.int32()) for _ in range(reader.compact_array())]
        reader.tags()
    return tuple(found)
