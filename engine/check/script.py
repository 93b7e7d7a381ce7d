"""A run as data: the cluster, the seed, and each command with its time. Whoever has the script has the run, and can leave things out.

A script ends with ``heal_us``: from then on nothing is done to the cluster but to undo every fault, start whatever is down and let it
come to rest (``Arena.heal``, ``Arena.drain``); then it is judged. As text it is a transcript that a person can read and a test replays.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.commands import AnyCommand, Command, parse
from engine.errors import EngineError
from engine.spec import ClusterSpec
from engine.view.phrases import command_text

CLEAN = "no violation"


class Step(msgspec.Struct, frozen=True):
    at_us: int
    command: AnyCommand


class Script(msgspec.Struct, frozen=True):
    """``steps`` ascend in time. A step that makes no sense when its time comes is skipped, as when it was drawn."""

    seed: int
    spec: ClusterSpec
    steps: tuple[Step, ...]
    heal_us: int

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)


class Transcript(msgspec.Struct, frozen=True):
    """``expected`` is the invariant that breaks, or CLEAN: a bug's transcript says what is right, and fails until it is mended."""

    note: str
    expected: str
    script: Script


def script_from_json(content: bytes | str) -> Script:
    return msgspec.json.decode(content, type=Script)


def write_transcript(transcript: Transcript) -> str:
    """One line each for the cluster and the seed, then every command with its time in seconds and what it means."""
    script = transcript.script
    lines = [f"# {line}" for line in transcript.note.splitlines()]
    lines += [f"cluster {_compact(script.spec)}", f"seed {script.seed}", ""]
    for step in script.steps:
        lines += [f"# {command_text(step.command)}", f"at {step.at_us / 1e6:.6f} {_compact(step.command)}"]
    return "\n".join([*lines, "", f"heal {script.heal_us / 1e6:.6f}", "----", transcript.expected, ""])


def read_transcript(text: str) -> Transcript:
    """Raises EngineError, naming the line, where the text is no transcript."""
    notes: list[str] = []
    found: dict[str, Any] = {}
    steps: list[Step] = []
    given, divider, expected = text.partition("\n----\n")
    for number, line in enumerate(given.splitlines(), 1):
        word, _, rest = line.partition(" ")
        try:
            if word == "#":
                notes += [rest] if not found else []
            elif word == "cluster":
                found[word] = msgspec.json.decode(rest, type=ClusterSpec)
            elif word == "seed":
                found[word] = int(rest)
            elif word == "heal":
                found[word] = _microseconds(rest)
            elif word == "at":
                at, _, command = rest.partition(" ")
                steps.append(Step(_microseconds(at), parse(command)))  # type: ignore[arg-type]
            elif line:
                raise EngineError(f"{word!r} is none of cluster, seed, at, heal and #.")
        except (ValueError, EngineError) as wrong:
            raise EngineError(f"line {number}: {wrong}", field=f"line {number}") from None
    missing = [word for word in ("cluster", "seed", "heal") if word not in found]
    if missing or not divider:
        raise EngineError(f"The transcript lacks {', '.join(missing) or 'the line ---- and what is expected'}.")
    script = Script(found["seed"], found["cluster"], tuple(steps), found["heal"])
    return Transcript("\n".join(notes), expected.strip(), script)


def _microseconds(seconds: str) -> int:
    return round(float(seconds) * 1e6)


def _compact(value: ClusterSpec | Command) -> str:
    """JSON without what is as by default."""
    known = msgspec.to_builtins(value)
    for field in msgspec.structs.fields(value):
        if not field.required and known[field.name] == msgspec.to_builtins(_default(field)):
            del known[field.name]
    return msgspec.json.encode(known).decode()


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
