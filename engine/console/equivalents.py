"""The command line that does what a button does: Kafka's own tools for administration, the operating system's for faults."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from engine import commands as c
from engine.commands import Command


def command_line_for(command: Command) -> str:
    """One line as a person would type it on the machine concerned. Only a learner's eye is meant; nothing runs it."""
    return _LINES[type(command)](command)


def _process(node: str) -> str:
    return f'$(pgrep -f "{node}/server.properties")' if node.startswith(("broker-", "controller-")) else f"$(pgrep -f {node})"


def _address(node: str) -> str:
    return "0.0.0.0/0" if node == "*" else node


def _cut(command: c.CutNetwork) -> str:
    lines = [f"iptables -A OUTPUT -d {_address(command.target)} -j DROP"]
    if not command.one_way:
        lines.append(f"iptables -A INPUT -s {_address(command.target)} -j DROP")
    return f"ssh {command.source} '{' && '.join(lines)}'"


def _heal(command: c.HealNetwork) -> str:
    where = "each machine" if command.source == "*" else command.source
    if command.source == "*":
        return f"iptables -F && tc qdisc del dev eth0 root    # on {where}"
    return f"ssh {where} 'iptables -F && tc qdisc del dev eth0 root'"


def _degrade(command: c.DegradeNetwork) -> str:
    parts = [f"delay {command.delay_ms}ms"] if command.delay_ms else []
    parts += [f"loss {command.loss_percent:g}%"] if command.loss_percent else []
    if not parts:
        return f"ssh {command.source} 'tc qdisc del dev eth0 root'    # towards {command.target}"
    return f"ssh {command.source} 'tc qdisc add dev eth0 root netem {' '.join(parts)}'    # towards {command.target}"


def _slow(command: c.SlowDisk) -> str:
    if not command.write_delay_ms:
        return f"ssh {command.node} 'dmsetup remove slow'"
    table = f"0 $(blockdev --getsz /dev/sdb) delay /dev/sdb 0 0 /dev/sdb 0 {command.write_delay_ms}"
    return f"ssh {command.node} 'echo \"{table}\" | dmsetup create slow'"


def _create_topic(command: c.CreateTopic) -> str:
    words = ["kafka-topics.sh", "--create", "--topic", command.topic]
    if command.assignments:
        words += ["--replica-assignment", ",".join(":".join(map(str, replicas)) for replicas in command.assignments)]
    if command.partitions > 0:
        words += ["--partitions", str(command.partitions)]
    if command.replication_factor > 0:
        words += ["--replication-factor", str(command.replication_factor)]
    for name, value in command.configs.items():
        words += ["--config", f"{name}={value}"]
    return shlex.join(words)


def _by_topic(items: Sequence[c.GroupOffset | c.PartitionOfTopic]) -> list[str]:
    """``--topic orders:0,1`` for each topic."""
    found: dict[str, list[str]] = {}
    for item in items:
        found.setdefault(item.topic, []).append(str(item.partition))
    return [word for topic, numbers in found.items() for word in ("--topic", f"{topic}:{','.join(numbers)}")]


def _alter_group_offsets(command: c.AlterGroupOffsets) -> str:
    words = ["kafka-consumer-groups.sh", "--reset-offsets", "--group", command.group]
    if len({item.offset for item in command.offsets}) == 1:
        scope = [*_by_topic(command.offsets), "--to-offset", str(command.offsets[0].offset)]
        return shlex.join([*words, *scope, "--execute"])
    lines = "\\n".join(f"{item.topic},{item.partition},{item.offset}" for item in command.offsets)
    return f"{shlex.join([*words, '--from-file', '/dev/stdin', '--execute'])} <<< $'{lines}'"


def _delete_group_offsets(command: c.DeleteGroupOffsets) -> str:
    return shlex.join(["kafka-consumer-groups.sh", "--delete-offsets", "--group", command.group, *_by_topic(command.partitions)])


def _alter_config(command: c.AlterConfig) -> str:
    words = ["kafka-configs.sh", "--alter", "--entity-type", command.resource_type + "s"]
    words += ["--entity-name", command.resource_name] if command.resource_name else ["--entity-default"]
    if command.set:
        pairs = [f"{name}=[{value}]" if "," in value else f"{name}={value}" for name, value in command.set.items()]
        words += ["--add-config", ",".join(pairs)]
    if command.remove:
        words += ["--delete-config", ",".join(command.remove)]
    return shlex.join(words)


def _of_entity(command: c.AlterQuota) -> list[str]:
    words = []
    for kind, name in (("users", command.user), ("clients", command.client_id)):
        if name is not None:
            words += ["--entity-type", kind, *(["--entity-name", name] if name else ["--entity-default"])]
    return words


def _alter_quota(command: c.AlterQuota) -> str:
    words = ["kafka-configs.sh", "--alter", *_of_entity(command)]
    if command.set:
        pairs = [f"{name}={value:.0f}" if value % 1 == 0 else f"{name}={value}" for name, value in command.set.items()]
        words += ["--add-config", ",".join(pairs)]
    if command.remove:
        words += ["--delete-config", ",".join(command.remove)]
    return shlex.join(words)


