"""The application's poll loop on a share group: ``while True: for record in poll(): process(record); acknowledge(record, …)``.

With implicit acknowledgement the next ``poll`` accepts all that the last one returned. With explicit acknowledgement the application says
accept, release or reject of each record, and the next ``poll`` (or ``close``) brings that to the brokers. One thread, as in every consumer.
"""

from __future__ import annotations

from engine.clients import share_fetch as fetching
from engine.clients import share_membership as membership
from engine.clients.common import preview
from engine.clients.consumer_poll import CLOSE_TIMEOUT_MS, CLOSING_REASON, STEP_US
from engine.clients.consumer_state import CLOSING, CRASHED, LEFT, POLLING, PROCESSING, ProcessingTimer
from engine.clients.position import ConsumedRecord
from engine.clients.share_state import (
    ACCEPT,
    GAP,
    REJECT,
    RELEASE,
    AcquiredChunk,
    ShareApplication,
    ShareConsumer,
    ShareWork,
    Verdict,
)
from engine.events import ConsumerFailed, ShareRecordsDelivered, ShareRecordsProcessed
from engine.log.record_batch import BatchHeader, Record, check_crc, decode, read_header
from engine.messages.base import TopicPartition
from engine.messages.share_groups import AcknowledgementBatch
from engine.sim.outbox import Outbox


def proceed(consumer: ShareConsumer, out: Outbox) -> None:
    """Whatever has become possible: on the application's thread, then behind it."""
    application = consumer.application
    if application.state == POLLING:
        _poll(consumer, out)
    if application.state == CLOSING:
        _close(consumer, out)
    elif application.state != CRASHED:
        membership.background(consumer, out)
        fetching.advance(consumer, out)
    elif application.closing:
        out.exit()
    consumer.metadata.refresh(consumer.connections, consumer.settings.allow_auto_create_topics, out)


def _poll(consumer: ShareConsumer, out: Outbox) -> None:
    """``ShareConsumerImpl.poll``, again and again until there is nothing to return."""
    application = consumer.application
    heard = out.cause
    while application.state == POLLING:
        out.because(heard)
        if application.closing:
            _begin_close(consumer, out)
            return
        fetching.hand_in(consumer)
        membership.poll(consumer)
        works = _collect(consumer, out)
        if not works:
            fetching.hand_in(consumer)  # gaps and broken batches need no application
            return
        application.polled_us = out.now
        application.todo.extend(works)
        _process(consumer, out)
    out.because(heard)


# -- from acquired batches to records ---------------------------------------------------------------------------------------------------


def _collect(consumer: ShareConsumer, out: Outbox) -> list[ShareWork]:
    """Whole fetched chunks, until there are max.poll.records; a batch that was acquired as a whole is returned as a whole."""
    works: list[ShareWork] = []
    room = consumer.settings.max_poll_records
    while room > 0 and consumer.buffer:
        chunk = consumer.buffer.popleft()
        for data in chunk.batches:
            room -= _take_batch(consumer, chunk, data, works, out)
    return works


def _take_batch(consumer: ShareConsumer, chunk: AcquiredChunk, data: bytes, works: list[ShareWork], out: Outbox) -> int:
    """Returns how many records of the batch are this consumer's."""
    header = read_header(data)
    runs = [
        (max(run.first_offset, header.base_offset), min(run.last_offset, header.last_offset), run.delivery_count)
        for run in chunk.acquired
        if run.last_offset >= header.base_offset and run.first_offset <= header.last_offset
    ]
    if not runs:
        return 0
    if not check_crc(data):
        out.because(chunk.cause)
        out.emit(ConsumerFailed(consumer.name, *chunk.partition, "CORRUPT_MESSAGE"))
        for first, last, _ in runs:
            _say(consumer.application, chunk, first, last, REJECT, out.cause)
        return 0
    records = {} if header.is_control_batch else {record.offset: record for record in decode(data)}
    taken = 0
    for first, last, deliveries in runs:
        present = [records[offset] for offset in range(first, last + 1) if offset in records]
        _say_gaps(consumer.application, chunk, [offset for offset in range(first, last + 1) if offset not in records])
        if present:
            taken += len(present)
            works.append(_deliver(consumer, chunk, header, present, deliveries, out))
    return taken


def _deliver(
    consumer: ShareConsumer, chunk: AcquiredChunk, header: BatchHeader, records: list[Record], deliveries: int, out: Outbox
) -> ShareWork:
    topic, number = chunk.partition
    out.because(chunk.cause)
    consumer.consumed += len(records)
    offsets = tuple([record.offset for record in records])
    epoch = header.partition_leader_epoch
    out.emit(
        ShareRecordsDelivered(
            consumer.name, consumer.group.group_id, topic, number, offsets[0], offsets[-1], epoch, len(records), deliveries
        )
    )
    for record in records[-(consumer.last.maxlen or 0) :]:
        consumer.last.append(ConsumedRecord(topic, number, record.offset, preview(record.key), preview(record.value)))
    wrong = consumer.application.fail_on.encode()
    failing = tuple([record.offset for record in records if wrong in (record.value or b"")]) if wrong else ()
    return ShareWork(chunk.broker, chunk.partition, epoch, offsets, failing, out.cause)


