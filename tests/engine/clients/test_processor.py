"""The read-process-write application: rounds, what takes it back, what ends it."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine import events as e
from engine.clients.processor import ProcessorNode, split_configs
from engine.errors import EngineError
from engine.lab import Lab
from engine.sim.checkpoint import copy_tree, dump, load
from engine.spec import ClusterSpec, TopicSpec
from tests.engine.clients.job import FEW, Job
from tests.engine.facts.scene import Scene


class Line(Scene):
    """Topics ``in`` and ``out`` of one partition each, and the processor ``copy`` between them."""

    def __init__(self, configs: dict[str, str] | None = None, processing_ms: int = 0, wait: float = 5) -> None:
        topics = (TopicSpec("in", 1, 3, {}), TopicSpec("out", 1, 3, {}))
        self.lab = Lab(ClusterSpec(3, 3, topics, broker_configs=FEW), 1)
        self.do(c.CreateProcessor("copy", "g", "in", "out", configs or {}, processing_ms), c.CreateProducer("source"))
        self.wait(wait)

    def feed(self, *values: str, wait: float = 2) -> None:
        for value in values:
            self.do(c.Produce("in", value, "key", "source"))
        self.wait(wait)

    def seen(self, isolation: str = "read_committed") -> list[str | None]:
        name = f"{isolation}-{self.lab.now_us}"
        self.do(c.CreateConsumer(name, ["out"], {"auto.offset.reset": "earliest", "isolation.level": isolation}))
        self.wait(2)
        return [record.value for record in self.view.consumers[name].last]

    @property
    def node(self) -> ProcessorNode:
        node = self.lab.kernel.hosts["copy"].node
        assert isinstance(node, ProcessorNode)
        return node


def test_a_round_is_one_transaction_with_its_offsets() -> None:
    line = Line({"transactional.id": "copy"})
    line.feed("a", "b")
    line.feed("c")
    done = [happening.event.committed for happening in line.happened(e.TransactionCompleted)]
    assert done == [True, True]
    assert [happening.event.offsets for happening in line.happened(e.OffsetsCommitted)] == [(("in", 0, 2),), (("in", 0, 3),)]
    assert line.seen() == ["a", "b", "c"]
    view = line.view
    assert view.nodes["copy"].kind == "processor"
    assert (view.producers["copy"].acknowledged, view.consumers["copy"].consumed) == (3, 3)


def test_without_a_transactional_id_it_commits_when_all_is_acknowledged() -> None:
    line = Line()
    line.feed("a", "b")
    assert line.seen() == ["a", "b"]
    acknowledged = line.happened(e.RecordsAcknowledged, producer="copy")
    committed = line.happened(e.OffsetsCommitted)
    assert committed[0].event.offsets == (("in", 0, 2),)
    assert acknowledged[0].id < committed[0].id
    assert not line.happened(e.TransactionStarted)


def test_an_aborted_round_is_done_again() -> None:
    """It took longer than transaction.timeout.ms: the coordinator has aborted it, and the next round has a new epoch."""
    line = Line({"transactional.id": "copy", "transaction.timeout.ms": "1000"}, processing_ms=100)
    line.feed("a")
    line.do(c.SetProcessing("copy", 9000))
    line.feed("b", "c", "d", wait=30)
    line.do(c.SetProcessing("copy", 0))
    line.wait(30)
    assert line.happened(e.TransactionTimedOut)
    aborted = line.happened(e.ProcessingAborted)
    assert (aborted[0].event.consumer, aborted[0].event.group) == ("copy", "g")
    assert line.seen() == ["a", "b", "c", "d"]
    assert line.seen("read_uncommitted").count("b") > 1
    line.do(c.KillNode("copy"), c.StartNode("copy"))
    assert line.node.consumer.application.processing_us == 0


def test_it_closes_in_order() -> None:
    line = Line({"transactional.id": "copy"}, processing_ms=50)
    line.feed("a", "b", "c", wait=0.1)
    line.do(c.CloseClient("copy"))
    line.wait(5)
    assert "copy" not in line.view.nodes
    assert line.seen() == ["a", "b", "c"]


def test_configurations_of_both_clients() -> None:
    consumer, producer = split_configs({"transactional.id": "t", "max.poll.records": "7", "retry.backoff.ms": "50"}, "g")
    assert (consumer["isolation.level"], consumer["max.poll.records"], consumer["group.id"]) == ("read_committed", "7", "g")
    assert producer == {"transactional.id": "t", "retry.backoff.ms": "50"}
    assert consumer["retry.backoff.ms"] == "50"
    for given in ({"enable.auto.commit": "true"}, {"group.id": "x"}, {"no.such": "1"}, {"acks": "1", "transactional.id": "t"}):
        with pytest.raises(EngineError):
            split_configs(given, "g")
    line = Line()
    with pytest.raises(EngineError, match="output_topic"):
        line.do(c.CreateProcessor("loop", "g", "in", "in"))


def test_checkpoints_hold_a_processor_at_work() -> None:
    line = Line({"transactional.id": "copy"}, processing_ms=50)
    line.feed("a", "b", "c", wait=0.12)
    twin = copy_tree(line.lab.world)
    stored = load(dump(line.lab.world))
    for world in (line.lab.world, twin, stored):
        world.kernel.run(world.kernel.now + 3_000_000)
    assert twin.kernel.trace == stored.kernel.trace == line.lab.kernel.trace


@pytest.mark.parametrize("seed", range(3))
def test_fact_40_every_node_is_killed_in_turn_and_each_record_counts_once(seed: int) -> None:
    job = Job(seed, 4, 2500)
    job.wait(5)
    brokers = ["broker-1", "broker-2", "broker-3"]
    controllers = ["controller-101", "controller-102", "controller-103"]
    job.kill_in_turn([*job.names, *brokers, *controllers], apart_s=8)
    assert job.drain()
    assert (job.doubled(), job.missing()) == ({}, [])


def test_at_least_once_is_what_it_says() -> None:
    job = Job(1, 4, 3000, transactional=False)
    job.wait(5)
    job.kill_in_turn(job.names * 2, apart_s=14)
    assert job.drain()
    assert job.missing() == []
    assert job.doubled()


@pytest.mark.long
@pytest.mark.parametrize("hundred", range(10))
def test_fact_40_over_a_thousand_seeds(hundred: int) -> None:
    for seed in range(hundred * 100, hundred * 100 + 100):
        job = Job(seed, 4, 6000)
        job.wait(5)
        names = [*job.names, "broker-1", "broker-2", "broker-3", "controller-101", "controller-102", "controller-103"]
        job.kill_in_turn(names, apart_s=14)
        assert job.drain(), f"seed {seed} did not come to its end"
        assert (job.doubled(), job.missing()) == ({}, []), f"seed {seed}"
