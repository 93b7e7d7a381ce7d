"""How one partition changes: Kafka's ``PartitionChangeBuilder``. Completes reassignments, keeps the ELR (KIP-966), elects the leader.

Election order: the current leader if it is still good, the first live ISR member in assignment order, then (ISR empty) a live ELR
member, then the last known leader, then, only in an unclean election, any live replica.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from engine.metadata.image import PartitionImage
from engine.metadata.records import NO_LEADER, NO_LEADER_CHANGE, PartitionChange

PREFERRED, ONLINE, UNCLEAN = "preferred", "online", "unclean"

Ids = tuple[int, ...]


class Target(msgspec.Struct):
    """What the partition should become; ``change_for`` works on it."""

    isr: Ids
    replicas: Ids
    adding: Ids
    removing: Ids
    elr: Ids
    last_known_elr: Ids


def target_of(partition: PartitionImage) -> Target:
    """As it is."""
    return Target(partition.isr, partition.replicas, partition.adding, partition.removing, partition.elr, partition.last_known_elr)


def change_for(
    topic_id: str,
    number: int,
    partition: PartitionImage,
    target: Target,
    acceptable: Callable[[int], bool],
    *,
    min_isr: int,
    elr_enabled: bool,
    election: str = ONLINE,
    unclean_shutdown: int = -1,
) -> PartitionChange | None:
    """The record that brings ``partition`` to ``target``, None if nothing changes. ``acceptable``: may this broker lead?

    ``unclean_shutdown`` is a broker that came back without its clean-shutdown file and may have lost what it held.
    """
    _complete_reassignment(target)
    if elr_enabled:
        _populate_elr(partition, target, min_isr, unclean_shutdown)
    leader, unclean = _elect(partition, target, acceptable, election, elr_enabled)
    isr_by_election: Ids | None = None
    new_leader = NO_LEADER_CHANGE
    if leader != partition.leader:
        new_leader = leader
        if leader in target.elr:
            target.isr = (leader,)
            target.elr = tuple(replica for replica in target.elr if replica != leader)
        elif unclean:
            isr_by_election = (leader,)
    if new_leader == NO_LEADER_CHANGE and not set(partition.replicas) <= set(target.replicas):
        new_leader = partition.leader  # a replica leaves the assignment: its fetches must be fenced by a new leader epoch
    if isr_by_election is not None or not elr_enabled:
        target.elr = ()
    if len(target.isr) >= min_isr:
        target.elr = ()  # Kafka forgets this where the election itself made the ISR large enough; those left out may now miss records
    new_isr = isr_by_election
    if new_isr is None and (target.isr or elr_enabled) and target.isr != partition.isr:
        new_isr = target.isr
    change = PartitionChange(
        topic_id,
        number,
        isr=new_isr,
        leader=new_leader,
        replicas=target.replicas if target.replicas and target.replicas != partition.replicas else None,
        adding=target.adding if target.adding != partition.adding else None,
        removing=target.removing if target.removing != partition.removing else None,
        elr=target.elr if target.elr != partition.elr else None,
        last_known_elr=_last_known_leader(partition, new_isr, new_leader) if elr_enabled else None,
    )
    return None if change == PartitionChange(topic_id, number) else change


def _complete_reassignment(target: Target) -> None:
    """Done when the ISR, less those being removed, holds every replica that stays (``PartitionReassignmentReplicas``)."""
    if not target.adding and not target.removing:
        return
    isr = tuple(replica for replica in target.isr if replica not in target.removing)
    replicas = tuple(replica for replica in target.replicas if replica not in target.removing)
    if not isr or not replicas or not set(replicas) <= set(isr):
        return
    target.isr, target.replicas, target.adding, target.removing = isr, replicas, (), ()


def _populate_elr(partition: PartitionImage, target: Target, min_isr: int, unclean_shutdown: int) -> None:
    """Members that leave while the ISR falls below min.insync.replicas stay eligible: nothing commits without them (KIP-966)."""
    if len(target.isr) >= min_isr:
        target.elr = ()
        return
    candidates = dict.fromkeys((*target.elr, *partition.isr))
    target.elr = tuple(
        replica
        for replica in candidates
        if replica not in target.isr and replica != unclean_shutdown and replica in target.replicas
    )


def _elect(
    partition: PartitionImage, target: Target, acceptable: Callable[[int], bool], election: str, elr_enabled: bool
) -> tuple[int, bool]:
    """(leader, whether records may be lost)."""

    def valid(replica: int) -> bool:
        eligible = target.isr or target.elr
        return replica in eligible and acceptable(replica)

    first = target.replicas[0]
    if election == PREFERRED and valid(first):
        return first, False
    if valid(partition.leader):
        return partition.leader, False
    for replica in target.replicas:
        if valid(replica):
            return replica, False
    known = partition.last_known_elr
    if elr_enabled and not target.isr and not target.elr and len(known) == 1 and acceptable(known[0]):
        return known[0], True
    if election == UNCLEAN:
        for replica in target.replicas:
            if acceptable(replica):
                return replica, True
    return NO_LEADER, False


def _last_known_leader(partition: PartitionImage, new_isr: Ids | None, new_leader: int) -> Ids | None:
    """Remembered when the ISR empties, forgotten when there is a leader (balanced recovery; ``maybeUpdateLastKnownLeader``)."""
    if new_isr == () and partition.last_known_elr != (partition.leader,):
        return (partition.leader,)
    if (new_leader >= 0 or (partition.leader != NO_LEADER and new_leader != NO_LEADER)) and partition.last_known_elr:
        return ()
    return None
