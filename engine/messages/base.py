"""The roots of all messages and timers, and the two notices that the kernel itself delivers."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class TopicPartition(NamedTuple):
    """Prints as Kafka prints it: ``orders-0``."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class Message(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Anything that travels between two nodes."""


class Request(Message, frozen=True, gc=False, tag=True):
    """Asks for a response with the same ``correlation_id``."""

    correlation_id: int


class Response(Message, frozen=True, gc=False, tag=True):
    correlation_id: int


class Timer(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A timer is data and is its own key: arming an equal timer again replaces the first."""


class Disconnected(Message, frozen=True, gc=False, tag=True):
    """From the kernel: the connection to ``peer`` broke (its process died or refused). A silent peer gives no such notice."""

    peer: str


class Instruction(Message, frozen=True, gc=False, tag=True):
    """From the kernel: what a person asked this node to do (a button, a console line, a lesson). See ``messages.instructions``."""
