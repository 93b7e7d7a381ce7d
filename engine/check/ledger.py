"""The delivery ledger: what became of every record that a producer sent, and which event explains it.

The ledger reads a lab's history and compares it with what the partitions' leaders hold now. It stands above the lab and is no part
of its state: ``update`` brings it up to date, and begins anew when the lab was rewound or went over to another branch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from engine import events as e
from engine.broker.node import BrokerNode
from engine.check.deliveries import Delivered, Deliveries
from engine.events import Event, Happening
from engine.lab import Lab
from engine.limits import MAX_LEDGER_ROWS
from engine.messages.base import TopicPartition
from engine.sim.kernel import Kernel
from engine.spec import broker_name
from engine.view.build import committed_image

IN_FLIGHT, INVISIBLE, ACKNOWLEDGED, DELIVERED = "in flight", "invisible", "acknowledged", "delivered"
DUPLICATED, REORDERED, FAILED, LOST = "duplicated", "reordered", "failed", "lost"
DOUBLED, SKIPPED = "doubled", "skipped"
FATES = (IN_FLIGHT, INVISIBLE, ACKNOWLEDGED, DELIVERED, DOUBLED, SKIPPED, DUPLICATED, REORDERED, FAILED, LOST)
UNCONFIRMED_US = 2_000_000
"""A record sent with acks=0 that no broker has written after this long will not be written any more."""
PAGE = 2_000
MAX_CAUSES = 6


class LogState(NamedTuple):
    """What the current leader of a partition holds. ``epochs``: (epoch, first offset), ascending. ``leader`` -1: nobody answers."""

    leader: int
    leader_epoch: int
    log_start_offset: int
    log_end_offset: int
    high_watermark: int
    epochs: tuple[tuple[int, int], ...]

    def holds(self, offset: int, epoch: int) -> bool:
        """Whether the record that was written at ``offset`` in ``epoch`` is the one that lies there (or lay there until retention)."""
        if offset >= self.log_end_offset:
            return False
        if offset < self.log_start_offset:
            return True
        found = -1
        for known, start in self.epochs:
            if start > offset:
                break
            found = known
        return found == epoch


NOBODY = LogState(-1, -1, 0, 0, 0, ())


def leader_states(kernel: Kernel) -> dict[TopicPartition, LogState]:
    """What the committed leader of each partition holds, where its process runs."""
    states: dict[TopicPartition, LogState] = {}
    for name, topic in committed_image(kernel).topics.items():
        for number, part in topic.partitions.items():
            key = TopicPartition(name, number)
            host = kernel.hosts.get(broker_name(part.leader))
            node = host.node if host is not None else None
            replica = node.partitions.get(key) if isinstance(node, BrokerNode) else None
            if replica is None:
                states[key] = NOBODY
                continue
            log = replica.log
            epochs = tuple(log.leader_epochs.entries)
            states[key] = LogState(
                part.leader, part.leader_epoch, log.log_start_offset, log.log_end_offset, replica.high_watermark, epochs
            )
    return states


class Placement(NamedTuple):
    offset: int
    leader_epoch: int
    event_id: int


@dataclass(slots=True)
class Row:
    """One record. ``partition`` -1 and ``offset`` -1 where it never got one. ``events`` explain the fate, the decisive one last."""

    record_id: int
    producer: str
    topic: str
    partition: int
    key: str | None
    value: str | None
    sent_us: int
    sent_event: int
    acks: int
    order: int
    broker: int = -1
    fate: str = IN_FLIGHT
    offset: int = -1
    leader_epoch: int = -1
    acked_us: int = -1
    acked_event: int = 0
    failed_event: int = 0
    delivered_event: int = 0
    error: str = ""
    in_log: bool = False
    reordered: bool = False
    readers: list[str] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    deliveries: dict[str, list[int]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)


class LedgerRow(msgspec.Struct, frozen=True):
    """A row as it is shown."""

    record_id: int
    producer: str
    topic: str
    partition: int
    key: str | None
    value: str | None
    offset: int
    leader_epoch: int
    sent_us: int
    acked_us: int
    fate: str
    in_log: bool
    error: str
    readers: tuple[str, ...]
    offsets: tuple[int, ...]
    events: tuple[int, ...]
    doubled: tuple[str, ...] = ()
    """The groups whose applications worked on it more than once."""


class Ledger(msgspec.Struct, frozen=True):
    """``totals`` count every record, also those whose rows were folded away to keep within bounds."""

    totals: dict[str, int]
    rows: list[LedgerRow]
    folded: int


@dataclass(slots=True)
class Part:
    """The ledger's account of one partition."""

    rows: list[Row] = field(default_factory=list)
    unsettled: dict[int, Row] = field(default_factory=dict)
    by_offset: dict[tuple[int, int], list[Row]] = field(default_factory=dict)
    seen: LogState = NOBODY
    leader_event: int = 0
    high_watermark: int = 0
    """As the last event told; asked only while there is no leader."""
    cuts: list[tuple[int, int]] = field(default_factory=list)
    """(event, new log end) of the truncations."""
    highest_order: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class LedgerTracker:
    """``cursor`` is the number of the last event read."""

    cursor: int = 0
    branch: int = -1
    now_us: int = -1
    rows: dict[int, Row] = field(default_factory=dict)
    parts: dict[TopicPartition, Part] = field(default_factory=dict)
    batches: dict[tuple[str, int], list[Row]] = field(default_factory=dict)
    requests: dict[tuple[str, int, str, int], tuple[str, int]] = field(default_factory=dict)
    troubles: dict[str, int] = field(default_factory=dict)
    """Node → the last event that broke it or its network."""
    folded: dict[str, int] = field(default_factory=dict)
    orders: int = 0
    deliveries: Deliveries = field(default_factory=Deliveries)

    def update(self, lab: Lab) -> None:
        """Reads what happened since the last time, then looks at what the leaders hold now."""
        if lab.branch != self.branch or lab.now_us < self.now_us:
            self.reset()
        self.branch, self.now_us = lab.branch, lab.now_us
        while True:
            page = lab.history(self.cursor, PAGE)
            for happening in page:
                self.read(happening)
            if page:
                self.cursor = page[-1].id
            if len(page) < PAGE:
                break
        self.judge(leader_states(lab.kernel))
        self._fold()

    def read(self, happening: Happening) -> None:
        """Takes note of one event; events come in order."""
        handler = _HANDLERS.get(type(happening.event))
        if handler is not None:
            handler(self, happening, happening.event)

    def reset(self) -> None:
        fresh = LedgerTracker()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def snapshot(self, limit: int = MAX_LEDGER_ROWS) -> Ledger:
        """Totals, and the newest ``limit`` rows in the order in which they were sent."""
        totals = dict.fromkeys(FATES, 0)
        for fate, count in self.folded.items():
            totals[fate] += count
        for row in self.rows.values():
            totals[row.fate] += 1
        shown = list(self.rows.values())[-limit:] if limit else []
        return Ledger(totals, [_show(row) for row in shown], sum(self.folded.values()))

    # -- judging ----------------------------------------------------------------------------------------------------------

    def judge(self, states: dict[TopicPartition, LogState]) -> None:
        """Gives each open row its fate; where a partition has another leader or lost its end, all its rows are judged anew."""
        for partition, part in self.parts.items():
            state = states.get(partition, NOBODY)
            if state.leader >= 0:
                before = part.seen
                if (
                    state.leader != before.leader
                    or state.leader_epoch != before.leader_epoch
                    or state.log_end_offset < before.log_end_offset
                ):
                    part.unsettled = {row.record_id: row for row in part.rows}
                part.seen = state
            for row in list(part.unsettled.values()):
                self._judge_row(row, part, state)
                if row.fate not in (IN_FLIGHT, INVISIBLE) and (row.acked_us >= 0 or row.failed_event):
                    del part.unsettled[row.record_id]

    def _judge_row(self, row: Row, part: Part, state: LogState) -> None:
        alive = [place for place in row.placements if state.holds(place.offset, place.leader_epoch)]
        high_watermark = state.high_watermark
        if state.leader < 0:  # nobody can be asked: what was written counts as there until a new leader says otherwise
            alive, high_watermark = row.placements, part.high_watermark
        row.in_log = bool(alive)
        if alive:
            row.offset, row.leader_epoch = alive[0].offset, alive[0].leader_epoch
        if row.failed_event and row.acked_us < 0:
            row.fate, row.events = FAILED, [row.sent_event, row.failed_event]
        elif row.acked_us >= 0 and not alive and (row.placements or self._given_up(row)):
            row.fate, row.events = LOST, self._why_lost(row, part)
        elif len({place.offset for place in alive}) > 1:
            row.fate, row.events = DUPLICATED, [place.event_id for place in alive]
        elif alive and (skipped := self.deliveries.skipped(row)):
            row.fate, row.events = SKIPPED, [row.sent_event, *skipped]
        elif alive and (doubled := self.deliveries.doubled(row)):
            row.fate, row.events = DOUBLED, [row.sent_event, *row.deliveries[doubled[0]]]
        elif row.reordered and alive:
            row.fate, row.events = REORDERED, [row.sent_event, alive[0].event_id]
        elif row.readers and alive:
            row.fate, row.events = DELIVERED, [row.sent_event, row.delivered_event]
        elif alive and row.offset >= high_watermark:
            row.fate, row.events = INVISIBLE, [alive[0].event_id]
        elif row.acked_us >= 0 and alive:
            row.fate, row.events = ACKNOWLEDGED, [row.sent_event, row.acked_event]
        else:
            row.fate, row.events = IN_FLIGHT, [row.sent_event]

    def _given_up(self, row: Row) -> bool:
        """acks=0: nobody will tell; a refusal or two silent seconds settle it."""
        return bool(row.error) or self.now_us - row.acked_us > UNCONFIRMED_US

    def _why_lost(self, row: Row, part: Part) -> list[int]:
        why = [row.acked_event]
        if not row.placements:
            why += [number for number in (row.failed_event, self.troubles.get(f"broker-{row.broker}", 0)) if number]
            return why
        last = row.placements[-1]
        if part.leader_event > last.event_id:
            why.append(part.leader_event)
        why += [number for number, end in part.cuts if number > last.event_id and end <= last.offset][: MAX_CAUSES - 2]
        return why

    def _fold(self) -> None:
        """Keeps within the bound: the oldest settled rows (or, if there are none, simply the oldest) go into the totals."""
        if len(self.rows) <= MAX_LEDGER_ROWS:
            return
        excess = len(self.rows) - MAX_LEDGER_ROWS * 9 // 10  # more than needed, so that it is seldom needed
        settled = [row for row in self.rows.values() if row.fate not in (IN_FLIGHT, INVISIBLE)]
        leaving = (settled if len(settled) >= excess else list(self.rows.values()))[:excess]
        gone = {row.record_id for row in leaving}
        for row in leaving:
            self.folded[row.fate] = self.folded.get(row.fate, 0) + 1
            del self.rows[row.record_id]
        for part in self.parts.values():
            part.rows = [row for row in part.rows if row.record_id not in gone]
            part.unsettled = {number: row for number, row in part.unsettled.items() if number not in gone}
            part.by_offset = {
                key: kept for key, rows in part.by_offset.items() if (kept := [r for r in rows if r.record_id not in gone])
            }
        self.batches = {key: kept for key, rows in self.batches.items() if (kept := [r for r in rows if r.record_id not in gone])}
        self.requests = {key: batch for key, batch in self.requests.items() if batch in self.batches}
        self.deliveries.forget(gone)

    def reconsider(self, rows: Iterable[Delivered]) -> None:
        for row in rows:
            known = self.rows.get(row.record_id)
            if known is not None:
                self.part(row.topic, row.partition).unsettled[row.record_id] = known

    def part(self, topic: str, partition: int) -> Part:
        key = TopicPartition(topic, partition)
        part = self.parts.get(key)
        if part is None:
            part = self.parts[key] = Part()
        return part

    def request_rows(self, event: e.RecordsAppended | e.DuplicateRecognised | e.ProduceRefused) -> list[Row]:
        batch = self.requests.get((event.client, event.correlation_id, event.topic, event.partition))
        return self.batches.get(batch, []) if batch is not None else []


