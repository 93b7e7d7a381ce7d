"""Refute me: given a claim and a configuration, the shortest run found in which the claim does not hold, or how many runs were tried.

Each seed draws a few faults over a steady load on the given configuration. Of the seeds whose run refutes the claim, the one with the
fewest commands is shrunk (``engine.check.shrink``). A claim that survives is not proven; the number of runs says how hard it was tried.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from engine import commands as cm
from engine import limits
from engine.check import pool
from engine.check.arena import Arena, Listener, Report
from engine.check.claims import AnyClaim, Watch, parse_claim, spell_claim, watch
from engine.check.fuzz import CRASHES, FAULTS, NETWORK, Campaign
from engine.check.invariants import Violation
from engine.check.script import Script
from engine.check.shrink import shrink
from engine.clients.configs import ConsumerConfig, ProducerConfig
from engine.commands import ConfigMap
from engine.errors import EngineError
from engine.events import Happening
from engine.metadata.config_rules import validate_all
from engine.metadata.configs import InvalidConfigError
from engine.spec import ClusterSpec
from engine.world import check_spec

DEFAULT_FAULTS = (*CRASHES, *NETWORK, "kill controller", "pause controller", "preferred election")
"""What befalls a cluster by itself. Disks that lose what they had synced, and an operator's unclean election, are there on request."""
BUDGET_RUNS = 300
MAX_SEEDS = 100_000
LONGEST_US = 30_000_000
TOPIC = "orders"
READ_ALL = {"auto.offset.reset": "earliest"}


class Setup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration that the claim is about: a cluster, one topic with a load, one consumer that reads it from the beginning.
    ``faults`` empty: DEFAULT_FAULTS."""

    spec: ClusterSpec = ClusterSpec()
    partitions: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_PARTITIONS_PER_TOPIC)] = 1
    replication_factor: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_BROKERS)] = 3
    topic_configs: ConfigMap = {}
    producer_configs: ConfigMap = {}
    consumer_configs: ConfigMap = {}
    faults: tuple[str, ...] = ()


class Refutation(msgspec.Struct, frozen=True):
    """``tried`` seeds; ``counterexample`` in words and ``script`` (shrunk) where one refuted the claim, else "" and None. ``refuting``:
    how many of the seeds did. ``runs``: all runs, the shrinking included. ``commands_before``: how long the script was before."""

    claim: str
    tried: int
    runs: int
    refuting: int = 0
    seed: int = -1
    commands_before: int = 0
    counterexample: str = ""
    script: Script | None = None


class Trial(msgspec.Struct, frozen=True):
    """One seed. ``counterexample`` "" where the claim held."""

    seed: int
    counterexample: str
    commands: int
    at_us: int


def check_setup(setup: Setup) -> None:
    """Raises EngineError where Kafka would refuse such a cluster, topic or client, or a fault is unknown."""
    check_spec(setup.spec)
    ProducerConfig.from_map(setup.producer_configs)
    ConsumerConfig.from_map(setup.consumer_configs)
    try:
        validate_all("topic", setup.topic_configs)
    except InvalidConfigError as wrong:
        raise EngineError(f"topic_configs: {wrong}.", field="topic_configs", code="INVALID_CONFIG") from None
    if setup.replication_factor > setup.spec.brokers:
        raise EngineError(
            f"replication_factor: {setup.replication_factor} replicas need as many brokers, and there are {setup.spec.brokers}.",
            field="replication_factor",
            code="INVALID_REPLICATION_FACTOR",
        )
    for fault in setup.faults:
        if fault not in FAULTS:
            raise EngineError(f"faults: {fault!r} is no fault; known are {', '.join(FAULTS)}.", field="faults")


class Attempt(Campaign):
    """One seed against one claim. The first of its commands set the scene, a few faults follow."""

    def __init__(self, setup: Setup, seed: int, listeners: tuple[Listener, ...] = ()) -> None:
        self.setup = setup
        super().__init__(seed, (), listeners)
        faults = setup.faults or DEFAULT_FAULTS
        self.faults = [faults[self.stream.below(len(faults))] for _ in range(1 + self.stream.below(6))]
        self.pace_us = self.stream.between(500_000, 5_000_000)

    def _draw_spec(self, mutants: tuple[str, ...]) -> ClusterSpec:
        return self.setup.spec

    def _peers(self, broker: str) -> list[str]:
        """The clients keep their network: a client that is cut off proves nothing about the cluster."""
        servers = [host.name for host in self.world.kernel.hosts.values() if host.kind in ("broker", "controller")]
        return [name for name in servers if name != broker]

    def _start_load(self) -> None:
        setup = self.setup
        self.do(cm.CreateTopic(TOPIC, setup.partitions, setup.replication_factor, dict(setup.topic_configs)))
        self.advance(1_000_000)
        self.do(cm.CreateProducer("producer-0", dict(setup.producer_configs)))
        self.do(cm.CreateConsumer("reader", [TOPIC], {**READ_ALL, **setup.consumer_configs}))
        self.do(cm.StartWorkload("load", TOPIC, "producer-0", self.stream.between(10, 60), keys=4, value_bytes=60, limit=1_000))

    def _trouble(self) -> None:
        """Each of the faults once, in the order drawn, with something mended now and then."""
        end = self.now + LONGEST_US
        for fault in self.faults:
            self.advance(1 + self.stream.below(2 * self.pace_us))
            if self.now >= end:
                return
            if self.stream.chance(300_000):
                self._mend_something()
            self._inflict(fault)
        self.advance(1 + self.stream.below(2 * self.pace_us))


class Verdict:
    """Runs something in an arena under the eyes of a claim's watch, and tells what it saw and when."""

    def __init__(self, claim: AnyClaim) -> None:
        self.watch: Watch = watch(claim)
        self.counterexample = ""
        self.at_us = -1

    def observe(self, fresh: list[Happening]) -> None:
        self.watch.observe(fresh)
        if self.watch.found and not self.counterexample:
            self.counterexample, self.at_us = self.watch.found, fresh[-1].at_us

    def settle(self, arena: Arena) -> None:
        """A cluster that the faults and the configuration leave unable to come to rest is judged as it is."""
        if self.counterexample:
            return
        arena.heal()
        try:
            arena.drain()
        except Violation as broken:
            if broken.invariant != "Liveness":
                raise
        concluded = self.watch.conclude(arena)
        if concluded:
            self.counterexample = concluded
            self.at_us = arena.now if self.at_us < 0 else self.at_us


