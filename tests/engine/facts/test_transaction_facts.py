"""Facts 35 to 40: transactions, as a person at the lab meets them."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine import events as e
from engine.metadata.configs import BROKER_CONFIGS
from tests.engine.facts.scene import Scene

FEW = {"transaction.state.log.num.partitions": "3", "offsets.topic.num.partitions": "3"}


class Shop(Scene):
    """``pay`` is a producer with the transactional ID ``shop``; it has been initialised."""

    def __init__(self, configs: dict[str, str] | None = None, **options: object) -> None:
        given = {**FEW, **options.pop("broker_configs", {})}  # type: ignore[dict-item]
        producer = options.pop("producer", {})
        super().__init__(configs, broker_configs=given, **options)  # type: ignore[arg-type]
        self.do(c.CreateProducer("pay", {"transactional.id": "shop", **producer}))  # type: ignore[dict-item]
        self.wait(2)

    def send(self, *values: str, producer: str = "pay", partition: int = 0, wait: float = 0.5) -> None:
        for value in values:
            self.do(c.Produce("orders", value, producer=producer, partition=partition))
            self.wait(0.02)
        self.wait(wait)

    def begin(self) -> None:
        self.do(c.BeginTransaction("pay"))

    def commit(self) -> None:
        self.do(c.CommitTransaction("pay"))
        self.wait(0.5)

    def abort(self) -> None:
        self.do(c.AbortTransaction("pay"))
        self.wait(0.5)

    @property
    def stable(self) -> tuple[int, int]:
        """(last stable offset, high watermark)."""
        return self.partition().last_stable_offset, self.partition().high_watermark

    def reader(self, name: str, isolation: str) -> list[str | None]:
        """The values that a consumer with this isolation level gets to see, from the beginning."""
        return self.read_all(name, isolation_level=isolation)


# -- 35 ------------------------------------------------------------------------------------------------------------------------------


def test_fact_35_initialising_again_aborts_the_open_transaction_bumps_the_epoch_and_fences() -> None:
    shop = Shop()
    shop.begin()
    shop.send("half done")
    before = shop.view.transactions["shop"]
    shop.do(c.CreateProducer("pay-2", {"transactional.id": "shop"}))
    shop.wait(2)
    after = shop.view.transactions["shop"]
    assert after.producer_id == before.producer_id
    assert after.producer_epoch > before.producer_epoch
    assert shop.stable == (2, 2)
    assert shop.first(e.TransactionPrepared)[1].committed is False
    shop.commit()
    assert shop.first(e.ProducerFenced)[1].producer == "pay"
    assert shop.view.producers["pay"].transaction_state == "fatal error"
    assert shop.reader("reader", "read_committed") == []


def test_fact_35_a_zombie_that_wakes_up_writes_nothing() -> None:
    """It was frozen in the middle of its transaction; its successor has long gone on."""
    shop = Shop()
    shop.begin()
    shop.send("before the pause")
    shop.do(c.PauseNode("pay"), c.CreateProducer("pay-2", {"transactional.id": "shop"}))
    shop.wait(2)
    shop.do(c.BeginTransaction("pay-2"))
    shop.send("successor", producer="pay-2")
    shop.do(c.CommitTransaction("pay-2"), c.ResumeNode("pay"))
    mark = shop.lab.kernel.next_event_id - 1
    shop.send("zombie")
    refused = shop.happened(e.ProduceRefused, mark, client="pay")
    assert [happening.event.error for happening in refused] == ["INVALID_PRODUCER_EPOCH"]
    shop.do(c.AbortTransaction("pay"))
    shop.wait(1)
    assert shop.first(e.ProducerFenced)[1].producer == "pay"
    assert shop.reader("reader", "read_committed") == ["successor"]


# -- 36 ------------------------------------------------------------------------------------------------------------------------------


def test_fact_36_each_transaction_has_an_epoch_of_its_own_committed_or_aborted() -> None:
    shop = Shop()
    epochs = [shop.view.producers["pay"].producer_epoch]
    for number in range(4):
        shop.begin()
        shop.send(str(number), wait=0.1)
        (shop.commit if number % 2 else shop.abort)()
        epochs.append(shop.view.producers["pay"].producer_epoch)
    assert epochs == [0, 1, 2, 3, 4]
    written = [happening.event.producer_epoch for happening in shop.happened(e.TransactionMarkerWritten)]
    assert written == [1, 2, 3, 4]  # the marker already has the epoch of the next transaction


def test_fact_36_partitions_are_added_by_their_leaders_with_the_first_record() -> None:
    shop = Shop(partitions=3)
    shop.begin()
    shop.send("a", partition=2)
    assert shop.view.transactions["shop"].partitions == ["orders-2"]
    shop.send("b", partition=2)
    shop.send("c", partition=0)
    assert shop.view.transactions["shop"].partitions == ["orders-2", "orders-0"]
    added = [happening.event for happening in shop.happened(e.PartitionAddedToTransaction)]
    assert [event.partition for event in added] == [2, 0]
    assert all("AddPartitions" not in flight.kind for flight in shop.view.in_flight if flight.source == "pay")
    shop.commit()
    assert {happening.event.partition for happening in shop.happened(e.TransactionMarkerWritten)} == {0, 2}


# -- 37 ------------------------------------------------------------------------------------------------------------------------------


def test_fact_37_markers_take_offsets_and_consumers_see_gaps() -> None:
    shop = Shop()
    for value in ("a", "b"):
        shop.begin()
        shop.send(value)
        shop.commit()
    shop.begin()
    shop.send("aborted")
    shop.abort()
    shop.produce("plain")
    assert shop.reader("reader", "read_committed") == ["a", "b", "plain"]
    offsets = [record.offset for record in shop.view.consumers["reader"].last]
    assert offsets == [0, 2, 6]
    assert shop.partition().log_end_offset == 7
    assert shop.view.consumers["reader"].positions[0].position == 7


def test_fact_37_the_last_stable_offset_is_where_the_first_open_transaction_begins() -> None:
    shop = Shop()
    shop.produce("plain")
    assert shop.stable == (1, 1)
    shop.begin()
    shop.send("a")
    shop.produce("between")
    assert shop.stable == (1, 3)
    shop.commit()
    assert shop.stable == (4, 4)


def test_fact_37_a_marker_above_the_high_watermark_holds_it_too() -> None:
    """The marker is in the leader's log and nowhere else."""
    alone = {"transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1"}
    shop = Shop(broker_configs=alone, replicas=(3, 1))
    assert shop.view.transactions["shop"].coordinator == 2
    shop.begin()
    shop.send("a")
    shop.cut_replication(1, 3)
    shop.do(c.CommitTransaction("pay"))
    shop.wait(3)
    assert shop.partition().log_end_offset == 2
    assert shop.stable == (0, 1)
    shop.heal()
    shop.wait_until(lambda: shop.stable == (2, 2), within_s=30)
    told = [happening.event for happening in shop.happened(e.LastStableOffsetAdvanced, topic="orders")]
    assert [(event.old, event.new, event.high_watermark) for event in told] == [(0, 0, 1), (0, 2, 2)]


