"""What a lab is made of before anything has happened: its nodes, their configuration, topics that exist from the start."""

from __future__ import annotations

from typing import Annotated

import msgspec

from engine import limits
from engine.commands import ConfigMap, Topic


class TopicSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Topic
    partitions: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_PARTITIONS_PER_TOPIC)] = 1
    replication_factor: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_BROKERS)] = 3
    configs: ConfigMap = {}
    assignments: list[list[int]] = []


class ClusterSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``settle_us`` runs the new cluster until then before anybody sees it, so that a learner meets it formed."""

    brokers: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_BROKERS)] = 3
    controllers: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_CONTROLLERS)] = 3
    topics: Annotated[tuple[TopicSpec, ...], msgspec.Meta(max_length=limits.MAX_TOPICS)] = ()
    broker_configs: ConfigMap = {}
    racks: tuple[str, ...] = ()
    elr: bool = True
    start_ms: int = 1_767_225_600_000
    """What the nodes' clocks show at virtual time 0 (2026-01-01T00:00:00Z)."""
    mutants: tuple[str, ...] = ()
    """One-line sabotages that the simulator must catch (``engine.check.mutants``); empty in real life."""


def with_small_internal_topics(spec: ClusterSpec) -> ClusterSpec:
    """The cluster of a new sandbox or lesson: Kafka's own topics with three partitions each instead of fifty, and no more replicas than
    there are brokers, as explicit static broker settings. What the spec sets itself stays (docs/decisions/0040)."""
    replicas = min(spec.brokers, 3)
    small: dict[str, str] = {}
    for prefix in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        small[f"{prefix}.num.partitions"] = "3"
        if replicas < 3:
            small[f"{prefix}.replication.factor"] = str(replicas)
            if prefix != "offsets.topic":
                small[f"{prefix}.min.isr"] = str(min(replicas, 2))
    return msgspec.structs.replace(spec, broker_configs={**small, **spec.broker_configs})


BASE_CONTROLLER_ID = 101


def broker_name(broker_id: int) -> str:
    return f"broker-{broker_id}"


def controller_name(controller_id: int) -> str:
    return f"controller-{controller_id}"
