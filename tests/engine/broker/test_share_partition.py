"""A share partition by itself: what is acquired, acknowledged, released, given up; and a search for records lost or given twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.broker.share_partition import (
    ACKNOWLEDGED,
    ACQUIRED,
    ARCHIVED,
    AVAILABLE,
    SETTLED,
    TRANSITIONS,
    SharePartition,
    state_batches,
)
from engine.messages.base import TopicPartition
from engine.messages.share_groups import AcquiredRecords, StateBatch

LIMIT = 5
TP = TopicPartition("orders", 0)


def fresh(start: int = 0, batches: tuple[StateBatch, ...] = ()) -> SharePartition:
    share = SharePartition("sharers", TP, "id", 1)
    share.activate(1, start, batches)
    return share


def take(
    share: SharePartition, member: str, *spans: tuple[int, int], most: int = 500, locks: int = 2000, until: int = 30
) -> list[AcquiredRecords]:
    return share.acquire(member, spans, most, locks, until)


def settle(share: SharePartition, member: str, first: int, last: int, kind: str) -> str:
    error, changes = share.acknowledge(member, [(first, last, kind)], LIMIT, 60)
    if error == "NONE":
        share.begin(changes)
        share.complete(changes, True)
    return error


def test_accepted_records_move_the_start_and_gaps_wait() -> None:
    share = fresh()
    assert take(share, "a", (0, 9)) == [AcquiredRecords(0, 9, 1)]
    assert settle(share, "a", 0, 3, "accept") == "NONE"
    assert (share.start_offset, share.end_offset) == (4, 9)
    assert settle(share, "a", 6, 9, "accept") == "NONE"
    assert share.start_offset == 4, "offsets 4 and 5 are still acquired"
    assert settle(share, "a", 4, 5, "reject") == "NONE"
    assert share.start_offset == 10
    assert share.records == {}


def test_released_records_come_again_with_a_higher_delivery_count_and_five_are_the_limit() -> None:
    share = fresh()
    for delivery in range(1, 6):
        assert take(share, "a", (0, 2)) == [AcquiredRecords(0, 2, delivery)]
        assert settle(share, "a", 0, 2, "release") == "NONE"
    assert share.start_offset == 3, "after five deliveries they are archived"
    assert share.next_fetch_offset() == 3


def test_who_does_not_hold_a_record_cannot_acknowledge_it_and_all_or_nothing_is_done() -> None:
    share = fresh()
    take(share, "a", (0, 4))
    assert settle(share, "b", 0, 0, "accept") == "INVALID_RECORD_STATE"
    assert settle(share, "a", 0, 7, "accept") == "INVALID_REQUEST"
    assert settle(share, "a", 0, 0, "perhaps") == "INVALID_REQUEST"
    assert settle(share, "a", 2, 2, "accept") == "NONE"
    assert settle(share, "a", 0, 4, "accept") == "INVALID_RECORD_STATE"
    assert share.records[0].state == ACQUIRED


def test_while_an_acknowledgement_is_written_nobody_else_touches_the_record() -> None:
    share = fresh()
    take(share, "a", (0, 1))
    error, changes = share.acknowledge("a", [(0, 0, "release")], LIMIT, 60)
    share.begin(changes)
    assert share.acknowledge("a", [(0, 0, "accept")], LIMIT, 60)[0] == "INVALID_RECORD_STATE"
    assert share.expired(99, LIMIT)[0].offset == 1
    assert share.release_all("a", LIMIT)[0].offset == 1
    share.complete(changes, False)
    assert share.records[0].state == ACQUIRED, "it could not be written: as before"
    assert error == "NONE"


def test_locks_run_out_and_can_be_renewed() -> None:
    share = fresh()
    take(share, "a", (0, 1), until=30)
    _, changes = share.acknowledge("a", [(1, 1, "renew")], LIMIT, 60)
    share.apply(changes)
    assert [change.offset for change in share.expired(30, LIMIT)] == [0]
    share.apply(share.expired(30, LIMIT))
    assert share.records[0].state == AVAILABLE
    assert share.next_deadline_us() == 60
    assert take(share, "b", (0, 1)) == [AcquiredRecords(0, 0, 2)]


def test_whole_batches_are_acquired_until_there_are_enough() -> None:
    share = fresh()
    assert take(share, "a", (0, 3), (4, 7), (8, 11), most=5) == [AcquiredRecords(0, 3, 1), AcquiredRecords(4, 7, 1)]
    assert share.end_offset == 7


def test_no_more_records_are_in_flight_than_locks_allow() -> None:
    share = fresh()
    take(share, "a", (0, 3), (4, 7), locks=4)
    assert share.end_offset == 3
    assert share.is_full(4)
    settle(share, "a", 0, 0, "release")
    assert not share.is_full(4), "what came back may be fetched again"
    assert take(share, "b", (0, 3), locks=4) == [AcquiredRecords(0, 0, 2)]


def test_a_new_leader_goes_on_from_what_was_written() -> None:
    share = fresh(3, (StateBatch(3, 3, ACKNOWLEDGED, 1), StateBatch(5, 6, AVAILABLE, 2), StateBatch(7, 7, ARCHIVED, 5)))
    assert share.start_offset == 4
    assert share.next_fetch_offset() == 4
    assert take(share, "a", (0, 9)) == [AcquiredRecords(4, 4, 1), AcquiredRecords(5, 6, 3), AcquiredRecords(8, 9, 1)]
    assert list(share.records) == [4, 5, 6, 7, 8, 9]


def test_deleted_records_are_nobodys() -> None:
    share = fresh()
    take(share, "a", (0, 5))
    share.log_start_moved(4)
    assert (share.start_offset, share.end_offset) == (4, 5)
    assert settle(share, "a", 0, 4, "accept") == "NONE"
    assert share.start_offset == 5
    share.log_start_moved(20)
    assert share.next_fetch_offset() == 20


def test_what_the_cleaner_took_away_holds_nobody_up() -> None:
    share = fresh()
    share.note_gaps(share.next_fetch_offset(), [(27, 28), (40, 40)])
    assert take(share, "a", (27, 28), (40, 40)) == [AcquiredRecords(27, 28, 1), AcquiredRecords(40, 40, 1)]
    share.advance_start()
    assert (share.start_offset, share.end_offset) == (27, 40)
    assert settle(share, "a", 40, 40, "accept") == settle(share, "a", 27, 27, "release") == "NONE"
    assert share.next_fetch_offset() == 27
    assert settle(share, "a", 28, 28, "accept") == "NONE"
    share.note_gaps(27, [(40, 40)])
    share.advance_start()
    assert (share.start_offset, share.records, share.gaps) == (41, {}, []), "a released record that is cleaned is nobody's any more"


def test_changes_are_written_in_runs() -> None:
    share = fresh()
    take(share, "a", (0, 5))
    _, changes = share.acknowledge("a", [(0, 1, "accept"), (2, 2, "release"), (3, 5, "accept")], LIMIT, 60)
    assert state_batches(changes) == (
        StateBatch(0, 1, ACKNOWLEDGED, 1), StateBatch(2, 2, AVAILABLE, 1), StateBatch(3, 5, ACKNOWLEDGED, 1),
    )  # fmt: skip


steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "accept", "release", "reject", "renew", "expire", "leave", "fail", "reload"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 11),
        st.integers(0, 4),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_every_record_is_settled_once_or_delivered_five_times(plan: list[tuple[str, str, int, int]]) -> None:
    """The log has twelve records in batches of three. Nothing is delivered to two at once, nothing settled comes back, and what is durable
    is enough for a new leader."""
    share = fresh()
    durable: dict[int, tuple[str, int]] = {}
    deliveries: dict[int, int] = {}
    for step, member, offset, length in plan:
        before = dict(share.records)
        if step == "take":
            first = share.next_fetch_offset() // 3 * 3
            held = {at for at, record in share.records.items() if record.state != AVAILABLE}
            for run in take(share, member, *[(at, at + 2) for at in range(first, 12, 3)], most=4):
                for at in range(run.first_offset, run.last_offset + 1):
                    assert at not in held
                    assert run.delivery_count <= LIMIT
                    deliveries[at] = deliveries.get(at, 0) + 1
                    assert run.delivery_count <= deliveries[at]
        elif step in ("accept", "release", "reject", "renew"):
            error, changes = share.acknowledge(member, [(offset, offset + length, step)], LIMIT, 60)
            if error == "NONE" and step == "renew":
                share.apply(changes)
            elif error == "NONE":
                share.begin(changes)
                share.complete(changes, True)
                durable.update({change.offset: (change.record.state, change.record.deliveries) for change in changes})
        elif step == "expire":
            changes = share.expired(30, LIMIT)
            share.apply(changes)
            durable.update({change.offset: (change.record.state, change.record.deliveries) for change in changes})
        elif step in ("leave", "fail"):
            changes = share.release_all(member, LIMIT)
            share.begin(changes)
            share.complete(changes, step == "leave")
            if step == "leave":
                durable.update({change.offset: (change.record.state, change.record.deliveries) for change in changes})
        else:
            stored = tuple(StateBatch(at, at, *value) for at, value in sorted(durable.items()) if at >= share.start_offset)
            share = fresh(share.start_offset, stored)
            continue
        for at, record in before.items():
            now = share.records.get(at)
            if now is not None and now.state != record.state:
                assert now.state in TRANSITIONS[record.state]
            if now is None:
                assert at < share.start_offset
        assert list(share.records) == sorted(share.records)
        assert all(durable[at][0] in SETTLED for at in range(share.start_offset))


cleaning = st.lists(
    st.tuples(
        st.sampled_from(["take", "accept", "release", "clean", "reload"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 23),
        st.integers(0, 4),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(cleaning)
def test_under_the_cleaner_the_start_comes_to_the_end_and_no_record_is_left_out(plan: list[tuple[str, str, int, int]]) -> None:
    """The log has eight batches of three; the cleaner takes whole ones away, but never the last."""
    share = fresh()
    log = [(at, at + 2) for at in range(0, 24, 3)]
    seen: dict[int, None] = {}
    durable: dict[int, tuple[str, int]] = {}

    def fetch(member: str) -> list[AcquiredRecords]:
        offset = share.next_fetch_offset()
        spans = [span for span in log if span[1] >= offset]
        share.note_gaps(offset, spans)
        found = share.acquire(member, spans, 4, 2000, 30)
        share.advance_start()
        seen.update({at: None for run in found for at in range(run.first_offset, run.last_offset + 1)})
        return found

    for step, member, offset, length in plan:
        if step == "take":
            fetch(member)
        elif step == "clean":
            log = [span for span in log if span[0] > offset or span[1] < offset or span[1] == 23]
        elif step == "reload":
            stored = tuple(StateBatch(at, at, *value) for at, value in sorted(durable.items()) if at >= share.start_offset)
            share = fresh(share.start_offset, stored)
        else:
            error, changes = share.acknowledge(member, [(offset, offset + length, step)], 100, 60)
            if error == "NONE":
                share.begin(changes)
                share.complete(changes, True)
                durable.update({change.offset: (change.record.state, change.record.deliveries) for change in changes})
    share.apply(share.expired(30, 100))
    for _ in range(40):
        for run in fetch("last"):
            assert settle(share, "last", run.first_offset, run.last_offset, "accept") == "NONE"
    assert (share.start_offset, share.records, share.gaps) == (24, {}, [])
    assert {at for first, last in log for at in range(first, last + 1)} <= set(seen)
