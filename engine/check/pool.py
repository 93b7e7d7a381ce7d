"""Many seeds at once, in processes of their own. Which process runs a seed changes nothing about its result."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from engine.check.arena import Report
from engine.check.profiles import run_seed

CHUNK = 8
"""Seeds handed to a process at a time: few enough that a failure shows soon, many enough that handing out costs nothing."""


def reports(seeds: range, mutants: tuple[str, ...] = (), jobs: int = 1, profile: str = "replication") -> Iterator[Report]:
    """In the order of the seeds, whatever the number of processes."""
    if jobs <= 1 or len(seeds) < CHUNK:
        yield from (run_seed(seed, mutants, profile) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(run_seed, seeds, [mutants] * len(seeds), [profile] * len(seeds), chunksize=CHUNK)
