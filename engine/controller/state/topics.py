"""Topics are created, deleted and grown (``ReplicationControlManager.createTopics`` and its neighbours)."""

from __future__ import annotations

from base64 import urlsafe_b64encode

from engine import limits
from engine.controller.state.configs import validate_topic_configs
from engine.controller.state.decision import Decision, RefusedError
from engine.controller.state.placement import Racks
from engine.events import PartitionsAdded, TopicCreated, TopicDeleted
from engine.messages.admin import CreatableTopic, CreatePartitionsRequest
from engine.metadata.configs import parse_boolean, static_value
from engine.metadata.image import TopicImage
from engine.metadata.internal_topics import INTERNAL_TOPICS
from engine.metadata.records import Config, Partition, RemoveTopic, Topic
from engine.sim.rng import Stream

LEGAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def new_topic_id(stream: Stream) -> str:
    """A version 4 UUID in URL-safe base64, as Kafka prints it; one that begins with "-" would look like an option and is drawn again."""
    while True:
        raw = bytearray(stream.bits().to_bytes(8, "big") + stream.bits().to_bytes(8, "big"))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        text = urlsafe_b64encode(raw).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def create(decision: Decision, topic: CreatableTopic, validate_only: bool = False) -> None:
    """Raises RefusedError: INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR,
    INVALID_REPLICA_ASSIGNMENT, INVALID_REQUEST, INVALID_CONFIG, POLICY_VIOLATION."""
    check_name(decision, topic.name)
    configs = dict(topic.configs)
    validate_topic_configs(configs)
    assignments = _manual(decision, topic) if topic.assignments else _placed(decision, topic)
    partitions = [_partition(decision, number, replicas) for number, replicas in enumerate(assignments)]
    if validate_only:
        return
    topic_id = new_topic_id(decision.out.stream("topic-id"))
    decision.write(Topic(topic.name, topic_id))
    decision.headlines.append(TopicCreated(topic.name, len(partitions), len(assignments[0])))
    for name, value in configs.items():
        decision.write(Config("topic", topic.name, name, value))
    for number, (replicas, isr) in enumerate(partitions):
        decision.write(Partition(topic_id, number, replicas, isr, isr[0]))


def check_name(decision: Decision, name: str) -> None:
    """``Topic.validate``; and names that differ in "." and "_" only would share one metric's name."""
    if not name:
        why = "the empty string is not allowed"
    elif name in (".", ".."):
        why = f"'{name}' is not allowed"
    elif len(name) > limits.MAX_TOPIC_NAME:
        why = f"the length of '{name}' is longer than the max allowed length {limits.MAX_TOPIC_NAME}"
    elif not LEGAL.issuperset(name):
        why = f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    else:
        if name in decision.image.topics:
            raise RefusedError("TOPIC_ALREADY_EXISTS", f"Topic '{name}' already exists.")
        for other in decision.image.topics:
            if other.replace(".", "_") == name.replace(".", "_"):
                raise RefusedError("INVALID_TOPIC_EXCEPTION", f"Topic '{name}' collides with existing topic: {other}")
        return
    raise RefusedError("INVALID_TOPIC_EXCEPTION", f"Topic name is invalid: {why}")


def _check_counts(decision: Decision, partitions: int, of_topic: int, internal: bool = False) -> None:
    """The lab's bounds. Kafka's own topics do not count: without them there would be no groups and no transactions."""
    held = sum(len(topic.partitions) for name, topic in decision.image.topics.items() if name not in INTERNAL_TOPICS)
    if of_topic > limits.MAX_PARTITIONS_PER_TOPIC:
        raise RefusedError("POLICY_VIOLATION", f"At most {limits.MAX_PARTITIONS_PER_TOPIC} partitions per topic are allowed here.")
    if held + partitions > limits.MAX_PARTITIONS and not internal:
        raise RefusedError("POLICY_VIOLATION", f"At most {limits.MAX_PARTITIONS} partitions in all are allowed here; {held} exist.")


def _manual(decision: Decision, topic: CreatableTopic) -> list[tuple[int, ...]]:
    if topic.replication_factor != -1:
        raise RefusedError(
            "INVALID_REQUEST", "A manual partition assignment was specified, but replication factor was not set to -1."
        )
    if topic.num_partitions != -1:
        raise RefusedError("INVALID_REQUEST", "A manual partition assignment was specified, but numPartitions was not set to -1.")
    _check_counts(decision, len(topic.assignments), len(topic.assignments), topic.name in INTERNAL_TOPICS)
    size = None
    for replicas in topic.assignments:
        check_assignment(decision, replicas, size)
        size = len(replicas)
    return list(topic.assignments)


