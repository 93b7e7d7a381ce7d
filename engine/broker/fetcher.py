"""The follower's side of replication: Kafka's ``ReplicaFetcherThread``, one per leader that this broker follows.

One fetch request at a time covers all partitions followed from a leader. The leader parks it for up to 500 ms, so that an idle
follower costs two messages per half second. Followers truncate where the leader says that their epochs part (fact 20), never to
their high watermark. Sources: ``AbstractFetcherThread``, ``ReplicaFetcherThread``.
"""

from __future__ import annotations

from engine.broker import cleaner, replication_quotas
from engine.broker.apis import fetch
from engine.broker.apis.delete_records import LEADER_MOVED
from engine.broker.meters import REPLICATION_BYTES_IN
from engine.broker.state import FOLLOWER, Broker, Fetcher, FollowedPartition, Replica
from engine.broker.timers import FetcherBackoff, FetcherTimeout
from engine.events import LogStartOffsetAdvanced, RecordsReplicated, ReplicaTruncated, SegmentRolled
from engine.log.errors import LogError
from engine.messages.base import TopicPartition
from engine.messages.fetch import (
    EARLIEST_TIMESTAMP,
    LATEST_TIMESTAMP,
    FetchItem,
    FetchRequest,
    FetchResponse,
    FetchResult,
    ListOffsetsItem,
    ListOffsetsRequest,
    ListOffsetsResponse,
)  # fmt: skip
from engine.sim.outbox import Outbox
from engine.spec import broker_name

WAITING_FOR_ANSWER_US = 2**62


# -- which partitions are followed -------------------------------------------------------------------------------------------------


def follow(broker: Broker, replica: Replica, out: Outbox) -> None:
    """Begins (or, in a new leader epoch, begins anew) to fetch ``replica`` from its leader. ``resume`` sends the fetch."""
    unfollow(broker, replica.partition)
    fetcher = broker.fetchers.get(replica.leader_id)
    if fetcher is None:
        fetcher = broker.fetchers[replica.leader_id] = Fetcher(replica.leader_id)
    if "truncate-to-hw" in broker.mutants and replica.log.log_end_offset > replica.high_watermark:
        _truncate(broker, replica, replica.high_watermark, out)
    fetcher.partitions[replica.partition] = FollowedPartition(_item(broker, replica))
    fetcher.stale = True


def unfollow(broker: Broker, partition: TopicPartition) -> None:
    for fetcher in broker.fetchers.values():
        if fetcher.partitions.pop(partition, None) is not None:
            fetcher.stale = True


def resume(broker: Broker, out: Outbox) -> None:
    """After the metadata has changed: idle fetchers end, the others fetch what they now follow."""
    for leader_id in [leader_id for leader_id, fetcher in broker.fetchers.items() if not fetcher.partitions]:
        del broker.fetchers[leader_id]
    for fetcher in broker.fetchers.values():
        _send(broker, fetcher, out)


def _item(broker: Broker, replica: Replica) -> FetchItem:
    log = replica.log
    return FetchItem(
        replica.partition, replica.topic_id, log.log_end_offset, replica.leader_epoch, log.leader_epochs.latest_epoch,
        log.log_start_offset, broker.settings.replica_fetch_max_bytes,
    )  # fmt: skip


# -- one request at a time ----------------------------------------------------------------------------------------------------------


def _send(broker: Broker, fetcher: Fetcher, out: Outbox) -> None:
    if fetcher.in_flight >= 0 or out.now < fetcher.resting_until_us:
        return
    if fetcher.stale:
        fetcher.items = tuple([followed.item for followed in fetcher.partitions.values() if followed.item is not None])
        fetcher.stale = False
    items = fetcher.items
    if broker.follower_throttle is not None:
        items = _unthrottled(broker, fetcher, out)
        if fetcher.items and not items:
            out.arm(FetcherBackoff(fetcher.leader_id), after_us=broker.settings.replica_fetch_backoff_us)
    if not items:
        return
    correlation_id = broker.correlation()
    settings = broker.settings
    first = fetcher.sent_us == 0
    fetcher.in_flight = correlation_id
    fetcher.sent = items
    fetcher.sent_us = out.now or 1
    out.send(
        broker_name(fetcher.leader_id),
        FetchRequest(
            correlation_id, broker.broker_id, broker.broker_epoch, settings.replica_fetch_wait_max_ms,
            settings.replica_fetch_min_bytes, settings.replica_fetch_response_max_bytes, items,
        ),
    )  # fmt: skip
    if first:
        out.arm(FetcherTimeout(fetcher.leader_id), after_us=settings.replica_socket_timeout_us)


def _unthrottled(broker: Broker, fetcher: Fetcher, out: Outbox) -> tuple[FetchItem, ...]:
    """Without those that must wait for the throttle; what is caught up is never held back."""
    partitions, replicas = fetcher.partitions, broker.partitions
    return tuple(
        [
            item
            for item in fetcher.items
            if partitions[item.partition].caught_up or not replication_quotas.leaves_out(broker, replicas[item.partition], out)
        ]
    )


