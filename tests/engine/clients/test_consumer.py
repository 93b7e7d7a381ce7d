"""What one consumer does, fact by fact."""

from __future__ import annotations

import pytest

from engine.clients.consumer import ConsumerNode
from engine.events import ConsumerFailed, ConsumerPositioned, RecordsConsumed
from engine.log.record_batch import Compression, ControlRecordType, build_batch, build_end_txn_marker
from engine.messages.base import TopicPartition
from engine.messages.fetch import FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest
from engine.messages.instructions import AssignPartitions, BeginShutdown, PauseConsumer, SeekConsumer, SubscribeTopics
from tests.engine.clients.harness import Cluster

P0 = TopicPartition("orders", 0)


def make(configs: dict[str, str] | None = None, *, partitions: int = 1, records: int = 0) -> Cluster:
    cluster = Cluster(ConsumerNode("app", (1, 2, 3), configs or {}), (1, 2, 3), {"orders": partitions})
    write(cluster, records)
    cluster.advance(2_000_000)
    return cluster


def write(cluster: Cluster, count: int, partition: int = 0, compression: Compression = Compression.NONE) -> None:
    """One batch of ``count`` records whose values are their offsets."""
    if count:
        state = cluster.partitions[TopicPartition("orders", partition)]
        now_ms = 1_700_000_000_000 + cluster.now // 1000
        records = [(b"k", b"%d" % (state.end + n), (), now_ms) for n in range(count)]
        state.append(build_batch(records, compression=compression))


def consumed(cluster: Cluster) -> list[tuple[int, int]]:
    return [(event.first_offset, event.last_offset) for event in cluster.of(RecordsConsumed)]


def subscribe(cluster: Cluster) -> None:
    cluster.instruct(SubscribeTopics(("orders",)))
    cluster.advance(cluster.now + 2_000_000)


def test_latest_is_the_default_and_skips_what_was_there():
    cluster = make(records=5)
    subscribe(cluster)
    write(cluster, 3)
    cluster.advance(cluster.now + 2_000_000)
    assert cluster.of(ConsumerPositioned) == [ConsumerPositioned("app", "orders", 0, 5, "auto.offset.reset=latest")]
    assert consumed(cluster) == [(5, 7)]
    assert cluster.node.consumed == 3
    assert cluster.node.positions[P0].position == 8
    assert cluster.node.positions[P0].high_watermark == 8


def test_earliest_reads_everything_of_all_partitions_and_shows_the_newest_eight():
    cluster = make({"auto.offset.reset": "earliest"}, partitions=3)
    for partition in range(3):
        write(cluster, 10, partition)
        write(cluster, 5, partition, Compression.ZSTD)
    subscribe(cluster)
    assert cluster.node.consumed == 45
    assert len(cluster.node.last) == 8
    assert [record.value for record in cluster.node.last] == [str(record.offset) for record in cluster.node.last]
    assert cluster.node.last[-1].offset == 14


def test_none_fails_until_somebody_seeks():
    cluster = make({"auto.offset.reset": "none"}, records=5)
    subscribe(cluster)
    assert cluster.of(ConsumerFailed)[0].error.startswith("NoOffsetForPartitionException")
    assert not cluster.sent(ListOffsetsRequest)
    cluster.instruct(SeekConsumer(P0, 2))
    cluster.advance(cluster.now + 1_000_000)
    assert consumed(cluster) == [(2, 4)]
    assert cluster.node.positions[P0].error == ""


def test_by_duration_looks_the_time_up():
    cluster = make({"auto.offset.reset": "by_duration:PT1M"}, records=5)
    cluster.advance(100_000_000)
    write(cluster, 4)
    subscribe(cluster)
    assert consumed(cluster) == [(5, 8)]


