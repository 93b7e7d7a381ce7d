"""The world inside a lab: the kernel with its nodes, and what can be read off it at any moment.

What it refuses lies in ``engine.refusals``, what each command does to it in ``engine.effects``: deterministic functions of the state
and the command, so that a replayed history meets the same world.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine import commands as cm
from engine import limits
from engine.broker.node import BrokerNode
from engine.clients.admin import AdminNode
from engine.clients.consumer import ConsumerNode
from engine.clients.processor import ProcessorNode
from engine.clients.producer import ProducerNode
from engine.clients.share_consumer import ShareConsumerNode
from engine.controller.node import ControllerNode
from engine.errors import EngineError
from engine.messages import admin as am
from engine.messages import instructions as im
from engine.messages.base import Request
from engine.metadata.config_rules import validate_all
from engine.metadata.configs import InvalidConfigError
from engine.metadata.image import MetadataImage
from engine.metadata.internal_topics import INTERNAL_TOPICS
from engine.sim.kernel import Host, Kernel
from engine.sim.outbox import Node
from engine.spec import BASE_CONTROLLER_ID, ClusterSpec, broker_name, controller_name
from engine.view.metrics import MetricsTracker

ADMIN = "admin"
SERVERS = ("broker", "controller")
CLIENTS = ("producer", "consumer", "processor", "share-consumer")
RECORD_IDS_PER_WORKLOAD = 1_000_000_000
"""Each workload and each processor numbers its records from a billion of its own; all stay below 2**53, the largest that JavaScript
counts exactly."""


@dataclass(slots=True)
class World:
    """``client_configs``, ``consumer_topics``, ``applications`` and ``verdicts``: what each client was created with, so that a restart makes
    the same one. ``groups`` and ``transactional_ids``: those that commands have named, in order, without the groups deleted since."""

    spec: ClusterSpec
    kernel: Kernel
    metrics: MetricsTracker
    next_record_id: int
    client_configs: dict[str, dict[str, str]]
    consumer_topics: dict[str, list[str]]
    workloads_started: int
    applications: dict[str, im.SetProcessing] = field(default_factory=dict)
    processors: dict[str, cm.CreateProcessor] = field(default_factory=dict)
    verdicts: dict[str, im.SetVerdicts] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    transactional_ids: list[str] = field(default_factory=list)

    def make_node(self, host: Host) -> Node:
        """A fresh process for this host."""
        spec = self.spec
        brokers = tuple(range(1, spec.brokers + 1))
        controllers = tuple(range(BASE_CONTROLLER_ID, BASE_CONTROLLER_ID + spec.controllers))
        if host.kind == "broker":
            broker_id = int(host.name.removeprefix("broker-"))
            rack = spec.racks[broker_id - 1] if broker_id <= len(spec.racks) else ""
            return BrokerNode(broker_id, controllers, dict(spec.broker_configs), rack, spec.mutants)
        if host.kind == "controller":
            return ControllerNode(int(host.name.removeprefix("controller-")), controllers, dict(spec.broker_configs), spec)
        if host.kind == "producer":
            return ProducerNode(host.name, brokers, dict(self.client_configs[host.name]))
        if host.kind == "consumer":
            consumer = ConsumerNode(host.name, brokers, dict(self.client_configs[host.name]))
            consumer.mutants = spec.mutants
            return consumer
        if host.kind == "share-consumer":
            return ShareConsumerNode(host.name, brokers, dict(self.client_configs[host.name]))
        if host.kind == "processor":
            return self._make_processor(self.processors[host.name], brokers)
        return AdminNode(host.name, brokers)

    def _make_processor(self, made: cm.CreateProcessor, brokers: tuple[int, ...]) -> ProcessorNode:
        self.workloads_started += 1
        return ProcessorNode(
            made.name, brokers, dict(made.configs), made.group, made.input_topic, made.output_topic, made.processing_ms,
            self.workloads_started * RECORD_IDS_PER_WORKLOAD,
        )  # fmt: skip


def check_spec(spec: ClusterSpec) -> None:
    """Raises EngineError, naming the field, where Kafka would refuse to start such a cluster or to create such a topic."""
    if sum(max(topic.partitions, len(topic.assignments)) for topic in spec.topics) > limits.MAX_PARTITIONS:
        raise EngineError(f"topics: a lab holds at most {limits.MAX_PARTITIONS} partitions.", field="topics")
    if not 0 <= spec.start_ms <= limits.MAX_START_MS:
        raise EngineError(f"start_ms: must lie between 0 and {limits.MAX_START_MS} (the year 9999).", field="start_ms")
    if len(spec.racks) > spec.brokers or not all(_is_plain(rack, limits.MAX_RACK_NAME) for rack in spec.racks):
        raise EngineError(
            f"racks: name at most one per broker, each in at most {limits.MAX_RACK_NAME} printable characters.", field="racks"
        )
    if len({topic.name for topic in spec.topics}) < len(spec.topics):
        raise EngineError("topics: two topics have the same name.", field="topics")
    try:
        validate_all("broker", spec.broker_configs)
        for topic in spec.topics:
            validate_all("topic", topic.configs)
    except InvalidConfigError as wrong:
        raise EngineError(f"configs: {wrong}.", field="configs", code="INVALID_CONFIG") from None
    for topic in spec.topics:
        for replicas in topic.assignments:
            if not replicas or len(set(replicas)) < len(replicas) or not all(1 <= b <= spec.brokers for b in replicas):
                raise EngineError(
                    f"topics.{topic.name}.assignments: {replicas} must name brokers 1 to {spec.brokers}, each at most once.",
                    field="assignments",
                    code="INVALID_REPLICA_ASSIGNMENT",
                )


def _is_plain(text: str, most: int) -> bool:
    return len(text) <= most and text.isprintable()


def create(spec: ClusterSpec, seed: int) -> World:
    """A cluster whose processes have all just been started."""
    kernel = Kernel(seed=seed, epoch_ms=spec.start_ms)
    world = World(spec, kernel, MetricsTracker(), 1, {}, {}, 0)
    for position in range(spec.controllers):
        kernel.add_host(controller_name(BASE_CONTROLLER_ID + position), "controller")
    for broker_id in range(1, spec.brokers + 1):
        kernel.add_host(broker_name(broker_id), "broker")
    kernel.add_host(ADMIN, "admin")
    for host in list(kernel.hosts.values()):
        kernel.start(host.name, world.make_node(host), 0)
    return world


def create_topic_request(
    topic: str, partitions: int, factor: int, configs: dict[str, str], assignments: list[list[int]]
) -> Request:
    return am.CreateTopicsRequest(
        0,
        (
            am.CreatableTopic(
                topic,
                partitions,
                factor,
                tuple(tuple(replicas) for replicas in assignments),
                tuple(sorted(configs.items())),
            ),
        ),
    )


def best_image(world: World) -> MetadataImage | None:
    """The newest committed metadata that any running process knows."""
    best = None
    for host in world.kernel.hosts.values():
        node = host.node
        if isinstance(node, (ControllerNode, BrokerNode)) and (best is None or node.image.offset > best.offset):
            best = node.image
    return best


def running_workloads(world: World) -> dict[str, str]:
    """Workload → the producer that runs it."""
    return {
        workload.name: host.name
        for host in world.kernel.hosts.values()
        if isinstance(host.node, ProducerNode)
        for workload in host.node.workloads
        if workload.running
    }


def formed(world: World) -> bool:
    """Every broker is registered and unfenced, in the eyes of the controllers and in its own."""
    image = best_image(world)
    if image is None or len(image.brokers) < world.spec.brokers or any(b.fenced for b in image.brokers.values()):
        return False
    nodes = [host.node for host in world.kernel.hosts.values()]
    return all(not node.fenced and node.image.offset == image.offset for node in nodes if isinstance(node, BrokerNode))


def topics_ready(world: World) -> bool:
    """Every topic of the specification exists, is led, and its leaders know it."""
    image = best_image(world)
    if image is None or any(topic.name not in image.topics for topic in world.spec.topics):
        return False
    nodes = [host.node for host in world.kernel.hosts.values()]
    return all(node.image.offset == image.offset for node in nodes if isinstance(node, (BrokerNode, ControllerNode)))


def producers(world: World) -> list[ProducerNode]:
    """Those inside of processors, too."""
    nodes = [host.node for host in world.kernel.hosts.values()]
    found = [node.producer if isinstance(node, ProcessorNode) else node for node in nodes]
    return [node for node in found if isinstance(node, ProducerNode)]


def stored_bytes(world: World) -> int:
    """What all disks hold together."""
    return sum(host.disk.used_bytes for host in world.kernel.hosts.values())


def buffered_bytes(world: World) -> int:
    """What the producers hold that is not acknowledged: their buffer.memory, and what waits in ``send`` for room in it."""
    blocked = sum(producer.blocked_bytes for producer in producers(world))
    return blocked + sum(producer.buffered_bytes for producer in producers(world))


def take_stock(world: World) -> str:
    """Stops every workload once disks or producers hold all that they may; returns what is full, "" as long as nothing is."""
    running = running_workloads(world)
    if not running:
        return ""
    if stored_bytes(world) > limits.MAX_LOG_BYTES_PER_LAB:
        full = f"the disks of a lab hold at most {limits.MAX_LOG_BYTES_PER_LAB} bytes"
    elif buffered_bytes(world) > limits.MAX_BUFFERED_BYTES:
        full = f"the producers of a lab buffer at most {limits.MAX_BUFFERED_BYTES} bytes"
    else:
        return ""
    for workload, producer in running.items():
        world.kernel.instruct(producer, im.StopWorkload(workload), 0)
    return full


def known_partitions(world: World) -> dict[str, int]:
    """By topic; those of Kafka's own topics count for no bound."""
    best = best_image(world)
    if best is None:
        return {}
    return {name: len(topic.partitions) for name, topic in best.topics.items() if name not in INTERNAL_TOPICS}


