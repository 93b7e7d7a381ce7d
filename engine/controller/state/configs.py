"""Settings of topics, brokers and groups change (``ConfigurationControlManager.incrementalAlterConfigs``, KIP-339)."""

from __future__ import annotations

from engine.controller.state.decision import Decision, RefusedError
from engine.controller.state.partitions import places, update_leaders_and_isrs
from engine.messages.admin import AlterableConfig, IncrementalAlterConfigsRequest
from engine.metadata.config_rules import check_group_bounds, validate_all
from engine.metadata.configs import (
    BROKER_CONFIGS,
    ConfigDef,
    InvalidConfigError,
    check_value,
    definitions,
    parse_list,
)
from engine.metadata.group_configs import GROUP_CONFIGS, check_reset
from engine.metadata.records import Config

MIN_ISR = "min.insync.replicas"


def validate_topic_configs(configs: dict[str, str]) -> None:
    """Raises RefusedError(INVALID_CONFIG) that names setting, value and bound."""
    try:
        validate_all("topic", configs)
    except InvalidConfigError as invalid:
        raise RefusedError("INVALID_CONFIG", invalid.message) from None


def alter(decision: Decision, request: IncrementalAlterConfigsRequest) -> None:
    """All of one resource or nothing. Raises RefusedError: UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, INVALID_REQUEST."""
    kind, resource = request.resource_type, request.resource_name
    _check_resource(decision, kind, resource)
    key = f"{kind}:{resource}"
    current = dict(decision.image.configs.get(key, {}))
    changed: dict[str, str | None] = {}
    for item in request.configs:
        if item.name in changed:
            raise RefusedError("INVALID_REQUEST", "Error due to duplicate config keys")
        changed[item.name] = _new_value(kind, item, current.get(item.name))
        if kind == "broker":
            _check_broker_config(decision, item, resource)
    for name, value in changed.items():
        if value is None:
            current.pop(name, None)
        else:
            current[name] = value
    try:
        for name, value in changed.items():
            if value is not None:
                _validate(kind, name, value)
                if kind == "group":
                    check_group_bounds(name, value, decision.configs)
        if kind == "topic":
            validate_all(kind, current)
    except InvalidConfigError as invalid:
        raise RefusedError("INVALID_REQUEST" if kind == "broker" else "INVALID_CONFIG", invalid.message) from None
    before = decision.image.configs.get(key, {})
    for name, value in changed.items():
        if before.get(name) != value:
            decision.change_config(Config(kind, resource, name, value))
    if MIN_ISR in changed:
        _refresh_elr(decision, resource if kind == "topic" else "")


def _definitions(kind: str) -> dict[str, ConfigDef]:
    return GROUP_CONFIGS if kind == "group" else definitions(kind)


def _validate(kind: str, name: str, value: str) -> None:
    """Raises InvalidConfigError."""
    definition = _definitions(kind).get(name)
    if definition is None:
        raise InvalidConfigError(f"Unknown {kind} config name: {name}")
    check_value(definition, value)
    if name == "share.auto.offset.reset":
        check_reset(value)


def _check_resource(decision: Decision, kind: str, resource: str) -> None:
    if kind == "topic":
        if resource not in decision.image.topics:
            raise RefusedError("UNKNOWN_TOPIC_OR_PARTITION", f"The topic '{resource}' does not exist.")
    elif kind == "broker":
        if resource and not (resource.isascii() and resource.isdigit()):
            raise RefusedError("INVALID_REQUEST", f"Invalid broker name: '{resource}' is not a broker ID.")
    elif kind == "group":
        if not resource:
            raise RefusedError("INVALID_REQUEST", "Default group resources are not allowed.")
    else:
        raise RefusedError("INVALID_REQUEST", f"Unknown resource type '{kind}'; topic, broker and group are known.")


def _new_value(kind: str, item: AlterableConfig, current: str | None) -> str | None:
    if item.operation == "delete":
        if item.name not in _definitions(kind):
            raise RefusedError("INVALID_CONFIG", f"Unknown {kind} config name: {item.name}")
        return None
    if item.operation == "set":
        return item.value
    definition = _definitions(kind).get(item.name)
    if definition is None:
        raise RefusedError("INVALID_CONFIG", f"Unknown {kind} config name: {item.name}")
    if item.operation not in ("append", "subtract"):
        raise RefusedError("INVALID_REQUEST", f"Unknown operation '{item.operation}'; set, delete, append and subtract are known.")
    if definition.type != "list":
        raise RefusedError("INVALID_CONFIG", f"Can't {item.operation.upper()} to key {item.name} because its type is not LIST.")
    items = parse_list(definition.default if current is None else current)
    given = parse_list(item.value)
    if item.operation == "append":
        return ",".join([*items, *(value for value in given if value not in items)])
    return ",".join(value for value in items if value not in given)


def _check_broker_config(decision: Decision, item: AlterableConfig, resource: str) -> None:
    definition = BROKER_CONFIGS.get(item.name)
    if definition is not None and not definition.dynamic:
        raise RefusedError("INVALID_REQUEST", f"Cannot update these configs dynamically: [{item.name}]")
    if item.name == MIN_ISR and decision.elr_enabled:
        if resource:
            raise RefusedError("INVALID_CONFIG", "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
        if item.operation == "delete":
            raise RefusedError("INVALID_CONFIG", "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")


def _refresh_elr(decision: Decision, topic: str) -> None:
    """A lower minimum may make a small ISR large enough, and then its ELR has to go."""
    where = [place for place in places(decision, lambda partition: bool(partition.elr)) if not topic or place[0] == topic]
    update_leaders_and_isrs(decision, where)
