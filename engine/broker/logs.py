"""The log directory of a broker: which logs lie there, its checkpoint files, clean and unclean stops.

Kafka's ``LogManager`` and the files that it keeps: ``meta.properties``, ``.kafka_cleanshutdown`` (with the broker epoch, KIP-966),
``replication-offset-checkpoint``, ``recovery-point-offset-checkpoint``, ``log-start-offset-checkpoint``, and ``partition.metadata``
in each partition's directory.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode

from engine.broker.state import Broker, Replica
from engine.broker.timers import Halt
from engine.coordination.quorum_log import DIRECTORY as METADATA_DIRECTORY
from engine.events import LogDirectoryFailed, LogRecovered, SegmentsDeleted
from engine.log.checkpoint_file import (
    CLEAN_SHUTDOWN_FILE,
    CLEANER_OFFSET_FILE,
    LOG_START_OFFSET_FILE,
    RECOVERY_POINT_FILE,
    REPLICATION_OFFSET_FILE,
    read_offsets,
    write_offsets,
)  # fmt: skip
from engine.log.config import LogConfig
from engine.log.partition_log import PartitionLog
from engine.messages.base import TopicPartition
from engine.sim.outbox import Outbox
from engine.sim.rng import seed_for

META_PROPERTIES = "meta.properties"
PARTITION_METADATA = "partition.metadata"

HALT_AFTER_US = 1_000
"""From the failure of the last log directory to the end of the process (another thread does it)."""

Offsets = dict[tuple[str, int], int]


def boot(broker: Broker, out: Outbox) -> None:
    """Formats a new directory, or opens every log in this one; after an unclean stop each is recovered."""
    disk = out.disk
    _format(broker, out)
    clean = disk.exists(CLEAN_SHUTDOWN_FILE)
    if clean:
        broker.previous_broker_epoch = _read_broker_epoch(disk.read(CLEAN_SHUTDOWN_FILE))
        disk.delete(CLEAN_SHUTDOWN_FILE)
    high_watermarks = read_offsets(disk, REPLICATION_OFFSET_FILE)
    recovery_points = read_offsets(disk, RECOVERY_POINT_FILE)
    cleaned = read_offsets(disk, CLEANER_OFFSET_FILE)
    broker.cleaner.checkpoints = {TopicPartition(*key): offset for key, offset in cleaned.items()}
    log_starts = broker.saved_log_starts = read_offsets(disk, LOG_START_OFFSET_FILE)
    cause = out.cause
    for directory in _directories(disk.listing("")):
        topic, _, number = directory.rpartition("-")
        tp = TopicPartition(topic, int(number))
        log = PartitionLog.open(
            disk, directory, LogConfig(mutants=frozenset(broker.mutants)), out.now_ms, clean=clean,
            recovery_point=recovery_points.get(tp, 0), log_start_offset=log_starts.get(tp, 0),
        )  # fmt: skip
        replica = broker.partitions[tp] = Replica(tp, _read_topic_id(broker, directory, out), log)
        replica.high_watermark = min(max(high_watermarks.get(tp, 0), log.log_start_offset), log.log_end_offset)
        report = log.recovery
        if report is not None and (not report.clean or report.bytes_truncated):
            out.because(cause)
            out.emit(
                LogRecovered(
                    broker.broker_id,
                    topic,
                    tp.partition,
                    report.clean,
                    log.log_end_offset,
                    report.bytes_truncated,
                    report.indexes_rebuilt,
                )
            )
    out.because(cause)


def _directories(paths: list[str]) -> list[str]:
    found = dict.fromkeys([path.partition("/")[0] for path in paths if "/" in path and path.endswith(".log")])
    return [directory for directory in found if directory != METADATA_DIRECTORY and directory.rpartition("-")[2].isdigit()]


def _format(broker: Broker, out: Outbox) -> None:
    """``kafka-storage.sh format``: the cluster's ID is the same on every node of a lab."""
    if not out.disk.exists(META_PROPERTIES):
        cluster_id = kafka_uuid(seed_for(out.seed, "cluster id"), seed_for(out.seed, "cluster id, second half"))
        directory_id = kafka_uuid(out.stream("directory id").bits(), out.stream("directory id").bits())
        text = f"version=1\ncluster.id={cluster_id}\nnode.id={broker.broker_id}\ndirectory.id={directory_id}\n"
        out.disk.replace(META_PROPERTIES, text.encode("ascii"))
    lines = out.disk.read(META_PROPERTIES).decode("utf-8", "replace").splitlines()
    properties = dict(line.split("=", 1) for line in lines if "=" in line)
    broker.cluster_id = properties.get("cluster.id", "")


