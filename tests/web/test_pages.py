"""The pages around the lab."""

from __future__ import annotations

from kafkalab.sandbox.models import Sandbox
from tests.web.visitors import Visitor


async def test_home_leads_to_a_lab_with_one_click(visitor: Visitor) -> None:
    page = (await visitor.client.get("/")).content.decode()
    assert 'action="/sandbox/new/"' in page
    response = await visitor.client.post("/sandbox/new/")
    made = await Sandbox.objects.aget()
    assert response["Location"] == f"/sandbox/{made.id}/"
    page = (await visitor.client.get(response["Location"])).content.decode()
    assert f'"socketPath": "/ws/sandbox/{made.id}/"' in page
    async with visitor.socket(made.id) as socket:
        view = (await socket.read())["view"]
    assert [name for name in view["nodes"] if name.startswith("broker")] == ["broker-1", "broker-2", "broker-3"]
    orders = view["topics"]["orders"]["partitions"]
    assert [len(partition["isr"]) for partition in orders.values()] == [3, 3, 3]


async def test_a_look_at_home_makes_nothing(visitor: Visitor) -> None:
    from django.test import AsyncClient

    nobody = AsyncClient()
    response = await nobody.get("/")
    assert response.status_code == 200
    assert "kafkalab_visitor" not in response.cookies
    assert (await nobody.get("/sandbox/new/"))["Location"] == "/"
    assert not await Sandbox.objects.aexists()


async def test_the_lab_link_goes_back_to_the_last_one(visitor: Visitor) -> None:
    await visitor.sandbox()
    newest = await visitor.sandbox()
    assert (await visitor.client.get("/sandbox/new/"))["Location"] == f"/sandbox/{newest}/"


async def test_what_does_not_exist_is_not_found(visitor: Visitor) -> None:
    for path in ("/lessons/nothing/", "/sandbox/nothing/", "/nothing/", "/s/x/", "/sandbox/a/twin/b/"):
        assert (await visitor.client.get(path)).status_code == 404, path
    assert (await visitor.client.get("/sandbox/new/\x00/")).status_code == 404


async def test_pages_that_change_something_take_no_get(visitor: Visitor) -> None:
    sandbox = await visitor.sandbox()
    assert (await visitor.client.get(f"/sandbox/{sandbox}/delete/")).status_code == 405
    assert (await visitor.client.get("/sandbox/import/")).status_code == 405
    assert (await visitor.client.post(f"/sandbox/{sandbox}/delete/")).status_code == 302
    assert not await Sandbox.objects.aexists()
