"""One client node, brokers that a test can upset, and nothing else: no kernel, no cluster.

The brokers share one log per partition (replication is not the point here), keep producer state as Kafka does and can be told to
refuse, to fail before or after the append, to break the connection or to fall silent.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

from engine.events import Event
from engine.log.record_batch import assign, decode, read_header
from engine.messages.admin import (
    AdminResponse,
    AdminResult,
    CreateTopicsRequest,
    MetadataBroker,
    MetadataPartition,
    MetadataRequest,
    MetadataResponse,
    MetadataTopic,
)
from engine.messages.base import Disconnected, Message, TopicPartition
from engine.messages.fetch import (
    FetchRequest,
    FetchResponse,
    FetchResult,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsResult,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderEpochResult,
)
from engine.messages.produce import (
    InitProducerIdRequest,
    InitProducerIdResponse,
    ProduceRequest,
    ProduceResponse,
    ProduceResult,
)
from engine.sim.disk import Disk
from engine.sim.outbox import ARM, CANCEL, SEND, Outbox
from engine.sim.rng import Stream

LATENCY_US = 300


@dataclass
class FakePartition:
    """``batches`` in offset order; ``ends``: leader epoch → end offset when it was truncated or succeeded."""

    leader: int
    epoch: int = 0
    batches: list[bytes] = field(default_factory=list)
    start: int = 0
    end: int = 0
    producers: dict[int, tuple[int, list[tuple[int, int, int]]]] = field(default_factory=dict)
    truncated_to: int = -1

    def knows(self, data: bytes) -> bool:
        header = read_header(data)
        epoch, known = self.producers.get(header.producer_id, (-1, []))
        mine = (header.base_sequence, header.last_sequence)
        return header.producer_id >= 0 and epoch == header.producer_epoch and mine in [entry[:2] for entry in known]

    def append(self, data: bytes) -> tuple[str, int]:
        """(error, base offset), with the broker's five-batch memory per producer."""
        header = read_header(data)
        if header.producer_id >= 0:
            epoch, known = self.producers.get(header.producer_id, (header.producer_epoch, []))
            if header.producer_epoch < epoch:
                return "INVALID_PRODUCER_EPOCH", -1
            if header.producer_epoch > epoch:
                epoch, known = header.producer_epoch, []
            for first, last, offset in known:
                if (first, last) == (header.base_sequence, header.last_sequence):
                    return "NONE", offset
            expected = known[-1][1] + 1 if known else 0
            if header.base_sequence != expected:
                return "OUT_OF_ORDER_SEQUENCE_NUMBER", -1
            known = [*known, (header.base_sequence, header.last_sequence, self.end)][-5:]
            self.producers[header.producer_id] = (epoch, known)
        base = self.end
        self.batches.append(assign(data, base, self.epoch))
        self.end = base + header.last_offset_delta + 1
        return "NONE", base

    def values(self) -> list[bytes | None]:
        return [record.value for batch in self.batches for record in decode(batch)]


