"""The sentence for each kind of event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine import events as e
from engine.events import Event
from engine.view.member_sentences import MEMBER_SENTENCES
from engine.view.phrases import plural, spell


def clock(at_us: int) -> str:
    """Virtual time as the stage shows it: "0:04.182", and "1:00:04.182" from an hour on."""
    seconds, micros = divmod(at_us, 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    tail = f"{seconds:02}.{micros // 1000:03}"
    return f"{hours}:{minutes:02}:{tail}" if hours else f"{minutes}:{tail}"


def _subject(name: str) -> str:
    words = spell(name)
    return words[0].upper() + words[1:] if words != name else f"Client {name}"


def _part(event: Any) -> str:
    return f"{event.topic}-{event.partition}"


def _brokers(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids)) or "nobody"


def _offsets(event: Any) -> str:
    first, last = event.first_offset, event.last_offset
    return f"offset {first}" if first == last else f"offsets {first} to {last}"


def _acks(acks: int) -> str:
    return "acks=all" if acks == -1 else f"acks={acks}"


def _duration(us: int) -> str:
    return f"{us / 1000:g} ms" if us < 1_000_000 else f"{round(us / 1_000_000, 3):g} s"


def _isr(event: e.IsrChanged) -> str:
    old, new = event.old_isr, event.new_isr
    if old == new:
        eligible = f"now {_brokers(event.elr)}" if event.elr else "none any more"
        return f"The ISR of {_part(event)} stays {_brokers(new)}; its eligible leader replicas are {eligible}."
    gone, come = [b for b in old if b not in new], [b for b in new if b not in old]
    verb = "shrank" if gone and not come else "grew" if come and not gone else "changed"
    elr = f" Still eligible to lead: {_brokers(event.elr)}." if event.elr else ""
    return f"The ISR of {_part(event)} {verb} from {_brokers(old)} to {_brokers(new)}.{elr}"


_ELECTIONS = {
    "isr": "elected from the ISR",
    "elr": "elected from the eligible leader replicas",
    "last known leader": "the last known leader came back; what it had not synced may be lost",
    "unclean": "an unclean election: acknowledged records may be lost",
    "preferred": "the preferred replica",
    "reassignment": "by reassignment",
    "controlled shutdown": "the old leader is shutting down",
}


def _leader(event: e.LeaderChanged) -> str:
    before = f"broker {event.old_leader}" if event.old_leader >= 0 else "nobody"
    if event.new_leader < 0:
        return f"{_part(event)} lost its leader, {before}: no replica is eligible, and the partition is offline."
    how = _ELECTIONS.get(event.election, event.election)
    return f"Broker {event.new_leader} now leads {_part(event)} after {before} (epoch {event.leader_epoch}; {how})."


def _config(event: e.ConfigChanged) -> str:
    of = f"{event.resource_type} {event.resource_name}" if event.resource_name else f"all {event.resource_type}s"
    if event.value is None:
        return f"{event.name} of {of} went back to its default."
    return f"{event.name} of {of} was set to {event.value}."


def _recovered(event: e.LogRecovered) -> str:
    if event.clean:
        return f"Broker {event.broker} loaded {_part(event)} after a clean stop: its log ends at {event.log_end_offset}."
    cut = f", {plural(event.bytes_truncated, 'byte')} cut off" if event.bytes_truncated else ""
    rebuilt = f", {event.indexes_rebuilt} indexes rebuilt" if event.indexes_rebuilt else ""
    return f"Broker {event.broker} recovered {_part(event)} after an unclean stop: its log ends at {event.log_end_offset}{cut}{rebuilt}."


_CALLS = {
    "init": "initTransactions",
    "begin": "beginTransaction",
    "commit": "commitTransaction",
    "abort": "abortTransaction",
    "offsets": "sendOffsetsToTransaction",
}


def _stable(event: e.LastStableOffsetAdvanced) -> str:
    if event.old == event.new:
        return (
            f"The last stable offset of {_part(event)} stays at {event.new}, below the high watermark {event.high_watermark}: "
            "a transaction that began there is not over, and read_committed consumers wait."
        )
    still = f", still below the high watermark {event.high_watermark}" if event.new < event.high_watermark else ""
    return f"The last stable offset of {_part(event)} rose from {event.old} to {event.new}{still}."


def _truncated(event: e.ReplicaTruncated) -> str:
    count = event.from_offset - event.to_offset
    dropped = f"{plural(count, 'offset')} dropped" if count > 0 else "nothing dropped"
    return (
        f"Broker {event.broker} truncated {_part(event)} to offset {event.to_offset} to agree with the leader "
        f"of epoch {event.leader_epoch} ({dropped})."
    )


def _cleaned(event: e.LogCleaned) -> str:
    removed = f", {plural(event.tombstones_removed, 'tombstone')} removed for good" if event.tombstones_removed else ""
    return (
        f"Broker {event.broker} compacted {_part(event)} up to offset {event.end_offset} in {_duration(event.duration_us)}: of "
        f"{plural(event.records_before, 'record')} {event.records_after:,} stay, of {plural(event.bytes_before, 'byte')} "
        f"{event.bytes_after:,}{removed}."
    )


def _sent(event: e.ProduceSent) -> str:
    again = f" again (attempt {event.attempt})" if event.attempt > 1 else ""
    records = plural(event.record_count, "record")
    return f"{event.producer} sent {records} for {_part(event)} to broker {event.broker}{again} ({_acks(event.acks)})."


def _acknowledged(event: e.RecordsAcknowledged) -> str:
    if event.base_offset < 0:
        return (
            f"{event.producer} counts {plural(event.record_count, 'record')} for {_part(event)} as sent (acks=0: nobody confirmed)."
        )
    where = (
        f"offset {event.base_offset}"
        if event.record_count == 1
        else f"offsets {event.base_offset} to {event.base_offset + event.record_count - 1}"
    )
    return f"{event.producer} learnt that {where} of {_part(event)} {'is' if event.record_count == 1 else 'are'} acknowledged."


def _refused(event: e.ProduceRefused) -> str:
    stays = event.error in ("REQUEST_TIMED_OUT", "NOT_ENOUGH_REPLICAS_AFTER_APPEND")
    what = "left records in the log but did not acknowledge them" if stays else "refused records"
    return f"Broker {event.broker} {what} for {_part(event)} from {event.client}: {event.error}."


_QUOTAS = {
    "producer_byte_rate": ("may send {} a second", "sent {} a second"),
    "consumer_byte_rate": ("may read {} a second", "read {} a second"),
    "request_percentage": ("may use {} % of a broker thread", "used {} % of a broker thread"),
    "controller_mutation_rate": ("may change {} partitions a second", "changed {} partitions a second"),
}


def _amount(quota: str, value: float) -> str:
    return f"{value:,.0f} bytes" if quota.endswith("byte_rate") else f"{value:g}"


def _quota(event: e.ClientQuotaChanged) -> str:
    who = event.entity[0].upper() + event.entity[1:]
    if event.value is None:
        return f"{who} lost the quota {event.quota}."
    allowed = _QUOTAS.get(event.quota, (event.quota + " {}", ""))[0].format(_amount(event.quota, event.value))
    return f"{who} {allowed} on each broker from now on ({event.quota})."


def _throttled(event: e.ClientThrottled) -> str:
    did = _QUOTAS.get(event.quota, ("", "used {}"))[1].format(_amount(event.quota, event.rate))
    whose = f" ({event.user})" if event.user and event.user != "ANONYMOUS" else ""
    return (
        f"Broker {event.broker} throttles {event.client}{whose} for {event.throttle_time_ms:,} ms: "
        f"it {did} and its quota is {_amount(event.quota, event.limit)}."
    )


def _resources(event: e.AclCreated | e.AclDeleted) -> str:
    if event.resource_type == "cluster":
        return "the cluster"
    kind = event.resource_type.replace("-", " ").replace("transactional id", "transactional ID")
    if event.pattern_type == "prefixed":
        return f"every {kind} that begins with {event.resource_name}"
    return f"every {kind}" if event.resource_name == "*" else f"{kind} {event.resource_name}"


def _acl(event: e.AclCreated | e.AclDeleted) -> str:
    who = "everybody" if event.principal == "User:*" else event.principal
    what = "everything" if event.operation == "all" else event.operation
    host = "" if event.host == "*" else f" from {event.host}"
    return f"{'allows' if event.permission == 'allow' else 'denies'} {who} {what} on {_resources(event)}{host}"


def _denied(event: e.AuthorizationDenied) -> str:
    where = "the cluster" if event.resource_type == "cluster" else f"{event.resource_type.replace('-', ' ')} {event.resource_name}"
    return f"Broker {event.broker} denied {event.client} ({event.principal}) {event.operation} on {where}."


def _admin(event: e.AdminAnswered) -> str:
    wrong = [(name, error, why) for name, error, why in event.results if error != "NONE"]
    if event.error != "NONE":
        return f"{event.api} failed: {event.error}{': ' + event.message.rstrip('.') if event.message else ''}."
    if wrong:
        name, error, why = wrong[0]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return f"{event.api} failed for {name or 'the cluster'}: {error}{': ' + why.rstrip('.') if why else ''}{more}."
    return f"{event.api} was answered without an error."


def _member_left(event: e.MemberLeft) -> str:
    who = f"{event.consumer} (static member {event.instance_id})" if event.instance_id else event.consumer
    how = {
        "left": "left",
        "session expired": "was taken out of",
        "rebalance timeout": "was taken out of",
        "revocation timeout": "was taken out of",
        "no SyncGroup in time": "was taken out of",
        "poll timeout": "left",
    }.get(event.reason, "left")
    why = {
        "left": "",
        "session expired": ": no heartbeat for its session timeout",
        "rebalance timeout": ": it did not rejoin before the rebalance timeout",
        "revocation timeout": ": it did not give up its partitions before the rebalance timeout",
        "no SyncGroup in time": ": it did not ask for its assignment before the rebalance timeout",
        "poll timeout": ": it had not polled for max.poll.interval.ms",
    }.get(event.reason, f": {event.reason.rstrip('.')}")
    return f"{who} {how} group {event.group}{why}. It has {plural(event.members, 'member')} now."


def _some(partitions: tuple[tuple[str, int], ...]) -> str:
    shown = ", ".join(f"{topic}-{partition}" for topic, partition in partitions[:4])
    return f"{shown} and {len(partitions) - 4} more" if len(partitions) > 4 else shown


def _member_reconciled(event: e.MemberReconciled) -> str:
    """What it gave up, what it is to give up, what it got, what it waits for."""
    said = []
    if event.given_up:
        said.append(f"has given up {_some(event.given_up)}")
    if event.revoking:
        said.append(f"is to give up {_some(event.revoking)} first")
    if event.gained:
        said.append(f"may read {_some(event.gained)}")
    if event.waiting:
        said.append(f"waits for {plural(event.waiting, 'partition')} that others still hold")
    if not said:
        said.append("has all that it is to have")
    return f"Group {event.group}: {event.consumer} {' and '.join(said)} (epoch {event.epoch})."


def _group_reconciled(event: e.GroupReconciled) -> str:
    parts = ", ".join(f"{name} {count}" for name, count in event.assigned)
    stopped = f"; some partition had no owner for {_duration(event.stopped_us)}" if event.stopped_us else ""
    return f"Group {event.group} is stable in epoch {event.epoch} ({event.assignor}): partitions {parts}{stopped}."


def _target_computed(event: e.TargetAssignmentComputed) -> str:
    parts = ", ".join(f"{name} {count}" for name, count in event.parts)
    return f"Broker {event.broker} computed a target for group {event.group}, epoch {event.epoch} ({event.assignor}): {parts}."


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")


def _what_became(accepted: int, released: int, archived: int) -> str:
    said = [(accepted, "accepted"), (released, "available again"), (archived, "given up")]
    return ", ".join(f"{count} {what}" for count, what in said if count)


def _share_acknowledged(event: e.ShareAcknowledged) -> str:
    outcome = _what_became(event.accepted, event.released, event.archived)
    return f"{event.consumer} acknowledged {_offsets(event)} of {_part(event)}: {outcome}."


def _rebalanced(event: e.GroupRebalanced) -> str:
    parts = ", ".join(f"{name} {count}" for name, count in event.assigned)
    stopped = f"; some partitions had no owner for {_duration(event.stopped_us)}" if event.stopped_us else ""
    return f"Group {event.group} is stable in generation {event.generation} ({event.protocol}): partitions {parts}{stopped}."


def _committed_offsets(event: e.OffsetsCommitted) -> str:
    shown = ", ".join(f"{topic}-{partition} up to {offset}" for topic, partition, offset in event.offsets[:3])
    more = f" and {len(event.offsets) - 3} more" if len(event.offsets) > 3 else ""
    if not event.consumer:
        return f"With its transaction, group {event.group} has committed: {shown}{more}."
    return f"{event.consumer} committed for group {event.group}: {shown}{more}."


def _deleted_offsets(event: e.OffsetsDeleted) -> str:
    shown = ", ".join(f"{topic}-{partition}" for topic, partition in event.partitions[:3])
    more = f" and {len(event.partitions) - 3} more" if len(event.partitions) > 3 else ""
    return f"The offsets of group {event.group} in {shown}{more} were deleted ({event.reason})."


_COORDINATED = {
    "__consumer_offsets": "the groups",
    "__transaction_state": "the transactions",
    "__share_group_state": "the share states",
}

SENTENCES: dict[type[Event], Callable[[Any], str]] = {
    e.CommandGiven: lambda v: f"You asked: {v.text}.",
    e.NodeStarted: lambda v: f"{_subject(v.name)} started.",
    e.NodeKilled: lambda v: f"{_subject(v.name)} was killed.",
    e.NodeStopped: lambda v: f"{_subject(v.name)} stopped after a polite request.",
    e.NodePaused: lambda v: f"{_subject(v.name)} was paused: it handles nothing until it resumes.",
    e.NodeResumed: lambda v: f"{_subject(v.name)} resumed.",
    e.PowerLost: lambda v: (
        f"The machine of {spell(v.name)} lost power; {plural(v.bytes_lost, 'unsynced byte')} lost"
        f"{', the last write torn' if v.torn else ''}."
    ),
    e.NetworkCut: lambda v: f"The network from {spell(v.source)} to {spell(v.target)} was cut.",
    e.NetworkHealed: lambda v: f"The network from {spell(v.source)} to {spell(v.target)} healed.",
    e.NetworkDegraded: lambda v: (
        f"The network from {spell(v.source)} to {spell(v.target)} got worse: "
        f"{_duration(v.delay_us)} slower, {v.loss_ppm / 10_000:g} % lost."
    ),
    e.MessageLost: lambda v: f"A {v.message} from {spell(v.source)} to {spell(v.target)} was lost on the way.",
    e.DiskSlowed: lambda v: (
        f"Writes to the disk of {spell(v.name)} now take {_duration(v.write_delay_us)} longer."
        if v.write_delay_us
        else f"The disk of {spell(v.name)} is as fast as new."
    ),
    e.DiskFilled: lambda v: f"The disk of {spell(v.name)} is full.",
    e.DiskFreed: lambda v: f"The disk of {spell(v.name)} has room again.",
    e.DiskWiped: lambda v: f"The disk of {spell(v.name)} was replaced by an empty one.",
    e.DiskCorrupted: lambda v: f"One byte of {v.path} on the disk of {spell(v.name)} flipped, at position {v.position}.",
    e.QuorumElectionStarted: lambda v: (
        f"Controller {v.controller} asks in advance whether it would win epoch {v.epoch}."
        if v.pre_vote
        else f"Controller {v.controller} stands for election as quorum leader in epoch {v.epoch}."
    ),
    e.QuorumVoteGranted: lambda v: (
        f"Controller {v.voter} {'would vote' if v.pre_vote else 'voted'} for controller {v.candidate} "
        f"in epoch {v.epoch}."
    ),
    e.QuorumLeaderElected: lambda v: f"Controller {v.controller} won the quorum election of epoch {v.epoch}.",
    e.QuorumLeaderResigned: lambda v: f"Controller {v.controller} resigned as quorum leader of epoch {v.epoch}: {v.reason}.",
    e.QuorumLogTruncated: lambda v: (
        f"Controller {v.controller} truncated its metadata log from offset {v.from_offset} "
        f"to {v.to_offset} to agree with the leader."
    ),
    e.ControllerActivated: lambda v: f"Controller {v.controller} is the active controller (epoch {v.epoch}).",
    e.BrokerRegistered: lambda v: f"Broker {v.broker} registered (broker epoch {v.broker_epoch}).",
    e.BrokerUnfenced: lambda v: f"Broker {v.broker} was unfenced: it may lead and serve clients.",
    e.BrokerSessionExpired: lambda v: f"The session of broker {v.broker} expired: its last heartbeat came at {clock(v.last_heartbeat_us)}.",
    e.BrokerFenced: lambda v: f"Broker {v.broker} was fenced ({v.reason}): it may not lead.",
    e.ShutdownGranted: lambda v: f"Broker {v.broker} may shut down: it leads nothing any more.",
    e.TopicCreated: lambda v: (
        f"Topic {v.topic} was created with {plural(v.partitions, 'partition')} "
        f"and replication factor {v.replication_factor}."
    ),
    e.TopicDeleted: lambda v: f"Topic {v.topic} was deleted.",
    e.PartitionsAdded: lambda v: f"Topic {v.topic} grew from {v.old_count} to {v.new_count} partitions; keys may now go elsewhere.",
    e.ConfigChanged: _config,
    e.LeaderChanged: _leader,
    e.IsrChanged: _isr,
    e.AlterPartitionRefused: lambda v: f"The controller refused broker {v.broker}'s change of the ISR of {_part(v)}: {v.error}.",
    e.ReassignmentStarted: lambda v: f"{_part(v)} began to move from brokers {_brokers(v.old_replicas)} to {_brokers(v.new_replicas)}.",
    e.ReassignmentCompleted: lambda v: f"{_part(v)} has moved to brokers {_brokers(v.replicas)}.",
    e.LogRecovered: _recovered,
    e.LeaderStarted: lambda v: f"Broker {v.broker} took up leading {_part(v)} in epoch {v.leader_epoch}, its log ending at {v.log_end_offset}.",
    e.FollowerStarted: lambda v: (
        f"Broker {v.broker} follows {f'broker {v.leader}' if v.leader >= 0 else 'nobody'} "
        f"for {_part(v)} in epoch {v.leader_epoch}."
    ),
    e.RecordsAppended: lambda v: (
        f"Broker {v.broker} wrote {_offsets(v)} to {_part(v)} "
        f"({v.size_bytes:,} bytes{f' from {v.client}' if v.client else ''})."
    ),
    e.DuplicateRecognised: lambda v: (
        f"Broker {v.broker} recognised a repeat of {_offsets(v)} of {_part(v)} from {v.client} "
        "and did not write it again."
    ),
    e.RecordsReplicated: lambda v: f"Broker {v.broker} copied {_offsets(v)} of {_part(v)}.",
    e.HighWatermarkAdvanced: lambda v: f"The high watermark of {_part(v)} rose from {v.old} to {v.new}.",
    e.LastStableOffsetAdvanced: _stable,
    e.ReplicaTruncated: _truncated,
    e.IsrShrinkProposed: lambda v: (
        f"Broker {v.broker} asks to take {_brokers(v.removed)} out of the ISR of {_part(v)}, "
        f"leaving {_brokers(v.isr)}."
    ),
    e.IsrExpandProposed: lambda v: f"Broker {v.broker} asks to take {v.added} back into the ISR of {_part(v)}, making {_brokers(v.isr)}.",
    e.ProduceRefused: _refused,
    e.ProduceAcknowledged: lambda v: f"Broker {v.broker} acknowledged {_offsets(v)} of {_part(v)} ({_acks(v.acks)}).",
    e.SegmentRolled: lambda v: f"Broker {v.broker} began a new segment of {_part(v)} at offset {v.base_offset}.",
    e.SegmentsDeleted: lambda v: (
        f"Broker {v.broker} deleted {plural(v.segments, 'old segment')} of {_part(v)} ({plural(v.size_bytes, 'byte')}; {v.reason}); "
        f"its log now starts at {v.log_start_offset}."
    ),
    e.LogStartOffsetAdvanced: lambda v: (
        f"The log start of {_part(v)} on broker {v.broker} moved from {v.old} to {v.new} ({v.reason})."
    ),
    e.LogCleaned: _cleaned,
    e.LogUncleanable: lambda v: f"The cleaner of broker {v.broker} cannot read {_part(v)} and leaves it alone: {v.reason}.",
    e.TransactionStarted: lambda v: (
        f"Broker {v.broker}, the coordinator of {v.transactional_id}, began a transaction for producer {v.producer_id}, "
        f"epoch {v.producer_epoch}; it may take {_duration(v.timeout_ms * 1000)}."
    ),
    e.PartitionAddedToTransaction: lambda v: f"{_part(v)} was added to the transaction of {v.transactional_id}.",
    e.OffsetsAddedToTransaction: lambda v: (
        f"Broker {v.broker} holds offsets of group {v.group} for the transaction of {v.transactional_id} "
        f"({', '.join(f'{topic}-{number} at {offset}' for topic, number, offset in v.offsets)}): they count if it commits."
    ),
    e.TransactionTimedOut: lambda v: (
        f"The transaction of {v.transactional_id} has been open for {_duration(v.open_ms * 1000)}, longer than its "
        f"{_duration(v.timeout_ms * 1000)}: broker {v.broker} aborts it."
    ),
    e.TransactionPrepared: lambda v: (
        f"Broker {v.broker} decided to {'commit' if v.committed else 'abort'} the transaction of {v.transactional_id}: "
        f"{plural(v.partition_count, 'partition')} will get a marker."
    ),
    e.TransactionMarkerWritten: lambda v: (
        f"Broker {v.broker} wrote the marker {'COMMIT' if v.committed else 'ABORT'} of producer {v.producer_id}, "
        f"epoch {v.producer_epoch}, to {_part(v)} at offset {v.offset}."
    ),
    e.TransactionCompleted: lambda v: (
        f"The transaction of {v.transactional_id} is {'committed' if v.committed else 'aborted'}: all its partitions have the marker."
    ),
    e.LogDirectoryFailed: lambda v: f"The log directory of broker {v.broker} failed: {v.reason}.",
    e.CoordinatorLoaded: lambda v: (
        f"Broker {v.broker} now coordinates {_COORDINATED.get(v.topic, 'all')} of {_part(v)}: "
        f"it has read {plural(v.record_count, 'record')} back."
    ),
    e.GroupStateChanged: lambda v: f"Group {v.group} went from {v.old} to {v.new}.",
    e.MemberJoined: lambda v: (
        f"{v.consumer} joined group {v.group}{f' as static member {v.instance_id}' if v.instance_id else ''}. "
        f"It has {plural(v.members, 'member')} now."
    ),
    e.MemberLeft: _member_left,
    e.StaticMemberReplaced: lambda v: (
        f"{v.consumer} took the place of static member {v.instance_id} in group {v.group}; "
        "whoever had it before is fenced."
    ),
    e.GroupRebalanceStarted: lambda v: f"Group {v.group} began to rebalance because {v.reason}.",
    e.GroupRebalanced: _rebalanced,
    e.GroupEpochBumped: lambda v: f"Group {v.group} is in epoch {v.epoch}: {v.reason}.",
    e.TargetAssignmentComputed: _target_computed,
    e.MemberReconciled: _member_reconciled,
    e.GroupReconciled: _group_reconciled,
    e.ShareMemberAssigned: lambda v: (
        f"Share group {v.group}: {v.consumer} reads {_some(v.partitions) or 'nothing yet'} (epoch {v.epoch})."
    ),
    e.SharePartitionLoaded: lambda v: (
        f"Share group {v.group} {'begins' if v.fresh else 'goes on'} at offset {v.start_offset} of {_part(v)}, which broker {v.broker} leads."
    ),
    e.ShareRecordsAcquired: lambda v: (
        f"{v.consumer} acquired {plural(v.count, 'record')} of {_part(v)} ({_offsets(v)})"
        f"{f', some for the {_ordinal(v.deliveries)} time' if v.deliveries > 1 else ''}."
    ),
    e.ShareAcknowledged: _share_acknowledged,
    e.AcquisitionLockExpired: lambda v: (
        f"{v.consumer or 'A consumer that is gone'} did not acknowledge {plural(v.released + v.archived, 'record')} of {_part(v)} in time "
        f"({_offsets(v)}): {_what_became(0, v.released, v.archived)}."
    ),
    e.StaticMemberAway: lambda v: (
        f"{v.consumer} (static member {v.instance_id}) left group {v.group} for a while and keeps its partitions."
    ),
    e.OffsetsCommitted: _committed_offsets,
    e.OffsetsDeleted: _deleted_offsets,
    e.GroupDeleted: lambda v: f"Group {v.group} was deleted ({v.reason}).",
    e.CoordinatorUnloaded: lambda v: f"Broker {v.broker} no longer coordinates {_COORDINATED.get(v.topic, 'all')} of {_part(v)}.",
    e.ProducerIdAssigned: lambda v: f"{v.producer} got producer ID {v.producer_id}, epoch {v.producer_epoch}.",
    e.ProducerFenced: lambda v: (
        f"{v.producer} is fenced: a newer producer uses the transactional ID {v.transactional_id} "
        f"(it held producer ID {v.producer_id}, epoch {v.producer_epoch}; {v.error})."
    ),
    e.ProcessingAborted: lambda v: (
        f"{v.consumer} gives up {plural(v.record_count, 'record')} that it has processed and goes back to what group {v.group} has committed."
    ),
    e.TransactionCallRefused: lambda v: f"{v.producer} could not call {_CALLS.get(v.call, v.call)}: {v.error}.",
    e.TransactionFailed: lambda v: (
        f"{v.producer} cannot go on with transactional ID {v.transactional_id} and can only be closed: {v.error}."
        if v.fatal
        else f"{v.producer} must abort its transaction ({v.transactional_id}): {v.error}."
    ),
    e.ProduceSent: _sent,
    e.RecordsAcknowledged: _acknowledged,
    e.ProduceRetried: lambda v: f"{v.producer} will send its batch for {_part(v)} again: {v.error}.",
    e.RecordsFailed: lambda v: f"{v.producer} gave up {plural(v.record_count, 'record')} for {_part(v)}: {v.error}.",
    e.SendRefused: lambda v: f"{v.producer} could not send a record to {v.topic}: {v.error}.",
    e.ConsumerPositioned: lambda v: f"{v.consumer} reads {_part(v)} from offset {v.offset} ({v.reason}).",
    e.RecordsConsumed: lambda v: f"{v.consumer} read {_offsets(v)} of {_part(v)}.",
    e.ConsumerFailed: lambda v: f"{v.consumer} could not read {_part(v) if v.partition >= 0 else v.topic}: {v.error}.",
    e.ClientQuotaChanged: _quota,
    e.ClientThrottled: _throttled,
    e.ReplicationThrottled: lambda v: (
        f"Broker {v.broker} holds replication back as a {v.side}: {v.rate:,.0f} bytes a second, and {v.limit:,} are allowed."
    ),
    e.AclCreated: lambda v: f"A new ACL {_acl(v)}.",
    e.AclDeleted: lambda v: f"An ACL was deleted that {_acl(v)}.",
    e.AuthorizationDenied: _denied,
    e.AuthenticationFailed: lambda v: f"Broker {v.broker} does not believe that {v.client} is {v.user} ({v.mechanism}): {v.error}.",
    e.ScramCredentialChanged: lambda v: (
        f"User {v.user} can no longer log in with {v.mechanism}." if v.deleted else f"User {v.user} can log in with {v.mechanism}."
    ),
    e.WorkloadStarted: lambda v: (
        f"{v.producer} began to send {v.records_per_second:,} records per second to {v.topic} "
        f"(workload {v.workload})."
    ),
    e.WorkloadStopped: lambda v: f"{v.producer} stopped workload {v.workload} after {plural(v.sent, 'record')}.",
    e.AdminAnswered: _admin,
    **MEMBER_SENTENCES,
}  # fmt: skip
