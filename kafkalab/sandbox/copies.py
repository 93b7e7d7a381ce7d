"""Copies of labs: forks and twins, links and files. Each becomes a sandbox of its own, with its history in its journal.

A file comes from anywhere, so every part of it is checked like a command, and the replay that makes a lab of it is bounded. A link was
made here and carries a checkpoint, for histories that would take too long to replay.
"""

from __future__ import annotations

import asyncio
import uuid

from django.db import transaction
from django.utils import timezone

from engine import commands as cm
from engine.errors import EngineError
from engine.lab import Input as Given
from engine.lab import Lab
from kafkalab.sandbox import bounds, hooks, sharing
from kafkalab.sandbox.errors import Refusal
from kafkalab.sandbox.inputs import AnyInput, Arrived, Commanded, encode_spec, is_plain, slice_to, work_of
from kafkalab.sandbox.journal import Saved, database
from kafkalab.sandbox.limiter import COPIES, CREATIONS
from kafkalab.sandbox.live import Live
from kafkalab.sandbox.models import Sandbox, Share
from kafkalab.sandbox.service import FREE_TITLE, check_title, establish, is_id, refuse_mutants, room
from kafkalab.sandbox.shelf import shelf

# -- forks and twins --------------------------------------------------------------------------------------------------------------


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
    check_title(title)
    with COPIES.one_more(live.owner):
        async with room(live.owner, replace_oldest=False):
            return await _fork(live, at_us, commands or [], change, replay, title)


async def _fork(
    live: Live, at_us: int | None, commands: list[cm.AnyCommand], change: sharing.Change | None, replay: bool, title: str
) -> tuple[Sandbox, list[str]]:
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
        async with live.lock:
            lab = await asyncio.to_thread(live.lab.fork)
        if at_us is not None and at_us != lab.now_us:
            lab = await _forked_at(lab, live.lab.inputs, at_us)
        spec = lab.spec
        twin = Live("", live.owner, live.lesson, title, lab, 1.0, False)
    for command in commands:
        twin.do(Commanded(command, live.owner))
    if replay:
        await _meet(twin, [given for given in inputs if given[0] > here], refused)
        await _travel(twin, max(end_us, twin.lab.now_us))
    words = change.words() if change else "; ".join(type(command).__name__ for command in commands)
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


async def _forked_at(copy: Lab, inputs: tuple[Given, ...], at_us: int) -> Lab:
    """``copy`` at a moment of its past, or of the future that ``inputs`` gave its original."""
    traveller = Live("", "", "", "", copy, 1.0, False)
    if at_us > copy.now_us:
        future = inputs[len(copy.inputs) :]
        await _meet(traveller, [(given.at_us, given.command) for given in future if given.at_us <= at_us], [])
        await _travel(traveller, at_us)
        return copy
    copy.approach(at_us)
    await _travel(traveller, at_us)
    return await asyncio.to_thread(copy.fork)


async def _meet(twin: Live, inputs: sharing.Inputs, refused: list[str]) -> None:
    """Gives a lab the inputs of another, each at its time; what the changed world refuses is told, not fatal."""
    for at_us, command in inputs:
        await _travel(twin, at_us)
        try:
            twin.do(Commanded(command))
        except EngineError as wrong:
            if len(refused) < 20:
                refused.append(f"{type(command).__name__}: {wrong.message}")


async def _travel(copy: Live, until_us: int, most: int = bounds.MAX_FORK_DELIVERIES) -> None:
    """Lets a copy's time pass in slices, past any breakpoint. Raises EngineError where that would take more than ``most`` deliveries."""

    def part(deadline: float) -> bool:
        if work_of(copy.lab) > most:
            raise EngineError(
                f"at_us: this history has more than {most} deliveries, the most that is replayed for a copy; take an earlier moment.",
                field="at_us",
            )
        return slice_to(copy.lab, until_us, deadline)

    while not await shelf().core.slice(part):
        pass


async def _settle_in(row: Sandbox, lab: Lab, visitor: str) -> Sandbox:
    """A sandbox whose lab stands already: its inputs become its journal, with a checkpoint at the end."""
    entries: list[tuple[int, AnyInput]] = [(given.at_us, Commanded(given.command, visitor)) for given in lab.inputs]
    entries.append((lab.now_us, Arrived()))
    lab.breakpoints = []
    content = await asyncio.to_thread(lab.checkpoint)
    saved = Saved(len(entries), lab.now_us, work_of(lab), lab.digest(), is_plain(lab), b"[]", content)
    return await establish(row, lab, entries, saved)


