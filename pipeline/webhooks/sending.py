"""One attempt to tell a webhook, and what came of it."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Final

import httpx

from pipeline.webhooks.addresses import Address, Lookup, Target, WebhookRefused, look_up, resolve
from pipeline.webhooks.deliveries import LONGEST_EXCERPT, Delivery, Outcome
from pipeline.webhooks.signing import signature

SEND_SECONDS: Final = 10.0  # from the look-up of the name to the answer's headers
CONNECT_SECONDS: Final = 4.0  # for one address, so that the next has a turn
EXCERPT_SECONDS: Final = 1.0  # for the beginning of the answer's body, after that
EXCERPT_BYTES: Final = 4_096
MOST_ADDRESSES: Final = 4  # of a name that are tried in turn
USER_AGENT: Final = f"ToneTrack/{version('tonetrack')}"


class Sender:
    """Sends deliveries. `private`: whether to addresses that are not public, too.

    `context`: what certificates are checked by; by default those that are known to all.
    """

    def __init__(
        self,
        private: bool = False,
        lookup: Lookup = look_up,
        context: ssl.SSLContext | None = None,
        seconds: float = SEND_SECONDS,
    ) -> None:
        self._private = private
        self._lookup = lookup
        self._context = context or httpx.create_ssl_context()
        self._seconds = seconds

    async def send(self, delivery: Delivery, now: float) -> Outcome:
        """Make one attempt, dated at the Unix second `now`. Whatever goes wrong is an outcome too."""
        began = time.monotonic()
        try:
            outcome = await self._post(delivery, int(now))
        except WebhookRefused as error:
            outcome = Outcome(error=str(error))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            outcome = Outcome(error=_unconnected(error))
        except (TimeoutError, httpx.TimeoutException):
            outcome = Outcome(error=f"No answer came within {self._seconds:g} seconds.")
        except (httpx.HTTPError, httpx.InvalidURL):
            outcome = Outcome(error="The server broke off, or did not answer in HTTP.")
        except (OSError, UnicodeError):
            outcome = Outcome(error="The host's name could not be looked up.")
        return replace(outcome, seconds=time.monotonic() - began)

    async def _post(self, delivery: Delivery, timestamp: int) -> Outcome:
        deadline = asyncio.get_running_loop().time() + self._seconds
        async with asyncio.timeout_at(deadline):
            target = await resolve(delivery.url, self._private, self._lookup)
        failure: httpx.TransportError | None = None
        for address in target.addresses[:MOST_ADDRESSES]:
            try:
                return await self._post_to(target, address, delivery, timestamp, deadline)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:  # nothing has been sent yet
                failure = error
        assert failure
        raise failure

    async def _post_to(
        self, target: Target, address: Address, delivery: Delivery, timestamp: int, deadline: float
    ) -> Outcome:
        # A transport is no client: it follows no redirects, keeps no cookies and reads no proxies from the environment.
        # Each attempt has one of its own: a pool knows connections by their address, not by whom TLS vouched for.
        request = httpx.Request(
            "POST",
            target.url.copy_with(host=str(address)),
            headers={
                "Host": target.url.netloc.decode(),
                "Content-Type": "application/json",
                "User-Agent": USER_AGENT,
                "Accept-Encoding": "identity",
                "Connection": "close",
                "ToneTrack-Event": delivery.type,
                "ToneTrack-Signature": signature(delivery.secret, timestamp, delivery.body),
            },
            content=delivery.body,
            extensions={
                "sni_hostname": target.url.raw_host.decode().rstrip("."),
                "timeout": httpx.Timeout(None, connect=min(CONNECT_SECONDS, self._seconds)).as_dict(),
            },
        )
        async with httpx.AsyncHTTPTransport(verify=self._context, trust_env=False) as transport:
            async with asyncio.timeout_at(deadline):
                response = await transport.handle_async_request(request)
            try:
                return _outcome(response, await _beginning(response), delivery.secret)
            finally:
                await response.aclose()


async def _beginning(response: httpx.Response) -> bytes:
    """The first bytes of a body, as far as they come at once."""
    beginning = b""
    try:
        async with asyncio.timeout(EXCERPT_SECONDS):
            async for part in response.aiter_raw():  # as it comes: what is compressed can be of any size
                beginning += part
                if len(beginning) >= EXCERPT_BYTES:
                    break
    except (TimeoutError, httpx.HTTPError):
        pass  # the status has said what there is to be known
    return beginning[:EXCERPT_BYTES]


def _outcome(response: httpx.Response, beginning: bytes, secret: str) -> Outcome:
    status = response.status_code
    text = beginning.decode(errors="replace").replace(secret or "\0", "…")
    printable = "".join(character if character.isprintable() else " " for character in text)
    if response.is_success:
        error = ""
    elif 300 <= status < 400:
        error = f"The server answered {status}; webhooks follow no redirects."
    else:
        error = f"The server answered {status}."
    waits = status in (429, 503)
    return Outcome(
        status=status,
        error=error,
        answer=" ".join(printable.split())[:LONGEST_EXCERPT],
        retry_after=_seconds(response.headers.get("Retry-After", "")) if waits else 0,
    )


def _seconds(retry_after: str) -> float:
    """What a Retry-After asks for (RFC 9110, section 10.2.3): seconds, or a date; 0 for what is neither."""
    text = retry_after.strip()
    if re.fullmatch(r"[0-9]{1,18}", text):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _unconnected(error: BaseException) -> str:
    """Why there is no connection: a certificate's fault can be mended by whoever reads the log."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = "".join(filter(str.isprintable, cause.verify_message))[:LONGEST_EXCERPT].rstrip(".")
            return f"The server's certificate does not hold: {why}."
        if isinstance(cause, ssl.SSLError):
            return "The server and ToneTrack could not agree on TLS."
        cause = cause.__cause__ or cause.__context__
    return "No connection could be made."
