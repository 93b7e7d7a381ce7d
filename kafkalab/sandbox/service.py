"""What can be done with sandboxes: the one place that socket, API, pages and lessons call.

Every function takes the visitor's id and refuses (404) what is not theirs. Refusals are ``EngineError`` (a field to correct) or
``Refusal``; in both cases nothing has changed.
"""

from __future__ import annotations

import re
import uuid
from time import monotonic
from typing import Any, cast

import msgspec
from django.db import transaction
from django.utils import timezone

from engine import commands as cm
from engine import limits
from engine.errors import EngineError
from engine.lab import Lab
from engine.spec import ClusterSpec, TopicSpec
from kafkalab.sandbox import bounds, journal, sharing
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
    is_plain,
    work_of,
)
from kafkalab.sandbox.journal import Saved, database
from kafkalab.sandbox.limiter import CREATIONS
from kafkalab.sandbox.live import Live, check_pace
from kafkalab.sandbox.models import Checkpoint, Sandbox, Share
from kafkalab.sandbox.shelf import shelf

FREE_SPEC = ClusterSpec(topics=(TopicSpec("orders", 3, 3),))
"""What "Open the lab" starts with: three brokers and a topic with three replicas."""
FREE_TITLE = "Free lab"
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


def _an_id(text: str) -> str:
    """What cannot be an id does not reach the database. Raises Refusal (404)."""
    if not _ID.fullmatch(text):
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
    await _make_room(visitor, replace_oldest=replace_oldest)
    lab = await shelf().fresh(spec, seed)
    row = Sandbox(id=str(uuid.uuid4()), owner=visitor, lesson=lesson, title=title, spec=encode_spec(spec), seed=seed)
    return await _adopt(row, lab, [], None)


def check_title(title: str) -> None:
    """Raises EngineError for what a database or a page could not hold."""
    if len(title) > bounds.MAX_TITLE:
        raise EngineError(f"title: has {len(title)} characters; at most {bounds.MAX_TITLE} are kept.", field="title")
    if not title.isprintable() or any("\ud800" <= letter <= "\udfff" for letter in title):
        raise EngineError("title: holds control characters; use plain text.", field="title")


def parse_spec(content: object) -> ClusterSpec:
    """A spec as JSON data. Raises EngineError naming the field."""
    try:
        return msgspec.convert(content, ClusterSpec)
    except (msgspec.ValidationError, RecursionError) as wrong:
        refusal = decoding_refusal(wrong, "", "Nothing was created.")
        field = f"spec.{refusal.field}".rstrip(".")
        raise EngineError(f"spec.{refusal.message}".replace("spec.: ", "spec: "), field=field) from None


async def _adopt(row: Sandbox, lab: Lab, entries: list[tuple[int, AnyInput]], saved: Saved | None) -> Sandbox:
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


async def _make_room(visitor: str, *, replace_oldest: bool) -> None:
    rows = await database(_rows_of, visitor)
    if len(rows) < bounds.MAX_SANDBOXES_PER_VISITOR:
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
    live.rebase()
    live.paused_by = live.paused_by or stopped
    ack = await do(live, Arrived())
    return ack, live.lab.now_us >= until_us


async def pass_time(live: Live, until_us: int, *, to_event: bool = False) -> None:
    """Lets time pass without writing it down, up to ``until_us`` or (``to_event``) the next event; the caller ends with ``do(Arrived())``."""

    def part(deadline: float) -> bool:
        if live.lock.locked():
            return False
        if to_event:
            live.run_to_event(until_us)
            return True
        return live.run(max(until_us, live.lab.now_us), deadline)

    while not await shelf().core.slice(part):
        pass


def _check_time(field: str, at_us: int) -> None:
    if not 0 <= at_us <= limits.MAX_NOW_US:
        raise EngineError(f"{field}: {at_us} lies outside virtual time, which runs from 0 to {limits.MAX_NOW_US} µs.", field=field)


# -- forks, twins, shares -----------------------------------------------------------------------------------------------------------


