"""The share partitions that this broker leads: read from the share coordinator, changed by acknowledgements and by time, written back.

Kafka's ``SharePartitionManager``. A share partition comes to life with the first fetch and ends with the leadership. An acknowledgement
counts once the share coordinator has it; that a lock runs out counts at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.broker import persister, replication
from engine.broker.share_channels import READ, WRITE, PersisterCall, ShareKeyHere, Waiter
from engine.broker.share_partition import (
    ACKNOWLEDGED,
    ACQUIRED,
    ARCHIVED,
    AVAILABLE,
    Change,
    SharePartition,
    ShareWrite,
    state_batches,
)
from engine.broker.state import LEADER, Broker, Replica
from engine.broker.timers import ShareLockTimer
from engine.events import AcquisitionLockExpired, ShareAcknowledged, SharePartitionLoaded
from engine.messages.base import TopicPartition
from engine.messages.share_groups import ReadShareGroupStateResponse
from engine.metadata.durations import duration_ms
from engine.metadata.group_configs import group_config
from engine.sim.outbox import Outbox


def setting(broker: Broker, group_id: str, name: str) -> str:
    return group_config(broker.image, broker.configs, group_id, name)


def delivery_limit(broker: Broker, group_id: str) -> int:
    return int(setting(broker, group_id, "share.delivery.count.limit"))


def lock_us(broker: Broker, group_id: str) -> int:
    return int(setting(broker, group_id, "share.record.lock.duration.ms")) * 1000


# -- coming to life -----------------------------------------------------------------------------------------------------------------------


def obtain(broker: Broker, group_id: str, partition: TopicPartition, out: Outbox) -> tuple[SharePartition | None, str]:
    """The share partition, which may still be loading; or None and an error."""
    replica = broker.partitions.get(partition)
    if replica is None:
        return None, replication.unhosted_error(broker, partition)
    if replica.role != LEADER or not replica.online:
        return None, "NOT_LEADER_OR_FOLLOWER"
    key = ShareKeyHere(group_id, partition)
    share = broker.share.partitions.get(key)
    if share is None or share.leader_epoch != replica.leader_epoch:
        share = broker.share.partitions[key] = SharePartition(group_id, partition, replica.topic_id, replica.leader_epoch)
        call = PersisterCall(READ, group_id, partition, replica.topic_id, leader_epoch=replica.leader_epoch)
        persister.submit(broker, call, out)
    return share, "NONE"


def on_read(broker: Broker, call: PersisterCall, response: ReadShareGroupStateResponse, out: Outbox) -> SharePartition | None:
    """What the share coordinator has of it; None where that is no use any more. A share partition that could not be read is forgotten:
    the next fetch tries again."""
    key = ShareKeyHere(call.group_id, call.partition)
    share = broker.share.partitions.get(key)
    replica = broker.partitions.get(call.partition)
    if share is None or share.active or share.leader_epoch != call.leader_epoch or replica is None:
        return None
    if response.error != "NONE":
        del broker.share.partitions[key]
        return None
    start = response.start_offset
    if start < 0:
        start = _reset_offset(broker, call.group_id, replica, out.now_ms)
    share.activate(response.state_epoch, max(start, replica.log.log_start_offset), response.batches)
    topic, number = share.partition
    out.emit(SharePartitionLoaded(broker.broker_id, share.group_id, topic, number, share.start_offset, response.start_offset < 0))
    return share


def _reset_offset(broker: Broker, group_id: str, replica: Replica, now_ms: int) -> int:
    """``share.auto.offset.reset`` of a share partition that was never read."""
    policy = setting(broker, group_id, "share.auto.offset.reset")
    if policy == "earliest":
        return replica.log.log_start_offset
    if policy.startswith("by_duration:"):
        found = replica.log.offset_for_timestamp(now_ms - (duration_ms(policy.removeprefix("by_duration:")) or 0))
        return found.offset if found is not None and found.offset < replica.high_watermark else replica.high_watermark
    return replica.high_watermark


# -- acknowledging ------------------------------------------------------------------------------------------------------------------------


def acknowledge(
    broker: Broker,
    group_id: str,
    member_id: str,
    partition: TopicPartition,
    items: Sequence[tuple[int, int, str]],
    waiter: Waiter,
    out: Outbox,
) -> str:
    """ "" where ``waiter`` is told when it is durable; otherwise the outcome."""
    share = broker.share.partitions.get(ShareKeyHere(group_id, partition))
    if share is None or not share.active:
        replica = broker.partitions.get(partition)
        return "NOT_LEADER_OR_FOLLOWER" if replica is None or replica.role != LEADER else "UNKNOWN_TOPIC_OR_PARTITION"
    deadline = out.now + lock_us(broker, group_id)
    error, changes = share.acknowledge(member_id, items, delivery_limit(broker, group_id), deadline)
    if error != "NONE":
        return error
    renewed = [change for change in changes if change.record.state == ACQUIRED]
    share.apply(renewed)
    settled = [change for change in changes if change.record.state != ACQUIRED]
    _arm_lock_timer(share, out)
    if not settled:
        return "NONE"
    _tell(broker, share, waiter.client, settled, len(renewed), out)
    share.begin(settled)
    _write(broker, share, settled, ShareWrite(tuple(settled), waiter.client, waiter.correlation_id), out)
    return ""


def release(broker: Broker, group_id: str, member_id: str, partitions: Sequence[TopicPartition], client: str, out: Outbox) -> None:
    """The member's session is over: what it had acquired is free."""
    cause = out.cause
    for partition in partitions:
        share = broker.share.partitions.get(ShareKeyHere(group_id, partition))
        changes = share.release_all(member_id, delivery_limit(broker, group_id)) if share is not None else []
        if share is not None and changes:
            out.because(cause)
            _tell(broker, share, client, changes, 0, out)
            share.begin(changes)
            _write(broker, share, changes, ShareWrite(tuple(changes)), out)
    out.because(cause)


