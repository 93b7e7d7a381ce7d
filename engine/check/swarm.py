"""The profile "full": everything that the cluster can do, with everything that can befall it.

Each seed draws which features it uses (transactions, compaction, groups, quotas, …) and which faults, and how often; what is left out
matters as much as what is in, since rare meetings need room. ``engine.check.fuzz`` has the frame and the faults of replication.
"""

from __future__ import annotations

from collections import Counter

from engine import commands as cm
from engine import world as wd
from engine.check.arena import Listener
from engine.check.crowd import (
    GROUP_FAULTS,
    INPUT,
    JOB_FAULTS,
    LATEST,
    METADATA_AGE_MS,
    ORDERS,
    OUTPUT,
    PASSING,
    PAYMENTS,
    SHARE_FAULTS,
)
from engine.check.fuzz import INFLICT, Inflict
from engine.check.users import GUARDED, USER_FAULTS, Users
from engine.messages.base import TopicPartition
from engine.metadata.internal_topics import CONSUMER_OFFSETS, SHARE_GROUP_STATE, TRANSACTION_STATE
from engine.spec import ClusterSpec, broker_name

FEATURES = {
    "transactions": 450_000,
    "groups": 450_000,
    "share groups": 300_000,
    "jobs": 250_000,
    "compaction": 400_000,
    "retention": 400_000,
    "quotas": 400_000,
    "users": 200_000,
    "racks": 300_000,
    "topic deletion": 250_000,
    "many controllers": 500_000,
}
"""Each with its share per million of the seeds."""
MANUAL = "tx-manual"
INTERNAL = {
    "transactions": TRANSACTION_STATE,
    "jobs": TRANSACTION_STATE,
    "groups": CONSUMER_OFFSETS,
    "share groups": SHARE_GROUP_STATE,
}
RACKS = ("east", "west", "north")
RACK_AWARE = {"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"}
RARE = {"wiped disk": 100_000, "unclean election": 300_000, "corrupt disk": 400_000, "torn write": 500_000}
"""Per million: of the seeds that drew them, so many keep them. What they licence hides everything else."""


