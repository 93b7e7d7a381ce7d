"""Refusals: what the site answers instead of doing. One shape for socket and API, always with the field and a cure."""

from __future__ import annotations

import json
import re
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

    def words(self) -> str:
        """What happened and what to do, for a person. Many of Kafka's own messages have no full stop."""
        stop = "" if self.message.endswith((".", "!", "?", ":")) or not self.cure else "."
        return _clean(f"{self.message}{stop} {self.cure}".strip())

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


def with_surrogates(content: bytes | str) -> Any:
    """JSON whose texts may hold lone surrogates, which msgspec refuses without saying where; None where there is another fault.
    Only for telling the sender which field it was."""
    text = content if isinstance(content, str) else content.decode("utf-8", "replace")
    if "\\ud" not in text.lower():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


_IN_WORDS = re.compile(r"(?:missing required|unknown) field `([A-Za-z_][A-Za-z0-9_]{0,39})`")


def decoding_refusal(wrong: Exception, whole: str, advice: str) -> EngineError:
    """What a decoder says against some JSON, naming the field as a person would; ``whole`` is what the JSON itself is called."""
    what, _, path = str(wrong).partition(" - at `")
    inner = path.rstrip("`").removeprefix("$").removeprefix(".")
    named = _IN_WORDS.search(what)
    field = ".".join(part for part in (inner, named[1] if named else "") if part) or whole
    return EngineError(f"{field}: {what}. {advice}", field=field)


def _clean(text: str) -> str:
    """Text that any encoder takes: lone surrogates become "?", and nobody is sent a megabyte of his own back."""
    return text[:2000].encode("utf-8", "replace").decode()
