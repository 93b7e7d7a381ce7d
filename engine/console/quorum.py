"""kafka-metadata-quorum.sh (``org.apache.kafka.tools.MetadataQuorumCommand``, Kafka 4.x)."""

from __future__ import annotations

from engine.console.job import Job, ReadJob, exception
from engine.console.options import Option, UsageError, parse_options
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
    "                             (--bootstrap-server BOOTSTRAP_SERVER | --bootstrap-controller BOOTSTRAP_CONTROLLER)",
    "                             {describe,add-controller,remove-controller} ...",
]
COLUMNS = ("NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status")
NO_DIRECTORY = "AAAAAAAAAAAAAAAAAAAAAA"
"""The all-zero UUID: with static voters (``controller.quorum.voters``) the quorum knows no directory IDs."""


def run(lab: Lab, words: list[str]) -> Job:
    options = parse_options(words, OPTIONS)
    if options.has("help"):
        return Job(["This tool describes kraft metadata quorum status.", *USAGE])
    if options.words != ["describe"]:
        wrong = f"invalid choice: '{options.words[0][:40]}'" if options.words else "too few arguments"
        raise UsageError(*USAGE, f"kafka-metadata-quorum: error: {wrong} (this lab offers 'describe')")
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
    slowest = min([*voters, *observers], key=lambda replica: replica.log_end_offset)
    end = quorum.log.log_end_offset
    lag = end - slowest.log_end_offset
    lag_ms = voters[0].last_caught_up_ms - slowest.last_caught_up_ms if lag and slowest.last_caught_up_ms >= 0 else -1 if lag else 0
    rows = (
        ("ClusterId", cluster_id(lab)),
        ("LeaderId", leader.node_id),
        ("LeaderEpoch", quorum.epoch),
        ("HighWatermark", quorum.high_watermark),
        ("MaxFollowerLag", lag),
        ("MaxFollowerLagTimeMs", lag_ms),
        ("CurrentVoters", "[" + ", ".join(_voter(voter) for voter in sorted(quorum.voters)) + "]"),
        ("CurrentObservers", "[" + ", ".join(_observer(replica.replica_id) for replica in observers) + "]"),
    )
    return [f"{name + ':':<24}{value}" for name, value in rows]


def cluster_id(lab: Lab) -> str:
    """What a running broker says; every broker of a lab says the same."""
    from engine.broker.node import BrokerNode

    return next((h.node.cluster_id for h in lab.kernel.hosts.values() if isinstance(h.node, BrokerNode)), "")


def _voter(node_id: int) -> str:
    return f'{{"id": {node_id}, "directoryId": null, "endpoints": ["CONTROLLER://{controller_name(node_id)}:9093"]}}'


def _observer(node_id: int) -> str:
    return f'{{"id": {node_id}, "directoryId": null}}'


def _replication(lab: Lab, *, human: bool) -> list[str]:
    leader = _leader(lab)
    voters, observers = _replicas(lab, leader)
    end = leader.quorum.log.log_end_offset
    now_ms = lab.kernel.epoch_ms + lab.now_us // 1000
    rows: list[tuple[str, ...]] = [COLUMNS]
    for status, replicas in (("Leader", voters[:1]), ("Follower", voters[1:]), ("Observer", observers)):
        for replica in replicas:
            times = [replica.last_fetch_ms, replica.last_caught_up_ms]
            shown = [_ago(now_ms, moment) if human else str(moment) for moment in times]
            offset = replica.log_end_offset
            rows.append((str(replica.replica_id), NO_DIRECTORY, str(offset), str(end - offset), *shown, status))
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return ["".join(f"{cell:<{width}}\t" for cell, width in zip(row, widths, strict=True)) for row in rows]


def _ago(now_ms: int, moment_ms: int) -> str:
    return f"{now_ms - moment_ms} ms ago" if moment_ms >= 0 else str(moment_ms)