def on_timeout(broker: Broker, source: str, timer: FetcherTimeout, out: Outbox) -> None:
    """Armed once per fetcher; looks whether the request under way is that old."""
    fetcher = broker.fetchers.get(timer.leader_id)
    if fetcher is None:
        return
    patience = broker.settings.replica_socket_timeout_us
    due = fetcher.sent_us + patience
    if fetcher.in_flight >= 0 and due <= out.now:
        _rest(broker, fetcher, out)
        due = out.now + patience
    out.arm(timer, after_us=max(due - out.now, 1))


def on_disconnected(broker: Broker, leader_id: int, out: Outbox) -> None:
    fetcher = broker.fetchers.get(leader_id)
    if fetcher is not None and (fetcher.in_flight >= 0 or fetcher.offset_lookups):
        _rest(broker, fetcher, out)


def _rest(broker: Broker, fetcher: Fetcher, out: Outbox) -> None:
    """The request is lost: try again after replica.fetch.backoff.ms."""
    backoff = broker.settings.replica_fetch_backoff_us
    fetcher.in_flight = -1
    fetcher.resting_until_us = out.now + backoff
    for partition in fetcher.offset_lookups.values():
        followed = fetcher.partitions.get(partition)
        if followed is not None:
            followed.due_us = fetcher.resting_until_us
    fetcher.offset_lookups.clear()
    out.arm(FetcherBackoff(fetcher.leader_id), after_us=backoff)


def _delay(broker: Broker, fetcher: Fetcher, followed: FollowedPartition, out: Outbox) -> None:
    """One partition met an error; the others go on."""
    followed.item = None
    followed.due_us = out.now + broker.settings.replica_fetch_backoff_us
    fetcher.stale = True
    out.arm(FetcherBackoff(fetcher.leader_id), after_us=broker.settings.replica_fetch_backoff_us)


def on_backoff(broker: Broker, source: str, timer: FetcherBackoff, out: Outbox) -> None:
    fetcher = broker.fetchers.get(timer.leader_id)
    if fetcher is None:
        return
    next_us = 0
    for partition, followed in fetcher.partitions.items():
        if followed.item is not None:
            continue
        if followed.due_us <= out.now:
            followed.item = _item(broker, broker.partitions[partition])
            fetcher.stale = True
        elif followed.due_us < WAITING_FOR_ANSWER_US:
            next_us = min(next_us or followed.due_us, followed.due_us)
    if next_us:
        out.arm(timer, after_us=next_us - out.now)
    _send(broker, fetcher, out)


# -- what the leader answers -----------------------------------------------------------------------------------------------------------


def on_response(broker: Broker, source: str, response: FetchResponse, out: Outbox) -> None:
    fetcher = None
    for candidate in broker.fetchers.values():
        if candidate.in_flight == response.correlation_id:
            fetcher = candidate
            break
    if fetcher is None:
        return
    fetcher.in_flight = -1
    cause = out.cause
    for sent, result in zip(fetcher.sent, response.results, strict=True):
        followed = fetcher.partitions.get(sent.partition)
        if followed is None or (followed.item is not sent and followed.item != sent):
            continue  # truncated, refollowed or removed since: the answer is about another state
        if result.error != "NONE":
            _on_error(broker, fetcher, followed, sent, result, out)
        elif result.diverging_epoch >= 0:
            out.because(cause)
            _on_divergence(broker, fetcher, followed, result, out)
        else:
            _take(broker, fetcher, followed, sent, result, out)
    _send(broker, fetcher, out)


def _take(broker: Broker, fetcher: Fetcher, followed: FollowedPartition, sent: FetchItem, result: FetchResult, out: Outbox) -> None:
    """Appends what came and learns the leader's high watermark (fact 12); it may go back here (fact 24)."""
    partition = result.partition
    replica = broker.partitions[partition]
    log = replica.log
    moved = False
    if result.batches:
        active = log.segments[-1]
        first = log.log_end_offset
        try:
            for batch in result.batches:
                log.append_as_follower(batch, out.disk, out.now_ms)
        except LogError as wrong:
            if wrong.code == "KAFKA_STORAGE_ERROR":
                raise
            _delay(broker, fetcher, followed, out)
            return
        moved = True
        size = sum([len(batch) for batch in result.batches])
        broker.meters.count(REPLICATION_BYTES_IN, size, out.now)
        if replica.follower_throttled and broker.follower_throttle is not None:
            replication_quotas.record(broker, broker.follower_throttle, result.batches, out.now)
        topic, number = partition
        if log.segments[-1] is not active:
            out.emit(SegmentRolled(broker.broker_id, topic, number, log.segments[-1].base_offset))
        out.emit(RecordsReplicated(broker.broker_id, topic, number, first, log.log_end_offset - 1))
    high_watermark = result.high_watermark
    followed.caught_up = high_watermark <= log.log_end_offset
    if high_watermark > log.log_end_offset:
        high_watermark = log.log_end_offset
    if high_watermark != replica.high_watermark and high_watermark >= log.log_start_offset:
        replica.high_watermark = high_watermark
        broker.high_watermarks_changed = True
        if replica.consumers:  # they were sent here, to the replica nearest to them (KIP-392)
            fetch.wake_consumers(broker, replica, out)
    if result.log_start_offset > log.log_start_offset and result.log_start_offset <= replica.high_watermark:
        start = log.log_start_offset
        log.delete_records_before(result.log_start_offset, replica.high_watermark, out.disk)
        topic, number = partition
        out.emit(LogStartOffsetAdvanced(broker.broker_id, topic, number, start, log.log_start_offset, LEADER_MOVED))
        moved = True
    if moved or sent.log_start_offset != log.log_start_offset:  # its own retention moves the start too: the leader is told
        followed.item = _item(broker, replica)
        fetcher.stale = True


