from __future__ import annotations

import asyncio
import datetime
import gzip
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipeline.webhooks import Sender, State
from tests.receiver import FINE, NOW, Answer, a_delivery, looking_up, receiving, sent


async def test_a_redirect_is_not_followed() -> None:
    with receiving() as inside:
        answer = f"HTTP/1.1 307 Elsewhere\r\nLocation: {inside.url}\r\nContent-Length: 0\r\n\r\n"
        with receiving(answer.encode()) as receiver:
            outcome = await sent(receiver.url)
        assert (outcome.status, outcome.state) == (307, State.PENDING)
        assert "no redirects" in outcome.error
        assert inside.requests == []


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy, receiving() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await sent(receiver.url)).state is State.DELIVERED
        assert proxy.requests == []


def _drip(part: bytes) -> Callable[[socket.socket], None]:
    def drip(connection: socket.socket) -> None:
        for byte in itertools.chain(part, itertools.repeat(ord("x"))):
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    return drip


def _silent(connection: socket.socket) -> None:
    connection.recv(1)


@pytest.mark.parametrize(
    "answer",
    [
        _silent,
        _drip(b"HTTP/1.1 200 OK\r\nX: "),
        lambda connection: [connection.sendall(b"HTTP/1.1 102 Wait\r\n\r\n") for _ in iter(int, 1)],
    ],
    ids=["hangs", "drips", "puts off"],
)
async def test_nobody_takes_longer_than_they_may(answer: Answer) -> None:
    with receiving(answer) as receiver:
        began = time.monotonic()
        outcome = await sent(receiver.url, seconds=0.5)
    assert time.monotonic() - began < 10, "though the receiver never ends"
    assert (outcome.status, outcome.error) == (None, "No answer came within 0.5 seconds.")
    assert 0.4 < outcome.seconds < 5


async def test_a_body_that_drips_is_not_waited_for() -> None:
    with receiving(_drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nfine")) as receiver:
        began = time.monotonic()
        outcome = await sent(receiver.url)
    assert time.monotonic() - began < 4
    assert outcome.state is State.DELIVERED
    assert outcome.answer.startswith("finex")


async def test_of_a_huge_answer_little_is_read() -> None:
    written: list[int] = []
    refused = threading.Event()

    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 10000000000\r\n\r\n")
        try:
            for _ in range(10_000):
                written.append(connection.send(b"a" * 1_000_000))
        except OSError:
            refused.set()

    with receiving(pour) as receiver:
        outcome = await sent(receiver.url)
        assert await asyncio.to_thread(refused.wait, 5)
    assert (outcome.status, outcome.answer) == (500, "a" * 200)
    assert sum(written) < 50_000_000, "what fits the sockets' buffers"


async def test_what_is_compressed_is_not_blown_up() -> None:
    body = gzip.compress(b"a" * 10_000_000)
    head = f"HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with receiving(head + body) as receiver:
        outcome = await sent(receiver.url)
    assert "aaaa" not in outcome.answer


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9\r\n", b"", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500_000])
async def test_what_is_no_http_is_a_failure(answer: bytes) -> None:
    with receiving(answer) as receiver:
        outcome = await sent(receiver.url)
    assert (outcome.status, outcome.state) == (None, State.PENDING)
    assert "HTTP" in outcome.error


async def test_who_is_not_there_is_a_failure() -> None:
    with receiving() as receiver:
        pass
    assert (await sent(receiver.url)).error == "No connection could be made."

    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert "looked up" in (await sent("http://hooks.example/", lookup=unknown)).error
    assert "looked up" in (await sent(f"http://{'a' * 64}.example/")).error, "a label is too long"

    async def slow(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    assert "within 0.2 seconds" in (await sent("http://hooks.example/", lookup=slow, seconds=0.2)).error


async def test_a_name_is_looked_up_once_and_the_next_address_has_a_turn() -> None:
    with receiving() as receiver:
        lookup, asked = looking_up(["127.0.0.2", "127.0.0.1"], ["127.0.0.3"])
        outcome = await sent(f"http://hooks.example:{receiver.port}/", lookup=lookup)
    assert outcome.state is State.DELIVERED
    assert asked == ["hooks.example"]
    assert receiver.requests[0].headers["host"] == f"hooks.example:{receiver.port}"


async def test_a_name_that_turns_inwards_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Public when it is checked, and of this machine when it is connected to."""
    connected: list[str] = []

    async def refuse(remote_host: str, remote_port: int, **_: Any) -> None:
        connected.append(remote_host)
        raise OSError

    monkeypatch.setattr(anyio, "connect_tcp", refuse)
    with receiving() as inside:
        lookup, asked = looking_up(["93.184.215.14"], ["127.0.0.1"])
        sender = Sender(private=False, lookup=lookup)
        delivery = a_delivery(f"http://turns.example:{inside.port}/")
        first = await sender.send(delivery, NOW)
        assert (connected, asked) == (["93.184.215.14"], ["turns.example"])
        assert first.error == "No connection could be made."
        second = await sender.send(delivery, NOW)
        assert (connected, asked) == (["93.184.215.14"], ["turns.example"] * 2)
        assert "not public" in second.error
        assert inside.requests == []


async def test_what_is_inside_is_not_sent_to_though_it_was_scheduled() -> None:
    with receiving() as inside:
        for url in (inside.url, f"http://localhost:{inside.port}/", f"http://2130706433:{inside.port}/"):
            assert "must be public" in (await Sender().send(a_delivery(url), NOW)).error
        assert inside.requests == []
        assert (await sent(f"http://2130706433:{inside.port}/")).state is State.DELIVERED


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The contexts of a server of this name, and of a client that knows who vouches for it."""
    x509 = pytest.importorskip("cryptography.x509", reason="certificates are made by the cryptography package")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def subject(common: str) -> Any:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])

    def made(common: str, public: Any, signer: Any, *extensions: Any) -> Any:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject(common)).issuer_name(subject("A test's own"))
        builder = builder.public_key(public).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(signer, hashes.SHA256())

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = made("A test's own", ca_key.public_key(), ca_key, x509.BasicConstraints(ca=True, path_length=0))
    leaf = made(name, key.public_key(), ca_key, x509.SubjectAlternativeName([x509.DNSName(name)]))
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + leaf.public_bytes(pem))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    return server, ssl.create_default_context(cafile=str(folder / "ca.pem"))


async def test_tls_is_with_the_name_though_the_connection_is_to_the_address(tmp_path: Path) -> None:
    server, client = certified(tmp_path, "hooks.example")
    lookup, _ = looking_up(["127.0.0.1"])
    with receiving(tls=server) as receiver:
        right = await sent(f"https://hooks.example:{receiver.port}/", lookup=lookup, context=client)
        wrong = await sent(f"https://other.example:{receiver.port}/", lookup=lookup, context=client)
        stranger = await sent(f"https://hooks.example:{receiver.port}/", lookup=lookup)
        number = await sent(f"https://127.0.0.1:{receiver.port}/", context=client)
    assert right.state is State.DELIVERED, right.error
    assert receiver.names[:2] == ["hooks.example", "other.example"]
    assert [request.headers["host"] for request in receiver.requests] == [f"hooks.example:{receiver.port}"]
    assert "certificate does not hold" in wrong.error
    assert "other.example" in wrong.error
    assert "certificate does not hold" in stranger.error
    assert "certificate does not hold" in number.error


async def test_what_speaks_no_tls_is_a_failure() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(FINE)
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        outcome = await sent(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert outcome.error == "The server and ToneTrack could not agree on TLS."
