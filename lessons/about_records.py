"""Goals about records, clients and events: where a record lies, what was promised, what became of it, what happened."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from engine.check.ledger import LOST, REORDERED, LedgerRow
from engine.commands import BrokerId, Topic
from engine.errors import ERRORS
from engine.events import Event, Happening
from engine.view.microscope import look_at_batch
from engine.view.narrate import EVENT_NAMES
from lessons.condition import Condition, Count, Counted, Finding, PartitionName, Scope, did_you_mean, many, named
from lessons.errors import Problem
from lessons.scene import FATES, Scene

BATCH_FIELDS = (
    "size", "baseOffset", "batchLength", "partitionLeaderEpoch", "magic", "lastOffsetDelta", "baseTimestamp", "maxTimestamp",
    "producerId", "producerEpoch", "baseSequence", "recordsCount",
)  # fmt: skip
BOUNDS = ("equals", "at_least", "at_most", "scope")


@named("record_at")
class RecordAt(Condition, frozen=True):
    """The record that lies at this offset in the leader's log, among those that producers sent. Key and value are compared in their
    first 40 characters."""

    partition: PartitionName
    offset: Count
    key: str | None = None
    value: str | None = None
    producer: str = ""

    def look(self, scene: Scene) -> Finding:
        where = f"offset {self.offset} of {self.partition}"
        for row in scene.rows("lesson", producer=self.producer, partition=self.partition):
            if row.in_log and self.offset in row.offsets:
                ok = self.key in (None, row.key) and (self.value is None or self.value[:40] == row.value)
                key = f"key {row.key}, " if row.key is not None else ""
                return Finding(ok, f"{where} holds {key}value {row.value if row.value is not None else 'null'}")
        return Finding(False, f"{where} holds no record")


class _LogPosition(Counted, frozen=True):
    """``broker``: that replica's; without it the leader's."""

    partition: PartitionName
    broker: BrokerId | None = None

    def _of(self) -> str:
        return f"{self.partition} on broker {self.broker}" if self.broker is not None else self.partition

    def _read(self, scene: Scene, field: str) -> int | None:
        part = scene.partition(self.partition)
        if part is None:
            return None
        log = part.logs.get(str(self.broker)) if self.broker is not None else part
        number = getattr(log, field, -1)
        return number if number >= 0 else None


@named("log_end_offset")
class LogEndOffset(_LogPosition, frozen=True):
    """The offset that the next record gets: on the leader, or on ``broker``."""

    def count(self, scene: Scene) -> int | None:
        return self._read(scene, "log_end_offset")

    def say(self, number: int | None) -> str:
        return f"the log of {self._of()} cannot be seen now" if number is None else f"the log of {self._of()} ends at {number}"


@named("high_watermark")
class HighWatermark(_LogPosition, frozen=True):
    """Up to where consumers may read: as the leader knows it, or ``broker``."""

    def count(self, scene: Scene) -> int | None:
        return self._read(scene, "high_watermark")

    def say(self, number: int | None) -> str:
        return (
            f"nobody knows a high watermark of {self._of()} now"
            if number is None
            else f"the high watermark of {self._of()} is {number}"
        )


@named("batch_field")
class BatchField(Counted, frozen=True):
    """A number in the header of the batch that holds an offset (-1: the newest batch), in the leader's log: ``baseOffset``,
    ``recordsCount`` and so on as the byte microscope names them, or ``size`` for all its bytes."""

    partition: PartitionName
    field: Annotated[str, msgspec.Meta(max_length=40)]
    offset: Annotated[int, msgspec.Meta(ge=-1)] = -1

    def check(self) -> None:
        if self.field not in BATCH_FIELDS:
            raise Problem(
                ("field",), f"A batch has no field {self.field!r} that is a number.", did_you_mean(self.field, BATCH_FIELDS)
            )

    def count(self, scene: Scene) -> int | None:
        part = scene.partition(self.partition)
        if part is None or part.leader < 0 or part.log_end_offset <= max(self.offset, 0):
            return None
        offset = self.offset if self.offset >= 0 else part.log_end_offset - 1
        batch = look_at_batch(scene.lab.kernel, part.topic, part.partition, offset, part.leader)
        if self.field == "size":
            return batch.size_bytes
        return next((int(span.value) for span in batch.spans if span.name == self.field), None)

    def say(self, number: int | None) -> str:
        which = f"the batch that holds offset {self.offset}" if self.offset >= 0 else "the newest batch"
        if number is None:
            return f"there is no such batch in {self.partition} now"
        return (
            f"{which} of {self.partition} has {number} bytes"
            if self.field == "size"
            else f"{self.field} of {which} of {self.partition} is {number}"
        )


class _OfRecords(Counted, frozen=True):
    """Which records are counted."""

    producer: str = ""
    topic: str = ""
    partition: PartitionName | None = None
    scope: Scope = "step"

    def _rows(self, scene: Scene) -> list[LedgerRow]:
        return scene.rows(self.scope, producer=self.producer, topic=self.topic, partition=self.partition or "")

    def _whose(self) -> str:
        who = f" of {self.producer}" if self.producer else ""
        where = self.partition or self.topic
        return f"{who} in {where}" if where else who


@named("sent")
class Sent(_OfRecords, frozen=True):
    """Records that left a producer."""

    def count(self, scene: Scene) -> int | None:
        return len(self._rows(scene))

    def say(self, number: int | None) -> str:
        return f"{many(number, 'record')}{self._whose()} sent"


@named("acknowledged")
class Acknowledged(_OfRecords, frozen=True):
    """Records whose producer was told that they are written (with acks=0: which it counts as written)."""

    def count(self, scene: Scene) -> int | None:
        return sum(row.acked_us >= 0 for row in self._rows(scene))

    def say(self, number: int | None) -> str:
        return f"{many(number, 'record')}{self._whose()} acknowledged"


@named("ledger")
class LedgerCount(_OfRecords, frozen=True):
    """Records of one fate, as the delivery ledger has it."""

    fate: Annotated[str, msgspec.Meta(max_length=20)] = ""

    def check(self) -> None:
        if self.fate not in FATES:
            raise Problem(("fate",), f"The ledger knows no fate {self.fate!r}.", did_you_mean(self.fate, FATES))

    def count(self, scene: Scene) -> int | None:
        return sum(row.fate == self.fate for row in self._rows(scene))

    def say(self, number: int | None) -> str:
        return f"the ledger shows {many(number, 'record')}{self._whose()} {self.fate}"


class _Unharmed(Condition, frozen=True):
    """``acks``: only records sent with it, "0", "1" or "all"."""

    producer: str = ""
    topic: str = ""
    partition: PartitionName | None = None
    acks: Annotated[str, msgspec.Meta(pattern=r"^(0|1|all)\Z")] | None = None
    scope: Scope = "step"

    @classmethod
    def prepare(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "acks": str(value["acks"])} if isinstance(value.get("acks"), int) else value

    def _with_fate(self, scene: Scene, fate: str) -> int:
        rows = scene.rows(self.scope, producer=self.producer, topic=self.topic, partition=self.partition or "")
        found = [row for row in rows if row.fate == fate]
        if self.acks is None or not found:
            return len(found)
        wanted = {"all": -1, "0": 0, "1": 1}[self.acks]
        acks = _acks_of(scene, self.scope)
        return sum(acks.get((row.producer, row.record_id)) == wanted for row in found)


def _acks_of(scene: Scene, scope: str) -> dict[tuple[str, int], int]:
    """(producer, record) → the acks with which it left."""
    found: dict[tuple[str, int], int] = {}
    for happening in scene.happened("ProduceSent", scope):
        event: Any = happening.event
        for record in event.records:
            found[event.producer, record.record_id] = event.acks
    return found


@named("no_record_lost")
class NoRecordLost(_Unharmed, frozen=True):
    """Every acknowledged record is still there. Made to be a guard."""

    def look(self, scene: Scene) -> Finding:
        number = self._with_fate(scene, LOST)
        return Finding(number == 0, f"{many(number, 'acknowledged record')} lost")


@named("order_kept")
class OrderKept(_Unharmed, frozen=True):
    """No record lies behind one that its producer sent after it. Made to be a guard."""

    def look(self, scene: Scene) -> Finding:
        number = self._with_fate(scene, REORDERED)
        return Finding(number == 0, f"{many(number, 'record')} out of order")


@named("partitions_used")
class PartitionsUsed(Counted, frozen=True):
    """Over how many partitions the records of a topic were spread."""

    topic: Topic
    producer: str = ""
    key: str | None = None
    scope: Scope = "step"

    def count(self, scene: Scene) -> int | None:
        rows = scene.rows(self.scope, producer=self.producer, topic=self.topic)
        return len({row.partition for row in rows if row.partition >= 0 and self.key in (None, row.key)})

    def say(self, number: int | None) -> str:
        which = "the records" if self.key is None else f"the records with key {self.key}"
        return f"{which} of {self.topic} lie in {many(number, 'partition')}"


@named("partition_of_key")
class PartitionOfKey(Counted, frozen=True):
    """The number of the partition that holds the records with this key; nothing while there are none, or several."""

    topic: Topic
    key: str

    def count(self, scene: Scene) -> int | None:
        found = {row.partition for row in scene.rows("lesson", topic=self.topic) if row.key == self.key and row.partition >= 0}
        return found.pop() if len(found) == 1 else None

    def say(self, number: int | None) -> str:
        return f"key {self.key} lies in no single partition" if number is None else f"key {self.key} lies in {self.topic}-{number}"


# -- consumers ---------------------------------------------------------------------------------------------------------------------


@named("consumer_position")
class ConsumerPosition(Counted, frozen=True):
    """The offset that a consumer reads next."""

    consumer: str
    partition: PartitionName

    def count(self, scene: Scene) -> int | None:
        view = scene.view.consumers.get(self.consumer)
        for place in view.positions if view is not None else ():
            if f"{place.topic}-{place.partition}" == self.partition:
                return place.position if place.position >= 0 else None
        return None

    def say(self, number: int | None) -> str:
        if number is None:
            return f"{self.consumer} has no position in {self.partition}"
        return f"{self.consumer} stands at offset {number} of {self.partition}"


@named("consumed")
class Consumed(Counted, frozen=True):
    """Records handed to a consumer's application; with ``offset`` only those batches that hold it."""

    consumer: str
    partition: PartitionName | None = None
    offset: Annotated[int, msgspec.Meta(ge=0)] | None = None
    scope: Scope = "step"

    def count(self, scene: Scene) -> int | None:
        total = 0
        for happening in scene.happened("RecordsConsumed", self.scope):
            event: Any = happening.event
            if event.consumer != self.consumer or self.partition not in (None, f"{event.topic}-{event.partition}"):
                continue
            if self.offset is None:
                total += event.record_count
            elif event.first_offset <= self.offset <= event.last_offset:
                total += 1
        return total

    def say(self, number: int | None) -> str:
        where = f" from {self.partition}" if self.partition else ""
        if self.offset is not None:
            return f"{self.consumer} has {'' if number else 'not '}read offset {self.offset}{where}"
        return f"{self.consumer} has read {many(number, 'record')}{where}"


