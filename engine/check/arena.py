"""A world under watch: commands go in, the oracle and the judges see all that happens, and each command is written down with its time.

Fuzzing, replaying a script, shrinking and refuting differ only in where their commands come from; how a run begins, heals, drains and is
judged is the same for all, and lies here.
"""

from __future__ import annotations

import re
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import PurePath

import msgspec

from engine import commands as cm
from engine import world as wd
from engine.broker.node import BrokerNode
from engine.check.cleaned import judge_cleaned
from engine.check.commits import Commits
from engine.check.groups import Groups, consumers
from engine.check.invariants import Oracle, Violation, partitions_of
from engine.check.met import Met
from engine.check.outcome import Outcome
from engine.check.processors import judge_processors
from engine.check.readers import Readers, configs_of
from engine.check.rights import Rights
from engine.check.script import Script, Step
from engine.check.shares import Shares, share_consumers
from engine.check.transactions import judge_transactions
from engine.clients.consumer import ConsumerNode
from engine.clients.consumer_state import CRASHED
from engine.clients.position import FAILED
from engine.clients.processor import WORKING, ProcessorConsumer
from engine.effects import apply
from engine.errors import EngineError
from engine.events import Happening
from engine.metadata.configs import static_value
from engine.metadata.internal_topics import TRANSACTION_STATE
from engine.refusals import check
from engine.spec import ClusterSpec
from engine.view.phrases import command_text

FORMING_US = 20_000_000
DRAIN_US = 240_000_000
DRAIN_STEP_US = 2_000_000
FORMING_STEP_US = 100_000

DENIED = ("TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED")
"""Errors that ``poll`` throws and that pass with the ACL: an application ends by them."""
_NAMES = re.compile(r"[\w.-]*\d[\w.,-]*")
Listener = Callable[[list[Happening]], None]


class Report(msgspec.Struct, frozen=True):
    """What one run held. ``violation`` "" is a clean one, ``invariant`` the name of what broke, ``shape`` the complaint without its names
    and numbers. ``licences``: why how many partitions were excused a loss."""

    seed: int
    violation: str
    counts: dict[str, int]
    trace_hash: str
    deliveries: int
    virtual_us: int
    invariant: str = ""
    at_us: int = 0
    licences: dict[str, int] = {}
    shape: str = ""


