"""A sandbox belongs to the browser that made it: on every route anybody else finds nothing, and nothing changes."""

from __future__ import annotations

import pytest

from kafkalab.sandbox.models import JournalEntry, Sandbox
from tests.web.visitors import KILL, PRODUCE, Visitor

API = [
    ("GET", "sandboxes/{id}", None),
    ("DELETE", "sandboxes/{id}", None),
    ("POST", "sandboxes/{id}/commands", PRODUCE),
    ("POST", "sandboxes/{id}/advance", {"by_us": 1000}),
    ("POST", "sandboxes/{id}/seek", {"at_us": 1_400_000}),
    ("POST", "sandboxes/{id}/speed", {"speed": 10}),
    ("POST", "sandboxes/{id}/fork", {}),
    ("GET", "sandboxes/{id}/view", None),
    ("GET", "sandboxes/{id}/events", None),
    ("GET", "sandboxes/{id}/why/1", None),
    ("GET", "sandboxes/{id}/ledger", None),
    ("POST", "sandboxes/{id}/share", {}),
]
PAGES = [
    ("get", "/sandbox/{id}/"),
    ("get", "/sandbox/{id}/file/"),
    ("get", "/sandbox/{id}/twin/{id}/"),
    ("post", "/sandbox/{id}/delete/"),
]


def test_every_route_of_the_api_is_tried_here() -> None:
    from kafkalab.api import api

    routes = {
        (method, path.strip("/").removeprefix("api/").replace("{sandbox_id}", "{id}").replace("{event_id}", "1"))
        for path, operations in api.get_openapi_schema()["paths"].items()
        for method in (name.upper() for name in operations)
        if "sandbox_id" in path
    }
    assert routes == {(method, path) for method, path, _ in API}


@pytest.mark.parametrize(("method", "path", "body"), API, ids=[f"{method} {path}" for method, path, _ in API])
async def test_the_api_hides_it(visitor: Visitor, stranger: Visitor, method: str, path: str, body: object) -> None:
    sandbox = await visitor.sandbox()
    before = await visitor.state(sandbox)
    assert (await stranger.api(method, path.format(id=sandbox), body))[0] == 404
    status, answer = await stranger.api(method, path.format(id="00000000-0000-0000-0000-000000000000"), body)
    assert status == 404
    assert answer["error"]["code"] == "NOT_FOUND"
    assert await visitor.state(sandbox) == before
    assert not await JournalEntry.objects.aexists()


@pytest.mark.parametrize(("method", "path"), PAGES)
async def test_the_pages_hide_it(visitor: Visitor, stranger: Visitor, method: str, path: str) -> None:
    sandbox = await visitor.sandbox()
    response = await getattr(stranger.client, method)(path.format(id=sandbox))
    assert response.status_code == 404
    assert await Sandbox.objects.filter(id=sandbox).aexists()


async def test_a_twin_page_needs_both(visitor: Visitor, stranger: Visitor) -> None:
    mine, theirs = await visitor.sandbox(), await stranger.sandbox()
    assert (await visitor.client.get(f"/sandbox/{mine}/twin/{theirs}/")).status_code == 404
    assert (await visitor.client.get(f"/sandbox/{theirs}/twin/{mine}/")).status_code == 404


async def test_the_socket_hides_it(visitor: Visitor, stranger: Visitor) -> None:
    sandbox = await visitor.sandbox()
    async with stranger.socket(sandbox) as socket:
        assert (await socket.read())["error"]["code"] == "NOT_FOUND"
        assert (await socket.wire.receive_output())["code"] == 4404


async def test_a_socket_without_a_cookie_owns_nothing(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    nobody = visitor.socket(sandbox)
    nobody.wire.scope["headers"] = []
    async with nobody:
        assert (await nobody.read())["t"] == "error"
        assert (await nobody.wire.receive_output())["code"] == 4404


async def test_the_list_has_only_ones_own(visitor: Visitor, stranger: Visitor) -> None:
    sandbox = await visitor.sandbox(title="mine")
    await stranger.sandbox(title="theirs")
    _, found = await visitor.api("GET", "sandboxes")
    assert [row["id"] for row in found["sandboxes"]] == [sandbox]


async def test_a_write_with_a_cookie_needs_the_csrf_token(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    visitor.client.handler.enforce_csrf_checks = True
    status, answer = await visitor.api("POST", f"sandboxes/{sandbox}/commands", KILL)
    assert status == 403
    assert answer["error"]["field"] == "X-CSRFToken"
    assert (await visitor.api("GET", f"sandboxes/{sandbox}"))[0] == 200
