"""``AlterPartition``: a leader asks for another ISR; the controller checks every epoch it knows before it believes (KIP-497, KIP-841,
KIP-903). Source: ``ReplicationControlManager.alterPartition`` and ``validateAlterPartitionData``."""

from __future__ import annotations

from engine.controller.state.brokers import check_broker_epoch
from engine.controller.state.decision import Decision
from engine.controller.state.elections import target_of
from engine.controller.state.partitions import change_partition
from engine.events import AlterPartitionRefused
from engine.messages.cluster import AlterPartitionItem, AlterPartitionRequest, AlterPartitionResult, BrokerState
from engine.metadata.image import PartitionImage

MUTANT = "no-alter-partition-fence"


def alter(decision: Decision, request: AlterPartitionRequest) -> tuple[AlterPartitionResult, ...]:
    """One result per partition. Raises RefusedError for the whole request: BROKER_ID_NOT_REGISTERED, STALE_BROKER_EPOCH."""
    if MUTANT not in decision.mutants:
        check_broker_epoch(decision, request.broker_id, request.broker_epoch)
    return tuple(_alter_one(decision, request.broker_id, item) for item in request.partitions)


def _alter_one(decision: Decision, broker_id: int, item: AlterPartitionItem) -> AlterPartitionResult:
    topic, number = item.partition
    error = check(decision, broker_id, item)
    if error != "NONE":
        decision.details.append(AlterPartitionRefused(broker_id, topic, number, error))
        return AlterPartitionResult(item.partition, error)
    before = decision.image.topics[topic].partitions[number]
    target = target_of(before)
    target.isr = tuple(state.broker_id for state in item.new_isr)
    change_partition(decision, (topic, number), target, reason="reassignment" if before.reassigning else "")
    after = decision.image.topics[topic].partitions[number]
    if after.leader not in (before.leader, broker_id):
        return AlterPartitionResult(item.partition, "NEW_LEADER_ELECTED")
    return AlterPartitionResult(item.partition, "NONE", after.leader, after.leader_epoch, after.isr, after.partition_epoch)


def check(decision: Decision, broker_id: int, item: AlterPartitionItem) -> str:
    """The first error, in Kafka's order, or NONE."""
    name = decision.image.topic_names.get(item.topic_id)
    if name is None or name != item.partition.topic:
        return "UNKNOWN_TOPIC_ID"
    partition = decision.image.topics[name].partitions.get(item.partition.partition)
    if partition is None:
        return "UNKNOWN_TOPIC_OR_PARTITION"
    if MUTANT not in decision.mutants:
        error = _check_epochs(broker_id, partition, item)
        if error != "NONE":
            return error
    isr = [state.broker_id for state in item.new_isr]
    if len(set(isr)) != len(isr) or not set(isr) <= set(partition.replicas) or partition.leader not in isr:
        return "INVALID_REQUEST"
    if not all(_eligible(decision, state) for state in item.new_isr):
        return "INELIGIBLE_REPLICA"
    return "NONE"


def _check_epochs(broker_id: int, partition: PartitionImage, item: AlterPartitionItem) -> str:
    if item.leader_epoch > partition.leader_epoch or item.partition_epoch > partition.partition_epoch:
        return "NOT_CONTROLLER"  # the sender has seen what this controller has not: it cannot be the active one
    if item.leader_epoch < partition.leader_epoch:
        return "FENCED_LEADER_EPOCH"
    if broker_id != partition.leader:
        return "INVALID_REQUEST"
    if item.partition_epoch < partition.partition_epoch:
        return "INVALID_UPDATE_VERSION"
    return "NONE"


def _eligible(decision: Decision, state: BrokerState) -> bool:
    """-1 skips the epoch: the sender does not know it (KIP-903)."""
    broker = decision.image.brokers.get(state.broker_id)
    if broker is None or broker.in_controlled_shutdown or broker.fenced:
        return False
    return state.broker_epoch in (-1, broker.broker_epoch) or MUTANT in decision.mutants
