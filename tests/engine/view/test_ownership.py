"""Who read which partition of a group, and for how long nobody did, under an eager and a cooperative rebalance."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine.lab import Lab
from engine.spec import ClusterSpec, TopicSpec
from engine.view.ownership import Span, stops
from engine.view.tree import GroupView

SPEC = ClusterSpec(topics=(TopicSpec("orders", 6, 3),))
BROKERS_OWN = {"group.protocol": "consumer"}
COOPERATIVE = {"partition.assignment.strategy": "cooperative-sticky"}


def three(configs: dict[str, str]) -> Lab:
    lab = Lab(SPEC, seed=3)
    for number in (1, 2, 3):
        lab.submit(c.CreateConsumer(f"app-{number}", ["orders"], {"group.id": "readers", **configs}))
    lab.advance(lab.now_us + 12_000_000)
    return lab


def group(lab: Lab) -> GroupView:
    return lab.view().groups["readers"]


def test_the_gaps_between_spans_are_the_stops() -> None:
    spans = [Span("a-0", "x", 0, 10), Span("a-0", "y", 25, 40), Span("a-1", "x", 0, -1), Span("a-0", "z", 30, 60)]
    assert stops(spans) == {"a-0": [(10, 25), (60, -1)]}


@pytest.mark.parametrize("configs", [{}, COOPERATIVE, BROKERS_OWN], ids=["range", "cooperative-sticky", "KIP-848"])
def test_partitions_of_a_killed_member_stand_still_until_its_session_is_over(configs: dict[str, str]) -> None:
    lab = three(configs)
    held = [span.partition for span in group(lab).owners if span.consumer == "app-2" and span.until_us < 0]
    killed_us = lab.now_us
    lab.submit(c.KillNode("app-2"))
    assert [stop.partition for stop in group(lab).stops if stop.until_us < 0] == held
    lab.advance(lab.now_us + 60_000_000)
    view = group(lab)
    theirs = {stop.partition: stop.until_us - stop.from_us for stop in view.stops if stop.from_us == killed_us}
    assert sorted(theirs) == sorted(held)
    assert all(40_000_000 < stopped_us < 60_000_000 for stopped_us in theirs.values())
    assert "app-2" in view.rebalances[-1].reason
    current = [span for span in view.owners if span.until_us < 0]
    assert sorted(span.partition for span in current) == [f"orders-{number}" for number in range(6)]


def test_an_eager_rebalance_stops_everybody_and_a_cooperative_one_only_what_moves() -> None:
    stopped = []
    for configs in ({}, COOPERATIVE, BROKERS_OWN):
        lab = three(configs)
        since_us = lab.now_us
        lab.submit(c.StopNode("app-2"))
        lab.advance(lab.now_us + 10_000_000)
        stopped.append(len({stop.partition for stop in group(lab).stops if stop.from_us >= since_us}))
    assert stopped == [6, 2, 2]


def test_a_frozen_member_reads_nothing_and_goes_on_when_it_is_resumed() -> None:
    lab = three({})
    lab.submit(c.PauseNode("app-1"))
    assert len([stop for stop in group(lab).stops if stop.until_us < 0]) == 2
    lab.advance(lab.now_us + 2_000_000)
    lab.submit(c.ResumeNode("app-1"))
    assert not [stop for stop in group(lab).stops if stop.until_us < 0]


def test_it_rewinds_with_the_lab() -> None:
    lab = three({})
    then_us, before = lab.now_us, group(lab)
    lab.advance(lab.now_us + 1_000)
    lab.submit(c.KillNode("app-3"))
    lab.advance(lab.now_us + 60_000_000)
    lab.seek(then_us)
    assert group(lab) == before