# -- 38 ------------------------------------------------------------------------------------------------------------------------------


def test_fact_38_isolation_level_defaults_to_read_uncommitted() -> None:
    shop = Shop()
    shop.begin()
    shop.send("not decided")
    assert shop.read_all("default") == ["not decided"]
    assert shop.view.consumers["default"].configs["isolation.level"] == "read_uncommitted"
    assert shop.reader("strict", "read_committed") == []
    shop.abort()
    assert shop.read_all("late") == ["not decided"]  # aborted records are there for all who do not ask


def test_fact_38_one_open_transaction_holds_up_every_read_committed_consumer() -> None:
    """Also for records that have nothing to do with it, committed or plain."""
    shop = Shop()
    shop.begin()
    shop.send("open")
    shop.do(c.CreateProducer("other", {"transactional.id": "other"}), c.BeginTransaction("other"))
    shop.wait(1)
    shop.send("committed", producer="other")
    shop.do(c.CommitTransaction("other"))
    shop.produce("plain")
    assert shop.reader("strict", "read_committed") == []
    assert shop.reader("easy", "read_uncommitted") == ["open", "committed", "plain"]
    shop.abort()
    shop.wait(1)
    assert [record.value for record in shop.view.consumers["strict"].last] == ["committed", "plain"]


def test_fact_38_compaction_stops_at_an_open_transaction() -> None:
    shop = Shop({"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"})

    def put(value: str) -> None:
        shop.do(c.Produce("orders", value, "key", "app", 0))
        shop.wait(1.2)

    shop.do(c.CreateProducer("app"))
    put("1")
    shop.begin()
    shop.do(c.Produce("orders", "open", "other", "pay", 0))
    shop.wait(1.2)
    for value in ("2", "3", "4"):
        put(value)
    shop.wait(60)
    cleaned = [happening.event.end_offset for happening in shop.happened(e.LogCleaned, broker=1)]
    assert max(cleaned, default=0) <= 1
    assert shop.read_all("all")[:2] == ["1", "open"]
    shop.abort()
    put("5")
    shop.wait(60)
    assert max(happening.event.end_offset for happening in shop.happened(e.LogCleaned, broker=1)) > 1


