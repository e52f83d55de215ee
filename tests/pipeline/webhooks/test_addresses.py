from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from typing import Any

import pytest

from pipeline import tasks
from pipeline.webhooks import WebhookRefused, check_url, is_public, resolve
from pipeline.webhooks.addresses import look_up
from tests.receiver import looking_up

PUBLIC = [
    "https://example.com",
    "http://example.com:8080/hook?key=1#part",
    "HTTPS://Example.COM:443/",
    "https://münchen.example/ä",
    "https://8.8.8.8/",
    "https://[2606:4700::1111]:8443/",
    "https://[64:ff9b::808:808]/",
    "https://[2002:808:808::1]/",
    "https://example.com/a@b",
    "https://a_b.example.com./",
]
INSIDE = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://127.0.0.1./",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://0177.1/",
    "http://017700000001/",
    "http://127。0。0。1/",
    "http://0/",
    "http://0.0.0.0:8000/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data",
    "http://100.64.0.1/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://localhost/",
    "http://LOCALHOST.:8000/",
    "http://redis.localhost/",
    "http://[::]/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::808:808]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[2001:0:808:808::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
]
NO_WEBHOOK = [
    "",
    "example.com",
    "//example.com/",
    "https:example.com",
    "https:///path",
    "https://",
    "https://./",
    "https://.../",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "https://anna@example.com/",
    "https://anna:word@example.com/",
    "https://:word@example.com/",
    "https://example.com\\@127.0.0.1/",
    "https://example.com:0/",
    "https://example.com:22/",
    "https://example.com:-1/",
    "https://example.com:65536/",
    "https://example.com:port/",
    "https://exam ple.com/",
    "https://example.com/\r\nX: y",
    "https://example.com/\x00",
    "https://example.com/\x7f",
    "https://example.com/\u2028",
    "https://example.com/\ud800",
    "https://example.com%00.example/",
    "https://127.0.0.%31/",
    "http://0177.0.0.1/",
    "http://0177.0.0.01/",
    "https://①②⑦.0.0.1/",
    "https://[::1/",
    "https://[fe80::1%25eth0]/",
    "https://[v1.x]/",
    "https://example.com/" + "a" * 2_000,
]


@pytest.mark.parametrize("url", PUBLIC)
def test_a_public_url_may_be_asked(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize("url", INSIDE)
def test_what_is_inside_is_not_asked_unless_it_may_be(url: str) -> None:
    with pytest.raises(WebhookRefused, match="must be public"):
        check_url(url)
    check_url(url, private=True)


@pytest.mark.parametrize("url", NO_WEBHOOK)
@pytest.mark.parametrize("private", [True, False])
def test_what_is_no_webhook_is_refused_in_a_sentence(url: str, private: bool) -> None:
    with pytest.raises(WebhookRefused, match=r"^[A-Z].*\.$"):
        check_url(url, private)


async def test_one_address_inside_is_enough_to_refuse_a_name() -> None:
    mixed, _ = looking_up(["93.184.215.14", "::ffff:10.0.0.1"])
    with pytest.raises(WebhookRefused, match="not public"):
        await resolve("https://hooks.example/", False, mixed)
    assert len((await resolve("https://hooks.example/", True, mixed)).addresses) == 2
    scoped, _ = looking_up(["fe80::1%eth0"])
    with pytest.raises(WebhookRefused, match="not public"):
        await resolve("https://hooks.example/", False, scoped)
    nothing, _ = looking_up([])
    with pytest.raises(WebhookRefused, match="no address"):
        await resolve("https://hooks.example/", False, nothing)


def test_addresses_of_the_internet_are_public() -> None:
    assert all(is_public(ipaddress.ip_address(text)) for text in ("1.1.1.1", "2a00:1450::1", "::ffff:1.1.1.1"))


async def test_a_resolver_that_hangs_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few names whose resolver hangs took all threads of the loop, without which nothing connects to anything."""
    asked, over, getaddrinfo = [], threading.Event(), socket.getaddrinfo

    def hang(host: str, *args: Any, **how: Any) -> Any:
        if host == "hangs.example":
            asked.append(host)
            over.wait()
        return getaddrinfo(host, *args, **how)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    hanging = [asyncio.create_task(look_up("hangs.example", 80)) for _ in range(64)]
    try:
        async with asyncio.timeout(20):
            while not asked:
                await asyncio.sleep(0.01)
            assert await look_up("127.0.0.1", 80) == ["127.0.0.1"]
            assert await asyncio.to_thread(lambda: "here") == "here"
        await tasks.end(*hanging)
    finally:
        over.set()
