"""The records of share groups (KIP-932), in Kafka's own bytes.

In ``__consumer_offsets``: ``ShareGroupMemberMetadata`` (10), ``ShareGroupMetadata`` (11), ``ShareGroupTargetAssignmentMetadata`` (12) and
``…Member`` (13), ``ShareGroupCurrentMemberAssignment`` (14), ``ShareGroupStatePartitionMetadata`` (15). In ``__share_group_state``:
``ShareSnapshot`` (0), the whole state of a share partition, and ``ShareUpdate`` (1), what has changed since. Sources:
``GroupCoordinatorRecordHelpers``, ``ShareCoordinatorRecordHelpers`` and the JSON schemas next to them.
"""

from __future__ import annotations

import struct

import msgspec

from engine.coordination.consumer_group_records import (
    Assignment,
    CurrentAssignment,
    TopicIdPartition,
    read_partitions,
    write_partitions,
)
from engine.coordination.record_codec import Reader, Writer
from engine.messages.share_groups import StateBatch

MEMBER_KEY, GROUP_EPOCH_KEY, TARGET_EPOCH_KEY, TARGET_KEY, CURRENT_KEY, STATE_KEY = 10, 11, 12, 13, 14, 15
SNAPSHOT_KEY, UPDATE_KEY = 0, 1
STATE_IDS = {"available": 0, "acknowledged": 2, "archived": 4}
STATES = {number: name for name, number in STATE_IDS.items()}
_U16 = struct.Struct(">H")


class ShareSubscription(msgspec.Struct, frozen=True, gc=False):
    """``ShareGroupMemberMetadataValue``: "" where Kafka has null."""

    rack_id: str
    client_id: str
    client: str
    topics: tuple[str, ...]


class TopicState(msgspec.Struct, frozen=True, gc=False):
    """Share partitions of one topic, since when (the broker's clock) they are what they are."""

    topic_id: str
    name: str
    partitions: tuple[int, ...]
    since_ms: int


class StatePartitions(msgspec.Struct, frozen=True, gc=False):
    """``ShareGroupStatePartitionMetadataValue``: of which partitions the group has state, or is about to."""

    initializing: tuple[TopicState, ...]
    initialized: tuple[TopicState, ...]


# -- groups -----------------------------------------------------------------------------------------------------------------------------


def epoch_value(epoch: int, metadata_hash: int) -> bytes:
    return Writer().int16(0).int32(epoch).int64(metadata_hash).tags().done()


def read_epoch_value(content: bytes) -> tuple[int, int]:
    reader = Reader(content, 2)
    return reader.int32(), reader.int64()


def subscription_value(member: ShareSubscription) -> bytes:
    writer = Writer().int16(0).compact_string(member.rack_id or None).compact_string(member.client_id)
    writer.compact_string(member.client).compact_array(len(member.topics))
    for topic in member.topics:
        writer.compact_string(topic)
    return writer.tags().done()


def read_subscription_value(content: bytes) -> ShareSubscription:
    reader = Reader(content, 2)
    rack_id, client_id, client = reader.compact_string(), reader.compact_string(), reader.compact_string()
    return ShareSubscription(rack_id, client_id, client, tuple([reader.compact_string() for _ in range(reader.compact_array())]))


def current_value(member_epoch: int, previous_epoch: int, assigned: Assignment) -> bytes:
    """A member of a share group has nothing to wait for: its state is always stable (0)."""
    writer = Writer().int16(0).int32(member_epoch).int32(previous_epoch).int8(0)
    write_partitions(writer, assigned)
    return writer.tags().done()


def read_current_value(content: bytes) -> CurrentAssignment:
    reader = Reader(content, 2)
    epoch, previous, state = reader.int32(), reader.int32(), reader.int8()
    return CurrentAssignment(epoch, previous, state, read_partitions(reader), ())


