"""The accumulator alone, under random use: nothing is lost, nothing doubled, order per partition is kept, memory adds up."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.clients.accumulator import NO_ROOM, Accumulator
from engine.clients.batch import ProducerBatch, record_bytes, upper_bound_bytes
from engine.clients.common import LeaderAndEpoch, Metadata, TopicMetadata
from engine.clients.configs import ProducerConfig
from engine.clients.idempotence import ProducerIdState
from engine.log.record_batch import HEADER_BYTES, build_batch, decode, read_header
from engine.messages.base import TopicPartition
from engine.sim.rng import Stream


def topic(*leaders: int) -> TopicMetadata:
    return TopicMetadata("t", "id", tuple(LeaderAndEpoch(leader, 0) for leader in leaders), tuple(range(len(leaders))))


class AccumulatorModel(RuleBasedStateMachine):
    """Brokers 1 and 2 lead two partitions each. A sent batch is answered in any order across partitions, in order within one."""

    def __init__(self) -> None:
        super().__init__()
        self.configs = ProducerConfig.from_map({"batch.size": "300", "buffer.memory": "3000", "linger.ms": "5"})
        self.accumulator = Accumulator(self.configs)
        self.ids = ProducerIdState(True, producer_id=9, producer_epoch=0)
        self.metadata = Metadata(topics={"t": topic(1, 2, 1, 2)})
        self.now = 0
        self.next_id = 0
        self.stream = Stream(1)
        self.appended: dict[int, int] = {}
        self.sent: dict[TopicPartition, list[int]] = {}
        self.done: list[int] = []
        self.written: dict[TopicPartition, list[int]] = {}

    @rule(partition=st.integers(-1, 3), size=st.integers(0, 400), keyed=st.booleans())
    def append(self, partition: int, size: int, keyed: bool) -> None:
        record = (b"k%d" % size if keyed else None, b"v" * size, (), self.now // 1000)
        flags = self.accumulator.append(self.next_id, self.metadata.topics["t"], partition, record, self.now, 0, self.stream)
        if flags == NO_ROOM:
            assert self.accumulator.memory_used + max(300, upper_bound_bytes(record)) > 3000
        else:
            self.appended[self.next_id] = partition
        self.next_id += 1

    @rule(ms=st.integers(1, 200))
    def wait(self, ms: int) -> None:
        self.now += ms * 1000

    @rule()
    def drain(self) -> None:
        brokers, again_us, leaderless = self.accumulator.ready(self.now, self.metadata)
        assert not leaderless
        assert again_us > self.now
        for broker in brokers:
            for batch in self.accumulator.drain(broker, self.now, self.metadata, self.ids):
                assert self.metadata.topics["t"].leaders[batch.partition.partition].leader_id == broker
                assert batch.batch_id not in self.sent.setdefault(batch.partition, [])
                data = self.accumulator.encode(batch)
                assert len(data) == batch.size_bytes, "sizes are exact without compression"
                assert len(data) <= batch.write_limit_bytes
                assert [record.value for record in decode(data)] == [record[1] for record in batch.records]
                assert read_header(data).base_sequence == batch.base_sequence
                self.sent[batch.partition].append(batch.batch_id)

    def _first_sent(self, partition: int) -> ProducerBatch | None:
        waiting = self.sent.get(TopicPartition("t", partition), [])
        return self.accumulator.batches[waiting.pop(0)] if waiting else None

    @rule(partition=st.integers(0, 3))
    def acknowledge(self, partition: int) -> None:
        """Only the next in sequence can succeed: any other would have been refused as out of order."""
        tp = TopicPartition("t", partition)
        waiting = self.sent.get(tp, [])
        if not waiting:
            return
        batch = self.accumulator.batches[waiting[0]]
        written = self.written.setdefault(tp, [])
        if batch.base_sequence != len(written):
            self.retry(partition)
            return
        waiting.pop(0)
        self.accumulator.came_back(batch)
        written += batch.record_ids
        self.done += batch.record_ids
        self.ids.acknowledged(batch, len(written))
        self.ids.forget(batch)
        self.accumulator.release(batch)

    @rule(partition=st.integers(0, 3))
    def retry(self, partition: int) -> None:
        batch = self._first_sent(partition)
        if batch is not None:
            self.accumulator.came_back(batch)
            self.accumulator.reenqueue(batch, self.now + 100_000)

    @rule(partition=st.integers(0, 3))
    def split(self, partition: int) -> None:
        waiting = self.sent.get(TopicPartition("t", partition), [])
        if waiting and len(self.accumulator.batches[waiting[0]].records) > 1:
            batch = self._first_sent(partition)
            assert batch is not None
            self.accumulator.came_back(batch)
            pieces = self.accumulator.split(batch, self.ids, self.now)
            assert [number for piece in pieces for number in piece.record_ids] == batch.record_ids

    @precondition(lambda self: self.metadata.topics["t"].leaders[0].leader_id == 1)
    @rule()
    def move_leader(self) -> None:
        assert self.metadata.learn_leader(TopicPartition("t", 0), 2, 1)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        batches = self.accumulator.batches
        held = [number for batch in batches.values() for number in batch.record_ids]
        assert sorted(held + self.done) == sorted(self.appended)
        places = [number for queue in self.accumulator.queues.values() for number in (*queue.queued, *queue.on_wire)]
        assert sorted(places) == sorted(batches)

    @invariant()
    def memory_adds_up(self) -> None:
        assert self.accumulator.memory_used == sum(batch.allocated_bytes for batch in self.accumulator.batches.values()) <= 3000
        assert self.accumulator.buffered_records == sum(len(batch.records) for batch in self.accumulator.batches.values())

    @invariant()
    def order_per_partition_is_that_of_the_calls(self) -> None:
        for written in self.written.values():
            assert written == sorted(written)
        for queue in self.accumulator.queues.values():
            sequences = [self.accumulator.batches[number].base_sequence for number in queue.queued]
            assigned = [sequence for sequence in sequences if sequence >= 0]
            assert sequences == sorted(assigned) + [-1] * (len(sequences) - len(assigned))

    def teardown(self) -> None:
        """Whatever happened, everything can still be sent and acknowledged."""
        for _ in range(4000):
            if not self.accumulator.batches:
                break
            self.now += 1_000_000
            self.drain()
            for partition in range(4):
                self.acknowledge(partition)
        assert not self.accumulator.batches


AccumulatorModel.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestAccumulator = AccumulatorModel.TestCase


def test_sizes_are_those_of_the_encoded_bytes():
    records = [
        (b"k" * (n % 80), b"v" * (n * 37 % 9000), (("h", b"x"), ("n", None)) if n % 3 else (), 1000 + n * 50) for n in range(200)
    ]
    size = HEADER_BYTES + sum(record_bytes(n, record[3] - 1000, record) for n, record in enumerate(records))
    assert size == len(build_batch(records))
    assert all(upper_bound_bytes(record) >= len(build_batch([record])) for record in records)


def test_with_one_request_in_flight_a_moved_partition_waits_for_the_old_leaders_answer():
    accumulator = Accumulator(ProducerConfig.from_map({"max.in.flight.requests.per.connection": "1", "batch.size": "0"}))
    metadata, ids = Metadata(topics={"t": topic(1)}), ProducerIdState(False)
    for number in range(2):
        accumulator.append(number, metadata.topics["t"], 0, (None, b"v" * 900, (), 0), 0, 0, Stream(1))
    first = accumulator.drain(1, 10_000, metadata, ids)
    metadata.learn_leader(TopicPartition("t", 0), 2, 1)
    assert accumulator.drain(2, 10_000, metadata, ids) == []
    accumulator.came_back(first[0])
    assert len(accumulator.drain(2, 10_000, metadata, ids)) == 1


def test_brokers_take_turns_among_partitions_when_a_request_is_full():
    accumulator = Accumulator(ProducerConfig.from_map({"max.request.size": "1500", "batch.size": "1000", "acks": "1"}))
    metadata, ids = Metadata(topics={"t": topic(1, 1, 1)}), ProducerIdState(False)
    for number in range(9):
        accumulator.append(number, metadata.topics["t"], number % 3, (None, b"v" * 900, (), 0), 0, 0, Stream(1))
    order = [batch.partition.partition for _ in range(3) for batch in accumulator.drain(1, 10_000, metadata, ids)]
    assert order == [0, 1, 2]
