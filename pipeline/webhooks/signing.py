"""Whom a webhook comes from: an HMAC over the second and the body, which a receiver can check."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

TOLERANCE: Final = 300.0  # seconds that a signature's time may be off


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """The header by which a receiver knows who sent a body, at a Unix second."""
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={mac.hexdigest()}"


def verify(secret: str, header: str, body: bytes, now: float, tolerance: float = TOLERANCE) -> bool:
    """Whether a `ToneTrack-Signature` is of this body and no older than `tolerance` seconds: a receiver's part.

    The body is to be taken as it came, before anything parses it:

        if not verify(secret, request.headers["ToneTrack-Signature"], await request.body(), time.time()):
            raise HTTPException(401)
    """
    parts = dict(part.strip().partition("=")[::2] for part in header.split(","))
    stamp = parts.get("t", "")
    if not re.fullmatch(r"[0-9]{1,12}", stamp) or abs(now - int(stamp)) > tolerance:
        return False
    expected = signature(secret, int(stamp), body).partition("v1=")[2]
    return hmac.compare_digest(expected.encode(), parts.get("v1", "").encode())
