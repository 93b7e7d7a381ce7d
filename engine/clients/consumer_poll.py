"""The application's poll loop: ``while True: records = poll(); process(records); commitSync()``.

One thread, as in every Kafka consumer: while it works on records it neither joins nor revokes nor commits, and what the coordinator
wants waits. Processing time passes record by record; a process that is killed in between has done what ``RecordsProcessed`` says and
no more.
"""

from __future__ import annotations

from engine.clients import consumer_classic as classic
from engine.clients import consumer_fetch as fetching
from engine.clients import consumer_protocol848 as kip848
from engine.clients import group_coordinator as gc
from engine.clients import offsets_manager as offsets
from engine.clients.consumer_records import collect
from engine.clients.consumer_state import (
    CLOSING,
    COMMIT_AFTER,
    COMMIT_BEFORE,
    COMMITTING,
    COMPLETING,
    CRASHED,
    LEFT,
    POLLING,
    PREPARING,
    PROCESSING,
    Consumer,
    Membership,
    ProcessingTimer,
    Work,
)
from engine.events import RecordsProcessed
from engine.sim.outbox import Outbox

CLOSE_TIMEOUT_MS = 30_000
"""``KafkaConsumer.DEFAULT_CLOSE_TIMEOUT_MS``: for the last commit and the goodbye together."""
CLOSING_REASON = "the consumer is being closed"
STEP_US = 20_000
"""Records that take less are counted several at a time: twenty steps a second say as much as a thousand."""


def proceed(consumer: Consumer, out: Outbox) -> None:
    """Whatever has become possible: on the application's thread, then behind it."""
    application, group = consumer.application, consumer.group
    if application.state == COMMITTING:
        _await_commit(consumer, out)
    if application.state == POLLING:
        _poll(consumer, out)
    if application.state == CLOSING:
        _close(consumer, out)
    if group is not None and application.state not in (CLOSING, CRASHED) and group.subscribed:
        if offsets.is_new_protocol(consumer):
            kip848.background(consumer, group, out)
        else:
            classic.background(consumer, group, out)
    consumer.metadata.refresh(consumer.connections, consumer.settings.allow_auto_create_topics, out)


def _poll(consumer: Consumer, out: Outbox) -> None:
    """``ClassicKafkaConsumer.poll``, again and again until there is nothing to return; an application that takes no time is back in
    the same instant."""
    application, group = consumer.application, consumer.group
    heard = out.cause
    while application.state == POLLING:
        out.because(heard)
        if application.closing:
            _begin_close(consumer, out)
            return
        if application.commit_asked:
            application.commit_asked = False
            application.polled_us = out.now
            out.because(application.commit_cause)
            _commit_sync(consumer, out)
            continue
        if group is not None:
            if group.subscribed and offsets.is_new_protocol(consumer):
                kip848.poll(consumer, group, out)
            elif group.subscribed:
                classic.poll(consumer, group, out)
            if application.state != POLLING:
                return
            offsets.auto_commit(consumer, group, out)
            offsets.fetch_committed(consumer, group, out)
        fetching.advance(consumer, out)
        works = collect(consumer, out)
        if not works:
            return
        application.polled_us = out.now
        out.because(heard)
        fetching.advance(consumer, out)
        _return_from_poll(consumer, works, out)


def _return_from_poll(consumer: Consumer, works: list[Work], out: Outbox) -> None:
    application = consumer.application
    if application.processing_us or application.counts_all:
        application.todo.extend(works)
    if application.commit_each_poll == COMMIT_BEFORE and consumer.group is not None:
        out.because(works[-1].cause)
        _commit_sync(consumer, out)
    else:
        _process(consumer, out)
        if application.state == POLLING and application.commit_each_poll == COMMIT_AFTER and consumer.group is not None:
            out.because(works[-1].cause)
            _commit_sync(consumer, out)


# -- processing -----------------------------------------------------------------------------------------------------------------


def _process(consumer: Consumer, out: Outbox) -> None:
    """Takes up the next records; back to ``poll`` when there are none."""
    application = consumer.application
    while application.todo and not application.processing_us:  # it was made quick meanwhile
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


