"""The transactional producer as its application meets it: blocking calls, errors that can be aborted and errors that cannot."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from engine import commands as c
from engine import events as e
from engine.clients.configs import ProducerConfig
from engine.clients.idempotence import ProducerIdState
from engine.clients.producer import ProducerNode
from engine.clients.transaction_manager import ABORTABLE_ERROR, FATAL_ERROR, IN_TRANSACTION, READY, TransactionManager
from engine.errors import EngineError
from engine.messages.transactions import EndTxnResponse
from engine.sim.checkpoint import copy_tree
from tests.engine.facts.scene import Scene

BROKERS = {"transaction.state.log.num.partitions": "3"}


class Shop(Scene):
    """``pay`` is a producer with the transactional ID ``shop``."""

    def __init__(self, configs: dict[str, str] | None = None, *, wait: float = 1, **options: object) -> None:
        super().__init__(broker_configs=BROKERS, **options)  # type: ignore[arg-type]
        self.do(c.CreateProducer("pay", {"transactional.id": "shop", **(configs or {})}))
        self.wait(wait)

    def node(self, name: str = "pay") -> ProducerNode:
        node = self.lab.kernel.hosts[name].node
        assert isinstance(node, ProducerNode)
        return node

    def manager(self, name: str = "pay") -> TransactionManager:
        found = self.node(name).transactions
        assert found is not None
        return found

    def send(self, *values: str, name: str = "pay") -> None:
        for value in values:
            self.do(c.Produce("orders", value, producer=name))

    @property
    def stable(self) -> tuple[int, int]:
        return self.partition().last_stable_offset, self.partition().high_watermark


def test_calls_are_made_in_order_and_wait_for_each_other() -> None:
    shop = Shop(wait=0)
    shop.do(c.BeginTransaction("pay"))
    shop.send("a", "b")
    shop.do(c.CommitTransaction("pay"), c.BeginTransaction("pay"))
    shop.send("c")
    shop.wait(3)
    assert shop.manager().state == IN_TRANSACTION
    assert shop.stable == (3, 4)
    shop.do(c.AbortTransaction("pay"))
    shop.wait(1)
    assert (shop.manager().state, shop.node().producer_epoch) == (READY, 2)
    assert shop.stable == (5, 5)


def test_a_transaction_without_records_costs_nothing() -> None:
    shop = Shop()
    mark = shop.do(c.BeginTransaction("pay"), c.CommitTransaction("pay"))
    shop.wait(1)
    assert (shop.manager().state, shop.node().producer_epoch) == (READY, 0)
    assert not shop.happened(e.TransactionPrepared, mark)


def test_calls_that_do_not_fit_are_refused() -> None:
    shop = Shop()
    with pytest.raises(EngineError, match="from state READY to state COMMITTING") as caught:
        shop.do(c.CommitTransaction("pay"))
    assert caught.value.code == "INVALID_TXN_STATE"
    shop.send("stray")
    shop.wait(0.5)
    assert "while in state READY" in shop.first(e.SendRefused)[1].error
    shop.do(c.BeginTransaction("pay"))
    with pytest.raises(EngineError, match="from state IN_TRANSACTION to state IN_TRANSACTION"):
        shop.do(c.BeginTransaction("pay"))
    shop.do(c.Produce("nowhere", "x", producer="pay"), c.BeginTransaction("pay"))  # waits behind the blocked send
    shop.wait(62)
    assert shop.first(e.TransactionCallRefused)[1].call == "begin"
    shop.do(c.CreateProducer("plain"))
    for command in (c.BeginTransaction("plain"), c.StartWorkload("w", "orders", "plain", transaction_records=5)):
        with pytest.raises(EngineError, match=r"transactional\.id"):
            shop.do(command)


def test_configurations() -> None:
    shown = ProducerConfig.from_map({"transactional.id": "shop"}).effective()
    assert (shown["transactional.id"], shown["transaction.timeout.ms"]) == ("shop", "60000")
    assert "transactional.id" not in ProducerConfig.from_map({}).effective()
    for given in ({"acks": "1"}, {"enable.idempotence": "false"}, {"retries": "0"}):
        with pytest.raises(EngineError, match="without also enabling idempotence"):
            ProducerConfig.from_map({"transactional.id": "shop", **given})
    with pytest.raises(EngineError, match="non-empty"):
        ProducerConfig.from_map({"transactional.id": ""})


def test_a_timeout_beyond_the_brokers_is_fatal() -> None:
    shop = Shop({"transaction.timeout.ms": "900001"})
    assert shop.manager().state == FATAL_ERROR
    assert shop.first(e.TransactionFailed)[1] == e.TransactionFailed("pay", "shop", "INVALID_TRANSACTION_TIMEOUT", True)


def test_fact_35_a_second_producer_fences_the_first() -> None:
    shop = Shop()
    shop.do(c.BeginTransaction("pay"))
    shop.send("lost")
    shop.wait(1)
    shop.do(c.CreateProducer("pay-2", {"transactional.id": "shop"}))
    shop.wait(2)
    assert (shop.node("pay-2").producer_epoch, shop.manager("pay-2").state) == (2, READY)
    assert shop.stable == (2, 2)
    shop.do(c.CommitTransaction("pay"))
    shop.wait(1)
    assert shop.manager().state == FATAL_ERROR
    assert shop.first(e.ProducerFenced)[1].producer == "pay"
    with pytest.raises(EngineError, match="ProducerFencedException") as caught:
        shop.do(c.AbortTransaction("pay"))
    assert caught.value.code == "PRODUCER_FENCED"


def test_fact_35_a_fenced_producer_that_sends_learns_it_when_it_aborts() -> None:
    """The partition's leader says INVALID_PRODUCER_EPOCH, which a transaction that merely timed out would get, too."""
    shop = Shop()
    shop.do(c.BeginTransaction("pay"))
    shop.send("lost")
    shop.wait(1)
    shop.do(c.CreateProducer("pay-2", {"transactional.id": "shop"}))
    shop.wait(2)
    shop.send("zombie")
    shop.wait(1)
    assert shop.first(e.TransactionFailed)[1] == e.TransactionFailed("pay", "shop", "INVALID_PRODUCER_EPOCH", False)
    shop.do(c.AbortTransaction("pay"))
    shop.wait(1)
    assert shop.manager().state == FATAL_ERROR
    assert shop.stable == (2, 2)


