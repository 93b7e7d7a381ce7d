"""Links, files and twins: the same cluster at the same moment for whoever opens them, and twins that differ in one setting."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.errors import EngineError
from kafkalab.sandbox import bounds, sharing
from kafkalab.sandbox.models import Sandbox, Share
from tests.web.visitors import KILL, PRODUCE, Visitor


async def shared(visitor: Visitor) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A sandbox with a past: (its id, where it stands, the answer of share)."""
    sandbox = await visitor.sandbox(title="My accident")
    await visitor.submit(sandbox, **PRODUCE)
    await visitor.advance(sandbox, 2_000_000)
    await visitor.submit(sandbox, **KILL)
    await visitor.advance(sandbox, 11_111_111)
    status, link = await visitor.api("POST", f"sandboxes/{sandbox}/share", {})
    assert status == 201
    return sandbox, await visitor.state(sandbox), link


async def open_link(visitor: Visitor, url: str) -> str:
    response = await visitor.client.get(url)
    assert response.status_code == 302, response.content
    return str(response["Location"]).strip("/").split("/")[-1]


async def test_a_link_leads_to_the_same_moment(visitor: Visitor, stranger: Visitor) -> None:
    sandbox, before, link = await shared(visitor)
    copy = await open_link(stranger, link["url"])
    state = await stranger.state(copy)
    assert copy != sandbox
    assert state["digest"] == before["digest"]
    assert not state["clock"]["running"], "it waits at that moment"
    assert state["clock"]["begin_us"] == before["clock"]["begin_us"], "and can be rewound"
    await stranger.submit(copy, type="StartNode", node="broker-1")
    assert await visitor.state(sandbox) == before, "the copy is the visitor's own"
    mine, theirs = await visitor.advance(sandbox, 5_000_000), await stranger.advance(copy, 5_000_000)
    assert mine["digest"] != theirs["digest"]


async def test_a_very_long_history_begins_at_the_shared_moment(
    visitor: Visitor, stranger: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "SHARE_REPLAY_DELIVERIES", 100)
    _, before, link = await shared(visitor)
    state = await stranger.state(await open_link(stranger, link["url"]))
    assert state["digest"] == before["digest"]
    assert state["clock"]["begin_us"] == before["clock"]["now_us"]


async def test_a_copy_has_the_same_future(visitor: Visitor, stranger: Visitor) -> None:
    sandbox, _, link = await shared(visitor)
    copy = await open_link(stranger, link["url"])
    mine, theirs = await visitor.advance(sandbox, 40_000_000), await stranger.advance(copy, 40_000_000)
    assert mine["digest"] == theirs["digest"]


async def test_a_file_goes_out_and_comes_in(visitor: Visitor, stranger: Visitor) -> None:
    sandbox, before, link = await shared(visitor)
    response = await stranger.client.get(link["file_url"])
    assert response["Content-Disposition"].startswith("attachment")
    assert response.content == (await visitor.client.get(f"/sandbox/{sandbox}/file/")).content
    status, made = await stranger.api("POST", "import", raw=response.content)
    assert status == 201, made
    assert made["digest"] == before["digest"]
    assert made["title"] == "My accident"


async def test_a_file_through_the_page(visitor: Visitor, stranger: Visitor) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    _, before, link = await shared(visitor)
    content = (await stranger.client.get(link["file_url"])).content
    response = await stranger.client.post("/sandbox/import/", {"file": SimpleUploadedFile("lab.json", content)})
    copy = response["Location"].strip("/").split("/")[-1]
    assert (await stranger.state(copy))["digest"] == before["digest"]