# -- 39 ------------------------------------------------------------------------------------------------------------------------------


def test_fact_39_a_minute_is_the_default_fifteen_the_most_and_a_sweep_comes_every_ten_seconds() -> None:
    assert BROKER_CONFIGS["transaction.max.timeout.ms"].default == "900000"
    assert BROKER_CONFIGS["transaction.abort.timed.out.transaction.cleanup.interval.ms"].default == "10000"
    shop = Shop()
    assert shop.view.producers["pay"].configs["transaction.timeout.ms"] == "60000"
    shop.begin()
    begun_s = shop.now_s
    shop.send("forgotten")
    shop.wait_until(lambda: shop.stable == (2, 2), within_s=90)
    timed_out_s = shop.first(e.TransactionTimedOut)[0]
    assert 60 <= timed_out_s - begun_s <= 70.5
    assert shop.view.transactions["shop"].state == "CompleteAbort"
    shop.do(c.CreateProducer("patient", {"transactional.id": "patient", "transaction.timeout.ms": "900001"}))
    shop.wait(1)
    assert shop.first(e.TransactionFailed)[1].error == "INVALID_TRANSACTION_TIMEOUT"


def test_fact_39_the_timeout_frees_what_a_crashed_producer_held() -> None:
    shop = Shop(producer={"transaction.timeout.ms": "20000"})
    shop.begin()
    shop.send("half done")
    shop.do(c.KillNode("pay"))
    shop.produce("plain")
    assert shop.reader("strict", "read_committed") == []
    shop.wait(32)
    assert [record.value for record in shop.view.consumers["strict"].last] == ["plain"]


def test_fact_39_aborting_does_not_rewind_the_consumer() -> None:
    """What was read stays read: going back is the application's own business."""
    shop = Shop()
    shop.begin()
    shop.send("a", "b")
    assert shop.read_all("reader") == ["a", "b"]
    shop.abort()
    shop.wait(2)
    reader = shop.view.consumers["reader"]
    assert reader.positions[0].position == 3
    assert [record.value for record in reader.last] == ["a", "b"]
    assert len(shop.happened(e.ConsumerPositioned, consumer="reader")) == 1


# -- 40 ------------------------------------------------------------------------------------------------------------------------------


