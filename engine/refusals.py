"""What cannot be done, refused before anything changes: one check for each command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine import commands as cm
from engine import limits
from engine.clients.configs import ConsumerConfig, ProducerConfig, ShareConsumerConfig
from engine.clients.processor import split_configs
from engine.clients.producer import ProducerNode
from engine.errors import EngineError
from engine.sim.kernel import Host
from engine.world import (
    ADMIN,
    CLIENTS,
    SERVERS,
    World,
    active_segment,
    buffered_bytes,
    groups_named,
    known_partitions,
    producers,
    running_workloads,
    stored_bytes,
    transactional_id_named,
)


def check(world: World, command: cm.Command) -> None:
    """Raises EngineError, naming the field, where the world as it is cannot do this."""
    CHECKS.get(type(command), _anything)(world, command)
    _check_names(world, command)


def _check_names(world: World, command: cm.Command) -> None:
    """What groups and transactional IDs a lab has to remember is bounded."""
    for field, group in groups_named(command):
        if group not in world.groups and len(world.groups) >= limits.MAX_GROUPS:
            raise EngineError(
                f"{field}: a lab holds at most {limits.MAX_GROUPS} groups; delete one first.", field=field, code="POLICY_VIOLATION"
            )
    name = transactional_id_named(command)
    if name and name not in world.transactional_ids and len(world.transactional_ids) >= limits.MAX_TRANSACTIONAL_IDS:
        raise EngineError(
            f"configs: a lab holds at most {limits.MAX_TRANSACTIONAL_IDS} transactional IDs; use one of those again.",
            field="configs", code="POLICY_VIOLATION",
        )  # fmt: skip


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
    active_segment(world, command)


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
    topics = known_partitions(world)
    if len(topics) >= limits.MAX_TOPICS:
        raise EngineError(f"topic: a lab holds at most {limits.MAX_TOPICS} topics; delete one first.", field="topic")
    total = sum(topics.values())
    if total + more > limits.MAX_PARTITIONS:
        raise EngineError(
            f"partitions: a lab holds at most {limits.MAX_PARTITIONS} partitions and has {total}; ask for fewer.",
            field="partitions",
        )


def _check_add_partitions(world: World, command: cm.AddPartitions) -> None:
    known = known_partitions(world)
    if sum(known.values()) - known.get(command.topic, 0) + command.count > limits.MAX_PARTITIONS:
        raise EngineError(f"count: a lab holds at most {limits.MAX_PARTITIONS} partitions; ask for fewer.", field="count")


def _check_quota(world: World, command: cm.AlterQuota) -> None:
    if command.user is None and command.client_id is None:
        raise EngineError("user: name a user, a client_id or both; an empty name is the default of its kind.", field="user")
    if not command.set and not command.remove:
        raise EngineError("set: name a quota to set or to remove.", field="set")


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
    if command.commit_each_poll and not command.configs.get("group.id"):
        raise EngineError(
            "commit_each_poll: without group.id there is nobody to commit to (InvalidGroupIdException); name a group.",
            field="commit_each_poll",
            code="INVALID_GROUP_ID",
        )


def _check_create_share_consumer(world: World, command: cm.CreateShareConsumer) -> None:
    _check_new_client(world, command.name, "name")
    _check_can_judge(ShareConsumerConfig.from_map(command.configs), command)


def _check_verdicts(world: World, command: cm.SetVerdicts) -> None:
    host = _running(world, command.name, "name")
    if host.kind != "share-consumer":
        raise EngineError(f"name: {command.name} is a {host.kind}, not a share consumer.", field="name")
    _check_can_judge(ShareConsumerConfig.from_map(world.client_configs[command.name]), command)


def _check_can_judge(settings: ShareConsumerConfig, command: cm.CreateShareConsumer | cm.SetVerdicts) -> None:
    for field in ("release_every", "reject_every", "fail_on"):
        if getattr(command, field) and not settings.explicit:
            raise EngineError(
                f"{field}: needs share.acknowledgement.mode=explicit; otherwise the next poll accepts everything "
                "(IllegalStateException: Implicit acknowledgement of delivery is being used).",
                field=field,
            )


def _check_create_processor(world: World, command: cm.CreateProcessor) -> None:
    _check_new_client(world, command.name, "name")
    if command.input_topic == command.output_topic:
        raise EngineError("output_topic: must be another topic, or the processor feeds itself for ever.", field="output_topic")
    split_configs(command.configs, command.group)


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
    every = producers(world)
    buffered = sum(producer.buffered_records for producer in every)
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


def _check_start_workload(world: World, command: cm.StartWorkload) -> None:
    running = running_workloads(world)
    if command.name in running:
        raise EngineError(f"name: a workload {command.name!r} runs already; stop it, or choose another name.", field="name")
    if len(running) >= limits.MAX_WORKLOADS:
        raise EngineError(f"name: a lab runs at most {limits.MAX_WORKLOADS} workloads; stop one first.", field="name")
    _check_uses_producer(world, command.producer)
    if command.transaction_records:
        _transactional(world, command.producer, "transaction_records")
    _check_workload_bytes(world, command)


def _check_workload_bytes(world: World, command: cm.StartWorkload) -> None:
    loads = [load for producer in producers(world) for load in producer.workloads if load.running]
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


def _transactional(world: World, name: str, field: str) -> ProducerNode:
    host = world.kernel.hosts.get(name)
    node = host.node if host is not None else None
    if not isinstance(node, ProducerNode) or node.transactions is None:
        raise EngineError(
            f"{field}: {name} is no transactional producer; create one with a transactional.id.",
            field=field,
            code="INVALID_TXN_STATE",
        )
    return node


def _check_transaction(world: World, command: Any) -> None:
    """What would throw at once is refused; behind a call that still blocks, the producer itself says so."""
    _running(world, command.producer, "producer")
    node = _transactional(world, command.producer, "producer")
    assert node.transactions is not None
    call = TRANSACTION_CALLS[type(command)]
    refusal = "" if node.blocked else node.transactions.refusal(call)
    if refusal:
        code = "PRODUCER_FENCED" if node.transactions.last_error == "PRODUCER_FENCED" else "INVALID_TXN_STATE"
        raise EngineError(f"producer: {refusal}.", field="producer", code=code)


TRANSACTION_CALLS: dict[type[cm.Command], str] = {
    cm.BeginTransaction: "begin",
    cm.CommitTransaction: "commit",
    cm.AbortTransaction: "abort",
}


def _check_stop_workload(world: World, command: cm.StopWorkload) -> None:
    if command.name not in running_workloads(world):
        raise EngineError(f"name: no workload {command.name!r} runs.", field="name")


def _consumer(world: World, command: Any) -> None:
    host = _running(world, command.name, "name")
    if host.kind != "consumer":
        raise EngineError(f"name: {command.name} is a {host.kind}, not a consumer.", field="name")


def _check_processing(world: World, command: cm.SetProcessing) -> None:
    if _running(world, command.name, "name").kind not in ("processor", "share-consumer"):
        _consumer(world, command)


def _check_commit(world: World, command: cm.CommitOffsets) -> None:
    _consumer(world, command)
    if not world.client_configs[command.name].get("group.id"):
        raise EngineError(
            f"name: {command.name} has no group.id, and nobody to keep its offsets (InvalidGroupIdException).",
            field="name",
            code="INVALID_GROUP_ID",
        )


def _check_assign(world: World, command: cm.AssignConsumer) -> None:
    _consumer(world, command)
    if world.client_configs[command.name].get("group.id") and world.consumer_topics.get(command.name):
        raise EngineError(
            f"name: {command.name} subscribes as a member of a group, which assigns its partitions "
            "(IllegalStateException: Subscription to topics, partitions and pattern are mutually exclusive).",
            field="name",
        )


def _check_close(world: World, command: cm.CloseClient) -> None:
    host = _running(world, command.name, "name")
    if host.kind not in CLIENTS:
        raise EngineError(f"name: {command.name} is no client; use StopNode or KillNode.", field="name")
    if host.status == "paused":
        raise EngineError(f"name: {command.name} is paused and cannot obey; resume it, or kill it.", field="name")


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
    cm.AlterQuota: _check_quota,
    cm.CreateProducer: _check_create_producer,
    cm.CreateConsumer: _check_create_consumer,
    cm.CreateShareConsumer: _check_create_share_consumer,
    cm.SetVerdicts: _check_verdicts,
    cm.CreateProcessor: _check_create_processor,
    cm.Produce: _check_produce,
    cm.StartWorkload: _check_start_workload,
    cm.StopWorkload: _check_stop_workload,
    cm.BeginTransaction: _check_transaction,
    cm.CommitTransaction: _check_transaction,
    cm.AbortTransaction: _check_transaction,
    cm.AssignConsumer: _check_assign,
    cm.SetProcessing: _check_processing,
    cm.CommitOffsets: _check_commit,
    cm.SeekConsumer: _consumer,
    cm.PauseConsumer: _consumer,
    cm.CloseClient: _check_close,
}
