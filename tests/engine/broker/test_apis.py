"""What clients are answered: Fetch, ListOffsets, Metadata, OffsetForLeaderEpoch, InitProducerId, DescribeConfigs, forwarded requests."""

from __future__ import annotations

import pytest

from engine.events import DuplicateRecognised, ProduceRefused
from engine.messages.admin import (
    AdminResponse,
    AdminResult,
    CreatableTopic,
    CreateTopicsRequest,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    MetadataRequest,
    MetadataResponse,
)
from engine.messages.cluster import EnvelopeRequest
from engine.messages.fetch import (
    FetchResponse,
    ListOffsetsItem,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsResult,
    OffsetForLeaderEpochItem,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
)
from engine.messages.produce import InitProducerIdRequest, InitProducerIdResponse
from engine.metadata.records import BrokerRegistrationChange, Config
from tests.engine.broker.harness import MS, SECOND, TP, World


def three() -> World:
    world = World()
    world.topic((1, 2, 3))
    return world


def ask_offsets(world: World, broker_id: int, timestamp_ms: int, epoch: int = -1) -> ListOffsetsResult:
    world.send(broker_id, ListOffsetsRequest(world.next_number(), (ListOffsetsItem(TP, timestamp_ms, epoch),)))
    world.run(20 * MS)
    return world.answers(ListOffsetsResponse)[-1].results[0]


# -- fetch --------------------------------------------------------------------------------------------------------------------


def test_consumers_read_up_to_the_high_watermark_only() -> None:
    world = three()
    world.produced(1, b"a")
    world.cut("broker-1", "broker-2")
    world.produced(1, b"b", acks=1)
    assert len(world.fetched(1, 0).batches) == 1
    result = world.fetched(1, 1)
    assert (result.error, result.batches, result.high_watermark) == ("NONE", (), 1)


def test_fact_11_the_first_batch_comes_even_where_it_exceeds_the_limits() -> None:
    world = three()
    world.produced(1, b"x" * 500)
    world.produced(1, b"y" * 500)
    assert len(world.fetched(1, 0, max_bytes=1).batches) == 1


def test_a_parked_fetch_is_woken_by_the_high_watermark_and_otherwise_answered_empty_in_time() -> None:
    world = three()
    number = world.fetch(1, 0, max_wait_ms=500)
    world.run(490 * MS)
    assert world.answers(FetchResponse) == []
    world.run(20 * MS)
    assert [(answer.correlation_id, answer.results[0].batches) for answer in world.answers(FetchResponse)] == [(number, ())]
    number = world.fetch(1, 0, max_wait_ms=500)
    world.run(100 * MS)
    world.produced(1, b"a", run_us=10 * MS)
    answer = world.answers(FetchResponse)[-1]
    assert answer.correlation_id == number
    assert len(answer.results[0].batches) == 1
    assert world.broker(1).partitions[TP].consumers == []


@pytest.mark.parametrize(
    ("broker_id", "epoch", "error"),
    [(1, 9, "UNKNOWN_LEADER_EPOCH"), (2, 9, "UNKNOWN_LEADER_EPOCH"), (2, -1, "NONE"), (2, 0, "NONE")],
)
def test_a_leader_acts_in_its_epoch_only(broker_id: int, epoch: int, error: str) -> None:
    world = three()
    assert world.fetched(broker_id, 0, epoch=epoch).error == error
    world.change(leader=1)
    world.run(SECOND)
    result = world.fetched(1, 0, epoch=0)
    assert (result.error, result.current_leader, result.current_leader_epoch) == ("FENCED_LEADER_EPOCH", 1, 1)


def test_offsets_out_of_range_and_unknown_topics() -> None:
    world = three()
    assert world.fetched(1, 5).error == "OFFSET_OUT_OF_RANGE"
    assert world.produced(1, b"a", partition=TP._replace(topic="nowhere")) == ("UNKNOWN_TOPIC_OR_PARTITION", -1)


# -- produce ------------------------------------------------------------------------------------------------------------------


def test_fact_32_a_duplicate_is_acknowledged_with_its_original_offset_once_committed() -> None:
    world = three()
    batch = world.batch(b"a", producer=7, epoch=0, sequence=0)
    assert world.produced(1, batch=batch) == ("NONE", 0)
    assert world.produced(1, b"other") == ("NONE", 1)
    assert world.produced(1, batch=batch) == ("NONE", 0)
    assert len(world.events(DuplicateRecognised)) == 1
    assert world.replica(1).log.log_end_offset == 2
    world.cut("broker-1", "broker-2")
    later = world.batch(b"b", producer=7, epoch=0, sequence=1)
    first, second = world.produce(1, batch=later), world.produce(1, batch=later)
    world.run(SECOND)
    assert (world.answered(first), world.answered(second)) == (("", -1), ("", -1))