async def fork(
    live: Live,
    *,
    at_us: int | None = None,
    commands: list[cm.AnyCommand] | None = None,
    change: sharing.Change | None = None,
    replay: bool = False,
    title: str = "",
) -> tuple[Sandbox, list[str]]:
    """A second sandbox that stands at ``at_us`` (None: now) of this one's past.

    ``change``: it had that setting from its start, and met the same inputs. ``commands`` are given to it there. ``replay``: then it meets
    the rest of this line's inputs too, at their times, up to where this one has got. Returns it and what it refused of those.
    """
    CREATIONS.check(live.owner)
    await _make_room(live.owner, replace_oldest=False)
    check_title(title)
    here = live.lab.now_us if at_us is None else at_us
    if not live.lab.begin_us <= here <= live.lab.end_us and (change is None or not 0 <= here <= live.lab.end_us):
        raise EngineError(
            f"at_us: history reaches from {live.lab.begin_us} to {live.lab.end_us} µs; {here} lies outside.", field="at_us"
        )
    inputs: sharing.Inputs = [(given.at_us, given.command) for given in live.lab.inputs]
    end_us = max(live.lab.end_us, here) if replay else here
    refused: list[str] = []
    if change is not None:
        spec, inputs = sharing.changed(live.lab.spec, inputs, change)
        lab = await shelf().fresh(spec, live.lab.seed)
        twin = Live("", live.owner, live.lesson, title, lab, 1.0, False)
        await _meet(twin, [given for given in inputs if given[0] <= here], refused)
        await _travel(twin, here)
    else:
        lab = live.lab.fork()
        if at_us is not None and at_us != lab.now_us:
            lab = _forked_at(live.lab, at_us)
        spec = lab.spec
        twin = Live("", live.owner, live.lesson, title, lab, 1.0, False)
    for command in commands or []:
        twin.do(Commanded(command, live.owner))
    if replay:
        await _meet(twin, [given for given in inputs if given[0] > here], refused)
        await _travel(twin, max(end_us, twin.lab.now_us))
    words = change.words() if change else "; ".join(type(command).__name__ for command in commands or [])
    row = Sandbox(
        id=str(uuid.uuid4()),
        owner=live.owner,
        lesson=live.lesson,
        title=(title or f"Twin of {live.title}")[: bounds.MAX_TITLE],
        spec=encode_spec(spec),
        seed=live.lab.seed,
        twin_of_id=live.id,
        twin_change=words[:300],
        playing=False,
    )
    return await _settle_in(row, twin.lab, live.owner), refused


def _forked_at(lab: Lab, at_us: int) -> Lab:
    """A copy of ``lab`` at a moment of its past or of its known future."""
    if at_us > lab.now_us:
        back = lab.now_us
        points, lab.breakpoints = lab.breakpoints, []
        try:
            lab.seek(at_us)
            there = lab.fork()
            lab.seek(back)
        finally:
            lab.breakpoints = points
        return there
    copy = lab.fork()
    copy.seek(at_us)
    return copy.fork()


async def _meet(twin: Live, inputs: sharing.Inputs, refused: list[str]) -> None:
    """Gives a lab the inputs of another, each at its time; what the changed world refuses is told, not fatal."""
    for at_us, command in inputs:
        await _travel(twin, at_us)
        try:
            twin.do(Commanded(command))
        except EngineError as wrong:
            if len(refused) < 20:
                refused.append(f"{type(command).__name__}: {wrong.message}")


async def _travel(twin: Live, until_us: int) -> None:
    def part(deadline: float) -> bool:
        if work_of(twin.lab) > bounds.MAX_FORK_DELIVERIES:
            raise Refusal(
                f"This history has more than {bounds.MAX_FORK_DELIVERIES} deliveries, the most that is replayed for a copy.",
                code="TOO_LONG",
                field="at_us",
                cure="Fork at an earlier moment, or from a younger sandbox.",
            )
        return twin.run(until_us, deadline)

    while not await shelf().core.slice(part):
        pass


async def _settle_in(row: Sandbox, lab: Lab, visitor: str) -> Sandbox:
    """A sandbox whose lab stands already: its inputs become its journal, with a checkpoint at the end."""
    entries: list[tuple[int, AnyInput]] = [(given.at_us, Commanded(given.command, visitor)) for given in lab.inputs]
    entries.append((lab.now_us, Arrived()))
    lab.breakpoints = []
    saved = Saved(len(entries), lab.now_us, work_of(lab), lab.digest(), is_plain(lab), b"[]", lab.checkpoint())
    return await _adopt(row, lab, entries, saved)