class Swarm(Users):
    """``loads``: what each producer does, again after a restart."""

    def __init__(self, seed: int, mutants: tuple[str, ...] = (), listeners: tuple[Listener, ...] = ()) -> None:
        self.features: list[str] = []
        super().__init__(seed, mutants, listeners)
        kept = [fault for fault in self.faults if self.stream.chance(RARE.get(fault, 1_000_000))]
        self.faults = kept or [self._pick(("kill", "pause", "cut node"))]
        self.loads: dict[str, cm.StartWorkload] = {}

    def _menu(self) -> tuple[str, ...]:
        return tuple(fault for fault in FULL if NEEDS.get(fault, "") in ("", *self.features))

    def _draw_spec(self, mutants: tuple[str, ...]) -> ClusterSpec:
        s = self.stream
        self.features = [feature for feature, per_million in FEATURES.items() if s.chance(per_million)]
        configs = {
            "min.insync.replicas": str(1 + s.below(2)),
            "unclean.leader.election.enable": "true" if s.chance(80_000) else "false",
            "replica.lag.time.max.ms": str(s.between(1_500, 10_000)),
            "broker.session.timeout.ms": str(s.between(3_000, 9_000)),
            "broker.heartbeat.interval.ms": "1000",
            "leader.imbalance.check.interval.seconds": str(s.between(5, 60)),
            "offsets.topic.num.partitions": str(1 + s.below(2)),
            "transaction.state.log.num.partitions": str(1 + s.below(2)),
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": str(s.between(1_000, 5_000)),
            "log.cleaner.backoff.ms": str(s.between(200, 3_000)),
            "log.retention.check.interval.ms": str(s.between(2_000, 8_000)),
            "group.initial.rebalance.delay.ms": str(s.below(2_000)),
        }
        configs |= self.crowd_configs()
        if "users" in self.features:
            configs |= GUARDED
        if "racks" in self.features:
            configs |= RACK_AWARE
        controllers = 3 if "many controllers" in self.features else 1
        racks = RACKS if "racks" in self.features else ()
        elr = s.chance(700_000)
        return ClusterSpec(brokers=3, controllers=controllers, elr=elr, broker_configs=configs, racks=racks, mutants=mutants)

    # -- the load ---------------------------------------------------------------------------------------------------------

    def _start_load(self) -> None:
        s = self.stream
        if "users" in self.features:
            self.admit()
        for topic, configs in self._topics().items():
            self.do(cm.CreateTopic(topic, 1 + s.below(3), 3, configs))
        self.advance(1_000_000)
        for number in range(1 + s.below(2)):
            self._start_producer(f"producer-{number}")
        if "transactions" in self.features:
            for number in range(1 + s.below(2)):
                self._start_transactional(f"tx-{number}", f"job-{number}")
            if s.chance(500_000):
                self.do(cm.CreateProducer(MANUAL, self._transactional_configs("by-hand")))
        self._start_readers()
        if "groups" in self.features:
            self.start_group()
        if "share groups" in self.features:
            self.start_share_group()
        if "jobs" in self.features:
            self.start_job()
        self._set_quotas()

    def _topics(self) -> dict[str, dict[str, str]]:
        s = self.stream
        topics: dict[str, dict[str, str]] = {ORDERS: {}}
        if s.chance(500_000):
            topics[PAYMENTS] = {}
        if "topic deletion" in self.features:
            topics[PASSING] = {}
        if "jobs" in self.features:
            topics |= {INPUT: {}, OUTPUT: {}}
        if "retention" in self.features:
            topics[ORDERS] = {"segment.ms": str(s.between(1_000, 4_000)), "retention.ms": str(s.between(2_000, 20_000))}
        if "compaction" in self.features:
            topics[LATEST] = {
                "cleanup.policy": "compact",
                "segment.ms": str(s.between(500, 3_000)),
                "min.cleanable.dirty.ratio": f"0.{s.below(6)}1",
                "delete.retention.ms": str(s.below(4_000)),
            }
        return topics

    def _start_producer(self, name: str) -> None:
        s = self.stream
        acks = ("all", "all", "all", "all", "1", "0")[s.below(6)]
        configs = {
            "acks": acks,
            "delivery.timeout.ms": "30000",
            "request.timeout.ms": "3000",
            "linger.ms": str(s.below(20)),
            "metadata.max.age.ms": METADATA_AGE_MS,
        }
        if acks == "all" and s.chance(300_000):
            configs["enable.idempotence"] = "false"
        configs |= self.identity()
        if s.chance(200_000):
            configs["compression.type"] = self._pick(("gzip", "snappy", "lz4", "zstd"))
        if self.do(cm.CreateProducer(name, configs)):
            self._load(name)

    def _transactional_configs(self, transactional_id: str) -> dict[str, str]:
        s = self.stream
        return {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": str(s.between(4_000, 20_000)),
            "delivery.timeout.ms": "10000",
            "request.timeout.ms": "3000",
            "linger.ms": str(s.below(20)),
            "metadata.max.age.ms": METADATA_AGE_MS,
            "max.block.ms": "20000",
            **self.identity(),
        }

    def _start_transactional(self, name: str, transactional_id: str) -> None:
        if self.do(cm.CreateProducer(name, self._transactional_configs(transactional_id))):
            self._load(name, 1 + self.stream.below(20))

    def _load(self, producer: str, transaction_records: int = 0) -> None:
        """The producer's first load, or the same again after a restart."""
        s = self.stream
        before = self.loads.get(producer)
        crumbs = () if transaction_records else (PASSING,)
        name = f"load-{producer}-{self.world.workloads_started}"
        topic = self._pick([topic for topic in (ORDERS, ORDERS, PAYMENTS, LATEST, *crumbs) if self._has_topic(topic)] or [ORDERS])
        keys = 1 + s.below(20) if topic == LATEST else s.below(20)
        load = cm.StartWorkload(
            name, before.topic if before else topic, producer, records_per_second=s.between(3, 25),
            keys=before.keys if before else keys, value_bytes=s.between(20, 200), limit=400,
            transaction_records=before.transaction_records if before else transaction_records,
        )  # fmt: skip
        self.loads[producer] = load
        self.do(load)

    def _start_readers(self) -> None:
        topics = self.topics(ORDERS, PAYMENTS, LATEST, PASSING)
        configs = {"auto.offset.reset": "earliest", "metadata.max.age.ms": METADATA_AGE_MS}
        self.do(cm.CreateConsumer("reader", topics, {**configs, **self.rack(), **self.identity()}))
        if "transactions" in self.features:
            configs |= {"isolation.level": "read_committed", **self.rack(), **self.identity()}
            self.do(cm.CreateConsumer("committed", topics, configs))
        if "jobs" in self.features:
            self.do(cm.CreateConsumer("sink", [OUTPUT], {"auto.offset.reset": "earliest", "isolation.level": "read_committed"}))

    def _set_quotas(self) -> None:
        s = self.stream
        if "quotas" in self.features:
            kind = self._pick(("producer_byte_rate", "consumer_byte_rate"))
            self.do(cm.AlterQuota(client_id="", set={kind: float(s.between(2_000, 20_000))}))

    def judge(self) -> None:
        super().judge()
        self.counts.update(Counter(f"feature: {feature}" for feature in self.features))

    # -- faults -----------------------------------------------------------------------------------------------------------

    def _fence(self) -> bool:
        """A second process with the same transactional.id: the first becomes a zombie."""
        if not any(name.startswith("tx-0") for name in self.world.kernel.hosts):
            return False
        name = f"tx-0-{self.world.workloads_started}"
        if name in self.world.kernel.hosts:
            return False
        self._start_transactional(name, "job-0")
        return True

    def _by_hand(self) -> bool:
        """A transaction with a few records that is aborted, committed or left hanging."""
        s = self.stream
        if not self.do(cm.BeginTransaction(MANUAL)):
            return False
        topic = self._partition()[0]
        if not topic.startswith("__"):
            self.do(cm.Produce(topic, "{n}:by hand", f"key-{s.below(20)}", MANUAL, count=1 + s.below(5)))
        self.advance(1 + s.below(2_000_000))
        end = s.below(5)
        if end < 2:
            self.do(cm.AbortTransaction(MANUAL))
        elif end < 4:
            self.do(cm.CommitTransaction(MANUAL))
        return True

    def _coordinator_moves(self) -> bool:
        """The leader of a partition of an internal topic dies, or hands over."""
        image = wd.best_image(self.world)
        names = [name for feature, name in INTERNAL.items() if feature in self.features]
        topic = image.topics.get(self._pick(names)) if image is not None and names else None
        if topic is None:
            return False
        leaders = [state.leader for state in topic.partitions.values() if state.leader > 0]
        if not leaders:
            return False
        name = broker_name(leaders[self.stream.below(len(leaders))])
        return self.do(cm.StopNode(name) if self.stream.chance(300_000) else cm.KillNode(name))

    def _grow(self) -> bool:
        image = wd.best_image(self.world)
        topic = self._partition()[0]
        count = len(image.topics[topic].partitions) if image is not None and topic in image.topics else 9
        return not topic.startswith("__") and count < 6 and self.do(cm.AddPartitions(topic, count + 1))

    def _delete_records(self) -> bool:
        topic, partition = self._partition()
        known = self.oracle.state(TopicPartition(topic, partition)).high_watermark
        if topic.startswith("__"):
            return False
        return self.do(cm.DeleteRecords(topic, partition, self.stream.below(known + 1) if self.stream.chance(700_000) else -1))

    def _tombstones(self) -> bool:
        if not self._has_topic(LATEST):
            return False
        return self.do(cm.Produce(LATEST, None, f"key-{self.stream.below(20)}", "producer-0"))

    def _roll_internal(self) -> bool:
        """Internal topics roll and are cleaned often, too."""
        topic = self._pick((TRANSACTION_STATE, CONSUMER_OFFSETS, SHARE_GROUP_STATE))
        return self._has_topic(topic) and self.do(
            cm.AlterConfig("topic", topic, {"segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"})
        )

    def _delete_topic(self) -> bool:
        """It goes, or comes again under its old name."""
        if self._has_topic(PASSING):
            return self.do(cm.DeleteTopic(PASSING))
        return self.do(cm.CreateTopic(PASSING, 1 + self.stream.below(3), 3))


