"""What a crash keeps and what a power loss takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sim.disk import Disk, DiskFullError
from engine.sim.rng import Stream, seed_for

WRITES = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.binary(max_size=20), st.booleans()), max_size=30)


@given(WRITES, st.booleans(), st.integers(0, 2**32))
def test_power_loss_keeps_what_was_synced_and_at_most_a_piece_of_the_rest(
    writes: list[tuple[str, bytes, bool]], torn: bool, seed: int
) -> None:
    disk = Disk()
    content = {"a": b"", "b": b""}
    synced = {"a": 0, "b": 0}
    for path, data, sync in writes:
        disk.append(path, data)
        content[path] += data
        if sync:
            disk.sync(path)
            synced[path] = len(content[path])
    assert disk.used_bytes == sum(map(len, content.values()))
    lost = disk.lose_power(Stream(seed_for(seed, "power")), torn=torn)
    kept = 0
    for path in disk.files:
        left = disk.read(path)
        kept += len(left)
        assert content[path].startswith(left)
        assert len(left) >= synced[path]
        if not torn:
            assert len(left) == synced[path]
    assert lost == sum(map(len, content.values())) - kept
    assert disk.used_bytes == kept


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=20), st.integers(0, 200))
def test_truncation_cuts_at_the_byte(chunks: list[bytes], size: int) -> None:
    disk = Disk()
    disk.append("f", b"")
    for chunk in chunks:
        disk.append("f", chunk)
    disk.truncate("f", size)
    assert disk.read("f") == b"".join(chunks)[:size]
    assert disk.size("f") == disk.used_bytes == len(disk.read("f"))


def test_a_full_disk_refuses_whole_writes_and_keeps_what_it_has() -> None:
    disk = Disk(capacity_bytes=10)
    disk.append("f", b"12345678")
    with pytest.raises(DiskFullError):
        disk.append("f", b"abc")
    with pytest.raises(DiskFullError):
        disk.replace("g", b"abc")
    assert disk.read("f") == b"12345678"
    assert not disk.exists("g")
    disk.append("f", b"90")
    assert disk.used_bytes == 10


def test_a_replaced_file_survives_power_loss_whole() -> None:
    disk = Disk()
    disk.replace("f", b"old")
    disk.replace("f", b"newer")
    disk.lose_power(Stream(1), torn=True)
    assert disk.read("f") == b"newer"
    assert disk.used_bytes == 5
