"""What is logged, line by line."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from pipeline.blobs import BlobTrouble
from pipeline.logs import Form, Formatter, about, strike_out, trace, why
from tests.service import ROOT, free_port

SECRET = "a-secret-that-nobody-may-read"


def logged(form: Form, work: Callable[[logging.Logger], object]) -> str:
    """What is logged by a thread of its own."""
    lines: list[str] = []
    formatter = Formatter(form, "test")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(formatter.format(record))

    logger = logging.Logger("test")
    logger.addHandler(Handler())
    thread = threading.Thread(target=work, args=[logger])
    thread.start()
    thread.join()
    (line,) = lines
    return line


def test_a_line_of_json_says_what_it_is_about() -> None:
    def work(logger: logging.Logger) -> None:
        about(session="12ab")
        logger.warning("goes on\nwith %d", 3, extra={"request_id": "r-1"})

    line = json.loads(logged("json", work))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "part": "test",
        "logger": "test",
        "session": "12ab",
        "request_id": "r-1",
        "message": "goes on\nwith 3",
    }


def test_a_line_of_text_says_it_too() -> None:
    def work(logger: logging.Logger) -> None:
        about(recording="12ab")
        logger.info("over: done")

    line = logged("text", work)
    assert line.startswith("INFO 20")
    assert line.endswith(" test -- recording 12ab: over: done")


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_id_from_a_url_forges_no_line(form: Form) -> None:
    """What a URL said was logged with its line feeds, and what came after them looked like a line of ours."""

    def work(logger: logging.Logger) -> None:
        about(session="12ab\nERROR 2026 ingress -- forged\x1b[31m\u202e\r" + "x" * 10_000)
        logger.info("refused")

    line = logged(form, work)
    assert line.isprintable()
    assert len(line) < 250
    assert "12ab ERROR 2026 ingress" in line


def test_tasks_inherit_what_they_are_about_and_keep_it_to_themselves() -> None:
    async def work(logger: logging.Logger) -> None:
        async def one(session: str) -> None:
            about(session=session)
            await asyncio.sleep(0.01)
            if session == "1":
                await asyncio.create_task(beneath())

        async def beneath() -> None:
            logger.info("beneath")

        await asyncio.gather(one("1"), one("2"))

    assert json.loads(logged("json", lambda logger: asyncio.run(work(logger))))["session"] == "1"


class Told(BaseModel):
    number: int


def refused_by_pydantic() -> None:
    Told.model_validate({"number": SECRET})


def refused_by_redis() -> None:
    error = RedisError("OOM command not allowed")
    Redis().pipeline().annotate_exception(error, 1, ["XADD", "journal", SECRET])
    assert SECRET in str(error)
    raise error


def of_a_mistake() -> None:
    spoken = SECRET
    {}[spoken]


def caused() -> None:
    try:
        of_a_mistake()
    except KeyError as error:
        raise ValueError(f"no {SECRET}") from error


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("goes_wrong", [refused_by_pydantic, refused_by_redis, of_a_mistake, caused])
def test_an_error_tells_its_kind_and_place_and_not_what_it_was_about(
    goes_wrong: Callable[[], None], form: Form
) -> None:
    def work(logger: logging.Logger) -> None:
        try:
            goes_wrong()
        except Exception:
            logger.exception("it went wrong")

    line = logged(form, work)
    assert SECRET not in line
    assert goes_wrong.__name__ in line
    assert "Error" in line


def test_causes_come_first_as_python_tells_them() -> None:
    with pytest.raises(ValueError, match="no") as caught:
        caused()
    told = trace(caught.value)
    assert told.index("KeyError") < told.index("ValueError")
    assert "of_a_mistake" in told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (BlobTrouble("The blob store is away."), "pipeline.blobs.BlobTrouble: The blob store is away."),
        (RedisConnectionError("Error 111 connecting"), "redis.exceptions.ConnectionError: Error 111 connecting"),
        (FileNotFoundError(2, "No such file"), "FileNotFoundError: [Errno 2] No such file"),
        (TimeoutError(), "TimeoutError"),
        (ValueError(SECRET), "ValueError"),
        (None, "NoneType"),
    ],
)
def test_what_may_be_told_is_told(error: Any, told: str) -> None:
    assert why(error) == told


def test_a_password_is_no_part_of_what_redis_says() -> None:
    with pytest.raises(RedisConnectionError) as caught:
        Redis.from_url(f"redis://:{SECRET}@127.0.0.1:{free_port()}").ping()
    assert "127.0.0.1" in why(caught.value)
    assert SECRET not in why(caught.value)


NOBODY_ASKED = f"""
import asyncio, gc, logging
from pipeline.logs import speak

logging.warning("a library that has something to say before anybody asks it to speak so")
speak("ingress", "json", "INFO")

async def wrong():
    raise ValueError("{SECRET}")

async def main():
    task = asyncio.create_task(wrong())
    await asyncio.sleep(0)
    del task
    gc.collect()

asyncio.run(main())
"""


def test_an_error_that_nobody_asks_about_is_told_so_too() -> None:
    done = subprocess.run([sys.executable, "-c", NOBODY_ASKED], capture_output=True, text=True, cwd=ROOT, check=True)
    (line,) = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert (line["logger"], line["message"]) == ("asyncio", "Task exception was never retrieved")
    assert "in wrong" in line["error"]
    assert SECRET not in done.stderr
    assert "Traceback" not in done.stderr


def test_an_id_is_struck_out_of_files_that_are_being_written(tmp_path: Path) -> None:
    gone, other = "0123456789abcdef", "fedcba9876543210"
    folder = tmp_path / "logs" / "serve"
    folder.mkdir(parents=True)
    log, empty = folder / "replica.log", folder / "empty.log"
    empty.touch()
    (tmp_path / "logs" / "latest").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").write_text(gone)
    with log.open("a") as writing:
        writing.write(f'{{"session": "{gone}"}}\n{{"session": "{other}"}}\n{gone}{gone}\n')
        writing.flush()
        assert strike_out(gone, tmp_path / "logs") == 3
        writing.write("and on\n")
    dashes = "-" * 16
    assert log.read_text() == f'{{"session": "{dashes}"}}\n{{"session": "{other}"}}\n{dashes}{dashes}\nand on\n'
    assert (tmp_path / "kept").read_text() == gone, "what a link leads to is no log"
    assert strike_out(other, log) == 1


def test_a_log_that_cannot_be_written_to_is_told_of_once_all_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = "0123456789abcdef"
    names = ("a.log", "b.log", "c.log")
    for name in names:
        (tmp_path / name).write_text(gone)
    usual = Path.open

    def opened(path: Path, *how: Any, **more: Any) -> Any:
        if path.name == "b.log" and how == ("r+b",):
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path, *how, **more)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(PermissionError, match=r"b\.log"):
        strike_out(gone, tmp_path)
    assert [(tmp_path / name).read_text() == gone for name in names] == [False, True, False]
