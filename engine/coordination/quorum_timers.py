"""The quorum's timers and periods. A timer is armed once and looks at its deadline when it runs out, so that the fetches of an idle
cluster (two a second for each replica) move a number instead of re-arming a timer.
"""

from __future__ import annotations

from engine.messages.base import Timer

ELECTION_TIMEOUT_US = 1_000_000
"""``controller.quorum.election.timeout.ms``: waited at random once to twice as long, so that rivals rarely collide."""
FETCH_TIMEOUT_US = 2_000_000
"""``controller.quorum.fetch.timeout.ms``: a follower without its leader for so long sounds out an election."""
FETCH_TIMEOUT_JITTER_US = 100_000
"""Real pollers wake at different moments. Here the answer to one append restarts all followers' clocks at once, and without this they
would stand for election in the same microsecond each time."""
CHECK_QUORUM_TIMEOUT_US = FETCH_TIMEOUT_US * 3 // 2
"""A leader that no majority has fetched from for so long resigns (Kafka's ``CHECK_QUORUM_TIMEOUT_FACTOR`` 1.5)."""
BEGIN_QUORUM_EPOCH_US = FETCH_TIMEOUT_US // 2
"""How often a leader tells voters that do not fetch from it that it leads."""
BACKOFF_MAX_US = 1_000_000
"""``controller.quorum.election.backoff.max.ms``."""
RETRY_BACKOFF_US = 20_000
"""``controller.quorum.retry.backoff.ms``: after a broken connection or a refusal."""
REQUEST_TIMEOUT_US = 2_000_000
"""``controller.quorum.request.timeout.ms``: an answer that is this late counts as lost."""
FETCH_MAX_WAIT_MS = 500


class QuorumTimeout(Timer, frozen=True, gc=False, tag=True):
    """The role's own timeout: election, fetch, check-quorum."""


class QuorumRetryFetch(Timer, frozen=True, gc=False, tag=True):
    """Fetch again, after a backoff or because no answer came."""


class QuorumFetchExpired(Timer, frozen=True, gc=False, tag=True):
    """A parked fetch has waited for its ``max_wait_ms``."""

    replica_id: int
