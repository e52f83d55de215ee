"""The Google diariser: the real client over real gRPC to a server of our own, and whose tags are whose."""

from __future__ import annotations

import asyncio
import pickle
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.auth.compute_engine import _metadata
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.speech_v1p1beta1 import RecognitionConfig, RecognizeRequest
from pydantic import ValidationError

from pipeline.diarisation.google import (
    LONGEST,
    GoogleDiariser,
    GoogleSettings,
    GoogleUnavailable,
    Hints,
)
from pipeline.diarisation.tags import LIKENESS, REPEATED_SECONDS, TaggedWord, speakers_of, turns_of
from pipeline.timeline import CHUNK_SECONDS, SAMPLE_RATE, Turn
from tests.google_server import GoogleServer, Reply, google_server, in_turn
from tests.service import free_port

SECOND = np.arange(SAMPLE_RATE, dtype=np.int16)
HELLO = Reply.of([("hello", 0.1, 0.5, 1)])


@asynccontextmanager
async def diariser(endpoint: str, **settings: Any) -> AsyncIterator[GoogleDiariser]:
    """A diariser that speaks to our server."""
    google = GoogleDiariser(GoogleSettings(endpoint=endpoint, **{"insecure": True, "deadline": 10.0} | settings))
    try:
        yield google
    finally:
        await google.close()


async def hear(*replies: Reply, start: int = 0, **settings: Any) -> tuple[list[TaggedWord], GoogleServer]:
    """The words of a second of sound, where the server answers with these replies in turn."""
    async with google_server(in_turn(*replies)) as server, diariser(server.endpoint, **settings) as google:
        return await google.hear(SECOND, start), server


async def refusal(*replies: Reply, **settings: Any) -> tuple[GoogleUnavailable, GoogleServer]:
    """Why a second of sound is not heard, and the server that did not hear it."""
    async with google_server(in_turn(*replies)) as server, diariser(server.endpoint, **settings) as google:
        with pytest.raises(GoogleUnavailable) as refused:
            await google.hear(SECOND, 0)
        return refused.value, server


def failing(status: grpc.StatusCode, details: str = "") -> Reply:
    return Reply(status=status, details=details)


def turn(start: float, end: float, speaker: int) -> Turn:
    return Turn(id=round(start * 1000), start=start, end=end, speaker=speaker, final=True)


async def test_the_request_asks_for_speakers_and_times_and_holds_the_sound() -> None:
    _, server = await hear(HELLO, language="de-DE", max_speakers=4, model="latest_long")
    (request,) = server.requests
    config = request.config
    assert config.encoding == RecognitionConfig.AudioEncoding.LINEAR16
    assert config.sample_rate_hertz == SAMPLE_RATE
    assert config.language_code == "de-DE"
    assert config.model == "latest_long"
    assert config.enable_word_time_offsets
    assert config.enable_automatic_punctuation
    assert config.diarization_config.enable_speaker_diarization
    assert (config.diarization_config.min_speaker_count, config.diarization_config.max_speaker_count) == (1, 4)
    assert request.audio.content == SECOND.astype("<i2").tobytes()


async def test_a_conversation_may_bring_hints_of_its_own() -> None:
    async with google_server(in_turn(HELLO)) as server, diariser(server.endpoint, max_speakers=2) as google:
        await google.hear(SECOND, 0, Hints(language="hu-HU", max_speakers=5))
        await google.hear(SECOND, 0)
    hinted, plain = (request.config for request in server.requests)
    assert (hinted.language_code, hinted.diarization_config.max_speaker_count) == ("hu-HU", 5)
    assert (plain.language_code, plain.diarization_config.max_speaker_count) == ("en-US", 2)
    assert plain.model == ""


async def test_only_the_last_result_is_told_and_it_tells_all() -> None:
    before = (("one", 0.0, 0.2, 0),), (("two", 0.4, 0.6, 3),)
    last = (("one", 0.0, 0.2, 2), ("two", 0.4, 0.6, 1))
    words, _ = await hear(Reply((*before, last)))
    assert [(word.text, word.tag) for word in words] == [("one", 2), ("two", 1)]


