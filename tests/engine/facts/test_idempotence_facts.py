"""Fact 32: what a broker remembers of a producer, told by requests of a hand-made producer's batches and by the simulated one."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine import events as e
from engine.log.record_batch import build_batch
from engine.messages.base import TopicPartition
from engine.messages.produce import ProduceItem, ProduceRequest
from tests.engine.facts.scene import Scene

ORDERS = TopicPartition("orders", 0)
PRODUCER_ID = 4000


class Wire:
    """Puts produce requests on broker 1's wire as a client would, and looks at what the broker makes of each."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.number = 0

    def send(self, sequence: int, value: str = "x", epoch: int = 0, producer_id: int = PRODUCER_ID) -> tuple[str, int]:
        """("acknowledged" | "duplicate" | an error's name, first offset or -1)."""
        scene = self.scene
        self.number += 1
        record = (None, value.encode(), (), scene.lab.kernel.epoch_ms + scene.lab.now_us // 1000)
        batch = build_batch([record], producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)
        request = ProduceRequest(self.number, "wire", -1, 30_000, (ProduceItem(ORDERS, batch),))
        mark = scene.lab.kernel.next_event_id - 1
        scene.lab.kernel.instruct("broker-1", request, 0)  # type: ignore[arg-type]
        scene.wait(0.2)
        duplicates = scene.happened(e.DuplicateRecognised, mark, client="wire", correlation_id=self.number)
        answers = scene.happened(e.ProduceAcknowledged, mark, client="wire", correlation_id=self.number)
        refused = scene.happened(e.ProduceRefused, mark, client="wire", correlation_id=self.number)
        if refused:
            return refused[0].event.error, -1
        assert answers
        return "duplicate" if duplicates else "acknowledged", answers[0].event.first_offset


@pytest.fixture
def wire() -> Wire:
    return Wire(Scene())


def test_fact_32_a_duplicate_of_the_last_five_batches_is_acknowledged_with_its_original_offset(wire: Wire) -> None:
    for sequence in range(7):
        assert wire.send(sequence) == ("acknowledged", sequence)
    for sequence in range(2, 7):
        assert wire.send(sequence) == ("duplicate", sequence)
    assert wire.scene.partition().log_end_offset == 7


def test_fact_32_a_sixth_back_is_forgotten_and_refused(wire: Wire) -> None:
    for sequence in range(7):
        wire.send(sequence)
    assert wire.send(1)[0] == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert wire.scene.partition().log_end_offset == 7


def test_fact_32_a_gap_is_refused(wire: Wire) -> None:
    assert wire.send(0) == ("acknowledged", 0)
    assert wire.send(2) == ("OUT_OF_ORDER_SEQUENCE_NUMBER", -1)
    assert wire.send(1) == ("acknowledged", 1)
    assert wire.send(2) == ("acknowledged", 2)


def test_fact_32_a_new_epoch_restarts_at_0_and_the_old_one_is_over(wire: Wire) -> None:
    wire.send(0)
    wire.send(1)
    assert wire.send(5, epoch=1)[0] == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert wire.send(0, epoch=1) == ("acknowledged", 2)
    assert wire.send(2, epoch=0)[0] == "INVALID_PRODUCER_EPOCH"


def test_fact_32_the_memory_moves_with_the_leadership() -> None:
    """Followers rebuild it from the batches themselves: a retry that reaches the next leader is recognised there."""
    scene = Scene()
    scene.do(c.CreateProducer("app", {"request.timeout.ms": "3000"}))
    scene.do(c.Produce("orders", "warm up", producer="app"))
    scene.wait(1)
    scene.do(c.CutNetwork("broker-1", "app", one_way=True))
    scene.do(c.Produce("orders", "x", producer="app"))
    scene.wait(0.5)
    assert scene.partition().high_watermark == 2
    mark = scene.do(c.KillNode("broker-1"))
    scene.wait(15)
    recognised = scene.first(e.DuplicateRecognised, mark)[1]
    assert (recognised.broker, recognised.first_offset) == (2, 1)
    assert scene.view.producers["app"].acknowledged == 2
    assert scene.read_all() == ["warm up", "x"]


@pytest.mark.parametrize(("stop", "remembered"), [(c.StopNode, 2), (c.KillNode, 1)])
def test_fact_32_it_survives_a_restart_of_the_broker(stop: type[c.StopNode | c.KillNode], remembered: int) -> None:
    """Replayed from the log, all five batches are known again; the snapshot of a clean stop holds each producer's last batch only."""
    scene = Scene(replicas=(1,))
    wire = Wire(scene)
    for sequence in range(3):
        wire.send(sequence)
    scene.do(stop("broker-1"))
    scene.wait(12)
    scene.do(c.StartNode("broker-1"))
    scene.wait_until(lambda: scene.partition().leader == 1)
    scene.wait(1)
    assert wire.send(remembered) == ("duplicate", remembered)
    assert wire.send(remembered - 1)[0] == ("OUT_OF_ORDER_SEQUENCE_NUMBER" if stop is c.StopNode else "duplicate")
    assert wire.send(4)[0] == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert wire.send(3) == ("acknowledged", 3)


def test_fact_32_a_producer_id_expires_after_a_day(wire: Wire) -> None:
    wire.send(0)
    wire.scene.wait(23 * 3600)
    assert wire.send(0) == ("duplicate", 0)
    assert wire.send(2)[0] == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    wire.scene.wait(25 * 3600)
    # forgotten: whatever sequence comes first is taken as a beginning, and the old batch would be written again
    assert wire.send(0) == ("acknowledged", 1)
