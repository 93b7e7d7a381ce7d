"""Bad input, on the API and on the socket: a clear error that names the field, nothing changes, the server stays up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kafkalab.sandbox import bounds
from kafkalab.sandbox.models import JournalEntry
from tests.web.visitors import PRODUCE, Visitor

MEGABYTE = "x" * 1_000_000
SMALL = "x" * 100_000
WRONG: dict[str, tuple[str, str]] = {
    "an unknown command": ('{"type": "Explode"}', "type"),
    "no type": ('{"node": "broker-1"}', "type"),
    "a type that is no text": ('{"type": 7}', "type"),
    "an unknown field": ('{"type": "KillNode", "node": "broker-1", "force": true}', "force"),
    "a missing field": ('{"type": "KillNode"}', "node"),
    "a list": ("[]", ""),
    "null": ("null", ""),
    "no JSON": ("{", ""),
    "nested a hundred thousand deep": ("[" * 60_000, ""),
    "an unknown node": ('{"type": "KillNode", "node": "broker-77"}', "node"),
    "10^9 partitions": ('{"type": "CreateTopic", "topic": "t", "partitions": 1000000000}', "partitions"),
    "negative partitions": ('{"type": "CreateTopic", "topic": "t", "partitions": -5}', "partitions"),
    "half a partition": ('{"type": "CreateTopic", "topic": "t", "partitions": 1.5}', "partitions"),
    "NaN": ('{"type": "DegradeNetwork", "source": "broker-1", "target": "broker-2", "loss_percent": NaN}', ""),
    "infinity": ('{"type": "DegradeNetwork", "source": "broker-1", "target": "broker-2", "loss_percent": 1e999}', ""),
    "a negative delay": ('{"type": "DegradeNetwork", "source": "broker-1", "target": "broker-2", "delay_ms": -1}', "delay_ms"),
    "a lone surrogate": ('{"type": "Produce", "topic": "orders", "value": "\\ud800"}', "value"),
    "a lone surrogate in a key": ('{"type": "Produce", "topic": "orders", "key": "a\\udfffb", "value": "v"}', "key"),
    "a lone surrogate in an unknown field": ('{"type": "KillNode", "node": "broker-1", "\\ud800": 1}', ""),
    "NUL": ('{"type": "Produce", "topic": "orders", "value": "a\\u0000b"}', "value"),
    "NUL in a name": ('{"type": "CreateTopic", "topic": "a\\u0000"}', "topic"),
    "HTML in a topic's name": ('{"type": "CreateTopic", "topic": "<script>alert(1)</script>"}', "topic"),
    "a long name": (json.dumps({"type": "CreateTopic", "topic": SMALL}), "topic"),
    "a long value": (json.dumps({"type": "Produce", "topic": "orders", "value": SMALL + "x"}), "value"),
    "too many records": ('{"type": "Produce", "topic": "orders", "value": "v", "count": 1001}', "count"),
    "a flood": ('{"type": "StartWorkload", "name": "w", "topic": "orders", "records_per_second": 1000000}', "records_per_second"),
    "an empty name": ('{"type": "CreateTopic", "topic": ""}', "topic"),
    "a huge number": ('{"type": "CreateTopic", "topic": "t", "partitions": 99999999999999999999999999}', ""),
}
BAD_UTF8 = b'{"type": "Produce", "topic": "orders", "value": "\xff\xfe"}'


def check(error: dict[str, Any], field: str) -> None:
    """Every refusal has the same four parts, says something, and leaks nothing of the inside."""
    assert set(error) == {"code", "message", "field", "cure"}
    assert error["message"]
    assert error["field"]
    assert error["cure"]
    assert "Traceback" not in error["message"]
    assert "kafkalab/" not in error["message"]
    if field:
        assert error["field"] == field, error
        assert field in error["message"]


@pytest.mark.parametrize(("text", "field"), WRONG.values(), ids=WRONG.keys())
async def test_commands_over_the_api(visitor: Visitor, text: str, field: str) -> None:
    sandbox = await visitor.sandbox()
    before = await visitor.state(sandbox)
    status, answer = await visitor.api("POST", f"sandboxes/{sandbox}/commands", raw=text.encode())
    assert status == 400, answer
    check(answer["error"], field)
    assert await visitor.state(sandbox) == before
    assert not await JournalEntry.objects.aexists()


async def test_commands_over_the_socket(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    await visitor.api("POST", f"sandboxes/{sandbox}/speed", {"running": False})
    before = await visitor.state(sandbox)
    async with visitor.socket(sandbox) as socket:
        for number, (text, field) in enumerate(WRONG.values(), 1):
            answer = await socket.say(f'{{"t": "command", "ref": {number}, "command": {text}}}', number)
            assert answer["t"] == "error", (text, answer)
            check(answer["error"], field)
        ack = await socket.ask("command", command=PRODUCE)
        assert ack["seq"] == before["seq"] + 1, "the server is still up, and only this was journalled"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (" ", "message"),
        ("[]", "message"),
        ("{}", "t"),
        ('{"t": "dance"}', "t"),
        ('{"t": 3}', "t"),
        ('{"t": "seek"}', "at_us"),
        ('{"t": "seek", "at_us": -1}', "at_us"),
        ('{"t": "seek", "at_us": NaN}', "message"),
        ('{"t": "seek", "at_us": 1e300}', "at_us"),
        ('{"t": "seek", "at_us": 999999999999999999}', "at_us"),
        ('{"t": "seek", "at_us": "soon"}', "at_us"),
        ('{"t": "speed", "speed": 3}', "speed"),
        ('{"t": "speed", "speed": "warp"}', "speed"),
        ('{"t": "speed", "speed": -7}', "speed"),
        ('{"t": "branch", "branch": 9}', "branch"),
        ('{"t": "breakpoint", "event": "Nothing"}', "event"),
        ('{"t": "breakpoint", "remove": 5}', "remove"),
        ('{"t": "why", "event_id": 0}', "event_id"),
        ('{"t": "why", "event_id": 999999}', "event_id"),
        ('{"t": "ledger", "fate": "eaten"}', "fate"),
        ('{"t": "ledger", "offset": -1}', "offset"),
        ('{"t": "history", "limit": 100000}', "limit"),
        ('{"t": "bytes", "broker": 1, "topic": "orders", "partition": 0, "offset": -5}', "offset"),
        ('{"t": "bytes", "broker": 9, "topic": "orders", "partition": 0, "offset": 0}', "broker"),
        ('{"t": "bytes", "broker": 1, "topic": "none", "partition": 0, "offset": 0}', "partition"),
        ('{"t": "fork", "at_us": 99000000}', "at_us"),
        ('{"t": "fork", "change": {"resource": "producer", "name": "nobody", "configs": {"acks": "1"}}}', "name"),
        ('{"t": "fork", "change": {"resource": "moon", "configs": {}}}', "change.resource"),
        ('{"t": "fork", "commands": [{"type": "KillNode"}]}', "commands[0].node"),
        ('{"t": "console", "line": 5}', "line"),
        ('{"t": "command", "ref": {"a": 1}, "command": {}}', "ref"),
    ],
)
async def test_other_actions(visitor: Visitor, message: str, field: str) -> None:
    sandbox = await visitor.sandbox()
    await visitor.api("POST", f"sandboxes/{sandbox}/speed", {"running": False})
    before = await visitor.state(sandbox)
    async with visitor.socket(sandbox) as socket:
        answer = await socket.say(message, None)
        assert answer["t"] == "error"
        check(answer["error"], "")
        assert answer["error"]["field"] == field
    assert (await visitor.state(sandbox))["digest"] == before["digest"]
    assert not await JournalEntry.objects.aexists()


async def test_a_message_beyond_its_bound(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    async with visitor.socket(sandbox) as socket:
        await socket.wire.send_to(json.dumps({"t": "command", "ref": 1, "command": {**PRODUCE, "value": MEGABYTE}}))
        while (answer := await socket.read())["t"] != "error":
            pass
        assert answer["error"]["field"] == "message"
        assert str(bounds.MAX_MESSAGE_BYTES) in answer["error"]["message"]
        assert (await socket.ask("command", command=PRODUCE))["seq"] == 1


async def test_bytes_that_are_no_text(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    status, answer = await visitor.api("POST", f"sandboxes/{sandbox}/commands", raw=BAD_UTF8)
    assert status == 400
    check(answer["error"], "")
    async with visitor.socket(sandbox) as socket:
        await socket.wire.send_to(bytes_data=b"\xff\xfe\x00")
        while (answer := await socket.read())["t"] != "error":
            pass
        check(answer["error"], "message")


async def test_a_body_beyond_its_bound(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    status, answer = await visitor.api("POST", f"sandboxes/{sandbox}/commands", raw=b" " * (bounds.MAX_BODY_BYTES + 1))
    assert status == 413
    assert answer["error"]["code"] == "TOO_LARGE"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"spec": {"brokers": 1000000000}}, "spec.brokers"),
        ({"spec": {"brokers": 0}}, "spec.brokers"),
        ({"spec": {"brokers": "three"}}, "spec.brokers"),
        ({"spec": {"topics": [{"name": "t", "partitions": 10**9}]}}, "spec.topics[0].partitions"),
        ({"spec": {"topics": [{"name": "<b>"}]}}, "spec.topics[0].name"),
        ({"spec": {"moons": 1}}, "spec.moons"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**70}, "seed"),
        ({"title": "x" * 1000}, "title"),
        ({"title": "a\0b"}, "title"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_new_sandboxes(visitor: Visitor, body: dict[str, Any], field: str) -> None:
    status, answer = await visitor.api("POST", "sandboxes", body)
    assert status == 400
    check(answer["error"], "")
    assert answer["error"]["field"] == field
    assert (await visitor.api("GET", "sandboxes"))[1] == {"sandboxes": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"until_us": -1}, "until_us"),
        ({"by_us": -1}, "by_us"),
        ({"by_us": 10**18}, "until_us"),
        ({"by_us": 40 * 86_400 * 1_000_000}, "until_us"),
        ({"until_us": 5}, "until_us"),
        ({}, "until_us"),
        ({"until_us": 1, "by_us": 1}, "until_us"),
        ({"by_us": "1"}, "by_us"),
    ],
)
async def test_time(visitor: Visitor, body: dict[str, Any], field: str) -> None:
    sandbox = await visitor.sandbox()
    status, answer = await visitor.api("POST", f"sandboxes/{sandbox}/advance", body)
    assert status == 400
    check(answer["error"], "")
    assert answer["error"]["field"] == field


@pytest.mark.parametrize(
    "query", ["events?after=x", "events?after=-3", "events?limit=99999", "ledger?limit=1e3", "why/abc", "why/" + "9" * 60]
)
async def test_queries(visitor: Visitor, query: str) -> None:
    sandbox = await visitor.sandbox()
    status, answer = await visitor.api("GET", f"sandboxes/{sandbox}/{query}")
    assert status == 400
    check(answer["error"], "")


async def test_html_in_keys_and_values_stays_text(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox(title="<img src=x onerror=alert(1)>")
    await visitor.submit(sandbox, **{**PRODUCE, "key": "<b>k</b>", "value": "<script>alert(1)</script>"})
    await visitor.advance(sandbox, 1_000_000)
    _, ledger = await visitor.api("GET", f"sandboxes/{sandbox}/ledger")
    assert ledger["rows"][0]["value"] == "<script>alert(1)</script>"
    page = (await visitor.client.get(f"/sandbox/{sandbox}/")).content.decode()
    assert "<img src=x" not in page


async def test_a_fault_inside_tells_nothing_of_the_inside(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    from kafkalab.sandbox import looks

    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret thing")

    monkeypatch.setattr(looks, "history", broken)
    sandbox = await visitor.sandbox()
    status, answer = await visitor.api("GET", f"sandboxes/{sandbox}/events")
    assert status == 500
    assert answer["error"]["code"] == "SERVER_FAULT"
    assert "secret" not in json.dumps(answer)
    async with visitor.socket(sandbox) as socket:
        answer = await socket.ask("history")
        assert answer["error"]["code"] == "SERVER_FAULT"
        assert "secret" not in json.dumps(answer)
