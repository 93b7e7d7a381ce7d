"""What kafka-reassign-partitions.sh reads, writes and proposes: the JSON of assignments, and ``AdminUtils.assignReplicasToBrokers``."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from engine.console.files import read_json
from engine.console.options import UsageError
from engine.lab import Lab
from engine.messages.base import TopicPartition
from engine.view.build import committed_image

OPERATION = "org.apache.kafka.server.common.AdminOperationException"
FAILED = "org.apache.kafka.server.common.AdminCommandFailedException"
MAPPING = "com.fasterxml.jackson.databind.JsonMappingException"
Assignment = dict[TopicPartition, list[int]]
MAX_ITEMS = 1_000


def wrong(text: str, java_class: str = FAILED) -> UsageError:
    """The tool's way of giving up; Java's stack is left out."""
    return UsageError(f"Error: {text}", f"{java_class}: {text}")


def as_json(assignment: Assignment) -> str:
    """``formatAsReassignmentJson``."""
    partitions = [
        {"topic": tp.topic, "partition": tp.partition, "replicas": assignment[tp], "log_dirs": ["any"] * len(assignment[tp])}
        for tp in sorted(assignment)
    ]
    return json.dumps({"version": 1, "partitions": partitions}, separators=(",", ":"))


def _object(text: str) -> dict[str, Any]:
    content = read_json(text)
    if content is None:
        raise wrong("The input string is not a valid JSON", OPERATION)
    if content.get("version", 1) != 1:
        raise wrong(f"Not supported version field value {content['version']}"[:120], OPERATION)
    return content


def read_topics(text: str) -> list[str]:
    """``{"topics": [{"topic": "orders"}]}``."""
    items = _object(text).get("topics", [])
    names = [item.get("topic") if isinstance(item, dict) else None for item in items] if isinstance(items, list) else [None]
    if not all(isinstance(name, str) for name in names):
        raise wrong("No such field exists: `topic`", MAPPING)
    twice = [name for position, name in enumerate(names) if name in names[:position]]
    if twice:
        raise wrong(f"List of topics to reassign contains duplicate entries: [{', '.join(dict.fromkeys(map(str, twice)))}]")
    return [str(name) for name in names]


def read_assignment(text: str) -> list[tuple[TopicPartition, list[int]]]:
    """``{"partitions": [{"topic": …, "partition": …, "replicas": […]}]}``, duplicates and all."""
    items = _object(text).get("partitions", [])
    if not isinstance(items, list) or len(items) > MAX_ITEMS:
        raise wrong("Expected JSON array", MAPPING)
    return [_item(item) for item in items]


def _item(item: Any) -> tuple[TopicPartition, list[int]]:
    if not isinstance(item, dict):
        raise wrong(f"Expected JSON object, received {item}"[:160], MAPPING)
    for name in ("topic", "partition", "replicas"):
        if name not in item:
            raise wrong(f"No such field exists: `{name}`", MAPPING)
    topic, partition, replicas = item["topic"], item["partition"], item["replicas"]
    if not isinstance(topic, str) or type(partition) is not int or not isinstance(replicas, list):
        raise wrong("Expected `String`, `Integer` and a list of `Integer`", MAPPING)
    if not all(type(broker) is int for broker in replicas):
        raise wrong("Expected `Integer` value in replicas", MAPPING)
    directories = item.get("log_dirs")
    found = TopicPartition(topic, partition)
    if isinstance(directories, list) and len(directories) != len(replicas):
        raise wrong(
            f"Size of replicas list {replicas} is different from size of log dirs list [{', '.join(map(str, directories))}] "
            f"for partition {found}"
        )
    if isinstance(directories, list) and any(name != "any" for name in directories):
        raise wrong("log_dirs: the brokers of this lab have one log directory each; leave it out, or say any")
    return found, replicas


def check_assignment(items: list[tuple[TopicPartition, list[int]]]) -> Assignment:
    """``parseExecuteAssignmentArgs``. Raises UsageError."""
    if not items:
        raise wrong("Partition reassignment list cannot be empty")
    if any(not replicas for _, replicas in items):
        raise wrong("Partition replica list cannot be empty")
    keys = [tp for tp, _ in items]
    twice = dict.fromkeys([str(tp) for position, tp in enumerate(keys) if tp in keys[:position]])
    if twice:
        raise wrong(f"Partition reassignment contains duplicate topic partitions: {','.join(twice)}")
    many = [(tp, dict.fromkeys([str(one) for one in replicas if replicas.count(one) > 1])) for tp, replicas in items]
    spelt = [f"{tp} contains multiple entries for {','.join(some)}" for tp, some in many if some]
    if spelt:
        raise wrong(f"Partition replica lists may not contain duplicate entries: {'. '.join(spelt)}")
    return dict(items)


def current_assignment(lab: Lab, partitions: list[TopicPartition]) -> Assignment:
    """Raises UsageError where one of them does not exist."""
    topics = committed_image(lab.kernel).topics
    unknown = next((tp.topic for tp in partitions if tp.topic not in topics), None)
    error = "org.apache.kafka.common.errors.UnknownTopicOrPartitionException"
    if unknown is not None:
        raise wrong(f"{error}: Topic {unknown[:80]} not found.", "java.util.concurrent.ExecutionException")
    missing = [str(tp) for tp in partitions if tp.partition not in topics[tp.topic].partitions]
    if missing:
        raise wrong(f"{error}: Unable to find partition: {', '.join(missing)}", "java.util.concurrent.ExecutionException")
    return {tp: list(topics[tp.topic].partitions[tp.partition].replicas) for tp in partitions}


# -- proposals ------------------------------------------------------------------------------------------------------------


def propose(lab: Lab, topics: list[str], brokers: list[int], *, racks: bool) -> tuple[Assignment, Assignment]:
    """(current, proposed). Where the first replica goes is drawn, as in Kafka: here from the lab's seed and the moment."""
    image = committed_image(lab.kernel)
    every = [
        TopicPartition(name, number)
        for name in topics
        for number in (image.topics[name].partitions if name in image.topics else (0,))
    ]
    current = current_assignment(lab, every)
    known = {number: broker.rack for number, broker in sorted(image.brokers.items()) if number in brokers and not broker.fenced}
    rackless = [number for number, rack in known.items() if not rack]
    if racks and rackless and len(rackless) < len(known):
        raise wrong(
            "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment without rack "
            "information.",
            OPERATION,
        )
    proposed: Assignment = {}
    for name in topics:
        count = len(image.topics[name].partitions)
        factor = len(current[TopicPartition(name, 0)])
        if factor > len(known):
            raise wrong(
                f"Replication factor: {factor} larger than available brokers: {len(known)}.",
                "org.apache.kafka.common.errors.InvalidReplicationFactorException",
            )
        draw = int.from_bytes(sha256(f"{lab.kernel.seed}/{lab.now_us}/{name}".encode()).digest()[:8], "big")
        start, shift = draw % len(known), draw // len(known) % len(known)
        lists = (
            _spread(known, count, factor, start, shift)
            if racks and not rackless
            else _striped(list(known), count, factor, start, shift)
        )
        proposed.update({TopicPartition(name, number): replicas for number, replicas in enumerate(lists)})
    return current, proposed


