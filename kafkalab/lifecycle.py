"""What has to happen before the server stops: slices say it here, and each way of serving honours it.

daphne has no lifespan events; `kafkalab.cli run` calls `stop` before its reactor ends, and under uvicorn the lifespan
application in `kafkalab.asgi` does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

_STOP_TIMEOUT_S = 10.0  # a supervisor kills what takes longer
_hooks: list[Callable[[], Awaitable[None]]] = []


def on_stop(hook: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Have `hook` awaited once, in the server's loop, before a graceful stop. Usable as a decorator."""
    if hook not in _hooks:
        _hooks.append(hook)
    return hook


async def stop() -> None:
    """Await all hooks, the last registered first; one that fails or hangs does not keep the others from running."""
    for hook in reversed(_hooks):
        try:
            await asyncio.wait_for(hook(), _STOP_TIMEOUT_S)
        except Exception:
            logger.exception("%s failed while the server was stopping", getattr(hook, "__qualname__", hook))
