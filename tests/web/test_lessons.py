"""A lesson on its page: goals follow the cluster, hints come one by one, predictions are answered by the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kafkalab.learn import catalogue, runs
from kafkalab.learn.models import Progress, Run
from kafkalab.sandbox.models import Sandbox
from kafkalab.sandbox.shelf import shelf
from lessons.catalog import load
from tests.web.visitors import PRODUCE, Socket, Visitor

LESSON = """---
title: A leader dies
number: "98.1"
topic: Brokers
minutes: 5
level: junior
summary: One broker goes, another leads.
cluster:
  topics:
    - {name: orders, partitions: 1}
seed: 3
---
Before the *first* step.

## Send something

Send **one** record. <script>alert(1)</script>

```do
label: Send it
items:
  - {type: Produce, topic: orders, value: hello}
```

```goal
name: one-record
text: One record of `orders` is acknowledged
high_watermark: {partition: orders-0, equals: 1}
```

```hint
text: Press the button.
```

```hint
text: Really.
```

```solution
items:
  - {type: Produce, topic: orders, value: hello}
  - until: {high_watermark: {partition: orders-0, equals: 1}}
```

## Kill the leader

```predict
id: next-leader
question: Who leads next?
answer: choice
options:
  - {text: Broker 2, when: {leader_is: {partition: orders-0, broker: 2}}}
  - {text: Broker 3, when: {leader_is: {partition: orders-0, broker: 3}}}
experiment:
  - {type: KillNode, node: broker-1}
  - {advance_ms: 15000}
expected: Broker 2
explanation: The first replica that is in sync, in the order of the assignment.
```

```twin
label: Die politely or not
setting: how broker 1 goes
left: {label: killed, items: [{type: KillNode, node: broker-1}]}
right: {label: stopped, items: [{type: StopNode, node: broker-1}]}
items:
  - {advance_ms: 300}
  - {type: Produce, topic: orders, value: later}
  - {advance_ms: 3000}
```

```histogram
label: Many seeds
sides:
  - {label: killed, items: [{type: KillNode, node: broker-1}]}
items:
  - {advance_ms: 15000}
measure: {ledger: {fate: lost}}
unit: records lost
seeds: 15
headless_seeds: 5
```

```goal
name: another-leads
text: Broker 2 leads
leader_is: {partition: orders-0, broker: 2}
```

```solution
items:
  - {type: KillNode, node: broker-1}
  - until: {leader_is: {partition: orders-0, broker: 2}}
```
"""


@pytest.fixture(autouse=True)
def lessons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An instructor's own folder with one lesson, beside those of the house."""
    folder = tmp_path / "98-test" / "a-leader-dies"
    folder.mkdir(parents=True)
    (folder / "lesson.md").write_text(LESSON)
    monkeypatch.setenv("LESSONS_PATH", str(tmp_path))
    catalogue.lessons.cache_clear()
    assert "a-leader-dies" in catalogue.lessons(), [str(error) for error in load().errors]
    yield folder / "lesson.md"
    catalogue.lessons.cache_clear()


async def started(visitor: Visitor) -> tuple[str, str]:
    """(sandbox, the address of its page)."""
    response = await visitor.client.post("/lessons/a-leader-dies/start/")
    assert response.status_code == 302
    made = await Sandbox.objects.aget(owner=visitor.id)
    assert response["Location"] == f"/lessons/a-leader-dies/{made.id}/"
    return made.id, response["Location"]


async def part(visitor: Visitor, method: str, path: str, body: Any = None) -> str:
    """A part of the page, as htmx asks for it."""
    call = getattr(visitor.client, method)
    response = await call(path, body or {}, headers={"HX-Request": "true"})
    assert response.status_code in (200, 204), response.content
    return str(response.content.decode())


async def goal_states(socket: Socket, wanted: dict[str, str]) -> None:
    """Reads until the goals stand so."""
    for _ in range(300):
        message = await socket.read()
        if message["t"] == "goals" and {goal["name"]: goal["state"] for goal in message["goals"]} == wanted:
            return
    raise AssertionError(f"the goals never stood like {wanted}")


