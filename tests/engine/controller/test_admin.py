"""Topics, configurations, elections and reassignments, as an administrator asks for them."""

from __future__ import annotations

import pytest

from engine.controller.state.placement import Racks
from engine.events import ConfigChanged, LeaderChanged, PartitionsAdded, ReassignmentCompleted, ReassignmentStarted, TopicCreated
from engine.messages.admin import (
    AlterableConfig,
    AlterPartitionReassignmentsRequest,
    CreatableTopic,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DescribeQuorumRequest,
    ElectLeadersRequest,
    IncrementalAlterConfigsRequest,
    Reassignment,
)  # fmt: skip
from engine.messages.base import TopicPartition
from engine.messages.cluster import AlterPartitionItem, AlterPartitionRequest, BrokerState, EnvelopeRequest
from engine.metadata.image import BrokerRegistration
from engine.sim.rng import Stream
from engine.spec import ClusterSpec
from tests.engine.controller.cluster import Brokers

ORDERS_0 = TopicPartition("orders", 0)


@pytest.fixture
def cluster() -> Brokers:
    return Brokers()


def alter_isr(cluster: Brokers, isr: tuple[int, ...], leader: int = 1) -> str:
    now, image = cluster.partition(), cluster.active().image
    states = tuple(BrokerState(b, image.brokers[b].broker_epoch) for b in isr)
    item = AlterPartitionItem(ORDERS_0, image.topics["orders"].topic_id, now.leader_epoch, now.partition_epoch, states)
    request = AlterPartitionRequest(4, leader, image.brokers[leader].broker_epoch, (item,))
    return str(cluster.ask(request, broker_id=leader).partitions[0].error)


@pytest.mark.parametrize(
    ("topic", "error", "words"),
    [
        (CreatableTopic("", 1, 1), "INVALID_TOPIC_EXCEPTION", "empty"),
        (CreatableTopic("..", 1, 1), "INVALID_TOPIC_EXCEPTION", "'..'"),
        (CreatableTopic("x" * 250, 1, 1), "INVALID_TOPIC_EXCEPTION", "249"),
        (CreatableTopic("a/b", 1, 1), "INVALID_TOPIC_EXCEPTION", "alphanumerics"),
        (CreatableTopic("or.ders", 1, 1), "INVALID_TOPIC_EXCEPTION", "collides with existing topic: or_ders"),
        (CreatableTopic("or_ders", 1, 1), "TOPIC_ALREADY_EXISTS", "already exists"),
        (CreatableTopic("t", 0, 1), "INVALID_PARTITIONS", "non-positive"),
        (CreatableTopic("t", 1, 0), "INVALID_REPLICATION_FACTOR", "larger than 0"),
        (CreatableTopic("t", 1, 4), "INVALID_REPLICATION_FACTOR", "only 3 broker(s) are registered"),
        (CreatableTopic("t", 10**9, 1), "POLICY_VIOLATION", "64"),
        (CreatableTopic("t", assignments=((1, 1),)), "INVALID_REPLICA_ASSIGNMENT", "more than once"),
        (CreatableTopic("t", assignments=((1, 9),)), "INVALID_REPLICA_ASSIGNMENT", "no such broker is registered"),
        (CreatableTopic("t", assignments=((1, 2), (1,))), "INVALID_REPLICA_ASSIGNMENT", "not consistent"),
        (CreatableTopic("t", 1, -1, ((1,),)), "INVALID_REQUEST", "numPartitions"),
        (CreatableTopic("t", 1, 1, configs=(("min.insync.replicas", "0"),)), "INVALID_CONFIG", "at least 1"),
        (CreatableTopic("t", 1, 1, configs=(("colour", "red"),)), "INVALID_CONFIG", "colour"),
    ],
)
def test_a_topic_that_cannot_be_is_refused_with_kafkas_error(
    cluster: Brokers, topic: CreatableTopic, error: str, words: str
) -> None:
    assert cluster.create("or_ders").error == "NONE"
    answer = cluster.admin(CreateTopicsRequest(1, (topic,)))
    assert answer.error == answer.results[0].error == error
    assert words in answer.message
    assert list(cluster.active().image.topics) == ["or_ders"]


