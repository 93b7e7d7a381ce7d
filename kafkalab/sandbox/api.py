"""The HTTP API of sandboxes: the same services as the socket, with one shape for every error.

``{"error": {"code", "message", "field", "cure"}}`` with 400 (a field to correct), 403 (no CSRF token), 404 (not yours, or not there),
409, 413, 429 (with Retry-After), 500. A sandbox belongs to the visitor cookie that made it; a request that carries one must also carry
Django's CSRF token (cookie ``csrftoken`` → header ``X-CSRFToken``) where it changes anything.
"""

from __future__ import annotations

import logging
import math
from typing import Annotated, Any

import msgspec
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI, Router
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.utils import check_csrf

from engine import commands as cm
from engine import limits
from engine.errors import EngineError
from kafkalab.accounts.service import visitor_id
from kafkalab.sandbox import bounds, copies, looks, service, sharing
from kafkalab.sandbox.errors import Refusal, decoding_refusal, refusal_of
from kafkalab.sandbox.inputs import Commanded
from kafkalab.sandbox.limiter import ADDRESSES, WORK, WRITES
from kafkalab.sandbox.live import Live

logger = logging.getLogger(__name__)
_ENCODER = msgspec.json.Encoder()


# -- what comes in ------------------------------------------------------------------------------------------------------------


class NewSandbox(msgspec.Struct, forbid_unknown_fields=True):
    """All optional: without ``spec`` it is three brokers and a topic ``orders``."""

    title: Annotated[str, msgspec.Meta(max_length=bounds.MAX_TITLE)] = service.FREE_TITLE
    spec: dict[str, Any] | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    replace_oldest: bool = False


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """One of the two, in virtual microseconds."""

    until_us: int | None = None
    by_us: int | None = None


class Seek(msgspec.Struct, forbid_unknown_fields=True):
    at_us: int


class Fork(msgspec.Struct, forbid_unknown_fields=True):
    at_us: int | None = None
    commands: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=20)] = []
    change: sharing.Change | None = None
    replay: bool = False
    title: Annotated[str, msgspec.Meta(max_length=bounds.MAX_TITLE)] = ""


class Pace(msgspec.Struct, forbid_unknown_fields=True):
    speed: float | str | None = None
    running: bool | None = None


def _body(request: HttpRequest, shape: type[Any]) -> Any:
    """The body as ``shape``. Raises EngineError naming the field."""
    content = _content(request) or b"{}"
    try:
        return msgspec.json.decode(content, type=shape)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as wrong:
        raise decoding_refusal(wrong, "body", "Nothing was changed.") from None


def _content(request: HttpRequest) -> bytes:
    if len(request.body) > bounds.MAX_BODY_BYTES:
        raise RequestDataTooBig
    return request.body


def _int(request: HttpRequest, name: str, default: int) -> int:
    """A number of the query string. Raises EngineError naming it."""
    text = request.GET.get(name, "")
    if not text:
        return default
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 19:
        raise EngineError(f"{name}: must be a whole number.", field=name)
    return int(text)


# -- who asks -------------------------------------------------------------------------------------------------------------------


def visitor(request: HttpRequest) -> str:
    """The visitor behind the request; a changing one from a browser must prove that one of this site's pages sent it."""
    carries_cookie = settings.VISITOR_COOKIE_NAME in request.COOKIES or settings.SESSION_COOKIE_NAME in request.COOKIES
    if carries_cookie and check_csrf(request) is not None:
        raise Refusal(
            "The request carries no valid CSRF token.",
            status=403,
            code="CSRF",
            field="X-CSRFToken",
            cure="Send the value of the csrftoken cookie in the header X-CSRFToken.",
        )
    who = visitor_id(request)
    if request.method != "GET":
        WRITES.check(who)
    return who


router = Router(auth=visitor, tags=["sandboxes"])


async def _live(request: HttpRequest, sandbox_id: str) -> Live:
    who = visitor_id(request)
    WORK.check(who)
    return await service.open_lab(sandbox_id, who)


# -- what goes out ----------------------------------------------------------------------------------------------------------------


def _answer(content: object, status: int = 200) -> HttpResponse:
    return HttpResponse(_ENCODER.encode(content), content_type="application/json", status=status)


def _refuse(refusal: Refusal) -> HttpResponse:
    response = _answer({"error": refusal.body()}, refusal.status)
    if refusal.wait_s > 0:
        response["Retry-After"] = str(math.ceil(refusal.wait_s))
    return response


