"""What a partition remembers of its producers: the last five batches of each, and open transactions.

Kafka's ``ProducerStateManager``. A retried batch is recognised by its sequence numbers and acknowledged with its
first offset; a gap is refused. The state is derived from the log: after a restart it is the latest ``.snapshot``
(which holds only the last batch of each producer) and a replay of the log behind it. Open transactions bound the last
stable offset.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from crc32c import crc32c

from engine.log.errors import CorruptBatchError, LogError
from engine.log.record_batch import (
    MAX_SEQUENCE,
    NO_PRODUCER_EPOCH,
    NO_SEQUENCE,
    BatchHeader,
    ControlRecordType,
    EndTxnMarker,
    increment_sequence,
)

BATCHES_TO_RETAIN = 5  # as many as max.in.flight.requests.per.connection may be with idempotence
ZOMBIE_MUTANT = "zombie-not-fenced"
NO_GUARD = 0
TRANSACTIONS_V2 = 2
"""The level of the feature ``transaction.version`` from which each transaction has an epoch of its own (KIP-890)."""
_SNAPSHOT_HEAD = struct.Struct(">hIi")  # version, CRC-32C of what follows it, number of entries
_SNAPSHOT_ENTRY = struct.Struct(">qhiqiqiq")
SNAPSHOT_VERSION = 1
_SNAPSHOT_CRC_END = 6


class BatchMetadata(NamedTuple):
    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp: int

    @property
    def first_sequence(self) -> int:
        return (self.last_sequence - self.offset_delta) & MAX_SEQUENCE

    @property
    def first_offset(self) -> int:
        return self.last_offset - self.offset_delta


class ProducerStateEntry(msgspec.Struct, frozen=True):
    """Immutable: each append puts a new one in its place, so that checkpoints share them."""

    producer_epoch: int = NO_PRODUCER_EPOCH
    batches: tuple[BatchMetadata, ...] = ()
    coordinator_epoch: int = -1
    last_timestamp: int = -1
    current_txn_first_offset: int = -1

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE


class Duplicate(NamedTuple):
    """The batch lies in the log already; it is acknowledged with its original offsets."""

    first_offset: int
    last_offset: int
    timestamp: int


class Verification(NamedTuple):
    """``VerificationStateEntry`` (KIP-890): the leader asks, or has asked, the coordinator whether a transaction of this producer may
    write here. The first batch must carry ``guard``; none may begin beyond ``lowest_sequence``. Any marker voids it."""

    guard: int
    lowest_sequence: int
    epoch: int
    epoch_bump: bool


class CompletedTxn(NamedTuple):
    producer_id: int
    first_offset: int
    last_offset: int  # the marker's
    is_aborted: bool


class AbortedTxn(NamedTuple):
    """An entry of ``.txnindex``: read_committed consumers drop this producer's records in between."""

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


