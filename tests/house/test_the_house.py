"""The house keeps its own rules. Who may import whom is `make check`'s to say; the rest is here."""

import ast
import hashlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES_MAX = 600  # a file should fit in a head; about 500 is the aim

# The words are put together here so that this file does not hold what it looks for.
MACHINE_PATHS = re.compile("|".join(["/" + "work/", "/" + r"root\b", "/" + r"home/[a-z]", "/" + r"Users/[A-Za-z]"]))

BANNED_MODULES = {
    "asyncio", "concurrent", "multiprocessing", "random", "secrets", "select", "selectors", "socket", "ssl",
    "threading", "time", "uuid",
}  # fmt: skip
FRONT_ROOMS = {
    "__init__", "__main__", "lab", "commands", "events", "errors", "limits", "spec", "view", "console", "wire", "check",
    "testing",
}  # fmt: skip
MAY_IMPORT = {
    "engine/wire/server.py": {"asyncio", "socket", "ssl", "time"},
    "engine/testing.py": {"asyncio", "socket", "threading"},
    "engine/sim/kernel.py": {"hash()"},  # of integers only, which no seed changes
    "engine/check/bench.py": {"time"},
    "engine/check/bench_groups.py": {"time"},
    "engine/check/pool.py": {"concurrent", "multiprocessing"},
}
BANNED_CALLS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "os.urandom"}
BANNED_BUILTINS = {"hash", "id"}  # differ from one process to the next


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, check=False)
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    if listed.returncode != 0:  # an unpacked archive has no git
        paths = [path for pattern in patterns or ("*",) for path in ROOT.rglob(pattern) if ".venv" not in path.parts]
    return [path for path in paths if path.is_file()]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_vendored(path: Path) -> bool:
    return "vendor" in path.parts or path.name == "uv.lock"


def text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None  # a picture or a font


def engine_modules() -> list[Path]:
    return tracked("engine/*.py", "engine/**/*.py")


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    found = [
        f"{named(path)}:{number}: {line.strip()[:100]}"
        for path in tracked()
        for number, line in enumerate((text_of(path) or "").splitlines(), start=1)
        if not is_vendored(path) and MACHINE_PATHS.search(line)
    ]
    assert not found, "\n".join(found)


def test_the_lock_file_names_only_the_public_package_index() -> None:
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text()))
    assert hosts <= {"pypi" + ".org", "files.pythonhosted" + ".org"}


def test_vendored_files_are_those_that_their_list_names() -> None:
    vendor = ROOT / "static/vendor"
    rows = [line.strip("| ").split(" | ") for line in (vendor / "VENDOR.md").read_text().splitlines()]
    listed = {row[0]: row[4] for row in rows if len(row) == 5 and re.fullmatch("[0-9a-f]{64}", row[4])}
    present = {
        path.relative_to(vendor).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor.rglob("*")
        if path.is_file() and path.name != "VENDOR.md"
    }
    assert listed
    assert present == listed


def test_every_module_opens_with_what_lives_in_it_and_why() -> None:
    modules = tracked("engine/*.py", "lessons/*.py", "kafkalab/*.py")
    silent = [
        named(path)
        for path in modules
        if "migrations" not in path.parts and path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert not silent, f"no docstring opens {silent}"


def test_files_fit_in_a_head() -> None:
    kinds = {".py", ".js", ".css", ".html"}
    long = {
        named(path): count
        for path in tracked()
        if path.suffix in kinds and not is_vendored(path) and (count := len((text_of(path) or "").splitlines())) > LINES_MAX
    }
    assert not long, f"longer than {LINES_MAX} lines: {long}"


def test_the_engine_has_no_clock_no_chance_and_no_threads() -> None:
    found = [f"{named(path)}:{what}" for path in engine_modules() for what in impurities(path.read_text(), named(path))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from random import choice",
        "import uuid",
        "def f():\n    from threading import Lock",
        "import datetime\nx = datetime.datetime.now()",
        "x = hash('a')",
        "import os\nx = os.urandom(8)",
    ],
)
def test_each_impurity_is_noticed(source: str) -> None:
    assert list(impurities(source, "engine/log/segment.py"))


def impurities(source: str, name: str) -> list[str]:
    """Return `line: what` for each import or call that would make a run differ from its replay."""
    allowed = MAY_IMPORT.get(name, set())
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
            continue
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        else:
            called = ast.unparse(node.func)
            impure = called in BANNED_BUILTINS or any(f".{called}".endswith(f".{banned}") for banned in BANNED_CALLS)
            if impure and f"{called}()" not in allowed:
                found.append(f"{node.lineno}: {called}()")
        for module in modules:
            top = module.split(".")[0]
            if top in BANNED_MODULES and top not in allowed:
                found.append(f"{node.lineno}: imports {module}")
    return found


def test_every_room_of_the_engine_is_either_a_front_room_or_closed_to_the_outside() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    closed = next(set(c["forbidden_modules"]) for c in contracts if "front rooms" in c["name"])
    rooms = {f"engine.{Path(named(path)).parts[1].removesuffix('.py')}" for path in engine_modules()}
    front = {f"engine.{room}" for room in FRONT_ROOMS}
    assert not closed & front
    assert rooms - front - closed == set(), "say in pyproject.toml, or in FRONT_ROOMS, whether it may be imported"
