"""The world inside a lab: the kernel with its nodes, and what each command does to it.

``check`` refuses what cannot be done, before anything changes; ``apply`` does it. Both are deterministic functions of the state and
the command, so that a replayed history meets the same world.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine import commands as cm
from engine import limits
from engine.broker.node import BrokerNode
from engine.clients.admin import AdminNode
from engine.clients.configs import ConsumerConfig, ProducerConfig
from engine.clients.consumer import ConsumerNode
from engine.clients.producer import ProducerNode
from engine.controller.node import ControllerNode
from engine.errors import EngineError
from engine.messages import admin as am
from engine.messages import instructions as im
from engine.messages.base import Request, TopicPartition
from engine.metadata.configs import InvalidConfigError, validate_all
from engine.metadata.image import MetadataImage
from engine.sim.kernel import Host, Kernel
from engine.sim.outbox import Node
from engine.spec import BASE_CONTROLLER_ID, ClusterSpec, broker_name, controller_name
from engine.view.metrics import MetricsTracker

ADMIN = "admin"
SERVERS = ("broker", "controller")
CLIENTS = ("producer", "consumer")


@dataclass(slots=True)
class World:
    """``client_configs`` and ``consumer_topics``: what each client was created with, so that a restart makes the same one."""

    spec: ClusterSpec
    kernel: Kernel
    metrics: MetricsTracker
    next_record_id: int
    client_configs: dict[str, dict[str, str]]
    consumer_topics: dict[str, list[str]]
    workloads_started: int

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
            return ConsumerNode(host.name, brokers, dict(self.client_configs[host.name]))
        return AdminNode(host.name, brokers)


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


# -- refusals -----------------------------------------------------------------------------------------------------------------


def check(world: World, command: cm.Command) -> None:
    """Raises EngineError, naming the field, where the world as it is cannot do this."""
    CHECKS.get(type(command), _anything)(world, command)


def _anything(world: World, command: Any) -> None:
    """No further condition than the command's own types."""


def _host(world: World, name: str, field: str = "node") -> Host:
    host = world.kernel.hosts.get(name)
    if host is None or host.kind == "admin":
        known = ", ".join(host.name for host in world.kernel.hosts.values() if host.kind != "admin")
        raise EngineError(f"{field}: there is no {name!r} in this cluster; there are {known}.", field=field)
    return host


def _running(world: World, name: str, field: str = "node") -> Host:
    host = _host(world, name, field)
    if host.status == "down":
        raise EngineError(f"{field}: {name} is not running; start it first.", field=field)
    return host


def _check_kill(world: World, command: cm.KillNode) -> None:
    _running(world, command.node)


def _check_stop(world: World, command: cm.StopNode) -> None:
    if _running(world, command.node).status == "paused":
        raise EngineError(f"node: {command.node} is paused and cannot obey; resume it, or kill it.", field="node")


def _check_start(world: World, command: cm.StartNode) -> None:
    if _host(world, command.node).status != "down":
        raise EngineError(f"node: {command.node} is running already.", field="node")


def _check_pause(world: World, command: cm.PauseNode) -> None:
    if _running(world, command.node).status == "paused":
        raise EngineError(f"node: {command.node} is paused already.", field="node")


def _check_resume(world: World, command: cm.ResumeNode) -> None:
    if _host(world, command.node).status != "paused":
        raise EngineError(f"node: {command.node} is not paused.", field="node")


def _check_server(world: World, command: Any) -> None:
    host = _host(world, command.node)
    if host.kind not in SERVERS:
        raise EngineError(
            f"node: {command.node} is a client and has no disk of its own here; name a broker or controller.",
            field="node",
        )


def _check_dark_disk(world: World, command: Any) -> None:
    _check_server(world, command)
    if _host(world, command.node).status != "down":
        raise EngineError(f"node: {command.node} is running; stop or kill it before its disk is touched.", field="node")


def _check_power(world: World, command: cm.LosePower) -> None:
    _check_server(world, command)
    if world.kernel.hosts[command.node].dark:
        raise EngineError(f"node: {command.node} has no power already.", field="node")


def _check_corrupt(world: World, command: cm.CorruptDisk) -> None:
    _check_dark_disk(world, command)
    _active_segment(world, command)


def _active_segment(world: World, command: cm.CorruptDisk) -> str:
    disk = world.kernel.hosts[command.node].disk
    prefix = f"{command.topic}-{command.partition}/"
    paths = [path for path in disk.listing(prefix) if path.endswith(".log") and disk.size(path)]
    if not paths:
        raise EngineError(
            f"partition: {command.node} holds no records of {command.topic}-{command.partition}; choose a replica that has some.",
            field="partition",
        )
    return paths[-1]