async def test_the_introduction(visitor: Visitor) -> None:
    page = (await visitor.client.get("/lessons/a-leader-dies/")).content.decode()
    assert "One broker goes, another leads." in page
    assert "Before the <em>first</em> step." in page
    assert "Kill the leader" in page
    assert 'action="/lessons/a-leader-dies/start/"' in page
    for path in ("/", "/curriculum/"):
        assert 'href="/lessons/a-leader-dies/"' in (await visitor.client.get(path)).content.decode()


async def test_the_page_has_its_blocks_in_order(visitor: Visitor) -> None:
    sandbox, path = await started(visitor)
    page = (await visitor.client.get(path)).content.decode()
    places = [
        page.index(text) for text in ("Send <strong>one</strong> record.", "Send it", 'data-goal="one-record"', "Who leads next?")
    ]
    assert places == sorted(places)
    assert "<script>alert" not in page
    assert f'"socketPath": "/ws/sandbox/{sandbox}/"' in page
    assert '"lesson": "a-leader-dies"' in page
    assert (await visitor.client.get(f"/sandbox/{sandbox}/"))["Location"] == path


async def test_goals_follow_the_cluster(visitor: Visitor) -> None:
    sandbox, _ = await started(visitor)
    async with visitor.socket(sandbox) as socket:
        await goal_states(socket, {"one-record": "open", "another-leads": "open"})
        await socket.ask("command", command=PRODUCE)
        await goal_states(socket, {"one-record": "met", "another-leads": "open"})
        await socket.ask("speed", speed=100)
        await socket.ask("command", command={"type": "KillNode", "node": "broker-1"})
        await goal_states(socket, {"one-record": "met", "another-leads": "met"})
    await asyncio.gather(*runs._WORK)
    progress = await Progress.objects.aget(visitor=visitor.id)
    assert progress.done
    assert progress.goals == {"one-record": True, "another-leads": True}
    assert ">done" in (await visitor.client.get("/curriculum/")).content.decode()


async def test_what_was_met_is_known_after_a_restart(visitor: Visitor) -> None:
    sandbox, path = await started(visitor)
    async with visitor.socket(sandbox) as socket:
        await socket.ask("command", command=PRODUCE)
        await goal_states(socket, {"one-record": "met", "another-leads": "open"})
    await asyncio.gather(*runs._WORK)
    live = shelf().labs[sandbox]
    await shelf().evict(live)
    runs._RUNS.pop(live, None)
    page = (await visitor.client.get(path)).content.decode()
    assert 'data-goal="one-record" data-state="met"' in page
    assert 'data-goal="another-leads" data-state="open"' in page
    async with visitor.socket(sandbox) as socket:
        await goal_states(socket, {"one-record": "met", "another-leads": "open"})


async def test_what_was_done_for_one_step_does_not_fulfil_the_next(visitor: Visitor) -> None:
    sandbox, _ = await started(visitor)
    async with visitor.socket(sandbox) as socket:
        await socket.ask("speed", speed=100)
        await socket.ask("command", command={"type": "KillNode", "node": "broker-1"})
        await socket.until(lambda s: s.view["topics"]["orders"]["partitions"]["0"]["leader"] == 2)
    states = {goal["name"]: goal["state"] for goal in runs._RUNS[shelf().labs[sandbox]].states()}
    assert states == {"one-record": "open", "another-leads": "open"}, "the second step has not begun"


async def test_hints_come_one_by_one(visitor: Visitor) -> None:
    _, path = await started(visitor)
    assert "Press the button." not in (await visitor.client.get(path)).content.decode()
    first = await part(visitor, "post", f"{path}1/hint/")
    assert "Press the button." in first
    assert "Really." not in first
    second = await part(visitor, "post", f"{path}1/hint/")
    assert "Really." in second
    assert "<form" not in second, "there are no more"
    assert "Really." in (await visitor.client.get(path)).content.decode()


