"""A world for broker tests: the real kernel and brokers, a scripted controller, and clients that keep what they are answered.

The controller is a quorum of one that nobody elects: it commits what a test says, accepts registrations, heartbeats and ISR changes,
and can be told to hold or refuse the latter.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any, TypeVar

from engine.broker.node import BrokerNode
from engine.broker.state import Replica
from engine.events import Event, Happening
from engine.log.record_batch import assign, build_batch
from engine.messages.base import Message, Request, Timer, TopicPartition
from engine.messages.cluster import (
    AllocateProducerIdsRequest,
    AllocateProducerIdsResponse,
    AlterPartitionItem,
    AlterPartitionRequest,
    AlterPartitionResponse,
    AlterPartitionResult,
    BrokerHeartbeatRequest,
    BrokerHeartbeatResponse,
    BrokerRegistrationRequest,
    BrokerRegistrationResponse,
    EnvelopeRequest,
    EnvelopeResponse,
)  # fmt: skip
from engine.messages.fetch import FetchItem, FetchRequest, FetchResponse
from engine.messages.produce import ProduceItem, ProduceRequest, ProduceResponse
from engine.messages.quorum import QuorumFetchRequest, QuorumFetchResponse
from engine.metadata.image import MetadataImage
from engine.metadata.records import (
    BrokerRegistrationChange,
    Config,
    LeaderChange,
    MetadataRecord,
    Partition,
    PartitionChange,
    RegisterBroker,
    RemoveTopic,
    Topic,
    encode,
)  # fmt: skip
from engine.sim.kernel import Kernel
from engine.sim.outbox import Outbox
from engine.spec import broker_name

CONTROLLER = "controller-101"
MS = 1_000
SECOND = 1_000_000
E = TypeVar("E", bound=Event)
M = TypeVar("M", bound=Message)
TP = TopicPartition("orders", 0)


def topic_id(name: str) -> str:
    """A topic's ID in Kafka's text form."""
    return urlsafe_b64encode(f"{name:16.16}".encode()).decode().rstrip("=")


class Expire(Timer, frozen=True, gc=False, tag=True):
    """A parked metadata fetch is answered."""

    source: str


@dataclass(slots=True)
class ScriptedController:
    """``alter``: "accept", "hold" or the name of the error that ISR changes are refused with."""

    batches: list[bytes] = field(default_factory=list)
    image: MetadataImage = field(default_factory=MetadataImage)
    end: int = 0
    parked: dict[str, QuorumFetchRequest] = field(default_factory=dict)
    alter: str = "accept"
    active: bool = True
    grant_shutdown: bool = True
    requests: list[Request] = field(default_factory=list)
    next_producer_id: int = 0
    answers: dict[type, Message] = field(default_factory=dict)

    def start(self, out: Outbox) -> None:
        if not self.batches:
            self.commit([LeaderChange(101, (101,))], out)

    def handle(self, source: str, body: Any, out: Outbox) -> None:
        if isinstance(body, QuorumFetchRequest):
            self.parked[source] = body
            if body.fetch_offset < self.end or not self.image.brokers:
                self.answer_fetch(source, out)
            else:
                out.arm(Expire(source), after_us=500 * MS)
        elif isinstance(body, Expire):
            if body.source in self.parked:
                self.answer_fetch(body.source, out)
        elif isinstance(body, Request):
            self.requests.append(body)
            self.serve(source, body, out)

    def answer_fetch(self, source: str, out: Outbox) -> None:
        request = self.parked.pop(source)
        found = []
        at = 0
        for batch in self.batches:
            count = int.from_bytes(batch[57:61], "big")
            if at >= request.fetch_offset:
                found.append(batch)
            at += count
        out.send(source, QuorumFetchResponse(request.correlation_id, "NONE", 1, 101, self.end, tuple(found)))

    def commit(self, records: list[MetadataRecord], out: Outbox) -> None:
        batch = build_batch([(None, encode(record), (), out.now_ms) for record in records])
        self.batches.append(assign(batch, self.end, 1))
        for record in records:
            self.image.apply(record, self.end, 1)
            self.end += 1
        for source in list(self.parked):
            self.answer_fetch(source, out)

    def serve(self, source: str, body: Request, out: Outbox) -> None:
        number = body.correlation_id
        if not self.active:
            if isinstance(body, BrokerHeartbeatRequest):
                out.send(source, BrokerHeartbeatResponse(number, "NOT_CONTROLLER"))
            elif isinstance(body, EnvelopeRequest):
                out.send(source, EnvelopeResponse(number, "NOT_CONTROLLER"))
        elif isinstance(body, BrokerRegistrationRequest):
            epoch = self.end
            self.commit([RegisterBroker(body.broker_id, epoch, body.incarnation_id, body.rack)], out)
            out.send(source, BrokerRegistrationResponse(number, "NONE", epoch))
        elif isinstance(body, BrokerHeartbeatRequest):
            self.heartbeat(source, body, out)
        elif isinstance(body, AlterPartitionRequest):
            if self.alter != "hold":
                results = tuple([self.alter_one(body.broker_id, item, out) for item in body.partitions])
                out.send(source, AlterPartitionResponse(number, "NONE", results))
        elif isinstance(body, AllocateProducerIdsRequest):
            first, self.next_producer_id = self.next_producer_id, self.next_producer_id + 1000
            out.send(source, AllocateProducerIdsResponse(number, "NONE", first, 1000))
        elif isinstance(body, EnvelopeRequest) and type(body.request) in self.answers:
            out.send(source, EnvelopeResponse(number, "NONE", self.answers[type(body.request)]))  # type: ignore[arg-type]

    def heartbeat(self, source: str, body: BrokerHeartbeatRequest, out: Outbox) -> None:
        known = self.image.brokers[body.broker_id]
        caught_up = body.current_metadata_offset >= known.registration_offset
        if known.fenced and caught_up and not body.want_fence:
            self.commit([BrokerRegistrationChange(body.broker_id, body.broker_epoch, fenced=False)], out)
            known = self.image.brokers[body.broker_id]
        stop = body.want_shut_down and self.grant_shutdown
        out.send(source, BrokerHeartbeatResponse(body.correlation_id, "NONE", caught_up, known.fenced, stop))

    def alter_one(self, broker_id: int, item: AlterPartitionItem, out: Outbox) -> AlterPartitionResult:
        if self.alter != "accept":
            return AlterPartitionResult(item.partition, self.alter)
        isr = tuple([member.broker_id for member in item.new_isr])
        self.commit([PartitionChange(item.topic_id, item.partition.partition, isr=isr)], out)
        now = self.image.partition(item.partition)
        assert now is not None
        return AlterPartitionResult(item.partition, "NONE", now.leader, now.leader_epoch, now.isr, now.partition_epoch)


@dataclass(slots=True)
class Client:
    answers: list[Message] = field(default_factory=list)

    def start(self, out: Outbox) -> None:
        pass

    def handle(self, source: str, body: Any, out: Outbox) -> None:
        self.answers.append(body)


class World:
    """``brokers`` running brokers with IDs from 1, one topic with the given partitions' replicas."""

    def __init__(self, brokers: int = 3, configs: dict[str, str] | None = None, mutants: tuple[str, ...] = ()) -> None:
        self.kernel = Kernel(seed=7, epoch_ms=1_767_225_600_000)
        self.configs = configs or {}
        self.mutants = mutants
        self.history: list[Happening] = []
        self.number = 1000
        self.controller = ScriptedController()
        self.kernel.add_host(CONTROLLER, "controller")
        self.kernel.start(CONTROLLER, self.controller, 0)
        for broker_id in range(1, brokers + 1):
            self.kernel.add_host(broker_name(broker_id), "broker")
            self.boot(broker_id)
        self.add_client("app")
        self.run(SECOND)

    # -- the world ---------------------------------------------------------------------------------------------------------------

    def run(self, us: int) -> None:
        self.kernel.run(self.kernel.now + us)
        self.history += self.kernel.fresh
        self.kernel.fresh.clear()

    def boot(self, broker_id: int) -> None:
        self.kernel.start(broker_name(broker_id), BrokerNode(broker_id, (101,), dict(self.configs), "", self.mutants), 0)

    def kill(self, broker_id: int) -> None:
        self.kernel.kill(broker_name(broker_id), 0)

    def pause(self, broker_id: int) -> None:
        self.kernel.pause(broker_name(broker_id), 0)

    def cut(self, one: str, other: str) -> None:
        self.kernel.cut(one, other, 0)
        self.kernel.cut(other, one, 0)

    def heal(self, one: str, other: str) -> None:
        self.kernel.heal(one, other, 0)
        self.kernel.heal(other, one, 0)

    def add_client(self, name: str) -> None:
        self.kernel.add_host(name, "client")
        self.kernel.start(name, Client(), 0)

    def commit(self, *records: MetadataRecord) -> None:
        host = self.kernel.hosts[CONTROLLER]
        out = self.kernel._outbox(host, 0)
        self.controller.commit(list(records), out)
        self.kernel._carry_out(host, out)

    def topic(self, *partitions: tuple[int, ...], name: str = "orders", configs: dict[str, str] | None = None) -> None:
        records: list[MetadataRecord] = [Topic(name, topic_id(name))]
        records += [Config("topic", name, key, value) for key, value in (configs or {}).items()]
        records += [
            Partition(topic_id(name), number, replicas, replicas, replicas[0]) for number, replicas in enumerate(partitions)
        ]
        self.commit(*records)
        self.run(100 * MS)

    def change(self, **changes: Any) -> None:
        """A PartitionChange of orders-0."""
        self.commit(PartitionChange(topic_id("orders"), 0, **changes))

    def delete_topic(self) -> None:
        self.commit(RemoveTopic(topic_id("orders")))

    # -- looking ------------------------------------------------------------------------------------------------------------------

    def broker(self, broker_id: int) -> BrokerNode:
        node = self.kernel.hosts[broker_name(broker_id)].node
        assert isinstance(node, BrokerNode)
        return node

    def replica(self, broker_id: int, partition: TopicPartition = TP) -> Replica:
        return self.broker(broker_id).partitions[partition]

    def events(self, kind: type[E]) -> list[E]:
        self.run(0)
        return [happening.event for happening in self.history if isinstance(happening.event, kind)]

    def last(self, kind: type[Event]) -> Happening:
        return [happening for happening in self.history if isinstance(happening.event, kind)][-1]

    def answers(self, kind: type[M], client: str = "app") -> list[M]:
        node = self.kernel.hosts[client].node
        assert isinstance(node, Client)
        return [answer for answer in node.answers if isinstance(answer, kind)]

    # -- asking -------------------------------------------------------------------------------------------------------------------

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def send(self, broker_id: int, request: Message, client: str = "app") -> None:
        self.kernel._transmit(client, broker_name(broker_id), request, self.kernel.now, 0)

    def batch(self, *values: bytes, producer: int = -1, epoch: int = -1, sequence: int = -1, key: bytes | None = None) -> bytes:
        now_ms = self.kernel.epoch_ms + self.kernel.now // 1000
        return build_batch(
            [(key, value, (), now_ms) for value in values], producer_id=producer, producer_epoch=epoch, base_sequence=sequence
        )

    def produce(
        self, broker_id: int, *values: bytes, acks: int = -1, timeout_ms: int = 30_000, batch: bytes | None = None,
        partition: TopicPartition = TP, client: str = "app",
    ) -> int:  # fmt: skip
        number = self.next_number()
        item = ProduceItem(partition, self.batch(*values) if batch is None else batch)
        self.send(broker_id, ProduceRequest(number, client, acks, timeout_ms, (item,)), client)
        return number

    def produced(self, broker_id: int, *values: bytes, acks: int = -1, run_us: int = 20 * MS, **others: Any) -> tuple[str, int]:
        """(error, base offset) of the answer, ("", -1) where there is none yet."""
        number = self.produce(broker_id, *values, acks=acks, **others)
        self.run(run_us)
        return self.answered(number)

    def answered(self, number: int) -> tuple[str, int]:
        for answer in self.answers(ProduceResponse):
            if answer.correlation_id == number:
                return answer.results[0].error, answer.results[0].base_offset
        return "", -1

    def fetch(
        self, broker_id: int, offset: int, max_wait_ms: int = 0, client: str = "app", epoch: int = -1, max_bytes: int = 1 << 20,
        isolation: str = "read_uncommitted",
    ) -> int:  # fmt: skip
        number = self.next_number()
        item = FetchItem(TP, "", offset, epoch, max_bytes=max_bytes)
        self.send(broker_id, FetchRequest(number, -1, -1, max_wait_ms, 1, 1 << 20, (item,), isolation), client)
        return number

    def fetched(self, broker_id: int, offset: int, **others: Any) -> Any:
        number = self.fetch(broker_id, offset, **others)
        self.run(20 * MS)
        found = [answer for answer in self.answers(FetchResponse) if answer.correlation_id == number]
        return found[0].results[0] if found else None