def install(api: NinjaAPI) -> None:
    """Gives every error of the API its one shape; nothing of the inside is ever told."""
    api.exception_handler(EngineError)(lambda request, wrong: _refuse(refusal_of(wrong)))
    api.exception_handler(Refusal)(lambda request, wrong: _refuse(wrong))
    api.exception_handler(ValidationError)(lambda request, wrong: _refuse(_invalid(wrong)))
    api.exception_handler(RequestDataTooBig)(lambda request, wrong: _refuse(_too_large()))
    api.exception_handler(AuthenticationError)(lambda request, wrong: _refuse(Refusal("Not allowed.", status=401, code="AUTH")))
    api.exception_handler(HttpError)(
        lambda request, wrong: _refuse(Refusal(str(wrong), status=wrong.status_code, code="HTTP", field="request"))
    )
    api.exception_handler(Http404)(lambda request, wrong: _refuse(Refusal("There is nothing here.", status=404, code="NOT_FOUND")))
    api.exception_handler(Exception)(_fault)


def _invalid(wrong: ValidationError) -> Refusal:
    first = wrong.errors[0] if wrong.errors else {}
    field = str(first.get("loc", ["request"])[-1])
    return Refusal(f"{field}: {first.get('msg', 'is not valid')}.", field=field, cure="Correct this field and send it again.")


def _too_large() -> Refusal:
    return Refusal(
        f"The body has more than {bounds.MAX_BODY_BYTES} bytes.",
        status=413,
        code="TOO_LARGE",
        field="body",
        cure="Send it in smaller parts.",
    )


def _fault(request: HttpRequest, wrong: Exception) -> HttpResponse:
    logger.error("%s %s failed", request.method, request.path, exc_info=wrong)
    return _refuse(Refusal("The server met a fault of its own.", status=500, code="SERVER_FAULT", cure="Try again."))


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_COMMAND_SCHEMA = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"type": "string", "enum": sorted(cm.COMMANDS)}},
    "description": 'A command: its type, and the fields of that type (for example {"type": "KillNode", "node": "broker-1"}).',
}
_TIME = {"type": "integer", "minimum": 0, "maximum": limits.MAX_NOW_US, "description": "virtual microseconds"}


# -- the operations ---------------------------------------------------------------------------------------------------------------


@router.get("/sandboxes", summary="Your sandboxes, the one used last first")
async def list_sandboxes(request: HttpRequest) -> HttpResponse:
    rows = await service.mine(visitor_id(request))
    return _answer({"sandboxes": [
        {"id": row.id, "title": row.title, "lesson": row.lesson, "last_used": row.last_used, "url": f"/sandbox/{row.id}/"}
        for row in rows
    ]})  # fmt: skip


@router.post(
    "/sandboxes",
    summary="Make a sandbox",
    openapi_extra=_described({
        "type": "object",
        "properties": {
            "title": {"type": "string", "maxLength": bounds.MAX_TITLE},
            "spec": {"type": "object", "description": "brokers, controllers, topics, broker_configs, racks, elr"},
            "seed": {"type": "integer", "minimum": 0},
            "replace_oldest": {"type": "boolean"},
        },
    }),
)  # fmt: skip
async def create(request: HttpRequest) -> HttpResponse:
    ADDRESSES.check(str(request.META.get("REMOTE_ADDR") or "?"))
    body: NewSandbox = _body(request, NewSandbox)
    spec = service.FREE_SPEC if body.spec is None else service.parse_spec(body.spec)
    made = await service.create(
        visitor_id(request), spec=spec, seed=body.seed, title=body.title, replace_oldest=body.replace_oldest
    )
    return _answer(await service.state(await _live(request, made.id)), 201)


@router.get("/sandboxes/{sandbox_id}", summary="Where it stands: its clock and the digest of its view")
async def show(request: HttpRequest, sandbox_id: str) -> HttpResponse:
    return _answer(await service.state(await _live(request, sandbox_id)))


@router.delete("/sandboxes/{sandbox_id}", summary="Delete it")
async def delete(request: HttpRequest, sandbox_id: str) -> HttpResponse:
    await service.delete(sandbox_id, visitor_id(request))
    return HttpResponse(status=204)


@router.post("/sandboxes/{sandbox_id}/commands", summary="Carry out a command", openapi_extra=_described(_COMMAND_SCHEMA))
async def submit(request: HttpRequest, sandbox_id: str) -> HttpResponse:
    live = await _live(request, sandbox_id)
    command = service.parse_command(_content(request))
    return _answer(await service.do(live, Commanded(command, live.owner)))


@router.post(
    "/sandboxes/{sandbox_id}/advance",
    summary="Let virtual time pass",
    openapi_extra=_described({"type": "object", "properties": {"until_us": _TIME, "by_us": _TIME}}),
)
async def advance(request: HttpRequest, sandbox_id: str) -> HttpResponse:
    live = await _live(request, sandbox_id)
    body: Advance = _body(request, Advance)
    if (body.until_us is None) == (body.by_us is None):
        raise EngineError("until_us: give until_us or by_us, one of the two.", field="until_us")
    if body.by_us is not None and body.by_us < 0:
        raise EngineError("by_us: must not be negative; use seek to go back.", field="by_us")
    until_us = body.until_us if body.until_us is not None else live.lab.now_us + (body.by_us or 0)
    ack, arrived = await service.advance(live, until_us)
    return _answer({**msgspec.to_builtins(ack), "arrived": arrived, "paused_by": live.paused_by})


