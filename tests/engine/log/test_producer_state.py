"""Producer state: what an idempotent producer may send, against a model, and its snapshot file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.log.config import LogConfig
from engine.log.errors import CorruptBatchError, LogError
from engine.log.log_validator import AppendOrigin
from engine.log.partition_log import PartitionLog
from engine.log.producer_state import ProducerStateManager
from engine.log.record_batch import ControlRecordType, build_end_txn_marker
from engine.sim.disk import Disk
from tests.engine.log.helpers import NOW, batch, new_log

TOP = 2**31 - 1


def send(log: PartitionLog, disk: Disk, sequence: int, *, epoch: int = 0, count: int = 1, producer: int = 1):
    return log.append_as_leader(batch(*[b"v"] * count, producer=(producer, epoch, sequence)), 0, NOW, disk)


def refused(call) -> str:
    with pytest.raises(LogError) as caught:
        call()
    return caught.value.code


@given(
    st.lists(st.tuples(st.integers(-3, 8), st.integers(1, 3), st.integers(0, 2)), max_size=40),
    st.sampled_from([0, TOP - 4]),
)
@settings(max_examples=150, deadline=None)
def test_fact_32_five_batches_are_remembered_a_gap_is_refused_a_new_epoch_restarts(sends, start) -> None:
    log, disk = new_log()
    current = -1
    history: list[tuple[int, int, int]] = []  # sequence, count, offset: of the current epoch
    for step, count, epoch in sends:
        expected = (history[-1][0] + history[-1][1]) % (TOP + 1) if history else start if current < 0 else 0
        sequence = (expected + min(step, 2)) % (TOP + 1)
        known = [h for h in history[-5:] if h[:2] == (sequence, count)]
        end = log.log_end_offset
        if current < 0 or (epoch > current and sequence == 0) or (epoch == current and sequence == expected and not known):
            if epoch != current:
                history = []
            assert send(log, disk, sequence, epoch=epoch, count=count) == (end, end + count - 1, -1, False)
            current = epoch
            history.append((sequence, count, end))
        elif epoch == current and known:
            result = send(log, disk, sequence, epoch=epoch, count=count)
            assert result.duplicate
            assert result.first_offset == known[0][2]
        else:
            wanted = "INVALID_PRODUCER_EPOCH" if epoch < current else "OUT_OF_ORDER_SEQUENCE_NUMBER"
            assert refused(lambda s=sequence, e=epoch, c=count: send(log, disk, s, epoch=e, count=c)) == wanted
        assert log.log_end_offset == end or log.log_end_offset == end + count


def test_fact_32_a_duplicate_is_acknowledged_with_its_original_offset() -> None:
    log, disk = new_log()
    for sequence in range(6):
        send(log, disk, sequence)
    assert send(log, disk, 1) == (1, 1, NOW, True)
    assert refused(lambda: send(log, disk, 0)) == "OUT_OF_ORDER_SEQUENCE_NUMBER"  # the sixth is forgotten
    assert refused(lambda: send(log, disk, 7)) == "OUT_OF_ORDER_SEQUENCE_NUMBER"


def test_fact_32_an_unknown_producer_may_begin_anywhere_and_producers_expire_after_a_day() -> None:
    log, disk = new_log()
    send(log, disk, 41)
    day = 86_400_000
    assert log.remove_expired_producers(NOW + day - 1) == []
    assert log.remove_expired_producers(NOW + day) == [1]
    send(log, disk, 7)


def test_fact_32_sequences_wrap_after_2_31_minus_1() -> None:
    log, disk = new_log()
    send(log, disk, TOP)
    send(log, disk, 0)
    log, disk = new_log()
    send(log, disk, TOP - 1, count=3)
    send(log, disk, 1)
    assert send(log, disk, TOP - 1, count=3).duplicate


def test_the_mutant_no_sequence_check_lets_duplicates_and_gaps_in() -> None:
    log, disk = new_log(LogConfig(mutants=frozenset({"no-sequence-check"})))
    for sequence in (0, 0, 5):
        assert not send(log, disk, sequence).duplicate
    assert log.log_end_offset == 3


def test_a_marker_may_raise_the_epoch_and_fences_the_old_one() -> None:
    log, disk = new_log()
    log.append_as_leader(batch(b"v", producer=(1, 0, 0), transactional=True), 0, NOW, disk)
    assert refused(lambda: send(log, disk, 1)) == "INVALID_TXN_STATE"

    def mark(epoch: int, coordinator_epoch: int) -> None:
        data = build_end_txn_marker(
            ControlRecordType.ABORT,
            producer_id=1, producer_epoch=epoch, coordinator_epoch=coordinator_epoch, timestamp_ms=NOW,
        )  # fmt: skip
        log.append_as_leader(data, 0, NOW, disk, AppendOrigin.COORDINATOR)

    mark(1, 3)
    assert refused(lambda: send(log, disk, 1)) == "INVALID_PRODUCER_EPOCH"
    assert refused(lambda: mark(1, 2)) == "TRANSACTION_COORDINATOR_FENCED"
    assert refused(lambda: send(log, disk, 5, epoch=1)) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    send(log, disk, 0, epoch=1)


def test_snapshot_round_trip_and_damage() -> None:
    log, disk = new_log()
    send(log, disk, 5)
    send(log, disk, 6, count=2)
    log.append_as_leader(batch(b"v", producer=(8, 3, 0), transactional=True), 0, NOW, disk)
    data = log.producer_state.encode_snapshot()
    assert data[:2] == b"\x00\x01"
    assert len(data) == 10 + 2 * 46
    found = ProducerStateManager()
    found.load_snapshot(data, NOW, 1000)
    assert found.producers[1].batches == log.producer_state.producers[1].batches[-1:]
    assert found.ongoing_txns == {8: 3}
    found.load_snapshot(data, NOW + 1000, 1000)
    assert list(found.producers) == [8]  # the expired one is left out, an open transaction never expires
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        with pytest.raises(CorruptBatchError):
            found.load_snapshot(bytes(damaged), NOW, 1000)
