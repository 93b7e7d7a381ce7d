"""All that may be asked of a lab, typed once and used by buttons, lessons, the console, tests and the API alike.

Commands arrive as JSON (``parse``), are checked against ``engine.limits`` and against the lab before anything changes, and are
journalled as JSON. ``type`` is the tag.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args

import msgspec

from engine import limits
from engine.errors import EngineError

Topic = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_TOPIC_NAME, pattern=r"^[a-zA-Z0-9._-]+\Z")]
ClientName = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_CLIENT_NAME, pattern=r"^[a-zA-Z0-9._-]+\Z")]
NodeName = Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=r"^[a-zA-Z0-9._-]+\Z")]
Partition = Annotated[int, msgspec.Meta(ge=0, lt=limits.MAX_PARTITIONS_PER_TOPIC)]
BrokerId = Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_BROKERS)]
ProcessingMs = Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_PROCESSING_MS)]
EveryNth = Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_RECORDS_PER_COMMAND)]
FailOn = Annotated[str, msgspec.Meta(max_length=100)]
Text = Annotated[str, msgspec.Meta(max_length=limits.MAX_VALUE_BYTES)]
GroupId = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_GROUP_ID)]
Principal = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_PRINCIPAL)]
ConfigMap = dict[
    Annotated[str, msgspec.Meta(min_length=1, max_length=100)],
    Annotated[str, msgspec.Meta(max_length=limits.MAX_CONFIG_VALUE)],
]


class Command(msgspec.Struct, frozen=True, tag=True, tag_field="type", forbid_unknown_fields=True):
    """Frozen; equal commands are equal inputs."""


# -- processes, machines, networks, disks -----------------------------------------------------------------------------------------


class KillNode(Command, frozen=True, tag=True):
    """SIGKILL: the process is gone, its page cache stays. Any broker, controller or client."""

    node: NodeName


class StopNode(Command, frozen=True, tag=True):
    """SIGTERM: a broker asks the controller to move its leaderships first (controlled shutdown)."""

    node: NodeName


class StartNode(Command, frozen=True, tag=True):
    node: NodeName


class PauseNode(Command, frozen=True, tag=True):
    """A stop-the-world pause (SIGSTOP, a long garbage collection): nothing is handled until ResumeNode."""

    node: NodeName


class ResumeNode(Command, frozen=True, tag=True):
    node: NodeName


class LosePower(Command, frozen=True, tag=True):
    """The machine goes dark: the process dies unseen and what was not synced is lost; ``torn`` leaves a piece of the last write."""

    node: NodeName
    torn: bool = False


class CutNetwork(Command, frozen=True, tag=True):
    """Messages between the two vanish; with ``one_way`` only those from ``source`` to ``target``. ``target`` "*" cuts ``source`` off."""

    source: NodeName
    target: Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=r"^([a-zA-Z0-9._-]+|\*)\Z")] = "*"
    one_way: bool = False


class HealNetwork(Command, frozen=True, tag=True):
    """Undoes cuts, delays and losses; "*" for both heals everything."""

    source: Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=r"^([a-zA-Z0-9._-]+|\*)\Z")] = "*"
    target: Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=r"^([a-zA-Z0-9._-]+|\*)\Z")] = "*"


class DegradeNetwork(Command, frozen=True, tag=True):
    """Adds ``delay_ms`` to each message between the two and loses ``loss_percent`` of them (a loss breaks the connection);
    with ``one_way`` only from ``source`` to ``target``."""

    source: NodeName
    target: NodeName
    delay_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0
    loss_percent: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.0
    one_way: bool = False


class SlowDisk(Command, frozen=True, tag=True):
    """Each write or sync of that machine takes so long; 0 is as new."""

    node: NodeName
    write_delay_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)]


class FillDisk(Command, frozen=True, tag=True):
    """No further byte fits."""

    node: NodeName


class FreeDisk(Command, frozen=True, tag=True):
    node: NodeName


class WipeDisk(Command, frozen=True, tag=True):
    """A new, empty disk; the process must be down."""

    node: NodeName


class CorruptDisk(Command, frozen=True, tag=True):
    """Flips one byte near the end of a replica's active segment; the process must be down."""

    node: NodeName
    topic: Topic
    partition: Partition


