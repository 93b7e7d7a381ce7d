"""Replicas move (``AlterPartitionReassignments``, KIP-455): add the new ones, wait until they are in sync, then let the old ones go."""

from __future__ import annotations

from engine.controller.state.decision import Decision, RefusedError
from engine.controller.state.elections import ONLINE, UNCLEAN, target_of
from engine.controller.state.partitions import change_partition
from engine.controller.state.topics import check_assignment
from engine.messages.admin import OngoingReassignment, Reassignment
from engine.messages.base import TopicPartition


def alter(decision: Decision, item: Reassignment) -> None:
    """Raises RefusedError: UNKNOWN_TOPIC_OR_PARTITION, INVALID_REPLICA_ASSIGNMENT, NO_REASSIGNMENT_IN_PROGRESS."""
    partition = decision.image.partition(item.partition)
    if partition is None:
        raise RefusedError("UNKNOWN_TOPIC_OR_PARTITION", f"Unable to find partition {item.partition}.")
    if item.replicas is None:
        _cancel(decision, item.partition)
    else:
        _begin(decision, item.partition, item.replicas)


def _begin(decision: Decision, place: TopicPartition, wanted: tuple[int, ...]) -> None:
    check_assignment(decision, wanted)
    partition = decision.image.topics[place.topic].partitions[place.partition]
    removing = tuple(sorted(replica for replica in partition.replicas if replica not in wanted))
    adding = tuple(sorted(replica for replica in wanted if replica not in partition.replicas))
    target = target_of(partition)
    target.replicas = wanted + removing
    if removing:
        target.removing = removing
    if adding:
        target.adding = adding
    change_partition(decision, place, target, election=ONLINE, reason="reassignment")


def _cancel(decision: Decision, place: TopicPartition) -> None:
    """Back to the replicas as they were (``PartitionReassignmentRevert``)."""
    partition = decision.image.topics[place.topic].partitions[place.partition]
    if not partition.reassigning:
        raise RefusedError("NO_REASSIGNMENT_IN_PROGRESS", "No partition reassignment is in progress.")
    unclean_enabled = decision.unclean_election_enabled(place.topic)
    target = target_of(partition)
    target.replicas = tuple(replica for replica in partition.replicas if replica not in partition.adding)
    target.isr = tuple(replica for replica in partition.isr if replica not in partition.adding)
    if not target.isr:
        if not unclean_enabled:
            raise RefusedError(
                "INVALID_REPLICA_ASSIGNMENT",
                f"Unable to revert partition assignment for {place.topic}:{place.partition} because it would require an unclean "
                "leader election.",
            )
        target.isr = target.replicas[:1]
    target.adding = target.removing = ()
    change_partition(decision, place, target, election=UNCLEAN if unclean_enabled else ONLINE, reason="reassignment")


def ongoing(decision: Decision) -> tuple[OngoingReassignment, ...]:
    return tuple(
        OngoingReassignment(TopicPartition(topic.name, number), partition.replicas, partition.adding, partition.removing)
        for topic in decision.image.topics.values()
        for number, partition in topic.partitions.items()
        if partition.reassigning
    )
