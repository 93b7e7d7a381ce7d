"""What the coordinator runtime of a broker asks of a shard: the state machine over one partition of an internal topic.

Kafka's ``CoordinatorShard`` and ``CoordinatorPlayback``. A shard decides (records to write, replies to give once they are committed) and
replays; a broker that becomes the partition's leader rebuilds it from the log. It knows no broker and no replication.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from engine.messages.base import Response
from engine.metadata.image import MetadataImage
from engine.sim.outbox import Outbox

Records = list[tuple[bytes, bytes | None]]
"""Key and value each; a value None is a tombstone."""


class ShardState(Protocol):
    """Slotted dataclasses that checkpoints can copy; empty for a partition that nobody has used."""

    def replay(
        self, offset: int, producer_id: int, producer_epoch: int, key: bytes, value: bytes | None, timestamp_ms: int
    ) -> None:
        """One record of the log, whether just written here or read while loading. ``producer_id`` -1 outside transactions; otherwise
        the record counts once the transaction's marker says so."""

    def replay_end_transaction_marker(self, producer_id: int, producer_epoch: int, committed: bool) -> None: ...


class Continuation(msgspec.Struct, frozen=True, gc=False, tag=True):
    """What a shard wants to do once its records are committed (or their write has failed): data, so that it can be stored."""


@dataclass(slots=True)
class Decision:
    """What a shard decides while it handles one request or one timer (Kafka's ``CoordinatorResult``). Lives for that long only.

    ``records`` are appended as one batch; ``replies`` leave when they are committed, ``then`` is handed back at that moment. With no
    records a reply waits for what was written before it. ``at_once`` leaves without waiting for anything.
    """

    out: Outbox
    records: Records = field(default_factory=list)
    replies: list[tuple[str, Response]] = field(default_factory=list)
    at_once: list[tuple[str, Response]] = field(default_factory=list)
    then: Continuation | None = None
    replay: bool = True
    """False: the state is already what the records say (classic groups change in memory first)."""
    image: MetadataImage | None = None
    """The broker's, for whoever decides by topics; not to be kept."""

    def known_metadata(self) -> MetadataImage:
        assert self.image is not None, "this decision was to be taken without topics"
        return self.image
