"""Uploads, one after another, against a scripted service."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

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


def test_who_is_asked_to_come_again_comes_when_told_and_as_often_as_it_takes(page: Page) -> None:
    """A folder of files, of which more than may wait were dropped, was left half uploaded after half a minute."""
    told = upload(
        page,
        """
        const full = {status: 429, told: {detail: "As many recordings as may wait do."}, after: 0.05}
        answers.push(full, full, full, {...full, status: 503}, taken("a"))
        uploads.add([file("a.wav")], said)
        await pause(20)
        const [{state, message}] = uploads.items
        const tried = posts.length
        for (let looks = 0; looks < 100 && uploads.items.length; looks++) await pause(100)
        return {state, message, tried, in_all: posts.length, left: uploads.items.length}
    """,
    )
    assert (told["state"], told["tried"]) == ("retrying", 1)
    assert "As many recordings as may wait do." in told["message"]
    assert (told["in_all"], told["left"]) == (5, 0)


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
