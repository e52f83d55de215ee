"""A conversation that goes on where another encoder tells voices apart than the one that had heard its beginning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline import conversation, snapshot
from pipeline.alignment import ACTIVE_SECONDS
from pipeline.conversation import Conversation
from pipeline.corrections import Merging, Naming
from pipeline.session import Expected
from pipeline.turns import LONGEST_TURN
from pipeline.voiceprint import SIZE
from tests.pipeline.test_second_opinions import ANNA, Said, Talk, a_head, voiceprint

BEFORE: list[Said] = [(0, 8, 0), (9, 15, 1)]
LONG = 2 * ACTIVE_SECONDS + LONGEST_TURN / 16_000


def shortened(value: Any) -> Any:
    """The same with voiceprints of other numbers, and fewer."""
    match value:
        case np.ndarray() if value.shape == (SIZE,):
            return value[: SIZE // 2][::-1].copy()
        case dict():
            return {key: shortened(one) for key, one in value.items()}
        case list():
            return [shortened(one) for one in value]
    return value


def estranged(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> Talk:
    """The talk as it goes on in a process with another encoder."""
    state = shortened(snapshot.unpack(talk.conversation.pack()))
    monkeypatch.setattr(conversation, "version", lambda: "another")
    talk.conversation = Conversation.unpack(snapshot.pack(state), a_head(), **talk._known)  # type: ignore[arg-type]
    return talk


@pytest.mark.parametrize("later", [16, LONG], ids=["at once", "long after"])
def test_what_is_known_stays_and_whoever_goes_on_is_somebody_new(later: float, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Talk([*BEFORE, (later, later + 8, 0), (later + 9, later + 17, 1)], voices=[ANNA]).until(15)
    talk.correct(Naming(speaker=2, name="Ben"))
    known = talk.turns()
    assert not talk.repack().conversation.estranged
    assert estranged(talk, monkeypatch).conversation.estranged
    talk.repack().until(later + 20).end()
    assert talk.turns() == [*known, (3, later, later + 8), (4, later + 9, later + 17)]
    assert talk.timeline.names == {1: "Anna", 2: "Ben"}


def test_numbers_stay_with_those_who_had_them_and_people_may_still_correct(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = estranged(Talk([*BEFORE, (LONG, LONG + 8, 1)]).until(15), monkeypatch).until(LONG + 5)
    assert talk.conversation._memory.speakers == [1, 2, 3]
    talk.correct(Naming(speaker=1, name="Anna")).correct(Merging(kept=2, merged=3)).until(LONG + 10).end()
    assert [speaker for speaker, _, _ in talk.turns()] == [1, 2, 2]
    assert talk.timeline.names == {1: "Anna"}


def test_nobody_is_split_for_the_sake_of_how_many_were_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who were known may well be all of them."""
    talk = Talk([*BEFORE, (16, 22, 2), (23, 29, voiceprint(2, also=3, share=0.6))], expected=Expected(2, None)).until(
        15
    )
    estranged(talk, monkeypatch).until(30).end()
    assert [speaker for speaker, _, _ in talk.turns()] == [1, 2, 3, 3]


def test_a_snapshot_that_does_not_say_whose_voiceprints_it_holds_is_another_encoders() -> None:
    talk = Talk(BEFORE).until(15)
    state = snapshot.unpack(talk.conversation.pack())
    del state["voiceprints"], state["memory"]["former"]
    assert Conversation.unpack(snapshot.pack(state), a_head()).estranged


def test_nobody_is_estranged_who_has_not_been_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not estranged(Talk([]).until(3), monkeypatch).conversation.estranged