async def share(live: Live) -> Share:
    """A link to this moment. Raises Refusal where the visitor has too many."""
    content = sharing.write(live.lab.share(), live.title, live.lesson)
    made = Share(
        id=uuid.uuid4().hex,
        owner=live.owner,
        title=live.title,
        lesson=live.lesson,
        blob=sharing.pack(content),
        checkpoint=live.lab.checkpoint(),
    )
    await database(_store_share, made)
    return made


def _store_share(made: Share) -> None:
    """The oldest of a visitor's links make room; links are cheap to make anew."""
    with transaction.atomic():
        kept = Share.objects.filter(owner=made.owner).order_by("-created").values_list("id", flat=True)
        old = list(kept[bounds.MAX_SHARES_PER_VISITOR - 1 :])
        Share.objects.filter(id__in=old).delete()
        made.save(force_insert=True)


async def find_share(token: str) -> Share:
    found = await database(Share.objects.filter(id=token).first) if _ID.fullmatch(token) else None
    if found is None:
        raise Refusal("This link leads nowhere (any more).", status=404, code="NOT_FOUND", field="token", cure="Ask for a new one.")
    return found


async def open_share(token: str, visitor: str, *, replace_oldest: bool = False) -> Sandbox:
    """A copy for this visitor, at the shared moment."""
    CREATIONS.check(visitor)
    found = await find_share(token)
    await _make_room(visitor, replace_oldest=replace_oldest)
    opened = sharing.read(sharing.unpack(bytes(found.blob)))
    lab = Lab.restore(bytes(found.checkpoint))
    row = _copy_row(visitor, opened.spec, opened.seed, opened.title, opened.lesson)
    return await _settle_in(row, lab, visitor)


async def import_file(content: bytes, visitor: str, *, replace_oldest: bool = False) -> Sandbox:
    """A copy of what a file holds. Raises EngineError naming what in it is wrong."""
    CREATIONS.check(visitor)
    if len(content) > bounds.MAX_BODY_BYTES:
        raise EngineError(f"file: has {len(content)} bytes; at most {bounds.MAX_BODY_BYTES} are read.", field="file")
    opened = sharing.read(content)
    check_title(opened.title)
    await _make_room(visitor, replace_oldest=replace_oldest)
    lab = await shelf().fresh(opened.spec, opened.seed)
    copy = Live("", visitor, opened.lesson, opened.title, lab, 1.0, False)
    for number, (at_us, command) in enumerate(opened.inputs):
        if at_us < lab.now_us:
            raise EngineError(f"inputs[{number}]: its time lies before the cluster had formed.", field=f"inputs[{number}]")
        await _import_to(copy, at_us)
        try:
            copy.do(Commanded(command, visitor))
        except EngineError as wrong:
            raise EngineError(f"inputs[{number}]: {wrong.message}", field=f"inputs[{number}]") from None
    await _import_to(copy, max(opened.at_us, lab.now_us))
    row = _copy_row(visitor, opened.spec, opened.seed, opened.title, opened.lesson)
    return await _settle_in(row, copy.lab, visitor)


def _copy_row(visitor: str, spec: ClusterSpec, seed: int, title: str, lesson: str) -> Sandbox:
    return Sandbox(
        id=str(uuid.uuid4()),
        owner=visitor,
        lesson=lesson,
        title=title or FREE_TITLE,
        spec=encode_spec(spec),
        seed=seed,
        playing=False,
        last_used=timezone.now(),
    )


async def _import_to(copy: Live, until_us: int) -> None:
    def part(deadline: float) -> bool:
        if work_of(copy.lab) > bounds.MAX_IMPORT_DELIVERIES:
            raise EngineError(
                f"at_us: replaying this file takes more than {bounds.MAX_IMPORT_DELIVERIES} deliveries; share a link instead.",
                field="at_us",
            )
        return copy.run(until_us, deadline)

    while not await shelf().core.slice(part):
        pass


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
        "digest": live.lab.digest(),
        "clock": live.clock(),
        "checkpoint_seq": newest or 0,
        "fault": live.fault,
    }