def _check_pair(world: World, command: Any) -> None:
    _host(world, command.source, "source")
    if command.target != "*":
        _host(world, command.target, "target")
        if command.source == command.target:
            raise EngineError("target: a node has no network to itself; name another.", field="target")


def _check_heal(world: World, command: cm.HealNetwork) -> None:
    for field, name in (("source", command.source), ("target", command.target)):
        if name != "*":
            _host(world, name, field)


def _check_create_topic(world: World, command: cm.CreateTopic) -> None:
    if command.assignments and (command.partitions != -1 or command.replication_factor != -1):
        raise EngineError(
            "assignments: give either an assignment or the numbers of partitions and replicas, not both.",
            field="assignments",
        )
    _check_partition_budget(world, command.partitions if command.partitions > 0 else max(len(command.assignments), 1))


def _check_partition_budget(world: World, more: int) -> None:
    topics = _known_partitions(world)
    if len(topics) >= limits.MAX_TOPICS:
        raise EngineError(f"topic: a lab holds at most {limits.MAX_TOPICS} topics; delete one first.", field="topic")
    total = sum(topics.values())
    if total + more > limits.MAX_PARTITIONS:
        raise EngineError(
            f"partitions: a lab holds at most {limits.MAX_PARTITIONS} partitions and has {total}; ask for fewer.",
            field="partitions",
        )


def _known_partitions(world: World) -> dict[str, int]:
    best = best_image(world)
    return {name: len(topic.partitions) for name, topic in best.topics.items()} if best is not None else {}


def _check_add_partitions(world: World, command: cm.AddPartitions) -> None:
    known = _known_partitions(world)
    if sum(known.values()) - known.get(command.topic, 0) + command.count > limits.MAX_PARTITIONS:
        raise EngineError(f"count: a lab holds at most {limits.MAX_PARTITIONS} partitions; ask for fewer.", field="count")


def _check_new_client(world: World, name: str, field: str) -> None:
    if name in world.kernel.hosts:
        raise EngineError(f"{field}: {name!r} is taken; choose another name.", field=field)
    if name.startswith(("broker-", "controller-")) or name in (ADMIN, "you"):
        raise EngineError(f"{field}: {name!r} is reserved for the cluster; choose another name.", field=field)
    clients = sum(1 for host in world.kernel.hosts.values() if host.kind in CLIENTS)
    if clients >= limits.MAX_CLIENTS:
        raise EngineError(f"{field}: a lab holds at most {limits.MAX_CLIENTS} clients; close one first.", field=field)


def _check_create_producer(world: World, command: cm.CreateProducer) -> None:
    _check_new_client(world, command.name, "name")
    ProducerConfig.from_map(command.configs)


def _check_create_consumer(world: World, command: cm.CreateConsumer) -> None:
    _check_new_client(world, command.name, "name")
    ConsumerConfig.from_map(command.configs)


def _check_uses_producer(world: World, name: str) -> None:
    host = world.kernel.hosts.get(name)
    if host is None:
        _check_new_client(world, name, "producer")
    elif host.kind != "producer":
        raise EngineError(f"producer: {name} is a {host.kind}, not a producer; choose another name.", field="producer")
    else:
        _running(world, name, "producer")


def _check_produce(world: World, command: cm.Produce) -> None:
    _check_uses_producer(world, command.producer)
    _check_can_send(world, command.producer)
    size = _bytes_of(command) * command.count
    stored = stored_bytes(world)
    if stored + size > limits.MAX_LOG_BYTES_PER_LAB:
        raise EngineError(
            f"value: the disks of a lab hold at most {limits.MAX_LOG_BYTES_PER_LAB} bytes and hold {stored}; delete a topic first.",
            field="value",
        )
    producers = _producers(world)
    buffered = sum(producer.buffered_records for producer in producers)
    if buffered + command.count > limits.MAX_BUFFERED_RECORDS:
        raise EngineError(
            f"count: the producers of a lab buffer at most {limits.MAX_BUFFERED_RECORDS} records and hold {buffered}; let time pass.",
            field="count",
        )
    held = buffered_bytes(world)
    if held + size > limits.MAX_BUFFERED_BYTES:
        raise EngineError(
            f"value: the producers of a lab buffer at most {limits.MAX_BUFFERED_BYTES} bytes and hold {held}; let time pass.",
            field="value",
        )


def _check_can_send(world: World, name: str) -> None:
    host = world.kernel.hosts.get(name)
    if host is not None and host.status == "paused":
        raise EngineError(f"producer: {name} is paused and cannot send; resume it first.", field="producer")


