"""The log cleaner of a broker: one thread that takes the dirtiest compacted log, cleans it, and rests when none is dirty enough.

Kafka's ``LogCleaner`` with the bookkeeping of ``LogCleanerManager``; what a clean does to a log is ``engine.log.compaction``. Reading
and writing take virtual time, so a clean goes in steps and may be cut short by a kill, a truncation or a deletion. Every replica
cleans for itself, leader or not, in its own time: logs of one partition may differ in what they no longer hold, never in what a key's
latest record is.
"""

from __future__ import annotations

from engine.broker import logs
from engine.broker.settings import MICROSECONDS
from engine.broker.state import Broker, Replica
from engine.broker.timers import CleanerStep, CleanerWake
from engine.events import LogCleaned, LogUncleanable
from engine.log import compaction
from engine.log.checkpoint_file import CLEANER_OFFSET_FILE, write_offsets
from engine.log.cleanable import Cleanable, cleanable
from engine.log.errors import LogError
from engine.messages.base import TopicPartition
from engine.sim.disk import Disk
from engine.sim.outbox import Outbox

BYTES_PER_SECOND = 100_000_000
"""What one cleaner thread reads, hashes and copies in a second of virtual time, unless ``log.cleaner.io.max.bytes.per.second`` is less."""
STEP_US = 1_000
"""Opening, flushing and renaming files: the least that a step takes."""


def on_wake(broker: Broker, source: str, timer: CleanerWake, out: Outbox) -> None:
    run(broker, out)


def run(broker: Broker, out: Outbox) -> None:
    """One round (``CleanerThread.doWork``): begins to clean the filthiest log, or tidies up and rests. Nobody's doing: a chain of causes
    ends here."""
    out.because(0)
    chosen = _filthiest(broker, out)
    if chosen is not None:
        replica, found = chosen
        _begin(broker, replica, found, out)
        return
    delete_old_segments(broker, out)
    out.arm(CleanerWake(), after_us=max(_backoff_us(broker), STEP_US))


def _backoff_us(broker: Broker) -> int:
    """``log.cleaner.backoff.ms``, which may be changed at run time."""
    value = broker.image.broker_config("log.cleaner.backoff.ms", broker.broker_id)
    return broker.settings.cleaner_backoff_us if value is None else int(value) * 1000


def _filthiest(broker: Broker, out: Outbox) -> tuple[Replica, Cleanable] | None:
    """``grabFilthiestCompactedLog``: the first of those with the highest ratio of dirty bytes, if it is due."""
    state = broker.cleaner
    best: tuple[Replica, Cleanable] | None = None
    for tp, replica in broker.partitions.items():
        log = replica.log
        if not log.config.compact or len(log.segments) == 1 or tp in state.uncleanable:
            continue
        found = cleanable(log, replica.high_watermark, state.checkpoints.get(tp), out.now_ms)
        if found.reset:
            _save(broker, tp, found.first_dirty_offset, out.disk)
        if not found.is_due(log.config.min_cleanable_dirty_ratio):
            continue
        if best is None or found.dirty_ratio > best[1].dirty_ratio:
            best = (replica, found)
    return best


def _begin(broker: Broker, replica: Replica, found: Cleanable, out: Outbox) -> None:
    state = broker.cleaner
    try:
        cleaning = compaction.begin(
            replica.log, found.first_dirty_offset, found.first_uncleanable_offset, out.now_ms, broker.settings.cleaner_map_entries
        )
        if not cleaning.groups:
            raise LogError("INVALID_CONFIG", "log.cleaner.dedupe.buffer.size is too small for the keys of one batch")
    except LogError as wrong:
        _give_up(broker, replica.partition, wrong, out)
        return
    state.partition, state.running, state.began_us = replica.partition, cleaning, out.now
    _arm(broker, cleaning.stats.bytes_mapped, out)


