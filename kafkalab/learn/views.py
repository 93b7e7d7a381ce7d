"""Home, the curriculum and the pages of a lesson. Each parses, calls one service, renders; small answers are parts of the page."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from kafkalab.accounts.service import known_visitor_id
from kafkalab.sandbox import service as sandboxes

arender = sync_to_async(render)
GET = ["GET", "HEAD"]


@require_http_methods(GET)
async def home(request: HttpRequest) -> HttpResponseBase:
    """The curriculum's map with progress, and one click to a lab."""
    visitor = known_visitor_id(request)
    rows = await sandboxes.mine(visitor) if visitor else []
    context = {
        "tracks": [],
        "current_sandbox": rows[0] if rows else None,
        "sandboxes": rows,
        "full": request.GET.get("full") == "1",
    }
    return await arender(request, "learn/home.html", context)


@require_http_methods(GET)
async def curriculum(request: HttpRequest) -> HttpResponseBase:
    return await arender(request, "learn/curriculum.html", {"tracks": [], "nav": "curriculum"})
