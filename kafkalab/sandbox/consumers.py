"""The socket of a sandbox: parses a message, calls one service, answers. Pushes go their own way (``push``).

It closes with 4404 (no such sandbox of yours), 4408 (the reader did not keep up), 4413 (a message too large), 4429 (too many windows, or
messages that go on although they are refused); after 4503 and 1012 the page simply connects again.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

import msgspec
from channels.generic.websocket import AsyncWebsocketConsumer

from engine.errors import EngineError
from kafkalab.accounts.service import visitor_id
from kafkalab.sandbox import actions, bounds, service
from kafkalab.sandbox.errors import Refusal, refusal_of
from kafkalab.sandbox.limiter import WORK, Bucket, too_often
from kafkalab.sandbox.push import Watcher
from kafkalab.sandbox.shelf import shelf

logger = logging.getLogger(__name__)
_ENCODER = msgspec.json.Encoder()


class SandboxConsumer(AsyncWebsocketConsumer):
    """One browser window on one sandbox."""

    async def connect(self) -> None:
        self.seat: actions.Seat | None = None
        self.bucket = Bucket(bounds.ACTIONS_PER_S, bounds.ACTION_BURST)
        self.told_at = 0.0
        self.refused = 0
        await self.accept()
        try:
            live = await service.open_lab(self.scope["url_route"]["kwargs"]["sandbox_id"], visitor_id(self.scope))
            watcher = Watcher(live, self._send, self._end)
            shelf().watch(live, watcher)
        except (Refusal, EngineError) as wrong:
            refusal = wrong if isinstance(wrong, Refusal) else refusal_of(wrong)
            await self._answer({"t": "error", "ref": None, "error": refusal.body()})
            codes = {404: 4404, 429: 4429, 409: 4409}
            await self.close(codes.get(refusal.status, 4503))
            return
        self.seat = actions.Seat(live, live.owner, watcher)

    async def disconnect(self, code: int) -> None:
        seat, self.seat = self.seat, None
        if seat is None:
            return
        await shelf().unwatch(seat.live, seat.watcher)
        if seat.terminal is not None and seat.live.consoles is not None and not seat.live.gone:
            try:
                await seat.live.consoles.close(seat.terminal)
            except (Refusal, EngineError):
                logger.info("a console of sandbox %s closed while its lab was leaving", seat.live.id)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        seat = self.seat
        if seat is None:
            return
        content = text_data if text_data is not None else bytes_data or b""
        if len(content) > bounds.MAX_MESSAGE_BYTES:
            too_large = EngineError(
                f"message: has {len(content)} characters; at most {bounds.MAX_MESSAGE_BYTES} are accepted.", field="message"
            )
            await self._answer({"t": "error", "ref": actions.ref_of(content[:200]), "error": refusal_of(too_large).body()})
            return
        ref: Any = None
        try:
            if self.refused >= bounds.MAX_REFUSED_IN_A_ROW:
                return
            action = actions.parse(content)
            ref = action.ref
            self._check_rate(action)
            answer = await actions.perform(seat, action)
        except EngineError as wrong:
            await self._refuse(content, ref, refusal_of(wrong))
        except Refusal as wrong:
            await self._refuse(content, ref, wrong)
        except Exception:
            logger.exception("an action on sandbox %s failed", seat.live.id)
            failed = Refusal("The server met a fault of its own.", status=500, code="SERVER_FAULT", cure="Try again.")
            await self._refuse(content, ref, failed)
        else:
            self.refused = 0
            if answer is not None:
                await self._answer({**answer, "t": answer.get("t", action.__struct_config__.tag), "ref": ref})

    def _check_rate(self, action: actions.Action) -> None:
        """Acknowledgements follow the server's own pace; everything else is counted."""
        if isinstance(action, actions.Drawn):
            return
        wait = self.bucket.take()
        if wait > 0:
            raise too_often("actions", wait)
        if self.seat is not None:
            WORK.check(self.seat.live.owner)

    async def _refuse(self, content: str | bytes, ref: Any, refusal: Refusal) -> None:
        self.refused += 1
        if self.refused == bounds.MAX_REFUSED_IN_A_ROW:
            await self._end(4429)
            return
        if refusal.status == 429 and ref is None:
            now = monotonic()
            if now - self.told_at < 1:
                return
            self.told_at = now
        await self._answer({"t": "error", "ref": ref if ref is not None else actions.ref_of(content), "error": refusal.body()})

    async def _answer(self, content: dict[str, Any]) -> None:
        await self._send(_ENCODER.encode(content))

    async def _send(self, content: bytes) -> None:
        await self.send(text_data=content.decode())

    async def _end(self, code: int) -> None:
        seat = self.seat
        if seat is not None:
            await shelf().unwatch(seat.live, seat.watcher)
        await self.close(code)
