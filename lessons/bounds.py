"""Every bound of a lesson file, each with its reason. An error that refuses names its bound."""

from __future__ import annotations

MAX_FILE_BYTES = 200_000
"""A lesson is read in one sitting; the longest of ours has a fifth of this."""
MAX_FILES = 1_000
"""Lesson files in all folders together; more means that a folder was named by mistake."""
MAX_STEPS = 20
MAX_BLOCKS_PER_STEP = 40
MAX_ITEMS = 200
"""Commands and waits of one block."""
MAX_BLOCK_BYTES = 20_000
"""One fenced block of data."""
MAX_YAML_DEPTH = 20
MAX_CONDITION_DEPTH = 6
"""all_of within any_of within not: deeper than this nobody understands a goal."""
MAX_WAIT_MS = 3_600_000
"""One wait of a lesson: an hour of virtual time."""
MAX_SEEDS = 2_000
"""Runs of one histogram."""
UNTIL_SLICE_US = 5_000
"""How finely a wait looks at the state of the cluster; at events it looks after each one."""
MAX_WAIT_EVENTS = 100_000
"""A wait that saw so many events will not end."""
MAX_EVIDENCE = 12
"""Sentences that explain a computed answer."""