def _bytes_of(command: cm.Produce) -> int:
    """One of its records, with the running number written out."""
    texts = [text for text in (command.key, command.value) if text is not None]
    numbers = sum(text.count("{n}") for text in texts) * (limits.MAX_DIGITS - len("{n}"))
    headers = sum(len(header.name.encode()) + len((header.value or "").encode()) for header in command.headers)
    return sum(len(text.encode()) for text in texts) + numbers + headers


def _producers(world: World) -> list[ProducerNode]:
    return [host.node for host in world.kernel.hosts.values() if isinstance(host.node, ProducerNode)]


def stored_bytes(world: World) -> int:
    """What all disks hold together."""
    return sum(host.disk.used_bytes for host in world.kernel.hosts.values())


def buffered_bytes(world: World) -> int:
    """What the producers hold that is not acknowledged: their buffer.memory, and what waits in ``send`` for room in it."""
    waiting = (call.record for producer in _producers(world) for call in producer.blocked)
    blocked = sum(len(key or b"") + len(value or b"") for key, value, _, _ in waiting)
    return blocked + sum(producer.buffered_bytes for producer in _producers(world))


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


def _check_start_workload(world: World, command: cm.StartWorkload) -> None:
    running = running_workloads(world)
    if command.name in running:
        raise EngineError(f"name: a workload {command.name!r} runs already; stop it, or choose another name.", field="name")
    if len(running) >= limits.MAX_WORKLOADS:
        raise EngineError(f"name: a lab runs at most {limits.MAX_WORKLOADS} workloads; stop one first.", field="name")
    _check_uses_producer(world, command.producer)
    _check_workload_bytes(world, command)


def _check_workload_bytes(world: World, command: cm.StartWorkload) -> None:
    loads = [load for producer in _producers(world) for load in producer.workloads if load.running]
    rate = sum(load.records_per_second * load.value_bytes for load in loads)
    if rate + command.records_per_second * command.value_bytes > limits.MAX_WORKLOAD_BYTES_PER_SECOND:
        raise EngineError(
            f"value_bytes: the workloads of a lab send at most {limits.MAX_WORKLOAD_BYTES_PER_SECOND} bytes a second together "
            f"and send {rate}; ask for fewer or smaller records.",
            field="value_bytes",
        )
    stored = stored_bytes(world)
    if stored > limits.MAX_LOG_BYTES_PER_LAB:
        raise EngineError(
            f"name: the disks of a lab hold at most {limits.MAX_LOG_BYTES_PER_LAB} bytes and hold {stored}; delete a topic first.",
            field="name",
        )


def _check_stop_workload(world: World, command: cm.StopWorkload) -> None:
    if command.name not in running_workloads(world):
        raise EngineError(f"name: no workload {command.name!r} runs.", field="name")


def _consumer(world: World, command: Any) -> None:
    host = _running(world, command.name, "name")
    if host.kind != "consumer":
        raise EngineError(f"name: {command.name} is a {host.kind}, not a consumer.", field="name")


def _check_close(world: World, command: cm.CloseClient) -> None:
    if _running(world, command.name, "name").kind not in CLIENTS:
        raise EngineError(f"name: {command.name} is no client; use StopNode or KillNode.", field="name")


CHECKS: dict[type[cm.Command], Callable[[World, Any], None]] = {
    cm.KillNode: _check_kill,
    cm.StopNode: _check_stop,
    cm.StartNode: _check_start,
    cm.PauseNode: _check_pause,
    cm.ResumeNode: _check_resume,
    cm.LosePower: _check_power,
    cm.CutNetwork: _check_pair,
    cm.DegradeNetwork: _check_pair,
    cm.HealNetwork: _check_heal,
    cm.SlowDisk: _check_server,
    cm.FillDisk: _check_server,
    cm.FreeDisk: _check_server,
    cm.WipeDisk: _check_dark_disk,
    cm.CorruptDisk: _check_corrupt,
    cm.CreateTopic: _check_create_topic,
    cm.AddPartitions: _check_add_partitions,
    cm.CreateProducer: _check_create_producer,
    cm.CreateConsumer: _check_create_consumer,
    cm.Produce: _check_produce,
    cm.StartWorkload: _check_start_workload,
    cm.StopWorkload: _check_stop_workload,
    cm.AssignConsumer: _consumer,
    cm.SeekConsumer: _consumer,
    cm.PauseConsumer: _consumer,
    cm.CloseClient: _check_close,
}


# -- effects ------------------------------------------------------------------------------------------------------------------


