"""From the kernel's nodes and disks to the view: plain data for browsers, goals and tests.

The truth about leaders and ISRs is the committed metadata image of the active controller (or, while there is none, the image that has
come furthest). About each log, its own broker is asked; where that broker is down, its disk. Called many times a second, so
everything here is one pass without copies that nobody needs.
"""

from __future__ import annotations

from engine import limits
from engine.broker.node import BrokerNode
from engine.broker.state import Replica
from engine.clients.consumer import ConsumerNode
from engine.clients.processor import ProcessorNode
from engine.clients.producer import ProducerNode
from engine.clients.share_consumer import ShareConsumerNode
from engine.controller.node import ControllerNode
from engine.log.partition_log import PartitionLog
from engine.log.record_batch import CONTROL_MASK, TRANSACTIONAL_MASK
from engine.log.segment import BatchEntry
from engine.messages.base import TopicPartition
from engine.metadata.image import MetadataImage, PartitionImage
from engine.metadata.internal_topics import INTERNAL_TOPICS
from engine.sim.disk import Disk
from engine.sim.kernel import Host, Kernel
from engine.spec import broker_name
from engine.view.batches import kind_of, tombstones_in
from engine.view.broker_metrics import add_broker_metrics
from engine.view.cleaner import add_cleaner_views
from engine.view.clients import consumer_view, producer_view, share_consumer_view
from engine.view.flights import flights
from engine.view.group_metrics import add_group_metrics, add_late_transactions
from engine.view.groups import add_ownership, group_views
from engine.view.metrics import MetricsTracker, measure
from engine.view.security import security_view
from engine.view.transactions import transaction_views
from engine.view.tree import (
    BatchView,
    ConsumerView,
    DiskView,
    LinkView,
    NodeView,
    PartitionView,
    ProducerView,
    QuorumView,
    ReplicaView,
    SegmentView,
    TopicView,
    View,
)

NOTHING_KNOWN = MetadataImage()
SHOWN_KINDS = ("broker", "controller", "producer", "consumer", "share-consumer", "processor")
TAIL_BUDGET = 130
"""Batches shown over all replicas; at about 130 bytes each and 7 KB of all else, a push stays near 25 KB even where everything moves."""
MIN_TAIL = 4


def build_view(kernel: Kernel, metrics: MetricsTracker) -> View:
    image = committed_image(kernel)
    nodes: dict[str, NodeView] = {}
    producers: dict[str, ProducerView] = {}
    consumers: dict[str, ConsumerView] = {}
    for name, host in kernel.hosts.items():
        if host.kind not in SHOWN_KINDS:
            continue
        nodes[name] = _node(host, image)
        if host.kind == "producer":
            producers[name] = producer_view(name, host.node if isinstance(host.node, ProducerNode) else None)
        elif host.kind == "consumer":
            consumers[name] = consumer_view(name, host.node if isinstance(host.node, ConsumerNode) else None, kernel.now)
        elif host.kind == "share-consumer":
            node = host.node if isinstance(host.node, ShareConsumerNode) else None
            consumers[name] = share_consumer_view(name, node, kernel.now)
        elif host.kind == "processor":
            running = host.node if isinstance(host.node, ProcessorNode) else None
            producers[name] = producer_view(name, running.producer if running is not None else None)
            consumers[name] = consumer_view(name, running.consumer if running is not None else None, kernel.now)
    topics = _topics(kernel, image, nodes)
    add_cleaner_views(kernel, topics)
    transactions = transaction_views(kernel, image, topics)
    links = {
        f"{source}>{target}": LinkView(source, target, link.cut, link.delay_us, link.loss_ppm)
        for (source, target), link in kernel.links.items()
        if link.cut or link.delay_us or link.loss_ppm
    }
    found = measure(metrics, kernel.now, nodes, topics, producers, consumers)
    add_broker_metrics(found, kernel, image, topics)
    groups = group_views(kernel.hosts, image, topics)
    add_ownership(groups, metrics.ownership)
    add_group_metrics(found, groups, consumers)
    add_late_transactions(found, topics, _static_configs(kernel), kernel.now)
    return View(
        now_us=kernel.now,
        nodes=nodes,
        topics=topics,
        producers=producers,
        consumers=consumers,
        links=links,
        in_flight=flights(kernel),
        quorum=_quorum(kernel),
        metrics=found,
        event_id=kernel.next_event_id - 1,
        transactions=transactions,
        security=security_view(kernel, image),
        groups=groups,
    )


