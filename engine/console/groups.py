"""kafka-consumer-groups.sh (``org.apache.kafka.tools.consumer.group.ConsumerGroupCommand``, Kafka 4.x): list and describe; what changes
groups lies in ``engine.console.group_offsets``.

What it prints is what the coordinator of each group knows. While a partition of ``__consumer_offsets`` has no leader, or that one still
loads, the admin client waits for it until ``--timeout`` is over.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.console.group_rows import members_table, offsets_table, states_table
from engine.console.job import Job, default_message, exception
from engine.console.options import Option, OptionError, Options, UsageError, check_values, forbid, usage
from engine.console.synonyms import hash_order
from engine.lab import Lab
from engine.messages.base import TopicPartition
from engine.metadata.internal_topics import CONSUMER_OFFSETS
from engine.spec import broker_name
from engine.view.build import committed_image
from engine.view.tree import GroupView

NAME = "kafka-consumer-groups.sh"
OPTIONS = (
    Option("bootstrap-server", help="The server(s) to connect to."),
    Option("command-config", help="Property file containing configs to be passed to Admin Client."),
    Option("list", "flag", "List all consumer groups."),
    Option("describe", "flag", "Describe consumer group and list offset lag (number of messages not yet processed)."),
    Option("delete", "flag", "Pass in groups to delete topic partition offsets and ownership information over the entire group."),
    Option("reset-offsets", "flag", "Reset offsets of consumer group. Supports one group at a time, and instances should be inactive."),
    Option("delete-offsets", "flag", "Delete offsets of consumer group. Supports one group at a time, and multiple topics."),
    Option("validate-regex", help="Validate the syntax of a regular expression as a subscription would use it."),
    Option("group", help="The consumer group we wish to act on.", many=True),
    Option("all-groups", "flag", "Apply to all consumer groups."),
    Option("topic", help="The topic(s): topic1, or topic1:0,1,2 for some of its partitions.", many=True),
    Option("all-topics", "flag", "Consider all topics assigned to a group in the reset-offsets process."),
    Option("timeout", "long", "The timeout that can be set for some use cases, in ms (5000)."),
    Option("members", "flag", "Describe members of the group."),
    Option("offsets", "flag", "Describe the group and list all topic partitions in the group along with their offset lag."),
    Option("state", "optional", "With --describe the state of the group; with --list all states, or those given: --state stable,empty."),
    Option("type", "optional", "With --list the types of all groups, or only those given: --type classic,consumer."),
    Option("verbose", "flag", "Provide additional information, if any, when describing the group."),
    Option("dry-run", "flag", "Only show results without executing changes on consumer group."),
    Option("execute", "flag", "Execute operation."),
    Option("export", "flag", "Export operation execution to a CSV file."),
    Option("to-offset", "long", "Reset offsets to a specific offset."),
    Option("to-earliest", "flag", "Reset offsets to earliest offset."),
    Option("to-latest", "flag", "Reset offsets to latest offset."),
    Option("to-current", "flag", "Reset offsets to current offset."),
    Option("to-datetime", help="Reset offsets to offset from datetime. Format: 'YYYY-MM-DDTHH:mm:SS.sss'."),
    Option("by-duration", help="Reset offsets to offset by duration from current timestamp. Format: 'PnDTnHnMnS'."),
    Option("shift-by", "long", "Reset offsets shifting current offset by 'n', where 'n' can be positive or negative."),
    Option("from-file", help="Reset offsets to values defined in CSV file."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip
ACTIONS = ("list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex")
SCENARIOS = ("to-offset", "shift-by", "to-datetime", "by-duration", "to-earliest", "to-latest", "to-current", "from-file")
DEFAULT_TIMEOUT_MS = 5_000
STATES = ("PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling")
WAITING = ("PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling")


def check(options: Options) -> None:
    """``ConsumerGroupCommandOptions.checkArgs`` and the count of actions."""
    if options.has("describe"):
        if not options.has("group") and not options.has("all-groups"):
            raise _usage("Option [describe] takes one of these options: [group], [all-groups]")
        if sum(options.has(name) for name in ("members", "offsets", "state")) > 1:
            raise _usage("Option [describe] takes at most one of these options: [members], [offsets], [state]")
        if options.text("state"):
            raise _usage("Option [describe] does not take a value for [state]")
    for name in ("members", "offsets", "verbose"):
        if options.has(name) and not options.has("describe"):
            raise _usage(f"Option(s) [{name}] are unavailable given other options on the command line")
    if options.has("state") and not options.has("describe") and not options.has("list"):
        raise _usage("Option(s) [state] are unavailable given other options on the command line")
    if options.has("delete"):
        if not options.has("group") and not options.has("all-groups"):
            raise _usage("Option [delete] takes one of these options: [group], [all-groups]")
        if options.has("topic"):
            raise _usage("The consumer does not support topic-specific offset deletion from a consumer group.")
    if options.has("delete-offsets") and not (options.has("group") and options.has("topic")):
        raise _usage("Option [delete-offsets] takes the following options: [topic], [group]")
    if options.has("reset-offsets"):
        if options.has("dry-run") and options.has("execute"):
            raise _usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]")
        if not options.has("group") and not options.has("all-groups"):
            raise _usage("Option [reset-offsets] takes one of these options: [group], [all-groups]")
        for name in SCENARIOS:
            forbid(options, OPTIONS, name, *[other for other in SCENARIOS if other != name])
    forbid(options, OPTIONS, "group", "all-groups", "list")
    forbid(options, OPTIONS, "topic", "list", "describe")
    if sum(options.has(action) for action in ACTIONS) != 1:
        raise _usage(f"Command must include exactly one action: {', '.join('--' + action for action in ACTIONS)}")


def _usage(text: str) -> UsageError:
    return UsageError(text, *usage(OPTIONS))


class GroupsJob(Job):
    """Waits for the coordinators of these groups (None: of all), then prints what ``render`` makes of what they know."""

    def __init__(self, lab: Lab, options: Options, groups: list[str] | None, render: Callable[[Lab], list[str]]) -> None:
        super().__init__()
        self.done = False
        self.groups = groups
        self.render = render
        self.end_us = lab.now_us + max(options.number("timeout", DEFAULT_TIMEOUT_MS), 0) * 1000

    def work(self, lab: Lab) -> None:
        if not _known(lab, self.groups):
            if lab.now_us >= self.end_us:
                call = "listGroups" if self.groups is None else "describeConsumerGroups"
                text = f"Timed out waiting for a node assignment. Call: {call}"
                self.say(*failed(exception("REQUEST_TIMED_OUT"), text))
                self.finish(0)
            return
        try:
            self.say(*self.render(lab))
            self.finish()
        except UsageError as wrong:
            self.say(*wrong.lines)
            self.finish(wrong.status)


def _known(lab: Lab, groups: list[str] | None) -> bool:
    """Whether everybody who is to be asked answers. Where no group has ever been, any broker says so."""
    from engine.broker.coordinators import partition_for

    running = [host for host in lab.kernel.hosts.values() if host.kind == "broker" and host.status in ("up", "stopping")]
    topic = committed_image(lab.kernel).topics.get(CONSUMER_OFFSETS)
    if topic is None or not topic.partitions:
        return bool(running)
    wanted = list(topic.partitions) if groups is None else [partition_for(group, len(topic.partitions)) for group in groups]
    return all(_loaded(lab, number, topic.partitions[number].leader) for number in wanted)


def _loaded(lab: Lab, number: int, leader: int) -> bool:
    from engine.broker.node import BrokerNode

    host = lab.kernel.hosts.get(broker_name(leader))
    node = host.node if host is not None and host.status in ("up", "stopping") else None
    replica = node.partitions.get(TopicPartition(CONSUMER_OFFSETS, number)) if isinstance(node, BrokerNode) else None
    return replica is not None and replica.role == "leader" and (replica.shard is None or not replica.shard.loading)


def failed(java_class: str, text: str) -> list[str]:
    """``printError`` with an exception: its stack is left out. The tool's exit status is 0 all the same."""
    return ["", f"Error: Executing consumer group command failed due to {java_class}: {text}",
            f"java.util.concurrent.ExecutionException: {java_class}: {text}"]  # fmt: skip


