"""How a consumer group's changes are told: the events, and what led to each. Nothing here decides anything.

A rebalance of KIP-848 is spread over heartbeats of many members. So the group remembers which event bumped its epoch, which one computed
its target and which one set a partition free, and cites them where the consequence shows.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.coordination.consumer_group import ConsumerGroup
from engine.coordination.consumer_group_member import ConsumerGroupMember
from engine.coordination.consumer_group_records import Assignment
from engine.events import (
    GroupEpochBumped,
    MemberLeft,
    MemberReconciled,
    StaticMemberAway,
    TargetAssignmentComputed,
)
from engine.messages.base import TopicPartition
from engine.metadata.image import MetadataImage
from engine.sim.outbox import Outbox


def names_of(assignment: Assignment, image: MetadataImage) -> tuple[TopicPartition, ...]:
    """By the topics' names; those of deleted topics are left out."""
    names = image.topic_names
    return tuple([TopicPartition(names[topic_id], number) for topic_id, number in assignment if topic_id in names])


def tell_epoch(broker: int, group: ConsumerGroup, epoch: int, reason: str, out: Outbox) -> None:
    story = group.story
    if story.unsettled_since_us < 0:
        story.unsettled_since_us = out.now
    also = (story.refresh_event,) if story.refresh_event else ()
    story.epoch_event = out.emit(GroupEpochBumped(broker, group.group_id, epoch, reason), also=also)
    story.refresh_event = 0


def tell_target(
    broker: int,
    group: ConsumerGroup,
    epoch: int,
    assignor: str,
    members: Mapping[str, ConsumerGroupMember],
    target: Mapping[str, Assignment],
    out: Outbox,
) -> None:
    parts = tuple([(member.client, len(target.get(member_id, ()))) for member_id, member in members.items()])
    also = (group.story.epoch_event,) if group.story.epoch_event else ()
    group.story.target_event = out.emit(TargetAssignmentComputed(broker, group.group_id, epoch, assignor, parts), also=also)


def tell_reconciled(
    broker: int,
    group: ConsumerGroup,
    before: ConsumerGroupMember,
    after: ConsumerGroupMember,
    target: Assignment,
    image: MetadataImage,
    out: Outbox,
) -> None:
    """What changed for one member; how long what it now gets was read by nobody."""
    story = group.story
    had, has = dict.fromkeys(before.assigned), dict.fromkeys(after.owned)
    gained = tuple([part for part in after.assigned if part not in had])
    given_up = tuple([part for part in before.owned if part not in has])
    causes = [story.target_event]
    for part in gained:
        released = story.released.pop(part, None)
        if released is not None:
            causes.append(released[1])
            story.stopped_us = max(story.stopped_us, out.now - released[0])
    event = MemberReconciled(
        broker, group.group_id, after.client, after.member_id, after.member_epoch, names_of(gained, image), names_of(given_up, image),
        names_of(after.pending_revocation, image), len(target) - len(after.assigned) if not after.pending_revocation else 0,
    )  # fmt: skip
    if gained or given_up or after.pending_revocation or after.state != before.state:
        number = out.emit(event, also=tuple(dict.fromkeys(causes)))
        for part in given_up:
            story.released[part] = (out.now, number)


def tell_left(broker: int, group: ConsumerGroup, member: ConsumerGroupMember, reason: str, silent: bool, out: Outbox) -> None:
    also = out.silencers(member.client) if silent else ()
    number = out.emit(
        MemberLeft(broker, group.group_id, member.client, member.member_id, member.instance_id, reason, len(group.members) - 1),
        also=also,
    )
    for part in member.owned:
        group.story.released[part] = (out.now, number)


def tell_away(broker: int, group: ConsumerGroup, member: ConsumerGroupMember, out: Outbox) -> None:
    out.emit(StaticMemberAway(broker, group.group_id, member.client, member.member_id, member.instance_id))