def apply(world: World, command: cm.Command, text: str) -> int:
    """Does what ``check`` let pass; returns the number of the CommandGiven event, the root of all that follows."""
    cause = world.kernel.give_command(type(command).__name__, text)
    EFFECTS[type(command)](world, command, cause)
    return cause


def _stop(world: World, c: cm.StopNode, cause: int) -> None:
    host = world.kernel.hosts[c.node]
    host.status = "stopping"
    world.kernel.instruct(c.node, im.BeginShutdown(), cause)


def _start(world: World, c: cm.StartNode, cause: int) -> None:
    host = world.kernel.hosts[c.node]
    world.kernel.start(c.node, world.make_node(host), cause)
    topics = world.consumer_topics.get(c.node)
    if topics:
        world.kernel.instruct(c.node, im.SubscribeTopics(tuple(topics)), cause)


def _pairs(world: World, source: str, target: str) -> list[tuple[str, str]]:
    """Both directions between ``source`` and ``target``, where "*" stands for everybody."""
    names = [host.name for host in world.kernel.hosts.values()]
    ones = names if source == "*" else [source]
    others = names if target == "*" else [target]
    pairs = [(a, b) for a in ones for b in others if a != b]
    return list(dict.fromkeys([pair for a, b in pairs for pair in ((a, b), (b, a))]))


def _cut(world: World, c: cm.CutNetwork, cause: int) -> None:
    pairs = _pairs(world, c.source, c.target)
    for source, target in pairs:
        if not c.one_way or source == c.source:
            world.kernel.cut(source, target, cause)


def _heal(world: World, c: cm.HealNetwork, cause: int) -> None:
    for source, target in _pairs(world, c.source, c.target):
        world.kernel.heal(source, target, cause)


def _degrade(world: World, c: cm.DegradeNetwork, cause: int) -> None:
    for source, target in _pairs(world, c.source, c.target):
        if not c.one_way or source == c.source:
            world.kernel.degrade(source, target, c.delay_ms * 1000, int(c.loss_percent * 10_000), cause)


def _corrupt(world: World, c: cm.CorruptDisk, cause: int) -> None:
    path = _active_segment(world, c)
    size = world.kernel.hosts[c.node].disk.size(path)
    world.kernel.corrupt_disk(c.node, path, size - 1 - min(8, size - 1), cause)


def _admin(world: World, request: Request, cause: int) -> None:
    """The call's number is that of the command's event, so that a console finds its answer."""
    world.kernel.instruct(ADMIN, im.CallAdmin(cause, request), cause)


def _create_topic(world: World, c: cm.CreateTopic, cause: int) -> None:
    _admin(world, create_topic_request(c.topic, c.partitions, c.replication_factor, c.configs, c.assignments), cause)


def _alter_config(world: World, c: cm.AlterConfig, cause: int) -> None:
    changes = [am.AlterableConfig(name, "set", value) for name, value in sorted(c.set.items())]
    changes += [am.AlterableConfig(name, "delete") for name in c.remove]
    _admin(world, am.IncrementalAlterConfigsRequest(0, c.resource_type, c.resource_name, tuple(changes)), cause)


def _elect(world: World, c: cm.ElectLeader, cause: int) -> None:
    partitions = None
    if c.topic is not None:
        count = _known_partitions(world).get(c.topic, 1)
        which = range(count) if c.partition is None else (c.partition,)
        partitions = tuple(TopicPartition(c.topic, number) for number in which)
    _admin(world, am.ElectLeadersRequest(0, c.election, partitions), cause)


def _reassign(world: World, c: cm.ReassignPartition, cause: int) -> None:
    replicas = tuple(c.replicas) if c.replicas is not None else None
    item = am.Reassignment(TopicPartition(c.topic, c.partition), replicas)
    _admin(world, am.AlterPartitionReassignmentsRequest(0, (item,)), cause)


def _new_client(world: World, name: str, kind: str, configs: dict[str, str], cause: int) -> None:
    host = world.kernel.add_host(name, kind)
    world.client_configs[name] = dict(configs)
    world.kernel.start(name, world.make_node(host), cause)


def _create_producer(world: World, c: cm.CreateProducer, cause: int) -> None:
    _new_client(world, c.name, "producer", c.configs, cause)


def _ensure_producer(world: World, name: str, cause: int) -> None:
    if name not in world.kernel.hosts:
        _new_client(world, name, "producer", {}, cause)


