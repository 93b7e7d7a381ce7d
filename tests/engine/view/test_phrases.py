"""Each command has its phrase and its command line; no class may be forgotten."""

from __future__ import annotations

import shlex

import pytest

from engine import commands as c
from engine.commands import COMMANDS, Command
from engine.console.equivalents import command_line_for
from engine.console.session import NAMES
from engine.view.narrate import command_text

SAMPLES: list[tuple[Command, str, str]] = [
    (
        c.AlterGroupOffsets("readers", [c.GroupOffset("orders", 0, 5), c.GroupOffset("orders", 1, 5)]),
        "set the offsets of group readers in orders-0 to 5, orders-1 to 5",
        "kafka-consumer-groups.sh --reset-offsets --group readers --topic orders:0,1 --to-offset 5 --execute",
    ),
    (
        c.AlterGroupOffsets("readers", [c.GroupOffset("orders", 0, 5), c.GroupOffset("pay", 0, 7)]),
        "set the offsets of group readers in orders-0 to 5, pay-0 to 7",
        "kafka-consumer-groups.sh --reset-offsets --group readers --from-file /dev/stdin --execute <<< $'orders,0,5\\npay,0,7'",
    ),
    (
        c.DeleteGroupOffsets("readers", [c.PartitionOfTopic("orders", 0)]),
        "delete the offsets of group readers in orders-0",
        "kafka-consumer-groups.sh --delete-offsets --group readers --topic orders:0",
    ),
    (
        c.CreateShareConsumer("app", ["orders"], {"group.id": "pool"}),
        "start share consumer app of group pool on orders",
        "kafka-console-share-consumer.sh --topic orders --group pool",
    ),
    (
        c.CreateShareConsumer(
            "app", ["orders"], {"group.id": "pool", "share.acknowledgement.mode": "explicit"}, 20, release_every=3, fail_on="bad"
        ),
        'start share consumer app of group pool on orders, 20 ms per record, releasing every 3rd record, failing at records with "bad"',
        "",
    ),
    (
        c.CreateShareConsumer(
            "app", ["orders"], {"group.id": "pool", "share.acknowledgement.mode": "explicit"}, reject_every=1, stop_after=3
        ),
        "start share consumer app of group pool on orders, rejecting every record, up to 3 records",
        "kafka-console-share-consumer.sh --topic orders --group pool --reject --max-messages 3",
    ),
    (
        c.SetVerdicts("app", reject_every=1),
        "let app go on rejecting every record",
        "consumer.acknowledge(record, AcknowledgeType.REJECT);    // for some records, in app: no tool does this",
    ),
    (c.SetVerdicts("app"), "let app go on accepting every record", ""),
    (c.DeleteGroup("readers"), "delete group readers", "kafka-consumer-groups.sh --delete --group readers"),
    (c.KillNode("broker-1"), "kill broker 1", 'kill -9 $(pgrep -f "broker-1/server.properties")'),
    (c.StopNode("broker-1"), "stop broker 1 politely", 'kill -TERM $(pgrep -f "broker-1/server.properties")'),
    (c.StartNode("broker-1"), "start broker 1", "kafka-server-start.sh -daemon broker-1/server.properties"),
    (c.PauseNode("app"), "pause app", "kill -STOP $(pgrep -f app)"),
    (c.ResumeNode("app"), "resume app", "kill -CONT $(pgrep -f app)"),
    (c.LosePower("broker-2", True), "cut the power of broker 2, tearing its last write", "ipmitool -H broker-2 chassis power off"),
    (
        c.CutNetwork("broker-1", "broker-2", True),
        "cut the network from broker 1 to broker 2",
        "ssh broker-1 'iptables -A OUTPUT -d broker-2 -j DROP'",
    ),
    (
        c.CutNetwork("broker-1"),
        "cut broker 1 off the network",
        "ssh broker-1 'iptables -A OUTPUT -d 0.0.0.0/0 -j DROP && iptables -A INPUT -s 0.0.0.0/0 -j DROP'",
    ),
    (c.HealNetwork(), "heal the whole network", "iptables -F && tc qdisc del dev eth0 root    # on each machine"),
    (
        c.DegradeNetwork("broker-1", "broker-2", 50, 2.5),
        "slow the network between broker 1 and broker 2 by 50 ms and with 2.5 % loss",
        "ssh broker-1 'tc qdisc add dev eth0 root netem delay 50ms loss 2.5%'    # towards broker-2",
    ),
    (c.SlowDisk("broker-1", 0), "make the disk of broker 1 fast again", "ssh broker-1 'dmsetup remove slow'"),
    (c.FillDisk("broker-1"), "fill the disk of broker 1", "ssh broker-1 'fallocate -l 100% /var/lib/kafka/ballast'"),
    (c.FreeDisk("broker-1"), "free the disk of broker 1", "ssh broker-1 'rm /var/lib/kafka/ballast'"),
    (c.WipeDisk("broker-1"), "replace the disk of broker 1 by an empty one", "ssh broker-1 'rm -rf /var/lib/kafka/data'"),
    (c.CorruptDisk("broker-1", "orders", 0), "flip a byte of orders-0 on the disk of broker 1", ""),
    (
        c.CreateTopic("orders", 3, 2, {"cleanup.policy": "compact"}),
        "create topic orders with 3 partitions, replication factor 2, cleanup.policy=compact",
        "kafka-topics.sh --create --topic orders --partitions 3 --replication-factor 2 --config cleanup.policy=compact",
    ),
    (c.DeleteTopic("orders"), "delete topic orders", "kafka-topics.sh --delete --topic orders"),
    (
        c.DeleteRecords("orders", 0, 40),
        "delete the records of orders-0 before offset 40",
        (
            "kafka-delete-records.sh --offset-json-file "
            """<(echo '{"partitions":[{"topic":"orders","partition":0,"offset":40}],"version":1}')"""
        ),
    ),
    (c.DeleteRecords("orders", 0), "delete the records of orders-0 before the high watermark", ""),
    (c.AddPartitions("orders", 6), "grow topic orders to 6 partitions", "kafka-topics.sh --alter --topic orders --partitions 6"),
    (
        c.AlterConfig("broker", "", {"min.insync.replicas": "2"}, ["log.retention.ms"]),
        "set min.insync.replicas=2 and remove log.retention.ms for all brokers",
        (
            "kafka-configs.sh --alter --entity-type brokers --entity-default --add-config min.insync.replicas=2 "
            "--delete-config log.retention.ms"
        ),
    ),
    (
        c.ElectLeader("unclean", "orders", 0),
        "run an unclean leader election for orders-0",
        "kafka-leader-election.sh --election-type UNCLEAN --topic orders --partition 0",
    ),
    (
        c.ReassignPartition("orders", 0, [3, 1]),
        "move orders-0 to brokers 3, 1",
        (
            "kafka-reassign-partitions.sh --execute --reassignment-json-file "
            """<(echo '{"version":1,"partitions":[{"topic":"orders","partition":0,"replicas":[3,1]}]}')"""
        ),
    ),
    (
        c.AlterQuota("alice", "app", {"producer_byte_rate": 1024, "request_percentage": 2.5}),
        "set producer_byte_rate=1024 and set request_percentage=2.5 for client app as user alice",
        (
            "kafka-configs.sh --alter --entity-type users --entity-name alice --entity-type clients --entity-name app "
            "--add-config producer_byte_rate=1024,request_percentage=2.5"
        ),
    ),
    (
        c.AlterQuota(None, "", {}, ["consumer_byte_rate"]),
        "remove consumer_byte_rate for every client without a quota of its own",
        "kafka-configs.sh --alter --entity-type clients --entity-default --delete-config consumer_byte_rate",
    ),
    (
        c.AlterUser("alice", "secret"),
        "create the SCRAM-SHA-512 credential of user alice",
        "kafka-configs.sh --alter --entity-type users --entity-name alice --add-config 'SCRAM-SHA-512=[password=secret]'",
    ),
    (
        c.CreateAcl("User:alice", "describe-configs", "topic", "pay", "prefixed", "deny"),
        "deny User:alice describe-configs on every topic that begins with pay",
        "kafka-acls.sh --add --deny-principal User:alice --operation DescribeConfigs --topic pay --resource-pattern-type prefixed",
    ),
    (
        c.DeleteAcl("User:alice", "read", "topic", "orders"),
        "delete the ACLs of User:alice to read on topic orders",
        "kafka-acls.sh --remove --force --allow-principal User:alice --operation Read --topic orders",
    ),
    (
        c.CreateProducer("app", {"acks": "1"}),
        "start producer app",
        "kafka-console-producer.sh --topic TOPIC --command-property acks=1",
    ),
    (
        c.Produce("orders", "it's", "k"),
        'produce "it\'s" with key "k" to orders',
        "kafka-console-producer.sh --topic orders --reader-property parse.key=true --reader-property key.separator=: "
        "<<< " + shlex.quote("k:it's"),
    ),
    (
        c.StartWorkload("w", "orders", records_per_second=100),
        "send 100 records per second to orders",
        "kafka-producer-perf-test.sh --topic orders --throughput 100 --record-size 100 --num-records -1",
    ),
    (c.StopWorkload("w"), "stop workload w", "kill -INT $(pgrep -f w)"),
    (
        c.AbortHangingTransaction("orders", 0, 7, 3),
        "abort the transaction of producer 7 in orders-0",
        "kafka-transactions.sh abort --topic orders --partition 0 --producer-id 7 --producer-epoch 3 --coordinator-epoch -1",
    ),
    (c.BeginTransaction("pay"), "let pay begin a transaction", "producer.beginTransaction();    // in pay: no tool does this"),
    (c.CommitTransaction("pay"), "let pay commit its transaction", "producer.commitTransaction();    // in pay: no tool does this"),
    (c.AbortTransaction("pay"), "let pay abort its transaction", "producer.abortTransaction();    // in pay: no tool does this"),
    (
        c.CreateConsumer("r", ["orders"], {"auto.offset.reset": "earliest"}),
        "start consumer r on orders",
        "kafka-console-consumer.sh --topic orders --from-beginning",
    ),
    (
        c.AssignConsumer("r", "orders", [0]),
        "let r read orders, partitions 0",
        "kafka-console-consumer.sh --topic orders --partition 0",
    ),
    (
        c.SeekConsumer("r", "orders", 0, -2),
        "let r read orders-0 from the beginning",
        "kafka-console-consumer.sh --topic orders --partition 0 --offset earliest",
    ),
    (
        c.CreateConsumer("r", ["orders"], {"group.id": "billing"}, 20, "after"),
        "start consumer r of group billing on orders, 20 ms per record, committing after it processes",
        "kafka-console-consumer.sh --topic orders --group billing",
    ),
    (
        c.SetProcessing("r", 1000),
        "let r take 1,000 ms for each record",
        "Thread.sleep(1000);    // for each record, in r: no tool does this",
    ),
    (c.CommitOffsets("r"), "let r commit its offsets", "consumer.commitSync();    // in r: no tool does this"),
    (
        c.CreateProcessor("copy", "g", "orders", "copies"),
        "start processor copy from orders to copies in group g",
        "systemctl start copy    # an application of yours: orders to copies",
    ),
    (c.PauseConsumer("r"), "pause consumer r", "kill -STOP $(pgrep -f r)"),
    (c.CloseClient("r"), "close r", "kill -INT $(pgrep -f r)"),
]


@pytest.mark.parametrize(("command", "phrase", "line"), SAMPLES, ids=lambda value: type(value).__name__)
def test_phrases_and_command_lines_read_like_this(command: Command, phrase: str, line: str) -> None:
    assert command_text(command) == phrase
    if line:
        assert command_line_for(command) == line
    assert "\n" not in command_line_for(command)


def test_no_command_is_forgotten() -> None:
    assert {type(command).__name__ for command, _, _ in SAMPLES} == set(COMMANDS)


def test_what_a_button_shows_can_be_typed() -> None:
    shown = {command_line_for(command).split()[0] for command, _, _ in SAMPLES}
    assert {"kafka-topics.sh", "kafka-configs.sh", "kafka-leader-election.sh"} <= shown & set(NAMES)
