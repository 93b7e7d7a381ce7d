"""kafka-delete-records.sh (``org.apache.kafka.tools.DeleteRecordsCommand``, Kafka 4.x)."""

from __future__ import annotations

from typing import Any

from engine import commands as c
from engine import limits
from engine.console.files import Files, read_json
from engine.console.job import AdminJob, Job, default_message, exception
from engine.console.options import Option, OptionError, UsageError, check_values, parse_options, require, usage
from engine.console.synonyms import partition_order
from engine.events import AdminAnswered
from engine.lab import Lab
from engine.messages.base import TopicPartition

NAME = "kafka-delete-records.sh"
OPTIONS = (
    Option("bootstrap-server", help="The server to connect to."),
    Option("offset-json-file", help='Offset per partition: {"partitions": [{"topic": "foo", "partition": 1, "offset": 1}], "version": 1}'),
    Option("command-config", help="A property file containing configs to be passed to Admin Client."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip
OPERATION = "org.apache.kafka.tools.AdminOperationException"
FAILED = "org.apache.kafka.tools.AdminCommandFailedException"


def run(lab: Lab, words: list[str], files: Files) -> Job:
    try:
        options = parse_options(words, OPTIONS)
        check_values(options, OPTIONS)
    except OptionError as wrong:
        raise UsageError(*wrong.lines) from None
    if options.has("help"):
        help_text = "This tool helps to delete records of the given partitions down to the specified offset."
        return Job([help_text, *usage(OPTIONS)], 1)
    require(options, OPTIONS, "offset-json-file")
    wanted = _read(files.read(options.text("offset-json-file")))
    commands: list[c.Command] = [c.DeleteRecords(*partition, wanted[partition]) for partition in partition_order(wanted)]
    before = ["Executing records delete operation", "Records delete operation completed:"]
    if not commands:
        return Job(before)
    return AdminJob(commands, _render, call="deleteRecords", before=before)


def _read(text: str) -> dict[TopicPartition, int]:
    content = read_json(text)
    if content is None:
        raise _wrong(OPERATION, "The input string is not a valid JSON")
    if content.get("version", 1) != 1:
        raise _wrong(OPERATION, f"Not supported version field value {content['version']}"[:160])
    if not isinstance(content.get("partitions"), list):
        raise _wrong(OPERATION, "Missing partitions field")
    if len(content["partitions"]) > limits.MAX_PARTITIONS:
        raise UsageError(f"partitions: a lab holds at most {limits.MAX_PARTITIONS} partitions")
    found: dict[TopicPartition, int] = {}
    twice: list[str] = []
    for item in content["partitions"]:
        partition, offset = _item(item)
        if partition in found:
            twice.append(str(partition))
        found[partition] = offset
    if twice:
        raise _wrong(FAILED, f"Offset json file contains duplicate topic partitions: {','.join(dict.fromkeys(twice))}")
    return found


def _item(item: Any) -> tuple[TopicPartition, int]:
    problem = "com.fasterxml.jackson.databind.JsonMappingException"
    if not isinstance(item, dict):
        raise _wrong(problem, f"Expected JSON object, received {item}"[:160])
    for name, kind in (("topic", str), ("partition", int), ("offset", int)):
        if name not in item:
            raise _wrong(problem, f"No such field exists: `{name}`")
        if not isinstance(item[name], kind) or isinstance(item[name], bool):
            word = "String" if kind is str else "Integer" if name == "partition" else "Long"
            raise _wrong(problem, f"Expected `{word}` value, received {item[name]!r}"[:160])
    return TopicPartition(item["topic"], item["partition"]), item["offset"]


def _wrong(java_class: str, text: str) -> UsageError:
    return UsageError(text, f"{java_class}: {text}")


def _render(lab: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
    if not answer.results:
        text = answer.message or default_message(answer.error)
        return [f"partition: ?\terror: {exception(answer.error)}: {text}"], 0
    lines = []
    for name, error, message in answer.results:
        if error == "NONE":
            lines.append(f"partition: {name}\tlow_watermark: {message.removeprefix('low_watermark: ')}")
        else:
            lines.append(f"partition: {name}\terror: {exception(error)}: {default_message(error)}")
    return lines, 0
