"""YAML that remembers on which line each value stands, and reads only plain data.

Scalars follow YAML 1.2's core schema (``no`` and ``on`` are words, not booleans). Anchors, aliases and tags are refused: a lesson
needs none, and aliases let a small file grow without bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from lessons.bounds import MAX_BLOCK_BYTES, MAX_YAML_DEPTH
from lessons.errors import Problem

Path = tuple[Any, ...]

_INT = re.compile(r"[-+]?[0-9]{1,18}\Z")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]{1,3})?\Z")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}


class Lined(NamedTuple):
    """``lines``: path inside the value → line, counted from 1 within the text (plus the offset given)."""

    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """The line of ``path``, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class LinedProblem(Exception):
    """Text that is no readable YAML."""

    def __init__(self, line: int, message: str, cure: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.cure = cure


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Only its parser is used; values are built here."""


def read(text: str, first_line: int) -> Lined:
    """``first_line`` is the file's line on which ``text`` begins. Raises LinedProblem."""
    if len(text.encode("utf-8", "replace")) > MAX_BLOCK_BYTES:
        raise LinedProblem(first_line, f"The block is longer than {MAX_BLOCK_BYTES} bytes.", "Split it into several blocks.")
    builder = _Builder(yaml.parse(text, Loader=_LOADER), first_line)
    try:
        value = builder.document()
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        line = first_line + (mark.line if mark is not None else 0)
        last = first_line + text.count("\n")
        raise LinedProblem(
            min(line, last), f"This is not YAML: {wrong.problem or wrong.context}.", _yaml_cure(str(wrong.problem))
        ) from None
    except yaml.YAMLError as wrong:
        raise LinedProblem(first_line, f"This is not YAML: {str(wrong).splitlines()[0]}.", "Remove the odd character.") from None
    except Problem as wrong:
        raise LinedProblem(builder.line, wrong.message, wrong.cure) from None
    return Lined(value, builder.lines)


class _Builder:
    """Builds the value from the parser's events. ``line`` is that of the newest event."""

    def __init__(self, events: Iterator[Any], first_line: int) -> None:
        self.events = events
        self.first_line = first_line
        self.line = first_line
        self.lines: dict[Path, int] = {(): first_line}

    def next(self) -> Any:
        event = next(self.events)
        self.line = self.first_line + (event.start_mark.line if event.start_mark is not None else 0)
        return event

    def document(self) -> Any:
        """None for an empty text."""
        value, documents = None, 0
        while not isinstance(event := self.next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise Problem((), "There are two documents in one block.", "Remove the line `---`.")
            elif not isinstance(event, (yaml.StreamStartEvent, yaml.DocumentEndEvent)):
                value = self.value(event, ())
        return value

    def value(self, event: Any, path: Path) -> Any:
        self.lines.setdefault(path, self.line)
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise Problem(
                path,
                "YAML's anchors (&) and aliases (*) are not used in lessons.",
                "Write the value out; a text that begins so needs quotes.",
            )
        if event.tag is not None and event.tag != "!":
            raise Problem(path, f"The tag {event.tag} is not used in lessons.", "Remove the tag.")
        if len(path) > MAX_YAML_DEPTH:
            raise Problem(path, f"The data is nested deeper than {MAX_YAML_DEPTH} levels.", "Write it flatter.")
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        return self.sequence(path) if isinstance(event, yaml.SequenceStartEvent) else self.mapping(path)

    def sequence(self, path: Path) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := self.next(), yaml.SequenceEndEvent):
            found.append(self.value(event, (*path, len(found))))
        return found

    def mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise Problem(path, "A name must be a plain word.", "Write `name: value`; put braces around a nested mapping.")
            key = str(event.value)
            if key in found:
                raise Problem((*path, key), f"The field {key!r} stands here twice.", "Keep one of them.")
            self.lines[*path, key] = self.line
            found[key] = self.value(self.next(), (*path, key))
        return found


def _scalar(event: Any) -> Any:
    text = str(event.value)
    if event.style or event.tag == "!":
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text)
    return float(text) if _FLOAT.match(text) else text


def _yaml_cure(problem: str) -> str:
    if "mapping values" in problem:
        return "A text that holds ': ' needs quotes around it, or a block that begins with |."
    if "tab" in problem or "'\\t'" in problem:
        return "Indent with spaces, not tabs."
    return "Check brackets, quotes and indentation on this line and the one before."
