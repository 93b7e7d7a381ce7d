"""Transactions over the wire of a real cluster: coordinator, leaders, markers, and what they do about faults."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine import events as e
from engine.broker.coordinators import partition_for
from engine.coordination.transaction_records import TransactionState
from engine.lab import Lab
from engine.messages.base import TopicPartition
from engine.messages.fetch import FetchItem, FetchRequest, ListOffsetsItem, ListOffsetsRequest
from engine.messages.groups import FindCoordinatorRequest, OffsetAndMetadata, OffsetFetchRequest
from engine.messages.produce import InitProducerIdRequest
from engine.messages.transactions import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    DescribeProducersRequest,
    DescribeTransactionRequest,
    EndTxnRequest,
    ListTransactionsRequest,
    TxnMarker,
    TxnOffsetCommitRequest,
    WriteTxnMarkersRequest,
)
from engine.sim.checkpoint import copy_tree
from tests.engine.broker.probe import Probe
from tests.engine.facts.scene import Scene

ORDERS = TopicPartition("orders", 0)
PAY = "pay"


class Bank(Scene):
    """Three brokers, the topic ``orders`` with two partitions led by broker 1, few partitions of ``__transaction_state``."""

    def __init__(self, **options: object) -> None:
        configs = {"transaction.state.log.num.partitions": "3", **options.pop("broker_configs", {})}  # type: ignore[dict-item]
        super().__init__(partitions=2, broker_configs=configs, **options)  # type: ignore[arg-type]
        self.probe = Probe(self.lab)

    def begin(self, name: str = PAY) -> tuple[int, int]:
        found = self.probe.init(name)
        assert found.error == "NONE"
        return found.producer_id, found.producer_epoch

    def state(self, name: str = PAY) -> str:
        found = self.probe.ask(self.probe.coordinator(name), DescribeTransactionRequest(0, name))
        return str(found.state)

    def state_replicas(self, name: str) -> list[int]:
        topic = self.view.topics["__transaction_state"].partitions
        return topic[str(partition_for(name, len(topic)))].replicas

    @property
    def stable(self) -> tuple[int, int]:
        return self.partition().last_stable_offset, self.partition().high_watermark


@pytest.fixture
def bank() -> Bank:
    return Bank()


def test_fact_36_the_leader_adds_its_partition_by_itself(bank: Bank) -> None:
    producer = bank.begin()
    assert bank.probe.produce(producer, 0) == "NONE"
    assert bank.probe.produce(producer, 1) == "NONE"
    assert bank.probe.produce(producer, 0, partition=TopicPartition("orders", 1)) == "NONE"
    added = [happening.event.partition for happening in bank.happened(e.PartitionAddedToTransaction)]
    assert added == [0, 1]
    assert bank.state() == "Ongoing"
    ended = bank.probe.end(producer, True)
    assert (ended.error, ended.producer_epoch) == ("NONE", producer[1] + 1)
    bank.wait(0.5)
    assert bank.state() == "CompleteCommit"
    assert len(bank.happened(e.TransactionMarkerWritten)) == 2
    assert bank.stable == (3, 3)


def test_the_outcome_is_prepared_before_any_marker_is_written(bank: Bank) -> None:
    producer = bank.begin()
    bank.probe.produce(producer, 0)
    bank.probe.end(producer, False)
    bank.wait(0.5)
    names = (
        "TransactionStarted",
        "PartitionAddedToTransaction",
        "TransactionPrepared",
        "TransactionMarkerWritten",
        "TransactionCompleted",
    )
    found = [type(h.event).__name__ for h in bank.lab.history(0, 10**6) if type(h.event).__name__ in names]
    assert found == list(names)


def test_fact_35_the_old_producer_is_fenced_and_its_transaction_aborted(bank: Bank) -> None:
    old = bank.begin()
    bank.probe.produce(old, 0)
    new = bank.begin()
    assert new == (old[0], old[1] + 2)
    assert bank.state() == "Empty"
    assert bank.stable == (2, 2)
    assert bank.probe.produce(old, 1) == "INVALID_PRODUCER_EPOCH"
    assert bank.probe.end(old, True).error == "PRODUCER_FENCED"
    assert bank.probe.produce(new, 0) == "NONE"


def test_a_batch_of_a_transaction_that_is_over_does_not_hang(bank: Bank) -> None:
    producer = bank.begin()
    bank.probe.produce(producer, 0)
    bank.probe.end(producer, True)
    bank.wait(0.5)
    assert bank.probe.produce(producer, 1) == "INVALID_PRODUCER_EPOCH"
    assert bank.probe.produce((producer[0], producer[1] + 1), 0, transactional_id="") == "INVALID_TXN_STATE"
    assert bank.probe.produce(producer, 0, partition=TopicPartition("orders", 1)) == "INVALID_PRODUCER_EPOCH"
    assert bank.stable == (2, 2)


def test_with_transactions_v1_the_client_adds_and_the_leader_asks(bank: Bank) -> None:
    producer = bank.begin()
    assert bank.probe.produce(producer, 0, adds=False) == "TRANSACTION_ABORTABLE"
    add = AddPartitionsToTxnRequest(0, PAY, *producer, (ORDERS,), transaction_version=0)
    assert bank.probe.ask(bank.probe.coordinator(), add).results[0].error == "NONE"
    assert bank.probe.produce(producer, 0, adds=False) == "NONE"
    ended = bank.probe.end(producer, True, version=0)
    assert (ended.error, ended.producer_id) == ("NONE", -1)
    bank.wait(0.5)
    assert bank.state() == "CompleteCommit"
    assert bank.stable == (2, 2)


def test_fact_39_a_transaction_that_takes_too_long_is_aborted_at_the_next_sweep(bank: Bank) -> None:
    coordinator = bank.probe.coordinator()
    assert bank.probe.ask(coordinator, InitProducerIdRequest(0, PAY, 900_001)).error == "INVALID_TRANSACTION_TIMEOUT"
    producer = bank.probe.init(timeout_ms=20_000)
    before = bank.now_s
    bank.probe.produce((producer.producer_id, 0), 0)
    waited = bank.wait_until(lambda: bank.stable == (2, 2), within_s=40)
    assert 20 <= waited <= 31
    assert bank.first(e.TransactionTimedOut)[0] >= before + 20
    assert bank.state() == "CompleteAbort"
    assert bank.probe.produce((producer.producer_id, 0), 1) == "INVALID_PRODUCER_EPOCH"
    again = bank.probe.end((producer.producer_id, 0), False)  # the abort is done already: here is the next epoch
    assert (again.error, again.producer_epoch) == ("NONE", 1)


def test_an_empty_sweep_sleeps(bank: Bank) -> None:
    assert not any(broker.transactions.sweeping for broker in _brokers(bank.lab))
    bank.begin()
    assert sum(broker.transactions.sweeping for broker in _brokers(bank.lab)) == 1


def _brokers(lab: Lab):
    return [host.node for host in lab.kernel.hosts.values() if host.kind == "broker" and host.node is not None]


# -- faults ----------------------------------------------------------------------------------------------------------------------------


def test_markers_wait_for_a_leader_and_are_all_written_in_the_end() -> None:
    bank = Bank(replicas=(1,))
    bank.probe.coordinator()
    for name in ("a", "b", "c", "d", "e", "f"):
        if bank.probe.coordinator(name) != 1:
            break
    producer = bank.begin(name)
    bank.probe.produce(producer, 0, transactional_id=name)
    bank.do(c.KillNode("broker-1"))
    bank.wait(12)
    assert bank.probe.end(producer, True, name).error == "NONE"
    bank.wait(5)
    assert bank.state(name) == "PrepareCommit"
    bank.do(c.StartNode("broker-1"))
    bank.wait_until(lambda: bank.state(name) == "CompleteCommit", within_s=30)
    assert bank.stable == (2, 2)


@pytest.mark.parametrize("committed", [True, False])
def test_a_new_coordinator_ends_what_the_old_one_had_prepared(committed: bool) -> None:
    """The coordinator's markers do not reach broker 1; it dies; the one that takes over reads PrepareCommit and sends them again."""
    configs = {"transaction.state.log.replication.factor": "2", "transaction.state.log.min.isr": "1"}
    bank = Bank(broker_configs=configs)
    name = next(name for name in "abcdefgh" if bank.probe.coordinator(name) == 2 and bank.state_replicas(name) == [2, 3])
    producer = bank.begin(name)
    bank.probe.produce(producer, 0, transactional_id=name)
    bank.do(c.CutNetwork("broker-2", "broker-1", one_way=True))
    bank.probe.put(2, _end(name, producer, committed))
    bank.wait(0.5)
    assert bank.happened(e.TransactionPrepared)
    assert not bank.happened(e.TransactionMarkerWritten)
    bank.do(c.KillNode("broker-2"))
    bank.wait(12)
    bank.wait_until(lambda: bank.state(name) == ("CompleteCommit" if committed else "CompleteAbort"), within_s=30)
    assert bank.happened(e.TransactionMarkerWritten)[0].event.committed is committed
    assert bank.stable == (2, 2)
    again = bank.probe.ask(bank.probe.coordinator(name), _end(name, producer, committed))
    assert (again.error, again.producer_epoch) == ("NONE", producer[1] + 1)  # the client, which had no answer, may ask again


