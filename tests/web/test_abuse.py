"""One visitor who asks for far too much: refused in words, nothing changed, nobody else kept waiting, the server's memory its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress
from typing import Any

import pytest

from engine import commands as cm
from engine import limits
from engine.lab import Lab
from engine.world import buffered_bytes, running_workloads, stored_bytes
from kafkalab.learn import experiments
from kafkalab.learn.models import Run
from kafkalab.sandbox import bounds, limiter, service
from kafkalab.sandbox.errors import Refusal
from kafkalab.sandbox.models import Sandbox
from kafkalab.sandbox.shelf import shelf
from tests.web.visitors import PRODUCE, Visitor

LOAD = {"type": "StartWorkload", "name": "w", "topic": "orders", "records_per_second": 5_000, "value_bytes": 2_000}


async def refused(visitor: Visitor, path: str, body: Any, field: str) -> str:
    """What the API says against ``body``: 400, with that field."""
    status, answer = await visitor.api("POST", path, body)
    assert (status, answer["error"]["field"]) == (400, field), answer
    assert answer["error"]["cure"]
    return str(answer["error"]["message"])


# -- memory -----------------------------------------------------------------------------------------------------------------------


async def test_records_do_not_pile_up_by_their_bytes(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await visitor.api("POST", f"sandboxes/{sandbox}/speed", {"running": False})
    large = {**PRODUCE, "value": "x" * 60_000, "count": 1_000}
    await visitor.submit(sandbox, **large)
    before = await visitor.state(sandbox)
    message = await refused(visitor, f"sandboxes/{sandbox}/commands", large, "value")
    assert str(limits.MAX_BUFFERED_BYTES) in message
    assert await visitor.state(sandbox) == before
    live = await service.open_lab(sandbox, visitor.id)
    assert 60_000_000 <= buffered_bytes(live.lab.world) < limits.MAX_BUFFERED_BYTES


@pytest.mark.parametrize(
    "more",
    [
        {"value": "\N{GRINNING FACE}" * 20_000},
        {"value": "{n}" * 9_000},
        {"headers": [{"name": "h", "value": "v" * 2_000}] * 20},
    ],
    ids=["four bytes a letter", "numbers written out", "headers"],
)
async def test_bytes_are_counted_as_they_are_sent(visitor: Visitor, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]) -> None:
    monkeypatch.setattr(limits, "MAX_BUFFERED_BYTES", 30_000_000)
    sandbox = await visitor.sandbox()
    await refused(visitor, f"sandboxes/{sandbox}/commands", {**PRODUCE, "value": "v", **more, "count": 1_000}, "value")


async def test_a_paused_producer_sends_nothing(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, type="CreateProducer", name="app")
    await visitor.submit(sandbox, type="PauseNode", node="app")
    message = await refused(visitor, f"sandboxes/{sandbox}/commands", {**PRODUCE, "producer": "app"}, "producer")
    assert "resume" in message


async def test_workloads_are_bounded_by_their_bytes(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, **LOAD)
    message = await refused(visitor, f"sandboxes/{sandbox}/commands", {**LOAD, "name": "x", "records_per_second": 1}, "value_bytes")
    assert str(limits.MAX_WORKLOAD_BYTES_PER_SECOND) in message


async def test_full_disks_stop_the_workloads_and_say_so(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LOG_BYTES_PER_LAB", 3_000_000)
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, **{**LOAD, "records_per_second": 500, "value_bytes": 1_000})
    await visitor.advance(sandbox, 10_000_000)
    live = await service.open_lab(sandbox, visitor.id)
    assert not running_workloads(live.lab.world)
    assert 3_000_000 < stored_bytes(live.lab.world) < 6_000_000
    assert "3000000 bytes" in live.paused_by
    assert "Delete a topic" in live.paused_by
    await refused(visitor, f"sandboxes/{sandbox}/commands", {**LOAD, "name": "again"}, "name")
    state = await visitor.state(sandbox)
    await shelf().evict(live)
    assert (await visitor.state(sandbox))["digest"] == state["digest"], "a restore stops them at the same moment"


def test_full_disks_are_found_at_the_same_moment_however_time_is_sliced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LOG_BYTES_PER_LAB", 3_000_000)
    hashes = set()
    for slice_deliveries in (0, 1, 25):
        lab = Lab(service.FREE_SPEC)
        lab.submit(cm.StartWorkload(name="w", topic="orders", records_per_second=500, value_bytes=1_000))
        until_us = lab.now_us + 5_000_000
        while not lab.advance(until_us, slice_deliveries):
            pass
        assert lab.overfull
        hashes.add(lab.trace_hash())
    lab.seek(lab.begin_us)
    lab.seek(until_us)
    assert {lab.trace_hash()} == hashes


# -- what a lab is made of ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"start_ms": 10**30}, "start_ms"),
        ({"start_ms": 10**17}, "start_ms"),
        ({"start_ms": -1}, "start_ms"),
        ({"racks": ["r" * 1_000]}, "racks"),
        ({"racks": ["r"] * 1_000}, "racks"),
        ({"racks": ["a\0b"]}, "racks"),
        ({"mutants": ["ack-before-replication"]}, "spec.mutants"),
    ],
)
async def test_no_cluster_that_could_not_be(visitor: Visitor, spec: dict[str, Any], field: str) -> None:
    status, answer = await visitor.api("POST", "sandboxes", {"spec": spec})
    assert status == 400, answer
    assert field.rsplit(".", maxsplit=1)[-1] in answer["error"]["field"]
    assert field.rsplit(".", maxsplit=1)[-1] in answer["error"]["message"]
    assert not await Sandbox.objects.aexists()


async def saved(visitor: Visitor, **changed: Any) -> bytes:
    """A file that KafkaLab saved, and somebody edited."""
    content = await visitor.client.get(f"/sandbox/{await visitor.sandbox()}/file/")
    return json.dumps({**json.loads(content.content), **changed}).encode()


async def test_a_file_of_a_lesson_that_nobody_teaches_opens_as_a_free_lab(visitor: Visitor) -> None:
    status, made = await visitor.api("POST", "import", raw=await saved(visitor, lesson="no-such-lesson"))
    assert (status, made["lesson"]) == (201, "")
    assert (await visitor.client.get(made["url"])).status_code == 200


async def test_a_file_with_sabotages_is_refused(visitor: Visitor) -> None:
    content = await saved(visitor, spec={"mutants": ["ack-before-replication"]})
    status, answer = await visitor.api("POST", "import", raw=content)
    assert (status, answer["error"]["field"]) == (400, "spec.mutants")


async def test_a_history_too_long_for_a_link(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its link could be made, and not be opened."""
    monkeypatch.setattr(bounds, "MAX_IMPORT_BYTES", 2_000)
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, **{**PRODUCE, "value": "v" * 2_000})
    status, answer = await visitor.api("POST", f"sandboxes/{sandbox}/share", {})
    assert (status, answer["error"]["code"]) == (413, "TOO_LARGE")
    assert answer["error"]["cure"]


