"""What a service leaves in its logs, at their most talkative: lines that can be read, and nothing of anybody's."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from deployments.client import Session, add_voice, open_session, remove_voice
from deployments.protocol import pack_frame
from tests.deployments.test_bad_input import answers, hello
from tests.deployments.test_speakers import alone
from tests.service import Pcm, Service, record
from tests.talkers import LOW
from tests.uploads import SAID, Uploaded, send, upload, wav_of

OWN = {"time", "level", "part", "logger", "message"}  # what each line of ours has
THEIRS = {"asctime", "levelname", "message"}  # what a replica's first lines have, before they are ours
Lines = list[dict[str, Any]]


def lines_of(logs: dict[str, str]) -> Lines:
    """All lines of JSON. Fails where one of ours, or a traceback through our code, is anything else."""
    found: Lines = []
    for name, text in logs.items():
        for line in text.splitlines():
            if line.startswith("{") or name.startswith("replica_tonetrack"):
                found.append(json.loads(line))
                assert found[-1].keys() >= OWN or found[-1].keys() >= THEIRS, line
            else:
                assert 'File "' not in line or "/deployments/" not in line, f"{name}: {text[-10_000:]}"
    return found


def about(lines: Lines, kind: str, identity: str) -> Lines:
    return [line for line in lines if line.get(kind) == identity]


def traces_of(sound: Pcm) -> set[str]:
    """How a piece of sound would look in a log: as base64, hexadecimals, Python's bytes or numbers."""
    piece = sound[np.abs(sound).argmax() :][:12]
    data = piece.tobytes()
    return {base64.b64encode(data).decode(), data.hex(), repr(data)[2:-1], repr(data[:12])[2:-1], str(piece.tolist())}


async def logged(service: Service, kind: str, identity: str, message: str) -> None:
    """Wait until it is said about a session or a recording."""
    async with asyncio.timeout(30):
        while not any(message in line["message"] for line in about(lines_of(service.logs()), kind, identity)):
            await asyncio.sleep(0.3)


async def conversation(service: Service, sound: Pcm, secret: dict[str, str], folder: Path) -> Session:
    """Somebody whose voice is known talks, and names another."""
    voice = await add_voice(service.api, alone(folder, LOW, 12), secret["voice"])
    secret["voice key"] = voice["key"]
    voices = [{"id": voice["id"], "key": voice["key"]}]
    session = await open_session(service.api, "research", secret["name"], remark=secret["remark"], voices=voices)
    await record(service.api, sound, pace=0, session=session)
    headers = {"Authorization": f"Bearer {session.recorder_key}"}
    async with httpx.AsyncClient(base_url=f"{service.api}/v1/sessions/{session.id}", headers=headers) as http:
        assert (await http.patch("/speakers/1", json={"name": secret["speaker"]})).status_code == 200
    await remove_voice(service.api, voice["id"], voice["key"])
    return session


async def talk_of(service: Service, sound: Pcm, secret: dict[str, str], folder: Path) -> Uploaded:
    """Somebody uploads a recording in which they are to be recognised, and their key is guessed at."""
    voice = await add_voice(service.api, alone(folder, LOW, 12), secret["voice"])
    secret["uploaded voice key"] = voice["key"]
    said = SAID | {"name": secret["name"], "webhook": f"https://receiver.invalid/hook?token={secret['token']}"}
    guess = json.dumps([{"id": voice["id"], "key": secret["wrong key"]}])
    assert (await send(service.api, wav_of(sound), said=said | {"voices": guess})).status_code == 422
    said |= {"voices": json.dumps([{"id": voice["id"], "key": voice["key"]}])}
    uploaded = await upload(service.api, wav_of(sound), f"{secret['file']}.wav", said=said)
    assert secret["voice"] in (await uploaded.heard())["names"].values()
    await remove_voice(service.api, voice["id"], voice["key"])
    return uploaded


async def mistakes(service: Service, secret: dict[str, str]) -> tuple[Session, Lines]:
    """A session in which all goes wrong: keys, messages, frames, and what is kept of it; what was logged of it.

    It is erased in the end, and then no line names it any more.
    """
    session = await open_session(service.api, "research")
    await answers(session, hello(session, key=secret["wrong key"]))
    await answers(session, hello(session), json.dumps({"type": "unheard of", "key": secret["typed"]}))
    await answers(session, hello(session), pack_frame(7, secret["typed"].encode()))
    async with httpx.AsyncClient(
        base_url=service.api, headers={"Authorization": f"Bearer {secret['wrong key']}"}
    ) as http:
        assert (await http.get(f"/v1/sessions/{session.id}")).status_code == 403
        assert (await http.post("/v1/sessions", json={"purpose": {"is": secret["typed"]}})).status_code == 422
        wrong = {"X-API-Key": secret["wrong key"]}
        asked = {"purpose": "research", "consent": True}
        assert (await http.post("/v1/sessions", json=asked, headers=wrong)).status_code == 403
    with service.redis() as redis:
        redis.set(f"tonetrack:{{{session.id}}}:snapshot", secret["typed"])
    recording = asyncio.create_task(record(service.api, np.ones(8_000, np.int16), session=session))
    await logged(service, "session", session.id, "going on from its snapshot")
    told = about(lines_of(service.logs()), "session", session.id)
    await session.erase()
    await asyncio.wait({recording})
    recording.exception()
    return session, told


async def test_logs_can_be_read_and_tell_nothing_of_anybody(
    service: Service, small_conversation: tuple[Pcm, Any], tmp_path: Path
) -> None:
    sound = small_conversation[0]
    kinds = ("remark", "name", "voice", "speaker", "wrong key", "typed", "file", "token")
    secret = {kind: f"{kind.replace(' ', '-')}-{secrets.token_hex(8)}" for kind in kinds}
    session = await conversation(service, sound, secret, tmp_path)
    broken, broken_told = await mistakes(service, secret)
    uploaded = await talk_of(service, sound, secret, tmp_path)
    refused = await send(service.api, b"RIFF" + secret["typed"].encode(), f"{secret['file']}.wav")
    assert refused.status_code in (415, 422)
    await logged(service, "recording", uploaded.id, "its webhook to receiver.invalid, attempt 1: pending")
    logs = service.logs()
    lines = lines_of(logs)

    told = about(lines, "session", session.id)
    assert any(line["message"].startswith("ended after") for line in told)
    refusals = {line["message"] for line in broken_told if line["part"] == "ingress" and line["request_id"]}
    assert {"refused: wrong_key", "refused: bad_message"} <= refusals
    assert any("deployments/sessions.py" in line.get("error", "") for line in broken_told)
    told = about(lines, "recording", uploaded.id)
    assert {("recordings", "over: done")} <= {(line["part"], line["message"]) for line in told}
    assert any(line["message"].startswith("taken in: ") and line["request_id"] for line in told)

    keys = {session.recorder_key, session.viewer_key, broken.recorder_key, broken.viewer_key}
    keys |= {uploaded.key, uploaded.viewer_key, uploaded.webhook_secret}
    for private in {*secret.values(), *keys, *traces_of(sound)}:
        assert [name for name, text in logs.items() if private in text] == [], private
