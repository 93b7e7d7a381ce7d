"""The sentences for what happens to members of groups (``engine.member_events``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine import member_events as e
from engine.cluster_events import Event
from engine.view.phrases import every_nth, ordinal, plural, preview


def _parts(partitions: e.Partitions) -> str:
    return ", ".join(f"{topic}-{number}" for topic, number in partitions)


def _joining(event: e.GroupJoining) -> str:
    why = f": {event.reason.rstrip('.')}" if event.reason else ""
    return f"{event.consumer} asks to join group {event.group}{why}."


def _joined(event: e.GroupJoined) -> str:
    if not event.assignor:
        return f"{event.consumer} is a member of group {event.group} in epoch {event.generation}."
    leads = ", as its leader" if event.is_leader else ""
    return f"{event.consumer} is a member of group {event.group} in generation {event.generation} ({event.assignor}){leads}."


def _assigned(event: e.PartitionsAssigned) -> str:
    if not event.partitions:
        what = "keeps what it has" if event.owned else "was given no partition"
        return f"{event.consumer} {what} in group {event.group}."
    return f"{event.consumer} took over {_parts(event.partitions)} in group {event.group}."


def _left(event: e.GroupLeft) -> str:
    how = "left" if event.told else "went away from"
    stays = "" if event.told else "; it keeps its place until its session times out"
    return f"{event.consumer} {how} group {event.group}: {event.reason.rstrip('.')}{stays}."


_HOW = {"auto": "by itself", "sync": "with commitSync", "rebalance": "before the rebalance", "close": "on close"}


def _committed(event: e.CommitCompleted) -> str:
    offsets = ", ".join(f"{topic}-{number} at {offset}" for topic, number, offset in event.offsets)
    return f"{event.consumer} committed {offsets} {_HOW.get(event.how, event.how)}."


def _processed(event: e.RecordsProcessed) -> str:
    first, last = event.first_offset, event.last_offset
    offsets = f"offset {first}" if first == last else f"offsets {first} to {last}"
    return f"{event.consumer} has processed {offsets} of {event.topic}-{event.partition}."


def _share_offsets(event: e.ShareRecordsDelivered | e.ShareRecordsProcessed | e.ShareAcknowledgementFailed) -> str:
    first, last = event.first_offset, event.last_offset
    offsets = f"offset {first}" if first == last else f"offsets {first} to {last}"
    return f"{offsets} of {event.topic}-{event.partition}"


_VERDICTS = {"accept": "is done with", "release": "releases", "reject": "rejects"}


def _judged(event: e.ShareRecordsProcessed) -> str:
    if event.failed:
        return f"The application of {event.consumer} failed at {_share_offsets(event)} and releases {_them(event)} for another attempt."
    after = {"release": ": once more for somebody", "reject": ": nobody is to get them again"}.get(event.verdict, "")
    after = after.replace("them", _them(event))
    return f"{event.consumer} {_VERDICTS[event.verdict]} {_share_offsets(event)}{after}."


def _them(event: e.ShareRecordsProcessed) -> str:
    return "it" if event.record_count == 1 else "them"


def _verdicts_set(event: e.VerdictsSet) -> str:
    parts = [f"releases {every_nth(event.release_every)}"] if event.release_every else []
    parts += [f"rejects {every_nth(event.reject_every)}"] if event.reject_every else []
    parts += [f'fails at records with "{preview(event.fail_on)}"'] if event.fail_on else []
    return f"{event.consumer} now {' and '.join(parts) or 'accepts every record'}."


MEMBER_SENTENCES: dict[type[Event], Callable[[Any], str]] = {
    e.CoordinatorFound: lambda v: f"Broker {v.broker} coordinates group {v.group}, {v.consumer} was told.",
    e.CoordinatorLost: lambda v: (
        f"{v.consumer} lost broker {v.broker}, the coordinator of group {v.group}, and looks for it anew ({v.reason})."
    ),
    e.GroupJoining: _joining,
    e.PartitionsDealt: lambda v: (
        f"{v.consumer}, leader of group {v.group}, dealt out {plural(v.partitions, 'partition')} to {plural(v.members, 'member')} "
        f"for generation {v.generation} ({v.assignor})."
    ),
    e.GroupJoined: _joined,
    e.PartitionsAssigned: _assigned,
    e.PartitionsRevoked: lambda v: f"{v.consumer} gave up {_parts(v.partitions)} in group {v.group}.",
    e.PartitionsLost: lambda v: (
        f"{v.consumer} lost {_parts(v.partitions)} in group {v.group}: others may read them already, and it can commit nothing for them."
    ),
    e.PollIntervalExceeded: lambda v: (
        f"{v.consumer} has not called poll for {v.max_poll_interval_ms:,} ms (max.poll.interval.ms) and leaves group {v.group}."
    ),
    e.GroupLeft: _left,
    e.MemberFenced: lambda v: f"{v.consumer} is out of group {v.group}: its {v.request} was answered {v.error}.",
    e.ConsumerCrashed: lambda v: f"The application of {v.consumer} ended: {v.error.rstrip('.')}.",
    e.CommitCompleted: _committed,
    e.CommitFailed: lambda v: f"{v.consumer} could not commit for group {v.group} ({v.how}): {v.error.rstrip('.')}.",
    e.ProcessingSet: lambda v: (
        f"{v.consumer} now takes {f'{v.processing_ms:,} ms' if v.processing_ms else 'no time'} for each record."
    ),
    e.RecordsProcessed: _processed,
    e.ShareRecordsDelivered: lambda v: (
        f"{v.consumer} got {_share_offsets(v)}{f' for the {ordinal(v.deliveries)} time in the group' if v.deliveries > 1 else ''}."
    ),
    e.ShareRecordsProcessed: _judged,
    e.ShareAcknowledgementFailed: lambda v: (
        f"What {v.consumer} said of {_share_offsets(v)} does not count ({v.error}): somebody may get the same records again."
    ),
    e.VerdictsSet: _verdicts_set,
}  # fmt: skip