async def test_a_robot_that_only_looks_at_a_link_makes_nothing(visitor: Visitor, stranger: Visitor) -> None:
    sandbox = await visitor.sandbox()
    _, link = await visitor.api("POST", f"sandboxes/{sandbox}/share", {})
    assert (await stranger.client.head(link["url"])).status_code == 200
    assert not await Sandbox.objects.filter(owner=stranger.id).aexists()


# -- many at once ------------------------------------------------------------------------------------------------------------------


async def test_sandboxes_made_together_do_not_pass_the_limit(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_SANDBOXES_PER_VISITOR", 3)
    answers = await asyncio.gather(*[visitor.api("POST", "sandboxes", {}) for _ in range(8)])
    assert await Sandbox.objects.filter(owner=visitor.id).acount() <= 3
    assert {status for status, _ in answers} == {201, 409}
    assert not service._MAKING


async def test_copies_made_together_are_few(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    answers = await asyncio.gather(*[visitor.api("POST", f"sandboxes/{sandbox}/fork", {}) for _ in range(6)])
    assert sorted({status for status, _ in answers}) == [201, 429]
    assert all(answer["error"]["cure"] for status, answer in answers if status == 429)
    assert (await visitor.api("POST", f"sandboxes/{sandbox}/fork", {}))[0] == 201


async def test_one_sandbox_is_advanced_by_few_at_a_time(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, **{**LOAD, "value_bytes": 100})
    path = f"sandboxes/{sandbox}/advance"
    answers = await asyncio.gather(*[visitor.api("POST", path, {"by_us": 500_000}) for _ in range(8)])
    assert sorted(status for status, _ in answers) == [200] * bounds.MAX_ADVANCES_AT_ONCE + [429] * (
        8 - bounds.MAX_ADVANCES_AT_ONCE
    )


async def test_costly_looks_are_paid_for(visitor: Visitor, stranger: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the visitor who asks, on the API and on the socket alike; nobody else notices."""
    monkeypatch.setattr(limiter.WORK, "share", 1e-9)
    sandbox, other = await visitor.sandbox(), await stranger.sandbox()
    async with visitor.socket(sandbox) as socket:
        assert (await socket.ask("metrics"))["t"] == "metrics"
        limiter.WORK.charge(visitor.id, bounds.WORK_BURST_S + 1)
        status, answer = await visitor.api("GET", f"sandboxes/{sandbox}/view")
        assert (status, answer["error"]["code"]) == (429, "TOO_MANY_REQUESTS")
        assert "Wait" in answer["error"]["cure"]
        assert (await socket.ask("ledger"))["error"]["code"] == "TOO_MANY_REQUESTS"
    assert (await stranger.api("GET", f"sandboxes/{other}/view"))[0] == 200


async def test_every_look_costs(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    for path in ("view", "events", "ledger", "why/1", ""):
        limiter.WORK.accounts.clear()
        await visitor.api("GET", f"sandboxes/{sandbox}/{path}".rstrip("/"))
        assert visitor.id in limiter.WORK.accounts, path


async def test_a_sender_who_heeds_no_refusal_is_closed(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_REFUSED_IN_A_ROW", 10)
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        for number in range(9):
            assert (await socket.ask("dance"))["t"] == "error", number
        assert (await socket.ask("metrics"))["t"] == "metrics", "an action that is carried out clears the count"
        for _ in range(10):
            await socket.wire.send_to('{"t": "dance", "ref": 1}')
        for _ in range(100):
            output = await socket.wire.receive_output(10)
            if output["type"] == "websocket.close":
                break
        assert output["code"] == 4429
        assert not shelf().labs[sandbox].watchers


async def test_acknowledging_what_was_never_sent_changes_nothing(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await visitor.api("POST", f"sandboxes/{sandbox}/speed", {"running": False})
    async with visitor.socket(sandbox) as socket:
        await socket.read()
        await socket.ask("metrics")
        live = shelf().labs[sandbox]
        watcher = live.watchers[0]
        before = watcher.acknowledged_at
        await socket.wire.send_to('{"t": "ack", "to": 0}')
        await socket.ask("metrics")
        assert watcher.acknowledged_at == before


async def test_a_playhead_that_was_dragged_about_is_restored_in_one_move(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FULL_REPLAY_DELIVERIES", 10**9)
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, **{**LOAD, "records_per_second": 20, "value_bytes": 10})
    await visitor.advance(sandbox, 3_000_000)
    clock = (await visitor.state(sandbox))["clock"]
    for at_us in [clock["begin_us"], clock["end_us"]] * 5 + [2_000_000, clock["begin_us"], 2_500_000]:
        await visitor.api("POST", f"sandboxes/{sandbox}/seek", {"at_us": at_us})
    before = await visitor.state(sandbox)
    await shelf().evict(shelf().labs[sandbox])
    moves: list[int] = []
    seek = Lab.seek

    def counted(lab: Lab, at_us: int) -> None:
        moves.append(at_us)
        seek(lab, at_us)

    monkeypatch.setattr(Lab, "seek", counted)
    after = await visitor.state(sandbox)
    assert moves == [2_500_000]
    assert (after["digest"], after["seq"]) == (before["digest"], before["seq"])
    assert (after["clock"]["now_us"], after["clock"]["end_us"]) == (2_500_000, clock["end_us"])


# -- lessons -------------------------------------------------------------------------------------------------------------------------


async def lesson(visitor: Visitor) -> str:
    started = await visitor.client.post("/lessons/acks/start/")
    return str(started["Location"])


async def test_two_answers_at_once_are_both_kept_and_the_first_stands(visitor: Visitor) -> None:
    page = await lesson(visitor)

    def answer(name: str, said: str) -> Any:
        return visitor.client.post(f"{page}predict/{name}/", {"answer": said, "confidence": "50"})

    await asyncio.gather(answer("copies-at-ack-one", "1"), answer("copies-at-ack-all", "0"))
    first = (await Run.objects.aget()).predictions
    assert set(first) == {"copies-at-ack-one", "copies-at-ack-all"}
    await asyncio.gather(answer("copies-at-ack-one", "0"), answer("copies-at-ack-all", "1"))
    assert (await Run.objects.aget()).predictions == first


async def test_who_asks_the_same_waits_for_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def compute(*_: object) -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        return 7

    monkeypatch.setattr(experiments, "_compute", compute)
    key = ("test", "together")
    assert await asyncio.gather(*[experiments._once(key, int) for _ in range(20)]) == [7] * 20
    assert asked == 1
    assert experiments._results.pop(key) == 7


async def test_a_failure_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def compute(*_: object) -> int:
        raise Refusal("not now")

    monkeypatch.setattr(experiments, "_compute", compute)
    for _ in range(2):
        with pytest.raises(Refusal):
            await experiments._once(("test", "fails"), int)
    assert not experiments._under_way


async def test_a_process_that_died_is_replaced() -> None:
    try:
        assert await experiments._compute(int, "3") == 3
        assert experiments._pool is not None
        for process in list(experiments._pool._processes.values()):
            with suppress(ProcessLookupError):  # the pool ends the others itself once one of them is gone
                os.kill(process.pid or 0, signal.SIGKILL)
            process.join(10)
        assert await experiments._compute(int, "4") == 4
    finally:
        await experiments.stop()


async def test_forms_are_counted_like_the_api(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    page = await lesson(visitor)
    limiter.WRITES.buckets[visitor.id] = limiter.Bucket(0.001, 0)
    refused_page = await visitor.client.post(f"{page}1/hint/", headers={"HX-Request": "true"})
    assert refused_page.status_code == 429
    assert "Wait" in refused_page.content.decode()
    assert not (await Run.objects.aget()).hints
