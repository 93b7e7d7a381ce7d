"""Durations as Kafka's settings and tools take them: ISO 8601, read exactly as ``java.time.Duration.parse`` reads them."""

from __future__ import annotations

import re

_DURATION = re.compile(
    r"([-+]?)P(?:([-+]?[0-9]+)D)?(T(?:([-+]?[0-9]+)H)?(?:([-+]?[0-9]+)M)?(?:([-+]?[0-9]+)(?:[.,]([0-9]{0,9}))?S)?)?",
    re.IGNORECASE | re.ASCII,
)
_MOST_SECONDS = 2**63 - 1
_MOST_CHARACTERS = 100
"""Java bounds each number by a long; no text as long as this is within that."""


def duration_ms(text: str) -> int | None:
    """``P1DT2H3M4.5S`` → 93,784,500; negative where it says so; None where Java throws a ``DateTimeParseException``."""
    match = _DURATION.fullmatch(text) if len(text) <= _MOST_CHARACTERS else None
    if match is None:
        return None
    sign, days, time, hours, minutes, seconds, fraction = match.groups()
    if (days or hours or minutes or seconds) is None or time in ("T", "t"):
        return None
    whole = int(days or 0) * 86_400 + int(hours or 0) * 3_600 + int(minutes or 0) * 60 + int(seconds or 0)
    if abs(whole) > _MOST_SECONDS:
        return None
    nanoseconds = int((fraction or "0").ljust(9, "0")) * (-1 if (seconds or "").startswith("-") else 1)
    total = whole * 1_000_000_000 + nanoseconds
    return (-total if sign == "-" else total) // 1_000_000
