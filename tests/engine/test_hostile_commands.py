"""Whatever is asked of a busy lab is done, or refused by an error that names its field and changes nothing; and no node ever breaks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import commands as c
from engine import limits
from engine.errors import ERRORS, EngineError
from engine.events import AdminAnswered
from engine.lab import Lab
from tests.engine import hostile


@pytest.fixture(scope="module")
def busy() -> Lab:
    return hostile.busy_lab()


def ask(lab: Lab, content: dict[str, Any]) -> bool:
    """Whether it was done."""
    digest, trace = lab.digest(), lab.trace_hash()
    refusal = attempt(lab, content)
    if refusal is None:
        return True
    assert refusal.message, content
    assert refusal.field, (content, refusal.message)
    assert refusal.code in ERRORS, content
    assert (lab.digest(), lab.trace_hash()) == (digest, trace), content
    return False


def attempt(lab: Lab, content: dict[str, Any]) -> EngineError | None:
    try:
        lab.submit(c.parse(content))
    except EngineError as refusal:
        return refusal
    return None


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(hostile.COMMANDS, min_size=1, max_size=12), st.sampled_from((0, 1_000, 300_000, 3_000_000)))
def test_any_command_is_done_or_refused_and_no_node_breaks(busy: Lab, contents: list[dict[str, Any]], pause_us: int) -> None:
    lab = busy.fork()
    began = lab.kernel.next_event_id
    for content in contents:
        if ask(lab, content):
            lab.advance(lab.now_us + pause_us)
    lab.advance(lab.now_us + 4_000_000)
    lab.digest()
    for happening in lab.history(began, 10**6):
        if isinstance(happening.event, AdminAnswered):
            assert happening.event.error in ERRORS
            assert all(error in ERRORS for _, error, _ in happening.event.results)


def test_groups_and_transactional_ids_are_bounded_even_while_time_stands_still(busy: Lab) -> None:
    lab = busy.fork()
    offsets = [{"topic": "orders", "partition": 0, "offset": 0}]
    refusal = None
    for number in range(limits.MAX_GROUPS + 1):
        refusal = refusal or attempt(lab, {"type": "AlterGroupOffsets", "group": f"group-{number}", "offsets": offsets})
    assert refusal is not None
    assert (refusal.field, refusal.code) == ("group", "POLICY_VIOLATION")
    assert ask(lab, {"type": "AlterGroupOffsets", "group": "group-0", "offsets": offsets}), "it is there already"
    assert not ask(lab, {"type": "CreateConsumer", "name": "late", "configs": {"group.id": "new"}})
    assert not ask(lab, {"type": "AlterConfig", "resource_type": "group", "resource_name": "new"})
    assert ask(lab, {"type": "DeleteGroup", "group": "group-0"})
    assert ask(lab, {"type": "CreateConsumer", "name": "late", "configs": {"group.id": "new"}})
    lab.world.transactional_ids = [f"t{number}" for number in range(limits.MAX_TRANSACTIONAL_IDS)]
    assert not ask(lab, {"type": "CreateProducer", "name": "payer", "configs": {"transactional.id": "another"}})
    assert ask(lab, {"type": "CreateProducer", "name": "payer", "configs": {"transactional.id": "t1"}})
