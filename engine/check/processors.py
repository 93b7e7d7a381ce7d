"""Exactly once, from Kafka to Kafka: what transactional processors wrote is what there was to read, each record once.

A processor sends on what it reads as it is, so both topics can be compared as heaps of values. Whatever was processed again, because a
transaction was aborted, must not show to a reader of committed records.
"""

from __future__ import annotations

from collections import Counter

from engine.broker.node import BrokerNode
from engine.check.invariants import Oracle, Violation
from engine.check.outcome import Outcome
from engine.metadata.internal_topics import CONSUMER_OFFSETS, TRANSACTION_STATE
from engine.world import World, best_image


def judge_processors(world: World, oracle: Oracle, outcome: Outcome, counts: Counter[str]) -> None:
    """Once everything has drained. Raises Violation. A topic that somebody else writes to as well, or from which something was removed by
    rule, proves nothing and is left alone."""
    if oracle.licensed(CONSUMER_OFFSETS) or oracle.licensed(TRANSACTION_STATE):
        return
    jobs: dict[tuple[str, str, str], bool] = {}
    for job in world.processors.values():
        key = (job.group, job.input_topic, job.output_topic)
        jobs[key] = jobs.get(key, True) and "transactional.id" in job.configs
    for (_, source, target), transactional in jobs.items():
        strangers = any(
            batch.partition.topic == target and name not in world.processors for (name, _, _), batch in outcome.sent.items()
        )
        if not transactional or strangers or not (_is_whole(world, oracle, source) and _is_whole(world, oracle, target)):
            continue
        read, written = committed_values(oracle, source), committed_values(oracle, target)
        counts["records processed exactly once"] += sum(read.values())
        for value in (read - written) | (written - read):
            raise Violation(
                "ExactlyOnce",
                world.kernel.now,
                f"{value[:20]!r} lies {read[value]} times in {source} and {written[value]} times in {target}",
            )


def _is_whole(world: World, oracle: Oracle, topic: str) -> bool:
    """Whether it exists and nothing was lost, cleaned or deleted there."""
    image = best_image(world)
    if oracle.licensed(topic) or image is None or topic not in image.topics:
        return False
    if "compact" in image.topic_config(topic, "cleanup.policy", world.spec.broker_configs):
        return False
    logs = [replica.log for node in _brokers(world) for partition, replica in node.partitions.items() if partition.topic == topic]
    return all(log.log_start_offset == 0 for log in logs)


def _brokers(world: World) -> list[BrokerNode]:
    return [host.node for host in world.kernel.hosts.values() if isinstance(host.node, BrokerNode)]


def committed_values(oracle: Oracle, topic: str) -> Counter[bytes]:
    """How often each value lies in the topic for a reader of committed records."""
    found: Counter[bytes] = Counter()
    for partition, known in oracle.partitions.items():
        if partition.topic == topic:
            hidden = known.hidden()
            found.update(record.value or b"" for offset, record in known.records().items() if offset not in hidden)
    return found
