"""What the simulator once found, replayed from its minimal scripts; and a person can read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.check.arena import run_script
from engine.check.finding import shrink_violation, without_mutants
from engine.check.profiles import PROFILES
from engine.check.script import CLEAN, Transcript, read_transcript, script_from_json, write_transcript
from engine.errors import EngineError

FOLDER = Path(__file__).parents[1] / "transcripts"
FILES = sorted(FOLDER.glob("simulation-*.txt"))
FEW_COMMANDS = 10


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_was_found_once(file: Path) -> None:
    transcript = read_transcript(file.read_text())
    report = run_script(transcript.script)
    assert (report.invariant or CLEAN) == transcript.expected, report.violation
    if transcript.script.spec.mutants:
        assert run_script(without_mutants(transcript.script)).violation == ""
        assert len(transcript.script.steps) <= FEW_COMMANDS


def test_there_are_transcripts() -> None:
    assert FILES


def test_a_script_is_the_whole_run() -> None:
    campaign = PROFILES["replication"].campaign(4, (), ())
    report = campaign.run()
    script = campaign.script()
    assert run_script(script_from_json(script.to_json())).trace_hash == report.trace_hash
    transcript = Transcript("a note\nin two lines", CLEAN, script)
    assert read_transcript(write_transcript(transcript)) == transcript


@pytest.mark.parametrize(("mutant", "seed"), [("truncate-to-hw", 3), ("ack-before-replication", 0), ("no-sequence-check", 2)])
def test_a_mutant_shrinks_to_a_handful_of_commands(mutant: str, seed: int) -> None:
    """The seed need not be the first that catches it; it must catch it."""
    while True:
        campaign = PROFILES["replication"].campaign(seed, (mutant,), ())
        report = campaign.run()
        if report.violation:
            break
        seed += 1
    shrunk = shrink_violation(campaign.script(), report)
    assert len(shrunk.script.steps) <= FEW_COMMANDS
    assert run_script(shrunk.script).invariant == report.invariant
    assert run_script(without_mutants(shrunk.script)).violation == ""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "lacks cluster, seed, heal"),
        ("cluster {}\nseed 1\nheal 2\n", "lacks the line ----"),
        ("cluster {}\nseed x\n", "line 2"),
        ("cluster {}\nseed 1\nat 1 {}\n", "line 3"),
        ("cluster {\n", "line 1"),
        ("kluster {}\n", "none of cluster, seed, at, heal"),
    ],
)
def test_what_is_wrong_in_a_transcript_is_said(text: str, complaint: str) -> None:
    with pytest.raises(EngineError, match=complaint):
        read_transcript(text)
