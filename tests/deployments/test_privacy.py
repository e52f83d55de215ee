"""What is left of a conversation and of a recording: nothing without an end, and nothing once it is erased."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import typer
from websockets.asyncio.client import connect

from deployments import erase_cli, erasing
from deployments.client import Session, add_voice, open_session
from deployments.protocol import Hello
from pipeline.api_keys import ApiKeys
from pipeline.consent import CURRENT
from pipeline.store import connect as redis_at
from pipeline.timeline import SAMPLE_RATE
from tests.deployments.test_speakers import alone
from tests.service import ROOT, Service, record
from tests.talkers import LOW
from tests.uploads import SAID, Uploaded, sound_of, upload, wav_of

DOCUMENT = (ROOT / "PRIVACY.md").read_text()
KEPT = DOCUMENT[: DOCUMENT.index("## What you may use it for")]
NEVER_EXPIRE = set(re.findall(r"^\| `([^`]+)` \|.*\| never\b", KEPT, re.MULTILINE))
NAMED = set(re.findall(r"`(?:tonetrack:)?([^`]+)`", KEPT))
REMARK, CALLED = "a remark like no other", "Philippa"  # what somebody wrote, and how a speaker was called
LONGEST = 32 * 86_400 + 60  # s that anything is kept: what waits 30 days to be heard, a day from then, and a day more


@dataclass(frozen=True)
class Kept:
    """A conversation, a recording with its sound, a voice and an API key's id, as a service has them."""

    service: Service
    session: Session
    recording: Uploaded
    voice: str
    api_key: str


