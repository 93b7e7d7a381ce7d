"""The fault simulator: random clusters, workloads and faults from a seed, watched by the oracle, then healed and drained.

Swarm testing (Groce et al. 2012): each seed draws which kinds of fault it uses and how often, so that rare combinations get whole runs
to themselves. Everything follows from the seed; a failing one is replayed with ``python -m engine replay SEED``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from engine import commands as cm
from engine import world as wd
from engine.broker.node import BrokerNode
from engine.check.arena import Arena, Listener, Report
from engine.check.invariants import partitions_of
from engine.controller.node import ControllerNode
from engine.messages.base import TopicPartition
from engine.sim.kernel import Host
from engine.sim.rng import Stream, seed_for
from engine.spec import BASE_CONTROLLER_ID, ClusterSpec, broker_name, controller_name

RUN_US = 20_000_000

CRASHES = ("kill", "power loss", "torn write", "pause", "polite stop")
NETWORK = ("cut node", "cut pair", "one-way cut", "delay", "loss")
DISKS = ("slow disk", "full disk", "corrupt disk", "wiped disk")
CONTROL = ("kill controller", "pause controller", "cut controller", "slow controller")
PLOTS = ("stale proposal",)
ADMIN = ("preferred election", "unclean election", "reassignment", "config change")
CLIENTS = ("kill producer", "pause producer")
FAULTS = (*CRASHES, *NETWORK, *DISKS, *CONTROL, *PLOTS, *ADMIN, *CLIENTS)
"""Every kind of fault; a campaign must have seen each."""


class Targets(NamedTuple):
    """Whom a fault may befall this time; it takes of these what it needs."""

    broker: str
    controller: str
    server: str
    other: str
    producer: str


Inflict = Callable[[Any, Targets], bool]
"""Does a fault to one of the targets; whether it could be done."""


class Campaign(Arena):
    """One seed: draws a plan, runs it, heals, drains, judges. What a profile draws, and how it troubles the cluster, its class says."""

    inflict: ClassVar[dict[str, Inflict]]

    def __init__(self, seed: int, mutants: tuple[str, ...] = (), listeners: tuple[Listener, ...] = ()) -> None:
        self.stream = Stream(seed_for(seed, "fuzz"))
        super().__init__(self._draw_spec(mutants), seed, listeners)
        menu = self._menu()
        self.faults = [fault for fault in menu if self.stream.chance(300_000)] or [self._pick(menu)]
        self.pace_us = self.stream.between(200_000, 3_000_000)

    def _menu(self) -> tuple[str, ...]:
        """The kinds of fault that make sense for this seed."""
        return tuple(self.inflict)

    def _pick(self, options: tuple[str, ...] | list[str]) -> str:
        return options[self.stream.below(len(options))]

    def _draw_spec(self, mutants: tuple[str, ...]) -> ClusterSpec:
        s = self.stream
        return ClusterSpec(
            brokers=3,
            controllers=3,
            elr=s.chance(700_000),
            broker_configs={
                "min.insync.replicas": str(1 + s.below(2)),
                "unclean.leader.election.enable": "true" if s.chance(150_000) else "false",
                "replica.lag.time.max.ms": str(s.between(1_500, 10_000)),
                "broker.session.timeout.ms": str(s.between(3_000, 9_000)),
                "broker.heartbeat.interval.ms": "1000",
                "leader.imbalance.check.interval.seconds": str(s.between(5, 60)),
            },
            mutants=mutants,
        )

    def run(self) -> Report:
        return self.report(self._run)

    def _run(self) -> None:
        self.form()
        self._start_load()
        self._trouble()
        self.settle()

    def _start_load(self) -> None:
        s = self.stream
        for topic in ("orders", "payments")[: 1 + s.below(2)]:
            self.do(cm.CreateTopic(topic, 1 + s.below(3), 3))
        self.advance(1_000_000)
        for number in range(1 + s.below(2)):
            acks = ("all", "all", "all", "1", "0")[s.below(5)]
            configs = {
                "acks": acks,
                "delivery.timeout.ms": "30000",
                "request.timeout.ms": "3000",
                "linger.ms": str(s.below(20)),
            }
            if acks == "all" and s.chance(300_000):
                configs["enable.idempotence"] = "false"
            name = f"producer-{number}"
            self.do(cm.CreateProducer(name, configs))
            self._load(name)
        topics = [topic for topic in ("orders", "payments") if self._has_topic(topic)]
        self.do(cm.CreateConsumer("reader", list(topics), {"auto.offset.reset": "earliest"}))

    def _load(self, producer: str) -> None:
        s = self.stream
        topic = "payments" if s.chance(400_000) and self._has_topic("payments") else "orders"
        self.do(
            cm.StartWorkload(
                f"load-{producer}-{self.world.workloads_started}", topic, producer,
                records_per_second=s.between(10, 120), keys=s.below(20), value_bytes=s.between(20, 200), limit=1_500,
            )
        )  # fmt: skip

    def _has_topic(self, topic: str) -> bool:
        image = wd.best_image(self.world)
        return image is not None and topic in image.topics

    def _trouble(self) -> None:
        end = self.world.kernel.now + RUN_US
        while self.world.kernel.now < end:
            self.advance(1 + self.stream.below(2 * self.pace_us))
            if self.stream.chance(350_000):
                self._mend_something()
            else:
                fault = self._pick(self.faults)
                if self._inflict(fault):
                    self.counts[f"fault: {fault}"] += 1

    def _mend_something(self) -> None:
        """Now and then something comes back, so that faults meet recoveries half-way."""
        s = self.stream
        hosts = list(self.world.kernel.hosts.values())
        host = hosts[s.below(len(hosts))]
        if host.status == "paused":
            self.do(cm.ResumeNode(host.name))
        elif host.status == "down":
            self.do(cm.FreeDisk(host.name))
            self.do(cm.StartNode(host.name))
            if host.kind == "producer":
                self._load(host.name)
        else:
            self.do(cm.HealNetwork(host.name, "*"))

    def _inflict(self, fault: str) -> bool:
        s = self.stream
        spec = self.world.spec
        broker = broker_name(1 + s.below(spec.brokers))
        controller = controller_name(BASE_CONTROLLER_ID + s.below(spec.controllers))
        server = broker if s.chance(700_000) else controller
        other = self._pick(self._peers(broker))
        producer = f"producer-{s.below(2)}"
        return self.inflict[fault](self, Targets(broker, controller, server, other, producer))

    def _peers(self, broker: str) -> list[str]:
        """Whom the network can part from ``broker``."""
        return [name for name in self.world.kernel.hosts if name != broker]

    def _down_then(self, broker: str, command: cm.Command) -> bool:
        """Disks are touched while their process is down; it comes back at once to what is left."""
        self.do(cm.KillNode(broker))
        done = self.do(command)
        self.do(cm.StartNode(broker))
        return done

    def _partition(self) -> tuple[str, int]:
        image = wd.best_image(self.world)
        known = partitions_of(image) if image is not None else []
        if not known:
            return "orders", 0
        chosen = known[self.stream.below(len(known))][0]
        return chosen.topic, chosen.partition

    def _reassign(self) -> bool:
        topic, partition = self._partition()
        brokers = list(range(1, self.world.spec.brokers + 1))
        if len(brokers) < 3:
            return False
        first = brokers.pop(self.stream.below(len(brokers)))
        second = brokers.pop(self.stream.below(len(brokers)))
        replicas = [first, second, brokers[0]][: 2 + self.stream.below(2)]
        return self.do(cm.ReassignPartition(topic, partition, replicas))

    def _configure(self) -> bool:
        topic, _ = self._partition()
        return self.do(cm.AlterConfig("topic", topic, {"min.insync.replicas": str(1 + self.stream.below(2))}))

    def _elect(self, kind: str) -> bool:
        topic, partition = self._partition()
        return self.do(cm.ElectLeader(kind, topic, partition))

    def _corrupt(self, broker: str) -> bool:
        """Only under a process that was killed: after a clean stop Kafka trusts its log, and rot stays until somebody reads it."""
        topic, partition = self._partition()
        killed = self.do(cm.KillNode(broker))
        done = killed and self.do(cm.CorruptDisk(broker, topic, partition))
        self.do(cm.StartNode(broker))
        return done

    def _stale_proposal(self) -> bool:
        """A plot, since chance alone seldom finds it: a leader vouches for a follower that has caught up, but the proposal crawls to
        the controller. Meanwhile leadership moves to another replica, from which that follower is cut off. Whoever believes the old
        leader's proposal now counts a replica in that lacks what the new leader has committed."""
        topic, number = self._partition()
        partition = TopicPartition(topic, number)
        image = wd.best_image(self.world)
        state = image.partition(partition) if image is not None else None
        controller = next((name for name, host in self.world.kernel.hosts.items() if is_active_controller(host)), "")
        if state is None or state.leader == -1 or len(state.replicas) != 3 or len(state.isr) < 2 or not controller:
            return False
        leader = state.leader
        heir = next(broker for broker in state.isr if broker != leader)
        late = next(broker for broker in state.replicas if broker not in (leader, heir))
        if late in state.isr:
            self.do(cm.KillNode(f"broker-{late}"))
            self.advance(10_000_000)
        self.do(cm.DegradeNetwork(f"broker-{leader}", controller, delay_ms=1_000 + self.stream.below(2_000), one_way=True))
        self.do(cm.StartNode(f"broker-{late}"))
        for _ in range(100):
            node = self.world.kernel.hosts[f"broker-{leader}"].node
            replica = node.partitions.get(partition) if isinstance(node, BrokerNode) else None
            if replica is None:
                return False
            if replica.pending_isr is not None and late in replica.pending_isr:
                break
            self.advance(50_000)
        self.do(cm.CutNetwork(f"broker-{late}", f"broker-{heir}"))
        self.do(cm.ReassignPartition(topic, number, [heir, leader, late]))
        self.advance(20_000)
        self.do(cm.ElectLeader("preferred", topic, number))
        self.advance(3_000_000)
        return True


