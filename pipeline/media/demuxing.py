"""A recording opened by FFmpeg, which may open nothing else, and its sound frame by frame.

FFmpeg gets a file object without a name, is told the demuxer, and may use no decoder but those of sound. What goes
wrong in it, and in PyAV, is an `UndecodableAudio`, or is passed over where sound comes behind it.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import av
from av.stream import Discard, Disposition

from pipeline.media.boxes import Facts, matroska_facts, mp4_facts
from pipeline.media.containers import OGG, WAV, Kind, kind_of
from pipeline.media.ogg import links_of
from pipeline.media.undecodable import UndecodableAudio, undecodable
from pipeline.media.window import Window

MOST_CHANNELS: Final = 8
SLOWEST, FASTEST = 8_000, 192_000  # Hz
MOST_SAMPLES: Final = 2**18  # of one frame; a real one has 65,535 at most
MOST_BARREN: Final = 100_000  # packets in a row that hold no sound, after which no more is looked for
MOST_FAULTS: Final = 100  # times in a row that a demuxer may fail and be asked again

CODECS: Final = (
    *("aac", "ac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "alac", "amrnb", "amrwb", "eac3", "flac", "gsm"),
    *("gsm_ms", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "opus", "speex", "vorbis"),
    *sorted(name for name in av.codecs_available if name.startswith("pcm_")),
)
CONFINED: Final = {
    "protocol_whitelist": "none",
    "codec_whitelist": ",".join(CODECS),
    "enable_drefs": "0",
    "max_streams": "64",
    "probesize": str(2**20),
    "analyzeduration": str(10**6),  # microseconds
}


@dataclass(frozen=True, slots=True)
class Probe:
    """What a file says of itself."""

    seconds: float | None  # as the container claims; None where it claims nothing
    channels: int
    rate: int  # Hz
    codec: str  # FFmpeg's name
    container: str  # see pipeline.media.containers
    media_type: str  # as which it may be served


@dataclass(frozen=True, slots=True)
class Opened:
    """A recording that is open, and the track of it that is taken."""

    name: str  # as it is called in errors
    window: Window
    container: Any
    stream: Any
    probe: Probe
    links: tuple[Window, ...] = ()  # that come behind it

    def frames(self) -> Iterator[Any]:
        """Frames of the track, as far as it can be followed: what is damaged is passed over.

        Raises `UndecodableAudio` where the first is such as no recording has; later ones are damaged.
        """
        yield from self._own_frames()
        for link in self.links:
            try:
                with _demuxed(self.name, link) as opened:
                    yield from opened._own_frames()
            except UndecodableAudio as error:
                if error.reason == "absurd":
                    raise

    def _own_frames(self) -> Iterator[Any]:
        codec = self.stream.codec_context
        barren = faults = 0
        heard = False
        while faults < MOST_FAULTS and barren < MOST_BARREN:
            try:
                for packet in self.container.demux(self.stream):
                    self.window.got_packet()
                    frames = _decoded(codec, packet)
                    barren, faults = (0, 0) if frames else (barren + 1, faults)
                    for frame in frames:
                        if not heard:
                            _refuse_absurd(self.name, frame.layout.nb_channels, frame.sample_rate)
                        heard = True
                        if _is_taken(frame.layout.nb_channels, frame.sample_rate):
                            yield frame
                    if barren >= MOST_BARREN:
                        break
                else:
                    return
            except (av.FFmpegError, MemoryError):  # the demuxer may go on behind the damage
                faults += 1
        yield from _decoded(codec, None)


def _decoded(codec: Any, packet: Any) -> list[Any]:
    """The frames of a packet that hold sound; none if it is damaged."""
    try:
        return [frame for frame in codec.decode(packet) if frame.samples]
    except Exception:  # PyAV's own, of any kind
        return []


@contextmanager
def opened(source: Path | BinaryIO) -> Iterator[Opened]:
    """A recording that FFmpeg has opened. An open file must be able to seek, is read from its start and left open.

    Raises `UndecodableAudio`, whatever goes wrong here and in what is done with it.
    """
    name = _printable(source) if isinstance(source, Path) else "this file"
    try:
        if isinstance(source, Path):
            with _file(source) as file, _demuxed(name, Window(file)) as recording:
                yield recording
        else:
            with _demuxed(name, Window(source)) as recording:
                yield recording
    except UndecodableAudio:
        raise
    except av.FFmpegError as error:
        raise undecodable(f"{name} cannot be decoded: {error.strerror}", "truncated") from error
    except OSError as error:
        raise undecodable(f"{name} cannot be read: {error.strerror or error}", "unreadable") from error
    except Exception as error:  # PyAV's own, of any kind
        raise undecodable(f"{name} cannot be decoded: {error or type(error).__name__}", "truncated") from error


def nothing_else(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    """Called by FFmpeg for another file or address that this one names."""
    raise PermissionError("nothing but the file itself is opened")


def _printable(path: Path) -> str:
    """The name of a file, as it may be shown in a sentence and a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in path.name or str(path))