class Line(Scene):
    """``copy`` reads ``orders`` and writes ``paid``, record by record, as a member of the group ``g``."""

    def __init__(self, configs: dict[str, str], processing_ms: int = 100) -> None:
        super().__init__(broker_configs={**FEW, "group.initial.rebalance.delay.ms": "500"})
        self.do(c.CreateTopic("paid", 1, 3))
        self.wait(1)
        given = {"session.timeout.ms": "6000", **configs}
        self.do(c.CreateProcessor("copy", "g", "orders", "paid", given, processing_ms), c.CreateProducer("source"))
        self.wait(5)

    def feed(self, *values: str, wait: float) -> None:
        for value in values:
            self.do(c.Produce("orders", value, producer="source"))
        self.wait(wait)

    def die_and_come_back(self) -> None:
        self.do(c.KillNode("copy"))
        self.wait(1)
        self.do(c.StartNode("copy"))
        self.wait(15)

    def paid(self, isolation: str) -> list[str | None]:
        self.do(c.CreateConsumer(isolation, ["paid"], {"auto.offset.reset": "earliest", "isolation.level": isolation}))
        self.wait(2)
        return [record.value for record in self.view.consumers[isolation].last]


@pytest.mark.parametrize(("configs", "times"), [({}, 2), ({"transactional.id": "copy"}, 1)])
def test_fact_40_killed_between_its_output_and_its_offsets(configs: dict[str, str], times: int) -> None:
    """What it had done is done again, whatever it is; with a transaction around both, only one of the two counts."""
    line = Line(configs)
    line.feed("a", "b", "c", wait=0.25)
    line.die_and_come_back()
    assert sum(happening.event.record_count for happening in line.happened(e.RecordsProcessed)) > 3
    assert line.paid("read_committed").count("a") == times
    assert set(line.paid("read_uncommitted")) == {"a", "b", "c"}
    assert line.view.consumers["read_uncommitted"].last[0].value == "a"


def test_fact_40_exactly_once_is_for_those_who_read_committed() -> None:
    line = Line({"transactional.id": "copy"})
    line.feed("a", "b", "c", wait=0.25)
    line.die_and_come_back()
    assert line.paid("read_committed") == ["a", "b", "c"]
    assert line.paid("read_uncommitted").count("a") == 2


def test_fact_40_offsets_count_with_the_commit_and_never_with_the_abort() -> None:
    """Sent with the transaction, they are pending until its marker, and an aborted one leaves the group where it was."""
    line = Line({"transactional.id": "copy"}, processing_ms=0)
    line.feed("a", wait=2)
    line.feed("b", wait=0)
    line.wait_until(lambda: len(line.happened(e.OffsetsAddedToTransaction)) == 2, step_ms=0.1)
    line.die_and_come_back()
    ends = [happening.event.committed for happening in line.happened(e.TransactionPrepared)]
    assert ends == [True, False, True]
    committed = [happening.event.offsets for happening in line.happened(e.OffsetsCommitted)]
    assert committed == [(("orders", 0, 1),), (("orders", 0, 2),)]
    assert line.paid("read_committed") == ["a", "b"]


def test_fact_40_who_is_too_slow_for_its_transaction_does_it_again() -> None:
    """Past ``transaction.timeout.ms`` the coordinator has aborted it: the next record is refused, and nothing is committed."""
    line = Line({"transactional.id": "copy", "transaction.timeout.ms": "1000"}, processing_ms=0)
    line.do(c.SetProcessing("copy", 9000))
    line.feed("a", "b", "c", wait=30)
    line.do(c.SetProcessing("copy", 0))
    line.wait(30)
    timed_out, aborted = line.happened(e.TransactionTimedOut), line.happened(e.ProcessingAborted)
    assert timed_out[0].id < aborted[0].id < line.happened(e.OffsetsCommitted)[0].id
    assert line.paid("read_committed") == ["a", "b", "c"]


def test_fact_40_two_processes_with_one_transactional_id_are_not_two_workers() -> None:
    """Each instance needs an ID of its own: the second to come fences the first."""
    line = Line({"transactional.id": "copy"})
    line.do(c.CreateProcessor("twin", "g", "orders", "paid", {"transactional.id": "copy"}))
    line.wait(5)
    line.feed("a", "b", wait=15)
    assert line.happened(e.ProducerFenced, producer="copy")
    assert "PRODUCER_FENCED" in line.first(e.ConsumerCrashed, consumer="copy")[1].error
    assert line.paid("read_committed") == ["a", "b"]
