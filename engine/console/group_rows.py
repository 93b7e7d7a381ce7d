"""The tables of kafka-consumer-groups.sh: offsets, members, states."""

from __future__ import annotations

from engine.console.offsets import offset_for
from engine.console.synonyms import hash_order, partition_order
from engine.coordination.group_shard import GroupShard
from engine.lab import Lab
from engine.messages.base import TopicPartition
from engine.spec import broker_name
from engine.view.tree import GroupMemberView, GroupView

MISSING = "-"
PORT = 9092
LATEST = -1


def committed_offsets(lab: Lab, group: GroupView) -> dict[TopicPartition, tuple[int, int]]:
    """(offset, leader epoch) that is committed, by partition."""
    from engine.broker.node import BrokerNode

    node = lab.kernel.hosts[broker_name(group.coordinator)].node
    assert isinstance(node, BrokerNode)
    for replica in node.partitions.values():
        state = replica.shard.state if replica.shard is not None else None
        if isinstance(state, GroupShard) and group.id in state.groups:
            found = {}
            for partition in state.offsets.partitions(group.id):
                value = state.offsets.committed(group.id, partition, replica.high_watermark)
                if value is not None:
                    found[partition] = (value.offset, value.leader_epoch)
            return found
    return {}


def partitions_of(names: list[str]) -> list[TopicPartition]:
    split = [name.rpartition("-") for name in names]
    return [TopicPartition(topic, int(number)) for topic, _, number in split]


def _host(member: GroupMemberView) -> str:
    return f"/{member.consumer}"


# -- offsets --------------------------------------------------------------------------------------------------------------


def offsets_table(lab: Lab, group: GroupView, *, verbose: bool) -> list[str]:
    """Heading and rows: first what has an owner, by the size of its part, then what nobody owns."""
    committed = committed_offsets(lab, group)
    rows: list[tuple[str, ...]] = []
    owned: list[TopicPartition] = []
    members = {member.member_id: member for member in group.members if member.partitions}
    for name in sorted(hash_order(members, 16), key=lambda name: -len(members[name].partitions)):
        member = members[name]
        mine = sorted(partitions_of(member.partitions))
        owned += mine
        who = (member.member_id, _host(member), member.client_id)
        rows += [_offset_row(lab, group.id, partition, committed, who, verbose=verbose) for partition in mine]
    left = sorted(partition for partition in committed if partition not in owned)
    rows += [_offset_row(lab, group.id, partition, committed, (MISSING,) * 3, verbose=verbose) for partition in left]
    heading = ["GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"]
    if verbose:
        heading.insert(3, "LEADER-EPOCH")
    widths = [_width(rows, 0), _width(rows, 1), 10, *[15] * (4 if verbose else 3), _width(rows, -3), _width(rows, -2), 0]
    return [_line(row, widths) for row in (tuple(heading), *rows)]


def _offset_row(
    lab: Lab,
    group: str,
    partition: TopicPartition,
    committed: dict[TopicPartition, tuple[int, int]],
    who: tuple[str, ...],
    *,
    verbose: bool,
) -> tuple[str, ...]:
    end = offset_for(lab, partition, LATEST)
    offset, epoch = committed.get(partition, (None, -1))
    lag = str(end - offset) if end is not None and offset is not None else MISSING
    shown = [group, partition.topic, str(partition.partition)]
    shown += [str(epoch) if epoch >= 0 else MISSING] if verbose else []
    shown += [str(offset) if offset is not None else MISSING, str(end) if end is not None else MISSING, lag, *who]
    return tuple(shown)


def _width(rows: list[tuple[str, ...]], column: int, least: int = 15) -> int:
    return max([least, *[len(row[column]) for row in rows]])


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    return " ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))


# -- members, states ------------------------------------------------------------------------------------------------------


def members_table(group: GroupView, *, verbose: bool) -> list[str]:
    by_id = {member.member_id: member for member in group.members}
    members = [by_id[name] for name in hash_order(by_id, 16)]
    static = any(member.instance_id for member in members)
    heading = ["GROUP", "CONSUMER-ID", *(["GROUP-INSTANCE-ID"] if static else []), "HOST", "CLIENT-ID", "#PARTITIONS"]
    rows = []
    for member in members:
        row = [group.id, member.member_id, *([member.instance_id] if static else [])]
        rows.append((*row, _host(member), member.client_id, str(len(member.partitions))))
    widths = [_width(rows, 0), _width(rows, 1), *([_width(rows, 2, 17)] if static else []), _width(rows, -3), _width(rows, -2), 15]
    lines = [_line(row, widths) + " " for row in (tuple(heading), *rows)]
    if not verbose:
        return lines
    more = [
        ("CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT"),
        *[_epochs(group, member) for member in members],
    ]
    columns = [15, max(20, *[len(row[1]) for row in more[1:]], 0), 15, max(20, *[len(row[3]) for row in more[1:]], 0)]
    return [line + _line(row, columns) for line, row in zip(lines, more, strict=True)]


def _epochs(group: GroupView, member: GroupMemberView) -> tuple[str, str, str, str]:
    """A classic group has no epochs and no targets."""
    classic = group.type == "classic"
    current = MISSING if classic or member.epoch < 0 else str(member.epoch)
    target = MISSING if classic or group.assignment_epoch < 0 else str(group.assignment_epoch)
    return current, _assignment(member.partitions), target, MISSING if classic else _assignment(member.target)


def _assignment(names: list[str]) -> str:
    """``orders:0,1;pay:0``."""
    by_topic: dict[str, list[int]] = {}
    for topic, number in partition_order(partitions_of(names)):
        by_topic.setdefault(topic, []).append(number)
    return ";".join(sorted(f"{topic}:{','.join(map(str, sorted(numbers)))}" for topic, numbers in by_topic.items())) or MISSING


def states_table(lab: Lab, group: GroupView, *, verbose: bool) -> list[str]:
    coordinator = f"{broker_name(group.coordinator)}:{PORT}  ({group.coordinator})"
    row = [group.id, coordinator, group.protocol or MISSING, group.state]
    heading = ["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE"]
    widths = [max(15, len(group.id)), max(25, len(coordinator)), 20, 20]
    if verbose:
        classic = group.type == "classic"
        heading += ["GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH"]
        row += [MISSING if classic else str(group.epoch), MISSING if classic else str(group.assignment_epoch)]
        widths += [15, 25]
    widths.append(0)
    return [_line(tuple(line), widths) for line in ([*heading, "#MEMBERS"], [*row, str(len(group.members))])]
