"""The goal vocabulary: every condition true once and false once, over one lab in which something of everything has happened."""

from __future__ import annotations

from typing import Any

import pytest

from engine import commands as cm
from engine.lab import Lab
from engine.spec import ClusterSpec, TopicSpec
from lessons.condition import CONDITIONS, Counted, build
from lessons.errors import Problem
from lessons.goals import evaluate_all, sentence
from lessons.run import Run
from lessons.scene import Past, Scene
from tests.lessons.helpers import GOOD, lesson

SPEC = ClusterSpec(
    topics=(
        TopicSpec(
            "orders", partitions=2, replication_factor=3, assignments=[[1, 2, 3], [2, 3, 1]], configs={"min.insync.replicas": "2"}
        ),
    )
)


def second(lab: Lab, seconds: float = 1) -> None:
    lab.advance(lab.now_us + int(seconds * 1_000_000))


@pytest.fixture(scope="module")
def run() -> Run:
    """Orders written and read; brokers 2 and 3 stopped, so that broker 1 is alone below the floor and refuses."""
    lab = Lab(SPEC, 5)
    run = Run(lab)
    lab.submit(cm.CreateProducer(name="shop"))
    for n in range(3):
        lab.submit(cm.Produce(topic="orders", producer="shop", key="alice", value=f"order {n}", partition=0))
    lab.submit(cm.CreateConsumer(name="billing", topics=["orders"], configs={"auto.offset.reset": "earliest"}))
    second(lab, 2)
    for broker in ("broker-2", "broker-3"):
        lab.submit(cm.StopNode(node=broker))
        second(lab, 12)
    lab.submit(cm.Produce(topic="orders", producer="shop", value="refused", partition=0))
    second(lab, 3)
    return run


