"""Any recording that people have, as ToneTrack hears it: 16 kHz int16, channel by channel or mixed to one.

What is taken is in `containers`, and how it is opened in `demuxing`. Timestamps are not looked at: sound follows sound,
so a gap that a file claims is no silence, however long.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from pipeline.media.demuxing import Opened, Probe, opened
from pipeline.media.downmix import Downmix
from pipeline.media.undecodable import UndecodableAudio, undecodable
from pipeline.timeline import SAMPLE_RATE

__all__ = ["Pcm", "Probe", "UndecodableAudio", "decode", "decode_channels", "probe"]

Pcm = NDArray[np.int16]

BLOCK: Final = SAMPLE_RATE  # samples in a block; the last one is shorter
SLACK_SECONDS: Final = 0.5  # a codec pads what it encodes


def probe(source: Path | BinaryIO) -> Probe:
    """What a recording says of itself, its kind told by its content. An open file must be able to seek.

    Raises `UndecodableAudio`. A file that passes may still turn out undecodable.
    """
    with opened(source) as recording:
        return recording.probe


def decode_channels(source: Path | BinaryIO, most_seconds: float | None = None) -> Iterator[Pcm]:
    """Blocks of int16 (channels, n) at 16 kHz from a recording's audio track, n being a second but for the last.

    The track is the first that players would play by themselves, or the first. What is damaged is left out. Where the
    track changes its channels midway, there stay as many as in the beginning, each with the mean of the new ones.

    Raises `UndecodableAudio`: before anything is decoded where the file claims to last longer than `most_seconds`, and
    while it is decoded where it does. Half a second more is let pass. A file without a single sample is refused, too.
    """
    for block, _ in _blocks(source, most_seconds):
        yield block


def decode(source: Path | BinaryIO, most_seconds: float | None = None) -> Iterator[Pcm]:
    """As `decode_channels`, mixed to one as `pipeline.media.downmix` does it: int16 (n,)."""
    downmix = None
    for block, names in _blocks(source, most_seconds):
        downmix = downmix or Downmix(names)
        yield downmix.mix(block)


def _blocks(source: Path | BinaryIO, most_seconds: float | None) -> Iterator[tuple[Pcm, list[str]]]:
    """The blocks of `decode_channels`, and FFmpeg's names of the channels."""
    with opened(source) as recording:
        if most_seconds is not None and (recording.probe.seconds or 0) > most_seconds + SLACK_SECONDS:
            raise _too_long(recording.name, most_seconds)
        waiting: list[Pcm] = []
        ready = heard = channels = 0
        names: list[str] = []
        for piece, layout in _resampled(recording):
            if not channels:
                channels, names = len(piece), [channel.name for channel in layout.channels]
            waiting.append(_fitted(piece, channels))
            ready += piece.shape[1]
            heard += piece.shape[1]
            if ready >= BLOCK:
                joined = np.concatenate(waiting, axis=1)
                whole = ready - ready % BLOCK
                for start in range(0, whole, BLOCK):
                    yield joined[:, start : start + BLOCK], names
                waiting, ready = [joined[:, whole:]], ready - whole
            if most_seconds is not None and heard > (most_seconds + SLACK_SECONDS) * SAMPLE_RATE:
                raise _too_long(recording.name, most_seconds)
        if not heard:
            raise undecodable(f"{recording.name} holds no sound that can be decoded", "truncated")
        if ready:
            yield np.concatenate(waiting, axis=1), names


def _too_long(name: str, most_seconds: float) -> UndecodableAudio:
    most = f"{most_seconds / 60:g} minutes" if most_seconds >= 120 else f"{most_seconds:g} s"
    return undecodable(f"{name} is too long: no more than {most} of sound are taken", "too_long")


def _fitted(piece: Pcm, channels: int) -> Pcm:
    """Sound with another number of channels, as that many."""
    if len(piece) == channels:
        return piece
    return np.repeat(np.rint(piece.mean(axis=0, keepdims=True)).astype(np.int16), channels, axis=0)


def _resampled(recording: Opened) -> Iterator[tuple[Pcm, Any]]:
    """The sound as int16 (channels, n) at 16 kHz, and its layout, whose channels stay as they are.

    A chain of streams may change all of it midway. The samples are had as packed floats: of eight planes PyAV takes
    what lies behind them for a ninth, and reads it.
    """
    resampler: Any = None
    setup: Any = None
    layout: Any = None
    for frame in recording.frames():
        if (frame.format.name, frame.layout.name, frame.sample_rate) != setup:
            for rest in _rest(resampler):
                yield rest, layout
            setup, layout = (frame.format.name, frame.layout.name, frame.sample_rate), frame.layout
            resampler = AudioResampler(format="flt", layout=layout, rate=SAMPLE_RATE)
        frame.pts = None
        for part in resampler.resample(frame):
            yield _int16(part), layout
    for rest in _rest(resampler):
        yield rest, layout


def _rest(resampler: Any) -> list[Pcm]:
    """What a resampler still holds; where it had nothing to do, it gives back the None that ends it."""
    return [_int16(frame) for frame in (resampler.resample(None) if resampler else ()) if frame is not None]


def _int16(frame: Any) -> Pcm:
    """A frame of packed floats as int16 (channels, n). What is no number is silence."""
    sound = frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T
    sound = np.clip(np.nan_to_num(sound, nan=0.0, posinf=0.0, neginf=0.0), -1, 1) * np.float32(32_768)
    return np.asarray(np.minimum(np.rint(sound), 32_767), np.int16)
