"""A topic's configuration as far as its logs care, under Kafka's names and with Kafka's defaults."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.log.compression import Compression
from engine.log.errors import LogError

MAX_LONG = 2**63 - 1


class LogConfig(msgspec.Struct, frozen=True):
    """``mutants`` sabotages rules by name, for the tests that prove that the simulator would notice:
    ``no-sequence-check``.
    """

    cleanup_policy: str = "delete"
    compression_type: str = "producer"
    delete_retention_ms: int = 86_400_000
    flush_messages: int = MAX_LONG
    flush_ms: int = MAX_LONG
    index_interval_bytes: int = 4096
    max_compaction_lag_ms: int = MAX_LONG
    max_message_bytes: int = 1_048_588
    message_timestamp_after_max_ms: int = 3_600_000
    message_timestamp_before_max_ms: int = MAX_LONG
    message_timestamp_type: str = "CreateTime"
    min_cleanable_dirty_ratio: float = 0.5
    min_compaction_lag_ms: int = 0
    retention_bytes: int = -1
    retention_ms: int = 604_800_000
    segment_bytes: int = 1_073_741_824
    segment_index_bytes: int = 10_485_760
    segment_ms: int = 604_800_000
    producer_id_expiration_ms: int = 86_400_000  # a broker's setting, in reach of the log's producer state
    mutants: frozenset[str] = frozenset()

    @property
    def compact(self) -> bool:
        return "compact" in self.cleanup_policy

    @property
    def delete(self) -> bool:
        return "delete" in self.cleanup_policy

    @property
    def max_segment_ms(self) -> int:
        """``max.compaction.lag.ms`` also rolls the active segment of a compacted topic."""
        if self.compact and 0 < self.max_compaction_lag_ms < self.segment_ms:
            return self.max_compaction_lag_ms
        return self.segment_ms

    @property
    def target_compression(self) -> Compression | None:
        """What the broker stores; None keeps what the producer chose."""
        if self.compression_type == "producer":
            return None
        return COMPRESSION_TYPES[self.compression_type]

    @classmethod
    def from_topic_config(cls, values: dict[str, str], *, mutants: frozenset[str] = frozenset()) -> LogConfig:
        """From Kafka's dotted names; names that no log uses are ignored. Raises LogError(INVALID_CONFIG) for a value
        of the wrong kind.
        """
        known: dict[str, object] = {}
        for name, (field, kind) in _FIELDS.items():
            if name not in values:
                continue
            text = values[name].strip()
            try:
                known[field] = kind(text)
            except ValueError:
                raise LogError("INVALID_CONFIG", f"{name}: {text!r} is not a valid {kind.__name__}") from None
        config = msgspec.convert({**known, "mutants": mutants}, cls)
        if config.compression_type != "producer" and config.compression_type not in COMPRESSION_TYPES:
            raise LogError("INVALID_CONFIG", f"compression.type: {config.compression_type!r} is unknown")
        if config.message_timestamp_type not in ("CreateTime", "LogAppendTime"):
            raise LogError("INVALID_CONFIG", f"message.timestamp.type: {config.message_timestamp_type!r} is unknown")
        if {policy.strip() for policy in config.cleanup_policy.split(",")} - {"compact", "delete", ""}:
            raise LogError("INVALID_CONFIG", f"cleanup.policy: {config.cleanup_policy!r} is unknown")
        return config


_FIELDS: dict[str, tuple[str, type[Any]]] = {
    field.name.replace("_", "."): (field.name, field.type) for field in msgspec.structs.fields(LogConfig) if field.name != "mutants"
}
"""Kafka's name → the field and its type: asking msgspec each time costs more than all the rest."""
COMPRESSION_TYPES = {
    "uncompressed": Compression.NONE,
    "gzip": Compression.GZIP,
    "snappy": Compression.SNAPPY,
    "lz4": Compression.LZ4,
    "zstd": Compression.ZSTD,
}
