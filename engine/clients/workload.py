"""A steady stream of records: when each is due, and what is in it.

At high rates one tick (never more often than every millisecond) yields several records, so that thousands of records a second cost
a thousand timers. The application's thread blocks where ``send`` blocks: what it would have sent meanwhile is not sent later.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.messages.base import Timer
from engine.messages.instructions import StartWorkload
from engine.sim.rng import Stream

MIN_TICK_US = 1_000
MAX_RECORDS_PER_TICK = 500
"""A tenth of a second at the highest rate: a process that was paused for an hour does not wake up with an hour's records."""

_FILLER = b"abcdefghijklmnopqrstuvwxyz" * 400


class WorkloadTimer(Timer, frozen=True, gc=False, tag=True):
    """The workload's next records are due."""

    workload: str


@dataclass(slots=True)
class Workload:
    """``scheduled`` counts since ``began_us`` (which moves when the stream was held up), ``sent`` from the very start. ``blocked``
    records wait inside ``send``. ``in_transaction`` of the ``transaction_records`` have been sent in the transaction that is open."""

    name: str
    topic: str
    records_per_second: int
    keys: int
    value_bytes: int
    skew_percent: int
    limit: int
    first_record_id: int
    began_us: int
    scheduled: int = 0
    sent: int = 0
    blocked: int = 0
    running: bool = True
    transaction_records: int = 0
    in_transaction: int = 0

    @property
    def finished(self) -> bool:
        return bool(self.limit) and self.sent >= self.limit

    def due(self, now: int) -> int:
        """How many records to send now."""
        if self.blocked:
            self.hold(now)
            return 0
        count = 1 + (now - self.began_us) * self.records_per_second // 1_000_000 - self.scheduled
        if count > MAX_RECORDS_PER_TICK:
            count = MAX_RECORDS_PER_TICK
            self.began_us, self.scheduled = now, 1 - count
        if self.limit:
            count = min(count, self.limit - self.sent)
        self.scheduled += count
        return count

    def hold(self, now: int) -> None:
        """The application waits; its schedule begins anew."""
        self.began_us, self.scheduled = now, 1

    def next_tick_us(self, now: int) -> int:
        """Microseconds from ``now`` until the next record is due, at least a millisecond."""
        due_us = self.began_us - -self.scheduled * 1_000_000 // self.records_per_second
        return max(due_us - now, MIN_TICK_US)

    def make(self, stream: Stream) -> tuple[int, bytes | None, bytes]:
        """(record id, key, value) of the next record. The value begins with the id, so that values are unique where they are long
        enough for it."""
        record_id = self.first_record_id + self.sent
        self.sent += 1
        key: bytes | None = None
        if self.keys:
            first = self.skew_percent and stream.below(100) < self.skew_percent
            key = b"key-%d" % (0 if first else stream.below(self.keys))
        number = b"%d" % record_id
        if self.value_bytes <= len(number):
            return record_id, key, number[-self.value_bytes :]
        return record_id, key, (number + b":" + _FILLER)[: self.value_bytes]


def workload_of(instruction: StartWorkload, now: int) -> Workload:
    return Workload(
        instruction.workload, instruction.topic, instruction.records_per_second, instruction.keys, instruction.value_bytes,
        instruction.skew_percent, instruction.limit, instruction.first_record_id, now,
        transaction_records=instruction.transaction_records,
    )  # fmt: skip
