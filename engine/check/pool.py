"""Many runs at once, in processes of their own. Which process runs a seed changes nothing about its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from engine.check.arena import Report
from engine.check.profiles import run_seed

CHUNK = 4
"""Runs handed to a process at a time, at most: few enough that a failure shows soon and that no process sits idle in the end while another
still has many, enough that handing out costs nothing."""
SHARES = 16
"""Portions that each process gets where there are few runs."""
Result = TypeVar("Result")


def ordered(work: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], jobs: int = 1) -> Iterator[Result]:
    """``work(*arguments)`` for each, in their order, whatever the number of processes."""
    if jobs <= 1 or len(arguments) < CHUNK:
        yield from (work(*each) for each in arguments)
        return
    chunk = max(1, min(CHUNK, len(arguments) // (jobs * SHARES)))
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(work, *zip(*arguments, strict=True), chunksize=chunk)


def reports(seeds: range, mutants: tuple[str, ...] = (), jobs: int = 1, profile: str = "replication") -> Iterator[Report]:
    """In the order of the seeds."""
    return ordered(run_seed, [(seed, mutants, profile) for seed in seeds], jobs)
