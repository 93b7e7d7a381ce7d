"""Commands of every kind with values that fit, nearly fit or cannot fit, and a lab so busy that they find something to hurt."""

from __future__ import annotations

from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from engine import commands as c
from engine.lab import Lab
from engine.spec import ClusterSpec, TopicSpec

NUMBERS = (
    -(2**63), -(2**31), -3, -2, -1, 0, 1, 2, 3, 4, 9, 10, 64, 500, 1_000, 1_001, 60_000, 2**31 - 1, 2**31, 2**53, 2**62, 2**63, 10**30
)  # fmt: skip
TEXTS = (
    "", " ", ".", "..", "*", "a\0b", "\ud800", "<b>x</b>", "ä", "User:", "User:*", "User:alice", "x" * 250, "x" * 3_000, "../../etc", "-1",
    "{n}", "null", "None", "true", "orders", "__consumer_offsets", "__transaction_state", "broker-1", "controller-101", "admin", "you",
)  # fmt: skip
NAMES: dict[str, tuple[Any, ...]] = {
    "node": ("broker-1", "broker-2", "broker-3", "controller-101", "bank", "shop", "a", "b", "s", "job", "nobody"),
    "source": ("broker-1", "broker-2", "controller-101", "bank", "*", "nobody"),
    "target": ("broker-1", "broker-3", "controller-101", "a", "*", "nobody"),
    "topic": ("orders", "paid", "state", "new", "__consumer_offsets", "__transaction_state", "nothing"),
    "input_topic": ("orders", "nothing"),
    "output_topic": ("orders", "paid", "nothing"),
    "name": ("bank", "shop", "a", "b", "s", "job", "fresh", "load", "alice", "bob"),
    "producer": ("bank", "shop", "a", "fresh", "nobody"),
    "group": ("g", "h", "p", "shares", "none", "new"),
    "partition": (0, 1, 2, 63),
    "offset": (-2, -1, 0, 1, 5, 10**9, 2**62),
    "producer_id": (0, 1, 1000, 2**62),
    "resource_type": ("topic", "broker", "group", "cluster", "transactional-id", ""),
    "resource_name": ("orders", "", "1", "9", "g", "kafka-cluster", "*", "tx"),
    "principal": ("User:alice", "User:*", "User:", "alice", ""),
    "operation": ("read", "write", "ALL", "describe", "idempotent_write", "fly", ""),
    "election": ("preferred", "unclean"),
    "permission": ("allow", "deny", ""),
    "pattern_type": ("literal", "prefixed", "match", ""),
    "mechanism": ("SCRAM-SHA-256", "SCRAM-SHA-512"),
    "commit_each_poll": ("", "before", "after"),
    "type": tuple(sorted(c.COMMANDS)),
}
OF_KIND: dict[str, dict[str, tuple[Any, ...]]] = {
    **{kind: {"name": ("a", "b", "alone", "s")} for kind in ("AssignConsumer", "SeekConsumer", "PauseConsumer", "CommitOffsets")},
    **{kind: {"name": ("a", "b", "s", "job")} for kind in ("SetProcessing", "CloseClient")},
    **{
        kind: {"name": ("one", "two", "three", "a")}
        for kind in ("CreateConsumer", "CreateShareConsumer", "CreateProcessor", "CreateProducer")
    },
    **{kind: {"producer": ("bank", "bank", "shop")} for kind in ("BeginTransaction", "CommitTransaction", "AbortTransaction")},
    "SetVerdicts": {"name": ("s", "a")},
    "StopWorkload": {"name": ("load", "turnover", "other")},
    "AlterUser": {"name": ("alice", "bob")},
}
CONFIGS = (
    "acks", "enable.idempotence", "transactional.id", "transaction.timeout.ms", "linger.ms", "batch.size", "buffer.memory", "max.block.ms",
    "delivery.timeout.ms", "max.in.flight.requests.per.connection", "compression.type", "group.id", "group.protocol", "group.instance.id",
    "session.timeout.ms", "heartbeat.interval.ms", "auto.offset.reset", "isolation.level", "max.poll.records", "max.poll.interval.ms",
    "enable.auto.commit", "auto.commit.interval.ms", "partition.assignment.strategy", "group.remote.assignor", "fetch.max.wait.ms",
    "fetch.min.bytes", "fetch.max.bytes", "client.rack", "share.acknowledgement.mode", "request.timeout.ms", "retries", "sasl.username",
    "sasl.password", "sasl.mechanism", "cleanup.policy", "retention.ms", "retention.bytes", "segment.bytes", "segment.ms",
    "min.insync.replicas", "max.message.bytes", "min.compaction.lag.ms", "max.compaction.lag.ms", "delete.retention.ms",
    "min.cleanable.dirty.ratio", "message.timestamp.type", "unclean.leader.election.enable", "leader.replication.throttled.replicas",
    "leader.replication.throttled.rate", "log.cleaner.threads", "consumer.session.timeout.ms", "share.auto.offset.reset",
    "share.isolation.level", "share.record.lock.duration.ms", "share.partition.max.record.locks", "producer_byte_rate",
    "consumer_byte_rate", "request_percentage", "node.id", "no.such.config", "",
)  # fmt: skip
SETTINGS = (
    "", "0", "1", "-1", "2", "5", "6", "100", "1000", "45000", "60000", "600000", str(2**31 - 1), str(2**31), str(2**63 - 1), str(2**63), "all",
    "true", "false", "classic", "consumer", "g", "h", "p", "tx", "earliest", "latest", "none", "by_duration:PT1H", "read_committed",
    "read_uncommitted", "range", "cooperative-sticky", "range,roundrobin", "uniform", "implicit", "explicit", "gzip", "zstd", "compact",
    "compact,delete", "LogAppendTime", "0.1", "NaN", "Infinity", "0:1,1:2", "*", "alice", "secret", "SCRAM-SHA-512", "a\0b", "\ud800",
    "x" * 2_000,
)  # fmt: skip
SOUND: tuple[dict[str, str], ...] = (
    {}, {"group.id": "g"}, {"group.id": "h", "group.protocol": "consumer"}, {"group.id": "shares"}, {"transactional.id": "tx"},
    {"transactional.id": "job", "linger.ms": "0"}, {"acks": "1"}, {"enable.idempotence": "false", "max.in.flight.requests.per.connection": "9"},
    {"group.id": "g", "group.instance.id": "i", "session.timeout.ms": "6000"}, {"group.id": "g", "session.timeout.ms": "5000"},
    {"auto.offset.reset": "by_duration:PT1H", "isolation.level": "read_committed"}, {"sasl.username": "alice", "sasl.password": "wrong"},
    {"sasl.username": "alice", "sasl.password": "secret", "sasl.mechanism": "SCRAM-SHA-512"},
    {"transaction.timeout.ms": "900001", "transactional.id": "t"},
    {"cleanup.policy": "compact"}, {"retention.ms": "1"}, {"min.insync.replicas": "3"}, {"segment.ms": "1"}, {"max.message.bytes": "10"},
)  # fmt: skip
"""Settings that go together, at least for some client or topic."""

