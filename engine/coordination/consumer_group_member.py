"""One member of a consumer group (KIP-848), and how its assignment is brought towards its target, a heartbeat at a time.

Kafka's ``ConsumerGroupMember`` and ``CurrentAssignmentBuilder``. What the target no longer gives a member it has to give up first; what
the target newly gives it may have only when nobody else holds it: a partition is handed over when its owner has confirmed, by leaving it
out of the partitions that it reports, that it has revoked it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from enum import IntEnum

import msgspec

from engine.coordination.consumer_group_records import Assignment, CurrentAssignment, MemberSubscription, TopicIdPartition

LEAVE_GROUP_EPOCH, LEAVE_GROUP_STATIC_EPOCH = -1, -2
"""Member epochs that say goodbye: for good, and for a while (only static members)."""

HANDOVER_MUTANT = "handover-before-revocation"
"""The sabotage that gives a partition away while its owner still has it."""


class MemberState(IntEnum):
    """Kafka's ``MemberState``, with the numbers that its records use."""

    STABLE = 0
    UNREVOKED_PARTITIONS = 1
    UNRELEASED_PARTITIONS = 2
    UNKNOWN = 127


class ConsumerGroupMember(msgspec.Struct, frozen=True, gc=False):
    """``assigned``: what it has or may take; ``pending_revocation``: what it must give up and still holds. ``member_epoch``: the epoch of
    the target that it has reached; a request with any other is fenced. ``client`` is the address that it asks from."""

    member_id: str
    member_epoch: int = 0
    previous_member_epoch: int = -1
    state: MemberState = MemberState.STABLE
    instance_id: str = ""
    rack_id: str = ""
    client_id: str = ""
    client: str = ""
    rebalance_timeout_ms: int = -1
    topics: tuple[str, ...] = ()
    server_assignor: str = ""
    assigned: Assignment = ()
    pending_revocation: Assignment = ()

    def is_reconciled_to(self, epoch: int) -> bool:
        return self.state == MemberState.STABLE and self.member_epoch == epoch

    @property
    def owned(self) -> Assignment:
        """What nobody else may have."""
        return self.assigned + self.pending_revocation

    def subscription(self) -> MemberSubscription:
        return MemberSubscription(
            self.instance_id,
            self.rack_id,
            self.client_id,
            self.client,
            self.topics,
            self.rebalance_timeout_ms,
            self.server_assignor,
        )

    def with_subscription(self, stored: MemberSubscription) -> ConsumerGroupMember:
        return msgspec.structs.replace(
            self, instance_id=stored.instance_id, rack_id=stored.rack_id, client_id=stored.client_id, client=stored.client,
            topics=stored.topics, rebalance_timeout_ms=stored.rebalance_timeout_ms, server_assignor=stored.server_assignor,
        )  # fmt: skip

    def current(self) -> CurrentAssignment:
        return CurrentAssignment(
            self.member_epoch, self.previous_member_epoch, int(self.state), self.assigned, self.pending_revocation
        )

    def with_current(self, stored: CurrentAssignment) -> ConsumerGroupMember:
        known = stored.state in (0, 1, 2)
        return msgspec.structs.replace(
            self, member_epoch=stored.member_epoch, previous_member_epoch=stored.previous_member_epoch,
            state=MemberState(stored.state) if known else MemberState.UNKNOWN, assigned=stored.assigned,
            pending_revocation=stored.pending_revocation,
        )  # fmt: skip

    def advanced(self, state: MemberState, epoch: int, assigned: Assignment, pending: Assignment = ()) -> ConsumerGroupMember:
        """With its next assignment. The epoch that it leaves is accepted once more: the answer may get lost."""
        return msgspec.structs.replace(
            self, state=state, previous_member_epoch=self.member_epoch, member_epoch=epoch, assigned=assigned,
            pending_revocation=pending,
        )  # fmt: skip


def reconcile(
    member: ConsumerGroupMember,
    target_epoch: int,
    target: Assignment,
    partition_epochs: Mapping[TopicIdPartition, int],
    reported: Container[TopicIdPartition] | None,
    subscribed: Container[str],
    subscription_changed: bool,
    mutants: tuple[str, ...] = (),
) -> ConsumerGroupMember:
    """The member's next state, or the same one where it cannot move on. ``partition_epochs``: everything that somebody owns;
    ``reported``: what the member says it owns (None: it does not say); ``subscribed``: the IDs of the topics that it wants."""
    if member.state == MemberState.STABLE:
        if member.member_epoch != target_epoch:
            return _next(member, target_epoch, target, partition_epochs, reported, subscribed, mutants)
        return _drop_unsubscribed(member, reported, subscribed) if subscription_changed else member
    if member.state == MemberState.UNREVOKED_PARTITIONS and _still_owns(reported, member.pending_revocation):
        return _drop_unsubscribed(member, reported, subscribed) if subscription_changed else member
    return _next(member, target_epoch, target, partition_epochs, reported, subscribed, mutants)


def _still_owns(reported: Container[TopicIdPartition] | None, parts: Assignment) -> bool:
    return reported is None or any(part in reported for part in parts)


def _drop_unsubscribed(
    member: ConsumerGroupMember, reported: Container[TopicIdPartition] | None, subscribed: Container[str]
) -> ConsumerGroupMember:
    """Topics that the member wants no more go at once, whatever the target says."""
    kept = tuple([part for part in member.assigned if part.topic_id in subscribed])
    if len(kept) == len(member.assigned):
        return member
    gone = tuple([part for part in member.assigned if part.topic_id not in subscribed])
    pending = member.pending_revocation + gone
    if _still_owns(reported, pending):
        return member.advanced(MemberState.UNREVOKED_PARTITIONS, member.member_epoch, kept, pending)
    return member.advanced(member.state, member.member_epoch, kept, member.pending_revocation)


def _next(
    member: ConsumerGroupMember,
    target_epoch: int,
    target: Assignment,
    partition_epochs: Mapping[TopicIdPartition, int],
    reported: Container[TopicIdPartition] | None,
    subscribed: Container[str],
    mutants: tuple[str, ...],
) -> ConsumerGroupMember:
    """First give up, then take what is free (``computeNextAssignment``)."""
    wanted = dict.fromkeys([part for part in target if part.topic_id in subscribed])
    kept = tuple([part for part in member.assigned if part in wanted])
    to_revoke = tuple([part for part in member.assigned if part not in wanted])
    if to_revoke and _still_owns(reported, to_revoke):
        return member.advanced(MemberState.UNREVOKED_PARTITIONS, member.member_epoch, kept, to_revoke)
    held = dict.fromkeys(kept)
    new = [part for part in wanted if part not in held]
    if HANDOVER_MUTANT not in mutants:
        new = [part for part in new if part not in partition_epochs or part in member.pending_revocation]
    assigned = tuple(sorted((*kept, *new)))
    state = MemberState.STABLE if len(assigned) == len(wanted) else MemberState.UNRELEASED_PARTITIONS
    return member.advanced(state, target_epoch, assigned)