def test_seeking_to_the_end_the_beginning_and_an_offset():
    cluster = make(records=5)
    subscribe(cluster)
    for offset in (-2, 3, -1):
        cluster.instruct(SeekConsumer(P0, offset))
        cluster.advance(cluster.now + 1_000_000)
    reasons = [(event.offset, event.reason) for event in cluster.of(ConsumerPositioned)][1:]
    assert reasons == [(0, "seek to beginning"), (3, "seek"), (5, "seek to end")]
    assert consumed(cluster) == [(0, 4), (3, 4)]
    cluster.instruct(SeekConsumer(TopicPartition("orders", 9), 0))
    assert "No current assignment" in cluster.of(ConsumerFailed)[0].error


@pytest.mark.parametrize(("policy", "reason"), [("earliest", "offset out of range, auto.offset.reset=earliest"), ("none", None)])
def test_an_offset_out_of_range_follows_the_policy(policy, reason):
    cluster = make({"auto.offset.reset": policy}, records=5)
    subscribe(cluster)
    cluster.instruct(SeekConsumer(P0, 99))
    cluster.advance(cluster.now + 1_000_000)
    if reason:
        assert cluster.of(ConsumerPositioned)[-1].reason == reason
    else:
        assert cluster.of(ConsumerFailed)[-1].error == "OFFSET_OUT_OF_RANGE"
        assert cluster.node.positions[P0].error == "OFFSET_OUT_OF_RANGE"


def test_a_pause_stops_the_reading_and_keeps_the_position():
    cluster = make({"auto.offset.reset": "earliest"}, records=5)
    subscribe(cluster)
    cluster.instruct(PauseConsumer((), True))
    write(cluster, 3)
    cluster.advance(cluster.now + 2_000_000)
    asked = len(cluster.sent(FetchRequest))
    cluster.advance(cluster.now + 2_000_000)
    assert len(cluster.sent(FetchRequest)) == asked
    assert cluster.node.paused
    cluster.instruct(PauseConsumer((), False))
    cluster.advance(cluster.now + 1_000_000)
    assert consumed(cluster) == [(0, 4), (5, 7)]


def test_a_dead_leader_is_followed_to_the_new_one_and_the_position_validated():
    cluster = make({"auto.offset.reset": "earliest"}, records=5)
    subscribe(cluster)
    cluster.kill(1)
    cluster.advance(cluster.now + 1_000_000)
    cluster.lead(P0, 2)
    write(cluster, 3)
    cluster.advance(cluster.now + 5_000_000)
    assert consumed(cluster) == [(0, 4), (5, 7)]
    check = cluster.sent(OffsetForLeaderEpochRequest)[-1].items[0]
    assert (check.leader_epoch, check.current_leader_epoch) == (0, 1)


def test_a_truncated_log_is_noticed_and_read_again_from_the_divergence():
    cluster = make({"auto.offset.reset": "earliest"}, records=3)
    write(cluster, 2)
    subscribe(cluster)
    state = cluster.partitions[P0]
    state.batches.pop()
    state.end = state.truncated_to = 3
    cluster.lead(P0, 2)
    write(cluster, 4)
    cluster.advance(cluster.now + 5_000_000)
    assert cluster.of(ConsumerPositioned)[-1] == ConsumerPositioned("app", "orders", 0, 3, "log truncated")
    assert consumed(cluster) == [(0, 2), (3, 4), (3, 6)]


def test_an_epoch_that_the_new_leader_never_had_resets_by_policy():
    cluster = make({"auto.offset.reset": "earliest"}, records=3)
    subscribe(cluster)
    cluster.trouble_ppm = {"epoch unknown": 1_000_000}
    cluster.lead(P0, 2)
    cluster.advance(cluster.now + 5_000_000)
    reset = ConsumerPositioned("app", "orders", 0, 0, "log truncated, auto.offset.reset=earliest")
    assert cluster.of(ConsumerPositioned)[-1] == reset


def test_without_a_reset_policy_truncation_is_an_error():
    cluster = make({"auto.offset.reset": "none"}, records=5)
    subscribe(cluster)
    cluster.instruct(SeekConsumer(P0, 0))
    cluster.advance(cluster.now + 1_000_000)
    state = cluster.partitions[P0]
    state.batches.clear()
    state.end = state.truncated_to = 2
    cluster.lead(P0, 2)
    cluster.advance(cluster.now + 5_000_000)
    assert cluster.of(ConsumerFailed)[-1].error.startswith("LogTruncationException")


