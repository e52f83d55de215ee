from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deployments.up import redis_server
from deployments.webhooks import AT_ONCE, AT_ONCE_EACH, Deliverer
from pipeline.published import session_key
from pipeline.store import connect
from pipeline.webhooks import DUE, Delivery, Outcome, Patience, Sender, State, WebhookStore, new_event, verify
from tests.receiver import FINE, SECRET, receiving, uploaded
from tests.service import ROOT, free_port

QUICK = Patience(delays=(0.1, 0.1, 0.1), jitter=0)


@pytest.fixture
async def webhooks(url: str) -> AsyncIterator[WebhookStore]:
    client = connect(url)
    await client.flushdb()
    yield WebhookStore(client, QUICK)
    await client.aclose()


async def schedule(webhooks: WebhookStore, url: str, *recordings: str) -> None:
    for recording in recordings or ("r1",):
        await uploaded(webhooks, recording)
        await webhooks.schedule(recording, url, SECRET, new_event("recording.done", {"id": recording}), ttl=60)


async def until(webhooks: WebhookStore, state: State, *recordings: str, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while {await webhooks.state(recording) for recording in recordings or ("r1",)} != {state}:
            await asyncio.sleep(0.02)


@pytest.fixture
def deliverer(url: str) -> Callable[..., Deliverer]:
    """A deliverer that is started, and stopped at the end of the test."""
    with ExitStack() as stack:

        def start(at: str = url, private: bool = True, **options: Any) -> Deliverer:
            deliverer = Deliverer(at, private, patience=QUICK, **options)
            deliverer.start()
            stack.callback(deliverer.stop)
            return deliverer

        yield start


async def test_two_deliverers_send_each_delivery_once(
    webhooks: WebhookStore, deliverer: Callable[..., Deliverer]
) -> None:
    names = [f"r{number}" for number in range(20)]
    with receiving() as receiver:
        deliverer().start()
        deliverer()
        await schedule(webhooks, receiver.url, *names)
        await until(webhooks, State.DELIVERED, *names)
        await asyncio.sleep(1.2)
    assert len(receiver.requests) == len(names)
    assert len({request.body for request in receiver.requests}) == len(names)
    for request in receiver.requests:
        assert verify(SECRET, request.headers["tonetrack-signature"], request.body, time.time())


async def test_a_server_that_comes_back_is_told(webhooks: WebhookStore, deliverer: Callable[..., Deliverer]) -> None:
    with receiving(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") as receiver:
        await schedule(webhooks, receiver.url)
        deliverer()
        async with asyncio.timeout(10):
            while not await webhooks.log("r1"):
                await asyncio.sleep(0.02)
        receiver.answer = FINE
        await until(webhooks, State.DELIVERED)
    log = await webhooks.log("r1")
    assert (log[0].status, log[-1].status) == (500, 200)


async def test_what_never_arrives_is_given_up(
    webhooks: WebhookStore, deliverer: Callable[..., Deliverer], caplog: pytest.LogCaptureFixture
) -> None:
    with receiving() as receiver:
        await schedule(webhooks, receiver.url)
        with caplog.at_level(logging.WARNING, logger="ray.serve"):
            deliverer(private=False)
            await until(webhooks, State.GIVEN_UP)
        assert receiver.requests == []
    assert {entry.error for entry in await webhooks.log("r1")} == {
        "A webhook's URL must be public; this one is of this machine or a network of its own."
    }


async def test_who_hangs_does_not_keep_others_waiting(
    webhooks: WebhookStore, deliverer: Callable[..., Deliverer]
) -> None:
    def hang(connection: socket.socket) -> None:
        connection.recv(1)

    slow = [f"slow{number}" for number in range(3 * AT_ONCE)]
    with receiving(hang) as hanging, receiving() as receiver:
        await schedule(webhooks, hanging.url, *slow)
        await schedule(webhooks, receiver.url.replace("127.0.0.1", "localhost"), "quick1", "quick2", "quick3")
        deliverer()
        await until(webhooks, State.DELIVERED, "quick1", "quick2", "quick3", seconds=8)  # an attempt takes ten
        assert {await webhooks.state(recording) for recording in slow} == {State.PENDING}
        assert len(hanging.requests) == AT_ONCE_EACH
        waiting = [number async for number in webhooks._redis.zscan_iter(DUE)]
        assert len(waiting) == len(slow), "nothing is lost"


async def test_who_names_many_slow_hosts_keeps_nobody_waiting(
    webhooks: WebhookStore, deliverer: Callable[..., Deliverer]
) -> None:
    def hang(connection: socket.socket) -> None:
        connection.recv(1)

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    slow = [f"slow{number}" for number in range(2 * AT_ONCE)]
    with receiving(hang) as hanging, receiving() as receiver:
        for recording in slow:
            await schedule(webhooks, hanging.url.replace("127.0.0.1", f"{recording}.example"), recording)
            await webhooks._redis.hset(session_key(recording, "job"), "recorder", "theirs")
        await schedule(webhooks, receiver.url.replace("127.0.0.1", "quick.example"), "quick")
        deliverer(sender=Sender(private=True, lookup=here))
        await until(webhooks, State.DELIVERED, "quick", seconds=8)
        assert len(hanging.requests) == AT_ONCE_EACH


class Faulty(Sender):
    """A sender with a fault in it, for one recording."""

    async def send(self, delivery: Delivery, now: float) -> Outcome:
        if delivery.recording == "bad":
            raise ZeroDivisionError
        return await super().send(delivery, now)


async def test_a_fault_in_one_delivery_does_not_stop_the_others(
    webhooks: WebhookStore, deliverer: Callable[..., Deliverer]
) -> None:
    with receiving() as receiver:
        await schedule(webhooks, receiver.url, "bad", "good1")
        deliverer(sender=Faulty(private=True), lease_seconds=0.3)
        await until(webhooks, State.DELIVERED, "good1")
        await until(webhooks, State.GIVEN_UP, "bad")
        await schedule(webhooks, receiver.url, "good2")
        await until(webhooks, State.DELIVERED, "good2")


KILLED = """
import sys, time
from deployments.webhooks import Deliverer
Deliverer(sys.argv[1], True, lease_seconds=3).start()
time.sleep(60)
"""


async def test_the_delivery_of_a_killed_process_is_sent_by_another(
    webhooks: WebhookStore, deliverer: Callable[..., Deliverer], url: str
) -> None:
    def hang(connection: socket.socket) -> None:
        connection.recv(1)

    with receiving(hang) as receiver:
        await schedule(webhooks, receiver.url)
        process = subprocess.Popen([sys.executable, "-c", KILLED, url], cwd=ROOT)
        async with asyncio.timeout(30):
            while not receiver.requests:
                await asyncio.sleep(0.02)
        process.kill()
        process.wait(10)
        receiver.answer = FINE
        deliverer()
        await asyncio.sleep(0.8)
        assert await webhooks.state("r1") is State.PENDING, "it is the dead one's, until its lease is over"
        await until(webhooks, State.DELIVERED)
    assert [entry.attempt for entry in await webhooks.log("r1")] == [2]
    assert len(receiver.requests) == 2


@pytest.mark.slow
async def test_it_rides_out_an_absence_of_redis(
    deliverer: Callable[..., Deliverer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    at = f"redis://127.0.0.1:{port}/0"
    logger = logging.getLogger("ray.serve")
    logger.addHandler(caplog.handler)  # Ray's logger hands nothing on
    deliverer(at)
    await asyncio.sleep(12)
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen([redis_server(), *options], stdout=subprocess.DEVNULL)
    client = connect(at)
    try:
        with receiving() as receiver:
            webhooks = WebhookStore(client, QUICK)
            await schedule(webhooks, receiver.url)
            await until(webhooks, State.DELIVERED)
    finally:
        logger.removeHandler(caplog.handler)
        await client.aclose()
        process.terminate()
        process.wait(10)
    waits = [record for record in caplog.records if "wait for Redis" in record.message]
    assert len(waits) == 1, "it is said once"


async def test_stopping_waits_for_what_is_being_sent(webhooks: WebhookStore, url: str) -> None:
    def slow(connection: socket.socket) -> None:
        time.sleep(1)
        connection.sendall(FINE)

    with receiving(slow) as receiver:
        await schedule(webhooks, receiver.url)
        deliverer = Deliverer(url, private=True)
        deliverer.stop()
        deliverer.start()
        while not receiver.requests:
            await asyncio.sleep(0.02)
        await asyncio.to_thread(deliverer.stop)
    assert await webhooks.state("r1") is State.DELIVERED
    await schedule(webhooks, receiver.url, "r2")
    await asyncio.sleep(0.8)
    assert await webhooks.log("r2") == []
