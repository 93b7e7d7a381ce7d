"""Client quotas (Kafka's ``ClientQuotaControlManager``): who may have one, which values it takes, and who has which."""

from __future__ import annotations

from engine import limits
from engine.controller.state.decision import Decision, RefusedError
from engine.events import ClientQuotaChanged
from engine.messages.security import DescribeClientQuotasRequest, DescribedQuota, QuotaAlteration, QuotaEntity
from engine.metadata.client_quotas import (
    CLIENT_ID,
    CONSUMER_BYTE_RATE,
    PRODUCER_BYTE_RATE,
    QUOTAS,
    USER,
    selected,
    spell_entity,
)
from engine.metadata.configs import LONG_MAX
from engine.metadata.records import ClientQuota


def alter(decision: Decision, item: QuotaAlteration) -> None:
    """All quotas of one entity or none. Raises RefusedError: INVALID_REQUEST, POLICY_VIOLATION."""
    _check_entity(decision, item.entity)
    keys = [key for key, _ in item.ops]
    for key, value in item.ops:
        if keys.count(key) > 1:
            raise RefusedError("INVALID_REQUEST", f"Duplicate quota key {key} not updating quota for this entity")
        if value is not None:
            _check_value(key, value)
    current = dict(decision.image.quotas.get(item.entity, {}))
    for key, value in item.ops:
        if current.get(key) != value:
            decision.write(ClientQuota(item.entity, key, value))
            decision.headlines.append(ClientQuotaChanged(spell_entity(item.entity), key, value))


def _check_entity(decision: Decision, who: QuotaEntity) -> None:
    kinds = [kind for kind, _ in who]
    if not who:
        raise RefusedError("INVALID_REQUEST", "Invalid empty client quota entity")
    for kind, name in who:
        if kind not in (USER, CLIENT_ID):
            raise RefusedError("INVALID_REQUEST", f"Unhandled client quota entity type: {kind}")
        if name == "":
            raise RefusedError("INVALID_REQUEST", f"Empty {kind} not supported")
    if len(set(kinds)) < len(kinds) or kinds != sorted(kinds):
        raise RefusedError("INVALID_REQUEST", "Invalid client quota entity, duplicate entity entry")
    if who not in decision.image.quotas and len(decision.image.quotas) >= limits.MAX_QUOTA_ENTITIES:
        raise RefusedError("POLICY_VIOLATION", f"A lab holds quotas of at most {limits.MAX_QUOTA_ENTITIES} entities.")


def _check_value(key: str, value: float) -> None:
    if key not in QUOTAS:
        raise RefusedError("INVALID_REQUEST", f"Invalid configuration key {key}")
    if not value > 0:
        raise RefusedError("INVALID_REQUEST", f"Quota {key} must be greater than 0")
    if key in (PRODUCER_BYTE_RATE, CONSUMER_BYTE_RATE):
        if value > LONG_MAX:
            raise RefusedError("INVALID_REQUEST", f"Proposed value for {key} is too large for a LONG.")
        if value % 1 > 1e-6:
            raise RefusedError("INVALID_REQUEST", f"{key} cannot be a fractional value.")


def describe(decision: Decision, request: DescribeClientQuotasRequest) -> tuple[DescribedQuota, ...]:
    return tuple(
        DescribedQuota(who, tuple(sorted(values.items())))
        for who, values in decision.image.quotas.items()
        if selected(who, request.filters, request.strict)
    )
