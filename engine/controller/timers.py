"""The active controller's timers. Those of a controller that is no longer active run out unheard."""

from __future__ import annotations

from engine.messages.base import Timer


class SessionCheck(Timer, frozen=True, gc=False, tag=True):
    """Armed once per session; looks at the last heartbeat when it runs out."""

    broker_id: int


class BalanceLeaders(Timer, frozen=True, gc=False, tag=True):
    """Each ``leader.imbalance.check.interval.seconds``."""


class ElectUncleanLeaders(Timer, frozen=True, gc=False, tag=True):
    """Each ``unclean.leader.election.interval.ms``."""


class ShutdownExpired(Timer, frozen=True, gc=False, tag=True):
    """A polite stop has waited long enough for a new leader."""
