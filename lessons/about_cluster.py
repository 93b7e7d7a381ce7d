"""Goals about brokers, topics and partitions: who leads, who is in sync, what is configured."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from engine.commands import BrokerId, Topic
from engine.spec import broker_name
from lessons.condition import (
    Condition,
    Count,
    Counted,
    Finding,
    PartitionName,
    brokers_text,
    many,
    named,
    no_partition,
)
from lessons.errors import Problem
from lessons.scene import Scene

BrokerSet = Annotated[list[BrokerId], msgspec.Meta(max_length=9)]


@named("leader_is")
class LeaderIs(Condition, frozen=True):
    """``broker`` -1: nobody leads."""

    partition: PartitionName
    broker: Annotated[int, msgspec.Meta(ge=-1, le=9)]

    def look(self, scene: Scene) -> Finding:
        part = scene.partition(self.partition)
        if part is None:
            return Finding(False, no_partition(self.partition))
        who = f"is led by broker {part.leader}" if part.leader >= 0 else "has no leader"
        return Finding(part.leader == self.broker, f"{self.partition} {who}")


@named("leader")
class Leader(Counted, frozen=True):
    """The number of the leading broker, -1 for none."""

    partition: PartitionName

    def count(self, scene: Scene) -> int | None:
        part = scene.partition(self.partition)
        return part.leader if part is not None else None

    def say(self, number: int | None) -> str:
        if number is None:
            return no_partition(self.partition)
        return f"{self.partition} is led by broker {number}" if number >= 0 else f"{self.partition} has no leader"


@named("isr_is")
class IsrIs(Condition, frozen=True):
    """The committed ISR holds exactly these brokers, in any order."""

    partition: PartitionName
    brokers: BrokerSet

    def look(self, scene: Scene) -> Finding:
        part = scene.partition(self.partition)
        if part is None:
            return Finding(False, no_partition(self.partition))
        return Finding(sorted(part.isr) == sorted(self.brokers), f"the ISR of {self.partition} is {brokers_text(part.isr)}")


@named("isr_size")
class IsrSize(Counted, frozen=True):
    """How many members the committed ISR has."""

    partition: PartitionName

    def count(self, scene: Scene) -> int | None:
        part = scene.partition(self.partition)
        return len(part.isr) if part is not None else None

    def say(self, number: int | None) -> str:
        if number is None:
            return no_partition(self.partition)
        return f"the ISR of {self.partition} has {many(number, 'member')}"


@named("elr_is")
class ElrIs(Condition, frozen=True):
    """The eligible leader replicas, those that may lead although they are out of the ISR."""

    partition: PartitionName
    brokers: BrokerSet

    def look(self, scene: Scene) -> Finding:
        part = scene.partition(self.partition)
        if part is None:
            return Finding(False, no_partition(self.partition))
        return Finding(sorted(part.elr) == sorted(self.brokers), f"the ELR of {self.partition} is {brokers_text(part.elr)}")


@named("epoch")
class LeaderEpoch(Counted, frozen=True):
    """The leader epoch of a partition."""

    partition: PartitionName

    def count(self, scene: Scene) -> int | None:
        part = scene.partition(self.partition)
        return part.leader_epoch if part is not None else None

    def say(self, number: int | None) -> str:
        return no_partition(self.partition) if number is None else f"the leader epoch of {self.partition} is {number}"


@named("epoch_at_least")
class EpochAtLeast(Condition, frozen=True):
    """The leader epoch has come so far."""

    partition: PartitionName
    epoch: Count

    def look(self, scene: Scene) -> Finding:
        part = scene.partition(self.partition)
        if part is None:
            return Finding(False, no_partition(self.partition))
        return Finding(part.leader_epoch >= self.epoch, f"the leader epoch of {self.partition} is {part.leader_epoch}")


@named("broker_status")
class BrokerStatus(Condition, frozen=True):
    """How a broker's process is; ``fenced``: that the active controller does not let it lead."""

    broker: BrokerId
    status: Annotated[str, msgspec.Meta(pattern=r"^(up|paused|down|stopping)\Z")] | None = None
    fenced: bool | None = None

    def check(self) -> None:
        if self.status is None and self.fenced is None:
            raise Problem((), "broker_status says nothing about the broker.", "Add status or fenced.")

    def look(self, scene: Scene) -> Finding:
        node = scene.view.nodes.get(broker_name(self.broker))
        if node is None:
            return Finding(False, f"there is no broker {self.broker}")
        ok = self.status in (None, node.status) and self.fenced in (None, node.fenced)
        fence = "" if self.fenced is None else " and fenced" if node.fenced else " and not fenced"
        return Finding(ok, f"broker {self.broker} is {node.status}{fence}")


