"""kafka-console-producer.sh (``org.apache.kafka.tools.ConsoleProducer``, Kafka 4.x).

The tool is a producer like any other; its defaults differ from the library's (``linger.ms`` 1000, ``retries`` 3,
``request.timeout.ms`` 1500), as a learner who waits for the first record soon notices.
"""

from __future__ import annotations

from engine import commands as c
from engine import events as e
from engine.console.job import HasCursor, Job, default_message, exception, log_time, news
from engine.console.options import (
    Option,
    OptionError,
    Options,
    UsageError,
    check_values,
    deprecated,
    parse_options,
    require,
    usage,
)
from engine.console.topics import wrong_name
from engine.errors import EngineError
from engine.lab import Lab

NAME = "kafka-console-producer.sh"
CLIENT = "console-producer"
OPTIONS = (
    Option("bootstrap-server", help="The server(s) to connect to."),
    Option("topic", help="The topic name to produce messages to."),
    Option("property", help="The same as --reader-property (deprecated).", many=True),
    Option("reader-property", help="parse.key=true, key.separator=:, null.marker=NULL, parse.headers=true.", many=True),
    Option("producer-property", help="The same as --command-property (deprecated).", many=True),
    Option("command-property", help="Producer config properties.", many=True),
    Option("sync", "flag", "If set message send requests to the brokers are synchronously, one at a time as they arrive."),
    Option("compression-codec", help="The compression codec: either 'none', 'gzip', 'snappy', 'lz4', or 'zstd'."),
    Option("batch-size", "int", "Number of messages to send in a single batch if they are not being sent synchronously."),
    Option("message-send-max-retries", "int", "Number of retries before the producer gives up and drops this message."),
    Option("retry-backoff-ms", "long", "Before each retry, the producer refreshes the metadata of relevant topics."),
    Option("timeout", "long", "How long a message queues awaiting sufficient batch size (linger.ms)."),
    Option("request-required-acks", help="The required acks of the producer requests."),
    Option("request-timeout-ms", "int", "The ack timeout of the producer requests."),
    Option("max-block-ms", "long", "The max time that the producer will block for during a send request."),
    Option("max-memory-bytes", "long", "The total memory used by the producer to buffer records (buffer.memory)."),
    Option("metadata-expiry-ms", "long", "After how long a refresh of metadata is forced (metadata.max.age.ms)."),
    Option("max-partition-memory-bytes", "int", "The buffer size allocated for a partition (batch.size)."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip
READER = {"parse.key": "false", "key.separator": "\t", "null.marker": "", "ignore.error": "false", "parse.headers": "false",
          "headers.delimiter": "\t", "headers.separator": ",", "headers.key.separator": ":"}  # fmt: skip
DEFAULTS = {"acks": "-1", "linger.ms": "1000", "retries": "3", "retry.backoff.ms": "100", "request.timeout.ms": "1500",
            "max.block.ms": "60000", "batch.size": "16384", "buffer.memory": "33554432", "compression.type": "none"}  # fmt: skip
BY_OPTION = {
    "request-required-acks": "acks", "timeout": "linger.ms", "message-send-max-retries": "retries", "retry-backoff-ms": "retry.backoff.ms",
    "request-timeout-ms": "request.timeout.ms", "max-block-ms": "max.block.ms", "max-memory-bytes": "buffer.memory",
    "metadata-expiry-ms": "metadata.max.age.ms", "compression-codec": "compression.type", "batch-size": "batch.size",
    "max-partition-memory-bytes": "batch.size",
}  # fmt: skip
"""An option that is given beats the property; of two for one property, the later."""


class ProducerJob(Job, HasCursor):
    """The running tool. While ``prompting``, the console hands it each line; it lives on until the last record is settled."""

    def __init__(self, lab: Lab, options: Options, lines: list[str] | None) -> None:
        super().__init__()
        self.done = False
        self.say(*deprecated(options, "Warning:", "producer-property", "command-property"))
        self.say(*deprecated(options, "Warning:", "property", "reader-property"))
        self.sent = Sent()
        self.topic = options.text("topic")
        self.reader = {**READER, **options.properties("property", "reader-property")}
        configs = _configs(options)
        self.client, again = client_name(lab, CLIENT, configs, [])
        self.prompting = lines is None
        self.started = self.closing = False
        self.line_number = 0
        self.cursor = lab.kernel.next_event_id - 1
        self.ask(c.StartNode(self.client) if again else c.CreateProducer(self.client, configs))
        for line in lines or ():
            if not self.closing:
                self.take_line(line)
        if lines is not None:
            self.close()

    @property
    def prompt(self) -> str:
        return ">" if self.prompting else ""

    def take_line(self, line: str) -> None:
        """One line of standard input becomes one record. Raises EngineError where it is too long."""
        self.line_number += 1
        try:
            record = self._parse(line)
            self.ask(record)
            self.sent.fresh.append(sizes(record))
        except UsageError as wrong:
            self.say(*wrong.lines)
            self.exit_status = wrong.status
            self.close()

    def close(self) -> None:
        """End of input: what is buffered is sent before the tool ends."""
        if not self.closing:
            self.closing, self.prompting = True, False
            self.foreground = True
            self.ask(c.CloseClient(self.client))

    def submitted(self, event_id: int) -> None:
        self.started = True

    def refused(self, error: EngineError) -> None:
        """Whatever was not taken, the tool does not go on; its client is closed where it runs."""
        if self.done:
            return
        self.say(config_exception(error) if error.code == "INVALID_CONFIG" else f"Error while executing command : {error.message}")
        if not self.started or self.closing:
            self.finish(1)
        else:
            self.exit_status = 1
            self.close()

    def finish(self, status: int = 0) -> None:
        super().finish(status)
        self.prompting = False

    def interrupt(self, lab: Lab) -> None:
        if not self.closing:
            self.say("^C")
            self.exit_status = 130
            self.close()

    def work(self, lab: Lab) -> None:
        if not self._pending:
            self.sent.number(lab.world.next_record_id)
        for happening in news(lab, self):
            event = happening.event
            if isinstance(event, e.ProduceSent) and event.producer == self.client:
                self.sent.batched(event)
            elif isinstance(event, (e.RecordsFailed, e.SendRefused)) and event.producer == self.client:
                self.say(*self._errors(lab, event))
        host = lab.kernel.hosts.get(self.client)
        if not self.started or self._pending or (host is not None and host.status != "down"):
            return
        if not self.closing:
            self.say("Killed")
        self.finish(self.exit_status if self.closing else 137)

    def _errors(self, lab: Lab, event: e.RecordsFailed | e.SendRefused) -> list[str]:
        """``ErrorLoggingCallback``, once for each record."""
        reason = f"{exception(event.error)}: {default_message(event.error)}"
        return [line for record in self.sent.failed(event) for line in (logged(log_time(lab), event.topic, record), reason)]

    def _parse(self, line: str) -> c.Produce:
        """Kafka's ``LineMessageReader``."""
        reader = self.reader
        headers: list[c.Header] = []
        key: str | None = None
        value: str | None
        if reader["parse.headers"] == "true":
            text, line = self._split(line, reader["headers.delimiter"], "headers delimiter")
            items = text.split(reader["headers.separator"]) if text else []
            marked = reader["null.marker"]
            headers = [] if marked and text == marked else [self._header(item) for item in items]
        if reader["parse.key"] == "true":
            key, line = self._split(line, reader["key.separator"], "key separator")
        marker = reader["null.marker"]
        value = None if marker and line == marker else line
        if marker and key == marker:
            key = None
        return c.Produce(self.topic, value, key, self.client, None, headers)

    def _header(self, item: str) -> c.Header:
        name, found, value = item.partition(self.reader["headers.key.separator"])
        if not found and self.reader["ignore.error"] != "true":
            raise UsageError(
                f"org.apache.kafka.common.KafkaException: No header key separator found in pair '{item[:80]}' on line number "
                f"{self.line_number}"
            )
        marker = self.reader["null.marker"]
        return c.Header(name, None if not found or (marker and value == marker) else value)

    def _split(self, line: str, separator: str, what: str) -> tuple[str, str]:
        head, found, tail = line.partition(separator)
        if found or self.reader["ignore.error"] == "true":
            return (head, tail) if found else ("", line)
        raise UsageError(
            f"org.apache.kafka.common.KafkaException: No {what} found on line number {self.line_number}: '{line[:80]}'"
        )


class Sent:
    """The records that are on their way, by what ``ErrorLoggingCallback`` tells about them: the sizes of key and value."""

    def __init__(self) -> None:
        self.fresh: list[tuple[int, int]] = []
        self.by_id: dict[int, tuple[int, int]] = {}
        self.batches: dict[int, list[tuple[int, int]]] = {}

    def number(self, next_record_id: int) -> None:
        """The newest of the lab's records are those just submitted."""
        for distance, record in enumerate(reversed(self.fresh), start=1):
            self.by_id[next_record_id - distance] = record
        self.fresh = []

    def batched(self, event: e.ProduceSent) -> None:
        if event.records:
            self.batches[event.batch_id] = [self.by_id.pop(record.record_id, (-1, -1)) for record in event.records]

    def failed(self, event: e.RecordsFailed | e.SendRefused) -> list[tuple[int, int]]:
        """Of a batch that expired before it was sent only the number is known: it held the oldest."""
        if isinstance(event, e.SendRefused):
            return [self.by_id.pop(event.record_id, (-1, -1))]
        known = self.batches.pop(event.batch_id, None)
        return known if known is not None else [self.by_id.pop(number) for number in sorted(self.by_id)[: event.record_count]]


def sizes(record: c.Produce) -> tuple[int, int]:
    """Bytes of key and value, -1 for null."""
    key, value = (-1 if text is None else len(text.encode()) for text in (record.key, record.value))
    return key, value


def logged(time: str, topic: str, record: tuple[int, int]) -> str:
    key, value = ("null" if size < 0 else f"{size} bytes" for size in record)
    return (
        f"{time} ERROR Error when sending message to topic {topic} with key: {key}, value: {value} with error: "
        "(org.apache.kafka.clients.producer.internals.ErrorLoggingCallback)"
    )


def config_exception(error: EngineError) -> str:
    """A client that could not be made: Kafka ends the words about a single value without a full stop."""
    text = error.message.removesuffix(".") if error.message.startswith("Invalid value") else error.message
    return f"org.apache.kafka.common.config.ConfigException: {text}"


def run(lab: Lab, words: list[str], lines: list[str] | None) -> Job:
    """``lines`` None: they follow at the prompt."""
    try:
        options = parse_options(words, OPTIONS)
        if options.has("help"):
            return Job(["This tool helps to read data from standard input and publish it to Kafka.", *usage(OPTIONS)], 1)
        require(options, OPTIONS, "topic")
        check_values(options, OPTIONS)
    except OptionError as wrong:
        raise UsageError(wrong.text, *(() if wrong.late else usage(OPTIONS))) from None
    topic = options.text("topic")
    if wrong_name(topic):
        text = f"org.apache.kafka.common.errors.InvalidTopicException: Invalid topics: [{topic}]"
        return Job([line for each in lines or () for line in (logged(log_time(lab), topic, (-1, len(each.encode()))), text)])
    return ProducerJob(lab, options, lines)


def _configs(options: Options) -> dict[str, str]:
    configs = {**DEFAULTS, **options.properties("producer-property", "command-property")}
    for option, name in BY_OPTION.items():
        if options.has(option):
            configs[name] = options.text(option)
    return configs


def client_name(lab: Lab, wanted: str, configs: dict[str, str], topics: list[str]) -> tuple[str, bool]:
    """A name for the tool's client, and whether a client like it ran before and has ended: that one is started again, so that many
    runs of a tool do not fill the lab with dead clients."""
    world = lab.world
    kind = "consumer" if "consumer" in wanted else "producer"
    number = 1
    while True:
        name = wanted if number == 1 else f"{wanted}-{number}"
        host = lab.kernel.hosts.get(name)
        if host is None:
            return name, False
        same = world.client_configs.get(name) == configs and world.consumer_topics.get(name, []) == topics
        if host.status == "down" and same and host.kind == kind:
            return name, True
        number += 1
