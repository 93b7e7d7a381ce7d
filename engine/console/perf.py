"""kafka-producer-perf-test.sh (``org.apache.kafka.tools.ProducerPerformance``, Kafka 4.x).

The tool's producer and its stream of records are the lab's own; its latencies are from when a record was due to when its batch was
acknowledged. Time is virtual, so that what it measures is the cluster's settings, not this machine.
"""

from __future__ import annotations

from engine import commands as c
from engine import events as e
from engine import limits
from engine.console.job import HasCursor, Job, default_message, exception, news
from engine.console.options import Option, OptionError, Options, UsageError, check_values, parse_options, usage
from engine.console.producer import client_name, config_exception
from engine.errors import EngineError
from engine.lab import Lab
from engine.world import RECORD_IDS_PER_WORKLOAD

NAME = "kafka-producer-perf-test.sh"
CLIENT = "perf-producer-client"
OPTIONS = (
    Option("topic", help="produce messages to this topic"),
    Option("num-records", "long", "number of messages to produce"),
    Option("record-size", "int", "message size in bytes"),
    Option("throughput", help="throttle maximum message throughput to *approximately* THROUGHPUT messages/sec; -1: as fast as the lab allows"),
    Option("bootstrap-server", help="The server(s) to connect to."),
    Option("command-property", help="kafka producer related configuration properties: acks=1 linger.ms=20", many=True),
    Option("command-config", help="producer config properties file"),
    Option("producer-props", help="The same as --command-property (deprecated).", many=True),
    Option("producer.config", help="The same as --command-config (deprecated)."),
    Option("reporting-interval", "long", "Interval in milliseconds at which to print progress info."),
    Option("transactional-id", help="The transactional id to use."),
    Option("transaction-duration-ms", "long", "The max age of each transaction."),
    Option("warmup-records", "long", "The number of records to treat as warmup."),
    Option("help", "flag", "show this help message and exit"),
)  # fmt: skip
USAGE = "usage: producer-performance [-h] --topic TOPIC --num-records NUM-RECORDS --record-size RECORD-SIZE --throughput THROUGHPUT"
SEVERAL = ("command-property", "producer-props")
DEFAULT_INTERVAL_MS = 5_000
DEFAULT_TRANSACTION_MS = 3_000
MAX_RECORDS = 2_000_000
NOT_FROM_FILES = ("payload-file", "payload-monotonic", "print-metrics")


def run(lab: Lab, words: list[str]) -> Job:
    for name in NOT_FROM_FILES:
        if f"--{name}" in words:
            raise UsageError(f"--{name}: in this lab records have a --record-size, and the metrics are on the stage")
    try:
        options = parse_options(_gathered(words), OPTIONS)
        check_values(options, OPTIONS)
    except OptionError as wrong:
        raise _wrong(wrong.text) from None
    if options.has("help") or not words:
        return Job([USAGE, "", "This tool is used to verify the producer performance.", *usage(OPTIONS)])
    for name in ("topic", "num-records", "throughput"):
        if not options.has(name):
            raise _wrong(f"argument --{name} is required")
    if not options.has("record-size"):
        raise _wrong("one of the arguments --record-size --payload-file --payload-monotonic is required")
    for name in ("num-records", "record-size", "transaction-duration-ms", "reporting-interval"):
        if options.has(name) and options.number(name) <= 0:
            raise _wrong(f"--{name} should be greater than zero")
    if options.number("warmup-records", 0) >= options.number("num-records"):
        raise _wrong("The value for --warmup-records must be strictly fewer than the number of records in the test, --num-records.")
    return PerfJob(lab, options, _rate(options.text("throughput")))


def _gathered(words: list[str]) -> list[str]:
    """``--producer-props a=1 b=2`` takes all that follows up to the next option."""
    found: list[str] = []
    current = ""
    for word in words:
        if word.startswith("-") and not word[1:2].isdigit():
            current = word.lstrip("-")
            if current not in SEVERAL:
                found.append(word)
        elif current in SEVERAL:
            found += [f"--{current}", word]
        else:
            found.append(word)
    return found


def _wrong(text: str) -> UsageError:
    return UsageError(USAGE, f"producer-performance: error: {text}")


