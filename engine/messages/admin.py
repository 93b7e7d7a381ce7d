"""Metadata and the administrative APIs. Brokers answer the reading ones and forward the others in an envelope."""

from __future__ import annotations

import msgspec

from engine.messages.base import Request, Response, TopicPartition

Configs = tuple[tuple[str, str], ...]


class MetadataRequest(Request, frozen=True, gc=False, tag=True):
    """``topics`` None asks for all."""

    topics: tuple[str, ...] | None = None
    allow_auto_topic_creation: bool = False


class MetadataBroker(msgspec.Struct, frozen=True, gc=False):
    broker_id: int
    rack: str = ""


class MetadataPartition(msgspec.Struct, frozen=True, gc=False):
    error: str
    partition: int
    leader_id: int
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline_replicas: tuple[int, ...]
    elr: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()


class MetadataTopic(msgspec.Struct, frozen=True, gc=False):
    error: str
    name: str
    topic_id: str = ""
    is_internal: bool = False
    partitions: tuple[MetadataPartition, ...] = ()


class MetadataResponse(Response, frozen=True, gc=False, tag=True):
    brokers: tuple[MetadataBroker, ...]
    controller_id: int
    topics: tuple[MetadataTopic, ...]
    cluster_id: str = ""


class CreatableTopic(msgspec.Struct, frozen=True, gc=False):
    """-1 takes the cluster's default. ``assignments`` (partition → replicas) excludes the two counts."""

    name: str
    num_partitions: int = -1
    replication_factor: int = -1
    assignments: tuple[tuple[int, ...], ...] = ()
    configs: Configs = ()


class CreateTopicsRequest(Request, frozen=True, gc=False, tag=True):
    topics: tuple[CreatableTopic, ...]
    timeout_ms: int = 60_000
    validate_only: bool = False


class DeleteTopicsRequest(Request, frozen=True, gc=False, tag=True):
    names: tuple[str, ...]
    timeout_ms: int = 60_000


class CreatePartitionsRequest(Request, frozen=True, gc=False, tag=True):
    """``count`` is the new total."""

    name: str
    count: int
    assignments: tuple[tuple[int, ...], ...] = ()
    timeout_ms: int = 60_000


class AlterableConfig(msgspec.Struct, frozen=True, gc=False):
    """``operation``: "set", "delete", "append" or "subtract" (KIP-339)."""

    name: str
    operation: str
    value: str = ""


class IncrementalAlterConfigsRequest(Request, frozen=True, gc=False, tag=True):
    """``resource_type``: "topic" or "broker"; ``resource_name`` "" is the default of all brokers."""

    resource_type: str
    resource_name: str
    configs: tuple[AlterableConfig, ...]


class ElectLeadersRequest(Request, frozen=True, gc=False, tag=True):
    """``election_type``: "preferred" or "unclean"; ``partitions`` None means all."""

    election_type: str
    partitions: tuple[TopicPartition, ...] | None = None
    timeout_ms: int = 60_000


class Reassignment(msgspec.Struct, frozen=True, gc=False):
    """``replicas`` None cancels a reassignment that is under way."""

    partition: TopicPartition
    replicas: tuple[int, ...] | None


class AlterPartitionReassignmentsRequest(Request, frozen=True, gc=False, tag=True):
    partitions: tuple[Reassignment, ...]
    timeout_ms: int = 60_000


class UnregisterBrokerRequest(Request, frozen=True, gc=False, tag=True):
    broker_id: int


class RecordsToDelete(msgspec.Struct, frozen=True, gc=False):
    """Everything before ``offset``; -1 is the high watermark."""

    partition: TopicPartition
    offset: int


class DeleteRecordsRequest(Request, frozen=True, gc=False, tag=True):
    """Goes to the leader of its partitions."""

    items: tuple[RecordsToDelete, ...]
    timeout_ms: int = 60_000


class DeletedRecords(msgspec.Struct, frozen=True, gc=False):
    """``low_watermark``: where the log of the live replica that is furthest behind starts; -1 with an error."""

    partition: TopicPartition
    low_watermark: int
    error: str = "NONE"


class DeleteRecordsResponse(Response, frozen=True, gc=False, tag=True):
    results: tuple[DeletedRecords, ...]


class AdminResult(msgspec.Struct, frozen=True, gc=False):
    """The outcome for one resource; ``name`` as Kafka prints it ("orders", "orders-0")."""

    name: str
    error: str
    message: str = ""


class AdminResponse(Response, frozen=True, gc=False, tag=True):
    """The answer to every request above that changes something: one result per resource."""

    error: str
    results: tuple[AdminResult, ...] = ()
    message: str = ""


class DescribeConfigsRequest(Request, frozen=True, gc=False, tag=True):
    resource_type: str
    resource_name: str


class ConfigEntry(msgspec.Struct, frozen=True, gc=False):
    """``source``: Kafka's name, such as DYNAMIC_TOPIC_CONFIG, STATIC_BROKER_CONFIG or DEFAULT_CONFIG."""

    name: str
    value: str
    source: str
    is_sensitive: bool = False
    synonyms: tuple[tuple[str, str, str], ...] = ()


class DescribeConfigsResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    entries: tuple[ConfigEntry, ...] = ()
    message: str = ""


class DescribeQuorumRequest(Request, frozen=True, gc=False, tag=True):
    pass


class QuorumReplica(msgspec.Struct, frozen=True, gc=False):
    replica_id: int
    log_end_offset: int
    last_fetch_ms: int
    last_caught_up_ms: int


class DescribeQuorumResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    leader_id: int = -1
    leader_epoch: int = -1
    high_watermark: int = -1
    voters: tuple[QuorumReplica, ...] = ()
    observers: tuple[QuorumReplica, ...] = ()


class ListPartitionReassignmentsRequest(Request, frozen=True, gc=False, tag=True):
    pass


class OngoingReassignment(msgspec.Struct, frozen=True, gc=False):
    partition: TopicPartition
    replicas: tuple[int, ...]
    adding: tuple[int, ...]
    removing: tuple[int, ...]


class ListPartitionReassignmentsResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    partitions: tuple[OngoingReassignment, ...] = ()
