"""SaslAuthenticate (API key 36, with SaslHandshake, 17): a client says who it is, and proves it.

Versions: v1 brought the session's lifetime (KIP-368). Under SCRAM the broker first tells the salt of the user's credential and then checks
the proof against it; whoever does not exist gets a salt all the same, so that nobody learns who does. Under GSSAPI a Kerberos ticket
would have proven the name: a lab has no Kerberos server, and believes it. Sources: ``SaslServerAuthenticator``, ``ScramSaslServer``.
"""

from __future__ import annotations

from hashlib import sha256

from engine.broker import admission
from engine.broker.state import Broker
from engine.events import AuthenticationFailed
from engine.messages.security import SaslAuthenticateRequest, SaslAuthenticateResponse
from engine.metadata import scram
from engine.metadata.configs import parse_list, static_value
from engine.sim.outbox import Outbox

FAILED = "SASL_AUTHENTICATION_FAILED"
UNSUPPORTED = "UNSUPPORTED_SASL_MECHANISM"


def handle(broker: Broker, source: str, request: SaslAuthenticateRequest, out: Outbox) -> None:
    mechanism, user, number = request.mechanism, request.username, request.correlation_id
    enabled = parse_list(static_value(broker.configs, "sasl.enabled.mechanisms"))
    if mechanism not in enabled:
        offered = f"Client SASL mechanism '{mechanism}' not enabled in the server, enabled mechanisms are [{', '.join(enabled)}]"
        _refuse(broker, source, request, UNSUPPORTED, offered, out)
        return
    if mechanism not in scram.HASHES:
        _accept(broker, source, request, out)
        return
    known = broker.image.scram.get((user, mechanism))
    salt = known.salt if known is not None else sha256(user.encode()).digest()[:16]
    iterations = known.iterations if known is not None else scram.DEFAULT_ITERATIONS
    channel = admission.channel_of(broker, source)
    if not request.proof:
        channel.user, channel.nonce = "", f"{request.nonce}{out.stream('sasl').bits():016x}"
        out.send(source, SaslAuthenticateResponse(number, "NONE", False, channel.nonce, salt, iterations))
        return
    expected, channel.nonce = channel.nonce, ""
    message = scram.auth_message(user, expected, salt, iterations)
    if known is not None and expected and scram.proves(mechanism, known, message, request.proof):
        _accept(broker, source, request, out)
    else:
        why = f"Authentication failed during authentication due to invalid credentials with SASL mechanism {mechanism}"
        _refuse(broker, source, request, FAILED, why, out)


def _accept(broker: Broker, source: str, request: SaslAuthenticateRequest, out: Outbox) -> None:
    channel = admission.channel_of(broker, source)
    channel.user, channel.refused = request.username, ""
    out.send(source, SaslAuthenticateResponse(request.correlation_id, "NONE"))


def _refuse(broker: Broker, source: str, request: SaslAuthenticateRequest, error: str, why: str, out: Outbox) -> None:
    channel = admission.channel_of(broker, source)
    if channel.refused != request.username:  # told once: the client tries again about every second
        channel.refused = request.username
        out.emit(AuthenticationFailed(broker.broker_id, source, request.username, request.mechanism, error))
    out.send(source, SaslAuthenticateResponse(request.correlation_id, error, message=why))
