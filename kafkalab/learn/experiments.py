"""Experiments: the engine answers predictions, twins and histograms in processes of their own, so that no lab on the shelf waits.

What comes out depends on the lesson alone, so each result is computed once and kept. A histogram grows while the page looks at it.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from kafkalab import lifecycle
from kafkalab.sandbox import bounds, sharing
from kafkalab.sandbox.errors import Refusal
from lessons import play
from lessons.errors import PlayError
from lessons.model import HistogramBlock, Lesson, PredictBlock, Side, TwinBlock

logger = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

WORKERS = 2
"""Beside the server's own core: one for what a learner waits for, one for a histogram."""
TIME_LIMIT_S = 60
SEEDS_PER_TASK = 10
"""A prediction waits for at most so many runs of a histogram."""
KEPT_RESULTS = 200
KEPT_HISTOGRAMS = 20

_results: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
_under_way: dict[tuple[Any, ...], asyncio.Task[Any]] = {}
_histograms: OrderedDict[tuple[Any, ...], ManySeeds] = OrderedDict()
_pool: ProcessPoolExecutor | None = None


def _workers() -> ProcessPoolExecutor:
    global _pool  # noqa: PLW0603  (one pool per process, made when first needed)
    if _pool is None:
        _pool = ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn"))
        lifecycle.on_stop(stop)
    return _pool


async def stop() -> None:
    """Ends the processes; what they were at is lost, and computed anew when somebody asks again."""
    global _pool  # noqa: PLW0603
    for many in _histograms.values():
        if many.task is not None:
            many.task.cancel()
    _histograms.clear()
    if _pool is not None:
        _pool.shutdown(wait=False, cancel_futures=True)
        _pool = None


