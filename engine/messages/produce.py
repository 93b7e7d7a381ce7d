"""Produce and InitProducerId (KIP-98)."""

from __future__ import annotations

import msgspec

from engine.messages.base import Request, Response, TopicPartition


class ProduceItem(msgspec.Struct, frozen=True, gc=False):
    """One v2 record batch for one partition."""

    partition: TopicPartition
    batch: bytes


class ProduceRequest(Request, frozen=True, gc=False, tag=True):
    """``acks`` is 0, 1 or -1 (all). With 0 the broker sends no response. ``adds_partitions``: from version 12 on the leader adds its
    partition to the transaction (KIP-890); before, the client had done it and the leader only asks whether."""

    client_id: str
    acks: int
    timeout_ms: int
    items: tuple[ProduceItem, ...]
    transactional_id: str = ""
    adds_partitions: bool = True


class ProduceResult(msgspec.Struct, frozen=True, gc=False):
    """``current_leader`` and ``current_leader_epoch`` come with NOT_LEADER_OR_FOLLOWER (KIP-951)."""

    partition: TopicPartition
    error: str
    base_offset: int = -1
    log_append_time_ms: int = -1
    log_start_offset: int = -1
    error_message: str = ""
    current_leader: int = -1
    current_leader_epoch: int = -1


class ProduceResponse(Response, frozen=True, gc=False, tag=True):
    results: tuple[ProduceResult, ...]
    throttle_time_ms: int = 0


class InitProducerIdRequest(Request, frozen=True, gc=False, tag=True):
    transactional_id: str = ""
    transaction_timeout_ms: int = 60_000
    producer_id: int = -1
    producer_epoch: int = -1


class InitProducerIdResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    producer_id: int = -1
    producer_epoch: int = -1
