"""Kafka's configuration tables: for each setting its type, default, valid range, meaning and, for topics, the broker setting that
supplies the cluster-wide default (``ServerTopicConfigSynonyms``).

Names, defaults and ranges are those of Kafka 4.x (``LogConfig``, ``ReplicationConfigs``, ``KRaftConfigs``, ``ServerLogConfigs``).
Values travel as text, as in ``kafka-configs.sh``; ``parse_*`` read one that was validated.
"""

from __future__ import annotations

import re

import msgspec

INT_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1


class ConfigDef(msgspec.Struct, frozen=True, gc=False):
    """``type``: "int", "long", "double", "boolean", "string", "list" or "password". ``synonym``: the broker setting that a topic
    setting falls back to; ``dynamic`` False: needs a restart (read-only)."""

    name: str
    type: str
    default: str
    documentation: str
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] = ()
    synonym: str = ""
    dynamic: bool = True


class InvalidConfigError(Exception):
    """A value out of its bounds, or an unknown name; answered as INVALID_CONFIG."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def _table(*definitions: ConfigDef) -> dict[str, ConfigDef]:
    return {definition.name: definition for definition in definitions}


_D = ConfigDef

TOPIC_CONFIGS: dict[str, ConfigDef] = _table(
    _D("cleanup.policy", "list", "delete", "What becomes of old segments: delete them, compact them by key, or both.",
       values=("compact", "delete"), synonym="log.cleanup.policy"),
    _D("compression.gzip.level", "int", "-1", "The compression level if compression.type is gzip.", -1, 9,
       synonym="compression.gzip.level"),
    _D("compression.lz4.level", "int", "9", "The compression level if compression.type is lz4.", 1, 17,
       synonym="compression.lz4.level"),
    _D("compression.type", "string", "producer", "The final compression of the topic; producer keeps what the producer chose.",
       values=("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"), synonym="compression.type"),
    _D("compression.zstd.level", "int", "3", "The compression level if compression.type is zstd.", -131072, 22,
       synonym="compression.zstd.level"),
    _D("delete.retention.ms", "long", "86400000", "How long tombstones of a compacted topic are kept.", 0,
       synonym="log.cleaner.delete.retention.ms"),
    _D("file.delete.delay.ms", "long", "60000", "How long a deleted segment's files stay on disk.", 0,
       synonym="log.segment.delete.delay.ms"),
    _D("flush.messages", "long", str(LONG_MAX), "After how many records to force an fsync; leave it to replication.", 1,
       synonym="log.flush.interval.messages"),
    _D("flush.ms", "long", str(LONG_MAX), "After what time to force an fsync; leave it to replication.", 0,
       synonym="log.flush.interval.ms"),
    _D("follower.replication.throttled.replicas", "list", "", "Replicas whose replication is throttled on the follower's side."),
    _D("index.interval.bytes", "int", "4096", "How many bytes of log lie between two entries of the offset index.", 0,
       synonym="log.index.interval.bytes"),
    _D("leader.replication.throttled.replicas", "list", "", "Replicas whose replication is throttled on the leader's side."),
    _D("local.retention.bytes", "long", "-2", "Bytes kept locally with tiered storage; -2 means retention.bytes.", -2,
       synonym="log.local.retention.bytes"),
    _D("local.retention.ms", "long", "-2", "Time kept locally with tiered storage; -2 means retention.ms.", -2,
       synonym="log.local.retention.ms"),
    _D("max.compaction.lag.ms", "long", str(LONG_MAX), "The longest a record may stay uncompacted.", 1,
       synonym="log.cleaner.max.compaction.lag.ms"),
    _D("max.message.bytes", "int", "1048588", "The largest record batch (after compression) that the topic accepts.", 0,
       synonym="message.max.bytes"),
    _D("message.timestamp.after.max.ms", "long", "3600000", "How far a record's timestamp may lie after the broker's clock.", 0,
       synonym="log.message.timestamp.after.max.ms"),
    _D("message.timestamp.before.max.ms", "long", str(LONG_MAX), "How far a record's timestamp may lie before the broker's clock.", 0,
       synonym="log.message.timestamp.before.max.ms"),
    _D("message.timestamp.type", "string", "CreateTime", "Whose clock stamps records: the producer's or the broker's.",
       values=("CreateTime", "LogAppendTime"), synonym="log.message.timestamp.type"),
    _D("min.cleanable.dirty.ratio", "double", "0.5", "How dirty a compacted log must be before the cleaner takes it.", 0, 1,
       synonym="log.cleaner.min.cleanable.ratio"),
    _D("min.compaction.lag.ms", "long", "0", "The shortest a record stays uncompacted.", 0, synonym="log.cleaner.min.compaction.lag.ms"),
    _D("min.insync.replicas", "int", "1", "How many replicas must be in sync for a write with acks=all to be accepted.", 1,
       synonym="min.insync.replicas"),
    _D("preallocate", "boolean", "false", "Whether a new segment's file is allocated in full.", synonym="log.preallocate"),
    _D("remote.log.copy.disable", "boolean", "false", "Stops copying segments to remote storage."),
    _D("remote.log.delete.on.disable", "boolean", "false", "Deletes remote data when tiered storage is switched off."),
    _D("remote.storage.enable", "boolean", "false", "Tiered storage for this topic."),
    _D("retention.bytes", "long", "-1", "How large a partition may grow before old segments are deleted; -1 is without limit.",
       synonym="log.retention.bytes"),
    _D("retention.ms", "long", "604800000", "How long records are kept before old segments are deleted; -1 is for ever.", -1,
       synonym="log.retention.ms"),
    _D("segment.bytes", "int", "1073741824", "The size at which a segment is closed and a new one begun.", 1024 * 1024,
       synonym="log.segment.bytes"),
    _D("segment.index.bytes", "int", "10485760", "The size of the index of a segment; a full one rolls the segment.", 4,
       synonym="log.index.size.max.bytes"),
    _D("segment.jitter.ms", "long", "0", "The random part subtracted from segment.ms, against rolling in step.", 0,
       synonym="log.roll.jitter.ms"),
    _D("segment.ms", "long", "604800000", "The age at which a segment is closed even if it is not full.", 1, synonym="log.roll.ms"),
    _D("unclean.leader.election.enable", "boolean", "false", "Whether a replica that is not in sync may lead as a last resort, losing records.",
       synonym="unclean.leader.election.enable"),
)  # fmt: skip

COARSER_SYNONYMS: dict[str, tuple[tuple[str, int], ...]] = {
    "log.retention.ms": (("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)),
    "log.roll.ms": (("log.roll.hours", 3_600_000),),
    "log.roll.jitter.ms": (("log.roll.jitter.hours", 3_600_000),),
    "log.flush.interval.ms": (("log.flush.scheduler.interval.ms", 1),),
}
"""Static broker settings in coarser units that stand in where the exact one is not set (name, milliseconds per unit)."""

NULL_BY_DEFAULT = (
    "broker.rack", "follower.replication.throttled.rate", "leader.replication.throttled.rate", "log.flush.interval.ms",
    "log.retention.minutes", "log.retention.ms", "log.roll.jitter.ms", "log.roll.ms", "node.id", "process.roles",
    "replica.selector.class",
)  # fmt: skip
"""Broker settings that have no default in Kafka: nothing is listed for them where nobody set them. The tables above hold the value that
counts then."""


def _broker_synonyms() -> tuple[ConfigDef, ...]:
    """Each topic setting's cluster-wide default is a broker setting of the same type and range."""
    return tuple(
        msgspec.structs.replace(definition, name=definition.synonym, synonym="")
        for definition in TOPIC_CONFIGS.values()
        if definition.synonym
    )