def active_segment(world: World, command: cm.CorruptDisk) -> str:
    disk = world.kernel.hosts[command.node].disk
    prefix = f"{command.topic}-{command.partition}/"
    paths = [path for path in disk.listing(prefix) if path.endswith(".log") and disk.size(path)]
    if not paths:
        raise EngineError(
            f"partition: {command.node} holds no records of {command.topic}-{command.partition}; choose a replica that has some.",
            field="partition",
        )
    return paths[-1]


def groups_named(command: cm.Command) -> list[tuple[str, str]]:
    """(field, group) of each group that comes into being with this command unless it is there already."""
    if isinstance(command, cm.AlterGroupOffsets | cm.CreateProcessor):
        return [("group", command.group)]
    if isinstance(command, cm.CreateConsumer | cm.CreateShareConsumer) and command.configs.get("group.id"):
        return [("configs", command.configs["group.id"])]
    if isinstance(command, cm.AlterConfig) and command.resource_type == "group" and command.resource_name:
        return [("resource_name", command.resource_name)]
    return []


def transactional_id_named(command: cm.Command) -> str:
    """ "" where the command names none."""
    return command.configs.get("transactional.id", "") if isinstance(command, cm.CreateProducer | cm.CreateProcessor) else ""


def remember_names(world: World, command: cm.Command) -> None:
    for _, group in groups_named(command):
        if group not in world.groups:
            world.groups.append(group)
    name = transactional_id_named(command)
    if name and name not in world.transactional_ids:
        world.transactional_ids.append(name)
    if isinstance(command, cm.DeleteGroup) and command.group in world.groups:
        world.groups.remove(command.group)
