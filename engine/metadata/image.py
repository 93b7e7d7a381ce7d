"""The metadata image: what the committed records add up to on this node (Kafka's ``MetadataImage`` and ``MetadataDelta`` in one).

Brokers and controllers replay the same records into it; two nodes at one offset hold equal images. Registrations and partitions are
frozen values that copies share, so that a checkpoint of the image costs a few dictionary copies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine.messages.base import TopicPartition
from engine.messages.security import AclBinding, QuotaEntity
from engine.metadata.configs import TOPIC_CONFIGS
from engine.metadata.records import (
    NO_LEADER,
    NO_LEADER_CHANGE,
    AccessControlEntry,
    BrokerRegistrationChange,
    ClientQuota,
    Config,
    FeatureLevel,
    MetadataRecord,
    Partition,
    PartitionChange,
    ProducerIds,
    RegisterBroker,
    RemoveAccessControlEntry,
    RemoveTopic,
    RemoveUserScramCredential,
    Topic,
    UnregisterBroker,
    UserScramCredential,
)  # fmt: skip
from engine.metadata.scram import ScramCredential

_replace = msgspec.structs.replace


class BrokerRegistration(msgspec.Struct, frozen=True, gc=False):
    """``registration_offset`` is where the registration's record lies; a broker that has replayed past it may be unfenced."""

    broker_id: int
    broker_epoch: int
    incarnation_id: str
    rack: str
    fenced: bool
    in_controlled_shutdown: bool
    registration_offset: int = -1


class PartitionImage(msgspec.Struct, frozen=True, gc=False):
    """Kafka's ``PartitionRegistration``. ``replicas[0]`` is the preferred leader; ``leader`` -1 is nobody."""

    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int = 0
    partition_epoch: int = 0
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()
    elr: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()

    @property
    def reassigning(self) -> bool:
        return bool(self.adding or self.removing)

    def merge(self, change: PartitionChange) -> PartitionImage:
        """The partition after ``change`` (Kafka's ``PartitionRegistration.merge``): each change bumps the partition epoch, and one
        that names a leader bumps the leader epoch."""
        new_leader = change.leader != NO_LEADER_CHANGE
        return PartitionImage(
            replicas=self.replicas if change.replicas is None else change.replicas,
            isr=self.isr if change.isr is None else change.isr,
            leader=change.leader if new_leader else self.leader,
            leader_epoch=self.leader_epoch + 1 if new_leader else self.leader_epoch,
            partition_epoch=self.partition_epoch + 1,
            adding=self.adding if change.adding is None else change.adding,
            removing=self.removing if change.removing is None else change.removing,
            elr=self.elr if change.elr is None else change.elr,
            last_known_elr=self.last_known_elr if change.last_known_elr is None else change.last_known_elr,
        )


@dataclass(slots=True)
class TopicImage:
    name: str
    topic_id: str
    partitions: dict[int, PartitionImage] = field(default_factory=dict)


