"""What a learner can do in a lesson: start it, ask for a hint or the solution, let a block be carried out, take a step back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.db import transaction

from engine.errors import EngineError
from kafkalab.learn import catalogue, experiments, pages
from kafkalab.learn.models import Progress, Run
from kafkalab.learn.runs import RunState, look, run_of
from kafkalab.sandbox import copies
from kafkalab.sandbox import service as sandboxes
from kafkalab.sandbox.errors import Refusal, not_found
from kafkalab.sandbox.inputs import Arrived, Commanded
from kafkalab.sandbox.journal import database
from kafkalab.sandbox.live import Live
from kafkalab.sandbox.models import Sandbox
from lessons import run as play
from lessons.model import Do, DoBlock, HistogramBlock, Item, Lesson, PredictBlock, SolutionBlock, Step, TwinBlock
from lessons.play import is_right


async def start(slug: str, visitor: str, *, replace_oldest: bool = False) -> Sandbox:
    """A new sandbox with the lesson's cluster."""
    lesson = catalogue.lesson(slug)
    row = await sandboxes.create(
        visitor, spec=lesson.spec, seed=lesson.seed, title=lesson.title, lesson=slug, replace_oldest=replace_oldest
    )
    await database(Progress.objects.get_or_create, visitor=visitor, lesson=slug)
    await run_of(await sandboxes.open_lab(row.id, visitor))
    return row


async def latest(slug: str, visitor: str | None) -> Sandbox | None:
    """The visitor's newest sandbox of that lesson."""
    if not visitor:
        return None
    found = Sandbox.objects.filter(owner=visitor, lesson=slug, twin_of=None).order_by("-last_used")
    return await database(found.first)


async def open_run(slug: str, sandbox_id: str, visitor: str) -> tuple[Live, RunState, Run]:
    """The visitor's sandbox of that lesson, and where he stands in it. Raises Refusal (404) for any other."""
    catalogue.lesson(slug)
    live = await sandboxes.open_lab(sandbox_id, visitor)
    run = await run_of(live)
    if live.lesson != slug or run is None:
        raise not_found()
    return live, run, await database(Run.objects.get, sandbox_id=live.id)


def step_of(lesson: Lesson, number: int) -> Step:
    """By its number on the page, from 1. Raises Refusal (404)."""
    if not 1 <= number <= len(lesson.steps):
        raise Refusal("This lesson has no such step.", status=404, code="NOT_FOUND", field="step", cure="See the lesson's page.")
    return lesson.steps[number - 1]


async def hint(run: RunState, row: Run, number: int) -> None:
    """Shows one more hint of that step."""
    step = step_of(run.lesson, number)

    def show(newest: Run) -> None:
        shown = int(newest.hints.get(str(number), 0))
        newest.hints[str(number)] = min(shown + 1, len(step.hints))

    row.hints = (await database(_change, row.pk, show, "hints")).hints


async def show_solution(run: RunState, row: Run, number: int) -> None:
    step_of(run.lesson, number)

    def show(newest: Run) -> None:
        if number not in newest.solutions:
            newest.solutions.append(number)

    row.solutions = (await database(_change, row.pk, show, "solutions")).solutions


def _change(run_id: Any, change: Callable[[Run], None], field: str) -> Run:
    """Changes one field of a run as it stands now: what came at the same moment is not overwritten."""
    with transaction.atomic():
        newest = Run.objects.select_for_update().get(pk=run_id)
        change(newest)
        newest.save(update_fields=[field])
    return newest


async def reset(live: Live, run: RunState, number: int) -> None:
    """Back to the moment at which that step began; what was done since becomes another branch as soon as one acts."""
    step_of(run.lesson, number)
    if number - 1 > run.step or number - 1 >= len(run.begins):
        raise EngineError("step: this step has not begun yet.", field="step")
    await sandboxes.seek(live, max(run.begins[number - 1], live.lab.begin_us))
    run.begin_again(number - 1)
    await look(live, run)


async def goals(live: Live, run: RunState, number: int) -> list[dict[str, Any]]:
    """That step's goals as they stand now."""
    step_of(run.lesson, number)
    await look(live, run)
    return [goal for goal in run.states() if goal["step"] == number]


# -- carrying out a block -------------------------------------------------------------------------------------------------------


async def carry_out(live: Live, run: RunState, number: int, index: int) -> None:
    """Does what the button of a ``do`` block or of a shown solution stands for, in the learner's own lab."""
    blocks = step_of(run.lesson, number).blocks
    block = blocks[index] if 0 <= index < len(blocks) else None
    if not isinstance(block, (DoBlock, SolutionBlock)):
        raise Refusal("There is nothing to carry out here.", status=404, code="NOT_FOUND", field="index", cure="Reload the page.")
    pace = (live.speed, live.playing)
    live.pause("")
    try:
        learner = play.Run(live.lab)
        learner.since_us = run.begun_us
        for item in block.items:
            await _carry_out(live, learner, item)
    finally:
        live.set_pace(*pace)
        live.nudge.set()
        await look(live, run)


