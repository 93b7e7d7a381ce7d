"""What settings may not be together, and what a cluster without further arrangements does not allow: the checks that Kafka makes after
each value by itself is in order.

Sources: ``LogConfig.validate``, ``GroupConfig.validateValues``, ``KafkaConfig.validateValues``, ``GroupCoordinatorConfig``,
``ShareGroupConfig.validate``.
"""

from __future__ import annotations

from engine.metadata.configs import BROKER_CONFIGS, TOPIC_CONFIGS, InvalidConfigError, parse_boolean, static_value, validate

BOUNDED = (
    "consumer.heartbeat.interval.ms", "consumer.session.timeout.ms", "share.delivery.count.limit", "share.heartbeat.interval.ms",
    "share.partition.max.record.locks", "share.record.lock.duration.ms", "share.session.timeout.ms",
)  # fmt: skip
"""Settings of groups. Each has a default, a lowest and a highest value among the broker's settings: ``group.consumer.session.timeout.ms``,
``group.consumer.min.session.timeout.ms`` and ``group.consumer.max.session.timeout.ms``."""

NUMBERED_BY_THE_LAB = ("broker.id", "node.id", "process.roles", "broker.rack")
"""Each node has its own; what is set here goes to all of them."""


def validate_all(kind: str, values: dict[str, str]) -> None:
    """The settings of one topic or of all brokers: each by itself, and those that bound each other. Raises InvalidConfigError."""
    for name, value in values.items():
        validate(kind, name, value)
    if kind == "topic":
        _check_topic(values)
    else:
        _check_brokers(values)


def check_group_bounds(name: str, value: str, static: dict[str, str]) -> None:
    """Of one setting of a group, which is a number already, by the brokers' ``static`` settings. Raises InvalidConfigError."""
    if name in BOUNDED:
        _within(name, name, int(value), static)


def _within(name: str, shown: str, number: int, static: dict[str, str]) -> None:
    kind, _, rest = name.partition(".")
    lowest, highest = f"group.{kind}.min.{rest}", f"group.{kind}.max.{rest}"
    if number < _number(static, lowest):
        raise InvalidConfigError(f"{shown} must be greater than or equal to {lowest}")
    if number > _number(static, highest):
        raise InvalidConfigError(f"{shown} must be less than or equal to {highest}")


def _check_topic(values: dict[str, str]) -> None:
    lowest = int(values.get("min.compaction.lag.ms", TOPIC_CONFIGS["min.compaction.lag.ms"].default))
    highest = int(values.get("max.compaction.lag.ms", TOPIC_CONFIGS["max.compaction.lag.ms"].default))
    if lowest > highest:
        raise InvalidConfigError(
            f"conflict topic config setting min.compaction.lag.ms ({lowest}) > max.compaction.lag.ms ({highest})"
        )
    if parse_boolean(values.get("remote.storage.enable", "false")):
        raise InvalidConfigError(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
        )


def _check_brokers(values: dict[str, str]) -> None:
    for name in NUMBERED_BY_THE_LAB:
        if name in values:
            raise InvalidConfigError(f"{name}: leave it out, every node of a lab has its own (racks are a setting of the cluster)")
    for name in BOUNDED:
        _within(name, f"group.{name}", _number(values, f"group.{name}"), values)
    for kind in ("consumer", "share"):
        if _number(values, f"group.{kind}.heartbeat.interval.ms") >= _number(values, f"group.{kind}.session.timeout.ms"):
            raise InvalidConfigError(f"group.{kind}.heartbeat.interval.ms must be less than group.{kind}.session.timeout.ms")
    _check_replication(values)
    retention = _number(values, "log.retention.ms")
    if retention < 1 and retention != -1:
        raise InvalidConfigError("log.retention.ms must be unlimited (-1) or, greater than or equal to 1")
    threads = _number(values, "log.cleaner.threads")
    if threads < 1 or _number(values, "log.cleaner.dedupe.buffer.size") // threads <= 1024 * 1024:
        raise InvalidConfigError("log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.")
    if _number(values, "group.share.max.share.sessions") < _number(values, "group.share.max.size"):
        raise InvalidConfigError("group.share.max.share.sessions must be greater than or equal to group.share.max.size")


def _check_replication(values: dict[str, str]) -> None:
    wait = _number(values, "replica.fetch.wait.max.ms")
    if wait > _number(values, "replica.socket.timeout.ms"):
        raise InvalidConfigError(
            "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket timeouts"
        )
    if wait > _number(values, "replica.lag.time.max.ms"):
        raise InvalidConfigError(
            "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent changes in ISR"
        )


def _number(values: dict[str, str], name: str) -> int:
    assert name in BROKER_CONFIGS
    return int(static_value(values, name))
