from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipeline.timeline import EMOTIONS
from training.corpora import Clip, Ravdess, default_data


def test_a_file_name_tells_emotion_and_actor(tmp_path: Path) -> None:
    for name in (
        "Actor_03/03-01-06-02-01-02-03.flac",
        "Actor_12/03-01-02-01-02-01-12.wav",
        "Actor_12/notes.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert list(Ravdess(tmp_path).clips()) == [
        Clip(tmp_path / "Actor_03/03-01-06-02-01-02-03.flac", speaker="03", emotion="fear"),
        Clip(tmp_path / "Actor_12/03-01-02-01-02-01-12.wav", speaker="12", emotion="calm"),
    ]


def test_every_code_is_an_emotion_of_ours() -> None:
    assert sorted(Ravdess.emotion_of_code.values()) == sorted(EMOTIONS)


def test_a_folder_without_speech_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no RAVDESS speech .* under"):
        list(Ravdess(tmp_path).clips())


@pytest.mark.skipif(not (default_data() / "ravdess").is_dir(), reason="RAVDESS is not on this machine (TONETRACK_DATA)")
def test_every_actor_speaks_sixty_times() -> None:
    clips = list(Ravdess(default_data() / "ravdess").clips())
    assert set(Counter(clip.speaker for clip in clips).values()) == {60}
    per_emotion = Counter(clip.emotion for clip in clips if clip.speaker == "01")
    assert per_emotion == {emotion: 4 if emotion == "neutral" else 8 for emotion in EMOTIONS}
