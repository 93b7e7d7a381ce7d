"""A restore gives back what was acknowledged: the same view digest, the same history, whatever was done before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine import ENGINE_VERSION
from engine.lab import Lab
from kafkalab.sandbox import bounds, journal
from kafkalab.sandbox.inputs import Arrived, Entry
from kafkalab.sandbox.journal import LeaseLost, database
from kafkalab.sandbox.models import Checkpoint, JournalEntry, Sandbox
from kafkalab.sandbox.shelf import shelf
from tests.web.visitors import KILL, PRODUCE, Visitor


async def crash(sandbox: str) -> None:
    """Forgets what memory holds, as a killed process does: nothing is written, the lease stays."""
    live = shelf().labs.pop(sandbox)
    live.gone = True
    if live.task is not None:
        live.task.cancel()


async def same_after_crash(visitor: Visitor, sandbox: str) -> dict[str, Any]:
    before = await visitor.state(sandbox)
    await crash(sandbox)
    after = await visitor.state(sandbox)
    for volatile in ("paused_by", "actual_speed", "begin_us"):
        before["clock"].pop(volatile)
        after["clock"].pop(volatile)
    assert after == before
    return after


async def test_commands_come_back(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    fresh = await visitor.state(sandbox)
    await visitor.submit(sandbox, **PRODUCE)
    await visitor.advance(sandbox, 3_000_000)
    ack = await visitor.submit(sandbox, **KILL)
    state = await same_after_crash(visitor, sandbox)
    assert state["digest"] == ack["digest"] != fresh["digest"]
    assert state["seq"] == 3
    assert state["clock"]["now_us"] == ack["at_us"]


async def test_the_future_is_the_same_too(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, type="StartWorkload", name="w", topic="orders", records_per_second=50)
    await visitor.advance(sandbox, 2_345_678)
    await visitor.submit(sandbox, **KILL)
    twin, _ = await visitor.api("POST", f"sandboxes/{sandbox}/fork", {})
    assert twin == 201
    await crash(sandbox)
    mine = await visitor.advance(sandbox, 20_000_000)
    _, listed = await visitor.api("GET", "sandboxes")
    other = next(row["id"] for row in listed["sandboxes"] if row["id"] != sandbox)
    theirs = await visitor.advance(other, 20_000_000)
    assert mine["digest"] == theirs["digest"]


async def test_rewinding_forking_and_branches_come_back(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, **PRODUCE)
    await visitor.advance(sandbox, 4_000_000)
    await visitor.submit(sandbox, **KILL)
    await visitor.advance(sandbox, 12_000_000)
    await visitor.api("POST", f"sandboxes/{sandbox}/seek", {"at_us": 3_000_000})
    past = await same_after_crash(visitor, sandbox)
    assert past["clock"]["now_us"] == 3_000_000
    assert past["clock"]["end_us"] == 17_400_000
    await visitor.submit(sandbox, type="KillNode", node="broker-2")
    await visitor.advance(sandbox, 1_000_000)
    forked = await same_after_crash(visitor, sandbox)
    assert [branch["id"] for branch in forked["clock"]["branches"]] == [0, 1]
    async with visitor.socket(sandbox) as socket:
        ack = await socket.ask("branch", branch=0)
        assert "digest" in ack, ack
    switched = await same_after_crash(visitor, sandbox)
    assert switched["clock"]["branch"] == 0
    assert switched["clock"]["now_us"] == 17_400_000


async def test_steps_and_breakpoints_come_back(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await visitor.api("POST", f"sandboxes/{sandbox}/speed", {"running": False})
    async with visitor.socket(sandbox) as socket:
        await socket.ask("breakpoint", event="RecordsAppended", topic="orders")
        await socket.ask("command", command=PRODUCE)
        for _ in range(3):
            await socket.ask("step")
        await socket.ask("command", command=PRODUCE)
        await socket.ask("speed", speed=10)
        await socket.until(lambda s: not s.clock["running"] and s.clock["paused_by"])
        assert "orders" in socket.clock["paused_by"]
        await socket.ask("step")
        await socket.ask("command", command=KILL)
    state = await same_after_crash(visitor, sandbox)
    assert [point["event"] for point in state["clock"]["breakpoints"]] == ["RecordsAppended"]


async def test_what_was_refused_leaves_no_trace(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    status, _ = await visitor.api("POST", f"sandboxes/{sandbox}/commands", {"type": "StartNode", "node": "broker-1"})
    assert status == 400
    assert not await JournalEntry.objects.aexists()
    await visitor.submit(sandbox, **KILL)
    assert (await same_after_crash(visitor, sandbox))["seq"] == 1


async def test_nobody_sees_what_the_journal_did_not_take(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = await visitor.sandbox()
    before = await visitor.state(sandbox)

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "append", full_disk)
        status, answer = await visitor.api("POST", f"sandboxes/{sandbox}/commands", KILL)
        assert status == 500
        assert "disk" not in answer["error"]["message"]
    assert await visitor.state(sandbox) == before
    await visitor.submit(sandbox, **KILL)


async def test_a_checkpoint_shortens_the_restore_and_changes_nothing(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "CHECKPOINT_DELIVERIES", 500)
    monkeypatch.setattr(bounds, "FULL_REPLAY_DELIVERIES", 100)
    sandbox = await visitor.sandbox()
    for number in range(5):
        await visitor.submit(sandbox, **{**PRODUCE, "value": f"v{number}"})
        await visitor.advance(sandbox, 5_000_000)
    points = [point async for point in Checkpoint.objects.filter(sandbox_id=sandbox).order_by("seq")]
    assert 2 <= len(points) <= bounds.KEPT_CHECKPOINTS
    row = await Sandbox.objects.aget(id=sandbox)
    origin = await database(journal.origin_of, row)
    assert origin.seq == points[-1].seq
    state = await same_after_crash(visitor, sandbox)
    assert Lab.restore(bytes(points[-1].content)).digest() == points[-1].digest
    assert state["clock"]["now_us"] == 26_400_000
    await visitor.submit(sandbox, **KILL)
    await same_after_crash(visitor, sandbox)


async def test_a_rewind_behind_a_checkpoint_voids_it(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "CHECKPOINT_DELIVERIES", 1_000)
    monkeypatch.setattr(bounds, "FULL_REPLAY_DELIVERIES", 0)
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, **PRODUCE)
    await visitor.advance(sandbox, 20_000_000)
    await visitor.submit(sandbox, **PRODUCE)
    assert await Checkpoint.objects.filter(sandbox_id=sandbox, at_us__gt=5_000_000).aexists()
    await visitor.api("POST", f"sandboxes/{sandbox}/seek", {"at_us": 5_000_000})
    assert not await Checkpoint.objects.filter(sandbox_id=sandbox, at_us__gt=5_000_000).aexists()
    await visitor.submit(sandbox, **KILL)
    await same_after_crash(visitor, sandbox)


async def test_a_long_history_with_branches_is_collapsed(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "COLLAPSE_DELIVERIES", 6_000)
    monkeypatch.setattr(bounds, "FULL_REPLAY_DELIVERIES", 0)
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, **PRODUCE)
    await visitor.advance(sandbox, 8_000_000)
    await visitor.api("POST", f"sandboxes/{sandbox}/seek", {"at_us": 3_000_000})
    await visitor.submit(sandbox, **KILL)
    await visitor.advance(sandbox, 30_000_000)
    await visitor.submit(sandbox, **PRODUCE)
    state = await same_after_crash(visitor, sandbox)
    assert len(state["clock"]["branches"]) == 1
    begin = (await visitor.state(sandbox))["clock"]["begin_us"]
    assert begin > 3_000_000, "the timeline shows where history begins now"


async def test_a_graceful_stop_leaves_checkpoints_and_no_tails(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        await socket.ask("command", command=KILL)
        await socket.until(lambda s: s.clock["now_us"] > 1_500_000)
    before = shelf().labs[sandbox].lab
    digest, now = before.digest(), before.now_us
    await shelf().close()
    row = await Sandbox.objects.aget(id=sandbox)
    point = await Checkpoint.objects.aget(sandbox_id=sandbox)
    assert (row.lease_owner, point.seq, point.at_us, point.digest) == ("", row.last_seq, now, digest)
    shelf().closing = False
    assert (await visitor.state(sandbox))["digest"] == digest


async def test_time_that_was_watched_is_kept_when_the_lab_falls_asleep(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SLEEP_AFTER_S", 0)
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        await socket.until(lambda s: s.clock["now_us"] > 1_600_000)
    task = shelf().labs[sandbox].task
    assert task is not None
    await asyncio.wait_for(task, 10)
    asleep = await visitor.state(sandbox)
    assert asleep["clock"]["now_us"] > 1_600_000
    await asyncio.sleep(0.2)
    assert (await visitor.state(sandbox))["clock"]["now_us"] == asleep["clock"]["now_us"], "time stands still"
    await same_after_crash(visitor, sandbox)


async def test_an_evicted_lab_comes_back(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, **KILL)
    before = await visitor.state(sandbox)
    await shelf().evict(shelf().labs[sandbox])
    assert sandbox not in shelf().labs
    assert (await Sandbox.objects.aget(id=sandbox)).lease_owner == ""
    assert (await visitor.state(sandbox))["digest"] == before["digest"]


async def test_the_shelf_is_bounded(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_LIVE_LABS", 2)
    first = await visitor.sandbox()
    for _ in range(3):
        await visitor.sandbox()
    assert len(shelf().labs) == 2
    assert first not in shelf().labs
    await visitor.submit(first, **KILL)


async def test_another_live_process_keeps_its_sandbox(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await crash(sandbox)
    await Sandbox.objects.filter(id=sandbox).aupdate(lease_owner="another-host|1|1|1", lease_until=2**40)
    status, answer = await visitor.api("GET", f"sandboxes/{sandbox}")
    assert (status, answer["error"]["code"]) == (503, "SANDBOX_ELSEWHERE")
    await Sandbox.objects.filter(id=sandbox).aupdate(lease_until=1)
    assert (await visitor.api("GET", f"sandboxes/{sandbox}"))[0] == 200, "a lease that ran out is free"


async def test_a_process_that_lost_its_lease_writes_nothing_more(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await Sandbox.objects.filter(id=sandbox).aupdate(lease_owner="another-host|1|1|1", lease_until=2**40)
    with pytest.raises(LeaseLost):
        await database(journal.append, sandbox, shelf().lease, Entry(1, 1_400_000, Arrived()), 0, (1.0, True))
    status, _ = await visitor.api("POST", f"sandboxes/{sandbox}/commands", KILL)
    assert status >= 500
    assert sandbox not in shelf().labs
    assert not await JournalEntry.objects.aexists()


def test_a_dead_process_of_this_host_holds_nothing() -> None:
    mine = journal.lease_name(7)
    host, pid, started, _ = mine.split("|")
    assert not journal.is_dead(mine, [mine])
    assert journal.is_dead(mine, []), "a shelf of this process that is gone"
    assert journal.is_dead(f"{host}|{2**22 + 1}|{started}|1", [])
    assert journal.is_dead(f"{host}|1|not-when-it-started|1", []), "its number was given to another process"
    assert not journal.is_dead(f"elsewhere|{pid}|{started}|1", [])


async def test_a_journal_of_another_engine_says_so(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, **KILL)
    await crash(sandbox)
    await Sandbox.objects.filter(id=sandbox).aupdate(engine_version=f"{ENGINE_VERSION}-older")
    status, answer = await visitor.api("GET", f"sandboxes/{sandbox}")
    assert (status, answer["error"]["code"]) == (409, "ENGINE_VERSION")
