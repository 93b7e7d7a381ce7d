"""The broker as the kernel sees it: boot from the disk, then one dispatch table for everything that arrives.

Requests are taken once the metadata is loaded; those that come earlier wait, as in the sockets of a starting broker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.broker import (
    admission,
    alter_partition,
    controller_channel,
    coordinators,
    fetcher,
    group_dispatch,
    lifecycle,
    logs,
    producer_ids,
    publisher,
    replication,
    share_dispatch,
    transaction_verification,
    transactions,
)
from engine.broker.apis import (
    acls,
    delete_records,
    describe_configs,
    describe_transactions,
    fetch,
    find_coordinator,
    forwarding,
    init_producer_id,
    list_offsets,
    metadata,
    offset_for_leader_epoch,
    produce,
    sasl,
    txn_offset_commit,
    write_txn_markers,
)  # fmt: skip
from engine.broker.cleaner import on_step as on_cleaner_step
from engine.broker.cleaner import on_wake as on_cleaner_wake
from engine.broker.cleaner import run as run_cleaner
from engine.broker.meters import REQUESTS
from engine.broker.settings import MAX_BACKLOG, RECOVERY_POINT_CHECKPOINT_US, BrokerSettings
from engine.broker.state import Broker, HeldRequest
from engine.broker.timers import (
    AlterPartitionRetry,
    CleanerStep,
    CleanerWake,
    ControlledShutdownTimeout,
    ControllerCallTimeout,
    ControllerRetry,
    CoordinatorLoad,
    CoordinatorWriteExpired,
    DeleteRecordsExpired,
    FetcherBackoff,
    FetcherTimeout,
    FetchExpired,
    Halt,
    HighWatermarkCheckpoint,
    IsrShrinkCheck,
    LifecycleTick,
    MarkerRetry,
    MarkerTimeout,
    ProduceExpired,
    RecoveryPointCheckpoint,
    RetentionCheck,
    TransactionalIdExpiry,
    TransactionSweep,
    Unmute,
    VerificationRetry,
    VerificationTimeout,
)  # fmt: skip
from engine.broker.transaction_markers import on_disconnected as on_marker_disconnected
from engine.broker.transaction_markers import on_response as on_markers_written
from engine.broker.transaction_markers import on_retry as on_marker_retry
from engine.broker.transaction_markers import on_timeout as on_marker_timeout
from engine.coordination.quorum_observer import QuorumObserver
from engine.log.errors import LogError
from engine.messages.admin import (
    AlterPartitionReassignmentsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeConfigsRequest,
    DescribeQuorumRequest,
    ElectLeadersRequest,
    IncrementalAlterConfigsRequest,
    ListPartitionReassignmentsRequest,
    MetadataRequest,
    UnregisterBrokerRequest,
)  # fmt: skip
from engine.messages.base import Disconnected, Message, Timer
from engine.messages.cluster import (
    AllocateProducerIdsResponse,
    AlterPartitionResponse,
    BrokerHeartbeatResponse,
    BrokerRegistrationResponse,
    EnvelopeResponse,
)  # fmt: skip
from engine.messages.fetch import (
    FetchRequest,
    FetchResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    OffsetForLeaderEpochRequest,
)  # fmt: skip
from engine.messages.groups import FindCoordinatorRequest
from engine.messages.instructions import BeginShutdown
from engine.messages.produce import InitProducerIdRequest, ProduceRequest
from engine.messages.security import (
    AlterClientQuotasRequest,
    AlterUserScramCredentialsRequest,
    CreateAclsRequest,
    DeleteAclsRequest,
    DescribeAclsRequest,
    DescribeClientQuotasRequest,
    DescribeUserScramCredentialsRequest,
    SaslAuthenticateRequest,
)  # fmt: skip
from engine.messages.transactions import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    DescribeProducersRequest,
    DescribeTransactionRequest,
    EndTxnRequest,
    ListTransactionsRequest,
    TxnOffsetCommitRequest,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)  # fmt: skip
from engine.metadata.authorizer import StandardAuthorizer
from engine.sim.disk import DiskFullError
from engine.sim.outbox import Outbox

Handler = Callable[[Broker, str, Any, Outbox], None]
BROKER_PREFIX = "broker-"


@dataclass(slots=True)
class BrokerNode(Broker):
    """A broker process. Its memory goes with it; ``start`` on a new one rebuilds what the disk holds."""

    def start(self, out: Outbox) -> None:
        self.name = out.node
        self.next_correlation_id = out.now + 1  # answers to the process before this one match nothing
        self.settings = BrokerSettings.read(self.configs)
        self.meters.started_us = out.now
        self.authorizer = StandardAuthorizer.read(self.configs)
        self.guarded = self.authorizer.enabled
        try:
            self.quorum = QuorumObserver.boot(self.broker_id, self.controllers, out)
            logs.boot(self, out)
            lifecycle.start(self, out)
        except (LogError, DiskFullError) as wrong:
            _on_storage_error(self, wrong, out)

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        if self.failed:
            if isinstance(body, Halt):
                out.exit()
            return
        handler = _HANDLERS.get(type(body))
        try:
            if handler is not None:
                handler(self, source, body, out)
            elif (api := _APIS.get(type(body))) is not None:
                if self.serving:
                    counter = REQUESTS.get(type(body))
                    if counter is not None:
                        self.meters.count(counter, 1, out.now)
                    if not self.guarded:
                        api(self, source, body, out)
                    elif (admitted := admission.enter(self, source, body, out)) is not None:  # type: ignore[arg-type]
                        api(self, source, admitted, out)
                elif len(self.backlog) < MAX_BACKLOG:
                    self.backlog.append(HeldRequest(source, body))  # type: ignore[arg-type]
            elif self.quorum.handle(source, body, out):
                _on_metadata(self, out)
            if self.guarded and out.effects:
                admission.leave(self, out)
        except (LogError, DiskFullError) as wrong:
            _on_storage_error(self, wrong, out)


def _on_storage_error(broker: Broker, wrong: LogError | DiskFullError, out: Outbox) -> None:
    """Whatever writes to a full disk takes the log directory offline; any other LogError here is a defect."""
    if isinstance(wrong, LogError) and wrong.code != "KAFKA_STORAGE_ERROR":
        raise wrong
    logs.fail(broker, str(wrong), out)


def _on_metadata(broker: Broker, out: Outbox) -> None:
    committed = broker.quorum.take_committed()
    if committed:
        publisher.apply(broker, committed, out)
    if not broker.serving and broker.caught_up:
        _begin_serving(broker, out)


def _begin_serving(broker: Broker, out: Outbox) -> None:
    """The controller says that the metadata is loaded up to this broker's own registration: replicas take their parts, sockets are
    read, and the next heartbeat asks to be unfenced."""
    broker.serving = True
    publisher.publish(broker, out)
    run_cleaner(broker, out)
    held, broker.backlog = broker.backlog, []
    cause = out.cause
    for item in held:
        out.because(cause)
        if not broker.failed:
            _APIS[type(item.request)](broker, item.source, item.request, out)
    out.because(cause)
    lifecycle.on_tick(broker, out)


def _on_disconnected(broker: Broker, source: str, notice: Disconnected, out: Outbox) -> None:
    peer = notice.peer
    broker.quorum.handle(source, notice, out)
    controller_channel.on_disconnected(broker, peer, out)
    fetch.drop_requester(broker, peer)
    share_dispatch.on_disconnected(broker, peer, out)
    transaction_verification.on_disconnected(broker, peer, out)
    admission.close(broker, peer)
    if peer.startswith(BROKER_PREFIX) and peer[len(BROKER_PREFIX) :].isdigit():
        number = int(peer[len(BROKER_PREFIX) :])
        fetcher.on_disconnected(broker, number, out)
        on_marker_disconnected(broker, number, out)


def _on_controller_response(broker: Broker, source: str, response: Any, out: Outbox) -> None:
    call = controller_channel.on_response(broker, source, response, out)
    if call is None:
        return
    if call.purpose == controller_channel.LIFECYCLE:
        lifecycle.on_response(broker, response, out)
        if broker.caught_up and not broker.serving:
            _begin_serving(broker, out)
    elif call.purpose == controller_channel.ALTER_PARTITION:
        request: Any = call.request
        alter_partition.on_response(broker, request, response, out)
    elif call.purpose == controller_channel.PRODUCER_IDS:
        producer_ids.on_response(broker, response, out)
    else:
        forwarding.on_response(broker, call, response, out)


def _on_call_timeout(broker: Broker, source: str, timer: ControllerCallTimeout, out: Outbox) -> None:
    call = controller_channel.on_timeout(broker, timer, out)
    if call is not None and call.purpose == controller_channel.LIFECYCLE:
        lifecycle.on_failure(broker, out)
    elif call is not None:
        forwarding.on_timeout(broker, call, out)


def _on_lifecycle_tick(broker: Broker, source: str, timer: LifecycleTick, out: Outbox) -> None:
    lifecycle.on_tick(broker, out)


def _on_alter_retry(broker: Broker, source: str, timer: AlterPartitionRetry, out: Outbox) -> None:
    alter_partition.propagate(broker, out)


def _on_begin_shutdown(broker: Broker, source: str, instruction: BeginShutdown, out: Outbox) -> None:
    lifecycle.begin_shutdown(broker, out)


def _on_shutdown_timeout(broker: Broker, source: str, timer: ControlledShutdownTimeout, out: Outbox) -> None:
    lifecycle.stop(broker, out)


def _on_unmute(broker: Broker, source: str, timer: Unmute, out: Outbox) -> None:
    request = admission.resume(broker, timer.client, out)
    if request is not None:
        _APIS[type(request)](broker, timer.client, request, out)


def _on_isr_check(broker: Broker, source: str, timer: IsrShrinkCheck, out: Outbox) -> None:
    out.because(0)
    out.arm(timer, after_us=broker.settings.replica_lag_time_max_ms * 500)
    replication.shrink_isrs(broker, out)


def _on_high_watermark_checkpoint(broker: Broker, source: str, timer: HighWatermarkCheckpoint, out: Outbox) -> None:
    out.because(0)
    out.arm(timer, after_us=broker.settings.high_watermark_checkpoint_us)
    logs.checkpoint_high_watermarks(broker, out)


def _on_recovery_point_checkpoint(broker: Broker, source: str, timer: RecoveryPointCheckpoint, out: Outbox) -> None:
    out.because(0)
    out.arm(timer, after_us=RECOVERY_POINT_CHECKPOINT_US)
    logs.checkpoint_recovery_points(broker, out)


def _on_retention_check(broker: Broker, source: str, timer: RetentionCheck, out: Outbox) -> None:
    out.because(0)
    out.arm(timer, after_us=broker.settings.retention_check_us)
    logs.delete_old_segments(broker, out)


_APIS: dict[type[Any], Handler] = {
    ProduceRequest: produce.handle,
    FetchRequest: fetch.handle,
    ListOffsetsRequest: list_offsets.handle,
    OffsetForLeaderEpochRequest: offset_for_leader_epoch.handle,
    MetadataRequest: metadata.handle,
    InitProducerIdRequest: init_producer_id.handle,
    DescribeConfigsRequest: describe_configs.handle,
    DeleteRecordsRequest: delete_records.handle,
    FindCoordinatorRequest: find_coordinator.handle,
    **group_dispatch.APIS,
    **share_dispatch.APIS,
    AddPartitionsToTxnRequest: transactions.add_partitions,
    EndTxnRequest: transactions.end_transaction,
    TxnOffsetCommitRequest: txn_offset_commit.handle,
    AddOffsetsToTxnRequest: txn_offset_commit.add_offsets,
    WriteTxnMarkersRequest: write_txn_markers.handle,
    DescribeTransactionRequest: describe_transactions.describe,
    ListTransactionsRequest: describe_transactions.list_all,
    DescribeProducersRequest: describe_transactions.describe_producers,
    CreateTopicsRequest: forwarding.handle,
    DeleteTopicsRequest: forwarding.handle,
    CreatePartitionsRequest: forwarding.handle,
    IncrementalAlterConfigsRequest: forwarding.handle,
    ElectLeadersRequest: forwarding.handle,
    AlterPartitionReassignmentsRequest: forwarding.handle,
    UnregisterBrokerRequest: forwarding.handle,
    DescribeQuorumRequest: forwarding.handle,
    ListPartitionReassignmentsRequest: forwarding.handle,
    AlterClientQuotasRequest: forwarding.handle,
    DescribeClientQuotasRequest: forwarding.handle,
    CreateAclsRequest: acls.handle,
    DeleteAclsRequest: acls.handle,
    DescribeAclsRequest: acls.handle,
    SaslAuthenticateRequest: sasl.handle,
    AlterUserScramCredentialsRequest: forwarding.handle,
    DescribeUserScramCredentialsRequest: forwarding.handle,
}
"""What clients and other brokers ask."""

_HANDLERS: dict[type[Any], Handler] = {
    FetchResponse: fetcher.on_response,
    ListOffsetsResponse: fetcher.on_offsets,
    FetchExpired: fetch.on_expired,
    ProduceExpired: produce.on_expired,
    FetcherTimeout: fetcher.on_timeout,
    FetcherBackoff: fetcher.on_backoff,
    CleanerWake: on_cleaner_wake,
    CleanerStep: on_cleaner_step,
    DeleteRecordsExpired: delete_records.on_expired,
    BrokerRegistrationResponse: _on_controller_response,
    BrokerHeartbeatResponse: _on_controller_response,
    AlterPartitionResponse: _on_controller_response,
    AllocateProducerIdsResponse: _on_controller_response,
    EnvelopeResponse: _on_controller_response,
    ControllerRetry: controller_channel.on_retry,
    ControllerCallTimeout: _on_call_timeout,
    AlterPartitionRetry: _on_alter_retry,
    CoordinatorLoad: coordinators.on_load,
    CoordinatorWriteExpired: coordinators.on_write_expired,
    **group_dispatch.HANDLERS,
    **share_dispatch.HANDLERS,
    AddPartitionsToTxnResponse: transaction_verification.on_response,
    WriteTxnMarkersResponse: on_markers_written,
    MarkerRetry: on_marker_retry,
    MarkerTimeout: on_marker_timeout,
    VerificationRetry: transaction_verification.on_retry,
    VerificationTimeout: transaction_verification.on_timeout,
    TransactionSweep: transactions.on_sweep,
    TransactionalIdExpiry: transactions.on_expiry,
    LifecycleTick: _on_lifecycle_tick,
    IsrShrinkCheck: _on_isr_check,
    HighWatermarkCheckpoint: _on_high_watermark_checkpoint,
    RecoveryPointCheckpoint: _on_recovery_point_checkpoint,
    RetentionCheck: _on_retention_check,
    ControlledShutdownTimeout: _on_shutdown_timeout,
    Unmute: _on_unmute,
    BeginShutdown: _on_begin_shutdown,
    Disconnected: _on_disconnected,
}
"""Answers, timers and notices. The metadata quorum's own messages go to the observer."""
