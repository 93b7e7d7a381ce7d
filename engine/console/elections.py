"""kafka-leader-election.sh (``org.apache.kafka.tools.LeaderElectionCommand``, Kafka 4.x)."""

from __future__ import annotations

from engine import commands as c
from engine.console.job import AdminJob, Job, default_message, exception
from engine.console.options import Option, UsageError, parse_options, usage
from engine.events import AdminAnswered
from engine.lab import Lab

NAME = "kafka-leader-election.sh"
OPTIONS = (
    Option("bootstrap-server", help="A hostname and port for the broker to connect to."),
    Option("admin.config", help="Configuration properties files to pass to the admin client."),
    Option("election-type", help="Type of election to attempt. Possible values are PREFERRED or UNCLEAN."),
    Option("topic", help="Name of topic for which to perform an election."),
    Option("partition", "int", "Partition id for which to perform an election."),
    Option("all-topic-partitions", "flag", "Perform election on all of the eligible topic partitions."),
    Option("help", "flag", "Print usage information."),
)
CHOICES = ("topic", "all-topic-partitions")


def run(lab: Lab, words: list[str]) -> Job:
    options = parse_options(words, OPTIONS)
    if options.has("help"):
        return Job(["This tool attempts to elect a new leader for a set of topic partitions.", *usage(OPTIONS)])
    if not options.has("election-type"):
        raise UsageError("Missing required option(s): election-type", *usage(OPTIONS))
    if sum(options.has(name) for name in CHOICES) != 1:
        raise UsageError(
            "One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file",
            *usage(OPTIONS),
        )
    if options.has("topic") and not options.has("partition"):
        raise UsageError("Missing required option partition", *usage(OPTIONS))
    if options.has("partition") and not options.has("topic"):
        raise UsageError("Option partition is only allowed if topic is used", *usage(OPTIONS))
    election = options.text("election-type").lower()
    if election not in ("preferred", "unclean"):
        raise UsageError(
            'Exception in thread "main" joptsimple.OptionArgumentConversionException: '
            f"Cannot parse argument '{options.text('election-type')[:80]}' of option election-type"
        )
    if options.has("topic"):
        command = c.ElectLeader(election, options.text("topic"), options.number("partition"))
    else:
        command = c.ElectLeader(election)
    return AdminJob(command, lambda now, answer: _render(election.upper(), answer))


def _render(election: str, answer: AdminAnswered) -> tuple[list[str], int]:
    if answer.error != "NONE" and not answer.results:
        text = answer.message or default_message(answer.error)
        if answer.error == "REQUEST_TIMED_OUT":
            return ["Timeout waiting for election results", f"{exception(answer.error)}: {text}"], 1
        return [text, f"{exception(answer.error)}: {text}"], 1
    elected = [name for name, error, _ in answer.results if error == "NONE"]
    needless = [name for name, error, _ in answer.results if error == "ELECTION_NOT_NEEDED"]
    failed = [result for result in answer.results if result[1] not in ("NONE", "ELECTION_NOT_NEEDED")]
    lines = []
    if elected:
        lines.append(f"Successfully completed leader election ({election}) for partitions {', '.join(elected)}")
    if needless:
        lines.append(f"Valid replica already elected for partitions {', '.join(needless)}")
    for name, error, message in failed:
        reason = f"{exception(error)}: {message or default_message(error)}"
        lines.append(f"Error completing leader election ({election}) for partition: {name}: {reason}")
    if failed:
        lines.append(f"{len(failed)} replica(s) could not be elected")
    return lines, 1 if failed else 0
