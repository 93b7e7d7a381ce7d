"""A lesson as data: steps, and in each step prose and blocks in the order of the page.

Everything is frozen and comes from ``lessons.catalog``; each block knows the line of its file, for errors that come to light only when
the lesson is played.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, TypeVar

import msgspec

from engine.commands import AnyCommand
from engine.spec import ClusterSpec
from lessons import bounds
from lessons.condition import Condition, Counted, Scope

Slug = Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z")]
Line = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
Prose = Annotated[str, msgspec.Meta(min_length=1, max_length=8_000)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]


# -- what a block does ---------------------------------------------------------------------------------------------------------------


class Do(msgspec.Struct, frozen=True):
    """Give a command."""

    command: AnyCommand


class Advance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Let virtual time pass. ``spread_ms`` adds up to so much, drawn from the seed, where a block is run with many seeds."""

    advance_ms: Annotated[float, msgspec.Meta(ge=0, le=bounds.MAX_WAIT_MS)]
    spread_ms: Annotated[float, msgspec.Meta(ge=0, le=60_000)] = 0


class Until(msgspec.Struct, frozen=True):
    """Let time pass until a condition holds, at most ``within_ms``."""

    condition: Condition
    within_ms: Annotated[int, msgspec.Meta(ge=1, le=bounds.MAX_WAIT_MS)] = 60_000


Item = Do | Advance | Until
Items = tuple[Item, ...]


# -- blocks -------------------------------------------------------------------------------------------------------------------------


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """``line`` is that of the opening fence in the lesson's file."""

    KIND: ClassVar[str] = ""
    line: int = 0


class TextBlock(Block, frozen=True, kw_only=True):
    """Prose between the blocks, in Markdown (``lessons.render``)."""

    KIND: ClassVar[str] = "text"
    markdown: str


class DoBlock(Block, frozen=True, kw_only=True):
    """A button."""

    KIND: ClassVar[str] = "do"
    label: Label
    items: Items


class GoalBlock(Block, frozen=True, kw_only=True):
    """``kind`` "goal" is to be reached; "guard" must never break on the way. ``name`` is unique in its lesson."""

    KIND: ClassVar[str] = "goal"
    name: Slug
    text: Line
    kind: Annotated[str, msgspec.Meta(pattern=r"^(goal|guard)\Z")] = "goal"
    condition: Condition


class Option(msgspec.Struct, frozen=True):
    """One answer of a choice, and the condition under which it is the right one."""

    text: Line
    when: Condition


class PredictBlock(Block, frozen=True, kw_only=True):
    """A question whose answer the engine computes: ``experiment`` is run on a copy of the step's start, then ``measure`` is read
    ("number", "bool") or the option found whose condition holds ("choice"). ``expected`` is what the author thinks comes out."""

    KIND: ClassVar[str] = "predict"
    id: Slug
    question: Prose
    answer: Annotated[str, msgspec.Meta(pattern=r"^(number|choice|bool)\Z")]
    options: tuple[Option, ...] = ()
    unit: str = ""
    experiment: Items
    measure: Condition | None = None
    expected: bool | int | str | None = None
    tolerance: Annotated[int, msgspec.Meta(ge=0)] = 0
    explanation: Prose


class HintBlock(Block, frozen=True, kw_only=True):
    """One rung of the ladder, in the order of the file."""

    KIND: ClassVar[str] = "hint"
    text: Prose


class Side(msgspec.Struct, frozen=True):
    """One of the clusters that are compared. ``items``: what is different here."""

    label: Label
    items: Items


class TwinBlock(Block, frozen=True, kw_only=True):
    """Two copies of the step's start that differ in one setting and then live through the same; their ledgers are compared, and what
    ``compare`` measures. ``scope``: whether the ledgers hold what was sent in the twins' own lives or since the lesson began."""

    KIND: ClassVar[str] = "twin"
    label: Label
    setting: Label
    left: Side
    right: Side
    items: Items
    compare: tuple[Counted, ...] = ()
    scope: Scope = "step"
    text: str = ""


class HistogramBlock(Block, frozen=True, kw_only=True):
    """The same accident with many seeds, for each of the sides. ``seeds`` are run on the page, ``headless_seeds`` by the player."""

    KIND: ClassVar[str] = "histogram"
    label: Label
    sides: tuple[Side, ...]
    items: Items
    measure: Counted
    unit: str = ""
    seeds: Annotated[int, msgspec.Meta(ge=1, le=bounds.MAX_SEEDS)] = 1_000
    headless_seeds: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    text: str = ""


class SolutionBlock(Block, frozen=True, kw_only=True):
    """What reaches the step's goals."""

    KIND: ClassVar[str] = "solution"
    items: Items


class WrongBlock(Block, frozen=True, kw_only=True):
    """A tempting way that breaks the guard called ``breaks``; ``text`` says why it tempts."""

    KIND: ClassVar[str] = "wrong"
    breaks: Slug
    items: Items
    text: str = ""


AnyBlock = TextBlock | DoBlock | GoalBlock | PredictBlock | HintBlock | TwinBlock | HistogramBlock | SolutionBlock | WrongBlock
B = TypeVar("B", bound=Block)


# -- steps and lessons --------------------------------------------------------------------------------------------------------------


class Step(msgspec.Struct, frozen=True):
    """``blocks`` in the order of the page, prose included."""

    title: str
    blocks: tuple[AnyBlock, ...]
    line: int = 0

    def of(self, kind: type[B]) -> tuple[B, ...]:
        return tuple(block for block in self.blocks if isinstance(block, kind))

    @property
    def body(self) -> str:
        """The prose alone."""
        return "\n\n".join(block.markdown for block in self.of(TextBlock))

    @property
    def goals(self) -> tuple[GoalBlock, ...]:
        return self.of(GoalBlock)

    @property
    def predictions(self) -> tuple[PredictBlock, ...]:
        return self.of(PredictBlock)

    @property
    def hints(self) -> tuple[HintBlock, ...]:
        return self.of(HintBlock)

    @property
    def dos(self) -> tuple[DoBlock, ...]:
        return self.of(DoBlock)

    @property
    def twins(self) -> tuple[TwinBlock, ...]:
        return self.of(TwinBlock)

    @property
    def histograms(self) -> tuple[HistogramBlock, ...]:
        return self.of(HistogramBlock)

    @property
    def wrongs(self) -> tuple[WrongBlock, ...]:
        return self.of(WrongBlock)

    @property
    def solution(self) -> SolutionBlock | None:
        return next(iter(self.of(SolutionBlock)), None)


class Lesson(msgspec.Struct, frozen=True):
    """``slug`` is the folder's name; ``number`` the place in the curriculum ("2.3"); ``file`` as errors name it."""

    slug: str
    title: str
    track: int
    track_name: str
    number: str
    topic: str
    minutes: int
    level: str
    prerequisites: tuple[str, ...]
    summary: str
    spec: ClusterSpec
    seed: int
    intro: str
    steps: tuple[Step, ...]
    file: str

    def predictions(self) -> Iterator[tuple[int, PredictBlock]]:
        """All of them, with the number of their step."""
        for index, step in enumerate(self.steps):
            for block in step.predictions:
                yield index, block
