"""AlterPartition (KIP-497): the leader proposes an ISR to the controller; one request is in flight at a time.

Sources: ``AlterPartitionManager`` (queue, retries) and ``Partition.handleAlterPartitionError`` (what each answer means). v2 names
topics by ID; v3 (KIP-903) sends each ISR member's broker epoch, so that a restarted member is not let in on old fetches.
"""

from __future__ import annotations

from engine.broker import controller_channel, replication
from engine.broker.settings import CONTROLLER_RETRY_US
from engine.broker.state import LEADER, Broker, Replica
from engine.broker.timers import AlterPartitionRetry
from engine.messages.base import TopicPartition
from engine.messages.cluster import (
    AlterPartitionItem,
    AlterPartitionRequest,
    AlterPartitionResponse,
    AlterPartitionResult,
    BrokerState,
)  # fmt: skip
from engine.sim.outbox import Outbox

ROLLED_BACK = ("INELIGIBLE_REPLICA", "OPERATION_NOT_ATTEMPTED")
"""The proposal is off; the leader goes on with the committed ISR and may propose again."""
GIVEN_UP = (
    "UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_ID", "FENCED_LEADER_EPOCH", "INVALID_UPDATE_VERSION", "INVALID_REQUEST",
    "NEW_LEADER_ELECTED",
)  # fmt: skip
"""The controller knows something newer: the proposal stays pending (and holds the high watermark) until the metadata tells."""


def submit(broker: Broker, replica: Replica, out: Outbox) -> None:
    """Queues the pending ISR of ``replica``; a queue that moves already takes it along later."""
    assert replica.pending_isr is not None
    members = tuple([BrokerState(broker_id, _epoch_of(broker, replica, broker_id)) for broker_id in replica.pending_isr])
    broker.alter_queue[replica.partition] = AlterPartitionItem(
        replica.partition, replica.topic_id, replica.leader_epoch, replica.partition_epoch, members
    )
    propagate(broker, out)


def _epoch_of(broker: Broker, replica: Replica, broker_id: int) -> int:
    """The epoch under which the member fetches, or else the one it is registered with."""
    if broker_id == broker.broker_id:
        return broker.broker_epoch
    follower = replica.followers.get(broker_id)
    if follower is not None and follower.broker_epoch >= 0:
        return follower.broker_epoch
    registration = broker.image.brokers.get(broker_id)
    return registration.broker_epoch if registration is not None else -1


def propagate(broker: Broker, out: Outbox) -> None:
    if broker.alter_in_flight >= 0 or not broker.alter_queue:
        return
    request = AlterPartitionRequest(broker.correlation(), broker.broker_id, broker.broker_epoch, tuple(broker.alter_queue.values()))
    broker.alter_in_flight = request.correlation_id
    controller_channel.call(broker, request, controller_channel.ALTER_PARTITION, out)


def on_response(broker: Broker, request: AlterPartitionRequest, response: AlterPartitionResponse, out: Outbox) -> None:
    """A refusal of the whole request is retried; otherwise each partition has its own answer."""
    broker.alter_in_flight = -1
    if response.error != "NONE":
        out.arm(AlterPartitionRetry(), after_us=CONTROLLER_RETRY_US)
        return
    cause = out.cause
    answers: dict[TopicPartition, AlterPartitionResult] = {result.partition: result for result in response.partitions}
    for item in request.partitions:
        if broker.alter_queue.get(item.partition) is item or broker.alter_queue.get(item.partition) == item:
            del broker.alter_queue[item.partition]
        answer = answers.get(item.partition)
        out.because(cause)
        if answer is not None:
            _settle(broker, item, answer, out)
    out.because(cause)
    propagate(broker, out)


def _settle(broker: Broker, item: AlterPartitionItem, answer: AlterPartitionResult, out: Outbox) -> None:
    replica = broker.partitions.get(item.partition)
    proposed = tuple([member.broker_id for member in item.new_isr])
    if (
        replica is None
        or replica.role != LEADER
        or replica.leader_epoch != item.leader_epoch
        or replica.partition_epoch != item.partition_epoch
        or replica.pending_isr != proposed
    ):
        return  # the metadata has overtaken the answer
    if answer.error == "NONE":
        if answer.leader_epoch == replica.leader_epoch and answer.partition_epoch >= replica.partition_epoch:
            replica.partition_epoch = answer.partition_epoch
            replication.set_committed_isr(replica, answer.isr)
            replication.maybe_advance_high_watermark(broker, replica, out)
    elif answer.error in ROLLED_BACK:
        replication.set_committed_isr(replica, replica.isr)
        replication.maybe_advance_high_watermark(broker, replica, out)
    elif answer.error not in GIVEN_UP:
        submit(broker, replica, out)
