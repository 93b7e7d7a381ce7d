"""Where records go: Kafka's published murmur2 values, the sticky partitioner's switch, and librdkafka's other choice."""

from __future__ import annotations

import pytest

from engine.clients.partitioner import (
    StickyPartition,
    consistent_partition,
    load_table,
    murmur2,
    must_switch,
    next_partition,
    partition_for_key,
)
from engine.sim.rng import Stream


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_gives_the_values_of_kafkas_own_test(text, expected):
    assert murmur2(text.encode()) == expected


def test_a_keyed_record_goes_to_murmur2_without_sign_modulo_partitions():
    assert partition_for_key(b"foobar", 7) == (-790332482 & 0x7FFFFFFF) % 7


def test_adding_partitions_remaps_keys():
    keys = [b"key-%d" % n for n in range(100)]
    assert any(partition_for_key(key, 3) != partition_for_key(key, 4) for key in keys)


def test_java_and_librdkafka_disagree_about_most_keys():
    keys = [b"key-%d" % n for n in range(100)]
    assert sum(partition_for_key(key, 12) != consistent_partition(key, 12) for key in keys) > 80
    assert consistent_partition(b"123456789", 2**32) == 0xCBF43926


def test_the_load_table_favours_short_queues():
    assert load_table([0, 3, 1], 3) == [4, 5, 8]
    assert load_table([2, 2, 2], 3) is None
    assert load_table([2, 2], 3) == [1, 2]
    assert load_table([5], 1) is None
    assert load_table([], 3) is None
    stream = Stream(7)
    hits = [0, 0, 0]
    for _ in range(8000):
        hits[next_partition(stream, (0, 1, 2), 3, [0, 3, 1])] += 1
    assert abs(hits[0] - 4000) < 200
    assert abs(hits[1] - 1000) < 150


def test_partitions_without_leader_are_avoided_while_others_have_one():
    stream = Stream(3)
    assert {next_partition(stream, (1, 3), 4, None) for _ in range(100)} == {1, 3}
    assert {next_partition(stream, (), 4, []) for _ in range(100)} == {0, 1, 2, 3}


def test_the_sticky_partition_moves_on_by_bytes_and_not_mid_batch():
    assert not must_switch(StickyPartition(0, 99), 100, batches_full=True)
    assert must_switch(StickyPartition(0, 100), 100, batches_full=True)
    assert not must_switch(StickyPartition(0, 199), 100, batches_full=False)
    assert must_switch(StickyPartition(0, 200), 100, batches_full=False)
