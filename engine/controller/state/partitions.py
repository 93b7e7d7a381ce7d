"""Changes that sweep over many partitions because a broker came, went or came back doubtful (``ReplicationControlManager``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.controller.state.decision import Decision
from engine.controller.state.elections import ONLINE, UNCLEAN, Target, change_for, target_of
from engine.metadata.image import PartitionImage

Place = tuple[str, int]


def places(decision: Decision, wanted: Callable[[PartitionImage], bool]) -> list[Place]:
    """(topic, partition) of all partitions that are ``wanted``, in order of creation."""
    return [
        (topic.name, number)
        for topic in decision.image.topics.values()
        for number, partition in topic.partitions.items()
        if wanted(partition)
    ]


def change_partition(
    decision: Decision,
    place: Place,
    target: Target | None = None,
    *,
    acceptable: Callable[[int], bool] | None = None,
    election: str = "",
    unclean_shutdown: int = -1,
    reason: str = "",
) -> bool:
    """Builds and writes the change of one partition; False if nothing changes. ``election`` "" is unclean where the topic allows it."""
    topic = decision.image.topics[place[0]]
    partition = topic.partitions[place[1]]
    if not election:
        election = UNCLEAN if decision.unclean_election_enabled(place[0]) else ONLINE
    change = change_for(
        topic.topic_id,
        place[1],
        partition,
        target if target is not None else target_of(partition),
        acceptable if acceptable is not None else decision.image.active,
        min_isr=decision.min_insync_replicas(place[0]),
        elr_enabled=decision.elr_enabled,
        election=election,
        unclean_shutdown=unclean_shutdown,
    )
    if change is None:
        return False
    decision.change_partition(place[0], change, reason)
    return True


def update_leaders_and_isrs(
    decision: Decision,
    where: Iterable[Place],
    *,
    remove: int = -1,
    add: int = -1,
    unclean_shutdown: int = -1,
    reason: str = "",
) -> None:
    """``generateLeaderAndIsrUpdates``: ``remove`` leaves each ISR and leadership, ``add`` may lead although its record still says fenced,
    ``unclean_shutdown`` leaves ISR and ELR."""
    active = decision.image.active

    def acceptable(replica: int) -> bool:
        return replica not in (remove, unclean_shutdown) and (replica == add or active(replica))

    for place in where:
        partition = decision.image.topics[place[0]].partitions[place[1]]
        target = target_of(partition)
        target.isr = tuple(replica for replica in partition.isr if replica not in (remove, unclean_shutdown))
        change_partition(decision, place, target, acceptable=acceptable, unclean_shutdown=unclean_shutdown, reason=reason)


def broker_leaves(decision: Decision, broker_id: int, reason: str = "") -> None:
    """Out of every ISR; where it led, somebody else leads."""
    where = places(decision, lambda partition: broker_id in partition.isr)
    update_leaders_and_isrs(decision, where, remove=broker_id, reason=reason)


def broker_lost_data(decision: Decision, broker_id: int) -> None:
    """An unclean stop may have lost what was not synced (or it is unregistered): it is eligible nowhere any more (KIP-966)."""
    for wanted in (_in_isr(broker_id), _in_elr(broker_id)):
        update_leaders_and_isrs(decision, places(decision, wanted), unclean_shutdown=broker_id)


def broker_is_eligible(decision: Decision, broker_id: int) -> None:
    """A broker has been unfenced: partitions without a leader may elect it."""
    where = places(decision, lambda partition: partition.leader < 0)
    update_leaders_and_isrs(decision, where, add=broker_id)


def _in_isr(broker_id: int) -> Callable[[PartitionImage], bool]:
    return lambda partition: broker_id in partition.isr


def _in_elr(broker_id: int) -> Callable[[PartitionImage], bool]:
    return lambda partition: broker_id in partition.elr
