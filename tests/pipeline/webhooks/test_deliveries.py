from __future__ import annotations

import asyncio
import datetime
import json
from email.utils import format_datetime

import pytest
import redis

from pipeline.webhooks import (
    DUE,
    LONGEST_LOG,
    LONGEST_WAIT,
    Outcome,
    Patience,
    Sender,
    State,
    WebhookStore,
    new_event,
    verify,
)
from tests.receiver import (
    NOW,
    SECRET,
    STEADY,
    claimed,
    done,
    receiving,
    scheduled,
    sent,
    uploaded,
)


async def test_an_event_is_sent_signed(store: WebhookStore) -> None:
    with receiving() as receiver:
        event = await scheduled(store, receiver.url)
        delivery = await claimed(store)
        outcome = await Sender(private=True).send(delivery, NOW)
        assert await store.settle(delivery, outcome, NOW) is State.DELIVERED
    (request,) = receiver.requests
    assert request.line == "POST /hook?of=mine HTTP/1.1"
    assert json.loads(request.body) == event
    assert set(event) == {"id", "type", "created_at", "recording"}
    assert verify(SECRET, request.headers["tonetrack-signature"], request.body, NOW)
    assert request.headers["tonetrack-event"] == "recording.done"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("ToneTrack/")
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert not {"cookie", "authorization", "referer"} & set(request.headers)
    assert SECRET not in str(request.headers)
    assert SECRET not in repr(delivery)


async def test_an_event_is_scheduled_once(store: WebhookStore, raw: redis.Redis) -> None:
    event = await scheduled(store)
    assert not await store.schedule("r1", "http://elsewhere.example/", "other", event, 9_999, at=NOW + 5)
    delivery = await claimed(store)
    assert (delivery.url, delivery.secret, delivery.attempt) == ("http://127.0.0.1:9/", SECRET, 1)
    assert not await store.schedule("r1", delivery.url, SECRET, event, 60, at=NOW), "while it is under way"
    assert await store.claim(NOW, 60) is None
    await store.settle(delivery, Outcome(200), NOW)
    assert not await store.schedule("r1", delivery.url, SECRET, event, 60, at=NOW), "after it has arrived"
    assert await store.claim(NOW + 9_999, 60) is None
    assert raw.zcard(DUE) == 0


async def test_what_was_cut_off_between_two_writes_is_mended(store: WebhookStore, raw: redis.Redis) -> None:
    event = await scheduled(store)
    raw.delete(DUE)
    assert not await store.schedule("r1", "http://127.0.0.1:9/", SECRET, event, 60, at=NOW)
    assert (await claimed(store)).event == event["id"]


async def test_a_newer_event_takes_the_place_of_one_under_way(store: WebhookStore) -> None:
    await scheduled(store)
    old = await claimed(store)
    newer = new_event("recording.failed", {"id": "r1"}, NOW)
    assert await store.schedule("r1", "http://127.0.0.1:9/", SECRET, newer, 60, at=NOW)
    assert await store.settle(old, Outcome(200), NOW) is None
    delivery = await claimed(store)
    assert (delivery.event, delivery.type, delivery.attempt) == (newer["id"], "recording.failed", 1)


async def test_the_most_overdue_comes_first_and_nothing_before_its_time(store: WebhookStore) -> None:
    for recording, at in (("later", NOW + 9), ("second", NOW - 1), ("first", NOW - 2)):
        await uploaded(store, recording)
        await store.schedule(recording, "http://127.0.0.1:9/", SECRET, done(), 60, at=at)
    assert [(await claimed(store)).recording for _ in range(2)] == ["first", "second"]
    assert await store.claim(NOW, 60) is None
    assert (await claimed(store, NOW + 9)).recording == "later"


