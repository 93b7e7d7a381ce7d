"""What browsers are told that pages may do, and which pages may open a socket.

Scripts and styles come from this site and from nowhere else: no inline script, no inline style, no eval. A value that
a learner typed can therefore never become code, even if a template once forgot to escape it.
"""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any
from urllib.parse import urlsplit

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponseBase
from django.http.request import split_domain_port, validate_host
from django.utils.decorators import sync_and_async_middleware

AsgiApplication = Callable[[Any, Any, Any], Awaitable[None]]

_POLICY = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
# The API's documentation is Swagger's own page, which sets style attributes and draws its icons from data: addresses.
_DOCS_PATH = "/api/docs"
_DOCS_POLICY = {**_POLICY, "style-src": "'self' 'unsafe-inline'"}

_PERMISSIONS = "camera=(), geolocation=(), microphone=(), payment=(), usb=(), interest-cohort=()"


def policy_for(request: HttpRequest) -> str:
    """Return the Content-Security-Policy for the page that `request` asks for."""
    policy = _DOCS_POLICY if request.path.startswith(_DOCS_PATH) else _POLICY
    host = _host_of(request)
    # Older Safari does not count a socket to the same host as 'self'.
    sockets = f" ws://{host} wss://{host}" if host else ""
    return "; ".join(f"{name} {value}{sockets if name == 'connect-src' else ''}" for name, value in policy.items())


@sync_and_async_middleware
def content_security_policy(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Add the policy to every answer that does not carry one of its own."""

    def add(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault("Content-Security-Policy", policy_for(request))
        response.headers.setdefault("Permissions-Policy", _PERMISSIONS)
        return response

    if iscoroutinefunction(get_response):

        async def answer_async(request: HttpRequest) -> HttpResponseBase:
            return add(request, await get_response(request))

        return answer_async

    def answer(request: HttpRequest) -> HttpResponseBase:
        return add(request, get_response(request))

    return answer


class SameOriginSockets:
    """Let a page of this site open a socket, and refuse every other page (403 at the handshake).

    A browser always names the page's origin, and sends this site's cookies whatever that origin is: without this check
    any page on the web could act in a visitor's sandbox. A program that is no browser sends no origin and may connect.
    """

    def __init__(self, application: AsgiApplication) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "websocket" and not _may_open_socket(dict(scope["headers"])):
            await send({"type": "websocket.close", "code": 4403, "reason": "another site's page may not connect here"})
            return
        await self.application(scope, receive, send)


async def no_such_socket(scope: Any, receive: Any, send: Any) -> None:
    """Where no socket is: refused at the handshake, rather than a fault in the log for every robot."""
    await send({"type": "websocket.close", "code": 4404, "reason": "there is no socket here"})


def _host_of(request: HttpRequest) -> str:
    """The host and port that the browser asked, or an empty text if they are none of ours."""
    try:
        return request.get_host()
    except DisallowedHost:
        return ""


def _may_open_socket(headers: dict[bytes, bytes]) -> bool:
    origin = headers.get(b"origin")
    return _is_same_origin(None if origin is None else origin.decode("latin-1"), headers.get(b"host", b"").decode("latin-1"))


def _is_same_origin(origin: str | None, host: str) -> bool:
    """Whether `origin` names the site at `host`, one of ours; so does its absence, since every browser names it."""
    if origin is None:
        return True
    try:
        named = urlsplit(origin.lower())
    except ValueError:
        return False
    return named.scheme in {"http", "https"} and named.netloc == host.lower() and _is_known_host(host)


def _is_known_host(host: str) -> bool:
    domain, _port = split_domain_port(host.lower())
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
