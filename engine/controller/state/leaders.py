"""Elections that somebody asks for: ``ElectLeaders`` (KIP-460), the return of preferred leaders, and the periodic unclean election."""

from __future__ import annotations

from engine.controller.state.decision import Decision
from engine.controller.state.elections import PREFERRED, UNCLEAN
from engine.controller.state.partitions import change_partition, places
from engine.messages.admin import AdminResult, ElectLeadersRequest
from engine.messages.base import TopicPartition


def elect(decision: Decision, request: ElectLeadersRequest) -> tuple[AdminResult, ...]:
    """For all partitions (None), those that need no election are left out of the answer, as in Kafka."""
    wanted = request.partitions
    if wanted is None:
        everywhere = [TopicPartition(*place) for place in places(decision, lambda partition: True)]
        results = [_elect_one(decision, place, request.election_type) for place in everywhere]
        return tuple(result for result in results if result.error != "ELECTION_NOT_NEEDED")
    return tuple(_elect_one(decision, place, request.election_type) for place in wanted)


def _elect_one(decision: Decision, place: TopicPartition, election: str) -> AdminResult:
    name = str(place)
    partition = decision.image.partition(place)
    if partition is None:
        missing = f"partition as {name}" if place.topic in decision.image.topics else f"topic as {place.topic}"
        return AdminResult(name, "UNKNOWN_TOPIC_OR_PARTITION", f"No such {missing}")
    if partition.leader == partition.replicas[0] if election == PREFERRED else partition.leader >= 0:
        return AdminResult(name, "ELECTION_NOT_NEEDED", "Leader election not needed for topic partition.")
    if change_partition(decision, place, election=election, reason=PREFERRED if election == PREFERRED else ""):
        return AdminResult(name, "NONE")
    if election == PREFERRED:
        return AdminResult(name, "PREFERRED_LEADER_NOT_AVAILABLE", "The preferred leader was not available.")
    return AdminResult(name, "ELIGIBLE_LEADERS_NOT_AVAILABLE", "Eligible topic partition leaders are not available.")


def balance(decision: Decision) -> None:
    """Leadership returns to the first replica in the assignment where that one is in sync (fact 23)."""
    for place in places(decision, lambda partition: partition.leader >= 0 and partition.leader != partition.replicas[0]):
        partition = decision.image.topics[place[0]].partitions[place[1]]
        if decision.image.active(partition.replicas[0]):
            change_partition(decision, place, election=PREFERRED, reason=PREFERRED)


def elect_unclean(decision: Decision) -> None:
    """Where unclean election has been allowed since the leader was lost (``unclean.leader.election.interval.ms``)."""
    for place in places(decision, lambda partition: partition.leader < 0):
        if decision.unclean_election_enabled(place[0]):
            change_partition(decision, place, election=UNCLEAN)
