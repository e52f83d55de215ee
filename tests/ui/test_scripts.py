"""The recorder's scripts without a page: the line's book-keeping against a scripted socket, and the resampler."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

STATIC = Path(__file__).parents[2] / "ui" / "static"

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


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    handler = functools.partial(_Quiet, directory=str(STATIC))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/icon.svg")
        yield page
        page.close()
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: Any) -> None:
        pass


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
    told = run(
        page,
        """
        sockets[0].welcome(0, 0.05)
        await pause(120)
        sockets[0].say({type: "pong"})
        await pause(60)
        const alive = states.at(-1).state
        await pause(400)
        return {alive, later: states.some(({state}) => state === "waiting"), closed: sockets[0].closed,
                pings: sockets[0].sent.filter(({type}) => type === "ping").length}
    """,
    )
    assert told["alive"] == "open"
    assert told["later"]
    assert told["closed"]
    assert told["pings"] >= 3


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


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_the_resampler_keeps_speech_and_drops_what_16_khz_cannot_hold(page: Page, rate: int) -> None:
    told = page.evaluate(
        """async (rate) => {
        const {Resampler} = await import("/resampler.js")
        const through = (hertz) => {
            const resampler = new Resampler(rate, 16000), out = []
            for (let block = 0; block < rate / 128; block++) {
                out.push(...resampler.push(Float32Array.from({length: 128}, (_, i) =>
                    Math.sin(2 * Math.PI * hertz * (block * 128 + i) / rate))))
            }
            const power = out.slice(400).reduce((sum, x) => sum + x * x, 0) / (out.length - 400)
            return {length: out.length, loud: Math.sqrt(power)}
        }
        return [through(300), through(3000), through(11000)]
    }""",
        rate,
    )
    low, middle, high = told
    assert abs(low["length"] - 16_000) < 200
    assert low["loud"] == pytest.approx(0.707, abs=0.01)
    assert middle["loud"] == pytest.approx(0.707, abs=0.01)
    assert high["loud"] < 0.003


UPLOADS = """
const {Uploads} = await import("/uploads.js")
const keys = await import("/keys.js")
localStorage.clear()
const answers = [], posts = [], told = []
const send = (post) => {
  posts.push(post)
  post.progress(post.body.size)
  const answer = answers.shift()
  return answer ? Promise.resolve(answer) : new Promise((_, reject) => {
    post.signal.addEventListener("abort", reject)
    if (answer === null) reject(new Error("broken"))
  })
}
const uploads = new Uploads({send, delays: [1, 1]})
uploads.addEventListener("change", () => told.push(uploads.items.map(({state}) => state).join()))
uploads.addEventListener("taken", ({detail}) => keys.shelve(detail.key, [detail]))
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const said = {purpose: "research", consent: true, name: "", keep_audio: false}
const file = (name, text = "sound") => new File([text], name)
const taken = (id) => ({status: 202, told: {id, key: "owner", viewer_key: `see ${id}`}})
const shelves = () => JSON.parse(localStorage.getItem("tonetrack-recordings"))
const idOf = ({headers}) => headers["Idempotency-Key"]
"""


def upload(page: Page, script: str) -> Any:
    return page.evaluate(f"async () => {{ {UPLOADS} {script} }}")


def test_uploads_go_one_after_another_and_under_the_first_ones_key(page: Page) -> None:
    told = upload(
        page,
        """
        answers.push(taken("a"), taken("b"))
        uploads.add([file("a.wav"), file("b.wav")], said)
        await pause(20)
        const sent = posts.map(({headers}) => headers.Authorization)
        return {keys: sent, ids: new Set(posts.map(idOf)).size, told, shelves: shelves()}
    """,
    )
    assert told["keys"] == [None, "Bearer owner"]
    assert told["ids"] == 2
    assert "checking,checking" not in told["told"]
    assert told["told"][0] == "waiting,waiting"
    assert told["told"][-1] == ""
    assert told["shelves"] == [{"key": "owner", "viewers": {"a": "see a", "b": "see b"}}]


def test_a_broken_upload_is_sent_again_byte_by_byte_the_same_until_it_is_stuck(page: Page) -> None:
    told = upload(
        page,
        """
        answers.push(null, {status: 502, told: null}, null)
        uploads.add([file('a "quoted"\\n.wav')], said)
        await pause(100)
        const [item] = uploads.items
        const stuck = {state: item.state, message: item.message, active: uploads.active}
        answers.push(taken("a"))
        uploads.again(item)
        await pause(20)
        const bodies = await Promise.all(posts.map(({body}) => body.text()))
        return {stuck, ids: new Set(posts.map(idOf)).size, bodies, left: uploads.items.length}
    """,
    )
    assert told["stuck"]["state"] == "stuck"
    assert told["stuck"]["message"].endswith("Nothing is taken in twice if you try again.")
    assert told["stuck"]["active"], "leaving the page would lose it"
    assert (told["ids"], told["left"], len(told["bodies"])) == (1, 0, 4)
    assert len(set(told["bodies"])) == 1, "boundaries of the browser's own making would differ in length"
    assert 'filename="a %22quoted%22 .wav"' in told["bodies"][0]
    assert 'name="consent"\r\n\r\ntrue\r\n' in told["bodies"][0]
    assert 'name="name"' not in told["bodies"][0]


def test_a_key_that_is_known_no_more_makes_way_for_a_new_one(page: Page) -> None:
    told = upload(
        page,
        """
        keys.shelve("old", [{id: "x", viewer_key: "y"}])
        answers.push({status: 403, told: {detail: "No recordings are under this key."}}, taken("a"))
        uploads.add([file("a.wav")], said)
        await pause(20)
        return {keys: posts.map(({headers}) => headers.Authorization), shelves: shelves()}
    """,
    )
    assert told == {"keys": ["Bearer old", None], "shelves": [{"key": "owner", "viewers": {"a": "see a"}}]}


def test_what_is_stuck_without_a_key_is_sent_without_one_again(page: Page) -> None:
    """Under the key that another was given meanwhile it was taken in twice."""
    told = upload(
        page,
        """
        answers.push(null, null, null, taken("b"))
        uploads.add([file("a.wav"), file("b.wav")], said)
        await pause(100)
        answers.push({status: 202, told: {id: "a", key: "second", viewer_key: "see a"}}, taken("c"))
        uploads.again(uploads.items[0])
        await pause(20)
        uploads.add([file("c.wav")], said)
        await pause(20)
        return {keys: posts.map(({headers}) => headers.Authorization ?? null),
                first: new Set([...posts.slice(0, 3), posts[4]].map(idOf)).size, owners: keys.owners()}
    """,
    )
    assert told["keys"] == [None, None, None, None, None, "Bearer second"]
    assert told["first"] == 1
    assert told["owners"] == ["second", "owner"]


def test_recordings_under_several_keys_stay_known(page: Page) -> None:
    """Another tab's key made those under the first unreachable."""
    told = upload(
        page,
        """
        localStorage.setItem("tonetrack-recordings", JSON.stringify({key: "one", viewers: {a: "see a"}}))
        keys.shelve("two", [{id: "b", viewer_key: "see b"}])
        const elsewhere = shelves()
        elsewhere[1].viewers.c = ""
        localStorage.setItem("tonetrack-recordings", JSON.stringify([{key: "three", viewers: {}}, ...elsewhere]))
        keys.shelve("one", [{id: "a"}, {id: "d", viewer_key: "see d"}])
        const known = {owners: keys.owners(), of: ["a", "b", "c", "d", "e"].map(keys.owner), sees: keys.viewer("a")}
        keys.forget("c")
        keys.unshelve("two")
        const left = shelves()
        keys.clearShelves()
        return {...known, left, stored: localStorage.length}
    """,
    )
    assert told["owners"] == ["three", "two", "one"]
    assert told["of"] == ["one", "two", "one", "one", None]
    assert told["sees"] == "see a"
    assert told["left"] == [{"key": "three", "viewers": {}}, {"key": "one", "viewers": {"a": "see a", "d": "see d"}}]
    assert told["stored"] == 0


