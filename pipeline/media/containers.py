"""What a file is by its content. The name says nothing.

FFmpeg would guess among some 300 demuxers, of which a few open whatever files and addresses the content names. Here
the content is matched against the few kinds that people record in, and FFmpeg is told which demuxer to use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pipeline.media.mpeg import frames_in
from pipeline.media.undecodable import Reason
from pipeline.media.window import Window

HEAD: Final = 4_096  # bytes that tell one kind from another
FIRST_FRAMES: Final = 65_536  # bytes among which the first frames of an mp3 are


@dataclass(frozen=True, slots=True)
class Kind:
    """A container that is taken: FFmpeg's demuxer for it, and the media types by which it is served."""

    name: str
    demuxer: str
    sound: str
    film: str = ""
    timed: bool = True  # whether it says how long it is

    def media_type(self, with_video: bool) -> str:
        """The media type of such a file."""
        return self.film if with_video and self.film else self.sound


WAV: Final = Kind("wav", "wav", "audio/wav")
OGG: Final = Kind("ogg", "ogg", "audio/ogg", "video/ogg")
MP4: Final = Kind("mp4", "mov", "audio/mp4", "video/mp4")
QUICKTIME: Final = Kind("mov", "mov", "video/quicktime", "video/quicktime")
WEBM: Final = Kind("webm", "matroska", "audio/webm", "video/webm")
MATROSKA: Final = Kind("matroska", "matroska", "audio/x-matroska", "video/x-matroska")
COUNTED_MP3: Final = Kind("mp3", "mp3", "audio/mpeg")
MP3: Final = Kind("mp3", "mp3", "audio/mpeg", timed=False)
AAC: Final = Kind("aac", "aac", "audio/aac", timed=False)

_TAKEN: Final[tuple[tuple[bytes, Kind], ...]] = (
    (rb"(RIFF|RIFX|RF64|BW64)....WAVE", WAV),
    (rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00", Kind("w64", "w64", "audio/x-w64")),
    (rb"FORM....AIF[FC]", Kind("aiff", "aiff", "audio/aiff")),
    (rb"fLaC", Kind("flac", "flac", "audio/flac")),
    (rb"OggS", OGG),
    (rb"....ftypqt  ", QUICKTIME),
    (rb"....(ftyp|styp|moov|moof|mdat|free|skip|wide|pnot)", MP4),
    (rb"\x1a\x45\xdf\xa3.{0,64}\x42\x82.webm", WEBM),
    (rb"\x1a\x45\xdf\xa3", MATROSKA),
    (rb"caff\x00\x01", Kind("caf", "caf", "audio/x-caf")),
    (rb"\.snd", Kind("au", "au", "audio/basic")),
    (rb"#!AMR", Kind("amr", "amr", "audio/amr", timed=False)),
)
_NOT_TAKEN: Final[tuple[tuple[bytes, str, Reason], ...]] = (
    (rb"%PDF", "it is a PDF document", "not_audio"),
    (rb"PK(\x03\x04|\x05\x06)|Rar!|7z\xbc\xaf|\x1f\x8b", "it is an archive or a document", "not_audio"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|BM.{4}\0{4}|RIFF....WEBP|II\*\0|MM\0\*", "it is a picture", "not_audio"),
    (rb"....ftyp(avif|avis|heic|heix|mif1|msf1)", "it is a picture", "not_audio"),
    (rb"MThd", "it holds notes, not sound", "not_audio"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "it is a Windows Media file", "unsupported"),
    (rb"RIFF....AVI ", "it is an AVI film", "unsupported"),
    (rb"\.RMF|\.ra\xfd", "it is a RealMedia file", "unsupported"),
    (rb"wvpk|MAC |TTA1|MPCK|MP\+|DSD |ajkg", "it is compressed in a rare way", "unsupported"),
    (rb"FLV\x01|\x00\x00\x01\xba|(G.{187}){3}", "it is a film of a rare kind", "unsupported"),
)
_LIST: Final = re.compile(r"#EXTM3U|ffconcat|\[playlist\]|<MPD|v=0\r?\no=|<smil|<asx|<\?wpl|file '", re.IGNORECASE)
_PAGE: Final = re.compile(r"<!doctype html|<html", re.IGNORECASE)


def kind_of(window: Window) -> Kind | tuple[str, Reason]:
    """The kind of file that this is; or why it is none that is taken, in a phrase and a word."""
    head = window.at(0, HEAD)
    if not head:
        return ("it holds tags and no sound", "truncated") if window.start else ("it is empty", "not_audio")
    for beginning, why, reason in _NOT_TAKEN:
        if re.match(beginning, head, re.DOTALL):
            return why, reason
    for beginning, kind in _TAKEN:
        if re.match(beginning, head, re.DOTALL):
            return kind
    if frames := frames_in(window.at(0, FIRST_FRAMES)):
        return AAC if frames.codec == "adts" else COUNTED_MP3 if frames.counted else MP3
    return _described(head), "not_audio"


def _described(head: bytes) -> str:
    """What is said of a file that begins like no recording."""
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = head.decode("utf-16" if wide else "utf-8", "replace").rstrip("\ufffd").strip()
    if _LIST.search(text[:512]):
        return "it is a playlist, which only names other files"
    if _PAGE.search(text[:512]):
        return "it is a web page"
    if text and all(letter.isprintable() or letter.isspace() for letter in text):
        return "it is text"
    return "it begins like no recording"
