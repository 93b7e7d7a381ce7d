"""Records wait here, gathered into batches per partition, until they are sent (the Java client's ``RecordAccumulator``).

Batches live in one table and in no other place; queues hold their numbers. A batch leaves the table when its records are
acknowledged or given up. Nothing here sends: the producer asks which brokers have something ready, drains, and reports back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from engine.clients.batch import NO_SEQUENCE, ProducerBatch, upper_bound_bytes
from engine.clients.common import Metadata, TopicMetadata
from engine.clients.configs import ProducerConfig
from engine.clients.idempotence import ProducerIdState
from engine.clients.partitioner import StickyPartition, must_switch, next_partition, partition_for_key
from engine.log.compression import Compression
from engine.log.record_batch import HEADER_BYTES, RecordTuple, build_batch, increment_sequence
from engine.messages.base import TopicPartition
from engine.sim.rng import Stream

COMPRESSIONS: dict[str, Compression] = {
    "none": Compression.NONE,
    "gzip": Compression.GZIP,
    "snappy": Compression.SNAPPY,
    "lz4": Compression.LZ4,
    "zstd": Compression.ZSTD,
}
NO_ROOM, APPENDED, WAKE_SENDER = 0, 1, 2
NEVER_US = 2**62


@dataclass(slots=True)
class PartitionQueue:
    """``queued`` waits, ``on_wire`` was sent and has no answer; both hold batch ids, oldest first. ``muted``: with one request in
    flight, nothing may overtake it."""

    partition: TopicPartition
    queued: deque[int] = field(default_factory=deque)
    on_wire: list[int] = field(default_factory=list)
    muted: bool = False


@dataclass(slots=True)
class Accumulator:
    """``memory_used`` counts whole allocations, as Java's BufferPool does: batch.size for each batch, or one large record.
    Batches below ``flush_below`` do not wait for linger."""

    settings: ProducerConfig
    transactional: bool = False
    batches: dict[int, ProducerBatch] = field(default_factory=dict)
    queues: dict[TopicPartition, PartitionQueue] = field(default_factory=dict)
    sticky: dict[str, StickyPartition] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    drain_from: dict[int, int] = field(default_factory=dict)
    memory_used: int = 0
    memory_wanted: bool = False
    next_batch_id: int = 1
    flush_below: int = 0
    buffered_records: int = 0

    # -- append ------------------------------------------------------------------------------------------------------------------

    def append(
        self, record_id: int, topic: TopicMetadata, partition: int, record: RecordTuple, now: int, cause: int, stream: Stream
    ) -> int:
        """``partition`` -1 lets the partitioner choose. NO_ROOM where buffer.memory is used up; WAKE_SENDER where a batch was begun
        or filled."""
        sticky = None
        if partition < 0:
            key = record[0]
            if key is not None and not self.settings.partitioner_ignore_keys:
                partition = partition_for_key(key, len(topic.leaders))
            else:
                sticky = self._sticky(topic, stream)
                partition = sticky.partition
        queue = self._queue(TopicPartition(topic.name, partition))
        last = self.batches[queue.queued[-1]] if queue.queued else None
        before = last.estimated_bytes if last is not None else 0
        flags = APPENDED
        if last is None or not last.try_append(record_id, record):
            last = self._begin(queue, record, now, cause)
            if last is None:
                return NO_ROOM
            last.try_append(record_id, record)
            before, flags = 0, WAKE_SENDER
        self.buffered_records += 1
        if sticky is not None:
            sticky.produced_bytes += last.estimated_bytes - before
            if must_switch(sticky, self.settings.batch_size, last.is_full):
                sticky.partition = -1
        return WAKE_SENDER if last.is_full else flags

    def _sticky(self, topic: TopicMetadata, stream: Stream) -> StickyPartition:
        sticky = self.sticky.get(topic.name)
        if sticky is None:
            sticky = self.sticky[topic.name] = StickyPartition()
        if sticky.partition >= 0 and sticky.produced_bytes >= self.settings.batch_size:
            queue = self.queues.get(TopicPartition(topic.name, sticky.partition))
            full = queue is None or not queue.queued or self.batches[queue.queued[-1]].is_full
            if must_switch(sticky, self.settings.batch_size, full):
                sticky.partition = -1
        if sticky.partition < 0 or sticky.partition >= len(topic.leaders):
            sizes = None
            if self.settings.partitioner_adaptive_partitioning_enable:
                sizes = [self._queue_length(TopicPartition(topic.name, number)) for number in topic.available]
            sticky.partition = next_partition(stream, topic.available, len(topic.leaders), sizes)
            sticky.produced_bytes = 0
        return sticky

    def _queue_length(self, partition: TopicPartition) -> int:
        queue = self.queues.get(partition)
        return len(queue.queued) if queue is not None else 0

    def _queue(self, partition: TopicPartition) -> PartitionQueue:
        queue = self.queues.get(partition)
        if queue is None:
            queue = self.queues[partition] = PartitionQueue(partition)
        return queue

    def _begin(self, queue: PartitionQueue, record: RecordTuple, now: int, cause: int) -> ProducerBatch | None:
        size = max(self.settings.batch_size, upper_bound_bytes(record))
        if self.memory_used + size > self.settings.buffer_memory:
            self.memory_wanted = True
            return None
        self.memory_used += size
        batch = self._new_batch(queue.partition, now, size, size, cause)
        queue.queued.append(batch.batch_id)
        return batch

    def _new_batch(self, partition: TopicPartition, now: int, limit: int, allocated: int, cause: int) -> ProducerBatch:
        number = self.next_batch_id
        self.next_batch_id = number + 1
        batch = ProducerBatch(number, partition, now, limit, allocated, cause)
        if self.settings.compression_type != "none":
            batch.ratio = self.ratios.get(partition.topic, 1.0)
        self.batches[number] = batch
        return batch

    # -- ready and drain -----------------------------------------------------------------------------------------------------------

    def ready(self, now: int, metadata: Metadata) -> tuple[list[int], int, bool]:
        """(brokers that have something to get, when to look again, whether some partition has no known leader)."""
        brokers: list[int] = []
        again_us = NEVER_US
        leaderless = False
        linger_us = self.settings.linger_ms * 1000
        for queue in self.queues.values():
            if not queue.queued or queue.muted:
                continue
            leader = metadata.leader(queue.partition)
            if leader is None:
                leaderless = True
                continue
            batch = self.batches[queue.queued[0]]
            if self._backs_off(batch, now, leader.leader_epoch):
                again_us = min(again_us, batch.retry_at_us)
                continue
            linger_ends = batch.created_us + linger_us
            hurry = batch.retried or self.memory_wanted or batch.batch_id < self.flush_below
            if hurry or len(queue.queued) > 1 or now >= linger_ends or batch.is_full:
                if leader.leader_id not in brokers:
                    brokers.append(leader.leader_id)
            else:
                again_us = min(again_us, linger_ends)
        return brokers, again_us, leaderless

    def _backs_off(self, batch: ProducerBatch, now: int, leader_epoch: int) -> bool:
        """A retry waits for retry.backoff.ms unless a new leader is known meanwhile (KIP-951)."""
        return now < batch.retry_at_us and leader_epoch <= batch.leader_epoch

    def drain(self, broker: int, now: int, metadata: Metadata, ids: ProducerIdState) -> list[ProducerBatch]:
        """At most one batch per partition that ``broker`` leads, together within max.request.size; takes turns among partitions."""
        mine = [
            queue
            for queue in self.queues.values()
            if queue.queued and not queue.muted and (leader := metadata.leader(queue.partition)) is not None and leader[0] == broker
        ]
        if not mine:
            return []
        start = self.drain_from.get(broker, 0) % len(mine)
        drained: list[ProducerBatch] = []
        size = 0
        for turn in range(len(mine)):
            queue = mine[(start + turn) % len(mine)]
            batch = self.batches[queue.queued[0]]
            leader = metadata.leader(queue.partition)
            if leader is None or self._backs_off(batch, now, leader.leader_epoch):
                continue
            if drained and size + batch.estimated_bytes > self.settings.max_request_size:
                break
            if ids.enabled:
                if ids.must_hold(batch, self.batches):
                    continue
                if batch.base_sequence == NO_SEQUENCE:
                    ids.assign(batch)
            queue.queued.popleft()
            queue.on_wire.append(batch.batch_id)
            queue.muted = self.settings.max_in_flight_requests_per_connection == 1
            batch.closed = True
            batch.leader_epoch = leader.leader_epoch
            size += batch.estimated_bytes
            drained.append(batch)
        self.drain_from[broker] = start + 1
        return drained

    def encode(self, batch: ProducerBatch) -> bytes:
        """The bytes for one attempt; also learns how well the topic compresses (``CompressionRatioEstimator``)."""
        compression = COMPRESSIONS[self.settings.compression_type]
        data = build_batch(
            batch.records,
            compression=compression,
            producer_id=batch.producer_id,
            producer_epoch=batch.producer_epoch,
            base_sequence=batch.base_sequence,
            transactional=self.transactional,
        )
        if compression is not Compression.NONE:
            topic = batch.partition.topic
            seen = (len(data) - HEADER_BYTES) / max(batch.size_bytes - HEADER_BYTES, 1)
            old = self.ratios.get(topic, 1.0)
            self.ratios[topic] = max(old + 0.05, seen) if seen > old else max(old - 0.005, seen)
        return data

    # -- what became of a batch ---------------------------------------------------------------------------------------------------

    def came_back(self, batch: ProducerBatch) -> None:
        """An answer (or the loss of it) ends the attempt; the batch is neither queued nor on the wire now."""
        queue = self.queues[batch.partition]
        if batch.batch_id in queue.on_wire:
            queue.on_wire.remove(batch.batch_id)
        queue.muted = False

    def reenqueue(self, batch: ProducerBatch, retry_at_us: int) -> None:
        """Goes back to the front, in sequence order where it has a sequence."""
        batch.attempts += 1
        batch.retried = True
        batch.retry_at_us = retry_at_us
        self._insert(batch)

    def _insert(self, batch: ProducerBatch) -> None:
        queued = self.queues[batch.partition].queued
        position = 0
        if batch.base_sequence != NO_SEQUENCE:
            while position < len(queued) and NO_SEQUENCE < self.batches[queued[position]].base_sequence < batch.base_sequence:
                position += 1
        queued.insert(position, batch.batch_id)

    def release(self, batch: ProducerBatch) -> None:
        """Its records are resolved: the batch is gone and its memory free."""
        queue = self.queues[batch.partition]
        if batch.batch_id in queue.queued:
            queue.queued.remove(batch.batch_id)
        if self.batches.pop(batch.batch_id, None) is not None:
            self.memory_used -= batch.allocated_bytes
            self.buffered_records -= len(batch.records)

    def split(self, batch: ProducerBatch, ids: ProducerIdState, now: int) -> list[ProducerBatch]:
        """MESSAGE_TOO_LARGE for several records: the same records in smaller batches, in order, sequences kept (KIP-126). A batch that
        came of a split already is halved (KAFKA-8350)."""
        if self.settings.compression_type != "none":
            self.ratios[batch.partition.topic] = max(1.0, self.ratios.get(batch.partition.topic, 1.0))
        limit = self.settings.batch_size
        if batch.split:
            limit = max(batch.size_bytes // 2, HEADER_BYTES)
        pieces: list[ProducerBatch] = []
        for record_id, record in zip(batch.record_ids, batch.records, strict=True):
            if not pieces or not pieces[-1].try_append(record_id, record):
                piece = self._new_batch(batch.partition, batch.created_us, max(limit, upper_bound_bytes(record)), 0, batch.cause)
                piece.split = piece.retried = True
                piece.try_append(record_id, record)
                pieces.append(piece)
        sequence = batch.base_sequence
        ids.forget(batch)
        self.release(batch)
        for piece in reversed(pieces):
            piece.closed = True
            self.buffered_records += len(piece.records)
        for piece in pieces:
            if sequence != NO_SEQUENCE:
                piece.producer_id, piece.producer_epoch, piece.base_sequence = batch.producer_id, batch.producer_epoch, sequence
                piece.sequence_was_reset = batch.sequence_was_reset
                sequence = increment_sequence(sequence, len(piece.records))
                ids.track(piece, self.batches)
        for piece in reversed(pieces):
            self._insert(piece)
        return pieces

    def expired(self, now: int) -> tuple[list[ProducerBatch], int]:
        """(batches older than delivery.timeout.ms, queued or on the wire; when the next one may expire)."""
        born_by = now - self.settings.delivery_timeout_ms * 1000
        found: list[ProducerBatch] = []
        oldest = NEVER_US
        for queue in self.queues.values():
            for batch_id in (*queue.on_wire, *queue.queued):
                created = self.batches[batch_id].created_us
                if created > born_by:
                    oldest = min(oldest, created)
                    break
                found.append(self.batches[batch_id])
        return found, NEVER_US if oldest == NEVER_US else oldest + self.settings.delivery_timeout_ms * 1000