def _produce(world: World, c: cm.Produce, cause: int) -> None:
    _ensure_producer(world, c.producer, cause)
    first = world.next_record_id
    world.next_record_id += c.count
    headers = tuple((h.name, None if h.value is None else h.value.encode()) for h in c.headers)
    records = tuple((_text(c.key, first + n), _text(c.value, first + n), headers) for n in range(c.count))
    partition = -1 if c.partition is None else c.partition
    world.kernel.instruct(c.producer, im.SendRecords(c.topic, partition, records, first), cause)


def _text(template: str | None, number: int) -> bytes | None:
    return None if template is None else template.replace("{n}", str(number)).encode()


RECORD_IDS_PER_WORKLOAD = 1_000_000_000
"""Each workload numbers its records from a billion of its own; all stay below 2**53, the largest that JavaScript counts exactly."""


def _start_workload(world: World, c: cm.StartWorkload, cause: int) -> None:
    _ensure_producer(world, c.producer, cause)
    world.workloads_started += 1
    world.kernel.instruct(
        c.producer,
        im.StartWorkload(
            c.name, c.topic, c.records_per_second, c.keys, c.value_bytes, c.skew_percent, c.limit,
            world.workloads_started * RECORD_IDS_PER_WORKLOAD,
        ),
        cause,
    )  # fmt: skip


def _stop_workload(world: World, c: cm.StopWorkload, cause: int) -> None:
    world.kernel.instruct(running_workloads(world)[c.name], im.StopWorkload(c.name), cause)


def _create_consumer(world: World, c: cm.CreateConsumer, cause: int) -> None:
    _new_client(world, c.name, "consumer", c.configs, cause)
    world.consumer_topics.pop(c.name, None)
    if c.topics:
        world.consumer_topics[c.name] = list(c.topics)
        world.kernel.instruct(c.name, im.SubscribeTopics(tuple(c.topics)), cause)


def _assign(world: World, c: cm.AssignConsumer, cause: int) -> None:
    partitions = tuple(TopicPartition(c.topic, number) for number in c.partitions)
    world.kernel.instruct(c.name, im.AssignPartitions(partitions), cause)


def _seek(world: World, c: cm.SeekConsumer, cause: int) -> None:
    world.kernel.instruct(c.name, im.SeekConsumer(TopicPartition(c.topic, c.partition), c.offset), cause)


def _pause_consumer(world: World, c: cm.PauseConsumer, cause: int) -> None:
    world.kernel.instruct(c.name, im.PauseConsumer((), c.paused), cause)


def _close(world: World, c: cm.CloseClient, cause: int) -> None:
    world.kernel.hosts[c.name].status = "stopping"
    world.kernel.instruct(c.name, im.BeginShutdown(), cause)


EFFECTS: dict[type[cm.Command], Callable[[World, Any, int], None]] = {
    cm.KillNode: lambda w, c, cause: w.kernel.kill(c.node, cause),
    cm.StopNode: _stop,
    cm.StartNode: _start,
    cm.PauseNode: lambda w, c, cause: w.kernel.pause(c.node, cause),
    cm.ResumeNode: lambda w, c, cause: w.kernel.resume(c.node, cause),
    cm.LosePower: lambda w, c, cause: w.kernel.lose_power(c.node, c.torn, cause),
    cm.CutNetwork: _cut,
    cm.HealNetwork: _heal,
    cm.DegradeNetwork: _degrade,
    cm.SlowDisk: lambda w, c, cause: w.kernel.slow_disk(c.node, c.write_delay_ms * 1000, cause),
    cm.FillDisk: lambda w, c, cause: w.kernel.fill_disk(c.node, cause),
    cm.FreeDisk: lambda w, c, cause: w.kernel.free_disk(c.node, cause),
    cm.WipeDisk: lambda w, c, cause: w.kernel.wipe_disk(c.node, cause),
    cm.CorruptDisk: _corrupt,
    cm.CreateTopic: _create_topic,
    cm.DeleteTopic: lambda w, c, cause: _admin(w, am.DeleteTopicsRequest(0, (c.topic,)), cause),
    cm.AddPartitions: lambda w, c, cause: _admin(w, am.CreatePartitionsRequest(0, c.topic, c.count), cause),
    cm.AlterConfig: _alter_config,
    cm.ElectLeader: _elect,
    cm.ReassignPartition: _reassign,
    cm.CreateProducer: _create_producer,
    cm.Produce: _produce,
    cm.StartWorkload: _start_workload,
    cm.StopWorkload: _stop_workload,
    cm.CreateConsumer: _create_consumer,
    cm.AssignConsumer: _assign,
    cm.SeekConsumer: _seek,
    cm.PauseConsumer: _pause_consumer,
    cm.CloseClient: _close,
}
