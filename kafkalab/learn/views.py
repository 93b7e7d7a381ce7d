"""Home, the curriculum and the pages of a lesson. Each parses, calls one service, renders; small answers are parts of the page."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from kafkalab.accounts.service import known_visitor_id, visitor_id
from kafkalab.learn import catalogue, pages, service
from kafkalab.sandbox import service as sandboxes
from kafkalab.sandbox.views import check_address, lab_config, refusals

arender = sync_to_async(render)
GET = ["GET", "HEAD"]


@require_http_methods(GET)
async def home(request: HttpRequest) -> HttpResponseBase:
    """The curriculum's map with progress, and one click to a lab."""
    visitor = known_visitor_id(request)
    rows = await sandboxes.mine(visitor) if visitor else []
    context = {
        "tracks": await sync_to_async(catalogue.tracks)(visitor),
        "current_sandbox": rows[0] if rows else None,
        "sandboxes": rows,
        "full": request.GET.get("full") == "1",
    }
    return await arender(request, "learn/home.html", context)


@require_http_methods(GET)
async def curriculum(request: HttpRequest) -> HttpResponseBase:
    tracks = await sync_to_async(catalogue.tracks)(known_visitor_id(request))
    return await arender(request, "learn/curriculum.html", {"tracks": tracks, "nav": "curriculum"})


@require_http_methods(GET)
@refusals
async def intro(request: HttpRequest, slug: str) -> HttpResponseBase:
    lesson = catalogue.lesson(slug)
    context = {
        "lesson": pages.intro_of(lesson),
        "prerequisites": catalogue.prerequisites(lesson),
        "current_sandbox": await service.latest(slug, known_visitor_id(request)),
        "nav": "curriculum",
    }
    return await arender(request, "learn/lesson_intro.html", context)


@require_POST
@refusals
async def start(request: HttpRequest, slug: str) -> HttpResponseBase:
    check_address(request)
    made = await service.start(slug, visitor_id(request), replace_oldest=request.POST.get("replace_oldest") == "1")
    return redirect("learn:lesson", slug, made.id)


@require_http_methods(GET)
@refusals
async def lesson_page(request: HttpRequest, slug: str, sandbox_id: str) -> HttpResponseBase:
    visitor = visitor_id(request)
    _, run, row = await service.open_run(slug, sandbox_id, visitor)
    sandbox = await sandboxes.row_of(sandbox_id, visitor)
    told = {"number": run.lesson.number, "done": run.done, "lab_config": lab_config(sandbox)}
    return await arender(request, "learn/lesson.html", {**service.lesson_context(sandbox, run, row), **told})


async def _part(request: HttpRequest, template: str, slug: str, sandbox_id: str, context: dict[str, Any]) -> HttpResponseBase:
    """A part of the lesson's page for htmx; without htmx the whole page again."""
    if not request.headers.get("HX-Request"):
        return redirect("learn:lesson", slug, sandbox_id)
    lesson = catalogue.lesson(slug)
    base = {"lesson": {"slug": slug, "title": lesson.title}, "sandbox": {"id": sandbox_id}}
    return await arender(request, template, {**base, **context})


@require_POST
@refusals
async def hint(request: HttpRequest, slug: str, sandbox_id: str, step: int) -> HttpResponseBase:
    _, run, row = await service.open_run(slug, sandbox_id, visitor_id(request))
    await service.hint(run, row, step)
    return await _part(request, "learn/_hint.html", slug, sandbox_id, {"step": pages.step_of(run, row, step)})


@require_POST
@refusals
async def solution(request: HttpRequest, slug: str, sandbox_id: str, step: int) -> HttpResponseBase:
    _, run, row = await service.open_run(slug, sandbox_id, visitor_id(request))
    await service.show_solution(run, row, step)
    return await _part(request, "learn/_solution.html", slug, sandbox_id, {"step": pages.step_of(run, row, step)})


@require_http_methods(GET)
@refusals
async def goals(request: HttpRequest, slug: str, sandbox_id: str, step: int) -> HttpResponseBase:
    live, run, _ = await service.open_run(slug, sandbox_id, visitor_id(request))
    states = await service.goals(live, run, step)
    return await _part(request, "learn/_goals.html", slug, sandbox_id, {"goals": states})


@require_POST
@refusals
async def reset(request: HttpRequest, slug: str, sandbox_id: str, step: int) -> HttpResponseBase:
    live, run, _ = await service.open_run(slug, sandbox_id, visitor_id(request))
    await service.reset(live, run, step)
    return redirect(f"{reverse('learn:lesson', args=(slug, sandbox_id))}#step-{step}")


@require_POST
@refusals
async def do(request: HttpRequest, slug: str, sandbox_id: str, step: int, index: int) -> HttpResponseBase:
    """What the socket shows anyway needs no answer of its own."""
    live, run, _ = await service.open_run(slug, sandbox_id, visitor_id(request))
    await service.carry_out(live, run, step, index)
    return HttpResponse(status=204) if request.headers.get("HX-Request") else redirect("learn:lesson", slug, sandbox_id)


@require_POST
@refusals
async def predict(request: HttpRequest, slug: str, sandbox_id: str, prediction: str) -> HttpResponseBase:
    """What the learner says; the answer shows what the engine says."""
    _, run, row = await service.open_run(slug, sandbox_id, visitor_id(request))
    answer, confidence = request.POST.get("answer", ""), request.POST.get("confidence", "")
    block = await service.predict(run, row, prediction, answer, confidence)
    context = {"prediction": pages.prediction_of(block, row.predictions[prediction])}
    return await _part(request, "learn/_prediction.html", slug, sandbox_id, context)


@require_http_methods([*GET, "POST"])
@refusals
async def experiment(request: HttpRequest, slug: str, sandbox_id: str, step: int, index: int) -> HttpResponseBase:
    """POST runs a twin or begins a histogram; GET looks how far a histogram has got."""
    _, run, _ = await service.open_run(slug, sandbox_id, visitor_id(request))
    kind, found = await service.experiment(run, step, index)
    told = pages.twin_of(found) if kind == "twin" else found.told()
    context = {"result": told, "step": {"number": step}, "index": index}
    return await _part(request, f"learn/_{kind}.html", slug, sandbox_id, context)


@require_POST
@refusals
async def twins(request: HttpRequest, slug: str, sandbox_id: str, step: int, index: int) -> HttpResponseBase:
    """Both clusters of a twin, to look around in."""
    _, run, _ = await service.open_run(slug, sandbox_id, visitor_id(request))
    left, right = await service.open_twins(run, step, index)
    return redirect("sandbox:twin", left.id, right.id)
