"""The records of ``__cluster_metadata``: every decision of the active controller, as it lies in the log.

Kafka writes these as binary ``ApiMessage``s; here each record value is JSON tagged with its type, so that a learner can read it
under the byte microscope. Field meanings are those of Kafka's ``metadata/src/main/resources/common/metadata/*.json``.
"""

from __future__ import annotations

import msgspec

NO_LEADER = -1
NO_LEADER_CHANGE = -2


class MetadataRecord(msgspec.Struct, frozen=True, gc=False, tag=True, omit_defaults=True):
    """One change. Replaying all committed ones in order gives the ``MetadataImage``."""


class LeaderChange(MetadataRecord, frozen=True, gc=False, tag=True):
    """The first record of each quorum epoch (Kafka's ``LeaderChangeMessage`` control record): once it is committed, so is all before."""

    leader_id: int
    voters: tuple[int, ...]


class RegisterBroker(MetadataRecord, frozen=True, gc=False, tag=True):
    broker_id: int
    broker_epoch: int
    incarnation_id: str
    rack: str = ""
    fenced: bool = True
    in_controlled_shutdown: bool = False


class BrokerRegistrationChange(MetadataRecord, frozen=True, gc=False, tag=True):
    """None leaves as it is."""

    broker_id: int
    broker_epoch: int
    fenced: bool | None = None
    in_controlled_shutdown: bool | None = None


class UnregisterBroker(MetadataRecord, frozen=True, gc=False, tag=True):
    broker_id: int
    broker_epoch: int


class Topic(MetadataRecord, frozen=True, gc=False, tag=True):
    name: str
    topic_id: str


class RemoveTopic(MetadataRecord, frozen=True, gc=False, tag=True):
    """The topic's partitions and configuration go with it."""

    topic_id: str


class Partition(MetadataRecord, frozen=True, gc=False, tag=True):
    topic_id: str
    partition: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int = 0
    partition_epoch: int = 0
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()
    elr: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()


class PartitionChange(MetadataRecord, frozen=True, gc=False, tag=True):
    """None leaves as it is; ``leader`` -2 likewise, -1 is nobody. Naming a leader, even the same one, begins a new leader epoch."""

    topic_id: str
    partition: int
    isr: tuple[int, ...] | None = None
    leader: int = NO_LEADER_CHANGE
    replicas: tuple[int, ...] | None = None
    adding: tuple[int, ...] | None = None
    removing: tuple[int, ...] | None = None
    elr: tuple[int, ...] | None = None
    last_known_elr: tuple[int, ...] | None = None


class Config(MetadataRecord, frozen=True, gc=False, tag=True):
    """``value`` None removes the setting. ``resource_name`` "" of type "broker" holds for all brokers."""

    resource_type: str
    resource_name: str
    name: str
    value: str | None = None


class ProducerIds(MetadataRecord, frozen=True, gc=False, tag=True):
    """All producer IDs below ``next_producer_id`` are given away."""

    broker_id: int
    broker_epoch: int
    next_producer_id: int


class FeatureLevel(MetadataRecord, frozen=True, gc=False, tag=True):
    name: str
    level: int


class ClientQuota(MetadataRecord, frozen=True, gc=False, tag=True):
    """``entity``: pairs of type ("user", "client-id") and name, None for the default; ``value`` None removes the quota ``key``."""

    entity: tuple[tuple[str, str | None], ...]
    key: str
    value: float | None = None


class AccessControlEntry(MetadataRecord, frozen=True, gc=False, tag=True):
    """One ACL, under an ID by which it can be removed."""

    id: str
    resource_type: str
    resource_name: str
    pattern_type: str
    principal: str
    host: str
    operation: str
    permission: str


class RemoveAccessControlEntry(MetadataRecord, frozen=True, gc=False, tag=True):
    id: str


class UserScramCredential(MetadataRecord, frozen=True, gc=False, tag=True):
    name: str
    mechanism: str
    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int


class RemoveUserScramCredential(MetadataRecord, frozen=True, gc=False, tag=True):
    name: str
    mechanism: str


class NoOp(MetadataRecord, frozen=True, gc=False, tag=True):
    """Kafka writes one each ``metadata.max.idle.interval.ms`` (500 ms) so that a lag of a reader can be told in time. The simulation
    writes none: a parked fetch shows the same liveness, and an idle cluster must cost next to nothing."""


AnyRecord = (
    LeaderChange
    | RegisterBroker
    | BrokerRegistrationChange
    | UnregisterBroker
    | Topic
    | RemoveTopic
    | Partition
    | PartitionChange
    | Config
    | ProducerIds
    | FeatureLevel
    | ClientQuota
    | AccessControlEntry
    | RemoveAccessControlEntry
    | UserScramCredential
    | RemoveUserScramCredential
    | NoOp
)

_DECODER = msgspec.json.Decoder(AnyRecord)
_ENCODER = msgspec.json.Encoder()


def encode(record: MetadataRecord) -> bytes:
    """The value of one record in a batch of ``__cluster_metadata``."""
    return _ENCODER.encode(record)


def decode(value: bytes) -> MetadataRecord:
    """Raises ``msgspec.DecodeError`` for bytes that are no metadata record."""
    record: MetadataRecord = _DECODER.decode(value)
    return record
