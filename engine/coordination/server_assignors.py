"""The assignors of the broker (KIP-848): ``uniform``, the default, and ``range``. Pure: members and topics in, a part for each member out.

Kafka's ``UniformAssignor`` (its two builders) and ``RangeAssignor`` of the group coordinator. Where Kafka goes through a hash map,
this goes through members in the order in which they joined, and topics in the order given.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.coordination.consumer_group_records import Assignment, TopicIdPartition

UNIFORM, RANGE = "uniform", "range"
ASSIGNORS = (UNIFORM, RANGE)
"""``group.consumer.assignors``; the first is the default."""
MAX_BALANCING_ROUNDS = 16
"""Kafka's ``MAX_ITERATION_COUNT``: with overlapping subscriptions a perfect balance may take long."""


class MemberSpec(NamedTuple):
    """``topic_ids``: what it subscribes to and exists; ``assigned``: its part of the target so far."""

    topic_ids: tuple[str, ...]
    assigned: Assignment
    instance_id: str = ""


Members = dict[str, MemberSpec]
PartitionCounts = dict[str, int]


def assign(name: str, members: Members, counts: PartitionCounts) -> dict[str, Assignment]:
    """Every partition of every topic that somebody subscribes to goes to exactly one of its subscribers."""
    if not members:
        return {}
    homogeneous = len(dict.fromkeys([member.topic_ids for member in members.values()])) == 1
    if name == RANGE:
        found = _range(members, counts)
    elif homogeneous:
        found = _uniform(members, counts)
    else:
        found = _uniform_mixed(members, counts)
    return {member_id: tuple(sorted(parts)) for member_id, parts in found.items()}


# -- uniform, all members alike ---------------------------------------------------------------------------------------------------------


def _uniform(members: Members, counts: PartitionCounts) -> dict[str, list[TopicIdPartition]]:
    """Everybody keeps what fits his share; the rest fills those who are below theirs. The shares differ by one at most."""
    topic_ids = next(iter(members.values())).topic_ids
    owned = dict.fromkeys([part for member in members.values() for part in member.assigned])
    partitions = [TopicIdPartition(topic_id, number) for topic_id in topic_ids for number in range(counts[topic_id])]
    unassigned = [part for part in partitions if part not in owned]
    existing = dict.fromkeys(partitions)
    least, extra = divmod(len(partitions), len(members))
    found: dict[str, list[TopicIdPartition]] = {}
    room: list[tuple[str, int]] = []
    for index, (member_id, member) in enumerate(members.items()):
        quota = least + (index < extra)
        valid = [part for part in member.assigned if part in existing]
        found[member_id] = valid[:quota]
        unassigned += valid[quota:]
        if len(valid) < quota:
            room.append((member_id, quota - len(valid)))
    position = 0
    for member_id, quota in room:
        found[member_id] += unassigned[position : position + quota]
        position += quota
    return found


# -- uniform, members with different subscriptions -----------------------------------------------------------------------------------------


def _uniform_mixed(members: Members, counts: PartitionCounts) -> dict[str, list[TopicIdPartition]]:
    """Keeps what is still subscribed to, gives each free partition to its least loaded subscriber, then moves partitions from the most
    to the least loaded subscriber of a topic while that evens them out."""
    subscribers: dict[str, list[str]] = {}
    for member_id, member in members.items():
        for topic_id in member.topic_ids:
            subscribers.setdefault(topic_id, []).append(member_id)
    order = sorted(subscribers, key=lambda topic: (-counts[topic] / len(subscribers[topic]), len(subscribers[topic]), topic))
    owners: dict[TopicIdPartition, str] = {}
    load = dict.fromkeys(members, 0)
    for member_id, member in members.items():
        for part in member.assigned:
            if part.topic_id in member.topic_ids and part.partition < counts[part.topic_id] and part not in owners:
                owners[part] = member_id
                load[member_id] += 1
    for topic_id in order:
        for number in range(counts[topic_id]):
            part = TopicIdPartition(topic_id, number)
            if part not in owners:
                owners[part] = min(subscribers[topic_id], key=load.__getitem__)
                load[owners[part]] += 1
    for _ in range(MAX_BALANCING_ROUNDS):
        if not sum([_balance(topic_id, subscribers[topic_id], counts[topic_id], owners, load) for topic_id in order]):
            break
    found: dict[str, list[TopicIdPartition]] = {member_id: [] for member_id in members}
    for part, member_id in owners.items():
        found[member_id].append(part)
    return found


def _balance(topic_id: str, subscribers: list[str], count: int, owners: dict[TopicIdPartition, str], load: dict[str, int]) -> int:
    """How many partitions of this topic have moved."""
    owned: dict[str, list[TopicIdPartition]] = {}
    for number in range(count):
        part = TopicIdPartition(topic_id, number)
        owned.setdefault(owners[part], []).append(part)
    moved = 0
    while True:
        givers = [member_id for member_id in subscribers if owned.get(member_id)]
        giver = max(givers, key=load.__getitem__, default="")
        taker = min(subscribers, key=load.__getitem__)
        if not giver or load[giver] - load[taker] <= 1:
            return moved
        part = owned[giver].pop()
        owned.setdefault(taker, []).append(part)
        owners[part] = taker
        load[giver] -= 1
        load[taker] += 1
        moved += 1


# -- range ----------------------------------------------------------------------------------------------------------------------------------


def _range(members: Members, counts: PartitionCounts) -> dict[str, list[TopicIdPartition]]:
    """Of each topic a contiguous piece for each subscriber, in the order of the members: topics with the same number of partitions are
    divided alike. Static members come first, by their group.instance.id."""
    order = sorted(members, key=lambda member_id: (not members[member_id].instance_id, members[member_id].instance_id, member_id))
    subscribers: dict[str, int] = {}
    for member in members.values():
        for topic_id in member.topic_ids:
            subscribers[topic_id] = subscribers.get(topic_id, 0) + 1
    turn = dict.fromkeys(subscribers, 0)
    start = dict.fromkeys(subscribers, 0)
    found: dict[str, list[TopicIdPartition]] = {member_id: [] for member_id in members}
    for member_id in order:
        for topic_id in members[member_id].topic_ids:
            least, extra = divmod(counts[topic_id], subscribers[topic_id])
            end = start[topic_id] + least + (turn[topic_id] < extra)
            found[member_id] += [TopicIdPartition(topic_id, number) for number in range(start[topic_id], end)]
            start[topic_id] = end
            turn[topic_id] += 1
    return found
