"""Share sessions: records acquired from each broker, verdicts brought back to it (Java's ``ShareConsumeRequestManager``).

One request at a time to each broker. A ShareFetch goes to every leader while the application waits in ``poll`` with nothing to be returned,
and takes along what has been said of earlier records; otherwise a ShareAcknowledge does. Whatever breaks a session costs the verdicts that
were under way: the records will be delivered again.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.clients import group_coordinator as gc
from engine.clients import share_membership as membership
from engine.clients.common import STALE_METADATA
from engine.clients.consumer_state import CLOSING, FATAL, POLLING
from engine.clients.share_state import ACCEPT, GAP, REJECT, RELEASE, AcquiredChunk, ShareConsumer, ShareSession, Verdict
from engine.events import ShareAcknowledgementFailed
from engine.messages.base import TopicPartition
from engine.messages.share_groups import (
    ShareAcknowledgeRequest,
    ShareAcknowledgeResponse,
    ShareFetchRequest,
    ShareFetchResponse,
    ShareFetchResult,
)
from engine.sim.outbox import Outbox

FETCH, ACKNOWLEDGE = "share fetch", "share acknowledge"
FINAL_EPOCH = -1
LAST_EPOCH = 2**31 - 1
SESSION_GONE = ("SHARE_SESSION_NOT_FOUND", "INVALID_SHARE_SESSION_EPOCH")


def hand_in(consumer: ShareConsumer) -> None:
    """``poll`` begins: what the application has said goes to the brokers that the records came from."""
    for verdict in consumer.application.verdicts:
        consumer.sessions.setdefault(verdict.broker, ShareSession()).waiting.append(verdict)
    consumer.application.verdicts.clear()


def advance(consumer: ShareConsumer, out: Outbox) -> None:
    """Asks for whatever can be asked for now."""
    if consumer.group.state == FATAL:
        return
    wanted = _wanted(consumer)
    for broker in dict.fromkeys((*wanted, *consumer.sessions)):
        session = consumer.sessions.get(broker)
        if session is None:
            session = consumer.sessions[broker] = ShareSession()
        partitions = tuple(wanted.get(broker, ()))
        forgets = wants_records(consumer) and bool(session.epoch and session.partitions)
        if not (partitions or session.waiting or forgets) or not _free(consumer, broker, session, out):
            continue
        if session.epoch == 0:
            fail(consumer, session.waiting, "INVALID_SHARE_SESSION_EPOCH", out)
            session.waiting.clear()
        if partitions or forgets:
            _fetch(consumer, broker, session, partitions, out)
        elif session.waiting:
            _acknowledge(consumer, broker, session, session.epoch, out)


def wants_records(consumer: ShareConsumer) -> bool:
    application = consumer.application
    return application.state == POLLING and not application.closing and not consumer.buffer


def _wanted(consumer: ShareConsumer) -> dict[int, list[TopicPartition]]:
    """By the brokers that lead them."""
    found: dict[int, list[TopicPartition]] = {}
    if wants_records(consumer):
        for partition in consumer.group.assigned:
            leader = consumer.metadata.leader(partition)
            if leader is None:
                consumer.metadata.update_requested = True
            else:
                found.setdefault(leader.leader_id, []).append(partition)
    return found


def _busy(consumer: ShareConsumer, broker: int) -> bool:
    """One request at a time."""
    connection = consumer.connections.by_broker.get(broker)
    return connection is not None and any(entry.kind in (FETCH, ACKNOWLEDGE) for entry in connection.in_flight)


def _free(consumer: ShareConsumer, broker: int, session: ShareSession, out: Outbox) -> bool:
    """Whether a request may go out now."""
    if _busy(consumer, broker):
        return False
    if session.retry_at_us > out.now:
        consumer.wake_at(session.retry_at_us, out)
        return False
    return consumer.connections.ready(broker, out)


def _fetch(
    consumer: ShareConsumer, broker: int, session: ShareSession, partitions: tuple[TopicPartition, ...], out: Outbox
) -> None:
    """Names only what is new in the session, and what is to be forgotten."""
    settings, group = consumer.settings, consumer.group
    added = tuple([partition for partition in partitions if partition not in session.partitions])
    forgotten = tuple([partition for partition in session.partitions if partition not in partitions])
    heard = out.cause
    if session.waiting:
        out.because(session.waiting[-1].cause)
    request = ShareFetchRequest(
        consumer.connections.new_correlation_id(), group.group_id, group.member_id, session.epoch,
        settings.fetch_max_wait_ms if partitions else 0, settings.fetch_min_bytes, settings.fetch_max_bytes, settings.max_poll_records,
        added, forgotten, tuple([verdict.batch for verdict in session.waiting]), consumer.name,
    )  # fmt: skip
    session.partitions = partitions
    _note_sent(session)
    consumer.connections.send(broker, request, FETCH, out)
    out.because(heard)


def _acknowledge(consumer: ShareConsumer, broker: int, session: ShareSession, epoch: int, out: Outbox) -> None:
    heard = out.cause
    if session.waiting:
        out.because(session.waiting[-1].cause)
    request = ShareAcknowledgeRequest(
        consumer.connections.new_correlation_id(), consumer.group.group_id, consumer.group.member_id, epoch,
        tuple([verdict.batch for verdict in session.waiting]),
    )  # fmt: skip
    _note_sent(session)
    consumer.connections.send(broker, request, ACKNOWLEDGE, out)
    out.because(heard)


def _note_sent(session: ShareSession) -> None:
    session.sent = tuple(session.waiting)
    session.waiting.clear()


def close_sessions(consumer: ShareConsumer, out: Outbox) -> bool:
    """On close: the last verdicts, and the end of each session, which frees what else was acquired. Returns whether all are closed."""
    for broker, session in list(consumer.sessions.items()):
        if session.epoch == 0 and not _busy(consumer, broker):
            fail(consumer, session.waiting, "INVALID_SHARE_SESSION_EPOCH", out)
            del consumer.sessions[broker]
        elif session.epoch > 0 and _free(consumer, broker, session, out):
            _acknowledge(consumer, broker, session, FINAL_EPOCH, out)
            session.epoch = FINAL_EPOCH
    return not consumer.sessions


# -- answers --------------------------------------------------------------------------------------------------------------------


def on_fetched(consumer: ShareConsumer, broker: int, body: ShareFetchResponse, out: Outbox) -> None:
    session = consumer.sessions[broker]
    heard = out.cause
    if not _session_goes_on(consumer, session, body.error, out):
        return
    refused = {result.partition: result.acknowledge_error for result in body.results if result.acknowledge_error != "NONE"}
    _settle(consumer, session, refused, out)
    troubled = False
    for result in body.results:
        out.because(heard)
        if result.error == "TOPIC_AUTHORIZATION_FAILED":
            membership.crash(
                consumer, f"TopicAuthorizationException: Not authorized to access topics: [{result.partition.topic}]", out
            )
            return
        if result.error != "NONE":
            troubled |= not _learn_leader(consumer, result)
        elif result.acquired and consumer.application.state != CLOSING:
            consumer.buffer.append(AcquiredChunk(broker, result.partition, result.batches, result.acquired, heard))
    out.because(heard)
    if troubled:
        _back_off(consumer, session, out)


def on_acknowledged(consumer: ShareConsumer, broker: int, body: ShareAcknowledgeResponse, out: Outbox) -> None:
    session = consumer.sessions[broker]
    if session.epoch == FINAL_EPOCH:
        del consumer.sessions[broker]
    elif not _session_goes_on(consumer, session, body.error, out):
        return
    error = body.error
    if error != "NONE":
        _settle(consumer, session, {verdict.batch.partition: error for verdict in session.sent}, out)
    else:
        _settle(consumer, session, {result.partition: result.error for result in body.results if result.error != "NONE"}, out)


def _session_goes_on(consumer: ShareConsumer, session: ShareSession, error: str, out: Outbox) -> bool:
    if error == "NONE":
        session.epoch = 1 if session.epoch == LAST_EPOCH else session.epoch + 1
        session.failures = 0
        return True
    if error == "GROUP_AUTHORIZATION_FAILED":
        membership.crash(consumer, f"GroupAuthorizationException: Not authorized to access group: {consumer.group.group_id}", out)
        return False
    lost(consumer, session, error, (), out)
    if error not in SESSION_GONE:
        _back_off(consumer, session, out)
    return False


def lost(consumer: ShareConsumer, session: ShareSession, error: str, silencers: tuple[int, ...], out: Outbox) -> None:
    """The session has to be opened anew; nobody knows whether the verdicts under way were heard."""
    session.epoch, session.partitions = 0, ()
    fail(consumer, session.sent, error, out, silencers)
    session.sent = ()


def _back_off(consumer: ShareConsumer, session: ShareSession, out: Outbox) -> None:
    session.retry_at_us = out.now + gc.backoff(consumer, session.failures, out)
    session.failures += 1
    consumer.wake_at(session.retry_at_us, out)


def _learn_leader(consumer: ShareConsumer, result: ShareFetchResult) -> bool:
    """Whether the answer named a leader that was not known."""
    if result.error in STALE_METADATA:
        consumer.metadata.update_requested = True
    return consumer.metadata.learn_leader(result.partition, result.current_leader, result.current_leader_epoch)


def _settle(consumer: ShareConsumer, session: ShareSession, refused: dict[TopicPartition, str], out: Outbox) -> None:
    """The brokers have heard the verdicts; those in ``refused`` do not count."""
    for verdict in session.sent:
        batch = verdict.batch
        count = batch.last_offset - batch.first_offset + 1
        if batch.partition in refused:
            continue
        consumer.accepted += count if batch.kind == ACCEPT else 0
        consumer.released += count if batch.kind == RELEASE else 0
        consumer.rejected += count if batch.kind == REJECT else 0
    for partition, error in refused.items():
        fail(consumer, [verdict for verdict in session.sent if verdict.batch.partition == partition], error, out)
    session.sent = ()


def fail(consumer: ShareConsumer, verdicts: Sequence[Verdict], error: str, out: Outbox, silencers: tuple[int, ...] = ()) -> None:
    """One event for each partition; the application's callback would hear it."""
    heard = out.cause
    told = [verdict for verdict in verdicts if verdict.batch.kind != GAP]
    for partition in dict.fromkeys(verdict.batch.partition for verdict in told):
        batches = [verdict.batch for verdict in told if verdict.batch.partition == partition]
        consumer.refused += sum([batch.last_offset - batch.first_offset + 1 for batch in batches])
        first, last = min(batch.first_offset for batch in batches), max(batch.last_offset for batch in batches)
        topic, number = partition
        out.emit(
            ShareAcknowledgementFailed(consumer.name, consumer.group.group_id, topic, number, first, last, error), also=silencers
        )
        out.because(heard)
