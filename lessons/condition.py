"""What a goal is made of: a typed statement about a lab that is true or not, and says in plain words how things stand.

A condition is written as one entry, ``isr_is: {partition: orders-0, brokers: [1, 3]}``. Those that count something take ``equals``,
``at_least`` or ``at_most``; the same words serve predictions as what to measure.
"""

from __future__ import annotations

import difflib
import re
from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from lessons.bounds import MAX_CONDITION_DEPTH
from lessons.errors import Problem
from lessons.scene import Scene

PartitionName = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9._-]+-[0-9]{1,3}\Z")]
Scope = Annotated[str, msgspec.Meta(pattern=r"^(step|lesson)\Z")]
"""Whether to count since the step began or since the lesson did."""
Count = Annotated[int, msgspec.Meta(ge=-1, le=2**53)]


class Finding(NamedTuple):
    """``text`` says what is so now, in a sentence without its full stop."""

    ok: bool
    text: str


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A statement about a lab."""

    @abstractmethod
    def look(self, scene: Scene) -> Finding: ...

    @classmethod
    def make(cls, value: Any, depth: int) -> Condition:
        """From what the file says. Raises Problem."""
        fields = {} if value is None else value
        if not isinstance(fields, dict):
            raise Problem((), "A condition takes named fields.", f"Write `{{field: value}}`; the fields here are {fields_of(cls)}.")
        condition = convert(cls.prepare(fields), cls)
        condition.check()
        return condition

    @classmethod
    def prepare(cls, value: dict[str, Any]) -> dict[str, Any]:
        """From what the file says to the fields; here one and the same. Raises Problem."""
        return value

    def check(self) -> None:
        """What types cannot say. Raises Problem."""

    @property
    def exact(self) -> bool:
        """True for a statement about single events, which a wait must look at one by one."""
        return False


class Counted(Condition, frozen=True, kw_only=True):
    """A statement about a number; None where there is nothing to count yet."""

    equals: Count | None = None
    at_least: Count | None = None
    at_most: Count | None = None

    @abstractmethod
    def count(self, scene: Scene) -> int | None: ...

    @abstractmethod
    def say(self, number: int | None) -> str: ...

    @property
    def bounded(self) -> bool:
        return (self.equals, self.at_least, self.at_most) != (None, None, None)

    def within(self, number: int | None) -> bool:
        if number is None:
            return False
        return (
            (self.equals is None or number == self.equals)
            and (self.at_least is None or number >= self.at_least)
            and (self.at_most is None or number <= self.at_most)
        )

    def look(self, scene: Scene) -> Finding:
        number = self.count(scene)
        return Finding(self.within(number), self.say(number))


CONDITIONS: dict[str, type[Condition]] = {}
C = TypeVar("C", bound=type[Condition])


def named(name: str) -> Callable[[C], C]:
    """Puts a condition into the vocabulary."""

    def enter(kind: C) -> C:
        CONDITIONS[name] = kind
        return kind

    return enter


def build(value: Any, *, measured: bool = False, depth: int = 0) -> Condition:
    """``{name: {field: value}}`` → a condition. ``measured``: what is counted matters, so no bound is asked for. Raises Problem."""
    if not isinstance(value, dict) or len(value) != 1:
        raise Problem(
            (), "A condition is one entry, its name and its fields.", "Write it like `leader_is: {partition: orders-0, broker: 2}`."
        )
    if depth > MAX_CONDITION_DEPTH:
        raise Problem((), f"Conditions are nested deeper than {MAX_CONDITION_DEPTH} levels.", "Split it into several goals.")
    ((name, fields),) = value.items()
    kind = CONDITIONS.get(name)
    if kind is None:
        raise Problem((name,), f"There is no goal called {name[:60]!r}.", did_you_mean(name, CONDITIONS))
    try:
        condition = kind.make(fields, depth)
        if isinstance(condition, Counted) and not measured and not condition.bounded:
            raise Problem((), f"{name} counts something but says not how much.", "Add equals, at_least or at_most.")
    except Problem as wrong:
        raise wrong.under(name) from None
    return condition


T = TypeVar("T")


def convert(value: Any, kind: type[T]) -> T:
    """msgspec's conversion with its complaint as a Problem at the right place."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as wrong:
        raise _problem(str(wrong), kind) from None
    except RecursionError:
        raise Problem((), "The data is nested too deeply.", "Write it flatter.") from None


_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`")
_MISSING = re.compile(r"Object missing required field `(.*?)`")
_PATH_PART = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+)\]|\[\.\.\.\]")


def _problem(reason: str, kind: Any) -> Problem:
    what, _, where = reason.partition(" - at `")
    path: list[Any] = []
    for name, place in _PATH_PART.findall(where):
        if name:
            path.append(name)
        elif place:
            path.append(int(place))
    unknown, missing = _UNKNOWN.search(what), _MISSING.search(what)
    if unknown:
        known = _known_fields(kind) if not path else ()
        cure = did_you_mean(unknown[1], known) if known else "Remove it, or correct its spelling."
        return Problem((*path, unknown[1]), f"There is no field {unknown[1]!r} here.", cure)
    if missing:
        return Problem(tuple(path), f"The field {missing[1]!r} is missing.", f"Add `{missing[1]}: …`.")
    field = f"{path[-1]}: " if path else ""
    return Problem(tuple(path), f"{field}{what[0].lower()}{what[1:]}.", "Correct this value.")


def _known_fields(kind: Any) -> tuple[str, ...]:
    return tuple(getattr(kind, "__struct_encode_fields__", ()))


def fields_of(kind: Any) -> str:
    return ", ".join(_known_fields(kind)) or "none"


def did_you_mean(word: str, known: Any) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(word, names, 1)
    return f"Did you mean {close[0]}?" if close else f"Known are {', '.join(names)}."


# -- words for findings ------------------------------------------------------------------------------------------------------------


def brokers_text(ids: list[int] | tuple[int, ...]) -> str:
    return ", ".join(map(str, ids)) or "empty"


def many(number: int | None, one: str, more: str = "") -> str:
    """ "1 record", "3 records", "no records"."""
    plural = more or f"{one}s"
    return f"no {plural}" if not number else f"{number:,} {one if number == 1 else plural}"


def no_partition(name: str) -> str:
    return f"there is no partition {name} yet"
