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
from engine.commands import Command, CreateConsumer, CreateProducer, StartNode, parse
from engine.console.options import UsageError
from engine.errors import EngineError
from engine.events import Happening
from engine.lab import Lab

API_TIMEOUT_US = 60_000_000
"""``default.api.timeout.ms`` of the admin client."""
GRACE_US = 5_000_000
STARTING = (CreateProducer, CreateConsumer, StartNode)


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
    """Submits one command and prints what the admin client was answered."""

    def __init__(
        self, command: Command, render: Callable[[Lab, e.AdminAnswered], tuple[list[str], int]], *, before: list[str] | None = None
    ) -> None:
        super().__init__(before)
        self.done = False
        self.ask(command)
        self.render = render
        self.call_id = 0
        self.cursor = 0
        self.deadline_us = -1

    def submitted(self, event_id: int) -> None:
        self.call_id = event_id
        self.cursor = event_id - 1

    def work(self, lab: Lab) -> None:
        if not self.call_id:
            return
        if self.deadline_us < 0:
            self.deadline_us = lab.now_us + API_TIMEOUT_US + GRACE_US
        for happening in news(lab, self):
            event = happening.event
            if isinstance(event, e.AdminAnswered) and event.call_id == self.call_id:
                lines, status = self.render(lab, event)
                self.say(*lines)
                self.finish(status)
                return
        if lab.now_us >= self.deadline_us:
            lines, status = self.render(
                lab, e.AdminAnswered(self.call_id, "", "REQUEST_TIMED_OUT", (), "Timed out waiting for a node assignment.")
            )
            self.say(*lines)
            self.finish(status)


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
    "INVALID_TOPIC_EXCEPTION": "InvalidTopicException",
    "INVALID_CONFIG": "InvalidConfigurationException",
    "REQUEST_TIMED_OUT": "TimeoutException",
    "UNKNOWN_SERVER_ERROR": "UnknownServerException",
    "MESSAGE_TOO_LARGE": "RecordTooLargeException",
    "RECORD_LIST_TOO_LARGE": "RecordBatchTooLargeException",
    "CORRUPT_MESSAGE": "CorruptRecordException",
    "OUT_OF_ORDER_SEQUENCE_NUMBER": "OutOfOrderSequenceException",
    "KAFKA_STORAGE_ERROR": "KafkaStorageException",
    "INVALID_UPDATE_VERSION": "InvalidUpdateVersionException",
}


def exception(error: str) -> str:
    """The Java class of an error: ``org.apache.kafka.common.errors.TopicExistsException``. Clients name their own exceptions."""
    if "Exception" in error:
        return "org.apache.kafka.common.errors." + error.partition(":")[0]
    name = _CLASSES.get(error) or "".join(word.capitalize() for word in error.split("_"))
    return "org.apache.kafka.common.errors." + (name if name.endswith("Exception") else name + "Exception")


def default_message(error: str) -> str:
    """Where a broker sent no message of its own."""
    from engine.errors import ERRORS

    if "Exception" in error:
        return error.partition(": ")[2]
    known = ERRORS.get(error)
    return known.meaning if known is not None else error