@dataclass(slots=True)
class MetadataImage:
    """``offset`` and ``epoch`` are those of the last record applied (-1 before any). ``configs`` is keyed "topic:orders", "broker:1"
    and "broker:" (all brokers). ``scram`` is keyed (user, mechanism), ``acls`` by their IDs."""

    offset: int = -1
    epoch: int = -1
    brokers: dict[int, BrokerRegistration] = field(default_factory=dict)
    topics: dict[str, TopicImage] = field(default_factory=dict)
    topic_names: dict[str, str] = field(default_factory=dict)
    configs: dict[str, dict[str, str]] = field(default_factory=dict)
    features: dict[str, int] = field(default_factory=dict)
    next_producer_id: int = 0
    quotas: dict[QuotaEntity, dict[str, float]] = field(default_factory=dict)
    acls: dict[str, AclBinding] = field(default_factory=dict)
    scram: dict[tuple[str, str], ScramCredential] = field(default_factory=dict)

    def partition(self, topic_partition: TopicPartition) -> PartitionImage | None:
        topic = self.topics.get(topic_partition.topic)
        return topic.partitions.get(topic_partition.partition) if topic is not None else None

    def active(self, broker_id: int) -> bool:
        """Registered, not fenced, not shutting down: fit to lead and to join an ISR."""
        broker = self.brokers.get(broker_id)
        return broker is not None and not broker.fenced and not broker.in_controlled_shutdown

    def broker_config(self, name: str, broker_id: int | None = None) -> str | None:
        """The dynamic setting of one broker, or else of all brokers; None where neither is set."""
        if broker_id is not None:
            value = self.configs.get(f"broker:{broker_id}", {}).get(name)
            if value is not None:
                return value
        return self.configs.get("broker:", {}).get(name)

    def effective_topic_config(self, topic: str, static: dict[str, str] | None = None) -> dict[str, str]:
        """Every topic setting by Kafka's order: the topic's own, the cluster-wide broker setting, ``static`` broker properties, the
        default."""
        own = self.configs.get(f"topic:{topic}", {})
        dynamic = self.configs.get("broker:", {})
        configured = static or {}
        effective: dict[str, str] = {}
        for name, definition in TOPIC_CONFIGS.items():
            value = own.get(name)
            if value is None and definition.synonym:
                value = dynamic.get(definition.synonym)
                if value is None:
                    value = configured.get(definition.synonym)
            effective[name] = definition.default if value is None else value
        return effective

    def topic_config(self, topic: str, name: str, static: dict[str, str] | None = None) -> str:
        """One entry of ``effective_topic_config`` without building the whole map."""
        value = self.configs.get(f"topic:{topic}", {}).get(name)
        if value is not None:
            return value
        definition = TOPIC_CONFIGS[name]
        if definition.synonym:
            value = self.configs.get("broker:", {}).get(definition.synonym)
            if value is None and static:
                value = static.get(definition.synonym)
        return definition.default if value is None else value

    def apply(self, record: MetadataRecord, offset: int, epoch: int) -> None:
        """Replays one record that lies at ``offset``."""
        self.offset = offset
        self.epoch = epoch
        replay = _REPLAY.get(type(record))
        if replay is not None:
            replay(self, record)

    def copy(self) -> MetadataImage:
        """A twin that shares only frozen values."""
        return MetadataImage(
            self.offset,
            self.epoch,
            dict(self.brokers),
            {name: TopicImage(topic.name, topic.topic_id, dict(topic.partitions)) for name, topic in self.topics.items()},
            dict(self.topic_names),
            {key: dict(values) for key, values in self.configs.items()},
            dict(self.features),
            self.next_producer_id,
            {who: dict(values) for who, values in self.quotas.items()},
            dict(self.acls),
            dict(self.scram),
        )

    def _register(self, record: RegisterBroker) -> None:
        self.brokers[record.broker_id] = BrokerRegistration(
            record.broker_id, record.broker_epoch, record.incarnation_id, record.rack, record.fenced, record.in_controlled_shutdown,
            self.offset,
        )  # fmt: skip

    def _change_registration(self, record: BrokerRegistrationChange) -> None:
        broker = self.brokers[record.broker_id]
        assert broker.broker_epoch == record.broker_epoch, f"change for epoch {record.broker_epoch} of {broker}"
        self.brokers[record.broker_id] = _replace(
            broker,
            fenced=broker.fenced if record.fenced is None else record.fenced,
            in_controlled_shutdown=(
                broker.in_controlled_shutdown if record.in_controlled_shutdown is None else record.in_controlled_shutdown
            ),
        )

    def _unregister(self, record: UnregisterBroker) -> None:
        del self.brokers[record.broker_id]

    def _topic(self, record: Topic) -> None:
        self.topics[record.name] = TopicImage(record.name, record.topic_id)
        self.topic_names[record.topic_id] = record.name

    def _remove_topic(self, record: RemoveTopic) -> None:
        name = self.topic_names.pop(record.topic_id)
        del self.topics[name]
        self.configs.pop(f"topic:{name}", None)

    def _partition(self, record: Partition) -> None:
        topic = self.topics[self.topic_names[record.topic_id]]
        topic.partitions[record.partition] = PartitionImage(
            record.replicas, record.isr, record.leader, record.leader_epoch, record.partition_epoch, record.adding, record.removing,
            record.elr, record.last_known_elr,
        )  # fmt: skip

    def _change_partition(self, record: PartitionChange) -> None:
        partitions = self.topics[self.topic_names[record.topic_id]].partitions
        partitions[record.partition] = partitions[record.partition].merge(record)

    def _config(self, record: Config) -> None:
        key = f"{record.resource_type}:{record.resource_name}"
        if record.value is not None:
            self.configs.setdefault(key, {})[record.name] = record.value
        elif key in self.configs:
            self.configs[key].pop(record.name, None)
            if not self.configs[key]:
                del self.configs[key]

    def _quota(self, record: ClientQuota) -> None:
        if record.value is not None:
            self.quotas.setdefault(record.entity, {})[record.key] = record.value
        elif record.entity in self.quotas:
            self.quotas[record.entity].pop(record.key, None)
            if not self.quotas[record.entity]:
                del self.quotas[record.entity]

    def _acl(self, record: AccessControlEntry) -> None:
        self.acls[record.id] = AclBinding(
            record.resource_type, record.resource_name, record.pattern_type, record.principal, record.host, record.operation,
            record.permission,
        )  # fmt: skip

    def _remove_acl(self, record: RemoveAccessControlEntry) -> None:
        del self.acls[record.id]

    def _scram(self, record: UserScramCredential) -> None:
        self.scram[record.name, record.mechanism] = ScramCredential(
            record.salt, record.stored_key, record.server_key, record.iterations
        )

    def _remove_scram(self, record: RemoveUserScramCredential) -> None:
        del self.scram[record.name, record.mechanism]

    def _producer_ids(self, record: ProducerIds) -> None:
        self.next_producer_id = record.next_producer_id

    def _feature(self, record: FeatureLevel) -> None:
        self.features[record.name] = record.level


_REPLAY: dict[type[MetadataRecord], Callable[[MetadataImage, Any], None]] = {
    RegisterBroker: MetadataImage._register,
    BrokerRegistrationChange: MetadataImage._change_registration,
    UnregisterBroker: MetadataImage._unregister,
    Topic: MetadataImage._topic,
    RemoveTopic: MetadataImage._remove_topic,
    Partition: MetadataImage._partition,
    PartitionChange: MetadataImage._change_partition,
    Config: MetadataImage._config,
    ProducerIds: MetadataImage._producer_ids,
    FeatureLevel: MetadataImage._feature,
    ClientQuota: MetadataImage._quota,
    AccessControlEntry: MetadataImage._acl,
    RemoveAccessControlEntry: MetadataImage._remove_acl,
    UserScramCredential: MetadataImage._scram,
    RemoveUserScramCredential: MetadataImage._remove_scram,
}

__all__ = ["NO_LEADER", "BrokerRegistration", "MetadataImage", "PartitionImage", "TopicImage"]
