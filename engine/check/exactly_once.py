"""The profile "exactly-once": every node is killed in turn under a transactional read-process-write job of four instances.

Nothing else befalls the cluster, so nothing licenses a loss: the output must equal the input, each record once, for whoever reads
committed records only.
"""

from __future__ import annotations

from engine import commands as cm
from engine import world as wd
from engine.check.fuzz import Campaign, Inflict
from engine.check.invariants import partitions_of
from engine.spec import ClusterSpec

SOURCE, TARGET, JOB = "input", "output", "job"
INSTANCES = 4
PATIENCE_US = 90_000_000
KILL: dict[str, Inflict] = {"kill": lambda campaign, targets: campaign.do(cm.KillNode(targets.broker))}


class ExactlyOnce(Campaign):
    """The order of the victims, the pace, and how long each is down, come from the seed."""

    inflict = KILL

    def _draw_spec(self, mutants: tuple[str, ...]) -> ClusterSpec:
        s = self.stream
        return ClusterSpec(
            brokers=3,
            controllers=3,
            broker_configs={
                "min.insync.replicas": "2",
                "replica.lag.time.max.ms": str(s.between(1_500, 10_000)),
                "broker.session.timeout.ms": str(s.between(3_000, 6_000)),
                "broker.heartbeat.interval.ms": "1000",
                "offsets.topic.num.partitions": str(1 + s.below(2)),
                "transaction.state.log.num.partitions": str(1 + s.below(3)),
                "transaction.abort.timed.out.transaction.cleanup.interval.ms": str(s.between(1_000, 5_000)),
                "group.initial.rebalance.delay.ms": str(s.below(1_000)),
            },
            mutants=mutants,
        )

    def _start_load(self) -> None:
        s = self.stream
        self.do(cm.CreateTopic(SOURCE, INSTANCES, 3))
        self.do(cm.CreateTopic(TARGET, 1 + s.below(3), 3))
        self.advance(500_000)
        self.do(cm.CreateProducer("source", {"request.timeout.ms": "3000"}))
        self.do(cm.CreateConsumer("sink", [TARGET], {"auto.offset.reset": "earliest", "isolation.level": "read_committed"}))
        self.do(cm.StartWorkload("load", SOURCE, "source", s.between(5, 30), keys=s.below(20), value_bytes=40, limit=300))
        for number in range(INSTANCES):
            self.do(cm.CreateProcessor(self._instance(number), JOB, SOURCE, TARGET, self._configs(number), s.between(10, 200)))

    def _instance(self, number: int) -> str:
        return f"{JOB}-{number}"

    def _configs(self, number: int) -> dict[str, str]:
        s = self.stream
        return {
            "transactional.id": self._instance(number),
            "transaction.timeout.ms": str(s.between(4_000, 15_000)),
            "session.timeout.ms": "6000",
            "heartbeat.interval.ms": "1000",
            "max.poll.records": str(s.between(1, 10)),
            "max.poll.interval.ms": "6000",
            "delivery.timeout.ms": "8000",
            "request.timeout.ms": "3000",
        }

    def _trouble(self) -> None:
        """Each node once. Clients and controllers may be down together with a broker, two brokers never: what only one replica holds
        could then be lost by rule."""
        hosts = list(self.world.kernel.hosts.values())
        victims = [host.name for host in hosts if host.kind in ("broker", "controller", "processor")]
        down: list[tuple[int, str]] = []
        patience_us = self.now + PATIENCE_US
        while (victims or down) and self.now < patience_us:
            self.advance(1 + self.stream.below(2_000_000))
            for at_us, name in [entry for entry in down if entry[0] <= self.now]:
                self.do(cm.StartNode(name))
                down.remove((at_us, name))
            victim = victims[self.stream.below(len(victims))] if victims else ""
            if not victim or (victim.startswith("broker-") and not self._whole()):
                continue
            if victim.startswith("controller-") and any(name.startswith("controller-") for _, name in down):
                continue
            victims.remove(victim)
            if self.do(cm.KillNode(victim)):
                self.counts[f"fault: kill {self.world.kernel.hosts[victim].kind}"] += 1
                down.append((self.now + self.stream.below(5_000_000), victim))

    def _whole(self) -> bool:
        """Every broker runs, and every replica is in its ISR."""
        if any(host.kind == "broker" and host.status != "up" for host in self.world.kernel.hosts.values()):
            return False
        image = wd.best_image(self.world)
        return wd.formed(self.world) and image is not None and all(len(state.isr) == 3 for _, state in partitions_of(image))
