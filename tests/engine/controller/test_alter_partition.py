"""Fact 19: the controller believes a leader's new ISR only if every epoch in the request is the one it knows (KIP-497, 841, 903)."""

from __future__ import annotations

from typing import Any

import pytest

from engine.events import AlterPartitionRefused, IsrChanged
from engine.messages.base import TopicPartition
from engine.messages.cluster import AlterPartitionItem, AlterPartitionRequest, BrokerState
from engine.spec import ClusterSpec
from tests.engine.controller.cluster import Brokers


def request(cluster: Brokers, isr: tuple[int, ...], *, broker: int = 1, leader_epoch: int = 0, partition_epoch: int = 0, topic_id: str = "",
            number: int = 0, broker_epoch: int | None = None, epochs: dict[int, int] | None = None) -> AlterPartitionRequest:  # fmt: skip
    image = cluster.active().image
    known = {b: registration.broker_epoch for b, registration in image.brokers.items()} | (epochs or {})
    item = AlterPartitionItem(
        TopicPartition("orders", number), topic_id or image.topics["orders"].topic_id, leader_epoch, partition_epoch,
        tuple(BrokerState(b, known.get(b, 0)) for b in isr),
    )  # fmt: skip
    return AlterPartitionRequest(4, broker, known[broker] if broker_epoch is None else broker_epoch, (item,))


@pytest.mark.parametrize(
    ("error", "change"),
    [
        ("NONE", {"isr": (1, 2)}),
        ("UNKNOWN_TOPIC_ID", {"isr": (1, 2), "topic_id": "nobody"}),
        ("UNKNOWN_TOPIC_OR_PARTITION", {"isr": (1, 2), "number": 7}),
        ("NOT_CONTROLLER", {"isr": (1, 2), "leader_epoch": 5}),
        ("NOT_CONTROLLER", {"isr": (1, 2), "partition_epoch": 5}),
        ("FENCED_LEADER_EPOCH", {"isr": (1, 2), "leader_epoch": -1}),
        ("INVALID_REQUEST", {"isr": (1, 2), "broker": 2}),
        ("INVALID_UPDATE_VERSION", {"isr": (1, 2), "partition_epoch": -1}),
        ("INVALID_REQUEST", {"isr": (1, 1)}),
        ("INVALID_REQUEST", {"isr": (2, 3)}),
        ("INVALID_REQUEST", {"isr": (1, 4)}),
        ("INVALID_REQUEST", {"isr": ()}),
        ("INELIGIBLE_REPLICA", {"isr": (1, 2), "epochs": {2: 999}}),
        ("NONE", {"isr": (1, 2), "epochs": {2: -1}}),
    ],
)
def test_each_check_has_its_error(error: str, change: dict[str, Any]) -> None:
    cluster = Brokers(4)
    cluster.create()
    broker = change.get("broker", 1)
    result = cluster.ask(request(cluster, **change), broker_id=broker).partitions[0]
    assert result.error == error
    refused = [h.event.error for h in cluster.happened(AlterPartitionRefused)]
    assert refused == ([] if error == "NONE" else [error])
    assert cluster.partition().isr == ((1, 2) if error == "NONE" else (1, 2, 3))


def test_a_request_of_an_earlier_registration_is_refused_as_a_whole() -> None:
    cluster = Brokers()
    cluster.create()
    assert cluster.ask(request(cluster, (1, 2), broker_epoch=0)).error == "STALE_BROKER_EPOCH"


def test_a_fenced_replica_is_ineligible() -> None:
    cluster = Brokers()
    cluster.create()
    cluster.kill_broker(3)
    cluster.run(12)
    now = cluster.partition()
    answer = cluster.ask(request(cluster, (1, 2, 3), leader_epoch=now.leader_epoch, partition_epoch=now.partition_epoch))
    assert answer.partitions[0].error == "INELIGIBLE_REPLICA"


def test_the_answer_carries_the_new_partition_epoch_and_the_change_is_told_once() -> None:
    cluster = Brokers()
    cluster.create()
    result = cluster.ask(request(cluster, (1, 3))).partitions[0]
    assert (result.leader_id, result.leader_epoch, result.isr, result.partition_epoch) == (1, 0, (1, 3), 1)
    changed = [h.event for h in cluster.happened(IsrChanged)]
    assert changed == [IsrChanged("orders", 0, (1, 2, 3), (1, 3), (), 1)]


def test_the_mutant_without_epoch_fence_believes_a_deposed_leader() -> None:
    for mutants, error in (((), "FENCED_LEADER_EPOCH"), (("no-alter-partition-fence",), "NONE")):
        cluster = Brokers(spec=ClusterSpec(mutants=mutants))
        cluster.create(min_insync_replicas="2")
        stale = request(cluster, (1, 2))
        cluster.ask(request(cluster, (1, 2, 3)))
        cluster.kill_broker(2)
        cluster.run(12)
        now = cluster.partition()
        assert now.isr == (1, 3)
        cluster.boot(2)
        cluster.run(5)
        stale = request(cluster, (1, 2), leader_epoch=-1)
        assert cluster.ask(stale).partitions[0].error == error
