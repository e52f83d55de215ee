"""How many people talk, where somebody says so, reaches whoever tells them apart, by every way that sound comes in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deployments.analysis import Asked, Models, timeline_of
from pipeline.diarisation.local import LocalDiariser
from pipeline.emotion import EmotionHead
from pipeline.hearing import Ears, ignore
from pipeline.segments import units_of
from pipeline.store import SessionStore
from tests.deployments.actors import Actors, begin, folded
from tests.deployments.hearer import embed, hearing
from tests.service import Pcm
from tests.talkers import HIGH, LOW, SOFT, conversation, small_talk, write_wav

SECONDS = 30.0
LIVE = [({}, 3), ({"max_speakers": 2}, 2)]  # what is said, and how many are told apart
WHOLE = [*LIVE, ({"min_speakers": 4}, 4)]  # live, who has not talked yet cannot be told apart


@pytest.fixture(scope="module")
def three() -> Pcm:
    """Three people who talk with each other."""
    audio, _ = conversation((LOW, HIGH, SOFT), small_talk(talkers=3, seconds=SECONDS, seed=7), seed=7)
    return np.round(audio * 32_767).astype(np.int16)


@pytest.mark.parametrize("killed", [False, True], ids=["", "its actor killed"])
@pytest.mark.parametrize(("said", "found"), LIVE)
async def test_so_many_talk_live(
    store: SessionStore, actors: Actors, three: Pcm, said: dict[str, int], found: int, killed: bool
) -> None:
    actor, mine = await actors.start(), await begin(store, three, **said)
    await mine.say(8, actor)
    if killed:
        actor = await actors.start()
    await mine.say(SECONDS - 2, actor)
    await mine.stop(actor)
    assert len(folded(await mine.told()).speakers) == found


@pytest.mark.parametrize(("said", "found"), WHOLE)
async def test_so_many_talk_in_an_upload(
    url: str, tmp_path: Path, diariser: LocalDiariser, three: Pcm, said: dict[str, int], found: int
) -> None:
    with hearing(url, tmp_path, diariser) as hearer:
        _, events = await hearer.hear(await hearer.upload(three, **said))
    assert len(folded(events).speakers) == found


@pytest.mark.parametrize(("said", "found"), WHOLE)
def test_so_many_talk_in_what_is_analysed(
    tmp_path: Path, diariser: LocalDiariser, three: Pcm, said: dict[str, int], found: int
) -> None:
    wav = write_wav(tmp_path / "three.wav", three.astype(np.float32) / 32_768)
    models = Models(Ears(lambda segment: units_of(diariser, segment), embed), EmotionHead.load())
    asked = Asked("research", at_least=said.get("min_speakers"), at_most=said.get("max_speakers"))
    assert len(timeline_of(wav, models, asked, ignore).speakers) == found
