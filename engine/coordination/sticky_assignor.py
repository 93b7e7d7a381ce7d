"""The sticky algorithm of the classic protocol: Kafka's ``AbstractStickyAssignor``, without racks.

Where all members subscribe to the same topics (nearly always), quotas decide: everybody gets the floor or the ceiling of the mean, and
keeps what it owned up to that. Otherwise partitions go one by one to the least loaded member that may have them, and are moved while
that improves the balance. What members owned in an older generation counts only where nobody newer claims it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from collections.abc import Sequence as AbstractSequence
from typing import NamedTuple

from engine.messages.base import TopicPartition
from engine.messages.groups import JoinedMember

NO_GENERATION = -1
Assignment = dict[str, list[TopicPartition]]


class PreviousOwner(NamedTuple):
    member_id: str
    generation: int


class _Owned(NamedTuple):
    """``by_member``: what each may be said to own; ``contested``: claimed by two in one generation, so owned by nobody."""

    by_member: Assignment
    contested: tuple[TopicPartition, ...]
    same_topics: bool
    newest_generation: int


def assign(
    counts: Mapping[str, int], members: AbstractSequence[JoinedMember]
) -> tuple[Assignment, dict[TopicPartition, str] | None]:
    """The assignment by member ID, and which partitions thereby leave an owner for a new one (None: not worked out)."""
    owned = _previously_owned(counts, members)
    if owned.same_topics:
        return _Constrained(counts, owned).build()
    return _General(counts, owned, members).build(), None


def _previously_owned(counts: Mapping[str, int], members: AbstractSequence[JoinedMember]) -> _Owned:
    """``allSubscriptionsEqual`` with its side effect: who owns what, and whether all read the same topics."""
    by_member: Assignment = {}
    owners: dict[TopicPartition, tuple[str, int]] = {}
    contested: dict[TopicPartition, None] = {}
    newest = NO_GENERATION
    same_topics = True
    topics: set[str] | None = None
    for member in sorted(members, key=lambda member: member.member_id):
        subscription = member.subscription
        if topics is None:
            topics = set(subscription.topics)
        elif set(subscription.topics) != topics:
            same_topics = False
        newest = max(newest, subscription.generation)
        mine = by_member[member.member_id] = []
        for partition in subscription.owned:
            if partition.partition >= counts.get(partition.topic, 0):
                continue  # of a topic that is gone, or has been created anew with fewer
            other = owners.get(partition)
            if other is not None:
                if subscription.generation < other[1]:
                    continue
                if partition in by_member[other[0]]:
                    by_member[other[0]].remove(partition)
                owners[partition] = (member.member_id, subscription.generation)
                if subscription.generation == other[1]:
                    contested[partition] = None
                    continue
            mine.append(partition)
            owners[partition] = (member.member_id, subscription.generation)
    return _Owned(by_member, tuple(contested), same_topics, newest)


# -- everybody reads the same ---------------------------------------------------------------------------------------------------------------


class _Constrained:
    """``ConstrainedAssignmentBuilder``."""

    def __init__(self, counts: Mapping[str, int], owned: _Owned) -> None:
        self.counts = counts
        self.owned = owned
        total, members = sum(counts.values()), len(owned.by_member)
        self.least, self.over = divmod(total, members)
        self.most = self.least + (self.over > 0)
        self.over_now = 0
        """How many members have one more than the least so far; ``over`` is how many shall."""
        self.assignment: Assignment = {member_id: [] for member_id in owned.by_member}
        self.below: list[str] = []
        self.at_least: list[str] = []
        self.given_up: dict[TopicPartition, str] = {}
        self.transferring: dict[TopicPartition, str] = {}

    def build(self) -> tuple[Assignment, dict[TopicPartition, str]]:
        for member_id, partitions in self.owned.by_member.items():
            kept = sorted(partitions, key=lambda partition: (partition.partition, partition.topic))
            self._keep(member_id, [partition for partition in kept if partition not in self.owned.contested])
        taken = {partition for partitions in self.assignment.values() for partition in partitions}
        free = [
            TopicPartition(topic, number)
            for topic in sorted(self.counts)
            for number in range(self.counts[topic])
            if (topic, number) not in taken
        ]
        self._deal(free)
        return self.assignment, self.transferring

    def _keep(self, member_id: str, owned: list[TopicPartition]) -> None:
        """``assignOwnedPartitions``: up to its quota everybody keeps what it has."""
        if len(owned) < self.least:
            self.assignment[member_id] += owned
            self.below.append(member_id)
            return
        if len(owned) >= self.most and self.over_now < self.over:
            self.over_now += 1
            if self.over_now == self.over:
                self.at_least.clear()
            quota = self.most
        else:
            quota = self.least
            if self.over_now < self.over:
                self.at_least.append(member_id)
        self.assignment[member_id] += owned[:quota]
        self.given_up.update(dict.fromkeys(owned[quota:], member_id))

    def _deal(self, free: list[TopicPartition]) -> None:
        """``assignRoundRobin``: first everybody up to the least, then some one more."""
        below, at_least = sorted(self.below), sorted(self.at_least)
        turn = 0
        for partition in free:
            if below:
                turn %= len(below)
                member_id = below[turn]
            else:
                member_id = at_least.pop(0)
            self.assignment[member_id].append(partition)
            if self.given_up.get(partition, member_id) != member_id or partition in self.owned.contested:
                self.transferring[partition] = member_id
            if not below:
                continue
            if len(self.assignment[member_id]) == self.least:
                below.pop(turn)
                at_least.append(member_id)
            elif len(self.assignment[member_id]) == self.most:  # the least is none at all
                below.pop(turn)
            else:
                turn += 1


# -- subscriptions differ -------------------------------------------------------------------------------------------------------------------


class _General:
    """``GeneralAssignmentBuilder``."""

    def __init__(self, counts: Mapping[str, int], owned: _Owned, members: AbstractSequence[JoinedMember]) -> None:
        self.counts = counts
        self.current = {member_id: list(partitions) for member_id, partitions in owned.by_member.items()}
        self.topics_of = {
            member.member_id: [topic for topic in dict.fromkeys(member.subscription.topics) if topic in counts]
            for member in sorted(members, key=lambda member: member.member_id)
        }
        self.readers: dict[str, list[str]] = {topic: [] for topic in counts}
        for member_id, topics in self.topics_of.items():
            for topic in topics:
                self.readers[topic].append(member_id)
        self.previous = _older_claims(members, owned.newest_generation)
        self.revocation_required = False
        self.owner: dict[TopicPartition, str] = {}
        self.order: list[tuple[int, str]] = []
        """Members by load, then by ID: Java's ``sortedCurrentSubscriptions``."""
        self.moves = _Movements()

    def build(self) -> Assignment:
        for member_id, partitions in self.current.items():
            for partition in list(partitions):
                if partition.topic not in self.topics_of[member_id] or partition.partition >= self.counts[partition.topic]:
                    partitions.remove(partition)
                    self.revocation_required = True
                else:
                    self.owner[partition] = member_id
        topics = sorted(self.counts, key=lambda topic: (len(self.readers[topic]), topic))
        everything = [TopicPartition(topic, number) for topic in topics for number in range(self.counts[topic])]
        free = [partition for partition in everything if partition not in self.owner]
        self.order = sorted((len(partitions), member_id) for member_id, partitions in self.current.items())
        self._balance(everything, free)
        return self.current

    def _balance(self, everything: list[TopicPartition], free: list[TopicPartition]) -> None:
        initializing = self.order[-1][0] == 0
        for partition in free:
            reader = next((member_id for _, member_id in self.order if partition.topic in self.topics_of[member_id]), None)
            if reader is not None:
                self._give(partition, reader)
        movable = [partition for partition in everything if len(self.readers[partition.topic]) >= 2]
        fixed = {}
        for member_id in self.topics_of:
            if not self._can_change(member_id):
                self.order.remove((len(self.current[member_id]), member_id))
                fixed[member_id] = self.current.pop(member_id)
        before = {member_id: list(partitions) for member_id, partitions in self.current.items()}
        if self.current:
            if not self.revocation_required:
                self._reassign([partition for partition in free if len(self.readers[partition.topic]) >= 2])
            moved = self._reassign(movable)
            if not initializing and moved and _score(self.current) >= _score(before):
                self.current = before
        self.current.update(fixed)

    def _give(self, partition: TopicPartition, member_id: str) -> None:
        self.order.remove((len(self.current[member_id]), member_id))
        self.current[member_id].append(partition)
        self.owner[partition] = member_id
        insort(self.order, (len(self.current[member_id]), member_id))

    def _most_for(self, member_id: str) -> int:
        return sum(self.counts[topic] for topic in self.topics_of[member_id])

    def _can_change(self, member_id: str) -> bool:
        """It could have more, or something that it has could go to somebody else."""
        partitions = self.current[member_id]
        if len(partitions) < self._most_for(member_id):
            return True
        return any(len(self.readers[partition.topic]) >= 2 for partition in partitions)

    def _is_balanced(self) -> bool:
        if self.order[0][0] >= self.order[-1][0] - 1:
            return True
        for load, member_id in self.order:
            if load == self._most_for(member_id):
                continue
            for topic in self.topics_of[member_id]:
                for number in range(self.counts[topic]):
                    other = self.owner.get(TopicPartition(topic, number))
                    if other is not None and other != member_id and other in self.current and load + 1 < len(self.current[other]):
                        return False
        return True

    def _reassign(self, partitions: list[TopicPartition]) -> bool:
        """``performReassignments``: as long as a move makes the assignment more even."""
        performed = modified = False
        while True:
            modified = False
            for partition in partitions:
                if self._is_balanced():
                    break
                owner = self.owner[partition]
                load = len(self.current[owner])
                before = self.previous.get(partition)
                if before is not None and before.member_id in self.current and load > len(self.current[before.member_id]) + 1:
                    self._move(partition, before.member_id)
                    modified = True
                elif any(load > len(self.current[other]) + 1 for other in self.readers[partition.topic] if other in self.current):
                    self._move(partition, next(other for _, other in self.order if partition.topic in self.topics_of[other]))
                    modified = True
            performed = performed or modified
            if not modified:
                return performed

    def _move(self, partition: TopicPartition, new_owner: str) -> None:
        partition = self.moves.actual(partition, self.owner[partition], new_owner)
        old_owner = self.owner[partition]
        for member_id in (old_owner, new_owner):
            self.order.remove((len(self.current[member_id]), member_id))
        self.moves.record(partition, old_owner, new_owner)
        self.current[old_owner].remove(partition)
        self.current[new_owner].append(partition)
        self.owner[partition] = new_owner
        for member_id in (old_owner, new_owner):
            insort(self.order, (len(self.current[member_id]), member_id))


