"""What is wrong with a lesson file: where, what, and what to do about it."""

from __future__ import annotations

from typing import Any

import msgspec


class LessonError(msgspec.Struct, frozen=True, order=True):
    """Prints as ``file:line: message. Cure``. Lines count from 1."""

    file: str
    line: int
    message: str
    cure: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message} → {self.cure}"


class Problem(Exception):
    """Something wrong at ``path`` inside a block of data; whoever knows the block's lines makes a LessonError of it."""

    def __init__(self, path: tuple[Any, ...], message: str, cure: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message
        self.cure = cure

    def under(self, *path: Any) -> Problem:
        """The same problem, seen from further out."""
        return Problem((*path, *self.path), self.message, self.cure)


class PlayError(Exception):
    """A lesson that reads well but does not play: ``line`` is the block at fault."""

    def __init__(self, line: int, message: str, cure: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.cure = cure
