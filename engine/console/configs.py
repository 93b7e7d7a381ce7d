"""kafka-configs.sh (``kafka.admin.ConfigCommand``, Kafka 4.x), for topics, brokers and groups; users and clients lie in ``entities``."""

from __future__ import annotations

from collections.abc import Callable

from engine import commands as c
from engine.console import entities
from engine.console.entities import failed as _failed
from engine.console.job import AdminJob, Job, ReadJob
from engine.console.options import Option, OptionError, Options, UsageError, check_values, forbid, parse_options, usage
from engine.console.synonyms import Synonyms, of_broker, of_group, of_topic, static_configs
from engine.console.topics import outcome, wrong_name
from engine.events import AdminAnswered
from engine.lab import Lab
from engine.metadata.configs import BROKER_CONFIGS, TOPIC_CONFIGS
from engine.metadata.group_configs import GROUP_CONFIGS, group_config
from engine.metadata.image import MetadataImage
from engine.view.build import committed_image

NAME = "kafka-configs.sh"
HELP = "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, client-metrics or group"
OPTIONS = (
    Option("bootstrap-server", help="The Kafka servers to connect to."),
    Option("command-config", help="Property file containing configs to be passed to Admin Client."),
    Option("entity-type", help="Type of entity (topics/clients/users/brokers).", many=True),
    Option("entity-name", help="Name of entity (topic name/client id/user principal name/broker id).", many=True),
    Option("entity-default", "flag", "Default entity name for clients/users/brokers (applies to corresponding entity type)."),
    Option("topic", help="The topic's name."),
    Option("client", help="The client's ID."),
    Option("client-defaults", "flag", "The config defaults for all clients."),
    Option("user", help="The user's principal name."),
    Option("user-defaults", "flag", "The config defaults for all users."),
    Option("broker", help="The broker's ID."),
    Option("broker-defaults", "flag", "The config defaults for all brokers."),
    Option("group", help="The group's ID."),
    Option("describe", "flag", "List configs for the given entity."),
    Option("all", "flag", "List all configs for the given entity (includes static configuration when the entity type is brokers)."),
    Option("alter", "flag", "Alter the configuration for the entity."),
    Option("add-config", help="Key Value pairs of configs to add; values with commas in square brackets: 'k1=v1,k2=[v1,v2,v2],k3=v3'."),
    Option("delete-config", help="config keys to remove 'k1,k2'."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip


TYPES = ("topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers")
SHORT = {"topic": "topics", "broker": "brokers", "broker-defaults": "brokers", "group": "groups"}


def run(lab: Lab, words: list[str]) -> Job:
    try:
        options = parse_options(words, OPTIONS)
        check_values(options, OPTIONS)
    except OptionError as wrong:
        raise UsageError(wrong.text) from None
    if options.has("help"):
        return Job([HELP, *usage(OPTIONS)], 1)
    if options.has("alter") == options.has("describe"):
        raise UsageError("Command must include exactly one action: --describe, --alter", *usage(OPTIONS))
    forbid(options, OPTIONS, "describe", "add-config", "delete-config")
    named = entities.entities(options)
    if named and options.has("describe"):
        return entities.describe(options, named, words)
    if named:
        return entities.alter(lab, options, named, split_configs(options.text("add-config")), _removed(options), words)
    kind, name = _entity(options)
    if options.has("describe"):
        if kind == "topic" and name is not None and wrong_name(name):
            raise UsageError(wrong_name(name))
        return ReadJob("describeConfigs", lambda now: _describe(now, options, kind, name), _timed_out(words))
    if name is None:
        if kind in ("topic", "group"):
            raise UsageError(f"An entity name must be specified with --alter of {kind}s")
        raise UsageError("An entity-name or default entity must be specified with --alter of users, clients, brokers or ips")
    if not options.has("add-config") and not options.has("delete-config"):
        raise UsageError("At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter")
    return _alter(lab, options, kind, name, words)


def _entity(options: Options) -> tuple[str, str | None]:
    """("topic", "broker" or "group", its name, "" for the default of all brokers, None for every one)."""
    given = list(options.all("entity-type"))
    given += [kind for option, kind in SHORT.items() if options.has(option)]
    for kind in given:
        if kind not in TYPES:
            raise UsageError(
                f"Invalid entity type {kind[:80]}, the entity type must be one of {', '.join(TYPES)} with a --bootstrap-server or "
                "--bootstrap-controller argument"
            )
        if given.count(kind) > 1:
            raise UsageError(f"Duplicate entity type(s) specified: {kind}")
    if not given:
        raise UsageError("At least one entity type must be specified")
    kind = given[0]
    if len(given) > 1 or kind not in ("topics", "brokers", "groups"):
        raise UsageError(f"This lab has settings of topics, brokers, groups, users and clients, not of {', '.join(given)}")
    if kind in ("topics", "groups") and options.has("entity-default"):
        action = "describe" if options.has("describe") else "alter"
        raise UsageError(f"--entity-default must not be specified with --{action} of {kind}")
    name = next((options.text(option) for option in ("entity-name", "topic", "broker", "group") if options.has(option)), None)
    if name is None:
        return kind[:-1], "" if options.has("entity-default") or options.has("broker-defaults") else None
    return kind[:-1], _broker_id(name) if kind == "brokers" else name


def _broker_id(text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise UsageError(f"The entity name for brokers must be a valid integer broker id, but it is: {text[:80]}")
    return str(int(text))


def _timed_out(words: list[str]) -> Callable[[Lab, str, str], list[str]]:
    return lambda lab, error, message: _failed(words, error, message)


# -- alter ----------------------------------------------------------------------------------------------------------------


def split_configs(text: str) -> dict[str, str]:
    """``k1=v1,k2=[a,b]``."""
    found: dict[str, str] = {}
    depth = 0
    piece = ""
    pieces: list[str] = []
    for character in text + ",":
        if character == "," and depth == 0:
            pieces.append(piece)
            piece = ""
            continue
        depth += {"[": 1, "]": -1}.get(character, 0)
        piece += character
    for item in pieces:
        if not item.strip():
            continue
        name, equals, value = item.partition("=")
        if not equals:
            raise UsageError(
                'requirement failed: Invalid entity config: all configs to be added must be in the format "key=val" or  '
                '"key=[val1,val2]" to group values which contain commas.'
            )
        value = value.strip()
        found[name.strip()] = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    return found


def _removed(options: Options) -> list[str]:
    return [part.strip() for part in options.text("delete-config").split(",") if part.strip()]


def _alter(lab: Lab, options: Options, kind: str, name: str, words: list[str]) -> Job:
    added = split_configs(options.text("add-config"))
    removed = _removed(options)
    image = committed_image(lab.kernel)
    if set(added) & set(removed):
        return Job(_failed(words, "INVALID_REQUEST", "Error due to duplicate config keys"), 1)
    if kind == "topic" and name not in image.topics:
        return Job(_failed(words, "UNKNOWN_TOPIC_OR_PARTITION", f"The topic '{name}' does not exist."), 1)

    completed = f"Completed updating config for {kind} {name}."
    if kind == "broker" and not name:
        completed = "Completed updating default config for brokers in the cluster."

    def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
        error, message = outcome(answer)
        if error != "NONE":
            return _failed(words, error, message), 1
        return [completed], 0

    # what is not set is not removed: Kafka says nothing, whatever its name
    present = image.configs.get(f"{kind}:{name or ''}", {})
    removed = [key for key in removed if key in present]
    if not added and not removed:
        return Job([completed])
    ready = _runs(name) if kind == "broker" and name else None
    return AdminJob(c.AlterConfig(kind, name, added, removed), render, call="incrementalAlterConfigs", ready=ready)


def _runs(broker: str) -> Callable[[Lab], bool]:
    """Whether the broker can be asked: its own settings are changed by way of itself."""
    return lambda lab: int(broker) in _reachable(lab)


def _reachable(lab: Lab) -> list[int]:
    """The brokers that ``describeCluster`` names: those that are not fenced."""
    return sorted(broker.broker_id for broker in committed_image(lab.kernel).brokers.values() if not broker.fenced)


# -- describe -------------------------------------------------------------------------------------------------------------


def _describe(lab: Lab, options: Options, kind: str, name: str | None) -> list[str]:
    image = committed_image(lab.kernel)
    show_all = options.has("all")
    if kind == "group":
        return _describe_groups(lab, image, name, show_all)
    known = sorted(image.topics) if kind == "topic" else [str(broker) for broker in _reachable(lab)]
    if name and name not in known:
        return [f"The {kind} '{name}' doesn't exist and doesn't have dynamic config."]
    if kind == "topic":
        return [line for each in ([name] if name else known) for line in _describe_topic(lab, image, each, show_all)]
    if name is None:
        return [line for each in (*known, "") for line in _describe_broker(lab, image, each, show_all)]
    return _describe_broker(lab, image, name, show_all)


def _describe_topic(lab: Lab, image: MetadataImage, topic: str, show_all: bool) -> list[str]:
    static = static_configs(lab)
    names = sorted(TOPIC_CONFIGS if show_all else image.configs.get(f"topic:{topic}", {}))
    return [f"{'All' if show_all else 'Dynamic'} configs for topic {topic} are:"] + [
        _line(name, of_topic(image, static, topic, name), image.topic_config(topic, name, static)) for name in names
    ]


def _describe_groups(lab: Lab, image: MetadataImage, group: str | None, show_all: bool) -> list[str]:
    """Of one group (which need not exist), or of all that have settings of their own."""
    static = static_configs(lab)
    mentioned = [key.removeprefix("group:") for key in image.configs if key.startswith("group:")]
    lines: list[str] = []
    for each in [group] if group else sorted(mentioned):
        names = sorted(GROUP_CONFIGS if show_all else image.configs.get(f"group:{each}", {}))
        lines.append(f"{'All' if show_all else 'Dynamic'} configs for group {each} are:")
        lines += [_line(name, of_group(image, static, each, name), group_config(image, static, each, name)) for name in names]
    return lines


def _describe_broker(lab: Lab, image: MetadataImage, broker: str, show_all: bool) -> list[str]:
    static = static_configs(lab, broker)
    if not broker:
        found = image.configs.get("broker:", {})
        lines = ["Default configs for brokers in the cluster are:"]
        return lines + [_line(name, [("DYNAMIC_DEFAULT_BROKER_CONFIG", name, found[name])]) for name in sorted(found)]
    names = sorted(BROKER_CONFIGS if show_all else image.configs.get(f"broker:{broker}", {}))
    return [f"{'All' if show_all else 'Dynamic'} configs for broker {broker} are:"] + [
        _line(name, of_broker(image, static, name, broker)) for name in names
    ]


def _line(name: str, synonyms: Synonyms, unset: str = "null") -> str:
    """``unset``: the value where nothing is listed."""
    listed = ", ".join(f"{source}:{synonym}={value}" for source, synonym, value in synonyms)
    return f"  {name}={synonyms[0][2] if synonyms else unset} sensitive=false synonyms={{{listed}}}"
