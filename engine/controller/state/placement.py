"""Where the replicas of a new topic go: Kafka's ``StripedReplicaPlacer``.

Racks are taken in turn, and within a rack its brokers in turn, unfenced ones before fenced ones; where both begin is random. Each
partition starts one further, so that leaders and followers spread evenly. Without racks, all brokers stand in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from engine.controller.state.decision import RefusedError
from engine.metadata.image import BrokerRegistration
from engine.sim.rng import Stream

T = TypeVar("T")


class BrokerList:
    """Brokers in turn; each new round (``epoch``) begins one further."""

    def __init__(self, brokers: list[int], stream: Stream, previous: int | None = None) -> None:
        self.brokers = sorted(brokers)
        size = len(self.brokers)
        self.offset = 0 if not size else (previous + 1) % size if previous is not None else stream.below(size)
        self.epoch = 0
        self.index = 0

    def next(self, epoch: int) -> int:
        """-1 where this round has used all."""
        size = len(self.brokers)
        if not size:
            return -1
        if self.epoch != epoch:
            self.epoch, self.index, self.offset = epoch, 0, (self.offset + 1) % size
        if self.index >= size:
            return -1
        broker = self.brokers[(self.index + self.offset) % size]
        self.index += 1
        return broker


class Racks:
    def __init__(self, brokers: Iterable[BrokerRegistration], stream: Stream, existing: Sequence[tuple[int, ...]] = ()) -> None:
        """``existing``: the topic's assignments so far, so that added partitions go on where it stopped."""
        self.stream = stream
        fenced: dict[str, list[int]] = {}
        unfenced: dict[str, list[int]] = {}
        rack_of: dict[int, str] = {}
        for broker in brokers:
            rack_of[broker.broker_id] = broker.rack
            fenced.setdefault(broker.rack, [])
            unfenced.setdefault(broker.rack, [])
            (fenced if broker.fenced else unfenced)[broker.rack].append(broker.broker_id)
        self.names = sorted(fenced)
        self.total = len(rack_of)
        self.unfenced_total = sum(len(ids) for ids in unfenced.values())
        self.fenced = {name: BrokerList(fenced[name], stream) for name in self.names}
        self.unfenced = {
            name: BrokerList(unfenced[name], stream, _previous_in_rack(existing, rack_of, name, sorted(unfenced[name])))
            for name in self.names
        }
        last_rack = rack_of.get(existing[-1][0]) if existing else None
        if last_rack is not None:
            self.offset = (self.names.index(last_rack) + 1) % len(self.names)
        else:
            self.offset = stream.below(len(self.names))
        self.epoch = 0

    def place(self, replication_factor: int) -> tuple[int, ...]:
        """Raises RefusedError(INVALID_REPLICATION_FACTOR)."""
        self._check(replication_factor)
        if self.epoch == self.unfenced_total and self.unfenced_total > 1:
            self._shuffle()
            self.epoch = 0
        names = self.names
        if self.offset >= len(names):
            self.offset = 0
        first = self.offset
        leader = self.unfenced[names[first]].next(self.epoch)
        while leader < 0:
            first = (first + 1) % len(names)
            leader = self.unfenced[names[first]].next(self.epoch)
        chosen = [leader]
        rack = self.offset
        while len(chosen) < replication_factor:
            found = -1
            if rack == first:
                first = -1
            else:
                found = self.unfenced[names[rack]].next(self.epoch)
                if found < 0:
                    found = self.fenced[names[rack]].next(self.epoch)
            rack = (rack + 1) % len(names)
            if found >= 0:
                chosen.append(found)
        self.epoch += 1
        self.offset += 1
        return tuple(chosen)

    def _check(self, replication_factor: int) -> None:
        if replication_factor <= 0:
            why = f"Invalid replication factor {replication_factor}: the replication factor must be positive."
        elif replication_factor > self.total:
            why = (
                f"The target replication factor of {replication_factor} cannot be reached because only {self.total} broker(s) "
                "are registered or some brokers have all their log directories cordoned."
            )
        elif not self.unfenced_total:
            why = "All brokers are currently fenced."
        else:
            return
        raise RefusedError("INVALID_REPLICATION_FACTOR", why)

    def _shuffle(self) -> None:
        """Every broker has led once: mix, so that the same assignments do not come again."""
        _shuffle(self.names, self.stream)
        for name in sorted(self.fenced):
            _shuffle(self.fenced[name].brokers, self.stream)
            _shuffle(self.unfenced[name].brokers, self.stream)


def _previous_in_rack(existing: Sequence[tuple[int, ...]], rack_of: dict[int, str], rack: str, unfenced: list[int]) -> int | None:
    for assignment in reversed(existing):
        for broker in assignment:
            if rack_of.get(broker) == rack:
                return unfenced.index(broker) if broker in unfenced else None
    return None


def _shuffle(items: list[T], stream: Stream) -> None:
    for last in range(len(items) - 1, 0, -1):
        other = stream.below(last + 1)
        items[last], items[other] = items[other], items[last]
