"""The runtime of all coordinators on this broker: Kafka's ``CoordinatorRuntime`` with its loader and its writer.

Whoever leads a partition of an internal topic coordinates the groups, transactions or share states that hash to it. Its shard is built
by replaying the log when the broker is elected and dropped when it resigns. A request is decided by the shard; the records of the
decision are appended as one batch and replayed at once, so the state is ahead of what is committed, and the reply leaves when the high
watermark has passed them. What kind of shard belongs to a topic is registered by the module that serves its requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from engine.broker import logs, replication
from engine.broker.apis import fetch
from engine.broker.state import LEADER, Broker, CoordinatorShard, PendingWrite, Replica
from engine.broker.timers import CoordinatorLoad, CoordinatorWriteExpired
from engine.coordination import java_hash
from engine.coordination.shard import Continuation, Decision, ShardState
from engine.events import CoordinatorLoaded, CoordinatorUnloaded, RecordsAppended, SegmentRolled
from engine.log.errors import LogError
from engine.log.log_validator import AppendOrigin
from engine.log.record_batch import ControlRecordType, build_batch, build_end_txn_marker, decode, read_end_txn_marker, read_header
from engine.messages.base import Response, TopicPartition
from engine.messages.groups import PartitionError
from engine.metadata.internal_topics import CONSUMER_OFFSETS, INTERNAL_TOPICS
from engine.sim.outbox import Outbox

LOAD_US = 2_000
LOAD_RECORD_US = 2
"""Reading a partition back takes a moment, longer the more it holds."""

partition_for = java_hash.partition_for
"""Which partition of an internal topic a key belongs to."""

MUST_BE_FOUND_AGAIN = "NOT_COORDINATOR"
TRANSLATED = {
    "UNKNOWN_TOPIC_OR_PARTITION": "COORDINATOR_NOT_AVAILABLE",
    "NOT_ENOUGH_REPLICAS": "COORDINATOR_NOT_AVAILABLE",
    "REQUEST_TIMED_OUT": "COORDINATOR_NOT_AVAILABLE",
    "NOT_LEADER_OR_FOLLOWER": MUST_BE_FOUND_AGAIN,
    "KAFKA_STORAGE_ERROR": MUST_BE_FOUND_AGAIN,
    "MESSAGE_TOO_LARGE": "UNKNOWN_SERVER_ERROR",
    "RECORD_LIST_TOO_LARGE": "UNKNOWN_SERVER_ERROR",
}
"""``CoordinatorOperationExceptionHelper``: what a failed append means to the client that asked."""


class ShardKind(NamedTuple):
    """What one internal topic's shards are made of. The last three get (broker, replica, …, out): after the log has been replayed,
    when the leadership is lost, and when the records of a decision with ``then`` are committed or ("error") have failed."""

    create: Callable[[Broker, Replica], ShardState]
    on_loaded: Callable[[Broker, Replica, Outbox], None]
    on_dropped: Callable[[Broker, Replica, Outbox], None]
    on_written: Callable[[Broker, Replica, Continuation, str, Outbox], None]
    reload_in_new_epoch: bool = False
    """Whether a leader that is elected anew reads everything again (transactions) or carries on (groups)."""


_kinds: dict[str, ShardKind] = {}


def register(topic: str, kind: ShardKind) -> None:
    """Called once per internal topic, by the module that serves it, when that is imported."""
    _kinds[topic] = kind


# -- which partition, which shard -------------------------------------------------------------------------------------------------------


def locate(broker: Broker, topic: str, key: str) -> tuple[Replica | None, str]:
    """The replica whose shard answers for ``key``, and "NONE"; or None and NOT_COORDINATOR or COORDINATOR_LOAD_IN_PROGRESS."""
    known = broker.image.topics.get(topic)
    if known is None or not known.partitions:
        return None, MUST_BE_FOUND_AGAIN
    return locate_partition(broker, TopicPartition(topic, partition_for(key, len(known.partitions))))


def locate_partition(broker: Broker, partition: TopicPartition) -> tuple[Replica | None, str]:
    replica = broker.partitions.get(partition)
    if replica is None or replica.role != LEADER:
        return None, MUST_BE_FOUND_AGAIN
    shard = replica.shard
    if partition.topic not in _kinds:
        return None, "COORDINATOR_NOT_AVAILABLE"
    if shard is None:  # elected over an empty log: there was nothing to load
        replica.shard = CoordinatorShard(_kinds[partition.topic].create(broker, replica), replica.leader_epoch)
    elif shard.loading:
        return None, "COORDINATOR_LOAD_IN_PROGRESS"
    return replica, "NONE"


# -- elections ------------------------------------------------------------------------------------------------------------------------------


def on_elected(broker: Broker, replica: Replica, out: Outbox) -> None:
    """The broker leads this partition in a new epoch: what its log holds is read, which takes a moment."""
    topic, number = replica.partition
    if topic not in INTERNAL_TOPICS or topic not in _kinds:
        return
    shard, kind = replica.shard, _kinds[topic]
    if shard is not None:
        shard.leader_epoch = replica.leader_epoch
        if shard.loading or not kind.reload_in_new_epoch:
            return
        _drop(broker, replica, shard, out)
    records = replica.log.log_end_offset - replica.log.log_start_offset
    if records:
        replica.shard = CoordinatorShard(kind.create(broker, replica), replica.leader_epoch, True)
        out.arm(CoordinatorLoad(topic, number), after_us=LOAD_US + LOAD_RECORD_US * records)


def on_resigned(broker: Broker, replica: Replica, out: Outbox) -> None:
    """Another broker leads now, or the partition is gone."""
    shard = replica.shard
    if shard is not None:
        cause = out.cause
        _drop(broker, replica, shard, out)
        out.because(cause)


def _drop(broker: Broker, replica: Replica, shard: CoordinatorShard, out: Outbox) -> None:
    topic, number = replica.partition
    waiting, shard.waiting = shard.waiting, []
    if not shard.loading:
        out.emit(CoordinatorUnloaded(broker.broker_id, topic, number))
        cause = out.cause
        for pending in waiting:
            out.because(cause)
            _release(broker, replica, pending, MUST_BE_FOUND_AGAIN, out)
        out.because(cause)
        _kinds[topic].on_dropped(broker, replica, out)
    replica.shard = None


def on_load(broker: Broker, source: str, timer: CoordinatorLoad, out: Outbox) -> None:
    """The whole log is replayed, whether committed or not: the high watermark follows. Source: ``CoordinatorLoaderImpl``."""
    replica = broker.partitions.get(TopicPartition(timer.topic, timer.partition))
    shard = replica.shard if replica is not None else None
    if replica is None or shard is None or not shard.loading:
        return
    count = _replay_log(replica, shard)
    shard.loading = False
    shard.last_written_offset = replica.high_watermark
    out.emit(CoordinatorLoaded(broker.broker_id, timer.topic, timer.partition, replica.leader_epoch, count))
    _kinds[timer.topic].on_loaded(broker, replica, out)


def _replay_log(replica: Replica, shard: CoordinatorShard) -> int:
    state = shard.state
    log = replica.log
    count = 0
    for segment in log.segments:
        for entry in segment.batches:
            if entry.last_offset < log.log_start_offset:
                continue
            header = read_header(entry.data)
            if header.is_control_batch:
                marker = read_end_txn_marker(entry.data)
                if marker is not None:
                    committed = marker.type == ControlRecordType.COMMIT
                    state.replay_end_transaction_marker(header.producer_id, header.producer_epoch, committed)
                continue
            producer_id = header.producer_id if header.is_transactional else -1
            for record in decode(entry.data):
                if record.key is not None:
                    state.replay(record.offset, producer_id, header.producer_epoch, record.key, record.value, record.timestamp_ms)
                    count += 1
    return count


# -- writing --------------------------------------------------------------------------------------------------------------------------------


def write(
    broker: Broker,
    topic: str,
    partition: int,
    records: Sequence[tuple[bytes, bytes | None]],
    out: Outbox,
    *,
    destination: str = "",
    reply: Response | None = None,
    producer_id: int = -1,
    producer_epoch: int = -1,
    transactional: bool = False,
    then: Continuation | None = None,
    check_min_isr: bool = False,
    guard: int | None = None,
) -> str:
    """Appends one batch as leader and replays it. The reply leaves, and ``then`` is handed back, once the high watermark has passed it.

    Returns an error's name where nothing was written (the reply has then left with that error, translated), or "NONE".
    ``guard``: of a transaction's records, see ``PartitionLog.append_as_leader``. ``check_min_isr``: as with acks=all,
    NOT_ENOUGH_REPLICAS where the ISR is too small (the transaction coordinator's way).
    """
    replies = () if reply is None else ((destination, reply),)
    replica, error = locate_partition(broker, TopicPartition(topic, partition))
    if replica is None or replica.shard is None:
        _send(replies, error, out)
        return error
    shard = replica.shard
    if not records:
        _wait(broker, replica, shard, replies, then, out)
        return "NONE"
    if check_min_isr and len(replica.isr) < replica.min_isr:
        error = "NOT_ENOUGH_REPLICAS"
    else:
        now_ms = out.now_ms
        batch = build_batch(
            [(key, value, (), now_ms) for key, value in records], producer_id=producer_id, producer_epoch=producer_epoch,
            transactional=transactional,
        )  # fmt: skip
        error, first = _append(broker, replica, batch, out, guard=guard)
    if error != "NONE":
        _fail(broker, replica, PendingWrite(0, 0, out.cause, replies, then), error, out)
        return error
    replay = shard.state.replay
    for position, (key, value) in enumerate(records):
        replay(first + position, producer_id if transactional else -1, producer_epoch, key, value, now_ms)
    _appended(broker, replica, shard, replies, then, out)
    return "NONE"


def write_marker(
    broker: Broker,
    topic: str,
    partition: int,
    producer_id: int,
    producer_epoch: int,
    committed: bool,
    coordinator_epoch: int,
    out: Outbox,
    *,
    destination: str = "",
    reply: Response | None = None,
    then: Continuation | None = None,
    transaction_version: int = 0,
) -> str:
    """A transaction that wrote here has ended: the control batch is appended and replayed (``GroupCoordinator.completeTransaction``).
    Returns as ``write``."""
    replies = () if reply is None else ((destination, reply),)
    replica, error = locate_partition(broker, TopicPartition(topic, partition))
    if replica is None or replica.shard is None:
        _send(replies, error, out)
        return error
    batch = build_end_txn_marker(
        ControlRecordType.COMMIT if committed else ControlRecordType.ABORT, producer_id=producer_id, producer_epoch=producer_epoch,
        coordinator_epoch=coordinator_epoch, timestamp_ms=out.now_ms,
    )  # fmt: skip
    error, _ = _append(broker, replica, batch, out, transaction_version)
    if error != "NONE":
        _fail(broker, replica, PendingWrite(0, 0, out.cause, replies, then), error, out)
        return error
    replica.shard.state.replay_end_transaction_marker(producer_id, producer_epoch, committed)
    _appended(broker, replica, replica.shard, replies, then, out)
    return "NONE"


def carry_out(broker: Broker, replica: Replica, decision: Decision) -> None:
    """Sends and writes what a shard has decided."""
    out = decision.out
    for destination, response in decision.at_once:
        out.send(destination, response)
    shard = replica.shard
    if shard is None or not (decision.records or decision.replies or decision.then is not None):
        return
    replies = tuple(decision.replies)
    if not decision.records:
        _wait(broker, replica, shard, replies, decision.then, out)
        return
    now_ms = out.now_ms
    batch = build_batch([(key, value, (), now_ms) for key, value in decision.records])
    error, first = _append(broker, replica, batch, out)
    if error != "NONE":
        _fail(broker, replica, PendingWrite(0, 0, out.cause, replies, decision.then), error, out)
        return
    if decision.replay:
        for position, (key, value) in enumerate(decision.records):
            shard.state.replay(first + position, -1, -1, key, value, now_ms)
    _appended(broker, replica, shard, replies, decision.then, out)


def _append(
    broker: Broker, replica: Replica, batch: bytes, out: Outbox, transaction_version: int = 0, guard: int | None = None
) -> tuple[str, int]:
    """(error, first offset). The event that this emits becomes the cause of what follows."""
    log = replica.log
    active = log.segments[-1]
    try:
        appended = log.append_as_leader(
            batch,
            replica.leader_epoch,
            out.now_ms,
            out.disk,
            AppendOrigin.COORDINATOR,
            guard=guard,
            transaction_version=transaction_version,
        )
    except LogError as wrong:
        if wrong.code == "KAFKA_STORAGE_ERROR":
            logs.fail(broker, wrong.message or wrong.code, out)
        return wrong.code, -1
    topic, number = replica.partition
    if log.segments[-1] is not active:
        out.emit(SegmentRolled(broker.broker_id, topic, number, log.segments[-1].base_offset))
    out.emit(
        RecordsAppended(
            broker.broker_id, topic, number, appended.first_offset, appended.last_offset, replica.leader_epoch, len(batch), "", -1
        )
    )
    return "NONE", appended.first_offset


def _appended(
    broker: Broker,
    replica: Replica,
    shard: CoordinatorShard,
    replies: tuple[tuple[str, Response], ...],
    then: Continuation | None,
    out: Outbox,
) -> None:
    """Parks what waits for the commit, then tries to commit."""
    shard.last_written_offset = replica.log.log_end_offset
    event = out.cause
    if "commit-before-replication" in broker.mutants and replica.partition.topic == CONSUMER_OFFSETS:
        _release(broker, replica, PendingWrite(0, 0, event, replies, then), "NONE", out)
    elif replies or then is not None:
        _park(broker, replica, shard, replies, then, out)
    replication.maybe_advance_high_watermark(broker, replica, out)
    out.because(event)
    fetch.wake_followers(broker, replica, out)
    out.because(event)


def _wait(
    broker: Broker,
    replica: Replica,
    shard: CoordinatorShard,
    replies: tuple[tuple[str, Response], ...],
    then: Continuation | None,
    out: Outbox,
) -> None:
    """Nothing to write: only what was written before has to be committed first."""
    if shard.last_written_offset <= replica.high_watermark:
        _release(broker, replica, PendingWrite(0, 0, out.cause, replies, then), "NONE", out)
    else:
        _park(broker, replica, shard, replies, then, out)


def _park(
    broker: Broker,
    replica: Replica,
    shard: CoordinatorShard,
    replies: tuple[tuple[str, Response], ...],
    then: Continuation | None,
    out: Outbox,
) -> None:
    deadline = out.now + broker.settings.offsets_commit_timeout_us
    if not shard.waiting:
        out.arm(CoordinatorWriteExpired(*replica.partition), after_us=deadline - out.now)
    shard.waiting.append(PendingWrite(shard.last_written_offset, deadline, out.cause, replies, then))


def on_high_watermark(broker: Broker, replica: Replica, shard: CoordinatorShard, out: Outbox) -> None:
    """The high watermark has advanced: what waited for it goes out, in order."""
    high_watermark, cause = replica.high_watermark, out.cause
    while shard.waiting and shard.waiting[0].required_offset <= high_watermark:
        out.because(cause)
        _release(broker, replica, shard.waiting.pop(0), "NONE", out)
    out.because(cause)


def on_write_expired(broker: Broker, source: str, timer: CoordinatorWriteExpired, out: Outbox) -> None:
    """offsets.commit.timeout.ms: the records stay and may commit later, but nobody is told so."""
    replica = broker.partitions.get(TopicPartition(timer.topic, timer.partition))
    shard = replica.shard if replica is not None else None
    if replica is None or shard is None:
        return
    while shard.waiting and shard.waiting[0].deadline_us <= out.now:
        pending = shard.waiting.pop(0)
        out.because(pending.event_id)
        _release(broker, replica, pending, "REQUEST_TIMED_OUT", out)
    if shard.waiting:
        out.arm(timer, after_us=shard.waiting[0].deadline_us - out.now)


def _fail(broker: Broker, replica: Replica, pending: PendingWrite, error: str, out: Outbox) -> None:
    """The append was refused: the state is as it was before."""
    _release(broker, replica, pending, error, out)


def _release(broker: Broker, replica: Replica, pending: PendingWrite, error: str, out: Outbox) -> None:
    """What follows the commit comes first, the replies after it."""
    if pending.then is not None and replica.shard is not None:
        _kinds[replica.partition.topic].on_written(broker, replica, pending.then, error, out)
    _send(pending.replies, error, out)


def _send(replies: tuple[tuple[str, Response], ...], error: str, out: Outbox) -> None:
    for destination, response in replies:
        if destination:
            out.send(destination, response if error == "NONE" else refused(response, TRANSLATED.get(error, error)))


def refused(response: Response, error: str) -> Response:
    """The answer of the same kind that says nothing but ``error``, for each of its parts where it has parts."""
    kind = type(response)
    if "error" in kind.__struct_fields__:
        return kind(response.correlation_id, error)  # type: ignore[call-arg]
    changed = tuple([_part_refused(part, error) for part in response.results])  # type: ignore[attr-defined]
    return msgspec.structs.replace(response, results=changed)


def _part_refused(part: object, error: str) -> object:
    if isinstance(part, PartitionError):
        return PartitionError(part.partition, error)
    assert isinstance(part, tuple), f"a result of kind {type(part).__name__}"
    if isinstance(part[1], tuple):  # WriteTxnMarkers: (producer ID, results)
        return part[0], tuple([_part_refused(inner, error) for inner in part[1]])
    return part[0], error