def _file(path: Path) -> BinaryIO:
    """Opened by us, for what FFmpeg makes of a name. A pipe would be waited for."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise undecodable(f"{_printable(path)} cannot be opened: it is not a file", "unreadable")
        return path.open("rb")
    except (OSError, ValueError) as error:
        if isinstance(error, UndecodableAudio):
            raise
        why = getattr(error, "strerror", None) or error
        raise undecodable(f"{_printable(path)} cannot be opened: {why}", "unreadable") from error


@contextmanager
def _demuxed(name: str, window: Window) -> Iterator[Opened]:
    kind = kind_of(window)
    if not isinstance(kind, Kind):
        why, reason = kind
        raise undecodable(f"{name} is not audio that can be decoded: {why}", reason)
    facts = _facts(name, kind, window)
    window, *links = links_of(window) if kind is OGG else [window]
    with _open(name, kind, facts, window) as container:
        stream = _track(container, name)
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all
        codec = stream.codec_context
        codec.options = {"codec_whitelist": CONFINED["codec_whitelist"], "max_samples": str(MOST_SAMPLES)}
        if codec.channels or codec.rate:  # neither is known of a track whose beginning is damaged
            _refuse_absurd(name, codec.channels, codec.rate)
        film = any(not other.disposition & Disposition.attached_pic for other in container.streams.video)
        seconds = _claimed(container, stream, window) if facts.timed and not links else None
        media_type = kind.media_type(film)
        probe = Probe(seconds, codec.channels, codec.rate, codec.codec.canonical_name, kind.name, media_type)
        yield Opened(name, window, container, stream, probe, tuple(links))


def _facts(name: str, kind: Kind, window: Window) -> Facts:
    if kind.demuxer == "mov":
        facts = mp4_facts(window)
    elif kind.demuxer == "matroska":
        facts = matroska_facts(window)
    else:
        facts = Facts(timed=kind.timed)
    if facts.encrypted:
        raise undecodable(f"{name} is encrypted", "encrypted")
    if facts.absurd:
        raise undecodable(f"{name} cannot be decoded: its tables claim more than a recording holds", "absurd")
    if not facts.whole:
        raise undecodable(f"{name} breaks off before what is needed to decode it", "truncated")
    return facts


def _open(name: str, kind: Kind, facts: Facts, window: Window) -> Any:
    try:
        return av.open(
            window,
            format=kind.demuxer,
            container_options=CONFINED | {"format_whitelist": kind.demuxer, "ignore_editlist": str(int(facts.edited))},
            metadata_errors="replace",  # tags are in whatever encoding
            buffer_size=2**16,
            io_open=nothing_else,
        )
    except Exception as error:
        if kind is WAV:
            _refuse_absurd(name, *_claims_of_wav(window))
        raise undecodable(f"{name} breaks off or is damaged before its first sound", "truncated") from error


def _track(container: Any, name: str) -> Any:
    tracks = container.streams.audio
    if not tracks:
        raise undecodable(f"{name} holds no audio track", "no_audio")
    known = [track for track in tracks if track.codec_context and track.codec_context.codec.name in CODECS]
    if not known:
        raise undecodable(f"{name} holds sound of a kind that cannot be decoded", "unsupported")
    return next((track for track in known if track.disposition & Disposition.default), known[0])


def _is_taken(channels: int, rate: int) -> bool:
    return 1 <= channels <= MOST_CHANNELS and SLOWEST <= rate <= FASTEST


def _refuse_absurd(name: str, channels: int, rate: int) -> None:
    if not 1 <= channels <= MOST_CHANNELS:
        raise undecodable(f"{name} has {channels} channels, and 1 to {MOST_CHANNELS} are taken", "absurd")
    if not _is_taken(channels, rate):
        taken = f"{SLOWEST // 1000} to {FASTEST // 1000} kHz are taken"
        raise undecodable(f"{name} has {rate} samples a second, and {taken}", "absurd")


def _claims_of_wav(window: Window) -> tuple[int, int]:
    """Channels and rate by the header of a wav that FFmpeg refuses without saying why."""
    head = window.at(0, 4_096)
    at = head.find(b"fmt ") + 10
    if at < 10 or len(head) < at + 6:
        return 1, FASTEST
    order: Any = "big" if head.startswith(b"RIFX") else "little"
    return int.from_bytes(head[at : at + 2], order), int.from_bytes(head[at + 2 : at + 6], order)


def _claimed(container: Any, stream: Any, window: Window) -> float | None:
    """Seconds by the container, but no more than its file can hold: what was cut off was never finished, too."""
    if stream.duration is not None and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / av.time_base
    else:
        return None
    codec = stream.codec_context
    if codec.name.startswith("pcm_"):
        bits = int(re.sub(r"\D", "", codec.name) or 8) * codec.channels * codec.rate
        seconds = min(seconds, len(window) * 8 / bits)
    return seconds if seconds > 0 else None