# -- administration -----------------------------------------------------------------------------------------------------------------


class CreateTopic(Command, frozen=True, tag=True):
    """-1 takes the broker's default. ``assignments``: per partition its replicas, preferred leader first."""

    topic: Topic
    partitions: Annotated[int, msgspec.Meta(ge=-1, le=limits.MAX_PARTITIONS_PER_TOPIC)] = -1
    replication_factor: Annotated[int, msgspec.Meta(ge=-1, le=limits.MAX_BROKERS)] = -1
    configs: ConfigMap = {}
    assignments: Annotated[list[list[BrokerId]], msgspec.Meta(max_length=limits.MAX_PARTITIONS_PER_TOPIC)] = []


class DeleteTopic(Command, frozen=True, tag=True):
    topic: Topic


class AddPartitions(Command, frozen=True, tag=True):
    """``count`` is the new total."""

    topic: Topic
    count: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_PARTITIONS_PER_TOPIC)]


class DeleteRecords(Command, frozen=True, tag=True):
    """Deletes what lies before ``offset`` (-1: the high watermark) by moving the log start; compaction alone forbids it."""

    topic: Topic
    partition: Partition
    offset: Annotated[int, msgspec.Meta(ge=-1, le=2**62)] = -1


class GroupOffset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    topic: Topic
    partition: Partition
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class PartitionOfTopic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    topic: Topic
    partition: Partition


class AlterGroupOffsets(Command, frozen=True, tag=True):
    """An administrator commits offsets for a group without members; one that does not exist comes into being."""

    group: GroupId
    offsets: Annotated[list[GroupOffset], msgspec.Meta(min_length=1, max_length=limits.MAX_PARTITIONS)]


class DeleteGroupOffsets(Command, frozen=True, tag=True):
    """The group forgets what it has committed there; refused for topics to which it is subscribed."""

    group: GroupId
    partitions: Annotated[list[PartitionOfTopic], msgspec.Meta(min_length=1, max_length=limits.MAX_PARTITIONS)]


class DeleteGroup(Command, frozen=True, tag=True):
    """With all that it has committed; it must have no members."""

    group: GroupId


class AlterConfig(Command, frozen=True, tag=True):
    """``resource_type`` "topic", "broker" (``resource_name`` "" means all brokers) or "group". ``remove`` goes back to the default."""

    resource_type: Annotated[str, msgspec.Meta(pattern=r"^(topic|broker|group)\Z")]
    resource_name: Annotated[str, msgspec.Meta(max_length=limits.MAX_TOPIC_NAME)]
    set: ConfigMap = {}
    remove: Annotated[list[str], msgspec.Meta(max_length=limits.MAX_CONFIGS_PER_COMMAND)] = []


class ElectLeader(Command, frozen=True, tag=True):
    """``election`` "preferred" or "unclean"; without ``topic`` all partitions."""

    election: Annotated[str, msgspec.Meta(pattern=r"^(preferred|unclean)\Z")]
    topic: Topic | None = None
    partition: Partition | None = None


class ReassignPartition(Command, frozen=True, tag=True):
    """``replicas`` None cancels."""

    topic: Topic
    partition: Partition
    replicas: Annotated[list[BrokerId], msgspec.Meta(min_length=1, max_length=limits.MAX_BROKERS)] | None


class AlterQuota(Command, frozen=True, tag=True):
    """``kafka-configs.sh`` for users and clients: quotas of a ``user``, of a ``client_id``, or of both together. "" is the default of its kind,
    None leaves it out."""

    user: Annotated[str, msgspec.Meta(max_length=limits.MAX_PRINCIPAL)] | None = None
    client_id: Annotated[str, msgspec.Meta(max_length=limits.MAX_CLIENT_NAME)] | None = None
    set: dict[
        Annotated[str, msgspec.Meta(pattern=r"^(producer_byte_rate|consumer_byte_rate|request_percentage)\Z")],
        Annotated[float, msgspec.Meta(gt=0, le=1e15)],
    ] = {}
    remove: Annotated[list[Annotated[str, msgspec.Meta(max_length=100)]], msgspec.Meta(max_length=10)] = []


