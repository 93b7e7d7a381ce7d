"""kafka-reassign-partitions.sh (``org.apache.kafka.tools.reassign.ReassignPartitionsCommand``, Kafka 4.x)."""

from __future__ import annotations

import re
from collections.abc import Callable

from engine import commands as c
from engine.console.files import Files
from engine.console.job import AdminJob, Job, ReadJob, StagedJob, default_message, exception
from engine.console.options import Option, OptionError, Options, UsageError, check_values, parse_options, require, usage
from engine.console.replica_plans import (
    Assignment,
    as_json,
    check_assignment,
    current_assignment,
    propose,
    read_assignment,
    read_topics,
    wrong,
)
from engine.console.topics import outcome
from engine.events import AdminAnswered
from engine.lab import Lab
from engine.messages.base import TopicPartition
from engine.metadata.image import PartitionImage
from engine.view.build import committed_image

NAME = "kafka-reassign-partitions.sh"
OPTIONS = (
    Option("bootstrap-server", help="the server(s) to use for bootstrapping."),
    Option("bootstrap-controller", help="The controller to use for reassignment."),
    Option("command-config", help="Property file containing configs to be passed to Admin Client."),
    Option("generate", "flag", "Generate a candidate partition reassignment configuration. It is not executed."),
    Option("execute", "flag", "Kick off the reassignment as specified by the --reassignment-json-file option."),
    Option("verify", "flag", "Verify if the reassignment completed; a throttle that is no longer needed is removed."),
    Option("cancel", "flag", "Cancel an active reassignment."),
    Option("list", "flag", "List all active partition reassignments."),
    Option("reassignment-json-file", help='{"partitions": [{"topic": "foo", "partition": 1, "replicas": [1,2,3]}], "version": 1}'),
    Option("topics-to-move-json-file", help='{"topics": [{"topic": "foo"}, {"topic": "foo1"}], "version": 1}'),
    Option("broker-list", help='The list of brokers to which the partitions need to be reassigned in the form "0,1,2".'),
    Option("disable-rack-aware", "flag", "Disable rack aware replica assignment."),
    Option("throttle", "long", "The movement of partitions between brokers will be throttled to this value (bytes/sec)."),
    Option("timeout", "long", "The maximum time in ms to wait for log directory replica assignment to begin."),
    Option("additional", "flag", "Execute this reassignment in addition to any other ongoing ones."),
    Option("preserve-throttles", "flag", "Do not modify broker or topic throttles."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip
ACTIONS = ("generate", "execute", "verify", "cancel", "list")
ALWAYS = ("bootstrap-server", "command-config")
REQUIRED = {"verify": ("reassignment-json-file",), "generate": ("topics-to-move-json-file", "broker-list"), "list": (),
            "execute": ("reassignment-json-file",), "cancel": ("reassignment-json-file",)}  # fmt: skip
PERMITTED = {"verify": ("preserve-throttles",), "generate": ("disable-rack-aware",), "execute": ("additional", "throttle", "timeout"),
             "cancel": ("bootstrap-controller", "preserve-throttles", "timeout"), "list": ("bootstrap-controller",)}  # fmt: skip
BROKER_THROTTLES = ["leader.replication.throttled.rate", "follower.replication.throttled.rate"]
TOPIC_THROTTLES = ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"]
EXISTING = (
    "Cannot execute because there is an existing partition assignment.  Use --additional to override this and create a new partition "
    "assignment in addition to the existing one. The --additional flag can also be used to change the throttle by resubmitting the "
    "current reassignment."
)
VERIFY = "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed."
HELP = "This tool helps to move topic partitions between replicas."
NO_LOG_DIRS = "None of the specified partition moves are active."


def run(lab: Lab, words: list[str], files: Files) -> Job:
    try:
        options = parse_options(words, OPTIONS)
        check_values(options, OPTIONS)
    except OptionError as mistake:
        raise UsageError(*mistake.lines) from None
    if options.has("help"):
        return Job([HELP, *usage(OPTIONS)], 1)
    action = _check(options)
    if action == "list":
        return ReadJob("listPartitionReassignments", _list, _failed)
    if action == "generate":
        topics = read_topics(files.read(options.text("topics-to-move-json-file")))
        brokers = _brokers(options.text("broker-list"))
        racks = not options.has("disable-rack-aware")
        return ReadJob("describeTopics", lambda now: _generate(now, topics, brokers, racks=racks), _failed)
    items = read_assignment(files.read(options.text("reassignment-json-file")))
    if action == "execute":
        return _Then(lambda now: _execute(now, options, check_assignment(items)))
    targets = dict(items)
    keep = options.has("preserve-throttles")
    if action == "verify":
        return _Then(lambda now: _verify(now, targets, keep=keep))
    return _Then(lambda now: _cancel(now, targets, keep=keep))


def _check(options: Options) -> str:
    chosen = [action for action in ACTIONS if options.has(action)]
    if len(chosen) != 1:
        raise UsageError(f"Command must include exactly one action: {', '.join('--' + each for each in ACTIONS)}", *usage(OPTIONS))
    action = chosen[0]
    require(options, OPTIONS, *REQUIRED[action])
    for name in options.values:
        if name not in (action, *ALWAYS, *REQUIRED[action], *PERMITTED[action]):
            raise UsageError(f'Option "[{name}]" can\'t be used with action "[{action}]"', *usage(OPTIONS))
    return action


def _brokers(text: str) -> list[int]:
    if not re.fullmatch(r"[0-9]{1,5}(,[0-9]{1,5})*", text):
        raise wrong(f'For input string: "{text[:60]}"', "java.lang.NumberFormatException")
    found = [int(number) for number in text.split(",")]
    twice = dict.fromkeys([str(one) for one in found if found.count(one) > 1])
    if twice:
        raise wrong(f"Broker list contains duplicate entries: [{', '.join(twice)}]")
    return found


def _failed(lab: Lab, error: str, message: str) -> list[str]:
    return [f"Error: {exception(error)}: {message}", f"java.util.concurrent.ExecutionException: {exception(error)}: {message}"]


class _Then(StagedJob):
    """Waits for a broker that says how things stand, then does what ``plan`` says."""

    def __init__(self, plan: Callable[[Lab], Job]) -> None:
        super().__init__()
        self.plan = plan
        self.looking = ReadJob("listPartitionReassignments", self._look, _failed)

    def _look(self, lab: Lab) -> list[str]:
        self.follow(self.plan(lab))
        return []

    def work(self, lab: Lab) -> None:
        self.looking.work(lab)
        self.say(*self.looking.poll(lab))
        if self.looking.done and self.following is None:
            self.finish(self.looking.exit_status)


# -- list, generate, verify -----------------------------------------------------------------------------------------------


def _moving(lab: Lab) -> dict[TopicPartition, PartitionImage]:
    return {
        TopicPartition(name, number): part
        for name, topic in committed_image(lab.kernel).topics.items()
        for number, part in topic.partitions.items()
        if part.adding or part.removing
    }


def _ids(brokers: tuple[int, ...] | list[int]) -> str:
    return ",".join(map(str, brokers))


def _list(lab: Lab) -> list[str]:
    found = _moving(lab)
    if not found:
        return ["No partition reassignments found."]
    lines = ["Current partition reassignments:"]
    for tp in sorted(found):
        part = found[tp]
        adding = f" adding: {_ids(part.adding)}." if part.adding else ""
        removing = f" removing: {_ids(part.removing)}." if part.removing else ""
        lines.append(f"{tp}: replicas: {_ids(part.replicas)}.{adding}{removing}")
    return lines


def _generate(lab: Lab, topics: list[str], brokers: list[int], *, racks: bool) -> list[str]:
    current, proposed = propose(lab, topics, brokers, racks=racks)
    return ["Current partition replica assignment", as_json(current), "",
            "Proposed partition reassignment configuration", as_json(proposed)]  # fmt: skip


def _verify(lab: Lab, targets: Assignment, *, keep: bool) -> Job:
    moving = _moving(lab)
    topics = committed_image(lab.kernel).topics
    lines = ["Status of partition reassignment:"]
    for tp in sorted(targets):
        topic = topics.get(tp.topic)
        part = topic.partitions.get(tp.partition) if topic is not None else None
        replicas = list(part.replicas) if part is not None else []
        if tp in moving:
            lines.append(f"Reassignment of partition {tp} is still in progress.")
        elif replicas == targets[tp]:
            lines.append(f"Reassignment of partition {tp} is completed.")
        else:
            lines.append(
                f"There is no active reassignment of partition {tp}, but replica set is {_ids(replicas)} rather than {_ids(targets[tp])}."
            )
    lines.append("")
    if moving or keep:
        return Job(lines)
    cleared, commands = _clear(lab, targets)
    return _alter(commands, [*lines, *cleared])


def _clear(lab: Lab, targets: Assignment) -> tuple[list[str], list[c.Command]]:
    """What is told, and what is asked: only what is set needs removing."""
    image = committed_image(lab.kernel)
    running = [number for number, broker in image.brokers.items() if not broker.fenced]
    brokers = sorted({*running, *[broker for replicas in targets.values() for broker in replicas]})
    topics = list(dict.fromkeys(tp.topic for tp in targets))
    lines = [
        f"Clearing broker-level throttles on broker{'' if len(brokers) == 1 else 's'} {_ids(brokers)}",
        f"Clearing topic-level throttles on topic{'' if len(topics) == 1 else 's'} {','.join(topics)}",
    ]
    commands: list[c.Command] = []
    places = [("broker", str(broker), BROKER_THROTTLES) for broker in brokers] + [
        ("topic", topic, TOPIC_THROTTLES) for topic in topics
    ]
    for kind, name, throttles in places:
        present = [each for each in throttles if each in image.configs.get(f"{kind}:{name}", {})]
        if present:
            commands.append(c.AlterConfig(kind, name, {}, present))
    return lines, commands


def _alter(commands: list[c.Command], lines: list[str]) -> Job:
    """Changes settings, then prints; a failure is told instead."""
    if not commands:
        return Job(lines)
    left = [len(commands)]

    def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
        error, message = outcome(answer)
        left[0] -= 1
        if error != "NONE":
            return _failed(now, error, message or default_message(error)), 1
        return ([] if left[0] else lines), 0

    return AdminJob(commands, render, call="incrementalAlterConfigs")


# -- execute, cancel ------------------------------------------------------------------------------------------------------


def _execute(lab: Lab, options: Options, proposed: Assignment) -> Job:
    if _moving(lab) and not options.has("additional"):
        raise UsageError(EXISTING)
    registered = committed_image(lab.kernel).brokers
    unknown = next(
        (one for replicas in proposed.values() for one in replicas if one not in registered or registered[one].fenced), None
    )
    if unknown is not None:
        raise wrong(f"Unknown broker id {unknown}")
    current = current_assignment(lab, list(proposed))
    lines = ["Current partition replica assignment", "", as_json(current), "",
             "Save this to use as the --reassignment-json-file option during rollback"]  # fmt: skip
    commands: list[c.Command] = []
    if options.has("throttle") and options.number("throttle") >= 0:
        rate = options.number("throttle")
        commands += _throttle(lab, proposed, current, rate)
        lines += [VERIFY, f"The inter-broker throttle limit was set to {rate} B/s"]
    moves = len(commands)
    commands += [c.ReassignPartition(tp.topic, tp.partition, proposed[tp]) for tp in sorted(proposed)]
    named = ",".join(str(tp) for tp in sorted(proposed))
    started = f"Successfully started partition reassignment{'' if len(proposed) == 1 else 's'} for {named}"
    return _moves(commands, moves, lines, "Error reassigning partition(s):", started)


def _throttle(lab: Lab, proposed: Assignment, current: Assignment, rate: int) -> list[c.Command]:
    """``calculateProposedMoveMap``: the sources are throttled as leaders, what is new as followers, at every broker involved."""
    leaders: dict[str, list[str]] = {}
    followers: dict[str, list[str]] = {}
    brokers: list[int] = []
    moving = {tp: [one for one in part.replicas if one not in part.adding] for tp, part in _moving(lab).items()}
    for tp, replicas in {**{tp: list(part.replicas) for tp, part in _moving(lab).items()}, **proposed}.items():
        sources = moving.get(tp) or current.get(tp, [])
        fresh = [one for one in replicas if one not in sources]
        leaders.setdefault(tp.topic, []).extend(f"{tp.partition}:{one}" for one in sources)
        followers.setdefault(tp.topic, []).extend(f"{tp.partition}:{one}" for one in fresh)
        brokers += [*sources, *fresh]
    commands: list[c.Command] = []
    for topic, sides in leaders.items():
        values = {TOPIC_THROTTLES[0]: ",".join(sorted(sides)), TOPIC_THROTTLES[1]: ",".join(sorted(followers[topic]))}
        commands.append(c.AlterConfig("topic", topic, values))
    rates = {name: str(rate) for name in BROKER_THROTTLES}
    return commands + [c.AlterConfig("broker", str(broker), rates) for broker in sorted(set(brokers))]


def _moves(
    commands: list[c.Command], first: int, before: list[str], trouble: str, done: str, after: list[str] | None = None
) -> Job:
    """Settings first (``first`` of them), then the moves, whose errors are told together."""
    seen = [0]
    errors: list[str] = []

    def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
        command = commands[seen[0]]
        seen[0] += 1
        error, message = outcome(answer)
        if error != "NONE" and not isinstance(command, c.ReassignPartition):
            if seen[0] <= first:
                return _failed(now, error, message or default_message(error)), 1
        elif error != "NONE" and isinstance(command, c.ReassignPartition):
            errors.append(f"{command.topic}-{command.partition}: {message or default_message(error)}")
        if seen[0] < len(commands):
            return [], 0
        return ([trouble, *errors], 1) if errors else ([done, *(after or [])], 0)

    return AdminJob(commands, render, call="alterPartitionReassignments", before=before)


def _cancel(lab: Lab, targets: Assignment, *, keep: bool) -> Job:
    moving = _moving(lab)
    current = sorted(tp for tp in targets if tp in moving)
    cleared, throttles = ([], []) if keep else _clear(lab, targets)
    # the tool ends this line only with the next
    rest = [NO_LOG_DIRS + cleared[0], *cleared[1:]] if cleared else [NO_LOG_DIRS]
    if not current:
        return _alter(throttles, ["None of the specified partition reassignments are active.", *rest])
    commands: list[c.Command] = [c.ReassignPartition(tp.topic, tp.partition, None) for tp in current]
    plural = "" if len(current) == 1 else "s"
    done = f"Successfully cancelled partition reassignment{plural} for: {','.join(map(str, current))}"
    return _moves([*commands, *throttles], 0, [], f"Error cancelling partition reassignment{plural} for:", done, rest)
