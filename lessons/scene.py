"""What a goal may look at: the lab as it is, the fate of the records, and what has happened since a step began.

A scene is made once per look and read by all goals of a step; the view is built only if one of them asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.check.ledger import FATES, Ledger, LedgerRow
from engine.events import Event, Happening
from engine.lab import Lab
from engine.view.tree import PartitionView, View

PAGE = 2_000


@dataclass(slots=True)
class Past:
    """What has happened in a lab, by kind of event; reads on from where it stood. Begins anew after a rewind or a change of branch."""

    cursor: int = 0
    branch: int = -1
    now_us: int = -1
    kinds: dict[str, list[Happening]] = field(default_factory=dict)

    def update(self, lab: Lab) -> None:
        if lab.branch != self.branch or lab.now_us < self.now_us:
            self.cursor, self.kinds = 0, {}
        self.branch, self.now_us = lab.branch, lab.now_us
        while page := lab.history(self.cursor, PAGE):
            for happening in page:
                self.kinds.setdefault(type(happening.event).__name__, []).append(happening)
            self.cursor = page[-1].id

    def of(self, kind: str) -> list[Happening]:
        return self.kinds.get(kind, [])


@dataclass(slots=True)
class Scene:
    """``since_us``: when the step began. Goals of scope "step" count what was sent and what happened from then on."""

    lab: Lab
    past: Past
    since_us: int
    read_ledger: Callable[[], Ledger]
    _ledger: Ledger | None = None
    _view: View | None = None

    @classmethod
    def of(cls, lab: Lab, ledger: Ledger | Callable[[], Ledger], since_us: int = 0, past: Past | None = None) -> Scene:
        """``ledger``: a snapshot, or what makes one if it is asked for. ``past`` spares the next look what this one has read."""
        known = past if past is not None else Past()
        known.update(lab)
        return cls(lab, known, since_us, ledger if callable(ledger) else lambda: ledger)

    @property
    def ledger(self) -> Ledger:
        if self._ledger is None:
            self._ledger = self.read_ledger()
        return self._ledger

    @property
    def view(self) -> View:
        if self._view is None:
            self._view = self.lab.view()
        return self._view

    def begin_us(self, scope: str) -> int:
        return self.since_us if scope == "step" else 0

    def partition(self, name: str) -> PartitionView | None:
        """By Kafka's name, ``orders-0``."""
        topic, _, number = name.rpartition("-")
        found = self.view.topics.get(topic)
        return found.partitions.get(str(int(number))) if found is not None else None

    def happened(self, kind: str, scope: str = "step") -> list[Happening]:
        begin = self.begin_us(scope)
        events = self.past.of(kind)
        return events if begin <= 0 else [happening for happening in events if happening.at_us >= begin]

    def rows(self, scope: str = "step", *, producer: str = "", topic: str = "", partition: str = "") -> list[LedgerRow]:
        """Records sent since the scope began, by producer, topic or partition where one is named."""
        begin = self.begin_us(scope)
        return [
            row
            for row in self.ledger.rows
            if row.sent_us >= begin
            and (not producer or row.producer == producer)
            and (not topic or row.topic == topic)
            and (not partition or f"{row.topic}-{row.partition}" == partition)
        ]


def kind_of(event: Event) -> str:
    return type(event).__name__


__all__ = ["FATES", "Past", "Scene", "kind_of"]
