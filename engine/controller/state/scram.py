"""SCRAM credentials (Kafka's ``ScramControlManager``, KIP-554): which users exist, as far as Kafka itself keeps them."""

from __future__ import annotations

from engine import limits
from engine.controller.state.decision import Decision, RefusedError
from engine.events import ScramCredentialChanged
from engine.messages.security import DescribeUserScramCredentialsRequest, ScramUpsertion
from engine.metadata.records import RemoveUserScramCredential, UserScramCredential
from engine.metadata.scram import HASHES, MAX_ITERATIONS, MIN_ITERATIONS, credential


def upsert(decision: Decision, item: ScramUpsertion) -> None:
    """Raises RefusedError: UNSUPPORTED_SASL_MECHANISM, UNACCEPTABLE_CREDENTIAL, POLICY_VIOLATION."""
    if item.mechanism not in HASHES:
        raise RefusedError("UNSUPPORTED_SASL_MECHANISM", "Unknown SCRAM mechanism")
    if not item.user:
        raise RefusedError("UNACCEPTABLE_CREDENTIAL", "Username must not be empty")
    if item.iterations < MIN_ITERATIONS:
        raise RefusedError("UNACCEPTABLE_CREDENTIAL", "Too few iterations")
    if item.iterations > MAX_ITERATIONS:
        raise RefusedError("UNACCEPTABLE_CREDENTIAL", "Too many iterations")
    if (item.user, item.mechanism) not in decision.image.scram and len(decision.image.scram) >= limits.MAX_SCRAM_CREDENTIALS:
        raise RefusedError("POLICY_VIOLATION", f"A lab holds at most {limits.MAX_SCRAM_CREDENTIALS} SCRAM credentials.")
    known = credential(item.mechanism, item.salted_password, item.salt, item.iterations)
    decision.write(UserScramCredential(item.user, item.mechanism, known.salt, known.stored_key, known.server_key, known.iterations))
    decision.headlines.append(ScramCredentialChanged(item.user, item.mechanism, False))


def delete(decision: Decision, user: str, mechanism: str) -> None:
    """Raises RefusedError: RESOURCE_NOT_FOUND."""
    if (user, mechanism) not in decision.image.scram:
        raise RefusedError("RESOURCE_NOT_FOUND", "Attempt to delete a user credential that does not exist")
    decision.write(RemoveUserScramCredential(user, mechanism))
    decision.headlines.append(ScramCredentialChanged(user, mechanism, True))


def describe(decision: Decision, request: DescribeUserScramCredentialsRequest) -> tuple[tuple[str, str, int], ...]:
    return tuple(
        (user, mechanism, known.iterations)
        for (user, mechanism), known in sorted(decision.image.scram.items())
        if not request.users or user in request.users
    )
