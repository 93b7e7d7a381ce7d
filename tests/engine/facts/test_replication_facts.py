"""Facts 12 to 16: where the high watermark stands, and what an acknowledgement is worth."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine import events as e
from engine.metadata.configs import BROKER_CONFIGS, TOPIC_CONFIGS
from tests.engine.facts.scene import Scene


def test_fact_12_the_leader_advances_when_followers_fetch_past_and_a_follower_learns_it_in_a_later_fetch() -> None:
    scene = Scene()
    sent = scene.do(c.CreateProducer("app", {"acks": "1"}), c.Produce("orders", "a", producer="app"))
    scene.wait_until(lambda: scene.partition().high_watermark == 1, step_ms=0.1)
    appended, _ = scene.first(e.RecordsAppended, sent)
    copied = [happening.at_us / 1e6 for happening in scene.happened(e.RecordsReplicated, sent)]
    risen, _ = scene.first(e.HighWatermarkAdvanced, sent, new=1)
    assert len(copied) == 2
    assert appended < min(copied) <= max(copied) < risen
    # the followers hold the record, and do not know yet that it is committed
    assert [scene.replica(broker).log_end_offset for broker in (2, 3)] == [1, 1]
    assert [scene.replica(broker).high_watermark for broker in (2, 3)] == [0, 0]
    scene.wait(0.6)  # an idle follower's fetch waits at the leader for replica.fetch.wait.max.ms = 500 ms
    assert [scene.replica(broker).high_watermark for broker in (2, 3)] == [1, 1]


def test_fact_12_it_also_advances_when_the_isr_shrinks() -> None:
    scene = Scene()
    scene.produce("a")
    scene.cut_replication(3, 1)
    mark = scene.do(c.CreateProducer("app", {"acks": "1"}), c.Produce("orders", "b", producer="app"))
    scene.wait(20)
    assert scene.partition().high_watermark == 1
    scene.wait_until(lambda: scene.partition().isr == [1, 2])
    scene.wait(0.1)
    assert scene.partition().high_watermark == 2
    risen = scene.happened(e.HighWatermarkAdvanced, mark, new=2)[0]
    shrunk = scene.happened(e.IsrChanged, mark)[0]
    assert shrunk.id in [cause.id for cause in scene.lab.why(risen.id)]


def test_fact_12_a_sole_replica_commits_with_its_own_append() -> None:
    scene = Scene(replicas=(2,))
    scene.produce("a")
    appended, _ = scene.first(e.RecordsAppended)
    risen, _ = scene.first(e.HighWatermarkAdvanced, topic="orders")
    assert appended == risen


def test_fact_13_below_min_insync_replicas_even_acks_1_writes_stay_invisible() -> None:
    scene = Scene({"min.insync.replicas": "2"})
    scene.produce("before", acks="1")
    scene.do(c.KillNode("broker-2"), c.KillNode("broker-3"))
    scene.wait_until(lambda: scene.partition().isr == [1])
    scene.produce("hidden", acks="1", wait=30)
    partition = scene.partition()
    assert (partition.log_end_offset, partition.high_watermark) == (2, 1)
    assert scene.view.producers["app-1"].acknowledged == 2
    assert scene.read_all() == ["before"]
    scene.do(c.StartNode("broker-2"))
    scene.wait_until(lambda: scene.partition().high_watermark == 2)
    assert scene.partition().isr == [1, 2]
    scene.wait(1)
    assert [record.value for record in scene.view.consumers["reader"].last] == ["before", "hidden"]


def test_fact_13_the_replication_factor_bounds_the_minimum() -> None:
    scene = Scene({"min.insync.replicas": "3"}, replicas=(1, 2))
    scene.produce("a")
    assert scene.acknowledged() == 1
    assert scene.partition().high_watermark == 1


def test_fact_14_too_small_an_isr_before_the_append_writes_nothing() -> None:
    scene = Scene({"min.insync.replicas": "2"})
    scene.do(c.KillNode("broker-2"), c.KillNode("broker-3"))
    scene.wait_until(lambda: scene.partition().isr == [1])
    mark = scene.do(c.CreateProducer("app"), c.Produce("orders", "a", producer="app"))
    scene.wait(3)
    errors = {happening.event.error for happening in scene.happened(e.ProduceRefused, mark)}
    assert errors == {"NOT_ENOUGH_REPLICAS"}
    assert scene.partition().log_end_offset == 0
    assert scene.view.producers["app"].retries > 1  # retriable: the client goes on asking
    scene.do(c.StartNode("broker-2"))
    scene.wait_until(lambda: scene.acknowledged() == 1)
    assert scene.partition().log_end_offset == 1


def test_fact_14_an_isr_that_shrinks_while_the_request_waits_means_a_timeout_and_the_record_may_commit_later() -> None:
    scene = Scene({"min.insync.replicas": "2"})
    scene.do(c.CreateProducer("app", {"request.timeout.ms": "20000", "retries": "0"}))
    scene.wait(1)
    scene.do(c.KillNode("broker-2"), c.KillNode("broker-3"))
    mark = scene.do(c.Produce("orders", "a", producer="app"))
    scene.wait(15)
    assert scene.partition().isr == [1]
    assert not scene.happened(e.ProduceRefused, mark)  # the shrunken ISR alone answers nobody
    scene.wait(6)
    assert [happening.event.error for happening in scene.happened(e.ProduceRefused, mark)] == ["REQUEST_TIMED_OUT"]
    assert scene.view.producers["app"].failed == 1
    assert (scene.partition().log_end_offset, scene.partition().high_watermark) == (1, 0)
    scene.do(c.StartNode("broker-2"))
    scene.wait_until(lambda: scene.partition().high_watermark == 1)
    assert scene.read_all() == ["a"]


def test_fact_14_a_minimum_raised_while_the_request_waits_ends_the_same_way() -> None:
    """The offset is reached by all members, but not *committed*: so this is no NOT_ENOUGH_REPLICAS_AFTER_APPEND either."""
    scene = Scene({"min.insync.replicas": "2"}, replicas=(1, 2, 3))
    scene.do(c.KillNode("broker-3"))
    scene.wait_until(lambda: scene.partition().isr == [1, 2])
    scene.do(c.CreateProducer("app", {"request.timeout.ms": "10000", "retries": "0"}))
    scene.do(c.DegradeNetwork("broker-2", "broker-1", delay_ms=400))
    scene.wait(3)
    mark = scene.do(c.Produce("orders", "b", producer="app"))
    scene.wait(0.05)
    assert scene.happened(e.RecordsAppended, mark)
    scene.do(c.AlterConfig("topic", "orders", {"min.insync.replicas": "3"}))
    scene.wait(11)
    assert [happening.event.error for happening in scene.happened(e.ProduceRefused, mark)] == ["REQUEST_TIMED_OUT"]
    assert (scene.replica(2).log_end_offset, scene.partition().high_watermark) == (1, 0)


def test_fact_15_acks_all_is_the_current_isr_which_may_be_one_broker() -> None:
    scene = Scene()
    scene.do(c.KillNode("broker-2"), c.KillNode("broker-3"))
    scene.wait_until(lambda: scene.partition().isr == [1])
    mark = scene.do(c.Produce("orders", "alone"))
    scene.wait(1)
    assert scene.acknowledged() == 1  # one copy of three: no majority was asked
    assert not scene.happened(e.RecordsReplicated, mark)


def test_fact_15_acks_all_waits_for_every_member_not_for_a_majority() -> None:
    scene = Scene()
    scene.cut_replication(3, 1)
    scene.do(c.Produce("orders", "a"))
    scene.wait(10)
    assert scene.replica(2).log_end_offset == 1  # two of three hold it
    assert scene.acknowledged() == 0
    scene.heal()
    scene.wait(35)
    assert scene.acknowledged() == 1


def test_fact_15_the_defaults_are_one() -> None:
    assert TOPIC_CONFIGS["min.insync.replicas"].default == "1"
    assert BROKER_CONFIGS["default.replication.factor"].default == "1"
    scene = Scene()
    scene.do(c.CreateTopic("plain"))
    scene.wait(1)
    assert len(scene.partition(topic="plain").replicas) == 1
    assert scene.partition(topic="plain").min_isr == 1


@pytest.mark.parametrize("acks", ["1", "all"])
def test_fact_16_failover_erases_a_record_acknowledged_with_acks_1_and_none_with_acks_all(acks: str) -> None:
    scene = Scene()
    scene.produce("kept", acks=acks)
    for follower in (2, 3):
        scene.cut_replication(follower, 1)
    scene.do(c.Produce("orders", "young", producer=f"app-{acks}"))
    scene.wait(1)
    assert scene.acknowledged() == (2 if acks == "1" else 1)
    scene.do(c.KillNode("broker-1"))
    scene.heal()
    scene.wait_until(lambda: scene.partition().leader in (2, 3))
    scene.do(c.StartNode("broker-1"))
    scene.wait(20)
    # the old leader has given up what only it had
    truncated = scene.happened(e.ReplicaTruncated, broker=1)
    read = scene.read_all()
    if acks == "1":
        assert (truncated[0].event.from_offset, truncated[0].event.to_offset) == (2, 1)
        assert read == ["kept"]
    else:
        assert read == ["kept", "young"]  # never acknowledged by the old leader, the producer sent it again
    assert sorted(scene.partition().isr) == [1, 2, 3]


def test_fact_16_acks_1_is_answered_before_anybody_has_copied() -> None:
    scene = Scene()
    scene.do(c.CreateProducer("app", {"acks": "1"}))
    scene.wait(1)
    mark = scene.do(c.Produce("orders", "a", producer="app"))
    scene.wait(1)
    answered, _ = scene.first(e.ProduceAcknowledged, mark)
    copied, _ = scene.first(e.RecordsReplicated, mark)
    assert answered < copied
