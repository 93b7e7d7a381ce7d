"""The settings of groups (``GroupConfig``, KIP-848 and KIP-932): dynamic, each with the broker setting that is its default.

Two more broker settings bound each (``config_rules.BOUNDED``). A group need not exist for its settings to be made.
"""

from __future__ import annotations

from engine.metadata.configs import BROKER_CONFIGS, ConfigDef, InvalidConfigError, static_value
from engine.metadata.durations import duration_ms
from engine.metadata.image import MetadataImage

_D = ConfigDef
GROUP_CONFIGS: dict[str, ConfigDef] = {
    definition.name: definition
    for definition in (
        _D("consumer.heartbeat.interval.ms", "int", "5000", "How often the members of a consumer group send a heartbeat.", 1,
           synonym="group.consumer.heartbeat.interval.ms"),
        _D("consumer.session.timeout.ms", "int", "45000", "How long a member of a consumer group may be silent.", 1,
           synonym="group.consumer.session.timeout.ms"),
        _D("share.auto.offset.reset", "string", "latest", "Where a share group begins: earliest, latest or by_duration:PT1H."),
        _D("share.delivery.count.limit", "int", "5", "How often a record is delivered before it is given up.", 2,
           synonym="group.share.delivery.count.limit"),
        _D("share.heartbeat.interval.ms", "int", "5000", "How often the members of a share group send a heartbeat.", 1,
           synonym="group.share.heartbeat.interval.ms"),
        _D("share.isolation.level", "string", "read_uncommitted", "Whether a share group sees records of open and aborted transactions.",
           values=("read_uncommitted", "read_committed")),
        _D("share.partition.max.record.locks", "int", "2000", "Records of one share partition that may be in flight.", 100,
           synonym="group.share.partition.max.record.locks"),
        _D("share.record.lock.duration.ms", "int", "30000", "How long a record stays acquired without an acknowledgement.", 1000,
           synonym="group.share.record.lock.duration.ms"),
        _D("share.renew.acknowledge.enable", "boolean", "true", "Whether a consumer may renew the lock of a record."),
        _D("share.session.timeout.ms", "int", "45000", "How long a member of a share group may be silent.", 1,
           synonym="group.share.session.timeout.ms"),
    )
}  # fmt: skip


def check_reset(value: str) -> None:
    """Of ``share.auto.offset.reset``. Raises InvalidConfigError."""
    kind, _, text = value.partition(":")
    found = duration_ms(text) if kind == "by_duration" else None
    if value not in ("earliest", "latest") and (found is None or found < 0):
        raise InvalidConfigError(
            f"Invalid value {value} for configuration share.auto.offset.reset: Invalid value `{value}` for configuration "
            "share.auto.offset.reset. The value must be either 'earliest', 'latest', or of the format 'by_duration:<PnDTnHnMn.nS.>'."
        )


def group_config(image: MetadataImage, static: dict[str, str], group: str, name: str) -> str:
    """The group's own value, the broker's setting for all groups, the default."""
    own = image.configs.get(f"group:{group}")
    if own is not None and name in own:
        return own[name]
    definition = GROUP_CONFIGS[name]
    if definition.synonym in BROKER_CONFIGS:
        return static_value(static, definition.synonym)
    return definition.default
