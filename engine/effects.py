"""What each command does to a world, once nothing speaks against it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec

from engine import commands as cm
from engine.messages import admin as am
from engine.messages import groups as gm
from engine.messages import instructions as im
from engine.messages import security as sm
from engine.messages import transactions as tm
from engine.messages.base import Request, TopicPartition
from engine.metadata import scram
from engine.metadata.client_quotas import entity
from engine.world import (
    ADMIN,
    RECORD_IDS_PER_WORKLOAD,
    World,
    active_segment,
    create_topic_request,
    known_partitions,
    remember_names,
    running_workloads,
)


def apply(world: World, command: cm.Command, text: str) -> int:
    """Does what ``check`` let pass; returns the number of the CommandGiven event, the root of all that follows."""
    cause = world.kernel.give_command(type(command).__name__, text)
    EFFECTS[type(command)](world, command, cause)
    remember_names(world, command)
    return cause


def _stop(world: World, c: cm.StopNode, cause: int) -> None:
    host = world.kernel.hosts[c.node]
    host.status = "stopping"
    world.kernel.instruct(c.node, im.BeginShutdown(), cause)


def _start(world: World, c: cm.StartNode, cause: int) -> None:
    host = world.kernel.hosts[c.node]
    world.kernel.start(c.node, world.make_node(host), cause)
    _set_up_consumer(world, c.node, cause)


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
    path = active_segment(world, c)
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


def _delete_records(world: World, c: cm.DeleteRecords, cause: int) -> None:
    item = am.RecordsToDelete(TopicPartition(c.topic, c.partition), c.offset)
    _admin(world, am.DeleteRecordsRequest(0, (item,)), cause)


def _alter_group_offsets(world: World, c: cm.AlterGroupOffsets, cause: int) -> None:
    offsets = tuple([gm.OffsetAndMetadata(TopicPartition(item.topic, item.partition), item.offset) for item in c.offsets])
    _admin(world, gm.OffsetCommitRequest(0, c.group, offsets), cause)


def _delete_group_offsets(world: World, c: cm.DeleteGroupOffsets, cause: int) -> None:
    partitions = tuple([TopicPartition(item.topic, item.partition) for item in c.partitions])
    _admin(world, gm.OffsetDeleteRequest(0, c.group, partitions), cause)


def _elect(world: World, c: cm.ElectLeader, cause: int) -> None:
    partitions = None
    if c.topic is not None:
        count = known_partitions(world).get(c.topic, 1)
        which = range(count) if c.partition is None else (c.partition,)
        partitions = tuple(TopicPartition(c.topic, number) for number in which)
    _admin(world, am.ElectLeadersRequest(0, c.election, partitions), cause)


def _reassign(world: World, c: cm.ReassignPartition, cause: int) -> None:
    replicas = tuple(c.replicas) if c.replicas is not None else None
    item = am.Reassignment(TopicPartition(c.topic, c.partition), replicas)
    _admin(world, am.AlterPartitionReassignmentsRequest(0, (item,)), cause)


def _alter_quota(world: World, c: cm.AlterQuota, cause: int) -> None:
    ops: list[tuple[str, float | None]] = [*sorted(c.set.items()), *[(name, None) for name in c.remove]]
    _admin(world, sm.AlterClientQuotasRequest(0, (sm.QuotaAlteration(entity(c.user, c.client_id), tuple(ops)),)), cause)


def _alter_user(world: World, c: cm.AlterUser, cause: int) -> None:
    """The tool salts and hashes; the password goes no further."""
    if c.password is None:
        _admin(world, sm.AlterUserScramCredentialsRequest(0, (), ((c.name, c.mechanism),)), cause)
        return
    salt = sha256(f"{world.kernel.seed}/{cause}/{c.name}".encode()).digest()[:16]
    salted = scram.salted_password(c.mechanism, c.password, salt, scram.DEFAULT_ITERATIONS)
    upsertion = sm.ScramUpsertion(c.name, c.mechanism, scram.DEFAULT_ITERATIONS, salt, salted)
    _admin(world, sm.AlterUserScramCredentialsRequest(0, (upsertion,)), cause)


def _create_acl(world: World, c: cm.CreateAcl, cause: int) -> None:
    acl = sm.AclBinding(c.resource_type, c.resource_name, c.pattern_type, c.principal, c.host, c.operation, c.permission)
    _admin(world, sm.CreateAclsRequest(0, (acl,)), cause)


def _delete_acl(world: World, c: cm.DeleteAcl, cause: int) -> None:
    wanted = sm.AclFilter(c.resource_type, c.resource_name, c.pattern_type, c.principal, c.host, c.operation, c.permission)
    _admin(world, sm.DeleteAclsRequest(0, (wanted,)), cause)


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


def _start_workload(world: World, c: cm.StartWorkload, cause: int) -> None:
    _ensure_producer(world, c.producer, cause)
    world.workloads_started += 1
    world.kernel.instruct(
        c.producer,
        im.StartWorkload(
            c.name, c.topic, c.records_per_second, c.keys, c.value_bytes, c.skew_percent, c.limit,
            world.workloads_started * RECORD_IDS_PER_WORKLOAD, c.transaction_records,
        ),
        cause,
    )  # fmt: skip


def _abort_hanging(world: World, c: cm.AbortHangingTransaction, cause: int) -> None:
    """``AbortTransactionHandler``: of the epochs of transactions v1, for which the one of the records is good enough."""
    partitions = (TopicPartition(c.topic, c.partition),)
    marker = tm.TxnMarker(c.producer_id, c.producer_epoch, False, max(c.coordinator_epoch, 0), partitions, 0)
    _admin(world, tm.WriteTxnMarkersRequest(0, (marker,)), cause)


def _stop_workload(world: World, c: cm.StopWorkload, cause: int) -> None:
    world.kernel.instruct(running_workloads(world)[c.name], im.StopWorkload(c.name), cause)


def _create_consumer(world: World, c: cm.CreateConsumer, cause: int) -> None:
    _new_client(world, c.name, "consumer", c.configs, cause)
    world.consumer_topics.pop(c.name, None)
    world.applications.pop(c.name, None)
    world.verdicts.pop(c.name, None)
    if c.topics:
        world.consumer_topics[c.name] = list(c.topics)
    if c.processing_ms or c.commit_each_poll:
        world.applications[c.name] = im.SetProcessing(c.processing_ms, c.commit_each_poll)
    _set_up_consumer(world, c.name, cause)


def _create_share_consumer(world: World, c: cm.CreateShareConsumer, cause: int) -> None:
    _new_client(world, c.name, "share-consumer", c.configs, cause)
    world.consumer_topics.pop(c.name, None)
    world.applications.pop(c.name, None)
    world.verdicts.pop(c.name, None)
    if c.topics:
        world.consumer_topics[c.name] = list(c.topics)
    if c.processing_ms:
        world.applications[c.name] = im.SetProcessing(c.processing_ms)
    if c.release_every or c.reject_every or c.fail_on or c.stop_after:
        world.verdicts[c.name] = im.SetVerdicts(c.release_every, c.reject_every, c.fail_on, c.stop_after)
    _set_up_consumer(world, c.name, cause)


def _set_verdicts(world: World, c: cm.SetVerdicts, cause: int) -> None:
    known = world.verdicts.get(c.name)
    new = im.SetVerdicts(c.release_every, c.reject_every, c.fail_on, known.stop_after if known is not None else None)
    world.verdicts[c.name] = new
    world.kernel.instruct(c.name, msgspec.structs.replace(new, stop_after=None), cause)


def _set_up_consumer(world: World, name: str, cause: int) -> None:
    """What its program does first: it is as slow as it was told to be, and subscribes."""
    application, verdicts = world.applications.get(name), world.verdicts.get(name)
    if application is not None:
        world.kernel.instruct(name, application, cause)
    if verdicts is not None:
        world.kernel.instruct(name, verdicts, cause)
    topics = world.consumer_topics.get(name)
    if topics:
        world.kernel.instruct(name, im.SubscribeTopics(tuple(topics)), cause)


def _set_processing(world: World, c: cm.SetProcessing, cause: int) -> None:
    if c.name in world.processors:
        world.processors[c.name] = msgspec.structs.replace(world.processors[c.name], processing_ms=c.processing_ms)
    else:
        known = world.applications.get(c.name)
        world.applications[c.name] = im.SetProcessing(c.processing_ms, known.commit_each_poll if known is not None else "")
    world.kernel.instruct(c.name, im.SetProcessing(c.processing_ms), cause)


def _create_processor(world: World, c: cm.CreateProcessor, cause: int) -> None:
    host = world.kernel.add_host(c.name, "processor")
    world.processors[c.name] = c
    world.kernel.start(c.name, world.make_node(host), cause)


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
    cm.DeleteRecords: _delete_records,
    cm.AlterGroupOffsets: _alter_group_offsets,
    cm.DeleteGroupOffsets: _delete_group_offsets,
    cm.DeleteGroup: lambda w, c, cause: _admin(w, gm.DeleteGroupsRequest(0, (c.group,)), cause),
    cm.AlterConfig: _alter_config,
    cm.ElectLeader: _elect,
    cm.ReassignPartition: _reassign,
    cm.AlterQuota: _alter_quota,
    cm.AlterUser: _alter_user,
    cm.CreateAcl: _create_acl,
    cm.DeleteAcl: _delete_acl,
    cm.CreateProducer: _create_producer,
    cm.Produce: _produce,
    cm.StartWorkload: _start_workload,
    cm.StopWorkload: _stop_workload,
    cm.AbortHangingTransaction: _abort_hanging,
    cm.BeginTransaction: lambda w, c, cause: w.kernel.instruct(c.producer, im.CallTransaction("begin"), cause),
    cm.CommitTransaction: lambda w, c, cause: w.kernel.instruct(c.producer, im.CallTransaction("commit"), cause),
    cm.AbortTransaction: lambda w, c, cause: w.kernel.instruct(c.producer, im.CallTransaction("abort"), cause),
    cm.CreateConsumer: _create_consumer,
    cm.SetProcessing: _set_processing,
    cm.CommitOffsets: lambda w, c, cause: w.kernel.instruct(c.name, im.CommitOffsets(), cause),
    cm.CreateShareConsumer: _create_share_consumer,
    cm.SetVerdicts: _set_verdicts,
    cm.CreateProcessor: _create_processor,
    cm.AssignConsumer: _assign,
    cm.SeekConsumer: _seek,
    cm.PauseConsumer: _pause_consumer,
    cm.CloseClient: _close,
}
