"""The shape of the view: what the browser, the lessons' goals and the tests see of a lab. ``engine.view.build`` fills it.

Times are virtual microseconds (``_us``) or milliseconds (``_ms``); maps are keyed by name or by the decimal number as text, since
the tree travels as JSON. Offsets are -1 where unknown.
"""

from __future__ import annotations

import msgspec


class DiskView(msgspec.Struct):
    used_bytes: int = 0
    unsynced_bytes: int = 0
    full: bool = False
    write_delay_us: int = 0
    failed: bool = False


class NodeView(msgspec.Struct):
    """``kind``: "broker", "controller", "producer", "consumer", "share-consumer", "processor" (a producer and a consumer in one) or "admin".
    ``status``: "up", "paused", "down" or "stopping".

    For brokers ``fenced`` and ``broker_epoch`` are the active controller's opinion. For controllers ``role`` is "leader", "follower",
    "candidate", "prospective" or "unattached", and ``epoch``, ``log_end_offset``, ``high_watermark`` are of the metadata log.
    """

    name: str
    kind: str
    id: int
    status: str
    rack: str = ""
    fenced: bool = False
    broker_epoch: int = -1
    leader_count: int = 0
    replica_count: int = 0
    metadata_offset: int = -1
    role: str = ""
    epoch: int = -1
    log_end_offset: int = -1
    high_watermark: int = -1
    disk: DiskView | None = None
    since_us: int = 0


class BatchView(msgspec.Struct, omit_defaults=True):
    """One batch near the end of a replica's log. ``kind``: "transactional", of a control batch "commit" or "abort". ``tombstones`` are
    counted where the topic is compacted."""

    base_offset: int
    last_offset: int
    leader_epoch: int
    size_bytes: int
    records: int
    max_timestamp_ms: int
    producer_id: int = -1
    control: bool = False
    kind: str = ""
    tombstones: int = 0


class SegmentView(msgspec.Struct):
    base_offset: int
    size_bytes: int
    active: bool
    largest_timestamp_ms: int


class CleanerView(msgspec.Struct):
    """Compaction of one replica. Below ``first_dirty_offset`` the cleaner has been; from ``first_uncleanable_offset`` on it may not go
    (the active segment, the last stable offset, min.compaction.lag.ms). It comes once ``dirty_ratio`` exceeds ``min_dirty_ratio`` or
    ``overdue`` says that max.compaction.lag.ms is over. ``segments``: for each segment "clean", "mixed", "dirty", "waiting" (it may not
    be cleaned yet) or "active"."""

    first_dirty_offset: int
    first_uncleanable_offset: int
    clean_bytes: int
    cleanable_bytes: int
    dirty_ratio: float
    min_dirty_ratio: float
    overdue: bool
    cleaning: bool
    uncleanable: str
    segments: list[str]


class ReplicaView(msgspec.Struct):
    """One replica's log. ``role``: "leader", "follower", "offline" (process down) or "none" (not hosted yet). ``state``: what a badge
    says: "in sync", "catching up", "out of sync", "offline", "adding" or "removing"."""

    broker: int
    role: str
    state: str
    log_start_offset: int = -1
    log_end_offset: int = -1
    high_watermark: int = -1
    leader_epoch: int = -1
    size_bytes: int = 0
    last_caught_up_ms: int = -1
    segments: list[SegmentView] = []
    tail: list[BatchView] = []
    cleaner: CleanerView | None = None
    """None unless the topic is compacted and the broker runs."""


class OpenTransactionView(msgspec.Struct):
    """A transaction that has records in a partition and no marker yet. ``last_us``: the time of its producer's last record there."""

    producer_id: int
    producer_epoch: int
    first_offset: int
    last_us: int


