"""The table of errors against ``org.apache.kafka.common.protocol.Errors`` of Kafka 4.3."""

from __future__ import annotations

from engine.errors import ERRORS

RETRIABLE = {
    "CONCURRENT_TRANSACTIONS", "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "CORRUPT_MESSAGE",
    "ELECTION_NOT_NEEDED", "ELIGIBLE_LEADERS_NOT_AVAILABLE", "FENCED_LEADER_EPOCH", "FETCH_SESSION_TOPIC_ID_ERROR",
    "INCONSISTENT_TOPIC_ID", "INVALID_SHARE_SESSION_EPOCH", "KAFKA_STORAGE_ERROR", "LEADER_NOT_AVAILABLE",
    "NETWORK_EXCEPTION", "NOT_CONTROLLER", "NOT_COORDINATOR", "NOT_ENOUGH_REPLICAS", "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    "NOT_LEADER_OR_FOLLOWER", "OFFSET_NOT_AVAILABLE", "PREFERRED_LEADER_NOT_AVAILABLE", "REPLICA_NOT_AVAILABLE",
    "REQUEST_TIMED_OUT", "SHARE_SESSION_LIMIT_REACHED", "SHARE_SESSION_NOT_FOUND", "THROTTLING_QUOTA_EXCEEDED",
    "UNKNOWN_LEADER_EPOCH", "UNKNOWN_TOPIC_ID", "UNKNOWN_TOPIC_OR_PARTITION", "UNSTABLE_OFFSET_COMMIT",
}  # fmt: skip
"""Those of the table whose exception is a ``RetriableException``, as a program printed them that asked Kafka's own classes."""


def test_what_may_be_tried_again_is_what_java_tries_again() -> None:
    assert {name for name, row in ERRORS.items() if row.retriable} == RETRIABLE


def test_each_code_stands_once_and_every_row_says_what_it_means_and_what_to_do() -> None:
    assert len({row.code for row in ERRORS.values()}) == len(ERRORS)
    for name, row in ERRORS.items():
        assert row.name == name
        assert row.meaning.endswith("."), name
        assert row.cure.endswith("."), name
