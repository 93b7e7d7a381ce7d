"""What became of every record, judged at the end: the E rows of the invariants.

It follows the producers' own events (what was sent, what was promised) and compares them with what the leaders' logs hold once the
cluster has healed and drained. A workload's value begins with its record's number, so every record can be told from every other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine import events as ev
from engine.broker.node import BrokerNode
from engine.broker.state import LEADER
from engine.check.invariants import Oracle, Violation, batches_between, place
from engine.clients.processor import ProcessorNode
from engine.clients.producer import ProducerNode
from engine.log.record_batch import decode, read_header
from engine.messages.base import TopicPartition
from engine.world import World, best_image

BatchKey = tuple[str, int, int]
TOMBSTONE = -1
"""A record without a value carries no number: nobody asks what became of it."""


@dataclass(slots=True)
class Sent:
    """One batch. ``promise`` is the acks with which it was acknowledged, or None. ``renumbered``: the producer raised its epoch while
    the batch was unresolved (KIP-360), which ends the session that idempotence speaks of: a broker that restarted cleanly remembers
    only each producer's last batch, refuses an older one as out of order, and takes it as new under the new epoch."""

    partition: TopicPartition
    acks: int
    idempotent: bool
    record_ids: tuple[int, ...]
    keys: tuple[str | None, ...] = ()
    promise: int | None = None
    base_offset: int = -1
    resolved: bool = False
    renumbered: bool = False


@dataclass(slots=True)
class Outcome:
    """``sessions``: how often each producer was started; a batch's key is (producer, session, batch). ``unresolved``: by producer, those of
    ``sent`` of which nobody knows yet."""

    sent: dict[BatchKey, Sent] = field(default_factory=dict)
    unresolved: dict[str, dict[BatchKey, Sent]] = field(default_factory=dict)
    sessions: Counter[str] = field(default_factory=Counter)

    def observe(self, fresh: list[ev.Happening]) -> None:
        for happening in fresh:
            handler = _HANDLERS.get(type(happening.event))
            if handler is not None:
                handler(self, happening.event)

    def _sent(self, event: ev.ProduceSent) -> None:
        if event.attempt == 1 and event.records:
            key = (event.producer, self.sessions[event.producer], event.batch_id)
            ids = tuple(record.record_id if record.value is not None else TOMBSTONE for record in event.records)
            keys = tuple(record.key for record in event.records)
            self.sent[key] = self.unresolved.setdefault(event.producer, {})[key] = Sent(
                place(event.topic, event.partition), event.acks, event.base_sequence >= 0, ids, keys
            )

    def _resolved(self, event: ev.RecordsAcknowledged | ev.RecordsFailed) -> None:
        key = (event.producer, self.sessions[event.producer], event.batch_id)
        batch = self.sent.get(key)
        if batch is None:
            return
        if batch.resolved:
            raise Violation("Liveness", 0, f"batch {event.batch_id} of {event.producer} was resolved twice")
        batch.resolved = True
        del self.unresolved[event.producer][key]
        if isinstance(event, ev.RecordsAcknowledged):
            batch.promise = batch.acks
            batch.base_offset = event.base_offset

    def _renumber(self, event: ev.ProducerIdAssigned) -> None:
        for batch in self.unresolved.get(event.producer, {}).values():
            batch.renumbered = True

    def _process_started(self, event: ev.NodeStarted) -> None:
        self.sessions[event.name] += 1

    def unsettled(self, world: World) -> str:
        for host in world.kernel.hosts.values():
            node = host.node.producer if isinstance(host.node, ProcessorNode) else host.node
            if isinstance(node, ProducerNode) and (node.buffered_records or node.in_flight):
                return f"{host.name} has unresolved records"
        return ""

    def judge(self, world: World, oracle: Oracle, counts: Counter[str]) -> None:
        """Raises Violation for an unlicensed loss, duplicate or disorder; counts the licensed losses."""
        places = self.places(world)
        removed = Removed(world, oracle)
        now = world.kernel.now
        last: dict[tuple[str, int, TopicPartition], int] = {}
        for (producer, session, batch_id), batch in self.sent.items():
            if producer in world.processors:
                continue  # what it sends carries the numbers of what it read: engine.check.processors
            known = oracle.state(batch.partition)
            where = places[batch.partition]
            for record_id in batch.record_ids:
                offsets = where.get(record_id, [])
                counts["records sent"] += 1
                if record_id == TOMBSTONE:
                    continue
                if batch.promise is not None and not offsets:
                    if removed.by_rule(batch, record_id):
                        counts["removed by rule"] += 1
                        continue
                    if batch.promise == -1 and not known.licences:
                        raise Violation(
                            "NoAckedLoss",
                            now,
                            f"record {record_id} ({producer}, batch {batch_id}) was acknowledged with acks=all and is gone",
                        )
                    counts["licensed losses"] += 1
                ordered = batch.idempotent and not batch.renumbered and not known.licences
                if ordered and len(offsets) > 1:
                    raise Violation("NoDuplicate", now, f"record {record_id} of {producer} lies at {offsets} of {batch.partition}")
                counts["duplicates"] += len(offsets) > 1
                if ordered and offsets:
                    line = (producer, session, batch.partition)
                    if offsets[0] < last.get(line, -1):
                        raise Violation(
                            "NoDuplicate",
                            now,
                            f"record {record_id} of {producer} overtook an earlier one in {batch.partition}",
                        )
                    last[line] = offsets[0]

    def places(self, world: World) -> dict[TopicPartition, dict[int, list[int]]]:
        """Of each partition that was sent to: record number → its offsets, in the leader's log."""
        partitions = dict.fromkeys(batch.partition for batch in self.sent.values())
        return {partition: _offsets(world, partition) for partition in partitions}


