"""What a page may send over its socket: one typed message per action, and the service that each calls.

``t`` names the action; ``ref`` (any number or short text) comes back with the answer, which carries the same ``t``, or with
``{t: "error", ref, error: {code, message, field, cure}}``.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from engine import commands as cm
from engine import limits
from engine.errors import EngineError
from kafkalab.sandbox import copies, looks, service, sharing
from kafkalab.sandbox.consoles import Consoles, Terminal
from kafkalab.sandbox.errors import decoding_refusal, with_surrogates
from kafkalab.sandbox.inputs import Commanded
from kafkalab.sandbox.live import Live
from kafkalab.sandbox.push import Watcher

Ref = Annotated[str, msgspec.Meta(max_length=40)] | Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None
Name = Annotated[str, msgspec.Meta(max_length=limits.MAX_TOPIC_NAME)]


@dataclass(slots=True)
class Seat:
    """One socket: the lab that it looks at, its reader and its terminal."""

    live: Live
    visitor: str
    watcher: Watcher
    terminal: Terminal | None = None


class Action(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", forbid_unknown_fields=True):
    ref: Ref = None


class Command(Action, frozen=True, kw_only=True, tag="command"):
    command: msgspec.Raw


class Speed(Action, frozen=True, kw_only=True, tag="speed"):
    """``speed``: 0 pauses, "max" or -1 is as fast as it goes; ``running`` pauses and resumes at the speed that is set."""

    speed: float | str | None = None
    running: bool | None = None


class Step(Action, frozen=True, kw_only=True, tag="step"):
    """To the next event."""


class Seek(Action, frozen=True, kw_only=True, tag="seek"):
    at_us: int


class Fork(Action, frozen=True, kw_only=True, tag="fork"):
    """A second sandbox; see ``copies.fork``."""

    at_us: int | None = None
    commands: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=20)] = []
    change: sharing.Change | None = None
    replay: bool = False


class Branch(Action, frozen=True, kw_only=True, tag="branch"):
    branch: int


class Breakpoint(Action, frozen=True, kw_only=True, tag="breakpoint"):
    """Adds one for ``event``, or takes away the one numbered ``remove``."""

    event: Annotated[str, msgspec.Meta(max_length=80)] = ""
    topic: Name = ""
    partition: int = -1
    node: Name = ""
    remove: int | None = None


class Why(Action, frozen=True, kw_only=True, tag="why"):
    event_id: int


class Console(Action, frozen=True, kw_only=True, tag="console"):
    line: Annotated[str, msgspec.Meta(max_length=limits.MAX_CONSOLE_LINE)]


class Ledger(Action, frozen=True, kw_only=True, tag="ledger"):
    """``limit`` 0: all rows that are kept."""

    fate: Annotated[str, msgspec.Meta(max_length=20)] = ""
    offset: int = 0
    limit: int = 0


class Bytes(Action, frozen=True, kw_only=True, tag="bytes"):
    broker: int
    topic: Name
    partition: int
    offset: int
    first_record: int = 0


class History(Action, frozen=True, kw_only=True, tag="history"):
    after: int = 0
    limit: int = 200


class Metrics(Action, frozen=True, kw_only=True, tag="metrics"):
    """Kafka's metrics by their JMX names, now."""


class ShareLink(Action, frozen=True, kw_only=True, tag="share"):
    """A link and a file that lead to this moment."""


class View(Action, frozen=True, kw_only=True, tag="view"):
    """The page has lost its place: the next push is a whole view."""


class Drawn(Action, frozen=True, kw_only=True, tag="ack"):
    """The page has folded in the push ``to``."""

    to: int


AnyAction = (
    Command | Speed | Step | Seek | Fork | Branch | Breakpoint | Why | Console | Ledger | Bytes | History | Metrics | ShareLink | View | Drawn
)  # fmt: skip
_DECODER: msgspec.json.Decoder[AnyAction] = msgspec.json.Decoder(AnyAction)
ACTIONS = sorted(["command", "speed", "step", "seek", "fork", "branch", "breakpoint", "why", "console", "ledger", "bytes",
                  "history", "metrics", "share", "view", "ack"])  # fmt: skip


def parse(content: bytes | str) -> Action:
    """A message as sent → an action. Raises EngineError naming the field."""
    try:
        return _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as wrong:
        readable = with_surrogates(content)
        if isinstance(readable, dict) and readable.get("t") == "command":
            raw = msgspec.Raw(json.dumps(readable.get("command")).encode())
            return Command(ref=ref_of(content), command=raw)
        refusal = decoding_refusal(wrong, "message", "Nothing was changed.")
        if refusal.field == "t":
            raise EngineError(f"t: unknown action; known are {', '.join(ACTIONS)}.", field="t") from None
        raise refusal from None


