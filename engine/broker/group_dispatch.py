"""Which requests and timers concern groups, and who handles them: the group coordinator's part of the broker's dispatch tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.broker import groups
from engine.broker.apis import (
    consumer_group_heartbeat,
    delete_groups,
    describe_group,
    heartbeat,
    join_group,
    leave_group,
    list_groups,
    offset_commit,
    offset_delete,
    offset_fetch,
    sync_group,
)  # fmt: skip
from engine.broker.state import Broker
from engine.coordination.group_timers import (
    GroupExpirationTimer,
    JoinTimer,
    MemberRevocationTimer,
    MemberSessionTimer,
    MemberSilenceTimer,
    SyncTimer,
)  # fmt: skip
from engine.messages.groups import (
    ConsumerGroupHeartbeatRequest,
    DeleteGroupsRequest,
    DescribeGroupRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetFetchRequest,
    SyncGroupRequest,
)  # fmt: skip
from engine.sim.outbox import Outbox

Handler = Callable[[Broker, str, Any, Outbox], None]

APIS: dict[type[Any], Handler] = {
    JoinGroupRequest: join_group.handle,
    SyncGroupRequest: sync_group.handle,
    HeartbeatRequest: heartbeat.handle,
    LeaveGroupRequest: leave_group.handle,
    ConsumerGroupHeartbeatRequest: consumer_group_heartbeat.handle,
    OffsetCommitRequest: offset_commit.handle,
    OffsetFetchRequest: offset_fetch.handle,
    OffsetDeleteRequest: offset_delete.handle,
    DescribeGroupRequest: describe_group.handle,
    ListGroupsRequest: list_groups.handle,
    DeleteGroupsRequest: delete_groups.handle,
}

HANDLERS: dict[type[Any], Handler] = {
    MemberSessionTimer: groups.on_timer,
    JoinTimer: groups.on_timer,
    SyncTimer: groups.on_timer,
    MemberSilenceTimer: groups.on_timer,
    MemberRevocationTimer: groups.on_timer,
    GroupExpirationTimer: groups.on_expiration_timer,
}
