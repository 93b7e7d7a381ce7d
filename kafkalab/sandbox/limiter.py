"""How often somebody may do something: token buckets, kept in this process."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic

from kafkalab.sandbox import bounds
from kafkalab.sandbox.errors import Refusal


class Bucket:
    """``rate_per_s`` on average, ``burst`` at once."""

    __slots__ = ("burst", "counted_at", "rate_per_s", "tokens")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self.tokens = burst
        self.counted_at = monotonic()

    def take(self) -> float:
        """Takes one; returns 0, or the seconds to wait until there is one."""
        now = monotonic()
        self.tokens = min(self.tokens + (now - self.counted_at) * self.rate_per_s, self.burst)
        self.counted_at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / self.rate_per_s


class Limiter:
    """A bucket per caller; the callers seen longest ago are forgotten."""

    def __init__(self, rate_per_s: float, burst: float, what: str) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self.what = what
        self.buckets: OrderedDict[str, Bucket] = OrderedDict()

    def check(self, caller: str) -> None:
        """Raises Refusal (429) where the caller has used up its share."""
        bucket = self.buckets.get(caller)
        if bucket is None:
            bucket = self.buckets[caller] = Bucket(self.rate_per_s, self.burst)
            while len(self.buckets) > bounds.MAX_KNOWN_CALLERS:
                self.buckets.popitem(last=False)
        self.buckets.move_to_end(caller)
        wait = bucket.take()
        if wait > 0:
            raise too_often(self.what, wait)


def too_often(what: str, wait_s: float) -> Refusal:
    return Refusal(
        f"Too many {what} at once.",
        status=429,
        code="TOO_MANY_REQUESTS",
        cure=f"Wait {max(wait_s, 0.1):.1f} s and send it again.",
        wait_s=wait_s,
    )


WRITES = Limiter(bounds.WRITES_PER_S, bounds.WRITE_BURST, "requests")
CREATIONS = Limiter(bounds.CREATIONS_PER_MINUTE / 60, bounds.CREATIONS_PER_MINUTE, "new sandboxes")
ADDRESSES = Limiter(
    bounds.CREATIONS_PER_ADDRESS_PER_MINUTE / 60, bounds.CREATIONS_PER_ADDRESS_PER_MINUTE, "new sandboxes from one address"
)
