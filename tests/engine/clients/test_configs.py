"""What the Java client refuses, what it changes silently, and its defaults."""

from __future__ import annotations

import pytest

from engine.clients.configs import ConsumerConfig, ProducerConfig, reset_duration_ms
from engine.errors import EngineError


def test_defaults_are_those_of_kafka_4():
    config = ProducerConfig.from_map({})
    assert (config.acks, config.enable_idempotence, config.linger_ms, config.batch_size) == (-1, True, 5, 16384)
    assert (config.buffer_memory, config.max_block_ms, config.delivery_timeout_ms) == (32 * 1024 * 1024, 60_000, 120_000)
    assert (config.max_in_flight_requests_per_connection, config.retries, config.compression_type) == (5, 2**31 - 1, "none")
    assert config.effective()["acks"] == "all"
    assert config.effective()["enable.idempotence"] == "true"
    consumer = ConsumerConfig.from_map({})
    assert (consumer.auto_offset_reset, consumer.isolation_level, consumer.max_poll_records) == ("latest", "read_uncommitted", 500)
    assert (consumer.fetch_max_wait_ms, consumer.fetch_min_bytes, consumer.max_partition_fetch_bytes) == (500, 1, 1_048_576)


@pytest.mark.parametrize("given", [{"acks": "1"}, {"acks": "0"}, {"retries": "0"}])
def test_default_idempotence_is_switched_off_silently(given):
    assert ProducerConfig.from_map(given).enable_idempotence is False


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"acks": "1"}, "Must set acks to all in order to use the idempotent producer"),
        ({"acks": "0"}, "Must set acks to all in order to use the idempotent producer"),
        ({"retries": "0"}, "Must set retries to non-zero when using the idempotent producer"),
        ({"retries": "0", "acks": "1"}, "Must set retries to non-zero"),
        ({"max.in.flight.requests.per.connection": "6"}, "must be set to at most 5"),
    ],
)
def test_explicit_idempotence_with_a_conflict_is_an_error(given, text):
    with pytest.raises(EngineError, match=text):
        ProducerConfig.from_map({"enable.idempotence": "true", **given})


def test_more_than_five_in_flight_conflicts_even_with_default_idempotence_since_4_0():
    with pytest.raises(EngineError, match="at most 5") as refusal:
        ProducerConfig.from_map({"max.in.flight.requests.per.connection": "6"})
    assert refusal.value.field == "max.in.flight.requests.per.connection"
    off = ProducerConfig.from_map({"max.in.flight.requests.per.connection": "6", "enable.idempotence": "false"})
    assert off.max_in_flight_requests_per_connection == 6


def test_delivery_timeout_must_cover_linger_and_one_request():
    with pytest.raises(EngineError, match=r"delivery\.timeout\.ms should be equal to or larger than linger\.ms"):
        ProducerConfig.from_map({"delivery.timeout.ms": "30004"})
    assert ProducerConfig.from_map({"delivery.timeout.ms": "30005"}).delivery_timeout_ms == 30_005
    assert ProducerConfig.from_map({"request.timeout.ms": "200000"}).delivery_timeout_ms == 200_005


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"linger.ms": "-1"}, "Invalid value -1 for configuration linger.ms: Value must be at least 0"),
        ({"linger.ms": "soon"}, "Not a number of type LONG"),
        ({"batch.size": "99999999999"}, "Not a number of type INT"),
        ({"batch.size": "1" * 500}, "Not a number of type INT"),
        ({"batch.size": "٣"}, "Not a number of type INT"),
        ({"acks": "2"}, "String must be one of: all, -1, 0, 1"),
        ({"compression.type": "brotli"}, "String must be one of: none, gzip, snappy, lz4, zstd"),
        ({"enable.idempotence": "yes"}, "Expected value to be either true or false"),
        ({"linger": "5"}, r"no such configuration\. Did you mean linger\.ms\?"),
        ({"bootstrap.servers": "x"}, "leave it out"),
    ],
)
def test_a_wrong_value_is_refused_by_name(given, text):
    with pytest.raises(EngineError, match=text) as refusal:
        ProducerConfig.from_map(given)
    assert refusal.value.field == next(iter(given))


@pytest.mark.parametrize(
    ("text", "ms"),
    [("by_duration:PT1H", 3_600_000), ("by_duration:P1DT0.5S", 86_400_500), ("by_duration:PT", None), ("by_duration:", None),
     ("by_duration:-PT1H", None), ("earliest", None), ("by_duration:P1DT", None), ("BY_DURATION:PT1H", None), ("by_duration:pt1h", 3_600_000),
     ("by_duration:PT1.123456789S", 1_123), ("by_duration:PT2H-30M", 5_400_000), ("by_duration:+PT1H", 3_600_000), ("by_duration:PT1.S", 1_000),
     ("by_duration:PT0S", 0), ("by_duration:P1W", None), ("by_duration:PT99999999999999999H", None), ("by_duration:PT1٣H", None)],
)  # fmt: skip
def test_auto_offset_reset_by_duration_takes_an_iso_8601_duration(text, ms):
    assert reset_duration_ms(text) == ms


def test_auto_offset_reset_takes_nothing_else():
    with pytest.raises(EngineError, match=r"auto\.offset\.reset"):
        ConsumerConfig.from_map({"auto.offset.reset": "smallest"})


@pytest.mark.parametrize("strategy", ["Latest", "LATEST", "by_duration", "by_duration:P1W", ""])
def test_auto_offset_reset_is_case_sensitive_as_in_java(strategy):
    with pytest.raises(EngineError, match=r"auto\.offset\.reset"):
        ConsumerConfig.from_map({"auto.offset.reset": strategy})


@pytest.mark.parametrize(
    ("given", "field", "text"),
    [
        ({"group.instance.id": ""}, "group.instance.id", "String must be non-empty"),
        ({"group.instance.id": "a b", "group.id": "g"}, "group.instance.id", "Group instance id is invalid: 'a b' contains"),
        ({"group.instance.id": ".."}, "group.instance.id", r"'\.\.' is not allowed"),
        ({"group.instance.id": "x" * 250}, "group.instance.id", "longer than the max allowed length 249"),
        ({"group.id": ""}, "group.id", "should not be an empty string or whitespace"),
        ({"group.id": "  "}, "group.id", "should not be an empty string or whitespace"),
        ({"group.id": "g", "session.timeout.ms": "3000"}, "heartbeat.interval.ms", "Heartbeat must be set lower than the session timeout"),
        ({"group.id": "g", "group.protocol": "Consumer", "session.timeout.ms": "9000"}, "session.timeout.ms", "group.protocol=CONSUMER"),
        ({"group.id": "g", "group.remote.assignor": "range"}, "group.remote.assignor", "group.protocol=CLASSIC"),
        ({"enable.auto.commit": "true"}, "enable.auto.commit", r"when default group id \(null\) is used"),
        ({"isolation.level": "READ_COMMITTED"}, "isolation.level", "String must be one of"),
    ],
)  # fmt: skip
def test_what_a_consumer_of_a_group_is_refused(given, field, text):
    with pytest.raises(EngineError, match=text) as refusal:
        ConsumerConfig.from_map(given)
    assert refusal.value.field == field


def test_without_a_group_nobody_looks_at_the_heartbeat():
    assert ConsumerConfig.from_map({"session.timeout.ms": "3000"}).session_timeout_ms == 3_000
    assert ConsumerConfig.from_map({"group.protocol": "CONSUMER", "group.id": "g"}).group_protocol == "consumer"
