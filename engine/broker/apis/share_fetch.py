"""ShareFetch (API key 78): a member of a share group acquires records, and acknowledges earlier ones by the way.

Versions: v1 is that of Kafka 4.1. A share session remembers what the member fetches here; its epoch counts the requests. The request waits
until some record can be acquired, and for its acknowledgements to be durable. Sources: ``KafkaApis.handleShareFetchRequest``,
``SharePartitionManager``, ``DelayedShareFetch``.
"""

from __future__ import annotations

from engine.broker import share_partitions
from engine.broker.apis.share_waiters import group_items, settle_waiter
from engine.broker.share_channels import ParkedShareFetch, ShareSession, Waiter
from engine.broker.share_partition import SharePartition
from engine.broker.state import Broker, Replica
from engine.broker.timers import ShareFetchExpired
from engine.events import ShareRecordsAcquired
from engine.log.errors import LogError
from engine.log.record_batch import ControlRecordType, read_end_txn_marker, read_header
from engine.messages.base import TopicPartition
from engine.messages.share_groups import ShareFetchRequest, ShareFetchResponse, ShareFetchResult
from engine.metadata.configs import static_value
from engine.sim.outbox import Outbox

FINAL_EPOCH = -1
LAST_EPOCH = 2**31 - 1


def handle(broker: Broker, source: str, request: ShareFetchRequest, out: Outbox) -> None:
    error, session = _session(broker, source, request)
    if session is None:
        out.send(source, ShareFetchResponse(request.correlation_id, error))
        return
    waiter = Waiter(source, request.correlation_id)
    turn = request.session_epoch % len(session.partitions) if session.partitions else 0
    partitions = session.partitions[turn:] + session.partitions[:turn]
    parked = ParkedShareFetch(request, partitions, out.now + request.max_wait_ms * 1000, out.cause)
    broker.share.fetches[waiter] = parked
    cause = out.cause
    for partition, items in group_items(request.acknowledgements).items():
        out.because(cause)
        outcome = share_partitions.acknowledge(broker, request.group_id, request.member_id, partition, items, waiter, out)
        if outcome:
            parked.acknowledge_errors[partition] = outcome
        else:
            parked.unwritten += 1
    if request.session_epoch == FINAL_EPOCH:
        del broker.share.sessions[request.group_id, request.member_id]
        out.because(cause)
        share_partitions.release(broker, request.group_id, request.member_id, session.partitions, source, out)
        parked.results = ()
    out.because(cause)
    _try(broker, waiter, parked, out)
    if waiter in broker.share.fetches and parked.results is None:
        out.arm(ShareFetchExpired(*waiter), after_us=max(request.max_wait_ms, 0) * 1000)


def _session(broker: Broker, source: str, request: ShareFetchRequest) -> tuple[str, ShareSession | None]:
    """Opens, continues or closes the member's share session."""
    key = (request.group_id, request.member_id)
    sessions = broker.share.sessions
    known = sessions.get(key)
    if request.session_epoch == 0:
        if request.acknowledgements:
            return "INVALID_REQUEST", None
        limit = int(static_value(broker.configs, "group.share.max.share.sessions"))
        if known is None and len(sessions) >= limit:
            return "SHARE_SESSION_LIMIT_REACHED", None
        opened = sessions[key] = ShareSession(source, 1, tuple(dict.fromkeys(request.partitions)))
        return "NONE", opened
    if known is None:
        return "SHARE_SESSION_NOT_FOUND", None
    if request.session_epoch == FINAL_EPOCH:
        return ("INVALID_REQUEST", None) if request.partitions else ("NONE", known)
    if request.session_epoch != known.epoch:
        return "INVALID_SHARE_SESSION_EPOCH", None
    partitions = [part for part in dict.fromkeys((*known.partitions, *request.partitions)) if part not in request.forgotten]
    continued = sessions[key] = ShareSession(source, next_epoch(known.epoch), tuple(partitions))
    return "NONE", continued


