"""kill -9 of the server while twenty sandboxes are busy: each comes back as it was at its last acknowledged command."""

from __future__ import annotations

import http.cookiejar
import json
import threading
from pathlib import Path
from typing import Any
from urllib.request import HTTPCookieProcessor, Request, build_opener

from tests.servers import Server

SANDBOXES = 20
ROUNDS = 6


class Script:
    """A program with a cookie jar that drives the API over HTTP."""

    def __init__(self) -> None:
        self.jar = http.cookiejar.CookieJar()
        self.opener = build_opener(HTTPCookieProcessor(self.jar))
        self.url = ""

    def visit(self, url: str) -> None:
        """Takes the CSRF cookie that a page sets."""
        self.url = url
        self.opener.open(f"{url}/", timeout=30).read()

    def call(self, path: str, body: Any = None) -> dict[str, Any]:
        token = next((cookie.value for cookie in self.jar if cookie.name == "csrftoken"), "") or ""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "X-CSRFToken": token, "Referer": self.url}
        answer = self.opener.open(Request(f"{self.url}/api/{path}", content, headers), timeout=60)
        return dict(json.loads(answer.read()))


def commands(number: int, turn: int) -> dict[str, Any]:
    """Something else in every sandbox and every turn."""
    made: list[dict[str, Any]] = [
        {"type": "Produce", "topic": "orders", "key": f"k{turn}", "value": f"{number}/{turn}", "count": number + 1},
        {"type": "StartWorkload", "name": f"w{turn}", "topic": "orders", "records_per_second": 20},
        {"type": "PauseNode", "node": f"broker-{number % 3 + 1}"} if turn == 2 else {"type": "HealNetwork"},
        {"type": "CreateTopic", "topic": f"t{turn}", "partitions": 2, "replication_factor": 3},
    ]
    return made[(number + turn) % len(made)] if turn else made[1]


def test_twenty_busy_sandboxes_survive_kill_9(tmp_path: Path) -> None:
    server = Server(tmp_path).start()
    scripts = [Script() for _ in range(SANDBOXES)]
    last: dict[int, dict[str, Any]] = {}
    counted = threading.Barrier(SANDBOXES + 1)
    try:
        for script in scripts:
            script.visit(server.url)

        def busy(number: int) -> None:
            """Commands and passing time without end, until the server is gone in the middle of it."""
            script = scripts[number]
            sandbox = script.call("sandboxes", {"title": f"number {number}"})["id"]
            last[number] = {"id": sandbox, **script.call(f"sandboxes/{sandbox}/commands", commands(number, 0))}
            turn = 0
            try:
                while True:
                    turn += 1
                    last[number] = {"id": sandbox, **script.call(f"sandboxes/{sandbox}/advance", {"by_us": 300_000 + number})}
                    if turn <= ROUNDS:
                        last[number] |= script.call(f"sandboxes/{sandbox}/commands", commands(number, turn))
                    if turn == 2:
                        counted.wait(60)
            except OSError:
                return

        workers = [threading.Thread(target=busy, args=(number,)) for number in range(SANDBOXES)]
        for worker in workers:
            worker.start()
        counted.wait(60)
        server.kill()
        for worker in workers:
            worker.join(30)
            assert not worker.is_alive()
        assert len(last) == SANDBOXES
        server.start()
        for number, script in enumerate(scripts):
            script.url = server.url
            known = last[number]
            state = script.call(f"sandboxes/{known['id']}")
            if state["seq"] == known["seq"]:
                assert state["digest"] == known["digest"]
                assert state["clock"]["now_us"] == known["now_us"]
            else:
                assert state["seq"] == known["seq"] + 1, "one more may be durable whose answer was on its way"
            again = script.call(f"sandboxes/{known['id']}/commands", {"type": "Produce", "topic": "orders", "value": "on"})
            assert again["seq"] == state["seq"] + 1
        exact = sum(script.call(f"sandboxes/{last[n]['id']}")["seq"] == last[n]["seq"] + 1 for n, script in enumerate(scripts))
        assert exact > SANDBOXES // 2, "most were compared to the letter"
    finally:
        server.kill()


def test_a_polite_stop_loses_nothing_either(tmp_path: Path) -> None:
    server = Server(tmp_path).start()
    try:
        script = Script()
        script.visit(server.url)
        sandbox = script.call("sandboxes", {})["id"]
        script.call(f"sandboxes/{sandbox}/commands", commands(1, 0))
        ack = script.call(f"sandboxes/{sandbox}/advance", {"by_us": 2_000_000})
        assert server.stop() == 0
        assert "Traceback" not in server.log()
        server.start()
        script.url = server.url
        state = script.call(f"sandboxes/{sandbox}")
        assert (state["digest"], state["checkpoint_seq"]) == (ack["digest"], ack["seq"])
    finally:
        server.kill()