def state_partitions_value(value: StatePartitions) -> bytes:
    writer = Writer().int16(0)
    for topics in (value.initializing, value.initialized):
        writer.compact_array(len(topics))
        for topic in topics:
            writer.uuid(topic.topic_id).compact_string(topic.name).compact_array(len(topic.partitions))
            for number in topic.partitions:
                writer.int32(number)
            writer.int64(topic.since_ms).tags()
    return writer.compact_array(0).tags().done()  # no topic's state is being deleted


def read_state_partitions_value(content: bytes) -> StatePartitions:
    reader = Reader(content, 2)
    return StatePartitions(_read_topics(reader), _read_topics(reader))


def _read_topics(reader: Reader) -> tuple[TopicState, ...]:
    found = []
    for _ in range(reader.compact_array()):
        topic_id, name = reader.uuid(), reader.compact_string()
        numbers = tuple([reader.int32() for _ in range(reader.compact_array())])
        found.append(TopicState(topic_id, name, numbers, reader.int64()))
        reader.tags()
    return tuple(found)


# -- the state of share partitions ------------------------------------------------------------------------------------------------------


class ShareState(msgspec.Struct, frozen=True, gc=False):
    """What is durable of one share partition (``ShareGroupOffset``). ``start_offset`` -1: it has never been fetched from. ``batches``
    ascend and do not overlap."""

    snapshot_epoch: int
    state_epoch: int
    leader_epoch: int
    start_offset: int
    batches: tuple[StateBatch, ...] = ()


def share_key(kind: int, group_id: str, partition: TopicIdPartition) -> bytes:
    return Writer().int16(kind).string(group_id).uuid(partition.topic_id).int32(partition.partition).done()


def read_share_key(key: bytes) -> tuple[int, str, TopicIdPartition]:
    reader = Reader(key)
    kind, group_id, topic_id = reader.int16(), reader.string(), reader.uuid()
    return kind, group_id, TopicIdPartition(topic_id, reader.int32())


def snapshot_value(state: ShareState) -> bytes:
    writer = Writer().int16(0)
    writer.parts.append(_U16.pack(state.snapshot_epoch & 0xFFFF))
    writer.int32(state.state_epoch).int32(state.leader_epoch).int64(state.start_offset)
    return _write_batches(writer, state.batches).tags().done()


def read_snapshot_value(content: bytes) -> ShareState:
    reader = Reader(content, 2)
    snapshot_epoch = reader.int16() & 0xFFFF
    return ShareState(snapshot_epoch, reader.int32(), reader.int32(), reader.int64(), _read_batches(reader))


def update_value(snapshot_epoch: int, leader_epoch: int, start_offset: int, batches: tuple[StateBatch, ...]) -> bytes:
    """``start_offset`` -1: as it was."""
    writer = Writer().int16(0)
    writer.parts.append(_U16.pack(snapshot_epoch & 0xFFFF))
    return _write_batches(writer.int32(leader_epoch).int64(start_offset), batches).tags().done()


def read_update_value(content: bytes) -> tuple[int, int, int, tuple[StateBatch, ...]]:
    """(snapshot epoch, leader epoch, start offset, batches)."""
    reader = Reader(content, 2)
    snapshot_epoch = reader.int16() & 0xFFFF
    return snapshot_epoch, reader.int32(), reader.int64(), _read_batches(reader)


def _write_batches(writer: Writer, batches: tuple[StateBatch, ...]) -> Writer:
    writer.compact_array(len(batches))
    for batch in batches:
        writer.int64(batch.first_offset).int64(batch.last_offset).int8(STATE_IDS[batch.state]).int16(batch.delivery_count).tags()
    return writer


def _read_batches(reader: Reader) -> tuple[StateBatch, ...]:
    found = []
    for _ in range(reader.compact_array()):
        first, last, state, count = reader.int64(), reader.int64(), reader.int8(), reader.int16()
        reader.tags()
        found.append(StateBatch(first, last, STATES[state], count))
    return tuple(found)
