"""The profile "full": everything that the cluster can do, with everything that can befall it.

Each seed draws which features it uses (transactions, compaction, groups, quotas, …) and which faults, and how often; what is left out
matters as much as what is in, since rare meetings need room. ``engine.check.fuzz`` has the frame and the faults of replication.
"""

from __future__ import annotations

from collections import Counter

from engine import commands as cm
from engine import world as wd
from engine.check.arena import Listener
from engine.check.fuzz import INFLICT, Campaign, Inflict
from engine.messages.base import TopicPartition
from engine.metadata.internal_topics import CONSUMER_OFFSETS, TRANSACTION_STATE
from engine.spec import ClusterSpec, broker_name

ORDERS, PAYMENTS, LATEST = "orders", "payments", "latest"
FEATURES = ("transactions", "groups", "compaction", "retention", "quotas", "many controllers")
MANUAL, GROUP = "tx-manual", "app"
MAX_MEMBERS = 6
METADATA_AGE_MS = "10000"
"""Clients see new partitions before the run ends."""
RARE = {"wiped disk": 100_000, "unclean election": 300_000, "corrupt disk": 400_000, "torn write": 500_000}
"""Per million: of the seeds that drew them, so many keep them. What they licence hides everything else."""


class Swarm(Campaign):
    """``features``: what this seed uses."""

    def __init__(self, seed: int, mutants: tuple[str, ...] = (), listeners: tuple[Listener, ...] = ()) -> None:
        self.features: list[str] = []
        super().__init__(seed, mutants, listeners)
        kept = [fault for fault in self.faults if self.stream.chance(RARE.get(fault, 1_000_000))]
        self.faults = kept or [self._pick(("kill", "pause", "cut node"))]
        self.loads: dict[str, cm.StartWorkload] = {}
        self.member_configs: dict[str, str] = {}
        self.member_commits = ""
        self.static_members = False
        self.members_started = 0

    def _draw_spec(self, mutants: tuple[str, ...]) -> ClusterSpec:
        s = self.stream
        self.features = [feature for feature in FEATURES if s.chance(600_000)]
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
        controllers = 3 if "many controllers" in self.features else 1
        return ClusterSpec(brokers=3, controllers=controllers, elr=s.chance(700_000), broker_configs=configs, mutants=mutants)

    # -- the load ---------------------------------------------------------------------------------------------------------

    def _start_load(self) -> None:
        s = self.stream
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
            self._start_group()
        self._set_quotas()

    def _topics(self) -> dict[str, dict[str, str]]:
        s = self.stream
        topics: dict[str, dict[str, str]] = {ORDERS: {}}
        if s.chance(500_000):
            topics[PAYMENTS] = {}
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
        }

    def _start_transactional(self, name: str, transactional_id: str) -> None:
        if self.do(cm.CreateProducer(name, self._transactional_configs(transactional_id))):
            self._load(name, 1 + self.stream.below(20))

    def _load(self, producer: str, transaction_records: int = 0) -> None:
        """The producer's first load, or the same again after a restart."""
        s = self.stream
        before = self.loads.get(producer)
        name = f"load-{producer}-{self.world.workloads_started}"
        topic = self._pick([topic for topic in (ORDERS, ORDERS, PAYMENTS, LATEST) if self._has_topic(topic)] or [ORDERS])
        keys = 1 + s.below(20) if topic == LATEST else s.below(20)
        load = cm.StartWorkload(
            name, before.topic if before else topic, producer, records_per_second=s.between(3, 25),
            keys=before.keys if before else keys, value_bytes=s.between(20, 200), limit=400,
            transaction_records=before.transaction_records if before else transaction_records,
        )  # fmt: skip
        self.loads[producer] = load
        self.do(load)

    def _start_readers(self) -> None:
        topics = [topic for topic in (ORDERS, PAYMENTS, LATEST) if self._has_topic(topic)]
        self.do(cm.CreateConsumer("reader", topics, {"auto.offset.reset": "earliest", "metadata.max.age.ms": METADATA_AGE_MS}))
        if "transactions" in self.features:
            configs = {"auto.offset.reset": "earliest", "isolation.level": "read_committed", "metadata.max.age.ms": METADATA_AGE_MS}
            self.do(cm.CreateConsumer("committed", topics, configs))

    def _start_group(self) -> None:
        """All members alike, as a deployment's are; some groups are static, some read committed records only."""
        s = self.stream
        assignors = ("RangeAssignor", "RoundRobinAssignor", "StickyAssignor", "CooperativeStickyAssignor")
        self.member_configs = {
            "group.id": GROUP,
            "metadata.max.age.ms": METADATA_AGE_MS,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": str(s.between(6_000, 12_000)),
            "heartbeat.interval.ms": str(s.between(500, 2_000)),
            "max.poll.interval.ms": str(s.between(6_000, 20_000)),
            "auto.commit.interval.ms": str(s.between(200, 5_000)),
            "partition.assignment.strategy": f"org.apache.kafka.clients.consumer.{self._pick(assignors)}",
            "max.poll.records": str(s.between(1, 50)),
        }
        if s.chance(300_000):
            self.member_configs["isolation.level"] = "read_committed"
        self.member_commits = self._pick(("", "", "after", "before"))
        if self.member_commits:
            self.member_configs["enable.auto.commit"] = "false"
        self.static_members = s.chance(250_000)
        for _ in range(1 + s.below(3)):
            self._join()

    def _join(self) -> bool:
        if "groups" not in self.features or self.members_started >= MAX_MEMBERS:
            return False
        s = self.stream
        number = self.members_started
        self.members_started += 1
        configs = dict(self.member_configs)
        if self.static_members:
            configs["group.instance.id"] = f"instance-{number}"
        topics = [topic for topic in (ORDERS, PAYMENTS) if self._has_topic(topic)]
        processing_ms = s.below(60) if s.chance(500_000) else 0
        return self.do(cm.CreateConsumer(f"app-{number}", topics, configs, processing_ms, self.member_commits))

    def _member(self) -> str:
        names = [name for name in self.world.kernel.hosts if name.startswith("app-")]
        return self._pick(names) if names else "app-0"

    def _set_quotas(self) -> None:
        s = self.stream
        if "quotas" in self.features:
            kind = self._pick(("producer_byte_rate", "consumer_byte_rate"))
            self.do(cm.AlterQuota(client_id="", set={kind: float(s.between(2_000, 20_000))}))

    def judge(self) -> None:
        super().judge()
        self.counts.update(Counter(f"feature: {feature}" for feature in self.features))

    # -- faults -----------------------------------------------------------------------------------------------------------

    def _transactional(self) -> str:
        names = [name for name in self.world.kernel.hosts if name.startswith("tx-")]
        return self._pick(names) if names else "tx-0"

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
        topic = image.topics.get(self._pick((TRANSACTION_STATE, CONSUMER_OFFSETS))) if image is not None else None
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
        topic = self._pick((TRANSACTION_STATE, CONSUMER_OFFSETS))
        return self._has_topic(topic) and self.do(
            cm.AlterConfig("topic", topic, {"segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"})
        )