class AlterUser(Command, frozen=True, tag=True):
    """A SCRAM credential: ``password`` creates the user or changes it, None deletes it."""

    name: Principal
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    mechanism: Annotated[str, msgspec.Meta(pattern=r"^SCRAM-SHA-(256|512)\Z")] = "SCRAM-SHA-512"


class CreateAcl(Command, frozen=True, tag=True):
    """``principal`` as in "User:alice" or "User:*". A cluster's ``resource_name`` is kafka-cluster."""

    principal: Principal
    operation: Annotated[str, msgspec.Meta(max_length=30)]
    resource_type: Annotated[str, msgspec.Meta(pattern=r"^(topic|group|cluster|transactional-id)\Z")]
    resource_name: Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_TOPIC_NAME)]
    pattern_type: Annotated[str, msgspec.Meta(pattern=r"^(literal|prefixed)\Z")] = "literal"
    permission: Annotated[str, msgspec.Meta(pattern=r"^(allow|deny)\Z")] = "allow"
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=80)] = "*"


class DeleteAcl(Command, frozen=True, tag=True):
    """Deletes every ACL that matches; an empty field matches anything."""

    principal: Annotated[str, msgspec.Meta(max_length=limits.MAX_PRINCIPAL)] = ""
    operation: Annotated[str, msgspec.Meta(max_length=30)] = ""
    resource_type: Annotated[str, msgspec.Meta(pattern=r"^(|topic|group|cluster|transactional-id)\Z")] = ""
    resource_name: Annotated[str, msgspec.Meta(max_length=limits.MAX_TOPIC_NAME)] = ""
    pattern_type: Annotated[str, msgspec.Meta(pattern=r"^(|literal|prefixed|match)\Z")] = ""
    permission: Annotated[str, msgspec.Meta(pattern=r"^(|allow|deny)\Z")] = ""
    host: Annotated[str, msgspec.Meta(max_length=80)] = ""


# -- clients -----------------------------------------------------------------------------------------------------------------------


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(max_length=200)]
    value: Annotated[str, msgspec.Meta(max_length=2_000)] | None = None


class CreateProducer(Command, frozen=True, tag=True):
    """``configs``: the Java client's names and defaults."""

    name: ClientName
    configs: ConfigMap = {}


class Produce(Command, frozen=True, tag=True):
    """``send`` called ``count`` times ("{n}" in key and value becomes the running number). A missing producer is created with
    Kafka's defaults. ``value`` None is a tombstone."""

    topic: Topic
    value: Text | None = None
    key: Annotated[str, msgspec.Meta(max_length=limits.MAX_KEY_BYTES)] | None = None
    producer: ClientName = "producer"
    partition: Partition | None = None
    headers: Annotated[list[Header], msgspec.Meta(max_length=limits.MAX_HEADERS)] = []
    count: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_RECORDS_PER_COMMAND)] = 1


class StartWorkload(Command, frozen=True, tag=True):
    """A steady stream of records. ``keys`` 0: without keys. ``limit`` 0: until stopped. So many ``transaction_records`` are committed
    together (0: no transactions)."""

    name: ClientName
    topic: Topic
    producer: ClientName = "producer"
    records_per_second: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_RECORDS_PER_SECOND)] = 10
    keys: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    value_bytes: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    skew_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    limit: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    transaction_records: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0


class BeginTransaction(Command, frozen=True, tag=True):
    """``producer.beginTransaction()``; what it sends from now on belongs together. It needs a ``transactional.id``."""

    producer: ClientName


class CommitTransaction(Command, frozen=True, tag=True):
    producer: ClientName


