"""Each event has its sentence, its level and its objects; no class may be forgotten."""

from __future__ import annotations

import typing
from typing import Any

import msgspec
import pytest

from engine import events
from engine.events import Event, Happening
from engine.view.narrate import clock, explain_chain, level, narrate, objects

EVENTS = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event]

OF_THE_CLUSTER = (
    "CommandGiven", "AdminAnswered", "ClientQuotaChanged", "AclCreated", "AclDeleted", "ScramCredentialChanged",
)  # fmt: skip
"""Events that concern nothing on the stage."""


def sample(kind: type[Event]) -> Event:
    """An event with a plausible value in each field."""
    values: dict[type, Any] = {int: 7, float: 1.5, str: "word", bool: True}
    fields: dict[str, Any] = {}
    for name, annotation in typing.get_type_hints(kind).items():
        if name not in kind.__struct_fields__:
            continue
        if annotation in values:
            fields[name] = values[annotation]
        elif typing.get_origin(annotation) is tuple:
            first = typing.get_args(annotation)[0]
            fields[name] = (1, 2) if first is int else ()
        else:
            fields[name] = None
    return kind(**fields)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_has_one_plain_sentence(kind: type[Event]) -> None:
    sentence = narrate(sample(kind))
    assert sentence.endswith(".")
    assert not any(mark in sentence for mark in ("{", "_us", "\n"))
    assert level(sample(kind)) in ("major", "minor", "trace")
    assert objects(sample(kind)) or kind.__name__ in OF_THE_CLUSTER
    msgspec.json.encode(objects(sample(kind)))


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (
            events.ProduceAcknowledged(1, "orders", 0, 4, 4, 1, "app", 9),
            "Broker 1 acknowledged offset 4 of orders-0 (acks=1).",
        ),
        (
            events.ProduceAcknowledged(1, "orders", 0, 4, 6, -1, "app", 9),
            "Broker 1 acknowledged offsets 4 to 6 of orders-0 (acks=all).",
        ),
        (events.IsrChanged("orders", 0, (1, 2, 3), (2, 3), (), 7), "The ISR of orders-0 shrank from 1, 2, 3 to 2, 3."),
        (
            events.IsrChanged("orders", 0, (2,), (), (2,), 7),
            "The ISR of orders-0 shrank from 2 to nobody. Still eligible to lead: 2.",
        ),
        (events.IsrChanged("orders", 0, (2, 3), (2, 3, 1), (), 7), "The ISR of orders-0 grew from 2, 3 to 2, 3, 1."),
        (events.NodeKilled("broker-1"), "Broker 1 was killed."),
        (events.NodeKilled("app"), "Client app was killed."),
        (
            events.LeaderChanged("orders", 0, 1, 2, 5, "unclean"),
            "Broker 2 now leads orders-0 after broker 1 (epoch 5; an unclean election: acknowledged records may be lost).",
        ),
        (
            events.LeaderChanged("orders", 0, 1, -1, 5, "none eligible"),
            "orders-0 lost its leader, broker 1: no replica is eligible, and the partition is offline.",
        ),
        (
            events.ReplicaTruncated(1, "orders", 0, 9, 6, 3),
            "Broker 1 truncated orders-0 to offset 6 to agree with the leader of epoch 3 (3 offsets dropped).",
        ),
        (
            events.ClientThrottled(1, "app", "alice", "producer_byte_rate", 2048.4, 1024, 9_500),
            "Broker 1 throttles app (alice) for 9,500 ms: it sent 2,048 bytes a second and its quota is 1,024 bytes.",
        ),
        (
            events.ClientQuotaChanged("the default client-id", "request_percentage", 2.5),
            "The default client-id may use 2.5 % of a broker thread on each broker from now on (request_percentage).",
        ),
        (
            events.AclCreated("User:*", "deny", "all", "topic", "pay", "prefixed", "*"),
            "A new ACL denies everybody everything on every topic that begins with pay.",
        ),
        (
            events.AuthorizationDenied(1, "app", "User:alice", "write", "topic", "orders"),
            "Broker 1 denied app (User:alice) write on topic orders.",
        ),
        (
            events.AdminAnswered(
                3, "CreateTopics", "NONE", (("orders", "TOPIC_ALREADY_EXISTS", "Topic 'orders' already exists."),), ""
            ),
            "CreateTopics failed for orders: TOPIC_ALREADY_EXISTS: Topic 'orders' already exists.",
        ),
    ],
)
def test_sentences_read_like_this(event: Event, sentence: str) -> None:
    assert narrate(event) == sentence


def test_objects_name_what_to_highlight() -> None:
    assert objects(events.RecordsReplicated(2, "orders", 0, 1, 1)) == ["orders-0@2", "broker-2", "orders-0"]
    assert objects(events.NetworkCut("broker-1", "broker-2")) == ["broker-1>broker-2", "broker-1", "broker-2"]
    assert objects(events.IsrChanged("orders", 0, (1, 2, 3), (2, 3), (), 7)) == ["orders-0", "orders-0@1"]
    assert objects(events.LeaderChanged("orders", 0, 1, -1, 5, "none eligible")) == [
        "orders-0",
        "orders-0@1",
        "broker-1",
    ]


def test_the_feed_shows_what_changes_the_cluster_and_not_each_record() -> None:
    assert level(events.NodeKilled("broker-1")) == "major"
    assert level(events.RecordsAppended(1, "orders", 0, 1, 1, 0, 70, "app", 1)) == "minor"
    assert level(events.RecordsReplicated(2, "orders", 0, 1, 1)) == "trace"
    assert level(events.ReplicaTruncated(1, "orders", 0, 9, 9, 3)) == "minor"
    assert level(events.ReplicaTruncated(1, "orders", 0, 9, 6, 3)) == "major"


@pytest.mark.parametrize(
    ("at_us", "text"),
    [(4_182_000, "0:04.182"), (0, "0:00.000"), (75_000_999, "1:15.000"), (3_604_182_000, "1:00:04.182")],
)
def test_times_read_as_a_clock(at_us: int, text: str) -> None:
    assert clock(at_us) == text


def test_a_chain_of_causes_reads_from_the_root() -> None:
    chain = [
        Happening(1, 4_190_000, "you", events.CommandGiven("KillNode", "kill broker 1"), ()),
        Happening(2, 4_190_000, "broker-1", events.NodeKilled("broker-1"), (1,)),
    ]
    assert explain_chain(chain) == ["0:04.190 You asked: kill broker 1.", "0:04.190 Broker 1 was killed."]
