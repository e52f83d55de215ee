"""The session actors by name: who stays and who goes when others come. Ray is played by the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError

from deployments import pool as pools
from deployments.cadence import Pace
from deployments.pool import NAMESPACE, RETIREMENT, SessionPool, holder
from deployments.settings import Settings
from pipeline.session import Frame


class Method:
    """A method of a remote actor."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self._answer = answer

    async def remote(self) -> Any:
        return self._answer()


class Actor:
    """An actor that has been idle for so many seconds."""

    def __init__(self, idle: float = 0.0) -> None:
        self.seconds = idle
        self.dead = False
        self.idle = Method(self._alive)
        self.ready = Method(self._alive)

    def _alive(self) -> float:
        if self.dead:
            raise ActorDiedError
        return self.seconds


class FakeRay:
    """Named actors, some of other applications."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.actors: dict[tuple[str, str], Actor] = {}
        monkeypatch.setattr(ray, "get_actor", lambda name, namespace: self.actors[namespace, name])
        monkeypatch.setattr(ray, "kill", self.kill)
        monkeypatch.setattr(ray.util, "list_named_actors", self.listed)
        monkeypatch.setattr(SessionPool, "_named", lambda _, name: self.actors.setdefault((NAMESPACE, name), Actor()))
        monkeypatch.setattr(pools, "PATIENCE", 0.01)

    def listed(self, all_namespaces: bool) -> list[dict[str, str]]:
        assert all_namespaces
        return [{"namespace": namespace, "name": name} for namespace, name in self.actors]

    def kill(self, actor: Actor) -> None:
        self.actors = {key: other for key, other in self.actors.items() if other is not actor}
        actor.dead = True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    return FakeRay(monkeypatch)


def pool(**settings: Any) -> SessionPool:
    nothing: Any = None
    return SessionPool(Settings(redis_url="redis://nowhere:1", session_actors=2, **settings), nothing, nothing)


async def test_what_a_former_version_has_left_goes_once_it_holds_nothing(fake: FakeRay) -> None:
    old, busy = Actor(RETIREMENT + 1), Actor(0.0)
    strangers = {(NAMESPACE, "another"): Actor(9_999.0), ("elsewhere", "sessions-old-0"): Actor(9_999.0)}
    fake.actors = {(NAMESPACE, "sessions-old-0"): old, (NAMESPACE, "sessions-old-1"): busy, **strangers}
    now = pool()
    retiring = asyncio.create_task(now.retire_others())
    await asyncio.sleep(0.2)
    assert (old.dead, busy.dead, retiring.done()) == (True, False, False)
    busy.seconds = RETIREMENT + 1
    await asyncio.wait_for(retiring, 5)
    assert busy.dead
    assert fake.actors.keys() > strangers.keys()
    await now.ready()


async def test_a_pool_ends_none_that_came_after_it(fake: FakeRay) -> None:
    before = pool()
    retiring = asyncio.create_task(before.retire_others())
    await asyncio.sleep(0.05)
    pool(snapshot_seconds=1)
    for actor in fake.actors.values():
        actor.seconds = RETIREMENT + 1
    await asyncio.wait_for(retiring, 5)
    assert len(fake.actors) == 4
    assert not any(actor.dead for actor in fake.actors.values())


async def test_an_actor_that_was_ended_for_good_is_made_anew(fake: FakeRay) -> None:
    now = pool()
    lost = now.actor("a session")
    fake.kill(lost)  # type: ignore[arg-type]
    await now.ready()
    assert now.actor("a session") is not lost
    assert not now.actor("a session").dead


@pytest.mark.parametrize("change", [{"snapshot_seconds": 1}, {"redis_url": "redis://:another@nowhere:1"}])
def test_other_settings_make_other_actors(fake: FakeRay, change: dict[str, Any]) -> None:
    pool()
    settings = {"redis_url": "redis://:one@nowhere:1", "session_actors": 2} | change
    nothing: Any = None
    SessionPool(Settings(**settings), nothing, nothing)
    assert len(fake.actors) == 4


def test_a_session_moves_only_when_its_actor_goes() -> None:
    names = [f"sessions-{number}" for number in range(4)]
    homes = {f"{number:x}": holder(f"{number:x}", names) for number in range(200)}
    assert set(homes.values()) == set(names)
    for session, home in homes.items():
        assert holder(session, names[:3]) == home or home == names[3]


async def test_what_an_actor_can_do_is_what_it_has_lately_said(fake: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    now = pool()
    names = list(now._actors)
    session = next(f"session-{n}" for n in range(99) if holder(f"session-{n}", names) == names[0])
    other = next(f"session-{n}" for n in range(99) if holder(f"session-{n}", names) == names[1])
    said = Pace()

    async def hear(frames: list[Any]) -> tuple[list[int], Pace]:
        return [0] * len(frames), said

    fake.actors[NAMESPACE, names[0]].hear = SimpleNamespace(remote=hear)  # type: ignore[attr-defined]
    frame = Frame(0, b"", 0.0)
    assert (now.cadence(session), now.full) == (1, False)
    said = Pace(2)
    await now.hear(session, frame)
    assert (now.cadence(session), now.cadence(other), now.full, now.nearly_full) == (2, 1, False, False)
    said = Pace(4, full=True, nearly_full=True, room=3.0)
    await now.hear(session, frame)
    assert (now.cadence(session), now.cadence(other), now.full, now.nearly_full, now.room) == (4, 1, True, True, 6.0)
    monkeypatch.setattr(pools, "LATELY", 0.0)
    assert (now.cadence(session), now.full) == (1, False), "which was long ago"


async def test_who_records_elsewhere_is_known_of(fake: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica where nobody records used to let newcomers in that all others refused."""
    monkeypatch.setattr(pools, "ASKING_SECONDS", 0.05)
    now = pool()
    asked: list[int] = []

    async def hear(frames: list[Any]) -> tuple[list[int], Pace]:
        asked.append(len(frames))
        return [], Pace(2, full=True, nearly_full=True, talking=7)

    async def silence(frames: list[Any]) -> Any:
        await asyncio.Event().wait()

    answering, silent = (fake.actors[NAMESPACE, name] for name in now._actors)
    answering.hear = SimpleNamespace(remote=hear)  # type: ignore[attr-defined]
    silent.hear = SimpleNamespace(remote=silence)  # type: ignore[attr-defined]
    assert (now.full, now.people) == (False, 0)
    async with asyncio.timeout(5):
        await now.look()
        assert (now.full, now.people, asked) == (True, 7, [0])
        await now.look()
    assert asked == [0], "it has said so lately"
    now.recorders = 9
    assert now.people == 9


async def test_a_frame_waits_for_those_who_record_here_and_for_nobody_else(
    fake: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "COMPANY_SECONDS", 30.0)  # which would show
    now = pool()
    names = list(now._actors)
    one, other = (f"session-{n}" for n in [n for n in range(99) if holder(f"session-{n}", names) == names[0]][:2])
    calls: list[int] = []

    async def hear(frames: list[Any]) -> tuple[list[int], Pace]:
        calls.append(len(frames))
        return [0] * len(frames), Pace()

    fake.actors[NAMESPACE, names[0]].hear = SimpleNamespace(remote=hear)  # type: ignore[attr-defined]
    async with asyncio.timeout(5):
        now.recorders = 1
        await now.hear(one, Frame(0, b"", 0.0))
        now.recorders = 4  # two for each of two actors
        first = now.hear(one, Frame(1, b"", 0.0))
        await asyncio.sleep(0.05)
        assert calls == [1]
        await asyncio.gather(first, now.hear(other, Frame(0, b"", 0.0)))
    assert calls == [1, 2]
