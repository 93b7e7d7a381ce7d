"""The metadata cache, the backoff and the previews that all clients share."""

from __future__ import annotations

from engine.clients.common import LeaderAndEpoch, Metadata, backoff_us, preview
from engine.messages.admin import MetadataPartition, MetadataResponse, MetadataTopic
from engine.messages.base import TopicPartition
from engine.sim.rng import Stream

P0 = TopicPartition("t", 0)


def answer(leader: int, epoch: int, topic_id: str = "id", error: str = "NONE") -> MetadataResponse:
    partition = MetadataPartition("NONE", 0, leader, epoch, (1, 2), (1, 2), ())
    return MetadataResponse(1, (), 1, (MetadataTopic(error, "t", topic_id, False, (partition,) if error == "NONE" else ()),))


def test_a_stale_answer_does_not_take_a_leader_epoch_back():
    metadata = Metadata()
    assert metadata.take(answer(2, 5))
    assert not metadata.take(answer(1, 4))
    assert metadata.leader(P0) == LeaderAndEpoch(2, 5)
    assert metadata.take(answer(1, 0, topic_id="made anew"))
    assert metadata.leader(P0) == LeaderAndEpoch(1, 0)


def test_a_hint_counts_only_if_it_is_newer():
    metadata = Metadata()
    metadata.take(answer(2, 5))
    assert not metadata.learn_leader(P0, 1, 5)
    assert not metadata.learn_leader(P0, -1, 9)
    assert not metadata.learn_leader(TopicPartition("t", 3), 1, 9)
    assert metadata.learn_leader(P0, 1, 6)
    assert metadata.leader(P0) == LeaderAndEpoch(1, 6)


def test_a_leaderless_partition_or_an_unknown_topic_is_asked_for_again():
    metadata = Metadata()
    metadata.take(answer(-1, 5))
    assert metadata.leader(P0) is None
    assert metadata.update_requested
    metadata.take(answer(1, 6))
    assert not metadata.update_requested
    metadata.take(answer(0, 0, error="UNKNOWN_TOPIC_OR_PARTITION"))
    assert metadata.update_requested
    assert metadata.errors == {"t": "UNKNOWN_TOPIC_OR_PARTITION"}
    assert metadata.leader(P0) is None


def test_backoff_doubles_with_jitter_up_to_the_maximum():
    stream = Stream(1)
    for failures, expected in enumerate([100, 200, 400, 800, 1000, 1000]):
        for _ in range(50):
            assert expected * 800 <= backoff_us(stream, 100, 1000, failures) <= min(expected * 1200, 1_000_000)
    assert backoff_us(stream, 2000, 1000, 0) == 1_000_000
    assert backoff_us(stream, 0, 1000, 50) == 0


def test_previews_are_short_printable_and_never_fail():
    assert preview(None) is None
    assert preview(b"plain") == "plain"
    assert preview("größer".encode()) == "größer"
    assert preview(b"\xff\xfe") == "\ufffd\ufffd"
    assert preview(b"a\nb") == "a\\nb"
    assert len(preview(b"\0" * 1000) or "") == 40
    assert len(preview("é".encode() * 1000) or "") == 40