def _rate(text: str) -> int:
    try:
        wanted = float(text)
    except ValueError:
        raise _wrong(f"argument --throughput: could not convert '{text[:40]}' to Double (no suitable constructor)") from None
    return limits.MAX_RECORDS_PER_SECOND if wanted <= 0 else max(int(wanted), 1)


class Stats:
    """``ProducerPerformance.Stats``: latencies in whole milliseconds, a window that is told every few seconds."""

    def __init__(self, begin_us: int, interval_ms: int, name: str = "") -> None:
        self.begin_us = self.window_us = begin_us
        self.interval_us = interval_ms * 1000
        self.name = name
        self.latencies: list[int] = []
        self.window: list[int] = []

    def record(self, latencies: list[int], size: int, now_us: int) -> list[str]:
        """The lines that are due."""
        self.latencies += latencies
        self.window += latencies
        if now_us - self.window_us < self.interval_us:
            return []
        line = f"{self._told(self.window, size, now_us - self.window_us)}, {_mean(self.window):.1f} ms avg latency, "
        line += f"{max(self.window):.1f} ms max latency."
        self.window, self.window_us = [], now_us
        return [line]

    def total(self, size: int, now_us: int) -> str:
        ordered = sorted(self.latencies)
        parts = [f"{ordered[min(int(share * len(ordered)), len(ordered) - 1)]} ms {label}"
                 for share, label in ((0.5, "50th"), (0.95, "95th"), (0.99, "99th"), (0.999, "99.9th"))] if ordered else []  # fmt: skip
        head = f"{self._told(ordered, size, now_us - self.begin_us)}, {_mean(ordered):.2f} ms avg latency, "
        return head + ", ".join([f"{max(ordered, default=0):.2f} ms max latency", *parts]) + "."

    def _told(self, latencies: list[int], size: int, elapsed_us: int) -> str:
        seconds = max(elapsed_us, 1) / 1_000_000
        megabytes = len(latencies) * size / seconds / (1024 * 1024)
        return f"{len(latencies)}{self.name} records sent, {len(latencies) / seconds:.1f} records/sec ({megabytes:.2f} MB/sec)"


def _mean(latencies: list[int]) -> float:
    return sum(latencies) / len(latencies) if latencies else 0.0


