"""The shelf: the labs that live in this process, each with one task while somebody watches it.

There is one shelf per event loop (a server has one loop; each test brings its own). A lab that nobody watches sleeps, its time stands
still, and after a while it goes back to the database. A fault of the engine in one lab is told to those who watch it and undone from
the journal; it never takes the server down.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import OrderedDict
from itertools import count, zip_longest
from time import monotonic, perf_counter
from weakref import WeakKeyDictionary

import msgspec

from engine import limits
from engine.errors import EngineError
from engine.lab import Breakpoint, Lab
from engine.spec import ClusterSpec
from kafkalab import lifecycle
from kafkalab.sandbox import bounds, journal, journeys
from kafkalab.sandbox.errors import Refusal, not_found
from kafkalab.sandbox.inputs import AnyInput, Arrived, Commanded, Entry, decode_spec, encode_spec, is_passed_over, is_plain, work_of
from kafkalab.sandbox.journal import LeaseLost, Saved, database
from kafkalab.sandbox.limiter import WORK
from kafkalab.sandbox.live import MAX_SPEED, Live
from kafkalab.sandbox.models import Sandbox
from kafkalab.sandbox.push import Watcher
from kafkalab.sandbox.share_of_core import ShareOfCore

logger = logging.getLogger(__name__)

_SHELVES: WeakKeyDictionary[asyncio.AbstractEventLoop, Shelf] = WeakKeyDictionary()
_numbers = count(1)


def shelf() -> Shelf:
    """The shelf of the running loop, made on first use."""
    loop = asyncio.get_running_loop()
    found = _SHELVES.get(loop)
    if found is None:
        found = _SHELVES[loop] = Shelf()
        lifecycle.on_stop(stop)
    return found


async def stop() -> None:
    """A graceful stop: every lab is written down where it stands."""
    found = _SHELVES.get(asyncio.get_running_loop())
    if found is not None:
        await found.close()


def leases_here() -> list[str]:
    """The leases of this process whose loops are still alive."""
    return [kept.lease for loop, kept in list(_SHELVES.items()) if not loop.is_closed() and kept.pid == os.getpid()]


class Shelf:
    """``labs`` is ordered by use, the one used longest ago first."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lease = journal.lease_name(next(_numbers))
        self.labs: OrderedDict[str, Live] = OrderedDict()
        self.loading: dict[str, asyncio.Task[Live]] = {}
        self.core = ShareOfCore()
        self.pristine: OrderedDict[tuple[bytes, int], Lab] = OrderedDict()
        self.keeper: asyncio.Task[None] | None = None
        self.closing = False

    # -- taking a lab down from the shelf -------------------------------------------------------------------------------------

    async def get(self, sandbox_id: str, owner: str) -> Live:
        """The lab, restored from its journal if it is not here. Raises Refusal where it is not ``owner``'s."""
        live = self.labs.get(sandbox_id)
        if live is None:
            task = self.loading.get(sandbox_id)
            if task is None:
                await database(_check_owner, sandbox_id, owner)
                task = self.loading.get(sandbox_id)
            if task is None:
                task = self.loading[sandbox_id] = asyncio.create_task(self._load(sandbox_id))
                task.add_done_callback(lambda done: self._loaded(sandbox_id, done))
            live = await asyncio.shield(task)
        if live.owner != owner:
            raise not_found()
        live.used_at = monotonic()
        self.labs.move_to_end(sandbox_id)
        return live

    def _loaded(self, sandbox_id: str, task: asyncio.Task[Live]) -> None:
        self.loading.pop(sandbox_id, None)
        if not task.cancelled():
            task.exception()

    async def _load(self, sandbox_id: str) -> Live:
        if self.closing:
            raise Refusal("The server is stopping.", status=503, code="STOPPING", cure="Try again in a moment.", wait_s=2)
        row = await database(journal.claim, sandbox_id, self.lease, leases_here())
        if row.stopped:
            raise Refusal(row.stopped, status=409, code="SANDBOX_STOPPED", field="sandbox", cure="Start a new one.")
        try:
            live = await self._restore(row)
        except (EngineError, Refusal, LeaseLost):
            await database(journal.release, [sandbox_id], self.lease)
            raise
        except Exception:
            logger.exception("sandbox %s cannot be restored", sandbox_id)
            await database(journal.release, [sandbox_id], self.lease)
            raise Refusal(
                "The engine met a fault of its own while it restored this sandbox. The fault is in the server's log.",
                status=500,
                code="ENGINE_FAULT",
                field="sandbox",
                cure="Start a new sandbox; this one is kept as it is.",
            ) from None
        await self.put(live)
        return live

    async def _restore(self, row: Sandbox) -> Live:
        """Seed, spec, checkpoint and journal tail make the same lab again, in slices."""
        origin = await database(journal.origin_of, row)
        if origin.content is None:
            lab = await self.fresh(decode_spec(bytes(row.spec)), row.seed)
        else:
            lab = await asyncio.to_thread(Lab.restore, origin.content)
            lab.breakpoints = msgspec.json.decode(origin.breakpoints, type=list[Breakpoint])
            if origin.digest and lab.digest() != origin.digest:
                raise RuntimeError(f"checkpoint {origin.seq} of {row.id} gives another view than the one it was taken of")
        await database(journal.forget_checkpoints_after, row.id, origin.seq)
        live = Live(row.id, row.owner, row.lesson, row.title, lab, row.speed, row.playing)
        live.spent = live.checkpoint_spent = origin.replay_deliveries
        arrived = False
        for entry, following in zip_longest(origin.tail, origin.tail[1:]):
            if not arrived:
                await self.travel(live, entry.at_us)
            arrived = is_passed_over(entry, following)
            if arrived:
                continue
            try:
                await journeys.make_way(self.core, live, entry.given)
                live.do(entry.given)
            except EngineError as wrong:
                raise RuntimeError(f"entry {entry.seq} of {row.id} is refused on replay: {wrong.message}") from wrong
        live.spent = row.replay_deliveries
        live.seq = row.last_seq
        live.reached_us, live.reached_deliveries = lab.now_us, work_of(lab)
        live.rebase()
        return live

    async def travel(self, live: Live, until_us: int) -> None:
        """Lets a lab's time pass in slices, past breakpoints."""
        await journeys.travel(self.core, live, until_us)

    async def fresh(self, spec: ClusterSpec, seed: int) -> Lab:
        """A new lab. Labs of one spec and seed are equal, so that a second one is a copy of the first."""
        key = encode_spec(spec)
        made = self.pristine.get((key, seed))
        if made is None:
            made = self.pristine[key, seed] = await asyncio.to_thread(Lab, spec, seed)
            while len(self.pristine) > 8:
                self.pristine.popitem(last=False)
        return made.fork()

    async def put(self, live: Live) -> None:
        """Takes a lab in; where the shelf is full, one that nobody watches leaves."""
        self.labs[live.id] = live
        if self.keeper is None or self.keeper.done():
            self.keeper = asyncio.create_task(self._keep())
        if len(self.labs) > bounds.MAX_LIVE_LABS:
            for other in list(self.labs.values()):
                if not other.watchers and other is not live:
                    await self.evict(other)
                    break

    # -- doing something to a lab ---------------------------------------------------------------------------------------------

    async def give(self, live: Live, given: AnyInput) -> tuple[int, Entry, str]:
        """Applies ``given`` and commits it: (event number, journal entry, digest). Nobody sees its effect before it is durable, and a
        caller who leaves half-way does not leave it half done.

        Raises EngineError, having changed nothing; Refusal where the lab had a fault or the journal could not take it."""
        task = asyncio.ensure_future(self._give(live, given))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def _give(self, live: Live, given: AnyInput) -> tuple[int, Entry, str]:
        async with live.lock:
            if live.fault or live.gone:
                raise _faulty(live)
            before = (live.lab.branch, live.lab.now_us)
            began = perf_counter()
            try:
                await journeys.make_way(self.core, live, given)
                began = perf_counter()
                number = live.do(given)
                digest = live.lab.digest()
            except EngineError:
                raise
            except Exception:
                logger.exception("engine fault in sandbox %s on %s", live.id, type(given).__name__)
                await self._undo(live)
                raise _faulty(live) from None
            finally:
                spent_s = perf_counter() - began
                self.core.charge(spent_s)
                WORK.charge(live.owner, spent_s)
            backwards = live.lab.now_us < before[1] or live.lab.branch != before[0]
            at_us = before[1] if type(given).__name__ in _TRAVELS else live.lab.now_us
            entry = Entry(live.seq + 1, at_us, given)
            try:
                void = live.lab.now_us if backwards else None
                pace = (live.speed, live.playing)
                await database(journal.append, live.id, self.lease, entry, live.spent, pace, void_after_us=void)
            except BaseException:
                await self._drop(live)
                raise
            live.seq = entry.seq
            live.reached_us, live.reached_deliveries = live.lab.now_us, work_of(live.lab)
            if backwards or type(given).__name__ in _TRAVELS:
                live.leap()
            if isinstance(given, Commanded):
                await self._compact(live)
        live.stale = True
        live.nudge.set()
        return number, entry, digest

    async def _compact(self, live: Live) -> None:
        """Writes a checkpoint where a restore would have become long."""
        owed = live.spent - live.checkpoint_spent
        plain = is_plain(live.lab)
        if owed < (bounds.CHECKPOINT_DELIVERIES if plain else bounds.COLLAPSE_DELIVERIES):
            return
        await self._checkpoint(live, plain=plain)
        if not plain:
            live.lab = await asyncio.to_thread(_collapsed, live.lab)
            live.departed = (-1, 0)
            live.leap()

    async def _checkpoint(self, live: Live, *, plain: bool) -> None:
        """The caller holds the lab's lock: a large lab is written out beside the loop, and must not move meanwhile."""
        lab = live.lab
        content = await asyncio.to_thread(lab.checkpoint)
        saved = Saved(live.seq, lab.now_us, live.spent, lab.digest(), plain, msgspec.json.encode(lab.breakpoints), content)
        await database(journal.save_checkpoint, live.id, self.lease, saved)
        live.checkpoint_spent = live.spent

    async def _undo(self, live: Live) -> None:
        """Goes back to what the journal holds; where even that fails, the lab stops."""
        try:
            row = await database(journal.claim, live.id, self.lease, leases_here())
            again = await self._restore(row)
        except Exception:
            logger.exception("sandbox %s stays stopped", live.id)
            live.fault = "The engine met a fault of its own and this sandbox could not be restored. It is in the server's log."
        else:
            live.lab, live.seq, live.spent, live.departed = again.lab, again.seq, again.spent, again.departed
            live.reached_us, live.reached_deliveries = again.reached_us, again.reached_deliveries
        live.pause("The engine met a fault of its own; you are back at your last action.")
        live.leap()
        body = {"t": "error", "error": _faulty(live).body()}
        for watcher in live.watchers:
            watcher.tell(msgspec.json.encode(body))
        live.nudge.set()

    async def _drop(self, live: Live) -> None:
        """The journal did not take what memory holds: memory is void, and the next reader restores."""
        live.gone = True
        self.labs.pop(live.id, None)
        for watcher in list(live.watchers):
            await watcher.close(4503)
        if live.task is not None:
            live.task.cancel()

    # -- watching ----------------------------------------------------------------------------------------------------------------

    def watch(self, live: Live, watcher: Watcher) -> None:
        """Adds a reader; the lab wakes."""
        if len(live.watchers) >= bounds.MAX_WATCHERS_PER_SANDBOX:
            raise Refusal(
                f"This sandbox is open in {bounds.MAX_WATCHERS_PER_SANDBOX} windows already.",
                status=429,
                code="TOO_MANY_WATCHERS",
                field="sandbox",
                cure="Close one of them.",
            )
        live.watchers.append(watcher)
        if not live.snapshots:
            live.snapshot()
        for message in live.known_extras():
            watcher.tell(message)
        watcher.start()
        if live.task is None or live.task.done():
            live.rebase()
            live.task = asyncio.create_task(self._run(live))
        live.nudge.set()

    async def unwatch(self, live: Live, watcher: Watcher) -> None:
        if watcher in live.watchers:
            live.watchers.remove(watcher)
            live.unwatched_since = monotonic()
        await watcher.stop()

    def tick_s(self) -> float:
        awake = sum(1 for live in self.labs.values() if live.watchers)
        return min(max(1 / bounds.MAX_PUSHES_PER_S, awake * bounds.TICK_PER_AWAKE_S), bounds.SLOWEST_TICK_S)

    async def _run(self, live: Live) -> None:
        """One awake lab: time passes, readers are told, until nobody has watched for a while."""
        try:
            while not live.gone and not self.closing:
                if not live.watchers:
                    if monotonic() - live.unwatched_since > bounds.SLEEP_AFTER_S:
                        await self._fall_asleep(live)
                        return
                    await asyncio.sleep(0.5)
                    live.rebase()
                    continue
                began = monotonic()
                if live.running and not live.lock.locked():
                    await self._play(live)
                if live.consoles is not None and not live.lock.locked():
                    await live.consoles.drive()
                self._publish(live)
                await self._rest(live, monotonic() - began)
        except asyncio.CancelledError:
            raise
        except LeaseLost:
            await self._drop(live)
        except Exception:
            logger.exception("the task of sandbox %s failed", live.id)
            await self._drop(live)

    async def _rest(self, live: Live, spent_s: float) -> None:
        """Until the next tick, or until a click wants its effect shown."""
        pause = max(self.tick_s() - spent_s, live.publish_s / bounds.PUBLISH_SHARE, 0.001) if live.running else None
        try:
            await asyncio.wait_for(live.nudge.wait(), pause)
        except TimeoutError:
            return
        live.nudge.clear()

    async def _play(self, live: Live) -> None:
        """Brings the lab to where the wall clock says it should be, within one tick's patience."""
        began, from_us = monotonic(), live.lab.now_us
        since = began - live.ticked_at
        target = live.target_us()
        jump = live.jump
        patience = began + self.tick_s()
        while live.running and live.jump == jump and not live.lock.locked():
            try:
                done = await self.core.slice(lambda deadline: self._slice(live, target, deadline, jump))
            except Exception:
                logger.exception("engine fault in sandbox %s", live.id)
                async with live.lock:
                    await self._undo(live)
                return
            if done or monotonic() >= patience or live.nudge.is_set():
                break
        if live.jump == jump and live.speed != MAX_SPEED:
            live.measure(live.lab.now_us - from_us, max(since, 0.001))
        elif live.jump == jump:
            live.measure(live.lab.now_us - from_us, max(since, monotonic() - began))
        if live.lab.now_us >= limits.MAX_NOW_US:
            live.pause("Virtual time ends here.")

    def _slice(self, live: Live, target_us: int, deadline: float, jump: int) -> bool:
        """One slice, unless something happened to the lab while this one waited for its turn."""
        if live.lock.locked() or live.jump != jump or not live.running:
            return True
        return live.run(target_us, deadline)

    def _publish(self, live: Live) -> None:
        if live.lock.locked() or not live.watchers:
            return
        if live.stale:
            began = perf_counter()
            if any(watcher.ready for watcher in live.watchers):
                live.snapshot(renew=True)
                self._publish_extras(live)
            live.publish_s = perf_counter() - began
            self.core.charge(live.publish_s)
        for watcher in live.watchers:
            watcher.wake.set()

    def _publish_extras(self, live: Live) -> None:
        try:
            messages = live.extra_messages()
        except Exception:
            logger.exception("what belongs to the view of sandbox %s could not be made", live.id)
            return
        for message in messages:
            for watcher in live.watchers:
                watcher.tell(message)

    # -- letting go ----------------------------------------------------------------------------------------------------------------

    async def _fall_asleep(self, live: Live) -> None:
        """The time that was shown is written down; from here it stands still."""
        await self.record_time(live)
        live.snapshots.clear()
        live.messages.clear()
        live.extras.clear()
        live.stale = True

    async def record_time(self, live: Live) -> None:
        """Journals the time that has passed since the newest entry, if any has."""
        if live.fault or live.gone:
            return
        if (live.lab.now_us, work_of(live.lab)) != (live.reached_us, live.reached_deliveries):
            await self.give(live, Arrived())

    async def evict(self, live: Live) -> None:
        """Back to the database: with a checkpoint where a restore would be long, and without the lease."""
        try:
            await self.record_time(live)
            if not live.fault and live.spent - live.checkpoint_spent > bounds.FULL_REPLAY_DELIVERIES:
                async with live.lock:
                    await self._checkpoint(live, plain=is_plain(live.lab))
        except (LeaseLost, Refusal, EngineError):
            logger.warning("sandbox %s left the shelf without a checkpoint", live.id)
        live.gone = True
        self.labs.pop(live.id, None)
        if live.task is not None:
            live.task.cancel()
        await database(journal.release, [live.id], self.lease)

    async def forget(self, sandbox_id: str) -> None:
        """The sandbox was deleted."""
        live = self.labs.pop(sandbox_id, None)
        if live is not None:
            await self._drop(live)

    async def close(self) -> None:
        """Every lab is written down with a checkpoint where it stands, so that no journal has a tail."""
        self.closing = True
        for task in list(self.loading.values()):
            task.cancel()
        for live in list(self.labs.values()):
            try:
                await self.record_time(live)
                if not live.fault and live.seq and live.checkpoint_spent != live.spent:
                    async with live.lock:
                        await self._checkpoint(live, plain=is_plain(live.lab))
            except Exception:
                logger.exception("sandbox %s could not be written down; its journal has all that was acknowledged", live.id)
            live.gone = True
            for watcher in list(live.watchers):
                await watcher.close(1012)
            if live.task is not None:
                live.task.cancel()
        await database(journal.release, list(self.labs), self.lease)
        await journal.disconnect()
        self.labs.clear()
        if self.keeper is not None:
            self.keeper.cancel()

    async def _keep(self) -> None:
        """Every few seconds: leases, readers who are gone, labs that slept long."""
        renewed = time.monotonic()
        while self.labs and not self.closing:
            await asyncio.sleep(2)
            try:
                await self._look_after()
                if monotonic() - renewed > bounds.LEASE_S / 3:
                    await self._renew()
                    renewed = monotonic()
            except Exception:
                logger.exception("the shelf could not be looked after; it is tried again")

    async def _look_after(self) -> None:
        for live in list(self.labs.values()):
            for watcher in list(live.watchers):
                if watcher.silent:
                    await watcher.close(4408)
            if not live.watchers and monotonic() - max(live.used_at, live.unwatched_since) > bounds.EVICT_AFTER_S:
                await self.evict(live)

    async def _renew(self) -> None:
        ids = list(self.labs)
        ours = set(await database(journal.renew, ids, self.lease))
        for sandbox_id in ids:
            live = self.labs.get(sandbox_id)
            if live is not None and sandbox_id not in ours:
                await self._drop(live)


_TRAVELS = {"Sought", "Switched", "Stepped"}
"""Inputs that move the playhead themselves: their moment is the one before."""


def _collapsed(lab: Lab) -> Lab:
    again = Lab.restore(lab.checkpoint())
    again.breakpoints = lab.breakpoints
    return again


def _check_owner(sandbox_id: str, owner: str) -> None:
    if not Sandbox.objects.filter(id=sandbox_id, owner=owner).exists():
        raise not_found()


def _faulty(live: Live) -> Refusal:
    return Refusal(
        live.fault or "The engine met a fault of its own. Nothing that was acknowledged is lost; time is paused.",
        status=500,
        code="ENGINE_FAULT",
        field="sandbox",
        cure="Go on from here, or rewind; what led to it is in the server's log.",
    )
