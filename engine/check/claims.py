"""The claims that can be put to the test: a small vocabulary, typed, each with the sentence in which a person states it.

A claim says what a whole run must show. Its watch follows the run's events and, once the cluster has healed and come to rest, names the
counterexample, or nothing. Unlike the invariants, claims know no licences: "no acknowledged record is lost" is refuted by a loss that
Kafka never promised to prevent, and that is the lesson.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Protocol, get_args

import msgspec

from engine import events as ev
from engine.check.arena import Arena
from engine.errors import EngineError
from engine.messages.base import TopicPartition

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3_600)]
MAX_CLAIM_CHARACTERS = 200


class Claim(msgspec.Struct, frozen=True, tag=True):
    """A statement about every run."""


class NoRecordLost(Claim, frozen=True, tag=True):
    """no acknowledged record is lost"""


class NoDuplicate(Claim, frozen=True, tag=True):
    """no duplicate"""


class OrderPerKey(Claim, frozen=True, tag=True):
    """order per key holds"""


class NoStop(Claim, frozen=True, tag=True):
    """no partition stops longer than S seconds"""

    seconds: Seconds


class NoFailedRecordStored(Claim, frozen=True, tag=True):
    """no failed record is stored"""


class OneLeader(Claim, frozen=True, tag=True):
    """no two brokers believe that they lead one partition"""


class HighWatermarkNeverFalls(Claim, frozen=True, tag=True):
    """no replica's high watermark falls"""


class LeaderWithin(Claim, frozen=True, tag=True):
    """no partition is without a leader longer than S seconds"""

    seconds: Seconds


class EveryRecordRead(Claim, frozen=True, tag=True):
    """every acknowledged record is read"""


class NoRecordReadTwice(Claim, frozen=True, tag=True):
    """no record is read twice"""


AnyClaim = (
    NoRecordLost
    | NoDuplicate
    | OrderPerKey
    | NoStop
    | NoFailedRecordStored
    | OneLeader
    | HighWatermarkNeverFalls
    | LeaderWithin
    | EveryRecordRead
    | NoRecordReadTwice
)
CLAIMS: dict[str, type[Claim]] = {claim.__doc__ or "": claim for claim in get_args(AnyClaim)}
"""The sentence → the claim; S stands for a number."""


def parse_claim(text: str) -> Claim:
    """Raises EngineError that lists the vocabulary, or says what is wrong with the number."""
    plain = " ".join(text[:MAX_CLAIM_CHARACTERS].strip().rstrip(".").lower().replace("_", " ").split())
    for sentence, kind in CLAIMS.items():
        pattern = re.escape(sentence.lower().replace("_", " ")).replace(
            r"longer\ than\ s\ seconds", r"longer\ than\ (\S+?)\ ?s(?:econds?)?"
        )
        match = re.fullmatch(pattern, plain)
        if match is None:
            continue
        if not match.groups():
            return kind()
        try:
            return msgspec.convert({"type": kind.__name__, "seconds": float(match[1])}, kind)
        except (ValueError, msgspec.ValidationError):
            raise EngineError(
                f"claim: {match[1]!r} is no number of seconds between 0 and 3600; write for example {sentence.replace(' S ', ' 10 ')!r}.",
                field="claim",
            ) from None
    known = "; ".join(CLAIMS)
    raise EngineError(f"claim: {text[:80]!r} is none that can be tested. Known are: {known}. S is a number.", field="claim")


def spell_claim(claim: Claim) -> str:
    """The sentence, with its number."""
    sentence = claim.__doc__ or ""
    return sentence.replace(" S ", f" {claim.seconds:g} ") if isinstance(claim, (NoStop, LeaderWithin)) else sentence


class Watch(Protocol):
    """Follows one run. ``found`` is the first counterexample met on the way, "" as long as there is none."""

    found: str

    def observe(self, fresh: list[ev.Happening]) -> None: ...

    def conclude(self, arena: Arena) -> str:
        """The counterexample, "" where the claim held."""


def watch(claim: Claim) -> Watch:
    return WATCHES[type(claim)](claim)


def clock(at_us: int) -> str:
    return f"{at_us / 1e6:.3f} s"


class _AtTheEnd:
    """For claims that are judged by what the logs hold when all has come to rest."""

    def __init__(self, judge: Callable[[Arena], str]) -> None:
        self.found = ""
        self.judge = judge

    def observe(self, fresh: list[ev.Happening]) -> None:
        """The arena's own outcome takes note of what was sent and promised."""

    def conclude(self, arena: Arena) -> str:
        return self.judge(arena)


def _lost(arena: Arena) -> str:
    places = arena.outcome.places(arena.world)
    for (producer, _, _), batch in arena.outcome.sent.items():
        for record_id in batch.record_ids:
            if batch.promise is not None and record_id not in places[batch.partition]:
                return f"record {record_id} of {producer} was acknowledged with acks={_acks(batch.acks)} and is gone from {batch.partition}"
    return ""


def _acks(acks: int) -> str:
    return "all" if acks == -1 else str(acks)


