"""How a consumer finds its group's coordinator and keeps to it (Java's ``AbstractCoordinator.ensureCoordinatorReady`` and
``CoordinatorRequestManager``), and what belongs to membership under either protocol: what is owned, what is lost, how long it stood still.
"""

from __future__ import annotations

from typing import Protocol

from engine.clients.common import Connections, Metadata, backoff_us
from engine.clients.configs import ClientConfig
from engine.clients.consumer_state import CRASHED, FATAL, POLLING, Consumer, Membership
from engine.clients.position import INITIALISING, Position
from engine.events import (
    ConsumerCrashed,
    CoordinatorFound,
    CoordinatorLost,
    PartitionsAssigned,
    PartitionsLost,
    PartitionsRevoked,
)
from engine.messages.base import TopicPartition
from engine.messages.groups import FindCoordinatorRequest, FindCoordinatorResponse
from engine.sim.outbox import Outbox

FIND = "find coordinator"
COORDINATOR_GONE = ("COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR")


class Seeker(Protocol):
    """Who has a coordinator: a member of a group of any kind."""

    name: str
    connections: Connections
    metadata: Metadata

    @property
    def settings(self) -> ClientConfig: ...

    def wake_at(self, at_us: int, out: Outbox) -> None: ...


class Coordinated(Protocol):
    """What it remembers of that. ``coordinator`` is a broker, -1: not known."""

    group_id: str
    coordinator: int
    last_coordinator: int
    looking_up: bool
    lookup_retry_at_us: int
    lookup_failures: int


def coordinator(consumer: Seeker, group: Coordinated, out: Outbox) -> int | None:
    """The coordinator's broker ID where a request can go out now; otherwise it is being looked for, or connected to."""
    if group.coordinator >= 0:
        return group.coordinator if consumer.connections.ready(group.coordinator, out, as_coordinator=True) else None
    if group.looking_up:
        return None
    if out.now < group.lookup_retry_at_us:
        consumer.wake_at(group.lookup_retry_at_us, out)
        return None
    broker = consumer.connections.least_loaded(out)
    if broker is not None:
        group.looking_up = True
        request = FindCoordinatorRequest(consumer.connections.new_correlation_id(), group.group_id, "group")
        consumer.connections.send(broker, request, FIND, out)
    return None


def on_found(consumer: Consumer, group: Membership, body: FindCoordinatorResponse, out: Outbox) -> None:
    refusal = take_found(consumer, group, body, out)
    if refusal:
        crash(consumer, group, refusal, out)
    elif group.coordinator >= 0:
        group.session_deadline_us = out.now + consumer.settings.session_timeout_ms * 1000


def take_found(consumer: Seeker, group: Coordinated, body: FindCoordinatorResponse, out: Outbox) -> str:
    """Returns the exception where no further attempt would help."""
    group.looking_up = False
    if body.error == "NONE" and body.broker_id in consumer.connections.by_broker:
        group.coordinator, group.lookup_failures = body.broker_id, 0
        if group.last_coordinator != body.broker_id:
            group.last_coordinator = body.broker_id
            out.emit(CoordinatorFound(consumer.name, group.group_id, body.broker_id))
    elif body.error == "GROUP_AUTHORIZATION_FAILED":
        return f"GroupAuthorizationException: Not authorized to access group: {group.group_id}"
    else:
        lookup_failed(consumer, group, out)
    return ""


def lookup_failed(consumer: Seeker, group: Coordinated, out: Outbox) -> None:
    group.looking_up = False
    group.lookup_retry_at_us = out.now + backoff(consumer, group.lookup_failures, out)
    group.lookup_failures += 1
    consumer.metadata.update_requested = True


def forget(consumer: Seeker, group: Coordinated, reason: str, silencers: tuple[int, ...], out: Outbox) -> None:
    """``markCoordinatorUnknown``."""
    if group.coordinator >= 0:
        out.emit(CoordinatorLost(consumer.name, group.group_id, group.coordinator, reason), also=silencers)
        group.coordinator = group.last_coordinator = -1


def backoff(consumer: Seeker, failures: int, out: Outbox) -> int:
    """How long to wait after so many failures in a row."""
    settings = consumer.settings
    return backoff_us(out.stream("backoff"), settings.retry_backoff_ms, settings.retry_backoff_max_ms, failures)


def crash(consumer: Consumer, group: Membership, error: str, out: Outbox) -> None:
    """``poll`` throws it, and the program around it ends: nothing more is read, committed or said to the coordinator."""
    group.state, group.error = FATAL, error
    consumer.application.state = CRASHED
    consumer.application.todo.clear()
    consumer.buffer.clear()
    consumer.positions.clear()
    out.emit(ConsumerCrashed(consumer.name, group.group_id, error))


# -- what a member owns ---------------------------------------------------------------------------------------------------------


def give_up(consumer: Consumer, group: Membership, partitions: list[TopicPartition], lost: bool, out: Outbox) -> None:
    """``onPartitionsRevoked`` or ``onPartitionsLost``; from here on they are somebody else's."""
    if not partitions:
        return
    if len(partitions) == len(consumer.positions):
        stand_still(consumer, group, out)
    kind = PartitionsLost if lost else PartitionsRevoked
    out.emit(kind(consumer.name, group.group_id, tuple(sorted(partitions))))
    for partition in partitions:
        del consumer.positions[partition]


def take_over(consumer: Consumer, group: Membership, assigned: tuple[TopicPartition, ...], out: Outbox) -> None:
    """Owns exactly ``assigned``; what is new begins at its committed offset, and not paused whatever it was in a former
    assignment. ``onPartitionsAssigned`` is called even with nothing new."""
    old, consumer.positions = consumer.positions, {}
    added = tuple(sorted([partition for partition in assigned if partition not in old]))
    number = out.emit(PartitionsAssigned(consumer.name, group.group_id, added, len(assigned)))
    for partition in sorted(assigned):
        known = old.get(partition)
        if known is None:
            known = Position(state=INITIALISING, cause=number)
        known.revoking = False
        consumer.positions[partition] = known
        consumer.metadata.want(partition.topic)
    consumer.paused = bool(assigned) and all(known.paused for known in consumer.positions.values())
    go_on(group, out)


def stand_still(consumer: Consumer, group: Membership, out: Outbox) -> None:
    """A rebalance keeps the member from processing anything, from now on."""
    if group.stopped_since_us < 0 and consumer.positions:
        group.stopped_since_us = out.now


def go_on(group: Membership, out: Outbox) -> None:
    if group.stopped_since_us >= 0:
        group.stopped_us += out.now - group.stopped_since_us
        group.stopped_since_us = -1


def poll_deadline_us(consumer: Consumer) -> int:
    """When the application will have stayed away from ``poll`` for max.poll.interval.ms."""
    if consumer.application.state == POLLING:
        return 2**62
    return consumer.application.polled_us + consumer.settings.max_poll_interval_ms * 1000