TRUE_AND_FALSE: dict[str, tuple[Any, Any]] = {
    "leader_is": ({"partition": "orders-0", "broker": 1}, {"partition": "orders-0", "broker": 2}),
    "leader": ({"partition": "orders-0", "equals": 1}, {"partition": "gone-0", "at_least": 0}),
    "isr_is": ({"partition": "orders-0", "brokers": [1]}, {"partition": "orders-0", "brokers": [1, 2]}),
    "isr_size": ({"partition": "orders-0", "equals": 1}, {"partition": "orders-0", "at_least": 2}),
    "elr_is": ({"partition": "orders-0", "brokers": [3]}, {"partition": "orders-0", "brokers": [2, 3]}),
    "epoch": ({"partition": "orders-1", "at_least": 1}, {"partition": "orders-0", "at_least": 1}),
    "epoch_at_least": ({"partition": "orders-1", "epoch": 1}, {"partition": "orders-0", "epoch": 1}),
    "broker_status": ({"broker": 2, "status": "down", "fenced": True}, {"broker": 1, "status": "down"}),
    "topic_exists": ({"topic": "orders", "partitions": 2, "replication_factor": 3}, {"topic": "orders", "partitions": 3}),
    "config_is": (
        {"topic": "orders", "name": "min.insync.replicas", "value": 2}, {"producer": "shop", "name": "acks", "value": "1"}),
    "offline_partitions": ({"equals": 0}, {"at_least": 1}),
    "under_replicated": ({"topic": "orders", "equals": 2}, {"equals": 0}),
    "replicas_led": ({"broker": 1, "equals": 2}, {"broker": 2, "at_least": 1}),
    "replicas": ({"topic": "orders", "equals": 6}, {"topic": "gone", "at_least": 0}),
    "record_at": (
        {"partition": "orders-0", "offset": 1, "key": "alice", "value": "order 1"}, {"partition": "orders-0", "offset": 1, "value": "x"}),
    "log_end_offset": ({"partition": "orders-0", "equals": 3}, {"partition": "orders-0", "broker": 2, "at_least": 0}),
    "high_watermark": ({"partition": "orders-0", "equals": 3}, {"partition": "orders-0", "at_most": 2}),
    "batch_field": (
        {"partition": "orders-0", "offset": 0, "field": "recordsCount", "equals": 3},
        {"partition": "orders-1", "field": "size", "at_least": 0}),
    "sent": ({"producer": "shop", "equals": 4}, {"producer": "gone", "at_least": 1}),
    "acknowledged": ({"producer": "shop", "topic": "orders", "equals": 3}, {"partition": "orders-1", "at_least": 1}),
    "ledger": ({"fate": "delivered", "equals": 3}, {"fate": "lost", "at_least": 1}),
    "no_record_lost": ({"acks": "all"}, None),
    "order_kept": ({}, None),
    "partitions_used": ({"topic": "orders", "equals": 1}, {"topic": "orders", "at_least": 2}),
    "partition_of_key": ({"topic": "orders", "key": "alice", "equals": 0}, {"topic": "orders", "key": "bob", "at_least": 0}),
    "consumer_position": (
        {"consumer": "billing", "partition": "orders-0", "equals": 3}, {"consumer": "gone", "partition": "orders-0", "at_least": 0}),
    "consumed": ({"consumer": "billing", "equals": 3}, {"consumer": "billing", "partition": "orders-0", "offset": 3, "at_least": 1}),
    "event_happened": ({"event": "NodeStopped", "name": "broker-2"}, {"event": "NodeStopped", "name": "broker-1"}),
    "produce_error": ({"error": "NOT_ENOUGH_REPLICAS", "producer": "shop"}, {"error": "REQUEST_TIMED_OUT"}),
    "elapsed_ms": (
        {"start": {"event": "RecordsAcknowledged"}, "stop": {"event": "NodeStopped"}, "at_least": 1000},
        {"start": {"event": "NodeKilled"}, "stop": {"event": "NodeStopped"}, "at_least": 0}),
    "all_of": (
        [{"leader_is": {"partition": "orders-0", "broker": 1}}, {"order_kept": {}}],
        [{"leader_is": {"partition": "orders-0", "broker": 1}}, {"leader_is": {"partition": "orders-0", "broker": 2}}]),
    "any_of": (
        [{"leader_is": {"partition": "orders-0", "broker": 2}}, {"order_kept": {}}], [{"leader_is": {"partition": "orders-0", "broker": 2}}]),
    "not": ({"leader_is": {"partition": "orders-0", "broker": 2}}, {"leader_is": {"partition": "orders-0", "broker": 1}}),
}  # fmt: skip


def test_every_condition_is_tried() -> None:
    assert set(TRUE_AND_FALSE) == set(CONDITIONS)


@pytest.mark.parametrize("name", TRUE_AND_FALSE)
def test_a_condition_is_true_and_false(run: Run, name: str) -> None:
    good, bad = TRUE_AND_FALSE[name]
    for fields, wanted in ((good, True), (bad, False)):
        if fields is None:
            continue
        found = build({name: fields}).look(run.scene())
        assert found.ok is wanted, found.text
        assert found.text
        assert sentence(found.text).endswith(".")


def test_a_guard_of_loss_breaks_when_the_leader_takes_records_with_it() -> None:
    lab = Lab(ClusterSpec(topics=(TopicSpec("orders", assignments=[[1, 2, 3]]),)), 3)
    run = Run(lab)
    lab.submit(cm.CreateProducer(name="quick", configs={"acks": "1"}))
    lab.submit(cm.DegradeNetwork(source="broker-1", target="broker-2", delay_ms=2_000))
    lab.submit(cm.DegradeNetwork(source="broker-1", target="broker-3", delay_ms=2_000))
    lab.submit(cm.Produce(topic="orders", producer="quick", value="x", count=2))
    second(lab, 0.3)
    assert build({"no_record_lost": {}}).look(run.scene()).ok
    lab.submit(cm.KillNode(node="broker-1"))
    second(lab, 15)
    found = build({"no_record_lost": {"acks": 1}}).look(run.scene())
    assert (found.ok, found.text) == (False, "2 acknowledged records lost")
    assert build({"no_record_lost": {"acks": "all"}}).look(run.scene()).ok, "only records sent with acks=all count"
    run.begin_step()
    assert build({"no_record_lost": {}}).look(run.scene()).ok, "only records sent in this step count"
    assert not build({"no_record_lost": {"scope": "lesson"}}).look(run.scene()).ok


