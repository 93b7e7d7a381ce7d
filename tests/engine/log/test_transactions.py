"""Transactions in one log: the last stable offset, the aborted-transaction index and the verification guard, against a model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.log.config import LogConfig
from engine.log.errors import LogError
from engine.log.log_validator import AppendOrigin
from engine.log.partition_log import PartitionLog
from engine.log.producer_state import NO_GUARD
from engine.log.record_batch import ControlRecordType, build_end_txn_marker, decode, read_end_txn_marker, read_header
from tests.engine.log.helpers import NOW, batch, new_log, reopen

PRODUCERS = 3


def refused(call) -> str:
    with pytest.raises(LogError) as caught:
        call()
    return caught.value.code


class Model:
    """Each entry is (producer or -1, "data" | "commit" | "abort"), one per offset; transactions v2: a new epoch after each marker."""

    def __init__(self, segment_bytes: int = 1 << 20) -> None:
        self.log, self.disk = new_log(LogConfig(segment_bytes=segment_bytes))
        self.entries: list[tuple[int, str]] = []
        self.high_watermark = 0
        self.epochs = [0] * PRODUCERS
        self.sequences = [0] * PRODUCERS

    def write(self, producer: int, count: int) -> None:
        values = [b"%d" % (len(self.entries) + n) for n in range(count)]
        triple = (producer, self.epochs[producer], self.sequences[producer])
        self.log.append_as_leader(batch(*values, producer=triple, transactional=True), 0, NOW, self.disk)
        self.sequences[producer] += count
        self.entries += [(producer, "data")] * count

    def plain(self, count: int) -> None:
        values = [b"%d" % (len(self.entries) + n) for n in range(count)]
        self.log.append_as_leader(batch(*values), 0, NOW, self.disk)
        self.entries += [(-1, "data")] * count

    def end(self, producer: int, committed: bool) -> None:
        self.epochs[producer] += 1
        self.sequences[producer] = 0
        marker = build_end_txn_marker(
            ControlRecordType(committed), producer_id=producer, producer_epoch=self.epochs[producer], coordinator_epoch=0,
            timestamp_ms=NOW,
        )  # fmt: skip
        self.log.append_as_leader(marker, 0, NOW, self.disk, AppendOrigin.COORDINATOR, transaction_version=2)
        self.entries.append((producer, "commit" if committed else "abort"))

    def advance(self, steps: int) -> None:
        """Followers hold whole batches."""
        ends = [header.last_offset + 1 for header in self.headers()]
        self.high_watermark = min((end for end in ends if end >= self.high_watermark + steps), default=len(self.entries))
        self.log.producer_state.on_high_watermark(self.high_watermark)

    def truncate(self, back: int) -> None:
        """What was written above the high watermark may vanish; a real leader's producers would then have to be told."""
        target = max(self.high_watermark, len(self.entries) - back)
        if len(self.log.segments) > 1:
            self.advance(len(self.entries))
        whole = [header.base_offset for header in self.headers() if header.last_offset >= target]
        target = min(whole, default=target)
        if target >= self.high_watermark:
            self.log.truncate_to(target, self.disk)
            del self.entries[target:]
            self.resume()

    def reopen(self, clean: bool) -> None:
        """A snapshot of the producers, taken at a clean stop or a roll, knows open transactions but not those that have ended with a
        marker that is not replicated yet: Kafka forgets those, and so do we."""
        if clean or len(self.log.segments) > 1:
            self.advance(len(self.entries))
        if clean:
            self.log.close_clean(self.disk)
        self.log = reopen(self.log, self.disk, clean=clean)

    def resume(self) -> None:
        for producer in range(PRODUCERS):
            entry = self.log.producer_state.producers.get(producer)
            if entry is not None:
                self.epochs[producer] = entry.producer_epoch
                self.sequences[producer] = entry.last_sequence + 1 if entry.batches else 0
            else:
                self.epochs[producer] += 1
                self.sequences[producer] = 0

    def headers(self):
        return [read_header(entry.data) for segment in self.log.segments for entry in segment.batches]

    # What should be

    def transactions(self) -> list[tuple[int, int, int, str]]:
        """(producer, first offset, marker's offset or -1, outcome)."""
        found: list[tuple[int, int, int, str]] = []
        begun: dict[int, int] = {}
        for offset, (producer, kind) in enumerate(self.entries):
            if producer >= 0 and kind == "data":
                begun.setdefault(producer, offset)
            elif producer in begun:
                found.append((producer, begun.pop(producer), offset, kind))
        return found + [(producer, first, -1, "open") for producer, first in begun.items()]

    def stable(self) -> int:
        held = [first for _, first, marker, _ in self.transactions() if marker < 0 or marker >= self.high_watermark]
        return min([self.high_watermark, *held])

    def committed(self) -> list[int]:
        hidden = {
            offset
            for producer, first, marker, outcome in self.transactions()
            if outcome != "commit"
            for offset in range(first, len(self.entries) if marker < 0 else marker)
            if self.entries[offset] == (producer, "data")
        }
        return [n for n in range(self.stable()) if self.entries[n][1] == "data" and n not in hidden]


