"""What all clients share: connections to brokers with their requests in flight, the metadata cache, and how both recover.

Follows the Java client's ``NetworkClient``, ``ClusterConnectionStates`` and ``Metadata``: a connection is made before it is used (here
by an empty metadata request, in Java by ApiVersions), a request that runs out of time costs the whole connection, every lost
connection and every stale answer asks for fresh metadata, and whatever is tried again waits longer each time, with jitter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from engine.clients.configs import ClientConfig
from engine.messages.admin import MetadataRequest, MetadataResponse, MetadataTopic
from engine.messages.base import Disconnected, Message, Request, Timer, TopicPartition
from engine.messages.security import SaslAuthenticateRequest, SaslAuthenticateResponse
from engine.metadata import scram
from engine.sim.outbox import Outbox
from engine.sim.rng import Stream

STALE_METADATA = frozenset(
    (
        "UNKNOWN_TOPIC_OR_PARTITION", "LEADER_NOT_AVAILABLE", "NOT_LEADER_OR_FOLLOWER", "REPLICA_NOT_AVAILABLE", "KAFKA_STORAGE_ERROR",
        "FENCED_LEADER_EPOCH", "NETWORK_EXCEPTION", "UNKNOWN_TOPIC_ID", "INCONSISTENT_TOPIC_ID",
    )
)  # fmt: skip
"""Java's ``InvalidMetadataException`` family: whoever gets one refreshes the metadata."""

NOT_FOR_THIS_CLIENT = ("TOPIC_AUTHORIZATION_FAILED", "INVALID_TOPIC_EXCEPTION")
"""What no retry mends: ``Metadata.maybeThrowExceptionForTopic``."""

PREVIEW_CHARACTERS = 40


class RequestTimer(Timer, frozen=True, gc=False, tag=True):
    """The oldest request to ``broker`` may have run out of time; looked at no later than one request.timeout.ms after the last look,
    since a request that may take longer (JoinGroup) can stand in front of one that may not."""

    broker: int


class ReconnectTimer(Timer, frozen=True, gc=False, tag=True):
    """The backoff before the next connection to ``broker`` is over, or the time for which the broker throttles this client."""

    broker: int


class MetadataTimer(Timer, frozen=True, gc=False, tag=True):
    """Metadata may be asked for again, or has grown old."""


class InFlight(msgspec.Struct, frozen=True, gc=False):
    """One request without its response yet. ``kind``: "connect", "sasl", "metadata" or what the client calls its own."""

    correlation_id: int
    kind: str
    sent_us: int
    deadline_us: int
    items: tuple[int, ...] = ()
    partitions: tuple[TopicPartition, ...] = ()


class LeaderAndEpoch(NamedTuple):
    """-1 where nobody leads."""

    leader_id: int
    leader_epoch: int


class TopicMetadata(msgspec.Struct, frozen=True, gc=False):
    """``leaders[p]`` leads partition p; ``available`` are the partitions with a leader."""

    name: str
    topic_id: str
    leaders: tuple[LeaderAndEpoch, ...]
    available: tuple[int, ...]


def preview(content: bytes | None) -> str | None:
    """At most 40 characters, control characters escaped."""
    if content is None:
        return None
    text = content[: 4 * PREVIEW_CHARACTERS].decode("utf-8", "replace")[:PREVIEW_CHARACTERS]
    return text if text.isprintable() else text.encode("unicode_escape").decode()[:PREVIEW_CHARACTERS]


def backoff_us(stream: Stream, initial_ms: int, max_ms: int, failures: int) -> int:
    """``ExponentialBackoff``: doubles per failure, ±20 %, never above the maximum."""
    if initial_ms >= max_ms:
        return max_ms * 1000
    term = min(initial_ms << min(failures, 30), max_ms)
    return min(term * stream.between(800, 1200), max_ms * 1000)


