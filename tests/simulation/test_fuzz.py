"""The fault simulator over some seeds, and each sabotage that it must catch."""

from __future__ import annotations

import pytest

from engine.__main__ import main
from engine.check.mutants import FULL_MUTANTS, REPLICATION_MUTANTS, Mutant
from engine.check.pool import reports
from engine.check.profiles import run_seed

MUTANT_SEEDS = 2_000


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_no_invariant_breaks(first: int) -> None:
    for seed in range(first, first + 10):
        report = run_seed(seed)
        assert not report.violation, f"seed {seed}: {report.violation}"
        assert report.counts["records sent"] > 0


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_no_invariant_breaks_with_everything_in_play(first: int) -> None:
    for seed in range(first, first + 10):
        report = run_seed(seed, (), "full")
        assert not report.violation, f"seed {seed}: {report.violation}"


@pytest.mark.parametrize("profile", ["replication", "full"])
def test_a_seed_is_a_whole_history(profile: str) -> None:
    assert run_seed(3, (), profile) == run_seed(3, (), profile)


@pytest.mark.parametrize("mutant", REPLICATION_MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_of_replication_is_caught(mutant: Mutant) -> None:
    caught = next((seed for seed in range(MUTANT_SEEDS) if run_seed(seed, (mutant.name,)).violation), None)
    assert caught is not None, f"{MUTANT_SEEDS} seeds did not notice: {mutant.sabotage}"


@pytest.mark.parametrize("mutant", FULL_MUTANTS, ids=lambda mutant: mutant.name)
def test_every_other_mutant_is_caught(mutant: Mutant) -> None:
    caught = next((seed for seed in range(MUTANT_SEEDS) if run_seed(seed, (mutant.name,), "full").violation), None)
    assert caught is not None, f"{MUTANT_SEEDS} seeds did not notice: {mutant.sabotage}"


@pytest.mark.long
@pytest.mark.parametrize("profile", ["replication", "full"])
def test_two_thousand_seeds(profile: str) -> None:
    broken = [
        f"seed {report.seed}: {report.violation}" for report in reports(range(2_000), jobs=2, profile=profile) if report.violation
    ]
    assert broken == []


def test_the_command_line_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuzz", "--seeds", "0:2", "--jobs", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 seeds, 0 violations"
    assert main(["replay", "1"]) == 0
    assert "trace hash" in capsys.readouterr().out


@pytest.mark.parametrize("seeds", ["x", "5:5", "3:1", ":"])
def test_nonsense_ranges_are_refused(seeds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fuzz", "--seeds", seeds])
    assert "write for example 0:2000" in capsys.readouterr().err
