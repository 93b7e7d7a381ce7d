"""What each consumer was shown, and whether it may have been: PollOrder, and the reading half of Atomicity.

A consumer that was put somewhere reads on from there: it never goes back, and what it leaves out must be nothing that it should have
seen. What it may skip (markers, aborted transactions, what was cleaned or deleted) is known only at the end, so gaps are judged then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine import events as ev
from engine.broker.node import BrokerNode
from engine.broker.state import LEADER, Replica
from engine.check.invariants import Oracle, Violation, batches_between, place
from engine.log.record_batch import decode, read_header
from engine.messages.base import TopicPartition
from engine.world import World

UNKNOWN = -1


class Span(NamedTuple):
    """Offsets from ``first`` up to, not including, ``end``."""

    consumer: str
    partition: TopicPartition
    first: int
    end: int


@dataclass(slots=True)
class Readers:
    """``next_offset``: where each consumer stands in each of its partitions. ``shown`` and ``skipped`` in the order of time."""

    next_offset: dict[str, dict[TopicPartition, int]] = field(default_factory=dict)
    shown: list[Span] = field(default_factory=list)
    skipped: list[Span] = field(default_factory=list)

    def observe(self, fresh: list[ev.Happening]) -> None:
        for happening in fresh:
            handler = _HANDLERS.get(type(happening.event))
            if handler is not None:
                handler(self, happening.event, happening.at_us)

    def _positioned(self, event: ev.ConsumerPositioned, at_us: int) -> None:
        self.next_offset.setdefault(event.consumer, {})[place(event.topic, event.partition)] = event.offset

    def _given_up(self, event: ev.PartitionsAssigned | ev.PartitionsRevoked | ev.PartitionsLost, at_us: int) -> None:
        """A new assignment begins wherever its first position is."""
        positions = self.next_offset.get(event.consumer, {})
        for topic, number in event.partitions:
            positions.pop(place(topic, number), None)

    def _process_started(self, event: ev.NodeStarted, at_us: int) -> None:
        self.next_offset.pop(event.name, None)

    def _consumed(self, event: ev.RecordsConsumed, at_us: int) -> None:
        partition = place(event.topic, event.partition)
        positions = self.next_offset.setdefault(event.consumer, {})
        due = positions.get(partition, UNKNOWN)
        if due != UNKNOWN:
            if event.first_offset < due:
                raise Violation(
                    "PollOrder",
                    at_us,
                    f"{event.consumer} went back from {due} to {event.first_offset} in {partition} without being told to",
                )
            if event.first_offset > due:
                self.skipped.append(Span(event.consumer, partition, due, event.first_offset))
        positions[partition] = event.last_offset + 1
        self.shown.append(Span(event.consumer, partition, event.first_offset, event.last_offset + 1))

    def judge(self, world: World, oracle: Oracle, counts: Counter[str]) -> None:
        """Raises Violation where a read_committed consumer saw what was not committed, or a consumer left out what was there to read."""
        committed_only = {name for name in (*world.client_configs, *world.processors) if reads_committed(world, name)}
        hidden = {
            partition: known.hidden()
            for partition, known in oracle.partitions.items()
            if not known.licences and (known.open or known.ended)
        }
        for span in self.shown:
            counts["records read"] += span.end - span.first
            if span.consumer in committed_only and span.partition in hidden:
                wrong = hidden[span.partition].intersection(range(span.first, span.end))
                if wrong:
                    raise Violation(
                        "Atomicity",
                        world.kernel.now,
                        f"{span.consumer} reads committed records only and was shown offset {min(wrong)} of {span.partition},"
                        " which no transaction committed",
                    )
        left: dict[TopicPartition, set[int]] = {}
        for span in self.skipped:
            if oracle.state(span.partition).licences:
                continue
            if span.partition not in left:
                left[span.partition] = readable_offsets(world, span.partition)
            missed = left[span.partition].intersection(range(span.first, span.end))
            if span.consumer in committed_only:
                missed -= hidden.get(span.partition, set())
            if missed:
                raise Violation(
                    "PollOrder",
                    world.kernel.now,
                    f"{span.consumer} went from {span.first} to {span.end} in {span.partition} and left out {min(missed)}",
                )


_HANDLERS: dict[type[ev.Event], Callable[[Readers, Any, int], None]] = {
    ev.RecordsConsumed: Readers._consumed,
    ev.ConsumerPositioned: Readers._positioned,
    ev.PartitionsAssigned: Readers._given_up,
    ev.PartitionsRevoked: Readers._given_up,
    ev.PartitionsLost: Readers._given_up,
    ev.NodeStarted: Readers._process_started,
}


def configs_of(world: World, client: str) -> dict[str, str]:
    """As they were given to a client, or to those inside a processor; {} for a server."""
    processor = world.processors.get(client)
    return processor.configs if processor is not None else world.client_configs.get(client, {})


def reads_committed(world: World, client: str) -> bool:
    configs = configs_of(world, client)
    by_default = "read_committed" if client in world.processors and "transactional.id" in configs else "read_uncommitted"
    return configs.get("isolation.level", by_default) == "read_committed"


def readable_offsets(world: World, partition: TopicPartition) -> set[int]:
    """Of the data records that every reader must have met: what the leader holds. Where logs are compacted each broker cleans by itself,
    and a reader may have met any of them in the lead: what they all hold."""
    found: set[int] | None = None
    for host in world.kernel.hosts.values():
        node = host.node
        replica = node.partitions.get(partition) if isinstance(node, BrokerNode) else None
        if replica is not None and (replica.role == LEADER or replica.log.config.compact):
            held = _data_offsets(replica)
            found = held if found is None else found & held
    return found or set()


def _data_offsets(replica: Replica) -> set[int]:
    log, found = replica.log, set[int]()
    for batch in batches_between(log, 0, log.log_end_offset):
        if not read_header(batch).is_control_batch:
            found.update(record.offset for record in decode(batch) if record.offset >= log.log_start_offset)
    return found
