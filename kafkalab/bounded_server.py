"""daphne with bounds: what one connection may make this process hold.

daphne writes whatever the site sends into memory, however slowly the other end reads; it queues every message that arrives while an
action is still at work, and puts a request's body on disk before anybody can refuse it. Here each of the three has a limit.
"""

from __future__ import annotations

import logging
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import reactor

logger = logging.getLogger(__name__)

MAX_UNSENT_BYTES = 16 * 1024 * 1024
"""Waiting for one socket's reader, beside what the system buffers: several whole views of the largest lab."""
MAX_WAITING_MESSAGES = 16
"""Messages of one socket that wait for the action before them; beyond it the sender has to wait."""
RESUME_LOOK_S = 0.02
MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""A body up to here reaches the site, which refuses in its own words what is too large for it; what is longer is not kept."""


class BoundedSocket(WebSocketProtocol):  # type: ignore[misc]  # daphne has no types
    """One WebSocket. ``maxMessagePayloadSize`` is for what comes in; autobahn would refuse to send more than that, too."""

    maxMessagePayloadSize: int  # noqa: N815  (autobahn's name)
    held_back = False

    def serverSend(self, content: Any, binary: bool = False) -> None:  # noqa: N802  (daphne's name)
        """Sends, unless the reader is so far behind that it will never catch up."""
        incoming, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            super().serverSend(content, binary)
        finally:
            self.maxMessagePayloadSize = incoming
        if unsent_bytes(self.transport) > MAX_UNSENT_BYTES:
            logger.info("a socket is closed: its reader is more than %s bytes behind", MAX_UNSENT_BYTES)
            self.dropConnection(abort=True)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803  (autobahn's names)
        super().onMessage(payload, isBinary)
        if not self.held_back and self._waiting > MAX_WAITING_MESSAGES:
            self.held_back = True
            self.transport.pauseProducing()
            _later(self._go_on)

    @property
    def _waiting(self) -> int:
        return int(self.application_queue.qsize())

    def _go_on(self) -> None:
        if self.state == self.STATE_OPEN and self._waiting > MAX_WAITING_MESSAGES // 2:
            _later(self._go_on)
            return
        self.held_back = False
        if self.state != self.STATE_CLOSED:
            self.transport.resumeProducing()


class BoundedRequest(WebRequest):  # type: ignore[misc]
    """One HTTP request: the rest of a body that is too long is read and forgotten, so that its sender gets to see why."""

    received_bytes = 0

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  (Twisted's name)
        self.received_bytes += len(data)
        if self.received_bytes <= MAX_REQUEST_BYTES:
            super().handleContentChunk(data)
        else:
            self.content.seek(0)
            self.content.truncate()

    def process(self) -> Any:
        if self.received_bytes <= MAX_REQUEST_BYTES:
            return super().process()
        message = f"The body has {self.received_bytes} bytes; at most {MAX_REQUEST_BYTES} are read. Nothing was changed; send less."
        self.basic_error(413, b"Content Too Large", message)
        return None


class BoundedHTTPFactory(HTTPFactory):  # type: ignore[misc]
    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802  (Twisted's name)
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = BoundedRequest
        return protocol


class BoundedServer(Server):  # type: ignore[misc]
    """``Server`` makes its factories when it runs; from here on they are the bounded ones."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "http_factory":
            value = BoundedHTTPFactory(self)
        elif name == "ws_factory" and isinstance(value, WebSocketFactory):
            value.protocol = BoundedSocket
        super().__setattr__(name, value)


def unsent_bytes(transport: Any) -> int:
    """What a Twisted transport has been given and not yet passed to the system."""
    inner = getattr(transport, "transport", transport)
    written = len(getattr(inner, "dataBuffer", b"")) - getattr(inner, "offset", 0)
    return written + int(getattr(inner, "_tempDataLen", 0))


def _later(call: Any) -> None:
    clock: Any = reactor  # chosen when daphne is imported
    clock.callLater(RESUME_LOOK_S, call)
