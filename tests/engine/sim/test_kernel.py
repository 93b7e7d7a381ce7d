"""Time, order, connections and causes, shown with two nodes that only talk."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from engine import events as ev
from engine.messages.base import Disconnected, Message, Timer
from engine.sim import checkpoint as cp
from engine.sim.kernel import Kernel
from engine.sim.outbox import Outbox


class Note(Message, frozen=True, gc=False, tag=True):
    number: int


class Tick(Timer, frozen=True, gc=False, tag=True):
    pass


@dataclass(slots=True)
class Talker:
    """Sends a numbered note to its peer at each tick, and remembers what it hears."""

    peer: str
    every_us: int
    sent: int = 0
    heard: list[int] = field(default_factory=list)
    lost_peers: list[str] = field(default_factory=list)

    def start(self, out: Outbox) -> None:
        out.arm(Tick(), after_us=self.every_us)

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        if isinstance(body, Tick):
            self.sent += 1
            out.send(self.peer, Note(self.sent))
            out.arm(Tick(), after_us=self.every_us)
        elif isinstance(body, Note):
            self.heard.append(body.number)
            out.emit(ev.BrokerUnfenced(body.number))
        elif isinstance(body, Disconnected):
            self.lost_peers.append(body.peer)


def talkers(seed: int = 1, every_us: int = 100) -> Kernel:
    kernel = Kernel(seed=seed, epoch_ms=0)
    for name, peer in (("broker-1", "broker-2"), ("broker-2", "broker-1")):
        kernel.add_host(name, "broker")
        kernel.start(name, Talker(peer, every_us), 0)
    return kernel


def node(kernel: Kernel, name: str) -> Talker:
    found = kernel.hosts[name].node
    assert isinstance(found, Talker)
    return found


@given(st.integers(0, 2**32))
def test_messages_of_one_connection_keep_their_order(seed: int) -> None:
    kernel = talkers(seed, every_us=7)
    kernel.degrade("broker-1", "broker-2", 400, 0, 0)
    kernel.run(3_000)
    kernel.heal("broker-1", "broker-2", 0)
    kernel.run(6_000)
    heard = node(kernel, "broker-2").heard
    assert heard == list(range(1, len(heard) + 1))
    assert len(heard) > 300


def test_a_killed_process_is_known_to_its_peers_and_what_was_under_way_is_lost() -> None:
    kernel = talkers()
    kernel.run(1_000)
    kernel.kill("broker-2", kernel.give_command("KillNode", "kill broker 2"))
    kernel.run(2_000)
    assert "broker-2" in node(kernel, "broker-1").lost_peers
    kernel.start("broker-2", Talker("broker-1", 100), 0)
    kernel.run(2_200)
    assert node(kernel, "broker-2").heard == []
    kernel.run(4_000)
    heard = node(kernel, "broker-2").heard
    assert heard == list(range(heard[0], heard[0] + len(heard)))


def test_power_loss_and_cuts_are_silent_until_the_cable_is_back() -> None:
    for silence in ("power", "cut"):
        kernel = talkers()
        kernel.run(1_000)
        if silence == "power":
            kernel.lose_power("broker-2", False, 0)
        else:
            kernel.cut("broker-1", "broker-2", 0)
            kernel.cut("broker-2", "broker-1", 0)
        kernel.run(9_000)
        assert node(kernel, "broker-1").lost_peers == []
        if silence == "cut":
            kernel.heal("broker-1", "broker-2", 0)
            kernel.heal("broker-2", "broker-1", 0)
            kernel.run(10_000)
            assert "broker-2" in node(kernel, "broker-1").lost_peers


def test_a_paused_process_hears_everything_later_in_order() -> None:
    kernel = talkers()
    kernel.pause("broker-2", 0)
    kernel.run(5_000)
    assert node(kernel, "broker-2").heard == []
    kernel.resume("broker-2", 0)
    kernel.run(5_001)
    heard = node(kernel, "broker-2").heard
    assert heard == list(range(1, len(heard) + 1))
    assert len(heard) > 30


def test_every_event_leads_back_to_what_caused_it() -> None:
    kernel = talkers(every_us=1_000_000)
    click = kernel.give_command("StartNode", "x")
    kernel.add_host("broker-3", "broker")
    kernel.start("broker-3", Talker("broker-1", 50), click)
    kernel.run(600)
    by_id = {happening.id: happening for happening in kernel.fresh}
    heard = next(h for h in kernel.fresh if isinstance(h.event, ev.BrokerUnfenced))
    chain = [heard]
    while chain[-1].causes:
        chain.append(by_id[chain[-1].causes[0]])
    assert [type(h.event) for h in chain] == [ev.BrokerUnfenced, ev.NodeStarted, ev.CommandGiven]


def test_what_silences_a_peer_is_known() -> None:
    kernel = talkers()
    kernel.run(1_000)
    kernel.kill("broker-2", 0)
    killed = kernel.fresh[-1]
    assert isinstance(killed.event, ev.NodeKilled)
    assert kernel.silencers("broker-2", "broker-1") == (killed.id,)
    kernel.start("broker-2", Talker("broker-1", 100), 0)
    assert kernel.silencers("broker-2", "broker-1") == ()
    kernel.cut("broker-2", "broker-1", 0)
    assert kernel.silencers("broker-2", "broker-1") == (kernel.fresh[-1].id,)


@given(st.integers(0, 2**32), st.integers(0, 3_000))
def test_a_copy_in_the_middle_goes_the_same_way(seed: int, middle: int) -> None:
    kernel = talkers(seed)
    kernel.degrade("broker-1", "broker-2", 100, 100_000, 0)
    kernel.run(middle)
    twin: Kernel = cp.copy_tree(kernel)
    for each in (kernel, twin):
        each.run(4_000)
    assert twin.trace == kernel.trace
    assert node(twin, "broker-2").heard == node(kernel, "broker-2").heard


@given(st.lists(st.integers(0, 900), max_size=12))
def test_slices_of_any_size_give_one_history(cuts: list[int]) -> None:
    whole = talkers()
    whole.run(5_000)
    sliced = talkers()
    for by in cuts:
        if by % 2:
            sliced.run(5_000, max_deliveries=by // 20 + 1)
        else:
            sliced.run(min(sliced.now + by, 5_000))
    sliced.run(5_000)
    assert sliced.trace == whole.trace


def test_a_slow_disk_holds_back_what_is_sent_after_the_write() -> None:
    kernel = Kernel(seed=1, epoch_ms=0)
    kernel.add_host("broker-1", "broker")
    kernel.add_host("broker-2", "broker")

    @dataclass(slots=True)
    class Writer(Talker):
        def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
            out.disk.append("f", b"x")
            Talker.handle(self, source, body, out)

    kernel.start("broker-2", Talker("broker-1", 10**9), 0)
    kernel.slow_disk("broker-1", 50_000, 0)
    kernel.start("broker-1", Writer("broker-2", 1_000), 0)
    kernel.run(40_000)
    assert node(kernel, "broker-2").heard == []
    kernel.run(120_000)
    assert node(kernel, "broker-2").heard == [1, 2]
