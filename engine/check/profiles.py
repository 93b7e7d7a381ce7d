"""The profiles of the fault simulator: what a seed may draw, and what a long campaign must have met to prove anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from engine.check.arena import Listener, Report
from engine.check.fuzz import FAULTS, Campaign


class Profile(NamedTuple):
    """``essential``: a campaign of many seeds that saw none of one of these has tested nothing there."""

    campaign: Callable[[int, tuple[str, ...], tuple[Listener, ...]], Campaign]
    essential: tuple[str, ...]


REPLICATION = Profile(
    Campaign,
    ("elections", "quorum elections", "ISR changes", "truncations", "licensed losses", *(f"fault: {fault}" for fault in FAULTS)),
)
PROFILES = {"replication": REPLICATION}


def run_seed(seed: int, mutants: tuple[str, ...] = (), profile: str = "replication") -> Report:
    return PROFILES[profile].campaign(seed, mutants, ()).run()
