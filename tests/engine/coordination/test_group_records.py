"""The records of __consumer_offsets in Kafka's own bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kio.schema.consumer_protocol_assignment.v3.data import ConsumerProtocolAssignment
from kio.schema.consumer_protocol_subscription.v3.data import ConsumerProtocolSubscription
from kio.serial import entity_reader

from engine.coordination.group_records import (
    GroupMetadata,
    MemberMetadata,
    OffsetValue,
    assignment_bytes,
    group_key,
    group_value,
    offset_key,
    offset_value,
    read_assignment,
    read_group_key,
    read_group_value,
    read_offset_key,
    read_offset_value,
    read_subscription,
    record_kind,
    subscription_bytes,
)  # fmt: skip
from engine.coordination.java_hash import hash_map_order, java_hash
from engine.coordination.record_codec import Reader, RecordFormatError, Writer
from engine.messages.base import TopicPartition
from engine.messages.groups import Subscription

PARTS = (TopicPartition("orders", 0), TopicPartition("orders", 2), TopicPartition("pay", 1))
SUBSCRIPTION = Subscription(("orders", "pay"), PARTS, 7, "eu-1")


def test_an_offset_commit_lies_in_the_log_as_kafka_writes_it() -> None:
    key = offset_key("app", TopicPartition("orders", 3))
    assert key == bytes.fromhex("0001 0003 617070 0006 6f7264657273 00000003".replace(" ", ""))
    value = offset_value(OffsetValue(42, 5, "m", 1_000))
    assert value == bytes.fromhex("0003 000000000000002a 00000005 0001 6d 00000000000003e8".replace(" ", ""))
    assert read_offset_key(key) == ("app", TopicPartition("orders", 3))
    assert read_offset_value(value) == OffsetValue(42, 5, "m", 1_000)
    assert record_kind(key) == 1


def test_a_group_lies_in_the_log_as_kafka_writes_it() -> None:
    assert group_key("app") == bytes.fromhex("0002 0003 617070".replace(" ", ""))
    empty = group_value(GroupMetadata("consumer", 3, "", "", 5, ()))
    assert empty == bytes.fromhex("0003 0008 636f6e73756d6572 00000003 ffff ffff 0000000000000005 00000000".replace(" ", ""))
    assert read_group_key(group_key("app")) == "app"


def test_what_members_say_is_what_java_clients_would_read() -> None:
    raw = subscription_bytes(SUBSCRIPTION)
    assert int.from_bytes(raw[:2], "big") == 3
    told, _ = entity_reader(ConsumerProtocolSubscription)(raw[2:], 0)
    assert list(told.topics) == ["orders", "pay"]
    assert [(item.topic, tuple(item.partitions)) for item in told.owned_partitions] == [("orders", (0, 2)), ("pay", (1,))]
    assert (told.generation_id, told.rack_id) == (7, "eu-1")
    raw = assignment_bytes(PARTS)
    given_out, _ = entity_reader(ConsumerProtocolAssignment)(raw[2:], 0)
    assert [(item.topic, tuple(item.partitions)) for item in given_out.assigned_partitions] == [("orders", (0, 2)), ("pay", (1,))]


texts = st.text(st.characters(codec="utf-8"), max_size=12)
partitions = st.lists(st.builds(TopicPartition, texts, st.integers(0, 99)), unique=True, max_size=5).map(
    lambda found: tuple(sorted(found))
)
subscriptions = st.builds(Subscription, st.lists(texts, max_size=3).map(tuple), partitions, st.integers(-1, 2**31 - 1), texts)
members = st.builds(
    MemberMetadata, texts, texts, texts, texts, st.integers(0, 10**6), st.integers(0, 10**6), subscriptions, partitions
)


@given(
    st.builds(
        GroupMetadata, texts, st.integers(0, 9), texts, texts, st.integers(-1, 10**13), st.lists(members, max_size=3).map(tuple)
    )
)
def test_every_group_comes_back_as_it_was(group: GroupMetadata) -> None:
    assert read_group_value(group_value(group)) == group


@given(subscriptions, partitions)
def test_every_subscription_and_assignment_comes_back(subscription: Subscription, owned: tuple[TopicPartition, ...]) -> None:
    assert read_subscription(subscription_bytes(subscription)) == subscription
    assert read_assignment(assignment_bytes(owned)) == owned


@given(st.integers(0, 2**35 - 1), texts, st.binary(max_size=9))
def test_flexible_fields_come_back(number: int, text: str, data: bytes) -> None:
    writer = Writer().uvarint(number).compact_string(text).compact_string(None).compact_data(data).compact_array(3).uuid("").tags()
    reader = Reader(writer.done())
    assert (reader.uvarint(), reader.compact_string(), reader.nullable_compact_string()) == (number, text, None)
    assert (reader.compact_data(), reader.compact_array(), reader.uuid()) == (data, 3, "")
    reader.tags()
    assert reader.position == len(reader.content)


@given(st.binary(max_size=40))
def test_other_bytes_are_refused_with_one_kind_of_error(raw: bytes) -> None:
    for read in (read_group_value, read_offset_value, read_offset_key, read_subscription, read_assignment):
        try:
            read(raw)
        except RecordFormatError:
            continue


def test_java_hashes() -> None:
    assert java_hash("readers") == 1_080_410_128
    assert java_hash("Aa") == java_hash("BB") == 2112
    assert java_hash("polygenelubricants") == -(2**31)
    assert java_hash("") == 0


def test_the_order_of_a_hash_map_settles_a_tie() -> None:
    """As Java 17 lists them."""
    known = ["cooperative-sticky", "range", "roundrobin", "sticky"]
    assert hash_map_order(known) == ["sticky", "range", "roundrobin", "cooperative-sticky"]


def test_a_record_of_an_unknown_version_is_not_guessed_at() -> None:
    with pytest.raises(RecordFormatError):
        read_group_value(b"\x00\x09" + bytes(20))
