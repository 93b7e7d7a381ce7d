"""Each record's fate, told by what really happened to it in a simulated cluster."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine import commands as c
from engine import limits
from engine.check import ledger as ledger_module
from engine.check.ledger import FATES, Ledger, LedgerRow, LedgerTracker, LogState
from engine.events import (
    Happening,
    LeaderChanged,
    MessageLost,
    NetworkCut,
    ProduceSent,
    RecordsAcknowledged,
    RecordsAppended,
    SentRecord,
)
from engine.lab import Lab
from engine.messages.base import TopicPartition
from engine.spec import ClusterSpec, TopicSpec

SECOND_US = 1_000_000
ONE_PARTITION = (TopicSpec("orders", 1, 3),)


def new_lab(**configs: str) -> Lab:
    return Lab(ClusterSpec(topics=ONE_PARTITION, broker_configs=configs), seed=3)


def wait(lab: Lab, seconds: float) -> None:
    lab.advance(lab.now_us + int(seconds * SECOND_US))


def ledger(lab: Lab) -> Ledger:
    tracker = LedgerTracker()
    tracker.update(lab)
    return tracker.snapshot()


def fates(lab: Lab) -> dict[str, int]:
    return {fate: count for fate, count in ledger(lab).totals.items() if count}


def leader(lab: Lab) -> str:
    return f"broker-{lab.view().topics['orders'].partitions['0'].leader}"


def follower_brokers(lab: Lab) -> list[str]:
    part = lab.view().topics["orders"].partitions["0"]
    return [f"broker-{broker}" for broker in part.replicas if broker != part.leader]


def lose_acknowledged_records(lab: Lab) -> None:
    """acks=1, both followers cut off from the leader, the leader dies before they hear of the records."""
    lab.submit(c.CreateProducer("app", {"acks": "1"}))
    lab.submit(c.Produce("orders", "kept", producer="app"))
    wait(lab, 3)
    first = leader(lab)
    for follower in follower_brokers(lab):
        lab.submit(c.CutNetwork(follower, first))
    lab.submit(c.Produce("orders", "lost {n}", producer="app", count=2))
    wait(lab, 1)
    lab.submit(c.KillNode(first))
    lab.submit(c.HealNetwork())
    wait(lab, 15)


def test_a_record_that_nobody_read_yet_is_acknowledged_and_one_that_was_read_is_delivered() -> None:
    lab = new_lab()
    lab.submit(c.Produce("orders", "a"))
    wait(lab, 3)
    assert fates(lab) == {"acknowledged": 1}
    lab.submit(c.CreateConsumer("reader", ["orders"], {"auto.offset.reset": "earliest"}))
    wait(lab, 2)
    assert fates(lab) == {"delivered": 1}
    assert ledger(lab).rows[0].readers == ("reader",)


def test_a_record_above_the_high_watermark_is_invisible() -> None:
    lab = new_lab()
    lab.submit(c.CreateProducer("app", {"acks": "1"}))
    lab.submit(c.Produce("orders", "first", producer="app"))
    wait(lab, 3)
    for follower in follower_brokers(lab):
        lab.submit(c.PauseNode(follower))
    lab.submit(c.Produce("orders", "a", producer="app"))
    wait(lab, 0.5)
    row = ledger(lab).rows[-1]
    assert row.fate == "invisible"
    assert row.acked_us > 0


def test_an_acknowledged_record_that_the_new_leader_lacks_is_lost_and_the_election_explains_it() -> None:
    lab = new_lab()
    lose_acknowledged_records(lab)
    rows = ledger(lab).rows
    assert [row.fate for row in rows] == ["acknowledged", "lost", "lost"]
    assert not rows[1].in_log
    events = [lab.happening(number) for number in rows[1].events]
    assert any(happening is not None and isinstance(happening.event, LeaderChanged) for happening in events)


def test_the_truncation_of_the_old_leader_joins_the_explanation() -> None:
    lab = new_lab()
    old = leader(lab)
    lose_acknowledged_records(lab)
    lab.submit(c.StartNode(old))
    wait(lab, 10)
    row = ledger(lab).rows[-1]
    kinds = [type(happening.event).__name__ for number in row.events if (happening := lab.happening(number)) is not None]
    assert row.fate == "lost"
    assert kinds == ["RecordsAcknowledged", "LeaderChanged", "ReplicaTruncated"]


def test_a_record_that_the_producer_gave_up_is_failed() -> None:
    lab = new_lab(**{"min.insync.replicas": "3"})
    lab.submit(c.KillNode(follower_brokers(lab)[0]))
    wait(lab, 15)
    lab.submit(c.CreateProducer("app", {"retries": "0", "enable.idempotence": "false"}))
    lab.submit(c.Produce("orders", "a", producer="app"))
    wait(lab, 3)
    row = ledger(lab).rows[0]
    assert (row.fate, row.error, row.in_log) == ("failed", "NOT_ENOUGH_REPLICAS", False)


def test_a_record_under_way_with_a_producer_that_died_is_failed() -> None:
    lab = new_lab()
    lab.submit(c.CutNetwork(leader(lab)))
    lab.submit(c.CreateProducer("app"))
    lab.submit(c.Produce("orders", "a", producer="app"))
    wait(lab, 2)
    if not ledger(lab).rows:
        lab.submit(c.HealNetwork())
        wait(lab, 0.001)
    for _ in range(2_000):
        if ledger(lab).rows:
            break
        wait(lab, 0.001)
    assert ledger(lab).rows[0].fate == "in flight"
    lab.submit(c.KillNode("app"))
    wait(lab, 0.01)
    assert ledger(lab).rows[0].fate == "failed"


def test_without_idempotence_a_retry_whose_first_answer_was_lost_is_a_duplicate() -> None:
    lab = new_lab()
    lab.submit(c.CreateProducer("app", {"enable.idempotence": "false", "request.timeout.ms": "1000", "linger.ms": "0"}))
    lab.submit(c.Produce("orders", "warm", producer="app"))
    wait(lab, 3)
    lab.submit(c.CutNetwork(leader(lab), "app", one_way=True))
    lab.submit(c.Produce("orders", "twice", producer="app"))
    wait(lab, 1.5)
    lab.submit(c.HealNetwork())
    wait(lab, 5)
    row = ledger(lab).rows[-1]
    assert row.fate == "duplicated"
    assert len(row.offsets) == 2


def test_with_idempotence_the_same_retry_is_recognised() -> None:
    lab = new_lab()
    lab.submit(c.CreateProducer("app", {"request.timeout.ms": "1000", "linger.ms": "0"}))
    lab.submit(c.Produce("orders", "warm", producer="app"))
    wait(lab, 3)
    lab.submit(c.CutNetwork(leader(lab), "app", one_way=True))
    lab.submit(c.Produce("orders", "once", producer="app"))
    wait(lab, 1.5)
    lab.submit(c.HealNetwork())
    wait(lab, 5)
    row = ledger(lab).rows[-1]
    assert (row.fate, len(row.offsets)) == ("acknowledged", 1)


def test_with_acks_0_a_record_that_never_arrived_is_lost_and_the_cut_explains_it() -> None:
    lab = new_lab()
    lab.submit(c.CreateProducer("app", {"acks": "0", "linger.ms": "0"}))
    lab.submit(c.Produce("orders", "warm", producer="app"))
    wait(lab, 3)
    lab.submit(c.CutNetwork("app", leader(lab), one_way=True))
    lab.submit(c.Produce("orders", "gone", producer="app"))
    wait(lab, 1)
    assert ledger(lab).rows[-1].fate == "in flight", "it might still arrive"
    wait(lab, 3)
    row = ledger(lab).rows[-1]
    assert (row.fate, row.value, row.offset) == ("lost", "gone", -1)
    assert any(isinstance(h.event, (MessageLost, NetworkCut)) for number in row.events if (h := lab.happening(number)) is not None)


def test_a_record_written_behind_one_that_was_sent_later_is_reordered() -> None:
    tracker = LedgerTracker()
    happened = [
        ProduceSent("app", 1, "orders", 0, 1, 1, 1, 10, 1, -1, (SentRecord(1, None, "first"),)),
        ProduceSent("app", 1, "orders", 0, 2, 1, 1, 11, 1, -1, (SentRecord(2, None, "second"),)),
        RecordsAppended(1, "orders", 0, 0, 0, 0, 70, "app", 11),
        RecordsAcknowledged("app", "orders", 0, 2, 1, 0),
        ProduceSent("app", 1, "orders", 0, 1, 2, 1, 12, 1, -1, ()),
        RecordsAppended(1, "orders", 0, 1, 1, 0, 70, "app", 12),
        RecordsAcknowledged("app", "orders", 0, 1, 1, 1),
    ]
    for number, event in enumerate(happened, 1):
        tracker.read(Happening(number, number, "app", event, ()))
    tracker.judge({TopicPartition("orders", 0): LogState(1, 0, 0, 2, 2, ((0, 0),))})
    assert [(row.value, row.fate) for row in tracker.snapshot().rows] == [("first", "reordered"), ("second", "acknowledged")]


def test_rewinding_takes_the_ledger_back() -> None:
    lab = new_lab()
    tracker = LedgerTracker()
    lab.submit(c.Produce("orders", "a"))
    wait(lab, 3)
    middle_us = lab.now_us
    lab.submit(c.Produce("orders", "b"))
    wait(lab, 3)
    tracker.update(lab)
    assert tracker.snapshot().totals["acknowledged"] == 2
    lab.seek(middle_us)
    tracker.update(lab)
    assert tracker.snapshot().totals["acknowledged"] == 1


def test_following_along_gives_the_same_ledger_as_reading_it_all_at_the_end() -> None:
    lab = new_lab()
    tracker = LedgerTracker()
    lab.submit(c.StartWorkload("work", "orders", records_per_second=200))
    lab.submit(c.CreateConsumer("reader", ["orders"], {"auto.offset.reset": "earliest"}))
    for step in range(20):
        wait(lab, 0.5)
        if step == 8:
            lab.submit(c.KillNode(leader(lab)))
        tracker.update(lab)
    assert tracker.snapshot() == ledger(lab)
    assert tracker.snapshot().totals["delivered"] > 100


def test_old_settled_rows_are_folded_into_the_totals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_LEDGER_ROWS", 50)
    lab = new_lab()
    lab.submit(c.StartWorkload("work", "orders", records_per_second=100, limit=200))
    wait(lab, 8)
    found = ledger(lab)
    assert len(found.rows) <= 50
    assert sum(found.totals.values()) == 200
    assert found.folded == 200 - len(found.rows)


def test_snapshots_can_be_short() -> None:
    lab = new_lab()
    lab.submit(c.Produce("orders", "{n}", count=20))
    wait(lab, 3)
    tracker = LedgerTracker()
    tracker.update(lab)
    rows: list[LedgerRow] = tracker.snapshot(limit=5).rows
    assert [row.value for row in rows] == ["16", "17", "18", "19", "20"]


def test_what_a_log_holds_follows_its_epochs() -> None:
    state = LogState(1, 4, 2, 9, 8, ((1, 0), (4, 5)))
    holds: Callable[[int, int], bool] = state.holds
    assert holds(4, 1)
    assert holds(5, 4)
    assert not holds(5, 1), "another leader wrote that offset again"
    assert not holds(9, 4), "beyond the end"
    assert holds(1, 3), "retention took it; that is no loss"


def test_every_fate_is_counted_even_at_zero() -> None:
    assert tuple(ledger(new_lab()).totals) == FATES
    assert limits.MAX_LEDGER_ROWS >= 1_000


def share(lab: Lab, *names: str, **more: str) -> None:
    lab.submit(c.AlterConfig("group", "pool", {"share.auto.offset.reset": "earliest"}))
    wait(lab, 0.5)
    for name in names:
        configs = {"group.id": "pool", **{key.replace("_", "."): value for key, value in more.items()}}
        lab.submit(
            c.CreateShareConsumer(name, ["orders"], configs, 500, fail_on="bad" if "share_acknowledgement_mode" in more else "")
        )
    wait(lab, 12)


def test_an_attempt_of_a_share_group_that_failed_does_not_double_a_record() -> None:
    lab = new_lab()
    share(lab, "one", "two", share_acknowledgement_mode="explicit")
    lab.submit(c.Produce("orders", "bad"))
    lab.submit(c.Produce("orders", "good"))
    wait(lab, 6)
    (bad, good) = ledger(lab).rows
    assert set(bad.readers) | set(good.readers) <= {"one", "two"}
    assert fates(lab) == {"delivered": 2}


def test_a_record_of_a_share_group_whose_lock_ran_out_is_doubled() -> None:
    lab = new_lab()
    share(lab, "one")
    lab.submit(c.Produce("orders", "x"))
    wait(lab, 0.3)
    lab.submit(c.PauseNode("one"))
    share(lab, "two")
    wait(lab, 22)
    lab.submit(c.ResumeNode("one"))
    wait(lab, 3)
    (row,) = ledger(lab).rows
    assert (row.fate, row.doubled, sorted(row.readers)) == ("doubled", ("pool",), ["one", "two"])