TRANSACTION_FAULTS: dict[str, Inflict] = {
    "kill transactional producer": lambda c, t: c.do(cm.KillNode(c.one_of("tx-"))),
    "pause transactional producer": lambda c, t: c.do(cm.PauseNode(c.one_of("tx-"))),
    "cut transactional producer": lambda c, t: c.do(cm.CutNetwork(c.one_of("tx-"), t.broker)),
    "fence producer": lambda c, t: c._fence(),
    "transaction by hand": lambda c, t: c._by_hand(),
}
MORE: dict[str, Inflict] = {
    "coordinator moves": lambda c, t: c._coordinator_moves(),
    "partition increase": lambda c, t: c._grow(),
    "delete records": lambda c, t: c._delete_records(),
    "tombstone": lambda c, t: c._tombstones(),
    "clean internal topic": lambda c, t: c._roll_internal(),
    "pause consumer": lambda c, t: c.do(cm.PauseNode(c._pick(("reader", "committed")))),
    "kill consumer": lambda c, t: c.do(cm.KillNode(c._pick(("reader", "committed")))),
}
BY_FEATURE: dict[str, dict[str, Inflict]] = {
    "transactions": TRANSACTION_FAULTS,
    "groups": GROUP_FAULTS,
    "share groups": SHARE_FAULTS,
    "jobs": JOB_FAULTS,
    "users": USER_FAULTS,
    "topic deletion": {"topic deletion": lambda c, t: c._delete_topic()},
}
FULL: dict[str, Inflict] = {**INFLICT, **MORE}
NEEDS: dict[str, str] = {}
"""Fault → the feature without which it makes no sense."""
for _feature, _faults in BY_FEATURE.items():
    FULL |= _faults
    NEEDS |= dict.fromkeys(_faults, _feature)
Swarm.inflict = FULL