# -- events ------------------------------------------------------------------------------------------------------------------------


@named("event_happened")
class EventHappened(Counted, frozen=True):
    """``event``: a name of ``engine.events``; further fields must equal the event's."""

    event: str
    where: dict[str, Any] = {}
    scope: Scope = "step"

    @classmethod
    def prepare(cls, value: dict[str, Any]) -> dict[str, Any]:
        name = value.get("event")
        kind = EVENT_NAMES.get(name) if isinstance(name, str) else None
        if kind is None:
            raise Problem(("event",), f"No event is called {str(name)[:60]!r}.", did_you_mean(str(name), EVENT_NAMES))
        kept = {key: item for key, item in value.items() if key in (*BOUNDS, "event")}
        where = {key: item for key, item in value.items() if key not in kept}
        for key, item in where.items():
            if key not in kind.__struct_fields__:
                raise Problem((key,), f"{name} has no field {key!r}.", did_you_mean(key, (*kind.__struct_fields__, *BOUNDS)))
            where[key] = tuple(item) if isinstance(item, list) else item
        if not any(bound in value for bound in BOUNDS[:3]):
            kept["at_least"] = 1
        return {**kept, "where": where}

    @property
    def exact(self) -> bool:
        return True

    def matches(self, event: Event) -> bool:
        return all(getattr(event, key) == wanted for key, wanted in self.where.items())

    def found(self, scene: Scene) -> list[Happening]:
        return [h for h in scene.happened(self.event, self.scope) if self.matches(h.event)]

    def count(self, scene: Scene) -> int | None:
        return len(self.found(scene))

    def say(self, number: int | None) -> str:
        which = ", ".join(f"{key} {value}" for key, value in self.where.items())
        times = "has not happened" if not number else "happened once" if number == 1 else f"happened {number} times"
        return f"{self.event}{f' ({which})' if which else ''} {times}"


