"""kafka-metadata-quorum.sh (``org.apache.kafka.tools.MetadataQuorumCommand``, Kafka 4.x)."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

from engine.console.job import Job, ReadJob, exception
from engine.console.options import Option, OptionError, UsageError, parse_options, usage
from engine.console.tables import table
from engine.controller.node import ControllerNode
from engine.lab import Lab
from engine.messages.admin import QuorumReplica
from engine.spec import controller_name

NAME = "kafka-metadata-quorum.sh"
OPTIONS = (
    Option("bootstrap-server", help="A list of host/port pairs of the brokers."),
    Option("bootstrap-controller", help="A list of host/port pairs of the controllers."),
    Option("command-config", help="Property file containing configs to be passed to Admin Client."),
    Option("status", "flag", "A short summary of the quorum status."),
    Option("replication", "flag", "Detailed information about the status of replication."),
    Option("human-readable", "flag", "Human-readable output."),
    Option("help", "flag", "Print usage information."),
)  # fmt: skip
USAGE = [
    "usage: kafka-metadata-quorum [-h] [--command-config COMMAND_CONFIG]",
    "                             (--bootstrap-server BOOTSTRAP_SERVER |",
    "                             --bootstrap-controller BOOTSTRAP_CONTROLLER)",
    "                             {describe,add-controller,remove-controller}",
    "                             ...",
]
DESCRIBE_USAGE = [
    "usage: kafka-metadata-quorum (--bootstrap-server BOOTSTRAP_SERVER |",
    "                             --bootstrap-controller BOOTSTRAP_CONTROLLER)",
    "                             describe [-h] [--status] [--replication]",
    "                             [--human-readable]",
]
COLUMNS = ("NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status")
NO_DIRECTORY = "AAAAAAAAAAAAAAAAAAAAAA"
"""The all-zero UUID: with static voters (``controller.quorum.voters``) the quorum knows no directory IDs."""


def run(lab: Lab, words: list[str]) -> Job:
    try:
        options = parse_options(words, OPTIONS, abbreviations=True)
    except OptionError:
        wrong = next((word for word in words if word.startswith("-")), "")
        raise UsageError(*DESCRIBE_USAGE, f"kafka-metadata-quorum: error: unrecognized arguments: '{wrong[:80]}'") from None
    if options.has("help"):
        heading = DESCRIBE_USAGE if options.words else [*USAGE, "", "This tool describes kraft metadata quorum status."]
        return Job([*heading, "", *usage(OPTIONS)])
    if not options.words:
        raise UsageError(*USAGE, "kafka-metadata-quorum: error: too few arguments")
    if options.words[0] in ("add-controller", "remove-controller"):
        raise UsageError(f"{options.words[0]}: the voters of this lab are static (controller.quorum.voters)")
    if options.words != ["describe"]:
        wrong = next((word for word in options.words if word != "describe"), "describe")
        choices = "'describe', 'add-controller', 'remove-controller'"
        raise UsageError(*USAGE, f"kafka-metadata-quorum: error: invalid choice: '{wrong[:40]}' (choose from {choices})")
    if options.has("status") and options.has("replication"):
        raise UsageError("Only one of --status or --replication should be specified with describe sub-command")
    if not options.has("status") and not options.has("replication"):
        raise UsageError("One of --status or --replication must be specified with describe sub-command")
    if options.has("human-readable") and options.has("status"):
        raise UsageError("The option --human-readable is only supported along with --replication")
    human = options.has("human-readable")
    render = _status if options.has("status") else lambda now: _replication(now, human=human)
    return ReadJob("describeMetadataQuorum", render, lambda now, error, text: [f"{exception(error)}: {text}"])


def _leader(lab: Lab) -> ControllerNode:
    """Raises UsageError where no controller leads."""
    for host in lab.kernel.hosts.values():
        node = host.node
        if isinstance(node, ControllerNode) and host.status == "up" and node.quorum.role == "leader":
            return node
    raise UsageError(f"{exception('LEADER_NOT_AVAILABLE')}: The quorum has no leader just now.")


def _replicas(lab: Lab, leader: ControllerNode) -> tuple[list[QuorumReplica], list[QuorumReplica]]:
    """(voters, observers) as the leader knows them: how far each has fetched, and when. Its own line comes first."""
    quorum = leader.quorum
    epoch_ms = lab.kernel.epoch_ms
    now_ms = epoch_ms + lab.now_us // 1000
    voters = [QuorumReplica(leader.node_id, quorum.log.log_end_offset, now_ms, now_ms)]
    observers: list[QuorumReplica] = []
    for replica_id, progress in sorted(quorum.replicas.progress.items()):
        if replica_id == leader.node_id:
            continue
        seen = progress.log_end_offset >= 0
        replica = QuorumReplica(
            replica_id,
            progress.log_end_offset,
            epoch_ms + progress.last_fetch_us // 1000 if seen else -1,
            epoch_ms + progress.last_caught_up_us // 1000 if progress.last_caught_up_us else -1,
        )
        (voters if replica_id in quorum.voters else observers).append(replica)
    return voters, observers


def _status(lab: Lab) -> list[str]:
    leader = _leader(lab)
    quorum = leader.quorum
    voters, observers = _replicas(lab, leader)
    slowest = min(sorted(voters, key=lambda voter: voter.replica_id), key=lambda voter: voter.log_end_offset)
    lag = quorum.log.log_end_offset - slowest.log_end_offset
    if slowest.replica_id == leader.node_id:
        lag_ms = 0
    else:
        lag_ms = voters[0].last_caught_up_ms - slowest.last_caught_up_ms if slowest.last_caught_up_ms >= 0 else -1
    cluster = cluster_id(lab)
    rows = (
        ("ClusterId", cluster),
        ("LeaderId", leader.node_id),
        ("LeaderEpoch", quorum.epoch),
        ("HighWatermark", quorum.high_watermark),
        ("MaxFollowerLag", lag),
        ("MaxFollowerLagTimeMs", lag_ms),
        ("CurrentVoters", "[" + ", ".join(_voter(voter) for voter in sorted(quorum.voters)) + "]"),
        ("CurrentObservers", "[" + ", ".join(_observer(cluster, replica.replica_id) for replica in observers) + "]"),
    )
    return [f"{name + ':':<24}{value}" for name, value in rows]


def cluster_id(lab: Lab) -> str:
    """What a running broker says; every broker of a lab says the same."""
    from engine.broker.node import BrokerNode

    return next((h.node.cluster_id for h in lab.kernel.hosts.values() if isinstance(h.node, BrokerNode)), "")


def _voter(node_id: int) -> str:
    """Static voters have no directory IDs."""
    return f'{{"id": {node_id}, "endpoints": ["CONTROLLER://{controller_name(node_id)}:9093"]}}'


def _observer(cluster: str, node_id: int) -> str:
    return f'{{"id": {node_id}, "directoryId": "{directory_id(cluster, node_id)}"}}'


def directory_id(cluster: str, node_id: int) -> str:
    """What ``kafka-storage format`` drew for a broker's log directory: a version 4 UUID. Here it follows from the cluster's ID."""
    raw = bytearray(sha256(f"{cluster}/{node_id}".encode()).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _replication(lab: Lab, *, human: bool) -> list[str]:
    leader = _leader(lab)
    voters, observers = _replicas(lab, leader)
    end = leader.quorum.log.log_end_offset
    now_ms = lab.kernel.epoch_ms + lab.now_us // 1000
    cluster = cluster_id(lab)
    rows: list[tuple[str, ...]] = []
    for status, replicas in (("Leader", voters[:1]), ("Follower", voters[1:]), ("Observer", observers)):
        for replica in replicas:
            times = [replica.last_fetch_ms, replica.last_caught_up_ms]
            shown = [_ago(now_ms, moment) if human else str(moment) for moment in times]
            offset = replica.log_end_offset
            directory = directory_id(cluster, replica.replica_id) if status == "Observer" else NO_DIRECTORY
            rows.append((str(replica.replica_id), directory, str(offset), str(end - offset), *shown, status))
    return table(COLUMNS, rows)


def _ago(now_ms: int, moment_ms: int) -> str:
    return f"{now_ms - moment_ms} ms ago" if moment_ms >= 0 else str(moment_ms)