def test_a_topic_without_counts_takes_the_defaults_of_one_and_one(cluster: Brokers) -> None:
    cluster.admin(CreateTopicsRequest(1, (CreatableTopic("plain"),)))
    assert cluster.happened(TopicCreated)[0].event == TopicCreated("plain", 1, 1)


def test_validate_only_changes_nothing(cluster: Brokers) -> None:
    assert cluster.admin(CreateTopicsRequest(1, (CreatableTopic("plain", 1, 1),), validate_only=True)).error == "NONE"
    assert cluster.active().image.topics == {}


def test_leaders_of_a_topic_spread_over_the_brokers(cluster: Brokers) -> None:
    cluster.admin(CreateTopicsRequest(1, (CreatableTopic("spread", 6, 3),)))
    partitions = cluster.active().image.topics["spread"].partitions.values()
    assert sorted(p.leader for p in partitions) == [1, 1, 2, 2, 3, 3]
    assert all(p.leader == p.replicas[0] and sorted(p.isr) == [1, 2, 3] for p in partitions)


@pytest.mark.parametrize("seed", range(20))
def test_replicas_of_a_partition_stand_in_different_racks(seed: int) -> None:
    brokers = [BrokerRegistration(b, 0, "", f"rack-{b % 3}", False, False) for b in range(1, 10)]
    racks = Racks(brokers, Stream(seed))
    placed = [racks.place(3) for _ in range(12)]
    assert all(len({b % 3 for b in replicas}) == 3 for replicas in placed)
    assert all(len(set(replicas)) == 3 for replicas in placed)


def test_a_fenced_broker_never_begins_as_leader() -> None:
    brokers = [BrokerRegistration(b, 0, "", "", b == 1, False) for b in (1, 2, 3)]
    racks = Racks(brokers, Stream(4))
    placed = [racks.place(3) for _ in range(30)]
    assert {replicas[0] for replicas in placed} == {2, 3}
    assert all(replicas[-1] == 1 for replicas in placed)


def test_topics_are_deleted_with_their_configuration(cluster: Brokers) -> None:
    cluster.create(retention_ms="1000")
    assert cluster.admin(DeleteTopicsRequest(1, ("orders",))).error == "NONE"
    assert cluster.active().image.topics == {}
    assert list(cluster.active().image.configs) == ["broker:"]
    assert cluster.admin(DeleteTopicsRequest(1, ("orders",))).error == "UNKNOWN_TOPIC_OR_PARTITION"


def test_topics_stay_where_deletion_is_disabled() -> None:
    cluster = Brokers(spec=ClusterSpec(broker_configs={"delete.topic.enable": "false"}))
    cluster.create()
    answer = cluster.admin(DeleteTopicsRequest(1, ("orders",)))
    assert (answer.error, answer.message) == ("TOPIC_DELETION_DISABLED", "Topic deletion is disabled.")
    assert "orders" in cluster.active().image.topics


def test_partitions_only_grow(cluster: Brokers) -> None:
    cluster.create()
    assert cluster.admin(CreatePartitionsRequest(1, "orders", 1)).message == "Topic already has 1 partition(s)."
    assert cluster.admin(CreatePartitionsRequest(1, "orders", 3)).error == "NONE"
    assert cluster.happened(PartitionsAdded)[0].event == PartitionsAdded("orders", 1, 3)
    assert cluster.admin(CreatePartitionsRequest(1, "orders", 2)).error == "INVALID_PARTITIONS"


def configure(cluster: Brokers, kind: str, resource: str, *items: tuple[str, str, str]) -> tuple[str, str]:
    configs = tuple(AlterableConfig(name, operation, value) for name, operation, value in items)
    answer = cluster.admin(IncrementalAlterConfigsRequest(1, kind, resource, configs))
    return answer.error, answer.message


