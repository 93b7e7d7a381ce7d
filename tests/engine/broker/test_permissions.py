"""Every API asks the authorizer, what is denied of a request comes back beside what is served, and nothing else changes hands."""

from __future__ import annotations

from typing import Any

import pytest

from engine import commands as c
from engine.broker.node import _APIS, BrokerNode
from engine.broker.permissions import RULES
from engine.lab import Lab
from engine.log.record_batch import build_batch
from engine.messages import admin as am
from engine.messages import fetch as fm
from engine.messages import groups as gm
from engine.messages import produce as pm
from engine.messages import security as sm
from engine.messages import transactions as tm
from engine.messages.base import Disconnected, Request, Response, TopicPartition
from engine.metadata.authorizer import STANDARD_AUTHORIZER
from engine.sim.checkpoint import copy_tree, dump, load
from engine.sim.outbox import SEND
from engine.spec import ClusterSpec, TopicSpec

SECOND_US = 1_000_000
FREE = {sm.SaslAuthenticateRequest, gm.ListGroupsRequest, tm.ListTransactionsRequest}
"""Whoever connects may say who he is; what may not be described is left out of the two lists."""

MINE, THEIRS = TopicPartition("mine", 0), TopicPartition("theirs", 0)
TOPIC, GROUP, CLUSTER, TRANSACTION = (f"{kind}_AUTHORIZATION_FAILED" for kind in ("TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID"))


@pytest.fixture(scope="module")
def lab() -> Lab:
    topics = tuple(TopicSpec(name, 1, 1, {}, [[1]]) for name in ("mine", "theirs"))
    lab = Lab(ClusterSpec(1, 1, topics, {"authorizer.class.name": STANDARD_AUTHORIZER}), 1)
    lab.submit(c.CreateAcl("User:alice", "all", "topic", "mine"))
    lab.advance(lab.now_us + SECOND_US)
    return lab


def ask(lab: Lab, request: Request, user: str = "alice") -> Response:
    """The broker's immediate answer to a client of that user."""
    host = lab.kernel.hosts["broker-1"]
    node = copy_tree(host.node)
    assert isinstance(node, BrokerNode)
    for body in (sm.SaslAuthenticateRequest(1, "GSSAPI", user), request):
        out = lab.kernel._outbox(host, 0)
        node.handle("app", body, out)
    answers = [body for kind, target, body, _, _ in out.effects if kind == SEND and target == "app"]
    assert len(answers) == 1, out.effects
    answer = answers[0]
    assert isinstance(answer, Response)
    assert answer.correlation_id == request.correlation_id
    return answer


def errors(answer: Any) -> dict[str, str]:
    return {str(getattr(result, "partition", None) or result.name): result.error for result in answer.results}


def test_every_api_has_its_rule() -> None:
    assert set(_APIS) - set(RULES) - FREE == set()


