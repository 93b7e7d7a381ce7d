"""kafka-share-groups.sh (``org.apache.kafka.tools.consumer.group.ShareGroupCommand``, Kafka 4.x): list, describe, delete."""

from __future__ import annotations

from engine import commands as c
from engine.console.group_rows import partitions_of
from engine.console.groups import GroupsJob, meaning
from engine.console.job import AdminJob, Job, StagedJob, exception
from engine.console.options import Option, OptionError, Options, UsageError, check_values, parse_options, usage
from engine.console.synonyms import hash_order
from engine.events import AdminAnswered
from engine.lab import Lab
from engine.spec import broker_name
from engine.view.tree import GroupView, SharePartitionView

NAME = "kafka-share-groups.sh"
OPTIONS = (
    Option("bootstrap-server", help="The server(s) to connect to."),
    Option("command-config", help="Property file containing configs to be passed to Admin Client."),
    Option("list", "flag", "List all share groups."),
    Option("describe", "flag", "Describe share group, members and offset information."),
    Option("delete", "flag", "Delete share group."),
    Option("reset-offsets", "flag", "Reset offsets of share group."),
    Option("delete-offsets", "flag", "Delete offsets of share group."),
    Option("group", help="The share group we wish to act on.", many=True),
    Option("all-groups", "flag", "Apply to all share groups."),
    Option("topic", help="The topic(s) whose share group offset information should be deleted or included.", many=True),
    Option("timeout", "long", "The timeout that can be set for some use cases, in ms (30000)."),
    Option("members", "flag", "Describe members of the group."),
    Option("offsets", "flag", "Describe the group and list all topic partitions in the group along with their offset information."),
    Option("state", "optional", "With --describe the state of the group; with --list all states, or those given: --state stable,empty."),
    Option("verbose", "flag", "Provide additional information, if any, when describing the group."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip
ACTIONS = ("list", "describe", "delete", "reset-offsets", "delete-offsets")
STATES = ("Stable", "Dead", "Empty")
PORT = 9092


def run(lab: Lab, words: list[str]) -> Job:
    try:
        options = parse_options(words, OPTIONS)
        check_values(options, OPTIONS)
    except OptionError as wrong:
        raise UsageError(wrong.text, *usage(OPTIONS)) from None
    if options.has("help"):
        return Job(["This tool helps to list, describe, reset and delete share groups.", *usage(OPTIONS)])
    if sum(options.has(action) for action in ACTIONS) != 1:
        raise _usage("Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets.")
    if (options.has("describe") or options.has("delete")) and not options.has("group") and not options.has("all-groups"):
        raise _usage(
            f"Option [{'describe' if options.has('describe') else 'delete'}] takes one of these options: [group], [all-groups]"
        )
    if sum(options.has(name) for name in ("members", "offsets", "state")) > 1:
        raise _usage("Option [describe] takes at most one of these options: [members], [offsets], [state]")
    if options.has("reset-offsets") or options.has("delete-offsets"):
        raise UsageError(
            "The share coordinators of this lab take no offsets from outside: a group begins where share.auto.offset.reset says"
        )
    if options.has("list"):
        states = _states(options.text("state"))
        return GroupsJob(lab, options, None, lambda now: _list(now, options, states))
    if options.has("delete"):
        return _DeleteJob(lab, options)
    return GroupsJob(lab, options, None if options.has("all-groups") else options.all("group"), lambda now: _describe(now, options))


def _usage(text: str) -> UsageError:
    return UsageError(text, *usage(OPTIONS))


def _share_groups(lab: Lab) -> dict[str, GroupView]:
    return {name: group for name, group in lab.view().groups.items() if group.type == "share"}


def _states(text: str) -> list[str]:
    known = {name.lower(): name for name in STATES}
    wanted = [name.strip().lower() for name in text.split(",")] if text else []
    if not all(name in known for name in wanted):
        raise UsageError(f"Invalid state list '{text[:80]}'. Valid states are: {', '.join(STATES)}")
    return [known[name] for name in wanted]


def _list(lab: Lab, options: Options, states: list[str]) -> list[str]:
    groups = _share_groups(lab)
    found = [groups[name] for name in hash_order(groups, 16)]
    if not options.has("state"):
        return [group.id for group in found]
    found = [group for group in found if not states or group.state in states]
    width = max([15, *[len(group.id) for group in found]])
    return [f"{'GROUP':<{width}} STATE", *[f"{group.id:<{width}} {group.state}" for group in found]]


# -- describe -----------------------------------------------------------------------------------------------------------------


def _describe(lab: Lab, options: Options) -> list[str]:
    groups = _share_groups(lab)
    names = list(groups) if options.has("all-groups") else list(dict.fromkeys(options.all("group")))
    lines: list[str] = []
    for name in sorted(names):
        group = groups.get(name)
        if group is None:
            text = f"{exception('GROUP_ID_NOT_FOUND')}: Group {name[:120]} not found."
            raise UsageError(
                "", f"Error: Executing share group command failed due to {text}", f"java.util.concurrent.ExecutionException: {text}"
            )
        verbose = options.has("verbose")
        if options.has("members"):
            lines += _members(group, verbose=verbose)
        elif options.has("state"):
            lines += _state(group, verbose=verbose)
        else:
            lines += _offsets(lab, group, verbose=verbose)
    return lines


def _empty(group: GroupView) -> list[str]:
    return ["", f"Share group '{group.id}' has no active members."] if group.state == "Empty" else []


def _table(rows: list[list[str]], widths: list[int]) -> list[str]:
    return ["", *[" ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]]


def _offsets(lab: Lab, group: GroupView, *, verbose: bool) -> list[str]:
    parts = sorted(group.share_partitions, key=lambda part: (part.topic, part.partition))
    if not parts:
        return ["", f"Share group '{group.id}' has no offset information."]
    rows = [["GROUP", "TOPIC", "PARTITION", *(["LEADER-EPOCH"] if verbose else []), "START-OFFSET", "LAG"]]
    topics = lab.view().topics
    for part in parts:
        known = part.start_offset >= 0
        epoch = topics[part.topic].partitions[str(part.partition)].leader_epoch if part.topic in topics else -1
        more = [str(epoch) if epoch >= 0 else "-"] if verbose else []
        rows.append(
            [
                group.id,
                part.topic,
                str(part.partition),
                *more,
                str(part.start_offset) if known else "-",
                str(_lag(part)) if known else "-",
            ]
        )
    widths = [max(15, len(group.id)), max(15, *[len(part.topic) for part in parts]), 10, *([13] if verbose else []), 13, 0]
    return _table(rows, widths)


def _lag(part: SharePartitionView) -> int:
    """KIP-1226: what is not settled, up to the high watermark."""
    settled = sum(run.last_offset - run.first_offset + 1 for run in part.runs if run.state in ("acknowledged", "archived"))
    return max(part.high_watermark - part.start_offset - settled, 0)


def _state(group: GroupView, *, verbose: bool) -> list[str]:
    coordinator = f"{broker_name(group.coordinator)}:{PORT}  ({group.coordinator})"
    heading = ["GROUP", "COORDINATOR (ID)", "STATE", *(["GROUP-EPOCH", "ASSIGNMENT-EPOCH"] if verbose else []), "#MEMBERS"]
    epochs = [str(group.epoch), str(group.assignment_epoch)] if verbose else []
    row = [group.id, coordinator, group.state, *epochs, str(len(group.members))]
    widths = [max(15, len(group.id)), max(25, len(coordinator)), 15, *([12, 17] if verbose else []), 0]
    return [*_empty(group), *_table([heading, row], widths)]


def _members(group: GroupView, *, verbose: bool) -> list[str]:
    if not group.members:
        return _empty(group)
    members = sorted(group.members, key=lambda member: member.member_id)
    rows = [["GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS", *(["MEMBER-EPOCH"] if verbose else []), "ASSIGNMENT"]]
    for member in members:
        by_topic: dict[str, list[int]] = {}
        for topic, number in partitions_of(member.partitions):
            by_topic.setdefault(topic, []).append(number)
        assignment = ";".join(sorted(f"{topic}:{','.join(map(str, sorted(numbers)))}" for topic, numbers in by_topic.items()))
        epoch = [str(member.epoch)] if verbose else []
        count = str(len(member.partitions))
        rows.append([group.id, member.member_id, f"/{member.consumer}", member.client_id, count, *epoch, assignment])
    widths = [max([15, *[len(row[column]) for row in rows]]) for column in range(4)]
    return [*_empty(group), *_table(rows, [*widths, 12, *([13] if verbose else []), 0])]


# -- delete -------------------------------------------------------------------------------------------------------------------


class _DeleteJob(StagedJob):
    """Looks first which of them are share groups without members, and asks only for those."""

    def __init__(self, lab: Lab, options: Options) -> None:
        super().__init__()
        self.options = options
        self.looking = GroupsJob(lab, options, None, self._look)

    def work(self, lab: Lab) -> None:
        self.looking.work(lab)
        self.say(*self.looking.poll(lab))
        if self.looking.done and self.following is None:
            self.finish(self.looking.exit_status)

    def _look(self, lab: Lab) -> list[str]:
        groups = _share_groups(lab)
        names = list(groups) if self.options.has("all-groups") else list(dict.fromkeys(self.options.all("group")))
        errors = {name: _refusal(name, groups.get(name)) for name in names}
        chosen = [name for name in names if not errors[name]]
        if not chosen:
            self.follow(Job(_told(errors)))
            return []
        commands: list[c.Command] = [c.DeleteGroup(name) for name in chosen]
        left = list(chosen)

        def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
            error = answer.results[0][1] if answer.results else answer.error
            errors[left.pop(0)] = "" if error == "NONE" else meaning(error)
            return ([] if left else _told(errors)), 0

        self.follow(AdminJob(commands, render, call="deleteShareGroups"))
        return []


def _refusal(name: str, group: GroupView | None) -> str:
    if group is None:
        return f"{exception('GROUP_ID_NOT_FOUND')}: Group '{name}' is not a share group."
    return "" if group.state == "Empty" else f"{exception('NON_EMPTY_GROUP')}: Share group '{name}' is not EMPTY."


def _told(errors: dict[str, str]) -> list[str]:
    done = ", ".join(f"'{name}'" for name, error in errors.items() if not error)
    wrong = [f"* Group '{name}' could not be deleted due to: {error}" for name, error in errors.items() if error]
    if not wrong:
        return [f"Deletion of requested share groups ({done}) was successful."]
    return ["", "Error: Deletion of some share groups failed:", *wrong,
            *(["", f"These share groups were deleted successfully: {done}"] if done else [])]  # fmt: skip
