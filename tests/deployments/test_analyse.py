"""`tonetrack analyse`, as a person uses it in a terminal: recordings heard in the process itself, or by a server."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from deployments.analyse_cli import _interruptible
from deployments.analysis import quieten
from deployments.analysis.files import CannotAnalyse, Outputs, Task, find, planned
from deployments.client import add_voice, remove_voice
from deployments.recordings_client import NoServer, Recordings, Refused, idempotency_key
from tests.deployments.test_speakers import alone
from tests.service import ROOT, Service
from tests.talkers import LOW, write_wav

DECLARED = ["--purpose", "research", "--consent"]


def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deployments.cli", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stderr=subprocess.PIPE, text=True)


def analyse(*arguments: str | Path, status: int = 0, **environment: str) -> str:
    """Run it to its end; what it said."""
    running = start("analyse", *arguments, **environment)
    _, said = running.communicate(timeout=200)
    assert running.returncode == status, said
    assert "Traceback" not in said
    return said


@pytest.fixture(scope="module")
def wav(small_conversation: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("wav") / "talk.wav", small_conversation[0].astype(np.float32) / 32_768)


@pytest.fixture(scope="module")
def heard(wav: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that a good and a bad recording were written to, and what was said meanwhile."""
    folder = tmp_path_factory.mktemp("heard")
    bad = folder / "page.wav"
    bad.write_text("<html>no sound</html>")
    formats = [part for name in ("json", "csv", "rttm", "vtt", "chunks.json", "html") for part in ("--format", name)]
    said = analyse(bad, wav, *DECLARED, "--output", folder / "out", *formats, status=1)
    return folder / "out", said


def test_every_format_is_written_and_a_bad_file_stops_no_other(heard: tuple[Path, str]) -> None:
    out, said = heard
    names = {f"talk.{extension}" for extension in ("json", "csv", "rttm", "vtt", "chunks.json", "html")}
    assert {path.name for path in out.iterdir()} == names
    timeline = json.loads((out / "talk.json").read_text())
    assert timeline["ended"]
    assert timeline["speakers"] == [1, 2]
    assert "1 recording analysed (2" in said
    last = said.strip().splitlines()[-1]
    assert "page.wav is not audio that can be decoded: it is a web page" in last
    page = (out / "talk.html").read_text()
    assert "Analysed" in page
    assert "Uploaded" not in page


@pytest.mark.slow
def test_what_is_there_is_skipped_unless_forced(heard: tuple[Path, str], wav: Path) -> None:
    written = heard[0] / "talk.json"
    text = written.read_text()
    before = written.stat().st_mtime_ns
    said = analyse(wav, *DECLARED, "--output", heard[0])
    assert "1 recording skipped" in said
    assert written.stat().st_mtime_ns == before
    said = analyse(wav, *DECLARED, "--output", heard[0], "--force")
    assert "skipped" not in said
    assert written.stat().st_mtime_ns > before
    again = json.loads(written.read_text())
    assert again == json.loads(text) | {"declared": again["declared"]}  # which tells when it was agreed to


def test_a_server_hears_the_same_and_keeps_nothing(
    heard: tuple[Path, str], wav: Path, service: Service, tmp_path: Path
) -> None:
    keys, bad = tmp_path / "keys.json", tmp_path / "page.wav"
    bad.write_text("<html>no sound</html>")
    formats = ["--format", "json", "--format", "csv", "--format", "html"]
    to = ["--output", tmp_path, "--keys", keys, "--erase", *formats]
    said = analyse(bad, wav, *DECLARED, "--server", service.api, *to, status=1)
    assert "page.wav: This file is not audio that can be decoded: it is a web page" in said
    assert (tmp_path / "talk.csv").read_bytes() == (heard[0] / "talk.csv").read_bytes()
    theirs, ours = (json.loads((folder / "talk.json").read_text()) for folder in (tmp_path, heard[0]))
    for told in (theirs, ours):
        del told["declared"]["consent"]["agreed_at"]
    assert theirs == ours
    assert "Uploaded" in (tmp_path / "talk.html").read_text()
    assert keys.stat().st_mode & 0o777 == 0o600
    known = json.loads(keys.read_text())
    assert known["key"] not in said
    (recording,) = known["recordings"]
    bearer = {"Authorization": f"Bearer {known['key']}"}
    assert httpx.get(f"{service.api}/v1/recordings/{recording['id']}", headers=bearer).status_code == 404


