"""Client quotas, ACLs and SASL: what administrators ask of the controller about them, and how a client says who it is.

``DescribeAcls`` (29), ``CreateAcls`` (30), ``DeleteAcls`` (31), ``DescribeClientQuotas`` (48), ``AlterClientQuotas`` (49, KIP-546),
``DescribeUserScramCredentials`` (50), ``AlterUserScramCredentials`` (51, KIP-554), ``SaslAuthenticate`` (36).
"""

from __future__ import annotations

import msgspec

from engine.messages.base import Request, Response

QuotaEntity = tuple[tuple[str, str | None], ...]
"""Pairs of entity type ("user", "client-id") and name, ordered by type; name None is the default entity."""

RESOURCE_TYPES = ("topic", "group", "cluster", "transactional-id")
PATTERN_TYPES = ("literal", "prefixed")
OPERATIONS = (
    "all", "read", "write", "create", "delete", "alter", "describe", "cluster-action", "describe-configs", "alter-configs",
    "idempotent-write", "two-phase-commit",
)  # fmt: skip
PERMISSIONS = ("allow", "deny")
CLUSTER_NAME = "kafka-cluster"
"""The name of the one resource of type "cluster"."""


# -- quotas ----------------------------------------------------------------------------------------------------------------------


class QuotaAlteration(msgspec.Struct, frozen=True, gc=False):
    """``ops``: (quota, new value); None removes it."""

    entity: QuotaEntity
    ops: tuple[tuple[str, float | None], ...]


class AlterClientQuotasRequest(Request, frozen=True, gc=False, tag=True):
    """Answered by an ``AdminResponse`` with one result per entity."""

    entries: tuple[QuotaAlteration, ...]


class QuotaFilter(msgspec.Struct, frozen=True, gc=False):
    """``match``: "exact" (``name``), "default" or "any"."""

    entity_type: str
    match: str = "any"
    name: str = ""


class DescribeClientQuotasRequest(Request, frozen=True, gc=False, tag=True):
    """``strict``: entities with other types than those asked for are left out."""

    filters: tuple[QuotaFilter, ...] = ()
    strict: bool = False


class DescribedQuota(msgspec.Struct, frozen=True, gc=False):
    entity: QuotaEntity
    values: tuple[tuple[str, float], ...]


class DescribeClientQuotasResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    entries: tuple[DescribedQuota, ...] = ()
    throttle_time_ms: int = 0


# -- ACLs ------------------------------------------------------------------------------------------------------------------------


class AclBinding(msgspec.Struct, frozen=True, gc=False):
    """One ACL: ``permission`` for ``principal`` ("User:alice", "User:*") from ``host`` ("*") to do ``operation`` on the resources that
    the pattern matches. A literal name "*" matches every resource of the type."""

    resource_type: str
    resource_name: str
    pattern_type: str
    principal: str
    host: str
    operation: str
    permission: str


class AclFilter(msgspec.Struct, frozen=True, gc=False):
    """Empty fields match anything. ``pattern_type`` may be "match": every ACL that would affect the resource called ``resource_name``."""

    resource_type: str = ""
    resource_name: str = ""
    pattern_type: str = ""
    principal: str = ""
    host: str = ""
    operation: str = ""
    permission: str = ""


class CreateAclsRequest(Request, frozen=True, gc=False, tag=True):
    """Answered by an ``AdminResponse`` with one result per ACL."""

    acls: tuple[AclBinding, ...]


class DeleteAclsRequest(Request, frozen=True, gc=False, tag=True):
    """Deletes whatever matches any of ``filters``. Answered by an ``AdminResponse`` with one result per ACL deleted."""

    filters: tuple[AclFilter, ...]


class DescribeAclsRequest(Request, frozen=True, gc=False, tag=True):
    filter: AclFilter = AclFilter()


class DescribeAclsResponse(Response, frozen=True, gc=False, tag=True):
    error: str
    acls: tuple[AclBinding, ...] = ()
    message: str = ""
    throttle_time_ms: int = 0


# -- who a client is ---------------------------------------------------------------------------------------------------------------


class ScramUpsertion(msgspec.Struct, frozen=True, gc=False):
    """The password itself never leaves the tool: it is salted and hashed ``iterations`` times there."""

    user: str
    mechanism: str
    iterations: int
    salt: bytes
    salted_password: bytes


class AlterUserScramCredentialsRequest(Request, frozen=True, gc=False, tag=True):
    """``deletions``: (user, mechanism). Answered by an ``AdminResponse`` with one result per user."""

    upsertions: tuple[ScramUpsertion, ...] = ()
    deletions: tuple[tuple[str, str], ...] = ()


class DescribeUserScramCredentialsRequest(Request, frozen=True, gc=False, tag=True):
    """``users`` () means all."""

    users: tuple[str, ...] = ()


class DescribeUserScramCredentialsResponse(Response, frozen=True, gc=False, tag=True):
    """``credentials``: (user, mechanism, iterations)."""

    error: str
    credentials: tuple[tuple[str, str, int], ...] = ()
    throttle_time_ms: int = 0


class SaslAuthenticateRequest(Request, frozen=True, gc=False, tag=True):
    """Stands for SaslHandshake (17) and SaslAuthenticate (36). SCRAM takes two: the first with an empty ``proof`` asks for the salt."""

    mechanism: str
    username: str
    nonce: str = ""
    proof: bytes = b""


class SaslAuthenticateResponse(Response, frozen=True, gc=False, tag=True):
    """``complete`` False: the answer to a SCRAM client's first message, with what it needs for its proof."""

    error: str
    complete: bool = True
    nonce: str = ""
    salt: bytes = b""
    iterations: int = 0
    message: str = ""
