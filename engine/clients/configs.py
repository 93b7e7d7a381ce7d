"""Client configuration: Kafka's names, types, defaults and ranges (Java client 4.x), checked as the Java client checks them.

Values arrive as text, as in a properties file. What a name means is not repeated here; what a *combination* may not be is: the
rules about idempotence and about the delivery timeout, which silently change or refuse what a person asked for.
"""

from __future__ import annotations

import difflib
import re

import msgspec

from engine import limits
from engine.errors import EngineError
from engine.metadata.durations import duration_ms

INT_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1


class ConfigKey(msgspec.Struct, frozen=True):
    """One configuration. ``type``: "int", "long", "boolean" or "string". ``allowed`` () means any text; ``any_case``: in capitals, too."""

    name: str
    type: str
    default: str
    at_least: int = -(2**63)
    allowed: tuple[str, ...] = ()
    any_case: bool = False


def _keys(*keys: ConfigKey) -> dict[str, ConfigKey]:
    return {key.name: key for key in keys}


ELSEWHERE = {
    "bootstrap.servers": "in a lab every client knows all brokers from the start",
    "client.id": "in a lab a client's name is its client.id",
    "key.serializer": "in a lab keys and values are text",
    "value.serializer": "in a lab keys and values are text",
    "key.deserializer": "in a lab keys and values are text",
    "value.deserializer": "in a lab keys and values are text",
    "sasl.jaas.config": "in a lab sasl.username and sasl.password say who the client is, as in librdkafka",
    "security.protocol": "in a lab a client with a sasl.username connects by SASL and any other by PLAINTEXT",
}
"""Names that a person knows from Kafka, and why they are not needed here."""

_COMMON = (
    ConfigKey("metadata.max.age.ms", "long", "300000", 0),
    ConfigKey("reconnect.backoff.ms", "long", "50", 0),
    ConfigKey("reconnect.backoff.max.ms", "long", "1000", 0),
    ConfigKey("request.timeout.ms", "int", "30000", 0),
    ConfigKey("retry.backoff.ms", "long", "100", 0),
    ConfigKey("retry.backoff.max.ms", "long", "1000", 0),
    ConfigKey("socket.connection.setup.timeout.ms", "long", "10000"),
    ConfigKey("sasl.username", "string", ""),
    ConfigKey("sasl.password", "string", ""),
    ConfigKey("sasl.mechanism", "string", "GSSAPI", allowed=("GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-512")),
)

COMMON_KEYS = _keys(*_COMMON)
PRODUCER_KEYS = _keys(
    *_COMMON,
    ConfigKey("acks", "string", "all", allowed=("all", "-1", "0", "1")),
    ConfigKey("batch.size", "int", "16384", 0),
    ConfigKey("buffer.memory", "long", "33554432", 0),
    ConfigKey("compression.type", "string", "none", allowed=("none", "gzip", "snappy", "lz4", "zstd")),
    ConfigKey("delivery.timeout.ms", "int", "120000", 0),
    ConfigKey("enable.idempotence", "boolean", "true"),
    ConfigKey("linger.ms", "long", "5", 0),
    ConfigKey("max.block.ms", "long", "60000", 0),
    ConfigKey("max.in.flight.requests.per.connection", "int", "5", 1),
    ConfigKey("max.request.size", "int", "1048576", 0),
    ConfigKey("partitioner.adaptive.partitioning.enable", "boolean", "true"),
    ConfigKey("partitioner.ignore.keys", "boolean", "false"),
    ConfigKey("retries", "int", "2147483647", 0),
    ConfigKey("transaction.timeout.ms", "int", "60000"),
    ConfigKey("transactional.id", "string", ""),
)