WRONG = {
    "no JSON": (lambda f: "{", "file"),
    "another format": (lambda f: {**f, "format": "zip"}, "format"),
    "an unknown field": (lambda f: {**f, "extra": 1}, "extra"),
    "another engine": (lambda f: {**f, "engine_version": "0"}, "engine_version"),
    "a spec too large": (lambda f: {**f, "spec": {**f["spec"], "brokers": 10**9}}, "spec.brokers"),
    "an unknown command": (lambda f: {**f, "inputs": [[1_400_000, {"type": "Explode"}]]}, "inputs[0].type"),
    "a command that is refused": (lambda f: {**f, "inputs": [[1_400_000, {"type": "StartNode", "node": "broker-1"}]]}, "inputs[0]"),
    "time that runs backwards": (lambda f: {**f, "inputs": [f["inputs"][1], f["inputs"][0]]}, "inputs[1]"),
    "a time before the cluster": (lambda f: {**f, "inputs": [[5, KILL]]}, "inputs[0]"),
    "negative time": (lambda f: {**f, "at_us": -1}, "at_us"),
    "an end before its commands": (lambda f: {**f, "at_us": 1_400_001}, "at_us"),
    "more time than is replayed": (lambda f: {**f, "at_us": 20 * 86_400_000_000}, "at_us"),
    "a surrogate": (lambda f: {**f, "title": "\ud800"}, "file"),
}


