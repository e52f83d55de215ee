"""What may be recorded is the operator's decision, at every door."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import HTTPException
from typer.testing import CliRunner

from deployments.cli import app
from deployments.context import Context
from deployments.gate import Caller
from deployments.ingress import build_api
from deployments.routes.uploads import _understood
from deployments.settings import Settings
from pipeline.consent import CURRENT
from pipeline.purposes import Purpose

NOTHING: Any = None
REASON = "forbids inferring emotions at work and in education"


class OpenGate:
    """Lets everybody in."""

    async def caller(self, _: str | None, address: str) -> Caller:
        return Caller("", address)

    async def admit(self, *_: Any) -> None:
        """As often as they like."""


def context(**settings: Any) -> Context:
    at_ease, gate = cast(Any, SimpleNamespace(full=False, recorders=0)), cast(Any, OpenGate())
    return Context(Settings(**settings), NOTHING, at_ease, NOTHING, NOTHING, gate)


def asking(**settings: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(build_api(context(**settings)))
    return httpx.AsyncClient(transport=transport, base_url="http://here")


async def test_purposes_and_wordings_can_be_read() -> None:
    async with asking(refused_purposes=["therapy"]) as http:
        told = (await http.get("/v1/purposes")).json()["purposes"]
        current = (await http.get("/v1/consent")).json()
        assert (await http.get(f"/v1/consent/{CURRENT.version}")).json() == current == CURRENT.model_dump()
        unknown = await http.get("/v1/consent/1999-01")
    assert [one["name"] for one in told] == list(Purpose)
    assert [one["name"] for one in told if one["refused"]] == ["therapy"]
    assert unknown.status_code == 404
    assert CURRENT.version in unknown.json()["detail"]


@pytest.mark.parametrize("purpose", ["work", "education"])
async def test_what_the_law_forbids_is_refused_unless_the_operator_says_otherwise(purpose: str) -> None:
    said = {"purpose": purpose, "consent": True}
    async with asking() as http:
        refused = await http.post("/v1/sessions", json=said)
    assert refused.status_code == 422
    assert REASON in refused.json()["detail"]
    form = {"purpose": purpose, "consent": "true"}
    with pytest.raises(HTTPException) as stopped:
        _understood(form, context())
    assert (stopped.value.status_code, REASON in stopped.value.detail) == (422, True)
    assert _understood(form, context(refused_purposes=[])).purpose == purpose


def test_the_setting_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONETRACK_REFUSED_PURPOSES", '["personal"]')
    assert Settings().refused_purposes == [Purpose.PERSONAL]
    printed = CliRunner().invoke(app, ["config"])
    assert 'TONETRACK_REFUSED_PURPOSES=["personal"]' in printed.output
    monkeypatch.setenv("TONETRACK_REFUSED_PURPOSES", '["meetings"]')
    wrong = CliRunner().invoke(app, ["config"])
    assert wrong.exit_code == 1
    assert "TONETRACK_REFUSED_PURPOSES" in wrong.output
    assert "'work'" in wrong.output


@pytest.mark.parametrize("command", ["record", "analyse"])
def test_a_terminal_names_the_purposes_that_there_are(command: str) -> None:
    ran = CliRunner().invoke(app, [command, "talk.wav", "--purpose", "staff meeting", "--consent"])
    assert ran.exit_code == 2
    assert "personal" in ran.output


def test_what_is_analysed_without_a_server_is_refused_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    analysing = ["analyse", "talk.wav", "--purpose", "work", "--consent"]
    refused = CliRunner().invoke(app, analysing)
    assert refused.exit_code == 1
    assert REASON in " ".join(refused.output.split())
    monkeypatch.setenv("TONETRACK_REFUSED_PURPOSES", "[]")
    assert REASON not in " ".join(CliRunner().invoke(app, analysing).output.split()), "it goes on to the file"
    unexplained = CliRunner().invoke(app, ["analyse", "talk.wav", "--purpose", "other", "--consent"])
    assert "needs a remark" in " ".join(unexplained.output.split())


def test_erasing_asks_for_an_id_and_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TONETRACK_REDIS_URL", raising=False)
    for identity, says in (("../everything", "is no id"), ("0123456789abcdef", "There is neither a key nor a Redis.")):
        refused = CliRunner().invoke(app, ["erase", identity])
        assert refused.exit_code == 1
        assert says in " ".join(refused.output.split())
