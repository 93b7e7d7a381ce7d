"""What the Log view tells of a batch beyond its header. The records are looked at once per batch: replicas and checkpoints share the bytes."""

from __future__ import annotations

from functools import lru_cache

from engine.log.errors import LogError
from engine.log.record_batch import ControlRecordType, decode, read_end_txn_marker, read_header

REMEMBERED = 4_000


@lru_cache(maxsize=REMEMBERED)
def kind_of(data: bytes) -> str:
    """ "transactional", or what a marker says: "commit" or "abort"; "" where it says nothing (any more)."""
    if not read_header(data).is_control_batch:
        return "transactional"
    try:
        marker = read_end_txn_marker(data)
    except LogError:
        return ""
    return "" if marker is None else "commit" if marker.type == ControlRecordType.COMMIT else "abort"


@lru_cache(maxsize=REMEMBERED)
def tombstones_in(data: bytes) -> int:
    """Records with a key and without a value."""
    try:
        return sum([record.value is None and record.key is not None for record in decode(data)])
    except LogError:
        return 0