def _end(name: str, producer: tuple[int, int], committed: bool) -> EndTxnRequest:
    return EndTxnRequest(0, name, *producer, committed)


def test_an_open_transaction_survives_its_coordinator() -> None:
    bank = Bank()
    name = next(name for name in "abcdefgh" if bank.probe.coordinator(name) == 2)
    producer = bank.begin(name)
    bank.probe.produce(producer, 0, transactional_id=name)
    bank.do(c.KillNode("broker-2"))
    bank.wait(12)
    assert bank.state(name) == "Ongoing"
    assert bank.probe.produce(producer, 1, transactional_id=name) == "NONE"
    assert bank.probe.end(producer, True, name).error == "NONE"
    bank.wait(1)
    assert bank.stable == (3, 3)


def test_markers_move_with_the_leadership() -> None:
    """Followers hold the open transaction as well: the next leader takes the marker."""
    bank = Bank()
    name = next(name for name in "abcdefgh" if bank.probe.coordinator(name) == 2)
    producer = bank.begin(name)
    bank.probe.produce(producer, 0, transactional_id=name)
    bank.do(c.KillNode("broker-1"))
    bank.wait(12)
    leader = bank.partition().leader
    assert leader != 1
    assert bank.stable == (0, 1)
    assert bank.probe.ask(2, _end(name, producer, False)).error == "NONE"
    bank.wait_until(lambda: bank.stable == (2, 2), within_s=10)


