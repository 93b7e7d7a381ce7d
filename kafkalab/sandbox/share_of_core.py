"""Who may use the core next, and how long: slices in turn, at most a fixed part of one core for all labs together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

from kafkalab.sandbox import bounds


class ShareOfCore:
    """Hands out slices in the order in which they were asked for, so that no lab starves another."""

    def __init__(self, part: float = bounds.ENGINE_SHARE) -> None:
        self.part = part
        self.credit_s = bounds.BURST_S
        self.counted_at = perf_counter()
        self.turn = asyncio.Lock()

    async def slice(self, work: Callable[[float], bool]) -> bool:
        """Calls ``work`` with its deadline (of ``perf_counter``) when its turn comes; returns what it returns."""
        async with self.turn:
            self._count()
            while self.credit_s <= 0:
                await asyncio.sleep(max(-self.credit_s / self.part, bounds.SLICE_S))
                self._count()
            began = perf_counter()
            try:
                done = work(began + bounds.SLICE_S)
            finally:
                self.charge(perf_counter() - began)
        await asyncio.sleep(0)
        return done

    def charge(self, spent_s: float) -> None:
        """Work that could not wait (a click) counts too; its debt is bounded, so that one long command stalls nobody for long."""
        self.credit_s = max(self.credit_s - spent_s, -0.25)

    def _count(self) -> None:
        now = perf_counter()
        self.credit_s = min(self.credit_s + (now - self.counted_at) * self.part, bounds.BURST_S)
        self.counted_at = now