@dataclass(slots=True)
class ProducerStateManager:
    """``ongoing_txns``: producer ID to first offset. ``unreplicated_txns``: ended, but the marker is not below the
    high watermark.
    """

    producers: dict[int, ProducerStateEntry] = field(default_factory=dict)
    ongoing_txns: dict[int, int] = field(default_factory=dict)
    unreplicated_txns: list[CompletedTxn] = field(default_factory=list)
    verifications: dict[int, Verification] | None = None
    last_guard: int = NO_GUARD

    def has_ongoing_txn(self, producer_id: int, producer_epoch: int) -> bool:
        entry = self.producers.get(producer_id)
        return entry is not None and entry.current_txn_first_offset >= 0 and entry.producer_epoch == producer_epoch

    def start_verification(
        self, producer_id: int, epoch: int, sequence: int, *, epoch_bump: bool = True, mutants: Sequence[str] = ()
    ) -> int:
        """The guard that the batch must show when it is appended; NO_GUARD where its transaction has records here already.

        Raises LogError(INVALID_PRODUCER_EPOCH). Source: ``UnifiedLog.maybeStartTransactionVerification``.
        """
        if self.has_ongoing_txn(producer_id, epoch):
            return NO_GUARD
        entry = self.producers.get(producer_id)
        if entry is not None and epoch < entry.producer_epoch:
            if ZOMBIE_MUTANT in mutants:
                return NO_GUARD
            raise LogError("INVALID_PRODUCER_EPOCH", f"producer {producer_id}: epoch {epoch} < {entry.producer_epoch}")
        if self.verifications is None:
            self.verifications = {}
        known = self.verifications.get(producer_id)
        if known is None:
            self.last_guard += 1
            known = Verification(self.last_guard, sequence, epoch, epoch_bump)
        elif epoch > known.epoch or (epoch == known.epoch and sequence < known.lowest_sequence):
            known = known._replace(epoch=epoch, lowest_sequence=sequence)
        self.verifications[producer_id] = known
        return known.guard

    def check_verified(self, header: BatchHeader, guard: int) -> None:
        """Raises LogError: INVALID_TXN_STATE for a batch that would begin a transaction which the coordinator has not confirmed (or
        that has ended since), OUT_OF_ORDER_SEQUENCE_NUMBER where an earlier batch still waits for confirmation."""
        known = self.verifications.get(header.producer_id) if self.verifications else None
        if known is not None and header.base_sequence > known.lowest_sequence:
            raise LogError(
                "OUT_OF_ORDER_SEQUENCE_NUMBER",
                f"producer {header.producer_id}: sequence {header.base_sequence}, but {known.lowest_sequence} is still to come",
            )
        if self.has_ongoing_txn(header.producer_id, header.producer_epoch):
            return
        if known is None or guard != known.guard:
            raise LogError("INVALID_TXN_STATE", "Record was not part of an ongoing transaction")

    def _end_verification(self, header: BatchHeader) -> None:
        """A transactional batch was written: the transaction has begun here, or is over. With transactions v2 a marker leaves the
        guard of the next transaction alone, which has the marker's own epoch."""
        if self.verifications and (known := self.verifications.get(header.producer_id)) is not None:
            if known.epoch_bump and header.is_control_batch and header.producer_epoch == known.epoch:
                return
            del self.verifications[header.producer_id]

    def check(self, header: BatchHeader, *, from_client: bool = True, mutants: frozenset[str] = frozenset()) -> Duplicate | None:
        """None where the batch may be appended. Changes nothing.

        Raises LogError: INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_TXN_STATE. Source:
        ``ProducerAppendInfo``.
        """
        entry = self.producers.get(header.producer_id)
        if entry is None:
            if from_client and "no-sequence-check" not in mutants:
                self._check_first(header)
            return None
        epoch, first = header.producer_epoch, header.base_sequence
        if "no-sequence-check" in mutants:
            from_client = False
        if from_client and epoch == entry.producer_epoch:
            last = header.last_sequence
            for batch in entry.batches:
                if batch.last_sequence == last and batch.first_sequence == first:
                    return Duplicate(batch.first_offset, batch.last_offset, batch.timestamp)
        if epoch < entry.producer_epoch:
            if ZOMBIE_MUTANT in mutants:
                return None
            raise LogError("INVALID_PRODUCER_EPOCH", f"producer {header.producer_id}: epoch {epoch} < {entry.producer_epoch}")
        if from_client:
            self._check_sequence(header, entry)
        if entry.current_txn_first_offset >= 0 and not header.is_transactional:
            raise LogError("INVALID_TXN_STATE", f"producer {header.producer_id} has a transaction open")
        return None

    def _check_first(self, header: BatchHeader) -> None:
        """Of a producer that nothing is known of. Each transaction of transactions v2 begins anew at sequence 0."""
        known = self.verifications.get(header.producer_id) if self.verifications else None
        if known is not None and known.epoch_bump and header.base_sequence != 0:
            raise LogError(
                "OUT_OF_ORDER_SEQUENCE_NUMBER",
                f"producer {header.producer_id}: sequence {header.base_sequence}, expected 0 of a producer without state",
            )

    @staticmethod
    def _check_sequence(header: BatchHeader, entry: ProducerStateEntry) -> None:
        first = header.base_sequence
        if entry.producer_epoch == NO_PRODUCER_EPOCH:
            return  # nothing is known of this producer, so any sequence may be its next
        expected = 0
        if header.producer_epoch == entry.producer_epoch and entry.batches:
            expected = increment_sequence(entry.last_sequence, 1)
        if first != expected:
            raise LogError(
                "OUT_OF_ORDER_SEQUENCE_NUMBER",
                f"producer {header.producer_id} epoch {header.producer_epoch}: sequence {first}, expected {expected}",
            )

    def check_marker(self, header: BatchHeader, marker: EndTxnMarker, transaction_version: int = 0) -> None:
        """Raises LogError: INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED.

        With transactions v2 the marker's epoch is beyond that of the records (KIP-1228), unless the same marker comes again.
        """
        entry = self.producers.get(header.producer_id)
        if entry is None:
            return
        epoch, current = header.producer_epoch, entry.producer_epoch
        repeated = epoch == current and entry.current_txn_first_offset < 0
        if epoch < current or (transaction_version >= TRANSACTIONS_V2 and epoch == current and not repeated):
            raise LogError("INVALID_PRODUCER_EPOCH", f"producer {header.producer_id}: marker epoch {epoch}, last epoch {current}")
        if marker.coordinator_epoch < entry.coordinator_epoch:
            raise LogError("TRANSACTION_COORDINATOR_FENCED", f"coordinator epoch {marker.coordinator_epoch}")

    def update(self, header: BatchHeader, first_offset: int, last_offset: int, timestamp: int) -> None:
        """A data batch was appended at these offsets (leader, follower or replay)."""
        producer_id, epoch = header.producer_id, header.producer_epoch
        entry = self.producers.get(producer_id)
        batch = BatchMetadata(header.last_sequence, last_offset, last_offset - first_offset, timestamp)
        transaction = -1
        if entry is None:
            batches: tuple[BatchMetadata, ...] = (batch,)
            coordinator_epoch = -1
        else:
            batches = (*entry.batches[1 - BATCHES_TO_RETAIN :], batch) if epoch == entry.producer_epoch else (batch,)
            coordinator_epoch = entry.coordinator_epoch
            transaction = entry.current_txn_first_offset
        if transaction < 0 and header.is_transactional:
            transaction = self.ongoing_txns[producer_id] = first_offset
        if header.is_transactional:
            self._end_verification(header)
        self.producers[producer_id] = ProducerStateEntry(epoch, batches, coordinator_epoch, timestamp, transaction)

    def complete(self, header: BatchHeader, marker: EndTxnMarker, offset: int) -> CompletedTxn | None:
        """A marker was appended at ``offset``. None where the transaction had no records here."""
        producer_id, epoch = header.producer_id, header.producer_epoch
        entry = self.producers.get(producer_id)
        batches = entry.batches if entry is not None and entry.producer_epoch == epoch else ()
        self.producers[producer_id] = ProducerStateEntry(epoch, batches, marker.coordinator_epoch, header.max_timestamp)
        self._end_verification(header)
        first_offset = self.ongoing_txns.pop(producer_id, -1)
        if first_offset < 0:
            return None
        completed = CompletedTxn(producer_id, first_offset, offset, marker.type is ControlRecordType.ABORT)
        self.unreplicated_txns.append(completed)
        return completed

    def stable_offset_after(self, completed: CompletedTxn) -> int:
        """The last stable offset once ``completed`` is: what an AbortedTxn remembers."""
        return min(self.ongoing_txns.values(), default=completed.last_offset + 1)

    def on_high_watermark(self, high_watermark: int) -> None:
        """Ended transactions whose marker is below the high watermark no longer hold the last stable offset."""
        if self.unreplicated_txns:
            self.unreplicated_txns = [txn for txn in self.unreplicated_txns if txn.last_offset >= high_watermark]

    @property
    def has_unstable_txns(self) -> bool:
        return bool(self.ongoing_txns or self.unreplicated_txns)

    def first_unstable_offset(self, high_watermark: int) -> int | None:
        """Where the earliest transaction begins that is open, or ended by a marker not yet below ``high_watermark``. Changes nothing:
        whoever looks on must not steer."""
        if not self.ongoing_txns and not self.unreplicated_txns:
            return None
        first = min(self.ongoing_txns.values(), default=None)
        for txn in self.unreplicated_txns:
            if txn.last_offset >= high_watermark and (first is None or txn.first_offset < first):
                first = txn.first_offset
        return first

    def remove_expired(self, now_ms: int, expiration_ms: int) -> list[int]:
        """Forgets producers silent for ``producer.id.expiration.ms`` without an open transaction; returns their IDs."""
        expired = [pid for pid, entry in self.producers.items() if _is_expired(entry, now_ms, expiration_ms)]
        for producer_id in expired:
            del self.producers[producer_id]
        return expired

    def clear(self) -> None:
        self.producers = {}
        self.ongoing_txns = {}
        self.unreplicated_txns = []
        self.verifications = None

    def encode_snapshot(self) -> bytes:
        """Kafka's ``.snapshot``, version 1; of each producer only the last batch."""
        body = [struct.pack(">i", len(self.producers))]
        for producer_id, entry in self.producers.items():
            last = entry.batches[-1] if entry.batches else BatchMetadata(NO_SEQUENCE, -1, 0, entry.last_timestamp)
            body.append(
                _SNAPSHOT_ENTRY.pack(
                    producer_id,
                    entry.producer_epoch,
                    last.last_sequence,
                    last.last_offset,
                    last.offset_delta,
                    entry.last_timestamp,
                    entry.coordinator_epoch,
                    entry.current_txn_first_offset,
                )
            )
        data = b"".join(body)
        return struct.pack(">hI", SNAPSHOT_VERSION, crc32c(data)) + data

    def load_snapshot(self, data: bytes, now_ms: int, expiration_ms: int) -> None:
        """Raises CorruptBatchError for a damaged file. Expired producers are left out."""
        if len(data) < _SNAPSHOT_HEAD.size:
            raise CorruptBatchError("a producer snapshot cut short")
        version, crc, count = _SNAPSHOT_HEAD.unpack_from(data)
        if (
            version != SNAPSHOT_VERSION
            or crc != crc32c(data[_SNAPSHOT_CRC_END:])
            or len(data) != _SNAPSHOT_HEAD.size + count * _SNAPSHOT_ENTRY.size
        ):
            raise CorruptBatchError("a damaged producer snapshot")
        self.clear()
        for row in _SNAPSHOT_ENTRY.iter_unpack(data[_SNAPSHOT_HEAD.size :]):
            producer_id, epoch, sequence, offset, delta, timestamp, coordinator_epoch, transaction = row
            batches = () if sequence == NO_SEQUENCE else (BatchMetadata(sequence, offset, delta, timestamp),)
            entry = ProducerStateEntry(epoch, batches, coordinator_epoch, timestamp, transaction)
            if not _is_expired(entry, now_ms, expiration_ms):
                self.producers[producer_id] = entry
                if transaction >= 0:
                    self.ongoing_txns[producer_id] = transaction


def _is_expired(entry: ProducerStateEntry, now_ms: int, expiration_ms: int) -> bool:
    return entry.current_txn_first_offset < 0 and now_ms - entry.last_timestamp >= expiration_ms
