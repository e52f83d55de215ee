"""Folders and buckets of recordings, through a real Ray Data in processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from moto.server import ThreadedMotoServer

from deployments.analysis.files import is_many
from tests.deployments.test_analyse import DECLARED, analyse, start
from tests.service import ROOT
from tests.talkers import write_wav
from tests.uploads import assert_alike, heard_in

# A recording that ends the process that hears it, as a fault in a decoder would.
DEADLY = """
import os, sys
from deployments.analysis import Asked, quieten
from deployments.analysis.files import Outputs, find, planned
quieten(os.environ)
from deployments.analysis.bulk import Listener, connected, hear_all

class Deadly(Listener):
    def __call__(self, row):
        if "deadly" in row["task"]:
            os.kill(os.getpid(), 9)
        return super().__call__(row)

if __name__ == "__main__":
    outputs = Outputs(sys.argv[2])
    outputs.prepare()
    tasks = planned(find([sys.argv[1]])[0], ["json"], outputs, False)
    with connected():
        for outcome in hear_all(tasks, Asked("research"), sys.argv[2], 2, Deadly):
            print(os.path.basename(outcome.source), outcome.problem)
"""


@pytest.fixture(scope="module")
def talk(small_conversation: Any) -> np.ndarray[Any, Any]:
    return np.asarray(small_conversation[0].astype(np.float32) / 32_768)


@pytest.fixture(scope="module")
def folder(talk: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good recordings at two depths, one that is none, and something else."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "deep").mkdir()
    write_wav(folder / "one.wav", talk)
    write_wav(folder / "deep" / "two.wav", talk[: 10 * 16_000])
    (folder / "deep" / "page.mp3").write_text("<html>no sound</html>")
    (folder / "notes.txt").write_text("nothing to hear")
    return folder


@pytest.fixture(scope="module")
def heard_here(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("here")
    analyse(folder / "one.wav", *DECLARED, "--output", out)
    return (out / "one.json").read_bytes()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 of our own, and its files; whatever is started with the environment uses it."""
    import s3fs
    from moto.backends import get_backend

    get_backend("s3").reset()  # moto keeps its buckets in the process, whichever server they came through
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
        files.mkdir("talks")
        yield files
    finally:
        server.stop()


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_folder_is_heard_as_its_files_are_alone_and_gone_on_with(
    folder: Path, heard_here: bytes, tmp_path: Path
) -> None:
    said = analyse(folder, *DECLARED, "--output", tmp_path, status=1)
    assert "3 recordings go to" in said
    assert "2 recordings analysed" in said
    assert "deep/page.mp3 is not audio that can be decoded: it is a web page" in said.strip().splitlines()[-1]
    assert written(tmp_path) == {"one.json", "deep/two.json"}
    assert_alike(heard_in(json.loads((tmp_path / "one.json").read_bytes())), heard_in(json.loads(heard_here)))
    kept = (tmp_path / "deep" / "two.json").stat().st_mtime_ns
    (tmp_path / "one.json").unlink()
    said = analyse(folder, *DECLARED, "--output", tmp_path, status=1)
    assert "1 recording analysed" in said
    assert "1 recording skipped" in said
    assert_alike(heard_in(json.loads((tmp_path / "one.json").read_bytes())), heard_in(json.loads(heard_here)))
    assert (tmp_path / "deep" / "two.json").stat().st_mtime_ns == kept


@pytest.mark.slow
def test_a_bucket_is_heard_into_a_bucket(folder: Path, heard_here: bytes, bucket: Any) -> None:
    for name in ("one.wav", "deep/page.mp3", "deep/two.wav"):
        bucket.put_file(str(folder / name), f"talks/raw/{name}")
    said = analyse("s3://talks/raw", *DECLARED, "--output", "s3://talks/heard", status=1)
    assert "s3://talks/raw/deep/page.mp3 is not audio" in said
    assert set(bucket.find("talks/heard")) == {"talks/heard/one.json", "talks/heard/deep/two.json"}
    assert_alike(heard_in(json.loads(bucket.cat_file("talks/heard/one.json"))), heard_in(json.loads(heard_here)))
    said = analyse("s3://talks/raw/one.wav", "s3://talks/raw", *DECLARED, "--output", "s3://talks/heard", status=1)
    assert "2 recordings skipped" in said


@pytest.mark.slow
def test_what_ends_its_worker_does_not_end_the_others(talk: Any, tmp_path: Path) -> None:
    script = tmp_path / "deadly.py"
    script.write_text(DEADLY)
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for name in ("good1", "deadly", "good2", "good3"):
        write_wav(recordings / f"{name}.wav", talk[: 6 * 16_000])
    command = [sys.executable, str(script), str(recordings), str(tmp_path / "out")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=250)
    assert ran.returncode == 0, ran.stderr
    lines = dict(
        line.partition(" ")[::2] for line in ran.stdout.splitlines() if line.partition(" ")[0].endswith(".wav")
    )
    assert lines.keys() == {"good1.wav", "deadly.wav", "good2.wav", "good3.wav"}
    assert [name for name, problem in lines.items() if problem] == ["deadly.wav"]
    assert "whichever process hears it ends at once" in lines["deadly.wav"]
    assert written(tmp_path / "out") == {"good1.json", "good2.json", "good3.json"}


@pytest.mark.slow
def test_ctrl_c_leaves_no_process_and_what_was_heard(talk: Any, tmp_path: Path) -> None:
    recordings, out = tmp_path / "recordings", tmp_path / "out"
    recordings.mkdir()
    write_wav(recordings / "a.wav", talk[: 6 * 16_000])
    for number in range(6):
        write_wav(recordings / f"b{number}.wav", np.tile(talk, 10))
    running = start("analyse", recordings, *DECLARED, "--output", out)
    assert running.stderr
    children: list[psutil.Process] = []
    for line in running.stderr:
        if re.search(r"\[\d of 7\]", line):
            children = psutil.Process(running.pid).children(recursive=True)
            break
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert re.search(r"stopped before \d recordings; the same command goes on from here", said)
    assert children
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert written(out)
    for name in written(out):
        assert json.loads((out / name).read_text())["ended"]


def test_a_cluster_that_is_not_there_is_said(folder: Path, tmp_path: Path) -> None:
    said = analyse(folder, *DECLARED, "--output", tmp_path, status=1, RAY_ADDRESS="nonsense:port")
    assert "No Ray cluster answers at RAY_ADDRESS=nonsense:port" in said


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_said(tmp_path: Path, bucket: Any) -> None:
    said = analyse("s3://nobody/here", *DECLARED, "--output", tmp_path, status=1)
    assert "s3://nobody/here" in said
    assert len(said.strip().splitlines()) == 1
    assert is_many("s3://nobody/here")
    (tmp_path / "talk.wav").write_bytes(b"")
    said = analyse(tmp_path / "talk.wav", *DECLARED, "--output", "s3://nobody/here", status=1)
    assert "cannot be written" in said