@named("topic_exists")
class TopicExists(Condition, frozen=True):
    """The topic is there, with so many partitions and replicas where they are named."""

    topic: Topic
    partitions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    replication_factor: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def look(self, scene: Scene) -> Finding:
        topic = scene.view.topics.get(self.topic)
        if topic is None:
            return Finding(False, f"there is no topic {self.topic}")
        partitions = len(topic.partitions)
        factor = min((len(part.replicas) for part in topic.partitions.values()), default=0)
        ok = self.partitions in (None, partitions) and self.replication_factor in (None, factor)
        return Finding(ok, f"topic {self.topic} has {many(partitions, 'partition')} and replication factor {factor}")


@named("config_is")
class ConfigIs(Condition, frozen=True):
    """A configuration that was set on a topic (``value`` None: not set), or a client's effective one."""

    name: str
    value: str | None
    topic: str = ""
    producer: str = ""
    consumer: str = ""

    @classmethod
    def prepare(cls, value: dict[str, Any]) -> dict[str, Any]:
        """A number or a truth value is meant as its text."""
        given = value.get("value")
        if isinstance(given, bool):
            return {**value, "value": str(given).lower()}
        return {**value, "value": str(given)} if isinstance(given, (int, float)) else value

    def check(self) -> None:
        if sum(map(bool, (self.topic, self.producer, self.consumer))) != 1:
            raise Problem((), "config_is must say whose configuration.", "Name one of topic, producer, consumer.")

    def look(self, scene: Scene) -> Finding:
        view = scene.view
        whose = self.topic or self.producer or self.consumer
        found: dict[str, str] | None = None
        if self.topic and self.topic in view.topics:
            found = view.topics[self.topic].configs
        elif self.producer and self.producer in view.producers:
            found = view.producers[self.producer].configs
        elif self.consumer and self.consumer in view.consumers:
            found = view.consumers[self.consumer].configs
        if found is None:
            return Finding(False, f"there is no {whose} yet")
        now = found.get(self.name)
        return Finding(now == self.value, f"{self.name} of {whose} is {now if now is not None else 'not set'}")


@named("offline_partitions")
class OfflinePartitions(Counted, frozen=True):
    """Partitions without a leader."""

    topic: str = ""

    def count(self, scene: Scene) -> int | None:
        topics = scene.view.topics.values()
        return sum(p.leader < 0 for t in topics if self.topic in ("", t.name) for p in t.partitions.values())

    def say(self, number: int | None) -> str:
        return f"{many(number, 'partition is', 'partitions are')} offline"


@named("under_replicated")
class UnderReplicated(Counted, frozen=True):
    """Partitions with fewer replicas in sync than they should have."""

    topic: str = ""

    def count(self, scene: Scene) -> int | None:
        topics = scene.view.topics.values()
        return sum(
            len(p.isr) < len(p.replicas) - len(p.adding)
            for t in topics
            if self.topic in ("", t.name)
            for p in t.partitions.values()
        )

    def say(self, number: int | None) -> str:
        return f"{many(number, 'partition is', 'partitions are')} under-replicated"


@named("replicas_led")
class ReplicasLed(Counted, frozen=True):
    """How many partitions one broker leads."""

    broker: BrokerId

    def count(self, scene: Scene) -> int | None:
        return sum(p.leader == self.broker for t in scene.view.topics.values() for p in t.partitions.values())

    def say(self, number: int | None) -> str:
        return f"broker {self.broker} leads {many(number, 'partition')}"


@named("replicas")
class Replicas(Counted, frozen=True):
    """Replicas of a topic over all brokers: partitions times replication factor, unless somebody reassigned."""

    topic: Topic

    def count(self, scene: Scene) -> int | None:
        topic = scene.view.topics.get(self.topic)
        return sum(len(part.replicas) for part in topic.partitions.values()) if topic is not None else None

    def say(self, number: int | None) -> str:
        return f"there is no topic {self.topic}" if number is None else f"topic {self.topic} has {many(number, 'replica')}"