def test_fact_32_a_gap_and_an_old_epoch_are_refused() -> None:
    world = three()
    assert world.produced(1, batch=world.batch(b"a", producer=7, epoch=1, sequence=0)) == ("NONE", 0)
    assert world.produced(1, batch=world.batch(b"a", producer=7, epoch=1, sequence=5)) == ("OUT_OF_ORDER_SEQUENCE_NUMBER", -1)
    assert world.produced(1, batch=world.batch(b"a", producer=7, epoch=0, sequence=1)) == ("INVALID_PRODUCER_EPOCH", -1)
    assert [event.error for event in world.events(ProduceRefused)] == ["OUT_OF_ORDER_SEQUENCE_NUMBER", "INVALID_PRODUCER_EPOCH"]


def test_mutant_no_sequence_check_appends_a_duplicate() -> None:
    world = World(mutants=("no-sequence-check",))
    world.topic((1, 2, 3))
    batch = world.batch(b"a", producer=7, epoch=0, sequence=0)
    assert [world.produced(1, batch=batch), world.produced(1, batch=batch)] == [("NONE", 0), ("NONE", 1)]


def test_bad_batches_and_acks_are_refused() -> None:
    world = three()
    batch = bytearray(world.batch(b"a"))
    batch[-1] ^= 1
    assert world.produced(1, batch=bytes(batch)) == ("CORRUPT_MESSAGE", -1)
    assert world.produced(1, batch=b"") == ("CORRUPT_MESSAGE", -1)
    assert world.produced(1, b"a", acks=2) == ("INVALID_REQUIRED_ACKS", -1)
    world.commit(Config("topic", "orders", "max.message.bytes", "100"))
    world.run(SECOND)
    assert world.produced(1, b"x" * 200) == ("MESSAGE_TOO_LARGE", -1)


# -- offsets ------------------------------------------------------------------------------------------------------------------


def test_fact_21_latest_waits_for_the_new_leaders_high_watermark_and_earliest_does_not() -> None:
    world = three()
    world.produced(1, b"a")
    assert ask_offsets(world, 1, -1).offset == 1
    assert world.replica(2).high_watermark == 0
    world.cut("broker-2", "broker-1")
    world.cut("broker-2", "broker-3")
    world.change(leader=2)
    world.run(SECOND)
    assert ask_offsets(world, 2, -1).error == "OFFSET_NOT_AVAILABLE"
    assert ask_offsets(world, 2, 1).error == "OFFSET_NOT_AVAILABLE"
    assert (ask_offsets(world, 2, -2).error, ask_offsets(world, 2, -2).offset) == ("NONE", 0)
    world.heal("broker-2", "broker-1")
    world.heal("broker-2", "broker-3")
    world.run(5 * SECOND)
    found = ask_offsets(world, 2, -1)
    assert (found.error, found.offset, found.leader_epoch) == ("NONE", 1, 1)


def test_offsets_by_time_lie_below_the_high_watermark() -> None:
    world = three()
    world.produced(1, b"a")
    start_ms = world.kernel.epoch_ms
    assert ask_offsets(world, 1, start_ms).offset == 0
    assert ask_offsets(world, 1, start_ms + 10**9).offset == -1
    assert ask_offsets(world, 1, -3).offset == 0


def test_where_an_epoch_ended() -> None:
    world = three()
    world.produced(1, b"a")
    world.change(leader=2)
    world.run(SECOND)
    world.produced(2, b"b")
    items = tuple(OffsetForLeaderEpochItem(TP, -1, epoch) for epoch in (0, 1, 2))
    world.send(2, OffsetForLeaderEpochRequest(world.next_number(), items))
    world.run(20 * MS)
    results = world.answers(OffsetForLeaderEpochResponse)[-1].results
    assert [(result.leader_epoch, result.end_offset) for result in results] == [(0, 1), (1, 2), (-1, -1)]


# -- metadata and administration ------------------------------------------------------------------------------------------------


