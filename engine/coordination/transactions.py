"""The transaction coordinator's state machine: what becomes of a transactional ID with each request (KIP-98, KIP-360, KIP-890).

Everything here decides and nothing acts: a request yields an error, or the transaction as it is to be, which the broker writes to
``__transaction_state``. Sources: ``TransactionCoordinator``, ``TransactionMetadata`` and ``TransactionStateManager`` of Kafka 4.x.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from engine.coordination.transaction_records import (
    NO_EPOCH,
    NO_ID,
    NO_TIMESTAMP,
    TransactionMetadata,
    TransactionState,
    decode_key,
    decode_value,
)
from engine.messages.base import TopicPartition

EMPTY, ONGOING = TransactionState.EMPTY, TransactionState.ONGOING
PREPARE_COMMIT, PREPARE_ABORT = TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT
COMPLETE_COMMIT, COMPLETE_ABORT = TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT
PREPARED = (PREPARE_COMMIT, PREPARE_ABORT)
OVER = (EMPTY, COMPLETE_COMMIT, COMPLETE_ABORT)
"""No transaction is open; the ID may expire."""

VALID_PREVIOUS_STATES: dict[TransactionState, tuple[TransactionState, ...]] = {
    EMPTY: (EMPTY, COMPLETE_COMMIT, COMPLETE_ABORT),
    ONGOING: (ONGOING, EMPTY, COMPLETE_COMMIT, COMPLETE_ABORT),
    PREPARE_COMMIT: (ONGOING,),
    PREPARE_ABORT: (ONGOING, TransactionState.PREPARE_EPOCH_FENCE, EMPTY, COMPLETE_COMMIT, COMPLETE_ABORT),
    COMPLETE_COMMIT: (PREPARE_COMMIT,),
    COMPLETE_ABORT: (PREPARE_ABORT,),
    TransactionState.DEAD: OVER,
    TransactionState.PREPARE_EPOCH_FENCE: (ONGOING,),
}
"""``TransactionState.validPreviousStates``. That an abort may follow where nothing is open is transactions v2."""

MAX_EPOCH = 2**15 - 1
LAST_EPOCH_FOR_CLIENTS = MAX_EPOCH - 1
"""The coordinator keeps the highest epoch to itself, so that it can always fence."""
SERVER_VERSION = 2
"""``transaction.version`` of a new cluster since 4.0."""


class Verdict(NamedTuple):
    """``change``: what is to be written; where it is None, ``error`` is the answer ("NONE": it is done already). ``fences``: another
    producer's transaction is aborted first, and the client has to ask again."""

    error: str
    change: TransactionMetadata | None = None
    fences: bool = False


@dataclass(slots=True)
class TransactionShard:
    """One partition of ``__transaction_state``. ``pending``: IDs with a record that is not committed yet (Kafka's ``pendingState``).
    ``unmarked``: prepared transactions, and the partitions that have no marker yet."""

    transactions: dict[str, TransactionMetadata] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)
    unmarked: dict[str, tuple[TopicPartition, ...]] = field(default_factory=dict)

    def replay(
        self, offset: int, producer_id: int, producer_epoch: int, key: bytes, value: bytes | None, timestamp_ms: int
    ) -> None:
        transactional_id = decode_key(key)
        self.unmarked.pop(transactional_id, None)
        if value is None:
            self.transactions.pop(transactional_id, None)
            return
        found = self.transactions[transactional_id] = decode_value(transactional_id, value)
        if found.state in PREPARED:
            self.unmarked[transactional_id] = found.partitions

    def replay_end_transaction_marker(self, producer_id: int, producer_epoch: int, committed: bool) -> None:
        """No transaction ever writes to this topic."""

    def timed_out(self, now_ms: int) -> list[str]:
        """Open for longer than transaction.timeout.ms."""
        return [
            transactional_id
            for transactional_id, known in self.transactions.items()
            if known.state == ONGOING and known.start_ms + known.timeout_ms < now_ms and transactional_id not in self.pending
        ]

    def expired(self, now_ms: int, expiration_ms: int) -> list[str]:
        """Not used for transactional.id.expiration.ms."""
        return [
            transactional_id
            for transactional_id, known in self.transactions.items()
            if known.state in OVER and known.last_update_ms + expiration_ms <= now_ms and transactional_id not in self.pending
        ]


def _transition(known: TransactionMetadata, state: TransactionState, now_ms: int, **changes: object) -> TransactionMetadata:
    assert known.state in VALID_PREVIOUS_STATES[state], f"{known.transactional_id}: {known.state.name} → {state.name}"
    return msgspec.structs.replace(
        known, state=state, previous_producer_id=known.producer_id, last_update_ms=now_ms, **changes
    )  # fmt: skip


def is_exhausted(epoch: int) -> bool:
    return epoch >= LAST_EPOCH_FOR_CLIENTS


