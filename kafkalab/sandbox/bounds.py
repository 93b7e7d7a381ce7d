"""Every bound of the sandboxes' web side in one place, each with its reason. The engine's own are in ``engine.limits``.

Times are in seconds where the name says ``_s``; sizes in bytes.
"""

from __future__ import annotations

MAX_MESSAGE_BYTES = 256 * 1024
"""One socket message: the largest command (a value of 100,000 characters, escaped) with its wrapping."""
MAX_BODY_BYTES = 1024 * 1024
"""One request body of the API; an import holds thousands of commands."""
MAX_IMPORT_BYTES = 8 * 1024 * 1024
"""A shared file after decompression."""
SHARE_REPLAY_DELIVERIES = 60_000
"""A link up to here is replayed, so that its copy can be rewound; a longer history begins at the shared moment."""
MAX_IMPORT_DELIVERIES = 400_000
"""A shared file is replayed from its seed: about ten seconds of one core, in small slices."""

MAX_SANDBOXES_PER_VISITOR = 20
"""Enough for every lesson of a part side by side; a sandbox costs some hundred KiB of database."""
MAX_SHARES_PER_VISITOR = 50
MAX_LIVE_LABS = 300
"""About 4 MiB each when idle; the one used longest ago goes back to the database first."""
MAX_WATCHERS_PER_SANDBOX = 8
"""Tabs and windows on one sandbox."""
MAX_TITLE = 120

SLICE_S = 0.001
"""The longest that the engine holds the server's loop, so that pushes and clicks stay prompt."""
SLICE_DELIVERIES = 25
"""Deliveries between two looks at the clock: at 10–40 µs each, a look at least every millisecond."""
ENGINE_SHARE = 0.4
"""The part of one core that all labs together may use; the rest is for pushes and pages."""
BURST_S = 0.02
"""Unused share is kept for so long: a click after a quiet moment runs at once."""

MAX_PUSHES_PER_S = 20
"""More is not seen; a click's own effect is pushed at once, outside this rhythm."""
SLOWEST_TICK_S = 0.5
TICK_PER_AWAKE_S = 0.001
"""With two hundred awake sandboxes each is pushed five times a second."""
MAX_UNACKNOWLEDGED_PUSHES = 2
"""A browser that has not drawn two pushes gets no third: daphne has no back-pressure of its own."""
KEPT_VIEWS = 8
"""Versions of a view from which a diff can be made; a reader further behind gets the whole view."""
SILENT_READER_S = 60
"""A socket that leaves its pushes unacknowledged for so long is closed."""

ACTIONS_PER_S = 50
ACTION_BURST = 100
"""Per socket."""
WRITES_PER_S = 20
WRITE_BURST = 60
"""Per visitor, over the HTTP API."""
CREATIONS_PER_MINUTE = 30
"""New sandboxes per visitor; creating one costs tens of milliseconds of a core."""
CREATIONS_PER_ADDRESS_PER_MINUTE = 240
"""For clients that drop their cookie and so are a new visitor each time: a classroom behind one address still fits."""
MAX_COPIES_AT_ONCE = 2
"""Forks, links and files that one visitor opens at the same time: each replays a history, and holds a lab meanwhile."""
MAX_ADVANCES_AT_ONCE = 4
"""Calls that let the time of one sandbox pass; each takes turns with everybody else's labs."""
WORK_SHARE = 0.2
"""The part of one core that a single visitor's looks and clicks may take: a view of the largest lab costs some tens of milliseconds."""
WORK_BURST_S = 2.0
PUBLISH_SHARE = 0.2
"""The part of one core that the pushes of a single lab may take; a lab whose view is large is pushed less often."""
MAX_REFUSED_IN_A_ROW = 1_000
"""A socket whose sender does not heed so many refusals is closed."""
MAX_KNOWN_CALLERS = 10_000
"""Callers whose rate is remembered; the one seen longest ago is forgotten first."""

MAX_SENTENCES_PER_PUSH = 200
SENTENCES_AT_START = 100
MAX_EVENTS_SIFTED = 5_000
"""Of a flood, as many events are looked through for those that matter."""
MAX_EVENTS_PER_PAGE = 500
MAX_WHY = 60
MAX_LEDGER_PAGE = 200
MAX_CONSOLE_JOBS = 4
"""Commands running at once in the consoles of one sandbox."""
CONSOLE_LINES_PER_PUSH = 200

SLEEP_AFTER_S = 5
"""A sandbox that nobody watches stands still after so long; a page that reloads is back by then."""
EVICT_AFTER_S = 600
"""A sleeping sandbox leaves memory after so long."""
LEASE_S = 20
"""A dead server's sandboxes can be taken over by another host after so long (by the same host at once)."""

CHECKPOINT_DELIVERIES = 100_000
"""A checkpoint is written at the next command once a restore would have to replay more than this: some seconds of one core."""
COLLAPSE_DELIVERIES = 400_000
"""With branches, whose futures a checkpoint cannot hold, only after so many; the timeline then begins there."""
FULL_REPLAY_DELIVERIES = 20_000
"""A restore replays up to this many for the sake of the history before the newest checkpoint."""
KEPT_CHECKPOINTS = 4

MAX_ADVANCE_WALL_S = 20
"""One "advance" of the API gives back what it reached after so long."""
MAX_FORK_DELIVERIES = 2_000_000
"""A twin replays its whole history under the changed setting, in slices."""