@dataclass(slots=True)
class Connection:
    """``state``: "disconnected", "connecting" or "ready". Before ``throttled_until_us`` nothing is sent: the broker would not read it.

    A consumer speaks with its group's coordinator over a connection of its own, so that no throttled fetch holds up its membership (Kafka's
    ``Integer.MAX_VALUE - id``). Both begin and end together; what differs is ``coordinator_throttled_until_us``."""

    broker: int
    address: str
    state: str = "disconnected"
    failures: int = 0
    retry_at_us: int = 0
    in_flight: list[InFlight] = field(default_factory=list)
    timer_runs: bool = False
    throttled_until_us: int = 0
    coordinator_throttled_until_us: int = 0


@dataclass(slots=True)
class Connections:
    """One client's connections. Every request goes out through ``send`` and comes home through ``complete`` or ``lose``."""

    settings: ClientConfig
    by_broker: dict[int, Connection]
    next_correlation_id: int = 1

    def of(self, address: str) -> Connection | None:
        for connection in self.by_broker.values():
            if connection.address == address:
                return connection
        return None

    def ready(self, broker: int, out: Outbox, *, as_coordinator: bool = False) -> bool:
        """Whether requests may go to ``broker`` now; if not, begins to connect as soon as the backoff allows it. ``as_coordinator``: such
        as a member of a group sends to its coordinator."""
        connection = self.by_broker.get(broker)
        if connection is None:
            return False
        if connection.state == "disconnected":
            if out.now >= connection.retry_at_us:
                self._connect(connection, out)
            else:
                out.arm(ReconnectTimer(broker), after_us=connection.retry_at_us - out.now)
        elif (connection.coordinator_throttled_until_us if as_coordinator else connection.throttled_until_us) > out.now:
            return False
        return connection.state == "ready"

    def obey(self, source: str, throttle_time_ms: int, out: Outbox, *, as_coordinator: bool = False) -> None:
        """``NetworkClient.maybeThrottle``: the next request to that broker waits for as long as its response says (KIP-219)."""
        connection = self.of(source) if throttle_time_ms > 0 else None
        if connection is None:
            return
        until_us = out.now + throttle_time_ms * 1000
        if as_coordinator:
            until_us = connection.coordinator_throttled_until_us = max(connection.coordinator_throttled_until_us, until_us)
        else:
            until_us = connection.throttled_until_us = max(connection.throttled_until_us, until_us)
        out.arm(ReconnectTimer(connection.broker), after_us=until_us - out.now)

    @property
    def throttled_until_us(self) -> int:
        """Until when some broker throttles this client."""
        return max([connection.throttled_until_us for connection in self.by_broker.values()])

    def _connect(self, connection: Connection, out: Outbox) -> None:
        connection.state = "connecting"
        if self.settings.sasl_username:
            self.authenticate(connection, None, out)
            return
        probe = MetadataRequest(self.new_correlation_id(), topics=())
        self.send(connection.broker, probe, "connect", out, timeout_ms=self.settings.socket_connection_setup_timeout_ms)

    def authenticate(self, connection: Connection, answer: SaslAuthenticateResponse | None, out: Outbox) -> None:
        """``SaslClientAuthenticator``: the first message, or the proof that follows the broker's ``answer`` to it."""
        settings = self.settings
        mechanism, user = settings.sasl_mechanism, settings.sasl_username
        nonce, proof = f"{out.stream('sasl').bits():016x}", b""
        if answer is not None:
            nonce = answer.nonce
            salted = scram.salted_password(mechanism, settings.sasl_password, answer.salt, answer.iterations)
            proof = scram.client_proof(mechanism, salted, scram.auth_message(user, nonce, answer.salt, answer.iterations))
        request = SaslAuthenticateRequest(self.new_correlation_id(), mechanism, user, nonce, proof)
        self.send(connection.broker, request, "sasl", out, timeout_ms=settings.socket_connection_setup_timeout_ms)

    def new_correlation_id(self) -> int:
        number = self.next_correlation_id
        self.next_correlation_id = number + 1
        return number

    def send(
        self,
        broker: int,
        request: Request,
        kind: str,
        out: Outbox,
        *,
        items: tuple[int, ...] = (),
        partitions: tuple[TopicPartition, ...] = (),
        timeout_ms: int = -1,
    ) -> None:
        """Sends and remembers; ``timeout_ms`` -1 is request.timeout.ms."""
        connection = self.by_broker[broker]
        allowed_us = (self.settings.request_timeout_ms if timeout_ms < 0 else timeout_ms) * 1000
        connection.in_flight.append(InFlight(request.correlation_id, kind, out.now, out.now + allowed_us, items, partitions))
        out.send(connection.address, request)
        if not connection.timer_runs:
            connection.timer_runs = True
            out.arm(RequestTimer(broker), after_us=min(allowed_us, self._look_every_us()))

    def complete(self, source: str, correlation_id: int) -> InFlight | None:
        """The request that this response answers; None where it was given up already."""
        connection = self.of(source)
        if connection is None:
            return None
        for position, entry in enumerate(connection.in_flight):
            if entry.correlation_id == correlation_id:
                del connection.in_flight[position]
                if entry.kind == "connect":
                    connection.state, connection.failures = "ready", 0
                return entry
        return None

    def lose(self, connection: Connection, out: Outbox) -> list[InFlight]:
        """The connection is gone. Returns what was in flight on it: nobody knows whether it was done."""
        lost, connection.in_flight = connection.in_flight, []
        settings = self.settings
        wait = backoff_us(
            out.stream("backoff"), settings.reconnect_backoff_ms, settings.reconnect_backoff_max_ms, connection.failures
        )
        connection.state = "disconnected"
        connection.throttled_until_us = connection.coordinator_throttled_until_us = 0
        connection.failures += 1
        connection.retry_at_us = out.now + wait
        return lost

    def expired(self, broker: int, out: Outbox) -> Connection | None:
        """On a RequestTimer: the connection whose oldest request ran out of time, if so."""
        connection = self.by_broker[broker]
        connection.timer_runs = False
        if not connection.in_flight:
            return None
        deadline = min([entry.deadline_us for entry in connection.in_flight])
        if deadline <= out.now:
            return connection
        connection.timer_runs = True
        out.arm(RequestTimer(broker), after_us=min(deadline - out.now, self._look_every_us()))
        return None

    def _look_every_us(self) -> int:
        return max(self.settings.request_timeout_ms, self.settings.socket_connection_setup_timeout_ms, 1) * 1000

    def in_flight_count(self, broker: int) -> int:
        return len(self.by_broker[broker].in_flight)

    def least_loaded(self, out: Outbox) -> int | None:
        """A ready broker with the fewest requests in flight, from a random start; None (and a connection begun) where none is ready."""
        brokers = list(self.by_broker)
        start = out.stream("bootstrap").below(len(brokers))
        brokers = brokers[start:] + brokers[:start]
        ready = [broker for broker in brokers if self.by_broker[broker].state == "ready"]
        if ready:
            free = [broker for broker in ready if self.by_broker[broker].throttled_until_us <= out.now]
            return min(free, key=self.in_flight_count) if free else None
        if not any(self.by_broker[broker].state == "connecting" for broker in brokers):
            soonest = min(brokers, key=lambda broker: max(self.by_broker[broker].retry_at_us, out.now))
            self.ready(soonest, out)
        return None


