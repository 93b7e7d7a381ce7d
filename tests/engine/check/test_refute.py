"""Refute me: the vocabulary, one run per claim that refutes it, and the search for the shortest such run."""

from __future__ import annotations

from typing import Any

import pytest

from engine import commands as cm
from engine.__main__ import main
from engine.check.claims import CLAIMS, NoStop, parse_claim, spell_claim
from engine.check.refute import Setup, refute, run_against
from engine.check.script import Script, Step
from engine.commands import ConfigMap
from engine.errors import EngineError
from engine.spec import ClusterSpec

SECOND_US = 1_000_000
SCENE = 3.0
"""Seconds: by then the load runs."""


def script(
    *trouble: tuple[float, cm.Command], heal: float, producer: ConfigMap | None = None, limit: int = 100, seed: int = 1
) -> Script:
    """A topic of one partition led by broker 1, a load on it, and then what the test does."""
    steps: list[tuple[float, Any]] = [
        (2.0, cm.CreateTopic("orders", assignments=[[1, 2, 3]])),
        (SCENE, cm.CreateProducer("producer-0", producer or {})),
        (SCENE, cm.CreateConsumer("reader", ["orders"], {"auto.offset.reset": "earliest"})),
        (SCENE, cm.StartWorkload("load", "orders", "producer-0", 20, keys=2, value_bytes=60, limit=limit)),
        *trouble,
    ]
    return Script(seed, ClusterSpec(), tuple(Step(int(at * SECOND_US), command) for at, command in steps), int(heal * SECOND_US))


LEADER_PAUSED = script((5.0, cm.PauseNode("broker-1")), heal=14.0)
LEADER_CUT_OFF = script((5.0, cm.CutNetwork("broker-1")), heal=25.0)
ALL_KILLED = [(5.0, cm.KillNode(f"broker-{number}")) for number in (1, 2, 3)]
NOT_IDEMPOTENT = {"enable.idempotence": "false", "request.timeout.ms": "3000"}
REFUTATIONS = {
    "no acknowledged record is lost": script((5.0, cm.PauseNode("broker-1")), heal=14.0, producer={"acks": "1"}),
    "no duplicate": script(
        (4.0, cm.CutNetwork("broker-1", "producer-0", one_way=True)), (6.0, cm.HealNetwork()), heal=20.0, producer=NOT_IDEMPOTENT
    ),
    "order per key holds": script(
        (4.0, cm.DegradeNetwork("producer-0", "broker-1", loss_percent=20.0)), heal=20.0, producer=NOT_IDEMPOTENT, limit=300
    ),
    "no partition stops longer than 5 seconds": LEADER_CUT_OFF,
    "no failed record is stored": script(
        (4.0, cm.CutNetwork("broker-1", "producer-0", one_way=True)),
        heal=20.0,
        producer={"delivery.timeout.ms": "5000", "request.timeout.ms": "3000"},
    ),
    "no two brokers believe that they lead one partition": LEADER_PAUSED,
    "no replica's high watermark falls": script((5.0, cm.KillNode("broker-1")), heal=20.0),
    "no partition is without a leader longer than 5 seconds": script(*ALL_KILLED, heal=25.0),
    "every acknowledged record is read": script(
        (4.0, cm.PauseConsumer("reader")),
        (6.0, cm.SeekConsumer("reader", "orders", 0, -1)),
        (7.0, cm.PauseConsumer("reader", paused=False)),
        heal=14.0,
    ),
    "no record is read twice": script((4.0, cm.SeekConsumer("reader", "orders", 0, 0)), heal=10.0),
}
NOTHING_HAPPENS = script(heal=10.0)


def test_every_claim_has_a_run_that_refutes_it() -> None:
    assert {spell_claim(parse_claim(text)).split(" longer ")[0] for text in REFUTATIONS} == {
        text.split(" longer ")[0] for text in CLAIMS
    }


@pytest.mark.parametrize("text", REFUTATIONS)
def test_a_claim_can_be_refuted(text: str) -> None:
    verdict = run_against(parse_claim(text), REFUTATIONS[text])
    assert verdict.counterexample
    assert verdict.at_us > 0


@pytest.mark.parametrize("text", REFUTATIONS)
def test_a_quiet_run_refutes_nothing(text: str) -> None:
    assert run_against(parse_claim(text), NOTHING_HAPPENS).counterexample == ""


def test_a_claim_is_read_as_people_write_it() -> None:
    assert parse_claim("  No partition stops longer than 2.5 seconds. ") == NoStop(2.5)
    assert parse_claim("no partition stops longer than 3s") == NoStop(3.0)
    for text in CLAIMS:
        claim = parse_claim(text.replace(" S ", " 12 "))
        assert parse_claim(spell_claim(claim)) == claim


@pytest.mark.parametrize("text", ["", "the sky is blue", "no partition stops", "no duplicate at all", "x" * 10_000])
def test_an_unknown_claim_is_answered_with_the_vocabulary(text: str) -> None:
    with pytest.raises(EngineError, match="no acknowledged record is lost; no duplicate; ") as refusal:
        parse_claim(text)
    assert len(str(refusal.value)) < 1_000


@pytest.mark.parametrize("number", ["x", "-1", "0", "nan", "inf", "1e9"])
def test_a_number_that_is_none_is_refused(number: str) -> None:
    with pytest.raises(EngineError, match="between 0 and 3600"):
        parse_claim(f"no partition stops longer than {number} seconds")


def test_the_shortest_counterexample_comes_out() -> None:
    setup = Setup(producer_configs={"acks": "1"}, faults=("pause",))
    found = refute("no acknowledged record is lost", setup, range(12))
    assert found.script is not None
    assert found.refuting >= 1
    assert "acks=1" in found.counterexample
    kinds = [type(step.command) for step in found.script.steps]
    assert kinds == [cm.CreateTopic, cm.CreateProducer, cm.StartWorkload, cm.PauseNode]
    again = run_against(parse_claim(found.claim), found.script)
    assert again.counterexample == found.counterexample
    assert found == refute("no acknowledged record is lost", setup, range(12), jobs=2)


def test_a_claim_that_holds_is_not_refuted() -> None:
    found = refute(
        "no acknowledged record is lost", Setup(topic_configs={"min.insync.replicas": "2"}, faults=("pause", "kill")), range(6)
    )
    assert (found.script, found.refuting, found.tried) == (None, 0, 6)


@pytest.mark.parametrize(
    ("setup", "complaint"),
    [
        (Setup(faults=("earthquake",)), "'earthquake' is no fault; known are kill"),
        (Setup(producer_configs={"acks": "7"}), "acks"),
        (Setup(topic_configs={"min.insync.replicas": "no"}), "topic_configs"),
        (Setup(ClusterSpec(brokers=2)), "3 replicas need as many brokers"),
    ],
)
def test_a_configuration_that_kafka_would_refuse(setup: Setup, complaint: str) -> None:
    with pytest.raises(EngineError, match=complaint):
        refute("no duplicate", setup, range(1))


def test_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "refute",
        "no two brokers believe that they lead one partition",
        "--faults",
        "pause",
        "--seeds",
        "0:10",
        "--jobs",
        "1",
    ]
    assert main(arguments) == 1
    told = capsys.readouterr().out
    assert "# Refuted: no two brokers believe that they lead one partition." in told
    assert "PauseNode" in told
    assert main(["refute", "no duplicate", "--faults", "kill", "--seeds", "0:3", "--jobs", "1"]) == 0
    assert "Not refuted: no duplicate. 3 seeds were tried." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["refute", "the sky is blue"])
    assert "Known are: no acknowledged record is lost" in capsys.readouterr().err
