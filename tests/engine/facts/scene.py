"""A small stage for the facts: three brokers, the topic ``orders`` with one partition led by broker 1, and words to ask what happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from engine import commands as c
from engine.events import Event, Happening
from engine.lab import Lab
from engine.spec import ClusterSpec, TopicSpec
from engine.view.tree import PartitionView, ReplicaView, View

SECOND_US = 1_000_000
MS_US = 1_000

E = TypeVar("E", bound=Event)


class Scene:
    """A lab with what the facts ask of it. Times are virtual; ``configs`` are the topic's own."""

    def __init__(
        self,
        configs: dict[str, str] | None = None,
        *,
        replicas: tuple[int, ...] = (1, 2, 3),
        partitions: int = 1,
        brokers: int = 3,
        controllers: int = 3,
        broker_configs: dict[str, str] | None = None,
        elr: bool = True,
        seed: int = 1,
    ) -> None:
        topic = TopicSpec("orders", partitions, len(replicas), dict(configs or {}), [list(replicas)] * partitions)
        self.lab = Lab(
            ClusterSpec(brokers, controllers, (topic,), broker_configs=dict(broker_configs or {}), elr=elr),
            seed,
        )

    # -- doing ------------------------------------------------------------------------------------------------------------------

    def do(self, *commands: c.Command) -> int:
        """Gives the commands now; returns the number of the last one's CommandGiven event."""
        number = 0
        for command in commands:
            number = self.lab.submit(command)
        return number

    def wait(self, seconds: float) -> None:
        self.lab.advance(self.lab.now_us + int(seconds * SECOND_US))

    def wait_until(self, condition: Callable[[], bool], within_s: float = 60, step_ms: float = 100) -> float:
        """Lets time pass until ``condition`` holds; returns after how many seconds it was seen to."""
        begin = self.lab.now_us
        while not condition():
            assert self.lab.now_us - begin < within_s * SECOND_US, f"not within {within_s} s"
            self.lab.advance(self.lab.now_us + int(step_ms * MS_US))
        return (self.lab.now_us - begin) / SECOND_US

    def produce(self, *values: str, acks: str = "all", wait: float = 1, **configs: str) -> None:
        """Each value in a batch of its own, by a producer named after its acks (and created with them)."""
        name = f"app-{acks}"
        if name not in self.view.nodes:
            given = {"acks": acks, **{key.replace("_", "."): value for key, value in configs.items()}}
            self.do(c.CreateProducer(name, given))
        for value in values:
            self.do(c.Produce("orders", value, producer=name, partition=0))
            self.lab.advance(self.lab.now_us + 10 * MS_US)
        self.wait(wait)

    def cut_replication(self, follower: int, leader: int) -> None:
        """The follower still hears and is heard by everybody but this leader."""
        self.do(c.CutNetwork(f"broker-{follower}", f"broker-{leader}"))

    def heal(self) -> None:
        self.do(c.HealNetwork())

    # -- looking ----------------------------------------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        return self.lab.view()

    @property
    def now_s(self) -> float:
        return self.lab.now_us / SECOND_US

    def partition(self, number: int = 0, topic: str = "orders") -> PartitionView:
        return self.view.topics[topic].partitions[str(number)]

    def replica(self, broker: int, number: int = 0) -> ReplicaView:
        return self.partition(number).logs[str(broker)]

    def acknowledged(self) -> int:
        """Records of all producers whose callbacks have succeeded."""
        return sum(producer.acknowledged for producer in self.view.producers.values())

    def read_all(self, name: str = "reader", wait: float = 2, **configs: str) -> list[str | None]:
        """What a new consumer that starts at the beginning gets to see, newest eight."""
        given = {"auto.offset.reset": "earliest", **{key.replace("_", "."): value for key, value in configs.items()}}
        self.do(c.CreateConsumer(name, ["orders"], given))
        self.wait(wait)
        return [record.value for record in self.view.consumers[name].last]

    def happened(self, kind: type[E], since: int = 0, **fields: object) -> list[Happening]:
        """The events of this kind after event number ``since`` whose fields have these values."""
        return [
            happening
            for happening in self.lab.history(since, 10**6)
            if type(happening.event) is kind and all(getattr(happening.event, key) == value for key, value in fields.items())
        ]

    def first(self, kind: type[E], since: int = 0, **fields: object) -> tuple[float, E]:
        """(second, event) of the first such event."""
        found = self.happened(kind, since, **fields)
        assert found, f"no {kind.__name__} with {fields}"
        event = found[0].event
        assert isinstance(event, kind)
        return found[0].at_us / SECOND_US, event

    def roots(self, happening: Happening) -> list[str]:
        """The commands in the chain of causes that led to it."""
        return [getattr(cause.event, "command", "") for cause in self.lab.why(happening.id) if hasattr(cause.event, "command")]
