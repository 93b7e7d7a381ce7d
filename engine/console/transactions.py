"""kafka-transactions.sh (``org.apache.kafka.tools.TransactionsCommand``, Kafka 4.x; KIP-664)."""

from __future__ import annotations

import re

from engine import commands as c
from engine.console.job import AdminJob, Job, ReadJob, default_message
from engine.console.offsets import leader_replica
from engine.console.options import Option, OptionError, Options, UsageError, check_values, parse_options, usage
from engine.console.synonyms import partition_order
from engine.console.tables import table
from engine.console.topics import outcome
from engine.events import AdminAnswered
from engine.lab import Lab
from engine.log.producer_state import ProducerStateEntry
from engine.messages.base import TopicPartition
from engine.view.build import committed_image
from engine.view.tree import TransactionView

NAME = "kafka-transactions.sh"
OPTIONS = (
    Option("bootstrap-server", help="hostname and port for the broker to connect to, in the form host:port"),
    Option("command-config", help="property file containing configs to be passed to admin client"),
    Option("duration-filter", "long", "list: only transactions running longer than this duration in ms"),
    Option("transactional-id-pattern", help="list: only transactional ids that match this regular expression"),
    Option("transactional-id", help="describe: transactional id"),
    Option("topic", help="describe-producers, abort, find-hanging: topic name"),
    Option("partition", "int", "describe-producers, abort, find-hanging: partition number"),
    Option("broker-id", "int", "describe-producers, find-hanging: the producer state on a specific replica"),
    Option("start-offset", "long", "abort: start offset of the transaction to abort"),
    Option("producer-id", "long", "abort: producer id"),
    Option("producer-epoch", "int", "abort: producer epoch"),
    Option("coordinator-epoch", "int", "abort: coordinator epoch"),
    Option("max-transaction-timeout", "int", "find-hanging: maximum transaction timeout in minutes (15 by default)"),
    Option("help", "flag", "show this help message and exit"),
)  # fmt: skip
FITTING = {
    "list": ("duration-filter", "transactional-id-pattern"),
    "describe": ("transactional-id",),
    "describe-producers": ("topic", "partition", "broker-id"),
    "abort": ("topic", "partition", "start-offset", "producer-id", "producer-epoch", "coordinator-epoch"),
    "find-hanging": ("topic", "partition", "broker-id", "max-transaction-timeout"),
}
REQUIRED = {"describe": ("transactional-id",), "describe-producers": ("topic", "partition"), "abort": ("topic", "partition")}
USAGE = [
    "usage: kafka-transactions.sh [-h] [-v] [--command-config FILE] --bootstrap-server host:port COMMAND ...",
    "",
    "This tool is used to analyze the transactional state of producers in the cluster. It can be used to detect and recover from",
    "hanging transactions.",
    "",
    "commands:",
    "  COMMAND",
    "    list                 list transactions",
    "    describe             describe the state of an active transactional-id",
    "    describe-producers   describe the states of active producers for a topic partition",
    "    abort                abort a hanging transaction (requires administrative privileges)",
    "    find-hanging         find hanging transactions",
]
MORE = "Enable debug logging for additional detail."
LIST = ("TransactionalId", "Coordinator", "ProducerId", "TransactionState")
DESCRIBE = ("CoordinatorId", "TransactionalId", "ProducerId", "ProducerEpoch", "TransactionState", "TransactionTimeoutMs",
            "CurrentTransactionStartTimeMs", "TransactionDurationMs", "TopicPartitions")  # fmt: skip
PRODUCERS = (
    "ProducerId",
    "ProducerEpoch",
    "LatestCoordinatorEpoch",
    "LastSequence",
    "LastTimestamp",
    "CurrentTransactionStartOffset",
)
HANGING = ("Topic", "Partition", "ProducerId", "ProducerEpoch", "CoordinatorEpoch", "StartOffset", "LastTimestamp", "Duration(min)")


