"""A recorder's stream to what ToneTrack hears: 16 kHz mono int16, as it arrives. PyAV does the work.

Whole files are in `pipeline.media`, whose functions are here, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import av
import numpy as np
from av.audio.resampler import AudioResampler

from pipeline.media import Pcm, Probe, decode, decode_channels, probe
from pipeline.media.demuxing import CONFINED, nothing_else
from pipeline.media.undecodable import UndecodableAudio
from pipeline.timeline import SAMPLE_RATE

__all__ = ["Pcm", "Probe", "UndecodableAudio", "WebmDecoder", "decode", "decode_channels", "probe"]

# FFmpeg reads ahead to be sure of what it reads; a recorder's stream is known to be webm, and waiting is lag.
# `fflags=nobuffer` would gain nothing more, and drops the first packet: 20 ms of sound.
EAGER: Final = CONFINED | {"format_whitelist": "matroska", "probesize": "2048", "analyzeduration": "0"}


class WebmDecoder:
    """One webm stream decoded as it arrives, by one demuxer in a thread of its own.

    `deliver` is called in that thread with each block of int16 (n,) at 16 kHz, then once with None at the end of the
    stream, or with an `UndecodableAudio` where it cannot go on.
    """

    def __init__(self, deliver: Callable[[Pcm | UndecodableAudio | None], object]) -> None:
        self._deliver = deliver
        self._bytes = _ArrivingBytes()
        self._thread = threading.Thread(target=self._run, name="webm", daemon=True)
        self._thread.start()

    def feed(self, data: bytes) -> None:
        """Hand in the stream's next bytes."""
        self._bytes.feed(data)

    def finish(self) -> None:
        """Say that no more bytes come; what is still inside is decoded and delivered."""
        self._bytes.end()

    def abandon(self) -> None:
        """Say that nobody wants the rest: what has not been decoded is dropped."""
        self._bytes.drop()

    @property
    def waiting(self) -> int:
        """Bytes that were handed in and are still to be decoded."""
        return len(self._bytes)

    def _run(self) -> None:
        try:
            with av.open(
                self._bytes,
                format="webm",
                options=EAGER,
                metadata_errors="replace",
                buffer_size=1024,
                io_open=nothing_else,
            ) as container:
                for block in _pcm(container, "the stream"):
                    self._deliver(block)
        except av.FFmpegError as error:
            if self._bytes.received:  # a stream that ended before its first byte is only empty
                self._deliver(UndecodableAudio(f"this is not a webm recording with sound: {error.strerror}"))
                return
        except UndecodableAudio as error:
            self._deliver(error)
            return
        except Exception as error:  # whatever it is, somebody waits to hear of it
            self._deliver(UndecodableAudio(f"the decoder failed: {error}"))
            return
        self._deliver(None)


class _ArrivingBytes:
    """A file whose `read` waits for bytes that have yet to arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ended = False
        self._changed = threading.Condition()
        self.received = 0

    def feed(self, data: bytes) -> None:
        with self._changed:
            self._buffer += data
            self.received += len(data)
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

    def drop(self) -> None:
        with self._changed:
            self._buffer.clear()
            self._ended = True
            self._changed.notify()

    def __len__(self) -> int:
        return len(self._buffer)

    def read(self, size: int) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._buffer or self._ended)
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
            return data


def _pcm(container: Any, name: str) -> Iterator[Pcm]:
    if not container.streams.audio:
        raise UndecodableAudio(f"{name} holds no audio track")
    resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    for frame in container.decode(container.streams.audio[0]):
        for resampled in resampler.resample(frame):
            yield resampled.to_ndarray().reshape(-1).astype(np.int16, copy=False)
    for resampled in resampler.resample(None):
        yield resampled.to_ndarray().reshape(-1).astype(np.int16, copy=False)
