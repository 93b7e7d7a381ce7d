"""What the log cleaner of a broker remembers between its steps, and who waits for records to be deleted."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.log.compaction import Cleaning
from engine.messages.admin import DeletedRecords
from engine.messages.base import TopicPartition


@dataclass(slots=True)
class CleanerState:
    """``running`` cleans ``partition``, since ``began_us``. ``checkpoints`` mirrors the file; ``uncleanable``: partition → why."""

    partition: TopicPartition | None = None
    running: Cleaning | None = None
    began_us: int = 0
    checkpoints: dict[TopicPartition, int] = field(default_factory=dict)
    uncleanable: dict[TopicPartition, str] = field(default_factory=dict)


@dataclass(slots=True)
class ParkedDelete:
    """A DeleteRecords request that waits until every live replica's log starts where it should. ``wanted``: per partition the offset, -1
    where there is nothing to wait for; ``results`` answers the others (``DelayedDeleteRecords``)."""

    source: str
    correlation_id: int
    deadline_us: int
    cause: int
    partitions: tuple[TopicPartition, ...]
    wanted: tuple[int, ...]
    results: list[DeletedRecords]
