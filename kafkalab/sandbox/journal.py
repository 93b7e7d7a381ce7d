"""The durable half of a sandbox: leases, the journal, checkpoints. Plain synchronous database work, called through ``database``.

An input is acknowledged only after its row is committed. With SQLite in WAL mode and ``synchronous=NORMAL`` a commit survives the
death of the process at any moment (the write-ahead log is in the kernel's page cache by then); only a power loss of the machine can
take the last commits, and then it takes whole entries from the end, never half of one. That is the promise made here, and why no
fsync per click is paid.

Every write checks that this process still holds the sandbox's lease, in the same transaction.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec
from django.db import connections, transaction
from django.db.models import Q
from django.utils import timezone

from engine import ENGINE_VERSION
from kafkalab.sandbox import bounds
from kafkalab.sandbox.errors import Refusal, not_found
from kafkalab.sandbox.inputs import AnyInput, Entry, decode, encode
from kafkalab.sandbox.models import Checkpoint, JournalEntry, Sandbox

P = ParamSpec("P")
R = TypeVar("R")


class LeaseLost(Exception):
    """Another process owns the sandbox now; what this one holds in memory is void."""


class Saved(msgspec.Struct, frozen=True):
    """A checkpoint about to be written."""

    seq: int
    at_us: int
    replay_deliveries: int
    digest: str
    plain: bool
    breakpoints: bytes
    content: bytes


_THREAD = ThreadPoolExecutor(1, "journal")
"""One thread with one connection that stays open. ``sync_to_async`` would bind the work of a lab's long-lived task to the thread of the
request that happened to wake the lab."""


async def database(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Runs synchronous database work off the loop, in the order in which it was asked for."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, lambda: _with_connection(work, *args, **kwargs))


def _with_connection(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """A connection that broke is replaced before the next work begins."""
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred and not connection.is_usable():
            connection.close()
    return work(*args, **kwargs)


async def disconnect() -> None:
    """Closes the thread's connection; it opens again when needed."""
    await database(connections.close_all)


# -- who owns a sandbox -----------------------------------------------------------------------------------------------------


def process_started(pid: int) -> str:
    """When that process began, where the system tells (so that a reused number is not taken for it)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def lease_name(number: int) -> str:
    """This process's name as an owner; ``number`` tells its shelves apart."""
    return f"{socket.gethostname()[:60]}|{os.getpid()}|{process_started(os.getpid())}|{number}"


def is_dead(owner: str, alive_here: Iterable[str]) -> bool:
    """Whether that owner is certainly gone: a shelf or a process of this host that no longer exists."""
    host, _, rest = owner.partition("|")
    if not owner or host != socket.gethostname()[:60]:
        return not owner
    pid, _, rest = rest.partition("|")
    if not pid.isdigit():
        return False
    if int(pid) == os.getpid():
        return owner not in alive_here
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return process_started(int(pid)) != rest.partition("|")[0]


def claim(sandbox_id: str, lease: str, alive_here: Iterable[str]) -> Sandbox:
    """Takes the sandbox for this process. Raises Refusal where there is none, or where another live process has it."""
    now = time.time()
    row = Sandbox.objects.filter(id=sandbox_id).first()
    if row is None:
        raise not_found()
    free = Q(lease_owner__in=["", lease]) | Q(lease_until__lt=now)
    if is_dead(row.lease_owner, alive_here):
        free |= Q(lease_owner=row.lease_owner)
    taken = Sandbox.objects.filter(free, id=sandbox_id).update(lease_owner=lease, lease_until=now + bounds.LEASE_S)
    if not taken:
        raise Refusal(
            "Another server process holds this sandbox just now.",
            status=503,
            code="SANDBOX_ELSEWHERE",
            field="sandbox",
            cure=f"Try again; it is handed over within {bounds.LEASE_S} s once nobody watches it there.",
            wait_s=2,
        )
    row.refresh_from_db()
    return row


def renew(ids: list[str], lease: str) -> list[str]:
    """Prolongs the leases of ``ids``; returns those that are still this process's."""
    now = time.time()
    Sandbox.objects.filter(id__in=ids, lease_owner=lease).update(lease_until=now + bounds.LEASE_S)
    return list(Sandbox.objects.filter(id__in=ids, lease_owner=lease).values_list("id", flat=True))


def release(ids: list[str], lease: str) -> None:
    Sandbox.objects.filter(id__in=ids, lease_owner=lease).update(lease_owner="", lease_until=0)


# -- writing ------------------------------------------------------------------------------------------------------------------


