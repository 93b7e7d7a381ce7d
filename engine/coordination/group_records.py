"""The records of ``__consumer_offsets`` that classic groups and offsets write, in Kafka's own bytes.

``OffsetCommitKey`` (1; 0 was its first version), ``GroupMetadataKey`` (2) and their values in version 3; what members say about
themselves inside of them is ``ConsumerProtocolSubscription`` and ``ConsumerProtocolAssignment`` in version 3. Sources:
``GroupCoordinatorRecordHelpers``, ``GroupCoordinatorRecordSerde``, the JSON schemas next to them.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import msgspec

from engine.coordination.record_codec import Reader, RecordFormatError, Writer
from engine.messages.base import TopicPartition
from engine.messages.groups import Subscription

OFFSET_COMMIT_KEYS = (0, 1)
GROUP_METADATA_KEY = 2
VALUE_VERSION = 3
PROTOCOL_VERSION = 3
_OFFSET_HEAD = struct.Struct(">hqih")
"""Version, offset, leader epoch, length of the metadata."""
_TIMESTAMP = struct.Struct(">q")


class OffsetValue(msgspec.Struct, frozen=True, gc=False):
    """``OffsetCommitValue``."""

    offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int


class MemberMetadata(msgspec.Struct, frozen=True, gc=False):
    """``assigned`` False: the leader has given this member nothing yet."""

    member_id: str
    instance_id: str
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    subscription: Subscription
    assignment: tuple[TopicPartition, ...]
    assigned: bool = True


class GroupMetadata(msgspec.Struct, frozen=True, gc=False):
    """``GroupMetadataValue``: "" where Kafka has null."""

    protocol_type: str
    generation: int
    protocol: str
    leader: str
    state_timestamp_ms: int
    members: tuple[MemberMetadata, ...]


def record_kind(key: bytes) -> int:
    """The int16 at the front of every key."""
    return Reader(key).int16()


# -- offsets --------------------------------------------------------------------------------------------------------------------------------


@lru_cache(4096)
def offset_key(group_id: str, partition: TopicPartition) -> bytes:
    """The same few keys are written over and over, hence remembered."""
    return Writer().int16(1).string(group_id).string(partition.topic).int32(partition.partition).done()


@lru_cache(4096)
def read_offset_key(key: bytes) -> tuple[str, TopicPartition]:
    reader = Reader(key, 2)
    group_id, topic = reader.string(), reader.string()
    return group_id, TopicPartition(topic, reader.int32())


def offset_value(value: OffsetValue) -> bytes:
    metadata = value.metadata.encode("utf-8", "replace")
    head = _OFFSET_HEAD.pack(VALUE_VERSION, value.offset, value.leader_epoch, len(metadata))
    return b"".join((head, metadata, _TIMESTAMP.pack(value.commit_timestamp_ms)))


def read_offset_value(content: bytes) -> OffsetValue:
    """Only the version that is written here (older ones have no leader epoch)."""
    try:
        version, offset, leader_epoch, length = _OFFSET_HEAD.unpack_from(content)
        end = _OFFSET_HEAD.size + length
        (timestamp,) = _TIMESTAMP.unpack_from(content, end)
    except struct.error:
        raise RecordFormatError(f"{len(content)} bytes are no OffsetCommitValue") from None
    if version != VALUE_VERSION or length < 0:
        raise RecordFormatError(f"OffsetCommitValue of version {version} with {length} bytes of metadata")
    metadata = content[_OFFSET_HEAD.size : end].decode("utf-8", "replace") if length else ""
    return OffsetValue(offset, leader_epoch, metadata, timestamp)


# -- classic groups ---------------------------------------------------------------------------------------------------------------------------


def group_key(group_id: str) -> bytes:
    return Writer().int16(GROUP_METADATA_KEY).string(group_id).done()


def read_group_key(key: bytes) -> str:
    return Reader(key, 2).string()


def group_value(group: GroupMetadata) -> bytes:
    writer = Writer().int16(VALUE_VERSION).string(group.protocol_type).int32(group.generation)
    writer.string(group.protocol or None).string(group.leader or None).int64(group.state_timestamp_ms).array(len(group.members))
    for member in group.members:
        writer.string(member.member_id).string(member.instance_id or None).string(member.client_id).string(member.client_host)
        writer.int32(member.rebalance_timeout_ms).int32(member.session_timeout_ms).data(subscription_bytes(member.subscription))
        writer.data(assignment_bytes(member.assignment) if member.assigned else b"")
    return writer.done()


def read_group_value(content: bytes) -> GroupMetadata:
    reader = Reader(content)
    version = reader.int16()
    if version != VALUE_VERSION:
        raise RecordFormatError(f"GroupMetadataValue of version {version}")
    protocol_type, generation, protocol, leader = reader.string(), reader.int32(), reader.string(), reader.string()
    timestamp = reader.int64()
    members = []
    for _ in range(reader.array()):
        member_id, instance_id, client_id, host = reader.string(), reader.string(), reader.string(), reader.string()
        rebalance_timeout, session_timeout = reader.int32(), reader.int32()
        subscription, assignment = read_subscription(reader.data()), reader.data()
        members.append(
            MemberMetadata(
                member_id, instance_id, client_id, host, rebalance_timeout, session_timeout, subscription,
                read_assignment(assignment), bool(assignment),
            )
        )  # fmt: skip
    return GroupMetadata(protocol_type, generation, protocol, leader, timestamp, tuple(members))


def subscription_bytes(subscription: Subscription) -> bytes:
    writer = Writer().int16(PROTOCOL_VERSION).array(len(subscription.topics))
    for topic in subscription.topics:
        writer.string(topic)
    _write_partitions(writer.data(None), subscription.owned)
    return writer.int32(subscription.generation).string(subscription.rack or None).done()


def read_subscription(content: bytes) -> Subscription:
    reader = Reader(content, 2)
    topics = tuple([reader.string() for _ in range(reader.array())])
    reader.data()
    owned = _read_partitions(reader)
    return Subscription(topics, owned, reader.int32(), reader.string())


def assignment_bytes(partitions: tuple[TopicPartition, ...]) -> bytes:
    writer = Writer().int16(PROTOCOL_VERSION)
    _write_partitions(writer, partitions)
    return writer.data(None).done()


def read_assignment(content: bytes) -> tuple[TopicPartition, ...]:
    return _read_partitions(Reader(content, 2)) if content else ()


def _write_partitions(writer: Writer, partitions: tuple[TopicPartition, ...]) -> None:
    by_topic: dict[str, list[int]] = {}
    for topic, number in partitions:
        by_topic.setdefault(topic, []).append(number)
    writer.array(len(by_topic))
    for topic, numbers in by_topic.items():
        writer.string(topic).array(len(numbers))
        for number in numbers:
            writer.int32(number)


def _read_partitions(reader: Reader) -> tuple[TopicPartition, ...]:
    found = []
    for _ in range(reader.array()):
        topic = reader.string()
        found += [TopicPartition(topic, reader.int32()) for _ in range(reader.array())]
    return tuple(found)
