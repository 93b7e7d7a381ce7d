"""What committed metadata makes of this broker: which replicas it holds, which of them it leads, which it follows from whom.

Sources: Kafka's ``BrokerMetadataPublisher`` and ``ReplicaManager.applyDelta`` (deletions, then leaders, then followers),
``Partition.makeLeader`` and ``makeFollower``. Nothing is published until the first catch-up with the quorum's high watermark, so that
a restarted broker does not act on history.
"""

from __future__ import annotations

from engine.broker import cleaner, coordinators, fetcher, groups, logs, replication, replication_quotas, share_dispatch
from engine.broker.apis import delete_records, fetch
from engine.broker.state import FOLLOWER, LEADER, NEVER_MS, Broker, FollowerState, Replica
from engine.coordination.quorum_log import Committed
from engine.events import FollowerStarted, LeaderStarted
from engine.log.config import LogConfig
from engine.messages.base import TopicPartition
from engine.metadata.image import MetadataImage, PartitionImage, TopicImage
from engine.metadata.records import (
    AccessControlEntry,
    ClientQuota,
    Config,
    MetadataRecord,
    Partition,
    PartitionChange,
    RemoveAccessControlEntry,
    RemoveTopic,
    Topic,
)
from engine.sim.outbox import Outbox

_CHANGES_REPLICAS = (Topic, RemoveTopic, Partition, PartitionChange)


def apply(broker: Broker, committed: Committed, out: Outbox) -> None:
    """Replays what was committed into the image and, once this broker has caught up, acts on it."""
    image = broker.image
    replicas_changed = configs_changed = False
    deleted_topics: list[str] = []
    changed_topics: dict[str, None] = {}
    for batch in committed:
        for position, record in enumerate(batch.records):
            if isinstance(record, RemoveTopic):
                deleted_topics.append(image.topic_names[record.topic_id])
                changed_topics[deleted_topics[-1]] = None
            image.apply(record, batch.base_offset + position, batch.epoch)
            if isinstance(record, _CHANGES_REPLICAS):
                replicas_changed = True
                _note_topic(image, record, changed_topics)
            elif isinstance(record, Config):
                configs_changed = True
            elif isinstance(record, ClientQuota):
                broker.guarded = True
            elif isinstance(record, (AccessControlEntry, RemoveAccessControlEntry)) and "stale-verdicts" not in broker.mutants:
                broker.authorizer.verdicts.clear()
    if not broker.serving:
        return
    if configs_changed:
        apply_configs(broker, out)
    if replicas_changed:
        publish(broker, out)
    if changed_topics:
        groups.on_topics_changed(broker, list(changed_topics), out)
    if deleted_topics:
        groups.on_topics_deleted(broker, deleted_topics, out)


def _note_topic(image: MetadataImage, record: MetadataRecord, changed: dict[str, None]) -> None:
    """Whether groups have to look at this topic again: it is new, or has other partitions, or other replicas."""
    if isinstance(record, (Topic, Partition)) or (isinstance(record, PartitionChange) and record.replicas is not None):
        name = image.topic_names.get(record.topic_id)
        if name is not None:
            changed[name] = None


def publish(broker: Broker, out: Outbox) -> None:
    """Brings every replica here in line with the image."""
    cause = out.cause
    replication_quotas.configure(broker)
    _delete_unwanted(broker, out)
    leaders: list[tuple[Replica, PartitionImage]] = []
    followers: list[tuple[Replica, PartitionImage]] = []
    for topic in broker.image.topics.values():
        for number, partition in topic.partitions.items():
            if broker.broker_id not in partition.replicas:
                continue
            replica = _replica(broker, topic, number, out)
            if replica.online and (
                partition.partition_epoch < replica.partition_epoch or broker.applied.get(replica.partition) == partition
            ):
                continue
            (leaders if partition.leader == broker.broker_id else followers).append((replica, partition))
    for replica, partition in leaders:
        out.because(cause)
        _make_leader(broker, replica, partition, out)
    for replica, partition in followers:
        out.because(cause)
        _make_follower(broker, replica, partition, out)
    out.because(cause)
    fetcher.resume(broker, out)


def _delete_unwanted(broker: Broker, out: Outbox) -> None:
    """Deleted topics, replicas that were reassigned away, and logs that lie here for no reason (strays)."""
    for tp, replica in list(broker.partitions.items()):
        topic = broker.image.topics.get(tp.topic)
        partition = topic.partitions.get(tp.partition) if topic is not None else None
        wanted = partition is not None and broker.broker_id in partition.replicas
        same_topic = topic is not None and replica.topic_id in ("", topic.topic_id)
        if wanted and same_topic:
            continue
        fetcher.unfollow(broker, tp)
        replica.role, replica.leader_id, replica.online = FOLLOWER, -1, False
        coordinators.on_resigned(broker, replica, out)
        del broker.partitions[tp]
        broker.applied.pop(tp, None)
        broker.alter_queue.pop(tp, None)
        replication.fail_acks(broker, replica, "UNKNOWN_TOPIC_OR_PARTITION" if topic is None else "NOT_LEADER_OR_FOLLOWER", out)
        fetch.settle(broker, replica, out)
        share_dispatch.on_leadership(broker, replica.partition, out)
        delete_records.on_low_watermark(broker, replica, out)
        cleaner.forget(broker, tp, out)
        replica.log.delete(out.disk)
        broker.high_watermarks_changed = True


