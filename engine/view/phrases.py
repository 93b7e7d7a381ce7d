"""Commands in plain words: the phrase that the root of a chain of causes carries ("kill broker 1")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine import commands as c
from engine.commands import Command

PREVIEW_CHARACTERS = 40


def command_text(command: Command) -> str:
    """One phrase in the imperative, without a full stop."""
    return _PHRASES[type(command)](command)


def spell(name: str) -> str:
    """A node's address in words: "broker 1", "controller 101", or a client's own name."""
    kind, dash, number = name.rpartition("-")
    return f"{kind} {number}" if dash and kind in ("broker", "controller") and number.isdigit() else name


def preview(text: str) -> str:
    """At most 40 characters, control characters escaped."""
    cut = text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in cut)


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _cut(command: c.CutNetwork) -> str:
    if command.target == "*":
        return f"cut {spell(command.source)} off the network"
    if command.one_way:
        return f"cut the network from {spell(command.source)} to {spell(command.target)}"
    return f"cut the network between {spell(command.source)} and {spell(command.target)}"


def _heal(command: c.HealNetwork) -> str:
    if command.source == command.target == "*":
        return "heal the whole network"
    if "*" in (command.source, command.target):
        return f"heal the network of {spell(command.source if command.target == '*' else command.target)}"
    return f"heal the network between {spell(command.source)} and {spell(command.target)}"


def _degrade(command: c.DegradeNetwork) -> str:
    what = [f"by {command.delay_ms:,} ms"] if command.delay_ms else []
    what += [f"with {command.loss_percent:g} % loss"] if command.loss_percent else []
    return f"slow the network between {spell(command.source)} and {spell(command.target)} {' and '.join(what) or 'by nothing'}"


def _slow(command: c.SlowDisk) -> str:
    if not command.write_delay_ms:
        return f"make the disk of {spell(command.node)} fast again"
    return f"slow each write to the disk of {spell(command.node)} by {command.write_delay_ms:,} ms"


def _create_topic(command: c.CreateTopic) -> str:
    partitions = len(command.assignments) or command.partitions
    what = [plural(partitions, "partition")] if partitions > 0 else []
    what += [f"replication factor {command.replication_factor}"] if command.replication_factor > 0 else []
    what += [f"{name}={preview(value)}" for name, value in command.configs.items()]
    return f"create topic {command.topic}{' with ' + ', '.join(what) if what else ''}"


def _alter_config(command: c.AlterConfig) -> str:
    of = f"{command.resource_type} {command.resource_name}" if command.resource_name else f"all {command.resource_type}s"
    changes = [f"set {name}={preview(value)}" for name, value in command.set.items()]
    changes += [f"remove {preview(name)}" for name in command.remove]
    return f"{' and '.join(changes) or 'change nothing'} for {of}"


def _entity(command: c.AlterQuota) -> str:
    parts = []
    if command.user is not None:
        parts.append(f"user {command.user}" if command.user else "every user without a quota of his own")
    if command.client_id is not None:
        parts.append(f"client {command.client_id}" if command.client_id else "every client without a quota of its own")
    return " as ".join(reversed(parts))


def _quota(command: c.AlterQuota) -> str:
    changes = [f"set {name}={value:g}" if value < 1e5 else f"set {name}={value:.0f}" for name, value in command.set.items()]
    changes += [f"remove {preview(name)}" for name in command.remove]
    return f"{' and '.join(changes) or 'change nothing'} for {_entity(command)}"


def _resource(command: c.CreateAcl | c.DeleteAcl) -> str:
    kind = command.resource_type.replace("transactional-id", "transactional ID")
    if kind == "cluster":
        return "the cluster"
    if command.resource_name in ("", "*"):
        return f"every {kind or 'resource'}"
    which = "every" if command.pattern_type == "prefixed" else ""
    name = preview(command.resource_name)
    return f"{which} {kind} that begins with {name}" if which else f"{kind} {name}".strip()


def _create_acl(command: c.CreateAcl) -> str:
    who = "everybody" if command.principal == "User:*" else preview(command.principal)
    what = "everything" if command.operation == "all" else command.operation
    host = "" if command.host == "*" else f" from {command.host}"
    return f"{command.permission} {who} {what} on {_resource(command).strip()}{host}"


def _delete_acl(command: c.DeleteAcl) -> str:
    of = f" of {preview(command.principal)}" if command.principal else ""
    what = f" to {command.operation}" if command.operation else ""
    kind = f"{command.permission} " if command.permission else ""
    return f"delete the {kind}ACLs{of}{what} on {_resource(command).strip()}"


def _delete_records(command: c.DeleteRecords) -> str:
    before = f"offset {command.offset}" if command.offset >= 0 else "the high watermark"
    return f"delete the records of {command.topic}-{command.partition} before {before}"


def _elect(command: c.ElectLeader) -> str:
    if command.topic is None:
        where = "all partitions"
    else:
        where = command.topic if command.partition is None else f"{command.topic}-{command.partition}"
    return f"run {'an unclean' if command.election == 'unclean' else 'a preferred'} leader election for {where}"


def _reassign(command: c.ReassignPartition) -> str:
    partition = f"{command.topic}-{command.partition}"
    if command.replicas is None:
        return f"cancel the move of {partition}"
    return f"move {partition} to brokers {', '.join(map(str, command.replicas))}"


def _places(items: Sequence[c.GroupOffset | c.PartitionOfTopic]) -> str:
    named = [
        f"{item.topic}-{item.partition}" + (f" to {item.offset}" if isinstance(item, c.GroupOffset) else "") for item in items[:4]
    ]
    return ", ".join(named) + (f" and {len(items) - 4} more" if len(items) > 4 else "")


def _numbered(template: str) -> str:
    """The running number is given when the record is made."""
    return preview(template.replace("{n}", "…"))


def _produce(command: c.Produce) -> str:
    what = plural(command.count, "record")
    if command.count == 1:
        value = "a tombstone" if command.value is None else f'"{_numbered(command.value)}"'
        what = value if command.key is None else f'{value} with key "{_numbered(command.key)}"'
    where = command.topic if command.partition is None else f"{command.topic}-{command.partition}"
    return f"produce {what} to {where}"


def _workload(command: c.StartWorkload) -> str:
    until = f", {command.limit:,} in all" if command.limit else ""
    until += f", {plural(command.transaction_records, 'record')} to a transaction" if command.transaction_records else ""
    return f"send {plural(command.records_per_second, 'record')} per second to {command.topic}{until}"


def _seek(command: c.SeekConsumer) -> str:
    where = {-1: "the end", -2: "the beginning"}.get(command.offset, f"offset {command.offset}")
    return f"let {command.name} read {command.topic}-{command.partition} from {where}"


def _consumer(command: c.CreateConsumer) -> str:
    group = command.configs.get("group.id", "")
    where = f" on {', '.join(command.topics)}" if command.topics else ""
    slow = f", {command.processing_ms:,} ms per record" if command.processing_ms else ""
    commits = f", committing {command.commit_each_poll} it processes" if command.commit_each_poll else ""
    return f"start consumer {command.name}{f' of group {preview(group)}' if group else ''}{where}{slow}{commits}"


def _share_consumer(command: c.CreateShareConsumer) -> str:
    group = preview(command.configs.get("group.id", ""))
    where = f" on {', '.join(command.topics)}" if command.topics else ""
    slow = f", {command.processing_ms:,} ms per record" if command.processing_ms else ""
    says = _says(command)
    until = f", up to {plural(command.stop_after, 'record')}" if command.stop_after else ""
    return f"start share consumer {command.name} of group {group}{where}{slow}{f', {says}' if says else ''}{until}"


def _says(command: c.CreateShareConsumer | c.SetVerdicts) -> str:
    """ "releasing every 3rd record, …"; "" where everything is accepted."""
    parts = [f"releasing {every_nth(command.release_every)}"] if command.release_every else []
    parts += [f"rejecting {every_nth(command.reject_every)}"] if command.reject_every else []
    parts += [f'failing at records with "{preview(command.fail_on)}"'] if command.fail_on else []
    return ", ".join(parts)


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def every_nth(number: int) -> str:
    return f"every {ordinal(number)} record" if number > 1 else "every record"


def _processing(command: c.SetProcessing) -> str:
    return f"let {command.name} take {f'{command.processing_ms:,} ms' if command.processing_ms else 'no time'} for each record"


_PHRASES: dict[type[Command], Callable[[Any], str]] = {
    c.KillNode: lambda v: f"kill {spell(v.node)}",
    c.StopNode: lambda v: f"stop {spell(v.node)} politely",
    c.StartNode: lambda v: f"start {spell(v.node)}",
    c.PauseNode: lambda v: f"pause {spell(v.node)}",
    c.ResumeNode: lambda v: f"resume {spell(v.node)}",
    c.LosePower: lambda v: f"cut the power of {spell(v.node)}{', tearing its last write' if v.torn else ''}",
    c.CutNetwork: _cut,
    c.HealNetwork: _heal,
    c.DegradeNetwork: _degrade,
    c.SlowDisk: _slow,
    c.FillDisk: lambda v: f"fill the disk of {spell(v.node)}",
    c.FreeDisk: lambda v: f"free the disk of {spell(v.node)}",
    c.WipeDisk: lambda v: f"replace the disk of {spell(v.node)} by an empty one",
    c.CorruptDisk: lambda v: f"flip a byte of {v.topic}-{v.partition} on the disk of {spell(v.node)}",
    c.CreateTopic: _create_topic,
    c.DeleteTopic: lambda v: f"delete topic {v.topic}",
    c.AddPartitions: lambda v: f"grow topic {v.topic} to {plural(v.count, 'partition')}",
    c.DeleteRecords: _delete_records,
    c.AlterConfig: _alter_config,
    c.ElectLeader: _elect,
    c.ReassignPartition: _reassign,
    c.AlterQuota: _quota,
    c.AlterUser: lambda v: f"{'delete' if v.password is None else 'create'} the {v.mechanism} credential of user {preview(v.name)}",
    c.CreateAcl: _create_acl,
    c.DeleteAcl: _delete_acl,
    c.CreateProducer: lambda v: f"start producer {v.name}",
    c.Produce: _produce,
    c.StartWorkload: _workload,
    c.StopWorkload: lambda v: f"stop workload {v.name}",
    c.AlterGroupOffsets: lambda v: f"set the offsets of group {v.group} in {_places(v.offsets)}",
    c.DeleteGroupOffsets: lambda v: f"delete the offsets of group {v.group} in {_places(v.partitions)}",
    c.DeleteGroup: lambda v: f"delete group {v.group}",
    c.AbortHangingTransaction: lambda v: f"abort the transaction of producer {v.producer_id} in {v.topic}-{v.partition}",
    c.BeginTransaction: lambda v: f"let {v.producer} begin a transaction",
    c.CommitTransaction: lambda v: f"let {v.producer} commit its transaction",
    c.AbortTransaction: lambda v: f"let {v.producer} abort its transaction",
    c.CreateConsumer: _consumer,
    c.CreateShareConsumer: _share_consumer,
    c.SetVerdicts: lambda v: f"let {v.name} go on {_says(v) or 'accepting every record'}",
    c.SetProcessing: _processing,
    c.CommitOffsets: lambda v: f"let {v.name} commit its offsets",
    c.CreateProcessor: lambda v: f"start processor {v.name} from {v.input_topic} to {v.output_topic} in group {v.group}",
    c.AssignConsumer: lambda v: f"let {v.name} read {v.topic}, partitions {', '.join(map(str, v.partitions)) or 'none'}",
    c.SeekConsumer: _seek,
    c.PauseConsumer: lambda v: f"{'pause' if v.paused else 'resume'} consumer {v.name}",
    c.CloseClient: lambda v: f"close {v.name}",
}
