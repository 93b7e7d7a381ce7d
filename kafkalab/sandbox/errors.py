"""Refusals: what the site answers instead of doing. One shape for socket and API, always with the field and a cure."""

from __future__ import annotations

from typing import Any

from engine.errors import ERRORS, EngineError


class Refusal(Exception):
    """Something was not done. ``status`` is HTTP's, ``code`` a stable name, ``field`` what to correct, ``cure`` what to do."""

    def __init__(
        self, message: str, *, status: int = 400, code: str = "INVALID_REQUEST", field: str = "", cure: str = "", wait_s: float = 0
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.field = field
        self.cure = cure
        self.wait_s = wait_s

    def body(self) -> dict[str, Any]:
        """``{code, message, field, cure}``, safe to encode whatever the input held."""
        return {
            "code": self.code,
            "message": _clean(self.message),
            "field": _clean(self.field),
            "cure": _clean(self.cure),
        }


def not_found() -> Refusal:
    """The same words whether the sandbox does not exist or belongs to another: neither tells the other."""
    return Refusal(
        "There is no such sandbox in this browser.",
        status=404,
        code="NOT_FOUND",
        field="sandbox",
        cure="Open one of yours from the home page, or ask its owner for a share link.",
    )


def refusal_of(wrong: EngineError) -> Refusal:
    """The engine's refusal in the site's shape."""
    known = ERRORS.get(wrong.code)
    cure = known.cure if known is not None and wrong.code != "INVALID_REQUEST" else "Correct this field and send it again."
    return Refusal(wrong.message, code=wrong.code, field=wrong.field, cure=cure)


def _clean(text: str) -> str:
    """Text that any encoder takes: lone surrogates become "?", and nobody is sent a megabyte of his own back."""
    return text[:2000].encode("utf-8", "replace").decode()
