"""A lesson as its templates show it: blocks in the order of the file, with what this run has met, seen and answered."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from django.utils.safestring import SafeString

from engine.view.phrases import command_text
from kafkalab.learn.models import Run
from kafkalab.learn.runs import RunState
from lessons.model import (
    Advance,
    AnyBlock,
    Do,
    DoBlock,
    GoalBlock,
    HistogramBlock,
    Items,
    Lesson,
    PredictBlock,
    Step,
    TextBlock,
    TwinBlock,
)
from lessons.play import TwinResult
from lessons.render import render, render_line

SURENESS = (
    ("a guess", "It was a guess."),
    ("leaning", "You were leaning that way."),
    ("fairly sure", "You were fairly sure."),
    ("sure", "You were sure."),
    ("certain", "You were certain."),
)
"""How sure a learner can be, from 0 to 100 % in equal steps: beside the slider, and afterwards."""


def steps_of(run: RunState, row: Run) -> list[dict[str, Any]]:
    """The context of ``learn/_step.html`` for each step."""
    states = {goal["name"]: goal for goal in run.states()}
    return [step_of(run, row, number, states) for number in range(1, len(run.lesson.steps) + 1)]


def step_of(run: RunState, row: Run, number: int, states: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    step = run.lesson.steps[number - 1]
    states = states if states is not None else {goal["name"]: goal for goal in run.states()}
    shown = int(row.hints.get(str(number), 0))
    hints = [safe_line(hint.text) for hint in step.hints]
    return {
        "number": number,
        "title": step.title,
        "done": number <= run.step,
        "begun": number <= len(run.begins),
        "to_do": any(isinstance(block, (DoBlock, GoalBlock)) for block in step.blocks),
        "blocks": _blocks(step, row, states),
        "hints": hints[:shown],
        "hints_left": len(hints) - shown,
        **_solution(step, number in row.solutions),
    }


def _blocks(step: Step, row: Run, states: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Goals that stand together become one block."""
    shown: list[dict[str, Any]] = []
    for index, block in enumerate(step.blocks):
        if isinstance(block, GoalBlock):
            if not shown or shown[-1]["kind"] != "goals":
                shown.append({"kind": "goals", "goals": []})
            shown[-1]["goals"].append({**states[block.name], "text": safe_line(block.text)})
        elif (told := _block(block, index, row)) is not None:
            shown.append(told)
    return shown


def _block(block: AnyBlock, index: int, row: Run) -> dict[str, Any] | None:
    if isinstance(block, TextBlock):
        return {"kind": "text", "html": safe(block.markdown)}
    if isinstance(block, DoBlock):
        return {"kind": "do", "label": block.label, **_way(block.items, index)}
    if isinstance(block, PredictBlock):
        return {**prediction_of(block, row.predictions.get(block.id)), "kind": "predict"}
    if isinstance(block, (TwinBlock, HistogramBlock)):
        return {"kind": block.KIND, "label": block.label, "text": safe(block.text), "index": index}
    return None


def _way(items: Items, index: int) -> dict[str, Any]:
    """Commands alone are sent by the page itself; what waits in between is carried out by the server."""
    if all(isinstance(item, Do) for item in items):
        commands = [msgspec.to_builtins(item.command) for item in items if isinstance(item, Do)]
        return {"json": json.dumps(commands)}
    return {"index": index}


def _solution(step: Step, shown: bool) -> dict[str, Any]:
    for index, block in enumerate(step.blocks):
        if block is step.solution and step.solution is not None:
            action = {"label": "Do it for me", **_way(step.solution.items, index)}
            told = _told(step.solution.items) if shown else []
            return {"has_solution": True, "solution": [action] if shown else [], "solution_told": told}
    return {"has_solution": False, "solution": [], "solution_told": []}


def _told(items: Items) -> list[str]:
    """A solution in words, one line for what is given and one for each wait."""
    lines: list[str] = []
    for item in items:
        if isinstance(item, Do):
            line = command_text(item.command)
        elif isinstance(item, Advance):
            line = f"wait {item.advance_ms / 1000:g} s"
        else:
            line = "wait until this has taken effect"
        lines.append(line[:1].upper() + line[1:])
    return lines


def prediction_of(block: PredictBlock, given: dict[str, Any] | None) -> dict[str, Any]:
    """The context of ``learn/_prediction.html``; ``given`` is what was said and computed, None before."""
    options: list[dict[str, Any]] = []
    if block.answer == "choice":
        options = [{"value": str(place), "label": safe_line(option.text)} for place, option in enumerate(block.options)]
    elif block.answer == "bool":
        options = [{"value": "true", "label": "Yes"}, {"value": "false", "label": "No"}]
    told: dict[str, Any] = {
        "id": block.id,
        "question": safe_line(block.question),
        "options": options,
        "kind": block.answer,
        "answer_kind": block.answer,
        "unit": block.unit,
        "sureness": "|".join(word for word, _ in SURENESS),
        "answered": given is not None,
    }
    if given is not None:
        told |= given
        told["said"] = words(block, given["said"])
        told["answer"] = words(block, given["answer"])
        told["sure"] = SURENESS[round(given["confidence"] / 100 * (len(SURENESS) - 1))][1]
        told["happened"] = [dict(zip(("at", "words"), line.split(" ", 1), strict=False)) for line in given["evidence"]]
        told["explanation"] = safe_line(block.explanation)
    return told


def words(block: PredictBlock, value: Any) -> str:
    """An answer as a person reads it; that of a choice is the text of the option."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int):
        return safe_line(str(value))
    return f"{value} {block.unit.removesuffix('s') if value == 1 else block.unit}".strip()


def intro_of(lesson: Lesson) -> dict[str, Any]:
    """The context ``lesson`` of ``learn/lesson_intro.html``."""
    return {
        "slug": lesson.slug,
        "title": lesson.title,
        "number": lesson.number,
        "minutes": lesson.minutes,
        "level": lesson.level,
        "summary": lesson.summary,
        "intro_html": safe(lesson.intro) if lesson.intro else "",
        "steps": [{"title": step.title} for step in lesson.steps],
    }


def safe(markdown: str) -> str:
    """``lessons.render`` lets nothing through but plain markup."""
    return SafeString(render(markdown))


def safe_line(text: str) -> str:
    return SafeString(render_line(text))


def twin_of(result: TwinResult) -> dict[str, Any]:
    """The context of ``learn/_twin.html``: ``{setting, labels, fates: [{name, left, right, differs}], measured: [{left, right, differs}],
    evidence: [left lines, right lines]}``; fates that neither met are left out."""
    left, right = result.left, result.right
    return {
        "setting": result.setting,
        "labels": [left.label, right.label],
        "fates": [
            {"name": fate, "left": count, "right": right.ledger[fate], "differs": count != right.ledger[fate]}
            for fate, count in left.ledger.items()
            if count or right.ledger[fate]
        ],
        "measured": [
            {"left": one.text, "right": other.text, "differs": one.value != other.value}
            for one, other in zip(left.measured, right.measured, strict=True)
        ],
        "evidence": [left.evidence, right.evidence],
    }