class PerfJob(Job, HasCursor):
    """Makes a producer, lets it send, and counts what comes back."""

    def __init__(self, lab: Lab, options: Options, rate: int) -> None:
        super().__init__()
        self.done = False
        self.size = options.number("record-size")
        self.wanted = options.number("num-records")
        self.rate = rate
        self.warmup = options.number("warmup-records", 0)
        self.interval_ms = options.number("reporting-interval", DEFAULT_INTERVAL_MS)
        if self.wanted > MAX_RECORDS or self.size > 10_000:
            raise UsageError(f"This lab sends at most {MAX_RECORDS} records of at most 10000 bytes in one test")
        configs = options.properties(*SEVERAL)
        for name in ("bootstrap.servers", "key.serializer", "value.serializer", "client.id"):
            configs.pop(name, None)
        self.group = self._transactions(options, configs)
        self.client, again = client_name(lab, CLIENT, configs, [])
        self.workload = f"{self.client}-{lab.kernel.next_event_id}"
        self.cursor = lab.kernel.next_event_id - 1
        self.began_us = -1
        self.linger_us = 1000 * int(configs.get("linger.ms", "5")) if configs.get("linger.ms", "5").isdecimal() else 0
        self.sent: dict[int, list[int]] = {}
        self.settled = self.failed = 0
        self.stats: Stats | None = None
        self.steady: Stats | None = None
        self.closing = self.started = False
        self.topic = options.text("topic")
        self.ask(c.StartNode(self.client) if again else c.CreateProducer(self.client, configs))
        self.ask(c.StartWorkload(self.workload, self.topic, self.client, rate, 0, self.size, 0, self.wanted, self.group))

    def _transactions(self, options: Options, configs: dict[str, str]) -> int:
        """How many records a transaction has: as many as are due in its duration."""
        if options.has("transactional-id"):
            configs["transactional.id"] = options.text("transactional-id")
        if "transactional.id" not in configs and not options.has("transaction-duration-ms"):
            return 0
        configs.setdefault("transactional.id", "performance-producer-default-transactional-id")
        duration_ms = options.number("transaction-duration-ms", DEFAULT_TRANSACTION_MS)
        return min(max(self.rate * duration_ms // 1000, 1), 10_000)

    def submitted(self, event_id: int) -> None:
        self.started = True

    def refused(self, error: EngineError) -> None:
        if self.done:
            return
        self.say(config_exception(error) if error.code == "INVALID_CONFIG" else error.message)
        self.exit_status = 1
        if self.started and not self.closing:
            self._close()
        else:
            self.finish(1)

    def interrupt(self, lab: Lab) -> None:
        self.say("^C")
        self.exit_status = 130
        if self.started and not self.closing:
            self._close()
        else:
            self.finish(130)

    def _close(self) -> None:
        self.closing = True
        self.ask(c.CloseClient(self.client))

    def work(self, lab: Lab) -> None:
        for happening in news(lab, self):
            event = happening.event
            if isinstance(event, e.WorkloadStarted) and event.workload == self.workload:
                self._begin(happening.at_us)
            elif isinstance(event, e.ProduceSent) and event.producer == self.client and event.records:
                self._on_sent(event, happening.at_us)
            elif isinstance(event, e.RecordsAcknowledged) and event.producer == self.client:
                self._acknowledged(event, happening.at_us)
            elif isinstance(event, (e.RecordsFailed, e.SendRefused)) and event.producer == self.client:
                self._lost(event)
        host = lab.kernel.hosts.get(self.client)
        down = host is None or host.status == "down"
        if self.closing:
            if not self._pending and down:
                self.finish(self.exit_status)
        elif self.began_us >= 0 and self.settled + self.failed >= self.wanted:
            self._tell(lab.now_us)
            self._close()
        elif self.started and not self._pending and down:
            self.say("Killed")
            self.finish(137)

    def _begin(self, at_us: int) -> None:
        self.began_us = at_us
        self.stats = Stats(at_us, self.interval_ms)
        if self.warmup:
            self.steady = Stats(at_us, self.interval_ms, " steady state")

    def _on_sent(self, event: e.ProduceSent, at_us: int) -> None:
        """A workload numbers its records one by one, in the order and at the times at which they are due; where a transaction begins, the
        times begin anew, since the application waited for the one before."""
        numbers = [record.record_id % RECORD_IDS_PER_WORKLOAD for record in event.records]
        if self.group and numbers[0] % self.group == 0:
            late_us = at_us - self.linger_us - self._due_us(numbers[0])
            self.began_us += max(late_us, 0)
            if not self.settled and not self.sent:
                self._begin(self.began_us)
        self.sent[event.batch_id] = [self._due_us(number) for number in numbers]

    def _due_us(self, number: int) -> int:
        return self.began_us + number * 1_000_000 // self.rate

    def _acknowledged(self, event: e.RecordsAcknowledged, at_us: int) -> None:
        due = self.sent.pop(event.batch_id, None)
        if due is None or self.stats is None:
            return
        latencies = [max(at_us - moment_us, 0) // 1000 for moment_us in due]
        self.say(*self.stats.record(latencies, self.size, at_us))
        late = latencies[max(self.warmup - self.settled, 0) :]
        self.settled += len(due)
        if self.steady is not None and late:
            if not self.steady.latencies:
                self.steady.begin_us = self.steady.window_us = at_us
                self.say("In steady state.")
            self.steady.record(late, self.size, at_us)

    def _lost(self, event: e.RecordsFailed | e.SendRefused) -> None:
        """Java prints the stack for each record; here the exception once for a batch."""
        count = 1
        if isinstance(event, e.RecordsFailed):
            self.sent.pop(event.batch_id, None)
            count = event.record_count
        self.failed += count
        self.say(f"{exception(event.error)}: {default_message(event.error)}")

    def _tell(self, now_us: int) -> None:
        for stats in (self.stats, self.steady):
            if stats is not None:
                self.say(stats.total(self.size, now_us))