class AbortTransaction(Command, frozen=True, tag=True):
    producer: ClientName


class AbortHangingTransaction(Command, frozen=True, tag=True):
    """An administrator has the marker ABORT written to one partition, past the coordinator (KIP-664): for a transaction that the
    coordinator no longer knows. The epochs are those that the partition's leader tells of the producer."""

    topic: Topic
    partition: Partition
    producer_id: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    producer_epoch: Annotated[int, msgspec.Meta(ge=0, le=32_767)]
    coordinator_epoch: Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)] = -1


class StopWorkload(Command, frozen=True, tag=True):
    name: ClientName


class CreateConsumer(Command, frozen=True, tag=True):
    """With ``group.id`` in ``configs`` it subscribes to ``topics`` as a member of that group, without it reads all their partitions.
    ``processing_ms``: what its application takes for each record. ``commit_each_poll`` "before" or "after": the application calls
    ``commitSync`` after each poll, before or after it processes the records."""

    name: ClientName
    topics: Annotated[list[Topic], msgspec.Meta(max_length=limits.MAX_TOPICS)] = []
    configs: ConfigMap = {}
    processing_ms: ProcessingMs = 0
    commit_each_poll: Annotated[str, msgspec.Meta(pattern=r"^(|before|after)\Z")] = ""


class SetProcessing(Command, frozen=True, tag=True):
    """The application of a consumer or share consumer takes so long for each record from now on."""

    name: ClientName
    processing_ms: ProcessingMs


class CreateShareConsumer(Command, frozen=True, tag=True):
    """A ``KafkaShareConsumer`` of the share group ``group.id`` on ``topics``. ``processing_ms``: what its application takes for each record.
    With ``share.acknowledgement.mode=explicit`` in ``configs`` it may release every ``release_every``-th record and reject every
    ``reject_every``-th (0: none), and fail each time at those whose value contains ``fail_on`` ("": at none). After ``stop_after`` records
    (0: never) it closes; what else its last poll returned goes back to the group."""

    name: ClientName
    topics: Annotated[list[Topic], msgspec.Meta(max_length=limits.MAX_TOPICS)] = []
    configs: ConfigMap = {}
    processing_ms: ProcessingMs = 0
    release_every: EveryNth = 0
    reject_every: EveryNth = 0
    fail_on: FailOn = ""
    stop_after: EveryNth = 0


class SetVerdicts(Command, frozen=True, tag=True):
    """What the application of a share consumer says of its records from now on, as in ``CreateShareConsumer``."""

    name: ClientName
    release_every: EveryNth = 0
    reject_every: EveryNth = 0
    fail_on: FailOn = ""


class CommitOffsets(Command, frozen=True, tag=True):
    """The consumer's application calls ``commitSync``, as soon as its thread is free."""

    name: ClientName


class CreateProcessor(Command, frozen=True, tag=True):
    """A read-process-write application: a consumer of ``group`` on ``input_topic`` and a producer to ``output_topic`` in one process.
    ``configs`` are those of both; with a ``transactional.id`` it works exactly once, without at least once."""

    name: ClientName
    group: Annotated[str, msgspec.Meta(min_length=1, max_length=limits.MAX_CLIENT_NAME, pattern=r"^[a-zA-Z0-9._-]+\Z")]
    input_topic: Topic
    output_topic: Topic
    configs: ConfigMap = {}
    processing_ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] = 0


class AssignConsumer(Command, frozen=True, tag=True):
    name: ClientName
    topic: Topic
    partitions: Annotated[list[Partition], msgspec.Meta(max_length=limits.MAX_PARTITIONS_PER_TOPIC)]


class SeekConsumer(Command, frozen=True, tag=True):
    """``offset`` -1 is the end, -2 the beginning."""

    name: ClientName
    topic: Topic
    partition: Partition
    offset: Annotated[int, msgspec.Meta(ge=-2, le=2**62)]


