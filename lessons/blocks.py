"""From a fenced block's YAML to the typed block: one function for each kind, every complaint a Problem at its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from engine import commands as cm
from engine.errors import EngineError
from lessons.bounds import MAX_ITEMS
from lessons.condition import Counted, build, convert, did_you_mean
from lessons.errors import Problem
from lessons.goals import CONDITIONS
from lessons.model import (
    Advance,
    AnyBlock,
    Block,
    Do,
    DoBlock,
    GoalBlock,
    HintBlock,
    HistogramBlock,
    Item,
    Items,
    Option,
    PredictBlock,
    Side,
    SolutionBlock,
    TwinBlock,
    Until,
    WrongBlock,
)

Fields = dict[str, Any]
TEXT_MAPS = ("configs", "set", "broker_configs")
TEXTS = ("key", "value")


def build_block(kind: str, value: Any, line: int) -> AnyBlock:
    """``kind`` is the fence's word. Raises Problem."""
    if not isinstance(value, dict):
        raise Problem((), f"A {kind} block holds named fields.", "Write `field: value`, each on its own line.")
    return BLOCKS[kind]({**value}, line)


# -- the parts ----------------------------------------------------------------------------------------------------------------------


def texts(value: Any) -> Any:
    """Numbers and truth values as text, as a properties file would hold them."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    return {key: texts(item) for key, item in value.items()} if isinstance(value, dict) else value


def _command(value: Fields) -> Do:
    fields = {key: texts(item) if key in (*TEXT_MAPS, *TEXTS) else item for key, item in value.items()}
    kind = fields.get("type")
    if not isinstance(kind, str) or kind not in cm.COMMANDS:
        raise Problem(("type",), f"There is no command {str(kind)[:60]!r}.", did_you_mean(str(kind), cm.COMMANDS))
    try:
        return Do(cm.parse(fields))  # type: ignore[arg-type]
    except EngineError as wrong:
        field = wrong.field.removeprefix("$").strip(".")
        unknown = re.search(r"unknown field `(.*?)`", wrong.message)
        message = wrong.message.partition(" Nothing was changed")[0].removeprefix("$: ")
        if unknown:
            known = cm.COMMANDS[kind].__struct_fields__
            raise Problem((unknown[1],), f"{kind} has no field {unknown[1]!r}.", did_you_mean(unknown[1], known)) from None
        path = tuple(int(part) if part.isdigit() else part for part in re.split(r"[.\[\]]+", field) if part)
        raise Problem(path, f"{kind}: {message}", "Correct this value; engine/commands.py tells what is allowed.") from None


def _until(value: Fields) -> Until:
    wanted = value["until"]
    if set(value) - {"until"}:
        extra = min(set(value) - {"until"})
        raise Problem(
            (extra,),
            f"until stands alone, without {extra!r}.",
            "within_ms goes inside: `until: {leader_is: {…}, within_ms: 9000}`.",
        )
    if not isinstance(wanted, dict):
        raise Problem(("until",), "until takes a condition.", "Write `until: {leader_is: {partition: orders-0, broker: 2}}`.")
    rest = {key: item for key, item in wanted.items() if key != "within_ms"}
    try:
        condition = build(rest)
        limit = convert({"advance_ms": wanted.get("within_ms", 60_000)}, Advance).advance_ms
    except Problem as wrong:
        raise (wrong if wrong.path[:1] != ("advance_ms",) else Problem(("within_ms",), wrong.message, wrong.cure)).under(
            "until"
        ) from None
    if limit < 1:
        raise Problem(("until", "within_ms"), "within_ms is less than 1.", "Give it at least 1.")
    return Until(condition, int(limit))


def build_items(value: Any) -> Items:
    """A list of commands, ``advance_ms`` and ``until``. Raises Problem."""
    if not isinstance(value, list) or not value:
        raise Problem((), "Items are a list of commands and waits.", "Write each on its own line that begins with `- `.")
    if len(value) > MAX_ITEMS:
        raise Problem((), f"There are {len(value)} items; at most {MAX_ITEMS} are accepted.", "Use count, or a workload.")
    items: list[Item] = []
    for place, item in enumerate(value):
        try:
            items.append(_item(item))
        except Problem as wrong:
            raise wrong.under(place) from None
    return tuple(items)


def _item(item: Any) -> Item:
    if isinstance(item, dict) and "type" in item:
        return _command(item)
    if isinstance(item, dict) and "until" in item:
        return _until(item)
    if isinstance(item, dict) and "advance_ms" in item:
        return convert(item, Advance)
    raise Problem(
        (),
        "An item is a command, advance_ms or until.",
        "Write `{type: KillNode, node: broker-1}`, `{advance_ms: 500}` or `{until: {…}}`.",
    )


def _take(fields: Fields, name: str, build_one: Callable[[Any], Any], default: Any = ...) -> Any:
    """Removes a field and builds it; ``default`` where it is absent."""
    if name not in fields:
        if default is ...:
            raise Problem((), f"The field {name!r} is missing.", f"Add `{name}: …`.")
        return default
    try:
        return build_one(fields.pop(name))
    except Problem as wrong:
        raise wrong.under(name) from None


def _counted(value: Any) -> Counted:
    condition = build(value, measured=True)
    if not isinstance(condition, Counted):
        counting = [name for name, kind in CONDITIONS.items() if issubclass(kind, Counted)]
        raise Problem((), "This is either true or not; it has no number.", f"Measure one of {', '.join(sorted(counting))}.")
    return condition


def _list_of(build_one: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def build_list(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Problem((), "Here stands a list.", "Write each entry on its own line that begins with `- `.")
        found = []
        for place, item in enumerate(value):
            try:
                found.append(build_one(item))
            except Problem as wrong:
                raise wrong.under(place) from None
        return tuple(found)

    return build_list


def _side(value: Any) -> Side:
    if not isinstance(value, dict):
        raise Problem((), "A side has a label and items.", "Write `label: acks=1` and `items:` below it.")
    fields = {**value}
    items = _take(fields, "items", build_items)
    return _finish(Side, fields, items=items)  # type: ignore[no-any-return]


def _option(value: Any) -> Option:
    if not isinstance(value, dict):
        raise Problem((), "An option has a text and a condition.", "Write `text: …` and `when: {leader_is: {…}}`.")
    fields = {**value}
    when = _take(fields, "when", build)
    return _finish(Option, fields, when=when)  # type: ignore[no-any-return]


def _finish(kind: Any, fields: Fields, **built: Any) -> Any:
    """Converts the plain fields by the types of ``kind`` and joins them with what is built already."""
    plain = _plain_kind(kind, tuple(sorted(built)))
    made = convert(fields, plain)
    return kind(**{name: getattr(made, name) for name in plain.__struct_fields__}, **built)


_PLAIN_KINDS: dict[tuple[Any, tuple[str, ...]], Any] = {}


def _plain_kind(kind: Any, built: tuple[str, ...]) -> Any:
    """A struct with the fields of ``kind`` that are plain data."""
    found = _PLAIN_KINDS.get((kind, built))
    if found is None:
        fields: list[Any] = []
        for field in msgspec.structs.fields(kind):
            if field.name in built or field.name == "line":
                continue
            required = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
            fields.append((field.name, field.type) if required else (field.name, field.type, field.default))
        found = _PLAIN_KINDS[kind, built] = msgspec.defstruct(
            kind.__name__, fields, forbid_unknown_fields=True, kw_only=True, frozen=True
        )
    return found


def _block(kind: type[Block], fields: Fields, line: int, **built: Any) -> Any:
    return _finish(kind, fields, line=line, **built)


# -- the kinds of block -------------------------------------------------------------------------------------------------------------


def _do(fields: Fields, line: int) -> DoBlock:
    items = _take(fields, "items", build_items)
    return _block(DoBlock, fields, line, items=items)  # type: ignore[no-any-return]


def _solution(fields: Fields, line: int) -> SolutionBlock:
    items = _take(fields, "items", build_items)
    return _block(SolutionBlock, fields, line, items=items)  # type: ignore[no-any-return]


def _wrong(fields: Fields, line: int) -> WrongBlock:
    items = _take(fields, "items", build_items)
    return _block(WrongBlock, fields, line, items=items)  # type: ignore[no-any-return]


def _hint(fields: Fields, line: int) -> HintBlock:
    return _block(HintBlock, fields, line)  # type: ignore[no-any-return]


def _goal(fields: Fields, line: int) -> GoalBlock:
    rest: Fields = {key: fields.pop(key) for key in ("name", "text", "kind") if key in fields}
    if not fields:
        raise Problem(
            (), "The goal says not what must be so.", "Add a condition, such as `leader_is: {partition: orders-0, broker: 2}`."
        )
    if len(fields) > 1:
        unknown = next((key for key in fields if key not in CONDITIONS), None)
        if unknown is not None:
            raise Problem(
                (unknown,),
                f"There is no goal called {unknown[:60]!r}.",
                did_you_mean(unknown, [*CONDITIONS, "name", "text", "kind"]),
            )
        raise Problem((), "The goal has several conditions.", "Put them under all_of, as a list.")
    return _finish(GoalBlock, rest, line=line, condition=build(fields))  # type: ignore[no-any-return]


def _predict(fields: Fields, line: int) -> PredictBlock:
    experiment = _take(fields, "experiment", build_items)
    options = _take(fields, "options", _list_of(_option), ())
    number = fields.get("answer") == "number"
    measure = _take(fields, "measure", _counted if number else build, None)
    made: PredictBlock = _block(PredictBlock, fields, line, experiment=experiment, options=options, measure=measure)
    if made.answer == "choice":
        if len(options) < 2 or measure is not None:
            raise Problem((), "A choice has options, each with its `when`, and no measure.", "Give at least two options.")
        if made.expected is not None and made.expected not in [option.text for option in options]:
            raise Problem(("expected",), "No option has this text.", "Copy the text of one option.")
    elif measure is None or options:
        raise Problem(
            (), f"An answer that is a {made.answer} is measured.", "Add `measure:` with one condition; options belong to a choice."
        )
    wanted = {"number": int, "bool": bool, "choice": str}[made.answer]
    if made.expected is not None and type(made.expected) is not wanted:
        raise Problem(("expected",), f"expected is not a {made.answer}.", "Give what the experiment should show.")
    return made


def _twin(fields: Fields, line: int) -> TwinBlock:
    left, right = _take(fields, "left", _side), _take(fields, "right", _side)
    items = _take(fields, "items", build_items)
    compare = _take(fields, "compare", _list_of(_counted), ())
    return _block(TwinBlock, fields, line, left=left, right=right, items=items, compare=compare)  # type: ignore[no-any-return]


def _histogram(fields: Fields, line: int) -> HistogramBlock:
    sides = _take(fields, "sides", _list_of(_side))
    items = _take(fields, "items", build_items)
    measure = _take(fields, "measure", _counted)
    return _block(HistogramBlock, fields, line, sides=sides, items=items, measure=measure)  # type: ignore[no-any-return]


BLOCKS: dict[str, Callable[[Fields, int], AnyBlock]] = {
    "do": _do,
    "goal": _goal,
    "predict": _predict,
    "hint": _hint,
    "twin": _twin,
    "histogram": _histogram,
    "solution": _solution,
    "wrong": _wrong,
}
