"""API keys, limits and viewer keys as a running service has them, behind Serve's proxy."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import httpx
import pytest

from deployments.client import open_session
from tests.service import ROOT, Service, record, silence
from tests.uploads import upload, wav_of

ASKED = {"purpose": "research", "consent": True}


def tonetrack(redis_url: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TONETRACK_")}
    variables = plain | {"COLUMNS": "140", "TONETRACK_REDIS_URL": redis_url} | environment
    command = [sys.executable, "-m", "deployments.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=90, check=False)


def test_keys_are_made_listed_and_revoked_in_a_terminal(url: str) -> None:
    assert "no API keys" in tonetrack(url, "keys", "list").stderr
    made = tonetrack(url, "keys", "create", "clinic [1]", "--days", "30")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    identity = secret.split("_")[1]
    assert f"tonetrack keys revoke {identity}" in made.stderr
    (known,) = json.loads(tonetrack(url, "keys", "list", "--json").stdout)
    assert (known["id"], known["name"], known["last_used_at"]) == (identity, "clinic [1]", None)
    assert known["expires_at"] - known["created_at"] == pytest.approx(30 * 86_400, abs=5)
    listed = tonetrack(url, "keys", "list").stdout
    assert "clinic [1]" in listed
    assert secret.split("_", 2)[2] not in listed + json.dumps(known)
    assert tonetrack(url, "keys", "revoke", identity).returncode == 0
    again = tonetrack(url, "keys", "revoke", identity)
    assert (again.returncode, "There is no API key" in again.stderr) == (1, True)
    unnamed = tonetrack(url, "keys", "create", " ")
    assert (unnamed.returncode, unnamed.stderr.strip()) == (
        1,
        "A key's name has 1 to 80 characters, all of them printable.",
    )


def test_without_a_redis_there_is_no_place_for_keys() -> None:
    refused = tonetrack("", "keys", "list")
    assert (refused.returncode, "set TONETRACK_REDIS_URL" in refused.stderr) == (1, True)
    cannot = tonetrack("", "up", TONETRACK_REQUIRE_API_KEYS="true")
    assert (cannot.returncode, "set TONETRACK_REDIS_URL" in cannot.stderr) == (1, True)


def redis_of(service: Service) -> str:
    return f"unix://{service.redis().connection_pool.connection_kwargs['path']}"


@pytest.mark.slow
def test_a_key_of_the_terminal_opens_the_service_until_it_is_revoked(service: Service, tmp_path: Any) -> None:
    wav = tmp_path / "silence.wav"
    wav.write_bytes(wav_of(silence(1)))
    secret = tonetrack(redis_of(service), "keys", "create", "terminal").stdout.strip()
    said = ["record", str(wav), "--purpose", "research", "--consent", "--pace", "0", "--server", service.api]
    recorded = tonetrack("", *said, TONETRACK_API_KEY=secret)
    assert recorded.returncode == 0, recorded.stderr
    (known,) = json.loads(tonetrack(redis_of(service), "keys", "list", "--json").stdout)
    assert known["last_used_at"] is not None
    tonetrack(redis_of(service), "keys", "revoke", known["id"])
    analysed = ["analyse", str(wav), "--purpose", "research", "--consent", "--output", str(tmp_path)]
    enrolled = ["voices", "add", str(wav), "--name", "Anna", "--consent"]
    for asked in (said, [*analysed, "--server", service.api], [*enrolled, "--server", service.api]):
        refused = tonetrack("", *asked, TONETRACK_API_KEY=secret)
        assert (refused.returncode, "There is no such API key" in refused.stderr) == (1, True), refused.stderr


async def test_callers_are_told_apart_behind_proxies(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.api, timeout=60) as http:

        async def guess(address: str) -> httpx.Response:
            headers = {"X-Forwarded-For": address, "X-API-Key": "guess"}
            return await http.post("/v1/sessions", json=ASKED, headers=headers)

        answers = [one for _ in range(8) for one in await asyncio.gather(*(guess("203.0.113.7") for _ in range(20)))]
        assert {answer.status_code for answer in answers} == {403, 429}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers if answer.status_code == 429)
        assert (await guess("203.0.113.8")).status_code == 403
        assert (await http.post("/v1/sessions", json=ASKED)).status_code == 201


async def test_pages_of_other_hosts_are_shown_nothing(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.api) as http:
        mine = await http.get("/healthz", headers={"Origin": service.page})
        foreign = await http.get("/healthz", headers={"Origin": "https://evil.example"})
        page = await http.get(service.page)
    assert mine.headers["Access-Control-Allow-Origin"] == service.page
    assert "Access-Control-Allow-Origin" not in foreign.headers
    for answer in (mine, foreign, page):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors" in answer.headers["Content-Security-Policy"]


async def test_a_stream_ends_with_the_key_that_opened_it(service: Service) -> None:
    session = await open_session(service.api, "research")
    seen: list[str] = []

    async def watch() -> None:
        watched = replace(session, recorder_key=session.viewer_key)
        async for _, event in watched.events():
            seen.append(event.type)

    watching = asyncio.create_task(watch())
    async with asyncio.timeout(60):
        while not seen:
            await asyncio.sleep(0.05)
        place = f"/v1/sessions/{session.id}"
        async with httpx.AsyncClient(base_url=service.api) as http:
            viewer, recorder = (
                {"Authorization": f"Bearer {key}"} for key in (session.viewer_key, session.recorder_key)
            )
            assert (await http.post(f"{place}/viewer-key", headers=viewer)).status_code == 403
            renewed = await http.post(f"{place}/viewer-key", headers=recorder)
            assert renewed.status_code == 200
            new = {"Authorization": f"Bearer {renewed.json()['viewer_key']}"}
            assert (await http.get(place, headers=viewer)).status_code == 403
            assert (await http.get(place, headers=new)).status_code == 200
            assert (await http.post(f"{place}/viewer-key", headers=new)).status_code == 403
        await record(service.api, silence(2), session=session, pace=0)
        await watching
    assert seen == ["session.started"], "what came after the old key was shown under it"


async def test_a_recordings_viewer_key_is_replaced_before_and_after_it_is_heard(service: Service) -> None:
    recording = await upload(service.api, wav_of(silence(2)))
    async with recording.client() as owner:
        first = (await owner.post("/viewer-key")).json()["viewer_key"]
        await recording.until("done")
        for key, status in ((recording.viewer_key, 403), (first, 200)):
            async with recording.client(key) as viewer:
                assert (await viewer.get("/timeline")).status_code == status
        second = (await owner.post("/viewer-key")).json()["viewer_key"]
        for key, status in ((first, 403), (second, 200)):
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(base_url=service.api, headers=headers) as viewer:
                for path in ("recordings", "sessions"):
                    assert (await viewer.get(f"/v1/{path}/{recording.id}")).status_code == status, path
        assert (await owner.delete("")).status_code == 200