def test_fact_39_after_a_timeout_the_producer_aborts_and_goes_on() -> None:
    shop = Shop({"transaction.timeout.ms": "5000"})
    shop.do(c.BeginTransaction("pay"))
    shop.send("late")
    shop.wait(20)
    assert shop.stable == (2, 2)
    shop.send("later")
    shop.wait(1)
    assert shop.manager().last_error == "INVALID_PRODUCER_EPOCH"
    shop.do(c.AbortTransaction("pay"), c.BeginTransaction("pay"))
    shop.send("in time")
    shop.do(c.CommitTransaction("pay"))
    shop.wait(1)
    assert (shop.manager().state, shop.node().producer_epoch) == (READY, 2)
    assert shop.stable == (4, 4)


def test_a_producer_that_is_closed_aborts_what_is_open() -> None:
    shop = Shop()
    shop.do(c.BeginTransaction("pay"))
    shop.send("a")
    shop.do(c.CloseClient("pay"))
    shop.wait(2)
    assert "pay" not in shop.view.nodes
    assert shop.first(e.TransactionPrepared)[1].committed is False
    assert shop.stable == (2, 2)


def test_records_that_cannot_be_delivered_make_the_transaction_abortable() -> None:
    shop = Shop({"delivery.timeout.ms": "5000", "linger.ms": "0", "request.timeout.ms": "2000"})
    shop.do(c.BeginTransaction("pay"))
    shop.send("a")
    shop.wait(1)
    shop.do(c.CutNetwork("broker-1", "pay"))
    shop.send("b")
    shop.wait(8)
    failed = shop.first(e.TransactionFailed)[1]
    assert not failed.fatal
    with pytest.raises(EngineError, match="error state"):
        shop.do(c.CommitTransaction("pay"))
    shop.heal()
    shop.do(c.AbortTransaction("pay"))
    shop.wait(5)
    assert shop.manager().state == READY
    assert shop.stable[0] == shop.stable[1]


def test_a_transaction_that_lacks_a_record_is_not_committed() -> None:
    """``maybeTransitionToErrorState``: whatever ``send`` throws."""
    shop = Shop({"max.request.size": "1000", "batch.size": "500"})
    shop.do(c.BeginTransaction("pay"))
    shop.send("a", "x" * 2_000)
    shop.do(c.CommitTransaction("pay"))
    shop.wait(1)
    assert shop.manager().state == ABORTABLE_ERROR
    shop.do(c.AbortTransaction("pay"))
    shop.wait(1)
    assert shop.manager().state == READY
    assert not shop.happened(e.TransactionPrepared, committed=True)