def _alter_user(command: c.AlterUser) -> str:
    words = ["kafka-configs.sh", "--alter", "--entity-type", "users", "--entity-name", command.name]
    if command.password is None:
        return shlex.join([*words, "--delete-config", command.mechanism])
    return shlex.join([*words, "--add-config", f"{command.mechanism}=[password={command.password}]"])


def _of_acl(command: c.CreateAcl | c.DeleteAcl) -> list[str]:
    words = []
    if command.principal:
        words += [f"--{command.permission or 'allow'}-principal", command.principal]
    if command.host not in ("", "*"):
        words += [f"--{command.permission or 'allow'}-host", command.host]
    if command.operation:
        words += ["--operation", "".join(part.capitalize() for part in command.operation.split("-"))]
    if command.resource_type == "cluster":
        words.append("--cluster")
    elif command.resource_type:
        words += [f"--{command.resource_type}", command.resource_name or "*"]
    if command.pattern_type not in ("", "literal"):
        words += ["--resource-pattern-type", command.pattern_type]
    return words


def _delete_records(command: c.DeleteRecords) -> str:
    item = f'{{"topic":"{command.topic}","partition":{command.partition},"offset":{command.offset}}}'
    plan = f'{{"partitions":[{item}],"version":1}}'
    return f"kafka-delete-records.sh --offset-json-file <(echo {shlex.quote(plan)})"


def _elect(command: c.ElectLeader) -> str:
    words = ["kafka-leader-election.sh", "--election-type", command.election.upper()]
    if command.topic is None:
        return shlex.join([*words, "--all-topic-partitions"])
    return shlex.join([*words, "--topic", command.topic, "--partition", str(command.partition or 0)])


def _reassign(command: c.ReassignPartition) -> str:
    partition = f'"topic":"{command.topic}","partition":{command.partition}'
    if command.replicas is None:
        plan, action = f'{{"version":1,"partitions":[{{{partition}}}]}}', "--cancel"
    else:
        replicas = ",".join(map(str, command.replicas))
        plan, action = f'{{"version":1,"partitions":[{{{partition},"replicas":[{replicas}]}}]}}', "--execute"
    return f"kafka-reassign-partitions.sh {action} --reassignment-json-file <(echo {shlex.quote(plan)})"


def _client_options(configs: dict[str, str]) -> list[str]:
    return [word for name, value in configs.items() for word in ("--command-property", f"{name}={value}")]


def _produce(command: c.Produce) -> str:
    words = ["kafka-console-producer.sh", "--topic", command.topic]
    text = "" if command.value is None else command.value
    if command.value is None:
        words += ["--reader-property", "null.marker=NULL"]
        text = "NULL"
    if command.key is not None:
        words += ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"]
        text = f"{command.key}:{text}"
    if command.headers:
        words += ["--reader-property", "parse.headers=true"]
        text = ",".join(f"{header.name}:{header.value or ''}" for header in command.headers) + "\t" + text
    if command.count > 1:
        text = text.replace("{n}", "'$n'") if "{n}" in text else text
        return f"for n in $(seq {command.count}); do echo '{text}'; done | {shlex.join(words)}"
    return f"{shlex.join(words)} <<< {shlex.quote(text)}"


def _workload(command: c.StartWorkload) -> str:
    limit = command.limit or -1
    return (
        f"kafka-producer-perf-test.sh --topic {command.topic} --throughput {command.records_per_second} "
        f"--record-size {command.value_bytes} --num-records {limit}"
    )


def _consumer(command: c.CreateConsumer) -> str:
    words = ["kafka-console-consumer.sh", "--topic", command.topics[0] if command.topics else "TOPIC"]
    configs = dict(command.configs)
    if configs.get("auto.offset.reset") == "earliest":
        del configs["auto.offset.reset"]
        words.append("--from-beginning")
    if "group.id" in configs:
        words += ["--group", configs.pop("group.id")]
    return shlex.join([*words, *_client_options(configs)])


def _share_consumer(command: c.CreateShareConsumer) -> str:
    """The tool accepts everything, or releases or rejects everything."""
    words = ["kafka-console-share-consumer.sh", "--topic", command.topics[0] if command.topics else "TOPIC"]
    configs = dict(command.configs)
    if "group.id" in configs:
        words += ["--group", configs.pop("group.id")]
    if command.reject_every == 1 or command.release_every == 1:
        words.append("--reject" if command.reject_every == 1 else "--release")
    if command.stop_after:
        words += ["--max-messages", str(command.stop_after)]
    configs.pop("share.acknowledgement.mode", None)  # it always says what it thinks of each record
    return shlex.join([*words, *_client_options(configs)])


def _verdicts(command: c.SetVerdicts) -> str:
    if command.reject_every or command.release_every or command.fail_on:
        kind = "REJECT" if command.reject_every and not command.release_every else "RELEASE"
        return f"consumer.acknowledge(record, AcknowledgeType.{kind});    // for some records, in {command.name}: no tool does this"
    return f"consumer.acknowledge(record);    // for each record, in {command.name}: no tool does this"


