"""ACLs (Kafka's ``AclControlManager``): created once however often they are asked for, deleted by filter."""

from __future__ import annotations

from engine import limits
from engine.controller.state.decision import Decision, RefusedError
from engine.events import AclCreated, AclDeleted
from engine.messages.security import (
    CLUSTER_NAME,
    OPERATIONS,
    PATTERN_TYPES,
    PERMISSIONS,
    RESOURCE_TYPES,
    AclBinding,
    AclFilter,
)
from engine.metadata.authorizer import CLUSTER, matches
from engine.metadata.records import AccessControlEntry, RemoveAccessControlEntry


def create(decision: Decision, acl: AclBinding) -> None:
    """Raises RefusedError: INVALID_REQUEST, POLICY_VIOLATION."""
    _check(acl)
    image = decision.image
    if acl in image.acls.values():
        return
    if len(image.acls) >= limits.MAX_ACLS:
        raise RefusedError("POLICY_VIOLATION", f"A lab holds at most {limits.MAX_ACLS} ACLs; delete some first.")
    number = decision.out.stream("acl ids").bits()
    while f"{number:016x}" in image.acls:
        number = decision.out.stream("acl ids").bits()
    decision.write(
        AccessControlEntry(
            f"{number:016x}", acl.resource_type, acl.resource_name, acl.pattern_type, acl.principal, acl.host, acl.operation,
            acl.permission,
        )
    )  # fmt: skip
    decision.headlines.append(
        AclCreated(acl.principal, acl.permission, acl.operation, acl.resource_type, acl.resource_name, acl.pattern_type, acl.host)
    )


def _check(acl: AclBinding) -> None:
    for name, value, allowed in (
        ("resourceType", acl.resource_type, RESOURCE_TYPES),
        ("patternType", acl.pattern_type, PATTERN_TYPES),
        ("operation", acl.operation, OPERATIONS),
        ("permissionType", acl.permission, PERMISSIONS),
    ):
        if value not in allowed:
            raise RefusedError("INVALID_REQUEST", f"Invalid {name} {value.upper() or 'UNKNOWN'}")
    if not acl.resource_name:
        raise RefusedError("INVALID_REQUEST", "Resource name should not be empty")
    if acl.resource_type == CLUSTER and acl.resource_name != CLUSTER_NAME:
        raise RefusedError("INVALID_REQUEST", f"The only valid name for the CLUSTER resource is {CLUSTER_NAME}")
    kind, colon, name = acl.principal.partition(":")
    if not (kind and colon and name):
        raise RefusedError(
            "INVALID_REQUEST", f"Could not parse principal from `{acl.principal}`: expected type:name, as in User:alice"
        )


def delete(decision: Decision, wanted: AclFilter) -> list[AclBinding]:
    """The ACLs that matched."""
    found = [(number, acl) for number, acl in decision.image.acls.items() if matches(acl, wanted)]
    for number, acl in found:
        decision.write(RemoveAccessControlEntry(number))
        decision.headlines.append(
            AclDeleted(
                acl.principal, acl.permission, acl.operation, acl.resource_type, acl.resource_name, acl.pattern_type, acl.host
            )
        )
    return [acl for _, acl in found]


def describe(decision: Decision, wanted: AclFilter) -> tuple[AclBinding, ...]:
    return tuple(acl for acl in decision.image.acls.values() if matches(acl, wanted))


def spell(acl: AclBinding) -> str:
    """As a result line names it."""
    return f"{acl.permission} {acl.principal} {acl.operation} {acl.resource_type} {acl.pattern_type} {acl.resource_name}"
