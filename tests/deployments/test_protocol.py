"""The examples of PROTOCOL.md, replayed against a running service."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from deployments.client import open_session
from deployments.protocol import Close, Refused, pack_frame, unpack_frame
from tests.service import ROOT, Service

DOCUMENT = ROOT / "deployments" / "PROTOCOL.md"
EXCHANGES = re.findall(r"```exchange\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
FRAME = re.compile(r"frame (\d+) of (\d+) bytes")


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[f"exchange-{i}" for i in range(len(EXCHANGES))])
async def test_the_examples_hold(service: Service, exchange: str) -> None:
    session = await open_session(service.api, "research")
    socket: ClientConnection | None = None
    for line in exchange.strip().splitlines():
        direction, text = line[0], line[2:]
        if text == "break":
            assert socket is not None
            socket.transport.abort()
            socket = None
            continue
        if socket is None:
            socket = await connect(session.socket)
        if direction == "→":
            await socket.send(spoken(text, session.recorder_key))
        elif text.startswith("close "):
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == int(text.removeprefix("close "))
        else:
            assert_like(json.loads(await socket.recv()), text)
    if socket is not None:
        await socket.close()


def spoken(text: str, key: str) -> str | bytes:
    if frame := FRAME.fullmatch(text):
        return pack_frame(int(frame[1]), bytes(int(frame[2])))
    return text.replace('"KEY"', json.dumps(key))


def assert_like(answer: dict[str, Any], example: str) -> None:
    expected = json.loads(example.replace("…", '"…"'))
    assert answer.keys() == expected.keys()
    for name, value in expected.items():
        assert value in ("…", answer[name])


def test_the_document_names_every_close_code() -> None:
    table = dict(re.findall(r"^\| (\d+) \| `(\w+)`", Path(DOCUMENT).read_text(), re.MULTILINE))
    assert table == {str(code.value): code.name.lower() for code in Close}


def test_a_frame_is_its_number_and_its_audio() -> None:
    assert pack_frame(258, b"ab") == b"\x00\x00\x01\x02ab"
    assert unpack_frame(b"\x00\x00\x01\x02ab") == (258, b"ab")


@pytest.mark.parametrize("letter", ["e", "é", "語", "🙂"])
def test_a_reason_fits_into_a_close_frame_in_any_script(letter: str) -> None:
    """A sentence with a name in umlauts was too long for one, and the line broke without a code."""
    reason = Refused(Close.BAD_MESSAGE, letter * 200).reason
    assert 120 <= len(reason.encode()) <= 123
    assert set(reason) == {letter}