ERROR_EVENTS = ("ProduceRefused", "ProduceRetried", "RecordsFailed", "SendRefused")


@named("produce_error")
class ProduceError(Counted, frozen=True):
    """Answers to produce requests that carried this error, be it refused by a broker, tried again or given up by the producer."""

    error: str
    producer: str = ""
    partition: PartitionName | None = None
    scope: Scope = "step"

    @classmethod
    def prepare(cls, value: dict[str, Any]) -> dict[str, Any]:
        return value if any(bound in value for bound in BOUNDS[:3]) else {**value, "at_least": 1}

    def check(self) -> None:
        if self.error not in ERRORS:
            raise Problem(("error",), f"Kafka has no error {self.error[:60]!r}.", did_you_mean(self.error, ERRORS))

    @property
    def exact(self) -> bool:
        return True

    def count(self, scene: Scene) -> int | None:
        return sum(self._matches(happening.event) for kind in ERROR_EVENTS for happening in scene.happened(kind, self.scope))

    def _matches(self, event: Any) -> bool:
        return (
            event.error == self.error
            and self.producer in ("", getattr(event, "producer", getattr(event, "client", "")))
            and self.partition in (None, f"{event.topic}-{getattr(event, 'partition', '')}")
        )

    def say(self, number: int | None) -> str:
        return f"{self.error} was met {many(number, 'time')}" if number else f"nobody has met {self.error}"


