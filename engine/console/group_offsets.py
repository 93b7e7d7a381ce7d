"""kafka-consumer-groups.sh, what it changes: --reset-offsets with every scenario, --delete-offsets, --delete
(``ConsumerGroupCommand`` and ``GroupOffsetsResetter``, Kafka 4.x).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from engine import commands as c
from engine.console import groups
from engine.console.files import Files
from engine.console.group_rows import committed_offsets
from engine.console.groups import OPTIONS, SCENARIOS, GroupsJob, consumer_groups, failed
from engine.console.job import AdminJob, Job, StagedJob, default_message, exception
from engine.console.offsets import leader_replica, offset_for
from engine.console.options import OptionError, Options, UsageError, parse_options, usage
from engine.console.synonyms import hash_order, partition_order
from engine.events import AdminAnswered
from engine.lab import Lab
from engine.messages.base import TopicPartition
from engine.metadata.durations import duration_ms
from engine.view.build import committed_image

NAME = groups.NAME
EARLIEST, LATEST = -2, -1
Plan = dict[TopicPartition, int]
NO_ACTION = (
    "WARN: No action will be performed as the --execute option is missing. In version 5.0, this command will require either --dry-run "
    "or --execute to be specified. You should add the --dry-run option explicitly if you are scripting this command and want to keep "
    "the current default behavior without prompting."
)


def run(lab: Lab, words: list[str], files: Files) -> Job:
    try:
        options = parse_options(words, OPTIONS)
    except OptionError as wrong:
        raise UsageError(wrong.text, *usage(OPTIONS)) from None
    if options.has("help"):
        text = (
            "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset consumer "
            "group offsets."
        )
        return Job([text, *usage(OPTIONS)], 1)
    groups.check(options)
    groups.read_values(options)
    if options.has("list"):
        return groups.list_groups(lab, options)
    if options.has("describe"):
        return groups.describe_groups(lab, options)
    if options.has("validate-regex"):
        return Job([_validate(options.text("validate-regex"))])
    if options.has("delete"):
        return DeleteJob(lab, options)
    if options.has("delete-offsets"):
        return DeleteOffsetsJob(lab, options)
    content = files.read(options.text("from-file")) if options.has("from-file") else ""
    return ResetJob(lab, options, content)


def _validate(expression: str) -> str:
    try:
        re.compile(expression)
    except (re.error, RecursionError, OverflowError) as wrong:
        return f"The regular expression `{expression}` is invalid: {wrong}."
    return f"The regular expression `{expression}` is valid."


class _Waiting(StagedJob):
    """Waits for the coordinators as the reading actions do, then goes on with what ``plan`` returns."""

    def __init__(self, lab: Lab, options: Options, names: list[str] | None) -> None:
        super().__init__()
        self.options = options
        self.looking = GroupsJob(lab, options, names, self._look)

    def work(self, lab: Lab) -> None:
        self.looking.work(lab)
        self.say(*self.looking.poll(lab))
        if self.looking.done and self.following is None:
            self.finish(self.looking.exit_status)

    def _look(self, lab: Lab) -> list[str]:
        following = self.plan(lab)
        if following is not None:
            self.follow(following)
        return []

    def plan(self, lab: Lab) -> Job | None:
        """What is to be done now. Raises UsageError."""
        raise NotImplementedError

    def names(self, lab: Lab) -> list[str]:
        if self.options.has("all-groups"):
            return list(consumer_groups(lab))
        return list(dict.fromkeys(self.options.all("group")))


def _names(options: Options) -> list[str] | None:
    return None if options.has("all-groups") else options.all("group")


# -- reset ----------------------------------------------------------------------------------------------------------------


class ResetJob(_Waiting):
    """Shows the offsets as they will be; with --execute commits them first."""

    def __init__(self, lab: Lab, options: Options, content: str) -> None:
        super().__init__(lab, options, _names(options))
        self.content = content
        if not options.has("dry-run") and not options.has("execute"):
            self.say(NO_ACTION)

    def plan(self, lab: Lab) -> Job | None:
        plans: dict[str, Plan] = {}
        for name in hash_order(self.names(lab), 16):
            group = lab.view().groups.get(name)
            if group is not None and group.state not in ("Empty", "Dead"):
                text = f"Assignments can only be reset if the group '{name}' is inactive, but the current state is {group.state}."
                self.say("", f"Error: {text}")
                plans[name] = {}
            else:
                plans[name] = self._prepare(lab, name)
        lines = _export(plans, self.options) if self.options.has("export") else _table(plans)
        chosen = [(name, plan) for name, plan in plans.items() if plan]
        if not self.options.has("execute") or not chosen:
            return Job(lines)
        commands: list[c.Command] = [
            c.AlterGroupOffsets(name, [c.GroupOffset(*partition, offset) for partition, offset in plan.items()])
            for name, plan in chosen
        ]
        left = [len(commands)]

        def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
            wrong = next((error for _, error, _ in answer.results if error != "NONE"), answer.error)
            left[0] -= 1
            if wrong != "NONE":
                return failed(exception(wrong), f"Failed altering group offsets: {default_message(wrong)}"), 1
            return ([] if left[0] else lines), 0

        return AdminJob(commands, render, call="offsetCommit")

    def _prepare(self, lab: Lab, name: str) -> Plan:
        """``prepareOffsetsToReset``. Raises UsageError."""
        options = self.options
        scenario = next((each for each in SCENARIOS if options.has(each)), "")
        view = lab.view().groups.get(name)
        current = {tp: offset for tp, (offset, _) in committed_offsets(lab, view).items()} if view is not None else {}
        partitions = partition_order(self._scope(lab, current))
        _check_partitions(lab, partitions)
        if scenario == "to-offset":
            return self._in_range(lab, dict.fromkeys(partitions, options.number("to-offset")))
        if scenario in ("to-earliest", "to-latest"):
            return {tp: _offset(lab, tp, EARLIEST if scenario == "to-earliest" else LATEST) for tp in partitions}
        if scenario == "shift-by":
            missing = next((tp for tp in partitions if tp not in current), None)
            if missing is not None:
                raise _wrong(f"Cannot shift offset for partition {missing} since there is no current committed offset")
            return self._in_range(lab, {tp: current[tp] + options.number("shift-by") for tp in partitions})
        if scenario in ("to-datetime", "by-duration"):
            return self._by_time(lab, partitions, scenario)
        if scenario == "from-file":
            wanted = _read_plan(self.content, options.all("group")).get(name)
            if wanted is None:
                self.say("", f"Error: No reset plan for group {name} found.")
            return self._in_range(lab, wanted or {})
        if scenario == "to-current":
            return {tp: current[tp] if tp in current else _offset(lab, tp, LATEST) for tp in partitions}
        listed = ", ".join(f"[{each}]" for each in SCENARIOS)
        raise _wrong(f"Option '[reset-offsets]' requires one of the following scenarios: [{listed}]")

    def _scope(self, lab: Lab, current: Plan) -> list[TopicPartition]:
        if self.options.has("all-topics"):
            return list(current)
        if self.options.has("topic"):
            return _topic_partitions(lab, self.options.all("topic"))
        if not self.options.has("from-file"):
            raise _wrong("One of the reset scopes should be defined: --all-topics, --topic.")
        return []

    def _in_range(self, lab: Lab, wanted: Plan) -> Plan:
        """What lies outside of the log is set to its end or its start, with a warning."""
        _check_partitions(lab, wanted)
        found: Plan = {}
        for tp, offset in wanted.items():
            first, end = _offset(lab, tp, EARLIEST), _offset(lab, tp, LATEST)
            found[tp] = min(max(offset, first), end)
            if offset > end:
                self._warn(
                    f"New offset ({offset}) is higher than latest offset for topic partition {tp}. Value will be set to {end}."
                )
            elif offset < first:
                self._warn(
                    f"New offset ({offset}) is lower than earliest offset for topic partition {tp}. Value will be set to {first}."
                )
        return found

    def _warn(self, text: str) -> None:
        self.say(f"WARN {text} (org.apache.kafka.tools.GroupOffsetsResetter)")

    def _by_time(self, lab: Lab, partitions: list[TopicPartition], scenario: str) -> Plan:
        now_ms = lab.kernel.epoch_ms + lab.now_us // 1000
        moment_ms = (
            _moment(self.options.text("to-datetime"))
            if scenario == "to-datetime"
            else now_ms - _duration(self.options.text("by-duration"))
        )
        found: Plan = {}
        for tp in partitions:
            offset = _offset(lab, tp, max(moment_ms, 0))
            if offset < 0:
                self.say("", f"Warn: Partition {tp.partition} from topic {tp.topic} is empty. Falling back to latest known offset.")
                offset = _offset(lab, tp, LATEST)
            found[tp] = offset
        return found


def _wrong(text: str) -> UsageError:
    return UsageError(text, *usage(OPTIONS))


def _thrown(error: str, text: str) -> UsageError:
    name = exception(error)
    return UsageError("", f"Error: Executing consumer group command failed due to {text}", f"{name}: {text}", status=0)


def _offset(lab: Lab, tp: TopicPartition, time: int) -> int:
    found = offset_for(lab, tp, time)
    if found is None:
        raise _thrown("REQUEST_TIMED_OUT", "Call(callName=listOffsets(api=LIST_OFFSETS)) timed out")
    return found


def _check_partitions(lab: Lab, partitions: Iterable[TopicPartition]) -> None:
    topics = committed_image(lab.kernel).topics
    absent = [str(tp) for tp in partitions if tp.topic not in topics or tp.partition not in topics[tp.topic].partitions]
    if absent:
        raise _thrown("UNKNOWN_TOPIC_OR_PARTITION", f'The partitions "{",".join(absent)}" do not exist')
    alone = [str(tp) for tp in partitions if leader_replica(lab, tp) is None]
    if alone:
        raise _thrown("LEADER_NOT_AVAILABLE", f'The partitions "{",".join(alone)}" have no leader')


def _topic_partitions(lab: Lab, arguments: list[str]) -> list[TopicPartition]:
    """``orders`` means all of its partitions, ``orders:0,2`` these."""
    topics = committed_image(lab.kernel).topics
    found: list[TopicPartition] = []
    for argument in arguments:
        topic, colon, numbers = argument.partition(":")
        if not colon:
            if topic not in topics:
                raise _thrown(
                    "UNKNOWN_TOPIC_OR_PARTITION",
                    f"{exception('UNKNOWN_TOPIC_OR_PARTITION')}: This server does not host this topic-partition.",
                )
            found += [TopicPartition(topic, number) for number in topics[topic].partitions]
            continue
        if not topic or not numbers or ":" in numbers:
            raise _wrong(f"Invalid topic arg '{argument[:80]}', expected topic name and partitions")
        for number in numbers.split(","):
            if not re.fullmatch(r"[0-9]{1,9}", number):
                raise _wrong(f"Invalid partition '{number[:40]}' specified in topic arg '{argument[:80]}''")
            found.append(TopicPartition(topic, int(number)))
    return list(dict.fromkeys(found))


def _moment(text: str) -> int:
    """``Utils.getDateTime``: UTC where no zone is named."""
    _, found, time = text.partition("T")
    if not found:
        why = "Error parsing timestamp. It does not contain a 'T' according to ISO8601 format"
        raise UsageError("", f"Error: Executing consumer group command failed due to java.text.ParseException: {why}", status=0)
    spelt = text if re.search(r"[+Z-]", time) else text + "Z"
    try:
        if not re.fullmatch(r"[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{1,3}(Z|[+-][0-9]{2}:?([0-9]{2})?)", spelt.partition("T")[2]):
            raise ValueError
        moment = datetime.fromisoformat(spelt)
    except ValueError:
        why = f'Unparseable date: "{spelt[:60]}"'
        raise UsageError(
            "", f"Error: Executing consumer group command failed due to java.text.ParseException: {why}", status=0
        ) from None
    return int(moment.astimezone(UTC).timestamp() * 1000)


def _duration(text: str) -> int:
    found = duration_ms(text)
    if found is None:
        why = "Text cannot be parsed to a Duration"
        raise UsageError("", f"Error: Executing consumer group command failed due to {why}",
                         f"java.time.format.DateTimeParseException: {why}", status=0)  # fmt: skip
    return found


def _read_plan(content: str, names: list[str]) -> dict[str, Plan]:
    """``topic,partition,offset`` for one group, or with the group in front."""
    found: dict[str, Plan] = {}
    for line in content.strip("\n").split("\n"):
        cells = [cell.strip().strip('"') for cell in line.split(",")]
        if len(cells) == 3 and len(names) == 1:
            cells.insert(0, names[0])
        if len(cells) != 4 or not all(re.fullmatch(r"[0-9]{1,18}", cell) for cell in cells[2:]):
            why = f"com.fasterxml.jackson.databind.RuntimeJsonMappingException: cannot read {line[:80]!r} as topic,partition,offset"
            raise UsageError("", f"Error: Executing consumer group command failed due to {why}", status=0)
        found.setdefault(cells[0], {})[TopicPartition(cells[1], int(cells[2]))] = int(cells[3])
    return found


def _table(plans: dict[str, Plan]) -> list[str]:
    widths = (max([15, *map(len, plans)]), max([15, *[len(tp.topic) for plan in plans.values() for tp in plan]]))
    rows = [(name, tp.topic, str(tp.partition), str(plan[tp])) for name, plan in plans.items() for tp in partition_order(plan)]
    heading = [("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET")] if plans else []
    return ["", *[f"{a:<{widths[0]}} {b:<{widths[1]}} {n:<10} {offset}" for a, b, n, offset in heading + rows]]


def _export(plans: dict[str, Plan], options: Options) -> list[str]:
    """CSV; of one group without its name. Long words are quoted, as Jackson does without looking closer."""
    lines = []
    for name, plan in plans.items():
        for tp in partition_order(plan):
            row = [_cell(tp.topic), str(tp.partition), str(plan[tp])]
            lines.append(",".join(row if len(options.all("group")) == 1 else [_cell(name), *row]))
    return [*lines, ""]


def _cell(text: str) -> str:
    return f'"{text}"' if len(text) > 24 or re.search(r'[ ",]', text) else text


# -- delete ---------------------------------------------------------------------------------------------------------------


class DeleteJob(_Waiting):
    def __init__(self, lab: Lab, options: Options) -> None:
        super().__init__(lab, options, _names(options))

    def plan(self, lab: Lab) -> Job | None:
        names = hash_order(self.names(lab), 16)
        if not names:
            return Job(["Deletion of requested consumer groups () was successful."])
        errors: dict[str, str] = {}
        commands: list[c.Command] = [c.DeleteGroup(name) for name in names]

        def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
            name = names[len(errors)]
            errors[name] = answer.results[0][1] if answer.results else answer.error
            return (_deleted(errors), 0) if len(errors) == len(names) else ([], 0)

        return AdminJob(commands, render, call="deleteGroups")


def _deleted(errors: dict[str, str]) -> list[str]:
    done = ", ".join(f"'{name}'" for name, error in errors.items() if error == "NONE")
    wrong = {name: error for name, error in errors.items() if error != "NONE"}
    if not wrong:
        return [f"Deletion of requested consumer groups ({done}) was successful."]
    lines = ["", "Error: Deletion of some consumer groups failed:"]
    lines += [f"* Group '{name}' could not be deleted due to: {groups.meaning(error)}" for name, error in wrong.items()]
    return [*lines, *(["", f"These consumer groups were deleted successfully: {done}"] if done else [])]


class DeleteOffsetsJob(_Waiting):
    def __init__(self, lab: Lab, options: Options) -> None:
        super().__init__(lab, options, options.all("group"))

    def plan(self, lab: Lab) -> Job | None:
        topics = committed_image(lab.kernel).topics
        unknown = [topic for topic in self.options.all("topic") if ":" not in topic and topic not in topics]
        known = [topic for topic in self.options.all("topic") if topic not in unknown]
        partitions = _topic_partitions(lab, known)
        rows = {
            (topic, -1): exception("UNKNOWN_TOPIC_OR_PARTITION") + ": " + default_message("UNKNOWN_TOPIC_OR_PARTITION")
            for topic in unknown
        }
        name = self.options.all("group")[-1]
        if not partitions:
            return Job(_offsets_deleted(name, "NONE", rows))
        command = c.DeleteGroupOffsets(name, [c.PartitionOfTopic(*tp) for tp in partitions])

        def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
            each = {str(place): error for place, error, _ in answer.results}
            for tp in partitions:
                error = each.get(str(tp), answer.error)
                rows[tp.topic, tp.partition] = "" if error == "NONE" else default_message(error)
            whole = answer.error if answer.error != "NONE" else next((e for e in each.values() if e != "NONE"), "NONE")
            return _offsets_deleted(name, whole, rows), 0

        return AdminJob(command, render, call="offsetDelete")


def _offsets_deleted(name: str, error: str, rows: dict[tuple[str, int], str]) -> list[str]:
    if error == "NONE":
        lines = [f"Request succeeded for deleting offsets from group {name}."]
    elif error in ("INVALID_GROUP_ID", "GROUP_ID_NOT_FOUND", "GROUP_AUTHORIZATION_FAILED", "NON_EMPTY_GROUP"):
        lines = ["", f"Error: {default_message(error)}"]
    elif error in ("GROUP_SUBSCRIBED_TO_TOPIC", "TOPIC_AUTHORIZATION_FAILED", "UNKNOWN_TOPIC_OR_PARTITION"):
        lines = ["", "Error: Encountered some partition-level error, see the follow-up details."]
    else:
        lines = ["", f"Error: Encountered some unknown error: {error}"]
    width = max([15, *[len(topic) for topic, _ in rows]])
    lines += ["", f"{'TOPIC':<{width}} {'PARTITION':<10} {'STATUS':<15}"]
    for topic, number in sorted(rows, key=lambda place: f"{place[0]}{place[1]}"):
        wrong = rows[topic, number]
        status = f"Error: {wrong}" if wrong else "Successful"
        lines.append(f"{topic:<{width}} {number if number >= 0 else '-'!s:<10} {status:<15}")
    return lines
