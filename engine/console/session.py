"""A console: one person's terminal on a lab. It knows the Kafka tools and nothing else of a shell."""

from __future__ import annotations

from collections.abc import Callable

from engine import limits
from engine.console import (
    acls,
    configs,
    consumer,
    dump_log,
    elections,
    group_offsets,
    offsets,
    perf,
    producer,
    quorum,
    reassign,
    records,
    share_consumer,
    share_groups,
    topics,
    transactions,
)
from engine.console.files import STDIN, Files
from engine.console.job import Job
from engine.console.options import UsageError, split_words
from engine.console.producer import ProducerJob
from engine.errors import EngineError
from engine.lab import Lab

TOOLS: dict[str, Callable[[Lab, list[str]], Job]] = {
    topics.NAME: topics.run,
    consumer.NAME: consumer.run,
    configs.NAME: configs.run,
    elections.NAME: elections.run,
    quorum.NAME: quorum.run,
    offsets.NAME: offsets.run,
    acls.NAME: acls.run,
    transactions.NAME: transactions.run,
    dump_log.NAME: dump_log.run,
    perf.NAME: perf.run,
    share_consumer.NAME: share_consumer.run,
    share_groups.NAME: share_groups.run,
}
READERS: dict[str, Callable[[Lab, list[str], Files], Job]] = {
    group_offsets.NAME: group_offsets.run,
    records.NAME: records.run,
    reassign.NAME: reassign.run,
}
"""Those that read files."""
NAMES = sorted([*TOOLS, *READERS, producer.NAME])
END_OF_INPUT = ("\x04", "^D")
HELP = [
    "The Kafka tools that this console knows (each takes --help):",
    "  kafka-topics.sh                create, alter, describe, delete and list topics",
    "  kafka-console-producer.sh      send lines as records; end with Ctrl-D, or feed it:  … --topic orders <<< 'hello'",
    "  kafka-console-consumer.sh      print records; --from-beginning, --max-messages 3, stop with Ctrl-C",
    "  kafka-console-share-consumer.sh  the same as a member of a share group: --topic orders --group pool, --release, --reject",
    "  kafka-configs.sh               describe and alter the configuration of topics, brokers, users, clients",
    "  kafka-leader-election.sh       elect preferred or unclean leaders",
    "  kafka-metadata-quorum.sh       describe --status or describe --replication",
    "  kafka-get-offsets.sh           offsets of partitions: --topic orders --time earliest",
    "  kafka-consumer-groups.sh       list, describe (--members, --state), reset and delete offsets, delete groups",
    "  kafka-share-groups.sh          list, describe (--members, --state), delete",
    "  kafka-transactions.sh          list, describe, describe-producers, find-hanging, abort",
    "  kafka-acls.sh                  allow and deny: --add --allow-principal User:alice --operation Read --topic orders",
    "  kafka-reassign-partitions.sh   generate, execute (--throttle), verify, cancel, list",
    "  kafka-dump-log.sh              a broker's files: --print-data-log --files broker-1:orders-0/00000000000000000000.log",
    "  kafka-producer-perf-test.sh    --topic orders --num-records 1000 --record-size 100 --throughput 200",
    "  kafka-delete-records.sh        move the log start: --offset-json-file, see below",
    "--bootstrap-server may be left out. There are no pipes or variables here. Where a tool reads a JSON file, write it with",
    "echo '{…}' > moves.json (then cat, ls, rm), or give /dev/stdin and <<< '{…}', or the JSON itself in quotes.",
]


class Console:
    """``execute`` gives a job for each line; see ``engine.console.job`` for how one is driven. At most one tool prompts for input."""

    def __init__(self) -> None:
        self.prompting: ProducerJob | None = None
        self.files = Files()

    @property
    def prompt(self) -> str:
        """What stands before the cursor."""
        return ">" if self.prompting is not None and self.prompting.prompting else "$ "

    def execute(self, lab: Lab, line: str) -> Job:
        """One line as typed (or several: what follows the first are lines for the console producer)."""
        try:
            if len(line) > limits.MAX_CONSOLE_LINE:
                raise UsageError(f"A line has at most {limits.MAX_CONSOLE_LINE} characters; this one has {len(line)}.", status=2)
            if self.prompting is not None and self.prompting.prompting:
                return self._feed(self.prompting, line)
            return self._run(lab, line)
        except UsageError as wrong:
            return Job(wrong.lines, wrong.status)
        except EngineError as wrong:
            return Job([wrong.message], 1)

    def _feed(self, job: ProducerJob, line: str) -> Job:
        """A line at the producer's prompt. The producer's own job does the work; the line's is done at once."""
        for text in line.split("\n"):
            if not job.prompting:
                break
            if text in END_OF_INPUT:
                job.close()
                break
            try:
                job.take_line(text)
            except EngineError as wrong:
                job.say(wrong.message)
        return job

    def _run(self, lab: Lab, line: str) -> Job:
        first, *following = line.strip("\n").split("\n")
        command, here, text = _here_string(first)
        words = split_words(command)
        if not words or words[0].startswith("#"):
            return Job()
        name = words[0].rsplit("/", 1)[-1]
        if name == "help":
            return Job(HELP)
        name = name if name.endswith(".sh") else name + ".sh"
        if name == producer.NAME:
            lines = following or None
            if here:
                lines = [*split_here(text), *following]
            job = producer.run(lab, words[1:], lines)
            if isinstance(job, ProducerJob) and job.prompting:
                job.foreground = False
                self.prompting = job
            return job
        if name in READERS:
            return self._run_reader(lab, name, words, text if here else "\n".join(following))
        if here or following:
            return Job([f"{words[0][:80]}: takes no input here"], 2)
        done = self.files.run(words)
        if done is not None:
            return Job(*done)
        if name not in TOOLS:
            return Job([f"{words[0][:80]}: command not found", f"Known here: {', '.join(NAMES)}, help"], 127)
        for mark in ("|", ">", ">>", "<", "&&", "||", ";", "&"):
            if mark in words:
                return Job([f"'{mark}': this console runs one Kafka tool per line and knows no shell operators"], 2)
        return TOOLS[name](lab, words[1:])

    def _run_reader(self, lab: Lab, name: str, words: list[str], text: str) -> Job:
        """A tool that reads files; what follows ``<<<`` is its standard input."""
        if text.strip():
            self.files.contents[STDIN] = "\n".join(split_here(text))
        try:
            return READERS[name](lab, words[1:], self.files)
        finally:
            self.files.contents.pop(STDIN, None)


def _here_string(line: str) -> tuple[str, bool, str]:
    """(command, whether ``<<<`` follows, its text): only outside of quotes."""
    quote = ""
    for position, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif line.startswith("<<<", position):
            return line[:position], True, line[position + 3 :]
    return line, False, ""


def split_here(text: str) -> list[str]:
    """The lines of a here-string."""
    words = split_words(text)
    if len(words) != 1:
        raise UsageError("bash: <<< takes one word; put quotes around the text", status=2)
    return words[0].split("\n")
