"""What a broker process holds in memory. A kill drops all of it; what survives lies on the disk.

``Broker`` is the state that every API and loop of this package works on; ``BrokerNode`` adds the two methods that the kernel calls.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.broker.cleaner_state import CleanerState, ParkedDelete
from engine.broker.meters import Meters
from engine.broker.rates import Throttle, Usage
from engine.broker.settings import BrokerSettings
from engine.broker.share_channels import ShareChannels
from engine.broker.transaction_state import TransactionChannels
from engine.coordination.quorum_observer import QuorumObserver
from engine.coordination.shard import Continuation, ShardState
from engine.log.partition_log import PartitionLog
from engine.messages.base import Request, Response, TopicPartition
from engine.messages.cluster import AlterPartitionItem
from engine.messages.fetch import FetchItem, FetchRequest, FetchResult
from engine.messages.produce import ProduceResult
from engine.metadata.authorizer import StandardAuthorizer
from engine.metadata.client_quotas import Sensor
from engine.metadata.image import MetadataImage, PartitionImage

LEADER, FOLLOWER = "leader", "follower"
STARTING, REGISTERING, RUNNING, SHUTTING_DOWN = "starting", "registering", "running", "shutting down"
UNKNOWN_OFFSET = -1
NEVER_MS = -(10**12)
"""Longer ago than any lag limit: a follower outside the ISR that has not been seen in this leader epoch."""


@dataclass(slots=True)
class FollowerState:
    """What a leader knows of one follower (Kafka's ``ReplicaState``). ``last_caught_up_ms`` is in virtual milliseconds."""

    log_end_offset: int = UNKNOWN_OFFSET
    log_start_offset: int = UNKNOWN_OFFSET
    last_caught_up_ms: int = NEVER_MS
    last_fetch_us: int = -1
    last_fetch_leader_log_end_offset: int = UNKNOWN_OFFSET
    broker_epoch: int = -1
    quiet_result: FetchResult | None = None
    """The last empty answer, sent again while nothing has changed."""


class PendingAck(NamedTuple):
    """One batch of a parked produce request: acknowledged once the high watermark reaches ``required_offset``."""

    required_offset: int
    produce_id: int
    item: int
    first_offset: int
    log_append_time_ms: int
    event_id: int


class PendingWrite(NamedTuple):
    """What waits until a coordinator's records, which end below ``required_offset``, are committed (Kafka's deferred events).

    ``replies``: (destination, response) each; ``then`` is handed back to the shard; ``event_id`` is the append.
    """

    required_offset: int
    deadline_us: int
    event_id: int
    replies: tuple[tuple[str, Response], ...]
    then: Continuation | None


@dataclass(slots=True)
class CoordinatorShard:
    """The coordinator over one partition of an internal topic, on the broker that leads it (``CoordinatorRuntime``'s context).

    ``state`` is ahead of what is committed; ``waiting`` ascends by offset. While ``loading``, nothing is answered.
    """

    state: ShardState
    leader_epoch: int
    loading: bool = False
    waiting: list[PendingWrite] = field(default_factory=list)
    last_written_offset: int = 0
    """Behind the last record that this coordinator has written; nobody waits for what it found when it was loaded."""


class HeldStableOffset(NamedTuple):
    """While a transaction holds the last stable offset below the high watermark: where, and in which leader epoch that was told."""

    leader_epoch: int
    offset: int


@dataclass(slots=True)
class Replica:
    """One replica of one partition on this broker (Kafka's ``Partition``). ``isr`` is committed as far as this broker knows,
    ``pending_isr`` proposed to the controller, ``maximal_isr`` both together: what must hold a record before it counts."""

    partition: TopicPartition
    topic_id: str
    log: PartitionLog
    role: str = FOLLOWER
    leader_id: int = -1
    leader_epoch: int = -1
    partition_epoch: int = -1
    high_watermark: int = 0
    replicas: tuple[int, ...] = ()
    isr: tuple[int, ...] = ()
    pending_isr: tuple[int, ...] | None = None
    maximal_isr: tuple[int, ...] = ()
    min_isr: int = 1
    leader_epoch_start_offset: int = UNKNOWN_OFFSET
    followers: dict[int, FollowerState] = field(default_factory=dict)
    waiting: list[PendingAck] = field(default_factory=list)
    consumers: list[str] = field(default_factory=list)
    """Clients whose parked fetch covers this partition."""
    leader_throttled: bool = False
    follower_throttled: bool = False
    """Marked by ``…replication.throttled.replicas``."""
    held_stable_offset: HeldStableOffset | None = None
    online: bool = False
    """The metadata has told this broker its part; until then the log merely lies on the disk."""
    shard: CoordinatorShard | None = None
    """Of an internal topic that this broker leads, once somebody has used it."""

    @property
    def last_stable_offset(self) -> int:
        return self.log.last_stable_offset(self.high_watermark)


@dataclass(slots=True)
class ParkedFetch:
    """A fetch that waits for data: at most one per requester, as a connection has one request in work."""

    request: FetchRequest
    received_us: int
    deadline_us: int
    cause: int


@dataclass(slots=True)
class ParkedProduce:
    """A produce request with acks=all that waits for replication. ``unacknowledged`` counts the items without a result."""

    source: str
    client_id: str
    correlation_id: int
    deadline_us: int
    partitions: tuple[TopicPartition, ...]
    results: list[ProduceResult | None]
    unacknowledged: int
    cause: int
    received_us: int = 0


@dataclass(slots=True)
class FollowedPartition:
    """``item`` is what the next fetch asks for, None while the partition waits (an error, a truncation). ``due_us``: until when.
    ``caught_up``: the last answer left nothing that is committed to be fetched."""

    item: FetchItem | None
    due_us: int = 0
    caught_up: bool = False


@dataclass(slots=True)
class Fetcher:
    """The replica fetcher to one leader: one request at a time for all partitions followed there. ``in_flight`` is its correlation
    ID or -1, ``sent`` what it asked for, ``items`` what the next one will ask for where ``stale`` is not set."""

    leader_id: int
    partitions: dict[TopicPartition, FollowedPartition] = field(default_factory=dict)
    items: tuple[FetchItem, ...] = ()
    stale: bool = True
    in_flight: int = -1
    sent: tuple[FetchItem, ...] = ()
    sent_us: int = 0
    resting_until_us: int = 0
    offset_lookups: dict[int, TopicPartition] = field(default_factory=dict)
    """ListOffsets requests under way after OFFSET_OUT_OF_RANGE, by correlation ID."""


@dataclass(slots=True)
class ControllerCall:
    """A request to the active controller. ``destination`` is empty while none is known; ``client`` is whom a forwarded request
    belongs to."""

    request: Request
    purpose: str
    deadline_us: int
    cause: int
    destination: str = ""
    client: str = ""


@dataclass(slots=True)
class HeldRequest:
    source: str
    request: Request


@dataclass(slots=True)
class Channel:
    """A client's connection, as far as the broker must remember it: the user of its SASL session ("" is nobody; ``nonce`` while he has not
    proven it), the requests that wait in the socket while it is muted, the bytes of those under way and what was denied of them, by
    correlation ID; ``refused`` is whom it failed to be, ``denials_us`` when it was last told what it may not do."""

    client_id: str
    user: str = ""
    nonce: str = ""
    muted_until_us: int = 0
    held: deque[Request] = field(default_factory=deque)
    asked_bytes: dict[int, int] = field(default_factory=dict)
    denied: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    refused: str = ""
    denials_us: dict[tuple[str, str, str], int] = field(default_factory=dict)


@dataclass(slots=True)
class Broker:
    """``fenced`` is what the controller last said; ``serving`` once the metadata is loaded and requests are taken."""

    broker_id: int
    controllers: tuple[int, ...]
    configs: dict[str, str]
    rack: str = ""
    mutants: tuple[str, ...] = ()
    settings: BrokerSettings = field(default_factory=lambda: BrokerSettings.read({}))
    name: str = ""
    cluster_id: str = ""
    incarnation_id: str = ""
    broker_epoch: int = -1
    previous_broker_epoch: int = -1
    fenced: bool = True
    lifecycle: str = STARTING
    caught_up: bool = False
    serving: bool = False
    failed: bool = False
    heartbeat_failures: int = 0
    shutdown_answered: bool = False
    image: MetadataImage = field(default_factory=MetadataImage)
    quorum: QuorumObserver = None  # type: ignore[assignment]  # built in start(), from the disk
    partitions: dict[TopicPartition, Replica] = field(default_factory=dict)
    fetchers: dict[int, Fetcher] = field(default_factory=dict)
    parked_fetches: dict[str, ParkedFetch] = field(default_factory=dict)
    fetch_timers: dict[str, int] = field(default_factory=dict)
    parked_produces: dict[int, ParkedProduce] = field(default_factory=dict)
    parked_deletes: list[ParkedDelete] = field(default_factory=list)
    cleaner: CleanerState = field(default_factory=CleanerState)
    next_produce_id: int = 1
    produce_timer_us: int = 0
    next_correlation_id: int = 1
    calls: dict[int, ControllerCall] = field(default_factory=dict)
    retry_armed: bool = False
    alter_queue: dict[TopicPartition, AlterPartitionItem] = field(default_factory=dict)
    alter_in_flight: int = -1
    producer_ids: tuple[int, int] = (0, 0)
    """The next producer ID and the end of the block that the controller gave."""
    next_producer_ids: tuple[int, int] = (0, 0)
    producer_ids_asked: bool = False
    creating_topics: list[str] = field(default_factory=list)
    transactions: TransactionChannels = field(default_factory=TransactionChannels)
    share: ShareChannels = field(default_factory=ShareChannels)
    backlog: list[HeldRequest] = field(default_factory=list)
    high_watermarks_changed: bool = False
    guarded: bool = False
    """Requests pass ``admission``: there is an authorizer, or there has been a quota since the start."""
    authorizer: StandardAuthorizer = field(default_factory=StandardAuthorizer)
    channels: dict[str, Channel] = field(default_factory=dict)
    usage: dict[Sensor, Usage] = field(default_factory=dict)
    """What the quotas here measure."""
    meters: Meters = field(default_factory=Meters)
    leader_throttle: Throttle | None = None
    follower_throttle: Throttle | None = None
    saved_recovery_points: dict[tuple[str, int], int] = field(default_factory=dict)
    saved_log_starts: dict[tuple[str, int], int] = field(default_factory=dict)
    applied: dict[TopicPartition, PartitionImage] = field(default_factory=dict)
    """The partition images that the replicas here have taken in."""

    @property
    def metadata_log(self) -> PartitionLog:
        return self.quorum.log

    def correlation(self) -> int:
        number = self.next_correlation_id
        self.next_correlation_id = number + 1
        return number