def _show(row: Row) -> LedgerRow:
    return LedgerRow(
        row.record_id, row.producer, row.topic, row.partition, row.key, row.value, row.offset, row.leader_epoch, row.sent_us,
        row.acked_us, row.fate, row.in_log, row.error, tuple(row.readers), tuple(place.offset for place in row.placements),
        tuple(row.events), tuple([group for group, events in row.deliveries.items() if len(events) > 1]),
    )  # fmt: skip


# -- what each event tells ------------------------------------------------------------------------------------------------


def _sent(ledger: LedgerTracker, happening: Happening, event: e.ProduceSent) -> None:
    batch = (event.producer, event.batch_id)
    ledger.requests[event.producer, event.correlation_id, event.topic, event.partition] = batch
    if event.attempt > 1 or not event.records:
        for row in ledger.batches.get(batch, ()):
            row.broker = event.broker
        return
    part = ledger.part(event.topic, event.partition)
    rows = ledger.batches[batch] = []
    for record in event.records:
        ledger.orders += 1
        row = Row(
            record.record_id, event.producer, event.topic, event.partition, record.key, record.value, happening.at_us, happening.id,
            event.acks, ledger.orders, event.broker,
        )  # fmt: skip
        rows.append(row)
        part.rows.append(row)
        part.unsettled[row.record_id] = row
        ledger.rows[row.record_id] = row


