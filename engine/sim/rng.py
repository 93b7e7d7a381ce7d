"""Named random streams, all grown from one seed.

One stream per link or role: a fault that draws from its own stream shifts no other. The state is one integer (SplitMix64, Steele
et al. 2014), so that a checkpoint copies it for nothing; ``random.Random`` would drag 2.5 KB along for each stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


@dataclass(slots=True)
class Stream:
    state: int

    def bits(self) -> int:
        """64 random bits."""
        self.state = z = (self.state + GOLDEN) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, bound: int) -> int:
        """An integer in [0, bound); 0 where ``bound`` is below 1. ``bits`` is written out here: every message asks for its jitter."""
        if bound <= 0:
            return 0
        self.state = z = (self.state + GOLDEN) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) * bound) >> 64

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return low + self.below(high - low + 1)

    def chance(self, per_million: int) -> bool:
        return self.below(1_000_000) < per_million


def seed_for(seed: int, name: str) -> int:
    """The start of the stream ``name``; independent of PYTHONHASHSEED."""
    return int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big")
