"""What ``__transaction_state`` holds: one record per transactional ID, rewritten with each of its changes (Kafka's ``TransactionLog``).

The key is ``TransactionLogKey`` version 0, the value ``TransactionLogValue`` version 1, whose tagged fields came with transactions v2
(KIP-890): the producer IDs before and after, the client's transaction version, the last epoch. A tombstone says that the ID has expired.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from engine.coordination.record_codec import Reader, RecordFormatError, Writer
from engine.messages.base import TopicPartition

KEY_VERSION = 0
VALUE_VERSION = 1
NO_ID = NO_EPOCH = NO_TIMESTAMP = -1
_PREVIOUS_PRODUCER_ID, _NEXT_PRODUCER_ID, _CLIENT_VERSION, _LAST_EPOCH = range(4)
_LONG_BYTES, _SHORT_BYTES = 8, 2


class TransactionState(IntEnum):
    """``PREPARE_EPOCH_FENCE`` is never written: the abort that follows at once is."""

    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7

    @property
    def title(self) -> str:
        """As Kafka's tools print it: ``CompleteCommit``."""
        return self.name.title().replace("_", "")


class TransactionMetadata(msgspec.Struct, frozen=True):
    """What the coordinator knows of one transactional ID. Immutable: a change puts a new one in its place, so that checkpoints share it.

    ``previous_producer_id`` and ``last_producer_epoch`` recognise a client that repeats its request; ``next_producer_id`` is the ID
    that follows when the epochs of this one are used up (-1 otherwise). Times are in milliseconds of the wall clock.
    """

    transactional_id: str
    producer_id: int
    producer_epoch: int
    timeout_ms: int
    state: TransactionState = TransactionState.EMPTY
    partitions: tuple[TopicPartition, ...] = ()
    start_ms: int = NO_TIMESTAMP
    last_update_ms: int = NO_TIMESTAMP
    previous_producer_id: int = NO_ID
    next_producer_id: int = NO_ID
    last_producer_epoch: int = NO_EPOCH
    client_version: int = 0


def encode_key(transactional_id: str) -> bytes:
    return Writer().int16(KEY_VERSION).string(transactional_id).done()


def decode_key(key: bytes) -> str:
    """Raises RecordFormatError."""
    reader = Reader(key)
    version = reader.int16()
    if version != KEY_VERSION:
        raise RecordFormatError(f"TransactionLogKey version {version}")
    return reader.string()


def encode_value(metadata: TransactionMetadata) -> bytes:
    out = Writer().int16(VALUE_VERSION)
    out.int64(metadata.producer_id).int16(metadata.producer_epoch).int32(metadata.timeout_ms).int8(metadata.state)
    if metadata.state == TransactionState.EMPTY:
        out.compact_array(-1)
    else:
        by_topic: dict[str, list[int]] = {}
        for topic, number in metadata.partitions:
            by_topic.setdefault(topic, []).append(number)
        out.compact_array(len(by_topic))
        for topic, numbers in by_topic.items():
            out.compact_string(topic).compact_array(len(numbers))
            for number in numbers:
                out.int32(number)
            out.tags()
    out.int64(metadata.last_update_ms).int64(metadata.start_ms)
    return _tagged(out, metadata).done()


def _tagged(out: Writer, metadata: TransactionMetadata) -> Writer:
    """Only what differs from its default is written, in the order of the tags."""
    longs = ((_PREVIOUS_PRODUCER_ID, metadata.previous_producer_id), (_NEXT_PRODUCER_ID, metadata.next_producer_id))
    shorts = ((_CLIENT_VERSION, metadata.client_version, 0), (_LAST_EPOCH, metadata.last_producer_epoch, NO_EPOCH))
    long_tags = [(tag, value) for tag, value in longs if value != NO_ID]
    short_tags = [(tag, value) for tag, value, default in shorts if value != default]
    out.uvarint(len(long_tags) + len(short_tags))
    for tag, value in long_tags:
        out.uvarint(tag).uvarint(_LONG_BYTES).int64(value)
    for tag, value in short_tags:
        out.uvarint(tag).uvarint(_SHORT_BYTES).int16(value)
    return out


def decode_value(transactional_id: str, value: bytes) -> TransactionMetadata:
    """Raises RecordFormatError."""
    reader = Reader(value)
    version = reader.int16()
    if version != VALUE_VERSION:
        raise RecordFormatError(f"TransactionLogValue version {version}")
    producer_id, epoch, timeout_ms, state = reader.int64(), reader.int16(), reader.int32(), reader.int8()
    partitions: list[TopicPartition] = []
    for _ in range(reader.compact_array()):
        topic = reader.compact_string()
        partitions += [TopicPartition(topic, reader.int32()) for _ in range(reader.compact_array())]
        reader.tags()
    last_update_ms, start_ms = reader.int64(), reader.int64()
    previous, following, client_version, last_epoch = _read_tags(reader)
    try:
        known = TransactionState(state)
    except ValueError:
        raise RecordFormatError(f"transaction state {state}") from None
    return TransactionMetadata(
        transactional_id, producer_id, epoch, timeout_ms, known, tuple(partitions), start_ms, last_update_ms, previous, following,
        last_epoch, client_version,
    )  # fmt: skip


def _read_tags(reader: Reader) -> tuple[int, int, int, int]:
    """(previous producer ID, next producer ID, client's transaction version, last epoch)."""
    previous = following = NO_ID
    client_version, last_epoch = 0, NO_EPOCH
    for _ in range(reader.uvarint()):
        tag, size = reader.uvarint(), reader.uvarint()
        if tag == _PREVIOUS_PRODUCER_ID:
            previous = reader.int64()
        elif tag == _NEXT_PRODUCER_ID:
            following = reader.int64()
        elif tag == _CLIENT_VERSION:
            client_version = reader.int16()
        elif tag == _LAST_EPOCH:
            last_epoch = reader.int16()
        else:
            reader.position += size
    return previous, following, client_version, last_epoch
