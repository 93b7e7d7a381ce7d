"""Links between nodes: latency, order within a connection, cuts, delays and losses.

A link is one direction between two addresses. What travels on a connection keeps its order; when the connection breaks, its
generation rises and whatever was still under way on it is gone, as with TCP.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.sim.rng import Stream

BASE_LATENCY_US = 250
JITTER_US = 100


@dataclass(slots=True)
class Link:
    """``dropped`` tells that a cut has swallowed something, so that healing must break the connection; ``cause`` is the event that
    last made this link worse."""

    stream: Stream
    generation: int = 0
    last_arrival_us: int = 0
    cut: bool = False
    dropped: bool = False
    delay_us: int = 0
    loss_ppm: int = 0
    cause: int = 0

    def arrival(self, departs_us: int) -> int:
        """When a message that leaves now arrives: never before an earlier one of the same connection."""
        at = departs_us + BASE_LATENCY_US + self.delay_us + self.stream.below(JITTER_US)
        if at <= self.last_arrival_us:
            at = self.last_arrival_us + 1
        self.last_arrival_us = at
        return at

    def reset(self) -> None:
        """The connection breaks: what is under way on it is lost, the next message opens a new one."""
        self.generation += 1
        self.last_arrival_us = 0
        self.dropped = False