def _appended(ledger: LedgerTracker, happening: Happening, event: e.RecordsAppended) -> None:
    rows = ledger.request_rows(event)
    part = ledger.part(event.topic, event.partition)
    for offset, row in enumerate(rows, event.first_offset):
        place = Placement(offset, event.leader_epoch, happening.id)
        if not row.placements and row.order < part.highest_order.get(row.producer, 0):
            row.reordered = True
        row.placements.append(place)
        part.by_offset.setdefault((offset, event.leader_epoch), []).append(row)
        part.unsettled[row.record_id] = row
    if rows:
        part.highest_order[rows[0].producer] = max(part.highest_order.get(rows[0].producer, 0), rows[-1].order)


def _refused(ledger: LedgerTracker, happening: Happening, event: e.ProduceRefused) -> None:
    """With acks=0 nobody else will tell of it."""
    for row in ledger.request_rows(event):
        if row.acks == 0 and not row.placements:
            row.error, row.failed_event = event.error, happening.id
            ledger.part(row.topic, row.partition).unsettled[row.record_id] = row


def _acknowledged(ledger: LedgerTracker, happening: Happening, event: e.RecordsAcknowledged) -> None:
    for row in ledger.batches.get((event.producer, event.batch_id), ()):
        row.acked_us, row.acked_event = happening.at_us, happening.id
        ledger.part(row.topic, row.partition).unsettled[row.record_id] = row