_HINTS = {kind: get_type_hints(kind) for kind in c.COMMANDS.values()}


def busy_lab(seed: int = 3) -> Lab:
    """Groups of each kind, an open and an ended transaction, a processor, ACLs, users, quotas and compaction, all at work."""
    settings = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "allow.everyone.if.no.acl.found": "true",
        "sasl.enabled.mechanisms": "GSSAPI,SCRAM-SHA-512", "super.users": "User:ANONYMOUS", "offsets.topic.num.partitions": "2",
        "transaction.state.log.num.partitions": "2", "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "100", "log.cleaner.backoff.ms": "1000",
    }  # fmt: skip
    compacted = {"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"}
    topics = (TopicSpec("orders", 3, 3), TopicSpec("paid", 2, 2), TopicSpec("state", 1, 3, compacted))
    lab = Lab(ClusterSpec(3, 1, topics, broker_configs=settings), seed)
    for command in (
        c.AlterUser("alice", "secret"),
        c.CreateAcl("User:alice", "read", "topic", "orders"),
        c.CreateAcl("User:alice", "all", "group", "g", "prefixed"),
        c.AlterQuota(client_id="shop", set={"producer_byte_rate": 20_000.0}),
        c.CreateProducer("bank", {"transactional.id": "tx", "transaction.timeout.ms": "5000"}),
        c.StartWorkload("load", "orders", "shop", 5, keys=5),
        c.StartWorkload("turnover", "state", "shop", 3, keys=3),
        c.CreateConsumer("a", ["orders"], {"group.id": "g", "auto.offset.reset": "earliest"}),
        c.CreateConsumer("b", ["orders"], {"group.id": "h", "group.protocol": "consumer", "isolation.level": "read_committed"}, 50),
        c.CreateConsumer("alone", ["orders", "state"]),
        c.CreateShareConsumer("s", ["orders"], {"group.id": "shares", "share.acknowledgement.mode": "explicit"}, release_every=3),
        c.CreateProcessor("job", "p", "orders", "paid", {"transactional.id": "job"}),
    ):
        lab.submit(command)
    lab.advance(lab.now_us + 4_000_000)
    lab.submit(c.BeginTransaction("bank"))
    lab.submit(c.Produce("orders", "{n}", "k", producer="bank", count=3))
    lab.advance(lab.now_us + 1_000_000)
    return lab