def test_without_enough_replicas_the_coordinator_decides_nothing() -> None:
    bank = Bank()
    producer = bank.begin()
    bank.probe.produce(producer, 0)
    others = [number for number in (1, 2, 3) if number != bank.probe.coordinator()]
    for number in others:
        bank.do(c.KillNode(f"broker-{number}"))
    bank.wait(45)
    found = bank.probe.ask(next(n for n in (1, 2, 3) if n not in others), _end(PAY, producer, True))
    assert found.error == "COORDINATOR_NOT_AVAILABLE"
    bank.do(c.StartNode(f"broker-{others[0]}"))
    bank.wait(20)
    assert bank.probe.end(producer, True).error in ("NONE", "PRODUCER_FENCED")


# -- looking on ------------------------------------------------------------------------------------------------------------------------


def test_a_read_committed_fetch_is_bounded_and_names_the_aborted(bank: Bank) -> None:
    producer = bank.begin()
    bank.probe.produce(producer, 0)
    bank.wait(0.5)

    def fetch(isolation: str):
        items = (FetchItem(ORDERS, "", 0),)
        return bank.probe.ask(1, FetchRequest(0, -1, -1, 0, 1, 10**6, items, isolation)).results[0]

    def latest(isolation: str) -> int:
        return int(bank.probe.ask(1, ListOffsetsRequest(0, (ListOffsetsItem(ORDERS, -1),), -1, isolation)).results[0].offset)

    assert (len(fetch("read_uncommitted").batches), len(fetch("read_committed").batches)) == (1, 0)
    assert (latest("read_uncommitted"), latest("read_committed")) == (1, 0)
    bank.probe.end(producer, False)
    bank.wait(0.5)
    found = fetch("read_committed")
    assert (len(found.batches), found.last_stable_offset, found.aborted_transactions) == (2, 2, ((producer[0], 0),))
    assert fetch("read_uncommitted").aborted_transactions == ()
    assert (latest("read_uncommitted"), latest("read_committed")) == (2, 2)


