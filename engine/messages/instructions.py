"""What a person asks of one simulated node, handed to it by the kernel without a network between.

Faults are not here: those the kernel itself inflicts.
"""

from __future__ import annotations

from engine.messages.base import Instruction, Request, TopicPartition


class BeginShutdown(Instruction, frozen=True, gc=False, tag=True):
    """SIGTERM: stop politely (controlled shutdown)."""


class SendRecords(Instruction, frozen=True, gc=False, tag=True):
    """The application calls ``producer.send`` once for each of ``records`` (key, value, headers)."""

    topic: str
    partition: int
    records: tuple[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]], ...]
    first_record_id: int


class FlushProducer(Instruction, frozen=True, gc=False, tag=True):
    pass


class StartWorkload(Instruction, frozen=True, gc=False, tag=True):
    """``keys`` 0 sends without key; ``skew_percent`` of the records share the first key. Record n of it is ``first_record_id + n``.
    So many ``transaction_records`` make one transaction (0: none)."""

    workload: str
    topic: str
    records_per_second: int
    keys: int
    value_bytes: int
    skew_percent: int
    limit: int
    first_record_id: int
    transaction_records: int = 0


class CallTransaction(Instruction, frozen=True, gc=False, tag=True):
    """``beginTransaction``, ``commitTransaction`` or ``abortTransaction``: ``call`` "begin", "commit" or "abort"."""

    call: str


class StopWorkload(Instruction, frozen=True, gc=False, tag=True):
    workload: str


class AssignPartitions(Instruction, frozen=True, gc=False, tag=True):
    """``consumer.assign``. An empty tuple pauses everything."""

    partitions: tuple[TopicPartition, ...]


class SubscribeTopics(Instruction, frozen=True, gc=False, tag=True):
    """With ``group.id``: ``consumer.subscribe``. Without: ``consumer.assign`` of all partitions of these topics, refreshed as metadata
    changes."""

    topics: tuple[str, ...]


class SeekConsumer(Instruction, frozen=True, gc=False, tag=True):
    """``offset`` -1 is the end, -2 the beginning."""

    partition: TopicPartition
    offset: int


class PauseConsumer(Instruction, frozen=True, gc=False, tag=True):
    partitions: tuple[TopicPartition, ...]
    paused: bool


class SetProcessing(Instruction, frozen=True, gc=False, tag=True):
    """The application takes so long for each record. ``commit_each_poll`` "before" or "after": it calls ``commitSync`` after each poll,
    before or after it processes the records; None leaves that as it is."""

    processing_ms: int
    commit_each_poll: str | None = None


class SetVerdicts(Instruction, frozen=True, gc=False, tag=True):
    """What the application of a share consumer thinks of its records: it releases every ``release_every``-th, rejects every
    ``reject_every``-th (0: none), and fails each time at those whose value contains ``fail_on`` ("": at none). It closes after
    ``stop_after`` records (0: never; None: as it was told before)."""

    release_every: int = 0
    reject_every: int = 0
    fail_on: str = ""
    stop_after: int | None = None


class CommitOffsets(Instruction, frozen=True, gc=False, tag=True):
    """The application calls ``commitSync`` as soon as its thread is free."""


class CallAdmin(Instruction, frozen=True, gc=False, tag=True):
    """The admin client sends ``request``; its completion event carries ``call_id``."""

    call_id: int
    request: Request