def _older_claims(members: AbstractSequence[JoinedMember], newest: int) -> dict[TopicPartition, PreviousOwner]:
    """``prepopulateCurrentAssignments``: who had a partition in the newest of the older generations."""
    claims: dict[TopicPartition, PreviousOwner] = {}
    for member in sorted(members, key=lambda member: member.member_id):
        generation = member.subscription.generation
        if generation < newest:
            for partition in member.subscription.owned:
                known = claims.get(partition)
                if known is None or generation > known.generation:
                    claims[partition] = PreviousOwner(member.member_id, generation)
    return claims


def _score(assignment: Assignment) -> int:
    """The sum of all differences in load: less is more even."""
    loads = [len(partitions) for partitions in assignment.values()]
    return sum(abs(one - other) for position, one in enumerate(loads) for other in loads[position + 1 :])


class _Movements:
    """``PartitionMovements``: two partitions of a topic must not swap owners where one of them could have stayed."""

    def __init__(self) -> None:
        self.pairs: dict[TopicPartition, tuple[str, str]] = {}

    def record(self, partition: TopicPartition, source: str, target: str) -> None:
        known = self.pairs.pop(partition, None)
        if known is None:
            self.pairs[partition] = (source, target)
        elif known[0] != target:
            self.pairs[partition] = (known[0], target)

    def actual(self, partition: TopicPartition, owner: str, target: str) -> TopicPartition:
        """The partition of the same topic that moved the opposite way, if there is one: it goes back instead."""
        known = self.pairs.get(partition)
        source = known[0] if known is not None else owner
        for other, pair in self.pairs.items():
            if other.topic == partition.topic and pair == (target, source):
                return other
        return partition
