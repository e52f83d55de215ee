"""Whatever is in a file, FFmpeg opens nothing else for it, needs no more memory for it, and does not fall over it."""

from __future__ import annotations

import errno
import io
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.media import UndecodableAudio, decode, demuxing, probe
from pipeline.media.containers import Kind
from pipeline.media.window import READ_AHEAD, Window
from pipeline.timeline import SAMPLE_RATE
from tests.media import make_media
from tests.media.sounds import encoded, flac_silence, pcm16, playlists, talk, wav, with_reference
from tests.service import ROOT


@pytest.fixture
def web() -> Iterator[tuple[str, list[str]]]:
    """The URL of a recording on a local server, and what has been asked of it."""
    asked: list[str] = []
    recording = wav(pcm16(talk()))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(recording)))
            self.end_headers()
            self.wfile.write(recording)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/other.wav", asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A recording that files can name."""
    path = tmp_path / "other.wav"
    path.write_bytes(wav(pcm16(talk())))
    return path


def opened_by_others(path: Path) -> bool:
    """Whether somebody reads a pipe."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        assert error.errno == errno.ENXIO
        return False
    return True


def test_the_traps_work_on_whoever_walks_into_them(web: tuple[str, list[str]], local: Path, tmp_path: Path) -> None:
    """Otherwise what follows would prove nothing."""
    url, asked = web
    playlist = tmp_path / "list.ffconcat"
    playlist.write_bytes(playlists(local.name, url)["list.ffconcat"])
    with av.open(str(playlist), options={"safe": "0"}) as container:
        assert next(container.decode(audio=0)).samples
    playlist.write_bytes(playlists(url, url)["list.ffconcat"])
    with av.open(str(playlist), options={"safe": "0", "protocol_whitelist": "file,http,tcp"}) as container:
        assert next(container.decode(audio=0)).samples
    assert asked
    referring = tmp_path / "other.mov"
    referring.write_bytes(with_reference(encoded("mov", "pcm_s16le", SAMPLE_RATE), str(local)))
    with av.open(str(referring), options={"enable_drefs": "1", "use_absolute_path": "1"}) as container:
        assert next(container.decode(audio=0)).samples


def test_a_playlist_opens_nothing(web: tuple[str, list[str]], local: Path) -> None:
    url, asked = web
    for name, content in playlists(str(local), url).items():
        path = local.with_name(name)
        path.write_bytes(content)
        for source in (path, io.BytesIO(content)):
            for use in (probe, lambda source: list(decode(source))):
                with pytest.raises(UndecodableAudio, match="it is a playlist, which only names other files"):
                    use(source)
    assert not asked


@pytest.mark.parametrize("demuxer", ["hls", "concat", "dash", "sdp", "image2", "lavfi"])
def test_a_playlist_opens_nothing_even_if_it_is_taken_for_a_recording(
    web: tuple[str, list[str]], local: Path, monkeypatch: pytest.MonkeyPatch, demuxer: str
) -> None:
    url, asked = web
    pipe = local.with_name("pipe.wav")
    os.mkfifo(pipe)
    monkeypatch.setattr(demuxing, "kind_of", lambda _: Kind(demuxer, demuxer, "audio/wav"))
    for named in (str(local), local.name, f"file:{local}", f"subfile,,start,0,end,0,,:{local}", f"concat:{local}", url):
        for content in playlists(named, url).values():
            with pytest.raises(UndecodableAudio):
                list(decode(io.BytesIO(content)))
    refusals: list[UndecodableAudio] = []

    def wait_for_pipe() -> None:
        with pytest.raises(UndecodableAudio) as refusal:
            list(decode(io.BytesIO(playlists(str(pipe), url)["list.m3u8"])))
        refusals.append(refusal.value)

    thread = threading.Thread(target=wait_for_pipe, daemon=True)
    thread.start()
    thread.join(5)
    assert not opened_by_others(pipe)
    assert refusals
    assert not asked


def test_an_mp4_whose_sound_is_in_another_file(local: Path) -> None:
    other = with_reference(encoded("mov", "pcm_s16le", 48_000), str(local))
    (local.with_name("other.mov")).write_bytes(other)
    for source in (local.with_name("other.mov"), io.BytesIO(other)):
        with pytest.raises(UndecodableAudio):
            list(decode(source))


@pytest.mark.parametrize(
    "name", ["-", "concat:a|b", "%03d.wav", "pipe:0", "http:", "subfile,,start,0,end,9,,:x", "a\nb"]
)
def test_names_mean_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(wav(pcm16(talk())))
    assert sum(map(len, decode(Path(name)))) == 2 * SAMPLE_RATE
    Path(name).write_bytes(b"")
    with pytest.raises(UndecodableAudio, match="it is empty") as refusal:
        probe(Path(name))
    assert str(refusal.value).isprintable()


def test_no_more_is_read_than_is_reasonable() -> None:
    window = Window(io.BytesIO(b"RIFF" + bytes(READ_AHEAD + 2**20)))
    read = 0
    while data := window.read(2**20):
        read += len(data)
    assert read == READ_AHEAD
    window.got_packet()
    assert window.read(10)
    assert window.seek(-1) < 0
    assert window.seek(-5, 2) == len(window) - 5
    assert len(window.read(10)) == 5


def test_tags_before_the_sound_are_passed_over() -> None:
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x01" + bytes(129)
    assert Window(io.BytesIO(tag * 3 + b"sound")).at(0, 9) == b"sound"
    assert len(Window(io.BytesIO(tag[:50]))) == 0
    assert Window(io.BytesIO(b"ID3 is not a tag")).start == 0


def run(code: str, *arguments: str) -> str:
    """What a program prints, in a process of its own: FFmpeg would take the tests down with it."""
    command = [sys.executable, "-c", code, *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, (ran.returncode, ran.stderr[-2_000:])
    return ran.stdout


MEMORY = """
import re, sys
from pathlib import Path
from pipeline.media import UndecodableAudio, decode, decode_channels, probe