@router.post(
    "/sandboxes/{sandbox_id}/seek",
    summary="Move the playhead",
    openapi_extra=_described({"type": "object", "required": ["at_us"], "properties": {"at_us": _TIME}}),
)
async def seek(request: HttpRequest, sandbox_id: str) -> HttpResponse:
    live = await _live(request, sandbox_id)
    body: Seek = _body(request, Seek)
    return _answer(await service.seek(live, body.at_us))


@router.post(
    "/sandboxes/{sandbox_id}/speed",
    summary="How fast time runs while somebody watches",
    openapi_extra=_described({"type": "object", "properties": {"speed": {"type": "number"}, "running": {"type": "boolean"}}}),
)
async def speed(request: HttpRequest, sandbox_id: str) -> HttpResponse:
    live = await _live(request, sandbox_id)
    body: Pace = _body(request, Pace)
    await service.set_pace(live, body.speed, body.running)
    return _answer({"clock": live.clock()})


@router.post(
    "/sandboxes/{sandbox_id}/fork",
    summary="A second sandbox from this one's past, perhaps with one setting changed",
    openapi_extra=_described({
        "type": "object",
        "properties": {
            "at_us": _TIME,
            "commands": {"type": "array", "items": _COMMAND_SCHEMA, "maxItems": 20},
            "change": {"type": "object", "properties": {
                "resource": {"type": "string", "enum": ["producer", "consumer", "topic", "broker"]},
                "name": {"type": "string"},
                "configs": {"type": "object", "additionalProperties": {"type": "string"}},
            }},
            "replay": {"type": "boolean"},
            "title": {"type": "string", "maxLength": bounds.MAX_TITLE},
        },
    }),
)  # fmt: skip
async def fork(request: HttpRequest, sandbox_id: str) -> HttpResponse:
    live = await _live(request, sandbox_id)
    body: Fork = _body(request, Fork)
    commands = [service.parse_command(bytes(raw)) for raw in body.commands]
    twin, refused = await copies.fork(
        live, at_us=body.at_us, commands=commands, change=body.change, replay=body.replay, title=body.title
    )
    state = await service.state(await _live(request, twin.id))
    return _answer({**state, "twin_url": f"/sandbox/{live.id}/twin/{twin.id}/", "refused": refused}, 201)


@router.get("/sandboxes/{sandbox_id}/view", summary="The whole view, as the stage sees it")
async def view(request: HttpRequest, sandbox_id: str) -> HttpResponse:
    live = await _live(request, sandbox_id)
    return HttpResponse(looks.view(live), content_type="application/json")


@router.get("/sandboxes/{sandbox_id}/events", summary="What happened, in sentences (?after=&limit=)")
async def events(request: HttpRequest, sandbox_id: str) -> HttpResponse:
    live = await _live(request, sandbox_id)
    return _answer(looks.history(live, _int(request, "after", 0), _int(request, "limit", 200)))


@router.get("/sandboxes/{sandbox_id}/why/{event_id}", summary="The chain of causes that led to an event")
async def why(request: HttpRequest, sandbox_id: str, event_id: str) -> HttpResponse:
    live = await _live(request, sandbox_id)
    if not event_id.isascii() or not event_id.isdigit() or len(event_id) > 16:
        raise EngineError("event_id: must be a whole number.", field="event_id")
    return _answer(looks.why(live, int(event_id)))


@router.get("/sandboxes/{sandbox_id}/ledger", summary="What became of every record (?fate=&offset=&limit=)")
async def ledger(request: HttpRequest, sandbox_id: str) -> HttpResponse:
    live = await _live(request, sandbox_id)
    fate = request.GET.get("fate", "")[:40]
    return _answer(looks.ledger(live, fate, _int(request, "offset", 0), _int(request, "limit", bounds.MAX_LEDGER_PAGE)))


@router.post("/sandboxes/{sandbox_id}/share", summary="A link and a file that lead to this moment")
async def share(request: HttpRequest, sandbox_id: str) -> HttpResponse:
    made = await copies.share(await _live(request, sandbox_id))
    return _answer({"token": made.id, "url": f"/s/{made.id}/", "file_url": f"/s/{made.id}/file/"}, 201)


@router.post(
    "/import",
    summary="A sandbox from a saved file, sent as the body",
    openapi_extra=_described({"type": "object", "description": "a file that KafkaLab saved"}),
)
async def import_file(request: HttpRequest) -> HttpResponse:
    ADDRESSES.check(str(request.META.get("REMOTE_ADDR") or "?"))
    made = await copies.import_file(_content(request), visitor_id(request))
    return _answer(await service.state(await _live(request, made.id)), 201)
