"""The timers of group coordinators, one key per group or member as in Kafka's ``CoordinatorTimer``. They run on the coordinator's broker."""

from __future__ import annotations

from engine.messages.base import Timer


class GroupTimer(Timer, frozen=True, gc=False, tag=True):
    """Belongs to one group."""

    group_id: str


class MemberSessionTimer(GroupTimer, frozen=True, gc=False, tag=True):
    """``session.timeout.ms`` of a member of a classic group may be over."""

    member_id: str


class JoinTimer(GroupTimer, frozen=True, gc=False, tag=True):
    """The initial rebalance delay, or the rebalance timeout, of a classic group that waits for its members to join."""


class SyncTimer(GroupTimer, frozen=True, gc=False, tag=True):
    """A classic group has waited for the rebalance timeout for its members' SyncGroup."""


class GroupExpirationTimer(Timer, frozen=True, gc=False, tag=True):
    """``offsets.retention.check.interval.ms``: expired offsets and empty groups of one partition of ``__consumer_offsets``."""

    partition: int


class MemberSilenceTimer(GroupTimer, frozen=True, gc=False, tag=True):
    """``group.consumer.session.timeout.ms`` of a member of a consumer group may be over."""

    member_id: str


class MemberRevocationTimer(GroupTimer, frozen=True, gc=False, tag=True):
    """A member of a consumer group has had its rebalance timeout to give up partitions."""

    member_id: str


class ShareMemberTimer(GroupTimer, frozen=True, gc=False, tag=True):
    """``group.share.session.timeout.ms`` of a member of a share group may be over."""

    member_id: str