@dataclass(slots=True)
class Metadata:
    """What the client believes about topics. A leader epoch never goes back (KIP-320)."""

    topics: dict[str, TopicMetadata] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    alive: tuple[int, ...] = ()
    """The brokers that the last answer named: those that are not fenced."""
    wanted: list[str] = field(default_factory=list)
    update_requested: bool = True
    in_flight: bool = False
    refreshed_us: int = -1
    failures: int = 0
    retry_at_us: int = 0

    def want(self, topic: str) -> None:
        if topic not in self.wanted:
            self.wanted.append(topic)
            self.update_requested = True
            self.failures = self.retry_at_us = 0

    def leader(self, partition: TopicPartition) -> LeaderAndEpoch | None:
        """None where the partition is unknown or nobody leads it."""
        topic = self.topics.get(partition.topic)
        if topic is None or partition.partition >= len(topic.leaders):
            return None
        found = topic.leaders[partition.partition]
        return found if found.leader_id >= 0 else None

    def learn_leader(self, partition: TopicPartition, leader_id: int, leader_epoch: int) -> bool:
        """KIP-951: a broker that no longer leads says who does. Returns whether that was news."""
        topic = self.topics.get(partition.topic)
        if leader_id < 0 or topic is None or partition.partition >= len(topic.leaders):
            return False
        if topic.leaders[partition.partition].leader_epoch >= leader_epoch:
            return False
        leaders = list(topic.leaders)
        leaders[partition.partition] = LeaderAndEpoch(leader_id, leader_epoch)
        self.topics[topic.name] = _topic(topic.name, topic.topic_id, tuple(leaders))
        return True

    def take(self, response: MetadataResponse) -> bool:
        """Takes over an answer. Returns whether anything changed; asks again where an error may pass."""
        before = dict(self.topics)
        self.errors.clear()
        self.alive = tuple([broker.broker_id for broker in response.brokers])
        self.update_requested = False
        for answer in response.topics:
            if answer.error != "NONE":
                self.errors[answer.name] = answer.error
                self.topics.pop(answer.name, None)
                self.update_requested |= answer.error in STALE_METADATA
                continue
            self.topics[answer.name] = merged = _merge(self.topics.get(answer.name), answer)
            self.update_requested |= len(merged.available) < len(merged.leaders)
        return before != self.topics

    def refresh(self, connections: Connections, create_topics: bool, out: Outbox) -> None:
        """Sends a request if one is due and a broker is ready; otherwise sees to it that somebody calls again."""
        if self.in_flight or not self.update_requested:
            return
        if out.now < self.retry_at_us:
            out.arm(MetadataTimer(), after_us=self.retry_at_us - out.now)
            return
        broker = connections.least_loaded(out)
        if broker is None:
            return
        self.in_flight = True
        request = MetadataRequest(connections.new_correlation_id(), tuple(self.wanted), create_topics)
        connections.send(broker, request, "metadata", out)

    def back_off(self, settings: ClientConfig, changed: bool, out: Outbox) -> None:
        """No new request before the backoff is over; it grows while answers bring nothing new (KIP-580)."""
        self.in_flight = False
        wait = backoff_us(out.stream("backoff"), settings.retry_backoff_ms, settings.retry_backoff_max_ms, self.failures)
        self.failures = 0 if changed else self.failures + 1
        self.retry_at_us = out.now + wait


