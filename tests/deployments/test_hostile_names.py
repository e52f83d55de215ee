"""What people call things: refused where it is no name, and elsewhere shown as the text that it is."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from deployments.client import open_session
from tests.deployments.test_bad_input import answers, hello
from tests.service import Pcm, Service, silence
from tests.uploads import SAID, Uploaded, send, upload, wav_of

NO_NAMES = {
    "control characters": "a\x1b[31mb",
    "NUL": "a\x00b",
    "a line feed": "a\nb",
    "a bidi override": "a\u202eb",
    "a line separator": "a\u2028b",
    "10 kB": "n" * 10_000,
}
TEXTS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "=HYPERLINK(1)",
    "+1-1",
    "@sum",
    "-2",
    "a --> b",
    "00:00:00.000 --> 00:00:01.000",
    "SPEAKER a 1 0 1",
    'x"; filename="y.exe',
    "../../etc/passwd",
    "%0d%0aSet-Cookie: a=b",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "[/b]",
    "[link=https://x]x[/link]",
    "مرحبا 名前 🙂",
)
IDS = (
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "%2e%2e%2f%2e%2e",
    "..%5c..%5cwindows",
    "%2fetc%2fpasswd",
    "file:%2f%2f%2fetc",
    "C:%5cboot.ini",
    "CON",
    "nul.txt",
    "a%00b",
    "%00",
    "%0aINFO%20forged",
    "%ff%fe",
    "%c0%ae%c0%ae",
    "%7d:job",
    "*",
    "a" * 4_000,
    "%20",
)
ASKED = {"purpose": "other", "consent": True}
READ = ("", "/events", "/report.html", "/audio")


@pytest.fixture(scope="module")
def sound(small_conversation: Any) -> Pcm:
    return small_conversation[0]


@pytest.fixture
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.api, timeout=60) as http:
        yield http


@pytest.mark.parametrize("why", NO_NAMES)
async def test_what_is_no_name_is_refused_wherever_it_is_said(service: Service, http: Any, why: str) -> None:
    name = NO_NAMES[why]
    session = await open_session(service.api, "research")
    key = {"Authorization": f"Bearer {session.recorder_key}"}
    wav = wav_of(silence(0.5))
    refusals = [
        await http.post("/v1/sessions", json={"purpose": "research", "consent": True, "name": name}),
        await http.post("/v1/sessions", json=ASKED | {"remark": name}),
        await http.patch(f"/v1/sessions/{session.id}/speakers/1", json={"name": name}, headers=key),
        await http.post("/v1/voices", data={"name": name, "consent": "true"}, files={"file": wav}),
        await send(service.api, wav, said=SAID | {"name": name}),
        await send(service.api, wav, said=SAID | {"remark": name}),
        await send(service.api, wav, said=SAID | {"webhook": f"https://example.org/{name}"}),
    ]
    for refusal in refusals:
        assert refusal.status_code == 422, refusal.request.url
        assert refusal.json()["detail"].isprintable()
        assert name not in refusal.text
    await session.erase()


async def test_halves_of_characters_are_refused(http: Any) -> None:
    headers = {"Content-Type": "application/json"}
    for said in (b'{"purpose": "\\ud800"}', b'{"\\udfff": 1}', b'{"voices": [{"id": "\\ud800", "key": "\\ud800"}]}'):
        refusal = await http.post("/v1/sessions", content=said, headers=headers)
        assert refusal.status_code == 422
        assert refusal.json()["detail"].isprintable()


async def test_a_name_is_text_in_whatever_it_leaves_in(service: Service, http: Any, sound: Pcm) -> None:
    """One recording, called all of these in turn, and its speaker too."""
    taken = await upload(service.api, wav_of(sound), TEXTS[0])
    assert (await taken.until())["state"] == "done"
    key = {"Authorization": f"Bearer {taken.key}"}
    for text in TEXTS:
        with service.redis() as redis:
            redis.hset(f"tonetrack:{{{taken.id}}}:job", "name", text)
        named = await http.patch(f"/v1/sessions/{taken.id}/speakers/1", json={"name": text}, headers=key)
        assert named.status_code == 200, named.text
        assert (await taken.job())["name"] == text
        await assert_text(taken, text)
    async with taken.client() as owner:
        assert (await owner.delete("")).status_code == 200


async def assert_text(taken: Uploaded, text: str) -> None:
    """In every form that the recording leaves in, a name changes nothing but itself."""
    async with taken.client() as owner:
        told = {form: await owner.get(f"/timeline.{form}") for form in ("json", "csv", "rttm", "vtt")}
        if "<" in text:
            told["html"] = await owner.get("/report.html")
    for answer in told.values():
        disposition = answer.headers["content-disposition"]
        assert re.fullmatch(r'attachment; filename="[\w-]+\.(json|csv|rttm|vtt|html)"', disposition, re.ASCII)
    assert told["json"].json()["names"]["1"] == text
    rows = list(csv.reader(io.StringIO(told["csv"].text), strict=True))
    assert len({len(row) for row in rows}) == 1
    assert not [cell for row in rows for cell in row if re.match(r"[=+@]|-\D|-$", cell)]
    assert all(len(line.split()) == 10 for line in told["rttm"].text.splitlines())
    assert told["vtt"].text.count("-->") == len(re.findall(r"(?m)^\d\d:\d\d:\d\d\.\d{3} --> ", told["vtt"].text))
    assert not re.search(r"<(?!v )", told["vtt"].text)
    if report := told.get("html"):
        assert text not in report.text
        drawing = re.search(r'<script type="application/json" id="drawing">(.*?)</script>', report.text, re.DOTALL)
        assert drawing
        json.loads(drawing[1])


async def test_a_files_name_is_no_more_than_its_name(service: Service, sound: Pcm) -> None:
    for name in ("\x1b[31mred.wav", "a\u202egpj.wav", "CON.wav", "..\\..\\x.wav", "/etc/passwd", "n" * 2_000 + ".wav"):
        answer = await send(service.api, wav_of(sound[:8_000]), name)
        assert answer.status_code == 202, answer.text
        told = answer.json()
        assert told["file"].isprintable()
        assert not set("/\\") & set(told["file"])
        assert len(told["file"]) <= 200
        headers = {"Authorization": f"Bearer {told['key']}"}
        async with httpx.AsyncClient(base_url=service.api, headers=headers) as http:
            assert (await http.delete(f"/v1/recordings/{told['id']}")).status_code == 200


async def test_an_id_leads_nowhere(service: Service, http: Any) -> None:
    """Neither where it is read nor where it is erased, with a key for something else, or by the recorder's line."""
    session = await open_session(service.api, "research")
    key = {"Authorization": f"Bearer {session.recorder_key}"}
    for identity in IDS:
        for thing in ("sessions", "recordings", "voices"):
            for path in READ:
                answer = await http.get(f"/v1/{thing}/{identity}{path}", headers=key)
                assert answer.status_code in (401, 403, 404), (answer.request.url, answer.text)
            answer = await http.delete(f"/v1/{thing}/{identity}", headers=key)
            assert answer.status_code in (403, 404, 405), (answer.request.url, answer.text)
        if "%2f" not in identity.lower() and len(identity) < 100:
            _, code = await answers(session, hello(session), url=session.socket.replace(session.id, identity))
            assert code == 4404
    assert (await session.get())["session"]["id"] == session.id
    log = "\n".join(service.logs().values())
    assert not re.search(r"(?m)^INFO forged", log)
    await session.erase()


async def test_names_of_sessions_are_text(http: Any) -> None:
    for text in TEXTS:
        created = (await http.post("/v1/sessions", json=ASKED | {"remark": text, "name": text})).json()
        key = {"Authorization": f"Bearer {created['recorder_key']}"}
        told = (await http.get(f"/v1/sessions/{created['id']}", headers=key)).json()["session"]
        assert (told["name"], told["remark"]) == (text, text)
        assert (await http.delete(f"/v1/sessions/{created['id']}", headers=key)).status_code == 200
