"""The pages of sandboxes: open one, look at two twins, open what somebody shared. Each parses, calls one service, renders."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from engine.errors import EngineError
from kafkalab.accounts.service import known_visitor_id, visitor_id
from kafkalab.sandbox import bounds, copies, service, sharing
from kafkalab.sandbox.errors import Refusal, refusal_of
from kafkalab.sandbox.limiter import ADDRESSES, WORK, WRITES
from kafkalab.sandbox.models import Sandbox

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponseBase]]
arender = sync_to_async(render)


def lab_config(sandbox: Sandbox, **more: Any) -> dict[str, Any]:
    """What the page's script has to know (``json_script`` "lab-config")."""
    return {"sandboxId": sandbox.id, "socketPath": socket_path(sandbox.id), "lesson": sandbox.lesson, **more}


def socket_path(sandbox_id: str) -> str:
    return f"/ws/sandbox/{sandbox_id}/"


def refusals(view: View[P]) -> View[P]:
    """What a service refuses becomes a page: 404 as such; anything else sends the visitor home with the reason. A part of a page that
    htmx asked for is not replaced by a whole one: the page's script shows the reason."""

    async def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            _check_rate(request)
            return await view(request, *args, **kwargs)
        except EngineError as wrong:
            refusal = refusal_of(wrong)
        except Refusal as wrong:
            refusal = wrong
        words = refusal.words()
        if request.headers.get("HX-Request"):
            return HttpResponse(words, status=refusal.status, content_type="text/plain; charset=utf-8")
        if refusal.status == 404:
            raise Http404(words)
        messages.warning(request, words)
        full = "?full=1" if refusal.code == "TOO_MANY_SANDBOXES" else ""
        return redirect(reverse("learn:home") + full)

    update_wrapper(guarded, view)
    return guarded


def _check_rate(request: HttpRequest) -> None:
    """What a page's forms do is counted with what the API is asked to do."""
    visitor = known_visitor_id(request)
    if request.method == "POST" and visitor is not None:
        WRITES.check(visitor)
        WORK.check(visitor)


def check_address(request: HttpRequest) -> None:
    """Bounds what one address creates under ever new cookies."""
    ADDRESSES.check(str(request.META.get("REMOTE_ADDR") or "?"))


@require_http_methods(["GET", "HEAD", "POST"])
@refusals
async def new(request: HttpRequest) -> HttpResponseBase:
    """POST makes a sandbox and goes there. GET goes to the one used last, or home where there is none."""
    if request.method != "POST":
        visitor = known_visitor_id(request)
        rows = await service.mine(visitor) if visitor else []
        return redirect("sandbox:page", rows[0].id) if rows else redirect("learn:home")
    check_address(request)
    made = await service.create(visitor_id(request), replace_oldest=request.POST.get("replace_oldest") == "1")
    return redirect("sandbox:page", made.id)


@require_http_methods(["GET", "HEAD"])
@refusals
async def page(request: HttpRequest, sandbox_id: str) -> HttpResponseBase:
    sandbox = await service.row_of(sandbox_id, visitor_id(request))
    if sandbox.lesson:
        return redirect("learn:lesson", sandbox.lesson, sandbox.id)
    context = {"sandbox": sandbox, "lab_config": lab_config(sandbox), "nav": "lab"}
    return await arender(request, "sandbox/sandbox.html", context)


@require_http_methods(["GET", "HEAD"])
@refusals
async def twin(request: HttpRequest, sandbox_id: str, twin_id: str) -> HttpResponseBase:
    """Both sandboxes side by side; they need not be twins of each other, but both the visitor's."""
    visitor = visitor_id(request)
    sandbox = await service.row_of(sandbox_id, visitor)
    other = await service.row_of(twin_id, visitor)
    context = {
        "sandbox": sandbox,
        "twin": other,
        "twin_config": {"left": socket_path(sandbox.id), "right": socket_path(other.id)},
        "nav": "lab",
    }
    return await arender(request, "sandbox/twin.html", context)


@require_http_methods(["POST"])
@refusals
async def delete(request: HttpRequest, sandbox_id: str) -> HttpResponseBase:
    await service.delete(sandbox_id, visitor_id(request))
    messages.info(request, "The sandbox is deleted.")
    return redirect("learn:home")


@require_http_methods(["GET", "HEAD"])
@refusals
async def download(request: HttpRequest, sandbox_id: str) -> HttpResponseBase:
    """This moment as a file."""
    live = await service.open_lab(sandbox_id, visitor_id(request))
    return _attachment(sharing.write(live.lab.share(), live.title, live.lesson), live.title)


@require_http_methods(["GET", "HEAD", "POST"])
@refusals
async def open_share(request: HttpRequest, token: str) -> HttpResponseBase:
    """A copy of what was shared. A browser that follows a link may do so on its own account only: what is made is the visitor's own."""
    if request.method == "HEAD":
        await copies.find_share(token)
        return HttpResponse()
    check_address(request)
    replace = request.method == "POST" and request.POST.get("replace_oldest") == "1"
    made = await copies.open_share(token, visitor_id(request), replace_oldest=replace)
    return redirect("sandbox:page", made.id)


@require_http_methods(["GET", "HEAD"])
@refusals
async def share_file(request: HttpRequest, token: str) -> HttpResponseBase:
    found = await copies.find_share(token)
    return _attachment(sharing.unpack(bytes(found.blob)), found.title)


@require_http_methods(["POST"])
@refusals
async def import_file(request: HttpRequest) -> HttpResponseBase:
    check_address(request)
    uploaded = request.FILES.get("file")
    if uploaded is None:
        raise EngineError("file: choose a file that KafkaLab saved.", field="file")
    if (uploaded.size or 0) > bounds.MAX_BODY_BYTES:
        raise EngineError(f"file: has {uploaded.size} bytes; at most {bounds.MAX_BODY_BYTES} are read.", field="file")
    content = await sync_to_async(uploaded.read)()
    replace = request.POST.get("replace_oldest") == "1"
    made = await copies.import_file(content, visitor_id(request), replace_oldest=replace)
    return redirect("sandbox:page", made.id)


def _attachment(content: bytes, title: str) -> HttpResponse:
    name = "".join(letter if letter.isalnum() else "-" for letter in title.lower())[:40].strip("-") or "lab"
    response = HttpResponse(content, content_type="application/json")
    response["Content-Disposition"] = f"attachment; filename*=UTF-8''kafkalab-{quote(name)}.json"
    return response