INFLICT: dict[str, Inflict] = {
    "kill": lambda c, t: c.do(cm.KillNode(t.broker)),
    "power loss": lambda c, t: c.do(cm.LosePower(t.server)),
    "torn write": lambda c, t: c.do(cm.LosePower(t.server, torn=True)),
    "pause": lambda c, t: c.do(cm.PauseNode(t.broker)),
    "polite stop": lambda c, t: c.do(cm.StopNode(t.broker)),
    "cut node": lambda c, t: c.do(cm.CutNetwork(t.server)),
    "cut pair": lambda c, t: c.do(cm.CutNetwork(t.broker, t.other)),
    "one-way cut": lambda c, t: c.do(cm.CutNetwork(t.broker, t.other, one_way=True)),
    "delay": lambda c, t: c.do(cm.DegradeNetwork(t.broker, t.other, delay_ms=c.stream.below(800))),
    "loss": lambda c, t: c.do(cm.DegradeNetwork(t.broker, t.other, loss_percent=float(1 + c.stream.below(20)))),
    "slow disk": lambda c, t: c.do(cm.SlowDisk(t.server, 1 + c.stream.below(200))),
    "full disk": lambda c, t: c.do(cm.FillDisk(t.broker)),
    "corrupt disk": lambda c, t: c._corrupt(t.broker),
    "wiped disk": lambda c, t: c._down_then(t.broker, cm.WipeDisk(t.broker)),
    "kill controller": lambda c, t: c.do(cm.KillNode(t.controller)),
    "pause controller": lambda c, t: c.do(cm.PauseNode(t.controller)),
    "cut controller": lambda c, t: c.do(cm.CutNetwork(t.controller)),
    "slow controller": lambda c, t: c.do(
        cm.DegradeNetwork(t.broker, t.controller, delay_ms=200 + c.stream.below(3_000), one_way=c.stream.chance(500_000))
    ),
    "stale proposal": lambda c, t: c._stale_proposal(),
    "preferred election": lambda c, t: c._elect("preferred"),
    "unclean election": lambda c, t: c._elect("unclean"),
    "reassignment": lambda c, t: c._reassign(),
    "config change": lambda c, t: c._configure(),
    "kill producer": lambda c, t: c.do(cm.KillNode(t.producer)),
    "pause producer": lambda c, t: c.do(cm.PauseNode(t.producer)),
}
Campaign.inflict = INFLICT


def is_active_controller(host: Host) -> bool:
    return isinstance(host.node, ControllerNode) and host.node.active
