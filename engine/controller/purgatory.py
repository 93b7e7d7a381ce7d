"""Answers that wait until what they rest on is committed (Kafka's ``DeferredEventQueue``), with the events that will then have happened."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from engine.controller.state.decision import Outcome
from engine.messages.admin import DescribeQuorumResponse
from engine.messages.base import Message
from engine.messages.cluster import (
    AllocateProducerIdsResponse,
    AlterPartitionResponse,
    BrokerHeartbeatResponse,
    BrokerRegistrationResponse,
    EnvelopeResponse,
)  # fmt: skip


class Parked(msgspec.Struct, frozen=True):
    """Due once everything below ``offset`` is committed. ``cause`` is the event that led to the decision. Without ``reply`` nobody asked."""

    offset: int
    cause: int
    outcome: Outcome
    destination: str
    reply: Message | None


@dataclass(slots=True)
class Purgatory:
    """In order of offset, since decisions are made in order."""

    waiting: list[Parked] = field(default_factory=list)

    def highest_offset(self) -> int:
        return self.waiting[-1].offset if self.waiting else 0

    def take_due(self, committed_below: int) -> list[Parked]:
        count = 0
        while count < len(self.waiting) and self.waiting[count].offset <= committed_below:
            count += 1
        due, self.waiting = self.waiting[:count], self.waiting[count:]
        return due

    def take_all(self) -> list[Parked]:
        due, self.waiting = self.waiting, []
        return due


def not_controller(reply: Message) -> Message:
    """The same answer, had this node not been the active controller."""
    correlation_id: int = reply.correlation_id  # type: ignore[attr-defined]
    if isinstance(reply, EnvelopeResponse):
        return EnvelopeResponse(correlation_id, "NOT_CONTROLLER")
    if isinstance(reply, BrokerHeartbeatResponse):
        return BrokerHeartbeatResponse(correlation_id, "NOT_CONTROLLER")
    if isinstance(reply, BrokerRegistrationResponse):
        return BrokerRegistrationResponse(correlation_id, "NOT_CONTROLLER", -1)
    if isinstance(reply, AlterPartitionResponse):
        return AlterPartitionResponse(correlation_id, "NOT_CONTROLLER", ())
    if isinstance(reply, AllocateProducerIdsResponse):
        return AllocateProducerIdsResponse(correlation_id, "NOT_CONTROLLER")
    assert isinstance(reply, DescribeQuorumResponse), f"no refusal for {reply}"
    return DescribeQuorumResponse(correlation_id, "NOT_CONTROLLER")
