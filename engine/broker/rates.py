"""Kafka's ``Rate`` over a ``SampledStat``: how much per second, on average, over a window of samples.

The client quotas and the replication throttles are measured with it, so that throttle times are Kafka's to the millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class SampledRate:
    """Three lists side by side, one place per sample: when it began, when it was last added to, what it holds. Times in milliseconds."""

    began_ms: list[int] = field(default_factory=list)
    last_ms: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    current: int = 0

    def record(self, value: float, now_ms: int, count: int, sample_ms: int) -> None:
        """``count`` samples of ``sample_ms`` are looked at; one more is kept for the sample that overlaps the window's edge."""
        if not self.began_ms:
            self._append(now_ms)
        elif now_ms - self.began_ms[self.current] >= sample_ms:
            self.current = (self.current + 1) % (count + 1)
            if self.current >= len(self.began_ms):
                self._append(now_ms)
            else:
                self._reset(self.current, now_ms)
        self.values[self.current] += value
        self.last_ms[self.current] = now_ms

    def _append(self, now_ms: int) -> None:
        self.began_ms.append(now_ms)
        self.last_ms.append(now_ms)
        self.values.append(0.0)

    def _reset(self, position: int, now_ms: int) -> None:
        self.began_ms[position] = self.last_ms[position] = now_ms
        self.values[position] = 0.0

    def _purge(self, now_ms: int, count: int, sample_ms: int) -> None:
        for position, last_ms in enumerate(self.last_ms):
            if now_ms - last_ms >= count * sample_ms:
                self._reset(position, now_ms)

    def window_ms(self, now_ms: int, count: int, sample_ms: int) -> int:
        """The time that is divided by: at least ``count`` - 1 whole samples, so that a burst after silence is not a high rate."""
        self._purge(now_ms, count, sample_ms)
        elapsed = now_ms - min(self.began_ms, default=now_ms)
        whole = elapsed // sample_ms
        if whole < count - 1:
            elapsed += (count - 1 - whole) * sample_ms
        return max(elapsed, 1)

    def rate(self, now_ms: int, count: int, sample_ms: int) -> float:
        """Per second."""
        self._purge(now_ms, count, sample_ms)
        return sum(self.values) * 1000 / self.window_ms(now_ms, count, sample_ms)

    def peek(self, now_ms: int, count: int, sample_ms: int) -> float:
        """``rate`` for onlookers: nothing is forgotten by it."""
        began, total = self._seen(now_ms, count * sample_ms)
        elapsed = now_ms - began
        whole = elapsed // sample_ms
        if whole < count - 1:
            elapsed += (count - 1 - whole) * sample_ms
        return total * 1000 / max(elapsed, 1)

    def peek_simple(self, now_ms: int, count: int, sample_ms: int) -> float:
        began, total = self._seen(now_ms, count * sample_ms)
        return total * 1000 / max(now_ms - began, sample_ms)

    def _seen(self, now_ms: int, horizon_ms: int) -> tuple[int, float]:
        """Since when, and how much, of what still counts."""
        kept = [place for place, last_ms in enumerate(self.last_ms) if now_ms - last_ms < horizon_ms]
        return min([self.began_ms[place] for place in kept], default=now_ms), sum([self.values[place] for place in kept])

    def simple_rate(self, now_ms: int, count: int, sample_ms: int) -> float:
        """``SimpleRate``: divided by the time that has passed, at least one sample."""
        self._purge(now_ms, count, sample_ms)
        elapsed = now_ms - min(self.began_ms, default=now_ms)
        return sum(self.values) * 1000 / max(elapsed, sample_ms)


@dataclass(slots=True)
class Throttle(SampledRate):
    """One side of a broker's replication throttle: ``limit`` in bytes per second; ``told_us``: when it was last told to hold back."""

    limit: int = 0
    told_us: int = 0


@dataclass(slots=True)
class Usage(SampledRate):
    """What one user and client used of one quota here. ``throttle_time_ms`` was its last one, ``throttled_us`` when (0: never)."""

    limit: float = 0.0
    throttle_time_ms: int = 0
    throttled_us: int = 0
