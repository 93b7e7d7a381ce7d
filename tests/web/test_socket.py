"""What a page sees over its socket: old state plus pushes equals a fresh look, whatever happens and however slowly it reads."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from kafkalab.sandbox import bounds
from kafkalab.sandbox.shelf import shelf
from tests.web.visitors import KILL, PRODUCE, Socket, Visitor


async def settled(socket: Socket, sandbox: str) -> dict[str, Any]:
    """Pauses, reads until the page has caught up, and returns what a fresh look shows."""
    await socket.ask("speed", running=False)
    live = shelf().labs[sandbox]
    for _ in range(200):
        fresh: dict[str, Any] = msgspec.to_builtins(live.lab.view())
        if socket.view == fresh and not socket.clock["running"]:
            return fresh
        await socket.read()
    raise AssertionError("the page never caught up")


async def test_the_first_message_is_the_whole_view(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        first = await socket.read()
        assert first["t"] == "view"
        assert set(first) == {"t", "to", "view", "sentences", "clock"}
        assert set(first["view"]["nodes"]) >= {"broker-1", "broker-2", "broker-3", "controller-101"}
        assert first["sentences"]
        assert set(first["sentences"][0]) == {"id", "at_us", "node", "kind", "level", "text", "objects", "causes"}
        second = await socket.read()
        assert second["t"] == "diff"
        assert set(second) == {"t", "from", "to", "diff", "sentences", "clock"}


async def test_pushes_add_up_to_a_fresh_look(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        for command in (PRODUCE, KILL, {"type": "CreateTopic", "topic": "-", "partitions": 1}, {**KILL, "type": "StartNode"}):
            await socket.ask("speed", speed=100)
            await socket.ask("command", command=command)
            until = socket.clock["now_us"] + 15_000_000
            await socket.until(lambda s, until=until: s.clock["now_us"] >= until)
        await settled(socket, sandbox)
        ids = [sentence["id"] for sentence in socket.sentences]
        assert ids == sorted(set(ids)), "every sentence once, in order"
        _, found = await visitor.api("GET", f"sandboxes/{sandbox}/events?after={ids[0] - 1}&limit=500")
        assert [event["id"] for event in found["events"]] == ids


async def test_a_click_shows_before_time_goes_on(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await visitor.api("POST", f"sandboxes/{sandbox}/speed", {"running": False})
    async with visitor.socket(sandbox) as socket:
        ack = await socket.ask("command", command=KILL)
        await socket.until(lambda s: s.view["nodes"]["broker-1"]["status"] == "down")
        assert socket.clock["now_us"] == ack["at_us"]


async def test_why_leads_back_to_the_click(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        await socket.ask("speed", speed=100)
        killed = await socket.ask("command", command=KILL)
        await socket.until(lambda s: any(one["kind"] == "LeaderChanged" and one["id"] > killed["event_id"] for one in s.sentences))
        leader = next(one for one in socket.sentences if one["kind"] == "LeaderChanged" and one["id"] > killed["event_id"])
        chain = (await socket.ask("why", event_id=leader["id"]))["chain"]
        assert chain[-1]["id"] == leader["id"]
        assert killed["event_id"] in [link["id"] for link in chain]
        assert chain[0]["kind"] == "CommandGiven"


async def test_a_leap_in_time_brings_a_whole_view(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        await socket.ask("speed", speed=10)
        await socket.ask("command", command=KILL)
        await socket.until(lambda s: s.clock["now_us"] > 3_000_000)
        ack = await socket.ask("seek", at_us=1_400_000)
        assert ack["now_us"] == 1_400_000
        await socket.until(lambda s: s.clock["now_us"] == 1_400_000)
        assert not socket.clock["running"], "who rewinds wants to look"
        assert socket.clock["end_us"] > 3_000_000
        await settled(socket, sandbox)
        assert all(one["id"] <= socket.view["event_id"] for one in socket.sentences)


async def test_a_reader_who_does_not_acknowledge_gets_two_pushes(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    slow = Socket(sandbox, visitor.cookie, acknowledges=False)
    async with slow, visitor.socket(sandbox) as quick:
        pushes = [await slow.read(), await slow.read()]
        start = quick.version
        await quick.until(lambda s: s.version > start + 5)
        assert await slow.wire.receive_nothing(0.1)
        await slow.wire.send_to(json.dumps({"t": "ack", "to": pushes[-1]["to"]}))
        late = await slow.read()
        assert late["t"] == "diff"
        assert late["from"] == pushes[-1]["to"]
        assert late["to"] > late["from"] + 1, "what lay between was skipped, not piled up"


async def test_a_reader_far_behind_gets_the_whole_view(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    slow = Socket(sandbox, visitor.cookie, acknowledges=False)
    async with slow, visitor.socket(sandbox) as quick:
        last = [await slow.read(), await slow.read()][-1]["to"]
        await quick.until(lambda s: s.version > last + bounds.KEPT_VIEWS + 2)
        await slow.wire.send_to(json.dumps({"t": "ack", "to": last}))
        assert (await slow.read())["t"] == "view"


async def test_a_silent_reader_is_closed(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = await visitor.sandbox()
    monkeypatch.setattr(bounds, "SILENT_READER_S", 0)
    silent = Socket(sandbox, visitor.cookie, acknowledges=False)
    async with silent:
        await silent.read()
        await silent.read()
        assert (await silent.wire.receive_output(10))["code"] == 4408


async def test_a_page_that_lost_its_place_asks_for_a_whole_view(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        await socket.read()
        await socket.wire.send_to(json.dumps({"t": "view"}))
        while (await socket.read())["t"] != "view":
            pass
        await settled(socket, sandbox)


async def test_a_burst_of_actions_is_refused_not_obeyed(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "ACTION_BURST", 5)
    monkeypatch.setattr(bounds, "ACTIONS_PER_S", 0.001)
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        answers = [await socket.ask("metrics") for _ in range(7)]
        assert [answer["t"] for answer in answers] == ["metrics"] * 5 + ["error"] * 2
        assert answers[-1]["error"]["code"] == "TOO_MANY_REQUESTS"
        await socket.until(lambda s: s.version > 5)


async def test_too_many_windows(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_WATCHERS_PER_SANDBOX", 1)
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as first, visitor.socket(sandbox) as second:
        assert (await second.read())["error"]["code"] == "TOO_MANY_WATCHERS"
        assert (await second.wire.receive_output())["code"] == 4429
        await first.read()


async def test_the_console_speaks_kafka(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        answer = await socket.ask("console", line="kafka-topics.sh --describe --topic orders")
        assert "ReplicationFactor: 3" in answer["output"]
        assert answer["prompt"] == "$"
        answer = await socket.ask("console", line="kafka-topics.sh --create --topic later --partitions 2 --replication-factor 3")
        output = answer["output"]
        while "Created topic" not in output:
            message = await socket.read()
            output += message.get("output", "") if message["t"] == "console" else ""
        assert "later" in output
        answer = await socket.ask("console", line="kafka-console-producer.sh --topic orders")
        assert answer["prompt"] == ">"
        await socket.ask("console", line="typed by hand")
        answer = await socket.ask("console", line="\x04")
        await socket.ask("speed", speed=10)
        for _ in range(100):
            ledger = await socket.ask("ledger")
            if ledger["totals"]["acknowledged"]:
                break
            await asyncio.sleep(0.05)
        assert [row["value"] for row in ledger["rows"]] == ["typed by hand"]
        answer = await socket.ask("console", line="rm -rf /")
        assert answer["failed"]
        assert "command not found" in answer["output"]


async def test_a_running_consumer_prints_and_stops_with_ctrl_c(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        await socket.ask("speed", speed=10)
        answer = await socket.ask("console", line="kafka-console-consumer.sh --topic orders --from-beginning")
        assert answer["prompt"] == ""
        refused = await socket.ask("console", line="kafka-topics.sh --list")
        assert refused["error"]["field"] == "line"
        await socket.ask("command", command=PRODUCE)
        output = "".join(message.get("output", "") for message in socket.others)
        while "hello" not in output:
            output += (await socket.read()).get("output", "")
        answer = await socket.ask("console", line="\x03")
        while answer["prompt"] != "$":
            answer = await socket.read() if answer.get("t") else answer
            answer.setdefault("prompt", "")


async def test_the_microscope_the_ledger_and_the_metrics(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        await socket.ask("speed", speed=10)
        await socket.ask("command", command={**PRODUCE, "partition": 0})
        await socket.until(lambda s: s.view["topics"]["orders"]["partitions"]["0"]["high_watermark"] == 1)
        seen = await socket.ask("bytes", broker=1, topic="orders", partition=0, offset=0)
        assert bytes.fromhex(seen["hex"])[16] == 2, "magic"
        assert [span["name"] for span in seen["spans"]][:2] == ["baseOffset", "batchLength"]
        ledger = await socket.ask("ledger", fate="acknowledged")
        while not ledger["matching"]:  # the answer to the producer is still under way
            await socket.read()
            ledger = await socket.ask("ledger", fate="acknowledged")
        assert (ledger["matching"], ledger["totals"]["lost"]) == (1, 0)
        assert (await socket.ask("metrics"))["metrics"]
        history = await socket.ask("history", after=0, limit=3)
        assert [event["id"] for event in history["events"]] == [1, 2, 3]
