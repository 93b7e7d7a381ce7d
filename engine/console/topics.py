"""kafka-topics.sh (``org.apache.kafka.tools.TopicCommand``, Kafka 4.x)."""

from __future__ import annotations

import re

from engine import commands as c
from engine import limits
from engine.console.job import AdminJob, Job, ReadJob, default_message, exception, log_time
from engine.console.options import Option, Options, UsageError, forbid, parse_options, require, usage
from engine.events import AdminAnswered
from engine.lab import Lab
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
FILTERS = ("under-replicated-partitions", "unavailable-partitions", "under-min-isr-partitions", "at-min-isr-partitions")


def run(lab: Lab, words: list[str]) -> Job:
    options = parse_options(words, OPTIONS)
    if options.has("help"):
        return Job(["This tool helps to create, delete, describe, or change a topic.", *usage(OPTIONS)])
    chosen = [action for action in ACTIONS if options.has(action)]
    if len(chosen) != 1:
        raise UsageError(
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete", *usage(OPTIONS)
        )
    action = chosen[0]
    _check(options, action)
    if action in ("create", "alter", "delete"):
        return {"create": _create, "alter": _alter, "delete": _delete}[action](lab, options)
    call, render = ("listTopics", _list) if action == "list" else ("describeTopics", _describe)
    return ReadJob(call, lambda now: render(now, options), _failed)


def _check(options: Options, action: str) -> None:
    if not options.has("list") and not options.has("describe"):
        require(options, "topic")
    if options.has("alter"):
        require(options, "partitions")
    for option in ("config", "replication-factor"):
        if options.has(option) and action != "create":
            raise UsageError(f'Option "[{action}]" can\'t be used with option "[{option}]"')
    if options.has("partitions") and action not in ("create", "alter"):
        raise UsageError(f'Option "[{action}]" can\'t be used with option "[partitions]"')
    forbid(options, "replica-assignment", "partitions" if action == "create" else "delete", "replication-factor")
    if options.has("if-not-exists") and action != "create":
        raise UsageError(f'Option "[{action}]" can\'t be used with option "[if-not-exists]"')
    if options.has("if-exists") and action not in ("alter", "delete", "describe"):
        raise UsageError(f'Option "[{action}]" can\'t be used with option "[if-exists]"')
    given = [name for name in (*FILTERS, "topics-with-overrides") if options.has(name)]
    for name in given:
        if action != "describe":
            raise UsageError(f'Option "[{action}]" can\'t be used with option "[{name}]"')
    if len(given) > 1:
        raise UsageError(f'Option "[{given[0]}]" can\'t be used with option "[{given[1]}]"')


def _failed(lab: Lab, error: str, message: str) -> list[str]:
    """What TopicCommand prints for an exception from the admin client."""
    text = message or default_message(error)
    return [
        f"Error while executing topic command : {text}",
        f"{log_time(lab)} ERROR {exception(error)}: {text}",
        " (org.apache.kafka.tools.TopicCommand)",
    ]


def _missing(lab: Lab, topic: str) -> list[str]:
    text = f"Topic '{topic}' does not exist as expected"
    return [
        f"Error while executing topic command : {text}",
        f"{log_time(lab)} ERROR java.lang.IllegalArgumentException: {text}",
        " (org.apache.kafka.tools.TopicCommand)",
    ]


# -- create, alter, delete ------------------------------------------------------------------------------------------------


def _create(lab: Lab, options: Options) -> Job:
    topic = options.text("topic")
    before = []
    if "." in topic or "_" in topic:
        before.append(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. "
            "To avoid issues it is best to use either, but not both."
        )
    if options.has("partitions") and options.number("partitions") < 1:
        raise UsageError(*before, *_failed_plain("The partitions must be greater than 0"))
    if options.has("replication-factor") and not 1 <= options.number("replication-factor") <= 32767:
        raise UsageError(*before, *_failed_plain("The replication factor must be between 1 and 32767 inclusive"))
    if not re.fullmatch(r"[a-zA-Z0-9._-]+", topic):
        text = f"Topic name is invalid: '{topic[:80]}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        return Job([*before, *_failed(lab, "INVALID_TOPIC_EXCEPTION", text)], 1)
    command = c.CreateTopic(
        topic,
        options.number("partitions"),
        options.number("replication-factor"),
        _configs(options),
        _assignments(options.text("replica-assignment")),
    )

    def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
        error, message = outcome(answer)
        if error == "NONE":
            return [f"Created topic {topic}."], 0
        if error == "TOPIC_ALREADY_EXISTS" and options.has("if-not-exists"):
            return [], 0
        return _failed(now, error, message), 1

    return AdminJob(command, render, before=before)


