"""The last stable offset of a partition as its leader tells of it: where read_committed consumers, and the cleaner, must stop (KIP-98).

It is min(high watermark, first transaction that is open or whose marker is still above the high watermark); Kafka's
``UnifiedLog.maybeIncrementFirstUnstableOffset``. Only a change in what holds it back is told, not each step with the high watermark.
"""

from __future__ import annotations

from engine.broker.state import Broker, HeldStableOffset, Replica
from engine.events import LastStableOffsetAdvanced
from engine.sim.outbox import Outbox


def on_high_watermark(broker: Broker, replica: Replica, out: Outbox) -> None:
    """The high watermark has advanced, and there is a transaction, or one held the last stable offset before."""
    high_watermark = replica.high_watermark
    replica.log.producer_state.on_high_watermark(high_watermark)
    stable = replica.log.last_stable_offset(high_watermark)
    held = replica.held_stable_offset
    if held is not None and held.leader_epoch != replica.leader_epoch:
        held = None
    replica.held_stable_offset = HeldStableOffset(replica.leader_epoch, stable) if stable < high_watermark else None
    before = stable if held is None else held.offset
    if stable != before or (held is None and stable < high_watermark):
        topic, number = replica.partition
        out.emit(LastStableOffsetAdvanced(broker.broker_id, topic, number, before, stable, high_watermark))
