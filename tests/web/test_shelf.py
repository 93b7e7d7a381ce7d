"""The shelf: nobody starves, nobody takes the server down, and what can be had is bounded."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from engine.errors import EngineError
from engine.lab import Lab
from kafkalab.sandbox import bounds, limiter
from kafkalab.sandbox.live import check_pace
from kafkalab.sandbox.models import Sandbox
from kafkalab.sandbox.share_of_core import ShareOfCore
from kafkalab.sandbox.shelf import shelf
from tests.web.visitors import KILL, PRODUCE, Visitor

BUSY = {"type": "StartWorkload", "name": "w", "topic": "orders", "records_per_second": 5000}


def break_engine(monkeypatch: pytest.MonkeyPatch, sandbox: str, method: str) -> None:
    """From now on that lab alone has a fault."""
    victim = shelf().labs[sandbox].lab
    whole = getattr(Lab, method)

    def broken(self: Lab, *args: Any, **kwargs: Any) -> Any:
        if self is victim:
            raise ZeroDivisionError("the engine's secret")
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(Lab, method, broken)


async def test_a_fault_while_time_passes_is_told_and_undone(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox, other = await visitor.sandbox(), await visitor.sandbox()
    ack = await visitor.submit(sandbox, **KILL)
    async with visitor.socket(other) as well, visitor.socket(sandbox) as socket:
        await socket.read()
        break_engine(monkeypatch, sandbox, "advance")
        while (message := await socket.read())["t"] != "error":
            pass
        assert message["error"]["code"] == "ENGINE_FAULT"
        assert "secret" not in str(message)
        await socket.until(lambda s: not s.clock["running"])
        assert (await visitor.state(sandbox))["digest"] == ack["digest"], "back at the last acknowledged command"
        assert "fault" in socket.clock["paused_by"]
        assert (await socket.ask("command", command=PRODUCE))["seq"] == 2, "and one can go on from there"
        now = well.clock["now_us"] if well.view else 0
        await well.until(lambda s: s.clock["now_us"] > now)


async def test_a_fault_in_a_command_is_told_and_undone(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = await visitor.sandbox()
    before = await visitor.state(sandbox)
    break_engine(monkeypatch, sandbox, "submit")
    status, answer = await visitor.api("POST", f"sandboxes/{sandbox}/commands", KILL)
    assert (status, answer["error"]["code"]) == (500, "ENGINE_FAULT")
    assert (await visitor.state(sandbox))["digest"] == before["digest"]
    await visitor.submit(sandbox, **KILL)


async def test_a_lab_that_cannot_be_restored_stops_alone(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox, other = await visitor.sandbox(), await visitor.sandbox()
    await visitor.submit(sandbox, **KILL)
    await shelf().evict(shelf().labs[sandbox])
    whole = Lab.submit

    def broken(self: Lab, command: Any) -> int:
        if type(command).__name__ == "KillNode":
            raise ZeroDivisionError
        return whole(self, command)

    monkeypatch.setattr(Lab, "submit", broken)
    status, answer = await visitor.api("GET", f"sandboxes/{sandbox}")
    assert (status, answer["error"]["code"]) == (500, "ENGINE_FAULT")
    await visitor.submit(other, **PRODUCE)
    monkeypatch.undo()
    assert (await visitor.api("GET", f"sandboxes/{sandbox}"))[0] == 200, "nothing of it was lost"


async def test_a_busy_lab_does_not_starve_a_quiet_one(visitor: Visitor) -> None:
    busy, quiet = await visitor.sandbox(), await visitor.sandbox()
    await visitor.submit(busy, **BUSY)
    async with visitor.socket(busy) as loud, visitor.socket(quiet) as still:
        await loud.ask("speed", speed="max")
        start = (await still.read())["clock"]["now_us"]
        await still.until(lambda s: s.clock["now_us"] > start + 500_000)
        assert still.clock["actual_speed"] == 1.0
        await loud.until(lambda s: s.version > 3)
        assert loud.clock["speed"] == -1


async def test_a_lab_that_cannot_keep_up_says_so(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = await visitor.sandbox()
    for number in range(2):
        await visitor.submit(sandbox, **{**BUSY, "name": f"w{number}"})
    shelf().core.part = 0.02
    async with visitor.socket(sandbox) as socket:
        await socket.ask("speed", speed=100)
        await socket.until(lambda s: s.clock["speed"] == 100 and s.clock["actual_speed"] < 50)
        assert socket.clock["running"]


async def test_slices_take_turns_and_keep_to_their_part() -> None:
    core = ShareOfCore(0.5)
    order: list[str] = []

    async def work(name: str) -> None:
        def note(_: float) -> bool:
            order.append(name)
            return True

        for _ in range(3):
            await core.slice(note)

    await asyncio.gather(work("a"), work("b"), work("c"))
    assert order == ["a", "b", "c"] * 3
    core.charge(0.05)
    assert core.credit_s < 0, "who used more than his part waits"
    await core.slice(lambda _: True)
    assert core.credit_s <= bounds.BURST_S


def test_paces() -> None:
    now = (10.0, True)
    assert check_pace(None, None, now) == now
    assert check_pace(None, False, now) == (10.0, False)
    assert check_pace(0, None, now) == (10.0, False)
    assert check_pace("max", None, now) == (-1.0, True)
    assert check_pace(0.01, None, (10.0, False)) == (0.01, True)
    for wrong in (3, -2, "fast", True, float("nan")):
        with pytest.raises(EngineError):
            check_pace(wrong, None, now)


async def test_too_many_sandboxes_and_a_way_on(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_SANDBOXES_PER_VISITOR", 2)
    first, second = await visitor.sandbox(title="first"), await visitor.sandbox(title="second")
    status, answer = await visitor.api("POST", "sandboxes", {})
    assert (status, answer["error"]["code"]) == (409, "TOO_MANY_SANDBOXES")
    assert "first" in answer["error"]["message"], "it is told which one would go"
    assert await Sandbox.objects.acount() == 2, "and nothing goes before that"
    response = await visitor.client.post("/sandbox/new/")
    assert response["Location"] == "/?full=1"
    async with visitor.socket(first) as socket:
        await socket.read()
        third = await visitor.sandbox(replace_oldest=True)
        _, listed = await visitor.api("GET", "sandboxes")
        assert {row["id"] for row in listed["sandboxes"]} == {first, third}, "not the one that is watched"
    assert second


async def test_a_deleted_sandbox_is_gone(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        await socket.read()
        assert (await visitor.api("DELETE", f"sandboxes/{sandbox}"))[0] == 204
    assert (await visitor.api("GET", f"sandboxes/{sandbox}"))[0] == 404
    assert sandbox not in shelf().labs


async def test_writes_are_counted_per_visitor(visitor: Visitor, stranger: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter.WRITES, "burst", 3)
    monkeypatch.setattr(limiter.WRITES, "rate_per_s", 0.01)
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, **PRODUCE)
    await visitor.submit(sandbox, **PRODUCE)
    response = await visitor.client.post(f"/api/sandboxes/{sandbox}/commands", PRODUCE, content_type="application/json")
    assert response.status_code == 429
    assert int(response["Retry-After"]) >= 1
    assert (await visitor.api("GET", f"sandboxes/{sandbox}"))[0] == 200
    await stranger.sandbox()


async def test_new_sandboxes_are_counted_per_address(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter.ADDRESSES, "burst", 2)
    monkeypatch.setattr(limiter.ADDRESSES, "rate_per_s", 0.01)
    await Visitor().sandbox()
    await Visitor().sandbox()
    assert (await Visitor().api("POST", "sandboxes", {}))[0] == 429


def test_the_limiter_forgets_the_oldest_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_KNOWN_CALLERS", 10)
    limits = limiter.Limiter(1, 1, "things")
    for number in range(50):
        limits.check(str(number))
    assert len(limits.buckets) == 10


@pytest.fixture(autouse=True)
def quiet_log(caplog: pytest.LogCaptureFixture) -> None:
    """Faults are made on purpose here."""
    caplog.set_level(logging.CRITICAL, "kafkalab.sandbox")