def _duplicated(arena: Arena) -> str:
    for partition, records in arena.outcome.places(arena.world).items():
        for record_id, offsets in records.items():
            if len(offsets) > 1:
                return f"record {record_id} lies in {partition} at the offsets {', '.join(map(str, offsets))}"
    return ""


def _failed_but_stored(arena: Arena) -> str:
    places = arena.outcome.places(arena.world)
    for (producer, _, _), batch in arena.outcome.sent.items():
        for record_id in batch.record_ids if batch.resolved and batch.promise is None else ():
            if record_id in places[batch.partition]:
                return f"{producer} was told that record {record_id} failed; it lies in {batch.partition} nevertheless"
    return ""


class _OrderPerKey:
    """In the log of one partition, and in the order in which each consumer first read: a key that moved to another partition may be read
    out of order though each log is in order."""

    def __init__(self) -> None:
        self.found = ""
        self.read: dict[str, dict[tuple[TopicPartition, int], int]] = {}

    def observe(self, fresh: list[ev.Happening]) -> None:
        for happening in fresh:
            event = happening.event
            if type(event) is ev.RecordsConsumed:
                seen = self.read.setdefault(event.consumer, {})
                partition = TopicPartition(event.topic, event.partition)
                for offset in range(event.first_offset, event.last_offset + 1):
                    seen.setdefault((partition, offset), len(seen))

    def conclude(self, arena: Arena) -> str:
        places = arena.outcome.places(arena.world)
        lines: dict[tuple[str, str], list[tuple[int, TopicPartition]]] = {}
        for (producer, _, _), batch in arena.outcome.sent.items():
            for record_id, key in zip(batch.record_ids, batch.keys, strict=True):
                if key is not None and record_id in places[batch.partition]:
                    lines.setdefault((producer, key), []).append((record_id, batch.partition))
        for (producer, key), records in lines.items():
            stored = [(record_id, partition, places[partition][record_id][0]) for record_id, partition in sorted(records)]
            for (first, here, low), (second, there, high) in pairwise(stored):
                if here == there and low > high:
                    return (
                        f"{producer} sent record {first} before {second}, both with {key}; in {here} they lie at {low} and {high}"
                    )
                for consumer, seen in self.read.items():
                    if seen.get((here, low), -1) > seen.get((there, high), 1 << 62):
                        return f"{producer} sent record {first} before {second}, both with {key}; {consumer} read {second} ({there}) first"
        return ""


class _NoStop:
    """A partition stops while records wait for their acknowledgement and none comes. What a producer's own death or pause holds up is not
    the partition's stop."""

    def __init__(self, seconds: float) -> None:
        self.limit_us = int(seconds * 1e6)
        self.found = ""
        self.waiting: dict[TopicPartition, dict[tuple[str, int], int]] = {}
        self.last_ack: dict[TopicPartition, int] = {}

    def observe(self, fresh: list[ev.Happening]) -> None:
        for happening in fresh:
            event = happening.event
            kind = type(event)
            if isinstance(event, ev.ProduceSent):
                if event.attempt == 1:
                    waiting = self.waiting.setdefault(TopicPartition(event.topic, event.partition), {})
                    waiting[event.producer, event.batch_id] = happening.at_us
            elif isinstance(event, (ev.RecordsAcknowledged, ev.RecordsFailed)):
                self._resolved(event, happening.at_us)
            elif kind in (ev.NodeKilled, ev.NodePaused, ev.NodeStopped, ev.PowerLost):
                for waiting in self.waiting.values():
                    for key in [key for key in waiting if key[0] == event.name]:  # type: ignore[attr-defined]
                        del waiting[key]

    def _resolved(self, event: ev.RecordsAcknowledged | ev.RecordsFailed, at_us: int) -> None:
        partition = TopicPartition(event.topic, event.partition)
        waiting = self.waiting.get(partition, {})
        if waiting and not self.found:
            since = max(min(waiting.values()), self.last_ack.get(partition, 0))
            if at_us - since > self.limit_us:
                self.found = f"{partition} acknowledged nothing from {clock(since)} to {clock(at_us)}, though records were waiting"
        waiting.pop((event.producer, event.batch_id), None)
        if isinstance(event, ev.RecordsAcknowledged):
            self.last_ack[partition] = at_us

    def conclude(self, arena: Arena) -> str:
        return self.found


class _LeaderWithin:
    """By the committed metadata."""

    def __init__(self, seconds: float) -> None:
        self.limit_us = int(seconds * 1e6)
        self.found = ""
        self.since: dict[TopicPartition, int] = {}

    def observe(self, fresh: list[ev.Happening]) -> None:
        for happening in fresh:
            event = happening.event
            if isinstance(event, ev.LeaderChanged):
                partition = TopicPartition(event.topic, event.partition)
                if event.new_leader == -1:
                    self.since.setdefault(partition, happening.at_us)
                    continue
                since = self.since.pop(partition, happening.at_us)
                if happening.at_us - since > self.limit_us and not self.found:
                    self.found = f"{partition} had no leader from {clock(since)} to {clock(happening.at_us)}"

    def conclude(self, arena: Arena) -> str:
        return self.found


