"""kafka-console-consumer.sh (``org.apache.kafka.tools.consumer.ConsoleConsumer``, Kafka 4.x); without ``--group`` it is in none.

What it prints is read from the batches that were handed to the consumer, as the events tell which those were.
"""

from __future__ import annotations

from engine import commands as c
from engine import events as e
from engine.console.job import HasCursor, Job, log_time, news
from engine.console.options import Option, OptionError, Options, UsageError, check_values, deprecated, parse_options, usage
from engine.console.producer import client_name, config_exception
from engine.errors import EngineError
from engine.lab import Lab
from engine.log.record_batch import Record
from engine.messages.base import TopicPartition
from engine.view.microscope import served_records

NAME = "kafka-console-consumer.sh"
CLIENT = "console-consumer"
OPTIONS = (
    Option("bootstrap-server", help="The server(s) to connect to."),
    Option("topic", help="The topic to consume on."),
    Option("partition", "int", "The partition to consume from, from its end unless '--offset' is specified."),
    Option("offset", help="The offset to consume from (a non-negative number), or 'earliest' or 'latest'."),
    Option("from-beginning", "flag", "Start with the earliest message present in the log rather than the latest message."),
    Option("max-messages", "int", "The maximum number of messages to consume before exiting."),
    Option("timeout-ms", "long", "If specified, exit if no message is available for consumption for the specified interval."),
    Option("property", help="The same as --formatter-property (deprecated).", many=True),
    Option("formatter-property", help="print.timestamp|partition|offset|headers|key|value=true, key.separator, null.literal", many=True),
    Option("consumer-property", help="The same as --command-property (deprecated).", many=True),
    Option("command-property", help="Consumer config properties.", many=True),
    Option("isolation-level", help="Set to read_committed in order to filter out transactional messages which are not committed."),
    Option("group", help="The consumer group id of the consumer."),
    Option("include", help="Regular expression specifying list of topics to include for consumption."),
    Option("skip-message-on-error", "flag", "If there is an error when processing a message, skip it instead of halt."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip
FORMATTER = {"print.timestamp": "false", "print.partition": "false", "print.offset": "false", "print.delivery": "false",
             "print.epoch": "false", "print.headers": "false", "print.key": "false", "print.value": "true",
             "key.separator": "\t", "null.literal": "null", "headers.separator": ","}  # fmt: skip
MAX_LINES_PER_POLL = 1_000
"""A screen's worth and more; what exceeds it is counted but not printed."""
TOOL = "org.apache.kafka.tools.consumer.ConsoleConsumer"


class ConsumerJob(Job, HasCursor):
    """The running tool; it ends after ``--max-messages``, after ``--timeout-ms`` without a record, or by Ctrl-C."""

    tool = TOOL

    def __init__(self, lab: Lab, options: Options) -> None:
        super().__init__()
        self.done = False
        self.say(*deprecated(options, "Option", "consumer-property", "command-property"))
        self.say(*deprecated(options, "Option", "property", "formatter-property"))
        self.began = log_time(lab)
        self.topic = options.text("topic")
        self.formatter = {**FORMATTER, **options.properties("property", "formatter-property")}
        self.left = options.number("max-messages") if options.has("max-messages") else -1
        self.timeout_us = options.number("timeout-ms") * 1000 if options.has("timeout-ms") else -1
        self.cursor = lab.kernel.next_event_id - 1
        self.count = 0
        self.waiting_since_us = lab.now_us
        self.started = self.closing = False
        self._start(lab, options)

    def _start(self, lab: Lab, options: Options) -> None:
        configs = options.properties("consumer-property", "command-property")
        if options.has("isolation-level"):
            configs["isolation.level"] = options.text("isolation-level")
        if options.has("from-beginning"):
            asked = configs.setdefault("auto.offset.reset", "earliest")
            if asked != "earliest":
                raise UsageError(
                    f"Can't simultaneously specify --from-beginning and 'auto.offset.reset={asked[:40]}', please remove one option"
                )
        configs.setdefault("auto.offset.reset", "latest")
        if options.has("group"):
            configs["group.id"] = group_of(options, configs, OPTIONS)
        topics = [] if options.has("partition") else [self.topic]
        self.client, again = client_name(lab, CLIENT, configs, topics)
        self.ask(c.StartNode(self.client) if again else c.CreateConsumer(self.client, topics, configs))
        if topics:
            return
        partition = options.number("partition")
        self.ask(c.AssignConsumer(self.client, self.topic, [partition]))
        offset = _offset(options)
        if offset is not None:
            self.ask(c.SeekConsumer(self.client, self.topic, partition, offset))

    def submitted(self, event_id: int) -> None:
        self.started = True

    def refused(self, error: EngineError) -> None:
        """Where the consumer runs already, it is closed."""
        if self.done:
            return
        self.say(
            f"{self.began} ERROR Unknown error when running consumer:  ({self.tool})",
            config_exception(error),
        )
        if not self.started or self.closing:
            self.finish(1)
        else:
            self.exit_status = 1
            self._end()

    def interrupt(self, lab: Lab) -> None:
        if not self.started:
            self.finish(130)
        elif not self.closing:
            self.say("^C")
            self._end()

    def work(self, lab: Lab) -> None:
        if self.closing:
            host = lab.kernel.hosts.get(self.client)
            if not self._pending and (host is None or host.status == "down"):
                self.finish(self.exit_status)
            return
        printed = 0
        for happening in news(lab, self):
            event = happening.event
            if isinstance(event, e.ConsumerFailed) and event.consumer == self.client and "NoOffset" in event.error:
                self.say(*terminating(lab, f"org.apache.kafka.clients.consumer.{event.error}", self.tool))
                self._end()
                return
            if isinstance(event, e.ConsumerFailed) and event.consumer == self.client:
                self.say(
                    f"{log_time(lab)} WARN [Consumer clientId={self.client}] {event.error} on partition "
                    f"{event.topic}-{event.partition} (org.apache.kafka.clients.NetworkClient)"
                )
            elif isinstance(event, e.RecordsConsumed) and event.consumer == self.client:
                self.waiting_since_us = happening.at_us
                printed = self._print(lab, event, printed)
                if self.left == 0:
                    break
            elif isinstance(event, (e.NodeKilled, e.NodeStopped)) and event.name == self.client:
                killed = isinstance(event, e.NodeKilled)
                self.say("Killed" if killed else f"Processed a total of {self.count} messages")
                self.finish(137 if killed else 0)
                return
        if self.left == 0:
            self._end()
        elif 0 <= self.timeout_us <= lab.now_us - self.waiting_since_us:
            self.say(*terminating(lab, "org.apache.kafka.common.errors.TimeoutException", self.tool))
            self._end()

    def _print(self, lab: Lab, event: e.RecordsConsumed, printed: int) -> int:
        partition = TopicPartition(event.topic, event.partition)
        records = served_records(lab.kernel, partition, event.first_offset, event.last_offset, event.leader_epoch)
        for record in records:
            if self.left == 0:
                break
            self.left -= self.left > 0
            self.count += 1
            printed += 1
            if printed <= MAX_LINES_PER_POLL:
                self.say(self.format(partition, record))
        return printed

    def _end(self) -> None:
        """The consumer leaves; the summary goes to standard error, after the records."""
        self.say(f"Processed a total of {self.count} messages")
        self.closing = True
        self.ask(c.CloseClient(self.client))

    def format(self, partition: TopicPartition, record: Record, deliveries: int = 0) -> str:
        """Kafka's ``DefaultMessageFormatter``; only records of share groups have a delivery count."""
        wanted = {name.removeprefix("print.") for name, value in self.formatter.items() if value.strip().lower() == "true"}
        null = self.formatter["null.literal"]
        pieces = []
        if "timestamp" in wanted:
            pieces.append(f"CreateTime:{record.timestamp_ms}")
        if "partition" in wanted:
            pieces.append(f"Partition:{partition.partition}")
        if "offset" in wanted:
            pieces.append(f"Offset:{record.offset}")
        if "delivery" in wanted:
            pieces.append(f"Delivery:{deliveries or 'NOT_PRESENT'}")
        if "epoch" in wanted:
            pieces.append("Epoch:NOT_PRESENT")
        if "headers" in wanted:
            headers = [f"{name}:{_text(value, null)}" for name, value in record.headers]
            pieces.append(self.formatter["headers.separator"].join(headers) or "NO_HEADERS")
        if "key" in wanted:
            pieces.append(_text(record.key, null))
        if "value" in wanted:
            pieces.append(_text(record.value, null))
        return self.formatter["key.separator"].join(pieces)


def terminating(lab: Lab, exception: str, tool: str) -> list[str]:
    return [f"{log_time(lab)} ERROR Error processing message, terminating consumer process:  ({tool})", exception]


def _text(content: bytes | None, null: str) -> str:
    return null if content is None else content.decode("utf-8", "replace")


def _offset(options: Options) -> int | None:
    if not options.has("offset"):
        return -2 if options.has("from-beginning") else -1
    text = options.text("offset").lower()
    if text in ("earliest", "latest"):
        return -2 if text == "earliest" else -1
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise UsageError(
        f"The provided offset value '{text[:40]}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long.",
        *usage(OPTIONS),
    )


def group_of(options: Options, configs: dict[str, str], known: tuple[Option, ...]) -> str:
    """The tool looks for all the names that were given. Raises UsageError where they differ."""
    name = options.text("group")
    if configs.get("group.id", name) != name:
        raise UsageError(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via "
            "'--consumer.config') do not match. "
            f"Detected group ids: '{configs['group.id'][:80]}', '{name[:80]}'",
            *usage(known),
        )
    return name


def run(lab: Lab, words: list[str]) -> Job:
    try:
        options = parse_options(words, OPTIONS)
    except OptionError as wrong:
        raise UsageError(wrong.text, *usage(OPTIONS)) from None
    if options.has("help"):
        return Job(["This tool helps to read data from Kafka topics and outputs it to standard output.", *usage(OPTIONS)], 1)
    if options.has("topic") == options.has("include"):
        raise UsageError("Exactly one of the following arguments is required: [topic], [include]", *usage(OPTIONS))
    if options.has("offset") and not options.has("partition"):
        raise UsageError("The partition is required when offset is specified.", *usage(OPTIONS))
    for first, second in (("from-beginning", "offset"), ("group", "partition")):
        if options.has(first) and options.has(second):
            raise UsageError(f"Options {first} and {second} cannot be specified together.", *usage(OPTIONS))
    _check_values(lab, options)
    if options.has("include"):
        raise UsageError("--include: this lab's console consumer reads one topic, all of its partitions or one.")
    return ConsumerJob(lab, options)


def _check_values(lab: Lab, options: Options) -> None:
    try:
        check_values(options, OPTIONS)
    except OptionError as wrong:
        if wrong.text.endswith(("option partition", "option timeout-ms")):
            raise UsageError(f'Exception in thread "main" {wrong.thrown}') from None
        where = "(org.apache.kafka.tools.consumer.ConsoleConsumer)"
        raise UsageError(f"{log_time(lab)} ERROR Unknown error when running consumer:  {where}", wrong.thrown) from None
