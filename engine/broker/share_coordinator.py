"""The share coordinator on its broker: the APIs InitializeShareGroupState (83), ReadShareGroupState (84) and WriteShareGroupState (85).

Only brokers ask these. Importing this module tells the runtime what the shards of ``__share_group_state`` are made of. Source: Kafka's
``ShareCoordinatorService``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.broker import coordinators
from engine.broker.state import Broker, Replica
from engine.coordination import share_state
from engine.coordination.shard import Continuation, Decision
from engine.coordination.share_state import ShareStateShard
from engine.messages.base import Response, TopicPartition
from engine.messages.share_groups import (
    InitializeShareGroupStateRequest,
    InitializeShareGroupStateResponse,
    ReadShareGroupStateRequest,
    ReadShareGroupStateResponse,
    WriteShareGroupStateRequest,
    WriteShareGroupStateResponse,
)  # fmt: skip
from engine.metadata.configs import static_value
from engine.metadata.internal_topics import SHARE_GROUP_STATE
from engine.sim.outbox import Outbox

Decide = Callable[[ShareStateShard, str, Any, Decision], None]


def initialize(broker: Broker, source: str, request: InitializeShareGroupStateRequest, out: Outbox) -> None:
    _serve(broker, source, request, share_state.initialize, InitializeShareGroupStateResponse, out)


def read(broker: Broker, source: str, request: ReadShareGroupStateRequest, out: Outbox) -> None:
    _serve(broker, source, request, share_state.read, ReadShareGroupStateResponse, out)


def write(broker: Broker, source: str, request: WriteShareGroupStateRequest, out: Outbox) -> None:
    if "share-state-not-written" in broker.mutants:
        out.send(source, WriteShareGroupStateResponse(request.correlation_id, "NONE"))
        return
    _serve(broker, source, request, share_state.write, WriteShareGroupStateResponse, out)


def _serve(broker: Broker, source: str, request: Any, decide: Decide, answer: Callable[[int, str], Response], out: Outbox) -> None:
    partition: TopicPartition = request.partition
    share = share_state.share_of(broker.image, request.group_id, partition)
    if share is None:
        out.send(source, answer(request.correlation_id, "UNKNOWN_TOPIC_OR_PARTITION"))
        return
    replica, error = coordinators.locate(broker, SHARE_GROUP_STATE, share.coordinator_key())
    if replica is None or replica.shard is None:
        out.send(source, answer(request.correlation_id, error))
        return
    decision = Decision(out, image=broker.image)
    state = replica.shard.state
    assert isinstance(state, ShareStateShard)
    decide(state, source, request, decision)
    coordinators.carry_out(broker, replica, decision)


def _create(broker: Broker, replica: Replica) -> ShareStateShard:
    limit = int(static_value(broker.configs, "share.coordinator.snapshot.update.records.per.snapshot"))
    return ShareStateShard(updates_per_snapshot=limit)


def _on_loaded(broker: Broker, replica: Replica, out: Outbox) -> None:
    """Nothing waits for it."""


def _on_written(broker: Broker, replica: Replica, then: Continuation, error: str, out: Outbox) -> None:
    raise AssertionError("the share coordinator continues nothing")


coordinators.register(SHARE_GROUP_STATE, coordinators.ShardKind(_create, _on_loaded, _on_loaded, _on_written))
