"""Kafka's offset checkpoint files: one offset per partition of a log directory, as text.

``recovery-point-offset-checkpoint`` (what is flushed), ``replication-offset-checkpoint`` (high watermarks) and
``log-start-offset-checkpoint`` share this format. They belong to a broker's log directory, so the broker decides when
to write them; how they look is known here.
"""

from __future__ import annotations

from engine.log.errors import LogError
from engine.sim.disk import Disk, DiskFullError

RECOVERY_POINT_FILE = "recovery-point-offset-checkpoint"
REPLICATION_OFFSET_FILE = "replication-offset-checkpoint"
LOG_START_OFFSET_FILE = "log-start-offset-checkpoint"
CLEANER_OFFSET_FILE = "cleaner-offset-checkpoint"
CLEAN_SHUTDOWN_FILE = ".kafka_cleanshutdown"


def write_offsets(disk: Disk, path: str, offsets: dict[tuple[str, int], int]) -> None:
    """``offsets`` by (topic, partition); written sorted, by rename."""
    lines = [
        "0",
        str(len(offsets)),
        *(f"{topic} {partition} {offset}" for (topic, partition), offset in sorted(offsets.items())),
    ]
    try:
        disk.replace(path, "".join(f"{line}\n" for line in lines).encode("utf-8"))
    except DiskFullError:
        raise LogError("KAFKA_STORAGE_ERROR", f"no room for {path}") from None


def read_offsets(disk: Disk, path: str) -> dict[tuple[str, int], int]:
    """Empty where the file is missing. Raises LogError(KAFKA_STORAGE_ERROR) where it is malformed, as Kafka does."""
    if not disk.exists(path):
        return {}
    try:
        lines = disk.read(path).decode("utf-8").splitlines()
        rows = [line.split() for line in lines[2:]]
        offsets = {(topic, int(partition)): int(offset) for topic, partition, offset in rows}
        if lines[0] != "0" or len(rows) != int(lines[1]):
            raise ValueError(path)
    except (ValueError, IndexError):
        raise LogError("KAFKA_STORAGE_ERROR", f"malformed checkpoint {path}") from None
    return offsets
