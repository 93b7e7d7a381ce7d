"""What the groups that the broker itself balances have in common, of consumers (KIP-848) or of shares (KIP-932): Kafka's ``ModernGroup``.

Both count group epochs, compute a target assignment and listen for heartbeats; their records differ in the kind of their keys and in what
a member is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from engine.coordination.consumer_group_records import Assignment, read_group_key, read_member_key, read_target_value
from engine.coordination.group import Group
from engine.coordination.group_timers import GroupTimer
from engine.sim.outbox import Outbox

NO_EPOCH = -1

Groups = dict[str, Group]


@dataclass(slots=True)
class Session:
    """``deadline_us``: when the member is given up if nothing is heard from it; ``timer_us``: when its timer runs out (a heartbeat moves
    the deadline, not the timer). ``revoking_epoch``: the epoch in which it is to give up partitions, -1 where it is not."""

    deadline_us: int = 0
    timer_us: int = 0
    revoking_epoch: int = NO_EPOCH

    def extend(self, timer: GroupTimer, timeout_us: int, out: Outbox) -> None:
        """The member was heard."""
        self.deadline_us = deadline = out.now + timeout_us
        if not self.timer_us or self.timer_us > deadline:
            self.timer_us = deadline
            out.arm(timer, after_us=timeout_us)

    def is_over(self, timer: GroupTimer, out: Outbox) -> bool:
        """What its timer, which has run out, is to do; False, and the timer runs on, where the member was heard meanwhile."""
        if out.now < self.deadline_us:
            self.timer_us = self.deadline_us
            out.arm(timer, after_us=self.deadline_us - out.now)
            return False
        self.timer_us = 0
        return True


class ModernGroup(Group, Protocol):
    group_epoch: int
    metadata_hash: int
    assignment_epoch: int
    target: dict[str, Assignment]

    def __init__(self, group_id: str) -> None: ...


G = TypeVar("G", bound=ModernGroup)


@dataclass(frozen=True, slots=True)
class Replay(Generic[G]):
    """Replays the records that both kinds have. ``read_epoch``: value → (epoch, hash of the topics)."""

    kind: type[G]
    read_epoch: Callable[[bytes], tuple[int, int]]

    def find(self, groups: Groups, group_id: str, create: bool) -> G | None:
        """``getOrMaybeCreatePersistedConsumerGroup``: a group that was only offsets before becomes one."""
        group = groups.get(group_id)
        if isinstance(group, self.kind):
            return group
        if not create:
            return None
        created = groups[group_id] = self.kind(group_id)
        return created

    def group_epoch(self, groups: Groups, key: bytes, value: bytes | None, timestamp_ms: int) -> None:
        group_id = read_group_key(key)
        group = self.find(groups, group_id, value is not None)
        if group is None:
            return
        if value is None:
            del groups[group_id]
        else:
            group.group_epoch, group.metadata_hash = self.read_epoch(value)

    def assignment_epoch(self, groups: Groups, key: bytes, value: bytes | None, timestamp_ms: int) -> None:
        group = self.find(groups, read_group_key(key), value is not None)
        if group is not None:
            group.assignment_epoch = NO_EPOCH if value is None else int.from_bytes(value[2:6], "big", signed=True)

    def target(self, groups: Groups, key: bytes, value: bytes | None, timestamp_ms: int) -> None:
        group_id, member_id = read_member_key(key)
        group = self.find(groups, group_id, value is not None)
        if group is None:
            return
        if value is None:
            group.target.pop(member_id, None)
        else:
            group.target[member_id] = read_target_value(value)