def run(lab: Lab, words: list[str]) -> Job:
    try:
        options = parse_options(words, OPTIONS, abbreviations=True)
        check_values(options, OPTIONS)
    except OptionError as wrong:
        raise UsageError(*USAGE[:1], f"kafka-transactions.sh: error: {wrong.text}") from None
    if options.has("help"):
        return Job([*USAGE, "", *usage(OPTIONS)])
    if not options.words:
        raise UsageError(*USAGE[:1], "kafka-transactions.sh: error: too few arguments")
    command, *rest = options.words
    if command not in FITTING or rest:
        wrong_word = (rest or [command])[0] if command in FITTING else command
        choices = ", ".join(f"'{name}'" for name in FITTING)
        raise UsageError(*USAGE[:1], f"kafka-transactions.sh: error: invalid choice: '{wrong_word[:40]}' (choose from {choices})")
    for name in options.values:
        if name not in ("bootstrap-server", "command-config", *FITTING[command]):
            raise UsageError(*USAGE[:1], f"kafka-transactions.sh: error: unrecognized arguments: '--{name}'")
    for name in REQUIRED.get(command, ()):
        if not options.has(name):
            raise UsageError(*USAGE[:1], f"kafka-transactions.sh: error: argument --{name} is required")
    if command == "abort":
        return _abort(lab, options)
    call, render = {
        "list": ("listTransactions", _list),
        "describe": ("describeTransactions", _describe),
        "describe-producers": ("describeProducers", _producers),
        "find-hanging": ("describeProducers", _hanging),
    }[command]
    what = {"list": "Failed to list transactions", "describe": "Failed to describe transaction state"}.get(
        command, f"Failed to {command}"
    )
    return ReadJob(call, lambda now: render(now, options), lambda now, error, message: [_failed(what, error, message)])


def _failed(what: str, error: str, message: str = "") -> str:
    return f"{what}: {message or default_message(error)}. {MORE}"


def _now_ms(lab: Lab) -> int:
    return lab.kernel.epoch_ms + lab.now_us // 1000


# -- list, describe -------------------------------------------------------------------------------------------------------


def _list(lab: Lab, options: Options) -> list[str]:
    found = sorted(lab.view().transactions.values(), key=lambda known: known.coordinator)
    longest_us = options.number("duration-filter") * 1000
    if longest_us >= 0:
        found = [known for known in found if known.start_us >= 0 and lab.now_us - known.start_us > longest_us]
    if options.has("transactional-id-pattern"):
        wanted = _pattern(options.text("transactional-id-pattern"))
        found = [known for known in found if wanted.fullmatch(known.transactional_id)]
    return table(LIST, [(known.transactional_id, str(known.coordinator), str(known.producer_id), known.state) for known in found])


def _pattern(text: str) -> re.Pattern[str]:
    """Letters, ``.``, ``.*`` and ``.+`` only, so that no pattern takes long. Raises UsageError for others."""
    if not re.fullmatch(r"(?:[A-Za-z0-9_-]|\\\.|\.[*+]?)*", text) or text.count("*") + text.count("+") > 4:
        raise UsageError(
            f"Failed to list transactions: transactional-id-pattern: this lab knows letters, '.', '.*' and '.+'. {MORE}"
        )
    return re.compile(text)


def _describe(lab: Lab, options: Options) -> list[str]:
    name = options.text("transactional-id")
    known = lab.view().transactions.get(name)
    if known is None:
        text = f"DescribeTransactions request for transactionalId `{name[:80]}` failed because the ID could not be found"
        what = f"Failed to describe transaction state of transactional-id `{name[:80]}`"
        raise UsageError(_failed(what, "TRANSACTIONAL_ID_NOT_FOUND", text))
    start_ms = lab.kernel.epoch_ms + known.start_us // 1000
    times = (str(start_ms), str(_now_ms(lab) - start_ms)) if known.start_us >= 0 else ("None", "None")
    row = (str(known.coordinator), name, str(known.producer_id), str(known.producer_epoch), known.state, str(known.timeout_ms),
           *times, ",".join(str(partition) for partition in _partitions(known)))  # fmt: skip
    return table(DESCRIBE, [row])


def _partitions(known: TransactionView) -> list[TopicPartition]:
    """Of one that is prepared those that have no marker yet."""
    names = known.unmarked if known.state.startswith("Prepare") else known.partitions
    split = [name.rpartition("-") for name in names]
    return partition_order(TopicPartition(topic, int(number)) for topic, _, number in split)


# -- producers of a partition ---------------------------------------------------------------------------------------------


def _states(lab: Lab, partition: TopicPartition, options: Options, what: str) -> dict[int, ProducerStateEntry]:
    """What the leader, or the replica asked for, knows of its producers. Raises UsageError where nobody answers."""
    replica = leader_replica(lab, partition)
    if options.has("broker-id"):
        host = lab.kernel.hosts.get(f"broker-{options.number('broker-id')}")
        held = getattr(host.node, "partitions", {}) if host is not None and host.status == "up" else {}
        replica = held.get(partition)
        where = f"broker {options.number('broker-id')}"
    else:
        where = "leader"
    if replica is None:
        exists = partition.topic in committed_image(lab.kernel).topics
        error = "NOT_LEADER_OR_FOLLOWER" if exists else "UNKNOWN_TOPIC_OR_PARTITION"
        raise UsageError(_failed(f"{what} for partition {partition} on {where}", error))
    return dict(replica.log.producer_state.producers)


