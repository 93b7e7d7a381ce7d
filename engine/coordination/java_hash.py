"""``String.hashCode``, and the order in which Java's ``HashMap`` lists strings: Kafka decides by them which partition coordinates a group
and which of two equally popular assignors is taken."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache


@lru_cache(1024)
def java_hash(text: str) -> int:
    """Over UTF-16 code units, as a signed 32-bit number. Asked with every request of a group, hence remembered."""
    value = 0
    raw = text.encode("utf-16-be", "surrogatepass")
    for position in range(0, len(raw), 2):
        value = (31 * value + (raw[position] << 8 | raw[position + 1])) & 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value


def partition_for(key: str, count: int) -> int:
    """``Utils.abs(key.hashCode()) % count``."""
    return (java_hash(key) & 0x7FFFFFFF) % count


def hash_map_order(keys: Iterable[str]) -> list[str]:
    """At most twelve strings as a new ``HashMap`` (16 buckets) would list them; inside one bucket the order of insertion."""
    return sorted(keys, key=_bucket)


def _bucket(key: str) -> int:
    value = java_hash(key) & 0xFFFFFFFF
    return (value ^ value >> 16) & 15
