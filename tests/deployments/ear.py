"""What a Google of our own hears: it knows the talk by heart."""

from __future__ import annotations

import random

import grpc
import numpy as np
from google.cloud.speech_v1p1beta1 import RecognizeRequest

from pipeline.timeline import SAMPLE_RATE
from tests.google_server import Reply
from tests.service import Pcm
from tests.talkers import HIGH, LOW, SOFT, Said, conversation, small_talk

STEP = 0.4  # s from word to word
Spoken = tuple[Pcm, list[Said]]


def three_talk(seconds: float) -> Spoken:
    """Three people who talk for so many seconds."""
    audio, said = conversation((LOW, HIGH, SOFT), small_talk(talkers=3, seconds=seconds - 2, seed=7), seed=7)
    pcm = np.round(audio * 32_767).astype(np.int16)
    return np.pad(pcm, (0, round(seconds * SAMPLE_RATE) - len(pcm))), said


def refusal(status: str) -> Reply:
    """What Google answers where it does not, with details that nobody may come to read."""
    return Reply(status=grpc.StatusCode[status], details="TOPSECRET")


class Ear:
    """Google, as it would hear a talk: it finds the sound it is sent in there, and gives everyone a new tag each time.

    `asked`: the seconds that each request held, (-1, -1) for other sound. `replies` come before what was heard.
    `delays`: the seconds that an answer takes, by the second at which the sound ends.
    """

    def __init__(self, talk: Spoken, *replies: Reply, delays: dict[float, float] | None = None) -> None:
        self._sound, self.said = talk[0].tobytes(), talk[1]
        self._replies = list(replies)
        self._delays = delays or {}
        self._rng = random.Random(1)
        self.asked: list[tuple[float, float]] = []
        self.requests: list[RecognizeRequest] = []

    def __call__(self, request: RecognizeRequest) -> Reply:
        self.requests.append(request)
        content = request.audio.content
        first = self._sound.find(content)
        start, end = (first / 2 / SAMPLE_RATE, (first + len(content)) / 2 / SAMPLE_RATE) if first >= 0 else (-1.0, -1.0)
        self.asked.append((start, end))
        if self._replies:
            return self._replies.pop(0)
        tags = self._rng.sample(range(1, 7), 6)
        words = [("so", at - start, at + 0.3 - start, tags[who]) for at, who in self.words() if start <= at < end]
        return Reply(Reply.of(words).results, delay=self._delays.get(end, 0.0))

    def words(self) -> list[tuple[float, int]]:
        """When each word begins, and who says it."""
        return [(at, said.talker) for said in self.said for at in np.arange(said.start, said.end - 0.3, STEP).tolist()]
