"""``python -m engine``: the fault simulator, the replay of one of its seeds, and the engine's benchmarks."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from os import cpu_count

from engine.check.fuzz import FAULTS, Campaign, Report
from engine.check.pool import reports
from engine.events import Happening
from engine.view.narrate import clock, level, narrate

ESSENTIAL = (
    "elections",
    "quorum elections",
    "ISR changes",
    "truncations",
    "licensed losses",
    *(f"fault: {f}" for f in FAULTS),
)
"""A campaign of many seeds that saw none of one of these has tested nothing there."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m engine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fuzz = commands.add_parser("fuzz", help="run many seeds under random faults and check every invariant")
    fuzz.add_argument("--seeds", type=seed_range, default=range(200), metavar="A:B", help="from A up to, not including, B")
    fuzz.add_argument("--mutant", action="append", default=[], help="switch a sabotage on, to see it caught")
    fuzz.add_argument("--jobs", type=int, default=cpu_count() or 1)
    replay = commands.add_parser("replay", help="run one seed again and tell what happened")
    replay.add_argument("seed", type=int)
    replay.add_argument("--mutant", action="append", default=[])
    replay.add_argument("--level", choices=("major", "minor", "trace"), default="major")
    commands.add_parser("bench", help="measure the engine on this machine")
    chosen = parser.parse_args(arguments)
    if chosen.command == "fuzz":
        return run_fuzz(chosen.seeds, tuple(chosen.mutant), chosen.jobs)
    if chosen.command == "replay":
        return run_replay(chosen.seed, tuple(chosen.mutant), chosen.level)
    from engine.check.bench import run_bench

    return run_bench()


def seed_range(text: str) -> range:
    first, colon, last = text.partition(":")
    try:
        seeds = range(int(first), int(last)) if colon else range(int(first), int(first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of seeds; write for example 0:2000") from None
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text!r} holds no seed; write for example 0:2000")
    return seeds


def run_fuzz(seeds: range, mutants: tuple[str, ...], jobs: int) -> int:
    """0 where every seed was clean and, over a thousand seeds or more, nothing essential was missing."""
    totals: Counter[str] = Counter()
    broken: list[Report] = []
    deliveries = 0
    for report in reports(seeds, mutants, jobs):
        totals.update(report.counts)
        deliveries += report.deliveries
        if report.violation:
            broken.append(report)
            print(f"seed {report.seed}: {report.violation}", flush=True)
    for name in sorted(totals):
        print(f"{totals[name]:>12,} {name}")
    print(f"{deliveries:>12,} deliveries")
    missing = [name for name in ESSENTIAL if not totals[name]] if len(seeds) >= 1000 else []
    for name in missing:
        print(f"No {name} in all these seeds: the run proves nothing about that.")
    if broken:
        print(f"Replay with: python -m engine replay {broken[0].seed}")
    print(f"{len(seeds)} seeds, {len(broken)} violations")
    return 1 if broken or missing else 0


def run_replay(seed: int, mutants: tuple[str, ...], least: str) -> int:
    weights = {"major": 2, "minor": 1, "trace": 0}

    def tell(happening: Happening) -> None:
        if weights[level(happening.event)] >= weights[least]:
            print(f"{clock(happening.at_us)}  {narrate(happening.event)}")

    report = Campaign(seed, mutants, tell).run()
    for name, count in sorted(report.counts.items()):
        print(f"{count:>12,} {name}")
    print(f"trace hash {report.trace_hash}, {report.deliveries} deliveries, {report.virtual_us / 1e6:.1f} virtual seconds")
    print(report.violation or f"seed {seed}: no violation")
    return 1 if report.violation else 0


if __name__ == "__main__":
    sys.exit(main())