# -- links and files --------------------------------------------------------------------------------------------------------------


async def share(live: Live) -> Share:
    """A link to this moment. Raises Refusal where the visitor has too many."""
    async with live.lock:
        content = sharing.write(live.lab.share(), live.title, live.lesson)
        if len(content) > bounds.MAX_IMPORT_BYTES:
            raise Refusal(
                f"This history has {len(content)} bytes; a link holds at most {bounds.MAX_IMPORT_BYTES}.",
                status=413,
                code="TOO_LARGE",
                field="sandbox",
                cure="Share an earlier moment, or a new lab with fewer commands.",
            )
        checkpoint = await asyncio.to_thread(live.lab.checkpoint)
    made = Share(
        id=uuid.uuid4().hex,
        owner=live.owner,
        title=live.title,
        lesson=live.lesson,
        blob=sharing.pack(content),
        checkpoint=checkpoint,
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
    found = await database(Share.objects.filter(id=token).first) if is_id(token) else None
    if found is None:
        raise Refusal("This link leads nowhere (any more).", status=404, code="NOT_FOUND", field="token", cure="Ask for a new one.")
    return found


async def open_share(token: str, visitor: str, *, replace_oldest: bool = False) -> Sandbox:
    """A copy for this visitor, at the shared moment; with its history unless that is very long."""
    found = await find_share(token)
    opened = sharing.read(sharing.unpack(bytes(found.blob)))
    there = await asyncio.to_thread(Lab.restore, bytes(found.checkpoint))
    if work_of(there) <= bounds.SHARE_REPLAY_DELIVERIES:
        return await _open(opened, visitor, replace_oldest=replace_oldest)
    CREATIONS.check(visitor)
    async with room(visitor, replace_oldest=replace_oldest):
        return await _settle_in(_row(visitor, opened), there, visitor)


async def import_file(
    content: bytes, visitor: str, *, replace_oldest: bool = False, twin_of: str | None = None, twin_change: str = ""
) -> Sandbox:
    """A copy of what a file holds. Raises EngineError naming what in it is wrong."""
    if len(content) > bounds.MAX_BODY_BYTES:
        raise EngineError(f"file: has {len(content)} bytes; at most {bounds.MAX_BODY_BYTES} are read.", field="file")
    opened = sharing.read(content)
    refuse_mutants(opened.spec)
    return await _open(opened, visitor, replace_oldest=replace_oldest, twin_of=twin_of, twin_change=twin_change)


async def _open(
    opened: sharing.Opened, visitor: str, *, replace_oldest: bool = False, twin_of: str | None = None, twin_change: str = ""
) -> Sandbox:
    """Replays what was shared, in slices, into a sandbox."""
    check_title(opened.title)
    CREATIONS.check(visitor)
    with COPIES.one_more(visitor):
        async with room(visitor, replace_oldest=replace_oldest):
            lab = await _replayed(opened, visitor)
            row = _row(visitor, opened)
            row.twin_of_id, row.twin_change = twin_of, twin_change[:300]
            return await _settle_in(row, lab, visitor)


async def _replayed(opened: sharing.Opened, visitor: str) -> Lab:
    lab = await shelf().fresh(opened.spec, opened.seed)
    copy = Live("", visitor, opened.lesson, opened.title, lab, 1.0, False)
    for number, (at_us, command) in enumerate(opened.inputs):
        if at_us < lab.now_us:
            raise EngineError(f"inputs[{number}]: its time lies before the cluster had formed.", field=f"inputs[{number}]")
        await _travel(copy, at_us, bounds.MAX_IMPORT_DELIVERIES)
        try:
            copy.do(Commanded(command, visitor))
        except EngineError as wrong:
            raise EngineError(f"inputs[{number}]: {wrong.message}", field=f"inputs[{number}]") from None
    await _travel(copy, max(opened.at_us, lab.now_us), bounds.MAX_IMPORT_DELIVERIES)
    return lab


def _row(visitor: str, opened: sharing.Opened) -> Sandbox:
    return Sandbox(
        id=str(uuid.uuid4()),
        owner=visitor,
        lesson=hooks.known_lesson(opened.lesson),
        title=opened.title or FREE_TITLE,
        spec=encode_spec(opened.spec),
        seed=opened.seed,
        playing=False,
        last_used=timezone.now(),
    )
