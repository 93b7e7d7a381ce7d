"""kafka-acls.sh (``org.apache.kafka.tools.AclCommand``, Kafka 4.x)."""

from __future__ import annotations

from engine import commands as c
from engine.console.job import AdminJob, Job, ReadJob, default_message, exception
from engine.console.options import Option, OptionError, Options, UsageError, check_values, forbid, parse_options, usage
from engine.console.topics import outcome
from engine.events import AdminAnswered
from engine.lab import Lab
from engine.messages.security import CLUSTER_NAME, OPERATIONS, AclBinding, AclFilter
from engine.metadata.authorizer import matches
from engine.metadata.configs import static_value
from engine.view.build import committed_image

NAME = "kafka-acls.sh"
OPTIONS = (
    Option("bootstrap-server", help="A list of host/port pairs of the brokers."),
    Option("bootstrap-controller", help="A list of host/port pairs of the controllers."),
    Option("command-config", help="A property file containing configs to be passed to Admin Client."),
    Option("add", "flag", "Indicates you are trying to add ACLs."),
    Option("remove", "flag", "Indicates you are trying to remove ACLs."),
    Option("list", "flag", "List ACLs for the specified resource, use --topic <topic> or --group <group> or --cluster."),
    Option("topic", help="Topic to which ACLs should be added or removed; '*' means all topics.", many=True),
    Option("group", help="Consumer Group to which the ACLs should be added or removed; '*' means all groups.", many=True),
    Option("cluster", "flag", "Add/Remove cluster ACLs."),
    Option("transactional-id", help="The transactionalId to which ACLs should be added or removed; '*' means all.", many=True),
    Option("idempotent", "flag", "Enable idempotence for the producer. This should be used with the --producer option."),
    Option("resource-pattern-type", help="literal or prefixed; when listing or removing also any or match."),
    Option("operation", help="Operation that is being allowed or denied: All, Read, Write, Create, Delete, Alter, Describe, …", many=True),
    Option("allow-principal", help="Principal in principalType:name format, such as User:alice or User:*.", many=True),
    Option("deny-principal", help="Principal that is denied. Deny rules take precedence over allow rules.", many=True),
    Option("allow-host", help="Host from which principals listed in --allow-principal will have access.", many=True),
    Option("deny-host", help="Host from which principals listed in --deny-principal will be denied access.", many=True),
    Option("principal", help="List ACLs for the specified principal.", many=True),
    Option("producer", "flag", "Convenience option: allows Write, Describe and Create on topic."),
    Option("consumer", "flag", "Convenience option: allows Read, Describe on topic and Read on group."),
    Option("force", "flag", "Assume Yes to all queries and do not prompt."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip
ACTIONS = ("add", "remove", "list")
SUPPORTED = {
    "topic": ("read", "write", "create", "describe", "delete", "alter", "describe-configs", "alter-configs"),
    "group": ("read", "describe", "delete", "describe-configs", "alter-configs"),
    "cluster": ("create", "cluster-action", "describe-configs", "alter-configs", "idempotent-write", "alter", "describe"),
    "transactional-id": ("describe", "write", "two-phase-commit"),
}
"""``AclEntry.supportedOperations``; ALL goes with each."""
ENUM_ORDER = ("all", "read", "write", "create", "delete", "alter", "describe", "cluster-action", "describe-configs", "alter-configs",
              "idempotent-write", "two-phase-commit")  # fmt: skip
Resource = tuple[str, str, str]
"""(type, name, pattern type)."""
Entry = tuple[str, str, str, str]
"""(principal, host, operation, permission)."""


def run(lab: Lab, words: list[str]) -> Job:
    try:
        options = parse_options(words, OPTIONS)
        check_values(options, OPTIONS)
    except OptionError as wrong:
        raise UsageError(wrong.text, *usage(OPTIONS)) from None
    if options.has("help"):
        return Job(["This tool helps to manage acls on kafka.", *usage(OPTIONS)], 1)
    _check(options)
    wanted = {} if options.has("list") else _entries(options)
    if not static_value(lab.spec.broker_configs, "authorizer.class.name"):
        return Job(_failed(lab, "SECURITY_DISABLED", "No Authorizer is configured."), 1)
    if options.has("list"):
        return ReadJob("describeAcls", lambda now: _list(now, options), _failed)
    return _add(lab, options, wanted) if options.has("add") else _remove(options, wanted)


def _check(options: Options) -> None:
    if sum(options.has(action) for action in ACTIONS) != 1:
        raise _usage("Command must include exactly one action: --list, --add, --remove. ")
    forbid(options, OPTIONS, "list", "producer", "consumer", "allow-host", "allow-principal", "deny-host", "deny-principal")
    for role in ("producer", "consumer"):
        forbid(options, OPTIONS, role, "operation", "deny-principal", "deny-host")
    if options.has("principal") and not options.has("list"):
        raise _usage("The --principal option is only available if --list is set")
    if options.has("producer") and not options.has("topic"):
        raise _usage("With --producer you must specify a --topic")
    if options.has("idempotent") and not options.has("producer"):
        raise _usage("The --idempotent option is only available if --producer is set")
    beside = not options.has("producer") and (options.has("cluster") or options.has("transactional-id"))
    if options.has("consumer") and (not options.has("topic") or not options.has("group") or beside):
        raise _usage(
            "With --consumer you must specify a --topic and a --group and no --cluster or --transactional-id option should be specified."
        )
    pattern = _pattern(options)
    if options.has("add") and pattern not in ("literal", "prefixed"):
        raise _usage(f"A '--resource-pattern-type' value of '{pattern.upper()}' is not valid when adding acls.")


def _usage(text: str) -> UsageError:
    return UsageError(text, *usage(OPTIONS))


def _failed(lab: Lab, error: str, message: str) -> list[str]:
    text = f"{exception(error)}: {message or default_message(error)}"
    return [f"Error while executing ACL command: {text}", f"java.util.concurrent.ExecutionException: {text}"]


# -- which ACLs -----------------------------------------------------------------------------------------------------------


def _pattern(options: Options) -> str:
    pattern = options.text("resource-pattern-type", "literal").lower()
    if pattern not in ("literal", "prefixed", "any", "match"):
        text = f"Cannot parse argument '{pattern[:80]}' of option resource-pattern-type"
        raise UsageError(f"joptsimple.OptionArgumentConversionException: {text}")
    return pattern


def _resources(options: Options, *, needed: bool) -> list[Resource]:
    pattern = _pattern(options)
    found = [("topic", name.strip(), pattern) for name in options.all("topic")]
    if pattern == "literal" and (options.has("cluster") or options.has("idempotent")):
        found.append(("cluster", CLUSTER_NAME, "literal"))
    found += [("group", name.strip(), pattern) for name in options.all("group")]
    found += [("transactional-id", name, pattern) for name in options.all("transactional-id")]
    if needed and not found:
        raise _usage(
            "You must provide at least one resource: --topic <topic> or --cluster or --group <group> or --delegation-token "
            "<Delegation Token ID>"
        )
    return list(dict.fromkeys(found))


def _entries(options: Options) -> dict[Resource, list[Entry]]:
    """``getResourceFilterToAcls``: the ACLs of each resource."""
    resources = _resources(options, needed=True)
    found: dict[Resource, list[Entry]] = {}
    if not options.has("producer") and not options.has("consumer"):
        operations = [_operation(name) for name in options.all("operation")] or ["all"]
        found = {resource: _for(options, operations) for resource in resources}
    if options.has("producer"):
        found |= {each: _for(options, ["write", "describe", "create"]) for each in resources if each[0] == "topic"}
        found |= {each: _for(options, ["write", "describe"]) for each in resources if each[0] == "transactional-id"}
        if options.has("idempotent"):
            found["cluster", CLUSTER_NAME, "literal"] = _for(options, ["idempotent-write"])
    if options.has("consumer"):
        for each in resources:
            more = {"topic": ["read", "describe"], "group": ["read"]}.get(each[0])
            if more is not None:
                found[each] = list(dict.fromkeys([*found.get(each, []), *_for(options, more)]))
    for (kind, _, _), entries in found.items():
        allowed = (*SUPPORTED[kind], "all")
        if any(operation not in allowed for _, _, operation, _ in entries):
            listed = ", ".join(_enum(name) for name in ENUM_ORDER if name in allowed)
            raise _usage(f"ResourceType {_enum(kind)} only supports operations [{listed}]")
    if options.has("add") and not all(found.values()):
        raise _usage("You must specify one of: --allow-principal, --deny-principal when trying to add ACLs.")
    return found


def _for(options: Options, operations: list[str]) -> list[Entry]:
    found: list[Entry] = []
    for permission in ("allow", "deny"):
        principals = [_principal(text.strip()) for text in options.all(f"{permission}-principal")]
        hosts = [host.strip() for host in options.all(f"{permission}-host")] or ["*"]
        found += [(who, host, operation, permission) for who in principals for operation in operations for host in hosts]
    return list(dict.fromkeys(found))


def _operation(name: str) -> str:
    """``SecurityUtils.operation``: DescribeConfigs, describe_configs, all the same; what it does not know, no resource supports."""
    plain = name.strip().replace("_", "").replace("-", "").lower()
    for known in OPERATIONS:
        if known.replace("-", "") == plain:
            return known
    return "unknown"


def _principal(text: str) -> str:
    kind, colon, name = text.partition(":")
    if not (kind and colon and name):
        why = f"expected a string in format principalType:principalName but got {text[:80]}"
        raise UsageError(f"Error while executing ACL command: {why}", f"java.lang.IllegalArgumentException: {why}")
    return text


# -- list, add, remove ----------------------------------------------------------------------------------------------------


def _list(lab: Lab, options: Options) -> list[str]:
    acls = list(committed_image(lab.kernel).acls.values())
    wanted = _resources(options, needed=False)
    if wanted:
        acls = [acl for acl in acls if any(matches(acl, _filter(resource)) for resource in wanted)]
    if not options.has("principal"):
        return _print(acls)
    lines = []
    for who in dict.fromkeys([_principal(text.strip()) for text in options.all("principal")]):
        lines += [f"ACLs for principal `{who}`", *_print([acl for acl in acls if acl.principal == who])]
    return lines


def _filter(resource: Resource) -> AclFilter:
    kind, name, pattern = resource
    return AclFilter(kind, name, "" if pattern == "any" else pattern)


def _print(acls: list[AclBinding]) -> list[str]:
    by_resource: dict[Resource, list[str]] = {}
    for acl in acls:
        resource = (acl.resource_type, acl.resource_name, acl.pattern_type)
        by_resource.setdefault(resource, []).append(_entry((acl.principal, acl.host, acl.operation, acl.permission)))
    lines = []
    for resource, entries in by_resource.items():
        lines += [f"Current ACLs for resource `{_spell(resource)}`:", *[f"\t{entry}" for entry in entries], ""]
    return lines


def _add(lab: Lab, options: Options, wanted: dict[Resource, list[Entry]]) -> Job:
    """What is there already is told and not added again."""
    present = list(committed_image(lab.kernel).acls.values())
    lines: list[str] = []
    commands: list[c.Command] = []
    for resource, entries in wanted.items():
        kind, name, pattern = resource
        fresh = []
        for entry in entries:
            who, host, operation, permission = entry
            if AclBinding(kind, name, pattern, who, host, operation, permission) in present:
                lines.append(f"Acl (pattern={_spell(resource)}, entry={_entry(entry)}) already exists.")
            else:
                fresh.append(entry)
                commands.append(c.CreateAcl(who, operation, kind, name, pattern, permission, host))
        if fresh:
            first, *others = [f"\t{_entry(entry)}" for entry in fresh]
            lines += [f"Adding ACLs for resource `{_spell(resource)}`: ", f" {first}", *others, ""]
    return _run(commands, lines, "createAcls")


def _remove(options: Options, wanted: dict[Resource, list[Entry]]) -> Job:
    """Without --force the tool asks; this console has no second line to answer with."""
    commands: list[c.Command] = []
    lines: list[str] = []
    for resource, entries in wanted.items():
        kind, name, pattern = resource
        pattern = "" if pattern == "any" else pattern
        spelt = f"ResourcePattern(resourceType={_enum(kind)}, name={name}, patternType={_enum(pattern or 'any')})"
        if not entries:
            lines.append(f"Are you sure you want to delete all ACLs for resource filter `{spelt}`? (y/n)")
            commands.append(c.DeleteAcl("", "", kind, name, pattern))
            continue
        first, *others = [f"\t{_entry(entry)}" for entry in entries]
        question = f" from resource filter `{spelt}`? (y/n)"
        lines += ["Are you sure you want to remove ACLs: ", f" {first}", *others, question]
        for who, host, operation, permission in entries:
            commands.append(c.DeleteAcl(who, operation, kind, name, pattern, permission, host))
    if not options.has("force"):
        return Job([*lines, "(this console takes no answer: give --force for yes)"], 1)
    return _run(commands, [], "deleteAcls")


def _run(commands: list[c.Command], before: list[str], call: str) -> Job:
    def render(now: Lab, answer: AdminAnswered) -> tuple[list[str], int]:
        error, message = outcome(answer)
        return ([], 0) if error == "NONE" else (_failed(now, error, message), 1)

    return AdminJob(commands, render, call=call, before=before) if commands else Job(before)


def _enum(name: str) -> str:
    return name.upper().replace("-", "_")


def _spell(resource: Resource) -> str:
    kind, name, pattern = resource
    return f"ResourcePattern(resourceType={_enum(kind)}, name={name}, patternType={_enum(pattern)})"


def _entry(entry: Entry) -> str:
    who, host, operation, permission = entry
    return f"(principal={who}, host={host}, operation={_enum(operation)}, permissionType={_enum(permission)})"
