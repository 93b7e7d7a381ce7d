"""The assignors of the classic protocol, as the leader of a group runs them: pure functions from subscriptions to an assignment.

Kafka's ``RangeAssignor``, ``RoundRobinAssignor``, ``StickyAssignor`` and ``CooperativeStickyAssignor`` (the sticky algorithm itself lies in
``sticky_assignor``). Racks are left aside: KIP-881 matters where replicas of a partition stand in some racks only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as AbstractSequence

from engine.coordination import sticky_assignor
from engine.messages.base import TopicPartition
from engine.messages.groups import JoinedMember

Assignment = dict[str, list[TopicPartition]]
Members = AbstractSequence[JoinedMember]

RANGE, ROUND_ROBIN, STICKY, COOPERATIVE_STICKY = "range", "roundrobin", "sticky", "cooperative-sticky"


HANDOVER_MUTANT = "cooperative-handover-before-revocation"


def assign(
    protocol: str, partition_counts: Mapping[str, int], members: Members, mutants: tuple[str, ...] = ()
) -> dict[str, tuple[TopicPartition, ...]]:
    """By member ID what each member gets. ``partition_counts``: of the topics that exist, those nobody reads may be among them.

    Raises KeyError for an assignor that Kafka's consumer does not bring along.
    """
    subscribed = {topic for member in members for topic in member.subscription.topics}
    counts = {topic: partition_counts[topic] for topic in sorted(subscribed) if topic in partition_counts}
    if HANDOVER_MUTANT in mutants and protocol == COOPERATIVE_STICKY:
        protocol = STICKY
    assignment = ASSIGNORS[protocol](counts, members)
    return {member.member_id: tuple(assignment.get(member.member_id, ())) for member in members}


def _member_info(member: JoinedMember) -> tuple[bool, str]:
    """``MemberInfo.compareTo``: static members first, by their instance ID, so that a restart does not move them."""
    return not member.group_instance_id, member.group_instance_id or member.member_id


def assign_range(counts: Mapping[str, int], members: Members) -> Assignment:
    """Topic by topic, consecutive partitions to the members in order; the first ones get one more where it does not come out even."""
    assignment: Assignment = {member.member_id: [] for member in members}
    ordered = sorted(members, key=_member_info)
    for topic, count in counts.items():
        readers = [member for member in ordered if topic in member.subscription.topics]
        share, extra = divmod(count, len(readers))
        start = 0
        for position, reader in enumerate(readers):
            length = share + (position < extra)
            assignment[reader.member_id] += [TopicPartition(topic, number) for number in range(start, start + length)]
            start += length
    return assignment


def assign_round_robin(counts: Mapping[str, int], members: Members) -> Assignment:
    """All partitions of all topics in turn; who has not subscribed to a topic is passed over."""
    assignment: Assignment = {member.member_id: [] for member in members}
    ordered = sorted(members, key=_member_info)
    turn = 0
    for topic, count in counts.items():
        for number in range(count):
            while topic not in ordered[turn % len(ordered)].subscription.topics:
                turn += 1
            assignment[ordered[turn % len(ordered)].member_id].append(TopicPartition(topic, number))
            turn += 1
    return assignment


def assign_sticky(counts: Mapping[str, int], members: Members) -> Assignment:
    """As balanced as can be, and each member keeps what it had as far as that allows."""
    return sticky_assignor.assign(counts, members)[0]


def assign_cooperative_sticky(counts: Mapping[str, int], members: Members) -> Assignment:
    """The same, but what moves is withheld until its owner has given it up: a second rebalance hands it over (KIP-429)."""
    assignment, transferring = sticky_assignor.assign(counts, members)
    if transferring is None:
        transferring = _changing_hands(assignment, members)
    for partition, new_owner in transferring.items():
        assignment[new_owner].remove(partition)
    return assignment


def _changing_hands(assignment: Assignment, members: Members) -> dict[TopicPartition, str]:
    """``computePartitionsTransferringOwnership``: what somebody gains and somebody else still owns."""
    added: dict[TopicPartition, str] = {}
    revoked: dict[TopicPartition, None] = {}
    for member in members:
        owned, given = member.subscription.owned, assignment[member.member_id]
        added.update({partition: member.member_id for partition in given if partition not in owned})
        revoked.update({partition: None for partition in owned if partition not in given})
    return {partition: owner for partition, owner in added.items() if partition in revoked}


ASSIGNORS: dict[str, Callable[[Mapping[str, int], Members], Assignment]] = {
    RANGE: assign_range,
    ROUND_ROBIN: assign_round_robin,
    STICKY: assign_sticky,
    COOPERATIVE_STICKY: assign_cooperative_sticky,
}
