"""The site's shell: what it makes on first use, what it tells browsers, whom it lets in."""

import json
import os
import stat
import subprocess
import sys
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from channels.testing import HttpCommunicator
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings

from kafkalab import lifecycle
from kafkalab.accounts import service
from kafkalab.accounts.models import Owner
from kafkalab.cli import main
from kafkalab.private_files import private_file, secret_in
from kafkalab.security import SameOriginSockets, policy_for
from kafkalab.static_files import StaticFiles
from tests.servers import Server

ROOT = Path(__file__).resolve().parents[2]
HTMX = "/static/vendor/htmx-2.0.10/htmx.min.js"


def settings_under(tmp_path: Path, **environment: str) -> dict[str, Any]:
    """Read the settings in a process of its own, as a start of the server would."""
    names = ["ALLOWED_HOSTS", "CHANNEL_LAYERS", "DATABASES", "DEBUG", "HTTPS", "SESSION_COOKIE_SECURE"]
    script = f"import json, kafkalab.settings as s; print(json.dumps({{n: getattr(s, n) for n in {names}}}, default=str))"
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**inherited, "KAFKALAB_VAR": str(tmp_path / "var"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    read: dict[str, Any] = json.loads(run.stdout)
    return read


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_first_start_makes_a_private_key_and_database(tmp_path: Path) -> None:
    settings = settings_under(tmp_path)
    var = tmp_path / "var"
    assert mode(var) == 0o700
    assert mode(var / "secret_key") == 0o600
    assert len((var / "secret_key").read_text()) >= 50
    assert mode(var / "kafkalab.sqlite3") == 0o600
    assert settings["DEBUG"] is False
    assert settings["ALLOWED_HOSTS"][:3] == ["127.0.0.1", "localhost", "[::1]"]


def test_a_key_from_outside_is_not_written_down(tmp_path: Path) -> None:
    settings_under(tmp_path, KAFKALAB_SECRET_KEY="from the environment")
    assert not (tmp_path / "var/secret_key").exists()


def test_twenty_starts_at_once_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPool(20) as pool:
        secrets = pool.map(secret_in, [tmp_path / "key"] * 20)
    assert len(set(secrets)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_an_empty_key_is_refused_with_its_cure(tmp_path: Path) -> None:
    private_file(tmp_path / "key")
    with pytest.raises(ValueError, match="is empty: delete it"):
        secret_in(tmp_path / "key")


def test_postgresql_and_redis_are_two_variables(tmp_path: Path) -> None:
    settings = settings_under(
        tmp_path, DATABASE_URL="postgres://lab:pass@db.example:5433/lab", REDIS_URL="redis://cache.example:6379/0"
    )
    database = settings["DATABASES"]["default"]
    assert (database["ENGINE"], database["HOST"], database["PORT"]) == (
        "django.db.backends.postgresql",
        "db.example",
        5433,
    )
    assert settings["CHANNEL_LAYERS"]["default"]["BACKEND"] == "channels_redis.core.RedisChannelLayer"
    assert not (tmp_path / "var/kafkalab.sqlite3").exists()


def test_hosts_follow_the_address_or_are_named(tmp_path: Path) -> None:
    assert settings_under(tmp_path, HOST="0.0.0.0")["ALLOWED_HOSTS"] == ["*"]
    assert "192.0.2.7" in settings_under(tmp_path, HOST="192.0.2.7")["ALLOWED_HOSTS"]
    named = settings_under(tmp_path, HOST="0.0.0.0", KAFKALAB_ALLOWED_HOSTS="lab.example, other.example")
    assert named["ALLOWED_HOSTS"] == ["lab.example", "other.example"]


def test_https_makes_cookies_secure(tmp_path: Path) -> None:
    assert settings_under(tmp_path, KAFKALAB_HTTPS="1")["SESSION_COOKIE_SECURE"] is True


@pytest.mark.parametrize("port", ["-1", "65536", "eight", "80 80", ""])
def test_a_port_that_is_none_is_refused_by_name(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--port", port])
    assert "it takes a number from 0 to 65535" in capsys.readouterr().err


def test_the_server_says_where_it_is_and_stops_when_asked(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        with urlopen(f"{server.url}{HTMX}") as answer:
            assert answer.status == 200
        port = server.url.rsplit(":", 1)[1]
        taken = subprocess.run(
            [sys.executable, "-m", "kafkalab.cli", "run", "--port", port], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert taken.returncode == 1
        assert f"Port {port} is taken" in taken.stderr
        assert server.stop() == 0
    again = Server(tmp_path)
    began = time.monotonic()
    with again:
        assert time.monotonic() - began < 15  # well under 5 on an idle machine; tests share theirs
    assert again.log() == ""


# ── what browsers are told ────────────────────────────────────────────────────


def test_every_answer_carries_the_policy(client: Client) -> None:
    answer = client.get("/api/openapi.json")
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"


def test_a_forged_host_never_enters_the_policy() -> None:
    request = RequestFactory().get("/", headers={"host": "evil.example; script-src *"})
    assert "evil" not in policy_for(request)


async def test_static_files_are_served_and_kept() -> None:
    async def beyond(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"beyond"})

    files = StaticFiles(beyond)
    for _ in range(2):
        answer = await HttpCommunicator(files, "GET", HTMX).get_response()
        assert answer["status"] == 200
        assert answer["body"] == (ROOT / HTMX.lstrip("/")).read_bytes()
    headers = {name.decode(): value.decode() for name, value in answer["headers"]}
    assert "immutable" in headers["cache-control"]
    assert headers["x-content-type-options"] == "nosniff"
    unchanged = HttpCommunicator(files, "GET", HTMX, headers=[(b"if-none-match", headers["etag"].encode())])
    assert (await unchanged.get_response())["status"] == 304
    for missing in ("/static/nothing.js", "/static/../pyproject.toml", "/static/%2e%2e/manage.py", "/"):
        assert (await HttpCommunicator(files, "GET", missing).get_response())["body"] == b"beyond"


# ── who may open a socket ─────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("origin", "host", "let_in"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        ("https://localhost", "localhost", True),
        (None, "localhost:8000", True),
        ("http://evil.example", "localhost:8000", False),
        ("http://localhost:9999", "localhost:8000", False),
        ("http://evil.example", "evil.example", False),
        ("null", "localhost:8000", False),
        ("file://", "localhost:8000", False),
        ("http://[", "localhost:8000", False),
    ],
)
@override_settings(ALLOWED_HOSTS=["localhost"])
async def test_only_pages_of_this_site_open_sockets(origin: str | None, host: str, let_in: bool) -> None:
    reached: list[str] = []
    sent: list[dict[str, Any]] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin is not None else [])
    scope: Any = {"type": "websocket", "path": "/", "headers": headers}
    await SameOriginSockets(inner)(scope, receive, send)
    assert bool(reached) is let_in
    assert [message["type"] for message in sent] == ([] if let_in else ["websocket.close"])


# ── visitors ──────────────────────────────────────────────────────────────────


def answered(request: HttpRequest) -> str | None:
    """Return the cookie that the answer to `request` sets, if any."""
    response = HttpResponse()
    service.remember(request, response)
    morsel = response.cookies.get("kafkalab_visitor")
    if morsel is None:
        return None
    assert morsel["httponly"]
    assert morsel["samesite"] == "Lax"
    return morsel.value


def test_a_mere_look_leaves_no_cookie() -> None:
    assert answered(RequestFactory().get("/")) is None


def test_a_visitor_is_the_same_on_pages_and_sockets() -> None:
    first = RequestFactory().get("/")
    visitor = service.visitor_id(first)
    assert service.visitor_id(first) == visitor
    cookie = answered(first)
    assert cookie

    again = RequestFactory()
    again.cookies["kafkalab_visitor"] = cookie
    request = again.get("/")
    assert service.visitor_id(request) == visitor
    assert answered(request) is None  # still fresh

    raw = {"type": "websocket", "headers": [(b"cookie", f"a=b; kafkalab_visitor={cookie}".encode())]}
    parsed = {"type": "websocket", "headers": [], "cookies": {"kafkalab_visitor": cookie}}
    assert service.visitor_id(raw) == service.visitor_id(parsed) == visitor


@pytest.mark.parametrize("forged", ["", "x", "11111111-1111-4111-8111-111111111111", "a:b:c", "é:\x00:" * 40])
def test_a_forged_cookie_is_a_new_visitor(forged: str) -> None:
    scope = {"type": "websocket", "headers": [], "cookies": {"kafkalab_visitor": forged}}
    assert service.known_visitor_id(scope) is None
    assert service.visitor_id(scope) not in forged + " "


def test_a_socket_without_a_cookie_keeps_one_identity() -> None:
    scope: dict[str, Any] = {"type": "websocket", "headers": []}
    assert service.visitor_id(scope) == service.visitor_id(scope)
    assert service.visitor_id({"type": "websocket", "headers": []}) != service.visitor_id(scope)


@pytest.mark.django_db
def test_an_owner_is_made_once() -> None:
    request = RequestFactory().get("/")
    assert service.owner_for(request) == service.owner_for(request)
    assert str(Owner.objects.get().id) == service.visitor_id(request)


# ── stopping ──────────────────────────────────────────────────────────────────


async def test_a_stop_hook_that_fails_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_hooks", [])
    done: list[str] = []

    @lifecycle.on_stop
    async def first() -> None:
        done.append("first")

    @lifecycle.on_stop
    async def failing() -> None:
        raise RuntimeError("on purpose")

    await lifecycle.stop()
    assert done == ["first"]
