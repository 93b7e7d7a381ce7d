"""What the oracle knows to be committed in one partition: every batch as it was first committed, and what follows from that.

It is an account of its own, kept from the bytes alone: which transactions were open where, what each offset held before a cleaner came,
which is the latest record of a key. What the nodes say is compared with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from engine.log.record_batch import ControlRecordType, Record, decode, read_end_txn_marker, read_header

TRANSACTIONAL, CONTROL, ATTRIBUTES = 0x10, 0x20, 22
"""Bits, and the byte in a batch that has them."""


@dataclass(slots=True)
class Transaction:
    """In one partition. ``marker`` -1 while it is open; ``places``: the (first, last) offsets of its batches."""

    producer_id: int
    producer_epoch: int
    first_offset: int
    places: list[tuple[int, int]] = field(default_factory=list)
    marker: int = -1
    committed: bool = False


@dataclass(slots=True)
class Committed:
    """``batches``: base offset → bytes. ``licences``: why a loss would be excused. ``tainted``: brokers whose disk may lack what they
    once held, with the broker epoch that they had then; such a one is clean again once it has registered anew and has left ISR and ELR,
    and so has to copy everything before it counts. ``ended`` transactions are in the order of their markers. ``epochs``: the newest of each
    transactional producer; ``zombie``: what one wrote in an older epoch."""

    high_watermark: int = 0
    batches: dict[int, bytes] = field(default_factory=dict)
    last_base: int = -1
    licences: set[str] = field(default_factory=set)
    tainted: dict[int, int] = field(default_factory=dict)
    open: dict[int, Transaction] = field(default_factory=dict)
    ended: list[Transaction] = field(default_factory=list)
    epochs: dict[int, int] = field(default_factory=dict)
    zombie: str = ""
    decoded: dict[int, Record] = field(default_factory=dict)
    decoded_bases: set[int] = field(default_factory=set)

    def extend(self, batches: Iterable[bytes], high_watermark: int) -> None:
        """The high watermark has passed these batches."""
        for batch in batches:
            base = int.from_bytes(batch[:8], "big")
            self.batches[base] = batch
            self.last_base = base
            if batch[ATTRIBUTES] & (TRANSACTIONAL | CONTROL):
                self._follow_transaction(batch)
        self.high_watermark = high_watermark

    def _follow_transaction(self, batch: bytes) -> None:
        header = read_header(batch)
        if header.producer_epoch < self.epochs.get(header.producer_id, -1):
            self.zombie = f"offset {header.base_offset} is of producer {header.producer_id} in epoch {header.producer_epoch}"
        self.epochs[header.producer_id] = header.producer_epoch
        if header.is_control_batch:
            marker = read_end_txn_marker(batch)
            transaction = self.open.pop(header.producer_id, None)
            if marker is not None and transaction is not None:
                transaction.marker = header.base_offset
                transaction.committed = marker.type == ControlRecordType.COMMIT
                self.ended.append(transaction)
        else:
            transaction = self.open.get(header.producer_id)
            if transaction is None:
                transaction = self.open[header.producer_id] = Transaction(
                    header.producer_id, header.producer_epoch, header.base_offset
                )
            transaction.places.append((header.base_offset, header.last_offset))

    def last_stable_offset(self, high_watermark: int, but_for: Collection[int] = ()) -> int:
        """Fact 37, for a replica whose own high watermark is this: min(HW, first transaction that is open or whose marker is not below
        the HW). ``but_for``: producer IDs whose transactions do not count."""
        stable = high_watermark
        for transaction in self.open.values():
            if transaction.producer_id not in but_for:
                stable = min(stable, transaction.first_offset)
        for transaction in reversed(self.ended):
            if transaction.marker < high_watermark:
                break
            if transaction.producer_id not in but_for:
                stable = min(stable, transaction.first_offset)
        return stable

    def hidden(self) -> set[int]:
        """The offsets that no read_committed reader may ever see: of aborted transactions, and of those that are still open."""
        found: set[int] = set()
        for transaction in (*self.ended, *self.open.values()):
            if not transaction.committed:
                for first, last in transaction.places:
                    found.update(range(first, last + 1))
        return found

    def records(self) -> dict[int, Record]:
        """Every data record that was ever committed, by offset."""
        for base, batch in self.batches.items():
            if base not in self.decoded_bases:
                self.decoded_bases.add(base)
                if not batch[ATTRIBUTES] & CONTROL:
                    for record in decode(batch):
                        self.decoded[record.offset] = record
        return self.decoded

    def latest_offsets(self) -> dict[bytes, int]:
        """Key → the offset of its latest record that counts (an aborted one supersedes nothing)."""
        hidden = self.hidden()
        return {record.key: offset for offset, record in self.records().items() if record.key is not None and offset not in hidden}

    def agrees(self, batch: bytes) -> bool:
        """Whether these bytes are what was committed there, or what a cleaner may leave of it: some of the records, each at its own
        offset."""
        base = int.from_bytes(batch[:8], "big")
        if self.batches.get(base) == batch:
            return True
        header = read_header(batch)
        if header.is_control_batch:
            return base in self.batches and bool(self.batches[base][ATTRIBUTES] & CONTROL)
        known = self.records()
        return all(known.get(record.offset) == record for record in decode(batch))