CONSUMER_KEYS = _keys(
    *_COMMON,
    ConfigKey("allow.auto.create.topics", "boolean", "true"),
    ConfigKey("auto.offset.reset", "string", "latest"),
    ConfigKey("fetch.max.bytes", "int", "52428800", 0),
    ConfigKey("fetch.max.wait.ms", "int", "500", 0),
    ConfigKey("fetch.min.bytes", "int", "1", 0),
    ConfigKey("isolation.level", "string", "read_uncommitted", allowed=("read_uncommitted", "read_committed")),
    ConfigKey("max.partition.fetch.bytes", "int", "1048576", 0),
    ConfigKey("max.poll.records", "int", "500", 1),
    ConfigKey("client.rack", "string", ""),
    ConfigKey("group.id", "string", ""),
    ConfigKey("group.instance.id", "string", ""),
    ConfigKey("group.protocol", "string", "classic", allowed=("classic", "consumer"), any_case=True),
    ConfigKey("group.remote.assignor", "string", ""),
    ConfigKey("session.timeout.ms", "int", "45000"),
    ConfigKey("heartbeat.interval.ms", "int", "3000"),
    ConfigKey("max.poll.interval.ms", "int", "300000", 1),
    ConfigKey(
        "partition.assignment.strategy", "string",
        "org.apache.kafka.clients.consumer.RangeAssignor,org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
    ),
    ConfigKey("enable.auto.commit", "boolean", "true"),
    ConfigKey("auto.commit.interval.ms", "int", "5000", 0),
    ConfigKey("default.api.timeout.ms", "int", "60000", 0),
)  # fmt: skip

SHARE_KEYS = _keys(
    *_COMMON,
    ConfigKey("allow.auto.create.topics", "boolean", "true"),
    ConfigKey("client.rack", "string", ""),
    ConfigKey("default.api.timeout.ms", "int", "60000", 0),
    ConfigKey("fetch.max.bytes", "int", "52428800", 0),
    ConfigKey("fetch.max.wait.ms", "int", "500", 0),
    ConfigKey("fetch.min.bytes", "int", "1", 0),
    ConfigKey("group.id", "string", ""),
    ConfigKey("max.poll.interval.ms", "int", "300000", 1),
    ConfigKey("max.poll.records", "int", "500", 1),
    ConfigKey("share.acknowledgement.mode", "string", "implicit", allowed=("implicit", "explicit")),
)
NOT_FOR_SHARE_GROUPS = (
    "auto.offset.reset", "enable.auto.commit", "group.instance.id", "group.protocol", "group.remote.assignor", "heartbeat.interval.ms",
    "isolation.level", "partition.assignment.strategy", "session.timeout.ms",
)  # fmt: skip
"""``ShareConsumerConfig``: the group has its own settings for these, or no use for them."""

_GROUP_KEYS = (
    "group.instance.id", "group.protocol", "group.remote.assignor", "session.timeout.ms", "heartbeat.interval.ms",
    "max.poll.interval.ms", "partition.assignment.strategy", "enable.auto.commit", "auto.commit.interval.ms", "group.id",
    "default.api.timeout.ms",
)  # fmt: skip
"""Shown only where there is a group."""

ASSIGNORS = {
    "RangeAssignor": "range",
    "RoundRobinAssignor": "roundrobin",
    "StickyAssignor": "sticky",
    "CooperativeStickyAssignor": "cooperative-sticky",
}
"""The classes that Kafka brings along and the names by which they go in the protocol; in a lab either name may be written."""
_PACKAGE = "org.apache.kafka.clients.consumer."


class ClientConfig(msgspec.Struct, frozen=True):
    """What every client can be told; times as the names say."""

    metadata_max_age_ms: int
    reconnect_backoff_ms: int
    reconnect_backoff_max_ms: int
    request_timeout_ms: int
    retry_backoff_ms: int
    retry_backoff_max_ms: int
    socket_connection_setup_timeout_ms: int
    sasl_username: str
    sasl_password: str
    sasl_mechanism: str