def read_committed(log: PartitionLog, start: int, stable: int, max_bytes: int) -> list[int]:
    """The Java consumer's ``FetchCollector`` over one fetch after the other."""
    found: list[int] = []
    while start < stable:
        batches = log.read(start, max_bytes, stable)
        if not batches:
            break
        end = read_header(batches[-1]).last_offset + 1
        aborted = sorted(log.aborted_txns(start, end), key=lambda txn: txn.first_offset)
        dropped: set[int] = set()
        for data in batches:
            header = read_header(data)
            while aborted and aborted[0].first_offset <= header.last_offset:
                dropped.add(aborted.pop(0).producer_id)
            if header.is_control_batch:
                marker = read_end_txn_marker(data)
                if marker is not None and marker.type is ControlRecordType.ABORT:
                    dropped.discard(header.producer_id)
            elif not (header.is_transactional and header.producer_id in dropped):
                found += [int(record.value or b"-1") for record in decode(data) if record.offset >= start]
        start = end
    return found


STEP = st.one_of(
    st.tuples(st.just("write"), st.integers(0, PRODUCERS - 1), st.integers(1, 3)),
    st.tuples(st.just("plain"), st.integers(1, 2)),
    st.tuples(st.just("end"), st.integers(0, PRODUCERS - 1), st.booleans()),
    st.tuples(st.just("advance"), st.integers(1, 6)),
    st.tuples(st.just("truncate"), st.integers(1, 4)),
    st.tuples(st.just("reopen"), st.booleans()),
)


@given(st.lists(STEP, max_size=50), st.integers(1, 400), st.sampled_from([700, 1 << 20]))
@settings(max_examples=150, deadline=None)
def test_fact_37_the_last_stable_offset_and_what_read_committed_sees(steps, max_bytes, segment_bytes) -> None:
    model = Model(segment_bytes)
    for name, *arguments in steps:
        getattr(model, name)(*arguments)
        stable = model.log.last_stable_offset(model.high_watermark)
        assert stable == model.stable()
        assert stable <= model.high_watermark <= model.log.log_end_offset == len(model.entries)
        assert read_committed(model.log, 0, stable, max_bytes) == model.committed()
    if model.entries:
        middle = len(model.entries) // 2
        stable = model.stable()
        assert read_committed(model.log, middle, stable, max_bytes) == [n for n in model.committed() if n >= middle]


def test_fact_37_a_look_at_the_last_stable_offset_changes_nothing() -> None:
    model = Model()
    model.write(0, 2)
    model.end(0, True)
    model.advance(2)
    assert model.log.last_stable_offset(3) == 3
    assert model.log.last_stable_offset(2) == 0  # as if nobody had asked before


def test_a_follower_that_is_given_the_batches_knows_the_same() -> None:
    model = Model()
    model.write(0, 1)
    model.write(1, 2)
    model.end(0, False)
    model.plain(1)
    follower, disk = new_log()
    for segment in model.log.segments:
        for entry in segment.batches:
            follower.append_as_follower(entry.data, disk, NOW)
    assert follower.producer_state.producers == model.log.producer_state.producers
    assert follower.last_stable_offset(5) == model.log.last_stable_offset(5) == 1
    assert follower.aborted_txns(0, 5) == model.log.aborted_txns(0, 5)
    assert [txn[:3] for txn in follower.aborted_txns(0, 5)] == [(0, 0, 3)]


# -- KIP-890 ---------------------------------------------------------------------------------------------------------------------


