"""Who has looked at a session or a recording, in Redis, for whoever recorded or uploaded it:

    tonetrack:{id}:looks    list    looks as JSON, the oldest first; goes with what it is of

Of whoever looks, nothing is kept but what their key allows and what they saw: no addresses, no devices. A page that
polls and a stream that comes back are one look: looks of one kind, with a key of one kind, that follow each other
within `GAP` seconds are told as one, from the first of them to the last. So it does not tell how many people look.
"""

from __future__ import annotations

import time
from typing import Any, Final, Literal

from pydantic import BaseModel, Field
from redis.asyncio import Redis

from pipeline.published import SCRIPTS, session_key
from pipeline.session import Role

GAP: Final = 600.0  # s
AGAIN: Final = 240.0  # s after which what still looks is noted again: several times within a gap
MOST: Final = 1_000  # looks that are kept: the first with each key of each kind, and the newest
Kind = Literal["page", "timeline", "events", "audio", "report", "export"]


class Look(BaseModel):
    """A look, or several that are told as one. Times are Unix seconds."""

    who: Literal["recorder", "owner", "viewer"] = Field(
        description="recorder or owner: with the key that recorded or uploaded it; viewer: with the viewer key"
    )
    what: Kind = Field(description="page: where it is drawn; export: as a file, in any format")
    since: float
    until: float


class Looks:
    """Looks in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._note = redis.register_script((SCRIPTS / "look.lua").read_text())

    async def note(self, session: str, role: Role, what: Kind) -> None:
        """Write down that somebody looks, now; nothing where there is no such session or recording any more."""
        keys = [session_key(session, suffix) for suffix in ("looks", "", "job")]
        await self._note(keys=keys, args=[role.value, what, repr(time.time()), GAP, MOST])

    async def of(self, session: str) -> list[Look]:
        """All looks that are known, the newest first."""
        entries = await self._redis.lrange(session_key(session, "looks"), 0, -1)
        looks = [Look.model_validate_json(entry) for entry in entries]
        return sorted(looks, key=lambda look: look.until, reverse=True)
