"""Markers on their way from the coordinator to the partitions' leaders: Kafka's ``TransactionMarkerChannelManager``.

One request at a time goes to each broker; what fails for a reason that passes is sent again to whoever leads then, until every
partition of the transaction has its marker. A partition that was deleted needs none.
"""

from __future__ import annotations

from engine.broker import coordinators, transactions
from engine.broker.state import Broker
from engine.broker.timers import MarkerRetry, MarkerTimeout
from engine.broker.transaction_state import NOBODY, MarkersUnderWay, QueuedMarker
from engine.coordination import transactions as machine
from engine.coordination.transaction_records import TransactionMetadata
from engine.messages.base import TopicPartition
from engine.messages.groups import PartitionError
from engine.messages.transactions import TxnMarker, WriteTxnMarkersRequest, WriteTxnMarkersResponse
from engine.metadata.internal_topics import TRANSACTION_STATE
from engine.sim.outbox import Outbox
from engine.spec import broker_name

RETRY_US = 100_000
TIMEOUT_US = 30_000_000
"""``request.timeout.ms`` of the broker."""
OBSOLETE = ("INVALID_PRODUCER_EPOCH", "TRANSACTION_COORDINATOR_FENCED")
"""Somebody else has gone on with this producer: the marker is no longer wanted."""
WITHOUT = ("UNSUPPORTED_FOR_MESSAGE_FORMAT", "UNSUPPORTED_VERSION")


def enqueue(
    broker: Broker,
    known: TransactionMetadata,
    state_partition: int,
    coordinator_epoch: int,
    partitions: tuple[TopicPartition, ...],
    out: Outbox,
) -> tuple[TopicPartition, ...]:
    """By the broker that leads each partition now. Returns those that exist: only they need a marker."""
    committed = known.state == machine.PREPARE_COMMIT
    if "abort-marker-missing" in broker.mutants and not committed:
        partitions = partitions[1:]
    by_leader: dict[int, list[TopicPartition]] = {}
    for partition in partitions:
        image = broker.image.partition(partition)
        if image is not None:
            registration = broker.image.brokers.get(image.leader)
            leader = image.leader if registration is not None and not registration.fenced else NOBODY
            by_leader.setdefault(leader, []).append(partition)
    for leader, led in by_leader.items():
        broker.transactions.queued.setdefault(leader, []).append(
            QueuedMarker(
                known.transactional_id, state_partition, known.producer_id, known.producer_epoch, committed, coordinator_epoch,
                known.client_version, tuple(led), out.cause,
            )
        )  # fmt: skip
    return tuple([partition for led in by_leader.values() for partition in led])


def send_all(broker: Broker, out: Outbox) -> None:
    channels = broker.transactions
    cause = out.cause
    if NOBODY in channels.queued:
        retry_soon(broker, out)
    for leader in list(channels.queued):
        if leader == NOBODY or leader in channels.under_way:
            continue
        markers = tuple(channels.queued.pop(leader))
        number = broker.correlation()
        channels.under_way[leader] = MarkersUnderWay(number, markers)
        asked = tuple(
            [TxnMarker(m.producer_id, m.producer_epoch, m.committed, m.coordinator_epoch, m.partitions, m.version) for m in markers]
        )
        out.because(markers[-1].cause)
        out.send(broker_name(leader), WriteTxnMarkersRequest(number, asked))
        out.arm(MarkerTimeout(leader), after_us=TIMEOUT_US)
    out.because(cause)


def retry_soon(broker: Broker, out: Outbox) -> None:
    if not broker.transactions.retry_armed:
        broker.transactions.retry_armed = True
        out.arm(MarkerRetry(), after_us=RETRY_US)


def on_retry(broker: Broker, source: str, timer: MarkerRetry, out: Outbox) -> None:
    """Markers that found no leader, and completions that could not be written."""
    channels = broker.transactions
    channels.retry_armed = False
    for marker in channels.queued.pop(NOBODY, ()):
        out.because(marker.cause)
        _again(broker, marker, marker.partitions, out)
    out.because(0)
    unwritten, channels.unwritten = channels.unwritten, []
    for state_partition, transactional_id in unwritten:
        replica, _ = coordinators.locate_partition(broker, TopicPartition(TRANSACTION_STATE, state_partition))
        if replica is not None and not transactions.state_of(replica).unmarked.get(transactional_id):
            transactions.complete(broker, replica, transactional_id, out)
    out.because(0)
    send_all(broker, out)


