"""What befalls machines, and what the metadata quorum and the active controller decide: the part of ``engine.events`` that is about the
cluster as a whole. Import them from there.
"""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False, tag=True):
    """What happened. Fields are plain values."""


class Happening(msgspec.Struct, frozen=True, gc=False):
    """One event in history: its number, when (virtual microseconds), at which node, and the numbers of its causes."""

    id: int
    at_us: int
    node: str
    event: Event
    causes: tuple[int, ...]


# -- what the learner does, and faults ------------------------------------------------------------------------------------


class CommandGiven(Event, frozen=True, gc=False, tag=True):
    """The root of every chain of causes. ``command`` is its tag, ``text`` one plain phrase ("kill broker 1")."""

    command: str
    text: str


class NodeStarted(Event, frozen=True, gc=False, tag=True):
    name: str


class NodeKilled(Event, frozen=True, gc=False, tag=True):
    name: str


class NodeStopped(Event, frozen=True, gc=False, tag=True):
    """The process ended by itself after a polite request."""

    name: str


class NodePaused(Event, frozen=True, gc=False, tag=True):
    name: str


class NodeResumed(Event, frozen=True, gc=False, tag=True):
    name: str


class PowerLost(Event, frozen=True, gc=False, tag=True):
    name: str
    bytes_lost: int
    torn: bool


class NetworkCut(Event, frozen=True, gc=False, tag=True):
    """Messages from ``source`` to ``target`` vanish."""

    source: str
    target: str


class NetworkHealed(Event, frozen=True, gc=False, tag=True):
    source: str
    target: str


class NetworkDegraded(Event, frozen=True, gc=False, tag=True):
    source: str
    target: str
    delay_us: int
    loss_ppm: int


class MessageLost(Event, frozen=True, gc=False, tag=True):
    source: str
    target: str
    message: str


class DiskSlowed(Event, frozen=True, gc=False, tag=True):
    name: str
    write_delay_us: int


class DiskFilled(Event, frozen=True, gc=False, tag=True):
    name: str


class DiskFreed(Event, frozen=True, gc=False, tag=True):
    name: str


class DiskWiped(Event, frozen=True, gc=False, tag=True):
    name: str


class DiskCorrupted(Event, frozen=True, gc=False, tag=True):
    name: str
    path: str
    position: int


# -- the metadata quorum --------------------------------------------------------------------------------------------------


class QuorumElectionStarted(Event, frozen=True, gc=False, tag=True):
    controller: int
    epoch: int
    pre_vote: bool


class QuorumVoteGranted(Event, frozen=True, gc=False, tag=True):
    voter: int
    candidate: int
    epoch: int
    pre_vote: bool


class QuorumLeaderElected(Event, frozen=True, gc=False, tag=True):
    controller: int
    epoch: int


class QuorumLeaderResigned(Event, frozen=True, gc=False, tag=True):
    controller: int
    epoch: int
    reason: str


class QuorumLogTruncated(Event, frozen=True, gc=False, tag=True):
    controller: int
    from_offset: int
    to_offset: int


class ControllerActivated(Event, frozen=True, gc=False, tag=True):
    """The leader has replayed the committed log and now decides."""

    controller: int
    epoch: int


# -- what the active controller decides (emitted when the record is committed) -------------------------------------------------------


class BrokerRegistered(Event, frozen=True, gc=False, tag=True):
    broker: int
    broker_epoch: int


class BrokerUnfenced(Event, frozen=True, gc=False, tag=True):
    broker: int


class BrokerSessionExpired(Event, frozen=True, gc=False, tag=True):
    """The active controller heard no heartbeat for broker.session.timeout.ms."""

    broker: int
    last_heartbeat_us: int


class BrokerFenced(Event, frozen=True, gc=False, tag=True):
    """``reason``: "session expired", "controlled shutdown" or "registered anew"."""

    broker: int
    reason: str


class ShutdownGranted(Event, frozen=True, gc=False, tag=True):
    broker: int


class TopicCreated(Event, frozen=True, gc=False, tag=True):
    topic: str
    partitions: int
    replication_factor: int


class TopicDeleted(Event, frozen=True, gc=False, tag=True):
    topic: str


class PartitionsAdded(Event, frozen=True, gc=False, tag=True):
    topic: str
    old_count: int
    new_count: int


class ConfigChanged(Event, frozen=True, gc=False, tag=True):
    """``value`` None: back to the default."""

    resource_type: str
    resource_name: str
    name: str
    value: str | None


class ClientQuotaChanged(Event, frozen=True, gc=False, tag=True):
    """``entity`` in words ("user-principal 'alice'"); ``value`` None: the quota was removed."""

    entity: str
    quota: str
    value: float | None


class AclCreated(Event, frozen=True, gc=False, tag=True):
    """``permission`` ("allow", "deny") for ``principal`` to do ``operation`` on what the pattern matches."""

    principal: str
    permission: str
    operation: str
    resource_type: str
    resource_name: str
    pattern_type: str
    host: str


class AclDeleted(Event, frozen=True, gc=False, tag=True):
    principal: str
    permission: str
    operation: str
    resource_type: str
    resource_name: str
    pattern_type: str
    host: str


class ScramCredentialChanged(Event, frozen=True, gc=False, tag=True):
    """``deleted`` False: the user was created or got a new password."""

    user: str
    mechanism: str
    deleted: bool


class LeaderChanged(Event, frozen=True, gc=False, tag=True):
    """-1 means no leader. ``election``: "isr", "elr", "last known leader", "unclean", "preferred", "reassignment",
    "controlled shutdown" or "none eligible"."""

    topic: str
    partition: int
    old_leader: int
    new_leader: int
    leader_epoch: int
    election: str


class IsrChanged(Event, frozen=True, gc=False, tag=True):
    topic: str
    partition: int
    old_isr: tuple[int, ...]
    new_isr: tuple[int, ...]
    elr: tuple[int, ...]
    partition_epoch: int


class AlterPartitionRefused(Event, frozen=True, gc=False, tag=True):
    broker: int
    topic: str
    partition: int
    error: str


class ReassignmentStarted(Event, frozen=True, gc=False, tag=True):
    topic: str
    partition: int
    old_replicas: tuple[int, ...]
    new_replicas: tuple[int, ...]


class ReassignmentCompleted(Event, frozen=True, gc=False, tag=True):
    topic: str
    partition: int
    replicas: tuple[int, ...]