def _arm(broker: Broker, work_bytes: int, out: Outbox) -> None:
    rate = min(BYTES_PER_SECOND, broker.settings.cleaner_bytes_per_second)
    out.arm(CleanerStep(), after_us=STEP_US + work_bytes * MICROSECONDS // max(rate, 1))


def on_step(broker: Broker, source: str, timer: CleanerStep, out: Outbox) -> None:
    """The work begun last is done: the copy takes its place, the next group is copied, or the clean is complete."""
    state = broker.cleaner
    cleaning, partition = state.running, state.partition
    if cleaning is None or partition is None:
        return
    replica = broker.partitions[partition]
    log = replica.log
    if not compaction.group_segments(log, cleaning):
        stop(broker, partition, out)
        return
    try:
        if cleaning.cleaned is not None:
            compaction.swap_group(log, cleaning, out.disk)
        if not cleaning.groups:
            _finish(broker, replica, cleaning, out)
        elif compaction.group_segments(log, cleaning):
            _arm(broker, compaction.copy_group(log, cleaning, out.disk), out)
        else:
            stop(broker, partition, out)
    except LogError as wrong:
        compaction.abort(cleaning, out.disk)
        _give_up(broker, partition, wrong, out)


def _finish(broker: Broker, replica: Replica, cleaning: compaction.Cleaning, out: Outbox) -> None:
    """``doneCleaning``; the next round follows at once."""
    state, stats = broker.cleaner, cleaning.stats
    topic, number = replica.partition
    _save(broker, replica.partition, cleaning.end_offset, out.disk)
    out.emit(
        LogCleaned(
            broker.broker_id, topic, number, cleaning.first_dirty_offset, cleaning.end_offset, stats.bytes_read, stats.bytes_written,
            stats.records_read, stats.records_written, stats.tombstones_removed, stats.segments_read, stats.segments_written,
            out.now - state.began_us,
        )
    )  # fmt: skip
    state.partition = state.running = None
    delete_old_segments(broker, out)
    run(broker, out)


def _give_up(broker: Broker, partition: TopicPartition, wrong: LogError, out: Outbox) -> None:
    """A log that cannot be read is left alone from now on (``markPartitionUncleanable``)."""
    if wrong.code == "KAFKA_STORAGE_ERROR":
        raise wrong
    state = broker.cleaner
    state.partition = state.running = None
    state.uncleanable[partition] = str(wrong)
    out.emit(LogUncleanable(broker.broker_id, partition.topic, partition.partition, str(wrong)))
    out.arm(CleanerWake(), after_us=max(_backoff_us(broker), STEP_US))


def delete_old_segments(broker: Broker, out: Outbox) -> None:
    """Compacted logs that also delete, or whose log start has moved, are the cleaner's to shorten (``deletableLogs``)."""
    for tp, replica in broker.partitions.items():
        if replica.log.config.compact and tp != broker.cleaner.partition and tp not in broker.cleaner.uncleanable:
            logs.apply_retention(broker, replica, out)


# -- what others do to a log -------------------------------------------------------------------------------------------------------


def before_truncation(broker: Broker, replica: Replica, to_offset: int, out: Outbox) -> None:
    """A clean of this log that is under way is aborted, since its map may hold what is now cut off (``LogManager.truncateTo``)."""
    if to_offset < replica.log.active_segment.base_offset:
        stop(broker, replica.partition, out)


def after_truncation(broker: Broker, replica: Replica, out: Outbox) -> None:
    """Nothing at or above the active segment counts as clean (``maybeTruncateCheckpoint``)."""
    checkpoint = broker.cleaner.checkpoints.get(replica.partition, 0)
    base = replica.log.active_segment.base_offset
    if checkpoint > base and replica.log.config.compact:
        _save(broker, replica.partition, base, out.disk)


def stop(broker: Broker, partition: TopicPartition, out: Outbox) -> None:
    """Aborts the clean of this log, if that is the one under way; the cleaner looks for another one."""
    state = broker.cleaner
    if state.partition != partition or state.running is None:
        return
    compaction.abort(state.running, out.disk)
    state.partition = state.running = None
    out.cancel(CleanerStep())
    out.arm(CleanerWake(), after_us=STEP_US)


def forget(broker: Broker, partition: TopicPartition, out: Outbox) -> None:
    """The log is about to be deleted."""
    stop(broker, partition, out)
    broker.cleaner.uncleanable.pop(partition, None)
    if broker.cleaner.checkpoints.pop(partition, None) is not None:
        _write(broker, out.disk)


def _save(broker: Broker, partition: TopicPartition, offset: int, disk: Disk) -> None:
    broker.cleaner.checkpoints[partition] = offset
    _write(broker, disk)


def _write(broker: Broker, disk: Disk) -> None:
    write_offsets(
        disk, CLEANER_OFFSET_FILE, {(tp.topic, tp.partition): offset for tp, offset in broker.cleaner.checkpoints.items()}
    )