async def test_failures_are_tried_again_with_patience_and_then_given_up(store: WebhookStore) -> None:
    await scheduled(store)
    now = NOW
    for attempt, delay in enumerate(STEADY.delays, start=1):
        delivery = await claimed(store, now)
        assert delivery.attempt == attempt
        assert await store.settle(delivery, Outcome(500, "It failed."), now) is State.PENDING
        assert await store.claim(now + delay - 0.1, 60) is None
        now += delay
    delivery = await claimed(store, now)
    assert await store.settle(delivery, Outcome(500, "It failed."), now) is State.GIVEN_UP
    assert await store.claim(now + 1e6, 60) is None
    assert await store.state("r1") is State.GIVEN_UP
    assert [entry.attempt for entry in await store.log("r1")] == [1, 2, 3, 4]


def test_patience_grows_and_varies() -> None:
    patience = Patience()
    waits = [patience.after(attempt) or 0 for attempt in range(1, 6)]
    for wait, delay in zip(waits, (5, 30, 120, 600, 3_600), strict=True):
        assert 0.8 * delay <= wait <= 1.2 * delay
    assert len({patience.after(3) for _ in range(20)}) > 1
    assert patience.after(len(patience.delays)) is not None
    assert patience.after(len(patience.delays) + 1) is None


async def test_gone_is_final(store: WebhookStore) -> None:
    with receiving(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n") as receiver:
        await scheduled(store, receiver.url)
        delivery = await claimed(store)
        outcome = await Sender(private=True).send(delivery, NOW)
    assert await store.settle(delivery, outcome, NOW) is State.GIVEN_UP
    assert await store.claim(NOW + 1e6, 60) is None


@pytest.mark.parametrize(
    ("status", "says", "wait"),
    [
        (503, "77", 77),
        (429, "1", 5),
        (429, "99999999999", LONGEST_WAIT),
        (429, "soon", 5),
        (503, "-3", 5),
        (503, "Sun, 06 Nov 1994 08:49:37 GMT", 5),
        (500, "77", 5),
    ],
)
async def test_a_server_may_ask_for_time(store: WebhookStore, status: int, says: str, wait: float) -> None:
    answer = f"HTTP/1.1 {status} Wait\r\nRetry-After: {says}\r\nContent-Length: 0\r\n\r\n".encode()
    with receiving(answer) as receiver:
        await scheduled(store, receiver.url, ttl=99_999)
        delivery = await claimed(store)
        outcome = await Sender(private=True).send(delivery, NOW)
    await store.settle(delivery, outcome, NOW)
    assert await store.claim(NOW + wait - 0.1, 60) is None
    assert await store.claim(NOW + wait, 60)


async def test_a_server_may_ask_for_time_by_a_date() -> None:
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90)
    answer = f"HTTP/1.1 503 Wait\r\nRetry-After: {format_datetime(at, usegmt=True)}\r\nContent-Length: 0\r\n\r\n"
    with receiving(answer.encode()) as receiver:
        assert (await sent(receiver.url)).retry_after == pytest.approx(90, abs=3)


async def test_a_worker_that_dies_leaves_its_delivery_to_others(store: WebhookStore) -> None:
    await scheduled(store)
    dead = await claimed(store, lease=60)
    assert await store.claim(NOW + 59, 60) is None
    heir = await claimed(store, NOW + 60)
    assert (heir.event, heir.attempt) == (dead.event, 2)
    # It was not dead at all: its failure neither ends the other's lease nor says when it is due.
    assert await store.settle(dead, Outcome(None, "Late."), NOW + 61) is State.PENDING
    assert await store.settle(dead, Outcome(410, "Gone, too."), NOW + 61) is State.PENDING
    assert await store.claim(NOW + 100, 60) is None
    assert await store.settle(heir, Outcome(200), NOW + 62) is State.DELIVERED


