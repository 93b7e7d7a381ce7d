"""kafka-topics.sh (``org.apache.kafka.tools.TopicCommand``, Kafka 4.x)."""

from __future__ import annotations

import re

from engine import commands as c
from engine import limits
from engine.console.job import AdminJob, Job, ReadJob, default_message, exception, log_time
from engine.console.options import Option, OptionError, Options, UsageError, check_values, forbid, parse_options, require, usage
from engine.console.synonyms import hash_order, overrides
from engine.events import AdminAnswered
from engine.lab import Lab
from engine.metadata.config_rules import validate_all
from engine.metadata.configs import InvalidConfigError
from engine.view.tree import PartitionView, TopicView

NAME = "kafka-topics.sh"
OPTIONS = (
    Option("bootstrap-server", help="The Kafka server to connect to."),
    Option("command-config", help="Property file containing configs to be passed to Admin Client."),
    Option("list", "flag", "List all available topics."),
    Option("create", "flag", "Create a new topic."),
    Option("delete", "flag", "Delete a topic."),
    Option("alter", "flag", "Alter the number of partitions."),
    Option("describe", "flag", "List details for the given topics."),
    Option("topic", help="The topic to create, alter, describe or delete. It also accepts a regular expression, except for --create."),
    Option("topic-id", help="The topic-id to describe."),
    Option("config", help="A topic configuration override for the topic being created.", many=True),
    Option("partitions", "int", "The number of partitions for the topic being created or altered."),
    Option("replication-factor", "int", "The replication factor for each partition in the topic being created."),
    Option("replica-assignment", help="A list of manual partition-to-broker assignments: 1:2:3,2:3:1"),
    Option("under-replicated-partitions", "flag", "If set when describing topics, only show under-replicated partitions."),
    Option("unavailable-partitions", "flag", "If set when describing topics, only show partitions whose leader is not available."),
    Option("under-min-isr-partitions", "flag", "If set when describing topics, only show partitions whose isr is below the minimum."),
    Option("at-min-isr-partitions", "flag", "If set when describing topics, only show partitions whose isr equals the minimum."),
    Option("topics-with-overrides", "flag", "If set when describing topics, only show topics that have overridden configs."),
    Option("if-exists", "flag", "If set when altering or deleting or describing topics, the action will only execute if the topic exists."),
    Option("if-not-exists", "flag", "If set when creating topics, the action will only execute if the topic does not already exist."),
    Option("exclude-internal", "flag", "Exclude internal topics when running list or describe command."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip
ACTIONS = ("list", "create", "alter", "describe", "delete")
NO_TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"
CONFIG_EXCEPTION = "org.apache.kafka.common.config.ConfigException"
ILLEGAL_ARGUMENT = "java.lang.IllegalArgumentException"
FILTERS = ("under-replicated-partitions", "unavailable-partitions", "under-min-isr-partitions", "at-min-isr-partitions")


def run(lab: Lab, words: list[str]) -> Job:
    options = parse_options(words, OPTIONS)
    if options.has("help"):
        return Job(["This tool helps to create, delete, describe, or change a topic.", *usage(OPTIONS)], 1)
    chosen = [action for action in ACTIONS if options.has(action)]
    if len(chosen) != 1:
        raise UsageError(
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete", *usage(OPTIONS)
        )
    action = chosen[0]
    _check(options, action)
    try:
        check_values(options, OPTIONS)
    except OptionError as wrong:
        raise UsageError(*_thrown(lab, wrong.thrown.partition(":")[0], wrong.text)) from None
    if action in ("create", "alter", "delete"):
        return {"create": _create, "alter": _alter, "delete": _delete}[action](lab, options)
    call, render = ("listTopics", _list) if action == "list" else ("describeTopics", _describe)
    return ReadJob(call, lambda now: render(now, options), _failed)


FITTING = (
    ("config", ("create",)),
    ("partitions", ("alter", "create")),
    ("replication-factor", ("create",)),
    ("replica-assignment", ("alter", "create")),
    *((name, ("describe",)) for name in (*FILTERS, "topics-with-overrides")),
    ("if-exists", ("alter", "delete", "describe")),
    ("if-not-exists", ("create",)),
    ("exclude-internal", ("list", "describe")),
)
"""Which actions an option goes with, in the order in which ``TopicCommand`` looks."""


def _check(options: Options, action: str) -> None:
    if action == "describe" and options.has("if-exists") and not options.has("topic") and not options.has("topic-id"):
        raise UsageError("--topic or --topic-id is required to describe a topic", *usage(OPTIONS))
    if action not in ("list", "describe"):
        require(options, OPTIONS, "topic")
    if action == "alter":
        if options.has("config"):
            raise UsageError(
                'Option combination "[[config], [bootstrap-server]]" can\'t be used with option "[alter]" (To alter topic configurations, '
                "the kafka-configs tool can be used.)",
                *usage(OPTIONS),
            )
        require(options, OPTIONS, "partitions")
    for name, actions in FITTING:
        if action not in actions:
            forbid(options, OPTIONS, name, action)
        if name == "replica-assignment" and action == "create":
            forbid(options, OPTIONS, name, "partitions", "replication-factor")
        if name in FILTERS:
            forbid(options, OPTIONS, name, "topics-with-overrides")


def _failed(lab: Lab, error: str, message: str) -> list[str]:
    """What TopicCommand prints for an exception from the admin client."""
    return _thrown(lab, exception(error), message or default_message(error))


def _thrown(lab: Lab, java_class: str, text: str) -> list[str]:
    """Any other exception. Kafka's tool prints the stack under it, which is left out here."""
    return [
        f"Error while executing topic command : {text}",
        f"{log_time(lab)} ERROR {java_class}: {text}",
        " (org.apache.kafka.tools.TopicCommand)",
    ]


def _missing(lab: Lab, topic: str) -> list[str]:
    return _thrown(lab, ILLEGAL_ARGUMENT, f"Topic '{topic}' does not exist as expected")


# -- create, alter, delete ------------------------------------------------------------------------------------------------


def _create(lab: Lab, options: Options) -> Job:
    topic = options.text("topic")
    before = []
    if "." in topic or "_" in topic:
        before.append(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. "
            "To avoid issues it is best to use either, but not both."
        )

    def refuse(java_class: str, text: str) -> Job:
        return Job([*before, *_thrown(lab, java_class, text)], 1)

    if options.has("partitions") and options.number("partitions") < 1:
        return refuse(ILLEGAL_ARGUMENT, "The partitions must be greater than 0")
    if options.has("replication-factor") and not 1 <= options.number("replication-factor") <= 32767:
        return refuse(ILLEGAL_ARGUMENT, "The replication factor must be between 1 and 32767 inclusive")
    try:
        configs = _configs(options)
        assignments = _assignments(options.text("replica-assignment"))
    except UsageError as wrong:
        return refuse(wrong.lines[0], wrong.lines[1])
    if wrong_name(topic):
        return refuse(exception("INVALID_TOPIC_EXCEPTION"), wrong_name(topic))
    command = c.CreateTopic(
        topic,
        options.number("partitions"),
        options.number("replication-factor"),
        configs,
        assignments,
    )

    def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
        error, message = outcome(answer)
        if error == "NONE":
            return [f"Created topic {topic}."], 0
        if error == "TOPIC_ALREADY_EXISTS" and options.has("if-not-exists"):
            return [], 0
        return _failed(now, error, message), 1

    return AdminJob(command, render, call="createTopics", before=before)


def wrong_name(topic: str) -> str:
    """What the controller would answer to a name that a command cannot even carry."""
    if not topic:
        return "The given topic name '' cannot be represented in a request."
    if len(topic) > limits.MAX_TOPIC_NAME:
        return f"Topic name is invalid: the length of '{topic}' is longer than the max allowed length {limits.MAX_TOPIC_NAME}"
    if not re.fullmatch(r"[a-zA-Z0-9._-]+", topic):
        why = "contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        return f"Topic name is invalid: '{topic}' {why}"
    return ""


def _configs(options: Options) -> dict[str, str]:
    """The tool looks at the settings itself (``LogConfig.validate``). Raises UsageError(class, text)."""
    found: dict[str, str] = {}
    for item in options.all("config"):
        pieces = re.split(r"\s*=\s*", item)
        if len(pieces) != 2 or not pieces[1]:
            text = 'requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".'
            raise UsageError(ILLEGAL_ARGUMENT, text)
        found[pieces[0].strip()] = pieces[1].strip()
    try:
        validate_all("topic", found)
    except InvalidConfigError as invalid:
        own = invalid.message.startswith("Invalid value")
        raise UsageError(CONFIG_EXCEPTION if own else exception("INVALID_CONFIG"), invalid.message) from None
    return found


def _assignments(text: str) -> list[list[int]]:
    """``1:2:3,2:3:1``. Raises UsageError(class, text)."""
    found: list[list[int]] = []
    for number, part in enumerate(text.rstrip(",").split(",") if text else ()):
        replicas = []
        for broker in part.rstrip(":").split(":"):
            if not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", broker):
                raise UsageError("java.lang.NumberFormatException", f'For input string: "{broker.strip()[:80]}"')
            replicas.append(int(broker))
        twice = ", ".join(str(broker) for broker in dict.fromkeys(replicas) if replicas.count(broker) > 1)
        if twice:
            text = f"Partition replica lists may not contain duplicate entries: {twice}"
            raise UsageError("org.apache.kafka.tools.AdminCommandFailedException", text)
        if found and len(replicas) != len(found[0]):
            text = f"Partition {number} has different replication factor: {replicas}"
            raise UsageError("org.apache.kafka.tools.AdminOperationException", text)
        found.append(replicas)
    return found


def outcome(answer: AdminAnswered) -> tuple[str, str]:
    """(error, message) of an answer for one resource."""
    if answer.error != "NONE":
        return answer.error, answer.message
    for _, error, message in answer.results:
        if error != "NONE":
            return error, message
    return "NONE", ""


def _named(lab: Lab, options: Options) -> tuple[list[str], Job | None]:
    """The topics that --topic, a regular expression, means; or the end of the tool where there is none."""
    wanted = options.text("topic")
    names = [topic.name for topic in _chosen(lab, options)]
    if names:
        return names, None
    return [], Job() if options.has("if-exists") else Job(_missing(lab, wanted), 1)


def _changed(lab: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
    error, message = outcome(answer)
    return ([], 0) if error == "NONE" else (_failed(lab, error, message), 1)


def _alter(lab: Lab, options: Options) -> Job:
    names, ended = _named(lab, options)
    if ended is not None:
        return ended
    if options.has("replica-assignment"):
        raise UsageError("--replica-assignment goes only with --create in this lab")
    count = options.number("partitions")
    present = len(lab.view().topics[names[0]].partitions)
    if not 1 <= count <= limits.MAX_PARTITIONS_PER_TOPIC:
        text = f"The topic {names[0]} currently has {present} partition(s); {count} would not be an increase."
        if count > 0:
            text = f"A topic of this lab has 1 to {limits.MAX_PARTITIONS_PER_TOPIC} partitions, not {count}."
        return Job(_failed(lab, "INVALID_PARTITIONS", text), 1)
    return AdminJob([c.AddPartitions(name, count) for name in names], _changed, call="createPartitions")


def _delete(lab: Lab, options: Options) -> Job:
    names, ended = _named(lab, options)
    if ended is not None:
        return ended
    return AdminJob([c.DeleteTopic(name) for name in names], _changed, call="deleteTopics")


# -- list, describe -------------------------------------------------------------------------------------------------------


def _list(lab: Lab, options: Options) -> list[str]:
    return [topic.name for topic in _chosen(lab, options)]


def _chosen(lab: Lab, options: Options) -> list[TopicView]:
    topics = [topic for _, topic in sorted(lab.view().topics.items())]
    if options.has("exclude-internal"):
        topics = [topic for topic in topics if not topic.internal]
    wanted = options.text("topic")
    if not wanted:
        return topics
    return [topic for topic in topics if matches(wanted, topic.name)]


def matches(pattern: str, name: str) -> bool:
    """Kafka's ``IncludeList``: a list of names or a regular expression; ``,`` means ``|``. Only ``.*``, ``.+``, ``.`` and ``|`` are
    special here, so that no pattern takes long."""
    for part in pattern.strip().strip("\"'").replace(" ", "").split(","):
        for choice in part.split("|"):
            wildcards = re.split(r"(\.\*|\.\+|\.)", choice)
            expression = "".join({".*": ".*", ".+": ".+", ".": "."}.get(piece, re.escape(piece)) for piece in wildcards)
            if choice.count(".*") + choice.count(".+") <= 4 and re.fullmatch(expression, name):
                return True
    return False


def _describe(lab: Lab, options: Options) -> list[str]:
    wanted = options.text("topic")
    topic_id = options.text("topic-id")
    if topic_id and topic_id != NO_TOPIC_ID:
        _check_id(lab, topic_id)
        found = {topic.name: topic for topic in lab.view().topics.values() if topic.topic_id == topic_id}
        if not found and not options.has("if-exists"):
            raise UsageError(*_thrown(lab, ILLEGAL_ARGUMENT, f"TopicId '{topic_id[:80]}' does not exist as expected"))
    else:
        found = {topic.name: topic for topic in _chosen(lab, options)}
        if wanted and not found and not options.has("if-exists"):
            raise UsageError(*_missing(lab, wanted))
    alive = {node.id for node in lab.view().nodes.values() if node.kind == "broker" and not node.fenced}
    filters = [name for name in FILTERS if options.has(name)]
    lines: list[str] = []
    for name in hash_order(found, len(found)):
        topic = found[name]
        configs = overrides(lab, name)
        if not filters and (configs or not options.has("topics-with-overrides")):
            lines.append(describe_topic(topic, configs))
        if options.has("topics-with-overrides"):
            continue
        minimum = int(configs.get("min.insync.replicas", "1"))
        for _, part in sorted(topic.partitions.items(), key=lambda item: int(item[0])):
            if not filters or any(_passes(name, part, minimum, alive) for name in filters):
                lines.append(describe_partition(part))
    return lines


def _check_id(lab: Lab, topic_id: str) -> None:
    """``Uuid.fromString``."""
    if len(topic_id) > 24:
        text = f"Input string with prefix `{topic_id[:24]}` is too long to be decoded as a base64 UUID"
        raise UsageError(*_thrown(lab, ILLEGAL_ARGUMENT, text))
    if len(topic_id.rstrip("=")) * 6 // 8 != 16:
        text = (
            f"Input string `{topic_id}` decoded as {len(topic_id.rstrip('=')) * 6 // 8} bytes, which is not equal to the expected 16 bytes "
            "of a base64-encoded UUID"
        )
        raise UsageError(*_thrown(lab, ILLEGAL_ARGUMENT, text))


def _passes(name: str, part: PartitionView, minimum: int, alive: set[int]) -> bool:
    if name == "under-replicated-partitions":
        return len(part.isr) < len(part.replicas) - len(part.adding)
    if name == "unavailable-partitions":
        return part.leader < 0 or part.leader not in alive
    if name == "under-min-isr-partitions":
        return len(part.isr) < minimum
    return len(part.isr) == minimum


def describe_topic(topic: TopicView, overridden: dict[str, str]) -> str:
    factor = max((len(part.replicas) for part in topic.partitions.values()), default=0)
    configs = ",".join(f"{name}={value}" for name, value in overridden.items())
    return (
        f"Topic: {topic.name}\tTopicId: {topic.topic_id}\tPartitionCount: {len(topic.partitions)}"
        f"\tReplicationFactor: {factor}\tConfigs: {configs}"
    )


def describe_partition(part: PartitionView) -> str:
    moving = ""
    if part.adding or part.removing:
        moving = f"\tAdding Replicas: {_ids(part.adding)}\tRemoving Replicas: {_ids(part.removing)}"
    return (
        f"\tTopic: {part.topic}\tPartition: {part.partition}\tLeader: {part.leader if part.leader >= 0 else 'none'}"
        f"\tReplicas: {_ids(part.replicas)}\tIsr: {_ids(part.isr)}{moving}"
        f"\tElr: {_ids(part.elr)}\tLastKnownElr: {_ids(part.last_known_elr)}"
    )


def _ids(brokers: list[int]) -> str:
    return ",".join(map(str, brokers))