def try_seed(claim: AnyClaim, setup: Setup, seed: int) -> Trial:
    """One run; also the unit of work of the processes of the pool."""
    verdict = Verdict(claim)
    attempt = Attempt(setup, seed, (verdict.observe,))

    def run() -> None:
        attempt.form()
        attempt._start_load()
        attempt._trouble()
        verdict.settle(attempt)

    _must_be_sound(attempt.report(run))
    return Trial(seed, verdict.counterexample, len(attempt.steps), verdict.at_us)


def _must_be_sound(report: Report) -> None:
    """An invariant that breaks, or a crash, is the engine's own mistake and refutes nothing."""
    if report.violation:
        raise EngineError(f"seed {report.seed} broke the engine itself: {report.violation}")


def run_against(claim: AnyClaim, script: Script) -> Verdict:
    """Replays a script under the eyes of the claim."""
    verdict = Verdict(claim)
    arena = Arena(script.spec, script.seed, (verdict.observe,))

    def run() -> None:
        arena.play(script)
        verdict.settle(arena)

    arena.report(run)
    return verdict


def refute(claim: AnyClaim | str, setup: Setup | ClusterSpec, seeds: range, budget: int = BUDGET_RUNS, jobs: int = 1) -> Refutation:
    """Tries ``seeds``, then spends at most ``budget`` runs on shrinking the shortest counterexample.

    Raises EngineError for a claim that is not in the vocabulary and for a configuration that Kafka would refuse.
    """
    if isinstance(claim, str):
        claim = parse_claim(claim)  # type: ignore[assignment]
    assert not isinstance(claim, str)
    setup = Setup(setup, replication_factor=min(3, setup.brokers)) if isinstance(setup, ClusterSpec) else setup
    check_setup(setup)
    if not 1 <= len(seeds) <= MAX_SEEDS:
        raise EngineError(f"seeds: from 1 to {MAX_SEEDS} can be tried at a time.", field="seeds")
    trials = list(pool.ordered(try_seed, [(claim, setup, seed) for seed in seeds], jobs))
    refuting = [trial for trial in trials if trial.counterexample]
    if not refuting:
        return Refutation(spell_claim(claim), len(trials), len(trials))
    best = min(refuting, key=lambda trial: (trial.commands, trial.at_us, trial.seed))
    script = script_of(claim, setup, best.seed)

    def broken(candidate: Script) -> int:
        verdict = run_against(claim, candidate)
        return verdict.at_us if verdict.counterexample else -1

    shrunk = shrink(script, broken, budget, belongs_to_the_question)
    return Refutation(
        spell_claim(claim), len(trials), len(trials) + 1 + shrunk.runs, len(refuting), best.seed, len(script.steps),
        run_against(claim, shrunk.script).counterexample, shrunk.script,
    )  # fmt: skip


def belongs_to_the_question(command: cm.Command) -> bool:
    """What was configured stays, or another configuration would be refuted."""
    return isinstance(command, cm.CreateTopic) or (
        isinstance(command, (cm.CreateProducer, cm.CreateConsumer)) and command.configs not in ({}, READ_ALL)
    )


def script_of(claim: AnyClaim, setup: Setup, seed: int) -> Script:
    """What a seed did, up to the moment at which the claim was refuted."""
    verdict = Verdict(claim)
    attempt = Attempt(setup, seed, (verdict.observe,))
    attempt.report(lambda: _scene(attempt))
    return attempt.script()


def _scene(attempt: Attempt) -> None:
    attempt.form()
    attempt._start_load()
    attempt._trouble()
