"""What one connection may make the served process hold: on a real server, since no test client goes through daphne."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from kafkalab.bounded_server import MAX_REQUEST_BYTES
from kafkalab.sandbox import bounds
from tests.servers import Server

LARGEST = {
    "brokers": 9,
    "controllers": 5,
    "topics": [{"name": f"topic-{number}", "partitions": 40, "replication_factor": 9} for number in range(5)],
}


class Wire:
    """A WebSocket by hand, so that it can misbehave: ``cookie`` as the browser would send it."""

    def __init__(self, url: str, path: str, cookie: str) -> None:
        place = urlsplit(url)
        self.socket = socket.create_connection((place.hostname or "", place.port or 0), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        head = [f"GET {path} HTTP/1.1", f"Host: {place.netloc}", "Upgrade: websocket", "Connection: Upgrade", f"Cookie: {cookie}"]
        head += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", ""]
        self.socket.sendall("\r\n".join(head).encode())
        self.rest = b""
        while b"\r\n\r\n" not in self.rest and (more := self.socket.recv(65536)):
            self.rest += more
        self.head, _, self.rest = self.rest.partition(b"\r\n\r\n")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        self.socket.sendall(bytes([0x81, 0x80 | 127]) + struct.pack(">Q", len(content)) + bytes(4) + content)

    def _take(self, size: int) -> bytes:
        while len(self.rest) < size:
            more = self.socket.recv(1 << 20)
            if not more:
                raise EOFError
            self.rest += more
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def read(self) -> dict[str, Any]:
        _, size = self._take(2)
        if size == 126:
            (size,) = struct.unpack(">H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._take(8))
        return dict(json.loads(self._take(size)))

    def until(self, kind: str) -> dict[str, Any]:
        while (message := self.read())["t"] != kind:
            pass
        return message


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("bounded")) as running:
        yield running


def ask(server: Server, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes, str]:
    """(status, body, the visitor's cookie)"""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    content, cookie = answer.read(), (answer.getheader("Set-Cookie") or "").partition(";")[0]
    connection.close()
    return answer.status, content, cookie


def sandbox(server: Server, spec: dict[str, Any] | None = None) -> tuple[str, str]:
    status, content, cookie = ask(server, "/api/sandboxes", json.dumps({"spec": spec}).encode())
    assert status == 201, content
    return f"/ws/sandbox/{json.loads(content)['id']}/", cookie


def test_the_largest_lab_can_be_looked_at(server: Server) -> None:
    """Its view is larger than any message that may come in."""
    with Wire(server.url, *sandbox(server, LARGEST)) as wire:
        view = wire.until("view")
    assert len(json.dumps(view)) > bounds.MAX_MESSAGE_BYTES
    assert "broker-9" in json.dumps(view["view"])


def test_a_megabyte_is_refused_in_words(server: Server) -> None:
    with Wire(server.url, *sandbox(server)) as wire:
        name = "x" * 1_000_000
        wire.send(json.dumps({"t": "command", "ref": 1, "command": {"type": "CreateTopic", "topic": name}}).encode())
        error = wire.until("error")["error"]
    assert error["field"] == "message"
    assert str(bounds.MAX_MESSAGE_BYTES) in error["message"]


def flood(wire: Wire) -> None:
    """Asks for ever, and claims to have drawn what it has not even read."""
    wire.until("view")
    for number in range(20_000):
        wire.send(b'{"t": "view"}')
        wire.send(b'{"t": "ack", "to": %d}' % (1 << 40))
        wire.send(b'{"t": "history", "ref": %d, "limit": 500}' % number)


def test_whoever_never_reads_is_let_go(server: Server) -> None:
    """A reader who only asks cannot fill the server's memory with answers."""
    with Wire(server.url, *sandbox(server, LARGEST)) as wire, pytest.raises(ConnectionError):
        flood(wire)
    assert ask(server, "/api/sandboxes")[0] == 201


def test_a_body_without_end_is_not_kept(server: Server) -> None:
    status, content, _ = ask(server, "/api/import", b" " * (MAX_REQUEST_BYTES + 1))
    assert status == 413
    assert str(MAX_REQUEST_BYTES).encode() in content
    status, content, _ = ask(server, "/api/import", b" " * (bounds.MAX_BODY_BYTES + 1))
    assert json.loads(content)["error"]["code"] == "TOO_LARGE", "below that the site speaks for itself"


def test_a_socket_to_nowhere_is_refused(server: Server) -> None:
    for path in ("/ws/nothing/", f"/ws/sandbox/{'a' * 81}/"):
        with Wire(server.url, path, "") as wire:
            assert b" 403 " in wire.head.splitlines()[0]
    assert "Traceback" not in server.log()