def _index(first: int, shift: int, replica: int, count: int) -> int:
    return (first + 1 + (shift + replica) % (count - 1)) % count


def _striped(brokers: list[int], partitions: int, factor: int, start: int, shift: int) -> list[list[int]]:
    """``assignReplicasToBrokersRackUnaware``."""
    found = []
    count = len(brokers)
    for partition in range(partitions):
        shift += partition > 0 and partition % count == 0
        first = (partition + start) % count
        found.append([brokers[first], *[brokers[_index(first, shift, replica, count)] for replica in range(factor - 1)]])
    return found


def _spread(racks: dict[int, str], partitions: int, factor: int, start: int, shift: int) -> list[list[int]]:
    """``assignReplicasToBrokersRackAware``: as many racks as possible."""
    brokers = _alternating(racks)
    count, rack_count = len(brokers), len(set(racks.values()))
    found = []
    for partition in range(partitions):
        shift += partition > 0 and partition % count == 0
        first = (partition + start) % count
        replicas = [brokers[first]]
        step = 0
        while len(replicas) < factor:
            broker = brokers[_index(first, shift * rack_count, step, count)]
            taken = {racks[replica] for replica in replicas}
            if broker not in replicas and (racks[broker] not in taken or len(taken) == rack_count):
                replicas.append(broker)
            step += 1
        found.append(replicas)
    return found


def _alternating(racks: dict[int, str]) -> list[int]:
    """``getRackAlternatedBrokerList``."""
    by_rack = {rack: sorted(broker for broker, known in racks.items() if known == rack) for rack in sorted(set(racks.values()))}
    found: list[int] = []
    while any(by_rack.values()):
        found += [brokers.pop(0) for brokers in by_rack.values() if brokers]
    return found
