"""SCRAM (RFC 5802, Kafka's ``ScramFormatter``): what is stored of a password, and how a client proves that it knows it.

The broker keeps a salted hash of a hash; the password never travels, and what is stored is not enough to log in with.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from hashlib import new as new_hash
from hashlib import pbkdf2_hmac

import msgspec

HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
DEFAULT_ITERATIONS = 4096
MIN_ITERATIONS, MAX_ITERATIONS = 4096, 16384


class ScramCredential(msgspec.Struct, frozen=True, gc=False):
    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int


@lru_cache(maxsize=256)
def salted_password(mechanism: str, password: str, salt: bytes, iterations: int) -> bytes:
    """``Hi(password, salt, i)``: slow on purpose, hence remembered."""
    return pbkdf2_hmac(HASHES[mechanism], password.encode(), salt, iterations)


def credential(mechanism: str, salted: bytes, salt: bytes, iterations: int) -> ScramCredential:
    name = HASHES[mechanism]
    client_key = hmac.digest(salted, b"Client Key", name)
    return ScramCredential(salt, _hash(name, client_key), hmac.digest(salted, b"Server Key", name), iterations)


def client_proof(mechanism: str, salted: bytes, message: str) -> bytes:
    """``ClientKey XOR HMAC(StoredKey, AuthMessage)``."""
    name = HASHES[mechanism]
    client_key = hmac.digest(salted, b"Client Key", name)
    signature = hmac.digest(_hash(name, client_key), message.encode(), name)
    return bytes(a ^ b for a, b in zip(client_key, signature, strict=True))


def proves(mechanism: str, known: ScramCredential, message: str, proof: bytes) -> bool:
    """Whether whoever made ``proof`` holds the password."""
    name = HASHES[mechanism]
    signature = hmac.digest(known.stored_key, message.encode(), name)
    if len(proof) != len(signature):
        return False
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    return hmac.compare_digest(_hash(name, client_key), known.stored_key)


def auth_message(username: str, nonce: str, salt: bytes, iterations: int) -> str:
    """What both sides sign: everything that was said before."""
    return f"n={username},r={nonce},s={salt.hex()},i={iterations}"


def _hash(name: str, content: bytes) -> bytes:
    return new_hash(name, content).digest()