@pytest.mark.parametrize(
    ("share", "size", "sentence"),
    [
        (None, 0, "Loading the sound …"),
        (0.125, 0, "Loading the sound, 12 %"),
        (None, 312e6, "312 MB, downloading"),
        (0.5, 1.2e9, "1.2 GB, downloading, 50 %"),
    ],
)
def test_how_much_of_the_sound_is_there_is_told(page: Page, share: float | None, size: float, sentence: str) -> None:
    script = "async ([share, size]) => (await import('/sentences.js')).loadingSound(share, size)"
    assert page.evaluate(script, [share, size]) == sentence


def test_what_is_refused_stays_to_be_read_and_the_next_goes_on(page: Page) -> None:
    told = upload(
        page,
        """
        answers.push({status: 415, told: {detail: "This is text."}}, taken("b"))
        uploads.add([file("a.wav"), file("b.wav")], said)
        await pause(20)
        const [{state, message}] = uploads.items
        return {state, message, posts: posts.length, active: uploads.active}
    """,
    )
    assert told == {"state": "refused", "message": "This is text.", "posts": 2, "active": False}


def test_an_upload_that_is_stopped_ends_and_lets_the_next_go(page: Page) -> None:
    told = upload(
        page,
        """
        answers.push(undefined, taken("b"))
        uploads.add([file("a.wav"), file("b.wav")], said)
        await pause(10)
        uploads.abort(uploads.items[0])
        await pause(20)
        const left = uploads.items.length
        return {aborted: posts[0].signal.aborted, posts: posts.length, left, kept: shelves()}
    """,
    )
    assert told == {"aborted": True, "posts": 2, "left": 0, "kept": [{"key": "owner", "viewers": {"b": "see b"}}]}


def test_hours_are_told_as_hours(page: Page) -> None:
    told = page.evaluate(
        """async () => {
        const {clock} = await import("/elements.js")
        return [0, 59.9, 61, 3599, 3600, 37_230].map(clock)
    }"""
    )
    assert told == ["0:00", "0:59", "1:01", "59:59", "1:00:00", "10:20:30"]
