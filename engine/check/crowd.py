"""Who works on the topics together in the profile "full": consumer groups under both protocols, share groups, read-process-write jobs.

Each kind is a feature that a seed may draw; what befalls its members lies beside it.
"""

from __future__ import annotations

from engine import commands as cm
from engine.check.fuzz import Campaign, Inflict
from engine.messages.base import TopicPartition

ORDERS, PAYMENTS, LATEST, PASSING = "orders", "payments", "latest", "passing"
INPUT, OUTPUT, JOB = "input", "output", "job"
GROUP, POOL = "app", "pool"
MAX_MEMBERS = 6
JOB_RECORDS = 120
METADATA_AGE_MS = "10000"
"""Clients see new partitions before the run ends."""


class Crowd(Campaign):
    """``features``: what this seed uses."""

    features: list[str]
    member_configs: dict[str, str]
    share_configs: dict[str, str]
    member_commits = ""
    static_members = False
    members_started = 0

    def identity(self) -> dict[str, str]:
        """Who a client says that it is."""
        return {}

    def topics(self, *names: str) -> list[str]:
        return [topic for topic in names if self._has_topic(topic)]

    def one_of(self, prefix: str) -> str:
        """A client whose name begins so; "" where there is none."""
        names = [name for name in self.world.kernel.hosts if name.startswith(prefix)]
        return self._pick(names) if names else ""

    def crowd_configs(self) -> dict[str, str]:
        """Broker settings, so that what takes long in real life happens within a run."""
        s = self.stream
        configs: dict[str, str] = {}
        if "groups" in self.features or "jobs" in self.features:
            configs["group.consumer.min.session.timeout.ms"] = configs["group.consumer.min.heartbeat.interval.ms"] = "500"
            configs["group.consumer.session.timeout.ms"] = str(s.between(6_000, 12_000))
            configs["group.consumer.heartbeat.interval.ms"] = str(s.between(500, 2_000))
        if "share groups" in self.features:
            configs["group.share.min.session.timeout.ms"] = configs["group.share.min.heartbeat.interval.ms"] = "500"
            configs["group.share.min.record.lock.duration.ms"] = "1000"
            configs["group.share.session.timeout.ms"] = str(s.between(6_000, 12_000))
            configs["group.share.heartbeat.interval.ms"] = str(s.between(500, 2_000))
            configs["group.share.record.lock.duration.ms"] = str(s.between(1_000, 8_000))
            configs["group.share.delivery.count.limit"] = str(s.between(2, 5))
            configs["share.coordinator.state.topic.num.partitions"] = str(1 + s.below(2))
            configs["share.coordinator.snapshot.update.records.per.snapshot"] = str(s.between(2, 60))
        return configs

    # -- consumer groups --------------------------------------------------------------------------------------------------

    def start_group(self) -> None:
        """All members alike, as a deployment's are; some groups are static, some read committed records only."""
        s = self.stream
        self.member_configs = {
            "group.id": GROUP,
            "metadata.max.age.ms": METADATA_AGE_MS,
            "auto.offset.reset": "earliest",
            "max.poll.interval.ms": str(s.between(6_000, 20_000)),
            "auto.commit.interval.ms": str(s.between(200, 5_000)),
            "max.poll.records": str(s.between(1, 50)),
            **self.protocol(),
        }
        if s.chance(300_000):
            self.member_configs["isolation.level"] = "read_committed"
        self.member_commits = self._pick(("", "", "after", "before"))
        if self.member_commits:
            self.member_configs["enable.auto.commit"] = "false"
        self.static_members = s.chance(250_000)
        for _ in range(1 + s.below(3)):
            self.join()
        if s.chance(500_000):
            self.late_join()

    def protocol(self) -> dict[str, str]:
        """One of the two group protocols, with one of its assignors."""
        s = self.stream
        if s.chance(500_000):
            self.counts["groups under KIP-848"] += 1
            return {"group.protocol": "consumer", "group.remote.assignor": self._pick(("uniform", "range"))}
        self.counts["groups under the classic protocol"] += 1
        assignors = (
            "RangeAssignor",
            "RoundRobinAssignor",
            "StickyAssignor",
            "CooperativeStickyAssignor",
            "CooperativeStickyAssignor",
        )
        return {
            "session.timeout.ms": str(s.between(6_000, 12_000)),
            "heartbeat.interval.ms": str(s.between(500, 2_000)),
            "partition.assignment.strategy": f"org.apache.kafka.clients.consumer.{self._pick(assignors)}",
        }

    def join(self) -> bool:
        if self.members_started >= MAX_MEMBERS:
            return False
        s = self.stream
        number = self.members_started
        self.members_started += 1
        configs = {**self.member_configs, **self.rack(), **self.identity()}
        if self.static_members:
            configs["group.instance.id"] = f"instance-{number}"
        processing_ms = s.below(60) if s.chance(500_000) else 0
        topics = self.topics(ORDERS, PAYMENTS, PASSING)
        return self.do(cm.CreateConsumer(f"app-{number}", topics, configs, processing_ms, self.member_commits))

    def late_join(self) -> None:
        """A plot: somebody comes when the others have what they shall have, so that partitions move; more of it than chance alone brings."""
        topics = self.topics(ORDERS)
        self.advance(self.stream.between(3_000_000, 6_000_000))
        if topics:
            self.join()

    def rack(self) -> dict[str, str]:
        """Where a consumer stands."""
        return {"client.rack": self._pick(self.world.spec.racks)} if self.world.spec.racks else {}

    def alter_group(self) -> bool:
        """Its members go, or do not (then the coordinator refuses); its offsets are set or deleted, or all of it; they come back."""
        s = self.stream
        members = [host.name for host in self.world.kernel.hosts.values() if host.name.startswith("app-") and host.status == "up"]
        if s.chance(800_000):
            for name in members:
                self.do(cm.CloseClient(name))
            self.advance(s.between(500_000, 3_000_000))
        topic, number = self._partition()
        end = self.oracle.state(TopicPartition(topic, number)).high_watermark
        done = self.do(
            (
                cm.AlterGroupOffsets(GROUP, [cm.GroupOffset(topic, number, s.below(end + 1))]),
                cm.DeleteGroup(GROUP),
                cm.DeleteGroupOffsets(GROUP, [cm.PartitionOfTopic(topic, number)]),
            )[s.below(3)]
        )
        self.advance(s.below(1_000_000))
        for name in members:
            self.do(cm.StartNode(name))
        return done

    # -- share groups -----------------------------------------------------------------------------------------------------

    def start_share_group(self) -> None:
        s = self.stream
        reset = "earliest" if s.chance(700_000) else "latest"
        isolation = "read_committed" if s.chance(300_000) else "read_uncommitted"
        self.do(cm.AlterConfig("group", POOL, {"share.auto.offset.reset": reset, "share.isolation.level": isolation}))
        self.share_configs = {
            "group.id": POOL,
            "metadata.max.age.ms": METADATA_AGE_MS,
            "max.poll.interval.ms": str(s.between(6_000, 20_000)),
            "max.poll.records": str(s.between(1, 50)),
        }
        if s.chance(600_000):
            self.share_configs["share.acknowledgement.mode"] = "explicit"
        for _ in range(1 + s.below(2)):
            self.join_pool()

    def join_pool(self) -> bool:
        if self.members_started >= MAX_MEMBERS:
            return False
        s = self.stream
        name = f"pool-{self.members_started}"
        self.members_started += 1
        explicit = "share.acknowledgement.mode" in self.share_configs
        return self.do(
            cm.CreateShareConsumer(
                name, self.topics(ORDERS, PAYMENTS), {**self.share_configs, **self.identity()}, s.below(80) if s.chance(600_000) else 0,
                release_every=s.below(20) if explicit and s.chance(500_000) else 0,
                reject_every=s.below(20) if explicit and s.chance(500_000) else 0,
                fail_on=f"{s.below(10)}:" if explicit and s.chance(300_000) else "",
            )
        )  # fmt: skip

    # -- read, process, write ---------------------------------------------------------------------------------------------

    def start_job(self) -> None:
        s = self.stream
        self.do(cm.CreateProducer("source", {"request.timeout.ms": "3000", "delivery.timeout.ms": "30000", **self.identity()}))
        self.do(
            cm.StartWorkload("load-source", INPUT, "source", s.between(4, 15), keys=s.below(20), value_bytes=40, limit=JOB_RECORDS)
        )
        configs = {
            "transaction.timeout.ms": str(s.between(4_000, 15_000)),
            "max.poll.records": str(s.between(1, 10)),
            "max.poll.interval.ms": "6000",
            "delivery.timeout.ms": "8000",
            "request.timeout.ms": "3000",
            "metadata.max.age.ms": METADATA_AGE_MS,
            **self.protocol(),
        }
        for number in range(1 + s.below(3)):
            name = f"{JOB}-{number}"
            mine = {"transactional.id": f"work-{number}", **configs, **self.identity()}
            self.do(cm.CreateProcessor(name, JOB, INPUT, OUTPUT, mine, s.between(5, 150)))