def _finish_step(consumer: Consumer, out: Outbox) -> None:
    application = consumer.application
    work = application.todo.popleft()
    done, rest = work.offsets[: application.step], work.offsets[application.step :]
    if done:
        topic, partition = work.partition
        out.because(work.cause)
        number = out.emit(RecordsProcessed(consumer.name, topic, partition, done[0], done[-1], work.leader_epoch, len(done)))
        consumer.work_done(work, done, out)
        out.because(number)
        if rest:
            application.todo.appendleft(Work(work.partition, work.leader_epoch, rest, number))


def on_processed(consumer: Consumer, out: Outbox) -> None:
    """The timer of one step: the next one, or what comes after the last."""
    application = consumer.application
    if application.state != PROCESSING:
        return
    _finish_step(consumer, out)
    last = out.cause
    _process(consumer, out)
    if application.state == POLLING and application.commit_each_poll == COMMIT_AFTER and consumer.group is not None:
        out.because(last)
        _commit_sync(consumer, out)


# -- commitSync -----------------------------------------------------------------------------------------------------------------


def ask_for_commit(consumer: Consumer, out: Outbox) -> None:
    """A person asks the application to call ``commitSync``, which it does as soon as its thread is free."""
    consumer.application.commit_asked = True
    consumer.application.commit_cause = out.cause


def _commit_sync(consumer: Consumer, out: Outbox) -> None:
    application = consumer.application
    application.state = COMMITTING
    application.commit = offsets.begin_commit(consumer, offsets.SYNC, consumer.settings.default_api_timeout_ms, out)
    _await_commit(consumer, out)


def _await_commit(consumer: Consumer, out: Outbox) -> None:
    """A ``CommitFailedException`` is logged and the loop goes on: the next ``poll`` joins again."""
    application, group = consumer.application, consumer.group
    call = application.commit
    if group is None or call is None or not consumer.drive_commit(group, call, out):
        return
    application.commit = None
    if application.state == COMMITTING:  # and not crashed
        application.state = POLLING
        _process(consumer, out)


# -- close ----------------------------------------------------------------------------------------------------------------------


def begin_shutdown(consumer: Consumer, out: Outbox) -> None:
    """``wakeup`` and then ``close``: the records in hand are finished first."""
    application = consumer.application
    if application.state == CRASHED or not consumer.polls:
        out.exit()
        return
    application.closing, application.close_cause = True, out.cause
    proceed(consumer, out)


def _begin_close(consumer: Consumer, out: Outbox) -> None:
    application, group = consumer.application, consumer.group
    application.state = CLOSING
    if group is None:
        out.exit()
        return
    application.close_deadline_us = out.now + CLOSE_TIMEOUT_MS * 1000
    out.because(application.close_cause)
    if consumer.settings.enable_auto_commit:
        application.commit = offsets.begin_commit(consumer, offsets.CLOSE, CLOSE_TIMEOUT_MS, out)


def _close(consumer: Consumer, out: Outbox) -> None:
    """Commits what the last poll returned, gives up its partitions, says goodbye, ends."""
    application, group = consumer.application, consumer.group
    if group is None:
        return
    late = out.now >= application.close_deadline_us
    if group.state == LEFT:
        if late:
            out.exit()
        return
    if application.commit is not None and not offsets.drive(consumer, group, application.commit, out) and not late:
        return
    application.commit = None
    out.because(application.close_cause)
    if not group.subscribed or not _say_goodbye(consumer, group, out):
        out.exit()
    group.state = LEFT
    consumer.wake_at(application.close_deadline_us, out)


def _say_goodbye(consumer: Consumer, group: Membership, out: Outbox) -> bool:
    """Whether an answer is to be waited for."""
    if offsets.is_new_protocol(consumer):
        gc.give_up(consumer, group, list(consumer.positions), group.generation <= 0, out)
        return kip848.leave(consumer, group, CLOSING_REASON, out)
    lost = group.generation < 0 or not group.member_id or group.state in (PREPARING, COMPLETING)
    gc.give_up(consumer, group, list(consumer.positions), lost, out)
    return classic.leave(consumer, group, CLOSING_REASON, out)


def goodbye_answered(consumer: Consumer, out: Outbox) -> None:
    """The coordinator has heard it, or never will."""
    if consumer.application.state == CLOSING and consumer.group is not None and consumer.group.state == LEFT:
        out.exit()
