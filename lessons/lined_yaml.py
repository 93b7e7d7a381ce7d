"""YAML that remembers on which line each value stands, and reads only plain data.

Scalars follow YAML 1.2's core schema (``no`` and ``on`` are words, not booleans). Anchors, aliases and tags are refused: a lesson
needs none, and aliases let a small file grow without bound.
"""

from __future__ import annotations

import re
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


class _Loader(yaml.SafeLoader):
    """Resolves nothing by itself; scalars are read by ``_scalar``."""

    yaml_implicit_resolvers: dict[Any, Any] = {}


def read(text: str, first_line: int) -> Lined:
    """``first_line`` is the file's line on which ``text`` begins. Raises LinedProblem."""
    if len(text.encode("utf-8", "replace")) > MAX_BLOCK_BYTES:
        raise LinedProblem(first_line, f"The block is longer than {MAX_BLOCK_BYTES} bytes.", "Split it into several blocks.")
    try:
        _refuse_references(text, first_line)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        line = first_line + (mark.line if mark is not None else 0)
        raise LinedProblem(line, f"This is not YAML: {wrong.problem or wrong.context}.", _yaml_cure(str(wrong.problem))) from None
    except yaml.YAMLError as wrong:
        raise LinedProblem(first_line, f"This is not YAML: {str(wrong).splitlines()[0]}.", "Remove the odd character.") from None
    except (RecursionError, ValueError):
        raise LinedProblem(first_line, "This is not YAML that can be read: it is nested too deeply.", "Write it flatter.") from None
    lines: dict[Path, int] = {(): first_line}
    try:
        value = None if node is None else _build(node, (), lines, first_line)
    except Problem as wrong:
        raise LinedProblem(lines.get(wrong.path, first_line), wrong.message, wrong.cure) from None
    return Lined(value, lines)


def _refuse_references(text: str, first_line: int) -> None:
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            mark = event.start_mark
            raise LinedProblem(
                first_line + (mark.line if mark is not None else 0),
                "YAML's anchors (&) and aliases (*) are not used in lessons.",
                "Write the value out; a text that begins with & or * needs quotes.",
            )


def _build(node: yaml.Node, path: Path, lines: dict[Path, int], first_line: int) -> Any:
    lines[path] = first_line + node.start_mark.line
    if len(path) > MAX_YAML_DEPTH:
        raise Problem(path, f"The data is nested deeper than {MAX_YAML_DEPTH} levels.", "Write it flatter.")
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, path)
    if node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
        raise Problem(path, f"The tag {node.tag} is not used in lessons.", "Remove the tag.")
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, place), lines, first_line) for place, item in enumerate(node.value)]
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        lines[path] = min(lines[path], first_line + key_node.start_mark.line)
        if not isinstance(key_node, yaml.ScalarNode):
            raise Problem(path, "A name must be a plain word.", "Write `name: value`; put braces around a nested mapping.")
        key = str(key_node.value)
        if key in found:
            lines[(*path, key)] = first_line + key_node.start_mark.line
            raise Problem((*path, key), f"The field {key!r} stands here twice.", "Keep one of them.")
        found[key] = _build(value_node, (*path, key), lines, first_line)
        lines[(*path, key)] = first_line + key_node.start_mark.line
    return found


def _scalar(node: yaml.ScalarNode, path: Path) -> Any:
    text = str(node.value)
    if node.tag not in ("tag:yaml.org,2002:str", "!"):
        raise Problem(path, f"The tag {node.tag} is not used in lessons.", "Remove the tag.")
    if node.style is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    return text


def _yaml_cure(problem: str) -> str:
    if "mapping values" in problem:
        return "A text that holds ': ' needs quotes around it, or a block that begins with |."
    if "tab" in problem or "'\\t'" in problem:
        return "Indent with spaces, not tabs."
    return "Check brackets, quotes and indentation on this line and the one before."