def test_a_new_leader_without_its_high_watermark_is_asked_again():
    cluster = make(records=5)
    cluster.trouble_ppm = {"no offset": 1_000_000}
    subscribe(cluster)
    assert cluster.node.positions[P0].error == "OFFSET_NOT_AVAILABLE"
    assert not cluster.of(ConsumerPositioned)
    cluster.trouble_ppm = {}
    cluster.advance(cluster.now + 2_000_000)
    assert cluster.of(ConsumerPositioned)


def test_control_batches_move_the_position_and_are_not_handed_over():
    cluster = make({"auto.offset.reset": "earliest"}, records=2)
    marker = build_end_txn_marker(ControlRecordType.COMMIT, producer_id=1, producer_epoch=0, coordinator_epoch=0, timestamp_ms=0)
    state = cluster.partitions[P0]
    from engine.log.record_batch import assign

    state.batches.append(assign(marker, 2, 0))
    state.end = 3
    subscribe(cluster)
    assert consumed(cluster) == [(0, 1)]
    assert cluster.node.positions[P0].position == 3


def test_a_damaged_batch_fails_the_partition_with_its_name():
    cluster = make({"auto.offset.reset": "earliest"}, records=2)
    state = cluster.partitions[P0]
    state.batches[0] = state.batches[0][:-1] + b"\xff"
    subscribe(cluster)
    assert cluster.of(ConsumerFailed) == [ConsumerFailed("app", "orders", 0, "CORRUPT_MESSAGE")]


def test_a_poll_hands_over_at_most_max_poll_records():
    cluster = make({"auto.offset.reset": "earliest", "max.poll.records": "4"}, records=10)
    subscribe(cluster)
    assert consumed(cluster) == [(0, 3), (4, 7), (8, 9)]


def test_an_idle_consumer_asks_twice_a_second_and_not_more():
    cluster = make()
    subscribe(cluster)
    before = len(cluster.requests)
    cluster.advance(cluster.now + 60_000_000)
    assert 100 <= len(cluster.requests) - before <= 130


def test_new_partitions_are_met_when_the_metadata_grows_old():
    from tests.engine.clients.harness import FakePartition

    cluster = make({"auto.offset.reset": "earliest", "metadata.max.age.ms": "10000"}, records=1)
    subscribe(cluster)
    cluster.partitions[TopicPartition("orders", 1)] = FakePartition(2)
    write(cluster, 3, 1)
    cluster.advance(cluster.now + 5_000_000)
    assert cluster.node.consumed == 1
    cluster.advance(cluster.now + 10_000_000)
    assert cluster.node.consumed == 4


def test_assigning_anew_keeps_the_position_of_what_stays():
    cluster = make({"auto.offset.reset": "earliest"}, partitions=2, records=3)
    write(cluster, 3, 1)
    cluster.instruct(AssignPartitions((P0,)))
    cluster.advance(cluster.now + 1_000_000)
    cluster.instruct(AssignPartitions((P0, TopicPartition("orders", 1))))
    cluster.advance(cluster.now + 1_000_000)
    assert cluster.node.consumed == 6
    cluster.instruct(AssignPartitions(()))
    write(cluster, 3)
    cluster.advance(cluster.now + 3_000_000)
    assert cluster.node.consumed == 6
    cluster.instruct(BeginShutdown())
    assert cluster.exited


def test_a_silent_leader_costs_one_request_timeout():
    cluster = make({"auto.offset.reset": "earliest"}, records=3)
    subscribe(cluster)
    cluster.silent_until[1] = cluster.now + 20_000_000
    write(cluster, 3)
    cluster.advance(cluster.now + 29_000_000)
    assert cluster.node.consumed == 3
    cluster.advance(cluster.now + 5_000_000)
    assert cluster.node.consumed == 6