@pytest.mark.parametrize(("spoil", "field"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_file_makes_nothing(visitor: Visitor, monkeypatch: pytest.MonkeyPatch, spoil: Any, field: str) -> None:
    monkeypatch.setattr(bounds, "MAX_IMPORT_DELIVERIES", 5_000)
    _, _, link = await shared(visitor)
    good = json.loads((await visitor.client.get(link["file_url"])).content)
    spoilt = spoil(good)
    raw = spoilt if isinstance(spoilt, str) else json.dumps(spoilt)
    before = await Sandbox.objects.acount()
    status, answer = await visitor.api("POST", "import", raw=raw.encode())
    assert status == 400, answer
    assert answer["error"]["field"] == field
    assert await Sandbox.objects.acount() == before


async def test_a_link_that_leads_nowhere(visitor: Visitor) -> None:
    assert (await visitor.client.get("/s/nothing/")).status_code == 404
    assert (await visitor.client.get("/s/nothing/file/")).status_code == 404


async def test_old_links_make_room(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_SHARES_PER_VISITOR", 3)
    sandbox, _, first = await shared(visitor)
    for _ in range(3):
        await visitor.api("POST", f"sandboxes/{sandbox}/share", {})
    assert await Share.objects.acount() == 3
    assert (await visitor.client.get(first["url"])).status_code == 404


def test_a_bomb_is_not_unpacked() -> None:
    with pytest.raises(EngineError, match="unpacked"):
        sharing.unpack(sharing.pack(b" " * (bounds.MAX_IMPORT_BYTES + 1)))


# -- forks and twins --------------------------------------------------------------------------------------------------------------


async def test_a_fork_stands_where_it_was_asked_for(visitor: Visitor) -> None:
    sandbox, before, _ = await shared(visitor)
    status, twin = await visitor.api("POST", f"sandboxes/{sandbox}/fork", {"at_us": 2_000_000})
    assert status == 201
    assert twin["clock"]["now_us"] == 2_000_000
    assert twin["clock"]["end_us"] == 2_000_000
    assert await visitor.state(sandbox) == before
    _, view = await visitor.api("GET", f"sandboxes/{twin['id']}/view")
    assert view["view"]["nodes"]["broker-1"]["status"] == "up", "the kill lies in the other's future"
    assert (await visitor.client.get(twin["twin_url"])).status_code == 200
    row = await Sandbox.objects.aget(id=twin["id"])
    assert row.twin_of_id == sandbox


async def test_a_fork_from_the_past_may_go_to_the_known_future(visitor: Visitor) -> None:
    sandbox, before, _ = await shared(visitor)
    await visitor.api("POST", f"sandboxes/{sandbox}/seek", {"at_us": 2_000_000})
    rewound = await visitor.state(sandbox)
    status, twin = await visitor.api("POST", f"sandboxes/{sandbox}/fork", {"at_us": before["clock"]["end_us"]})
    assert status == 201
    assert twin["digest"] == before["digest"]
    assert await visitor.state(sandbox) == rewound


async def test_a_twin_differs_in_one_setting_and_meets_the_same(visitor: Visitor) -> None:
    """The leader dies between the acknowledgement with acks=1 and the replication; with acks=all nothing acknowledged is lost."""
    sandbox = await visitor.sandbox()
    await visitor.submit(sandbox, type="CreateProducer", name="app", configs={"acks": "1", "linger.ms": "0"})
    for follower in ("broker-2", "broker-3"):
        await visitor.submit(sandbox, type="DegradeNetwork", source=follower, target="broker-1", delay_ms=200)
    await visitor.submit(sandbox, **PRODUCE, producer="app", partition=0)
    await visitor.advance(sandbox, 100_000)
    await visitor.submit(sandbox, type="LosePower", node="broker-1")
    await visitor.advance(sandbox, 30_000_000)
    await visitor.submit(sandbox, type="StartNode", node="broker-1")
    await visitor.advance(sandbox, 30_000_000)
    before = await visitor.state(sandbox)
    change = {"resource": "producer", "name": "app", "configs": {"acks": "all"}}
    status, twin = await visitor.api("POST", f"sandboxes/{sandbox}/fork", {"change": change, "replay": True})
    assert status == 201, twin
    assert twin["refused"] == []
    assert twin["clock"]["now_us"] == before["clock"]["now_us"]
    _, mine = await visitor.api("GET", f"sandboxes/{sandbox}/ledger")
    _, theirs = await visitor.api("GET", f"sandboxes/{twin['id']}/ledger")
    assert (mine["totals"]["lost"], theirs["totals"]["lost"]) == (1, 0)
    assert (await Sandbox.objects.aget(id=twin["id"])).twin_change == "producer app: acks=all"


async def test_a_twin_whose_topic_differs(visitor: Visitor) -> None:
    sandbox, before, _ = await shared(visitor)
    change = {"resource": "topic", "name": "orders", "configs": {"min.insync.replicas": "2"}}
    status, twin = await visitor.api("POST", f"sandboxes/{sandbox}/fork", {"change": change})
    assert status == 201, twin
    _, mine = await visitor.api("GET", f"sandboxes/{sandbox}/view")
    _, theirs = await visitor.api("GET", f"sandboxes/{twin['id']}/view")
    partitions = [found["view"]["topics"]["orders"]["partitions"]["0"] for found in (mine, theirs)]
    assert [partition["min_isr"] for partition in partitions] == [1, 2]
    assert twin["clock"]["now_us"] == before["clock"]["now_us"]


async def test_a_twin_whose_brokers_differ(visitor: Visitor) -> None:
    """With a shorter session the controller fences the dead broker earlier."""
    sandbox, _, _ = await shared(visitor)
    change = {"resource": "broker", "configs": {"broker.session.timeout.ms": "4000"}}
    _, twin = await visitor.api("POST", f"sandboxes/{sandbox}/fork", {"change": change, "replay": True})
    fenced = []
    for found in (sandbox, twin["id"]):
        _, events = await visitor.api("GET", f"sandboxes/{found}/events?limit=500")
        fenced += [event["at_us"] for event in events["events"] if event["kind"] == "BrokerSessionExpired"][:1]
    assert fenced[0] - fenced[1] > 4_000_000


async def test_a_producer_that_was_never_created_can_differ_too(visitor: Visitor) -> None:
    sandbox, _, _ = await shared(visitor)
    change = {"resource": "producer", "name": "producer", "configs": {"acks": "0"}}
    status, twin = await visitor.api("POST", f"sandboxes/{sandbox}/fork", {"change": change})
    assert status == 201, twin
    _, found = await visitor.api("GET", f"sandboxes/{twin['id']}/view")
    assert found["view"]["producers"]["producer"]["configs"]["acks"] == "0"


async def test_a_setting_that_kafka_refuses_makes_no_twin(visitor: Visitor) -> None:
    sandbox, _, _ = await shared(visitor)
    change = {"resource": "topic", "name": "orders", "configs": {"min.insync.replicas": "many"}}
    status, answer = await visitor.api("POST", f"sandboxes/{sandbox}/fork", {"change": change})
    assert status == 400, answer
    assert await Sandbox.objects.acount() == 1


async def test_a_twin_survives_a_restart_with_its_history(visitor: Visitor) -> None:
    from kafkalab.sandbox.shelf import shelf

    sandbox, _, _ = await shared(visitor)
    _, twin = await visitor.api("POST", f"sandboxes/{sandbox}/fork", {"at_us": 5_000_000, "commands": [PRODUCE]})
    await shelf().evict(shelf().labs[twin["id"]])
    state = await visitor.state(twin["id"])
    assert state["digest"] == twin["digest"]
    assert state["clock"]["begin_us"] == twin["clock"]["begin_us"], "it can still be rewound"
