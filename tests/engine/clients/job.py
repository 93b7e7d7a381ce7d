"""A read-process-write job under faults, and what came of it: every value of ``in`` and how often it is in ``out``."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

from engine import commands as c
from engine.broker.node import BrokerNode
from engine.errors import EngineError
from engine.lab import Lab
from engine.log.partition_log import PartitionLog
from engine.log.record_batch import ControlRecordType, decode, read_end_txn_marker, read_header
from engine.sim.rng import Stream, seed_for
from engine.spec import ClusterSpec, TopicSpec

SECOND_US = 1_000_000
FEW = {
    "transaction.state.log.num.partitions": "3",
    "offsets.topic.num.partitions": "3",
    "group.initial.rebalance.delay.ms": "500",
}


class Job:
    """``instances`` processors from ``in`` to ``out``, four partitions each."""

    def __init__(self, seed: int, instances: int, records: int, transactional: bool = True, **configs: str) -> None:
        topics = tuple(TopicSpec(name, 4, 3, {"min.insync.replicas": "2"}) for name in ("in", "out"))
        self.lab = Lab(ClusterSpec(3, 3, topics, broker_configs=FEW), seed)
        self.chance = Stream(seed_for(seed, "job"))
        self.records = records
        self.names = [f"copy-{number}" for number in range(instances)]
        given = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "2000", "max.poll.records": "20"}
        given.update({"fetch.min.bytes": "2000", "fetch.max.wait.ms": "400"})  # several records to a round
        given.update({name.replace("_", "."): value for name, value in configs.items()})
        for name in self.names:
            own = {"transactional.id": name, "transaction.timeout.ms": "10000"} if transactional else {}
            self.lab.submit(c.CreateProcessor(name, "g", "in", "out", {**given, **own}, 20))
        self.lab.submit(c.CreateProducer("source", {"delivery.timeout.ms": "2000000000"}))
        self.lab.submit(c.StartWorkload("load", "in", "source", records_per_second=40, limit=records, value_bytes=20))

    def wait(self, seconds: float) -> None:
        self.lab.advance(self.lab.now_us + int(seconds * SECOND_US))

    def do(self, command: c.Command) -> None:
        """What cannot be done just now is left."""
        with suppress(EngineError):
            self.lab.submit(command)

    def kill_in_turn(self, names: list[str], apart_s: float = 4) -> None:
        """Each is killed at a moment of chance and started again a little later."""
        for name in names:
            self.wait(0.2 + self.chance.below(int(apart_s * 1000)) / 1000)
            self.do(c.KillNode(name))
            self.wait(0.1 + self.chance.below(2500) / 1000)
            self.do(c.StartNode(name))

    def drain(self, within_s: float = 400) -> bool:
        """Whether all input is processed in the end."""
        end_us = self.lab.now_us + int(within_s * SECOND_US)
        while self.lab.now_us < end_us:
            self.wait(5)
            for name in self.names:  # a fenced or crashed instance is started anew, as an orchestrator would
                host = self.lab.kernel.hosts.get(name)
                if host is not None and host.status == "down":
                    self.do(c.StartNode(name))
                elif host is not None and host.node.consumer.application.state == "crashed":  # type: ignore[union-attr]
                    self.do(c.KillNode(name))
                    self.do(c.StartNode(name))
            if set(self.values("in")) == set(self.values("out")) and len(set(self.values("in"))) >= self.records:
                self.wait(15)
                return True
        return False

    def values(self, topic: str, committed: bool = True) -> list[bytes]:
        found: list[bytes] = []
        for number, partition in self.lab.world.kernel.hosts["broker-1"].node.image.topics[topic].partitions.items():  # type: ignore[union-attr]
            host = self.lab.kernel.hosts.get(f"broker-{partition.leader}")
            if host is not None and isinstance(host.node, BrokerNode):
                replica = next(replica for key, replica in host.node.partitions.items() if key == (topic, number))
                found += read(replica.log, replica.last_stable_offset if committed else replica.high_watermark, committed)
        return found

    def doubled(self) -> dict[bytes, int]:
        return {value: count for value, count in Counter(self.values("out")).items() if count > 1}

    def missing(self) -> list[bytes]:
        got = set(self.values("out"))
        return [value for value in self.values("in") if value not in got]


def read(log: PartitionLog, stable: int, committed: bool) -> list[bytes]:
    """All values below ``stable``, without those of aborted transactions if ``committed``."""
    open_by: dict[int, list[tuple[int, bytes]]] = {}
    found: list[tuple[int, bytes]] = []
    for segment in log.segments:
        for entry in segment.batches:
            header = read_header(entry.data)
            if header.last_offset >= stable:
                break
            if header.is_control_batch:
                marker = read_end_txn_marker(entry.data)
                held = open_by.pop(header.producer_id, [])
                if marker is not None and marker.type is ControlRecordType.COMMIT:
                    found += held
                continue
            records = [(record.offset, record.value or b"") for record in decode(entry.data)]
            if committed and header.is_transactional:
                open_by.setdefault(header.producer_id, []).extend(records)
            else:
                found += records
    return [value for _, value in sorted(found)]
