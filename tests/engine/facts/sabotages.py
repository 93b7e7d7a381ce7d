"""For each fact one line of the engine, and how to spoil it so that the fact no longer holds.

``test_sabotage.py`` checks that every number has its tests and its sabotage, and that each spoilt line still stands in the engine;
the long tier (``tests/simulation/test_sabotages.py``) spoils them one by one and sees the fact's tests fail.
"""

from __future__ import annotations

from typing import NamedTuple


class Sabotage(NamedTuple):
    """In ``path``, ``before`` (which occurs once) becomes ``after``."""

    fact: int
    path: str
    before: str
    after: str


SABOTAGES = (
    Sabotage(1, "engine/log/partition_log.py", "batch = assign(batch, first, leader_epoch)", "batch = assign(batch, first, 0)"),
    Sabotage(2, "engine/log/segment.py", "if self.size > segment_bytes - size:", "if self.size > 2 * segment_bytes - size:"),
    Sabotage(3, "engine/log/partition_log.py", ">= config.flush_messages:", ">= 1:"),
    Sabotage(4, "engine/log/recovery.py", "        disk.truncate(segment.log_path, segment.size)\n", ""),
    Sabotage(
        5,
        "engine/log/retention.py",
        "return now_ms - segment.largest_timestamp > config.retention_ms",
        "return now_ms - segment.first_timestamp > config.retention_ms",
    ),
    Sabotage(6, "engine/log/retention.py", "if surplus < segment.size:", "if surplus < 0:"),
    Sabotage(7, "engine/log/cleanable.py", "min(log.last_stable_offset(high_watermark), active)", "log.log_end_offset"),
    Sabotage(8, "engine/log/compaction.py", "            if tombstone and overdue:", "            if tombstone:"),
    Sabotage(
        9,
        "engine/log/compaction.py",
        "        return header.last_offset == producer.batches[-1].last_offset",
        "        return False",
    ),
    Sabotage(
        10, "engine/log/log_validator.py", "if now_ms - oldest > config.message_timestamp_before_max_ms:", "if now_ms < oldest:"
    ),
    Sabotage(11, "engine/log/partition_log.py", "(entry.size > room and (found or not min_one))", "entry.size > room"),
    Sabotage(
        12, "engine/broker/replication.py", "return moved and maybe_advance_high_watermark(broker, replica, out)", "return False"
    ),
    Sabotage(13, "engine/broker/replication.py", "if len(replica.isr) < replica.min_isr:", "if False:"),
    Sabotage(14, "engine/broker/apis/produce.py", "if acks == -1 and len(replica.isr) < replica.min_isr:", "if False:"),
    Sabotage(
        15,
        "engine/broker/replication.py",
        "if follower.log_end_offset < new and (",
        "if broker_id != replica.isr[-1] and follower.log_end_offset < new and (",
    ),
    Sabotage(16, "engine/broker/apis/produce.py", "    waits = acks == -1 and", "    waits = acks != 0 and"),
    Sabotage(
        17,
        "engine/broker/replication.py",
        "now_ms - follower.last_caught_up_ms > lag",
        "now_ms - follower.last_caught_up_ms > 2 * lag",
    ),
    Sabotage(18, "engine/broker/replication.py", "0 <= replica.leader_epoch_start_offset <= follower.log_end_offset", "True"),
    Sabotage(19, "engine/controller/state/alter_partition.py", 'return "FENCED_LEADER_EPOCH"', 'return "NONE"'),
    Sabotage(
        20,
        "engine/broker/fetcher.py",
        "_truncate(broker, replica, min(target, log.log_end_offset), out)",
        "_truncate(broker, replica, replica.high_watermark, out)",
    ),
    Sabotage(21, "engine/broker/apis/list_offsets.py", "        if lagging:\n", "        if False:\n"),
    Sabotage(
        22,
        "engine/controller/state/elections.py",
        "    for replica in target.replicas:\n        if valid(replica):",
        "    for replica in reversed(target.replicas):\n        if valid(replica):",
    ),
    Sabotage(
        23,
        "engine/controller/node.py",
        '        if parse_boolean(static_value(self.configs, "auto.leader.rebalance.enable")):',
        "        if False:",
    ),
    Sabotage(
        24, "engine/broker/fetcher.py", "    high_watermark = result.high_watermark\n", "    high_watermark = log.log_end_offset\n"
    ),
    Sabotage(
        25,
        "engine/world.py",
        'kernel.add_host(controller_name(BASE_CONTROLLER_ID + position), "controller")',
        'kernel.add_host(controller_name(BASE_CONTROLLER_ID + position), "broker")',
    ),
    Sabotage(
        26,
        "engine/controller/state/brokers.py",
        "    session.last_heartbeat_us = decision.out.now\n",
        "    session.last_heartbeat_us = decision.out.now + 5_000_000\n",
    ),
    Sabotage(27, "engine/coordination/quorum_timers.py", "FETCH_TIMEOUT_US = 2_000_000", "FETCH_TIMEOUT_US = 4_000_000"),
    Sabotage(
        28,
        "engine/clients/partitioner.py",
        "return (murmur2(key) & 0x7FFFFFFF) % partition_count",
        "return murmur2(key) % partition_count",
    ),
    Sabotage(29, "engine/clients/partitioner.py", "    least = max(batch_size, 1)\n", "    least = 1\n"),
    Sabotage(30, "engine/clients/configs.py", 'ConfigKey("linger.ms", "long", "5", 0)', 'ConfigKey("linger.ms", "long", "0", 0)'),
    Sabotage(31, "engine/clients/configs.py", 'values["enable.idempotence"] = False', 'values["enable.idempotence"] = True'),
    Sabotage(
        32,
        "engine/log/producer_state.py",
        "return Duplicate(batch.first_offset, batch.last_offset, batch.timestamp)",
        "return Duplicate(entry.batches[-1].first_offset, entry.batches[-1].last_offset, batch.timestamp)",
    ),
    Sabotage(33, "engine/log/producer_state.py", "if batch.last_sequence == last and batch.first_sequence == first:", "if False:"),
    Sabotage(
        34,
        "engine/clients/accumulator.py",
        "queue.muted = self.settings.max_in_flight_requests_per_connection == 1",
        "queue.muted = True",
    ),
    Sabotage(
        35, "engine/coordination/transactions.py", "bumped = known.producer_epoch + 1", "bumped = max(known.producer_epoch, 0)"
    ),
    Sabotage(
        36,
        "engine/coordination/transactions.py",
        "producer_epoch=known.producer_epoch + 1, last_producer_epoch=known.producer_epoch,",
        "producer_epoch=known.producer_epoch, last_producer_epoch=known.producer_epoch,",
    ),
    Sabotage(
        37,
        "engine/log/partition_log.py",
        "return high_watermark if unstable is None or unstable > high_watermark else max(unstable, self.log_start_offset)",
        "return high_watermark",
    ),
    Sabotage(
        38,
        "engine/clients/configs.py",
        'ConfigKey("isolation.level", "string", "read_uncommitted"',
        'ConfigKey("isolation.level", "string", "read_committed"',
    ),
    Sabotage(
        39,
        "engine/broker/transactions.py",
        "if not 0 < request.transaction_timeout_ms <= broker.settings.transaction_max_timeout_ms:",
        "if not 0 < request.transaction_timeout_ms:",
    ),
    Sabotage(
        40,
        "engine/coordination/offsets.py",
        "if pending is None or not commit:",
        "if pending is None:",
    ),
    Sabotage(
        41,
        "engine/coordination/classic_rebalance.py",
        "        delay_ms = shard.settings.initial_rebalance_delay_ms",
        "        delay_ms = 0",
    ),
    Sabotage(
        42,
        "engine/coordination/classic_group.py",
        "vote = next(known.name for known in member.protocols if known.name in candidates)",
        "vote = next(known.name for known in reversed(member.protocols) if known.name in candidates)",
    ),
    Sabotage(
        43,
        "engine/coordination/consumer_group_member.py",
        "if HANDOVER_MUTANT not in mutants:",
        "if False:",
    ),
    Sabotage(
        44,
        "engine/coordination/classic_protocol.py",
        "    elif instance_id in group.static_members:\n        _replace",
        "    elif False:\n        _replace",
    ),
    Sabotage(
        45,
        "engine/coordination/group_offsets.py",
        "now_ms - since < shard.settings.offsets_retention_ms",
        "now_ms - since < 1000 * shard.settings.offsets_retention_ms",
    ),
    Sabotage(
        46,
        "engine/clients/consumer_poll.py",
        """            offsets.auto_commit(consumer, group, out)
            offsets.fetch_committed(consumer, group, out)
        fetching.advance(consumer, out)
        works = collect(consumer, out)
""",
        """            offsets.fetch_committed(consumer, group, out)
        fetching.advance(consumer, out)
        works = collect(consumer, out)
        if group is not None:
            offsets.auto_commit(consumer, group, out)
""",
    ),
    Sabotage(
        47,
        "engine/broker/share_partition.py",
        "ARCHIVED if known.deliveries >= delivery_limit else AVAILABLE",
        "AVAILABLE",
    ),
    Sabotage(
        48,
        "engine/coordination/classic_group.py",
        "            if generation_or_epoch != self.generation:",
        "            if False:",
    ),
    Sabotage(
        49,
        "engine/broker/quotas.py",
        "    channel.muted_until_us = out.now + violation.throttle_time_ms * 1000",
        "    channel.muted_until_us = out.now",
    ),
    Sabotage(
        50,
        "engine/metadata/authorizer.py",
        "                return False\n            allowed = True",
        "                continue\n            allowed = True",
    ),
)
