"""The transaction coordinator's decisions, and the records by which it remembers them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.coordination import transactions as machine
from engine.coordination.record_codec import RecordFormatError
from engine.coordination.transaction_records import (
    TransactionMetadata,
    TransactionState,
    decode_key,
    decode_value,
    encode_key,
    encode_value,
)
from engine.coordination.transactions import TransactionShard, Verdict
from engine.messages.base import TopicPartition

A, B = TopicPartition("orders", 0), TopicPartition("audit", 3)
EMPTY, ONGOING = TransactionState.EMPTY, TransactionState.ONGOING
PREPARE_COMMIT, PREPARE_ABORT = TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT
COMPLETE_COMMIT, COMPLETE_ABORT = TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT


class Coordinator:
    """A shard whose records are committed as soon as they are written."""

    def __init__(self) -> None:
        self.shard = TransactionShard()
        self.log: list[tuple[bytes, bytes | None]] = []
        self.now_ms = 1_000

    @property
    def known(self) -> TransactionMetadata:
        return self.shard.transactions["pay"]

    def take(self, verdict: Verdict) -> str:
        if verdict.change is not None:
            record = (encode_key("pay"), encode_value(verdict.change))
            self.log.append(record)
            self.shard.replay(len(self.log), -1, -1, *record, 0)
            assert self.known == verdict.change
        return verdict.error

    def put(self, **fields: object) -> None:
        given = {"producer_id": 7, "producer_epoch": 5, "timeout_ms": 60_000, "last_update_ms": 0, **fields}
        self.take(Verdict("NONE", TransactionMetadata("pay", **given)))  # type: ignore[arg-type]

    def init(self, expected: tuple[int, int] = (-1, -1), fresh: int = 100) -> str:
        return self.take(machine.init_producer_id(self.shard, "pay", 60_000, *expected, fresh, self.now_ms))

    def add(self, epoch: int, *partitions: TopicPartition, producer_id: int = 7) -> str:
        return self.take(machine.add_partitions(self.shard, "pay", producer_id, epoch, partitions, 2, self.now_ms))

    def end(self, epoch: int, committed: bool, producer_id: int = 7, version: int = 2, fresh: int = 100) -> str:
        verdict = machine.end_transaction(self.shard, "pay", producer_id, epoch, committed, version, fresh, self.now_ms)
        return self.take(verdict)

    def complete(self) -> None:
        self.take(Verdict("NONE", machine.completed(self.known, self.now_ms)))


# -- records ---------------------------------------------------------------------------------------------------------------------

longs = st.integers(-1, 2**62)
epochs = st.integers(-1, 2**15 - 1)


@given(
    st.text(min_size=1, max_size=20), longs, epochs, st.integers(0, 2**31 - 1), st.sampled_from(sorted(TransactionState)),
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 5)), unique=True, max_size=5), longs, longs, longs, epochs,
    st.sampled_from([0, 1, 2]),
)  # fmt: skip
def test_what_is_written_is_read_again(
    name, producer, epoch, timeout, state, partitions, start, previous, following, last, version
):
    ordered = sorted(TopicPartition(*pair) for pair in partitions) if state != EMPTY else []
    known = TransactionMetadata(
        name, producer, epoch, timeout, state, tuple(ordered), start, start, previous, following, last, version
    )
    assert decode_key(encode_key(name)) == name
    assert decode_value(name, encode_value(known)) == known


def test_the_bytes_are_kafkas() -> None:
    """Laid out by hand after TransactionLogKey.json and TransactionLogValue.json."""
    assert encode_key("pay") == b"\x00\x00\x00\x03pay"
    known = TransactionMetadata("pay", 7, 1, 60_000, ONGOING, (A, B), 17, 18, previous_producer_id=7, client_version=2)
    assert encode_value(known).hex() == (
        "0001000000000000000700010000ea6001"
        "0307" + b"orders".hex() + "020000000000"
        "06" + b"audit".hex() + "020000000300"
        "00000000000000120000000000000011"
        "020008000000000000000702020002"
    )  # fmt: skip
    empty = TransactionMetadata("pay", 7, 0, 60_000, last_update_ms=18)
    assert encode_value(empty).hex() == "0001000000000000000700000000ea6000000000000000000012" + "ff" * 8 + "00"


@pytest.mark.parametrize("cut", range(1, 38, 6))
def test_bytes_that_end_too_soon_are_refused(cut: int) -> None:
    value = encode_value(TransactionMetadata("pay", 7, 1, 60_000, ONGOING, (A,), 17, 18))
    with pytest.raises(RecordFormatError):
        decode_value("pay", value[:-cut])


# -- a whole life ----------------------------------------------------------------------------------------------------------------


def test_fact_36_the_epoch_goes_up_with_every_transaction() -> None:
    it = Coordinator()
    assert it.init() == "NONE"
    assert (it.known.producer_id, it.known.producer_epoch, it.known.state) == (100, 0, EMPTY)
    assert it.add(0, A, producer_id=100) == "NONE"
    assert it.add(0, B, A, producer_id=100) == "NONE"
    assert (it.known.state, it.known.partitions, it.known.start_ms) == (ONGOING, (A, B), 1_000)
    assert it.end(0, True, producer_id=100) == "NONE"
    assert (it.known.state, it.known.producer_epoch, it.known.partitions) == (PREPARE_COMMIT, 1, (A, B))
    assert it.shard.unmarked == {"pay": (A, B)}
    assert machine.identity_after(it.known) == (100, 1)
    assert it.add(1, A, producer_id=100) == "CONCURRENT_TRANSACTIONS"
    it.complete()
    assert (it.known.state, it.known.partitions, it.shard.unmarked) == (COMPLETE_COMMIT, (), {})
    assert it.add(0, A, producer_id=100) == "PRODUCER_FENCED"
    assert it.add(1, A, producer_id=100) == "NONE"
    rebuilt = TransactionShard()
    for offset, (key, value) in enumerate(it.log):
        rebuilt.replay(offset, -1, -1, key, value, 0)
    assert rebuilt == it.shard


TABLE = {
    # state: {(committed, repeats): answer}; EB: the epoch goes up
    EMPTY: {(False, True): "PRODUCER_FENCED", (False, False): "EB", (True, True): "PRODUCER_FENCED", (True, False): "INVALID_TXN_STATE"},
    COMPLETE_ABORT: {(False, True): "NONE", (False, False): "EB", (True, True): "INVALID_TXN_STATE", (True, False): "INVALID_TXN_STATE"},
    COMPLETE_COMMIT: {(False, True): "INVALID_TXN_STATE", (False, False): "EB", (True, True): "NONE", (True, False): "INVALID_TXN_STATE"},
    PREPARE_COMMIT: {(True, True): "CONCURRENT_TRANSACTIONS", (False, True): "INVALID_TXN_STATE", (True, False): "PRODUCER_FENCED"},
    PREPARE_ABORT: {(False, True): "CONCURRENT_TRANSACTIONS", (True, True): "INVALID_TXN_STATE", (False, False): "PRODUCER_FENCED"},
    ONGOING: {(True, False): "EB", (False, False): "EB", (True, True): "PRODUCER_FENCED"},
}  # fmt: skip
CASES = [(state, *case, answer) for state, answers in TABLE.items() for case, answer in answers.items()]


@pytest.mark.parametrize(("state", "committed", "repeats", "answer"), CASES)
def test_fact_36_the_table_of_end_txn_with_transactions_v2(state, committed, repeats, answer) -> None:
    it = Coordinator()
    it.put(state=state, partitions=(A,) if state in (ONGOING, PREPARE_COMMIT, PREPARE_ABORT) else (), start_ms=900)
    found = it.end(4 if repeats else 5, committed)
    if answer != "EB":
        assert (found, it.known.state, it.known.producer_epoch) == (answer, state, 5)
        return
    assert (found, it.known.state, it.known.producer_epoch) == ("NONE", PREPARE_COMMIT if committed else PREPARE_ABORT, 6)
    assert it.known.start_ms == (900 if state is ONGOING else 1_000)


@pytest.mark.parametrize(
    ("state", "committed", "answer"),
    [
        (ONGOING, True, "NONE"), (COMPLETE_COMMIT, True, "NONE"), (COMPLETE_COMMIT, False, "INVALID_TXN_STATE"),
        (COMPLETE_ABORT, False, "NONE"), (COMPLETE_ABORT, True, "INVALID_TXN_STATE"), (EMPTY, False, "INVALID_TXN_STATE"),
        (PREPARE_COMMIT, True, "CONCURRENT_TRANSACTIONS"), (PREPARE_COMMIT, False, "INVALID_TXN_STATE"),
    ],
)  # fmt: skip
def test_a_client_of_transactions_v1_keeps_its_epoch(state, committed, answer) -> None:
    it = Coordinator()
    it.put(state=state)
    assert it.end(5, committed, version=0) == answer
    assert it.known.producer_epoch == 5
    assert it.end(4, committed, version=0) == "PRODUCER_FENCED"


def test_nobody_else_may_end_it() -> None:
    it = Coordinator()
    assert it.end(0, True) == "INVALID_PRODUCER_ID_MAPPING"
    it.put(state=ONGOING, partitions=(A,))
    assert it.end(5, True, producer_id=8) == "INVALID_PRODUCER_ID_MAPPING"
    assert it.end(6, True) == "PRODUCER_FENCED"
    assert it.add(5, B, producer_id=8) == "INVALID_PRODUCER_ID_MAPPING"
    it.shard.pending.append("pay")
    for answer in (it.end(5, True), it.add(5, B), it.init()):
        assert answer == "CONCURRENT_TRANSACTIONS"


# -- InitProducerId ---------------------------------------------------------------------------------------------------------------


def test_fact_35_an_open_transaction_is_aborted_and_the_old_producer_fenced() -> None:
    it = Coordinator()
    it.put(state=ONGOING, partitions=(A,), start_ms=900)
    verdict = machine.init_producer_id(it.shard, "pay", 30_000, -1, -1, 100, 1_000)
    assert verdict.fences
    it.take(verdict)
    assert (it.known.state, it.known.producer_epoch, it.known.timeout_ms) == (PREPARE_ABORT, 6, 60_000)
    assert it.init() == "CONCURRENT_TRANSACTIONS"
    it.complete()
    assert it.init() == "NONE"
    assert (it.known.state, it.known.producer_epoch, it.known.last_producer_epoch) == (EMPTY, 7, -1)
    assert it.add(5, A) == it.end(5, True) == it.end(6, False) == "PRODUCER_FENCED"


def test_a_producer_that_recovers_bumps_its_own_epoch_once() -> None:
    """KIP-360: the same request again, after its answer was lost, gets the same answer."""
    it = Coordinator()
    it.put()
    assert it.init((7, 5)) == "NONE"
    assert (it.known.producer_epoch, it.known.last_producer_epoch) == (6, 5)
    assert it.init((7, 5)) == "NONE"
    assert it.known.producer_epoch == 6
    assert it.init((7, 4)) == it.init((8, 6)) == "PRODUCER_FENCED"
    assert it.init() == "NONE"  # another producer starts
    assert it.init((7, 6)) == "PRODUCER_FENCED"


def test_when_the_epochs_are_used_up_a_new_producer_id_follows() -> None:
    last = machine.LAST_EPOCH_FOR_CLIENTS
    it = Coordinator()
    it.put(state=ONGOING, partitions=(A,), producer_epoch=last)
    assert it.end(last, True) == "NONE"
    assert (it.known.producer_id, it.known.producer_epoch) == (7, machine.MAX_EPOCH)  # the markers still are the old ID's
    assert machine.identity_after(it.known) == (100, 0)
    assert it.add(0, A, producer_id=100) == it.end(last, True) == "CONCURRENT_TRANSACTIONS"
    it.complete()
    assert (it.known.producer_id, it.known.producer_epoch, it.known.previous_producer_id) == (100, 0, 7)
    assert it.end(last, True) == "NONE"  # repeated after all
    it.put(producer_epoch=last)
    assert it.init(fresh=200) == "NONE"
    assert (it.known.producer_id, it.known.producer_epoch) == (200, 0)


def test_fact_39_what_has_timed_out_and_what_has_expired() -> None:
    it = Coordinator()
    it.put(state=ONGOING, partitions=(A,), start_ms=1_000)
    assert it.shard.timed_out(61_000) == []
    assert it.shard.timed_out(61_001) == ["pay"]
    assert it.shard.expired(10**9, 1) == []
    it.put(state=COMPLETE_ABORT, last_update_ms=500)
    assert it.shard.timed_out(10**9) == []
    assert it.shard.expired(1_499, 1_000) == []
    assert it.shard.expired(1_500, 1_000) == ["pay"]
    it.shard.replay(9, -1, -1, encode_key("pay"), None, 0)
    assert it.shard == TransactionShard()


def test_with_transactions_v1_the_leader_only_asks() -> None:
    it = Coordinator()
    it.put(state=ONGOING, partitions=(A,))

    def ask(partition: TopicPartition, epoch: int = 5, producer_id: int = 7) -> str:
        return machine.verify_partition(it.shard, "pay", producer_id, epoch, partition)

    assert ask(A) == "NONE"
    assert ask(B) == "TRANSACTION_ABORTABLE"
    assert ask(A, epoch=4) == "PRODUCER_FENCED"
    assert ask(A, producer_id=8) == "INVALID_PRODUCER_ID_MAPPING"
    it.end(5, True, version=0)
    assert ask(A) == "CONCURRENT_TRANSACTIONS"
