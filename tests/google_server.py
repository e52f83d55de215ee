"""A stand-in for Google Speech-to-Text: a gRPC server that speaks the real protocol and says what a test tells it to.

async with google_server(in_turn(Reply.of([("hello", 0.0, 0.4, 1)]))) as server:
    settings = GoogleSettings(endpoint=server.endpoint, insecure=True)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from google.cloud.speech_v1p1beta1 import (
    RecognizeRequest,
    RecognizeResponse,
    SpeechRecognitionAlternative,
    SpeechRecognitionResult,
    WordInfo,
)
from google.protobuf.duration_pb2 import Duration

Spoken = tuple[str, float, float, int]  # a word, its start and end in seconds of the request's audio, its tag


@dataclass(frozen=True)
class Reply:
    """What to answer: results, each with its words, or a status other than OK; after `delay` seconds."""

    results: tuple[tuple[Spoken, ...], ...] = ()
    status: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    delay: float = 0.0

    @classmethod
    def of(cls, words: list[Spoken]) -> Reply:
        """The answer to audio with these words, as Google gives it: told twice, and tagged the second time only."""
        untagged = tuple((text, start, end, 0) for text, start, end, _ in words)
        return cls((untagged, tuple(words)) if words else ())

    @property
    def response(self) -> RecognizeResponse:
        """The results as Google's message."""
        return RecognizeResponse(results=[_result(words) for words in self.results])


@dataclass
class GoogleServer:
    """A running server: where it is, and the requests that it got, in order."""

    endpoint: str
    requests: list[RecognizeRequest] = field(default_factory=list)


def in_turn(*replies: Reply) -> Callable[[RecognizeRequest], Reply]:
    """One reply after the other, the last one for ever."""
    rest = list(replies)
    return lambda request: rest.pop(0) if len(rest) > 1 else rest[0]


@asynccontextmanager
async def google_server(reply: Callable[[RecognizeRequest], Reply], port: int = 0) -> AsyncIterator[GoogleServer]:
    """A server that answers every request with its reply, on a free port unless one is given."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    google = GoogleServer(f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}")

    async def recognize(request: RecognizeRequest, context: grpc.aio.ServicerContext) -> RecognizeResponse:
        google.requests.append(request)
        answer = reply(request)
        await asyncio.sleep(answer.delay)
        if answer.status is not grpc.StatusCode.OK:
            await context.abort(answer.status, answer.details)
        return answer.response

    handler = grpc.unary_unary_rpc_method_handler(recognize, RecognizeRequest.deserialize, RecognizeResponse.serialize)
    service = "google.cloud.speech.v1p1beta1.Speech"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Recognize": handler}),))
    await server.start()
    try:
        yield google
    finally:
        await server.stop(None)


def _result(words: tuple[Spoken, ...]) -> SpeechRecognitionResult:
    told = [
        WordInfo(word=text, start_time=_duration(start), end_time=_duration(end), speaker_tag=tag)
        for text, start, end, tag in words
    ]
    transcript = " ".join(text for text, *_ in words)
    return SpeechRecognitionResult(alternatives=[SpeechRecognitionAlternative(transcript=transcript, words=told)])


def _duration(seconds: float) -> Duration:
    whole, nanos = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(seconds=whole, nanos=nanos)
