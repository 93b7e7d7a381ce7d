"""Copies a tree of state in memory, and writes it out for the day when the process is gone.

State is a tree of slotted dataclasses, lists, dicts, sets, ``Sequence`` and immutable leaves. The copier is generated once per class
from its annotations, so that what cannot change (messages, batches, names) is shared and a checkpoint of a whole cluster costs well
under a millisecond. The durable form is msgpack over plain lists with a table of classes and their field names, never pickle: reading
one can build data classes of this engine and nothing else.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import types
import typing
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from engine.sim.sequence import Sequence

Copier = Callable[[Any], Any]
FORMAT = 1
LEAVES: tuple[type, ...] = (int, str, bytes, bool, float, type(None), frozenset, tuple)

_by_type: dict[type, Copier] = {}


class CheckpointError(Exception):
    """A stored checkpoint cannot be read: damaged, or of an engine with other state."""


def copy_tree(value: Any) -> Any:
    """An independent copy of ``value``; immutable parts are shared."""
    copier = _by_type.get(type(value))
    if copier is None:
        copier = _by_type[type(value)] = _copier_of_type(type(value)) or _same
    return copier(value)


def _same(value: Any) -> Any:
    return value


def _copy_list(value: list[Any]) -> list[Any]:
    return [copy_tree(item) for item in value]


def _copy_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    return {key: copy_tree(item) for key, item in value.items()}


def _is_frozen(cls: type) -> bool:
    if issubclass(cls, LEAVES) or issubclass(cls, enum.Enum):
        return True
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_config__.frozen
    return dataclasses.is_dataclass(cls) and bool(cls.__dataclass_params__.frozen)  # type: ignore[attr-defined]


def _copier_of_type(cls: type) -> Copier | None:
    """None: instances are shared."""
    if _is_frozen(cls):
        return None
    if cls is list:
        return _copy_list
    if cls is dict:
        return _copy_dict
    if cls is set or cls is Sequence:
        return cls.copy
    if cls is deque:
        return lambda value: deque((copy_tree(item) for item in value), value.maxlen)
    if dataclasses.is_dataclass(cls) or issubclass(cls, msgspec.Struct):
        return _generate(cls)
    raise TypeError(f"{cls.__qualname__} is not plain state: checkpoints hold slotted dataclasses and frozen values only")


def _copier_of_annotation(hint: Any) -> Copier | None:
    """None: values of that type are shared."""
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (typing.Literal,):
        return None
    if origin is typing.Annotated:
        return _copier_of_annotation(arguments[0])
    if origin in (typing.Union, types.UnionType):
        shared = all(_copier_of_annotation(part) is None for part in arguments)
        return None if shared else copy_tree
    if origin in (list, deque):
        item = _copier_of_annotation(arguments[0])
        if item is None:
            return origin.copy  # type: ignore[no-any-return]
        return _copier_of_items(origin, item)
    if origin is dict:
        item = _copier_of_annotation(arguments[1])
        return dict.copy if item is None else _copier_of_items(dict, item)
    if origin is set:
        return set.copy
    if origin is tuple or origin is frozenset:
        return None
    if origin is Sequence:
        return Sequence.copy
    if isinstance(hint, type) and _is_frozen(hint):
        return None
    return copy_tree


def _copier_of_items(container: type, item: Copier) -> Copier:
    if container is list:
        return lambda value: [item(part) for part in value]
    if container is dict:
        return lambda value: {key: item(part) for key, part in value.items()}
    return lambda value: deque((item(part) for part in value), value.maxlen)


def _generate(cls: type) -> Copier:
    """Writes ``def copy(v)`` for one class, field by field."""
    hints = typing.get_type_hints(cls, include_extras=True)
    names = _field_names(cls)
    scope: dict[str, Any] = {"new": object.__new__, "cls": cls}
    lines = ["def copy(v):", "    n = new(cls)"]
    if issubclass(cls, msgspec.Struct):
        lines = ["def copy(v):", "    n = cls.__new__(cls)"]
    for position, name in enumerate(names):
        copier = _copier_of_annotation(hints[name])
        if copier is None:
            lines.append(f"    n.{name} = v.{name}")
        else:
            scope[f"c{position}"] = copier
            lines.append(f"    n.{name} = c{position}(v.{name})")
    lines.append("    return n")
    exec("\n".join(lines), scope)  # noqa: S102 - generated from our own class definitions, never from input
    result: Copier = scope["copy"]
    return result


# -- the durable form --------------------------------------------------------------------------------------------------------

_LIST, _DICT, _TUPLE, _SET, _SEQUENCE, _DEQUE, _FROZENSET, _OBJECT, _BLOB, _ENUM = range(10)
BLOB_FROM_BYTES = 64
"""Byte strings from this size on are stored once however many replicas share them."""


class _Writer:
    def __init__(self) -> None:
        self.classes: dict[type, int] = {}
        self.table: list[list[Any]] = []
        self.blobs: dict[bytes, int] = {}

    def plain(self, value: Any) -> Any:
        cls = type(value)
        if cls is bytes and len(value) >= BLOB_FROM_BYTES:
            return [_BLOB, self.blobs.setdefault(value, len(self.blobs))]
        if value is None or cls in (int, str, bytes, bool, float):
            return value
        if cls is list:
            return [_LIST, *map(self.plain, value)]
        if cls is tuple:
            return [_TUPLE, *map(self.plain, value)]
        if cls is dict:
            return [_DICT, *[self.plain(part) for pair in value.items() for part in pair]]
        if cls is set or cls is frozenset:
            return [_SET if cls is set else _FROZENSET, *map(self.plain, sorted(value))]
        if cls is Sequence:
            return [_SEQUENCE, *map(self.plain, value)]
        if cls is deque:
            return [_DEQUE, value.maxlen, *map(self.plain, value)]
        if issubclass(cls, enum.Enum):
            return [_ENUM, self.index_of(cls), value.value]
        return [_OBJECT, self.index_of(cls), *[self.plain(getattr(value, name)) for name in _field_names(cls)]]

    def index_of(self, cls: type) -> int:
        index = self.classes.get(cls)
        if index is None:
            index = self.classes[cls] = len(self.table)
            self.table.append([cls.__module__, cls.__qualname__, _field_names(cls)])
        return index


def _field_names(cls: type) -> list[str]:
    if issubclass(cls, enum.Enum):
        return [member.name for member in cls]
    if issubclass(cls, msgspec.Struct):
        return list(cls.__struct_fields__)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return list(cls._fields)
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    raise TypeError(f"{cls.__qualname__} is not plain state")


def dump(value: Any) -> bytes:
    """The durable form of a tree of state."""
    writer = _Writer()
    body = writer.plain(value)
    return msgspec.msgpack.encode([FORMAT, writer.table, list(writer.blobs), body])


def load(content: bytes) -> Any:
    """Raises CheckpointError where ``content`` is damaged or its classes are not those of this engine."""
    try:
        form, table, blobs, body = msgspec.msgpack.decode(content)
        if form != FORMAT:
            raise CheckpointError(f"The checkpoint has format {form}; this engine reads format {FORMAT}.")
        return _read(body, [_class_of(*row) for row in table], blobs)
    except CheckpointError:
        raise
    except Exception as wrong:
        raise CheckpointError(f"The checkpoint cannot be read ({type(wrong).__name__}: {wrong}).") from wrong


def _class_of(module: str, name: str, fields: list[str]) -> type:
    if not module.startswith("engine."):
        raise CheckpointError(f"The checkpoint names {module}.{name}, which is no state of the engine.")
    cls = getattr(importlib.import_module(module), name, None)
    if not isinstance(cls, type) or _field_names(cls) != fields:
        raise CheckpointError(f"The checkpoint was written by another version of the engine ({module}.{name} has changed).")
    return cls


def _read(value: Any, classes: list[type], blobs: list[bytes]) -> Any:
    if not isinstance(value, list):
        return value
    kind = value[0]
    if kind == _BLOB:
        return blobs[value[1]]
    if kind == _ENUM:
        return classes[value[1]](value[2])
    if kind == _OBJECT:
        cls = classes[value[1]]
        parts = [_read(part, classes, blobs) for part in value[2:]]
        if issubclass(cls, (tuple, msgspec.Struct)):
            return cls(*parts)
        thing = object.__new__(cls)
        for name, part in zip(_field_names(cls), parts, strict=True):
            setattr(thing, name, part)
        return thing
    parts = [_read(part, classes, blobs) for part in value[1:]]
    if kind == _DICT:
        return dict(zip(parts[::2], parts[1::2], strict=True))
    if kind == _DEQUE:
        return deque(parts[1:], parts[0])
    return {_LIST: list, _TUPLE: tuple, _SET: set, _FROZENSET: frozenset, _SEQUENCE: Sequence}[kind](parts)