def _on_divergence(broker: Broker, fetcher: Fetcher, followed: FollowedPartition, result: FetchResult, out: Outbox) -> None:
    """Kafka's ``getOffsetTruncationState``: back to where both logs last agreed, as far as one answer tells."""
    replica = broker.partitions[result.partition]
    log = replica.log
    own = log.end_offset_for_epoch(result.diverging_epoch)
    if own.epoch < 0:
        target = result.diverging_offset
    elif own.epoch != result.diverging_epoch:
        target = own.end_offset  # an epoch that this log has not: the next answer will tell more
    else:
        target = min(own.end_offset, result.diverging_offset)
    _truncate(broker, replica, min(target, log.log_end_offset), out)
    followed.item = _item(broker, replica)
    fetcher.stale = True


def _truncate(broker: Broker, replica: Replica, to_offset: int, out: Outbox) -> None:
    log = replica.log
    before = log.log_end_offset
    cleaner.before_truncation(broker, replica, to_offset, out)
    if log.truncate_to(to_offset, out.disk, out.now_ms):
        cleaner.after_truncation(broker, replica, out)
        topic, number = replica.partition
        after = log.log_end_offset
        out.emit(ReplicaTruncated(broker.broker_id, topic, number, before, after, replica.leader_epoch))
    if replica.high_watermark > log.log_end_offset:
        replica.high_watermark = log.log_end_offset
        broker.high_watermarks_changed = True


def _on_error(
    broker: Broker, fetcher: Fetcher, followed: FollowedPartition, sent: FetchItem, result: FetchResult, out: Outbox
) -> None:
    """Out of range asks the leader where its log begins and ends; a fenced partition waits for newer metadata; others are retried."""
    replica = broker.partitions[result.partition]
    if result.error == "OFFSET_OUT_OF_RANGE":
        followed.item = None
        followed.due_us = WAITING_FOR_ANSWER_US
        fetcher.stale = True
        _look_up_offsets(broker, fetcher, replica, out)
    elif result.error == "FENCED_LEADER_EPOCH" and sent.current_leader_epoch == replica.leader_epoch:
        del fetcher.partitions[result.partition]
        fetcher.stale = True
    else:
        _delay(broker, fetcher, followed, out)


# -- out of range -----------------------------------------------------------------------------------------------------------------------


def _look_up_offsets(broker: Broker, fetcher: Fetcher, replica: Replica, out: Outbox) -> None:
    """Kafka's ``fetchOffsetAndTruncate``: the leader's log end, then its log start."""
    correlation_id = broker.correlation()
    fetcher.offset_lookups[correlation_id] = replica.partition
    items = tuple([ListOffsetsItem(replica.partition, at, replica.leader_epoch) for at in (LATEST_TIMESTAMP, EARLIEST_TIMESTAMP)])
    out.send(broker_name(fetcher.leader_id), ListOffsetsRequest(correlation_id, items, broker.broker_id))


def on_offsets(broker: Broker, source: str, response: ListOffsetsResponse, out: Outbox) -> None:
    for fetcher in broker.fetchers.values():
        partition = fetcher.offset_lookups.pop(response.correlation_id, None)
        if partition is None:
            continue
        followed = fetcher.partitions.get(partition)
        replica = broker.partitions.get(partition)
        if followed is None or replica is None or replica.role != FOLLOWER or followed.item is not None:
            return
        latest, earliest = response.results
        if latest.error != "NONE" or earliest.error != "NONE":
            _delay(broker, fetcher, followed, out)
            return
        _reset(broker, replica, earliest.offset, latest.offset, out)
        followed.item = _item(broker, replica)
        fetcher.stale = True
        _send(broker, fetcher, out)
        return


def _reset(broker: Broker, replica: Replica, leader_start: int, leader_end: int, out: Outbox) -> None:
    """A leader that holds less (an unclean election) makes this replica shorter; one that begins later makes it begin anew."""
    log = replica.log
    before = log.log_end_offset
    if leader_end < before:
        _truncate(broker, replica, leader_end, out)
    elif leader_start > before:
        cleaner.stop(broker, replica.partition, out)
        log.truncate_fully_and_start_at(leader_start, out.disk, out.now_ms)
        cleaner.after_truncation(broker, replica, out)
        replica.high_watermark = leader_start
        topic, number = replica.partition
        out.emit(ReplicaTruncated(broker.broker_id, topic, number, before, leader_start, replica.leader_epoch))
