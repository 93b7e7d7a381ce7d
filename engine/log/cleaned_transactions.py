"""Which transactions the cleaner is in the middle of, as it walks through a log: Kafka's ``CleanedTransactionMetadata``.

Records of an aborted transaction are dropped whatever their keys. A marker must outlive the records that it decides:
it may go only once none of them is left, and then, like a tombstone, after a delete horizon, so that a consumer that
has read the records also meets the marker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from engine.log.producer_state import AbortedTxn
from engine.log.record_batch import TRANSACTIONAL_MASK, ControlRecordType, read_end_txn_marker
from engine.log.segment import BatchEntry


class OngoingAbort(NamedTuple):
    """``observed``: at least one batch of its records is still there."""

    txn: AbortedTxn
    observed: bool


class MarkerFate(NamedTuple):
    """``retained``: the entry that the new segment's transaction index must keep with the marker."""

    discardable: bool
    retained: AbortedTxn | None = None


@dataclass(slots=True)
class CleanedTransactions:
    """``upcoming`` is a heap of aborted transactions by first offset; the two others are the producers whose
    transaction the walk is inside of.
    """

    upcoming: list[tuple[int, AbortedTxn]] = field(default_factory=list)
    aborted: dict[int, OngoingAbort] = field(default_factory=dict)
    committed: dict[int, bool] = field(default_factory=dict)

    def add_aborted(self, found: list[AbortedTxn]) -> None:
        """What the transaction indexes say about the segment that comes next; saying it twice does no harm."""
        for txn in found:
            heappush(self.upcoming, (txn.first_offset, txn))

    def _begin_up_to(self, offset: int) -> None:
        while self.upcoming and self.upcoming[0][0] <= offset:
            txn = heappop(self.upcoming)[1]
            self.aborted.setdefault(txn.producer_id, OngoingAbort(txn, False))

    def on_batch(self, entry: BatchEntry) -> bool:
        """A data batch is read; True where it belongs to an aborted transaction."""
        self._begin_up_to(entry.last_offset)
        if not entry.attributes & TRANSACTIONAL_MASK:
            return False
        ongoing = self.aborted.get(entry.producer_id)
        if ongoing is None:
            self.committed[entry.producer_id] = True
            return False
        if not ongoing.observed:
            self.aborted[entry.producer_id] = OngoingAbort(ongoing.txn, True)
        return True

    def on_marker(self, entry: BatchEntry) -> MarkerFate:
        """A control batch is read. One that was emptied before may go."""
        self._begin_up_to(entry.last_offset)
        if not entry.record_count:
            return MarkerFate(True)
        marker = read_end_txn_marker(entry.data)
        if marker is None:
            return MarkerFate(False)
        if marker.type is ControlRecordType.COMMIT:
            return MarkerFate(not self.committed.pop(entry.producer_id, False))
        ongoing = self.aborted.pop(entry.producer_id, None)
        if ongoing is not None and ongoing.observed:
            return MarkerFate(False, ongoing.txn)
        return MarkerFate(True)