class PauseConsumer(Command, frozen=True, tag=True):
    """``consumer.pause`` or, with ``paused`` false, ``resume``, of all its partitions."""

    name: ClientName
    paused: bool = True


class CloseClient(Command, frozen=True, tag=True):
    """A producer flushes and leaves; a consumer leaves."""

    name: ClientName


AnyCommand = (
    KillNode
    | StopNode
    | StartNode
    | PauseNode
    | ResumeNode
    | LosePower
    | CutNetwork
    | HealNetwork
    | DegradeNetwork
    | SlowDisk
    | FillDisk
    | FreeDisk
    | WipeDisk
    | CorruptDisk
    | CreateTopic
    | DeleteTopic
    | AddPartitions
    | DeleteRecords
    | AlterGroupOffsets
    | DeleteGroupOffsets
    | DeleteGroup
    | AlterConfig
    | ElectLeader
    | ReassignPartition
    | AlterQuota
    | AlterUser
    | CreateAcl
    | DeleteAcl
    | CreateProducer
    | Produce
    | StartWorkload
    | StopWorkload
    | BeginTransaction
    | CommitTransaction
    | AbortTransaction
    | AbortHangingTransaction
    | CreateConsumer
    | CreateShareConsumer
    | SetVerdicts
    | SetProcessing
    | CommitOffsets
    | CreateProcessor
    | AssignConsumer
    | SeekConsumer
    | PauseConsumer
    | CloseClient
)
COMMANDS: dict[str, type[Command]] = {c.__name__: c for c in get_args(AnyCommand)}

_DECODER = msgspec.json.Decoder(AnyCommand)
MAX_COMMAND_BYTES = 2 * limits.MAX_VALUE_BYTES


def parse(content: bytes | str | dict[str, Any]) -> Command:
    """JSON text or an already decoded object → a command. Raises EngineError that names the field and the limit."""
    try:
        if isinstance(content, dict):
            command: Command = msgspec.convert(content, AnyCommand)
        else:
            if len(content) > MAX_COMMAND_BYTES:
                raise EngineError(
                    f"The command has {len(content)} bytes; at most {MAX_COMMAND_BYTES} are accepted. Send it in smaller parts.",
                    field="$",
                )
            command = _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as wrong:
        raise _refusal(str(wrong)) from None
    for name in command.__struct_fields__:
        _check_text(name, getattr(command, name))
    return command


def to_json(command: Command) -> bytes:
    return msgspec.json.encode(command)


def _refusal(reason: str) -> EngineError:
    what, _, path = reason.partition(" - at `")
    field = path.rstrip("`").removeprefix("$.") if path else "$"
    if "Invalid value" in what and field == "$.type".removeprefix("$."):
        what = f"Unknown command; known are {', '.join(sorted(COMMANDS))}"
    return EngineError(f"{field}: {what}. Nothing was changed; correct this field and send it again.", field=field)


def _check_text(field: str, value: object) -> None:
    """Refuses what no topic, key or value may hold: a lone surrogate has no bytes, NUL has no place in a name."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise EngineError(
                f"{field}: holds a lone surrogate, which is not text in UTF-8. Remove it and send the command again.",
                field=field,
            ) from None
        if "\0" in value:
            raise EngineError(f"{field}: holds a NUL character, which is not accepted. Remove it.", field=field)
    elif isinstance(value, dict):
        if len(value) > limits.MAX_CONFIGS_PER_COMMAND:
            raise EngineError(
                f"{field}: has {len(value)} entries; at most {limits.MAX_CONFIGS_PER_COMMAND} are accepted.",
                field=field,
            )
        for key, item in value.items():
            _check_text(f"{field}.{key[:40]}", key)
            _check_text(f"{field}.{key[:40]}", item)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            _check_text(f"{field}[{position}]", item)
    elif isinstance(value, (GroupOffset, PartitionOfTopic)):
        _check_text(f"{field}.topic", value.topic)
    elif isinstance(value, Header):
        _check_text(f"{field}.name", value.name)
        _check_text(f"{field}.value", value.value)