class _Envelope(msgspec.Struct):
    ref: str | int | None = None


def ref_of(content: str | bytes) -> str | int | None:
    """The ``ref`` of a message that is otherwise wrong, so that its sender learns which one."""
    try:
        ref = msgspec.json.decode(content, type=_Envelope).ref
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        readable = with_surrogates(content)
        ref = readable.get("ref") if isinstance(readable, dict) else None
    if isinstance(ref, str):
        return ref[:40].encode("utf-8", "replace").decode()
    return ref if isinstance(ref, int) and 0 <= ref <= 2**53 else None


async def perform(seat: Seat, action: Action) -> dict[str, Any] | None:
    """Does it; the fields of the answer, or None where none is due."""
    return await _HANDLERS[type(action)](seat, action)


async def _command(seat: Seat, action: Command) -> dict[str, Any]:
    command = service.parse_command(bytes(action.command))
    return _ack(await service.do(seat.live, Commanded(command, seat.visitor)))


async def _speed(seat: Seat, action: Speed) -> dict[str, Any]:
    await service.set_pace(seat.live, action.speed, action.running)
    return {"clock": seat.live.clock()}


async def _step(seat: Seat, action: Step) -> dict[str, Any]:
    return _ack(await service.step(seat.live))


async def _seek(seat: Seat, action: Seek) -> dict[str, Any]:
    return _ack(await service.seek(seat.live, action.at_us))


async def _fork(seat: Seat, action: Fork) -> dict[str, Any]:
    commands: list[cm.AnyCommand] = []
    for number, raw in enumerate(action.commands):
        try:
            commands.append(service.parse_command(bytes(raw)))
        except EngineError as wrong:
            raise EngineError(f"commands[{number}].{wrong.message}", field=f"commands[{number}].{wrong.field}") from None
    twin, refused = await copies.fork(seat.live, at_us=action.at_us, commands=commands, change=action.change, replay=action.replay)
    return {
        "sandbox": twin.id,
        "url": f"/sandbox/{twin.id}/",
        "twin_url": f"/sandbox/{seat.live.id}/twin/{twin.id}/",
        "refused": refused,
    }


async def _branch(seat: Seat, action: Branch) -> dict[str, Any]:
    return _ack(await service.switch(seat.live, action.branch))


async def _breakpoint(seat: Seat, action: Breakpoint) -> dict[str, Any]:
    if action.remove is not None:
        return _ack(await service.remove_breakpoint(seat.live, action.remove))
    return _ack(await service.add_breakpoint(seat.live, action.event, action.topic, action.partition, action.node))


async def _why(seat: Seat, action: Why) -> dict[str, Any]:
    return looks.why(seat.live, action.event_id)


async def _console(seat: Seat, action: Console) -> dict[str, Any]:
    consoles = seat.live.consoles
    if consoles is None:
        live, visitor = seat.live, seat.visitor

        async def give(command: cm.AnyCommand) -> int:
            return (await service.do(live, Commanded(command, visitor))).event_id

        consoles = seat.live.consoles = Consoles(live, give)
    if seat.terminal is None:
        seat.terminal = consoles.open(seat.watcher)
    return await consoles.enter(seat.terminal, action.line)


async def _ledger(seat: Seat, action: Ledger) -> dict[str, Any]:
    return looks.ledger(seat.live, action.fate, action.offset, action.limit)


async def _bytes(seat: Seat, action: Bytes) -> dict[str, Any]:
    return looks.bytes_of(seat.live, action.broker, action.topic, action.partition, action.offset, action.first_record)


async def _history(seat: Seat, action: History) -> dict[str, Any]:
    return looks.history(seat.live, action.after, action.limit)


async def _metrics(seat: Seat, action: Metrics) -> dict[str, Any]:
    return looks.metrics(seat.live)


async def _share(seat: Seat, action: ShareLink) -> dict[str, Any]:
    made = await copies.share(seat.live)
    return {"url": f"/s/{made.id}/", "file_url": f"/s/{made.id}/file/"}


async def _view(seat: Seat, action: View) -> None:
    seat.watcher.begin_again()


async def _drawn(seat: Seat, action: Drawn) -> None:
    seat.watcher.acknowledge(action.to)


def _ack(ack: service.Ack) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(ack)
    return found


_HANDLERS: dict[type[Action], Callable[[Seat, Any], Awaitable[dict[str, Any] | None]]] = {
    Command: _command,
    Speed: _speed,
    Step: _step,
    Seek: _seek,
    Fork: _fork,
    Branch: _branch,
    Breakpoint: _breakpoint,
    Why: _why,
    Console: _console,
    Ledger: _ledger,
    Bytes: _bytes,
    History: _history,
    Metrics: _metrics,
    ShareLink: _share,
    View: _view,
    Drawn: _drawn,
}
