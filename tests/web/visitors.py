"""What the tests of the site share: visitors with a browser of their own, their sockets, and the patch that pages fold."""

from __future__ import annotations

import json
import uuid
from typing import Any

from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import AsyncClient

from engine.view.diff import apply
from kafkalab.accounts.service import signed_cookie
from kafkalab.asgi import application

PRODUCE = {"type": "Produce", "topic": "orders", "value": "hello"}
KILL = {"type": "KillNode", "node": "broker-1"}


class Visitor:
    """A browser with a cookie jar. ``api`` answers (status, decoded body)."""

    def __init__(self, identity: str = "") -> None:
        self.id = identity or str(uuid.uuid4())
        self.client = AsyncClient()
        self.cookie = signed_cookie(self.id)
        self.client.cookies[settings.VISITOR_COOKIE_NAME] = self.cookie

    async def api(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> tuple[int, Any]:
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        response = await self.client.generic(method, f"/api/{path}", content, content_type="application/json")
        return response.status_code, json.loads(response.content) if response.content else None

    async def sandbox(self, **body: Any) -> str:
        status, made = await self.api("POST", "sandboxes", body)
        assert status == 201, made
        return str(made["id"])

    async def submit(self, sandbox: str, **command: Any) -> dict[str, Any]:
        status, ack = await self.api("POST", f"sandboxes/{sandbox}/commands", command)
        assert status == 200, ack
        return dict(ack)

    async def advance(self, sandbox: str, by_us: int) -> dict[str, Any]:
        status, ack = await self.api("POST", f"sandboxes/{sandbox}/advance", {"by_us": by_us})
        assert status == 200, ack
        return dict(ack)

    async def state(self, sandbox: str) -> dict[str, Any]:
        status, state = await self.api("GET", f"sandboxes/{sandbox}")
        assert status == 200, state
        return dict(state)

    def socket(self, sandbox: str) -> Socket:
        return Socket(sandbox, self.cookie)


class Socket:
    """A page's socket: folds pushes into ``view`` as the page does, and acknowledges them unless told otherwise."""

    def __init__(self, sandbox: str, cookie: str, *, acknowledges: bool = True) -> None:
        headers = [(b"cookie", f"{settings.VISITOR_COOKIE_NAME}={cookie}".encode()), (b"host", b"localhost")]
        self.wire = WebsocketCommunicator(application, f"/ws/sandbox/{sandbox}/", headers=headers)
        self.acknowledges = acknowledges
        self.view: Any = None
        self.version = 0
        self.clock: dict[str, Any] = {}
        self.sentences: list[dict[str, Any]] = []
        self.others: list[dict[str, Any]] = []
        self.refs = 0

    async def __aenter__(self) -> Socket:
        connected, _ = await self.wire.connect(timeout=10)
        assert connected
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.wire.disconnect()

    async def read(self, timeout_s: float = 10) -> dict[str, Any]:
        """The next message, folded in if it is a push."""
        message = json.loads(await self.wire.receive_from(timeout=timeout_s))
        if message["t"] in ("view", "diff"):
            if message["t"] == "view":
                self.view, self.sentences = message["view"], message["sentences"]
            else:
                assert message["from"] == self.version, "a push was left out"
                self.view = apply(self.view, message["diff"])
                self.sentences += message["sentences"]
            self.version, self.clock = message["to"], message["clock"]
            if self.acknowledges:
                await self.wire.send_to(json.dumps({"t": "ack", "to": message["to"]}))
        return dict(message)

    async def ask(self, kind: str, **content: Any) -> dict[str, Any]:
        """Sends an action and returns its answer (or error), folding in what is pushed meanwhile."""
        self.refs += 1
        return await self.say(json.dumps({"t": kind, "ref": self.refs, **content}), self.refs)

    async def say(self, text: str, ref: int | None) -> dict[str, Any]:
        await self.wire.send_to(text)
        while True:
            message = await self.read()
            if message["t"] not in ("view", "diff", "goals") and message.get("ref") == ref:
                return message
            if message["t"] == "error" and message["ref"] is None:
                return message  # what is no JSON cannot say which one it was
            if message["t"] not in ("view", "diff"):
                self.others.append(message)

    async def until(self, seen: Any, patience: int = 400) -> None:
        """Reads pushes until ``seen(self)``."""
        for _ in range(patience):
            if self.view is not None and seen(self):
                return
            await self.read()
        raise AssertionError("it never showed")
