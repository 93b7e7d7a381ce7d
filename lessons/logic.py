"""Goals made of goals: all of them, any of them, not this one."""

from __future__ import annotations

from typing import Any

from lessons.condition import Condition, Finding, build, named
from lessons.errors import Problem
from lessons.scene import Scene


class _Several(Condition, frozen=True):
    conditions: tuple[Condition, ...]

    @classmethod
    def make(cls, value: Any, depth: int) -> Condition:
        return cls(_parts(value, depth))

    @property
    def exact(self) -> bool:
        return any(condition.exact for condition in self.conditions)


def _parts(value: Any, depth: int) -> tuple[Condition, ...]:
    if not isinstance(value, list) or not value:
        raise Problem((), "This takes a list of conditions.", "Write each on its own line that begins with `- `.")
    parts = []
    for place, item in enumerate(value):
        try:
            parts.append(build(item, depth=depth + 1))
        except Problem as wrong:
            raise wrong.under(place) from None
    return tuple(parts)


@named("all_of")
class AllOf(_Several, frozen=True):
    """A list of conditions that hold at the same time."""

    def look(self, scene: Scene) -> Finding:
        found = [condition.look(scene) for condition in self.conditions]
        return Finding(all(finding.ok for finding in found), "; ".join(finding.text for finding in found))


@named("any_of")
class AnyOf(_Several, frozen=True):
    """A list of conditions of which one holds at least."""

    def look(self, scene: Scene) -> Finding:
        found = [condition.look(scene) for condition in self.conditions]
        good = [finding for finding in found if finding.ok]
        return Finding(bool(good), "; ".join(finding.text for finding in good or found))


@named("not")
class Not(Condition, frozen=True):
    """One condition that does not hold."""

    condition: Condition

    @classmethod
    def make(cls, value: Any, depth: int) -> Condition:
        return cls(build(value, depth=depth + 1))

    @property
    def exact(self) -> bool:
        return self.condition.exact

    def look(self, scene: Scene) -> Finding:
        found = self.condition.look(scene)
        return Finding(not found.ok, found.text)