BROKER_CONFIGS: dict[str, ConfigDef] = _table(
    *_broker_synonyms(),
    _D("allow.everyone.if.no.acl.found", "boolean", "false", "Whether a resource without any ACL is open to all.", dynamic=False),
    _D("authorizer.class.name", "string", "", "The authorizer; without one everybody may do everything.",
       values=("", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"), dynamic=False),
    _D("follower.replication.throttled.rate", "long", str(LONG_MAX), "Bytes per second of throttled replication that this broker fetches.", 0),
    _D("leader.replication.throttled.rate", "long", str(LONG_MAX), "Bytes per second of throttled replication that this broker serves.", 0),
    _D("quota.window.num", "int", "11", "How many samples a client quota is measured over.", 1, dynamic=False),
    _D("quota.window.size.seconds", "int", "1", "How long one sample of a client quota is.", 1, dynamic=False),
    _D("replica.selector.class", "string", "", "Which replica a consumer is sent to; empty is always the leader.",
       values=("", "org.apache.kafka.common.replica.LeaderSelector", "org.apache.kafka.common.replica.RackAwareReplicaSelector"),
       dynamic=False),
    _D("replication.quota.window.num", "int", "11", "How many samples a replication throttle is measured over.", 1, dynamic=False),
    _D("replication.quota.window.size.seconds", "int", "1", "How long one sample of a replication throttle is.", 1, dynamic=False),
    _D("sasl.enabled.mechanisms", "list", "GSSAPI",
       "How clients may prove who they are. A lab has no Kerberos server: under GSSAPI a name is believed.",
       values=("GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-512"), dynamic=False),
    _D("super.users", "string", "", "Principals that may do everything, separated by semicolons.", dynamic=False),
    _D("auto.create.topics.enable", "boolean", "true", "Whether asking for an unknown topic creates it.", dynamic=False),
    _D("auto.leader.rebalance.enable", "boolean", "true", "Whether leadership returns to preferred leaders by itself.", dynamic=False),
    _D("broker.heartbeat.interval.ms", "int", "2000", "How often a broker sends a heartbeat to the controller.", 0, dynamic=False),
    _D("broker.id", "int", "-1", "The broker's number.", dynamic=False),
    _D("broker.rack", "string", "", "Where the broker stands; replicas spread over racks.", dynamic=False),
    _D("broker.session.timeout.ms", "int", "9000", "How long a broker lives in the controller's eyes without a heartbeat.", 0, dynamic=False),
    _D("controlled.shutdown.enable", "boolean", "true", "Whether a stopping broker hands its leaderships over first.", dynamic=False),
    _D("controller.quorum.election.backoff.max.ms", "int", "1000", "The longest wait before a new election.", 0, dynamic=False),
    _D("controller.quorum.election.timeout.ms", "int", "1000", "How long to wait without a leader before an election.", 0, dynamic=False),
    _D("controller.quorum.fetch.timeout.ms", "int", "2000", "How long without a fetch from the leader before an election.", 0, dynamic=False),
    _D("default.replication.factor", "int", "1", "Replicas of a topic that does not say.", 1, dynamic=False),
    _D("delete.topic.enable", "boolean", "true", "Whether topics can be deleted.", dynamic=False),
    _D("group.consumer.heartbeat.interval.ms", "int", "5000", "How often members of consumer groups send a heartbeat.", 1, dynamic=False),
    _D("group.consumer.max.heartbeat.interval.ms", "int", "15000", "The longest heartbeat interval of a consumer group.", 1, dynamic=False),
    _D("group.consumer.max.session.timeout.ms", "int", "60000", "The longest session of a consumer group.", 1, dynamic=False),
    _D("group.consumer.max.size", "int", str(INT_MAX), "Members that one consumer group may have.", 1, dynamic=False),
    _D("group.consumer.min.heartbeat.interval.ms", "int", "5000", "The shortest heartbeat interval of a consumer group.", 1, dynamic=False),
    _D("group.consumer.min.session.timeout.ms", "int", "45000", "The shortest session of a consumer group.", 1, dynamic=False),
    _D("group.consumer.session.timeout.ms", "int", "45000", "How long a member of a consumer group may be silent.", 1, dynamic=False),
    _D("group.initial.rebalance.delay.ms", "int", "3000", "How long a new classic group waits for more members to join.", 0, dynamic=False),
    _D("group.max.session.timeout.ms", "int", "1800000", "The longest session a classic member may ask for.", 0, dynamic=False),
    _D("group.max.size", "int", str(INT_MAX), "Members that one classic group may have.", 1, dynamic=False),
    _D("group.share.delivery.count.limit", "int", "5", "How often a share group delivers a record.", 2, 10, dynamic=False),
    _D("group.share.heartbeat.interval.ms", "int", "5000", "How often members of share groups send a heartbeat.", 1, dynamic=False),
    _D("group.share.max.delivery.count.limit", "int", "10", "The highest delivery count limit of a share group.", 5, 25, dynamic=False),
    _D("group.share.max.heartbeat.interval.ms", "int", "15000", "The longest heartbeat interval of a share group.", 1, dynamic=False),
    _D("group.share.max.partition.max.record.locks", "int", "4000", "The most records in flight that a share group may set.", 2000, 10000,
       dynamic=False),
    _D("group.share.max.record.lock.duration.ms", "int", "60000", "The longest lock of a share group.", 30000, 3600000, dynamic=False),
    _D("group.share.max.session.timeout.ms", "int", "60000", "The longest session of a share group.", 1, dynamic=False),
    _D("group.share.max.share.sessions", "int", "2000", "Share sessions that one broker keeps.", 1, dynamic=False),
    _D("group.share.max.size", "int", "200", "Members that one share group may have.", 1, 1000, dynamic=False),
    _D("group.share.min.delivery.count.limit", "int", "2", "The lowest delivery count limit of a share group.", 2, 5, dynamic=False),
    _D("group.share.min.heartbeat.interval.ms", "int", "5000", "The shortest heartbeat interval of a share group.", 1, dynamic=False),
    _D("group.share.min.partition.max.record.locks", "int", "100", "The fewest records in flight that a share group may set.", 100, 2000,
       dynamic=False),
    _D("group.share.min.record.lock.duration.ms", "int", "15000", "The shortest lock of a share group.", 1000, 30000, dynamic=False),
    _D("group.share.min.session.timeout.ms", "int", "45000", "The shortest session of a share group.", 1, dynamic=False),
    _D("group.share.partition.max.record.locks", "int", "2000", "Records of one share partition that may be in flight.", 100, 10000,
       dynamic=False),
    _D("group.share.record.lock.duration.ms", "int", "30000", "How long a record stays acquired without an acknowledgement.", 1000, 3600000,
       dynamic=False),
    _D("group.share.session.timeout.ms", "int", "45000", "How long a member of a share group may be silent.", 1, dynamic=False),
    _D("group.min.session.timeout.ms", "int", "6000", "The shortest session a classic member may ask for.", 0, dynamic=False),
    _D("leader.imbalance.check.interval.seconds", "long", "300", "How often preferred leaders are restored.", 1, dynamic=False),
    _D("log.cleaner.backoff.ms", "long", "15000", "How long the cleaner sleeps when nothing is to be cleaned.", 0),
    _D("log.cleaner.dedupe.buffer.size", "long", "134217728", "Memory for the cleaner's map of keys, in bytes.", 1024 * 1024),
    _D("log.cleaner.io.max.bytes.per.second", "double", "1.7976931348623157E308", "How much the cleaner reads and writes in a second.", 0),
    _D("log.cleaner.threads", "int", "1", "Cleaner threads.", 0),
    _D("log.flush.scheduler.interval.ms", "long", str(LONG_MAX), "How often it is looked whether a log is to be flushed.", dynamic=False),
    _D("log.retention.check.interval.ms", "long", "300000", "How often segments are checked for deletion.", 1, dynamic=False),
    _D("log.retention.hours", "int", "168", "log.retention.ms in hours, where that is not set.", dynamic=False),
    _D("log.retention.minutes", "int", "", "log.retention.ms in minutes, where that is not set.", dynamic=False),
    _D("log.roll.hours", "int", "168", "log.roll.ms in hours, where that is not set.", 1, dynamic=False),
    _D("log.roll.jitter.hours", "int", "0", "log.roll.jitter.ms in hours, where that is not set.", 0, dynamic=False),
    _D("log.segment.delete.delay.ms", "long", "60000", "How long a deleted segment's files stay on disk.", 0),
    _D("max.connections.per.ip", "int", str(INT_MAX), "Connections from one address.", 0),
    _D("metadata.max.idle.interval.ms", "int", "500", "How often an idle active controller writes a NoOp record.", 0, dynamic=False),
    _D("node.id", "int", "-1", "The node's number.", dynamic=False),
    _D("num.io.threads", "int", "8", "Threads that handle requests.", 1),
    _D("num.network.threads", "int", "3", "Threads that read and write sockets.", 1),
    _D("num.partitions", "int", "1", "Partitions of a topic that does not say.", 1, dynamic=False),
    _D("num.recovery.threads.per.data.dir", "int", "2", "Threads per directory for recovery at start.", 1),
    _D("num.replica.fetchers", "int", "1", "Fetcher threads per leader.", 1),
    _D("offset.metadata.max.bytes", "int", "4096", "The longest text that may go with a committed offset.", dynamic=False),
    _D("offsets.commit.timeout.ms", "int", "5000", "How long a group coordinator waits for its records to be replicated.", 1, dynamic=False),
    _D("offsets.retention.check.interval.ms", "long", "600000", "How often expired offsets are looked for.", 1, dynamic=False),
    _D("offsets.retention.minutes", "int", "10080", "How long the offsets of an empty group are kept.", 1, dynamic=False),
    _D("offsets.topic.num.partitions", "int", "50", "Partitions of __consumer_offsets.", 1, dynamic=False),
    _D("offsets.topic.replication.factor", "short", "3", "Replicas of __consumer_offsets.", 1, dynamic=False),
    _D("offsets.topic.segment.bytes", "int", "104857600", "Segment size of __consumer_offsets.", 1, dynamic=False),
    _D("process.roles", "list", "", "broker, controller or both.", dynamic=False),
    _D("producer.id.expiration.ms", "int", "86400000", "How long a producer ID is remembered after its last write.", 1),
    _D("replica.fetch.backoff.ms", "int", "1000", "How long a follower waits after a failed fetch.", 0, dynamic=False),
    _D("replica.fetch.max.bytes", "int", "1048576", "Bytes per partition in one replica fetch.", 0, dynamic=False),
    _D("replica.fetch.min.bytes", "int", "1", "Bytes to wait for in a replica fetch.", dynamic=False),
    _D("replica.fetch.response.max.bytes", "int", "10485760", "Bytes in one replica fetch response.", 0, dynamic=False),
    _D("replica.fetch.wait.max.ms", "int", "500", "The longest a replica fetch waits at the leader.", dynamic=False),
    _D("replica.high.watermark.checkpoint.interval.ms", "long", "5000", "How often the high watermark is saved to disk.", dynamic=False),
    _D("replica.lag.time.max.ms", "long", "30000", "How long a follower may lag before it leaves the ISR.", dynamic=False),
    _D("replica.socket.timeout.ms", "int", "30000", "How long a replica fetch waits for an answer.", dynamic=False),
    _D("share.coordinator.snapshot.update.records.per.snapshot", "int", "500", "Updates of a share partition's state between two snapshots.",
       0, 500, dynamic=False),
    _D("share.coordinator.state.topic.min.isr", "short", "2", "min.insync.replicas of __share_group_state.", 1, dynamic=False),
    _D("share.coordinator.state.topic.num.partitions", "int", "50", "Partitions of __share_group_state.", 1, dynamic=False),
    _D("share.coordinator.state.topic.replication.factor", "short", "3", "Replicas of __share_group_state.", 1, dynamic=False),
    _D("share.coordinator.state.topic.segment.bytes", "int", "104857600", "Segment size of __share_group_state.", 1, dynamic=False),
    _D("transaction.abort.timed.out.transaction.cleanup.interval.ms", "int", "10000", "How often transactions that took too long are aborted.",
       1, dynamic=False),
    _D("transaction.max.timeout.ms", "int", "900000", "The longest transaction.timeout.ms a producer may ask for.", 1, dynamic=False),
    _D("transaction.state.log.min.isr", "int", "2", "min.insync.replicas of __transaction_state.", 1, dynamic=False),
    _D("transaction.state.log.num.partitions", "int", "50", "Partitions of __transaction_state.", 1, dynamic=False),
    _D("transaction.state.log.replication.factor", "short", "3", "Replicas of __transaction_state.", 1, dynamic=False),
    _D("transaction.state.log.segment.bytes", "int", "104857600", "Segment size of __transaction_state.", 1, dynamic=False),
    _D("transactional.id.expiration.ms", "int", "604800000", "How long an idle transactional ID is remembered.", 1, dynamic=False),
)  # fmt: skip


def definitions(resource_type: str) -> dict[str, ConfigDef]:
    """The table for "topic" or "broker" (that for groups lies in ``group_configs``)."""
    return TOPIC_CONFIGS if resource_type == "topic" else BROKER_CONFIGS


def validate(resource_type: str, name: str, value: str) -> None:
    """Raises InvalidConfigError that names the setting, its value and the bound it breaks."""
    definition = definitions(resource_type).get(name)
    if definition is None:
        raise InvalidConfigError(f"Unknown {resource_type} config name: {name}")
    check_value(definition, value)


def check_value(definition: ConfigDef, value: str) -> None:
    """Raises InvalidConfigError."""
    check = _CHECKS[definition.type]
    check(definition, value)


def _refuse(definition: ConfigDef, value: str, why: str) -> InvalidConfigError:
    return InvalidConfigError(f"Invalid value {value} for configuration {definition.name}: {why}")


def _bounds(definition: ConfigDef, value: str, number: float) -> None:
    if definition.name == "compression.gzip.level":
        if number != -1 and not 1 <= number <= 9:
            raise _refuse(definition, value, "Value must be between 1 and 9 or equal to -1")
        return
    if definition.minimum is not None and number < definition.minimum:
        raise _refuse(definition, value, f"Value must be at least {_plain(definition.minimum)}")
    if definition.maximum is not None and number > definition.maximum:
        raise _refuse(definition, value, f"Value must be no more than {_plain(definition.maximum)}")


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def _check_integer(definition: ConfigDef, value: str) -> None:
    text = value.strip()
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        raise _refuse(definition, value, f"Not a number of type {definition.type.upper()}")
    number = int(text)
    largest = {"int": INT_MAX, "short": 2**15 - 1}.get(definition.type, LONG_MAX)
    if not -largest - 1 <= number <= largest:
        raise _refuse(definition, value, f"Not a number of type {definition.type.upper()}")
    _bounds(definition, value, number)


def _check_double(definition: ConfigDef, value: str) -> None:
    try:
        number = float(value)
    except ValueError:
        raise _refuse(definition, value, "Not a number of type DOUBLE") from None
    if number != number:
        raise _refuse(definition, value, "Not a number of type DOUBLE")
    _bounds(definition, str(number), number)


def _check_boolean(definition: ConfigDef, value: str) -> None:
    if value.strip().lower() not in ("true", "false"):
        raise _refuse(definition, value, "Expected value to be either true or false")


def _check_string(definition: ConfigDef, value: str) -> None:
    if definition.values and value not in definition.values:
        raise _refuse(definition, value, f"String must be one of: {', '.join(definition.values)}")


_REPLICA = re.compile(r"[0-9]+:[0-9]+")


def _check_list(definition: ConfigDef, value: str) -> None:
    items = parse_list(value)
    if definition.name.endswith("cleanup.policy") and len(items) < len(value.split(",")) and value.strip():
        raise InvalidConfigError(f"Configuration '{definition.name}' values must not be empty.")
    for item in items:
        if definition.values and item not in definition.values:
            raise _refuse(definition, item, f"String must be one of: {', '.join(definition.values)}")
    if definition.name.endswith(".throttled.replicas") and not (items == ["*"] or all(map(_REPLICA.fullmatch, items))):
        why = (
            f"{definition.name} must be the literal '*' or a list of replicas in the following format: "
            "[partitionId]:[brokerId],[partitionId]:[brokerId],..."
        )
        raise _refuse(definition, f"[{', '.join(items)}]", why)


_CHECKS = {
    "int": _check_integer,
    "short": _check_integer,
    "long": _check_integer,
    "double": _check_double,
    "boolean": _check_boolean,
    "string": _check_string,
    "list": _check_list,
}


def parse_list(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def parse_boolean(value: str) -> bool:
    return value.strip().lower() == "true"


def static_value(configured: dict[str, str], name: str) -> str:
    """A broker setting from its static properties, from a coarser one in them, or by default."""
    value = configured.get(name)
    if value is not None:
        return value
    for coarser, factor in COARSER_SYNONYMS.get(name, ()):
        if coarser in configured:
            return str(int(configured[coarser]) * factor)
    return BROKER_CONFIGS[name].default
