"""What the pipeline says of synthetic conversations is what it said when golden/*.rttm were written.

A change that means to alter who is heard when writes them anew, and its diff shows what it altered:

    .venv/bin/python -m tests.test_golden
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyannote.core import Annotation, Segment

from pipeline.diarisation.local import LocalDiariser
from pipeline.recording import turns_of
from pipeline.timeline import SAMPLE_RATE
from tests.talkers import HIGH, LOW, TALKERS, Line, conversation, small_talk
from training.diarisation_scoring import score
from training.rttm import read_rttm, rttm_of
from training.speakers import online, speech_of

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 0.02  # diarisation error of what is said now against what was: another CPU rounds otherwise
TALKS = {
    "two": ((LOW, HIGH), small_talk(talkers=2, seconds=40, seed=11)),
    "four": (TALKERS, small_talk(talkers=4, seconds=100, seed=11)),
    "overlapping": (
        (LOW, HIGH),
        [
            Line(0, 4.0),
            Line(1, 3.0, gap=-0.8),
            Line(0, 2.0),
            Line(0, 2.5, gap=1.2),
            Line(1, 5.0, gap=0.2),
            Line(0, 3.0, gap=-0.5),
            Line(1, 2.5),
            Line(0, 4.0),
        ],
    ),
}


def said_of(name: str) -> dict[str, Annotation]:
    """Who speaks when in a conversation, offline and in all views online, by what their files are called."""
    talkers, lines = TALKS[name]
    audio, _ = conversation(talkers, lines, seed=11)
    pcm = np.round(audio * 32_767).astype(np.int16)
    diariser = LocalDiariser()
    views = {"offline": speech_of(turns_of(pcm, diariser)), **online(pcm, diariser)}
    return {view.replace(" ", "-"): said for view, said in views.items()}


@pytest.mark.parametrize("name", TALKS)
def test_the_pipeline_says_what_it_said(name: str) -> None:
    for way, said in said_of(name).items():
        golden = read_rttm(GOLDEN / f"{name}.{way}.rttm")[name]
        off = score(golden, said, 0)
        assert off.too_many == 0, f"{name}, {way}: {len(said.labels())} speakers, not {off.speakers}"
        assert off.error <= TOLERANCE * off.spoken, f"{name}, {way}: {off.error:.2f} s of {off.spoken:.2f} s differ"


@pytest.mark.parametrize("name", TALKS)
def test_what_it_said_is_what_was_said(name: str) -> None:
    talkers, lines = TALKS[name]
    audio, said = conversation(talkers, lines, seed=11)
    reference = Annotation()
    for number, turn in enumerate(said):
        reference[Segment(turn.start, turn.end), number] = talkers[turn.talker].name
    for path in sorted(GOLDEN.glob(f"{name}.*.rttm")):
        told = score(reference, read_rttm(path)[name], len(audio) / SAMPLE_RATE)
        at_once = "after" in path.name  # before it could learn better
        assert told.miscounted == 0, f"{path.name}: as many as talk"
        assert told.error <= (0.2 if at_once else 0.08) * told.spoken, f"{path.name}: {told.error:.2f} s are wrong"


def main() -> None:
    """Write the golden files anew."""
    GOLDEN.mkdir(exist_ok=True)
    for name in TALKS:
        for way, said in said_of(name).items():
            (GOLDEN / f"{name}.{way}.rttm").write_text(rttm_of(name, said))


if __name__ == "__main__":
    main()
