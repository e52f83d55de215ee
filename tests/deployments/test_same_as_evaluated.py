"""An upload says who spoke when exactly as `tonetrack evaluate speakers` judges it offline."""

from __future__ import annotations

from pathlib import Path

from pipeline.diarisation.local import LocalDiariser
from pipeline.recording import turns_of
from pipeline.timeline import Turn
from tests.service import Pcm, Service
from tests.talkers import Said, write_wav
from tests.uploads import tiled, upload
from training.rttm import read_rttm, rttm_of
from training.speaker_sets import recorded_set
from training.speakers import speech_of


async def test_an_upload_is_told_apart_as_the_evaluation_does_it(
    service: Service, small_conversation: tuple[Pcm, list[Said]], tmp_path: Path
) -> None:
    pcm = tiled(small_conversation[0], 70)  # more than a segment
    sound = write_wav(tmp_path / "talk.wav", pcm / 32_768)
    said = "".join(
        f"SPEAKER talk 1 {one.start:.3f} {one.end - one.start:.3f} <NA> <NA> {one.talker} <NA> <NA>\n"
        for one in small_conversation[1]
    )
    (tmp_path / "talk.rttm").write_text(said)
    (talk,) = recorded_set(tmp_path).talks
    audio, _ = talk.source.load()
    judged = rttm_of("talk", speech_of(turns_of(audio, LocalDiariser())))
    recording = await upload(service.api, sound.read_bytes())
    timeline = await recording.heard()
    told = rttm_of("talk", speech_of(Turn.model_validate(turn) for turn in timeline["turns"]))
    assert told == judged
    exported = tmp_path / "told.rttm"
    exported.write_text((await recording.get("/timeline.rttm")).text)
    (speech,) = read_rttm(exported).values()
    assert len(speech.labels()) == 2
