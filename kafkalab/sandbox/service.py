"""What can be done with sandboxes: the one place that socket, API, pages and lessons call.

Every function takes the visitor's id and refuses (404) what is not theirs. Refusals are ``EngineError`` (a field to correct) or
``Refusal``; in both cases nothing has changed.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, cast

import msgspec

from engine import commands as cm
from engine import limits
from engine.errors import EngineError
from engine.lab import Lab
from engine.spec import ClusterSpec, TopicSpec, with_small_internal_topics
from kafkalab.sandbox import bounds, journal
from kafkalab.sandbox.errors import Refusal, decoding_refusal, not_found, with_surrogates
from kafkalab.sandbox.inputs import (
    AnyInput,
    Arrived,
    BreakpointAdded,
    BreakpointRemoved,
    Commanded,
    Sought,
    Stepped,
    Switched,
    encode_spec,
    work_of,
)
from kafkalab.sandbox.journal import Saved, database
from kafkalab.sandbox.limiter import ADVANCES, CREATIONS, WORK
from kafkalab.sandbox.live import Live, check_pace
from kafkalab.sandbox.models import Checkpoint, Sandbox
from kafkalab.sandbox.shelf import shelf

FREE_SPEC = with_small_internal_topics(ClusterSpec(topics=(TopicSpec("orders", 3, 3),)))
"""What "Open the lab" starts with: three brokers and a topic with three replicas."""
FREE_TITLE = "Free lab"
_MAKING: Counter[str] = Counter()
"""Sandboxes that are being made, per visitor."""
_ID = re.compile(r"[0-9a-f-]{1,36}")


class Ack(msgspec.Struct, frozen=True):
    """An input is done and durable. ``event_id`` is the event that it caused, ``digest`` the view's right after it."""

    sandbox_id: str
    seq: int
    at_us: int
    now_us: int
    event_id: int
    digest: str


# -- opening and creating -----------------------------------------------------------------------------------------------------


async def open_lab(sandbox_id: str, visitor: str) -> Live:
    """The live lab. Raises Refusal (404) where there is none of the visitor's by that id."""
    return await shelf().get(_an_id(sandbox_id), visitor)


def is_id(text: str) -> bool:
    """Whether it could be an identifier made here."""
    return _ID.fullmatch(text) is not None


def _an_id(text: str) -> str:
    """What cannot be an id does not reach the database. Raises Refusal (404)."""
    if not is_id(text):
        raise not_found()
    return text


async def create(
    visitor: str,
    *,
    spec: ClusterSpec = FREE_SPEC,
    seed: int = 0,
    title: str = FREE_TITLE,
    lesson: str = "",
    replace_oldest: bool = False,
) -> Sandbox:
    """A new sandbox. Raises EngineError for a spec that Kafka would refuse; Refusal (409) where the visitor has too many."""
    check_title(title)
    CREATIONS.check(visitor)
    async with room(visitor, replace_oldest=replace_oldest):
        lab = await shelf().fresh(spec, seed)
        row = Sandbox(id=str(uuid.uuid4()), owner=visitor, lesson=lesson, title=title, spec=encode_spec(spec), seed=seed)
        return await establish(row, lab, [], None)


def check_title(title: str) -> None:
    """Raises EngineError for what a database or a page could not hold."""
    if len(title) > bounds.MAX_TITLE:
        raise EngineError(f"title: has {len(title)} characters; at most {bounds.MAX_TITLE} are kept.", field="title")
    if not title.isprintable() or any("\ud800" <= letter <= "\udfff" for letter in title):
        raise EngineError("title: holds control characters; use plain text.", field="title")


def parse_spec(content: object) -> ClusterSpec:
    """A spec as JSON data. Raises EngineError naming the field."""
    try:
        spec = msgspec.convert(content, ClusterSpec)
    except (msgspec.ValidationError, RecursionError) as wrong:
        refusal = decoding_refusal(wrong, "", "Nothing was created.")
        field = f"spec.{refusal.field}".rstrip(".")
        raise EngineError(f"spec.{refusal.message}".replace("spec.: ", "spec: "), field=field) from None
    refuse_mutants(spec)
    return spec


def refuse_mutants(spec: ClusterSpec) -> None:
    """Raises EngineError for a cluster that is not Kafka: its sabotages are for the simulator's own tests."""
    if spec.mutants:
        raise EngineError("spec.mutants: a lab is Kafka as it is; leave this field out.", field="spec.mutants")


