"""``__cluster_metadata-0`` as the quorum uses it: real batches in a ``PartitionLog``, synced before they count.

Raft's promise rests on the disk: an entry that a voter has acknowledged must survive a power loss, so each append is followed by an
fsync, unlike a topic's partition, whose durability comes from replication (Kafka's ``KafkaRaftLog``).
"""

from __future__ import annotations

from collections.abc import Sequence as AbstractSequence

import msgspec

from engine.log.config import LogConfig
from engine.log.log_validator import AppendOrigin
from engine.log.partition_log import PartitionLog
from engine.log.record_batch import build_batch, decode, read_header
from engine.metadata import records as metadata_records
from engine.metadata.records import MetadataRecord
from engine.sim.disk import Disk

TOPIC = "__cluster_metadata"
DIRECTORY = f"{TOPIC}-0"
MAX_FETCH_BYTES = 8 * 1024 * 1024
"""Kafka's ``MAX_FETCH_SIZE_BYTES`` of the raft client."""
CONFIG = LogConfig(max_message_bytes=MAX_FETCH_BYTES, segment_ms=2**62, retention_ms=-1)
"""Kafka cleans this log by snapshots; a lab's metadata is small, so that the log itself is kept whole instead."""


class CommittedBatch(msgspec.Struct, frozen=True, gc=False):
    """A batch below the high watermark, in log order; record ``i`` lies at ``base_offset + i``."""

    base_offset: int
    epoch: int
    records: tuple[MetadataRecord, ...]


Committed = tuple[CommittedBatch, ...]


def open_log(disk: Disk, now_ms: int) -> PartitionLog:
    """The log as it lies on disk; every batch is checked, whatever way the process ended."""
    return PartitionLog.open(disk, DIRECTORY, CONFIG, now_ms, clean=False)


def append_as_leader(log: PartitionLog, records: AbstractSequence[MetadataRecord], epoch: int, now_ms: int, disk: Disk) -> int:
    """One batch, atomic as Kafka's ``scheduleAtomicAppend``, synced. Returns the offset of its first record."""
    batch = build_batch([(None, metadata_records.encode(record), (), now_ms) for record in records])
    result = log.append_as_leader(batch, epoch, now_ms, disk, AppendOrigin.RAFT_LEADER)
    log.flush(disk)
    return result.first_offset


def append_as_follower(log: PartitionLog, batches: tuple[bytes, ...], now_ms: int, disk: Disk) -> None:
    """Batches with their leader's offsets and epochs, synced."""
    for batch in batches:
        log.append_as_follower(batch, disk, now_ms)
    log.flush(disk)


def end_offset_for(log: PartitionLog, epoch: int) -> tuple[int, int]:
    """The largest epoch ≤ ``epoch`` in this log and where it ended (exclusive); (-1, 0) before all of them."""
    entries = log.leader_epochs.entries
    found, end = -1, entries[0].start_offset if entries else log.log_end_offset
    for index, entry in enumerate(entries):
        if entry.epoch > epoch:
            break
        found = entry.epoch
        end = entries[index + 1].start_offset if index + 1 < len(entries) else log.log_end_offset
    return found, end


def divergence(log: PartitionLog, fetch_offset: int, last_fetched_epoch: int) -> tuple[int, int] | None:
    """Where the log of somebody who fetches leaves this one: the largest epoch they may share, and its end here (KIP-595)."""
    if fetch_offset == 0:
        return None
    epoch, end = end_offset_for(log, last_fetched_epoch)
    if epoch == last_fetched_epoch and fetch_offset <= end:
        return None
    return max(epoch, 0), end


def last_epoch(log: PartitionLog) -> int:
    """0 for an empty log, as Kafka's ``KafkaRaftLog.lastFetchedEpoch``."""
    entries = log.leader_epochs.entries
    return entries[-1].epoch if entries else 0


def read_committed(log: PartitionLog, from_offset: int, to_offset: int) -> Committed:
    """All batches from ``from_offset`` up to the high watermark ``to_offset``."""
    committed: list[CommittedBatch] = []
    position = from_offset
    while position < to_offset:
        batches = log.read(position, MAX_FETCH_BYTES, to_offset)
        if not batches:
            break
        for batch in batches:
            header = read_header(batch)
            values = tuple(metadata_records.decode(record.value) for record in decode(batch) if record.value is not None)
            committed.append(CommittedBatch(header.base_offset, header.partition_leader_epoch, values))
            position = header.last_offset + 1
    return tuple(committed)
