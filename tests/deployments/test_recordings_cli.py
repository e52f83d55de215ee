"""`tonetrack recordings`, as owners of recordings and operators of a service use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import typer

from deployments import recordings_cli
from deployments.recordings_client import _detail, _path
from pipeline.job import Job, State
from tests.service import ROOT, Service, silence
from tests.uploads import SAID, wav_of
from training.console import fail

GIVEN_UP = "It was begun 3 times."


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


def recordings(*arguments: str, **environment: str) -> Ran:
    command = [sys.executable, "-m", "deployments.cli", "recordings", *arguments]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TONETRACK_")}
    variables = plain | {"COLUMNS": "140"} | environment
    ran = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in ran.stderr
    return Ran(ran.returncode, ran.stdout, ran.stderr)


@dataclass(frozen=True)
class Uploaded:
    service: Service
    key: str
    ids: list[str]

    @property
    def where(self) -> list[str]:
        return ["--key", self.key, "--server", self.service.api]

    @property
    def redis_url(self) -> str:
        return f"unix://{self.service.redis().connection_pool.connection_kwargs['path']}"

    def give_up(self, recording: str) -> None:
        """Lay a recording aside, as a worker does with what breaks it."""
        redis = self.service.redis()
        fields: Any = {"state": "failed", "retryable": 1, "error": GIVEN_UP}
        redis.hset(f"tonetrack:{{{recording}}}:job", mapping=fields)
        redis.zadd("tonetrack:jobs:dead", {recording: 1.0})


@pytest.fixture(scope="module")
def uploaded(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uploaded]:
    """Two recordings under one key, heard."""
    path = tmp_path_factory.mktemp("sound") / "quiet.wav"
    soundfile.write(path, np.zeros(16_000, np.float32), 16_000)
    key, ids = "", []
    for name in ("first", "second [bold]"):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        said: Any = {"purpose": "research", "consent": "true", "name": name, "keep_audio": "true"}
        with path.open("rb") as file:
            answer = httpx.post(
                f"{service.api}/v1/recordings", data=said, files={"file": file}, headers=headers, timeout=60
            )
        taken = answer.raise_for_status().json()
        key = key or taken["key"]
        ids.append(taken["id"])
        with httpx.stream(
            "GET", f"{service.api}/v1/recordings/{taken['id']}/events", headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        ) as events:  # fmt: skip
            events.read()
    yield Uploaded(service, key, ids)
    for recording in ids:
        httpx.delete(f"{service.api}/v1/recordings/{recording}", headers={"Authorization": f"Bearer {key}"})


def test_what_is_there_is_listed_and_shown(uploaded: Uploaded) -> None:
    listed = recordings("list", *uploaded.where)
    assert listed.status == 0, listed.err
    assert "second [bold]" in listed.out
    for identity in uploaded.ids:
        assert identity in listed.out
    known = json.loads(recordings("list", *uploaded.where, "--json").out)
    assert [job["id"] for job in known] == uploaded.ids[::-1]
    shown = recordings("show", uploaded.ids[0], *uploaded.where)
    assert "research" in shown.out
    assert "done" in shown.out
    assert json.loads(recordings("show", uploaded.ids[0], *uploaded.where, "--json").out)["name"] == "first"


def test_what_cannot_be_is_said_in_the_services_words(uploaded: Uploaded) -> None:
    over = recordings("cancel", uploaded.ids[0], *uploaded.where)
    assert (over.status, over.err.strip()) == (1, "This recording is over already: done.")
    unknown = recordings("show", "0" * 16, *uploaded.where)
    assert unknown.status == 1
    assert "There is no such recording" in unknown.err
    wrong = recordings("list", "--key", "wrong", "--server", uploaded.service.api)
    assert wrong.status == 1
    assert "No recordings are under this key" in wrong.err
    away = recordings("list", "--key", "any", "--server", "http://127.0.0.1:1")
    assert away.status == 1
    assert "is `tonetrack up` running?" in away.err


def test_owners_replace_a_key_that_has_leaked(service: Service) -> None:
    sound = {"file": ("talk.wav", wav_of(silence(1)))}
    taken = httpx.post(f"{service.api}/v1/recordings", data=SAID, files=sound, timeout=60).raise_for_status().json()
    where = ["--server", service.api]
    renewed = recordings("renew-key", "--key", taken["key"], *where)
    assert renewed.status == 0, renewed.err
    refused = recordings("renew-key", "--key", taken["key"], *where)
    assert (refused.status, refused.out) == (1, "")
    assert "No recordings are under this key" in refused.err
    key = renewed.out.strip()
    (job,) = json.loads(recordings("list", "--key", key, "--json", *where).out)
    assert job["id"] == taken["id"]
    assert recordings("erase", taken["id"], "--key", taken["key"], *where).status == 1
    assert recordings("erase", taken["id"], "--key", key, *where).status == 0


def test_owners_send_again_what_was_given_up(uploaded: Uploaded) -> None:
    first, second = uploaded.ids
    assert "Nothing was given up" in recordings("dead", *uploaded.where).err
    refused = recordings("retry", first, *uploaded.where)
    assert refused.status == 1
    assert "Only what was given up can be sent again" in refused.err
    uploaded.give_up(second)
    assert GIVEN_UP in recordings("dead", *uploaded.where).out
    again = recordings("retry", "--all", *uploaded.where)
    assert again.status == 0, again.err
    assert "1 recording is in the queue again" in again.err


@pytest.mark.slow
def test_operators_need_no_key(uploaded: Uploaded) -> None:
    first, second = uploaded.ids
    uploaded.give_up(first)
    environment = {"TONETRACK_REDIS_URL": uploaded.redis_url}
    known = json.loads(recordings("dead", "--json", **environment).out)
    assert [job["id"] for job in known] == [first]
    again = recordings("retry", first, "0" * 16, **environment)
    assert again.status == 1
    assert "1 recording is in the queue again" in again.err
    assert f"{'0' * 16}: there is no such recording" in again.err
    assert "Nothing was given up" in recordings("dead", **environment).err
    bearer = {"Authorization": f"Bearer {uploaded.key}"}
    for recording in (first, second):  # the queue has them, and they are heard once more
        with httpx.stream(
            "GET", f"{uploaded.service.api}/v1/recordings/{recording}/events", headers=bearer, timeout=60
        ) as events:
            assert "recording.done" in events.read().decode()


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["dead"], {}, "There is neither a key nor a Redis"),
        (["retry", "--all"], {}, "There is neither a key nor a Redis"),
        (["retry"], {}, "or say --all"),
        (["retry", "0", "--all"], {}, "or say --all"),
        (["dead"], {"TONETRACK_REDIS_URL": "redis://127.0.0.1:1"}, "No Redis answers at TONETRACK_REDIS_URL"),
        (["dead"], {"TONETRACK_REDIS_URL": "http://x"}, "`tonetrack config` says which"),
    ],
)
def test_what_is_missing_is_said(arguments: list[str], environment: dict[str, str], says: str) -> None:
    ran = recordings(*arguments, **environment)
    assert ran.status == 1
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_nothing_that_a_server_says_moves_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A server is whoever --server names: escape sequences in what it calls things went straight to the terminal."""
    nasty = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.exe\nid  name"
    job = Job(id="1" * 16, name=nasty, purpose=nasty, state=State.FAILED, created_at=1.0, error=nasty, file=nasty)
    recordings_cli._show([job], False, "none")
    with pytest.raises(typer.Exit):
        fail(_detail(httpx.Response(422, json={"detail": nasty})))
    told = capsys.readouterr()
    shown = f"{told.out}{told.err}{recordings_cli._called(job)}".replace("\n", "")
    assert "title" in shown
    assert shown.isprintable()


@pytest.mark.parametrize("identity", ["../sessions/1", "1/timeline.csv", "1?x", "%2e%2e", "a#b", "\x00"])
def test_an_id_that_is_typed_leads_nowhere_else(identity: str) -> None:
    assert not set(_path(identity).removeprefix("/v1/recordings/")) & set("/?#\x00")


def test_what_is_erased_is_gone(uploaded: Uploaded) -> None:
    gone = uploaded.ids[1]
    assert recordings("erase", gone, *uploaded.where).status == 0
    shown = recordings("show", gone, *uploaded.where)
    assert shown.status == 1
    assert "no such recording" in shown.err