async def establish(row: Sandbox, lab: Lab, entries: list[tuple[int, AnyInput]], saved: Saved | None) -> Sandbox:
    """Writes a new sandbox down and puts its lab on the shelf."""
    row.lease_owner = shelf().lease
    row.lease_until = 0
    row.replay_deliveries = work_of(lab)
    await database(journal.create, row, entries, saved)
    row = await database(journal.claim, row.id, shelf().lease, [shelf().lease])
    live = Live(row.id, row.owner, row.lesson, row.title, lab, row.speed, row.playing)
    live.seq = len(entries)
    live.spent = work_of(lab)
    live.checkpoint_spent = live.spent if saved else 0
    await shelf().put(live)
    return row


@asynccontextmanager
async def room(visitor: str, *, replace_oldest: bool) -> AsyncIterator[None]:
    """Room for one more sandbox, kept while it is made: requests that come together do not all see the same last place."""
    _MAKING[visitor] += 1
    try:
        await _make_room(visitor, _MAKING[visitor], replace_oldest=replace_oldest)
        yield
    finally:
        _MAKING[visitor] -= 1
        if not _MAKING[visitor]:
            del _MAKING[visitor]


async def _make_room(visitor: str, wanted: int, *, replace_oldest: bool) -> None:
    rows = await database(_rows_of, visitor)
    if len(rows) + wanted <= bounds.MAX_SANDBOXES_PER_VISITOR:
        return
    idle = [row for row in rows if not _watched(row.id)]
    if not idle:
        raise Refusal(
            f"All your {len(rows)} sandboxes are open in windows; that is as many as one browser may have.",
            status=409,
            code="TOO_MANY_SANDBOXES",
            cure="Close a window, or delete a sandbox that you no longer need.",
        )
    oldest = idle[-1]
    if not replace_oldest:
        raise Refusal(
            f"You have {len(rows)} sandboxes, as many as one browser may have. Not used for longest: {oldest.title}.",
            status=409,
            code="TOO_MANY_SANDBOXES",
            field=oldest.id,
            cure="Let the oldest go and try again, or delete one yourself.",
        )
    await delete(oldest.id, visitor)


def _watched(sandbox_id: str) -> bool:
    live = shelf().labs.get(sandbox_id)
    return live is not None and bool(live.watchers)


def _rows_of(visitor: str) -> list[Sandbox]:
    return list(Sandbox.objects.filter(owner=visitor).order_by("-last_used").only("id", "title", "lesson", "last_used", "twin_of"))


async def mine(visitor: str) -> list[Sandbox]:
    """The visitor's sandboxes, the one used last first."""
    return await database(_rows_of, visitor)


async def row_of(sandbox_id: str, visitor: str) -> Sandbox:
    """The sandbox's row, without waking its lab."""
    found = await database(Sandbox.objects.filter(id=_an_id(sandbox_id), owner=visitor).first)
    if found is None:
        raise not_found()
    return found


async def delete(sandbox_id: str, visitor: str) -> None:
    row = await row_of(sandbox_id, visitor)
    await shelf().forget(row.id)
    await database(row.delete)


# -- acting ---------------------------------------------------------------------------------------------------------------------


def parse_command(raw: bytes | dict[str, Any]) -> cm.AnyCommand:
    """A command from JSON. Raises EngineError naming the field, also where only its text is not text."""
    try:
        return cast(cm.AnyCommand, cm.parse(raw))
    except EngineError as wrong:
        if wrong.field != "$" or isinstance(raw, dict):
            raise
        readable = with_surrogates(raw)
        if not isinstance(readable, dict):
            what = wrong.message.removeprefix("$: ").partition(". Nothing")[0]
            raise decoding_refusal(ValueError(what), "command", "Nothing was changed.") from None
    return cast(cm.AnyCommand, cm.parse(readable))


async def submit(sandbox_id: str, command: cm.AnyCommand, by: str) -> Ack:
    """Carries out a command, once its journal entry is committed."""
    return await do(await open_lab(sandbox_id, by), Commanded(command, by))


async def do(live: Live, given: AnyInput) -> Ack:
    """Applies and journals any input."""
    number, entry, digest = await shelf().give(live, given)
    return Ack(live.id, entry.seq, entry.at_us, live.lab.now_us, number, digest)


