"""The group coordinator on its broker: finds the shard, lets it decide, carries the decision out (``GroupCoordinatorService``).

Importing this module tells the runtime what the shards of ``__consumer_offsets`` are made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.broker import coordinators, persister
from engine.broker.share_channels import INITIALIZE, PersisterCall
from engine.broker.state import Broker, Replica
from engine.coordination import classic_protocol, classic_rebalance, consumer_protocol, group_offsets, share_protocol
from engine.coordination.classic_protocol import StaticMemberStored
from engine.coordination.classic_rebalance import AssignmentStored
from engine.coordination.consumer_group import ConsumerGroup
from engine.coordination.consumer_group_records import TopicIdPartition
from engine.coordination.group_offsets import OffsetsStored
from engine.coordination.group_shard import GroupShard
from engine.coordination.group_timers import (
    GroupExpirationTimer,
    JoinTimer,
    MemberRevocationTimer,
    MemberSessionTimer,
    MemberSilenceTimer,
    ShareMemberTimer,
    SyncTimer,
)  # fmt: skip
from engine.coordination.shard import Continuation, Decision
from engine.coordination.share_group import ShareGroup
from engine.coordination.share_protocol import ShareStateWanted
from engine.messages.base import Request, Response, TopicPartition
from engine.metadata.internal_topics import CONSUMER_OFFSETS
from engine.sim.outbox import Outbox

Decide = Callable[[GroupShard, str, Any, Decision], None]
Continue = Callable[[GroupShard, Any, str, Decision], None]
OnTimer = Callable[[GroupShard, Any, Decision], None]


def serve(
    broker: Broker, source: str, request: Request, group_id: str, decide: Decide, refuse: Callable[[str], Response], out: Outbox
) -> None:
    """``decide`` answers by the shard of ``group_id``; where that is not here (yet), ``refuse`` makes the answer of an error."""
    replica, error = coordinators.locate(broker, CONSUMER_OFFSETS, group_id)
    if replica is None:
        out.send(source, refuse(error))
        return
    shard = shard_of(replica)
    decision = Decision(out, image=broker.image)
    decide(shard, source, request, decision)
    coordinators.carry_out(broker, replica, decision)
    _settle(shard, group_id, out)
    if shard.groups and not shard.expiration_armed:
        _arm_expiration(replica, shard, out)


def shard_of(replica: Replica) -> GroupShard:
    """Of a replica whose coordinator is loaded; knows what is committed by now."""
    assert replica.shard is not None
    state = replica.shard.state
    assert isinstance(state, GroupShard)
    state.committed_below = replica.high_watermark
    return state


def shards(broker: Broker) -> list[GroupShard]:
    """Every loaded shard of this broker."""
    return [
        shard_of(replica)
        for (topic, _), replica in broker.partitions.items()
        if topic == CONSUMER_OFFSETS and replica.shard is not None and not replica.shard.loading
    ]


# -- what the runtime asks ------------------------------------------------------------------------------------------------------------------


def _create(broker: Broker, replica: Replica) -> GroupShard:
    return GroupShard(broker.broker_id, broker.settings.groups, replica.high_watermark, mutants=broker.mutants)


def _on_loaded(broker: Broker, replica: Replica, out: Outbox) -> None:
    shard = shard_of(replica)
    for group in shard.groups.values():
        if isinstance(group, ConsumerGroup):
            group.session_timeout_us = consumer_protocol.session_timeout_us(shard, group.group_id, broker.image)
        elif isinstance(group, ShareGroup):
            group.session_timeout_us = share_protocol.session_timeout_us(shard, group.group_id, broker.image)
        group.on_loaded(out)
    if shard.groups:
        _arm_expiration(replica, shard, out)


def _on_dropped(broker: Broker, replica: Replica, out: Outbox) -> None:
    for group in shard_of(replica).groups.values():
        group.on_unloaded(coordinators.MUST_BE_FOUND_AGAIN, out)
    out.cancel(GroupExpirationTimer(replica.partition.partition))


def _on_written(broker: Broker, replica: Replica, then: Continuation, error: str, out: Outbox) -> None:
    if isinstance(then, ShareStateWanted):
        _initialize_share_state(broker, then, error, out)
        return
    decision = Decision(out)
    _CONTINUE[type(then)](shard_of(replica), then, coordinators.TRANSLATED.get(error, error), decision)
    coordinators.carry_out(broker, replica, decision)


_CONTINUE: dict[type[Any], Continue] = {
    AssignmentStored: classic_rebalance.on_assignment_stored,
    StaticMemberStored: classic_protocol.on_static_member_stored,
    OffsetsStored: group_offsets.on_offsets_stored,
}
"""What follows once the records of a decision are committed."""


def _settle(shard: GroupShard, group_id: str, out: Outbox) -> None:
    """The records of a decision have been replayed: groups that live by them tell what that means."""
    consumer_protocol.settle(shard, group_id, out)
    share_protocol.settle(shard, group_id, out)


# -- the state of share partitions --------------------------------------------------------------------------------------------------------


def _initialize_share_state(broker: Broker, wanted: ShareStateWanted, error: str, out: Outbox) -> None:
    """The share coordinator is asked for each partition; nobody waits for it."""
    if error != "NONE":
        return
    cause = out.cause
    for part in wanted.partitions:
        name = broker.image.topic_names.get(part.topic_id)
        if name is not None:
            out.because(cause)
            tp = TopicPartition(name, part.partition)
            call = PersisterCall(INITIALIZE, wanted.group_id, tp, part.topic_id, state_epoch=wanted.state_epoch)
            persister.submit(broker, call, out)
    out.because(cause)


def on_share_state_initialized(broker: Broker, call: PersisterCall, error: str, out: Outbox) -> None:
    replica, _ = coordinators.locate(broker, CONSUMER_OFFSETS, call.group_id)
    if replica is None:
        return
    decision = Decision(out, image=broker.image)
    part = TopicIdPartition(call.topic_id, call.partition.partition)
    share_protocol.on_state_initialized(shard_of(replica), call.group_id, part, error, decision)
    coordinators.carry_out(broker, replica, decision)


# -- timers ---------------------------------------------------------------------------------------------------------------------------------


def _arm_expiration(replica: Replica, shard: GroupShard, out: Outbox) -> None:
    shard.expiration_armed = True
    cause = out.cause
    out.because(0)
    out.arm(GroupExpirationTimer(replica.partition.partition), after_us=shard.settings.offsets_retention_check_interval_us)
    out.because(cause)


def on_timer(broker: Broker, source: str, timer: Any, out: Outbox) -> None:
    """A timer of one group; it may have moved away, then nobody minds. That a session runs out has only silence for a cause."""
    replica, _ = coordinators.locate(broker, CONSUMER_OFFSETS, timer.group_id)
    if replica is None:
        return
    if type(timer) in _SILENCE:
        out.because(0)
    shard = shard_of(replica)
    decision = Decision(out, image=broker.image)
    _ON_TIMER[type(timer)](shard, timer, decision)
    coordinators.carry_out(broker, replica, decision)
    _settle(shard, timer.group_id, out)


_ON_TIMER: dict[type[Any], OnTimer] = {
    MemberSessionTimer: classic_protocol.on_session_timer,
    JoinTimer: classic_rebalance.on_join_timer,
    SyncTimer: classic_rebalance.on_sync_timer,
    MemberSilenceTimer: consumer_protocol.on_silence_timer,
    MemberRevocationTimer: consumer_protocol.on_revocation_timer,
    ShareMemberTimer: share_protocol.on_member_timer,
}
_SILENCE = (MemberSessionTimer, MemberSilenceTimer, ShareMemberTimer)
"""Timers that nothing but silence lets run out."""


def on_expiration_timer(broker: Broker, source: str, timer: GroupExpirationTimer, out: Outbox) -> None:
    """``cleanupGroupMetadata``: what has expired is wiped out with tombstones."""
    replica, _ = coordinators.locate_partition(broker, TopicPartition(CONSUMER_OFFSETS, timer.partition))
    if replica is None:
        return
    out.because(0)
    shard = shard_of(replica)
    decision = Decision(out)
    group_offsets.expire(shard, decision)
    coordinators.carry_out(broker, replica, decision)
    _arm_expiration(replica, shard, out)


def on_topics_changed(broker: Broker, topics: list[str], out: Outbox) -> None:
    """Topics were created, deleted or given partitions: consumer groups look at theirs with the next heartbeat."""
    for shard in shards(broker):
        consumer_protocol.request_refresh(shard, topics, out)
        share_protocol.request_refresh(shard, topics, out)


def on_topics_deleted(broker: Broker, topics: list[str], out: Outbox) -> None:
    """Offsets of partitions that are no more are wiped out too."""
    cause = out.cause
    for (topic, _), replica in list(broker.partitions.items()):
        if topic == CONSUMER_OFFSETS and replica.shard is not None and not replica.shard.loading:
            decision = Decision(out)
            group_offsets.forget_topics(shard_of(replica), topics, decision)
            coordinators.carry_out(broker, replica, decision)
            out.because(cause)


coordinators.register(CONSUMER_OFFSETS, coordinators.ShardKind(_create, _on_loaded, _on_dropped, _on_written))