async def _compute(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Runs ``work`` in another process. Raises Refusal where it does not come out."""
    try:
        return await asyncio.wait_for(_run(work, args, kwargs), TIME_LIMIT_S)
    except PlayError as wrong:
        logger.error("an experiment does not play: %s", wrong.message)
        message = f"This experiment of the lesson did not come out: {wrong.message}"
        raise Refusal(message, status=500, code="EXPERIMENT", cure="Tell the lesson's author.") from None
    except TimeoutError:
        raise Refusal(
            "This experiment takes too long.", status=503, code="EXPERIMENT", cure="Try again later.", wait_s=10
        ) from None


async def _run(work: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
    """A process that was killed (by the system, for its memory) breaks its whole pool: the next one is asked once more."""
    loop = asyncio.get_running_loop()
    pool = _workers()
    try:
        return await loop.run_in_executor(pool, _call, work, args, kwargs)
    except BrokenExecutor:
        logger.warning("a process for experiments died; they get new ones")
        _give_up(pool)
    try:
        return await loop.run_in_executor(_workers(), _call, work, args, kwargs)
    except BrokenExecutor:
        raise Refusal(
            "The process that computed this experiment died twice.",
            status=503,
            code="EXPERIMENT",
            cure="Try again later.",
            wait_s=10,
        ) from None


def _give_up(pool: ProcessPoolExecutor) -> None:
    global _pool  # noqa: PLW0603
    if _pool is pool:
        _pool = None
    pool.shutdown(wait=False, cancel_futures=True)


def _call(work: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
    try:
        return work(*args, **kwargs)
    except PlayError as wrong:
        raise _Portable(wrong.line, wrong.message, wrong.cure) from None


class _Portable(PlayError):
    """A PlayError that can travel between processes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _Portable, (self.line, self.message, self.cure)


async def _once(key: tuple[Any, ...], work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """``_compute``, or what it gave the last time; who asks meanwhile waits for the same answer."""
    if key in _results:
        known: R = _results[key]
        return known
    task = _under_way.get(key)
    if task is None or task.get_loop() is not asyncio.get_running_loop():
        task = _under_way[key] = asyncio.ensure_future(_compute(work, *args, **kwargs))
        task.add_done_callback(lambda done: _keep(key, done))
    found: R = await asyncio.shield(task)
    return found


def _keep(key: tuple[Any, ...], done: asyncio.Task[Any]) -> None:
    if _under_way.get(key) is done:
        del _under_way[key]
    if not done.cancelled() and done.exception() is None:
        _results[key] = done.result()
        while len(_results) > KEPT_RESULTS:
            _results.popitem(last=False)


async def predict(lesson: Lesson, step_index: int, block: PredictBlock) -> play.PredictionResult:
    """The right answer and what happened on the way."""
    return await _once((lesson.file, block.line), play.compute_prediction, lesson, step_index, block.id)


async def twin(lesson: Lesson, step_index: int, block: TwinBlock) -> play.TwinResult:
    number = lesson.steps[step_index].twins.index(block)
    return await _once((lesson.file, block.line), play.compute_twin, lesson, step_index, number)


async def twin_files(lesson: Lesson, step_index: int, block: TwinBlock) -> tuple[bytes, bytes]:
    """Both clusters as they stand after the twins' experiment, as files that can be opened."""
    return await _once((lesson.file, block.line, "files"), _twin_files, lesson, step_index, block)


def _twin_files(lesson: Lesson, step_index: int, block: TwinBlock) -> tuple[bytes, bytes]:
    start = play.start_of(lesson, step_index)

    def live(side: Side) -> bytes:
        run = start.fork()
        run.begin_step()
        run.do((*side.items, *block.items))
        return sharing.write(run.lab.share(), f"{lesson.title}: {side.label}"[: bounds.MAX_TITLE], "")

    return live(block.left), live(block.right)


# -- many seeds -------------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ManySeeds:
    """A histogram that grows. ``counts``: for each side, value → how many seeds gave it."""

    block: HistogramBlock
    counts: list[Counter[int]]
    done: int = 0
    failed: str = ""
    task: asyncio.Task[None] | None = field(default=None, compare=False)

    @property
    def complete(self) -> bool:
        return self.done >= self.block.seeds or bool(self.failed)

    def told(self) -> dict[str, Any]:
        """The context of ``learn/_histogram.html``: ``{done, seeds, complete, failed, unit, sides: [{label, mean, rows}]}``; a row is
        ``{value, count, percent}``."""
        return {
            "done": self.done,
            "seeds": self.block.seeds,
            "complete": self.complete,
            "failed": self.failed,
            "unit": self.block.unit,
            "sides": [self._side(side.label, counts) for side, counts in zip(self.block.sides, self.counts, strict=True)],
        }

    def _side(self, label: str, counts: Counter[int]) -> dict[str, Any]:
        total = counts.total() or 1
        return {
            "label": label,
            "mean": round(sum(value * count for value, count in counts.items()) / total, 2),
            "rows": [{"value": words, "count": count, "percent": round(100 * count / total, 1)} for words, count in _bins(counts)],
        }


MAX_BINS = 12


def _bins(counts: Counter[int]) -> list[tuple[str, int]]:
    """Single values where they are few, else as many ranges of equal width as a page has room for."""
    if not counts:
        return []
    least, most = min(counts), max(counts)
    width = (most - least) // MAX_BINS + 1
    found: Counter[int] = Counter()
    for value, count in counts.items():
        found[(value - least) // width] += count
    ends = [(least + number * width, min(least + (number + 1) * width - 1, most)) for number in range(max(found) + 1)]
    return [(str(first) if first == last else f"{first}–{last}", found[number]) for number, (first, last) in enumerate(ends)]


def many_seeds(lesson: Lesson, block: HistogramBlock) -> ManySeeds:
    """The histogram as far as it has got; begun by the first who asks."""
    key = (lesson.file, block.line)
    many = _histograms.get(key)
    if many is None or (many.task is not None and many.task.done() and not many.complete):
        many = _histograms[key] = ManySeeds(block, [Counter() for _ in block.sides])
        many.task = asyncio.create_task(_grow(lesson, many))
        while len(_histograms) > KEPT_HISTOGRAMS:
            _, oldest = _histograms.popitem(last=False)
            if oldest.task is not None:
                oldest.task.cancel()
    return many


async def _grow(lesson: Lesson, many: ManySeeds) -> None:
    for first in range(1, many.block.seeds + 1, SEEDS_PER_TASK):
        seeds = list(range(first, min(first + SEEDS_PER_TASK, many.block.seeds + 1)))
        try:
            points = await _compute(_points, lesson, many.block, seeds)
        except Refusal as wrong:
            many.failed = wrong.message
            return
        for point in points:
            for counts, value in zip(many.counts, point.values, strict=True):
                counts[value] += 1
        many.done += len(points)


def _points(lesson: Lesson, block: HistogramBlock, seeds: list[int]) -> list[play.HistogramPoint]:
    return list(play.histogram(lesson, seeds, block))
