"""KRaft (KIP-595, KIP-996): the messages by which controllers elect a leader and everybody fetches the metadata log.

Batches are v2 record batches of ``__cluster_metadata-0``; their values are JSON of ``engine.metadata.records``.
"""

from __future__ import annotations

from engine.messages.base import Request, Response


class VoteRequest(Request, frozen=True, gc=False, tag=True):
    """``pre_vote`` asks without binding anybody (KIP-996)."""

    epoch: int
    candidate_id: int
    last_epoch: int
    last_offset: int
    pre_vote: bool


class VoteResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    epoch: int
    leader_id: int
    granted: bool
    pre_vote: bool
    voter_id: int


class BeginQuorumEpochRequest(Request, frozen=True, gc=False, tag=True):
    epoch: int
    leader_id: int


class BeginQuorumEpochResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    epoch: int
    leader_id: int


class EndQuorumEpochRequest(Request, frozen=True, gc=False, tag=True):
    epoch: int
    leader_id: int
    preferred_candidates: tuple[int, ...]


class EndQuorumEpochResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    epoch: int
    leader_id: int


class QuorumFetchRequest(Request, frozen=True, gc=False, tag=True):
    """Fetch of ``__cluster_metadata-0``. Voters are controllers; brokers fetch as observers."""

    replica_id: int
    epoch: int
    fetch_offset: int
    last_fetched_epoch: int
    max_wait_ms: int


class QuorumFetchResponse(Response, frozen=True, gc=False, tag=True):
    """``diverging_epoch``/``diverging_offset`` are -1 unless the follower must truncate."""

    error: str
    epoch: int
    leader_id: int
    high_watermark: int
    batches: tuple[bytes, ...] = ()
    diverging_epoch: int = -1
    diverging_offset: int = -1
