"""A conversation that the real client asks about over real gRPC, where an answer does not come, or has no word."""

from __future__ import annotations

import random

import grpc
import numpy as np
import pytest
from google.cloud.speech_v1p1beta1 import RecognizeRequest

from pipeline.alignment import SpeakerMemory
from pipeline.diarisation import Unit
from pipeline.diarisation.google import GoogleDiariser, GoogleUnavailable
from pipeline.diarisation.tags import REPEATED_SECONDS, TaggedWord
from pipeline.timeline import CHUNK_SECONDS, SAMPLE_RATE
from pipeline.voiceprint import SIZE
from tests.google_server import Reply, google_server
from tests.pipeline.test_google import Talk, diariser

CHANGES = 2  # who sounds otherwise and otherwise, the longer it lasts
PER_SECOND = np.radians(1.0)
MISSING = 2  # the chunk, from 0


def voiceprint(who: int, at: float) -> np.ndarray:
    voice = np.random.default_rng(round(at * 1000)).normal(0, 0.05, SIZE)
    turned = PER_SECOND * at if who == CHANGES else 0.0
    voice[who] += np.cos(turned)
    voice[-who] += np.sin(turned)
    return (voice / np.linalg.norm(voice)).astype(np.float16)


def units(talk: Talk, since: float, until: float) -> list[Unit]:
    """What the local diariser hears of the words that begin in [since, until)."""
    stretches = [(round(s * SAMPLE_RATE), round(e * SAMPLE_RATE), s, who) for s, e, who in talk.words]
    return [Unit(a, b, a, voiceprint(who, s)) for a, b, s, who in stretches if since <= s < until]


async def asked(google: GoogleDiariser, talk: Talk, since: float, until: float) -> list[TaggedWord]:
    talk.asked = max(0.0, since - REPEATED_SECONDS)
    audio = np.zeros(round((until - talk.asked) * SAMPLE_RATE), np.int16)
    try:
        return await google.hear(audio, round(talk.asked * SAMPLE_RATE))
    except GoogleUnavailable:
        return []


@pytest.mark.parametrize(
    "missing", [Reply(status=grpc.StatusCode.UNAVAILABLE), Reply()], ids=["unavailable", "not a word"]
)
@pytest.mark.parametrize("seed", range(3))
async def test_everybody_stays_who_they_are_where_an_answer_is_missing(seed: int, missing: Reply) -> None:
    """Nothing is settled in what the next request repeats: who had changed meanwhile became somebody new."""
    talk, memory = Talk(random.Random(seed), in_order=False), SpeakerMemory()

    def reply(request: RecognizeRequest) -> Reply:
        told = talk.reply(request)
        return missing if talk.asked == MISSING * CHUNK_SECONDS - REPEATED_SECONDS else told

    async with google_server(reply) as server, diariser(server.endpoint, deadline=1.0) as google:
        for chunk in range(5):
            since, until = chunk * CHUNK_SECONDS, (chunk + 1) * CHUNK_SECONDS
            for second in np.arange(since, until, 2).tolist():
                memory.learn(units(talk, second, second + 2))
            speakers = memory.tell(await asked(google, talk, since, until), since, until)
            assert bool(speakers) == (chunk != MISSING)
    names = talk.names(memory.turns())
    assert {who for who, _ in names} == {speaker for _, speaker in names} == {1, 2, 3}
    assert len(names) == 3, "everybody has one number, and every number one person"