FULL: dict[str, Inflict] = {
    **INFLICT,
    "kill transactional producer": lambda c, t: c.do(cm.KillNode(c._transactional())),
    "pause transactional producer": lambda c, t: c.do(cm.PauseNode(c._transactional())),
    "cut transactional producer": lambda c, t: c.do(cm.CutNetwork(c._transactional(), t.broker)),
    "fence producer": lambda c, t: c._fence(),
    "transaction by hand": lambda c, t: c._by_hand(),
    "coordinator moves": lambda c, t: c._coordinator_moves(),
    "partition increase": lambda c, t: c._grow(),
    "delete records": lambda c, t: c._delete_records(),
    "tombstone": lambda c, t: c._tombstones(),
    "clean internal topic": lambda c, t: c._roll_internal(),
    "pause consumer": lambda c, t: c.do(cm.PauseNode(c._pick(("reader", "committed")))),
    "join": lambda c, t: c._join(),
    "kill member": lambda c, t: c.do(cm.KillNode(c._member())),
    "freeze member": lambda c, t: c.do(cm.PauseNode(c._member())),
    "leave": lambda c, t: c.do(cm.CloseClient(c._member())),
    "cut member": lambda c, t: c.do(cm.CutNetwork(c._member(), t.broker)),
    "slow member": lambda c, t: c.do(cm.SetProcessing(c._member(), c.stream.below(1_500))),
    "kill consumer": lambda c, t: c.do(cm.KillNode(c._pick(("reader", "committed")))),
}
Swarm.inflict = FULL
