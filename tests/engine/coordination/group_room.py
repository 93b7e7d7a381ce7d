"""One shard of ``__consumer_offsets`` without a broker, and members of a consumer group that do what a test says.

The room writes what the shard decides into a list and replays it, as the runtime does; ``reload`` reads it back into a new shard.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from itertools import pairwise

from engine.coordination import consumer_protocol
from engine.coordination.consumer_group import ConsumerGroup
from engine.coordination.group_settings import GroupSettings
from engine.coordination.group_shard import GroupShard
from engine.coordination.group_timers import MemberRevocationTimer, MemberSilenceTimer
from engine.coordination.shard import Decision
from engine.events import Event
from engine.messages.base import Timer, TopicPartition
from engine.messages.groups import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse
from engine.metadata.image import MetadataImage
from engine.metadata.records import Partition, RemoveTopic, Topic
from engine.sim.disk import Disk
from engine.sim.outbox import ARM, CANCEL, Outbox

GROUP = "readers"
SECOND = 1_000_000


@dataclass
class Room:
    configs: dict[str, str] = field(default_factory=dict)
    mutants: tuple[str, ...] = ()
    now: int = SECOND
    image: MetadataImage = field(default_factory=MetadataImage)
    log: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    timers: dict[Timer, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    next_number: int = 1
    streams: dict[str, object] = field(default_factory=dict)
    shard: GroupShard = field(init=False)

    def __post_init__(self) -> None:
        self.shard = GroupShard(1, GroupSettings.read(self.configs), mutants=self.mutants)

    def topic(self, name: str, partitions: int, version: int = 1) -> None:
        """Creates it, or adds partitions to it."""
        topic_id = urlsafe_b64encode(f"{name:14.14}{version:02d}".encode()).decode().rstrip("=")
        known = self.image.topics.get(name)
        if known is None:
            self.image.apply(Topic(name, topic_id), 0, 1)
        known = self.image.topics[name]
        for number in range(len(known.partitions), partitions):
            self.image.apply(Partition(known.topic_id, number, (1,), (1,), 1), 0, 1)
        consumer_protocol.request_refresh(self.shard, [name], self.out())

    def delete_topic(self, name: str) -> None:
        self.image.apply(RemoveTopic(self.image.topics[name].topic_id), 0, 1)
        consumer_protocol.request_refresh(self.shard, [name], self.out())

    def out(self) -> Outbox:
        return Outbox("broker-1", self.now, self.now // 1000, 0, 1, Disk(), 1, self.streams, lambda peer, node: ())  # type: ignore[arg-type]

    def carry_out(self, decision: Decision) -> None:
        for key, value in decision.records:
            self.shard.replay(len(self.log), -1, -1, key, value, self.now // 1000)
            self.log.append((key, value))
        consumer_protocol.settle(self.shard, GROUP, decision.out)
        for kind, _, body, after_us, _ in decision.out.effects:
            if kind == ARM:
                self.timers[body] = self.now + after_us  # type: ignore[index]
            elif kind == CANCEL:
                self.timers.pop(body, None)  # type: ignore[arg-type]
        self.events += [event for event, _ in decision.out.emitted]

    def ask(self, request: ConsumerGroupHeartbeatRequest, client: str) -> ConsumerGroupHeartbeatResponse:
        decision = Decision(self.out(), image=self.image)
        consumer_protocol.heartbeat(self.shard, client, request, decision)
        self.carry_out(decision)
        (_, response) = decision.replies[0]
        assert isinstance(response, ConsumerGroupHeartbeatResponse)
        return response

    def wait(self, seconds: float) -> None:
        """Lets the timers run out that are due until then."""
        end = self.now + int(seconds * SECOND)
        while self.timers:
            timer, due = min(self.timers.items(), key=lambda item: item[1])
            if due > end:
                break
            self.now = max(self.now, due)
            del self.timers[timer]
            decision = Decision(self.out(), image=self.image)
            if isinstance(timer, MemberSilenceTimer):
                consumer_protocol.on_silence_timer(self.shard, timer, decision)
            elif isinstance(timer, MemberRevocationTimer):
                consumer_protocol.on_revocation_timer(self.shard, timer, decision)
            self.carry_out(decision)
        self.now = end

    def reload(self, log: list[tuple[bytes, bytes | None]] | None = None) -> None:
        """Another broker takes over, with what the log holds."""
        self.shard = GroupShard(1, GroupSettings.read(self.configs), mutants=self.mutants)
        for position, (key, value) in enumerate(self.log if log is None else log):
            self.shard.replay(position, -1, -1, key, value, 0)
        decision = Decision(self.out())
        self.timers.clear()
        for group in self.shard.groups.values():
            group.on_loaded(decision.out)
        self.carry_out(decision)

    def compacted(self) -> list[tuple[bytes, bytes | None]]:
        newest = {key: position for position, (key, _) in enumerate(self.log)}
        return [item for position, item in enumerate(self.log) if newest[item[0]] == position]

    @property
    def group(self) -> ConsumerGroup:
        group = self.shard.groups[GROUP]
        assert isinstance(group, ConsumerGroup)
        return group

    def member(self, name: str, *topics: str, **others: object) -> Member:
        return Member(self, name, topics or ("orders",), **others)  # type: ignore[arg-type]

    def check_single_owner(self) -> None:
        """No partition is owned by two members; the target gives each partition to one of them at most."""
        for parts in (
            [part for member in self.group.members.values() for part in member.owned],
            [part for target in self.group.target.values() for part in target],
        ):
            assert all(one != two for one, two in pairwise(sorted(parts))), f"two owners: {sorted(parts)}"


@dataclass
class Member:
    """The client's side: it owns what it was assigned, less what it was told to give up and ``revoke`` has let go."""

    room: Room
    name: str
    topics: tuple[str, ...]
    instance: str | None = None
    assignor: str | None = None
    rebalance_timeout_ms: int = 300_000
    member_id: str = ""
    epoch: int = 0
    owned: tuple[TopicPartition, ...] = ()
    wanted: tuple[TopicPartition, ...] = ()

    def join(self) -> ConsumerGroupHeartbeatResponse:
        self.member_id = self.member_id or f"{self.name}-id"
        self.epoch, self.owned = 0, ()
        return self.heartbeat(full=True)

    def heartbeat(self, *, full: bool = False, lost: bool = False, settle: bool = True) -> ConsumerGroupHeartbeatResponse:
        """``lost``: the answer does not arrive. ``settle``: it gives up and takes at once what the answer says."""
        room = self.room
        request = ConsumerGroupHeartbeatRequest(
            room.next_number, GROUP, self.member_id, self.epoch, self.instance,
            rebalance_timeout_ms=self.rebalance_timeout_ms if full else -1, topics=self.topics if full else None,
            server_assignor=self.assignor if full else None, owned=self.owned, client_id=self.name,
        )  # fmt: skip
        room.next_number += 1
        response = room.ask(request, self.name)
        if not lost and response.error == "NONE":
            self.epoch = response.member_epoch
            if response.assignment is not None:
                self.wanted = response.assignment
            if settle:
                self.owned = self.wanted
        return response

    def subscribe(self, *topics: str) -> ConsumerGroupHeartbeatResponse:
        self.topics = topics
        return self.heartbeat(full=True)

    def leave(self, epoch: int = -1) -> ConsumerGroupHeartbeatResponse:
        request = ConsumerGroupHeartbeatRequest(self.room.next_number, GROUP, self.member_id, epoch, self.instance)
        self.room.next_number += 1
        self.owned = self.wanted = ()
        return self.room.ask(request, self.name)
