"""The role machine of a voter, as a table, and the election state that must survive a crash (KIP-595, KIP-996).

The table is Kafka's own (the transitions in the comment of ``QuorumState.java``); a lesson draws it as it stands here.
"""

from __future__ import annotations

import msgspec

from engine.sim.disk import Disk

UNATTACHED = "unattached"
FOLLOWER = "follower"
PROSPECTIVE = "prospective"
CANDIDATE = "candidate"
LEADER = "leader"
RESIGNED = "resigned"

HIGHER_EPOCH = "sees a higher epoch"
LEADER_FOUND = "learns who leads"
TIMEOUT = "times out"
MAJORITY = "gets a majority of votes"
REJECTED = "cannot win"
LOST_WITH_LEADER = "loses, and knows a leader"
LOST = "loses, and knows no leader"
RESIGN = "steps down"

TRANSITIONS: dict[tuple[str, str], str] = {
    (UNATTACHED, HIGHER_EPOCH): UNATTACHED,
    (UNATTACHED, LEADER_FOUND): FOLLOWER,
    (UNATTACHED, TIMEOUT): PROSPECTIVE,
    (FOLLOWER, HIGHER_EPOCH): UNATTACHED,
    (FOLLOWER, LEADER_FOUND): FOLLOWER,
    (FOLLOWER, TIMEOUT): PROSPECTIVE,
    (PROSPECTIVE, HIGHER_EPOCH): UNATTACHED,
    (PROSPECTIVE, LEADER_FOUND): FOLLOWER,
    (PROSPECTIVE, MAJORITY): CANDIDATE,
    (PROSPECTIVE, LOST_WITH_LEADER): FOLLOWER,
    (PROSPECTIVE, LOST): UNATTACHED,
    (CANDIDATE, HIGHER_EPOCH): UNATTACHED,
    (CANDIDATE, LEADER_FOUND): FOLLOWER,
    (CANDIDATE, MAJORITY): LEADER,
    (CANDIDATE, TIMEOUT): PROSPECTIVE,
    (CANDIDATE, REJECTED): PROSPECTIVE,
    (LEADER, HIGHER_EPOCH): UNATTACHED,
    (LEADER, LEADER_FOUND): FOLLOWER,
    (LEADER, RESIGN): RESIGNED,
    (RESIGNED, HIGHER_EPOCH): UNATTACHED,
    (RESIGNED, LEADER_FOUND): FOLLOWER,
    (RESIGNED, TIMEOUT): UNATTACHED,
}


def may_vote(role: str, leader_id: int, voted_id: int, has_fetched_from_leader: bool, candidate: int, pre_vote: bool) -> bool:
    """Kafka's ``canGrantVote`` of each role, for a candidate whose log is long enough: one vote per epoch, none against a living
    leader. A pre-vote binds nobody."""
    if pre_vote:
        return role != LEADER and not (role == FOLLOWER and has_fetched_from_leader)
    if voted_id >= 0:
        return voted_id == candidate
    return leader_id < 0 and role in (UNATTACHED, PROSPECTIVE)


QUORUM_STATE = "__cluster_metadata-0/quorum-state"


class ElectionState(msgspec.Struct, frozen=True, gc=False):
    """What ``quorum-state`` holds: the newest epoch seen, its leader and this node's vote in it (-1 for none)."""

    leader_epoch: int = 0
    leader_id: int = -1
    voted_id: int = -1


_DECODER = msgspec.json.Decoder(ElectionState)


def load(disk: Disk) -> ElectionState:
    return _DECODER.decode(disk.read(QUORUM_STATE)) if disk.exists(QUORUM_STATE) else ElectionState()


def save(state: ElectionState, disk: Disk) -> None:
    """Written by rename and synced, before any answer that relies on it may leave."""
    disk.replace(QUORUM_STATE, msgspec.json.encode(state))
