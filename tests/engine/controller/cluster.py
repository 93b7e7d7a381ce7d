"""A quorum with hand-driven brokers: they register, send heartbeats and fetch the metadata, and keep every answer they get."""

from __future__ import annotations

from typing import Any

from engine.coordination.quorum_observer import QuorumObserver
from engine.messages.admin import AdminResponse, CreatableTopic, CreateTopicsRequest
from engine.messages.base import Message, Request, Timer
from engine.messages.cluster import (
    BrokerHeartbeatRequest,
    BrokerHeartbeatResponse,
    BrokerRegistrationRequest,
    BrokerRegistrationResponse,
    EnvelopeRequest,
    EnvelopeResponse,
)  # fmt: skip
from engine.metadata.image import MetadataImage, PartitionImage
from engine.sim.outbox import Outbox
from engine.spec import ClusterSpec, broker_name, controller_name
from tests.engine.coordination.harness import VOTERS, Cluster


class Tick(Timer, frozen=True, gc=False, tag=True):
    pass


class FakeBroker:
    """Registers until it is let in, then sends a heartbeat every 2 s."""

    def __init__(self, broker_id: int, incarnation: str, previous_epoch: int = -1, rack: str = "") -> None:
        self.broker_id, self.incarnation, self.previous_epoch, self.rack = broker_id, incarnation, previous_epoch, rack
        self.epoch = -1
        self.want_shut_down = False
        self.stopped = False
        self.answers: list[Any] = []
        self.image = MetadataImage()

    def start(self, out: Outbox) -> None:
        self.observer = QuorumObserver.boot(self.broker_id, VOTERS, out)
        out.arm(Tick(), after_us=200_000)

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        if self.observer.handle(source, body, out):
            for batch in self.observer.take_committed():
                for position, record in enumerate(batch.records):
                    self.image.apply(record, batch.base_offset + position, batch.epoch)
        elif isinstance(body, Tick):
            self.tick(out)
        else:
            if isinstance(body, BrokerRegistrationResponse) and body.error == "NONE":
                self.epoch = body.broker_epoch
            if isinstance(body, BrokerHeartbeatResponse) and body.should_shut_down:
                self.stopped = True
            self.answers.append(body)

    def tick(self, out: Outbox) -> None:
        out.arm(Tick(), after_us=200_000 if self.epoch < 0 or self.want_shut_down else 2_000_000)
        if self.observer.leader_id < 0 or self.stopped:
            return
        controller = controller_name(self.observer.leader_id)
        if self.epoch < 0:
            request = BrokerRegistrationRequest(1, self.broker_id, self.incarnation, self.rack, self.previous_epoch)
            out.send(controller, request)
        else:
            out.because(0)  # a heartbeat is nobody's doing
            offset = self.image.offset
            out.send(controller, BrokerHeartbeatRequest(1, self.broker_id, self.epoch, offset, False, self.want_shut_down))


class Brokers(Cluster):
    """Brokers 1 to ``brokers``, formed and unfenced."""

    def __init__(self, brokers: int = 3, spec: ClusterSpec | None = None, seed: int = 1, racks: tuple[str, ...] = ()) -> None:
        super().__init__(seed, VOTERS, spec)
        for broker_id in range(1, brokers + 1):
            self.kernel.add_host(broker_name(broker_id), "broker")
            self.boot(broker_id, rack=racks[broker_id - 1] if racks else "")
        self.run(8)

    def boot(self, broker_id: int, *, previous_epoch: int = -1, rack: str = "") -> FakeBroker:
        fake = FakeBroker(broker_id, f"{broker_id}/{self.kernel.now}", previous_epoch, rack)
        self.kernel.start(broker_name(broker_id), fake, 0)
        return fake

    def broker(self, broker_id: int) -> FakeBroker:
        node = self.kernel.hosts[broker_name(broker_id)].node
        assert isinstance(node, FakeBroker)
        return node

    def kill_broker(self, broker_id: int) -> None:
        self.kernel.kill(broker_name(broker_id), 0)

    def ask(self, request: Message, broker_id: int = 1, seconds: float = 0.1) -> Any:
        """Sends ``request`` from a broker to the active controller; the newest answer, unless it is a heartbeat's."""
        fake = self.broker(broker_id)
        fake.answers.clear()
        self.deliver(controller_name(self.active().node_id), request, broker_name(broker_id))
        self.run(seconds)
        wanted = type(request).__name__.replace("Request", "Response")
        return [answer for answer in fake.answers if type(answer).__name__ == wanted][-1]

    def admin(self, request: Request) -> AdminResponse:
        alive = next(b for b in range(1, 10) if self.kernel.hosts[broker_name(b)].node is not None)
        answer = self.ask(EnvelopeRequest(7, "User:ANONYMOUS", request), alive)
        assert isinstance(answer, EnvelopeResponse)
        assert answer.error == "NONE"
        assert isinstance(answer.response, AdminResponse)
        return answer.response

    def create(self, name: str = "orders", *assignments: tuple[int, ...], **configs: str) -> AdminResponse:
        settings = tuple((key.replace("_", "."), value) for key, value in configs.items())
        return self.admin(
            CreateTopicsRequest(1, (CreatableTopic(name, assignments=assignments or ((1, 2, 3),), configs=settings),))
        )

    def partition(self, topic: str = "orders", number: int = 0) -> PartitionImage:
        return self.active().image.topics[topic].partitions[number]