@pytest.fixture(scope="module")
def kept(service: Service, small_conversation: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    async def heard() -> Kept:
        sound = small_conversation[0][: 8 * SAMPLE_RATE]
        voice = await add_voice(service.api, alone(tmp_path_factory.mktemp("voice"), LOW, 12), "Anna")
        voices = [{"id": voice["id"], "key": voice["key"]}]
        redis = redis_at(redis_url(service))
        made = await ApiKeys(redis).create("a clinic")
        await redis.aclose()
        known = {"voices": voices, "api_key": made.secret}
        session = await open_session(service.api, "research", "a talk", remark=REMARK, **known)
        await record(service.api, sound, pace=0, session=session)
        said = SAID | {"keep_audio": "true", "remark": REMARK, "webhook": "https://receiver.invalid/hook"}
        said |= {"voices": json.dumps(voices)}
        recording = await upload(service.api, wav_of(sound), idempotency=f"a recording of {time.time()}", said=said)
        await recording.heard()
        await session.get()
        async with as_recorder(session) as http:
            assert (await http.patch("/speakers/1", json={"name": CALLED})).status_code == 200
        return Kept(service, session, recording, voice["id"], made.record.id)

    kept = asyncio.run(heard())
    yield kept
    with service.redis() as redis:
        redis.delete(f"tonetrack:voice:{{{kept.voice}}}", f"tonetrack:api-key:{kept.api_key}")
        redis.srem("tonetrack:api-keys", kept.api_key)


def redis_url(service: Service) -> str:
    return f"unix://{service.redis().connection_pool.connection_kwargs['path']}"


def as_recorder(session: Session, key: str | None = None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key or session.recorder_key}"}
    return httpx.AsyncClient(base_url=f"{session.api}/v1/sessions/{session.id}", headers=headers, timeout=60)


def lasting(service: Service) -> dict[str, float]:
    """Seconds until each key of Redis expires; -1 for those that never do."""
    with service.redis() as redis:
        left = {key.decode(): redis.pttl(key) for key in redis.scan_iter()}
    return {key: milliseconds / 1000 if milliseconds > 0 else milliseconds for key, milliseconds in left.items()}


def mentions(service: Service, identity: str) -> list[str]:
    """Wherever an id, or any other word, stands: keys of Redis and their values, files of the sound, logs' lines."""
    wanted, found = identity.encode(), []
    with service.redis() as redis:
        for key in redis.scan_iter():
            if wanted in key or wanted in (redis.dump(key) or b"") or wanted in repr(value(redis, key)).encode():
                found.append(key.decode())
    found += [str(path) for path in sound_of(identity)]
    found += [name for name, text in service.logs().items() if identity in text]
    return found


def value(redis: Any, key: bytes) -> Any:
    """What is in a key, whatever it is."""
    match redis.type(key):
        case b"hash":
            return redis.hgetall(key)
        case b"list":
            return redis.lrange(key, 0, -1)
        case b"zset":
            return redis.zrange(key, 0, -1)
        case b"set":
            return redis.smembers(key)
        case b"stream":
            return redis.xrange(key)
        case _:
            return redis.get(key)


async def test_everything_has_an_end(kept: Kept) -> None:
    left = lasting(kept.service)
    assert f"tonetrack:voice:{{{kept.voice}}}" in left
    assert {f"tonetrack:{{{kept.session.id}}}:{part}" for part in ("events", "looks")} <= set(left)
    without_end = {key for key, seconds in left.items() if seconds == -1}
    assert "tonetrack:secret" in without_end, "PRIVACY.md names what never expires"
    assert {key for key in without_end if not any(fnmatch(key, named) for named in NEVER_EXPIRE)} == set()
    assert max(left.values()) <= LONGEST
    gone = {"audio", "webm", "snapshot", "notes"} & {key.rpartition(":")[2] for key in left if kept.session.id in key}
    assert not gone, "the sound of a conversation goes with its end"
    (mine,) = sound_of(kept.recording.id)
    with kept.service.redis() as redis:
        erased_at = {path.name: redis.zscore("tonetrack:jobs:blobs", path.name[:16]) for path in mine.parent.iterdir()}
    assert 0 < erased_at[mine.name] - time.time() <= 86_400, "its sound was to be kept"
    assert None not in erased_at.values(), "somebody will erase every file"


def kind_of(key: str) -> str:
    """What PRIVACY.md calls a key: the last part of a session's, which is in braces, and the first of any other."""
    first, _, rest = key.removeprefix("tonetrack:").partition(":")
    return (rest or "the session's hash") if first.startswith("{") else first


async def test_every_kind_of_key_is_named(kept: Kept) -> None:
    """While somebody records, too: addresses were kept that the document did not know of."""
    live = await open_session(kept.service.api, "research")
    async with connect(live.socket) as line:
        await line.send(Hello(key=live.recorder_key).model_dump_json(exclude_none=True))
        assert json.loads(await line.recv())["type"] == "welcome"
        keys = set(lasting(kept.service))
    kinds = {kind_of(key) for key in keys if not any(fnmatch(key, named) for named in NEVER_EXPIRE)}
    assert {"the session's hash", "voice", "quota", "places", "place", "looks"} <= kinds
    assert kinds - NAMED - {"the session's hash"} == set()
    named = {kind_of(key) for key in mentions(kept.service, kept.api_key) if key.startswith("tonetrack:")}
    assert named - {"quota", "places", "place"} == {"api-key", "api-keys", "the session's hash"}
    assert "the id of the API key" in KEPT
    await live.erase()


async def test_the_record_says_why_and_what_was_agreed_to(kept: Kept) -> None:
    told = (await kept.session.get())["session"]
    job = await kept.recording.job()
    exported = (await kept.recording.get("/timeline.json")).json()["declared"]
    for known in (told, job, exported):
        assert (known["purpose"], known["remark"]) == ("research", REMARK)
        assert (known["consent"]["version"], known["consent"]["statement"]) == (CURRENT.version, CURRENT.statement)
    assert told["consent"]["agreed_at"] == told["created_at"]
    assert job["consent"] == exported["consent"]
    report = (await kept.recording.get("/report.html")).text
    assert f"{CURRENT.statement} Declared on" in report
    assert f"(wording {CURRENT.version})" in report
    assert f"research: {REMARK}" in report


async def test_looks_are_told_to_whoever_recorded_and_to_nobody_else(kept: Kept) -> None:
    session = kept.session
    for _ in range(5):
        await session.get("/chunks/0")
        assert [event async for _, event in session.events()]
    async with as_recorder(session, session.viewer_key) as http:
        for path in ("/chunks/0", "/events", "/chunks/99"):
            await http.get(path)
        assert (await http.get("/looks")).status_code == 403
    async with as_recorder(session) as http:
        looks = (await http.get("/looks")).json()["looks"]
    kinds = [(who, what) for who in ("recorder", "viewer") for what in ("events", "timeline")]
    assert sorted((one["who"], one["what"]) for one in looks) == kinds
    assert all(one["since"] <= one["until"] <= time.time() for one in looks)

    recording = kept.recording
    async with recording.client(recording.viewer_key) as http:
        for path in ("", "/timeline.csv", "/timeline.json", "/report.html", "/audio"):
            assert (await http.get(path)).status_code == 200
        assert (await http.get("/looks")).status_code == 403
    told = {(one["who"], one["what"]) for one in (await recording.get("/looks")).json()["looks"]}
    assert {("viewer", what) for what in ("export", "timeline", "report", "audio")} <= told
    assert {who for who, _ in told} == {"viewer", "owner"}
    with kept.service.redis() as redis:
        trail = str(redis.lrange(f"tonetrack:{{{recording.id}}}:looks", 0, -1))
    assert "127.0.0.1" not in trail


async def test_one_call_erases_it_everywhere(kept: Kept) -> None:
    service, session, recording = kept.service, kept.session, kept.recording
    for identity in (session.id, recording.id):
        found = mentions(service, identity)
        assert len(found) > 4, found
        assert any(name.endswith(".log") or name.startswith("worker") for name in found), found
    assert len(mentions(service, REMARK)) >= 2
    assert mentions(service, CALLED)
    assert sound_of(recording.id)
    await session.erase()
    async with recording.client() as http:
        # By its session's address: the job, the sound and the list of its owner went only with the recording's.
        assert (await http.delete(recording.url.replace("/recordings/", "/sessions/"))).status_code == 200
    async with asyncio.timeout(erasing.LATER + 30):
        while left := [*mentions(service, session.id), *mentions(service, recording.id)]:
            if left == [f"tonetrack:idempotency:{{{recording.id}}}"]:
                break  # that a late repeat of its upload learns that it is late
            await asyncio.sleep(1)
    assert mentions(service, REMARK) == mentions(service, CALLED) == []
    assert all(0 < seconds <= 120 for key, seconds in lasting(service).items() if recording.id in key)


async def test_an_operator_erases_with_redis_alone(kept: Kept, small_conversation: Any) -> None:
    service, sound = kept.service, small_conversation[0][: 2 * SAMPLE_RATE]
    session, _, _ = await record(service.api, sound, pace=0)
    said = SAID | {"keep_audio": "true"}
    recording = await upload(service.api, wav_of(sound), said=said)
    await recording.heard()
    logs = str(service.logs_folder())

    def erase(identity: str, **settings: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "deployments.cli", "erase", identity, "--logs", logs]
        variables = {"PATH": "/usr/bin:/bin", "HOME": tempfile.gettempdir(), "TONETRACK_REDIS_URL": redis_url(service)}
        ran = subprocess.run(command, cwd=ROOT, env=variables | settings, capture_output=True, text=True, timeout=120)
        assert "Traceback" not in ran.stderr
        return ran.returncode, " ".join(ran.stderr.split())

    status, said_of_it = erase(recording.id, TONETRACK_BLOBS=tempfile.mkdtemp())
    assert status == 1
    assert "nothing was erased. Set TONETRACK_BLOBS" in said_of_it
    assert (await recording.job())["state"] == "done"
    (place,) = sound_of(recording.id)
    for identity in (session.id, recording.id):
        status, said_of_it = erase(identity, TONETRACK_BLOBS=str(place.parent))
        assert status == 0, said_of_it
        assert f"Nothing is left of {identity} in Redis" in said_of_it
        assert "stays in its memory" in said_of_it, "nobody tells the process that hears it"
        assert mentions(service, identity) == []


def test_where_an_id_may_still_stand_in_logs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = "0123456789abcdef"
    assert "There are no logs at" in erase_cli._strike_out(gone, tmp_path / "nowhere")
    (tmp_path / "a.log").write_text(f"{gone} {gone}")
    assert "where it stood 2 times" in erase_cli._strike_out(gone, tmp_path)
    assert erase_cli._strike_out(gone, tmp_path) == "No log names it."

    def closed(*_: object) -> int:
        raise PermissionError(13, "Permission denied", "b.log")

    monkeypatch.setattr("pipeline.logs.strike_out", closed)
    with pytest.raises(typer.Exit) as ended:
        erase_cli._strike_out(gone, tmp_path)
    assert ended.value.exit_code == 1


async def test_logs_are_rid_of_it_though_its_actor_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its store has forgotten it by then: who asked again would be told that there is nothing of it."""
    struck = asyncio.Event()

    async def stored(*_: object) -> None:
        pass

    async def strike(*_: object) -> None:
        struck.set()

    async def away(_: str) -> None:
        raise ConnectionError

    monkeypatch.setattr(erasing, "erase_stored", stored)
    monkeypatch.setattr(erasing, "_strike_out", strike)
    actor = SimpleNamespace(drop=SimpleNamespace(remote=away))
    context: Any = SimpleNamespace(inbox=None, pool=SimpleNamespace(actor=lambda _: actor))
    with pytest.raises(ConnectionError):
        await erasing.erase("0123456789abcdef", context)
    await asyncio.wait_for(struck.wait(), 5)
