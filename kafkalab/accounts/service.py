"""Visitors: an identity without an account.

A visitor is a random id in a signed, HTTP-only cookie. It is made when something first asks for it, so that a mere look
at a page leaves no cookie; the middleware then sends it along. Nothing is written to the database until `owner_for`.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase, parse_cookie

from kafkalab.accounts.models import Owner

_SALT = "kafkalab.accounts.visitor"
_RENEW_AFTER_S = 30 * 24 * 3600  # a regular visitor's cookie never runs out
_KEPT_AS = "kafkalab_visitor"

Source = HttpRequest | Mapping[str, Any]


def visitor_id(source: Source) -> str:
    """Return the id of the visitor behind a request or a Channels scope: 36 characters, lower case.

    The first call makes one if the browser has none yet. A socket cannot set a cookie, so a visitor that is first met
    there lasts as long as the socket, and owns nothing: pages ask first, sockets follow.
    """
    kept = _kept(source)
    if _KEPT_AS not in kept:
        kept[_KEPT_AS] = known_visitor_id(source) or str(uuid.uuid4())
    return str(kept[_KEPT_AS])


def known_visitor_id(source: Source) -> str | None:
    """Return the id that the browser's cookie proves, or None; never makes one."""
    signed = _cookies(source).get(settings.VISITOR_COOKIE_NAME, "")
    try:
        return str(uuid.UUID(_signer().unsign(signed, max_age=settings.VISITOR_COOKIE_AGE_S)))
    except (signing.BadSignature, ValueError):
        return None


def owner_for(source: Source) -> Owner:
    """Return the visitor's row, made on first use. Touches the database; `aowner_for` is for coroutines."""
    owner, _created = Owner.objects.get_or_create(id=uuid.UUID(visitor_id(source)))
    return owner


aowner_for = sync_to_async(owner_for)


def signed_cookie(visitor: str) -> str:
    """Return the cookie value that proves `visitor`. For the middleware, and for tests that play a browser."""
    return _signer().sign(visitor)


def remember(request: HttpRequest, response: HttpResponseBase) -> None:
    """Send the visitor's cookie along, if this request made a visitor or the cookie is getting old."""
    visitor = request.__dict__.get(_KEPT_AS)
    if visitor is None or not _needs_cookie(request, visitor):
        return
    response.set_cookie(
        settings.VISITOR_COOKIE_NAME,
        signed_cookie(visitor),
        max_age=settings.VISITOR_COOKIE_AGE_S,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _needs_cookie(request: HttpRequest, visitor: str) -> bool:
    signed = request.COOKIES.get(settings.VISITOR_COOKIE_NAME, "")
    try:
        return _signer().unsign(signed, max_age=_RENEW_AFTER_S) != visitor
    except signing.BadSignature:
        return True


def _signer() -> signing.TimestampSigner:
    return signing.TimestampSigner(salt=_SALT)


def _kept(source: Source) -> Any:
    return source.__dict__ if isinstance(source, HttpRequest) else source


def _cookies(source: Source) -> Mapping[str, str]:
    if isinstance(source, HttpRequest):
        return source.COOKIES
    if "cookies" in source:  # Channels' CookieMiddleware has been here
        return dict(source["cookies"])
    cookies: dict[str, str] = {}
    for name, value in source.get("headers", []):
        if name == b"cookie":
            cookies.update(parse_cookie(value.decode("latin-1")))
    return cookies