def test_settings_are_set_deleted_appended_and_subtracted(cluster: Brokers) -> None:
    cluster.create()
    assert (
        configure(cluster, "topic", "orders", ("retention.ms", "set", "1000"), ("cleanup.policy", "append", "compact"))[0] == "NONE"
    )
    assert cluster.active().image.configs["topic:orders"] == {"retention.ms": "1000", "cleanup.policy": "delete,compact"}
    assert (
        configure(cluster, "topic", "orders", ("retention.ms", "delete", ""), ("cleanup.policy", "subtract", "delete"))[0] == "NONE"
    )
    assert cluster.active().image.configs["topic:orders"] == {"cleanup.policy": "compact"}
    assert ConfigChanged("topic", "orders", "retention.ms", None) in [h.event for h in cluster.happened(ConfigChanged)]


@pytest.mark.parametrize(
    ("kind", "resource", "item", "error", "words"),
    [
        ("topic", "nobody", ("retention.ms", "set", "1"), "UNKNOWN_TOPIC_OR_PARTITION", "nobody"),
        ("topic", "orders", ("retention.ms", "set", "-2"), "INVALID_CONFIG", "at least -1"),
        ("topic", "orders", ("retention.ms", "set", "soon"), "INVALID_CONFIG", "LONG"),
        ("topic", "orders", ("segment.bytes", "set", "1000"), "INVALID_CONFIG", "at least 1048576"),
        ("topic", "orders", ("min.cleanable.dirty.ratio", "set", "1.5"), "INVALID_CONFIG", "no more than 1"),
        ("topic", "orders", ("min.cleanable.dirty.ratio", "set", "nan"), "INVALID_CONFIG", "DOUBLE"),
        ("topic", "orders", ("compression.type", "set", "zip"), "INVALID_CONFIG", "gzip"),
        ("topic", "orders", ("retention.ms", "append", "1"), "INVALID_CONFIG", "not LIST"),
        ("broker", "1", ("broker.id", "set", "4"), "INVALID_REQUEST", "broker.id"),
        ("broker", "1", ("min.insync.replicas", "set", "2"), "INVALID_CONFIG", "ELR"),
        ("broker", "x", ("log.retention.ms", "set", "2"), "INVALID_REQUEST", "broker ID"),
    ],
)
def test_bad_settings_are_refused_and_name_the_bound(
    cluster: Brokers, kind: str, resource: str, item: tuple[str, str, str], error: str, words: str
) -> None:
    cluster.create()
    found, message = configure(cluster, kind, resource, item)
    assert found == error
    assert words in message
    assert cluster.active().image.configs == {"broker:": {"min.insync.replicas": "1"}}


def test_the_cluster_wide_setting_is_the_default_of_every_topic(cluster: Brokers) -> None:
    cluster.create()
    assert configure(cluster, "broker", "", ("log.retention.ms", "set", "5000"))[0] == "NONE"
    assert cluster.active().image.effective_topic_config("orders")["retention.ms"] == "5000"


def test_a_lower_min_insync_replicas_clears_an_elr_that_is_no_longer_needed(cluster: Brokers) -> None:
    cluster.create(min_insync_replicas="3")
    cluster.kill_broker(3)
    cluster.run(12)
    assert cluster.partition().elr == (3,)
    configure(cluster, "topic", "orders", ("min.insync.replicas", "set", "2"))
    assert cluster.partition().elr == ()


def test_fact_23_preferred_leaders_return_within_300_seconds(cluster: Brokers) -> None:
    cluster.create()
    cluster.kill_broker(1)
    cluster.run(12)
    assert cluster.partition().leader == 2
    cluster.boot(1, previous_epoch=cluster.active().image.brokers[1].broker_epoch)
    cluster.run(5)
    assert alter_isr(cluster, (2, 3, 1), leader=2) == "NONE"
    assert cluster.partition().leader == 2
    cluster.run(300)
    assert cluster.partition().leader == 1
    assert cluster.happened(LeaderChanged)[-1].event.election == "preferred"