def test_metadata_names_live_brokers_and_partitions_without_a_leader() -> None:
    world = three()
    world.commit(BrokerRegistrationChange(1, world.broker(1).broker_epoch, fenced=True))
    world.run(SECOND // 2)
    world.send(2, MetadataRequest(world.next_number(), ("orders", "nowhere", "bad name")))
    world.run(20 * MS)
    answer = world.answers(MetadataResponse)[-1]
    orders, nowhere, bad = answer.topics
    assert [known.broker_id for known in answer.brokers] in ([2, 3], [1, 2, 3])
    if len(answer.brokers) == 2:  # broker 1 has not sent its next heartbeat yet
        assert (orders.partitions[0].error, orders.partitions[0].leader_id) == ("LEADER_NOT_AVAILABLE", -1)
        assert orders.partitions[0].offline_replicas == (1,)
    assert nowhere.error == "UNKNOWN_TOPIC_OR_PARTITION"
    assert bad.error == "INVALID_TOPIC_EXCEPTION"
    assert answer.cluster_id == world.broker(2).cluster_id != ""


def test_asking_for_an_unknown_topic_creates_it_where_that_is_allowed() -> None:
    world = three()
    for _ in range(2):
        world.send(1, MetadataRequest(world.next_number(), ("new",), True))
        world.run(20 * MS)
    asked = [request for request in world.controller.requests if isinstance(request, EnvelopeRequest)]
    assert [request.request.topics for request in asked] == [(CreatableTopic("new"),)]  # type: ignore[attr-defined]


def test_forwarded_requests_come_back_with_the_clients_number() -> None:
    world = three()
    world.controller.answers[CreateTopicsRequest] = AdminResponse(0, "NONE", (AdminResult("new", "NONE"),))
    number = world.next_number()
    world.send(1, CreateTopicsRequest(number, (CreatableTopic("new"),)))
    world.run(20 * MS)
    assert [(answer.correlation_id, answer.results[0].name) for answer in world.answers(AdminResponse)] == [(number, "new")]


def test_forwarded_requests_outlast_a_controller_change_and_time_out_after_30_s() -> None:
    world = three()
    world.controller.active = False
    world.controller.answers[DescribeQuorumRequest] = DescribeQuorumResponse(0, "NONE", 101)
    world.send(1, DescribeQuorumRequest(world.next_number()))
    world.run(SECOND)
    assert world.answers(DescribeQuorumResponse) == []
    world.controller.active = True
    world.run(SECOND)
    assert [answer.leader_id for answer in world.answers(DescribeQuorumResponse)] == [101]
    world.send(1, CreateTopicsRequest(world.next_number(), (CreatableTopic("unanswered"),)))
    world.run(29 * SECOND)
    assert world.answers(AdminResponse) == []
    world.run(2 * SECOND)
    assert world.answers(AdminResponse)[-1].error == "REQUEST_TIMED_OUT"


def test_producer_ids_are_unique_over_brokers_and_blocks() -> None:
    world = three()
    for broker_id in (1, 2):
        world.send(broker_id, InitProducerIdRequest(world.next_number()))
    world.run(100 * MS)
    assert {answer.error for answer in world.answers(InitProducerIdResponse)} == {"COORDINATOR_LOAD_IN_PROGRESS"}
    for _ in range(1200):
        world.send(1, InitProducerIdRequest(world.next_number()))
        world.send(2, InitProducerIdRequest(world.next_number()))
        world.run(2 * MS)
    given = [answer.producer_id for answer in world.answers(InitProducerIdResponse) if answer.error == "NONE"]
    assert len(given) == len(set(given)) == 2400


def test_configs_tell_where_their_value_comes_from() -> None:
    world = World(configs={"log.retention.ms": "1000"})
    world.topic((1, 2, 3), configs={"min.insync.replicas": "2"})
    world.commit(Config("broker", "", "log.segment.bytes", "2097152"))
    world.run(SECOND)
    world.send(1, DescribeConfigsRequest(world.next_number(), "topic", "orders"))
    world.run(20 * MS)
    answer = world.answers(DescribeConfigsResponse)[-1]
    found = {entry.name: (entry.value, entry.source) for entry in answer.entries}
    assert found["min.insync.replicas"] == ("2", "DYNAMIC_TOPIC_CONFIG")
    assert found["segment.bytes"] == ("2097152", "DYNAMIC_DEFAULT_BROKER_CONFIG")
    assert found["retention.ms"] == ("1000", "STATIC_BROKER_CONFIG")
    assert found["cleanup.policy"] == ("delete", "DEFAULT_CONFIG")
