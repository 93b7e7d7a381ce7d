"""What a group coordinator does with OffsetCommit, OffsetFetch, OffsetDelete and DeleteGroups, and which offsets expire.

Kafka's ``OffsetMetadataManager`` and the part of ``GroupCoordinatorShard`` around it.
"""

from __future__ import annotations

from engine.coordination.classic_group import PREPARING_REBALANCE, STABLE, ClassicGroup
from engine.coordination.group import Group, GroupError
from engine.coordination.group_records import OffsetValue, offset_key, offset_value
from engine.coordination.group_shard import GroupShard
from engine.coordination.shard import Continuation, Decision, Records
from engine.events import GroupDeleted, OffsetsCommitted, OffsetsDeleted
from engine.messages.base import TopicPartition
from engine.messages.groups import (
    DeleteGroupsRequest,
    FetchedOffset,
    OffsetAndMetadata,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
    PartitionError,
)  # fmt: skip

Committed = tuple[tuple[str, int, int], ...]


class OffsetsStored(Continuation, frozen=True, gc=False, tag=True):
    """``offsets``: (topic, partition, offset) each, now committed for the group; ``client`` asked for it."""

    group_id: str
    client: str
    offsets: Committed


# -- OffsetCommit ---------------------------------------------------------------------------------------------------------------------------


def commit(shard: GroupShard, source: str, request: OffsetCommitRequest, decision: Decision) -> None:
    """The reply leaves when the records are committed. Unknown topics have been sorted out before."""
    try:
        group = _group_to_commit(shard, request, decision)
        group.validate_offset_commit(request.member_id, request.group_instance_id, request.generation_or_epoch, False)
    except GroupError as wrong:
        decision.replies.append((source, commit_refused(request, wrong.error)))
        return
    if isinstance(group, ClassicGroup) and group.state in (STABLE, PREPARING_REBALANCE):
        member = group.members.get(request.member_id)
        if member is not None:
            group.start_session(member, decision.out)
    records, results, stored = commit_records(shard, request.group_id, request.offsets, decision.out.now_ms)
    decision.records += records
    decision.replies.append((source, OffsetCommitResponse(request.correlation_id, results)))
    if stored:
        decision.then = OffsetsStored(request.group_id, source, stored)


def _group_to_commit(shard: GroupShard, request: OffsetCommitRequest, decision: Decision) -> Group:
    """Who commits without being a member may create the group by it."""
    if request.generation_or_epoch < 0:
        return shard.simple_group(request.group_id, decision.out.now_ms)
    return shard.group(request.group_id)


def commit_records(
    shard: GroupShard, group_id: str, offsets: tuple[OffsetAndMetadata, ...], now_ms: int
) -> tuple[Records, tuple[PartitionError, ...], Committed]:
    """(records, a result per partition, what will be committed): also for TxnOffsetCommit, after its own checks."""
    records: Records = []
    results: list[PartitionError] = []
    stored: list[tuple[str, int, int]] = []
    for item in offsets:
        if len(item.metadata) > shard.settings.offset_metadata_max_bytes:
            results.append(PartitionError(item.partition, "OFFSET_METADATA_TOO_LARGE"))
            continue
        value = OffsetValue(item.offset, item.leader_epoch, item.metadata, now_ms)
        records.append((offset_key(group_id, item.partition), offset_value(value)))
        results.append(PartitionError(item.partition, "NONE"))
        stored.append((item.partition.topic, item.partition.partition, item.offset))
    return records, tuple(results), tuple(stored)


def validate_transactional_commit(
    shard: GroupShard, group_id: str, member_id: str, instance_id: str, generation_or_epoch: int, now_ms: int
) -> str:
    """Whether TxnOffsetCommit may commit for this group: "NONE" or an error (``validateTransactionalOffsetCommit``)."""
    try:
        if generation_or_epoch < 0:
            group = shard.simple_group(group_id, now_ms)
        elif group_id in shard.groups:
            group = shard.groups[group_id]
        else:
            return "ILLEGAL_GENERATION"
        group.validate_offset_commit(member_id, instance_id, generation_or_epoch, True)
    except GroupError as wrong:
        return "ILLEGAL_GENERATION" if wrong.error == "STALE_MEMBER_EPOCH" else wrong.error
    return "NONE"


def commit_refused(request: OffsetCommitRequest, error: str) -> OffsetCommitResponse:
    return OffsetCommitResponse(request.correlation_id, tuple([PartitionError(item.partition, error) for item in request.offsets]))


def on_offsets_stored(shard: GroupShard, done: OffsetsStored, error: str, decision: Decision) -> None:
    if error == "NONE":
        decision.out.emit(OffsetsCommitted(shard.broker_id, done.group_id, done.client, done.offsets))


# -- OffsetFetch ----------------------------------------------------------------------------------------------------------------------------