def group_named(lab: Lab, name: str) -> GroupView:
    """Raises UsageError where the coordinator does not know it (or it is a share group, which this tool does not see)."""
    found = lab.view().groups.get(name)
    if found is None or found.type == "share":
        raise UsageError(*failed(exception("GROUP_ID_NOT_FOUND"), f"Group {name[:120]} not found."), status=0)
    return found


def consumer_groups(lab: Lab) -> dict[str, GroupView]:
    return {name: group for name, group in lab.view().groups.items() if group.type != "share"}


# -- list -----------------------------------------------------------------------------------------------------------------


def list_groups(lab: Lab, options: Options) -> Job:
    states = _named(options.text("state"), "state", STATES)
    types = _named(options.text("type"), "types", ("Classic", "Consumer"))
    return GroupsJob(lab, options, None, lambda now: _list(now, options, states, types))


def _named(text: str, what: str, valid: tuple[str, ...]) -> list[str]:
    known = {name.lower(): name for name in valid}
    wanted = [name.strip().lower() for name in text.split(",")] if text else []
    if not all(name in known for name in wanted):
        raise _usage(f"Invalid {what} list '{text[:80]}'. Valid {what.rstrip('s')}s are: {', '.join(valid)}")
    return [known[name] for name in wanted]


def _list(lab: Lab, options: Options, states: list[str], types: list[str]) -> list[str]:
    groups = consumer_groups(lab)
    found = [groups[name] for name in hash_order(groups, 16)]
    found = [group for group in found if not states or group.state in states]
    found = [group for group in found if not types or group.type.capitalize() in types]
    if not options.has("state") and not options.has("type"):
        return [group.id for group in found]
    width = max([15, *[len(group.id) for group in found]]) + 10
    rows = [("GROUP", "TYPE", "STATE"), *[(group.id, group.type.capitalize(), group.state) for group in found]]
    lines = []
    for name, kind, state in rows:
        shown = [f"{name:<{width}}"]
        shown += [f"{kind:<20}"] if options.has("type") else []
        shown += [f"{state:<20}"] if options.has("state") else []
        lines.append(" ".join(shown))
    return lines


