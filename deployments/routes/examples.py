"""What the API's description shows of recordings."""

from __future__ import annotations

from typing import Any, Final

from deployments.multipart import FILE
from deployments.routes.refusals import Responses, refusal
from pipeline.exports import FORMATS
from pipeline.job import RecordingRequest

JOB: Final[dict[str, Any]] = {
    "id": "6e5fd21904d7ec8d",
    "name": "Session of 12 March",
    "purpose": "therapy",
    "state": "running",
    "created_at": 1767225600.123456,
    "started_at": 1767225601.5,
    "step": "who speaks",
    "done": 1260.0,
    "seconds": 3000.0,
    "progress": 0.294,
    "tries": 1,
    "file": "session.m4a",
    "bytes": 24117248,
    "media_type": "audio/mp4",
    "channels": 2,
    "channels_as": "mix",
    "min_speakers": 2,
    "max_speakers": 2,
    "keep_audio": False,
    "audio": True,
    "webhook": "https://example.org/heard",
}
TAKEN_IN: Final[dict[str, Any]] = JOB | {
    "state": "queued",
    "position": 3,
    "started_at": None,
    "step": None,
    "done": 0.0,
    "progress": 0.0,
    "tries": 0,
    "key": "…",
    "viewer_key": "…",
    "webhook_secret": "whsec_…",
}
_SCHEMA: Final[dict[str, Any]] = RecordingRequest.model_json_schema()
UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FILE, *_SCHEMA["required"]],
                    "properties": {
                        FILE: {"type": "string", "format": "binary", "description": "any audio, or video with sound"},
                        **_SCHEMA["properties"],
                    },
                },
                "example": {FILE: "session.m4a", "purpose": "therapy", "consent": True, "max_speakers": 2},
            }
        },
    }
}
TIMELINES: Final[Responses] = {
    200: {
        "description": "the timeline",
        "content": {
            "application/json": {"example": {"heard_until": 12.5, "ended": True, "speakers": [1], "turns": []}},
            **{
                form.media_type: {"schema": {"type": "string"}}
                for form in FORMATS.values()
                if "json" not in form.media_type
            },
            FORMATS["chunks.json"].media_type: {
                "example": [{"1": {"start_times": [0.5], "end_times": [2.0], "emotion": ["calm", "unsure"]}}]
            },
        },
    },
    406: refusal("no such format"),
    409: refusal("it is not heard yet, or never will be"),
}
SOUND: Final[Responses] = {
    200: {"description": "the sound", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "a part of it", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
    416: refusal("a range beyond its end"),
    429: refusal("too many requests, wrong keys or downloads of sound from this address, or here; see Retry-After"),
}
UPLOAD_REFUSALS: Final[Responses] = {
    401: refusal("no API key, where the server requires one"),
    403: refusal("nothing was ever uploaded under this key, or the API key opens nothing"),
    404: refusal("no such voice"),
    408: refusal("nothing came for too long"),
    409: refusal("the same upload is on its way, or was taken over, by another connection"),
    413: refusal("too big or too long"),
    415: refusal("no recording"),
    422: refusal("encrypted, damaged beyond use, without consent, or a form that makes no sense"),
    429: refusal("too many in a minute, or too many of one caller wait; see Retry-After"),
    503: refusal("too many wait, or the place where sound is kept is away; see Retry-After"),
    507: refusal("no room for more sound; see Retry-After"),
}
