"""The diariser that asks Google: every chunk goes to Speech-to-Text together with the tail of the one before it.

The answer is words, each with a tag that stands for one voice of this one request; the next request may tag the same
voices otherwise. `pipeline.diarisation.tags` finds who they are.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal

import google.auth
import grpc  # type: ignore[import-untyped]
import numpy as np
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.api_core.retry import AsyncRetry
from google.auth.exceptions import GoogleAuthError
from google.cloud import speech_v1p1beta1 as speech
from google.cloud.speech_v1p1beta1.services.speech.transports import SpeechGrpcAsyncIOTransport as Transport
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.diarisation.tags import REQUEST_SECONDS, TaggedWord
from pipeline.timeline import SAMPLE_RATE

LONGEST: Final = REQUEST_SECONDS  # that Google takes; they are 2 MB here, so its limit of 10 MB is never met

FEWEST: Final = 1  # voices in a request, however many people talk in all; Google's own 2 would split a monologue
GOOGLES_MOST: Final = 6  # voices that Google looks for unless told otherwise

MOST_SAID: Final = 200  # characters of Google's own words that people are told

Code = Literal["credentials", "permission", "quota", "deadline", "refused", "language", "network", "failure"]

ADVICE: Final[dict[Code, str]] = {
    "credentials": "Google got no credentials that it accepts: let GOOGLE_APPLICATION_CREDENTIALS name the key file of "
    "a service account, or run `gcloud auth application-default login`.",
    "permission": "Google does not let these credentials use Speech-to-Text: turn on its API and billing for them.",
    "quota": "Google's quota is used up: ask for a larger one, or record fewer conversations at a time.",
    "deadline": "Google did not answer within {deadline:g} s: try again later, or allow more time.",
    "refused": "Google refuses what it is asked (language: {language!r}, model: {model}). It says: {said}",
    "language": "Google tells no speakers apart in {language!r} (model: {model}): choose another language or model.",
    "network": "Google cannot be reached at {endpoint}: check the network, the proxy and the endpoint.",
    "failure": "Google failed to answer: try again later.",
}


class GoogleUnavailable(RuntimeError):
    """Google told nothing. `message` says why and what to do, without a secret.

    Google's own words are the cause's; of them the message repeats only what is wrong with a request.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code, message)  # both, to survive pickling
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class Hints(BaseModel):
    """What is known of a conversation beforehand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    language: str = Field("en-US", min_length=2, description="BCP-47 tag of the language spoken")
    max_speakers: int = Field(GOOGLES_MOST, ge=1, description="most voices in a request")


class GoogleSettings(Hints):
    """How to reach Google, with the Application Default Credentials, and hints for conversations that bring none."""

    model: str | None = Field(None, min_length=1, description="Google's recognition model; None: Google's choice")
    deadline: float = Field(25.0, gt=0, description="seconds for a request with all its retries; a chunk lasts 30")
    endpoint: str | None = Field(None, min_length=1, description="host:port; None: speech.googleapis.com")
    insecure: bool = Field(False, description="speak to the endpoint without TLS and credentials")

    @model_validator(mode="after")
    def _in_the_clear_only_elsewhere(self) -> GoogleSettings:
        if self.insecure and self.endpoint is None:
            raise ValueError("without TLS an endpoint is needed: Google's own takes none")
        return self


class GoogleDiariser:
    """A client of Speech-to-Text for any number of conversations of one event loop; keeps nothing of them."""

    def __init__(self, settings: GoogleSettings) -> None:
        self._settings = settings
        self._opening: asyncio.Task[speech.SpeechAsyncClient] | None = None

    async def hear(self, audio: NDArray[np.int16], start: int, hints: Hints | None = None) -> list[TaggedWord]:
        """The words in int16 samples (n,) at SAMPLE_RATE, the first being sample `start` of the conversation.

        In order of time; none where nobody speaks. Busy or broken lines are tried again, waiting longer each time.

        Raises GoogleUnavailable, at the latest after the settings' deadline, and ValueError for what cannot be sent:
        other samples than these, or more than LONGEST seconds.
        """
        if audio.dtype != np.int16 or audio.ndim != 1:
            raise ValueError(f"int16 samples (n,) are needed, not {audio.dtype} {audio.shape}")
        if len(audio) > LONGEST * SAMPLE_RATE:
            raise ValueError(f"{len(audio) / SAMPLE_RATE:g} s are too long: Google takes {LONGEST:g} s in one request")
        if not audio.size:
            return []
        hints = hints or self._settings
        request = _request(audio, hints, self._settings.model)
        failed: list[Exception] = []
        retry = AsyncRetry(_may_pass, initial=0.5, maximum=8.0, timeout=None, on_error=failed.append)
        try:
            async with asyncio.timeout(self._settings.deadline):  # the client's own would start anew when 1 s is left
                client = await self._client()
                response = await client.recognize(request, retry=retry, timeout=self._settings.deadline)
        except (exceptions.GoogleAPIError, GoogleAuthError, OSError) as error:
            reason = failed[-1] if failed and isinstance(error, TimeoutError) else error  # what used the time up
            raise self._unavailable(_code_of(reason), hints, _said(reason)) from reason
        words = _words(response, start / SAMPLE_RATE)
        if words and not any(word.tag for word in words):
            raise self._unavailable("language", hints)
        return [word for word in words if word.tag]

    async def close(self) -> None:
        """Close the connection and cancel what still waits for an answer. `hear` would open another one."""
        opening, self._opening = self._opening, None
        if opening is not None and not opening.cancel() and opening.exception() is None:
            transport: Any = opening.result().transport
            await transport.close()

    async def _client(self) -> speech.SpeechAsyncClient:
        """The client that all share; where it could not be opened, the next request tries again."""
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def _open(self) -> speech.SpeechAsyncClient:
        endpoint = self._settings.endpoint
        if self._settings.insecure:
            channel = grpc.aio.insecure_channel(endpoint)
            return speech.SpeechAsyncClient(transport=Transport(channel=channel))
        # In a thread, as it may wait seconds for a metadata server that is not there:
        credentials, _ = await asyncio.to_thread(google.auth.default, default_scopes=Transport.AUTH_SCOPES)
        return speech.SpeechAsyncClient(credentials=credentials, client_options=ClientOptions(api_endpoint=endpoint))

    def _unavailable(self, code: Code, hints: Hints, said: str = "") -> GoogleUnavailable:
        if code == "deadline" and not (self._opening and self._opening.done()):
            code = "credentials"  # all that takes time before a request
        deadline, model = self._settings.deadline, self._settings.model or "Google's choice"
        endpoint = self._settings.endpoint or speech.SpeechAsyncClient.DEFAULT_ENDPOINT
        told = {"deadline": deadline, "endpoint": endpoint, "language": hints.language, "model": model, "said": said}
        message = ADVICE[code].format(**told)
        return GoogleUnavailable(code, message)


def _request(audio: NDArray[np.int16], hints: Hints, model: str | None) -> speech.RecognizeRequest:
    diarization = speech.SpeakerDiarizationConfig(
        enable_speaker_diarization=True, min_speaker_count=FEWEST, max_speaker_count=hints.max_speakers
    )
    config = speech.RecognitionConfig(
        encoding=speech.RecognitionConfig.AudioEncoding.LINEAR16,
        sample_rate_hertz=SAMPLE_RATE,
        language_code=hints.language,
        model=model,
        enable_word_time_offsets=True,
        enable_automatic_punctuation=True,
        diarization_config=diarization,
    )
    sound = speech.RecognitionAudio(content=audio.astype("<i2").tobytes())
    return speech.RecognizeRequest(config=config, audio=sound)


def _words(response: speech.RecognizeResponse, start: float) -> list[TaggedWord]:
    """The words of the last result, which holds all words of the audio, and it alone their tags."""
    # Durations of the bare message: the wrapper's have no more than microseconds.
    results = [result for result in speech.RecognizeResponse.pb(response).results if result.alternatives]
    words = [
        TaggedWord(start + _seconds(word.start_time), start + _seconds(word.end_time), word.word, word.speaker_tag)
        for result in results[-1:]
        for word in result.alternatives[0].words
    ]
    return sorted(words, key=lambda word: (word.start, word.end))


def _seconds(duration: Any) -> float:
    return float(duration.seconds + duration.nanos / 1e9)


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    passing = exceptions.InternalServerError | exceptions.Unknown | exceptions.Aborted
    return isinstance(error, passing) or _code_of(error) in {"quota", "deadline", "network"}


def _code_of(error: Exception) -> Code:
    match error:
        case exceptions.GatewayTimeout() | TimeoutError():
            return "deadline"
        case GoogleAuthError() | exceptions.Unauthorized() | OSError():  # an OSError: a key file that cannot be read
            return "credentials"
        case exceptions.ServiceUnavailable():  # to gRPC also a token that could not be had
            return "credentials" if "metadata from plugin" in error.message else "network"
        case exceptions.Forbidden() | exceptions.FailedPrecondition():
            return "permission"
        case exceptions.TooManyRequests():
            return "quota"
        case exceptions.BadRequest():
            return "refused"
        case _:
            return "failure"


def _said(error: Exception) -> str:
    """What Google said, in a line."""
    words = str(error.message) if isinstance(error, exceptions.GoogleAPICallError) else ""
    return " ".join("".join(char if char.isprintable() else " " for char in words).split())[:MOST_SAID]
