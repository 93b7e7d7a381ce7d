"""What a run has met, by name: a campaign over many seeds that never met one of these has proved nothing about it."""

from __future__ import annotations

from collections import Counter

from engine import events as ev

MET: dict[type[ev.Event], str] = {
    ev.TransactionTimedOut: "transactions timed out",
    ev.ProducerFenced: "producers fenced",
    ev.ProcessingAborted: "rounds processed in vain",
    ev.MemberFenced: "members fenced",
    ev.PollIntervalExceeded: "members that polled too late",
    ev.StaticMemberReplaced: "static members replaced",
    ev.StaticMemberAway: "static members away",
    ev.GroupEpochBumped: "group epochs",
    ev.GroupReconciled: "consumer groups reconciled",
    ev.AuthorizationDenied: "denials",
    ev.AuthenticationFailed: "logins refused",
    ev.TopicDeleted: "topics deleted",
    ev.AcquisitionLockExpired: "acquisition locks expired",
    ev.ShareAcknowledgementFailed: "acknowledgements refused",
    ev.CoordinatorUnloaded: "coordinators moved",
    ev.ClientThrottled: "clients throttled",
}


class Met:
    """A listener that counts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def observe(self, fresh: list[ev.Happening]) -> None:
        for happening in fresh:
            name = MET.get(type(happening.event))
            if name is not None:
                self.counts[name] += 1