def used():  # at most so far, in kB; getrusage would begin with what the tests' own process had used
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

list(decode(Path(sys.argv[1])))
before = used()
for path in sys.argv[2:]:
    try:
        for block in decode(Path(path), 3600 * 20):
            pass
    except UndecodableAudio:
        pass
print((used() - before) / 1024)
"""


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def test_memory_does_not_grow_with_a_recording(tmp_path: Path) -> None:
    """Not with the hours of a bomb, nor with the samples that the tables of an mp4 claim."""
    mp4, live = encoded("ipod", "aac"), encoded("mp4", "aac", movflags="empty_moov+frag_every_frame")
    at, first = mp4.index(b"stsz") + 8, live.index(b"moof") - 4
    tables = mp4[:at] + struct.pack(">II", 1, 2**27) + mp4[at + 8 :]
    run_of_many = box(b"traf", box(b"tfhd", struct.pack(">II", 0, 1)) + box(b"trun", struct.pack(">II", 0, 2**22)))
    files = {
        "small.wav": wav(pcm16(talk())),
        "bomb.flac": flac_silence(3 * 3_600, claimed=False),
        "tables.m4a": tables,
        "loose.m4a": box(b"trak", tables[tables.index(b"trak") + 4 :]) + mp4,
        "runs.mp4": live[:first] + 32 * box(b"moof", run_of_many) + live[first:],
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    grown = float(run(MEMORY, *(str(tmp_path / name) for name in files)))
    assert grown < 64, f"{grown:.0f} MB more"


FUZZ = """
import io, sys, time
from pathlib import Path
import numpy as np
from pipeline.media import UndecodableAudio, decode, decode_channels, probe
rng = np.random.default_rng(int(sys.argv[1]))
paths = sys.argv[3:]
refused = slowest = 0
for number in range(int(sys.argv[2])):
    path = Path(paths[number % len(paths)])
    data = bytearray(path.read_bytes())
    kind = number // len(paths) % 4
    for _ in range(int(rng.integers(1, 20)) if len(data) > 1_000 else 1):
        size = len(data) if kind != 1 else min(len(data), 200)  # headers, too
        at = int(rng.integers(size))
        if kind == 2:
            data[at : at + int(rng.integers(1, 40))] = b"" if rng.integers(2) else rng.bytes(int(rng.integers(40)))
        elif kind == 3:
            data[at : at + 4] = [b"\\xff\\xff\\xff\\xff", b"\\0\\0\\0\\0", b"\\x7f\\xff\\xff\\xff"][rng.integers(3)]
        else:
            data[at] = int(rng.integers(256))
    start = time.monotonic()
    print(number, path.name, file=sys.stderr, flush=True)
    try:
        probe(io.BytesIO(data))
        for block in decode_channels(io.BytesIO(data), 60):
            assert block.dtype == np.int16 and block.ndim == 2 and 1 <= len(block) <= 8
    except UndecodableAudio as error:
        refused += 1
        assert error.reason and "\\n" not in str(error)
    slowest = max(slowest, time.monotonic() - start)
print(refused, slowest)
"""


@pytest.mark.slow
def test_mutants_are_heard_or_refused(tmp_path: Path) -> None:
    media = [medium for medium in make_media(tmp_path) if 100 < medium.path.stat().st_size < 2**20]
    refused, slowest = run(FUZZ, "7", "600", *(str(medium.path) for medium in media)).split()
    assert 60 < int(refused) < 560
    assert float(slowest) < 30


def test_a_microphone_beside_itself_is_decoded_without_an_error() -> None:
    beyond = np.array([1e38, -1e38, np.nan, np.inf] * 4_000, "<f4").tobytes()
    assert sum(map(len, decode(io.BytesIO(wav(beyond, code=3, bits=32))))) == SAMPLE_RATE