def kafka_uuid(high: int, low: int) -> str:
    """Kafka's text form of a UUID: 22 characters of URL-safe base64."""
    return urlsafe_b64encode(high.to_bytes(8, "big") + low.to_bytes(8, "big")).decode("ascii").rstrip("=")


def _read_broker_epoch(content: bytes) -> int:
    _, _, number = content.decode("ascii", "replace").strip().rpartition("=")
    return int(number) if number.lstrip("-").isdigit() else -1


def _read_topic_id(broker: Broker, directory: str, out: Outbox) -> str:
    path = f"{directory}/{PARTITION_METADATA}"
    if not out.disk.exists(path):
        return ""
    return out.disk.read(path).decode("ascii", "replace").rpartition("topic_id: ")[2].strip()


def create(broker: Broker, tp: TopicPartition, topic_id: str, out: Outbox) -> Replica:
    """A new, empty log. Raises LogError(KAFKA_STORAGE_ERROR)."""
    directory = str(tp)
    log = PartitionLog.open(out.disk, directory, LogConfig(), out.now_ms)
    out.disk.replace(f"{directory}/{PARTITION_METADATA}", f"version: 0\ntopic_id: {topic_id}\n".encode("ascii"))
    return Replica(tp, topic_id, log)


# -- checkpoints ---------------------------------------------------------------------------------------------------------------------------


def checkpoint_high_watermarks(broker: Broker, out: Outbox) -> None:
    """Written only where something has changed: an idle broker leaves its disk alone."""
    if broker.high_watermarks_changed:
        broker.high_watermarks_changed = False
        offsets: Offsets = {tuple(tp): replica.high_watermark for tp, replica in broker.partitions.items()}  # type: ignore[misc]
        write_offsets(out.disk, REPLICATION_OFFSET_FILE, offsets)


def checkpoint_recovery_points(broker: Broker, out: Outbox) -> None:
    points: Offsets = {}
    starts: Offsets = {}
    for (topic, number), replica in broker.partitions.items():
        points[topic, number] = replica.log.recovery_point
        if replica.log.log_start_offset > replica.log.segments[0].base_offset:
            starts[topic, number] = replica.log.log_start_offset
    if points != broker.saved_recovery_points:
        broker.saved_recovery_points = points
        write_offsets(out.disk, RECOVERY_POINT_FILE, points)
    if starts != broker.saved_log_starts:
        broker.saved_log_starts = starts
        write_offsets(out.disk, LOG_START_OFFSET_FILE, starts)


def delete_old_segments(broker: Broker, out: Outbox) -> None:
    """The retention round: each log by its own configuration (facts 5, 6). Compacted logs are left to the cleaner, and so is one that it
    is still at work on (``LogManager.cleanupLogs``)."""
    for tp, replica in broker.partitions.items():
        replica.log.remove_expired_producers(out.now_ms)
        if not replica.log.config.compact and tp != broker.cleaner.partition:
            apply_retention(broker, replica, out)


def apply_retention(broker: Broker, replica: Replica, out: Outbox) -> None:
    """Deletes what time, size or the log start allow, and tells how much went for which reason."""
    log = replica.log
    gone = log.apply_retention(out.now_ms, replica.high_watermark, out.disk)
    if not gone:
        return
    cause = out.cause
    topic, number = replica.partition
    for reason in dict.fromkeys([segment.reason for segment in gone]):
        sizes = [segment.size for segment in gone if segment.reason == reason]
        out.because(cause)
        out.emit(SegmentsDeleted(broker.broker_id, topic, number, log.log_start_offset, reason, len(sizes), sum(sizes)))
    out.because(cause)


def close_clean(broker: Broker, out: Outbox) -> None:
    """Flushes everything and leaves the marker by which the next start knows that nothing needs recovery."""
    for replica in broker.partitions.values():
        replica.log.close_clean(out.disk)
    checkpoint_recovery_points(broker, out)
    checkpoint_high_watermarks(broker, out)
    out.disk.replace(CLEAN_SHUTDOWN_FILE, f"version=0\nbrokerEpoch={broker.broker_epoch}\n".encode("ascii"))


def fail(broker: Broker, reason: str, out: Outbox) -> None:
    """The only log directory is gone: Kafka halts the process, without a clean marker. What it has answered still leaves."""
    broker.failed = True
    out.emit(LogDirectoryFailed(broker.broker_id, reason))
    out.arm(Halt(), after_us=HALT_AFTER_US)
