"""Which pages a browser lets in, and what every answer tells it: the application itself over a real Redis."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from deployments.origins import FOREIGN
from tests.deployments.doors import ASKED, HOST, application, client, hello
from tests.service import silence
from tests.uploads import SAID, wav_of


@pytest.mark.parametrize(
    ("origin", "shown"),
    [
        ("http://tone.example:5006", True),
        ("http://tone.example:8000", True),
        ("https://tone.example:5006", True),
        ("http://tone.example:3000", False),
        ("https://tone.example", False),
        ("https://friend.example", True),
        ("https://friend.example:444", False),
        ("https://evil.example", False),
        ("https://tone.example.evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
async def test_a_browser_shows_answers_to_pages_of_this_host_and_friends(
    url: str, tmp_path: Path, origin: str, shown: bool
) -> None:
    api = application(url, tmp_path, host="0.0.0.0", allowed_origins=["https://friend.example"])
    expected = origin if shown else None
    async with client(api, Origin=origin) as http:
        answer = await http.get("/healthz")
        assert (answer.status_code, answer.headers.get("Access-Control-Allow-Origin")) == (200, expected)
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key, Content-Type"}
        preflight = await http.options("/v1/sessions", headers=asked)
        assert (preflight.status_code == 200) is shown
        assert preflight.headers.get("Access-Control-Allow-Origin") == expected
    with TestClient(api, base_url=HOST) as browser:
        session = browser.post("/v1/sessions", json=ASKED).json()
        with browser.websocket_connect(
            session["audio"], headers={"Origin": origin, "Host": "tone.example:8000"}
        ) as line:
            line.send_text(hello(session))
            assert (line.receive_json()["type"] == "welcome") is shown, "the WebSocket keeps the same rule"


@pytest.mark.parametrize(
    ("host", "lets"), [("tone.example", True), ("tone.example:443", True), ("tone.example:8000", False)]
)
async def test_a_proxy_may_serve_the_page_where_it_serves_the_api(
    url: str, tmp_path: Path, host: str, lets: bool
) -> None:
    """Browsers leave the port of their scheme out of both; whether the proxy speaks TLS this server does not see."""
    api = application(url, tmp_path, host="0.0.0.0")
    async with client(api, Origin="https://tone.example", Host=host) as http:
        assert ((await http.post("/v1/sessions", json=ASKED)).status_code == 201) is lets


@pytest.mark.parametrize("path", ["/v1/recordings", "/v1/voices", "/v1/sessions"])
async def test_a_foreign_page_changes_nothing(url: str, tmp_path: Path, path: str) -> None:
    """No browser asks beforehand where a form is sent; that its answer is hidden comes too late."""
    async with client(application(url, tmp_path, host="0.0.0.0"), Origin="https://evil.example") as http:
        form = await http.post(path, data=SAID, files={"file": ("talk.wav", wav_of(silence(1)))})
        assert form.status_code == 403
        assert form.json() == {"detail": FOREIGN}


@pytest.mark.parametrize(("name", "lets"), [("localhost:8000", True), ("[::1]:8000", True), ("evil.example", False)])
async def test_a_laptop_goes_by_no_name_that_leads_to_it(url: str, tmp_path: Path, name: str, lets: bool) -> None:
    """A page may have its own name lead to the loopback once it is loaded: it is of the same host then."""
    async with client(application(url, tmp_path), Origin=f"http://{name}", Host=name) as http:
        assert ((await http.post("/v1/sessions", json=ASKED)).status_code == 201) is lets


async def test_what_nobody_thought_of_is_answered_with_a_sentence(url: str, tmp_path: Path) -> None:
    api = application(url, tmp_path)
    api.state.context.store.role = None  # calling it fails
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as http:
        answer = await http.get("/v1/sessions/one", headers={"Authorization": "Bearer key"})
    assert (answer.status_code, answer.json()["detail"][:20]) == (500, "Something went wrong")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_every_answer_tells_browsers_what_they_may_not_do(url: str, tmp_path: Path) -> None:
    async with client(application(url, tmp_path)) as http:
        for path in ("/healthz", "/openapi.json", "/v1/sessions/nobody", "/nowhere"):
            headers = (await http.get(path)).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cache-Control"] == "no-store"
            assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert headers["Permissions-Policy"].startswith("microphone=()")
