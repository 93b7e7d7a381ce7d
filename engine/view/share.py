"""How a share group's records look: what each partition's leader holds in flight, in runs of records that are alike."""

from __future__ import annotations

from engine.broker.node import BrokerNode
from engine.broker.share_partition import SharePartition
from engine.sim.kernel import Host
from engine.view.tree import GroupView, SharePartitionView, ShareRunView

MAX_RUNS = 60
"""Of one partition: more than an eye takes in, and a bound on what every look costs."""


def add_share_partitions(hosts: dict[str, Host], groups: dict[str, GroupView]) -> None:
    for host in hosts.values():
        node = host.node
        if not isinstance(node, BrokerNode) or not node.share.partitions:
            continue
        for share in node.share.partitions.values():
            group = groups.get(share.group_id)
            if group is not None:
                group.share_partitions.append(_partition(node, share))
    for group in groups.values():
        group.share_partitions.sort(key=lambda part: (part.topic, part.partition))


def _partition(node: BrokerNode, share: SharePartition) -> SharePartitionView:
    replica = node.partitions.get(share.partition)
    high_watermark = replica.high_watermark if replica is not None else -1
    return SharePartitionView(
        *share.partition, node.broker_id, share.active, share.start_offset, share.end_offset, high_watermark, len(share.records),
        _runs(node, share),
    )  # fmt: skip


def _runs(node: BrokerNode, share: SharePartition) -> list[ShareRunView]:
    found: list[ShareRunView] = []
    member_id = ""
    for offset, record in share.records.items():
        last = found[-1] if found else None
        if (
            last is not None
            and last.last_offset + 1 == offset
            and (last.state, last.deliveries, member_id) == (record.state, record.deliveries, record.member_id)
        ):
            last.last_offset = offset
            continue
        if len(found) == MAX_RUNS:
            break
        member_id = record.member_id
        session = node.share.sessions.get((share.group_id, member_id)) if member_id else None
        found.append(ShareRunView(offset, offset, record.state, record.deliveries, session.client if session is not None else ""))
    return found