class _OneLeader:
    """In their own eyes: a leader that was cut off does not know yet that it has been replaced."""

    def __init__(self) -> None:
        self.found = ""
        self.leaders: dict[TopicPartition, dict[int, int]] = {}

    def observe(self, fresh: list[ev.Happening]) -> None:
        for happening in fresh:
            event = happening.event
            if isinstance(event, (ev.LeaderStarted, ev.FollowerStarted)):
                partition = TopicPartition(event.topic, event.partition)
                leaders = self.leaders.setdefault(partition, {})
                leaders.pop(event.broker, None)
                if isinstance(event, ev.LeaderStarted):
                    for other in leaders if not self.found else ():
                        self.found = (
                            f"broker {event.broker} began to lead {partition} at {clock(happening.at_us)}"
                            f" while broker {other} still believed that it did"
                        )
                    leaders[event.broker] = event.leader_epoch
            elif isinstance(event, (ev.NodeKilled, ev.NodeStopped, ev.PowerLost)) and event.name.startswith("broker-"):
                for leaders in self.leaders.values():
                    leaders.pop(int(event.name.removeprefix("broker-")), None)

    def conclude(self, arena: Arena) -> str:
        return self.found


class _HighWatermark:
    """Seen from outside: what the partition's leaders said, one after the other."""

    def __init__(self) -> None:
        self.found = ""
        self.highest: dict[TopicPartition, int] = {}

    def observe(self, fresh: list[ev.Happening]) -> None:
        for happening in fresh:
            event = happening.event
            if isinstance(event, ev.HighWatermarkAdvanced):
                partition = TopicPartition(event.topic, event.partition)
                highest = self.highest.get(partition, 0)
                if event.old < highest and not self.found:
                    self.found = f"{partition}: the high watermark was {highest}; broker {event.broker} went on from {event.old}"
                self.highest[partition] = max(highest, event.new)

    def conclude(self, arena: Arena) -> str:
        return self.found


class _Readings:
    """How often each offset was read, by all consumers together where they share a group, else by each alone."""

    def __init__(self) -> None:
        self.found = ""
        self.times: dict[str, dict[tuple[TopicPartition, int], int]] = {}

    def observe(self, fresh: list[ev.Happening]) -> None:
        for happening in fresh:
            event = happening.event
            if isinstance(event, ev.RecordsConsumed):
                seen = self.times.setdefault(event.consumer, {})
                partition = TopicPartition(event.topic, event.partition)
                for offset in range(event.first_offset, event.last_offset + 1):
                    seen[partition, offset] = seen.get((partition, offset), 0) + 1

    def readers(self, arena: Arena) -> dict[str, dict[tuple[TopicPartition, int], int]]:
        """Group, or consumer without one → what it read."""
        merged: dict[str, dict[tuple[TopicPartition, int], int]] = {}
        for consumer, seen in self.times.items():
            group = arena.world.client_configs.get(consumer, {}).get("group.id", "") or consumer
            into = merged.setdefault(group, {})
            for place, times in seen.items():
                into[place] = into.get(place, 0) + times
        return merged

    def conclude(self, arena: Arena) -> str:
        raise NotImplementedError


class _EveryRecordRead(_Readings):
    def conclude(self, arena: Arena) -> str:
        places = arena.outcome.places(arena.world)
        for reader, seen in self.readers(arena).items():
            for (producer, _, _), batch in arena.outcome.sent.items():
                for record_id in batch.record_ids if batch.promise is not None else ():
                    offsets = places[batch.partition].get(record_id, [])
                    if not any((batch.partition, offset) in seen for offset in offsets):
                        where = f"lies in {batch.partition} at {offsets[0]}" if offsets else f"is gone from {batch.partition}"
                        return f"record {record_id} of {producer} was acknowledged and {where}; {reader} never read it"
        return ""


class _NoRecordReadTwice(_Readings):
    def conclude(self, arena: Arena) -> str:
        for reader, seen in self.readers(arena).items():
            for (partition, offset), times in seen.items():
                if times > 1:
                    return f"{reader} read offset {offset} of {partition} {times} times"
        return ""


WATCHES: dict[type[Claim], Callable[[Claim], Watch]] = {
    NoRecordLost: lambda claim: _AtTheEnd(_lost),
    NoDuplicate: lambda claim: _AtTheEnd(_duplicated),
    OrderPerKey: lambda claim: _OrderPerKey(),
    NoStop: lambda claim: _NoStop(claim.seconds),  # type: ignore[attr-defined]
    NoFailedRecordStored: lambda claim: _AtTheEnd(_failed_but_stored),
    OneLeader: lambda claim: _OneLeader(),
    HighWatermarkNeverFalls: lambda claim: _HighWatermark(),
    LeaderWithin: lambda claim: _LeaderWithin(claim.seconds),  # type: ignore[attr-defined]
    EveryRecordRead: lambda claim: _EveryRecordRead(),
    NoRecordReadTwice: lambda claim: _NoRecordReadTwice(),
}