class Verified:
    """A leader's log and one producer with ID 7 whose batches must show a guard."""

    def __init__(self) -> None:
        self.log, self.disk = new_log()

    def ask(self, epoch: int, sequence: int) -> int:
        return self.log.producer_state.start_verification(7, epoch, sequence)

    def data(self, epoch: int, sequence: int) -> bytes:
        return batch(b"v", producer=(7, epoch, sequence), transactional=True)

    def write(self, epoch: int, sequence: int, guard: int) -> int:
        return self.log.append_as_leader(self.data(epoch, sequence), 0, NOW, self.disk, guard=guard).first_offset

    def mark(self, epoch: int, version: int = 2) -> int:
        marker = build_end_txn_marker(
            ControlRecordType.ABORT, producer_id=7, producer_epoch=epoch, coordinator_epoch=0, timestamp_ms=NOW
        )
        origin = AppendOrigin.COORDINATOR
        return self.log.append_as_leader(marker, 0, NOW, self.disk, origin, transaction_version=version).first_offset


def test_fact_36_a_batch_that_nobody_confirmed_begins_no_transaction() -> None:
    leader = Verified()
    assert refused(lambda: leader.write(0, 0, NO_GUARD)) == "INVALID_TXN_STATE"
    guard = leader.ask(0, 0)
    assert refused(lambda: leader.write(0, 0, guard + 1)) == "INVALID_TXN_STATE"
    assert leader.write(0, 0, guard) == 0
    assert leader.ask(0, 1) == NO_GUARD
    assert leader.write(0, 1, NO_GUARD) == 1  # the transaction has records here: no further questions


def test_fact_36_a_marker_voids_the_guard_so_that_a_late_batch_hangs_nothing() -> None:
    leader = Verified()
    guard = leader.ask(0, 0)
    leader.mark(1)
    assert refused(lambda: leader.write(0, 0, guard)) == "INVALID_PRODUCER_EPOCH"
    assert refused(lambda: leader.write(1, 0, guard)) == "INVALID_TXN_STATE"
    assert leader.log.last_stable_offset(1) == 1


def test_fact_36_the_marker_of_the_last_transaction_leaves_the_next_ones_guard_alone() -> None:
    leader = Verified()
    leader.write(0, 0, leader.ask(0, 0))
    guard = leader.ask(1, 0)
    leader.mark(1)
    assert leader.write(1, 0, guard) == 2


def test_a_later_batch_waits_for_the_earlier_one_that_is_still_to_be_confirmed() -> None:
    leader = Verified()
    guard = leader.ask(0, 0)
    assert leader.ask(0, 1) == guard
    assert refused(lambda: leader.write(0, 1, guard)) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    leader.write(0, 0, guard)
    leader.write(0, 1, guard)


def test_fact_36_a_marker_of_transactions_v2_has_a_newer_epoch_or_repeats_the_last_one() -> None:
    leader = Verified()
    leader.write(3, 0, leader.ask(3, 0))
    assert refused(lambda: leader.mark(3)) == "INVALID_PRODUCER_EPOCH"
    assert leader.mark(4) == 1
    assert leader.mark(4) == 2  # the coordinator had no answer and writes it again
    assert refused(lambda: leader.mark(3)) == "INVALID_PRODUCER_EPOCH"
    leader.write(4, 0, leader.ask(4, 0))
    assert leader.mark(4, version=0) == 4  # an administrator aborts with the epoch of the records


def test_an_old_epoch_is_refused_before_the_coordinator_is_asked() -> None:
    leader = Verified()
    leader.write(5, 0, leader.ask(5, 0))
    assert refused(lambda: leader.ask(4, 0)) == "INVALID_PRODUCER_EPOCH"


def test_offsets_of_a_coordinator_have_no_sequence() -> None:
    log, disk = new_log()
    data = batch(b"v", producer=(7, 0, -1), transactional=True)
    assert refused(lambda: log.append_as_leader(data, 0, NOW, disk)) == "INVALID_RECORD"
    log.append_as_leader(data, 0, NOW, disk, AppendOrigin.COORDINATOR)
    log.append_as_leader(data, 0, NOW, disk, AppendOrigin.COORDINATOR)
    assert log.last_stable_offset(2) == 0


def test_with_transactions_v2_a_partition_that_knows_nothing_of_a_producer_takes_only_sequence_0() -> None:
    """Each transaction has an epoch of its own: what begins with another sequence has lost what came before it."""
    leader = Verified()
    assert refused(lambda: leader.write(0, 3, leader.ask(0, 3))) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert leader.write(0, 0, leader.ask(0, 0)) == 0
    older = Verified()
    guard = older.log.producer_state.start_verification(7, 0, 3, epoch_bump=False)
    assert older.write(0, 3, guard) == 0, "with transactions v1 the records before it may have been deleted"