def fetch(shard: GroupShard, source: str, request: OffsetFetchRequest, decision: Decision) -> None:
    """With ``require_stable`` the newest offsets, once all is committed, and none that an open transaction is about to change (KIP-447);
    otherwise what is committed now, at once."""
    group = shard.groups.get(request.group_id)
    if group is not None:
        try:
            group.validate_offset_fetch(request.member_id, request.member_epoch)
        except GroupError as wrong:
            decision.at_once.append((source, OffsetFetchResponse(request.correlation_id, wrong.error)))
            return
    below = None if request.require_stable else shard.committed_below
    wanted = request.partitions
    found: list[FetchedOffset] = []
    for partition in shard.offsets.partitions(request.group_id) if wanted is None else wanted:
        value = shard.offsets.committed(request.group_id, partition, below)
        if request.require_stable and shard.offsets.is_pending(request.group_id, partition):
            found.append(FetchedOffset(partition, "UNSTABLE_OFFSET_COMMIT"))
        elif value is not None:
            found.append(FetchedOffset(partition, "NONE", value.offset, value.leader_epoch, value.metadata))
        elif wanted is not None:
            found.append(FetchedOffset(partition, "NONE"))
    response = OffsetFetchResponse(request.correlation_id, "NONE", tuple(found))
    (decision.replies if request.require_stable else decision.at_once).append((source, response))


# -- OffsetDelete and DeleteGroups ----------------------------------------------------------------------------------------------------------


def delete(shard: GroupShard, source: str, request: OffsetDeleteRequest, decision: Decision) -> None:
    """Of topics that nobody in the group reads."""
    number, group_id = request.correlation_id, request.group_id
    try:
        group = shard.group(group_id)
        group.validate_offset_delete()
    except GroupError as wrong:
        decision.replies.append((source, OffsetDeleteResponse(number, wrong.error)))
        return
    results: list[PartitionError] = []
    deleted: list[TopicPartition] = []
    for partition in request.partitions:
        if group.is_subscribed_to(partition.topic):
            results.append(PartitionError(partition, "GROUP_SUBSCRIBED_TO_TOPIC"))
            continue
        results.append(PartitionError(partition, "NONE"))
        known = shard.offsets.committed(group_id, partition, None) is not None
        if known or shard.offsets.is_pending(group_id, partition):
            deleted.append(partition)
    _wipe(shard, group_id, deleted, "asked for", decision)
    decision.replies.append((source, OffsetDeleteResponse(number, "NONE", tuple(results))))


def _wipe(shard: GroupShard, group_id: str, partitions: list[TopicPartition], reason: str, decision: Decision) -> None:
    if not partitions:
        return
    decision.records += [(offset_key(group_id, partition), None) for partition in partitions]
    named = tuple([(topic, number) for topic, number in partitions])
    decision.out.emit(OffsetsDeleted(shard.broker_id, group_id, named, reason))


def delete_groups(shard: GroupShard, request: DeleteGroupsRequest, decision: Decision) -> list[tuple[str, str]]:
    """Empty ones, with their offsets: (group, error) each."""
    results: list[tuple[str, str]] = []
    for group_id in request.group_ids:
        try:
            group = shard.group(group_id)
            group.validate_delete()
        except GroupError as wrong:
            results.append((group_id, wrong.error))
            continue
        _delete_group(shard, group, "asked for", decision)
        results.append((group_id, "NONE"))
    return results


def _delete_group(shard: GroupShard, group: Group, reason: str, decision: Decision) -> None:
    partitions = shard.offsets.partitions(group.group_id)
    partitions += [partition for partition in shard.offsets.pending_partitions(group.group_id) if partition not in partitions]
    decision.records += [(offset_key(group.group_id, partition), None) for partition in partitions]
    decision.records += group.tombstones()
    decision.out.emit(GroupDeleted(shard.broker_id, group.group_id, reason))


# -- expiry ---------------------------------------------------------------------------------------------------------------------------------


def expire(shard: GroupShard, decision: Decision) -> None:
    """Fact 45: offsets.retention.minutes after the group became empty (or, of a topic that a group reads no more, after the commit);
    an empty group without offsets goes too."""
    cause = decision.out.cause
    for group in list(shard.groups.values()):
        if group.group_type == "share":
            continue  # its readers go on where its share state says
        decision.out.because(cause)
        expired, left = _expired(shard, group, decision.out.now_ms)
        _wipe(shard, group.group_id, expired, "expired", decision)
        if not left and group.is_empty() and not shard.offsets.has_open_transaction(group.group_id):
            decision.records += group.tombstones()
            decision.out.emit(GroupDeleted(shard.broker_id, group.group_id, "expired"))
    decision.out.because(cause)


def _expired(shard: GroupShard, group: Group, now_ms: int) -> tuple[list[TopicPartition], bool]:
    """(partitions whose offset has expired, whether others are left)."""
    expired: list[TopicPartition] = []
    left = False
    for partition in shard.offsets.partitions(group.group_id):
        value = shard.offsets.committed(group.group_id, partition, None)
        since = group.expires_offsets_from(value.commit_timestamp_ms) if value is not None else -1
        if (
            since < 0
            or now_ms - since < shard.settings.offsets_retention_ms
            or group.is_subscribed_to(partition.topic)
            or shard.offsets.is_pending(group.group_id, partition)
        ):
            left = True
        else:
            expired.append(partition)
    return expired, left


def forget_topics(shard: GroupShard, topics: list[str], decision: Decision) -> None:
    """Topics were deleted: so are all offsets in them (``onPartitionsDeleted``)."""
    for group_id in list(shard.offsets.by_group):
        gone = [partition for partition in shard.offsets.partitions(group_id) if partition.topic in topics]
        _wipe(shard, group_id, gone, "topic deleted", decision)
