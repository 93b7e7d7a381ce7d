"""Users in the profile "full": clients that log in by SASL/SCRAM, and ACLs that are granted, denied and revoked while they work."""

from __future__ import annotations

from engine import commands as cm
from engine.check.crowd import GROUP, ORDERS, Crowd
from engine.check.fuzz import Inflict
from engine.metadata.authorizer import STANDARD_AUTHORIZER

MECHANISM = "SCRAM-SHA-512"
PASSWORDS = {"alice": "alice-secret", "bob": "bob-secret"}
GUARDED = {"authorizer.class.name": STANDARD_AUTHORIZER, "sasl.enabled.mechanisms": MECHANISM}
PRINCIPALS = (*[f"User:{user}" for user in PASSWORDS], "User:ANONYMOUS", "User:*")
RESOURCES = (("topic", ORDERS), ("topic", "*"), ("group", GROUP), ("transactional-id", "*"))


class Users(Crowd):
    def identity(self) -> dict[str, str]:
        if "users" not in self.features or self.stream.chance(300_000):
            return {}
        user = self._pick(list(PASSWORDS))
        return {"sasl.mechanism": MECHANISM, "sasl.username": user, "sasl.password": PASSWORDS[user]}

    def admit(self) -> None:
        """Everybody may do everything, at first."""
        for user, password in PASSWORDS.items():
            self.do(cm.AlterUser(user, password, MECHANISM))
        for principal in PRINCIPALS[:-1]:
            self.do(cm.CreateAcl(principal, "all", "topic", "*"))
        for resource_type in ("group", "transactional-id"):
            self.do(cm.CreateAcl("User:*", "all", resource_type, "*"))

    def deny(self) -> bool:
        resource_type, name = RESOURCES[self.stream.below(len(RESOURCES))]
        operation = self._pick(("read", "write", "describe", "all"))
        return self.do(cm.CreateAcl(self._pick(PRINCIPALS), operation, resource_type, name, permission="deny"))

    def grant(self) -> bool:
        """What was denied or revoked is allowed again."""
        self.do(cm.DeleteAcl(permission="deny"))
        return self.do(cm.CreateAcl(self._pick(PRINCIPALS), "all", "topic", "*"))

    def revoke(self) -> bool:
        return self.do(cm.DeleteAcl(principal=self._pick(PRINCIPALS), resource_type="topic"))

    def drop_user(self) -> bool:
        """Whoever is logged in stays so; no new connection."""
        return self.do(cm.AlterUser(self._pick(list(PASSWORDS)), None, MECHANISM))

    def restore_user(self) -> bool:
        user = self._pick(list(PASSWORDS))
        return self.do(cm.AlterUser(user, PASSWORDS[user], MECHANISM))


USER_FAULTS: dict[str, Inflict] = {
    "deny": lambda c, t: c.deny(),
    "grant": lambda c, t: c.grant(),
    "revoke": lambda c, t: c.revoke(),
    "drop user": lambda c, t: c.drop_user(),
    "restore user": lambda c, t: c.restore_user(),
}