def _again(broker: Broker, marker: QueuedMarker, partitions: tuple[TopicPartition, ...], out: Outbox) -> None:
    """Queued anew, by today's leaders; or dropped, if this broker no longer coordinates the transaction as it did."""
    replica, _ = coordinators.locate_partition(broker, TopicPartition(TRANSACTION_STATE, marker.state_partition))
    if replica is None or replica.shard is None or replica.shard.leader_epoch != marker.coordinator_epoch:
        return
    shard = transactions.state_of(replica)
    known = shard.transactions.get(marker.transactional_id)
    missing = shard.unmarked.get(marker.transactional_id)
    if known is None or missing is None or known.producer_epoch != marker.producer_epoch:
        return
    existing = enqueue(broker, known, marker.state_partition, marker.coordinator_epoch, partitions, out)
    gone = [partition for partition in partitions if partition not in existing]
    shard.unmarked[marker.transactional_id] = left = tuple([partition for partition in missing if partition not in gone])
    if not left:
        transactions.complete(broker, replica, marker.transactional_id, out)


def on_response(broker: Broker, source: str, response: WriteTxnMarkersResponse, out: Outbox) -> None:
    """``TransactionMarkerRequestCompletionHandler``."""
    channels = broker.transactions
    for leader, under_way in channels.under_way.items():
        if under_way.correlation_id == response.correlation_id and broker_name(leader) == source:
            break
    else:
        return
    del channels.under_way[leader]
    out.cancel(MarkerTimeout(leader))
    cause = out.cause
    for marker, (_, results) in zip(under_way.markers, response.results, strict=True):
        out.because(cause)
        _take_results(broker, marker, results, out)
    out.because(cause)
    send_all(broker, out)


def _take_results(broker: Broker, marker: QueuedMarker, results: tuple[PartitionError, ...], out: Outbox) -> None:
    replica, _ = coordinators.locate_partition(broker, TopicPartition(TRANSACTION_STATE, marker.state_partition))
    if replica is None or replica.shard is None or replica.shard.leader_epoch != marker.coordinator_epoch:
        return
    shard = transactions.state_of(replica)
    missing = shard.unmarked.get(marker.transactional_id)
    if missing is None or any(result.error in OBSOLETE for result in results):
        return
    done = [result.partition for result in results if result.error == "NONE" or result.error in WITHOUT]
    again = tuple([result.partition for result in results if result.partition not in done])
    shard.unmarked[marker.transactional_id] = left = tuple([partition for partition in missing if partition not in done])
    if again:
        late = marker._replace(partitions=again)
        broker.transactions.queued.setdefault(NOBODY, []).append(late)
        retry_soon(broker, out)
    elif not left:
        transactions.complete(broker, replica, marker.transactional_id, out)


def on_timeout(broker: Broker, source: str, timer: MarkerTimeout, out: Outbox) -> None:
    _give_up(broker, timer.leader_id, out)


def on_disconnected(broker: Broker, leader: int, out: Outbox) -> None:
    if leader in broker.transactions.under_way:
        out.cancel(MarkerTimeout(leader))
        _give_up(broker, leader, out)


def _give_up(broker: Broker, leader: int, out: Outbox) -> None:
    """Nobody knows whether they were written: to repeat a marker does no harm."""
    under_way = broker.transactions.under_way.pop(leader, None)
    if under_way is not None:
        broker.transactions.queued.setdefault(NOBODY, []).extend(under_way.markers)
        retry_soon(broker, out)


def forget(broker: Broker, state_partition: int) -> None:
    """This broker no longer coordinates these transactions (``removeMarkersForTxnTopicPartition``)."""
    channels = broker.transactions
    for leader, queue in list(channels.queued.items()):
        left = [marker for marker in queue if marker.state_partition != state_partition]
        if left:
            channels.queued[leader] = left
        else:
            del channels.queued[leader]
    channels.unwritten = [item for item in channels.unwritten if item[0] != state_partition]
