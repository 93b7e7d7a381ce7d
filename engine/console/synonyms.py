"""Where a setting's value comes from, as ``DescribeConfigs`` lists it (``ConfigHelper``), and the order of Java's hash tables, in which
the tools print what they keep in maps.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.coordination.java_hash import java_hash
from engine.lab import Lab
from engine.messages.base import TopicPartition
from engine.metadata.configs import BROKER_CONFIGS, COARSER_SYNONYMS, NULL_BY_DEFAULT, TOPIC_CONFIGS
from engine.metadata.group_configs import GROUP_CONFIGS
from engine.metadata.image import MetadataImage
from engine.view.build import committed_image

Synonyms = list[tuple[str, str, str]]
"""(source, name, value), the one in force first."""


def static_configs(lab: Lab, broker: str = "") -> dict[str, str]:
    """``server.properties``: what the lab's brokers share, and what makes one itself."""
    found = dict(lab.spec.broker_configs)
    if broker:
        found.update({"broker.id": broker, "node.id": broker, "process.roles": "broker"})
        registered = committed_image(lab.kernel).brokers.get(int(broker))
        if registered is not None and registered.rack:
            found["broker.rack"] = registered.rack
    return found


def of_broker(image: MetadataImage, static: dict[str, str], name: str, broker: str = "") -> Synonyms:
    """Nearest first. What is said in other units only counts here behind the setting's own name, as in Kafka."""
    names = [name, *(coarser for coarser, _ in COARSER_SYNONYMS.get(name, ()))]
    defaults = {each: BROKER_CONFIGS[each].default for each in names if each in BROKER_CONFIGS and each not in NULL_BY_DEFAULT}
    found = [
        (source, each, values[each])
        for source, values in (
            ("DYNAMIC_BROKER_CONFIG", image.configs.get(f"broker:{broker}", {}) if broker else {}),
            ("DYNAMIC_DEFAULT_BROKER_CONFIG", image.configs.get("broker:", {})),
            ("STATIC_BROKER_CONFIG", static),
            ("DEFAULT_CONFIG", defaults),
        )
        for each in names
        if each in values
    ]
    while found and found[0][1] != name:
        del found[0]
    return found


def of_topic(image: MetadataImage, static: dict[str, str], topic: str, name: str) -> Synonyms:
    own = image.configs.get(f"topic:{topic}", {})
    found = [("DYNAMIC_TOPIC_CONFIG", name, own[name])] if name in own else []
    definition = TOPIC_CONFIGS.get(name)
    if definition is not None and definition.synonym:
        found += of_broker(image, static, definition.synonym)
    return found


def of_group(image: MetadataImage, static: dict[str, str], group: str, name: str) -> Synonyms:
    own = image.configs.get(f"group:{group}", {})
    found = [("DYNAMIC_GROUP_CONFIG", name, own[name])] if name in own else []
    definition = GROUP_CONFIGS.get(name)
    if definition is not None:
        found += (
            of_broker(image, static, definition.synonym) if definition.synonym else [("DEFAULT_CONFIG", name, definition.default)]
        )
    return found


def overrides(lab: Lab, topic: str) -> dict[str, str]:
    """What ``kafka-topics.sh --describe`` shows under "Configs": every value that is no default, whoever set it."""
    image, static = committed_image(lab.kernel), lab.spec.broker_configs
    found = {}
    for name in TOPIC_CONFIGS:
        synonyms = of_topic(image, static, topic, name)
        if synonyms and synonyms[0][0] != "DEFAULT_CONFIG":
            found[name] = synonyms[0][2]
    return {name: found[name] for name in hash_order(found, len(TOPIC_CONFIGS) * 4 // 3 + 1)}


def hash_order(names: Iterable[str], capacity: int) -> list[str]:
    """The order in which a ``java.util.HashMap`` that was made for ``capacity`` entries lists its keys."""
    listed = list(names)
    size = 1
    while size < capacity or len(listed) > size * 3 // 4:
        size *= 2
    return sorted(listed, key=lambda name: _spread(name) & (size - 1))


def _spread(text: str) -> int:
    """``String.hashCode``, its upper half mixed into the lower."""
    code = 0
    for character in text:
        code = (31 * code + ord(character)) & 0xFFFFFFFF
    return code ^ code >> 16


def partition_order(partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
    """The order in which a ``HashMap`` that grew by itself lists partitions (``TopicPartition.hashCode``)."""
    listed = list(partitions)
    size = 16
    while len(listed) > size * 3 // 4:
        size *= 2
    return sorted(listed, key=lambda partition: _partition_spread(partition) & (size - 1))


def _partition_spread(partition: TopicPartition) -> int:
    code = (31 * (31 + partition.partition) + java_hash(partition.topic)) & 0xFFFFFFFF
    return code ^ code >> 16
