"""From a seed that fails to a test: its script is shrunk and written as a transcript, which fails until the bug is mended."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.check.arena import Report, run_script
from engine.check.script import CLEAN, Script, Transcript, write_transcript
from engine.check.shrink import BUDGET_RUNS, Shrunk, shrink


def shrink_violation(script: Script, found: Report, budget: int = BUDGET_RUNS) -> Shrunk:
    """The smallest script found in which the same invariant breaks in the same words; under a mutant, only what the mutant is to blame
    for (unless the script breaks without it too)."""
    blame = bool(script.spec.mutants) and not run_script(without_mutants(script)).violation

    def broken(candidate: Script) -> int:
        report = run_script(candidate)
        if (report.invariant, report.shape) != (found.invariant, found.shape):
            return -1
        if blame and run_script(without_mutants(candidate)).violation:
            return -1
        return report.at_us

    return shrink(script, broken, budget)


def without_mutants(script: Script) -> Script:
    return msgspec.structs.replace(script, spec=msgspec.structs.replace(script.spec, mutants=()))


def describe(profile: str, report: Report, script: Script, shrunk: Shrunk) -> Transcript:
    """What is expected is what is right: nothing breaks. Only a mutant is there to be caught."""
    violation = run_script(shrunk.script).violation
    note = (
        f"{violation}\n"
        f"Found by `python -m engine fuzz --profile {profile} --seeds {report.seed}:{report.seed + 1}`,"
        f" shrunk from {len(script.steps)} commands to {len(shrunk.script.steps)} in {shrunk.runs} runs."
    )
    return Transcript(note, report.invariant if script.spec.mutants else CLEAN, shrunk.script)


def save(transcript: Transcript, folder: Path, name: str) -> Path:
    """Returns where it lies: ``simulation-NAME.txt``."""
    path = folder / f"simulation-{name}.txt"
    path.write_text(write_transcript(transcript))
    return path
