"""What a recorder could send if it meant harm or were broken: sequences of messages, the same for the same seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import cache

from deployments.protocol import Hello, Ping, Stop, pack_frame
from tests.media.mutants import flipped, patched
from tests.media.sounds import encoded

Message = str | bytes
MOST_BYTES = 65_536  # of a frame
HALVES = ('{"type": "he', '{"type": ', "{", '{"type": "ping"', "[", '"', "")
TEXTS = (
    *HALVES,
    "[" * 50_000,
    '{"a":' * 50_000,
    '{"type": "hello", "protocol": ' + "9" * 5_000 + "}",
    '{"type": "\\ud800"}',
    '{"type": "ping", "\\u0000\\u001b[31m\\n": 1}',
    json.dumps({"type": "é" * 500}, ensure_ascii=False),
    json.dumps({"type": "ping", "ключ" * 100: 1}, ensure_ascii=False),
    '{"type": "hello", "key": null}',
    '{"type": ["ping"]}',
    '{"type": "ping", "type": "stop"}',
    "\x00\x1b\u202e\ufeff",
    "NaN",
    "null",
    "x" * 100_000,
)


@cache
def webm() -> bytes:
    """A second or two of it, as a browser records."""
    return encoded("webm", "libopus", 48_000, live=True, cluster_time_limit="200")


class Hostile:
    """One such sequence, for a session whose key is known to whoever sends it."""

    def __init__(self, seed: int, key: str) -> None:
        self._chance = random.Random(seed)
        self._key = key
        self._number = 0
        self._codec = self._chance.choice(("pcm16", "pcm16", "webm"))
        self._webm = self._clip()

    def messages(self) -> Iterator[Message]:
        """Most begin as they should: what comes later is of no interest where the beginning is refused."""
        yield self._hello() if self._chance.random() < 0.85 else self._any()
        for _ in range(self._chance.randint(0, 12)):
            yield self._any()
        if self._chance.random() < 0.3:
            yield Stop().model_dump_json()

    def _clip(self) -> bytes:
        """What is sent as webm: whole, or cut, with bits turned round or numbers replaced."""
        whole = webm()
        made: list[Callable[[], bytes]] = [
            lambda: whole,
            lambda: whole[: self._chance.randrange(len(whole))],
            lambda: flipped(whole, self._chance),
            lambda: patched(whole, self._chance),
        ]
        return self._chance.choice(made)()

    def _any(self) -> Message:
        kinds: list[tuple[int, Callable[[], Message]]] = [
            (12, self._frame),
            (2, lambda: pack_frame(max(0, self._number - self._chance.randint(1, 3)), bytes(64))),
            (1, lambda: pack_frame(self._chance.choice((self._number + 2, 2**31, 2**32 - 1)), bytes(64))),
            (1, lambda: self._chance.randbytes(self._chance.randint(0, 4))),
            (1, lambda: pack_frame(self._number, bytes(2 * self._chance.randint(1, 30) + 1))),
            (1, lambda: pack_frame(self._number, bytes(MOST_BYTES + self._chance.choice((1, 2, 200_000))))),
            (1, lambda: self._chance.randbytes(self._chance.randint(5, 2_000))),
            (1, lambda: self._hello().encode()),
            (1, lambda: pack_frame(self._number, self._webm[:500]).decode("latin-1")),
            (2, lambda: self._chance.choice(TEXTS)),
            (1, lambda: Ping().model_dump_json()),
            (1, lambda: Stop().model_dump_json()),
            (1, self._hello),
        ]
        weights, makers = zip(*kinds, strict=True)
        return self._chance.choices(makers, weights)[0]()

    def _hello(self) -> str:
        return Hello.model_validate({"key": self._key, "codec": self._codec}).model_dump_json(exclude_none=True)

    def _frame(self) -> bytes:
        """The next one: of what the session is recorded in, or now and then of something else."""
        codec = self._codec if self._chance.random() < 0.8 else self._chance.choice(("pcm16", "webm", "noise"))
        size = 2 * self._chance.choice((1, 50, 400))
        at = self._number * 1_000
        payload = {
            "pcm16": bytes(size),
            "webm": self._webm[at : at + 1_000] or bytes(10),
            "noise": self._chance.randbytes(size),
        }[codec]
        self._number += 1
        return pack_frame(self._number - 1, payload)
