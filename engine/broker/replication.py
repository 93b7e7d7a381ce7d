"""The leader's side of replication: where the high watermark stands, who belongs to the ISR, and what waits for both.

Sources: Kafka's ``Partition`` (``maybeIncrementLeaderHW``, ``maybeExpandIsr``, ``maybeShrinkIsr``) and ``Replica``.
"""

from __future__ import annotations

from engine.broker import alter_partition, coordinators, stable_offset
from engine.broker.apis import delete_records, fetch, write_txn_markers
from engine.broker.meters import PRODUCE_TIME
from engine.broker.state import LEADER, UNKNOWN_OFFSET, Broker, FollowerState, PendingAck, Replica
from engine.events import HighWatermarkAdvanced, IsrExpandProposed, IsrShrinkProposed, ProduceAcknowledged, ProduceRefused
from engine.messages.base import TopicPartition
from engine.messages.produce import ProduceResponse, ProduceResult
from engine.sim.outbox import Outbox
from engine.spec import broker_name


def check_leader_epoch(replica: Replica, current_leader_epoch: int) -> str:
    """An error's name, or "NONE". A sender with an older epoch is fenced; one with a newer epoch must wait for this broker."""
    if current_leader_epoch < 0 or current_leader_epoch == replica.leader_epoch:
        return "NONE" if replica.role == LEADER else "NOT_LEADER_OR_FOLLOWER"
    return "FENCED_LEADER_EPOCH" if current_leader_epoch < replica.leader_epoch else "UNKNOWN_LEADER_EPOCH"


def unhosted_error(broker: Broker, partition: TopicPartition) -> str:
    """Kafka's ``getPartitionOrError`` for a partition that this broker does not host: known to the cluster, or not at all."""
    return "UNKNOWN_TOPIC_OR_PARTITION" if broker.image.partition(partition) is None else "NOT_LEADER_OR_FOLLOWER"


# -- the high watermark --------------------------------------------------------------------------------------------------------


def maybe_advance_high_watermark(broker: Broker, replica: Replica, out: Outbox) -> bool:
    """The smallest log end over the maximal ISR (and over followers that are caught up and about to join it), and only while the
    committed ISR is large enough (fact 13). Completes what waited for it."""
    if len(replica.isr) < replica.min_isr:
        return False
    leader_end = new = replica.log.log_end_offset
    maximal = replica.maximal_isr
    if "hw-committed-isr-only" in broker.mutants:
        maximal = replica.isr
    for broker_id, follower in replica.followers.items():
        if follower.log_end_offset < new and (
            broker_id in maximal
            or (maximal is replica.maximal_isr and _may_join_soon(broker, broker_id, follower, leader_end, out.now))
        ):
            new = follower.log_end_offset
    old = replica.high_watermark
    if new <= old:
        return False
    replica.high_watermark = new
    broker.high_watermarks_changed = True
    name, number = replica.partition
    event = out.emit(HighWatermarkAdvanced(broker.broker_id, name, number, old, new))
    if replica.held_stable_offset is not None or replica.log.producer_state.has_unstable_txns:
        stable_offset.on_high_watermark(broker, replica, out)
        out.because(event)
    if replica.waiting:
        complete_acks(broker, replica, event, out)
    if replica.shard is not None:
        coordinators.on_high_watermark(broker, replica, replica.shard, out)
    if replica.consumers or broker.share.fetches:
        fetch.wake_consumers(broker, replica, out)
        out.because(event)
    return True


def _may_join_soon(broker: Broker, broker_id: int, follower: FollowerState, leader_end: int, now_us: int) -> bool:
    """A caught-up follower outside the ISR holds the high watermark back, lest it never catch up with it."""
    caught_up = (
        follower.log_end_offset == leader_end
        or now_us // 1000 - follower.last_caught_up_ms <= broker.settings.replica_lag_time_max_ms
    )
    return caught_up and is_isr_eligible(broker, broker_id, follower)


