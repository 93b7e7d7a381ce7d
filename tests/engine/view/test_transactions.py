"""What the stage shows of transactions."""

from __future__ import annotations

from engine import commands as c
from tests.engine.facts.scene import Scene


def test_a_transaction_from_its_begin_to_its_end() -> None:
    scene = Scene(broker_configs={"transaction.state.log.num.partitions": "2"}, partitions=2)
    assert scene.view.transactions == {}
    scene.do(c.CreateProducer("pay", {"transactional.id": "shop"}))
    scene.wait(1)
    known = scene.view.transactions["shop"]
    assert (known.state, known.producer_epoch, known.start_us, known.timeout_ms) == ("Empty", 0, -1, 60_000)
    assert scene.view.producers["pay"].transaction_state == "ready"
    begun_us = scene.lab.now_us
    scene.do(c.BeginTransaction("pay"), c.Produce("orders", "x", producer="pay", partition=1))
    scene.wait(1)
    view = scene.view
    known = view.transactions["shop"]
    assert (known.state, known.partitions, known.unmarked) == ("Ongoing", ["orders-1"], [])
    assert begun_us <= known.start_us <= begun_us + 100_000
    producer = view.producers["pay"]
    assert (producer.transactional_id, producer.transaction_state) == ("shop", "in transaction")
    assert producer.transaction_partitions == ["orders-1"]
    open_there = scene.partition(1).open_transactions
    assert [(one.producer_id, one.producer_epoch, one.first_offset) for one in open_there] == [(known.producer_id, 0, 0)]
    assert scene.partition(0).open_transactions == []
    scene.do(c.CommitTransaction("pay"))
    scene.wait(1)
    known = scene.view.transactions["shop"]
    assert (known.state, known.partitions, known.producer_epoch) == ("CompleteCommit", [], 1)
    assert scene.partition(1).open_transactions == []


def test_markers_that_are_missing_are_shown() -> None:
    scene = Scene(broker_configs={"transaction.state.log.num.partitions": "2"}, replicas=(1,))
    scene.do(
        c.CreateProducer("pay", {"transactional.id": "a"}), c.BeginTransaction("pay"), c.Produce("orders", "x", producer="pay")
    )
    scene.wait(2)
    coordinator = scene.view.transactions["a"].coordinator
    assert coordinator != 1
    scene.do(c.KillNode("broker-1"))
    scene.wait(12)
    scene.do(c.CommitTransaction("pay"))
    scene.wait(2)
    known = scene.view.transactions["a"]
    assert (known.state, known.unmarked) == ("PrepareCommit", ["orders-0"])
