"""The examples of RECORDINGS.md, replayed against a running service in their order."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx

from tests.service import ROOT, Pcm, Service
from tests.talkers import Said, write_wav

DOCUMENT = ROOT / "deployments" / "RECORDINGS.md"
EXCHANGES = re.findall(r"```exchange\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
REQUEST = re.compile(r"→ (?P<method>[A-Z]+) (?P<path>\S+)(?: (?P<body>\{.*\}))?(?: as (?P<who>KEY|VIEWER))?$")


async def test_the_examples_hold(service: Service, small_conversation: tuple[Pcm, list[Said]], tmp_path: Path) -> None:
    sound = tmp_path / "talk.wav"
    write_wav(sound, small_conversation[0] / 32_768)
    known: dict[str, str] = {}
    lines = [line for exchange in EXCHANGES for line in exchange.strip().splitlines()]
    assert len(lines) > 20
    async with httpx.AsyncClient(base_url=service.api, timeout=60) as http:
        for asked, answered in zip(lines[::2], lines[1::2], strict=True):
            if asked == "→ wait for ID as KEY":
                assert await over(http, known) == answered.removeprefix("← ")
                continue
            request = REQUEST.match(asked)
            assert request, asked
            headers = {"Authorization": f"Bearer {known[request['who']]}"} if request["who"] else {}
            path = request["path"].replace("ID", known.get("ID", ""))
            answer = await http.request(request["method"], path, headers=headers, **body(request["body"], sound))
            status, example = answered.removeprefix("← ").split(" ", 1)
            assert answer.status_code == int(status), (asked, answer.text)
            assert_like(answer.json(), example, known)


async def over(http: httpx.AsyncClient, known: dict[str, str]) -> str:
    headers = {"Authorization": f"Bearer {known['KEY']}"}
    async with asyncio.timeout(90):
        while job := (await http.get(f"/v1/recordings/{known['ID']}", headers=headers)).json():
            if job["state"] not in ("queued", "running"):
                return str(job["state"])
            await asyncio.sleep(0.2)
    raise AssertionError("never over")


def body(text: str | None, sound: Path) -> dict[str, Any]:
    if text is None:
        return {}
    fields = json.loads(text.replace("FILE", '"FILE"'))
    if fields.pop("file", None) is None:
        return {"json": fields}
    return {"data": fields, "files": {"file": ("talk.wav", sound.read_bytes())}}


def assert_like(answer: dict[str, Any], example: str, known: dict[str, str]) -> None:
    """Values are as in the example, names in capitals are learnt from it, and a last … lets others be there."""
    more = example.endswith(", …}")
    bare = re.sub(r'(?<!")(\[…\]|…)(?!")', '"…"', example.replace(", …}", "}"))
    expected = json.loads(bare)
    assert answer.keys() == expected.keys() or (more and answer.keys() > expected.keys())
    for name, value in expected.items():
        if value in ("ID", "KEY", "VIEWER"):
            assert known.setdefault(value, answer[name]) == answer[name]
        elif (name, value) == ("state", "queued"):
            assert answer[name] in ("queued", "running"), "a worker may have begun by now"
        else:
            assert value in ("…", answer[name]), name
