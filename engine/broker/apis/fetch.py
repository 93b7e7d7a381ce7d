"""Fetch (API key 1), for consumers and followers.

Versions: v4 brought isolation levels, v5 the log start offset, v9 the current leader epoch (KIP-320), v11 the consumer's rack and a
replica near it (KIP-392), v12 the last fetched epoch, by which a leader finds divergence without a request of its own (KIP-595), v13
topic IDs, v15 the follower's broker epoch (KIP-903), v16 the leader's endpoints (KIP-951). Fetch
sessions (KIP-227) save bytes on the wire and are left to the wire codec.

A follower's fetch is also its acknowledgement of everything below its offset (fact 12). Sources: ``ReplicaManager.fetchMessages``,
``Partition.fetchRecords``, ``DelayedFetch``.
"""

from __future__ import annotations

from engine.broker import replication, replication_quotas
from engine.broker.apis import share_fetch
from engine.broker.settings import FETCH_MAX_BYTES
from engine.broker.state import FOLLOWER, LEADER, Broker, ParkedFetch, Replica
from engine.broker.timers import FetchExpired
from engine.log.errors import LogError
from engine.log.record_batch import last_offset
from engine.messages.fetch import FetchItem, FetchRequest, FetchResponse, FetchResult
from engine.sim.outbox import Outbox
from engine.spec import broker_name

READ_COMMITTED = "read_committed"


def handle(broker: Broker, source: str, request: FetchRequest, out: Outbox) -> None:
    """Answers at once where there is enough to tell (bytes, an error, a divergence), otherwise parks the fetch."""
    if source in broker.parked_fetches:
        _unpark(broker, source)
    cause = out.cause
    results, enough, size, failed = _read_all(broker, request, True, out)
    out.because(cause)
    if enough or request.max_wait_ms <= 0 or not request.items:
        _respond(broker, source, request, results, size, failed, 0, out)
        return
    deadline = out.now + request.max_wait_ms * 1000
    broker.parked_fetches[source] = ParkedFetch(request, out.now, deadline, out.cause)
    timer = broker.fetch_timers.get(source)
    if timer is None or timer > deadline:
        broker.fetch_timers[source] = deadline
        out.arm(FetchExpired(source), after_us=deadline - out.now)
    if request.replica_id < 0:
        for item in request.items:
            replica = broker.partitions.get(item.partition)
            if replica is not None:
                replica.consumers.append(source)


def on_expired(broker: Broker, source: str, timer: FetchExpired, out: Outbox) -> None:
    requester = timer.requester
    del broker.fetch_timers[requester]
    parked = broker.parked_fetches.get(requester)
    if parked is None:
        return
    if parked.deadline_us > out.now:  # the fetch that the timer was armed for has been answered; this one is younger
        broker.fetch_timers[requester] = parked.deadline_us
        out.arm(timer, after_us=parked.deadline_us - out.now)
        return
    out.because(parked.cause)
    _answer(broker, requester, parked, out)


def wake_followers(broker: Broker, replica: Replica, out: Outbox) -> None:
    """The leader's log has grown: followers that wait for this partition are answered now."""
    for broker_id, follower in replica.followers.items():
        name = _NAMES[broker_id]
        parked = broker.parked_fetches.get(name)
        if parked is not None and follower.last_fetch_us == parked.received_us:
            _complete(broker, name, parked, out)


def wake_consumers(broker: Broker, replica: Replica, out: Outbox) -> None:
    """The high watermark has advanced: consumers that wait for this partition may read on."""
    cause = out.cause
    if broker.share.fetches:
        share_fetch.wake(broker, replica.partition, None, out)
    for name in list(replica.consumers):
        parked = broker.parked_fetches.get(name)
        if parked is not None:
            _complete(broker, name, parked, out)
            out.because(cause)


def drop_requester(broker: Broker, peer: str) -> None:
    """Its connection broke: nobody waits for the answer."""
    if peer in broker.parked_fetches:
        _unpark(broker, peer)


def settle(broker: Broker, replica: Replica, out: Outbox) -> None:
    """The leadership has changed: parked fetches of this partition are answered with what is true now."""
    cause = out.cause
    for name, parked in list(broker.parked_fetches.items()):
        if any(item.partition == replica.partition for item in parked.request.items):
            out.because(cause)
            _answer(broker, name, parked, out)
    out.because(cause)


def _complete(broker: Broker, name: str, parked: ParkedFetch, out: Outbox) -> None:
    results, enough, size, failed = _read_all(broker, parked.request, False, out)
    if enough:
        _unpark(broker, name)
        _respond(broker, name, parked.request, results, size, failed, out.now - parked.received_us, out)


def _answer(broker: Broker, name: str, parked: ParkedFetch, out: Outbox) -> None:
    results, _, size, failed = _read_all(broker, parked.request, False, out)
    _unpark(broker, name)
    _respond(broker, name, parked.request, results, size, failed, out.now - parked.received_us, out)


