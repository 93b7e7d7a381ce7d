"""Metadata (API key 3): brokers, topics, who leads what.

Versions: v1 brought the controller's ID and racks, v4 automatic topic creation on request, v5 offline replicas, v7 leader epochs,
v10 topic IDs. Every broker answers from its own image, which may be a little behind the controller's. In KRaft ``controller_id`` is
any live broker, since brokers forward to the controller (KIP-590). Sources: ``KRaftMetadataCache``, ``AutoTopicCreationManager``.
"""

from __future__ import annotations

from engine import limits
from engine.broker import controller_channel
from engine.broker.settings import REQUEST_TIMEOUT_US
from engine.broker.state import Broker
from engine.messages.admin import (
    CreatableTopic,
    CreateTopicsRequest,
    MetadataBroker,
    MetadataPartition,
    MetadataRequest,
    MetadataResponse,
    MetadataTopic,
)  # fmt: skip
from engine.messages.cluster import EnvelopeRequest
from engine.metadata.image import PartitionImage, TopicImage
from engine.metadata.internal_topics import INTERNAL_TOPICS, creatable
from engine.sim.outbox import Outbox

AUTO_CREATION = "auto topic creation"
_LEGAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def handle(broker: Broker, source: str, request: MetadataRequest, out: Outbox) -> None:
    image = broker.image
    alive = {broker_id: known for broker_id, known in image.brokers.items() if not known.fenced}
    brokers = tuple([MetadataBroker(broker_id, known.rack) for broker_id, known in sorted(alive.items())])
    names = sorted(image.topics) if request.topics is None else dict.fromkeys(request.topics)
    topics: list[MetadataTopic] = []
    for name in names:
        topic = image.topics.get(name)
        if topic is None:
            topics.append(_unknown(broker, name, request.allow_auto_topic_creation, out))
        else:
            topics.append(_known(broker, topic))
    controller = brokers[out.stream("controller id").below(len(brokers))].broker_id if brokers else -1
    out.send(source, MetadataResponse(request.correlation_id, brokers, controller, tuple(topics), broker.cluster_id))


def _known(broker: Broker, topic: TopicImage) -> MetadataTopic:
    partitions = tuple([_partition(broker, number, topic.partitions[number]) for number in sorted(topic.partitions)])
    return MetadataTopic("NONE", topic.name, topic.topic_id, topic.name in INTERNAL_TOPICS, partitions)


def _partition(broker: Broker, number: int, partition: PartitionImage) -> MetadataPartition:
    """A leader that is not alive counts as none."""
    brokers = broker.image.brokers
    offline = tuple([replica for replica in partition.replicas if replica not in brokers or brokers[replica].fenced])
    leader = partition.leader
    if leader not in brokers or brokers[leader].fenced:
        leader = -1
    return MetadataPartition(
        "NONE" if leader >= 0 else "LEADER_NOT_AVAILABLE", number, leader, partition.leader_epoch, partition.replicas,
        partition.isr, offline, partition.elr, partition.last_known_elr,
    )  # fmt: skip


def _unknown(broker: Broker, name: str, allow_creation: bool, out: Outbox) -> MetadataTopic:
    """Where it is allowed, asking for a topic creates it; this answer still says that there is none."""
    if not _is_legal(name):
        return MetadataTopic("INVALID_TOPIC_EXCEPTION", name)
    if allow_creation and broker.settings.auto_create_topics:
        create_topic(broker, name, out)
    return MetadataTopic("UNKNOWN_TOPIC_OR_PARTITION", name)


def create_topic(broker: Broker, name: str, out: Outbox) -> None:
    """Asks the controller for a topic, unless that is under way (``AutoTopicCreationManager``). Nobody waits for the answer."""
    if name in broker.creating_topics:
        return
    broker.creating_topics.append(name)
    number = broker.correlation()
    topic = creatable(name, broker.configs) if name in INTERNAL_TOPICS else CreatableTopic(name)
    create = CreateTopicsRequest(number, (topic,))
    controller_channel.call(
        broker, EnvelopeRequest(number, "User:ANONYMOUS", create), controller_channel.FORWARD, out,
        within_us=REQUEST_TIMEOUT_US, client=AUTO_CREATION,
    )  # fmt: skip


def _is_legal(name: str) -> bool:
    return 0 < len(name) <= limits.MAX_TOPIC_NAME and name not in (".", "..") and _LEGAL.issuperset(name)