@named("elapsed_ms")
class ElapsedMs(Counted, frozen=True):
    """Milliseconds, rounded down, from the first event of one kind to the first of another after it."""

    start: dict[str, Any]
    stop: dict[str, Any]
    scope: Scope = "step"

    def check(self) -> None:
        for name in ("start", "stop"):
            try:
                EventHappened.prepare(getattr(self, name))
            except Problem as wrong:
                raise wrong.under(name) from None

    def _first(self, scene: Scene, wanted: dict[str, Any], after_us: int) -> Happening | None:
        condition = msgspec.convert(EventHappened.prepare({**wanted, "scope": self.scope}), EventHappened)
        return next((h for h in condition.found(scene) if h.at_us >= after_us), None)

    def count(self, scene: Scene) -> int | None:
        begun = self._first(scene, self.start, 0)
        ended = self._first(scene, self.stop, begun.at_us) if begun is not None else None
        return (ended.at_us - begun.at_us) // 1000 if begun is not None and ended is not None else None

    def say(self, number: int | None) -> str:
        first, second = (_words(str(wanted.get("event"))) for wanted in (self.start, self.stop))
        span = f"“{first}” to “{second}”"
        return f"there is no time to tell yet from {span}" if number is None else f"{number:,} ms from {span}"


def _words(kind: str) -> str:
    """LeaderChanged as a reader says it: leader changed."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()