def is_isr_eligible(broker: Broker, broker_id: int, follower: FollowerState) -> bool:
    """Not fenced, not shutting down, and its fetches come from the incarnation that is registered now (KIP-903)."""
    registration = broker.image.brokers.get(broker_id)
    return (
        registration is not None
        and not registration.fenced
        and not registration.in_controlled_shutdown
        and follower.broker_epoch in (-1, registration.broker_epoch)
        and follower.log_end_offset != UNKNOWN_OFFSET
    )


# -- acknowledgements ------------------------------------------------------------------------------------------------------------


def complete_acks(broker: Broker, replica: Replica, cause: int, out: Outbox) -> None:
    """Acknowledges (or, with a small ISR, refuses) the parked batches that the high watermark has reached."""
    high_watermark = replica.high_watermark
    error = "NONE" if replica.min_isr <= len(replica.maximal_isr) else "NOT_ENOUGH_REPLICAS_AFTER_APPEND"
    remaining: list[PendingAck] = []
    for pending in replica.waiting:
        if pending.required_offset > high_watermark:
            remaining.append(pending)
            continue
        out.because(cause)
        _finish(broker, replica, pending, error, out)
    replica.waiting = remaining
    out.because(cause)


def fail_acks(broker: Broker, replica: Replica, error: str, out: Outbox) -> None:
    """The leadership is lost, or the partition gone: nobody here can tell any more whether the records commit."""
    waiting, replica.waiting = replica.waiting, []
    cause = out.cause
    for pending in waiting:
        out.because(cause)
        _finish(broker, replica, pending, error, out)
    out.because(cause)


def _finish(broker: Broker, replica: Replica, pending: PendingAck, error: str, out: Outbox) -> None:
    """One item of a parked produce request has its result; the last one sends the response."""
    if pending.produce_id < 0:
        write_txn_markers.finish(broker, replica, pending, error, out)
        return
    parked = broker.parked_produces.get(pending.produce_id)
    if parked is None or parked.results[pending.item] is not None:
        return
    topic, number = replica.partition
    also = (pending.event_id,)
    if error == "NONE":
        parked.results[pending.item] = ProduceResult(
            replica.partition, "NONE", pending.first_offset, pending.log_append_time_ms, replica.log.log_start_offset
        )
        out.emit(
            ProduceAcknowledged(
                broker.broker_id, topic, number, pending.first_offset, pending.required_offset - 1, -1, parked.client_id,
                parked.correlation_id,
            ),
            also=also,
        )  # fmt: skip
    else:
        parked.results[pending.item] = refused(replica.partition, error, replica)
        out.emit(ProduceRefused(broker.broker_id, topic, number, error, parked.client_id, parked.correlation_id), also=also)
    parked.unacknowledged -= 1
    if not parked.unacknowledged:
        del broker.parked_produces[pending.produce_id]
        results = tuple([result for result in parked.results if result is not None])
        broker.meters.took(PRODUCE_TIME, out.now - parked.received_us, out.now)
        out.send(parked.source, ProduceResponse(parked.correlation_id, results))


def refused(partition: TopicPartition, error: str, replica: Replica | None, message: str = "") -> ProduceResult:
    """With NOT_LEADER_OR_FOLLOWER the answer names the leader as this broker knows it (KIP-951)."""
    if error == "NOT_LEADER_OR_FOLLOWER" and replica is not None and replica.online:
        return ProduceResult(
            partition, error, error_message=message, current_leader=replica.leader_id,
            current_leader_epoch=replica.leader_epoch,
        )  # fmt: skip
    return ProduceResult(partition, error, error_message=message)


def laggards(replica: Replica, out: Outbox) -> tuple[int, ...]:
    """What silenced those members of the ISR that have not reached the leader's log end."""
    end = replica.log.log_end_offset
    silent = [
        cause
        for broker_id, follower in replica.followers.items()
        if broker_id in replica.maximal_isr and follower.log_end_offset < end
        for cause in out.silencers(broker_name(broker_id))
    ]
    return tuple(dict.fromkeys(silent))


# -- what followers' fetches tell -------------------------------------------------------------------------------------------------


