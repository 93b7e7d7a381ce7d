"""What one producer does, fact by fact."""

from __future__ import annotations

import itertools

import pytest

from engine.clients.producer import ProducerNode
from engine.errors import EngineError
from engine.events import (
    ProduceRetried,
    ProducerIdAssigned,
    ProduceSent,
    RecordsAcknowledged,
    RecordsFailed,
    SendRefused,
    WorkloadStarted,
    WorkloadStopped,
)
from engine.log.record_batch import read_header
from engine.messages.admin import MetadataRequest
from engine.messages.base import TopicPartition
from engine.messages.instructions import BeginShutdown, FlushProducer, SendRecords, StartWorkload, StopWorkload
from engine.messages.produce import ProduceRequest
from tests.engine.clients.harness import Cluster

P0 = TopicPartition("orders", 0)


def make(configs: dict[str, str] | None = None, *, partitions: int = 1) -> Cluster:
    cluster = Cluster(ProducerNode("producer", (1, 2, 3), configs or {}), (1, 2, 3), {"orders": partitions})
    cluster.advance(5_000_000)
    return cluster


def send(
    cluster: Cluster, *values: str, first: int = 0, partition: int = -1, key: str | None = None, topic: str = "orders"
) -> None:
    encoded = None if key is None else key.encode()
    cluster.instruct(SendRecords(topic, partition, tuple((encoded, value.encode(), ()) for value in values), first))


def test_linger_gathers_for_5_ms_and_a_full_batch_does_not_wait():
    cluster = make()
    send(cluster, "warm up")
    cluster.advance(cluster.now + 1_000_000)
    began = cluster.now
    send(cluster, "a", first=1)
    cluster.advance(began + 3_000)
    send(cluster, "b", first=2)
    cluster.advance(began + 50_000)
    at, event = [(at, e) for at, e, _ in cluster.events if isinstance(e, ProduceSent)][-1]
    assert at == began + 5_000
    assert [record.value for record in event.records] == ["a", "b"]
    began = cluster.now
    send(cluster, *["x" * 1000] * 17, first=3)
    cluster.advance(began + 1_000)
    sent = [(at, e) for at, e, _ in cluster.events if isinstance(e, ProduceSent)][-1]
    assert sent[0] == began
    assert sent[1].record_count == 16


def test_a_batch_never_exceeds_batch_size_and_its_size_is_known_exactly():
    cluster = make({"batch.size": "1000", "linger.ms": "100"})
    send(cluster, *[f"value {n}" * (n % 9) for n in range(300)], key="k")
    cluster.advance(cluster.now + 1_000_000)
    sizes = [len(item.batch) for request in cluster.sent(ProduceRequest) for item in request.items]
    assert len(sizes) > 5
    assert max(sizes) <= 1000
    assert min(sizes[:-1]) > 900


def test_one_producer_id_and_contiguous_sequences():
    cluster = make({"batch.size": "100"})
    for number in range(20):
        send(cluster, f"value-{number}", first=number, partition=0)
    cluster.advance(cluster.now + 1_000_000)
    assert cluster.of(ProducerIdAssigned) == [ProducerIdAssigned("producer", 1001, 0)]
    headers = [read_header(item.batch) for request in cluster.sent(ProduceRequest) for item in request.items]
    expected = 0
    for header in headers:
        assert (header.producer_id, header.producer_epoch, header.base_sequence) == (1001, 0, expected)
        expected += header.record_count
    assert expected == 20


def test_a_coordinator_that_is_not_ready_is_asked_again_and_forgotten():
    cluster = Cluster(ProducerNode("producer", (1, 2, 3), {}), (1, 2, 3), {"orders": 1})
    cluster.trouble_ppm = {"init": 1_000_000}
    send(cluster, "a")
    cluster.advance(3_000_000)
    assert cluster.node.last_error == "COORDINATOR_NOT_AVAILABLE"
    assert not cluster.of(ProduceSent)
    cluster.trouble_ppm = {}
    cluster.advance(6_000_000)
    assert cluster.node.last_error == ""
    assert cluster.partitions[P0].values() == [b"a"]


def test_acks_0_succeeds_on_sending_and_knows_no_offset():
    cluster = make({"acks": "0"})
    cluster.trouble_ppm = {"refuse": 1_000_000}
    send(cluster, "a")
    cluster.advance(cluster.now + 1_000_000)
    assert cluster.of(RecordsAcknowledged)[0].base_offset == -1
    assert cluster.partitions[P0].values() == []