def _configs(options: Options) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in options.all("config"):
        name, equals, value = item.partition("=")
        if not equals:
            raise UsageError(
                *_failed_plain('requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".')
            )
        found[name.strip()] = value.strip()
    return found


def _assignments(text: str) -> list[list[int]]:
    if not text:
        return []
    try:
        found = [[int(broker) for broker in part.split(":")] for part in text.split(",")]
    except ValueError:
        raise UsageError(*_failed_plain(f"Invalid replica assignment: {text[:80]}")) from None
    for number, replicas in enumerate(found):
        if len(set(replicas)) != len(replicas):
            raise UsageError(*_failed_plain(f"Partition replica lists may not contain duplicate entries: {replicas[0]}"))
        if len(replicas) != len(found[0]):
            raise UsageError(*_failed_plain(f"Partition {number} has different replication factor: {replicas}"))
    return found


def _failed_plain(text: str) -> list[str]:
    return [f"Error while executing topic command : {text}"]


def outcome(answer: AdminAnswered) -> tuple[str, str]:
    """(error, message) of an answer for one resource."""
    if answer.error != "NONE":
        return answer.error, answer.message
    for _, error, message in answer.results:
        if error != "NONE":
            return error, message
    return "NONE", ""


def _alter(lab: Lab, options: Options) -> Job:
    topic = options.text("topic")
    if topic not in lab.view().topics:
        if options.has("if-exists"):
            return Job()
        return Job(_missing(lab, topic), 1)
    count = options.number("partitions")
    if not 1 <= count <= limits.MAX_PARTITIONS_PER_TOPIC:
        return Job(
            _failed(
                lab,
                "INVALID_PARTITIONS",
                f"A topic of this lab has 1 to {limits.MAX_PARTITIONS_PER_TOPIC} partitions, not {count}.",
            ),
            1,
        )

    def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
        error, message = outcome(answer)
        return ([], 0) if error == "NONE" else (_failed(now, error, message), 1)

    return AdminJob(c.AddPartitions(topic, count), render)


def _delete(lab: Lab, options: Options) -> Job:
    topic = options.text("topic")
    if topic not in lab.view().topics:
        if options.has("if-exists"):
            return Job()
        return Job(_missing(lab, topic), 1)

    def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
        error, message = outcome(answer)
        return ([], 0) if error == "NONE" else (_failed(now, error, message), 1)

    return AdminJob(c.DeleteTopic(topic), render)


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
    topics = _chosen(lab, options)
    wanted = options.text("topic")
    if options.has("topic-id"):
        topics = [topic for topic in topics if topic.topic_id == options.text("topic-id")]
        if not topics and not options.has("if-exists"):
            raise UsageError(*_missing_id(lab, options.text("topic-id")))
    if wanted and not topics and not options.has("if-exists"):
        raise UsageError(*_missing(lab, wanted))
    alive = {node.id for node in lab.view().nodes.values() if node.kind == "broker" and not node.fenced}
    filters = [name for name in FILTERS if options.has(name)]
    lines: list[str] = []
    for topic in topics:
        if options.has("topics-with-overrides"):
            if topic.configs:
                lines.append(describe_topic(topic))
            continue
        partitions = [part for _, part in sorted(topic.partitions.items(), key=lambda item: int(item[0]))]
        if filters:
            partitions = [part for part in partitions if all(_passes(name, part, alive) for name in filters)]
        else:
            lines.append(describe_topic(topic))
        lines += [describe_partition(part) for part in partitions]
    return lines


def _missing_id(lab: Lab, topic_id: str) -> list[str]:
    text = f"TopicId '{topic_id[:80]}' does not exist as expected"
    return [f"Error while executing topic command : {text}", f"{log_time(lab)} ERROR java.lang.IllegalArgumentException: {text}",
            " (org.apache.kafka.tools.TopicCommand)"]  # fmt: skip


def _passes(name: str, part: PartitionView, alive: set[int]) -> bool:
    if name == "under-replicated-partitions":
        return len(part.isr) < len(part.replicas) - len(part.adding)
    if name == "unavailable-partitions":
        return part.leader < 0 or part.leader not in alive
    if name == "under-min-isr-partitions":
        return len(part.isr) < part.min_isr
    return len(part.isr) == part.min_isr


def describe_topic(topic: TopicView) -> str:
    factor = max((len(part.replicas) for part in topic.partitions.values()), default=0)
    configs = ",".join(f"{name}={value}" for name, value in sorted(topic.configs.items()))
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
