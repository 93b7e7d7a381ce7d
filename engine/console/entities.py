"""kafka-configs.sh for users and clients: quotas and SCRAM credentials (``kafka.admin.ConfigCommand``, KIP-546, KIP-554)."""

from __future__ import annotations

import math
import re

from engine import commands as c
from engine.console.job import AdminJob, Job, ReadJob, default_message, exception
from engine.console.options import Options, UsageError
from engine.console.synonyms import hash_order
from engine.console.topics import outcome
from engine.events import AdminAnswered
from engine.lab import Lab
from engine.messages.security import QuotaEntity
from engine.metadata.client_quotas import CLIENT_ID, QUOTAS, USER, spell_entity
from engine.metadata.scram import DEFAULT_ITERATIONS, HASHES, MIN_ITERATIONS
from engine.view.build import committed_image

KINDS = {"users": USER, "clients": CLIENT_ID}
FLAGS = {"client": "clients", "user": "users", "client-defaults": "clients", "user-defaults": "users"}
CREDENTIAL = re.compile(r"(?:iterations=(-?[0-9]*),)?password=(.*)")

Named = list[tuple[str, str | None]]
"""("users" or "clients", name; "" the default of its kind; None: any)."""


def entities(options: Options) -> Named:
    """The users and clients that the options name, in their order; [] where they name none."""
    kinds = options.all("entity-type") + [kind for flag, kind in FLAGS.items() if options.has(flag)]
    if not any(kind in KINDS for kind in kinds):
        return []
    names: list[str | None] = []
    given = iter(options.all("entity-name"))
    for option in options.order:
        if option == "entity-name":
            names.append(next(given))
        elif option == "entity-default":
            names.append("")
    names += [options.text(flag) for flag in ("client", "user") if options.has(flag)]
    names += ["" for flag in ("client-defaults", "user-defaults") if options.has(flag)]
    twice = [kind for position, kind in enumerate(kinds) if kind in kinds[:position]]
    if twice:
        raise UsageError(f"Duplicate entity type(s) specified: {','.join(twice)}")
    if any(kind not in KINDS for kind in kinds):
        raise UsageError("Only 'users' and 'clients' entity types may be specified together")
    if options.order.count("entity-type") and any(options.has(flag) for flag in FLAGS):
        raise UsageError("--entity-{type,name,default} should not be used in conjunction with specific entity flags")
    if len(names) > len(kinds):
        raise UsageError("More entity names specified than entity types")
    return list(zip(kinds, [*names, *[None] * (len(kinds) - len(names))], strict=True))


# -- describe -------------------------------------------------------------------------------------------------------------


def describe(options: Options, named: Named, words: list[str]) -> Job:
    return ReadJob(
        "describeClientQuotas",
        lambda lab: _describe(lab, named),
        lambda lab, error, message: failed(words, error, message),
    )


def _describe(lab: Lab, named: Named) -> list[str]:
    image = committed_image(lab.kernel)
    lines = []
    for who, values in image.quotas.items():
        if _is_selected(who, named):
            found = ", ".join(f"{name}={java_double(values[name])}" for name in hash_order(values, len(values)))
            lines.append(f"Quota configs for {spell_entity(who)} are {found}")
    if any(kind == "clients" or name == "" for kind, name in named):
        return lines
    wanted = [name for _, name in named if name is not None]
    users = dict.fromkeys([user for user, _ in image.scram if not wanted or user in wanted])
    for user in users:
        infos = ", ".join(f"{mechanism}=iterations={known.iterations}" for (name, mechanism), known in sorted(image.scram.items()) if name == user)  # fmt: skip  # noqa: E501
        lines.append(f"SCRAM credential configs for user-principal '{user}' are {infos}")
    return lines


def _is_selected(who: QuotaEntity, named: Named) -> bool:
    """``ClientQuotaFilter.containsOnly``."""
    parts = dict(who)
    if len(parts) != len(named):
        return False
    return all(KINDS[kind] in parts and (name is None or parts[KINDS[kind]] == (name or None)) for kind, name in named)


