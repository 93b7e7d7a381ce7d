"""The profiles of the fault simulator: what a seed may draw, and what a long campaign must have met to prove anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from engine.check.arena import Listener, Report
from engine.check.exactly_once import ExactlyOnce
from engine.check.fuzz import FAULTS, Campaign
from engine.check.met import MET
from engine.check.swarm import FEATURES, FULL, Swarm


class Profile(NamedTuple):
    """``essential``: a campaign of many seeds that saw none of one of these has tested nothing there."""

    campaign: Callable[[int, tuple[str, ...], tuple[Listener, ...]], Campaign]
    essential: tuple[str, ...]


REPLICATION = Profile(
    Campaign,
    ("elections", "quorum elections", "ISR changes", "truncations", "licensed losses", *(f"fault: {fault}" for fault in FAULTS)),
)
FULL_PROFILE = Profile(
    Swarm,
    (
        "elections", "quorum elections", "ISR changes", "truncations", "licensed losses", "transactions committed", "transactions aborted",
        "cleans", "records cleaned away", "removed by rule", "records read", "records processed exactly once",
        "groups under KIP-848", "groups under the classic protocol", "group rebalances", "members expelled",
        "share records accepted", "share records released", "share records archived", "share records delivered again", *MET.values(),
        *(f"fault: {fault}" for fault in FULL), *(f"feature: {feature}" for feature in FEATURES),
    ),
)  # fmt: skip
EXACTLY_ONCE = Profile(
    ExactlyOnce,
    (
        "fault: kill broker",
        "fault: kill controller",
        "fault: kill processor",
        "records processed exactly once",
        "transactions aborted",
    ),
)
PROFILES = {"replication": REPLICATION, "full": FULL_PROFILE, "exactly-once": EXACTLY_ONCE}


def run_seed(seed: int, mutants: tuple[str, ...] = (), profile: str = "replication") -> Report:
    return PROFILES[profile].campaign(seed, mutants, ()).run()
