"""Controllers on the real kernel, without brokers: what the quorum's tests run on."""

from __future__ import annotations

from typing import Any

from engine.controller.node import ControllerNode
from engine.coordination.quorum import Quorum
from engine.events import Happening
from engine.messages.base import Message, Timer
from engine.sim.kernel import Kernel
from engine.sim.outbox import Outbox
from engine.spec import ClusterSpec, controller_name

VOTERS = (101, 102, 103)
SECOND = 1_000_000


class Probe:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.received: list[Message | Timer] = []

    def start(self, out: Outbox) -> None:
        pass

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        self.received.append(body)


class Cluster:
    """``voters`` controllers that can be killed, restarted, paused and cut; ``events`` keeps all that happened."""

    def __init__(self, seed: int = 1, voters: tuple[int, ...] = VOTERS, spec: ClusterSpec | None = None) -> None:
        self.kernel = Kernel(seed, 1_767_225_600_000)
        self.voters = voters
        self.spec = spec or ClusterSpec(controllers=len(voters))
        self.events: list[Happening] = []
        for voter in voters:
            self.kernel.add_host(controller_name(voter), "controller")
        for voter in voters:
            self.start(voter)

    def start(self, voter: int) -> None:
        configs = dict(self.spec.broker_configs)
        self.kernel.start(controller_name(voter), ControllerNode(voter, self.voters, configs, self.spec), 0)

    def kill(self, voter: int) -> None:
        self.kernel.kill(controller_name(voter), 0)

    def up(self, voter: int) -> bool:
        return self.kernel.hosts[controller_name(voter)].node is not None

    def node(self, voter: int) -> ControllerNode:
        node = self.kernel.hosts[controller_name(voter)].node
        assert isinstance(node, ControllerNode)
        return node

    def quorum(self, voter: int) -> Quorum:
        return self.node(voter).quorum

    def run(self, seconds: float) -> None:
        self.kernel.run(self.kernel.now + int(seconds * SECOND))
        self.events += self.kernel.fresh
        self.kernel.fresh.clear()

    def active(self) -> ControllerNode:
        """The active controller of the highest epoch."""
        found = [self.node(voter) for voter in self.voters if self.up(voter) and self.node(voter).active]
        return max(found, key=lambda node: node.quorum.epoch)

    def happened(self, kind: type) -> list[Any]:
        """The ``Happening``s of one kind of event."""
        return [happening for happening in self.events if isinstance(happening.event, kind)]

    def deliver(self, target: str, body: Message | Timer, source: str) -> None:
        """Hands ``body`` to a node at once."""
        host = self.kernel.hosts[target]
        out = self.kernel._outbox(host, 0)
        assert host.node is not None
        host.node.handle(source, body, out)
        self.kernel._carry_out(host, out)