class Arena:
    """``listeners`` are told of each run of fresh happenings, before the oracle is."""

    def __init__(self, spec: ClusterSpec, seed: int, listeners: tuple[Listener, ...] = ()) -> None:
        self.seed = seed
        self.world = wd.create(spec, seed)
        self.oracle = Oracle(self.world)
        self.outcome = Outcome()
        self.readers = Readers()
        self.groups = Groups(self.oracle)
        self.shares = Shares(self.world, self.oracle)
        self.met = Met()
        self.guarded = bool(static_value(spec.broker_configs, "authorizer.class.name"))
        told = (self.outcome, self.readers, self.groups, Commits(self.oracle), self.shares, self.met)
        self.listeners = (*[judge.observe for judge in told], *listeners)
        if self.guarded:
            self.listeners = (Rights(self.world).observe, *self.listeners)
        self.counts: Counter[str] = Counter()
        self.steps: list[Step] = []
        self.heal_us = 0

    @property
    def now(self) -> int:
        return self.world.kernel.now

    def script(self) -> Script:
        return Script(self.seed, self.world.spec, tuple(self.steps), self.heal_us or self.now)

    def observe(self, fresh: list[Happening]) -> bool:
        for listener in self.listeners:
            listener(fresh)
        return self.oracle.observe(fresh)

    def advance(self, by_us: int) -> None:
        self.advance_to(self.now + by_us)

    def advance_to(self, at_us: int) -> None:
        kernel = self.world.kernel
        kernel.run(at_us, 0, self.observe)
        kernel.fresh.clear()

    def do(self, command: cm.Command) -> bool:
        """Commands that make no sense just now are refused and skipped."""
        try:
            check(self.world, command)
        except EngineError:
            return False
        if not self.heal_us:
            self.steps.append(Step(self.now, command))  # type: ignore[arg-type]
        self.groups.told(command)
        apply(self.world, command, command_text(command))
        self.observe(self.world.kernel.fresh)
        self.world.kernel.fresh.clear()
        return True

    # -- phases -----------------------------------------------------------------------------------------------------------

    def form(self) -> None:
        self.observe(self.world.kernel.fresh)
        self.world.kernel.fresh.clear()
        while not wd.formed(self.world):
            if self.now > FORMING_US:
                raise Violation("Liveness", self.now, "the cluster did not form")
            self.advance(FORMING_STEP_US)

    def play(self, script: Script) -> None:
        """Does what the script says, each thing at its time."""
        self.observe(self.world.kernel.fresh)
        self.world.kernel.fresh.clear()
        for step in script.steps:
            self.advance_to(step.at_us)
            self.do(step.command)
        self.advance_to(script.heal_us)

    def follow(self, script: Script) -> None:
        self.play(script)
        self.settle()

    def heal(self) -> None:
        """Undoes every fault and ends every load. What is done from here on is no part of the script: it follows from the state."""
        self.heal_us = self.now
        self.do(cm.HealNetwork())
        for host in list(self.world.kernel.hosts.values()):
            if host.kind in wd.SERVERS:
                self.do(cm.SlowDisk(host.name, 0))
                self.do(cm.FreeDisk(host.name))
            if host.status == "paused":
                self.do(cm.ResumeNode(host.name))
        self._start_all()
        for workload in list(wd.running_workloads(self.world)):
            self.do(cm.StopWorkload(workload))

    def _start_all(self) -> None:
        """Again and again while draining: a broker that was stopping politely when the trouble ended goes down later."""
        for host in list(self.world.kernel.hosts.values()):
            if host.status == "down":
                self.do(cm.StartNode(host.name))
        for name, node in list(consumers(self.world)):
            thrown = node.application.state == CRASHED or any(position.error in DENIED for position in node.positions.values())
            if thrown and self.do(cm.KillNode(name)):  # its supervisor starts it again
                self.do(cm.StartNode(name))
            if isinstance(node, ConsumerNode) and node.application.processing_us:
                self.do(cm.SetProcessing(name, 0))
        for name, sharing in list(share_consumers(self.world)):
            if sharing.application.state == CRASHED and self.do(cm.KillNode(name)):
                self.do(cm.StartNode(name))
            if sharing.application.processing_us:
                self.do(cm.SetProcessing(name, 0))
        if self.guarded:
            self._open_doors()

    def _open_doors(self) -> None:
        """Until the metadata say so: everybody may do everything again, and every user has his password."""
        image = wd.best_image(self.world)
        acls = list(image.acls.values()) if image is not None else []
        if any(acl.permission == "deny" for acl in acls):
            self.do(cm.DeleteAcl(permission="deny"))
        for resource_type in ("topic", "group", "transactional-id"):
            if not any((acl.resource_type, acl.principal, acl.operation) == (resource_type, "User:*", "all") for acl in acls):
                self.do(cm.CreateAcl("User:*", "all", resource_type, "*"))
        for name in list(self.world.kernel.hosts):
            configs = configs_of(self.world, name)
            user, mechanism = configs.get("sasl.username", ""), configs.get("sasl.mechanism", "")
            if user and (image is None or (user, mechanism) not in image.scram):
                self.do(cm.AlterUser(user, configs["sasl.password"], mechanism))

    def drain(self) -> None:
        end = self.now + DRAIN_US
        trouble = "nothing was checked"
        elected = kicked = False
        while self.now < end:
            self.advance(DRAIN_STEP_US)
            self._start_all()
            trouble = self._unsettled()
            if not trouble:
                return
            if not elected and self.now > end - DRAIN_US // 2 and "has no leader" in trouble:
                elected = True
                self._elect_whoever_is_left()
            if not kicked and self.now > end - DRAIN_US // 2:
                kicked = True
                self._start_who_waits_in_vain()
        raise Violation("Liveness", self.now, trouble)

    def _elect_whoever_is_left(self) -> None:
        """An operator's last resort where every eligible replica lost its disk: an unclean election, with its licence."""
        image = wd.best_image(self.world)
        for partition, state in partitions_of(image) if image is not None else []:
            known = self.oracle.state(partition)
            if state.leader == -1 and (known.tainted or known.licences):
                self.do(cm.ElectLeader("unclean", partition.topic, partition.partition))

    def _start_who_waits_in_vain(self) -> None:
        """The coordinator tells a share member its assignment once (``hasAssignedPartitionsChanged``). Where that answer was lost, a member
        stays idle until something changes or somebody starts it anew."""
        for name in list(self.shares.uninformed()):
            self.groups.licences["a share member's assignment was lost on its way"] += 1
            self.do(cm.KillNode(name))
            self.do(cm.StartNode(name))

    def _unsettled(self) -> str:
        """What still moves; "" once the cluster is whole and idle."""
        world = self.world
        if not wd.formed(world):
            return "not every broker is registered and unfenced"
        image = wd.best_image(world)
        assert image is not None
        for partition, state in partitions_of(image):
            if state.leader == -1:
                return f"{partition} has no leader"
            if state.adding or state.removing:
                return f"the reassignment of {partition} has not ended"
            if set(state.isr) != set(state.replicas):
                return f"the ISR of {partition} is {state.isr} of {state.replicas}"
            leader = world.kernel.hosts[f"broker-{state.leader}"].node
            replica = leader.partitions.get(partition) if isinstance(leader, BrokerNode) else None
            if replica is None or replica.role != "leader" or replica.high_watermark != replica.log.log_end_offset:
                return f"the leader of {partition} has not committed everything"
        return (
            self.outcome.unsettled(world)
            or self._undecided()
            or self.groups.unsettled(world)
            or self.shares.unsettled()
            or self._unread()
        )

    def _undecided(self) -> str:
        """Where a transaction is still open; nobody can end one whose coordinator lost what it knew."""
        if not self.oracle.licensed(TRANSACTION_STATE):
            for partition, known in self.oracle.partitions.items():
                if known.open and not known.licences:
                    return f"a transaction is open in {partition}"
        return ""

    def _unread(self) -> str:
        """Which consumer has not read to the end."""
        for name, node in consumers(self.world):
            if node.paused or node.application.state == CRASHED:
                continue
            if isinstance(node, ProcessorConsumer) and (node.inputs or node.stage != WORKING or node.sent_in_round):
                return f"{name} is at work"
            for partition, position in node.positions.items():
                known = self.oracle.state(partition)
                committed_only = node.settings.isolation_level == "read_committed"
                end = known.last_stable_offset(known.high_watermark) if committed_only else known.high_watermark
                if not known.licences and position.state != FAILED and position.position < end:
                    return f"{name} is at {position.position} of {partition}, which ends at {end}"
        return ""

    def judge(self) -> None:
        world, oracle, counts = self.world, self.oracle, self.counts
        oracle.check_candidates()
        self.outcome.judge(world, oracle, counts)
        self.readers.judge(world, oracle, counts)
        self.groups.judge(world, self.readers, counts)
        self.shares.judge(counts)
        judge_cleaned(world, oracle)
        judge_processors(world, oracle, self.outcome, counts)
        if not oracle.licensed(TRANSACTION_STATE):
            judge_transactions(self.now, oracle, counts)

    def settle(self) -> None:
        self.heal()
        self.drain()
        self.judge()

    def report(self, run: Callable[[], None]) -> Report:
        """Runs it, and tells what came of it."""
        violation, invariant, shape, at_us = "", "", "", 0
        try:
            run()
        except Violation as broken:
            violation, invariant, shape, at_us = str(broken), broken.invariant, _NAMES.sub("#", broken.detail), self.now
        except Exception as crash:  # noqa: BLE001 - a node that crashes is a finding like any other, with its seed
            violation = f"Crash at {self.now} µs: {type(crash).__name__}: {crash} ({_where(crash)})"
            invariant = shape = f"Crash {type(crash).__name__} {_where(crash)}"
            at_us = self.now
        kernel = self.world.kernel
        counts = {**self.oracle.counts, **self.met.counts, **self.counts}
        trace = f"{kernel.trace & (1 << 64) - 1:016x}"
        licences = {**self.oracle.licences(), **self.groups.licences}
        return Report(self.seed, violation, counts, trace, kernel.deliveries, kernel.now, invariant, at_us, licences, shape)


def run_script(script: Script, listeners: tuple[Listener, ...] = ()) -> Report:
    """The same script gives the same report, always and everywhere."""
    arena = Arena(script.spec, script.seed, listeners)
    return arena.report(lambda: arena.follow(script))


def _where(crash: Exception) -> str:
    """The innermost line: "fetcher.py:168 in on_response"."""
    frame = traceback.extract_tb(crash.__traceback__)[-1]
    return f"{PurePath(frame.filename).name}:{frame.lineno} in {frame.name}"
