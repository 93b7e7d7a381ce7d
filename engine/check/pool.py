"""Many runs at once, in processes of their own. Which process runs a seed changes nothing about its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from engine.check.arena import Report
from engine.check.profiles import run_seed

CHUNK = 8
"""Runs handed to a process at a time: few enough that a failure shows soon, many enough that handing out costs nothing."""
Result = TypeVar("Result")


def ordered(work: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], jobs: int = 1) -> Iterator[Result]:
    """``work(*arguments)`` for each, in their order, whatever the number of processes."""
    if jobs <= 1 or len(arguments) < CHUNK:
        yield from (work(*each) for each in arguments)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(work, *zip(*arguments, strict=True), chunksize=CHUNK)


def reports(seeds: range, mutants: tuple[str, ...] = (), jobs: int = 1, profile: str = "replication") -> Iterator[Report]:
    """In the order of the seeds."""
    return ordered(run_seed, [(seed, mutants, profile) for seed in seeds], jobs)
