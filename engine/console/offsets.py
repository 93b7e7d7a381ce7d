"""kafka-get-offsets.sh (``org.apache.kafka.tools.GetOffsetShell``, Kafka 4.x)."""

from __future__ import annotations

import re
from collections.abc import Callable

from engine.broker.node import BrokerNode
from engine.broker.state import Replica
from engine.console.job import API_TIMEOUT_US, Job
from engine.console.options import Option, OptionError, Options, UsageError, check_values, parse_options, usage
from engine.console.topics import matches
from engine.lab import Lab
from engine.messages.base import TopicPartition
from engine.metadata.internal_topics import INTERNAL_TOPICS
from engine.spec import broker_name
from engine.view.build import committed_image

NAME = "kafka-get-offsets.sh"
OPTIONS = (
    Option("bootstrap-server", help="The server(s) to connect to in the form HOST1:PORT1,HOST2:PORT2."),
    Option("topic-partitions", help="Patterns topic:partition, such as 'topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3'."),
    Option("topic", help="The topic to get the offsets for. It also accepts a regular expression."),
    Option("partitions", help="Comma separated list of partition ids to get the offsets for."),
    Option("time", help="<timestamp> / -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered"),
    Option("command-config", help="Property file containing configs to be passed to Admin Client."),
    Option("exclude-internal-topics", "flag", "By default, internal topics are included. If specified, internal topics are excluded."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip
RULE = re.compile(r"([^:,]*)(?::(?:([0-9]{0,9})|(?:([0-9]{0,9})-([0-9]{0,9}))))?")
NAMED_TIMES = {"latest": -1, "earliest": -2, "max-timestamp": -3, "earliest-local": -4, "latest-tiered": -5}
Accepts = Callable[[TopicPartition], bool]


def run(lab: Lab, words: list[str]) -> Job:
    try:
        options = parse_options(words, OPTIONS)
        if options.has("help") or not words:
            return Job(["An interactive shell for getting topic-partition offsets.", *usage(OPTIONS)], 1)
        check_values(options, OPTIONS)
    except OptionError as wrong:
        raise UsageError(f"Error occurred: {wrong.text}") from None
    if options.has("topic-partitions") and (options.has("topic") or options.has("partitions")):
        raise UsageError("Error occurred: --topic-partitions cannot be used with --topic or --partitions")
    time = _time(options.text("time", "latest"))
    return OffsetsJob(lab, _filter(options), time, without_internal=options.has("exclude-internal-topics"))


def _time(text: str) -> int:
    if text in NAMED_TIMES:
        return NAMED_TIMES[text]
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    raise UsageError(
        f"Error occurred: Malformed time argument {text[:80]}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / "
        "-4 or earliest-local / -5 or latest-tiered, or a specified long format timestamp"
    )


def _filter(options: Options) -> Accepts:
    if options.has("topic-partitions"):
        rules = [_rule(text) for text in options.text("topic-partitions").split(",")]
        return lambda partition: any(rule(partition) for rule in rules)
    topic, ids = options.text("topic", ".*"), options.text("partitions")
    if ids and not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", ids):
        raise UsageError(
            f"Error occurred: --partitions expects a comma separated list of numeric partition ids, but received: {ids[:80]}"
        )
    wanted = [int(number) for number in ids.split(",")] if ids else []
    return lambda partition: matches(topic, partition.topic) and (not wanted or partition.partition in wanted)


def _rule(text: str) -> Accepts:
    found = RULE.fullmatch(text)
    if found is None:
        reason = f"Invalid rule specification: {text[:80]}"
        raise UsageError(f"Error occurred: org.apache.kafka.tools.TerseException: {reason}")
    topic, one, low, high = found.group(1) or ".*", found.group(2), found.group(3), found.group(4)
    if one:
        return lambda partition: matches(topic, partition.topic) and partition.partition == int(one)
    first, end = int(low or 0), int(high or 2**31)
    return lambda partition: matches(topic, partition.topic) and first <= partition.partition < end


class OffsetsJob(Job):
    """Asks each partition's leader; for one without, as the admin client does, for a minute."""

    def __init__(self, lab: Lab, accepts: Accepts, time: int, *, without_internal: bool) -> None:
        super().__init__()
        self.done = False
        self.accepts, self.time, self.without_internal = accepts, time, without_internal
        self.began_us = lab.now_us

    def work(self, lab: Lab) -> None:
        over = lab.now_us - self.began_us >= API_TIMEOUT_US
        image = committed_image(lab.kernel)
        partitions = [
            TopicPartition(name, number)
            for name, topic in image.topics.items()
            if not (self.without_internal and name in INTERNAL_TOPICS)
            for number in topic.partitions
            if self.accepts(TopicPartition(name, number))
        ]
        if not partitions:
            self.say("Error occurred: Could not match any topic-partitions with the specified filters")
            self.finish(1)
            return
        found = {str(partition): offset_for(lab, partition, self.time) for partition in partitions}
        late = [name for name, offset in found.items() if offset is None]
        if late and not over:
            return
        reason = "org.apache.kafka.common.errors.TimeoutException: Call(callName=listOffsets(api=LIST_OFFSETS)) timed out"
        self.say(*[f"Skip getting offsets for topic-partition {name} due to error: {reason}" for name in sorted(late)])
        known = [(name, offset) for name, offset in sorted(found.items()) if offset is not None and offset >= 0]
        self.say(*[f"{name.rpartition('-')[0]}:{name.rpartition('-')[2]}:{offset}" for name, offset in known])
        self.finish()


def leader_replica(lab: Lab, partition: TopicPartition) -> Replica | None:
    """The leader's replica, where it runs and answers."""
    topic = committed_image(lab.kernel).topics.get(partition.topic)
    known = topic.partitions.get(partition.partition) if topic is not None else None
    host = lab.kernel.hosts.get(broker_name(known.leader)) if known is not None and known.leader >= 0 else None
    if host is None or host.status not in ("up", "stopping") or not isinstance(host.node, BrokerNode):
        return None
    replica = host.node.partitions.get(partition)
    return replica if replica is not None and replica.role == "leader" else None


def offset_for(lab: Lab, partition: TopicPartition, time: int, *, committed: bool = False) -> int | None:
    """What ListOffsets answers (-1: there is none), or None while nobody can. ``committed``: up to the last stable offset only."""
    replica = leader_replica(lab, partition)
    if replica is None:
        return None
    end = replica.last_stable_offset if committed else replica.high_watermark
    lagging = replica.leader_epoch_start_offset > replica.high_watermark
    if time == NAMED_TIMES["latest"]:
        return None if lagging else end
    if time in (NAMED_TIMES["earliest"], NAMED_TIMES["earliest-local"]):
        return replica.log.log_start_offset
    if time == NAMED_TIMES["latest-tiered"]:
        return -1
    log = replica.log
    found = log.offset_of_max_timestamp() if time == NAMED_TIMES["max-timestamp"] else log.offset_for_timestamp(time)
    if found is not None and found.offset < end:
        return found.offset
    return None if lagging else -1
