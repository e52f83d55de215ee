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
from pipeline.consent import CURRENT
from tests.deployments.test_speakers import alone
from tests.service import Pcm, Service, record
from tests.talkers import LOW, Said
from tests.uploads import SAID, Uploaded, tiled, upload, wav_of

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
SECONDS = 20  # that an answer may take
# What a fuzzer hardly guesses, and a program sends; and what takes a recording that was given up, which others test.
SENT = {
    "POST /v1/sessions",
    "POST /v1/voices",
    "POST /v1/recordings",
    "POST /v1/recordings/{recording}/cancel",
    "PATCH /v1/sessions/{session}/speakers/{speaker}",
    "POST /v1/sessions/{session}/speakers/{speaker}/merge",
}
NEVER_DONE = {"POST /v1/recordings/{recording}/retry"}
THERE = {"version": CURRENT.version, "number": 0, "extension": "json"}  # what a path may ask for besides


@dataclass(frozen=True)
class Known:
    """What is there to be asked for, by the parameter of a path that names it: a session that was heard, a recording
    and a voice. Of each its id, and the keys that may look, or do more.
    """

    ids: dict[str, str]
    keys: dict[str, list[str]]

    @classmethod
    def of(cls, session: Session, recording: Uploaded, voice: dict[str, Any]) -> Known:
        ids = {"session": session.id, "recording": recording.id, "voice": voice["id"]}
        keys = {
            "session": [session.viewer_key, session.recorder_key],
            "recording": [recording.viewer_key, recording.key],
            "voice": [voice["key"]],
        }
        return cls(ids, keys)

    def renewed(self, parameter: str, answer: dict[str, Any]) -> None:
        """Keep the keys that an answer has put in the place of others."""
        for name, place in (("viewer_key", 0), ("recorder_key", -1), ("key", -1)):
            if name in answer:
                self.keys[parameter][place] = answer[name]


@pytest.fixture
def known(
    service: Service, small_conversation: tuple[Pcm, list[Said]], tmp_path_factory: pytest.TempPathFactory
) -> Known:
    async def make() -> Known:
        sound = small_conversation[0]
        session, _, _ = await record(service.api, sound, pace=0)
        recording = await upload(service.api, wav_of(sound), keep_audio="true")
        await recording.until()
        folder: Path = tmp_path_factory.mktemp("voice")
        return Known.of(session, recording, await add_voice(service.api, alone(folder, LOW, 12), "Anna"))

    return asyncio.run(make())


def with_keys(case: Any, known: Known, draw: Callable[[Any], Any]) -> dict[str, str]:
    """Headers for a case, which now and then asks for what is there, and now and then with a key that may only look."""
    headers: dict[str, str] = {}
    for name in case.path_parameters:
        if name in ("session", "recording", "voice") and draw(st.integers(0, 3)):
            identity, keys = known.ids[name], known.keys[name]
            case.path_parameters[name] = identity
            headers["Authorization"] = f"Bearer {keys[-1 if draw(st.integers(0, 3)) else 0]}"
        elif name in THERE and draw(st.integers(0, 3)):
            case.path_parameters[name] = THERE[name]
    if not case.path_parameters and draw(st.booleans()):
        headers["Authorization"] = f"Bearer {known.keys['recording'][-1]}"
    return headers


@pytest.mark.parametrize("examples", [4, pytest.param(20, marks=pytest.mark.long)])
def test_every_answer_is_as_described(service: Service, known: Known, examples: int) -> None:
    """A fuzzer asks by the document, and against it. No answer is a fault, and none is undescribed."""
    schema = schemathesis.openapi.from_url(f"{service.api}/openapi.json")
    operations = sorted(
        (found.ok() for found in schema.get_all_operations()),
        key=lambda operation: operation.method == "delete",  # from then on all of it is of what is not there any more
    )
    assert len(operations) >= 20
    wrong: list[str] = []
    flawless: set[str] = set()
    done: set[str] = set()
    with Http() as http:
        for operation in operations:
            for mode in MODES:
                try:
                    done |= ask(operation, mode, known, http, examples)
                except Unsatisfiable:
                    flawless.add(operation.path)
                except (Failure, FailureGroup) as fault:
                    wrong.append(f"{operation.label} ({mode.value}): {told(fault)}")
    assert flawless <= {"/healthz", "/readyz", "/v1/consent", "/v1/consent/{version}", "/v1/purposes"}
    assert not wrong, "\n".join(wrong)
    undone = {operation.label for operation in operations} - done - SENT - NEVER_DONE
    assert not undone, f"never done: {', '.join(sorted(undone))}"


def test_what_a_program_sends_is_answered_as_described(
    service: Service, known: Known, small_conversation: tuple[Pcm, list[Said]], tmp_path: Path
) -> None:
    schema = schemathesis.openapi.from_url(f"{service.api}/openapi.json")
    operations = {found.ok().label: found.ok() for found in schema.get_all_operations()}
    voice = {"file": ("anna.wav", alone(tmp_path, LOW, 12).read_bytes())}
    talk = {"file": ("talk.wav", wav_of(small_conversation[0]))}
    waiting = asyncio.run(upload(service.api, wav_of(tiled(small_conversation[0], 1_800))))
    session = {"session": known.ids["session"]}
    asked: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
        "POST /v1/sessions": ({}, "", {"json": {"purpose": "research", "consent": True}}),
        "POST /v1/voices": ({}, "", {"data": {"name": "Ben", "consent": "true"}, "files": voice}),
        "POST /v1/recordings": ({}, "", {"data": SAID, "files": talk}),
        "POST /v1/recordings/{recording}/cancel": ({"recording": waiting.id}, waiting.key, {}),
        "PATCH /v1/sessions/{session}/speakers/{speaker}": (
            session | {"speaker": 1},
            known.keys["session"][-1],
            {"json": {"name": "Anna"}},
        ),
        "POST /v1/sessions/{session}/speakers/{speaker}/merge": (
            session | {"speaker": 2},
            known.keys["session"][-1],
            {"json": {"into": 1}},
        ),
    }
    assert asked.keys() == SENT
    with Http() as http:
        for label, (path, key, sent) in asked.items():
            case = operations[label].Case(path_parameters=path)
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            answer = case.call(session=http, headers=headers, timeout=SECONDS, **sent)
            assert answer.status_code < 300, f"{label}: {answer.text}"
            case.validate_response(answer, checks=CHECKS)


def told(fault: Failure | FailureGroup) -> str:
    """What was found, and how to see it again."""
    parts = fault.exceptions if isinstance(fault, FailureGroup) else [fault]
    return "; ".join([str(part) for part in parts] + [str(fault)])


def ask(operation: Any, mode: Any, known: Known, http: Http, examples: int) -> set[str]:
    """Ask so often; the operation, where it was done at least once."""
    done: set[str] = set()

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
        if answer.status_code < 300:
            done.add(operation.label)
            for name in known.ids.keys() & case.path_parameters.keys():
                if operation.label.endswith("-key"):
                    known.renewed(name, answer.json())
            if operation.label == "POST /v1/recordings/key":
                known.renewed("recording", answer.json())

    asked()
    return done
