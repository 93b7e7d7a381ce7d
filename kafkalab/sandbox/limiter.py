"""How often somebody may do something: token buckets, kept in this process."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, perf_counter

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


class Budget:
    """Seconds of the core per caller: what was spent is taken off afterwards, and whoever is in debt has to wait."""

    def __init__(self, share: float, burst_s: float) -> None:
        self.share = share
        self.burst_s = burst_s
        self.accounts: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def _balance(self, caller: str, now: float) -> float:
        balance, counted_at = self.accounts.get(caller, (self.burst_s, now))
        return min(balance + (now - counted_at) * self.share, self.burst_s)

    def check(self, caller: str) -> None:
        """Raises Refusal (429) where the caller is in debt."""
        balance = self._balance(caller, monotonic())
        if balance < 0:
            raise too_often("requests that cost much", -balance / self.share)

    def charge(self, caller: str, spent_s: float) -> None:
        now = monotonic()
        self.accounts[caller] = (self._balance(caller, now) - spent_s, now)
        self.accounts.move_to_end(caller)
        while len(self.accounts) > bounds.MAX_KNOWN_CALLERS:
            self.accounts.popitem(last=False)

    @contextmanager
    def charged(self, caller: str) -> Iterator[None]:
        """Takes what is done inside off the caller's account. Nothing inside may wait."""
        began = perf_counter()
        try:
            yield
        finally:
            self.charge(caller, perf_counter() - began)


class AtOnce:
    """How many things each caller has under way, of which ``most`` are allowed."""

    def __init__(self, most: int, what: str, cure: str) -> None:
        self.most = most
        self.what = what
        self.cure = cure
        self.under_way: Counter[str] = Counter()

    @contextmanager
    def one_more(self, caller: str) -> Iterator[None]:
        """Raises Refusal (429) where there are as many as may be."""
        if self.under_way[caller] >= self.most:
            raise Refusal(
                f"At most {self.most} {self.what} at once.", status=429, code="TOO_MANY_REQUESTS", cure=self.cure, wait_s=1
            )
        self.under_way[caller] += 1
        try:
            yield
        finally:
            self.under_way[caller] -= 1
            if not self.under_way[caller]:
                del self.under_way[caller]


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
WORK = Budget(bounds.WORK_SHARE, bounds.WORK_BURST_S)
COPIES = AtOnce(
    bounds.MAX_COPIES_AT_ONCE, "copies of a visitor's can be made", "Wait until one of them is ready, and send it again."
)
ADVANCES = AtOnce(bounds.MAX_ADVANCES_AT_ONCE, "calls can let the time of one sandbox pass", "Wait until one of them is answered.")
