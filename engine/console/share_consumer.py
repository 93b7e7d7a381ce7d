"""kafka-console-share-consumer.sh (``org.apache.kafka.tools.consumer.ConsoleShareConsumer``, Kafka 4.x): a member of a share group that
prints each record and accepts it, or releases or rejects all of them.

Where the group begins is a setting of the group (``share.auto.offset.reset``, at the end by default), not of this tool.
"""

from __future__ import annotations

from engine import commands as c
from engine import events as e
from engine.console.consumer import MAX_LINES_PER_POLL, ConsumerJob, group_of, terminating
from engine.console.job import Job, news
from engine.console.options import Option, OptionError, Options, UsageError, check_values, parse_options, usage
from engine.lab import Lab
from engine.messages.base import TopicPartition
from engine.view.microscope import served_records

NAME = "kafka-console-share-consumer.sh"
CLIENT = "console-share-consumer"
OPTIONS = (
    Option("bootstrap-server", help="The server(s) to connect to."),
    Option("topic", help="The topic to consume from."),
    Option("max-messages", "int", "The maximum number of messages to consume before exiting."),
    Option("timeout-ms", "long", "If specified, exit if no message is available for consumption for the specified interval."),
    Option("reject", "flag", "If specified, messages are rejected as they are consumed."),
    Option("release", "flag", "If specified, messages are released as they are consumed."),
    Option("reject-message-on-error", "flag", "If there is an error when processing a message, reject it instead of halting."),
    Option("property", help="The same as --formatter-property (deprecated).", many=True),
    Option("formatter-property", help="print.timestamp|partition|offset|delivery|headers|key|value=true, key.separator", many=True),
    Option("consumer-property", help="The same as --command-property (deprecated).", many=True),
    Option("command-property", help="Consumer config properties.", many=True),
    Option("group", help="The share group id of the consumer."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip


class ShareConsumerJob(ConsumerJob):
    """The running tool. It says of each record what it thinks of it as it prints it, so that after ``--max-messages`` the rest of a batch
    goes back to the group."""

    tool = "org.apache.kafka.tools.consumer.ConsoleShareConsumer"

    def _start(self, lab: Lab, options: Options) -> None:
        configs = options.properties("consumer-property", "command-property")
        configs["group.id"] = group_of(options, configs, OPTIONS) if options.has("group") else configs.get("group.id", CLIENT)
        configs["share.acknowledgement.mode"] = "explicit"
        self.client = _free_name(lab)
        self.deliveries: dict[tuple[TopicPartition, int], int] = {}
        self.ask(
            c.CreateShareConsumer(
                self.client, [self.topic], configs, release_every=int(options.has("release")), reject_every=int(options.has("reject")),
                stop_after=max(self.left, 0),
            )
        )  # fmt: skip

    def work(self, lab: Lab) -> None:
        if self.closing:
            host = lab.kernel.hosts.get(self.client)
            if not self._pending and (host is None or host.status == "down"):
                self.finish(self.exit_status)
            return
        printed = 0
        for happening in news(lab, self):
            event = happening.event
            if isinstance(event, e.ShareRecordsDelivered) and event.consumer == self.client:
                partition = TopicPartition(event.topic, event.partition)
                self.deliveries.update(
                    {(partition, offset): event.deliveries for offset in range(event.first_offset, event.last_offset + 1)}
                )
            elif isinstance(event, e.ShareRecordsProcessed) and event.consumer == self.client:
                self.waiting_since_us = happening.at_us
                printed = self._print_processed(lab, event, printed)
            elif isinstance(event, e.ConsumerCrashed) and event.consumer == self.client:
                self.say(*terminating(lab, f"org.apache.kafka.common.errors.{event.error}", self.tool))
                self.exit_status = 1
                self._end()
                return
            elif isinstance(event, (e.NodeKilled, e.NodeStopped)) and event.name == self.client:
                killed = isinstance(event, e.NodeKilled)
                self.say("Killed" if killed else f"Processed a total of {self.count} messages")
                self.finish(137 if killed else 0)
                return
        if 0 <= self.timeout_us <= lab.now_us - self.waiting_since_us:
            self.say(*terminating(lab, "org.apache.kafka.common.errors.TimeoutException", self.tool))
            self._end()
        elif self.left == 0 and not self.count:
            self._end()

    def _print_processed(self, lab: Lab, event: e.ShareRecordsProcessed, printed: int) -> int:
        partition = TopicPartition(event.topic, event.partition)
        records = served_records(lab.kernel, partition, event.first_offset, event.last_offset, event.leader_epoch)
        for record in records:
            deliveries = self.deliveries.pop((partition, record.offset), 1)
            self.count += 1
            printed += 1
            if printed <= MAX_LINES_PER_POLL:
                self.say(self.format(partition, record, deliveries))
        return printed


def _free_name(lab: Lab) -> str:
    number = 1
    while True:
        name = CLIENT if number == 1 else f"{CLIENT}-{number}"
        if name not in lab.kernel.hosts:
            return name
        number += 1


def run(lab: Lab, words: list[str]) -> Job:
    try:
        options = parse_options(words, OPTIONS)
        check_values(options, OPTIONS)
    except OptionError as wrong:
        raise UsageError(wrong.text, *usage(OPTIONS)) from None
    if options.has("help"):
        what = "This tool helps to read data from Kafka topics using share groups and outputs it to standard output."
        return Job([what, *usage(OPTIONS)], 1)
    if not options.has("topic"):
        raise UsageError("--topic is a required argument", *usage(OPTIONS))
    if options.has("reject") and options.has("release"):
        raise UsageError("At most one of --reject and --release may be specified.", *usage(OPTIONS))
    return ShareConsumerJob(lab, options)
