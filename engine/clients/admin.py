"""The simulated admin client: hands each request to some live broker and keeps the answers for those who read them. Whom a request is for
says ``engine.clients.admin_targets``.

Follows Java's ``KafkaAdminClient``: a call that loses its broker or its time goes to the next one, until default.api.timeout.ms is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from engine.clients import admin_targets
from engine.clients.common import COMMON_HANDLERS, ClientNode, Handler, InFlight, backoff_us
from engine.clients.configs import ConsumerConfig
from engine.errors import ERRORS
from engine.events import AdminAnswered
from engine.messages.admin import (
    AdminResponse,
    DeleteRecordsResponse,
    DescribeConfigsResponse,
    DescribeQuorumResponse,
    ListPartitionReassignmentsResponse,
    MetadataResponse,
)
from engine.messages.base import Message, Request, Response, Timer
from engine.messages.fetch import ListOffsetsResponse, OffsetForLeaderEpochResponse
from engine.messages.groups import DeleteGroupsResponse, FindCoordinatorResponse, OffsetCommitResponse, OffsetDeleteResponse
from engine.messages.instructions import BeginShutdown, CallAdmin
from engine.messages.security import (
    DescribeAclsResponse,
    DescribeClientQuotasResponse,
    DescribeUserScramCredentialsResponse,
)
from engine.messages.transactions import WriteTxnMarkersResponse
from engine.sim.outbox import Outbox

API_TIMEOUT_MS = 60_000
"""default.api.timeout.ms"""
ANSWERS_KEPT = 50
RETRIED = frozenset(("NOT_CONTROLLER", "COORDINATOR_NOT_AVAILABLE", "NETWORK_EXCEPTION", "LEADER_NOT_AVAILABLE"))
"""Errors of a whole call after which the next broker is asked. A REQUEST_TIMED_OUT from a broker is an answer: it may have been done."""


class AdminTimer(Timer, frozen=True, gc=False, tag=True):
    """A call's backoff or its whole time is over."""


@dataclass(slots=True)
class Call:
    """One call under way. ``correlation_id`` -1: it waits for its next attempt. ``leader``: who is to be asked, where that matters and is
    known."""

    call_id: int
    request: Request
    cause: int
    deadline_us: int
    correlation_id: int = -1
    attempts: int = 0
    retry_at_us: int = 0
    leader: int = -1