async def _carry_out(live: Live, learner: play.Run, item: Item) -> None:
    if isinstance(item, Do):
        await sandboxes.do(live, Commanded(item.command, live.owner))
        return
    try:
        await sandboxes.play(live, play.carry_out(learner, (item,)))
    except play.ItemError as wrong:
        await sandboxes.do(live, Arrived())
        raise EngineError(wrong.message, field="do") from None


# -- what was predicted -----------------------------------------------------------------------------------------------------------


async def predict(run: RunState, row: Run, prediction: str, answer: str, confidence: str) -> PredictBlock:
    """Takes the learner's answer, has the engine compute the right one, keeps both. The first answer of a run stands, and the first of
    all runs is the one that counts for the learner's record. Raises EngineError for what is no answer to the question."""
    index, block = _prediction(run.lesson, prediction)
    if prediction in row.predictions:
        return block
    said = _answer(block, answer)
    sure = int(confidence) if confidence.isascii() and confidence.isdigit() and len(confidence) <= 3 else 50
    result = await experiments.predict(run.lesson, index, block)
    given = {
        "said": said,
        "confidence": min(sure, 100),
        "answer": result.value,
        "right": is_right(block, said, result),
        "text": result.text,
        "evidence": list(result.evidence),
    }
    row.predictions = await database(_keep_prediction, row, run, prediction, given)
    return block


def _prediction(lesson: Lesson, prediction: str) -> tuple[int, PredictBlock]:
    for index, block in lesson.predictions():
        if block.id == prediction:
            return index, block
    raise Refusal("This lesson asks no such question.", status=404, code="NOT_FOUND", field="prediction", cure="Reload the page.")


def _answer(block: PredictBlock, text: str) -> int | bool | str:
    """What a form sends → an answer of the question's kind."""
    text = text.strip()
    if block.answer == "number" and re.fullmatch(r"-?[0-9]{1,12}", text, re.ASCII):
        return int(text)
    if block.answer == "bool" and text in ("true", "false"):
        return text == "true"
    if block.answer == "choice" and re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) and int(text) < len(block.options):
        return block.options[int(text)].text
    wanted = {"number": "a whole number", "bool": "yes or no", "choice": "one of the options"}[block.answer]
    raise EngineError(f"answer: give {wanted}.", field="answer")


def _keep_prediction(row: Run, run: RunState, prediction: str, given: dict[str, Any]) -> dict[str, Any]:
    """The run's predictions with this one among them, unless another answer to it came first."""
    with transaction.atomic():
        newest = Run.objects.select_for_update().get(pk=row.pk)
        newest.predictions.setdefault(prediction, given)
        newest.save(update_fields=["predictions"])
        progress, _ = Progress.objects.select_for_update().get_or_create(visitor=run.visitor, lesson=run.lesson.slug)
        progress.predictions.setdefault(prediction, given)
        progress.save(update_fields=["predictions", "updated"])
    predictions: dict[str, Any] = newest.predictions
    return predictions


# -- experiments ------------------------------------------------------------------------------------------------------------------


async def experiment(run: RunState, number: int, index: int) -> tuple[str, Any]:
    """("twin", its result) or ("histogram", how far it has got). Raises Refusal (404) where the page has none there."""
    blocks = step_of(run.lesson, number).blocks
    block = blocks[index] if 0 <= index < len(blocks) else None
    if isinstance(block, TwinBlock):
        return "twin", await experiments.twin(run.lesson, number - 1, block)
    if isinstance(block, HistogramBlock):
        return "histogram", experiments.many_seeds(run.lesson, block)
    raise Refusal("There is no experiment here.", status=404, code="NOT_FOUND", field="index", cure="Reload the page.")


async def open_twins(run: RunState, number: int, index: int) -> tuple[Sandbox, Sandbox]:
    """Both clusters of a twin as sandboxes of the visitor's own, to look around in."""
    blocks = step_of(run.lesson, number).blocks
    block = blocks[index] if 0 <= index < len(blocks) else None
    if not isinstance(block, TwinBlock):
        raise Refusal("There is no twin here.", status=404, code="NOT_FOUND", field="index", cure="Reload the page.")
    left, right = await experiments.twin_files(run.lesson, number - 1, block)
    one = await copies.import_file(left, run.visitor)
    label = block.right.label
    change = label if label.startswith(block.setting) else f"{block.setting}: {label}"
    other = await copies.import_file(right, run.visitor, twin_of=one.id, twin_change=change)
    return one, other


def lesson_context(live_row: Sandbox, run: RunState, row: Run) -> dict[str, Any]:
    """What ``learn/lesson.html`` shows."""
    lesson = run.lesson
    return {
        "lesson": {"slug": lesson.slug, "title": lesson.title},
        "steps": pages.steps_of(run, row),
        "sandbox": live_row,
        "next_lesson": catalogue.next_lesson(lesson),
        "nav": "curriculum",
    }
