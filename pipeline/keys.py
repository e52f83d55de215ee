"""The keys that open sessions, voices and the service: in clear for whoever holds them, as hashes in Redis."""

from __future__ import annotations

import hashlib
import hmac
import secrets


class WrongKey(RuntimeError):
    """A key that opens nothing, or not this; the message says what it should have opened, or whose it is."""


def new_key() -> str:
    """A key that nobody can guess."""
    return secrets.token_urlsafe(24)


def digest(key: str) -> str:
    """A key as Redis holds it."""
    return hashlib.sha256(key.encode()).hexdigest()


def same(stored: bytes | None, key: str) -> bool:
    """Whether what Redis holds is the hash of a key."""
    return stored is not None and hmac.compare_digest(stored, digest(key).encode())