def _corrupt(command: c.CorruptDisk) -> str:
    path = f"/var/lib/kafka/data/{command.topic}-{command.partition}/$SEGMENT.log"
    return f"ssh {command.node} 'printf \"\\xff\" | dd of={path} bs=1 seek=$POSITION conv=notrunc'"


def _assign(command: c.AssignConsumer) -> str:
    lines = [f"kafka-console-consumer.sh --topic {command.topic} --partition {number}" for number in command.partitions]
    return " & ".join(lines) or f"kill -INT {_process(command.name)}"


def _seek(command: c.SeekConsumer) -> str:
    offset = {-1: "latest", -2: "earliest"}.get(command.offset, str(command.offset))
    return f"kafka-console-consumer.sh --topic {command.topic} --partition {command.partition} --offset {offset}"


def _start(command: c.StartNode) -> str:
    if command.node.startswith(("broker-", "controller-")):
        return f"kafka-server-start.sh -daemon {command.node}/server.properties"
    return f"systemctl start {command.node}"


_LINES: dict[type[Command], Callable[[Any], str]] = {
    c.KillNode: lambda v: f"kill -9 {_process(v.node)}",
    c.StopNode: lambda v: f"kill -TERM {_process(v.node)}",
    c.StartNode: _start,
    c.PauseNode: lambda v: f"kill -STOP {_process(v.node)}",
    c.ResumeNode: lambda v: f"kill -CONT {_process(v.node)}",
    c.LosePower: lambda v: f"ipmitool -H {v.node} chassis power off",
    c.CutNetwork: _cut,
    c.HealNetwork: _heal,
    c.DegradeNetwork: _degrade,
    c.SlowDisk: _slow,
    c.FillDisk: lambda v: f"ssh {v.node} 'fallocate -l 100% /var/lib/kafka/ballast'",
    c.FreeDisk: lambda v: f"ssh {v.node} 'rm /var/lib/kafka/ballast'",
    c.WipeDisk: lambda v: f"ssh {v.node} 'rm -rf /var/lib/kafka/data'",
    c.CorruptDisk: _corrupt,
    c.CreateTopic: _create_topic,
    c.DeleteTopic: lambda v: f"kafka-topics.sh --delete --topic {v.topic}",
    c.AddPartitions: lambda v: f"kafka-topics.sh --alter --topic {v.topic} --partitions {v.count}",
    c.DeleteRecords: _delete_records,
    c.AlterGroupOffsets: _alter_group_offsets,
    c.DeleteGroupOffsets: _delete_group_offsets,
    c.DeleteGroup: lambda v: shlex.join(["kafka-consumer-groups.sh", "--delete", "--group", v.group]),
    c.AlterConfig: _alter_config,
    c.ElectLeader: _elect,
    c.ReassignPartition: _reassign,
    c.AlterQuota: _alter_quota,
    c.AlterUser: _alter_user,
    c.CreateAcl: lambda v: shlex.join(["kafka-acls.sh", "--add", *_of_acl(v)]),
    c.DeleteAcl: lambda v: shlex.join(["kafka-acls.sh", "--remove", "--force", *_of_acl(v)]),
    c.CreateProducer: lambda v: shlex.join(["kafka-console-producer.sh", "--topic", "TOPIC", *_client_options(v.configs)]),
    c.Produce: _produce,
    c.StartWorkload: _workload,
    c.StopWorkload: lambda v: f"kill -INT {_process(v.name)}",
    c.AbortHangingTransaction: lambda v: (
        f"kafka-transactions.sh abort --topic {v.topic} --partition {v.partition} --producer-id {v.producer_id} "
        f"--producer-epoch {v.producer_epoch} --coordinator-epoch {v.coordinator_epoch}"
    ),
    c.BeginTransaction: lambda v: f"producer.beginTransaction();    // in {v.producer}: no tool does this",
    c.CommitTransaction: lambda v: f"producer.commitTransaction();    // in {v.producer}: no tool does this",
    c.AbortTransaction: lambda v: f"producer.abortTransaction();    // in {v.producer}: no tool does this",
    c.CreateConsumer: _consumer,
    c.CreateShareConsumer: _share_consumer,
    c.SetVerdicts: _verdicts,
    c.SetProcessing: lambda v: f"Thread.sleep({v.processing_ms});    // for each record, in {v.name}: no tool does this",
    c.CommitOffsets: lambda v: f"consumer.commitSync();    // in {v.name}: no tool does this",
    c.CreateProcessor: lambda v: f"systemctl start {v.name}    # an application of yours: {v.input_topic} to {v.output_topic}",
    c.AssignConsumer: _assign,
    c.SeekConsumer: _seek,
    c.PauseConsumer: lambda v: f"kill -{'STOP' if v.paused else 'CONT'} {_process(v.name)}",
    c.CloseClient: lambda v: f"kill -INT {_process(v.name)}",
}  # fmt: skip