class ProducerConfig(ClientConfig, frozen=True):
    """A producer's effective settings; times as the names say, ``acks`` 0, 1 or -1 (all)."""

    acks: int
    batch_size: int
    buffer_memory: int
    compression_type: str
    delivery_timeout_ms: int
    enable_idempotence: bool
    linger_ms: int
    max_block_ms: int
    max_in_flight_requests_per_connection: int
    max_request_size: int
    partitioner_adaptive_partitioning_enable: bool
    partitioner_ignore_keys: bool
    retries: int
    transaction_timeout_ms: int
    transactional_id: str

    @classmethod
    def from_map(cls, given: dict[str, str]) -> ProducerConfig:
        """Raises EngineError that names the configuration, as the Java client's ConfigException does."""
        values = _parse(given, PRODUCER_KEYS, "producer")
        values["acks"] = {"all": -1, "-1": -1, "0": 0, "1": 1}[str(values["acks"])]
        _settle_idempotence(values, "enable.idempotence" in given)
        if "transactional.id" in given:
            _check_transactions(values)
        _settle_delivery_timeout(values, "delivery.timeout.ms" in given)
        return msgspec.convert({_field(name): value for name, value in values.items()}, cls)

    def effective(self) -> dict[str, str]:
        """Name → value as Kafka prints it, after the silent changes."""
        shown = _shown(self, PRODUCER_KEYS)
        shown["acks"] = "all" if self.acks == -1 else str(self.acks)
        if not self.transactional_id:
            del shown["transaction.timeout.ms"], shown["transactional.id"]
        return shown


class ConsumerConfig(ClientConfig, frozen=True):
    """A consumer's settings; times as the names say."""

    allow_auto_create_topics: bool
    auto_offset_reset: str
    fetch_max_bytes: int
    fetch_max_wait_ms: int
    fetch_min_bytes: int
    isolation_level: str
    max_partition_fetch_bytes: int
    max_poll_records: int
    client_rack: str
    group_id: str
    group_instance_id: str
    group_protocol: str
    group_remote_assignor: str
    session_timeout_ms: int
    heartbeat_interval_ms: int
    max_poll_interval_ms: int
    partition_assignment_strategy: tuple[str, ...]
    enable_auto_commit: bool
    auto_commit_interval_ms: int
    default_api_timeout_ms: int

    @property
    def cooperative(self) -> bool:
        """``RebalanceProtocol.COOPERATIVE``: only where no assignor of the list needs the eager one (fact 42)."""
        return set(self.partition_assignment_strategy) == {"cooperative-sticky"}

    @classmethod
    def from_map(cls, given: dict[str, str]) -> ConsumerConfig:
        """Raises EngineError that names the configuration."""
        values = _parse(given, CONSUMER_KEYS, "consumer")
        strategy = str(values["auto.offset.reset"])
        if strategy not in ("latest", "earliest", "none") and reset_duration_ms(strategy) is None:
            raise _invalid(
                "auto.offset.reset", strategy,
                "The value must be either 'earliest', 'latest', 'none' or of the format 'by_duration:<PnDTnHnMn.nS>'",
            )  # fmt: skip
        _settle_group(values, given)
        settled: dict[str, object] = {_field(name): value for name, value in values.items()}
        settled["partition_assignment_strategy"] = _assignors(str(values["partition.assignment.strategy"]))
        return msgspec.convert(settled, cls)

    def effective(self) -> dict[str, str]:
        """Name → value as Kafka prints it; what concerns groups only where there is one."""
        shown = _shown(self, CONSUMER_KEYS)
        names = {short: _PACKAGE + long for long, short in ASSIGNORS.items()}
        shown["partition.assignment.strategy"] = ",".join(names[name] for name in self.partition_assignment_strategy)
        if not self.group_id:
            for name in _GROUP_KEYS:
                del shown[name]
        return shown


class ShareConsumerConfig(ClientConfig, frozen=True):
    """The settings of a member of a share group; times as the names say."""

    allow_auto_create_topics: bool
    client_rack: str
    default_api_timeout_ms: int
    fetch_max_bytes: int
    fetch_max_wait_ms: int
    fetch_min_bytes: int
    group_id: str
    max_poll_interval_ms: int
    max_poll_records: int
    share_acknowledgement_mode: str

    @property
    def explicit(self) -> bool:
        """The application acknowledges each record; otherwise the next ``poll`` accepts all of the last."""
        return self.share_acknowledgement_mode == "explicit"

    @classmethod
    def from_map(cls, given: dict[str, str]) -> ShareConsumerConfig:
        """Raises EngineError that names the configuration."""
        for name in NOT_FOR_SHARE_GROUPS:
            if name in given:
                raise EngineError(f"{name} cannot be set when using a share group.", field=name, code="INVALID_CONFIG")
        values = _parse(given, SHARE_KEYS, "share consumer")
        if not values["group.id"]:
            raise EngineError(
                "You must provide a valid group.id in the consumer configuration (InvalidGroupIdException).",
                field="group.id", code="INVALID_GROUP_ID",
            )  # fmt: skip
        return msgspec.convert({_field(name): value for name, value in values.items()}, cls)

    def effective(self) -> dict[str, str]:
        """Name → value as Kafka prints it."""
        return _shown(self, SHARE_KEYS)