def next_epoch(epoch: int) -> int:
    return 1 if epoch == LAST_EPOCH else epoch + 1


# -- acquiring ------------------------------------------------------------------------------------------------------------------------------


def _try(broker: Broker, waiter: Waiter, parked: ParkedShareFetch, out: Outbox) -> None:
    """Acquires if there is anything, and answers if nothing has to be waited for."""
    if parked.results is None:
        parked.results = _acquire(broker, waiter.client, parked, out)
        if parked.results is None and (parked.deadline_us <= out.now or not parked.partitions):
            parked.results = ()
    _answer_if_ready(broker, waiter, parked, out)


def _answer_if_ready(broker: Broker, waiter: Waiter, parked: ParkedShareFetch, out: Outbox) -> None:
    if parked.results is None or parked.unwritten:
        return
    del broker.share.fetches[waiter]
    out.cancel(ShareFetchExpired(*waiter))
    request = parked.request
    errors = dict(parked.acknowledge_errors)
    results = []
    for result in parked.results:
        error = errors.pop(result.partition, "NONE")
        results.append(
            ShareFetchResult(
                result.partition, result.error, error, result.batches, result.acquired, result.current_leader,
                result.current_leader_epoch,
            )
        )  # fmt: skip
    results += [ShareFetchResult(partition, "NONE", error) for partition, error in errors.items()]
    lock_ms = share_partitions.lock_us(broker, request.group_id) // 1000
    out.send(waiter.client, ShareFetchResponse(request.correlation_id, "NONE", tuple(results), lock_ms))


def _acquire(broker: Broker, client: str, parked: ParkedShareFetch, out: Outbox) -> tuple[ShareFetchResult, ...] | None:
    """None: nothing to tell yet."""
    request, cause = parked.request, out.cause
    results: list[ShareFetchResult] = []
    room, records = request.max_bytes, request.max_records
    for partition in parked.partitions:
        if records <= 0 or room <= 0:
            break
        out.because(cause)
        share, error = share_partitions.obtain(broker, request.group_id, partition, out)
        if share is None:
            results.append(_refused(broker, partition, error))
            continue
        if not share.active:
            continue
        result = _acquire_from(broker, client, share, request, records, room, not results, out)
        if result is not None:
            results.append(result)
            records -= sum([item.last_offset - item.first_offset + 1 for item in result.acquired])
            room -= sum([len(batch) for batch in result.batches])
    if records == request.max_records:
        out.because(cause)  # otherwise the answer tells what was acquired
    return tuple(results) if results else None


def _refused(broker: Broker, partition: TopicPartition, error: str) -> ShareFetchResult:
    """With an outdated leader the answer names the current one."""
    replica = broker.partitions.get(partition)
    if error == "NOT_LEADER_OR_FOLLOWER" and replica is not None and replica.online:
        return ShareFetchResult(partition, error, current_leader=replica.leader_id, current_leader_epoch=replica.leader_epoch)
    return ShareFetchResult(partition, error)


def _acquire_from(
    broker: Broker,
    client: str,
    share: SharePartition,
    request: ShareFetchRequest,
    max_records: int,
    room: int,
    min_one: bool,
    out: Outbox,
) -> ShareFetchResult | None:
    replica = broker.partitions[share.partition]
    share.log_start_moved(replica.log.log_start_offset)
    locks = int(share_partitions.setting(broker, share.group_id, "share.partition.max.record.locks"))
    if share.is_full(locks):
        return None
    committed = share_partitions.setting(broker, share.group_id, "share.isolation.level") == "read_committed"
    bound = replica.last_stable_offset if committed else replica.high_watermark
    offset = share.next_fetch_offset()
    if offset >= bound:
        return None
    try:
        batches = replica.log.read(offset, room, bound, min_one)
    except LogError as wrong:
        return ShareFetchResult(share.partition, wrong.code)
    headers = [read_header(batch) for batch in batches]
    spans = [(header.base_offset, header.last_offset) for header in headers]
    share.note_gaps(offset, spans)
    skipped = _aborted(replica, batches) if committed else []
    deadline = out.now + share_partitions.lock_us(broker, share.group_id)
    acquired = share.acquire(request.member_id, spans, max_records, locks, deadline, skipped)
    share.advance_start()
    if not acquired:
        return None
    first, last = acquired[0].first_offset, acquired[-1].last_offset
    topic, number = share.partition
    count = sum([item.last_offset - item.first_offset + 1 for item in acquired])
    most = max([item.delivery_count for item in acquired])
    out.emit(ShareRecordsAcquired(broker.broker_id, share.group_id, topic, number, client, first, last, count, most))
    share_partitions.acquired(share, out)
    given = tuple([batch for batch, (low, high) in zip(batches, spans, strict=True) if high >= first and low <= last])
    return ShareFetchResult(share.partition, "NONE", batches=given, acquired=tuple(acquired))


