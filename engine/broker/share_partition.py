"""A share partition at its leader: which of a partition's records a share group has in flight, and in what state (KIP-932).

Kafka's ``SharePartition``, record by record instead of batch by batch. A record goes from available to acquired when it is fetched; its
acknowledgement makes it acknowledged, archived or available again, and so does the end of its lock. The start offset (SPSO) follows what
is settled for good; the end offset (SPEO) is the last that was fetched. Nothing here sends, writes or waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from engine.messages.base import TopicPartition
from engine.messages.share_groups import AcquiredRecords, StateBatch

AVAILABLE, ACQUIRED, ACKNOWLEDGED, ARCHIVED = "available", "acquired", "acknowledged", "archived"
SETTLED = (ACKNOWLEDGED, ARCHIVED)
TRANSITIONS: dict[str, tuple[str, ...]] = {
    AVAILABLE: (ACQUIRED, ARCHIVED),
    ACQUIRED: (AVAILABLE, ACKNOWLEDGED, ARCHIVED),
    ACKNOWLEDGED: (),
    ARCHIVED: (),
}
"""``RecordState``: from each state the next ones. An available record is archived when the log no longer has it."""
ACCEPT, RELEASE, REJECT, RENEW, GAP = "accept", "release", "reject", "renew", "gap"


class InFlight(msgspec.Struct, frozen=True, gc=False):
    """One record. ``member_id`` and ``deadline_us`` while it is acquired; ``pending``: its acknowledgement is being made durable."""

    state: str
    deliveries: int
    member_id: str = ""
    deadline_us: int = 0
    pending: bool = False


class Change(msgspec.Struct, frozen=True, gc=False):
    """What a record is to become."""

    offset: int
    record: InFlight


@dataclass(slots=True)
class ShareWrite:
    """Changes on their way to the share coordinator. ``client`` and ``correlation_id``: the request that waits, or "" for none."""

    changes: tuple[Change, ...]
    client: str = ""
    correlation_id: int = -1


@dataclass(slots=True)
class SharePartition:
    """``records`` ascend by offset. ``active``: its state has been read. ``holes``: below ``end_offset`` something may be available.
    ``gaps``: (first, last) offsets from the start on that the log does not have, since the cleaner has been there."""

    group_id: str
    partition: TopicPartition
    topic_id: str
    leader_epoch: int
    active: bool = False
    state_epoch: int = 0
    start_offset: int = -1
    end_offset: int = -1
    records: dict[int, InFlight] = field(default_factory=dict)
    holes: bool = False
    gaps: list[tuple[int, int]] = field(default_factory=list)
    lock_timer_us: int = 0
    writes: dict[int, ShareWrite] = field(default_factory=dict)

    def activate(self, state_epoch: int, start_offset: int, batches: Sequence[StateBatch]) -> None:
        """With what the share coordinator has; what was acquired when it was written is available again."""
        self.active, self.state_epoch = True, state_epoch
        self.start_offset, self.end_offset = start_offset, start_offset - 1
        for batch in batches:
            for offset in range(max(batch.first_offset, start_offset), batch.last_offset + 1):
                self.records[offset] = InFlight(batch.state, batch.delivery_count)
        if self.records:
            self.end_offset = next(reversed(self.records))
            self.holes = True
        self.advance_start()

    # -- fetching

    def next_fetch_offset(self) -> int:
        """The first record that is available, or else the first that was never fetched."""
        if self.holes:
            expected = self._behind_gaps(self.start_offset)
            for offset, record in self.records.items():
                if offset > expected:
                    return expected
                if record.state == AVAILABLE:
                    return offset
                expected = self._behind_gaps(offset + 1)
            self.holes = False
        return self.end_offset + 1

    def is_full(self, max_record_locks: int) -> bool:
        """Only what was in flight before may be fetched again."""
        return self.end_offset - self.start_offset + 1 >= max_record_locks and self.next_fetch_offset() > self.end_offset

    def log_start_moved(self, log_start_offset: int) -> None:
        """Records were deleted: whatever has become of them, nobody gets them any more."""
        if log_start_offset > self.start_offset:
            self.start_offset = log_start_offset
            for offset in [offset for offset in self.records if offset < log_start_offset]:
                del self.records[offset]
            self.end_offset = max(self.end_offset, log_start_offset - 1)

    def note_gaps(self, offset: int, spans: Sequence[tuple[int, int]]) -> None:
        """Read from ``offset`` on, the log has batches of these first and last offsets, and nothing in between: what the cleaner has taken
        away nobody gets any more."""
        expected = max(offset, self.start_offset)
        for first, last in spans:
            if first > expected:
                known = [at for at in self.records if expected <= at < first]
                for at in known:
                    if self.records[at].state == AVAILABLE:
                        self.records[at] = InFlight(ARCHIVED, self.records[at].deliveries)
                for before, after in zip((expected - 1, *known), (*known, first), strict=True):
                    if after > before + 1 and (before + 1, after - 1) not in self.gaps:
                        self.gaps.append((before + 1, after - 1))
            expected = max(expected, last + 1)

    def _behind_gaps(self, offset: int) -> int:
        for first, last in sorted(self.gaps) if self.gaps else ():
            if first <= offset <= last:
                offset = last + 1
        return offset

    def acquire(
        self,
        member_id: str,
        spans: Sequence[tuple[int, int]],
        max_records: int,
        max_record_locks: int,
        deadline_us: int,
        skipped: Sequence[tuple[int, int]] = (),
    ) -> list[AcquiredRecords]:
        """``spans``: first and last offset of the fetched batches. Whole batches, until there are enough; ``skipped``: batches of aborted
        transactions, which are archived."""
        records, found, count = self.records, [], 0
        appended = True
        for first, last in spans:
            if count >= max_records:
                break
            aborted = (first, last) in skipped
            run_first, run_deliveries = -1, 0
            for offset in range(max(first, self.start_offset), last + 1):
                known = records.get(offset)
                if known is None:
                    if offset > self.end_offset and offset - self.start_offset >= max_record_locks and count:
                        break
                    appended = appended and offset > self.end_offset
                    deliveries = 1
                elif known.state == AVAILABLE:
                    deliveries = known.deliveries + 1
                else:
                    deliveries = 0
                if deliveries and aborted:
                    records[offset], deliveries = InFlight(ARCHIVED, deliveries - 1), 0
                if deliveries:
                    records[offset] = InFlight(ACQUIRED, deliveries, member_id, deadline_us)
                    count += 1
                if deliveries != run_deliveries:
                    if run_deliveries:
                        found.append(AcquiredRecords(run_first, offset - 1, run_deliveries))
                    run_first, run_deliveries = offset, deliveries
                self.end_offset = max(self.end_offset, offset)
            else:
                if run_deliveries:
                    found.append(AcquiredRecords(run_first, last, run_deliveries))
                continue
            if run_deliveries:
                found.append(AcquiredRecords(run_first, offset - 1, run_deliveries))
            break
        if not appended:
            self.records = dict(sorted(records.items()))
        return found

    # -- acknowledging

    def acknowledge(
        self, member_id: str, items: Sequence[tuple[int, int, str]], delivery_limit: int, deadline_us: int
    ) -> tuple[str, list[Change]]:
        """(error, changes): all of them or none. ``items``: (first offset, last offset, kind). Renewed records need no writing."""
        changes: list[Change] = []
        for first, last, kind in items:
            if kind not in _KINDS:
                return "INVALID_REQUEST", []
            if last > self.end_offset:
                return "INVALID_REQUEST", []  # past what was ever acquired
            for offset in range(max(first, self.start_offset), last + 1):
                known = self.records.get(offset)
                if known is None or known.state != ACQUIRED or known.member_id != member_id or known.pending:
                    return "INVALID_RECORD_STATE", []
                changes.append(Change(offset, _KINDS[kind](known, delivery_limit, deadline_us)))
        return "NONE", changes

    def release_all(self, member_id: str, delivery_limit: int) -> list[Change]:
        """Of a member that is gone."""
        return [
            Change(offset, _released(known, delivery_limit, 0))
            for offset, known in self.records.items()
            if known.state == ACQUIRED and known.member_id == member_id and not known.pending
        ]

    def expired(self, now_us: int, delivery_limit: int) -> list[Change]:
        """Whose lock is over."""
        return [
            Change(offset, _released(known, delivery_limit, 0))
            for offset, known in self.records.items()
            if known.state == ACQUIRED and not known.pending and known.deadline_us <= now_us
        ]

    def next_deadline_us(self) -> int:
        """0: nothing is acquired."""
        return min([r.deadline_us for r in self.records.values() if r.state == ACQUIRED and not r.pending], default=0)

    def begin(self, changes: Sequence[Change]) -> None:
        """They are being written: until that is known, nobody else may touch these records."""
        for change in changes:
            self.records[change.offset] = msgspec.structs.replace(self.records[change.offset], pending=True)

    def complete(self, changes: Sequence[Change], durable: bool) -> None:
        """They are written, or are not and everything is as before."""
        for change in changes:
            known = self.records.get(change.offset)
            if known is not None and known.pending:
                self.records[change.offset] = change.record if durable else msgspec.structs.replace(known, pending=False)
        if durable:
            self._note(changes)

    def apply(self, changes: Sequence[Change]) -> None:
        """At once, whether it becomes durable or not."""
        for change in changes:
            self.records[change.offset] = change.record
        self._note(changes)

    def _note(self, changes: Sequence[Change]) -> None:
        if any(change.record.state == AVAILABLE for change in changes):
            self.holes = True
        self.advance_start()

    def advance_start(self) -> None:
        """Behind everything that is settled for good (``maybeUpdateCachedStateAndOffsets``)."""
        settled: list[int] = []
        expected = self._behind_gaps(self.start_offset)
        for offset, record in self.records.items():
            if offset != expected or record.state not in SETTLED or record.pending:
                break
            settled.append(offset)
            expected = self._behind_gaps(offset + 1)
        for offset in settled:
            del self.records[offset]
        self.start_offset = expected
        self.end_offset = max(self.end_offset, expected - 1)
        if self.gaps:
            self.gaps = [gap for gap in self.gaps if gap[1] >= expected]


def _accepted(known: InFlight, delivery_limit: int, deadline_us: int) -> InFlight:
    return InFlight(ACKNOWLEDGED, known.deliveries)


def _released(known: InFlight, delivery_limit: int, deadline_us: int) -> InFlight:
    """Once more for somebody, unless it was delivered often enough."""
    return InFlight(ARCHIVED if known.deliveries >= delivery_limit else AVAILABLE, known.deliveries)


def _rejected(known: InFlight, delivery_limit: int, deadline_us: int) -> InFlight:
    return InFlight(ARCHIVED, known.deliveries)


def _renewed(known: InFlight, delivery_limit: int, deadline_us: int) -> InFlight:
    return msgspec.structs.replace(known, deadline_us=deadline_us)


_KINDS = {ACCEPT: _accepted, RELEASE: _released, REJECT: _rejected, GAP: _rejected, RENEW: _renewed}


def state_batches(changes: Sequence[Change]) -> tuple[StateBatch, ...]:
    """As the share coordinator keeps them: runs of records with the same state and delivery count."""
    found: list[StateBatch] = []
    for change in sorted(changes, key=lambda change: change.offset):
        record, last = change.record, found[-1] if found else None
        if (
            last is not None
            and last.last_offset + 1 == change.offset
            and (last.state, last.delivery_count) == (record.state, record.deliveries)
        ):
            found[-1] = msgspec.structs.replace(last, last_offset=change.offset)
        else:
            found.append(StateBatch(change.offset, change.offset, record.state, record.deliveries))
    return tuple(found)
