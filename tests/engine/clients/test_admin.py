"""The admin client: some broker answers, or the call ends with REQUEST_TIMED_OUT."""

from __future__ import annotations

from engine.clients.admin import ANSWERS_KEPT, AdminNode
from engine.events import AdminAnswered
from engine.messages.admin import AdminResponse, CreatableTopic, CreateTopicsRequest, MetadataRequest, MetadataResponse
from engine.messages.instructions import CallAdmin
from engine.sim.checkpoint import copy_tree
from tests.engine.clients.harness import Cluster


def make() -> Cluster:
    return Cluster(AdminNode("admin", (1, 2, 3)), (1, 2, 3), {"orders": 1})


CREATE = CreateTopicsRequest(0, (CreatableTopic("new", 1, 1),))


def test_a_call_is_answered_once_and_the_answer_kept_for_readers():
    cluster = make()
    cluster.instruct(CallAdmin(7, CREATE))
    cluster.advance(1_000_000)
    assert cluster.of(AdminAnswered) == [AdminAnswered(7, "CreateTopics", "NONE", (("new", "NONE", ""),), "")]
    answer = cluster.node.answers[7]
    assert isinstance(answer, AdminResponse)
    cluster.instruct(CallAdmin(8, MetadataRequest(0)))
    cluster.advance(2_000_000)
    metadata = cluster.node.answers[8]
    assert isinstance(metadata, MetadataResponse)
    assert [topic.name for topic in metadata.topics] == ["orders"]
    assert copy_tree(cluster.node) == cluster.node


def test_dead_brokers_are_passed_over():
    cluster = make()
    cluster.down = {1, 2}
    for call in range(5):
        cluster.instruct(CallAdmin(call, CREATE))
    cluster.advance(5_000_000)
    assert len(cluster.of(AdminAnswered)) == 5
    assert {event.error for event in cluster.of(AdminAnswered)} == {"NONE"}


def test_a_silent_broker_costs_30_s_then_the_next_one_is_asked():
    cluster = make()
    cluster.instruct(CallAdmin(1, CREATE))
    cluster.advance(1_000_000)
    for broker in (1, 2, 3):
        cluster.silent_until[broker] = 20_000_000
    cluster.instruct(CallAdmin(2, CREATE))
    cluster.advance(29_000_000)
    assert len(cluster.of(AdminAnswered)) == 1
    cluster.advance(40_000_000)
    assert cluster.of(AdminAnswered)[-1].error == "NONE"
    assert [type(m).__name__ for m in cluster.sent(CreateTopicsRequest)] == ["CreateTopicsRequest"] * 3


def test_with_no_broker_at_all_the_call_times_out_after_60_s():
    cluster = make()
    cluster.down = {1, 2, 3}
    cluster.instruct(CallAdmin(1, CREATE))
    cluster.advance(59_000_000)
    assert not cluster.of(AdminAnswered)
    cluster.advance(61_000_000)
    assert cluster.of(AdminAnswered)[0].error == "REQUEST_TIMED_OUT"
    assert not cluster.node.calls
    before = len(cluster.requests)
    cluster.advance(200_000_000)
    assert len(cluster.requests) - before < 5


def test_only_the_newest_answers_are_kept():
    cluster = make()
    for call in range(ANSWERS_KEPT + 5):
        cluster.instruct(CallAdmin(call, CREATE))
        cluster.advance(cluster.now + 10_000)
    cluster.advance(cluster.now + 1_000_000)
    assert list(cluster.node.answers) == list(range(5, ANSWERS_KEPT + 5))
