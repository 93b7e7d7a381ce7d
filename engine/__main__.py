"""``python -m engine``: the fault simulator, the replay of what it found, and the engine's benchmarks."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from os import cpu_count
from pathlib import Path

from engine.check import finding
from engine.check.arena import Arena, Report
from engine.check.claims import CLAIMS
from engine.check.fuzz import FAULTS
from engine.check.pool import reports
from engine.check.profiles import PROFILES
from engine.check.refute import BUDGET_RUNS, Setup, refute
from engine.check.script import CLEAN, Transcript, read_transcript, write_transcript
from engine.errors import EngineError
from engine.events import Happening
from engine.spec import ClusterSpec
from engine.view.narrate import clock, level, narrate

TRANSCRIPTS = Path("tests/transcripts")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m engine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _fuzz_arguments(commands.add_parser("fuzz", help="run many seeds under random faults and check every invariant"))
    replay = commands.add_parser("replay", help="run one seed, or the transcript of a script, again and tell what happened")
    replay.add_argument("what", metavar="SEED|FILE")
    replay.add_argument("--profile", choices=sorted(PROFILES), default="replication")
    replay.add_argument("--mutant", action="append", default=[])
    replay.add_argument("--level", choices=("major", "minor", "trace"), default="major")
    _refute_arguments(commands.add_parser("refute", help="search for the shortest run in which a claim does not hold"))
    commands.add_parser("bench", help="measure the engine on this machine")
    chosen = parser.parse_args(arguments)
    if chosen.command == "fuzz":
        return run_fuzz(chosen)
    if chosen.command == "replay":
        try:
            return run_replay(chosen.what, chosen.profile, tuple(chosen.mutant), chosen.level)
        except (EngineError, OSError) as wrong:
            parser.error(f"{chosen.what}: {wrong}")
    if chosen.command == "refute":
        try:
            return run_refute(chosen)
        except EngineError as wrong:
            parser.error(str(wrong))
    from engine.check.bench import run_bench

    return run_bench()


def _fuzz_arguments(fuzz: argparse.ArgumentParser) -> None:
    fuzz.add_argument(
        "--profile", choices=sorted(PROFILES), default="replication", help="what is drawn: replication alone, or everything"
    )
    fuzz.add_argument("--seeds", type=seed_range, default=range(200), metavar="A:B", help="from A up to, not including, B")
    fuzz.add_argument("--mutant", action="append", default=[], help="switch a sabotage on, to see it caught")
    fuzz.add_argument("--jobs", type=int, default=cpu_count() or 1)
    fuzz.add_argument("--no-shrink", action="store_true", help="only name the seeds that failed")
    fuzz.add_argument(
        "--write",
        type=Path,
        metavar="FOLDER",
        default=TRANSCRIPTS if TRANSCRIPTS.is_dir() else None,
        help="where the first failure's transcript goes (under a mutant it is only printed)",
    )


def _refute_arguments(refuter: argparse.ArgumentParser) -> None:
    refuter.add_argument("claim", help="; ".join(CLAIMS))
    refuter.add_argument("--brokers", type=int, default=3)
    refuter.add_argument("--partitions", type=int, default=1)
    refuter.add_argument("--replicas", type=int, default=3)
    for part in ("broker", "topic", "producer", "consumer"):
        refuter.add_argument(
            f"--{part}", action="append", default=[], type=setting, metavar="NAME=VALUE", help=f"a setting of the {part}s"
        )
    refuter.add_argument("--faults", type=lambda text: tuple(text.split(",")), default=(), help=f"some of: {','.join(FAULTS)}")
    refuter.add_argument("--seeds", type=seed_range, default=range(200), metavar="A:B")
    refuter.add_argument("--budget", type=int, default=BUDGET_RUNS, help="at most so many runs to shrink what was found")
    refuter.add_argument("--jobs", type=int, default=cpu_count() or 1)


def setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no setting; write for example acks=1")
    return name, value


def seed_range(text: str) -> range:
    first, colon, last = text.partition(":")
    try:
        seeds = range(int(first), int(last)) if colon else range(int(first), int(first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of seeds; write for example 0:2000") from None
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text!r} holds no seed; write for example 0:2000")
    return seeds


def run_fuzz(chosen: argparse.Namespace) -> int:
    """0 where every seed was clean and, over a thousand seeds or more, nothing essential was missing."""
    seeds, mutants = chosen.seeds, tuple(chosen.mutant)
    totals: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    broken: list[Report] = []
    deliveries = 0
    for report in reports(seeds, mutants, chosen.jobs, chosen.profile):
        totals.update(report.counts)
        licences.update(report.licences)
        deliveries += report.deliveries
        if report.violation:
            broken.append(report)
            print(f"seed {report.seed}: {report.violation}", flush=True)
    for name in sorted(totals):
        print(f"{totals[name]:>12,} {name}")
    for reason in sorted(licences):
        print(f"{licences[reason]:>12,} licensed: {reason}")
    print(f"{deliveries:>12,} deliveries")
    missing = [name for name in PROFILES[chosen.profile].essential if not totals[name]] if len(seeds) >= 1000 else []
    for name in missing:
        print(f"No {name} in all these seeds: the run proves nothing about that.")
    if broken:
        print(f"Replay with: python -m engine replay {broken[0].seed} --profile {chosen.profile}")
        if not chosen.no_shrink:
            tell_finding(chosen.profile, broken[0], mutants, chosen.write)
    print(f"{len(seeds)} seeds, {len(broken)} violations")
    return 1 if broken or missing else 0


def tell_finding(profile: str, report: Report, mutants: tuple[str, ...], folder: Path | None) -> None:
    """Shrinks the first failure, prints it and writes it where tests find it."""
    campaign = PROFILES[profile].campaign(report.seed, mutants, ())
    campaign.run()
    script = campaign.script()
    transcript = finding.describe(profile, report, script, finding.shrink_violation(script, report))
    print(write_transcript(transcript))
    if folder is not None and not mutants:
        print(f"Written to {finding.save(transcript, folder, f'{profile}-{report.seed}')}; a test replays it until it is clean.")


def run_refute(chosen: argparse.Namespace) -> int:
    """0 where the claim survived, 1 where it was refuted."""
    setup = Setup(
        ClusterSpec(brokers=chosen.brokers, broker_configs=dict(chosen.broker)), chosen.partitions, chosen.replicas,
        dict(chosen.topic), dict(chosen.producer), dict(chosen.consumer), chosen.faults,
    )  # fmt: skip
    found = refute(chosen.claim, setup, chosen.seeds, chosen.budget, chosen.jobs)
    if found.script is None:
        print(f"Not refuted: {found.claim}. {found.tried} seeds were tried. That proves nothing; more seeds may find more.")
        return 0
    note = (
        f"Refuted: {found.claim}.\n{found.counterexample}\n{found.refuting} of {found.tried} seeds refute it; this is seed {found.seed},"
        f" shrunk from {found.commands_before} commands to {len(found.script.steps)}."
    )
    print(write_transcript(Transcript(note, CLEAN, found.script)), end="")
    return 1


def run_replay(what: str, profile: str, mutants: tuple[str, ...], least: str) -> int:
    weights = {"major": 2, "minor": 1, "trace": 0}

    def tell(fresh: list[Happening]) -> None:
        for happening in fresh:
            if weights[level(happening.event)] >= weights[least]:
                print(f"{clock(happening.at_us)}  {narrate(happening.event)}")

    expected = CLEAN
    if what.isdigit():
        report = PROFILES[profile].campaign(int(what), mutants, (tell,)).run()
    else:
        transcript = read_transcript(Path(what).read_text())
        expected = transcript.expected
        arena = Arena(transcript.script.spec, transcript.script.seed, (tell,))
        report = arena.report(lambda: arena.follow(transcript.script))
    for name, count in sorted(report.counts.items()):
        print(f"{count:>12,} {name}")
    print(f"trace hash {report.trace_hash}, {report.deliveries} deliveries, {report.virtual_us / 1e6:.1f} virtual seconds")
    print(report.violation or f"{'seed ' if what.isdigit() else ''}{what}: no violation")
    return 0 if (report.invariant or CLEAN) == expected else 1


if __name__ == "__main__":
    sys.exit(main())