def _failed(ledger: LedgerTracker, happening: Happening, event: e.RecordsFailed) -> None:
    for row in ledger.batches.get((event.producer, event.batch_id), ()):
        _fail(ledger, row, happening.id, event.error)


def _fail(ledger: LedgerTracker, row: Row, event_id: int, error: str) -> None:
    row.failed_event, row.error = event_id, error
    ledger.part(row.topic, row.partition).unsettled[row.record_id] = row


def _send_refused(ledger: LedgerTracker, happening: Happening, event: e.SendRefused) -> None:
    ledger.orders += 1
    ledger.rows[event.record_id] = Row(
        event.record_id, event.producer, event.topic, -1, None, None, happening.at_us, happening.id, -1, ledger.orders,
        fate=FAILED, failed_event=happening.id, error=event.error, events=[happening.id],
    )  # fmt: skip


def _consumed(ledger: LedgerTracker, happening: Happening, event: e.RecordsConsumed | e.ShareRecordsDelivered) -> None:
    part = ledger.part(event.topic, event.partition)
    for offset in range(event.first_offset, event.last_offset + 1):
        for row in part.by_offset.get((offset, event.leader_epoch), ()):
            if event.consumer not in row.readers:
                row.readers.append(event.consumer)
            row.delivered_event = row.delivered_event or happening.id
            if isinstance(event, e.RecordsConsumed):
                ledger.deliveries.consumed(event, row, happening.id)
            part.unsettled[row.record_id] = row


