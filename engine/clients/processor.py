"""A read-process-write application: one process with a consumer and a producer, each record read becoming one record written.

With a ``transactional.id`` it works as Kafka's documentation shows it (KIP-98, KIP-447): begin, send, sendOffsetsToTransaction, commit; an
error that can be aborted takes it back to the last committed offsets, one that cannot ends it. Without, it waits until what it sent is
acknowledged and then commits its offsets: at least once. Source: ``ExactlyOnceMessageProcessor`` of Kafka's examples.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec

from engine.clients import group_coordinator as gc
from engine.clients import offsets_manager as offsets
from engine.clients import transaction_manager as tm
from engine.clients.application import ABORT, BEGIN, COMMIT, SEND_OFFSETS
from engine.clients.configs import COMMON_KEYS, CONSUMER_KEYS, PRODUCER_KEYS, ConsumerConfig, ProducerConfig
from engine.clients.consumer import ConsumerNode
from engine.clients.consumer_state import COMMIT_AFTER, COMMITTING, CommitCall, Membership, Work
from engine.clients.position import INITIALISING
from engine.clients.producer import ProducerNode
from engine.clients.transaction_manager import TxnRequest
from engine.errors import EngineError
from engine.events import ProcessingAborted
from engine.log.record_batch import Headers, Record
from engine.messages.base import Disconnected, Message, Response, Timer, TopicPartition
from engine.messages.instructions import BeginShutdown, SubscribeTopics
from engine.sim.outbox import ARM, CANCEL, Outbox

PRODUCERS_CORRELATION_IDS = 2**44
"""Two clients share one address; so far apart, their correlation IDs never meet."""
CONSUMER, PRODUCER = "consumer", "producer"
WORKING, ENDING, ABORTING, FLUSHING = "working", "ending", "aborting", "flushing"


class PartTimer(Timer, frozen=True, gc=False, tag=True):
    """A timer of one of the two clients in the process."""

    part: str
    timer: Timer


class Input(msgspec.Struct, frozen=True, gc=False):
    """A record that a poll returned and that is not processed yet."""

    partition: TopicPartition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def split_configs(given: dict[str, str], group: str) -> tuple[dict[str, str], dict[str, str]]:
    """(the consumer's configuration, the producer's). Raises EngineError as either client does.

    A processor commits its offsets itself, begins with the first record and, where it is transactional, reads what is committed."""
    if "enable.auto.commit" in given or "group.id" in given:
        field_name = "group.id" if "group.id" in given else "enable.auto.commit"
        raise EngineError(
            f"{field_name}: leave it out; a processor has its own field for it.", field=field_name, code="INVALID_CONFIG"
        )
    shared = {name: value for name, value in given.items() if name in COMMON_KEYS}
    producer = {name: value for name, value in given.items() if name in PRODUCER_KEYS}
    isolation = "read_committed" if "transactional.id" in given else "read_uncommitted"
    consumer = {
        "group.id": group,
        "enable.auto.commit": "false",
        "auto.offset.reset": "earliest",
        "isolation.level": isolation,
        **shared,
    }
    consumer.update({name: value for name, value in given.items() if name not in PRODUCER_KEYS or name in CONSUMER_KEYS})
    ProducerConfig.from_map(producer)
    ConsumerConfig.from_map(consumer)
    return consumer, producer


@dataclass(slots=True)
class ProcessorConsumer(ConsumerNode):
    """The consumer, whose application hands what it reads to ``producer``. ``stage``: how far the end of a round has come.
    ``generation`` and ``member_id``: what ``groupMetadata()`` tells, that is the last membership: when the coordinator has thrown the
    member out, the offsets of its transaction must still carry the old one, or nothing would fence them (KIP-447)."""

    producer: ProducerNode
    output_topic: str
    next_record_id: int
    inputs: deque[Input] = field(init=False, default_factory=deque)
    stage: str = field(init=False, default=WORKING)
    sent_in_round: int = field(init=False, default=0)
    failed_before: int = field(init=False, default=0)
    processed: int = field(init=False, default=0)
    generation: int = field(init=False, default=-1)
    member_id: str = field(init=False, default="")

    def __post_init__(self) -> None:
        ConsumerNode.__post_init__(self)
        self.application.commit_each_poll = COMMIT_AFTER
        self.application.counts_all = True

    # -- the work ---------------------------------------------------------------------------------------------------------------------

    def taken(self, partition: TopicPartition, records: list[Record]) -> None:
        if self.group is not None:
            self._note_membership(self.group)
        self.inputs.extend([Input(partition, one.offset, one.key, one.value, one.headers) for one in records])

    def work_done(self, work: Work, done: tuple[int, ...], out: Outbox) -> None:
        """What was read is sent on as it is; the first of a round begins the transaction."""
        before = len(out.effects)
        transactions = self.producer.transactions
        for offset in done:
            record = self._input(work.partition, offset)
            if record is None:
                continue
            if transactions is not None and not self.sent_in_round:
                self.producer.call(BEGIN, out)
            self.sent_in_round += 1
            self.processed += 1
            if transactions is None or transactions.state not in (tm.ABORTABLE_ERROR, tm.FATAL_ERROR):
                number, self.next_record_id = self.next_record_id, self.next_record_id + 1
                self.producer.send(self.output_topic, -1, (record.key, record.value, record.headers, out.now_ms), number, "", out)
        self.producer._proceed(out)
        wrap(out, before, PRODUCER)

    def _note_membership(self, group: Membership) -> None:
        if group.generation > 0:
            self.generation, self.member_id = group.generation, group.member_id

    def _input(self, partition: TopicPartition, offset: int) -> Input | None:
        """The next one; those before it belonged to a partition that was given up."""
        while self.inputs:
            record = self.inputs.popleft()
            if (record.partition, record.offset) == (partition, offset):
                return record
        return None

    # -- the end of a round ------------------------------------------------------------------------------------------------------------

    def drive_commit(self, group: Membership, call: CommitCall, out: Outbox) -> bool:
        if self.producer.transactions is None:
            return self._drive_plain(group, call, out)
        if self.stage == WORKING:
            if not self.sent_in_round:
                call.done = True
                return True
            self.stage = ENDING
            self._end_transaction(group, call, out)
        return self._await_end(self.producer.transactions, group, call, out)

    def _end_transaction(self, group: Membership, call: CommitCall, out: Outbox) -> None:
        self._note_membership(group)
        instance_id = self.settings.group_instance_id
        request = TxnRequest(
            tm.OFFSETS, out.cause, group.group_id, False, call.offsets, self.generation, self.member_id, instance_id
        )
        before = len(out.effects)
        self.producer.call(SEND_OFFSETS, out, request)
        self.producer.call(COMMIT, out)
        self.producer._proceed(out)
        wrap(out, before, PRODUCER)

    def _await_end(self, transactions: tm.TransactionManager, group: Membership, call: CommitCall, out: Outbox) -> bool:
        if self.producer.blocked:
            return False
        if transactions.state == tm.FATAL_ERROR:
            gc.crash(self, group, f"the producer failed: {transactions.last_error}", out)
            call.done = True
            return True
        if transactions.state == tm.ABORTABLE_ERROR:
            self.stage = ABORTING
            before = len(out.effects)
            self.producer.call(ABORT, out)
            self.producer._proceed(out)
            wrap(out, before, PRODUCER)
            if self.producer.blocked or transactions.state != tm.READY:
                return False
        call.done = True
        if self.stage == ABORTING:
            self._rewind(group, out)
        else:
            self._note_committed(call)
        self._begin_round()
        return True

    def _note_committed(self, call: CommitCall) -> None:
        for item in call.offsets:
            position = self.positions.get(item.partition)
            if position is not None:
                position.committed = item.offset

    def _drive_plain(self, group: Membership, call: CommitCall, out: Outbox) -> bool:
        """``flush`` and then ``commitSync``; what could not be sent is read again."""
        producer = self.producer
        if self.stage == WORKING:
            self.stage = FLUSHING
            before = len(out.effects)
            producer.accumulator.flush_below = producer.accumulator.next_batch_id
            producer._proceed(out)
            wrap(out, before, PRODUCER)
        if producer.blocked or producer.accumulator.batches:
            return False
        if producer.failed > self.failed_before:
            call.done = True
            self._rewind(group, out)
        elif not offsets.drive(self, group, call, out):
            return False
        self._begin_round()
        return True

    def _begin_round(self) -> None:
        self.stage, self.sent_in_round = WORKING, 0
        self.failed_before = self.producer.failed

    def _rewind(self, group: Membership, out: Outbox) -> None:
        """``resetToLastCommittedPositions``: what was processed in vain is processed again."""
        number = out.emit(ProcessingAborted(self.name, group.group_id, self.sent_in_round))
        self.inputs.clear()
        self.buffer.clear()
        for position in self.positions.values():
            position.state, position.cause = INITIALISING, number
            position.failures = position.retry_at_us = 0


def wrap(out: Outbox, first: int, part: str) -> None:
    """Marks the timers among the effects from ``first`` on as those of ``part``."""
    effects = out.effects
    for position in range(first, len(effects)):
        kind, destination, body, after_us, cause = effects[position]
        if kind in (ARM, CANCEL) and isinstance(body, Timer) and not isinstance(body, PartTimer):
            effects[position] = (kind, destination, PartTimer(part, body), after_us, cause)


@dataclass(slots=True)
class ProcessorNode:
    """The process. ``consumer`` holds the producer; both have the process's name and address."""

    name: str
    brokers: tuple[int, ...]
    configs: dict[str, str]
    group: str
    input_topic: str
    output_topic: str
    processing_ms: int
    first_record_id: int
    consumer: ProcessorConsumer = field(init=False)

    def __post_init__(self) -> None:
        of_consumer, of_producer = split_configs(self.configs, self.group)
        producer = ProducerNode(self.name, self.brokers, of_producer)
        self.consumer = ProcessorConsumer(self.name, self.brokers, of_consumer, producer, self.output_topic, self.first_record_id)
        self.consumer.application.processing_us = self.processing_ms * 1000

    @property
    def producer(self) -> ProducerNode:
        return self.consumer.producer

    def start(self, out: Outbox) -> None:
        """``initTransactions`` first, so that what a former process had left open is aborted; then the group is joined."""
        before = len(out.effects)
        self.producer.connections.next_correlation_id += PRODUCERS_CORRELATION_IDS
        self.producer.start(out)
        wrap(out, before, PRODUCER)
        before = len(out.effects)
        self.consumer.start(out)
        self.consumer.handle("", SubscribeTopics((self.input_topic,)), out)
        wrap(out, before, CONSUMER)

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        if isinstance(body, PartTimer):
            self._pass_on(body.part, source, body.timer, out)
        elif isinstance(body, Response):
            part = PRODUCER if body.correlation_id >= PRODUCERS_CORRELATION_IDS else CONSUMER
            self._pass_on(part, source, body, out)
        elif isinstance(body, Disconnected):
            cause = out.cause
            self._pass_on(PRODUCER, source, body, out)
            out.because(cause)
            self._pass_on(CONSUMER, source, body, out)
        else:
            self._pass_on(CONSUMER, source, body, out)

    def _pass_on(self, part: str, source: str, body: Message | Timer, out: Outbox) -> None:
        """Either client may end a step of the other's; the process ends when both have closed."""
        before = len(out.effects)
        if part == PRODUCER:
            self.producer.handle(source, body, out)
            wrap(out, before, PRODUCER)
            if out.exited or self.consumer.application.state != COMMITTING:
                return
            before = len(out.effects)
            self.consumer._proceed(out)
        else:
            self.consumer.handle(source, body, out)
        wrap(out, before, CONSUMER)
        if out.exited:  # the consumer has left its group: now the producer
            out.exited = False
            before = len(out.effects)
            self.producer.handle("", BeginShutdown(), out)
            wrap(out, before, PRODUCER)
