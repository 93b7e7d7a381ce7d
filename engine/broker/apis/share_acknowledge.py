"""ShareAcknowledge (API key 79): a member of a share group says what became of records, without fetching more.

Versions: v1 is that of Kafka 4.1, v2 can renew locks (KIP-1222). Answered when the share coordinator has it. Source:
``KafkaApis.handleShareAcknowledgeRequest``.
"""

from __future__ import annotations

from engine.broker import share_partitions
from engine.broker.apis.share_fetch import FINAL_EPOCH, next_epoch
from engine.broker.apis.share_waiters import answer_acknowledge, group_items
from engine.broker.share_channels import ParkedAcknowledge, ShareSession, Waiter
from engine.broker.state import Broker
from engine.messages.share_groups import ShareAcknowledgeRequest, ShareAcknowledgeResponse
from engine.sim.outbox import Outbox


def handle(broker: Broker, source: str, request: ShareAcknowledgeRequest, out: Outbox) -> None:
    key = (request.group_id, request.member_id)
    session = broker.share.sessions.get(key)
    error = "NONE"
    if request.session_epoch == 0:
        error = "INVALID_SHARE_SESSION_EPOCH"
    elif session is None:
        error = "SHARE_SESSION_NOT_FOUND"
    elif request.session_epoch not in (FINAL_EPOCH, session.epoch):
        error = "INVALID_SHARE_SESSION_EPOCH"
    if error != "NONE" or session is None:
        out.send(source, ShareAcknowledgeResponse(request.correlation_id, error))
        return
    waiter = Waiter(source, request.correlation_id)
    parked = broker.share.acknowledgements[waiter] = ParkedAcknowledge({}, 0, out.cause)
    cause = out.cause
    for partition, items in group_items(request.acknowledgements).items():
        out.because(cause)
        outcome = share_partitions.acknowledge(broker, request.group_id, request.member_id, partition, items, waiter, out)
        parked.outcomes[partition] = outcome
        parked.unwritten += not outcome
    if request.session_epoch == FINAL_EPOCH:
        del broker.share.sessions[key]
        out.because(cause)
        share_partitions.release(broker, request.group_id, request.member_id, session.partitions, source, out)
    else:
        broker.share.sessions[key] = ShareSession(source, next_epoch(session.epoch), session.partitions)
    out.because(cause)
    answer_acknowledge(broker, waiter, out)
