"""All groups and offsets that hash to one partition of ``__consumer_offsets``: Kafka's ``GroupCoordinatorShard``.

Records are told apart by the kind that their key begins with. Each kind of group replays its own; the table below names them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.coordination import consumer_group, share_group
from engine.coordination.classic_group import ClassicGroup
from engine.coordination.group import Group, GroupError
from engine.coordination.group_records import (
    GROUP_METADATA_KEY,
    OFFSET_COMMIT_KEYS,
    read_group_key,
    read_group_value,
    read_offset_key,
    read_offset_value,
    record_kind,
)  # fmt: skip
from engine.coordination.group_settings import GroupSettings
from engine.coordination.offsets import Offsets

Groups = dict[str, Group]
Replay = Callable[[Groups, bytes, "bytes | None", int], None]
"""(groups, key, value or None for a tombstone, record's timestamp)."""


@dataclass(slots=True)
class GroupShard:
    """``committed_below``: the high watermark as the runtime last told; what lies below it cannot be lost."""

    broker_id: int
    settings: GroupSettings
    committed_below: int = 0
    groups: Groups = field(default_factory=dict)
    offsets: Offsets = field(default_factory=Offsets)
    expiration_armed: bool = False
    mutants: tuple[str, ...] = ()

    def group(self, group_id: str) -> Group:
        """Raises GroupError(GROUP_ID_NOT_FOUND)."""
        group = self.groups.get(group_id)
        if group is None:
            raise GroupError("GROUP_ID_NOT_FOUND", f"Group {group_id} not found.")
        return group

    def simple_group(self, group_id: str, now_ms: int) -> Group:
        """The group, or a new one without protocol: somebody commits offsets who is no member of anything."""
        group = self.groups.get(group_id)
        if group is None:
            group = self.groups[group_id] = ClassicGroup(group_id, state_since_ms=now_ms)
        return group

    # -- ShardState

    def replay(
        self, offset: int, producer_id: int, producer_epoch: int, key: bytes, value: bytes | None, timestamp_ms: int
    ) -> None:
        kind = record_kind(key)
        if kind in OFFSET_COMMIT_KEYS:
            group_id, partition = read_offset_key(key)
            known = read_offset_value(value) if value is not None else None
            if known is not None:
                self.simple_group(group_id, timestamp_ms)
            self.offsets.replay(group_id, partition, known, offset, producer_id, self.committed_below)
            return
        replay = _REPLAY.get(kind)
        if replay is not None:
            replay(self.groups, key, value, timestamp_ms)

    def replay_end_transaction_marker(self, producer_id: int, producer_epoch: int, committed: bool) -> None:
        self.offsets.replay_end_transaction_marker(producer_id, committed, self.committed_below)


def _replay_group_metadata(groups: Groups, key: bytes, value: bytes | None, timestamp_ms: int) -> None:
    group_id = read_group_key(key)
    if value is None:
        if isinstance(groups.get(group_id), ClassicGroup):
            del groups[group_id]
    else:
        groups[group_id] = ClassicGroup.from_metadata(group_id, read_group_value(value))


_REPLAY: dict[int, Replay] = {
    GROUP_METADATA_KEY: _replay_group_metadata,
    **consumer_group.REPLAY,
    **share_group.REPLAY,
}
"""Kinds of record by their key's first number. Kinds that nobody here knows are skipped, as an older Kafka would."""
