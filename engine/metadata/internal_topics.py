"""The topics in which coordinators keep what they know, and how each is created on first use.

Names and settings are Kafka's: ``AutoTopicCreationManager.creatableTopic``, ``GroupCoordinatorService.groupMetadataTopicConfigs``,
``TransactionCoordinator``'s and ``ShareCoordinatorService.shareGroupStateTopicConfigs``. The static properties of the broker that
happens to ask decide the counts.
"""

from __future__ import annotations

from engine.messages.admin import CreatableTopic
from engine.metadata.configs import static_value

CONSUMER_OFFSETS = "__consumer_offsets"
TRANSACTION_STATE = "__transaction_state"
SHARE_GROUP_STATE = "__share_group_state"
INTERNAL_TOPICS = (CONSUMER_OFFSETS, TRANSACTION_STATE, SHARE_GROUP_STATE)

_SETTINGS = {
    CONSUMER_OFFSETS: "offsets.topic",
    TRANSACTION_STATE: "transaction.state.log",
    SHARE_GROUP_STATE: "share.coordinator.state.topic",
}


def creatable(topic: str, static: dict[str, str]) -> CreatableTopic:
    """What a broker with these static properties asks the controller to create."""
    prefix = _SETTINGS[topic]
    configs = {
        "cleanup.policy": "delete" if topic == SHARE_GROUP_STATE else "compact",
        "compression.type": "uncompressed" if topic == TRANSACTION_STATE else "producer",
        "segment.bytes": static_value(static, f"{prefix}.segment.bytes"),
    }
    if topic != CONSUMER_OFFSETS:
        configs["min.insync.replicas"] = static_value(static, f"{prefix}.min.isr")
    if topic == TRANSACTION_STATE:
        configs["unclean.leader.election.enable"] = "false"
    if topic == SHARE_GROUP_STATE:
        configs["retention.ms"] = "-1"
    return CreatableTopic(
        topic,
        int(static_value(static, f"{prefix}.num.partitions")),
        int(static_value(static, f"{prefix}.replication.factor")),
        configs=tuple(sorted(configs.items())),
    )
