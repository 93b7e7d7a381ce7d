"""What befalls groups, their members and their offsets: the part of ``engine.events`` that group coordinators tell. Import them from there."""

from __future__ import annotations

from engine.cluster_events import Event


class GroupStateChanged(Event, frozen=True, gc=False, tag=True):
    """``old`` and ``new`` are Kafka's names of states: "Empty", "PreparingRebalance", …"""

    broker: int
    group: str
    old: str
    new: str


class MemberJoined(Event, frozen=True, gc=False, tag=True):
    """``members``: how many the group now has."""

    broker: int
    group: str
    consumer: str
    member_id: str
    instance_id: str
    members: int


class MemberLeft(Event, frozen=True, gc=False, tag=True):
    """``reason``: "session expired", "rebalance timeout", "poll timeout", "no SyncGroup in time", "left", or what the client said."""

    broker: int
    group: str
    consumer: str
    member_id: str
    instance_id: str
    reason: str
    members: int


class StaticMemberReplaced(Event, frozen=True, gc=False, tag=True):
    """A process with a known group.instance.id took that member's place; the one that had it before is fenced."""

    broker: int
    group: str
    consumer: str
    instance_id: str
    old_member_id: str
    member_id: str


class GroupRebalanceStarted(Event, frozen=True, gc=False, tag=True):
    """The members of the classic group are to join anew. ``generation`` is the one that ends."""

    broker: int
    group: str
    reason: str
    generation: int
    members: int


class GroupRebalanced(Event, frozen=True, gc=False, tag=True):
    """Every member has its part. ``assigned``: (consumer, partitions) each; ``took_us``: since the rebalance began; ``stopped_us``: the
    longest that a partition had no owner because of it."""

    broker: int
    group: str
    generation: int
    protocol: str
    assigned: tuple[tuple[str, int], ...]
    took_us: int
    stopped_us: int


class GroupEpochBumped(Event, frozen=True, gc=False, tag=True):
    """KIP-848: the members, their subscriptions or the topics have changed, so a new target assignment is due. ``reason``: "app-1 joined",
    "app-2 is gone", "its topics have changed", …"""

    broker: int
    group: str
    epoch: int
    reason: str


class TargetAssignmentComputed(Event, frozen=True, gc=False, tag=True):
    """What every member of the consumer group is to have in the end. ``parts``: (consumer, partitions) each."""

    broker: int
    group: str
    epoch: int
    assignor: str
    parts: tuple[tuple[str, int], ...]


class MemberReconciled(Event, frozen=True, gc=False, tag=True):
    """One member of a consumer group came a step nearer to its target. ``gained``: it may read these from now on; ``given_up``: it has
    confirmed that it reads these no more; ``revoking``: it is asked to give these up; ``waiting``: how many of its target others still
    hold."""

    broker: int
    group: str
    consumer: str
    member_id: str
    epoch: int
    gained: tuple[tuple[str, int], ...]
    given_up: tuple[tuple[str, int], ...]
    revoking: tuple[tuple[str, int], ...]
    waiting: int


class GroupReconciled(Event, frozen=True, gc=False, tag=True):
    """Every member of the consumer group has what the target gives it. ``stopped_us``: the longest that a partition had no owner."""

    broker: int
    group: str
    epoch: int
    assignor: str
    assigned: tuple[tuple[str, int], ...]
    took_us: int
    stopped_us: int


class ShareMemberAssigned(Event, frozen=True, gc=False, tag=True):
    """A member of a share group may read these from now on, together with others."""

    broker: int
    group: str
    consumer: str
    member_id: str
    epoch: int
    partitions: tuple[tuple[str, int], ...]


class SharePartitionLoaded(Event, frozen=True, gc=False, tag=True):
    """The leader knows where a share group goes on in this partition. ``fresh``: it had never read there, so the group's
    share.auto.offset.reset decided."""

    broker: int
    group: str
    topic: str
    partition: int
    start_offset: int
    fresh: bool


class ShareRecordsAcquired(Event, frozen=True, gc=False, tag=True):
    """The consumer has these records locked. ``count`` of them between ``first_offset`` and ``last_offset``; ``deliveries``: the highest
    delivery count among them."""

    broker: int
    group: str
    topic: str
    partition: int
    consumer: str
    first_offset: int
    last_offset: int
    count: int
    deliveries: int


class ShareAcknowledged(Event, frozen=True, gc=False, tag=True):
    """What became of records that the consumer had acquired. ``archived``: rejected, or released after their last delivery."""

    broker: int
    group: str
    topic: str
    partition: int
    consumer: str
    first_offset: int
    last_offset: int
    accepted: int
    released: int
    archived: int
    renewed: int


class AcquisitionLockExpired(Event, frozen=True, gc=False, tag=True):
    """Nobody acknowledged these records in time. ``consumer`` "" is one that is gone; ``archived`` were delivered often enough."""

    broker: int
    group: str
    topic: str
    partition: int
    consumer: str
    first_offset: int
    last_offset: int
    released: int
    archived: int


class StaticMemberAway(Event, frozen=True, gc=False, tag=True):
    """A static member of a consumer group went for a while (epoch -2): it keeps its partitions until its session ends."""

    broker: int
    group: str
    consumer: str
    member_id: str
    instance_id: str


class OffsetsCommitted(Event, frozen=True, gc=False, tag=True):
    """``offsets``: (topic, partition, offset) each. Their records in ``__consumer_offsets`` are below its high watermark. ``consumer`` is ""
    where the marker of a transaction commits them."""

    broker: int
    group: str
    consumer: str
    offsets: tuple[tuple[str, int, int], ...]


class OffsetsDeleted(Event, frozen=True, gc=False, tag=True):
    """``reason``: "expired", "asked for" or "topic deleted"."""

    broker: int
    group: str
    partitions: tuple[tuple[str, int], ...]
    reason: str


class GroupDeleted(Event, frozen=True, gc=False, tag=True):
    """``reason``: "expired" or "asked for"."""

    broker: int
    group: str
    reason: str
