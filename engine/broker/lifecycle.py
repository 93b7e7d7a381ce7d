"""The life of a broker process: registration, heartbeats, unfencing, controlled shutdown (KIP-631, KIP-841, KIP-966).

Kafka's ``BrokerLifecycleManager``. One registration or heartbeat is under way at a time; failures back off exponentially.
"""

from __future__ import annotations

from engine.broker import controller_channel, logs
from engine.broker.settings import (
    CONTROLLED_SHUTDOWN_TIMEOUT_US,
    INITIAL_TASK_DELAY_US,
    RECOVERY_POINT_CHECKPOINT_US,
)  # fmt: skip
from engine.broker.state import REGISTERING, RUNNING, SHUTTING_DOWN, Broker
from engine.broker.timers import (
    ControlledShutdownTimeout,
    HighWatermarkCheckpoint,
    IsrShrinkCheck,
    LifecycleTick,
    RecoveryPointCheckpoint,
    RetentionCheck,
)  # fmt: skip
from engine.messages.base import Message
from engine.messages.cluster import (
    BrokerHeartbeatRequest,
    BrokerHeartbeatResponse,
    BrokerRegistrationRequest,
    BrokerRegistrationResponse,
)  # fmt: skip
from engine.sim.outbox import Outbox

FIRST_BACKOFF_US = 100_000
CATCHING_UP_US = 10_000
"""While it starts, a broker asks often whether it has caught up, so that a start without recovery is quick."""
SHUTDOWN_POLL_US = 50_000
"""After the first answer to "may I stop?"; later ones come at the pace of heartbeats."""


def start(broker: Broker, out: Outbox) -> None:
    broker.lifecycle = REGISTERING
    stream = out.stream("incarnation")
    broker.incarnation_id = logs.kafka_uuid(stream.bits(), stream.bits())
    settings = broker.settings
    out.arm(IsrShrinkCheck(), after_us=settings.replica_lag_time_max_ms * 500)
    out.arm(HighWatermarkCheckpoint(), after_us=settings.high_watermark_checkpoint_us)
    out.arm(RecoveryPointCheckpoint(), after_us=RECOVERY_POINT_CHECKPOINT_US)
    out.arm(RetentionCheck(), after_us=INITIAL_TASK_DELAY_US)
    _register(broker, out)


def on_tick(broker: Broker, out: Outbox) -> None:
    if broker.broker_epoch < 0:
        _register(broker, out)
    else:
        _heartbeat(broker, out)


def _register(broker: Broker, out: Outbox) -> None:
    """``previous_broker_epoch`` is -1 unless the last stop was clean: then the replicas here may be trusted with their ELR place."""
    request = BrokerRegistrationRequest(
        broker.correlation(), broker.broker_id, broker.incarnation_id, broker.rack, broker.previous_broker_epoch
    )
    _call(broker, request, out)


def _heartbeat(broker: Broker, out: Outbox) -> None:
    request = BrokerHeartbeatRequest(
        broker.correlation(), broker.broker_id, broker.broker_epoch, broker.image.offset,
        not broker.serving, broker.lifecycle == SHUTTING_DOWN,
    )  # fmt: skip
    _call(broker, request, out)


def _call(broker: Broker, request: BrokerRegistrationRequest | BrokerHeartbeatRequest, out: Outbox) -> None:
    for pending in list(broker.calls.values()):
        if pending.purpose == controller_channel.LIFECYCLE:
            return  # one at a time; its answer schedules the next
    controller_channel.call(broker, request, controller_channel.LIFECYCLE, out, within_us=broker.settings.session_timeout_us // 2)


def _next_tick(broker: Broker, after_us: int, out: Outbox) -> None:
    """Heartbeats are nobody's doing: a chain of causes ends here."""
    out.because(0)
    out.arm(LifecycleTick(), after_us=after_us)


def on_failure(broker: Broker, out: Outbox) -> None:
    """No answer, or a refusal: 100 ms, doubled each time, up to half the session timeout, a little random."""
    ceiling = broker.settings.session_timeout_us // 2
    wait = min(FIRST_BACKOFF_US << min(broker.heartbeat_failures, 10), ceiling)
    broker.heartbeat_failures += 1
    _next_tick(broker, wait + out.stream("lifecycle").below(wait // 50 + 1), out)


def on_response(broker: Broker, response: Message, out: Outbox) -> None:
    if isinstance(response, BrokerRegistrationResponse):
        _on_registered(broker, response, out)
    elif isinstance(response, BrokerHeartbeatResponse):
        if response.error != "NONE":
            on_failure(broker, out)
        else:
            broker.heartbeat_failures = 0
            _on_heartbeat(broker, response, out)


def _on_registered(broker: Broker, response: BrokerRegistrationResponse, out: Outbox) -> None:
    if response.error != "NONE":
        on_failure(broker, out)
        return
    broker.heartbeat_failures = 0
    broker.broker_epoch = response.broker_epoch
    _heartbeat(broker, out)


def _on_heartbeat(broker: Broker, response: BrokerHeartbeatResponse, out: Outbox) -> None:
    broker.fenced = response.is_fenced
    interval = broker.settings.heartbeat_interval_us
    if broker.lifecycle == SHUTTING_DOWN:
        if response.should_shut_down:
            stop(broker, out)
            return
        first, broker.shutdown_answered = not broker.shutdown_answered, True
        _next_tick(broker, SHUTDOWN_POLL_US if first else interval, out)
    elif not broker.serving:
        broker.caught_up = broker.caught_up or response.is_caught_up
        _next_tick(broker, CATCHING_UP_US, out)
    else:
        if not response.is_fenced:
            broker.lifecycle = RUNNING
        _next_tick(broker, interval, out)


# -- stopping ------------------------------------------------------------------------------------------------------------------------------


def begin_shutdown(broker: Broker, out: Outbox) -> None:
    """SIGTERM: asks the controller to move the leaderships away first; without that wish, or not registered, stops at once."""
    if broker.lifecycle == SHUTTING_DOWN:
        return
    unregistered = broker.broker_epoch < 0
    broker.lifecycle = SHUTTING_DOWN
    if unregistered or not broker.settings.controlled_shutdown:
        stop(broker, out)
        return
    out.arm(ControlledShutdownTimeout(), after_us=CONTROLLED_SHUTDOWN_TIMEOUT_US)
    out.cancel(LifecycleTick())
    _heartbeat(broker, out)


def stop(broker: Broker, out: Outbox) -> None:
    """Everything flushed, the clean marker written, the process ends."""
    logs.close_clean(broker, out)
    out.exit()
