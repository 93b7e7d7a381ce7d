"""Events in plain words: one sentence for each, how much it matters, and which objects on the stage it concerns.

The feed, *Why?*, the fuzzer's trace and the screen reader all speak through here, so that one thing is called by one name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine import events as e
from engine.events import Event, Happening
from engine.view.phrases import command_text, spell
from engine.view.sentences import SENTENCES, clock

__all__ = ["EVENT_NAMES", "clock", "command_text", "explain_chain", "level", "narrate", "objects", "spell"]

EVENT_NAMES: dict[str, type[Event]] = {kind.__name__: kind for kind in SENTENCES}

MAJOR, MINOR, TRACE = "major", "minor", "trace"


def narrate(event: Event) -> str:
    """One plain sentence, with its full stop."""
    return SENTENCES[type(event)](event)


def level(event: Event) -> str:
    """ "major" (the feed shows it by default), "minor" (the ordinary run of things) or "trace" (for the patient)."""
    kind = type(event)
    if kind in _DEPENDS:
        return MAJOR if _DEPENDS[kind](event) else MINOR
    return TRACE if kind in _TRACE else MINOR if kind in _MINOR else MAJOR


def objects(event: Event) -> list[str]:
    """The stage objects concerned: nodes ("broker-1"), partitions ("orders-0"), replicas ("orders-0@2"), topics ("orders"), links
    ("broker-1>broker-2"). The one it happened to comes first."""
    found: list[str] = []
    for name in event.__struct_fields__:
        finder = _OBJECTS.get(name)
        value = getattr(event, name) if finder else None
        if finder and value not in (None, -1, ""):
            found += finder(event, value)
    return list(dict.fromkeys(found))


def explain_chain(chain: list[Happening]) -> list[str]:
    """A chain of causes, root first (``Lab.why``), as lines such as "0:04.190 Broker 1 was killed."."""
    return [f"{clock(happening.at_us)} {narrate(happening.event)}" for happening in chain]


_TRACE: frozenset[type[Event]] = frozenset(
    {
        e.RecordsReplicated,
        e.QuorumVoteGranted,
        e.MessageLost,
        e.FollowerStarted,
        e.ProducerIdAssigned,
        e.ShutdownGranted,
        e.GroupStateChanged,
        e.CoordinatorFound,
        e.CommitCompleted,
    }
)
_MINOR: frozenset[type[Event]] = frozenset(
    {
        e.QuorumElectionStarted, e.QuorumLogTruncated, e.BrokerRegistered, e.LeaderStarted, e.RecordsAppended, e.HighWatermarkAdvanced,
        e.IsrShrinkProposed, e.IsrExpandProposed, e.ProduceAcknowledged, e.SegmentRolled, e.ProduceSent, e.RecordsAcknowledged,
        e.ConsumerPositioned, e.RecordsConsumed, e.AlterPartitionRefused, e.ProduceRetried, e.ProduceRefused,
        e.OffsetsCommitted, e.CoordinatorUnloaded, e.TargetAssignmentComputed, e.ShareRecordsAcquired,
        e.LastStableOffsetAdvanced, e.OffsetsAddedToTransaction, e.TransactionStarted, e.PartitionAddedToTransaction, e.TransactionPrepared,
        e.TransactionMarkerWritten,
        e.CoordinatorLost, e.GroupJoining, e.PartitionsDealt, e.GroupJoined, e.ProcessingSet, e.RecordsProcessed,
        e.ShareRecordsDelivered, e.VerdictsSet,
    }
)  # fmt: skip
_DEPENDS: dict[type[Event], Callable[[Any], bool]] = {
    e.ShareRecordsProcessed: lambda v: v.verdict != "accept",
    e.ShareAcknowledged: lambda v: v.archived > 0,
    e.TransactionCompleted: lambda v: not v.committed,
    e.ReplicaTruncated: lambda v: v.to_offset < v.from_offset,
    e.LogRecovered: lambda v: not v.clean,
    e.AdminAnswered: lambda v: v.error != "NONE" or any(error != "NONE" for _, error, _ in v.results),
}


# -- objects on the stage ------------------------------------------------------------------------------------------------------


def _broker_objects(event: Any, broker: int) -> list[str]:
    fields = event.__struct_fields__
    if "topic" in fields and "partition" in fields:
        return [f"{event.topic}-{event.partition}@{broker}", f"broker-{broker}"]
    return [f"broker-{broker}"]


def _several(event: Any, brokers: tuple[int, ...]) -> list[str]:
    return [f"{event.topic}-{event.partition}@{broker}" for broker in brokers]


def _changed_isr(event: Any, isr: tuple[int, ...]) -> list[str]:
    return _several(event, tuple(sorted(set(event.old_isr) ^ set(isr))))


def _resource(event: Any, name: str) -> list[str]:
    """Of an ACL, the one topic that it names."""
    if event.resource_type == "topic":
        return [name] if name != "*" and getattr(event, "pattern_type", "literal") == "literal" else []
    return [f"broker-{name}"] if isinstance(event, e.ConfigChanged) else []


def _pairs(event: Any, partitions: Any) -> list[str]:
    """(topic, partition) each; elsewhere the field is a number."""
    return [f"{topic}-{number}" for topic, number in partitions] if isinstance(partitions, tuple) else []


_OBJECTS: dict[str, Callable[[Any, Any], list[str]]] = {
    "name": lambda event, name: [] if isinstance(event, e.ConfigChanged) else [name],
    "source": lambda event, source: [f"{source}>{event.target}", source],
    "target": lambda event, target: [target],
    "controller": lambda event, controller: [f"controller-{controller}"],
    "voter": lambda event, voter: [f"controller-{voter}"],
    "candidate": lambda event, candidate: [f"controller-{candidate}"],
    "broker": _broker_objects,
    "leader": _broker_objects,
    "old_leader": _broker_objects,
    "new_leader": _broker_objects,
    "added": _broker_objects,
    "removed": _several,
    "new_isr": _changed_isr,
    "new_replicas": _several,
    "replicas": _several,
    "topic": lambda event, topic: [] if "partition" in event.__struct_fields__ else [topic],
    "partition": lambda event, partition: [f"{event.topic}-{partition}"],
    "partitions": _pairs,
    "resource_name": _resource,
    "producer": lambda event, name: [name],
    "consumer": lambda event, name: [name],
    "group": lambda event, name: [f"group:{name}"],
    "client": lambda event, name: [name],
}
