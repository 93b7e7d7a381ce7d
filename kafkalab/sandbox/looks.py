"""Looking into a lab without changing it: events, causes, the ledger, bytes. Everything is plain data, bounded."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import msgspec

from engine.check.ledger import LedgerTracker
from engine.errors import EngineError
from engine.lab import Lab
from engine.view.microscope import look_at_batch
from kafkalab.sandbox import bounds
from kafkalab.sandbox.limiter import WORK
from kafkalab.sandbox.live import Live, sentence

P = ParamSpec("P")
R = TypeVar("R")
_ENCODER = msgspec.json.Encoder()
_TRACKERS: WeakKeyDictionary[Live, tuple[Lab, LedgerTracker]] = WeakKeyDictionary()


def charged(look: Callable[Concatenate[Live, P], R]) -> Callable[Concatenate[Live, P], R]:
    """What a look costs is taken off its visitor's share of the core."""

    @wraps(look)
    def charging(live: Live, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with WORK.charged(live.owner):
            return look(live, *args, **kwargs)

    return charging


@charged
def history(live: Live, after: int, limit: int) -> dict[str, Any]:
    """``{events, newest}``: sentences after that event, oldest first."""
    _number("after", after, 0, 2**53)
    _number("limit", limit, 1, bounds.MAX_EVENTS_PER_PAGE)
    events = [sentence(happening) for happening in live.lab.history(after, limit)]
    return {"events": events, "newest": live.lab.kernel.next_event_id - 1}


@charged
def why(live: Live, event_id: int) -> dict[str, Any]:
    """``{chain}``: the events that led to this one, the root first. Raises EngineError for one that is not remembered."""
    _number("event_id", event_id, 1, 2**53)
    chain = live.lab.why(event_id, bounds.MAX_WHY)
    if not chain:
        raise EngineError(
            f"event_id: event {event_id} is not in this history (it lies in the future, or is too long ago).", field="event_id"
        )
    return {"chain": [sentence(happening) for happening in chain]}


@charged
def view(live: Live) -> bytes:
    """``{view, digest, clock}`` as JSON: the whole of what the stage shows."""
    return _ENCODER.encode({"view": live.lab.view(), "digest": live.lab.digest(), "clock": live.clock()})


@charged
def metrics(live: Live) -> dict[str, Any]:
    """``{now_us, metrics}``: Kafka's metrics by their JMX names."""
    return {"now_us": live.lab.now_us, "metrics": live.lab.view().metrics}


def ledger_of(live: Live) -> LedgerTracker:
    """The lab's ledger, brought up to now."""
    lab, tracker = _TRACKERS.get(live, (None, None))
    if tracker is None or lab is not live.lab:
        tracker = LedgerTracker()
        _TRACKERS[live] = (live.lab, tracker)
    tracker.update(live.lab)
    return tracker


@charged
def ledger(live: Live, fate: str = "", offset: int = 0, limit: int = 0) -> dict[str, Any]:
    """``{totals, rows, folded, matching}``: the rows of one fate (or all) from ``offset``; ``limit`` 0 is all that are kept."""
    _number("offset", offset, 0, 2**53)
    _number("limit", limit, 0, 10_000)
    found = ledger_of(live).snapshot()
    if fate and fate not in found.totals:
        raise EngineError(f"fate: choose one of {', '.join(found.totals)}.", field="fate")
    rows = [row for row in found.rows if not fate or row.fate == fate]
    shown = rows[offset:] if not limit else rows[offset : offset + limit]
    return {"totals": found.totals, "rows": msgspec.to_builtins(shown), "folded": found.folded, "matching": len(rows)}


@charged
def bytes_of(live: Live, broker: int, topic: str, partition: int, offset: int, first_record: int = 0) -> dict[str, Any]:
    """One batch of one replica under the microscope. Raises EngineError where it is not there."""
    _number("broker", broker, 0, 10**6)
    _number("partition", partition, 0, 10**6)
    _number("offset", offset, 0, 2**62)
    batch = look_at_batch(live.lab.kernel, topic, partition, offset, broker, first_record)
    return {**msgspec.to_builtins(batch), "file": batch.path}


def _number(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise EngineError(f"{field}: {value} lies outside {least} to {most}.", field=field)
