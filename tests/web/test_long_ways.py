"""Long ways through time: they go slice by slice, so that nobody else waits, and end where the engine's own leap would."""

from __future__ import annotations

import asyncio
from time import perf_counter

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from engine import limits
from engine.lab import Lab
from kafkalab.sandbox import bounds, copies, inputs, journal, service
from kafkalab.sandbox.shelf import shelf
from tests.web.visitors import KILL, PRODUCE, Visitor


async def turns_of(work: asyncio.Task[object]) -> int:
    """How often the loop came round while ``work`` was at it."""
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    return turns


async def busy_lab(visitor: Visitor) -> str:
    sandbox = await visitor.sandbox()
    await visitor.api("POST", f"sandboxes/{sandbox}/speed", {"running": False})
    await visitor.submit(sandbox, type="StartWorkload", name="w", topic="orders", records_per_second=200)
    await visitor.advance(sandbox, 3_000_000)
    return sandbox


async def test_a_seek_leaves_the_loop_to_others(visitor: Visitor) -> None:
    sandbox = await busy_lab(visitor)
    live = await service.open_lab(sandbox, visitor.id)
    end_us, digest = live.lab.end_us, live.lab.digest()
    live.lab._checkpoints = live.lab._checkpoints[:1]
    await service.seek(live, live.lab.begin_us)
    turns = await turns_of(asyncio.create_task(service.seek(live, end_us)))
    assert turns > 20
    assert (live.lab.now_us, live.lab.digest()) == (end_us, digest)


async def test_a_change_of_branch_leaves_the_loop_to_others(visitor: Visitor) -> None:
    sandbox = await busy_lab(visitor)
    live = await service.open_lab(sandbox, visitor.id)
    end_us, digest = live.lab.end_us, live.lab.digest()
    await service.seek(live, live.lab.begin_us)
    await visitor.submit(sandbox, **KILL)
    turns = await turns_of(asyncio.create_task(service.switch(live, 0)))
    assert turns > 20
    assert (live.lab.now_us, live.lab.digest(), live.lab.branch) == (end_us, digest, 0)
    after = await service.state(live)
    await shelf().evict(live)
    again = await visitor.state(sandbox)
    assert (again["digest"], again["seq"]) == (after["digest"], after["seq"])


async def test_a_fork_of_the_future_beyond_the_playhead(visitor: Visitor) -> None:
    sandbox = await busy_lab(visitor)
    live = await service.open_lab(sandbox, visitor.id)
    await visitor.submit(sandbox, **PRODUCE)
    await visitor.advance(sandbox, 1_000_000)
    end_us, digest = live.lab.end_us, live.lab.digest()
    await service.seek(live, live.lab.begin_us)
    twin, refused = await copies.fork(live, at_us=end_us)
    there = await service.open_lab(twin.id, visitor.id)
    assert not refused
    assert (there.lab.now_us, there.lab.digest()) == (end_us, digest)
    assert live.lab.now_us == live.lab.begin_us, "the original stays where it was"


def test_a_way_longer_than_one_leap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab that ran for more than thirty days without an input can still be restored."""
    monkeypatch.setattr(limits, "MAX_ADVANCE_US", 100_000)
    lab = Lab(service.FREE_SPEC)
    until_us = lab.now_us + 1_000_000
    while not inputs.slice_to(lab, until_us, perf_counter() + 1):
        pass
    assert lab.now_us == until_us
    lab.seek(lab.begin_us)
    lab.seek(until_us)
    assert lab.now_us == until_us


async def test_a_large_upload_is_not_read(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> bytes:
        raise AssertionError("it was read")

    monkeypatch.setattr(copies, "import_file", read)
    upload = SimpleUploadedFile("lab.json", b" " * (bounds.MAX_BODY_BYTES + 1))
    answer = await visitor.client.post("/sandbox/import/", {"file": upload}, follow=True)
    assert f"at most {bounds.MAX_BODY_BYTES}" in answer.content.decode()


async def test_the_shelf_survives_a_database_that_does_not_answer(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    sandbox = await visitor.sandbox()
    calls = 0

    def locked(*_: object) -> list[str]:
        nonlocal calls
        calls += 1
        raise OperationalError("database is locked")

    naps = asyncio.sleep
    monkeypatch.setattr(journal, "renew", locked)
    monkeypatch.setattr(bounds, "LEASE_S", 0)
    monkeypatch.setattr("kafkalab.sandbox.shelf.asyncio.sleep", lambda _: naps(0.01))
    for _ in range(500):
        await naps(0.01)
        if calls > 1:
            break
    assert calls > 1, "it was tried again"
    assert sandbox in shelf().labs


async def test_records_do_not_pile_up_without_end(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A paused lab takes no more than its producers may buffer."""
    monkeypatch.setattr(limits, "MAX_BUFFERED_RECORDS", 1_500)
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, **PRODUCE, count=1_000)
    await visitor.submit(sandbox, **PRODUCE, count=1)
    before = await visitor.state(sandbox)
    status, answer = await visitor.api("POST", f"sandboxes/{sandbox}/commands", {**PRODUCE, "count": 1_000})
    assert (status, answer["error"]["field"]) == (400, "count")
    assert "1500" in answer["error"]["message"]
    assert (await visitor.state(sandbox))["seq"] == before["seq"]
    await visitor.advance(sandbox, 5_000_000)
    await visitor.submit(sandbox, **PRODUCE, count=1_000)