async def test_the_solution_is_shown_and_carried_out(visitor: Visitor) -> None:
    sandbox, path = await started(visitor)
    shown = await part(visitor, "post", f"{path}1/solution/")
    index = index_of(1, "solution")
    assert f"{path}1/do/{index}/" in shown
    await part(visitor, "post", f"{path}1/do/{index}/")
    _, found = await visitor.api("GET", f"sandboxes/{sandbox}/view")
    assert found["view"]["topics"]["orders"]["partitions"]["0"]["high_watermark"] == 1
    goals = await part(visitor, "get", f"{path}1/goals/")
    assert 'data-state="met"' in goals


async def test_a_step_can_be_begun_again(visitor: Visitor) -> None:
    sandbox, path = await started(visitor)
    start = (await visitor.state(sandbox))["clock"]["now_us"]
    async with visitor.socket(sandbox) as socket:
        await socket.ask("command", command=PRODUCE)
        await goal_states(socket, {"one-record": "met", "another-leads": "open"})
    response = await visitor.client.post(f"{path}1/reset/")
    assert response["Location"] == f"{path}#step-1"
    assert (await visitor.state(sandbox))["clock"]["now_us"] == start
    page = (await visitor.client.get(path)).content.decode()
    assert 'data-goal="one-record" data-state="open"' in page
    assert (await Run.objects.aget(sandbox_id=sandbox)).step == 0


ROUTES = [
    ("get", ""),
    ("post", "1/hint/"),
    ("post", "1/solution/"),
    ("get", "1/goals/"),
    ("post", "1/reset/"),
    ("post", "1/do/1/"),
    ("post", "predict/next-leader/"),
    ("post", "2/experiment/1/"),
    ("post", "2/twins/1/"),
]


@pytest.mark.parametrize(("method", "route"), ROUTES)
async def test_another_visitors_lesson_is_not_found(visitor: Visitor, stranger: Visitor, method: str, route: str) -> None:
    sandbox, path = await started(visitor)
    response = await getattr(stranger.client, method)(path + route, {"answer": "0"})
    assert response.status_code == 404
    free = await stranger.sandbox()
    assert (await getattr(stranger.client, method)(path.replace(sandbox, free) + route, {"answer": "0"})).status_code == 404


@pytest.mark.parametrize(
    "route",
    ["7/hint/", "0/solution/", "9/goals/", "1/do/99/", "1/do/0/", "predict/nothing/", "1/experiment/99/", "1/experiment/0/"],
)
async def test_what_the_lesson_does_not_have(visitor: Visitor, route: str) -> None:
    _, path = await started(visitor)
    call = visitor.client.get if "goals" in route else visitor.client.post
    assert (await call(path + route, {"answer": "0"})).status_code == 404


def index_of(step: int, kind: str) -> int:
    blocks = catalogue.lesson("a-leader-dies").steps[step - 1].blocks
    return next(place for place, block in enumerate(blocks) if kind == block.KIND)


async def test_the_engine_answers_a_prediction(visitor: Visitor) -> None:
    _, path = await started(visitor)
    answer = await part(visitor, "post", f"{path}predict/next-leader/", {"answer": "1", "confidence": "75"})
    assert "You said <b>Broker 3</b>" in answer
    assert "The cluster says <b>Broker 2</b>" in answer
    assert "Not this time." in answer
    assert "in the order of the assignment" in answer
    again = await part(visitor, "post", f"{path}predict/next-leader/", {"answer": "0", "confidence": "100"})
    assert "Not this time." in again, "the first answer stands"
    kept = (await Progress.objects.aget(visitor=visitor.id)).predictions["next-leader"]
    assert (kept["said"], kept["answer"], kept["confidence"], kept["right"]) == ("Broker 3", "Broker 2", 75, False)
    assert "You said <b>Broker 3</b>" in (await visitor.client.get(path)).content.decode()


@pytest.mark.parametrize("answer", ["", "2", "-1", "x", "1.0", "٣", "\x00", "9" * 50])
async def test_what_is_no_answer(visitor: Visitor, answer: str) -> None:
    sandbox, path = await started(visitor)
    response = await visitor.client.post(f"{path}predict/next-leader/", {"answer": answer})
    assert response.status_code == 302
    assert (await Run.objects.aget(sandbox_id=sandbox)).predictions == {}