def _judged(ledger: LedgerTracker, happening: Happening, event: e.ShareRecordsProcessed) -> None:
    part = ledger.part(event.topic, event.partition)
    for offset in range(event.first_offset, event.last_offset + 1):
        for row in part.by_offset.get((offset, event.leader_epoch), ()):
            ledger.deliveries.judged(event, row, happening.id)
            part.unsettled[row.record_id] = row


def _processed(ledger: LedgerTracker, happening: Happening, event: e.RecordsProcessed) -> None:
    part = ledger.part(event.topic, event.partition)
    for offset in range(event.first_offset, event.last_offset + 1):
        for row in part.by_offset.get((offset, event.leader_epoch), ()):
            ledger.deliveries.processed(event, row, happening.id)
            part.unsettled[row.record_id] = row


def _committed(ledger: LedgerTracker, happening: Happening, event: e.CommitCompleted) -> None:
    ledger.reconsider(ledger.deliveries.committed_to(event, happening.id))


def _truncated(ledger: LedgerTracker, happening: Happening, event: e.ReplicaTruncated) -> None:
    ledger.part(event.topic, event.partition).cuts.append((happening.id, event.to_offset))


def _high_watermark(ledger: LedgerTracker, happening: Happening, event: e.HighWatermarkAdvanced) -> None:
    ledger.part(event.topic, event.partition).high_watermark = event.new


def _leader_changed(ledger: LedgerTracker, happening: Happening, event: e.LeaderChanged) -> None:
    ledger.part(event.topic, event.partition).leader_event = happening.id


def _process_ended(ledger: LedgerTracker, happening: Happening, event: e.NodeKilled | e.NodeStopped | e.PowerLost) -> None:
    """A producer that dies takes its unconfirmed records' callbacks with it."""
    ledger.troubles[event.name] = happening.id
    if event.name.startswith(("broker-", "controller-")):
        return
    ledger.reconsider(ledger.deliveries.ended(event.name, happening.id))
    for (producer, _), rows in ledger.batches.items():
        if producer == event.name:
            for row in rows:
                if row.acked_us < 0 and not row.failed_event:
                    _fail(ledger, row, happening.id, "the producer ended")


def _paused(ledger: LedgerTracker, happening: Happening, event: e.NodePaused) -> None:
    ledger.troubles[event.name] = happening.id


def _link_trouble(ledger: LedgerTracker, happening: Happening, event: e.NetworkCut | e.NetworkDegraded | e.MessageLost) -> None:
    ledger.troubles[event.target] = happening.id


_HANDLERS: dict[type[Event], Callable[[LedgerTracker, Happening, Any], None]] = {
    e.ProduceSent: _sent,
    e.RecordsAppended: _appended,
    e.ProduceRefused: _refused,
    e.RecordsAcknowledged: _acknowledged,
    e.RecordsFailed: _failed,
    e.SendRefused: _send_refused,
    e.RecordsConsumed: _consumed,
    e.RecordsProcessed: _processed,
    e.ShareRecordsDelivered: _consumed,
    e.ShareRecordsProcessed: _judged,
    e.CommitCompleted: _committed,
    e.PartitionsAssigned: lambda ledger, happening, event: ledger.deliveries.assigned(event),
    e.ProcessingSet: lambda ledger, happening, event: ledger.deliveries.paced(event),
    e.ReplicaTruncated: _truncated,
    e.HighWatermarkAdvanced: _high_watermark,
    e.LeaderChanged: _leader_changed,
    e.NodeKilled: _process_ended,
    e.NodeStopped: _process_ended,
    e.PowerLost: _process_ended,
    e.NodePaused: _paused,
    e.NetworkCut: _link_trouble,
    e.NetworkDegraded: _link_trouble,
    e.MessageLost: _link_trouble,
}