def record_follower_fetch(
    broker: Broker, replica: Replica, broker_id: int, fetch_offset: int, log_start_offset: int, broker_epoch: int, out: Outbox
) -> bool:
    """Takes a fetch as proof that the follower holds everything below ``fetch_offset``; True if the high watermark advanced."""
    follower = replica.followers[broker_id]
    leader_end = replica.log.log_end_offset
    now_us = out.now
    if fetch_offset >= leader_end:
        follower.last_caught_up_ms = now_us // 1000
    elif fetch_offset >= follower.last_fetch_leader_log_end_offset >= 0:
        caught_up = follower.last_fetch_us // 1000
        if caught_up > follower.last_caught_up_ms:
            follower.last_caught_up_ms = caught_up
    moved = follower.log_end_offset != fetch_offset
    follower.log_end_offset = fetch_offset
    follower.log_start_offset = log_start_offset
    follower.last_fetch_leader_log_end_offset = leader_end
    follower.last_fetch_us = now_us
    follower.broker_epoch = broker_epoch
    if broker_id not in replica.isr and replica.pending_isr is None:
        maybe_expand_isr(broker, replica, broker_id, follower, out)
    if broker.parked_deletes:
        delete_records.on_low_watermark(broker, replica, out)
    return moved and maybe_advance_high_watermark(broker, replica, out)


# -- the ISR -----------------------------------------------------------------------------------------------------------------------


def maybe_expand_isr(broker: Broker, replica: Replica, broker_id: int, follower: FollowerState, out: Outbox) -> None:
    """Fact 18: its log end reaches the high watermark and this epoch's start, it may join, and nothing is in flight."""
    if (
        follower.log_end_offset >= replica.high_watermark
        and 0 <= replica.leader_epoch_start_offset <= follower.log_end_offset
        and is_isr_eligible(broker, broker_id, follower)
    ):
        new_isr = (*replica.isr, broker_id)
        topic, number = replica.partition
        cause = out.cause
        out.emit(IsrExpandProposed(broker.broker_id, topic, number, broker_id, new_isr))
        propose_isr(broker, replica, new_isr, out)
        out.because(cause)


def shrink_isrs(broker: Broker, out: Outbox) -> None:
    """The check of every half of replica.lag.time.max.ms: whoever was last caught up longer ago than that leaves."""
    cause = out.cause
    for replica in broker.partitions.values():
        if replica.role == LEADER and replica.pending_isr is None and len(replica.isr) > 1:
            _maybe_shrink(broker, replica, out)
            out.because(cause)


def _maybe_shrink(broker: Broker, replica: Replica, out: Outbox) -> None:
    now_ms = out.now // 1000
    leader_end = replica.log.log_end_offset
    lag = broker.settings.replica_lag_time_max_ms
    removed: list[int] = []
    for broker_id in replica.isr:
        follower = replica.followers.get(broker_id)
        if broker_id == broker.broker_id:
            continue
        if follower is None or (follower.log_end_offset != leader_end and now_ms - follower.last_caught_up_ms > lag):
            removed.append(broker_id)
    if not removed:
        return
    new_isr = tuple([broker_id for broker_id in replica.isr if broker_id not in removed])
    topic, number = replica.partition
    also = [cause for broker_id in removed for cause in out.silencers(broker_name(broker_id))]
    out.emit(IsrShrinkProposed(broker.broker_id, topic, number, tuple(removed), new_isr), also=tuple(dict.fromkeys(also)))
    propose_isr(broker, replica, new_isr, out)


def propose_isr(broker: Broker, replica: Replica, new_isr: tuple[int, ...], out: Outbox) -> None:
    """Until the controller answers, records count only when the old and the new ISR hold them. Ascending, as a
    real broker's hash set of small numbers lists them."""
    new_isr = tuple(sorted(new_isr))
    replica.pending_isr = new_isr
    replica.maximal_isr = replica.isr if len(new_isr) < len(replica.isr) else new_isr
    alter_partition.submit(broker, replica, out)


def set_committed_isr(replica: Replica, isr: tuple[int, ...]) -> None:
    replica.isr = replica.maximal_isr = isr
    replica.pending_isr = None