def java_double(value: float) -> str:
    """``Double.toString``: from ten million on with an exponent."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(float(value))
    exponent = math.floor(math.log10(abs(value)))
    digits = repr(value / 10.0**exponent)
    return f"{digits}E{exponent}"


# -- alter ----------------------------------------------------------------------------------------------------------------


def alter(lab: Lab, options: Options, named: Named, added: dict[str, str], removed: list[str], words: list[str]) -> Job:
    if all(name is None for _, name in named):
        raise UsageError("An entity-name or default entity must be specified with --alter of users, clients, brokers or ips")
    if any(name is None for _, name in named):
        raise UsageError("An entity name must be specified for every entity type")
    if not added and not removed:
        raise UsageError("At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter")
    parts = {kind: name or "" for kind, name in named}
    scram = [name for name in (*added, *removed) if name in HASHES]
    _check_names(added, removed, parts, scram)
    if scram:
        commands = _credentials(parts["users"], added, removed)
    else:
        values = {name: _number(name, text) for name, text in added.items()}
        wrong = next((name for name, value in values.items() if value <= 0), "")
        if wrong:
            return Job(failed(words, "INVALID_REQUEST", f"Quota {wrong} must be greater than 0"), 1)
        present = committed_image(lab.kernel).quotas.get(_entity(parts), {})
        gone = [name for name in removed if name in present]
        commands = [c.AlterQuota(parts.get("users"), parts.get("clients"), values, gone)] if values or gone else []
    kind, name = named[0]
    completed = f"Completed updating config for {kind[:-1]} {name}." if name else _default_completed(kind)
    if not commands:
        return Job([completed])
    left = [len(commands)]

    def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
        error, message = outcome(answer)
        left[0] -= 1
        if error != "NONE":
            return failed(words, error, message), 1
        return ([] if left[0] else [completed]), 0

    return AdminJob(commands, render, call="alterClientQuotas")


def _default_completed(kind: str) -> str:
    return f"Completed updating default config for {kind} in the cluster."


def _entity(parts: dict[str, str]) -> QuotaEntity:
    return tuple((KINDS[kind], parts[kind] or None) for kind in sorted(parts))


def _check_names(added: dict[str, str], removed: list[str], parts: dict[str, str], scram: list[str]) -> None:
    for verb, names in (("added", list(added)), ("deleted", removed)):
        unknown = [name for name in names if name not in QUOTAS and name not in HASHES]
        listed = f"[{', '.join(unknown)}]"
        if "clients" in parts and (unknown or any(name in HASHES for name in names)):
            listed = f"[{', '.join(name for name in names if name not in QUOTAS)}]"
            raise UsageError(
                f"Only quota configs can be {verb} for 'clients' using --bootstrap-server. Unexpected config names: {listed}"
            )
        if unknown:
            raise UsageError(
                f"Only quota and SCRAM credential configs can be {verb} for 'users' using --bootstrap-server. "
                f"Unexpected config names: {listed}"
            )
    if scram and not parts["users"]:
        raise UsageError(
            "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using --bootstrap-server."
        )
    if scram and len(scram) < len(added) + len(removed):
        raise UsageError(
            "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using --bootstrap-server."
        )


def _credentials(user: str, added: dict[str, str], removed: list[str]) -> list[c.Command]:
    commands: list[c.Command] = [c.AlterUser(user, None, mechanism) for mechanism in removed]
    for mechanism, text in added.items():
        found = CREDENTIAL.fullmatch(text)
        if found is None or not found.group(2):
            raise UsageError(f"Invalid credential property {mechanism.replace('-', '_')}={text[:80]}")
        iterations = int(found.group(1)) if found.group(1) not in (None, "", "-1") else DEFAULT_ITERATIONS
        if iterations < MIN_ITERATIONS:
            raise UsageError(f"Iterations {iterations} is less than the minimum {MIN_ITERATIONS} required for {mechanism}")
        if iterations != DEFAULT_ITERATIONS:
            raise UsageError(f"iterations: this lab always hashes {DEFAULT_ITERATIONS} times")
        commands.append(c.AlterUser(user, found.group(2), mechanism))
    return commands


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"Cannot parse quota configuration value for {name}: {text[:80]}")
    return value


def failed(words: list[str], error: str, message: str) -> list[str]:
    return [
        f"Error while executing config command with args '{' '.join(words)}'",
        f"java.util.concurrent.ExecutionException: {exception(error)}: {message or default_message(error)}",
    ]
