"""What each API asks of the authorizer, and Kafka's error where the answer is no (the ``authHelper`` calls of ``KafkaApis``).

A rule gets the request and gives it back as far as it is allowed; what was denied of it is kept for the response. Where nothing is left,
or the whole needs a permission that is missing, the rule answers itself. A forwarded request is asked here, on behalf of the controller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from engine.broker.state import Broker
from engine.events import AuthorizationDenied
from engine.messages import admin as am
from engine.messages import fetch as fm
from engine.messages import groups as gm
from engine.messages import produce as pm
from engine.messages import security as sm
from engine.messages import share_groups as hm
from engine.messages import transactions as tm
from engine.messages.base import Request, Response, TopicPartition
from engine.metadata.authorizer import (
    ALTER,
    ALTER_CONFIGS,
    CLUSTER,
    CLUSTER_ACTION,
    CREATE,
    DELETE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    FAILED,
    GROUP,
    IDEMPOTENT_WRITE,
    READ,
    TOPIC,
    TRANSACTIONAL_ID,
    WRITE,
)
from engine.sim.outbox import Outbox

TOPIC_FAILED, GROUP_FAILED = FAILED[TOPIC], FAILED[GROUP]
CLUSTER_FAILED, TRANSACTION_FAILED = FAILED[CLUSTER], FAILED[TRANSACTIONAL_ID]
T = TypeVar("T")
TOLD_AGAIN_AFTER_US = 30_000_000
MAX_TOLD = 100


class Inquiry:
    """One request at the door. Lives for one delivery only."""

    __slots__ = ("broker", "out", "principal", "source")

    def __init__(self, broker: Broker, source: str, principal: str, out: Outbox) -> None:
        self.broker = broker
        self.source = source
        self.principal = principal
        self.out = out

    def may(self, operation: str, resource_type: str, name: str = sm.CLUSTER_NAME, *, quiet: bool = False) -> bool:
        """``quiet``: a no is not told, since nothing was asked for by name or another permission will do as well."""
        broker = self.broker
        allowed = broker.authorizer.allows(broker.image.acls, self.principal, self.source, operation, resource_type, name)
        if not allowed and not quiet:
            self.tell(operation, resource_type, name)
        return allowed

    def tell(self, operation: str, resource_type: str, name: str) -> None:
        """Once for a while: a client that asks again and again is told each time, the audience is not."""
        told = self.broker.channels[self.source].denials_us
        question, now_us = (operation, resource_type, name), self.out.now
        if now_us < told.get(question, -TOLD_AGAIN_AFTER_US) + TOLD_AGAIN_AFTER_US:
            return
        if len(told) >= MAX_TOLD:
            told.clear()
        told[question] = now_us
        self.out.emit(AuthorizationDenied(self.broker.broker_id, self.source, self.principal, operation, resource_type, name))

    def topics(self, operation: str, names: Sequence[str]) -> dict[str, bool]:
        """For each topic, once."""
        return {name: self.may(operation, TOPIC, name) for name in dict.fromkeys(names)}

    def keep_for_response(self, request: Request, denied: Sequence[Any]) -> None:
        if denied:
            self.broker.channels[self.source].denied[request.correlation_id] = tuple(denied)


Rule = Callable[[Inquiry, Any], "Request | Response"]


def _split(items: Sequence[T], allowed: dict[str, bool], topic_of: Callable[[T], str]) -> tuple[tuple[T, ...], tuple[T, ...]]:
    return (
        tuple([item for item in items if allowed[topic_of(item)]]),
        tuple([item for item in items if not allowed[topic_of(item)]]),
    )


def _topic_of(item: Any) -> str:
    name: str = item.partition.topic
    return name


# -- records ---------------------------------------------------------------------------------------------------------------------


def _produce(ask: Inquiry, request: pm.ProduceRequest) -> Request | Response:
    if request.transactional_id and not ask.may(WRITE, TRANSACTIONAL_ID, request.transactional_id):
        results = tuple([pm.ProduceResult(item.partition, TRANSACTION_FAILED) for item in request.items])
        return pm.ProduceResponse(request.correlation_id, results)
    allowed = ask.topics(WRITE, [item.partition.topic for item in request.items])
    if all(allowed.values()):
        return request
    served, denied = _split(request.items, allowed, _topic_of)
    results = tuple([pm.ProduceResult(item.partition, TOPIC_FAILED) for item in denied])
    if not served:
        return pm.ProduceResponse(request.correlation_id, results)
    ask.keep_for_response(request, results)
    return msgspec.structs.replace(request, items=served)


def _fetch(ask: Inquiry, request: fm.FetchRequest) -> Request | Response:
    allowed = ask.topics(READ, [item.partition.topic for item in request.items])
    if all(allowed.values()):
        return request
    served, denied = _split(request.items, allowed, _topic_of)
    results = tuple([fm.FetchResult(item.partition, TOPIC_FAILED) for item in denied])
    if not served:
        return fm.FetchResponse(request.correlation_id, results)
    ask.keep_for_response(request, results)
    return msgspec.structs.replace(request, items=served)


def _list_offsets(ask: Inquiry, request: fm.ListOffsetsRequest) -> Request | Response:
    served, denied = _split(request.items, ask.topics(DESCRIBE, [item.partition.topic for item in request.items]), _topic_of)
    ask.keep_for_response(request, [fm.ListOffsetsResult(item.partition, TOPIC_FAILED) for item in denied])
    return msgspec.structs.replace(request, items=served) if denied else request


def _offset_for_leader_epoch(ask: Inquiry, request: fm.OffsetForLeaderEpochRequest) -> Request | Response:
    served, denied = _split(request.items, ask.topics(DESCRIBE, [item.partition.topic for item in request.items]), _topic_of)
    ask.keep_for_response(request, [fm.OffsetForLeaderEpochResult(item.partition, TOPIC_FAILED) for item in denied])
    return msgspec.structs.replace(request, items=served) if denied else request


def _metadata(ask: Inquiry, request: am.MetadataRequest) -> Request | Response:
    """All topics means all that may be described. Creating one by asking for it needs the permission to create."""
    known = ask.broker.image.topics
    if request.topics is None:
        seen = tuple([name for name in sorted(known) if ask.may(DESCRIBE, TOPIC, name, quiet=True)])
        return msgspec.structs.replace(request, topics=seen)
    served: list[str] = []
    denied: list[am.MetadataTopic] = []
    for name in dict.fromkeys(request.topics):
        creating = name not in known and request.allow_auto_topic_creation and ask.broker.settings.auto_create_topics
        if ask.may(DESCRIBE, TOPIC, name) and (not creating or _may_create(ask, name)):
            served.append(name)
        else:
            denied.append(am.MetadataTopic(TOPIC_FAILED, name))
    ask.keep_for_response(request, denied)
    return msgspec.structs.replace(request, topics=tuple(served)) if denied else request


def _may_create(ask: Inquiry, name: str) -> bool:
    return ask.may(CREATE, CLUSTER, quiet=True) or ask.may(CREATE, TOPIC, name)


# -- producers and transactions ----------------------------------------------------------------------------------------------------


def _init_producer_id(ask: Inquiry, request: pm.InitProducerIdRequest) -> Request | Response:
    """Without a transactional ID: whoever may write to some topic, or has IdempotentWrite (KIP-679)."""
    if request.transactional_id:
        if ask.may(WRITE, TRANSACTIONAL_ID, request.transactional_id):
            return request
        return pm.InitProducerIdResponse(request.correlation_id, TRANSACTION_FAILED)
    broker = ask.broker
    if ask.may(IDEMPOTENT_WRITE, CLUSTER, quiet=True) or broker.authorizer.allows_on_any(
        broker.image.acls, ask.principal, ask.source, WRITE, TOPIC
    ):
        return request
    ask.tell(IDEMPOTENT_WRITE, CLUSTER, sm.CLUSTER_NAME)
    return pm.InitProducerIdResponse(request.correlation_id, CLUSTER_FAILED)


def _add_partitions(ask: Inquiry, request: tm.AddPartitionsToTxnRequest) -> Request | Response:
    """All or nothing: with one partition denied, the others are OPERATION_NOT_ATTEMPTED."""
    if not ask.may(WRITE, TRANSACTIONAL_ID, request.transactional_id):
        results = tuple([gm.PartitionError(partition, TRANSACTION_FAILED) for partition in request.partitions])
        return tm.AddPartitionsToTxnResponse(request.correlation_id, results)
    allowed = ask.topics(WRITE, [partition.topic for partition in request.partitions])
    if all(allowed.values()):
        return request
    errors = {True: "OPERATION_NOT_ATTEMPTED", False: TOPIC_FAILED}
    results = tuple([gm.PartitionError(partition, errors[allowed[partition.topic]]) for partition in request.partitions])
    return tm.AddPartitionsToTxnResponse(request.correlation_id, results)


def _end_txn(ask: Inquiry, request: tm.EndTxnRequest) -> Request | Response:
    if ask.may(WRITE, TRANSACTIONAL_ID, request.transactional_id):
        return request
    return tm.EndTxnResponse(request.correlation_id, TRANSACTION_FAILED)


def _write_markers(ask: Inquiry, request: tm.WriteTxnMarkersRequest) -> Request | Response:
    if ask.may(ALTER, CLUSTER, quiet=True) or ask.may(CLUSTER_ACTION, CLUSTER):
        return request
    results = [
        (marker.producer_id, tuple([gm.PartitionError(partition, CLUSTER_FAILED) for partition in marker.partitions]))
        for marker in request.markers
    ]
    return tm.WriteTxnMarkersResponse(request.correlation_id, tuple(results))


def _txn_offset_commit(ask: Inquiry, request: tm.TxnOffsetCommitRequest) -> Request | Response:
    error = ""
    if not ask.may(WRITE, TRANSACTIONAL_ID, request.transactional_id):
        error = TRANSACTION_FAILED
    elif not ask.may(READ, GROUP, request.group_id):
        error = GROUP_FAILED
    if error:
        whole = tuple([gm.PartitionError(item.partition, error) for item in request.offsets])
        return tm.TxnOffsetCommitResponse(request.correlation_id, whole)
    return _commit_some(ask, request, tm.TxnOffsetCommitResponse)


def _add_offsets(ask: Inquiry, request: tm.AddOffsetsToTxnRequest) -> Request | Response:
    if not ask.may(WRITE, TRANSACTIONAL_ID, request.transactional_id):
        return tm.AddOffsetsToTxnResponse(request.correlation_id, TRANSACTION_FAILED)
    if not ask.may(READ, GROUP, request.group_id):
        return tm.AddOffsetsToTxnResponse(request.correlation_id, GROUP_FAILED)
    return request


def _describe_transaction(ask: Inquiry, request: tm.DescribeTransactionRequest) -> Request | Response:
    if ask.may(DESCRIBE, TRANSACTIONAL_ID, request.transactional_id):
        return request
    return tm.DescribeTransactionResponse(request.correlation_id, TRANSACTION_FAILED, request.transactional_id)


def _describe_producers(ask: Inquiry, request: tm.DescribeProducersRequest) -> Request | Response:
    if ask.may(READ, TOPIC, request.partition.topic):
        return request
    return tm.DescribeProducersResponse(request.correlation_id, TOPIC_FAILED)


# -- groups ----------------------------------------------------------------------------------------------------------------------


def _find_coordinator(ask: Inquiry, request: gm.FindCoordinatorRequest) -> Request | Response:
    kind = request.key_type
    if kind == "group":
        error = "" if ask.may(DESCRIBE, GROUP, request.key) else GROUP_FAILED
    elif kind == "transaction":
        error = "" if ask.may(DESCRIBE, TRANSACTIONAL_ID, request.key) else TRANSACTION_FAILED
    else:
        error = "" if ask.may(CLUSTER_ACTION, CLUSTER) else CLUSTER_FAILED
    return gm.FindCoordinatorResponse(request.correlation_id, error) if error else request


def _of_group(operation: str, answer: Callable[[int, str], Response]) -> Rule:
    """A rule that asks only for the group."""

    def rule(ask: Inquiry, request: Any) -> Request | Response:
        if ask.may(operation, GROUP, request.group_id):
            allowed: Request = request
            return allowed
        return answer(request.correlation_id, GROUP_FAILED)

    return rule


def _subscribing(answer: Callable[[int, str], Response]) -> Rule:
    """KIP-848 and share groups: the broker assigns, so that every topic subscribed to must be describable."""
    of_group = _of_group(READ, answer)

    def rule(ask: Inquiry, request: Any) -> Request | Response:
        decided = of_group(ask, request)
        if isinstance(decided, Request) and not all(ask.topics(DESCRIBE, request.topics or ()).values()):
            return answer(request.correlation_id, TOPIC_FAILED)
        return decided

    return rule


def _commit_some(
    ask: Inquiry, request: Any, response: Callable[[int, tuple[gm.PartitionError, ...]], Response]
) -> Request | Response:
    served, denied = _split(request.offsets, ask.topics(READ, [item.partition.topic for item in request.offsets]), _topic_of)
    if not denied:
        whole: Request = request
        return whole
    results = tuple([gm.PartitionError(item.partition, TOPIC_FAILED) for item in denied])
    if not served:
        return response(request.correlation_id, results)
    ask.keep_for_response(request, results)
    allowed: Request = msgspec.structs.replace(request, offsets=served)
    return allowed


def _offset_commit(ask: Inquiry, request: gm.OffsetCommitRequest) -> Request | Response:
    if not ask.may(READ, GROUP, request.group_id):
        whole = tuple([gm.PartitionError(item.partition, GROUP_FAILED) for item in request.offsets])
        return gm.OffsetCommitResponse(request.correlation_id, whole)
    return _commit_some(ask, request, gm.OffsetCommitResponse)


def _offset_fetch(ask: Inquiry, request: gm.OffsetFetchRequest) -> Request | Response:
    """All offsets means those of all topics that may be described."""
    if not ask.may(DESCRIBE, GROUP, request.group_id):
        return gm.OffsetFetchResponse(request.correlation_id, GROUP_FAILED)
    if request.partitions is None:
        return request
    served, denied = _split_partitions(
        request.partitions, ask.topics(DESCRIBE, [partition.topic for partition in request.partitions])
    )
    ask.keep_for_response(request, [gm.FetchedOffset(partition, TOPIC_FAILED) for partition in denied])
    return msgspec.structs.replace(request, partitions=served) if denied else request


def _split_partitions(
    partitions: Sequence[TopicPartition], allowed: dict[str, bool]
) -> tuple[tuple[TopicPartition, ...], tuple[TopicPartition, ...]]:
    return _split(partitions, allowed, lambda partition: partition.topic)


def _offset_delete(ask: Inquiry, request: gm.OffsetDeleteRequest) -> Request | Response:
    if not ask.may(DELETE, GROUP, request.group_id):
        return gm.OffsetDeleteResponse(request.correlation_id, GROUP_FAILED)
    served, denied = _split_partitions(request.partitions, ask.topics(READ, [partition.topic for partition in request.partitions]))
    ask.keep_for_response(request, [gm.PartitionError(partition, TOPIC_FAILED) for partition in denied])
    return msgspec.structs.replace(request, partitions=served) if denied else request


def _delete_groups(ask: Inquiry, request: gm.DeleteGroupsRequest) -> Request | Response:
    denied = [name for name in request.group_ids if not ask.may(DELETE, GROUP, name)]
    ask.keep_for_response(request, [(name, GROUP_FAILED) for name in denied])
    served = tuple([name for name in request.group_ids if name not in denied])
    if not served:
        return gm.DeleteGroupsResponse(request.correlation_id, ())
    return msgspec.structs.replace(request, group_ids=served) if denied else request


def _share_fetch(ask: Inquiry, request: hm.ShareFetchRequest) -> Request | Response:
    if not ask.may(READ, GROUP, request.group_id):
        return hm.ShareFetchResponse(request.correlation_id, GROUP_FAILED)
    served, denied = _split_partitions(request.partitions, ask.topics(READ, [partition.topic for partition in request.partitions]))
    ask.keep_for_response(request, [hm.ShareFetchResult(partition, TOPIC_FAILED) for partition in denied])
    return msgspec.structs.replace(request, partitions=served) if denied else request


# -- administration ----------------------------------------------------------------------------------------------------------------


def _of_cluster(operation: str, answer: Callable[[int, str], Response]) -> Rule:
    def rule(ask: Inquiry, request: Any) -> Request | Response:
        if ask.may(operation, CLUSTER):
            allowed: Request = request
            return allowed
        return answer(request.correlation_id, CLUSTER_FAILED)

    return rule


def _of_topic(operation: str) -> Rule:
    """A request about one topic called ``name``."""

    def rule(ask: Inquiry, request: Any) -> Request | Response:
        if ask.may(operation, TOPIC, request.name):
            allowed: Request = request
            return allowed
        return am.AdminResponse(request.correlation_id, TOPIC_FAILED, (am.AdminResult(request.name, TOPIC_FAILED),))

    return rule


def _create_topics(ask: Inquiry, request: am.CreateTopicsRequest) -> Request | Response:
    if ask.may(CREATE, CLUSTER, quiet=True):
        return request
    allowed = ask.topics(CREATE, [topic.name for topic in request.topics])
    served, denied = _split(request.topics, allowed, lambda topic: topic.name)
    return _administer_some(ask, request, "topics", served, [topic.name for topic in denied])


def _delete_topics(ask: Inquiry, request: am.DeleteTopicsRequest) -> Request | Response:
    allowed = ask.topics(DELETE, request.names)
    served, denied = _split(request.names, allowed, lambda name: name)
    return _administer_some(ask, request, "names", served, denied)


def _administer_some(ask: Inquiry, request: Any, field: str, served: Sequence[Any], denied: Sequence[str]) -> Request | Response:
    results = tuple([am.AdminResult(name, TOPIC_FAILED) for name in denied])
    if denied and not served:
        return am.AdminResponse(request.correlation_id, TOPIC_FAILED, results)
    ask.keep_for_response(request, results)
    allowed: Request = msgspec.structs.replace(request, **{field: tuple(served)}) if denied else request
    return allowed


def _delete_records(ask: Inquiry, request: am.DeleteRecordsRequest) -> Request | Response:
    served, denied = _split(request.items, ask.topics(DELETE, [item.partition.topic for item in request.items]), _topic_of)
    results = tuple([am.DeletedRecords(item.partition, -1, TOPIC_FAILED) for item in denied])
    if denied and not served:
        return am.DeleteRecordsResponse(request.correlation_id, results)
    ask.keep_for_response(request, results)
    return msgspec.structs.replace(request, items=served) if denied else request


def _alter_configs(ask: Inquiry, request: am.IncrementalAlterConfigsRequest) -> Request | Response:
    error = _configs_refused(ask, ALTER_CONFIGS, request.resource_type, request.resource_name)
    if not error:
        return request
    return am.AdminResponse(request.correlation_id, error, (am.AdminResult(request.resource_name, error),))


def _describe_configs(ask: Inquiry, request: am.DescribeConfigsRequest) -> Request | Response:
    error = _configs_refused(ask, DESCRIBE_CONFIGS, request.resource_type, request.resource_name)
    return am.DescribeConfigsResponse(request.correlation_id, error) if error else request


def _configs_refused(ask: Inquiry, operation: str, resource_type: str, name: str) -> str:
    """ "" where the operation is allowed on the topic, the group, or for brokers the cluster."""
    if resource_type == "topic":
        return "" if ask.may(operation, TOPIC, name) else TOPIC_FAILED
    if resource_type == "group":
        return "" if ask.may(operation, GROUP, name) else GROUP_FAILED
    return "" if ask.may(operation, CLUSTER) else CLUSTER_FAILED


RULES: dict[type[Any], Rule] = {
    pm.ProduceRequest: _produce,
    fm.FetchRequest: _fetch,
    fm.ListOffsetsRequest: _list_offsets,
    fm.OffsetForLeaderEpochRequest: _offset_for_leader_epoch,
    am.MetadataRequest: _metadata,
    pm.InitProducerIdRequest: _init_producer_id,
    tm.AddPartitionsToTxnRequest: _add_partitions,
    tm.EndTxnRequest: _end_txn,
    tm.WriteTxnMarkersRequest: _write_markers,
    tm.TxnOffsetCommitRequest: _txn_offset_commit,
    tm.AddOffsetsToTxnRequest: _add_offsets,
    tm.DescribeTransactionRequest: _describe_transaction,
    tm.DescribeProducersRequest: _describe_producers,
    gm.FindCoordinatorRequest: _find_coordinator,
    gm.JoinGroupRequest: _of_group(READ, gm.JoinGroupResponse),
    gm.SyncGroupRequest: _of_group(READ, gm.SyncGroupResponse),
    gm.HeartbeatRequest: _of_group(READ, gm.HeartbeatResponse),
    gm.LeaveGroupRequest: _of_group(READ, gm.LeaveGroupResponse),
    gm.OffsetCommitRequest: _offset_commit,
    gm.OffsetFetchRequest: _offset_fetch,
    gm.OffsetDeleteRequest: _offset_delete,
    gm.ConsumerGroupHeartbeatRequest: _subscribing(gm.ConsumerGroupHeartbeatResponse),
    gm.DescribeGroupRequest: _of_group(DESCRIBE, gm.DescribeGroupResponse),
    gm.DeleteGroupsRequest: _delete_groups,
    hm.ShareGroupHeartbeatRequest: _subscribing(hm.ShareGroupHeartbeatResponse),
    hm.ShareFetchRequest: _share_fetch,
    hm.ShareAcknowledgeRequest: _of_group(READ, hm.ShareAcknowledgeResponse),
    hm.InitializeShareGroupStateRequest: _of_cluster(CLUSTER_ACTION, hm.InitializeShareGroupStateResponse),
    hm.ReadShareGroupStateRequest: _of_cluster(CLUSTER_ACTION, hm.ReadShareGroupStateResponse),
    hm.WriteShareGroupStateRequest: _of_cluster(CLUSTER_ACTION, hm.WriteShareGroupStateResponse),
    am.CreateTopicsRequest: _create_topics,
    am.DeleteTopicsRequest: _delete_topics,
    am.DeleteRecordsRequest: _delete_records,
    am.CreatePartitionsRequest: _of_topic(ALTER),
    am.IncrementalAlterConfigsRequest: _alter_configs,
    am.DescribeConfigsRequest: _describe_configs,
    am.ElectLeadersRequest: _of_cluster(ALTER, am.AdminResponse),
    am.AlterPartitionReassignmentsRequest: _of_cluster(ALTER, am.AdminResponse),
    am.ListPartitionReassignmentsRequest: _of_cluster(DESCRIBE, am.ListPartitionReassignmentsResponse),
    am.UnregisterBrokerRequest: _of_cluster(ALTER, am.AdminResponse),
    am.DescribeQuorumRequest: _of_cluster(DESCRIBE, am.DescribeQuorumResponse),
    sm.AlterClientQuotasRequest: _of_cluster(ALTER_CONFIGS, am.AdminResponse),
    sm.DescribeClientQuotasRequest: _of_cluster(DESCRIBE_CONFIGS, sm.DescribeClientQuotasResponse),
    sm.CreateAclsRequest: _of_cluster(ALTER, am.AdminResponse),
    sm.DeleteAclsRequest: _of_cluster(ALTER, am.AdminResponse),
    sm.DescribeAclsRequest: _of_cluster(DESCRIBE, sm.DescribeAclsResponse),
    sm.AlterUserScramCredentialsRequest: _of_cluster(ALTER, am.AdminResponse),
    sm.DescribeUserScramCredentialsRequest: _of_cluster(DESCRIBE, sm.DescribeUserScramCredentialsResponse),
}
"""ListGroups and ListTransactions ask nothing: what may not be described is left out of their answers (``admission.leave``)."""
