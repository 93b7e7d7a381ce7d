"""How a lab's changes reach a browser: one writer per socket, never more than two pushes ahead of what the browser has drawn.

A watcher holds no queue. When its reader is ready it takes the difference between the version it sent last and the newest, so that a
slow reader skips versions instead of piling them up, and holds up nobody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic

from kafkalab.sandbox import bounds
from kafkalab.sandbox.live import Live

Send = Callable[[bytes], Awaitable[None]]
MAX_WAITING_MESSAGES = 200
"""Console lines and goals that wait for a slow reader; beyond it the socket is closed, as it could not catch up."""


class Watcher:
    """One reader of one lab. ``send`` puts bytes on its socket, ``close`` ends it with a code."""

    def __init__(self, live: Live, send: Send, close: Callable[[int], Awaitable[None]]) -> None:
        self.live = live
        self.send = send
        self.close = close
        self.version = 0
        self.unacknowledged: deque[int] = deque()
        self.acknowledged_at = monotonic()
        self.waiting: deque[bytes] = deque()
        self.wake = asyncio.Event()
        self.wake.set()
        self.overrun = False
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self._write())

    async def stop(self) -> None:
        task, self.task = self.task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def ready(self) -> bool:
        return len(self.unacknowledged) < bounds.MAX_UNACKNOWLEDGED_PUSHES

    def acknowledge(self, version: int) -> None:
        """The browser has folded in ``version`` (and all before it)."""
        waiting = self.unacknowledged
        if not waiting or version < waiting[0]:
            return
        while waiting and waiting[0] <= version:
            waiting.popleft()
        self.acknowledged_at = monotonic()
        self.wake.set()
        if self.live.stale:
            self.live.nudge.set()

    def begin_again(self) -> None:
        """The browser lost its place and asks for a whole view."""
        self.version = 0
        self.unacknowledged.clear()
        self.wake.set()

    def tell(self, message: bytes) -> None:
        """A message that must not be skipped (console output, goals)."""
        if len(self.waiting) >= MAX_WAITING_MESSAGES:
            self.overrun = True
        else:
            self.waiting.append(message)
        self.wake.set()

    @property
    def silent(self) -> bool:
        """It has had pushes for a minute and acknowledged none: nobody reads there."""
        return not self.ready and monotonic() - self.acknowledged_at > bounds.SILENT_READER_S

    async def _write(self) -> None:
        try:
            while True:
                await self.wake.wait()
                self.wake.clear()
                if self.overrun:
                    await self.close(4408)
                    return
                while self.waiting:
                    await self.send(self.waiting.popleft())
                live = self.live
                if self.ready and self.version < live.version:
                    self.version, content = live.message(self.version)
                    if not self.unacknowledged:
                        self.acknowledged_at = monotonic()
                    self.unacknowledged.append(self.version)
                    await self.send(content)
        except (ConnectionError, RuntimeError):
            return
