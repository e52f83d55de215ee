"""Sound in a folder and in a bucket: there when it was written to its end, and else never."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import boto3
import pytest

from pipeline.blobs import ARRIVING, READ_AHEAD, Blobs, BlobTrouble
from pipeline.media import decode
from pipeline.media.undecodable import UndecodableAudio
from tests.buckets import running_bucket

ONE, TWO = "0123456789abcdef", "fedcba9876543210"
BUCKET = "sound"


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    with running_bucket(BUCKET) as client:
        yield client


@pytest.fixture(params=["folder", "bucket"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "folder":
        return Blobs(str(tmp_path / "some" / "folder"))
    request.getfixturevalue("bucket")
    return Blobs(f"s3://{BUCKET}/{tmp_path.name}/deep")


def everything(blobs: Blobs) -> set[str]:
    """The names of all that lies there."""
    files = blobs._files
    return {name.rsplit("/", 1)[-1] for name in files.find(blobs._root)} if files.exists(blobs._root) else set()


def put(blobs: Blobs, name: str, data: bytes) -> None:
    with blobs.write(name) as file:
        file.write(data)


def test_what_is_written_can_be_read_from_anywhere_in_it(blobs: Blobs) -> None:
    data = os.urandom(READ_AHEAD + 4_000_000)
    with blobs.write(ONE) as file:
        for start in range(0, len(data), 2**20):
            file.write(data[start : start + 2**20])
    assert blobs.size(ONE) == len(data)
    with blobs.read(ONE) as file:
        assert file.read(10) == data[:10]
        file.seek(-7, 2)
        assert file.read() == data[-7:]
        file.seek(5_000_000)
        assert file.read(2**20) == data[5_000_000 : 5_000_000 + 2**20]
        file.seek(0)
        assert file.read() == data
    assert everything(blobs) == {ONE}


@pytest.mark.parametrize("size", [0, 1, 12 * 2**20])
def test_nothing_half_written_stays(blobs: Blobs, size: int) -> None:
    put(blobs, TWO, b"whole")

    def break_off() -> None:
        with blobs.write(ONE) as file:
            if size:
                file.write(bytes(size))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert everything(blobs) == {TWO}
    with pytest.raises(FileNotFoundError):
        blobs.size(ONE)
    if blobs.url.startswith("s3://"):
        uploads = boto3.client("s3").list_multipart_uploads(Bucket=BUCKET)
        assert not uploads.get("Uploads"), "parts of it are kept, and paid for"


def test_what_is_being_written_is_not_there_yet(blobs: Blobs) -> None:
    with blobs.write(ONE) as file:
        file.write(b"half")
        with pytest.raises(FileNotFoundError):
            blobs.size(ONE)
        with pytest.raises(FileNotFoundError), blobs.read(ONE):
            pass
    assert blobs.size(ONE) == 4


def test_an_empty_blob_is_a_blob(blobs: Blobs) -> None:
    with blobs.write(ONE):
        pass
    assert blobs.size(ONE) == 0
    with blobs.read(ONE) as file:
        assert file.read() == b""


def test_what_is_written_again_takes_the_place_of_what_was(blobs: Blobs) -> None:
    put(blobs, ONE, b"first")
    put(blobs, ONE, b"second")
    with blobs.read(ONE) as file:
        assert file.read() == b"second"


def test_erasing_is_final_and_may_be_done_twice(blobs: Blobs) -> None:
    put(blobs, ONE, b"sound")
    put(blobs, TWO, b"sound")
    blobs.erase(ONE)
    blobs.erase(ONE)
    assert everything(blobs) == {TWO}
    with pytest.raises(FileNotFoundError):
        blobs.size(ONE)
    with pytest.raises(FileNotFoundError), blobs.read(ONE):
        pass


def test_each_attempt_writes_what_is_its_own_until_it_is_kept(blobs: Blobs) -> None:
    early, late = "a" * 16, "b" * 16
    with blobs.write(ONE, early) as first:
        first.write(b"half")
        with blobs.write(ONE, late) as second:
            second.write(b"whole")
        with pytest.raises(FileNotFoundError):
            blobs.size(ONE)
        assert blobs.size(ONE, late) == 5
        with blobs.read(ONE, late) as file:
            assert file.read() == b"whole"
        blobs.keep(ONE, late)
    blobs.discard(ONE, early)
    blobs.discard(ONE, late)
    assert everything(blobs) == {ONE}
    with blobs.read(ONE) as file:
        assert file.read() == b"whole"
    with pytest.raises(FileNotFoundError):
        blobs.keep(ONE, early)
    with pytest.raises(ValueError, match="no attempt's token"):
        blobs.discard(ONE, "../" + TWO)


def test_erasing_takes_what_attempts_have_left(blobs: Blobs) -> None:
    for recording in (ONE, TWO):
        for attempt in ("a" * 16, "b" * 16):
            with blobs.write(recording, attempt) as file:
                file.write(b"sound")
    blobs.erase(ONE)
    assert everything(blobs) == {f"{TWO}{ARRIVING}.{'a' * 16}", f"{TWO}{ARRIVING}.{'b' * 16}"}


def test_what_another_process_has_erased_is_gone_here_too(blobs: Blobs) -> None:
    put(blobs, ONE, b"sound")
    assert blobs.size(ONE) == 5
    Blobs(blobs.url).erase(ONE)
    with pytest.raises(FileNotFoundError):
        blobs.size(ONE)


def test_a_check_leaves_nothing(blobs: Blobs) -> None:
    blobs.check()
    assert everything(blobs) == set()


def test_several_may_check_at_once(blobs: Blobs) -> None:
    """They used to erase each other's."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: Blobs(blobs.url).check(), range(24)))
    assert everything(blobs) == set()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../" + "0" * 13,
        "0123456789abcde/",
        "/etc/passwd",
        "0123456789ABCDEF",
        ONE + "\n",
        ONE + "0",
        "*" * 16,
    ],
)
def test_no_name_leads_elsewhere(blobs: Blobs, name: str) -> None:
    with pytest.raises(ValueError, match="no recording's id"), blobs.write(name):
        pass
    with pytest.raises(ValueError, match="no recording's id"), blobs.read(name):
        pass
    for touch in (blobs.size, blobs.erase):
        with pytest.raises(ValueError, match="no recording's id"):
            touch(name)
    assert everything(blobs) == set()


