"""Static files at the door: WhiteNoise's index and headers, answered before Django is asked.

WhiteNoise as a Django middleware is synchronous, so that under ASGI each file would pass through a thread and each page
with it. Files here are small and few; they are read once and kept.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import sync_to_async
from whitenoise.middleware import WhiteNoiseMiddleware

AsgiApplication = Callable[[Any, Any, Any], Awaitable[None]]

_KEPT_BYTES_MAX = 1024 * 1024  # a larger file is read anew each time: Swagger's bundle is the only one


class StaticFiles:
    """Answer GET and HEAD under STATIC_URL; hand everything else to `application`."""

    def __init__(self, application: AsgiApplication) -> None:
        self.application = application
        self.whitenoise = WhiteNoiseMiddleware(_no_response)
        self.kept: dict[tuple[str, str], bytes] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        asked_for_file = scope["type"] == "http" and scope["path"].startswith(self.whitenoise.static_prefix)
        if asked_for_file and await self._answer(scope, send):
            return
        await self.application(scope, receive, send)

    async def _answer(self, scope: Any, send: Any) -> bool:
        path = scope["path"]
        if self.whitenoise.autorefresh:
            static_file = await sync_to_async(self.whitenoise.find_file)(path)
        else:
            static_file = self.whitenoise.files.get(path)
        if static_file is None:
            return False
        environ = {
            "HTTP_" + name.decode("latin-1").upper().replace("-", "_"): value.decode("latin-1") for name, value in scope["headers"]
        }
        response = static_file.get_response(scope["method"], environ)
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        body = b""
        if response.file is not None:
            body = await self._read(path, response)
        await send({"type": "http.response.start", "status": int(response.status), "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return True

    async def _read(self, path: str, response: Any) -> bytes:
        headers = dict(response.headers)
        whole = int(response.status) == 200 and not self.whitenoise.autorefresh
        key = (path, headers.get("Content-Encoding", ""))
        if whole and key in self.kept:
            response.file.close()
            return self.kept[key]
        with response.file as file:
            body: bytes = await sync_to_async(file.read)()
        if whole and len(body) <= _KEPT_BYTES_MAX:
            self.kept[key] = body
        return body


def _no_response(request: Any) -> Any:
    raise AssertionError("WhiteNoise is used for its index only")
