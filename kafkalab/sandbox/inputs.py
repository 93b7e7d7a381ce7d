"""What the journal holds: everything that was done to a lab, as data, and the one function that does it again.

The server applies an input when it arrives and a restore applies it from the journal; both go through ``apply``, so that the same
journal gives the same lab. Before each input everything due by its moment is done (``settle``), however finely time was sliced.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import msgspec

from engine import limits
from engine.commands import AnyCommand
from engine.lab import Lab
from engine.spec import ClusterSpec
from kafkalab.sandbox import bounds


class Input(msgspec.Struct, frozen=True, tag_field="kind"):
    """Something that was done at a moment."""


class Commanded(Input, frozen=True, tag="command"):
    """``by``: the visitor who gave it."""

    command: AnyCommand
    by: str = ""


class Arrived(Input, frozen=True, tag="advance"):
    """Nothing but time passed; it was shown to somebody, so it counts."""


class Stepped(Input, frozen=True, tag="step"):
    """To the next event."""


class Sought(Input, frozen=True, tag="seek"):
    """The playhead moved to ``at_us``."""

    at_us: int


class Switched(Input, frozen=True, tag="branch"):
    branch: int


class BreakpointAdded(Input, frozen=True, tag="breakpoint-add"):
    event: str
    topic: str = ""
    partition: int = -1
    node: str = ""


class BreakpointRemoved(Input, frozen=True, tag="breakpoint-remove"):
    id: int


AnyInput = Commanded | Arrived | Stepped | Sought | Switched | BreakpointAdded | BreakpointRemoved
_DECODER: msgspec.json.Decoder[AnyInput] = msgspec.json.Decoder(AnyInput)
_SPEC_DECODER = msgspec.json.Decoder(ClusterSpec)


class Entry(msgspec.Struct, frozen=True):
    """One row of the journal."""

    seq: int
    at_us: int
    given: AnyInput


def is_passed_over(entry: Entry, following: Entry | None) -> bool:
    """A move of the playhead from where the next one left at once: only the last of a row counts, so a restore makes only that."""
    return (
        following is not None
        and isinstance(entry.given, Sought)
        and isinstance(following.given, Sought)
        and following.at_us == entry.given.at_us
    )


def encode(given: Input) -> bytes:
    return msgspec.json.encode(given)


def decode(body: bytes) -> AnyInput:
    return _DECODER.decode(body)


def encode_spec(spec: ClusterSpec) -> bytes:
    return msgspec.json.encode(spec)


def decode_spec(body: bytes) -> ClusterSpec:
    return _SPEC_DECODER.decode(body)


def apply(lab: Lab, given: Input) -> int:
    """Does it; returns the number of the event that it caused (0 for none). Raises EngineError, having changed nothing."""
    if isinstance(given, Commanded):
        return lab.submit(given.command)
    if isinstance(given, Stepped):
        lab.step()
    elif isinstance(given, Sought):
        lab.seek(given.at_us)
    elif isinstance(given, Switched):
        lab.switch(given.branch)
    elif isinstance(given, BreakpointAdded):
        lab.add_breakpoint(given.event, given.topic, given.partition, given.node)
    elif isinstance(given, BreakpointRemoved):
        lab.remove_breakpoint(given.id)
    return 0


def settle(lab: Lab) -> None:
    """Does everything that is due at this very microsecond, past any breakpoint in it."""
    while not lab.advance(lab.now_us):
        pass


def slice_to(lab: Lab, until_us: int, deadline: float) -> bool:
    """Lets time pass until ``until_us`` or ``deadline`` (of ``perf_counter``), past breakpoints. True once it is there."""
    until_us = min(until_us, limits.MAX_NOW_US)
    while True:
        leap_us = min(until_us, lab.now_us + limits.MAX_ADVANCE_US)
        if lab.advance(leap_us, bounds.SLICE_DELIVERIES) and leap_us == until_us:
            return True
        if perf_counter() >= deadline:
            return False


def work_of(lab: Lab) -> int:
    """Deliveries handled on this line of history: what a replay from its seed costs."""
    return lab.kernel.deliveries


def is_plain(lab: Lab) -> bool:
    """No branch beside this one and nothing beyond the playhead: a checkpoint holds all there is."""
    return not lab.branches and lab.branch == 0 and lab.now_us >= lab.end_us


def describe(lab: Lab) -> dict[str, Any]:
    """What tells two labs apart at a glance; for logs and errors."""
    return {"now_us": lab.now_us, "branch": lab.branch, "deliveries": lab.kernel.deliveries}
