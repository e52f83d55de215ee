"""A stand-in for the service's recordings, and what its tests do on the page."""

from __future__ import annotations

import re
import time
from typing import Any

from playwright.sync_api import Page, Route

from pipeline.consent import CURRENT
from tests.browser import wait
from tests.ui.stage import CORS

NASTY = "<img src=x onerror=alert(1)>.wav"
SOUND = {"name": "talk.wav", "mimeType": "audio/wav", "buffer": b"RIFF" + bytes(2_000)}
SHELF = "tonetrack-recordings"
AGREED_TO = {"consent_version": CURRENT.version}
Answer = tuple[int, Any]


def job(name: str, state: str = "done", **more: Any) -> dict[str, Any]:
    return {
        "id": name.encode().hex()[:16].ljust(16, "0"),
        "name": name,
        "purpose": "research",
        "state": state,
        "created_at": time.time(),
        "seconds": 30.0,
        "done": 0.0,
        "progress": 0.0,
        "audio": False,
        "keep_audio": False,
        "retryable": False,
        "file": name,
        "bytes": 2_004,
        "expires_in": 3_600 if state not in ("queued", "running") else None,
    } | more


class Service:
    """Stands in for the service's recordings, under one key or more.

    `posts` are the answers to uploads, the last for ever.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.jobs: list[dict[str, Any]] = []
        self.posts: list[Answer | None] = []
        self.asked: list[tuple[str, str, str | None]] = []
        self.forms: list[tuple[str, bytes]] = []
        self.others: dict[str, list[dict[str, Any]]] = {}  # under other keys
        self.stalled: list[Route] = []  # downloads of the sound that do not come
        self.stalls = False
        self.away = False

    def answer(self, route: Route) -> None:
        request = route.request
        path = request.url.split(f":{self.port}")[1]
        key = request.headers.get("authorization", "").removeprefix("Bearer ") or None
        if self.away:
            route.abort("connectionrefused")
            return
        if request.method == "OPTIONS":
            route.fulfill(status=204, headers=CORS)
            return
        self.asked.append((request.method, path, key))
        if self.stalls and path.endswith("/audio"):
            self.stalled.append(route)
            return
        if request.method == "POST" and path == "/v1/recordings":
            self.forms.append((request.headers["idempotency-key"], request.post_data_buffer or b""))
            told = self.posts.pop(0) if len(self.posts) > 1 else self.posts[0]
            if told is None:
                route.abort("connectionreset")
                return
            status, body = told
            if status == 202:
                self.jobs.insert(0, body)
                body = body | {"key": "owner", "viewer_key": "viewer"}
            route.fulfill(status=status, json=body, headers=CORS)
            return
        route.fulfill(headers=CORS, **self._told(request.method, path, key))

    def _told(self, method: str, path: str, key: str | None) -> dict[str, Any]:
        if path.startswith("/v1/recordings?"):
            if key in self.others:
                return {"json": {"recordings": self.others[key], "next": None}}
            if key != "owner":
                return {"status": 403, "json": {"detail": "No recordings are under this key."}}
            return {"json": {"recordings": self.jobs, "next": None}}
        found = [one for jobs in (self.jobs, *self.others.values()) for one in jobs if one["id"] == path.split("/")[3]]
        if not found:
            return {"status": 404, "json": {"detail": "There is no such recording."}}
        match method, path.split("/")[4:]:
            case "DELETE", []:
                for jobs in (self.jobs, *self.others.values()):
                    jobs[:] = [one for one in jobs if one is not found[0]]
                return {"json": {"erased": found[0]["id"]}}
            case "POST", ["retry"]:
                found[0].update(state="queued", position=1, retryable=False, error=None)
            case "POST", ["cancel"]:
                found[0].update(state="cancelled")
            case "GET", ["timeline.csv"]:
                return {"body": "start,end\r\n", "content_type": "text/csv"}
            case "GET", ["audio"]:
                return {"body": b"no sound", "content_type": "audio/wav"}
        return {"json": found[0]}


def remember(page: Page, **shelf: Any) -> None:
    """As if recordings had been uploaded from this browser before."""
    page.evaluate(
        f"kept => localStorage.setItem('{SHELF}', JSON.stringify(kept))", {"key": "owner", "viewers": {}} | shelf
    )
    page.reload()
    wait(page, "d.state === 'ready'")


def row(page: Page, name: str) -> Any:
    return page.locator("#recordings > li").filter(has=page.locator(".what > :first-child").filter(has_text=name))


def send(page: Page, *files: Any) -> None:
    page.locator("#files").set_input_files(list(files) or [SOUND])
    page.locator("#send").click()


def fields(form: bytes) -> dict[str, str]:
    return dict(re.findall(r'name="(\w+)"\r\n\r\n(.*?)\r\n', form.decode("latin-1")))
