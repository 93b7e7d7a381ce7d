"""Facts 49 and 50: what a quota does to a client, and who may do what with and without an authorizer."""

from __future__ import annotations

import pytest

from engine import commands as c
from engine import events as e
from engine.broker.quotas import REQUEST_OVERHEAD_BYTES
from engine.events import Happening
from engine.log.record_batch import build_batch
from engine.messages.base import Request, TopicPartition
from engine.messages.produce import ProduceItem, ProduceRequest
from engine.metadata.authorizer import STANDARD_AUTHORIZER
from tests.engine.facts.scene import SECOND_US, Scene

ON = {"authorizer.class.name": STANDARD_AUTHORIZER}
RATE = "producer_byte_rate"


class DeafClient:
    """Writes requests to broker 1's socket as it likes, whatever the throttle time in the answers says."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.number = 0

    def produce(self, value_bytes: int, acks: int = 1) -> int:
        """Returns the size that the quota counts."""
        record = (None, b"x" * value_bytes, (), self.scene.lab.kernel.epoch_ms + self.scene.lab.now_us // 1000)
        batch = build_batch([record])
        self.number += 1
        self.write(ProduceRequest(self.number, "deaf", acks, 30_000, (ProduceItem(TopicPartition("orders", 0), batch),)))
        return len(batch) + REQUEST_OVERHEAD_BYTES

    def write(self, request: Request) -> None:
        self.scene.lab.kernel.instruct("broker-1", request, 0)  # type: ignore[arg-type]
        self.scene.wait(0.001)

    def served(self) -> list[float]:
        """The seconds at which the broker has appended something of it."""
        return [happening.at_us / SECOND_US for happening in self.scene.happened(e.RecordsAppended, client="deaf")]


def limited(client_id: str = "deaf", **quotas: float) -> Scene:
    scene = Scene(replicas=(1,))
    scene.do(c.AlterQuota(None, client_id, quotas))
    scene.wait(1)
    return scene


def throttled(scene: Scene, since: int = 0) -> list[Happening]:
    return scene.happened(e.ClientThrottled, since)


def throttle_ms(happening: Happening) -> int:
    assert isinstance(happening.event, e.ClientThrottled)
    return happening.event.throttle_time_ms


# -- 49 --------------------------------------------------------------------------------------------------------------------------


def test_fact_49_a_throttled_request_is_answered_at_once() -> None:
    scene = limited("app-1", producer_byte_rate=1_000)
    scene.produce("x" * 30_000, acks="1", wait=0.01)
    (first,) = throttled(scene)
    assert throttle_ms(first) > 10_000
    told = scene.happened(e.RecordsAcknowledged, first.id)
    assert told[0].at_us - first.at_us < 5_000, "the callback does not wait for the throttle time"


def test_fact_49_then_the_channel_is_muted_and_what_was_sent_meanwhile_waits_in_the_socket() -> None:
    scene = limited(producer_byte_rate=1_000)
    deaf = DeafClient(scene)
    began = scene.now_s
    deaf.produce(12_000)
    pause_s = throttle_ms(throttled(scene)[0]) / 1000
    assert 2 < pause_s < 3
    scene.wait(0.5)
    deaf.produce(10)
    scene.wait(pause_s - 0.6)
    assert deaf.served() == [began]
    scene.wait(0.2)
    assert deaf.served() == [began, pytest.approx(began + pause_s, abs=0.002)]


def test_fact_49_without_a_quota_nobody_waits() -> None:
    scene = Scene(replicas=(1,))
    deaf = DeafClient(scene)
    for _ in range(3):
        deaf.produce(100_000)
    assert len(deaf.served()) == 3
    assert not throttled(scene)


def test_fact_49_the_window_is_ten_whole_seconds_and_the_one_that_runs() -> None:
    """So much as ten seconds allow may come in one burst; the throttle time brings the average back to the quota."""
    scene = limited(producer_byte_rate=2_000)
    deaf = DeafClient(scene)
    size = deaf.produce(19_700)
    assert size <= 20_000
    assert not throttled(scene)
    size += deaf.produce(5_000)
    (found,) = throttled(scene)
    window_s = 10.001  # ten samples, and the millisecond of the eleventh that lies between the two
    assert throttle_ms(found) == round((size / window_s - 2_000) / 2_000 * window_s * 1_000)
    scene.wait(12)
    deaf.produce(19_700)
    assert len(throttled(scene)) == 1, "what lies further back than eleven samples is forgotten"


def test_fact_49_over_time_a_client_gets_its_rate() -> None:
    scene = limited("app", producer_byte_rate=20_000)
    scene.do(c.StartWorkload("load", "orders", producer="app", records_per_second=60, value_bytes=1_000))
    scene.wait(20)
    before = sum(h.event.size_bytes for h in scene.happened(e.RecordsAppended) if isinstance(h.event, e.RecordsAppended))
    scene.wait(60)
    after = sum(h.event.size_bytes for h in scene.happened(e.RecordsAppended) if isinstance(h.event, e.RecordsAppended))
    assert (after - before) / 60 == pytest.approx(20_000, rel=0.1)
    assert scene.view.producers["app"].failed == 0, "throttled is not refused"


def test_fact_49_quotas_are_per_broker() -> None:
    scene = Scene(replicas=(1,))
    scene.do(c.CreateTopic("other", assignments=[[2]]), c.AlterQuota(None, "app", {RATE: 10_000}))
    scene.wait(1)
    for topic in ("orders", "other"):
        scene.do(c.StartWorkload(topic, topic, producer="app", records_per_second=40, value_bytes=1_000))
    scene.wait(60)
    written = [scene.partition(0, topic).log_end_offset for topic in ("orders", "other")]
    assert all(count == pytest.approx(10 * 70, rel=0.15) for count in written), "each broker lets the whole quota pass"


def test_fact_49_acks_0_gets_no_answer_and_rests_all_the_same() -> None:
    scene = limited(producer_byte_rate=1_000)
    deaf = DeafClient(scene)
    deaf.produce(12_000, acks=0)
    scene.wait(0.5)
    deaf.produce(10, acks=0)
    scene.wait(0.5)
    assert len(deaf.served()) == 1
    scene.wait(3)
    assert len(deaf.served()) == 2


def test_fact_49_a_throttled_fetch_comes_back_empty_and_is_asked_again() -> None:
    scene = limited("reader", consumer_byte_rate=1_000)
    scene.produce(*["x" * 3_000] * 12, acks="1")
    scene.read_all(wait=2)
    found = throttled(scene)
    assert found
    assert isinstance(found[0].event, e.ClientThrottled)
    assert found[0].event.quota == "consumer_byte_rate"
    read = scene.view.consumers["reader"].consumed
    assert 0 < read < 12
    scene.wait(60)
    assert scene.view.consumers["reader"].consumed == 12, "nothing is lost or skipped"


def test_fact_49_a_client_that_uses_too_much_of_the_threads_rests_a_second_at_most() -> None:
    scene = limited("app-1", request_percentage=0.001)
    scene.produce(*["x"] * 20, acks="1")
    pauses = [throttle_ms(happening) for happening in throttled(scene)]
    assert pauses
    assert max(pauses) == 1_000


def test_fact_49_a_quota_that_is_removed_no_longer_throttles() -> None:
    scene = limited(producer_byte_rate=1_000)
    deaf = DeafClient(scene)
    deaf.produce(12_000)
    scene.do(c.AlterQuota(None, "deaf", {}, [RATE]))
    scene.wait(10)
    deaf.produce(50_000)
    assert len(deaf.served()) == 2
    assert len(throttled(scene)) == 1


def test_fact_49_the_cause_of_a_throttle_leads_back_to_the_click() -> None:
    scene = limited("app-1", producer_byte_rate=1_000)
    scene.produce("x" * 30_000, acks="1")
    assert "Produce" in scene.roots(throttled(scene)[0])


# -- 50 --------------------------------------------------------------------------------------------------------------------------


def secured(**configs: str) -> Scene:
    return Scene(broker_configs={**ON, **{name.replace("_", "."): value for name, value in configs.items()}})


def send(scene: Scene, user: str) -> str:
    """What became of one record that ``user`` sends: "acknowledged", or an error."""
    name = f"app-of-{user}"
    if name not in scene.view.nodes:
        scene.do(c.CreateProducer(name, {"sasl.username": user} if user != "nobody" else {}))
    mark = scene.do(c.Produce("orders", "x", producer=name))
    scene.wait(3)
    if scene.happened(e.RecordsAcknowledged, mark, producer=name):
        return "acknowledged"
    failed = scene.happened(e.SendRefused, mark, producer=name) + scene.happened(e.RecordsFailed, mark, producer=name)
    return str(getattr(failed[0].event, "error", ""))


def allow(
    scene: Scene, user: str, operation: str, name: str = "orders", permission: str = "allow", pattern: str = "literal"
) -> None:
    scene.do(c.CreateAcl(f"User:{user}", operation, "topic", name, pattern, permission))
    scene.wait(1)


def test_fact_50_there_is_no_authorizer_by_default() -> None:
    scene = Scene()
    assert send(scene, "nobody") == "acknowledged"
    scene.do(c.CreateAcl("User:nobody", "write", "topic", "orders", permission="deny"))
    scene.wait(1)
    assert scene.happened(e.AdminAnswered, error="SECURITY_DISABLED"), "without an authorizer there are no ACLs either"


def test_fact_50_no_matching_acl_means_deny() -> None:
    scene = secured()
    assert send(scene, "alice") == "TOPIC_AUTHORIZATION_FAILED"
    allow(scene, "alice", "write", "payments")
    allow(scene, "bob", "write")
    assert send(scene, "alice") == "TOPIC_AUTHORIZATION_FAILED"
    allow(scene, "alice", "write")
    assert send(scene, "alice") == "acknowledged"
    assert send(scene, "nobody") == "TOPIC_AUTHORIZATION_FAILED"


def test_fact_50_deny_beats_allow() -> None:
    scene = secured()
    allow(scene, "alice", "all", "*")
    assert send(scene, "alice") == "acknowledged"
    allow(scene, "alice", "write", "ord", "deny", "prefixed")
    assert send(scene, "alice") == "TOPIC_AUTHORIZATION_FAILED"
    scene.do(c.DeleteAcl(permission="deny"))
    scene.wait(1)
    assert send(scene, "alice") == "acknowledged"


def test_fact_50_open_to_everyone_only_where_there_is_no_acl_at_all() -> None:
    scene = secured(allow_everyone_if_no_acl_found="true")
    assert send(scene, "alice") == "acknowledged"
    allow(scene, "bob", "read")
    assert send(scene, "alice") == "TOPIC_AUTHORIZATION_FAILED"


def test_fact_50_a_super_user_needs_no_acl() -> None:
    scene = secured(super_users="User:alice")
    allow(scene, "*", "all", "*", "deny")
    assert send(scene, "alice") == "acknowledged"
    assert send(scene, "bob") == "TOPIC_AUTHORIZATION_FAILED"


def test_fact_50_reading_needs_its_own_permission() -> None:
    scene = secured(super_users="User:alice")
    send(scene, "alice")
    assert not scene.read_all("reader", sasl_username="bob")
    assert scene.happened(e.ConsumerFailed, consumer="reader", topic="orders", error="TOPIC_AUTHORIZATION_FAILED")
    allow(scene, "bob", "describe")
    assert not scene.read_all("describer", sasl_username="bob")
    assert scene.happened(e.AuthorizationDenied, operation="read", principal="User:bob")
    allow(scene, "bob", "read")
    assert scene.read_all("second-reader", sasl_username="bob") == ["x"]


def test_fact_50_every_broker_decides_alike_after_a_restart() -> None:
    scene = secured()
    allow(scene, "alice", "write")
    for number in (1, 2, 3):
        scene.do(c.KillNode(f"broker-{number}"))
        scene.wait(15)
        scene.do(c.StartNode(f"broker-{number}"))
        scene.wait(15)
    assert send(scene, "alice") == "acknowledged"
    assert send(scene, "bob") == "TOPIC_AUTHORIZATION_FAILED"


def test_fact_50_a_name_is_only_as_good_as_its_proof() -> None:
    """SCRAM: an unknown user and a wrong password look the same, and neither gets in."""
    scene = secured(sasl_enabled_mechanisms="SCRAM-SHA-512")
    allow(scene, "alice", "write")
    scene.do(c.AlterUser("alice", "secret"))
    scene.wait(1)
    given = {"sasl.username": "alice", "sasl.mechanism": "SCRAM-SHA-512"}
    scene.do(c.CreateProducer("right", {**given, "sasl.password": "secret"}))
    scene.do(c.CreateProducer("wrong", {**given, "sasl.password": "guess"}))
    scene.do(c.CreateProducer("unknown", {**given, "sasl.username": "mallory", "sasl.password": "secret"}))
    for name in ("right", "wrong", "unknown"):
        scene.do(c.Produce("orders", "x", producer=name))
    scene.wait(3)
    producers = scene.view.producers
    assert producers["right"].acknowledged == 1
    for name in ("wrong", "unknown"):
        assert "SaslAuthenticationException" in producers[name].last_error
        assert scene.happened(e.AuthenticationFailed, client=name, error="SASL_AUTHENTICATION_FAILED")
    scene.do(c.AlterUser("alice"))
    scene.wait(1)
    assert scene.happened(e.ScramCredentialChanged, user="alice", deleted=True)
