"""Lines for every tool, spoilt in every way: each ends with a status, says why where it fails, and breaks nothing."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.console.job import Job
from engine.console.session import NAMES, Console
from engine.errors import EngineError
from engine.lab import Lab
from tests.engine import hostile

MOVE = '{"version":1,"partitions":[{"topic":"orders","partition":0,"replicas":[2,3]}]}'
LINES = [
    shlex.split(line)
    for line in (
        "kafka-topics.sh --create --topic new --partitions 2 --replication-factor 2 --config retention.ms=1000",
        "kafka-topics.sh --describe --topic orders", "kafka-topics.sh --alter --topic orders --partitions 5",
        "kafka-topics.sh --create --topic r --replica-assignment 1:2,2:3", "kafka-topics.sh --delete --topic paid",
        "kafka-configs.sh --alter --entity-type topics --entity-name orders --add-config retention.ms=1000,cleanup.policy=[compact,delete]",
        "kafka-configs.sh --describe --entity-type brokers --entity-name 1 --all",
        "kafka-configs.sh --alter --user alice --client a --add-config request_percentage=9",
        "kafka-configs.sh --alter --entity-type users --entity-name bob --add-config SCRAM-SHA-512=[iterations=4096,password=x]",
        "kafka-configs.sh --alter --group g --add-config consumer.session.timeout.ms=45000",
        "kafka-consumer-groups.sh --describe --group g --members --verbose", "kafka-consumer-groups.sh --describe --all-groups --offsets",
        "kafka-consumer-groups.sh --reset-offsets --group none --topic orders:0,1 --to-offset 1 --execute",
        "kafka-consumer-groups.sh --reset-offsets --group none --topic orders --by-duration PT1H --dry-run",
        "kafka-consumer-groups.sh --reset-offsets --group none --all-topics --shift-by 1 --export --dry-run",
        "kafka-consumer-groups.sh --reset-offsets --group none --topic orders --to-datetime 2026-01-01T00:00:00.000 --execute",
        "kafka-consumer-groups.sh --reset-offsets --group none --from-file orders,0,1 --execute",
        "kafka-consumer-groups.sh --delete --group none", "kafka-consumer-groups.sh --delete-offsets --group g --topic orders",
        "kafka-share-groups.sh --describe --group shares --members", "kafka-share-groups.sh --delete --group shares",
        "kafka-transactions.sh describe --transactional-id tx", "kafka-transactions.sh describe-producers --topic orders --partition 0",
        "kafka-transactions.sh find-hanging --broker-id 1 --max-transaction-timeout 1",
        "kafka-transactions.sh abort --topic orders --partition 0 --producer-id 0 --producer-epoch 0 --coordinator-epoch 0",
        "kafka-acls.sh --add --allow-principal User:alice --operation Read --topic orders --resource-pattern-type prefixed",
        "kafka-acls.sh --remove --allow-principal User:alice --operation Read --topic orders --force",
        "kafka-acls.sh --add --deny-principal User:x --deny-host 1.1.1.1 --producer --topic t --transactional-id tx --idempotent",
        f"kafka-reassign-partitions.sh --execute --reassignment-json-file {shlex.quote(MOVE)} --throttle 1000",
        f"kafka-reassign-partitions.sh --verify --reassignment-json-file {shlex.quote(MOVE)}",
        "kafka-delete-records.sh --offset-json-file " + shlex.quote(MOVE.replace('"replicas":[2,3]', '"offset":1')),
        "kafka-dump-log.sh --print-data-log --files broker-1:orders-0/00000000000000000000.log",
        "kafka-dump-log.sh --files broker-1:__consumer_offsets-0/00000000000000000000.log --offsets-decoder --max-bytes 100",
        "kafka-get-offsets.sh --topic-partitions orders:0-2,paid --time latest",
        "kafka-producer-perf-test.sh --topic orders --num-records 20 --record-size 10 --throughput 100 --command-property acks=1",
        "kafka-console-consumer.sh --topic orders --from-beginning --max-messages 2 --group n1",
        "kafka-console-share-consumer.sh --topic orders --group shares --max-messages 1 --release",
        "kafka-console-producer.sh --topic orders --producer-property acks=all --property parse.key=true",
        "kafka-leader-election.sh --election-type preferred --topic orders --partition 0",
        "kafka-metadata-quorum.sh describe --replication --human-readable",
    )
]  # fmt: skip
VALUES = (
    *hostile.TEXTS, "NaN", "1e9",
    "0x10", "1_000", "²", "9" * 30, "a=", "=b", "=", "[", "retention.ms=[1]", "producer_byte_rate=inf", "orders:0:1",
    "1,2,a", "1:1", "{}", "[]", '{"partitions":1}', '{"partitions":[{"topic":1,"partition":"a","offset":null}]}', "P1D", "by",
    '{"version":1,"partitions":[{"topic":"orders","partition":1e400,"replicas":["a"]}]}', "broker-1:/etc/passwd", "/dev/stdin",
    "SCRAM-SHA-512=[iterations=99999999,password=x]", "--help", "--", "-", "--topic", "--group", "--execute", "--all-groups",
)  # fmt: skip
SPOILING = st.tuples(st.sampled_from(("replace", "delete", "insert", "append")), st.integers(0, 20), st.sampled_from(VALUES))


def test_every_tool_is_spoilt_here() -> None:
    assert {words[0] for words in LINES} == set(NAMES)


@pytest.fixture(scope="module")
def busy() -> Lab:
    return hostile.busy_lab()


def spoil(words: list[str], how: str, where: int, value: str) -> list[str]:
    place = 1 + where % (len(words) - 1) if len(words) > 1 else 1
    if how == "insert":
        return [*words[:place], value, *words[place:]]
    if how == "delete":
        return [*words[:place], *words[place + 1 :]]
    return [*words[:place], (words[place] if how == "append" and place < len(words) else "") + value, *words[place + 1 :]]


def drive(lab: Lab, job: Job) -> list[str]:
    """For a second, then Ctrl-C."""
    printed: list[str] = []
    for _ in range(6):
        for command in job.take_commands():
            try:
                job.submitted(lab.submit(command))
            except EngineError as wrong:
                job.refused(wrong)
        printed += job.poll(lab)
        if job.done:
            return printed
        lab.advance(lab.now_us + 200_000)
    job.interrupt(lab)
    return printed + job.poll(lab)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(LINES), st.lists(SPOILING, max_size=3))
def test_no_spoilt_line_breaks_a_tool_or_fails_without_a_word(
    busy: Lab, words: list[str], spoilings: list[tuple[str, int, str]]
) -> None:
    for spoiling in spoilings:
        words = spoil(words, *spoiling)
    job = Console().execute(busy, " ".join(map(shlex.quote, words)))
    printed = drive(busy, job)
    assert all(isinstance(line, str) for line in printed)
    assert job.exit_status in (0, 130) or printed, words
