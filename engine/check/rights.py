"""Authorized: nobody does what the ACLs forbid, by the metadata that the broker has at that moment.

The rule is asked anew each time (``authorizer.decide``), so that a verdict which a broker remembers for too long shows. A fetch is
authorized when it comes and may then wait for records, so reading is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine import events as ev
from engine.broker.node import BrokerNode
from engine.check.invariants import Violation
from engine.check.readers import configs_of
from engine.metadata.authorizer import ANONYMOUS, GROUP, READ, TOPIC, WRITE, decide
from engine.world import CLIENTS, World


@dataclass(slots=True)
class Rights:
    """Only where there is an authorizer."""

    world: World

    def observe(self, fresh: list[ev.Happening]) -> None:
        """Raises Violation."""
        for happening in fresh:
            event = happening.event
            if isinstance(event, ev.RecordsAppended) and not self._is_verified(event.client):
                self._check(happening, event.client, WRITE, TOPIC, event.topic)
            elif isinstance(event, ev.MemberJoined):
                self._check(happening, event.consumer, READ, GROUP, event.group)

    def _is_verified(self, client: str) -> bool:
        """What a transaction writes was authorized when it came, and waits until the coordinator knows of it."""
        return "transactional.id" in configs_of(self.world, client)

    def _check(self, happening: ev.Happening, client: str, operation: str, resource_type: str, name: str) -> None:
        hosts = self.world.kernel.hosts
        broker = hosts[happening.node].node if happening.node in hosts else None
        if not isinstance(broker, BrokerNode) or client not in hosts or hosts[client].kind not in CLIENTS:
            return
        principal = principal_of(self.world, client)
        if not decide(broker.image.acls.values(), (principal, client, operation, resource_type, name), False):
            raise Violation(
                "Authorized",
                happening.at_us,
                f"{client} did {operation} on {resource_type} {name} at {happening.node} as {principal}",
            )


def principal_of(world: World, client: str) -> str:
    user = configs_of(world, client).get("sasl.username", "")
    return f"User:{user}" if user else ANONYMOUS
