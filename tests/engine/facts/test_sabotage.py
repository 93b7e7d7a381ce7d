"""Every fact of this version has its tests, and one line by whose loss they would fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.engine.facts.sabotages import SABOTAGES, Sabotage

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
FACTS = range(1, 51)
"""The numbered facts about Kafka that this engine keeps."""


def test_every_fact_has_a_test_that_carries_its_number() -> None:
    names = re.findall(r"^def test_fact_(\d\d)_", "\n".join(path.read_text() for path in HERE.glob("test_*.py")), re.MULTILINE)
    assert sorted(set(FACTS) - {int(name) for name in names}) == []


def test_every_fact_has_its_sabotage() -> None:
    assert sorted(set(FACTS) - {sabotage.fact for sabotage in SABOTAGES}) == []


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: f"fact-{sabotage.fact:02}")
def test_the_line_to_spoil_stands_in_the_engine_once(sabotage: Sabotage) -> None:
    assert (ROOT / sabotage.path).read_text().count(sabotage.before) == 1
    assert sabotage.before != sabotage.after