def _topic(name: str, topic_id: str, leaders: tuple[LeaderAndEpoch, ...]) -> TopicMetadata:
    available = tuple(number for number, leader in enumerate(leaders) if leader.leader_id >= 0)
    return TopicMetadata(name, topic_id, leaders, available)


def _merge(known: TopicMetadata | None, answer: MetadataTopic) -> TopicMetadata:
    leaders = [LeaderAndEpoch(-1, -1)] * len(answer.partitions)
    for item in answer.partitions:
        if item.partition < len(leaders):
            leaders[item.partition] = LeaderAndEpoch(item.leader_id, item.leader_epoch)
    if known is not None and known.topic_id == answer.topic_id:
        for number, old in enumerate(known.leaders[: len(leaders)]):
            if old.leader_epoch > leaders[number].leader_epoch:
                leaders[number] = old
    return _topic(answer.name, answer.topic_id, tuple(leaders))


@dataclass(slots=True)
class ClientNode(ABC):
    """The base of the three clients. A subclass says what to do with requests that were lost (``_abandon``) and how to go on when
    something may have become possible (``_proceed``)."""

    name: str
    brokers: tuple[int, ...]
    configs: dict[str, str]
    auth_error: str = field(init=False, default="")
    """Why the last connection was refused; "" once one was accepted."""
    refused_topics: dict[str, str] = field(init=False, default_factory=dict)
    """Topics that the last metadata says this client may not use, and the error."""
    connections: Connections = field(init=False)
    metadata: Metadata = field(init=False)

    def _prepare(self, settings: ClientConfig) -> None:
        links = {broker: Connection(broker, f"broker-{broker}") for broker in self.brokers}
        self.connections = Connections(settings, links)
        self.metadata = Metadata()

    def start(self, out: Outbox) -> None:
        """Connects and asks for metadata. Answers to the process before this one match nothing."""
        self.connections.next_correlation_id += out.now
        self._proceed(out)

    @abstractmethod
    def handle(self, source: str, body: Message | Timer, out: Outbox) -> None: ...

    @abstractmethod
    def _abandon(self, broker: int, lost: list[InFlight], error: str, silencers: tuple[int, ...], out: Outbox) -> None: ...

    @abstractmethod
    def _proceed(self, out: Outbox) -> None: ...

    def _metadata_changed(self, out: Outbox) -> None:  # noqa: B027 - a hook: most clients do not care
        """A hook for those who care."""

    def _topic_refused(self, topic: str, error: str, out: Outbox) -> None:  # noqa: B027 - a hook: a producer learns it when it sends
        """A hook for those who care."""

    def _on_disconnected(self, source: str, body: Disconnected, out: Outbox) -> None:
        connection = self.connections.of(body.peer)
        if connection is not None and connection.state != "disconnected":
            self._lose(connection, (), out)

    def _on_request_timer(self, source: str, body: RequestTimer, out: Outbox) -> None:
        connection = self.connections.expired(body.broker, out)
        if connection is not None:
            self._lose(connection, out.silencers(connection.address), out)

    def _lose(self, connection: Connection, silencers: tuple[int, ...], out: Outbox) -> None:
        lost = self.connections.lose(connection, out)
        self.metadata.update_requested = True
        if any(entry.kind == "metadata" for entry in lost):
            self.metadata.back_off(self.connections.settings, False, out)
        own = [entry for entry in lost if entry.kind not in ("connect", "sasl", "metadata")]
        if own:
            self._abandon(connection.broker, own, "NETWORK_EXCEPTION", silencers, out)
        self._proceed(out)

    def _on_sasl(self, source: str, body: SaslAuthenticateResponse, out: Outbox) -> None:
        """A refusal costs the connection; the next attempt comes after the backoff, as with every other failure."""
        entry = self.connections.complete(source, body.correlation_id)
        connection = self.connections.of(source)
        if entry is None or connection is None:
            return
        if body.error != "NONE":
            self.auth_error = f"SaslAuthenticationException: {body.message or body.error}"
            self._lose(connection, (), out)
        elif not body.complete:
            self.connections.authenticate(connection, body, out)
        else:
            connection.state, connection.failures, self.auth_error = "ready", 0, ""
            self._proceed(out)

    def _on_reconnect_timer(self, source: str, body: ReconnectTimer, out: Outbox) -> None:
        self._proceed(out)

    def _on_metadata(self, source: str, body: MetadataResponse, out: Outbox) -> None:
        entry = self.connections.complete(source, body.correlation_id)
        if entry is None:
            return
        if entry.kind == "metadata":
            changed = self.metadata.take(body)
            self.metadata.refreshed_us = out.now
            self.metadata.back_off(self.connections.settings, changed, out)
            out.arm(MetadataTimer(), after_us=self.connections.settings.metadata_max_age_ms * 1000)
            self._metadata_changed(out)
            if self.metadata.errors or self.refused_topics:
                self._note_refusals(out)
        self._proceed(out)

    def _note_refusals(self, out: Outbox) -> None:
        refused = {topic: error for topic, error in self.metadata.errors.items() if error in NOT_FOR_THIS_CLIENT}
        for topic, error in refused.items():
            if topic not in self.refused_topics:
                self._topic_refused(topic, error, out)
        self.refused_topics = refused

    def _on_metadata_timer(self, source: str, body: MetadataTimer, out: Outbox) -> None:
        if out.now - self.metadata.refreshed_us >= self.connections.settings.metadata_max_age_ms * 1000:
            self.metadata.update_requested = True
        self._proceed(out)


Handler = Callable[[Any, str, Any, Outbox], None]

COMMON_HANDLERS: dict[type, Handler] = {
    Disconnected: ClientNode._on_disconnected,
    RequestTimer: ClientNode._on_request_timer,
    ReconnectTimer: ClientNode._on_reconnect_timer,
    MetadataTimer: ClientNode._on_metadata_timer,
    MetadataResponse: ClientNode._on_metadata,
    SaslAuthenticateResponse: ClientNode._on_sasl,
}
