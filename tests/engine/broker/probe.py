"""A client by hand in a real lab: puts any request on the wire to a broker and waits for the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine.lab import Lab
from engine.log.record_batch import build_batch
from engine.messages.base import Instruction, Message, Request, Response, Timer, TopicPartition
from engine.messages.groups import FindCoordinatorRequest
from engine.messages.produce import InitProducerIdRequest, ProduceItem, ProduceRequest
from engine.messages.transactions import EndTxnRequest
from engine.sim.outbox import Outbox
from engine.spec import broker_name

NAME = "probe"
ORDERS = TopicPartition("orders", 0)


class Ask(Instruction, frozen=True, gc=False, tag=True):
    broker: str
    request: Request


@dataclass(slots=True)
class ProbeNode:
    answers: dict[int, Response] = field(default_factory=dict)

    def start(self, out: Outbox) -> None:
        """Nothing to begin with."""

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        if isinstance(body, Ask):
            out.send(body.broker, body.request)
        elif isinstance(body, Response):
            self.answers[body.correlation_id] = body


class Probe:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.node = ProbeNode()
        self.number = 0
        lab.kernel.add_host(NAME, "probe")
        lab.kernel.start(NAME, self.node, 0)

    def put(self, broker: int, request: Request) -> int:
        """Sends it; returns its correlation ID."""
        self.number += 1
        asked = msgspec.structs.replace(request, correlation_id=self.number)
        self.lab.kernel.instruct(NAME, Ask(broker_name(broker), asked), 0)
        return self.number

    def ask(self, broker: int, request: Request, within_s: float = 10) -> Any:
        number = self.put(broker, request)
        return self.answer(number, within_s)

    def answer(self, number: int, within_s: float = 10) -> Any:
        deadline = self.lab.now_us + int(within_s * 1_000_000)
        while number not in self.node.answers and self.lab.now_us < deadline:
            self.lab.advance(self.lab.now_us + 1_000)
        return self.node.answers.pop(number, None)

    def coordinator(self, transactional_id: str = "pay") -> int:
        """Creates ``__transaction_state`` where it is not there yet."""
        for _ in range(200):
            alive = [host for host in self.lab.kernel.hosts.values() if host.kind == "broker" and host.status == "up"]
            number = int(alive[0].name.removeprefix("broker-"))
            found = self.ask(number, FindCoordinatorRequest(0, transactional_id, "transaction"))
            if found is not None and found.error == "NONE":
                return int(found.broker_id)
            self.lab.advance(self.lab.now_us + 100_000)
        raise AssertionError("no coordinator")

    def init(self, transactional_id: str = "pay", timeout_ms: int = 60_000, producer: tuple[int, int] = (-1, -1)) -> Any:
        """Asks as Java does: again while the answer is one that passes."""
        for _ in range(100):
            found = self.ask(self.coordinator(transactional_id), InitProducerIdRequest(0, transactional_id, timeout_ms, *producer))
            if found.error not in ("CONCURRENT_TRANSACTIONS", "COORDINATOR_LOAD_IN_PROGRESS", "NOT_COORDINATOR"):
                return found
            self.lab.advance(self.lab.now_us + 100_000)
        raise AssertionError("no producer ID")

    def produce(
        self,
        producer: tuple[int, int],
        sequence: int,
        value: str = "x",
        partition: TopicPartition = ORDERS,
        transactional_id: str = "pay",
        *,
        adds: bool = True,
        broker: int = 1,
    ) -> str:
        """The error of the answer."""
        record = (None, value.encode(), (), self.lab.kernel.epoch_ms + self.lab.now_us // 1000)
        data = build_batch(
            [record], producer_id=producer[0], producer_epoch=producer[1], base_sequence=sequence, transactional=True
        )
        request = ProduceRequest(0, NAME, -1, 30_000, (ProduceItem(partition, data),), transactional_id, adds)
        return str(self.ask(broker, request).results[0].error)

    def end(self, producer: tuple[int, int], committed: bool, transactional_id: str = "pay", version: int = 2) -> Any:
        request = EndTxnRequest(0, transactional_id, *producer, committed, version)
        return self.ask(self.coordinator(transactional_id), request)
