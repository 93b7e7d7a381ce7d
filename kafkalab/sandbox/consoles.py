"""Consoles on a lab: each socket's terminal, whose jobs submit through the journal and print as virtual time passes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import msgspec

from engine.commands import AnyCommand
from engine.console.job import Job
from engine.console.session import Console
from engine.errors import EngineError
from kafkalab.sandbox import bounds
from kafkalab.sandbox.errors import Refusal

if TYPE_CHECKING:
    from kafkalab.sandbox.live import Live
    from kafkalab.sandbox.push import Watcher

INTERRUPT = "\x03"
Submit = Callable[[AnyCommand], Awaitable[int]]


class Terminal:
    """One socket's console and the jobs that it started."""

    def __init__(self, watcher: Watcher | None) -> None:
        self.watcher = watcher
        self.console = Console()
        self.jobs: list[Job] = []

    @property
    def prompt(self) -> str:
        """What stands before the cursor; empty while a tool in the foreground runs."""
        if any(job.foreground and not job.done for job in self.jobs):
            return ""
        return self.console.prompt.strip()


class Consoles:
    """All terminals of one lab. ``submit`` journals a command and carries it out."""

    def __init__(self, live: Live, submit: Submit) -> None:
        self.live = live
        self.submit = submit
        self.terminals: list[Terminal] = []

    def open(self, watcher: Watcher | None) -> Terminal:
        terminal = Terminal(watcher)
        self.terminals.append(terminal)
        return terminal

    async def close(self, terminal: Terminal) -> None:
        """The window is gone: what runs in it is stopped, as by Ctrl-C."""
        if terminal in self.terminals:
            self.terminals.remove(terminal)
            await self._interrupt(terminal)

    @property
    def busy(self) -> bool:
        return any(not job.done for terminal in self.terminals for job in terminal.jobs)

    async def enter(self, terminal: Terminal, line: str) -> dict[str, Any]:
        """One line as typed: ``{job, output, lines, done, exit_status, prompt, failed}``, as far as it got at once.

        Raises Refusal for a line while a tool still runs."""
        if line == INTERRUPT:
            lines = await self._interrupt(terminal)
            return _answer(terminal, lines, 130)
        if terminal.prompt == "":
            raise Refusal("A tool is still running in this console.", field="line", cure="Wait for it, or stop it with Ctrl-C.")
        if sum(not job.done for job in terminal.jobs) >= bounds.MAX_CONSOLE_JOBS:
            raise Refusal(
                f"At most {bounds.MAX_CONSOLE_JOBS} tools run at once in one console.", field="line", cure="Stop one with Ctrl-C."
            )
        job = terminal.console.execute(self.live.lab, line)
        if job not in terminal.jobs:
            terminal.jobs.append(job)
        lines = await self._work(job)
        if not job.done and job.foreground and not self.live.running:
            lines.append("(time is paused: the answer comes when it runs)")
        status = job.exit_status if job.done else 0
        terminal.jobs = [kept for kept in terminal.jobs if not kept.done]
        self.live.nudge.set()
        return _answer(terminal, lines, status, done=job.done)

    async def drive(self) -> None:
        """After time has passed: what the jobs have to say now."""
        for terminal in list(self.terminals):
            lines: list[str] = []
            status = 0
            ended = False
            for job in list(terminal.jobs):
                lines += await self._work(job)
                if job.done:
                    ended, status = True, job.exit_status
                    terminal.jobs.remove(job)
            if (lines or ended) and terminal.watcher is not None:
                content = {"t": "console", **_answer(terminal, lines[: bounds.CONSOLE_LINES_PER_PUSH], status, done=ended)}
                if len(lines) > bounds.CONSOLE_LINES_PER_PUSH:
                    content["output"] += f"\n… {len(lines) - bounds.CONSOLE_LINES_PER_PUSH} more lines"
                terminal.watcher.tell(msgspec.json.encode(content))

    async def _work(self, job: Job) -> list[str]:
        """Lets a job submit what it wants and print what it can."""
        await self._submit(job)
        lines = job.poll(self.live.lab)
        await self._submit(job)
        return lines

    async def _submit(self, job: Job) -> None:
        for command in job.take_commands():
            try:
                job.submitted(await self.submit(cast(AnyCommand, command)))
            except EngineError as wrong:
                job.refused(wrong)

    async def _interrupt(self, terminal: Terminal) -> list[str]:
        lines: list[str] = []
        for job in terminal.jobs:
            job.interrupt(self.live.lab)
            lines += await self._work(job)
        terminal.jobs = [kept for kept in terminal.jobs if not kept.done]
        return lines


def _answer(terminal: Terminal, lines: list[str], status: int, *, done: bool = True) -> dict[str, Any]:
    output = "\n".join(lines).encode("utf-8", "replace").decode()
    return {"output": output, "done": done, "exit_status": status, "failed": status != 0, "prompt": terminal.prompt}
