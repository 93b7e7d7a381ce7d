"""The messages on the wire right now, each with a label short enough for the stage."""

from __future__ import annotations

from collections.abc import Callable
from heapq import nsmallest
from typing import Any

from engine import limits
from engine.log.record_batch import read_header
from engine.messages import admin, cluster, fetch, produce, quorum
from engine.messages.base import Message
from engine.sim.kernel import Kernel
from engine.view.tree import FlightView


def flights(kernel: Kernel) -> list[FlightView]:
    """In the order of arrival, at most ``limits.MAX_IN_FLIGHT_SHOWN``. Messages whose connection broke meanwhile are gone already; what a
    broker sends to itself (a coordinator to a leader that it is as well) leaves no machine."""
    links = kernel.links
    travelling = [
        entry
        for entry in kernel.queue
        if entry[6] >= 0 and entry[2] != entry[3] and links[entry[3], entry[2]].generation == entry[6]
    ]
    if len(travelling) > limits.MAX_IN_FLIGHT_SHOWN:
        travelling = nsmallest(limits.MAX_IN_FLIGHT_SHOWN, travelling, key=_order)
    else:
        travelling.sort(key=_order)
    return [
        FlightView(seq, source, target, type(body).__name__, sent_us, at, label(body))  # type: ignore[arg-type]
        for at, seq, target, source, body, _, _, sent_us in travelling
    ]


def _order(entry: tuple[Any, ...]) -> tuple[int, int]:
    return entry[0], entry[1]


def label(message: Message) -> str:
    """ "Fetch orders-0@5", "Produce 3 records" …; for the rest their name in words."""
    kind = type(message)
    maker = _LABELS.get(kind)
    if maker is not None:
        return maker(message)
    return _words(kind.__name__)


def _words(name: str) -> str:
    """ "BrokerHeartbeatRequest" → "Broker heartbeat"; "…Response" → "… answered"."""
    answered = name.endswith("Response")
    stem = name.removesuffix("Response").removesuffix("Request")
    spaced = "".join(f" {letter.lower()}" if letter.isupper() and position else letter for position, letter in enumerate(stem))
    return f"{spaced} answered" if answered else spaced


def _fetch(message: fetch.FetchRequest) -> str:
    items = message.items
    if len(items) == 1:
        return f"Fetch {items[0].partition}@{items[0].fetch_offset}"
    return f"Fetch {len(items)} partitions"


def _fetched(message: fetch.FetchResponse) -> str:
    full = [result for result in message.results if result.batches]
    wrong = [result for result in message.results if result.error != "NONE"]
    if message.error != "NONE":
        return message.error
    if full:
        records = sum(read_header(batch).record_count for result in full for batch in result.batches)
        where = str(full[0].partition) if len(full) == 1 else f"{len(full)} partitions"
        return f"{records} record{'' if records == 1 else 's'} of {where}"
    if wrong:
        return f"{wrong[0].partition}: {wrong[0].error}"
    diverging = next((result for result in message.results if result.diverging_epoch >= 0), None)
    if diverging is not None:
        return f"{diverging.partition} diverges at {diverging.diverging_offset}"
    return "Nothing new"


def _produce(message: produce.ProduceRequest) -> str:
    records = sum(read_header(item.batch).record_count for item in message.items)
    return f"Produce {records} record{'' if records == 1 else 's'}"


def _produced(message: produce.ProduceResponse) -> str:
    wrong = next((result for result in message.results if result.error != "NONE"), None)
    if wrong is not None:
        return f"{wrong.partition}: {wrong.error}"
    if len(message.results) == 1:
        return f"Ack {message.results[0].partition}@{message.results[0].base_offset}"
    return f"Ack {len(message.results)} batches"


def _alter_partition(message: cluster.AlterPartitionRequest) -> str:
    if len(message.partitions) != 1:
        return f"Alter ISR of {len(message.partitions)} partitions"
    item = message.partitions[0]
    return f"Alter ISR of {item.partition} to {','.join(str(broker.broker_id) for broker in item.new_isr)}"


def _quorum_fetched(message: quorum.QuorumFetchResponse) -> str:
    if message.error != "NONE":
        return message.error
    records = sum(read_header(batch).record_count for batch in message.batches)
    return f"Metadata: {records} record{'' if records == 1 else 's'}" if records else "Metadata: nothing new"


_LABELS: dict[type[Message], Callable[[Any], str]] = {
    fetch.FetchRequest: _fetch,
    fetch.FetchResponse: _fetched,
    produce.ProduceRequest: _produce,
    produce.ProduceResponse: _produced,
    cluster.BrokerHeartbeatRequest: lambda m: "Heartbeat",
    cluster.BrokerHeartbeatResponse: lambda m: "Heartbeat answered",
    cluster.AlterPartitionRequest: _alter_partition,
    cluster.EnvelopeRequest: lambda m: f"Forwarded: {label(m.request)}",
    quorum.VoteRequest: lambda m: f"{'Pre-vote' if m.pre_vote else 'Vote'} for {m.candidate_id}? epoch {m.epoch}",
    quorum.VoteResponse: lambda m: "Yes" if m.granted else "No",
    quorum.QuorumFetchRequest: lambda m: f"Fetch metadata@{m.fetch_offset}",
    quorum.QuorumFetchResponse: _quorum_fetched,
    admin.MetadataRequest: lambda m: "Metadata?",
    admin.MetadataResponse: lambda m: "Metadata",
}
