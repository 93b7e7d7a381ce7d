"""One decision of the active controller while it is being made: the records that it writes and the events that they will mean.

The controller decides against its *pending* image (committed records and its own uncommitted ones), so that decisions in quick
succession build on each other. A record written here is applied to that image at once; the world hears of it when it is committed.
"""

from __future__ import annotations

import msgspec

from engine.events import (
    BrokerFenced,
    BrokerRegistered,
    BrokerUnfenced,
    ConfigChanged,
    Event,
    IsrChanged,
    LeaderChanged,
    ReassignmentCompleted,
    ReassignmentStarted,
)
from engine.metadata.configs import parse_boolean
from engine.metadata.image import MetadataImage, PartitionImage
from engine.metadata.records import BrokerRegistrationChange, Config, MetadataRecord, PartitionChange, RegisterBroker
from engine.sim.outbox import Outbox

ELR_FEATURE = "eligible.leader.replicas.version"


class RefusedError(Exception):
    """A request, or one resource of it, is refused with one of Kafka's error names. Nothing was written for it."""

    def __init__(self, error: str, message: str = "") -> None:
        super().__init__(f"{error}: {message}")
        self.error = error
        self.message = message


class Outcome(msgspec.Struct, frozen=True):
    """What a decision means once it is committed: ``headlines`` in a chain, each the cause of the next, and ``details`` that the last
    headline caused."""

    headlines: tuple[Event, ...]
    details: tuple[Event, ...]


class Decision:
    """Lives for one delivery only. ``configs`` are the controller's static properties."""

    __slots__ = ("configs", "details", "epoch", "headlines", "image", "mutants", "next_offset", "out", "records")

    def __init__(
        self, image: MetadataImage, next_offset: int, epoch: int, configs: dict[str, str], mutants: tuple[str, ...], out: Outbox
    ) -> None:
        self.image = image
        self.next_offset = next_offset
        self.epoch = epoch
        self.configs = configs
        self.mutants = mutants
        self.out = out
        self.records: list[MetadataRecord] = []
        self.headlines: list[Event] = []
        self.details: list[Event] = []

    @property
    def elr_enabled(self) -> bool:
        return self.image.features.get(ELR_FEATURE, 0) > 0

    def outcome(self) -> Outcome:
        return Outcome(tuple(self.headlines), tuple(self.details))

    def min_insync_replicas(self, topic: str) -> int:
        """The effective one: never above the replication factor (``getTopicEffectiveMinIsr``)."""
        replication_factor = len(self.image.topics[topic].partitions[0].replicas)
        return min(int(self.image.topic_config(topic, "min.insync.replicas", self.configs)), replication_factor)

    def unclean_election_enabled(self, topic: str) -> bool:
        return parse_boolean(self.image.topic_config(topic, "unclean.leader.election.enable", self.configs))

    def write(self, record: MetadataRecord) -> None:
        """Adds the record and applies it to the pending image."""
        self.image.apply(record, self.next_offset, self.epoch)
        self.records.append(record)
        self.next_offset += 1

    def register_broker(self, record: RegisterBroker) -> None:
        before = self.image.brokers.get(record.broker_id)
        self.write(record)
        self.headlines.append(BrokerRegistered(record.broker_id, record.broker_epoch))
        if before is not None and not before.fenced and record.fenced:
            self.headlines.append(BrokerFenced(record.broker_id, "registered anew"))

    def change_registration(self, record: BrokerRegistrationChange, reason: str = "") -> None:
        self.write(record)
        if record.fenced is True:
            self.headlines.append(BrokerFenced(record.broker_id, reason))
        elif record.fenced is False:
            self.headlines.append(BrokerUnfenced(record.broker_id))

    def change_config(self, record: Config) -> None:
        self.write(record)
        self.headlines.append(ConfigChanged(record.resource_type, record.resource_name, record.name, record.value))

    def change_partition(self, topic: str, change: PartitionChange, reason: str = "") -> PartitionImage:
        """Writes the change; ``reason`` names the election where its nature alone does not tell. Returns the new partition."""
        partition = change.partition
        before = self.image.topics[topic].partitions[partition]
        self.write(change)
        after = self.image.topics[topic].partitions[partition]
        if before.replicas != after.replicas or before.reassigning != after.reassigning:
            self._tell_reassignment(topic, partition, before, after)
        if after.leader != before.leader:
            kind = _election_kind(before, after, reason)
            self.details.append(LeaderChanged(topic, partition, before.leader, after.leader, after.leader_epoch, kind))
        if before.isr != after.isr or before.elr != after.elr:
            self.details.append(IsrChanged(topic, partition, before.isr, after.isr, after.elr, after.partition_epoch))
        return after

    def _tell_reassignment(self, topic: str, partition: int, before: PartitionImage, after: PartitionImage) -> None:
        target = tuple(replica for replica in after.replicas if replica not in after.removing)
        if not before.reassigning:
            self.details.append(ReassignmentStarted(topic, partition, before.replicas, target))
        cancelled = not set(before.adding) <= set(after.replicas) or set(before.removing) & set(after.replicas)
        if not after.reassigning and not cancelled:
            self.details.append(ReassignmentCompleted(topic, partition, after.replicas))


def _election_kind(before: PartitionImage, after: PartitionImage, reason: str) -> str:
    leader = after.leader
    if leader < 0:
        return "none eligible"
    if leader in before.isr:
        return reason or "isr"
    if leader in before.elr:
        return "elr"
    return "last known leader" if before.last_known_elr == (leader,) else "unclean"
