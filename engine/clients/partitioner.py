"""Which partition a record goes to: Kafka's murmur2 for keys, the sticky partitioner for the rest, librdkafka's CRC-32.

All functions are pure; the sticky state of one topic is a small value that the accumulator keeps. Source: ``Utils.murmur2``,
``BuiltInPartitioner`` (KIP-480, KIP-794), librdkafka's ``rd_kafka_msg_partitioner_consistent``.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from dataclasses import dataclass

from engine.sim.rng import Stream

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


def murmur2(data: bytes) -> int:
    """32-bit MurmurHash2 with Kafka's seed, as the signed integer that Java prints."""
    length = len(data)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for position in range(0, whole, 4):
        k = int.from_bytes(data[position : position + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if whole != length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    h ^= h >> 15
    return h - 0x100000000 if h & 0x80000000 else h


def partition_for_key(key: bytes, partition_count: int) -> int:
    """``BuiltInPartitioner.partitionForKey``: adding partitions remaps keys."""
    return (murmur2(key) & 0x7FFFFFFF) % partition_count


def consistent_partition(key: bytes, partition_count: int) -> int:
    """librdkafka's ``consistent``: CRC-32 of the key. Its default, ``consistent_random``, differs only for records without key."""
    return zlib.crc32(key) % partition_count


@dataclass(slots=True)
class StickyPartition:
    """The partition that keyless records of one topic go to now; -1 before the first."""

    partition: int = -1
    produced_bytes: int = 0


def load_table(queue_sizes: list[int], partition_count: int) -> list[int] | None:
    """The cumulative frequency table of the partitions that have a leader: the shorter a queue, the likelier its partition.

    None where the choice is uniform: fewer than two partitions in all, no leader, or all queues equal and all leaders known.
    """
    if not queue_sizes or partition_count < 2:
        return None
    longest = max(queue_sizes)
    if len(queue_sizes) == partition_count and min(queue_sizes) == longest:
        return None
    table: list[int] = []
    total = 0
    for size in queue_sizes:
        total += longest + 1 - size
        table.append(total)
    return table


def next_partition(stream: Stream, available: tuple[int, ...], partition_count: int, queue_sizes: list[int] | None) -> int:
    """``BuiltInPartitioner.nextPartition``. ``available`` are the partitions with a leader, ``queue_sizes`` their queue lengths in
    the same order (None without adaptive partitioning)."""
    table = load_table(queue_sizes, partition_count) if queue_sizes is not None else None
    if table is not None:
        return available[bisect_right(table, stream.below(table[-1]))]
    if available:
        return available[stream.below(len(available))]
    return stream.below(partition_count)


def must_switch(sticky: StickyPartition, batch_size: int, batches_full: bool) -> bool:
    """Move on after ``batch.size`` bytes, once no half-full batch would be left behind, and after twice that in any case."""
    least = max(batch_size, 1)
    return sticky.produced_bytes >= 2 * least or (batches_full and sticky.produced_bytes >= least)
