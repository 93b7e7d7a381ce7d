"""Three replicas compact, each in its own time and under faults, and stay one partition all the same."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec
import pytest

from engine import commands as c
from engine.broker import cleaner
from engine.broker.node import BrokerNode
from engine.events import LogCleaned, LogUncleanable
from engine.lab import Lab
from engine.log.partition_log import PartitionLog
from engine.log.record_batch import Record, decode
from engine.messages.base import TopicPartition
from engine.sim.checkpoint import copy_tree
from engine.sim.sequence import Sequence
from engine.spec import ClusterSpec, TopicSpec

SECOND_US = 1_000_000
STATE_0 = TopicPartition("state", 0)
CONFIGS = {
    "cleanup.policy": "compact", "segment.ms": "2000", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "20000",
    "min.insync.replicas": "2",
}  # fmt: skip
SLOW = {"log.cleaner.backoff.ms": "3000", "log.cleaner.io.max.bytes.per.second": "2000"}


def lab_with(seed: int) -> Lab:
    return Lab(ClusterSpec(topics=(TopicSpec("state", 1, 3, CONFIGS),), broker_configs=SLOW), seed)


def node(lab: Lab, broker: int) -> BrokerNode:
    found = lab.kernel.hosts[f"broker-{broker}"].node
    assert isinstance(found, BrokerNode)
    return found


def log_of(lab: Lab, broker: int) -> PartitionLog:
    return node(lab, broker).partitions[STATE_0].log


def records(log: PartitionLog) -> list[Record]:
    found = [decode(entry.data) for segment in log.segments for entry in segment.batches]
    return [record for batch in found for record in batch]


def fold(log: PartitionLog) -> dict[bytes | None, bytes]:
    """What a consumer's table holds after reading everything."""
    table: dict[bytes | None, bytes] = {}
    for record in records(log):
        if record.value is None:
            table.pop(record.key, None)
        else:
            table[record.key] = record.value
    return table


def happened(lab: Lab, kind: type) -> list[object]:
    return [happening.event for happening in lab.history(0, 10**6) if type(happening.event) is kind]


def produce_until(lab: Lab, reached: Callable[[], bool]) -> None:
    """One record a second, until the cleaner has come so far."""
    lab.submit(c.CreateProducer("app", {}))
    for number in range(60):
        lab.submit(c.Produce("state", f"v{number}", f"k{number % 2}", "app", 0))
        for _ in range(20):
            lab.advance(lab.now_us + SECOND_US // 20)
            if number > 10 and reached():
                return
    raise AssertionError("not within 60 seconds")


def trouble(lab: Lab, random: Random) -> None:
    """One fault, now and then; never two brokers down at once."""
    down = [broker for broker in (1, 2, 3) if lab.kernel.hosts[f"broker-{broker}"].status != "up"]
    if down:
        name = f"broker-{down[0]}"
        paused = lab.kernel.hosts[name].status == "paused"
        lab.submit(c.ResumeNode(name) if paused else c.StartNode(name))
    else:
        name = f"broker-{random.randint(1, 3)}"
        lab.submit(random.choice([c.KillNode(name), c.KillNode(name), c.PauseNode(name), c.LosePower(name, torn=True)]))


@pytest.mark.parametrize("seed", range(5))
def test_compaction_keeps_the_latest_under_faults(seed: int) -> None:
    random, lab = Random(seed), lab_with(seed)
    lab.submit(c.CreateProducer("app", {}))
    newest: dict[bytes, bytes | None] = {}
    for number in range(120):
        key = f"k{random.randint(0, 5)}"
        value = None if random.random() < 0.15 else f"v{number}"
        lab.submit(c.Produce("state", value, key, "app", 0))
        newest[key.encode()] = None if value is None else value.encode()
        if random.random() < 0.1:
            trouble(lab, random)
        lab.advance(lab.now_us + SECOND_US)
    for broker in (1, 2, 3):
        name = f"broker-{broker}"
        status = lab.kernel.hosts[name].status
        if status != "up":
            lab.submit(c.ResumeNode(name) if status == "paused" else c.StartNode(name))
    lab.advance(lab.now_us + 60 * SECOND_US)
    assert lab.view().producers["app"].acknowledged == 120
    wanted = {key: value for key, value in newest.items() if value is not None}
    assert [fold(log_of(lab, broker)) for broker in (1, 2, 3)] == [wanted] * 3
    assert len(happened(lab, LogCleaned)) > 10
    assert not happened(lab, LogUncleanable)
    clean_point = max(node(lab, broker).cleaner.checkpoints[STATE_0] for broker in (1, 2, 3))
    above = [[record for record in records(log_of(lab, broker)) if record.offset >= clean_point] for broker in (1, 2, 3)]
    assert above[0] == above[1] == above[2] != []


def test_a_truncation_aborts_the_clean_whose_map_it_cuts() -> None:
    lab = lab_with(1)
    produce_until(lab, lambda: any(path.endswith(".cleaned") for path in lab.kernel.hosts["broker-3"].disk.files))
    broker = node(lab, 3)
    running = broker.cleaner.running
    assert running is not None
    replica = broker.partitions[STATE_0]
    kernel = lab.kernel
    out = kernel._outbox(kernel.hosts["broker-3"], 0)
    cleaner.before_truncation(broker, replica, replica.log.log_end_offset, out)
    assert broker.cleaner.running is running  # the active segment is not the cleaner's
    base = replica.log.active_segment.base_offset
    cleaner.before_truncation(broker, replica, base - 1, out)
    assert broker.cleaner.running is None
    replica.log.truncate_to(base - 1, out.disk)
    broker.cleaner.checkpoints[STATE_0] = base
    cleaner.after_truncation(broker, replica, out)
    assert broker.cleaner.checkpoints[STATE_0] == replica.log.active_segment.base_offset < base
    assert not [path for path in out.disk.files if path.endswith(".cleaned")]


def test_a_clean_under_way_is_copied_and_goes_on_alike() -> None:
    lab = lab_with(2)
    produce_until(lab, lambda: any(path.endswith(".cleaned") for path in lab.kernel.hosts["broker-1"].disk.files))
    twin = copy_tree(lab.world)
    restored = Lab.restore(lab.checkpoint())
    goal = lab.now_us + 30 * SECOND_US
    lab.advance(goal)
    restored.advance(goal)
    twin.kernel.run(goal)
    assert twin.kernel.trace == lab.kernel.trace == restored.kernel.trace
    assert fold(log_of(lab, 1)) == fold(log_of(restored, 1)) == fold(log_of(lab, 2))
    assert len(happened(lab, LogCleaned)) > 0


def test_a_log_that_cannot_be_read_is_left_alone() -> None:
    lab = lab_with(3)
    lab.submit(c.CreateProducer("app", {}))
    for number in range(12):
        if number == 2:
            segment = log_of(lab, 2).segments[0]
            entry = segment.batches[0]
            broken = entry.data[:57] + (9).to_bytes(4, "big") + entry.data[61:]  # nine records, says the header
            segment.batches = Sequence([msgspec.structs.replace(entry, data=broken, record_count=9)])
        lab.submit(c.Produce("state", f"v{number}", "a", "app", 0))
        lab.advance(lab.now_us + SECOND_US)
    lab.advance(lab.now_us + 40 * SECOND_US)
    assert [event.broker for event in happened(lab, LogUncleanable)] == [2]  # type: ignore[attr-defined]
    assert lab.view().topics["state"].partitions["0"].logs["2"].cleaner.uncleanable  # type: ignore[union-attr]
    assert {event.broker for event in happened(lab, LogCleaned)} == {1, 3}  # type: ignore[attr-defined]
