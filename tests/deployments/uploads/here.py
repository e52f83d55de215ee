"""What this process hears by itself in what tests upload."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pipeline.diarisation.local import LocalDiariser
from pipeline.emotion import EmotionHead, EmotionModel
from pipeline.hearing import PLAINLY, Listening
from pipeline.recording import hear
from pipeline.segments import ears_here
from pipeline.sound import Pcm, Sound
from tests.uploads import Json


def hear_here(blocks: Iterable[Pcm], how: Listening = PLAINLY) -> Json:
    """The timeline of decoded sound, as JSON."""
    with Sound(blocks) as sound:
        timeline = hear(sound, ears_here(LocalDiariser(), EmotionModel.load()), EmotionHead.load(), how)
    document: Json = json.loads(json.dumps(timeline.document()))
    return document