def test_a_commit_survives_the_coordinator() -> None:
    """The answer is lost with the coordinator; the producer finds the next one and asks again."""
    shop = Shop()
    shop.do(c.BeginTransaction("pay"))
    shop.send("a")
    shop.wait(1)
    coordinator = shop.first(e.TransactionStarted)[1].broker
    shop.do(c.CommitTransaction("pay"))
    shop.lab.advance(shop.lab.now_us + 300)
    shop.do(c.KillNode(f"broker-{coordinator}"))
    shop.wait(40)
    assert shop.manager().state == READY
    outcome = shop.happened(e.TransactionPrepared)[-1].event
    assert outcome.committed
    leader = shop.partition()
    assert (leader.last_stable_offset, leader.high_watermark) == (leader.log_end_offset, leader.log_end_offset)


def test_a_workload_in_transactions() -> None:
    shop = Shop()
    shop.do(c.StartWorkload("load", "orders", "pay", records_per_second=100, transaction_records=10, limit=45))
    shop.wait(3)
    done = shop.happened(e.TransactionCompleted)
    assert [happening.event.committed for happening in done] == [True] * 5
    assert shop.stable == (50, 50)
    shop.do(c.StartWorkload("load", "orders", "pay", records_per_second=100, transaction_records=10))
    shop.wait(0.55)
    shop.do(c.StopWorkload("load"))
    shop.wait(1)
    assert shop.manager().state == READY
    assert shop.stable[0] == shop.stable[1]


def test_a_workload_ends_when_its_producer_is_fenced() -> None:
    shop = Shop()
    shop.do(c.StartWorkload("load", "orders", "pay", records_per_second=100, transaction_records=10))
    shop.wait(1)
    shop.do(c.CreateProducer("pay-2", {"transactional.id": "shop"}))
    shop.wait(3)
    assert shop.happened(e.ProducerFenced, producer="pay")
    assert not shop.view.producers["pay"].workloads[0].running


def test_checkpoints_hold_a_producer_in_its_transaction() -> None:
    shop = Shop()
    shop.do(c.BeginTransaction("pay"))
    shop.send("a")
    shop.do(c.CommitTransaction("pay"))
    twin = copy_tree(shop.lab.world)
    for world in (shop.lab.world, twin):
        world.kernel.run(world.kernel.now + 3_000_000)
    assert twin.kernel.trace == shop.lab.kernel.trace
    assert shop.stable == (2, 2)


def test_a_hanging_transaction_is_found_and_aborted_by_hand() -> None:
    """The coordinator loses its memory (one replica, and its disk is gone): nobody will ever write the marker."""
    configs = {**BROKERS, "transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1"}
    scene = Scene(broker_configs=configs, replicas=(1,))
    for name in "abcdef":
        scene.do(c.CreateProducer(name, {"transactional.id": name}))
    scene.wait(2)
    name, coordinator = next((name, one.coordinator) for name, one in scene.view.transactions.items() if one.coordinator != 1)
    scene.do(c.BeginTransaction(name), c.Produce("orders", "lost", producer=name))
    scene.wait(1)
    scene.do(c.KillNode(f"broker-{coordinator}"), c.KillNode(name))
    scene.do(c.WipeDisk(f"broker-{coordinator}"), c.StartNode(f"broker-{coordinator}"))
    scene.wait(200)
    assert name not in scene.view.transactions
    held = scene.partition().open_transactions[0]
    assert (scene.partition().last_stable_offset, scene.partition().high_watermark) == (0, 1)
    answered = scene.do(c.AbortHangingTransaction("orders", 0, held.producer_id, held.producer_epoch))
    scene.wait(2)
    answer = scene.first(e.AdminAnswered, answered)[1]
    assert (answer.api, answer.error, answer.results) == ("WriteTxnMarkers", "NONE", (("orders-0", "NONE", ""),))
    assert (scene.partition().last_stable_offset, scene.partition().high_watermark) == (2, 2)
    answered = scene.do(c.AbortHangingTransaction("orders", 0, held.producer_id, max(held.producer_epoch - 1, 0), 5))
    scene.wait(2)
    assert scene.first(e.AdminAnswered, answered)[1].results[0][1] == "NONE"  # once more does no harm


@pytest.mark.parametrize(("committed", "state"), [(True, "abortable error"), (False, "fatal error")])
def test_a_commit_that_can_only_be_aborted_is_aborted_but_an_abort_is_not_aborted_again(committed: bool, state: str) -> None:
    manager = TransactionManager("tx", 60_000, state="in transaction")
    manager.end(committed, 1)
    manager.in_flight = manager.queue.pop()
    said: list[object] = []
    sender = SimpleNamespace(name="shop", ids=ProducerIdState(True, True, 7, 0))
    manager.answered(sender, EndTxnResponse(1, "TRANSACTION_ABORTABLE"), SimpleNamespace(emit=said.append))  # type: ignore[arg-type]
    assert manager.state == state
    assert len(said) == 1
