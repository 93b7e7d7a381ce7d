"""Leaving things out of a failing script until nothing more can go: delta debugging (Zeller and Hildebrandt 2002) over its commands.

What remains is what a person reads, so after the commands the rest is made plain too: fewer settings, smaller loads, rounder times.
Every candidate is run as a whole, so a script that comes out fails by itself; ``budget`` bounds the number of those runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from engine import commands as cm
from engine.check.script import Script, Step
from engine.spec import ClusterSpec

BUDGET_RUNS = 400
Broken = Callable[[Script], int]
"""Runs a script: the virtual time at which it breaks in the same way as the original, or -1."""
Kept = Callable[[cm.Command], bool]


@dataclass(slots=True)
class Shrunk:
    """``runs``: how many candidates were run."""

    script: Script
    runs: int


class Shrinker:
    """Keeps the smallest script that was seen to break."""

    def __init__(self, script: Script, broken: Broken, budget: int, kept: Kept | None) -> None:
        self.kept = kept
        self.script = script
        self.broken = broken
        self.left = budget
        self.seen: set[bytes] = set()

    def keep_if_broken(self, candidate: Script) -> bool:
        """Runs the candidate; where it breaks too, it is the one to go on with, without what comes after the break."""
        key = candidate.to_json()
        if self.left <= 0 or key in self.seen:
            return False
        self.seen.add(key)
        self.left -= 1
        at_us = self.broken(candidate)
        if at_us < 0:
            return False
        self.script = _until(candidate, at_us)
        return True

    def _keeps(self, step: Step) -> bool:
        return self.kept is not None and self.kept(step.command)

    def with_steps(self, steps: tuple[Step, ...]) -> Script:
        return msgspec.structs.replace(self.script, steps=steps)

    def remove_steps(self) -> None:
        """ddmin: halves, quarters, … single commands, as long as any can go."""
        size = max(len(self.script.steps) // 2, 1)
        while self.left > 0:
            removed = False
            start = 0
            while start < len(self.script.steps):
                steps = self.script.steps
                spared = tuple(step for step in steps[start : start + size] if self._keeps(step))
                if len(spared) < size and self.keep_if_broken(self.with_steps(steps[:start] + spared + steps[start + size :])):
                    removed = True
                else:
                    start += size
            if size > 1:
                size = max(size // 2, 1)
            elif not removed:
                return

    def simplify(self) -> bool:
        """Every single simplification that leaves it broken; whether there was one."""
        changed = False
        for spec in _simpler_specs(self.script.spec) if self.kept is None else ():
            changed |= self.keep_if_broken(msgspec.structs.replace(self.script, spec=spec))
        position = len(self.script.steps)
        while position > 0:
            position -= 1
            if position >= len(self.script.steps):
                continue
            step = self.script.steps[position]
            for command in simpler_commands(step.command) if not self._keeps(step) else ():
                steps = self.script.steps
                simpler = Step(step.at_us, command)  # type: ignore[arg-type]
                if self.keep_if_broken(self.with_steps((*steps[:position], simpler, *steps[position + 1 :]))):
                    changed = True
                    break
        return changed

    def round_times(self) -> None:
        for unit_us in (1_000_000, 100_000, 10_000, 1_000):
            steps = tuple(Step(-(-step.at_us // unit_us) * unit_us, step.command) for step in self.script.steps)
            heal_us = -(-self.script.heal_us // unit_us) * unit_us
            rounded = msgspec.structs.replace(self.script, steps=steps, heal_us=heal_us)
            if rounded == self.script or self.keep_if_broken(rounded):
                return


def shrink(script: Script, broken: Broken, budget: int = BUDGET_RUNS, kept: Kept | None = None) -> Shrunk:
    """The script must break; so does the one that is returned. ``kept``: the commands that
    belong to the question, as does then the cluster: they are neither left out nor made simpler."""
    shrinker = Shrinker(script, broken, budget, kept)
    at_us = broken(script)
    if at_us < 0:
        raise ValueError("this script breaks nothing; there is nothing to shrink")
    shrinker.keep_if_broken(_until(script, at_us))
    shrinker.remove_steps()
    while shrinker.left > 0 and shrinker.simplify():
        shrinker.remove_steps()
    shrinker.round_times()
    return Shrunk(shrinker.script, budget - shrinker.left + 1)


def _until(script: Script, at_us: int) -> Script:
    """What comes after the break has no part in it; a break that shows only after the healing needs the whole script."""
    if at_us >= script.heal_us:
        return script
    steps = tuple(step for step in script.steps if step.at_us <= at_us)
    return msgspec.structs.replace(script, steps=steps, heal_us=at_us)


def _simpler_specs(spec: ClusterSpec) -> Iterator[ClusterSpec]:
    if spec.broker_configs:
        yield msgspec.structs.replace(spec, broker_configs={})
    for name in spec.broker_configs:
        yield msgspec.structs.replace(spec, broker_configs={k: v for k, v in spec.broker_configs.items() if k != name})
    if not spec.elr:
        yield msgspec.structs.replace(spec, elr=True)
    if spec.controllers > 1:
        yield msgspec.structs.replace(spec, controllers=1)


def simpler_commands(command: cm.Command) -> Iterator[cm.Command]:
    """One thing less each: a setting dropped, a smaller load, a single partition, a field as by default."""
    if isinstance(command, cm.StartWorkload):
        for limit in (1, 10, 100):
            if not command.limit or command.limit > limit:
                yield msgspec.structs.replace(command, limit=limit)
        if command.records_per_second > 10:
            yield msgspec.structs.replace(command, records_per_second=10)
    if isinstance(command, cm.CreateTopic) and command.partitions > 1:
        yield msgspec.structs.replace(command, partitions=1)
    for field in msgspec.structs.fields(command):
        value = getattr(command, field.name)
        if isinstance(value, dict):
            for name in value:
                yield msgspec.structs.replace(command, **{field.name: {k: v for k, v in value.items() if k != name}})
        elif isinstance(value, list) and len(value) > 1 and field.name == "topics":
            for item in value:
                yield msgspec.structs.replace(command, **{field.name: [other for other in value if other != item]})
        elif field.default is not msgspec.NODEFAULT and value != field.default and field.name not in ("limit", "partitions"):
            yield msgspec.structs.replace(command, **{field.name: field.default})