def batch(lab: Lab) -> bytes:
    return build_batch([(None, b"x", (), lab.kernel.epoch_ms + lab.now_us // 1000)])


def test_records_of_one_topic_are_taken_and_those_of_another_refused(lab: Lab) -> None:
    items = tuple(pm.ProduceItem(partition, batch(lab)) for partition in (THEIRS, MINE))
    assert errors(ask(lab, pm.ProduceRequest(7, "app", 1, 1_000, items))) == {"mine-0": "NONE", "theirs-0": TOPIC}
    assert errors(ask(lab, pm.ProduceRequest(7, "app", 1, 1_000, items[:1]))) == {"theirs-0": TOPIC}
    transactional = pm.ProduceRequest(7, "app", -1, 1_000, items, "mine")
    assert set(errors(ask(lab, transactional)).values()) == {TRANSACTION}


def test_reading(lab: Lab) -> None:
    items = tuple(fm.FetchItem(partition, "", 0) for partition in (MINE, THEIRS))
    assert errors(ask(lab, fm.FetchRequest(7, -1, -1, 0, 1, 10**6, items))) == {"mine-0": "NONE", "theirs-0": TOPIC}
    offsets = fm.ListOffsetsRequest(7, tuple(fm.ListOffsetsItem(partition, -2) for partition in (MINE, THEIRS)))
    assert errors(ask(lab, offsets)) == {"mine-0": "NONE", "theirs-0": TOPIC}
    epochs = fm.OffsetForLeaderEpochRequest(7, tuple(fm.OffsetForLeaderEpochItem(partition, -1, 0) for partition in (MINE, THEIRS)))
    assert errors(ask(lab, epochs)) == {"mine-0": "NONE", "theirs-0": TOPIC}


def test_metadata_hides_what_may_not_be_described(lab: Lab) -> None:
    def named(request: am.MetadataRequest) -> dict[str, str]:
        answer = ask(lab, request)
        assert isinstance(answer, am.MetadataResponse)
        return {topic.name: topic.error for topic in answer.topics}

    assert named(am.MetadataRequest(7)) == {"mine": "NONE"}
    assert named(am.MetadataRequest(7, ("mine", "theirs"))) == {"mine": "NONE", "theirs": TOPIC}
    assert named(am.MetadataRequest(7, ("new",), allow_auto_topic_creation=True)) == {"new": TOPIC}


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (gm.FindCoordinatorRequest(7, "g"), GROUP),
        (gm.FindCoordinatorRequest(7, "t", "transaction"), TRANSACTION),
        (gm.FindCoordinatorRequest(7, "s", "share"), CLUSTER),
        (gm.JoinGroupRequest(7, "g", "", 45_000, 60_000, ()), GROUP),
        (gm.SyncGroupRequest(7, "g", 1, "m"), GROUP),
        (gm.HeartbeatRequest(7, "g", 1, "m"), GROUP),
        (gm.LeaveGroupRequest(7, "g", ()), GROUP),
        (gm.OffsetFetchRequest(7, "g"), GROUP),
        (gm.OffsetDeleteRequest(7, "g", ()), GROUP),
        (gm.DescribeGroupRequest(7, "g"), GROUP),
        (tm.EndTxnRequest(7, "t", 1, 0, True), TRANSACTION),
        (tm.AddOffsetsToTxnRequest(7, "t", 1, 0, "g"), TRANSACTION),
        (tm.DescribeTransactionRequest(7, "t"), TRANSACTION),
        (tm.DescribeProducersRequest(7, THEIRS), TOPIC),
        (pm.InitProducerIdRequest(7, "t"), TRANSACTION),
        (am.DescribeConfigsRequest(7, "topic", "theirs"), TOPIC),
        (am.DescribeConfigsRequest(7, "broker", "1"), CLUSTER),
        (am.CreateTopicsRequest(7, (am.CreatableTopic("theirs"),)), TOPIC),
        (am.DeleteTopicsRequest(7, ("theirs",)), TOPIC),
        (am.CreatePartitionsRequest(7, "theirs", 3), TOPIC),
        (am.IncrementalAlterConfigsRequest(7, "topic", "theirs", ()), TOPIC),
        (am.IncrementalAlterConfigsRequest(7, "broker", "", ()), CLUSTER),
        (am.ElectLeadersRequest(7, "preferred"), CLUSTER),
        (am.AlterPartitionReassignmentsRequest(7, ()), CLUSTER),
        (am.ListPartitionReassignmentsRequest(7), CLUSTER),
        (am.UnregisterBrokerRequest(7, 1), CLUSTER),
        (am.DescribeQuorumRequest(7), CLUSTER),
        (sm.AlterClientQuotasRequest(7, ()), CLUSTER),
        (sm.DescribeClientQuotasRequest(7), CLUSTER),
        (sm.CreateAclsRequest(7, ()), CLUSTER),
        (sm.DeleteAclsRequest(7, ()), CLUSTER),
        (sm.DescribeAclsRequest(7), CLUSTER),
        (sm.AlterUserScramCredentialsRequest(7), CLUSTER),
        (sm.DescribeUserScramCredentialsRequest(7), CLUSTER),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Request) else value,
)
def test_the_whole_is_refused_with_kafkas_error(lab: Lab, request_: Request, error: str) -> None:
    answer: Any = ask(lab, request_)
    assert answer.error == error


def test_offsets_need_the_group_and_each_topic(lab: Lab) -> None:
    offsets = tuple(gm.OffsetAndMetadata(partition, 1) for partition in (MINE, THEIRS))
    assert set(errors(ask(lab, gm.OffsetCommitRequest(7, "g", offsets))).values()) == {GROUP}
    assert set(errors(ask(lab, tm.TxnOffsetCommitRequest(7, "t", "g", 1, 0, offsets))).values()) == {TRANSACTION}


def test_only_ones_own_records_are_deleted(lab: Lab) -> None:
    items = tuple(am.RecordsToDelete(partition, 0) for partition in (MINE, THEIRS))
    assert errors(ask(lab, am.DeleteRecordsRequest(7, items))) == {"mine-0": "NONE", "theirs-0": TOPIC}
    assert errors(ask(lab, am.DeleteRecordsRequest(7, items[1:]))) == {"theirs-0": TOPIC}


def test_whoever_may_write_somewhere_gets_a_producer_id(lab: Lab) -> None:
    answer: Any = ask(lab, pm.InitProducerIdRequest(7))
    assert answer.error in ("NONE", "COORDINATOR_LOAD_IN_PROGRESS")
    refused: Any = ask(lab, pm.InitProducerIdRequest(7), "bob")
    assert refused.error == CLUSTER


def test_a_session_ends_with_its_connection(lab: Lab) -> None:
    host = lab.kernel.hosts["broker-1"]
    node = copy_tree(host.node)
    for body in (sm.SaslAuthenticateRequest(1, "GSSAPI", "alice"), Disconnected("app")):
        node.handle("app" if isinstance(body, Request) else "", body, lab.kernel._outbox(host, 0))
    assert "app" not in node.channels


def test_what_a_muted_client_has_sent_survives_a_stored_checkpoint() -> None:
    lab = Lab(ClusterSpec(1, 1, (TopicSpec("orders", 1, 1, {}, [[1]]),)), 1)
    lab.submit(c.AlterQuota(None, "app", {"producer_byte_rate": 1_000}))
    lab.advance(lab.now_us + SECOND_US)
    lab.submit(c.StartWorkload("load", "orders", producer="app", records_per_second=100, value_bytes=1_000))
    lab.advance(lab.now_us + 3 * SECOND_US)
    stored = load(dump(lab.world))
    copied = copy_tree(lab.world)
    original: Any = lab.kernel.hosts["broker-1"].node
    for world in (stored, copied):
        node: Any = world.kernel.hosts["broker-1"].node
        assert node.channels == original.channels
        assert node.usage == original.usage
        assert node.usage is not original.usage
    assert original.channels["app"].muted_until_us > lab.now_us
