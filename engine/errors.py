"""Kafka's error table, with what each error means and what a person does about it; and the engine's own refusals.

Codes, names and retriability are those of ``org.apache.kafka.common.protocol.Errors`` (Kafka 4.x).
"""

from __future__ import annotations

import msgspec


class KafkaError(msgspec.Struct, frozen=True):
    """One row: wire ``code``, Kafka's ``name``, whether a client may try again, its meaning, and the cure."""

    code: int
    name: str
    retriable: bool
    meaning: str
    cure: str


def _table(*rows: tuple[int, str, bool, str, str]) -> dict[str, KafkaError]:
    return {name: KafkaError(code, name, retriable, meaning, cure) for code, name, retriable, meaning, cure in rows}


ERRORS: dict[str, KafkaError] = _table(
    (-1, "UNKNOWN_SERVER_ERROR", False, "The server met an error it has no name for.", "Read the broker's log."),
    (0, "NONE", False, "All is well.", "Nothing to do."),
    (1, "OFFSET_OUT_OF_RANGE", False, "The offset lies before the log's start or beyond its end.",
     "Let auto.offset.reset choose a position, or seek to one that exists."),
    (2, "CORRUPT_MESSAGE", True, "The batch fails its CRC check or its size lies.", "Send it again; look for bit rot if it stays."),
    (3, "UNKNOWN_TOPIC_OR_PARTITION", True, "This broker does not host that partition.",
     "Check the name; if the topic is new, wait for the metadata to spread."),
    (5, "LEADER_NOT_AVAILABLE", True, "The partition has no leader just now.", "Wait for the election, or bring a replica back."),
    (6, "NOT_LEADER_OR_FOLLOWER", True, "This broker does not lead the partition.", "Refresh the metadata and ask the leader."),
    (7, "REQUEST_TIMED_OUT", True, "The request was not done within its time.", "Try again; see which replica is slow."),
    (9, "REPLICA_NOT_AVAILABLE", True, "The replica is not there yet.", "Wait for it to be created."),
    (10, "MESSAGE_TOO_LARGE", False, "The batch is larger than max.message.bytes.", "Send less, or raise the topic's limit."),
    (12, "OFFSET_METADATA_TOO_LARGE", False, "The text that goes with a committed offset is too long.",
     "Shorten it, or raise offset.metadata.max.bytes."),
    (13, "NETWORK_EXCEPTION", True, "The connection broke before a response came.", "Try again; the request may have been done."),
    (14, "COORDINATOR_LOAD_IN_PROGRESS", True, "The coordinator is still loading what it needs to answer.", "Try again shortly."),
    (15, "COORDINATOR_NOT_AVAILABLE", True, "The coordinator is not available.", "Try again shortly."),
    (16, "NOT_COORDINATOR", True, "This broker is not the coordinator.", "Find the coordinator again."),
    (17, "INVALID_TOPIC_EXCEPTION", False, "The topic's name is not allowed.",
     "Use letters, digits, '.', '_' and '-', at most 249 of them."),
    (18, "RECORD_LIST_TOO_LARGE", False, "The batch is larger than a segment.", "Send smaller batches."),
    (19, "NOT_ENOUGH_REPLICAS", True, "Fewer replicas are in sync than min.insync.replicas asks for; nothing was written.",
     "Bring a replica back into the ISR, or lower min.insync.replicas."),
    (20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", True, "The record was written, but the ISR has shrunk below min.insync.replicas.",
     "The record may still commit; an idempotent producer may try again safely."),
    (21, "INVALID_REQUIRED_ACKS", False, "acks must be 0, 1 or all.", "Set acks to 0, 1 or all (-1)."),
    (22, "ILLEGAL_GENERATION", False, "The generation is not the group's current one: it has rebalanced since.",
     "Rejoin; what was read before may be someone else's by now."),
    (23, "INCONSISTENT_GROUP_PROTOCOL", False, "The member has no assignor in common with the group, or the group is of another type.",
     "Give all members of a group the same partition.assignment.strategy and group.protocol."),
    (24, "INVALID_GROUP_ID", False, "The group ID is empty.", "Set group.id."),
    (25, "UNKNOWN_MEMBER_ID", False, "The coordinator does not know this member: it left, was taken out, or never joined.",
     "Join again with a new member ID."),
    (26, "INVALID_SESSION_TIMEOUT", False, "session.timeout.ms lies outside what the broker allows.",
     "Stay between group.min.session.timeout.ms and group.max.session.timeout.ms."),
    (27, "REBALANCE_IN_PROGRESS", False, "The group is rebalancing.", "Rejoin the group."),
    (28, "INVALID_COMMIT_OFFSET_SIZE", False, "The commit is too large for one batch.", "Commit fewer partitions at once."),
    (29, "TOPIC_AUTHORIZATION_FAILED", False, "The principal may not do this with the topic.", "Grant it with an ACL."),
    (30, "GROUP_AUTHORIZATION_FAILED", False, "The principal may not do this with the group.", "Grant it with an ACL."),
    (31, "CLUSTER_AUTHORIZATION_FAILED", False, "The principal may not do this with the cluster.", "Grant it with an ACL."),
    (32, "INVALID_TIMESTAMP", False, "The record's timestamp lies outside what the topic accepts.",
     "Mend the clock, or change message.timestamp.before/after.max.ms."),
    (33, "UNSUPPORTED_SASL_MECHANISM", False, "The broker does not offer this SASL mechanism.",
     "Set sasl.mechanism to one of the broker's sasl.enabled.mechanisms."),
    (35, "UNSUPPORTED_VERSION", False, "The version of this API is not supported.", "Use a version the broker announces."),
    (36, "TOPIC_ALREADY_EXISTS", False, "A topic of this name exists.", "Choose another name, or delete the topic first."),
    (37, "INVALID_PARTITIONS", False, "The number of partitions is not valid.", "Ask for 1 or more; it can only grow."),
    (38, "INVALID_REPLICATION_FACTOR", False, "The replication factor exceeds the live brokers, or is below 1.",
     "Ask for at most as many replicas as there are brokers."),
    (39, "INVALID_REPLICA_ASSIGNMENT", False, "The assignment names a broker twice, or one that does not exist.",
     "List existing brokers, each once."),
    (40, "INVALID_CONFIG", False, "A configuration's name or value is not valid.", "Correct the value; see the allowed range."),
    (41, "NOT_CONTROLLER", True, "This node is not the active controller.", "Ask the active controller."),
    (42, "INVALID_REQUEST", False, "The request contradicts itself.", "Correct the request."),
    (43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", False, "The message format does not support this.", "Use record batch v2."),
    (44, "POLICY_VIOLATION", False, "A policy forbids this.", "Stay within the stated limit."),
    (45, "OUT_OF_ORDER_SEQUENCE_NUMBER", False, "The broker got a sequence number that is not the next.",
     "Nothing while an earlier batch is on its way: the producer tries again. If it is lost, abort the transaction."),
    (46, "DUPLICATE_SEQUENCE_NUMBER", False, "The broker has this batch already.", "Nothing: the first one stands."),
    (47, "INVALID_PRODUCER_EPOCH", False, "The producer's epoch is older than the one that is known of it.",
     "Abort the transaction. If a newer producer has the transactional ID, this one is then told PRODUCER_FENCED: close it."),
    (48, "INVALID_TXN_STATE", False, "The request does not fit the state of the transaction.",
     "Abort what is open, then begin anew; where the coordinator says it when a transaction ends, close the producer."),
    (49, "INVALID_PRODUCER_ID_MAPPING", False, "The coordinator knows another producer ID for this transactional ID, or none any more.",
     "Close this producer and start a new one; the transactional ID may have expired."),
    (50, "INVALID_TRANSACTION_TIMEOUT", False, "transaction.timeout.ms exceeds the broker's maximum.", "Lower it."),
    (51, "CONCURRENT_TRANSACTIONS", True, "The last transaction of this transactional ID is still being ended.", "Try again shortly."),
    (52, "TRANSACTION_COORDINATOR_FENCED", False, "A newer coordinator has taken over this transaction.",
     "Nothing: the new coordinator ends it."),
    (53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", False, "The principal may not use this transactional ID.", "Grant it with an ACL."),
    (54, "SECURITY_DISABLED", False, "No authorizer is configured on this broker.", "Set authorizer.class.name and restart."),
    (55, "OPERATION_NOT_ATTEMPTED", False, "The broker did not try, since another part of the request had failed.",
     "Mend the part that failed and send all of it again."),
    (56, "KAFKA_STORAGE_ERROR", True, "The disk failed or is full; the log directory is offline.",
     "Free or replace the disk and restart the broker."),
    (58, "SASL_AUTHENTICATION_FAILED", False, "The user does not exist, or the password is wrong.",
     "Correct sasl.username and sasl.password, or create the credential."),
    (59, "UNKNOWN_PRODUCER_ID", False, "The broker remembers nothing of this producer ID.",
     "Nothing: the producer starts over with a new epoch. Brokers of Kafka 4.x take the batch instead of answering this."),
    (60, "REASSIGNMENT_IN_PROGRESS", False, "The partition is being reassigned.", "Wait for it to end, or cancel it."),
    (73, "TOPIC_DELETION_DISABLED", False, "Topic deletion is disabled.",
     "Set delete.topic.enable=true on the controllers and restart them."),
    (68, "NON_EMPTY_GROUP", False, "The group still has members.", "Stop its members first."),
    (69, "GROUP_ID_NOT_FOUND", False, "There is no such group.", "Check the name; an empty group without offsets is deleted in time."),
    (74, "FENCED_LEADER_EPOCH", True, "The sender believes in an older leader epoch.", "Refresh the metadata."),
    (75, "UNKNOWN_LEADER_EPOCH", True, "The sender knows a newer leader epoch than this broker.", "Try again shortly."),
    (77, "STALE_BROKER_EPOCH", False, "The broker's epoch is from an earlier registration.", "Register again."),
    (78, "OFFSET_NOT_AVAILABLE", True, "The new leader's high watermark has not caught up yet.", "Try again shortly."),
    (79, "MEMBER_ID_REQUIRED", False, "A new member has to join again with the member ID that it was given.", "Join with that ID."),
    (80, "PREFERRED_LEADER_NOT_AVAILABLE", True, "The preferred leader is not in sync or not alive.", "Bring it back first."),
    (81, "GROUP_MAX_SIZE_REACHED", False, "The group has as many members as group.max.size allows.", "Use fewer members."),
    (82, "FENCED_INSTANCE_ID", False, "Another process has joined with the same group.instance.id.",
     "Give each process a group.instance.id of its own."),
    (83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", True, "No replica may become leader.",
     "Bring an eligible replica back; an unclean election would lose records."),
    (84, "ELECTION_NOT_NEEDED", True, "The partition already has the leader asked for.", "Nothing to do."),
    (85, "NO_REASSIGNMENT_IN_PROGRESS", False, "There is no reassignment to cancel.", "Nothing to do."),
    (86, "GROUP_SUBSCRIBED_TO_TOPIC", False, "The group reads this topic, so its offsets cannot be deleted.", "Stop the group first."),
    (87, "INVALID_RECORD", False, "The record breaks a rule of the topic (such as a missing key under compaction).",
     "Correct the record; it will never be accepted as it is."),
    (88, "UNSTABLE_OFFSET_COMMIT", True, "An open transaction is about to change the committed offset.",
     "Try again when the transaction has ended."),
    (89, "THROTTLING_QUOTA_EXCEEDED", True, "A quota is used up.", "Wait, or raise the quota."),
    (90, "PRODUCER_FENCED", False, "A newer producer with the same transactional ID took over.", "Close this producer."),
    (91, "RESOURCE_NOT_FOUND", False, "There is no such credential.", "Check the user's name and the mechanism."),
    (92, "DUPLICATE_RESOURCE", False, "One request names the same thing twice.", "Name it once."),
    (93, "UNACCEPTABLE_CREDENTIAL", False, "The credential breaks a rule (too few iterations, an empty name).",
     "Use 4096 to 16384 iterations and a name."),
    (95, "INVALID_UPDATE_VERSION", False, "The partition changed since the sender looked.", "Look again and retry."),
    (96, "FEATURE_UPDATE_FAILED", False, "The feature cannot be changed.", "Check the supported range."),
    (100, "UNKNOWN_TOPIC_ID", True, "This broker knows no topic with that ID.", "Refresh the metadata."),
    (101, "DUPLICATE_BROKER_REGISTRATION", False, "Another live broker holds this broker ID.", "Wait for its session to end."),
    (102, "BROKER_ID_NOT_REGISTERED", False, "No broker with this ID is registered.", "Start the broker."),
    (103, "INCONSISTENT_TOPIC_ID", True, "The log's topic ID is not the one in the request.", "Refresh the metadata."),
    (105, "TRANSACTIONAL_ID_NOT_FOUND", False, "The coordinator knows no such transactional ID.", "Check the name; it may have expired."),
    (106, "FETCH_SESSION_TOPIC_ID_ERROR", True, "The fetch session mixes topic IDs.", "Start a new session."),
    (107, "INELIGIBLE_REPLICA", False, "A replica named for the ISR is fenced or shutting down.", "Leave it out until it is back."),
    (108, "NEW_LEADER_ELECTED", False, "The change also elected a new leader.", "Follow the new metadata."),
    (110, "FENCED_MEMBER_EPOCH", False, "The member's epoch is not the one that the coordinator expects of it.",
     "Give up all partitions and rejoin with epoch 0."),
    (111, "UNRELEASED_INSTANCE_ID", False, "Another member still holds this group.instance.id.",
     "Stop that member first, or wait for its session to end."),
    (112, "UNSUPPORTED_ASSIGNOR", False, "The coordinator does not have this assignor.", "Set group.remote.assignor to uniform or range."),
    (113, "STALE_MEMBER_EPOCH", False, "The member has reached another epoch since.", "Try again with the epoch of the newest heartbeat."),
    (120, "TRANSACTION_ABORTABLE", False, "The transaction cannot be completed, but the producer may go on (KIP-1050).",
     "Abort the transaction and begin another."),
    (121, "INVALID_RECORD_STATE", False, "The record is not acquired by this member (any more).",
     "Nothing to do: its lock ran out, or it was acknowledged already."),
    (122, "SHARE_SESSION_NOT_FOUND", True, "The broker knows no such share session.", "Open a new share session."),
    (123, "INVALID_SHARE_SESSION_EPOCH", True, "The epoch is not the share session's next one.", "Open a new share session."),
    (124, "FENCED_STATE_EPOCH", False, "The share coordinator knows a newer state of the share partition.", "Read the state again."),
    (133, "SHARE_SESSION_LIMIT_REACHED", True, "The broker keeps as many share sessions as group.share.max.share.sessions allows.",
     "Try again later."),
)  # fmt: skip


def error(name: str) -> KafkaError:
    """The row called ``name``. Raises KeyError for a name that Kafka does not have."""
    return ERRORS[name]


class EngineError(Exception):
    """A refusal that a person can meet: what happened, why, and what to do. Nothing has changed."""

    def __init__(self, message: str, *, field: str = "", code: str = "INVALID_REQUEST") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.code = code
