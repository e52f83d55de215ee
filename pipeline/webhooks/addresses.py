"""Where a webhook may go. A URL is a stranger's, and what it names is asked from inside our network.

So a name is looked up once, all of its addresses must be public, and the connection goes to one of those very
addresses; nothing that the answer says leads anywhere else.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import httpx

LONGEST_URL: Final = 2_000  # characters

# What `ipaddress` takes for global and is not for strangers: IETF protocol assignments (RFC 6890, Teredo among them),
# the 6to4 relays (RFC 7526), documentation (RFC 9637), and the host behind every Azure machine.
_SPECIAL: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "2001::/23", "3fff::/20")
)
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")  # RFC 4291, section 2.4
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052, section 2.1
_HOST: Final = re.compile(r"[0-9a-z_][0-9a-z._-]{0,252}|[0-9a-f:]*:[0-9a-f:.]*")

Address = IPv4Address | IPv6Address
Lookup = Callable[[str, int], Awaitable[Iterable[str]]]


class WebhookRefused(ValueError):
    """A URL that is not asked, in a sentence that says why."""


def check_url(url: str, private: bool = False) -> None:
    """Raises `WebhookRefused` for a URL that no webhook may have. Names are not looked up: see `resolve`.

    `private`: whether it may be an address of this machine or its network.
    """
    _parsed(url, private)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, and the addresses of its host, all of which may be connected to."""

    url: httpx.URL
    addresses: tuple[Address, ...]


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a host, the most promising first. Raises `OSError`, and `UnicodeError` for an overlong label.

    Each in a thread of its own, for a name whose resolver hangs holds its thread up long after nobody waits any more.
    """
    answer: Future[list[str]] = Future()

    def ask() -> None:
        answer.set_running_or_notify_cancel()
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.set_result([str(address[0]) for *_, address in found])
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name="look-up", daemon=True).start()
    return await asyncio.wrap_future(answer)


async def resolve(url: str, private: bool = False, lookup: Lookup = look_up) -> Target:
    """Where a URL leads at this moment. Raises `WebhookRefused`, and what `lookup` raises."""
    parsed = _parsed(url, private)
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    addresses = [ipaddress.ip_address(found) for found in await lookup(parsed.raw_host.decode(), port)]
    if not addresses:
        raise WebhookRefused(f"The host {parsed.host} has no address.")
    if not private and not all(map(is_public, addresses)):
        raise WebhookRefused(f"The host {parsed.host} has an address that is not public.")
    return Target(parsed, tuple(dict.fromkeys(addresses)))


def is_public(address: Address) -> bool:
    """Whether an address is one of the Internet's, also where it stands for an IPv4 address within an IPv6 one."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _SPECIAL)


def _parsed(url: str, private: bool) -> httpx.URL:
    """A URL in its parts. Raises `WebhookRefused`."""
    if len(url) > LONGEST_URL:
        raise WebhookRefused(f"A webhook's URL has {LONGEST_URL:,} characters at most.")
    # Where parsers differ over what the host is, there is always one of these.
    if any(not character.isprintable() or character in " \\" for character in url):
        raise WebhookRefused("A webhook's URL holds no blanks, backslashes or control characters.")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise WebhookRefused("A webhook's URL must be a well-formed one, such as https://example.com/hook.") from error
    host = parsed.raw_host.decode()
    if parsed.scheme not in ("http", "https") or not host:
        raise WebhookRefused("A webhook's URL begins with https:// or http://, and a host.")
    if parsed.userinfo:
        raise WebhookRefused("A webhook's URL holds no user and no password; its requests are signed instead.")
    if not _HOST.fullmatch(host):
        raise WebhookRefused("The host of a webhook's URL is neither a name nor an address.")
    port = parsed.port
    if port is not None and port not in (80, 443) and not 1_024 <= port <= 65_535:
        raise WebhookRefused("The port of a webhook's URL is 80, 443, or one from 1024 to 65535.")
    address, name = _literal(host), host.rstrip(".")
    local = name == "localhost" or name.endswith(".localhost") or (address is not None and not is_public(address))
    if local and not private:
        raise WebhookRefused("A webhook's URL must be public; this one is of this machine or a network of its own.")
    return parsed


def _literal(host: str) -> Address | None:
    """The address that a host is, in any of the spellings that look-ups understand; None for a name."""
    bare = host.rstrip(".")
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(bare))  # takes octal, hexadecimal and fewer than four parts
    except OSError:
        return None