def _tell(broker: Broker, share: SharePartition, client: str, changes: Sequence[Change], renewed: int, out: Outbox) -> None:
    counts = dict.fromkeys((ACKNOWLEDGED, AVAILABLE, ARCHIVED), 0)
    for change in changes:
        counts[change.record.state] += 1
    topic, number = share.partition
    first, last = min(change.offset for change in changes), max(change.offset for change in changes)
    out.emit(
        ShareAcknowledged(
            broker.broker_id, share.group_id, topic, number, client, first, last, counts[ACKNOWLEDGED], counts[AVAILABLE],
            counts[ARCHIVED], renewed,
        )
    )  # fmt: skip


def _write(broker: Broker, share: SharePartition, changes: Sequence[Change], pending: ShareWrite, out: Outbox) -> None:
    call = PersisterCall(
        WRITE, share.group_id, share.partition, share.topic_id, share.state_epoch, share.leader_epoch, share.start_offset,
        state_batches(changes),
    )  # fmt: skip
    share.writes[persister.submit(broker, call, out)] = pending


def on_written(
    broker: Broker, number: int, call: PersisterCall, error: str, out: Outbox
) -> tuple[SharePartition | None, Waiter | None]:
    """(the share partition if it is still here, who waits for this)."""
    key = ShareKeyHere(call.group_id, call.partition)
    share = broker.share.partitions.get(key)
    pending = share.writes.pop(number, None) if share is not None else None
    if share is None or pending is None:
        return None, None
    share.complete(pending.changes, error == "NONE")
    if error in ("FENCED_LEADER_EPOCH", "FENCED_STATE_EPOCH"):
        del broker.share.partitions[key]  # somebody else goes on with it
    else:
        _arm_lock_timer(share, out)
    return share, Waiter(pending.client, pending.correlation_id) if pending.client else None


# -- time -----------------------------------------------------------------------------------------------------------------------------------


def _arm_lock_timer(share: SharePartition, out: Outbox) -> None:
    """For the record whose lock ends first; a timer that runs already may come too early, which does no harm."""
    deadline = share.next_deadline_us()
    if deadline and (not share.lock_timer_us or share.lock_timer_us > deadline):
        share.lock_timer_us = deadline
        out.arm(ShareLockTimer(share.group_id, *share.partition), after_us=max(deadline - out.now, 0))


def acquired(share: SharePartition, out: Outbox) -> None:
    """Locks have been given."""
    _arm_lock_timer(share, out)


def on_lock_timer(broker: Broker, timer: ShareLockTimer, out: Outbox) -> SharePartition | None:
    """``releaseAcquisitionLockOnTimeout``: records that nobody has acknowledged in time are available again, or were delivered often
    enough. Counts at once; the share coordinator is told. Returns the share partition if some became available."""
    key = ShareKeyHere(timer.group_id, TopicPartition(timer.topic, timer.partition))
    share = broker.share.partitions.get(key)
    if share is None:
        return None
    out.because(0)
    share.lock_timer_us = 0
    owners = {offset: record.member_id for offset, record in share.records.items() if record.state == ACQUIRED}
    changes = share.expired(out.now, delivery_limit(broker, share.group_id))
    if changes:
        _tell_expired(broker, share, changes, owners, out)
        share.apply(changes)
        _write(broker, share, changes, ShareWrite(()), out)
    _arm_lock_timer(share, out)
    return share if changes else None


def _tell_expired(broker: Broker, share: SharePartition, changes: Sequence[Change], owners: dict[int, str], out: Outbox) -> None:
    """One event for each member whose locks ran out; what keeps it silent is a cause."""
    by_member: dict[str, list[Change]] = {}
    for change in changes:
        by_member.setdefault(owners[change.offset], []).append(change)
    for member_id, theirs in by_member.items():
        session = broker.share.sessions.get((share.group_id, member_id))
        client = session.client if session is not None else ""
        archived = sum([change.record.state == ARCHIVED for change in theirs])
        topic, number = share.partition
        out.emit(
            AcquisitionLockExpired(
                broker.broker_id, share.group_id, topic, number, client, theirs[0].offset, theirs[-1].offset,
                len(theirs) - archived, archived,
            ),
            also=out.silencers(client) if client else (),
        )  # fmt: skip


# -- the end ----------------------------------------------------------------------------------------------------------------------------------


def drop(broker: Broker, partition: TopicPartition, out: Outbox) -> list[Waiter]:
    """Another broker leads it now, or nobody. Returns who waits for acknowledgements that will never be known to be durable."""
    waiting: list[Waiter] = []
    for key in [key for key in broker.share.partitions if key.partition == partition]:
        share = broker.share.partitions.pop(key)
        out.cancel(ShareLockTimer(share.group_id, *share.partition))
        for number, pending in share.writes.items():
            persister.forget(broker, number, out)
            if pending.client:
                waiting.append(Waiter(pending.client, pending.correlation_id))
    for number in [number for number, call in broker.share.calls.items() if call.kind == READ and call.partition == partition]:
        persister.forget(broker, number, out)
    return waiting
