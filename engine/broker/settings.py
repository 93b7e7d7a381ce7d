"""The broker's own settings, read once from its static properties: Kafka marks all of these read-only (they need a restart)."""

from __future__ import annotations

import msgspec

from engine.coordination.group_settings import GroupSettings
from engine.metadata.configs import parse_boolean, static_value


class BrokerSettings(msgspec.Struct, frozen=True, gc=False):
    """Names and defaults are Kafka's; times that only feed timers are in microseconds here."""

    replica_lag_time_max_ms: int
    replica_fetch_wait_max_ms: int
    replica_fetch_min_bytes: int
    replica_fetch_max_bytes: int
    replica_fetch_response_max_bytes: int
    replica_fetch_backoff_us: int
    replica_socket_timeout_us: int
    high_watermark_checkpoint_us: int
    retention_check_us: int
    heartbeat_interval_us: int
    session_timeout_us: int
    auto_create_topics: bool
    controlled_shutdown: bool
    producer_id_expiration_ms: int
    transaction_max_timeout_ms: int
    transaction_sweep_us: int
    transactional_id_expiration_ms: int
    quota_window_num: int
    quota_window_ms: int
    replication_quota_window_num: int
    replication_quota_window_ms: int
    rack_aware_selector: bool
    cleaner_backoff_us: int
    cleaner_bytes_per_second: int
    cleaner_map_entries: int
    offsets_commit_timeout_us: int
    groups: GroupSettings

    @classmethod
    def read(cls, configs: dict[str, str]) -> BrokerSettings:
        def number(name: str) -> int:
            return int(static_value(configs, name))

        return cls(
            replica_lag_time_max_ms=number("replica.lag.time.max.ms"),
            replica_fetch_wait_max_ms=number("replica.fetch.wait.max.ms"),
            replica_fetch_min_bytes=number("replica.fetch.min.bytes"),
            replica_fetch_max_bytes=number("replica.fetch.max.bytes"),
            replica_fetch_response_max_bytes=number("replica.fetch.response.max.bytes"),
            replica_fetch_backoff_us=number("replica.fetch.backoff.ms") * 1000,
            replica_socket_timeout_us=number("replica.socket.timeout.ms") * 1000,
            high_watermark_checkpoint_us=number("replica.high.watermark.checkpoint.interval.ms") * 1000,
            retention_check_us=number("log.retention.check.interval.ms") * 1000,
            heartbeat_interval_us=number("broker.heartbeat.interval.ms") * 1000,
            session_timeout_us=number("broker.session.timeout.ms") * 1000,
            auto_create_topics=parse_boolean(static_value(configs, "auto.create.topics.enable")),
            controlled_shutdown=parse_boolean(static_value(configs, "controlled.shutdown.enable")),
            producer_id_expiration_ms=number("producer.id.expiration.ms"),
            transaction_max_timeout_ms=number("transaction.max.timeout.ms"),
            transaction_sweep_us=number("transaction.abort.timed.out.transaction.cleanup.interval.ms") * 1000,
            transactional_id_expiration_ms=number("transactional.id.expiration.ms"),
            quota_window_num=number("quota.window.num"),
            quota_window_ms=number("quota.window.size.seconds") * 1000,
            replication_quota_window_num=number("replication.quota.window.num"),
            replication_quota_window_ms=number("replication.quota.window.size.seconds") * 1000,
            rack_aware_selector=static_value(configs, "replica.selector.class").endswith(".RackAwareReplicaSelector"),
            cleaner_backoff_us=number("log.cleaner.backoff.ms") * 1000,
            cleaner_bytes_per_second=min(int(float(static_value(configs, "log.cleaner.io.max.bytes.per.second"))), 10**12),
            cleaner_map_entries=int(number("log.cleaner.dedupe.buffer.size") / 24 * 0.9),
            offsets_commit_timeout_us=number("offsets.commit.timeout.ms") * 1000,
            groups=GroupSettings.read(configs),
        )


MICROSECONDS = 1_000_000
REQUEST_TIMEOUT_US = 30_000_000
"""``request.timeout.ms`` of the broker: how long it tries to have a forwarded request answered."""
CONTROLLER_SOCKET_TIMEOUT_US = 30_000_000
"""``controller.socket.timeout.ms``: an answer from the controller that is this late counts as lost."""
CONTROLLER_RETRY_US = 50_000
"""How long the channel to the controller waits before it looks for the active one again."""
FETCH_MAX_BYTES = 57_671_680
"""``fetch.max.bytes`` of the broker: the most that one fetch response carries (55 MiB)."""
CONTROLLED_SHUTDOWN_TIMEOUT_US = 300_000_000
"""After five minutes a broker stops without the controller's leave (Kafka's ``BrokerServer.shutdown``)."""
RECOVERY_POINT_CHECKPOINT_US = 60_000_000
"""``log.flush.offset.checkpoint.interval.ms``."""
INITIAL_TASK_DELAY_US = 30_000_000
"""``log.initial.task.delay.ms``: the first retention round after a start."""
MAX_BACKLOG = 1_000
"""Requests that wait in the sockets of a broker that is still starting; more are dropped as by a full backlog."""
