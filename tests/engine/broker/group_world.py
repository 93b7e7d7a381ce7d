"""Members that do what a test says, in the broker tests' world: one topic of offsets with two partitions, led by brokers 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass

from engine.broker.coordinators import partition_for
from engine.broker.groups import shards
from engine.coordination.classic_group import ClassicGroup
from engine.messages.base import Response, TopicPartition
from engine.messages.groups import (
    FetchedOffset,
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    LeavingMember,
    MemberAssignment,
    MemberProtocol,
    OffsetAndMetadata,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
    Subscription,
    SyncGroupRequest,
    SyncGroupResponse,
)  # fmt: skip
from tests.engine.broker.harness import SECOND, World

OFFSETS = "__consumer_offsets"
GROUP = "readers"


@dataclass
class Member:
    """One consumer's side of the classic protocol, a request at a time."""

    world: GroupWorld
    name: str
    group: str = GROUP
    instance: str = ""
    protocols: tuple[str, ...] = ("range", "cooperative-sticky")
    topics: tuple[str, ...] = ("orders",)
    session_timeout_ms: int = 45_000
    rebalance_timeout_ms: int = 300_000
    member_id: str = ""
    generation: int = -1
    joined: JoinGroupResponse | None = None
    partitions: tuple[TopicPartition, ...] = ()
    asked: int = 0

    def ask_join(self) -> None:
        protocols = tuple(MemberProtocol(name, Subscription(self.topics)) for name in self.protocols)
        self.asked = self.world.next_number()
        request = JoinGroupRequest(
            self.asked, self.group, self.member_id, self.session_timeout_ms, self.rebalance_timeout_ms, protocols, self.instance,
            self.name,
        )  # fmt: skip
        self.world.send(self.world.coordinator(self.group), request, self.name)

    def join_answer(self) -> JoinGroupResponse | None:
        found = self.world.answer(self.asked, self.name)
        assert found is None or isinstance(found, JoinGroupResponse)
        return found

    def enter(self) -> None:
        """Asks to join until the coordinator has parked the request."""
        self.ask_join()
        self.world.run(10_000)
        answer = self.join_answer()
        if answer is not None and answer.error == "MEMBER_ID_REQUIRED":
            self.member_id = answer.member_id
            self.ask_join()
            self.world.run(10_000)

    def take_join(self) -> JoinGroupResponse:
        answer = self.join_answer()
        assert answer is not None, f"{self.name} still waits"
        if answer.error == "NONE":
            self.member_id, self.generation, self.joined = answer.member_id, answer.generation, answer
        return answer

    def ask_sync(self, assignments: dict[str, tuple[TopicPartition, ...]] | None = None) -> None:
        given = tuple(MemberAssignment(*item) for item in (assignments or {}).items())
        self.asked = self.world.next_number()
        request = SyncGroupRequest(self.asked, self.group, self.generation, self.member_id, given, self.instance)
        self.world.send(self.world.coordinator(self.group), request, self.name)

    def take_sync(self) -> SyncGroupResponse:
        answer = self.world.answer(self.asked, self.name)
        assert isinstance(answer, SyncGroupResponse), f"{self.name} still waits"
        self.partitions = answer.partitions
        return answer

    def heartbeat(self) -> str:
        number = self.world.next_number()
        request = HeartbeatRequest(number, self.group, self.generation, self.member_id, self.instance)
        self.world.send(self.world.coordinator(self.group), request, self.name)
        self.world.run(5_000)
        answer = self.world.answer(number, self.name)
        return answer.error if isinstance(answer, HeartbeatResponse) else ""

    def leave(self, reason: str = "") -> LeaveGroupResponse:
        number = self.world.next_number()
        request = LeaveGroupRequest(number, self.group, (LeavingMember(self.member_id, self.instance, reason),))
        self.world.send(self.world.coordinator(self.group), request, self.name)
        self.world.run(10_000)
        answer = self.world.answer(number, self.name)
        assert isinstance(answer, LeaveGroupResponse)
        return answer

    def commit(self, offset: int, partition: TopicPartition | None = None) -> str:
        number = self.ask_commit(offset, partition)
        self.world.run(10_000)
        answer = self.world.answer(number, self.name)
        return answer.results[0].error if isinstance(answer, OffsetCommitResponse) else ""

    def ask_commit(self, offset: int, partition: TopicPartition | None = None) -> int:
        number = self.world.next_number()
        item = OffsetAndMetadata(partition or TopicPartition("orders", 0), offset)
        request = OffsetCommitRequest(number, self.group, (item,), self.generation, self.member_id, self.instance)
        self.world.send(self.world.coordinator(self.group), request, self.name)
        return number

    def committed(self, partition: TopicPartition | None = None, stable: bool = True) -> FetchedOffset | None:
        number = self.world.next_number()
        asked = (partition or TopicPartition("orders", 0),)
        request = OffsetFetchRequest(number, self.group, asked, require_stable=stable)
        self.world.send(self.world.coordinator(self.group), request, self.name)
        self.world.run(10_000)
        answer = self.world.answer(number, self.name)
        return answer.offsets[0] if isinstance(answer, OffsetFetchResponse) and answer.offsets else None


class GroupWorld(World):
    def __init__(self, configs: dict[str, str] | None = None, brokers: int = 3) -> None:
        super().__init__(brokers, configs)
        everybody = tuple(range(1, brokers + 1))
        turns = [(*everybody[at:], *everybody[:at]) for at in range(min(2, brokers))]
        self.topic(*turns, name=OFFSETS, configs={"cleanup.policy": "compact"})
        self.topic(*[everybody] * 6)

    def member(self, name: str, **others: object) -> Member:
        if name not in self.kernel.hosts:
            self.add_client(name)
        return Member(self, name, **others)  # type: ignore[arg-type]

    def answer(self, number: int, client: str) -> Response | None:
        found = [answer for answer in self.answers(Response, client) if answer.correlation_id == number]
        assert len(found) <= 1, found
        return found[0] if found else None

    def coordinator(self, group: str = GROUP) -> int:
        image = self.controller.image.topics[OFFSETS]
        return image.partitions[partition_for(group, len(image.partitions))].leader

    def group(self, name: str = GROUP) -> ClassicGroup:
        for shard in shards(self.broker(self.coordinator(name))):
            if name in shard.groups:
                group = shard.groups[name]
                assert isinstance(group, ClassicGroup)
                return group
        raise AssertionError(f"no group {name}")

    def assemble(self, *members: Member) -> None:
        """All join, and get three partitions in turn each."""
        for member in members:
            member.enter()
        self.run(7 * SECOND)
        self.settle(*members)

    def settle(self, *members: Member) -> None:
        """Everybody's join has been answered: the leader assigns, all sync."""
        for member in members:
            assert member.take_join().error == "NONE"
        parts = [TopicPartition("orders", number) for number in range(6)]
        given: dict[str, tuple[TopicPartition, ...]] = {}
        for index, member in enumerate(members):
            given[member.member_id] = tuple(parts[index :: len(members)])
        for member in members:
            assert member.joined is not None
            member.ask_sync(given if member.joined.leader == member.member_id else None)
        self.run(50_000)
        for member in members:
            assert member.take_sync().error == "NONE"