def reset_duration_ms(strategy: str) -> int | None:
    """``by_duration:PT1H`` → 3,600,000 (KIP-1106); None where it is not of that form, which is never negative."""
    kind, _, text = strategy.partition(":")
    found = duration_ms(text) if kind == "by_duration" else None
    return found if found is None or found >= 0 else None


def _field(name: str) -> str:
    return name.replace(".", "_")


def _shown(config: ClientConfig, keys: dict[str, ConfigKey]) -> dict[str, str]:
    shown: dict[str, str] = {}
    for name in keys:
        if name.startswith("sasl.") and not config.sasl_username:
            continue  # nothing to be seen where there is no user
        value = "[hidden]" if name == "sasl.password" else getattr(config, _field(name))
        shown[name] = ("true" if value else "false") if isinstance(value, bool) else str(value)
    return shown


def _invalid(name: str, value: str, reason: str) -> EngineError:
    return EngineError(f"Invalid value {value} for configuration {name}: {reason}", field=name, code="INVALID_CONFIG")


def _parse(given: dict[str, str], keys: dict[str, ConfigKey], client: str) -> dict[str, str | int | bool]:
    for name in given:
        if name in ELSEWHERE:
            raise EngineError(f"{name}: leave it out, {ELSEWHERE[name]}.", field=name, code="INVALID_CONFIG")
        if name not in keys:
            near = difflib.get_close_matches(name, keys, n=1, cutoff=0.0)
            raise EngineError(
                f"{name[:80]}: the simulated {client} has no such configuration. Did you mean {near[0]}?",
                field=name, code="INVALID_CONFIG",
            )  # fmt: skip
    return {name: _value(key, given.get(name, key.default)) for name, key in keys.items()}


def _value(key: ConfigKey, text: str) -> str | int | bool:
    text = text.strip()
    if key.type == "string":
        if key.any_case:
            text = text.lower()
        if key.allowed and text not in key.allowed:
            raise _invalid(key.name, text[:80], f"String must be one of: {', '.join(key.allowed)}")
        return text
    if key.type == "boolean":
        lowered = text.lower()
        if lowered not in ("true", "false"):
            raise _invalid(key.name, text[:80], "Expected value to be either true or false")
        return lowered == "true"
    largest = INT_MAX if key.type == "int" else LONG_MAX
    number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,19}", text) else None
    if number is None or not -largest - 1 <= number <= largest:
        raise _invalid(key.name, text[:80], f"Not a number of type {key.type.upper()}")
    if number < key.at_least:
        raise _invalid(key.name, text, f"Value must be at least {key.at_least}")
    return number


def _settle_group(values: dict[str, str | int | bool], given: dict[str, str]) -> None:
    """``ConsumerConfig.postProcessParsedConfig``, the constructors of both consumers and ``Heartbeat``: what does not go together in a
    group."""
    if "group.instance.id" in given:
        _check_instance_id(str(values["group.instance.id"]))
    if "group.id" in given and not values["group.id"]:
        raise EngineError(
            "The configured group.id should not be an empty string or whitespace (InvalidGroupIdException).",
            field="group.id", code="INVALID_GROUP_ID",
        )  # fmt: skip
    if not values["group.id"]:
        if values["enable.auto.commit"] and "enable.auto.commit" in given:
            raise EngineError(
                "enable.auto.commit cannot be set to true when default group id (null) is used.",
                field="enable.auto.commit", code="INVALID_CONFIG",
            )  # fmt: skip
        values["enable.auto.commit"] = False
    protocol = str(values["group.protocol"])
    refused: tuple[str, ...] = ("group.remote.assignor",)
    if protocol == "consumer":
        refused = ("partition.assignment.strategy", "heartbeat.interval.ms", "session.timeout.ms")
    for name in refused:
        if given.get(name):
            raise EngineError(
                f"{name} cannot be set when group.protocol={protocol.upper()}", field=name, code="INVALID_CONFIG"
            )  # fmt: skip
    if values["group.id"] and int(values["heartbeat.interval.ms"]) >= int(values["session.timeout.ms"]):
        raise EngineError(
            "Heartbeat must be set lower than the session timeout", field="heartbeat.interval.ms", code="INVALID_CONFIG"
        )