def _say(application: ShareApplication, chunk: AcquiredChunk, first: int, last: int, kind: str, cause: int) -> None:
    application.verdicts.append(Verdict(chunk.broker, AcknowledgementBatch(chunk.partition, first, last, kind), cause))


def _say_gaps(application: ShareApplication, chunk: AcquiredChunk, offsets: list[int]) -> None:
    """Markers of transactions and what was compacted away: offsets without a record."""
    for first, last in _rows(offsets):
        _say(application, chunk, first, last, GAP, chunk.cause)


def _rows(offsets: list[int]) -> list[tuple[int, int]]:
    """Without holes between."""
    found: list[tuple[int, int]] = []
    for offset in offsets:
        if found and found[-1][1] + 1 == offset:
            found[-1] = (found[-1][0], offset)
        else:
            found.append((offset, offset))
    return found


# -- processing -----------------------------------------------------------------------------------------------------------------


def _process(consumer: ShareConsumer, out: Outbox) -> None:
    """Takes up the next records; back to ``poll`` when there are none."""
    application = consumer.application
    while application.todo and not application.processing_us:
        application.step = len(application.todo[0].offsets)
        _finish_step(consumer, out)
    if not application.todo:
        application.state = POLLING
        return
    application.state = PROCESSING
    work = application.todo[0]
    application.step = min(len(work.offsets), max(STEP_US // application.processing_us, 1))
    out.because(work.cause)
    out.arm(ProcessingTimer(), after_us=application.step * application.processing_us)


def on_processed(consumer: ShareConsumer, out: Outbox) -> None:
    if consumer.application.state == PROCESSING:
        _finish_step(consumer, out)
        _process(consumer, out)


def _finish_step(consumer: ShareConsumer, out: Outbox) -> None:
    application = consumer.application
    work = application.todo.popleft()
    step = application.step if application.left < 0 else min(application.step, application.left)
    done, rest = work.offsets[:step], work.offsets[step:]
    by_verdict: list[tuple[str, list[int]]] = []
    for offset in done:
        kind = _verdict(consumer, offset in work.failing)
        if by_verdict and by_verdict[-1][0] == kind and by_verdict[-1][1][-1] + 1 == offset:
            by_verdict[-1][1].append(offset)
        else:
            by_verdict.append((kind, [offset]))
    cause = work.cause
    for kind, offsets in by_verdict:
        out.because(cause)
        cause = _pronounce(consumer, work.broker, work.partition, work.leader_epoch, offsets, kind, work.failing, out)
    if rest:
        application.todo.appendleft(ShareWork(work.broker, work.partition, work.leader_epoch, rest, work.failing, cause))
    if application.left >= 0:
        application.left -= len(done)
        if application.left == 0:
            application.todo.clear()
            application.closing, application.close_cause = True, cause


def _verdict(consumer: ShareConsumer, failing: bool) -> str:
    application = consumer.application
    application.worked += 1
    if not consumer.settings.explicit:
        return ACCEPT
    if application.reject_every and application.worked % application.reject_every == 0:
        return REJECT
    if failing or (application.release_every and application.worked % application.release_every == 0):
        return RELEASE
    return ACCEPT


def _pronounce(
    consumer: ShareConsumer, broker: int, partition: TopicPartition, leader_epoch: int, offsets: list[int], kind: str,
    failing: tuple[int, ...], out: Outbox,
) -> int:  # fmt: skip
    topic, number = partition
    first, last = offsets[0], offsets[-1]
    event = out.emit(
        ShareRecordsProcessed(
            consumer.name, consumer.group.group_id, topic, number, first, last, leader_epoch, len(offsets), kind,
            kind == RELEASE and any(offset in failing for offset in offsets),
        )
    )  # fmt: skip
    consumer.application.verdicts.append(Verdict(broker, AcknowledgementBatch(partition, first, last, kind), event))
    return event


# -- close ----------------------------------------------------------------------------------------------------------------------


def begin_shutdown(consumer: ShareConsumer, out: Outbox) -> None:
    """``wakeup`` and then ``close``: the records in hand are finished first."""
    application = consumer.application
    if application.state == CRASHED:
        out.exit()
        return
    application.closing, application.close_cause = True, out.cause
    proceed(consumer, out)


def _begin_close(consumer: ShareConsumer, out: Outbox) -> None:
    """``close`` accepts nothing by itself: what the last ``poll`` returned under implicit acknowledgement goes back to the group."""
    application = consumer.application
    application.state = CLOSING
    application.close_deadline_us = out.now + CLOSE_TIMEOUT_MS * 1000
    if not consumer.settings.explicit:
        application.verdicts = [verdict for verdict in application.verdicts if verdict.batch.kind != ACCEPT]
    fetching.hand_in(consumer)
    consumer.buffer.clear()
    consumer.group.assigned = ()


def _close(consumer: ShareConsumer, out: Outbox) -> None:
    """Says its last verdicts, closes its sessions, says goodbye, ends."""
    application = consumer.application
    late = out.now >= application.close_deadline_us
    if consumer.group.state == LEFT:
        if late:
            out.exit()
        return
    out.because(application.close_cause)
    if not fetching.close_sessions(consumer, out) and not late:
        consumer.wake_at(application.close_deadline_us, out)
        return
    out.because(application.close_cause)
    if not membership.leave(consumer, CLOSING_REASON, out):
        out.exit()
    consumer.wake_at(application.close_deadline_us, out)
