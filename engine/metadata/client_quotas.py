"""Client quotas: which limits exist, for whom, and which one holds for a given user and client (KIP-13, KIP-124, KIP-546).

The most specific quota that exists wins: user and client, user and any client, user, any user and the client, any user and any client, any
user, the client, any client (``DefaultQuotaCallback.quotaLimit``). Who shares one quota shares one measurement.
"""

from __future__ import annotations

from functools import lru_cache

from engine.messages.security import QuotaEntity, QuotaFilter

USER, CLIENT_ID = "user", "client-id"
PRODUCER_BYTE_RATE, CONSUMER_BYTE_RATE, REQUEST_PERCENTAGE = "producer_byte_rate", "consumer_byte_rate", "request_percentage"
CONTROLLER_MUTATION_RATE = "controller_mutation_rate"
QUOTAS = (PRODUCER_BYTE_RATE, CONSUMER_BYTE_RATE, REQUEST_PERCENTAGE, CONTROLLER_MUTATION_RATE)

Quotas = dict[QuotaEntity, dict[str, float]]
Sensor = tuple[str, str, str]
"""(quota, user or "", client ID or ""): what is measured together."""


def entity(user: str | None = None, client_id: str | None = None) -> QuotaEntity:
    """The entity with these parts; "" is the default of its type, None leaves the type out."""
    parts = ((CLIENT_ID, client_id), (USER, user))
    return tuple((kind, name or None) for kind, name in parts if name is not None)


def limit_for(quotas: Quotas, quota: str, user: str, client_id: str) -> tuple[Sensor, float] | None:
    """The limit that holds for this user and client, and under what it is measured; None where nothing limits them."""
    for key, measured_user, measured_client in _candidates(user, client_id):
        limits = quotas.get(key)
        if limits is not None:
            limit = limits.get(quota)
            if limit is not None:
                return (quota, measured_user, measured_client), limit
    return None


@lru_cache(1024)
def _candidates(user: str, client_id: str) -> tuple[tuple[QuotaEntity, str, str], ...]:
    """The entities that may limit them, the most specific first, each with the user and the client ID of its sensor. The same few clients
    ask with every response."""
    return tuple(
        [
            (
                entity(user if users == "name" else users, client_id if clients == "name" else clients),
                user if users is not None else "",
                client_id if clients is not None else "",
            )
            for users, clients in _PRECEDENCE
        ]
    )


_PRECEDENCE: tuple[tuple[str | None, str | None], ...] = (
    ("name", "name"), ("name", ""), ("name", None), ("", "name"), ("", ""), ("", None), (None, "name"), (None, ""),
)  # fmt: skip


def spell_entity(who: QuotaEntity) -> str:
    """As ``kafka-configs.sh`` names it: "user-principal 'alice', client-id 'app'", "the default client-id"."""
    names = {USER: "user-principal", CLIENT_ID: "client-id"}
    ordered = sorted(who, reverse=True)
    return ", ".join(
        f"{names.get(kind, kind)} '{name}'" if name is not None else f"the default {names.get(kind, kind)}"
        for kind, name in ordered
    )


def selected(who: QuotaEntity, filters: tuple[QuotaFilter, ...], strict: bool) -> bool:
    """Whether DescribeClientQuotas with these filters names the entity."""
    parts = dict(who)
    for wanted in filters:
        if wanted.entity_type not in parts:
            return False
        name = parts[wanted.entity_type]
        if (wanted.match == "exact" and name != wanted.name) or (wanted.match == "default" and name is not None):
            return False
    return not strict or len(filters) == len(parts)