@dataclass(slots=True)
class AdminNode(ClientNode):
    """``answers``: call id → response, the last fifty."""

    configs: dict[str, str] = field(init=False, default_factory=dict)
    settings: ConsumerConfig = field(init=False)
    calls: dict[int, Call] = field(init=False, default_factory=dict)
    answers: dict[int, Response] = field(init=False, default_factory=dict)
    turn: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.settings = ConsumerConfig.from_map({})
        self._prepare(self.settings)
        self.metadata.update_requested = False

    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None:
        handler = _HANDLERS.get(type(body))
        if handler is not None:
            handler(self, source, body, out)

    def _on_call(self, source: str, body: CallAdmin, out: Outbox) -> None:
        self.calls[body.call_id] = Call(body.call_id, body.request, out.cause, out.now + API_TIMEOUT_MS * 1000)
        self._proceed(out)

    def _on_shutdown(self, source: str, body: BeginShutdown, out: Outbox) -> None:
        out.exit()

    def _on_timer(self, source: str, body: AdminTimer, out: Outbox) -> None:
        self._proceed(out)

    def _proceed(self, out: Outbox) -> None:
        self.metadata.update_requested = False  # any broker will do, so this client needs to know nothing about topics
        for call in list(self.calls.values()):
            if out.now >= call.deadline_us:
                self._time_out(call, out)
            elif call.correlation_id < 0 and out.now >= call.retry_at_us:
                self._attempt(call, out)
        waiting = [call.deadline_us for call in self.calls.values()]
        waiting += [call.retry_at_us for call in self.calls.values() if call.correlation_id < 0 and call.retry_at_us > out.now]
        if waiting:
            out.arm(AdminTimer(), after_us=max(min(waiting) - out.now, 1))

    def _attempt(self, call: Call, out: Outbox) -> None:
        """The next broker in turn that has a connection; begins to connect where none has."""
        if call.leader >= 0:
            if self.connections.ready(call.leader, out):
                self._send(call, call.leader, call.request, out)
            return
        request = admin_targets.lookup(call.request) or call.request
        count = len(self.brokers)
        for step in range(count):
            broker = self.brokers[(self.turn + step) % count]
            if self.connections.ready(broker, out):
                self.turn = (self.turn + step + 1) % count
                self._send(call, broker, request, out)
                return

    def _send(self, call: Call, broker: int, request: Request, out: Outbox) -> None:
        out.because(call.cause)
        call.correlation_id = self.connections.new_correlation_id()
        sent = msgspec.structs.replace(request, correlation_id=call.correlation_id)
        self.connections.send(broker, sent, "call", out, items=(call.call_id,))

    def _time_out(self, call: Call, out: Outbox) -> None:
        out.because(call.cause)
        silencers = tuple(number for broker in self.brokers for number in out.silencers(f"broker-{broker}"))
        response = AdminResponse(-1, "REQUEST_TIMED_OUT", (), "Timed out waiting for a node assignment or a response.")
        self._answer(call, response, silencers, out)

    def _abandon(self, broker: int, lost: list[InFlight], error: str, silencers: tuple[int, ...], out: Outbox) -> None:
        for entry in lost:
            for call_id in entry.items:
                if call_id in self.calls:
                    self._retry(self.calls[call_id], out)

    def _retry(self, call: Call, out: Outbox) -> None:
        call.correlation_id = call.leader = -1
        settings = self.settings
        wait = backoff_us(out.stream("backoff"), settings.retry_backoff_ms, settings.retry_backoff_max_ms, call.attempts)
        call.attempts += 1
        call.retry_at_us = out.now + wait

    def _on_response(self, source: str, body: Response, out: Outbox) -> None:
        entry = self.connections.complete(source, body.correlation_id)
        if entry is None:
            return
        for call_id in entry.items:
            call = self.calls.get(call_id)
            if call is None:
                continue
            if admin_targets.lookup(call.request) is not None:
                self._on_targeted_response(call, body, out)
            elif _error_of(body) in RETRIED:
                self._retry(call, out)
            else:
                self._answer(call, body, (), out)
        self._proceed(out)

    def _on_targeted_response(self, call: Call, body: Response, out: Outbox) -> None:
        """Who leads or coordinates, then the answer; one that has moved is looked up again, and so is one that is not known yet."""
        broker = admin_targets.found(call.request, body)
        if broker is not None and broker >= 0:
            call.leader, call.correlation_id, call.retry_at_us = broker, -1, 0
        elif broker is not None or admin_targets.is_asked_again(call.request, body):
            self._retry(call, out)
        else:
            self._answer(call, body, (), out)

    def _answer(self, call: Call, response: Response, silencers: tuple[int, ...], out: Outbox) -> None:
        del self.calls[call.call_id]
        self.answers[call.call_id] = response
        if len(self.answers) > ANSWERS_KEPT:
            del self.answers[next(iter(self.answers))]
        results = admin_targets.outcomes(response)
        message = ""
        if isinstance(response, AdminResponse):
            results = tuple((result.name, result.error, result.message) for result in response.results)
            message = response.message
        elif isinstance(response, DescribeConfigsResponse):
            message = response.message
        error = _error_of(response)
        if not message and error != "NONE" and error in ERRORS:
            message = admin_targets.meaning(error)
        api = type(call.request).__name__.removesuffix("Request")
        out.emit(AdminAnswered(call.call_id, api, error, results, message), also=silencers)


def _error_of(response: Response) -> str:
    error = getattr(response, "error", "NONE")
    return error if isinstance(error, str) else "NONE"


_HANDLERS: dict[type, Handler] = {
    **COMMON_HANDLERS,
    CallAdmin: AdminNode._on_call,
    BeginShutdown: AdminNode._on_shutdown,
    AdminTimer: AdminNode._on_timer,
    MetadataResponse: AdminNode._on_response,
    AdminResponse: AdminNode._on_response,
    DeleteRecordsResponse: AdminNode._on_response,
    WriteTxnMarkersResponse: AdminNode._on_response,
    FindCoordinatorResponse: AdminNode._on_response,
    OffsetCommitResponse: AdminNode._on_response,
    OffsetDeleteResponse: AdminNode._on_response,
    DeleteGroupsResponse: AdminNode._on_response,
    DescribeConfigsResponse: AdminNode._on_response,
    DescribeQuorumResponse: AdminNode._on_response,
    ListPartitionReassignmentsResponse: AdminNode._on_response,
    ListOffsetsResponse: AdminNode._on_response,
    OffsetForLeaderEpochResponse: AdminNode._on_response,
    DescribeClientQuotasResponse: AdminNode._on_response,
    DescribeAclsResponse: AdminNode._on_response,
    DescribeUserScramCredentialsResponse: AdminNode._on_response,
}