def _static_configs(kernel: Kernel) -> dict[str, str]:
    """The same on every broker of a lab."""
    return next((host.node.configs for host in kernel.hosts.values() if isinstance(host.node, BrokerNode)), {})


def committed_image(kernel: Kernel) -> MetadataImage:
    """What the cluster has decided: the active controller's image, else that of the node that has read furthest."""
    best = NOTHING_KNOWN
    for host in kernel.hosts.values():
        node = host.node
        if isinstance(node, ControllerNode):
            if node.active and host.status == "up" and node.image.offset >= best.offset:
                return node.image
            if node.image.offset > best.offset:
                best = node.image
        elif isinstance(node, BrokerNode) and node.image.offset > best.offset:
            best = node.image
    return best


# -- nodes ----------------------------------------------------------------------------------------------------------------


def _node(host: Host, image: MetadataImage) -> NodeView:
    number = int(host.name.rpartition("-")[2]) if host.kind in ("broker", "controller") else 0
    view = NodeView(host.name, host.kind, number, host.status, since_us=host.since_us)
    node = host.node
    if host.kind == "broker":
        registration = image.brokers.get(number)
        if registration is not None:
            view.rack, view.fenced, view.broker_epoch = registration.rack, registration.fenced, registration.broker_epoch
        view.disk = _disk(host.disk)
        if isinstance(node, BrokerNode):
            view.rack = node.rack
            view.metadata_offset = node.image.offset
            view.disk.failed = node.failed
            view.replica_count = len(node.partitions)
    elif host.kind == "controller":
        view.disk = _disk(host.disk)
        if isinstance(node, ControllerNode):
            quorum = node.quorum
            view.role, view.epoch = quorum.role, quorum.epoch
            view.log_end_offset, view.high_watermark = quorum.log.log_end_offset, quorum.high_watermark
            view.metadata_offset = node.image.offset
    return view


def _disk(disk: Disk) -> DiskView:
    unsynced = 0
    for file in disk.files.values():
        unsynced += file.size - file.synced
    full = bool(disk.capacity_bytes) and disk.used_bytes >= disk.capacity_bytes
    return DiskView(disk.used_bytes, unsynced, full, disk.write_delay_us)


def _quorum(kernel: Kernel) -> QuorumView:
    """As the newest epoch has it; -1 where no running controller leads."""
    view = QuorumView(-1, -1, -1, [])
    for host in kernel.hosts.values():
        node = host.node
        if not isinstance(node, ControllerNode):
            continue
        quorum = node.quorum
        view.voters = list(quorum.voters)
        if quorum.epoch > view.epoch:
            view.epoch, view.leader = quorum.epoch, -1
        if quorum.role == "leader" and quorum.epoch == view.epoch and host.status != "paused":
            view.leader = node.node_id
        view.high_watermark = max(view.high_watermark, quorum.high_watermark)
    return view


# -- topics ---------------------------------------------------------------------------------------------------------------


def _topics(kernel: Kernel, image: MetadataImage, nodes: dict[str, NodeView]) -> dict[str, TopicView]:
    hosts = kernel.hosts
    shared = image.configs.get("broker:", {})
    tail = _tail_length(image)
    static = _static_configs(kernel)
    views: dict[str, TopicView] = {}
    for name, topic in image.topics.items():
        own = image.configs.get(f"topic:{name}", {})
        internal = name in INTERNAL_TOPICS
        configs = dict(own)
        if "min.insync.replicas" in shared:
            configs.setdefault("min.insync.replicas", shared["min.insync.replicas"])
        min_isr = int(image.topic_config(name, "min.insync.replicas", static))
        partitions: dict[str, PartitionView] = {}
        for number, part in topic.partitions.items():
            length = MIN_TAIL if internal else tail
            partitions[str(number)] = _partition(hosts, TopicPartition(name, number), part, min_isr, length, nodes)
        views[name] = TopicView(name, topic.topic_id, internal, configs, partitions)
    return views