def test_records_previews_come_with_attempt_1_only_and_the_batch_keeps_its_number():
    cluster = make()
    cluster.trouble_ppm = {"refuse": 1_000_000}
    send(cluster, "line\n" + "x" * 100, key="k\0")
    cluster.advance(cluster.now + 500_000)
    cluster.trouble_ppm = {}
    cluster.advance(cluster.now + 2_000_000)
    first, second, *_ = cluster.of(ProduceSent)
    assert (first.attempt, second.attempt, first.batch_id == second.batch_id) == (1, 2, True)
    assert second.records == ()
    record = first.records[0]
    assert record.key == "k\\x00"
    assert record.value is not None
    assert record.value.startswith("line\\nxx")
    assert len(record.value) == 40


def test_retries_wait_100_ms_then_twice_as_long_up_to_1_s():
    cluster = make()
    send(cluster, "warm up")
    cluster.advance(cluster.now + 100_000)
    cluster.trouble_ppm = {"refuse": 1_000_000}
    send(cluster, "a", first=1)
    cluster.advance(cluster.now + 8_000_000)
    times = [at for at, event, _ in cluster.events if isinstance(event, ProduceSent)][1:]
    gaps = [(after - before) // 1000 for before, after in itertools.pairwise(times)]
    for gap, expected in zip(gaps, [100, 200, 400, 800, 1000, 1000], strict=False):
        assert expected * 0.79 <= gap <= min(expected * 1.21, 1002)


def test_a_silent_broker_costs_request_timeout_then_the_batch_goes_again():
    cluster = make()
    send(cluster, "warm up")
    cluster.advance(cluster.now + 100_000)
    cluster.silent_until[1] = cluster.now + 20_000_000
    send(cluster, "a", first=1)
    cluster.advance(cluster.now + 40_000_000)
    times = {event.attempt: at for at, event, _ in cluster.events if isinstance(event, ProduceSent) and event.batch_id == 2}
    assert 30_000_000 <= times[2] - times[1] <= 31_500_000
    assert [event.error for event in cluster.of(ProduceRetried)] == ["NETWORK_EXCEPTION"]
    assert cluster.partitions[P0].values() == [b"warm up", b"a"]


def test_a_dead_broker_is_not_sent_batches_until_it_has_a_connection_again():
    cluster = make()
    cluster.kill(1)
    cluster.advance(cluster.now + 1_000_000)
    send(cluster, "a")
    cluster.advance(cluster.now + 3_000_000)
    assert not cluster.of(ProduceSent)
    cluster.lead(P0, 2)
    cluster.advance(cluster.now + 2_500_000)
    assert [event.broker for event in cluster.of(ProduceSent)] == [2]
    assert cluster.of(RecordsAcknowledged)


def test_not_leader_with_a_hint_goes_to_the_new_leader_without_backoff():
    cluster = make()
    send(cluster, "warm up")
    cluster.advance(cluster.now + 100_000)
    cluster.lead(P0, 2)
    send(cluster, "a", first=1)
    cluster.advance(cluster.now + 1_000_000)
    times = [(at, e.broker) for at, e, _ in cluster.events if isinstance(e, ProduceSent)][1:]
    assert [broker for _, broker in times] == [1, 2]
    assert times[1][0] - times[0][0] < 10_000, "it connected to the new leader at once, no backoff"


def test_delivery_timeout_gives_up_and_says_so():
    cluster = make({"delivery.timeout.ms": "31000"})
    cluster.trouble_ppm = {"refuse": 1_000_000}
    began = cluster.now
    send(cluster, "a", "b")
    cluster.advance(cluster.now + 60_000_000)
    at, event = next((at, e) for at, e, _ in cluster.events if isinstance(e, RecordsFailed))
    assert at - began == 31_000_000 or at - began - 31_000_000 < 2_000
    assert event.error.startswith("TimeoutException: Expiring 2 record(s) for orders-0:31")
    assert cluster.node.failed == 2
    assert cluster.node.last_error == event.error


def test_a_refused_batch_bumps_the_epoch_and_those_after_it_succeed():
    cluster = make({"batch.size": "0"})
    cluster.trouble_ppm = {"fatal": 1_000_000}
    send(cluster, "a")
    cluster.advance(cluster.now + 100_000)
    cluster.trouble_ppm = {}
    send(cluster, "b", first=1)
    cluster.advance(cluster.now + 1_000_000)
    assert [event.error for event in cluster.of(RecordsFailed)] == ["INVALID_RECORD"]
    assert cluster.of(ProducerIdAssigned)[-1].producer_epoch == 1
    assert read_header(cluster.sent(ProduceRequest)[-1].items[0].batch).base_sequence == 0
    assert cluster.partitions[P0].values() == [b"b"]


def test_out_of_order_with_nothing_before_it_bumps_the_epoch_and_retries():
    cluster = make()
    send(cluster, "a")
    cluster.advance(cluster.now + 1_000_000)
    cluster.partitions[P0].producers.clear()
    send(cluster, "b", first=1)
    cluster.advance(cluster.now + 3_000_000)
    assert "OUT_OF_ORDER_SEQUENCE_NUMBER" in [event.error for event in cluster.of(ProduceRetried)]
    assert cluster.node.producer_epoch == 1
    assert cluster.partitions[P0].values() == [b"a", b"b"]


def test_an_expired_retry_holds_up_new_batches_until_its_sequence_is_settled():
    cluster = make({"delivery.timeout.ms": "30005", "batch.size": "0"})
    cluster.trouble_ppm = {"refuse": 1_000_000}
    send(cluster, "a")
    cluster.advance(cluster.now + 31_000_000)
    cluster.trouble_ppm = {}
    send(cluster, "b", first=1)
    cluster.advance(cluster.now + 3_000_000)
    assert cluster.node.producer_epoch == 1
    assert cluster.partitions[P0].values() == [b"b"]


def test_a_restarted_producer_has_a_new_id_so_its_resend_is_a_duplicate():
    cluster = make()
    send(cluster, "a")
    cluster.advance(cluster.now + 1_000_000)
    again = Cluster.__new__(Cluster)
    again.__dict__.update(cluster.__dict__)
    again.node = ProducerNode("producer", (1, 2, 3), {})
    again.timers, again.queue = {}, []
    again._run("", None)
    again.advance(again.now + 1_000_000)
    send(again, "a", first=1)
    again.advance(again.now + 1_000_000)
    assert again.partitions[P0].values() == [b"a", b"a"]


def test_message_too_large_splits_the_batch_and_keeps_the_order():
    cluster = make({"batch.size": "5000"})
    cluster.max_message_bytes = 1500
    send(cluster, *[f"{number}:" + "x" * 300 for number in range(13)], partition=0)
    cluster.advance(cluster.now + 3_000_000)
    assert [int(value.split(b":")[0]) for value in cluster.partitions[P0].values() if value] == list(range(13))
    assert cluster.node.acknowledged == 13
    assert cluster.node.buffered_bytes == 0
    assert {event.error for event in cluster.of(ProduceRetried)} == {"MESSAGE_TOO_LARGE"}


def test_a_single_record_too_large_for_the_topic_fails_and_one_too_large_for_a_request_is_refused():
    cluster = make()
    cluster.max_message_bytes = 100
    send(cluster, "x" * 200)
    send(cluster, "x" * 1_048_576, first=1)
    cluster.advance(cluster.now + 3_000_000)
    assert [event.error for event in cluster.of(RecordsFailed)] == ["MESSAGE_TOO_LARGE"]
    assert cluster.of(SendRefused)[0].error.startswith("RecordTooLargeException")


def test_an_unknown_topic_blocks_send_for_max_block_ms():
    cluster = make({"max.block.ms": "2000"})
    began = cluster.now
    send(cluster, "a", topic="nowhere")
    send(cluster, "b", first=1, partition=7)
    cluster.advance(cluster.now + 5_000_000)
    refused = [(at, e) for at, e, _ in cluster.events if isinstance(e, SendRefused)]
    assert [at - began for at, _ in refused] == [2_000_000, 2_000_000]
    assert refused[0][1].error == "TimeoutException: Topic nowhere not present in metadata after 2000 ms."
    assert "Partition 7 of topic orders with partition count 1 is not present" in refused[1][1].error
    assert len(cluster.sent(MetadataRequest)) < 25


def test_a_full_buffer_blocks_and_goes_on_when_memory_is_free():
    cluster = make({"buffer.memory": "32768", "max.block.ms": "3000"})
    cluster.trouble_ppm = {"refuse": 1_000_000}
    send(cluster, *["x" * 10_000] * 5, partition=0)
    cluster.advance(cluster.now + 10_000)
    assert len(cluster.node.blocked) == 3
    cluster.advance(cluster.now + 1_000_000)
    cluster.trouble_ppm = {}
    cluster.advance(cluster.now + 2_500_000)
    assert cluster.node.acknowledged == 5
    cluster.trouble_ppm = {"refuse": 1_000_000}
    send(cluster, *["x" * 10_000] * 3, first=10, partition=0)
    cluster.advance(cluster.now + 4_000_000)
    assert cluster.of(SendRefused)[0].error.startswith("BufferExhaustedException")


def test_flush_does_not_wait_for_linger():
    cluster = make({"linger.ms": "10000"})
    send(cluster, "warm up")
    cluster.advance(cluster.now + 500_000)
    assert not cluster.of(ProduceSent)
    cluster.instruct(FlushProducer())
    cluster.advance(cluster.now + 10_000)
    assert cluster.node.acknowledged == 1


def test_close_sends_what_is_buffered_and_ends_the_process():
    cluster = make({"linger.ms": "10000"})
    send(cluster, "a")
    cluster.instruct(BeginShutdown())
    assert not cluster.exited
    cluster.advance(cluster.now + 1_000_000)
    assert cluster.exited
    assert cluster.partitions[P0].values() == [b"a"]
    idle = make()
    idle.instruct(BeginShutdown())
    assert idle.exited


def test_the_sticky_partition_spreads_keyless_records_evenly_by_bytes():
    cluster = make(partitions=3)
    for start in range(0, 3000, 10):
        send(cluster, *["x" * 500] * 10, first=start)
        cluster.advance(cluster.now + 1_000)
    cluster.advance(cluster.now + 1_000_000)
    counts = [len(cluster.partitions[TopicPartition("orders", number)].values()) for number in range(3)]
    assert sum(counts) == 3000
    assert min(counts) > 600


@pytest.mark.parametrize("rate", [1, 7, 1000, 5000])
def test_a_workload_keeps_its_rate_with_at_most_a_timer_per_millisecond(rate):
    cluster = make(partitions=3)
    runs: list[int] = []
    cluster.watch = lambda c: runs.append(c.now)
    cluster.instruct(StartWorkload("load", "orders", rate, 5, 50, 0, 0, 1_000_000_000))
    cluster.advance(cluster.now + 2_000_000)
    cluster.instruct(StopWorkload("load"))
    cluster.advance(cluster.now + 1_000_000)
    assert cluster.of(WorkloadStarted) == [WorkloadStarted("producer", "load", "orders", rate)]
    assert abs(cluster.of(WorkloadStopped)[0].sent - 2 * rate) <= max(5, rate // 200)
    values = [v for p in range(3) for v in cluster.partitions[TopicPartition("orders", p)].values()]
    assert len(set(values)) == len(values) == cluster.node.acknowledged
    assert {len(value) for value in values if value} == {50}
    assert len(runs) < 6_000


def test_a_workload_stops_at_its_limit_and_skew_prefers_the_first_key():
    cluster = make()
    cluster.instruct(StartWorkload("load", "orders", 2000, 100, 20, 80, 1000, 1_000_000_000))
    cluster.advance(cluster.now + 3_000_000)
    assert cluster.of(WorkloadStopped)[0].sent == 1000
    keys = [record.key for event in cluster.of(ProduceSent) for record in event.records]
    assert 750 < keys.count("key-0") < 870
    ids = sorted(record.record_id for event in cluster.of(ProduceSent) for record in event.records)
    assert ids == list(range(1_000_000_000, 1_000_001_000))


def test_a_workload_whose_send_blocks_does_not_make_up_for_it():
    cluster = make({"buffer.memory": "16384", "max.block.ms": "60000"})
    cluster.trouble_ppm = {"refuse": 1_000_000}
    cluster.instruct(StartWorkload("load", "orders", 1000, 0, 1000, 0, 0, 1_000_000_000))
    cluster.advance(cluster.now + 5_000_000)
    assert cluster.node.sent < 40
    cluster.trouble_ppm = {}
    cluster.advance(cluster.now + 3_000_000)
    assert 1000 < cluster.node.sent < 3_100


def test_a_conflict_in_the_configuration_is_refused_before_anything_happens():
    with pytest.raises(EngineError):
        ProducerNode("producer", (1,), {"enable.idempotence": "true", "acks": "1"})
    assert ProducerNode("producer", (1,), {"acks": "1"}).configs["enable.idempotence"] == "false"
