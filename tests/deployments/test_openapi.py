"""Whatever the API's description allows to be asked, and what it does not, is answered as the description says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import schemathesis.specs.openapi.schemas
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from requests import Session as Http
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from deployments.client import Session, add_voice
from tests.deployments.test_speakers import alone
from tests.service import Pcm, Service, record
from tests.talkers import LOW, Said
from tests.uploads import Uploaded, upload, wav_of

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
SECONDS = 20  # that an answer may take


@dataclass(frozen=True)
class Known:
    """What is there to be asked for: a session that was heard, a recording, a voice and its key."""

    session: Session
    recording: Uploaded
    voice: dict[str, Any]

    def keys(self, parameter: str) -> tuple[str, list[str]]:
        """Of the thing that a parameter of a path names: its id, and the keys that may look, or do more."""
        match parameter:
            case "session":
                return self.session.id, [self.session.viewer_key, self.session.recorder_key]
            case "recording":
                return self.recording.id, [self.recording.viewer_key, self.recording.key]
        return self.voice["id"], [self.voice["key"]]


@pytest.fixture(scope="module")
def known(
    service: Service, small_conversation: tuple[Pcm, list[Said]], tmp_path_factory: pytest.TempPathFactory
) -> Known:
    async def make() -> Known:
        sound = small_conversation[0]
        session, _, _ = await record(service.api, sound, pace=0)
        recording = await upload(service.api, wav_of(sound), keep_audio="true")
        await recording.until()
        folder: Path = tmp_path_factory.mktemp("voice")
        return Known(session, recording, await add_voice(service.api, alone(folder, LOW, 12), "Anna"))

    return asyncio.run(make())


def with_keys(case: Any, known: Known, draw: Callable[[Any], Any]) -> dict[str, str]:
    """Headers for a case, which now and then asks for what is there; what is there is not erased."""
    headers: dict[str, str] = {}
    for name in case.path_parameters:
        if name in ("session", "recording", "voice") and draw(st.integers(0, 3)):
            identity, keys = known.keys(name)
            looks = case.method == "DELETE"
            case.path_parameters[name] = identity
            headers["Authorization"] = f"Bearer {'wrong' if looks and len(keys) == 1 else keys[0 if looks else -1]}"
    if not case.path_parameters and draw(st.booleans()):
        headers["Authorization"] = f"Bearer {known.recording.key}"
    return headers


@pytest.mark.parametrize("examples", [4, pytest.param(20, marks=pytest.mark.long)])
def test_every_answer_is_as_described(service: Service, known: Known, examples: int) -> None:
    """A fuzzer asks by the document, and against it. No answer is a fault, and none is undescribed."""
    schema = schemathesis.openapi.from_url(f"{service.api}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 20
    wrong: list[str] = []
    flawless: set[str] = set()
    with Http() as http:
        for operation in operations:
            for mode in MODES:
                try:
                    ask(operation, mode, known, http, examples)
                except Unsatisfiable:
                    flawless.add(operation.path)
                except (Failure, FailureGroup) as fault:
                    wrong.append(f"{operation.label} ({mode.value}): {told(fault)}")
    assert flawless <= {"/healthz", "/readyz", "/v1/consent", "/v1/consent/{version}", "/v1/purposes"}
    assert not wrong, "\n".join(wrong)


def told(fault: Failure | FailureGroup) -> str:
    """What was found, and how to see it again."""
    parts = fault.exceptions if isinstance(fault, FailureGroup) else [fault]
    return "; ".join([str(part) for part in parts] + [str(fault)])


def ask(operation: Any, mode: Any, known: Known, http: Http, examples: int) -> None:
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data(), case=operation.as_strategy(generation_mode=mode))
    def asked(data: Any, case: Any) -> None:
        headers = with_keys(case, known, data.draw)
        answer = case.call(session=http, headers=headers, timeout=SECONDS)
        case.validate_response(answer, checks=CHECKS)

    asked()