def test_a_bucket_that_is_not_there_is_trouble_and_is_not_made(bucket: Any) -> None:
    """Whoever mistyped a bucket's name used to make a bucket of that name."""
    blobs = Blobs("s3://nobody-made-this/prefix")
    with pytest.raises(BlobTrouble, match=r"^The blob store s3://nobody-made-this/prefix does not do as it is asked: "):
        blobs.check()
    with pytest.raises(BlobTrouble), blobs.write(ONE) as file:
        file.write(bytes(20 * 2**20))
    assert [one["Name"] for one in bucket.list_buckets()["Buckets"]] == [BUCKET]


def test_a_url_that_means_nothing_is_trouble() -> None:
    with pytest.raises(BlobTrouble, match=r"^The blob store nothing://known/here cannot be used: "):
        Blobs("nothing://known/here")


def test_a_place_that_is_no_folder_is_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for trouble in (Blobs(str(tmp_path / "file")), Blobs(str(tmp_path / "file" / "below"))):
        with pytest.raises(BlobTrouble, match="does not do as it is asked"):
            trouble.check()


def test_sound_in_a_folder_is_its_owners(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    put(blobs, ONE, b"sound")
    assert stat.S_IMODE((tmp_path / ONE).stat().st_mode) == 0o600


def test_what_a_killed_process_has_left_of_an_upload_is_found_and_erased(tmp_path: Path) -> None:
    """It used to stay where temporary files are, under a name that nobody knew."""
    code = f"import os\nfrom pipeline.blobs import Blobs\nwith Blobs({str(tmp_path)!r}).write({ONE!r}) as file:\n"
    code += "    file.write(bytes(2**20))\n    os.kill(os.getpid(), 9)\n"
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(elsewhere)}, check=False)
    assert killed.returncode == -9
    assert list(elsewhere.iterdir()) == []
    assert (tmp_path / (ONE + ARRIVING)).exists()
    blobs = Blobs(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        blobs.size(ONE)
    blobs.erase(ONE)
    assert everything(blobs) == set()


def test_a_store_that_fails_while_it_is_read_is_not_taken_for_a_damaged_recording(tmp_path: Path) -> None:
    """Once, what PyAV made of a refused connection was "cannot be decoded", and the recording was erased for it."""

    class Away:
        def __enter__(self) -> Away:
            return self

        def __exit__(self, *_: object) -> None: ...

        def read(self, size: int = -1) -> bytes:
            raise OSError("connection refused")

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

        def tell(self) -> int:
            return 0

    blobs = Blobs(str(tmp_path))
    blobs._files.open = lambda *_, **__: Away()
    with blobs.read("0123456789abcdef") as file:
        with pytest.raises((BlobTrouble, UndecodableAudio)):
            next(decode(cast(Any, file)))
        assert isinstance(file.trouble, BlobTrouble)
