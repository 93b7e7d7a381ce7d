"""What a broker counts of its own traffic, for the metrics that no event tells of: requests by kind and the time they took, bytes out.

Kafka's ``RequestMetrics`` and ``BrokerTopicStats``. Counters lie in one list by position, in buckets of five seconds of which a minute is kept;
times in a sparse histogram with sixteen steps per octave. A restarted broker begins anew, as JMX does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.messages import admin as am
from engine.messages import fetch as fm
from engine.messages import groups as gm
from engine.messages import produce as pm
from engine.messages import security as sm
from engine.messages import share_groups as hm
from engine.messages import transactions as tm

BUCKET_US = 5_000_000
BUCKETS = 12

PRODUCE_ITEMS, FETCH_ITEMS, FAILED_FETCHES, BYTES_OUT, REPLICATION_BYTES_OUT, REPLICATION_BYTES_IN = range(6)
"""Positions of the counters of ``BrokerTopicMetrics``; those of the requests by kind follow."""

_KINDS: tuple[tuple[type[Any], str], ...] = (
    (pm.ProduceRequest, "Produce"), (fm.FetchRequest, "FetchConsumer"), (fm.FetchRequest, "FetchFollower"),
    (fm.ListOffsetsRequest, "ListOffsets"), (fm.OffsetForLeaderEpochRequest, "OffsetForLeaderEpoch"), (am.MetadataRequest, "Metadata"),
    (pm.InitProducerIdRequest, "InitProducerId"), (gm.FindCoordinatorRequest, "FindCoordinator"), (gm.JoinGroupRequest, "JoinGroup"),
    (gm.SyncGroupRequest, "SyncGroup"), (gm.HeartbeatRequest, "Heartbeat"), (gm.LeaveGroupRequest, "LeaveGroup"),
    (gm.OffsetCommitRequest, "OffsetCommit"), (gm.OffsetFetchRequest, "OffsetFetch"),
    (gm.ConsumerGroupHeartbeatRequest, "ConsumerGroupHeartbeat"), (hm.ShareGroupHeartbeatRequest, "ShareGroupHeartbeat"),
    (hm.ShareFetchRequest, "ShareFetch"), (hm.ShareAcknowledgeRequest, "ShareAcknowledge"),
    (tm.AddPartitionsToTxnRequest, "AddPartitionsToTxn"), (tm.EndTxnRequest, "EndTxn"), (tm.WriteTxnMarkersRequest, "WriteTxnMarkers"),
    (tm.TxnOffsetCommitRequest, "TxnOffsetCommit"), (sm.SaslAuthenticateRequest, "SaslAuthenticate"),
    (tm.AddOffsetsToTxnRequest, "AddOffsetsToTxn"), (am.CreateTopicsRequest, "CreateTopics"), (am.DeleteTopicsRequest, "DeleteTopics"),
    (am.DeleteRecordsRequest, "DeleteRecords"), (am.IncrementalAlterConfigsRequest, "IncrementalAlterConfigs"),
)  # fmt: skip
REQUEST_NAMES: tuple[str, ...] = tuple(name for _, name in _KINDS)
"""As the ``request`` tag of ``kafka.network:type=RequestMetrics`` has them."""
FIRST_REQUEST = 6
FETCH_CONSUMER, FETCH_FOLLOWER = FIRST_REQUEST + 1, FIRST_REQUEST + 2
REQUESTS: dict[type[Any], int] = {
    kind: FIRST_REQUEST + number for number, (kind, _) in enumerate(_KINDS) if kind is not fm.FetchRequest
}
"""What is counted on arrival. A fetch is counted where it is told whose it is."""
COUNTERS = FIRST_REQUEST + len(_KINDS)
PRODUCE_TIME, CONSUMER_TIME, FOLLOWER_TIME = "Produce", "FetchConsumer", "FetchFollower"
GENERATION_US = 60_000_000
SHARES = (0.5, 0.99)


@dataclass(slots=True)
class Meters:
    """``sums`` adds up ``past``. ``times``: request → step of the histogram → how often, since ``times_since_us``; ``older_times`` of the
    generation before; ``shown_times``: request → median and 99th percentile in milliseconds as of the last whole bucket."""

    started_us: int = 0
    number: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * COUNTERS)
    past: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    sums: tuple[int, ...] = (0,) * COUNTERS
    times: dict[str, dict[int, int]] = field(default_factory=dict)
    older_times: dict[str, dict[int, int]] = field(default_factory=dict)
    times_since_us: int = 0
    shown_times: dict[str, tuple[float, float]] = field(default_factory=dict)

    def count(self, counter: int, amount: int, now_us: int) -> None:
        number = now_us // BUCKET_US
        if number != self.number:
            self._roll(number)
        self.counts[counter] += amount

    def fetched(self, follower: bool, items: int, size: int, failed: int, waited_us: int, now_us: int) -> None:
        """One fetch is answered: all that it counts in one call, since nothing happens more often."""
        number = now_us // BUCKET_US
        if number != self.number:
            self._roll(number)
        counts = self.counts
        counts[FETCH_ITEMS] += items
        if follower:
            counts[FETCH_FOLLOWER] += 1
            counts[REPLICATION_BYTES_OUT] += size
        else:
            counts[FETCH_CONSUMER] += 1
            counts[BYTES_OUT] += size
        if failed:
            counts[FAILED_FETCHES] += failed
        self.took(FOLLOWER_TIME if follower else CONSUMER_TIME, waited_us, now_us)

    def _roll(self, number: int) -> None:
        """A bucket is over: what onlookers read is brought up to date here, so that looking is cheap."""
        self.past.append((self.number, tuple(self.counts)))
        self.past = [bucket for bucket in self.past if bucket[0] > number - BUCKETS]
        self.sums = self._sum_after(number - BUCKETS)
        self.counts = [0] * COUNTERS
        self.number = number
        self.shown_times = {request: self._percentiles_ms(request) for request in {**self.older_times, **self.times}}

    def _sum_after(self, oldest: int) -> tuple[int, ...]:
        buckets = [counts for number, counts in self.past if number > oldest]
        return tuple([sum(column) for column in zip(*buckets, strict=True)]) if buckets else (0,) * COUNTERS

    def rates(self, now_us: int) -> list[float]:
        """Each counter per second over the last minute, or since the process started."""
        number = now_us // BUCKET_US
        sums = self.sums if number == self.number else self._sum_after(number - BUCKETS)
        current = self.counts if self.number > number - BUCKETS else (0,) * COUNTERS
        covered_us = (BUCKETS - 1) * BUCKET_US + now_us % BUCKET_US
        seconds = max(min(now_us - self.started_us, covered_us), 1_000_000) / 1_000_000
        return [(past + count) / seconds for past, count in zip(sums, current, strict=True)]

    def took(self, request: str, duration_us: int, now_us: int) -> None:
        """One response left that long after its request was read (``TotalTimeMs``)."""
        if now_us - self.times_since_us >= GENERATION_US:
            self.older_times, self.times, self.times_since_us = self.times, {}, now_us
        histogram = self.times.get(request)
        if histogram is None:
            histogram = self.times[request] = {}
        if duration_us < 32:
            step = duration_us
        else:
            shift = duration_us.bit_length() - 5
            step = (shift << 4) + (duration_us >> shift)
        histogram[step] = histogram.get(step, 0) + 1

    def total_times_ms(self, request: str) -> tuple[float, float] | None:
        """The median and the 99th percentile over the last one to two minutes, off by 3 % at most; None where nothing was answered."""
        shown = self.shown_times.get(request)
        return shown if shown is not None or request not in self.times else self._percentiles_ms(request)

    def _percentiles_ms(self, request: str) -> tuple[float, float]:
        merged = dict(self.older_times.get(request, {}))
        for step, count in self.times.get(request, {}).items():
            merged[step] = merged.get(step, 0) + count
        total = sum(merged.values())
        seen = 0
        found: list[float] = []
        for step in sorted(merged):
            seen += merged[step]
            while len(found) < len(SHARES) and seen >= SHARES[len(found)] * total:
                found.append(round(_middle_us(step) / 1000, 3))
        return found[0], found[1]


def _middle_us(step: int) -> float:
    if step < 32:
        return step
    shift = (step >> 4) - 1
    return ((step & 15) + 16.5) * (1 << shift)
