"""What the tools print, as transcripts: ``$ command``, ``----``, output. Regenerate with UPDATE_TRANSCRIPTS=1 and review the diff.

A line ``! command`` gives the lab a command as JSON, ``+ seconds`` lets virtual time pass; ``= {…}`` at the top gives the brokers
settings. Topic IDs, member IDs and log times are masked; blank lines at the beginning and at the end of an output do not count.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from engine.commands import parse
from engine.console.session import Console
from engine.errors import EngineError
from engine.lab import Lab
from engine.spec import ClusterSpec, TopicSpec

FOLDER = Path(__file__).parents[2] / "transcripts"
FILES = sorted(FOLDER.glob("console-*.txt"))
SPEC = ClusterSpec(topics=(TopicSpec("orders", 3, 3, {"min.insync.replicas": "2"}),))
PATIENCE_US = 70_000_000


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """(input, output) pairs; the input may have several lines."""
    for block in re.split(r"\n\n(?=[$!+>=] )", text.strip("\n")):
        given, _, output = block.partition("\n----")
        yield given, output.strip("\n")


def run(lab: Lab, console: Console, given: str) -> str:
    if given.startswith("="):
        return ""
    if given.startswith("!"):
        lab.submit(parse(given[1:].strip()))
        return ""
    if given.startswith("+"):
        lab.advance(lab.now_us + int(float(given[1:]) * 1_000_000))
        return ""
    job = console.execute(lab, given[2:])
    lines: list[str] = []
    end_us = lab.now_us + PATIENCE_US
    while True:
        for command in job.take_commands():
            try:
                job.submitted(lab.submit(command))
            except EngineError as error:
                job.refused(error)
        lines += job.poll(lab)
        if job.done or lab.now_us >= end_us:
            break
        if not job.foreground and lab.now_us > end_us - PATIENCE_US + 2_000_000:
            break
        lab.advance(lab.now_us + 20_000)
    if job.exit_status:
        lines.append(f"[exit {job.exit_status}]")
    return mask("\n".join(lines)).strip("\n")


def mask(text: str) -> str:
    text = re.sub(r"\[2026-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\]", "[time]", text)
    text = re.sub(r"TopicId: \S{22}", "TopicId: <id>", text)
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", text)
    return "\n".join(line.rstrip(" ") for line in text.split("\n"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_tools_print_what_kafkas_print(file: Path) -> None:
    pairs = list(blocks(file.read_text()))
    settings = json.loads(pairs[0][0][1:]) if pairs[0][0].startswith("=") else {}
    lab, console = Lab(msgspec.structs.replace(SPEC, broker_configs=settings), seed=1), Console()
    got = [(given, run(lab, console, given)) for given, _ in pairs]
    if os.environ.get("UPDATE_TRANSCRIPTS"):
        file.write_text("\n\n".join(f"{given}\n----\n{output}".rstrip("\n") for given, output in got) + "\n")
        return
    assert got == pairs


def test_there_are_transcripts() -> None:
    assert len(FILES) >= 5
