"""Virtual time: one queue of deliveries in the order (at, seq), the hosts that receive them, the faults that befall them.

The kernel knows a node *protocol*, not nodes. Everything in the queue is data, so the whole world can be copied, stored and replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from zlib import crc32

import msgspec

from engine import events as ev
from engine import limits
from engine.errors import EngineError
from engine.messages.base import Disconnected, Instruction, Message, Timer
from engine.sim.disk import Disk
from engine.sim.network import BASE_LATENCY_US, Link
from engine.sim.outbox import ARM, SEND, Node, Outbox
from engine.sim.rng import Stream, seed_for

Entry = tuple[int, int, str, str, "Message | Timer", int, int, int]
"""(at, seq, destination, source, body, cause, generation of the link or TIMER or NOTICE, sent at)."""

TIMER, NOTICE = -1, -2
LEAVING = ("producer", "consumer", "processor", "share-consumer")
"""Kinds of host that are gone once their process has ended politely: nobody keeps an empty desk for a closed client."""
_encode = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Host:
    """A machine and the process on it. ``silenced_by`` is the event that took the process down or paused it, 0 while it runs;
    ``dark`` after a power loss: nothing answers there, not even with a refusal."""

    name: str
    kind: str
    disk: Disk = field(default_factory=Disk)
    node: Node | None = None
    status: str = "down"
    since_us: int = 0
    silenced_by: int = 0
    dark: bool = False
    disk_free_us: int = 0
    streams: dict[str, Stream] = field(default_factory=dict)
    held: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class Kernel:
    """``fresh`` collects what happened since the owner last drained it. ``trace`` is a running hash over all deliveries and events."""

    seed: int
    epoch_ms: int
    now: int = 0
    seq: int = 0
    next_event_id: int = 1
    deliveries: int = 0
    trace: int = 0
    queue: list[Entry] = field(default_factory=list)
    timers: dict[tuple[str, Timer], int] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    links: dict[tuple[str, str], Link] = field(default_factory=dict)
    fresh: list[ev.Happening] = field(default_factory=list)

    # -- running --------------------------------------------------------------------------------------------------------------

    def run(self, until_us: int, max_deliveries: int = 0, watch: Callable[[list[ev.Happening]], bool] | None = None) -> bool:
        """Handles deliveries up to and including ``until_us``, stops after ``max_deliveries`` or once ``watch`` says so about the
        newest happenings; always at a moment at which nothing more is due. True when ``until_us`` was reached."""
        queue, fresh, deliver = self.queue, self.fresh, self._deliver
        stop_at = self.deliveries + max_deliveries if max_deliveries else 0
        stopping = False
        seen = len(fresh)
        while queue and queue[0][0] <= until_us:
            entry = heappop(queue)
            if entry[0] > self.now:
                if stopping or (stop_at and self.deliveries >= stop_at):
                    heappush(queue, entry)
                    return False
                self.now = entry[0]
            deliver(entry)
            if watch is not None and len(fresh) > seen:
                if watch(fresh[seen:]):
                    stopping = True
                seen = len(fresh)
        if stopping:
            return False
        self.now = max(self.now, until_us)
        return True

    def _deliver(self, entry: Entry) -> None:
        at, seq, name, source, body, cause, generation, _ = entry
        host = self.hosts.get(name)
        if host is None:
            return
        if generation == TIMER:
            key = (name, body)
            if self.timers.get(key) != seq:  # type: ignore[arg-type]
                return
            if host.status == "paused":
                host.held.append(entry)
                return
            del self.timers[key]  # type: ignore[arg-type]
        else:
            if generation != NOTICE and self.links[source, name].generation != generation:
                return
            if host.status == "paused":
                if len(host.held) < limits.MAX_HELD_MESSAGES:
                    host.held.append(entry)
                return
        node = host.node
        if node is None:
            return
        self.deliveries += 1
        self.trace = hash((self.trace, at, seq))
        now = self.now
        out = Outbox(
            name, now, self.epoch_ms + now // 1000, cause, self.next_event_id, host.disk, self.seed, host.streams, self.silencers
        )  # as ``_outbox`` makes it
        node.handle(source, body, out)
        self._carry_out(host, out)

    def _outbox(self, host: Host, cause: int) -> Outbox:
        return Outbox(
            host.name, self.now, self.epoch_ms + self.now // 1000, cause, self.next_event_id, host.disk, self.seed, host.streams,
            self.silencers,
        )  # fmt: skip

    def _carry_out(self, host: Host, out: Outbox) -> None:
        name = host.name
        if out.emitted:
            number, now, fresh, trace = self.next_event_id, self.now, self.fresh, self.trace
            for event, causes in out.emitted:
                happening = ev.Happening(number, now, name, event, causes)
                fresh.append(happening)
                trace = hash((trace, crc32(_encode(happening))))
                number += 1
            self.next_event_id, self.trace = number, trace
        departs = self.now
        disk = host.disk
        if disk.pending_delay_us:
            queued = max(departs, host.disk_free_us) + disk.pending_delay_us
            departs = host.disk_free_us = min(queued, departs + max(disk.pending_delay_us, limits.MAX_DISK_QUEUE_US))
            disk.pending_delay_us = 0
        for kind, destination, body, after_us, cause in out.effects:
            if kind == SEND:
                self._transmit(name, destination, body, departs, cause)
            elif kind == ARM:
                self.seq = seq = self.seq + 1
                self.timers[name, body] = seq  # type: ignore[index]
                heappush(self.queue, (self.now + after_us, seq, name, "", body, cause, TIMER, self.now))
            else:
                self.timers.pop((name, body), None)  # type: ignore[arg-type]
        if out.exited:
            self._process_ends(host, ev.NodeStopped(name), out.cause)
            if host.kind in LEAVING:
                self.remove_host(name)

    def _transmit(self, source: str, target: str, body: Message | Timer, departs: int, cause: int) -> None:
        host = self.hosts.get(target)
        if host is None:
            return
        link = self.links.get((source, target)) or self._link(source, target)
        if link.cut:
            if not link.dropped:
                link.dropped = True
                self._emit(source, ev.MessageLost(source, target, type(body).__name__), (link.cause, cause))
            return
        if link.loss_ppm and link.stream.chance(link.loss_ppm):
            self._emit(source, ev.MessageLost(source, target, type(body).__name__), (link.cause, cause))
            self._break_connection(source, target, link.cause)
            return
        if host.node is None:
            if not host.dark:
                self._notice(source, Disconnected(target), host.silenced_by or cause, 2 * BASE_LATENCY_US)
            return
        self.seq = seq = self.seq + 1
        if len(self.queue) >= limits.MAX_QUEUE:
            raise EngineError(
                f"The cluster has {limits.MAX_QUEUE} messages under way, more than this lab can hold. Rewind, and send less at once.",
                code="POLICY_VIOLATION",
            )
        heappush(self.queue, (link.arrival(departs), seq, target, source, body, cause, link.generation, self.now))

    def _link(self, source: str, target: str) -> Link:
        link = self.links[source, target] = Link(Stream(seed_for(self.seed, f"link/{source}>{target}")))
        return link

    def _notice(self, name: str, body: Message, cause: int, after_us: int) -> None:
        self.seq += 1
        heappush(self.queue, (self.now + after_us, self.seq, name, "", body, cause, NOTICE, self.now))

    def _record(self, number: int, node: str, event: ev.Event, causes: tuple[int, ...]) -> None:
        happening = ev.Happening(number, self.now, node, event, causes)
        self.fresh.append(happening)
        self.trace = hash((self.trace, crc32(_encode(happening))))

    def _emit(self, node: str, event: ev.Event, causes: tuple[int, ...]) -> int:
        number = self.next_event_id
        self.next_event_id = number + 1
        known = tuple(dict.fromkeys(cause for cause in causes if cause))
        self._record(number, node, event, known)
        return number

    def silencers(self, peer: str, listener: str) -> tuple[int, ...]:
        """The events that keep ``peer`` from being heard by ``listener``."""
        host = self.hosts.get(peer)
        found = [host.silenced_by] if host is not None else []
        for pair in ((peer, listener), (listener, peer)):
            link = self.links.get(pair)
            if link is not None and (link.cut or link.delay_us or link.loss_ppm):
                found.append(link.cause)
        return tuple(dict.fromkeys(cause for cause in found if cause))

    # -- what the learner does to the world ---------------------------------------------------------------------------------------

    def give_command(self, command: str, text: str) -> int:
        """The root of a chain of causes."""
        return self._emit("you", ev.CommandGiven(command, text), ())

    def add_host(self, name: str, kind: str) -> Host:
        host = self.hosts[name] = Host(name, kind, since_us=self.now)
        return host

    def remove_host(self, name: str) -> None:
        """A client that left for good. What it sent still arrives; a namesake that comes later has a network of its own."""
        for pair, link in self.links.items():
            if name in pair:
                link.cut, link.delay_us, link.loss_ppm = False, 0, 0
        self.timers = {key: seq for key, seq in self.timers.items() if key[0] != name}
        self.queue[:] = [entry for entry in self.queue if entry[2] != name]
        heapify(self.queue)
        del self.hosts[name]

    def start(self, name: str, node: Node, cause: int) -> None:
        """A process boots on its host, from the host's disk."""
        host = self.hosts[name]
        host.node = node
        if host.dark:
            host.dark = False
            self._tell_peers(name, host.silenced_by)
        host.silenced_by = 0
        self._status(host, "up")
        number = self._emit(name, ev.NodeStarted(name), (cause,))
        out = self._outbox(host, number)
        node.start(out)
        self._carry_out(host, out)

    def kill(self, name: str, cause: int) -> None:
        self._process_ends(self.hosts[name], ev.NodeKilled(name), cause)

    def _process_ends(self, host: Host, event: ev.Event, cause: int) -> None:
        """The operating system closes the connections of a process that ends: its peers are told."""
        host.silenced_by = self._emit(host.name, event, (cause,))
        self._forget_process(host)
        self._tell_peers(host.name, host.silenced_by)

    def _tell_peers(self, name: str, cause: int) -> None:
        """Everybody who had a connection with this process learns that it is gone, unless a cut keeps the news away."""
        peers = {source if target == name else target: None for source, target in self.links if name in (source, target)}
        for peer in peers:
            host = self.hosts.get(peer)
            if host is not None and host.node is not None and not self._cut_between(name, peer):
                self._notice(peer, Disconnected(name), cause, BASE_LATENCY_US)

    def _forget_process(self, host: Host) -> None:
        host.node = None
        host.held.clear()
        self._status(host, "down")
        self.timers = {key: seq for key, seq in self.timers.items() if key[0] != host.name}
        for pair, link in self.links.items():
            if host.name in pair:
                link.reset()

    def _cut_between(self, one: str, other: str) -> bool:
        links = (self.links.get((one, other)), self.links.get((other, one)))
        return any(link is not None and link.cut for link in links)

    def lose_power(self, name: str, torn: bool, cause: int) -> None:
        """The machine goes dark: peers hear nothing, what was not synced is gone."""
        host = self.hosts[name]
        stream = host.streams.setdefault("power", Stream(seed_for(self.seed, f"{name}/power")))
        lost = host.disk.lose_power(stream, torn=torn)
        host.silenced_by = self._emit(name, ev.PowerLost(name, lost, torn), (cause,))
        host.dark = True
        self._forget_process(host)

    def pause(self, name: str, cause: int) -> None:
        host = self.hosts[name]
        host.silenced_by = self._emit(name, ev.NodePaused(name), (cause,))
        self._status(host, "paused")

    def resume(self, name: str, cause: int) -> None:
        """What arrived meanwhile is handled now, in order."""
        host = self.hosts[name]
        self._emit(name, ev.NodeResumed(name), (cause,))
        host.silenced_by = 0
        self._status(host, "up")
        for _, seq, target, source, body, why, generation, sent in host.held:
            heappush(self.queue, (self.now, seq, target, source, body, why, generation, sent))
        host.held.clear()

    def _status(self, host: Host, status: str) -> None:
        host.status = status
        host.since_us = self.now

    def instruct(self, name: str, instruction: Instruction, cause: int) -> None:
        """Hands an instruction to a running node at once; a paused one gets it when it resumes."""
        host = self.hosts[name]
        if host.status == "paused":
            self._notice(name, instruction, cause, 0)
            return
        if host.node is None:
            return
        out = self._outbox(host, cause)
        host.node.handle("", instruction, out)
        self._carry_out(host, out)

    def cut(self, source: str, target: str, cause: int) -> None:
        """One direction; what is under way on it is lost too."""
        link = self.links.get((source, target)) or self._link(source, target)
        if not link.cut:
            link.cause = self._emit("you", ev.NetworkCut(source, target), (cause,))
            link.reset()
            link.cut = True
            link.dropped = False

    def heal(self, source: str, target: str, cause: int) -> None:
        """One direction. A connection that lost something while it was cut breaks now, and both ends learn it."""
        link = self.links.get((source, target))
        if link is None or not (link.cut or link.delay_us or link.loss_ppm):
            return
        number = self._emit("you", ev.NetworkHealed(source, target), (cause,))
        broken = link.cut
        link.cut, link.delay_us, link.loss_ppm = False, 0, 0
        if broken:
            self._break_connection(source, target, number)

    def degrade(self, source: str, target: str, delay_us: int, loss_ppm: int, cause: int) -> None:
        """One direction."""
        link = self.links.get((source, target)) or self._link(source, target)
        link.delay_us, link.loss_ppm = delay_us, loss_ppm
        link.cause = self._emit("you", ev.NetworkDegraded(source, target, delay_us, loss_ppm), (cause,))

    def _break_connection(self, one: str, other: str, cause: int) -> None:
        for pair in ((one, other), (other, one)):
            link = self.links.get(pair)
            if link is not None:
                link.reset()
        for name, peer in ((one, other), (other, one)):
            host = self.hosts.get(name)
            if host is not None and host.node is not None:
                self._notice(name, Disconnected(peer), cause, BASE_LATENCY_US)

    # -- disks --------------------------------------------------------------------------------------------------------------------

    def slow_disk(self, name: str, write_delay_us: int, cause: int) -> None:
        host = self.hosts[name]
        host.disk.write_delay_us = write_delay_us
        host.disk_free_us = min(host.disk_free_us, self.now)
        self._emit(name, ev.DiskSlowed(name, write_delay_us), (cause,))

    def fill_disk(self, name: str, cause: int) -> None:
        disk = self.hosts[name].disk
        disk.capacity_bytes = max(disk.used_bytes, 1)
        self._emit(name, ev.DiskFilled(name), (cause,))

    def free_disk(self, name: str, cause: int) -> None:
        self.hosts[name].disk.capacity_bytes = 0
        self._emit(name, ev.DiskFreed(name), (cause,))

    def wipe_disk(self, name: str, cause: int) -> None:
        self.hosts[name].disk.wipe()
        self._emit(name, ev.DiskWiped(name), (cause,))

    def corrupt_disk(self, name: str, path: str, position: int, cause: int) -> None:
        self.hosts[name].disk.flip_byte(path, position)
        self._emit(name, ev.DiskCorrupted(name, path, position), (cause,))