def test_elections_on_request(cluster: Brokers) -> None:
    cluster.create()

    def elect(kind: str) -> str:
        return cluster.admin(ElectLeadersRequest(1, kind, (ORDERS_0,))).error

    assert elect("preferred") == elect("unclean") == "ELECTION_NOT_NEEDED"
    assert cluster.admin(ElectLeadersRequest(1, "preferred")).results == ()
    cluster.kill_broker(1)
    cluster.run(12)
    assert elect("preferred") == "PREFERRED_LEADER_NOT_AVAILABLE"


def test_an_unclean_election_on_request_takes_any_live_replica(cluster: Brokers) -> None:
    cluster.create()
    assert alter_isr(cluster, (1,)) == "NONE"
    cluster.kill_broker(1)
    cluster.run(12)
    assert (cluster.partition().leader, cluster.partition().elr) == (-1, (1,))
    assert cluster.admin(ElectLeadersRequest(1, "unclean", (ORDERS_0,))).error == "NONE"
    assert (cluster.partition().leader, cluster.partition().isr, cluster.partition().elr) == (2, (2,), ())
    assert cluster.happened(LeaderChanged)[-1].event.election == "unclean"


def test_where_unclean_election_is_enabled_it_happens_at_once(cluster: Brokers) -> None:
    cluster.create(unclean_leader_election_enable="true")
    assert alter_isr(cluster, (1,)) == "NONE"
    cluster.kill_broker(1)
    cluster.run(12)
    assert (cluster.partition().leader, cluster.partition().isr) == (2, (2,))


def reassign(cluster: Brokers, replicas: tuple[int, ...] | None) -> str:
    return cluster.admin(AlterPartitionReassignmentsRequest(1, (Reassignment(ORDERS_0, replicas),))).error


def test_a_reassignment_adds_waits_and_then_removes() -> None:
    cluster = Brokers(4)
    cluster.create("orders", (1, 2))
    assert reassign(cluster, (3, 4)) == "NONE"
    now = cluster.partition()
    assert (now.replicas, now.adding, now.removing, now.leader) == ((3, 4, 1, 2), (3, 4), (1, 2), 1)
    assert alter_isr(cluster, (1, 2, 3)) == "NONE"
    assert alter_isr(cluster, (1, 2, 3, 4)) == "NEW_LEADER_ELECTED"
    now = cluster.partition()
    assert (now.replicas, now.isr, now.leader, now.adding, now.removing) == ((3, 4), (3, 4), 3, (), ())
    assert [h.event for h in cluster.happened(ReassignmentStarted)] == [ReassignmentStarted("orders", 0, (1, 2), (3, 4))]
    assert [h.event for h in cluster.happened(ReassignmentCompleted)] == [ReassignmentCompleted("orders", 0, (3, 4))]


def test_a_reassignment_can_be_cancelled() -> None:
    cluster = Brokers(4)
    cluster.create("orders", (1, 2))
    assert reassign(cluster, None) == "NO_REASSIGNMENT_IN_PROGRESS"
    reassign(cluster, (3, 4))
    alter_isr(cluster, (1, 2, 3))
    assert reassign(cluster, None) == "NONE"
    now = cluster.partition()
    assert (now.replicas, now.isr, now.adding, now.removing, now.leader) == ((1, 2), (1, 2), (), (), 1)
    assert cluster.happened(ReassignmentCompleted) == []


def test_a_mere_reordering_completes_at_once(cluster: Brokers) -> None:
    cluster.create()
    assert reassign(cluster, (2, 1, 3)) == "NONE"
    assert (cluster.partition().replicas, cluster.partition().leader) == ((2, 1, 3), 1)


def test_describe_quorum_tells_how_far_voters_and_observers_are(cluster: Brokers) -> None:
    answer = cluster.ask(EnvelopeRequest(1, "", DescribeQuorumRequest(2))).response
    assert answer.leader_id == cluster.active().node_id
    assert [replica.replica_id for replica in answer.observers] == [1, 2, 3]
    assert sorted(replica.replica_id for replica in answer.voters) == [101, 102, 103]
    assert {replica.log_end_offset for replica in (*answer.voters, *answer.observers)} == {answer.high_watermark}