def _aborted(replica: Replica, batches: tuple[bytes, ...]) -> list[tuple[int, int]]:
    """Batches of aborted transactions: with read_committed nobody gets them."""
    if not batches:
        return []
    first = read_header(batches[0]).base_offset
    end = read_header(batches[-1]).last_offset + 1
    starts = [(txn.producer_id, txn.first_offset) for txn in replica.log.aborted_txns(first, end)]
    found: list[tuple[int, int]] = []
    ended: dict[int, int] = {}
    for batch in batches:
        header = read_header(batch)
        if header.is_control_batch:
            marker = read_end_txn_marker(batch)
            if marker is not None and marker.type == ControlRecordType.ABORT:
                ended[header.producer_id] = header.base_offset
        elif header.is_transactional and any(
            producer == header.producer_id and ended.get(producer, -1) < begin <= header.last_offset for producer, begin in starts
        ):
            found.append((header.base_offset, header.last_offset))
    return found


# -- waking up --------------------------------------------------------------------------------------------------------------------------------


def wake(broker: Broker, partition: TopicPartition, group_id: str | None, out: Outbox) -> None:
    """Something can be acquired there, or has gone wrong: whoever waits for it looks again."""
    cause = out.cause
    for waiter, parked in list(broker.share.fetches.items()):
        if parked.results is None and partition in parked.partitions and group_id in (None, parked.request.group_id):
            out.because(cause)
            _try(broker, waiter, parked, out)
    out.because(cause)


def on_expired(broker: Broker, source: str, timer: ShareFetchExpired, out: Outbox) -> None:
    waiter = Waiter(timer.client, timer.number)
    parked = broker.share.fetches.get(waiter)
    if parked is not None:
        out.because(parked.cause)
        _try(broker, waiter, parked, out)


def acknowledged(broker: Broker, waiter: Waiter, partition: TopicPartition, error: str, out: Outbox) -> None:
    """One of the request's acknowledgements is durable, or is not."""
    parked = broker.share.fetches.get(waiter)
    if parked is None:
        settle_waiter(broker, waiter, partition, error, out)
        return
    parked.unwritten -= 1
    if error != "NONE":
        parked.acknowledge_errors[partition] = error
    _answer_if_ready(broker, waiter, parked, out)


def drop_client(broker: Broker, client: str, out: Outbox) -> None:
    """Its connection broke: its sessions end, and what it had acquired is free at once."""
    for waiter in [waiter for waiter in broker.share.fetches if waiter.client == client]:
        del broker.share.fetches[waiter]
        out.cancel(ShareFetchExpired(*waiter))
    for waiter in [waiter for waiter in broker.share.acknowledgements if waiter.client == client]:
        del broker.share.acknowledgements[waiter]
    cause = out.cause
    for (group_id, member_id), session in list(broker.share.sessions.items()):
        if session.client == client:
            out.because(cause)
            del broker.share.sessions[group_id, member_id]
            share_partitions.release(broker, group_id, member_id, session.partitions, client, out)
    out.because(cause)
