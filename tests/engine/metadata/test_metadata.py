"""Metadata records, the image they make, and Kafka's configuration tables."""

from __future__ import annotations

from contextlib import suppress
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.metadata import config_rules, configs, records
from engine.metadata.image import MetadataImage, PartitionImage
from engine.metadata.records import (
    AnyRecord,
    BrokerRegistrationChange,
    Config,
    Partition,
    PartitionChange,
    ProducerIds,
    RegisterBroker,
    RemoveTopic,
    Topic,
    UnregisterBroker,
)  # fmt: skip

EXAMPLES: tuple[records.MetadataRecord, ...] = (
    records.LeaderChange(101, (101, 102)), RegisterBroker(1, 5, "a", "r"), BrokerRegistrationChange(1, 5, fenced=False),
    UnregisterBroker(1, 5), Topic("orders", "id"), Partition("id", 0, (1, 2), (1, 2), 1),
    PartitionChange("id", 0, isr=(), leader=-1, elr=(1,), last_known_elr=(1,)), Config("topic", "orders", "retention.ms", "1"),
    ProducerIds(1, 5, 1000), records.FeatureLevel("x", 1), RemoveTopic("id"), records.NoOp(),
    records.ClientQuota((("client-id", "app"), ("user", None)), "producer_byte_rate", 1024.0),
    records.AccessControlEntry("7", "topic", "orders", "literal", "User:alice", "*", "read", "allow"),
    records.RemoveAccessControlEntry("7"), records.UserScramCredential("alice", "SCRAM-SHA-512", b"s", b"k", b"v", 4096),
    records.RemoveUserScramCredential("alice", "SCRAM-SHA-512"),
)  # fmt: skip


def test_every_record_survives_its_bytes() -> None:
    assert {type(record) for record in EXAMPLES} == set(get_args(AnyRecord))
    for record in EXAMPLES:
        assert records.decode(records.encode(record)) == record


def test_an_unknown_record_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        records.decode(b'{"type":"Surprise"}')


def test_an_empty_isr_differs_from_an_unchanged_one() -> None:
    before = PartitionImage((1, 2), (1, 2), 1, 3, 7)
    unchanged = before.merge(PartitionChange("id", 0))
    assert (unchanged.isr, unchanged.leader, unchanged.leader_epoch, unchanged.partition_epoch) == ((1, 2), 1, 3, 8)
    emptied = before.merge(records.decode(records.encode(PartitionChange("id", 0, isr=(), leader=-1))))  # type: ignore[arg-type]
    assert (emptied.isr, emptied.leader, emptied.leader_epoch, emptied.partition_epoch) == ((), -1, 4, 8)
    assert before.merge(PartitionChange("id", 0, leader=1)).leader_epoch == 4, "naming the same leader begins a new epoch too"


def test_the_image_is_what_the_records_add_up_to() -> None:
    image = MetadataImage()
    story = [RegisterBroker(1, 0, "a"), BrokerRegistrationChange(1, 0, fenced=False), Topic("orders", "id"),
             Partition("id", 0, (1,), (1,), 1), Config("topic", "orders", "retention.ms", "5")]  # fmt: skip
    for offset, record in enumerate(story):
        image.apply(record, offset, 1)
    assert image.active(1)
    assert image.offset == 4
    assert image.topics["orders"].partitions[0].leader == 1
    twin = image.copy()
    assert twin == image
    twin.apply(RemoveTopic("id"), 5, 1)
    assert (list(image.topics), list(twin.topics), twin.configs) == (["orders"], [], {})


def test_quotas_acls_and_credentials_are_part_of_the_image() -> None:
    image = MetadataImage()
    story = [
        example for example in EXAMPLES if type(example).__name__ in ("ClientQuota", "AccessControlEntry", "UserScramCredential")
    ]
    for offset, record in enumerate(story):
        image.apply(record, offset, 1)
    assert image.quotas == {(("client-id", "app"), ("user", None)): {"producer_byte_rate": 1024.0}}
    assert image.acls["7"].principal == "User:alice"
    assert image.scram["alice", "SCRAM-SHA-512"].iterations == 4096
    twin = image.copy()
    assert twin == image
    twin.apply(records.ClientQuota((("client-id", "app"), ("user", None)), "producer_byte_rate"), 3, 1)
    twin.apply(records.RemoveAccessControlEntry("7"), 4, 1)
    twin.apply(records.RemoveUserScramCredential("alice", "SCRAM-SHA-512"), 5, 1)
    assert (twin.quotas, twin.acls, twin.scram) == ({}, {}, {})
    assert image.quotas
    assert image.acls
    assert image.scram


def test_a_setting_comes_from_the_topic_the_cluster_the_properties_or_the_default_in_that_order() -> None:
    image = MetadataImage()
    static = {"log.retention.ms": "3"}

    def found() -> tuple[str, str]:
        return image.topic_config("orders", "retention.ms", static), image.effective_topic_config("orders", static)["retention.ms"]

    assert image.topic_config("orders", "retention.ms") == "604800000"
    assert found() == ("3", "3")
    image.apply(Config("broker", "", "log.retention.ms", "2"), 0, 1)
    assert found() == ("2", "2")
    image.apply(Config("topic", "orders", "retention.ms", "1"), 1, 1)
    assert found() == ("1", "1")
    image.apply(Config("topic", "orders", "retention.ms", None), 2, 1)
    assert found() == ("2", "2")


