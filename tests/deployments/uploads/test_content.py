"""What an upload says, and what is in it: heard, or refused in a sentence."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from tests.benchmarks.usage import OTHERS, kind_of, memory
from tests.media import Medium, make_media
from tests.media.mutants import mutants
from tests.service import Pcm, Service, assert_same, record, running_service, silence
from tests.uploads import SAID, send, taken_in, wav_of

AT_ONCE = 8  # uploads under way
AUTOSCALED = ("recording worker", "emotion recogniser", OTHERS)
MOST_MORE = 500.0  # MB that a kind of process may have grown by
BOMBS = ("bomb.flac", "nested.m4a")  # those that are known for bombs before hours of them are heard
UNAGREED = "Everyone who is heard must have agreed before a recording is read (consent=true)."


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"consent": "false"}, UNAGREED),
        ({"consent": ""}, UNAGREED),
        ({"consent": "maybe"}, UNAGREED),
        ({"purpose": ""}, "purpose: Field required"),
        ({"purpose": "  "}, "purpose: "),
        ({"purpose": "staff meeting"}, "purpose: Input should be 'personal', 'therapy'"),
        ({"purpose": "work"}, "forbids inferring emotions at work and in education"),
        ({"purpose": "other"}, "The purpose other needs a remark that tells what it is."),
        ({"remark": "r" * 201}, "remark: "),
        ({"consent_version": "1999-01"}, "There is no wording '1999-01' of the consent"),
        ({"name": "a\u202eb"}, "name: Value error, control characters and broken Unicode are not taken"),
        ({"min_speakers": "3", "max_speakers": "2"}, "min_speakers is above max_speakers."),
        ({"min_speakers": "0"}, "min_speakers: "),
        ({"max_speakers": "13"}, "max_speakers: "),
        ({"max_speakers": "two"}, "max_speakers: "),
        ({"channels": "speakers", "max_speakers": "2"}, "nobody has to tell them apart"),
        ({"channels": "stereo"}, "channels: "),
        ({"language": "de_CH"}, "language: "),
        ({"diariser": "other"}, "diariser: "),
        ({"keep_audio": "perhaps"}, "keep_audio: "),
        ({"voices": "Anna"}, 'voices: This is no JSON; say [{"id": "…", "key": "…"}].'),
        ({"voices": '{"id": "a", "key": "b"}'}, "voices: Input should be a valid list"),
        ({"voices": '[{"id": "a"}]'}, "voices.0.key: Field required"),
        ({"voices": json.dumps([{"id": "a", "key": "b"}] * 13)}, "voices: List should have at most 12 items"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"webhook": "ftp://example.org/"}, "webhook: "),
        ({"webhook": "not a URL"}, "webhook: "),
        ({"webhook": "http://127.0.0.1/hook"}, "webhook: A webhook's URL must be public"),
        ({"webhook": "http://[::1]/hook"}, "webhook: "),
        ({"webhook": "http://169.254.169.254/latest/meta-data"}, "webhook: "),
        ({"webhook": "https://user:secret@example.org/"}, "webhook: "),
    ],
)
async def test_what_is_said_wrongly_is_refused_in_a_sentence(
    service: Service, said: dict[str, str], sentence: str
) -> None:
    answer = await send(service.api, wav_of(silence(0.5)), said=SAID | said)
    assert answer.status_code == 422, answer.text
    assert sentence in answer.json()["detail"]
    with service.redis() as redis:
        assert redis.zcard("tonetrack:jobs:arriving") == 0


async def test_what_is_no_form_is_refused_in_a_sentence(service: Service) -> None:
    wav = wav_of(silence(0.5))
    async with httpx.AsyncClient(base_url=service.api, timeout=30) as http:
        forms: list[tuple[dict[str, Any], str]] = [
            ({"json": SAID}, "Send a form, multipart/form-data, with the sound in its field 'file'."),
            ({"data": SAID}, "Send a form, multipart/form-data"),
            ({"content": b""}, "Send a form, multipart/form-data"),
            ({"data": SAID, "files": {"sound": ("a.wav", wav)}}, "The field 'sound' is "),
            ({"data": SAID, "files": [("file", ("a.wav", wav)), ("file", ("b.wav", wav))]}, "several files"),
            ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=" + "b" * 999}}, "malformed"),
        ]
        for form, why in forms:
            answer = await http.post("/v1/recordings", **form)
            assert answer.status_code == 422, answer.text
            assert why in answer.json()["detail"]


async def test_what_a_file_is_called_leads_nowhere(service: Service) -> None:
    wav = wav_of(silence(0.5))
    for name, called in (
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\y.wav", "y.wav"),
        ("🎙️ Gespräch.wav", "🎙️ Gespräch.wav"),
        ("<script>alert(1)</script>.wav", "script>.wav"),
    ):
        job = (await send(service.api, wav, name)).json()
        assert (job["file"], job["name"]) == (called, called)
        assert (await taken_in(service.api, await send(service.api, wav, name)).until())["state"] == "done"


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> list[Medium]:
    return make_media(tmp_path_factory.mktemp("media"))


@pytest.mark.parametrize("sampled", [10, pytest.param(None, marks=pytest.mark.long)], ids=["a sample", "all"])
async def test_every_kind_of_file_is_heard_or_refused_in_a_sentence(
    service: Service, media: list[Medium], sampled: int | None
) -> None:
    """Those of `tests.media` at once: what is good is heard to its end, what is none is told so, and nothing breaks."""
    places = asyncio.Semaphore(AT_ONCE)
    complaints: list[str] = []

    async def sent(medium: Medium) -> None:
        async with places:
            answer = await send(service.api, medium.path.read_bytes(), medium.name)
            if medium.kind == "refused":
                detail = answer.json().get("detail", "")
                if answer.status_code == 202:  # found out only by hearing it
                    job = await taken_in(service.api, answer).until()
                    detail = job["error"] or ""
                    if job["state"] != "failed" or job["retryable"]:
                        complaints.append(f"{medium.name}: {job['state']}")
                elif answer.status_code not in (415, 422):
                    complaints.append(f"{medium.name}: {answer.status_code}")
                if not (detail[:1].isupper() and detail.endswith(".")):
                    complaints.append(f"{medium.name}: no sentence: {detail!r}")
                return
            if (medium.claimed or 0) > 6 * 3_600:
                if (answer.status_code, answer.json()["detail"][:19]) != (413, "This recording has "):
                    complaints.append(f"{medium.name}: {answer.status_code}")
                return
            if answer.status_code != 202:
                complaints.append(f"{medium.name}: {answer.status_code} {answer.text}")
                return
            recording = taken_in(service.api, answer)
            job = await recording.until()
            if job["state"] != "done":
                complaints.append(f"{medium.name}: {job['state']} {job['error']}")
                return
            heard = (await recording.get("/timeline")).json()
            if abs(heard["heard_until"] - medium.seconds) > medium.tolerance + 0.05:
                complaints.append(f"{medium.name}: {heard['heard_until']} s of {medium.seconds}")
            if medium.kind == "silent" and heard["turns"]:
                complaints.append(f"{medium.name}: turns in silence")
            if (job["media_type"], job["channels"]) != (medium.media_type, medium.channels):
                complaints.append(f"{medium.name}: {job['media_type']}, {job['channels']} channels")

    # What turns out to be hours long only as it is heard is heard where less is taken: `test_queue`.
    files = [one for one in media if one.seconds < 3_600 or one.claimed]
    await asyncio.gather(*(sent(one) for one in (random.Random(4).sample(files, sampled) if sampled else files)))
    assert not complaints, "\n".join(complaints)


@pytest.mark.slow
async def test_some_files_that_are_hard_to_read_are_heard_or_refused_in_a_sentence(
    service: Service, small_conversation: Any
) -> None:
    """A sample of `tests.media.mutants`, bombs among them."""
    made = list(mutants())
    sample = random.Random(3).sample(made, 14) + [(name, data) for name, data in made if name in BOMBS]
    await _send_all(service, sample, small_conversation[0], AUTOSCALED)


@pytest.mark.long
@pytest.mark.timeout(1_200)
async def test_all_files_that_are_hard_to_read_are_heard_or_refused_in_a_sentence(small_conversation: Any) -> None:
    """Where nothing is started or ended because much or little is to be done, so that it is seen if something dies."""
    steady = {"recording_min_workers": 2, "emotion_min_replicas": 2}
    made = list(mutants())
    assert len(made) >= 200
    with running_service(**steady) as service:
        await _send_all(service, made, small_conversation[0])


async def _send_all(
    service: Service, files: Sequence[tuple[str, bytes]], pcm: Pcm, comes_and_goes: Sequence[str] = ()
) -> None:
    """Each is answered as it should be, nothing has to be started anew, and whoever talks meanwhile does not notice.

    `comes_and_goes`: kinds of processes of which there are more when there is much to do.
    """
    neighbour, _, _ = await record(service.api, pcm)
    undisturbed = await neighbour.get()
    replicas = {pid: command for pid, command in service.processes().items() if "ray::" in command}
    before = memory(service)
    beside = asyncio.create_task(_talk(service, pcm, over := asyncio.Event()))
    places = asyncio.Semaphore(AT_ONCE)
    complaints = await asyncio.gather(*(_complaints(service, name, data, places) for name, data in files))
    over.set()
    grown = {kind: taken - before.get(kind, 0) for kind, taken in memory(service).items() if kind not in comes_and_goes}
    for timeline in await beside:
        assert_same(timeline, undisturbed)
    assert not (wrong := [what for each in complaints for what in each]), "\n".join(wrong)
    there = service.processes()
    gone = [command for pid, command in replicas.items() if pid not in there]
    assert not [command for command in gone if kind_of(command) not in comes_and_goes]
    assert all(more < MOST_MORE for more in grown.values()), grown


async def _complaints(service: Service, name: str, data: bytes, places: asyncio.Semaphore) -> list[str]:
    """What is wrong with what becomes of a file."""
    async with places:
        while (answer := await send(service.api, data, name)).status_code == 429:  # as many as one may in a minute
            await asyncio.sleep(int(answer.headers["Retry-After"]))
        if answer.status_code not in (202, 413, 415, 422):
            return [f"{name}: {answer.status_code} {answer.text}"]
        told, wrong = answer.json().get("detail"), []
        if answer.status_code == 202:
            job = await taken_in(service.api, answer).until()
            told = job["error"]
            if job["state"] not in ("done", "failed") or job["retryable"]:
                wrong = [f"{name}: {job}"]
        sentence = told is None or (told[:1].isupper() and told.endswith("."))
        return wrong if sentence else [*wrong, f"{name}: no sentence: {told!r}"]


async def _talk(service: Service, pcm: Pcm, over: asyncio.Event) -> list[Any]:
    """The timelines of one live session after another, in real time, until it is over."""
    timelines = []
    while not over.is_set():
        session, _, _ = await record(service.api, pcm, pace=1)
        timelines.append(await session.get())
    return timelines
