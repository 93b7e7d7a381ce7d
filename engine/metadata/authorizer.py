"""Who may do what: Kafka's ``StandardAuthorizer``, as brokers and controllers both ask it.

Super users may do anything. Otherwise every ACL whose resource pattern, principal, host and operation match is looked at: one that denies
beats all that allow, and where none matches the answer is no (fact 50), unless the resource has no ACL at all and
``allow.everyone.if.no.acl.found`` is set. A host is here a node's name, since the nodes of a lab have no addresses.

Kafka's default is to have no authorizer at all. The brokers themselves speak as ``User:kafka`` and the lab's administrator (every button
and console line) as ``User:admin``; both are super users of every lab, so that nobody locks himself out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.messages.security import CLUSTER_NAME, AclBinding, AclFilter
from engine.metadata.configs import parse_boolean, static_value

STANDARD_AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
ANONYMOUS = "User:ANONYMOUS"
BROKERS = "User:kafka"
ADMINISTRATOR = "User:admin"
WILDCARD = "*"
WILDCARD_PRINCIPAL = "User:*"

CREATE, READ, WRITE, DELETE, ALTER, DESCRIBE = "create", "read", "write", "delete", "alter", "describe"
CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS = "cluster-action", "describe-configs", "alter-configs"
IDEMPOTENT_WRITE = "idempotent-write"
TOPIC, GROUP, CLUSTER, TRANSACTIONAL_ID = "topic", "group", "cluster", "transactional-id"

IMPLIES_DESCRIBE = (DESCRIBE, READ, WRITE, DELETE, ALTER)
"""Operations that, *allowed*, allow to describe as well; denying one of them does not deny that."""
IMPLIES_DESCRIBE_CONFIGS = (DESCRIBE_CONFIGS, ALTER_CONFIGS)
VERDICTS_KEPT = 1_000

Question = tuple[str, str, str, str, str]
"""(principal, host, operation, resource type, resource name)."""

FAILED = {
    TOPIC: "TOPIC_AUTHORIZATION_FAILED",
    GROUP: "GROUP_AUTHORIZATION_FAILED",
    CLUSTER: "CLUSTER_AUTHORIZATION_FAILED",
    TRANSACTIONAL_ID: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
}
"""Kafka's error where an operation on such a resource is denied."""


@dataclass(slots=True)
class StandardAuthorizer:
    """``verdicts`` remembers answers until an ACL changes. Not ``enabled``: nothing is asked."""

    enabled: bool = False
    everyone: bool = False
    super_users: tuple[str, ...] = ()
    verdicts: dict[Question, bool] = field(default_factory=dict)

    @classmethod
    def read(cls, configs: dict[str, str]) -> StandardAuthorizer:
        named = static_value(configs, "super.users").split(";")
        users = tuple(dict.fromkeys([BROKERS, ADMINISTRATOR, *[user.strip() for user in named if user.strip()]]))
        everyone = parse_boolean(static_value(configs, "allow.everyone.if.no.acl.found"))
        return cls(bool(static_value(configs, "authorizer.class.name")), everyone, users)

    def allows(
        self, acls: dict[str, AclBinding], principal: str, host: str, operation: str, resource_type: str, name: str = CLUSTER_NAME
    ) -> bool:
        """``acls`` are those of the metadata image, by their ID."""
        if not self.enabled or principal in self.super_users:
            return True
        question = (principal, host, operation, resource_type, name)
        verdict = self.verdicts.get(question)
        if verdict is None:
            if len(self.verdicts) >= VERDICTS_KEPT:
                self.verdicts.clear()
            verdict = self.verdicts[question] = decide(acls.values(), question, self.everyone)
        return verdict

    def allows_on_any(self, acls: dict[str, AclBinding], principal: str, host: str, operation: str, resource_type: str) -> bool:
        """``authorizeByResourceType``: is there some resource of the type on which the operation is allowed?"""
        if not self.enabled or principal in self.super_users:
            return True
        mine = [acl for acl in acls.values() if acl.resource_type == resource_type and _concerns(acl, principal, host, operation)]
        denied = [acl for acl in mine if acl.permission == "deny"]
        if any(acl.resource_name == WILDCARD and acl.pattern_type == "literal" for acl in denied):
            return False
        allowed = [acl for acl in mine if acl.permission == "allow"]
        if not allowed:
            return self.everyone and not denied
        return any(not _dominated(acl, denied) for acl in allowed)


def decide(acls: Iterable[AclBinding], question: Question, everyone: bool) -> bool:
    """The rule itself (``StandardAuthorizerData.findAclRule``)."""
    principal, host, operation, resource_type, name = question
    allowed = has_resource_acls = False
    for acl in acls:
        if acl.resource_type != resource_type or not covers(acl, name):
            continue
        has_resource_acls = True
        if _concerns(acl, principal, host, operation):
            if acl.permission == "deny":
                return False
            allowed = True
    return allowed or (everyone and not has_resource_acls)


def covers(acl: AclBinding, name: str) -> bool:
    """Whether the ACL's resource pattern matches the resource called ``name``."""
    if acl.pattern_type == "prefixed":
        return name.startswith(acl.resource_name)
    return acl.resource_name in (name, WILDCARD)


def _concerns(acl: AclBinding, principal: str, host: str, operation: str) -> bool:
    if acl.principal not in (principal, WILDCARD_PRINCIPAL) or acl.host not in (host, WILDCARD):
        return False
    if acl.operation in ("all", operation):
        return True
    if acl.permission == "allow":
        if operation == DESCRIBE:
            return acl.operation in IMPLIES_DESCRIBE
        if operation == DESCRIBE_CONFIGS:
            return acl.operation in IMPLIES_DESCRIBE_CONFIGS
    return False


def _dominated(allow: AclBinding, denied: list[AclBinding]) -> bool:
    """Whether some deny covers all that ``allow`` grants: the same name, or a prefix of it."""
    return any(
        (deny.pattern_type == "prefixed" and allow.resource_name.startswith(deny.resource_name))
        or (deny.pattern_type == allow.pattern_type == "literal" and deny.resource_name == allow.resource_name)
        for deny in denied
    )


def matches(acl: AclBinding, wanted: AclFilter) -> bool:
    """Whether ``acl`` is one of those that the filter asks for (``AclBindingFilter.matches``)."""
    if wanted.resource_type and wanted.resource_type != acl.resource_type:
        return False
    if wanted.resource_name:
        if wanted.pattern_type == "match":
            if not covers(acl, wanted.resource_name):
                return False
        elif wanted.resource_name != acl.resource_name:
            return False
    if wanted.pattern_type not in ("", "match", acl.pattern_type):
        return False
    return (
        wanted.principal in ("", acl.principal)
        and wanted.host in ("", acl.host)
        and wanted.operation in ("", acl.operation)
        and wanted.permission in ("", acl.permission)
    )
