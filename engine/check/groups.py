"""SingleOwner, and what a group owes its application: no partition with two current members, none without one in the end, nothing left out.

Who is a current member, the coordinator decides: whoever it has expelled may go on in the belief that it owns something (a zombie), and
that is no violation. Both sides are followed by their events, so the check costs nothing where nothing is handed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from engine import commands as cm
from engine import events as ev
from engine.check.invariants import Oracle, Violation
from engine.check.readers import Readers, configs_of, readable_offsets
from engine.clients.consumer import ConsumerNode
from engine.clients.consumer_state import COMMIT_BEFORE, CRASHED, Consumer
from engine.clients.processor import ProcessorNode
from engine.messages.base import TopicPartition
from engine.metadata.internal_topics import CONSUMER_OFFSETS
from engine.world import World, best_image

MANY = 1 << 30


@dataclass(slots=True)
class Member:
    """A consumer of a group as it sees itself. ``expelled``: the coordinator no longer counts it. ``generation`` -1 under KIP-848."""

    group: str
    member_id: str = ""
    generation: int = -1
    expelled: bool = False
    owned: dict[TopicPartition, None] = field(default_factory=dict)


@dataclass(slots=True)
class Groups:
    """``replaced``: groups in which a static member came back. If it led, it was told to skip the assignment (KIP-814) and takes the
    metadata of that moment for what the assignment was made from: partitions that had come meanwhile (``grown``: topic → the first of
    them) stay without an owner until something else makes the group rebalance. Kafka does that, so it is licensed."""

    oracle: Oracle
    members: dict[str, Member] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    replaced: set[str] = field(default_factory=set)
    grown: dict[str, int] = field(default_factory=dict)
    licences: Counter[str] = field(default_factory=Counter)
    expelled: set[str] = field(default_factory=set)
    """Member IDs. A client that was frozen may learn that it had joined when it has long been expelled again."""
    moved: set[str] = field(default_factory=set)
    """Groups for which an administrator has set offsets: they may leave something out."""

    def told(self, command: cm.Command) -> None:
        if isinstance(command, cm.AlterGroupOffsets):
            self.moved.add(command.group)

    def observe(self, fresh: list[ev.Happening]) -> None:
        """Raises Violation where a partition gets a second owner."""
        for happening in fresh:
            handler = _HANDLERS.get(type(happening.event))
            if handler is not None:
                handler(self, happening.event, happening.at_us)

    def member(self, consumer: str, group: str) -> Member:
        found = self.members.get(consumer)
        if found is None or found.group != group:
            found = self.members[consumer] = Member(group)
        return found

    def _joined(self, event: ev.GroupJoined, at_us: int) -> None:
        member = self.member(event.consumer, event.group)
        member.member_id, member.expelled = event.member_id, event.member_id in self.expelled
        member.generation = event.generation if event.assignor else -1

    def _admitted(self, event: ev.MemberJoined, at_us: int) -> None:
        self.expelled.discard(event.member_id)

    def _assigned(self, event: ev.PartitionsAssigned, at_us: int) -> None:
        member = self.member(event.consumer, event.group)
        self.counts["partitions assigned"] += len(event.partitions)
        for topic, number in event.partitions:
            partition = TopicPartition(topic, number)
            member.owned[partition] = None
            if topic in self.oracle.deleted_topics:
                continue
            for name, other in self.members.items():
                if name == event.consumer or other.group != event.group or other.expelled or member.expelled:
                    continue
                if self._slept_through(name, other, member):
                    continue
                if partition in other.owned and not self.oracle.licensed(CONSUMER_OFFSETS):
                    raise Violation(
                        "SingleOwner",
                        at_us,
                        f"{event.consumer} was given {partition} while {name}, a member of {event.group}, owned it",
                    )

    def _slept_through(self, name: str, other: Member, member: Member) -> bool:
        """A static member that did not join again in time keeps its place, though not what it owned: others may have that in the new
        generation before it has heard of it (``completeClassicGroupJoin``). It can commit nothing until it has."""
        return other.generation < member.generation and bool(configs_of(self.oracle.world, name).get("group.instance.id"))

    def _given_up(self, event: ev.PartitionsRevoked | ev.PartitionsLost, at_us: int) -> None:
        member = self.member(event.consumer, event.group)
        for topic, number in event.partitions:
            member.owned.pop(TopicPartition(topic, number), None)

    def _out(self, event: ev.GroupLeft | ev.MemberFenced | ev.ConsumerCrashed, at_us: int) -> None:
        self.member(event.consumer, event.group).expelled = True

    def _expelled(self, event: ev.MemberLeft | ev.StaticMemberReplaced, at_us: int) -> None:
        self.counts["members expelled"] += 1
        if isinstance(event, ev.StaticMemberReplaced):
            self.replaced.add(event.group)
        gone = event.member_id if isinstance(event, ev.MemberLeft) else event.old_member_id
        self.expelled.add(gone)
        for member in self.members.values():
            if member.group == event.group and member.member_id == gone:
                member.expelled = True

    def _process_ended(self, event: ev.NodeKilled | ev.NodeStopped | ev.NodeStarted, at_us: int) -> None:
        self.members.pop(event.name, None)

    def _rebalanced(self, event: ev.GroupRebalanced, at_us: int) -> None:
        self.counts["group rebalances"] += 1

    def _grown(self, event: ev.PartitionsAdded, at_us: int) -> None:
        self.grown.setdefault(event.topic, event.old_count)

    # -- at the end -------------------------------------------------------------------------------------------------------

    def unsettled(self, world: World) -> str:
        """Which group has not found its balance: some partition of what it subscribes to has not exactly one owner."""
        image = best_image(world)
        if image is None or self.oracle.licensed(CONSUMER_OFFSETS):
            return ""
        for group, members in _alive(world).items():
            wanted = {
                TopicPartition(topic, number): 0
                for topic in dict.fromkeys(topic for node in members for topic in node.topics)
                if topic in image.topics
                for number in image.topics[topic].partitions
            }
            for node in members:
                for partition in node.positions:
                    wanted[partition] = wanted.get(partition, 0) + 1
            for partition, owners in wanted.items():
                if owners == 0 and group in self.replaced and partition.partition >= self.grown.get(partition.topic, MANY):
                    self.licences["a static leader came back after a topic had grown"] = 1
                elif owners != 1:
                    return f"{partition} has {owners} owners in the group {group}"
        return ""

    def judge(self, world: World, readers: Readers, counts: Counter[str]) -> None:
        """Nothing that can be read was left out by a group that commits only what it has read."""
        counts.update(self.counts)
        if self.oracle.licensed(CONSUMER_OFFSETS):
            return
        for group, members in _alive(world).items():
            if group in self.moved or any(
                node.application.commit_each_poll == COMMIT_BEFORE or node.settings.auto_offset_reset != "earliest"
                for node in members
            ):
                continue
            names = {name for name in (*world.client_configs, *world.processors) if _group_of(world, name) == group}
            committed_only = members[0].settings.isolation_level == "read_committed"
            for partition in dict.fromkeys(partition for node in members for partition in node.positions):
                known = self.oracle.state(partition)
                if known.licences:
                    continue
                left = readable_offsets(world, partition)
                if committed_only:
                    left -= known.hidden()
                for span in readers.shown:
                    if span.partition == partition and span.consumer in names:
                        left.difference_update(range(span.first, span.end))
                if left:
                    raise Violation(
                        "PollOrder", world.kernel.now, f"no member of {group} was ever shown offset {min(left)} of {partition}"
                    )


def _group_of(world: World, client: str) -> str:
    processor = world.processors.get(client)
    return processor.group if processor is not None else world.client_configs[client].get("group.id", "")


def consumers(world: World) -> Iterator[tuple[str, Consumer]]:
    """Every running consumer with its name, those inside processors too."""
    for host in world.kernel.hosts.values():
        node = host.node
        if isinstance(node, ConsumerNode):
            yield host.name, node
        elif isinstance(node, ProcessorNode):
            yield host.name, node.consumer


def _alive(world: World) -> dict[str, list[Consumer]]:
    """Group → its consumers that subscribe and have not crashed."""
    found: dict[str, list[Consumer]] = {}
    for _, node in consumers(world):
        if node.group is not None and node.group.subscribed and node.application.state != CRASHED:
            found.setdefault(node.group.group_id, []).append(node)
    return found


_HANDLERS: dict[type[ev.Event], Any] = {
    ev.GroupJoined: Groups._joined,
    ev.MemberJoined: Groups._admitted,
    ev.PartitionsAssigned: Groups._assigned,
    ev.PartitionsRevoked: Groups._given_up,
    ev.PartitionsLost: Groups._given_up,
    ev.GroupLeft: Groups._out,
    ev.MemberFenced: Groups._out,
    ev.ConsumerCrashed: Groups._out,
    ev.MemberLeft: Groups._expelled,
    ev.StaticMemberReplaced: Groups._expelled,
    ev.NodeKilled: Groups._process_ended,
    ev.NodeStopped: Groups._process_ended,
    ev.NodeStarted: Groups._process_ended,
    ev.GroupRebalanced: Groups._rebalanced,
    ev.PartitionsAdded: Groups._grown,
}