def test_an_administrator_finds_and_ends_a_hanging_transaction(bank: Bank) -> None:
    """The coordinator knows nothing of it (here: its first leader asked nobody); only the partition does."""
    producer = bank.begin()
    bank.probe.produce(producer, 0)
    replica = _brokers(bank.lab)[0].partitions[ORDERS]
    shard = next(broker for broker in _brokers(bank.lab) if broker.broker_id == bank.probe.coordinator())
    for known in shard.partitions.values():
        if known.shard is not None and PAY in known.shard.state.transactions:
            was = known.shard.state.transactions[PAY]
            known.shard.state.transactions[PAY] = type(was)(
                PAY, was.producer_id, was.producer_epoch + 1, was.timeout_ms, TransactionState.EMPTY
            )
    bank.wait(100)
    assert bank.stable == (0, 1)
    found = bank.probe.ask(1, DescribeProducersRequest(0, ORDERS)).producers
    assert [(one.producer_id, one.transaction_start_offset) for one in found] == [(producer[0], 0)]
    marker = TxnMarker(producer[0], producer[1], False, found[0].coordinator_epoch, (ORDERS,), 0)
    answer = bank.probe.ask(1, WriteTxnMarkersRequest(0, (marker,)))
    assert answer.results[0][1][0].error == "NONE"
    bank.wait(0.5)
    assert bank.stable == (2, 2)
    assert replica.held_stable_offset is None
    assert bank.probe.ask(2, WriteTxnMarkersRequest(0, (marker,))).results[0][1][0].error == "NOT_LEADER_OR_FOLLOWER"


def test_lists_are_filtered(bank: Bank) -> None:
    one, two = bank.begin("one"), bank.begin("two")
    bank.probe.produce(one, 0, transactional_id="one")
    bank.wait(2)

    def listed(**filters: object) -> list[str]:
        found = []
        for broker in (1, 2, 3):
            answer = bank.probe.ask(broker, ListTransactionsRequest(0, **filters))  # type: ignore[arg-type]
            found += [known.transactional_id for known in answer.transactions]
        return sorted(found)

    assert listed() == ["one", "two"]
    assert listed(states=("Ongoing",)) == listed(duration_ms=1_000) == ["one"]
    assert listed(duration_ms=10_000) == []
    assert listed(producer_ids=(two[0],)) == ["two"]
    missing = bank.probe.ask(bank.probe.coordinator("three"), DescribeTransactionRequest(0, "three"))
    assert missing.error == "TRANSACTIONAL_ID_NOT_FOUND"


def test_checkpoints_hold_transactions(bank: Bank) -> None:
    """Rewound and played again, everything happens as before."""
    producer = bank.begin()
    bank.probe.produce(producer, 0)
    bank.probe.put(bank.probe.coordinator(), _end(PAY, producer, True))
    twin = copy_tree(bank.lab.world)
    for world in (bank.lab.world, twin):
        world.kernel.run(world.kernel.now + 2_000_000)
    assert twin.kernel.trace == bank.lab.kernel.trace


