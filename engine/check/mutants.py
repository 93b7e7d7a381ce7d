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
    Mutant(
        "handover-before-revocation",
        "KIP-848: a partition goes to its next owner before the last one has confirmed that it let go.",
    ),
    Mutant("cooperative-handover-before-revocation", "cooperative-sticky deals out what still has another owner."),
    Mutant("commit-before-replication", "The group coordinator answers right after its own append."),
    Mutant("zombie-not-fenced", "A transactional producer may write in an epoch that is over."),
    Mutant("abort-marker-missing", "One partition of an aborted transaction gets no marker."),
    Mutant("share-state-not-written", "The share coordinator answers without having written what became of the records."),
    Mutant("stale-verdicts", "A broker remembers what was allowed when the ACLs have long changed."),
)
"""Only the profile "full" has what these spoil."""
