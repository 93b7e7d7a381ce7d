"""Records of ``__consumer_offsets`` and ``__transaction_state`` as kafka-dump-log.sh spells them with its decoders: JSON of key and value."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from engine.coordination.group_records import (
    GROUP_METADATA_KEY,
    OFFSET_COMMIT_KEYS,
    VALUE_VERSION,
    assignment_bytes,
    read_group_key,
    read_group_value,
    read_offset_key,
    read_offset_value,
    record_kind,
    subscription_bytes,
)
from engine.coordination.record_codec import RecordFormatError
from engine.coordination.transaction_records import NO_ID, decode_key, decode_value

DELETE = "<DELETE>"


def _spell(kind: str, number: int, data: dict[str, Any]) -> str:
    return json.dumps({kind: str(number), "data": data}, separators=(",", ":"), ensure_ascii=False)


def offsets_record(key: bytes, value: bytes | None, offset: int) -> tuple[str, str]:
    """``OffsetsMessageParser``: (key, payload)."""
    try:
        kind = record_kind(key)
        if kind in OFFSET_COMMIT_KEYS:
            group, partition = read_offset_key(key)
            named = {"group": group, "topic": partition.topic, "partition": partition.partition}
            return _spell("type", kind, named), DELETE if value is None else _offset_value(value)
        if kind == GROUP_METADATA_KEY:
            return _spell("type", kind, {"group": read_group_key(key)}), DELETE if value is None else _group_value(value)
    except (RecordFormatError, IndexError) as wrong:
        return f"Error at offset {offset}, skipping. {wrong}", ""
    return f"(a record of type {kind}: this tool decodes offsets and classic groups)", ""


def _offset_value(value: bytes) -> str:
    found = read_offset_value(value)
    data = {"offset": found.offset, "leaderEpoch": found.leader_epoch, "metadata": found.metadata,
            "commitTimestamp": found.commit_timestamp_ms}  # fmt: skip
    return _spell("version", VALUE_VERSION, data)


def _group_value(value: bytes) -> str:
    found = read_group_value(value)
    members = [
        {
            "memberId": member.member_id, "groupInstanceId": member.instance_id or None, "clientId": member.client_id,
            "clientHost": member.client_host, "rebalanceTimeout": member.rebalance_timeout_ms,
            "sessionTimeout": member.session_timeout_ms,
            "subscription": b64encode(subscription_bytes(member.subscription)).decode(),
            "assignment": b64encode(assignment_bytes(member.assignment) if member.assigned else b"").decode(),
        }
        for member in found.members
    ]  # fmt: skip
    data = {"protocolType": found.protocol_type, "generation": found.generation, "protocol": found.protocol or None,
            "leader": found.leader or None, "currentStateTimestamp": found.state_timestamp_ms, "members": members}  # fmt: skip
    return _spell("version", VALUE_VERSION, data)


def transaction_record(key: bytes, value: bytes | None, offset: int) -> tuple[str, str]:
    """``TransactionLogMessageParser``."""
    try:
        name = decode_key(key)
        spelt = _spell("type", 0, {"transactionalId": name})
        return spelt, DELETE if value is None else _transaction_value(name, value)
    except (RecordFormatError, IndexError) as wrong:
        return f"Error at offset {offset}, skipping. {wrong}", ""


def _transaction_value(name: str, value: bytes) -> str:
    """What is tagged and as by default is left out."""
    found = decode_value(name, value)
    by_topic: dict[str, list[int]] = {}
    for topic, number in found.partitions:
        by_topic.setdefault(topic, []).append(number)
    partitions = [{"topic": topic, "partitionIds": numbers} for topic, numbers in by_topic.items()]
    data: dict[str, Any] = {"producerId": found.producer_id}
    if found.previous_producer_id != NO_ID:
        data["previousProducerId"] = found.previous_producer_id
    if found.next_producer_id != NO_ID:
        data["nextProducerId"] = found.next_producer_id
    data |= {"producerEpoch": found.producer_epoch, "transactionTimeoutMs": found.timeout_ms, "transactionStatus": int(found.state),
             "transactionPartitions": partitions or None, "transactionLastUpdateTimestampMs": found.last_update_ms,
             "transactionStartTimestampMs": found.start_ms}  # fmt: skip
    if found.client_version:
        data["clientTransactionVersion"] = found.client_version
    return _spell("version", 1, data)