def append(
    sandbox_id: str, lease: str, entry: Entry, work: int, pace: tuple[float, bool], *, void_after_us: int | None = None
) -> None:
    """Commits one input, and the pace at which time ran then. ``void_after_us``: the playhead went back to there, so later checkpoints
    no longer lie on the way.

    Raises LeaseLost where another process has taken over."""
    with transaction.atomic():
        held = Sandbox.objects.filter(id=sandbox_id, lease_owner=lease, last_seq=entry.seq - 1).update(
            last_seq=entry.seq, replay_deliveries=work, last_used=timezone.now(), speed=pace[0], playing=pace[1]
        )
        if not held:
            raise LeaseLost(sandbox_id)
        kind = entry.given.__struct_config__.tag
        JournalEntry.objects.create(
            sandbox_id=sandbox_id, seq=entry.seq, at_us=entry.at_us, kind=str(kind), body=encode(entry.given)
        )
        if void_after_us is not None:
            Checkpoint.objects.filter(sandbox_id=sandbox_id, at_us__gt=void_after_us).delete()


def save_checkpoint(sandbox_id: str, lease: str, saved: Saved) -> None:
    """Commits a checkpoint for the newest entry and forgets the oldest ones beyond the bound."""
    with transaction.atomic():
        if not Sandbox.objects.filter(id=sandbox_id, lease_owner=lease, last_seq=saved.seq).exists():
            raise LeaseLost(sandbox_id)
        _write(sandbox_id, saved)
        kept = Checkpoint.objects.filter(sandbox_id=sandbox_id).order_by("-seq").values_list("seq", flat=True)
        oldest = list(kept[bounds.KEPT_CHECKPOINTS - 1 : bounds.KEPT_CHECKPOINTS])
        if oldest:
            Checkpoint.objects.filter(sandbox_id=sandbox_id, seq__lt=oldest[0]).delete()


def _write(sandbox_id: str, saved: Saved) -> None:
    Checkpoint.objects.update_or_create(
        sandbox_id=sandbox_id,
        seq=saved.seq,
        defaults={
            "at_us": saved.at_us,
            "replay_deliveries": saved.replay_deliveries,
            "digest": saved.digest,
            "engine_version": ENGINE_VERSION,
            "plain": saved.plain,
            "breakpoints": saved.breakpoints,
            "content": saved.content,
        },
    )


def create(row: Sandbox, entries: list[tuple[int, AnyInput]], saved: Saved | None) -> None:
    """Commits a new sandbox with the history that it starts from."""
    with transaction.atomic():
        row.last_seq = len(entries)
        row.last_used = timezone.now()
        row.engine_version = ENGINE_VERSION
        row.save(force_insert=True)
        JournalEntry.objects.bulk_create(
            [
                JournalEntry(sandbox=row, seq=seq, at_us=at_us, kind=str(given.__struct_config__.tag), body=encode(given))
                for seq, (at_us, given) in enumerate(entries, 1)
            ]
        )
        if saved is not None:
            _write(row.id, saved)


# -- reading ------------------------------------------------------------------------------------------------------------------


class Origin(msgspec.Struct, frozen=True):
    """Where a restore begins: the checkpoint's content or None for the seed, its breakpoints, and the entries after it."""

    content: bytes | None
    breakpoints: bytes
    seq: int
    replay_deliveries: int
    digest: str
    tail: list[Entry]


def origin_of(row: Sandbox) -> Origin:
    """The start that gives back the most history at a bounded price. Raises Refusal where only another engine version could."""
    total = row.replay_deliveries
    same = row.engine_version == ENGINE_VERSION
    points = list(Checkpoint.objects.filter(sandbox_id=row.id, engine_version=ENGINE_VERSION).order_by("seq").defer("content"))
    if same and (total <= bounds.FULL_REPLAY_DELIVERIES or not points):
        return Origin(None, b"[]", 0, 0, "", _tail(row, 0))
    cheap = [point for point in points if total - point.replay_deliveries <= bounds.FULL_REPLAY_DELIVERIES and same]
    usable = cheap[:1] or [point for point in points if same or point.seq == row.last_seq][-1:]
    if not usable:
        raise Refusal(
            f"This sandbox was made by engine {row.engine_version} and here runs engine {ENGINE_VERSION}.",
            status=409,
            code="ENGINE_VERSION",
            field="sandbox",
            cure="Start a new sandbox, or open this one once with the version that made it and stop that server politely.",
        )
    point = usable[0]
    return Origin(
        bytes(point.content), bytes(point.breakpoints), point.seq, point.replay_deliveries, point.digest, _tail(row, point.seq)
    )


def forget_checkpoints_after(sandbox_id: str, seq: int) -> None:
    """A restore began earlier: later checkpoints that had to leave branches out do not lie on its way."""
    Checkpoint.objects.filter(sandbox_id=sandbox_id, seq__gt=seq, plain=False).delete()


def _tail(row: Sandbox, after: int) -> list[Entry]:
    rows = JournalEntry.objects.filter(sandbox_id=row.id, seq__gt=after).order_by("seq").values_list("seq", "at_us", "body")
    return [Entry(seq, at_us, decode(bytes(body))) for seq, at_us, body in rows]