async def test_words_come_in_order_of_time() -> None:
    words, _ = await hear(Reply.of([("late", 0.5, 0.7, 1), ("early", 0.1, 0.3, 2)]))
    assert [word.text for word in words] == ["early", "late"]


async def test_nanoseconds_are_kept_and_times_are_the_conversations() -> None:
    """The client's own durations have microseconds: what is finer was lost."""
    words, _ = await hear(Reply.of([("x", 0.123456789, 0.987654321, 1)]), start=90 * SAMPLE_RATE)
    assert words[0].start == pytest.approx(90.123456789, abs=1e-12)
    assert words[0].end == pytest.approx(90.987654321, abs=1e-12)


async def test_silence_has_no_words() -> None:
    words, server = await hear(Reply())
    assert words == []
    assert len(server.requests) == 1


async def test_no_sound_is_no_request() -> None:
    async with google_server(in_turn(HELLO)) as server, diariser(server.endpoint) as google:
        assert await google.hear(SECOND[:0], 0) == []
    assert server.requests == []


@pytest.mark.parametrize(
    "audio",
    [np.zeros(round(LONGEST * SAMPLE_RATE) + 1, np.int16), SECOND.astype(np.float32), SECOND.reshape(2, -1)],
    ids=["too long", "not int16", "two channels"],
)
async def test_what_google_would_not_take_is_not_sent(audio: Any) -> None:
    async with google_server(in_turn(HELLO)) as server, diariser(server.endpoint) as google:
        with pytest.raises(ValueError, match=r"needed|too long"):
            await google.hear(audio, 0)
    assert server.requests == []


async def test_a_whole_minute_is_sent() -> None:
    async with google_server(in_turn(HELLO)) as server, diariser(server.endpoint) as google:
        assert await google.hear(np.zeros(round(LONGEST * SAMPLE_RATE), np.int16), 0)


@pytest.mark.parametrize(
    "status", ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL", "UNKNOWN", "ABORTED", "DEADLINE_EXCEEDED"]
)
async def test_what_may_pass_is_tried_again(status: str) -> None:
    words, server = await hear(failing(grpc.StatusCode[status]), HELLO)
    assert [word.text for word in words] == ["hello"]
    assert len(server.requests) == 2
    assert server.requests[0] == server.requests[1]


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        ("UNAUTHENTICATED", "credentials", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("PERMISSION_DENIED", "permission", "billing"),
        ("DATA_LOSS", "failure", "try again later"),
    ],
)
async def test_what_does_not_pass_is_not_tried_again(status: str, code: str, advice: str) -> None:
    error, server = await refusal(failing(grpc.StatusCode[status], "the key is TOPSECRET"), language="xx-XX")
    assert error.code == code
    assert advice in error.message
    assert "TOPSECRET" not in str(error)
    assert "TOPSECRET" in str(error.__cause__), "whoever runs this reads in the log what Google said"
    assert len(server.requests) == 1


async def test_what_google_refuses_is_told_in_its_own_words() -> None:
    """Whatever was wrong with a request was called a matter of the language."""
    words = "Invalid recognition 'config':\nthe model\x07 does not exist. " + "x" * 999
    refused = failing(grpc.StatusCode.INVALID_ARGUMENT, words)
    error, server = await refusal(refused, language="xx-XX", model="made_up")
    assert error.code == "refused"
    assert "(language: 'xx-XX', model: made_up)" in error.message
    assert "It says: Invalid recognition 'config': the model does not exist. xxx" in error.message
    assert len(error.message) < 300
    assert len(server.requests) == 1


async def test_a_quota_used_up_for_long_is_named() -> None:
    error, server = await refusal(failing(grpc.StatusCode.RESOURCE_EXHAUSTED), deadline=1.5)
    assert error.code == "quota"
    assert "quota" in error.message
    assert len(server.requests) > 1


