"""An append-only list that copies in O(n / CHUNK).

Logs and files grow for as long as a cluster lives, and a checkpoint must cost well under a millisecond. Full chunks are
tuples that copies share; only the short tail is copied. Truncation is rare and reopens one chunk.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

CHUNK = 256


class Sequence(Generic[T]):
    """Items are immutable values (the copies share them)."""

    __slots__ = ("_full", "_tail")

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._full: list[tuple[T, ...]] = []
        self._tail: list[T] = []
        for item in items:
            self.append(item)

    def append(self, item: T) -> None:
        tail = self._tail
        tail.append(item)
        if len(tail) == CHUNK:
            self._full.append(tuple(tail))
            self._tail = []

    def __len__(self) -> int:
        return len(self._full) * CHUNK + len(self._tail)

    def __getitem__(self, index: int) -> T:
        if index < 0:
            index += len(self)
        if index < 0:
            raise IndexError(index)
        chunk, rest = divmod(index, CHUNK)
        full = self._full
        return full[chunk][rest] if chunk < len(full) else self._tail[rest]

    def __iter__(self) -> Iterator[T]:
        for chunk in self._full:
            yield from chunk
        yield from self._tail

    def iterate_from(self, index: int) -> Iterator[T]:
        """The items at ``index`` and after, without walking those before."""
        chunk, rest = divmod(index, CHUNK)
        if chunk >= len(self._full):  # as good as always: who reads, reads what is new
            return iter(self._tail[rest:])
        return self._iterate(chunk, rest)

    def _iterate(self, chunk: int, rest: int) -> Iterator[T]:
        full = self._full
        while chunk < len(full):
            yield from full[chunk][rest:]
            chunk, rest = chunk + 1, 0
        yield from self._tail

    def truncate(self, length: int) -> None:
        """Drops every item at index ``length`` and after."""
        if length >= len(self):
            return
        chunk, rest = divmod(max(length, 0), CHUNK)
        source: Iterable[T] = self._full[chunk] if chunk < len(self._full) else self._tail
        self._tail = list(source)[:rest]
        del self._full[chunk:]

    def bisect_right(self, value: int, key: Callable[[T], int]) -> int:
        """The first index whose ``key`` is greater than ``value``; items are ascending by ``key``."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if key(self[middle]) > value:
                high = middle
            else:
                low = middle + 1
        return low

    def bisect_left(self, value: int, key: Callable[[T], int]) -> int:
        """The first index whose ``key`` is ``value`` or greater; items are ascending by ``key``."""
        full, tail = self._full, self._tail
        if not full or (tail and key(full[-1][-1]) < value):
            newest = len(tail) - 1  # what is asked for as a rule
            if newest > 0 and key(tail[newest - 1]) < value <= key(tail[newest]):
                return len(full) * CHUNK + newest
            return len(full) * CHUNK + bisect_left(tail, value, key=key)
        chunk = bisect_left(full, value, key=lambda items: key(items[-1]))
        return chunk * CHUNK + (bisect_left(full[chunk], value, key=key) if chunk < len(full) else 0)

    def copy(self) -> Sequence[T]:
        twin: Sequence[T] = Sequence()
        twin._full = self._full.copy()
        twin._tail = self._tail.copy()
        return twin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Sequence({list(self)!r})"
