"""Passing a moment on: a file with seed, spec and commands, or a link; and what a twin with one changed setting was given.

Whoever opens either gets a copy of his own. A file comes from anywhere, so every part of it is checked like a command, and the replay
that makes a lab of it is bounded. A link was made here and carries a checkpoint, so that opening it replays nothing.
"""

from __future__ import annotations

import zlib
from typing import Annotated, Any, cast

import msgspec

from engine import ENGINE_VERSION, limits
from engine import commands as cm
from engine.errors import EngineError
from engine.lab import Lab, Share
from engine.spec import ClusterSpec, TopicSpec
from kafkalab.sandbox import bounds
from kafkalab.sandbox.errors import decoding_refusal

FORMAT = "kafkalab-share-1"

_Given = tuple[Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_NOW_US)], msgspec.Raw]


class File(msgspec.Struct, forbid_unknown_fields=True):
    """What the file holds. ``inputs``: [virtual µs, command] in the order given."""

    format: str
    title: Annotated[str, msgspec.Meta(max_length=bounds.MAX_TITLE)]
    lesson: Annotated[str, msgspec.Meta(max_length=80, pattern=r"^[a-z0-9-]*\Z")]
    engine_version: Annotated[str, msgspec.Meta(max_length=20)]
    spec: ClusterSpec
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    inputs: Annotated[list[_Given], msgspec.Meta(max_length=limits.MAX_INPUTS)]
    at_us: Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_NOW_US)]


def write(share: Share, title: str, lesson: str) -> bytes:
    """The file, as JSON a person can read."""
    content = {
        "format": FORMAT,
        "title": title,
        "lesson": lesson,
        "engine_version": share.engine_version,
        "spec": share.spec,
        "seed": share.seed,
        "inputs": [[given.at_us, given.command] for given in share.inputs],
        "at_us": share.at_us,
    }
    return msgspec.json.encode(content)


def pack(content: bytes) -> bytes:
    return zlib.compress(content, 6)


def unpack(blob: bytes) -> bytes:
    """Undoes ``pack``. Raises EngineError where it holds more than a share may."""
    opener = zlib.decompressobj()
    content = opener.decompress(blob, bounds.MAX_IMPORT_BYTES)
    if opener.unconsumed_tail:
        raise EngineError(f"file: holds more than {bounds.MAX_IMPORT_BYTES} bytes when unpacked.", field="file")
    return content


class Opened(msgspec.Struct, frozen=True):
    """A checked file: nothing in it is unknown or out of bounds; whether it replays is seen when it does."""

    title: str
    lesson: str
    spec: ClusterSpec
    seed: int
    inputs: list[tuple[int, cm.AnyCommand]]
    at_us: int


def read(content: bytes) -> Opened:
    """A file's bytes → what they say. Raises EngineError naming the field."""
    try:
        file = msgspec.json.decode(content, type=File)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as wrong:
        raise decoding_refusal(wrong, "file", "This is not a file that KafkaLab saved, or it was changed.") from None
    if file.format != FORMAT:
        raise EngineError(f"format: {file.format[:40]!r} is unknown; {FORMAT!r} is read here.", field="format")
    if file.engine_version != ENGINE_VERSION:
        raise EngineError(
            f"engine_version: the file was saved by engine {file.engine_version}; here runs engine {ENGINE_VERSION}.",
            field="engine_version",
        )
    inputs: list[tuple[int, cm.AnyCommand]] = []
    before = 0
    for number, (at_us, raw) in enumerate(file.inputs):
        if at_us < before:
            raise EngineError(f"inputs[{number}]: its time lies before that of the one above it.", field=f"inputs[{number}]")
        before = at_us
        try:
            inputs.append((at_us, cast(cm.AnyCommand, cm.parse(bytes(raw)))))
        except EngineError as wrong:
            raise EngineError(f"inputs[{number}].{wrong.message}", field=f"inputs[{number}].{wrong.field}") from None
    if file.at_us < before:
        raise EngineError("at_us: lies before the last command.", field="at_us")
    return Opened(file.title, file.lesson, file.spec, file.seed, inputs, file.at_us)


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one setting in which a twin differs from the start. ``resource`` "producer", "consumer", "topic" or "broker" (all brokers)."""

    resource: Annotated[str, msgspec.Meta(pattern=r"^(producer|consumer|topic|broker)\Z")]
    configs: cm.ConfigMap
    name: Annotated[str, msgspec.Meta(max_length=limits.MAX_TOPIC_NAME)] = ""

    def words(self) -> str:
        """ "producer app-1: acks=all" """
        pairs = ", ".join(f"{name}={value}" for name, value in self.configs.items())
        return f"{self.resource} {self.name}".strip() + f": {pairs}"


Inputs = list[tuple[int, cm.AnyCommand]]


def changed(spec: ClusterSpec, inputs: Inputs, change: Change) -> tuple[ClusterSpec, Inputs]:
    """The origin and the inputs of the twin: as they were, but for ``change``. Raises EngineError where nothing has that name."""
    if not change.configs:
        raise EngineError("configs: name at least one setting that the twin has otherwise.", field="configs")
    for text in [change.name, *change.configs, *change.configs.values()]:
        if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise EngineError("configs: holds characters that are not text.", field="configs")
    if change.resource == "broker":
        return msgspec.structs.replace(spec, broker_configs={**spec.broker_configs, **change.configs}), inputs
    if change.resource == "topic":
        return _topic_changed(spec, inputs, change)
    return spec, _client_changed(inputs, change)


def _topic_changed(spec: ClusterSpec, inputs: Inputs, change: Change) -> tuple[ClusterSpec, Inputs]:
    def merged(topic: TopicSpec) -> TopicSpec:
        return msgspec.structs.replace(topic, configs={**topic.configs, **change.configs})

    topics = tuple(merged(topic) if topic.name == change.name else topic for topic in spec.topics)
    found = topics != spec.topics or any(topic.name == change.name for topic in spec.topics)
    again: Inputs = []
    for at_us, command in inputs:
        if isinstance(command, cm.CreateTopic) and command.topic == change.name:
            command = msgspec.structs.replace(command, configs={**command.configs, **change.configs})
            found = True
        again.append((at_us, command))
    if not found:
        raise EngineError(f"name: this history creates no topic {change.name!r}.", field="name")
    return msgspec.structs.replace(spec, topics=topics), again


def _client_changed(inputs: Inputs, change: Change) -> Inputs:
    """A producer that was only ever used, never created, is created just before its first use."""
    again: Inputs = []
    found = False
    for at_us, command in inputs:
        if isinstance(command, (cm.CreateProducer, cm.CreateConsumer)) and command.name == change.name:
            command = msgspec.structs.replace(command, configs={**command.configs, **change.configs})
            found = True
        elif isinstance(command, (cm.Produce, cm.StartWorkload)) and command.producer == change.name and not found:
            again.append((at_us, cm.CreateProducer(change.name, dict(change.configs))))
            found = True
        again.append((at_us, command))
    if not found:
        raise EngineError(f"name: this history has no {change.resource} {change.name!r}.", field="name")
    return again


def facts(lab: Lab) -> dict[str, Any]:
    """What a person asks of a share first: how many commands, until when."""
    return {"commands": len(lab.inputs), "at_us": lab.now_us}
