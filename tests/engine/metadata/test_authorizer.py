"""Which ACLs allow, which deny, which quota holds: Kafka's rules, each by itself."""

from __future__ import annotations

import pytest

from engine.messages.security import AclBinding, AclFilter, QuotaFilter
from engine.metadata import scram
from engine.metadata.authorizer import ANONYMOUS, STANDARD_AUTHORIZER, StandardAuthorizer, matches
from engine.metadata.client_quotas import entity, limit_for, selected, spell_entity

ON = {"authorizer.class.name": STANDARD_AUTHORIZER}
ALICE = "User:alice"


def acl(
    permission: str, operation: str, name: str = "orders", pattern: str = "literal", who: str = ALICE, host: str = "*"
) -> AclBinding:
    return AclBinding("topic", name, pattern, who, host, operation, permission)


def allowed(operation: str, *acls: AclBinding, who: str = ALICE, name: str = "orders", host: str = "app", **configs: str) -> bool:
    given = {**ON, **{key.replace("_", "."): value for key, value in configs.items()}}
    return StandardAuthorizer.read(given).allows({str(n): a for n, a in enumerate(acls)}, who, host, operation, "topic", name)


def test_without_an_authorizer_everybody_may_do_everything() -> None:
    assert StandardAuthorizer.read({}).allows({"1": acl("deny", "all", who="User:*")}, ANONYMOUS, "app", "write", "topic", "orders")


def test_no_match_is_no() -> None:
    assert not allowed("read")
    assert not allowed("read", acl("allow", "read"), who="User:bob")
    assert not allowed("read", acl("allow", "read"), name="orders-2")
    assert not allowed("write", acl("allow", "read"))
    assert allowed("read", acl("allow", "read"))


def test_deny_beats_allow_whatever_the_pattern() -> None:
    for deny in (acl("deny", "read"), acl("deny", "all", "*", who="User:*"), acl("deny", "read", "ord", "prefixed")):
        assert not allowed("read", acl("allow", "all"), deny)
        assert not allowed("read", deny, acl("allow", "all"))


def test_patterns() -> None:
    assert allowed("read", acl("allow", "read", "*"))
    assert allowed("read", acl("allow", "read", "ord", "prefixed"))
    assert not allowed("read", acl("allow", "read", "ord"))
    assert not allowed("read", acl("allow", "read", "orders-", "prefixed"))
    assert not allowed("read", acl("allow", "read", "*", "prefixed"))
    assert allowed("read", acl("allow", "read", who="User:*"), who="User:bob")
    assert not allowed("read", acl("allow", "read", host="other"))


@pytest.mark.parametrize("operation", ["read", "write", "delete", "alter"])
def test_what_implies_describe_when_allowed_does_not_when_denied(operation: str) -> None:
    assert allowed("describe", acl("allow", operation))
    assert allowed("describe", acl("deny", operation), acl("allow", "describe"))


def test_super_users_and_open_resources() -> None:
    assert allowed("write", super_users="User:bob;User:alice")
    assert allowed("write", acl("deny", "all"), super_users="User:alice")
    everyone = {"allow.everyone.if.no.acl.found": "true"}
    assert allowed("write", **everyone)
    assert allowed("write", acl("allow", "read", "payments"), **everyone)
    assert not allowed("write", acl("allow", "read", who="User:bob"), **everyone), "the topic has an ACL, if not for alice"
    assert allowed("write", who="User:admin")
    assert allowed("cluster-action", who="User:kafka")


def test_a_verdict_is_remembered_and_bounded() -> None:
    authorizer = StandardAuthorizer.read(ON)
    for number in range(1_500):
        assert not authorizer.allows({}, ALICE, "app", "read", "topic", str(number))
    assert len(authorizer.verdicts) <= 1_000


def test_some_topic_may_be_written() -> None:
    authorizer = StandardAuthorizer.read(ON)

    def any_of(*acls: AclBinding) -> bool:
        return authorizer.allows_on_any({str(n): a for n, a in enumerate(acls)}, ALICE, "app", "write", "topic")

    assert not any_of()
    assert not any_of(acl("allow", "read"))
    assert any_of(acl("allow", "write", "x"))
    assert not any_of(acl("allow", "write", "x"), acl("deny", "write", "x"))
    assert any_of(acl("allow", "write", "x"), acl("allow", "write", "y"), acl("deny", "write", "x"))
    assert not any_of(acl("allow", "write", "xy"), acl("deny", "write", "x", "prefixed"))
    assert not any_of(acl("allow", "write", "x"), acl("deny", "all", "*"))


def test_filters() -> None:
    one = acl("allow", "read", "ord", "prefixed")
    assert matches(one, AclFilter())
    assert matches(one, AclFilter("topic", "orders", "match"))
    assert not matches(one, AclFilter("topic", "orders"))
    assert matches(
        one, AclFilter(resource_name="ord", pattern_type="prefixed", principal=ALICE, operation="read", permission="allow")
    )
    assert not matches(one, AclFilter(principal="User:bob"))


def test_the_most_specific_quota_holds() -> None:
    quota = "producer_byte_rate"
    levels = [
        (entity("alice", "app"), ("alice", "app")), (entity("alice", ""), ("alice", "app")), (entity("alice"), ("alice", "")),
        (entity("", "app"), ("alice", "app")), (entity("", ""), ("alice", "app")), (entity(""), ("alice", "")),
        (entity(None, "app"), ("", "app")), (entity(None, ""), ("", "app")),
    ]  # fmt: skip
    quotas = {who: {quota: float(number)} for number, (who, _) in enumerate(levels, 1)}
    for number, (who, shared) in enumerate(levels, 1):
        assert limit_for(quotas, quota, "alice", "app") == ((quota, *shared), float(number))
        del quotas[who]
    assert limit_for(quotas, quota, "alice", "app") is None
    assert limit_for({entity("bob"): {quota: 1.0}}, quota, "alice", "app") is None
    assert limit_for({entity("alice"): {"consumer_byte_rate": 1.0}}, quota, "alice", "app") is None


def test_entities_are_named_and_selected() -> None:
    assert spell_entity(entity("alice", "")) == "user-principal 'alice', the default client-id"
    both = entity("alice", "app")
    assert selected(both, (QuotaFilter("user", "exact", "alice"),), False)
    assert not selected(both, (QuotaFilter("user", "exact", "alice"),), True)
    assert not selected(both, (QuotaFilter("user", "default"),), False)
    assert selected(entity(""), (QuotaFilter("user", "default"),), True)


@pytest.mark.parametrize("mechanism", sorted(scram.HASHES))
def test_only_whoever_knows_the_password_can_prove_it(mechanism: str) -> None:
    salted = scram.salted_password(mechanism, "secret", b"salt", 4096)
    known = scram.credential(mechanism, salted, b"salt", 4096)
    message = scram.auth_message("alice", "nonce", b"salt", 4096)
    assert scram.proves(mechanism, known, message, scram.client_proof(mechanism, salted, message))
    other = scram.salted_password(mechanism, "guess", b"salt", 4096)
    assert not scram.proves(mechanism, known, message, scram.client_proof(mechanism, other, message))
    assert not scram.proves(mechanism, known, message.replace("nonce", "replay"), scram.client_proof(mechanism, salted, message))
    assert not scram.proves(mechanism, known, message, b"")