def _respond(
    broker: Broker,
    name: str,
    request: FetchRequest,
    results: tuple[FetchResult, ...],
    size: int,
    failed: int,
    waited_us: int,
    out: Outbox,
) -> None:
    """Sends, and counts what is sent: to consumers and to followers apart."""
    broker.meters.fetched(request.replica_id >= 0, len(request.items), size, failed, waited_us, out.now)
    out.send(name, FetchResponse(request.correlation_id, results))


def _unpark(broker: Broker, name: str) -> None:
    parked = broker.parked_fetches.pop(name)
    if parked.request.replica_id < 0:
        for item in parked.request.items:
            replica = broker.partitions.get(item.partition)
            if replica is not None and name in replica.consumers:
                replica.consumers.remove(name)


# -- reading -----------------------------------------------------------------------------------------------------------------------


def _read_all(
    broker: Broker, request: FetchRequest, first_time: bool, out: Outbox
) -> tuple[tuple[FetchResult, ...], bool, int, int]:
    """One result per item, whether that is enough to answer now, the bytes found and the items that failed. ``first_time``: the fetch
    counts as acknowledgement."""
    results: list[FetchResult] = []
    room = request.max_bytes if request.max_bytes < FETCH_MAX_BYTES else FETCH_MAX_BYTES
    min_one, urgent, found, failed = True, False, 0, 0
    partitions = broker.partitions
    follower_id = request.replica_id
    outdated = follower_id >= 0 and _is_outdated(broker, request)
    for item in request.items:
        replica = partitions.get(item.partition)
        if replica is None:
            result = FetchResult(item.partition, _unhosted(broker, item))
        else:
            limit = item.max_bytes if item.max_bytes < room else room
            if follower_id >= 0:
                result = _read_for_follower(broker, replica, item, request, limit, min_one, first_time, outdated, out)
            else:
                result = _read_for_consumer(broker, replica, item, request, limit, min_one, out.now // 1000)
        results.append(result)
        if result.batches:
            min_one = False
            size = sum([len(batch) for batch in result.batches])
            found += size
            room = room - size if room > size else 0
        elif result.error != "NONE" or result.diverging_epoch >= 0 or result.preferred_read_replica >= 0:
            urgent = True
            failed += result.error != "NONE"
    return tuple(results), urgent or found >= request.min_bytes, found, failed


def _unhosted(broker: Broker, item: FetchItem) -> str:
    error = replication.unhosted_error(broker, item.partition)
    if item.topic_id and item.topic_id not in broker.image.topic_names:
        return "UNKNOWN_TOPIC_ID"
    return error


def _check(replica: Replica, item: FetchItem) -> str:
    if item.topic_id and item.topic_id != replica.topic_id:
        return "INCONSISTENT_TOPIC_ID"
    return replication.check_leader_epoch(replica, item.current_leader_epoch)


def _refused(replica: Replica, error: str) -> FetchResult:
    """With an outdated leader the answer names the current one (KIP-951)."""
    if error in ("NOT_LEADER_OR_FOLLOWER", "FENCED_LEADER_EPOCH") and replica.online:
        return FetchResult(replica.partition, error, current_leader=replica.leader_id, current_leader_epoch=replica.leader_epoch)
    return FetchResult(replica.partition, error)


def _read_for_follower(
    broker: Broker,
    replica: Replica,
    item: FetchItem,
    request: FetchRequest,
    limit: int,
    min_one: bool,
    first_time: bool,
    outdated: bool,
    out: Outbox,
) -> FetchResult:
    leader_epoch = item.current_leader_epoch
    if (
        replica.role != LEADER
        or (leader_epoch >= 0 and leader_epoch != replica.leader_epoch)
        or (item.topic_id and item.topic_id != replica.topic_id)
    ):
        return _refused(replica, _check(replica, item))
    follower = replica.followers.get(request.replica_id)
    if follower is None:  # the leader does not know of this replica yet
        return FetchResult(
            replica.partition, "UNKNOWN_LEADER_EPOCH" if item.current_leader_epoch >= 0 else "NOT_LEADER_OR_FOLLOWER"
        )
    if outdated or 0 <= request.replica_epoch < follower.broker_epoch:  # KIP-903: an earlier incarnation must not count
        return _refused(replica, "NOT_LEADER_OR_FOLLOWER")
    offset = item.fetch_offset
    log = replica.log
    end = log.log_end_offset
    if item.last_fetched_epoch != log.leader_epochs.latest_epoch or not log.log_start_offset <= offset <= end:
        diverging = _divergence(replica, item)
        if diverging is not None:
            return diverging
    if offset == end or (replica.leader_throttled and replication_quotas.hides_from(broker, replica, request.replica_id, out)):
        batches: tuple[bytes, ...] = ()
    else:
        try:
            batches = log.read(offset, limit, None, min_one)
        except LogError as wrong:
            return FetchResult(replica.partition, wrong.code)
    if first_time:
        replication.record_follower_fetch(
            broker, replica, request.replica_id, offset, item.log_start_offset, request.replica_epoch, out
        )
    if batches:
        if replica.leader_throttled and broker.leader_throttle is not None:
            replication_quotas.record(broker, broker.leader_throttle, batches, out.now)
        return FetchResult(replica.partition, "NONE", replica.high_watermark, -1, log.log_start_offset, batches)
    quiet = follower.quiet_result
    if quiet is None or quiet.high_watermark != replica.high_watermark or quiet.log_start_offset != log.log_start_offset:
        quiet = follower.quiet_result = FetchResult(replica.partition, "NONE", replica.high_watermark, -1, log.log_start_offset)
    return quiet


def _is_outdated(broker: Broker, request: FetchRequest) -> bool:
    """Whether the follower has registered anew since it sent this fetch (KIP-903)."""
    registration = broker.image.brokers.get(request.replica_id)
    return registration is not None and registration.broker_epoch > request.replica_epoch >= 0


def _divergence(replica: Replica, item: FetchItem) -> FetchResult | None:
    """Fact 20: where the follower's last epoch ended here before its offset, it holds what this leader never had."""
    epoch = item.last_fetched_epoch
    if epoch < 0:
        return None
    log = replica.log
    offset = item.fetch_offset
    if epoch == log.leader_epochs.latest_epoch and log.log_start_offset <= offset <= log.log_end_offset:
        return None  # the common case: both are in the newest epoch
    end = log.end_offset_for_epoch(epoch)
    if end.epoch < 0 or end.end_offset < 0 or offset < log.log_start_offset:
        return FetchResult(replica.partition, "OFFSET_OUT_OF_RANGE")
    if end.epoch < epoch or end.end_offset < offset:
        return FetchResult(
            replica.partition, "NONE", replica.high_watermark, -1, log.log_start_offset, (), end.epoch, end.end_offset
        )
    return None


def _read_for_consumer(
    broker: Broker, replica: Replica, item: FetchItem, request: FetchRequest, limit: int, min_one: bool, now_ms: int
) -> FetchResult:
    """Up to the high watermark, or the last stable offset. A follower serves a consumer too, up to the high watermark that it knows."""
    error = _check(replica, item)
    if error == "NOT_LEADER_OR_FOLLOWER" and replica.role == FOLLOWER and replica.online and replica.leader_id >= 0:
        error = "NONE"
    if error != "NONE":
        return _refused(replica, error)
    if request.rack_id and broker.settings.rack_aware_selector and replica.role == LEADER:
        preferred = _nearest_replica(broker, replica, request.rack_id, item.fetch_offset, now_ms)
        if preferred >= 0:
            stable = replica.log.last_stable_offset(replica.high_watermark)
            found = (replica.partition, "NONE", replica.high_watermark, stable, replica.log.log_start_offset)
            return FetchResult(*found, preferred_read_replica=preferred)
    log = replica.log
    offset = item.fetch_offset
    if item.last_fetched_epoch >= 0:
        diverging = _divergence(replica, item)
        if diverging is not None:
            return diverging
    high_watermark = replica.high_watermark
    stable = log.last_stable_offset(high_watermark)
    committed = request.isolation_level == READ_COMMITTED
    bound = stable if committed else high_watermark
    try:
        batches = log.read(offset, limit, bound, min_one)
    except LogError as wrong:
        return FetchResult(replica.partition, wrong.code)
    aborted: tuple[tuple[int, int], ...] = ()
    if committed and batches:
        end = last_offset(batches[-1]) + 1
        aborted = tuple([(txn.producer_id, txn.first_offset) for txn in log.aborted_txns(offset, end)])
    return FetchResult(
        replica.partition, "NONE", high_watermark, stable, log.log_start_offset, batches, aborted_transactions=aborted
    )


def _nearest_replica(broker: Broker, replica: Replica, rack: str, offset: int, now_ms: int) -> int:
    """``RackAwareReplicaSelector``: of the in-sync followers in the consumer's rack that hold ``offset`` the one that has come furthest; -1
    where there is none, or the leader itself stands in that rack."""
    if broker.rack == rack:
        return -1
    best: tuple[int, int, int] | None = None
    for broker_id, follower in replica.followers.items():
        registration = broker.image.brokers.get(broker_id)
        if registration is None or registration.fenced or registration.rack != rack or broker_id not in replica.isr:
            continue
        if follower.log_start_offset <= offset <= follower.log_end_offset:
            view = (follower.log_end_offset, follower.last_caught_up_ms - now_ms, broker_id)
            best = view if best is None or view > best else best
    return best[2] if best is not None else -1


_NAMES: dict[int, str] = {number: broker_name(number) for number in range(256)}
"""Addresses by broker ID: looked up on every append."""
