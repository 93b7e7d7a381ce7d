"""Client quotas at one broker: what each client used, and for how long one that used too much is not read (fact 49).

Kafka's ``ClientQuotaManager`` with its ``Rate`` over ``quota.window.num`` samples of ``quota.window.size.seconds``: the average over at
least ten whole seconds, so that a burst within them passes. A response leaves at once, with the throttle time in it; it is the *channel*
that rests. A fetch above its quota is answered without records, which the client asks for again afterwards.

A simulated broker has no processor to measure, so ``request_percentage`` counts a modelled time: so much per request and per byte.
"""

from __future__ import annotations

import msgspec

from engine.broker.rates import Usage
from engine.broker.state import Broker, Channel
from engine.events import ClientThrottled
from engine.messages.base import Request, Response
from engine.messages.fetch import FetchRequest, FetchResponse
from engine.messages.produce import ProduceRequest, ProduceResponse
from engine.metadata.client_quotas import CONSUMER_BYTE_RATE, PRODUCER_BYTE_RATE, REQUEST_PERCENTAGE, limit_for
from engine.sim.outbox import Outbox

REQUEST_OVERHEAD_BYTES = 60
"""A request's own header and field bytes, about."""
THREAD_US_PER_REQUEST = 100
THREAD_US_PER_KIB = 2
"""The model of what a request costs of the network and request handler threads."""


class Violation(msgspec.Struct, frozen=True):
    quota: str
    user: str
    rate: float
    limit: float
    throttle_time_ms: int


def charge(broker: Broker, channel: Channel, quota: str, amount: float, now_ms: int) -> Violation | None:
    """Records ``amount`` for whoever uses the channel; a violation where the average now lies above the limit."""
    found = limit_for(broker.image.quotas, quota, channel.user or "ANONYMOUS", channel.client_id)
    if found is None:
        return None
    key, limit = found
    usage = broker.usage.get(key)
    if usage is None:
        usage = broker.usage[key] = Usage()
    settings = broker.settings
    count, window_ms = settings.quota_window_num, settings.quota_window_ms
    usage.record(amount, now_ms, count, window_ms)
    rate = usage.rate(now_ms, count, window_ms)
    usage.limit = limit
    if rate <= limit:
        return None
    throttle_ms = round((rate - limit) / limit * usage.window_ms(now_ms, count, window_ms))
    if quota == REQUEST_PERCENTAGE:
        throttle_ms = min(throttle_ms, window_ms)
    return Violation(quota, key[1], rate, limit, throttle_ms) if throttle_ms > 0 else None


def take_back(broker: Broker, channel: Channel, quota: str, amount: float, now_ms: int) -> None:
    """``unrecordQuotaSensor``: a throttled fetch carries nothing, so nothing was used."""
    found = limit_for(broker.image.quotas, quota, channel.user or "ANONYMOUS", channel.client_id)
    if found is not None:
        settings = broker.settings
        broker.usage[found[0]].record(-amount, now_ms, settings.quota_window_num, settings.quota_window_ms)


def most_in_one_fetch(broker: Broker, channel: Channel) -> int:
    """``getMaxValueInQuotaWindow``: more bytes than that in one response would always be throttled. -1: no limit."""
    found = limit_for(broker.image.quotas, CONSUMER_BYTE_RATE, channel.user or "ANONYMOUS", channel.client_id)
    if found is None:
        return -1
    settings = broker.settings
    return int(found[1] * (settings.quota_window_num - 1) * settings.quota_window_ms / 1000)


def request_bytes(request: Request) -> int:
    if isinstance(request, ProduceRequest):
        return REQUEST_OVERHEAD_BYTES + sum([len(item.batch) for item in request.items])
    return REQUEST_OVERHEAD_BYTES


def response_bytes(response: Response) -> int:
    if isinstance(response, FetchResponse):
        return REQUEST_OVERHEAD_BYTES + sum([len(batch) for result in response.results for batch in result.batches])
    return REQUEST_OVERHEAD_BYTES


def settle(broker: Broker, source: str, channel: Channel, response: Response, asked_bytes: int, out: Outbox) -> Response:
    """What leaves instead of ``response``: with a throttle time where a quota is exceeded, and then the channel is muted."""
    now_ms = out.now // 1000
    size = response_bytes(response)
    violation = None
    if isinstance(response, ProduceResponse):
        violation = charge(broker, channel, PRODUCER_BYTE_RATE, asked_bytes, now_ms)
    elif isinstance(response, FetchResponse):
        violation = charge(broker, channel, CONSUMER_BYTE_RATE, size, now_ms)
        if violation is not None:
            take_back(broker, channel, CONSUMER_BYTE_RATE, size, now_ms)
    busy_us = THREAD_US_PER_REQUEST + THREAD_US_PER_KIB * (asked_bytes + size) / 1024
    other = charge(broker, channel, REQUEST_PERCENTAGE, busy_us / 10_000, now_ms)
    if other is not None and (violation is None or other.throttle_time_ms > violation.throttle_time_ms):
        violation = other
    if violation is None:
        return response
    throttle(broker, source, channel, violation, out)
    if isinstance(response, FetchResponse):
        return FetchResponse(response.correlation_id, (), "NONE", violation.throttle_time_ms)
    if "throttle_time_ms" in response.__struct_fields__:
        return msgspec.structs.replace(response, throttle_time_ms=violation.throttle_time_ms)
    return response


def throttle(broker: Broker, source: str, channel: Channel, violation: Violation, out: Outbox) -> None:
    """The channel is muted: what arrives waits in the socket."""
    out.emit(
        ClientThrottled(
            broker.broker_id, channel.client_id or source, violation.user, violation.quota, round(violation.rate, 3),
            violation.limit, violation.throttle_time_ms,
        )
    )  # fmt: skip
    channel.muted_until_us = out.now + violation.throttle_time_ms * 1000
    found = limit_for(broker.image.quotas, violation.quota, channel.user or "ANONYMOUS", channel.client_id)
    if found is not None:
        usage = broker.usage[found[0]]
        usage.throttle_time_ms, usage.throttled_us = violation.throttle_time_ms, out.now


def settle_without_response(broker: Broker, source: str, channel: Channel, request: ProduceRequest, out: Outbox) -> None:
    """acks=0: nobody can be told, but the channel rests all the same."""
    violation = charge(broker, channel, PRODUCER_BYTE_RATE, request_bytes(request), out.now // 1000)
    if violation is not None:
        throttle(broker, source, channel, violation, out)


def capped(broker: Broker, channel: Channel, request: FetchRequest) -> FetchRequest:
    """A consumer's fetch, asking for no more than its quota could ever let pass."""
    most = most_in_one_fetch(broker, channel)
    if 0 <= most < request.max_bytes:
        return msgspec.structs.replace(request, max_bytes=most, min_bytes=min(request.min_bytes, most))
    return request
