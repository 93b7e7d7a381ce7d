"""What the log's tests share: batches in one line, a log on a fresh disk, and a kill or power cut."""

from __future__ import annotations

from engine.log.compression import Compression
from engine.log.config import LogConfig
from engine.log.partition_log import PartitionLog
from engine.log.record_batch import Record, RecordTuple, build_batch, decode
from engine.sim.disk import Disk

DIRECTORY = "kafka/orders-0"
NOW = 1_700_000_000_000


def batch(*values: bytes, timestamp: int = NOW, producer: tuple[int, int, int] | None = None, **options: object) -> bytes:
    records: list[RecordTuple] = [(b"k", value, (), timestamp) for value in values]
    producer_id, epoch, sequence = producer or (-1, -1, -1)
    return build_batch(
        records,
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
        compression=Compression(options.get("compression", 0)),
        transactional=bool(options.get("transactional", False)),
    )


def new_log(config: LogConfig | None = None) -> tuple[PartitionLog, Disk]:
    disk = Disk()
    return PartitionLog.open(disk, DIRECTORY, config or LogConfig(), NOW), disk


def reopen(log: PartitionLog, disk: Disk, *, clean: bool, recovery_point: int | None = None) -> PartitionLog:
    return PartitionLog.open(
        disk,
        DIRECTORY,
        log.config,
        NOW,
        clean=clean,
        recovery_point=log.recovery_point if recovery_point is None else recovery_point,
        log_start_offset=log.log_start_offset,
    )


def records_of(log: PartitionLog) -> list[Record]:
    found: list[Record] = []
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        batches = log.read(offset, 1 << 20)
        if not batches:
            break
        for data in batches:
            found += [record for record in decode(data) if record.offset >= log.log_start_offset]
            offset = max(offset, found[-1].offset + 1 if found else offset)
    return found


def values_of(log: PartitionLog) -> list[tuple[int, bytes | None]]:
    return [(record.offset, record.value) for record in records_of(log)]