def test_a_guard_of_order_breaks_when_a_retry_overtakes() -> None:
    """Without idempotence and with several requests in flight (fact 34)."""
    condition = build({"order_kept": {}})
    for seed in range(1, 40):
        lab = Lab(ClusterSpec(topics=(TopicSpec("orders", assignments=[[1, 2, 3]]),)), seed)
        run = Run(lab)
        lab.submit(
            cm.CreateProducer(name="web", configs={"enable.idempotence": "false", "batch.size": "100", "retry.backoff.ms": "50"})
        )
        lab.submit(cm.DegradeNetwork(source="web", target="broker-1", delay_ms=5, loss_percent=20))
        lab.submit(cm.StartWorkload(name="w", topic="orders", producer="web", records_per_second=500, limit=300))
        second(lab, 3)
        if not condition.look(run.scene()).ok:
            return
    pytest.fail("no seed reordered anything")


def test_findings_are_plain_sentences(run: Run) -> None:
    scene = run.scene()
    said = [
        sentence(build({name: fields}).look(scene).text)
        for name, fields in (
            ("isr_is", {"partition": "orders-0", "brokers": [1]}),
            ("leader_is", {"partition": "orders-0", "broker": 1}),
            ("broker_status", {"broker": 2, "status": "up", "fenced": False}),
            ("ledger", {"fate": "lost", "equals": 0}),
            ("consumed", {"consumer": "billing", "at_least": 1}),
            ("produce_error", {"error": "REQUEST_TIMED_OUT"}),
            ("leader_is", {"partition": "gone-0", "broker": 1}),
        )
    ]
    assert said == [
        "The ISR of orders-0 is 1.",
        "orders-0 is led by broker 1.",
        "Broker 2 is down and fenced.",
        "The ledger shows no records lost.",
        "billing has read 3 records.",
        "Nobody has met REQUEST_TIMED_OUT.",
        "There is no partition gone-0 yet.",
    ]


def test_bounds_are_asked_for_unless_something_is_measured() -> None:
    with pytest.raises(Problem):
        build({"log_end_offset": {"partition": "orders-0"}})
    assert isinstance(build({"log_end_offset": {"partition": "orders-0"}}, measured=True), Counted)


def test_goals_are_judged_with_a_snapshot_or_with_what_makes_one() -> None:
    taught = lesson(GOOD)
    run = Run.begin(taught)
    (before,) = evaluate_all(taught, 0, run.lab, run.ledger(), run.since_us)
    assert (before.name, before.kind, before.ok, before.text) == ("written", "goal", False, "No records acknowledged.")
    run.lab.submit(cm.Produce(topic="orders", value="x"))
    second(run.lab)
    past = Past()
    for _ in range(2):
        (after,) = evaluate_all(taught, 0, run.lab, run.ledger, run.since_us, past)
        assert after.ok


def test_the_past_begins_anew_after_a_rewind() -> None:
    lab = Lab(SPEC, 1)
    run = Run(lab)
    before = lab.now_us
    second(lab)
    lab.submit(cm.KillNode(node="broker-1"))
    assert Scene.of(lab, run.ledger, 0, run.past).happened("NodeKilled")
    lab.seek(before)
    assert not Scene.of(lab, run.ledger, 0, run.past).happened("NodeKilled")
    lab.submit(cm.KillNode(node="broker-2"))
    (happening,) = Scene.of(lab, run.ledger, 0, run.past).happened("NodeKilled")
    assert happening.event.name == "broker-2"  # type: ignore[attr-defined]