def _fitting(kind: Any, field: str, names: dict[str, tuple[Any, ...]] = NAMES) -> st.SearchStrategy[Any]:
    """Values that JSON can carry and that look like this field's, more often than not."""
    if get_origin(kind) in (Union, UnionType):
        return st.one_of([_fitting(one, field, names) for one in get_args(kind)])
    if kind is type(None):
        return st.none()
    if kind is bool:
        return st.booleans()
    known = st.sampled_from(names[field]) if field in names else st.nothing()
    if kind is int:
        return known | known | st.integers(0, 5) | st.integers(0, 5) | st.sampled_from(NUMBERS)
    if kind is float:
        return st.sampled_from((0.0, 1.0, 100.0, 1e-300, 1e300, -1.0)) | st.floats(allow_nan=False, allow_infinity=False)
    if kind is str:
        return known | known | known | known | st.sampled_from(TEXTS) if field in names else st.sampled_from(TEXTS)
    if get_origin(kind) is list:
        inner = get_args(kind)[0]
        return st.lists(_fitting(inner, {"topics": "topic", "partitions": "partition"}.get(field, "")), max_size=4)
    if get_origin(kind) is dict:
        if field == "set" and "producer_byte_rate" in str(kind):
            rates = st.sampled_from((0.0, 0.5, 1e3, 1e6, 1e15, 1e16))
            return st.dictionaries(st.sampled_from(("producer_byte_rate", "request_percentage", "other")), rates, max_size=2)
        wild = st.dictionaries(st.sampled_from(CONFIGS), st.sampled_from(SETTINGS), max_size=3)
        return st.sampled_from(SOUND) | st.sampled_from(SOUND) | wild
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return st.fixed_dictionaries({name: _fitting(one, name) for name, one in get_type_hints(kind).items()})
    return st.nothing()


def _of_one_kind(name: str) -> st.SearchStrategy[dict[str, Any]]:
    kind = c.COMMANDS[name]
    required = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    names = {**NAMES, **OF_KIND.get(name, {})}
    fields = {field: _fitting(_HINTS[kind][field], field, names) for field in kind.__struct_fields__}
    must = {field: fields[field] for field in kind.__struct_fields__[:required]}
    may = {field: fields[field] for field in kind.__struct_fields__[required:]}
    return st.fixed_dictionaries({"type": st.just(name), **must}, optional=may)


COMMANDS = st.sampled_from(sorted(c.COMMANDS)).flatmap(_of_one_kind)
"""JSON objects; most of them are commands."""
