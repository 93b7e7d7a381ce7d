"""Groups under random faults, by both protocols: whatever happens, the group comes together again, every partition has one owner, and no
record is left out."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine.check.ledger import LedgerTracker
from engine.sim.rng import Stream
from tests.engine.facts.scene import Scene
from tests.engine.facts.test_group_facts import member, owned

MEMBERS = ("a", "b", "c")
PARTITIONS = 5
PROTOCOLS = (
    {"partition.assignment.strategy": "range"},
    {"partition.assignment.strategy": "roundrobin"},
    {"partition.assignment.strategy": "sticky"},
    {"partition.assignment.strategy": "cooperative-sticky"},
    {"group.protocol": "consumer"},
    {"group.protocol": "consumer", "group.remote.assignor": "range"},
)


class Troublemaker:
    """Draws one command after the other; heals everything in the end."""

    def __init__(self, scene: Scene, configs: dict[str, str], seed: int) -> None:
        self.scene, self.configs, self.stream = scene, configs, Stream(seed)

    def create(self, name: str) -> None:
        commit = ("", "after")[self.stream.below(2)]
        own = dict(self.configs)
        if self.stream.chance(300_000):
            own["group.instance.id"] = f"{name}-1"
        self.scene.do(c.CreateConsumer(name, ["orders"], own, self.stream.below(3) * 30, commit))

    def step(self) -> None:
        name = MEMBERS[self.stream.below(len(MEMBERS))]
        node = self.scene.view.nodes.get(name)
        choice = self.stream.below(8)
        if node is None:
            self.create(name)
        elif node.status == "down":
            self.scene.do(c.StartNode(name))
        elif node.status == "paused":
            self.scene.do(c.ResumeNode(name))
        elif choice == 0:
            self.scene.do(c.KillNode(name))
        elif choice == 1:
            self.scene.do(c.PauseNode(name))
        elif choice == 2:
            self.scene.do(c.CloseClient(name))
        elif choice == 3:
            self.scene.do(c.SetProcessing(name, self.stream.below(4) * 500))
        elif choice == 4:
            self.broker()
        elif choice == 5:
            self.scene.do(c.CutNetwork(name, f"broker-{1 + self.stream.below(3)}"))
        elif choice == 6:
            self.scene.do(c.HealNetwork())
        self.scene.wait((1, 3, 12, 50)[self.stream.below(4)])

    def broker(self) -> None:
        down = [number for number in (1, 2, 3) if self.scene.view.nodes[f"broker-{number}"].status == "down"]
        command = c.StartNode(f"broker-{down[0]}") if down else c.KillNode(f"broker-{1 + self.stream.below(3)}")
        self.scene.do(command)

    def heal(self) -> None:
        self.scene.do(c.HealNetwork())
        for name, node in sorted(self.scene.view.nodes.items()):
            if node.status == "down":
                self.scene.do(c.StartNode(name))
            elif node.status == "paused":
                self.scene.do(c.ResumeNode(name))
        self.scene.wait(1)
        for name in MEMBERS:
            node = self.scene.view.nodes.get(name)
            if node is not None and node.status == "stopping":
                self.scene.wait(40)
            if name not in self.scene.view.nodes:
                self.create(name)
            self.scene.do(c.SetProcessing(name, 0))


@pytest.mark.parametrize("seed", range(12))
def test_a_group_comes_together_again_and_leaves_no_record_out(seed: int) -> None:
    configs = {
        "group.id": "billing", "auto.offset.reset": "earliest", "max.poll.interval.ms": "30000", **PROTOCOLS[seed % len(PROTOCOLS)],
    }  # fmt: skip
    scene = Scene(partitions=PARTITIONS, seed=seed)
    trouble = Troublemaker(scene, configs, seed)
    scene.do(c.CreateProducer("p"), c.StartWorkload("w", "orders", "p", 2, limit=400))
    for _ in range(14):
        trouble.step()
    trouble.heal()
    scene.wait(150)
    ledger = LedgerTracker()
    ledger.update(scene.lab)
    crashed = [name for name in MEMBERS if scene.view.consumers[name].application == "crashed"]
    alive = [name for name in MEMBERS if name not in crashed]
    assert [member(scene, name).state for name in alive] == ["stable"] * len(alive)
    parts = [owned(scene, name) for name in alive]
    assert sorted(number for part in parts for number in part) == list(range(PARTITIONS))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    totals = {fate: count for fate, count in ledger.snapshot().totals.items() if count}
    assert set(totals) <= {"delivered", "doubled", "duplicated", "reordered"}, totals
    assert sum(totals.values()) == 400
