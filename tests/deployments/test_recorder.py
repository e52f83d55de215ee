"""`tonetrack record`, as a person uses it in a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from deployments import cli, client
from deployments.recorder import _watch, describe_lags
from pipeline.events import Event, HopHeard, SpeakerNamed, TurnUpdated, Warned
from pipeline.timeline import Turn
from tests.deployments.test_hostile_names import TEXTS
from tests.service import ROOT, Service
from tests.talkers import write_wav

DECLARED = ["--purpose", "research", "--consent"]


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deployments.cli", "record", *arguments]
    environment = os.environ | {"COLUMNS": "100"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def wav(small_conversation: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("wav") / "talk.wav", small_conversation[0].astype(np.float32) / 32_768)


@pytest.mark.parametrize("codec", ["pcm16", "webm"])
def test_a_file_is_heard_and_measured(service: Service, wav: Path, tmp_path: Path, codec: str) -> None:
    output = tmp_path / "talk.json"
    recording = start(
        str(wav),
        *DECLARED,
        "--server",
        service.api,
        "--pace",
        "6",
        "--codec",
        codec,
        "--stats",
        "--output",
        str(output),
    )
    _, said = recording.communicate(timeout=90)
    assert recording.returncode == 0, said
    assert "Speaker 2" in said
    found = re.search(r"p50 ([\d.]+) s, p95 ([\d.]+) s, p99 ([\d.]+) s", said)
    assert found, said
    assert 0 < float(found[1]) <= float(found[2]) <= float(found[3])
    timeline = json.loads(output.read_text())
    assert timeline["ended"]
    assert timeline["speakers"] == [1, 2]


def heard(service: Service, keys: Path) -> bool:
    """Whether anything was heard of a session, whose keys may just be being written."""
    try:
        known = json.loads(keys.read_text())
    except json.JSONDecodeError:
        return False
    bearer = {"Authorization": f"Bearer {known['viewer_key']}"}
    told = httpx.get(f"{service.api}/v1/sessions/{known['id']}", headers=bearer).raise_for_status().json()
    return bool(told["heard_until"] > 0.5)


def test_ctrl_c_ends_a_recording_and_keeps_it(service: Service, wav: Path, tmp_path: Path) -> None:
    keys, output = tmp_path / "keys.json", tmp_path / "talk.json"
    recording = start(
        str(wav), *DECLARED, "--server", service.api, "--keys", str(keys), "--output", str(output), "--pace", "0.5"
    )
    until = time.monotonic() + 60
    while not keys.exists() or not heard(service, keys):
        assert time.monotonic() < until
        time.sleep(0.1)
    recording.send_signal(signal.SIGINT)
    _, said = recording.communicate(timeout=60)
    assert recording.returncode == 0, said
    timeline = json.loads(output.read_text())
    assert timeline["ended"]
    assert 0.5 < timeline["heard_until"] < 20, "the file is longer"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Name a file"),
        (["talk.wav"], "--consent"),
        (["talk.wav", *DECLARED, "--codec", "mp3"], "pcm16 or webm"),
        (["talk.wav", *DECLARED, "--keys", "nowhere/keys.json"], "there is no folder nowhere"),
        (["talk.wav", *DECLARED, "--voice", "foo"], "--voice ID:KEY"),
        (["talk.wav", *DECLARED], "talk.wav cannot be opened: No such file or directory"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(arguments: list[str], says: str) -> None:
    recording = start(*arguments)
    _, said = recording.communicate(timeout=60)
    assert recording.returncode == 1
    assert says in said
    assert len(said.strip().splitlines()) == 1


def test_a_server_that_is_not_there(wav: Path) -> None:
    recording = start(str(wav), *DECLARED, "--server", "http://127.0.0.1:1")
    _, said = recording.communicate(timeout=60)
    assert recording.returncode == 1
    assert "is `tonetrack up` running?" in said


def test_a_file_that_is_no_audio(service: Service, tmp_path: Path) -> None:
    (tmp_path / "no.mp3").write_text("no audio")
    recording = start(str(tmp_path / "no.mp3"), *DECLARED, "--server", service.api)
    _, said = recording.communicate(timeout=60)
    assert recording.returncode == 1
    assert "not audio that can be decoded" in said
    assert "Traceback" not in said


def test_whoever_records_in_a_terminal_may_correct(service: Service, wav: Path, tmp_path: Path) -> None:
    keys, output = tmp_path / "keys.json", tmp_path / "talk.json"
    keys.write_text("of another session, and much longer than what comes in its place" * 10)
    keys.chmod(0o644)
    told = ["--pace", "0", "--diariser", "local", "--language", "de-CH", "--keys", str(keys), "--output", str(output)]
    recording = start(str(wav), *DECLARED, "--server", service.api, *told)
    _, said = recording.communicate(timeout=90)
    assert recording.returncode == 0, said
    assert keys.stat().st_mode & 0o777 == 0o600
    known = json.loads(keys.read_text())
    assert known.keys() == {"id", "recorder_key", "viewer_key"}
    assert known["recorder_key"] not in said
    session = json.loads(output.read_text())["session"]
    assert (session["id"], session["diariser"], session["language"]) == (known["id"], "local", "de-CH")
    where = f"{service.api}/v1/sessions/{known['id']}"
    bearers = {name: {"Authorization": f"Bearer {known[name]}"} for name in ("recorder_key", "viewer_key")}
    named = httpx.patch(f"{where}/speakers/1", json={"name": "Anna"}, headers=bearers["recorder_key"])
    assert named.status_code == 200, named.text
    assert httpx.get(where, headers=bearers["viewer_key"]).json()["names"] == {"1": "Anna"}


async def test_each_kind_of_warning_is_shown_once() -> None:
    async def events() -> AsyncIterator[tuple[str, Event]]:
        for code, message in [("google", "No [bold]quota."), ("google", "No network."), ("stuck", "A halt.")]:
            yield "0-1", Warned(code=code, message=message)

    session: Any = SimpleNamespace(events=events)
    console = Console(file=io.StringIO(), width=80)
    assert await _watch(session, console) == []
    said: Any = console.file
    lines = [line.strip() for line in said.getvalue().splitlines()]
    assert [line for line in lines if line.endswith(".")] == ["No [bold]quota.", "A halt."]


@pytest.mark.parametrize("name", TEXTS)
async def test_a_name_is_text_in_the_table_of_speakers(name: str) -> None:
    """Square brackets were markup: one name ended the recording with an error, another became a link."""

    async def events() -> AsyncIterator[tuple[str, Event]]:
        for event in (
            TurnUpdated(turn=Turn(id=1, speaker=1, start=0, end=1)),
            SpeakerNamed(speaker=1, name=name),
            HopHeard(heard_until=1, speech=True, arrived_at=1, published_at=2),
        ):
            yield "0-1", event

    session: Any = SimpleNamespace(events=events)
    console = Console(file=io.StringIO(), width=120)
    assert await _watch(session, console) == [1]
    said: Any = console.file
    assert name in said.getvalue()


@pytest.mark.parametrize("name", TEXTS)
def test_a_name_is_text_where_a_voice_is_enrolled(name: str, wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def add_voice(*_: object) -> dict[str, Any]:
        return {"id": "voice", "key": "key", "name": name, "seconds": 11.5}

    monkeypatch.setattr(client, "add_voice", add_voice)
    ran = CliRunner().invoke(cli.app, ["voices", "add", str(wav), "--name", name.lstrip("-"), "--consent"])
    assert ran.exit_code == 0, ran.output
    assert f"{name} is enrolled from 11.5 s of speech." in ran.output


def test_percentiles_are_those_of_the_hops() -> None:
    assert describe_lags([0.1] * 99 + [1.1]).startswith("arrival to event: p50 0.100 s, p95 0.100 s, p99 0.110 s")
    assert "no events" in describe_lags([])