# -- InitProducerId ------------------------------------------------------------------------------------------------------------------


def init_producer_id(
    shard: TransactionShard,
    transactional_id: str,
    timeout_ms: int,
    expected_id: int,
    expected_epoch: int,
    fresh_id: int,
    now_ms: int,
) -> Verdict:
    """``fresh_id``: an unused producer ID, needed for a new transactional ID and when the epochs are used up. ``expected_id`` -1: a
    producer starts; otherwise one that wants to go on after an error (KIP-360)."""
    known = shard.transactions.get(transactional_id)
    if known is None:
        known = TransactionMetadata(transactional_id, fresh_id, NO_EPOCH, timeout_ms)
    if transactional_id in shard.pending:
        return Verdict("CONCURRENT_TRANSACTIONS")
    if expected_id != NO_ID and not _may_ask(known, expected_id, expected_epoch):
        return Verdict("PRODUCER_FENCED")
    if known.state in PREPARED:
        return Verdict("CONCURRENT_TRANSACTIONS")
    if known.state == ONGOING:
        return Verdict("NONE", fence(known, fresh_id, now_ms), True)
    if is_exhausted(known.producer_epoch) and (expected_id == NO_ID or expected_epoch == known.producer_epoch):
        last = NO_EPOCH if expected_id == NO_ID else known.producer_epoch
        return Verdict("NONE", _initialised(known, fresh_id, 0, last, timeout_ms, now_ms))
    bumped = known.producer_epoch + 1
    if expected_id == NO_ID:
        return Verdict("NONE", _initialised(known, known.producer_id, bumped, NO_EPOCH, timeout_ms, now_ms))
    if known.producer_epoch in (NO_EPOCH, expected_epoch):
        return Verdict("NONE", _initialised(known, known.producer_id, bumped, known.producer_epoch, timeout_ms, now_ms))
    if expected_epoch == known.last_producer_epoch:  # its answer was lost: the same again
        same = _initialised(known, known.producer_id, known.producer_epoch, known.last_producer_epoch, timeout_ms, now_ms)
        return Verdict("NONE", same)
    return Verdict("PRODUCER_FENCED")


def _may_ask(known: TransactionMetadata, expected_id: int, expected_epoch: int) -> bool:
    return (
        known.producer_epoch == NO_EPOCH
        or expected_id == known.producer_id
        or (expected_id == known.previous_producer_id and is_exhausted(expected_epoch))
    )


def _initialised(
    known: TransactionMetadata, producer_id: int, epoch: int, last_epoch: int, timeout_ms: int, now_ms: int
) -> TransactionMetadata:
    return _transition(
        known, EMPTY, now_ms, producer_id=producer_id, producer_epoch=epoch, last_producer_epoch=last_epoch, timeout_ms=timeout_ms,
        partitions=(), start_ms=NO_TIMESTAMP, next_producer_id=NO_ID,
    )  # fmt: skip


# -- partitions ----------------------------------------------------------------------------------------------------------------------


def add_partitions(
    shard: TransactionShard,
    transactional_id: str,
    producer_id: int,
    epoch: int,
    partitions: tuple[TopicPartition, ...],
    version: int,
    now_ms: int,
) -> Verdict:
    """The first partition begins the transaction."""
    known = shard.transactions.get(transactional_id)
    if known is None:
        return Verdict("INVALID_PRODUCER_ID_MAPPING")
    if transactional_id in shard.pending or known.state in PREPARED:
        return Verdict("CONCURRENT_TRANSACTIONS")
    if known.producer_id != producer_id:
        return Verdict("INVALID_PRODUCER_ID_MAPPING")
    if known.producer_epoch != epoch:
        return Verdict("PRODUCER_FENCED")
    held = known.partitions if known.state == ONGOING else ()
    new = tuple([partition for partition in dict.fromkeys(partitions) if partition not in held])
    if known.state == ONGOING and not new:
        return Verdict("NONE")
    start_ms = known.start_ms if known.state == ONGOING else now_ms
    return Verdict("NONE", _transition(known, ONGOING, now_ms, partitions=held + new, start_ms=start_ms, client_version=version))


def verify_partition(
    shard: TransactionShard, transactional_id: str, producer_id: int, epoch: int, partition: TopicPartition
) -> str:
    """With transactions v1 the client adds partitions itself and the leader only asks whether it did (KIP-890, part 1)."""
    known = shard.transactions.get(transactional_id)
    if known is None or known.producer_id != producer_id:
        return "INVALID_PRODUCER_ID_MAPPING"
    if known.producer_epoch != epoch:
        return "PRODUCER_FENCED"
    if known.state in PREPARED:
        return "CONCURRENT_TRANSACTIONS"
    return "NONE" if partition in known.partitions else "TRANSACTION_ABORTABLE"