def test_the_key_is_told_once_and_opens_all_uploads(wav: Path, service: Service, tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(wav.read_bytes())
    said = analyse(wav, other, *DECLARED, "--server", service.api, "--output", tmp_path)
    (line,) = [line for line in said.splitlines() if "under the key" in line]
    bearer = {"Authorization": f"Bearer {line.split()[-1]}"}
    jobs = httpx.get(f"{service.api}/v1/recordings", headers=bearer).json()["recordings"]
    assert {job["name"] for job in jobs} == {"talk.wav", "other.wav"}
    for job in jobs:
        httpx.delete(f"{service.api}/v1/recordings/{job['id']}", headers=bearer)


def test_a_server_calls_those_by_their_names_whose_voices_are_enrolled(
    wav: Path, service: Service, tmp_path: Path
) -> None:
    anna = asyncio.run(add_voice(service.api, alone(tmp_path, LOW, 12), "Anna"))
    named = ["--voice", f"{anna['id']}:{anna['key']}"]
    analyse(wav, *DECLARED, "--server", service.api, "--output", tmp_path, "--erase", *named)
    assert list(json.loads((tmp_path / "talk.json").read_text())["names"].values()) == ["Anna"]
    asyncio.run(remove_voice(service.api, anna["id"], anna["key"]))
    said = analyse(wav, *DECLARED, "--server", service.api, "--output", tmp_path, "--force", *named, status=1)
    assert "There is no such voice: it was never enrolled, has expired, or was erased." in said


class Interrupted(io.BytesIO):
    """A file in whose first reading somebody presses Ctrl-C."""

    pressed = False

    def read(self, size: int | None = -1) -> bytes:
        if not self.pressed:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)
        return super().read(size)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_is_heeded_where_ffmpeg_loses_it(wav: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with _interruptible() as heed:
        heed()
        with suppress(av.FFmpegError):
            av.open(Interrupted(wav.read_bytes())).close()
        with pytest.raises(KeyboardInterrupt):
            heed()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_ctrl_c_says_how_far_it_came(small_conversation: Any, tmp_path: Path) -> None:
    audio = np.tile(small_conversation[0].astype(np.float32) / 32_768, 20)
    paths = [write_wav(tmp_path / f"long{number}.wav", audio) for number in range(3)]
    running = start("analyse", *paths, *DECLARED, "--output", tmp_path)
    assert running.stderr
    for line in running.stderr:
        if "who speaks" in line:
            break
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert "Stopped before 3 recordings" in said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("*.json"))
    assert not list(tmp_path.glob(".tonetrack-*"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["talk.wav"], "--consent"),
        (["talk.wav", *DECLARED, "--format", "xml"], "There is no format xml; there are: json"),
        (["talk.wav", *DECLARED, "--channels", "left"], "--channels Input should be 'mix' or 'speakers'"),
        (["talk.wav", *DECLARED, "--speakers-at-least", "3", "--speakers-at-most", "2"], "At least 3 and at most 2"),
        (["talk.wav", *DECLARED, "--erase"], "--server URL"),
        (["talk.wav", *DECLARED, "--voice", "id:key"], "--server URL"),
        (["talk.wav", *DECLARED, "--server", "http://127.0.0.1:1", "--voice", "Anna"], "--voice ID:KEY"),
        (["talk.wav", *DECLARED, "--server", "http://127.0.0.1:1", *(["--voice", "a:b"] * 13)], "--voice List should"),
        (["nowhere.wav", *DECLARED], "There is no file or folder nowhere.wav"),
        (["ui/templates", *DECLARED], "ui/templates holds no recording"),
        (["README.md", *DECLARED, "--output", "/proc/out"], "Nothing can be written to /proc/out"),
        (["README.md", *DECLARED, "--output", "ftp://host/out"], "is no place for recordings"),
        (["README.md", *DECLARED, "--server", "http://127.0.0.1:1"], "is `tonetrack up` running?"),
        (["README.md", *DECLARED, "--output", "OUT", "--server", "nonsense"], "nonsense"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(arguments: list[str], says: str, tmp_path: Path) -> None:
    given = [str(tmp_path) if argument == "OUT" else argument for argument in arguments]
    if "--output" not in given:
        given += ["--output", str(tmp_path)]
    said = analyse(*given, status=1)
    assert says in said
    assert len(said.strip().splitlines()) == 1


def test_two_recordings_of_one_name_are_never_written_over_each_other(tmp_path: Path) -> None:
    for name in ("a/talk.wav", "b/talk.mp3", "c/talk.json"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    outputs = Outputs(str(tmp_path / "out"))
    tasks, problems = find([str(tmp_path / "a" / "talk.wav"), str(tmp_path / "b" / "talk.mp3")])
    assert not problems
    with pytest.raises(CannotAnalyse, match=r"would both be written to talk\.json"):
        planned(tasks, ["json"], outputs, False)
    tasks, _ = find([str(tmp_path)])
    assert [(task.name, task.files) for task in planned(tasks, ["csv"], outputs, False)] == [
        ("a/talk", ["a/talk.csv"]),
        ("b/talk", ["b/talk.csv"]),
    ]
    tasks, _ = find([str(tmp_path / "c" / "talk.json")])
    with pytest.raises(CannotAnalyse, match="over the recording"):
        planned(tasks, ["json"], Outputs(str(tmp_path / "c")), True)


def test_a_recording_named_twice_is_heard_once_and_hidden_files_never(tmp_path: Path) -> None:
    for name in ("talk.wav", "._talk.wav", "notes.txt", "deep/er/LOUD.FLAC", ".git/x.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    tasks, problems = find([str(tmp_path), str(tmp_path / "talk.wav")])
    assert not problems
    assert sorted(task.name for task in tasks) == ["deep/er/LOUD", "talk"]


def test_what_breaks_off_is_never_there(tmp_path: Path) -> None:
    outputs = Outputs(str(tmp_path))

    def pieces() -> Any:
        yield b"half"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        outputs.write("sub/talk.json", pieces())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    with pytest.raises(CannotAnalyse, match="cannot be written: No space left on device"):
        _Full(str(tmp_path)).write("talk.json", [b"whole"])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


class _Full(Outputs):
    def _commit(self, file: Any, name: str) -> None:
        raise OSError(28, "No space left on device")


async def test_a_line_that_breaks_and_a_server_that_is_busy_are_waited_for(tmp_path: Path) -> None:
    seen: list[tuple[str, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers["Idempotency-Key"], request.content))
        match len(seen):
            case 1:
                raise httpx.ReadError("the line broke")
            case 2:
                return httpx.Response(503, json={"detail": "Too many recordings wait."}, headers={"Retry-After": "0"})
            case 3:
                return httpx.Response(409, json={"detail": "Still on its way."}, headers={"Retry-After": "0"})
            case 4:
                return httpx.Response(507, json={"detail": "There is no room."}, headers={"Retry-After": "0"})
        return httpx.Response(202, json={"id": "1", "key": "owner", "viewer_key": "v"})

    waited: list[str] = []
    sent: list[tuple[int, int]] = []
    path = tmp_path / "talk.wav"
    path.write_bytes(b"sound" * 50_000)
    async with Recordings("http://server", transport=httpx.MockTransport(_read(answer))) as recordings:
        with path.open("rb") as file:
            known_by = idempotency_key("run", str(path))
            taken = await recordings.upload(
                file, "talk.wav", {"purpose": "x"}, known_by, lambda *so_far: sent.append(so_far), waited.append
            )
    assert taken["id"] == "1"
    assert recordings.key == "owner"
    assert {key for key, _ in seen} == {known_by}
    assert all(b"sound" * 50_000 in content for _, content in seen)
    assert sent[-1] == (250_000, 250_000)
    told = ["Too many recordings wait", "Still on its way", "There is no room"]
    assert [reason.split(".")[0] for reason in waited][1:] == told


async def test_a_refusal_is_told_in_the_servers_words() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"detail": "There is no such recording."})

    async with Recordings("http://server", "key", httpx.MockTransport(answer)) as recordings:
        with pytest.raises(Refused, match="no such recording"):
            await recordings.job("0" * 16)
        await recordings.erase("0" * 16)
        with pytest.raises(NoServer, match="no ToneTrack service"):
            await recordings.check()


def _read(answer: Any) -> Any:
    async def handle(request: httpx.Request) -> httpx.Response:
        await request.aread()
        return answer(request)

    return handle


def test_a_task_may_be_shown_whatever_its_name(tmp_path: Path) -> None:
    name = os.fsdecode(b"b\xfcse\x1b[31m.wav")
    assert "\x1b" not in Task(str(tmp_path / name), "x").label


def test_a_ray_of_its_own_is_nobody_elses_and_another_stays_as_it_is() -> None:
    own: dict[str, str] = {}
    quieten(own)
    other: dict[str, str] = {"RAY_AUTH_MODE": "disabled"}
    quieten(other, own_ray=False)
    assert own["RAY_AUTH_MODE"] == "token"
    assert len(own["RAY_AUTH_TOKEN"]) == 64
    assert own["OMP_NUM_THREADS"] == other["OMP_NUM_THREADS"] == "1"
    assert {name for name in other if name.startswith("RAY_")} == {"RAY_AUTH_MODE"}
    assert other["RAY_AUTH_MODE"] == "disabled"
