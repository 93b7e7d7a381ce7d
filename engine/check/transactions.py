"""The writing half of Atomicity: one transaction has one outcome in all of its partitions, and every transaction ends.

With transactions v2 each has a producer epoch of its own, so (producer ID, epoch) names it wherever it wrote.
"""

from __future__ import annotations

from collections import Counter

from engine.check.invariants import Oracle, Violation
from engine.messages.base import TopicPartition


def judge_transactions(now_us: int, oracle: Oracle, counts: Counter[str]) -> None:
    """Once everything has drained. Raises Violation."""
    outcomes: dict[tuple[int, int], tuple[bool, TopicPartition]] = {}
    for partition, known in oracle.partitions.items():
        if known.licences:
            continue
        for transaction in known.open.values():
            raise Violation(
                "Liveness",
                now_us,
                f"the transaction of producer {transaction.producer_id} that began at {transaction.first_offset} of {partition} never ended",
            )
        for transaction in known.ended:
            counts["transactions committed" if transaction.committed else "transactions aborted"] += 1
            key = (transaction.producer_id, transaction.producer_epoch)
            committed, elsewhere = outcomes.setdefault(key, (transaction.committed, partition))
            if committed != transaction.committed:
                was = "committed" if committed else "aborted"
                raise Violation(
                    "Atomicity",
                    now_us,
                    f"the transaction of producer {key[0]} in epoch {key[1]} was {was} in {elsewhere} and not in {partition}",
                )
