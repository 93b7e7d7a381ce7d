"""The oracle that watches a simulated cluster and knows what must never happen.

It sees everything at once, as no node can: which offsets were ever committed and with which bytes, who led in which epoch, what each
fault may excuse. After each delivery that made something happen it checks what that delivery can have broken (the S rows of the
invariants), so a violation is reported at the very step that caused it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from struct import Struct
from typing import Any

from engine import events as ev
from engine.broker.node import BrokerNode
from engine.broker.state import LEADER, Replica
from engine.check.committed import ATTRIBUTES, CONTROL, Committed
from engine.controller.node import ControllerNode
from engine.log.partition_log import PartitionLog
from engine.log.record_batch import read_header
from engine.messages.base import TopicPartition
from engine.metadata.image import MetadataImage, PartitionImage
from engine.spec import broker_name
from engine.world import World

TOUCHING = frozenset(
    {
        ev.HighWatermarkAdvanced, ev.RecordsAppended, ev.RecordsReplicated, ev.ReplicaTruncated, ev.LeaderStarted, ev.FollowerStarted,
        ev.LastStableOffsetAdvanced, ev.TransactionMarkerWritten, ev.LogCleaned, ev.SegmentsDeleted, ev.SegmentRolled, ev.LogRecovered,
    }
)  # fmt: skip
"""What happens to one replica, at the node of the happening."""
place = lru_cache(4096)(TopicPartition)
"""A TopicPartition, made once: every event names one."""
_broker_name = lru_cache(256)(broker_name)
_base_and_delta = Struct(">q15xi").unpack_from
LICENSING_ELECTIONS = {"unclean", "last known leader"}


class Violation(Exception):
    """An invariant broke: its name, the virtual time, and what was seen."""

    def __init__(self, invariant: str, at_us: int, detail: str) -> None:
        super().__init__(f"{invariant} at {at_us} µs: {detail}")
        self.invariant = invariant
        self.at_us = at_us
        self.detail = detail


class Oracle:
    """Feed it every run of fresh happenings (``observe``); it raises Violation.

    A replica is looked at when something happened to it, and one more of its broker's each time, in turn: what changes without an event
    (a follower's high watermark) is seen a little later.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.hosts = world.kernel.hosts
        self.partitions: dict[TopicPartition, Committed] = {}
        self.leaders: dict[tuple[TopicPartition, int], int] = {}
        self.quorum_leaders: dict[int, int] = {}
        self.quorum_epochs: dict[str, int] = {}
        self.metadata: dict[int, bytes] = {}
        self.metadata_checked: dict[str, int] = {}
        self.replica_checked: dict[tuple[str, TopicPartition], int] = {}
        self.image = MetadataImage()
        self.turns: dict[str, int] = {}
        self.reloaded: set[str] = set()
        """Who read a producer snapshot back, on starting or after a truncation."""
        self.lagged: set[tuple[str, TopicPartition]] = set()
        """Who was out of the ISR once."""
        self.read_back: dict[TopicPartition, int] = {}
        """Where the log ended that a coordinator read back, as long as that is not committed."""
        self.deleted_topics: set[str] = set()
        """By name: one that is created again under it is another topic, with epochs and offsets of its own."""
        self.counts: Counter[str] = Counter()
        self.handlers: dict[type[ev.Event], Callable[[Any], None]] = {
            ev.HighWatermarkAdvanced: self._high_watermark,
            ev.LeaderStarted: self._leader_started,
            ev.QuorumLeaderElected: self._quorum_leader,
            ev.LeaderChanged: self._leader_changed,
            ev.IsrChanged: self._isr_changed,
            ev.ReplicaTruncated: self._truncated,
            ev.ProduceAcknowledged: self._acknowledged,
            ev.RecordsConsumed: self._consumed,
            ev.ShareRecordsDelivered: self._consumed,
            ev.PowerLost: self._power_lost,
            ev.NodeStarted: self._restarted,
            ev.DiskWiped: lambda event: self._taint(event.name, "a wiped disk"),
            ev.DiskCorrupted: lambda event: self._taint(event.name, "a corrupted disk"),
            ev.LogCleaned: self._cleaned,
            ev.CoordinatorLoaded: self._coordinator_loaded,
            ev.TopicDeleted: self._deleted,
        }

    def observe(self, fresh: list[ev.Happening]) -> bool:
        """Always False, so that it can serve as the kernel's watch without stopping it."""
        nodes: dict[str, None] = {}
        touched: dict[tuple[str, TopicPartition], None] = {}
        handlers = self.handlers
        for happening in fresh:
            event = happening.event
            kind = type(event)
            handler = handlers.get(kind)
            if handler is not None:
                handler(event)
            if kind in TOUCHING:
                touched[happening.node, place(event.topic, event.partition)] = None  # type: ignore[attr-defined]
            nodes[happening.node] = None
        for name in nodes:
            looked_at = self._check_node(name)
            if looked_at is not None:
                touched.pop((name, looked_at), None)
        for name, partition in touched:
            replica = self._replica_on(name, partition)
            if replica is not None:
                self._check_replica(name, partition, replica)
        return False

    def state(self, partition: TopicPartition) -> Committed:
        found = self.partitions.get(partition)
        if found is None:
            found = self.partitions[partition] = Committed()
        return found

    def licences(self) -> dict[str, int]:
        """Why a loss is excused → in how many partitions."""
        return dict(sorted(Counter(reason for known in self.partitions.values() for reason in known.licences).items()))

    def licensed(self, topic: str) -> bool:
        """Whether a loss is excused anywhere in ``topic``."""
        return any(known.licences for partition, known in self.partitions.items() if partition.topic == topic)

    def fail(self, invariant: str, detail: str) -> None:
        raise Violation(invariant, self.world.kernel.now, detail)

    # -- events ---------------------------------------------------------------------------------------------------------------

    def _high_watermark(self, event: ev.HighWatermarkAdvanced) -> None:
        partition = place(event.topic, event.partition)
        known = self.state(partition)
        replica = self._replica(event.broker, partition)
        if replica is None or event.new <= known.high_watermark or known.licences:
            return
        known.extend(batches_between(replica.log, known.high_watermark, event.new), event.new)
        if known.zombie:
            self.fail("Fencing", f"{partition}: {known.zombie}, which a newer one had fenced")
        if event.new >= self.read_back.get(partition, event.new + 1):
            del self.read_back[partition]
        self._taint_overtaken(event.broker, partition, known)
        self._candidates_complete(partition, known)

    def _leader_started(self, event: ev.LeaderStarted) -> None:
        partition = place(event.topic, event.partition)
        key = (partition, event.leader_epoch)
        other = self.leaders.setdefault(key, event.broker)
        if other != event.broker and event.topic not in self.deleted_topics:
            self.fail(
                "OneLeaderPerEpoch",
                f"brokers {other} and {event.broker} both led {partition} in epoch {event.leader_epoch}",
            )
        known = self.state(partition)
        replica = self._replica(event.broker, partition)
        if replica is not None and replica.log.log_end_offset < self.read_back.get(partition, 0):
            self._license(partition, "a coordinator answered from what it had read back and was not committed")
        if replica is not None and not known.licences and event.broker not in known.tainted:
            self._holds_all(event.broker, partition, known, replica, "LeaderComplete")
            if replica.log.log_end_offset < known.high_watermark:
                self.fail(
                    "TrueHwMonotone",
                    f"{partition}: committed up to {known.high_watermark}, its leader ends at {replica.log.log_end_offset}",
                )

    def _coordinator_loaded(self, event: ev.CoordinatorLoaded) -> None:
        """It reads its log to the end and takes all of that for decided, as Kafka's do: asked for what is in there already, say to add a
        partition to a transaction, it agrees at once. If the end of its log is lost before it is committed, nobody knows of that."""
        partition = place(event.topic, event.partition)
        replica = self._replica(event.broker, partition)
        if replica is not None and replica.log.log_end_offset > self.state(partition).high_watermark:
            self.read_back[partition] = replica.log.log_end_offset

    def _quorum_leader(self, event: ev.QuorumLeaderElected) -> None:
        self.counts["quorum elections"] += 1
        other = self.quorum_leaders.setdefault(event.epoch, event.controller)
        if other != event.controller:
            self.fail("OneLeaderPerEpoch", f"controllers {other} and {event.controller} both led quorum epoch {event.epoch}")

    def _leader_changed(self, event: ev.LeaderChanged) -> None:
        self.counts["elections"] += 1
        partition = place(event.topic, event.partition)
        if event.election in LICENSING_ELECTIONS:
            self._license(partition, f"{event.election} election")

    def _license(self, partition: TopicPartition, reason: str) -> None:
        """From here on the oracle cannot know what is committed below: it forgets, and learns anew from the next leader."""
        known = self.state(partition)
        known.licences.add(reason)
        self.counts["licences"] += 1

    def _isr_changed(self, event: ev.IsrChanged) -> None:
        self.counts["ISR changes"] += 1
        partition = place(event.topic, event.partition)
        self.lagged.update((broker_name(broker), partition) for broker in event.old_isr if broker not in event.new_isr)

    def _truncated(self, event: ev.ReplicaTruncated) -> None:
        self.counts["truncations"] += 1
        key = (f"broker-{event.broker}", place(event.topic, event.partition))
        self.reloaded.add(key[0])
        self.replica_checked[key] = min(self.replica_checked.get(key, 0), event.to_offset)

    def _cleaned(self, event: ev.LogCleaned) -> None:
        """Its bytes are others now: they are compared anew."""
        self.counts["cleans"] += 1
        self.counts["records cleaned away"] += event.records_before - event.records_after
        self.replica_checked[f"broker-{event.broker}", place(event.topic, event.partition)] = 0

    def _deleted(self, event: ev.TopicDeleted) -> None:
        """Whatever comes under this name from now on proves nothing."""
        self.deleted_topics.add(event.topic)
        for partition in dict.fromkeys((*self.partitions, *[partition for partition, _ in self.leaders])):
            if partition.topic == event.topic:
                self._license(partition, "topic deletion")

    def _acknowledged(self, event: ev.ProduceAcknowledged) -> None:
        if event.acks == -1:
            partition = place(event.topic, event.partition)
            known = self.state(partition)
            if event.last_offset >= known.high_watermark and not known.licences:
                self.fail(
                    "LeaderComplete",
                    f"{partition}: offset {event.last_offset} acknowledged with acks=all, committed is only {known.high_watermark}",
                )

    def _consumed(self, event: ev.RecordsConsumed | ev.ShareRecordsDelivered) -> None:
        known = self.state(place(event.topic, event.partition))
        if event.last_offset >= known.high_watermark and not known.licences:
            self.fail(
                "RepeatableRead",
                f"{event.topic}-{event.partition}: offset {event.last_offset} was read before it was committed",
            )

    def _power_lost(self, event: ev.PowerLost) -> None:
        if event.bytes_lost:
            self._taint(event.name, "power loss")

    def _taint(self, name: str, reason: str) -> None:
        """The broker may lack records: whoever counts on it is excused once nobody else in the ISR holds them."""
        broker = int(name.removeprefix("broker-")) if name.startswith("broker-") else -1
        registered = self.image.brokers.get(broker)
        for partition, state in partitions_of(self.image):
            if broker in state.replicas and registered is not None:
                self.state(partition).tainted[broker] = registered.broker_epoch
                self._license_if_nobody_is_left(partition, state, reason)

    def _taint_overtaken(self, leader: int, partition: TopicPartition, known: Committed) -> None:
        """A race that Kafka has: the controller knows of a greater min.insync.replicas, and keeps who left the ISR as eligible; the leader,
        who has heard of the new ISR from the answer to its AlterPartition but not yet of the new setting, goes on without them."""
        state = self.image.partition(partition)
        node = self.world.kernel.hosts[f"broker-{leader}"].node
        if state is None or not state.elr or not isinstance(node, BrokerNode):
            return
        of_topic = (partition.topic, "min.insync.replicas", self.world.spec.broker_configs)
        if node.image.topic_config(*of_topic) != self.image.topic_config(*of_topic):
            known.tainted.update(
                (broker, self.image.brokers[broker].broker_epoch) for broker in state.elr if broker in self.image.brokers
            )

    def _license_if_nobody_is_left(self, partition: TopicPartition, state: PartitionImage, reason: str) -> None:
        tainted = self.state(partition).tainted.keys()
        if (state.isr and set(state.isr) <= tainted) or not {*state.isr, *state.elr} - tainted:
            self._license(partition, f"{reason} on every ISR member")

    def _restarted(self, event: ev.NodeStarted) -> None:
        for key in self.replica_checked:
            if key[0] == event.name:
                self.replica_checked[key] = 0
        self.metadata_checked[event.name] = 0
        self.reloaded.add(event.name)

    # -- state ----------------------------------------------------------------------------------------------------------------

    def _check_node(self, name: str) -> TopicPartition | None:
        """Which replica's turn it was."""
        host = self.hosts.get(name)
        node = host.node if host is not None else None
        if type(node) is BrokerNode and node.quorum is not None:
            committed = node.image.offset + 1
            if committed > self.metadata_checked.get(name, 0):
                self._check_metadata(name, node.metadata_log, committed)
            if node.partitions:
                turn = self.turns[name] = self.turns.get(name, 0) + 1
                partition = nth(node.partitions, turn % len(node.partitions))
                self._check_replica(name, partition, node.partitions[partition])
                return partition
        elif isinstance(node, ControllerNode):
            quorum = node.quorum
            if quorum.epoch < self.quorum_epochs.get(name, 0):
                self.fail(
                    "OneLeaderPerEpoch",
                    f"{name} went back from quorum epoch {self.quorum_epochs[name]} to {quorum.epoch}",
                )
            self.quorum_epochs[name] = quorum.epoch
            self._check_metadata(name, quorum.log, quorum.high_watermark)
            if node.image.offset > self.image.offset:
                self.image = node.image.copy()
                self._check_shape(self.image)
        return None

    def _check_metadata(self, name: str, log: PartitionLog, committed: int) -> None:
        start = self.metadata_checked.get(name, 0)
        if committed <= start:
            return
        for batch in batches_between(log, start, committed):
            base = int.from_bytes(batch[:8], "big")
            other = self.metadata.setdefault(base, batch)
            if other is not batch and other != batch:
                self.fail("MetadataPrefix", f"{name} committed another metadata batch at offset {base} than the rest")
        self.metadata_checked[name] = committed

    def _check_replica(self, name: str, partition: TopicPartition, replica: Replica) -> None:
        log = replica.log
        if not 0 <= log.log_start_offset <= replica.high_watermark <= log.log_end_offset:
            self.fail(
                "Offsets",
                f"{partition} on {name}: log start {log.log_start_offset}, HW {replica.high_watermark}, LEO {log.log_end_offset}",
            )
        known = self.state(partition)
        if known.licences:
            return
        if replica.role == LEADER and replica.high_watermark <= known.high_watermark:
            stable = replica.high_watermark
            if known.open or known.ended:
                stable = max(known.last_stable_offset(stable), log.log_start_offset)
            if (
                log.last_stable_offset(replica.high_watermark) != stable
                and not self._forgot_unreplicated(name, known, replica)
                and not self.license_missed_marker(name, partition, known, replica)
            ):
                self.fail(
                    "Offsets",
                    f"{partition} on {name}: the last stable offset is {replica.last_stable_offset}, should be {stable}"
                    f" (HW {replica.high_watermark})",
                )
        key = (name, partition)
        start = self.replica_checked.get(key, 0)
        upto = min(replica.high_watermark, known.high_watermark)
        if upto <= start:
            return
        for batch in batches_between(log, start, upto):
            if not known.agrees(batch):
                base = int.from_bytes(batch[:8], "big")
                self.fail("LogMatching", f"{partition} on {name} has other bytes at offset {base} than were committed there")
        self.replica_checked[key] = upto

    def _forgot_unreplicated(self, name: str, known: Committed, replica: Replica) -> bool:
        """Kafka's snapshot of producers has no transactions that ended above the high watermark (``unreplicatedTxns``): who reads it back
        lets them hold nothing. What is open in its own log must hold all the same."""
        if name not in self.reloaded:
            return False
        ended = {
            read_header(batch).producer_id
            for batch in batches_between(replica.log, replica.high_watermark, replica.log.log_end_offset)
            if batch[ATTRIBUTES] & CONTROL
        }
        stable = known.last_stable_offset(replica.high_watermark, ended)
        return replica.last_stable_offset == max(stable, replica.log.log_start_offset)

    def license_missed_marker(self, name: str, partition: TopicPartition, known: Committed, replica: Replica) -> bool:
        """A replica that was away for longer than delete.retention.ms copies what the cleaner has left: a transaction whose records it
        holds, but whose abort marker is gone. It takes them for part of the producer's next one. Kafka is no better; a day is the default."""
        log = replica.log
        if not log.config.compact or (name, partition) not in self.lagged:
            return False
        held = {int.from_bytes(batch[:8], "big") for batch in batches_between(log, 0, log.log_end_offset)}
        for transaction in known.ended:
            if (
                not transaction.committed
                and transaction.marker < log.log_end_offset
                and transaction.marker not in held
                and any(first in held for first, _ in transaction.places)
            ):
                self._license(partition, "an abort marker was gone before a replica that was away could copy it")
                return True
        return False

    def _check_shape(self, image: MetadataImage) -> None:
        for partition, state in partitions_of(image):
            self._follow_taint(image, partition, state)
            replicas, isr, elr = set(state.replicas), set(state.isr), set(state.elr)
            if not isr <= replicas or not elr <= replicas or isr & elr:
                self.fail("IsrElrShape", f"{partition}: replicas {state.replicas}, ISR {state.isr}, ELR {state.elr}")
            min_isr = int(image.topic_config(partition.topic, "min.insync.replicas", self.world.spec.broker_configs))
            if len(isr) >= min(min_isr, len(replicas)) and elr:
                self.fail(
                    "IsrElrShape",
                    f"{partition}: ISR {state.isr} meets min.insync.replicas {min_isr}, yet ELR is {state.elr}",
                )
            fenced = {b for b in isr if b not in image.brokers or image.brokers[b].fenced}
            alone = not self.world.spec.elr and len(isr) == 1
            if fenced and not alone:
                self.fail("IsrElrShape", f"{partition}: fenced {sorted(fenced)} in the ISR {state.isr}")
            if not isr and not self.world.spec.elr:
                self.fail("IsrElrShape", f"{partition}: the ISR is empty without ELR")

    def _follow_taint(self, image: MetadataImage, partition: TopicPartition, state: PartitionImage) -> None:
        """Who left ISR and ELR has to copy everything again and is clean; where only tainted members are left, a loss is licensed.
        Read from the committed metadata, since a controller that decided may be gone before it could tell."""
        known = self.state(partition)
        if known.tainted:
            members = {*state.isr, *state.elr}
            for broker, epoch in list(known.tainted.items()):
                if broker not in members and broker in image.brokers and image.brokers[broker].broker_epoch != epoch:
                    del known.tainted[broker]
            if known.tainted:
                self._license_if_nobody_is_left(partition, state, "a disk that lost something")

    def _candidates_complete(self, partition: TopicPartition, known: Committed) -> None:
        if known.licences:
            return
        state = self.image.partition(partition)
        if state is None:
            return
        for broker in (*state.isr, *state.elr):
            replica = self._replica(broker, partition)
            if replica is not None and broker not in known.tainted:
                self._holds_all(broker, partition, known, replica, "CandidateComplete")

    def _holds_all(self, broker: int, partition: TopicPartition, known: Committed, replica: Replica, invariant: str) -> None:
        if known.last_base < 0:
            return
        log = replica.log
        if log.log_end_offset < known.high_watermark:
            self.fail(
                invariant,
                f"broker {broker} ends {partition} at {log.log_end_offset}, committed is {known.high_watermark}",
            )
        if log.log_start_offset > known.last_base:
            return
        batch = next(iter(log.read(known.last_base, 1)), b"")
        if batch and not known.agrees(batch):
            self.fail(invariant, f"broker {broker} holds other bytes at {partition}@{known.last_base} than were committed")

    def check_candidates(self) -> None:
        """All partitions, at a quiet moment."""
        for partition, known in self.partitions.items():
            self._candidates_complete(partition, known)

    def _replica(self, broker: int, partition: TopicPartition) -> Replica | None:
        return self._replica_on(_broker_name(broker), partition)

    def _replica_on(self, name: str, partition: TopicPartition) -> Replica | None:
        host = self.hosts.get(name)
        node = host.node if host is not None else None
        return node.partitions.get(partition) if type(node) is BrokerNode else None


def nth(partitions: dict[TopicPartition, Replica], position: int) -> TopicPartition:
    return next(islice(partitions, position, None))


def partitions_of(image: MetadataImage) -> list[tuple[TopicPartition, PartitionImage]]:
    return [
        (TopicPartition(topic.name, number), state) for topic in image.topics.values() for number, state in topic.partitions.items()
    ]


def batches_between(log: PartitionLog, start: int, end: int) -> list[bytes]:
    """The batches that hold offsets in [start, end)."""
    found: list[bytes] = []
    position = max(start, log.log_start_offset)
    end = min(end, log.log_end_offset)
    while position < end:
        piece = log.read(position, 1 << 20, end)
        if not piece:
            break
        found += piece
        base, delta = _base_and_delta(piece[-1])
        position = base + delta + 1
    return found