def _row(producer_id: int, entry: ProducerStateEntry) -> tuple[str, ...]:
    start = entry.current_txn_first_offset
    return (str(producer_id), str(entry.producer_epoch), str(entry.coordinator_epoch), str(entry.last_sequence),
            str(entry.last_timestamp), str(start) if start >= 0 else "None")  # fmt: skip


def _producers(lab: Lab, options: Options) -> list[str]:
    partition = TopicPartition(options.text("topic"), options.number("partition"))
    found = _states(lab, partition, options, "Failed to describe producers")
    return table(PRODUCERS, [_row(producer_id, entry) for producer_id, entry in found.items()])


def _hanging(lab: Lab, options: Options) -> list[str]:
    """A transaction that is open for longer than any may be, and whose coordinator does not mean to end it."""
    if not options.has("topic") and not options.has("broker-id"):
        raise UsageError("The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search")
    if options.has("partition") and not options.has("topic"):
        raise UsageError("The --partition argument requires --topic to be provided")
    oldest_ms = _now_ms(lab) - options.number("max-transaction-timeout", 15) * 60_000
    topics = committed_image(lab.kernel).topics
    if options.has("topic") and options.text("topic") not in topics:
        raise UsageError(_failed("Failed to describe 1 topics", "UNKNOWN_TOPIC_OR_PARTITION"))
    rows = []
    for name in [options.text("topic")] if options.has("topic") else list(topics):
        for number, known in topics[name].partitions.items():
            if options.has("partition") and number != options.number("partition"):
                continue
            if options.has("broker-id") and options.number("broker-id") not in known.replicas:
                continue
            partition = TopicPartition(name, number)
            for producer_id, entry in _states(lab, partition, options, "Failed to describe producers").items():
                if (
                    entry.current_txn_first_offset >= 0
                    and entry.last_timestamp < oldest_ms
                    and not _expected(lab, producer_id, partition)
                ):
                    minutes = (_now_ms(lab) - entry.last_timestamp) // 60_000
                    rows.append((name, str(number), str(producer_id), str(entry.producer_epoch), str(entry.coordinator_epoch),
                                 str(entry.current_txn_first_offset), str(entry.last_timestamp), str(minutes)))  # fmt: skip
    return table(HANGING, rows)


def _expected(lab: Lab, producer_id: int, partition: TopicPartition) -> bool:
    """Whether some coordinator still means to write a marker there."""
    known = lab.view().transactions.values()
    return any(one.producer_id == producer_id and partition in _partitions(one) for one in known)


# -- abort ----------------------------------------------------------------------------------------------------------------


def _abort(lab: Lab, options: Options) -> Job:
    partition = TopicPartition(options.text("topic"), options.number("partition"))
    if not options.has("start-offset"):
        if not options.has("producer-id"):
            raise UsageError(
                "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or with "
                "--producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)"
            )
        for name in ("producer-epoch", "coordinator-epoch"):
            if not options.has(name):
                raise UsageError(f"Missing required argument --{name}")
        epochs = (options.number("producer-id"), options.number("producer-epoch"), max(options.number("coordinator-epoch"), 0))
    else:
        start = options.number("start-offset")
        found = _states(lab, partition, options, "Failed to validate producer state")
        mine = [(number, entry) for number, entry in found.items() if start >= 0 and entry.current_txn_first_offset == start]
        if not mine:
            raise UsageError(f"Could not find any open transactions starting at offset {start} on partition {partition}")
        producer_id, entry = mine[0]
        epochs = (producer_id, entry.producer_epoch, max(entry.coordinator_epoch, 0))
    spelt = f"AbortTransactionSpec(topicPartition={partition}, producerId={epochs[0]}, producerEpoch={epochs[1]}, coordinatorEpoch={epochs[2]})"

    def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
        error, _ = outcome(answer)
        return ([], 0) if error == "NONE" else ([_failed(f"Failed to abort transaction {spelt}", error, default_message(error))], 1)

    return AdminJob(c.AbortHangingTransaction(*partition, *epochs), render, call="writeTxnMarkers")
