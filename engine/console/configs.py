"""kafka-configs.sh (``kafka.admin.ConfigCommand``, Kafka 4.x), for topics and brokers."""

from __future__ import annotations

from collections.abc import Callable

from engine import commands as c
from engine.console.job import AdminJob, Job, ReadJob, default_message, exception
from engine.console.options import Option, Options, UsageError, forbid, parse_options, require, usage
from engine.console.topics import outcome
from engine.events import AdminAnswered
from engine.lab import Lab
from engine.metadata.configs import BROKER_CONFIGS, TOPIC_CONFIGS, ConfigDef
from engine.metadata.image import MetadataImage
from engine.view.build import committed_image

NAME = "kafka-configs.sh"
OPTIONS = (
    Option("bootstrap-server", help="The Kafka servers to connect to."),
    Option("command-config", help="Property file containing configs to be passed to Admin Client."),
    Option("entity-type", help="Type of entity (topics/brokers)."),
    Option("entity-name", help="Name of entity (topic name/broker id)."),
    Option("entity-default", "flag", "Default entity name for brokers (applies to corresponding entity type in command line)."),
    Option("topic", help="The topic's name."),
    Option("broker", help="The broker's ID."),
    Option("broker-defaults", "flag", "The config defaults for all brokers."),
    Option("describe", "flag", "List configs for the given entity."),
    Option("all", "flag", "List all configs for the given entity (includes static configuration when the entity type is brokers)."),
    Option("alter", "flag", "Alter the configuration for the entity."),
    Option("add-config", help="Key Value pairs of configs to add; values with commas in square brackets: 'k1=v1,k2=[v1,v2,v2],k3=v3'."),
    Option("delete-config", help="config keys to remove 'k1,k2'."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip


def run(lab: Lab, words: list[str]) -> Job:
    options = parse_options(words, OPTIONS)
    if options.has("help"):
        return Job(["This tool helps to manipulate and describe entity config for a topic or broker", *usage(OPTIONS)])
    if options.has("alter") == options.has("describe"):
        raise UsageError("Command must include exactly one action: --describe, --alter", *usage(OPTIONS))
    kind, name = _entity(options)
    if options.has("describe"):
        forbid(options, "describe", "add-config", "delete-config")
        return ReadJob("describeConfigs", lambda now: _describe(now, options, words, kind, name), _timed_out(words))
    if not options.has("add-config") and not options.has("delete-config"):
        raise UsageError("At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter")
    if name is None:
        raise UsageError("An entity-name or default entity must be specified with --alter of topics, brokers")
    return _alter(lab, options, kind, name, words)


def _entity(options: Options) -> tuple[str, str | None]:
    """("topic" or "broker", its name, "" for the default of all brokers, None for every one)."""
    if options.has("topic"):
        return "topic", options.text("topic")
    if options.has("broker"):
        return "broker", _broker_id(options.text("broker"))
    if options.has("broker-defaults"):
        return "broker", ""
    require(options, "entity-type")
    kind = options.text("entity-type")
    if kind not in ("topics", "brokers"):
        raise UsageError(f"Invalid entity type {kind[:80]}, the entity type must be one of topics, brokers in this lab")
    if kind == "brokers" and options.has("entity-default"):
        return "broker", ""
    if not options.has("entity-name"):
        return kind[:-1], None
    name = options.text("entity-name")
    return kind[:-1], _broker_id(name) if kind == "brokers" else name


def _broker_id(text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise UsageError(f"The entity name for brokers must be a valid integer broker id, found: {text[:80]}")
    return str(int(text))


def _failed(words: list[str], error: str, message: str) -> list[str]:
    return [
        f"Error while executing config command with args '{' '.join(words)}'",
        f"java.util.concurrent.ExecutionException: {exception(error)}: {message or default_message(error)}",
    ]


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
            raise UsageError('requirement failed: Invalid entity config: all configs to be added must be in the format "key=val".')
        value = value.strip()
        found[name.strip()] = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    return found


def _alter(lab: Lab, options: Options, kind: str, name: str, words: list[str]) -> Job:
    added = split_configs(options.text("add-config"))
    removed = [part.strip() for part in options.text("delete-config").split(",") if part.strip()]
    image = committed_image(lab.kernel)
    unknown = [key for key in removed if key not in image.configs.get(f"{kind}:{name}", {})]
    if unknown:
        return Job(_failed(words, "INVALID_CONFIG", f"Invalid config(s): {','.join(unknown)}"), 1)
    if kind == "topic" and name not in image.topics:
        return Job(_failed(words, "UNKNOWN_TOPIC_OR_PARTITION", f"The topic '{name}' does not exist."), 1)

    def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
        error, message = outcome(answer)
        if error != "NONE":
            return _failed(words, error, message), 1
        if kind == "broker" and not name:
            return ["Completed updating default config for brokers in the cluster."], 0
        return [f"Completed updating config for {kind} {name}."], 0

    return AdminJob(c.AlterConfig(kind, name, added, removed), render)


# -- describe -------------------------------------------------------------------------------------------------------------


def _describe(lab: Lab, options: Options, words: list[str], kind: str, name: str | None) -> list[str]:
    image = committed_image(lab.kernel)
    static = lab.spec.broker_configs
    show_all = options.has("all")
    if kind == "topic":
        if name is not None and name not in image.topics:
            raise UsageError(*_failed(words, "UNKNOWN_TOPIC_OR_PARTITION", f"The topic '{name}' does not exist."))
        names = [name] if name is not None else sorted(image.topics)
        return [line for each in names for line in _describe_topic(image, static, each, show_all)]
    if name is None:
        names = [str(broker) for broker in sorted(image.brokers)]
        return [line for each in (*names, "") for line in _describe_broker(image, static, each, show_all)]
    return _describe_broker(image, static, name, show_all)


def _describe_topic(image: MetadataImage, static: dict[str, str], topic: str, show_all: bool) -> list[str]:
    lines = [f"{'All' if show_all else 'Dynamic'} configs for topic {topic} are:"]
    own = image.configs.get(f"topic:{topic}", {})
    for name in sorted(TOPIC_CONFIGS) if show_all else sorted(own):
        definition = TOPIC_CONFIGS.get(name)
        synonyms = [("DYNAMIC_TOPIC_CONFIG", name, own[name])] if name in own else []
        if definition is not None:
            synonyms += _below(image, static, definition.synonym or name, definition.default)
        lines.append(_line(name, synonyms))
    return lines


def _describe_broker(image: MetadataImage, static: dict[str, str], broker: str, show_all: bool) -> list[str]:
    own = image.configs.get(f"broker:{broker}", {})
    if not broker:
        lines = ["Default configs for brokers in the cluster are:"]
        return lines + [_line(name, [("DYNAMIC_DEFAULT_BROKER_CONFIG", name, own[name])]) for name in sorted(own)]
    lines = [f"{'All' if show_all else 'Dynamic'} configs for broker {broker} are:"]
    for name in sorted(BROKER_CONFIGS) if show_all else sorted(own):
        definition: ConfigDef | None = BROKER_CONFIGS.get(name)
        synonyms = [("DYNAMIC_BROKER_CONFIG", name, own[name])] if name in own else []
        lines.append(_line(name, synonyms + _below(image, static, name, definition.default if definition else "")))
    return lines


def _below(image: MetadataImage, static: dict[str, str], name: str, default: str) -> list[tuple[str, str, str]]:
    """What a setting falls back to, nearest first."""
    found = []
    dynamic = image.configs.get("broker:", {}).get(name)
    if dynamic is not None:
        found.append(("DYNAMIC_DEFAULT_BROKER_CONFIG", name, dynamic))
    if name in static:
        found.append(("STATIC_BROKER_CONFIG", name, static[name]))
    return [*found, ("DEFAULT_CONFIG", name, default)]


def _line(name: str, synonyms: list[tuple[str, str, str]]) -> str:
    listed = ", ".join(f"{source}:{synonym}={value}" for source, synonym, value in synonyms)
    return f"  {name}={synonyms[0][2]} sensitive=false synonyms={{{listed}}}"
