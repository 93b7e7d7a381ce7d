"""The few files of a console: Kafka's tools read JSON from files, and a lab has no disk for them.

A path may be a file that was written here (``echo '{…}' > moves.json``), ``/dev/stdin`` with the text behind ``<<<`` (both are what bash
does), or, in this console only, the JSON itself in quotes. They live as long as the window.
"""

from __future__ import annotations

import json
from typing import Any

from engine import limits
from engine.console.options import UsageError

STDIN = "/dev/stdin"


class Files:
    """By path. ``read`` raises UsageError where there is none, as Java would say it."""

    def __init__(self) -> None:
        self.contents: dict[str, str] = {}

    def write(self, path: str, text: str) -> None:
        """Raises UsageError where there are too many."""
        if path not in self.contents and len(self.contents) >= limits.MAX_CONSOLE_FILES:
            raise UsageError(f"{path[:80]}: this console keeps at most {limits.MAX_CONSOLE_FILES} files; remove one with rm")
        self.contents[path] = text

    def read(self, path: str) -> str:
        if path.lstrip().startswith("{"):
            return path
        found = self.contents.get(path)
        if found is None:
            raise UsageError(path[:120], f"java.nio.file.NoSuchFileException: {path[:120]}")
        return found

    def run(self, words: list[str]) -> tuple[list[str], int] | None:
        """``echo TEXT > FILE``, ``cat``, ``ls`` and ``rm``: (lines, exit status), or None for any other line."""
        match words:
            case ["echo", *text, ">", path] if path != ">":
                self.write(path, " ".join(text) + "\n")
                return [], 0
            case ["ls"]:
                return sorted(self.contents), 0
            case ["cat", path]:
                if path not in self.contents:
                    return [f"cat: {path[:80]}: No such file or directory"], 1
                return self.contents[path].rstrip("\n").split("\n"), 0
            case ["rm", path]:
                if self.contents.pop(path, None) is None:
                    return [f"rm: cannot remove '{path[:80]}': No such file or directory"], 1
                return [], 0
        return None


def read_json(text: str) -> dict[str, Any] | None:
    """The object that the text spells, None where it spells none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
