"""What a broker's static properties say about groups, read once when the broker starts."""

from __future__ import annotations

import msgspec

from engine.metadata.configs import static_value


class GroupSettings(msgspec.Struct, frozen=True, gc=False):
    """Kafka's ``GroupCoordinatorConfig``. Names and defaults are Kafka's."""

    initial_rebalance_delay_ms: int
    min_session_timeout_ms: int
    max_session_timeout_ms: int
    max_size: int
    offset_metadata_max_bytes: int
    offsets_retention_ms: int
    offsets_retention_check_interval_us: int
    consumer_max_size: int
    consumer_session_timeout_us: int
    consumer_heartbeat_interval_ms: int
    share_max_size: int
    share_session_timeout_us: int
    share_heartbeat_interval_ms: int

    @classmethod
    def read(cls, configs: dict[str, str]) -> GroupSettings:
        def number(name: str) -> int:
            return int(static_value(configs, name))

        return cls(
            initial_rebalance_delay_ms=number("group.initial.rebalance.delay.ms"),
            min_session_timeout_ms=number("group.min.session.timeout.ms"),
            max_session_timeout_ms=number("group.max.session.timeout.ms"),
            max_size=number("group.max.size"),
            offset_metadata_max_bytes=number("offset.metadata.max.bytes"),
            offsets_retention_ms=number("offsets.retention.minutes") * 60_000,
            offsets_retention_check_interval_us=number("offsets.retention.check.interval.ms") * 1000,
            consumer_max_size=number("group.consumer.max.size"),
            consumer_session_timeout_us=number("group.consumer.session.timeout.ms") * 1000,
            consumer_heartbeat_interval_ms=number("group.consumer.heartbeat.interval.ms"),
            share_max_size=number("group.share.max.size"),
            share_session_timeout_us=number("group.share.session.timeout.ms") * 1000,
            share_heartbeat_interval_ms=number("group.share.heartbeat.interval.ms"),
        )


NEW_MEMBER_JOIN_TIMEOUT_MS = 300_000
"""How long a new member's first JoinGroup may be parked (``GroupCoordinatorConfig.CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS``)."""
