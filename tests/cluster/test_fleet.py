"""A cluster of several hosts that loses one after the other: sessions go on, and their timelines tell nothing of it.

The hosts are network namespaces, so these tests need Linux and root.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from deployments.client import Recorder, Session, open_session
from deployments.pool import holder
from pipeline import tasks
from tests.cluster.fleet import Fleet, running_fleet
from tests.cluster.hosts import Host, network
from tests.cluster.overlays import serve_config
from tests.service import Pcm, assert_same, frames, record
from tests.uploads import tiled, upload, wav_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

CPUS = 8  # that a worker says it has
PACE = 1.5
DEPLOYMENTS = ("Ingress", "Diariser", "EmotionRecogniser", "RecordingWorker")
BEFORE = 5.0  # s of wall clock into a conversation
PATIENCE = 200.0  # s

Note = Callable[[str, object], None]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with network(folder) as hosts, running_fleet(hosts, folder, heartbeat=2, blobs=folder / "blobs") as fleet:
        fleet.start_worker("one", CPUS)
        fleet.start_worker("two", CPUS)
        fleet.deploy(serve_config("production"))
        yield fleet


@pytest.fixture(scope="module")
def undisturbed(fleet: Fleet, small_conversation: Any) -> Any:
    async def run() -> Any:
        session, recorder, _ = await record(fleet.entry, small_conversation[0], pace=PACE)
        assert recorder.reconnects == 0
        return await session.get()

    return asyncio.run(run())


class Talk:
    """A conversation that is being recorded while something happens to the fleet."""

    def __init__(self, session: Session, pcm: Pcm, pace: float) -> None:
        self.session = session
        self.recorder = Recorder(session)
        self._task = asyncio.create_task(self.recorder.record(frames(pcm, pace=pace)))

    async def timeline(self) -> Any:
        """Wait for the end; returns what was heard."""
        async with asyncio.timeout(PATIENCE):
            await self._task
        return await self.session.get()

    async def longest_pause(self) -> float:
        """The longest time between two hops, in seconds, for those who watched."""
        times = [event.published_at async for _, event in self.session.events() if event.type == "hop.heard"]
        return float(np.diff([at for at in times if at]).max())


async def begin(fleet: Fleet, pcm: Pcm, pace: float = PACE) -> Talk:
    return Talk(await open_session(fleet.entry, "research"), pcm, pace)


async def beside(what: Callable[..., Any], *arguments: Any) -> Any:
    """Wait for something without keeping those who talk from talking."""
    return await asyncio.to_thread(what, *arguments)


def names(fleet: Fleet) -> set[str]:
    """Of the replicas that stay as long as nothing is wrong with them."""
    return {replica["actor_name"] for name in ("Ingress", "Diariser") for replica in fleet.replicas(name)}


async def home(fleet: Fleet, session: Session) -> Host:
    """The host whose actor holds a session."""
    actors = {actor["name"]: actor for actor in await beside(fleet.session_actors)}
    node = actors[holder(session.id, actors)]["node_id"]
    return fleet.host_of(await beside(fleet.address_of, node))


async def back(fleet: Fleet, host: Host) -> None:
    """Start a host again that was unplugged."""
    host.plug_in()
    fleet.restart(host, CPUS)
    await beside(fleet.settle)


def test_two_of_everything_stand_on_two_hosts(fleet: Fleet) -> None:
    for deployment in DEPLOYMENTS[:3]:
        assert len({replica["node_ip"] for replica in fleet.replicas(deployment)}) == 2, deployment
    assert len({actor["node_id"] for actor in fleet.session_actors()}) == 2


async def test_a_conversation_and_an_upload_are_heard(fleet: Fleet, small_conversation: Any, undisturbed: Any) -> None:
    assert undisturbed["speakers"] == [1, 2]
    uploaded = await upload(fleet.entry, wav_of(tiled(small_conversation[0], 60)))
    assert len((await uploaded.heard(PATIENCE))["speakers"]) == 2


async def test_a_worker_without_power_loses_nothing(
    fleet: Fleet, small_conversation: Any, undisturbed: Any, note: Note
) -> None:
    talk = await begin(fleet, small_conversation[0])
    await asyncio.sleep(BEFORE)
    host = await home(fleet, talk.session)
    await beside(host.unplug)
    assert_same(await talk.timeline(), undisturbed)
    note("longest pause when a worker loses power [s]", await talk.longest_pause())
    await back(fleet, host)


async def test_traffic_goes_on_without_a_head_and_control_comes_back(
    fleet: Fleet, small_conversation: Any, undisturbed: Any, note: Note
) -> None:
    before = await beside(names, fleet)
    talk = await begin(fleet, small_conversation[0])
    await asyncio.sleep(BEFORE)
    await beside(fleet.head.unplug)
    with pytest.raises(httpx.HTTPError):
        await beside(fleet.application)
    second, _, _ = await record(fleet.entry, small_conversation[0], pace=PACE)
    assert_same(await talk.timeline(), undisturbed)
    assert_same(await second.get(), undisturbed)
    note("longest pause when the head loses power [s]", await talk.longest_pause())
    fleet.head.plug_in()
    start = time.monotonic()
    await beside(fleet.start_head)
    await beside(fleet.settle)
    note("until the new head is in control [s]", time.monotonic() - start)
    assert await beside(names, fleet) == before, "replicas were started anew, though nothing was wrong with them"
    third, _, _ = await record(fleet.entry, small_conversation[0], pace=PACE)
    assert_same(await third.get(), undisturbed)


async def test_a_drained_worker_is_empty_before_it_goes(
    fleet: Fleet, small_conversation: Any, undisturbed: Any, note: Note
) -> None:
    talk = await begin(fleet, small_conversation[0])
    host = await home(fleet, talk.session)
    (other,) = (worker for worker in fleet.workers.values() if worker is not host)
    start = time.monotonic()
    await beside(fleet.drain, host, 120)
    note("until a drained worker holds no replica [s]", time.monotonic() - start)
    replicas = [replica for name in DEPLOYMENTS for replica in await beside(fleet.replicas, name)]
    assert {replica["node_ip"] for replica in replicas} == {other.address}
    await beside(host.unplug)
    assert_same(await talk.timeline(), undisturbed)
    note("longest pause when a worker is drained and goes [s]", await talk.longest_pause())
    await back(fleet, host)


async def test_a_new_version_takes_over_while_people_talk(fleet: Fleet, small_conversation: Any, note: Note) -> None:
    long = np.tile(small_conversation[0], 7)
    alone, _, _ = await record(fleet.entry, long, pace=0)
    before = await beside(names, fleet)
    talks = [await begin(fleet, long) for _ in range(3)]
    start = time.monotonic()
    await beside(fleet.deploy, serve_config("production", snapshot_seconds=4))
    note("until a new version serves [s]", time.monotonic() - start)
    for talk in talks:
        assert_same(await talk.timeline(), await alone.get())
        assert talk.recorder.reconnects, "the old version was still there at the end"
    note("longest pause when a new version comes [s]", max([await talk.longest_pause() for talk in talks]))
    assert not before & await beside(names, fleet)


async def test_emotion_replicas_follow_the_load(fleet: Fleet, small_conversation: Any, note: Note) -> None:
    async def talk() -> None:
        while True:
            await record(fleet.entry, small_conversation[0], pace=0)

    def replicas() -> int:
        return len(fleet.replicas("EmotionRecogniser"))

    least = await beside(replicas)
    start = time.monotonic()
    talking = [asyncio.create_task(talk()) for _ in range(8)]
    await beside(fleet.until, lambda: replicas() > least, "another emotion replica")
    note("until another emotion replica runs [s]", time.monotonic() - start)
    start = time.monotonic()
    await tasks.end(*talking)
    await beside(fleet.until, lambda: replicas() == least, "rest")
    note("until it has gone again [s]", time.monotonic() - start)


async def test_emotions_are_read_on_the_gpu(tmp_path: Path, small_conversation: Any) -> None:
    with network(tmp_path) as hosts, running_fleet(hosts, tmp_path, blobs=tmp_path / "blobs") as fleet:
        fleet.start_worker("cpus", CPUS)
        fleet.start_worker("card", CPUS, gpus=1)
        fleet.deploy(serve_config("gpu"))
        recognisers = fleet.replicas("EmotionRecogniser")
        assert {replica["node_ip"] for replica in recognisers} == {fleet.workers["card"].address}
        session, _, _ = await record(fleet.entry, small_conversation[0], pace=0)
        assert (await session.get())["speakers"] == [1, 2]
        uploaded = await upload(fleet.entry, wav_of(small_conversation[0]))
        assert len((await uploaded.heard(PATIENCE))["speakers"]) == 2
