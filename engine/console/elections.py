"""kafka-leader-election.sh (``org.apache.kafka.tools.LeaderElectionCommand``, Kafka 4.x)."""

from __future__ import annotations

from engine import commands as c
from engine.console.job import AdminJob, Job, default_message, exception
from engine.console.options import Option, OptionError, Options, UsageError, check_values, parse_options, usage
from engine.events import AdminAnswered
from engine.lab import Lab

NAME = "kafka-leader-election.sh"
OPTIONS = (
    Option("bootstrap-server", help="A hostname and port for the broker to connect to."),
    Option("admin.config", help="The same as --command-config (deprecated)."),
    Option("command-config", help="Config properties file to pass to the admin client."),
    Option("election-type", help="Type of election to attempt. Possible values are PREFERRED or UNCLEAN."),
    Option("topic", help="Name of topic for which to perform an election."),
    Option("partition", "int", "Partition id for which to perform an election."),
    Option("all-topic-partitions", "flag", "Perform election on all of the eligible topic partitions."),
    Option("help", "flag", "Print usage information."),
)
HELP = (
    "This tool attempts to elect a new leader for a set of topic partitions. The type of elections supported are preferred replicas and "
    "unclean replicas."
)
CHOICES = ("topic", "all-topic-partitions")


FAILED = "org.apache.kafka.tools.AdminCommandFailedException"


def run(lab: Lab, words: list[str]) -> Job:
    options = parse_options(words, OPTIONS)
    if options.has("help"):
        return Job([HELP, *usage(OPTIONS)], 1)
    _check(options)
    election = options.text("election-type").lower()
    if options.has("topic"):
        command = c.ElectLeader(election, options.text("topic"), options.number("partition"))
    else:
        command = c.ElectLeader(election)
    return AdminJob(command, lambda now, answer: _render(election.upper(), answer), call="electLeaders")


def _check(options: Options) -> None:
    wrong = ""
    if not options.has("election-type"):
        wrong = "Missing required option(s): election-type"
    elif sum(options.has(name) for name in CHOICES) != 1:
        wrong = "One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file"
    elif options.has("topic") and not options.has("partition"):
        wrong = "Missing required option(s): partition"
    elif options.has("partition") and not options.has("topic"):
        wrong = "Option partition is only allowed if topic is used"
    if wrong:
        raise UsageError(wrong, f"{FAILED}: {wrong}")
    check_values(options, OPTIONS)
    election = options.text("election-type")
    if election.upper() not in ("PREFERRED", "UNCLEAN"):
        text = f"Cannot parse argument '{election[:80]}' of option election-type"
        error = OptionError("OptionArgumentConversionException", text, late=True)
        cause = f"Caused by: joptsimple.ValueConversionException: Value [{election[:80]}] is not one of [[PREFERRED,UNCLEAN]]"
        raise UsageError(*error.lines, cause)


def _render(election: str, answer: AdminAnswered) -> tuple[list[str], int]:
    if answer.error != "NONE" and not answer.results:
        text = answer.message or default_message(answer.error)
        if answer.error == "REQUEST_TIMED_OUT":
            return ["Timeout waiting for election results", f"{exception(answer.error)}: {text}"], 1
        return [text, f"{exception(answer.error)}: {text}"], 1
    elected = [name for name, error, _ in answer.results if error == "NONE"]
    needless = [name for name, error, _ in answer.results if error == "ELECTION_NOT_NEEDED"]
    failed = [(name, f"{exception(error)}: {message or default_message(error)}")
              for name, error, message in answer.results if error not in ("NONE", "ELECTION_NOT_NEEDED")]  # fmt: skip
    lines = []
    if elected:
        lines.append(f"Successfully completed leader election ({election}) for partitions {', '.join(elected)}")
    if needless:
        lines.append(f"Valid replica already elected for partitions {', '.join(needless)}")
    lines += [f"Error completing leader election ({election}) for partition: {name}: {reason}" for name, reason in failed]
    if failed:
        summary = f"{len(failed)} replica(s) could not be elected"
        lines += [summary, f"{FAILED}: {summary}", *(f"\tSuppressed: {reason}" for _, reason in failed)]
    return lines, 1 if failed else 0
