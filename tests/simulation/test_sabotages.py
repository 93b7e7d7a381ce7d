"""Each fact's tests fail once its line is spoilt: in a copy of the engine, one sabotage at a time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.facts.sabotages import SABOTAGES, Sabotage

ROOT = Path(__file__).parents[2]
CAUGHT = 1
"""pytest's exit status when tests ran and some failed."""


@pytest.mark.long
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: f"fact-{sabotage.fact:02}")
def test_the_facts_tests_notice_the_sabotage(sabotage: Sabotage, tmp_path: Path) -> None:
    for name in ("engine", "tests/engine/facts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for package in ("tests", "tests/engine"):
        (tmp_path / package / "__init__.py").touch()
    target = tmp_path / sabotage.path
    target.write_text(target.read_text().replace(sabotage.before, sabotage.after))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:django",
               "-c", "/dev/null", "--rootdir", ".", "-k", f"test_fact_{sabotage.fact:02}_", "tests/engine/facts"]  # fmt: skip
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == CAUGHT, result.stdout[-3000:] + result.stderr[-1000:]