async def seek(live: Live, at_us: int) -> Ack:
    """Moves the playhead; time stands still there until it is told to run."""
    _check_time("at_us", at_us)
    was, live.playing = live.playing, False
    try:
        ack = await do(live, Sought(at_us))
    except EngineError:
        live.playing = was
        raise
    live.paused_by = ""
    return ack


async def step(live: Live) -> Ack:
    """To the next event, and pause there."""
    live.pause("")
    return await do(live, Stepped())


async def switch(live: Live, branch: int) -> Ack:
    live.pause("")
    return await do(live, Switched(branch))


async def add_breakpoint(live: Live, event: str, topic: str, partition: int, node: str) -> Ack:
    return await do(live, BreakpointAdded(event, topic, partition, node))


async def remove_breakpoint(live: Live, number: int) -> Ack:
    if all(point.id != number for point in live.lab.breakpoints):
        raise EngineError(f"remove: there is no breakpoint {number}.", field="remove")
    return await do(live, BreakpointRemoved(number))


async def set_pace(live: Live, speed: object, running: bool | None) -> None:
    """How fast time runs while somebody watches. Raises EngineError naming the field."""
    pace, playing = check_pace(speed, running, (live.speed, live.playing))
    live.set_pace(pace, playing)
    live.nudge.set()
    await database(_store_pace, live.id, pace, playing)


def _store_pace(sandbox_id: str, speed: float, playing: bool) -> None:
    Sandbox.objects.filter(id=sandbox_id).update(speed=speed, playing=playing)


async def advance(live: Live, until_us: int) -> tuple[Ack, bool]:
    """Lets time pass for a caller who does not watch. The second tells whether ``until_us`` was reached in the time there is; a
    breakpoint stops it too."""
    _check_time("until_us", until_us)
    if until_us < live.lab.now_us:
        raise EngineError(f"until_us: {until_us} lies before now ({live.lab.now_us}); use seek to go back.", field="until_us")
    if until_us - live.lab.now_us > limits.MAX_ADVANCE_US:
        raise EngineError(f"until_us: at most {limits.MAX_ADVANCE_US} µs can be passed in one leap.", field="until_us")
    with ADVANCES.one_more(live.id):
        return await _advance(live, until_us)


async def _advance(live: Live, until_us: int) -> tuple[Ack, bool]:
    deadline = monotonic() + bounds.MAX_ADVANCE_WALL_S
    jump = live.jump
    stopped = live.paused_by
    live.paused_by = ""

    def part(until: float) -> bool:
        if live.lock.locked():
            return False
        return live.jump != jump or live.run(max(until_us, live.lab.now_us), until)

    while not await shelf().core.slice(part):
        if monotonic() >= deadline:
            break
        await _unlocked(live)
    live.rebase()
    live.paused_by = live.paused_by or stopped
    ack = await do(live, Arrived())
    return ack, live.lab.now_us >= until_us


async def play(live: Live, slices: Iterator[None]) -> Ack:
    """Lets something move the lab's time slice by slice (it gives no commands), and writes down where that led."""

    def part(deadline: float) -> bool:
        return not live.lock.locked() and live.exhaust(slices, deadline)

    while not await shelf().core.slice(part):
        live.nudge.set()
        await _unlocked(live)
    return await do(live, Arrived())


async def _unlocked(live: Live) -> None:
    """Waits while somebody else's input is at work in the lab, rather than ask in every slice."""
    if live.lock.locked():
        await asyncio.sleep(5 * bounds.SLICE_S)


def _check_time(field: str, at_us: int) -> None:
    if not 0 <= at_us <= limits.MAX_NOW_US:
        raise EngineError(f"{field}: {at_us} lies outside virtual time, which runs from 0 to {limits.MAX_NOW_US} µs.", field=field)


def _digest(live: Live) -> str:
    with WORK.charged(live.owner):
        return live.lab.digest()


async def state(live: Live) -> dict[str, Any]:
    """A sandbox as the API shows it."""
    newest = await database(
        lambda: Checkpoint.objects.filter(sandbox_id=live.id).order_by("-seq").values_list("seq", flat=True).first()
    )
    return {
        "id": live.id,
        "title": live.title,
        "lesson": live.lesson,
        "url": f"/sandbox/{live.id}/",
        "seq": live.seq,
        "digest": _digest(live),
        "clock": live.clock(),
        "checkpoint_seq": newest or 0,
        "fault": live.fault,
    }