async def test_the_deadline_holds_for_an_answer_that_does_not_come() -> None:
    began = time.monotonic()
    error, _ = await refusal(Reply(delay=20), deadline=0.5)
    assert time.monotonic() - began < 2
    assert error.code == "deadline"
    assert "0.5 s" in error.message


async def test_the_deadline_holds_for_all_tries_together() -> None:
    """The client gives a try that begins within the last second the whole time again."""
    began = time.monotonic()
    error, _ = await refusal(failing(grpc.StatusCode.UNAVAILABLE), Reply(delay=20), deadline=1.2)
    assert time.monotonic() - began < 2.5
    assert error.code == "network"


async def test_a_server_that_comes_back_is_found_again() -> None:
    port = free_port()
    async with diariser(f"127.0.0.1:{port}") as google:
        async with google_server(in_turn(HELLO, Reply(delay=20)), port):
            assert await google.hear(SECOND, 0)
            waiting = asyncio.create_task(google.hear(SECOND, 0))
            await asyncio.sleep(0.2)
        assert not waiting.done()
        async with google_server(in_turn(HELLO), port):
            assert [word.text for word in await waiting] == ["hello"]


async def test_nobody_there_is_a_matter_of_the_network() -> None:
    async with diariser(f"127.0.0.1:{free_port()}", deadline=1.0) as google:
        with pytest.raises(GoogleUnavailable, match=r"cannot be reached at 127\.0\.0\.1") as refused:
            await google.hear(SECOND, 0)
    assert refused.value.code == "network"


async def test_words_without_any_tag_are_a_matter_of_the_language() -> None:
    """A language without diarisation is answered with words and no tags; taken for silence, nobody would be heard."""
    error, _ = await refusal(Reply(((("szia", 0.1, 0.4, 0),),)), language="hu-HU")
    assert error.code == "language"
    assert "'hu-HU'" in error.message


async def test_many_conversations_share_one_connection_and_it_may_be_closed_twice() -> None:
    async with google_server(in_turn(HELLO)) as server, diariser(server.endpoint) as google:
        heard = await asyncio.gather(*(google.hear(SECOND, start * SAMPLE_RATE) for start in range(8)))
        assert sorted(int(words[0].start) for words in heard) == list(range(8))
        await google.close()
        assert await google.hear(SECOND, 0), "closed, it opens anew"