async def test_a_success_counts_however_late(store: WebhookStore) -> None:
    await scheduled(store)
    late = await claimed(store)
    heir = await claimed(store, NOW + 60)
    assert await store.settle(late, Outcome(200), NOW + 61) is State.DELIVERED
    assert await store.settle(heir, Outcome(500, "It failed."), NOW + 62) is State.DELIVERED
    assert await store.claim(NOW + 1e6, 60) is None


async def test_what_kills_its_workers_is_given_up(store: WebhookStore) -> None:
    await scheduled(store)
    for attempt in range(4):
        await claimed(store, NOW + attempt, lease=1)
    assert await store.claim(NOW + 9, 1) is None
    assert await store.state("r1") is State.GIVEN_UP
    assert "worker" in (await store.log("r1"))[-1].error


async def test_many_workers_take_each_delivery_once(store: WebhookStore) -> None:
    names = [f"r{number}" for number in range(30)]
    for name in names:
        await uploaded(store, name)
        await store.schedule(name, "http://127.0.0.1:9/", SECRET, done(), 60, at=NOW)
    taken = await asyncio.gather(*(store.claim(NOW, 60) for _ in range(40)))
    assert sorted(delivery.recording for delivery in taken if delivery) == sorted(names)


async def test_the_log_says_what_came_of_each_attempt(store: WebhookStore, raw: redis.Redis) -> None:
    says = f"<b>\x1b[31mno\x00 {SECRET}\r\n".encode() + b"\xff" * 10 + b"y" * 9_000
    with receiving(b"HTTP/1.1 418 Teapot\r\nConnection: close\r\n\r\n" + says) as receiver:
        event = await scheduled(store, receiver.url)
        delivery = await claimed(store)
        outcome = await Sender(private=True).send(delivery, NOW)
        await store.settle(delivery, outcome, NOW + 1)
        await store.settle(delivery, outcome, NOW + 1)
    (entry,) = await store.log("r1")
    assert (entry.at, entry.event, entry.attempt, entry.status) == (NOW + 1, event["id"], 1, 418)
    assert entry.error == "The server answered 418."
    assert 0 < entry.seconds < 5
    assert len(entry.answer) == 200
    assert entry.answer.isprintable()
    assert entry.answer.startswith("<b> [31mno …")
    assert SECRET not in str(raw.lrange("tonetrack:{r1}:deliveries", 0, -1))
    assert receiver.url not in str(raw.lrange("tonetrack:{r1}:deliveries", 0, -1)), "it may hold a key"


async def test_the_log_is_bounded(store: WebhookStore) -> None:
    await scheduled(store)
    delivery = await claimed(store)
    for number in range(LONGEST_LOG + 5):
        await store.settle(delivery, Outcome(500, "It failed."), NOW + number)
    log = await store.log("r1")
    assert len(log) == LONGEST_LOG
    assert log[-1].at == NOW + LONGEST_LOG + 4
    assert await store.log("nobody") == []


async def test_erasing_leaves_nothing(store: WebhookStore, raw: redis.Redis) -> None:
    await scheduled(store)
    delivery = await claimed(store)
    await store.settle(delivery, Outcome(500, "It failed."), NOW)
    again = await claimed(store, NOW + 5)
    raw.delete("tonetrack:{r1}:job")
    await store.erase("r1")
    assert raw.keys("*") == []
    assert await store.settle(again, Outcome(500, "It failed."), NOW) is None
    assert raw.keys("*") == [], "something late brought an erased delivery back"
    assert await store.state("r1") is None


async def test_everything_expires_together_and_what_is_due_is_dropped(store: WebhookStore, raw: redis.Redis) -> None:
    await scheduled(store, ttl=0.3)
    raw.delete("tonetrack:{r1}:job")
    await store.settle(await claimed(store), Outcome(500, "It failed."), NOW)
    assert 0 < raw.pttl("tonetrack:{r1}:deliveries") <= 300
    await asyncio.sleep(0.4)
    assert raw.keys("*") == [DUE]
    assert await store.claim(NOW + 5, 60) is None
    assert raw.keys("*") == []
