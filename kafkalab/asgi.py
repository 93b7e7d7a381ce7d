"""The ASGI application: static files, pages, sockets, and uvicorn's lifespan."""

import os
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kafkalab.settings")
pages = get_asgi_application()  # sets Django up, so it comes before any import that needs models

from kafkalab import lifecycle  # noqa: E402
from kafkalab.sandbox.urls import websocket_urlpatterns  # noqa: E402
from kafkalab.security import SameOriginSockets, no_such_socket  # noqa: E402
from kafkalab.static_files import StaticFiles  # noqa: E402

nowhere: Any = no_such_socket  # an application, where Django's types expect a view


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Start at once; run the slices' stop hooks at the end (uvicorn; daphne sends no lifespan events)."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await lifecycle.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


application = ProtocolTypeRouter(
    {
        "http": StaticFiles(pages),
        "websocket": SameOriginSockets(AuthMiddlewareStack(URLRouter([*websocket_urlpatterns, re_path("", nowhere)]))),
        "lifespan": lifespan,
    }
)