def _tail_length(image: MetadataImage) -> int:
    """How many batches of each replica are shown: all together they make most of a busy lab's view. Of Kafka's own topics just a few."""
    replicas = 0
    for name, topic in image.topics.items():
        if name not in INTERNAL_TOPICS:
            replicas += sum([len(part.replicas) for part in topic.partitions.values()])
    return min(max(TAIL_BUDGET // max(replicas, 1), MIN_TAIL), limits.MAX_LOG_TAIL_SHOWN)


def _partition(
    hosts: dict[str, Host], key: TopicPartition, part: PartitionImage, min_isr: int, tail: int, nodes: dict[str, NodeView]
) -> PartitionView:
    replicas, isr = part.replicas, part.isr
    view = PartitionView(
        key.topic, key.partition, part.leader, part.leader_epoch, part.partition_epoch, list(replicas), list(isr), list(part.elr),
        list(part.last_known_elr), list(part.adding), list(part.removing), min_isr, _status(part, min_isr),
    )  # fmt: skip
    logs: dict[str, ReplicaView] = {}
    for broker in replicas:
        host = hosts.get(broker_name(broker))
        node = host.node if host is not None else None
        replica = node.partitions.get(key) if isinstance(node, BrokerNode) else None
        if replica is not None:
            logs[str(broker)] = shown = _replica(broker, replica, part, tail)
            if broker == part.leader:
                nodes[broker_name(broker)].leader_count += 1
                view.log_start_offset, view.log_end_offset = shown.log_start_offset, shown.log_end_offset
                view.high_watermark = replica.high_watermark
                view.last_stable_offset = replica.last_stable_offset
        elif node is None:
            size = _size_on_disk(host.disk, key) if host is not None else 0
            logs[str(broker)] = ReplicaView(broker, "offline", "offline", size_bytes=size)
        else:
            logs[str(broker)] = ReplicaView(broker, "none", "adding" if broker in part.adding else "out of sync")
    view.logs = logs
    leader = logs.get(str(part.leader))
    if leader is not None and leader.role == "leader":
        _caught_up(hosts, key, part.leader, logs)
    return view


def _status(part: PartitionImage, min_isr: int) -> str:
    if part.leader < 0:
        return "offline"
    in_sync, wanted = len(part.isr), len(part.replicas) - len(part.adding)
    minimum = min(min_isr, len(part.replicas))
    if in_sync < minimum:
        return "under-min-isr"
    if in_sync < wanted:
        return "at-min-isr" if in_sync == minimum else "under-replicated"
    return "ok"


def _replica(broker: int, replica: Replica, part: PartitionImage, tail: int) -> ReplicaView:
    log = replica.log
    if broker in part.isr:
        state = "in sync"
    elif broker in part.adding:
        state = "adding"
    elif broker in part.removing:
        state = "removing"
    else:
        state = "catching up" if replica.role == "follower" and replica.leader_id == part.leader else "out of sync"
    return ReplicaView(
        broker, replica.role, state, log.log_start_offset, log.log_end_offset, replica.high_watermark, replica.leader_epoch,
        log.size, -1, _segments(log), _tail(log, tail),
    )  # fmt: skip


def _caught_up(hosts: dict[str, Host], key: TopicPartition, leader: int, logs: dict[str, ReplicaView]) -> None:
    """When each follower was last at the leader's end, as the leader judges it."""
    node = hosts[broker_name(leader)].node
    assert isinstance(node, BrokerNode)
    for broker, follower in node.partitions[key].followers.items():
        log = logs.get(str(broker))
        if log is not None:
            log.last_caught_up_ms = max(follower.last_caught_up_ms, -1)


def _segments(log: PartitionLog) -> list[SegmentView]:
    last = len(log.segments) - 1
    return [
        SegmentView(segment.base_offset, segment.size, number == last, segment.max_timestamp)
        for number, segment in enumerate(log.segments)
    ]


def _tail(log: PartitionLog, length: int) -> list[BatchView]:
    """The newest batches, oldest of them first."""
    if log.log_end_offset == log.segments[0].base_offset:
        return []
    entries: list[BatchEntry] = []
    for segment in reversed(log.segments):
        batches = segment.batches
        entries[:0] = batches.iterate_from(max(len(batches) - length + len(entries), 0))
        if len(entries) >= length:
            break
    return [
        BatchView(
            entry.base_offset,
            entry.last_offset,
            entry.leader_epoch,
            entry.size,
            entry.record_count,
            entry.max_timestamp,
            entry.producer_id,
            bool(entry.attributes & CONTROL_MASK),
            kind_of(entry.data) if entry.attributes & (CONTROL_MASK | TRANSACTIONAL_MASK) else "",
            tombstones_in(entry.data) if log.config.compact and not entry.attributes & CONTROL_MASK else 0,
        )
        for entry in entries
    ]


def _size_on_disk(disk: Disk, key: TopicPartition) -> int:
    prefix = f"{key.topic}-{key.partition}/"
    return sum(file.size for path, file in disk.files.items() if path.endswith(".log") and path.startswith(prefix))
