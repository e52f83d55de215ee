"""Somebody whom webhooks tell: a server that keeps what it is sent, and what is sent to it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.published import session_key
from pipeline.webhooks import (
    Delivery,
    Lookup,
    Outcome,
    Patience,
    Sender,
    WebhookStore,
    new_event,
)

SECRET = "whsec_a-long-one"
NOW = 1_700_000_000.0
STEADY = Patience(delays=(5, 30, 120), jitter=0)
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Answer = bytes | Callable[[socket.socket], None]


@dataclass
class Request:
    """What came in at a receiver: its first line, its headers with names in lower case, its body."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A server of a webhook's receiver. `answer`: what it says, or what it does with the connection."""

    port: int
    answer: Answer = FINE
    requests: list[Request] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)  # that TLS asked for

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?of=mine"

    def serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as incoming:
            line = incoming.readline().decode().strip()
            headers = {}
            while entry := incoming.readline().strip():
                name, _, value = entry.decode().partition(": ")
                headers[name.lower()] = value
            self.requests.append(Request(line, headers, incoming.read(int(headers.get("content-length", 0)))))
            if callable(self.answer):
                self.answer(connection)
            else:
                connection.sendall(self.answer)


@contextmanager
def receiving(answer: Answer = FINE, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver on a free port, a thread for each of its connections."""
    listener = socket.create_server(("127.0.0.1", 0))
    receiver = Receiver(listener.getsockname()[1], answer)
    if tls:
        tls.sni_callback = lambda _socket, name, _context: receiver.names.append(name)

    def take(connection: socket.socket) -> None:
        try:
            receiver.serve(tls.wrap_socket(connection, server_side=True) if tls else connection)
        except OSError:
            connection.close()

    def listen() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=take, args=[connection], daemon=True).start()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def done(event_id: str | None = None) -> dict[str, Any]:
    return new_event("recording.done", {"id": "r1", "name": "Zürich"}, NOW, event_id)


async def uploaded(store: WebhookStore, recording: str) -> None:
    """Let there be such a recording: of one that is gone nothing is told."""
    await store._redis.hset(session_key(recording, "job"), "state", "done")


async def scheduled(store: WebhookStore, url: str = "http://127.0.0.1:9/", ttl: float = 60) -> dict[str, Any]:
    event = done()
    await uploaded(store, "r1")
    assert await store.schedule("r1", url, SECRET, event, ttl, at=NOW)
    return event


async def claimed(store: WebhookStore, now: float = NOW, lease: float = 60) -> Delivery:
    delivery = await store.claim(now, lease)
    assert delivery
    return delivery


def a_delivery(url: str) -> Delivery:
    return Delivery("r1", NOW + 60, "evt_1", "recording.done", b'{"id":"evt_1"}', url, SECRET)


async def sent(url: str, **options: Any) -> Outcome:
    return await Sender(private=True, **options).send(a_delivery(url), NOW)


def looking_up(*answers: list[str]) -> tuple[Lookup, list[str]]:
    """A look-up that answers in turn, the last for good, and the names that it was asked for."""
    asked: list[str] = []

    async def look_up(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    return look_up, asked
