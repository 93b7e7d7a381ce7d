"""One-line sabotages that the simulator must catch, or its invariants prove nothing. A node honours them only when its specification
names them; no real cluster does."""

from __future__ import annotations

import msgspec


class Mutant(msgspec.Struct, frozen=True):
    name: str
    sabotage: str


REPLICATION_MUTANTS = (
    Mutant("truncate-to-hw", "A follower truncates to its own high watermark instead of by leader epoch."),
    Mutant("no-alter-partition-fence", "The controller accepts AlterPartition whatever its epochs say."),
    Mutant("hw-committed-isr-only", "The high watermark counts only the committed ISR, not the one being proposed."),
    Mutant("no-sequence-check", "The broker appends whatever sequence number comes."),
    Mutant("ack-before-replication", "acks=all is answered right after the leader's own append."),
)
FULL_MUTANTS = (
    Mutant("lso-ignores-open-transactions", "The last stable offset follows the high watermark, whatever transaction is open."),
    Mutant("cleaner-crosses-lso", "The cleaner goes past the last stable offset, where nothing is decided yet."),
)
"""Only the profile "full" has what these spoil."""
