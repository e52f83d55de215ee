"""What comes of a recording, in every format in which it is handed out, through the whole service."""

from __future__ import annotations

import csv
import io
import re

import httpx
import pytest

from pipeline.exports import FORMATS
from tests.service import Service, silence
from tests.uploads import Json, Uploaded, assert_alike, heard_in, upload, wav_of


async def test_a_timeline_comes_in_every_format(done: Uploaded, heard_here: Json) -> None:
    for extension, form in FORMATS.items():
        by_extension = await done.get(f"/timeline.{extension}")
        by_header = await done.get("/timeline", accept=form.media_type)
        assert by_extension.content == by_header.content
        for answer in (by_extension, by_header):
            assert answer.headers["content-type"].split(";")[0] == form.media_type
            assert "Accept" in answer.headers["vary"].split(", ")
            assert answer.headers["content-disposition"] == f'attachment; filename="Gr-e-b-1.{extension}"'
    assert_alike(heard_in((await done.get("/timeline")).json()), heard_here)
    assert (await done.get("/timeline", accept="text/html, text/*;q=0.5")).text.startswith("start,end,speaker")
    rows = list(csv.DictReader(io.StringIO((await done.get("/timeline.csv")).text)))
    assert len(rows) == len(heard_here["readings"])
    assert (await done.get("/timeline.vtt")).text.startswith("WEBVTT")
    chunks = (await done.get("/timeline.chunks.json")).json()
    assert [list(chunk) for chunk in chunks] == [["1", "2"]]
    refused = await done.get("/timeline", 406, accept="image/png")
    assert refused.json()["detail"].startswith("A timeline comes as application/json, ")
    for unknown in ("xml", "JSON", "a" * 15):
        said = (await done.get(f"/timeline.{unknown}", 404)).json()["detail"]
        assert said == f"There is no timeline.{unknown}; there are: json, chunks.json, csv, rttm, vtt."
    await done.get(f"/timeline.{'a' * 21}", 422)


async def test_silence_has_an_empty_timeline(service: Service) -> None:
    recording = await upload(service.api, wav_of(silence(70)))
    heard = await recording.heard()
    assert (heard["turns"], heard["readings"], heard["speakers"], heard["heard_until"]) == ([], [], [], 70.0)
    assert (await recording.get("/timeline.csv")).text.count("\r\n") == 1
    assert (await recording.get("/timeline.rttm")).text == ""
    assert (await recording.get("/report.html")).status_code == 200


async def test_corrections_of_speakers_follow_into_every_format(service: Service, wav: bytes) -> None:
    recording = await upload(service.api, wav)
    await recording.heard()
    sessions = f"{service.api}/v1/sessions/{recording.id}"
    async with recording.client() as http, recording.client(recording.viewer_key) as viewer:
        assert (await viewer.patch(f"{sessions}/speakers/1", json={"name": "Eve"})).status_code == 403
        assert (await http.patch(f"{sessions}/speakers/1", json={"name": "=Anna"})).status_code == 200
        rows = list(csv.DictReader(io.StringIO((await recording.get("/timeline.csv")).text)))
        assert {(row["speaker"], row["name"]) for row in rows} == {("1", "'=Anna"), ("2", "Speaker 2")}
        assert (await http.post(f"{sessions}/speakers/2/merge", json={"into": 1})).status_code == 200
        assert (await viewer.get(sessions)).json()["names"] == {"1": "=Anna"}
    rows = list(csv.DictReader(io.StringIO((await recording.get("/timeline.csv")).text)))
    assert {(row["speaker"], row["name"]) for row in rows} == {("1", "'=Anna")}
    assert "Speaker_2" not in (await recording.get("/timeline.rttm")).text
    assert "=Anna" in (await recording.get("/report.html")).text
    assert (await recording.get("/timeline")).json()["speakers"] == [1]


async def test_a_report_opens_without_a_network(done: Uploaded) -> None:
    report = await done.get("/report.html")
    assert report.headers["content-type"].startswith("text/html")
    assert report.headers["content-disposition"] == 'attachment; filename="Gr-e-b-1.html"'
    assert "<b>1.wav" not in report.text
    assert "Größe &lt;b&gt;1.wav" in report.text
    assert not re.search(r"<(script|link|img|iframe)\b[^>]+(src|href)=.?http", report.text)


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        (None, 200, slice(None)),
        ("bytes=0-", 206, slice(None)),
        ("bytes=0-99", 206, slice(0, 100)),
        ("bytes=100-100", 206, slice(100, 101)),
        ("bytes=700000-", 206, slice(700_000, None)),
        ("bytes=-50", 206, slice(-50, None)),
        ("bytes=-999999999", 206, slice(None)),
        ("bytes=10-999999999", 206, slice(10, None)),
        ("bytes=999999999-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=0-1,5-6", 200, slice(None)),
        ("bytes=", 200, slice(None)),
        ("bytes=-", 200, slice(None)),
        ("bytes=a-b", 200, slice(None)),
        ("seconds=1-2", 200, slice(None)),
        ("bytes=" + "9" * 18 + "-", 416, None),
        ("bytes=" + "9" * 4_000 + "-", 200, slice(None)),
    ],
)
async def test_kept_sound_comes_whole_and_in_parts(
    done: Uploaded, wav: bytes, wanted: str | None, status: int, part: slice | None
) -> None:
    answer = await done.get("/audio", status, **({"range": wanted} if wanted else {}))
    assert answer.headers["accept-ranges"] == "bytes" if part else True
    if part is None:
        assert answer.headers["content-range"] == f"bytes */{len(wav)}"
        assert answer.json()["detail"] == f"The sound has {len(wav)} bytes."
        return
    assert answer.content == wav[part]
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-length"] == str(len(wav[part]))
    if status == 206:
        start, stop, _ = part.indices(len(wav))
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(wav)}"


async def test_the_api_describes_recordings_with_examples(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.api) as http:
        described = (await http.get("/openapi.json")).json()
    paths, schemas = described["paths"], described["components"]["schemas"]
    routes = {path.removeprefix("/v1/recordings"): path for path in paths if path.startswith("/v1/recordings")}
    parts = (
        "",
        "/events",
        "/timeline",
        "/timeline.{extension}",
        "/report.html",
        "/audio",
        "/deliveries",
        "/cancel",
        "/looks",
        "/viewer-key",
    )
    assert set(routes) == {"", "/key", *(f"/{{recording}}{part}" for part in (*parts, "/retry"))}
    form = paths["/v1/recordings"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["example"]["consent"] is True
    assert {"file", "purpose", "consent"} == set(form["schema"]["required"])
    assert form["schema"]["properties"]["file"]["format"] == "binary"
    for name in ("TakenIn", "Recordings"):
        assert schemas[name]["examples"]
    timeline = paths["/v1/recordings/{recording}/timeline"]["get"]["responses"]["200"]["content"]
    assert set(timeline) == {one.media_type for one in FORMATS.values()}
    for methods in (paths[path] for path in routes.values()):
        for operation in methods.values():
            assert operation["description"]
