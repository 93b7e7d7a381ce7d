"""How jobs behave while they run: prompts, Ctrl-C, refusals, processes that die, time that goes back, and any line at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import commands as c
from engine import limits
from engine.console.job import Job
from engine.console.options import UsageError, split_words
from engine.console.session import NAMES, Console
from engine.console.synonyms import hash_order
from engine.console.topics import matches
from engine.errors import EngineError
from engine.lab import Lab
from engine.spec import ClusterSpec, TopicSpec

SPEC = ClusterSpec(topics=(TopicSpec("orders", 1, 3),))


@pytest.fixture
def lab() -> Lab:
    return Lab(SPEC, seed=4)


def drive(lab: Lab, job: Job, seconds: float = 10.0) -> list[str]:
    """Until the job is done, or that much time has passed."""
    lines: list[str] = []
    end_us = lab.now_us + int(seconds * 1_000_000)
    while True:
        for _ in range(2):
            for command in job.take_commands():
                try:
                    job.submitted(lab.submit(command))
                except EngineError as error:
                    job.refused(error)
            lines += job.poll(lab)
        if job.done or lab.now_us >= end_us:
            return lines
        lab.advance(lab.now_us + 50_000)


def test_the_producer_prompts_until_ctrl_d_and_then_leaves(lab: Lab) -> None:
    console = Console()
    job = console.execute(lab, "kafka-console-producer.sh --topic orders")
    drive(lab, job, 1)
    assert (console.prompt, job.foreground, job.done) == (">", False, False)
    assert console.execute(lab, "kafka-topics.sh --list") is job, "at the prompt each line is a record"
    drive(lab, job, 3)
    console.execute(lab, "\x04")
    drive(lab, job)
    assert (console.prompt, job.done, job.exit_status) == ("$ ", True, 0)
    assert lab.view().topics["orders"].partitions["0"].high_watermark == 1
    assert lab.view().nodes.get("console-producer") is None or lab.view().nodes["console-producer"].status == "down"


def test_ctrl_c_ends_a_consumer_with_its_summary(lab: Lab) -> None:
    job = Console().execute(lab, "kafka-console-consumer.sh --topic orders")
    assert drive(lab, job, 2) == []
    job.interrupt(lab)
    assert drive(lab, job) == ["^C", "Processed a total of 0 messages"]
    assert job.done


def test_ctrl_c_ends_a_producer(lab: Lab) -> None:
    console = Console()
    job = console.execute(lab, "kafka-console-producer.sh --topic orders")
    drive(lab, job, 1)
    job.interrupt(lab)
    drive(lab, job)
    assert (job.done, job.exit_status, console.prompt) == (True, 130, "$ ")


def test_a_refused_start_sends_no_record(lab: Lab) -> None:
    job = Console().execute(lab, "kafka-console-producer.sh --topic orders --command-property acks=7 <<< x")
    lines = drive(lab, job)
    assert (job.exit_status, len(lines)) == (1, 1)
    assert "acks" in lines[0]
    assert lab.view().topics["orders"].partitions["0"].log_end_offset == 0
    assert "console-producer" not in lab.view().producers


def test_a_tool_whose_process_is_killed_says_so(lab: Lab) -> None:
    console = Console()
    for line, client in (
        ("kafka-console-producer.sh --topic orders", "console-producer"),
        ("kafka-console-consumer.sh --topic orders", "console-consumer"),
    ):
        job = console.execute(lab, line)
        drive(lab, job, 1)
        lab.submit(c.KillNode(client))
        assert drive(lab, job) == ["Killed"]
        assert (job.exit_status, console.prompt) == (137, "$ ")


def test_turning_time_back_ends_what_waits(lab: Lab) -> None:
    start_us = lab.now_us
    job = Console().execute(lab, "kafka-console-consumer.sh --topic orders")
    drive(lab, job, 2)
    lab.seek(start_us)
    assert drive(lab, job, 0) == ["(time was turned back: what this command waited for has not happened)"]
    assert (job.done, job.exit_status) == (True, 130)


def test_running_a_tool_many_times_leaves_one_client(lab: Lab) -> None:
    console = Console()
    for number in range(5):
        drive(lab, console.execute(lab, f"kafka-console-producer.sh --topic orders <<< line-{number}"))
    lines = drive(lab, console.execute(lab, "kafka-console-consumer.sh --topic orders --from-beginning --max-messages 5"))
    assert lines == [f"line-{number}" for number in range(5)] + ["Processed a total of 5 messages"]
    assert len(lab.view().producers) <= 1


def test_a_failed_record_is_reported_as_the_tool_reports_it(lab: Lab) -> None:
    for broker in (1, 2, 3):
        lab.submit(c.KillNode(f"broker-{broker}"))
    job = Console().execute(lab, "kafka-console-producer.sh --topic orders --max-block-ms 2000 <<< lost")
    lines = drive(lab, job, 200)
    assert any("Error when sending message to topic orders" in line for line in lines)
    assert any("TimeoutException" in line for line in lines)


def test_an_answer_that_never_comes_times_out(lab: Lab) -> None:
    for broker in (1, 2, 3):
        lab.submit(c.KillNode(f"broker-{broker}"))
    job = Console().execute(lab, "kafka-topics.sh --create --topic late")
    lines = drive(lab, job, 100)
    assert job.exit_status == 1
    assert "TimeoutException" in "".join(lines)


def test_print_properties_and_tombstones(lab: Lab) -> None:
    console = Console()
    lab.submit(c.Produce("orders", None, "k", headers=[c.Header("trace", "1")]))
    lab.advance(lab.now_us + 3_000_000)
    job = console.execute(
        lab,
        "kafka-console-consumer.sh --topic orders --from-beginning --max-messages 1 --formatter-property print.key=true "
        "--formatter-property print.headers=true --formatter-property key.separator=' | '",
    )
    assert drive(lab, job)[0] == "trace:1 | k | null"


def test_a_line_that_is_too_long_is_refused(lab: Lab) -> None:
    job = Console().execute(lab, "x" * (limits.MAX_CONSOLE_LINE + 1))
    assert job.exit_status == 2
    assert str(limits.MAX_CONSOLE_LINE) in job.poll(lab)[0]


SHARED = Lab(SPEC, seed=4)
WORDS = st.sampled_from(
    [*NAMES, "describe", "--topic", "orders", "--create", "--describe", "--list", "--alter", "--delete", "--partitions", "-1", "3",
     "99999999999", "--entity-type", "topics", "brokers", "--entity-name", "--add-config", "a=b", "=", "[", "--status", "--replication",
     "--offset", "--partition", "<<<", "'", '"', "\\", "²", "\ud800", "\0", "--", "-", "--election-type", "preferred", "\n",
     "--all-topic-partitions", "--property", "parse.key=true", "--max-messages", "0", "--timeout-ms", "help", "--help", "--config", "x",
     "--replica-assignment"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.lists(WORDS, max_size=9).map(" ".join), st.text(max_size=60)))
def test_no_line_breaks_the_console(line: str) -> None:
    console = Console()
    job = console.execute(SHARED, line)
    assert isinstance(job, Job)
    job.take_commands()
    if job.done:
        assert all(isinstance(text, str) for text in job.poll(SHARED))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a  b", ["a", "b"]),
        ("'a b' \"c d\" e\\ f", ["a b", "c d", "e f"]),
        ("--x=''", ["--x="]),
        ("$'a\\tb'", ["a\tb"]),
        ('"it\'s" \'say "hi"\'', ["it's", 'say "hi"']),
    ],
)
def test_words_are_split_as_a_shell_splits_them(line: str, words: list[str]) -> None:
    assert split_words(line) == words


def test_an_open_quote_is_an_error() -> None:
    with pytest.raises(UsageError):
        split_words("'a")


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [("orders", "orders", True), ("ord.*", "orders", True), ("ord", "orders", False), ("a|orders", "orders", True), ("a,b", "b", True),
     ("(((a+)+)+)$", "a" * 40, False), (".*" * 30, "a" * 200, False)],
)  # fmt: skip
def test_topics_are_chosen_by_names_and_simple_patterns(pattern: str, name: str, found: bool) -> None:
    assert matches(pattern, name) is found


@pytest.mark.parametrize(
    "listed",
    [
        ["orders", "with_underscore", "payments"],
        ["defaults", "orders", "with_underscore"],
        ["orders", "solo", "__consumer_offsets", "one"],
        ["orders", "solo", "whenone", "__consumer_offsets", "one"],
    ],
)
def test_topics_are_described_in_the_order_of_kafkas_hash_map(listed: list[str]) -> None:
    """As Kafka 4.3.1 described them."""
    assert hash_order(sorted(listed), len(listed)) == listed


def test_settings_are_listed_in_the_order_of_kafkas_hash_map() -> None:
    listed = ["min.insync.replicas", "cleanup.policy", "retention.ms", "unclean.leader.election.enable", "retention.bytes"]
    assert hash_order(sorted(listed), 45) == listed


def test_each_failed_record_is_told_with_the_size_of_its_key_and_value(lab: Lab) -> None:
    line = "kafka-console-producer.sh --topic orders --reader-property parse.key=true --reader-property key.separator=: "
    job = Console().execute(lab, line + "--command-property max.request.size=80\nann:first\nbo:x")
    lines = [text.partition("] ")[2] for text in drive(lab, job) if "with key" in text]
    assert [text[text.index("with key") : text.index(" with error")] for text in lines] == [
        "with key: 3 bytes, value: 5 bytes",
        "with key: 2 bytes, value: 1 bytes",
    ]


def test_a_setting_of_one_broker_waits_for_that_broker(lab: Lab) -> None:
    lab.advance(lab.now_us + 2_000_000)
    lab.submit(c.KillNode("broker-2"))
    lab.advance(lab.now_us + 12_000_000)
    job = Console().execute(lab, "kafka-configs.sh --alter --broker 2 --add-config log.cleaner.threads=2")
    assert drive(lab, job, 5) == []
    lab.submit(c.StartNode("broker-2"))
    assert drive(lab, job, 20) == ["Completed updating config for broker 2."]
