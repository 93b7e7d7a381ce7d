"""DescribeConfigs (API key 32): what a setting is, and where its value comes from.

Versions: v1 brought synonyms and sources (KIP-226), v3 types and documentation. Answered from this broker's own image. Source:
``ConfigHelper``: a topic's own value, the broker's dynamic one, the cluster-wide dynamic one, the static one, the default.
"""

from __future__ import annotations

from engine.broker.state import Broker
from engine.messages.admin import ConfigEntry, DescribeConfigsRequest, DescribeConfigsResponse
from engine.metadata.configs import BROKER_CONFIGS, COARSER_SYNONYMS, TOPIC_CONFIGS, ConfigDef
from engine.metadata.group_configs import GROUP_CONFIGS
from engine.sim.outbox import Outbox

TOPIC_SOURCE = "DYNAMIC_TOPIC_CONFIG"
GROUP_SOURCE = "DYNAMIC_GROUP_CONFIG"
BROKER_SOURCE = "DYNAMIC_BROKER_CONFIG"
DEFAULT_BROKER_SOURCE = "DYNAMIC_DEFAULT_BROKER_CONFIG"
STATIC_SOURCE = "STATIC_BROKER_CONFIG"
DEFAULT_SOURCE = "DEFAULT_CONFIG"

Synonyms = list[tuple[str, str, str]]


def handle(broker: Broker, source: str, request: DescribeConfigsRequest, out: Outbox) -> None:
    out.send(source, _describe(broker, request))


def _describe(broker: Broker, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    name, number = request.resource_name, request.correlation_id
    if request.resource_type == "topic":
        if name not in broker.image.topics:
            return DescribeConfigsResponse(number, "UNKNOWN_TOPIC_OR_PARTITION", (), f"Topic {name} does not exist")
        return DescribeConfigsResponse(number, "NONE", tuple([_topic_entry(broker, name, one) for one in TOPIC_CONFIGS.values()]))
    if request.resource_type == "group":
        return DescribeConfigsResponse(number, "NONE", tuple([_group_entry(broker, name, one) for one in GROUP_CONFIGS.values()]))
    if request.resource_type != "broker":
        return DescribeConfigsResponse(number, "INVALID_REQUEST", (), f"Unexpected resource type {request.resource_type}")
    if name == "":
        dynamic = broker.image.configs.get("broker:", {})
        found = [ConfigEntry(key, dynamic[key], DEFAULT_BROKER_SOURCE) for key in sorted(dynamic)]
        return DescribeConfigsResponse(number, "NONE", tuple(found))
    if name != str(broker.broker_id):
        return DescribeConfigsResponse(
            number, "INVALID_REQUEST", (), f"Unexpected broker id, expected {broker.broker_id} but received {name}"
        )
    return DescribeConfigsResponse(number, "NONE", tuple([_broker_entry(broker, one) for one in BROKER_CONFIGS.values()]))


def _topic_entry(broker: Broker, topic: str, definition: ConfigDef) -> ConfigEntry:
    synonyms: Synonyms = []
    own = broker.image.configs.get(f"topic:{topic}", {}).get(definition.name)
    if own is not None:
        synonyms.append((definition.name, own, TOPIC_SOURCE))
    if definition.synonym:
        synonyms += _broker_values(broker, definition.synonym)
    else:
        synonyms.append((definition.name, definition.default, DEFAULT_SOURCE))
    return _entry(definition, synonyms)


def _group_entry(broker: Broker, group: str, definition: ConfigDef) -> ConfigEntry:
    synonyms: Synonyms = []
    own = broker.image.configs.get(f"group:{group}", {}).get(definition.name)
    if own is not None:
        synonyms.append((definition.name, own, GROUP_SOURCE))
    if definition.synonym:
        synonyms += _broker_values(broker, definition.synonym)
    else:
        synonyms.append((definition.name, definition.default, DEFAULT_SOURCE))
    return _entry(definition, synonyms)


def _broker_entry(broker: Broker, definition: ConfigDef) -> ConfigEntry:
    return _entry(definition, _broker_values(broker, definition.name))


def _entry(definition: ConfigDef, synonyms: Synonyms) -> ConfigEntry:
    """The first of the values in order of precedence is in force."""
    _, value, source = synonyms[0]
    return ConfigEntry(definition.name, value, source, definition.type == "password", tuple(synonyms))


def _broker_values(broker: Broker, name: str) -> Synonyms:
    found: Synonyms = []
    configs = broker.image.configs
    for key, source in ((f"broker:{broker.broker_id}", BROKER_SOURCE), ("broker:", DEFAULT_BROKER_SOURCE)):
        value = configs.get(key, {}).get(name)
        if value is not None:
            found.append((name, value, source))
    if name in broker.configs:
        found.append((name, broker.configs[name], STATIC_SOURCE))
    for coarser, _ in COARSER_SYNONYMS.get(name, ()):
        if coarser in broker.configs:
            found.append((coarser, broker.configs[coarser], STATIC_SOURCE))
    definition = BROKER_CONFIGS.get(name)
    found.append((name, definition.default if definition is not None else "", DEFAULT_SOURCE))
    return found
