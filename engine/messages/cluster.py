"""What brokers ask of the active controller (KIP-500, KIP-631, KIP-841, KIP-966)."""

from __future__ import annotations

import msgspec

from engine.messages.base import Request, Response, TopicPartition


class BrokerRegistrationRequest(Request, frozen=True, gc=False, tag=True):
    """``incarnation_id`` differs for every start of the process; ``previous_broker_epoch`` is -1 after an unclean stop (KIP-966)."""

    broker_id: int
    incarnation_id: str
    rack: str
    previous_broker_epoch: int


class BrokerRegistrationResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    broker_epoch: int


class BrokerHeartbeatRequest(Request, frozen=True, gc=False, tag=True):
    broker_id: int
    broker_epoch: int
    current_metadata_offset: int
    want_fence: bool
    want_shut_down: bool


class BrokerHeartbeatResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    is_caught_up: bool = False
    is_fenced: bool = True
    should_shut_down: bool = False


class BrokerState(msgspec.Struct, frozen=True, gc=False):
    broker_id: int
    broker_epoch: int


class AlterPartitionItem(msgspec.Struct, frozen=True, gc=False):
    partition: TopicPartition
    topic_id: str
    leader_epoch: int
    partition_epoch: int
    new_isr: tuple[BrokerState, ...]


class AlterPartitionRequest(Request, frozen=True, gc=False, tag=True):
    broker_id: int
    broker_epoch: int
    partitions: tuple[AlterPartitionItem, ...]


class AlterPartitionResult(msgspec.Struct, frozen=True, gc=False):
    partition: TopicPartition
    error: str
    leader_id: int = -1
    leader_epoch: int = -1
    isr: tuple[int, ...] = ()
    partition_epoch: int = -1


class AlterPartitionResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    partitions: tuple[AlterPartitionResult, ...]


class AllocateProducerIdsRequest(Request, frozen=True, gc=False, tag=True):
    broker_id: int
    broker_epoch: int


class AllocateProducerIdsResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    producer_id_start: int = -1
    producer_id_len: int = 0


class EnvelopeRequest(Request, frozen=True, gc=False, tag=True):
    """A broker hands a client's admin request on to the active controller (KIP-590)."""

    principal: str
    request: Request


class EnvelopeResponse(Response, frozen=True, gc=False, tag=True):
    """``error`` NOT_CONTROLLER makes the broker look for the new one; otherwise ``response`` is what the client gets."""

    error: str
    response: Response | None = None
