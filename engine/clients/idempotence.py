"""The producer's side of idempotence: its ID, its epoch, and the sequence numbers of each partition.

The non-transactional half of the Java client's ``TransactionManager`` and ``TxnPartitionMap`` (KIP-98, KIP-360). "In flight" here
means: has sequence numbers and is neither acknowledged nor given up, be it on the wire or waiting for its next attempt.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.clients.batch import NO_SEQUENCE, ProducerBatch
from engine.log.record_batch import increment_sequence
from engine.messages.base import TopicPartition

MAX_PRODUCER_EPOCH = 2**15 - 1


@dataclass(slots=True)
class PartitionSequences:
    """``in_flight`` are batch ids in sequence order. ``unresolved`` is the sequence after a batch whose fate nobody knows, or -1."""

    producer_id: int
    producer_epoch: int
    next_sequence: int = 0
    last_acked_sequence: int = -1
    last_acked_offset: int = -1
    unresolved: int = -1
    in_flight: list[int] = field(default_factory=list)


@dataclass(slots=True)
class ProducerIdState:
    """``requesting``: an InitProducerId is on its way or waits for its retry. A ``transactional`` producer gives up where another would
    bump its epoch: its transaction is aborted, which bumps it."""

    enabled: bool
    transactional: bool = False
    producer_id: int = -1
    producer_epoch: int = -1
    requesting: bool = False
    bump_required: bool = False
    to_rewrite: list[TopicPartition] = field(default_factory=list)
    partitions: dict[TopicPartition, PartitionSequences] = field(default_factory=dict)

    def of(self, partition: TopicPartition) -> PartitionSequences:
        found = self.partitions.get(partition)
        if found is None:
            found = self.partitions[partition] = PartitionSequences(self.producer_id, self.producer_epoch)
        return found

    def must_hold(self, batch: ProducerBatch, batches: dict[int, ProducerBatch]) -> bool:
        """``RecordAccumulator.shouldStopDrainBatchesForPartition``: whether sending this batch now could break the sequence."""
        if self.producer_id < 0:
            return True
        known = self.of(batch.partition)
        if batch.base_sequence == NO_SEQUENCE:
            return bool(known.in_flight and self._is_stale(known)) or known.unresolved >= 0
        # A batch that has its sequence already is a retry: it waits for the one before it.
        first = batches[known.in_flight[0]].base_sequence if known.in_flight else NO_SEQUENCE
        return first not in (NO_SEQUENCE, batch.base_sequence)

    def _is_stale(self, known: PartitionSequences) -> bool:
        return known.producer_id != self.producer_id or known.producer_epoch != self.producer_epoch

    def assign(self, batch: ProducerBatch) -> None:
        """Gives a batch that leaves for the first time its sequence numbers."""
        known = self.of(batch.partition)
        if self._is_stale(known) and not known.in_flight:
            self._start_at_beginning(known, {})
        batch.producer_id, batch.producer_epoch = self.producer_id, self.producer_epoch
        batch.base_sequence = known.next_sequence
        known.next_sequence = increment_sequence(known.next_sequence, len(batch.records))
        known.in_flight.append(batch.batch_id)

    def track(self, batch: ProducerBatch, batches: dict[int, ProducerBatch]) -> None:
        """A piece of a split batch, born with its sequence."""
        in_flight = self.of(batch.partition).in_flight
        in_flight.append(batch.batch_id)
        in_flight.sort(key=lambda batch_id: batches[batch_id].base_sequence)

    def forget(self, batch: ProducerBatch) -> None:
        known = self.partitions.get(batch.partition)
        if known is not None and batch.batch_id in known.in_flight:
            known.in_flight.remove(batch.batch_id)

    def acknowledged(self, batch: ProducerBatch, base_offset: int) -> None:
        known = self.of(batch.partition)
        if not self._is_of(batch, known):
            return
        known.last_acked_sequence = max(known.last_acked_sequence, batch.last_sequence)
        if base_offset >= 0:
            known.last_acked_offset = max(known.last_acked_offset, base_offset + len(batch.records) - 1)

    def _is_of(self, batch: ProducerBatch, known: PartitionSequences) -> bool:
        return batch.producer_id == known.producer_id and batch.producer_epoch == known.producer_epoch

    def can_retry(
        self, batch: ProducerBatch, error: str, log_start_offset: int, retriable: bool, batches: dict[int, ProducerBatch]
    ) -> bool:
        """``TransactionManager.canRetry``; may ask for a new epoch (KIP-360)."""
        known = self.of(batch.partition)
        if error == "UNKNOWN_PRODUCER_ID":
            if log_start_offset == -1 or batch.sequence_was_reset:
                return True
            if known.last_acked_offset < log_start_offset:
                # Retention removed all that this producer wrote: the broker forgot it rightly, the sequence starts over. Without a
                # transaction that takes a new epoch, so that no pair of epoch and sequence is used twice.
                if self.transactional:
                    self._start_at_beginning(known, batches)
                else:
                    self.request_bump(batch.partition)
                return True
            if self.transactional:
                return False
            self.request_bump(batch.partition)
            return True
        if error == "OUT_OF_ORDER_SEQUENCE_NUMBER":
            is_next = self._is_next(known, batch.base_sequence)
            if known.unresolved < 0 and (batch.sequence_was_reset or not is_next):
                return True  # an earlier batch is still to come
            if self.transactional:
                return False
            if known.unresolved < 0 or batch.base_sequence == known.unresolved:
                self.request_bump(batch.partition)
            return True
        return retriable

    def _is_next(self, known: PartitionSequences, sequence: int) -> bool:
        return sequence - known.last_acked_sequence == 1

    def failed(self, batch: ProducerBatch, error: str, adjust: bool) -> None:
        """A batch was given up. ``adjust``: it is known not to have been written, so its sequence numbers must be closed over."""
        self.forget(batch)
        if batch.base_sequence == NO_SEQUENCE:
            return
        if error == "UNKNOWN_PRODUCER_ID":
            known = self.of(batch.partition)
            known.next_sequence, known.last_acked_sequence = 0, -1
        elif not self.transactional and (adjust or error == "OUT_OF_ORDER_SEQUENCE_NUMBER"):
            self.request_bump(batch.partition)

    def mark_unresolved(self, batch: ProducerBatch) -> None:
        """It was sent and has expired: whether it was written is unknown, so nothing new may follow until that is settled."""
        if batch.base_sequence != NO_SEQUENCE:
            known = self.of(batch.partition)
            known.unresolved = max(known.unresolved, increment_sequence(batch.base_sequence, len(batch.records)))

    def request_bump(self, partition: TopicPartition) -> None:
        self.bump_required = True
        if partition not in self.to_rewrite:
            self.to_rewrite.append(partition)

    def resolve(self) -> None:
        """``maybeResolveSequences``: a partition that has drained either turned out whole or needs a new epoch."""
        for partition, known in self.partitions.items():
            if known.unresolved >= 0 and not known.in_flight:
                if not self._is_next(known, known.next_sequence):
                    self.request_bump(partition)
                known.unresolved = -1

    def bump(self, batches: dict[int, ProducerBatch]) -> bool:
        """Bumps the epoch locally if asked to (KIP-360), sequences from 0. Returns whether it did."""
        if not self.bump_required:
            return False
        self.bump_required = False
        if self.producer_epoch == MAX_PRODUCER_EPOCH:
            self.producer_id, self.producer_epoch = -1, -1
        else:
            self.producer_epoch += 1
        for partition in self.to_rewrite:
            known = self.of(partition)
            self._start_at_beginning(known, batches)
            known.unresolved = -1
        self.to_rewrite.clear()
        return True

    def _start_at_beginning(self, known: PartitionSequences, batches: dict[int, ProducerBatch]) -> None:
        sequence = 0
        for batch_id in known.in_flight:
            batch = batches[batch_id]
            batch.producer_id, batch.producer_epoch = self.producer_id, self.producer_epoch
            batch.base_sequence, batch.sequence_was_reset = sequence, True
            sequence = increment_sequence(sequence, len(batch.records))
        known.producer_id, known.producer_epoch = self.producer_id, self.producer_epoch
        known.next_sequence, known.last_acked_sequence = sequence, -1
