"""OffsetCommit (API key 8): up to where a consumer has worked, written into ``__consumer_offsets``.

Versions: v1 brought generations and member IDs, v6 leader epochs (KIP-320), v7 static membership (KIP-345), v9 member epochs (KIP-848).
Partitions of topics that do not exist are refused here, before the coordinator sees them (``KafkaApis.handleOffsetCommitRequest``).
"""

from __future__ import annotations

import msgspec

from engine.broker import groups
from engine.broker.state import Broker
from engine.coordination import group_offsets
from engine.coordination.group_shard import GroupShard
from engine.coordination.shard import Decision
from engine.messages.groups import OffsetCommitRequest, OffsetCommitResponse, PartitionError
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: OffsetCommitRequest, out: Outbox) -> None:
    unknown = tuple(
        [
            PartitionError(item.partition, "UNKNOWN_TOPIC_OR_PARTITION")
            for item in request.offsets
            if broker.image.partition(item.partition) is None
        ]
    )
    if unknown and len(unknown) == len(request.offsets):
        out.send(source, OffsetCommitResponse(request.correlation_id, unknown))
        return
    wanted = request
    if unknown:
        known = tuple([item for item in request.offsets if broker.image.partition(item.partition) is not None])
        wanted = msgspec.structs.replace(request, offsets=known)

    def refuse(error: str) -> OffsetCommitResponse:
        return group_offsets.commit_refused(request, error)

    def commit(shard: GroupShard, source: str, wanted: OffsetCommitRequest, decision: Decision) -> None:
        group_offsets.commit(shard, source, wanted, decision)
        if unknown:
            decision.replies = [
                (destination, msgspec.structs.replace(reply, results=(*reply.results, *unknown)))  # type: ignore[attr-defined]
                for destination, reply in decision.replies
            ]

    groups.serve(broker, source, wanted, request.group_id, commit, refuse, out)
