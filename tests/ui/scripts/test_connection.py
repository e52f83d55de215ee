"""The recorder's line: its book-keeping, against a scripted socket."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

SOCKET = """
const {Connection} = await import("/connection.js")
const sockets = []
class Socket {
  constructor() { this.sent = []; sockets.push(this) }
  send(data) {
    this.sent.push(typeof data === "string" ? JSON.parse(data) : [new DataView(data.buffer).getUint32(0), data[4]])
  }
  close() { this.closed = true }
  say(message) { this.onmessage({data: JSON.stringify(message)}) }
  welcome(next, heartbeat = 10) { this.onopen(); this.say({type: "welcome", next_frame: next, heartbeat}) }
  frames() { return this.sent.filter(Array.isArray) }
}
const line = new Connection({url: "ws://x", key: "k", codec: "pcm16", open: () => new Socket()})
const states = []
line.addEventListener("state", ({detail}) => states.push(detail))
const frame = (byte) => new Uint8Array([byte]).buffer
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
line.start()
"""


def run(page: Page, script: str) -> Any:
    return page.evaluate(f"async () => {{ {SOCKET} {script} }}")


def test_frames_spoken_before_the_welcome_are_numbered_by_it(page: Page) -> None:
    sent = run(
        page,
        "line.send(frame(1)); line.send(frame(2)); sockets[0].welcome(40); line.send(frame(3)); return sockets[0].sent",
    )
    hello = {"type": "hello", "protocol": 1, "key": "k", "codec": "pcm16", "sample_rate": 16_000, "channels": 1}
    assert sent[0].pop("recorder")
    assert sent == [hello, [40, 1], [41, 2], [42, 3]]


def test_what_was_not_acknowledged_is_sent_again_after_a_break(page: Page) -> None:
    told = run(
        page,
        """
        sockets[0].welcome(0)
        for (const byte of [10, 11, 12, 13]) line.send(frame(byte))
        sockets[0].say({type: "ack", next_frame: 1})
        sockets[0].onclose({code: 1006})
        line.send(frame(14))
        line.hurry()
        sockets[1].welcome(2)
        sockets[1].say({type: "ack", next_frame: 5})
        return {again: sockets[1].frames(), left: line.unacknowledged, states: states.map(({state}) => state)}
    """,
    )
    assert told["again"] == [[2, 12], [3, 13], [4, 14]]
    assert told["left"] == 0
    assert told["states"] == ["connecting", "open", "waiting", "connecting", "open"]


def test_stop_comes_after_the_last_frame_even_across_a_break(page: Page) -> None:
    told = run(
        page,
        """
        sockets[0].welcome(0)
        line.send(frame(1))
        sockets[0].onclose({code: 1012})
        line.stop()
        line.send(frame(2))
        line.hurry()
        sockets[1].welcome(0)
        sockets[1].say({type: "stopped", seconds: 0.25})
        return {sent: sockets[1].sent.slice(1), last: states.at(-1)}
    """,
    )
    assert told == {"sent": [[0, 1], {"type": "stop"}], "last": {"state": "stopped", "seconds": 0.25}}


def test_a_session_stopped_just_before_the_break_counts_as_stopped(page: Page) -> None:
    assert run(
        page,
        """
        sockets[0].welcome(0); line.stop(); sockets[0].onclose({code: 1006}); line.hurry()
        sockets[1].onopen(); sockets[1].onclose({code: 4410})
        return states.at(-1)
    """,
    ) == {"state": "stopped", "seconds": None}


def test_silence_for_three_heartbeats_is_a_dead_line(page: Page) -> None:
    page.clock.install(time=0)
    page.clock.pause_at(1_000)  # s; from here on time passes where the test says so, however slow the machine is
    run(page, "Object.assign(window, {sockets, states}); sockets[0].welcome(0, 10)")
    page.clock.run_for(29_000)
    page.evaluate('sockets[0].say({type: "pong"})')
    page.clock.run_for(29_000)
    assert page.evaluate("states.at(-1).state") == "open"
    page.clock.run_for(2_050)  # the beat after three that nobody answered
    assert page.evaluate("states.at(-1).state") == "waiting"
    assert page.evaluate("sockets[0].closed")
    pings = page.evaluate('sockets[0].sent.filter(({type}) => type === "ping").length')
    assert pings == 5, "one with each heartbeat until the line is dead"


def test_a_final_refusal_is_not_tried_again(page: Page) -> None:
    told = run(
        page,
        """
        sockets[0].onopen()
        sockets[0].say({type: "error", code: "taken-over", message: "elsewhere"})
        sockets[0].onclose({code: 4409, reason: ""})
        await pause(400)
        return {last: states.at(-1), sockets: sockets.length}
    """,
    )
    assert told == {"last": {"state": "failed", "code": 4409, "message": "elsewhere"}, "sockets": 1}


def test_waits_grow_to_five_seconds(page: Page) -> None:
    delays = run(
        page,
        """
        for (let i = 0; i < 8; i++) { sockets.at(-1).onclose({code: 1006}); line.hurry() }
        return states.filter(({state}) => state === "waiting").map(({delay}) => delay)
    """,
    )
    ceilings = [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]
    assert all(ceiling / 2 <= delay <= ceiling for delay, ceiling in zip(delays, ceilings, strict=True))


def test_a_full_server_is_asked_again_after_five_seconds_at_the_earliest(page: Page) -> None:
    delays = run(
        page,
        """
        for (let i = 0; i < 8; i++) { sockets.at(-1).onclose({code: 1013}); line.hurry() }
        return states.filter(({state}) => state === "waiting").map(({delay}) => delay)
    """,
    )
    assert all(5_000 <= delay <= 10_000 for delay in delays)


def test_a_very_long_absence_is_said_once_and_keeps_the_row_unbroken(page: Page) -> None:
    told = run(
        page,
        """
        let overflows = 0
        line.addEventListener("overflow", () => overflows++)
        for (let i = 0; i < 1300; i++) line.send(frame(1))
        sockets[0].welcome(0)
        const numbers = sockets[0].frames().map(([number]) => number)
        return {overflows, count: numbers.length, unbroken: numbers.every((number, index) => number === index)}
    """,
    )
    assert told == {"overflows": 1, "count": 1_200, "unbroken": True}


def test_a_recorder_keeps_its_name_from_line_to_line(page: Page) -> None:
    """Claims of broken lines that came late fenced the living one off; one name makes them one recorder."""
    told = run(
        page,
        """
        sockets[0].welcome(0); sockets[0].onclose({code: 1006}); line.hurry(); sockets[1].welcome(0)
        const other = new Connection({url: "ws://x", key: "k", codec: "pcm16", open: () => new Socket()})
        return {names: sockets.map(({sent}) => sent[0].recorder), other: other.recorder}
    """,
    )
    assert len(set(told["names"])) == 1
    assert len(told["names"][0]) == 32
    assert told["other"] != told["names"][0]


def test_a_line_at_rest_sends_what_is_left_hangs_up_and_goes_on_later(page: Page) -> None:
    """A microphone unplugged while offline threw away what was not acknowledged; now it waits to be sent."""
    told = run(
        page,
        """
        sockets[0].welcome(0)
        for (const byte of [10, 11]) line.send(frame(byte))
        sockets[0].onclose({code: 1006})
        line.rest()
        line.hurry()
        sockets[1].welcome(1)
        const open = !sockets[1].closed
        sockets[1].say({type: "ack", next_frame: 2})
        await pause(400)
        const rested = {closed: sockets[1].closed, last: states.at(-1).state, sockets: sockets.length}
        line.wake()
        line.send(frame(12))
        sockets[2].welcome(2)
        return {open, rested, late: sockets[1].frames(), later: sockets[2].frames(), left: line.unacknowledged}
    """,
    )
    assert told["open"], "not before everything is acknowledged"
    assert told["rested"] == {"closed": True, "last": "resting", "sockets": 2}
    assert told["late"] == [[1, 11]]
    assert told["later"] == [[2, 12]]
    assert told["left"] == 1


def test_a_line_at_rest_can_still_end_the_session(page: Page) -> None:
    sent = run(
        page,
        "sockets[0].welcome(0); line.rest(); line.stop(); sockets[1].welcome(0); return sockets[1].sent.at(-1)",
    )
    assert sent == {"type": "stop"}
