"""How groups look: members and what each owns, the state machine, committed offsets and their lag, how long the last rebalance stopped.

A group is shown as the broker sees it that leads its partition of ``__consumer_offsets``; while that is loading, or nobody leads, the
group is in nobody's memory and missing here.
"""

from __future__ import annotations

from engine.broker.node import BrokerNode
from engine.coordination.classic_group import ClassicGroup
from engine.coordination.consumer_group import ConsumerGroup, with_names
from engine.coordination.consumer_group_member import ConsumerGroupMember, MemberState
from engine.coordination.group import Group
from engine.coordination.group_shard import GroupShard
from engine.messages.base import TopicPartition
from engine.metadata.image import MetadataImage
from engine.metadata.internal_topics import CONSUMER_OFFSETS
from engine.sim.kernel import Host
from engine.spec import broker_name
from engine.view.ownership import OwnershipTracker, stops
from engine.view.share import add_share_partitions
from engine.view.tree import GroupMemberView, GroupOffsetView, GroupView, OwnerView, RebalanceView, StopView, TopicView


def group_views(hosts: dict[str, Host], image: MetadataImage, topics: dict[str, TopicView]) -> dict[str, GroupView]:
    """By group ID, in the order of their names."""
    internal = image.topics.get(CONSUMER_OFFSETS)
    if internal is None:
        return {}
    found: dict[str, GroupView] = {}
    for number, partition in internal.partitions.items():
        host = hosts.get(broker_name(partition.leader))
        node = host.node if host is not None else None
        replica = node.partitions.get(TopicPartition(CONSUMER_OFFSETS, number)) if isinstance(node, BrokerNode) else None
        if replica is None or replica.shard is None or replica.shard.loading:
            continue
        shard = replica.shard.state
        assert isinstance(shard, GroupShard)
        for group in shard.groups.values():
            found[group.group_id] = _group(shard, group, replica.high_watermark, topics, image)
    add_share_partitions(hosts, found)
    return dict(sorted(found.items()))


def add_ownership(groups: dict[str, GroupView], tracker: OwnershipTracker) -> None:
    """Who has read what, since when, and what stood still in between."""
    for name, view in groups.items():
        log = tracker.groups.get(name)
        if log is None:
            continue
        view.owners = [OwnerView(span.partition, span.consumer, span.from_us, span.until_us) for span in log.spans]
        view.stops = [StopView(partition, *stop) for partition, some in stops(log.spans).items() for stop in some]
        view.stops.sort(key=_began)
        view.rebalances = [RebalanceView(one.at_us, one.epoch, one.reason, one.took_us) for one in log.rebalances]


def _began(stop: StopView) -> int:
    return stop.from_us


def _group(shard: GroupShard, group: Group, committed_below: int, topics: dict[str, TopicView], image: MetadataImage) -> GroupView:
    described = group.describe(0)
    if described.group_type != "classic":
        described = with_names(described, image)
    view = GroupView(
        group.group_id, described.group_type, described.protocol, described.state, described.epoch, shard.broker_id,
        assignment_epoch=described.assignment_epoch,
        members=[
            GroupMemberView(
                member.member_id, member.host.removeprefix("/"), member.client_id, member.instance_id,
                [str(partition) for partition in member.assignment], [str(partition) for partition in member.target],
                list(member.topics), member.member_epoch,
            )
            for member in described.members
        ],
    )  # fmt: skip
    if isinstance(group, ClassicGroup):
        _add_classic(view, group)
    elif isinstance(group, ConsumerGroup):
        _add_consumer(view, group, image)
    owners = {partition: member.consumer for member in view.members for partition in member.partitions}
    for key in sorted(shard.offsets.partitions(group.group_id)):
        value = shard.offsets.committed(group.group_id, key, committed_below)
        committed = value.offset if value is not None else -1
        pending = shard.offsets.is_pending(group.group_id, key)
        view.offsets.append(_offset(key, committed, owners.get(str(key), ""), pending, topics))
    return view


def _add_classic(view: GroupView, group: ClassicGroup) -> None:
    """What only a classic group has: a leader among its members, barriers at which they wait."""
    view.rebalancing_since_us, view.last_rebalance_us = group.rebalance_since_us, group.last_rebalance_us
    view.stopped_since_us, view.last_stopped_us = group.stopped_since_us, group.last_stopped_us
    for member in view.members:
        known = group.members[member.member_id]
        member.leader = member.member_id == group.leader
        if known.awaiting_join is not None:
            member.state = "joined"
        elif known.awaiting_sync is not None:
            member.state = "synced"
        elif group.state == "PreparingRebalance":
            member.state = "to rejoin"
        elif member.member_id in group.pending_sync:
            member.state = "to sync"
    view.pending_members = list(group.pending_members.values())


def _add_consumer(view: GroupView, group: ConsumerGroup, image: MetadataImage) -> None:
    """What only a consumer group has: members that give up and wait one by one."""
    story = group.story
    view.rebalancing_since_us, view.last_rebalance_us = story.unsettled_since_us, story.last_rebalance_us
    view.stopped_since_us = min([since for since, _ in story.released.values()], default=-1)
    view.last_stopped_us = story.last_stopped_us
    for member in view.members:
        known = group.members[member.member_id]
        member.state = _member_state(known, group.assignment_epoch)
        names = image.topic_names
        member.revoking = [f"{names[topic]}-{number}" for topic, number in known.pending_revocation if topic in names]


def _member_state(member: ConsumerGroupMember, assignment_epoch: int) -> str:
    if member.member_epoch < 0:
        return "away"
    if member.state == MemberState.STABLE and member.member_epoch != assignment_epoch:
        return "behind"
    return member.state.name.lower().replace("_", " ")


def _offset(key: TopicPartition, committed: int, owner: str, pending: bool, topics: dict[str, TopicView]) -> GroupOffsetView:
    """``lag`` is counted up to the high watermark, as ``kafka-consumer-groups.sh`` does; -1 while nobody leads."""
    topic = topics.get(key.topic)
    partition = topic.partitions.get(str(key.partition)) if topic is not None else None
    end = partition.high_watermark if partition is not None else -1
    lag = max(end - committed, 0) if end >= 0 and committed >= 0 else -1
    return GroupOffsetView(key.topic, key.partition, committed, end, lag, owner, pending)
