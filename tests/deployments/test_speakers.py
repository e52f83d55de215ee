"""Names stay put: people rename and merge speakers over HTTP while they are heard, and voices are known again."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from deployments.client import Recorder, Session, add_voice, open_session, remove_voice
from deployments.context import Context
from deployments.gate import Gate
from deployments.ingress import build_api
from deployments.settings import Settings
from pipeline.events import Event
from pipeline.store import connect
from pipeline.timeline import SAMPLE_RATE
from pipeline.voiceprint import SIZE
from tests.service import FRAME, ROOT, Pcm, Service, assert_same, frames, record, silence
from tests.talkers import HIGH, LOW, Line, Talker, conversation, write_wav

Said = tuple[int, dict[str, Any]]
ANNA = {"name": "Anna", "consent": "true"}


def as_recorder(service: Service, session: Session) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {session.recorder_key}"}
    return httpx.AsyncClient(base_url=f"{service.api}/v1/sessions/{session.id}", headers=headers, timeout=60)


async def heard(session: Session, until: float) -> None:
    async with asyncio.timeout(90):
        while (await session.get())["heard_until"] < until:
            await asyncio.sleep(0.1)


async def corrected(service: Service, pcm: Any, victim: str | None) -> tuple[Any, list[Event]]:
    """A conversation in which speaker 1 gets a name and speaker 2 turns out to be them, after 12 s."""
    session = await open_session(service.api, "research")
    told = asyncio.Event()

    async def with_a_break() -> AsyncIterator[bytes]:
        for number, start in enumerate(range(0, len(pcm), FRAME)):
            if number == 48:
                await told.wait()
            yield pcm[start : start + FRAME].tobytes()

    recording = asyncio.create_task(Recorder(session).record(with_a_break()))
    await heard(session, 12)
    async with as_recorder(service, session) as http:
        named = await http.patch("/speakers/1", json={"name": " Anna "})
        assert (named.status_code, named.json()) == (200, {"speaker": 1, "name": "Anna"})
        merged = await http.post("/speakers/2/merge", json={"into": 1})
        again = await http.post("/speakers/2/merge", json={"into": 1})  # as after a lost answer
        for answer in (merged, again):
            assert (answer.status_code, answer.json()) == (200, {"kept": 1, "merged": 2})
    if victim:
        service.kill(victim)
    told.set()
    async with asyncio.timeout(90):
        await recording
    return await session.get(), [event async for _, event in session.events()]


async def test_a_killed_actor_keeps_what_was_corrected(service: Service, small_conversation: Any) -> None:
    undisturbed, story = await corrected(service, small_conversation[0], None)
    assert (undisturbed["names"], undisturbed["speakers"]) == ({"1": "Anna"}, [1])
    timeline, again = await corrected(service, small_conversation[0], "ray::SessionActor")
    assert_same(timeline, undisturbed)
    assert (timeline["names"], timeline["words"]) == (undisturbed["names"], [])
    assert [event.type for event in again] == [event.type for event in story]
    for kind in ("speaker.named", "speakers.merged"):
        assert sum(event.type == kind for event in again) == 1


async def test_corrections_while_frames_stream_in(service: Service, small_conversation: Any) -> None:
    session = await open_session(service.api, "research")
    recording = asyncio.create_task(Recorder(session).record(frames(small_conversation[0], pace=8)))
    await heard(session, 5)
    async with as_recorder(service, session) as http:
        answers = await asyncio.gather(*(http.patch("/speakers/1", json={"name": f"n{i}"}) for i in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    await recording
    events = [event async for _, event in session.events()]
    names = [event.name for event in events if event.type == "speaker.named"]
    assert sorted(names) == [f"n{i}" for i in range(10)]
    assert (await session.get())["names"] == {"1": names[-1]}
    hops = [event.heard_until for event in events if event.type == "hop.heard"]
    assert np.diff(hops)[:-1] == pytest.approx(0.5)


async def test_history_follows_after_the_end(service: Service, small_conversation: Any) -> None:
    session, _, seconds = await record(service.api, small_conversation[0], pace=0)
    async with as_recorder(service, session) as http:
        assert (await http.patch("/speakers/2", json={"name": "Ben"})).status_code == 200
        assert (await http.post("/speakers/1/merge", json={"into": 2})).json() == {"kept": 2, "merged": 1}
        gone = await http.patch("/speakers/1", json={"name": "Anna"})
        assert (gone.status_code, gone.json()["detail"]) == (404, "There is no speaker 1; so far there are: 2.")
        assert (await http.get("/chunks/0")).json().keys() == {"2"}
    timeline = await session.get()
    assert (timeline["names"], timeline["speakers"], timeline["ended"]) == ({"2": "Ben"}, [2], True)
    assert timeline["heard_until"] == seconds
    async with asyncio.timeout(10):
        types = [event.type async for _, event in session.events()]
    assert types[-3:] == ["session.ended", "speaker.named", "speakers.merged"]


async def test_corrections_that_make_no_sense(service: Service, small_conversation: Any) -> None:
    session, _, _ = await record(service.api, small_conversation[0][: 10 * SAMPLE_RATE], pace=0)

    async def refused(method: str, path: str, body: Any, key: str = session.recorder_key) -> Said:
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=f"{service.api}/v1/sessions/{session.id}", headers=headers) as http:
            answer = await http.request(method, path, json=body)
        return answer.status_code, answer.json()

    status, said = await refused("PATCH", "/speakers/1", {"name": "Anna"}, session.viewer_key)
    assert (status, said["detail"]) == (403, "A viewer key may only look; this takes the recorder key.")
    assert (await refused("POST", "/speakers/2/merge", {"into": 1}, session.viewer_key))[0] == 403
    status, said = await refused("PATCH", "/speakers/7", {"name": "Anna"})
    assert (status, said["detail"]) == (404, "There is no speaker 7; so far there are: 1, 2.")
    assert (await refused("POST", "/speakers/1/merge", {"into": 7}))[0] == 404
    status, said = await refused("POST", "/speakers/1/merge", {"into": 1})
    assert (status, said["detail"]) == (422, "Speaker 1 cannot be merged with themselves.")
    for body in ({"name": "n" * 81}, {"name": "a\u0000b"}, {"name": 3}, {}, {"name": "Anna", "colour": "red"}):
        assert (await refused("PATCH", "/speakers/1", body))[0] == 422
    assert (await refused("PATCH", "/speakers/0", {"name": "Anna"}))[0] == 422
    assert (await session.get())["names"] == {}


async def test_hints_are_checked_and_remembered(service: Service) -> None:
    asked = {"purpose": "research", "consent": True}
    hints = {"min_speakers": 2, "max_speakers": 3, "diariser": "local", "language": "de-CH"}
    async with httpx.AsyncClient(base_url=service.api) as http:
        opened = (await http.post("/v1/sessions", json=asked | hints)).json()
        headers = {"Authorization": f"Bearer {opened['viewer_key']}"}
        known = (await http.get(f"/v1/sessions/{opened['id']}", headers=headers)).json()["session"]
        assert hints.items() <= known.items()
        crossed = await http.post("/v1/sessions", json=asked | {"min_speakers": 3, "max_speakers": 2})
        assert crossed.status_code == 422
        assert "min_speakers is above max_speakers" in crossed.json()["detail"]
        for wrong in ({"max_speakers": 0}, {"min_speakers": 13}, {"diariser": "other"}, {"language": "de_CH!"}):
            assert (await http.post("/v1/sessions", json=asked | wrong)).status_code == 422


def alone(folder: Path, talker: Talker, seconds: float) -> Path:
    lines = [Line(0, 4.0)] * round(seconds / 4)
    return write_wav(folder / f"{talker.name}.wav", conversation((talker,), lines, seed=3)[0])


async def test_a_voice_from_enrolment_to_erasure(service: Service, tmp_path: Path) -> None:
    voice = await add_voice(service.api, alone(tmp_path, LOW, 12), "Anna", days=2)
    assert voice["name"] == "Anna"
    assert 8 < voice["seconds"] <= 13
    assert voice["expires_at"] - voice["consented_at"] == pytest.approx(2 * 86_400, abs=5)
    with service.redis() as redis:
        (key,) = redis.scan_iter(f"*{voice['id']}*")
        kept = redis.hgetall(key)
    assert len(kept[b"voiceprint"]) == 2 * SIZE
    assert voice["key"].encode() not in b"".join(kept.values())
    asked = {"purpose": "research", "consent": True}
    async with httpx.AsyncClient(base_url=service.api) as http:

        async def opened(**given: str) -> Said:
            answer = await http.post("/v1/sessions", json=asked | {"voices": [given]})
            return answer.status_code, answer.json()

        assert (await opened(id=voice["id"], key=voice["key"]))[0] == 201
        status, said = await opened(id=voice["id"], key="guess")
        assert (status, said["detail"]) == (422, f"The key does not open the voice {voice['id']}.")
        assert (await opened(id="nobody", key="guess"))[0] == 404
        path = f"/v1/voices/{voice['id']}"
        assert (await http.get(path)).status_code == 401
        assert (await http.get(path, headers={"Authorization": "Bearer guess"})).status_code == 403
        mine = {"Authorization": f"Bearer {voice['key']}"}
        assert (await http.get(path, headers=mine)).json().keys() == {
            "id",
            "name",
            "seconds",
            "consented_at",
            "expires_at",
        }
        await remove_voice(service.api, voice["id"], voice["key"])
        assert (await http.get(path, headers=mine)).status_code == 404
        assert (await opened(id=voice["id"], key=voice["key"]))[0] == 404
    with service.redis() as redis:
        assert not list(redis.scan_iter(f"*{voice['id']}*"))


def tonetrack(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deployments.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)


def test_a_voice_in_a_terminal(service: Service, tmp_path: Path) -> None:
    wav, where = str(alone(tmp_path, LOW, 8)), ["--server", service.api]
    refused = tonetrack("voices", "add", wav, "--name", "Anna", *where)
    assert (refused.returncode, "--consent" in refused.stderr) == (1, True)
    added = tonetrack("voices", "add", wav, "--name", "Anna", "--consent", *where)
    assert added.returncode == 0, added.stderr
    voice = added.stdout.strip()
    output = tmp_path / "talk.json"
    told = ["--purpose", "research", "--consent", "--pace", "0", "--output", str(output), "--voice", voice]
    hints = ["--speakers-at-least", "1", "--speakers-at-most", "2"]
    recorded = tonetrack("record", wav, *told, *hints, *where)
    assert recorded.returncode == 0, recorded.stderr
    timeline = json.loads(output.read_text())
    assert timeline["names"] == {"1": "Anna"}, "the voice was not known again"
    session = timeline["session"]
    assert (session["min_speakers"], session["max_speakers"]) == (1, 2)
    assert tonetrack("voices", "remove", voice, *where).returncode == 0
    gone = tonetrack("voices", "remove", voice, *where)
    assert (gone.returncode, "no such voice" in gone.stderr) == (1, True)


@pytest.mark.parametrize("voice", ["foo", ":key", "id:"])
def test_a_voice_without_its_key_is_not_looked_for(voice: str) -> None:
    failed = tonetrack("voices", "remove", voice, "--server", "http://127.0.0.1:1")
    assert failed.returncode == 1
    assert failed.stderr.strip() == (
        "A voice is named by the ID and the KEY that enrolling it gave: tonetrack voices remove ID:KEY."
    )


async def test_the_sound_of_a_voice_never_touches_the_disk(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []

    async def enrol(audio: Pcm) -> None:
        heard.append(len(audio))
        raise EOFError

    sound = alone(tmp_path, LOW, 12).read_bytes()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    unused: Any = None
    at_ease: Any = SimpleNamespace(full=False, recorders=0)
    diariser: Any = SimpleNamespace(enrol=SimpleNamespace(remote=enrol))
    gate = Gate(Settings(), connect(url))
    transport = httpx.ASGITransport(build_api(Context(Settings(), unused, at_ease, diariser, unused, gate)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as http:
        with pytest.raises(EOFError):
            await http.post("/v1/voices", data=ANNA, files={"file": sound})
    assert heard == [pytest.approx(12 * SAMPLE_RATE, abs=3 * SAMPLE_RATE)]


async def test_too_much_sound_is_refused_before_all_of_it_has_come(url: str) -> None:
    sent = 0
    form = {"Content-Type": "multipart/form-data; boundary=b"}

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="anna.wav"\r\n\r\n'
        while sent < 100:
            sent += 1
            yield bytes(2**20)

    unused: Any = None
    at_ease: Any = SimpleNamespace(full=False, recorders=0)
    gate = Gate(Settings(), connect(url))
    transport = httpx.ASGITransport(build_api(Context(Settings(), unused, at_ease, unused, unused, gate)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as http:
        refused = await http.post("/v1/voices", headers=form, content=endless())
    assert (refused.status_code, sent) == (413, 21)


async def test_sound_that_no_voice_can_be_enrolled_from(
    service: Service, small_conversation: Any, tmp_path: Path
) -> None:
    def wav(pcm: Any) -> bytes:
        return write_wav(tmp_path / "sound.wav", pcm.astype(np.float32) / 32_768).read_bytes()

    short = alone(tmp_path, HIGH, 4).read_bytes()
    cases = [
        (wav(silence(10)), {}, 422, "Only 0.0 s of speech were heard"),
        (short, {}, 422, "s of speech were heard; talk for 10 s or more"),
        (wav(small_conversation[0]), {}, 422, "More than one voice is heard"),
        (wav(silence(121)), {}, 422, "120 s of sound at most"),
        (b"no sound", {}, 422, "not audio that can be decoded"),
        (b"", {}, 422, "not audio that can be decoded"),
        (bytes(21 * 2**20), {}, 413, "20 MB"),
        (short, {"consent": "false"}, 422, "must agree"),
        (short, {"days": "366"}, 422, "days"),
        (short, {"name": " "}, 422, "name"),
        (short, {"names": "Anna"}, 422, "names: Extra inputs are not permitted"),
    ]
    with service.redis() as redis:
        before = set(redis.scan_iter("tonetrack:voice:*"))
    async with httpx.AsyncClient(base_url=service.api, timeout=60) as http:
        for sound, given, status, says in cases:
            refused = await http.post("/v1/voices", data=ANNA | given, files={"file": ("anna.wav", sound)})
            assert (refused.status_code, says in refused.text) == (status, True), refused.text
    with service.redis() as redis:
        assert set(redis.scan_iter("tonetrack:voice:*")) == before


async def test_the_api_describes_the_new_doors(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.api) as http:
        described = (await http.get("/openapi.json")).json()
    assert {
        "/v1/sessions/{session}/speakers/{speaker}",
        "/v1/sessions/{session}/speakers/{speaker}/merge",
        "/v1/voices",
        "/v1/voices/{voice}",
    } <= described["paths"].keys()
    schemas = described["components"]["schemas"]
    assert {"names", "words"} <= schemas["SessionTimeline"]["properties"].keys()
    for name in ("SpeakerName", "NamedSpeaker", "MergeRequest", "MergedSpeakers", "EnrolledVoice"):
        assert schemas[name]["examples"]
