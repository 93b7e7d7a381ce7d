"""A small lesson to break in every way, and the reading of one from text."""

from __future__ import annotations

from lessons import catalog
from lessons.errors import LessonError
from lessons.model import Lesson

FRONT = """\
---
title: A lesson
number: 1.1
topic: A topic
minutes: 5
level: junior
summary: What it is about.
cluster:
  topics:
    - {name: orders, partitions: 1, replication_factor: 3, assignments: [[1, 2, 3]]}
seed: 7
---
An introduction.
"""
STEP = """
## The step

Some prose.

```goal
name: written
text: A record is acknowledged
acknowledged: {at_least: 1}
```

```solution
items:
  - {type: Produce, topic: orders, value: hello}
  - until: {acknowledged: {at_least: 1}}
```
"""
GOOD = FRONT + STEP


def read(text: str) -> catalog.Found:
    return catalog.parse(text, "lesson.md", "1-the-log", "a-lesson")


def lesson(text: str) -> Lesson:
    found = read(text)
    assert found.lesson is not None, found.errors
    return found.lesson


def errors(text: str) -> list[LessonError]:
    return list(read(text).errors)


def line_of(text: str, part: str) -> int:
    """The number of the first line that holds ``part``."""
    return next(number for number, line in enumerate(text.split("\n"), 1) if part in line)


def step(*blocks: str) -> str:
    """A lesson with one step of these blocks, each "kind\\nyaml"."""
    fenced = []
    for block in blocks:
        kind, _, body = block.partition("\n")
        fenced.append(f"```{kind}\n{body.strip(chr(10))}\n```")
    return FRONT + "\n## The step\n\n" + "\n\n".join(fenced) + "\n"