async def test_a_refused_part_of_a_page_leaves_the_page_as_it_is(visitor: Visitor) -> None:
    _, path = await started(visitor)
    response = await visitor.client.post(f"{path}predict/next-leader/", {"answer": "x"}, headers={"HX-Request": "true"})
    assert response.status_code == 400
    assert response.content.decode().startswith("answer: give one of the options.")
    missing = await visitor.client.post(f"{path}9/hint/", headers={"HX-Request": "true"})
    assert missing.status_code == 404


async def test_twins_are_compared_and_can_be_opened(visitor: Visitor) -> None:
    sandbox, path = await started(visitor)
    index = index_of(2, "twin")
    result = await part(visitor, "post", f"{path}2/experiment/{index}/")
    assert "how broker 1 goes" in result
    assert "killed" in result
    response = await visitor.client.post(f"{path}2/twins/{index}/")
    assert response.status_code == 302
    assert (await visitor.client.get(response["Location"])).status_code == 200
    left, right = response["Location"].strip("/").split("/")[1:4:2]
    for twin, status in ((left, "down"), (right, "down")):
        _, found = await visitor.api("GET", f"sandboxes/{twin}/view")
        assert found["view"]["nodes"]["broker-1"]["status"] == status
    _, lost = await visitor.api("GET", f"sandboxes/{left}/events?limit=500")
    assert "NodeKilled" in {event["kind"] for event in lost["events"]}
    assert sandbox not in (left, right)


async def test_a_histogram_grows_until_it_is_complete(visitor: Visitor) -> None:
    _, path = await started(visitor)
    index = index_of(2, "histogram")
    first = await part(visitor, "post", f"{path}2/experiment/{index}/")
    assert "hx-get" in first, "the page asks again by itself"
    for _ in range(200):
        shown = await part(visitor, "get", f"{path}2/experiment/{index}/")
        if "hx-get" not in shown:
            break
        await asyncio.sleep(0.1)
    assert "15 of 15 runs" in shown
    assert "<caption>killed <small>0.0 records lost on average</small></caption>" in " ".join(shown.split())


async def test_a_wait_that_ends_in_nothing_says_so(visitor: Visitor) -> None:
    _, path = await started(visitor)
    await visitor.client.post(f"{path}1/do/1/")
    index = index_of(2, "solution")
    for broker in (2, 3):
        sandbox = path.strip("/").split("/")[-1]
        await visitor.submit(sandbox, type="PauseNode", node=f"broker-{broker}")
    response = await visitor.client.post(f"{path}2/do/{index}/")
    assert response.status_code == 302


async def test_a_broken_lesson_keeps_no_other_from_loading(visitor: Visitor, lessons: Path) -> None:
    other = lessons.parent.parent / "broken"
    other.mkdir()
    (other / "lesson.md").write_text("no front matter")
    catalogue.lessons.cache_clear()
    assert (await visitor.client.get("/lessons/a-leader-dies/")).status_code == 200
    assert (await visitor.client.get("/lessons/broken/")).status_code == 404


@pytest.mark.parametrize("slug", ["topics-partitions-offsets", "acks", "broker-down"])
async def test_the_houses_own_lessons_can_be_finished_on_their_pages(visitor: Visitor, slug: str) -> None:
    """Every solution carried out by its button reaches its step's goals, and the lesson is done."""
    response = await visitor.client.post(f"/lessons/{slug}/start/")
    path = response["Location"]
    page = (await visitor.client.get(path)).content.decode()
    lesson = catalogue.lesson(slug)
    assert all(f'id="predict-{block.id}"' in page for _, block in lesson.predictions())
    for number, step in enumerate(lesson.steps, 1):
        index = next((place for place, block in enumerate(step.blocks) if block.KIND == "solution"), None)
        if index is not None:
            response = await visitor.client.post(f"{path}{number}/do/{index}/", headers={"HX-Request": "true"})
            assert response.status_code == 204, (slug, number)
        shown = await part(visitor, "get", f"{path}{number}/goals/")
        assert 'data-state="open"' not in shown, (slug, number, shown)
    await asyncio.gather(*runs._WORK)
    assert (await Progress.objects.aget(visitor=visitor.id, lesson=slug)).done