class Cluster:
    """Deterministic from ``seed``; ``mood`` decides the fate of each produce request: see ``_fate``."""

    def __init__(self, node: Any, brokers: tuple[int, ...], topics: dict[str, int], *, seed: int = 1) -> None:
        self.node = node
        self.name = node.name
        self.brokers = brokers
        self.partitions = {
            TopicPartition(topic, number): FakePartition(brokers[number % len(brokers)])
            for topic, count in topics.items()
            for number in range(count)
        }
        self.now = 0
        self.queue: list[tuple[int, int, str, Any, int]] = []
        self.sequence = 0
        self.timers: dict[Any, int] = {}
        self.events: list[tuple[int, Event, tuple[int, ...]]] = []
        self.streams: dict[str, Stream] = {}
        self.seed = seed
        self.fate = Stream(seed)
        self.disk = Disk()
        self.trouble_ppm: dict[str, int] = {}
        self.silent_until: dict[int, int] = {}
        self.down: set[int] = set()
        self.max_message_bytes = 10_000_000
        self.next_producer_id = 1000
        self.requests: list[tuple[int, int, Message]] = []
        self.exited = False
        self.watch: Any = None
        self._run("", None)

    # -- driving ---------------------------------------------------------------------------------------------------------

    def instruct(self, body: Message) -> None:
        self._run("", body)

    def advance(self, until_us: int) -> None:
        """Delivers everything up to ``until_us``."""
        count = 0
        while self.queue and self.queue[0][0] <= until_us and not self.exited:
            at, number, source, body, cause = heapq.heappop(self.queue)
            if source == "timer":
                if self.timers.get(body) != number:
                    continue
                del self.timers[body]
            self.now = at
            count += 1
            assert count < 400_000, "the client spins"
            if source.startswith(">"):
                self._serve(int(source.rpartition("-")[2]), body, cause)
            else:
                self._run("" if source == "timer" else source, body, cause)
        self.now = max(self.now, until_us)

    def _run(self, source: str, body: Any, cause: int = 0) -> None:
        out = Outbox(
            self.name, self.now, 1_700_000_000_000 + self.now // 1000, cause, len(self.events) + 1, self.disk, self.seed, self.streams,
            lambda peer, node: (),
        )  # fmt: skip
        if body is None:
            self.node.start(out)
        else:
            self.node.handle(source, body, out)
        for event, causes in out.emitted:
            self.events.append((self.now, event, causes))
        for kind, destination, message, after_us, why in out.effects:
            if kind == SEND:
                self._push(self.now + LATENCY_US, ">" + destination, message, why)
            elif kind == ARM:
                self._push(self.now + after_us, "timer", message, why)
                self.timers[message] = self.sequence
            elif kind == CANCEL:
                self.timers.pop(message, None)
        self.exited |= out.exited
        if self.watch is not None:
            self.watch(self)

    def _push(self, at: int, source: str, body: Any, cause: int = 0) -> None:
        self.sequence += 1
        heapq.heappush(self.queue, (at, self.sequence, source, body, cause))

    def of(self, kind: type) -> list[Any]:
        return [event for _, event, _ in self.events if isinstance(event, kind)]

    def sent(self, kind: type) -> list[Any]:
        return [message for _, _, message in self.requests if isinstance(message, kind)]

    # -- faults --------------------------------------------------------------------------------------------------------------

    def disconnect(self, broker: int) -> None:
        """What was on its way to the broker is lost; so are the answers."""
        address = f"broker-{broker}"
        self.queue = [entry for entry in self.queue if entry[2] not in (address, ">" + address)]
        heapq.heapify(self.queue)
        self._push(self.now + LATENCY_US, address, Disconnected(address))

    def kill(self, broker: int) -> None:
        self.down.add(broker)
        self.disconnect(broker)

    def lead(self, partition: TopicPartition, broker: int) -> None:
        self.partitions[partition].leader = broker
        self.partitions[partition].epoch += 1

    def _fate(self, name: str) -> bool:
        return self.fate.chance(self.trouble_ppm.get(name, 0))

    # -- brokers ---------------------------------------------------------------------------------------------------------------

    def _serve(self, broker: int, body: Any, cause: int) -> None:
        self.requests.append((self.now, broker, body))
        if broker in self.down:
            self._push(self.now + LATENCY_US, f"broker-{broker}", Disconnected(f"broker-{broker}"))
            return
        if self.now < self.silent_until.get(broker, 0):
            return
        answer = {
            MetadataRequest: self._metadata,
            InitProducerIdRequest: self._producer_id,
            ProduceRequest: self._produce,
            ListOffsetsRequest: self._list_offsets,
            OffsetForLeaderEpochRequest: self._epochs,
            FetchRequest: self._fetch,
            CreateTopicsRequest: self._create,
        }[type(body)](broker, body)
        if answer is not None:
            wait = LATENCY_US
            if isinstance(answer, FetchResponse) and not any(r.batches or r.error != "NONE" for r in answer.results):
                wait += body.max_wait_ms * 1000
            self._push(self.now + wait, f"broker-{broker}", answer, cause)

    def _create(self, broker: int, body: CreateTopicsRequest) -> Message:
        return AdminResponse(body.correlation_id, "NONE", tuple(AdminResult(t.name, "NONE") for t in body.topics))

    def _metadata(self, broker: int, body: MetadataRequest) -> Message:
        names = sorted({p.topic for p in self.partitions}) if body.topics is None else list(body.topics)
        topics = []
        for name in names:
            mine = [(p, state) for p, state in self.partitions.items() if p.topic == name]
            items = tuple(
                MetadataPartition(
                    "NONE", p.partition, -1 if s.leader in self.down else s.leader, s.epoch, self.brokers, self.brokers, ()
                )
                for p, s in mine
            )
            topics.append(
                MetadataTopic("NONE" if mine else "UNKNOWN_TOPIC_OR_PARTITION", name, "id-" + name if mine else "", False, items)
            )
        return MetadataResponse(body.correlation_id, tuple(MetadataBroker(b) for b in self.brokers), 1, tuple(topics))

    def _producer_id(self, broker: int, body: InitProducerIdRequest) -> Message:
        if self._fate("init"):
            return InitProducerIdResponse(body.correlation_id, "COORDINATOR_NOT_AVAILABLE")
        self.next_producer_id += 1
        return InitProducerIdResponse(body.correlation_id, "NONE", self.next_producer_id, 0)

    def _produce(self, broker: int, body: ProduceRequest) -> Message | None:
        if self._fate("silence"):
            self.silent_until[broker] = self.now + 40_000_000
            return None
        if self._fate("break before"):
            self.disconnect(broker)
            return None
        results = tuple(self._append(broker, item.partition, item.batch) for item in body.items)
        if self._fate("break after"):
            self.disconnect(broker)
            return None
        return ProduceResponse(body.correlation_id, results) if body.acks else None

    def _append(self, broker: int, partition: TopicPartition, batch: bytes) -> ProduceResult:
        state = self.partitions[partition]
        if self._fate("move"):
            self.lead(partition, self.brokers[self.fate.below(len(self.brokers))])
        if state.leader != broker:
            return ProduceResult(partition, "NOT_LEADER_OR_FOLLOWER", current_leader=state.leader, current_leader_epoch=state.epoch)
        if state.knows(batch):
            # A retry may not fail again: batches that overtake it would push it out of the broker's memory of five, as in real life.
            return ProduceResult(partition, "NONE", state.append(batch)[1], log_start_offset=state.start)
        if self._fate("refuse"):
            return ProduceResult(partition, "NOT_ENOUGH_REPLICAS")
        if self._fate("fatal"):
            return ProduceResult(partition, "INVALID_RECORD")
        if len(batch) > self.max_message_bytes:
            return ProduceResult(partition, "MESSAGE_TOO_LARGE")
        error, offset = state.append(batch)
        if error == "NONE" and self._fate("after append"):
            error, offset = "NOT_ENOUGH_REPLICAS_AFTER_APPEND", -1
        return ProduceResult(partition, error, offset, log_start_offset=state.start)

    def _list_offsets(self, broker: int, body: ListOffsetsRequest) -> Message:
        results = []
        for item in body.items:
            state = self.partitions[item.partition]
            offset = state.start if item.timestamp_ms == -2 else state.end
            if item.timestamp_ms >= 0:
                found = [r.offset for b in state.batches for r in decode(b) if r.timestamp_ms >= item.timestamp_ms]
                offset = found[0] if found else -1
            if state.leader != broker:
                results.append(ListOffsetsResult(item.partition, "NOT_LEADER_OR_FOLLOWER"))
            elif self._fate("no offset"):
                results.append(ListOffsetsResult(item.partition, "OFFSET_NOT_AVAILABLE"))
            else:
                results.append(ListOffsetsResult(item.partition, "NONE", -1, offset, state.epoch))
        return ListOffsetsResponse(body.correlation_id, tuple(results))

    def _epochs(self, broker: int, body: OffsetForLeaderEpochRequest) -> Message:
        results = []
        for item in body.items:
            state = self.partitions[item.partition]
            if state.leader != broker:
                results.append(OffsetForLeaderEpochResult(item.partition, "NOT_LEADER_OR_FOLLOWER"))
                continue
            if self._fate("epoch unknown"):
                results.append(OffsetForLeaderEpochResult(item.partition, "NONE", -1, -1))
                continue
            end = state.truncated_to if state.truncated_to >= 0 else state.end
            results.append(OffsetForLeaderEpochResult(item.partition, "NONE", item.leader_epoch, end))
        return OffsetForLeaderEpochResponse(body.correlation_id, tuple(results))

    def _fetch(self, broker: int, body: FetchRequest) -> Message:
        results = []
        for item in body.items:
            state = self.partitions[item.partition]
            if state.leader != broker:
                results.append(
                    FetchResult(
                        item.partition, "NOT_LEADER_OR_FOLLOWER", current_leader=state.leader, current_leader_epoch=state.epoch
                    )
                )
            elif item.current_leader_epoch < state.epoch:
                results.append(FetchResult(item.partition, "FENCED_LEADER_EPOCH"))
            elif not state.start <= item.fetch_offset <= state.end:
                results.append(FetchResult(item.partition, "OFFSET_OUT_OF_RANGE"))
            else:
                found = tuple(batch for batch in state.batches if read_header(batch).last_offset >= item.fetch_offset)
                results.append(FetchResult(item.partition, "NONE", state.end, state.end, state.start, found))
        return FetchResponse(body.correlation_id, tuple(results))