@pytest.mark.parametrize("kind", ["topic", "broker"])
def test_every_default_is_a_valid_value_and_every_setting_is_explained(kind: str) -> None:
    for name, definition in configs.definitions(kind).items():
        assert definition.documentation.endswith("."), name
        if definition.default:
            configs.validate(kind, name, definition.default)
        if definition.synonym:
            assert definition.synonym in configs.BROKER_CONFIGS, name


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("segment.bytes", "1073741824"), ("segment.ms", "604800000"), ("segment.index.bytes", "10485760"), ("index.interval.bytes", "4096"),
        ("retention.ms", "604800000"), ("retention.bytes", "-1"), ("min.cleanable.dirty.ratio", "0.5"), ("delete.retention.ms", "86400000"),
        ("message.timestamp.type", "CreateTime"), ("message.timestamp.after.max.ms", "3600000"), ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "false"), ("cleanup.policy", "delete"), ("max.message.bytes", "1048588"),
    ],
)  # fmt: skip
def test_topic_defaults_are_those_of_the_facts(name: str, default: str) -> None:
    assert configs.TOPIC_CONFIGS[name].default == default


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("replica.lag.time.max.ms", "30000"), ("broker.session.timeout.ms", "9000"), ("broker.heartbeat.interval.ms", "2000"),
        ("default.replication.factor", "1"), ("leader.imbalance.check.interval.seconds", "300"), ("replica.fetch.wait.max.ms", "500"),
        ("controller.quorum.election.timeout.ms", "1000"), ("controller.quorum.fetch.timeout.ms", "2000"),
    ],
)  # fmt: skip
def test_broker_defaults_are_those_of_the_facts(name: str, default: str) -> None:
    assert configs.BROKER_CONFIGS[name].default == default


def test_hours_stand_in_where_milliseconds_are_not_set() -> None:
    assert configs.static_value({"log.retention.hours": "2"}, "log.retention.ms") == "7200000"
    assert configs.static_value({"log.retention.hours": "2", "log.retention.ms": "5"}, "log.retention.ms") == "5"


@given(st.sampled_from([(kind, name) for kind in ("topic", "broker") for name in configs.definitions(kind)]), st.text(max_size=30))
def test_no_text_breaks_the_validation(where: tuple[str, str], value: str) -> None:
    kind, name = where
    with suppress(configs.InvalidConfigError):
        configs.validate(kind, name, value)


@pytest.mark.parametrize(
    ("kind", "values", "text"),
    [
        ("topic", {"remote.storage.enable": "true"}, "Tiered Storage functionality is disabled in the broker"),
        ("topic", {"cleanup.policy": "compact,"}, "Configuration 'cleanup.policy' values must not be empty"),
        ("topic", {"min.compaction.lag.ms": "5", "max.compaction.lag.ms": "4"}, "conflict topic config setting"),
        ("broker", {"replica.lag.time.max.ms": "499"}, "replica.fetch.wait.max.ms should always be less than or equal"),
        ("broker", {"replica.socket.timeout.ms": "499"}, "replica.socket.timeout.ms should always be at least"),
        ("broker", {"log.retention.ms": "0"}, "log.retention.ms must be unlimited"),
        ("broker", {"log.retention.hours": "0"}, "log.retention.ms must be unlimited"),
        ("broker", {"log.cleaner.threads": "128"}, "at least 1MB per cleaner thread"),
        ("broker", {"group.consumer.session.timeout.ms": "9000"},
         "group.consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms"),
        ("broker", {"group.share.record.lock.duration.ms": "60001"}, "less than or equal to group.share.max.record.lock.duration.ms"),
        ("broker", {"group.consumer.min.session.timeout.ms": "500", "group.consumer.session.timeout.ms": "5000"},
         "group.consumer.heartbeat.interval.ms must be less than group.consumer.session.timeout.ms"),
        ("broker", {"group.share.max.share.sessions": "199"}, "greater than or equal to group.share.max.size"),
        ("broker", {"node.id": "7"}, "every node of a lab has its own"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_refused_in_kafkas_words(kind: str, values: dict[str, str], text: str) -> None:
    with pytest.raises(configs.InvalidConfigError, match=text):
        config_rules.validate_all(kind, values)


def test_kafkas_own_settings_go_together() -> None:
    config_rules.validate_all("broker", {})
    config_rules.validate_all("topic", {name: one.default for name, one in configs.TOPIC_CONFIGS.items()})
    config_rules.validate_all(
        "broker", {"group.consumer.min.session.timeout.ms": "6000", "group.consumer.session.timeout.ms": "6000"}
    )


@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("consumer.session.timeout.ms", "9000", "greater than or equal to group.consumer.min.session.timeout.ms"),
        ("share.partition.max.record.locks", "4001", "less than or equal to group.share.max.partition.max.record.locks"),
        ("share.delivery.count.limit", "11", "less than or equal to group.share.max.delivery.count.limit"),
    ],
)
def test_the_brokers_bound_what_a_group_may_set(name: str, value: str, bound: str) -> None:
    with pytest.raises(configs.InvalidConfigError, match=f"{name} must be {bound}"):
        config_rules.check_group_bounds(name, value, {})
    wider = {"group.consumer.min.session.timeout.ms": "9000", "group.share.max.partition.max.record.locks": "4001"}
    if name != "share.delivery.count.limit":
        config_rules.check_group_bounds(name, value, wider)