def _replica(broker: Broker, topic: TopicImage, number: int, out: Outbox) -> Replica:
    tp = TopicPartition(topic.name, number)
    replica = broker.partitions.get(tp)
    if replica is None:
        replica = broker.partitions[tp] = logs.create(broker, tp, topic.topic_id, out)
    if not replica.online:
        replica.topic_id = topic.topic_id
        _configure(broker, replica)
    return replica


def _make_leader(broker: Broker, replica: Replica, partition: PartitionImage, out: Outbox) -> None:
    new_epoch = partition.leader_epoch > replica.leader_epoch or replica.role != LEADER
    start_epoch = partition.leader_epoch > replica.leader_epoch
    was_leader = replica.role == LEADER
    fetcher.unfollow(broker, replica.partition)
    _take_assignment(broker, replica, partition)
    replica.role, replica.leader_id, replica.leader_epoch = LEADER, broker.broker_id, partition.leader_epoch
    _keep_followers(broker, replica, partition, out.now // 1000, start_epoch, was_leader)
    if new_epoch:
        log = replica.log
        if start_epoch:
            replica.leader_epoch_start_offset = log.log_end_offset
            log.assign_epoch_start_offset(partition.leader_epoch, out.disk)
        topic, number = replica.partition
        out.emit(LeaderStarted(broker.broker_id, topic, number, partition.leader_epoch, log.log_end_offset))
        fetch.settle(broker, replica, out)
        share_dispatch.on_leadership(broker, replica.partition, out)
        coordinators.on_elected(broker, replica, out)
    replication.maybe_advance_high_watermark(broker, replica, out)


def _keep_followers(
    broker: Broker, replica: Replica, partition: PartitionImage, now_ms: int, new_epoch: bool, was_leader: bool
) -> None:
    """In a new leader epoch, ISR members count as caught up now and have their time to prove it (``resetReplicaState``)."""
    old = replica.followers
    replica.followers = {}
    for broker_id in partition.replicas:
        if broker_id == broker.broker_id:
            continue
        follower = old.get(broker_id)
        if follower is None or (new_epoch and not was_leader):
            follower = FollowerState()
        if new_epoch:
            in_sync = broker_id in partition.isr
            follower.last_caught_up_ms = now_ms if in_sync else NEVER_MS
            if was_leader:
                follower.last_fetch_leader_log_end_offset = replica.log.log_end_offset
        replica.followers[broker_id] = follower


def _make_follower(broker: Broker, replica: Replica, partition: PartitionImage, out: Outbox) -> None:
    new_epoch = partition.leader_epoch > replica.leader_epoch or replica.leader_id != partition.leader
    was_leader = replica.role == LEADER
    _take_assignment(broker, replica, partition)
    replica.role, replica.leader_id, replica.leader_epoch = FOLLOWER, partition.leader, partition.leader_epoch
    replica.leader_epoch_start_offset = -1
    replica.followers = {}
    if was_leader:
        coordinators.on_resigned(broker, replica, out)
        replication.fail_acks(broker, replica, "NOT_LEADER_OR_FOLLOWER", out)
        delete_records.on_low_watermark(broker, replica, out)
        fetch.settle(broker, replica, out)
        share_dispatch.on_leadership(broker, replica.partition, out)
    if not new_epoch:
        return
    if partition.leader < 0:
        fetcher.unfollow(broker, replica.partition)
        return
    topic, number = replica.partition
    out.emit(FollowerStarted(broker.broker_id, topic, number, partition.leader, partition.leader_epoch))
    fetcher.follow(broker, replica, out)


def _take_assignment(broker: Broker, replica: Replica, partition: PartitionImage) -> None:
    """A newer partition epoch ends what this leader had proposed."""
    broker.applied[replica.partition] = partition
    replica.online = True
    replica.replicas = partition.replicas
    if (
        partition.partition_epoch > replica.partition_epoch
        or partition.leader_epoch > replica.leader_epoch
        or replica.pending_isr is None
    ):
        replication.set_committed_isr(replica, partition.isr)
        broker.alter_queue.pop(replica.partition, None)
    replica.partition_epoch = partition.partition_epoch
    _set_min_isr(broker, replica)


# -- configuration -----------------------------------------------------------------------------------------------------------------------


def apply_configs(broker: Broker, out: Outbox) -> None:
    """A changed topic or broker default takes effect at once."""
    cause = out.cause
    replication_quotas.configure(broker)
    for replica in broker.partitions.values():
        _configure(broker, replica)
        if replica.role == LEADER:
            out.because(cause)
            replication.maybe_advance_high_watermark(broker, replica, out)
    out.because(cause)


def _configure(broker: Broker, replica: Replica) -> None:
    topic = replica.partition.topic
    values = broker.image.effective_topic_config(topic, broker.configs)
    values["producer.id.expiration.ms"] = str(broker.settings.producer_id_expiration_ms)
    replica.log.config = LogConfig.from_topic_config(values, mutants=frozenset(broker.mutants))
    replication_quotas.mark(
        broker, replica, values[replication_quotas.LEADER_REPLICAS], values[replication_quotas.FOLLOWER_REPLICAS]
    )
    _set_min_isr(broker, replica)


def _set_min_isr(broker: Broker, replica: Replica) -> None:
    """Never more than the partition has replicas (``effectiveMinIsr``)."""
    configured = int(broker.image.topic_config(replica.partition.topic, "min.insync.replicas", broker.configs))
    replica.min_isr = min(configured, len(replica.replicas)) if replica.replicas else configured
