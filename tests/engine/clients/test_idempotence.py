"""The producer's sequence numbers when batches vanish: held, resolved, or started over under a new epoch (KIP-360)."""

from __future__ import annotations

import pytest

from engine.clients.batch import ProducerBatch
from engine.clients.idempotence import MAX_PRODUCER_EPOCH, ProducerIdState
from engine.messages.base import TopicPartition

P0 = TopicPartition("orders", 0)


def batch(number: int, batches: dict[int, ProducerBatch], records: int = 1) -> ProducerBatch:
    made = ProducerBatch(number, P0, 0, 100, 100, 0, records=[(None, b"v", (), 0)] * records, record_ids=list(range(records)))
    batches[number] = made
    return made


def two_in_flight() -> tuple[ProducerIdState, dict[int, ProducerBatch]]:
    ids, batches = ProducerIdState(True, producer_id=7, producer_epoch=0), {}
    for number in (1, 2):
        ids.assign(batch(number, batches))
    return ids, batches


def expire(ids: ProducerIdState, lost: ProducerBatch) -> None:
    ids.failed(lost, "TimeoutException", adjust=False)
    ids.mark_unresolved(lost)


def test_after_an_expired_retry_nothing_new_leaves_until_the_next_answer_shows_that_it_was_written():
    ids, batches = two_in_flight()
    expire(ids, batches[1])
    assert ids.must_hold(batch(3, batches), batches)
    ids.resolve()
    assert ids.must_hold(batches[3], batches)
    ids.acknowledged(batches[2], 1)
    ids.forget(batches[2])
    ids.resolve()
    assert not ids.bump(batches)
    assert not ids.must_hold(batches[3], batches)


def test_if_all_in_flight_expire_the_epoch_is_bumped_and_sequences_start_over():
    ids, batches = two_in_flight()
    expire(ids, batches[1])
    expire(ids, batches[2])
    ids.resolve()
    assert ids.bump(batches)
    ids.assign(batch(3, batches))
    assert (batches[3].producer_epoch, batches[3].base_sequence) == (1, 0)


def test_a_gap_right_after_the_expired_batch_bumps_and_rewrites_what_is_in_flight():
    ids, batches = two_in_flight()
    expire(ids, batches[1])
    assert ids.can_retry(batches[2], "OUT_OF_ORDER_SEQUENCE_NUMBER", 0, False, batches)
    assert ids.bump(batches)
    assert (batches[2].producer_epoch, batches[2].base_sequence, batches[2].sequence_was_reset) == (1, 0, True)


def test_out_of_order_behind_an_unanswered_batch_only_waits():
    ids, batches = two_in_flight()
    assert ids.can_retry(batches[2], "OUT_OF_ORDER_SEQUENCE_NUMBER", 0, False, batches)
    assert not ids.bump(batches)


@pytest.mark.parametrize(("transactional", "epoch"), [(False, 1), (True, 0)])
def test_an_unknown_producer_id_after_retention_starts_the_sequence_over(transactional: bool, epoch: int):
    """Without a transaction in a new epoch, so that no pair of epoch and sequence is used twice; a transaction goes on in its own."""
    ids, batches = two_in_flight()
    ids.transactional = transactional
    ids.acknowledged(batches[1], 10)
    ids.forget(batches[1])
    assert ids.can_retry(batches[2], "UNKNOWN_PRODUCER_ID", 11, False, batches)
    assert ids.bump(batches) is not transactional
    assert (batches[2].producer_epoch, batches[2].base_sequence) == (epoch, 0)


def test_an_exhausted_epoch_asks_for_a_new_producer_id():
    ids, batches = two_in_flight()
    ids.producer_epoch = MAX_PRODUCER_EPOCH
    ids.request_bump(P0)
    assert ids.bump(batches)
    assert ids.producer_id == -1


def test_sequences_wrap_from_the_largest_to_0():
    ids, batches = ProducerIdState(True, producer_id=7, producer_epoch=0), {}
    ids.of(P0).next_sequence = 2**31 - 2
    ids.assign(batch(1, batches, records=3))
    assert batches[1].last_sequence == 0
    assert ids.of(P0).next_sequence == 1