GROUP_FAULTS: dict[str, Inflict] = {
    "join": lambda c, t: c.join(),
    "kill member": lambda c, t: c.do(cm.KillNode(c.one_of("app-"))),
    "freeze member": lambda c, t: c.do(cm.PauseNode(c.one_of("app-"))),
    "leave": lambda c, t: c.do(cm.CloseClient(c.one_of("app-"))),
    "cut member": lambda c, t: c.do(cm.CutNetwork(c.one_of("app-"), t.broker)),
    "slow member": lambda c, t: c.do(cm.SetProcessing(c.one_of("app-"), c.stream.below(1_500))),
    "group altered": lambda c, t: c.alter_group(),
}
SHARE_FAULTS: dict[str, Inflict] = {
    "share join": lambda c, t: c.join_pool(),
    "kill sharer": lambda c, t: c.do(cm.KillNode(c.one_of("pool-"))),
    "freeze sharer": lambda c, t: c.do(cm.PauseNode(c.one_of("pool-"))),
    "sharer leaves": lambda c, t: c.do(cm.CloseClient(c.one_of("pool-"))),
    "cut sharer": lambda c, t: c.do(cm.CutNetwork(c.one_of("pool-"), t.broker)),
    "slow sharer": lambda c, t: c.do(cm.SetProcessing(c.one_of("pool-"), c.stream.below(1_500))),
}
JOB_FAULTS: dict[str, Inflict] = {
    "kill processor": lambda c, t: c.do(cm.KillNode(c.one_of("job-"))),
    "freeze processor": lambda c, t: c.do(cm.PauseNode(c.one_of("job-"))),
    "cut processor": lambda c, t: c.do(cm.CutNetwork(c.one_of("job-"), t.broker)),
    "slow processor": lambda c, t: c.do(cm.SetProcessing(c.one_of("job-"), c.stream.below(800))),
}
