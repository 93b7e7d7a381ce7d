"""One command line at work: what it asks of the lab, what it waits for, and the lines that it prints meanwhile.

A job is driven from outside, because submitting means journalling and waiting means virtual time::

    job = console.execute(lab, line)
    while True:
        for command in job.take_commands():     # in order; each submission's event id goes back
            job.submitted(submit(command))      # or job.refused(error), if it raised EngineError
        print(*job.poll(lab), sep="\n")
        if job.done: break
        lab.advance(…)
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from engine import events as e
from engine.commands import Command, CreateConsumer, CreateProducer, CreateShareConsumer, StartNode, parse
from engine.console.options import UsageError
from engine.errors import ERRORS, EngineError
from engine.events import Happening
from engine.lab import Lab

API_TIMEOUT_US = 60_000_000
"""``default.api.timeout.ms`` of the admin client."""
GRACE_US = 5_000_000
STARTING = (CreateProducer, CreateConsumer, CreateShareConsumer, StartNode)


class Job:
    """Prints ``lines`` and ends. ``foreground``: the prompt comes back only when the job is done."""

    def __init__(self, lines: list[str] | None = None, exit_status: int = 0) -> None:
        self.done = True
        self.exit_status = exit_status
        self.foreground = True
        self._pending: list[Command] = []
        self._lines = list(lines or [])
        self._last_us = 0

    def take_commands(self) -> list[Command]:
        """The commands that are due now, once. One that starts a process comes alone: what follows is not asked for where that one is
        refused."""
        count = 1 if self._pending and isinstance(self._pending[0], STARTING) else len(self._pending)
        due, self._pending = self._pending[:count], self._pending[count:]
        return due

    def submitted(self, event_id: int) -> None:
        """The number of the CommandGiven event of a command that was taken."""

    def refused(self, error: EngineError) -> None:
        """The lab would not do it; the job says so and ends."""
        if not self.done:
            self.say(f"Error while executing command : {error.message}")
            self.finish(1)

    def poll(self, lab: Lab) -> list[str]:
        """The lines printed since the last time."""
        if not self.done and lab.now_us < self._last_us:
            self.say("(time was turned back: what this command waited for has not happened)")
            self.finish(130)
        self._last_us = lab.now_us
        if not self.done:
            self.work(lab)
        lines, self._lines = self._lines, []
        return lines

    def interrupt(self, lab: Lab) -> None:
        """Ctrl-C."""
        if not self.done:
            self._lines.append("^C")
            self.finish(130)

    def work(self, lab: Lab) -> None:
        """Looks whether what the job waits for has come."""

    def ask(self, *commands: Command) -> None:
        """Has commands submitted. Raises EngineError where one is not within its limits."""
        self._pending += [parse(msgspec.to_builtins(command)) for command in commands]

    def say(self, *lines: str) -> None:
        self._lines += lines

    def finish(self, status: int = 0) -> None:
        self.done = True
        self.exit_status = status
        self._pending = []


class ReadJob(Job):
    """Asks a broker for something and prints it; waits for a broker as the admin client does."""

    def __init__(self, call: str, render: Callable[[Lab], list[str]], failure: Callable[[Lab, str, str], list[str]]) -> None:
        super().__init__()
        self.done = False
        self.call = call
        self.render = render
        self.failure = failure
        self.began_us = -1

    def work(self, lab: Lab) -> None:
        if self.began_us < 0:
            self.began_us = lab.now_us
        if any(host.kind == "broker" and host.status == "up" for host in lab.kernel.hosts.values()):
            try:
                self.say(*self.render(lab))
                self.finish()
            except UsageError as wrong:
                self.say(*wrong.lines)
                self.finish(wrong.status)
        elif lab.now_us - self.began_us >= API_TIMEOUT_US:
            message = f"Timed out waiting for a node assignment. Call: {self.call}"
            self.say(*self.failure(lab, "REQUEST_TIMED_OUT", message))
            self.finish(1)


class AdminJob(Job):
    """Submits commands and, when all are answered, prints what the admin client was told, up to the first failure.

    ``call`` names the request where the client gives up. ``ready`` is asked before anything is submitted: only a broker itself
    changes its own settings, and the client waits for it.
    """

    def __init__(
        self,
        commands: Command | list[Command],
        render: Callable[[Lab, e.AdminAnswered], tuple[list[str], int]],
        *,
        call: str,
        before: list[str] | None = None,
        ready: Callable[[Lab], bool] | None = None,
    ) -> None:
        super().__init__(before)
        self.done = False
        self.commands = commands if isinstance(commands, list) else [commands]
        self.render = render
        self.call = call
        self.ready = ready
        self.answers: dict[int, e.AdminAnswered | None] = {}
        self.cursor = 0
        self.deadline_us = -1
        if ready is None:
            self.ask(*self.commands)

    def submitted(self, event_id: int) -> None:
        if not self.answers:
            self.cursor = event_id - 1
        self.answers[event_id] = None

    def work(self, lab: Lab) -> None:
        if self.deadline_us < 0:
            self.deadline_us = lab.now_us + API_TIMEOUT_US + (0 if self.ready is not None else GRACE_US)
        if self.ready is not None and self.ready(lab):
            self.ready = None
            self.ask(*self.commands)
        elif self.answers:
            for happening in news(lab, self):
                event = happening.event
                if isinstance(event, e.AdminAnswered) and event.call_id in self.answers:
                    self.answers[event.call_id] = event
            if len(self.answers) == len(self.commands) and all(self.answers.values()):
                self._print(lab)
                return
        if lab.now_us >= self.deadline_us:
            message = f"Timed out waiting for a node assignment. Call: {self.call}"
            lines, status = self.render(lab, e.AdminAnswered(0, "", "REQUEST_TIMED_OUT", (), message))
            self.say(*lines)
            self.finish(status)

    def _print(self, lab: Lab) -> None:
        status = 0
        for answer in self.answers.values():
            assert answer is not None
            lines, status = self.render(lab, answer)
            self.say(*lines)
            if status:
                break
        self.finish(status)


class StagedJob(Job):
    """A tool that looks first and then asks: once ``follow`` has handed the work to another job, that one is the job."""

    def __init__(self) -> None:
        super().__init__()
        self.done = False
        self.following: Job | None = None

    def follow(self, job: Job) -> None:
        self.following = job

    def take_commands(self) -> list[Command]:
        return self.following.take_commands() if self.following is not None else super().take_commands()

    def submitted(self, event_id: int) -> None:
        if self.following is not None:
            self.following.submitted(event_id)

    def refused(self, error: EngineError) -> None:
        if self.following is not None:
            self.following.refused(error)
        else:
            super().refused(error)

    def poll(self, lab: Lab) -> list[str]:
        lines = super().poll(lab) if self.following is None else []
        if self.following is not None and not self.done:
            lines += self.following.poll(lab)
            self.done, self.exit_status = self.following.done, self.following.exit_status
        return lines

    def interrupt(self, lab: Lab) -> None:
        if self.following is not None:
            self.following.interrupt(lab)
        else:
            super().interrupt(lab)


class HasCursor:
    """Anything that reads history on from ``cursor``."""

    cursor: int


def news(lab: Lab, reader: AdminJob | HasCursor, page: int = 500) -> list[Happening]:
    """What happened since ``reader`` last looked."""
    found: list[Happening] = []
    while True:
        happenings = lab.history(reader.cursor, page)
        if happenings:
            reader.cursor = happenings[-1].id
            found += happenings
        if len(happenings) < page:
            return found


def log_time(lab: Lab) -> str:
    """The wall clock of log4j lines: "[2026-01-01 00:00:04,182]"."""
    moment = datetime.fromtimestamp((lab.kernel.epoch_ms + lab.now_us // 1000) / 1000, UTC)
    return f"[{moment:%Y-%m-%d %H:%M:%S},{moment.microsecond // 1000:03}]"


_CLASSES = {
    "TOPIC_ALREADY_EXISTS": "TopicExistsException",
    "INVALID_CONFIG": "InvalidConfigurationException",
    "REQUEST_TIMED_OUT": "TimeoutException",
    "MESSAGE_TOO_LARGE": "RecordTooLargeException",
    "RECORD_LIST_TOO_LARGE": "RecordBatchTooLargeException",
    "CORRUPT_MESSAGE": "CorruptRecordException",
    "OUT_OF_ORDER_SEQUENCE_NUMBER": "OutOfOrderSequenceException",
    "UNKNOWN_SERVER_ERROR": "UnknownServerException",
    "DUPLICATE_SEQUENCE_NUMBER": "DuplicateSequenceException",
    "INVALID_TRANSACTION_TIMEOUT": "InvalidTxnTimeoutException",
    "TOPIC_AUTHORIZATION_FAILED": "TopicAuthorizationException",
    "CLUSTER_AUTHORIZATION_FAILED": "ClusterAuthorizationException",
    "FETCH_SESSION_TOPIC_ID_ERROR": "FetchSessionTopicIdException",
    "NON_EMPTY_GROUP": "GroupNotEmptyException",
    "ILLEGAL_GENERATION": "IllegalGenerationException",
    "TRANSACTION_ABORTABLE": "TransactionAbortableException",
    "INVALID_PRODUCER_ID_MAPPING": "InvalidPidMappingException",
    "CONCURRENT_TRANSACTIONS": "ConcurrentTransactionsException",
    "SASL_AUTHENTICATION_FAILED": "SaslAuthenticationException",
}
_MESSAGES = {
    "CORRUPT_MESSAGE": "This message has failed its CRC checksum, exceeds the valid size, has a null key for a compacted topic, or is "
    "otherwise corrupt.",
    "GROUP_ID_NOT_FOUND": "The group id does not exist.",
    "GROUP_SUBSCRIBED_TO_TOPIC": "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.",
    "NON_EMPTY_GROUP": "The group is not empty.",
    "UNKNOWN_MEMBER_ID": "The coordinator is not aware of this member.",
    "COORDINATOR_NOT_AVAILABLE": "The coordinator is not available.",
    "TOPIC_AUTHORIZATION_FAILED": "Topic authorization failed.",
    "GROUP_AUTHORIZATION_FAILED": "Group authorization failed.",
    "CLUSTER_AUTHORIZATION_FAILED": "Cluster authorization failed.",
    "INVALID_PRODUCER_EPOCH": "Producer attempted to produce with an old epoch.",
    "INVALID_RECORD": "This record has failed the validation on broker and hence will be rejected.",
    "INVALID_REQUIRED_ACKS": "Produce request specified an invalid value for required acks.",
    "INVALID_TIMESTAMP": "The timestamp of the message is out of acceptable range.",
    "INVALID_TOPIC_EXCEPTION": "The request attempted to perform an operation on an invalid topic.",
    "KAFKA_STORAGE_ERROR": "Disk error when trying to access log file on the disk.",
    "LEADER_NOT_AVAILABLE": "There is no leader for this topic-partition as we are in the middle of a leadership election.",
    "MESSAGE_TOO_LARGE": "The request included a message larger than the max message size the server will accept.",
    "NETWORK_EXCEPTION": "The server disconnected before a response was received.",
    "NOT_CONTROLLER": "This is not the correct controller for this cluster.",
    "NOT_ENOUGH_REPLICAS": "Messages are rejected since there are fewer in-sync replicas than required.",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": "Messages are written to the log, but to fewer in-sync replicas than required.",
    "NOT_LEADER_OR_FOLLOWER": "For requests intended only for the leader, this error indicates that the broker is not the current leader. "
    "For requests intended for any replica, this error indicates that the broker is not a replica of the topic partition.",
    "OFFSET_NOT_AVAILABLE": "The leader high watermark has not caught up from a recent leader election so the offsets cannot be guaranteed "
    "to be monotonically increasing.",
    "OFFSET_OUT_OF_RANGE": "The requested offset is not within the range of offsets maintained by the server.",
    "OUT_OF_ORDER_SEQUENCE_NUMBER": "The broker received an out of order sequence number.",
    "RECORD_LIST_TOO_LARGE": "The request included message batch larger than the configured segment size on the server.",
    "REQUEST_TIMED_OUT": "The request timed out.",
    "UNKNOWN_TOPIC_OR_PARTITION": "This server does not host this topic-partition.",
}
"""``Errors.message()`` of the codes for which a broker sends no words of its own."""


def exception(error: str) -> str:
    """The Java class of an error: ``org.apache.kafka.common.errors.TopicExistsException``. Clients name their own exceptions."""
    if "Exception" in error:
        return "org.apache.kafka.common.errors." + error.partition(":")[0]
    if error == "INVALID_RECORD":
        return "org.apache.kafka.common.InvalidRecordException"
    name = _CLASSES.get(error) or "".join(word.capitalize() for word in error.split("_"))
    return "org.apache.kafka.common.errors." + (name if name.endswith("Exception") else name + "Exception")


def default_message(error: str) -> str:
    """Where a broker sent no message of its own."""
    if "Exception" in error:
        return error.partition(": ")[2]
    known = ERRORS.get(error)
    return _MESSAGES.get(error) or (known.meaning if known is not None else error)
