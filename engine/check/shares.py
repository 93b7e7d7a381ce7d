"""What a share group owes its application: a record that was settled is never delivered again, none more often than it may be, and none
is left behind.

Settled is what a leader holds for acknowledged or archived once the share coordinator has it. A leader that has been replaced and does
not know it yet may deliver what its successor has settled: it alone is excused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from engine import events as ev
from engine.broker import coordinators
from engine.broker.node import BrokerNode
from engine.broker.share_channels import ShareKeyHere
from engine.broker.share_partition import ACQUIRED, SETTLED, SharePartition
from engine.broker.share_partitions import delivery_limit
from engine.check.invariants import Oracle, Violation, place
from engine.check.readers import readable_offsets
from engine.clients.consumer_state import CRASHED
from engine.clients.share_consumer import ShareConsumerNode
from engine.coordination.group_shard import GroupShard
from engine.coordination.share_group import ShareGroup
from engine.messages.base import TopicPartition
from engine.metadata.group_configs import group_config
from engine.metadata.internal_topics import CONSUMER_OFFSETS, SHARE_GROUP_STATE
from engine.world import World, best_image

Write = tuple[str, ShareKeyHere, int]
"""(broker, share partition, the number of its call to the share coordinator)."""


@dataclass(slots=True)
class Shares:
    """``under_way``: offsets that a write will settle, with the leader epoch of who writes. ``began``: where each share partition starts;
    ``seen``: what was delivered or given up."""

    world: World
    oracle: Oracle
    counts: Counter[str] = field(default_factory=Counter)
    under_way: dict[Write, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    settled: dict[ShareKeyHere, set[int]] = field(default_factory=dict)
    began: dict[ShareKeyHere, int] = field(default_factory=dict)
    seen: dict[ShareKeyHere, set[int]] = field(default_factory=dict)

    def observe(self, fresh: list[ev.Happening]) -> None:
        """Raises Violation."""
        if self.under_way:
            self._settle()
        for happening in fresh:
            handler = _HANDLERS.get(type(happening.event))
            if handler is not None:
                handler(self, happening.event, happening.at_us)

    def _share(self, broker: str, key: ShareKeyHere) -> SharePartition | None:
        host = self.world.kernel.hosts.get(broker)
        node = host.node if host is not None else None
        return node.share.partitions.get(key) if isinstance(node, BrokerNode) else None

    def _excused(self, partition: TopicPartition) -> bool:
        return bool(self.oracle.state(partition).licences) or self.oracle.licensed(SHARE_GROUP_STATE)

    # -- what is settled --------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Of the writes that are over, those that the share coordinator has."""
        for write, (leader_epoch, offsets) in list(self.under_way.items()):
            broker, key, number = write
            share = self._share(broker, key)
            if share is not None and share.leader_epoch == leader_epoch:
                if number in share.writes:
                    continue
                settled = self.settled.setdefault(key, set())
                for offset in offsets:
                    known = share.records.get(offset)
                    if known is None or (known.state in SETTLED and not known.pending):
                        settled.add(offset)
            del self.under_way[write]

    def _acknowledged(self, event: ev.ShareAcknowledged, at_us: int) -> None:
        broker, key = f"broker-{event.broker}", ShareKeyHere(event.group, place(event.topic, event.partition))
        for name in ("accepted", "released", "archived"):
            self.counts[f"share records {name}"] += getattr(event, name)
        if event.archived:
            self.seen.setdefault(key, set()).update(range(event.first_offset, event.last_offset + 1))
        share = self._share(broker, key)
        if share is None:
            return
        for number, write in share.writes.items():
            offsets = tuple([change.offset for change in write.changes if change.record.state in SETTLED])
            if offsets:
                self.under_way.setdefault((broker, key, number), (share.leader_epoch, offsets))
        if not share.writes:
            self._settle()

    def _acquired(self, event: ev.ShareRecordsAcquired, at_us: int) -> None:
        partition = place(event.topic, event.partition)
        key = ShareKeyHere(event.group, partition)
        host = self.world.kernel.hosts.get(f"broker-{event.broker}")
        share = self._share(f"broker-{event.broker}", key)
        state = self.oracle.image.partition(partition)
        if share is None or host is None or state is None or self._excused(partition):
            return
        limit = delivery_limit(host.node, event.group)  # type: ignore[arg-type]
        if event.deliveries > limit:
            raise Violation("ShareDelivery", at_us, f"{partition} was delivered {event.deliveries} times, {limit} are allowed")
        if event.deliveries > 1:
            self.counts["share records delivered again"] += event.count
        if (state.leader, state.leader_epoch) != (event.broker, share.leader_epoch):
            return
        for offset in self.settled.get(key, set()).intersection(range(event.first_offset, event.last_offset + 1)):
            known = share.records.get(offset)
            if known is not None and known.state == ACQUIRED:
                raise Violation(
                    "ShareDelivery",
                    at_us,
                    f"{event.consumer} was given offset {offset} of {partition}, which {event.group} had settled",
                )

    def _expired(self, event: ev.AcquisitionLockExpired, at_us: int) -> None:
        if event.archived:
            key = ShareKeyHere(event.group, place(event.topic, event.partition))
            self.seen.setdefault(key, set()).update(range(event.first_offset, event.last_offset + 1))

    def _delivered(self, event: ev.ShareRecordsDelivered, at_us: int) -> None:
        partition = place(event.topic, event.partition)
        known = self.oracle.state(partition)
        if event.last_offset >= known.high_watermark and not known.licences:
            raise Violation(
                "RepeatableRead", at_us, f"{partition}: offset {event.last_offset} was delivered before it was committed"
            )
        self.seen.setdefault(ShareKeyHere(event.group, partition), set()).update(range(event.first_offset, event.last_offset + 1))

    def _loaded(self, event: ev.SharePartitionLoaded, at_us: int) -> None:
        if event.fresh:
            key = ShareKeyHere(event.group, place(event.topic, event.partition))
            self.began[key] = max(self.began.get(key, 0), event.start_offset)

    # -- at the end -------------------------------------------------------------------------------------------------------

    def uninformed(self) -> Iterator[str]:
        """Members in the epoch that their coordinator has them in, and without what it has assigned to them."""
        for name, node in share_consumers(self.world):
            host = self.world.kernel.hosts.get(f"broker-{node.group.coordinator}")
            replica = None
            if host is not None and isinstance(host.node, BrokerNode):
                replica, _ = coordinators.locate(host.node, CONSUMER_OFFSETS, node.group.group_id)
            shard = replica.shard.state if replica is not None and replica.shard is not None else None
            group = shard.groups.get(node.group.group_id) if isinstance(shard, GroupShard) else None
            member = group.members.get(node.group.member_id) if isinstance(group, ShareGroup) else None
            if (
                member is not None
                and member.member_epoch == node.group.epoch
                and len(member.assigned) != len(node.group.target or ())
            ):
                yield name

    def unsettled(self) -> str:
        """Which record of a share group is still to be settled."""
        image = best_image(self.world)
        if image is None or self.oracle.licensed(SHARE_GROUP_STATE):
            return ""
        for group, topics in _alive(self.world).items():
            for topic in topics:
                for number, state in image.topics[topic].partitions.items() if topic in image.topics else ():
                    partition = TopicPartition(topic, number)
                    share = self._share(f"broker-{state.leader}", ShareKeyHere(group, partition))
                    end = self.oracle.state(partition).high_watermark
                    if self._excused(partition) or not end:
                        continue
                    if share is None or not share.active:
                        return f"{group} does not fetch from {partition}"
                    if share.start_offset < end:
                        return f"{group} has settled {partition} up to {share.start_offset} of {end}"
        return ""

    def judge(self, counts: Counter[str]) -> None:
        """Nothing was passed over. Raises Violation."""
        counts.update(self.counts)
        image = best_image(self.world)
        for key, seen in self.seen.items():
            group, partition = key
            known = self.oracle.state(partition)
            if self._excused(partition) or image is None or group not in _alive(self.world):
                continue
            left = {offset for offset in readable_offsets(self.world, partition) if offset >= self.began.get(key, 0)} - seen
            if group_config(image, self.world.spec.broker_configs, group, "share.isolation.level") == "read_committed":
                left -= known.hidden()
            if left:
                raise Violation(
                    "ShareDelivery", self.world.kernel.now, f"no member of {group} was ever given offset {min(left)} of {partition}"
                )


def share_consumers(world: World) -> Iterator[tuple[str, ShareConsumerNode]]:
    for host in world.kernel.hosts.values():
        if isinstance(host.node, ShareConsumerNode):
            yield host.name, host.node


def _alive(world: World) -> dict[str, dict[str, None]]:
    """Share group → the topics that its members subscribe to."""
    found: dict[str, dict[str, None]] = {}
    for _, node in share_consumers(world):
        if node.application.state != CRASHED:
            found.setdefault(node.group.group_id, {}).update(dict.fromkeys(node.topics))
    return found


_HANDLERS: dict[type[ev.Event], Any] = {
    ev.ShareAcknowledged: Shares._acknowledged,
    ev.ShareRecordsAcquired: Shares._acquired,
    ev.AcquisitionLockExpired: Shares._expired,
    ev.ShareRecordsDelivered: Shares._delivered,
    ev.SharePartitionLoaded: Shares._loaded,
}
