"""A conversation, what is heard in it here, and a recording of it that the service has heard."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest

from pipeline.media import decode
from tests.deployments.uploads.here import hear_here
from tests.service import Service
from tests.uploads import Json, Uploaded, upload, wav_of


@pytest.fixture(scope="session")
def wav(small_conversation: Any) -> bytes:
    return wav_of(small_conversation[0])


@pytest.fixture(scope="session")
def heard_here(wav: bytes) -> Json:
    return hear_here(decode(io.BytesIO(wav)))


@pytest.fixture(scope="session")
def done(service: Service, wav: bytes) -> Uploaded:
    """A recording that was heard, and whose sound is kept."""

    async def heard() -> Uploaded:
        recording = await upload(service.api, wav, "Größe <b>1.wav", keep_audio="true", language="de-CH")
        await recording.heard()
        return recording

    return asyncio.run(heard())