class TransactionView(msgspec.Struct):
    """``state``: "Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit" or "CompleteAbort". ``partitions``: "orders-0", …
    ``unmarked`` are those of a prepared transaction that have no marker yet. ``start_us`` is -1 where none has begun."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    state: str
    coordinator: int
    timeout_ms: int
    start_us: int = -1
    partitions: list[str] = []
    unmarked: list[str] = []


class PartitionView(msgspec.Struct):
    """``committed`` truth comes from the controllers' committed metadata. ``high_watermark`` and ``log_end_offset`` are the leader's."""

    topic: str
    partition: int
    leader: int
    leader_epoch: int
    partition_epoch: int
    replicas: list[int]
    isr: list[int]
    elr: list[int]
    last_known_elr: list[int]
    adding: list[int]
    removing: list[int]
    min_isr: int
    status: str
    """"ok", "under-replicated", "at-min-isr", "under-min-isr" or "offline"."""
    log_start_offset: int = -1
    high_watermark: int = -1
    last_stable_offset: int = -1
    log_end_offset: int = -1
    open_transactions: list[OpenTransactionView] = []
    """What holds ``last_stable_offset`` below the high watermark: the one with the lowest first offset."""
    logs: dict[str, ReplicaView] = {}


class TopicView(msgspec.Struct):
    name: str
    topic_id: str
    internal: bool
    configs: dict[str, str]
    partitions: dict[str, PartitionView]


class WorkloadView(msgspec.Struct):
    name: str
    topic: str
    records_per_second: int
    sent: int
    limit: int
    running: bool


class ProducerView(msgspec.Struct):
    name: str
    configs: dict[str, str]
    """The effective ones that matter: acks, enable.idempotence, linger.ms, batch.size, delivery.timeout.ms, retries, …"""
    producer_id: int = -1
    producer_epoch: int = -1
    buffered_records: int = 0
    buffered_bytes: int = 0
    in_flight_batches: int = 0
    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    retries: int = 0
    last_error: str = ""
    transactional_id: str = ""
    transaction_state: str = ""
    """"uninitialized", "initializing", "ready", "in transaction", "committing", "aborting", "abortable error" or "fatal error"."""
    transaction_partitions: list[str] = []
    workloads: list[WorkloadView] = []
    buffer_total_bytes: int = 0
    waiting_threads: int = 0
    """Callers of ``send`` that wait for room in buffer.memory."""
    throttled_until_us: int = 0
    """Until then some broker reads nothing from this client."""


class PositionView(msgspec.Struct):
    topic: str
    partition: int
    position: int
    high_watermark: int
    lag: int
    error: str = ""
    committed: int = -1
    """What the group has for it as far as this consumer knows."""


class ConsumedView(msgspec.Struct):
    """One record that the application has read: previews of at most 40 characters."""

    topic: str
    partition: int
    offset: int
    key: str | None
    value: str | None


class MemberView(msgspec.Struct):
    """A consumer in its group. ``state``: "unjoined", "preparing rebalance", "completing rebalance" or "stable" under the classic protocol,
    "joining", "reconciling", "acknowledging", "stable", "fenced" or "stale" under KIP-848, "left" and "fatal" under both; "assigned by
    hand" where the group only keeps its offsets. ``generation`` is the member epoch under KIP-848, -1 or 0 outside the group.
    ``stopped_us``: for how long rebalances have kept it from reading anything, up to now."""

    group: str
    protocol: str
    state: str
    member_id: str = ""
    instance_id: str = ""
    generation: int = -1
    assignor: str = ""
    leader: bool = False
    coordinator: int = -1
    error: str = ""
    rebalances: int = 0
    stopped_us: int = 0


class ShareConsumerView(msgspec.Struct):
    """What only a share consumer has. ``mode``: "implicit" or "explicit". ``accepted``, ``released`` and ``rejected`` count the verdicts that
    brokers have heard, ``refused`` those that do not count. ``buffered``: chunks that are acquired and that no poll has returned yet."""

    mode: str
    assigned: list[str] = []
    accepted: int = 0
    released: int = 0
    rejected: int = 0
    refused: int = 0
    buffered: int = 0
    release_every: int = 0
    reject_every: int = 0
    fail_on: str = ""


class ConsumerView(msgspec.Struct):
    """``application``: "polling", "processing", "committing", "closing" or "crashed"; ``since_poll_us``: how long it has been away from
    ``poll``, 0 while it waits there; ``in_hand``: records that a poll returned and that it has not processed yet.
    ``throttled_until_us``: until then some broker reads nothing from this client."""

    name: str
    configs: dict[str, str]
    positions: list[PositionView]
    consumed: int = 0
    paused: bool = False
    last: list[ConsumedView] = []
    throttled_until_us: int = 0
    group: MemberView | None = None
    application: str = "polling"
    processing_ms: int = 0
    commit_each_poll: str = ""
    since_poll_us: int = 0
    in_hand: int = 0
    share: ShareConsumerView | None = None
    """None unless it is a share consumer, which has no positions."""


class LinkView(msgspec.Struct):
    """Only links that are not as new. ``key`` in the tree is "source>target"."""

    source: str
    target: str
    cut: bool
    delay_us: int
    loss_ppm: int


class FlightView(msgspec.Struct):
    """One message on the wire now. ``id`` is stable while it flies."""

    id: int
    source: str
    target: str
    kind: str
    sent_us: int
    arrives_us: int
    label: str = ""


class QuorumView(msgspec.Struct):
    leader: int
    epoch: int
    high_watermark: int
    voters: list[int]


class QuotaView(msgspec.Struct):
    """``user`` and ``client_id``: "" is the default of its kind, None is not part of the entity."""

    user: str | None
    client_id: str | None
    limits: dict[str, float]


class QuotaUsageView(msgspec.Struct):
    """What one broker measures of one quota now; ``throttle_time_ms``: for how long it still does not read from the client."""

    broker: int
    quota: str
    user: str
    client_id: str
    rate: float
    limit: float
    throttle_time_ms: int


class AclView(msgspec.Struct):
    principal: str
    permission: str
    operation: str
    resource_type: str
    resource_name: str
    pattern_type: str
    host: str


class SecurityView(msgspec.Struct):
    """``authorizer`` False: everybody may do everything. ``users``: those with a SCRAM credential."""

    authorizer: bool = False
    acls: list[AclView] = []
    users: list[str] = []
    quotas: list[QuotaView] = []
    usage: list[QuotaUsageView] = []


class GroupMemberView(msgspec.Struct):
    """``consumer``: the node that it asks from. ``partitions`` ("orders-0") it owns, ``target`` it is to own (KIP-848). ``epoch`` -1 where
    the group has generations. ``state``: at which barrier of a rebalance it stands: "joined" and "synced" wait for others, "to rejoin"
    and "to sync" are waited for; "" in a stable group. In a consumer group: "stable", "behind" (of an older epoch than the target),
    "unrevoked partitions" (it is to give up those in ``revoking``), "unreleased partitions" (others still hold some of its target), "away"
    (a static member that went for a while)."""

    member_id: str
    consumer: str
    client_id: str
    instance_id: str
    partitions: list[str]
    target: list[str] = []
    topics: list[str] = []
    epoch: int = -1
    leader: bool = False
    state: str = ""
    revoking: list[str] = []


class GroupOffsetView(msgspec.Struct):
    """``committed`` -1: nothing. ``pending``: an open transaction is about to change it. ``consumer``: who owns the partition."""

    topic: str
    partition: int
    committed: int
    log_end_offset: int
    lag: int
    consumer: str = ""
    pending: bool = False


class OwnerView(msgspec.Struct):
    """``consumer`` read ``partition`` ("orders-0") from ``from_us`` on; ``until_us`` -1: it still does."""

    partition: str
    consumer: str
    from_us: int
    until_us: int = -1


class StopView(msgspec.Struct):
    """Nobody read ``partition`` of the group in between; ``until_us`` -1: nobody does now."""

    partition: str
    from_us: int
    until_us: int = -1


class RebalanceView(msgspec.Struct):
    """One that is over: it led to ``epoch`` and began because of ``reason``."""

    at_us: int
    epoch: int
    reason: str
    took_us: int


class ShareRunView(msgspec.Struct):
    """Records in a row that are alike. ``state``: "available", "acquired", "acknowledged" or "archived"; ``consumer`` has acquired them."""

    first_offset: int
    last_offset: int
    state: str
    deliveries: int
    consumer: str = ""


class SharePartitionView(msgspec.Struct):
    """What a share group has in flight in one partition, at its leader. ``start_offset`` (SPSO): everything below is settled;
    ``end_offset`` (SPEO): the last that was fetched. ``runs``: the first of them, up to a bound. Not ``active``: it is being read."""

    topic: str
    partition: int
    leader: int
    active: bool
    start_offset: int
    end_offset: int
    high_watermark: int
    in_flight: int
    runs: list[ShareRunView] = []


class GroupView(msgspec.Struct):
    """``type``: "classic", "consumer" or "share". ``protocol``: the assignor. ``epoch``: a classic group's generation. ``coordinator``: a
    broker. ``stopped_since_us``: some partition has had no owner since then; ``last_stopped_us``: how long that lasted in the last
    rebalance, and ``last_rebalance_us`` how long it took. -1: not so, or not yet."""

    id: str
    type: str
    protocol: str
    state: str
    epoch: int
    coordinator: int
    assignment_epoch: int = -1
    members: list[GroupMemberView] = []
    pending_members: list[str] = []
    offsets: list[GroupOffsetView] = []
    rebalancing_since_us: int = -1
    last_rebalance_us: int = -1
    stopped_since_us: int = -1
    last_stopped_us: int = -1
    owners: list[OwnerView] = []
    stops: list[StopView] = []
    """Oldest first, as the members saw it: a partition whose owner died is stopped from then on."""
    rebalances: list[RebalanceView] = []
    share_partitions: list[SharePartitionView] = []


class View(msgspec.Struct):
    """``metrics``: Kafka's JMX names → value now, cluster-wide or per broker ("…,broker=1")."""

    now_us: int
    nodes: dict[str, NodeView]
    topics: dict[str, TopicView]
    producers: dict[str, ProducerView]
    consumers: dict[str, ConsumerView]
    links: dict[str, LinkView]
    in_flight: list[FlightView]
    quorum: QuorumView
    metrics: dict[str, float]
    event_id: int
    """The number of the newest event."""
    transactions: dict[str, TransactionView] = {}
    security: SecurityView = msgspec.field(default_factory=SecurityView)
    groups: dict[str, GroupView] = {}
