"""`python -m kafkalab.cli run`: prepare what is missing, serve, and say where."""

import argparse
import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

_WILDCARDS = {"*": "0.0.0.0", "": "0.0.0.0"}  # noqa: S104  (asked for by name)


def main(arguments: list[str] | None = None) -> int:
    """Parse `arguments` (those of the process by default), run the command, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kafkalab.cli", description="Serve KafkaLab.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="create what is missing under var/, then serve")
    run.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1", help="address to listen on (%(default)s)")
    run.add_argument("--port", default=os.environ.get("PORT") or "8000", type=_port, help="0 picks one (%(default)s)")
    options = parser.parse_args(arguments)
    return serve(options.host, options.port)


def serve(host: str, port: int) -> int:
    """Serve until interrupted; 0 on a graceful stop, 1 with one clear line if it cannot start."""
    os.environ["HOST"] = host  # the settings read it: which host names are ours
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kafkalab.settings")
    address = _WILDCARDS.get(host, host)
    problem = _cannot_listen(address, port)
    if problem:
        print(problem, file=sys.stderr)
        return 1

    from daphne.endpoints import build_endpoint_description_strings
    from django.conf import settings
    from django.core.management import call_command

    from kafkalab.asgi import application
    from kafkalab.bounded_server import BoundedServer

    call_command("migrate", verbosity=0, interactive=False)

    server: Any = BoundedServer(
        application,
        endpoints=build_endpoint_description_strings(host=address, port=port),
        ready_callable=lambda: _when_running(lambda: _announce(server)),
        websocket_max_message_size=settings.WEBSOCKET_MAX_MESSAGE_BYTES,
        websocket_max_frame_size=settings.WEBSOCKET_MAX_MESSAGE_BYTES,
        websocket_timeout=-1,  # a lesson may stay open over night; pings find the dead
        server_name="kafkalab",
    )
    _stop_gracefully()
    server.run()
    return 0


def _announce(server: Any) -> None:
    for host, port in server.listening_addresses:
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
        print(f"KafkaLab is ready: http://{shown}:{port}  (Ctrl-C stops it)", flush=True)


def _when_running(call: Callable[[], None]) -> None:
    """Call once signals are handled: whoever reads that the server is ready may ask it to stop at once."""
    from twisted.internet import reactor

    reactor.callWhenRunning(call)


def _stop_gracefully() -> None:
    from twisted.internet import reactor  # not at the top: daphne chooses the reactor when it is imported
    from twisted.internet.defer import Deferred

    from kafkalab import lifecycle

    def stop() -> Any:
        return Deferred.fromFuture(asyncio.ensure_future(lifecycle.stop()))

    reactor.addSystemEventTrigger("before", "shutdown", stop)  # type: ignore[arg-type]  # zope's interface lacks the names


def _cannot_listen(host: str, port: int) -> str:
    """Return why nothing can listen there and what to do, or an empty text."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except socket.gaierror as error:
        return f"HOST={host} is no address of this machine ({error.strerror}). Try: make run HOST=127.0.0.1"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"Port {port} is taken on {host}, perhaps by another KafkaLab. Try: make run PORT={port + 1}"
        if error.errno == errno.EACCES:
            return f"Port {port} needs more rights than this user has. Try: make run PORT=8000"
        return f"Cannot listen on {host}:{port}: {error.strerror}."
    return ""


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"PORT is {text!r}; it takes a number from 0 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
