"""CompactionKeepsLatest: whatever a cleaner took, each key's latest record is still there, at the offset that it always had."""

from __future__ import annotations

from engine.broker.node import BrokerNode
from engine.check.invariants import Oracle, Violation, batches_between
from engine.log.record_batch import Record, decode, read_header
from engine.world import World


def judge_cleaned(world: World, oracle: Oracle) -> None:
    """On every replica of every compacted partition, below its high watermark. Raises Violation."""
    for host in world.kernel.hosts.values():
        node = host.node
        if not isinstance(node, BrokerNode):
            continue
        for partition, replica in node.partitions.items():
            known = oracle.state(partition)
            if (
                not replica.log.config.compact
                or known.licences
                or oracle.license_missed_marker(host.name, partition, known, replica)
            ):
                continue
            start, end = replica.log.log_start_offset, min(replica.high_watermark, known.high_watermark)
            held: dict[int, Record] = {}
            for batch in batches_between(replica.log, 0, end):
                if not read_header(batch).is_control_batch:
                    held.update((record.offset, record) for record in decode(batch))
            records = known.records()
            for key, offset in known.latest_offsets().items():
                if start <= offset < end and records[offset].value is not None and held.get(offset) != records[offset]:
                    raise Violation(
                        "CompactionKeepsLatest",
                        world.kernel.now,
                        f"{host.name} no longer holds the latest record of {key!r} of {partition}, at offset {offset}",
                    )