def _check_instance_id(instance_id: str) -> None:
    """``ConfigDef.NonEmptyString`` and ``JoinGroupRequest.validateGroupInstanceId``: it is made like a topic's name."""
    if not instance_id:
        raise _invalid("group.instance.id", "", "String must be non-empty")
    if instance_id in (".", ".."):
        why = f"'{instance_id}' is not allowed"
    elif len(instance_id) > limits.MAX_TOPIC_NAME:
        why = f"the length of '{instance_id[:80]}…' is longer than the max allowed length {limits.MAX_TOPIC_NAME}"
    elif not re.fullmatch(r"[a-zA-Z0-9._-]+", instance_id):
        why = f"'{instance_id[:80]}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    else:
        return
    raise EngineError(f"Group instance id is invalid: {why}", field="group.instance.id", code="INVALID_CONFIG")


def _assignors(text: str) -> tuple[str, ...]:
    """``range``, or the class's name with or without its package; at least one, none twice."""
    found: list[str] = []
    for part in text.split(","):
        word = part.strip()
        name = ASSIGNORS.get(word.removeprefix(_PACKAGE), word)
        if name not in ASSIGNORS.values():
            known = ", ".join(_PACKAGE + long for long in ASSIGNORS)
            raise _invalid("partition.assignment.strategy", word[:80], f"a lab knows {known}")
        if name in found:
            raise _invalid("partition.assignment.strategy", word[:80], f"the assignor {name} is listed twice")
        found.append(name)
    return tuple(found)


def _settle_idempotence(values: dict[str, str | int | bool], asked_for: bool) -> None:
    """``ProducerConfig.postProcessAndValidateIdempotenceConfigs``: what conflicts with idempotence switches the *default* off
    silently and refuses an explicit one; more than 5 in flight is an error either way since 4.0."""
    if not values["enable.idempotence"]:
        return
    reason = field = ""
    if values["retries"] == 0:
        field, reason = "retries", "Must set retries to non-zero when using the idempotent producer."
    if values["acks"] != -1 and not (reason and asked_for):
        field = "acks"
        reason = "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence."
    if reason and asked_for:
        raise EngineError(reason, field=field, code="INVALID_CONFIG")
    in_flight = values["max.in.flight.requests.per.connection"]
    if int(in_flight) > 5:
        raise EngineError(
            f"To use the idempotent producer, max.in.flight.requests.per.connection must be set to at most 5. Current value is {in_flight}.",
            field="max.in.flight.requests.per.connection", code="INVALID_CONFIG",
        )  # fmt: skip
    if reason:
        values["enable.idempotence"] = False


def _check_transactions(values: dict[str, str | int | bool]) -> None:
    if not values["transactional.id"]:
        raise _invalid("transactional.id", "", "String must be non-empty")
    if not values["enable.idempotence"]:
        raise EngineError(
            "Cannot set a transactional.id without also enabling idempotence.", field="transactional.id", code="INVALID_CONFIG"
        )  # fmt: skip


def _settle_delivery_timeout(values: dict[str, str | int | bool], asked_for: bool) -> None:
    """``KafkaProducer.configureDeliveryTimeout``: the default gives way to longer linger and request times; an explicit one must fit."""
    least = min(int(values["linger.ms"]) + int(values["request.timeout.ms"]), INT_MAX)
    if int(values["delivery.timeout.ms"]) >= least:
        return
    if asked_for:
        raise EngineError(
            "delivery.timeout.ms should be equal to or larger than linger.ms + request.timeout.ms",
            field="delivery.timeout.ms", code="INVALID_CONFIG",
        )  # fmt: skip
    values["delivery.timeout.ms"] = least