# -- describe -------------------------------------------------------------------------------------------------------------


def describe_groups(lab: Lab, options: Options) -> Job:
    names = None if options.has("all-groups") else options.all("group")
    return GroupsJob(lab, options, names, lambda now: _describe(now, options))


def _describe(lab: Lab, options: Options) -> list[str]:
    names = list(consumer_groups(lab)) if options.has("all-groups") else list(dict.fromkeys(options.all("group")))
    lines: list[str] = []
    for group in [group_named(lab, name) for name in sorted(names)]:
        verbose = options.has("verbose")
        if options.has("members"):
            lines += _heading(group, len(group.members))
            lines += ["", *members_table(group, verbose=verbose)]
        elif options.has("state"):
            lines += _heading(group, 1)
            lines += ["", *states_table(lab, group, verbose=verbose)]
        else:
            rows = offsets_table(lab, group, verbose=verbose)
            lines += _heading(group, len(rows) - 1)
            lines += ["", *rows] if len(rows) > 1 else []
    return lines


def _heading(group: GroupView, rows: int) -> list[str]:
    """``shouldPrintMemberState``."""
    if group.state == "Dead":
        return ["", f"Error: Consumer group '{group.id}' does not exist."]
    if group.state == "Empty":
        return ["", f"Consumer group '{group.id}' has no active members."]
    if group.state in WAITING:
        return ["", f"Warning: Consumer group '{group.id}' is rebalancing."]
    return []


def read_values(options: Options) -> None:
    """Raises UsageError for a number that is none."""
    try:
        check_values(options, OPTIONS)
    except OptionError as wrong:
        raise _usage(wrong.text) from None


def meaning(error: str) -> str:
    return f"{exception(error)}: {default_message(error)}"
