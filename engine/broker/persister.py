"""How a broker reaches the share coordinator: Kafka's ``DefaultStatePersister`` with its ``PersisterStateManager``.

A call goes to whoever leads the share partition's part of ``__share_group_state``; what fails for a reason that passes is sent again, a few
times. The first call creates the topic.
"""

from __future__ import annotations

from engine.broker.apis import metadata
from engine.broker.share_channels import PersisterCall
from engine.broker.state import Broker
from engine.broker.timers import PersisterRetry, PersisterTimeout
from engine.coordination.java_hash import partition_for
from engine.coordination.share_state import share_of
from engine.messages.base import Response
from engine.metadata.internal_topics import SHARE_GROUP_STATE
from engine.sim.outbox import Outbox
from engine.spec import broker_name

BACKOFF_US, BACKOFF_MAX_US = 1_000_000, 30_000_000
"""``PersisterStateManager.REQUEST_BACKOFF_MS``: doubled each time."""
MAX_ATTEMPTS = 5
TIMEOUT_US = 30_000_000
PASSING = ("COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS", "NOT_COORDINATOR", "NETWORK_EXCEPTION")


def submit(broker: Broker, call: PersisterCall, out: Outbox) -> int:
    """Returns the call's number, by which its outcome is told."""
    channels = broker.share
    number = channels.next_number
    channels.next_number = number + 1
    call.cause = out.cause
    channels.calls[number] = call
    _send(broker, number, call, out)
    return number


def _send(broker: Broker, number: int, call: PersisterCall, out: Outbox) -> bool:
    """False: it was tried often enough."""
    call.destination = _coordinator(broker, call, out)
    if not call.destination:
        return _retry_later(number, call, out)
    call.correlation_id = broker.correlation()
    out.send(call.destination, call.request(call.correlation_id))
    out.arm(PersisterTimeout(number), after_us=TIMEOUT_US)
    return True


def _coordinator(broker: Broker, call: PersisterCall, out: Outbox) -> str:
    topic = broker.image.topics.get(SHARE_GROUP_STATE)
    if topic is None:
        metadata.create_topic(broker, SHARE_GROUP_STATE, out)
        return ""
    share = share_of(broker.image, call.group_id, call.partition)
    if share is None or not topic.partitions:
        return ""
    partition = topic.partitions.get(partition_for(share.coordinator_key(), len(topic.partitions)))
    return broker_name(partition.leader) if partition is not None and partition.leader >= 0 else ""


def _retry_later(number: int, call: PersisterCall, out: Outbox) -> bool:
    """False: it was tried often enough."""
    call.correlation_id = -1
    if call.attempts >= MAX_ATTEMPTS:
        return False
    wait = min(BACKOFF_US << call.attempts, BACKOFF_MAX_US)
    call.attempts += 1
    out.arm(PersisterRetry(number), after_us=wait)
    return True


def retry(broker: Broker, number: int, out: Outbox) -> PersisterCall | None:
    """The call, where it has been tried often enough."""
    call = broker.share.calls.get(number)
    if call is None or call.correlation_id >= 0:
        return None
    out.because(call.cause)
    if _send(broker, number, call, out):
        return None
    return broker.share.calls.pop(number)


def finished(broker: Broker, source: str, response: Response, out: Outbox) -> tuple[int, PersisterCall] | None:
    """The call that this is the last word on, or None: nobody waits for it, or it is tried again."""
    asked = [
        (number, call)
        for number, call in broker.share.calls.items()
        if call.correlation_id == response.correlation_id and call.destination == source
    ]
    if not asked:
        return None
    number, call = asked[0]
    out.cancel(PersisterTimeout(number))
    error: str = response.error  # type: ignore[attr-defined]
    if error in PASSING and _retry_later(number, call, out):
        return None
    del broker.share.calls[number]
    return number, call


def failed(broker: Broker, number: int, out: Outbox) -> PersisterCall | None:
    """Its answer is not to be had: the call if that is the last word, None if it is tried again."""
    call = broker.share.calls.get(number)
    if call is None or _retry_later(number, call, out):
        return None
    return broker.share.calls.pop(number)


def forget(broker: Broker, number: int, out: Outbox) -> None:
    """Nobody wants to know any more."""
    if broker.share.calls.pop(number, None) is not None:
        out.cancel(PersisterRetry(number))
        out.cancel(PersisterTimeout(number))
