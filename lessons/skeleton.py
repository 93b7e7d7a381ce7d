"""A new lesson to write on: a small file that reads, checks and plays as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from lessons.catalog import CONTENT

TEMPLATE = """\
---
title: {title}
number: "{number}"
topic: {title}
minutes: 15
level: junior
prerequisites: []
summary: One or two sentences that say what the reader will be able to do.
cluster:
  brokers: 3
  topics:
    - {{name: orders, partitions: 1, replication_factor: 3, assignments: [[1, 2, 3]]}}
seed: 1
---
What this lesson is about, in two or three short sentences.

## The first step

One idea. Say what the reader will see, then let them do it.

```predict
id: {slug}-who-leads
question: Broker 1 leads `orders-0` and is killed. Which broker leads afterwards?
answer: choice
options:
  - text: Broker 2
    when: {{leader_is: {{partition: orders-0, broker: 2}}}}
  - text: Broker 3
    when: {{leader_is: {{partition: orders-0, broker: 3}}}}
experiment:
  - {{type: KillNode, node: broker-1}}
  - until: {{event_happened: {{event: LeaderChanged, topic: orders}}, within_ms: 20000}}
expected: Broker 2
explanation: The first living member of the ISR, in the order of the assignment, becomes leader.
```

```do
label: Kill broker 1
items:
  - {{type: KillNode, node: broker-1}}
```

```goal
name: {slug}-moved
text: Broker 2 leads orders-0
leader_is: {{partition: orders-0, broker: 2}}
```

```hint
text: Leadership moves when the controller has not heard from a broker for broker.session.timeout.ms (9 s).
```

```solution
items:
  - {{type: KillNode, node: broker-1}}
  - until: {{leader_is: {{partition: orders-0, broker: 2}}, within_ms: 20000}}
```
"""


class SkeletonError(Exception):
    """Why no lesson was written; the message says what to do."""


def write(slug: str, track: str = "1-the-log", folder: Path = CONTENT) -> Path:
    """Writes ``folder/track/slug/lesson.md`` and returns its path. Raises SkeletonError."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) or len(slug) > 60:
        raise SkeletonError(f"{slug[:80]!r} is no slug: use small letters, digits and single hyphens, at most 60.")
    found = re.fullmatch(r"([0-9]{1,2})-[a-z0-9-]+", track)
    if found is None:
        raise SkeletonError(f"{track[:80]!r} is no track: name it like 1-the-log.")
    file = folder / track / slug / "lesson.md"
    if file.exists():
        raise SkeletonError(f"{file} exists already: choose another slug.")
    others = sorted((folder / track).glob("*/lesson.md")) if folder.is_dir() else []
    number = f"{found[1]}.{min(len(others) + 1, 99)}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(TEMPLATE.format(title=slug.replace("-", " ").capitalize(), slug=slug, number=number), encoding="utf-8")
    return file