def test_a_failure_crosses_processes() -> None:
    """With its sentence alone as an argument it could not be unpickled."""
    error = pickle.loads(pickle.dumps(GoogleUnavailable("quota", "Google's quota is used up.")))
    assert (error.code, error.message, str(error)) == ("quota", "Google's quota is used up.", error.message)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without credentials that is not one of Google's."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "NO_GCE_CHECK", "GOOGLE_API_USE_CLIENT_CERTIFICATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setattr(_metadata, "_GCE_PRODUCT_NAME_FILE", str(tmp_path / "none"))


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("content", [None, "not JSON", '{"type": "service_account", "private_key": "TOPSECRET"}'])
async def test_a_key_file_that_is_none_is_told_at_once(
    content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = tmp_path / "key.json"
    if content is not None:
        key.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    google = GoogleDiariser(GoogleSettings())
    began = time.monotonic()
    with pytest.raises(GoogleUnavailable, match="GOOGLE_APPLICATION_CREDENTIALS") as refused:
        await google.hear(SECOND, 0)
    await google.close()
    assert time.monotonic() - began < 2
    assert refused.value.code == "credentials"
    assert "TOPSECRET" not in str(refused.value)


@pytest.mark.usefixtures("nowhere")
async def test_the_search_for_credentials_keeps_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key Google's library asks a metadata server, for many seconds where nobody answers."""
    asked, released = asyncio.Event(), asyncio.Event()

    async def metadata(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await released.wait()
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(metadata, "127.0.0.1", 0)
    monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    google = GoogleDiariser(GoogleSettings(deadline=0.5))
    began = time.monotonic()
    with pytest.raises(GoogleUnavailable) as late:
        await google.hear(SECOND, 0)
    assert time.monotonic() - began < 2
    assert late.value.code == "credentials"
    assert asked.is_set()
    released.set()
    with pytest.raises(GoogleUnavailable) as none:
        await google.hear(SECOND, 0)
    assert none.value.code == "credentials"
    assert isinstance(none.value.__cause__, DefaultCredentialsError)
    server.close()


@pytest.mark.parametrize("wrong", [{"insecure": True}, {"max_speakers": 0}, {"deadline": 0}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GoogleSettings(**wrong)


class Talk:
    """A conversation of three people over five chunks, as Google tells it: with new tags for every request.

    `words`: their starts, ends and who says them, in turns of 2 to 4 s.
    """

    def __init__(self, rng: random.Random, in_order: bool) -> None:
        self._rng = rng
        self.words: list[tuple[float, float, int]] = []
        self.tags: dict[int, int] = {}
        self.asked = 0.0
        clock, person = 0.5, 1
        while clock < 5 * CHUNK_SECONDS - 6:
            for _ in range(rng.randint(5, 9)):
                self.words.append((clock, clock + 0.3, person))
                clock += 0.4
            clock += rng.uniform(0.3, 1)
            person = person % 3 + 1 if in_order else rng.choice([other for other in (1, 2, 3) if other != person])

    def reply(self, request: RecognizeRequest) -> Reply:
        """What is said from the second `asked` on, for as long as the request's sound lasts."""
        start, end = self.asked, self.asked + len(request.audio.content) / 2 / SAMPLE_RATE
        self.tags = dict(zip((1, 2, 3), self._rng.sample((1, 2, 3), 3), strict=True))
        return Reply.of(
            [("word", s - start, e - start, self.tags[who]) for s, e, who in self.words if start <= s < end]
        )

    def names(self, turns: list[Turn]) -> set[tuple[int, int]]:
        """The pairs (who said a word, whose turn holds it)."""
        middles = [((start + end) / 2, who) for start, end, who in self.words]
        return {(who, turn.speaker) for middle, who in middles for turn in turns if middle in turn}


@pytest.mark.parametrize("in_order", [True, False], ids=["all in every tail", "known by voice"])
@pytest.mark.parametrize("seed", range(3))
async def test_a_conversation_keeps_its_speakers_while_tags_change_hands(seed: int, in_order: bool) -> None:
    talk = Talk(random.Random(seed), in_order)
    turns: list[Turn] = []

    def likeness(tag: int, speaker: int) -> float:
        same = any(talk.tags[who] == tag for who, name in talk.names(turns) if name == speaker)
        return LIKENESS + (0.1 if same and not in_order else -0.1)

    async with google_server(talk.reply) as server, diariser(server.endpoint) as google:
        for chunk in range(5):
            since, until = chunk * CHUNK_SECONDS, (chunk + 1) * CHUNK_SECONDS
            talk.asked = max(0.0, since - REPEATED_SECONDS)
            audio = np.zeros(round((until - talk.asked) * SAMPLE_RATE), np.int16)
            words = await google.hear(audio, round(talk.asked * SAMPLE_RATE))
            speakers = speakers_of(words, turns, likeness, before=since)
            for told in turns_of(words, since, until):
                newcomer = 1 + max((turn.speaker for turn in turns), default=0)
                speaker = speakers[told.tag] = speakers[told.tag] or newcomer
                turns.append(turn(told.start, told.end, speaker))
    assert {turn.speaker for turn in turns} == {1, 2, 3}
    assert len(talk.names(turns)) == 3, "everybody has one number, and every number one person"
    assert sum(turn.duration for turn in turns) == pytest.approx(0.39 * len(talk.words), rel=0.05)
