"""The leader-epoch cache against a model that remembers the epoch of every offset."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.log.leader_epochs import EpochEndOffset, EpochEntry, LeaderEpochFileCache
from engine.sim.disk import Disk

STEPS = st.lists(st.tuples(st.sampled_from(["append", "epoch", "end", "start"]), st.integers(0, 5)), max_size=30)


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_fact_20_end_offset_for_tells_where_an_epoch_ended(steps) -> None:
    disk = Disk()
    cache = LeaderEpochFileCache("c")
    epochs: list[int] = []  # the epoch of each offset
    epoch = start = 0
    for name, number in steps:
        if name == "append":
            cache.assign(epoch, len(epochs), disk)
            epochs += [epoch] * (number + 1)
        elif name == "epoch":
            epoch += number
        elif name == "end":
            epochs = epochs[: max(start, len(epochs) - number)]
            cache.truncate_from_end(len(epochs), disk)
        elif start + number < len(epochs):
            start += number
            cache.truncate_from_start(start, disk)
    known = sorted(set(epochs[start:]))
    assert [entry.epoch for entry in cache.entries] == known or start == len(epochs)
    for asked in range(-1, epoch + 2):
        answer = cache.end_offset_for(asked, len(epochs))
        if not known or asked < 0 or asked > known[-1]:
            if start < len(epochs):
                assert answer == (-1, -1)
            continue
        below = [e for e in known if e <= asked]
        above = [offset for offset in range(start, len(epochs)) if epochs[offset] > asked]
        assert answer == EpochEndOffset(below[-1] if below else asked, above[0] if above else len(epochs))
    if cache.entries:
        assert LeaderEpochFileCache.load("c", disk) == cache


def test_the_file_is_kafkas_text_and_a_damaged_one_counts_as_empty() -> None:
    disk = Disk()
    cache = LeaderEpochFileCache("c")
    cache.assign(0, 0, disk)
    cache.assign(3, 17, disk)
    assert disk.read("c") == b"0\n2\n0 0\n3 17\n"
    disk.replace("c", b"\xff\xfe")
    assert LeaderEpochFileCache.load("c", disk).entries == []


def test_an_assignment_drops_what_contradicts_it() -> None:
    disk = Disk()
    cache = LeaderEpochFileCache("c")
    for epoch, offset in ((1, 0), (2, 10), (5, 20)):
        cache.assign(epoch, offset, disk)
    cache.assign(5, 25, disk)
    assert cache.entries[-1] == EpochEntry(5, 20)
    cache.assign(6, 10, disk)
    assert cache.entries == [(1, 0), (6, 10)]