# -- offsets in the transaction ----------------------------------------------------------------------------------------------------------


def _group_coordinator(bank: Bank) -> int:
    for _ in range(100):
        for broker in _brokers(bank.lab):
            found = bank.probe.ask(broker.broker_id, FindCoordinatorRequest(0, "g", "group"), within_s=1)
            if found is not None and found.error == "NONE":
                return int(found.broker_id)
        bank.wait(0.1)
    raise AssertionError("no group coordinator")


def _commit_offset(bank: Bank, producer: tuple[int, int], offset: int, **more: object) -> str:
    request = TxnOffsetCommitRequest(0, PAY, "g", *producer, (OffsetAndMetadata(ORDERS, offset),), **more)  # type: ignore[arg-type]
    return str(bank.probe.ask(_group_coordinator(bank), request).results[0].error)


def _fetch_offset(bank: Bank, *, stable: bool) -> tuple[str, int]:
    request = OffsetFetchRequest(0, "g", (ORDERS,), require_stable=stable)
    found = bank.probe.ask(_group_coordinator(bank), request).offsets[0]
    return found.error, found.offset


@pytest.fixture
def kiosk() -> Bank:
    return Bank(broker_configs={"offsets.topic.num.partitions": "3"})


def test_fact_40_offsets_count_when_their_transaction_commits(kiosk: Bank) -> None:
    producer = kiosk.begin()
    assert _commit_offset(kiosk, producer, 5) == "NONE"
    assert _fetch_offset(kiosk, stable=False) == ("NONE", -1)
    assert _fetch_offset(kiosk, stable=True)[0] == "UNSTABLE_OFFSET_COMMIT"
    kiosk.probe.end(producer, True)
    kiosk.wait(0.5)
    assert _fetch_offset(kiosk, stable=True) == ("NONE", 5)
    assert kiosk.first(e.OffsetsCommitted)[1].offsets == (("orders", 0, 5),)
    following = (producer[0], producer[1] + 1)
    assert _commit_offset(kiosk, following, 9) == "NONE"
    kiosk.probe.end(following, False)
    kiosk.wait(0.5)
    assert _fetch_offset(kiosk, stable=True) == ("NONE", 5)
    assert _commit_offset(kiosk, following, 10) == "INVALID_PRODUCER_EPOCH"


def test_pending_offsets_survive_the_groups_coordinator(kiosk: Bank) -> None:
    producer = kiosk.begin()
    _commit_offset(kiosk, producer, 5)
    kiosk.do(c.KillNode(f"broker-{_group_coordinator(kiosk)}"))
    kiosk.wait(12)
    kiosk.wait_until(lambda: _fetch_offset(kiosk, stable=True)[0] == "UNSTABLE_OFFSET_COMMIT", within_s=20)
    assert kiosk.probe.end(producer, True).error == "NONE"
    kiosk.wait_until(lambda: _fetch_offset(kiosk, stable=True) == ("NONE", 5), within_s=20)


def test_a_zombie_of_the_group_commits_nothing(kiosk: Bank) -> None:
    """KIP-447: the generation fences, whatever the transactional ID."""
    producer = kiosk.begin()
    assert _commit_offset(kiosk, producer, 5, generation_or_epoch=3, member_id="gone") == "ILLEGAL_GENERATION"


def test_with_transactions_v1_the_client_adds_the_group(kiosk: Bank) -> None:
    producer = kiosk.begin()
    _group_coordinator(kiosk)
    assert _commit_offset(kiosk, producer, 5, adds_partitions=False) == "TRANSACTION_ABORTABLE"
    add = AddOffsetsToTxnRequest(0, PAY, *producer, "g")
    assert kiosk.probe.ask(kiosk.probe.coordinator(), add).error == "NONE"
    assert _commit_offset(kiosk, producer, 5, adds_partitions=False) == "NONE"
    kiosk.probe.end(producer, True, version=0)
    kiosk.wait(0.5)
    assert _fetch_offset(kiosk, stable=True) == ("NONE", 5)