def check_assignment(decision: Decision, replicas: tuple[int, ...], replication_factor: int | None = None) -> None:
    """``validateManualPartitionAssignment``. Raises RefusedError(INVALID_REPLICA_ASSIGNMENT)."""
    why = ""
    if not replicas:
        why = "The manual partition assignment includes an empty replica list."
    for position, broker in enumerate(replicas):
        if broker not in decision.image.brokers:
            why = f"The manual partition assignment includes broker {broker}, but no such broker is registered."
        elif broker in replicas[:position]:
            why = f"The manual partition assignment includes the broker {broker} more than once."
        if why:
            break
    if not why and replication_factor is not None and len(replicas) != replication_factor:
        why = (
            f"The manual partition assignment includes a partition with {len(replicas)} replica(s), but this is not consistent with "
            f"previous partitions, which have {replication_factor} replica(s)."
        )
    if why:
        raise RefusedError("INVALID_REPLICA_ASSIGNMENT", why)


def _placed(decision: Decision, topic: CreatableTopic) -> list[tuple[int, ...]]:
    if topic.replication_factor < -1 or topic.replication_factor == 0:
        raise RefusedError(
            "INVALID_REPLICATION_FACTOR", "Replication factor must be larger than 0, or -1 to use the default value."
        )
    if topic.num_partitions < -1 or topic.num_partitions == 0:
        raise RefusedError("INVALID_PARTITIONS", "Number of partitions was set to an invalid non-positive value.")
    count = topic.num_partitions if topic.num_partitions > 0 else int(static_value(decision.configs, "num.partitions"))
    factor = topic.replication_factor
    if factor < 0:
        factor = int(static_value(decision.configs, "default.replication.factor"))
    _check_counts(decision, count, count, topic.name in INTERNAL_TOPICS)
    return _place(decision, count, factor)


def _place(decision: Decision, count: int, factor: int, existing: tuple[tuple[int, ...], ...] = ()) -> list[tuple[int, ...]]:
    usable = [broker for broker in decision.image.brokers.values() if not broker.in_controlled_shutdown]
    try:
        racks = Racks(usable, decision.out.stream("placement"), existing)
        return [racks.place(factor) for _ in range(count)]
    except RefusedError as refused:
        raise RefusedError(refused.error, f"Unable to replicate the partition {factor} time(s): {refused.message}") from None


def _partition(decision: Decision, number: int, replicas: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(replicas, initial ISR): only brokers that live begin in sync; the first of them leads."""
    isr = tuple(broker for broker in replicas if decision.image.active(broker))
    if not isr:
        raise RefusedError(
            "INVALID_REPLICA_ASSIGNMENT",
            f"All brokers specified in the manual partition assignment for partition {number} are fenced or in controlled shutdown.",
        )
    return replicas, isr


def find(decision: Decision, name: str) -> TopicImage:
    """Raises RefusedError(UNKNOWN_TOPIC_OR_PARTITION)."""
    topic = decision.image.topics.get(name)
    if topic is None:
        raise RefusedError("UNKNOWN_TOPIC_OR_PARTITION", "This server does not host this topic-partition.")
    return topic


def delete(decision: Decision, name: str) -> None:
    """Raises RefusedError: TOPIC_DELETION_DISABLED (``ControllerApis.deleteTopics``), UNKNOWN_TOPIC_OR_PARTITION."""
    if not parse_boolean(static_value(decision.configs, "delete.topic.enable")):
        raise RefusedError("TOPIC_DELETION_DISABLED", "Topic deletion is disabled.")
    decision.write(RemoveTopic(find(decision, name).topic_id))
    decision.headlines.append(TopicDeleted(name))


def add_partitions(decision: Decision, request: CreatePartitionsRequest) -> None:
    """Existing records stay where they are; keys may map elsewhere from now on. Raises RefusedError."""
    topic = find(decision, request.name)
    old = len(topic.partitions)
    if request.count == old:
        raise RefusedError("INVALID_PARTITIONS", f"Topic already has {old} partition(s).")
    if request.count < old:
        raise RefusedError(
            "INVALID_PARTITIONS",
            f"The topic {request.name} currently has {old} partition(s); {request.count} would not be an increase.",
        )
    added = request.count - old
    _check_counts(decision, added, request.count)
    factor = len(topic.partitions[0].replicas)
    if request.assignments:
        if len(request.assignments) != added:
            raise RefusedError(
                "INVALID_REPLICA_ASSIGNMENT",
                f"Attempted to add {added} additional partition(s), but only {len(request.assignments)} assignment(s) were specified.",
            )
        for replicas in request.assignments:
            check_assignment(decision, replicas, factor)
        assignments = list(request.assignments)
    else:
        existing = tuple(topic.partitions[number].replicas for number in sorted(topic.partitions))
        assignments = _place(decision, added, factor, existing)
    partitions = [_partition(decision, old + index, replicas) for index, replicas in enumerate(assignments)]
    for index, (replicas, isr) in enumerate(partitions):
        decision.write(Partition(topic.topic_id, old + index, replicas, isr, isr[0]))
    decision.headlines.append(PartitionsAdded(request.name, old, request.count))