_HANDLERS: dict[type[ev.Event], Callable[[Outcome, Any], None]] = {
    ev.ProduceSent: Outcome._sent,
    ev.RecordsAcknowledged: Outcome._resolved,
    ev.RecordsFailed: Outcome._resolved,
    ev.ProducerIdAssigned: Outcome._renumber,
    ev.NodeStarted: Outcome._process_started,
}


class Removed:
    """What retention, DeleteRecords, the cleaner or the deletion of a topic may have taken."""

    def __init__(self, world: World, oracle: Oracle) -> None:
        self.oracle = oracle
        self.image = best_image(world)
        self.log_starts: dict[TopicPartition, int] = {}
        self.latest: dict[TopicPartition, dict[bytes, int]] = {}
        for host in world.kernel.hosts.values():
            if isinstance(host.node, BrokerNode):
                for partition, replica in host.node.partitions.items():
                    if replica.role == LEADER:
                        self.log_starts[partition] = replica.log.log_start_offset
                        if replica.log.config.compact:
                            self.latest[partition] = oracle.state(partition).latest_offsets()

    def by_rule(self, batch: Sent, record_id: int) -> bool:
        partition = batch.partition
        if self.image is not None and self.image.partition(partition) is None:
            return True
        if batch.base_offset < 0:
            return False
        offset = batch.base_offset + batch.record_ids.index(record_id)
        if offset < self.log_starts.get(partition, 0):
            return True
        record = self.oracle.state(partition).records().get(offset) if partition in self.latest else None
        if record is None:
            return False
        return offset in self.hidden_in(partition) or (
            record.key is not None and self.latest[partition].get(record.key, -1) > offset
        )

    def hidden_in(self, partition: TopicPartition) -> set[int]:
        """The cleaner takes what was aborted."""
        return self.oracle.state(partition).hidden()


def _offsets(world: World, partition: TopicPartition) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for host in world.kernel.hosts.values():
        node = host.node
        replica = node.partitions.get(partition) if isinstance(node, BrokerNode) else None
        if replica is None or replica.role != LEADER:
            continue
        for batch in batches_between(replica.log, 0, replica.log.log_end_offset):
            if not read_header(batch).is_control_batch:
                for record in decode(batch):
                    found.setdefault(int((record.value or b"-1").split(b":")[0]), []).append(record.offset)
    return found