# -- the end --------------------------------------------------------------------------------------------------------------------------


def fence(known: TransactionMetadata, fresh_id: int, now_ms: int) -> TransactionMetadata:
    """The open transaction is aborted in a new epoch, which nobody is given (``prepareFenceProducerEpoch``, then the abort): at
    InitProducerId, and when the transaction has taken too long."""
    return _prepared(known, PREPARE_ABORT, SERVER_VERSION, fresh_id, now_ms, False)


def _prepared(
    known: TransactionMetadata, state: TransactionState, version: int, fresh_id: int, now_ms: int, nothing_added: bool
) -> TransactionMetadata:
    """``prepareAbortOrCommit``: with transactions v2 the epoch goes up, and the markers carry the new one."""
    start_ms = now_ms if nothing_added else known.start_ms
    partitions = () if nothing_added else known.partitions
    if version < SERVER_VERSION:
        return _transition(known, state, now_ms, start_ms=start_ms, partitions=partitions, client_version=version)
    following = fresh_id if is_exhausted(known.producer_epoch) else NO_ID
    return _transition(
        known, state, now_ms, start_ms=start_ms, partitions=partitions, client_version=version, next_producer_id=following,
        producer_epoch=known.producer_epoch + 1, last_producer_epoch=known.producer_epoch,
    )  # fmt: skip


def end_transaction(
    shard: TransactionShard,
    transactional_id: str,
    producer_id: int,
    epoch: int,
    committed: bool,
    version: int,
    fresh_id: int,
    now_ms: int,
) -> Verdict:
    """EndTxn. ``version``: that of the client's transactions, as its request tells."""
    known = shard.transactions.get(transactional_id)
    if known is None:
        return Verdict("INVALID_PRODUCER_ID_MAPPING")
    state = PREPARE_COMMIT if committed else PREPARE_ABORT
    if version < SERVER_VERSION:
        error = _check_end_v1(known, producer_id, epoch)
        repeated = True
    else:
        error, repeated = _check_end_v2(known, producer_id, epoch)
    if error == "NONE" and transactional_id in shard.pending:
        error = "CONCURRENT_TRANSACTIONS"
    if error != "NONE":
        return Verdict(error)
    if known.state == ONGOING:
        return Verdict("NONE", _prepared(known, state, version, fresh_id, now_ms, False))
    if known.state in PREPARED:
        return Verdict("CONCURRENT_TRANSACTIONS" if known.state == state else "INVALID_TXN_STATE")
    done = COMPLETE_COMMIT if committed else COMPLETE_ABORT
    if version < SERVER_VERSION:
        return Verdict("NONE" if known.state == done else "INVALID_TXN_STATE")
    if repeated:
        return Verdict("NONE" if known.state == done else "INVALID_TXN_STATE")
    if committed:
        return Verdict("INVALID_TXN_STATE")
    return Verdict("NONE", _prepared(known, state, version, fresh_id, now_ms, True))


def _check_end_v1(known: TransactionMetadata, producer_id: int, epoch: int) -> str:
    if known.producer_id != producer_id:
        return "INVALID_PRODUCER_ID_MAPPING"
    return "NONE" if known.producer_epoch == epoch else "PRODUCER_FENCED"


def _check_end_v2(known: TransactionMetadata, producer_id: int, epoch: int) -> tuple[str, bool]:
    """(error, whether the request repeats one that has been carried out): that one came in the epoch before."""
    overflowed = known.previous_producer_id == producer_id and epoch == LAST_EPOCH_FOR_CLIENTS and known.producer_epoch == 0
    bumped = known.producer_epoch == epoch + 1
    if known.producer_id != producer_id and not overflowed:
        return "INVALID_PRODUCER_ID_MAPPING", False
    if known.state in PREPARED:
        valid = bumped
    elif known.state in (COMPLETE_COMMIT, COMPLETE_ABORT):
        valid = bumped or overflowed or epoch == known.producer_epoch
    else:
        valid = epoch == known.producer_epoch
    return "NONE" if valid else "PRODUCER_FENCED", bumped or overflowed


def completed(known: TransactionMetadata, now_ms: int) -> TransactionMetadata:
    """Every partition has its marker (``prepareComplete``)."""
    state = COMPLETE_COMMIT if known.state == PREPARE_COMMIT else COMPLETE_ABORT
    if known.next_producer_id != NO_ID:
        return _transition(
            known, state, now_ms, partitions=(), producer_id=known.next_producer_id, producer_epoch=0, next_producer_id=NO_ID
        )
    return _transition(known, state, now_ms, partitions=())


def identity_after(known: TransactionMetadata) -> tuple[int, int]:
    """(producer ID, epoch) with which the client begins its next transaction: what EndTxn answers."""
    if known.next_producer_id != NO_ID:
        return known.next_producer_id, 0
    return known.producer_id, known.producer_epoch
